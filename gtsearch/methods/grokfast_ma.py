"""`grokfast_ma`: slow gradients amplified by the mean over a window (Lee et al. 2024, "Grokfast", algorithm 1).

g <- g + lambda mean(last `window` gradients, this one included).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gtsearch.methods.base import Hooks, Method, Searches, Slot


class GrokfastMa(Method):
    """Slow gradients amplified, by the mean over a window (GrokFast).

    Starts as `scratch`. By default gradients are left alone until the window is full, as the authors do.

    Attributes:
        window: gradients the mean is of; they take that many times a model's memory.
        warmup: leaves gradients alone until the window is full; else the mean is of those there are.
    """

    searches: ClassVar[Searches] = {"grokfast_lambda": [2.0, 5.0]}

    window: int = Field(default=100, ge=1, le=10**6)
    warmup: bool = True

    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        return (_Window(self.window, self.warmup, hyperparameters["grokfast_lambda"]),)


class _Window(Hooks):
    """`last` [window, S, P]: gradients as they came, in a ring; `total` [S, P]: their sum."""

    def __init__(self, window: int, warmup: bool, weight: Tensor) -> None:
        self.window, self.warmup, self.weight = window, warmup, weight[:, None]
        self.last: Tensor | None = None
        self.steps = 0

    def after_backward(self, gradient: Tensor) -> None:
        if self.last is None:
            self.last = gradient.new_zeros(self.window, *gradient.shape)
            self.total = torch.zeros_like(gradient)
        place = self.steps % self.window
        self.total.sub_(self.last[place]).add_(gradient)
        self.last[place] = gradient
        self.steps += 1
        if place == self.window - 1:
            self.total = self.last.sum(dim=0)  # once a round, so that rounding does not add up
        if self.steps >= self.window or not self.warmup:
            gradient.addcmul_(self.weight / min(self.steps, self.window), self.total)

    def keep(self, rows: Tensor) -> None:
        self.weight = self.weight[rows]
        if self.last is not None:
            self.last, self.total = self.last[:, rows], self.total[rows]
