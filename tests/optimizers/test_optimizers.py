"""One contract for every optimizer of the menu, then whose steps each one's are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from training_kit import generator

from gtsearch import catalog
from gtsearch.models.mlp import MlpSizes
from gtsearch.models.transformer import TransformerSizes
from gtsearch.optimizers.base import Optimizer
from gtsearch.optimizers.borrowed import hidden_matrices
from gtsearch.tasks.modular import ModularAddition

TASK = ModularAddition(name="modular_addition", p=5)
MLP = MlpSizes(name="mlp", depth=3, d_embed=3, width=4)
SHAPES: Mapping[str, torch.Size] = {name: p.shape for name, p in MLP.module(TASK).named_parameters()}
P = sum(shape.numel() for shape in SHAPES.values())

LR = [1e-3, 3e-2, 1.0, 0.1]
WEIGHT_DECAY = [0.0, 1.0, 0.5, 10.0]
STACKABLE = [name for name in catalog.OPTIMIZERS if catalog.load("optimizer", name).stackable]

# What torch calls the optimizers that it has too.
TORCHS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "gd": torch.optim.SGD,
}


def make(name: str, flat: Tensor, lr: list[float], weight_decay: list[float]) -> Optimizer:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=flat.dtype)

    made: Optimizer = catalog.load("optimizer", name)(flat, column(lr), column(weight_decay), SHAPES)
    return made


def start_of(rows: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, P, generator=generator(seed), dtype=dtype)


def gradient_of(flat: Tensor, step: int, i: int) -> Tensor:
    """Member i's gradient [P]: of a bent loss, with a part that no loss would give, and zero now and then."""
    noise = torch.randn(flat.shape, generator=generator(100 * step + i), dtype=torch.float64).to(flat)
    return torch.zeros_like(flat) if step % 7 == 3 else torch.sin(flat) + 0.1 * noise


def advance(optimizer: Optimizer, steps: range, names: list[int]) -> None:
    """Steps whose rows are those of the members called `names`."""
    for step in steps:
        rows = zip(optimizer.flat, names, strict=True)
        optimizer.step(torch.stack([gradient_of(row, step, i) for row, i in rows]))


def alone(name: str, start: Tensor, i: int, lr: float, weight_decay: float, steps: int) -> Tensor:
    """Where member i [P] stands after so many steps, by itself."""
    optimizer = make(name, start[None].clone(), [lr], [weight_decay])
    advance(optimizer, range(steps), [i])
    return optimizer.flat[0]


