"""Optimizers over a stack: one flat buffer [members, parameters], every setting its own per member.

torch's optimizers have one learning rate a parameter group, so a stack needs its own; each is tested against
torch's. An optimizer that is not exact per member declares `stackable = False` and gets stacks of one.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor


class AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019), as `torch.optim.AdamW` with its default betas and eps.

    Args:
        flat: parameters [S, P], updated in place by `step`.
        lr, weight_decay: [S] each.
    """

    stackable: ClassVar[bool] = True
    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor) -> None:
        self.flat = flat
        self.lr = lr[:, None]
        self.decay = 1.0 - (lr * weight_decay)[:, None]
        self.first = torch.zeros_like(flat)
        self.second = torch.zeros_like(flat)
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        """One update of every member from `gradient` [S, P]."""
        self.steps += 1
        self.first.lerp_(gradient, 1.0 - self.beta1)
        self.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        self.flat.mul_(self.decay)
        root = self.second.sqrt().div_(math.sqrt(1.0 - self.beta2**self.steps)).add_(self.eps)
        update = torch.div(self.first, root, out=root).mul_(self.lr / (1.0 - self.beta1**self.steps))
        self.flat.sub_(update)

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        """Goes on with the members `rows` (int64) alone, whose parameters are now `flat`."""
        self.flat = flat
        self.lr, self.decay = self.lr[rows], self.decay[rows]
        self.first, self.second = self.first[rows], self.second[rows]
