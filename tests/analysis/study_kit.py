"""Pipelines of a trade-off study by hand: records as a summary holds them."""

from __future__ import annotations

from typing import Any

from gtsearch.analysis import pipelines

MISSED: dict[str, Any] = {"reached": False, "status": "capped"}


def pipeline(arm: str, replicate: int, weak: float, target: float, **record: Any) -> dict[str, Any]:
    """One that costs so many epochs, a tenth as many seconds and ten times as many FLOPs."""
    told = {"arm": arm, "replicate": replicate, "column": 0, "reached": True, "status": "cleared"}
    told |= {"run_id": f"{arm}-{replicate}-{record.get('level')}-{record.get('dose')}-{record.get('column', 0)}"}
    if arm != "scratch":
        told |= {"design": "snapshots", "weak_run_id": f"w{replicate}", "architecture": "mlp-d2-w8-L2"}
    for unit, times in (("epochs", 1.0), ("seconds", 0.1), ("flops", 10.0)):
        told |= {f"weak_{unit}": times * weak, f"target_{unit}": times * target}
        told |= {f"total_{unit}": times * (weak + target)}
    return told | record


def scratch(*costs: float, **record: Any) -> list[dict[str, Any]]:
    return [pipeline("scratch", i, 0, cost, **record) for i, cost in enumerate(costs)]


def snapshot(replicate: int, level: float, accuracy: float, weak: float, target: float, **record: Any) -> Any:
    return pipeline("transfer", replicate, weak, target, level=level, refined=False, weak_accuracy=accuracy, **record)


def unreached(replicate: int, level: float, weak: float) -> dict[str, Any]:
    """Nothing to hand over: all that the weak run trained, and no target."""
    record: dict[str, Any] = snapshot(replicate, level, 0.0, weak, 0.0, reached=False, status="unreached")
    nothing = dict.fromkeys(("run_id", "weak_accuracy", *(f"target_{unit}" for unit in pipelines.UNITS)))
    return record | nothing


def endpoint(number: int, split: int, accuracy: float | None, target: float, **record: Any) -> dict[str, Any]:
    told = pipeline("transfer", split, 50, target, design="endpoints", weak_run_id=f"e{number}", **record)
    return told | {"weak_accuracy": accuracy}


# Three replicates, three levels: the first is too low for the target, to the last one weak model does not come.
STUDY = [
    *scratch(100, 110, 90),
    snapshot(0, 0.1, 0.12, 10, 110, **MISSED),
    snapshot(1, 0.1, 0.15, 12, 110, **MISSED),
    snapshot(2, 0.1, 0.10, 11, 80),
    snapshot(0, 0.3, 0.31, 20, 20),
    snapshot(1, 0.3, 0.33, 22, 24),
    snapshot(2, 0.3, 0.35, 24, 19),
    snapshot(0, 0.5, 0.52, 30, 10),
    snapshot(1, 0.5, 0.56, 32, 12),
    unreached(2, 0.5, 100),
    pipeline("shuffled", 0, 30, 110, level=0.5, refined=False, weak_accuracy=0.52, **MISSED),
]