def torchs(name: str, start: Tensor, lr: float, weight_decay: float, steps: int, i: int) -> Tensor:
    parameter = torch.nn.Parameter(start.clone())
    optimizer = TORCHS[name]([parameter], lr=lr, weight_decay=weight_decay, foreach=False)
    for step in range(steps):
        parameter.grad = gradient_of(parameter.detach(), step, i)
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("name", catalog.OPTIMIZERS)
class TestContract:
    def test_updates_the_given_buffer_in_place(self, name: str) -> None:
        flat = start_of(1)
        before, place = flat.clone(), flat.data_ptr()
        optimizer = make(name, flat, [0.1], [0.1])
        advance(optimizer, range(1), [0])
        assert optimizer.flat is flat
        assert flat.data_ptr() == place
        assert (flat != before).all()

    def test_lowers_a_quadratic_loss(self, name: str) -> None:
        flat, goal = start_of(1), start_of(1, seed=1)
        optimizer = make(name, flat, [0.02], [0.0])
        before = (flat - goal).square().sum()
        for _ in range(100):
            optimizer.step(flat - goal)
        assert (flat - goal).square().sum() < 0.6 * before

    def test_a_tiny_learning_rate_without_decay_leaves_all_nearly_as_it_was(self, name: str) -> None:
        start = start_of(1)
        moved = alone(name, start[0], 0, 1e-9, 0.0, 10) - start[0]
        assert 0.0 < moved.abs().max() < 1e-6

    def test_weight_decay_shrinks_parameters(self, name: str) -> None:
        start = start_of(1)
        with_decay, without = (alone(name, start[0], 0, 1e-3, decay, 20) for decay in (0.2, 0.0))
        assert with_decay.norm() < without.norm()

    def test_keeping_a_row_goes_on_exactly(self, name: str) -> None:
        """The state moves along, in a buffer that is another."""
        start = start_of(1)
        optimizer = make(name, start.clone(), [0.03], [0.5])
        advance(optimizer, range(6), [0])
        optimizer.keep(optimizer.flat.clone(), torch.tensor([0]))
        advance(optimizer, range(6, 12), [0])
        assert torch.equal(optimizer.flat[0], alone(name, start[0], 0, 0.03, 0.5, 12))

    def test_works_in_single_precision(self, name: str) -> None:
        start = start_of(1, dtype=torch.float32)
        single, double = alone(name, start[0], 0, 0.01, 0.5, 5), alone(name, start[0].double(), 0, 0.01, 0.5, 5)
        assert single.dtype == torch.float32
        # Muon's iteration works in bfloat16, whose steps are 0.4 %.
        torch.testing.assert_close(single.double(), double, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", STACKABLE)
class TestStack:
    def test_each_row_is_as_if_alone(self, name: str) -> None:
        start = start_of(len(LR))
        optimizer = make(name, start.clone(), LR, WEIGHT_DECAY)
        advance(optimizer, range(20), [0, 1, 2, 3])
        for i, (lr, weight_decay) in enumerate(zip(LR, WEIGHT_DECAY, strict=True)):
            expected = alone(name, start[i], i, lr, weight_decay, 20)
            torch.testing.assert_close(optimizer.flat[i], expected, rtol=1e-10, atol=1e-10)

    def test_members_that_leave_do_not_disturb_those_that_stay(self, name: str) -> None:
        start = start_of(4)
        optimizer = make(name, start.clone(), LR, WEIGHT_DECAY)
        advance(optimizer, range(8), [0, 1, 2, 3])
        rows = torch.tensor([1, 3])
        optimizer.keep(optimizer.flat[rows].contiguous(), rows)
        advance(optimizer, range(8, 20), [1, 3])
        for row, i in zip(optimizer.flat, (1, 3), strict=True):
            expected = alone(name, start[i], i, LR[i], WEIGHT_DECAY[i], 20)
            torch.testing.assert_close(row, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "steps", "rtol"), [(torch.float64, 100, 1e-10), (torch.float32, 10, 1e-4)])
