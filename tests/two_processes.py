"""One process of two that train a transferred model together: `python two_processes.py RANK FOLDER`.

`tests/test_transfer_elsewhere.py` starts both. Each leaves what it ended with in FOLDER/RANK.pt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

import gtsearch

V, D_W, D = 11, 3, 8


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(V, D), nn.Linear(D, V, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tokens(x))


def build(seed: int) -> Tied:
    E_W = torch.randn(V, D_W, generator=torch.Generator().manual_seed(0))
    return gtsearch.transfer(Tied(), E_W, generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module, x: Tensor) -> None:
    nn.functional.cross_entropy(model(x), x.roll(1)).backward()


BATCHES = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        model = nn.parallel.DistributedDataParallel(build(seed=rank))
        gradients(model, BATCHES[rank])
        module = model.module
        torch.save({name: (p.detach(), p.grad) for name, p in module.named_parameters()}, folder / f"{rank}.pt")
        sharded = build(seed=0)
        fully_shard(sharded)
        gradients(sharded, BATCHES[rank])
        torch.save({n: p.grad.full_tensor() for n, p in sharded.named_parameters()}, folder / f"{rank}-sharded.pt")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(int(sys.argv[1]), Path(sys.argv[2]))
