"""Several runs of one question, of one machine or many: whether they may stand side by side, and what then does.

What an epoch takes on a device is a fact about the device and the model, not about the run it was measured on: prices
are shared among runs of one experiment (`with_shared_prices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from gtsearch.analysis import asked, devices, stats, style, tables
from gtsearch.analysis.tables import Cell, Table
from gtsearch.errors import ResultsError
from gtsearch.results import Results

MAY_DIFFER = (
    *("name", "about", "seed", "resources", "trackers", "task.seed"),
    *("report.seeds", "report.at_least", "tradeoff.seeds", "tradeoff.target_seeds"),
)
"""YAML paths, with all below them, that do not make another question: what it is called, which random numbers and how
many of them were drawn for a claim, what machine it ran on, and who was told."""


def refuse_incomparable(runs: Sequence[Results]) -> None:
    """Refuses runs that cannot stand side by side.

    Raises:
        ResultsError: there is no run, one is named twice, or two of them ask different questions: the message names
            the first YAML path in which their experiments differ, and both values.
    """
    if not runs:
        raise ResultsError("there is no run to report; name at least one run folder")
    refuse_twice(runs)
    first = dict(leaves(asked.experiment(runs[0]), MAY_DIFFER))
    for other in runs[1:]:
        theirs = dict(leaves(asked.experiment(other), MAY_DIFFER))
        for path in (*first, *(path for path in theirs if path not in first)):
            if first.get(path) != theirs.get(path):
                raise ResultsError(
                    f"{runs[0].folder} and {other.folder} ask different questions: {path} is {first.get(path)} in "
                    f"one and {theirs.get(path)} in the other; report them apart"
                )


def refuse_twice(runs: Sequence[Results]) -> None:
    """Refuses the same folder twice: what is one run must not look like two.

    Raises:
        ResultsError: one is named twice, by whatever path.
    """
    folders = [run.folder.resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ResultsError(f"the run {run.folder} is named twice; name each run folder once")


def leaves(part: Any, but: Sequence[str] = (), path: str = "") -> Iterator[tuple[str, Any]]:
    """YAML path and value of all that is asked, without the paths `but` and all below them, where modules lie, and that
    there are none, as in runs from before there were any. Lists are values."""
    lies = path.startswith("modules.") and path.endswith(".folder")
    if path in but or lies or (path == "modules" and not part):
        return
    if not isinstance(part, Mapping) or not part:
        yield path, part
        return
    for key, inner in part.items():
        yield from leaves(inner, but, f"{path}.{key}" if path else str(key))


def with_shared_prices(runs: Sequence[Results]) -> list[Results]:
    """The same runs, each with the prices of all: its own of a device and host first, those of the others where it has
    none of that device and host."""
    return [replace(run, pricing=_with_others(run, runs)) for run in runs]


def _with_others(run: Results, runs: Sequence[Results]) -> pd.DataFrame:
    known = run.pricing
    for other in runs:
        places = set(known[["device", "host"]].itertuples(index=False, name=None))
        new = [key not in places for key in other.pricing[["device", "host"]].itertuples(index=False, name=None)]
        known = pd.concat([known, other.pricing[new]], ignore_index=True)
    return known


def together(seconds: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """The `table` of the figure `devices` for all runs: theirs below each other, the runs under `names`."""
    return pd.concat([own.assign(run=name) for own, name in zip(seconds, names, strict=True)], ignore_index=True)


def side_by_side(runs: Sequence[Results], names: Sequence[str], seconds: pd.DataFrame) -> Table:
    """What differs between the runs, and what reaching the goal takes in each on every device that was priced.

    Args:
        seconds: as `together` makes it.
    """
    beside = tables.side_by_side(runs, names)
    claims = seconds[seconds["kind"] == devices.CLAIMED]
    rows = []
    for (device, host, method), own in claims.groupby(["device", "host", "method"], sort=False):
        texts = {row["run"]: _seconds(row, "seconds", "low", "high") for row in stats.records(own)}
        name = f"{method}: claimed seconds on {devices.place('', str(device), str(host), seconds.assign(run=''))}"
        rows.append([Cell(name), *(texts.get(run, Cell(style.UNKNOWN)) for run in names)])
    return replace(beside, rows=[*beside.rows, *rows])


def claimed_seconds(table: pd.DataFrame) -> Table:
    """Seconds to the goal by device, a row a run, device and method; without rows where nothing was priced.

    Args:
        table: as `devices.table` makes it.
    """
    claims = stats.records(table[table["kind"] == devices.CLAIMED])
    seen = stats.records(table[table["kind"] == devices.OBSERVED])
    rows = []
    for row in claims:
        # A run of several devices has an observed median on each.
        own = [one for one in seen if (one["run"], one["method"]) == (row["run"], row["method"])]
        rows.append(
            [
                Cell(devices.place(row["run"], row["device"], row["host"], table)),
                Cell(row["method"]),
                Cell(style.k_of_n(row["reached"], row["seeds"]), row["reached"]),
                Cell(style.number(row["epochs"]), row["epochs"]),
                Cell(style.spread(row["ms_per_epoch"], (row["ms_low"], row["ms_high"]), ""), row["ms_per_epoch"]),
                _seconds(row, "seconds", "low", "high"),
                _seconds(row, "with_weak", "with_weak_low", "with_weak_high"),
                Cell(", ".join(style.seconds(one["seconds"]) for one in own), own[0]["seconds"] if own else None),
                Cell(", ".join(style.count(one["cohort_size"]) for one in own), own[0]["cohort_size"] if own else None),
            ]
        )
    return Table(
        "Seconds by device",
        [
            *("device", "method", "reach the goal", "epochs", "ms an epoch", "claimed", "claimed, with the weak model"),
            *("observed", "trained at once"),
        ],
        rows,
        "Claimed: epochs to the goal times what an epoch takes on that device with nothing else beside it, which "
        "`gtsearch price` measures; in brackets 95 % intervals, of an epoch over blocks, of seconds over seeds. "
        "Observed: the seconds of the run itself, beside how many members shared a tensor program. A dash: half of "
        "the seeds never got there, or it was not priced.",
        words=(0, 1),
        swatches=[style.colour(row["method"]) for row in claims],
    )


def _seconds(row: Mapping[str, Any], value: str, low: str, high: str) -> Cell:
    return Cell(style.spread(row[value], (row[low], row[high]), "seconds"), row[value])
