"""Probe numbers, time gap and the rest under each variation, over the value that was varied.

Variations called `<name> <number>` (`n 100`, `n 200`: a list of values in the experiment) are one sweep over that
number, with the experiment itself at its own value of it. All others stand below each other by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import asked, measured, stats, style
from gtsearch.analysis.members import BASE
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "What does each variation measure?"
CAPTION = (
    "One row a measure, one column a value that was varied, and a last column of the variations that are no numbers. "
    "A dot is the median over report members (of a probe's number, its last value) with a 95 % bootstrap interval; an "
    "open triangle: the median, or the end of its interval, was not seen. Slopes are of the medians, both axes in "
    "logarithms, with a bootstrap interval over members."
)
PANELS: tuple[dict[str, Any], ...] = ({},)

MEASURES = ("time_gap", "weak_accuracy", "epochs")
"""What is drawn beside the numbers of probes."""

_NUMBERED = re.compile(r"(?P<sweep>[^,]+?) (?P<x>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_WIDTH, _HEIGHT = 2.9, 1.9  # inches of one small panel
_LANE = 0.2  # inches a variation that is no number, for one method
_NAMES = 1.9  # inches for the names of those
_GAP = (0.75, 0.95)  # inches between small panels, across and up
_FAR = 8.0  # an axis that spans more times its least value is logarithmic
_SHOWN = 26  # letters of a variation's name
_KEYS = ("measure", "sweep", "x", "variation", "who", "value", "there")
_COLUMNS = ("measure", "sweep", "x", "variation", "who", "median", "low", "high", "reached", "n")
_SLOPE = ("slope", "slope_low", "slope_high")


@dataclass(frozen=True)
class Place:
    """Where a variation is drawn: in which sweep (empty: among those that are no numbers), and at which x there."""

    sweep: str
    variation: str
    x: float | None


# -- which variations are a sweep -----------------------------------------------------------------------------


def places(results: Results) -> list[Place]:
    """Where each variation stands, sweep by sweep; none where the experiment was not varied."""
    varied: Mapping[str, Any] = results.summary["variations"] or {}
    sweeps: dict[str, list[Place]] = {}
    for name, entry in varied.items():
        found = _NUMBERED.fullmatch(name)
        # The number must be one that was set: `weak depth 3` may be the name of anything.
        if found and any(map(_is(float(found["x"])), entry["changes"].values())):
            sweeps.setdefault(found["sweep"], []).append(Place(found["sweep"], name, float(found["x"])))
    placed = []
    for sweep, own in sweeps.items():
        base = _base(results, [varied[place.variation]["changes"] for place in own])
        every = [*own, *([] if base is None else [Place(sweep, BASE, base)])]
        if len({place.x for place in every}) > 1:
            placed += sorted(every, key=lambda place: place.x or 0.0)
    shown = {place.variation for place in placed}
    others = [name for name in varied if name != BASE and name not in shown]
    return placed + [Place("", name, None) for name in ([BASE, *others] if others else [])]


def _is(number: float) -> Any:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == number


def _base(results: Results, changes: Sequence[Mapping[str, Any]]) -> float | None:
    """The experiment's own value of the one path that all of a sweep change; None where there is no such number."""
    paths = {path for change in changes for path in change}
    if len(paths) != 1:
        return None
    value = asked.value(results, paths.pop())
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# -- the table ------------------------------------------------------------------------------------------------


