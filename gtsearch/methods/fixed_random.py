"""`random`: a token is a random direction.

It stands for the text embedding of 128 dimensions in Fig. 2 of Xu et al. 2025: what a language model says of numerals
is not shipped here (`file` takes it), and directions that know nothing of the task are what it is compared with.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gtsearch.methods.base import Given
from gtsearch.methods.fixed import FixedEmbedding
from gtsearch.tasks.base import Task


class Random(FixedEmbedding):
    """E given and held: random directions.

    E [d_vocab, width] with rows spread evenly over the sphere: normal, then scaled to length 1; a seed each.

    Attributes:
        width: columns of E.
    """

    over_vectors: ClassVar[bool] = True

    width: int = Field(default=128, ge=1, le=65536)

    def columns(self, task: Task) -> int:
        return self.width

    def rows(self, given: Given) -> Tensor:
        return torch.randn(given.task.d_vocab, self.width, generator=given.generator)
