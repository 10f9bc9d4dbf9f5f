"""Small tasks of every shape a model may meet: tokens, vectors with several outputs, vectors with one."""

from __future__ import annotations

import torch

from gtsearch.tasks.base import Part, SampledTask
from gtsearch.tasks.modular import ModularAddition


class Blobs(SampledTask):
    """Vectors about one of three centres."""

    n_train: int = 60
    n_validation: int = 40
    n_test: int = 40
    default_loss = "mse"

    @property
    def vectors(self) -> bool:
        return True

    @property
    def d_vocab(self) -> int:
        return 6

    @property
    def n_tokens(self) -> int:
        return 1

    @property
    def n_classes(self) -> int:
        return 3

    @property
    def title(self) -> str:
        return "three blobs"

    def draw(self, n: int, generator: torch.Generator) -> Part:
        y = torch.randint(3, (n,), generator=generator)
        x = 0.3 * torch.randn(n, 6, generator=generator)
        x[torch.arange(n), y] += 1.0
        return Part(x, y)


class Corners(Blobs):
    """Vectors of six signs; the label is the product of the first two, told by the sign of one output."""

    default_loss = "logistic"

    @property
    def n_classes(self) -> int:
        return 2

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def title(self) -> str:
        return "x1 x2 of six signs"

    def draw(self, n: int, generator: torch.Generator) -> Part:
        bits = torch.randint(2, (n, 6), generator=generator)
        return Part(2.0 * bits - 1.0, (bits[:, 0] == bits[:, 1]).long())


SUMS = ModularAddition(name="modular_addition", p=7, train_fraction=0.6)
BLOBS = Blobs(name="blobs")
CORNERS = Corners(name="corners")
TASKS = (SUMS, BLOBS, CORNERS)
