"""`onehot`: a token is its own coordinate, so no two are nearer than any other two (Xu et al. 2025, Fig. 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from gtsearch.methods.base import Given
from gtsearch.methods.fixed import FixedEmbedding
from gtsearch.tasks.base import Task


class OneHot(FixedEmbedding):
    """E given and held: the identity.

    [d_vocab, d_vocab].
    """

    def columns(self, task: Task) -> int:
        return task.d_vocab

    def rows(self, given: Given) -> Tensor:
        return torch.eye(given.task.d_vocab)
