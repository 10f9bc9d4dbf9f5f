"""Trains a lattice, member by member, by the trainables of a run and without Ray; ends anywhere and goes on there.

What is finished stands in `members.log` of a working folder; from it the file is made at the end, and whenever the
recording is cut short. Configs come in blocks, so that a recording cut short is a smaller lattice and not a ragged one.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.lattice import world
from benchmarks.results import commit
from gtsearch import plans
from gtsearch.identity import derive_seed
from gtsearch.results import LOG, MembersLog, read_log
from gtsearch.search.board import Architecture, Member, Phase, cleared, embedding_of
from gtsearch.search.policy import Job, Policy
from gtsearch.search.proposals import Proposer
from gtsearch.search.weak import Ladder
from gtsearch.spec import Spec
from gtsearch.trainables import trainable_for

BLOCK = 2
"""Configs recorded side by side: so many may be lost to a recording that was cut short."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Extent:
    """How much to record.

    Attributes:
        configs: an architecture; the published settings come first.
        base: seeds of every config. seeds: of one that clears on any of them.
        transfers: weak runs a config whose embeddings are handed to the target, once for each published setting of
            transfer; only of configs at the gate's rate. 0: none.
    """

    configs: int
    base: int
    seeds: int
    transfers: int


@dataclass(frozen=True, eq=False)
class _Place:
    """A member to train, and where it lies in the lattice."""

    rank: int
    config: int
    seed: int
    transfer: int | None
    member: Member


