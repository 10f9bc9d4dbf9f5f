"""How often each method reaches the goal under each variation, and after how many epochs, seed by seed.

Variations run on the experiment's own seeds, so `table` compares seed by seed: McNemar's test for how many get
there, the median of the differences for how long it takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import asked, stats, style
from gtsearch.analysis.members import BASE, of_report, rows_of
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "What does each change do?"
CAPTION = (
    "One row a variation, the experiment itself (base) on top. Left: the share of report seeds that reach the goal, "
    "with Wilson's interval. Right: the Kaplan-Meier median of the epochs to the goal, with a bootstrap interval; an "
    "open triangle at the cap: the median, or the end of its interval, was not seen by then. Dotted lines are base. "
    "Where weak models are varied, grey marks on the left are the share of weak seeds that clear, and of fresh "
    "pipelines whose target gets there."
)
PANELS: tuple[dict[str, Any], ...] = ({"x": "share"}, {"x": "epochs"})
LEFT = 2.6

_AXIS = {"share": "share of seeds that reach the goal", "epochs": "epochs to the goal"}
_MEDIAN = ("median", "median_low", "median_high")
_WEAK = "weak."  # where the YAML path of a change to the weak stage starts
_SHOWN = 34  # letters of a variation's name
_LANE = (0.22, 0.13, 0.09)  # inches a lane: of a few lanes, of more, of very many
_MANY = (24, 80)

COLUMNS = {
    "variation": "string",
    "changes": "string",
    "kind": "string",
    "name": "string",
    "reached": "Int64",
    "seeds": "Int64",
    "low": "Float64",
    "high": "Float64",
    "median": "Float64",
    "median_low": "Float64",
    "median_high": "Float64",
    "cap": "Float64",
    "pairs": "Int64",
    "difference": "Float64",
    "difference_low": "Float64",
    "difference_high": "Float64",
    "lost": "Int64",
    "won": "Int64",
    "p": "Float64",
}

Json = Mapping[str, Any]


def gather(results: Results) -> pd.DataFrame:
    """The report's target members of every variation, and how weak models did where they are varied.

    One row a member and variation: variation, changes (in words), kind (`method`, or `weak` and `pipelines`, which
    are counts and no members), name (of the method), seeds, reached (of counts), run_id, seed, status, epochs,
    epochs_to_goal, and of the method's median over all its seeds median, median_low, median_high, as the summary has
    them, and cap, the most epochs that it allowed. A method without a member has one row that says so.
    """
    variations = results.summary["variations"] or {}
    weak_varied = any(path.startswith(_WEAK) for entry in variations.values() for path in entry["changes"])
    blocks = []
    for variation, entry in variations.items():
        summary = entry["summary"]
        members = of_report(rows_of(results.trials, variation), summary["methods"]).rename(columns={"method": "name"})
        claims = pd.DataFrame({"name": list(summary["methods"])}, dtype="string")
        claims["seeds"] = pd.array([record["seeds"] for record in summary["methods"].values()], dtype="Int64")
        medians = [_median(record["epochs_to_goal"]) for record in summary["methods"].values()]
        claims[list(_MEDIAN)] = pd.DataFrame(medians, columns=list(_MEDIAN), dtype="Float64")
        most = asked.target_epochs(results, entry["changes"])
        caps = [record.get("cap_epochs") or most for record in summary["methods"].values()]
        claims["cap"] = pd.array(caps, dtype="Float64")
        own = claims.merge(members.drop(columns="seeds"), on="name", how="left").assign(kind="method")
        counts = pd.DataFrame(_counts(summary["weak"]) if weak_varied else [])
        block = pd.concat([part for part in (counts, own) if len(part)], ignore_index=True) if len(own) else counts
        blocks.append(block.assign(variation=variation, changes=_in_words(entry["changes"])))
    keys = ["variation", "changes", "kind", "name", "seeds", "reached", "run_id", "seed", "status", "epochs"]
    keys += ["epochs_to_goal", *_MEDIAN, "cap"]
    made = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()
    return made.reindex(columns=keys)


def _median(time: Json) -> tuple[float | None, float | None, float | None]:
    low, high = time["interval"]
    return time["median"], low, high


def _counts(weak: Json | None) -> list[dict[str, Any]]:
    """How often weak seeds clear and pipelines arrive, as far as it was claimed on fresh seeds."""
    winner = (weak["pays"] or weak["clears"]) if weak else None
    if winner is None:
        return []
    counts = [{"kind": "weak", "name": "weak seeds", "reached": winner["cleared"], "seeds": winner["seeds"]}]
    if winner.get("pipelines"):
        arrived = {"kind": "pipelines", "name": "pipelines"}
        counts.append({**arrived, "reached": winner["transferred"], "seeds": winner["pipelines"]})
    return counts


def _in_words(changes: Json) -> str:
    return ", ".join(f"{path} {_value(value)}" for path, value in changes.items())


def _value(value: Any) -> str:
    """As in YAML, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return (
        {None: "none", True: "yes", False: "no"}[value]
        if value is None or value is True or value is False
        else (f"{value:g}" if isinstance(value, float) else str(value))
    )


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a variation and method; columns and dtypes as in COLUMNS.

    Args:
        frame: as `gather` gives it; the first variation is what the others are compared with. Without the columns of
            the median it is computed here.

    Returns:
        variation, changes, kind, name, reached of seeds with Wilson's interval (low, high); the Kaplan-Meier median
        of the epochs to the goal and its interval (null where unknown or censored), cap (the most epochs of a member
        that did not get there; where all did, what they were allowed); against the first variation: pairs (seeds on
        which both reach the goal), the median difference in epochs over them with its interval, lost and won (seeds
        that only the first, only this one takes to the goal) and McNemar's exact p; null where both are the very same
        runs. A seed without a member (a pipeline that gave no embedding) did not reach the goal.
        Rows of kind `weak` and `pipelines` hold counts alone.
    """
    records = [_row(own) for _, own in frame.groupby(["variation", "kind", "name"], sort=False)]
    # A row's place: variations as they come; in each, weak models first, then the methods of the catalog.
    order = {name: i for i, name in enumerate(dict.fromkeys(frame["variation"]))}
    kinds = {"weak": 0, "pipelines": 1, "method": 2}
    records.sort(key=lambda row: (order[row["variation"]], kinds[row["kind"]], style.place(row["name"])))
    first = next(iter(order), BASE)
    members = {key: own for key, own in frame[frame["kind"] == "method"].groupby(["variation", "name"], sort=False)}
    for record in records:
        base = members.get((first, record["name"]))
        if record["kind"] == "method" and record["variation"] != first and base is not None:
            record |= _against(members[record["variation"], record["name"]], base)
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(COLUMNS)


def _row(own: pd.DataFrame) -> dict[str, Any]:
    first = own.iloc[0]
    record = {name: first[name] for name in ("variation", "changes", "kind", "name")}
    seeds = int(first["seeds"])
    if first["kind"] != "method":
        reached = int(first["reached"])
        return record | {"reached": reached, "seeds": seeds} | _rate(reached, seeds)
    members = own[own["run_id"].notna()]
    times, there = stats.times_to_goal(members, "epochs")
    short = max(0, seeds - len(members))  # pipelines without an embedding: they never get there
    times, there = np.append(times, [math.inf] * short), np.append(there, [False] * short)
    if set(_MEDIAN) <= set(own.columns):
        known = {name: first[name] for name in _MEDIAN}
    else:
        medians = (stats.km_median(times, there), *stats.km_median_interval(times, there))
        known = dict(zip(_MEDIAN, medians, strict=True))
    return (
        record
        | {"reached": int(there.sum()), "seeds": seeds}
        | _rate(int(there.sum()), seeds)
        | known
        | {"cap": _cap(own, members)}
    )


def _cap(own: pd.DataFrame, members: pd.DataFrame) -> float | None:
    """Those that get there run on to twice their goal: their epochs say nothing of the cap."""
    given_up = members.loc[members["status"] != "cleared", "epochs"].dropna()
    if len(given_up):
        return float(given_up.max())
    allowed = own["cap"].dropna() if "cap" in own else given_up
    return float(allowed.max()) if len(allowed) else None


def _rate(reached: int, seeds: int) -> dict[str, float]:
    low, high = stats.wilson(reached, seeds)
    return {"low": low, "high": high}


def _against(own: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    """This variation of a method beside the first, seed by seed; nothing where both are the very same runs."""
    if own["run_id"].notna().any() and set(own["run_id"]) == set(base["run_id"]):
        return {}
    ours, theirs = _by_seed(own), _by_seed(base)
    # Replicates without a member have no row to read the seed from: they stand for seeds that only the other has.
    for mine, other, rows in ((ours, theirs, own), (theirs, ours, base)):
        short = int(rows["seeds"].iloc[0]) - len(mine)
        mine.update(dict.fromkeys([seed for seed in other if seed not in mine][: max(0, short)]))
    shared = [seed for seed in theirs if seed in ours]
    both = [(a, b) for a, b in ((ours[seed], theirs[seed]) for seed in shared) if a is not None and b is not None]
    difference, (low, high) = stats.paired_difference([a for a, _ in both], [b for _, b in both])
    lost = sum(theirs[seed] is not None and ours[seed] is None for seed in shared)
    won = sum(theirs[seed] is None and ours[seed] is not None for seed in shared)
    return {
        "pairs": len(both),
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "lost": lost,
        "won": won,
        "p": stats.mcnemar(lost, won) if shared else None,
    }


def _by_seed(members: pd.DataFrame) -> dict[int, float | None]:
    """Epochs to the goal by seed; None where it was not reached."""
    rows = stats.records(members[members["run_id"].notna()][["seed", "status", "epochs_to_goal"]])
    return {row["seed"]: row["epochs_to_goal"] if row["status"] == "cleared" else None for row in rows}


# -- the picture --------------------------------------------------------------------------------------------


def _lanes(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Kind and name of the lanes of one variation, top to bottom."""
    return list(dict.fromkeys(zip(frame["kind"], frame["name"], strict=True)))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes: as high as it has lanes."""
    lanes = frame["variation"].nunique() * (len(_lanes(frame)) + 0.8)
    inches = _LANE[sum(lanes > many for many in _MANY)]
    return 4.0, max(1.6, inches * lanes)


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "The experiment was not varied: it has no `ablate`." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, x: str = "share") -> None:
    """Draws a `table` on `ax`; `x` is `share` or `epochs`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    lanes = _lanes(frame)
    variations = list(dict.fromkeys(frame["variation"]))
    pitch = len(lanes) + 0.8
    place = {name: i * pitch for i, name in enumerate(variations)}
    offset = {lane: i for i, lane in enumerate(lanes)}
    shown = frame if x == "share" else frame[frame["kind"] == "method"]
    y = [
        place[variation] + offset[kind, name]
        for variation, kind, name in zip(shown["variation"], shown["kind"], shown["name"], strict=True)
    ]
    for i in range(0, len(variations), 2):  # every other row is shaded, so that the eye stays in it
        ax.axhspan(i * pitch - 0.9, i * pitch + pitch - 0.9, color="#F4F5F7", lw=0, zorder=0)
    (_draw_shares if x == "share" else _draw_epochs)(ax, shown, y)
    _draw_base(ax, shown[shown["variation"] == variations[0]], x)
    ax.set_ylim(len(variations) * pitch - 0.9, -0.9)
    middles = [place[name] + (len(lanes) - 1) / 2 for name in variations]
    ax.set_yticks(middles, [_short(name) for name in variations])
    small = len(variations) > 12
    ax.tick_params(axis="y", length=0, labelsize="x-small" if small else "small")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(_AXIS[x])
    handles = [_handle(*lane) for lane in (lanes if x == "share" else [lane for lane in lanes if lane[0] == "method"])]
    if x == "epochs" and shown["median_high"].isna().any():
        handles.append(
            Line2D([], [], color=style.INK, marker=">", mfc="none", ls="none", ms=5, label="not seen by then")
        )
    inches = size(frame)[1]
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1 + 0.06 / inches),
        ncols=2,
        borderaxespad=0,
        frameon=False,
    )


