"""Whether a run that was put under faults came to what an undisturbed run of the same experiment came to.

What may differ is what docs/reliability.md says: the order of rows, what the clock of the wall says, the host, and rows
that counted for nothing (`cancelled`). Where a worker was lost, its members stand as `failed` and run again as another
attempt. Then names differ as well (a run_id holds the attempt, and that of a target the sha256 of its embedding), so
members are told apart by what they are, not by name; all they came to must be equal.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gtsearch import results
from gtsearch.identity import canonical
from gtsearch.results import LOG

Row = Mapping[str, Any]

CLOCKS = ("train_seconds", "eval_seconds", "seconds_to_goal", "weak_seconds")
"""What real training says differently each time; a synthetic trainable says it by formula."""
NAMES = ("run_id", "weak_run_id", "attempt", "capped_by")
"""What is different in a member that ran as another attempt, and in whatever stands on it."""
_ANY_TIME = ("elapsed_seconds", "host", "cohort_size")
_WHAT_IT_IS = ("stage", "method", "role", "task", "split_seed", "architecture", "config_id", "seed", "design", "level")
_MOST_TOLD = 6


@dataclass
class Verdict:
    """Attributes:
    lost: members that were finished before a fault and are no longer there.
    repeated: members that ran again although they were finished.
    again: members that ran as another attempt because their worker was lost.
    differences: in what else it differs from the undisturbed run, in words; empty: in nothing.
    """

    lost: int = 0
    repeated: int = 0
    again: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """What was on the disk at some moment: the lines of members.log by run_id, and the moment (`time.monotonic`)."""

    at: float
    lines: Mapping[str, bytes]


def known(folder: Path, at: float) -> Known:
    """The finished members in a log, whatever state it is in."""
    path = folder / LOG
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    rows = [(line, _row(line)) for line in lines]
    return Known(at, {row["run_id"]: line for line, row in rows if row is not None and is_finished(row)})


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "run_id" in row else None


def is_finished(row: Row) -> bool:
    """Whether the member of a line counts as finished: not lost with its worker, not given up."""
    return not row.get("lost") and row["status"] != "cancelled"


def judge(
    reference: Path, folder: Path, earlier: Iterable[Known] = (), trace: Path | None = None, real: bool = False
) -> Verdict:
    """Holds a run folder against an undisturbed one's.

    Args:
        reference: the finished folder of the undisturbed run.
        folder: of the run that is judged; finished as well.
        earlier: what was known to be finished, at the faults.
        trace: which members began when, as `faults.inject.trace` notes it.
        real: whether real training took place, so that seconds differ.
    """
    verdict = Verdict()
    rows, _ = results.read_log(folder / LOG)
    lines = set((folder / LOG).read_bytes().split(b"\n"))
    in_table = set(results.read_table(folder, "trials")["run_id"])
    gone: set[str] = set()
    for before in earlier:
        gone |= {run_id for run_id, line in before.lines.items() if line not in lines or run_id not in in_table}
    verdict.lost = len(gone)
    finished = [row for row in rows if is_finished(row)]
    verdict.again = sum(bool(row.get("lost")) for row in rows)
    twice = {run_id for run_id, n in Counter(row["run_id"] for row in finished).items() if n > 1}
    verdict.repeated = len(twice | _begun_again(earlier, trace))
    _compare(reference, folder, verdict, real)
    return verdict


def _begun_again(earlier: Iterable[Known], trace: Path | None) -> set[str]:
    if trace is None or not trace.exists():
        return set()
    begun = [(float(at), run_id) for at, run_id in map(str.split, trace.read_text().splitlines())]
    return {run_id for known in earlier for at, run_id in begun if at > known.at and run_id in known.lines}


# -- tables ---------------------------------------------------------------------------------------------------


def _compare(reference: Path, folder: Path, verdict: Verdict, real: bool) -> None:
    told = verdict.differences
    one, other = _Run(reference), _Run(folder)
    by_name = not one.lost and not other.lost
    ignored = (*_ANY_TIME, *(CLOCKS if real else ()), *(() if by_name else NAMES))
    for run in (one, other):
        told += [f"{n} rows of one member" for n in Counter(run.what.values()).values() if n > 1][:1]
    for table in ("trials", "curves", "scores"):
        frames = [run.table(table, by_name).drop(columns=list(ignored), errors="ignore") for run in (one, other)]
        told += [f"{table}: {difference}" for difference in _differences(*frames)]
    if by_name:
        ledgers = [run.ledger().drop(columns=list(ignored), errors="ignore") for run in (one, other)]
        told += [f"ledger: {difference}" for difference in _differences(*ledgers)]
    dearer = not by_name or one.in_vain != other.in_vain
    summaries = [_comparable(run.summary, real, by_name, dearer) for run in (one, other)]
    told += [f"summary: {difference}" for difference in list(_unlike(*summaries))[:_MOST_TOLD]]


class _Run:
    """A finished folder, and of each member what it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = results.read_json(folder / results.SUMMARY)
        trials = results.read_table(folder, "trials")
        self.lost = {row["run_id"] for row in results.members(folder / LOG) if row.get("lost")}
        self.in_vain = float(trials.loc[trials["status"] == "cancelled", "train_flops"].sum())
        self.trials = trials[(trials["status"] != "cancelled") & ~trials["run_id"].isin(self.lost)]
        rows: dict[str, Any] = {row["run_id"]: row for row in self.trials.to_dict("records")}
        self.what = {run_id: self._what(row, rows) for run_id, row in rows.items()}

    def _what(self, row: Row, rows: Mapping[str, Row]) -> str:
        """What a member is, by no name that an attempt would change."""
        own = {name: None if pd.isna(row[name]) else row[name] for name in (*_WHAT_IT_IS, "dose", "weak_epoch")}
        source = rows.get(row["weak_run_id"]) if isinstance(row["weak_run_id"], str) else None
        return canonical(own | {"of": self._what(source, rows) if source else None})

    def table(self, name: str, by_name: bool) -> pd.DataFrame:
        """The rows that count, in an order of their own."""
        frame = self.trials if name == "trials" else results.read_table(self.folder, name)
        frame = frame[frame["run_id"].isin(self.what)]
        frame = frame.assign(member=frame["run_id"] if by_name else frame["run_id"].map(self.what))
        by = [
            c
            for c in ("member", "epoch", "level", "dose", "score")
            if c in frame and (c == "member" or name != "trials")
        ]
        return frame.sort_values(by, ignore_index=True)

    def ledger(self) -> pd.DataFrame:
        """What counted, in an order of its own: what was in vain is booked elsewhere, and under `total`."""
        ledger = results.read_table(self.folder, "ledger")
        ledger = ledger[~ledger["purpose"].isin(["cancelled", results.TOTAL])]
        return ledger.sort_values(["purpose", "method"], ignore_index=True)


