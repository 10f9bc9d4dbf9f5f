"""The variations of an experiment as one search: a policy each, asked in turn, that share every row.

Variations have the same seeds, and a run that two of them need is one run; so what differs between them is what was
varied. An experiment that varies nothing is the case of one policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gtsearch.parts import BASE
from gtsearch.search.board import Member, Row
from gtsearch.search.policy import DONE, WAIT, Answer, Job, Policy


class Ablation:
    """Asks and tells the policies of all variations; the first is the experiment itself.

    Attributes:
        changes: name -> {YAML path: value} of every variation but the first.
    """

    def __init__(self, policies: Mapping[str, Policy], changes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.policies = dict(policies)
        self.changes = dict(changes or {})
        self._asked_by: dict[str, Policy] = {}

    @property
    def base(self) -> Policy:
        return self.policies[BASE]

    @property
    def workers(self) -> int:
        return self.base.workers

    @property
    def is_complete(self) -> bool:
        """Whether nothing is open in any variation."""
        return all(policy.findings.complete for policy in self.policies.values())

    @property
    def current(self) -> tuple[str, Policy]:
        """The first variation that is not complete, else the last."""
        open_ones = ((name, policy) for name, policy in self.policies.items() if not policy.findings.complete)
        return next(open_ones, list(self.policies.items())[-1])

    def ask(self) -> Job | Answer:
        """The next job, of the first variation that has one; work that looks ahead only where none has other work."""
        answers: list[Answer] = []
        for ahead in (False, True):
            answers.clear()
            for policy in self.policies.values():
                answer = policy.ask(self._elsewhere(policy), ahead)
                if isinstance(answer, Job):
                    self._asked_by[answer.id] = policy
                    return answer
                answers.append(answer)
        return DONE if all(answer is DONE for answer in answers) else WAIT

    def _elsewhere(self, policy: Policy) -> set[str]:
        return {
            member.run_id
            for other in self.policies.values()
            if other is not policy
            for job in other.out.values()
            for member in job.members
        }

    def tell(self, rows: Iterable[Row]) -> None:
        """Takes in finished members: in any order, repeated, or of jobs nobody asked for."""
        rows = list(rows)
        for policy in self.policies.values():
            policy.tell(rows)

    def ended(self, job_id: str) -> list[Member]:
        """A job is over, however it ended: the members it has not reported (they are open again)."""
        policy = self._asked_by.pop(job_id, None)
        return policy.ended(job_id) if policy else []

    def should_stop(self, job: Job) -> bool:
        """Whether nobody waits for any of the job's unreported members any more."""
        return all(policy.should_stop(job) for policy in self.policies.values())

    def job_of(self, run_id: str) -> Job | None:
        """A job of its own for a member whose row counts; None where it counts for nothing."""
        return next(filter(None, (policy.job_of(run_id) for policy in self.policies.values())), None)

    def counting(self, run_id: str) -> Iterator[str]:
        """The variations whose answer the row counts for."""
        return (name for name, policy in self.policies.items() if run_id in policy.board.counted)
