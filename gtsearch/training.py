"""The one training loop: a cohort in, curves and results out. Knows no Ray, no YAML, no files, no search.

A *stack* is members that share one tensor program: their parameters are the rows of one flat buffer. On a CPU
stacks hold one member, because one member at a time stays in cache; on a GPU they hold many. The loop is the
same: what differs is who works out the gradient (`gtsearch.passes`).

Entry: `Cohort(members, splits, plan).step(seconds)` until `done`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gtsearch.losses import Loss, cross_entropy
from gtsearch.methods.base import Frozen, Hooks, Method, Slot
from gtsearch.models.base import FactorisedEmbedding, Model
from gtsearch.optimizers.adamw import AdamW
from gtsearch.optimizers.base import Optimizer
from gtsearch.passes import AutogradPasses, Passes
from gtsearch.probes.base import Probe, View
from gtsearch.tasks.base import Splits


@dataclass(frozen=True)
class Plan:
    """What all members of a cohort share.

    Attributes:
        goal: validation accuracy to reach and hold, in (0, 1]; None: there is none, and a member that trains to
            its end, or crosses all levels it keeps, has `cleared`.
        hold: consecutive evaluations at or above the goal that count as reached.
        evaluate_every: epochs between evaluations, from epoch 0 on: the grid the goal is judged on. A member's
            last epoch and one whose embedding it keeps are evaluated too, but count for no goal: a cap must not
            change who clears.
        flops_per_epoch: of one member.
        merged_flops_per_epoch: the same after its method's `merges_at`, where A and B are one table; None: no other.
        stack_size: members a stack may hold.
        keep_layers: whether a kept embedding comes with the model's other parameters.
    """

    goal: float | None
    hold: int
    evaluate_every: int
    flops_per_epoch: int
    stack_size: int = 1
    optimizer: type[Optimizer] = AdamW
    loss: Loss = cross_entropy
    keep_layers: bool = False
    merged_flops_per_epoch: int | None = None

    def flops(self, epochs: int, method: Method) -> int:
        """What the first `epochs` epochs of a member that starts by `method` cost."""
        after = 0 if method.merges_at is None else max(0, epochs - method.merges_at)
        merged = self.flops_per_epoch if self.merged_flops_per_epoch is None else self.merged_flops_per_epoch
        return (epochs - after) * self.flops_per_epoch + after * merged

    def is_on_grid(self, epoch: int) -> bool:
        return epoch % self.evaluate_every == 0


PLAIN = Method(name="plain")


@dataclass
class Member:
    """One training run, ready to start.

    Attributes:
        module: initialised; changed by training.
        max_epochs: where training ends without the goal (status `exhausted`).
        cap_epochs: where it ends because going on cannot matter (status `capped`); None: nowhere.
        run_on: whether to train on to twice the goal epoch, past `max_epochs` too, and tell whether the goal is kept.
        test: whether test accuracy is measured, at the goal or else at the end. Never set for a member the search
            learns from.
        keep: which embeddings to keep: `goal`, `best`, a number of epochs, or a list of accuracy levels. `best`
            trains to the end, levels until each has been crossed (status `cleared`) whatever the goal.
        hyperparameters: those the method's hooks read, by name.
        probes: what is measured of it at each of its evaluations, beside loss and accuracy.
        doses: shares of noise; the embedding it ends with is kept once more with each of them mixed in, and with the
            validation accuracy that the model then has.
        dose_seed: of that noise; the doses of one member share it.
    """

    run_id: str
    module: Model
    lr: float
    weight_decay: float
    max_epochs: int
    cap_epochs: int | None = None
    run_on: bool = False
    test: bool = False
    keep: str | int | Sequence[float] | None = None
    method: Method = PLAIN
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    doses: Sequence[float] = ()
    dose_seed: int = 0

    @property
    def last_epoch(self) -> int:
        """Where training ends without the goal."""
        return self.max_epochs if self.cap_epochs is None else min(self.max_epochs, self.cap_epochs)


@dataclass(frozen=True)
class Kept:
    """An embedding E [d_vocab, d] as it stood after `epoch` epochs; `level` is set for kept levels.

    `layers`: the other parameters by name, where the plan keeps them. `dose`: the share of noise that was mixed in.
    """

    E: Tensor
    epoch: int
    val_accuracy: float
    train_flops: int
    train_seconds: float
    level: float | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    dose: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished member: `measures` by their column names, its curve (a list of rows), its embeddings.

    `probed`: one row an evaluation, `epoch` and the numbers of its probes by name; empty without probes.
    """

    run_id: str
    measures: dict[str, Any]
    curve: list[dict[str, float | int | None]]
    kept: list[Kept]
    probed: list[dict[str, float | int | None]] = field(default_factory=list)


