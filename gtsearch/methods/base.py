"""What every method gives: its options, what it needs, what it adds to the search space, its hooks.

A method is a pydantic model: its options are its fields, as they stand beside its name in the YAML. Two methods with
equal options are equal, and members of equal methods may share a stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from gtsearch.models.base import FactorisedEmbedding, Model, Sizes
from gtsearch.tasks.base import Part, Task

Searches = Mapping[str, Mapping[str, list[float]] | list[float]]


@dataclass(frozen=True)
class Given:
    """What a method may start a target from. Validation and test examples are not among it.

    Attributes:
        train_sha256: names the training set, as in `Splits`; "" where only the shapes of a start are asked for.
        hyperparameters: the config's, by name.
        generator: for the method's own draws, apart from the initialisation's.
        embedding: E_W [d_vocab, d_W], or None where the method needs none.
        layers: the weak model's other parameters by name, where the method transfers them; else empty.
    """

    task: Task
    train: Part
    train_sha256: str
    hyperparameters: Mapping[str, float]
    generator: torch.Generator
    embedding: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Slot:
    """Where one parameter lies in a row of a stack's flat buffer: [start, stop), to be seen as `shape`."""

    start: int
    stop: int
    shape: torch.Size

    def of(self, flat: Tensor) -> Tensor:
        """The parameter of every member, a view [S, *shape] of flat [S, P]."""
        return flat[:, self.start : self.stop].view(len(flat), *self.shape)


class Hooks:
    """What a method does in every update of a stack; its state has a leading axis of members."""

    def after_backward(self, gradient: Tensor) -> None:
        """Changes the gradient [S, P] in place, before the optimizer sees it."""

    def after_step(self, flat: Tensor) -> None:
        """Changes the parameters [S, P] in place, after the optimizer's step."""

    def keep(self, rows: Tensor) -> None:
        """Goes on with the members `rows` (int64) alone."""


class Method(BaseModel):
    """Base of all methods: the target exactly as its model family builds it. Subclasses change what they name.

    Attributes:
        needs_embedding: whether a weak model's E_W is needed to start.
        stackable: whether the hooks are exact for each member of a stack (else members run one by one).
        searches: hyperparameters this method adds to the search space when the experiment does not name
            them, each a domain as it would stand in the YAML.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    needs_embedding: ClassVar[bool] = False
    stackable: ClassVar[bool] = True
    searches: ClassVar[Searches] = {}

    name: str

    @property
    def merges_at(self) -> int | None:
        """The epoch at which A and B become one table, or None for never."""
        return None

    @property
    def frozen_parameters(self) -> tuple[str, ...]:
        """Names of the target's parameters that training holds where they start, beside the model's own."""
        return ()

    @property
    def transferred_layers(self) -> tuple[str, ...]:
        """Names of the weak model's parameters it needs beside the embedding."""
        return ()

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        """What it needs and cannot have: pairs of an option's name (or "") and a line.

        Args:
            weak: all weak architectures; empty in an experiment without a weak stage.
            max_epochs: how long the target trains at most.
        """
        if self.needs_embedding and not weak:
            yield "", f"`{self.name}` needs a weak model's embedding; add a `weak` stage or take it out"

    def sizes(self, target: Sizes, task: Task) -> Sizes:
        """The sizes of the target it builds: those of the experiment, but for the width of an embedding that is
        given."""
        return target

    def start(self, module: Model, given: Given) -> None:
        """Prepares `module` in place, before it is initialised: its parameters get their shapes. Asked for too where
        only the cost of a start is wanted, with a module, examples and an embedding of meta tensors, which hold
        nothing."""

    def after_initialisation(self, module: Model, given: Given) -> None:
        """Prepares `module` in place, after its parameters were drawn."""

    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        """What runs in every update of a stack.

        Args:
            flat: parameters [S, P] as training starts.
            slots: where each parameter lies, by name.
            hyperparameters: of the members, [S] each, by name.
        """
        return ()


class Frozen(Hooks):
    """Holds parameters where they are: against the gradient and against weight decay."""

    def __init__(self, flat: Tensor, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.values = [flat[:, slot.start : slot.stop].clone() for slot in slots]

    def after_backward(self, gradient: Tensor) -> None:
        for slot in self.slots:
            gradient[:, slot.start : slot.stop] = 0.0

    def after_step(self, flat: Tensor) -> None:
        for slot, value in zip(self.slots, self.values, strict=True):
            flat[:, slot.start : slot.stop] = value

    def keep(self, rows: Tensor) -> None:
        self.values = [value[rows] for value in self.values]


class FactorisedStart(Method, ABC):
    """Base of the methods that start from E_T = A B: a subclass says what A is."""

    needs_embedding = True
    # Whether a rescaled A helps is part of what is searched (design: "the scale of A is searched").
    searches = {"embedding_scale": {"loguniform": [0.5, 8.0]}}

    def start(self, module: Model, given: Given) -> None:
        assert given.embedding is not None, "the policy asks for this method only with an embedding"
        E_W = given.embedding
        # An embedding that holds nothing is given where only shapes are asked for, and every A has that of E_W.
        A = E_W if E_W.is_meta else self.factor(E_W, given.generator)
        A = A * given.hyperparameters.get("embedding_scale", 1.0)
        table = module.embedding.matrix()
        module.embedding = FactorisedEmbedding(A.to(table), table.shape[1])

    @abstractmethod
    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        """A [d_vocab, d_W] before it is scaled, from E_W of the same shape."""
