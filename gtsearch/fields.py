"""What an experiment's parts are made of, as pydantic fields: counts, menu entries, domains, architectures.

Each turns what stands in the YAML into the object the rest of gtsearch works with, and writes it back the same way.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from gtsearch import domains, plugins
from gtsearch.catalog import METHODS, load, no_such
from gtsearch.domains import Domain
from gtsearch.errors import SpecError
from gtsearch.models.base import Sizes
from gtsearch.probes.base import Probe
from gtsearch.problems import Problem, explain, refuse, show, unknown_keys
from gtsearch.tasks.base import Task
from gtsearch.trackers.base import Tracker

NEEDED_HYPERPARAMETERS = ("lr", "weight_decay", "init_scale")
_MAY_BE_ZERO = ("weight_decay", "grokfast_lambda")
_BELOW_ONE = ("grokfast_alpha",)
_MOST_ARCHITECTURES = 10_000
LOOKS = 100
"""How many evaluations of a run `above_chance` allows for: 1000 epochs of 10 each, as by default. A fixed number, so
that the threshold does not move with the length of a run."""

Count = Annotated[int, Field(ge=1, le=10**9)]
Repeats = Annotated[int, Field(ge=1, le=10**4)]
"""How often something is tried: seeds, configs, candidates."""
Accuracy = Annotated[float, Field(gt=0, lt=1, title="accuracy")]
Start = dict[str, float]


class Part(BaseModel):
    """Base of the parts of an experiment: frozen, no unknown keys, no text for numbers, and rules of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            refuse(unknown_keys(given, cls.model_fields))
        return given

    @model_validator(mode="after")
    def _refuse_broken_rules(self) -> Part:
        refuse(self.problems())
        return self

    def problems(self) -> Iterator[Problem]:
        """The rules between fields that this part breaks, at places relative to it."""
        yield from ()


class Epochs(Part):
    """After this many epochs.

    Attributes:
        epochs: after how many epochs the embedding is taken.
    """

    epochs: Count


def _from_menu(kind: str, value: Any) -> Any:
    """The class on the menu of `kind` that `value["name"]` asks for, once it knows all keys of `value`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping with a name, not {show(value)}")
    name = value.get("name")
    if "name" not in value:
        refuse([Problem((), "`name` is missing and has no default; add it")])
    if not isinstance(name, str):
        refuse([Problem(("name",), f"must be text, not {show(name)}")])
    try:
        found = load(kind, str(name))
    except SpecError as error:
        refuse([Problem(("name",), str(error))])
    refuse(unknown_keys(value, found.model_fields))
    return found


def _task(value: Any) -> Any:
    return value if isinstance(value, Task) else _made("task", _from_menu("task", value), value)


def _made(kind: str, found: Any, value: Mapping[str, Any]) -> Any:
    """What `value` asks of the class `found`. Somebody else's class may raise what it likes."""
    try:
        return found.model_validate(dict(value), strict=True)
    except ValidationError:
        raise
    except Exception as error:
        if not plugins.is_named(kind, value["name"]):
            raise
        raise ValueError(f"`{value['name']}` raised {plugins.raised(error)}; mend it there") from None


def _sizes(value: Any) -> Any:
    if isinstance(value, Sizes):
        return value
    family = _from_menu("model", value)
    refuse(
        Problem((key,), f"the target has one architecture: must be one value, not {show(size)}")
        for key, size in value.items()
        if isinstance(size, list | tuple)
    )
    return _made("model", family, value)


def _probe(value: Any) -> Any:
    if isinstance(value, str):
        value = {"name": value}
    return value if isinstance(value, Probe) else _from_menu("probe", value).model_validate(dict(value), strict=True)


def tracker(value: Any) -> Tracker:
    """The tracker that stands in the YAML: its name, or a mapping of its name and options.

    Raises:
        ValidationError: there is none of that name, or an option is wrong.
    """
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Tracker):
        return value
    found: Tracker = _from_menu("tracker", value).model_validate(dict(value), strict=True)
    return found


def as_in_yaml(part: Probe | Tracker) -> Any:
    """By its name alone, where it has no options."""
    options = part.model_dump(mode="json", exclude_defaults=True) | {"name": part.name}
    return part.name if set(options) <= {"name"} else options


