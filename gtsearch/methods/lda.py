"""`lda`: A is made of the leading discriminant directions of the training inputs (Fisher's, over the labels).

Over tokens every token of every example is an observation, one-hot, with the example's label: then the directions
follow from the table of tokens and labels alone (it is the correspondence analysis of that table).
"""

from __future__ import annotations

import warnings

from pydantic import Field

from gtsearch.methods.base import Given
from gtsearch.methods.directions import Directions, Matrix, inputs, labels
from gtsearch.tasks.base import Task

USUAL_WIDTH = 8


class Lda(Directions):
    """A [d_vocab, width].

    Attributes:
        width: how many directions, at most one less than there are labels; None: 8, or as many as there are.
    """

    width: int | None = Field(default=None, ge=1, le=65536)

    def columns(self, task: Task) -> int:
        return self.width or min(USUAL_WIDTH, self.most(task))

    def most(self, task: Task) -> int:
        # Tokens that are one-hot add up to 1, which takes a dimension away.
        return min(task.n_classes - 1, task.d_vocab if task.vectors else task.d_vocab - 1)

    def directions(self, given: Given) -> Matrix:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # a second to load, as in `pca`

        with warnings.catch_warnings():
            # One-hot tokens are collinear, and so are pixels that are always dark: sklearn then takes fewer dimensions.
            warnings.filterwarnings("ignore", "Variables are collinear")
            found: Matrix = LinearDiscriminantAnalysis().fit(inputs(given), labels(given)).scalings_
        return found[:, : self.columns(given.task)]
