"""What a run measured, by the names of `gtsearch.measures`: a median and its spread, a method and of the weak model.

`members_of` takes the report members of one variation, `samples` their values of one measure, `measure` what is said
of them. Nothing is averaged over survivors: a time that was not seen to end is censored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtsearch.analysis import stats, style, timegap
from gtsearch.analysis.members import BASE, of_report, rows_of
from gtsearch.analysis.stats import Floats, floats
from gtsearch.catalog import no_such
from gtsearch.errors import ResultsError
from gtsearch.measures import MEASURES, PROBE
from gtsearch.results import Results

Json = Mapping[str, Any]

WEAK = "weak"
"""How the weak model is called among the methods."""

_COLUMNS = {  # measure -> the trials column it is read from, and whether the weak model has one too
    "test_accuracy": ("test_accuracy", False),
    "final_accuracy": ("final_val_accuracy", True),
    "best_accuracy": ("best_val_accuracy", True),
}
_PER_EPOCH = {"seconds_per_epoch": "train_seconds", "flops_per_epoch": "train_flops"}
_UNITS = {"flops": "flops", "flops_per_epoch": "flops", "seconds": "seconds", "seconds_per_epoch": "seconds"}
_BEFORE = {"time_gap": "time gap ", "stayed": "stayed "}
_AFTER = {"epochs": " epochs", "time_gap": " epochs", "seconds_per_epoch": " an epoch", "flops_per_epoch": " an epoch"}


@dataclass(frozen=True)
class Members:
    """The report members that one variation's claims rest on.

    Attributes:
        target: of every method, as `members.of_report` gives them.
        weak: runs of the weak model that was handed over, misses among them.
        last: run_id, probe and value (null: not finite) at each member's last reading.
        summary: the variation's summary.
    """

    target: pd.DataFrame
    weak: pd.DataFrame
    last: pd.DataFrame
    summary: Json


@dataclass(frozen=True)
class Sample:
    """Values [n] of one measure; `there` [n]: whether it was seen to end (else a value is where it was given up)."""

    values: Floats
    there: npt.NDArray[np.bool_]

    @property
    def median(self) -> float | None:
        """Kaplan-Meier; without a censored value the ordinary median."""
        return stats.km_median(self.values, self.there) if len(self.values) else None

    @property
    def interval(self) -> stats.OpenInterval:
        """The percentile bootstrap interval of the median, over members."""
        if self.there.all():
            return stats.bootstrap_interval(self.values, lambda sample: float(np.median(sample)))
        return stats.km_median_interval(self.values, self.there)


@dataclass(frozen=True)
class Measured:
    """What is said of one measure: of whom (a method, or `weak`), the median with its interval, and k of n there."""

    who: str
    median: float | None
    interval: stats.OpenInterval
    there: int
    n: int


# -- names ----------------------------------------------------------------------------------------------------


def check(names: Sequence[str], where: str, results: Results | None = None) -> None:
    """Refuses what is no measure.

    Args:
        names: of `MEASURES`, or `probe:` and a number's name.
        where: what asks for them, for the message.
        results: the run they are asked of, where there is one: then its probes say which numbers there are.

    Raises:
        ResultsError: there is no such measure, or the run read numbers and none of this name.
    """
    read = probed(results) if results else []
    for name in names:
        if name not in MEASURES and not (name.startswith(PROBE) and name != PROBE):
            raise ResultsError(f"{where}: {no_such('measure', name, [*MEASURES, f'{PROBE}NAME'])}")
        if results and read and name.startswith(PROBE) and name not in read:
            raise ResultsError(f"{where}: of the run {results.folder} {no_such('measure', name, read)}")


def label(name: str) -> str:
    """A measure as people call it."""
    known = {"epochs": "epochs to the goal", "flops": "FLOPs to the goal", "seconds": "seconds to the goal"}
    return known.get(name, name.removeprefix(PROBE) if name.startswith(PROBE) else name.replace("_", " "))


def probed(results: Results) -> list[str]:
    """The measures that are numbers a probe read in this run, in the order they were read."""
    return [f"{PROBE}{name}" for name in dict.fromkeys(results.probes["probe"])]


# -- members and their values ---------------------------------------------------------------------------------


def members_of(results: Results, variation: str = BASE) -> Members:
    """The report members of one variation."""
    varied = results.summary["variations"]
    summary = varied[variation]["summary"] if varied else results.summary
    trials = rows_of(results.trials, variation)
    target = of_report(trials, summary["methods"])
    weak = _weak(trials, target, summary["weak"])
    own = results.probes[results.probes["run_id"].isin([*target["run_id"], *weak["run_id"]])]
    last = own.sort_values("epoch", kind="stable").groupby(["run_id", "probe"], sort=False).tail(1)
    return Members(target, weak, last[["run_id", "probe", "value"]], summary)


def _weak(trials: pd.DataFrame, target: pd.DataFrame, weak: Json | None) -> pd.DataFrame:
    """Report runs of the weak configs that were handed over; those of a winner that was withdrawn are left out."""
    rows = trials[(trials["stage"] == "weak") & (trials["method"] == WEAK) & (trials["status"] != "cancelled")]
    winner = (weak["pays"] or weak["clears"]) if weak else None
    handed = {*target["weak_run_id"].dropna(), *([winner["run_id"]] if winner else [])}
    configs = set(rows.loc[rows["run_id"].isin(handed), "config_id"])
    return rows[(rows["role"] == "report") & rows["config_id"].isin(configs)]


def samples(members: Members, name: str) -> dict[str, Sample]:
    """The values of one measure, by method in the catalog's order and then `weak`; who has none is left out."""
    methods = sorted(members.summary["methods"], key=style.place)
    by_method = {method: members.target[members.target["method"] == method] for method in methods}
    if name == "weak_accuracy":
        handed = members.target.dropna(subset=["weak_run_id"]).drop_duplicates("weak_run_id")
        found = {WEAK: _known(handed["weak_accuracy"])}
    elif name in stats.UNITS or name == "time_gap":
        found = {method: _times(own, name, members.summary["methods"][method]) for method, own in by_method.items()}
    else:
        every = {**by_method, WEAK: members.weak}
        found = {who: _values(own, members.last, name, who) for who, own in every.items()}
    return {who: sample for who, sample in found.items() if len(sample.values)}


