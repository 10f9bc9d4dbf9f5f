"""The weak stage by `gtsearch run`, and what its rivals are given: the same ladder, space, gate, seeds and data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.rivals.work import Architecture, Trained, Verdict, Work, verdicts
from gtsearch import plans
from gtsearch.domains import LogUniform
from gtsearch.errors import SpecError
from gtsearch.identity import derive_seed
from gtsearch.models.mlp import MlpSizes
from gtsearch.search.policy import ranked
from gtsearch.spec import Spec, load_spec

NEGLIGIBLE_TARGET = (
    "weak.judge={by: none}",
    "target={goal: {val_accuracy: 0.99, hold: 1, evaluate_every: 1},"
    " model: {name: mlp, depth: 2, d_embed: 1, width: 1},"
    " tune: {lr: 0.01, weight_decay: 1, init_scale: 1},"
    " budget: {configs: 1, max_epochs: 1}, gate: {configs: 1, seeds: 1}}",
    "report={seeds: 1, at_least: 1, weak_tries: 1}",
    "tradeoff=null",
    "ablate=null",
)
"""What leaves an experiment its weak stage: a spec needs a target, and this one trains for one epoch."""


@dataclass(frozen=True)
class Stage:
    """The weak stage of an experiment.

    Attributes:
        ladder: the architectures in the order of the search.
    """

    spec: Spec
    ladder: tuple[MlpSizes, ...]
    search_seed: int
    gate_seeds: tuple[int, ...]

    def verdicts(self, runs: Sequence[Trained]) -> list[Verdict]:
        assert self.spec.weak is not None
        weak = self.spec.weak
        labels = [sizes.label for sizes in self.ladder]
        budget, at_least = weak.budget.configs_per_architecture, weak.gate.at_least
        return verdicts(labels, budget, self.search_seed, self.gate_seeds, at_least, runs)

    def work(
        self, runs: Sequence[Trained], settled: Sequence[Verdict], same_configs: bool, folder: Path, workers: int
    ) -> Work:
        """What rivals get: the part of the ladder that is settled, and the data as a file in `folder`.

        Args:
            runs: of gtsearch.
            same_configs: whether they start from all configs of `runs`, or from the published ones.
        """
        weak, task = self.spec.weak, self.spec.weak_task
        assert weak is not None and self.spec.weak_threshold is not None, "checked by `stage_of`"
        splits = task.splits(self.spec.task.seed)
        data = folder / "data.pt"
        tensors = {"train_x": splits.train.x, "train_y": splits.train.y}
        torch.save(tensors | {"validation_x": splits.validation.x, "validation_y": splits.validation.y}, data)
        return Work(
            architectures=tuple(
                Architecture(
                    sizes.label,
                    sizes.d_embed,
                    sizes.width or 0,
                    sizes.depth,
                    tuple(self._searched(sizes.label, runs) if same_configs else map(dict, weak.start_from)),
                )
                for sizes in self.ladder[: len(settled)]
            ),
            space={name: (d.low, d.high) for name, d in weak.tune.items() if isinstance(d, LogUniform)},
            budget=weak.budget.configs_per_architecture,
            search_seed=_drawn_by(self.search_seed),
            gate_seeds=tuple(map(_drawn_by, self.gate_seeds)),
            at_least=weak.gate.at_least,
            goal=self.spec.weak_threshold,
            hold=weak.goal.hold,
            evaluate_every=weak.goal.evaluate_every,
            max_epochs=weak.budget.max_epochs,
            data=str(data),
            d_vocab=task.d_vocab,
            n_tokens=task.n_tokens,
            n_classes=task.n_classes,
            workers=workers,
        )

    def _searched(self, label: str, runs: Sequence[Trained]) -> list[dict[str, float]]:
        return [run.config for run in runs if run.architecture == label and run.seed == self.search_seed]


def _drawn_by(seed: int) -> int:
    """The seed of the generator that draws a member's initial weights."""
    return derive_seed(seed, "initialisation")


def stage_of(path: str, overrides: Sequence[str] = ()) -> Stage:
    """The weak stage of an experiment file.

    Raises:
        SpecError: the file is wrong, or its weak stage is not one the rivals are written for.
    """
    spec = load_spec(path, [*overrides, *NEGLIGIBLE_TARGET])
    weak, task = spec.weak, spec.weak_task
    plain = (
        weak is not None
        and weak.cost == "params"
        and weak.model.name == "mlp"
        and (weak.optimizer, spec.weak_loss) == ("adamw", "cross_entropy")
        and all(type(domain) is LogUniform for domain in weak.tune.values())
        and spec.weak_threshold is not None
        and not task.vectors
        and task.n_outputs > 1
    )
    if not plain:
        rule = "the rivals train an mlp over tokens with adamw and cross_entropy, cheapest by params, over loguniform"
        raise SpecError(f"{rule} ranges, to a goal; give such an experiment", "weak")
    ordered = ranked(plans.architectures(spec), "params")
    ladder = tuple(a.sizes for a in ordered if isinstance(a.sizes, MlpSizes))
    seeds = weak.gate.seeds if weak else 0
    gate = tuple(derive_seed(spec.seed, "gate", "weak", i) for i in range(seeds))
    return Stage(spec, ladder, derive_seed(spec.seed, "search", "weak", 0), gate)


def trained_of(line: str) -> Trained | None:
    """The weak run that a line of members.log tells of; None where it is of another stage, or was not finished.

    Raises:
        RuntimeError: the run crashed.
    """
    row = json.loads(line)
    if row["stage"] != "weak" or row["role"] not in ("search", "gate") or row["status"] == "cancelled":
        return None
    if row["status"] == "failed":
        raise RuntimeError(f"a run of gtsearch failed: {row['error']}")
    return Trained(row["architecture"], row["hyperparameters"], row["seed"], row["status"] == "cleared", row["epochs"])
