"""`fourier`: how much of the embedding lies in a few frequencies, as it does once modular arithmetic has been grokked
(Nanda et al. 2023; Xu et al. 2025, Fig. 12: one frequency in the weak embedding)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from gtsearch.models.base import Sizes
from gtsearch.probes.base import Probe, View
from gtsearch.tasks.base import Task


class FourierConcentration(Probe):
    """How much of the embedding lies in a few frequencies; over tokens.

    `fourier_share`: of the energy of E without its mean row, the part in the `top` strongest frequencies, in [0, 1].
    `fourier_frequency`: the strongest, in whole turns over the vocabulary. Two of these probes can stand in one
    experiment, since the name says another `top`.

    Attributes:
        top: how many frequencies count as few; another number than 3 goes into the name, `fourier_share_top5`.
    """

    top: int = Field(default=3, ge=1, le=65536)

    def problems(self, task: Task, sizes: Sizes) -> Iterator[str]:
        if task.vectors:
            yield f"`{self.name}` reads frequencies over tokens, and {task.title} has vectors; take the probe out"
        elif self.top > task.d_vocab // 2:
            rule = f"{task.title} has {task.d_vocab // 2} frequencies, not {self.top}"
            yield f"{rule}; choose a smaller `top`"

    def measure(self, view: View) -> dict[str, float]:
        energy = energies(view.module.embedding.matrix().detach())
        strongest = energy.topk(self.top)
        share = strongest.values.sum() / energy.sum()
        usual = self.top == type(self).model_fields["top"].default
        name = "fourier_share" if usual else f"fourier_share_top{self.top}"
        return {name: float(share), "fourier_frequency": float(strongest.indices[0] + 1)}


def energies(E: Tensor) -> Tensor:
    """The energy of E [d_vocab, d] at 1, 2, ..., d_vocab // 2 turns over its rows; they add up to d_vocab times that of
    E without its mean row."""
    power: Tensor = torch.fft.rfft(E.double(), dim=0)[1:].abs().square().sum(dim=1)
    # rfft gives one of each pair of mirror images; half a turn a token has none.
    last = len(power) if len(E) % 2 else len(power) - 1
    power[:last] *= 2.0
    return power
