"""`pca`: A is made of the leading principal directions of the training inputs.

Over tokens the observations are the labels: each is the row of how often every token stands beside it. (Those of the
one-hot tokens themselves would say nothing but which token is frequent.)
"""

from __future__ import annotations

from pydantic import Field

from gtsearch.methods.base import Given
from gtsearch.methods.directions import Directions, Matrix, counts
from gtsearch.tasks.base import Task


class Pca(Directions):
    """A the leading principal directions of the training inputs.

    A [d_vocab, width].

    Attributes:
        width: how many directions.
    """

    width: int = Field(default=8, ge=1, le=65536)

    def columns(self, task: Task) -> int:
        return self.width

    def most(self, task: Task) -> int:
        # n observations about their mean span n - 1 dimensions.
        observations = task.part_sizes[0] if task.vectors else task.n_classes
        return min(observations - 1, task.d_vocab)

    def directions(self, given: Given) -> Matrix:
        from sklearn.decomposition import PCA  # a second to load, which who runs another method need not pay

        observations = given.train.x.double().cpu().numpy() if given.task.vectors else counts(given).T
        # Of many observations of many numbers sklearn finds the leading directions by random projections; the same
        # ones for every member, whose seed decides what a method draws and not what it measures.
        found: Matrix = PCA(self.width, random_state=0).fit(observations).components_.T
        return found
