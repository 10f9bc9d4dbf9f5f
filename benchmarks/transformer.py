"""Seconds an epoch and memory of a transformer, ours beside the loop anybody would write.

The paper's target of two layers (Fig. 8b: d_embed 128, d_mlp 128, 4 heads) on a + b mod 113, 25 % for training, full
batch, AdamW. The plain side is an nn.Module with PyTorch's causal attention over all positions, read out at the last,
torch.optim.AdamW, and a loop. Both train the same initial weights and evaluate validation accuracy every 10 epochs,
which is in the seconds. Ours is the training loop of a run, `gtsearch.training.Cohort`.

    python -m benchmarks.transformer [--pairs 7] [--epochs 30] [--threads 1]

Every measurement is a process of its own, after two epochs that are not timed; the two of a pair follow one another, so
that what else the machine does meets both. Memory is the peak above what the process held before it made the model.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.alone import alone
from benchmarks.epoch import EVALUATE_EVERY, Timed, plain_loop
from benchmarks.results import keep, paired
from gtsearch import cost
from gtsearch.models.base import Model, initialise
from gtsearch.models.transformer import TransformerSizes
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import Cohort, Member, Plan

WARM_UP = 2  # epochs; the first loads kernels
AT_MOST = 1.0  # of the plain loop's seconds
TASK = ModularAddition(name="modular_addition", p=113)
SIZES = TransformerSizes(name="transformer", layers=2, d_embed=128, heads=4, d_mlp=128)
LR, WEIGHT_DECAY, INIT_SCALE = 0.005, 0.1, 0.6


class Attention(nn.Module):
    """Causal attention of `heads` heads, over all positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        n, positions, width = x.shape
        q, k, v = (
            layer(x).view(n, positions, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        taken = scaled_dot_product_attention(q, k, v, is_causal=True)
        return cast(Tensor, self.output(taken.transpose(1, 2).reshape(n, positions, width)))


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + cast(Tensor, self.down(torch.relu(self.up(x))))


class PlainTransformer(nn.Module):
    """The same function as a user of PyTorch would write it, its parameters in the order of ours."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TASK.d_vocab, sizes.d_embed)
        self.positions = nn.Parameter(torch.randn(TASK.n_tokens, sizes.d_embed))
        self.blocks = nn.ModuleList(
            PlainBlock(sizes.d_embed, sizes.heads, sizes.mlp_width) for _ in range(sizes.layers)
        )
        self.readout = nn.Linear(sizes.d_embed, TASK.n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.embedding(x) + self.positions
        for block in self.blocks:
            stream = block(stream)
        return cast(Tensor, self.readout(stream[:, -1]))


def initialised() -> Model:
    """Our model as both sides begin."""
    module = SIZES.module(TASK)
    initialise(module, torch.Generator().manual_seed(0), INIT_SCALE)
    return module


def ours(epochs: int, threads: int) -> Timed:
    """The loop of a run."""
    torch.set_num_threads(threads)
    flops = cost.of_architecture(SIZES, TASK).flops_per_epoch
    plan = Plan(goal=None, hold=1, evaluate_every=EVALUATE_EVERY, flops_per_epoch=flops)

    def trained(epochs: int) -> Timed:
        member = Member("run", initialised(), LR, WEIGHT_DECAY, epochs)
        cohort = Cohort([(member, TASK.splits(0))], plan)
        outcomes = []
        started = time.perf_counter()
        while not cohort.done:
            outcomes += cohort.step(0.5)
        return Timed((time.perf_counter() - started) / epochs, float(outcomes[0].curve[-1]["train_loss"] or 0.0))

    trained(WARM_UP)
    return trained(epochs)


def plain(epochs: int, threads: int) -> Timed:
    """A loop of a user's own."""
    torch.set_num_threads(threads)

    def trained(epochs: int) -> Timed:
        model = PlainTransformer(SIZES)
        with torch.no_grad():
            begin = dict(initialised().named_parameters())
            for name, into in model.named_parameters():
                into.copy_(begin[_our_name(name)])
        return plain_loop(model, TASK.splits(0), LR, WEIGHT_DECAY, epochs)

    trained(WARM_UP)
    return trained(epochs)


def _our_name(name: str) -> str:
    """How our model names what the plain one names `name`."""
    if name == "embedding.weight":
        return "embedding.E"
    return "positions.P" if name == "positions" else name.replace(".attention.", ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=30, help="of a measurement")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    mine: list[tuple[Timed, float]] = []
    theirs: list[tuple[Timed, float]] = []
    for at in range(asked.pairs):
        pair = [(ours, mine), (plain, theirs)]
        for side, into in pair if at % 2 == 0 else reversed(pair):
            into.append(alone(side, asked.epochs, asked.threads))
        (own, own_peak), (other, other_peak) = mine[-1], theirs[-1]
        print(
            f"{SIZES.label}: ours {1e3 * own.epoch_seconds:.1f} ms an epoch, {own_peak:.0f} MiB, loss {own.loss:.5f}; "
            f"plain PyTorch {1e3 * other.epoch_seconds:.1f} ms, {other_peak:.0f} MiB, loss {other.loss:.5f}; "
            f"ours / plain {own.epoch_seconds / other.epoch_seconds:.2f}",
            flush=True,
        )
    what = f"{SIZES.label} on {TASK.title}, {asked.threads} thread(s), beside plain PyTorch"
    milliseconds = [[1e3 * timed.epoch_seconds for timed, _ in side] for side in (mine, theirs)]
    peaks = [[peak for _, peak in side] for side in (mine, theirs)]
    rows = [
        paired(f"an epoch of {what}", milliseconds[0], milliseconds[1], "ms", AT_MOST, "evaluations in it"),
        paired(f"peak memory of {what}", peaks[0], peaks[1], "MiB", note="above the imported modules"),
    ]
    settings = {"pairs": asked.pairs, "epochs": asked.epochs, "threads": asked.threads, "device": "cpu"}
    print(f"kept in {keep('transformer', rows, settings)}")


if __name__ == "__main__":
    main()