Snapshot = Callable[[], tuple[Tensor, dict[str, Tensor]]]
"""Gives copies of a member's embedding [d_vocab, d] and of the other parameters the plan keeps, as they stand."""


class _Record:
    """One member's evaluations so far, and what follows from them: reached, held, kept, over."""

    def __init__(self, member: Member, plan: Plan) -> None:
        self.member, self.plan = member, plan
        self.curve: list[dict[str, float | int | None]] = []
        self.kept: list[Kept] = []
        self.probed: list[dict[str, float | int | None]] = []
        self.memories: list[dict[str, Any]] = [{} for _ in member.probes]
        self.epochs_to_goal: int | None = None
        self.epochs_to_goal_first: int | None = None
        self.test_at_goal: float | None = None
        self.at_goal: dict[str, float | int | None] | None = None
        self.stayed: bool | None = None
        self.diverged = False
        self._streak: list[dict[str, float | int | None]] = []

    def add(self, row: dict[str, float | int | None], E: Snapshot) -> None:
        """Takes in one evaluation. `E` gives copies as they stand."""
        self.curve.append(row)
        if row["train_loss"] is None:
            self.diverged = True
            self.stayed = None if self.stayed is None else False
            return
        val_accuracy, on_grid = float(row["val_accuracy"] or 0.0), self.plan.is_on_grid(int(row["epoch"] or 0))
        goal, held = self.plan.goal, self.epochs_to_goal is not None
        if goal is not None and not held and on_grid:
            self._streak = [*self._streak, row] if val_accuracy >= goal else []
            if self._streak and self.epochs_to_goal_first is None:
                self.epochs_to_goal_first = int(row["epoch"] or 0)
            if len(self._streak) >= self.plan.hold:
                self.at_goal = self._streak[0]
                self.epochs_to_goal = int(self.at_goal["epoch"] or 0)
                self.test_at_goal = self.at_goal["test_accuracy"]
                self.stayed = True if self.member.run_on else None
                if self.member.keep == "goal":
                    self._keep(row, E)
        elif held and self.member.run_on and goal is not None and val_accuracy < goal:
            self.stayed = False
        elif goal is None and not self.levels and row["epoch"] == self.member.max_epochs:
            self.at_goal, self.epochs_to_goal = row, self.member.max_epochs
            self.test_at_goal = row["test_accuracy"]
            if self.member.keep == "goal":
                self._keep(row, E)
        keep = self.member.keep
        if keep == "best" and (not self.kept or val_accuracy > self.kept[-1].val_accuracy):
            self.kept.clear()
            self._keep(row, E)
        elif isinstance(keep, int) and row["epoch"] == keep:
            self._keep(row, E)
        seen = {kept.level for kept in self.kept}
        for level in self.levels:
            if level not in seen and val_accuracy >= level:
                self._keep(row, E, level)

    def wants_test(self, epoch: int, val_accuracy: float) -> bool:
        """Whether test accuracy is measured now: while the goal is being held, and at the end without it."""
        if not self.member.test or self.epochs_to_goal is not None:
            return False
        return epoch >= self.member.last_epoch or (self.plan.goal is not None and val_accuracy >= self.plan.goal)

    def _keep(self, row: Mapping[str, Any], E: Snapshot, level: float | None = None) -> None:
        table, layers = E()
        spent = row["train_flops"], row["train_seconds"]
        self.kept.append(Kept(table, row["epoch"], row["val_accuracy"], *spent, level, layers))

    @property
    def levels(self) -> Sequence[float]:
        keep = self.member.keep
        return () if keep is None or isinstance(keep, (str, int)) else keep

    @property
    def crossed(self) -> bool:
        """Whether there are levels and each was crossed."""
        return 0 < len(self.levels) == sum(kept.level is not None for kept in self.kept)

    def is_due(self, epoch: int) -> bool:
        return self.plan.is_on_grid(epoch) or epoch in (self.member.last_epoch, self.member.keep)

    def is_over(self, epoch: int) -> bool:
        member = self.member
        if self.diverged or self.crossed:
            return True
        if self.levels or self.epochs_to_goal is None:
            return epoch >= member.last_epoch
        end = 2 * self.epochs_to_goal if member.run_on else 0
        if member.keep == "best":
            end = max(end, member.last_epoch)
        elif isinstance(member.keep, int):
            end = max(end, min(member.keep, member.last_epoch))
        return epoch >= end

    def outcome(self, epoch: int, train_seconds: float, eval_seconds: float, cohort_size: int) -> Outcome:
        if self.epochs_to_goal is not None or self.crossed:
            status = "cleared"
        elif self.diverged:
            status = "diverged"
        else:
            status = "exhausted" if epoch >= self.member.max_epochs else "capped"
        finite = [row for row in self.curve if row["train_loss"] is not None]
        accuracies = [float(row["val_accuracy"] or 0.0) for row in finite]
        at_goal = self.at_goal or {}

        def first(column: str) -> int | None:
            return next((int(r["epoch"] or 0) for r in finite if float(r[column] or 0.0) >= 0.95), None)

        measures = {
            "status": status,
            "epochs": epoch,
            "epochs_to_goal": self.epochs_to_goal,
            "epochs_to_goal_first": self.epochs_to_goal_first,
            "stayed": self.stayed,
            "train_seconds": train_seconds,
            "eval_seconds": eval_seconds,
            "seconds_to_goal": at_goal.get("train_seconds"),
            "train_flops": self.plan.flops(epoch, self.member.method),
            "flops_to_goal": at_goal.get("train_flops"),
            "best_val_accuracy": max(accuracies, default=None),
            "final_val_accuracy": accuracies[-1] if accuracies else None,
            "test_accuracy": self.test_at_goal if at_goal else (finite[-1]["test_accuracy"] if finite else None),
            "epoch_train_95": first("train_accuracy"),
            "epoch_val_95": first("val_accuracy"),
            "cohort_size": cohort_size,
        }
        return Outcome(self.member.run_id, measures, self.curve, self.kept, self.probed)


