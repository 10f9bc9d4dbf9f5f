"""The network of the XOR clusters: f(x) = sum_j a_j relu(w_j . x), one hidden layer, no bias (method.md section 3).

Its neurons are the columns of the embedding E [d_vocab, d_embed]: `d_embed` is what the paper calls the width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gtsearch.models.base import Embedding, Initialised, Model, Sizes
from gtsearch.tasks.base import Task


class XorNetSizes(Sizes):
    """One hidden layer and one output, for tasks of two classes over vectors.

    Figure 4b of the paper prints the variances .01 and 1e-4: hidden_std 0.1, output_std 0.01. With `output: signs`, as
    in Theorem 3.2, each a_j is +-1/sqrt(d_embed), and `init_scale` does not act on it.

    Attributes:
        d_embed: neurons, which is the width of the embedding.
        hidden_std: standard deviation with which the hidden weights start; None: PyTorch's default,
            U(+-1/sqrt(d_vocab)).
        output_std: the same of the output weights; None: U(+-1/sqrt(d_embed)).
        output: `signs`: output weights of one size and random sign, held fixed.
    """

    d_embed: int = Field(ge=1, le=65536)
    hidden_std: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    output_std: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    output: Literal["trained", "signs"] = "trained"

    def problems(self, task: Task) -> Iterator[tuple[str, str]]:
        if not task.vectors or task.n_outputs != 1:
            kind = "vectors" if task.vectors else "tokens"
            outputs = "one output" if task.n_outputs == 1 else f"{task.n_outputs} outputs"
            line = f"an xor_net reads vectors and has one output, and {task.title} gives {kind} and needs {outputs}"
            yield "name", f"{line}; choose another model"
        if self.output == "signs" and self.output_std is not None:
            yield (
                "output_std",
                f"with `output: signs` no output weight is drawn from a normal; take {self.output_std} out",
            )

    @property
    def label(self) -> str:
        hidden = "" if self.hidden_std is None else f"-h{self.hidden_std}"
        output = "" if self.output_std is None else f"-o{self.output_std}"
        signs = "-signs" if self.output == "signs" else ""
        return f"xor_net-d{self.d_embed}{hidden}{output}{signs}"

    def module(self, task: Task) -> XorNet:
        assert not list(self.problems(task)), "sizes that do not fit the task are refused before"
        return XorNet(self, task)


class XorNet(Model):
    """x, vectors [n, d_vocab] -> outputs [n, 1]."""

    def __init__(self, sizes: XorNetSizes, task: Task) -> None:
        super().__init__()
        self.embedding = Embedding(task.d_vocab, sizes.d_embed, vectors=True, std=sizes.hidden_std)
        self.readout = Signs(sizes.d_embed) if sizes.output == "signs" else Readout(sizes.d_embed, sizes.output_std)
        if sizes.output == "signs":
            self.frozen_parameters = ("readout.a",)

    def forward(self, x: Tensor) -> Tensor:
        # A matrix of one column: torch's counter of FLOPs sees products of matrices alone.
        return self.features(x) @ self.readout.a[:, None]

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.embedding.read(x))


class Readout(Initialised):
    """a [d_embed]: U(+-1/sqrt(d_embed)), or N(0, std^2) where `std` is given; times the scale."""

    def __init__(self, d_embed: int, std: float | None = None) -> None:
        super().__init__()
        self.std = std
        self.a = nn.Parameter(torch.empty(d_embed))

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        with torch.no_grad():
            if self.std is None:
                bound = 1.0 / math.sqrt(len(self.a))
                self.a.uniform_(-bound, bound, generator=generator).mul_(scale)
            else:
                self.a.normal_(std=self.std, generator=generator).mul_(scale)


class Signs(Readout):
    """a [d_embed], each +-1/sqrt(d_embed) with equal probability, whatever the scale (Theorem 3.2)."""

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        with torch.no_grad():
            heads = torch.randint(2, self.a.shape, generator=generator)
            self.a.copy_((2 * heads - 1) / math.sqrt(len(self.a)))
