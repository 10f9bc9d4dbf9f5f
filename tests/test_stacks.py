"""Stacks are as large as pays and fits, by trials on copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_kit import SPLITS, member, plan

from gtsearch.stacks import EPOCHS, Trial, epoch_seconds, largest_useful

ROOM = 10**12


def gpu(full_at: int, bytes_of_one: int = 1) -> Callable[[int], Trial]:
    """A GPU whose epoch takes a second however many members there are, until `full_at` fill it."""
    return lambda size: Trial(max(1.0, size / full_at), size * bytes_of_one)


@pytest.mark.parametrize(
    ("full_at", "most", "size"), [(1, 512, 1), (64, 512, 64), (10**6, 512, 512), (10**6, 100, 100)]
)
def test_a_stack_grows_while_that_makes_a_members_epoch_faster(full_at: int, most: int, size: int) -> None:
    assert largest_useful(gpu(full_at), ROOM, most) == size


def test_a_stack_fits_into_half_of_the_free_memory() -> None:
    assert largest_useful(gpu(10**6, bytes_of_one=100), 2 * 100 * 33, 4096) == 32


def test_one_member_is_trained_however_little_memory_there_is() -> None:
    assert largest_useful(gpu(10**6, bytes_of_one=10**9), 10, 4096) == 1


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 10**6), st.integers(1, 10**9))
def test_no_stack_is_tried_that_cannot_fit_and_none_is_larger_than_asked(
    full_at: int, most: int, each: int, free: int
) -> None:
    tried: list[int] = []

    def trial(size: int) -> Trial:
        tried.append(size)
        return gpu(full_at, each)(size)

    size = largest_useful(trial, free, most)
    assert 1 <= size <= most and size in tried
    assert all(one == 1 or one * each <= free / 2 for one in tried)


def test_a_trial_leaves_its_member_alone() -> None:
    one = member(0)
    before = {name: p.detach().clone() for name, p in one.module.named_parameters()}
    assert epoch_seconds(one, SPLITS, plan(), torch.device("cpu"), 3) > 0
    assert all(torch.equal(before[name], p) for name, p in one.module.named_parameters())
    assert one.max_epochs != EPOCHS
