"""Sparse parity (method.md section 2), plain and beside redundant features that are easier to learn.

All examples of a split are different: its parts are disjoint however small q is.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator

from gtsearch.errors import TaskError
from gtsearch.tasks.base import Part
from gtsearch.tasks.bits import SignTask


class SparseParity(SignTask):
    """The parity of k of q signs.

    x in {+-1}^q uniform; label 1 where the product of the first k bits is +1, else 0. Which k count makes no difference
    to a model without positions.

    Attributes:
        q: signs of an input.
        k: how many of them count: the first.
        tokens: whether an input is q tokens (1 for +1, 0 for -1) in the place of a vector, as a transformer reads it.
    """

    default_loss: ClassVar[str] = "logistic"

    q: int = Field(default=40, ge=1, le=4096)
    k: int = Field(default=3, ge=1, le=4096)
    tokens: bool = False

    @model_validator(mode="after")
    def _all_bits_are_there(self) -> SparseParity:
        if self.k > self.q:
            raise TaskError(f"k must be q = {self.q} or less, not {self.k}: the label is the parity of k of the q bits")
        return self

    @property
    def vectors(self) -> bool:
        return not self.tokens

    @property
    def d_vocab(self) -> int:
        return 2 if self.tokens else self.q

    @property
    def n_tokens(self) -> int:
        return self.q if self.tokens else 1

    @property
    def n_signs(self) -> int:
        return self.q

    @property
    def title(self) -> str:
        return f"({self.q}, {self.k})-parity"

    def draw(self, n: int, generator: torch.Generator) -> Part:
        """x [n, q] float32 of +-1, or int64 of 0 and 1, no two rows alike; y [n] int64."""
        x = self.signs(n, generator)
        y = (x[:, : self.k].prod(dim=1) > 0).long()
        return Part((x > 0).long() if self.tokens else x, y)


class RedundantParity(SparseParity):
    """Sparse parity beside easy features that are often right and can trap a weak model.

    x = [q bits, n_easy features]. The easy features are copies of one guess at the label (+-1), which is right with
    probability rho, on training, validation and test examples alike. So
    - whoever reads the block alone is right on a share rho, and no better however many copies there are: each is a
      one-step linear feature, and n_easy makes its gradient n_easy times as large without a new bit of information;
    - whoever computes the parity is right on all.
    A weak model takes the block first; stopped at a threshold of rho or below, its embedding holds the block and has
    never looked at the parity bits, and the target that starts from it has to find them against the block. Its
    accuracy says nothing of that: the trap. A threshold above rho cannot be met by it (up to the spread of a part).

    Attributes:
        n_easy: copies of the easy feature.
        rho: how often it is right; 0.5 makes it noise.
        tokens: the easy features are numbers, so an input is a vector always.
    """

    n_easy: int = Field(default=20, ge=1, le=4096)
    rho: float = Field(default=0.8, ge=0.5, lt=1)
    tokens: Literal[False] = False  # the easy features are numbers beside the bits

    @property
    def d_vocab(self) -> int:
        return self.q + self.n_easy

    @property
    def title(self) -> str:
        return f"{super().title} beside {self.n_easy} easy features, right on {100 * self.rho:g} %"

    def draw(self, n: int, generator: torch.Generator) -> Part:
        """x [n, q + n_easy] float32 of +-1, no two rows alike; y [n] int64."""
        parity = super().draw(n, generator)
        right = torch.rand(n, generator=generator) < self.rho
        guess = torch.where(right, 2.0 * parity.y - 1.0, 1.0 - 2.0 * parity.y)
        return Part(torch.cat([parity.x, guess[:, None].expand(n, self.n_easy)], dim=1), parity.y)
