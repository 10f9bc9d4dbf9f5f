"""`muon` and `orthograd`: rivals to the transfer (method.md section 8), borrowed from the package pytorch_optimizer.

A torch optimizer has one learning rate a group of parameters, and these two treat each parameter as a whole; so they
take stacks of one. The package is imported when the first of them is made: it takes half a second.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gtsearch.optimizers.base import Optimizer


class Borrowed(Optimizer):
    """Base of those that hand the one member's parameters, views of its row, to a torch optimizer."""

    stackable = False

    def __init__(self, flat: Tensor, lr: Tensor, weight_decay: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__(flat, lr, weight_decay, shapes)
        self.parameters = {name: nn.Parameter(view) for name, view in self._views(flat).items()}
        self.inner = self.make(self.parameters, lr.item(), weight_decay.item())

    @abstractmethod
    def make(self, parameters: Mapping[str, nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """The optimizer of the parameters, by name."""

    def step(self, gradient: Tensor) -> None:
        """As the base; the gradient is used up."""
        for name, view in self._views(gradient).items():
            self.parameters[name].grad = view
        self.inner.step()

    def keep(self, flat: Tensor, rows: Tensor) -> None:
        super().keep(flat, rows)
        for name, view in self._views(flat).items():
            self.parameters[name].data = view

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        """The one row of flat [1, P] as parameters by name."""
        (row,) = flat
        pieces = row.split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}


class Muon(Borrowed):
    """Orthogonal updates on hidden matrices, AdamW on the rest.

    Muon (Jordan et al. 2024), as its authors say: the rest are embeddings, positions, vectors and the read-out. Both
    parts share the one learning rate that is searched. For that the orthogonal update is scaled to the size of
    one of AdamW's, .2 sqrt(the longer side) (Liu et al. 2025, "Muon is scalable for LLM training"). All else is the
    package's default: momentum .95 with Nesterov's step, five iterations, AdamW's betas .9 and .95.
    """

    def make(self, parameters: Mapping[str, nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        from pytorch_optimizer import Muon as PackagesMuon

        hidden = hidden_matrices(self.shapes)
        both = {"lr": lr, "weight_decay": weight_decay}
        groups = [
            {"params": [p for name, p in parameters.items() if name in hidden], "use_muon": True, **both},
            {"params": [p for name, p in parameters.items() if name not in hidden], "use_muon": False, **both},
        ]
        muon: torch.optim.Optimizer = PackagesMuon([group for group in groups if group["params"]], use_adjusted_lr=True)
        return muon


def hidden_matrices(shapes: Mapping[str, torch.Size]) -> frozenset[str]:
    """Names of the matrices between the tables of rows (embedding, positions) and the read-out, which comes last."""
    *others, _ = shapes
    tables = ("embedding.", "positions.")
    return frozenset(name for name in others if len(shapes[name]) == 2 and not name.startswith(tables))


class OrthoGrad(Borrowed):
    """AdamW on gradients made orthogonal to the weights.

    Each to the parameter it belongs to, its length kept (Prieto et al. 2025, "Grokking at the edge of numerical
    stability").
    """

    def make(self, parameters: Mapping[str, nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        from pytorch_optimizer import OrthoGrad as PackagesOrthoGrad

        inner = torch.optim.AdamW(parameters.values(), lr=lr, weight_decay=weight_decay)
        orthograd: torch.optim.Optimizer = PackagesOrthoGrad(inner)
        return orthograd
