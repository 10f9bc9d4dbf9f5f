"""Small members and cohorts, and what is read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtsearch import catalog
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Model, Sizes, initialise
from gtsearch.tasks.base import Splits, Task
from gtsearch.training import PLAIN, Cohort, Member, Outcome, Plan

ON = {"name": "modular_addition", "p": 7, "train_fraction": 0.6}
"""The task that a model or a method is tried on where nothing else is said."""


def asked_for(kind: str, asked: Mapping[str, Any]) -> Any:
    """What stands in an experiment, made: `kind` is `task`, `model` or `method`."""
    return catalog.load(kind, asked["name"])(**asked)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    seed: int,
    *,
    sizes: Sizes,
    task: Task,
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


def train(members: Sequence[Member], plan: Plan, splits: Splits, device: str = "cpu") -> dict[str, Outcome]:
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
