"""XOR clusters through the training loop (method.md section 5, Fig. 10 and 11): which few neurons carry a large net."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from training_kit import build, train

from gtsearch import catalog
from gtsearch.methods.transfer import Transfer
from gtsearch.models.xor_net import XorNetSizes
from gtsearch.optimizers.gd import Gd
from gtsearch.tasks.base import Splits
from gtsearch.tasks.xor import XorClusters
from gtsearch.training import Member, Outcome, Plan

TASK = XorClusters(name="xor_clusters", p=1000, n_train=400, n_validation=400, n_test=200)
SPLITS = TASK.splits(0)
LARGE = XorNetSizes(name="xor_net", d_embed=128)
SETTINGS = {"lr": 0.1, "weight_decay": 0.1}
TRANSFER = Transfer(name="transfer")


def plan(goal: float | None, evaluate_every: int) -> Plan:
    return Plan(goal, 2, evaluate_every, 1, optimizer=Gd, loss=catalog.load("loss", TASK.default_loss))


def weak(neurons: int, seeds: Sequence[int], splits: Splits = SPLITS) -> list[Outcome]:
    """Nets of so many neurons, trained to their end; each keeps its embedding."""
    sizes = XorNetSizes(name="xor_net", d_embed=neurons, hidden_std=0.1, output_std=0.01)
    members = [
        Member(f"run-{s}", build(s, sizes=sizes, task=TASK, init_scale=1.0), **SETTINGS, max_epochs=800, keep="goal")
        for s in seeds
    ]
    outcomes = train(members, plan(None, 400), splits)
    return [outcomes[member.run_id] for member in members]


def carries(E_W: Tensor) -> bool:
    """Whether the large net gets there from this embedding."""
    module = build(0, sizes=LARGE, task=TASK, init_scale=1.0, method=TRANSFER, embedding=E_W)
    member = Member("target", module, **SETTINGS, max_epochs=100, method=TRANSFER)
    return train([member], plan(0.98, 2), SPLITS)["target"].measures["status"] == "cleared"


def are_collinear(E_W: Tensor) -> bool:
    """Whether the signal parts of two neurons lie on one line."""
    one, other = E_W[:2].double().T
    return bool(torch.nn.functional.cosine_similarity(one, other, dim=0).abs() > 0.5)


def test_one_neuron_never_carries() -> None:
    assert not any(carries(outcome.kept[0].E) for outcome in weak(1, range(4)))


@pytest.mark.timeout(300)
def test_two_neurons_carry_exactly_when_their_features_are_not_collinear() -> None:
    seen = [(are_collinear(outcome.kept[0].E), carries(outcome.kept[0].E)) for outcome in weak(2, range(10))]
    assert {collinear for collinear, _ in seen} == {True, False}, "the seeds show both cases"
    assert all(worked != collinear for collinear, worked in seen)


def test_three_neurons_stay_at_three_quarters_and_can_carry() -> None:
    outcomes = weak(3, range(6))
    # A part of 400 examples: 75 % and three standard deviations.
    assert all(outcome.measures["best_val_accuracy"] <= 0.75 + 3 * 0.0217 for outcome in outcomes)
    assert any(carries(outcome.kept[0].E) for outcome in outcomes)
