"""What summary.json, environment.json and a line of members.log hold, so that a file that was damaged, or made by
somebody else, is refused where it is read and not where it is used.

A shape is written as the value looks: a mapping of keys to shapes, a list with the shape of its entries, or one of
TEXT, FLAG, WHOLE, NUMBER. `misfit` says where a value is another. Keys that are not named may stand beside; what the
numbers mean is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gtsearch.problems import path_of


@dataclass(frozen=True)
class Kind:
    """A plain value, as a message names it."""

    words: str
    types: tuple[type, ...]


@dataclass(frozen=True)
class Maybe:
    """A value that may be null; with `absent`, whose key may be missing too."""

    shape: Any
    absent: bool = False


@dataclass(frozen=True)
class Each:
    """A mapping of any keys, whose values are alike."""

    shape: Any


TEXT, FLAG = Kind("text", (str,)), Kind("true or false", (bool,))
WHOLE, NUMBER = Kind("a whole number", (int,)), Kind("a number", (int, float))
OPTIONAL = Maybe(NUMBER)

_INTERVAL = [OPTIONAL]
_MEDIAN = {"median": OPTIONAL, "interval": _INTERVAL}
_RATIO = {"value": OPTIONAL, "lower_bound": FLAG, "interval": Maybe(_INTERVAL, absent=True)}
_SPEEDUPS = {"target": _RATIO, "with_weak": _RATIO, "with_search": _RATIO}
_CONFIG = Each(NUMBER)
_ARCHITECTURE = {"architecture": TEXT, "params": WHOLE, "configs": WHOLE, "best_val_accuracy": OPTIONAL}
_BRACKET = _ARCHITECTURE | {"best_cleared": Maybe(WHOLE), "gate_seeds": Maybe(WHOLE), "verdict": TEXT}
_ATTEMPT = {
    "config_id": TEXT,
    "config": _CONFIG,
    "verdict": TEXT,
    "snapshot": TEXT,
    **dict.fromkeys(("cleared", "seeds", "reached", "probed"), WHOLE),
    "total": Maybe(NUMBER, absent=True),
}
_RUNG = _BRACKET | {"cleared_configs": WHOLE, "detail": TEXT, "candidates": [_ATTEMPT]}
_CLAIM = {
    "run_id": TEXT,
    "architecture": TEXT,
    "params": WHOLE,
    "config": _CONFIG,
    "snapshot": Maybe(TEXT, absent=True),
    "cleared": WHOLE,
    "seeds": WHOLE,
    "interval": _INTERVAL,
    "train_seconds": OPTIONAL,
    "train_flops": OPTIONAL,
}
_PAYS = _CLAIM | {
    "transferred": WHOLE,
    "pipelines": WHOLE,
    "pipelines_interval": _INTERVAL,
    "minimal": Maybe(FLAG, absent=True),
    "saving": Maybe(NUMBER, absent=True),
}
_METHOD = {
    "reached": WHOLE,
    "seeds": WHOLE,
    "interval": _INTERVAL,
    "epochs_to_goal": _MEDIAN,
    "seconds_to_goal": _MEDIAN,
    "flops_to_goal": _MEDIAN,
    "cap_epochs": Maybe(WHOLE, absent=True),
    "best_val_accuracy": Maybe(NUMBER, absent=True),
    "test_accuracy": OPTIONAL,
    "stayed": Maybe(WHOLE, absent=True),
    "tuning_members": WHOLE,
    "tuning_flops": NUMBER,
    "configs": Maybe(WHOLE, absent=True),
    "config": _CONFIG,
    "run_ids": [TEXT],
    "weak_run_ids": Maybe([TEXT], absent=True),
}
_LEVEL = {
    "design": TEXT,
    **dict.fromkeys(("level", "dose", "weak_accuracy", "ratio_flops"), OPTIONAL),
    **dict.fromkeys(("weak_runs", "reached_level", "reached_goal", "pipelines"), WHOLE),
    "refined": Maybe(FLAG),
    "interval_flops": _INTERVAL,
    "upper_bound": FLAG,
    "pays": FLAG,
}
_SCREENING = {
    **dict.fromkeys(("accuracy", "lowest"), NUMBER),
    **dict.fromkeys(("came", "weak_runs", "lowest_reached", "lowest_pipelines"), WHOLE),
}
_PIPELINE = {
    "arm": TEXT,
    "replicate": WHOLE,
    "column": WHOLE,
    "reached": FLAG,
    "status": TEXT,
    **{key: Maybe(TEXT, absent=True) for key in ("design", "architecture", "weak_run_id", "run_id")},
    **{key: Maybe(NUMBER, absent=True) for key in ("level", "dose", "weak_accuracy")},
    "refined": Maybe(FLAG, absent=True),
    **{
        f"{part}_{unit}": Maybe(NUMBER, absent=True)
        for part in ("weak", "target", "total")
        for unit in ("epochs", "flops", "seconds")
    },
}
_TRADEOFF = {
    **dict.fromkeys(("threshold", "crossing", "resolution", "least_total"), OPTIONAL),
    "interval": _INTERVAL,
    "screening": Maybe(_SCREENING),
    "replicates": WHOLE,
    "target_seeds": WHOLE,
    "scratch": {
        "reached": WHOLE,
        "pipelines": WHOLE,
        "censored": FLAG,
        **{f"expected_{unit}": OPTIONAL for unit in ("epochs", "flops", "seconds")},
    },
    "levels": [_LEVEL],
    "pipelines": [_PIPELINE],
}
_ONE = {
    **dict.fromkeys(("name", "title", "train_words"), TEXT),
    "chance": NUMBER,
    **dict.fromkeys(("cost", "judge", "error"), Maybe(TEXT)),
    "threshold": OPTIONAL,
    "above_chance": Maybe(FLAG, absent=True),
    "target_goal": NUMBER,
    "complete": FLAG,
    "scratch_reference": dict.fromkeys(("flops", "seconds", "epochs"), OPTIONAL),
    "weak": Maybe(
        {
            "clears": Maybe(_CLAIM),
            "pays": Maybe(_PAYS),
            "excluded": [_BRACKET],
            "undecided": [_BRACKET],
            "ladder": [_RUNG],
            "withdrawn": WHOLE,
        }
    ),
    "methods": Each(_METHOD),
    "speedup": _SPEEDUPS,
    "speedup_units": Maybe({"seconds": _SPEEDUPS, "epochs": _SPEEDUPS}, absent=True),
    "break_even_runs": Maybe(Each(OPTIONAL), absent=True),
    "tradeoff": Maybe(_TRADEOFF),
    "not_run": Maybe([TEXT], absent=True),
    "warnings": [TEXT],
    "exit_code": WHOLE,
}

SUMMARY = _ONE | {"variations": Maybe(Each({"changes": Each(None), "summary": _ONE}))}
"""What `gtsearch.certificate.summarise` makes."""

ENVIRONMENT = {
    "workers": WHOLE,
    "device": TEXT,
    "device_names": [TEXT],
    "threads": WHOLE,
    "versions": Each(TEXT),
    "started": Maybe(TEXT, absent=True),
    "workers_asked": Maybe(WHOLE, absent=True),
    "resumed": Maybe([None], absent=True),
    "spec_sha256": Maybe(TEXT, absent=True),
    "torn_lines": Maybe(WHOLE, absent=True),
}
"""What an experiment's surroundings must say."""

