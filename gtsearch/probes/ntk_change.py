"""`ntk_change`: how much the empirical tangent kernel moves, an epoch (Xu et al. 2025, Fig. 3).

The kernel is the pseudo-NTK: of the sum of an example's outputs, over the parameters that are trained. Runs that only
fit a fixed kernel do not move it.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, grad, vmap

from gtsearch.models.base import Model
from gtsearch.probes.base import Probe, View


class NtkChange(Probe):
    """How much the empirical tangent kernel moved an epoch since the last evaluation.

    K = J J^T over the same training examples each time, J [examples, P] the gradients of the sum of outputs by the
    parameters that are trained.

    Attributes:
        examples: training examples of the kernel, spread evenly over the training part (all of a smaller one); it
            takes that many times the model's memory.
    """

    examples: int = Field(default=64, ge=1, le=65536)

    def measure(self, view: View) -> dict[str, float]:
        """`ntk_change`: Frobenius norm of the difference from the last evaluation over the epochs between the two (the
        paper takes it every epoch), NaN at the first. `ntk_change_relative`: that over `ntk_norm`, the norm of K now.
        """
        x = view.splits.train.x
        n = min(self.examples, len(x))
        K = kernel(view.module, x[torch.arange(n, device=x.device) * len(x) // n], view.frozen)
        norm = K.norm()
        before: tuple[int, Tensor] | None = view.memory.get("kernel")
        view.memory["kernel"] = view.epoch, K
        change = torch.tensor(math.nan) if before is None else (K - before[1]).norm() / (view.epoch - before[0])
        return {
            "ntk_change": float(change),
            "ntk_change_relative": float(change / norm.to(change)),
            "ntk_norm": float(norm),
        }


def kernel(module: Model, x: Tensor, frozen: Collection[str] = ()) -> Tensor:
    """K [n, n] of the inputs x [n, ...]: inner products of the gradients of each one's sum of outputs, by all
    parameters but those that are `frozen`."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    held = {name: parameters.pop(name) for name in frozen}

    def output(trained: dict[str, Tensor], one: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, {**held, **trained}, (one[None],))
        return outputs.sum()

    with torch.enable_grad():
        gradients = vmap(grad(output), in_dims=(None, 0))(parameters, x)
    # A sum of products over parameters, one at a time: the gradients are never copied into one matrix.
    products = [g.detach().flatten(1) for g in gradients.values()]
    return torch.stack([J @ J.T for J in products]).sum(dim=0)