class _Stack:
    """Members whose parameters are the rows of one flat buffer [S, P], trained together epoch by epoch."""

    def __init__(self, members: Sequence[Member], splits: Splits, plan: Plan) -> None:
        self.plan, self.splits = plan, splits
        self.records = [_Record(member, plan) for member in members]
        self.module = members[0].module
        self.size = len(members)
        self.epoch = 0
        self.train_seconds = self.eval_seconds = 0.0  # a member's share
        self._method = members[0].method
        self._begin()

    def _begin(self) -> None:
        """Lays the members' parameters into one buffer, with a fresh optimizer and fresh hooks."""
        members = [record.member for record in self.records]
        self.shapes = {name: p.shape for name, p in self.module.named_parameters()}
        flat = torch.stack([torch.cat([p.detach().flatten() for p in m.module.parameters()]) for m in members])

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=flat.dtype, device=flat.device)

        self.optimizer = self.plan.optimizer(
            flat, column([m.lr for m in members]), column([m.weight_decay for m in members]), self.shapes
        )
        names = members[0].hyperparameters
        hyperparameters = {name: column([m.hyperparameters[name] for m in members]) for name in names}
        slots = self._slots()
        hooks = self._method.hooks(flat, slots, hyperparameters)
        held = [slots[name] for name in self._frozen]
        self.hooks: Sequence[Hooks] = (*hooks, Frozen(flat, held)) if held else hooks
        self._bind()

    @property
    def _frozen(self) -> tuple[str, ...]:
        """Names of the parameters that are held: the method's and the model's own."""
        return tuple(dict.fromkeys((*self._method.frozen_parameters, *self.module.frozen_parameters)))

    def _slots(self) -> dict[str, Slot]:
        slots, start = {}, 0
        for name, shape in self.shapes.items():
            slots[name] = Slot(start, start + shape.numel(), shape)
            start += shape.numel()
        return slots

    def _merge(self) -> None:
        """Puts one table in the place of every member's A B; the optimizer's moments of A and B fit it no more, so
        the optimizer begins anew."""
        for row, record in enumerate(self.records):
            own = record.member.module
            if not self.single:
                for name, parameter in own.named_parameters():
                    parameter.data = self.leaves[name].detach()[row].clone()
            if isinstance(own.embedding, FactorisedEmbedding):
                own.embedding = own.embedding.merge()
        self.module = self.records[0].member.module
        self._begin()

    def _bind(self) -> None:
        """(Re)makes the leaves, views of the flat parameters, and the gradients by name, views of one flat gradient."""
        self.gradient = torch.empty_like(self.optimizer.flat)
        self.gradients = self._by_name(self.gradient)
        self._viewed: Model | None = None
        views = self._by_name(self.optimizer.flat)
        self.single = len(self.records) == 1
        if self.single:
            self.module = self.records[0].member.module
            self.leaves: dict[str, Tensor] = dict(self.module.named_parameters())
            for name, parameter in self.leaves.items():
                parameter.data = views[name][0]
            self.gradients = {name: gradient[0] for name, gradient in self.gradients.items()}
        else:
            self.leaves = {name: view.detach().requires_grad_() for name, view in views.items()}
        self.passes = self._passes()

    def _passes(self) -> Passes:
        """Who works out the gradient: the model's own expressions where it has some and stands alone, else autograd."""
        train, loss = self.splits.train, self.plan.loss
        own = self.module.passes(self.gradients, loss, train) if self.single and train.y.device.type == "cpu" else None
        return own or AutogradPasses(self.module, self.leaves, self.gradients, loss, train, many=not self.single)

    def _by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of flat [S, P] as parameters [S, *shape]."""
        return {name: slot.of(flat) for name, slot in self._slots().items()}

    def _view(self, row: int) -> Model:
        """A module that holds member `row`'s parameters as they stand, to be read."""
        if self.single:
            return self.module
        if self._viewed is None:
            self._viewed = copy.deepcopy(self.module)
        for name, parameter in self._viewed.named_parameters():
            parameter.data = self.leaves[name].detach()[row]
        return self._viewed

    def _snapshot(self, row: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Copies of member `row`'s E [d_vocab, d], and of its other parameters where the plan keeps them."""
        module = self._view(row)
        E = module.embedding.matrix().detach().clone()
        if not self.plan.keep_layers:
            return E, {}
        rest = {n: p.detach().clone() for n, p in module.named_parameters() if not n.startswith("embedding.")}
        return E, rest

    def _is_due(self) -> bool:
        return any(record.is_due(self.epoch) for record in self.records)

    def advance(self, until: float, finished: list[Outcome]) -> None:
        """Trains until the clock (`time.perf_counter`) passes `until` or no member is left; adds who finished."""
        started = time.perf_counter()
        while self.records:
            if self.epoch == self._method.merges_at:
                self._merge()
            told = self.passes.train(told=self._is_due())
            if told is not None:
                self._synchronise()
                now = time.perf_counter()
                self.train_seconds += (now - started) / len(self.records)
                left = self._evaluate(told)
                started = time.perf_counter()
                self.eval_seconds += (started - now) / len(self.records)
                if left:
                    finished += self._leave(left)
                    if not self.records:
                        return
            self._update()
            self.epoch += 1
            if time.perf_counter() >= until:
                break
        self._synchronise()
        self.train_seconds += (time.perf_counter() - started) / len(self.records)

    @torch.no_grad()
    def _update(self) -> None:
        for hooks in self.hooks:
            hooks.after_backward(self.gradient)
        self.optimizer.step(self.gradient)
        for hooks in self.hooks:
            hooks.after_step(self.optimizer.flat)

    def _evaluate(self, train: Tensor) -> list[int]:
        """Records one evaluation of every member that is due, given what the pass over the training part told; which
        of them are over."""
        both = torch.cat([train, self.passes.measure(self.splits.validation)])  # read at once: a GPU is waited for once
        train_losses, train_accuracies, val_losses, val_accuracies = both.tolist()
        wants = [record.wants_test(self.epoch, val_accuracies[i]) for i, record in enumerate(self.records)]
        test_accuracies = self.passes.measure(self.splits.test)[1].tolist() if any(wants) else []
        over = []
        for i, record in enumerate(self.records):
            if not record.is_due(self.epoch):
                continue
            row: dict[str, float | int | None] = {
                "epoch": self.epoch,
                "train_seconds": self.train_seconds,
                "train_flops": self.plan.flops(self.epoch, self._method),
                "train_loss": _finite(train_losses[i]),
                "train_accuracy": train_accuracies[i],
                "val_loss": _finite(val_losses[i]),
                "val_accuracy": val_accuracies[i],
                "test_accuracy": test_accuracies[i] if wants[i] else None,
            }
            record.add(row, partial(self._snapshot, i))
            self._probe(record, i)
            if record.is_over(self.epoch):
                self._dose(record, i, row)
                over.append(i)
        return over

    @torch.no_grad()
    def _dose(self, record: _Record, i: int, row: Mapping[str, Any]) -> None:
        """Keeps the embedding the member ends with once for every dose of noise."""
        if not record.member.doses or record.diverged:
            return
        module = copy.deepcopy(self._view(i))
        finished, layers = self._snapshot(i)
        rebuilt = AutogradPasses(module, {}, {}, self.plan.loss, self.splits.train, many=False)
        for dose in record.member.doses:
            generator = torch.Generator().manual_seed(record.member.dose_seed)
            E = with_noise(finished, dose, generator)
            module.embedding.matrix().copy_(E)
            _, (val_accuracy,) = rebuilt.measure(self.splits.validation).tolist()
            spent = row["train_flops"], row["train_seconds"]
            record.kept.append(Kept(E, row["epoch"], val_accuracy, *spent, layers=layers, dose=dose))

    @torch.no_grad()
    def _probe(self, record: _Record, i: int) -> None:
        """Reads the member's probes; a number that is not finite is None."""
        if not record.member.probes or record.diverged:
            return
        numbers: dict[str, float | int | None] = {"epoch": self.epoch}
        for probe, memory in zip(record.member.probes, record.memories, strict=True):
            measured = probe.measure(View(self._view(i), self.splits, memory, self.epoch, self._frozen))
            numbers |= {name: _finite(value) for name, value in measured.items()}
        record.probed.append(numbers)

    def _leave(self, rows: list[int]) -> list[Outcome]:
        """Takes the finished members out of the buffers, so that the rest pays nothing for them."""
        outcomes = [self.records[i].outcome(self.epoch, self.train_seconds, self.eval_seconds, self.size) for i in rows]
        stay = [i for i in range(len(self.records)) if i not in set(rows)]
        self.records = [self.records[i] for i in stay]
        if stay:
            index = torch.tensor(stay, device=self.gradient.device)
            self.optimizer.keep(self.optimizer.flat[index].contiguous(), index)
            for hooks in self.hooks:
                hooks.keep(index)
            gradient = self.gradient[index]
            self._bind()
            self.gradient.copy_(gradient)
        return outcomes

    def _synchronise(self) -> None:
        if self.gradient.is_cuda:
            torch.cuda.synchronize(self.gradient.device)

    def progress(self) -> list[dict[str, float | int | str]]:
        """Where each running member stands."""
        return [
            {
                "run_id": record.member.run_id,
                "epochs": self.epoch,
                "train_seconds": self.train_seconds,
                "eval_seconds": self.eval_seconds,
                "train_flops": self.plan.flops(self.epoch, self._method),
                "val_accuracy": float(record.curve[-1]["val_accuracy"] or 0.0) if record.curve else 0.0,
            }
            for record in self.records
        ]


def _finite(loss: float) -> float | None:
    """The loss, or None: JSON has no NaN and no infinity."""
    return loss if math.isfinite(loss) else None


def with_noise(E: Tensor, dose: float, generator: torch.Generator) -> Tensor:
    """E [d_vocab, d] with a share `dose` of it, in [0, 1], replaced by Gaussian noise; every row keeps its norm."""
    lengths = torch.linalg.vector_norm(E, dim=1, keepdim=True)
    noise = torch.randn(E.shape, generator=generator, dtype=E.dtype).to(E.device)
    tiny = torch.finfo(E.dtype).tiny
    noise = noise * (lengths / torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp_min(tiny))
    mixed = (1.0 - dose) * E + dose * noise
    kept: Tensor = mixed * (lengths / torch.linalg.vector_norm(mixed, dim=1, keepdim=True).clamp_min(tiny))
    return kept


class Cohort:
    """The members of one job: stacks of at most `plan.stack_size`, one stack after another.

    Members of a stack share shapes, split and method (`key`).

    Args:
        members: with, for each, the splits it trains on.
        plan: what they share.
        device: where to train; modules and data are moved there.
    """

    def __init__(
        self,
        members: Sequence[tuple[Member, Splits]],
        plan: Plan,
        device: torch.device | str = "cpu",
        key: Callable[[Member], Any] = lambda member: member.method,
    ) -> None:
        self.plan, self.device = plan, torch.device(device)
        groups: dict[Any, list[tuple[Member, Splits]]] = {}
        for member, splits in members:
            shapes = tuple((n, tuple(p.shape)) for n, p in member.module.named_parameters())
            groups.setdefault((key(member), shapes, splits.train_sha256), []).append((member, splits))
        self._waiting: list[list[tuple[Member, Splits]]] = []
        for group in groups.values():
            exact = plan.optimizer.stackable and group[0][0].method.stackable
            size = max(1, plan.stack_size) if exact else 1
            self._waiting += [group[i : i + size] for i in range(0, len(group), size)]
        self._stack: _Stack | None = None
        self._finished: list[Outcome] = []

    @property
    def done(self) -> bool:
        return self._stack is None and not self._waiting and not self._finished

    def step(self, seconds: float) -> list[Outcome]:
        """Trains for about `seconds` (one epoch at least); the members that finished.

        When it raises, `abandon` says whom that cost, and the next step goes on with the others; members that
        had finished before the error are given then.
        """
        until = time.perf_counter() + seconds
        while self._stack is not None or self._waiting:
            if self._stack is None:
                self._stack = self._start(self._waiting[0])
                self._waiting.pop(0)
            self._stack.advance(until, self._finished)
            if not self._stack.records:
                self._stack = None
            if time.perf_counter() >= until:
                break
        finished, self._finished = self._finished, []
        return finished

    def _start(self, group: Sequence[tuple[Member, Splits]]) -> _Stack:
        for member, _ in group:
            member.module.to(self.device)
        return _Stack([member for member, _ in group], group[0][1].to(self.device), self.plan)

    def abandon(self) -> list[str]:
        """Drops the stack that raised an error, in training or at its start; the run ids of its members."""
        if self._stack is None:
            return [member.run_id for member, _ in self._waiting.pop(0)] if self._waiting else []
        lost = [record.member.run_id for record in self._stack.records]
        self._stack = None
        return lost

    def progress(self) -> list[dict[str, float | int | str]]:
        """Where each member in training stands; those still waiting are not listed."""
        return self._stack.progress() if self._stack else []
