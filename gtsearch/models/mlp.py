"""The fully connected network of the paper: no bias anywhere, ReLU, the tokens' embeddings concatenated.

Over vectors the embedding is the first of its weight matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gtsearch.losses import Loss, slope
from gtsearch.models.base import Embedding, Model, Sizes
from gtsearch.passes import Passes, sums
from gtsearch.tasks.base import Part, Task

BLOCK_BYTES = 8 * 2**20
LIVE_SHARE = 0.9  # below it, leaving out what is silent pays for picking the rest


class MlpSizes(Sizes):
    """The paper's fully connected network: ReLU, no bias.

    Over tokens, depth 2: d -> width -> classes; depth 3: d -> width -> width -> classes; and so on (method.md section
    3). Over vectors the embedding is the first of the matrices: depth 2 is d_vocab -> d_embed -> outputs and has no
    `width`, depth 3 is d_vocab -> d_embed -> width -> outputs.

    Attributes:
        depth: weight matrices: over tokens those after the embedding, over vectors with it.
        width: of the hidden layers; left out only at depth 2 over vectors.
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

    def passes(self, gradients: Mapping[str, Tensor], loss: Loss, train: Part) -> Passes:
        return MlpPasses(self, gradients, loss, train)

    def _first_of_tokens(self, x: Tensor) -> Tensor:
        """What the first layer makes of the tokens' embeddings, side by side: [n, width]."""
        # Concatenating tokens and multiplying by W1 is the sum over positions of rows of E W1[position]:
        # the product is taken once a token of the vocabulary and not once an example.
        E = self.embedding.matrix()  # [d_vocab, d_embed]
        W1 = cast(Tensor, self.layers[0].weight)  # [width, n_tokens * d_embed]
        parts = [torch.embedding(E @ W.T, x[:, i]) for i, W in enumerate(W1.split(E.shape[1], dim=1))]
        return reduce(add, parts)


@dataclass(frozen=True)
class _Block:
    """Some rows of a part, and the memory its layers are worked out in; blocks of a part share it.

    Attributes:
        x, y: the rows.
        tokens, begins: over tokens, which rows of the first layer's tables each example adds up [n_tokens n], and where
            in it each example begins [n].
        order, starts: the other way: the examples that hold the first token at the first position, then those that
            hold the second, and so on through all tokens of all positions [n_tokens n]; where in it each begins
            [n_tokens d_vocab].
        hidden, back: of each layer after the first, what goes in [n, width], and the derivative by it.
        outputs: [n, n_outputs].
    """

    x: Tensor
    y: Tensor
    tokens: Tensor
    begins: Tensor
    order: Tensor
    starts: Tensor
    hidden: list[Tensor]
    back: list[Tensor]
    outputs: Tensor


@dataclass(frozen=True)
class _Input:
    """What goes into a layer: `values` [n, width], or the columns `live` of it, where all the others are 0."""

    values: Tensor
    live: Tensor | None = None

    def columns(self, weight: Tensor, transposed: Tensor) -> Tensor:
        """What `values` are multiplied by, of a layer's matrix [n_out, width]."""
        return transposed if self.live is None else weight.index_select(1, self.live).T


def _without_silent(hidden: Tensor) -> _Input:
    """Leaves out units that are 0 for all examples: they pass nothing on and get no gradient.

    Large steps of a large weight decay silence a quarter to a half of a target's second layer for good.
    """
    live = hidden.amax(dim=0).nonzero().squeeze(1)
    if len(live) > LIVE_SHARE * hidden.shape[1]:
        return _Input(hidden)
    return _Input(hidden.index_select(1, live), live)


def _add(into: Tensor, rows: Tensor | None, columns: Tensor | None, found: Tensor) -> None:
    """Adds `found` to the rows and columns of `into` that it is of (None: all)."""
    if columns is None and rows is not None:
        into.index_add_(0, rows, found)
    elif rows is None and columns is not None:
        into.index_add_(1, columns, found)
    elif rows is not None:
        into.index_put_((rows[:, None], cast(Tensor, columns)), found, accumulate=True)