ProbeField = Annotated[Probe, BeforeValidator(_probe), PlainSerializer(as_in_yaml)]
TrackerField = Annotated[Tracker, BeforeValidator(tracker), PlainSerializer(as_in_yaml)]
TaskField = Annotated[SerializeAsAny[Task], BeforeValidator(_task)]
SizesField = Annotated[SerializeAsAny[Sizes], BeforeValidator(_sizes)]


class ModelSpace(Part):
    """The weak architectures to try: a model family by `name`, each of its sizes a value or a list of values.

    In the YAML the sizes stand beside the name: `{name: mlp, depth: 2, width: [4, 8]}`.
    """

    name: str
    sizes: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, given: Any) -> Any:
        """Checks every architecture the mapping stands for."""
        if isinstance(given, ModelSpace):
            return given
        family = _from_menu("model", given)
        sizes = {key: list(size) if isinstance(size, tuple) else size for key, size in given.items() if key != "name"}
        lists = [size for size in sizes.values() if isinstance(size, list)]
        refuse(Problem((key,), "the list is empty; give at least one value") for key in sizes if sizes[key] == [])
        if (count := math.prod(len(size) for size in lists)) > _MOST_ARCHITECTURES:
            raise ValueError(f"these lists make {count} architectures; give at most {_MOST_ARCHITECTURES}")
        defaults = {
            key: field.default
            for key, field in family.model_fields.items()
            if key not in ("name", *sizes) and not field.is_required()
        }
        _architectures(given["name"], sizes)
        return {"name": given["name"], "sizes": {**defaults, **sizes}}

    @model_serializer
    def _as_in_yaml(self) -> dict[str, Any]:
        return {"name": self.name, **self.sizes}

    @cached_property
    def architectures(self) -> tuple[Sizes, ...]:
        """Every combination of the sizes, in the order of the lists, each once."""
        return _architectures(self.name, self.sizes)


def _architectures(name: str, sizes: Mapping[str, Any]) -> tuple[Sizes, ...]:
    family = load("model", name)
    lists = [size if isinstance(size, list) else [size] for size in sizes.values()]
    every = (
        _made("model", family, {"name": name, **dict(zip(sizes, combination, strict=True))})
        for combination in itertools.product(*lists)
    )
    return tuple({architecture.label: architecture for architecture in every}.values())


def _hyperparameters(of_methods: bool) -> Callable[[Any, ValidationInfo], dict[str, Domain]]:
    """Reads `tune`: the hyperparameters every model needs, and perhaps those that methods add."""

    def read(value: Any, info: ValidationInfo) -> dict[str, Domain]:
        named = info.data.get("methods", ())  # absent where they are refused themselves
        known = (*NEEDED_HYPERPARAMETERS, *(hyperparameters_of_methods(named) if of_methods else ()))
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping of hyperparameters to domains, not {show(value)}")
        tune, found = {}, []
        for name, domain in value.items():
            try:
                tune[name] = hyperparameter(name, domain, known)
            except ValueError as error:
                found.append(Problem((str(name),), str(error)))
        found += [
            Problem((), f"the hyperparameter `{name}` is missing; give it a domain, or a number to fix it")
            for name in NEEDED_HYPERPARAMETERS
            if name not in value
        ]
        refuse(found)
        return {name: tune[name] for name in known if name in tune}

    return read


def hyperparameters_of_methods(named: Iterable[str] = ()) -> tuple[str, ...]:
    """Hyperparameters that some method of the menu, or one of those that are named, adds to the search, each once."""
    found = []
    for method in dict.fromkeys((*METHODS, *named)):
        with contextlib.suppress(SpecError):  # the list of methods says what is wrong with it
            found += list(load("method", method).searches)
    return tuple(dict.fromkeys(found))


def hyperparameter(name: str, value: Any, known: tuple[str, ...]) -> Domain:
    """The domain of a hyperparameter, as it stands in the YAML.

    Raises:
        ValueError: it is none of `known`, or goes where it cannot.
    """
    if name not in known:
        raise ValueError(no_such("hyperparameter", name, known))
    domain = domains.parse(value)
    if domain.least < 0 or (domain.least == 0 and name not in _MAY_BE_ZERO):
        rule = "0 or more" if name in _MAY_BE_ZERO else "above 0"
        raise ValueError(f"{name} must be {rule} all over its domain, not {domain.least:g}; raise the least value")
    if name in _BELOW_ONE and domain.from_unit(1.0 - 1e-9) >= 1:
        raise ValueError(f"{name} must be below 1 all over its domain: it is a share; lower the greatest value")
    return domain


