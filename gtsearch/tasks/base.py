"""What every task gives: its parameters (validated), its splits, its chance level."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Inputs `x` ([n, tokens] int64) and labels `y` ([n] int64) of one part of a split."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> Part:
        return Part(self.x.to(device), self.y.to(device))

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one task, and which examples (row numbers, int64, sorted) the training part holds."""

    train: Part
    validation: Part
    test: Part
    train_indices: Tensor

    @property
    def train_sha256(self) -> str:
        """Names the training set: an embedding trained on another one must not be judged on this split."""
        return hashlib.sha256(self.train_indices.numpy().astype("<i8").tobytes()).hexdigest()

    def to(self, device: torch.device) -> Splits:
        return Splits(self.train.to(device), self.validation.to(device), self.test.to(device), self.train_indices)


class Task(BaseModel):
    """Base of all tasks. A subclass adds its parameters as fields.

    Attributes:
        name: the name in the menu.
        train_fraction: share of all examples used for training, in (0, 1); the rest is halved into
            validation and test (method.md section 2: 25 % for modular addition).
        seed: which split; replicates of a report use splits of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    train_fraction: float = Field(default=0.25, gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @property
    @abstractmethod
    def n_examples(self) -> int:
        """How many examples the task has in all."""

    @property
    @abstractmethod
    def d_vocab(self) -> int:
        """How many rows an embedding needs."""

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """How many tokens an input has."""

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """How many labels there are."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What a person reads, e.g. `a + b mod 113`."""

    @abstractmethod
    def examples(self) -> Part:
        """All examples, in an order that never changes."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1]."""
        return 1.0 / self.n_classes

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        """How many examples train, validation and test hold. They add up to `n_examples`."""
        n_train = int(self.n_examples * self.train_fraction)
        n_validation = (self.n_examples - n_train) // 2
        return n_train, n_validation, self.n_examples - n_train - n_validation

    @model_validator(mode="after")
    def _no_part_is_empty(self) -> Task:
        for part, size in zip(("train", "validation", "test"), self.part_sizes, strict=True):
            if size == 0:
                raise ValueError(
                    f"train_fraction {self.train_fraction:g} of {self.n_examples} examples leaves "
                    f"the {part} part empty; choose one that leaves every part an example"
                )
        return self

    def splits(self, split_seed: int) -> Splits:
        """Train, validation and test tensors of the split named by `split_seed` (bit-equal on every machine)."""
        order = torch.randperm(self.n_examples, generator=torch.Generator().manual_seed(split_seed))
        n_train, n_validation, _ = self.part_sizes
        everything = self.examples()

        def part(indices: Tensor) -> Part:
            return Part(everything.x[indices].contiguous(), everything.y[indices].contiguous())

        train = order[:n_train].sort().values
        validation = order[n_train : n_train + n_validation].sort().values
        test = order[n_train + n_validation :].sort().values
        return Splits(part(train), part(validation), part(test), train)

    def identity(self) -> dict[str, Any]:
        """The parameters that say which task this is, without the split."""
        return self.model_dump(exclude={"seed"})
