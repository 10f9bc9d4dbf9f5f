"""Two runs beside each other: what differs in what was asked, in where it ran, and in the answers.

Entry: `compare`. Nothing is refused for being different: whether the answers may stand beside each other is part of
what is told (`gtsearch.analysis.merging` says what another question is).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from gtsearch.analysis import asked, merging, sentences, stats, style
from gtsearch.results import TOTAL, Results

Json = Mapping[str, Any]
_PLACE = ("device", "device_names", "threads", "workers", "host", "platform", "python", "git_revision")
_CLOCK = ("device", "device_names", "threads")
_SAME_MEMBER = ("status", "epochs", "epochs_to_goal", "best_val_accuracy")


@dataclass(frozen=True)
class Difference:
    """What one run has and the other has not.

    Attributes:
        path: the YAML path in the experiment, or the key in environment.json (`versions.torch`).
        values: of the first and of the second run; None where there is nothing.
        other_question: whether runs that differ in it ask different questions.
    """

    path: str
    values: tuple[Any, Any]
    other_question: bool = False


@dataclass(frozen=True)
class Quantity:
    """One answer of both runs.

    Attributes:
        texts: as a person reads them, each with its 95 % interval where there is one.
        values: the same as numbers or words; None where it was never reached, or is not known.
        intervals: at 95 %; None for an end that is not known.
        apart: whether the intervals have nothing in common; None where one of them is not known.
    """

    name: str
    texts: tuple[str, str]
    values: tuple[Any, Any]
    intervals: tuple[Any, Any] = (None, None)
    apart: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        why_not: why the answers cannot be compared; None: they can.
        notes: what a reader must know of the answers, a line each.
        members: how many training runs are in both, and how many of those went alike.
    """

    folders: tuple[str, str]
    why_not: str | None
    notes: tuple[str, ...]
    experiment: tuple[Difference, ...]
    surroundings: tuple[Difference, ...]
    members: dict[str, int]
    answers: tuple[Quantity, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"comparable": self.why_not is None}


def compare(first: Results, second: Results) -> Comparison:
    """What differs between two runs.

    Raises:
        ResultsError: it is one run, or an experiment file in it is damaged.
    """
    runs = (first, second)
    merging.refuse_twice(runs)
    experiment = tuple(_in_what_was_asked(runs))
    surroundings = tuple(_in_the_surroundings(first.environment, second.environment))
    return Comparison(
        (str(first.folder), str(second.folder)),
        _why_not(experiment),
        tuple(_notes(runs, surroundings)),
        experiment,
        surroundings,
        _shared(first.trials, second.trials),
        tuple(_answers(runs)),
    )


def _in_what_was_asked(runs: Sequence[Results]) -> Iterator[Difference]:
    one, other = (dict(merging.leaves(asked.experiment(run))) for run in runs)
    same_question = dict(merging.leaves(_nested([*one, *other]), merging.MAY_DIFFER))
    for path in (*one, *(path for path in other if path not in one)):
        if one.get(path) != other.get(path):
            yield Difference(path, (one.get(path), other.get(path)), path in same_question)


def _nested(paths: Sequence[str]) -> dict[str, Any]:
    """Mappings in which each path leads somewhere."""
    whole: dict[str, Any] = {}
    for path in paths:
        inner = whole
        *outer, last = path.split(".")
        for key in outer:
            inner = inner.setdefault(key, {})
        inner.setdefault(last, {})
    return whole


def _in_the_surroundings(one: Json, other: Json) -> Iterator[Difference]:
    for key in _PLACE:
        if one.get(key) != other.get(key):
            yield Difference(key, (one.get(key), other.get(key)))
    for name in dict.fromkeys((*one["versions"], *other["versions"])):
        versions = one["versions"].get(name), other["versions"].get(name)
        if versions[0] != versions[1]:
            yield Difference(f"versions.{name}", versions)


def _why_not(experiment: Sequence[Difference]) -> str | None:
    other = [difference for difference in experiment if difference.other_question]
    if not other:
        return None
    more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
    one, two = other[0].values
    return f"they ask different questions: {other[0].path} is {one} in one and {two} in the other{more}"


def _notes(runs: Sequence[Results], surroundings: Sequence[Difference]) -> Iterator[str]:
    if any(difference.path in _CLOCK for difference in surroundings):
        yield "their devices or threads differ: compare epochs and FLOPs, and seconds only of `gtsearch price`"
    for run in runs:
        yield from (f"{run.folder}: {note}" for note in run.notes)
        if (unfinished := sentences.unfinished(run.summary)) is not None:
            yield f"{run.folder}: {unfinished}"


