"""How many report seeds have not reached the goal yet, method by method: Kaplan-Meier over epochs and over FLOPs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from gtsearch.analysis import stats, style
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import Floats, floats
from gtsearch.results import Results

TITLE = "How long until the goal, seed by seed?"
CAPTION = (
    "The share of report seeds that have not reached the goal (Kaplan-Meier; the band is its 95 % interval): the "
    "sooner a line falls, the better. A line that ends above nought was censored there: the tick is a seed that was "
    "given up. A filled marker stands at the median; an open one only tells the line, of a method that has none: fewer "
    "than half of its seeds got there. Under the axis: the seeds still training at that place. The log-rank test "
    "compares transfer with scratch over the whole curve. FLOPs are those of the target alone."
)
PANELS: tuple[dict[str, Any], ...] = ({"unit": "epochs"}, {"unit": "flops"})
LEFT = 1.6

COLUMNS = {
    "unit": "string",
    "method": "string",
    "kind": "string",
    "x": "Float64",
    "surviving": "Float64",
    "low": "Float64",
    "high": "Float64",
    "at_risk": "Int64",
    "median": "Float64",
    "reached": "Int64",
    "seeds": "Int64",
    "p": "Float64",
    "log": "boolean",
}
STEP, CENSORED, AT_RISK = "step", "censored", "at risk"
_OF_CURVE = {"x": "times", "surviving": "surviving", "low": "low", "high": "high", "at_risk": "at_risk"}
_UNITS = ("epochs", "flops")
_AXIS = {"epochs": "epochs", "flops": "FLOPs of the target"}
_FAR = 30.0  # times apart; goals further from each other are drawn on a logarithmic axis
_PLACES = 4  # at which the seeds at risk are counted, about
_LINE = 11  # points from one row of counts to the next

Times = tuple[Floats, npt.NDArray[np.bool_]]


def gather(results: Results) -> pd.DataFrame:
    """The report's target members, with `seeds`: how many the method's claim rests on."""
    members = of_report(base_only(results).trials, results.summary["methods"])
    spent = [column for unit in _UNITS for column in (stats.UNITS[unit], f"{unit}_to_goal")]
    return members[["run_id", "method", "status", "seeds", *spent]].reset_index(drop=True)


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.0, 3.0


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The curves, columns and dtypes as in COLUMNS.

    Args:
        frame: report members, as `gather` gives them. Where `seeds` counts more than there are members, the others
            (pipelines without an embedding) never get there.

    Returns:
        One row a unit (`epochs`, `flops`), method (catalog's order), kind and x: `step` (the share surviving from x
        on, its interval; the last one stands where the curve ends), `censored` (seeds given up at x, as many as
        at_risk says), `at risk` (seeds still training at x, on a grid all methods share). On every row of a method
        its median (null: censored), reached, seeds, and p: the log-rank test of transfer against scratch (null but on
        transfer's). log: whether the axis is logarithmic.
    """
    blocks: list[pd.DataFrame] = []
    methods = sorted(set(frame["method"].unique()), key=style.place)
    for unit in _UNITS:
        times = {method: _times(frame[frame["method"] == method], unit) for method in methods}
        times = {method: own for method, own in times.items() if len(own[0])}
        finite = np.concatenate([own[0][np.isfinite(own[0])] for own in times.values()] or [np.zeros(0)])
        end = float(finite.max(initial=0.0))
        log = _is_far(times)
        grid = _grid(end, float(finite[finite > 0].min(initial=end)) if log else None)
        for method, own in times.items():
            p = _p(times) if method == "transfer" else None
            median, reached = stats.km_median(*own), int(own[1].sum())
            told = {"median": median, "reached": reached, "seeds": len(own[0]), "p": p, "log": log}
            parts = [_steps(*own, end), _censored(*own), _at_risk(own[0], grid)]
            blocks += [part.assign(unit=unit, method=method, **told) for part in parts]
    made = pd.concat([block.reindex(columns=list(COLUMNS)) for block in blocks if len(block)]) if blocks else None
    made = pd.DataFrame(columns=list(COLUMNS)) if made is None else made
    return made.astype(COLUMNS).reset_index(drop=True)


