"""How many of the judge's probes an order of equal-cost candidates (`weak.order_by`) would have saved in recorded runs.

Nothing is trained: the search of each run is told what the run recorded (members.log), once for every score, and counts
the probes up to the first candidate that passes (all, where none does): what fresh seeds then say of a winner was
recorded for one order alone. Where a score would have put somebody before the judge whom nobody judged, what would have
come of it is not known, and no number is given.

    python benchmarks/order.py RUN [RUN ...]

`at best` is the order of one who knew: in each architecture the candidate that passed goes first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtsearch import plans
from gtsearch.catalog import SCORES
from gtsearch.results import LOG, SPEC, read_log
from gtsearch.search.board import Member
from gtsearch.search.policy import Policy
from gtsearch.spec import Spec, load_spec

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """What the judge took: its members (probes of the target, and later snapshots), their FLOPs, and how many
    candidates it saw; None where the recorded rows do not tell."""

    members: int
    flops: float
    candidates: int


def replayed(spec: Spec, rows: Sequence[Row], order_by: str | None) -> tuple[Policy, Judged | None]:
    """The search of `spec` with another order, told these rows up to the first winner, and what its judge took."""
    assert spec.weak is not None
    weak = spec.weak.model_copy(update={"order_by": order_by})
    policy = plans.policy_for(spec.model_copy(update={"weak": weak}), 1)
    # Without its report a winner is waited for, and nobody comes before the judge after it.
    policy.tell(row for row in rows if row["role"] != "report" or row["method"] == "scratch")
    policy.ask()
    wanted = [member for _, member in policy.board.wanted.values()]
    if any(_is_probe(member) for member in wanted) or _is_of_another_search(policy, wanted):
        return policy, None
    return policy, _judged(policy, [member for member in policy.board.counted.values() if _is_probe(member)])


def at_best(policy: Policy, taken: Judged) -> Judged:
    """The same without the candidates that failed in an architecture where one passed."""
    assert policy.ladder is not None
    in_vain = [
        attempt.candidate
        for rung in policy.ladder.rungs.values()
        if any(attempt.passes for attempt in rung.attempts)
        for attempt in rung.attempts
        if not attempt.passes
    ]
    of_them = {embedding.run_id for candidate in in_vain for embedding in candidate.embeddings}
    probes = [m for m in policy.board.counted.values() if _is_probe(m)]
    spared = _judged(
        policy, [m for m in probes if m.run_id in of_them or (m.embedding and m.embedding.run_id in of_them)]
    )
    return Judged(taken.members - spared.members, taken.flops - spared.flops, taken.candidates - len(in_vain))


def _is_of_another_search(policy: Policy, wanted: Sequence[Member]) -> bool:
    """Whether what was recorded is not what this search trains, as after a change of gtsearch: then it still wants what
    comes before any judge. Behind a winner it looks ahead, further than a run with other workers did."""
    assert policy.ladder is not None
    won = any(attempt.passes for rung in policy.ladder.rungs.values() for attempt in rung.attempts)
    return any(member.method == "scratch" or (member.stage == "weak" and not won) for member in wanted)


def _is_probe(member: Member) -> bool:
    return member.role == "probe"


def _judged(policy: Policy, probes: Sequence[Member]) -> Judged:
    assert policy.ladder is not None
    attempts = sum(len(rung.attempts) for rung in policy.ladder.rungs.values())
    return Judged(len(probes), sum(float(policy.board.rows[m.run_id]["train_flops"]) for m in probes), attempts)


def _line(name: str, found: Judged | None, plain: Judged) -> str:
    if found is None:
        return f"  {name:<18} not known: it would have put others before the judge"
    saved = plain.members - found.members
    share = 100 * (1 - found.flops / plain.flops) if plain.flops else 0.0
    return f"  {name:<18} {found.members:>4} members, {saved:>+4} saved ({share:+.0f} % of their FLOPs)"


def compare(folder: Path) -> list[str]:
    """What each order took in one run, a line each."""
    spec = load_spec(str(folder / SPEC))
    if not spec.judged:
        return [f"{folder}: no judge, so nothing to order"]
    rows, _ = read_log(folder / LOG)
    policy, plain = replayed(spec, rows, None)
    if plain is None:
        return [f"{folder}: its own search with no order is not in its log (was it run by another version?)"]
    lines = [f"{folder}: {plain.candidates} candidates before the judge, {plain.members} members"]
    lines.append(_line("at best", at_best(policy, plain), plain))
    return lines + [_line(name, replayed(spec, rows, name)[1], plain) for name in SCORES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    for folder in parser.parse_args().runs:
        print("\n".join(compare(folder)))


if __name__ == "__main__":
    main()
