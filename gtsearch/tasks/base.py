"""What every task gives: its parameters (validated), its splits, its shape, its loss, its chance level.

Two kinds: an `EnumeratedTask` has finitely many examples, which a split deals out; a `SampledTask` draws as many as it
is asked for.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

# Parameters that say how the examples of a task are dealt out, or where they lie, not which examples there are.
SPLIT_FIELDS = ("train_fraction", "n_train", "n_validation", "n_test", "keep_pairs", "file", "folder")


@dataclass(frozen=True)
class Part:
    """Inputs and labels of one part of a split.

    Attributes:
        x: tokens [n, n_tokens] int64 in [0, d_vocab), or vectors [n, d_vocab] float32.
        y: labels [n] int64 in [0, n_classes), or [n, n_answers] of a task with several an example. A task with one
            output reads 1 as +1 and 0 as -1.
    """

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> Part:
        return Part(self.x.to(device), self.y.to(device))

    def double(self) -> Part:
        """The same with vectors in float64; tokens stay whole numbers."""
        return Part(self.x.double() if self.x.is_floating_point() else self.x, self.y)

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one task.

    Attributes:
        train_sha256: names the training set: an embedding trained on another one must not be judged on this split.
    """

    train: Part
    validation: Part
    test: Part
    train_sha256: str

    def to(self, device: torch.device) -> Splits:
        return Splits(self.train.to(device), self.validation.to(device), self.test.to(device), self.train_sha256)

    def double(self) -> Splits:
        """The same with vectors in float64."""
        return Splits(self.train.double(), self.validation.double(), self.test.double(), self.train_sha256)


class Task(BaseModel):
    """Base of all tasks. A subclass adds its parameters as fields.

    Attributes:
        name: that on the menu.
        seed: which split; replicates of a report use splits of their own.
        default_loss: the loss (a name on the menu) where an experiment names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    default_loss: ClassVar[str] = "cross_entropy"

    name: str
    seed: int = Field(default=0, ge=0, lt=2**63)

    @property
    def vectors(self) -> bool:
        """Whether inputs are vectors; else they are tokens."""
        return False

    @property
    def why_vectors(self) -> str | None:
        """Why inputs are vectors, in a line, where somebody may have meant tokens."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is good to know about the data before anything is trained on them, a line each."""
        return ()

    @property
    @abstractmethod
    def d_vocab(self) -> int:
        """How many rows an embedding needs: the vocabulary, or the numbers in an input vector."""

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """How many tokens an input has; 1 for a vector."""

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """How many labels there are."""

    @property
    def n_answers(self) -> int:
        """How many labels an example has: 1, or one a token, each to be told from the tokens up to it."""
        return 1

    @property
    def n_outputs(self) -> int:
        """Outputs of a model: one a class, or 1 where the sign of one output tells two classes apart."""
        return self.n_classes

    @property
    @abstractmethod
    def title(self) -> str:
        """What a person reads, e.g. `a + b mod 113`."""

    @property
    @abstractmethod
    def part_sizes(self) -> tuple[int, int, int]:
        """How many examples train, validation and test hold."""

    @property
    def n_examples(self) -> int:
        """How many examples the three parts hold together."""
        return sum(self.part_sizes)

    @property
    def train_words(self) -> str:
        """How much is trained on, as a person reads it, e.g. `25 % train` or `1000 train`."""
        return f"{self.part_sizes[0]} train"

    @property
    def chance(self) -> float:
        """Accuracy of the best guess that does not look at the input, in [0, 1]."""
        return 1.0 / self.n_classes

    def above_chance(self, looks: int = 1) -> float:
        """The least validation accuracy that guessing reaches with a probability below 1 in 1000 (normal tail).

        A run is looked at again and again, and is told above chance if one look is; so each of `looks` gets its share
        of that probability (Bonferroni, which holds however the looks hang together).
        """
        answers = self.part_sizes[1] * self.n_answers
        deviation = math.sqrt(self.chance * (1.0 - self.chance) / answers)
        quantile = NormalDist().inv_cdf(1.0 - 0.001 / looks)
        return min(1.0, self.chance + quantile * deviation)

    def prepare(self) -> None:
        """Gets what the splits are made of, and checks it: to be asked once before a run starts, so that a missing
        file is one line then and not a failure of every member, and that workers do not all download the same.

        Raises:
            TaskError: it is missing or damaged.
        """

    @abstractmethod
    def splits(self, split_seed: int) -> Splits:
        """Train, validation and test tensors of the split named by `split_seed` (bit-equal on every machine)."""

    def blank(self, n: int, device: torch.device | str) -> Part:
        """`n` examples of the right shapes and dtypes, with nothing in them: to count what training costs."""
        if self.vectors:
            x = torch.empty(n, self.d_vocab, device=device)
        else:
            x = torch.empty(n, self.n_tokens, dtype=torch.int64, device=device)
        shape = (n,) if self.n_answers == 1 else (n, self.n_answers)
        return Part(x, torch.empty(shape, dtype=torch.int64, device=device))

    def identity(self) -> dict[str, Any]:
        """The parameters that say which task this is, without the split."""
        return self.model_dump(exclude={"seed"})

    @model_validator(mode="after")
    def _no_part_is_empty(self) -> Task:
        for part, size in zip(("train", "validation", "test"), self.part_sizes, strict=True):
            if size < 1:
                raise ValueError(
                    f"{self.train_words} of {self.n_examples} examples leaves the {part} part empty; "
                    "choose sizes that leave every part an example"
                )
        return self


