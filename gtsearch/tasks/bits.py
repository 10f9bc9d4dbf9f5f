"""What the tasks over vectors of signs share: parity and XOR clusters."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from gtsearch.errors import TaskError
from gtsearch.tasks.base import SampledTask


class SignTask(SampledTask):
    """Base: an input holds `n_signs` independent uniform signs, no two examples of a split the same; two labels, told
    apart by the sign of one output."""

    one_draw: ClassVar[bool] = True

    @model_validator(mode="after")
    def _there_are_enough_examples(self) -> SignTask:
        if self.n_examples > 2**self.n_signs:
            raise TaskError(
                f"{self.n_signs} signs make {2**self.n_signs} different examples, and n_train + n_validation + n_test "
                f"asks for {self.n_examples}; choose longer inputs or fewer examples"
            )
        return self

    @property
    @abstractmethod
    def n_signs(self) -> int:
        """How many signs make two examples different."""

    @property
    def vectors(self) -> bool:
        return True

    @property
    def n_tokens(self) -> int:
        return 1

    @property
    def n_classes(self) -> int:
        return 2

    @property
    def n_outputs(self) -> int:
        return 1

    def signs(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` different rows of +-1, float32 [n, n_signs]."""
        return different_bits(n, self.n_signs, generator).float().mul_(-2.0).add_(1.0)


def different_bits(n: int, q: int, generator: torch.Generator) -> Tensor:
    """`n` different rows of q bits, uint8 [n, q] of 0 and 1, uniform among all such choices; n <= 2^q."""
    if 2**q <= 2 * n:
        codes = torch.randperm(2**q, generator=generator)[:n]
        return (codes[:, None] >> torch.arange(q) & 1).byte()
    # What is drawn again is thrown away: the rows stay uniform among those not drawn yet. At most half of all there
    # are is ever taken, so a turn leaves about half of what was missing, or less.
    rows = torch.empty(0, q, dtype=torch.uint8)
    while len(rows) < n:
        drawn = torch.randint(2, (n - len(rows), q), generator=generator, dtype=torch.uint8)
        rows = torch.cat([rows, drawn])
        _, first = np.unique(np.packbits(rows.numpy(), axis=1), axis=0, return_index=True)
        rows = rows[torch.from_numpy(np.sort(first))]
    return rows
