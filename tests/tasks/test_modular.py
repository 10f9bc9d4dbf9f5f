from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gtsearch.tasks.modular import ModularAddition


def addition(p: int, fraction: float = 0.25) -> ModularAddition:
    return ModularAddition(name="modular_addition", p=p, train_fraction=fraction)


def rows(x: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in x.tolist()}


def test_the_papers_sizes() -> None:
    task = addition(113)
    assert task.n_examples == 12769
    assert task.part_sizes == (3192, 4788, 4789)
    assert (task.d_vocab, task.n_tokens, task.n_classes) == (113, 2, 113)
    assert task.chance == pytest.approx(1 / 113)
    assert task.title == "a + b mod 113"
    splits = task.splits(0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == task.part_sizes


def test_examples_are_all_pairs_in_order() -> None:
    examples = addition(7).examples()
    assert examples.x.tolist() == [[a, b] for a in range(7) for b in range(7)]
    assert examples.y.tolist() == [(a + b) % 7 for a in range(7) for b in range(7)]
    assert examples.x.dtype == examples.y.dtype == torch.int64


@given(p=st.integers(5, 24), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**62))
def test_parts_are_disjoint_cover_and_come_back(p: int, fraction: float, seed: int) -> None:
    assume(int(p**2 * fraction) >= 1 and p**2 - int(p**2 * fraction) >= 2)
    task = addition(p, fraction)
    splits = task.splits(seed)
    parts = [splits.train, splits.validation, splits.test]
    assert sum(len(part) for part in parts) == p**2
    assert set.union(*(rows(part.x) for part in parts)) == rows(task.examples().x)
    assert abs(len(splits.train) - fraction * p**2) < 1
    assert abs(len(splits.validation) - len(splits.test)) <= 1
    for part in parts:
        assert torch.equal(part.y, part.x.sum(dim=1) % p)
    assert torch.equal(task.examples().x[splits.train_indices], splits.train.x)

    again = task.splits(seed)
    assert torch.equal(again.validation.x, splits.validation.x)
    assert again.train_sha256 == splits.train_sha256


def test_another_seed_is_another_split() -> None:
    task = addition(11)
    assert task.splits(0).train_sha256 != task.splits(1).train_sha256


def test_a_split_is_the_same_on_every_machine() -> None:
    """A change of torch's generator would make every published split another one: then this fails."""
    assert addition(113).splits(0).train_sha256.startswith("910d8f5ffaff50b6")


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = addition(11).splits(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert addition(11).splits(3).train_sha256 == first.train_sha256


@pytest.mark.parametrize("fraction", [0.01, 0.999])
def test_an_empty_part_is_refused(fraction: float) -> None:
    with pytest.raises(ValidationError, match=r"leaves the (train|validation) part empty"):
        addition(5, fraction)


@pytest.mark.parametrize("change", [{"p": 4}, {"p": 1025}, {"train_fraction": 0}, {"train_fraction": 1}, {"P": 7}])
def test_what_makes_no_task_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ModularAddition(**{"name": "modular_addition", "p": 7, **change})


def test_identity_names_the_task_and_not_the_split() -> None:
    assert addition(7).identity() == {"name": "modular_addition", "p": 7, "train_fraction": 0.25}