def _times(own: pd.DataFrame, unit: str) -> Times:
    times, reached = stats.times_to_goal(own, unit)
    claimed = own["seeds"].dropna()
    never = max(0, int(claimed.iloc[0]) - len(times)) if len(claimed) else 0
    return np.append(times, np.full(never, np.inf)), np.append(reached, np.zeros(never, dtype=bool))


def _is_far(times: dict[str, Times]) -> bool:
    """Whether the goals lie so far apart that the first would be lost on a plain axis."""
    goals = np.concatenate([when[there] for when, there in times.values()] or [np.zeros(0)])
    goals = goals[goals > 0]
    return bool(len(goals)) and bool(goals.max() > _FAR * goals.min())


def _grid(end: float, start: float | None) -> Floats:
    """Where the seeds at risk are counted: round numbers up to `end`, on a logarithmic axis from `start` on."""
    if start is None or start >= end:
        ticks = np.asarray(MaxNLocator(_PLACES).tick_values(0.0, end or 1.0), dtype=np.float64)
    else:
        ticks = np.array([0.0, *(float(f"{tick:.1g}") for tick in np.geomspace(start, end, _PLACES + 1))])
    return np.unique(ticks[(ticks >= 0) & (ticks <= 1.001 * end)])


def _p(times: dict[str, Times]) -> float | None:
    """Log-rank of transfer against scratch; None where one is missing, or nobody got there either way."""
    if not {"transfer", "scratch"} <= set(times) or not (times["transfer"][1].any() or times["scratch"][1].any()):
        return None
    return stats.log_rank(*times["transfer"], *times["scratch"])


def _steps(times: Floats, reached: npt.NDArray[np.bool_], end: float) -> pd.DataFrame:
    """From (0, 1) down, and level to where the last seed was given up: the end of the axis for one that never ends."""
    curve = stats.kaplan_meier(times, reached)
    down = pd.DataFrame({name: getattr(curve, field) for name, field in _OF_CURVE.items()})
    if down.empty or curve.times[0] > 0:
        whole = {"x": 0.0, "surviving": 1.0, "low": np.nan, "high": np.nan, "at_risk": float(len(times))}
        down = pd.DataFrame([whole, *down.to_dict("records")])
    if not np.isfinite(times).all() and end > down["x"].iloc[-1]:
        down = pd.DataFrame([*down.to_dict("records"), down.iloc[-1].to_dict() | {"x": end}])
    return down.assign(kind=STEP)


def _censored(times: Floats, reached: npt.NDArray[np.bool_]) -> pd.DataFrame:
    when, count = np.unique(times[~reached & np.isfinite(times)], return_counts=True)
    steps = _steps(times, reached, 0.0)
    at = np.searchsorted(floats(steps["x"]), when, side="right") - 1
    return pd.DataFrame({"x": when, "surviving": floats(steps["surviving"])[at], "at_risk": count, "kind": CENSORED})


def _at_risk(times: Floats, grid: Floats) -> pd.DataFrame:
    counts = len(times) - np.searchsorted(np.sort(times), grid)
    return pd.DataFrame({"x": grid, "at_risk": counts, "kind": AT_RISK})


