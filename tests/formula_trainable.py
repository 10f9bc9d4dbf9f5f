"""A trainable that trains nothing: every member is answered from formulas, in no time, whatever was asked of it.

`trainable_for` stands in for `gtsearch.trainables.trainable_for` (`gtsearch.tune.TRAINABLE`). What a member's curve
gives rise to (goal, levels, embeddings, statuses, rows) is worked out by the code that real members go through; only
the accuracies are made up. They depend on the job alone, so whoever is asked gives the same rows: in some experiments
every weak model clears, in others none does, scratch is never seen to get there, some members diverge and some raise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from gtsearch.identity import canonical, derive_seed
from gtsearch.tasks.base import Splits
from gtsearch.trainables import CohortTrainable, Json
from gtsearch.training import Kept, Member, Outcome, Plan, _Record

MOST_LOOKS = 60  # evaluations of a member: an experiment may ask for a billion epochs
DIVERGE, RAISE = 0.04, 0.03
NUMBERS = {
    "ntk_change": ("ntk_change", "ntk_change_relative", "ntk_norm"),
    "weight_norms": ("weight_norm", "embedding_norm"),
    "embedding_spectrum": ("embedding_effective_rank", "embedding_top_share"),
    "fourier": ("fourier_share", "fourier_frequency"),
    "xor_ratio": ("xor_noise_to_signal", "xor_signal_to_noise"),
    "separation": ("class_separation",),
}
SCORES = ("accuracy", "gap", "slope", "epochs", "norm", "row_norm_spread", "effective_rank", "fourier", "linear_probe")


def luck(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return derive_seed(*(str(part) for part in parts)) / 2**63


def often(*parts: Any) -> float:
    """A rate in [0, 1] of which one in eight is 0 and three in eight are 1."""
    return min(1.0, max(0.0, (luck(*parts) - 0.125) / 0.5))


def trainable_for(job: Mapping[str, Any]) -> FormulaTrainable:
    return FormulaTrainable()


class FormulaTrainable(CohortTrainable):
    """Answers a job. `writes`: whether the embeddings are there as files; without, a row only names them."""

    writes = True

    def _begin(self, rows: list[Json]) -> Any:
        splits: Any = SimpleNamespace(train_sha256="0" * 64, train=None, validation=None, test=None)
        members = []
        for info in self.members.values():
            self.splits[info["run_id"]] = splits
            members.append((self._member(info, splits), info))
        return _Answers(members, self._plan(), self.job)

    def _member(self, info: Json, splits: Splits) -> Member:
        return Member(
            run_id=info["run_id"],
            module=torch.nn.Identity(),  # type: ignore[arg-type]
            lr=info["hyperparameters"]["lr"],
            weight_decay=info["hyperparameters"]["weight_decay"],
            max_epochs=info["max_epochs"],
            cap_epochs=info["cap_epochs"],
            run_on=info["reports"] and self.job["goal"] is not None,
            test=info["reports"],
            keep=info["keep"],
            method=self._method(),
            probes=self.probes if info["reports"] else (),
            doses=info["doses"],
        )

    def _scores(self, info: Json, kept: Kept, outcome: Outcome) -> dict[str, float | None]:
        told: dict[str, float | None] = {name: luck(name, info["run_id"], kept.epoch, kept.dose) for name in SCORES}
        return told | {"accuracy": kept.val_accuracy, "epochs": float(kept.epoch), "slope": None}

    def _keep(self, info: Json, kept: Kept) -> Json:
        if self.writes:
            return super()._keep(info, kept)
        name = f"{info['run_id']}-e{kept.epoch}{'' if kept.dose is None else f'-noise{kept.dose:g}'}"
        return {
            "level": kept.level,
            "dose": kept.dose,
            "epoch": kept.epoch,
            "val_accuracy": kept.val_accuracy,
            "train_flops": kept.train_flops,
            "train_seconds": kept.train_seconds,
            "path": f"embeddings/{name}.safetensors",
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "norm": 3.0,
            "effective_rank": 2.0,
        }


class _Answers:
    """The members of a job as a cohort: one is answered a step."""

    def __init__(self, members: Sequence[tuple[Member, Json]], plan: Plan, job: Json) -> None:
        self.waiting, self.plan, self.job = list(members), plan, job

    @property
    def done(self) -> bool:
        return not self.waiting

    def step(self, seconds: float) -> list[Outcome]:
        member, info = self.waiting[0]
        if luck("raises", member.run_id) < RAISE:
            raise RuntimeError("a formula gave out, <b>as asked</b> & on purpose")
        self.waiting.pop(0)
        return [self._answer(member, info)]

    def abandon(self) -> list[str]:
        return [self.waiting.pop(0)[0].run_id]

    def progress(self) -> list[dict[str, float | int | str]]:
        return [
            {"run_id": m.run_id, "epochs": 0, "train_seconds": 0.0, "eval_seconds": 0.0, "train_flops": 0}
            for m, _ in self.waiting[:1]
        ]

    def _answer(self, member: Member, info: Json) -> Outcome:
        record = _Record(member, self.plan)
        seconds_per_epoch = 1e-4 * (1 + luck("speed", self.job["architecture"]))
        top, rise, breaks = self._fate(member, info)
        E = torch.linspace(-1, 1, min(self.job["model"]["d_embed"], 64)).repeat(self._rows(), 1)
        E = E + torch.sin(torch.arange(E.shape[0], dtype=torch.float32))[:, None]
        epoch = 0
        for epoch in self._looks(member):
            wants = record.wants_test(epoch, accuracy := self._accuracy(epoch, top, rise, member))
            broken = breaks is not None and epoch >= breaks
            record.add(
                {
                    "epoch": epoch,
                    "train_seconds": epoch * seconds_per_epoch,
                    "train_flops": self.plan.flops(epoch, member.method),
                    "train_loss": None if broken else 4.0 / (1 + epoch),
                    "train_accuracy": min(1.0, epoch / (0.3 * rise + 1)),
                    "val_loss": None if broken else 4.0 / (1 + 0.1 * epoch),
                    "val_accuracy": accuracy,
                    "test_accuracy": max(0.0, accuracy - 0.01) if wants else None,
                },
                lambda: (E, {}),
            )
            if member.probes and not broken:
                record.probed.append({"epoch": epoch} | self._probed(member, epoch))
            if record.is_over(epoch):
                break
        if not record.diverged:
            spent = self.plan.flops(epoch, member.method), epoch * seconds_per_epoch
            record.kept += [Kept(E, epoch, accuracy * (1 - dose), *spent, dose=dose) for dose in member.doses]
        return record.outcome(epoch, epoch * seconds_per_epoch, 1e-4, 1)

    def _rows(self) -> int:
        """Of an embedding: a size that any task has."""
        return int(self.job["task"].get("p", 8)) if self.job["task"].get("p", 8) <= 32 else 8

    def _looks(self, member: Member) -> Iterator[int]:
        """The epochs at which it is looked at; every so many of them where they are too many."""
        every = self.plan.evaluate_every
        last = max(member.last_epoch, 2 * member.last_epoch if member.run_on else 0)
        step = every * max(1, last // every // MOST_LOOKS)
        looks = set(range(0, last + 1, step)) | {member.last_epoch}
        # A goal that is held at one look must be there at the next on the grid, too.
        looks |= {epoch + every * i for epoch in set(looks) for i in range(self.plan.hold) if epoch % every == 0}
        if isinstance(member.keep, int):
            looks.add(member.keep)
        yield from sorted(epoch for epoch in looks if epoch <= last)

    def _fate(self, member: Member, info: Json) -> tuple[float, float, int | None]:
        """The accuracy it comes to, the epoch at which it is there, and where its loss stops being finite."""
        job = self.job
        world = canonical([job["task"], job["optimizer"], job["loss"], job["evaluate_every"]])
        size = job["params"] / (job["params"] + 400)
        source = info["embedding"] or {}
        rate = often(world, job["stage"], info["method"], "rate") * (0.6 + 0.4 * size if job["stage"] == "weak" else 1)
        good = luck(info["config_id"], info["seed"], "good") < rate
        goal = job["goal"] if job["goal"] is not None else 0.6
        top = goal + (1 - goal) * luck(info["config_id"], info["seed"]) if good else goal * luck(member.run_id)
        help_of = 1 - 0.8 * float(source.get("accuracy") or 0.0) * luck(world, info["method"], "help")
        share = 0.7 * luck(world, info["method"], "share") + 0.2 * luck(info["config_id"], "share")
        rise = member.max_epochs * share * help_of
        breaks = int(luck(member.run_id, "when") * member.last_epoch) if luck(member.run_id, "nan") < DIVERGE else None
        return top, rise, breaks

    def _accuracy(self, epoch: int, top: float, rise: float, member: Member) -> float:
        falls = luck("falls", member.run_id) < 0.2 and epoch > 1.5 * rise
        return (0.5 if falls else 1.0) * top * min(1.0, (epoch + 1) / (rise + 1))

    def _probed(self, member: Member, epoch: int) -> dict[str, float | int | None]:
        numbers: dict[str, float | int | None] = {}
        for probe in member.probes:
            for name in NUMBERS[probe.name]:
                usual = getattr(probe, "top", 3) == 3
                numbers[name if usual or name != "fourier_share" else f"{name}_top{probe.top}"] = luck(name, epoch)  # type: ignore[attr-defined]
        if epoch == 0 and "ntk_change" in numbers:
            numbers |= {"ntk_change": None, "ntk_change_relative": None}
        return numbers
