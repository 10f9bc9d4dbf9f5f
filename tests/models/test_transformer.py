from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from model_tasks import BLOBS, SUMS
from torch import Tensor
from training_kit import GOOD, build

from gtsearch.losses import cross_entropy, is_right
from gtsearch.models.transformer import Block, Stream, Transformer, TransformerSizes
from gtsearch.tasks.base import Task
from gtsearch.tasks.parity import SparseParity


def sizes(**settings: Any) -> TransformerSizes:
    return TransformerSizes(name="transformer", **{"d_embed": 8, "heads": 2, **settings})


def by_hand(weights: dict[str, Tensor], tokens: list[int], heads: int, layers: int) -> Tensor:
    """The outputs for one example, position by position and head by head."""
    stream = [weights["embedding.E"][token] + weights["positions.P"][i] for i, token in enumerate(tokens)]
    for layer in range(layers):
        W = {name.split(".")[2]: p for name, p in weights.items() if name.startswith(f"blocks.{layer}.")}
        split = {name: [W[name] @ x for x in stream] for name in ("query", "key", "value")}
        d_head = len(split["query"][0]) // heads
        after = []
        for i, x in enumerate(stream):
            taken = []
            for h in range(heads):
                own = slice(h * d_head, (h + 1) * d_head)
                scores = [split["query"][i][own] @ split["key"][j][own] / math.sqrt(d_head) for j in range(i + 1)]
                shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
                taken.append(sum(share * split["value"][j][own] for j, share in enumerate(shares)))
            x = x + W["output"] @ torch.cat(taken)
            after.append(x + W["down"] @ (W["up"] @ x).clamp_min(0))
        stream = after
    return weights["readout.weight"] @ stream[-1]


def bits(q: int) -> SparseParity:
    """A task of q tokens, of a vocabulary of two."""
    return SparseParity(name="sparse_parity", q=q, k=1, n_train=1, n_validation=1, n_test=1, tokens=True)


@pytest.mark.parametrize("settings", [{"layers": 1}, {"layers": 3, "heads": 4}, {"d_head": 5, "d_mlp": 7}])
@pytest.mark.parametrize(
    ("task", "examples"),
    [
        (SUMS, [[6, 0], [0, 6], [3, 3]]),  # fewer than tokens, and more of them
        (SUMS, [[a, b] for a in range(7) for b in (6, 2)]),
        (SUMS, [[token] for token in (1, 0, 6, 6, 2, 3, 4, 5)]),
        (bits(4), [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]]),
        (bits(4), [[0, 1, 0, 1]]),
    ],
)
def test_is_the_transformer_written_out_by_hand(
    settings: dict[str, Any], task: Task, examples: list[list[int]]
) -> None:
    one = sizes(**settings)
    module = build(0, sizes=one, task=task, init_scale=1.0).double()
    weights = {name: p.detach() for name, p in module.named_parameters()}
    expected = torch.stack([by_hand(weights, tokens, one.heads, one.layers) for tokens in examples])
    torch.testing.assert_close(module(torch.tensor(examples)).detach(), expected, rtol=1e-10, atol=1e-10)


def stream(n: int, t: int) -> Stream:
    """Of two rows to begin with and width 8, float64."""
    draws = torch.Generator().manual_seed(0)
    first, later = (torch.randn(*shape, 8, generator=draws, dtype=torch.float64) for shape in ((2,), (n, t - 1)))
    return Stream(first, torch.arange(n) % 2, later)


def blocks() -> Iterator[Block]:
    module = build(0, sizes=sizes(layers=2), task=SUMS, init_scale=1.0).double()
    assert isinstance(module, Transformer)
    yield from (block for block in module.blocks if isinstance(block, Block))


@pytest.mark.parametrize("at", [0, 1, 3])
def test_no_position_sees_a_later_one(at: int) -> None:
    """A change of the position `at` is a change of it and of those behind it."""
    before = stream(3, 5)
    changed = replace(before, first=before.first + 1.0) if at == 0 else replace(before, later=before.later.clone())
    changed.later[:, max(at - 1, 0) : at] += 1.0
    for block in blocks():
        was, became = block(before).whole(), block(changed).whole()
        assert torch.equal(was[:, :at], became[:, :at])
        assert not torch.isclose(was[:, at:], became[:, at:]).all(dim=-1).any()


@pytest.mark.parametrize("t", [1, 2, 5])
def test_the_last_position_alone_is_what_it_is_among_all(t: int) -> None:
    own = stream(3, t)
    for block in blocks():
        torch.testing.assert_close(block.last(own), block(own).end(), rtol=1e-12, atol=1e-12)


def test_has_no_bias_and_no_norm() -> None:
    shapes = {name: tuple(p.shape) for name, p in sizes(layers=1, d_mlp=12, d_head=3).module(SUMS).named_parameters()}
    assert shapes == {
        "embedding.E": (7, 8),
        "positions.P": (2, 8),
        "blocks.0.query.weight": (6, 8),
        "blocks.0.key.weight": (6, 8),
        "blocks.0.value.weight": (6, 8),
        "blocks.0.output.weight": (8, 6),
        "blocks.0.up.weight": (12, 8),
        "blocks.0.down.weight": (8, 12),
        "readout.weight": (7, 8),
    }


def test_the_papers_targets_have_their_names_and_widths() -> None:
    large = sizes(layers=8, d_embed=512, heads=4, d_mlp=512)
    assert (large.label, large.head_width) == ("transformer-d512-h4-m512-L8", 128)
    small = sizes(layers=2, d_embed=128, heads=4)
    assert (small.label, small.head_width) == ("transformer-d128-h4-m512-L2", 32)
    assert sizes(layers=2, d_embed=128, heads=4, d_head=16).label == "transformer-d128-h4x16-m512-L2"
    assert sizes(layers=2, d_embed=128, heads=4, d_head=32, d_mlp=512).label == small.label


def test_vectors_and_heads_that_do_not_divide_are_problems() -> None:
    assert list(sizes().problems(BLOBS)) == [
        ("name", "a transformer reads tokens, and three blobs gives vectors; choose another model")
    ]
    assert list(sizes(heads=3).problems(SUMS)) == [("d_head", "d_embed 8 is no multiple of the 3 heads; give `d_head`")]
    assert list(sizes(heads=3, d_head=4).problems(SUMS)) == []


def test_learns_its_training_set() -> None:
    module, train = build(0, sizes=sizes(d_embed=16), task=SUMS, init_scale=1.0), SUMS.splits(0).train
    optimizer = torch.optim.AdamW(module.parameters(), lr=GOOD["lr"] / 3)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(module(train.x), train.y).backward()
        optimizer.step()
    assert is_right(module(train.x), train.y).all()
