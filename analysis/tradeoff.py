"""Weak accuracy, as measured, against what the target then costs: alone, and with the weak model's own cost.

`table` lays out every weak seed at every level, also those that share a target run and those that never came there,
beside scratch's report seeds. What pays is decided in FLOPs, whatever unit is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import stats, style
from gtsearch.analysis.members import base_only
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "How good must the weak model be?"
CAPTION = (
    "Each point is one seed: a weak model stopped at some validation accuracy (across), and what the target then cost "
    "to its goal (up), alone (light) and with the weak model's own cost (dark). Lines join the medians. An open "
    "triangle did not get there and stands at what it spent. Under the axis, how many seeds reach the goal of those "
    "started; a weak seed that never came to the level counts as one that does not. The band is scratch on its report "
    "seeds, from the least to the most. From the vertical line on, the transfer pays (decided in FLOPs)."
)
PANELS: tuple[dict[str, Any], ...] = ({"unit": "seconds"}, {"unit": "flops"})

COLUMNS = {
    "arm": "string",
    "level": "Float64",
    "weak_run_id": "string",
    "seed": "Int64",
    "status": "string",
    "reached": "boolean",
    "weak_accuracy": "Float64",
    **{f"{part}_{unit}": "Float64" for part in ("weak", "target", "total") for unit in stats.UNITS},
    "paying_from": "Float64",
}
_WEAK = {"epochs": "weak_epoch", "seconds": "weak_seconds", "flops": "weak_flops"}
_AXIS = {"epochs": "epochs", "seconds": "training seconds", "flops": "training FLOPs"}
_SPACING = 0.085  # of the axis: tick labels nearer than this would touch

Row = Mapping[str, Any]


def gather(results: Results) -> pd.DataFrame:
    """The trials, with the threshold the summary names, so that the picture and the text say the same."""
    study, trials = results.summary["tradeoff"], base_only(results).trials
    return trials if study is None else trials.assign(paying_from=study["threshold"])


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.4, 3.0


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of the figure, columns and dtypes as in COLUMNS.

    Args:
        frame: trials; a column `paying_from` is taken for the threshold, without one it is computed here.

    Returns:
        One row a point: arm (`tradeoff`; or `scratch`, its report seeds, without a level), level (asked for),
        weak_run_id, seed (of the target; null where none ran), status, reached, weak_accuracy (as measured; null
        where the weak run never came to the level), then of epochs, seconds and flops the weak, target and total
        (to the goal where reached, else what was spent; for a level never reached, all that the weak run spent),
        and paying_from, the same on every row (null: no threshold). Levels that a weak run passed at one
        evaluation share a target run: each has a row of it.
    """
    counted = frame[frame["status"] != "cancelled"]
    scratch = counted[(counted["stage"] == "target") & (counted["method"] == "scratch") & (counted["role"] == "report")]
    points = [*_study(stats.records(counted[counted["role"] == "tradeoff"]))]
    points += [{**_point(row, None), "arm": "scratch"} for row in stats.records(scratch)]
    made = pd.DataFrame(points, columns=list(COLUMNS)).astype(COLUMNS)
    if "paying_from" in frame:
        threshold = frame["paying_from"].iloc[0] if len(frame) else None
    else:
        threshold = stats.paying_threshold(made, scratch_median(made, "flops"))[0]
    return made.assign(paying_from=pd.array([threshold] * len(made), dtype="Float64"))


