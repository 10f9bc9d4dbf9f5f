"""The best verified result of each method against all that was spent on it, and the best of n.

The first panel is what happened, in the order in which runs came in; the second what n of the configs tried would have
found on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from gtsearch.analysis import asked, stats, style
from gtsearch.analysis.members import base_only
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "Who was tuned more, and did it help?"
CAPTION = (
    "Left: epochs to the goal of the best config so far against all FLOPs spent on that method so far; transfer's "
    "with the whole search for the weak model. A config is verified once its gate seeds are in (their median); before "
    "the first is, the line is thin and shows the search seed alone. Right: the best to expect of n of the configs "
    "that were tried. A config may be cut before its budget: a later one at 1.5 times the best so far, transfer's "
    "where it could not pay any more. It would have taken at least the epochs it ran (solid line), and counts as at "
    "most the budget (dashed); the truth lies between, with a 95 % band around both. A miss that was not cut counts as "
    "the budget; of a method that never got there the dashed line stands alone. Where configs are proposed from "
    "earlier results (TPE) they are no independent draws: the lines then describe this search and foretell no other. "
    "Lines that end further right were tuned more."
)
PANELS: tuple[dict[str, Any], ...] = ({"part": "spent"}, {"part": "draws"})

COLUMNS = {
    "part": "string",
    "method": "string",
    "x": "Float64",
    "best": "Float64",
    "most": "Float64",
    "low": "Float64",
    "high": "Float64",
    "verified": "boolean",
    "configs": "Int64",
    "missed": "Int64",
    "budget": "Float64",
}
SPENT, DRAWS = "spent", "draws"
_SEARCHED = ("weak_search", "weak_gate", "target_search", "probe", "cancelled")
_MOST = 400  # places of a line; more than a panel has pixels show nothing more
_MOST_RESAMPLED = 64  # configs; of more the band would take seconds, and nobody tunes so many by hand
_TOP = 0.8  # of the height of a panel: above it stand the methods of which no config got there
_FAR = 8.0  # times apart; epochs further from each other are drawn on a logarithmic axis


def gather(results: Results) -> pd.DataFrame:
    """The runs of every search, in the order in which they came in.

    Columns: those of the trials that count here, `weak_config` (which weak config a transfer was given: a config is
    verified for that one alone) and `budget` (epochs a target run is given; null where it is not written).
    """
    trials = base_only(results).trials
    searched = trials["purpose"].isin(_SEARCHED) & trials["role"].isin(["search", "gate", "probe"])
    rows = trials[searched].sort_values("elapsed_seconds", kind="stable", na_position="last")
    columns = ["run_id", "stage", "method", "role", "status", "config_id", "epochs", "epochs_to_goal", "train_flops"]
    config_of = trials.drop_duplicates("run_id").set_index("run_id")["config_id"]
    weak_config = rows["weak_run_id"].map(config_of)
    budget = asked.target_epochs(results, {})
    return rows[columns].assign(weak_config=weak_config, budget=budget).reset_index(drop=True)


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.2, 3.0


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Both panels, columns and dtypes as in COLUMNS.

    Args:
        frame: as `gather` gives it, in the order of time. Without a budget, the longest run stands for it.

    Returns:
        One row a part, method (catalog's order) and x. Of `spent`: x is FLOPs spent so far, best the epochs to the
        goal of the best config so far (null: none came there), verified whether that is a median over gate seeds;
        from the first run on, with the last row at all that was spent. Of `draws`: x is n, best and most the least
        and the most that the expected best of n configs on the search seed can be (a config that was cut is
        censored: it counts as the epochs it ran, or as the budget), low and high the 95 % band of best from below
        and of most from above (null for more than 64 configs, or one). configs: how many the method was given,
        missed: how many of them did not reach the goal, budget: epochs.
    """
    target = frame[frame["stage"] == "target"]
    budget = frame["budget"].dropna().max() if "budget" in frame else None
    budget = float(target["epochs"].max()) if pd.isna(budget) and len(target) else budget
    blocks = []
    for method in sorted(set(target["method"].dropna()), key=style.place):
        own = target["method"] == method
        searched = target[own & (target["role"] == "search") & (target["status"] != "cancelled")]
        told = {
            "method": method,
            "configs": len(searched),
            "missed": int((searched["status"] != "cleared").sum()),
            "budget": budget,
        }
        weak = (frame["stage"] == "weak") if method == "transfer" else (frame["stage"] == "nothing")
        paid = frame[weak | ((frame["stage"] == "target") & (frame["method"] == method))]
        blocks += [_spent(paid).assign(**told), _draws(searched, float(budget or 0.0)).assign(**told)]
    made = pd.concat([block.reindex(columns=list(COLUMNS)) for block in blocks]) if blocks else None
    made = pd.DataFrame(columns=list(COLUMNS)) if made is None else made
    return made.astype(COLUMNS).reset_index(drop=True)