def _differences(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    if "member" in one:
        missing, more = set(one["member"]) - set(other["member"]), set(other["member"]) - set(one["member"])
        if missing or more:
            return [f"{len(missing)} members are missing, {len(more)} are not of the undisturbed run"]
    if len(one) != len(other):
        return [f"{len(other)} rows instead of {len(one)}"]
    return [
        f"{column} differs in {int(unlike.sum())} rows"
        for column in one
        if (unlike := (one[column] != other[column]).fillna(False) | (one[column].isna() != other[column].isna())).any()
    ][:_MOST_TOLD]


# -- summary --------------------------------------------------------------------------------------------------

# What is paid for members that were lost, or needed by nobody in the end, is paid by whoever ran the search.
_DEARER = ("tuning_members", "tuning_flops", "tuning_seconds", "with_search", "break_even_runs")
_NAMING = ("run_id", "weak_run_id", "run_ids", "weak_run_ids")


def _comparable(value: Any, real: bool, by_name: bool, dearer: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _comparable(inner, real, by_name, dearer) if key != "warnings" else _warnings(inner, by_name)
            for key, inner in value.items()
            if not (real and ("seconds" in key or key == "break_even_runs"))
            and not (not by_name and key in _NAMING)
            and not (dearer and key in _DEARER)
        }
    if isinstance(value, list):
        return [_comparable(inner, real, by_name, dearer) for inner in value]
    return value


def _warnings(told: list[str], by_name: bool) -> list[str]:
    return told if by_name else [line for line in told if "crashed or were lost" not in line]


def _unlike(one: Any, other: Any, where: str = "") -> Iterable[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _unlike(one.get(key), other.get(key), f"{where}.{key}" if where else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _unlike(mine, theirs, f"{where}[{i}]")
    elif not _equal(one, other):
        yield f"{where} is {other!r} instead of {one!r}"[:200]


def _equal(one: Any, other: Any) -> bool:
    """Sums of the same numbers in another order may differ in their last digits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
