"""The nested search as one policy: whoever has a free worker asks, whoever has rows tells.

`ask() -> Job | WAIT | DONE`, `tell(rows)`, `should_stop(job)`. The state is a function of the spec, the set of rows
and the jobs out; nothing else. The order, as a person would tell it: scratch is tuned and confirmed; weak
architectures are tried from the cheapest on; candidates go before the judge; the first that pays gets the full
search and the report; controls beside it; then the trade-off. Idle workers look ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from gtsearch.cost import Cost
from gtsearch.identity import digest
from gtsearch.models.base import Sizes
from gtsearch.search.board import PENDING, Architecture, Board, Member, Pending, Phase, Row, Training, cleared
from gtsearch.search.target import Confirmation, Price, Reference, Target, Tuned, plain_price
from gtsearch.search.tradeoff import SHUFFLED, Study, Tradeoff
from gtsearch.search.weak import Attempt, Candidate, Judge, Ladder
from gtsearch.spec import Spec

Compared = tuple[Tuned, list[Row | None]]
"""What a method beside transfer and scratch did: its search, and its report rows."""
JOB_SECONDS = 5.0  # how much work one job should carry on a CPU: large beside the cost of a trial, small to a person


class Answer(Enum):
    """What `ask` says when there is no job."""

    WAIT = "wait"
    DONE = "done"


WAIT: Final = Answer.WAIT
DONE: Final = Answer.DONE


@dataclass(frozen=True, eq=False)
class Job:
    """Members one worker trains: same stage, architecture, method and goal. `phase` says why now.

    `variation`: for which one of an experiment's variations; None where there is one experiment only.
    """

    members: tuple[Member, ...]
    phase: Phase
    cost: Cost  # of one member; torch's counter takes seconds to load, so workers are told
    sizes: Sizes
    variation: str | None = None

    @property
    def id(self) -> str:
        return digest([member.run_id for member in self.members], 12)

    @property
    def stage(self) -> str:
        return self.members[0].stage

    @property
    def architecture(self) -> Architecture:
        return self.members[0].architecture

    @property
    def training(self) -> Training:
        return self.members[0].training

    def to_json(self) -> dict[str, Any]:
        """The job as a worker gets it (`gtsearch.trainables`): plain JSON values."""
        architecture = self.architecture
        training = {name: value for name, value in self.training.identity.items() if name != "max_epochs"}
        return training | {
            "id": self.id,
            "stage": self.stage,
            "variation": self.variation,
            "task": dict(self.members[0].task),
            "model": self.sizes.model_dump(),
            "architecture": architecture.label,
            "params": self.cost.params,
            "flops_per_epoch": self.cost.flops_per_epoch,
            "merged_flops_per_epoch": self.cost.merged_flops_per_epoch,
            "members": [member.to_json() for member in self.members],
        }


@dataclass
class Findings:
    """What the search knows at this moment; the certificate is made of it. None: not known, or there is none.

    Attributes:
        reference: scratch, tuned and confirmed.
        pays: the confirmed winner of the judge (judge none: of the gate).
        clears, clears_rows: the cheapest candidate that clears on report seeds, and its report rows.
        confirmations: every candidate that came to the report, the withdrawn ones first.
        chosen: whose embedding the controls and the trade-off got.
        controls: method -> its search and its report rows.
        study: the trade-off.
        complete: whether nothing is open any more.
    """

    reference: Reference | None = None
    pays: Confirmation | None = None
    clears: Candidate | None = None
    clears_rows: tuple[Row, ...] = ()
    clears_withdrawn: int = 0
    confirmations: list[Confirmation] = field(default_factory=list)
    chosen: Confirmation | None = None
    controls: dict[str, Compared] = field(default_factory=dict)
    study: Study | None = None
    complete: bool = False


class Policy:
    """The search of one experiment.

    Args:
        spec: the experiment.
        architectures: the weak ones, in any order.
        target: the target's architecture.
        workers: how many may ask at once; it shapes jobs, never what is found.
        job_members: members a job may carry at most (a stack on a GPU); None: as many as fit JOB_SECONDS.
        links: the architectures of a growth chain between the weak model and the target, in order.
        price: what an epoch of a method's start costs; default: what one of the plain architecture does.
        variation: what this experiment is called among the variations of a file; None where there is one.
    """

    def __init__(
        self,
        spec: Spec,
        architectures: Sequence[Architecture],
        target: Architecture,
        workers: int = 1,
        job_members: int | None = None,
        links: Sequence[Architecture] = (),
        variation: str | None = None,
        price: Price = plain_price,
    ) -> None:
        self.spec, self.workers, self.job_members, self.variation = spec, workers, job_members, variation
        self.board = Board()
        self.ladder: Ladder | None = None
        if spec.weak is not None:
            order = ranked(architectures, spec.weak.cost)
            self.ladder = Ladder(spec, spec.weak, self.board, order, workers * (job_members or 1))
        self.target = Target(spec, self.board, target, self.ladder, links, price)
        self.tradeoff = Tradeoff(spec, self.board, self.ladder, self.target) if self.ladder and spec.tradeoff else None
        self.out: dict[str, Job] = {}
        self.findings = Findings()
        self._stale = True
        self._rates: dict[str, tuple[int, int]] = {}  # architecture -> nanoseconds, epochs
        self._cleared: set[str] = set()  # weak configs that cleared their search seed

    # -- the three questions ------------------------------------------------------------------------------

    def ask(self, elsewhere: Collection[str] = (), ahead: bool = True) -> Job | Answer:
        """The next job for a free worker; WAIT when only rows can bring more; DONE when nothing is open.

        Args:
            elsewhere: run ids that are trained for another variation.
            ahead: whether the job may be one that looks ahead.
        """
        self._plan()
        if self.findings.complete:
            return DONE
        busy = {member.run_id for job in self.out.values() for member in job.members} | set(elsewhere)
        open_members = self._open(busy)
        looking = sum(job.phase is Phase.AHEAD for job in self.out.values())
        if open_members and (open_members[0][0] is not Phase.AHEAD or (ahead and looking < self.workers)):
            job = self._pack(open_members, busy)
            self.out[job.id] = job
            return job
        return WAIT

    def tell(self, rows: Iterable[Row]) -> None:
        """Takes in finished members: in any order, repeated, or of jobs it never asked for."""
        for row in self.board.put(rows):
            self._stale = True
            nanoseconds, epochs = self._rates.get(row["architecture"], (0, 0))
            # Whole numbers, so that the order in which rows come in leaves no trace.
            spent = round(1e9 * (float(row["train_seconds"] or 0.0) + float(row["eval_seconds"] or 0.0)))
            self._rates[row["architecture"]] = nanoseconds + spent, epochs + int(row["epochs"] or 0)
            if (row["stage"], row["role"]) == ("weak", "search") and cleared(row):
                self._cleared.add(row["config_id"])

    def ended(self, job_id: str) -> list[Member]:
        """A job is over, however it ended: the members it has not reported (they are open again)."""
        job = self.out.pop(job_id, None)
        return [m for m in job.members if m.run_id not in self.board.rows] if job else []

    def should_stop(self, job: Job) -> bool:
        """Whether this search waits for none of the job's unreported members any more."""
        self._plan()
        return not any(map(self._is_awaited, job.members))

    # -- jobs ---------------------------------------------------------------------------------------------

    def _open(self, busy: Collection[str]) -> list[tuple[Phase, Member]]:
        """Wanted members nobody is training, most urgent first, in the order the plan named them."""
        entries = [entry for run_id, entry in self.board.wanted.items() if run_id not in busy]
        return sorted(entries, key=lambda entry: entry[0])

    def _pack(self, open_members: Sequence[tuple[Phase, Member]], busy: Collection[str]) -> Job:
        """The most urgent member and others like it: enough for a worker, not so many that others go idle."""
        phase, first = open_members[0]
        if first.attempt > 0:
            return self._job([first], phase)  # it may be what killed its last worker
        kind = _kind(first)
        alike = [m for p, m in open_members if p is phase and m.attempt == 0 and _kind(m) == kind]
        room = math.ceil(len(alike) / self.workers)
        if self.job_members is not None:
            members = alike[: min(room, self.job_members)]
            return self._job(members + self._unearned(members, busy)[: self.job_members - len(members)], phase)
        members, seconds = [first], self.estimate_seconds(first)
        for member in alike[1:room]:
            seconds += self.estimate_seconds(member)
            if seconds > JOB_SECONDS:
                break
            members.append(member)
        return self._job(members, phase)

    def _unearned(self, members: Sequence[Member], busy: Collection[str]) -> list[Member]:
        """What a stack may have room for beside these: gate seeds of the weak configs that are on their search seed.

        They cost a stack next to nothing, and those whose config clears need no job of their own. The others end with
        their job, and count for nothing.
        """
        if self.ladder is None:
            return []
        searched = [member for member in members if (member.stage, member.role) == ("weak", "search")]
        gates = [gate for member in searched for gate in self.ladder.unearned(member)]
        return [gate for gate in gates if gate.run_id not in busy and gate.run_id not in self.board.rows]

    def _is_awaited(self, member: Member) -> bool:
        """Whether somebody waits for the member, or will: a gate seed that is earned before its turn has come."""
        if member.run_id in self.board.rows or member.run_id in self.board.wanted:
            return member.run_id in self.board.wanted
        if self.job_members is None or self.ladder is None or (member.stage, member.role) != ("weak", "gate"):
            return False
        rung = self.ladder.rungs.get(member.architecture.label)
        return rung is not None and rung.tried and not rung.attempts and member.config_id in self._cleared

    def _job(self, members: Sequence[Member], phase: Phase) -> Job:
        first = members[0]
        return Job(tuple(members), phase, self.target.cost(first), self.target.sizes(first), self.variation)

    def job_of(self, run_id: str) -> Job | None:
        """A job of its own for a member whose row counts; None where it counts for nothing."""
        member = self.board.counted.get(run_id)
        return None if member is None else self._job([member], Phase.AHEAD)

    def estimate_seconds(self, member: Member) -> float:
        """A guess at the seconds a member takes to its end, from like ones that ran, else from its FLOPs."""
        return self.estimate_epochs_seconds(member.architecture, member.end)

    def estimate_epochs_seconds(self, architecture: Architecture, epochs: int) -> float:
        """The same for so many epochs of an architecture."""
        nanoseconds, seen = self._rates.get(architecture.label, (0, 0))
        return epochs * (nanoseconds / 1e9 / seen if seen else 2e-3 + architecture.flops_per_epoch / 8e10)

    # -- the plan -----------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Walks the whole story once over the rows that are in; what is missing ends up on the board."""
        if not self._stale:
            return
        self.board.clear()
        if self.ladder:
            self.ladder.rungs.clear()
        found = Findings()
        self._tell_story(found)
        # Only a whole plan replaces the last one: a mistake in it must not deny what was found.
        self.findings, self._stale = found, False

    def _tell_story(self, found: Findings) -> None:
        reference = self.target.reference()
        found.reference = None if reference is PENDING else reference

        def ask_target(candidate: Candidate, incumbent: Attempt | None, phase: Phase) -> Attempt | Pending:
            if found.reference is None:
                return PENDING
            return self.target.probe(candidate, found.reference, incumbent, phase)

        rivals = self._rivals(found)
        if self.ladder is None:
            found.complete = rivals and found.reference is not None
            return
        judge = ask_target if self.spec.judged else None
        settled = self._climb(self.ladder, found, judge)
        if not settled or found.reference is None:
            return
        if not self._certify_clears(self.ladder, found):
            return
        if found.pays is None and found.clears is not None:
            # Nothing pays: the target stage is told with the cheapest that clears, so that a reader sees by how much.
            answer = self.target.confirm(found.clears, found.reference, len(found.confirmations))
            if answer is PENDING:
                return
            found.chosen = answer if answer.pipelines else None
        elif found.pays is not None:
            found.chosen = found.pays
        controls = self._controls(found)
        study = self._study(found)
        found.complete = rivals and controls and study

    def _climb(self, ladder: Ladder, found: Findings, judge: Judge | None) -> bool:
        """Climbs until a winner is confirmed on report seeds or none is left; whether that is settled."""
        withdrawn: list[tuple[str, str]] = []
        while True:
            winner = ladder.walk(judge, withdrawn)
            if winner is None:
                return True
            if winner is PENDING or found.reference is None:
                return False
            answer = self.target.confirm(winner, found.reference, len(withdrawn))
            if answer is PENDING:
                self._look_ahead(winner, found.reference, len(withdrawn))
                return False
            found.confirmations.append(answer)
            holds = answer.pays if judge else _clears_enough(answer, self.spec)
            if holds:
                found.pays = answer
                return True
            withdrawn.append(winner.key)

    def _look_ahead(self, winner: Candidate, reference: Reference, series: int) -> None:
        """While a winner is being confirmed: the controls it will need if it is, and the rest of its report."""
        embeddings = self.target.handed_all(winner, Phase.AHEAD)
        if embeddings is not PENDING:
            for method in self._control_methods(with_embedding=True):
                self.target.tune(method, embeddings, self.target.cap(reference, method, embeddings), Phase.AHEAD)
        self.target.look_ahead(winner, reference, series)

    def _control_methods(self, with_embedding: bool) -> list[str]:
        """The methods beside transfer and scratch that start from a weak model's embedding, or those that do not."""
        others = [method for method in self.spec.target.methods if method not in ("scratch", "transfer")]
        return [m for m in others if self.spec.target.method(m).needs_embedding == with_embedding]

    def _rivals(self, found: Findings) -> bool:
        """The methods that need no weak model: tuned and reported like scratch, whatever the ladder brings."""
        if found.reference is None:
            return False
        return self._compare(found, self._control_methods(with_embedding=False), self.target.rival)

    @staticmethod
    def _compare(found: Findings, methods: Iterable[str], ask: Callable[[str], Compared | Pending]) -> bool:
        """Notes what each method did; whether all are settled. All are asked, so that workers have them all."""
        answers = {method: ask(method) for method in methods}
        found.controls |= {method: answer for method, answer in answers.items() if answer is not PENDING}
        return PENDING not in answers.values()

    def _certify_clears(self, ladder: Ladder, found: Findings) -> bool:
        """The cheapest candidate that clears on fresh seeds, whether it pays or not; whether that is settled.

        Where it is the first winner of the judge, its pipelines' first tries are the very same runs.
        """
        report = self.spec.report
        for candidate in ladder.candidates():
            series = found.clears_withdrawn
            members = [
                self.target.weak_report_member(candidate, series * report.seeds + i, 0) for i in range(report.seeds)
            ]
            rows = self.board.get_all(members, Phase.TARGET)
            if rows is PENDING:
                return False
            if sum(map(cleared, rows)) >= report.at_least:
                found.clears, found.clears_rows = candidate, tuple(rows)
                return True
            found.clears_withdrawn += 1
        return True

    def _controls(self, found: Findings) -> bool:
        chosen, reference = found.chosen, found.reference
        if chosen is None or reference is None:
            return True
        methods = self._control_methods(with_embedding=True)
        return self._compare(found, methods, lambda method: self.target.control(method, chosen, reference))

    def _study(self, found: Findings) -> bool:
        chosen, reference = found.chosen, found.reference
        if self.tradeoff is None or chosen is None or reference is None:
            return True
        shuffled = found.controls.get(SHUFFLED)
        if shuffled is None and SHUFFLED in self.spec.target.methods:
            return False  # its config is not known yet
        answer = self.tradeoff.study(chosen.candidate, chosen.tuned, reference, shuffled[0] if shuffled else None)
        if answer is PENDING:
            return False
        found.study = answer
        return True

    # -- for people ---------------------------------------------------------------------------------------

    def remaining_seconds(self) -> float:
        """Worker-seconds of the members wanted now: what is known to be ahead, not what may follow from it."""
        self._plan()
        return sum(self.estimate_seconds(m) for phase, m in self.board.wanted.values() if phase is not Phase.AHEAD)


def ranked(architectures: Iterable[Architecture], cost: str) -> list[Architecture]:
    """Cheapest first by what is known before training: parameters, or FLOPs an epoch; ties: fewer FLOPs an epoch."""

    def key(architecture: Architecture) -> tuple[int, int, str]:
        first = architecture.params if cost == "params" else architecture.flops_per_epoch
        return first, architecture.flops_per_epoch, architecture.label

    ordered = sorted(architectures, key=key)
    return [Architecture(a.sizes, a.params, a.flops_per_epoch, rank) for rank, a in enumerate(ordered)]


def _kind(member: Member) -> Mapping[str, Any]:
    """Members of one job share this."""
    return {
        "stage": member.stage,
        "task": member.task,
        "architecture": member.architecture.identity,
        "method": member.method,
        "d_weak": member.embedding.d_embed if member.embedding else None,
        "training": member.training.identity,
        "keep": member.keep,
    }


def _clears_enough(confirmation: Confirmation, spec: Spec) -> bool:
    first_tries = [cleared(pipeline.weak_rows[0]) for pipeline in confirmation.pipelines]
    return sum(first_tries) >= spec.report.at_least
