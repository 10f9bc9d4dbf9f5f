"""`weight_norms`: how long the weights are, which is what Omnigrok (Liu et al. 2023) lays the delay to."""

from __future__ import annotations

import torch

from gtsearch.probes.base import Probe, View


class WeightNorms(Probe):
    """Length of all weights, and of the embedding.

    `weight_norm`: of all parameters together (of A and B, where there are two). `embedding_norm`: of E as the model
    reads it, so of the product A B.
    """

    def measure(self, view: View) -> dict[str, float]:
        squares = [p.detach().double().square().sum() for p in view.module.parameters()]
        E = view.module.embedding.matrix().detach().double()
        return {"weight_norm": float(torch.stack(squares).sum().sqrt()), "embedding_norm": float(E.norm())}
