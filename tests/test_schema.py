"""The JSON Schema of the experiment file: as strict as the parser about shapes, and never stricter."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from spec_strategy import broken_content, experiments

from gtsearch import catalog, reading, schema
from gtsearch.completion import dotted_keys, schema_file
from gtsearch.errors import SpecError
from gtsearch.spec import parse_spec

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "search_spaces" / "schema.json"
FILES = sorted((ROOT / "search_spaces").rglob("*.yaml"))
SCHEMA = schema.schema()
VALIDATOR = Draft202012Validator(SCHEMA)

SOUND: dict[str, Any] = {
    "name": "tiny",
    "task": {"name": "modular_addition", "p": 7},
    "weak": {
        "goal": 0.5,
        "model": {"name": "mlp", "d_embed": [2, 4], "width": 8},
        "tune": {"lr": {"loguniform": [3e-3, 0.1]}, "weight_decay": [0, 1], "init_scale": 1},
    },
    "target": {
        "goal": {"val_accuracy": 0.9},
        "model": {"name": "mlp", "d_embed": 8, "width": 8},
        "tune": {"lr": 0.01, "weight_decay": 0, "init_scale": {"randint": [1, 3]}},
        "budget": {"max_epochs": 100},
    },
}


def parses(content: Any) -> bool:
    try:
        parse_spec(content)
    except SpecError:
        return False
    return True


def with_value(path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(SOUND)
    reading.override_values(content, {path: value})
    return content


def test_the_kept_file_is_what_the_code_makes() -> None:
    assert KEPT.read_text("utf-8") == schema.text(), "make it anew: gtsearch schema --out search_spaces/schema.json"
    assert schema_file().read_text("utf-8") == schema.text()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_experiment_that_comes_along_names_the_schema_and_fits_it(file: Path) -> None:
    first = file.read_text("utf-8").splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named and os.path.samefile(file.parent / named[1], KEPT)
    content, _ = reading.read_experiment(file)
    assert [error.message for error in VALIDATOR.iter_errors(content)] == []


@pytest.mark.parametrize(
    "block", re.findall(r"```yaml\n(name:.*?)```", (ROOT / "docs/experiment-file.md").read_text(), re.S)
)
def test_the_experiments_of_the_reference_fit_it(block: str) -> None:
    content = yaml.load(block, Loader=reading._Loader)
    assert "target" not in content or [error.message for error in VALIDATOR.iter_errors(content)] == []


@given(st.one_of(experiments(), broken_content()))
def test_what_the_parser_accepts_the_schema_accepts(content: dict[str, Any]) -> None:
    if parses(content):
        assert [error.message for error in VALIDATOR.iter_errors(content)] == []


# -- mistakes -----------------------------------------------------------------------------------------------------

MISTAKES: dict[str, Any] = {
    "name": "a b",
    "seeds": 3,
    "seed": -1,
    "task": "modular_addition",
    "task.name": "modular_adition",
    "task.p": "7",
    "task.q": 7,
    "task.train_fraction": 25,
    "weak.goal": "above chance",
    "target.goal.val_acuracy": 0.5,
    "weak.cost": "parameters",
    "weak.model": {"d_embed": 4},
    "weak.model.name": "mpl",
    "weak.model.d_embed": [],
    "weak.model.heads": 2,
    "weak.model.width": [8, "16"],
    "weak.optimizer": "adamW",
    "weak.loss": "crossentropy",
    "weak.search": "bayes",
    "weak.tune": {"lr": 0.1},
    "weak.tune.lr": "3e-3",
    "weak.tune.weight_decay": -1,
    "weak.tune.init_scale": {"log_uniform": [1, 2]},
    "weak.tune.embedding_scale": 2,
    "weak.start_from": [{"learning_rate": 1}],
    "weak.gate.seeds": 2.5,
    "weak.gate": None,
    "weak.handover": {"epoch": 3},
    "weak.judge.by": "accuracy",
    "weak.judge.later_snapshot": "no",
    "weak.order_by": "beauty",
    "target": None,
    "target.goal.hold": 0,
    "target.model.d_embed": [4, 8],
    "target.methods": ["scratch", "transfr"],
    "target.options": {"transfer": {"freeze": True}},
    "target.options.transfer": {"edit": {"name": "rescale"}},
    "target.start_from": [{"lr": 0.1}],
    "target.tune.lr": {"loguniform": [0, 1]},
    "target.tune.lrs": 1,
    "target.budget": {"configs": 3},
    "target.embedding_from": {"name": "cross-task"},
    "report.seeds": "ten",
    "tradeoff": {"seeds": 3},
    "tradeoff.weak_accuracy": 0.5,
    "probes": ["weight_norm"],
    "probes.weight_norms": True,
    "ablate": {"vary": {"depth": {"depth": 3}}},
    "ablate.vary": {"a/b": {"report.seeds": 3}},
    "resources.workers": 0,
    "resources.gpus_per_trial": 1.5,
    "about": {"show": "x"},
    "about.shows": None,
}


def test_the_sound_experiment_is_one() -> None:
    assert parses(SOUND) and VALIDATOR.is_valid(SOUND)


@pytest.mark.parametrize("path", MISTAKES)
def test_both_refuse_a_typical_mistake(path: str) -> None:
    content = with_value(path, MISTAKES[path])
    assert not parses(content)
    assert not VALIDATOR.is_valid(content)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the mappings are, but for the paths of variations: those are judged by what they name."""
    if isinstance(value, dict):
        yield place
        for key, inner in value.items():
            if key != "vary":
                yield from places(inner, (*place, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from places(inner, (*place, i))


@given(experiments(), st.data())
def test_both_refuse_a_key_that_is_not_there_wherever_it_stands(content: dict[str, Any], data: st.DataObject) -> None:
    if not parses(content):
        return
    place = data.draw(st.sampled_from(list(places(content))))
    content = copy.deepcopy(content)
    inner: Any = content
    for key in place:
        inner = inner[key]
    inner["nonsense"] = data.draw(st.sampled_from([1, "x", None, [1]]))
    assert not parses(content)
    assert not VALIDATOR.is_valid(content), f"the schema takes an unknown key at {place}"


@given(experiments(), st.data())
def test_both_refuse_a_mapping_in_the_place_of_a_value(content: dict[str, Any], data: st.DataObject) -> None:
    """And a truth value: nothing takes either but keys that are declared so."""
    if not parses(content):
        return
    content = copy.deepcopy(content)
    inner = content["weak"] if "weak" in content and data.draw(st.booleans()) else content["target"]
    key = data.draw(st.sampled_from(sorted(set(inner) - {"options", "start_from"})))
    inner[key] = data.draw(st.sampled_from([{"nonsense": 1}, True, "nonsense"]))
    if key == "cap_controls" and inner[key] is True:
        return
    assert not parses(content) and not VALIDATOR.is_valid(content)


# -- what the parser alone cannot know yet ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["task", "weak.model", "target.model"])
def test_tasks_and_models_of_one_s_own_are_taken_with_options_that_nobody_here_knows(path: str) -> None:
    assert VALIDATOR.is_valid(with_value(path, {"name": "mypackage.data:make", "anything": [1]}))
    assert not VALIDATOR.is_valid(with_value(path, {"name": "mypackage.data", "anything": [1]}))


@pytest.mark.parametrize(
    ("trackers", "are_fine"),
    [
        (["tensorboard", {"name": "mlflow", "experiment": "mine"}], True),
        (["tensorbord"], False),
        ([{"name": "mlflow", "entity": "me"}], False),
    ],
)
def test_both_take_and_refuse_the_same_trackers(trackers: list[Any], are_fine: bool) -> None:
    content = with_value("trackers", trackers)
    assert parses(content) == VALIDATOR.is_valid(content) == are_fine


def test_a_method_of_one_s_own_brings_options_and_hyperparameters() -> None:
    content = with_value("target.methods", ["scratch", "transfer", "mine.methods:Slow"])
    content["target"]["options"] = {"mine.methods:Slow": {"speed": 1}}
    content["target"]["tune"]["speed"] = {"uniform": [0, 1]}
    assert VALIDATOR.is_valid(content)
    content["target"]["tune"]["speed"] = "fast"
    assert not VALIDATOR.is_valid(content)


def test_a_name_that_was_added_to_a_menu_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.TASKS, "mine", catalog.TASKS["modular_addition"])
    content = with_value("task.name", "mine")
    assert not VALIDATOR.is_valid(content)
    assert Draft202012Validator(schema.schema()).is_valid(content)


# -- what an editor shows ---------------------------------------------------------------------------------------------


def test_every_key_is_described_and_what_has_a_default_tells_it() -> None:
    keys = {key.path: key for key in dotted_keys(SCHEMA)}
    assert len(keys) > 200
    for path, key in keys.items():
        assert key.what or path.startswith(("target.start_from.", "target.options.")), f"{path} has no description"
    judge = SCHEMA["$defs"]["Judge"]["properties"]
    assert judge["by"] == {
        "default": "target",
        "enum": ["target", "none"],
        "type": "string",
        "description": "`target`, or `none`, which believes the accuracy alone.",
    }
    assert keys["weak.search"].values == ("tpe", "random", "grid")
    assert set(catalog.OPTIMIZERS) <= set(keys["target.optimizer"].values)
    assert set(catalog.TASKS) == set(keys["task.name"].values)


def test_every_name_on_a_menu_is_described() -> None:
    name = SCHEMA["$defs"]["Task"]["properties"]["name"]["anyOf"][0]
    assert name["enum"] == list(catalog.TASKS) and all(name["enumDescriptions"])
    assert len(name["enum"]) == len(name["enumDescriptions"])
    scores = SCHEMA["$defs"]["WeakSpec"]["properties"]["order_by"]["anyOf"][0]
    assert scores["enum"] == list(catalog.SCORES) and len(set(scores["enumDescriptions"])) == len(catalog.SCORES)


def test_every_key_of_every_part_and_entry_of_a_menu_is_described() -> None:
    for name, definition in {"the experiment": SCHEMA, **SCHEMA["$defs"]}.items():
        for part in (definition, *definition.get("anyOf", ())):
            for key, value in part.get("properties", {}).items():
                assert value.get("description"), f"`{key}` of {name} has no line under `Attributes:`"
