"""How often a search by the certificate's rule was wrong on recorded curves, for the report to say beside the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtsearch.analysis import asked, stats, style
from gtsearch.results import Results


@dataclass(frozen=True)
class Rule:
    """What a weak config must pass: `gate_least` of `gate_seeds`, then `report_least` of `report_seeds`."""

    gate_least: int
    gate_seeds: int
    report_least: int
    report_seeds: int


@dataclass(frozen=True)
class Replayed:
    """Searches replayed on the recorded curves of a task: in how many of them the certificate was wrong.

    poor: the config it named clears on fewer than 60 % of all recorded seeds. beaten: a strictly cheaper architecture
    holds a recorded config at the gate's rate. wrong: either.
    """

    task: str
    poor: int
    beaten: int
    wrong: int
    repetitions: int

    @property
    def words(self) -> str:
        poor, beaten, wrong = map(self._share, (self.poor, self.beaten, self.wrong))
        return (
            f"on {self.task} it named a config that clears on fewer than 60 % of the recorded seeds in {poor}, it "
            f"passed over a cheaper architecture that holds a config at the gate's rate in {beaten}, and it did one or "
            f"the other in {wrong}"
        )

    def _share(self, k: int) -> str:
        low, high = stats.wilson(k, self.repetitions)
        return f"{100 * k / self.repetitions:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


# The line MEASURED of `python -m benchmarks.lattice compare`: our ladder, no judge, by parameters.
MEASURED: Mapping[Rule, Sequence[Replayed]] = {
    Rule(gate_least=4, gate_seeds=5, report_least=7, report_seeds=10): (
        Replayed("a + b mod 113", poor=44, beaten=58, wrong=102, repetitions=200),
        Replayed("a * b mod 59", poor=7, beaten=4, wrong=11, repetitions=200),
    ),
}
"""By rule; a rule that is not here was not measured, and the report says nothing of it."""


def sentence(results: Results) -> str | None:
    """How often a search with the run's rule was wrong, and on what; None where that rule was not measured."""
    experiment = asked.experiment(results)
    weak, report = experiment.get("weak"), experiment.get("report") or {}
    if weak is None or weak.get("cost") != "params" or (weak.get("goal") or {}).get("val_accuracy") is None:
        return None
    gate: Mapping[str, Any] = weak.get("gate") or {}
    rule = Rule(*(part.get(name, 0) for part in (gate, report) for name in ("at_least", "seeds")))
    found = MEASURED.get(rule)
    if not found:
        return None
    words = (
        f"{style.k_of_n(rule.gate_least, rule.gate_seeds)} gate seeds, then "
        f"{style.k_of_n(rule.report_least, rule.report_seeds)} report seeds"
    )
    measured = "; ".join(one.words for one in found)
    return (
        "How often that is wrong was measured on recorded curves (python -m benchmarks.lattice compare), for a search "
        f"with this rule ({words}) and no target to judge, in {found[0].repetitions} repetitions: {measured}."
    )