# -- the picture --------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "No target was trained on report seeds." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, unit: str = "epochs") -> None:
    """Draws a `table` on `ax` against `unit`: `epochs` or `flops`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    frame = frame[frame["unit"] == unit]
    methods = list(dict.fromkeys(frame["method"]))
    left = _axes(ax, frame, unit)
    ax.axhline(0.5, color=style.FAINT, lw=0.8, ls=":", zorder=1)
    for i, method in enumerate(methods):
        _curve(ax, frame[frame["method"] == method], left, (i + 0.5) / len(methods))
    _counts(ax, frame[frame["kind"] == AT_RISK], methods, left)
    ax.set_ylim(-0.02, 1.03)
    ax.set_ylabel("share that has not reached the goal")
    ax.set_xlabel(_AXIS[unit], labelpad=_LINE * (len(methods) + 1) + 4)
    p = frame["p"].dropna()
    # Over the axes: within them, a curve may fall anywhere.
    words = f"log-rank, transfer and scratch: p {style.p_value(float(p.iloc[0]))}" if len(p) else None
    ax.legend(
        handles=_legend(frame, methods), loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, borderaxespad=0,
        frameon=False, title=words, title_fontsize="small", alignment="left",
    )  # fmt: skip


def _axes(ax: Axes, frame: pd.DataFrame, unit: str) -> float:
    """Sets up the axis across; the place where curves start: nought, or the left end of a logarithmic axis."""
    x = floats(frame["x"])
    end = float(x.max()) or 1.0
    left = 0.0
    if frame["log"].iloc[0]:
        left = float(x[x > 0].min()) / 1.5
        ax.set_xscale("log")
    ticks = np.unique(floats(frame.loc[frame["kind"] == AT_RISK, "x"]))
    ax.set_xlim(left, end * (1.15 if left else 1.02))
    ax.set_xticks(ticks[ticks >= left] if not left else [left, *ticks[ticks > left]])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: "0" if value <= left else style.quantity(value, unit))
    ax.tick_params(axis="x", labelsize="small")
    return left


def _curve(ax: Axes, own: pd.DataFrame, left: float, along: float) -> None:
    """One method. Where it has no median, its marker stands `along` the line: several may lie on each other."""
    method = str(own["method"].iloc[0])
    shade, mark = style.colour(method), style.marker(method)
    steps, given_up = own[own["kind"] == STEP], own[own["kind"] == CENSORED]
    x = np.maximum(floats(steps["x"]), left)
    ax.fill_between(x, floats(steps["low"]), floats(steps["high"]), step="post", color=shade, alpha=0.14, lw=0)
    ax.plot(x, floats(steps["surviving"]), drawstyle="steps-post", color=shade, lw=2.0, zorder=3)
    ax.plot(
        np.maximum(floats(given_up["x"]), left), floats(given_up["surviving"]), ls="none", marker="|", ms=9, mew=1.5,
        color=shade, zorder=4, clip_on=False,
    )  # fmt: skip
    if pd.notna(median := own["median"].iloc[0]):
        ax.plot([median], [0.5], marker=mark, ms=7, color=shade, mec="white", mew=0.8, zorder=6)
    else:
        right = x[-1]
        at = left * (right / left) ** along if left else right * along
        height = floats(steps["surviving"])[np.searchsorted(x, at, side="right") - 1]
        ax.plot([at], [height], marker=mark, ms=6, color=shade, mfc="white", mew=1.4, zorder=6, clip_on=False)


def _counts(ax: Axes, at_risk: pd.DataFrame, methods: list[str], left: float) -> None:
    """Under the axis, a row a method."""

    def write(text: str, x: float, row: int, method: str | None, **look: Any) -> None:
        where = ax.get_xaxis_transform()
        ax.annotate(
            text, (x, 0), (look.pop("dx", 0), -19 - _LINE * row), xycoords=where, textcoords="offset points", va="top",
            fontsize="x-small", color=style.colour(method) if method else style.INK, annotation_clip=False, **look,
        )  # fmt: skip

    first = max(left, ax.get_xlim()[0])
    write("still training:", first, 0, None, ha="right", dx=-12)
    for row, method in enumerate(methods, start=1):
        write(method, first, row, method, ha="right", dx=-12)
        own = at_risk[at_risk["method"] == method]
        for x, count in zip(floats(own["x"]), own["at_risk"], strict=True):
            write(style.count(count), max(x, left), row, method, ha="center")


def _legend(frame: pd.DataFrame, methods: list[str]) -> list[Line2D]:
    firsts = frame.drop_duplicates("method").set_index("method")
    return [
        Line2D(
            [], [], color=style.colour(method), lw=2, marker=style.marker(method), ms=6, label=f"{method}, {k} of {n}"
        )
        for method in methods
        for k, n in [firsts.loc[method, ["reached", "seeds"]]]
    ]
