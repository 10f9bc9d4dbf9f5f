"""Passes: a model's own expressions give what autograd gives, and every pass tells the loss and the accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from model_tasks import SUMS, TASKS
from scipy.stats import binomtest
from torch import Tensor
from training_kit import generator, member, plan, train

from gtsearch import catalog
from gtsearch.losses import Loss, cross_entropy, misfit
from gtsearch.models import mlp
from gtsearch.models.base import FactorisedEmbedding, Model, initialise
from gtsearch.models.mlp import MlpPasses, MlpSizes
from gtsearch.passes import AutogradPasses, Passes
from gtsearch.tasks.base import Part, Task

CASES = [
    pytest.param(task, depth, loss, id=f"{task.name}-{depth}-{loss}")
    for task in TASKS
    for depth in (2, 3, 4)
    for loss in catalog.LOSSES
    if not misfit(loss, task)
]


def model(task: Task, depth: int, factorised: bool = False) -> Model:
    """In float64, so that only a mistake shows."""
    width = None if task.vectors and depth == 2 else 7
    module = MlpSizes(name="mlp", depth=depth, d_embed=5, width=width).module(task)
    if factorised:
        module.embedding = FactorisedEmbedding(torch.randn(task.d_vocab, 3, generator=generator(4)), 5)
    initialise(module, generator(5), 2.0)
    return module.double()


Make = Callable[[Model, dict[str, Tensor], Loss, Part], Passes]


def passes(make: Make, module: Model, loss: Loss, part: Part) -> tuple[Passes, dict[str, Tensor]]:
    """Passes, and the gradients they write into, in which there is nothing yet."""
    gradients = {name: torch.full_like(p, float("nan")) for name, p in module.named_parameters()}
    return make(module, gradients, loss, part), gradients


def by_autograd(module: Model, gradients: dict[str, Tensor], loss: Loss, part: Part) -> Passes:
    return AutogradPasses(module, dict(module.named_parameters()), gradients, loss, part, many=False)


def agree(module: Model, task: Task, loss: Loss) -> None:
    """The gradient, and what both passes tell, are autograd's."""
    splits = task.splits(0).double()
    own, found = passes(MlpPasses, module, loss, splits.train)
    other, expected = passes(by_autograd, module, loss, splits.train)
    for _ in range(2):  # memory is used again
        told = own.train(told=True)
        assert told is not None
        torch.testing.assert_close(told, other.train(told=True))
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)
    for part in (splits.validation, splits.test, splits.train):
        torch.testing.assert_close(own.measure(part), other.measure(part))


@pytest.mark.parametrize("block_bytes", [1, 1000, mlp.BLOCK_BYTES])
@pytest.mark.parametrize("factorised", [False, True])
@pytest.mark.parametrize(("task", "depth", "loss"), CASES)
def test_the_mlps_own_gradient_is_autograds(
    task: Task, depth: int, loss: str, factorised: bool, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp, "BLOCK_BYTES", block_bytes)
    agree(model(task, depth, factorised), task, catalog.load("loss", loss))


@pytest.mark.parametrize(
    "silent", [[(0, 1, 2, 3)], [(0, 1, 2), (4, 5)], [(), (1, 2, 3, 4, 5, 6)], [range(7), range(7)]]
)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_units_that_are_silent_change_nothing(task: Task, silent: list[Sequence[int]]) -> None:
    """Of a layer whose inputs are at least 0, weights below 0 silence a unit."""
    module = model(task, depth=4)
    with torch.no_grad():
        for layer, units in zip(list(module.layers)[0 if task.vectors else 1 : -1], silent, strict=False):
            layer.weight[list(units)] = -layer.weight[list(units)].abs() - 0.1
    for loss in ("cross_entropy", "stablemax") if task.n_outputs > 1 else ("logistic",):
        agree(module, task, catalog.load("loss", loss))


def test_what_is_silent_on_some_examples_alone_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row: nearly every unit is silent in some and none in all."""
    monkeypatch.setattr(mlp, "BLOCK_BYTES", 1)
    module = model(SUMS, depth=3)
    own, gradients = passes(MlpPasses, module, cross_entropy, SUMS.splits(0).double().train)
    own.train(told=False)
    assert all(gradients["layers.1.weight"].abs().amax(dim=1) > 0)


def test_a_pass_tells_only_when_asked() -> None:
    for make in (MlpPasses, by_autograd):
        own, _ = passes(make, model(SUMS, 2), cross_entropy, SUMS.splits(0).train)
        assert own.train(told=False) is None
        assert own.measure(SUMS.splits(0).validation).shape == (2, 1)


@pytest.mark.parametrize("make", [MlpPasses, by_autograd])
def test_accuracy_is_a_count_over_a_count(make: Make) -> None:
    """No sum of shares of blocks, which may miss a goal by a rounding."""
    splits = SUMS.splits(0).double()
    module = model(SUMS, 2)
    own, _ = passes(make, module, cross_entropy, splits.train)
    right = (module(splits.validation.x).argmax(dim=1) == splits.validation.y).sum().item()
    assert own.measure(splits.validation)[1].item() == right / len(splits.validation)


def test_a_model_that_overflows_is_told_as_such() -> None:
    splits = SUMS.splits(0).double()
    module = model(SUMS, 3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1e200)
    own, _ = passes(MlpPasses, module, cross_entropy, splits.train)
    told = own.train(told=True)
    assert told is not None and not told[0].isfinite().any()


def test_one_member_on_a_cpu_trains_by_its_own_expressions_and_a_stack_by_autograd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    real = MlpPasses.train
    monkeypatch.setattr(MlpPasses, "train", lambda self, told: asked.append(told) or real(self, told))
    train([member(0, max_epochs=3)], plan(goal=None, evaluate_every=2))
    assert asked == [True, False, True, True]
    asked.clear()
    train([member(0, max_epochs=3), member(1, max_epochs=3)], plan(goal=None, stack_size=2))
    assert asked == []


@pytest.mark.slow
def test_as_many_seeds_reach_a_goal_as_by_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are chaotic: rounding parts them after some hundred epochs. Rates must not part (McNemar, 64 seeds)."""

    def clears() -> list[bool]:
        members = [member(s, max_epochs=250) for s in range(64)]
        outcomes = train(members, plan(goal=0.5, hold=2, evaluate_every=10))
        return [outcomes[f"run-{s}"].measures["status"] == "cleared" for s in range(64)]

    own = clears()
    monkeypatch.setattr(mlp.Mlp, "passes", Model.passes)
    other = clears()
    assert 6 < sum(own) < 58, "the goal tells nothing where all seeds reach it, or none"
    pairs = list(zip(own, other, strict=True))
    only_own, only_other = pairs.count((True, False)), pairs.count((False, True))
    if only_own + only_other:
        assert binomtest(only_own, only_own + only_other).pvalue > 0.001
