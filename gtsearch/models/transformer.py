"""The transformer of Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability".

Decoder-only: causal attention and a ReLU layer in each block, learned positions, no layer norm, an untied read-out at
the last position. Two things differ. The input is the task's tokens alone, without a closing `=` (method.md section
3). And there is no bias anywhere: theirs has one in the ReLU layer, every other model here has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gtsearch.models.base import Embedding, Initialised, Model, Sizes
from gtsearch.tasks.base import Task


class TransformerSizes(Sizes):
    """Decoder-only, learned positions, no layer norm; reads tokens.

    `layers` blocks over a residual stream of width `d_embed`.

    Attributes:
        layers: blocks.
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
        E, P, tokens = self.embedding.matrix(), self.positions.P, x[:, 0]
        # No position sees a later one: the first knows its own token alone, so that one row does for all examples
        # that begin with it. Of two tokens that is half the work.
        if len(E) < len(x):
            first, begins = E, tokens
        else:
            first, begins = torch.embedding(E, tokens), torch.arange(len(x), device=x.device)
        stream = Stream(first + P[0], begins, torch.embedding(E, x[:, 1:]) + P[1:])
        *blocks, last = self.blocks
        for block in blocks:
            stream = block(stream)
        # Only the last position is read out, so the last block need not work out the others.
        return cast(Block, last).last(stream)


class Positions(Initialised):
    """One learned row a position, P [n_tokens, d_embed]; drawn as PyTorch draws a table, N(0, 1)."""

    def __init__(self, n_tokens: int, d_embed: int) -> None:
        super().__init__()
        self.P = nn.Parameter(torch.empty(n_tokens, d_embed))

    def initialise(self, generator: torch.Generator, scale: float) -> None:
        with torch.no_grad():
            self.P.normal_(generator=generator).mul_(scale)


@dataclass(frozen=True)
class Stream:
    """The residual stream of n examples of t positions.

    Attributes:
        first: [v, d_embed], what the first position may hold.
        begins: [n] int64 in [0, v), which of these rows an example begins with.
        later: [n, t - 1, d_embed], the other positions.
    """

    first: Tensor
    begins: Tensor
    later: Tensor

    def whole(self) -> Tensor:
        """[n, t, d_embed], every position of every example."""
        return torch.cat([torch.embedding(self.first, self.begins)[:, None], self.later], dim=1)

    def through(self, layer: nn.Module) -> Stream:
        """The same with a linear layer in every position."""
        return replace(self, first=layer(self.first), later=layer(self.later))

    def end(self) -> Tensor:
        """[n, d_embed], the last position of every example."""
        return self.later[:, -1] if self.later.shape[1] else torch.embedding(self.first, self.begins)


class Block(nn.Module):
    """Attention, then a ReLU layer; each adds to the residual stream."""

    def __init__(self, d_embed: int, heads: int, d_head: int, d_mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(d_embed, heads * d_head, bias=False) for _ in range(3))
        self.output = nn.Linear(heads * d_head, d_embed, bias=False)
        self.up, self.down = nn.Linear(d_embed, d_mlp, bias=False), nn.Linear(d_mlp, d_embed, bias=False)

    def forward(self, stream: Stream) -> Stream:
        values = stream.through(self.value)
        taken = self.attention(self.query(stream.later), stream.through(self.key).whole(), values.whole())
        # The first position sees itself alone: what it takes is its own value.
        return replace(stream, first=self._add(stream.first, values.first), later=self._add(stream.later, taken))

    def last(self, stream: Stream) -> Tensor:
        """What `forward` makes of the last position alone, [n, d_embed]."""
        end = stream.end()
        keys, values = stream.through(self.key).whole(), stream.through(self.value).whole()
        return self._add(end, self.attention(self.query(end)[:, None], keys, values)[:, 0])

    def attention(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What the last s of t positions take from those up to themselves: queries [n, s, heads * d_head], keys and
        values [n, t, heads * d_head] -> as queries."""
        queries, keys, values = (x.unflatten(-1, (self.heads, -1)) for x in (queries, keys, values))
        s, t, d_head = queries.shape[1], keys.shape[1], keys.shape[-1]
        if s == 1:
            # By element: as matrices of a single row an epoch of two layers (d_embed 128) took a third longer on a CPU.
            scores = (queries * keys).sum(dim=-1, keepdim=True) / math.sqrt(d_head)  # [n, t, heads, 1]
            return (scores.softmax(dim=1) * values).sum(dim=1, keepdim=True).flatten(start_dim=2)
        queries, keys, values = (x.transpose(1, 2) for x in (queries, keys, values))  # [n, heads, .., d_head]
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(d_head)  # [n, heads, s, t]
        later = torch.ones(s, t, dtype=torch.bool, device=scores.device).triu(1 + t - s)
        taken = scores.masked_fill(later, -math.inf).softmax(dim=-1) @ values
        return taken.transpose(1, 2).flatten(start_dim=2)

    def _add(self, stream: Tensor, taken: Tensor) -> Tensor:
        """A stream [.., d_embed] after what its positions took, [.., heads * d_head], and the ReLU layer."""
        stream = stream + self.output(taken)
        return stream + cast(Tensor, self.down(torch.relu(self.up(stream))))
