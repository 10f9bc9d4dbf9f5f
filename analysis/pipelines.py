"""The pipelines of a trade-off study: one row a weak run's embedding and the target from it, scratch's runs among them.

`frame` lays out the records of a summary, `starts` groups them, `decide` says from which weak accuracy on it pays. The
search refines its levels by the very same decision that the report prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gtsearch.analysis import payoff, stats
from gtsearch.analysis.payoff import Paying, Ratio, Starts
from gtsearch.analysis.stats import floats

UNITS = stats.UNITS
DESIGNS = ("snapshots", "endpoints", "dose")
BIN = 0.1  # endpoints are alike where their accuracies lie in one bin of this width

COLUMNS: dict[str, str] = {
    "arm": "string",  # `transfer`; `scratch`, what it is compared with; `shuffled`, a control
    "design": "string",  # of DESIGNS; null for scratch, which serves all
    "replicate": "Int64",  # a split with its weak seed: the unit of resampling
    "column": "Int64",  # which target seed
    "level": "Float64",  # snapshots: the weak accuracy asked for
    "refined": "boolean",  # snapshots: asked for to find the jump
    "dose": "Float64",  # dose: the share of noise
    "architecture": "string",  # of the weak model
    "weak_run_id": "string",
    "run_id": "string",  # of the target; null where the weak model had nothing to hand over
    "status": "string",  # of the target, or `unreached`
    "reached": "boolean",
    "weak_accuracy": "Float64",  # as measured; null where `unreached`
    # The target to its goal, else all it trained; weak and target together. Epochs, training seconds, training FLOPs.
    **{f"{part}_{unit}": "Float64" for part in ("weak", "target", "total") for unit in UNITS},
}


@dataclass(frozen=True)
class Start:
    """Pipelines that start alike: a level, a dose, or a bin of endpoints.

    Attributes:
        accuracy: median over the weak models that came there, as measured; None where none did.
        weak_runs, came: weak models, and how many of them had something to hand over.
        reached, pipelines: targets at their goal, of all pipelines that were begun.
        arrays: [replicates, target seeds], for `payoff.cost_ratio`.
    """

    design: str
    level: float | None
    refined: bool
    dose: float | None
    accuracy: float | None
    weak_runs: int
    came: int
    reached: int
    pipelines: int
    rows: pd.DataFrame
    arrays: Starts
    scratch: Starts


def frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The pipelines, columns and dtypes as in COLUMNS."""
    return pd.DataFrame(list(records), columns=list(COLUMNS)).astype(COLUMNS)


def starts(pipelines: pd.DataFrame, design: str, unit: str) -> list[Start]:
    """The starts of one design, those of lower accuracy first; `unit` is what `arrays` count."""
    own = pipelines[(pipelines["design"] == design) & (pipelines["arm"] == "transfer")]
    scratch = pipelines[pipelines["arm"] == "scratch"]
    found = [_start(design, rows, scratch, unit) for _, rows in own.groupby(_alike(own, design), sort=True)]
    return sorted(found, key=lambda start: (-1.0 if start.accuracy is None else start.accuracy, start.level or 0.0))


def _alike(own: pd.DataFrame, design: str) -> pd.Series:
    """What pipelines of one start have in common."""
    if design == "snapshots":
        return own["level"]
    if design == "dose":
        return own["dose"]
    # 0.3 / 0.1 is a little less than 3.
    return (own["weak_accuracy"] / BIN).round(9).apply(np.floor).fillna(-1.0)


def _start(design: str, rows: pd.DataFrame, scratch: pd.DataFrame, unit: str) -> Start:
    first = rows.iloc[0]
    replicates = sorted(scratch["replicate"].unique())
    if design == "endpoints":
        # Each is a weak run of its own; those on one split stand beside each other, as they share its scratch.
        replicates = sorted(rows["replicate"].unique())
        rows = rows.assign(column=rows.groupby("replicate").cumcount())
    came = rows.loc[rows["weak_accuracy"].notna()].drop_duplicates("weak_run_id")
    return Start(
        design=design,
        level=None if pd.isna(first["level"]) else float(first["level"]),
        refined=bool(first["refined"]) if not pd.isna(first["refined"]) else False,
        dose=None if pd.isna(first["dose"]) else float(first["dose"]),
        accuracy=float(came["weak_accuracy"].median()) if len(came) else None,
        weak_runs=rows["weak_run_id"].nunique(),
        came=len(came),
        reached=int(rows["reached"].sum()),
        pipelines=len(rows),
        rows=rows,
        arrays=_grid(rows, replicates, unit),
        scratch=_grid(scratch, replicates, unit),
    )


def _grid(rows: pd.DataFrame, replicates: list[int], unit: str) -> Starts:
    """Rows as [replicates, columns]; NaN where none ran."""
    width = int(rows["column"].max()) + 1 if len(rows) else 1
    accuracy, spent = np.full(len(replicates), np.nan), np.full((len(replicates), width), np.nan)
    reached = np.zeros(spent.shape, dtype=bool)
    place = {replicate: i for i, replicate in enumerate(replicates)}
    rows = rows[rows["replicate"].isin(replicates)]
    at = [place[replicate] for replicate in rows["replicate"]]
    column = rows["column"].to_numpy(dtype=int)
    spent[at, column], reached[at, column] = floats(rows[f"total_{unit}"]), rows["reached"].to_numpy(dtype=bool)
    accuracy[at] = floats(rows["weak_accuracy"])
    return Starts(accuracy, spent, reached)