def _spent(paid: pd.DataFrame) -> pd.DataFrame:
    """The best so far after every run that was paid for, thinned to its steps."""
    spent = np.cumsum(paid["train_flops"].fillna(0.0).to_numpy(dtype=np.float64))
    evidence = ((paid["stage"] == "target") & (paid["status"] != "cancelled")).to_numpy(dtype=bool)
    times = np.where(paid["status"] == "cleared", floats(paid["epochs_to_goal"]), np.inf)
    search = np.where(evidence & (paid["role"] == "search").to_numpy(dtype=bool), times, np.inf)
    verified = np.full(len(paid), np.inf)
    gates = np.flatnonzero(evidence & (paid["role"] == "gate").to_numpy(dtype=bool))
    if len(gates):
        seen = paid.iloc[gates][["config_id", "weak_config"]].assign(at=gates, time=times[gates])
        configs = seen.groupby(["config_id", "weak_config"], dropna=False).agg({"at": "max", "time": "median"})
        np.minimum.at(verified, configs["at"].to_numpy(dtype=int), floats(configs["time"]))
    best_verified, best_search = np.minimum.accumulate(verified), np.minimum.accumulate(search)
    is_verified = np.isfinite(best_verified)
    best = np.where(is_verified, best_verified, best_search)
    changed = np.append(True, (best[1:] != best[:-1]) | (is_verified[1:] != is_verified[:-1]))
    kept = np.unique(np.append(np.flatnonzero(changed), len(best) - 1))
    known = pd.array(np.where(np.isfinite(best[kept]), best[kept], np.nan), dtype="Float64")
    return pd.DataFrame({"part": SPENT, "x": spent[kept], "best": known, "verified": is_verified[kept]})


def _draws(searched: pd.DataFrame, budget: float) -> pd.DataFrame:
    """The expected best of n configs, from below and from above; a miss that was not cut counts `budget` in both.

    A set that holds the best of all is not touched by what the others would have come to: both meet at the right.
    """
    if searched.empty:
        return pd.DataFrame({"part": []})
    at_most = np.where(searched["status"] == "cleared", floats(searched["epochs_to_goal"]), np.inf)
    at_least = np.where(searched["status"] == "capped", floats(searched["epochs"]), at_most)
    best, most = stats.expected_best(at_least, budget), stats.expected_best(at_most, budget)
    low, high = np.full((2, len(best)), np.nan)
    if len(best) <= _MOST_RESAMPLED:
        low, high = stats.expected_best_band(at_least, budget)[0], stats.expected_best_band(at_most, budget)[1]
    at = np.unique(np.linspace(0, len(best) - 1, min(len(best), _MOST)).round().astype(int))
    told = {"best": best, "most": most, "low": low, "high": high}
    return pd.DataFrame({"part": DRAWS, "x": at + 1.0, **{name: values[at] for name, values in told.items()}})


# -- the picture --------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return (
        "No target was tuned: the experiment leaves nothing to choose, or no search came so far."
        if (frame.empty)
        else None
    )


