"""What every tracker is given and what it does with it: the contract of this room.

A `Tracker` is what stands in the experiment file. `open` loads its client and gives a `Sender`, which is handed every
member of a run, in the order of members.log, and at the end what the run found. Values that a member does not have
(a goal it never reached) are absent, never 0.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from gtsearch.identity import digest

Value = float | int | str

BY_EPOCH = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "train_flops", "train_seconds")
"""The columns of a member's curve that are sent, each a metric by epoch."""

NUMBERS = (
    *("epochs", "epochs_to_goal", "epochs_to_goal_first", "seconds_to_goal", "flops_to_goal"),
    *("train_seconds", "eval_seconds", "train_flops", "best_val_accuracy", "final_val_accuracy", "test_accuracy"),
    *("epoch_train_95", "epoch_val_95", "weak_accuracy", "weak_flops", "weak_seconds"),
    *("embedding_norm", "embedding_effective_rank"),
)
"""What a member came to: one number each, at its last epoch."""

_TAGS = ("stage", "method", "role", "purpose", "status", "architecture", "task", "variation", "design", "weak_run_id")
_TAGS_OF_PLACE = ("device", "host", "dtype", "error")
_PARAMS = ("model", "d_embed", "width", "depth", "params", "config_id", "seed", "split_seed", "attempt", "max_epochs")
_PARAMS_OF_GOAL = ("goal", "evaluate_every", "cap_epochs", "level", "dose", "weak_epoch")
_FAILED = ("diverged", "failed")
_LONGEST = 500
"""Characters of a text that are sent: of a traceback the end, which says what it was."""

FAILED, STOPPED, DONE = "failed", "stopped", "done"
"""How a member or a run ended, as trackers tell it apart."""


@dataclass(frozen=True)
class TrackedRun:
    """The run whose members are sent.

    Attributes:
        name: of its folder.
        group: the same for whoever sends members of this run, and no other run's.
        folder: the run folder; what is read of it, a sender only reads.
        own: a folder inside it for this tracker's files. It need not exist.
        experiment: the name of the experiment.
        began: when, in seconds since 1970.
        tags: facts about the whole run, by name.
    """

    name: str
    group: str
    folder: Path
    own: Path
    experiment: str
    began: float
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """One member of a run, as trackers take it.

    Attributes:
        key: its `run_id`; of one that was cancelled, and may come again, with its line in members.log behind it.
        name: how it is shown: method, role and key.
        tags: texts by name.
        params: what it was trained with, hyperparameters among them.
        curve: epoch and what was measured there, by name; rising.
        numbers: what it came to, by name.
        epochs: trained.
        how: DONE, STOPPED (nobody needed it any more) or FAILED.
        began, ended: seconds since 1970, as near as the log tells.
    """

    key: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Value]
    curve: list[tuple[int, dict[str, float]]]
    numbers: Mapping[str, float]
    epochs: int
    how: str
    began: float
    ended: float


@dataclass(frozen=True)
class Ended:
    """The end of a run.

    Attributes:
        how: DONE, or STOPPED where it goes on later.
        lines: what a person is told; none where it goes on later.
        numbers: of the summary, by name.
        files, figures: of the run folder, report and PNGs, that are there.
    """

    how: str
    lines: list[str] = field(default_factory=list)
    numbers: Mapping[str, float] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)


class Sender(ABC):
    """A tracker's client, at work. Whatever goes wrong is raised; the courier asks again later, with a new sender."""

    @abstractmethod
    def send(self, member: Member) -> None:
        """Makes a run of it. Sent again, as after a crash, it is the same run and not a second one."""

    @abstractmethod
    def end(self, ended: Ended) -> None:
        """What the whole run came to, and its files. May be sent again, when a run went on."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Lets go of what is held."""


