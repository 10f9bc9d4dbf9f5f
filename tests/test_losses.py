from __future__ import annotations

import math

import pytest
import torch
from model_tasks import BLOBS, CORNERS
from torch import Tensor
from torch.func import vmap
from training_kit import generator

from gtsearch import catalog, losses

LABELS = torch.tensor([0, 2, 1, 1, 0])
MANY = torch.tensor(
    [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0], [-0.5, 0.0, 2.0], [4.0, 4.0, 4.0], [-3.0, -1.0, -2.0]]
).double()
TWO = torch.tensor([0, 1, 1, 0])
ONE = torch.tensor([[0.5], [2.0], [-1.0], [0.0]]).double()
CASES = [
    *[pytest.param(name, MANY, LABELS, id=f"{name}-many") for name in losses.MANY_OUTPUTS],
    *[pytest.param(name, ONE, TWO, id=f"{name}-one") for name in losses.ONE_OUTPUT],
]


def s(z: float) -> float:
    """Equation 7 of Prieto et al. 2025."""
    return z + 1 if z >= 0 else 1 / (1 - z)


def by_hand(name: str, outputs: list[float], y: int) -> float:
    """The loss of one example."""
    f, sign = outputs[0], 2 * y - 1
    if name == "cross_entropy":
        return -math.log(math.exp(outputs[y]) / sum(map(math.exp, outputs)))
    if name == "stablemax":
        return -math.log(s(outputs[y]) / sum(map(s, outputs)))
    if name == "logistic":
        return math.log(1 + math.exp(-sign * f))
    if name == "exponential":
        return math.exp(-sign * f)
    assert name == "mse"
    wanted = [float(i == y) for i in range(len(outputs))] if len(outputs) > 1 else [float(sign)]
    return sum((a - b) ** 2 for a, b in zip(outputs, wanted, strict=True)) / len(outputs)


def test_every_loss_of_the_menu_is_tried() -> None:
    assert {case.values[0] for case in CASES} == set(catalog.LOSSES)


@pytest.mark.parametrize(("name", "outputs", "y"), CASES)
class TestContract:
    def test_is_the_mean_of_what_it_is_by_hand(self, name: str, outputs: Tensor, y: Tensor) -> None:
        examples = [by_hand(name, *pair) for pair in zip(outputs.tolist(), y.tolist(), strict=True)]
        loss = catalog.load("loss", name)(outputs, y)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(sum(examples) / len(examples), rel=1e-12)

    def test_its_gradient_is_that_of_finite_differences(self, name: str, outputs: Tensor, y: Tensor) -> None:
        loss = catalog.load("loss", name)
        assert torch.autograd.gradcheck(lambda z: loss(z, y), outputs.clone().requires_grad_())

    def test_its_slope_is_the_gradient(self, name: str, outputs: Tensor, y: Tensor) -> None:
        loss = catalog.load("loss", name)
        leaf = outputs.clone().requires_grad_()
        (expected,) = torch.autograd.grad(len(y) * loss(leaf, y), leaf)
        found = losses.slope(loss, outputs.clone(), y)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)

    def test_is_the_same_over_a_stack(self, name: str, outputs: Tensor, y: Tensor) -> None:
        loss = catalog.load("loss", name)
        stack = torch.randn(3, *outputs.shape, generator=generator(0), dtype=torch.float64, requires_grad=True)
        together, alone = vmap(loss, in_dims=(0, None))(stack, y), torch.stack([loss(one, y) for one in stack])
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
        gradients = (torch.autograd.grad(losses.sum(), stack)[0] for losses in (together, alone))
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)

    def test_extreme_outputs_leave_it_and_its_gradient_finite(self, name: str, outputs: Tensor, y: Tensor) -> None:
        # exp(88) is the last that float32 holds.
        for size in (80.0,) if name == "exponential" else (80.0, 1e4, 1e18):
            extreme = (outputs.float() * size / outputs.abs().max().float()).requires_grad_()
            loss = catalog.load("loss", name)(extreme, y)
            (gradient,) = torch.autograd.grad(loss, extreme)
            assert loss.isfinite()
            assert gradient.isfinite().all()


def test_the_exponential_loss_overflows_to_infinity_which_is_a_divergence() -> None:
    assert losses.exponential(torch.tensor([[-1e3]]), torch.tensor([1])).item() == math.inf
    assert losses.exponential(torch.tensor([[1e3]]), torch.tensor([1])).item() == 0.0


def test_stablemax_has_a_gradient_at_zero_and_beyond_what_its_s_resolves() -> None:
    """log s has slope 1 at 0, from both sides: the gradient of the loss there is 1/3 less the label's 1, over n."""
    zeros = torch.zeros(1, 3, requires_grad=True)
    losses.stablemax(zeros, torch.tensor([1])).backward()
    assert zeros.grad is not None
    torch.testing.assert_close(zeros.grad, torch.tensor([[1 / 3, -2 / 3, 1 / 3]]))
    far = torch.tensor([[3e38, -3e38]], requires_grad=True)
    loss = losses.stablemax(far, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(3e38), rel=1e-5)
    assert far.grad is not None and far.grad.isfinite().all()


def test_which_loss_fits_which_task() -> None:
    def fitting(task: object) -> set[str]:
        return {name for name in catalog.LOSSES if losses.misfit(name, task) is None}

    assert fitting(BLOBS) == {"cross_entropy", "stablemax", "mse"}
    assert fitting(CORNERS) == {"logistic", "exponential", "mse"}
    assert losses.misfit("logistic", BLOBS) == (
        "does not fit three blobs, whose models have 3 outputs; "
        "choose one of cross_entropy, stablemax, mse, not `logistic`"
    )
    assert "have one output; choose one of logistic, exponential, mse, not" in str(losses.misfit("stablemax", CORNERS))


def test_a_label_counts_as_a_sign_in_the_dtype_of_the_outputs() -> None:
    signs = losses.signs(torch.tensor([0, 1]), ONE)
    assert signs.tolist() == [-1.0, 1.0]
    assert signs.dtype == torch.float64


def test_right_is_the_largest_output_or_strictly_the_sign() -> None:
    assert losses.is_right(MANY, LABELS).tolist() == [True, False, False, False, False]
    assert losses.is_right(ONE, TWO).tolist() == [False, True, False, False]
    for label in (0, 1):
        assert not losses.is_right(torch.tensor([[0.0], [-0.0], [math.nan]]), torch.full((3,), label)).any()
    stack = torch.stack([ONE, -ONE])
    assert losses.is_right(stack, TWO).tolist() == [[False, True, False, False], [True, False, True, False]]
