"""Weak accuracy against target time: one weak config, fresh seeds, snapshots at levels of accuracy, a target each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gtsearch.identity import derive_seed
from gtsearch.search.board import PENDING, Board, Pending, Phase, Row, embedding_of
from gtsearch.search.target import Reference, Target, Tuned
from gtsearch.search.weak import Candidate, Ladder
from gtsearch.spec import Spec


@dataclass(frozen=True, eq=False)
class Point:
    """One weak seed at one level: the target's row, or None where the level was never reached."""

    level: float
    weak_row: Row
    row: Row | None


def study(
    spec: Spec, board: Board, ladder: Ladder, target: Target, chosen: Candidate, tuned: Tuned, reference: Reference
) -> list[Point] | Pending:
    """All points of the trade-off, seed by seed and level by level.

    A weak run that passes two levels between the same two evaluations gives one embedding and so one target run,
    which stands for both.
    """
    assert spec.tradeoff is not None
    levels = tuple(spec.tradeoff.weak_accuracy)
    points: list[Point | Pending] = []
    for i in range(spec.tradeoff.seeds):
        member = ladder.member(
            chosen.architecture,
            chosen.hyperparameters,
            "tradeoff",
            derive_seed(spec.seed, "tradeoff", "weak", i),
            purpose="tradeoff",
        )
        free = replace(member, keep=levels, training=replace(member.training, goal=None))
        weak = board.get(free, Phase.TRADEOFF)
        if weak is PENDING:
            points.append(PENDING)
        else:
            points += [_point(spec, board, target, tuned, reference, i, weak, level, levels) for level in levels]
    known = [point for point in points if point is not PENDING]
    return known if len(known) == len(points) else PENDING


def _point(
    spec: Spec,
    board: Board,
    target: Target,
    tuned: Tuned,
    reference: Reference,
    i: int,
    weak: Row,
    level: float,
    levels: Sequence[float],
) -> Point | Pending:
    embedding = embedding_of(weak, level)
    if embedding is None:
        return Point(level, weak, None)
    same = [other for other in levels if (e := embedding_of(weak, other)) and e.epoch == embedding.epoch]
    first = embedding_of(weak, max(same))  # levels crossed at once share the highest one's run
    assert first is not None, "one of `same` is the level itself"
    grown = target.handed(first, weak["seed"], "tradeoff", Phase.TRADEOFF, weak["split_seed"])
    if grown is PENDING:
        return PENDING
    if grown[0] is None:
        return Point(level, weak, None)
    row = board.get(
        target.member(
            "transfer",
            tuned.config,
            "tradeoff",
            derive_seed(spec.seed, "tradeoff", "target", i),
            grown[0],
            "tradeoff",
            target.break_even(reference, "transfer", grown[0].d_embed),
            level=max(same),
        ),
        Phase.TRADEOFF,
    )
    return PENDING if row is PENDING else Point(level, weak, row)
