"""An experiment: YAML in, a frozen `Spec` out. Every default and every rule between the parts is here.

Entry: `load_spec` for a file, `parse_spec` for a mapping. Whatever is wrong is one SpecError of one line that says
where (the YAML path), the rule, the value and what to do. Trains nothing and reads nothing but the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from gtsearch import domains, reading
from gtsearch.catalog import METHODS, OPTIMIZERS, load, no_such
from gtsearch.domains import Domain
from gtsearch.errors import SpecError
from gtsearch.fields import (
    NEEDED_HYPERPARAMETERS,
    Accuracy,
    Count,
    Epochs,
    Gpus,
    Handover,
    ModelSpace,
    Part,
    SizesField,
    Start,
    TargetTune,
    TaskField,
    WeakTune,
    Workers,
)
from gtsearch.methods.base import Method
from gtsearch.problems import Place, Problem, explain, one_line, show

Search = Literal["tpe", "random", "grid"]


def _more_than_given(low: str, demanded: int, high: str, given: int, place: Place = ()) -> Iterator[Problem]:
    if demanded > given:
        yield Problem(
            (*place, low), f"must be at most {high}, which is {given}, not {demanded}; lower it or raise {high}"
        )


def _unknown_optimizer(name: str) -> Iterator[Problem]:
    if name not in OPTIMIZERS:
        yield Problem(("optimizer",), no_such("optimizer", name, OPTIMIZERS))


def _out_of_time(goal: GoalSpec, max_epochs: int) -> Iterator[Problem]:
    """Why no run of `max_epochs` can hold the goal."""
    if goal.evaluate_every > max_epochs:
        rule = f"must be at most budget.max_epochs, which is {max_epochs}, not {goal.evaluate_every}"
        yield Problem(("goal", "evaluate_every"), f"{rule}; evaluate more often")
    # Epoch 0 and every `evaluate_every`-th count for the goal.
    elif goal.hold > 1 + max_epochs // goal.evaluate_every:
        rule = f"{goal.hold} evaluations, one every {goal.evaluate_every} epochs, do not fit in {max_epochs} epochs"
        yield Problem(("goal", "hold"), f"{rule}; lower it or raise budget.max_epochs")


def _not_for_a_grid(search: str, space: Mapping[str, Domain]) -> Iterator[Problem]:
    ranges = [name for name, domain in space.items() if not isinstance(domain, domains.Choice)]
    if search == "grid" and ranges:
        rule = f"a grid needs lists or numbers, and these are ranges: {', '.join(ranges)}"
        yield Problem(("search",), f"{rule}; give tune.{ranges[0]} a list, or search by tpe or random")


def _bad_starts(starts: Sequence[Start], space: Mapping[str, Domain], place: Place) -> Iterator[Problem]:
    """What in published settings lies outside of what is searched."""
    for i, start in enumerate(starts):
        if not start:
            yield Problem((*place, i), "is empty; give it hyperparameters or take it out")
        for name, value in start.items():
            if name not in space:
                yield Problem((*place, i, name), no_such("tuned hyperparameter", name, space))
            elif not space[name].contains(value):
                domain = reading.in_one_line(space[name].plain())
                yield Problem((*place, i, name), f"must lie in the domain {domain}, not at {value:g}; widen the domain")


class GoalSpec(Part):
    """The validation accuracy to reach and hold over `hold` evaluations in a row, one every `evaluate_every` epochs."""

    val_accuracy: Accuracy
    hold: Count = 2
    evaluate_every: Count = 10


class WeakBudget(Part):
    """How many configs an architecture gets, and how long a member trains at most."""

    configs_per_architecture: Count = 8
    max_epochs: Count = 1000


class Gate(Part):
    """A config passes when `at_least` of `seeds` gate seeds clear."""

    seeds: Count = 5
    at_least: Count = 4

    def problems(self) -> Iterator[Problem]:
        yield from _more_than_given("at_least", self.at_least, "seeds", self.seeds)


class Judge(Part):
    """How the target judges a candidate: `configs` target configs on the embeddings of `weak_seeds` weak seeds.

    A candidate passes when a config reaches the target's goal on `at_least` of them. `later_snapshot`: whether a
    candidate that fails is tried once more with an embedding from later in the same runs.
    """

    by: Literal["target", "none"] = "target"
    configs: Count = 3
    weak_seeds: Count = 3
    at_least: Count = 2
    candidates_per_architecture: Count = 2
    later_snapshot: bool = True

    def problems(self) -> Iterator[Problem]:
        if self.by == "target":
            yield from _more_than_given("at_least", self.at_least, "weak_seeds", self.weak_seeds)


class WeakSpec(Part):
    """The weak stage: which small models, what they must reach, and who judges them."""

    goal: GoalSpec
    cost: Literal["params", "flops", "seconds"] = "params"
    model: ModelSpace
    optimizer: str = "adamw"
    search: Search = "tpe"
    tune: WeakTune
    start_from: list[Start] = Field(default_factory=list)
    budget: WeakBudget = WeakBudget()
    gate: Gate = Gate()
    handover: Handover = "goal"
    judge: Judge = Judge()

    def problems(self) -> Iterator[Problem]:
        yield from _unknown_optimizer(self.optimizer)
        yield from _out_of_time(self.goal, self.budget.max_epochs)
        yield from _not_for_a_grid(self.search, self.tune)
        yield from _bad_starts(self.start_from, self.tune, ("start_from",))
        if isinstance(self.handover, Epochs) and self.handover.epochs > self.budget.max_epochs:
            rule = f"must be at most budget.max_epochs, which is {self.budget.max_epochs}, not {self.handover.epochs}"
            yield Problem(("handover", "epochs"), f"{rule}; lower it")
        if self.judge.by == "target":
            yield from _more_than_given(
                "weak_seeds", self.judge.weak_seeds, "weak.gate.seeds", self.gate.seeds, ("judge",)
            )
            # A candidate has an embedding of each gate seed that cleared, and of the search seed.
            yield from _more_than_given(
                "at_least", self.judge.at_least, "weak.gate.at_least + 1", self.gate.at_least + 1, ("judge",)
            )


class TargetBudget(Part):
    """How many configs each method gets, and how long a member trains at most."""

    configs: Count = 8
    max_epochs: Count


class TargetGate(Part):
    """A method's best `configs` configs run again on `seeds` gate seeds before one is chosen."""

    configs: Count = 2
    seeds: Count = 2


