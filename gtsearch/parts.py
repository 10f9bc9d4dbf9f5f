"""The parts of an experiment, `weak`, `target`, `tradeoff` and the others: their defaults, and the rules within each.

`gtsearch.spec` puts them together and has the rules between them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from gtsearch import domains, reading
from gtsearch.catalog import LOSSES, OPTIMIZERS, SCORES, load, no_such
from gtsearch.domains import Domain
from gtsearch.errors import SpecError
from gtsearch.fields import (
    NEEDED_HYPERPARAMETERS,
    Accuracy,
    Count,
    Epochs,
    GoalSpec,
    Gpus,
    Handover,
    ModelSpace,
    Part,
    Repeats,
    SizesField,
    Start,
    TargetTune,
    WeakTune,
    Workers,
    out_of_time,
)
from gtsearch.measures import MEASURES
from gtsearch.methods.base import Method
from gtsearch.problems import Place, Problem, explain, show, unknown_keys
from gtsearch.sources import SourceField

Search = Literal["tpe", "random", "grid"]
Design = Literal["snapshots", "endpoints", "dose"]
MOST_LEVELS = 100
_MOST_VARIATIONS = 1000
BASE = "base"
"""What the experiment itself is called among its variations."""
VARIED = ("task", "weak", "target", "report", "tradeoff")
"""The parts that variations may change."""
VARIATION_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,47}"
"""What a variation may be called."""


def _more_than_given(low: str, demanded: int, high: str, given: int, place: Place = ()) -> Iterator[Problem]:
    if demanded > given:
        yield Problem(
            (*place, low), f"must be at most {high}, which is {given}, not {demanded}; lower it or raise {high}"
        )


def _unknown(optimizer: str, loss: str | None) -> Iterator[Problem]:
    if optimizer not in OPTIMIZERS:
        yield Problem(("optimizer",), no_such("optimizer", optimizer, OPTIMIZERS))
    if loss is not None and loss not in LOSSES:
        yield Problem(("loss",), no_such("loss", loss, LOSSES))


def _not_for_a_grid(search: str, space: Mapping[str, Domain]) -> Iterator[Problem]:
    ranges = [name for name, domain in space.items() if not isinstance(domain, domains.Choice)]
    if search == "grid" and ranges:
        rule = f"a grid needs lists or numbers, and these are ranges: {', '.join(ranges)}"
        yield Problem(("search",), f"{rule}; give tune.{ranges[0]} a list, or search by tpe or random")


def configs_of(search: str, space: Mapping[str, Domain], budget: int) -> int:
    """How many configs there will be: those of the budget, or the points of the grid."""
    lists = [domain.options for domain in space.values() if isinstance(domain, domains.Choice)]
    return math.prod(map(len, lists)) if search == "grid" else budget


def _grid_with_starts(search: str, starts: Any) -> Iterator[Problem]:
    if search == "grid" and starts:
        rule = "a grid runs its own points and no published settings"
        yield Problem(("start_from",), f"{rule}; put them into the lists of `tune` and take this out")


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


class About(Part):
    """What an experiment shows, and what it stands for.

    Attributes:
        shows: one sentence.
        paper: the figure or table of the paper it repeats, e.g. `Fig. 6a`.
        printed: what the paper prints for it.
        measure: what of a run `gtsearch reproduction` sets beside it, e.g. `time_gap`, `probe:ntk_change`.
    """

    shows: str
    paper: str | None = None
    printed: str | None = None
    measure: list[str] = Field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        for i, name in enumerate(self.measure):
            if name not in MEASURES and not name.startswith("probe:"):
                yield Problem(("measure", i), no_such("measure", name, [*MEASURES, "probe:NAME"]))


class WeakBudget(Part):
    """How many configs an architecture gets, and how long a member trains at most.

    Attributes:
        configs_per_architecture: configs each architecture gets.
        max_epochs: epochs a member trains at most.
    """

    configs_per_architecture: Repeats = 8
    max_epochs: Count = 1000


class Gate(Part):
    """A config passes when `at_least` of `seeds` gate seeds clear.

    Attributes:
        seeds: fresh seeds of a config that cleared.
        at_least: how many of them must clear.
    """

    seeds: Repeats = 5
    at_least: Repeats = 4

    def problems(self) -> Iterator[Problem]:
        yield from _more_than_given("at_least", self.at_least, "seeds", self.seeds)


class Judge(Part):
    """How the target judges a candidate: `configs` target configs on the embeddings of `weak_seeds` weak seeds.

    A candidate passes when a config reaches the target's goal on `at_least` of them.

    Attributes:
        by: `target`, or `none`, which believes the accuracy alone.
        configs: target configs that are tried on a candidate; each method gets as many more.
        weak_seeds: weak seeds each is tried on, each with its own embedding; at most `weak.gate.seeds`.
        at_least: on how many of them the target must reach its goal.
        candidates_per_architecture: configs of one architecture that are judged.
        later_snapshot: whether a candidate that fails is tried once more with an embedding from later in the same runs.
    """

    by: Literal["target", "none"] = "target"
    configs: Repeats = 3
    weak_seeds: Repeats = 3
    at_least: Repeats = 2
    candidates_per_architecture: Repeats = 2
    later_snapshot: bool = True

    def problems(self) -> Iterator[Problem]:
        if self.by == "target":
            yield from _more_than_given("at_least", self.at_least, "weak_seeds", self.weak_seeds)


class WeakSpec(Part):
    """The weak stage: which small models, what they must reach, and who judges them.

    Attributes:
        goal: the threshold that weak models must clear; `none`: all do.
        cost: what "cheapest" means: `params`, the size; `flops` or `seconds`, what one clearing model costs with
            restarts; `total_flops` or `total_seconds`, that and what the target then costs, as the judge measures it
            (needs `weak.judge.by: target`).
        model: the architectures to try: every combination of the lists.
        optimizer: what takes the steps.
        loss: what is trained on; None: the task's own.
        search: how configs are proposed; `grid`: every combination of the lists in `tune`, whatever the budget of
            configs says.
        tune: what is searched.
        start_from: settings that are tried first, inside the domains (not by `grid`).
        budget: how much is tried.
        gate: who goes on to be judged.
        handover: which embedding: `goal`: as the goal is held (without a goal, at the end); `best`: at the best
            validation accuracy of the whole run; or after so many epochs.
        judge: how the target judges those that pass the gate.
        order_by: in which order candidates of equal cost come before the judge, the best mean over their embeddings
            first; it changes when one is tried, never whether. None: the one that clears soonest, then those that
            differ most. Needs a judge.
    """

    goal: GoalSpec
    cost: Literal["params", "flops", "seconds", "total_flops", "total_seconds"] = "params"
    model: ModelSpace
    optimizer: str = "adamw"
    loss: str | None = None
    search: Search = "tpe"
    tune: WeakTune
    start_from: list[Start] = Field(default_factory=list)
    budget: WeakBudget = WeakBudget()
    gate: Gate = Gate()
    handover: Handover = "goal"
    judge: Judge = Judge()
    order_by: str | None = None

    @property
    def in_total(self) -> bool:
        """Whether the target's cost counts with the weak model's."""
        return self.cost.startswith("total_")

    @property
    def unit(self) -> Literal["flops", "seconds"]:
        """What training is paid in."""
        return "seconds" if self.cost.endswith("seconds") else "flops"

    def problems(self) -> Iterator[Problem]:
        if self.in_total and self.judge.by == "none":
            rule = f"`{self.cost}` counts the target's cost, which only the judge measures, and weak.judge.by is none"
            yield Problem(("cost",), f"{rule}; set weak.judge.by: target, or take `{self.unit}`")
        yield from _unknown(self.optimizer, self.loss)
        yield from out_of_time(self.goal, self.budget.max_epochs)
        yield from _not_for_a_grid(self.search, self.tune)
        yield from _grid_with_starts(self.search, self.start_from)
        yield from _bad_starts(self.start_from, self.tune, ("start_from",))
        if isinstance(self.handover, Epochs) and self.handover.epochs > self.budget.max_epochs:
            rule = f"must be at most budget.max_epochs, which is {self.budget.max_epochs}, not {self.handover.epochs}"
            yield Problem(("handover", "epochs"), f"{rule}; lower it")
        if self.order_by is not None and self.order_by not in SCORES:
            yield Problem(("order_by",), no_such("score", self.order_by, SCORES))
        elif self.order_by is not None and self.judge.by == "none":
            yield Problem(("order_by",), "is the order before a judge, and judge.by is none; take one of them out")
        if self.judge.by == "target":
            yield from _more_than_given(
                "weak_seeds", self.judge.weak_seeds, "weak.gate.seeds", self.gate.seeds, ("judge",)
            )
            # A candidate has an embedding of each gate seed that cleared, and of the search seed.
            yield from _more_than_given(
                "at_least", self.judge.at_least, "weak.gate.at_least + 1", self.gate.at_least + 1, ("judge",)
            )


class TargetBudget(Part):
    """How many configs each method gets, and how long a member trains at most.

    Attributes:
        configs: configs each method gets.
        max_epochs: epochs a member trains at most.
    """

    configs: Repeats = 8
    max_epochs: Count


class TargetGate(Part):
    """A method's best `configs` configs run again on `seeds` gate seeds before one is chosen.

    Attributes:
        configs: the best so many of a method run again.
        seeds: on so many fresh seeds.
    """

    configs: Repeats = 2
    seeds: Repeats = 2


def no_method(name: str) -> str | None:
    """Why there is no method called `name`, or none that can be used; None: there is."""
    try:
        searches = load("method", name).searches
    except SpecError as error:
        return str(error)
    try:
        for domain in searches.values():
            domains.parse(domain)
    except (AttributeError, TypeError, ValueError) as error:
        return f"the `searches` of `{name}` must be a mapping of names to domains: {error}"
    return None


def _filled_in(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if no_method(name) is not None or "name" in options:
        return {}
    try:
        method: Method = load("method", name)(name=name, **options)
    except ValidationError:  # `TargetSpec.problems` tells what is wrong
        return {}
    return method.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)


class TargetSpec(Part):
    """The target stage: the one large model, what it must reach, and the methods to compare.

    Attributes:
        goal: what the target must reach and hold; not `none`.
        model: the one architecture.
        optimizer: what takes the steps.
        loss: what is trained on; None: the task's own.
        methods: what is compared; `scratch` must be there, and `transfer` where there are weak models.
        options: options of methods, e.g. `{transfer: {freeze_a: true}}`.
        embedding_from: where the embedding comes from, if not straight from a weak model of the same task.
        cap_controls: whether controls that start from a weak model's embedding end at scratch's confirmed median, from
            where on they cannot pay; else they get the whole budget.
        search: how configs are proposed, as `weak.search`.
        tune: what is searched, for every method alike.
        start_from: each method's published settings, tried first, inside the domains (not by `grid`).
        budget: how much is tried.
        gate: how a method's config is chosen.
    """

    goal: GoalSpec
    model: SizesField
    optimizer: str = "adamw"
    loss: str | None = None
    methods: list[str] = Field(default_factory=lambda: ["transfer", "scratch"])
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    embedding_from: SourceField | None = None
    cap_controls: bool = True
    search: Search = "tpe"
    tune: TargetTune
    start_from: dict[str, list[Start]] = Field(default_factory=dict)
    budget: TargetBudget
    gate: TargetGate = TargetGate()

    @field_validator("options")
    @classmethod
    def _with_what_is_filled_in(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """As the methods hold them: a file's whole path, and the hash of its content, which a run stays tied to."""
        return {name: given | _filled_in(name, given) for name, given in options.items()}

    def method_space(self, method: str) -> dict[str, Domain]:
        """What is searched for `method`: `tune`, with the scale of A for the methods that have an A, else without."""
        searched = self.method(method)
        needed = {name: domain for name, domain in self.tune.items() if name in NEEDED_HYPERPARAMETERS}
        added = {name: self.tune.get(name, domains.parse(default)) for name, default in searched.searches.items()}
        return {**needed, **added}

    def method(self, name: str) -> Method:
        """The method called `name` with its options of this experiment."""
        found: Method = load("method", name)(name=name, **self.options.get(name, {}))
        return found

    def problems(self) -> Iterator[Problem]:
        yield from _unknown(self.optimizer, self.loss)
        yield from out_of_time(self.goal, self.budget.max_epochs)
        bad_methods = [*self._bad_methods(), *self._bad_options()]
        yield from bad_methods
        if not bad_methods:
            spaces = {method: self.method_space(method) for method in self.methods}
            yield from _not_for_a_grid(self.search, {n: d for space in spaces.values() for n, d in space.items()})
            yield from _grid_with_starts(self.search, self.start_from)
            yield from self._starts_out_of(spaces)
            yield from self._searched_by_none(spaces)

    def _searched_by_none(self, spaces: Mapping[str, Mapping[str, Domain]]) -> Iterator[Problem]:
        known = {name for space in spaces.values() for name in space}
        for name in self.tune:
            # The scale of A may stand in an experiment from which the methods with an A were taken out.
            if name not in known and name != "embedding_scale":
                rule = f"no method of {', '.join(self.methods)} has this hyperparameter"
                yield Problem(("tune", name), f"{rule}; add the one that has it, or take it out")

    def _bad_options(self) -> Iterator[Problem]:
        for name in self.options:
            if name not in self.methods:
                yield Problem(("options", name), no_such("method", name, self.methods))
        for name in self.methods:
            if no_method(name) is not None:
                continue
            options = self.options.get(name, {})
            method: type[Method] = load("method", name)
            unknown = list(unknown_keys(options, [key for key in method.model_fields if key != "name"]))
            yield from (Problem(("options", name, *problem.place), problem.text) for problem in unknown)
            if not unknown:
                try:
                    method(name=name, **options)
                except ValidationError as error:
                    found = explain(error)
                    yield from (Problem(("options", name, *problem.place), problem.text) for problem in found)

    def _starts_out_of(self, spaces: Mapping[str, Mapping[str, Domain]]) -> Iterator[Problem]:
        for method, starts in self.start_from.items():
            if method in spaces:
                yield from _bad_starts(starts, spaces[method], ("start_from", method))
            else:
                yield Problem(("start_from", method), no_such("method", method, spaces))

    def _bad_methods(self) -> Iterator[Problem]:
        for i, method in enumerate(self.methods):
            if (why := no_method(method)) is not None:
                yield Problem(("methods", i), why)
            elif method in self.methods[:i]:
                yield Problem(("methods", i), f"the method `{method}` stands twice; take one out")
        if "scratch" not in self.methods:
            yield Problem(("methods",), "`scratch` is missing: it is the reference; add it")


