"""What the target, the weak model under it, and the search before it cost, beside training from scratch; and when the
search has paid for itself."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from gtsearch.analysis import bill, stats, style
from gtsearch.analysis.bill import TARGET
from gtsearch.analysis.members import base_only
from gtsearch.results import Results

TITLE = "What did it all cost?"
CAPTION = (
    "Each bar starts where the one above it ends: the target alone (median over report seeds), with its weak model "
    "(weak seeds that missed are charged), and with everything the search spent before; below it scratch and its "
    "tuning. Hatched: half of the seeds never got there, so it is at least that. What was run ahead and not needed is "
    "the price of having several workers busy: it counts in no ratio, and not in the line over the bars, which says "
    "after how many targets the search has paid for itself. FLOPs decide; seconds are summed over workers."
)
PANELS: tuple[dict[str, Any], ...] = ({"unit": "flops"}, {"unit": "seconds"})
LEFT = 2.2

UNITS = ("flops", "seconds")
WEAK = "weak model"
COLUMNS = {
    "unit": "string",
    "arm": "string",
    "part": "string",
    "value": "Float64",
    "start": "Float64",
    "end": "Float64",
    "at_least": "boolean",
    "break_even_runs": "Float64",
    "break_even": "string",
}
_MOST = 6  # arms of a run without a weak model; of more, those before them on the menu
_BAR = 0.27  # inches, with its gap
_ROOM = 1.6  # times the longest bar; numbers stand behind bars
_AXIS = {"flops": "training FLOPs", "seconds": "training seconds"}


def gather(results: Results) -> pd.DataFrame:
    """The rows that are paid for, as `bill.booked` gives them.

    Controls and the trade-off are left out where there is a transfer, else the first methods are the arms.
    """
    methods = results.summary["methods"]
    arms = [arm for arm in ("transfer", "scratch") if arm in methods]
    if "transfer" not in methods:
        arms = sorted(methods, key=lambda method: (method != "scratch", style.place(method)))[:_MOST]
    return bill.booked(base_only(results).trials, methods, arms)


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The bars, columns and dtypes as in COLUMNS.

    Args:
        frame: as `gather` gives it.

    Returns:
        One row a unit (`flops`, `seconds`), arm (transfer first, then scratch; without a transfer scratch and then
        the others) and part: value, start and end (value beyond start; a part starts where the last ended), at_least
        (the median is censored, and what the seeds that missed spent stands for it), break_even_runs (the same on
        every row of a unit; null: never, or not known) and break_even, the sentence that says it.
    """
    arms = sorted(set(frame["arm"].dropna()), key=lambda arm: (arm != "transfer", arm != "scratch", style.place(arm)))
    rows = {arm: frame[frame["arm"] == arm] for arm in arms}
    blocks = []
    for unit in UNITS:
        bars = [bar for arm in arms if (rows[arm]["part"] == TARGET).any() for bar in _bars(rows[arm], arm, unit)]
        both = bill.of(frame, unit)
        told = {"break_even_runs": both and both.break_even(), "break_even": _break_even(both, unit)}
        blocks += [bar | told for bar in bars]
    return pd.DataFrame(blocks, columns=list(COLUMNS)).astype(COLUMNS)


def _bars(own: pd.DataFrame, name: str, unit: str) -> list[dict[str, Any]]:
    arm = bill.arm(own, unit)
    alone, at_least = arm.alone, arm.alone is None
    parts = {TARGET: (arm.spent or 0.0) if alone is None else alone}
    if name == "transfer" and own.loc[own["part"] == TARGET, "weak_run_id"].notna().any():
        parts[WEAK] = _weak(arm)
    parts |= arm.parts
    ends = np.cumsum(list(parts.values()))
    return [
        {"unit": unit, "arm": name, "part": part, "value": value, "start": end - value, "end": end}
        | {"at_least": at_least and part == TARGET}
        for (part, value), end in zip(parts.items(), ends.tolist(), strict=True)
    ]


def _weak(arm: bill.Arm) -> float:
    """What the weak model adds: the median over pipelines of both, less that of the target alone; where one of these
    is censored, the median of the weak models of the pipelines that started."""
    if arm.alone is None or arm.whole is None:
        return float(np.median(arm.weak[arm.started]))
    return max(0.0, arm.whole - arm.alone)


