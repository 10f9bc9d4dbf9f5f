"""AdamW: decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from gtsearch.optimizers.adam import Adam


class AdamW(Adam):
    """Decoupled weight decay.

    As `torch.optim.AdamW` with its default betas and eps.
    """

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.decay = 1.0 - self.lr * self.weight_decay

    def step(self, gradient: Tensor) -> None:
        if len(self.flat) == 1 and self.flat.device.type == "cpu":
            self._step_of_one(gradient)
            return
        self.flat.mul_(self.decay)
        self.move(gradient)

    def _step_of_one(self, gradient: Tensor) -> None:
        """The same by torch's fused kernel, which takes a quarter of the time and one learning rate."""
        adamw(
            [self.flat],
            [gradient],
            [self.first],
            [self.second],
            [],
            [torch.tensor(float(self.steps))],
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=self.lr.item(),
            weight_decay=self.weight_decay.item(),
            eps=self.eps,
            maximize=False,
        )
        self.steps += 1

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        self.decay = self.decay[rows]
