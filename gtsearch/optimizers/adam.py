"""Adam: weight decay as L2 in the gradient (Kingma & Ba 2015), so that a large gradient hides it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gtsearch.optimizers.base import Optimizer


class Adam(Optimizer):
    """Weight decay as L2 in the gradient.

    As `torch.optim.Adam` with its default betas and eps.
    """

    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.first = torch.zeros_like(flat)
        self.second = torch.zeros_like(flat)
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        self.move(torch.addcmul(gradient, self.flat, self.weight_decay))

    def move(self, gradient: Tensor) -> None:
        """One step along the moments of `gradient` [S, P]."""
        self.steps += 1
        self.first.lerp_(gradient, 1.0 - self.beta1)
        self.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        root = self.second.sqrt().div_(math.sqrt(1.0 - self.beta2**self.steps)).add_(self.eps)
        update = torch.div(self.first, root, out=root).mul_(self.lr / (1.0 - self.beta1**self.steps))
        self.flat.sub_(update)

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        self.first, self.second = self.first[rows], self.second[rows]
