"""`grokfast_ema`: slow gradients amplified by an exponential moving average (Lee et al. 2024, "Grokfast").

h <- alpha h + (1 - alpha) g, then g <- g + lambda h, with h = g at the first step, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from gtsearch.methods.base import Hooks, Method, Searches, Slot


class GrokfastEma(Method):
    """Slow gradients amplified, by a moving average (GrokFast).

    Starts as `scratch`. Two pairs of alpha and lambda are published as defaults, (.98, 2) and (.99, 5), so neither is
    one here: both values of each are searched.
    """

    searches: ClassVar[Searches] = {"grokfast_alpha": [0.98, 0.99], "grokfast_lambda": [2.0, 5.0]}

    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        return (_Average(hyperparameters["grokfast_alpha"], hyperparameters["grokfast_lambda"]),)


class _Average(Hooks):
    """`slow` [S, P] is h."""

    def __init__(self, alpha: Tensor, weight: Tensor) -> None:
        self.alpha, self.weight = alpha[:, None], weight[:, None]
        self.slow: Tensor | None = None

    def after_backward(self, gradient: Tensor) -> None:
        if self.slow is None:
            self.slow = gradient.clone()
        self.slow.mul_(self.alpha).addcmul_(1.0 - self.alpha, gradient)
        gradient.addcmul_(self.weight, self.slow)

    def keep(self, rows: Tensor) -> None:
        self.alpha, self.weight = self.alpha[rows], self.weight[rows]
        if self.slow is not None:
            self.slow = self.slow[rows]
