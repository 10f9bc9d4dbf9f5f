"""What a report of a large run costs: seconds and peak memory of `write_report`, over 10,000 members and 2 million rows
of curves.

The run is made up: logistic curves, every number from a seed. What is timed reads it from disk as `gtsearch report`
does, in a process of its own, so that the peak is the report's alone: above what the process held after its imports.

    python -m benchmarks.report [--members 10000] [--points 200] [--keep FOLDER] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import numpy as np
import pandas as pd

from benchmarks.alone import alone
from benchmarks.results import Row, keep
from gtsearch import results
from gtsearch.analysis import pipelines, report, stats

SPEC = """\
name: benchmark
seed: 0
task: {name: modular_addition, p: 113, train_fraction: 0.25, seed: 0}
weak:
  goal: {val_accuracy: 0.4, hold: 2, evaluate_every: 5}
  gate: {seeds: 5, at_least: 4}
target:
  goal: {val_accuracy: 0.99, hold: 2, evaluate_every: 5}
"""
METHODS = ("transfer", "scratch", "lowrank_random", "transfer_shuffled")
SIZES = [(d, w) for d in (2, 3, 4, 6, 8, 12, 16) for w in (4, 6, 8, 12, 16, 24)]
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
REPORT_SEEDS, TRADEOFF_SEEDS = 20, 20
WEAK_FLOPS, TARGET_FLOPS = 1e7, 6.9e9  # an epoch
WEAK_SECONDS, TARGET_SECONDS = 1.6e-3, 0.11  # an epoch


def members(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows without numbers of what was measured: report and trade-off first, the rest is the weak search."""
    rows: list[dict[str, Any]] = []
    for seed in range(REPORT_SEEDS):
        rows.append(_weak(6, 12, "report", seed, 0.55))
        weak = len(rows) - 1
        rows += [
            _target(method, "report", seed, {"transfer": 30.0, "scratch": 135.0}.get(method))
            | (_handed(weak, 0.42) if method.startswith("transfer") else {})
            for method in METHODS
        ]
    for seed in range(TRADEOFF_SEEDS):
        weak = len(rows)
        rows.append(_weak(6, 12, "tradeoff", 200 + seed, 0.75) | {"goal": None})
        rows += [
            _target("transfer", "tradeoff", 200 + seed, 22 + 60 * np.exp(-6 * level))
            | {"level": level, "design": "snapshots", "refined": False, **_handed(weak, level)}
            for level in LEVELS
        ]
    rows += [_target(method, "search", seed, None) for method in METHODS for seed in range(32)]
    while len(rows) < n:
        d, w = SIZES[len(rows) % len(SIZES)]
        role = "gate" if rng.random() < 0.2 else "search"
        rows.append(_weak(d, w, role, int(rng.integers(6)), 0.75 * (1 - np.exp(-1.6 * d * w / 64))))
    return [row | {"run_id": f"{i:016x}"} for i, row in enumerate(rows[:n])]


def _handed(weak: int, accuracy: float) -> dict[str, Any]:
    return {"weak_run_id": f"{weak:016x}", "weak_accuracy": accuracy + 0.01, "weak_epoch": int(100 + 300 * accuracy)}


def _weak(d: int, w: int, role: str, seed: int, top: float) -> dict[str, Any]:
    purpose = {"search": "weak_search", "gate": "weak_gate"}.get(role, role)
    return {"stage": "weak", "method": "weak", "role": role, "purpose": purpose, "seed": seed, "goal": 0.4} | {
        "architecture": f"mlp-d{d}-w{w}-L2",
        "d_embed": d,
        "width": w,
        "depth": 2,
        "params": 113 * d + 2 * d * w + 113 * w,
        "config_id": f"w{d}x{w}",
        "rise": 250.0,
        "top": top,
        "flops": WEAK_FLOPS,
        "seconds": WEAK_SECONDS,
    }


