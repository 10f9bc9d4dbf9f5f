"""What is known and what is wanted: rows by run id on one side, members somebody is waiting for on the other.

The search is written as plain functions that ask the board for a member's row. If the row is there they go on;
if not, the member is noted as wanted and they return `PENDING`. Every change of the rows runs the functions
again from the start. So what the policy wants is a pure function of the spec and the set of rows, whatever the
order they came in: resuming is telling the old rows again. A row that is in never changes, so an answer that was
found once is kept (`Board.once`) and only what is still open is worked out again.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, IntEnum
from functools import cached_property
from typing import Any, Final, TypeVar

from gtsearch.identity import canonical, digest_of_text
from gtsearch.models.base import Sizes

Row = Mapping[str, Any]
Hyperparameters = Mapping[str, float]
T = TypeVar("T")


class Pending(Enum):
    """An answer that is not known yet."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING


class Phase(IntEnum):
    """Why a member is wanted; smaller goes first (design: order of ask)."""

    SCRATCH = 1
    JUDGE = 2
    LADDER = 3
    TARGET = 4
    TRADEOFF = 5
    AHEAD = 6


@dataclass(frozen=True)
class Architecture:
    """A model family with its sizes and what it costs before any training. `rank`: its place on the ladder."""

    sizes: Sizes
    params: int
    flops_per_epoch: int
    rank: int = 0

    @property
    def label(self) -> str:
        return self.sizes.label

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All of its sizes: the label leaves out those that are at their defaults."""
        return self.sizes.model_dump()

    @cached_property
    def text(self) -> str:
        """Its identity as canonical JSON, worked out once for all of its members."""
        return canonical(self.identity)


@dataclass(frozen=True, eq=False)
class Training:
    """How a stage trains: the same for all members of it, or of one method.

    Attributes:
        method: name and options of the method the model starts by; None for a plain model.
        goal: validation accuracy to reach and hold; None: there is none.
        keep_layers: whether an embedding is kept together with the model's other parameters.
        probes: name and options of each.
    """

    optimizer: str
    loss: str
    goal: float | None
    hold: int
    evaluate_every: int
    max_epochs: int
    method: Mapping[str, Any] | None = None
    keep_layers: bool = False
    probes: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """As plain JSON values."""
        return json.loads(self.text)  # type: ignore[no-any-return]

    @cached_property
    def text(self) -> str:
        """Its identity as canonical JSON, worked out once for all of its members."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class Embedding:
    """A weak model's E_W as a file, and what it cost the run that made it."""

    path: str
    sha256: str
    run_id: str
    d_embed: int
    epoch: int
    accuracy: float
    flops: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Member:
    """One training run somebody wants: a config and a seed, for a purpose.

    Attributes:
        task: the identity of the task (no split).
        keep: which embeddings to keep: `goal`, `best`, epochs, accuracy levels (a tuple), or None.
        cap_epochs, capped_by: where the run may end because going on cannot matter, and whose cost says so.
        reports: on fresh seeds, for a claim: measures test accuracy and, with a goal, runs on past it.
        doses: shares of noise with which the embedding a weak run ends with is kept once more.
        design, level, refined, dose: of a trade-off's target, what its embedding stands for (results.TRIALS).
        attempt: 0, and one more for each time the same run is needed again (lost, or capped too early).
    """

    task: Mapping[str, Any]
    stage: str
    method: str
    role: str
    purpose: str
    architecture: Architecture
    training: Training
    hyperparameters: Hyperparameters
    seed: int
    split_seed: int
    cap_epochs: int | None = None
    capped_by: str | None = None
    embedding: Embedding | None = None
    keep: str | int | tuple[float, ...] | None = None
    reports: bool = False
    doses: tuple[float, ...] = ()
    design: str | None = None
    level: float | None = None
    refined: bool | None = None
    dose: float | None = None
    attempt: int = 0

    @cached_property
    def config_id(self) -> str:
        return digest_of_text(f"[{self.architecture.text},{canonical(dict(self.hyperparameters))}]", 10)

    @cached_property
    def run_id(self) -> str:
        """What makes this run this run. Caps and purposes are not in it: they do not change what is computed."""
        # A search names every member it may want: what many of them share is written out once.
        keep = list(self.keep) if isinstance(self.keep, tuple) else self.keep
        sha256 = self.embedding.sha256 if self.embedding else None
        parts = [
            canonical([dict(self.task), self.split_seed, self.stage, self.method])[1:-1],
            self.training.text,
            canonical([keep, list(self.doses)])[1:-1],
            self.architecture.text,
            canonical([dict(self.hyperparameters), sha256, self.seed, self.role, self.attempt])[1:-1],
        ]
        return digest_of_text(f"[{','.join(parts)}]")

    @property
    def end(self) -> int:
        """The epoch at which it ends without reaching its goal."""
        longest = self.training.max_epochs
        return longest if self.cap_epochs is None else min(self.cap_epochs, longest)

    def to_json(self) -> dict[str, Any]:
        """All a worker needs to know of this member, as plain JSON values; no tensor travels."""
        return {
            "run_id": self.run_id,
            "attempt": self.attempt,
            "method": self.method,
            "role": self.role,
            "purpose": self.purpose,
            "config_id": self.config_id,
            "hyperparameters": dict(self.hyperparameters),
            "seed": self.seed,
            "split_seed": self.split_seed,
            "max_epochs": self.training.max_epochs,
            "cap_epochs": self.cap_epochs,
            "capped_by": self.capped_by,
            "embedding": asdict(self.embedding) if self.embedding else None,
            "keep": list(self.keep) if isinstance(self.keep, tuple) else self.keep,
            "reports": self.reports,
            "doses": list(self.doses),
            "design": self.design,
            "level": self.level,
            "refined": self.refined,
            "dose": self.dose,
        }


