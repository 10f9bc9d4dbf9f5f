"""`xor_ratio`: how much of the first layer looks at noise, on XOR clusters (Xu et al. 2025, Fig. 5)."""

from __future__ import annotations

from collections.abc import Iterator

from gtsearch.models.base import Sizes
from gtsearch.probes.base import Probe, View
from gtsearch.tasks.base import Task

TASK = "xor_clusters"
SIGNAL = 2  # rows 0 and 1 of E read the signal, all others noise


class XorRatio(Probe):
    """Noise over signal in the first layer; `xor_clusters` only.

    `xor_noise_to_signal`: r_W = (norm of the noise rows / sqrt(p - 2)) / (norm of the signal rows / sqrt 2), of
    E [p, d]. `xor_signal_to_noise`: its inverse.
    """

    def problems(self, task: Task, sizes: Sizes) -> Iterator[str]:
        if task.name != TASK:
            yield f"`{self.name}` knows the signal of {TASK} alone, not of {task.name}; take the probe out"

    def measure(self, view: View) -> dict[str, float]:
        E = view.module.embedding.matrix().detach().double()
        signal, noise = (part.square().sum(dim=1).mean().sqrt() for part in (E[:SIGNAL], E[SIGNAL:]))
        return {"xor_noise_to_signal": float(noise / signal), "xor_signal_to_noise": float(signal / noise)}
