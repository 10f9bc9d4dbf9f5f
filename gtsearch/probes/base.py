"""What every probe gives: numbers by name, read off one member at an evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from gtsearch.models.base import Model, Sizes
from gtsearch.tasks.base import Splits, Task


@dataclass(frozen=True)
class View:
    """One member at one evaluation.

    Attributes:
        module: holds the member's parameters as they stand; to be read, never changed.
        splits: what it trains on.
        memory: this probe's own of this member, kept from one evaluation to the next; empty at first.
        epoch: how many epochs it has trained.
        frozen: names of its parameters that are held where they started.
    """

    module: Model
    splits: Splits
    memory: dict[str, Any]
    epoch: int = 0
    frozen: tuple[str, ...] = ()


class Probe(BaseModel):
    """Base of all probes. A subclass adds its options as fields.

    Attributes:
        name: that on the menu.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str

    def problems(self, task: Task, sizes: Sizes) -> Iterator[str]:
        """Why it cannot be read off models of these sizes on this task, a line each."""
        yield from ()

    @abstractmethod
    def measure(self, view: View) -> dict[str, float]:
        """Its numbers, by name (with units where they have one). Runs under `torch.no_grad`; seconds count as
        evaluation."""
