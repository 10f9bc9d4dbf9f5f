"""What an experiment would do and cost at most, before it is run: stages, their phases, what each trains.

Entry: `forecast`. Seconds are guesses from FLOPs, and every search may end long before its budget. What is earned on
the way (gates of weak configs, probes, withdrawn winners) nobody can count beforehand: it stands there without numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gtsearch import terminal
from gtsearch.progress import duration
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Architecture
from gtsearch.search.policy import Policy
from gtsearch.search.proposals import budget
from gtsearch.spec import BASE

SHOWN = 6
"""How many branches of one kind are shown to a person: more are counted together. Programs get all."""


@dataclass(frozen=True)
class Branch:
    """A part of the plan.

    Attributes:
        members: training runs at most; None: as many as are earned on the way.
        flops: what they train at most, in all.
        seconds: of one worker, by a guess from FLOPs.
        branches: its parts; what it holds itself is what they hold together.
    """

    name: str
    members: int | None = None
    flops: float = 0.0
    seconds: float = 0.0
    branches: tuple[Branch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        own = {"name": self.name, "members": self.members, "flops": self.flops, "worker_seconds": self.seconds}
        return own | {"branches": [branch.to_json() for branch in self.branches]}


@dataclass(frozen=True)
class Forecast:
    """What would run.

    Attributes:
        about: what is asked, in sentences.
        variations: what each variation runs, the experiment itself (`base`) first.
        workers: how many train at once.
        notes: what else is good to know, a line each: where trackers would send to, or that they are missing.
    """

    name: str
    about: tuple[str, ...]
    variations: tuple[Branch, ...]
    workers: int
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of one worker, all variations together."""
        return sum(variation.seconds for variation in self.variations)

    def lines(self) -> list[str]:
        """For a person: the sentences, the plan as a tree, and what it may cost."""
        base, *others = self.variations
        rows = [*_rows(base.branches), *_rows(tuple(others))]
        cells = [(depth, [branch.name, *_amounts(branch)]) for depth, branch in rows]
        last = (
            f"in all about {self.seconds / self.workers / 60:,.1f} minutes at most on {_many(self.workers, 'worker')}"
        )
        return [
            *(line for sentence in self.about for line in terminal.wrapped(sentence, indent="  ")),
            "",
            *terminal.tree(("plan, at most", "runs", "FLOPs", "time"), cells, right=(1, 2, 3)),
            "",
            *terminal.wrapped(
                f"{last}, by a guess from FLOPs; gates, probes and withdrawn winners apart (times above: of one)"
            ),
            *(line for note in self.notes for line in terminal.wrapped(note, indent="  ")),
        ]

    def to_json(self) -> dict[str, Any]:
        """For a program: the whole plan."""
        return {
            "name": self.name,
            "about": list(self.about),
            "variations": [variation.to_json() for variation in self.variations],
            "workers": self.workers,
            "worker_seconds": self.seconds,
            "seconds": self.seconds / self.workers,
            "notes": list(self.notes),
        }


def forecast(ablation: Ablation) -> Forecast:
    """What a run of these searches would do; nothing is run."""
    about = list(_about(ablation.base))
    rest = [name for name in ablation.policies if name != BASE]
    if rest:
        about.append(f"variations: {len(rest)} beside it on the same seeds: {', '.join(rest)}")
    variations = [
        _sum(name if name == BASE else f"variation {name}", _stages(p)) for name, p in ablation.policies.items()
    ]
    return Forecast(ablation.base.spec.name, tuple(about), tuple(variations), ablation.workers)