class Recording:
    """One experiment's lattice in the making.

    Args:
        folder: of the log and the embeddings; made where there is none, and gone on with where there is one.
    """

    def __init__(self, spec: Spec, extent: Extent, folder: Path) -> None:
        assert spec.weak is not None
        self.spec, self.weak, self.extent, self.folder = spec, spec.weak, extent, folder
        self.policy: Policy = plans.policy_for(spec)
        assert self.policy.ladder is not None
        self.ladder: Ladder = self.policy.ladder
        proposer = Proposer(self.weak.tune, "random", self.weak.start_from, [spec.seed, "lattice"])
        self.configs = proposer.round(extent.configs, [], [])
        self.settings = spec.target.start_from.get("transfer", [])
        self._commit = commit()
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / LOG
        self.rows: dict[str, Row] = {row["run_id"]: row for row in read_log(log)[0]} if log.exists() else {}

    # -- what there is to train ---------------------------------------------------------------------------

    def _weak(self, architecture: Architecture, config: int, seed: int) -> _Place:
        number = derive_seed(self.spec.seed, "lattice", "weak", seed)
        member = self.ladder.member(architecture, self.configs[config], "search", number)
        return _Place(architecture.rank, config, seed, None, member)

    def _on(self, configs: Sequence[int], seeds: Sequence[int], promising: bool) -> list[_Place]:
        """These configs on these seeds, seeds outermost; only those that cleared on a base seed, where asked for."""
        return [
            self._weak(architecture, config, seed)
            for seed in seeds
            for config in configs
            for architecture in self.ladder.architectures
            if not promising or self._cleared(architecture, config, range(self.extent.base))
        ]

    def _cleared(self, architecture: Architecture, config: int, seeds: Sequence[int]) -> list[Row]:
        """The recorded rows of a config that cleared."""
        ids = [self._weak(architecture, config, seed).member.run_id for seed in seeds]
        return [self.rows[run_id] for run_id in ids if run_id in self.rows and cleared(self.rows[run_id])]

    def _transfers(self) -> list[_Place]:
        """The target given embeddings of configs at the gate's rate: the first weak seeds that cleared."""
        found = []
        required = self.weak.gate.at_least / self.weak.gate.seeds
        for config in range(len(self.configs)):
            for architecture in self.ladder.architectures:
                weak = {s: self._weak(architecture, config, s).member.run_id for s in range(self.extent.seeds)}
                good = {seed: self.rows[run_id] for seed, run_id in weak.items() if run_id in self.rows}
                there = [seed for seed, row in good.items() if cleared(row)]
                if len(there) < required * len(good) or not there:
                    continue
                for seed in there[: self.extent.transfers]:
                    embedding = embedding_of(good[seed])
                    number = derive_seed(self.spec.seed, "lattice", "target", seed)
                    for at, setting in enumerate(self.settings):
                        member = self.policy.target.member(
                            "transfer", self._whole(setting), "probe", number, embedding, "probe"
                        )
                        found.append(_Place(architecture.rank, config, seed, at, member))
        return found

    def _whole(self, setting: Mapping[str, float]) -> dict[str, float]:
        """A published setting of transfer with what it does not name, as the search completes it."""
        space = self.spec.method_space("transfer")
        return Proposer(space, "random", [setting], ["lattice"]).round(1, [], [])[0]

    def _job(self, member: Member) -> Job:
        target = self.policy.target
        return Job((member,), Phase.LADDER, target.cost(member), target.sizes(member))

    # -- training -----------------------------------------------------------------------------------------

    def record(self, processes: int, seconds: float | None = None) -> bool:
        """Trains what is missing; whether all is there. `seconds`: begin nothing more after so many."""
        until = None if seconds is None else time.monotonic() + seconds
        context = multiprocessing.get_context("spawn")
        with MembersLog(self.folder / LOG) as log, ProcessPoolExecutor(processes, context) as pool:
            for places in self._in_order():
                missing = [place for place in places if place.member.run_id not in self.rows]
                if not self._train(missing, log, pool, processes, until):
                    return False
        return True

    def _in_order(self) -> Iterator[list[_Place]]:
        """Block after block; what is promising in one is known once its base seeds are recorded."""
        base, seeds = self.extent.base, self.extent.seeds
        for first in range(0, len(self.configs), BLOCK):
            block = range(len(self.configs))[first : first + BLOCK]
            yield self._on(block, range(base), promising=False)
            yield self._on(block, range(base, seeds), promising=True)
            print(f"{self.spec.name}: configs {block[0]} to {block[-1]} recorded, {len(self.rows)} runs", flush=True)
        if self.extent.transfers:
            yield self._transfers()

    def _train(
        self, places: Sequence[_Place], log: MembersLog, pool: ProcessPoolExecutor, processes: int, until: float | None
    ) -> bool:
        busy: set[Future[Row]] = set()
        for place in places:
            if until is not None and time.monotonic() > until:
                break
            busy.add(pool.submit(_trained, self._job(place.member).to_json(), self.folder))
            if len(busy) >= 2 * processes:  # one more each than runs, so that none waits for the driver
                done, busy = wait(busy, return_when=FIRST_COMPLETED)
                self._take(done, log)
        self._take(wait(busy).done, log)
        return all(place.member.run_id in self.rows for place in places)

    def _take(self, done: set[Future[Row]], log: MembersLog) -> None:
        for future in done:
            row = future.result()
            if row["status"] == "failed":
                raise RuntimeError(f"a recorded run crashed: {row['error']}")
            row["commit"] = self._commit
            log.append(row)
            self.rows[row["run_id"]] = row

    # -- the file -----------------------------------------------------------------------------------------

    def write(self, path: Path) -> int:
        """Makes the lattice of all that is recorded; how many runs it holds."""
        base = self._on(range(len(self.configs)), range(self.extent.seeds), promising=False)
        places = [p for p in (*base, *self._transfers()) if p.member.run_id in self.rows]
        rows = [self.rows[place.member.run_id] for place in places]
        examples = {
            stage: {"train": task.part_sizes[0], "validation": task.part_sizes[1]}
            for stage, task in {"weak": self.spec.weak_task, "target": self.spec.task}.items()
        }
        kept = [_kept(p, self.ladder.architectures, r, examples) for p, r in zip(places, rows, strict=True)]
        made = {
            "spec": self.spec.to_yaml(),
            "configs": self.configs,
            "transfers": [self._whole(setting) for setting in self.settings],
            "costs": {a.label: [a.params, a.flops_per_epoch] for a in self.ladder.architectures},
            "base": self.extent.base,
            "seeds": self.extent.seeds,
            "examples": examples,
            "commits": sorted({str(row["commit"]) for row in rows}),
            "devices": sorted({row["device"] for row in rows}),
            "threads": 1,
            "versions": {package: version(package) for package in ("torch", "numpy", "gtsearch")},
            "seconds": sum(row["train_seconds"] + row["eval_seconds"] for row in rows),
        }
        world.write(path, kept, made)
        return len(rows)


def _trained(job: Mapping[str, Any], folder: Path) -> Row:
    """The row of the one member of a job, trained here on one thread."""
    trainable = trainable_for(job)
    trainable.setup(dict(job), folder, threads=1)
    while not (report := trainable.step())["done"]:
        pass
    (row,) = report["finished"]
    return dict(row)


def _kept(
    place: _Place, architectures: Sequence[Architecture], row: Row, examples: Mapping[str, Mapping[str, int]]
) -> Row:
    """What the file keeps of a row."""
    stage = row["stage"]

    def counts(name: str, part: str) -> list[int | None]:
        right = [point[name] for point in row["curve"]]
        return [None if share is None else round(share * examples[stage][part]) for share in right]

    return {
        "stage": stage,
        "architecture": architectures[place.rank].label,
        "config": place.config,
        "seed": place.seed,
        "transfer": place.transfer,
        "status": row["status"],
        "epochs": row["epochs"],
        "epochs_to_goal": row["epochs_to_goal"],
        "val_correct": counts("val_accuracy", "validation"),
        "train_correct": counts("train_accuracy", "train"),
    }
