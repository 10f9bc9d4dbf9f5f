from __future__ import annotations

from itertools import permutations

import pytest
import torch
from pydantic import ValidationError

from gtsearch.tasks.permutations import Permutations


@pytest.mark.parametrize("k", [3, 4])
def test_is_composition(k: int) -> None:
    everything = list(permutations(range(k)))
    examples = Permutations(name="permutations", k=k).examples()
    assert len(examples) == len(everything) ** 2
    for (a, b), y in zip(examples.x.tolist(), examples.y.tolist(), strict=True):
        assert everything[y] == tuple(everything[a][everything[b][i]] for i in range(k))


def test_s5_is_a_group_that_does_not_commute() -> None:
    task = Permutations(name="permutations")
    table = task.examples().y.view(120, 120)
    ones = torch.arange(120)
    assert torch.equal(table[0], ones) and torch.equal(table[:, 0], ones)  # the identity comes first
    assert torch.equal(table.sort(dim=1).values, ones.expand(120, 120))
    assert (table != table.T).any()
    assert (task.d_vocab, task.n_classes, task.n_examples) == (120, 120, 14400)
    assert task.title == "a o b in S5" and task.chance == 1 / 120


@pytest.mark.parametrize("k", [2, 6])
def test_other_k_are_refused(k: int) -> None:
    with pytest.raises(ValidationError):
        Permutations(name="permutations", k=k)