def gather(results: Results, names: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a value: measure, sweep, x, variation, who (a method, or `weak`), value, there (else censored).

    Args:
        results: the run.
        names: measures (gtsearch.measures); without them the numbers of its probes, and MEASURES.
    """
    placed = places(results)
    members = {name: measured.members_of(results, name) for name in dict.fromkeys(place.variation for place in placed)}
    rows = [
        (name, place.sweep, place.x, place.variation, who, value, there)
        for name in (names if names is not None else [*measured.probed(results), *MEASURES])
        for place in placed
        for who, sample in measured.samples(members[place.variation], name).items()
        for value, there in zip(sample.values, sample.there, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_KEYS))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a measure, sweep, variation and method.

    Args:
        frame: as `gather` gives it.

    Returns:
        measure, sweep, x, variation, who, median with its interval (low, high; null where not seen), reached of n;
        the same on all rows of one line: slope of the medians over x, both in logarithms, and its interval (null
        where a value is censored or not positive, there are fewer than three x, or all have the same values). A
        measure of which no median is known has no row.
    """
    blocks = []
    for keys, line in frame.groupby(["measure", "sweep", "who"], sort=False):
        points = [_point(own) for _, own in line.groupby("variation", sort=False)]
        slope, (low, high) = _slope(line)
        block = pd.DataFrame(points)
        for name, key in zip(("measure", "sweep", "who"), keys, strict=True):
            block[name] = str(key)
        blocks.append(block.assign(slope=slope, slope_low=low, slope_high=high))
    made = pd.concat([b.astype(object) for b in blocks]) if blocks else pd.DataFrame(columns=[*_COLUMNS, *_SLOPE])
    made = made.reindex(columns=[*_COLUMNS, *_SLOPE])
    numbers = [name for name in made.columns if name not in ("measure", "sweep", "variation", "who")]
    made = made.astype(dict.fromkeys(numbers, "Float64"))
    known = made.groupby("measure")["median"].transform("count") if len(made) else made["median"]
    return made[known > 0].reset_index(drop=True)


def _point(own: pd.DataFrame) -> dict[str, Any]:
    sample = measured.Sample(floats(own["value"]), own["there"].to_numpy(dtype=bool))
    first, (low, high) = own.iloc[0], sample.interval
    return {
        "x": first["x"],
        "variation": first["variation"],
        "median": sample.median,
        "low": low,
        "high": high,
        "reached": int(sample.there.sum()),
        "n": len(own),
    }


def _slope(line: pd.DataFrame) -> tuple[float | None, stats.OpenInterval]:
    if line["x"].isna().any() or not line["there"].all():
        return None, (None, None)
    at, values = floats(line["x"]), floats(line["value"])
    points = [(float(x), np.sort(values[at == x])) for x in np.unique(at)]
    if all(np.array_equal(values, points[0][1]) for _, values in points):
        return None, (None, None)  # the very same runs at every x: scratch, where the weak model is varied
    return stats.log_slope(points)


def slopes(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Of a `table`: measure, sweep, who, slope and interval of every line that has one."""
    lines = frame.dropna(subset=["slope"]).drop_duplicates(["measure", "sweep", "who"])
    return stats.records(lines[["measure", "sweep", "who", *_SLOPE]])


def slope_text(line: Mapping[str, Any]) -> str:
    """`slope -0.49 [-0.53, -0.44]`; without an interval the slope alone."""
    bounds = (line["slope_low"], line["slope_high"])
    interval = "" if None in bounds else f" [{', '.join(map(_two_digits, bounds))}]"
    return f"slope {_two_digits(line['slope'])}{interval}"


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no minus before a nought


# -- the picture ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """Small panels: measures up, sweeps across; inches of each column's left edge and of a row's height."""

    measures: list[str]
    sweeps: list[str]
    left: list[float]
    width: float
    height: float


def _grid(frame: pd.DataFrame) -> _Grid:
    measures, sweeps = (list(dict.fromkeys(frame[name])) for name in ("measure", "sweep"))
    sweeps.sort(key=lambda sweep: sweep == "")  # those that are no numbers come last
    left, edge = [], 0.0
    for i, sweep in enumerate(sweeps):
        edge += (_NAMES if sweep == "" else 0.0) + (_GAP[0] if i else 0.0)
        left.append(edge)
        edge += _WIDTH
    named = frame[frame["sweep"] == ""]
    lanes = named["variation"].nunique() * (0.5 + 0.5 * named["who"].nunique())
    return _Grid(measures, sweeps, left, max(edge, _WIDTH), max(_HEIGHT if any(sweeps) else 0.8, _LANE * lanes))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of all small panels together."""
    grid = _grid(frame)
    up = max(1, len(grid.measures))
    return grid.width, up * grid.height + (up - 1) * _GAP[1]


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "The experiment was not varied, or nothing was measured of its variations." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes) -> None:
    """Draws a `table` as small panels in the place of `ax`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    ax.set_axis_off()
    width, height = size(frame)
    grid = _grid(frame)
    for row, name in enumerate(grid.measures):
        own = frame[frame["measure"] == name]
        bounds = _bounds(own)
        first = next(sweep for sweep in grid.sweeps if (own["sweep"] == sweep).any())  # its panel names the measure
        for column, sweep in enumerate(grid.sweeps):
            part = own[own["sweep"] == sweep]
            if part.empty:
                continue
            top = row * (grid.height + _GAP[1])
            place = (grid.left[column] / width, 1 - (top + grid.height) / height, _WIDTH / width, grid.height / height)
            panel = ax.inset_axes(place)
            (_draw_names if sweep == "" else _draw_numbers)(panel, part, bounds)
            panel.set_title(_title(name, part, first=sweep == first), fontsize="small", fontweight="normal", pad=4)
    who = sorted(set(frame["who"]), key=_order)
    handles = [Line2D([], [], color=_look(w)[0], marker=_look(w)[1], ms=5, lw=1.5, label=w) for w in who]
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1 + 0.45 / height),
        ncols=4,
        borderaxespad=0,
        frameon=False,
    )


def _order(who: str) -> tuple[bool, int]:
    return who == measured.WEAK, 0 if who == measured.WEAK else style.place(who)


def _look(who: str) -> tuple[str, str]:
    """Colour and marker."""
    return (style.FAINT, "d") if who == measured.WEAK else (style.colour(who), style.marker(who))


def _title(name: str, part: pd.DataFrame, first: bool) -> str:
    """The measure, in its row's first panel, and below it each line's slope."""
    lines = slopes(part)
    told = [f"{line['who']}: {slope_text(line)}" if part["who"].nunique() > 1 else slope_text(line) for line in lines]
    return "\n".join([*([measured.label(name)] if first else []), *told])


def _bounds(own: pd.DataFrame) -> tuple[float, float, bool]:
    """Low and high of a measure's axis, the same in every panel of its row, and whether it is logarithmic."""
    values = np.concatenate([floats(own[name].dropna()) for name in ("median", "low", "high")])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _FAR * low:
        return low / 1.3, high * 1.3, True
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return min(low, 0.0) - (margin if low < 0 else 0.0), high + margin, False


def _marks(panel: Axes, along: Sequence[float], part: pd.DataFrame, top: float, upright: bool) -> None:
    """Medians with intervals at `along`; what was not seen is an open triangle at `top`."""
    for at, row in zip(along, stats.records(part), strict=True):
        shade, marker = _look(row["who"])

        def put(values: Sequence[float], at: float = at, **look: Any) -> None:
            panel.plot(*(([at] * len(values), values) if upright else (values, [at] * len(values))), **look)

        unseen: dict[str, Any] = {"color": shade, "marker": "^" if upright else ">", "mfc": "white", "ms": 6}
        if row["median"] is None:
            put([top], **unseen, ls="none", zorder=4, clip_on=False)
            continue
        if row["low"] is not None:
            put([row["low"], top if row["high"] is None else row["high"]], color=shade, lw=1.5, zorder=2)
            if row["high"] is None:
                put([top], **unseen, ls="none", zorder=4, clip_on=False)
        put([row["median"]], color=shade, marker=marker, ms=5, ls="none", zorder=3)


def _draw_numbers(panel: Axes, part: pd.DataFrame, bounds: tuple[float, float, bool]) -> None:
    """One line a method, over the number that was varied."""
    low, high, log = bounds
    panel.set_ylim(low, high)
    x = floats(part["x"])
    wide = x.min() > 0 and x.max() > _FAR * x.min()
    margin = 0.06 * (x.max() - x.min()) or 0.1 * abs(x.max()) or 1.0  # something was measured at one x alone
    panel.set_xlim(*((x.min() / 1.25, x.max() * 1.25) if wide else (x.min() - margin, x.max() + margin)))
    for who in sorted(set(part["who"]), key=_order):
        own = part[part["who"] == who].sort_values("x")
        seen = own.dropna(subset=["median"])
        panel.plot(floats(seen["x"]), floats(seen["median"]), color=_look(who)[0], lw=0.9, ls=":", zorder=1)
        _marks(panel, list(floats(own["x"])), own, high, upright=True)
    if wide:
        style.log_axis(panel, "x", "count")
    else:
        panel.set_xticks(sorted(set(x.tolist())) if len(set(x.tolist())) < 6 else panel.get_xticks())
        panel.set_xlim(x.min() - margin, x.max() + margin)
        panel.xaxis.set_major_formatter(lambda value, _: style.number(value))
    _scale(panel, "y", log)
    panel.set_xlabel(str(part["sweep"].iloc[0]))


def _draw_names(panel: Axes, part: pd.DataFrame, bounds: tuple[float, float, bool]) -> None:
    """One row a variation."""
    low, high, log = bounds
    names = list(dict.fromkeys(part["variation"]))
    who = sorted(set(part["who"]), key=_order)
    step = 0.6 / max(1, len(who))
    place = {name: i for i, name in enumerate(names)}
    panel.set_xlim(low, high)
    for i, one in enumerate(who):
        own = part[part["who"] == one]
        shift = (i - (len(who) - 1) / 2) * step
        _marks(panel, [place[name] + shift for name in own["variation"]], own, high, upright=False)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_yticks(range(len(names)), [name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…" for name in names])
    panel.tick_params(axis="y", length=0, labelsize="x-small" if len(names) > 12 else "small")
    panel.grid(visible=False, axis="y")
    _scale(panel, "x", log)


def _scale(panel: Axes, which: str, log: bool) -> None:
    if log:
        style.log_axis(panel, which, "count")
    else:
        axis = panel.yaxis if which == "y" else panel.xaxis
        axis.set_major_formatter(lambda value, _: style.number(value))