class MlpPasses(Passes):
    """Passes of one `Mlp` in plain expressions, block by block of rows, in memory that is laid out once.

    Autograd is left with what is small or not the model's own: how the embedding's matrix follows from its
    parameters, the first layer over vectors, and losses that `gtsearch.losses.slope` knows no expression of.
    """

    def __init__(self, module: Mlp, gradients: Mapping[str, Tensor], loss: Loss, train: Part) -> None:
        self.loss, self.part, self.embedding = loss, train, module.embedding
        self.over_vectors = train.x.is_floating_point()
        self.parameters = list(module.embedding.parameters())
        self.embedding_slopes = [gradients[f"embedding.{name}"] for name, _ in module.embedding.named_parameters()]
        weights = [cast(Tensor, layer.weight).detach() for layer in module.layers]
        slopes = [gradients[f"layers.{i}.weight"] for i in range(len(weights))]
        if not self.over_vectors:
            # The first matrix works on the vocabulary, not on the rows: [n_tokens, d_embed, width].
            first, *weights = weights
            first_slope, *slopes = slopes
            by_position = (len(first), train.x.shape[1], -1)
            self.first, self.first_slope = (W.view(by_position).permute(1, 2, 0) for W in (first, first_slope))
        self.layers = list(zip(weights, [weight.T for weight in weights], slopes, strict=True))
        widths, n_outputs = [weight.shape[1] for weight in weights], len(weights[-1])
        blocks = math.ceil(len(train) * (2 * sum(widths) + n_outputs) * weights[-1].element_size() / BLOCK_BYTES)
        self.rows = math.ceil(len(train) / blocks)
        self.hidden, self.back = ([weights[-1].new_empty(self.rows, width) for width in widths] for _ in range(2))
        self.outputs = weights[-1].new_empty(self.rows, n_outputs)
        self.cut: dict[int, tuple[Part, list[_Block]]] = {}

    @torch.no_grad()
    def train(self, told: bool) -> Tensor | None:
        with torch.enable_grad():
            source = self.embedding.read(self.part.x) if self.over_vectors else self.embedding.matrix()
        tables = None if self.over_vectors else self._tables(source)
        source_slope = torch.zeros_like(source if tables is None else tables)
        total, seen = torch.zeros(2, 1, dtype=torch.float64), 0
        for block in self._blocks(self.part):
            rows = slice(seen, seen + len(block.y))
            inputs = self._forward(block, source[rows] if tables is None else _gather(tables, block))
            if told:
                total += sums(self.loss(block.outputs, block.y), block.outputs, block.y)
            back = self._backward(block, inputs, add=seen > 0)
            if tables is None:
                source_slope[rows] = back
            else:
                source_slope += _scatter(back, block)
            seen = rows.stop
        if tables is not None:
            source_slope = self._through_tables(source, source_slope)
        if source is self.parameters[0]:  # a plain table
            self.embedding_slopes[0].copy_(source_slope)
        else:
            found = torch.autograd.grad(source, self.parameters, source_slope)
            for into, gradient in zip(self.embedding_slopes, found, strict=True):
                into.copy_(gradient)
        return total / len(self.part) if told else None

    @torch.no_grad()
    def measure(self, part: Part) -> Tensor:
        tables = None if self.over_vectors else self._tables(self.embedding.matrix())
        total = torch.zeros(2, 1, dtype=torch.float64)
        for block in self._blocks(part):
            self._forward(block, self.embedding.read(block.x) if tables is None else _gather(tables, block))
            total += sums(self.loss(block.outputs, block.y), block.outputs, block.y)
        return total / len(part)

    def _tables(self, E: Tensor) -> Tensor:
        """What the first layer makes of every token at every position [n_tokens d_vocab, width]."""
        return torch.matmul(E, self.first).flatten(end_dim=1)

    def _through_tables(self, E: Tensor, tables_slope: Tensor) -> Tensor:
        """Writes the first layer's gradient; the derivative by E [d_vocab, d_embed]."""
        by_position = tables_slope.unflatten(0, (len(self.first), len(E)))
        self.first_slope.copy_(torch.matmul(E.T, by_position))
        return torch.matmul(by_position, self.first.mT).sum(dim=0)

    def _forward(self, block: _Block, first: Tensor) -> list[_Input]:
        """The block's outputs from what comes into the first non-linearity [n, width]; what goes into each layer."""
        inputs = [_Input(torch.clamp_min(first, 0.0, out=block.hidden[0]))]
        for (weight, transposed, _), into in zip(self.layers, block.hidden[1:], strict=False):
            hidden = torch.mm(inputs[-1].values, inputs[-1].columns(weight, transposed), out=into).relu_()
            inputs.append(_without_silent(hidden))
        weight, transposed, _ = self.layers[-1]
        torch.mm(inputs[-1].values, inputs[-1].columns(weight, transposed), out=block.outputs)
        return inputs

    def _backward(self, block: _Block, inputs: Sequence[_Input], add: bool) -> Tensor:
        """Writes or adds the gradients of the layers after the first non-linearity; the derivative by what came into
        it. The block's outputs are used up."""
        back = slope(self.loss, block.outputs, block.y)
        share = 1.0 / len(self.part)  # of an example in the mean: given to small products, not to all outputs
        rows: Tensor | None = None  # the units of the layer above that are not silent
        layers = zip(self.layers, inputs, block.back, strict=True)
        for (weight, _, weight_slope), given, buffer in reversed(list(layers)):
            if rows is None and given.live is None:
                torch.addmm(weight_slope, back.T, given.values, beta=float(add), alpha=share, out=weight_slope)
            else:
                if not add:
                    weight_slope.zero_()
                _add(weight_slope, rows, given.live, torch.mm(back.T, given.values).mul_(share))
            ahead = weight if rows is None else weight.index_select(0, rows)
            ahead = ahead if given.live is None else ahead.index_select(1, given.live)
            into = buffer if given.live is None else torch.empty_like(given.values)
            back = torch.addmm(into, back, ahead, beta=0.0, alpha=share, out=into)
            torch.ops.aten.threshold_backward.grad_input(back, given.values, 0.0, grad_input=back)
            rows, share = given.live, 1.0
        return back

    def _blocks(self, part: Part) -> list[_Block]:
        """The part cut into blocks, once for each part."""
        if id(part) not in self.cut:
            blocks = [self._block(x, y) for x, y in zip(part.x.split(self.rows), part.y.split(self.rows), strict=True)]
            self.cut[id(part)] = part, blocks  # the part is held, so that its id stays its own
        return self.cut[id(part)][1]

    def _block(self, x: Tensor, y: Tensor) -> _Block:
        tokens = begins = order = starts = torch.empty(0, dtype=torch.int64)
        if not self.over_vectors:
            n_tokens, d_vocab = x.shape[1], self.embedding.matrix().shape[0]
            shifted = x + d_vocab * torch.arange(n_tokens)
            tokens, begins = shifted.flatten(), n_tokens * torch.arange(len(x))
            order = shifted.T.flatten().argsort(stable=True) % len(x)
            counts = tokens.bincount(minlength=n_tokens * d_vocab)
            starts = counts.cumsum(0) - counts
        hidden, back = ([buffer[: len(x)] for buffer in buffers] for buffers in (self.hidden, self.back))
        return _Block(x, y, tokens, begins, order, starts, hidden, back, self.outputs[: len(x)])


def _gather(tables: Tensor, block: _Block) -> Tensor:
    """For each example the sum of the rows of `tables` that its tokens name [n, width]."""
    return torch.embedding_bag(tables, block.tokens, block.begins)[0]


def _scatter(back: Tensor, block: _Block) -> Tensor:
    """For each row of the tables the sum of `back` [n, width] over the examples that name it."""
    return torch.embedding_bag(back, block.order, block.starts)[0]
