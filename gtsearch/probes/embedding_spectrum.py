"""`embedding_spectrum`: how many directions the embedding uses."""

from __future__ import annotations

import torch

from gtsearch.embedding import effective_rank
from gtsearch.probes.base import Probe, View


class EmbeddingSpectrum(Probe):
    """How many directions the embedding uses.

    `embedding_effective_rank`: exp of the entropy of the singular values of E, from 1 to its width.
    `embedding_top_share`: the largest singular value over the sum of all.
    """

    def measure(self, view: View) -> dict[str, float]:
        E = view.module.embedding.matrix().detach()
        s = torch.linalg.svdvals(E.double())
        return {"embedding_effective_rank": effective_rank(E), "embedding_top_share": float(s[0] / s.sum())}
