"""Where the target's embedding comes from, when not from a weak model of its own task: sources that are no methods.

To add one: a `Part` here and a line in `gtsearch/catalog.py`; `gtsearch.search.target` asks it for an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from gtsearch.catalog import load
from gtsearch.embedding import same_examples, shared_answers
from gtsearch.errors import SpecError
from gtsearch.fields import (
    NEEDED_HYPERPARAMETERS,
    Count,
    GoalSpec,
    Part,
    SizesField,
    TaskField,
    hyperparameter,
    out_of_time,
)
from gtsearch.problems import Problem, refuse, show, unknown_keys
from gtsearch.tasks.base import EnumeratedTask, Task

SAME_FUNCTION = 0.9
"""The share of shared inputs with equal labels from which two tasks are one and the same. Different functions of the
same inputs agree by chance, two of two balanced classes on half of them."""
OF_A_CHAIN = (*NEEDED_HYPERPARAMETERS, "embedding_scale")


class CrossTask(Part):
    """Weak models of another task over the same inputs.

    Inputs may be shared, and are the point of it; answers may not: what the weak models were trained on must not be
    what the target is validated and tested by. From addition to multiplication it is reported to hurt (method.md
    section 7, point 14).

    Attributes:
        name: that on the menu.
        task: what the weak models learn; no split `seed`: splits are the run's own.
    """

    name: Literal["cross_task"]
    task: TaskField

    def problems_for(self, task: Task) -> Iterator[tuple[str, str]]:
        """Why weak models of this task's can give a target on `task` no embedding: pairs of a key and a line."""
        source = self.task
        if source.seed != type(source).model_fields["seed"].default:
            rule = "splits are those of the run's own task, so that both learn on one"
            yield "task", f"{rule}, and `seed: {source.seed}` would say nothing; take it out"
        if source.vectors != task.vectors:
            kinds = {True: "vectors", False: "tokens"}
            rule = f"{source.title} has {kinds[source.vectors]} where {task.title} has {kinds[task.vectors]}"
            yield "task", f"{rule}; choose tasks over the same inputs"
        elif source.d_vocab != task.d_vocab:
            rule = f"its embedding has {source.d_vocab} rows where {task.title} needs {task.d_vocab}"
            yield "task", f"{rule}; choose tasks over the same inputs"
        else:
            yield from (("task", line) for line in _leaks(source, task))


@lru_cache(maxsize=64)  # an experiment is checked anew for each of its variations
def _leaks(source: Task, task: Task) -> tuple[str, ...]:
    """Why what `source` trains on tells what a target on `task` is judged by; a line, or none."""
    wrong = f"the weak models' training examples of {source.title} would meet the target's validation or test"
    # Draws of a task that is sampled are fresh for each split; what a file holds is compared by its name and content.
    both_listed = isinstance(source, EnumeratedTask) and isinstance(task, EnumeratedTask)
    splits = [one.splits(task.seed) for one in (source, task)] if both_listed else []
    if same_examples(source.identity(), task.identity()):
        same = splits[0].train_sha256 == splits[1].train_sha256 if splits else source.part_sizes == task.part_sizes
        return () if same else (f"{wrong}: it is the same task, split otherwise; split both alike",)
    if splits and shared_answers(*splits) >= SAME_FUNCTION:
        return (f"{wrong}: both tasks give the same inputs the same labels; choose another task, or split both alike",)
    return ()


class Link(Part):
    """A model between the weak one and the target: it starts by transfer, trains to its goal, and hands on its own
    embedding.

    Attributes:
        model: its one architecture.
        goal: what it must reach before it hands on its embedding.
        config: `lr`, `weight_decay`, `init_scale`, and `embedding_scale` if wanted.
        max_epochs: epochs it trains at most.
    """

    model: SizesField
    goal: GoalSpec
    config: dict[str, float]
    max_epochs: Count = 1000

    def problems(self) -> Iterator[Problem]:
        yield from unknown_keys_at(("config",), self.config, OF_A_CHAIN)
        for name in (name for name in self.config if name in OF_A_CHAIN):
            try:
                hyperparameter(name, self.config[name], OF_A_CHAIN)
            except ValueError as error:
                yield Problem(("config", name), str(error))
        for name in NEEDED_HYPERPARAMETERS:
            if name not in self.config:
                yield Problem(("config",), f"the hyperparameter `{name}` is missing; give it a number")
        yield from out_of_time(self.goal, self.max_epochs, "max_epochs")


class Growth(Part):
    """A chain of models between the weak one and the target; each starts by transfer from the one before.

    The comparison of method.md section 7, point 9.

    Attributes:
        name: that on the menu.
        chain: the models between, at least one; the first starts from the weak one.
    """

    name: Literal["growth"]
    chain: list[Link] = Field(min_length=1)

    def problems_for(self, task: Task) -> Iterator[tuple[str, str]]:
        """What the chain cannot do on `task`: pairs of a place in it, as people write it, and a line."""
        for i, link in enumerate(self.chain):
            accuracy = link.goal.val_accuracy
            if isinstance(accuracy, float) and accuracy <= task.chance:
                rule = f"must be above chance, which is {task.chance:.3g} for {task.title}"
                yield f"chain[{i}].goal.val_accuracy", f"{rule}, not {accuracy:g}; raise it"


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
