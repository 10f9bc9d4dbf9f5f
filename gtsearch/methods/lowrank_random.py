"""`lowrank_random`: the factorisation A B with A random and A's singular values those of E_W.

The paper's own control (Fig. 15a) drew A at another scale and spectrum than E_W has, so what it lost could be
the scale. Here only the singular vectors differ; `spectrum: default` is the paper's, to be set beside it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gtsearch.methods.base import FactorisedStart


class LowrankRandom(FactorisedStart):
    """A random, by default of the weak embedding's singular values.

    A = U diag(s) V^T with random orthonormal U, V and s the singular values of E_W. With `spectrum: default` only the
    shape is taken of E_W, as in Fig. 15a.

    Attributes:
        spectrum: the singular values of A: `weak`: the weak embedding's; `default`: those of a table as PyTorch draws
            it, N(0, 1).
    """

    spectrum: Literal["weak", "default"] = "weak"

    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        if self.spectrum == "default":
            return torch.randn(embedding.shape, generator=generator).to(embedding.dtype)
        d_vocab, d_weak = embedding.shape
        s: Tensor = torch.linalg.svdvals(embedding.double())

        def orthonormal(rows: int) -> Tensor:
            gaussian = torch.randn(rows, len(s), generator=generator, dtype=torch.float64)
            Q: Tensor = torch.linalg.qr(gaussian).Q
            return Q

        return ((orthonormal(d_vocab) * s) @ orthonormal(d_weak).T).to(embedding.dtype)
