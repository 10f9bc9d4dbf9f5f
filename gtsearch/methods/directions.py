"""What `pca` and `lda` share: E_T = A B with A the leading directions of the training inputs, and no weak model.

Reviewers asked for them (method.md section 7, point 3): is a weak model needed, or would a classical look at the
data do? Over vectors the directions are those of the training inputs. Tokens have no coordinates of their own, so
there they are those of one-hot tokens, and all that is looked at is the table of how often each token stands beside
each label in the training part, positions added up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from gtsearch.errors import GtsearchError
from gtsearch.methods.base import Given, Method, Searches
from gtsearch.models.base import FactorisedEmbedding, Model, Sizes
from gtsearch.tasks.base import Task

Matrix = NDArray[np.float64]


class Directions(Method, ABC):
    """A subclass says which directions, and how many there are.

    Every column of A has the same length: 1 over vectors, so that x A are plain projections, and sqrt(d_vocab) over
    tokens, so that entries are about 1 as in a table that is drawn. `embedding_scale` multiplies it.
    """

    searches: ClassVar[Searches] = {"embedding_scale": {"loguniform": [0.5, 8.0]}}

    @abstractmethod
    def columns(self, task: Task) -> int:
        """How many columns A has on `task`."""

    @abstractmethod
    def most(self, task: Task) -> int:
        """How many directions there can be on `task`."""

    @abstractmethod
    def directions(self, given: Given) -> Matrix:
        """[d_vocab, columns or fewer], the leading one first, of any length."""

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        yield from super().problems(task, target, weak, max_epochs)
        if task.n_answers > 1:
            rule = f"`{self.name}` looks at one label an example, and {task.title} has {task.n_answers}"
            yield "", f"{rule}; take it out"
        if self.columns(task) > self.most(task):
            rule = f"{task.title} gives `{self.name}` {self.most(task)} directions at most, not {self.columns(task)}"
            yield "width", f"{rule}; choose a width up to that"

    def start(self, module: Model, given: Given) -> None:
        table = module.embedding.matrix()
        A = table.new_zeros(given.task.d_vocab, self.columns(given.task))
        module.embedding = FactorisedEmbedding(A, table.shape[1])

    @torch.no_grad()
    def after_initialisation(self, module: Model, given: Given) -> None:
        found = self.directions(given)
        if found.shape[1] < self.columns(given.task):
            rule = f"the training examples show `{self.name}` {found.shape[1]} directions"
            raise GtsearchError(f"{rule}, not {self.columns(given.task)}; choose a smaller width")
        length = 1.0 if given.task.vectors else math.sqrt(given.task.d_vocab)
        length *= given.hyperparameters.get("embedding_scale", 1.0)
        A = torch.from_numpy(found * (length / np.linalg.norm(found, axis=0)))
        module.get_parameter("embedding.A").copy_(A)


def counts(given: Given) -> Matrix:
    """How often each token stands in an example of each label, over all positions: [d_vocab, n_classes]."""
    task, x, y = given.task, given.train.x.cpu(), given.train.y.cpu()
    cells = task.n_classes * x.flatten() + y.repeat_interleave(task.n_tokens)
    table: Matrix = torch.bincount(cells, minlength=task.d_vocab * task.n_classes).double().numpy()
    return table.reshape(task.d_vocab, task.n_classes)
