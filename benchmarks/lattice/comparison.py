"""What searchers cost, how far from the cheapest they end, and how often their certificates are wrong."""

from __future__ import annotations

import itertools
import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats as scipy_stats

from benchmarks.lattice import stopping, world
from benchmarks.lattice.searchers import SEARCHERS, Outcome, Repetition
from benchmarks.lattice.stopping import Rule
from benchmarks.lattice.world import Lattice
from benchmarks.results import Row
from gtsearch.analysis import stats
from gtsearch.errors import ResultsError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """k of n repetitions, with Wilson's interval at 95 %."""

    k: int
    n: int

    @property
    def interval(self) -> stats.Interval:
        return stats.wilson(self.k, self.n)

    @property
    def words(self) -> str:
        low, high = self.interval
        return f"{100 * self.k / self.n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True)
class Verdict:
    """A searcher's repetitions, held against what is true of the lattice.

    Attributes:
        poor: the config named clears on fewer than `world.POOR` of all recorded seeds.
        beaten: a strictly cheaper architecture holds a recorded config at the gate's rate.
        wrong: either. at_gate: the same, had the first that passed the gate been named without report seeds.
        excluded: our certificate called an architecture excluded that is cheaper than the one named and holds a config
            at the gate's rate: the part of `beaten` about which it claimed something.
        nothing: nothing was named.
        regrets: the cost (parameters) of the architecture named over that of the cheapest with a config at the gate's
            rate, where one was named and there is one.
        flops: [repetitions], until the certificate.
        gates: the share of all FLOPs that went into gates, in [0, 1].
    """

    poor: Share
    beaten: Share
    wrong: Share
    at_gate: Share
    excluded: Share
    nothing: Share
    regrets: Floats
    flops: Floats
    gates: float


def judge(lattice: Lattice, outcomes: Sequence[Outcome]) -> Verdict:
    """What is true of certificates, one a repetition."""
    n = len(outcomes)
    named = [outcome.named for outcome in outcomes]
    poor = [one is not None and lattice.is_poor(*one) for one in named]
    beaten = [lattice.is_beaten(one[0] if one else None) for one in named]
    gates = [outcome.at_gate for outcome in outcomes]
    by_gate = [
        lattice.is_beaten(one[0] if one else None) or (one is not None and lattice.is_poor(*one)) for one in gates
    ]
    return Verdict(
        poor=Share(sum(poor), n),
        beaten=Share(sum(beaten), n),
        wrong=Share(sum(map(any, zip(poor, beaten, strict=True))), n),
        at_gate=Share(sum(by_gate), n),
        excluded=Share(sum(_excludes_wrongly(lattice, outcome) for outcome in outcomes), n),
        nothing=Share(sum(one is None for one in named), n),
        regrets=np.array([regret for one in named if one and (regret := _regret(lattice, one[0])) is not None]),
        flops=np.array([outcome.flops for outcome in outcomes]),
        gates=sum(outcome.gate_flops for outcome in outcomes) / sum(outcome.flops for outcome in outcomes),
    )


def _regret(lattice: Lattice, rank: int) -> float | None:
    if lattice.cheapest is None:
        return None
    return lattice.architectures[rank].params / lattice.architectures[lattice.cheapest].params


def _excludes_wrongly(lattice: Lattice, outcome: Outcome) -> bool:
    named = outcome.named[0] if outcome.named else len(lattice.architectures)
    return any(rank < named and bool((lattice.rates[rank] >= lattice.required).any()) for rank in outcome.excluded)


# -- repetitions --------------------------------------------------------------------------------------------


def replay(path: Path, repetitions: int, processes: int, rule: Rule | None = None) -> dict[str, list[Outcome]]:
    """The outcomes of every searcher, one a repetition; with a rule, of ours alone with runs ended by it.

    Raises:
        ResultsError: the experiment's cost is not known before training, which the other searchers do not order by.
    """
    lattice = world.read(path)
    if lattice.weak.cost != "params":
        broken = f"searchers are compared by parameters, and this experiment's cost is {lattice.weak.cost}"
        raise ResultsError(f"{path}: {broken}; record it with --set weak.cost=params")
    own = [_Task(path, "ours", number, rule) for number in range(repetitions)]
    if processes == 1:
        return _replayed(own, lambda tasks: list(map(_outcome, tasks)))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return _replayed(own, lambda tasks: list(pool.map(_outcome, tasks, chunksize=5)))


@dataclass(frozen=True)
class _Task:
    """One repetition of one searcher. budget: FLOPs for one that has no end of its own."""

    path: Path
    name: str
    number: int
    rule: Rule | None
    budget: float = math.inf


def _replayed(own: Sequence[_Task], answered: Callable[[Sequence[_Task]], list[Outcome]]) -> dict[str, list[Outcome]]:
    """Ours first: what it spends is the budget of those that have no end of their own."""
    found = {"ours": answered(own)}
    if own[0].rule is not None:
        return found
    budgets = [outcome.flops for outcome in found["ours"]]
    for name in SEARCHERS:
        if name != "ours":
            tasks = [replace(task, name=name, budget=budget) for task, budget in zip(own, budgets, strict=True)]
            found[name] = answered(tasks)
    return found


