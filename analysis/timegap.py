"""Epochs between fitting the training set and generalising, under each method: the time gap of grokking.

First evaluation with 95 % validation accuracy less first evaluation with 95 % training accuracy (method.md,
section 5). Undefined where either is never reached: such a member is censored, never a zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from gtsearch.analysis import stats, style
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "How long is the delay?"
CAPTION = (
    "The time gap of each report seed: the epochs from 95 % training accuracy to 95 % validation accuracy. The bar is "
    "the Kaplan-Meier median with a bootstrap interval. An open triangle at the edge never came to one of the two; "
    "beside the name, how many did, of how many. The gap leaves out what the weak model cost."
)
PANELS: tuple[dict[str, Any], ...] = ({},)
LEFT = 1.9

_LINEAR = 30  # times the least median: an axis of more is logarithmic beyond 10 epochs
_COLUMNS = ["method", "run_id", "gap", "spent", "reached", "seeds", "median", "low", "high"]


def gather(results: Results) -> pd.DataFrame:
    """The report's target members."""
    members = of_report(base_only(results).trials, results.summary["methods"])
    return members[["method", "run_id", "status", "epochs", "epoch_train_95", "epoch_val_95", "seeds"]]


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of the panel, between its axes: higher with every method."""
    return 5.4, max(1.2, 0.5 * frame["method"].nunique())


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a member, methods in the catalog's order.

    Args:
        frame: method, run_id, status, epochs, epoch_train_95, epoch_val_95, seeds (null: as many as members).

    Returns:
        method, run_id, gap (epochs; null where undefined), spent (epochs since 95 % training accuracy, or null where
        that was never reached); the same on every row of a method: reached (members with a gap) of seeds, and the
        median with its interval (null where unknown or beyond what was seen).
    """
    counted = frame[frame["status"] != "cancelled"]
    blocks = [
        _block(counted[counted["method"] == method]) for method in sorted(set(counted["method"]), key=style.place)
    ]
    return pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame(columns=_COLUMNS)


def waits(own: pd.DataFrame) -> tuple[stats.Floats, npt.NDArray[np.bool_]]:
    """The time gap of each member of `own` and whether it was seen to end, both [n].

    Without a gap a member is censored: still waiting when it was stopped. One that never fitted its training set
    would wait for ever, and so would a run whose loss or process broke.
    """
    gap = (own["epoch_val_95"] - own["epoch_train_95"]).astype("Float64")
    spent = (own["epochs"] - own["epoch_train_95"]).astype("Float64")
    reached = gap.notna().to_numpy(dtype=bool)
    broken = own["status"].isin(["diverged", "failed"]).to_numpy(dtype=bool)
    waited = np.where(broken, math.inf, np.nan_to_num(floats(spent), nan=math.inf))
    return np.where(reached, floats(gap), waited), reached


def _block(own: pd.DataFrame) -> pd.DataFrame:
    gap = (own["epoch_val_95"] - own["epoch_train_95"]).astype("Float64")
    spent = (own["epochs"] - own["epoch_train_95"]).astype("Float64")
    seeds = int(own["seeds"].iloc[0]) if own["seeds"].notna().all() else len(own)
    times, reached = waits(own)
    missing = max(0, seeds - len(own))  # seeds that gave no member never get there
    times, there = np.append(times, [math.inf] * missing), np.append(reached, [False] * missing)
    low, high = stats.km_median_interval(times, there)
    block = pd.DataFrame({"method": own["method"], "run_id": own["run_id"], "gap": gap, "spent": spent})
    block = block.assign(reached=int(reached.sum()), seeds=seeds)
    for name, value in (("median", stats.km_median(times, there)), ("low", low), ("high", high)):
        block[name] = pd.array([value] * len(block), dtype="Float64")
    return block


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "No target was trained on report seeds." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes) -> None:
    """Draws a `table` on `ax`: one row a method."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    edge = _axis(ax, frame)
    methods = list(dict.fromkeys(frame["method"]))
    labels = []
    for row, method in enumerate(methods):
        own = frame[frame["method"] == method]
        first, shade = stats.records(own.head(1))[0], style.colour(method)
        gaps = np.sort(floats(own["gap"].dropna()))
        ax.scatter(gaps, row + _spread(len(gaps)), s=20, marker=style.marker(method), color=shade, alpha=0.75, lw=0.8)
        censored = len(own) - len(gaps)
        if censored:
            ax.scatter(
                [edge] * censored,
                row + _spread(censored),
                s=30,
                marker=">",
                facecolors="none",
                edgecolors=shade,
                clip_on=False,
                zorder=4,
            )
        if first["median"] is not None:
            low = first["median"] if first["low"] is None else first["low"]
            high = edge if first["high"] is None and first["low"] is not None else first["high"] or first["median"]
            ax.plot([low, high], [row, row], color=style.INK, lw=1.4, zorder=5)
            ax.plot([first["median"]] * 2, [row - 0.3, row + 0.3], color=style.INK, lw=2.4, zorder=5)
        labels.append(f"{method}\n{first['reached']} of {first['seeds']}")
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_yticks(range(len(methods)), labels)
    ax.tick_params(axis="y", length=0, labelsize="small")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("epochs from 95 % training to 95 % validation accuracy")


def _axis(ax: Axes, frame: pd.DataFrame) -> float:
    """Sets the axis over all gaps; returns where the censored stand."""
    gaps = floats(frame["gap"].dropna())
    waited = floats(frame.loc[frame["gap"].isna(), "spent"].dropna())
    known = np.concatenate([gaps, waited, floats(frame["low"].dropna())])
    high = max(float(known.max()), 1.0) if len(known) else 1.0
    low = min(0.0, float(gaps.min())) if len(gaps) else 0.0
    least = floats(frame["median"].dropna()).min(initial=high)
    if high > _LINEAR * max(10.0, float(least)):
        ax.set_xscale("symlog", linthresh=10, linscale=0.5)
        edge = high * 1.6
    else:
        edge = high + 0.06 * (high - low)
    margin = 0.03 * (edge - low) if ax.get_xscale() == "linear" else (1.0 if low >= 0 else 0.2 * abs(low))
    ax.set_xlim(low - margin, edge)
    ax.xaxis.set_major_formatter(lambda value, _: style.number(value))
    return edge


def _spread(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Small steps up and down, [n], so that equal values do not hide each other."""
    return np.linspace(-0.24, 0.24, n) if n > 1 else np.zeros(n)
