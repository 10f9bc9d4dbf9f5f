"""Training and validation accuracy under each method, over epochs and over seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import style
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import Floats, floats
from gtsearch.results import Results

TITLE = "How the target learns"
CAPTION = (
    "Median accuracy over the report seeds of each method: validation solid, training dashed; the band is the middle "
    "half of the seeds' validation accuracy. A seed that reached the goal trains on to twice that epoch, past "
    "max_epochs too, to show whether it keeps it; one that stopped holds its last value, and a line turns thin where "
    "fewer than half of the seeds are still training. The legend counts the seeds that reach and hold the goal."
)
PANELS: tuple[dict[str, Any], ...] = ({"x": "epoch"}, {"x": "train_seconds"})

_AXIS = {"epoch": "epochs", "train_seconds": "training seconds"}
_TEXTS = ("run_id", "method", "status")
_CURVE = ("epoch", "train_seconds", "train_accuracy", "val_accuracy")
_PARTS = {"train": "train_accuracy", "validation": "val_accuracy"}
_SECONDS_GRID = 200  # members' clocks differ: their curves are read off a common grid
_MOST_EPOCHS = 400  # more places than a panel has pixels show nothing more


def gather(results: Results) -> pd.DataFrame:
    """The evaluations of the report's target members; one row without an epoch for a member that has none.

    Texts are categories: a run may hold millions of evaluations.
    """
    members = of_report(base_only(results).trials, results.summary["methods"])
    members = members[["run_id", "method", "status", "goal", "seeds"]].astype(dict.fromkeys(_TEXTS, "category"))
    of_member = pd.Index(members["run_id"]).get_indexer(pd.Index(results.curves["run_id"]))
    curves = results.curves.loc[of_member >= 0, list(_CURVE)]
    place = of_member[of_member >= 0]
    without = np.setdiff1d(np.arange(len(members)), place)
    rows = members.take(np.append(place, without)).reset_index(drop=True)
    return rows.join(curves.reset_index(drop=True))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.4, 3.0


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians and bands.

    Args:
        frame: curves with each member's method, status and goal beside them; of a member without any evaluation one
            row with a null epoch. A column `seeds` gives how many a method's claim rests on, if not its members.

    Returns:
        One row a method, part (`train`, `validation`), kind of x (`epoch`, `train_seconds`) and place on it: x,
        median, low and high (quartiles over members, each holding its last value), running (members not yet
        stopped), members (with a curve), reached, seeds, goal.
    """
    blocks = []
    for method in sorted(set(frame["method"].unique()), key=style.place):
        own = frame[frame["method"] == method]
        members = own[["run_id", "status"]].drop_duplicates("run_id")
        told: dict[str, Any] = {
            "reached": int((members["status"] == "cleared").sum()),
            "seeds": int(own["seeds"].iloc[0]) if "seeds" in own and own["seeds"].notna().all() else len(members),
            "goal": own["goal"].iloc[0],
        }
        for part, column in _PARTS.items():
            curves = _Curves(own, column)
            if curves.members:
                blocks += [
                    pd.DataFrame({"method": method, "part": part, "kind": kind, **curves.told(kind), **told})
                    for kind in _AXIS
                ]
    columns = ["method", "part", "kind", "x", "median", "low", "high", "running", "members", "reached", "seeds", "goal"]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


class _Curves:
    """One column of the curves of all members, member after member, each in order of epochs."""

    def __init__(self, own: pd.DataFrame, column: str) -> None:
        number = pd.factorize(own["run_id"])[0]
        read = {name: floats(own[name]) for name in (*_AXIS, column)}
        known = np.flatnonzero(~np.isnan(list(read.values())).any(axis=0))
        order = known[np.lexsort((read["epoch"][known], number[known]))]
        self._x = {kind: read[kind][order] for kind in _AXIS}
        self._y = read[column][order]
        ends = np.flatnonzero(np.diff(number[order], append=-1))
        self._slices = [slice(a, b + 1) for a, b in zip([0, *(ends[:-1] + 1)], ends, strict=True)] if len(order) else []

    @property
    def members(self) -> int:
        return len(self._slices)

    def told(self, kind: str) -> dict[str, Any]:
        """x, median, low, high, running and members over the axis `kind`."""
        x = self._x[kind]
        last = np.array([x[own.stop - 1] for own in self._slices])
        grid = _thinned(np.unique(x)) if kind == "epoch" else np.linspace(0.0, last.max(), _SECONDS_GRID)
        # [members, grid]; beyond its end a member holds its last value
        held = np.array([np.interp(grid, x[own], self._y[own]) for own in self._slices])
        low, median, high = np.quantile(held, [0.25, 0.5, 0.75], axis=0)
        running = len(last) - np.searchsorted(np.sort(last), grid)
        return {"x": grid, "median": median, "low": low, "high": high, "running": running, "members": len(last)}


def _thinned(grid: Floats) -> Floats:
    """At most `_MOST_EPOCHS` of `grid`, its ends among them."""
    if len(grid) <= _MOST_EPOCHS:
        return grid
    kept: Floats = grid[np.linspace(0, len(grid) - 1, _MOST_EPOCHS).round().astype(int)]
    return kept


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "No target was trained on report seeds." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, x: str = "epoch") -> None:
    """Draws a `table` on `ax` against `x`: `epoch` or `train_seconds`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    frame = frame[frame["kind"] == x]
    handles = []
    for method, own in frame.groupby("method", sort=False):
        shade, first = style.colour(str(method)), own.iloc[0]
        for part, line in own.groupby("part", sort=False):
            _line(ax, line, shade, dashed=part == "train")
        label = f"{method}, {first['reached']} of {first['seeds']}"
        handles.append(_handle(shade, style.marker(str(method)), label))
    goal = frame["goal"].iloc[0]
    if pd.notna(goal):
        ax.axhline(goal, color=style.INK, lw=0.9, ls=":", zorder=1)
        along = ax.get_yaxis_transform()
        ax.text(1, goal - 0.015, f"goal {goal:g}", transform=along, ha="right", va="top", fontsize="small")
    handles += [
        Line2D([], [], color=style.INK, lw=2, label="validation"),
        Line2D([], [], color=style.INK, lw=1.2, ls="--", label="training"),
    ]
    ax.set_xlim(0, None)
    ax.set_ylim(-0.02, 1.03)
    ax.set_xlabel(_AXIS[x])
    ax.set_ylabel("accuracy")
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, borderaxespad=0, frameon=False)


def _line(ax: Axes, line: pd.DataFrame, shade: str, dashed: bool) -> None:
    grid, median = floats(line["x"]), floats(line["median"])
    most = int((2 * line["running"] >= line["members"]).sum())  # running never grows: a prefix
    bold: dict[str, Any] = {"ls": "--", "lw": 1.2} if dashed else {"lw": 2.2}
    ax.plot(grid[:most], median[:most], color=shade, **bold)
    ax.plot(grid[max(0, most - 1) :], median[max(0, most - 1) :], color=shade, alpha=0.5, **bold | {"lw": 0.8})
    if not dashed:
        ax.fill_between(grid, floats(line["low"]), floats(line["high"]), color=shade, alpha=0.16, lw=0)
        # The marker tells methods apart where colours do not print.
        method = str(line["method"].iloc[0])
        middle = np.linspace(0, most - 1, 6).astype(int)[1:-1]
        ax.plot(grid[middle], median[middle], ls="none", marker=style.marker(method), color=shade, ms=5)


def _handle(shade: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=shade, lw=2.2, marker=marker, ms=5, label=label)
