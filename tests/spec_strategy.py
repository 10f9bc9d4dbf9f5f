"""Experiment files as people and accidents write them: `texts()` gives bytes, from whole experiments to rubbish.

`experiments()` gives mappings that mostly are experiments: tiny in size, far-reaching in what they ask for. `broken()`
changes one such at a place, or its text. Files that tasks read are those of `small_tasks`.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from small_tasks import FOLDER, SMALL

from gtsearch import catalog
from gtsearch.measures import MEASURES

Draw = Callable[[st.SearchStrategy[Any]], Any]
Content = dict[str, Any]

TOKENS = [name for name in SMALL if name.startswith("modular_") or name in ("permutations", "table")]
ONE_OUTPUT = ["sparse_parity", "redundant_parity", "xor_clusters"]
NEEDS_WEAK = ["transfer", "lowrank_random", "transfer_shuffled"]
OVER_TOKENS_ALONE = ["onehot", "binary", "fourier"]
NAMES = [
    "tiny",
    "a.b_c-d",
    "0",
    "x" * 64,
    "x" * 65,
    "x" * 300,
    "größe",
    "猫",
    "a b",
    "",
    "..",
    "../../etc/passwd",
    "/tmp/evil",
    "<script>alert(1)</script>",
    'quote"d',
    "it's",
    "line\nbreak",
    "bell\a",
    "nul\0",
    "-rf",
    "a/b",
    "${HOME}",
    "{{7*7}}",
    "\u202egnp.exe",
    "\ud83d",
]
TALK = ["what <b>it</b> shows & 'quotes'", 'a "b" {{c}}', "größer 猫 \u202e", "</script><script>alert(1)</script>", "x"]
_np_file = FOLDER / "rows.npy"
np.save(_np_file, np.linspace(-1, 1, 7 * 4).reshape(7, 4).astype(np.float32))


def _maybe(draw: Draw, into: Content, key: str, value: st.SearchStrategy[Any], one_in: int = 2) -> None:
    """Puts a key in, or leaves it to its default."""
    if draw(st.integers(1, one_in)) == 1:
        into[key] = draw(value)


# -- whole experiments ------------------------------------------------------------------------------------------


def _domain(name: str, is_grid: bool) -> st.SearchStrategy[Any]:
    numbers = {
        "lr": [0.01, 0.05, 1e-3],
        "weight_decay": [0, 0.1, 1, 3],
        "init_scale": [0.3, 1, 2],
        "embedding_scale": [0.5, 1, 4],
        "grokfast_alpha": [0.5, 0.98],
        "grokfast_lambda": [0, 2, 5],
    }[name]
    fixed = st.sampled_from(numbers)
    some = st.lists(fixed, min_size=1, max_size=2, unique=True)
    listed = st.one_of(fixed, some, some.map(lambda values: {"choice": values}))
    if is_grid:
        return listed
    low, high = (0.01, 0.9) if name == "grokfast_alpha" else (0.01, 3)
    return st.one_of(
        listed,
        st.just({"loguniform": [low, high]}),
        st.just({"uniform": [low, high]}),
        st.just({"quniform": [0.25, 0.75, 0.25]}),
        *([] if name == "grokfast_alpha" else [st.just({"randint": [1, 4]})]),
    )


def _tune(draw: Draw, search: str, more: list[str]) -> Content:
    names = ["lr", "weight_decay", "init_scale", *(name for name in more if draw(st.booleans()))]
    return {name: draw(_domain(name, search == "grid")) for name in names}


def _inside(domain: Any) -> float:
    """A value of a domain that `_domain` gives."""
    match domain:
        case {"choice": values} | [*values]:
            return float(values[0])
        case {"randint": [low, _]} | {"quniform": [low, _, _]}:
            return float(low)
        case {"uniform": [low, high]} | {"loguniform": [low, high]}:
            return float(low + high) / 2
    return float(domain)


def _task(draw: Draw, names: list[str]) -> Content:
    task = dict(SMALL[draw(st.sampled_from(names))])
    if task["name"] == "modular_polynomial":
        task["expression"] = draw(st.sampled_from(["x^2 + x*y + y^2", "x + y", "x / y + 3", "(x - y)^3"]))
    if task["name"].startswith("modular_"):
        _maybe(draw, task, "keep_pairs", st.booleans(), 4)
    if "p" in task and task["name"] != "xor_clusters":
        task["p"] = draw(st.sampled_from([5, 7, 11]))
    if task["name"] == "sparse_parity":
        _maybe(draw, task, "tokens", st.booleans(), 2)
    _maybe(draw, task, "seed", st.sampled_from([0, 1, 2**62]), 6)
    return task


def _kind(task: Content) -> str:
    if task["name"] in TOKENS or (task["name"] == "sparse_parity" and task.get("tokens")):
        return "tokens"
    return "signs" if task["name"] in ONE_OUTPUT else "vectors"


def _model(draw: Draw, task: Content, kind: str, many: bool) -> Content:
    """Sizes; `many`: some of them lists, as the weak stage takes them."""

    def size(values: list[int]) -> Any:
        some = st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)
        return draw(some) if many and draw(st.booleans()) else draw(st.sampled_from(values))

    families = {"tokens": ["mlp", "mlp", "transformer"], "signs": ["mlp", "xor_net"], "vectors": ["mlp"]}[kind]
    family = draw(st.sampled_from(families))
    if family == "transformer":
        model: Content = {"name": family, "d_embed": size([4, 8]), "layers": 1, "heads": draw(st.sampled_from([1, 2]))}
        _maybe(draw, model, "d_mlp", st.just(8), 2)
        _maybe(draw, model, "d_head", st.just(3), 4)
        return model
    if family == "xor_net":
        model = {"name": family, "d_embed": size([2, 4])}
        _maybe(draw, model, "hidden_std", st.just(0.1), 2)
        if draw(st.booleans()):
            model["output"] = "signs"
        else:
            _maybe(draw, model, "output_std", st.just(0.01), 2)
        return model
    depth = draw(st.sampled_from([2, 3]))
    model = {"name": "mlp", "d_embed": size([2, 4, 8])}
    if kind == "tokens" or depth == 3:
        model |= {"depth": depth, "width": size([4, 8])}
    return model


def _goal(draw: Draw, accuracies: list[Any]) -> Any:
    accuracy = draw(st.sampled_from(accuracies))
    if draw(st.integers(1, 4)) == 1:
        return accuracy
    goal: Content = {"val_accuracy": accuracy, "evaluate_every": draw(st.sampled_from([2, 5]))}
    _maybe(draw, goal, "hold", st.integers(1, 3))
    return goal


def _search() -> st.SearchStrategy[str]:
    return st.sampled_from(["tpe", "tpe", "random", "grid"])


def _weak(draw: Draw, task: Content, kind: str) -> Content:
    search = draw(_search())
    losses = ["cross_entropy", "stablemax", "mse"] if task["name"] not in ONE_OUTPUT else ["logistic", "exponential"]
    weak: Content = {
        "goal": _goal(draw, ["none", "above_chance", 0.6, 0.7, 0.9]),
        "model": _model(draw, task, kind, many=True),
        "tune": _tune(draw, search, []),
        "budget": {"configs_per_architecture": draw(st.integers(1, 5)), "max_epochs": draw(st.sampled_from([20, 40]))},
    }
    if search != "tpe":
        weak["search"] = search
    seeds = draw(st.integers(1, 3))
    weak["gate"] = {"seeds": seeds, "at_least": draw(st.integers(1, seeds))}
    _maybe(draw, weak, "optimizer", st.sampled_from(list(catalog.OPTIMIZERS)))
    _maybe(draw, weak, "loss", st.sampled_from(losses), 3)
    _maybe(draw, weak, "cost", st.sampled_from(["params", "flops", "seconds"]))
    _maybe(draw, weak, "handover", st.sampled_from(["goal", "best", {"epochs": 10}, {"epochs": 20}]))
    if search != "grid":
        start = {name: _inside(domain) for name, domain in weak["tune"].items()}
        _maybe(draw, weak, "start_from", st.sampled_from([[start], [{"lr": start["lr"]}, start], []]), 3)
    if draw(st.integers(1, 4)) == 1:
        weak["judge"] = {"by": "none"}
    else:
        weak["judge"] = {"configs": draw(st.integers(1, 2)), "weak_seeds": draw(st.integers(1, seeds))}
        weak["judge"]["at_least"] = draw(st.integers(1, min(weak["judge"]["weak_seeds"], weak["gate"]["at_least"] + 1)))
        _maybe(draw, weak["judge"], "candidates_per_architecture", st.integers(1, 3))
        _maybe(draw, weak["judge"], "later_snapshot", st.booleans())
        _maybe(draw, weak, "order_by", st.sampled_from(list(catalog.SCORES)), 3)
        _maybe(draw, weak, "cost", st.sampled_from(["total_flops", "total_seconds"]), 4)
    return weak


def _options(draw: Draw, methods: list[str], kind: str, max_epochs: int) -> Content:
    some: dict[str, list[Content]] = {
        "transfer": [
            {"merge_at": 5},
            {"freeze_a": True},
            {"b_start": "signs"},
            {"edit": {"name": "rescale", "norm": 3}},
            {"edit": {"name": "truncate", "rank": 1}},
            {"edit": {"name": "denoise", "frequencies": 1}},
            {"layers": ["layers.0.weight"]},
        ],
        "lowrank_random": [{"spectrum": "default"}],
        "onehot": [{"trained": True}],
        "random": [{"width": 4}, {"width": 8, "trained": True}],
        "fourier": [{"frequencies": [1, 2]}],
        "file": [{"path": str(_np_file)}],
        "pca": [{"width": 2}],
        "lda": [{"width": 1}],
        "grokfast_ma": [{"window": 3, "warmup": False}],
        "sphere": [{"norm": "each"}],
    }
    options: Content = {}
    for name in methods:
        needed = name in ("file", "fourier", "pca", "random")
        if name in some and (needed or draw(st.integers(1, 3)) == 1):
            options[name] = draw(st.sampled_from(some[name]))
    return options


def _target(draw: Draw, task: Content, kind: str, weak: Content | None) -> Content:
    search, max_epochs = draw(_search()), draw(st.sampled_from([20, 40]))
    known = [name for name in catalog.METHODS if name not in ("scratch", "file")]
    known = [name for name in known if weak is not None or name not in NEEDS_WEAK]
    if kind != "tokens":
        known = [name for name in known if name not in OVER_TOKENS_ALONE]
    if task.get("p") == 7 and kind == "tokens":
        known.append("file")
    methods = ["scratch", *draw(st.lists(st.sampled_from(known), max_size=3, unique=True))]
    if weak is not None and "transfer" not in methods:
        methods.append("transfer")
    more = (
        ["embedding_scale"] if set(methods) & {"transfer", "lowrank_random", "transfer_shuffled", "pca", "lda"} else []
    )
    more += ["grokfast_alpha"] if "grokfast_ema" in methods else []
    more += ["grokfast_lambda"] if set(methods) & {"grokfast_ema", "grokfast_ma"} else []
    target: Content = {
        "goal": _goal(draw, [0.6, 0.8, 0.99, "above_chance"]),
        "model": _model(draw, task, kind, many=False),
        "methods": methods,
        "tune": _tune(draw, search, more),
        "budget": {"configs": draw(st.integers(1, 5)), "max_epochs": max_epochs},
        "gate": {"configs": draw(st.integers(1, 2)), "seeds": draw(st.integers(1, 2))},
    }
    if search == "grid" and "embedding_scale" in more:
        target["tune"]["embedding_scale"] = draw(_domain("embedding_scale", True))
    if search != "tpe":
        target["search"] = search
    if options := _options(draw, methods, kind, max_epochs):
        target["options"] = options
    _maybe(draw, target, "optimizer", st.sampled_from(list(catalog.OPTIMIZERS)))
    _maybe(draw, target, "cap_controls", st.booleans(), 4)
    if search != "grid":
        start = {name: _inside(domain) for name, domain in target["tune"].items() if name in ("lr", "init_scale")}
        _maybe(draw, target, "start_from", st.sampled_from([{m: [start]} for m in methods]), 3)
    if weak is not None and draw(st.integers(1, 4)) == 1:
        target["embedding_from"] = _source(draw, task, kind)
    return target


def _source(draw: Draw, task: Content, kind: str) -> Content:
    if kind == "tokens" and "p" in task and task["name"].startswith("modular_") and draw(st.booleans()):
        other = "modular_multiplication" if task["name"] != "modular_multiplication" else "modular_addition"
        keep = {"keep_pairs": task["keep_pairs"]} if "keep_pairs" in task else {}
        return {"name": "cross_task", "task": {"name": other, "p": task["p"], "train_fraction": 0.6, **keep}}
    link: Content = {
        "model": _model(draw, task, kind, many=False),
        "goal": _goal(draw, [0.6, 0.7, "none"]),
        "config": {"lr": 0.01, "weight_decay": 1, "init_scale": 1},
        "max_epochs": 20,
    }
    _maybe(draw, link["config"], "embedding_scale", st.just(2))
    return {"name": "growth", "chain": [link] * draw(st.integers(1, 2))}


def _tradeoff(draw: Draw) -> Content:
    designs = st.lists(st.sampled_from(["snapshots", "endpoints", "dose"]), min_size=1, max_size=3, unique=True)
    tradeoff: Content = {
        "weak_accuracy": draw(st.sampled_from([[0.6, 0.8], [0.65], [0.6, 0.7, 0.9]])),
        "seeds": draw(st.integers(1, 6)),
    }
    _maybe(draw, tradeoff, "designs", designs)
    _maybe(draw, tradeoff, "refine", st.sampled_from([None, 0.1, 0.05]))
    _maybe(draw, tradeoff, "target_seeds", st.integers(1, 2), 3)
    _maybe(draw, tradeoff, "retune", st.integers(0, 2), 3)
    _maybe(draw, tradeoff, "endpoints", st.sampled_from([{}, {"architectures": 2, "weight_decays": 1}]), 2)
    _maybe(draw, tradeoff, "doses", st.sampled_from([[0, 0.5], [0.0, 0.4, 1]]), 2)
    return tradeoff


def _ablate(draw: Draw, spec: Content) -> Content:
    changes: list[tuple[str, Content]] = [
        ("depth", {"target.model.d_embed": [4, 8]}),
        ("muon", {"target.optimizer": ["muon", "gd"]}),
        ("<seeds>" if draw(st.integers(1, 20)) == 1 else "seeds", {"report.seeds": 2, "report.at_least": 1}),
        ("goal", {"target.goal.val_accuracy": [0.7, 0.9]}),
        ("lr", {"target.tune.lr": 0.02}),
        ("fraction", {"task.train_fraction": 0.5}),
    ]
    if spec.get("weak"):
        changes.append(("gate", {"weak.gate.seeds": 3, "weak.gate.at_least": 2}))
        changes.append(("weak opt", {"weak.optimizer": ["adam", "orthograd"]}))
        changes.append(("hand", {"weak.handover": ["best", "goal"]}))
    chosen = draw(st.lists(st.sampled_from(changes), min_size=1, max_size=2, unique_by=lambda change: change[0]))
    ablate: Content = {"vary": dict(chosen)}
    _maybe(draw, ablate, "design", st.sampled_from(["one_at_a_time", "crossed"]))
    return ablate


@st.composite
def experiments(draw: Draw) -> Content:
    """Mappings of an experiment's shape, most of them experiments; of a hundred members or so."""
    task = _task(draw, list(SMALL))
    kind = _kind(task)
    weak = _weak(draw, task, kind) if draw(st.integers(1, 8)) < 7 else None
    spec: Content = {"name": "tiny" if draw(st.integers(1, 20)) > 1 else draw(st.sampled_from(NAMES)), "task": task}
    if weak is not None:
        spec["weak"] = weak
    spec["target"] = _target(draw, task, kind, weak)
    seeds = draw(st.integers(1, 4))
    spec["report"] = {"seeds": seeds, "at_least": draw(st.integers(1, seeds)), "weak_tries": draw(st.integers(1, 2))}
    if weak is not None and draw(st.integers(1, 5)) < 5:
        spec["tradeoff"] = _tradeoff(draw)
    _maybe(draw, spec, "seed", st.sampled_from([0, 1, 2**63 - 1]), 4)
    probes = [name for name in catalog.PROBES if name != "xor_ratio" or task["name"] == "xor_clusters"]
    probes = [name for name in probes if name != "fourier" or kind == "tokens"]
    some = st.lists(st.sampled_from(probes), max_size=2, unique=True)
    _maybe(draw, spec, "probes", some, 3)
    _maybe(draw, spec, "probes", st.just([{"name": "ntk_change", "examples": 4}, "weight_norms"]), 8)
    if draw(st.integers(1, 6)) == 1:
        spec["ablate"] = _ablate(draw, spec)
    if draw(st.integers(1, 4)) == 1:
        about: Content = {"shows": draw(st.sampled_from(TALK))}
        _maybe(draw, about, "paper", st.sampled_from(["Fig. 6a", *TALK]))
        _maybe(draw, about, "printed", st.sampled_from(TALK))
        _maybe(draw, about, "measure", st.lists(st.sampled_from([*MEASURES, "probe:weight_norm"]), max_size=2))
        spec["about"] = about
    resources = [{"workers": 1}, {"workers": 2}, {"workers": 2, "cpus_per_trial": 0.5, "gpus_per_trial": 0}]
    spec["resources"] = draw(st.sampled_from(resources))
    return spec


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(content: Any) -> bytes:
    """A mapping as a person might have written it: YAML, in UTF-8."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode("utf-8", "surrogatepass")


# -- broken ones ------------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    -0.0,
    0.5,
    1.5,
    10**9,
    10**10,
    10**18,
    2**63,
    10**30,
    10**400,
    -(10**18),
    1e300,
    1e-300,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0.5",
    "1e-3",
    "nan",
    "auto",
    "none",
    "transfer",
    "猫",
    "x" * 300,
    "a\nb",
    "\0",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "/dev/zero",
    "/",
    ".",
    [],
    [[]],
    [None],
    [1, 2],
    [1, 1],
    ["a"],
    [0.9, 0.1],
    {},
    {"name": None},
    {"name": []},
    {"name": {}},
    {"name": "mlp"},
    {"uniform": [1, 0]},
    {"loguniform": [0, 1]},
    {"uniform": "01"},
    {"choice": [{}]},
    {"epochs": 0},
    {1: 2},
    {"a": {"b": {"c": {}}}},
]


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] * bool(place) + [found for key, one in inner for found in _places(one, (*place, key))]


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


def _turned(values: list[Any], by: int) -> list[Any]:
    by %= len(values)
    return values[by:] + values[:by]


@st.composite
def broken_content(draw: Draw) -> Content:
    """An experiment of which up to three values are others, are gone, have other names, or stand elsewhere."""
    content = copy.deepcopy(draw(experiments()))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        places = _places(content)
        # The first of a list is drawn too often to be left at one place: where it is first depends on the content.
        turn = zlib.crc32(repr(content).encode("utf-8", "replace"))
        place = draw(st.sampled_from(_turned(places, turn)))
        outer, key = _at(content, place[:-1]), place[-1]
        what = draw(st.sampled_from(["value", "value", "value", "gone", "rename", "add", "text", "move", "scale"]))
        match what:
            case "value":
                outer[key] = copy.deepcopy(draw(st.sampled_from(_turned(ODD_VALUES, turn))))
            case "gone":
                del outer[key]
            case "rename" if isinstance(outer, dict):
                outer[draw(st.sampled_from([f"{key}s", str(key).upper(), "", "name", 7, "猫"]))] = outer.pop(key)
            case "add" if isinstance(outer, dict):
                outer[draw(st.sampled_from(["lr", "seed", "unknown", "name", "goal", "p", "mode", "width", None]))] = (
                    copy.deepcopy(draw(st.sampled_from(_turned(ODD_VALUES, turn))))
                )
            case "text":
                outer[key] = str(outer[key])
            case "move":
                outer[key] = copy.deepcopy(_at(content, draw(st.sampled_from(places))))
            case "scale" if isinstance(outer[key], int | float):
                outer[key] = outer[key] * draw(st.sampled_from([-1, 0, 2, 10, 100, 10**6, 0.001]))
    return content


BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
RUBBISH = [
    b"",
    b"\n",
    b"null",
    b"---\n...\n",
    b"[]",
    b"{}",
    b"just words",
    b"3",
    b"a: 1\n---\nb: 2\n",
    BOMB.encode(),
    b"name: !!python/object/apply:os.system ['true']\n",
    b"name: !!binary aGVsbG8=\n",
    b"name: &x tiny\ntask: *x\n",
    b"name: *nowhere\n",
    b"<<: {name: tiny}\n",
    b"? [a, b]\n: 1\n",
    b"? {a: b}\n: 1\n",
    b"name:\ttiny\n",
    b"\tname: tiny\n",
    b"name: tiny\n\ttask: x\n",
    b"name: 'tiny\n",
    b'name: "\\x00\\ud800"\n',
    b"name: tiny\0\n",
    b"\xff\xfe\x00\x01",
    "name: größe\n".encode("latin-1"),
    "name: tiny\n".encode("utf-16"),
    "\ufeffname: tiny\n".encode(),
    b"[" * 5000,
    b"{a: " * 3000,
    b"- " * 3000 + b"1",
    b"a:\n" + b" " * 100 + b"b: 1\n",
    b"%YAML 9.9\n---\nname: tiny\n",
    b"%TAG ! tag:evil,2000:\n---\nname: !x tiny\n",
    b"name: |\n  tiny\n  two\n",
    b"name: >-\n  tiny\n",
    b"seed: 1e400\n",
    b"seed: 0x10\n",
    b"seed: 0o17\n",
    b"seed: 1_000\n",
    b"seed: 12:30:45\n",
    b"seed: 2026-01-31\n",
    b"PK\x03\x04 not yaml at all",
    b"\x89PNG\r\n\x1a\n",
    b"import os\nprint(1)\n",
    b'{"name": "tiny", "task": {"name": "modular_addition"}}',
    b"name: tiny\nname: tiny\n",
]


@st.composite
def broken_text(draw: Draw) -> bytes:
    """The text of an experiment after an accident."""
    text = as_yaml(draw(experiments()))
    at = draw(st.integers(0, len(text)))
    match draw(st.sampled_from(["cut", "insert", "flip", "twice", "rubbish", "tab", "join", "swap"])):
        case "cut":
            return text[:at]
        case "insert":
            odd = [b"\0", b"\xff", b"\t", b"&a ", b"*a ", b"!!python/object:os.system ", b"{", b"]", b"'", b": ", b"#"]
            return (
                text[:at]
                + draw(st.sampled_from([*odd, b"\n", b"- ", b"\r\n", b"1e400", b"-", b"\xe2\x80\xa8"]))
                + text[at:]
            )
        case "flip":
            flipped = bytearray(text)
            for _ in range(draw(st.integers(1, 4))):
                flipped[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
            return bytes(flipped)
        case "twice":
            lines = text.splitlines(keepends=True)
            line = draw(st.sampled_from(lines))
            return text.replace(line, line * 2, 1)
        case "rubbish":
            return draw(st.sampled_from(RUBBISH))
        case "tab":
            return text.replace(b"  ", b"\t", draw(st.integers(1, 3)))
        case "join":
            return text + draw(st.sampled_from(RUBBISH))
    other = as_yaml(draw(experiments()))
    return text[:at] + other[at:]


def texts() -> st.SearchStrategy[bytes]:
    """What an experiment file may hold: half are whole, the rest are not."""
    # Of surrogates PyYAML writes what no reader takes: a file may hold them all the same.
    whole, broken = experiments().map(as_yaml), broken_content().map(as_yaml)
    # `one_of` would take a strategy that it is given twice as one.
    return st.integers(1, 8).flatmap(lambda n: whole if n <= 4 else broken if n <= 6 else broken_text())
