"""A summary and surroundings as a run writes them, with as little in them as there may be."""

from __future__ import annotations

from typing import Any

_RATIO = {"value": None, "lower_bound": False, "interval": [None, None]}
_CLAIM = {"params": 100, "config": {}, "cleared": 1, "seeds": 1, "interval": [0.2, 1.0]}
CLAIM: dict[str, Any] = _CLAIM | {"train_seconds": 1.0, "train_flops": 1.0}
"""What is said of a weak model that clears, but for its name and run."""
PAYS: dict[str, Any] = CLAIM | {"transferred": 1, "pipelines": 1, "pipelines_interval": [0.2, 1.0]}

ENVIRONMENT: dict[str, Any] = {"workers": 1, "device": "cpu", "device_names": ["none"], "threads": 1, "versions": {}}

SUMMARY: dict[str, Any] = {
    "name": "tiny",
    "title": "a + b mod 7",
    "train_words": "50 % train",
    "chance": 1 / 7,
    "cost": None,
    "judge": None,
    "threshold": None,
    "target_goal": 0.9,
    "complete": True,
    "error": None,
    "scratch_reference": {"flops": None, "seconds": None, "epochs": None},
    "weak": None,
    "methods": {},
    "speedup": {"target": _RATIO, "with_weak": _RATIO, "with_search": _RATIO},
    "tradeoff": None,
    "warnings": [],
    "exit_code": 0,
    "variations": None,
}


def method(**changes: Any) -> dict[str, Any]:
    """What is said of a method."""
    never = {"median": None, "interval": [None, None]}
    record = {"reached": 0, "seeds": 1, "interval": [0.0, 0.8], "test_accuracy": None, "config": {}, "run_ids": []}
    record |= {f"{unit}_to_goal": never for unit in ("epochs", "seconds", "flops")}
    return record | {"tuning_members": 0, "tuning_flops": 0.0} | changes
