"""Seconds an epoch, ours beside the loop anybody would write: a plain module, torch.optim.AdamW, the same evaluations.

Both train the same initial weights on a + b mod 113 and evaluate validation accuracy on the same grid. Each pair is
timed one right after the other, so that what else the machine does meets both; the ratio is the median over pairs.

    python benchmarks/epoch.py [--pairs 5] [--device cpu|cuda] [--threads 1] [--stack 256]

On a GPU one line more for each model says what an epoch of one member costs in a stack.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gtsearch import cost
from gtsearch.models.base import initialise
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import Cohort, Member, Plan

EVALUATE_EVERY = 10
TASK = ModularAddition(name="modular_addition", p=113)


@dataclass(frozen=True)
class Case:
    """A model with its published settings; `epochs` make some seconds on one thread."""

    name: str
    sizes: MlpSizes
    lr: float
    weight_decay: float
    init_scale: float
    epochs: int


CASES = (
    Case("weak", MlpSizes(name="mlp", depth=2, d_embed=4, width=16), 0.01, 1.0, 0.3, 500),
    Case("target", MlpSizes(name="mlp", depth=3, d_embed=128, width=512), 0.05, 3.0, 1.0, 20),
)


class PlainMlp(nn.Module):
    """The same network as a user of PyTorch would write it."""

    def __init__(self, sizes: MlpSizes) -> None:
        super().__init__()
        widths = [TASK.n_tokens * sizes.d_embed, *[sizes.width] * (sizes.depth - 1), TASK.n_classes]
        self.embedding = nn.Embedding(TASK.d_vocab, sizes.d_embed)
        self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1], bias=False) for i in range(sizes.depth))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embedding(x).flatten(start_dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return self.layers[-1](hidden)


def member(case: Case, seed: int) -> Member:
    module = case.sizes.module(TASK)
    initialise(module, torch.Generator().manual_seed(seed), case.init_scale)
    return Member(f"run-{seed}", module, case.lr, case.weight_decay, case.epochs)


def ours(case: Case, device: str, stack_size: int = 1) -> tuple[float, float]:
    """Wall seconds an epoch a member, evaluations in it, and the last training loss."""
    splits = TASK.splits(0)
    flops = cost.of_architecture(case.sizes, TASK).flops_per_epoch
    plan = Plan(goal=None, hold=1, evaluate_every=EVALUATE_EVERY, flops_per_epoch=flops, stack_size=stack_size)
    cohort = Cohort([(member(case, seed), splits) for seed in range(stack_size)], plan, device)
    outcomes = []
    started = time.perf_counter()
    while not cohort.done:
        outcomes += cohort.step(0.5)
    seconds = (time.perf_counter() - started) / case.epochs / stack_size
    return seconds, float(outcomes[0].curve[-1]["train_loss"] or 0.0)


def plain(case: Case, device: str) -> tuple[float, float]:
    """As `ours`, from the same initial weights."""
    splits = TASK.splits(0).to(torch.device(device))
    model = PlainMlp(case.sizes)
    with torch.no_grad():
        for into, start in zip(model.parameters(), member(case, 0).module.parameters(), strict=True):
            into.copy_(start)
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.lr, weight_decay=case.weight_decay)
    loss, accuracies = torch.zeros(()), []
    started = time.perf_counter()
    for epoch in range(case.epochs + 1):
        logits = model(splits.train.x)
        loss = cross_entropy(logits, splits.train.y)
        if epoch % EVALUATE_EVERY == 0:
            with torch.no_grad():
                logits = model(splits.validation.x)
                accuracies.append((logits.argmax(dim=1) == splits.validation.y).float().mean().item())
        if epoch < case.epochs:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    last = loss.item()
    return (time.perf_counter() - started) / case.epochs, last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stack", type=int, default=256)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.cuda.get_device_name() if asked.device == "cuda" else f"cpu, {asked.threads} thread(s)"
    print(f"torch {torch.__version__}, {device}, {asked.pairs} pairs, evaluated every {EVALUATE_EVERY} epochs")
    for case in CASES:
        ours(case, asked.device), plain(case, asked.device)  # the first call of each loads kernels
        pairs = [(ours(case, asked.device), plain(case, asked.device)) for _ in range(asked.pairs)]
        mine, theirs = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
        ratios = sorted(pair[1][0] / pair[0][0] for pair in pairs)
        print(
            f"{case.name:7}{case.sizes.label:18} ours {1e3 * mine:8.3f} ms   plain PyTorch {1e3 * theirs:8.3f} ms   "
            f"plain / ours {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]   "
            f"last loss {pairs[0][0][1]:.4f} and {pairs[0][1][1]:.4f}"
        )
        if asked.device == "cuda":
            stacked = statistics.median(ours(case, asked.device, asked.stack)[0] for _ in range(asked.pairs))
            print(f"{'':25} in a stack of {asked.stack}: {1e3 * stacked:8.4f} ms an epoch of one member")


if __name__ == "__main__":
    main()
