"""Weak accuracy against what the target then costs, beside scratch on the same splits.

A replicate is a split of its own, a weak seed on it, targets from what that seed handed over, and targets from scratch.
Three designs move the accuracy: snapshots along one training, endpoints of many architectures and weight decays, and
doses of noise in a finished embedding. Every target may run as long as scratch was seen to need (`Study.horizon`), so
that one that did not get there is censored where scratch is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gtsearch.analysis import pipelines
from gtsearch.analysis.payoff import Paying
from gtsearch.identity import canonical, derive_seed
from gtsearch.search.board import (
    PENDING,
    Architecture,
    Board,
    Embedding,
    Hyperparameters,
    Member,
    Pending,
    Phase,
    Row,
    cleared,
    embedding_of,
    objective,
)
from gtsearch.search.target import Reference, Target, Tuned
from gtsearch.search.weak import Candidate, Ladder
from gtsearch.spec import Spec

SHUFFLED = "transfer_shuffled"
_HORIZON = "scratch's horizon"


@dataclass(frozen=True, eq=False)
class Start:
    """What a target of the study starts from, and what its embedding stands for."""

    design: str
    replicate: int
    weak_row: Row
    embedding: Embedding | None
    method: str = "transfer"
    level: float | None = None
    refined: bool | None = None
    dose: float | None = None


@dataclass(frozen=True, eq=False)
class Point:
    """One pipeline: a start and the target from it; `row` is None where there was no embedding to start from.

    `links`: of a growth chain that broke on the way there.
    """

    start: Start
    column: int
    row: Row | None
    links: tuple[Row, ...] = ()


@dataclass(frozen=True, eq=False)
class Study:
    """What was measured.

    Attributes:
        scratch: rows [replicates][target seeds].
        horizon: epochs that every target could take.
    """

    scratch: list[list[Row]]
    horizon: int
    points: list[Point] = field(default_factory=list)


def records(study: Study) -> list[dict[str, Any]]:
    """One record a pipeline, scratch's among them, with the columns of `pipelines.COLUMNS`."""
    of_scratch = [
        _record(row, None) | {"arm": "scratch", "replicate": i, "column": j}
        for i, own in enumerate(study.scratch)
        for j, row in enumerate(own)
    ]
    return of_scratch + [_record_of(point) for point in study.points]


def _record_of(point: Point) -> dict[str, Any]:
    start = point.start
    known = {name: getattr(start, name) for name in ("design", "replicate", "level", "refined", "dose")}
    known |= {"arm": "shuffled" if start.method == SHUFFLED else "transfer", "column": point.column}
    known |= {"weak_run_id": start.weak_row["run_id"], "architecture": start.weak_row["architecture"]}
    if point.row is not None and start.embedding is not None:
        known["weak_accuracy"] = start.embedding.accuracy  # of the weak model, not of what a growth chain made of it
    record = _record(point.row, start.weak_row) | known
    if point.links and start.embedding is not None:
        spent = {"epochs": start.embedding.epoch, "flops": start.embedding.flops, "seconds": start.embedding.seconds}
        for unit, column in pipelines.UNITS.items():
            weak = float(spent[unit] + sum(link[column] for link in point.links))
            record |= {f"weak_{unit}": weak, f"total_{unit}": weak}
    return record


def _record(row: Row | None, weak_row: Row | None) -> dict[str, Any]:
    """What a pipeline spent: the target's share to its goal where it got there, else all it trained; without a target,
    all that the weak run trained."""
    reached = row is not None and cleared(row)
    record: dict[str, Any] = {
        "run_id": row["run_id"] if row else None,
        "status": row["status"] if row else "unreached",
        "reached": reached,
        "weak_accuracy": row.get("weak_accuracy") if row else None,
    }
    for unit, spent in pipelines.UNITS.items():
        weak = 0.0
        if weak_row is not None:
            weak = float(weak_row[spent] if row is None else row[f"weak_{'epoch' if unit == 'epochs' else unit}"])
        target = float(row[f"{unit}_to_goal" if reached else spent] or 0.0) if row else None
        record |= {f"weak_{unit}": weak, f"target_{unit}": target, f"total_{unit}": weak + (target or 0.0)}
    return record


