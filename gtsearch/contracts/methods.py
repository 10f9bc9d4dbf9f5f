"""What every method keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gtsearch import catalog, cost
from gtsearch.contracts.making import ON, asked_for, build, column, generator, train, without_seconds
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Sizes
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Task
from gtsearch.training import Member, Outcome, Plan


@dataclass(frozen=True)
class Case:
    """A method with a task and a target it fits, and the weak embedding's shape."""

    name: str
    task: Task
    sizes: Sizes
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> Method:
        made: Method = catalog.load("method", self.name)(name=self.name, **self.options)
        return made

    @property
    def embedding(self) -> Tensor | None:
        if not self.method.needs_embedding:
            return None
        return torch.randn(self.task.d_vocab, 3, generator=generator(7)) * torch.tensor([3.0, 1.0, 0.2])

    def member(self, seed: int, **settings: Any) -> Member:
        hyperparameters = {
            "init_scale": 0.5,
            "embedding_scale": 1.0 + seed,
            "grokfast_alpha": 0.9 + 0.03 * seed,
            "grokfast_lambda": 2.0 + seed,
        }
        hyperparameters = {name: 1.0 + 0.1 * seed for name in self.method.searches} | hyperparameters
        weak = build(9, sizes=self.weak, task=self.task) if self.method.transferred_layers else None
        double = settings.pop("double", False)
        module = build(
            seed,
            sizes=self.sizes,
            task=self.task,
            method=self.method,
            embedding=self.embedding,
            hyperparameters=hyperparameters,
            layers={n: p.detach() for n, p in weak.named_parameters()} if weak else {},
        )
        settings = {"max_epochs": 4, "lr": 0.03, "weight_decay": 1.0, "hyperparameters": hyperparameters, **settings}
        return Member(f"run-{seed}", module.double() if double else module, method=self.method, **settings)

    @property
    def weak(self) -> Sizes:
        return MlpSizes(name="mlp", d_embed=3, width=None if self.task.vectors else 16)

    def train(self, members: list[Member], stack_size: int = 1) -> dict[str, Outcome]:
        splits = self.task.splits(0)
        doubled = next(members[0].module.parameters()).dtype == torch.float64
        loss = catalog.load("loss", self.task.default_loss)
        shared = Plan(None, 2, evaluate_every=1, flops_per_epoch=1, stack_size=stack_size, loss=loss)
        return train(members, shared, splits.double() if doubled else splits)


def weights(case: Case) -> dict[str, Tensor]:
    weak = build(9, sizes=case.weak, task=case.task)
    return {name: p.detach().clone() for name, p in weak.named_parameters() if not name.startswith("embedding.")}


