"""What every optimizer gives: one update of a stack whose parameters are the rows of a flat buffer.

torch's optimizers have one learning rate a parameter group, so a stack needs its own; each is tested against
torch's. An optimizer that is not exact per member declares `stackable = False` and gets stacks of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor


class Optimizer(ABC):
    """Updates parameters in place.

    Args:
        flat: parameters [S, P].
        lr, weight_decay: [S] each.
        shapes: of one member's parameters by name, in the order they lie in a row of `flat`.
    """

    stackable: ClassVar[bool] = True

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        self.flat = flat
        self.lr, self.weight_decay = lr[:, None], weight_decay[:, None]
        self.shapes = shapes

    @abstractmethod
    def step(self, gradient: Tensor) -> None:
        """One update of every member from `gradient` [S, P]."""

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        """Goes on with the members `rows` (int64) alone, whose parameters are now `flat`. A subclass adds its state."""
        self.flat = flat
        self.lr, self.weight_decay = self.lr[rows], self.weight_decay[rows]
