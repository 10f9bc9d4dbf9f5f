"""The numbers of each probe on the target while it trains, over epochs: one small panel a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import style
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "What the probes read"
CAPTION = (
    "One panel a number that was measured as the target trains, over epochs: a thin line for each report seed and a "
    "thick one for the median of each method, as long as half of its seeds are still training."
)
PANELS: tuple[dict[str, Any], ...] = ({},)

_ACROSS = 2
_WIDTH, _HEIGHT = 3.6, 2.2  # inches of one small panel, between its axes
_GAP = (0.85, 0.75)  # inches between small panels, across and up
_DECADES = 2.0  # a number that spans more is drawn on a logarithmic axis


def gather(results: Results) -> pd.DataFrame:
    """run_id, method, epoch, probe and value of the report's target members."""
    members = of_report(base_only(results).trials, results.summary["methods"])[["run_id", "method"]]
    return members.merge(results.probes, on="run_id", how="inner")[["run_id", "method", "epoch", "probe", "value"]]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The lines of the figure.

    Args:
        frame: as `gather` gives it; a null value was not finite, and breaks nothing: it is left out.

    Returns:
        One row a point: probe, method (catalog's order), run_id (null: the method's median), epoch, value, log
        (whether the number's axis is logarithmic). Medians stand at the epochs at which at least half of the
        method's members have a value.
    """
    known = frame.dropna(subset=["value", "epoch"])
    known = known[np.isfinite(floats(known["value"]))].sort_values(["run_id", "epoch"])
    blocks = []
    for probe in dict.fromkeys(known["probe"]):
        rows = known[known["probe"] == probe]
        log = _spans_decades(floats(rows["value"]))
        for method in sorted(set(rows["method"]), key=style.place):
            own = rows[rows["method"] == method]
            values = own.groupby("epoch")["value"].agg(["median", "size"])
            middle = values[2 * values["size"] >= own["run_id"].nunique()].reset_index()
            medians = pd.DataFrame({"run_id": None, "epoch": middle["epoch"], "value": middle["median"]})
            both = [own[["run_id", "epoch", "value"]], medians.astype({"run_id": "string", "epoch": "Int64"})]
            blocks.append(pd.concat(both, ignore_index=True).assign(probe=probe, method=method, log=log))
    columns = ["probe", "method", "run_id", "epoch", "value", "log"]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


def _spans_decades(values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether all are positive and the largest is far from the smallest."""
    return bool(values.min() > 0 and math.log10(values.max() / values.min()) > _DECADES)


def _grid(frame: pd.DataFrame) -> tuple[int, int]:
    """Small panels across and up."""
    n = max(1, frame["probe"].nunique())
    return min(n, _ACROSS), -(-n // _ACROSS)


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of all small panels together."""
    across, up = _grid(frame)
    return across * _WIDTH + (across - 1) * _GAP[0], up * _HEIGHT + (up - 1) * _GAP[1]


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "No probe was read: the experiment asks for none, or no target came so far." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes) -> None:
    """Draws a `table` as small panels in the place of `ax`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    ax.set_axis_off()
    width, height = size(frame)
    across, _ = _grid(frame)
    names = list(dict.fromkeys(frame["probe"]))
    for i, probe in enumerate(names):
        row, column = divmod(i, across)
        left, top = column * (_WIDTH + _GAP[0]), row * (_HEIGHT + _GAP[1])
        place = (left / width, 1 - (top + _HEIGHT) / height, _WIDTH / width, _HEIGHT / height)
        panel = ax.inset_axes(place)
        _draw_one(panel, frame[frame["probe"] == probe])
        panel.set_title(probe, fontsize="medium")
        if i + across >= len(names):
            panel.set_xlabel("epochs")
    methods = sorted(set(frame["method"]), key=style.place)
    handles = [Line2D([], [], color=style.colour(method), lw=2.2, label=method) for method in methods]
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1 + 0.3 / height),
        ncols=4,
        borderaxespad=0,
        frameon=False,
    )


def _draw_one(panel: Axes, frame: pd.DataFrame) -> None:
    for method, own in frame.groupby("method", sort=False):
        shade = style.colour(str(method))
        for _, line in own[own["run_id"].notna()].groupby("run_id"):
            panel.plot(floats(line["epoch"]), floats(line["value"]), color=shade, lw=0.6, alpha=0.4, zorder=2)
        median = own[own["run_id"].isna()].sort_values("epoch")
        panel.plot(floats(median["epoch"]), floats(median["value"]), color=shade, lw=2.2, zorder=3)
    panel.set_xlim(0, None)
    if frame["log"].iloc[0]:
        style.log_axis(panel, "y", "count")
    else:
        panel.yaxis.set_major_formatter(lambda value, _: style.number(value))