def _times(own: pd.DataFrame, name: str, record: Json) -> Sample:
    """What may be censored; a pipeline that gave no embedding has no member, and never gets there."""
    times, there = timegap.waits(own) if name == "time_gap" else stats.times_to_goal(own, name)
    short = max(0, int(record["seeds"]) - len(own))
    return Sample(np.append(times, [math.inf] * short), np.append(there, [False] * short).astype(bool))


def _values(own: pd.DataFrame, last: pd.DataFrame, name: str, who: str) -> Sample:
    if name.startswith(PROBE):
        read = last[(last["probe"] == name.removeprefix(PROBE)) & last["run_id"].isin(own["run_id"])]
        return _known(read["value"])
    if name in _PER_EPOCH:
        ran = own[own["epochs"].fillna(0) > 0]
        return _known(ran[_PER_EPOCH[name]] / ran["epochs"])
    if name in _COLUMNS:
        column, of_weak = _COLUMNS[name]
        return _known(own[column] if of_weak or who != WEAK else own[column].iloc[:0])
    return _known(own["train_seconds"].iloc[:0])  # a count: it has no values


def _known(column: pd.Series) -> Sample:
    values = floats(column)
    values = values[np.isfinite(values)]
    return Sample(values, np.ones(len(values), dtype=bool))


# -- what is said of them -------------------------------------------------------------------------------------


def measure(members: Members, name: str) -> list[Measured]:
    """One measure of every method, and of the weak model where it has it; the summary's medians where it holds them."""
    methods: Json = members.summary["methods"]
    order = sorted(methods, key=style.place)
    if name in stats.UNITS:
        times = {who: methods[who][f"{name}_to_goal"] for who in order}
        return [
            Measured(who, time["median"], tuple(time["interval"]), methods[who]["reached"], methods[who]["seeds"])
            for who, time in times.items()
        ]
    if name == "stayed":
        there = {who: members.target[members.target["method"] == who]["stayed"].dropna() for who in order}
        return [Measured(who, None, (None, None), int(own.sum()), len(own)) for who, own in there.items()]
    return [
        Measured(who, sample.median, sample.interval, int(sample.there.sum()), len(sample.there))
        for who, sample in samples(members, name).items()
    ]


def text(measured: Measured, name: str) -> str:
    """One measure of one method in words: `time gap 30 [25, 40] epochs`; k of n where some are censored."""
    reached = style.k_of_n(measured.there, measured.n)
    if name == "stayed":
        return f"stayed {reached}"
    before = _BEFORE.get(name, "" if name in _AFTER or name in _UNITS else f"{label(name)} ")
    after = "" if measured.median is None else _AFTER.get(name, "")
    censored = f" ({reached})" if name == "time_gap" and measured.there < measured.n else ""
    return f"{before}{spread(measured, name)}{after}{censored}"


def spread(measured: Measured, name: str) -> str:
    """The median with its interval, in the measure's unit."""
    return style.spread(measured.median, measured.interval, _UNITS.get(name, ""))
