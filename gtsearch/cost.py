"""What an architecture costs, known before any training: parameters, and FLOPs an epoch by torch's own counter."""

from __future__ import annotations

import copy
import math
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache

import torch

from gtsearch.catalog import load
from gtsearch.losses import by_answer
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import FactorisedEmbedding, Model, Sizes
from gtsearch.tasks.base import Task


@dataclass(frozen=True)
class Cost:
    """What training costs.

    Attributes:
        params: trained numbers.
        flops_per_epoch: one full-batch forward and backward pass (matrix products).
        merged_flops_per_epoch: the same once A and B are one table; None where they never become one.
    """

    params: int
    flops_per_epoch: int
    merged_flops_per_epoch: int | None = None

    def epochs(self, flops: float, merges_at: int | None) -> float:
        """How many epochs `flops` pay for, of a start that merges after `merges_at` of them (None: never)."""
        before = math.inf if merges_at is None or self.merged_flops_per_epoch is None else float(merges_at)
        paid = flops / self.flops_per_epoch
        if paid <= before or self.merged_flops_per_epoch is None:
            return paid
        return before + (flops - before * self.flops_per_epoch) / self.merged_flops_per_epoch


def measure(module: Model, task: Task, loss: str | None = None, frozen: Collection[str] = ()) -> Cost:
    """Counts one training epoch of `module` on `task`, on meta tensors: nothing is computed.

    FLOPs are those of matrix products, two a multiply-add, forward and backward, as
    `torch.utils.flop_counter` counts them; element-wise work, the optimizer and evaluations are not in it.

    Args:
        loss: a name on the menu; default: the task's own.
        frozen: names of parameters that are held, beside the module's own. Their gradients are worked out and paid
            for all the same, as in training.
    """
    from torch.utils.flop_counter import FlopCounterMode  # seconds to load, which who only reads a Cost need not pay

    _load_compiler()
    shadow = copy.deepcopy(module).to("meta")
    part = task.blank(task.part_sizes[0], "meta")
    with FlopCounterMode(display=False) as counter:
        load("loss", loss or task.default_loss)(*by_answer(shadow(part.x), part.y)).backward()
    held = {*module.frozen_parameters, *frozen}
    trained = (p for name, p in module.named_parameters() if name not in held)
    return Cost(sum(p.numel() for p in trained), counter.get_total_flops())


@cache
def _load_compiler() -> None:
    """Counting loads torch's compiler, which makes a folder for what it compiles: here that is nothing, and a folder
    that is there already will do."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    if name in os.environ:
        return
    os.environ[name] = tempfile.gettempdir()
    try:
        import torch._dynamo  # noqa: F401
    finally:
        del os.environ[name]


def of_start(sizes: Sizes, task: Task, method: Method, d_weak: int | None, loss: str | None = None) -> Cost:
    """The cost of a target that starts by `method`, given an embedding of width `d_weak` where it needs one.

    `params` are those it starts with. Shapes alone matter, so all is done on meta tensors: a target may be 80,000 x
    2048, and the process that asks trains nothing.
    """
    fitted = method.sizes(sizes, task)
    E_W = torch.empty(task.d_vocab, d_weak, device="meta") if d_weak is not None else None
    with torch.device("meta"):
        module = fitted.module(task)
    method.start(module, Given(task, task.blank(task.part_sizes[0], "meta"), "", {}, torch.Generator(), E_W))
    start = measure(module, task, loss, method.frozen_parameters)
    if method.merges_at is None or not isinstance(module.embedding, FactorisedEmbedding):
        return start
    module.embedding = module.embedding.merge()
    return replace(start, merged_flops_per_epoch=measure(module, task, loss).flops_per_epoch)


def of_architecture(sizes: Sizes, task: Task, loss: str | None = None) -> Cost:
    """The cost of a plain model of these sizes, as the weak stage trains it."""
    with torch.device("meta"):
        module = sizes.module(task)
    return measure(module, task, loss)
