"""What everything cost: the target, the weak model under it, and the search before it, beside training from scratch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from gtsearch.analysis import stats, style
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "What did it all cost?"
CAPTION = (
    "Each bar starts where the one above it ends: the target alone (median over report seeds), with its weak model "
    "(weak seeds that missed are charged), and with everything the search spent before; below it scratch and its "
    "tuning. Hatched: half of the seeds never got there, so it is at least that. The line over the bars says after "
    "how many targets the search has paid for itself. FLOPs decide; seconds are summed over workers."
)
PANELS: tuple[dict[str, Any], ...] = ({"unit": "flops"}, {"unit": "seconds"})
LEFT = 2.2

UNITS = ("flops", "seconds")
TARGET, WEAK, TUNING = "target alone", "weak model", "its tuning"
SEARCH = {  # purpose -> how the search's part is called
    "weak_search": "weak search",
    "weak_gate": "weak gate",
    "probe": "probes of the judge",
    "target_search": "target search",
    "cancelled": "withdrawn, not needed",
}
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
_MISSED = "missed"
_MOST = 6  # arms of a run without a weak model; of more, those before them on the menu
_BAR = 0.27  # inches, with its gap
_AXIS = {"flops": "training FLOPs", "seconds": "training seconds"}


def break_even(extra: float, scratch: float | None, transfer: float | None) -> float | None:
    """After how many target runs a search has paid for itself; None: never, or not known.

    Args:
        extra: what it spent more than scratch's own tuning did.
        scratch, transfer: what one run costs, transfer's with its weak model; None where that is censored.
    """
    if scratch is None or transfer is None or scratch <= transfer:
        return None
    return max(0.0, extra) / (scratch - transfer)


# -- what is read -------------------------------------------------------------------------------------------


def gather(results: Results) -> pd.DataFrame:
    """The rows that are paid for, each with the arm and the part it is booked under.

    Columns: those of the trials, and `arm` (a method), `part` (TARGET: report members of the target that the claim
    rests on; `missed`: weak seeds of a pipeline that did not clear; TUNING; or one of SEARCH), `seeds` (of the claim)
    and `pipelines` (how many of the claim share the row's split: a miss is charged to them in equal parts). Controls
    and the trade-off are left out where there is a transfer, else the first methods are the arms.
    """
    trials, methods = base_only(results).trials, results.summary["methods"]
    report = of_report(trials, methods)
    tuned = (trials["stage"] == "target") & trials["purpose"].isin(["target_search", "probe"])
    arms = [arm for arm in ("transfer", "scratch") if arm in methods]
    if "transfer" not in methods:
        arms = sorted(methods, key=lambda method: (method != "scratch", style.place(method)))[:_MOST]
    blocks = [report[report["method"].isin(arms)].assign(arm=lambda own: own["method"], part=TARGET)]
    for arm in arms:
        if arm == "transfer":
            blocks += _of_transfer(trials, report[report["method"] == "transfer"], results.summary)
        else:
            blocks.append(trials[tuned & (trials["method"] == arm)].assign(arm=arm, part=TUNING))
    return pd.concat(blocks, ignore_index=True)


def _of_transfer(trials: pd.DataFrame, claimed: pd.DataFrame, summary: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """The weak seeds that missed, and the search: the ladder, the gate, probes, transfer's own, what was in vain."""
    mine = trials["method"].isin(["weak", "growth", "transfer"])
    sharing = claimed["split_seed"].value_counts()
    in_report = mine & (trials["role"] == "report") & (trials["status"] != "cancelled")
    of_claim = trials["split_seed"].isin(sharing.index)
    missed = in_report & of_claim & (trials["method"] == "weak") & (trials["status"] != "cleared")
    own = trials[missed & ~trials["run_id"].isin(claimed["weak_run_id"])]
    yield own.assign(arm="transfer", part=_MISSED, pipelines=own["split_seed"].map(sharing).astype("Int64"))
    searched = mine & trials["purpose"].isin([purpose for purpose in SEARCH if purpose != "cancelled"])
    yield trials[searched].assign(arm="transfer", part=trials.loc[searched, "purpose"].map(SEARCH))
    in_vain = trials["purpose"] == "cancelled"
    if (summary.get("weak") or {}).get("withdrawn"):  # pipelines of winners that failed on their report seeds
        in_vain |= in_report & ~of_claim
    yield trials[in_vain].assign(arm="transfer", part=SEARCH["cancelled"])


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
    arms = [arm for arm in arms if ((frame["arm"] == arm) & (frame["part"] == TARGET)).any()]
    blocks = []
    for unit in UNITS:
        bars = [bar for arm in arms for bar in _bars(frame[frame["arm"] == arm], arm, unit)]
        runs, words = _break_even(bars, unit)
        blocks += [bar | {"break_even_runs": runs, "break_even": words} for bar in bars]
    return pd.DataFrame(blocks, columns=list(COLUMNS)).astype(COLUMNS)


def _bars(own: pd.DataFrame, arm: str, unit: str) -> list[dict[str, Any]]:
    column = stats.UNITS[unit]
    report = own[own["part"] == TARGET]
    alone, at_least = _alone(report, unit)
    parts = {TARGET: alone}
    if arm == "transfer" and report["weak_run_id"].notna().any():
        parts[WEAK] = _weak(own, unit, None if at_least else alone)
    for part in (*SEARCH.values(), TUNING):
        if (rows := own[own["part"] == part]).size:
            parts[part] = float(rows[column].sum())
    ends = np.cumsum(list(parts.values()))
    return [
        {"unit": unit, "arm": arm, "part": part, "value": value, "start": end - value, "end": end}
        | {"at_least": at_least and part == TARGET}
        for (part, value), end in zip(parts.items(), ends.tolist(), strict=True)
    ]


def _alone(report: pd.DataFrame, unit: str) -> tuple[float, bool]:
    """The Kaplan-Meier median to the goal; where that is censored, what those that missed spent, and True."""
    times, reached = stats.times_to_goal(report, unit)
    # A pipeline without an embedding never got there.
    known = report["seeds"].dropna()
    never = max(0, int(known.iloc[0]) - len(times)) if len(known) else 0
    median = stats.km_median(np.append(times, [np.inf] * never), np.append(reached, [False] * never))
    if median is not None:
        return median, False
    spent = floats(report.loc[report["status"] != "cleared", stats.UNITS[unit]].dropna())
    return (float(np.median(spent)) if len(spent) else 0.0), True


def _weak(own: pd.DataFrame, unit: str, alone: float | None) -> float:
    """What the weak model adds: median over pipelines of both, less that of the target alone (None: censored)."""
    report, missed = own[own["part"] == TARGET], own[own["part"] == _MISSED]
    charged = (missed[stats.UNITS[unit]] / missed["pipelines"]).groupby(missed["split_seed"]).sum()
    weak = floats(report[f"weak_{unit}"].fillna(0.0)) + floats(report["split_seed"].map(charged).fillna(0.0))
    if alone is None:
        return float(np.median(weak))
    totals = np.where(report["status"] == "cleared", weak + floats(report[f"{unit}_to_goal"]), np.inf)
    known = report["seeds"].dropna()
    never = max(0, int(known.iloc[0]) - len(totals)) if len(known) else 0
    whole = float(np.median(np.append(totals, [np.inf] * never)))
    return max(0.0, whole - alone) if math.isfinite(whole) else float(np.median(weak))


def _break_even(bars: Sequence[Mapping[str, Any]], unit: str) -> tuple[float | None, str]:
    """After how many target runs, and the sentence."""
    value = {(bar["arm"], bar["part"]): bar["value"] for bar in bars}
    censored = {bar["arm"] for bar in bars if bar["at_least"]}
    if not {("transfer", TARGET), ("scratch", TARGET)} <= set(value):
        return None, ""
    if "transfer" in censored:
        return None, "Half of the transfers never got there: the search has not paid for itself."
    once = value["transfer", TARGET] + value.get(("transfer", WEAK), 0.0)
    searched = sum(value.get(("transfer", part), 0.0) for part in SEARCH.values())
    runs = break_even(searched - value.get(("scratch", TUNING), 0.0), value["scratch", TARGET], once)
    what = {"flops": "FLOPs", "seconds": "seconds"}[unit]
    if runs is None:
        than = "what scratch was given" if "scratch" in censored else "scratch"
        return None, f"In {what} the search never pays for itself: a transfer costs no less than {than}."
    if runs == 0:
        return runs, f"In {what} the search cost no more than scratch's tuning: it pays from the first target run on."
    if runs <= 1:
        return runs, f"In {what} the search has paid for itself with the first target run."
    most = "at most " if "scratch" in censored else ""
    return runs, f"In {what} the search has paid for itself after {most}{style.count(math.ceil(runs))} target runs."


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
    ax.set_xlim(0, 1.6 * most)
    ax.xaxis.set_major_locator(_ticks(most))
    ax.xaxis.set_major_formatter(lambda value, _: style.quantity(value, unit) if value else "0")
    ax.tick_params(axis="x", labelsize="small")
    ax.set_xlabel(_AXIS[unit])
    if words := bars[0]["break_even"]:
        ax.text(0, 1.02, textwrap.fill(words, 54), transform=ax.transAxes, ha="left", va="bottom", color=style.INK)


def _ticks(most: float) -> FixedLocator:
    """Few, and none beyond what was spent."""
    return FixedLocator([tick for tick in MaxNLocator(3).tick_values(0, most) if 0 <= tick <= 1.02 * most])


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
