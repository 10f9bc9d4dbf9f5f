"""`binary`: a token is the bits of its number (Xu et al. 2025, Fig. 2).

A bit is +1 or -1, not 1 or 0: with 0 the row of token 0 would be zero, which no scale makes of length 1, and rows
scaled to length 1 would hold bits of different sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gtsearch.methods.base import Given
from gtsearch.methods.fixed import FixedEmbedding
from gtsearch.tasks.base import Task


class Binary(FixedEmbedding):
    """E given and held: the bits of the token's number.

    E [d_vocab, ceil(log2 d_vocab)], the lowest bit first.
    """

    def columns(self, task: Task) -> int:
        return max(1, (task.d_vocab - 1).bit_length())

    def rows(self, given: Given) -> Tensor:
        tokens, bits = torch.arange(given.task.d_vocab), torch.arange(self.columns(given.task))
        return (2 * ((tokens[:, None] >> bits) & 1) - 1).float()