def ratios(of: Iterable[Start]) -> list[Ratio]:
    """Expected cost over scratch's, a start."""
    return [payoff.cost_ratio(start.arrays, start.scratch) for start in of]


def decide(pipelines: pd.DataFrame, design: str, unit: str) -> tuple[list[Start], Paying]:
    """The starts of a design, and from which weak accuracy on the transfer pays; `ratios` align with the starts."""
    found = starts(pipelines, design, unit)
    if design == "endpoints" or not found:  # bins of endpoints are compared with scratch on splits of their own
        return found, Paying(ratios(found), None, (None, None), None, None)
    return found, payoff.paying([start.arrays for start in found], found[0].scratch)


def told(pipelines: pd.DataFrame) -> dict[str, Any]:
    """What a summary says of the study: plain JSON values.

    Returns:
        threshold: the least weak accuracy, as measured, from which on (at this snapshot and at every one above it) the
            expected total cost is below scratch's with its whole 95 % interval, in FLOPs; None: no threshold.
        interval: of the accuracy at which cost and scratch's meet; a bound of None lies beyond what was measured.
        crossing: like threshold, by the point estimates alone. resolution: how far below it the next lower one lies.
        least_total: the level asked for whose expected total is the least.
        screening: what the weak models that come to the threshold (or crossing) do at the lowest accuracy measured:
            where they carry the target from there already, accuracy tells good ones from bad ones, and training them on
            to it adds nothing. None: there is no threshold, or it is the lowest.
        replicates, target_seeds; coverage: what is known of intervals of so few replicates, where it is not 95 %;
        threshold_coverage: how often the threshold's interval held it in simulated studies of about that size.
        scratch: reached, pipelines, expected cost a unit (its restricted mean where `censored`: none got there).
        levels: a record a start of any design, by design and accuracy.
    """
    levels, threshold = [], Paying([], None, (None, None), None, None)
    snapshots_found: list[Start] = []
    for design in dict.fromkeys(pipelines["design"].dropna()):
        found, paying = decide(pipelines, design, "flops")
        levels += [_told(start, ratio) for start, ratio in zip(found, paying.ratios, strict=True)]
        if design == "snapshots":
            threshold, snapshots_found = paying, found
    snapshots = [level for level in levels if level["design"] == "snapshots" and level["ratio_flops"] is not None]
    scratch = pipelines[pipelines["arm"] == "scratch"]
    replicates = int(scratch["replicate"].nunique())
    return {
        "threshold": threshold.threshold,
        "interval": list(threshold.interval),
        "crossing": threshold.crossing,
        "resolution": threshold.resolution,
        "least_total": min(snapshots, key=lambda level: level["ratio_flops"])["level"] if snapshots else None,
        "screening": _screening(snapshots_found, threshold.threshold or threshold.crossing),
        "replicates": replicates,
        "target_seeds": int(scratch["column"].nunique()),
        "coverage": payoff.coverage_note(replicates),
        "threshold_coverage": payoff.threshold_coverage(replicates),
        "scratch": {
            "reached": int(scratch["reached"].sum()),
            "pipelines": len(scratch),
            "censored": not scratch["reached"].any(),
            **{f"expected_{unit}": expected(scratch, unit) for unit in UNITS},
        },
        "levels": levels,
    }


def _screening(found: list[Start], accuracy: float | None) -> dict[str, Any] | None:
    """What the weak models that come to `accuracy` do at the lowest that was measured."""
    measured = [start for start in found if start.accuracy is not None]
    there = next((start for start in measured if start.accuracy == accuracy), None)
    if there is None or there is measured[0]:
        return None
    came = there.rows.loc[there.rows["weak_accuracy"].notna(), "replicate"].unique()
    lowest = measured[0].rows[measured[0].rows["replicate"].isin(came)]
    return {
        "accuracy": accuracy,
        "came": there.came,
        "weak_runs": there.weak_runs,
        "lowest": measured[0].accuracy,
        "lowest_reached": int(lowest["reached"].sum()),
        "lowest_pipelines": len(lowest),
    }


def expected(rows: pd.DataFrame, unit: str) -> float | None:
    """What a success costs with restarts: all that was spent over how many got there; where none did, the mean spent,
    which it is at least. None without rows."""
    spent, reached = float(np.nansum(floats(rows[f"total_{unit}"]))), int(rows["reached"].sum())
    return spent / (reached or len(rows)) if len(rows) else None


def _told(start: Start, ratio: Ratio) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(start, name) for name in ("design", "level", "refined", "dose")}
    record |= {
        "weak_accuracy": start.accuracy,
        "weak_runs": start.weak_runs,
        "reached_level": start.came,
        "reached_goal": start.reached,
        "pipelines": start.pipelines,
        "ratio_flops": ratio.value,
        "interval_flops": list(ratio.interval),
        "upper_bound": ratio.upper_bound,
        "pays": ratio.pays,
    }
    for unit in UNITS:
        record[f"expected_total_{unit}"] = expected(start.rows, unit) if start.reached else None
        record[f"median_target_{unit}"] = median(start.rows, f"target_{unit}")
        record[f"median_total_{unit}"] = median(start.rows, f"total_{unit}")
    return record


def median(rows: pd.DataFrame, column: str) -> float | None:
    """The median over pipelines, one that did not get there being infinite; None where that is infinite."""
    costs = np.where(rows["reached"].to_numpy(dtype=bool), floats(rows[column]), np.inf)
    middle = float(np.median(costs)) if len(costs) else np.inf
    return middle if np.isfinite(middle) else None
