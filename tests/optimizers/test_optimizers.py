from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from training_kit import generator

from gtsearch.optimizers import AdamW

LR = [1e-3, 3e-2, 1.0, 0.1]
WEIGHT_DECAY = [0.0, 1.0, 0.5, 10.0]


def gradient_of(flat: Tensor, step: int, i: int) -> Tensor:
    """Member i's gradient [P]: of a bent loss, with a part that no loss would give, and zero now and then."""
    noise = torch.randn(flat.shape, generator=generator(100 * step + i), dtype=torch.float64).to(flat)
    return torch.zeros_like(flat) if step % 7 == 3 else torch.sin(3 * flat) + 0.1 * noise


def torchs(start: Tensor, lr: float, weight_decay: float, steps: int, i: int) -> Tensor:
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], lr=lr, weight_decay=weight_decay, foreach=False)
    for step in range(steps):
        parameter.grad = gradient_of(parameter.detach(), step, i)
        optimizer.step()
    return parameter.detach()


def stacked(start: Tensor, lr: list[float], weight_decay: list[float], steps: int) -> Tensor:
    flat = start.clone()
    optimizer = AdamW(flat, torch.tensor(lr, dtype=flat.dtype), torch.tensor(weight_decay, dtype=flat.dtype))
    for step in range(steps):
        optimizer.step(torch.stack([gradient_of(flat[i], step, i) for i in range(len(flat))]))
    return flat


@pytest.mark.parametrize(("dtype", "steps", "rtol"), [(torch.float64, 100, 1e-10), (torch.float32, 10, 1e-4)])
def test_each_row_is_torchs_adamw(dtype: torch.dtype, steps: int, rtol: float) -> None:
    start = torch.randn(len(LR), 20, generator=generator(0), dtype=dtype)
    ours = stacked(start, LR, WEIGHT_DECAY, steps)
    for i, (lr, weight_decay) in enumerate(zip(LR, WEIGHT_DECAY, strict=True)):
        theirs = torchs(start[i], lr, weight_decay, steps, i)
        torch.testing.assert_close(ours[i], theirs, rtol=rtol, atol=rtol)
        assert not torch.allclose(ours[i], start[i])


@given(lr=st.floats(1e-4, 1.0), weight_decay=st.floats(0.0, 10.0), seed=st.integers(0, 1000))
def test_one_row_is_torchs_adamw_for_any_setting(lr: float, weight_decay: float, seed: int) -> None:
    start = torch.randn(1, 5, generator=generator(seed), dtype=torch.float64)
    ours = stacked(start, [lr], [weight_decay], 20)
    torch.testing.assert_close(ours[0], torchs(start[0], lr, weight_decay, 20, 0), rtol=1e-9, atol=1e-9)


def test_members_that_leave_do_not_disturb_those_that_stay() -> None:
    start = torch.randn(4, 6, generator=generator(0), dtype=torch.float64)
    lr, weight_decay = (torch.tensor(values, dtype=torch.float64) for values in (LR, WEIGHT_DECAY))
    flat = start.clone()
    optimizer = AdamW(flat, lr, weight_decay)
    for step in range(20):
        if step == 8:
            rows = torch.tensor([1, 3])
            optimizer.keep(optimizer.flat[rows].contiguous(), rows)
        names = range(4) if step < 8 else (1, 3)
        rows_now = zip(optimizer.flat, names, strict=True)
        optimizer.step(torch.stack([gradient_of(row, step, i) for row, i in rows_now]))
    for row, i in zip(optimizer.flat, (1, 3), strict=True):
        torch.testing.assert_close(row, torchs(start[i], LR[i], WEIGHT_DECAY[i], 20, i), rtol=1e-10, atol=1e-10)


def test_updates_the_given_buffer_in_place() -> None:
    flat = torch.ones(1, 3)
    optimizer = AdamW(flat, torch.tensor([0.1]), torch.tensor([0.0]))
    optimizer.step(torch.ones(1, 3))
    assert optimizer.flat is flat
    torch.testing.assert_close(flat, torch.full((1, 3), 0.9))
