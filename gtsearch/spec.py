"""An experiment: YAML in, a frozen `Spec` out. Every rule between its parts is here; `gtsearch.parts` has the parts.

Entry: `load_spec` for a file, `parse_spec` for a mapping. Whatever is wrong is one SpecError of one line that says
where (the YAML path), the rule, the value and what to do. Trains nothing and reads nothing but the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from gtsearch import plugins, reading, tryout
from gtsearch.domains import Domain
from gtsearch.errors import GtsearchError, SpecError
from gtsearch.fields import ModuleField, Part, ProbeField, TaskField, TrackerField
from gtsearch.losses import misfit
from gtsearch.models.base import Sizes, misfits
from gtsearch.parts import (
    BASE,
    MOST_LEVELS,
    AblateSpec,
    About,
    ReportSpec,
    ResourcesSpec,
    TargetSpec,
    TradeoffSpec,
    WeakSpec,
    configs_of,
    no_method,
)
from gtsearch.probes.base import Probe
from gtsearch.problems import Place, Problem, explain, one_line, refuse, show
from gtsearch.sources import CrossTask, Growth
from gtsearch.tasks.base import Task

_MOST_LISTED = 10_000  # entries of any list
_MOST_LINKS = 20
_MOST_MEMBERS = 100_000  # of each part of a search: ten times what one was seen to bear (benchmarks/load.py)
_MOST_VARIED_ARCHITECTURES = 100_000  # of all variations
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an experiment may be called."""