def _about(policy: Policy) -> Iterator[str]:
    spec, ladder, target = policy.spec, policy.ladder, policy.target.architecture
    task = spec.task
    yield (
        f"{spec.name}: {task.title}, {task.n_examples} examples, "
        f"{'/'.join(map(str, task.part_sizes))} for training, validation and test; chance {task.chance:.3g}"
    )
    if ladder is not None:
        weak, first, last = ladder.weak, ladder.architectures[0], ladder.architectures[-1]
        threshold = spec.weak_threshold
        yield (
            f"weak: {_many(len(ladder.architectures), 'architecture')} by {weak.cost}, from {first.label} "
            f"({first.params} parameters) to {last.label} ({last.params}); "
            + ("no accuracy is asked for" if threshold is None else f"to {threshold:.3g}")
        )
    yield f"target: {target.label} ({target.params} parameters) to {spec.target_threshold:.3g}"


def _stages(policy: Policy) -> Iterator[Branch]:
    spec, ladder, target = policy.spec, policy.ladder, policy.target.architecture
    methods, longest = spec.target.methods, spec.target.budget.max_epochs

    def of_target(name: str, members: int) -> Branch:
        return _trained(policy, name, target, members, longest)

    if ladder is not None:
        weak = ladder.weak
        each = [_trained(policy, a.label, a, ladder.total, weak.budget.max_epochs) for a in ladder.architectures]
        yield _sum(
            "weak stage",
            [
                _sum(f"ladder, {_many(ladder.total, 'config')} each", each),
                Branch(f"gate, {_many(weak.gate.seeds, 'seed')} for what clears"),
                Branch(f"judge, up to {_many(weak.judge.candidates_per_architecture, 'candidate')} each")
                if spec.judged
                else Branch("no judge"),
            ],
        )
    per_method = budget(spec.method_space("scratch"), spec.target.search, policy.target.configs())
    if per_method > 1:
        finals = spec.target.gate.configs * spec.target.gate.seeds
        search = [of_target(method, per_method) for method in methods]
        gate = [of_target(method, finals) for method in methods]
        yield _sum(
            "target stage",
            [
                _sum(f"search, {_many(per_method, 'config')} each", search),
                _sum(
                    f"gate, {_many(spec.target.gate.configs, 'config')} on {_many(spec.target.gate.seeds, 'seed')}",
                    gate,
                ),
            ],
        )
    claims = [of_target(method, spec.report.seeds) for method in methods]
    if ladder is not None:
        # Which weak model it will be nobody knows: no more than what the target costs.
        claims.append(of_target("weak models", spec.report.seeds))
    yield _sum(f"report, {spec.report.seeds} fresh {'pipelines' if ladder else 'seeds'}", claims)
    if ladder is not None and spec.tradeoff is not None:
        yield of_target("trade-off", spec.tradeoff.members)


def _trained(policy: Policy, name: str, architecture: Architecture, members: int, epochs: int) -> Branch:
    seconds = members * policy.estimate_epochs_seconds(architecture, epochs)
    return Branch(name, members, float(members) * epochs * architecture.flops_per_epoch, seconds)


def _sum(name: str, parts: Iterator[Branch] | Sequence[Branch]) -> Branch:
    parts = tuple(parts)
    members = sum(part.members or 0 for part in parts)
    return Branch(name, members, sum(part.flops for part in parts), sum(part.seconds for part in parts), parts)


def _rows(branches: Sequence[Branch], depth: int = 0) -> Iterator[tuple[int, Branch]]:
    """Every branch with how deep it lies; of many the first, the last, and how many lie between."""
    shown = branches
    if len(branches) > SHOWN:
        between = _sum(f"... {len(branches) - SHOWN + 1} between", branches[SHOWN - 2 : -1])
        shown = (
            *branches[: SHOWN - 2],
            Branch(between.name, between.members, between.flops, between.seconds),
            branches[-1],
        )
    for branch in shown:
        yield depth, branch
        if not branch.name.startswith("variation "):
            yield from _rows(branch.branches, depth + 1)


def _amounts(branch: Branch) -> list[str]:
    if branch.members is None:
        return ["", "", ""]
    return [f"{branch.members:,}", f"{branch.flops:.1e}".replace("e+", "e"), duration(branch.seconds)]


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
