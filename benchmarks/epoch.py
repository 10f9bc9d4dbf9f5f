"""Seconds an epoch and memory of the mlps, ours beside the loop anybody would write.

The plain side is a module, torch.optim.AdamW and a loop. Both train the same initial weights on a + b mod 113 and
evaluate validation accuracy every 10 epochs, which is in the seconds. Every measurement is a process of its own, after
some epochs that are not timed; the two of a pair follow one another, so that what else the machine does meets both.
Memory is the peak above what the process held before it made the model.

    python -m benchmarks.epoch [--pairs 7] [--device cpu|cuda] [--threads 1] [--stack 1024]

On a GPU it says besides how many member-epochs a second a stack makes, beside those of the plain loop.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.alone import alone
from benchmarks.results import Row, keep, paired
from gtsearch import cost
from gtsearch.models.base import initialise
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Splits
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import Cohort, Member, Plan

EVALUATE_EVERY = 10
WARM_UP = 3  # epochs; the first loads kernels
TIMES_ON_A_GPU = 100  # as many member-epochs a second as a plain loop on the same GPU
TASK = ModularAddition(name="modular_addition", p=113)


@dataclass(frozen=True)
class Case:
    """A model with its published settings; `epochs` make some seconds on one thread. `at_most`: of a plain loop's
    seconds."""

    name: str
    sizes: MlpSizes
    lr: float
    weight_decay: float
    init_scale: float
    epochs: int
    at_most: float


CASES = (
    Case("weak", MlpSizes(name="mlp", depth=2, d_embed=4, width=16), 0.01, 1.0, 0.3, 500, 0.75),
    Case("target", MlpSizes(name="mlp", depth=3, d_embed=128, width=512), 0.05, 3.0, 1.0, 30, 0.85),
)


@dataclass(frozen=True)
class Timed:
    """Wall seconds an epoch of one member, with its share of the evaluations, and the last training loss."""

    epoch_seconds: float
    loss: float


class PlainMlp(nn.Module):
    """The same network as a user of PyTorch would write it."""

    def __init__(self, sizes: MlpSizes) -> None:
        super().__init__()
        hidden = [sizes.width or 0] * (sizes.depth - 1)
        widths = [TASK.n_tokens * sizes.d_embed, *hidden, TASK.n_classes]
        self.embedding = nn.Embedding(TASK.d_vocab, sizes.d_embed)
        self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1], bias=False) for i in range(sizes.depth))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embedding(x).flatten(start_dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return cast(Tensor, self.layers[-1](hidden))


def member(case: Case, seed: int, epochs: int) -> Member:
    module = case.sizes.module(TASK)
    initialise(module, torch.Generator().manual_seed(seed), case.init_scale)
    return Member(f"run-{seed}", module, case.lr, case.weight_decay, epochs)


def ours(case: Case, device: str, threads: int, stack_size: int = 1) -> Timed:
    """The training loop of a run."""
    torch.set_num_threads(threads)
    splits = TASK.splits(0)
    flops = cost.of_architecture(case.sizes, TASK).flops_per_epoch
    plan = Plan(goal=None, hold=1, evaluate_every=EVALUATE_EVERY, flops_per_epoch=flops, stack_size=stack_size)

    def trained(epochs: int) -> Timed:
        cohort = Cohort([(member(case, seed, epochs), splits) for seed in range(stack_size)], plan, device)
        outcomes = []
        started = time.perf_counter()
        while not cohort.done:
            outcomes += cohort.step(0.5)
        seconds = (time.perf_counter() - started) / epochs / stack_size
        return Timed(seconds, float(outcomes[0].curve[-1]["train_loss"] or 0.0))

    trained(WARM_UP)
    return trained(case.epochs)


def plain(case: Case, device: str, threads: int) -> Timed:
    """A loop of a user's own, from the same initial weights."""
    torch.set_num_threads(threads)
    splits = TASK.splits(0).to(torch.device(device))

    def trained(epochs: int) -> Timed:
        model = PlainMlp(case.sizes)
        with torch.no_grad():
            for into, start in zip(model.parameters(), member(case, 0, epochs).module.parameters(), strict=True):
                into.copy_(start)
        return plain_loop(model.to(device), splits, case.lr, case.weight_decay, epochs)

    trained(WARM_UP)
    return trained(case.epochs)


