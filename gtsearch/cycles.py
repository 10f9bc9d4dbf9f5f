"""The order in which a task goes round its tokens, where it does: what frequencies over tokens are frequencies of."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from gtsearch.tasks.base import Task
from gtsearch.tasks.expression import is_prime
from gtsearch.tasks.modular import ModularAddition, ModularDivision, ModularMultiplication, ModularSubtraction


@lru_cache(maxsize=32)
def cycle(task: Task) -> Tensor | None:
    """The tokens [n] int64 in the order of the group that the task computes in; None where it is not one cycle.

    Sums and differences modulo p go round 0, 1, ..., p - 1. Products and quotients modulo a prime p go round the powers
    of a primitive root: there a b is the sum of two logarithms, modulo p - 1. Token 0 has none and is left out.
    """
    if isinstance(task, ModularAddition | ModularSubtraction):
        return torch.arange(task.p)
    if isinstance(task, ModularMultiplication | ModularDivision) and is_prime(task.p):
        return torch.tensor(next(found for g in range(2, task.p) if len(found := _powers(g, task.p)) == task.p - 1))
    return None


def _powers(g: int, p: int) -> list[int]:
    """1, g, g^2, ... modulo p, until they repeat."""
    powers = [1]
    while (power := powers[-1] * g % p) != 1:
        powers.append(power)
    return powers