@pytest.mark.parametrize("name", TORCHS)
def test_each_row_is_torchs(name: str, dtype: torch.dtype, steps: int, rtol: float) -> None:
    start = start_of(len(LR), dtype=dtype)
    optimizer = make(name, start.clone(), LR, [0.0, 1.0, 0.5, 2.0])
    advance(optimizer, range(steps), [0, 1, 2, 3])
    for i, (lr, weight_decay) in enumerate(zip(LR, [0.0, 1.0, 0.5, 2.0], strict=True)):
        theirs = torchs(name, start[i], lr, weight_decay, steps, i)
        torch.testing.assert_close(optimizer.flat[i], theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", TORCHS)
@given(lr=st.floats(1e-4, 1.0), weight_decay=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_one_row_is_torchs_for_any_setting(name: str, lr: float, weight_decay: float, seed: int) -> None:
    start = start_of(1, seed)
    ours = alone(name, start[0], 0, lr, weight_decay, 20)
    torch.testing.assert_close(ours, torchs(name, start[0], lr, weight_decay, 20, 0), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("name", "kept"), [("gd", 1 - 0.5 * 0.1), ("gd_literal", 1 - 0.1)])
def test_the_two_readings_of_the_papers_weight_decay(name: str, kept: float) -> None:
    start = start_of(1)
    optimizer = make(name, start.clone(), [0.5], [0.1])
    gradient = start_of(1, seed=1)
    optimizer.step(gradient.clone())
    torch.testing.assert_close(optimizer.flat, kept * start - 0.5 * gradient, rtol=1e-12, atol=1e-12)


def test_the_literal_reading_kills_what_the_other_leaves() -> None:
    """The paper's lr .1 and weight decay .1, 100 steps without a gradient: .99^100 against .9^100."""
    for name, left in (("gd", 0.99**100), ("gd_literal", 0.9**100)):
        flat = torch.ones(1, P, dtype=torch.float64)
        optimizer = make(name, flat, [0.1], [0.1])
        for _ in range(100):
            optimizer.step(torch.zeros_like(flat))
        torch.testing.assert_close(flat, torch.full_like(flat, left))


def test_adams_decay_is_hidden_by_the_gradient_and_adamws_is_not() -> None:
    """A first step of Adam has the size lr in every coordinate, whatever its decay adds to a gradient of one sign."""
    start, gradient = torch.ones(1, P), torch.ones(1, P)
    moved = {}
    for name in ("adam", "adamw"):
        optimizer = make(name, start.clone(), [0.01], [0.5])
        optimizer.step(gradient.clone())
        moved[name] = (start - optimizer.flat).mean().item()
    assert moved == pytest.approx({"adam": 0.01, "adamw": 0.01 + 0.01 * 0.5}, rel=1e-4)


def test_muon_takes_the_matrices_between_the_tables_and_the_readout() -> None:
    assert hidden_matrices(SHAPES) == {"layers.0.weight", "layers.1.weight"}
    transformer = TransformerSizes(name="transformer", d_embed=8, layers=1).module(TASK)
    shapes = {name: p.shape for name, p in transformer.named_parameters()}
    assert hidden_matrices(shapes) == {
        f"blocks.0.{n}.weight" for n in ("query", "key", "value", "output", "up", "down")
    }
    factorised = {"embedding.A": torch.Size([5, 2]), "embedding.B": torch.Size([2, 3]), "readout.a": torch.Size([3])}
    assert hidden_matrices(factorised) == frozenset()


def test_muons_hidden_steps_are_near_orthogonal_and_the_others_adamws() -> None:
    start, lr = start_of(1), 0.01
    optimizer = make("muon", start.clone(), [lr], [0.0])
    gradient = start_of(1, seed=1)
    optimizer.step(gradient.clone())
    moved, begin = start - optimizer.flat, 0
    for name, shape in SHAPES.items():
        step = moved[0, begin : begin + shape.numel()].view(shape) / lr
        begin += shape.numel()
        if name in hidden_matrices(SHAPES):
            values = torch.linalg.svdvals(step) / (0.2 * max(shape) ** 0.5)
            assert values.min() > 0.5 and values.max() < 1.3  # what five iterations promise
        else:
            torch.testing.assert_close(step.abs(), torch.ones_like(step), rtol=1e-6, atol=1e-6)


def test_orthograd_gives_adamw_a_gradient_across_the_parameter_of_the_same_length() -> None:
    start, gradient = start_of(1), start_of(1, seed=1)
    across, begin = [], 0
    for shape in SHAPES.values():
        w, g = (t[0, begin : begin + shape.numel()] for t in (start, gradient))
        begin += shape.numel()
        g_across = g - (w @ g) / (w @ w) * w
        across.append(g_across * g.norm() / g_across.norm())
    optimizer, reference = (make(name, start.clone(), [0.01], [0.5]) for name in ("orthograd", "adamw"))
    optimizer.step(gradient.clone())
    reference.step(torch.cat(across)[None])
    torch.testing.assert_close(optimizer.flat, reference.flat, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in catalog.OPTIMIZERS if name not in STACKABLE])
def test_what_is_not_exact_in_a_stack_refuses_one(name: str) -> None:
    with pytest.raises(ValueError):
        make(name, start_of(2), [0.1, 0.1], [0.0, 0.0])


def test_the_package_is_imported_by_those_alone_that_need_it() -> None:
    program = (
        "import sys; from gtsearch import catalog; import gtsearch.training;"
        "[catalog.load('optimizer', name) for name in catalog.OPTIMIZERS];"
        "assert 'pytorch_optimizer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
