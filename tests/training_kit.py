"""Small members and cohorts for the tests of the training rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtsearch import cost
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Model, Sizes, initialise
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Splits, Task
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import PLAIN, Cohort, Member, Outcome, Plan

TASK = ModularAddition(name="modular_addition", p=17, train_fraction=0.7)
SIZES = MlpSizes(name="mlp", d_embed=8, width=32)
SPLITS = TASK.splits(0)
FLOPS = cost.of_architecture(SIZES, TASK).flops_per_epoch

# On TASK and SIZES these reach a validation accuracy of 0.5 within 300 epochs on most seeds.
GOOD = {"lr": 0.03, "weight_decay": 1.0}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    seed: int,
    *,
    sizes: Sizes = SIZES,
    task: Task = TASK,
    init_scale: float = 0.5,
    method: Method | None = None,
    embedding: Tensor | None = None,
    hyperparameters: Mapping[str, float] | None = None,
    layers: Mapping[str, Tensor] | None = None,
) -> Model:
    """An initialised model, started as `method` does."""
    method = method or PLAIN
    module = method.sizes(sizes, task).module(task)
    splits = task.splits(0)
    draws = generator(seed + 1000)
    given = Given(task, splits.train, splits.train_sha256, hyperparameters or {}, draws, embedding, layers or {})
    method.start(module, given)
    initialise(module, generator(seed), init_scale)
    method.after_initialisation(module, given)
    return module


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
    cohort = Cohort([(one, splits) for one in members], plan, device)
    outcomes: list[Outcome] = []
    while not cohort.done:
        outcomes += cohort.step(60.0)
    return {outcome.run_id: outcome for outcome in outcomes}


def column(outcome: Outcome, name: str) -> list[Any]:
    return [row[name] for row in outcome.curve]


def without_seconds(outcome: Outcome) -> list[dict[str, Any]]:
    """The curve without what the clock decides."""
    return [{name: value for name, value in row.items() if name != "train_seconds"} for row in outcome.curve]
