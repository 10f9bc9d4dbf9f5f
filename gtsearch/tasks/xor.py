"""XOR clusters: two bits of signal among thousands of coordinates of noise (method.md section 2; Xu et al. 2025,
section 3, after Xu et al. 2024, "Benign overfitting and grokking in ReLU networks for XOR cluster data")."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from gtsearch.tasks.base import Part
from gtsearch.tasks.bits import SignTask


class XorClusters(SignTask):
    """Two signs of signal among many coordinates of noise.

    x = [signal ~ Unif{+-1}^2, noise ~ Unif{+-eps}^(p - 2)]; label 1 where the signal's product is +1, else 0.

    By default fewer examples are measured by than are trained on, because one is 4 p bytes: at p = 80,000 the three
    parts take 256 MB, and 1000 examples each to measure by would take 768 MB of every worker. 200 tell an accuracy of
    0.75, what three neurons reach, to +-0.03.

    Attributes:
        p: coordinates of an input.
        eps: size of the noise.
    """

    default_loss: ClassVar[str] = "exponential"

    p: int = Field(default=80_000, ge=2, le=1_000_000)
    eps: float = Field(default=0.05, gt=0, le=1)
    n_train: int = Field(default=400, ge=1, le=10**7)
    n_validation: int = Field(default=200, ge=1, le=10**7)
    n_test: int = Field(default=200, ge=1, le=10**7)

    @property
    def d_vocab(self) -> int:
        return self.p

    @property
    def n_signs(self) -> int:
        return self.p

    @property
    def title(self) -> str:
        return f"XOR clusters of {self.p} coordinates"

    def draw(self, n: int, generator: torch.Generator) -> Part:
        """x [n, p] float32, its first two columns the signal; y [n] int64."""
        x = self.signs(n, generator)
        x[:, 2:] *= self.eps
        return Part(x, (x[:, 0] == x[:, 1]).long())
