"""What every model family keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gtsearch import catalog, cost
from gtsearch.contracts.making import ON, asked_for, build, generator
from gtsearch.losses import by_answer
from gtsearch.models.base import FactorisedEmbedding, Model, Sizes, initialise, misfits
from gtsearch.optimizers.gd import Gd
from gtsearch.tasks.base import Task
from gtsearch.training import Cohort, Kept, Member, Outcome, Plan


def trained(modules: Sequence[Model], task: Task, stack_size: int, epochs: int = 4) -> dict[str, Outcome]:
    """Outcomes of gradient descent in float64, each with the parameters at the end; lr and decay differ by member."""
    plan = Plan(
        goal=None,
        hold=1,
        evaluate_every=1,
        flops_per_epoch=1,
        stack_size=stack_size,
        optimizer=Gd,
        loss=catalog.load("loss", task.default_loss),
        keep_layers=True,
    )
    members = [
        Member(f"run-{i}", module.double(), 0.02 * (i + 1), 0.5 * i, epochs, keep=epochs)
        for i, module in enumerate(modules)
    ]
    splits = task.splits(0).double()
    cohort = Cohort([(one, splits) for one in members], plan)
    outcomes: list[Outcome] = []
    while not cohort.done:
        outcomes += cohort.step(60.0)
    return {outcome.run_id: outcome for outcome in outcomes}


def parameters(outcome: Outcome) -> list[Tensor]:
    kept: Kept
    (kept,) = outcome.kept
    return [kept.E, *kept.layers.values()]


class ModelContract:
    """A model family's tests.

    Attributes:
        asked: one architecture, as it stands in an experiment.
        on: the task that it is tried on.
    """

    asked: ClassVar[Mapping[str, Any]]
    on: ClassVar[Mapping[str, Any]] = ON

    @pytest.fixture
    def sizes(self) -> Sizes:
        made: Sizes = asked_for("model", self.asked)
        return made

    @pytest.fixture
    def task(self) -> Task:
        made: Task = asked_for("task", self.on)
        return made

    def test_fits_the_task(self, sizes: Sizes, task: Task) -> None:
        assert list(misfits(sizes, task)) == []

    def test_gives_outputs_of_the_tasks_shape(self, sizes: Sizes, task: Task) -> None:
        module, x = build(0, sizes=sizes, task=task), task.splits(0).test.x
        assert module(x).shape == (*task.splits(0).test.y.shape, task.n_outputs)
        assert module.embedding.matrix().shape == (task.d_vocab, sizes.d_embed)
        assert module(x[:1]).shape == (1, *module(x).shape[1:])

    def test_an_example_is_told_whatever_stands_beside_it(self, sizes: Sizes, task: Task) -> None:
        module, x = build(0, sizes=sizes, task=task).double(), task.splits(0).double().test.x
        torch.testing.assert_close(module(x)[3:5], module(x[3:5]), rtol=1e-12, atol=1e-12)

    def test_its_features_are_read_out_linearly_by_its_last_parameter(self, sizes: Sizes, task: Task) -> None:
        module, x = build(0, sizes=sizes, task=task).double(), task.splits(0).double().test.x
        features = module.features(x)
        *_, (name, W) = module.named_parameters()
        assert not name.startswith("embedding.")
        expected = features @ W.reshape(task.n_outputs, features.shape[-1]).T
        torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)

    def test_its_embedding_comes_first(self, sizes: Sizes, task: Task) -> None:
        assert next(name for name, _ in sizes.module(task).named_parameters()) == "embedding.E"

    def test_a_seed_draws_every_parameter_and_always_the_same(self, sizes: Sizes, task: Task) -> None:
        def drawn(seed: int) -> list[Tensor]:
            module = sizes.module(task)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.fill_(math.nan)
            initialise(module, generator(seed), 1.0)
            return [parameter.detach() for parameter in module.parameters()]

        first, again, others = drawn(0), drawn(0), [drawn(seed) for seed in range(1, 5)]
        for i, parameter in enumerate(first):
            assert parameter.isfinite().all()
            assert torch.equal(parameter, again[i])
            assert not all(torch.equal(parameter, other[i]) for other in others)

    def test_init_scale_scales_every_parameter_that_is_trained(self, sizes: Sizes, task: Task) -> None:
        plain, scaled = (build(0, sizes=sizes, task=task, init_scale=scale) for scale in (1.0, 0.25))
        for (name, a), b in zip(plain.named_parameters(), scaled.parameters(), strict=True):
            factor = 1.0 if name in plain.frozen_parameters else 0.25
            torch.testing.assert_close(b, factor * a, rtol=1e-6, atol=0)

    def test_every_parameter_matters(self, sizes: Sizes, task: Task) -> None:
        module, train = build(0, sizes=sizes, task=task, init_scale=1.0), task.splits(0).train
        catalog.load("loss", task.default_loss)(*by_answer(module(train.x), train.y)).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
        assert set(module.frozen_parameters) <= {name for name, _ in module.named_parameters()}

    def test_trains_alike_alone_and_in_a_stack(self, sizes: Sizes, task: Task) -> None:
        alone, stacked = (
            trained([build(seed, sizes=sizes, task=task, init_scale=1.0) for seed in range(3)], task, size)
            for size in (1, 3)
        )
        assert stacked["run-0"].measures["cohort_size"] == 3
        start = build(0, sizes=sizes, task=task, init_scale=1.0)
        for run_id, one in alone.items():
            for a, b in zip(one.curve, stacked[run_id].curve, strict=True):
                assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-9)
            for p, q in zip(parameters(one), parameters(stacked[run_id]), strict=True):
                torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)
        for (name, before), after in zip(start.named_parameters(), parameters(stacked["run-0"]), strict=True):
            assert torch.equal(before.double(), after) == (name in start.frozen_parameters)

    def test_a_member_of_a_stack_knows_nothing_of_its_neighbours(self, sizes: Sizes, task: Task) -> None:
        def run(shift: float) -> Outcome:
            modules = [build(seed, sizes=sizes, task=task, init_scale=1.0) for seed in range(3)]
            with torch.no_grad():
                for parameter in modules[2].parameters():
                    parameter.mul_(1.0 + shift)
            outcomes = trained(modules, task, 3)
            losses.append(outcomes["run-2"].curve[-1]["train_loss"])
            return outcomes["run-1"]

        losses: list[Any] = []
        before, after = run(0.0), run(0.1)
        assert losses[0] != losses[1]
        assert [row["train_loss"] for row in before.curve] == [row["train_loss"] for row in after.curve]
        assert all(torch.equal(p, q) for p, q in zip(parameters(before), parameters(after), strict=True))

    def test_takes_a_factorised_embedding_and_its_merger(self, sizes: Sizes, task: Task) -> None:
        module, splits = build(0, sizes=sizes, task=task).double(), task.splits(0).double()
        A = torch.randn(task.d_vocab, 2, generator=generator(1), dtype=torch.float64)
        factorised = FactorisedEmbedding(A, sizes.d_embed)
        factorised.initialise(generator(2), 1.0)
        module.embedding = factorised
        assert [name for name, _ in module.named_parameters()][:2] == ["embedding.A", "embedding.B"]
        outputs = module(splits.test.x)
        catalog.load("loss", task.default_loss)(*by_answer(outputs, splits.test.y)).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (factorised.A, factorised.B))
        module.embedding = factorised.merge()
        assert torch.equal(module.embedding.matrix(), factorised.matrix())
        torch.testing.assert_close(module(splits.test.x), outputs, rtol=1e-12, atol=1e-12)

    def test_costs_what_training_it_costs(self, sizes: Sizes, task: Task) -> None:
        module = sizes.module(task)
        measured = cost.of_architecture(sizes, task)
        held = sum(p.numel() for name, p in module.named_parameters() if name in module.frozen_parameters)
        assert measured.params == sum(p.numel() for p in module.parameters()) - held
        assert (
            measured.flops_per_epoch >= 2 * 2 * task.part_sizes[0] * module.features(task.splits(0).train.x).shape[-1]
        )
