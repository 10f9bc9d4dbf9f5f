"""Small members and cohorts for the tests of the training rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gtsearch import cost
from gtsearch.contracts import making
from gtsearch.contracts.making import column as column
from gtsearch.contracts.making import generator as generator
from gtsearch.contracts.making import without_seconds as without_seconds
from gtsearch.methods.base import Method
from gtsearch.models.base import Model, Sizes
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Splits, Task
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import Member, Outcome, Plan

TASK = ModularAddition(name="modular_addition", p=17, train_fraction=0.7)
SIZES = MlpSizes(name="mlp", d_embed=8, width=32)
SPLITS = TASK.splits(0)
FLOPS = cost.of_architecture(SIZES, TASK).flops_per_epoch

# On TASK and SIZES these reach a validation accuracy of 0.5 within 300 epochs on most seeds.
GOOD = {"lr": 0.03, "weight_decay": 1.0}


def build(seed: int, *, sizes: Sizes = SIZES, task: Task = TASK, **settings: Any) -> Model:
    """An initialised model, started as a method does."""
    return making.build(seed, sizes=sizes, task=task, **settings)


def member(seed: int, *, double: bool = False, method: Method | None = None, **settings: Any) -> Member:
    """A member named after its seed; `settings` are `Member`'s, and `build`'s as `start`."""
    module = build(seed, method=method, **settings.pop("start", {}))
    settings = {"max_epochs": 50, **GOOD, **settings}
    if method is not None:
        settings["method"] = method
    return Member(f"run-{seed}", module.double() if double else module, **settings)


def plan(**settings: Any) -> Plan:
    return Plan(**{"goal": 0.5, "hold": 2, "evaluate_every": 5, "flops_per_epoch": FLOPS, **settings})


def train(members: Sequence[Member], plan: Plan, splits: Splits = SPLITS, device: str = "cpu") -> dict[str, Outcome]:
    """Trains to the end; outcomes by run_id."""
    return making.train(members, plan, splits, device)
