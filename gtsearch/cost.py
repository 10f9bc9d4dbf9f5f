"""What an architecture costs, known before any training: parameters, and FLOPs an epoch by torch's own counter."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from gtsearch.methods.base import Method
from gtsearch.models.base import Sizes
from gtsearch.tasks.base import Task


@dataclass(frozen=True)
class Cost:
    """`params`: trainable numbers. `flops_per_epoch`: one full-batch forward and backward pass (matrix products)."""

    params: int
    flops_per_epoch: int


def measure(module: nn.Module, task: Task) -> Cost:
    """Counts one training epoch of `module` on `task`, on meta tensors: nothing is computed.

    FLOPs are those of matrix products, two a multiply-add, forward and backward, as
    `torch.utils.flop_counter` counts them; element-wise work, the optimizer and evaluations are not in it.
    """
    shadow = copy.deepcopy(module).to("meta")
    x = torch.empty(task.part_sizes[0], task.n_tokens, dtype=torch.int64, device="meta")
    y = torch.empty(task.part_sizes[0], dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        cross_entropy(shadow(x), y).backward()
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops())


def of_start(sizes: Sizes, task: Task, method: Method, d_weak: int | None) -> Cost:
    """The cost of a target that starts by `method`, given an embedding of width `d_weak` where it needs one."""
    module = sizes.module(task)
    E_W = torch.zeros(task.d_vocab, d_weak) if d_weak is not None else None
    method.start(module, E_W, {}, torch.Generator())
    return measure(module, task)


def of_architecture(sizes: Sizes, task: Task) -> Cost:
    """The cost of a plain model of these sizes, as the weak stage trains it."""
    with torch.device("meta"):
        return measure(sizes.module(task), task)