class ReportSpec(Part):
    """Fresh seeds for what is claimed: `at_least` of `seeds` pipelines, each with at most `weak_tries` weak seeds.

    Attributes:
        seeds: fresh pipelines: weak seeds until one clears, its embedding, a target seed (without `weak`: a target
            seed).
        at_least: how many must reach the target's goal for the claim to stand.
        weak_tries: weak seeds of one pipeline at most; every miss is charged.
    """

    seeds: Repeats = 10
    at_least: Repeats = 7
    weak_tries: Repeats = 5

    def problems(self) -> Iterator[Problem]:
        yield from _more_than_given("at_least", self.at_least, "seeds", self.seeds)


class EndpointsSpec(Part):
    """The weak models of the design `endpoints`.

    Attributes:
        architectures: so many of `weak.model`, from the cheapest to the dearest.
        weight_decays: each with so many, spread over the domain of `weak.tune.weight_decay`.
    """

    architectures: Repeats = 6
    weight_decays: Repeats = 3


class TradeoffSpec(Part):
    """Weak accuracy against what the target then costs.

    What studies of so many replicates see is measured by `benchmarks/coverage.py`.

    Attributes:
        designs: how weak accuracy is varied. `snapshots`: along the training of the chosen config; `endpoints`: over
            architectures and weight decays, each at the end of its training; `dose`: by noise that is mixed into the
            embedding a weak run ends with (at the highest level, or its last epoch), which keeps its history.
        weak_accuracy: the levels of `snapshots`, rising: at the first crossing of each an embedding is taken.
        refine: further levels are tried around the jump until it is known within this; None: none.
        seeds: replicates, each with its own split, weak seed and targets from scratch. Fewer than 6 show nothing of a
            scratch that always gets there; 20 see most of what there is.
        target_seeds: targets from each embedding. One: each replicate has its own seed; several: the same for all
            replicates.
        retune: so many configs of transfer are tried at each level, on seeds that nothing is claimed of; `0`: that of
            the search serves all.
        endpoints: the weak models of `endpoints`.
        doses: the shares of noise of `dose`, rising from 0, the embedding itself, to 1.
    """

    designs: list[Design] = Field(default=["snapshots"])
    weak_accuracy: list[Accuracy]
    refine: Accuracy | None = 0.05
    seeds: Repeats = 10
    target_seeds: Repeats = 1
    retune: Annotated[int, Field(ge=0, le=10**4)] = 0
    endpoints: EndpointsSpec = EndpointsSpec()
    doses: list[Annotated[float, Field(ge=0, le=1)]] = Field(default=[0.0, 0.2, 0.4, 0.6, 0.8])

    @property
    def kept_levels(self) -> tuple[float, ...]:
        """The accuracies at which a weak model's embedding is kept: the levels, and those that refining may ask for."""
        levels = {round(level, 6) for level in self.weak_accuracy}
        if self.refine is not None:
            low, high = self.weak_accuracy[0], self.weak_accuracy[-1]
            steps = min(math.ceil(5 * (high - low) / self.refine), MOST_LEVELS)
            levels |= {round(low + (high - low) * i / steps, 6) for i in range(1, steps)}
        return tuple(sorted(levels))

    @property
    def members(self) -> int:
        """How many runs the study has before it is refined: weak ones, scratch, and a target each start and seed."""
        starts = self.seeds * (len(self.weak_accuracy) + 1) if "snapshots" in self.designs else 0
        starts += self.seeds * len(self.doses) if "dose" in self.designs else 0
        ends = self.endpoints.architectures * self.endpoints.weight_decays if "endpoints" in self.designs else 0
        retuned = self.retune * len(self.weak_accuracy)
        return (starts + ends + self.seeds) * self.target_seeds + self.seeds + ends + retuned

    def problems(self) -> Iterator[Problem]:
        if not self.weak_accuracy:
            yield Problem(("weak_accuracy",), "the list is empty; give levels, or leave out `tradeoff`")
        if not self.designs:
            yield Problem(("designs",), "the list is empty; name designs, or leave out `tradeoff`")
        for i, design in enumerate(self.designs):
            if design in self.designs[:i]:
                yield Problem(("designs", i), f"the design `{design}` stands twice; take one out")
        for name, values in (("weak_accuracy", self.weak_accuracy), ("doses", self.doses)):
            kind = "levels" if name == "weak_accuracy" else "doses"
            if len(values) > MOST_LEVELS:
                yield Problem((name,), f"holds {len(values)} {kind}, and {MOST_LEVELS} are the most; take some out")
            for i, (before, after) in enumerate(pairwise(values), start=1):
                if after <= before:
                    yield Problem((name, i), f"{kind} must rise, not go from {before:g} to {after:g}; sort them")
        if "dose" in self.designs and not self.doses:
            yield Problem(("doses",), "the list is empty; give doses, or take `dose` out of the designs")