class EnumeratedTask(Task):
    """A task with finitely many examples.

    Attributes:
        train_fraction: the share of all examples to train on; the rest is halved into validation and test.
    """

    train_fraction: float = Field(default=0.25, gt=0, lt=1)  # the paper's, for modular addition

    @abstractmethod
    def examples(self) -> Part:
        """All examples, in an order that never changes."""

    @property
    @abstractmethod
    def n_examples(self) -> int:
        """How many examples the task has in all."""

    def groups(self) -> Tensor | None:
        """The group of each example [n_examples] int64: examples of one group come into the same part. None: each
        example is alone."""
        return None

    @property
    def train_words(self) -> str:
        return f"{100 * self.train_fraction:g} % train"

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        """How many examples train, validation and test hold. They add up to `n_examples`."""
        dealt = _dealt(self)
        return self._shares if dealt is None else dealt.part_sizes

    @property
    def _shares(self) -> tuple[int, int, int]:
        """The part sizes where every example is alone."""
        n_train = int(self.n_examples * self.train_fraction)
        n_validation = (self.n_examples - n_train) // 2
        return n_train, n_validation, self.n_examples - n_train - n_validation

    @property
    def chance(self) -> float:
        """The share of the most frequent label among all examples."""
        return _most_frequent(self) / self.n_examples

    def splits(self, split_seed: int) -> Splits:
        generator = torch.Generator().manual_seed(split_seed)
        train, validation, test = self._indices(generator)
        everything = self.examples()

        def part(indices: Tensor) -> Part:
            return Part(everything.x[indices].contiguous(), everything.y[indices].contiguous())

        return Splits(part(train), part(validation), part(test), fingerprint([train]))

    def _indices(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Which examples each part holds, ascending."""
        dealt = _dealt(self)
        if dealt is None:
            order = torch.randperm(self.n_examples, generator=generator)
            train, validation, test = order.split(self.part_sizes)
            return train.sort().values, validation.sort().values, test.sort().values
        parts = dealt.part_of_groups(generator)[dealt.group]
        return tuple((parts == part).nonzero().squeeze(1) for part in range(3))  # type: ignore[return-value]


@dataclass(frozen=True)
class _Dealt:
    """How many groups of each size go to each part: the same for all seeds, so that part sizes are known beforehand.

    Attributes:
        group: of each example [n_examples], in [0, n_groups).
        size: of each group [n_groups].
        counts: for each size that occurs, the largest first: how many groups of it train, validation and test get.
    """

    group: Tensor
    size: Tensor
    counts: dict[int, tuple[int, int, int]]

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        train, validation, test = (sum(size * n[part] for size, n in self.counts.items()) for part in range(3))
        return train, validation, test

    def part_of_groups(self, generator: torch.Generator) -> Tensor:
        """0, 1 or 2 for train, validation or test [n_groups]; groups of one size are dealt at random."""
        order = torch.randperm(len(self.size), generator=generator)
        parts = torch.empty_like(order)
        for size, counts in self.counts.items():
            parts[order[self.size[order] == size]] = torch.arange(3).repeat_interleave(torch.tensor(counts))
        return parts


@lru_cache(maxsize=32)
def _dealt(task: EnumeratedTask) -> _Dealt | None:
    """How the task's groups are dealt, or None where every example is alone.

    Each size in turn brings the parts as near to their shares of the examples so far as whole groups can; the smallest
    groups come last and even out what the larger ones left: with enough groups of one the shares are met exactly.
    """
    names = task.groups()
    if names is None:
        return None
    _, group, size = names.unique(return_inverse=True, return_counts=True)
    n_train, n_validation, _ = task._shares

    def more(share: int, so_far: int, held: int, one: int) -> int:
        """How many groups of size `one` bring a part that holds `held` nearest to its share of `so_far` examples."""
        whole = one * task.n_examples
        return max(0, (2 * (share * so_far - held * task.n_examples) + whole) // (2 * whole))

    counts, so_far, in_train, in_validation = {}, 0, 0, 0
    for one, many in sorted(zip(*(found.tolist() for found in size.unique(return_counts=True)), strict=True))[::-1]:
        so_far += one * many
        train = min(many, more(n_train, so_far, in_train, one))
        validation = min(many - train, more(n_validation, so_far, in_validation, one))
        counts[one] = (train, validation, many - train - validation)
        in_train += one * train
        in_validation += one * validation
    return _Dealt(group, size, counts)


@lru_cache(maxsize=32)
def _most_frequent(task: EnumeratedTask) -> int:
    return int(task.examples().y.bincount().max())


class SampledTask(Task):
    """A task of `n_train`, `n_validation` and `n_test` examples that are drawn by the split's seed.

    Attributes:
        n_train: training examples.
        n_validation: validation examples, by which choices are made.
        n_test: test examples, by which claims are measured.
        one_draw: whether the three parts are one draw, cut in this order, and not a draw each: for a task that draws
            no example twice, so that parts are disjoint.
    """

    one_draw: ClassVar[bool] = False

    n_train: int = Field(default=1000, ge=1, le=10**7)
    n_validation: int = Field(default=1000, ge=1, le=10**7)
    n_test: int = Field(default=1000, ge=1, le=10**7)

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Part:
        """`n` examples from `generator` alone: independent, or all different with `one_draw`."""

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        return self.n_train, self.n_validation, self.n_test

    def splits(self, split_seed: int) -> Splits:
        generator = torch.Generator().manual_seed(split_seed)
        if self.one_draw:
            everything = self.draw(self.n_examples, generator)
            cut = zip(everything.x.split(self.part_sizes), everything.y.split(self.part_sizes), strict=True)
            train, validation, test = (Part(x, y) for x, y in cut)
        else:
            train, validation, test = (self.draw(n, generator) for n in self.part_sizes)
        return Splits(train, validation, test, fingerprint([train.x, train.y]))


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """SHA-256 in hex over the bytes of `tensors`, little-endian."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.contiguous().numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
