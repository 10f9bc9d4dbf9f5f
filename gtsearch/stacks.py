"""How many members a stack on a GPU should hold: as many as make it faster and fit into the memory that is free.

Both are measured, on copies of a member of the very kind that is to be trained: memory grows with the model, the data
and the optimizer, and how many tiny models fill a GPU depends on the GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gtsearch.tasks.base import Splits
from gtsearch.training import Cohort, Member, Plan

EPOCHS = 8  # of a trial; a first one as long loads the kernels
MEMORY_SHARE = 0.5  # of what is free: evaluations need more than training, and another worker may share the GPU
GAIN = 0.1  # how much faster a member's epoch must become when a stack doubles


@dataclass(frozen=True)
class Trial:
    """What a stack took: `seconds` an epoch of all its members, and its peak of memory in `bytes`."""

    seconds: float
    bytes: int


def largest_useful(trial: Callable[[int], Trial], free_bytes: int, most: int) -> int:
    """The size at which doubling a stack, from one member on, pays no more or fits no more; at most `most`."""
    size, seen = 1, trial(1)
    while size < most:
        larger = min(2 * size, most)
        if seen.bytes * larger / size > MEMORY_SHARE * free_bytes:
            break
        tried = trial(larger)
        faster = (larger / tried.seconds) / (size / seen.seconds)
        if faster < 1.0 + GAIN * (larger / size - 1.0):
            break
        size, seen = larger, tried
    return size


def on_gpu(member: Member, splits: Splits, plan: Plan, device: torch.device, most: int) -> int:
    """Tries stacks of copies of `member` on a CUDA device, which takes a second or so; `member` is left alone."""
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)

    def trial(size: int) -> Trial:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        seconds = epoch_seconds(member, splits, plan, device, size)
        return Trial(seconds, torch.cuda.max_memory_allocated(device) - before)

    return largest_useful(trial, free_bytes, most)


def epoch_seconds(member: Member, splits: Splits, plan: Plan, device: torch.device, size: int) -> float:
    """Seconds an epoch of a stack of `size` copies of `member`, evaluations left out."""
    shared = replace(plan, goal=None, evaluate_every=EPOCHS, stack_size=size, keep_layers=False)
    seconds = 0.0
    for _ in range(2):  # the first loads kernels
        copies = [
            Member(
                run_id=f"copy-{i}",
                module=copy.deepcopy(member.module),
                lr=member.lr,
                weight_decay=member.weight_decay,
                max_epochs=EPOCHS,
                method=member.method,
                hyperparameters=member.hyperparameters,
            )
            for i in range(size)
        ]
        cohort = Cohort([(one, splits) for one in copies], shared, device)
        outcomes = []
        while not cohort.done:
            outcomes += cohort.step(1.0)
        seconds = sum(outcome.measures["train_seconds"] for outcome in outcomes) / EPOCHS
    return seconds