def _outcome(task: _Task) -> Outcome:
    return SEARCHERS[task.name](Repetition(_lattice(task.path, task.rule), task.number, task.budget))


@lru_cache(maxsize=2)
def _lattice(path: Path, rule: Rule | None) -> Lattice:
    lattice = world.read(path)
    return stopping.stopped(lattice, rule) if rule else lattice


# -- what a person reads ------------------------------------------------------------------------------------


def describe(lattice: Lattice) -> list[str]:
    """What was recorded, and what is true of it."""
    cleared = sum(run.cleared for run in lattice.runs.values())
    there = sum(run.cleared for run in lattice.targets.values())
    rates = lattice.rates
    lines = [
        f"{lattice.spec.name}: {lattice.spec.weak_task.title}, {len(lattice.architectures)} architectures x "
        f"{len(lattice.configs)} configs, {lattice.base} seeds (more where one clears)",
        f"{len(lattice.runs):,} weak runs, {cleared:,} clear; "
        f"{len(lattice.targets):,} transfers, {there:,} reach their goal",
        f"{int((rates >= lattice.required).sum())} of {rates.size} configs clear at the gate's rate of "
        f"{lattice.required:g}, {int((rates >= world.POOR).sum())} at {world.POOR:g}",
    ]
    if lattice.cheapest is not None:
        one = lattice.architectures[lattice.cheapest]
        place = f"{lattice.cheapest + 1} of {len(lattice.architectures)}"
        lines.append(f"the cheapest with a config at the gate's rate: {one.label} ({one.params} parameters), {place}")
    if lattice.targets:
        carrying, handed = carried(lattice)
        lines.append(
            f"{carrying} of {handed} configs whose embeddings were transferred carry the target as its judge asks"
        )
    return lines


def carried(lattice: Lattice) -> tuple[int, int]:
    """How many weak configs take the target to its goal from as many weak seeds as the judge asks for, by one of the
    target's settings; and of how many that is known."""
    reached: dict[tuple[int, int], Counter[int]] = {}
    for (rank, config, _, setting), run in lattice.targets.items():
        reached.setdefault((rank, config), Counter())[setting] += run.cleared
    asked = lattice.weak.judge.at_least
    return sum(max(counts.values()) >= asked for counts in reached.values()), len(reached)


def rates(lattice: Lattice, outcomes: Sequence[Outcome]) -> str:
    """How often each rate was named, the lowest first: `0.58 (44), 0.67 (30)`."""
    named = Counter(float(lattice.rates[outcome.named]) for outcome in outcomes if outcome.named)
    return ", ".join(f"{rate:.2f} ({times})" for rate, times in sorted(named.items())) or "none"


HEADINGS = (
    "searcher", "wrong", "rate < 0.6", "a cheaper one holds", "by the gate alone", "names none",
    "regret", "10^12 FLOPs", "in gates", "ours / theirs",
)  # fmt: skip


def cells(name: str, verdict: Verdict, ours: Verdict) -> list[str]:
    """A line of the table."""
    low, middle, high = np.quantile(verdict.flops, [0.25, 0.5, 0.75]) / 1e12
    against = "" if name == "ours" else "{:.2f} [{:.2f}, {:.2f}]".format(*paired(ours.flops, verdict.flops))
    regrets = verdict.regrets
    regret = f"{np.median(regrets):.2f} (mean {regrets.mean():.2f})" if len(regrets) else "-"
    shares = (verdict.wrong, verdict.poor, verdict.beaten, verdict.at_gate)
    spent = [f"{middle:.2f} [{low:.2f}, {high:.2f}]", f"{100 * verdict.gates:.0f} %"]
    return [name, *(share.words for share in shares), str(verdict.nothing.k), regret, *spent, against]


def paired(ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    """The geometric mean of the repetitions' ratios, and its interval at 95 % (Student's t of the logs)."""
    logs = np.log(ours / theirs)
    error = float(scipy_stats.t.ppf(0.975, len(logs) - 1)) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    mean = float(np.mean(logs))
    return math.exp(mean), math.exp(mean - error), math.exp(mean + error)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def rows_to_keep(lattice: Lattice, verdicts: dict[str, Verdict]) -> list[Row]:
    """What `make bench` shows: ours beside each other searcher."""
    ours, title = verdicts["ours"], lattice.spec.weak_task.title
    rows = []
    for name, theirs in itertools.islice(verdicts.items(), 1, None):
        ratio, low, high = paired(ours.flops, theirs.flops)
        note = f"wrong certificates: ours {ours.wrong.words}, {name} {theirs.wrong.words} of {ours.wrong.n} repetitions"
        rows.append(
            Row(
                what=f"{title}: weak FLOPs until the certificate, ours and {name}",
                ours=float(np.median(ours.flops)) / 1e12,
                other=float(np.median(theirs.flops)) / 1e12,
                unit="TFLOPs",
                ratio=ratio,
                low=low,
                high=high,
                note=f"{note}; ratio: geometric mean of pairs and its 95 % interval",
            )
        )
        regrets = [float(v.regrets.mean()) if len(v.regrets) else None for v in (ours, theirs)]
        rows.append(
            Row(
                what=f"{title}: regret, ours and {name}",
                ours=regrets[0],
                other=regrets[1],
                unit="times the parameters of the cheapest",
                note="mean over the repetitions that named one",
            )
        )
    return rows
