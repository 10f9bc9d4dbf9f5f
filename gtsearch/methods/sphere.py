"""`sphere`: the weight norm is held while the target trains (Liu et al. 2023, "Omnigrok": constrained optimisation).

Omnigrok lays the delay to a weight norm that starts too large and shrinks slowly; held where generalisation is, there
is none. Which norm that is, is what `init_scale` searches here. Weight decay then only turns the step a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from gtsearch.methods.base import Hooks, Method, Slot


class Sphere(Method):
    """The weight norm held while it trains (Omnigrok).

    Starts as `scratch`; after every step parameters are scaled back to the length they began with.

    Attributes:
        norm: `all`: the length of all parameters together; `each`: that of every parameter (one that begins as zeros
            stays there).
    """

    norm: Literal["all", "each"] = "all"

    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        if self.norm == "all":
            return (_Sphere(flat, [slice(None)]),)
        return (_Sphere(flat, [slice(slot.start, slot.stop) for slot in slots.values()]),)


class _Sphere(Hooks):
    """`lengths`: [S, 1] for every part of a row."""

    def __init__(self, flat: Tensor, parts: Sequence[slice]) -> None:
        self.parts = parts
        self.lengths = [flat[:, part].norm(dim=1, keepdim=True) for part in parts]

    def after_step(self, flat: Tensor) -> None:
        for part, length in zip(self.parts, self.lengths, strict=True):
            now = flat[:, part].norm(dim=1, keepdim=True)
            flat[:, part] *= length / now.clamp_min(torch.finfo(flat.dtype).tiny)

    def keep(self, rows: Tensor) -> None:
        self.lengths = [length[rows] for length in self.lengths]
