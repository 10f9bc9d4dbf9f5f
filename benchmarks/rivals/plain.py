"""A weak model and its training loop as a user of PyTorch would write them. Imports torch and nothing of gtsearch.

Each run begins with the very weights gtsearch gives it (same distribution, same draws), so that all three train the
same members. They need not end alike: sums are taken in another order, and these curves are chaotic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.rivals.work import Architecture, Config, Trained, Work

Data = Mapping[str, Tensor]
"""`train_x`, `validation_x`: tokens [n, n_tokens] int64; `train_y`, `validation_y`: labels [n] int64."""


class PlainMlp(nn.Module):
    """x, tokens [n, n_tokens] int64 -> logits [n, n_classes]: embeddings side by side, no bias, ReLU."""

    def __init__(self, work: Work, architecture: Architecture) -> None:
        super().__init__()
        hidden = [architecture.width] * (architecture.depth - 1)
        widths = [work.n_tokens * architecture.d_embed, *hidden, work.n_classes]
        self.embedding = nn.Embedding(work.d_vocab, architecture.d_embed)
        self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1], bias=False) for i in range(architecture.depth))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.embedding(x).flatten(start_dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        logits: Tensor = self.layers[-1](hidden)
        return logits


def fresh(work: Work, architecture: Architecture, init_scale: float, seed: int) -> PlainMlp:
    """A model with PyTorch's default initialisation times `init_scale`, drawn from `seed`."""
    model = PlainMlp(work, architecture)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.embedding.weight.normal_(generator=generator).mul_(init_scale)
        for layer in model.layers:
            assert isinstance(layer, nn.Linear)
            bound = 1.0 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator).mul_(init_scale)
    return model


def evaluations(
    work: Work, architecture: Architecture, data: Data, config: Config, seed: int
) -> Iterator[tuple[int, float]]:
    """Trains; (epoch, validation accuracy) at every evaluation."""
    model = fresh(work, architecture, config["init_scale"], seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    for epoch in range(work.max_epochs + 1):
        if epoch % work.evaluate_every == 0:
            with torch.no_grad():
                right = model(data["validation_x"]).argmax(dim=1) == data["validation_y"]
            yield epoch, right.float().mean().item()
        if epoch < work.max_epochs:
            optimizer.zero_grad()
            cross_entropy(model(data["train_x"]), data["train_y"]).backward()
            optimizer.step()


def trained(work: Work, architecture: Architecture, data: Data, config: Config, seed: int) -> tuple[Trained, float]:
    """Trains until the goal is held or the epochs are over; what became of it, and its best validation accuracy."""
    held, best, last = 0, 0.0, 0
    for epoch, accuracy in evaluations(work, architecture, data, config, seed):
        best, last = max(best, accuracy), epoch
        held = held + 1 if accuracy >= work.goal else 0
        if held == work.hold:
            break
    return Trained(architecture.label, config, seed, held == work.hold, last), best


@cache
def load(path: str) -> Data:
    """What `torch.save` wrote, read once a process: see `Data`."""
    data: Data = torch.load(path, weights_only=True)
    return data
