"""A trainable that trains nothing, so that a whole run takes seconds: members are answered from formulas.

`trainable_for` stands in for `gtsearch.trainables.trainable_for` (`gtsearch.tune.TRAINABLE`). All else is the
product's own: splits, goals, levels, rows, embedding files with their sha256, errors. What a member comes to depends
on its config, its seed and the numbers in the embedding it was given, never on its run_id: a member that was lost and
runs again comes to the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from faults import inject
from gtsearch import trainables
from gtsearch.identity import derive_seed
from gtsearch.tasks.base import Splits
from gtsearch.trainables import CohortTrainable, Json
from gtsearch.training import Kept, Member, Outcome, Plan, _Record

MEMBER_SECONDS = 0.02
REPORT_SECONDS = 0.1
SECONDS_PER_EPOCH = 1e-3  # what a member says it took: a formula, so that seconds can be compared too

SPEC = """\
name: synthetic
task: {name: modular_addition, p: 11, train_fraction: 0.5}
weak:
  goal: {val_accuracy: 0.4, hold: 2, evaluate_every: 10}
  model: {name: mlp, depth: 2, d_embed: [2, 4], width: [4, 8, 12, 16]}
  tune: {lr: {loguniform: [0.003, 0.1]}, weight_decay: {loguniform: [0.01, 3]}, init_scale: {loguniform: [0.1, 1.0]}}
  budget: {configs_per_architecture: 4, max_epochs: 300}
  gate: {seeds: 4, at_least: 3}
  judge: {configs: 2, weak_seeds: 3, at_least: 2, candidates_per_architecture: 2}
target:
  goal: {val_accuracy: 0.9, hold: 2, evaluate_every: 10}
  model: {name: mlp, depth: 3, d_embed: 8, width: 16}
  methods: [transfer, scratch, lowrank_random]
  tune: {lr: {loguniform: [0.001, 0.1]}, weight_decay: {loguniform: [0.1, 3]}, init_scale: {loguniform: [0.1, 1.0]}}
  budget: {configs: 4, max_epochs: 400}
report: {seeds: 8, at_least: 5, weak_tries: 3}
tradeoff:
  designs: [snapshots, endpoints, dose]
  weak_accuracy: [0.1, 0.3, 0.5]
  seeds: 6
  endpoints: {architectures: 2, weight_decays: 2}
  doses: [0.4, 0.8]