def _study(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Every weak run at every level: with its target, or never reached."""
    ordered = sorted(rows, key=lambda row: row["attempt"] or 0)  # of a run that was lost, the second attempt counts
    weak = {row["seed"]: row for row in ordered if row["stage"] == "weak"}
    weak_runs: dict[str, Row | None] = {row["run_id"]: row for row in weak.values()}
    targets: dict[str, dict[float, Row]] = {}
    for row in ordered:
        if row["level"] is not None:
            targets.setdefault(row["weak_run_id"], {})[row["level"]] = row
            weak_runs.setdefault(row["weak_run_id"], None)
    levels = sorted({level for own in targets.values() for level in own})
    for run_id, weak_run in weak_runs.items():
        own = targets.get(run_id, {})
        for level in levels:
            above = [other for other in sorted(own) if other >= level and own[other]["status"] != "unreached"]
            if above:
                yield _point(own[above[0]], level)
            elif level in own or _never_came(weak_run, level):
                yield _unreached(own.get(level), weak_run, run_id, level)


def _never_came(weak_run: Row | None, level: float) -> bool:
    """False too where it is not known: a run that was interrupted before its target ran is no evidence."""
    return weak_run is not None and (weak_run["best_val_accuracy"] or 0.0) < level


def _point(row: Row, level: float | None) -> dict[str, Any]:
    """A target run as a start from `level`."""
    reached = row["status"] == "cleared"
    point = {name: row.get(name) for name in ("weak_run_id", "seed", "status", "weak_accuracy")}
    point |= {"arm": "tradeoff", "level": level, "reached": reached}
    for unit, spent in stats.UNITS.items():
        weak, target = row[_WEAK[unit]], row[f"{unit}_to_goal" if reached else spent]
        point |= {f"weak_{unit}": weak, f"target_{unit}": target, f"total_{unit}": (weak or 0) + (target or 0)}
    return point


def _unreached(row: Row | None, weak_run: Row | None, run_id: str, level: float) -> dict[str, Any]:
    """A weak run that never came to `level`: no target ran, and all it spent is charged."""
    point: dict[str, Any] = {"arm": "tradeoff", "level": level, "weak_run_id": run_id}
    point |= {"status": "unreached", "reached": False}
    for unit, spent in stats.UNITS.items():
        weak = row[_WEAK[unit]] if row is not None else None
        if weak is None and weak_run is not None:
            weak = weak_run[spent]
        point |= {f"weak_{unit}": weak, f"total_{unit}": weak}
    return point


def scratch_median(frame: pd.DataFrame, unit: str) -> float | None:
    """The median cost of the target from scratch over its report seeds in `frame` (a `table`); None if censored."""
    scratch = frame[frame["arm"] == "scratch"]
    costs = np.where(scratch["reached"].to_numpy(dtype=bool), floats(scratch[f"target_{unit}"]), np.inf)
    return _finite(float(np.median(costs))) if len(costs) else None


def levels(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What a `table` says of each level, in order.

    Each: level, seeds, reached_level, reached_goal, weak_accuracy (median of those measured), median_target_<unit>
    and median_total_<unit> (a miss is infinite), expected_total_<unit> (all that all seeds spent over how many
    reached the goal: the cost with restarts), pays (this level alone, in FLOPs). Null where unknown or infinite.
    """
    study = frame[frame["arm"] == "tradeoff"]
    scratch = scratch_median(frame, "flops")
    return [_level(level, study[study["level"] == level], scratch) for level in sorted(study["level"].unique())]


def _level(level: float, rows: pd.DataFrame, scratch: float | None) -> dict[str, Any]:
    reached = rows["reached"].to_numpy(dtype=bool)
    totals = np.where(reached, floats(rows["total_flops"]), np.inf)
    known = rows["weak_accuracy"].dropna()
    record: dict[str, Any] = {
        "level": float(level),
        "seeds": len(rows),
        "reached_level": int((rows["status"] != "unreached").sum()),
        "reached_goal": int(reached.sum()),
        "weak_accuracy": float(known.median()) if len(known) else None,
        "pays": stats.pays(totals, scratch),
    }
    for unit in stats.UNITS:
        for part in ("target", "total"):
            costs = np.where(reached, floats(rows[f"{part}_{unit}"]), np.inf)
            record[f"median_{part}_{unit}"] = _finite(float(np.median(costs)))
        spent = float(np.nansum(floats(rows[f"total_{unit}"])))
        record[f"expected_total_{unit}"] = spent / int(reached.sum()) if reached.any() else None
    return record


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# -- the picture --------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    study = frame[frame["arm"] == "tradeoff"]
    if study.empty:
        return "No trade-off was measured: the experiment asks for none, or no weak model came that far."
    return "No weak seed came to any of the levels asked for." if study["weak_accuracy"].isna().all() else None


def draw(frame: pd.DataFrame, ax: Axes, unit: str = "seconds") -> None:
    """Draws a `table` on `ax`, costs in `unit` (`seconds`, `flops` or `epochs`)."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    study = frame[(frame["arm"] == "tradeoff") & frame["weak_accuracy"].notna()]
    points = levels(frame)
    target, total = style.tint(style.colour("transfer")), style.colour("transfer")
    _scatter(ax, study, f"target_{unit}", target, "o", 22)
    _scatter(ax, study, f"total_{unit}", total, "D", 20)
    for part, shade, dashes in (("target", target, (4, 2)), ("total", total, (None, None))):
        medians = [
            (p["weak_accuracy"], p[f"median_{part}_{unit}"]) for p in points if p[f"median_{part}_{unit}"] is not None
        ]
        if medians:
            ax.plot(*zip(*medians, strict=True), color=shade, lw=2, dashes=dashes, zorder=2)
    ax.margins(x=0.08)
    handles = _legend(study, target, total)
    handles += _draw_scratch(ax, frame, unit)
    style.log_axis(ax, "y", unit)
    _level_ticks(ax, points)
    _draw_threshold(ax, frame["paying_from"].iloc[0])
    ax.set_xlabel("weak model's validation accuracy, as measured\n(under each: seeds that reach the goal)")
    ax.set_ylabel(f"{_AXIS[unit]} to the goal")
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, borderaxespad=0, frameon=False)


def _scatter(ax: Axes, study: pd.DataFrame, column: str, shade: str, marker: str, area: float) -> None:
    reached = study["reached"].to_numpy(dtype=bool)
    x, y = floats(study["weak_accuracy"]), floats(study[column])
    ax.scatter(x[reached], y[reached], s=area, marker=marker, color=shade, lw=0, zorder=3)
    ax.scatter(x[~reached], y[~reached], s=area + 14, marker="^", facecolors="none", edgecolors=shade, zorder=3)


def _legend(study: pd.DataFrame, target: str, total: str) -> list[Line2D]:
    handles = [
        Line2D([], [], color=target, marker="o", lw=2, dashes=(4, 2), ms=5, label="target alone"),
        Line2D([], [], color=total, marker="D", lw=2, ms=4.5, label="weak + target"),
    ]
    if not study["reached"].all():
        handles.append(Line2D([], [], color=total, marker="^", mfc="none", ls="none", label="did not get there"))
    return handles


def _draw_scratch(ax: Axes, frame: pd.DataFrame, unit: str) -> list[Line2D]:
    """The band from the least to the most costly report seed; open at the top where some never got there."""
    scratch = frame[frame["arm"] == "scratch"]
    if scratch.empty:
        return []
    shade, costs = style.colour("scratch"), floats(scratch[f"target_{unit}"])
    reached = scratch["reached"].to_numpy(dtype=bool)
    median = scratch_median(frame, unit)
    low = float(costs[reached].min()) if reached.any() else float(costs.min())
    high = float(costs[reached].max()) if reached.all() else float(costs.max())
    if reached.any():
        ax.axhspan(low, high, color=shade, alpha=0.13, lw=0, zorder=0)
    label = f"scratch, {reached.sum()} of {len(reached)}"
    if median is None:
        ax.axhline(high, color=shade, lw=1.6, ls=":", zorder=1)
        return [Line2D([], [], color=shade, lw=1.6, ls=":", label=f"{label}: median beyond")]
    ax.axhline(median, color=shade, lw=1.6, zorder=1)
    return [Line2D([], [], color=shade, lw=1.6, label=label)]


def _draw_threshold(ax: Axes, threshold: Any) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.1)  # room for the words
    if pd.isna(threshold):
        note = ax.text(0.985, 0.975, "no paying threshold", transform=ax.transAxes, ha="right", va="top")
    else:
        ax.axvline(threshold, color=style.INK, lw=1.2, ls=(0, (5, 2)), zorder=1)
        left, right = ax.get_xlim()
        beyond = threshold > (left + right) / 2
        text = f" pays from {threshold:.3f} on "
        where = ax.get_xaxis_transform()
        note = ax.text(threshold, 0.975, text, transform=where, ha="right" if beyond else "left", va="top")
    style.halo(note)


def _level_ticks(ax: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """A tick a level, where its accuracy was measured, with k of n under it; nobody there: at the level itself."""
    places = [p["level"] if p["weak_accuracy"] is None else p["weak_accuracy"] for p in points]
    low, high = min([*places, ax.get_xlim()[0]]), max([*places, ax.get_xlim()[1]])
    ax.set_xlim(low, high)
    labels, last = [], [-math.inf, -math.inf]  # of the upper and the lower row
    for place, point in zip(places, points, strict=True):
        row = next((row for row in (0, 1) if place - last[row] >= _SPACING * (high - low)), None)
        labels.append("" if row is None else "\n\n" * row + f"{place:.2f}\n{point['reached_goal']}/{point['seeds']}")
        if row is not None:
            last[row] = place
    ax.set_xticks(places, labels)
    ax.tick_params(axis="x", labelsize="small")