_AsInYaml = PlainSerializer(lambda tune: {name: domain.plain() for name, domain in tune.items()})
WeakTune = Annotated[dict[str, Domain], PlainValidator(_hyperparameters(of_methods=False)), _AsInYaml]
TargetTune = Annotated[dict[str, Domain], PlainValidator(_hyperparameters(of_methods=True)), _AsInYaml]


def _handover(value: Any) -> Any:
    if isinstance(value, Epochs) or (isinstance(value, str) and value in ("goal", "best")):
        return value
    if isinstance(value, Mapping):
        return Epochs.model_validate(value)
    raise ValueError(f"must be one of goal, best, {{epochs: N}}, not {show(value)}")


class ModuleField(Part):
    """Where a module lies that an experiment names, and what it is.

    Attributes:
        folder: where the module lies; None: the folder of this file, the current folder, or installed packages.
        sha256: of its source, in hex, of a package all Python files; what is another now is refused.
    """

    folder: str | None = None
    sha256: str | None = None


Handover = Annotated[Literal["goal", "best"] | Epochs, BeforeValidator(_handover)]


def _accuracy(value: Any) -> Any:
    if value is None or value in ("none", "above_chance"):
        return None if value in (None, "none") else value
    try:
        return _NUMBER.validate_python(value, strict=True)
    except ValidationError as error:
        refuse(explain(error))


_NUMBER: TypeAdapter[float] = TypeAdapter(Accuracy)
GoalAccuracy = Annotated[float | Literal["above_chance"] | None, BeforeValidator(_accuracy)]


class GoalSpec(Part):
    """The validation accuracy to reach and hold over `hold` evaluations in a row, one every `evaluate_every` epochs.

    A goal that is only a word or a number is its `val_accuracy`.

    Attributes:
        val_accuracy: what must be reached. `above_chance`: the least that guessing would reach in any of 100
            evaluations with a probability below 1 in 1000. `none`: nothing to reach; who trains to the end has cleared.
        hold: evaluations in a row that must stay there.
        evaluate_every: epochs between evaluations.
    """

    val_accuracy: GoalAccuracy
    hold: Count = 2
    evaluate_every: Count = 10

    @model_validator(mode="before")
    @classmethod
    def _may_be_its_accuracy(cls, given: Any) -> Any:
        return given if isinstance(given, GoalSpec | Mapping) else {"val_accuracy": given}

    def threshold(self, task: Task) -> float | None:
        """The validation accuracy to reach on `task`, in (0, 1), or None where there is none."""
        return task.above_chance(LOOKS) if self.val_accuracy == "above_chance" else self.val_accuracy


def out_of_time(goal: GoalSpec, max_epochs: int, limit: str = "budget.max_epochs") -> Iterator[Problem]:
    """Why no run of `max_epochs` can hold the goal. `limit`: what the experiment calls that number."""
    if goal.evaluate_every > max_epochs:
        rule = f"must be at most {limit}, which is {max_epochs}, not {goal.evaluate_every}"
        yield Problem(("goal", "evaluate_every"), f"{rule}; evaluate more often")
    # Epoch 0 and every `evaluate_every`-th count for the goal.
    elif goal.hold > 1 + max_epochs // goal.evaluate_every:
        rule = f"{goal.hold} evaluations, one every {goal.evaluate_every} epochs, do not fit in {max_epochs} epochs"
        yield Problem(("goal", "hold"), f"{rule}; lower it or raise {limit}")


def _workers(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"must be `auto` or a whole number from 1 on, not {show(value)}")


def _gpus(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Ray hands out shares of one GPU, or whole GPUs.
    if value == "auto" or (number and value >= 0 and (value <= 1 or float(value).is_integer())):
        return value
    raise ValueError(f"must be `auto`, a share from 0 to 1 or a whole number, not {show(value)}")


Workers = Annotated[int | Literal["auto"], BeforeValidator(_workers)]
Gpus = Annotated[float | Literal["auto"], BeforeValidator(_gpus)]
