"""What an architecture costs, known before any training: parameters, and FLOPs an epoch by torch's own counter."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from gtsearch.catalog import load
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Model, Sizes
from gtsearch.tasks.base import Task


@dataclass(frozen=True)
class Cost:
    """`params`: trained numbers. `flops_per_epoch`: one full-batch forward and backward pass (matrix products)."""

    params: int
    flops_per_epoch: int


def measure(module: Model, task: Task, loss: str | None = None) -> Cost:
    """Counts one training epoch of `module` on `task`, on meta tensors: nothing is computed.

    FLOPs are those of matrix products, two a multiply-add, forward and backward, as
    `torch.utils.flop_counter` counts them; element-wise work, the optimizer and evaluations are not in it.

    Args:
        loss: a name on the menu; default: the task's own.
    """
    shadow = copy.deepcopy(module).to("meta")
    part = task.blank(task.part_sizes[0], "meta")
    with FlopCounterMode(display=False) as counter:
        load("loss", loss or task.default_loss)(shadow(part.x), part.y).backward()
    trained = (p for name, p in module.named_parameters() if name not in module.frozen_parameters)
    return Cost(sum(p.numel() for p in trained), counter.get_total_flops())


def of_start(sizes: Sizes, task: Task, method: Method, d_weak: int | None, loss: str | None = None) -> Cost:
    """The cost of a target that starts by `method`, given an embedding of width `d_weak` where it needs one."""
    E_W = torch.zeros(task.d_vocab, d_weak) if d_weak is not None else None
    module = method.sizes(sizes, task).module(task)
    method.start(module, Given(task, task.blank(task.part_sizes[0], "cpu"), "", {}, torch.Generator(), E_W))
    return measure(module, task, loss)


def of_architecture(sizes: Sizes, task: Task, loss: str | None = None) -> Cost:
    """The cost of a plain model of these sizes, as the weak stage trains it."""
    with torch.device("meta"):
        return measure(sizes.module(task), task, loss)
