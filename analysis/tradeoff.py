"""Weak accuracy, as measured, against what the target then costs: alone, and with the weak model's own cost.

In the units themselves; `breakeven` draws the same pipelines over scratch's cost. Snapshots alone: the chosen config,
stopped at rising accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import pipelines, style
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "What does the target cost from a weak model that good?"
CAPTION = (
    "Each point is one pipeline: a weak model stopped at some validation accuracy (across), and what the target then "
    "cost to its goal (up), alone (light) and with the weak model's own cost (dark). Lines join the medians. An open "
    "triangle did not get there and stands at what it spent. Under the axis, how many pipelines get there of those "
    "begun; a weak seed that never came to the level counts as one that does not. The band is scratch on the same "
    "splits, from the least to the most. From the vertical line on, the transfer pays (decided in FLOPs)."
)
PANELS: tuple[dict[str, Any], ...] = ({"unit": "seconds"}, {"unit": "flops"})

_AXIS = {"epochs": "epochs", "seconds": "training seconds", "flops": "training FLOPs"}


def gather(results: Results) -> pd.DataFrame:
    """The pipelines of the study, with the threshold the summary names."""
    study = results.summary["tradeoff"]
    frame = pipelines.frame(study["pipelines"] if study else [])
    return frame.assign(paying_from=study["threshold"] if study else None)


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.4, 3.0


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of the figure: the pipelines (columns `pipelines.COLUMNS`) of scratch, and of transfer from snapshots.

    Args:
        frame: pipelines of a study; `paying_from`, the same on every row, is the threshold (null: none).
    """
    drawn = (frame["arm"] == "scratch") | ((frame["arm"] == "transfer") & (frame["design"] == "snapshots"))
    return frame[drawn].reset_index(drop=True).astype({"paying_from": "Float64"})


def levels(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What a `table` says of each level, in order: level, pipelines, reached_goal, weak_accuracy (median of those
    measured), median_target_<unit> and median_total_<unit> (a miss is infinite). Null where unknown or infinite."""
    told = []
    for start in pipelines.starts(frame, "snapshots", "flops"):
        record = {"level": start.level, "pipelines": start.pipelines, "reached_goal": start.reached}
        medians = {
            f"median_{part}_{unit}": pipelines.median(start.rows, f"{part}_{unit}")
            for part in ("target", "total")
            for unit in pipelines.UNITS
        }
        told.append({**record, "weak_accuracy": start.accuracy, **medians})
    return sorted(told, key=lambda record: record["level"])


# -- the picture --------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    study = frame[frame["arm"] == "transfer"]
    if study.empty:
        return "No snapshots were measured: the experiment asks for none, or the search did not come that far."
    return "No weak seed came to any of the levels asked for." if study["weak_accuracy"].isna().all() else None


def draw(frame: pd.DataFrame, ax: Axes, unit: str = "seconds") -> None:
    """Draws a `table` on `ax`, costs in `unit` (`seconds`, `flops` or `epochs`)."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    study = frame[(frame["arm"] == "transfer") & frame["weak_accuracy"].notna()]
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
    median = pipelines.median(scratch, f"target_{unit}")
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
    ordered = sorted(zip(places, points, strict=True), key=lambda entry: entry[0])
    labels = [f"{place:.2f}\n{point['reached_goal']}/{point['pipelines']}" for place, point in ordered]
    style.stacked_ticks(ax, [place for place, _ in ordered], labels)
