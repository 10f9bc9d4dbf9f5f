"""Tasks over vectors of signs: sparse parity, the one with easy features, XOR clusters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from training_kit import member, plan, train

from gtsearch import catalog
from gtsearch.losses import logistic
from gtsearch.models.mlp import MlpSizes
from gtsearch.problems import explain
from gtsearch.tasks.base import Part
from gtsearch.tasks.bits import different_bits
from gtsearch.tasks.parity import RedundantParity, SparseParity
from gtsearch.tasks.xor import XorClusters


def joined(task: Any, seed: int = 0) -> Part:
    splits = task.splits(seed)
    parts = (splits.train, splits.validation, splits.test)
    return Part(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))


@given(q=st.integers(1, 12), share=st.floats(0, 1), seed=st.integers(0, 2**62))
def test_bits_are_different_and_as_many_as_asked_for(q: int, share: float, seed: int) -> None:
    n = max(1, int(share * 2**q))
    bits = different_bits(n, q, torch.Generator().manual_seed(seed))
    assert bits.shape == (n, q) and bits.dtype == torch.uint8 and bits.max() <= 1
    assert len({tuple(row) for row in bits.tolist()}) == n


@pytest.mark.parametrize(("n", "q"), [(6, 4), (8, 4), (9, 4), (5, 3)])
def test_every_choice_of_bits_is_as_likely(n: int, q: int) -> None:
    """Both ways of drawing, on either side of half of all rows."""
    counts = torch.zeros(2**q)
    for seed in range(2000):
        bits = different_bits(n, q, torch.Generator().manual_seed(seed)).long()
        counts[(bits << torch.arange(q)).sum(dim=1)] += 1
    expected = 2000 * n / 2**q
    deviation = (expected * (1 - n / 2**q)) ** 0.5
    assert ((counts - expected).abs() < 4.5 * deviation).all()


def test_the_papers_parity() -> None:
    task = SparseParity(name="sparse_parity")
    assert (task.q, task.k, task.part_sizes) == (40, 3, (1000, 1000, 1000))
    assert (task.n_outputs, task.default_loss, task.chance, task.title) == (1, "logistic", 0.5, "(40, 3)-parity")
    part = joined(task)
    assert set(part.x.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(part.x[:, 0] * part.x[:, 1] * part.x[:, 2], 2.0 * part.y - 1.0)
    # 3000 fair coins in each column, and the label one more.
    assert (part.x.mean(dim=0).abs() < 4.5 / 3000**0.5).all()
    assert abs(part.y.double().mean() - 0.5) < 4.5 / 3000**0.5


def test_all_vectors_there_are_can_be_asked_for() -> None:
    task = SparseParity(name="sparse_parity", q=4, k=4, n_train=8, n_validation=4, n_test=4)
    assert len({tuple(row) for row in joined(task).x.tolist()}) == 16


def test_more_examples_to_judge_by_leave_the_training_set_as_it_is() -> None:
    one, other = (SparseParity(name="sparse_parity", n_test=n) for n in (10, 2000))
    assert one.splits(0).train_sha256 == other.splits(0).train_sha256


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (
            {"name": "sparse_parity", "q": 11},
            "11 signs make 2048 different examples, and n_train + n_validation + n_test asks for 3000",
        ),
        ({"name": "sparse_parity", "k": 41}, "k must be q = 40 or less, not 41"),
        ({"name": "redundant_parity", "q": 11, "n_easy": 500}, "11 signs make 2048 different examples"),
        ({"name": "xor_clusters", "p": 8}, "8 signs make 256 different examples"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(parameters: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as refused:
        catalog.load("task", parameters["name"])(**parameters)
    (problem,) = explain(refused.value)
    assert line in problem.text and len(problem.text.splitlines()) == 1


def test_the_easy_block_predicts_as_often_as_it_says_and_no_more() -> None:
    task = RedundantParity(name="redundant_parity", rho=0.8, n_easy=7)
    assert task.d_vocab == 47
    splits = task.splits(0)
    for part in (splits.train, splits.validation, splits.test):
        bits, easy = part.x[:, :40], part.x[:, 40:]
        labels = 2.0 * part.y - 1.0
        assert torch.equal(bits[:, :3].prod(dim=1), labels)
        assert torch.equal(easy, easy[:, :1].expand(-1, 7)) and set(easy.unique().tolist()) == {-1.0, 1.0}
        assert abs(float((easy[:, 0] == labels).double().mean()) - 0.8) < 4.5 * (0.16 / 1000) ** 0.5
    assert task.chance == 0.5 and task.n_outputs == 1


def test_the_easy_block_traps_a_weak_model() -> None:
    """Stopped at the same accuracy, its embedding reads the parity bits no more than any others."""

    def rows_read(task: SparseParity) -> torch.Tensor:
        sizes = MlpSizes(name="mlp", d_embed=8, depth=3, width=16)
        weak = member(1, start={"sizes": sizes, "task": task}, lr=0.01, max_epochs=300, keep=[0.75])
        outcome = train([weak], plan(goal=None, loss=logistic), task.splits(0))["run-1"]
        assert outcome.measures["status"] == "cleared"
        return outcome.kept[0].E.norm(dim=1)

    plain = rows_read(SparseParity(name="sparse_parity", q=20))
    trapped = rows_read(RedundantParity(name="redundant_parity", q=20))
    assert plain[:3].mean() > 2 * plain[3:20].mean()
    assert trapped[:3].mean() < 1.2 * trapped[3:20].mean()


def test_the_bits_beside_the_block_are_those_of_the_plain_task() -> None:
    plain = SparseParity(name="sparse_parity").splits(3)
    beside = RedundantParity(name="redundant_parity").splits(3)
    assert torch.equal(beside.validation.x[:, :40], plain.validation.x)
    assert torch.equal(beside.validation.y, plain.validation.y)


def test_xor_clusters() -> None:
    task = XorClusters(name="xor_clusters", p=500, eps=0.05)
    assert (task.n_outputs, task.default_loss, task.chance, task.d_vocab) == (1, "exponential", 0.5, 500)
    part = joined(task)
    assert set(part.x[:, :2].unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(part.x[:, 2:].abs().unique(), torch.tensor([0.05]))
    assert torch.equal(part.x[:, 0] * part.x[:, 1], 2.0 * part.y - 1.0)
    assert (part.x[:, :2].mean(dim=0).abs() < 4.5 / len(part) ** 0.5).all()


def test_the_papers_xor_clusters_fit_a_small_machine() -> None:
    task = XorClusters(name="xor_clusters")
    assert (task.p, task.eps, task.n_train) == (80_000, 0.05, 400)
    assert task.n_examples * task.p * 4 <= 256 * 10**6
    assert XorClusters(name="xor_clusters", p=160_000).title == "XOR clusters of 160000 coordinates"