def plain_loop(model: nn.Module, splits: Splits, lr: float, weight_decay: float, epochs: int) -> Timed:
    """Full batches by torch's AdamW, validation accuracy every EVALUATE_EVERY epochs, as a user would write it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    loss, accuracies = torch.zeros(()), []
    started = time.perf_counter()
    for epoch in range(epochs + 1):
        loss = cross_entropy(model(splits.train.x), splits.train.y)
        if epoch % EVALUATE_EVERY == 0:
            with torch.no_grad():
                right = model(splits.validation.x).argmax(dim=1) == splits.validation.y
                accuracies.append(right.float().mean().item())
        if epoch < epochs:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    last = loss.item()
    return Timed((time.perf_counter() - started) / epochs, last)


def compared(case: Case, device: str, threads: int, pairs: int, stack_size: int) -> list[Row]:
    """The rows of one model."""
    mine: list[tuple[Timed, float]] = []
    theirs: list[tuple[Timed, float]] = []
    for at in range(pairs):
        sides = [(ours, mine), (plain, theirs)]
        for side, into in sides if at % 2 == 0 else reversed(sides):
            into.append(alone(side, case, device, threads))
        (own, own_peak), (other, other_peak) = mine[-1], theirs[-1]
        print(
            f"{case.name} {case.sizes.label}: ours {1e3 * own.epoch_seconds:.3f} ms an epoch, {own_peak:.0f} MiB, loss "
            f"{own.loss:.4f}; plain PyTorch {1e3 * other.epoch_seconds:.3f} ms, {other_peak:.0f} MiB, loss "
            f"{other.loss:.4f}; ours / plain {own.epoch_seconds / other.epoch_seconds:.2f}",
            flush=True,
        )
    where = "on a GPU" if device == "cuda" else f"{threads} thread(s)"
    what = f"the {case.name} {case.sizes.label} on {TASK.title}, {where}, beside plain PyTorch"
    milliseconds = [[1e3 * timed.epoch_seconds for timed, _ in side] for side in (mine, theirs)]
    peaks = [[peak for _, peak in side] for side in (mine, theirs)]
    rows = [
        paired(f"an epoch of {what}", milliseconds[0], milliseconds[1], "ms", case.at_most, "evaluations in it"),
        paired(f"peak memory of {what}", peaks[0], peaks[1], "MiB", note="above the imported modules"),
    ]
    if device != "cuda":
        return rows
    stacked = [1 / alone(ours, case, device, threads, stack_size)[0].epoch_seconds for _ in range(pairs)]
    many = paired(
        f"member-epochs a second of {what}, {stack_size} at once",
        stacked,
        [1e3 / one for one in milliseconds[1]],
        "a second",
    )
    if case.name != "weak":
        return [*rows, many]
    met = many.ratio is not None and many.ratio >= TIMES_ON_A_GPU
    return [*rows, replace(many, target=f"at least {TIMES_ON_A_GPU}", met=met)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stack", type=int, default=1024, help="members at once, on a GPU")
    parser.add_argument("--epochs", type=int, help="of a measurement; default: what makes some seconds")
    asked = parser.parse_args()
    cases = [replace(case, epochs=asked.epochs or case.epochs) for case in CASES]
    rows = [row for case in cases for row in compared(case, asked.device, asked.threads, asked.pairs, asked.stack)]
    settings = {"pairs": asked.pairs, "threads": asked.threads, "device": asked.device, "stack": asked.stack}
    settings |= {"epochs": {case.name: case.epochs for case in cases}}
    print(f"kept in {keep('epoch', rows, settings)}")


if __name__ == "__main__":
    main()