@dataclass(eq=False)
class Counted:
    """Members whose rows an answer rests on: its own, and those of the answers it is made of."""

    members: dict[str, Member] = field(default_factory=dict)
    parts: list[Counted] = field(default_factory=list)

    def all(self) -> dict[str, Member]:
        """Every one of them, by run id."""
        found = dict(self.members)
        for part in self.parts:
            found |= part.all()
        return found


class Board:
    """Rows that are in, members that are wanted, and which rows counted for something."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.wanted: dict[str, tuple[Phase, Member]] = {}
        self._counted = Counted()
        self._every: dict[str, Member] | None = None
        self._known: dict[Hashable, tuple[Any, Counted]] = {}

    @property
    def counted(self) -> dict[str, Member]:
        """The members whose rows count for what is known now, by run id."""
        if self._every is None:
            self._every = self._counted.all()
        return self._every

    def put(self, rows: Iterable[Row]) -> list[Row]:
        """Takes in rows, in any order, repeated or never asked for; those that were new, as they are kept."""
        new = []
        for row in rows:
            if row["status"] != "cancelled" and row["run_id"] not in self.rows:
                kept = self.rows[row["run_id"]] = _kept(row)
                new.append(kept)
        return new

    def clear(self) -> None:
        """Forgets what was wanted, before the plan is made again."""
        self.wanted.clear()
        self._counted, self._every = Counted(), None

    def once(self, key: Hashable, work: Callable[[], T | Pending]) -> T | Pending:
        """What `work` gives; when that is no longer PENDING it is not worked out again.

        Args:
            key: all that the answer depends on beside the rows.
        """
        if key in self._known:
            answer, counted = self._known[key]
            self.count(counted)
            return answer  # type: ignore[no-any-return]  # of the type that `work` gave
        with self.counting() as counted:
            found = work()
        if found is not PENDING:
            self._known[key] = found, counted
        return found

    @contextmanager
    def counting(self) -> Iterator[Counted]:
        """What is got meanwhile counts for the one that is given, and with it for whoever asked."""
        outer, self._counted = self._counted, Counted()
        try:
            yield self._counted
        finally:
            outer.parts.append(self._counted)
            self._counted = outer

    def count(self, counted: Counted) -> None:
        """What was counted before counts again."""
        self._counted.parts.append(counted)

    def get(self, member: Member, phase: Phase) -> Row | Pending:
        """The member's row, or PENDING after noting that it is wanted in `phase`."""
        lost_before = False
        while (row := self.rows.get(member.run_id)) is not None:
            self._counted.members[member.run_id] = member
            lost = row["status"] == "failed" and bool(row.get("lost"))
            capped_too_soon = row["status"] == "capped" and row["epochs"] < member.end
            if not capped_too_soon and (not lost or lost_before):
                return _cut(_as_asked(row, member), member)
            lost_before = lost
            member = replace(member, attempt=member.attempt + 1)
        if member.run_id not in self.wanted or phase < self.wanted[member.run_id][0]:
            self.wanted[member.run_id] = (phase, member)
        return PENDING

    def get_all(self, members: Sequence[Member], phase: Phase) -> list[Row] | Pending:
        """The rows of all members, or PENDING after noting every one that is wanted."""
        rows = [self.get(member, phase) for member in members]
        known = [row for row in rows if row is not PENDING]
        return known if len(known) == len(rows) else PENDING

    def known(self, members: Sequence[Member]) -> list[Row]:
        """The rows that happen to be in; nothing is wanted. For display only: the search must not depend on it."""
        return [self.rows[m.run_id] for m in members if m.run_id in self.rows]


