"""What a pipeline costs over what scratch costs, against the weak model's accuracy at hand-over: the figure to cite.

A line a unit of cost: FLOPs, which decide, and the seconds of every device the run was priced on (`gtsearch price`). A
panel a design, because accuracy, training time and norm move together along one training and not across designs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from gtsearch.analysis import devices, pipelines, stats, style
from gtsearch.analysis.stats import floats
from gtsearch.errors import ResultsError
from gtsearch.results import Results

TITLE = "From which weak accuracy on does the transfer pay?"
CAPTION = (
    "Expected cost of a pipeline over scratch's: all that was spent, weak seeds that never came there and targets that "
    "failed included, over how many got there. Below 1 the transfer pays. Each dot is one pipeline, filled if the "
    "target got to its goal; the thick line joins the expected costs in training FLOPs, the band is their 95 % "
    "interval over replicates (a split with its weak seed). Thin dashed lines: the same in claimed seconds of a "
    "device, epochs times what one takes there alone (`gtsearch price`), drawn without interval. Under the axis, k of "
    "n pipelines that get there. Grey crosses: the best embeddings, rows shuffled. Snapshots are of one config as it "
    "trains; endpoints of many architectures and weight decays, in bins of accuracy; doses of a finished embedding "
    "that is mixed with noise."
)
PANELS: tuple[dict[str, Any], ...] = tuple({"design": design} for design in pipelines.DESIGNS)
FLOPS = "FLOPs"

COLUMNS: dict[str, str] = {
    "task": "string",  # as it is titled; runs of one task are told apart by their folders
    "kind": "string",  # `start`, or `pipeline`
    "design": "string",
    "unit": "string",  # FLOPS, or the device whose seconds are counted, with its host where several have that device
    "arm": "string",  # of pipelines: `transfer` or `shuffled`
    "level": "Float64",
    "refined": "boolean",
    "dose": "Float64",
    "accuracy": "Float64",  # as measured; a start's is the median
    "ratio": "Float64",  # null: none got there
    "low": "Float64",  # 95 %; null: beyond what was measured
    "high": "Float64",
    "upper_bound": "boolean",  # scratch never got there: the ratio is at most this
    "reached": "Int64",
    "pipelines": "Int64",
    "threshold": "Float64",  # of snapshots, in this unit; the same on every row of the unit
    "threshold_low": "Float64",
    "threshold_high": "Float64",
}
_NAMES = {
    "snapshots": "snapshots of one config",
    "endpoints": "endpoints of many architectures",
    "dose": "doses of noise",
}
_SECONDS = "seconds:"
_LEGEND = 40  # characters that a line of the legend has room for
_DASHES: tuple[Any, ...] = ((None, None), (4, 2), (1, 1.5), (6, 2, 1, 2), (3, 1, 1, 1, 1, 1))
_DIMMEST, _TALLEST = 0.03, 30.0  # ratios beyond these stand at the edge


def gather(results: Results, priced: pd.DataFrame | None = None) -> pd.DataFrame:
    """The pipelines of the study with the task's title; a column `seconds:<device>` for every device that the run was
    priced on. `priced`: as of `claimed_seconds`."""
    study = results.summary["tradeoff"]
    frame = pipelines.frame(study["pipelines"] if study else [])
    seconds = claimed_seconds(frame, results.pricing, results.trials, priced)
    return frame.assign(task=results.summary["title"], **seconds)


def claimed_seconds(
    frame: pd.DataFrame, pricing: pd.DataFrame, trials: pd.DataFrame, priced: pd.DataFrame | None = None
) -> dict[str, pd.Series]:
    """What each pipeline takes on each priced device, in seconds [pipelines]: epochs times the price of one; null where
    its weak architecture or its method has no price there.

    Args:
        priced: device and host of all prices that are shown beside each other, where those are more than `pricing`: a
            device that several hosts have is named with its host.
    """
    places = (pricing if priced is None else priced)[["device", "host"]].assign(run="")
    method = frame["arm"].map({"transfer": "transfer", "scratch": "scratch", "shuffled": "transfer_shuffled"})
    target = trials.loc[trials["run_id"].isin(frame["run_id"]), "architecture"]
    label = target.iloc[0] if len(target) else None
    found = {}
    for (device, host), rows in pricing.groupby(["device", "host"], sort=True):
        price = {(r["architecture"], r["method"]): r["ms_per_epoch"] / 1e3 for r in stats.records(rows)}
        of_weak = frame["architecture"].map(lambda name, price=price: price.get((name, "weak"))).astype("Float64")
        of_target = method.map(lambda name, price=price: price.get((label, name))).astype("Float64")
        weak = (frame["weak_epochs"] * of_weak).mask(frame["arm"] == "scratch", 0.0)
        ran = (frame["target_epochs"] * of_target).mask(frame["run_id"].isna() & of_target.notna(), 0.0)
        name = devices.place("", str(device), str(host), places)
        found[f"{_SECONDS}{name}"] = (weak + ran).astype("Float64")
    return found


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every number that is drawn, columns and dtypes as in COLUMNS.

    Args:
        frame: pipelines (`pipelines.COLUMNS`) with their `task`, and `seconds:<device>` columns.
    """
    units = {FLOPS: "total_flops"} | {
        name.removeprefix(_SECONDS): name for name in map(str, frame.columns) if name.startswith(_SECONDS)
    }
    rows: list[dict[str, Any]] = []
    for task, own in frame.groupby("task", sort=False):
        for unit, column in units.items():
            priced = own.assign(total_priced=own[column])
            priced = priced[priced["total_priced"].notna()]
            if unit != FLOPS and not {"transfer", "scratch"} <= set(priced["arm"]):
                continue  # a price that is missing is not a device on which nothing pays
            for design in pipelines.DESIGNS:
                rows += [{"task": task} | row for row in _of_design(priced, design, unit)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _of_design(priced: pd.DataFrame, design: str, unit: str) -> Iterator[dict[str, Any]]:
    starts, paying = pipelines.decide(priced, design, "priced")
    known = {"design": design, "unit": unit, "threshold": paying.threshold}
    known |= dict(zip(("threshold_low", "threshold_high"), paying.interval, strict=True))
    for start, ratio in zip(starts, paying.ratios, strict=True):
        yield known | {
            "kind": "start",
            "level": start.level,
            "refined": start.refined,
            "dose": start.dose,
            "accuracy": start.accuracy,
            "ratio": ratio.value,
            "low": ratio.interval[0],
            "high": ratio.interval[1],
            "upper_bound": ratio.upper_bound,
            "reached": start.reached,
            "pipelines": start.pipelines,
        }
    scratch = pipelines.expected(priced[priced["arm"] == "scratch"], "priced")
    if unit != FLOPS or not scratch:
        return
    for row in stats.records(priced[priced["design"] == design]):
        if row["weak_accuracy"] is not None:
            yield known | {
                "kind": "pipeline",
                "arm": row["arm"],
                "level": row["level"],
                "dose": row["dose"],
                "accuracy": row["weak_accuracy"],
                "ratio": row["total_priced"] / scratch,
                "reached": int(row["reached"]),
                "pipelines": 1,
            }


# -- several tasks ------------------------------------------------------------------------------------------


def across(runs: Sequence[Results]) -> pd.DataFrame:
    """The `table` of several runs, a task a run.

    Raises:
        ResultsError: a run measured no trade-off.
    """
    for run in runs:
        if not run.summary["tradeoff"]:
            raise ResultsError(_without_study(run))
    priced = pd.concat([run.pricing for run in runs], ignore_index=True)
    frames = [gather(run, priced).assign(task=name) for run, name in zip(runs, _names(runs), strict=True)]
    return table(pd.concat(frames, ignore_index=True))


def _names(runs: Sequence[Results]) -> list[str]:
    """The task of each run, with the folder where several have the same, and its path where those are called alike."""
    titles = [run.summary["title"] for run in runs]
    folders = [run.folder.name for run in runs]
    told = zip(runs, titles, folders, strict=True)
    return [
        title if titles.count(title) == 1 else f"{title} ({folder if folders.count(folder) == 1 else run.folder})"
        for run, title, folder in told
    ]


def _without_study(run: Results) -> str:
    if run.notes:
        return (
            f"{run.folder} has no trade-off to show; leave it out: `gtsearch report {run.folder}` shows what there is"
        )
    return f"{run.folder} measured no trade-off; leave it out, or run it with a `tradeoff`"


def tasks(frame: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    """The panels of `across`: the snapshots of each task."""
    return [{"design": "snapshots", "task": task} for task in dict.fromkeys(frame["task"])]


def as_json(runs: Sequence[Results]) -> list[dict[str, Any]]:
    """The answer of each run for a program: the summary's `tradeoff` without its single pipelines, the run, its task,
    and under `seconds` the threshold by device, None where there is none.

    Raises:
        ResultsError: as `as_markdown`.
    """
    starts = across(runs)
    starts = starts[(starts["kind"] == "start") & (starts["design"] == "snapshots") & (starts["unit"] != FLOPS)]
    answers = []
    for run, name in zip(runs, _names(runs), strict=True):
        own = starts[starts["task"] == name].drop_duplicates("unit")
        study = {key: value for key, value in run.summary["tradeoff"].items() if key != "pipelines"}
        seconds = dict(zip(own["unit"], own["threshold"], strict=True))
        answers.append({"run": str(run.folder), "task": name, **study, "seconds": seconds})
    return answers


def as_markdown(runs: Sequence[Results]) -> str:
    """The answer of each run in a row: the paying threshold in FLOPs, what is known of it, scratch beside it, and the
    threshold in seconds of every device that one of them was priced on.

    Raises:
        ResultsError: a run measured no trade-off.
    """
    starts = across(runs)
    starts = starts[(starts["kind"] == "start") & (starts["design"] == "snapshots")]
    priced = [unit for unit in dict.fromkeys(starts["unit"]) if unit != FLOPS]
    head = (
        "task",
        "replicates",
        "scratch gets there",
        "pays from weak accuracy, in FLOPs",
        "meets scratch's cost between (95 %)",
        "by point estimates from",
        "grid gap at the crossing",
        "least cost over scratch's, in FLOPs",
        "at weak accuracy",
        *(f"in seconds on {device}" for device in priced),
    )
    rows = [
        [name, *_answer(run.summary["tradeoff"]), *(_in_seconds(starts, name, device) for device in priced)]
        for run, name in zip(runs, _names(runs), strict=True)
    ]
    lines = [" | ".join(map(style.markdown, cells)) for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _in_seconds(starts: pd.DataFrame, task: str, device: str) -> str:
    """From which weak accuracy on a task's transfer pays in a device's seconds; a dash where it was not priced."""
    own = starts[(starts["task"] == task) & (starts["unit"] == device)]
    if own.empty:
        return style.UNKNOWN
    threshold = own["threshold"].iloc[0]
    return "no threshold" if pd.isna(threshold) else f"from {_onset(threshold, own['accuracy'].min())}"


def _onset(threshold: float | None, least: float | None) -> str:
    """The accuracy from which on it pays; where none below was measured, it may lie anywhere below."""
    if threshold is None or least is None or threshold > least:
        return style.accuracy(threshold)
    return f"at or below {style.accuracy(threshold)}, the least tried"


def _answer(study: Mapping[str, Any]) -> list[str]:
    """What a summary's study says in FLOPs, from the replicates on."""
    low, high = study["interval"]
    known = [one["weak_accuracy"] for one in study["levels"] if one["design"] == "snapshots"]
    tried = min((accuracy for accuracy in known if accuracy is not None), default=None)
    snapshots = [level for level in study["levels"] if level["design"] == "snapshots" and level["ratio_flops"]]
    least = min(snapshots, key=lambda level: level["ratio_flops"], default=None)
    ratio = style.UNKNOWN
    if least is not None:
        ratio = style.spread(least["ratio_flops"], least["interval_flops"], "")
        ratio = f"at most {ratio}" if least["upper_bound"] else ratio
    return [
        f"{study['replicates']} x {study['target_seeds']}",
        style.k_of_n(study["scratch"]["reached"], study["scratch"]["pipelines"]),
        "no threshold" if study["threshold"] is None else _onset(study["threshold"], tried),
        f"{'below all measured' if low is None else style.accuracy(low)} and "
        f"{'beyond all measured' if high is None else style.accuracy(high)}",
        _onset(study["crossing"], tried),
        style.accuracy(study["resolution"]),
        ratio,
        style.accuracy(least["weak_accuracy"] if least else None),
    ]


# -- the picture --------------------------------------------------------------------------------------------


def panels(frame: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    """A panel for each design that was measured."""
    there = set(frame.loc[frame["accuracy"].notna(), "design"])
    return [panel for panel in PANELS if panel["design"] in there] or PANELS[:1]


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 3.0, 3.0  # three stand beside each other on a page that is 1280 pixels wide, and are not made smaller


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    if frame.empty:
        return "No trade-off was measured: the experiment asks for none, or the search did not come that far."
    return "No weak model came to any of the accuracies asked for." if frame["accuracy"].isna().all() else None


def draw(frame: pd.DataFrame, ax: Axes, design: str = "snapshots", task: str | None = None) -> None:
    """Draws one design of a `table` on `ax`, of one task where there are several."""
    own = frame[(frame["design"] == design) & frame["accuracy"].notna()]
    own = own if task is None else own[own["task"] == task]
    if own.empty:
        style.sentence(ax, nothing(frame) or f"No {_NAMES[design]} were measured.")
        return
    shade = style.colour("transfer")
    starts = own[(own["kind"] == "start") & (own["unit"] == FLOPS)]
    _dots(ax, own[own["kind"] == "pipeline"], shade)
    handles = []
    for i, unit in enumerate(dict.fromkeys(own["unit"])):
        line = own[(own["kind"] == "start") & (own["unit"] == unit) & own["ratio"].notna()]
        if len(line):
            dashes = _DASHES[i % len(_DASHES)]
            x, y = floats(line["accuracy"]), np.clip(floats(line["ratio"]), _DIMMEST, _TALLEST)
            (drawn,) = ax.plot(x, y, color=shade if unit == FLOPS else style.INK, lw=2.2 if unit == FLOPS else 1.3)
            drawn.set_dashes([] if dashes[0] is None else dashes)
            drawn.set_label(FLOPS if unit == FLOPS else _told(unit, line, design))
            handles.append(drawn)
    _band(ax, starts, shade)
    for refined, face, label in ((False, shade, ""), (True, "white", "added to find the jump")):
        at = starts[(starts["refined"].fillna(False) == refined) & starts["ratio"].notna()]
        x, y = floats(at["accuracy"]), np.clip(floats(at["ratio"]), _DIMMEST, _TALLEST)
        ax.scatter(x, y, s=34, marker="D", facecolors=face, edgecolors=shade, lw=1.3, zorder=4)
        if label and len(at):
            handles.append(Line2D([], [], color=shade, marker="D", mfc=face, ls="none", ms=5, label=label))
    if (own["arm"] == "shuffled").any():
        handles.append(Line2D([], [], color=style.FAINT, marker="x", ls="none", label="rows shuffled"))
    alone = "scratch, which never gets there" if starts["upper_bound"].any() else "scratch"
    handles.append(ax.axhline(1.0, color=style.colour("scratch"), lw=1.6, zorder=1, label=alone))
    _axes(ax, frame[frame["accuracy"].notna()], starts)
    if design == "snapshots":
        _threshold(ax, starts)
    ax.set_title(task or _NAMES[design], fontsize="medium")
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.09), borderaxespad=0, frameon=False)


def _told(device: str, starts: pd.DataFrame, design: str) -> str:
    """A device's line in the legend; of snapshots, with the threshold in its seconds."""
    label = f"seconds, {device}"
    if design == "snapshots":
        threshold = starts["threshold"].iloc[0]
        label += ": no\N{NO-BREAK SPACE}threshold" if pd.isna(threshold) else f": from\N{NO-BREAK SPACE}{threshold:.3f}"
    return textwrap.fill(label, _LEGEND).replace("\N{NO-BREAK SPACE}", " ")


def _dots(ax: Axes, dots: pd.DataFrame, shade: str) -> None:
    x, y = floats(dots["accuracy"]), np.clip(floats(dots["ratio"]), _DIMMEST, _TALLEST)
    shuffled = (dots["arm"] == "shuffled").to_numpy(dtype=bool)
    reached = dots["reached"].to_numpy(dtype=np.float64) > 0
    pale = style.tint(shade, 0.5)
    for chosen, face in ((reached & ~shuffled, pale), (~reached & ~shuffled, "none")):
        ax.scatter(x[chosen], y[chosen], s=20, facecolors=face, edgecolors=pale, lw=0.9, zorder=2)
    ax.scatter(x[shuffled], y[shuffled], s=26, marker="x", color=style.FAINT, lw=1.2, zorder=2)


def _band(ax: Axes, starts: pd.DataFrame, shade: str) -> None:
    """The intervals; a bound beyond what was measured ends at the edge."""
    known = starts[starts["low"].notna() | starts["high"].notna()]
    x, low, high = (floats(known[name]) for name in ("accuracy", "low", "high"))
    # What is open runs out of the panel, whose axis ends a little beyond the dimmest and the tallest.
    low = np.nan_to_num(np.clip(low, _DIMMEST, _TALLEST), nan=_DIMMEST / 10)
    high = np.nan_to_num(np.clip(high, _DIMMEST, _TALLEST), nan=_TALLEST * 10)
    if len(known) > 1:
        ax.fill_between(x, low, high, color=shade, alpha=0.16, lw=0, zorder=0)
    ax.vlines(x, low, high, color=shade, lw=1.0, alpha=0.55, zorder=1)


def _axes(ax: Axes, every: pd.DataFrame, starts: pd.DataFrame) -> None:
    """All panels have the same y axis, from what is in any of them."""
    ax.set_yscale("log")
    numbers = [*floats(every["ratio"]), *floats(every["low"]), *floats(every["high"]), 0.5, 2.0]
    shown = np.clip([value for value in numbers if np.isfinite(value) and value > 0], _DIMMEST, _TALLEST)
    ax.set_ylim(float(min(shown)) / 1.25, float(max(shown)) * 2.5)  # room for what is said of the threshold
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("expected cost over scratch's")
    ax.set_xlabel("weak validation accuracy at hand-over\n(under each: pipelines that get there)")
    ax.margins(x=0.06)
    ordered = stats.records(starts.sort_values("accuracy"))
    labels = [f"{row['accuracy']:.2f}\n{row['reached']}/{row['pipelines']}" for row in ordered]
    style.stacked_ticks(ax, [row["accuracy"] for row in ordered], labels)


def _threshold(ax: Axes, starts: pd.DataFrame) -> None:
    threshold = starts["threshold"].iloc[0] if len(starts) else None
    if threshold is None or pd.isna(threshold):
        note = ax.text(0.985, 0.975, f"no threshold ({FLOPS})", transform=ax.transAxes, ha="right", va="top")
    else:
        ax.axvline(float(threshold), color=style.INK, lw=1.2, ls=(0, (5, 2)), zorder=1)
        left, right = ax.get_xlim()
        beyond = float(threshold) > (left + right) / 2
        where = ax.get_xaxis_transform()
        least = "; least tried" if threshold <= starts["accuracy"].min() else ""
        text = f" pays from {float(threshold):.3f} on \n ({FLOPS}{least}) "
        note = ax.text(float(threshold), 0.975, text, transform=where, ha="right" if beyond else "left", va="top")
    style.halo(note)