class MethodContract:
    """A method's tests.

    Attributes:
        asked: its name, and its options, as they stand in an experiment's `target.options`.
        on: the task that it is tried on.
        target: the target's model.
    """

    asked: ClassVar[Mapping[str, Any]]
    on: ClassVar[Mapping[str, Any]] = ON | {"p": 17}
    target: ClassVar[Mapping[str, Any]] = {"name": "mlp", "d_embed": 8, "width": 32}

    @pytest.fixture
    def case(self) -> Case:
        options = {name: value for name, value in self.asked.items() if name != "name"}
        return Case(self.asked["name"], asked_for("task", self.on), asked_for("model", self.target), options)

    def test_fits_where_it_is_said_to(self, case: Case) -> None:
        assert list(case.method.problems(case.task, case.sizes, [case.weak], 100)) == []
        assert case.method.name == case.name

    def test_starts_trains_and_comes_back_bit_for_bit(self, case: Case) -> None:
        def run() -> tuple[list[dict[str, object]], list[Tensor]]:
            one = case.member(0)
            outcome = case.train([one])["run-0"]
            return without_seconds(outcome), [p.detach().clone() for p in one.module.parameters()]

        curve, parameters = run()
        again, parameters_again = run()
        assert [row["epoch"] for row in curve] == [0, 1, 2, 3, 4]
        assert curve == again
        assert all(torch.equal(a, b) for a, b in zip(parameters, parameters_again, strict=True))
        first, later = curve[0]["train_loss"], curve[3]["train_loss"]
        assert isinstance(first, float) and isinstance(later, float) and later < first

    def test_gives_outputs_of_the_tasks_own_shape(self, case: Case) -> None:
        module, train_part = case.member(0).module, case.task.splits(0).train
        assert module(train_part.x).shape == (len(train_part), case.task.n_outputs)
        width = case.method.sizes(case.sizes, case.task).d_embed
        assert module.embedding.matrix().shape == (case.task.d_vocab, width)

    def test_its_start_can_be_costed_without_examples(self, case: Case) -> None:
        """And has the parameters that the start has, but for those that are held."""
        d_weak = 3 if case.method.needs_embedding else None
        found = cost.of_start(case.sizes, case.task, case.method, d_weak)
        parameters = dict(case.member(0).module.named_parameters())
        assert set(case.method.frozen_parameters) <= set(parameters)
        trained = [p for name, p in parameters.items() if name not in case.method.frozen_parameters]
        assert found.params == sum(p.numel() for p in trained)
        assert (found.merged_flops_per_epoch is None) == (case.method.merges_at is None)

    def test_says_what_is_held(self, case: Case) -> None:
        one = case.member(0)
        before = {n: p.detach().clone() for n, p in one.module.named_parameters()}
        case.train([one])
        after = dict(one.module.named_parameters())
        held = {name for name in before if name in after and torch.equal(before[name], after[name])}
        assert held == set(case.method.frozen_parameters)

    def test_trains_in_the_dtype_of_the_model(self, case: Case) -> None:
        splits = case.task.splits(0)
        module = case.method.sizes(case.sizes, case.task).module(case.task).double()
        hyperparameters = {"embedding_scale": 2.0, "init_scale": 0.5}
        given = Given(
            case.task, splits.train, splits.train_sha256, hyperparameters, generator(0), case.embedding, weights(case)
        )
        case.method.start(module, given)
        case.method.after_initialisation(module, given)
        assert {p.dtype for p in module.parameters()} == {torch.float64}

    def test_leaves_what_it_was_given_alone(self, case: Case) -> None:
        splits = case.task.splits(0)
        embedding, layers = case.embedding, weights(case)
        before = [t.clone() for t in (splits.train.x, *layers.values(), *([] if embedding is None else [embedding]))]
        module = case.method.sizes(case.sizes, case.task).module(case.task)
        given = Given(
            case.task, splits.train, splits.train_sha256, {"init_scale": 0.5}, generator(0), embedding, layers
        )
        state = torch.get_rng_state()
        case.method.start(module, given)
        case.method.after_initialisation(module, given)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1.0)
        after = [splits.train.x, *layers.values(), *([] if embedding is None else [embedding])]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert torch.equal(torch.get_rng_state(), state)

    def test_is_the_same_in_a_stack_though_members_leave_it(self, case: Case) -> None:
        def losses(stack_size: int) -> dict[str, list[float]]:
            members = [case.member(s, double=True, lr=0.01 * (s + 1), max_epochs=3 + s) for s in range(3)]
            return {
                run_id: column(outcome, "train_loss") for run_id, outcome in case.train(members, stack_size).items()
            }

        stacked, alone = losses(3), losses(1)
        for run_id, expected in alone.items():
            assert stacked[run_id] == pytest.approx(expected, rel=1e-9)

    def test_a_member_of_a_stack_does_not_touch_another(self, case: Case) -> None:
        def run(lr: float) -> dict[str, Outcome]:
            return case.train([case.member(s, lr=lr if s == 2 else 0.02) for s in range(3)], 3)

        calm, upset = run(0.02), run(0.5)
        assert without_seconds(calm["run-2"]) != without_seconds(upset["run-2"])
        assert without_seconds(calm["run-1"]) == without_seconds(upset["run-1"])

    def test_is_equal_to_itself_read_back_from_a_job(self, case: Case) -> None:
        """Options travel as JSON; equal methods share stacks, so they must be keys of a dict."""
        again = catalog.load("method", case.name)(**case.method.model_dump(mode="json"))
        assert again == case.method and hash(again) == hash(case.method)

    def test_needs_a_weak_stage_where_it_needs_an_embedding(self, case: Case) -> None:
        lines = [line for _, line in case.method.problems(case.task, case.sizes, [], 100)]
        assert any("needs a weak model's embedding" in line for line in lines) == case.method.needs_embedding
