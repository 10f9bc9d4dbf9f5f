"""AdamW: decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gtsearch.optimizers.adam import Adam


class AdamW(Adam):
    """As `torch.optim.AdamW` with its default betas and eps."""

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.decay = 1.0 - self.lr * self.weight_decay

    def step(self, gradient: Tensor) -> None:
        self.flat.mul_(self.decay)
        self.move(gradient)

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        self.decay = self.decay[rows]