def _kept(row: Row) -> Row:
    """What the search needs of a row. The curve is for the tables: of it stay the records of validation accuracy, as
    two arrays, since there may be tens of thousands of rows. Words that all rows share are kept once."""
    epochs, accuracies = array("q"), array("d")
    for point in row.get("curve") or ():
        accuracy = point["val_accuracy"]
        if accuracy is not None and (not accuracies or accuracy > accuracies[-1]):
            epochs.append(point["epoch"])
            accuracies.append(accuracy)
    kept = {
        sys.intern(name): sys.intern(value) if type(value) is str else value
        for name, value in row.items()
        if name not in ("curve", "probed")
    }
    return kept | {"records": (epochs, accuracies)}


def _as_asked(row: Row, member: Member) -> Row:
    """The row with the config that its name stands for, whatever a damaged log says it had."""
    asked = {"hyperparameters": dict(member.hyperparameters), "seed": member.seed, "config_id": member.config_id}
    return row if all(row.get(key) == value for key, value in asked.items()) else {**row, **asked}


def _cut(row: Row, member: Member) -> Row:
    """The row as the member would have given it: a run that was trained further for somebody with a looser cap (a
    variation, a look ahead) must not say more than this one asked for."""
    end, training = member.end, member.training
    if row["epochs"] <= end or member.cap_epochs is None:
        return row
    if cleared(row) and row["epochs_to_goal"] + (training.hold - 1) * training.evaluate_every <= end:
        return row
    share = end / row["epochs"]
    accuracies = [accuracy for epoch, accuracy in zip(*row["records"], strict=True) if epoch <= end]
    never = dict.fromkeys(("epochs_to_goal", "flops_to_goal", "seconds_to_goal"))
    return {
        **row,
        **never,
        "status": "capped",
        "cap_epochs": end,
        "capped_by": member.capped_by,
        "epochs": end,
        "train_flops": row["train_flops"] * share,
        "train_seconds": row["train_seconds"] * share,
        "best_val_accuracy": max(accuracies, default=row["best_val_accuracy"]),
        "embeddings": [],
    }


def cleared(row: Row) -> bool:
    return bool(row["status"] == "cleared")


def embedding_of(row: Row, level: float | None = None, dose: float | None = None) -> Embedding | None:
    """The embedding a weak run kept (at `level` or with `dose` of noise, if it kept several), or None.

    What it cost: everything up to the goal; for a snapshot after or without one, everything it trained.
    """
    for kept in row.get("embeddings") or ():
        if (kept["level"], kept.get("dose")) == (level, dose):
            whole = level is None and row.get("handover") == "best"
            return Embedding(
                kept["path"],
                kept["sha256"],
                row["run_id"],
                row["d_embed"],
                kept["epoch"],
                kept["val_accuracy"],
                row["train_flops"] if whole else kept["train_flops"],
                row["train_seconds"] if whole else kept["train_seconds"],
            )
    return None


def objective(row: Row) -> float:
    """What the proposals minimise: the share of max_epochs to the goal, in [0, 1]; above 1 how far it stayed away.

    A run that never got there is worse than any that did, and the better the closer it came (in (1, 2]);
    a run that diverged or failed is worse than both (3).
    """
    if row["status"] in ("diverged", "failed"):
        return 3.0
    if cleared(row):
        return float(row["epochs_to_goal"]) / float(row["max_epochs"])
    return 2.0 - min(1.0, float(row["best_val_accuracy"] or 0.0) / float(row["goal"] or 1.0))