class Tracker(BaseModel, ABC):
    """Base of all trackers. A subclass adds its options as fields.

    Attributes:
        name: that on the menu.
        package: what must be importable; the extra of gtsearch that installs it is called like `name`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    package: ClassVar[str]

    name: str

    @property
    def label(self) -> str:
        """What its files in the run folder are called: its name, with eight characters behind that stand for options,
        where it has some."""
        options = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        return f"{self.name}-{digest(options)[:8]}" if options else self.name

    @property
    def is_installed(self) -> bool:
        """Whether its client can be imported; it is not."""
        return find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """Of its client, which is installed."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:  # another distribution of it
            return "unknown"

    @property
    def missing(self) -> str:
        """What to do where it is not installed."""
        return f"{self.name} is not installed: pip install 'gtsearch[{self.name}]'"

    def settled(self, environment: Mapping[str, str]) -> Self:
        """With what its own environment variables say where the experiment says nothing."""
        return self

    @property
    @abstractmethod
    def destination(self) -> str:
        """Where it sends, in a few words for people: without secrets."""

    def surroundings(self, own: Path, scratch: Path) -> dict[str, str]:
        """Environment variables for its client: no telemetry, nothing outside of `own` and `scratch`."""
        return {}

    @abstractmethod
    def open(self, run: TrackedRun) -> Sender:
        """Loads its client and connects."""


# -- what members.log and summary.json say, as trackers take it ---------------------------------------------


def member_of(row: Mapping[str, Any], line: int, began: float) -> Member:
    """One row of members.log.

    Args:
        line: its number in the log, from 1.
        began: when the run began, in seconds since 1970.
    """
    key = f"{row['run_id']}-{line}" if row["status"] == "cancelled" else str(row["run_id"])
    epochs = int(row.get("epochs") or 0)
    numbers = {name: float(row[name]) for name in NUMBERS if row.get(name) is not None}
    hyperparameters = row.get("hyperparameters") or {}
    params = {name: row[name] for name in (*_PARAMS, *_PARAMS_OF_GOAL) if row.get(name) is not None}
    tags = {name: str(row[name])[-_LONGEST:] for name in (*_TAGS, *_TAGS_OF_PLACE) if row.get(name) is not None}
    seconds = float(row.get("train_seconds") or 0.0) + float(row.get("eval_seconds") or 0.0)
    ended = began + float(row.get("elapsed_seconds") or 0.0)
    return Member(
        key=key,
        name=f"{row['method']}/{row['role']}/{key}",
        tags={"run_id": str(row["run_id"]), **tags},
        params={**params, **hyperparameters},
        curve=list(_curve(row, epochs, numbers)),
        numbers=numbers,
        epochs=epochs,
        how=FAILED if row["status"] in _FAILED else STOPPED if row["status"] == "cancelled" else DONE,
        began=ended - seconds,
        ended=ended,
    )


def _curve(row: Mapping[str, Any], epochs: int, numbers: Mapping[str, float]) -> Iterator[tuple[int, dict[str, float]]]:
    """Evaluations, with what probes read at them. At the last epoch a number of the same name says it already."""
    probed = {point["epoch"]: point for point in row.get("probed") or ()}
    for point in row.get("curve") or ():
        epoch = int(point["epoch"])
        read = {f"probes/{name}": value for name, value in probed.get(epoch, {}).items() if name != "epoch"}
        values = {name: point.get(name) for name in BY_EPOCH if not (epoch == epochs and name in numbers)} | read
        yield epoch, {name: float(value) for name, value in values.items() if value is not None}


def numbers_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of summary.json that a table of runs is sorted by, `methods.transfer.reached` and the like."""
    weak, tradeoff = summary.get("weak") or {}, summary.get("tradeoff") or {}
    parts = {
        "weak": {claim: weak.get(claim) for claim in ("clears", "pays")},
        "methods": summary.get("methods"),
        "speedup": summary.get("speedup"),
        "tradeoff": {name: tradeoff.get(name) for name in ("threshold", "least_total")},
    }
    return dict(_leaves(parts, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float):
        yield path, float(value)


def masked(text: str, environment: Mapping[str, str]) -> str:
    """One line without what stands before the `@` of an address, and without the values of secret variables."""
    for name, value in environment.items():
        if re.search(r"TOKEN|PASSWORD|API_KEY|SECRET", name) and len(value) >= 4:
            text = text.replace(value, "***")
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", " ".join(text.split()))
