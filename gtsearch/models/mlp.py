"""The fully connected network of the paper: no bias anywhere, ReLU, the tokens' embeddings concatenated.

Over vectors the embedding is the first of its weight matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import add
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gtsearch.models.base import Embedding, Model, Sizes
from gtsearch.tasks.base import Task


class MlpSizes(Sizes):
    """Over tokens, depth 2: d -> width -> classes; depth 3: d -> width -> width -> classes; and so on.

    `depth` counts the weight matrices (method.md section 3): over tokens those after the embedding; over vectors the
    embedding is the first of them, so that depth 2 is d_vocab -> d_embed -> outputs and has no `width`, depth 3 is
    d_vocab -> d_embed -> width -> outputs.
    """

    depth: int = Field(default=2, ge=2, le=16)
    d_embed: int = Field(ge=1, le=65536)
    width: int | None = Field(default=None, ge=1, le=65536)

    def problems(self, task: Task) -> Iterator[tuple[str, str]]:
        if task.vectors and self.depth == 2:
            if self.width is not None:
                line = "an mlp of depth 2 over vectors is d_embed wide and has no other layer; take `width` out"
                yield "width", f"{line} (it is {self.width}) or give a greater depth"
        elif self.width is None:
            over = "vectors" if task.vectors else "tokens"
            yield (
                "width",
                f"an mlp of depth {self.depth} over {over} needs the width of its hidden layers; give `width`",
            )

    @property
    def label(self) -> str:
        width = "" if self.width is None else f"-w{self.width}"
        return f"mlp-d{self.d_embed}{width}-L{self.depth}"

    def module(self, task: Task) -> Mlp:
        assert not list(self.problems(task)), "sizes that do not fit the task are refused before"
        before = [self.d_embed] if task.vectors else [task.n_tokens * self.d_embed, *self._hidden(1)]
        widths = [*before, *self._hidden(self.depth - 2), task.n_outputs]
        return Mlp(Embedding(task.d_vocab, self.d_embed, vectors=task.vectors), widths)

    def _hidden(self, layers: int) -> list[int]:
        return [] if self.width is None else [self.width] * layers


class Mlp(Model):
    """x, tokens [n, n_tokens] int64 or vectors [n, d_vocab] -> outputs [n, n_outputs].

    Args:
        embedding: over vectors its width is the first of `widths`, over tokens its width times n_tokens.
        widths: of what goes into each layer after the embedding, then of the outputs.
    """

    def __init__(self, embedding: Embedding, widths: Sequence[int]) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers[-1](self.features(x)))

    def features(self, x: Tensor) -> Tensor:
        over_vectors = x.is_floating_point()
        hidden = self.embedding.read(x) if over_vectors else self._first_of_tokens(x)
        for layer in self.layers[0 if over_vectors else 1 : -1]:
            hidden = layer(torch.relu(hidden))
        return torch.relu(hidden)

    def _first_of_tokens(self, x: Tensor) -> Tensor:
        """What the first layer makes of the tokens' embeddings, side by side: [n, width]."""
        # Concatenating tokens and multiplying by W1 is the sum over positions of rows of E W1[position]:
        # the product is taken once a token of the vocabulary and not once an example.
        E = self.embedding.matrix()  # [d_vocab, d_embed]
        W1 = cast(Tensor, self.layers[0].weight)  # [width, n_tokens * d_embed]
        parts = [torch.embedding(E @ W.T, x[:, i]) for i, W in enumerate(W1.split(E.shape[1], dim=1))]
        return reduce(add, parts)
