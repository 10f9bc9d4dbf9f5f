"""What every model family gives (`Sizes` and a `Model`), the two kinds of input embedding, the initialisation.

A model keeps its embedding as `module.embedding` and reads it only through `read()` and `matrix()`; so a method may
put the factorised one in its place. Where inputs are vectors the embedding is the first layer's weight matrix.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gtsearch.losses import Loss
from gtsearch.passes import Passes
from gtsearch.tasks.base import Part, Task


class Initialised(nn.Module):
    """Base of the submodules whose parameters are not those of a linear layer: they say how they are drawn."""

    @abstractmethod
    def initialise(self, generator: torch.Generator, scale: float) -> None:
        """Draws what is random in it: PyTorch's default times `scale`, from `generator` alone."""


class InputEmbedding(Initialised):
    """Base of both kinds."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """E [d_vocab, d_embed], through which gradients flow."""

    def read(self, x: Tensor) -> Tensor:
        """What E makes of inputs: tokens [n, n_tokens] int64 -> [n, n_tokens, d_embed]; vectors [n, d_vocab] -> x E,
        [n, d_embed]."""
        return x @ self.matrix() if x.is_floating_point() else torch.embedding(self.matrix(), x)


class Model(nn.Module):
    """Base of all models: x, tokens [n, n_tokens] int64 or vectors [n, d_vocab] -> outputs [n, n_outputs], or
    [n, n_answers, n_outputs] of a task with several answers an example.

    Its parameters begin with the embedding's and end with the read-out's.

    Attributes:
        frozen_parameters: names of parameters that are drawn, each member its own, and then held where they are. They
            are parameters, not buffers, because a stack gives every member its own parameters and no buffers.
    """

    embedding: InputEmbedding
    frozen_parameters: tuple[str, ...] = ()

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What is read out: [n, width], the last hidden layer after its non-linearity, or the residual stream where
        there is one; [n, n_answers, width] of a task with several answers. `forward` is linear in it."""

    def passes(self, gradients: Mapping[str, Tensor], loss: Loss, train: Part) -> Passes | None:
        """Its own passes on a CPU, where it has a faster way than autograd; None: it has none.

        Args:
            gradients: where the gradient of each parameter goes, by the parameter's name.
            loss: outputs [n, n_outputs] and labels [n] to one number, a mean over examples.
            train: the part it trains on.
        """
        return None


class Embedding(InputEmbedding):
    """A plain trainable E [d_vocab, d_embed].

    Args:
        vectors: whether it is the first layer over vectors, and no table of tokens.
        std: standard deviation of a normal start, in place of PyTorch's default.
    """

    def __init__(self, d_vocab: int, d_embed: int, vectors: bool = False, std: float | None = None) -> None:
        super().__init__()
        self.vectors, self.std = vectors, std
        self.E = nn.Parameter(torch.empty(d_vocab, d_embed))

    def matrix(self) -> Tensor:
        """E [d_vocab, d_embed]."""
        return self.E

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        """PyTorch's default times `scale`: N(0, 1) for a table, U(+-1/sqrt(d_vocab)) for a first layer."""
        with torch.no_grad():
            if self.std is not None or not self.vectors:
                self.E.normal_(std=self.std or 1.0, generator=generator).mul_(scale)
            else:
                bound = 1.0 / math.sqrt(len(self.E))
                self.E.uniform_(-bound, bound, generator=generator).mul_(scale)


class FactorisedEmbedding(InputEmbedding):
    """E_T = A B with both factors trainable (Xu et al. 2025, section 2).

    Args:
        A: [d_vocab, d_W], the weak model's embedding (copied).
        d_embed: the target's embedding width d_T.
    """

    def __init__(self, A: Tensor, d_embed: int) -> None:
        super().__init__()
        self.A = nn.Parameter(A.detach().clone())
        self.B = nn.Parameter(torch.empty(A.shape[1], d_embed, dtype=A.dtype, device=A.device))

    def matrix(self) -> Tensor:
        """A B [d_vocab, d_embed]."""
        return self.A @ self.B

    def read(self, x: Tensor) -> Tensor:
        """As the base; of vectors (x A) B, which never makes the product [d_vocab, d_embed]: d_vocab may be 80,000."""
        return (x @ self.A) @ self.B if x.is_floating_point() else super().read(x)

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        """B [d_W, d_embed]: PyTorch's default for a linear layer, U(+-1/sqrt(d_W)), times `scale`. A is kept."""
        bound = 1.0 / math.sqrt(self.B.shape[0])
        with torch.no_grad():
            self.B.uniform_(-bound, bound, generator=generator).mul_(scale)

    def merge(self) -> Embedding:
        """One trainable table that holds A B; outputs do not change (over vectors: but for rounding)."""
        with torch.no_grad():
            product = self.A @ self.B
        merged = Embedding(*product.shape)
        merged.E = nn.Parameter(product)
        return merged


def initialise(module: nn.Module, generator: torch.Generator, scale: float) -> None:
    """PyTorch's default initialisation of every parameter, times `scale`, from `generator` alone.

    Linear weights (no bias): U(+-1/sqrt(fan_in)); others as their own `initialise` says. Parameters are
    filled in the order of `module.modules()`, on the CPU, so the same seed gives the same bits everywhere.

    Raises:
        TypeError: a submodule holds parameters of a kind this function does not know.
    """
    for part in module.modules():
        if isinstance(part, Initialised):
            part.initialise(generator, scale)
        elif isinstance(part, nn.Linear):
            bound = 1.0 / math.sqrt(part.in_features)
            with torch.no_grad():
                part.weight.uniform_(-bound, bound, generator=generator).mul_(scale)
        elif any(True for _ in part.parameters(recurse=False)):
            raise TypeError(f"do not know how to initialise a {type(part).__name__}")


class Sizes(BaseModel):
    """Base of all model families: the sizes that make an architecture. A subclass adds them as fields.

    Attributes:
        name: that on the menu.
        d_embed: width of the embedding.
        answers_everywhere: whether its models can answer at every position of an example (`Task.n_answers`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    answers_everywhere: ClassVar[bool] = False

    name: str
    d_embed: int

    def problems(self, task: Task) -> Iterator[tuple[str, str]]:
        """Why no model of these sizes fits `task`: pairs of a field's name (or "") and a line. To be asked before
        `module`."""
        yield from ()

    @property
    def label(self) -> str:
        """The architecture's name, e.g. `mlp-d4-w16-L2`: equal labels mean equal sizes. By default every size by its
        whole name."""
        others = (key for key in type(self).model_fields if key not in ("name", "d_embed"))
        sizes = (f"{key}{getattr(self, key)}" for key in others)
        return "-".join([self.name.rpartition(":")[2].lower(), f"d{self.d_embed}", *sizes])

    @abstractmethod
    def module(self, task: Task) -> Model:
        """An uninitialised model for `task`, on the current default device."""


def misfits(sizes: Sizes, task: Task) -> Iterator[tuple[str, str]]:
    """`sizes.problems(task)`, and what any model must have for the task."""
    if task.n_answers > 1 and not sizes.answers_everywhere:
        rule = f"{task.title} asks for an answer at every position, and `{sizes.name}` gives one an example"
        yield "name", f"{rule}; choose another model, such as `gpt`"
    yield from sizes.problems(task)
