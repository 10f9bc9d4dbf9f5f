"""Arithmetic modulo a number p over all pairs (a, b) (method.md section 2; Xu et al. 2025, section 4)."""

from __future__ import annotations

import torch
from pydantic import Field

from gtsearch.tasks.base import EnumeratedTask, Part


class ModularAddition(EnumeratedTask):
    """y = a + b mod p over all p^2 ordered pairs; inputs are the two tokens (a, b)."""

    p: int = Field(default=113, ge=5, le=1024)

    @property
    def n_examples(self) -> int:
        return self.p**2

    @property
    def d_vocab(self) -> int:
        return self.p

    @property
    def n_tokens(self) -> int:
        return 2

    @property
    def n_classes(self) -> int:
        return self.p

    @property
    def title(self) -> str:
        return f"a + b mod {self.p}"

    def examples(self) -> Part:
        """x [p^2, 2] int64, row a * p + b holds (a, b); y [p^2] int64."""
        numbers = torch.arange(self.p)
        x = torch.cartesian_prod(numbers, numbers)
        return Part(x, x.sum(dim=1) % self.p)
