"""What the methods with a given embedding share: E is a table that says what is known of a token, and is held there.

The paper compares four of them with what training finds (Fig. 2): one-hot, binary, Fourier and a text embedding,
rows scaled to length 1. The target is as wide as the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor

from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Model, Sizes
from gtsearch.tasks.base import Task


class FixedEmbedding(Method, ABC):
    """E is given, and not trained. A subclass says how wide it is and what its rows are.

    Attributes:
        trained: trains E after all, from this start.
        over_vectors: whether E may be the first layer over vectors; else its rows are said of tokens.
    """

    over_vectors: ClassVar[bool] = False

    trained: bool = False

    @abstractmethod
    def columns(self, task: Task) -> int:
        """How many columns E has on `task`."""

    @abstractmethod
    def rows(self, given: Given) -> Tensor:
        """E [d_vocab, columns] before its rows are scaled to length 1, floating point, on the CPU."""

    @property
    def frozen_parameters(self) -> tuple[str, ...]:
        return () if self.trained else ("embedding.E",)

    def sizes(self, target: Sizes, task: Task) -> Sizes:
        return type(target).model_validate({**target.model_dump(), "d_embed": self.columns(task)}, strict=True)

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        yield from super().problems(task, target, weak, max_epochs)
        if task.vectors and not self.over_vectors:
            yield "", f"`{self.name}` gives tokens their rows, and {task.title} has vectors; take the method out"
            return
        try:
            fitted = self.sizes(target, task)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]["msg"]
            yield "", f"`{self.name}` is {self.columns(task)} wide, which a {target.name} cannot be: {found}"
            return
        for _, text in fitted.problems(task):
            yield "", f"`{self.name}` sets the target's d_embed to {fitted.d_embed}: {text}"

    @torch.no_grad()
    def after_initialisation(self, module: Model, given: Given) -> None:
        rows = self.rows(given)
        lengths = rows.norm(dim=1, keepdim=True)
        # A row of zeros, such as that of a pixel which is always dark, stays one.
        module.get_parameter("embedding.E").copy_(rows / torch.where(lengths > 0, lengths, 1.0))
