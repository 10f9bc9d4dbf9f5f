"""A small GPT: causal attention and a GELU layer in each block, learned positions, a norm before each of them.

It answers at every position where the task asks for that, else at the last one. Two things differ from GPT-2: there is
no bias, as in no model here, and the norms have no gains: every parameter is drawn and scaled by `init_scale` alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gtsearch.models.base import Embedding, Model, Sizes
from gtsearch.models.transformer import Positions
from gtsearch.tasks.base import Task


class GptSizes(Sizes):
    """Causal blocks with norms before attention and GELU layer, learned positions; answers at every position where the
    task asks for it; reads tokens.

    `layers` blocks over a residual stream of width `d_embed`.

    Attributes:
        layers: blocks.
        heads: attention heads of a block; `d_embed` is a multiple.
        d_mlp: width of a block's GELU layer; None: 4 d_embed.
    """

    answers_everywhere: ClassVar[bool] = True

    layers: int = Field(default=2, ge=1, le=128)
    d_embed: int = Field(ge=1, le=65536)
    heads: int = Field(default=4, ge=1, le=1024)
    d_mlp: int | None = Field(default=None, ge=1, le=262144)

    def problems(self, task: Task) -> Iterator[tuple[str, str]]:
        if task.vectors:
            yield "name", f"a gpt reads tokens, and {task.title} gives vectors; choose another model"
        if self.d_embed % self.heads:
            yield "heads", f"d_embed {self.d_embed} is no multiple of the {self.heads} heads; choose others"

    @property
    def mlp_width(self) -> int:
        return 4 * self.d_embed if self.d_mlp is None else self.d_mlp

    @property
    def label(self) -> str:
        return f"gpt-d{self.d_embed}-h{self.heads}-m{self.mlp_width}-L{self.layers}"

    def module(self, task: Task) -> Gpt:
        assert not list(self.problems(task)), "sizes that do not fit the task are refused before"
        return Gpt(self, task)


class Gpt(Model):
    """x, tokens [n, n_tokens] int64 -> outputs [n, n_outputs], or [n, n_answers, n_outputs]."""

    def __init__(self, sizes: GptSizes, task: Task) -> None:
        super().__init__()
        self.everywhere = task.n_answers > 1
        self.embedding = Embedding(task.d_vocab, sizes.d_embed)
        self.positions = Positions(task.n_tokens, sizes.d_embed)
        self.blocks = nn.ModuleList(GptBlock(sizes.d_embed, sizes.heads, sizes.mlp_width) for _ in range(sizes.layers))
        self.readout = nn.Linear(sizes.d_embed, task.n_outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.readout(self.features(x)))

    def features(self, x: Tensor) -> Tensor:
        stream = self.embedding.read(x) + self.positions.P
        for block in self.blocks:
            stream = block(stream)
        return norm(stream if self.everywhere else stream[:, -1])


class GptBlock(nn.Module):
    """Attention, then a GELU layer; each reads the normed residual stream and adds to it."""

    def __init__(self, d_embed: int, heads: int, d_mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(d_embed, d_embed, bias=False) for _ in range(3))
        self.output = nn.Linear(d_embed, d_embed, bias=False)
        self.up, self.down = nn.Linear(d_embed, d_mlp, bias=False), nn.Linear(d_mlp, d_embed, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.output(self.attention(norm(stream)))
        return stream + cast(Tensor, self.down(functional.gelu(self.up(norm(stream)))))

    def attention(self, x: Tensor) -> Tensor:
        """What each position takes from those up to itself: [n, t, d_embed] -> the same shape."""
        # In plain products, which the FLOP counter and torch.func's vmap both know.
        queries, keys, values = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # [n, heads, t, d_head]
        t, d_head = queries.shape[-2:]
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(d_head)  # [n, heads, t, t]
        later = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        taken = scores.masked_fill(later, -math.inf).softmax(dim=-1) @ values
        side_by_side: Tensor = taken.transpose(1, 2).flatten(start_dim=2)
        return side_by_side


def norm(stream: Tensor) -> Tensor:
    """Each position [.., d_embed] with mean 0 and variance 1, without gains."""
    normed: Tensor = functional.layer_norm(stream, stream.shape[-1:])
    return normed
