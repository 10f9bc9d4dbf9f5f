"""`fourier`: a token is a point on a few circles, as networks that have grokked modular addition place it.

Xu et al. 2025, Fig. 2: seven frequencies, the first seven primes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field, Strict
from torch import Tensor

from gtsearch.methods.base import Given
from gtsearch.methods.fixed import FixedEmbedding
from gtsearch.models.base import Sizes
from gtsearch.tasks.base import Task


class Fourier(FixedEmbedding):
    """E given and held: points on circles.

    E [d_vocab, 2 k]: cos and sin of 2 pi f t / d_vocab for token t and each of the k frequencies f.

    Attributes:
        frequencies: whole turns over the vocabulary; above d_vocab / 2 one would be another's mirror image.
    """

    frequencies: Annotated[tuple[int, ...], Strict(False)] = Field(default=(2, 3, 5, 7, 11, 13, 17), min_length=1)

    def columns(self, task: Task) -> int:
        return 2 * len(self.frequencies)

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        yield from super().problems(task, target, weak, max_epochs)
        outside = [f for f in self.frequencies if not 1 <= f <= task.d_vocab / 2]
        if outside and not task.vectors:
            found = ", ".join(map(str, outside))
            rule = f"frequencies lie between 1 and d_vocab / 2 = {task.d_vocab / 2:g} for {task.title}, not at {found}"
            yield "frequencies", f"{rule}; choose others"
        if len(set(self.frequencies)) < len(self.frequencies):
            yield "frequencies", f"each stands once, not as in {list(self.frequencies)}; take the repeated out"

    def rows(self, given: Given) -> Tensor:
        d_vocab, f = given.task.d_vocab, torch.tensor(self.frequencies)
        # Whole turns are taken off before the division, so that large tokens are as exact as small ones.
        angles = 2 * math.pi / d_vocab * (torch.arange(d_vocab)[:, None] * f % d_vocab).double()
        return torch.cat([angles.cos(), angles.sin()], dim=1)