def draw(frame: pd.DataFrame, ax: Axes, part: str = SPENT) -> None:
    """Draws a `table` on `ax`; `part` is `spent` or `draws`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    shown = frame[frame["part"] == part]
    methods = list(dict.fromkeys(shown["method"]))
    if not methods:
        style.sentence(ax, "No config was tried on the search seed.")
        return
    for i, method in enumerate(methods):
        (_draw_spent if part == SPENT else _draw_draws)(ax, shown[shown["method"] == method], (i + 0.5) / len(methods))
    _axes(ax, frame, shown, part)
    ax.legend(
        handles=_legend(shown, methods),
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        ncols=2,
        borderaxespad=0,
        frameon=False,
    )


def _axes(ax: Axes, frame: pd.DataFrame, shown: pd.DataFrame, part: str) -> None:
    heights = floats(frame["best"].dropna())
    budget = float(shown["budget"].iloc[0])
    top = max(heights.max(initial=0.0), budget)
    never = part == SPENT and bool(shown.groupby("method")["best"].count().eq(0).any())
    share = _TOP if never else 0.94
    ax.set_ylabel("epochs to the goal")
    if len(heights) and heights.min() > 0 and top > _FAR * heights.min():
        low = heights.min() / 1.3
        ax.set_ylim(low, low * (top / low) ** (1 / share))
        style.log_axis(ax, "y", "count")
        ax.yaxis.set_major_locator(FixedLocator([tick for tick in ax.get_yticks() if tick <= top]))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(0, top / share)
        ax.yaxis.set_major_locator(FixedLocator([t for t in MaxNLocator(5).tick_values(0, top) if 0 <= t <= top]))
    if never:
        ax.axhline(top, color=style.FAINT, lw=0.9, ls=":", zorder=1)
        ax.text(
            0.015, 0.97, "no config got there:", transform=ax.transAxes, va="top", fontsize="small", color=style.INK
        )
    if part == DRAWS:
        ax.axhline(budget, color=style.FAINT, lw=0.9, ls=":", zorder=1)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_xlabel("configs tried, n")
        ax.set_ylabel("expected best of n, epochs to the goal")
        return
    # Where nothing is known yet there is nothing to see: from the first result on, or the end of a search without one.
    first = shown[shown["best"].notna()]
    first = first if len(first) else shown.drop_duplicates("method", keep="last")
    ax.set_xlim(max(floats(first["x"]).min(), 1.0) / 2.0, 1.4 * max(floats(shown["x"]).max(), 1.0))
    style.log_axis(ax, "x", "flops")
    ax.set_xlabel("FLOPs spent on the method so far")


def _draw_spent(ax: Axes, own: pd.DataFrame, place: float) -> None:
    """One method; where no config got there, its marker alone, above all epochs: several may have spent the same."""
    method = str(own["method"].iloc[0])
    shade, mark = style.colour(method), style.marker(method)
    x, best, verified = floats(own["x"]), floats(own["best"]), own["verified"].to_numpy(dtype=bool)
    if np.isnan(best).all():
        where = ax.get_xaxis_transform()
        ax.plot(
            x[-1:],
            [0.97 - (0.94 - _TOP) * place],
            transform=where,
            marker=mark,
            ms=6,
            mfc="white",
            mew=1.4,
            color=shade,
        )
        return
    first = int(np.argmax(verified)) if verified.any() else len(x) - 1
    ax.plot(x[: first + 1], best[: first + 1], drawstyle="steps-post", color=shade, lw=1.0, ls=(0, (3, 2)), zorder=2)
    ax.plot(x[first:], best[first:], drawstyle="steps-post", color=shade, lw=2.2, zorder=3)
    ax.plot(x[-1:], best[-1:], marker=mark, ms=7, color=shade, mfc=shade if verified[-1] else "white", zorder=4)


def _draw_draws(ax: Axes, own: pd.DataFrame, place: float) -> None:
    """One method. Where no config got there, nothing was found, and when it was cut is no result: then the line of the
    budget stands alone, with its marker along it, as several lie on each other."""
    method = str(own["method"].iloc[0])
    shade, mark = style.colour(method), style.marker(method)
    x, best, most = floats(own["x"]), floats(own["best"]), floats(own["most"])
    ax.plot(x, most, color=shade, lw=1.0, ls=(0, (3, 2)), zorder=2)
    if (own["missed"] == own["configs"]).all():
        at = x[0] + (x[-1] - x[0]) * place
        ax.plot([at], most[-1:], marker=mark, ms=6, color=shade, mfc="white", mew=1.4, zorder=4)
    else:
        ax.fill_between(x, floats(own["low"]), floats(own["high"]), color=shade, alpha=0.14, lw=0)
        ax.plot(x, best, color=shade, lw=2.0, zorder=3)
        ax.plot(x[-1:], best[-1:], marker=mark, ms=7, color=shade, zorder=4)


def _legend(shown: pd.DataFrame, methods: Sequence[str]) -> list[Line2D]:
    firsts = shown.drop_duplicates("method").set_index("method")
    return [
        Line2D(
            [],
            [],
            color=style.colour(method),
            lw=2,
            marker=style.marker(method),
            ms=6,
            label=f"{method}, {missed} of {n} missed" if missed else f"{method}, {n} configs",
        )
        for method in methods
        for n, missed in [firsts.loc[method, ["configs", "missed"]]]
    ]
