"""The paper's Table 1 over several seeds: what transfer costs in all, the weak model included, against scratch.

The paper (one A100, one seed): weak model 2,828 ms, 8-layer transformer by transfer 71,079 ms, from scratch 392,667 ms,
so scratch takes 5.3 times as long as both stages of transfer. The setting is `gtsearch check paper/table1`: a + b mod
113, a weak mlp (d_embed 4, width 16) until 30 % of validation, the target until 99 %, each with its published
hyperparameters. Nothing is searched here, and no Ray: every member is trained by `gtsearch.trainables`, as in a run.

    python -m benchmarks.table1 --device cuda [--seeds 5] [--epochs 4000] [--experiment paper/table1]

A seed is a split, weak seeds on it until one gets there (every miss is charged), a target by transfer from that
embedding, and the same target from scratch. Seconds are those of training alone, evaluations apart, up to the
evaluation at which the goal is reached. A target that has not reached it by `--epochs` is censored: its cost is at
least what it spent, and the ratio of its seed is known from one side only. The median is given where it follows from
what is known, else the bounds that do; no seed is left out.

On a CPU the experiment takes days; `--experiment paper/table1-cpu` is the same question on small sizes, and no match
for the paper's number.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import torch

from benchmarks.results import Row, keep
from gtsearch.domains import Domain
from gtsearch.errors import GtsearchError
from gtsearch.identity import derive_seed
from gtsearch.methods.base import Method
from gtsearch.parts import TargetSpec, WeakSpec
from gtsearch.plans import architectures, pricing, target_architecture
from gtsearch.search.board import Embedding, Member, Phase, Training, embedding_of
from gtsearch.search.policy import Job
from gtsearch.search.proposals import Proposer
from gtsearch.spec import Spec, load_spec
from gtsearch.trainables import trainable_for

PAPERS = "paper/table1"
PRINTED = (2.828 + 71.079, 392.667)  # seconds: transfer with its weak model, scratch
Json = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a goal cost: training seconds; where it was not reached those that were spent on it."""

    seconds: float
    reached: bool


@dataclass(frozen=True)
class Seed:
    """One seed: transfer with its weak model, misses included, and scratch."""

    transfer: Cost
    scratch: Cost

    @property
    def times(self) -> tuple[float, float]:
        """The least and the greatest that scratch over transfer may be, given what was censored."""
        ratio = self.scratch.seconds / self.transfer.seconds
        return (ratio if self.transfer.reached else 0.0, ratio if self.scratch.reached else math.inf)


class Pipelines:
    """The seeds of an experiment, one after another.

    Args:
        spec: with one weak architecture.
        device: `cpu` or `cuda`.
        folder: where embeddings go.
        threads: of torch, on a CPU.
    """

    def __init__(self, spec: Spec, device: str, folder: Path, threads: int) -> None:
        assert spec.weak is not None, "the experiments of Table 1 have a weak stage"
        self.spec, self.weak, self.device, self.folder, self.threads = spec, spec.weak, device, folder, threads
        [self.weak_architecture] = architectures(spec)
        self.architecture, self.price = target_architecture(spec), pricing(spec)

    def seed(self, index: int) -> Seed:
        split = derive_seed(self.spec.seed, "report", "split", index)
        spent, embedding = 0.0, None
        for attempt in range(self.spec.report.weak_tries):
            row = self._train_weak(derive_seed(self.spec.seed, "report", "weak", index, attempt), split)
            embedding = embedding_of(row)
            spent += embedding.seconds if embedding else row["train_seconds"]
            if embedding:
                break
        target_seed = derive_seed(self.spec.seed, "report", "target", index)
        if embedding is None:
            transfer = Cost(spent, reached=False)
        else:
            own = _cost(self._train_target("transfer", target_seed, split, embedding))
            transfer = Cost(spent + own.seconds, own.reached)
        return Seed(transfer, _cost(self._train_target("scratch", target_seed, split, None)))

    def _train_weak(self, seed: int, split: int) -> Json:
        return self._train(
            task=self.spec.weak_task.identity(),
            stage="weak",
            method="weak",
            architecture=self.weak_architecture,
            training=_training(self.weak, self.spec.weak_loss, self.spec.weak_threshold, None),
            hyperparameters=_first(self.weak.tune, self.weak.start_from, self.weak.search),
            seed=seed,
            split_seed=split,
            keep="goal",
        )

    def _train_target(self, method: str, seed: int, split: int, embedding: Embedding | None) -> Json:
        target = self.spec.target
        starts = target.start_from.get(method, [])
        return self._train(
            task=self.spec.task.identity(),
            stage="target",
            method=method,
            architecture=self.architecture,
            training=_training(target, self.spec.target_loss, self.spec.target_threshold, target.method(method)),
            hyperparameters=_first(target.method_space(method), starts, target.search),
            seed=seed,
            split_seed=split,
            embedding=embedding,
        )

    def _train(self, **settings: Any) -> Json:
        """The row of the member of these settings."""
        member = Member(role="report", purpose="report", **settings)
        width = member.embedding.d_embed if member.embedding else None
        cost = self.price(member.architecture, member.training.method, width)
        job = Job((member,), Phase.TARGET, cost, member.architecture.sizes).to_json()
        trainable = trainable_for(job)
        trainable.setup(job, self.folder, self.device, self.threads)
        rows: list[Json] = []
        while not rows:
            rows = trainable.step(math.inf)["finished"]
        [row] = rows
        if row["status"] == "failed":
            raise SystemExit(f"{row['method']} of {row['architecture']} failed: {row['error']}")
        at = f"epoch {row['epochs_to_goal']}" if row["epochs_to_goal"] is not None else "not reached"
        print(
            f"split {member.split_seed % 1000:03}, {row['method']} {row['architecture']}: {row['goal']:g} {at} of "
            f"{row['epochs']}, {row['train_seconds']:.2f} s",
            flush=True,
        )
        return row


