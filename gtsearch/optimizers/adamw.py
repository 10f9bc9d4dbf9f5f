"""AdamW: decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gtsearch.optimizers.base import Optimizer


class AdamW(Optimizer):
    """As `torch.optim.AdamW` with its default betas and eps."""

    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.decay = 1.0 - self.lr * self.weight_decay
        self.first = torch.zeros_like(flat)
        self.second = torch.zeros_like(flat)
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        self.steps += 1
        self.first.lerp_(gradient, 1.0 - self.beta1)
        self.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        self.flat.mul_(self.decay)
        root = self.second.sqrt().div_(math.sqrt(1.0 - self.beta2**self.steps)).add_(self.eps)
        update = torch.div(self.first, root, out=root).mul_(self.lr / (1.0 - self.beta1**self.steps))
        self.flat.sub_(update)

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        self.decay = self.decay[rows]
        self.first, self.second = self.first[rows], self.second[rows]
