from __future__ import annotations

import pytest
import torch
from torch import Tensor
from training_kit import build

from gtsearch import cost
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Embedding, Model
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.modular import ModularAddition

TASK = ModularAddition(name="modular_addition", p=113)
N_TRAIN = TASK.part_sizes[0]


class OneProduct(Model):
    """logits = (rows of E for the first token) W: one matrix product, n x d times d x classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(113, 10)
        self.W = torch.nn.Parameter(torch.zeros(10, 113))

    def forward(self, x: Tensor) -> Tensor:
        return torch.embedding(self.embedding.matrix(), x[:, 0]) @ self.W


def test_a_known_product_costs_two_flops_a_multiply_add_and_twice_that_backward() -> None:
    measured = cost.measure(OneProduct(), TASK)
    assert measured.flops_per_epoch == 3 * 2 * N_TRAIN * 10 * 113
    assert measured.params == 113 * 10 + 10 * 113


@pytest.mark.parametrize(("depth", "d", "width"), [(2, 4, 16), (3, 128, 512), (4, 2, 8)])
def test_mlp_by_hand(depth: int, d: int, width: int) -> None:
    first = 2 * (2 * 113 * d * width)  # E W1[position] for each of two positions, once a token of the vocabulary
    hidden = (depth - 2) * 2 * N_TRAIN * width * width
    last = 2 * N_TRAIN * width * 113
    measured = cost.of_architecture(MlpSizes(name="mlp", depth=depth, d_embed=d, width=width), TASK)
    assert measured.flops_per_epoch == 3 * (first + hidden + last)
    assert measured.params == 113 * d + 2 * d * width + (depth - 2) * width * width + width * 113


def test_the_factorised_embedding_is_charged() -> None:
    sizes = MlpSizes(name="mlp", depth=3, d_embed=128, width=512)
    plain = cost.of_architecture(sizes, TASK)
    factorised = cost.measure(build(0, sizes=sizes, task=TASK, method=Transfer(), embedding=torch.ones(113, 4)), TASK)
    assert factorised.flops_per_epoch - plain.flops_per_epoch == 3 * 2 * 113 * 4 * 128
    assert factorised.params - plain.params == 113 * 4 + 4 * 128 - 113 * 128


def test_measuring_leaves_the_module_alone() -> None:
    module = build(0, task=TASK)
    before = [p.clone() for p in module.parameters()]
    cost.measure(module, TASK)
    for p, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert p.grad is None
