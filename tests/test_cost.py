from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from model_tasks import BLOBS, CORNERS
from torch import Tensor
from training_kit import build, plan

from gtsearch import cost
from gtsearch.catalog import METHODS, load
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Embedding, Model
from gtsearch.models.mlp import MlpSizes
from gtsearch.models.transformer import TransformerSizes
from gtsearch.models.xor_net import XorNetSizes
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
    module = build(0, sizes=sizes, task=TASK, method=Transfer(name="transfer"), embedding=torch.ones(113, 4))
    factorised = cost.measure(module, TASK)
    assert factorised.flops_per_epoch - plain.flops_per_epoch == 3 * 2 * 113 * 4 * 128
    assert factorised.params - plain.params == 113 * 4 + 4 * 128 - 113 * 128


@pytest.mark.parametrize(("depth", "width"), [(2, None), (4, 8)])
def test_mlp_over_vectors_by_hand(depth: int, width: int | None) -> None:
    n, d_vocab, d, outputs = BLOBS.part_sizes[0], BLOBS.d_vocab, 5, BLOBS.n_outputs
    widths = [d, *([] if width is None else [width] * (depth - 2)), outputs]
    later = sum(2 * n * a * b for a, b in pairwise(widths))
    measured = cost.of_architecture(MlpSizes(name="mlp", depth=depth, d_embed=d, width=width), BLOBS)
    # The first matrix needs no gradient for the inputs: backward costs it one product and not two.
    assert measured.flops_per_epoch == 2 * 2 * n * d_vocab * d + 3 * later
    assert measured.params == d_vocab * d + sum(a * b for a, b in pairwise(widths))


def test_the_factorised_embedding_over_vectors_never_costs_the_product_of_its_factors() -> None:
    n, d_vocab, d_weak, neurons = CORNERS.part_sizes[0], CORNERS.d_vocab, 2, 50
    sizes = XorNetSizes(name="xor_net", d_embed=neurons)
    measured = cost.measure(
        build(0, sizes=sizes, task=CORNERS, method=Transfer(name="transfer"), embedding=torch.ones(d_vocab, d_weak)),
        CORNERS,
    )
    first, second, last = (2 * n * a * b for a, b in ((d_vocab, d_weak), (d_weak, neurons), (neurons, 1)))
    assert measured.flops_per_epoch == 2 * first + 3 * second + 3 * last
    assert measured.params == d_vocab * d_weak + d_weak * neurons + neurons


@pytest.mark.parametrize("vectors", [False, True])
def test_a_start_that_merges_is_counted_before_and_after(vectors: bool) -> None:
    """After the merge it is the plain target; over vectors that costs more, not less."""
    task = BLOBS if vectors else TASK
    sizes = MlpSizes(name="mlp", d_embed=4 if vectors else 128, width=None if vectors else 16)
    plain = cost.of_architecture(sizes, task)
    found = cost.of_start(sizes, task, Transfer(name="transfer", merge_at=10), 1)
    never = cost.of_start(sizes, task, Transfer(name="transfer"), 1)
    assert found.merged_flops_per_epoch == plain.flops_per_epoch != found.flops_per_epoch
    assert never.merged_flops_per_epoch is None and never.flops_per_epoch == found.flops_per_epoch


@pytest.mark.parametrize(("flops", "epochs"), [(0.0, 0.0), (350.0, 3.5), (400.0, 4.0), (2400.0, 6.0)])
def test_what_flops_pay_for_on_both_sides_of_a_merge(flops: float, epochs: float) -> None:
    merging = cost.Cost(params=1, flops_per_epoch=100, merged_flops_per_epoch=1000)
    assert merging.epochs(flops, 4) == epochs
    assert merging.epochs(flops, None) == cost.Cost(1, 100).epochs(flops, 4) == flops / 100
    if epochs == int(epochs):  # as training charges it
        shared = plan(flops_per_epoch=100, merged_flops_per_epoch=1000)
        assert shared.flops(int(epochs), Transfer(name="transfer", merge_at=4)) == flops


@pytest.mark.parametrize("name", ["onehot", "binary", "random"])
def test_a_given_embedding_is_no_parameter_to_pay_for_unless_it_is_trained(name: str) -> None:
    sizes = MlpSizes(name="mlp", d_embed=8, width=16)
    held, trained = (
        cost.of_start(sizes, TASK, load("method", name)(name=name, trained=trained), None) for trained in (False, True)
    )
    d = {"onehot": 113, "binary": 7, "random": 128}[name]
    assert held.params == 2 * d * 16 + 16 * 113
    assert trained.params - held.params == 113 * d
    assert trained.flops_per_epoch == held.flops_per_epoch, "training works out the gradient of what it holds"


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_made_to_cost_a_start(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would otherwise hold a target of 80,000 x 2048 and its training examples."""
    np.save(tmp_path / "E.npy", np.ones((113, 4)))
    method = load("method", name)(name=name, **({"path": str(tmp_path / "E.npy")} if name == "file" else {}))
    made: list[torch.device] = []
    register = torch.nn.Module.register_parameter

    def note(module: torch.nn.Module, key: str, value: torch.nn.Parameter | None) -> None:
        made.extend([value.device] if value is not None else [])
        register(module, key, value)

    monkeypatch.setattr(torch.nn.Module, "register_parameter", note)
    blank, drawn = ModularAddition.blank, []
    monkeypatch.setattr(
        ModularAddition, "blank", lambda self, n, device: (drawn.append(device), blank(self, n, device))[1]
    )
    cost.of_start(MlpSizes(name="mlp", d_embed=8, width=16), TASK, method, 4)
    assert {device.type for device in made} == {"meta"} == set(drawn)


def test_what_is_held_is_no_parameter_to_pay_for() -> None:
    trained, held = (XorNetSizes(name="xor_net", d_embed=5, output=output) for output in ("trained", "signs"))
    assert cost.of_architecture(trained, CORNERS).params - cost.of_architecture(held, CORNERS).params == 5


def test_transformer_by_hand() -> None:
    d, heads, k, m = 12, 3, 4, 20
    sizes = TransformerSizes(name="transformer", layers=2, d_embed=d, heads=heads, d_mlp=m)
    inside = heads * k
    # The first of the two positions is worked out once a token, and of the last block only the second position.
    both, second = 113 + N_TRAIN, N_TRAIN
    products = [
        *[(rows, d, inside) for rows in (second, both, both, second, both, both)],  # queries, keys, values of a block
        *[(rows, inside, d) for rows in (both, second)],
        *[(rows, d, m) for rows in (both, both, second, second)],
        (second, d, 113),
    ]
    measured = cost.of_architecture(sizes, TASK)
    assert measured.flops_per_epoch == 3 * sum(2 * rows * a * b for rows, a, b in products)
    assert measured.params == 113 * d + 2 * d + 2 * (4 * d * inside + 2 * d * m) + d * 113


def test_measuring_leaves_the_module_alone() -> None:
    module = build(0, task=TASK)
    before = [p.clone() for p in module.parameters()]
    cost.measure(module, TASK)
    for p, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert p.grad is None


def test_counting_leaves_no_folder_behind(tmp_path: Path) -> None:
    """torch makes one for what it compiles, which is nothing."""
    code = "from gtsearch import plans; from gtsearch.spec import load_spec; plans.ablation_for(load_spec('smoke'))"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert not list(tmp_path.iterdir())
