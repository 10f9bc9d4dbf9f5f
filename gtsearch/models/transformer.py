"""The transformer of Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability".

Decoder-only: causal attention and a ReLU layer in each block, learned positions, no layer norm, an untied read-out at
the last position. Two things differ. The input is the task's tokens alone, without a closing `=` (method.md section
3). And there is no bias anywhere: theirs has one in the ReLU layer, every other model here has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gtsearch.models.base import Embedding, Initialised, Model, Sizes
from gtsearch.tasks.base import Task


class TransformerSizes(Sizes):
    """`layers` blocks over a residual stream of width `d_embed`.

    Attributes:
        heads: attention heads of a block.
        d_head: width of a head's queries, keys and values; None: d_embed / heads.
        d_mlp: width of a block's ReLU layer; None: 4 d_embed.
    """

    layers: int = Field(default=2, ge=1, le=128)
    d_embed: int = Field(ge=1, le=65536)
    heads: int = Field(default=4, ge=1, le=1024)
    d_head: int | None = Field(default=None, ge=1, le=65536)
    d_mlp: int | None = Field(default=None, ge=1, le=262144)

    def problems(self, task: Task) -> Iterator[tuple[str, str]]:
        if task.vectors:
            yield "name", f"a transformer reads tokens, and {task.title} gives vectors; choose another model"
        if self.d_head is None and self.d_embed % self.heads:
            yield "d_head", f"d_embed {self.d_embed} is no multiple of the {self.heads} heads; give `d_head`"

    @property
    def head_width(self) -> int:
        return self.d_embed // self.heads if self.d_head is None else self.d_head

    @property
    def mlp_width(self) -> int:
        return 4 * self.d_embed if self.d_mlp is None else self.d_mlp

    @property
    def label(self) -> str:
        usual = self.heads * self.head_width == self.d_embed
        heads = f"h{self.heads}" if usual else f"h{self.heads}x{self.head_width}"
        return f"transformer-d{self.d_embed}-{heads}-m{self.mlp_width}-L{self.layers}"

    def module(self, task: Task) -> Transformer:
        assert not list(self.problems(task)), "sizes that do not fit the task are refused before"
        return Transformer(self, task)


class Transformer(Model):
    """x, tokens [n, n_tokens] int64 -> outputs [n, n_outputs]."""

    def __init__(self, sizes: TransformerSizes, task: Task) -> None:
        super().__init__()
        self.embedding = Embedding(task.d_vocab, sizes.d_embed)
        self.positions = Positions(task.n_tokens, sizes.d_embed)
        self.blocks = nn.ModuleList(
            Block(sizes.d_embed, sizes.heads, sizes.head_width, sizes.mlp_width) for _ in range(sizes.layers)
        )
        self.readout = nn.Linear(sizes.d_embed, task.n_outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.readout(self.features(x)))

    def features(self, x: Tensor) -> Tensor:
        stream = self.embedding.read(x) + self.positions.P  # [n, n_tokens, d_embed]
        *blocks, last = self.blocks
        for block in blocks:
            stream = block(stream)
        # Only the last position is read out, so the last block need not work out the others.
        return cast(Tensor, last(stream, asked=1))[:, -1]


class Positions(Initialised):
    """One learned row a position, P [n_tokens, d_embed]; drawn as PyTorch draws a table, N(0, 1)."""

    def __init__(self, n_tokens: int, d_embed: int) -> None:
        super().__init__()
        self.P = nn.Parameter(torch.empty(n_tokens, d_embed))

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        with torch.no_grad():
            self.P.normal_(generator=generator).mul_(scale)


class Block(nn.Module):
    """Attention, then a ReLU layer; each adds to the residual stream."""

    def __init__(self, d_embed: int, heads: int, d_head: int, d_mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(d_embed, heads * d_head, bias=False) for _ in range(3))
        self.output = nn.Linear(heads * d_head, d_embed, bias=False)
        self.up, self.down = nn.Linear(d_embed, d_mlp, bias=False), nn.Linear(d_mlp, d_embed, bias=False)

    def forward(self, stream: Tensor, asked: int | None = None) -> Tensor:
        """stream [n, t, d_embed] -> the same at the last `asked` positions (None: at all)."""
        last = stream if asked is None else stream[:, -asked:]
        last = last + self.attention(last, stream)
        return last + cast(Tensor, self.down(torch.relu(self.up(last))))

    def attention(self, last: Tensor, stream: Tensor) -> Tensor:
        """What the positions `last` [n, s, d_embed], the end of `stream`, take from those up to themselves."""
        queries = self._heads(self.query(last))
        keys, values = self._heads(self.key(stream)), self._heads(self.value(stream))
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])  # [n, heads, s, t]
        s, t = scores.shape[-2:]
        later = torch.ones(s, t, dtype=torch.bool, device=scores.device).triu(1 + t - s)
        taken = scores.masked_fill(later, -math.inf).softmax(dim=-1) @ values  # [n, heads, s, d_head]
        return cast(Tensor, self.output(taken.transpose(1, 2).flatten(start_dim=2)))

    def _heads(self, x: Tensor) -> Tensor:
        """[n, t, heads * d_head] -> [n, heads, t, d_head]."""
        by_head: Tensor = x.unflatten(-1, (self.heads, -1))
        return by_head.transpose(1, 2)
