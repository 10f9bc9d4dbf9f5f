"""The fully connected network of the paper: no bias anywhere, ReLU, the tokens' embeddings concatenated."""

from __future__ import annotations

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
    """depth 2: d -> width -> classes; depth 3: d -> width -> width -> classes; and so on.

    `depth` counts the weight matrices after the embedding (method.md section 3).
    """

    depth: int = Field(default=2, ge=2, le=16)
    d_embed: int = Field(ge=1, le=65536)
    width: int = Field(ge=1, le=65536)

    @property
    def label(self) -> str:
        return f"mlp-d{self.d_embed}-w{self.width}-L{self.depth}"

    def module(self, task: Task) -> Mlp:
        return Mlp(task.d_vocab, task.n_tokens, self.d_embed, self.width, self.depth, task.n_outputs)


class Mlp(Model):
    """x [n, n_tokens] int64 -> outputs [n, n_outputs]."""

    def __init__(self, d_vocab: int, n_tokens: int, d_embed: int, width: int, depth: int, n_outputs: int) -> None:
        super().__init__()
        self.embedding = Embedding(d_vocab, d_embed)
        self.n_tokens = n_tokens
        widths = [n_tokens * d_embed, *[width] * (depth - 1), n_outputs]
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers[-1](self.features(x)))

    def features(self, x: Tensor) -> Tensor:
        # Concatenating tokens and multiplying by W1 is the sum over positions of rows of E W1[position]:
        # the product is taken once a token of the vocabulary and not once an example.
        E = self.embedding.matrix()  # [d_vocab, d_embed]
        W1 = cast(Tensor, self.layers[0].weight)  # [width, n_tokens * d_embed]
        parts = [torch.embedding(E @ W.T, x[:, i]) for i, W in enumerate(W1.split(E.shape[1], dim=1))]
        hidden = reduce(add, parts)  # [n, width]
        for layer in self.layers[1:-1]:
            hidden = layer(torch.relu(hidden))
        return torch.relu(hidden)