class TargetSpec(Part):
    """The target stage: the one large model, what it must reach, and the methods to compare."""

    goal: GoalSpec
    model: SizesField
    optimizer: str = "adamw"
    methods: list[str] = Field(default_factory=lambda: ["transfer", "scratch"])
    search: Search = "tpe"
    tune: TargetTune
    start_from: dict[str, list[Start]] = Field(default_factory=dict)
    budget: TargetBudget
    gate: TargetGate = TargetGate()

    def method_space(self, method: str) -> dict[str, Domain]:
        """What is searched for `method`: `tune`, with the scale of A for the methods that have an A, else without."""
        searched: type[Method] = load("method", method)
        needed = {name: domain for name, domain in self.tune.items() if name in NEEDED_HYPERPARAMETERS}
        added = {name: self.tune.get(name, domains.parse(default)) for name, default in searched.searches.items()}
        return {**needed, **added}

    def problems(self) -> Iterator[Problem]:
        yield from _unknown_optimizer(self.optimizer)
        yield from _out_of_time(self.goal, self.budget.max_epochs)
        bad_methods = list(self._bad_methods())
        yield from bad_methods
        if not bad_methods:
            spaces = {method: self.method_space(method) for method in self.methods}
            yield from _not_for_a_grid(self.search, {**self.tune, **spaces["transfer"]})
            yield from self._starts_out_of(spaces)

    def _starts_out_of(self, spaces: Mapping[str, Mapping[str, Domain]]) -> Iterator[Problem]:
        for method, starts in self.start_from.items():
            if method in spaces:
                yield from _bad_starts(starts, spaces[method], ("start_from", method))
            else:
                yield Problem(("start_from", method), no_such("method", method, spaces))

    def _bad_methods(self) -> Iterator[Problem]:
        for i, method in enumerate(self.methods):
            if method not in METHODS:
                yield Problem(("methods", i), no_such("method", method, METHODS))
            elif method in self.methods[:i]:
                yield Problem(("methods", i), f"the method `{method}` stands twice; take one out")
        for method, why in (("transfer", "it is what is searched for"), ("scratch", "it is the reference")):
            if method not in self.methods:
                yield Problem(("methods",), f"`{method}` is missing: {why}; add it")


