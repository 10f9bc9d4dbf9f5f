"""`transfer_shuffled`: the same A with its rows permuted: scale and spectrum kept, which token has which row lost."""

from __future__ import annotations

import torch
from torch import Tensor

from gtsearch.methods.base import FactorisedStart


class TransferShuffled(FactorisedStart):
    """A the weak model's embedding with its rows in random order."""

    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        return embedding[torch.randperm(len(embedding), generator=generator)]
