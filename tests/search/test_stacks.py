"""A stack's spare room: gate seeds that are not yet earned run along, and the answer is the one of a CPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle import Oracle, Story, chance, search, spec

from gtsearch import certificate, plans
from gtsearch.results import trials_frame
from gtsearch.search.board import Member
from gtsearch.search.policy import Job

BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}
STACK = 512


def world() -> Oracle:
    """Some configs clear the search seed and not the gate, and some that clear do not pay."""

    def weak(member: Member) -> int | None:
        rate = min(0.97, member.architecture.params / 400)
        draw = chance(member.architecture.label, member.config_id, member.seed)
        return 50 + int(400 * chance(member.config_id)) if draw < rate else None

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 150 + int(100 * chance(member.config_id, member.seed))
        if member.method != "transfer" or source is None or source.architecture.params < 262:
            return None
        return 20 + int(60 * chance(member.config_id))

    return Oracle(weak, target)


def told(story: Story) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The summary, and which rows count; what was trained in vain is left out, as it is overhead."""
    rows = sorted(story.rows.values(), key=lambda row: row["run_id"])  # sums and resampling go through them in order
    settled = certificate.settle(story.ablation, rows)
    counted = [(row["run_id"], row["role"], row["purpose"]) for row in settled if row["status"] != "cancelled"]
    return certificate.summarise(story.ablation, trials_frame(settled)), counted


@cache
def alone(cost: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    return told(search(spec(weak__cost=cost, **BIG), world()))


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(cost=st.sampled_from(["params", "flops", "total_flops"]), workers=st.integers(1, 3), order=st.integers(0, 10**6))
def test_the_answer_of_stacks_is_that_of_a_cpu(cost: str, workers: int, order: int) -> None:
    stacked = search(spec(weak__cost=cost, **BIG), world(), workers, order, job_members=STACK)
    summary, rows = told(stacked)
    expected, expected_rows = alone(cost)
    assert rows == expected_rows
    assert summary["weak"] == expected["weak"] and summary["methods"] == expected["methods"]
    assert summary["tradeoff"] == expected["tradeoff"] and summary["exit_code"] == expected["exit_code"]


def test_a_stack_is_filled_with_gate_seeds_of_the_same_configs() -> None:
    policy = plans.policy_for(spec(**BIG), job_members=STACK)
    jobs = []
    while isinstance(job := policy.ask(), Job):
        jobs.append(job)
    (weak,) = (job for job in jobs[:2] if job.stage == "weak")
    searched, gates = ([m for m in weak.members if m.role == role] for role in ("search", "gate"))
    assert len(searched) == 4 and len(gates) == 20, "5 gate seeds for each config of the round"
    assert {m.config_id for m in gates} == {m.config_id for m in searched}
    assert weak.members[: len(searched)] == tuple(searched), "what is waited for comes first"


def test_a_job_holds_no_more_than_it_may_and_a_cpu_nothing_unearned() -> None:
    for most, roles in ((6, {"search", "gate"}), (4, {"search"}), (None, {"search"})):
        policy = plans.policy_for(spec(**BIG), job_members=most)
        jobs = []
        while isinstance(job := policy.ask(), Job):
            jobs.append(job)
        weak = [job for job in jobs if job.stage == "weak"]
        assert all(len(job.members) <= (most or 4) for job in weak)
        assert {member.role for job in weak for member in job.members} == roles


def test_a_stack_goes_on_for_gate_seeds_that_were_earned_and_for_no_others() -> None:
    """Their turn comes once the architecture has all its configs; until then they must not be thrown away."""
    for clears in (True, False):
        oracle = Oracle(lambda member, clears=clears: 100 if clears else None, lambda member, source: 200)
        policy = plans.policy_for(spec(**BIG), job_members=STACK)
        while (job := policy.ask()) and not (isinstance(job, Job) and job.stage == "weak"):
            pass
        assert isinstance(job, Job)
        policy.tell([oracle.answer(member, job) for member in job.members if member.role == "search"])
        assert policy.should_stop(job) is not clears


@pytest.mark.parametrize("complete", [True, False])
def test_gate_seeds_that_were_not_earned_are_overhead(complete: bool) -> None:
    stop = 10**9 if complete else 12
    story = search(spec(**BIG), Oracle(lambda member: None, lambda member, source: 200), stop=stop, job_members=STACK)
    gates = [row for row in certificate.settle(story.ablation, story.rows.values()) if row["role"] == "gate"]
    weak = [row for row in gates if row["stage"] == "weak"]
    assert story.ablation.is_complete is complete
    assert weak and {(row["status"], row["purpose"]) for row in weak} == {("cancelled", "cancelled")}
