"""What the training loop asks of a stack's model: a pass that trains, and a pass that measures.

Any model is differentiated by autograd (`AutogradPasses`), alone or many at once. A model that knows its own gradient
in plain expressions says so by `Model.passes`: on a CPU that saves the memory autograd fills anew in every epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gtsearch.losses import Loss, by_answer, is_right
from gtsearch.tasks.base import Part

MEASURED_ROWS = 1024


class Passes(ABC):
    """Passes over the examples, of all members of a stack.

    What a pass tells is a tensor [2, S]: each member's mean loss and its accuracy, float64, on the device. It is read
    by whoever needs it, so that a GPU is not waited for in epochs that nobody looks at.
    """

    @abstractmethod
    def train(self, told: bool) -> Tensor | None:
        """Writes every member's gradient on the training part; what the pass tells, where that is asked for."""

    @abstractmethod
    def measure(self, part: Part) -> Tensor:
        """What a pass over `part` tells; no gradient is touched."""


class AutogradPasses(Passes):
    """Of any model, one member or many.

    Args:
        module: whose `forward` it is. Of one member: the one that holds `leaves`.
        leaves: parameters by name; of many members [S, *shape] each.
        gradients: where their gradients go, of the same shapes.
        loss: outputs [n, C] and labels [n] to one number, a mean over examples.
        train: the part that `train` passes over.
        many: whether leaves have an axis of members.
    """

    def __init__(
        self,
        module: nn.Module,
        leaves: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        loss: Loss,
        train: Part,
        many: bool,
    ) -> None:
        self.module, self.leaves, self.gradients, self.part = module, dict(leaves), gradients, train
        self.many = many
        self._loss = vmap(loss, in_dims=(0, None)) if many else loss
        self._call = vmap(partial(functional_call, module), in_dims=(0, None)) if many else None

    def train(self, told: bool) -> Tensor | None:
        outputs, y = by_answer(self._outputs(self.part.x), self.part.y)
        losses = self._loss(outputs, y)
        # The pass that the next update needs anyway gives the training loss for nothing.
        answer = sums(losses, outputs, y) / len(y) if told else None
        found = torch.autograd.grad(losses.sum(), list(self.leaves.values()), materialize_grads=True)
        for into, gradient in zip(self.gradients.values(), found, strict=True):
            into.copy_(gradient)
        return answer

    @torch.no_grad()
    def measure(self, part: Part) -> Tensor:
        # On a CPU in blocks of rows, whose activations stay in its cache from one layer to the next.
        rows = MEASURED_ROWS if part.y.device.type == "cpu" else len(part)
        total = torch.zeros((), dtype=torch.float64, device=part.y.device)
        for x, labels in zip(part.x.split(rows), part.y.split(rows), strict=True):
            outputs, y = by_answer(self._outputs(x), labels)
            total = total + sums(self._loss(outputs, y), outputs, y)
        return total / part.y.numel()

    def _outputs(self, x: Tensor) -> Tensor:
        """[n, C], or [S, n, C]; of a task that answers at every position [n, answers, C], or [S, n, answers, C]."""
        outputs: Tensor = self._call(self.leaves, (x,)) if self._call else self.module(x)
        return outputs


def sums(losses: Tensor, outputs: Tensor, y: Tensor) -> Tensor:
    """From mean losses, [] or [S], and outputs [n, C] or [S, n, C]: sums of losses and how many are told right, as
    [2, S] float64."""
    right = is_right(outputs.detach(), y).sum(dim=-1)
    return torch.stack([losses.detach().double() * len(y), right.double()]).view(2, -1)
