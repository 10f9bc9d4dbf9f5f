"""What all three are asked, what they say of each training run, and what follows from it. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Config = dict[str, float]
"""`lr`, `weight_decay` and `init_scale`."""


@dataclass(frozen=True)
class Architecture:
    """A place on the ladder, and the configs that a rival starts from (all it gets, or the published ones)."""

    label: str
    d_embed: int
    width: int
    depth: int
    configs: tuple[Config, ...]


@dataclass(frozen=True)
class Work:
    """The weak stage as a rival gets it.

    Attributes:
        architectures: from the cheapest on; each gets its whole budget.
        space: hyperparameter -> the bounds of a log-uniform range.
        budget: configs an architecture.
        search_seed, gate_seeds: of the initial weights.
        at_least: gate seeds that a config must clear.
        goal: validation accuracy in (0, 1) that must be held for `hold` evaluations, one every `evaluate_every` epochs
            from epoch 0 on.
        data: file of `plain.load`; `d_vocab`, `n_tokens`, `n_classes` are its shape.
        workers: processes, of one thread each.
    """

    architectures: tuple[Architecture, ...]
    space: dict[str, tuple[float, float]]
    budget: int
    search_seed: int
    gate_seeds: tuple[int, ...]
    at_least: int
    goal: float
    hold: int
    evaluate_every: int
    max_epochs: int
    data: str
    d_vocab: int
    n_tokens: int
    n_classes: int
    workers: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """The search seed, then the gate's."""
        return (self.search_seed, *self.gate_seeds)

    def verdicts(self, runs: Sequence[Trained]) -> list[Verdict]:
        labels = [architecture.label for architecture in self.architectures]
        return verdicts(labels, self.budget, self.search_seed, self.gate_seeds, self.at_least, runs)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> Work:
        known = json.loads(path.read_text())
        architectures = (Architecture(**a | {"configs": tuple(a["configs"])}) for a in known["architectures"])
        space = {name: (low, high) for name, (low, high) in known["space"].items()}
        lists = {"architectures": tuple(architectures), "space": space, "gate_seeds": tuple(known["gate_seeds"])}
        return Work(**known | lists)


@dataclass(frozen=True)
class Trained:
    """One training run that ended: `seed` is one of `Work.seeds`, `epochs` what it trained."""

    architecture: str
    config: Config
    seed: int
    cleared: bool
    epochs: int

    @property
    def key(self) -> str:
        return json.dumps(self.config, sort_keys=True)

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def from_line(line: str) -> Trained:
        return Trained(**json.loads(line))


@dataclass(frozen=True)
class Verdict:
    """What is known of an architecture whose whole budget and gates are in.

    Attributes:
        passes: whether a config cleared the search seed and enough of the gate's.
        cleared: how many configs cleared the search seed.
    """

    architecture: str
    passes: bool
    cleared: int


def verdicts(
    ladder: Iterable[str],
    budget: int,
    search_seed: int,
    gate_seeds: Sequence[int],
    at_least: int,
    runs: Sequence[Trained],
) -> list[Verdict]:
    """The verdicts on the architectures of `ladder`, in its order, up to the first that is still open.

    A gate seed counts for a config that cleared the search seed, whoever trained it for what.
    """
    outcomes: dict[str, dict[str, dict[int, bool]]] = {}
    for run in runs:
        outcomes.setdefault(run.architecture, {}).setdefault(run.key, {})[run.seed] = run.cleared
    found = []
    for label in ladder:
        searched = [seeds for seeds in outcomes.get(label, {}).values() if search_seed in seeds]
        earned = [seeds for seeds in searched if seeds[search_seed]]
        if len(searched) < budget or any(seed not in seeds for seeds in earned for seed in gate_seeds):
            break
        passes = any(sum(seeds[seed] for seed in gate_seeds) >= at_least for seeds in earned)
        found.append(Verdict(label, passes, len(earned)))
    return found


def child_arguments(words: Sequence[str]) -> tuple[Work, Path, dict[str, Any]]:
    """The arguments of a rival's script: WORK LOG [OPTIONS as JSON]."""
    return Work.read(Path(words[0])), Path(words[1]), json.loads(words[2]) if len(words) > 2 else {}
