"""`modular_pair`: two sums at once, modulo two primes: a task that needs more rank than a small d_W has.

The paper's weak models get by with four columns because one operation modulo p is solved with few frequencies: the
cosine and the sine of one character of the group are two columns, and a second frequency makes four (method.md
section 5, Fig. 12). Here a token is a number n below p1 p2, by the Chinese remainder theorem a pair (n mod p1,
n mod p2), and the label is (a + b mod p1, a b mod p2) as one class:

- the sum needs characters of the addition modulo p1, functions of n mod p1 alone;
- the product needs characters of the multiplication modulo p2 (and which n are 0), functions of n mod p2 alone.

Over all tokens the first are uncorrelated with the second, so no column serves both: an embedding that carries both
halves needs the ranks of the two added up. One that holds a half alone predicts that half, and is then right on about
a p2-th or a p1-th of the pairs: well above chance, so that a threshold on accuracy lets it through, and of no use for
the other half.
"""

from __future__ import annotations

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gtsearch.errors import TaskError
from gtsearch.tasks.base import EnumeratedTask, Part
from gtsearch.tasks.expression import is_prime, near_primes

MOST_TOKENS = 1024


class ModularPair(EnumeratedTask):
    """A sum modulo one prime and a product modulo another at once: needs more rank than one of them.

    y = (a + b mod p1) p2 + (a b mod p2) over all ordered pairs (a, b) of numbers below p1 p2.

    Attributes:
        p1: the modulus of the sum, a prime.
        p2: the modulus of the product, another prime; p1 p2 is at most 1024.
        keep_pairs: keeps (a, b) and (b, a) in one part of the split, so that knowing a b = b a gives nothing away.
    """

    p1: int = Field(default=7, ge=2, le=MOST_TOKENS // 2)
    p2: int = Field(default=11, ge=2, le=MOST_TOKENS // 2)
    keep_pairs: bool = False

    @field_validator("p1", "p2")
    @classmethod
    def _are_two_primes(cls, p: int, info: ValidationInfo) -> int:
        if not is_prime(p):
            raise TaskError(f"both moduli must be primes, not {p}; {near_primes(p)}")
        if info.field_name == "p2" and (p1 := info.data.get("p1")):
            if p == p1:
                raise TaskError(f"the two moduli must differ, not both be {p}; else one number stands for both halves")
            if p * p1 > MOST_TOKENS:
                raise TaskError(
                    f"p1 p2 must be {MOST_TOKENS} or less, not {p1} * {p} = {p * p1}; choose smaller primes"
                )
        return p

    @property
    def d_vocab(self) -> int:
        return self.p1 * self.p2

    @property
    def n_tokens(self) -> int:
        return 2

    @property
    def n_classes(self) -> int:
        return self.p1 * self.p2

    @property
    def n_examples(self) -> int:
        return self.d_vocab**2

    @property
    def title(self) -> str:
        return f"(a + b mod {self.p1}, a * b mod {self.p2})"

    def examples(self) -> Part:
        """x [(p1 p2)^2, 2] int64, the pairs (a, b) ascending; y int64."""
        x = torch.cartesian_prod(*(torch.arange(self.d_vocab),) * 2)
        a, b = x.unbind(dim=1)
        return Part(x, (a + b) % self.p1 * self.p2 + a * b % self.p2)

    def groups(self) -> Tensor | None:
        """With `keep_pairs`, (a, b) and (b, a) are one group."""
        if not self.keep_pairs:
            return None
        x = self.examples().x
        return x.amin(dim=1) * self.d_vocab + x.amax(dim=1)