class Spec(Part):
    """One experiment, checked. Equal files give equal specs, whatever they leave to the defaults.

    Attributes:
        name: names the run folder: letters, digits, `.`, `_`, `-`.
        about: what the experiment shows, for `gtsearch spaces` and `gtsearch reproduction`.
        seed: of the search and of all seeds derived from it.
        task: what is learnt; `name` and its parameters.
        weak: the weak stage; leave it out to compare methods alone.
        target: the target and the methods to compare.
        report: fresh seeds for what is claimed.
        tradeoff: weak accuracy against the target's cost; needs `weak`.
        probes: what is measured of report members while they train; a name, or a mapping with options.
        ablate: variations of the experiment, beside it.
        resources: what the run may use.
        trackers: who is told of every training run; a name, or a mapping with options.
        modules: filled in: the modules of your own that are named, so that a run stays tied to them.
    """

    name: str
    about: About | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    task: TaskField
    weak: WeakSpec | None = None
    target: TargetSpec
    report: ReportSpec = ReportSpec()
    tradeoff: TradeoffSpec | None = None
    probes: list[ProbeField] = Field(default_factory=list)
    ablate: AblateSpec | None = None
    resources: ResourcesSpec = ResourcesSpec()
    trackers: list[TrackerField] = Field(default_factory=list)
    modules: dict[str, ModuleField] = Field(default_factory=dict)

    @property
    def weak_task(self) -> Task:
        """What the weak models are trained on: the task itself, or another one whose embedding is carried over."""
        source = self.target.embedding_from
        return source.task if isinstance(source, CrossTask) else self.task

    @property
    def growth(self) -> Growth | None:
        """The chain of models between the weak one and the target, if there is one."""
        source = self.target.embedding_from
        return source if isinstance(source, Growth) else None

    @property
    def weak_threshold(self) -> float | None:
        """The validation accuracy a weak model must reach; None where there is no screen, or no weak stage."""
        return self.weak.goal.threshold(self.weak_task) if self.weak else None

    @property
    def target_threshold(self) -> float:
        """The validation accuracy the target must reach."""
        threshold = self.target.goal.threshold(self.task)
        assert threshold is not None, "checked below"
        return threshold

    @property
    def weak_loss(self) -> str:
        return (self.weak.loss if self.weak else None) or self.weak_task.default_loss

    @property
    def target_loss(self) -> str:
        return self.target.loss or self.task.default_loss

    @property
    def weak_probes(self) -> list[Probe]:
        """The probes that can be read off every weak model."""
        return [p for p in self.probes if not any(any(p.problems(self.weak_task, s)) for s in self._weak_sizes)]

    @property
    def judged(self) -> bool:
        """Whether the target judges weak models."""
        return self.weak is not None and self.weak.judge.by == "target"

    def method_space(self, method: str) -> dict[str, Domain]:
        """What is searched for `method`, hyperparameter by hyperparameter.

        Raises:
            SpecError: there is no such method.
        """
        return self.target.method_space(method)

    def variations(self) -> dict[str, Spec]:
        """The experiments of this one file by the name of the variation: `base`, then those of `ablate`.

        Raises:
            SpecError: a variation is not a valid experiment; the message names it.
        """
        base = self.model_copy(update={"ablate": None})
        every = {BASE: base}
        for name, changes in (self.ablate.variations() if self.ablate else {}).items():
            content = base.model_dump()
            try:
                reading.override_values(content, changes)
                every[name] = Spec.model_validate(reading.bring_up_to_date(reading.plain(content)))
            except (ValidationError, SpecError) as error:
                first = str(error)
                if isinstance(error, ValidationError):
                    problem = explain(error)[0]
                    first = f"{problem.path}: {problem.text}"
                raise SpecError(f"the variation `{name}` is no valid experiment: {first}", "ablate") from None
        return every

    def to_yaml(self) -> str:
        """The experiment as YAML with every default written out; `load_spec` reads it back to an equal Spec."""
        return reading.dump(self.model_dump())

    def problems(self) -> Iterator[Problem]:
        if not re.fullmatch(NAME, self.name):
            rule = "it names the run folder: at most 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit"
            yield Problem(("name",), f"{rule}; not {show(self.name)}")
        yield from self._accuracies_at_chance()
        for stage, loss, task in (("weak", self.weak_loss, self.weak_task), ("target", self.target_loss, self.task)):
            if (self.weak or stage == "target") and (wrong := misfit(loss, task)):
                yield Problem((stage, "loss"), f"`{loss}` {wrong}")
        yield from self._too_much()
        shapes = list(self._sizes_that_do_not_fit()) or list(self._code_that_does_not_work())
        yield from shapes
        if not shapes:
            yield from self._methods_that_miss_something()
            for i, probe in enumerate(self.probes):
                # Only `fourier` names its numbers by its options.
                if probe.name != "fourier" and probe.name in [other.name for other in self.probes[:i]]:
                    yield Problem(("probes", i), f"the probe `{probe.name}` stands twice; take one out")
                yield from (Problem(("probes", i), text) for text in probe.problems(self.task, self.target.model))
        if self.weak is None:
            yield from self._parts_of_a_weak_stage()
        for i, tracker in enumerate(self.trackers):
            if tracker in self.trackers[:i]:
                yield Problem(("trackers", i), f"the tracker `{tracker.name}` stands twice; take one out")

    def _too_much(self) -> Iterator[Problem]:
        """Parts of a search that no driver could hold: counted from the numbers, before anything is made of them."""
        weak, target = self.weak, self.target
        asked: list[tuple[Place, str, int]] = []
        if weak is not None:
            sizes, configs = (
                len(self._weak_sizes),
                configs_of(weak.search, weak.tune, weak.budget.configs_per_architecture),
            )
            asked.append((("weak",), f"{sizes:,} architectures x {configs:,} configs", sizes * configs))
            seeds = weak.gate.seeds
            asked.append((("weak", "gate"), f"{configs:,} configs x {seeds:,} seeds", configs * seeds))
        if all(no_method(name) is None for name in target.methods):
            methods = len(target.methods)
            spaces = [target.method_space(name) for name in target.methods]
            configs = max(configs_of(target.search, space, target.budget.configs) for space in spaces)
            asked.append((("target",), f"{methods} methods x {configs:,} configs", methods * configs))
        configs, seeds = target.gate.configs, target.gate.seeds
        asked.append((("target", "gate"), f"{configs:,} configs x {seeds:,} seeds", configs * seeds))
        if self.tradeoff is not None:
            what = "replicates x levels, doses and endpoints x target seeds"
            asked.append((("tradeoff",), what, self.tradeoff.members))
        for place, what, count in asked:
            if count > _MOST_MEMBERS:
                rule = f"{what} make {count:,} runs, and {_MOST_MEMBERS:,} are the most of one part of a search"
                yield Problem(place, f"{rule}; lower one of them")
        if isinstance(target.embedding_from, Growth) and len(target.embedding_from.chain) > _MOST_LINKS:
            rule = f"has {len(target.embedding_from.chain)} links, and {_MOST_LINKS} are the most"
            yield Problem(("target", "embedding_from", "chain"), f"{rule}; take some out")
        if len(self.probes) > MOST_LEVELS:
            rule = f"are {len(self.probes)}, and {MOST_LEVELS} are the most"
            yield Problem(("probes",), f"{rule}; take some out")
        varied = (1 + self.ablate.count if self.ablate else 1) * len(self._weak_sizes)
        if self.ablate and varied > _MOST_VARIED_ARCHITECTURES:
            rule = f"{self.ablate.count:,} variations of {len(self._weak_sizes):,} weak architectures each are too many"
            most = f"{_MOST_VARIED_ARCHITECTURES:,} architectures are the most of all variations"
            yield Problem(("ablate", "vary"), f"{rule}: {most}; vary less, or give weak.model fewer sizes")

    def _accuracies_at_chance(self) -> Iterator[Problem]:
        levels = self.tradeoff.weak_accuracy if self.tradeoff else []
        weak: dict[Place, Any] = {("weak", "goal", "val_accuracy"): self.weak.goal.val_accuracy} if self.weak else {}
        weak |= {("tradeoff", "weak_accuracy", i): level for i, level in enumerate(levels)}
        target = self.target.goal.val_accuracy
        if target is None:
            yield Problem(("target", "goal"), "is missing: what the target must reach; give a val_accuracy")
        asked: list[tuple[Place, Any, Task]] = [(place, value, self.weak_task) for place, value in weak.items()]
        asked.append((("target", "goal", "val_accuracy"), target, self.task))
        for place, accuracy, task in asked:
            if isinstance(accuracy, float) and accuracy <= task.chance:
                rule = f"must be above chance, which is {task.chance:.3g} for {task.title}"
                yield Problem(place, f"{rule}, not {accuracy:g}; raise it")

    @property
    def _weak_sizes(self) -> tuple[Sizes, ...]:
        return self.weak.model.architectures if self.weak else ()

    def _sizes_that_do_not_fit(self) -> Iterator[Problem]:
        seen = set()
        for sizes in self._weak_sizes:
            for key, text in _misfits(sizes, self.weak_task):
                if (key, text) not in seen:
                    seen.add((key, text))
                    yield Problem(("weak", "model", *([key] if key else [])), text)
        for key, text in _misfits(self.target.model, self.task):
            yield Problem(("target", "model", *([key] if key else [])), text)
        source = self.target.embedding_from
        if isinstance(source, CrossTask | Growth):
            found = source.problems_for(self.task)
            yield from (Problem(("target", "embedding_from", key), text) for key, text in found)
        for i, link in enumerate(self.growth.chain if self.growth else ()):
            for key, text in _misfits(link.model, self.task):
                yield Problem(("target", "embedding_from", "chain", i, "model", *([key] if key else [])), text)

    def _code_that_does_not_work(self) -> Iterator[Problem]:
        """What somebody else's tasks, models and methods do wrong: they are tried before anything rests on them."""
        target, weak = self.target, self.weak_task
        answers: list[tuple[Place, str | None]] = [
            (("task",), tryout.task(self.task)),
            (("target", "embedding_from", "task"), tryout.task(weak) if weak != self.task else None),
            (("target", "model"), tryout.model(target.model, self.task, self.target_loss)),
            *((("weak", "model"), tryout.model(sizes, weak, self.weak_loss)) for sizes in self._weak_sizes[:1]),
        ]
        yield from (Problem(place, why) for place, why in answers if why is not None)

    def _methods_that_miss_something(self) -> Iterator[Problem]:
        chain = self.growth.chain if self.growth else ()
        handed = tuple(link.model for link in chain[-1:]) or self._weak_sizes
        for i, name in enumerate(self.target.methods):
            method = self.target.method(name)
            found = list(method.problems(self.task, self.target.model, handed, self.target.budget.max_epochs))
            own = method.sizes(self.target.model, self.task) if not found else self.target.model
            if own != self.target.model:
                found += [("", f"`{name}`: {text}") for _, text in own.problems(self.task)]
            for key, text in found:
                place: Place = ("target", "options", name, key) if key else ("target", "methods")
                yield Problem(place, text)
            if not found and (why := tryout.method(method, self.target.model, self.task, self.target_loss)) is not None:
                yield Problem(("target", "methods", i), why)
        if self.weak is not None and "transfer" not in self.target.methods:
            yield Problem(("target", "methods"), "`transfer` is missing: it is what the weak stage is for; add it")

    def _parts_of_a_weak_stage(self) -> Iterator[Problem]:
        for place, part in ((("tradeoff",), self.tradeoff), (("target", "embedding_from"), self.target.embedding_from)):
            if part is not None:
                yield Problem(place, "needs weak models, and there is no `weak` stage; add one or take this out")


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The experiment in the YAML file at `path`, or of that name among those that come along (`modadd`, `smoke`).

    Args:
        overrides: settings such as `weak.goal.val_accuracy=0.5`, written over the file's before it is checked.

    Raises:
        SpecError: the file cannot be read, or something in it or in an override is wrong.

    Examples:
        >>> spec = gtsearch.load_spec("modadd", ["weak.goal.val_accuracy=0.5"])
        >>> spec.weak.goal.val_accuracy, spec.target.methods[0]
        (0.5, 'transfer')
        >>> gtsearch.load_spec("modadd", ["weak.gaol.hold=3"])
        Traceback (most recent call last):
        ...
        gtsearch.errors.SpecError: weak.gaol: there is no key `gaol`; did you mean `goal`? ...
    """
    content, sources = reading.read_experiment(path)
    reading.override(content, sources, overrides)
    return _parse(content, sources, Path(path).absolute().parent if Path(path).is_file() else None)


def parse_spec(mapping: Mapping[str, Any]) -> Spec:
    """The experiment in a mapping of the YAML's shape.

    Raises:
        SpecError: something in it is wrong.
    """
    return _parse(mapping, {}, None)


def _parse(mapping: Any, sources: reading.Sources, folder: Path | None) -> Spec:
    """The experiment. `folder`: that of its file, in which modules are looked for."""
    try:
        content = reading.bring_up_to_date(reading.plain(mapping))
        refuse(_long_lists(content))
        with plugins.noted(_pinned(content), folder) as used:
            spec = Spec.model_validate(content)
            spec.variations()  # each must be an experiment too
    except ValidationError as error:
        raise _error(explain(error), sources) from None
    except GtsearchError:
        raise
    except Exception as error:
        if (module := plugins.of_theirs(error)) is None:
            raise
        raise SpecError(f"the module `{module}` raised {plugins.raised(error)}; mend it there") from None
    modules = {name: ModuleField(folder=one.folder, sha256=one.sha256) for name, one in sorted(used.items())}
    return spec.model_copy(update={"modules": modules})


def _pinned(content: Any) -> dict[str, Mapping[str, Any]]:
    """What an experiment that is not yet checked says of modules."""
    modules = content.get("modules") if isinstance(content, Mapping) else None
    return {n: own for n, own in modules.items() if isinstance(own, Mapping)} if isinstance(modules, Mapping) else {}


def _long_lists(value: Any, place: Place = ()) -> Iterator[Problem]:
    if isinstance(value, list) and len(value) > _MOST_LISTED:
        yield Problem(place, f"holds {len(value):,} entries, and {_MOST_LISTED:,} are the most; take some out")
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _long_lists(inner, (*place, key))


def _misfits(sizes: Sizes, task: Task) -> Iterator[tuple[str, str]]:
    """Why an architecture does not fit a task; where it is that inputs are vectors, with what made them such."""
    why = task.why_vectors
    for key, text in misfits(sizes, task):
        yield key, f"{text}; {why}" if why and "vectors" in text else text


def _error(problems: list[Problem], sources: reading.Sources) -> SpecError:
    """The first problem, where it was written, how many more there are, and these."""
    lines = []
    for problem in problems:
        source = reading.source_of(problem.path, sources)
        lines.append((one_line(f"{problem.text}{f' ({source})' if source else ''}"), one_line(problem.path)))
    (text, path), *others = lines
    return SpecError(text, path, [str(SpecError(*other)) for other in others])
