"""Full-batch gradient descent with weight decay, in the two readings of the paper's XOR section.

It prints theta (1 - lambda) (method.md section 3). Read as lr times lambda its settings work; read literally, the
printed .1 shrinks the network to nothing. Both are here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gtsearch.optimizers.base import Optimizer


class Gd(Optimizer):
    """Full-batch gradient descent, parameters shrunk by lr times weight decay a step.

    theta <- theta (1 - lr weight_decay) - lr gradient: as `torch.optim.SGD` without momentum.
    """

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.kept = 1.0 - self.decay()

    def decay(self) -> Tensor:
        """The share of its parameters that a member loses in a step, [S, 1]."""
        return self.lr * self.weight_decay

    def step(self, gradient: Tensor) -> None:
        self.flat.mul_(self.kept).addcmul_(gradient, self.lr, value=-1.0)

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        self.kept = self.kept[rows]


class GdLiteral(Gd):
    """As `gd`, shrunk by weight decay alone, as the paper prints it.

    theta <- theta (1 - weight_decay) - lr gradient.
    """

    def decay(self) -> Tensor:
        return self.weight_decay