def _break_even(both: bill.Bill | None, unit: str) -> str:
    """After how many target runs, in a sentence; empty without a transfer and a scratch."""
    if both is None:
        return ""
    if both.transfer.whole is None:
        return "Half of the transfers never got there: the search has not paid for itself."
    what, runs = {"flops": "FLOPs", "seconds": "seconds"}[unit], both.break_even()
    if runs is None:
        than = "what scratch was given" if both.lower_bound else "scratch"
        return f"In {what} the search never pays for itself: a transfer costs no less than {than}."
    if runs == 0:
        return f"In {what} the search cost no more than scratch's tuning: it pays from the first target run on."
    if runs <= 1:
        return f"In {what} the search has paid for itself with the first target run."
    most = "at most " if both.lower_bound else ""
    return f"In {what} the search has paid for itself after {most}{style.count(math.ceil(runs))} target runs."


# -- the picture --------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "No target was trained on report seeds: there is no cost to set anything against." if frame.empty else None


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    bars = frame[frame["unit"] == UNITS[0]]
    return 4.0, max(1.4, _BAR * (len(bars) + 0.8 * bars["arm"].nunique()))


def draw(frame: pd.DataFrame, ax: Axes, unit: str = "flops") -> None:
    """Draws a `table` on `ax`, costs in `unit` (`flops` or `seconds`)."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    bars = stats.records(frame[frame["unit"] == unit])
    most = max(bar["end"] for bar in bars) or 1.0
    place, places, last = 0.0, [], None
    for i, bar in enumerate(bars):
        first = bar["arm"] != last
        place += (1.8 if i else 0.0) if first else 1.0
        last = bar["arm"]
        places.append(place)
        closes = i + 1 == len(bars) or bars[i + 1]["arm"] != bar["arm"]
        _bar(ax, bar, place, most, first, closes)
    ax.set_yticks(places, [f"{bar['arm']}: {TARGET}" if bar["part"] == TARGET else f"+ {bar['part']}" for bar in bars])
    for label, bar in zip(ax.get_yticklabels(), bars, strict=True):
        label.set_color(style.colour(bar["arm"]))
        label.set_fontweight("bold" if bar["part"] == TARGET else "normal")
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(place + 0.6, -0.6)
    ax.set_xlim(0, _ROOM * most)
    ax.xaxis.set_major_locator(_ticks(most))
    ax.xaxis.set_major_formatter(lambda value, _: style.quantity(value, unit) if value else "0")
    ax.tick_params(axis="x", labelsize="small")
    ax.set_xlabel(_AXIS[unit])
    if words := bars[0]["break_even"]:
        ax.text(0, 1.02, textwrap.fill(words, 54), transform=ax.transAxes, ha="left", va="bottom", color=style.INK)


def _ticks(most: float) -> FixedLocator:
    """Few, the last at or just beyond what was spent."""
    return FixedLocator([tick for tick in MaxNLocator(3).tick_values(0, most) if 0 <= tick <= _ROOM * most])


def _bar(ax: Axes, bar: Mapping[str, Any], place: float, most: float, first: bool, closes: bool) -> None:
    """One bar with what it adds; at the last of an arm the sum."""
    shade = style.colour(bar["arm"])
    strength = {TARGET: 1.0, WEAK: 0.7}.get(bar["part"], 0.35)
    ax.barh(
        place,
        bar["value"],
        left=bar["start"],
        height=0.72,
        color="none" if bar["at_least"] else style.tint(shade, strength),
        edgecolor=shade,
        lw=0.8,
        hatch="////" if bar["at_least"] else None,
        zorder=3,
    )
    if not first:
        ax.plot([bar["start"]] * 2, [place - 1.0, place], color=shade, lw=0.7, zorder=2)
    sign = "at least " if bar["at_least"] else "" if first else "+ "
    text = sign + style.quantity(bar["value"], str(bar["unit"]))
    if closes and not first:
        text += f" = {style.quantity(bar['end'], str(bar['unit']))}"
    ax.text(bar["end"] + 0.012 * most, place, text, va="center", ha="left", fontsize="small", color=style.INK, zorder=4)