class ResourcesSpec(Part):
    """What the run may use.

    Attributes:
        workers: members that train at once; `auto`: one a core, or one a GPU.
        cpus_per_trial: cores a worker is given.
        gpus_per_trial: GPUs a worker is given; `auto`: one, shared, where there is one.
        hang_seconds: a worker that reports nothing for so long, beside what an epoch may take, is ended; its members
            run once more, each alone, then count as failed.
    """

    workers: Workers = "auto"
    cpus_per_trial: Annotated[float, Field(gt=0, le=10**6)] = 1.0
    gpus_per_trial: Gpus = "auto"
    hang_seconds: Annotated[float, Field(gt=0, le=10**6)] = 45.0


class AblateSpec(Part):
    """Named variations of the experiment, run beside it in one run folder on the same seeds.

    Attributes:
        design: `one_at_a_time` changes one entry of `vary` at a time; `crossed` runs every combination of them.
        vary: the named changes: paths such as `target.model.width` inside `task`, `weak`, `target`, `report` or
            `tradeoff`. Where a value is a list, each of its entries is a variation of its own; lists of one name go in
            step.
    """

    design: Literal["one_at_a_time", "crossed"] = "one_at_a_time"
    vary: dict[str, dict[str, Any]]

    def problems(self) -> Iterator[Problem]:
        if not self.vary:
            yield Problem(("vary",), "is empty; name a variation, or leave out `ablate`")
        for name, changes in self.vary.items():
            if not re.fullmatch(VARIATION_NAME, name) or name == BASE:
                rule = "a name has at most 48 letters, digits, spaces, `.`, `_`, `+` or `-`, and is not `base`"
                yield Problem(("vary", name), f"{rule}; rename it")
            if not changes:
                yield Problem(("vary", name), "changes nothing; give it a YAML path and a value")
            for path in changes:
                if path.split(".")[0] not in VARIED:
                    rule = f"varies one of {', '.join(VARIED)}, not {show(path)}"
                    yield Problem(("vary", name, path), f"{rule}; the seed stays, so that variations are paired")
            lengths = {len(value) for value in changes.values() if isinstance(value, list)}
            if len(lengths) > 1 or 0 in lengths:
                rule = f"its lists go in step and must be equally long, not {', '.join(map(str, sorted(lengths)))}"
                yield Problem(("vary", name), f"{rule}; give each as many values")

        if self.count > _MOST_VARIATIONS:
            rule = f"these make {self.count:,} variations, and {_MOST_VARIATIONS:,} are the most"
            yield Problem(("vary",), f"{rule}; vary less{' or one_at_a_time' if self.design == 'crossed' else ''}")
        elif not any(len({len(v) for v in c.values() if isinstance(v, list)} - {0}) > 1 for c in self.vary.values()):
            names = [name for name, _ in self._every()]
            for name in dict.fromkeys(name for name in names if names.count(name) > 1):
                yield Problem(("vary",), f"two variations are called `{name}`; rename one")

    @property
    def count(self) -> int:
        """How many variations there are; none is made for it."""
        lists = (
            [len(value) for value in changes.values() if isinstance(value, list)] for changes in self.vary.values()
        )
        levels = [max(lengths, default=1) for lengths in lists]
        return sum(levels) if self.design == "one_at_a_time" else math.prod(levels)

    def variations(self) -> dict[str, dict[str, Any]]:
        """Name -> {YAML path: value} of every variation, in order."""
        return dict(self._every())

    def _every(self) -> list[tuple[str, dict[str, Any]]]:
        levels = [_levels(name, changes) for name, changes in self.vary.items()]
        if self.design == "one_at_a_time":
            return [variation for level in levels for variation in level]
        return [
            (" ".join(name for name, _ in combination), {p: v for _, own in combination for p, v in own.items()})
            for combination in itertools.product(*levels)
        ]


def _levels(name: str, changes: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    lists = [value for value in changes.values() if isinstance(value, list)]
    if not lists:
        return [(name, dict(changes))]
    return [
        (
            f"{name} {reading.in_one_line(lists[0][i])}",
            {path: value[i] if isinstance(value, list) else value for path, value in changes.items()},
        )
        for i in range(len(lists[0]))
    ]