def _shared(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    """Equal ids are equal experiments, seeds and starts: on one kind of machine they go alike, bit for bit."""
    columns = ["run_id", *_SAME_MEMBER]
    both = one[columns].merge(other[columns], on="run_id", suffixes=("", "_other"))
    alike = pd.Series(True, index=both.index)
    for name in _SAME_MEMBER:
        mine, theirs = both[name], both[f"{name}_other"]
        alike &= (mine == theirs) | (mine.isna() & theirs.isna())
    return {"first": len(one), "second": len(other), "both": len(both), "alike": int(alike.sum())}


# -- the answers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Told:
    text: str = style.UNKNOWN
    value: Any = None
    interval: Any = None


def _answers(runs: Sequence[Results]) -> Iterator[Quantity]:
    one, other = (dict(_told(run)) for run in runs)
    nothing = _Told()
    for name in (*one, *(name for name in other if name not in one)):
        first, second = one.get(name, nothing), other.get(name, nothing)
        intervals = first.interval, second.interval
        yield Quantity(name, (first.text, second.text), (first.value, second.value), intervals, _apart(*intervals))


def _apart(one: Any, other: Any) -> bool | None:
    ends = [*(one or ()), *(other or ())]
    if len(ends) < 4 or any(end is None for end in ends):
        return None
    return bool(one[1] < other[0] or other[1] < one[0])


def _told(run: Results) -> Iterator[tuple[str, _Told]]:
    summary = run.summary
    if (weak := summary["weak"]) is not None:
        yield from _weak(weak)
    for method, record in summary["methods"].items():
        reached = record["reached"] / record["seeds"] if record["seeds"] else None
        text = f"{style.k_of_n(record['reached'], record['seeds'])} ({style.rate_interval(record['interval'])})"
        yield f"{method}: reach the goal", _Told(text, reached, record["interval"])
        for unit in ("epochs", "flops", "seconds"):
            taken = record[f"{unit}_to_goal"]
            text = style.spread(taken["median"], taken["interval"], unit)
            yield f"{method}: {_WORDS[unit]} to the goal", _Told(text, taken["median"], taken["interval"])
        if record["test_accuracy"] is not None:
            yield f"{method}: test accuracy", _Told(style.accuracy(record["test_accuracy"]), record["test_accuracy"])
    for speedup in sentences.speedups(summary):
        interval = f" [{speedup.interval}]" if speedup.interval else ""
        yield f"times cheaper, {speedup.counted}", _Told(f"{speedup.text}{interval}", speedup.value)
    if (study := summary["tradeoff"]) is not None:
        text = "no threshold" if study["threshold"] is None else style.accuracy(study["threshold"])
        ends = [style.accuracy(end) for end in study["interval"] if end is not None]
        met = f" (meets scratch's cost between {' and '.join(ends)})" if len(ends) == 2 else ""
        yield "pays from weak accuracy", _Told(text + met, study["threshold"], study["interval"])
        yield "least total at weak accuracy", _Told(style.accuracy(study["least_total"]), study["least_total"])
    yield from _costs(run)


_WORDS = {"epochs": "epochs", "flops": "FLOPs", "seconds": "seconds"}


def _weak(weak: Json) -> Iterator[tuple[str, _Told]]:
    for verdict in ("pays", "clears"):
        found = weak[verdict]
        word = "weak model that pays" if verdict == "pays" else "smallest that clears"
        yield word, _Told(found["architecture"], found["architecture"]) if found else _Told("nothing")
        if not found:
            continue
        yield f"{word}: parameters", _Told(style.count(found["params"]), found["params"])
        k, n, interval = found["cleared"], found["seeds"], found["interval"]
        if verdict == "pays":
            k, n, interval = found["transferred"], found["pipelines"], found["pipelines_interval"]
        text = f"{style.k_of_n(k, n)} ({style.rate_interval(interval)})"
        yield f"{word}: on fresh seeds", _Told(text, k / n if n else None, interval)
    yield "undecided", _Told(style.count(len(weak["undecided"])), len(weak["undecided"]))


def _costs(run: Results) -> Iterator[tuple[str, _Told]]:
    [total] = stats.records(run.ledger[run.ledger["purpose"] == TOTAL])[:1] or [{}]
    for name, key, unit in (("spent: members", "members", ""), ("spent: FLOPs", "train_flops", "flops")):
        if total.get(key) is not None:
            yield name, _Told(style.quantity(total[key], unit), total[key])
    if total.get("wall_seconds") is not None:
        yield "spent: wall time", _Told(style.duration(total["wall_seconds"]), total["wall_seconds"])