def _target(method: str, role: str, seed: int, rise: float | None) -> dict[str, Any]:
    purpose = {"report": "report", "tradeoff": "tradeoff"}.get(role, "target_search")
    return {"stage": "target", "method": method, "role": role, "purpose": purpose, "seed": seed, "goal": 0.99} | {
        "architecture": "mlp-d128-w512-L3",
        "d_embed": 128,
        "width": 512,
        "depth": 3,
        "params": 465536,
        "config_id": f"t-{method}",
        "rise": 250.0 if rise is None else rise,
        "top": 0.35 if rise is None else 1.0,
        "flops": TARGET_FLOPS,
        "seconds": TARGET_SECONDS,
    }


def tables(rows: list[dict[str, Any]], points: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and curves, columns and dtypes as in results.TRIALS and results.CURVES."""
    n, every = len(rows), 5
    made = {name: np.array([row[name] for row in rows]) for name in ("rise", "top", "flops", "seconds")}
    rise = made["rise"] * rng.lognormal(0, 0.15, n)
    epochs = np.tile(np.arange(points) * every, (n, 1)).astype(float)  # [members, points]
    val = np.clip(made["top"][:, None] / (1 + np.exp(-(epochs - rise[:, None]) / (rise[:, None] / 12))) * 1.02, 0, 1)
    train = np.clip(1.02 / (1 + np.exp(-(epochs - 0.75 * rise[:, None]) / (rise[:, None] / 12))), 0, 1)
    goal = np.array([np.inf if row["goal"] is None else row["goal"] for row in rows])
    there = (val >= goal[:, None]).any(axis=1)
    first = np.where(there, np.argmax(val >= goal[:, None], axis=1) * every, 0)
    spent = epochs[:, -1]
    trials = pd.DataFrame([{key: value for key, value in row.items() if key not in made} for row in rows])
    own = {
        "attempt": 0,
        "task": "modular_addition",
        "split_seed": 0,
        "model": "mlp",
        "lr": rng.uniform(0.003, 0.1, n),
        "weight_decay": rng.uniform(0.01, 3, n),
        "init_scale": rng.uniform(0.1, 1, n),
        "hyperparameters": "{}",
        "status": np.where(there, "cleared", "exhausted"),
        "evaluate_every": every,
        "epochs": spent,
        "epochs_to_goal": np.where(there, first, np.nan),
        "epochs_to_goal_first": np.where(there, first, np.nan),
        "train_seconds": spent * made["seconds"],
        "eval_seconds": spent * made["seconds"] * 0.2,
        "seconds_to_goal": np.where(there, first * made["seconds"], np.nan),
        "train_flops": spent * made["flops"],
        "flops_to_goal": np.where(there, first * made["flops"], np.nan),
        "best_val_accuracy": val.max(axis=1),
        "final_val_accuracy": val[:, -1],
        "test_accuracy": val[:, -1],
        "epoch_train_95": np.argmax(train >= 0.95, axis=1) * every,
        "epoch_val_95": np.where((val >= 0.95).any(axis=1), np.argmax(val >= 0.95, axis=1) * every, np.nan),
        "device": "cpu",
        "host": "laptop",
        "threads": 1,
        "cohort_size": 1,
        "dtype": "float32",
    }
    trials = trials.assign(**own)
    trials["weak_flops"] = trials["weak_epoch"] * WEAK_FLOPS
    trials["weak_seconds"] = trials["weak_epoch"] * WEAK_SECONDS
    curves = pd.DataFrame(
        {
            "run_id": np.repeat([row["run_id"] for row in rows], points),
            "epoch": epochs.ravel(),
            "train_seconds": (epochs * made["seconds"][:, None]).ravel(),
            "train_flops": (epochs * made["flops"][:, None]).ravel(),
            "train_loss": 4.7 * (1 - train.ravel()) + 1e-4,
            "train_accuracy": train.ravel(),
            "val_loss": 4.7 * (1 - val.ravel()) + 1e-3,
            "val_accuracy": val.ravel(),
        }
    )
    return _as("trials", trials), _as("curves", curves)


def _as(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    columns = results.TABLES[table]
    return frame.convert_dtypes().reindex(columns=list(columns)).astype(columns)


def summary(trials: pd.DataFrame) -> dict[str, Any]:
    """What summary.json would say of these trials, as far as a page reads it."""
    methods = {method: _method(trials, method) for method in METHODS}
    ladder = [_rung(trials, d, w) for d, w in sorted(SIZES, key=lambda s: 113 * s[0] + 2 * s[0] * s[1] + 113 * s[1])]
    winner = {
        "run_id": "0" * 16,
        "architecture": "mlp-d6-w12-L2",
        "params": 2178,
        "config": {"lr": 0.01, "weight_decay": 1.0, "init_scale": 0.3},
        "cleared": 20,
        "seeds": 20,
        "interval": list(stats.wilson(20, 20)),
        "train_seconds": 0.4,
        "train_flops": 2.5e9,
    }
    claim = {"transferred": 20, "pipelines": 20, "pipelines_interval": winner["interval"], "saving": 0.7}
    keys = ("architecture", "params", "configs", "best_val_accuracy", "best_cleared", "gate_seeds")
    bracket = [{key: rung[key] for key in keys} | {"verdict": rung["detail"]} for rung in ladder]
    return {
        "name": "benchmark",
        "title": "a + b mod 113",
        "train_words": "25 % train",
        "chance": 1 / 113,
        "cost": "params",
        "judge": "target",
        "threshold": 0.4,
        "target_goal": 0.99,
        "complete": True,
        "error": None,
        "scratch_reference": {unit: methods["scratch"][f"{unit}_to_goal"]["median"] for unit in stats.UNITS},
        "weak": {
            "clears": winner,
            "pays": winner | claim,
            "excluded": bracket[:5],
            "undecided": bracket[5:7],
            "ladder": ladder,
            "withdrawn": 0,
        },
        "methods": methods,
        "speedup": {
            "target": {"value": 4.5, "lower_bound": False},
            "with_weak": {"value": 4.4, "lower_bound": False},
            "with_search": {"value": 0.3, "lower_bound": False},
        },
        "tradeoff": _study(trials),
        "variations": None,
        "warnings": [],
        "exit_code": 0,
    }


def _study(trials: pd.DataFrame) -> dict[str, Any]:
    """The trade-off's pipelines, scratch's report seeds standing for scratch on the same splits."""
    own = trials[(trials["stage"] == "target") & (trials["role"] == "tradeoff")]
    scratch = trials[(trials["method"] == "scratch") & (trials["role"] == "report")]
    rows = [_pipeline(row) | {"arm": "transfer", "replicate": row["seed"] - 200} for row in stats.records(own)]
    rows += [_pipeline(row) | {"arm": "scratch", "replicate": row["seed"]} for row in stats.records(scratch)]
    return {"horizon_epochs": 1000, **pipelines.told(pipelines.frame(rows)), "pipelines": rows}


def _pipeline(row: dict[str, Any]) -> dict[str, Any]:
    reached = row["status"] == "cleared"
    names = ("run_id", "weak_run_id", "status", "design", "level", "refined", "dose", "weak_accuracy")
    made = {name: row[name] for name in names} | {"column": 0, "reached": reached, "architecture": row["architecture"]}
    for unit, spent in stats.UNITS.items():
        weak = row["weak_epoch" if unit == "epochs" else f"weak_{unit}"] or 0.0
        target = row[f"{unit}_to_goal" if reached else spent]
        made |= {f"weak_{unit}": weak, f"target_{unit}": target, f"total_{unit}": weak + target}
    return made


def _method(trials: pd.DataFrame, method: str) -> dict[str, Any]:
    own = trials[(trials["method"] == method) & (trials["stage"] == "target")]
    rows, tuning = own[own["role"] == "report"], own[own["role"] == "search"]
    reached = int((rows["status"] == "cleared").sum())
    record: dict[str, Any] = {
        "reached": reached,
        "seeds": len(rows),
        "interval": list(stats.wilson(reached, len(rows))),
        "test_accuracy": float(rows["test_accuracy"].median()),
        "tuning_members": len(tuning),
        "tuning_flops": float(tuning["train_flops"].sum()),
        "config": {"lr": 0.005, "weight_decay": 3.0, "init_scale": 0.3},
        "stayed": reached,
        "run_ids": rows["run_id"].to_list(),
    }
    for unit in stats.UNITS:
        times, there = stats.times_to_goal(rows, unit)
        interval = stats.km_median_interval(times, there, resamples=100)
        record[f"{unit}_to_goal"] = {"median": stats.km_median(times, there), "interval": list(interval)}
    return record


def _rung(trials: pd.DataFrame, d: int, w: int) -> dict[str, Any]:
    own = trials[(trials["architecture"] == f"mlp-d{d}-w{w}-L2") & (trials["role"] == "search")]
    return {
        "architecture": f"mlp-d{d}-w{w}-L2",
        "params": 113 * d + 2 * d * w + 113 * w,
        "flops_per_epoch": int(WEAK_FLOPS),
        "configs": len(own),
        "cleared_configs": int((own["status"] == "cleared").sum()),
        "best_val_accuracy": float(own["best_val_accuracy"].max()) if len(own) else None,
        "best_cleared": 3,
        "gate_seeds": 5,
        "verdict": "pays" if (d, w) == (6, 12) else "excluded",
        "detail": "at best 3 of 5 gate seeds clear",
        "candidates": [],
    }


def write_run(folder: Path, n: int, points: int) -> None:
    """A run folder of `n` members with `points` evaluations each."""
    rng = np.random.default_rng(0)
    trials, curves = tables(members(n, rng), points, rng)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / results.SPEC).write_text(SPEC)
    frames = {"trials": trials, "curves": curves, "ledger": results.ledger_frame(trials, 3600.0)}
    frames |= {"probes": results.probes_frame([]), "scores": results.scores_frame([])}
    for name, frame in frames.items():
        results.write_table(folder, name, frame)
    environment = {"versions": {}, "device": "cpu", "device_names": ["a processor"], "threads": 1, "workers": 4}
    results.write_json(folder / results.ENVIRONMENT, environment | {"host": "laptop", "command": ["gtsearch", "run"]})
    results.write_json(folder / results.SUMMARY, summary(trials))


@dataclass(frozen=True)
class Taken:
    """Wall seconds of reading the run and of writing its report, and the bytes of the page."""

    read_seconds: float
    report_seconds: float
    page_bytes: int


def measure(folder: Path, profile: bool) -> Taken:
    """What reading the run and writing its report take."""
    started = time.perf_counter()
    run = results.load_results(folder)
    read = time.perf_counter() - started
    profiler = cProfile.Profile()
    started = time.perf_counter()
    if profile:
        profiler.enable()
    page = report.write_report(run)
    profiler.disable()
    taken = Taken(read, time.perf_counter() - started, page.stat().st_size)
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=200, help="evaluations a member")
    parser.add_argument("--keep", type=Path, help="where to leave the run and its page")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary) / "run"
        alone(write_run, folder, asked.members, asked.points)
        taken, peak = alone(measure, folder, asked.profile)
    run = f"{asked.members:,} members, {asked.members * asked.points:,} rows of curves"
    print(
        f"{run}: read in {taken.read_seconds:.1f} s, reported in {taken.report_seconds:.1f} s, peak {peak:,.0f} MiB "
        f"above the imports, page {taken.page_bytes / 1e6:.2f} MB"
    )
    measured = (
        (f"reading a run and writing its report, {run}", taken.read_seconds + taken.report_seconds, "s"),
        ("its peak memory above the imports", peak, "MiB"),
        ("its page", taken.page_bytes / 1e6, "MB"),
    )
    rows = [Row(what, ours, None, unit, None, None, None, None, None) for what, ours, unit in measured]
    print(f"kept in {keep('report', rows, {'members': asked.members, 'points': asked.points})}")


if __name__ == "__main__":
    main()
