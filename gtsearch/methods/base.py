"""What every method gives: whether it needs a weak embedding, what it adds to the search space, its hooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gtsearch.models.base import FactorisedEmbedding, Model


class Method:
    """The target exactly as its model family builds it. Subclasses change what they name.

    Attributes:
        needs_embedding: whether a weak model's E_W is needed to start.
        stackable: whether the hooks are exact for each member of a stack (else members run one by one).
        searches: hyperparameters this method adds to the search space when the experiment does not name
            them, each a domain as it would stand in the YAML.
    """

    needs_embedding: ClassVar[bool] = False
    stackable: ClassVar[bool] = True
    searches: ClassVar[Mapping[str, Mapping[str, list[float]]]] = {}

    def start(
        self,
        module: Model,
        embedding: Tensor | None,
        hyperparameters: Mapping[str, float],
        generator: torch.Generator,
    ) -> None:
        """Prepares `module` in place, before it is initialised.

        Args:
            module: the target, uninitialised.
            embedding: E_W [d_vocab, d_W], or None where `needs_embedding` is false.
            hyperparameters: the config's, by name.
            generator: for the method's own draws, apart from the initialisation's.
        """

    def after_backward(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Changes the gradients in place. With a stack, tensors carry a leading axis of members."""

    def after_step(self, parameters: Mapping[str, Tensor]) -> None:
        """Changes the parameters in place after the optimizer's step."""


class FactorisedStart(Method, ABC):
    """Base of the methods that start from E_T = A B: a subclass says what A is."""

    needs_embedding = True
    # Whether a rescaled A helps is part of what is searched (design: "the scale of A is searched").
    searches: ClassVar[Mapping[str, Mapping[str, list[float]]]] = {"embedding_scale": {"loguniform": [0.5, 8.0]}}

    def start(
        self,
        module: Model,
        embedding: Tensor | None,
        hyperparameters: Mapping[str, float],
        generator: torch.Generator,
    ) -> None:
        assert embedding is not None, "the policy asks for this method only with an embedding"
        A = self.factor(embedding, generator) * hyperparameters.get("embedding_scale", 1.0)
        table = module.embedding.matrix()
        module.embedding = FactorisedEmbedding(A.to(table), table.shape[1])

    @abstractmethod
    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        """A [d_vocab, d_W] before it is scaled, from E_W of the same shape."""
