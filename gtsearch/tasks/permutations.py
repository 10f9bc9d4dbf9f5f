"""`permutations`: composition in the symmetric group S_k (Power et al. 2022, appendix A.1, have it in S5)."""

from __future__ import annotations

import itertools
import math

import torch
from pydantic import Field

from gtsearch.tasks.base import EnumeratedTask, Part


class Permutations(EnumeratedTask):
    """Composition in the symmetric group S_k, over all (k!)^2 ordered pairs.

    y = a o b, "b, then a"; tokens and labels number the permutations.

    Attributes:
        k: of how many things.
    """

    k: int = Field(default=5, ge=3, le=5)  # S6 would have 518,400 pairs

    @property
    def d_vocab(self) -> int:
        return math.factorial(self.k)

    @property
    def n_tokens(self) -> int:
        return 2

    @property
    def n_classes(self) -> int:
        return self.d_vocab

    @property
    def n_examples(self) -> int:
        return self.d_vocab**2

    @property
    def title(self) -> str:
        return f"a o b in S{self.k}"

    def examples(self) -> Part:
        """x [(k!)^2, 2] int64, the pairs (a, b) ascending; y [(k!)^2] int64.

        Token t is the t-th permutation of 0 .. k - 1 in lexicographic order, which sends i to its i-th number.
        """
        permutations = torch.tensor(list(itertools.permutations(range(self.k))))
        x = torch.cartesian_prod(*(torch.arange(self.d_vocab),) * 2)
        a, b = permutations[x[:, 0]], permutations[x[:, 1]]
        # Written as numbers in base k, permutations in lexicographic order ascend.
        digits = self.k ** torch.arange(self.k - 1, -1, -1)
        names = (permutations * digits).sum(dim=1)
        return Part(x, torch.searchsorted(names, (a.gather(1, b) * digits).sum(dim=1)))
