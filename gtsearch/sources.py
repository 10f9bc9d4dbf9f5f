"""Where the target's embedding comes from, when not from a weak model of its own task: sources that are no methods.

To add one: a `Part` here and a line in `gtsearch/catalog.py`; `gtsearch.search.target` asks it for an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from gtsearch.catalog import load
from gtsearch.errors import SpecError
from gtsearch.fields import NEEDED_HYPERPARAMETERS, Count, GoalSpec, Part, SizesField, TaskField
from gtsearch.problems import Problem, refuse, show, unknown_keys


class CrossTask(Part):
    """The weak models are trained on another task over the same inputs (method.md section 7, point 14: addition to
    multiplication is reported to hurt)."""

    name: Literal["cross_task"]
    task: TaskField


class Link(Part):
    """A model between the weak one and the target: it starts by transfer, trains to its goal, and hands on its own
    embedding. `config`: its hyperparameters."""

    model: SizesField
    goal: GoalSpec
    config: dict[str, float]
    max_epochs: Count = 1000

    def problems(self) -> Iterator[Problem]:
        yield from unknown_keys_at(("config",), self.config, (*NEEDED_HYPERPARAMETERS, "embedding_scale"))
        for name in NEEDED_HYPERPARAMETERS:
            if name not in self.config:
                yield Problem(("config",), f"the hyperparameter `{name}` is missing; give it a number")


class Growth(Part):
    """A chain weak -> middle -> target: each link is grown from the one before (method.md section 7, point 9)."""

    name: Literal["growth"]
    chain: list[Link] = Field(min_length=1)


def unknown_keys_at(place: tuple[str | int, ...], given: Mapping[str, Any], known: Any) -> Iterator[Problem]:
    """As `unknown_keys`, at a place inside."""
    yield from (Problem((*place, *problem.place), problem.text) for problem in unknown_keys(given, known))


def _source(value: Any) -> Any:
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError(f"must be a mapping with a name, not {show(value)}")
    try:
        found: type[Part] = load("source", value["name"])
    except SpecError as error:
        refuse([Problem(("name",), str(error))])
    return found.model_validate(value, strict=True)


SourceField = Annotated[SerializeAsAny[Part], BeforeValidator(_source)]