def _training(stage: WeakSpec | TargetSpec, loss: str, goal: float | None, method: Method | None) -> Training:
    return Training(
        optimizer=stage.optimizer,
        loss=loss,
        goal=goal,
        hold=stage.goal.hold,
        evaluate_every=stage.goal.evaluate_every,
        max_epochs=stage.budget.max_epochs,
        method=None if method is None else method.model_dump(mode="json"),
    )


def _first(space: Mapping[str, Domain], starts: Sequence[Mapping[str, float]], search: str) -> dict[str, float]:
    """The config an experiment begins with: its published one."""
    [config] = Proposer(space, search, starts, ("table1",)).round(1, [], [])
    return config


def _cost(row: Json) -> Cost:
    reached = row["seconds_to_goal"] is not None
    return Cost(row["seconds_to_goal"] if reached else row["train_seconds"], reached)


def rows_of(seeds: Sequence[Seed], experiment: str, where: str) -> list[Row]:
    """The rows of the table; `where` says what they were measured on. The paper's numbers stand beside its setting
    alone."""
    printed = PRINTED if experiment == PAPERS else (None, None)
    times = None if experiment != PAPERS else PRINTED[1] / PRINTED[0]
    low, high = (statistics.median(bounds) for bounds in zip(*(seed.times for seed in seeds), strict=True))
    by_seed = ", ".join(_bounds(*seed.times) for seed in seeds)
    asked = f"training seconds, {experiment}" + ("" if times is None else "; other: the paper's, one seed on an A100")
    return [
        Row(
            what=f"scratch over transfer with its weak model, {asked}",
            ours=low if low == high else None,
            other=times,
            unit="times",
            note=f"median {_bounds(low, high)}; by seed {by_seed}; {where}",
        ),
        _seconds(f"transfer with its weak model, {asked}", [seed.transfer for seed in seeds], printed[0]),
        _seconds(f"scratch, {asked}", [seed.scratch for seed in seeds], printed[1]),
    ]


def _seconds(what: str, costs: Sequence[Cost], printed: float | None) -> Row:
    """The median of seconds to the goal; None where the middle is censored."""
    least = statistics.median(cost.seconds for cost in costs)
    most = statistics.median(cost.seconds if cost.reached else math.inf for cost in costs)
    return Row(
        what=what,
        ours=least if least == most else None,
        other=printed,
        unit="s",
        note=f"{sum(cost.reached for cost in costs)} of {len(costs)} get there; median {_bounds(least, most)} s",
    )


def _bounds(low: float, high: float) -> str:
    if low == high:
        return f"{low:.3g}"
    if math.isinf(high):
        return f"at least {low:.3g}" if low > 0 else "not known"
    return f"at most {high:.3g}" if low == 0 else f"{low:.3g} to {high:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of a target, at most; default: the experiment's")
    parser.add_argument("--experiment", default=PAPERS)
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    asked = parser.parse_args()
    limit = [] if asked.epochs is None else [f"target.budget.max_epochs={asked.epochs}"]
    try:
        spec = load_spec(asked.experiment, limit)
    except GtsearchError as error:
        raise SystemExit(str(error)) from None
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch sees no CUDA device here; nothing was measured")
    with tempfile.TemporaryDirectory() as folder:
        pipelines = Pipelines(spec, asked.device, Path(folder), asked.threads)
        seeds = [pipelines.seed(index) for index in range(asked.seeds)]
    where = "on a GPU" if asked.device == "cuda" else f"no GPU was at hand: on a CPU, {asked.threads} thread(s)"
    settings = {"device": asked.device, "seeds": asked.seeds, "experiment": asked.experiment, "threads": asked.threads}
    settings |= {"epochs": spec.target.budget.max_epochs}
    for row in (rows := rows_of(seeds, asked.experiment, where)):
        print(f"{row.what}: {row.note}")
    print(f"kept in {keep('table1', rows, settings)}")


if __name__ == "__main__":
    main()
