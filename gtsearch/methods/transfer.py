"""`transfer`: GrokTransfer. E_T = A B with A = E_W and B random (Xu et al. 2025, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from gtsearch.methods.base import FactorisedStart


class Transfer(FactorisedStart):
    """A is the weak model's embedding."""

    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        return embedding
