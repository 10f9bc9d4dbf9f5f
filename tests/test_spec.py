"""An experiment is read, completed, checked; what is wrong with one is said in one line with its path."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gtsearch import domains, reading
from gtsearch.catalog import METHODS
from gtsearch.domains import Choice, LogUniform
from gtsearch.errors import SpecError
from gtsearch.fields import Epochs, ModelSpace
from gtsearch.models.mlp import MlpSizes
from gtsearch.spec import Spec, load_spec, parse_spec
from gtsearch.tasks.modular import ModularAddition

TUNE = {"lr": {"loguniform": [0.003, 0.1]}, "weight_decay": [0.1, 1], "init_scale": 1}
SMALLEST: dict[str, Any] = {
    "name": "tiny",
    "task": {"name": "modular_addition", "p": 23},
    "weak": {"goal": {"val_accuracy": 0.4}, "model": {"name": "mlp", "d_embed": [2, 4], "width": 8}, "tune": {**TUNE}},
    "target": {
        "goal": {"val_accuracy": 0.9},
        "model": {"name": "mlp", "d_embed": 16, "width": 32},
        "tune": {**TUNE},
        "budget": {"max_epochs": 100},
    },
}


LINK = {"model": {"name": "mlp", "d_embed": 8, "width": 8}, "goal": 0.5, "config": {n: 1 for n in TUNE}}


def changed(**changes: Any) -> dict[str, Any]:
    """SMALLEST with values put at paths, written `weak__goal__hold=3`; `...` takes the key out."""
    content = copy.deepcopy(SMALLEST)
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = content
        for key in outer:
            inner = inner.setdefault(key, {})
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return content


def complaint(content: Any) -> str:
    """The message `content` is refused with."""
    with pytest.raises(SpecError) as refused:
        parse_spec(content)
    return str(refused.value)


# ---- what is read -----------------------------------------------------------------------------------------------


def test_the_smallest_experiment_gets_every_default() -> None:
    spec = parse_spec(SMALLEST)
    assert spec.task == ModularAddition(name="modular_addition", p=23)
    assert (spec.seed, spec.tradeoff) == (0, None)
    weak, target = spec.weak, spec.target
    assert (weak.goal.hold, weak.goal.evaluate_every) == (2, 10)
    assert (weak.cost, weak.optimizer, weak.search, weak.handover, weak.start_from) == (
        "params",
        "adamw",
        "tpe",
        "goal",
        [],
    )
    assert (weak.budget.configs_per_architecture, weak.budget.max_epochs) == (8, 1000)
    assert (weak.gate.seeds, weak.gate.at_least) == (5, 4)
    judge = weak.judge
    assert (judge.by, judge.configs, judge.weak_seeds, judge.at_least) == ("target", 3, 3, 2)
    assert (judge.candidates_per_architecture, judge.later_snapshot) == (2, True)
    assert (target.methods, target.start_from, target.budget.configs) == (["transfer", "scratch"], {}, 8)
    assert (target.gate.configs, target.gate.seeds) == (2, 2)
    assert (spec.report.seeds, spec.report.at_least, spec.report.weak_tries) == (10, 7, 5)
    assert (spec.resources.workers, spec.resources.cpus_per_trial, spec.resources.gpus_per_trial) == ("auto", 1, "auto")


def test_architectures_are_the_product_of_the_lists_each_once() -> None:
    space = parse_spec(changed(weak__model={"name": "mlp", "d_embed": [2, 4, 2], "width": [8, 16]})).weak.model
    assert [sizes.label for sizes in space.architectures] == [
        "mlp-d2-w8-L2",
        "mlp-d2-w16-L2",
        "mlp-d4-w8-L2",
        "mlp-d4-w16-L2",
    ]
    assert space.architectures[0] == MlpSizes(name="mlp", depth=2, d_embed=2, width=8)


def test_what_a_method_searches() -> None:
    spec = parse_spec(changed(target__methods=["transfer", "scratch", "lowrank_random"]))
    assert list(spec.method_space("scratch")) == ["lr", "weight_decay", "init_scale"]
    for method in ("transfer", "lowrank_random"):
        assert spec.method_space(method)["embedding_scale"] == LogUniform(0.5, 8.0)
    own = parse_spec(changed(target__tune={**TUNE, "embedding_scale": [1, 2]}))
    assert own.method_space("transfer")["embedding_scale"] == Choice((1.0, 2.0))
    assert "embedding_scale" not in own.method_space("scratch")
    with pytest.raises(SpecError, match=r"there is no method `scrach`; did you mean `scratch`\?"):
        spec.method_space("scrach")


@pytest.mark.parametrize(
    ("yaml_text", "handover"), [("goal", "goal"), ("best", "best"), ({"epochs": 70}, Epochs(epochs=70))]
)
def test_handover(yaml_text: Any, handover: Any) -> None:
    assert parse_spec(changed(weak__handover=yaml_text)).weak.handover == handover


def test_a_judge_that_is_off_is_not_checked_against_the_gate() -> None:
    gate = {"seeds": 1, "at_least": 1}
    assert parse_spec(changed(weak__gate=gate, weak__judge={"by": "none"})).weak.judge.by == "none"


def test_the_order_of_keys_makes_no_difference() -> None:
    backwards = {key: SMALLEST[key] for key in reversed(SMALLEST)}
    backwards["target"] = {**SMALLEST["target"], "tune": {key: TUNE[key] for key in reversed(TUNE)}}
    assert parse_spec(backwards).to_yaml() == parse_spec(SMALLEST).to_yaml()


def test_a_spec_is_frozen_and_travels() -> None:
    spec = parse_spec(SMALLEST)
    with pytest.raises(ValidationError):
        spec.seed = 1  # type: ignore[misc]
    assert len(spec.weak.model.architectures) == 2
    assert pickle.loads(pickle.dumps(spec)) == spec == parse_spec(SMALLEST)


def test_parts_can_be_made_in_python() -> None:
    spec = parse_spec(SMALLEST)
    again = Spec(**{name: getattr(spec, name) for name in Spec.model_fields})
    assert again == spec
    assert ModelSpace.model_validate(spec.weak.model) is spec.weak.model


@pytest.mark.parametrize("name", reading.experiments())
def test_experiments_that_come_along_are_read_by_their_bare_name(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    assert spec.name == name.rpartition("/")[2]
    assert spec.about is not None and spec.about.shows
    assert "scratch" in spec.target.methods and (spec.weak is None or "transfer" in spec.target.methods)
    assert round_trip(spec, tmp_path) == spec


def round_trip(spec: Spec, folder: Path) -> Spec:
    (folder / "spec.yaml").write_text(spec.to_yaml(), "utf-8")
    return load_spec(folder / "spec.yaml")


def test_to_yaml_writes_every_default_in_order() -> None:
    text = parse_spec(SMALLEST).to_yaml()
    assert list(yaml.safe_load(text)) == list(Spec.model_fields)
    assert "model: {name: mlp, depth: 2, d_embed: [2, 4], width: 8}" in text
    assert "methods: [transfer, scratch]" in text
    assert "tradeoff: null" in text
    assert "judge: {by: target, configs: 3, weak_seeds: 3, at_least: 2," in text


# ---- round trip, for any experiment --------------------------------------------------------------------------------

shares = st.floats(0.05, 0.999)
counts = st.integers(1, 50)
positive = st.floats(1e-6, 1e6)


@st.composite
def domain_yaml(draw: st.DrawFn) -> Any:
    low, high = sorted(draw(st.tuples(positive, positive).filter(lambda bounds: bounds[0] != bounds[1])))
    choice = draw(st.lists(positive, min_size=1, max_size=4, unique=True))
    return draw(
        st.sampled_from(
            [
                low,
                choice,
                {"choice": choice},
                {"uniform": [low, high]},
                {"loguniform": [low, high]},
                {"randint": [1, 9]},
                {"quniform": [0.5, 2, 0.25]},
            ]
        )
    )


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    """Mappings that are experiments."""
    content = copy.deepcopy(SMALLEST)
    gate, report = sorted(draw(st.tuples(counts, counts))), sorted(draw(st.tuples(counts, counts)))
    needed = ("lr", "weight_decay", "init_scale")
    content["name"] = draw(st.sampled_from(["a", "1e3", "no", "null", "12", "true", "a.b-c"]))
    content["seed"] = draw(st.integers(0, 2**62))
    content["task"] |= {"p": draw(st.integers(23, 1024)), "train_fraction": draw(st.floats(0.1, 0.9))}
    content["weak"] |= {
        "goal": {"val_accuracy": draw(shares), "hold": draw(st.integers(1, 3)), "evaluate_every": draw(counts)},
        "cost": draw(st.sampled_from(["params", "flops", "seconds"])),
        "tune": {name: draw(domain_yaml()) for name in needed},
        "gate": {"seeds": gate[1], "at_least": gate[0]},
        "judge": {"by": "none"} if gate[1] < 3 else {"later_snapshot": draw(st.booleans())},
        "handover": draw(st.sampled_from(["goal", "best", {"epochs": 30}])),
    }
    content["target"]["tune"] = {name: draw(domain_yaml()) for name in (*needed, "embedding_scale")}
    lr = domains.parse(content["target"]["tune"]["lr"]).from_unit(draw(st.floats(0, 1, exclude_max=True)))
    content["target"]["start_from"] = draw(st.sampled_from([{}, {"scratch": []}, {"scratch": [{"lr": lr}]}]))
    content["report"] = {"seeds": report[1], "at_least": report[0]}
    content["tradeoff"] = {
        "weak_accuracy": sorted(draw(st.sets(shares, min_size=1))),
        "designs": draw(st.permutations(["snapshots", "endpoints", "dose"]))[: draw(st.integers(1, 3))],
        "refine": draw(st.none() | st.floats(0.01, 0.5)),
        "target_seeds": draw(counts),
        "retune": draw(st.integers(0, 5)),
        "endpoints": {"architectures": draw(counts)},
        "doses": sorted(draw(st.sets(st.floats(0.01, 1), min_size=1))),
    }
    content["resources"] = {
        "workers": draw(st.sampled_from(["auto", 1, 64])),
        "gpus_per_trial": draw(st.sampled_from(["auto", 0, 0.25, 1, 4])),
    }
    return content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(experiments())
def test_yaml_round_trip(tmp_path: Path, content: dict[str, Any]) -> None:
    spec = parse_spec(content)
    again = round_trip(spec, tmp_path)
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()


# ---- overrides ----------------------------------------------------------------------------------------------------


def smallest_file(folder: Path) -> Path:
    path = folder / "spec.yaml"
    path.write_text(parse_spec(SMALLEST).to_yaml())
    return path


def test_overrides_are_written_over_the_file(tmp_path: Path) -> None:
    spec = load_spec(
        smallest_file(tmp_path),
        [
            "weak.goal.val_accuracy=0.5",
            "seed=7",
            "weak.handover={epochs: 40}",
            "target.tune.embedding_scale=2e0",
            "resources.workers = 3",
            "weak.start_from=[{lr: 1e-2}]",
            "weak.goal.hold=1",
            "weak.goal.hold=3",
        ],
    )
    assert (spec.weak.goal.val_accuracy, spec.seed, spec.weak.handover) == (0.5, 7, Epochs(epochs=40))
    assert spec.target.tune["embedding_scale"].values() == [2.0]
    assert (spec.resources.workers, spec.weak.start_from, spec.weak.goal.hold) == (3, [{"lr": 0.01}], 3)


def test_an_override_may_set_keys_in_what_the_file_leaves_out_or_has_as_null(tmp_path: Path) -> None:
    path = smallest_file(tmp_path)
    assert load_spec(path, ["tradeoff.weak_accuracy=[0.2, 0.3]"]).tradeoff is not None
    assert load_spec(path, ["tradeoff=null"]).tradeoff is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("weak.gole.hold=3", "weak.gole: there is no key `gole`; did you mean `goal`? (known: goal, cost, model, "),
        ("weak.goal.holds=3", "weak.goal.holds: there is no key `holds`; did you mean `hold`? (known: val_accuracy, "),
        ("weak.goal.hold=0", "weak.goal.hold: must be 1 or more, not 0 (from --set)"),
        (
            "weak.handover.epochs=9",
            'weak.handover: is the text "best", which has no key `epochs`; set weak.handover as',
        ),
        ("weak.goal.hold", "--set takes key=value, as in weak.goal.val_accuracy=0.5, not `weak.goal.hold`"),
        ("=3", "--set takes key=value, as in weak.goal.val_accuracy=0.5, not `=3`"),
        ("weak..hold=3", "--set takes key=value, as in weak.goal.val_accuracy=0.5, not `weak..hold=3`"),
        ("seed=[1", "--set seed=[1, line 1, column 3: cannot be read as YAML: while parsing a flow sequence"),
        ("seed=", "seed: must be a whole number, not nothing (null) (from --set)"),
    ],
)
def test_overrides_that_make_no_sense(setting: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(smallest_file(tmp_path), ["weak.handover=best", setting])
    assert str(refused.value).startswith(message)


# ---- what is refused, and with which words -----------------------------------------------------------------------

METHODS_KNOWN = f"(known: {', '.join(METHODS)})"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # keys
        (
            {"sed": 3},
            "sed: there is no key `sed`; did you mean `seed`? (known: name, about, seed, task, weak, target, rep",
        ),
        ({"weak__gaol": {}}, "weak.gaol: there is no key `gaol`; did you mean `goal`? (known: goal, cost, model, "),
        ({"weak__zzz": {}}, "weak.zzz: there is no key `zzz` (known: goal, cost, model, "),
        ({"task__q": 5}, "task.q: there is no key `q` (known: name, seed, train_fraction, p"),
        (
            {"weak__model__widht": 5},
            "weak.model.widht: there is no key `widht`; did you mean `width`? (known: name, d_e",
        ),
        (
            {"target__model__widht": 5},
            "target.model.widht: there is no key `widht`; did you mean `width`? (known: name",
        ),
        ({"weak__goal": {}}, "weak.goal: `val_accuracy` is missing and has no default; add it"),
        ({"target__budget": ...}, "target: `budget` is missing and has no default; add it"),
        ({"task__name": ...}, "task: `name` is missing and has no default; add it"),
        ({"weak__model__width": ...}, "weak.model.width: an mlp of depth 2 over tokens needs the width"),
        # names
        (
            {"task__name": "modular_adition"},
            "task.name: there is no task `modular_adition`; did you mean `modular_addi",
        ),
        ({"task__name": 3}, "task.name: must be text, not 3"),
        ({"weak__model__name": "mpl"}, "weak.model.name: there is no model `mpl`; did you mean `mlp`? (known: mlp"),
        (
            {"target__model__name": "mpl"},
            "target.model.name: there is no model `mpl`; did you mean `mlp`? (known: mlp",
        ),
        (
            {"target__methods": ["transfer", "scratch", "lowrank"]},
            f"target.methods[2]: there is no method `lowrank`; did you mean `lowrank_random`? {METHODS_KNOWN}",
        ),
        (
            {"target__methods": ["transfer", "scratch", "transfer"]},
            "target.methods[2]: the method `transfer` stands twice; take one out",
        ),
        (
            {"target__methods": ["scratch"]},
            "target.methods: `transfer` is missing: it is what the weak stage is for; add it",
        ),
        ({"target__methods": ["transfer"]}, "target.methods: `scratch` is missing: it is the reference; add it"),
        ({"target__methods": "transfer"}, 'target.methods: must be a list, not the text "transfer"'),
        (
            {"weak__optimizer": "adammw"},
            "weak.optimizer: there is no optimizer `adammw`; did you mean `adamw`? (known: adam",
        ),
        ({"target__optimizer": "lion"}, "target.optimizer: there is no optimizer `lion` (known: adamw"),
        (
            {"weak__search": "bayes"},
            'weak.search: must be one of tpe, random, grid, not the text "bayes"',
        ),
        (
            {"weak__cost": "flop"},
            "weak.cost: must be one of params, flops, seconds, total_flops, total_seconds, "
            'not the text "flop"; did you mean `flops`?',
        ),
        ({"weak__handover": "gaol"}, 'weak.handover: must be one of goal, best, {epochs: N}, not the text "gaol"'),
        (
            {"weak__handover": {"epoch": 3}},
            "weak.handover.epoch: there is no key `epoch`; did you mean `epochs`? (known",
        ),
        (
            {"name": "a/b"},
            "name: it names the run folder: at most 64 letters, digits, `.`, `_` or `-`, the first a letter",
        ),
        # numbers
        ({"weak__goal__val_accuracy": 0}, "weak.goal.val_accuracy: must be above 0, not 0"),
        ({"weak__goal__val_accuracy": 1.0}, "weak.goal.val_accuracy: must be below 1, not 1.0"),
        ({"target__goal__val_accuracy": 99}, "target.goal.val_accuracy: must be below 1, not 99; write 0.99 for 99 %"),
        (
            {"weak__goal__val_accuracy": 0.04},
            "weak.goal.val_accuracy: must be above chance, which is 0.0435 for a + b mod 23, not 0.04; raise it",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.04, 0.1]}},
            "tradeoff.weak_accuracy[0]: must be above chance, which is 0.0435 for a + b mod 23, not 0.04; raise it",
        ),
        (
            {"weak__goal__val_accuracy": "0.4"},
            'weak.goal.val_accuracy: must be a number, not the text "0.4"; take the q',
        ),
        ({"weak__goal__val_accuracy": True}, "weak.goal.val_accuracy: must be a number, not the truth value true"),
        ({"weak__goal__val_accuracy": math.nan}, "weak.goal.val_accuracy: must be a finite number, not nan"),
        ({"resources": {"cpus_per_trial": math.inf}}, "resources.cpus_per_trial: must be a finite number, not inf"),
        ({"weak__goal__hold": 2.5}, "weak.goal.hold: must be a whole number, not 2.5"),
        ({"weak__goal__hold": 2.0}, "weak.goal.hold: must be a whole number, not 2.0; write 2"),
        ({"weak__goal__hold": "2"}, 'weak.goal.hold: must be a whole number, not the text "2"; take the quotes away'),
        ({"weak__goal__hold": True}, "weak.goal.hold: must be a whole number, not the truth value true"),
        ({"weak__goal__hold": None}, "weak.goal.hold: must be a whole number, not nothing (null)"),
        ({"weak__goal__hold": [2]}, "weak.goal.hold: must be a whole number, not the list [2]; give one value"),
        ({"weak__goal__hold": 0}, "weak.goal.hold: must be 1 or more, not 0"),
        ({"weak__goal__hold": 10**10}, "weak.goal.hold: must be 1,000,000,000 or less, not 10000000000; lower it"),
        (
            {"target__methods": ["scratch", "\u202e\u00ad"]},
            r"target.methods[1]: there is no method `\u202e\xad` (known",
        ),
        ({"weak__goal__hold": -0.0}, "weak.goal.hold: must be a whole number, not -0.0; write 0"),
        ({"seed": 2**63}, "seed: must be a whole number of at most 18 digits, not a longer one"),
        ({"weak__judge__later_snapshot": 1}, "weak.judge.later_snapshot: must be true or false, not 1"),
        ({"task__p": 3}, "task.p: must be 5 or more, not 3"),
        ({"task__p": "23"}, 'task.p: must be a whole number, not the text "23"; take the quotes away'),
        ({"task__train_fraction": 1.0}, "task.train_fraction: must be below 1, not 1.0"),
        (
            {"task__train_fraction": 0.999},
            "task: 99.9 % train of 529 examples leaves the validation part empty; choose sizes that leave every",
        ),
        ({"task__train_fraction": 1e-6}, "task: 0.0001 % train of 529 examples leaves the train part empty; "),
        # shapes
        ({"weak": []}, "weak: must be a mapping of keys to values, not the list []"),
        ({"task": "modular_addition"}, 'task: must be a mapping with a name, not the text "modular_addition"'),
        ({"weak__model": None}, "weak.model: must be a mapping with a name, not nothing (null)"),
        ({"weak__tune": [1]}, "weak.tune: must be a mapping of hyperparameters to domains, not the list [1]"),
        ({"name": 3}, "name: must be text, not 3"),
        ({"weak__goal": {1: 2}}, "weak.goal: keys must be text, not 1"),
        ({"name": "\ud800"}, "name: must be text that UTF-8 can write; take the lone surrogates out"),
        ({"weak__goal": {"\ud800": 2}}, 'weak.goal: keys must be text, not the text "\\ud800"'),
        ({"seed": b"1"}, "seed: must be a mapping, a list, text or a number, not of the type bytes"),
        # architectures
        ({"weak__model__width": []}, "weak.model.width: the list is empty; give at least one value"),
        ({"weak__model__width": [4, 0]}, "weak.model.width: must be 1 or more, not 0"),
        (
            {"weak__model__width": [4, "8"]},
            'weak.model.width: must be a whole number, not the text "8"; take the quotes',
        ),
        (
            {"weak__model": {"name": "mlp", "d_embed": list(range(1, 200)), "width": list(range(1, 200))}},
            "weak.model: these lists make 39601 architectures; give at most 10000",
        ),
        (
            {"target__model__width": [8, 16]},
            "target.model.width: the target has one architecture: must be one value, not the list [8, 16]",
        ),
        # hyperparameters
        (
            {"weak__tune__lr": ...},
            "weak.tune: the hyperparameter `lr` is missing; give it a domain, or a number to fix it",
        ),
        (
            {"target__tune__init_scale": ...},
            "target.tune: the hyperparameter `init_scale` is missing; give it a domain",
        ),
        (
            {"weak__tune__learning_rate": 1},
            "weak.tune.learning_rate: there is no hyperparameter `learning_rate` (known: lr, weight_decay, init_scale)",
        ),
        ({"weak__tune__embedding_scale": 1}, "weak.tune.embedding_scale: there is no hyperparameter `embedding_scale`"),
        (
            {"weak__tune__lr": {"uniform": [2, 1]}},
            "weak.tune.lr: uniform needs its lower bound first; [2, 1] is reversed",
        ),
        (
            {"weak__tune__lr": {"uniform": [1, 1]}},
            "weak.tune.lr: uniform holds only 1; write the number alone to fix it",
        ),
        ({"weak__tune__lr": []}, "weak.tune.lr: a choice needs at least one number; the list is empty"),
        (
            {"weak__tune__lr": {"loguniform": [0, 1]}},
            "weak.tune.lr: loguniform needs bounds above 0, not [0, 1]; raise them or use uniform",
        ),
        (
            {"weak__tune__lr": "3e-3"},
            "weak.tune.lr: must be a number, or a domain such as {uniform: [0.1, 1]}, not '3e-3'",
        ),
        ({"weak__tune__lr": True}, "weak.tune.lr: must be a number, or a domain such as {uniform: [0.1, 1]}, not True"),
        (
            {"weak__tune__lr": {"logunifrom": [1, 2]}},
            "weak.tune.lr: there is no domain `logunifrom`; did you mean `logun",
        ),
        ({"weak__tune__lr": {"uniform": [0, 1]}}, "weak.tune.lr: lr must be above 0 all over its domain, not 0; raise"),
        (
            {"weak__tune__weight_decay": {"uniform": [-1, 1]}},
            "weak.tune.weight_decay: weight_decay must be 0 or more all over its domain, not -1; raise the least value",
        ),
        # published settings
        (
            {"weak__start_from": [{"lr": 0.5}]},
            "weak.start_from[0].lr: must lie in the domain {loguniform: [0.003, 0.1]}, not at 0.5; widen the domain",
        ),
        (
            {"weak__start_from": [{}]},
            "weak.start_from[0]: is empty; give it hyperparameters or take it out",
        ),
        (
            {"weak__start_from": [{"embedding_scale": 1}]},
            "weak.start_from[0].embedding_scale: there is no tuned hyperparameter `embedding_scale`;",
        ),
        (
            {"target__start_from": {"scratch": [{"lr": 0.01}, {"weight_decay": 0.2}]}},
            "target.start_from.scratch[1].weight_decay: must lie in the domain [0.1, 1.0], not at 0.2; widen",
        ),
        (
            {"target__start_from": {"scratch": [{"embedding_scale": 1}]}},
            "target.start_from.scratch[0].embedding_scale: there is no tuned hyperparameter `embedding_scale`;",
        ),
        (
            {"target__start_from": {"tranfer": [{"lr": 0.01}]}},
            "target.start_from.tranfer: there is no method `tranfer`; did you mean `transfer`? (known: transfer",
        ),
        (
            {"target__start_from": {"lowrank_random": [{"lr": 0.01}]}},
            "target.start_from.lowrank_random: there is no method `lowrank_random` (known: transfer, scratch)",
        ),
        (
            {"weak__start_from": [{"lr": "0.01"}]},
            'weak.start_from[0].lr: must be a number, not the text "0.01"; take the quotes away',
        ),
        # more demanded than given
        (
            {"weak__gate": {"seeds": 3}},
            "weak.gate.at_least: must be at most seeds, which is 3, not 4; lower it or raise se",
        ),
        (
            {"weak__judge": {"at_least": 4}},
            "weak.judge.at_least: must be at most weak_seeds, which is 3, not 4; lower it or raise weak_seeds",
        ),
        (
            {"weak__judge": {"weak_seeds": 6}},
            "weak.judge.weak_seeds: must be at most weak.gate.seeds, which is 5, not 6; lower it or raise weak.ga",
        ),
        (
            {"report": {"seeds": 5}},
            "report.at_least: must be at most seeds, which is 5, not 7; lower it or raise seeds",
        ),
        (
            {"weak__budget": {"max_epochs": 9}},
            "weak.goal.evaluate_every: must be at most budget.max_epochs, which is 9, not 10; evaluate more often",
        ),
        (
            {"weak__budget": {"max_epochs": 25}, "weak__goal__hold": 5},
            "weak.goal.hold: 5 evaluations, one every 10 epochs, do not fit in 25 epochs; lower it or raise budget",
        ),
        (
            {"target__budget": {"max_epochs": 4}},
            "target.goal.evaluate_every: must be at most budget.max_epochs, which is 4, not 10; evaluate more often",
        ),
        (
            {"weak__handover": {"epochs": 1001}},
            "weak.handover.epochs: must be at most budget.max_epochs, which is 1000, not 1001; lower it",
        ),
        # trade-off levels
        (
            {"tradeoff": {"weak_accuracy": []}},
            "tradeoff.weak_accuracy: the list is empty; give levels, or leave out `tr",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2, 0.2]}},
            "tradeoff.weak_accuracy[1]: levels must rise, not go from 0.2 to 0.2; sort them",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2, 1.2]}},
            "tradeoff.weak_accuracy[1]: must be below 1, not 1.2",
        ),
        # designs of the trade-off
        (
            {"tradeoff": {"weak_accuracy": [0.2], "designs": []}},
            "tradeoff.designs: the list is empty; name designs, or leave out `tradeoff`",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "designs": ["dose", "snapshots", "dose"]}},
            "tradeoff.designs[2]: the design `dose` stands twice; take one out",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "designs": ["snapshot"]}},
            'tradeoff.designs[0]: must be one of snapshots, endpoints, dose, not the text "snapshot"; did you mean',
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "designs": ["dose"], "doses": []}},
            "tradeoff.doses: the list is empty; give doses, or take `dose` out of the designs",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "doses": [0.5, 0.25]}},
            "tradeoff.doses[1]: doses must rise, not go from 0.5 to 0.25; sort them",
        ),
        ({"tradeoff": {"weak_accuracy": [0.2], "doses": [-0.1]}}, "tradeoff.doses[0]: must be 0 or more, not -0.1"),
        ({"tradeoff": {"weak_accuracy": [0.2], "doses": [1.5]}}, "tradeoff.doses[0]: must be 1 or less, not 1.5"),
        ({"tradeoff": {"weak_accuracy": [0.2], "refine": 0}}, "tradeoff.refine: must be above 0, not 0"),
        ({"tradeoff": {"weak_accuracy": [0.2], "refine": 1}}, "tradeoff.refine: must be below 1, not 1"),
        ({"tradeoff": {"weak_accuracy": [0.2], "retune": -1}}, "tradeoff.retune: must be 0 or more, not -1"),
        ({"tradeoff": {"weak_accuracy": [0.2], "target_seeds": 0}}, "tradeoff.target_seeds: must be 1 or more, not 0"),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "endpoints": {"architectures": 0}}},
            "tradeoff.endpoints.architectures: must be 1 or more, not 0",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "endpoints": {"decays": 3}}},
            "tradeoff.endpoints.decays: there is no key `decays`; did you mean `weight_decays`?",
        ),
        # grids
        (
            {"weak__search": "grid"},
            "weak.search: a grid needs lists or numbers, and these are ranges: lr; give tune.lr a list, or",
        ),
        (
            {"target__search": "grid", "target__tune__lr": [0.1]},
            "target.search: a grid needs lists or numbers, and these are ranges: embedding_scale; give tune.embedding",
        ),
        # resources
        ({"resources": {"workers": 0}}, "resources.workers: must be `auto` or a whole number from 1 on, not 0"),
        (
            {"resources": {"workers": "all"}},
            "resources.workers: must be `auto` or a whole number from 1 on, not the text",
        ),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial: must be above 0, not 0"),
        (
            {"resources": {"gpus_per_trial": 1.5}},
            "resources.gpus_per_trial: must be `auto`, a share from 0 to 1 or a wh",
        ),
        (
            {"resources": {"gpus_per_trial": True}},
            "resources.gpus_per_trial: must be `auto`, a share from 0 to 1 or a w",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    said = complaint(changed(**changes))
    assert said.startswith(message)
    assert said.count("\n") == 0


MANY = 10**9


@pytest.mark.parametrize(
    "path",
    [
        *(f"report__{name}" for name in ("seeds", "at_least", "weak_tries")),
        *(f"weak__gate__{name}" for name in ("seeds", "at_least")),
        *(f"weak__judge__{name}" for name in ("configs", "weak_seeds", "at_least", "candidates_per_architecture")),
        *(f"target__gate__{name}" for name in ("configs", "seeds")),
        "weak__budget__configs_per_architecture",
        "target__budget__configs",
        *(f"tradeoff__{name}" for name in ("seeds", "target_seeds", "retune")),
        *(f"tradeoff__endpoints__{name}" for name in ("architectures", "weight_decays")),
    ],
)
def test_what_is_run_again_and_again_has_a_bound(path: str) -> None:
    content = changed(tradeoff={"weak_accuracy": [0.2, 0.3], "endpoints": {}}, weak__gate={}, weak__judge={})
    content |= {"report": {}}
    content["target"]["gate"] = {}
    *keys, last = path.split("__")
    inner = content
    for key in keys:
        inner = inner.setdefault(key, {})
    inner[last] = MANY
    said = complaint(content)
    assert said.startswith(f"{path.replace('__', '.')}: must be 10,000 or less, not {MANY}; lower it")


LONG = [round(0.001 * i, 3) for i in range(1, 1001)]
TOO_MANY = "and 100,000 are the most of one part of a search; lower one of them"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "target__search": "grid",
                "target__tune": {"lr": LONG, "weight_decay": LONG, "init_scale": LONG, "embedding_scale": 1},
            },
            f"target: 2 methods x 1,000,000,000 configs make 2,000,000,000 runs, {TOO_MANY}",
        ),
        (
            {"weak__search": "grid", "weak__tune": {"lr": LONG, "weight_decay": LONG, "init_scale": 1}},
            f"weak: 2 architectures x 1,000,000 configs make 2,000,000 runs, {TOO_MANY}",
        ),
        (
            {"weak__model__width": list(range(1, 101)), "weak__budget__configs_per_architecture": 501},
            f"weak: 200 architectures x 501 configs make 100,200 runs, {TOO_MANY}",
        ),
        (
            {"weak__gate": {"seeds": 10**4}, "weak__budget__configs_per_architecture": 11},
            f"weak.gate: 11 configs x 10,000 seeds make 110,000 runs, {TOO_MANY}",
        ),
        (
            {"target__gate": {"configs": 11, "seeds": 10**4}},
            f"target.gate: 11 configs x 10,000 seeds make 110,000 runs, {TOO_MANY}",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "seeds": 10**4, "target_seeds": 10**4}},
            f"tradeoff: replicates x levels, doses and endpoints x target seeds make 300,010,000 runs, {TOO_MANY}",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.5 + 0.001 * i for i in range(101)]}},
            "tradeoff.weak_accuracy: holds 101 levels, and 100 are the most; take some out",
        ),
        (
            {"tradeoff": {"weak_accuracy": [0.2], "doses": [0.001 * i for i in range(101)]}},
            "tradeoff.doses: holds 101 doses, and 100 are the most; take some out",
        ),
        (
            {"weak__tune__lr": [i + 1 for i in range(10_001)]},
            "weak.tune.lr: holds 10,001 entries, and 10,000 are the most; take some out",
        ),
        ({"probes": ["weight_norms"] * 101}, "probes: are 101, and 100 are the most; take some out"),
        (
            {"target__embedding_from": {"name": "growth", "chain": [LINK] * 21}},
            "target.embedding_from.chain: has 21 links, and 20 are the most; take some out",
        ),
        (
            {"ablate": {"design": "crossed", "vary": {f"v{i}": {"target.tune.lr": LONG[:10]} for i in range(12)}}},
            "ablate.vary: these make 1,000,000,000,000 variations, and 1,000 are the most; vary less or one_at_a_time",
        ),
        (
            {"ablate": {"vary": {"v": {"target.tune.lr": [*LONG, 2]}}}},
            "ablate.vary: these make 1,001 variations, and 1,000 are the most; vary less",
        ),
        (
            {"weak__model__width": list(range(1, 101)), "ablate": {"vary": {"v": {"target.tune.lr": LONG[:500]}}}},
            "ablate.vary: 500 variations of 200 weak architectures each are too many: 100,000 architectures are the "
            "most of all variations; vary less, or give weak.model fewer sizes",
        ),
    ],
)
def test_more_than_a_search_can_hold_is_counted_and_refused(changes: dict[str, Any], message: str) -> None:
    assert complaint(changed(**changes)).startswith(message)


def test_what_a_search_can_hold_is_not_refused() -> None:
    vary = {f"v{i}": {"target.tune.lr": LONG[:10]} for i in range(2)}
    spec = parse_spec(changed(ablate={"design": "crossed", "vary": vary}, report={"seeds": 10**4}))
    assert len(spec.variations()) == 101 == 1 + spec.ablate.count if spec.ablate else 0


def test_bounds_of_the_hold_rule() -> None:
    """25 epochs, one evaluation every 10: epochs 0, 10 and 20 count for the goal; 25, off the grid, does not."""
    assert parse_spec(changed(weak__budget={"max_epochs": 25}, weak__goal__hold=3)).weak.goal.hold == 3
    told = complaint(changed(weak__budget={"max_epochs": 25}, weak__goal__hold=4))
    assert told.startswith("weak.goal.hold: 4 evaluations, one every 10 epochs, do not fit in 25 epochs")


def kept_levels(**asked: Any) -> tuple[float, ...]:
    tradeoff = parse_spec(changed(tradeoff=asked)).tradeoff
    assert tradeoff is not None
    return tradeoff.kept_levels


def test_a_trade_off_gets_every_default() -> None:
    tradeoff = parse_spec(changed(tradeoff={"weak_accuracy": [0.2, 0.3]})).tradeoff
    assert tradeoff is not None
    assert (tradeoff.designs, tradeoff.refine, tradeoff.seeds, tradeoff.target_seeds) == (["snapshots"], 0.05, 10, 1)
    assert (tradeoff.retune, tradeoff.doses) == (0, [0.0, 0.2, 0.4, 0.6, 0.8])
    assert (tradeoff.endpoints.architectures, tradeoff.endpoints.weight_decays) == (6, 3)


def test_levels_that_refining_may_ask_for_are_kept() -> None:
    assert kept_levels(weak_accuracy=[0.2, 0.3], refine=None) == (0.2, 0.3)
    assert len(kept_levels(weak_accuracy=[0.2, 0.3])) > len(kept_levels(weak_accuracy=[0.2, 0.3], refine=0.1)) > 2
    assert kept_levels(weak_accuracy=[0.2]) == (0.2,)
    assert kept_levels(weak_accuracy=[0.2, 0.2000001]) == (0.2,), "what cannot be told apart is one"


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=6, unique=True).map(sorted), st.floats(1e-4, 0.9))
def test_kept_levels_rise_are_not_too_many_and_hold_those_asked_for(levels: list[float], refine: float) -> None:
    kept = kept_levels(weak_accuracy=levels, refine=refine)
    assert list(kept) == sorted(set(kept)) and {round(level, 6) for level in levels} <= set(kept)
    assert len(kept) <= 100 + len(levels)
    widest = max((b - a for a, b in pairwise(kept)), default=0.0)
    assert widest <= max(refine / 2, (levels[-1] - levels[0]) / 100) + 2e-6


def test_a_seed_is_never_negative() -> None:
    assert complaint(changed(seed=-1)).startswith("seed: must be 0 or more, not -1")


def test_the_path_stands_on_the_error_too() -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(changed(weak__goal__hold=0))
    assert refused.value.path == "weak.goal.hold"


def test_of_several_mistakes_the_first_is_told_and_the_rest_counted() -> None:
    content = changed(weak__goal__hold=0, weak__gate={"seeds": 0}, report={"seeds": 0, "at_least": 0})
    assert complaint(content) == "weak.goal.hold: must be 1 or more, not 0 (and 3 more: `gtsearch check` shows them)"


def test_long_values_are_cut_in_messages() -> None:
    said = complaint(changed(weak__goal__hold="x" * 500))
    assert len(said) < 150 and "..." in said


@pytest.mark.parametrize("content", [None, [], 3, "modadd", {}])
def test_what_is_no_experiment_at_all(content: Any) -> None:
    said = complaint(content)
    assert said.startswith(
        "must be a mapping of keys" if content != {} else "`name` is missing and has no default; add"
    )


def test_a_mapping_that_holds_itself() -> None:
    endless: dict[str, Any] = {}
    endless["weak"] = endless
    assert complaint(endless) == "weak.weak.weak: is nested more than 20 deep; no experiment is"


def test_a_grid_of_lists_and_numbers_is_fine() -> None:
    tune = {"lr": [0.01, 0.1], "weight_decay": {"choice": [0.1, 1]}, "init_scale": 1, "embedding_scale": [1, 2]}
    spec = parse_spec(changed(target__search="grid", target__tune=tune))
    assert [domain.values() for domain in spec.method_space("scratch").values()] == [[0.01, 0.1], [0.1, 1.0], [1.0]]


# ---- whatever stands in it, never another exception -----------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=2)
    | st.sampled_from(["goal", "auto", "grid", "mlp", "scratch", 0.5, 1, 2**70, "1e-3", "\ud800", "a\u2028b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2)
        | st.fixed_dictionaries({"uniform": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"name": inner})
    ),
    max_leaves=5,
)
FULL = reading.plain(parse_spec({**SMALLEST, "tradeoff": {"weak_accuracy": [0.2, 0.3]}}).model_dump())


def places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    steps = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    return [(*place, key) for key, _ in steps] + [
        deeper for key, inner in steps for deeper in places(inner, (*place, key))
    ]


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """A full experiment with some values replaced, taken out or put in."""
    content: dict[str, Any] = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from(places(content)))
        inner: Any = content
        for key in outer:
            inner = inner[key]
        match draw(st.sampled_from(["replace", "take out", "put in"])):
            case "replace":
                inner[last] = draw(anything)
            case "take out":
                del inner[last]
            case "put in" if isinstance(inner, dict):
                inner[draw(st.text(max_size=4) | st.integers())] = draw(anything)
    return content


@settings(max_examples=400)
@given(mutations() | anything)
def test_any_mapping_is_an_experiment_or_one_clear_line(content: Any) -> None:
    try:
        spec = parse_spec(content)
    except SpecError as error:
        said = str(error)
        assert len(said.splitlines()) == 1
        assert len(said) < 600
        assert "Input should" not in said and "pydantic" not in said
        said.encode("utf-8")
    else:
        assert parse_spec(spec.model_dump()) == spec


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_text_is_an_experiment_or_one_clear_line(tmp_path: Path, data: st.DataObject) -> None:
    text = parse_spec(SMALLEST).to_yaml()
    start = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text(alphabet="[]{}:,-#&*!|>'\"%@ \t\nabe0.1\x00\u2028~?", max_size=8) | st.text(max_size=4))
    stop = data.draw(st.integers(start, min(len(text), start + 10)))
    path = tmp_path / "any.yaml"
    path.write_bytes((text[:start] + junk + text[stop:]).encode("utf-8", "surrogatepass"))
    overrides = data.draw(st.lists(st.text(max_size=8) | st.just("weak.goal.hold=2"), max_size=1))
    try:
        load_spec(path, overrides)
    except SpecError as error:
        assert len(str(error).splitlines()) == 1