"""
"""An experiment of all stages, of some two hundred members."""


def luck(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return derive_seed(*(str(part) for part in parts)) / 2**63


def trainable_for(job: Mapping[str, Any]) -> CohortTrainable:
    """The trainable of a job of either stage, not yet set up."""
    inject.watch_writes()
    setattr(trainables, "Cohort", _Answers)  # noqa: B010  # a name that mypy knows as a type
    return Synthetic()


def real_for(job: Mapping[str, Any]) -> CohortTrainable:
    """The trainable of a real run, in a process that faults strike from within as well."""
    inject.watch_writes()
    for member in job["members"]:
        inject.trace(member["run_id"])
    return trainables.trainable_for(job)


class _Formula:
    """What a member comes to, in the place of a model. `help`: of its embedding, in [0, 1]; None: it has none."""

    def __init__(self, job: Json, info: Json, d_vocab: int, help: float | None) -> None:
        self.job, self.info, self.d_vocab = job, info, d_vocab
        own = info["config_id"], info["seed"]
        goal = job["goal"] or 0.6
        if job["stage"] == "weak":
            large = job["params"] >= 190
            clears = luck(*own, "clears") < (0.9 if large else 0.3)
            self.top = goal + (1 - goal) * luck(*own, "top") if clears else 0.9 * goal
            self.rise = 40 + 160 * luck(*own, "rise")
        else:
            clears = luck(*own, "clears") < {"scratch": 0.95, "transfer": 0.9}.get(info["method"], 0.3)
            self.top = 0.9 + 0.1 * luck(*own, "top") if clears else 0.8
            self.rise = (300 + 60 * luck(*own, "rise")) * (1 - 0.9 * (help or 0.0))

    def accuracy(self, epoch: int) -> float:
        return min(self.top, (epoch + 1) / (self.rise + 1))

    def embedding(self, epoch: int, dose: float = 0.0) -> Tensor:
        """E [d_vocab, d] after so many epochs: its first number is the accuracy."""
        generator = torch.Generator().manual_seed(derive_seed(self.info["config_id"], self.info["seed"]))
        E = torch.randn(self.d_vocab, self.job["model"]["d_embed"], generator=generator) * (1 + epoch / 100)
        E[0, 0] = self.accuracy(epoch) * (1 - dose)
        return E


class Synthetic(CohortTrainable):
    """The members of a job, each answered after MEMBER_SECONDS."""

    def _member(self, info: Json, splits: Splits) -> Member:
        E_W, _ = self._embedding(info, splits)
        formula: Any = _Formula(self.job, info, self.task.d_vocab, None if E_W is None else float(E_W[0, 0]))
        return Member(
            run_id=info["run_id"],
            module=formula,
            lr=info["hyperparameters"]["lr"],
            weight_decay=info["hyperparameters"]["weight_decay"],
            max_epochs=info["max_epochs"],
            cap_epochs=info["cap_epochs"],
            run_on=info["reports"] and self.job["goal"] is not None,
            test=info["reports"],
            keep=info["keep"],
            method=self._method(),
            doses=info["doses"],
        )

    def _scores(self, info: Json, kept: Kept, outcome: Outcome) -> dict[str, float | None]:
        names = ("gap", "slope", "norm", "effective_rank")
        told: dict[str, float | None] = dict.fromkeys(names, luck(info["config_id"], info["seed"], kept.epoch))
        return told | {"accuracy": kept.val_accuracy, "epochs": float(kept.epoch)}


class _Answers:
    """The members of a job as a cohort (`gtsearch.training.Cohort`)."""

    def __init__(self, members: Sequence[tuple[Member, Splits]], plan: Plan, device: str) -> None:
        self.waiting, self.plan = [member for member, _ in members], plan

    @property
    def done(self) -> bool:
        return not self.waiting

    def step(self, seconds: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        until = time.monotonic() + min(seconds, REPORT_SECONDS)
        while self.waiting and time.monotonic() < until:
            member = self.waiting[0]
            formula: Any = member.module
            inject.trace(member.run_id)
            nan = inject.meet(luck, formula.info["config_id"], formula.info["seed"])
            time.sleep(MEMBER_SECONDS)
            outcomes.append(_answer(member, formula, self.plan, nan))
            self.waiting.pop(0)
        return outcomes

    def abandon(self) -> list[str]:
        return [self.waiting.pop(0).run_id] if self.waiting else []

    def progress(self) -> list[dict[str, float | int | str]]:
        spent = {"epochs": 0, "train_seconds": 0.0, "eval_seconds": 0.0, "train_flops": 0, "val_accuracy": 0.0}
        return [{"run_id": member.run_id} | spent for member in self.waiting[:1]]


def _answer(member: Member, formula: _Formula, plan: Plan, nan: bool) -> Outcome:
    record = _Record(member, plan)
    last = 2 * member.last_epoch if member.run_on else member.last_epoch
    looks = set(range(0, last + 1, plan.evaluate_every)) | {member.last_epoch}
    looks |= {member.keep} if isinstance(member.keep, int) else set()
    epoch = 0
    for epoch in sorted(looks):
        accuracy = formula.accuracy(epoch)
        broken = nan and epoch >= 30
        row: dict[str, float | int | None] = {
            "epoch": epoch,
            "train_seconds": epoch * SECONDS_PER_EPOCH,
            "train_flops": plan.flops(epoch, member.method),
            "train_loss": None if broken else 4 / (1 + epoch),
            "train_accuracy": min(1.0, epoch / 100),
            "val_loss": float("nan") if broken else 4 / (1 + 0.1 * epoch),
            "val_accuracy": float("nan") if broken else accuracy,
            "test_accuracy": accuracy if record.wants_test(epoch, accuracy) else None,
        }
        record.add(row, lambda at=epoch: (formula.embedding(at), {}))  # type: ignore[misc]
        if record.is_over(epoch):
            break
    if not record.diverged:
        spent = plan.flops(epoch, member.method), epoch * SECONDS_PER_EPOCH
        for dose in member.doses:
            accuracy = formula.accuracy(epoch) * (1 - dose)
            record.kept.append(Kept(formula.embedding(epoch, dose), epoch, accuracy, *spent, dose=dose))
    return record.outcome(epoch, epoch * SECONDS_PER_EPOCH, 1e-4, 1)
