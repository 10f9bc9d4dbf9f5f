"""How often early stopping would have killed a run that clears, on recorded curves.

A rule ends a run whose accuracy (on the validation or the training set) lies below a threshold at an epoch. Thresholds
are learnt: the least accuracy that a run that clears had there, so that none of those it was learnt on is killed. What
a rule costs is measured on runs it was not learnt on: configs are split in two halves, each judged by the threshold of
the other. False kills are counted among all runs that clear; the saving among the epochs of the runs on base seeds, as
a search seed takes them: every config ran on those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.lattice.world import Lattice, Run
from gtsearch.analysis import stats

MOST_FALSE_KILLS = 0.01
"""The share of false kills below which the upper end of a rule's interval must lie for the rule to be worth naming."""

EPOCHS = (50, 100, 150, 200, 300, 400, 500)
METRICS = ("val", "train")


@dataclass(frozen=True)
class Rule:
    """Ends a run whose accuracy lies below `least` at `epoch`. metric: `val` or `train`. least: in [0, 1]."""

    metric: str
    epoch: int
    least: float

    @property
    def words(self) -> str:
        kind = {"val": "validation", "train": "training"}[self.metric]
        return f"{kind} accuracy below {self.least:.3f} at epoch {self.epoch}"

    def kills(self, run: Run, evaluate_every: int) -> bool:
        """Whether the rule ends the run, which lasted longer. An accuracy that is not finite ends it."""
        return run.epochs > self.epoch and not self.value(run, evaluate_every) >= self.least

    def value(self, run: Run, evaluate_every: int) -> float:
        """The accuracy that the rule looks at, of a run that lasted longer."""
        curve = run.val if self.metric == "val" else run.train
        return float(curve[self.epoch // evaluate_every])


@dataclass(frozen=True)
class Price:
    """What a rule costs and saves.

    Attributes:
        rule: with the threshold learnt on all runs.
        cleared, killed: runs that clear, and how many of them it killed by the threshold of the other half.
        saved: the share of the epochs on base seeds that would not have been trained, in [0, 1].
    """

    rule: Rule
    cleared: int
    killed: int
    saved: float

    @property
    def interval(self) -> stats.Interval:
        """Of the share of false kills, at 95 % (Clopper and Pearson), as if all runs were independent."""
        return stats.clopper_pearson(self.killed, self.cleared)

    @property
    def is_safe(self) -> bool:
        return self.cleared > 0 and self.interval[1] < MOST_FALSE_KILLS


def prices(lattice: Lattice) -> list[Price]:
    """Every rule, learnt on one half of the configs and judged on the other, and the other way round."""
    every, longest = lattice.weak.goal.evaluate_every, lattice.weak.budget.max_epochs
    asked = [epoch for epoch in EPOCHS if epoch < longest and epoch % every == 0]
    return [_price(lattice, Rule(metric, epoch, 0.0)) for metric in METRICS for epoch in asked]


def best(lattice: Lattice) -> Price | None:
    """The safe rule that saves most; None: none is safe."""
    return max((price for price in prices(lattice) if price.is_safe), key=lambda price: price.saved, default=None)


def _price(lattice: Lattice, rule: Rule) -> Price:
    every = lattice.weak.goal.evaluate_every
    halves = [{cell: run for cell, run in lattice.runs.items() if cell[1] % 2 == half} for half in (0, 1)]
    killed = saved = spent = 0
    for half, other in zip(halves, reversed(halves), strict=True):
        learnt = _learnt(other.values(), rule, every)
        killed += sum(run.cleared and learnt.kills(run, every) for run in half.values())
        base = [run for (_, _, seed), run in half.items() if seed < lattice.base]
        spent += sum(run.epochs for run in base)
        saved += sum(run.epochs - rule.epoch for run in base if learnt.kills(run, every))
    return Price(
        rule=_learnt(lattice.runs.values(), rule, every),
        cleared=sum(run.cleared for run in lattice.runs.values()),
        killed=killed,
        saved=saved / max(1, spent),
    )


def _learnt(runs: Iterable[Run], rule: Rule, evaluate_every: int) -> Rule:
    """The rule with the threshold that kills none of these runs that clears; without one it kills nothing."""
    lasted = [run for run in runs if run.cleared and run.epochs > rule.epoch]
    return replace(rule, least=min((rule.value(run, evaluate_every) for run in lasted), default=0.0))


def stopped(lattice: Lattice, rule: Rule) -> Lattice:
    """The lattice as it would have been recorded under the rule."""
    every = lattice.weak.goal.evaluate_every
    return lattice.with_runs({cell: _ended(run, rule, every) for cell, run in lattice.runs.items()})


def _ended(run: Run, rule: Rule, evaluate_every: int) -> Run:
    if not rule.kills(run, evaluate_every):
        return run
    last = rule.epoch // evaluate_every + 1
    return Run("exhausted", rule.epoch, None, run.val[:last], run.train[:last])
