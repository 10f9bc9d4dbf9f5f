"""`lda`: A is made of the leading discriminant directions of the training inputs (Fisher's, over the labels).

Over tokens every token of every example is an observation, one-hot, with the example's label. Then the directions
follow from the table of tokens and labels alone: they are the correspondence analysis of that table, which a test
holds against sklearn's analysis of the observations.
"""

from __future__ import annotations

import warnings

import numpy as np
from pydantic import Field

from gtsearch.methods.base import Given
from gtsearch.methods.directions import Directions, Matrix, counts
from gtsearch.tasks.base import Task

USUAL_WIDTH = 8


class Lda(Directions):
    """A the leading discriminant directions of the training inputs.

    A [d_vocab, width].

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
        found = of_vectors(given) if given.task.vectors else of_table(counts(given))
        return found[:, : self.columns(given.task)]


def of_vectors(given: Given) -> Matrix:
    """The discriminant directions of vectors, the leading one first: [d_vocab, n_classes - 1 or fewer]."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # a second to load, as in `pca`

    x, y = given.train.x.double().cpu().numpy(), given.train.y.cpu().numpy()
    with warnings.catch_warnings():
        # Pixels that are always dark are collinear: sklearn takes fewer dimensions then, and need not say so.
        warnings.filterwarnings("ignore", "Variables are collinear")
        found: Matrix = LinearDiscriminantAnalysis().fit(x, y).scalings_
    return found


def of_table(table: Matrix) -> Matrix:
    """The discriminant directions of one-hot tokens, from how often each stands beside each label.

    Args:
        table: counts [d_vocab, n_classes].

    Returns:
        [d_vocab, as many as there are], the leading one first; the row of a token that never stands is 0.
    """
    share = table / table.sum()
    rows, columns = share.sum(axis=1, keepdims=True), share.sum(axis=0, keepdims=True)
    # What never stands deviates from nothing: 1 in place of its share leaves its row or column 0.
    row_roots, column_roots = (np.sqrt(np.where(side > 0, side, 1.0)) for side in (rows, columns))
    U, s, _ = np.linalg.svd((share - rows * columns) / (row_roots * column_roots), full_matrices=False)
    found: Matrix = U[:, s > s[0] * len(table) * np.finfo(s.dtype).eps] / row_roots
    return found