_EMBEDDING = {
    "path": TEXT,
    "sha256": TEXT,
    "epoch": WHOLE,
    "val_accuracy": NUMBER,
    "train_flops": NUMBER,
    "train_seconds": NUMBER,
    "level": OPTIONAL,
    "dose": Maybe(NUMBER, absent=True),
    "norm": Maybe(NUMBER, absent=True),
    "effective_rank": Maybe(NUMBER, absent=True),
    "scores": Maybe(Each(OPTIONAL), absent=True),
}
MEMBER = {
    **dict.fromkeys(("run_id", "stage", "role", "purpose", "status", "method", "architecture", "config_id"), TEXT),
    "hyperparameters": _CONFIG,
    "seed": WHOLE,
    "split_seed": WHOLE,
    "d_embed": Maybe(WHOLE),
    "params": WHOLE,
    "max_epochs": WHOLE,
    "epochs": WHOLE,
    **dict.fromkeys(("train_flops", "train_seconds", "elapsed_seconds"), NUMBER),
    **dict.fromkeys(("goal", "best_val_accuracy", "eval_seconds"), OPTIONAL),
    **dict.fromkeys(("epochs_to_goal", "cap_epochs"), Maybe(WHOLE)),
    **dict.fromkeys(("flops_to_goal", "seconds_to_goal"), OPTIONAL),
    **dict.fromkeys(("variation", "error", "handover", "capped_by", "weak_run_id"), Maybe(TEXT, absent=True)),
    **dict.fromkeys(("weak_epoch",), Maybe(WHOLE, absent=True)),
    **dict.fromkeys(("weak_accuracy", "weak_flops", "weak_seconds"), Maybe(NUMBER, absent=True)),
    "lost": Maybe(FLAG, absent=True),
    "embeddings": Maybe([_EMBEDDING], absent=True),
    "curve": Maybe([{"epoch": WHOLE, "val_accuracy": OPTIONAL}], absent=True),
    "probed": Maybe([{"epoch": WHOLE}], absent=True),
}
"""What the search cannot do without of a member that is finished."""

