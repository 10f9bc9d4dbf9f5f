"""What reaching the goal takes on each device: claimed seconds beside the seconds that were observed. Prices come from
`gtsearch price RUN`, of the experiment as it stands.

Claimed seconds are epochs to the goal times what an epoch takes on a device when nothing else runs beside it
(`gtsearch price RUN`). Observed seconds are the run's own: of its workers side by side, and on a GPU a member's share
of a stack. `claimed` gives both as a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gtsearch.analysis import stats, style
from gtsearch.analysis.measured import Sample
from gtsearch.analysis.members import base_only, of_report
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

TITLE = "How long does it take, on which device?"
CAPTION = (
    "Seconds to the goal on each device. Full: claimed, epochs to the goal times what an epoch takes there with "
    "nothing else beside it. Hollow: observed in the run itself, whose workers share the machine; where several "
    "members share a tensor program it is a member's part, and their number stands beside it. The bar is the 95 % "
    "interval over seeds; the upright tick adds what the weak model took, its misses included. A triangle at the "
    "edge: half of the seeds never got there. Beside the name, how many did, of how many."
)
PANELS: tuple[dict[str, Any], ...] = ({},)
LEFT = 1.9

CLAIMED, OBSERVED = "claimed", "observed"
_GROUP = ["run", "device", "host", "kind"]
_MEMBER = ["run_id", "status", "epochs", "epochs_to_goal", "train_seconds", "seconds_to_goal", "weak_seconds"]
_PRICE = ["ms_per_epoch", "ms_low", "ms_high"]
_TIMES = ["epochs", "seconds", "low", "high", "with_weak", "with_weak_low", "with_weak_high"]
_COLUMNS = [*_GROUP, "method", *_TIMES, *_PRICE, "cohort_size", "reached", "seeds"]


# -- what is read of a run ------------------------------------------------------------------------------------


def gather(results: Results) -> pd.DataFrame:
    """The report's target members, once as observed and once for each device that was priced.

    `train_seconds` and `seconds_to_goal` are those of the row's kind; `weak_seconds` is what came before the target:
    the weak model up to its embedding, links of a chain, and the weak seeds of the same split that missed, in equal
    parts to those that did not. 0 where nothing came before, null where its price is not known.
    """
    trials = base_only(results).trials
    members = of_report(trials, results.summary["methods"])
    ran = trials[trials["status"] != "cancelled"].drop_duplicates("run_id").set_index("run_id", drop=False)
    spent = {run_id: list(_before(member, ran)) for run_id, member in members.set_index("run_id").iterrows()}
    frames = [_observed(members, spent)]
    for (device, host), prices in results.pricing.groupby(["device", "host"], sort=False):
        frames.append(_claimed(members, spent, prices).assign(device=str(device), host=str(host), kind=CLAIMED))
    every = pd.concat(frames, ignore_index=True).assign(run=results.folder.name)
    return every[[*_GROUP, "method", *_MEMBER, *_PRICE, "cohort_size", "seeds"]]


@dataclass(frozen=True)
class _Spent:
    """Epochs that one run before the target is charged with, and the seconds they were observed to take."""

    kind: tuple[str, str, str]  # stage, architecture, method
    epochs: float
    seconds: float


def _before(member: pd.Series, ran: pd.DataFrame) -> Iterator[_Spent]:
    """What was trained before a member: what handed it its embedding, what handed that one its own, and the misses."""
    source_id = member["weak_run_id"]
    if pd.isna(source_id) or source_id not in ran.index:
        return
    source = ran.loc[source_id]
    is_link = not pd.isna(source["weak_run_id"])
    # A snapshot of a run's best charges all that it trained, which FLOPs know and the snapshot's epoch does not.
    share = float(member["weak_epoch"] / source["epochs"])
    if not is_link and source["train_flops"] and not pd.isna(member["weak_flops"]):
        share = float(member["weak_flops"] / source["train_flops"])
    yield _part(source, share)
    if is_link:
        yield from _before(source, ran)
        return
    alike = (ran["config_id"] == source["config_id"]) & (ran["split_seed"] == source["split_seed"])
    seeds = ran[alike & (ran["role"] == source["role"]) & (ran["method"] == source["method"])]
    cleared = seeds["status"] == "cleared"
    for _, miss in seeds[~cleared & (seeds["run_id"] != source_id)].iterrows():
        yield _part(miss, 1.0 / max(1, int(cleared.sum())))


def _part(row: pd.Series, share: float) -> _Spent:
    kind = (row["stage"], row["architecture"], row["method"])
    return _Spent(kind, share * float(row["epochs"]), share * float(row["train_seconds"]))


def _observed(members: pd.DataFrame, spent: Mapping[Any, Sequence[_Spent]]) -> pd.DataFrame:
    """The members as the run saw them, each on its device; one that was lost is counted where most were."""
    devices, hosts = members["device"].dropna(), members["host"].dropna()
    usual = str(devices.mode().iloc[0]) if len(devices) else style.UNKNOWN
    host = f"{hosts.nunique()} hosts" if hosts.nunique() > 1 else str(next(iter(hosts), style.UNKNOWN))
    weak = [sum(part.seconds for part in spent[run_id]) for run_id in members["run_id"]]
    several = devices.nunique() > 1  # then nobody can say on which device a pipeline without a member would have run
    seeds = members.groupby(["device", "method"])["run_id"].transform("size") if several else members["seeds"]
    return members.assign(
        device=members["device"].fillna(usual),
        host=host,
        kind=OBSERVED,
        weak_seconds=pd.array(weak, dtype="Float64"),
        seeds=seeds.astype("Int64"),
        **{name: pd.array([None] * len(members), dtype="Float64") for name in _PRICE},
    )


def _claimed(members: pd.DataFrame, spent: Mapping[Any, Sequence[_Spent]], prices: pd.DataFrame) -> pd.DataFrame:
    """The members that have a price, with its seconds in the place of theirs."""
    columns = ["stage", "architecture", "method"]
    known = members.drop(columns="threads").merge(prices[[*columns, *_PRICE]], on=columns)
    ms = {tuple(row[name] for name in columns): row["ms_per_epoch"] for row in prices.to_dict("records")}

    def weak(run_id: str) -> float | None:
        parts = spent[run_id]
        return None if any(p.kind not in ms for p in parts) else sum(p.epochs * ms[p.kind] for p in parts) / 1000.0

    return known.assign(
        train_seconds=known["epochs"] * known["ms_per_epoch"] / 1000.0,
        seconds_to_goal=known["epochs_to_goal"] * known["ms_per_epoch"] / 1000.0,
        weak_seconds=pd.array([weak(run_id) for run_id in known["run_id"]], dtype="Float64"),
        cohort_size=pd.array([1] * len(known), dtype="Int64"),
    )


# -- the numbers ----------------------------------------------------------------------------------------------


def claimed(results: Results) -> pd.DataFrame:
    """Claimed and observed seconds of a run, a row a method and device, as `table` makes them."""
    return table(gather(results))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of the panel, between its axes: higher with every method on every device."""
    lines = frame[["run", "device", "host", "method"]].drop_duplicates()
    places = frame[["run", "device", "host"]].drop_duplicates()
    return 5.4, max(1.2, 0.38 * len(lines) + 0.42 * len(places))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a run, device, host, kind and method, in the order they came; methods in the catalog's order.

    Args:
        frame: as `gather` makes it, of one run or of several below each other.

    Returns:
        run, device, host, kind (`claimed` or `observed`), method; epochs (median to the goal), seconds with its
        interval low to high (at 95 %, over seeds: the price's own interval is ms_low to ms_high), with_weak the same
        with what came before; ms_per_epoch, ms_low, ms_high (claimed alone); cohort_size (median over members); reached
        of seeds. Medians are Kaplan-Meier's, null where half never got there; a bound is null where it lies beyond
        what was seen; with_weak is null too where a price is missing.
    """
    rows = [
        dict(zip([*_GROUP, "method"], key, strict=True)) | _method(own)
        for key, own in frame.groupby([*_GROUP, "method"], sort=False)
    ]
    made = pd.DataFrame(rows, columns=_COLUMNS).astype({name: "Float64" for name in (*_TIMES, *_PRICE)})
    places = {tuple(place): i for i, place in enumerate(made[_GROUP[:3]].drop_duplicates().itertuples(index=False))}
    order = [
        (places[tuple(key[:3])], style.place(key[4]), key[3] == OBSERVED)
        for key in made[[*_GROUP, "method"]].itertuples(index=False)
    ]
    return made.iloc[sorted(range(len(made)), key=lambda i: order[i])].reset_index(drop=True)


def _method(own: pd.DataFrame) -> dict[str, Any]:
    counted = own[own["status"] != "cancelled"]
    seeds = int(own["seeds"].iloc[0]) if own["seeds"].notna().all() else len(counted)
    missing = max(0, seeds - len(counted))  # pipelines that gave no embedding never get there
    times, there = stats.times_to_goal(counted, "seconds")
    times, there = np.append(times, [math.inf] * missing), np.append(there, [False] * missing).astype(bool)
    weak = np.append(floats(counted["weak_seconds"]), [0.0] * missing)
    epochs, reached = stats.times_to_goal(counted, "epochs")
    epochs = np.append(epochs, [math.inf] * missing)
    alone = _median(Sample(times, there))
    whole: tuple[float | None, ...] = (None, None, None)
    if not np.isnan(weak).any():
        whole = _median(Sample(times + weak, there)) if weak.any() else alone
    first = stats.records(own.head(1))[0]
    return {
        "epochs": Sample(epochs, there).median,
        **dict(zip(_TIMES[1:], (*alone, *whole), strict=True)),
        **{name: first[name] for name in _PRICE},
        "cohort_size": None if counted["cohort_size"].isna().all() else float(counted["cohort_size"].median()),
        "reached": int(reached.sum()),
        "seeds": seeds,
    }


def _median(sample: Sample) -> tuple[float | None, float | None, float | None]:
    """The median and its interval."""
    return sample.median, *sample.interval


# -- the picture ----------------------------------------------------------------------------------------------


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    if frame.empty:
        return "No target was trained on report seeds."
    if not (frame["kind"] == CLAIMED).any():
        return "No device was priced; `gtsearch price RUN` measures what an epoch takes."
    return None


def draw(frame: pd.DataFrame, ax: Axes) -> None:
    """Draws a `table` on `ax`: a block of lines a device, in it a line a method."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    edge = _axis(ax, frame)
    ticks: list[float] = []
    labels: list[str] = []
    line = 0.0
    for (run, device, host), block in frame.groupby(["run", "device", "host"], sort=False):
        name = place(str(run), str(device), str(host), frame)
        ax.text(0.01, line, name, transform=ax.get_yaxis_transform(), va="center", fontsize="small", weight="bold")
        line += 0.9
        for method, own in block.groupby("method", sort=False):
            for row in stats.records(own):
                both = len(own) > 1
                _point(ax, row, line + (0.0 if not both else -0.16 if row["kind"] == CLAIMED else 0.2), edge)
            first = own.iloc[0]
            ticks.append(line)
            labels.append(f"{method}  {style.k_of_n(int(first['reached']), int(first['seeds']))}")
            line += 0.9
        line += 0.15
    ax.set_ylim(line - 0.5, -0.6)
    ax.set_yticks(ticks, labels)
    ax.tick_params(axis="y", length=0, labelsize="small")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("seconds to the goal")
    shown: dict[str, Any] = {"color": style.INK, "ls": "none", "ms": 6}
    handles = [
        Line2D([], [], marker="o", label="claimed", **shown),
        Line2D([], [], marker="o", mfc="none", label="observed", **shown),
        Line2D([], [], marker="|", mew=2, label="with the weak model", **shown),
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, borderaxespad=0, frameon=False)


def place(run: str, device: str, host: str, frame: pd.DataFrame) -> str:
    """A device by its name, with its host where the `table` has it on several, and the run where there are several."""
    hosts = frame.loc[frame["device"] == device, "host"].nunique()
    more = [word for word, several in ((host, hosts > 1), (run, frame["run"].nunique() > 1)) if several]
    return " · ".join([device, *more])


def _point(ax: Axes, row: Mapping[str, Any], at: float, edge: float) -> None:
    """One method on one device: the median with its interval, and a tick for the sum with the weak model."""
    shade, is_claimed = style.colour(row["method"]), row["kind"] == CLAIMED
    face = shade if is_claimed else "none"
    if row["seconds"] is None:
        ax.scatter([edge], [at], s=34, marker=">", facecolors=face, edgecolors=shade, clip_on=False, zorder=4)
        return
    low = row["seconds"] if row["low"] is None else row["low"]
    high = row["high"] if row["high"] is not None else row["seconds"] if row["low"] is None else edge
    ax.plot([low, high], [at, at], color=shade, lw=1.6 if is_claimed else 0.9, zorder=3)
    sign = style.marker(row["method"])
    ax.scatter([row["seconds"]], [at], s=34, marker=sign, facecolors=face, edgecolors=shade, zorder=4)
    if row["with_weak"] is not None and row["with_weak"] > row["seconds"]:
        ax.plot([row["with_weak"]] * 2, [at - 0.14, at + 0.14], color=shade, lw=2.0 if is_claimed else 1.0, zorder=4)
    if not is_claimed and (row["cohort_size"] or 1) > 1:
        text = f"{style.count(row['cohort_size'])} at once"
        style.halo(ax.annotate(text, (high, at), (5, 0), "data", "offset points", va="center", fontsize="x-small"))


def _axis(ax: Axes, frame: pd.DataFrame) -> float:
    """Sets a logarithmic axis over all times; returns where those stand that half never got to."""
    known = np.concatenate([floats(frame[name].dropna()) for name in ("seconds", "low", "high", "with_weak")])
    known = known[known > 0]
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    edge = high * max(1.25, math.pow(high / low, 0.06))
    ax.set_xlim(low / max(1.15, math.pow(high / low, 0.04)), edge)
    style.log_axis(ax, "x", "seconds")
    return edge
