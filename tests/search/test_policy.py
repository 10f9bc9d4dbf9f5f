"""The nested search against worlds whose cheapest answer is known."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Story, chance, policy_for, search, spec, target_gets_there, weak_clears

from gtsearch.search.board import Architecture, Member, Phase
from gtsearch.search.policy import WAIT, Job, Policy, ranked
from gtsearch.search.weak import Ladder

# Architectures of the oracle's experiment by parameters: d2-w4 154, d4-w4 216, d2-w8 262, d4-w8 340, d2-w16 478,
# d4-w16 588. Scratch takes 200 epochs of a target that is far dearer than any of them.
BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}


def at_least(params: int):
    return lambda architecture: architecture.params >= params


def pays_from(params: int):
    return lambda member: member.architecture.params >= params


def winner(story: Story) -> str | None:
    pays = story.policy.findings.pays
    return pays.candidate.architecture.label if pays else None


def smallest_that_clears(story: Story) -> str | None:
    clears = story.policy.findings.clears
    return clears.architecture.label if clears else None


# -- the answer -----------------------------------------------------------------------------------------------


def test_params_the_smallest_that_clears_and_pays() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target_gets_there(pays_from(262))))
    assert winner(story) == smallest_that_clears(story) == "mlp-d2-w8-L2"
    assert story.policy.findings.complete


def test_candidates_that_clear_and_do_not_pay_are_passed_over() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(216)), target_gets_there(pays_from(340))))
    assert winner(story) == "mlp-d4-w8-L2"
    assert smallest_that_clears(story) == "mlp-d4-w4-L2"
    verdicts = {a.verdict for a in story.policy.ladder.rungs["mlp-d4-w4-L2"].attempts}
    assert verdicts == {"not seen to reach by 200 epochs"}


def test_reaching_too_late_is_told_from_never_reaching() -> None:
    """A target as slow as scratch does not pay, though it gets there."""
    slow = Oracle(weak_clears(at_least(216)), target_gets_there(pays_from(0), scratch=200, transfer=199))
    story = search(spec(**BIG), slow)
    assert winner(story) is None and smallest_that_clears(story) == "mlp-d4-w4-L2"
    assert story.policy.findings.chosen is not None, "the target stage is told with the cheapest that clears"


@pytest.mark.parametrize("cost", ["flops", "seconds"])
def test_the_cheapest_to_train_need_not_be_the_smallest(cost: str) -> None:
    """The larger, the sooner it clears: the largest costs least with restarts."""
    epochs = {"mlp-d2-w8-L2": 800, "mlp-d4-w8-L2": 600, "mlp-d2-w16-L2": 400, "mlp-d4-w16-L2": 60}

    def weak(member: Member) -> int | None:
        return epochs.get(member.architecture.label)

    story = search(spec(weak__cost=cost, **BIG), Oracle(weak, target_gets_there(pays_from(262))))
    assert winner(story) == "mlp-d4-w16-L2"
    assert winner(search(spec(**BIG), Oracle(weak, target_gets_there(pays_from(262))))) == "mlp-d2-w8-L2"


@pytest.mark.parametrize("cost", ["flops", "seconds"])
def test_restarts_are_counted(cost: str) -> None:
    """A config that clears sooner on 3 seeds in 4 can cost more than one that always clears."""

    def weak(member: Member) -> int | None:
        if member.architecture.label == "mlp-d2-w8-L2":
            return 350
        if member.architecture.label == "mlp-d4-w8-L2":
            misses = member.role == "gate" and chance("one in five", member.seed) < 0.3
            return None if misses else 200
        return None

    experiment = spec(weak__cost=cost, weak__gate={"seeds": 5, "at_least": 3}, **BIG)
    gate = [chance("one in five", policy_for(experiment).ladder._gate_seed(i)) < 0.3 for i in range(5)]
    assert 1 <= sum(gate) <= 2, "the oracle must miss some seeds for this test to say anything"
    story = search(experiment, Oracle(weak, target_gets_there(pays_from(0))))
    costs = {c.architecture.label: c.cost_of_one("flops") for c in story.policy.ladder.candidates()}
    expected = min(costs, key=costs.__getitem__)
    assert winner(story) == expected


@pytest.mark.parametrize("seed", range(4))
def test_noise_over_seeds(seed: int) -> None:
    """Below the right size few seeds clear, from it on nearly all: the right size is found."""

    def weak(member: Member) -> int | None:
        rate = 0.95 if member.architecture.params >= 340 else 0.25
        return 250 if chance(seed, member.architecture.label, member.seed) < rate else None

    story = search(spec(seed=seed, **BIG), Oracle(weak, target_gets_there(pays_from(0))))
    assert winner(story) in {"mlp-d4-w8-L2", "mlp-d2-w16-L2"}


def test_a_winner_that_fails_its_report_seeds_is_withdrawn() -> None:
    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 200
        if source is None or source.architecture.params < 262:
            return None
        flattered = source.architecture.params == 262  # pays on the seeds that choose, not on those that claim
        return None if flattered and member.role == "report" else 40

    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target))
    findings = story.policy.findings
    assert winner(story) == "mlp-d4-w8-L2" and smallest_that_clears(story) == "mlp-d2-w8-L2"
    assert [c.pays for c in findings.confirmations].count(False) == len(findings.confirmations) - 1 >= 1
    first = {row["seed"] for row in findings.confirmations[0].rows if row}
    last = {row["seed"] for row in findings.confirmations[-1].rows if row}
    assert not first & last, "the next winner gets new report seeds"


def test_a_later_snapshot_is_tried_before_a_larger_architecture() -> None:
    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 200
        return 40 if source is not None and source.keep == "best" else None

    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target))
    assert winner(story) == "mlp-d2-w8-L2"
    assert story.policy.findings.pays is not None and story.policy.findings.pays.candidate.snapshot == "best"


def test_the_candidates_of_one_architecture_differ() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(478)), target_gets_there(pays_from(10**9))))
    tried = [a.candidate for a in story.policy.ladder.rungs["mlp-d2-w16-L2"].attempts if a.candidate.snapshot == "goal"]
    assert len(tried) == 2
    first, second = (candidate.hyperparameters for candidate in tried)
    assert abs(first["weight_decay"] / second["weight_decay"] - 1) > 0.1


def test_without_a_judge_the_first_that_clears_wins() -> None:
    world = Oracle(weak_clears(at_least(262)), target_gets_there(pays_from(10**9)))
    story = search(spec(weak__judge={"by": "none"}, **BIG), world)
    assert winner(story) == "mlp-d2-w8-L2"
    assert not any(row["role"] == "probe" for row in story.rows.values())


def test_nothing_clears() -> None:
    story = search(spec(**BIG), Oracle(lambda member: None, target_gets_there(pays_from(0))))
    findings = story.policy.findings
    assert findings.complete and findings.pays is None and findings.clears is None
    assert findings.reference is not None, "scratch is reported all the same"
    assert {row["method"] for row in story.rows.values()} == {"weak", "scratch"}


def test_scratch_that_never_gets_there_is_a_censored_reference() -> None:
    def target(member: Member, source: Member | None) -> int | None:
        return 40 if member.method == "transfer" else None

    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target))
    reference = story.policy.findings.reference
    assert reference is not None and reference.flops is None and reference.epochs is None
    assert winner(story) == "mlp-d2-w8-L2"


# -- what is spent --------------------------------------------------------------------------------------------


def test_every_method_gets_as_many_configs_on_the_same_seeds() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target_gets_there(pays_from(262))))
    searched = [r for r in story.needed.values() if r["stage"] == "target" and r["role"] == "search"]
    assert Counter(row["method"] for row in searched) == dict.fromkeys(["scratch", "transfer", "lowrank_random"], 8)
    assert len({row["seed"] for row in searched}) == 1
    reports = [r for r in story.needed.values() if r["stage"] == "target" and r["role"] == "report"]
    seeds = {m: sorted(r["seed"] for r in reports if r["method"] == m) for m in ("scratch", "transfer")}
    assert seeds["scratch"] == seeds["transfer"] and len(set(seeds["scratch"])) == 10


def test_seed_lists_never_meet() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target_gets_there(pays_from(262))))
    rows = [row for row in story.needed.values() if row["stage"] == "weak"]
    lists = {role: {row["seed"] for row in rows if row["role"] == role} for role in ("search", "gate", "report")}
    assert not lists["search"] & lists["gate"] and not lists["gate"] & lists["report"]
    assert not lists["search"] & lists["report"]
    splits = {row["split_seed"] for row in rows if row["role"] == "report"}
    assert len(splits) == 10 and 0 not in splits, "each replicate has a split of its own"


def test_published_settings_come_first() -> None:
    story = search(spec(**BIG), Oracle(weak_clears(at_least(262)), target_gets_there(pays_from(262))))
    probe = next(row for row in story.rows.values() if row["role"] == "probe" and row["stage"] == "target")
    assert probe["hyperparameters"] == {"lr": 0.005, "weight_decay": 3, "init_scale": 0.3, "embedding_scale": 1.0}


@pytest.mark.parametrize("cost", ["flops", "seconds"])
def test_capping_saves_work_and_does_not_change_the_answer(cost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = {"mlp-d2-w8-L2": 50, "mlp-d4-w16-L2": 900}  # the ones between never clear

    def world() -> Oracle:
        return Oracle(lambda m: epochs.get(m.architecture.label), target_gets_there(pays_from(0)))

    capped = search(spec(weak__cost=cost, weak__budget={"max_epochs": 5000}, **BIG), world())
    monkeypatch.setattr(Ladder, "_capped", lambda self, member, incumbent, before: member)
    free = search(spec(weak__cost=cost, weak__budget={"max_epochs": 5000}, **BIG), world())
    assert winner(capped) == winner(free)

    def epochs_spent(story: Story) -> int:
        return sum(row["epochs"] for row in story.needed.values() if row["stage"] == "weak")

    assert epochs_spent(capped) < epochs_spent(free)
    cut = [row for row in capped.needed.values() if row["stage"] == "weak" and row["status"] == "capped"]
    assert cut and all(row["capped_by"] for row in cut), "a capped row names the incumbent"


def test_a_row_capped_by_a_withdrawn_winner_is_open_again() -> None:
    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 200
        flattered = source is not None and source.architecture.label == "mlp-d2-w8-L2"
        return None if flattered and member.role == "report" else 40

    epochs = {"mlp-d2-w8-L2": 50, "mlp-d4-w16-L2": 900}
    experiment = spec(weak__cost="flops", **BIG)
    story = search(experiment, Oracle(lambda m: epochs.get(m.architecture.label), target))
    assert winner(story) == "mlp-d4-w16-L2"
    assert any(row["attempt"] > 0 for row in story.needed.values()), "capped members ran again without the cap"


# -- one worker or eight, in any order, interrupted or not ----------------------------------------------------


def busy_world() -> Oracle:
    """Something of everything: noise, candidates that do not pay, a withdrawn winner."""

    def weak(member: Member) -> int | None:
        rate = min(0.97, member.architecture.params / 400)
        draw = chance(member.architecture.label, member.config_id, member.seed)
        return 50 + int(400 * chance(member.config_id)) if draw < rate else None

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 150 + int(100 * chance(member.config_id, member.seed))
        if member.method != "transfer" or source is None or source.architecture.params < 262:
            return None
        flattered = source.architecture.params == 262 and member.role == "report"
        return None if flattered or chance(member.run_id) < 0.1 else 20 + int(60 * chance(member.config_id))

    return Oracle(weak, target)


def content(story: Story) -> dict[str, tuple]:
    return {
        run_id: (row["status"], row["epochs"], row["epochs_to_goal"], row["cap_epochs"], row["attempt"])
        for run_id, row in story.needed.items()
    }


@pytest.mark.parametrize("cost", ["params", "flops", "total_flops", "total_seconds"])
@pytest.mark.parametrize(("workers", "order"), [(2, 1), (3, 2), (8, 3), (8, 4)])
def test_any_number_of_workers_gives_the_same_rows(cost: str, workers: int, order: int) -> None:
    alone = _finished(cost)
    many = search(alone.policy.spec, busy_world(), workers=workers, order=order)
    assert content(many) == content(alone)
    assert winner(many) == winner(alone) is not None


@pytest.mark.parametrize(
    ("cost", "stop"), [*(("params", stop) for stop in (1, 7, 20, 45, 70)), ("total_flops", 20), ("total_flops", 70)]
)
def test_an_interrupted_search_ends_with_the_same_rows(cost: str, stop: int) -> None:
    whole = _finished(cost)
    experiment = whole.policy.spec
    half = search(experiment, world := busy_world(), workers=3, order=stop, stop=stop)
    rest = search(experiment, world, workers=2, order=stop, known=list(half.rows.values()))
    assert content(rest) == content(whole)


@settings(max_examples=40, deadline=None)
@given(cost=st.sampled_from(["params", "total_flops"]), seed=st.integers(0, 10**6), share=st.floats(0.0, 1.0))
def test_the_next_ask_depends_on_the_set_of_rows_alone(cost: str, seed: int, share: float) -> None:
    story = _finished(cost)
    rng = random.Random(seed)
    known = [row for row in story.rows.values() if rng.random() < share]
    asked = []
    for _ in range(2):
        rng.shuffle(known)
        policy = policy_for(story.policy.spec, workers=2)
        for row in known:
            policy.tell([row])
            policy.tell([row])  # told twice, it counts once
        job = policy.ask()
        asked.append((job.id, [m.run_id for m in job.members]) if isinstance(job, Job) else job)
    assert asked[0] == asked[1]


@cache
def _finished(cost: str = "params") -> Story:
    return search(spec(weak__cost=cost, **BIG), busy_world())


def test_workers_look_ahead_with_at_most_one_job_each() -> None:
    policy = policy_for(spec(**BIG), workers=3)
    jobs = []
    while isinstance(job := policy.ask(), Job):
        jobs.append(job)
    assert policy.ask() is WAIT
    ahead = [job for job in jobs if job.phase is Phase.AHEAD]
    assert 0 < len(ahead) <= 3
    assert [job.phase for job in jobs] == sorted(job.phase for job in jobs), "the most urgent goes first"


def test_a_job_nobody_waits_for_is_stopped() -> None:
    experiment, world = spec(weak__judge={"by": "none"}, **BIG), busy_world()
    story = search(experiment, world, workers=8, order=5)
    assert story.cancelled > 0 or len(story.rows) > len(story.needed)


def test_the_policy_does_not_read_test_accuracy() -> None:
    policies = []
    for accuracy in (0.0, 1.0):
        policy = policy_for(spec(**BIG))
        policy.tell([{**row, "test_accuracy": accuracy} for row in _finished().rows.values()])
        policy.ask()
        policies.append(policy)
    assert policies[0].board.counted.keys() == policies[1].board.counted.keys()
    assert all(policy.findings.complete for policy in policies)


# -- lost workers ---------------------------------------------------------------------------------------------


def first_job(policy: Policy) -> Job:
    job = policy.ask()
    assert isinstance(job, Job)
    return job


def lost(policy: Policy, job: Job, member: Member) -> dict:
    row = Oracle(lambda m: None, lambda m, s: None).answer(member, job)
    return row | {"status": "failed", "lost": True, "error": "the worker was lost"}


def test_a_lost_member_runs_once_more_alone_and_then_is_failed() -> None:
    policy = policy_for(spec(**BIG))
    job = first_job(policy)
    member = job.members[0]
    policy.tell([lost(policy, job, m) for m in job.members])
    policy.ended(job.id)
    again = first_job(policy)
    assert len(again.members) == 1 and again.members[0].attempt == 1
    assert again.members[0].config_id == member.config_id and again.members[0].run_id != member.run_id
    policy.tell([lost(policy, again, again.members[0])])
    policy.ended(again.id)
    asked = []
    while isinstance(job := policy.ask(), Job):
        asked += [m.config_id for m in job.members if m.role == "search" and m.method == member.method]
    assert member.config_id not in asked


def test_a_search_with_crashing_members_still_ends() -> None:
    world = busy_world()
    answer = world.answer

    def sometimes(member: Member, job: Job):
        row = answer(member, job)
        if chance("crash", member.run_id) < 0.2:
            row |= {"status": "failed", "lost": chance("lost", member.run_id) < 0.5, "embeddings": []}
            row |= {"epochs_to_goal": None, "flops_to_goal": None, "seconds_to_goal": None, "best_val_accuracy": None}
        return row

    world.answer = sometimes  # type: ignore[method-assign]
    story = search(spec(**BIG), world, workers=3)
    assert story.policy.findings.complete


# -- the order of the ladder ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=12))
def test_the_ladder_is_sorted_by_the_static_cost(costs: list[tuple[int, int]]) -> None:
    sizes = policy_for(spec()).ladder.architectures[0].sizes
    architectures = [Architecture(sizes, params, flops) for params, flops in costs]
    by_params = ranked(architectures, "params")
    assert [(a.params, a.flops_per_epoch) for a in by_params] == sorted(costs)
    assert [a.flops_per_epoch for a in ranked(architectures, "flops")] == sorted(flops for _, flops in costs)
    assert [a.rank for a in by_params] == list(range(len(costs)))