TABLED = {
    "run_id": TEXT,
    "elapsed_seconds": NUMBER,
    "hyperparameters": Maybe(Each(None), absent=True),
    "curve": Maybe([{}], absent=True),
    "probed": Maybe([{"epoch": None}], absent=True),
    "embeddings": Maybe([{"scores": Maybe(Each(None), absent=True)}], absent=True),
}
"""What the tables cannot do without of a member, in whatever version it was written; its columns say the rest."""


def misfit(value: Any, shape: Any) -> str | None:
    """Where and why a value of JSON is not of a shape, e.g. ``weak.pays` must be a mapping`; None where it is."""
    found = _misfit(value, shape)
    if found is None:
        return None
    place, what = found
    return f"`{path_of(reversed(place))}` {what}" if place else f"it {what}"


_Found = tuple[list[str | int], str]
"""The keys to a misfit, the innermost first, and what is wrong there."""


def _misfit(value: Any, shape: Any) -> _Found | None:
    if isinstance(shape, Maybe):
        if value is None:
            return None
        shape = shape.shape
    if shape is None:
        return None
    if isinstance(shape, Kind):
        return None if _is_of(value, shape) else ([], f"must be {shape.words}")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [], "must be a list"
        return _first((i, inner, shape[0]) for i, inner in enumerate(value))
    if not isinstance(value, Mapping):
        return [], "must be a mapping"
    if isinstance(shape, Each):
        return _first((key, inner, shape.shape) for key, inner in value.items())
    for key, inner in shape.items():
        if key not in value and not (isinstance(inner, Maybe) and inner.absent):
            return [key], "is missing"
    return _first((key, value[key], inner) for key, inner in shape.items() if key in value)


def _first(parts: Iterable[tuple[str | int, Any, Any]]) -> _Found | None:
    for key, value, shape in parts:
        if (found := _misfit(value, shape)) is not None:
            found[0].append(key)
            return found
    return None


def _is_of(value: Any, kind: Kind) -> bool:
    if type(value) is bool:
        return bool in kind.types
    if not isinstance(value, kind.types):
        return False
    if type(value) is int:
        return value.bit_length() <= (63 if kind is WHOLE else 1000)
    # JSON as Python reads it may hold NaN and infinity.
    return type(value) is not float or math.isfinite(value)