class ReportSpec(Part):
    """Fresh seeds for what is claimed: `at_least` of `seeds` pipelines, each with at most `weak_tries` weak seeds."""

    seeds: Count = 10
    at_least: Count = 7
    weak_tries: Count = 5

    def problems(self) -> Iterator[Problem]:
        yield from _more_than_given("at_least", self.at_least, "seeds", self.seeds)


class TradeoffSpec(Part):
    """The weak accuracies at which an embedding is taken, rising, and how many seeds each gets."""

    weak_accuracy: list[Accuracy]
    seeds: Count = 5

    def problems(self) -> Iterator[Problem]:
        if not self.weak_accuracy:
            yield Problem(("weak_accuracy",), "the list is empty; give levels, or leave out `tradeoff`")
        for i, (before, after) in enumerate(pairwise(self.weak_accuracy), start=1):
            if after <= before:
                yield Problem(("weak_accuracy", i), f"levels must rise, not go from {before:g} to {after:g}; sort them")


class ResourcesSpec(Part):
    """What the run may use. `auto`: all cores; one shared GPU where there is one."""

    workers: Workers = "auto"
    cpus_per_trial: Annotated[float, Field(gt=0, le=10**6)] = 1.0
    gpus_per_trial: Gpus = "auto"


class Spec(Part):
    """One experiment, checked. Equal files give equal specs, whatever they leave to the defaults."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    task: TaskField
    weak: WeakSpec
    target: TargetSpec
    report: ReportSpec = ReportSpec()
    tradeoff: TradeoffSpec | None = None
    resources: ResourcesSpec = ResourcesSpec()

    def method_space(self, method: str) -> dict[str, Domain]:
        """What is searched for `method`, hyperparameter by hyperparameter.

        Raises:
            SpecError: there is no such method.
        """
        return self.target.method_space(method)

    def to_yaml(self) -> str:
        """The experiment as YAML with every default written out; `load_spec` reads it back to an equal Spec."""
        return reading.dump(self.model_dump())

    def problems(self) -> Iterator[Problem]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            rule = "it names the run folder: at most 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit"
            yield Problem(("name",), f"{rule}; not {show(self.name)}")
        levels = self.tradeoff.weak_accuracy if self.tradeoff else []
        asked: dict[Place, float] = {
            ("weak", "goal", "val_accuracy"): self.weak.goal.val_accuracy,
            ("target", "goal", "val_accuracy"): self.target.goal.val_accuracy,
            **{("tradeoff", "weak_accuracy", i): level for i, level in enumerate(levels)},
        }
        for place, accuracy in asked.items():
            if accuracy <= self.task.chance:
                rule = f"must be above chance, which is {self.task.chance:.3g} for {self.task.title}"
                yield Problem(place, f"{rule}, not {accuracy:g}; raise it")


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The experiment in the YAML file at `path`, or of that name among those that come along (`modadd`, `smoke`).

    Args:
        overrides: settings such as `weak.goal.val_accuracy=0.5`, written over the file's before it is checked.

    Raises:
        SpecError: the file cannot be read, or something in it or in an override is wrong.
    """
    content, sources = reading.read_experiment(path)
    reading.override(content, sources, overrides)
    return _parse(content, sources)


def parse_spec(mapping: Mapping[str, Any]) -> Spec:
    """The experiment in a mapping of the YAML's shape.

    Raises:
        SpecError: something in it is wrong.
    """
    return _parse(mapping, {})


def _parse(mapping: Any, sources: reading.Sources) -> Spec:
    try:
        return Spec.model_validate(reading.plain(mapping))
    except ValidationError as error:
        raise _error(explain(error), sources) from None


def _error(problems: list[Problem], sources: reading.Sources) -> SpecError:
    """The first problem, where it was written, and how many more there are."""
    first = problems[0]
    source = reading.source_of(first.path, sources)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return SpecError(one_line(f"{first.text}{f' ({source})' if source else ''}{more}"), one_line(first.path))