class Tradeoff:
    """The study of one experiment."""

    def __init__(self, spec: Spec, board: Board, ladder: Ladder, target: Target) -> None:
        assert spec.tradeoff is not None, "asked only where there is a study"
        self.spec, self.asked, self.board, self.ladder, self.target = spec, spec.tradeoff, board, ladder, target
        self.levels = list(dict.fromkeys(round(level, 6) for level in spec.tradeoff.weak_accuracy))
        self._decided: dict[str, Paying] = {}

    def study(self, chosen: Candidate, tuned: Tuned, reference: Reference, shuffled: Tuned | None) -> Study | Pending:
        """All of it, or PENDING after noting what is wanted.

        Args:
            chosen: whose config the weak models are trained with.
            tuned: transfer's, whose config the targets get.
            reference: scratch's tuning, and how long its report seeds took.
            shuffled: of the control with shuffled rows, where it is among the methods.
        """
        key = ("study", chosen.basis, canonical(dict(tuned.config)), shuffled and canonical(dict(shuffled.config)))
        return self.board.once(key, lambda: self._study(chosen, tuned, reference, shuffled))

    def _study(self, chosen: Candidate, tuned: Tuned, reference: Reference, shuffled: Tuned | None) -> Study | Pending:
        designs = self.asked.designs
        scratch, weak, ends = self._scratch(reference), self._weak_rows(chosen), self._ends(chosen)
        tuner = self._free(chosen, "retune", 0, self.spec.task.seed) if self.asked.retune else None
        tuner_row = self.board.get(tuner, Phase.TRADEOFF) if tuner else None
        if scratch is PENDING or weak is PENDING or ends is PENDING or tuner_row is PENDING:
            return PENDING
        study = Study(scratch, self._horizon([*reference.rows, *(row for own in scratch for row in own)]))
        # The levels that look for the jump come one after another: they begin first, and the rest fills what is idle.
        # The control, which may take as long as it can, must not be what all wait for at the end.
        along = "snapshots" in designs
        jump = self._snapshots(study, weak, tuned.config, tuner_row) if along else []
        control = self._points(study, self._shuffled(weak), shuffled.config) if along and shuffled else []
        doses = self._points(study, self._doses(weak), tuned.config) if "dose" in designs else []
        answers = [doses, self._points(study, ends, tuned.config), control, jump]
        whole = [answer for answer in answers if answer is not PENDING]
        study.points.extend(point for answer in whole for point in answer)
        return study if len(whole) == len(answers) else PENDING

    # -- what all designs share ---------------------------------------------------------------------------

    def _split(self, replicate: int) -> int:
        return derive_seed(self.spec.seed, "tradeoff", "split", replicate)

    def _target_seed(self, replicate: int, column: int) -> int:
        """Several are crossed with the replicates; a single one is each replicate's own, so that no chance is common to
        all."""
        which = column if self.asked.target_seeds > 1 else replicate
        return derive_seed(self.spec.seed, "tradeoff", "target", which)

    def _target(
        self,
        method: str,
        config: Hyperparameters,
        replicate: int,
        column: int,
        source: Embedding | None,
        horizon: int | None,
    ) -> Member:
        return self.target.member(
            method,
            config,
            "tradeoff",
            self._target_seed(replicate, column),
            source,
            "tradeoff",
            None if horizon is None else (horizon, _HORIZON),
            split_seed=self._split(replicate),
        )

    def _scratch(self, reference: Reference) -> list[list[Row]] | Pending:
        """Targets from scratch on this study's own splits and seeds: those by which scratch was chosen choose nothing
        here."""
        members = [
            self._target("scratch", reference.tuned.config, i, j, None, None)
            for i in range(self.asked.seeds)
            for j in range(self.asked.target_seeds)
        ]
        rows = self.board.get_all(members, Phase.TRADEOFF)
        if rows is PENDING:
            return PENDING
        width = self.asked.target_seeds
        return [rows[i * width : (i + 1) * width] for i in range(self.asked.seeds)]

    def _horizon(self, rows: Sequence[Row]) -> int:
        goal = self.spec.target.goal
        longest = max(int(row["epochs_to_goal"] if cleared(row) else row["epochs"] or 0) for row in rows)
        longest = max(longest, goal.evaluate_every) + (goal.hold - 1) * goal.evaluate_every
        return min(self.spec.target.budget.max_epochs, longest)

    def _free(self, chosen: Candidate, name: str, replicate: int, split_seed: int) -> Member:
        """The chosen config without a goal, its embedding kept level by level."""
        seed = derive_seed(self.spec.seed, "tradeoff", name, replicate)
        member = self._weak_member(chosen.architecture, chosen.hyperparameters, seed, split_seed)
        return replace(member, keep=self.asked.kept_levels)

    def _weak_member(self, architecture: Architecture, config: Hyperparameters, seed: int, split_seed: int) -> Member:
        member = self.ladder.member(architecture, config, "tradeoff", seed, split_seed, purpose="tradeoff")
        return replace(member, training=replace(member.training, goal=None))

    def _weak_rows(self, chosen: Candidate) -> list[Row] | Pending:
        """The chosen config on every replicate; snapshots and doses are of the same runs."""
        if self.asked.designs == ["endpoints"]:
            return []
        doses = tuple(self.asked.doses) if "dose" in self.asked.designs else ()
        members = [replace(self._free(chosen, "weak", i, self._split(i)), doses=doses) for i in range(self.asked.seeds)]
        return self.board.get_all(members, Phase.TRADEOFF)

    def _points(self, study: Study, starts: Sequence[Start], config: Hyperparameters) -> list[Point] | Pending:
        """A target for every start and target seed."""
        points = [
            self.board.once(self._key(study, start, j, config), partial(self._point, study, start, j, config))
            for start in starts
            for j in range(self.asked.target_seeds)
        ]
        known = [point for point in points if point is not PENDING]
        return known if len(known) == len(points) else PENDING

    @staticmethod
    def _key(study: Study, start: Start, column: int, config: Hyperparameters) -> Hashable:
        """All that a point depends on beside the rows."""
        sha256 = start.embedding.sha256 if start.embedding else None
        kind = (start.design, start.method, start.level, start.refined, start.dose, start.replicate, column)
        return "point", kind, start.weak_row["run_id"], sha256, study.horizon, canonical(dict(config))

    def _point(self, study: Study, start: Start, column: int, config: Hyperparameters) -> Point | Pending:
        if start.embedding is None:
            return Point(start, column, None)
        weak = start.weak_row
        grown = self.target.handed(start.embedding, weak["seed"], "tradeoff", Phase.TRADEOFF, weak["split_seed"])
        if grown is PENDING:
            return PENDING
        if grown[0] is None:
            return Point(start, column, None, tuple(grown[1]))
        member = self._target(start.method, config, start.replicate, column, grown[0], study.horizon)
        labelled = replace(member, design=start.design, level=start.level, refined=start.refined, dose=start.dose)
        row = self.board.get(labelled, Phase.TRADEOFF)
        return PENDING if row is PENDING else Point(start, column, row)

    # -- snapshots ----------------------------------------------------------------------------------------

    def _snapshots(
        self, study: Study, weak: Sequence[Row], config: Hyperparameters, tuner: Row | None
    ) -> list[Point] | Pending:
        """The levels asked for, then those between which the jump turns out to lie, one after another."""
        asked = list(self.levels)
        points: dict[float, list[Point]] = {}
        while True:
            answers = {level: self._level(study, weak, level, config, tuner) for level in asked if level not in points}
            points |= {level: answer for level, answer in answers.items() if answer is not PENDING}
            if len(points) < len(asked):
                return PENDING
            flat = [point for level in asked for point in points[level]]
            further = self._refined(replace(study, points=flat), weak, asked)
            if further is None:
                return flat
            asked.append(further)

    def _level(
        self, study: Study, weak: Sequence[Row], level: float, config: Hyperparameters, tuner: Row | None
    ) -> list[Point] | Pending:
        refined = level not in self.levels
        starts = [
            Start("snapshots", i, row, embedding_of(row, level), level=level, refined=refined)
            for i, row in enumerate(weak)
        ]
        if tuner is not None:
            answer = self._retuned(study, tuner, level, refined, config)
            if answer is PENDING:
                return PENDING
            config = answer
        return self._points(study, starts, config)

    def _retuned(
        self, study: Study, tuner: Row, level: float, refined: bool, config: Hyperparameters
    ) -> Hyperparameters | Pending:
        """The best of a few configs at this level, by a weak seed that nothing is claimed of."""
        embedding = embedding_of(tuner, level)
        if embedding is None:
            return config
        grown = self.target.handed(embedding, tuner["seed"], "tradeoff", Phase.TRADEOFF, tuner["split_seed"])
        if grown is PENDING:
            return PENDING
        if grown[0] is None:
            return config
        seed = derive_seed(self.spec.seed, "tradeoff", "retune", "target")
        members = [
            self.target.member("transfer", tried, "probe", seed, grown[0], "tradeoff", (study.horizon, _HORIZON))
            for tried in self.target.first_configs("transfer", self.asked.retune, also=config)
        ]
        labelled = [replace(member, design="snapshots", level=level, refined=refined) for member in members]
        rows = self.board.get_all(labelled, Phase.TRADEOFF)
        if rows is PENDING:
            return PENDING
        best = min(rows, key=lambda row: (objective(row), row["run_id"]))
        return best["hyperparameters"] if cleared(best) else config

    def _refined(self, study: Study, weak: Sequence[Row], asked: Sequence[float]) -> float | None:
        """The next level to ask for; None where the jump is known well enough, there is none, or no weak model was
        seen in between."""
        if self.asked.refine is None:
            return None
        measured = {level: self._measured(weak, level) for level in self.asked.kept_levels}
        known = sorted({at for level in asked if (at := measured.get(level)) is not None})
        for edge in self._jumps(study):
            below = max((at for at in known if at < edge), default=None)
            if below is None or edge - below <= self.asked.refine:
                continue
            between = {level: at for level, at in measured.items() if at is not None and below < at < edge}
            middle = (below + edge) / 2
            if between:
                return min(between, key=lambda level: (abs(between[level] - middle), level))
        return None

    def _jumps(self, study: Study) -> list[float]:
        """The accuracies from which on transfer was seen to pay, and from which on that is sure."""
        key = canonical([[p.row["run_id"] if p.row else None, p.start.level, p.start.replicate] for p in study.points])
        if key not in self._decided:
            frame = pipelines.frame(records(study))
            self._decided[key] = pipelines.decide(frame, "snapshots", "flops")[1]
        decided = self._decided[key]
        return [edge for edge in (decided.crossing, decided.threshold) if edge is not None]

    def _measured(self, weak: Sequence[Row], level: float) -> float | None:
        """The median accuracy of the weak models that came to a level, as measured."""
        known = [embedding.accuracy for row in weak if (embedding := embedding_of(row, level)) is not None]
        return statistics.median(known) if known else None

    def _shuffled(self, weak: Sequence[Row]) -> list[Start]:
        """The control: the best embedding of every replicate with its rows shuffled."""
        top = self.levels[-1]
        return [
            Start("snapshots", i, row, embedding_of(row, top), method=SHUFFLED, level=top, refined=False)
            for i, row in enumerate(weak)
        ]

    # -- doses and endpoints ------------------------------------------------------------------------------

    def _doses(self, weak: Sequence[Row]) -> list[Start]:
        return [
            Start("dose", i, row, embedding_of(row, dose=dose), dose=dose)
            for dose in self.asked.doses
            for i, row in enumerate(weak)
        ]

    def _ends(self, chosen: Candidate) -> list[Start] | Pending:
        """Many architectures and weight decays, each trained to its end once."""
        if "endpoints" not in self.asked.designs:
            return []
        members, replicates = [], []
        for number, (architecture, weight_decay) in enumerate(self._shapes()):
            config = {**chosen.hyperparameters, "weight_decay": weight_decay}
            seed = derive_seed(self.spec.seed, "tradeoff", "endpoint", number)
            # One further after every whole round, so that no weight decay stays on the same few splits.
            around = math.lcm(self.asked.endpoints.weight_decays, self.asked.seeds)
            replicates.append((number + number // around) % self.asked.seeds)
            member = self._weak_member(architecture, config, seed, self._split(replicates[-1]))
            members.append(replace(member, keep=member.training.max_epochs, design="endpoints"))
        rows = self.board.get_all(members, Phase.TRADEOFF)
        if rows is PENDING:
            return PENDING
        return [Start("endpoints", i, row, embedding_of(row)) for i, row in zip(replicates, rows, strict=True)]

    def _shapes(self) -> list[tuple[Architecture, float]]:
        asked, every = self.asked.endpoints, self.ladder.architectures
        architectures = {every[round(i)].label: every[round(i)] for i in _spread(asked.architectures, len(every) - 1)}
        domain = self.ladder.space["weight_decay"]
        decays = dict.fromkeys(domain.from_unit(u) for u in _spread(asked.weight_decays, 1))
        return [(architecture, decay) for architecture in architectures.values() for decay in decays]


def _spread(n: int, last: int) -> list[float]:
    """`n` numbers from 0 to `last`, evenly apart; the middle for one."""
    return [last * i / (n - 1) for i in range(n)] if n > 1 else [last / 2]