def _look(kind: str, name: str) -> tuple[str, str]:
    """Colour and marker of a lane."""
    return (style.colour(name), style.marker(name)) if kind == "method" else (style.FAINT, "dD"[kind == "pipelines"])


def _handle(kind: str, name: str) -> Line2D:
    shade, marker = _look(kind, name)
    return Line2D([], [], color=shade, marker=marker, ms=5, lw=1.5, label=name)


def _draw_shares(ax: Axes, shown: pd.DataFrame, y: Sequence[float]) -> None:
    for row, at in zip(stats.records(shown), y, strict=True):
        shade, marker = _look(row["kind"], row["name"])
        ax.plot([row["low"], row["high"]], [at, at], color=shade, lw=1.5, zorder=2)
        ax.plot([row["reached"] / row["seeds"]], [at], color=shade, marker=marker, ms=5, ls="none", zorder=3)
    ax.set_xlim(-0.03, 1.03)


def _draw_epochs(ax: Axes, shown: pd.DataFrame, y: Sequence[float]) -> None:
    unseen = shown[shown["median"].isna() | shown["median_high"].isna()]
    known = [*floats(unseen["cap"].dropna()), *(v for column in _MEDIAN for v in floats(shown[column].dropna()))]
    positive = [v for v in known if v > 0]
    edge = max(positive, default=1.0)
    for row, at in zip(stats.records(shown), y, strict=True):
        shade, marker = _look(row["kind"], row["name"])
        cap = row["cap"] if row["cap"] is not None else edge
        if row["median"] is None:
            ax.plot([cap], [at], color=shade, marker=">", mfc="none", ms=6, ls="none", zorder=3)
            continue
        low = row["median"] if row["median_low"] is None else row["median_low"]
        high = max(cap, row["median"]) if row["median_high"] is None else row["median_high"]
        if row["median_low"] is not None or row["median_high"] is not None:
            ax.plot([low, high], [at, at], color=shade, lw=1.5, zorder=2)
        if row["median_low"] is not None and row["median_high"] is None:
            ax.plot([high], [at], color=shade, marker=">", mfc="white", ms=5, ls="none", zorder=3)
        ax.plot([row["median"]], [at], color=shade, marker=marker, ms=5, ls="none", zorder=3)
    if positive and max(positive) > 12 * min(positive):
        ax.set_xlim(min(positive) / 1.25, edge * 1.25)
        style.log_axis(ax, "x", "count")
    else:
        ax.set_xlim(0, edge * 1.06)


def _draw_base(ax: Axes, base: pd.DataFrame, x: str) -> None:
    """A dotted line through every method of the first variation."""
    for row in stats.records(base):
        at = row["reached"] / row["seeds"] if x == "share" else row["median"]
        if row["kind"] == "method" and at is not None:
            ax.axvline(at, color=style.colour(row["name"]), lw=0.9, ls=":", zorder=1)


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"
