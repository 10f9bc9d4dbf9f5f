"""Arithmetic modulo a number p over all pairs (a, b) (method.md section 2; Xu et al. 2025, section 4).

Addition and multiplication are the paper's; the others are the usual company of it (Power et al. 2022, appendix A.1).
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gtsearch.errors import TaskError
from gtsearch.tasks.base import EnumeratedTask, Part
from gtsearch.tasks.expression import is_prime, near_primes, parse


class ModularArithmetic(EnumeratedTask):
    """Base: y = a number modulo p of each ordered pair; inputs are the two tokens (a, b), p of them.

    Attributes:
        p: the modulus, and the vocabulary.
        keep_pairs: keeps (a, b) and (b, a) in one part of the split, so that knowing a b = b a gives nothing away.
    """

    p: int = Field(default=113, ge=5, le=1024)
    keep_pairs: bool = False

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
    def n_examples(self) -> int:
        return self.p**2

    @abstractmethod
    def values(self, a: Tensor, b: Tensor) -> Tensor:
        """y of the pairs, int64 in [0, p)."""

    def pairs(self) -> Tensor:
        """The examples' tokens (a, b) [n_examples, 2] int64, ascending."""
        numbers = torch.arange(self.p)
        return torch.cartesian_prod(numbers, numbers)

    def examples(self) -> Part:
        """x [n_examples, 2] int64, the pairs (a, b) ascending; y [n_examples] int64."""
        x = self.pairs()
        return Part(x, self.values(x[:, 0], x[:, 1]))

    def groups(self) -> Tensor | None:
        """With `keep_pairs`, (a, b) and (b, a) are one group."""
        if not self.keep_pairs:
            return None
        pairs = self.pairs()
        return pairs.amin(dim=1) * self.p + pairs.amax(dim=1)


class ModularAddition(ModularArithmetic):
    """y = a + b mod p over all p^2 ordered pairs."""

    @property
    def title(self) -> str:
        return f"a + b mod {self.p}"

    def values(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) % self.p


class ModularSubtraction(ModularArithmetic):
    """y = a - b mod p over all p^2 ordered pairs."""

    @property
    def title(self) -> str:
        return f"a - b mod {self.p}"

    def values(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b) % self.p


class ModularMultiplication(ModularArithmetic):
    """y = a b mod p over all p^2 ordered pairs.

    Of a prime p, 2 p - 1 of them give 0: chance is above 1 / p.
    """

    @property
    def title(self) -> str:
        return f"a * b mod {self.p}"

    def values(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b % self.p


class ModularDivision(ModularArithmetic):
    """y = a / b mod p, p prime, over the p (p - 1) ordered pairs with b not 0.

    Token 0 occurs as a alone.
    """

    @field_validator("p")
    @classmethod
    def _p_is_prime(cls, p: int) -> int:
        if not is_prime(p):
            raise TaskError(f"division modulo p needs a prime p, not {p}; {near_primes(p)}")
        return p

    @property
    def n_examples(self) -> int:
        return self.p * (self.p - 1)

    @property
    def title(self) -> str:
        return f"a / b mod {self.p}"

    def pairs(self) -> Tensor:
        return torch.cartesian_prod(torch.arange(self.p), torch.arange(1, self.p))

    def values(self, a: Tensor, b: Tensor) -> Tensor:
        return parse("x / y").over(a, b, self.p)[0]


class ModularPolynomial(ModularArithmetic):
    """An expression in the two tokens x and y, mod p, over all p^2 ordered pairs.

    `gtsearch.tasks.expression` reads it.

    Attributes:
        expression: e.g. `x^2 + x*y + y^2`, of `+ - * / ^`, brackets, whole numbers, `x` and `y`; one that divides needs
            a prime p, and pairs that divide by 0 are left out.
    """

    expression: str

    @field_validator("expression")
    @classmethod
    def _has_values(cls, expression: str, info: ValidationInfo) -> str:
        parsed, p = parse(expression), info.data.get("p")
        if p is None:  # p itself is refused
            return expression
        if parsed.divides and not is_prime(p):
            raise TaskError(f"division modulo p needs a prime p, not {p}; {near_primes(p)}, or take the `/` out")
        if not _defined(expression, p).any():
            raise TaskError(f"the expression {expression!r} divides by 0 modulo {p} for every pair; change its divisor")
        return expression

    @property
    def n_examples(self) -> int:
        return int(_defined(self.expression, self.p).sum())

    @property
    def title(self) -> str:
        return f"{self.expression} mod {self.p}"

    def pairs(self) -> Tensor:
        return super().pairs()[_defined(self.expression, self.p)]

    def values(self, a: Tensor, b: Tensor) -> Tensor:
        return parse(self.expression).over(a, b, self.p)[0]


@lru_cache(maxsize=16)
def _defined(expression: str, p: int) -> Tensor:
    """For which of all p^2 pairs, ascending, the expression has a value: bool [p^2]."""
    x, y = torch.cartesian_prod(torch.arange(p), torch.arange(p)).unbind(dim=1)
    return parse(expression).over(x, y, p)[1]
