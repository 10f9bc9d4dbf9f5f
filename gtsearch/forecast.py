"""What an experiment would do and cost at most, before it is run: stages, their phases, what each trains.

Entry: `forecast`. Runs and FLOPs are bounds: every config may clear, every candidate may come before the judge, every
run may train to its end. How often a winner is withdrawn, or the trade-off refined, nobody can say beforehand: what one
more costs at most stands beside the plan. Left out is what is done twice, for a worker that was lost or a job that
was cancelled. Seconds are guesses from FLOPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gtsearch import terminal
from gtsearch.parts import BASE
from gtsearch.progress import duration
from gtsearch.search import proposals
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Architecture
from gtsearch.search.policy import Policy
from gtsearch.search.tradeoff import SHUFFLED

SHOWN = 6
"""How many branches of one kind are shown to a person: more are counted together. Programs get all."""


@dataclass(frozen=True)
class Branch:
    """A part of the plan.

    Attributes:
        members: training runs at most.
        flops: what they train at most, in all.
        seconds: of one worker, by a guess from FLOPs.
        branches: its parts; what it holds itself is what they hold together.
        beside: what is not counted in it: one more of each of these costs as much at most.
    """

    name: str
    members: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    branches: tuple[Branch, ...] = ()
    beside: tuple[Branch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        own = {"name": self.name, "members": self.members, "flops": self.flops, "worker_seconds": self.seconds}
        parts = {"branches": self.branches, "beside": self.beside}
        return own | {name: [branch.to_json() for branch in held] for name, held in parts.items()}


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
    def members(self) -> int:
        """Training runs at most, all variations together."""
        return sum(variation.members for variation in self.variations)

    @property
    def seconds(self) -> float:
        """Of one worker, all variations together."""
        return sum(variation.seconds for variation in self.variations)

    def lines(self) -> list[str]:
        """For a person: the sentences, the plan as a tree, and what it may cost."""
        base, *others = self.variations
        rows = [*_rows(base.branches), *_rows(tuple(others)), *_rows(base.beside)]
        cells = [(depth, [branch.name, *_amounts(branch)]) for depth, branch in rows]
        last = (
            f"at most {self.members:,} runs, about {duration(self.seconds / self.workers)} on "
            f"{_many(self.workers, 'worker')} if all train to their end, by a guess from FLOPs"
        )
        apart = f"; what begins with `each` is not in it{' (of variations neither)' if others else ''}"
        return [
            *(line for sentence in self.about for line in terminal.wrapped(sentence, indent="  ")),
            "",
            *terminal.tree(("plan, at most", "runs", "FLOPs", "time"), cells, right=(1, 2, 3)),
            "",
            *terminal.wrapped(f"{last} (times above: of one worker){apart if base.beside else ''}"),
            *(line for note in self.notes for line in terminal.wrapped(note, indent="  ")),
        ]

    def to_json(self) -> dict[str, Any]:
        """For a program: the whole plan."""
        return {
            "name": self.name,
            "about": list(self.about),
            "variations": [variation.to_json() for variation in self.variations],
            "members": self.members,
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
        _planned(name if name == BASE else f"variation {name}", policy) for name, policy in ablation.policies.items()
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


def _planned(name: str, policy: Policy) -> Branch:
    plan = _Plan(policy)
    return replace(_sum(name, plan.stages()), beside=tuple(plan.beside()))


class _Plan:
    """Counts what the search of one experiment may want."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.spec, self.ladder, self.target = policy, policy.spec, policy.ladder, policy.target
        self.longest = self.spec.target.budget.max_epochs

    # -- what is asked ------------------------------------------------------------------------------------

    def stages(self) -> Iterator[Branch]:
        spec = self.spec
        if self.ladder is not None:
            yield self._weak_stage("weak stage")
        search, gate = self._searches(), self._gates()
        if search:
            configs, finals = spec.target.gate.configs, spec.target.gate.seeds
            most = max(branch.members for branch in search)
            many = f"{'' if len({branch.members for branch in search}) == 1 else 'up to '}{_many(most, 'config')} each"
            yield _sum(
                "target stage",
                [
                    _sum(f"search, {many}", search),
                    _sum(f"gate, {_many(configs, 'config')} on {_many(finals, 'seed')}", gate),
                ],
            )
        seeds = spec.report.seeds
        claims = [self._of_target(method, method, seeds) for method in spec.target.methods]
        if self.ladder is not None:
            claims.append(self._pipelines())
            claims.append(self._clearing())
        yield _sum(f"report, {seeds} fresh {'pipelines' if self.ladder else 'seeds'}", claims)
        if self.ladder is not None and spec.tradeoff is not None:
            yield self._tradeoff()

    def beside(self) -> Iterator[Branch]:
        """What may come again, and nobody can say how often."""
        spec = self.spec
        if self.ladder is None:
            return
        # The next winner is tuned and reported like the last one; controls may have looked ahead for both.
        given = [method for method in spec.target.methods if spec.target.method(method).needs_embedding]
        again = [*self._searches(given), *self._gates(given), self._of_target("", "transfer", spec.report.seeds)]
        again.append(self._pipelines())
        if self.ladder.weak.cost != "params":
            again.append(self._weak_stage(""))  # a winner caps those after it: without it they are open again
        yield _whole("each winner that its report seeds withdraw", again)
        asked = spec.tradeoff
        if asked is not None and "snapshots" in asked.designs and asked.refine is not None:
            targets = asked.seeds * asked.target_seeds + asked.retune
            runs = [self._of_target("", "transfer", targets), self._links("", targets)]
            yield _whole("each level that refines the trade-off", runs)

    # -- stages -------------------------------------------------------------------------------------------

    def _weak_stage(self, name: str) -> Branch:
        ladder = self.policy.ladder
        assert ladder is not None, "asked only where there is a weak stage"
        weak, judge, configs = ladder.weak, ladder.weak.judge, ladder.total
        per_rung = min(configs, judge.candidates_per_architecture)
        each = [self._weak(a.label, [a], configs) for a in ladder.architectures]
        parts = [
            _sum(f"ladder, {_many(configs, 'config')} each", each),
            self._weak(
                f"gate, {_many(weak.gate.seeds, 'seed')} for what clears",
                ladder.architectures,
                configs * weak.gate.seeds,
            ),
        ]
        if self.spec.judged:
            seeds = 1 + weak.gate.seeds
            later = min(seeds, 1 + judge.weak_seeds) if ladder.has_later else 0
            candidates = per_rung * len(ladder.architectures)
            probes = candidates * (2 if later else 1) * judge.configs * min(judge.weak_seeds, seeds)
            judged = [
                self._weak("trained on, for a later snapshot", ladder.architectures, per_rung * later),
                self._of_target(
                    f"probes, {_many(judge.configs, 'config')} on {_many(judge.weak_seeds, 'weak seed')}",
                    "transfer",
                    probes,
                ),
                self._links("growth chains", candidates * (seeds + later)),
            ]
            parts.append(
                _sum(f"judge, up to {_many(per_rung, 'candidate')} each", [part for part in judged if part.members])
            )
        else:
            parts.append(Branch("no judge"))
        return _sum(name, parts)

    def _pipelines(self) -> Branch:
        """The weak models of a report. Which it will be nobody knows: the dearest of the ladder."""
        assert self.ladder is not None, "asked only where there is a weak stage"
        report = self.spec.report
        dearest = max(self.ladder.architectures, key=lambda a: a.flops_per_epoch)
        tries = self._weak("", [dearest], report.seeds * report.weak_tries)
        return _whole(f"weak models, up to {_tries(report.weak_tries)} each", [tries, self._links("", report.seeds)])

    def _clearing(self) -> Branch:
        """Candidates on fresh seeds, until one clears there."""
        assert self.ladder is not None, "asked only where there is a weak stage"
        runs = self.ladder.total * self.spec.report.seeds
        return self._weak("candidates, until one clears", self.ladder.architectures, runs)

    def _tradeoff(self) -> Branch:
        asked, ladder = self.spec.tradeoff, self.ladder
        assert asked is not None and ladder is not None, "asked only where there is a study"
        along = "snapshots" in asked.designs
        starts = asked.seeds * len(asked.weak_accuracy) if along else 0
        starts += asked.seeds * len(asked.doses) if "dose" in asked.designs else 0
        ends = asked.endpoints.architectures * asked.endpoints.weight_decays if "endpoints" in asked.designs else 0
        retuned = asked.retune * len(asked.weak_accuracy) if along else 0
        shuffled = asked.seeds if along and SHUFFLED in self.spec.target.methods else 0
        dearest = max(ladder.architectures, key=lambda a: a.flops_per_epoch)
        parts = [
            self._weak("weak models", [dearest], asked.seeds + bool(asked.retune) + ends),
            self._of_target("transfer", "transfer", (starts + ends) * asked.target_seeds + retuned),
            self._of_target("scratch", "scratch", asked.seeds * asked.target_seeds),
            *([self._of_target(SHUFFLED, SHUFFLED, shuffled * asked.target_seeds)] if shuffled else []),
            self._links("growth chains", starts + ends + shuffled + retuned),
        ]
        return _sum("trade-off", [part for part in parts if part.members])

    def _searches(self, methods: Iterable[str] | None = None) -> list[Branch]:
        """The search of each method; empty where none has anything to choose."""
        named = self.spec.target.methods if methods is None else methods
        return [self._of_target(m, m, self._configs(m)) for m in named if self._configs(m) > 1]

    def _gates(self, methods: Iterable[str] | None = None) -> list[Branch]:
        named, gate = self.spec.target.methods if methods is None else methods, self.spec.target.gate
        counts = {m: min(gate.configs, self._configs(m)) * gate.seeds for m in named if self._configs(m) > 1}
        return [self._of_target(method, method, count) for method, count in counts.items()]

    # -- what is trained ----------------------------------------------------------------------------------

    def _configs(self, method: str) -> int:
        return proposals.budget(self.spec.method_space(method), self.spec.target.search, self.target.configs())

    def _weak(self, name: str, architectures: Sequence[Architecture], each: int) -> Branch:
        assert self.ladder is not None, "asked only where there is a weak stage"
        epochs = self.ladder.weak.budget.max_epochs
        return _whole(name, [self._trained(a, each, epochs) for a in architectures])

    def _of_target(self, name: str, method: str, members: int) -> Branch:
        """Targets that start by a method, at the dearest width of embedding they may be given."""
        options = self.spec.target.method(method)
        priced = self._dearest(self.target.architecture, options.model_dump(mode="json"), options.needs_embedding)
        return _whole(name, [self._trained(priced, members, self.longest)])

    def _links(self, name: str, chains: int) -> Branch:
        """Growth chains, each of all of its links; nothing where there is no growth."""
        growth = self.spec.growth
        links = zip(growth.chain, self.target.links, strict=True) if growth else ()
        start = self.target.link_method
        runs = [self._trained(self._dearest(one, start, True), chains, link.max_epochs) for link, one in links]
        return _whole(name, runs)

    def _dearest(self, architecture: Architecture, method: dict[str, Any], given: bool) -> Architecture:
        """The architecture at what an epoch costs at most when it starts by a method."""
        ladder = self.ladder.architectures if self.ladder else ()
        widths = {a.sizes.d_embed for a in (*ladder, *self.target.links)} if given else {None}
        costs = [self.target.price(architecture, method, width) for width in widths]
        most = max(max(cost.flops_per_epoch, cost.merged_flops_per_epoch or 0) for cost in costs)
        return replace(architecture, flops_per_epoch=most)

    def _trained(self, architecture: Architecture, members: int, epochs: int) -> Branch:
        seconds = members * self.policy.estimate_epochs_seconds(architecture, epochs)
        return Branch(architecture.label, members, float(members) * epochs * architecture.flops_per_epoch, seconds)


def _whole(name: str, parts: Sequence[Branch]) -> Branch:
    """The parts as one branch without any."""
    return replace(_sum(name, parts), branches=())


def _sum(name: str, parts: Iterator[Branch] | Sequence[Branch]) -> Branch:
    parts = tuple(parts)
    members = sum(part.members for part in parts)
    return Branch(name, members, sum(part.flops for part in parts), sum(part.seconds for part in parts), parts)


def _rows(branches: Sequence[Branch], depth: int = 0) -> Iterator[tuple[int, Branch]]:
    """Every branch with how deep it lies; of many the first, the last, and how many lie between."""
    shown = branches
    if len(branches) > SHOWN:
        between = _whole(f"... {len(branches) - SHOWN + 1} between", branches[SHOWN - 2 : -1])
        shown = (*branches[: SHOWN - 2], between, branches[-1])
    for branch in shown:
        yield depth, branch
        if not branch.name.startswith("variation "):
            yield from _rows(branch.branches, depth + 1)


def _amounts(branch: Branch) -> list[str]:
    if not branch.members:
        return ["", "", ""]
    return [f"{branch.members:,}", f"{branch.flops:.1e}".replace("e+", "e"), duration(branch.seconds)]


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
