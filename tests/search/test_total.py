"""`weak.cost: total_flops | total_seconds`: the search for the least cost of weak model and target together."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Story, chance, policy_for, search, spec

from gtsearch import certificate, narrative
from gtsearch.analysis import sentences
from gtsearch.errors import SpecError
from gtsearch.identity import derive_seed
from gtsearch.results import trials_frame
from gtsearch.search.board import Embedding, Member
from gtsearch.search.target import Target
from gtsearch.search.weak import Ladder
from gtsearch.spec import Spec

TOTALS = ["total_flops", "total_seconds"]
SHORT: dict[str, Any] = {
    "target__methods": ["transfer", "scratch"],
    "target__budget": {"configs": 2, "max_epochs": 400},
    "report": {"seeds": 2, "at_least": 1},
    "tradeoff": None,
}
BIG = SHORT | {"weak__search": "random", "target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}
# A grid proposes the same configs whatever ran before, all that clear are judged, and weak and target cost alike.
SMALL = SHORT | {
    "weak__search": "grid",
    "weak__tune": {"lr": [0.003, 0.01, 0.03], "weight_decay": 1.0, "init_scale": 0.3},
    "weak__gate": {"seeds": 4, "at_least": 2},
    "weak__judge": {
        "configs": 2,
        "weak_seeds": 3,
        "at_least": 2,
        "candidates_per_architecture": 3,
        "later_snapshot": False,
    },
}


def winner(story: Story) -> str | None:
    pays = story.policy.findings.pays
    return pays.candidate.architecture.label if pays else None


def total(story: Story) -> float | None:
    """What the judge saw the winner cost."""
    pays, ladder = story.policy.findings.pays, story.policy.ladder
    if pays is None or ladder is None:
        return None
    attempts = (attempt for rung in ladder.rungs.values() for attempt in rung.attempts)
    return next(a.total for a in attempts if a.candidate.key == pays.candidate.key)


def by_size(transfer: dict[str, int], weak: dict[str, int] | None = None, **scratch: int) -> Oracle:
    """Architecture -> epochs the target takes from its embedding; architecture -> epochs it takes itself, else 50."""

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return scratch.get("scratch", 200)
        return transfer.get(source.architecture.label) if member.method == "transfer" and source else None

    return Oracle(lambda member: (weak or {}).get(member.architecture.label, 50), target)


SOONER = {"mlp-d2-w4-L2": 180, "mlp-d4-w4-L2": 150, "mlp-d2-w8-L2": 120, "mlp-d4-w8-L2": 40, "mlp-d2-w16-L2": 40}


# -- the answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", TOTALS)
def test_a_dearer_weak_model_wins_where_it_saves_the_target_more(cost: str) -> None:
    """The first that pays is the smallest; the fourth makes the target so fast that all in all it costs least."""
    assert winner(search(spec(**BIG), by_size(SOONER))) == "mlp-d2-w4-L2"
    assert winner(search(spec(weak__cost="flops", **BIG), by_size(SOONER))) == "mlp-d2-w4-L2"
    story = search(spec(weak__cost=cost, **BIG), by_size(SOONER))
    assert winner(story) == "mlp-d4-w8-L2"
    clears = story.policy.findings.clears
    assert clears is not None and clears.architecture.label == "mlp-d2-w4-L2", "the cheapest that clears is another"


def test_the_total_by_hand() -> None:
    story = search(spec(weak__cost="total_flops", **BIG), by_size(SOONER))
    policy = story.policy
    found = policy.findings.pays
    assert found is not None
    probe = policy.target.member("transfer", {}, "probe", 0, found.candidate.embeddings[0], "probe")
    expected = 50 * found.candidate.architecture.flops_per_epoch + 40 * policy.target.cost(probe).flops_per_epoch
    assert total(story) == expected


def test_misses_are_charged() -> None:
    """The fourth clears on two seeds of five and trains its whole budget on the others: the third costs less."""
    experiment = spec(weak__cost="total_flops", weak__budget={"max_epochs": 4000}, **SMALL)
    world = by_size({"mlp-d2-w8-L2": 100, "mlp-d4-w8-L2": 90})
    ladder = policy_for(experiment).ladder
    assert ladder is not None
    lucky = {ladder._gate_seed(i) for i in range(2)}

    def weak(member: Member) -> int | None:
        unlucky = member.architecture.label == "mlp-d4-w8-L2" and member.role == "gate" and member.seed not in lucky
        return None if unlucky else 50

    assert winner(search(experiment, world)) == "mlp-d4-w8-L2"
    assert winner(search(experiment, Oracle(weak, world.target))) == "mlp-d2-w8-L2"


def test_a_target_that_misses_from_most_seeds_does_not_win_by_its_fast_ones() -> None:
    """From the fourth the target is fast on one weak seed and never gets there from the others: no median."""
    experiment = spec(weak__cost="total_flops", **BIG)
    world, sooner = by_size(SOONER), by_size(SOONER | {"mlp-d4-w8-L2": 5})
    ladder = policy_for(experiment).ladder
    assert ladder is not None

    def target(member: Member, source: Member | None) -> int | None:
        if source is not None and source.architecture.label == "mlp-d4-w8-L2" and source.seed != ladder._gate_seed(0):
            return None
        return sooner.target(member, source)

    assert winner(search(experiment, Oracle(world.weak, target))) == "mlp-d2-w16-L2"


def test_at_equal_totals_the_cheaper_weak_model_wins() -> None:
    """The target takes as long from each, so only the weak model's own cost tells them apart."""
    same = dict.fromkeys((*SOONER, "mlp-d4-w16-L2"), 40)
    assert winner(search(spec(weak__cost="total_flops", **BIG), by_size(same))) == "mlp-d2-w4-L2"


@pytest.mark.parametrize("cost", TOTALS)
def test_where_scratch_never_gets_there_totals_are_compared_all_the_same(cost: str) -> None:
    story = search(spec(weak__cost=cost, **BIG), by_size(SOONER, scratch=10**6))
    assert story.policy.findings.reference is not None and story.policy.findings.reference.flops is None
    assert winner(story) == "mlp-d4-w8-L2"


def test_nothing_pays_that_costs_more_than_scratch() -> None:
    """The target alone is faster than from scratch; with its weak model each pipeline is dearer."""
    slow, just_sooner = dict.fromkeys(SOONER, 900), dict.fromkeys(SOONER, 190)
    story = search(spec(weak__cost="total_flops", **SMALL), by_size(just_sooner, slow))
    assert winner(story) is None and story.policy.findings.complete and story.policy.findings.clears is not None


def test_a_winner_that_fails_its_report_seeds_gives_way_to_the_next_best() -> None:
    world = by_size(SOONER)

    def target(member: Member, source: Member | None) -> int | None:
        flattered = source is not None and source.architecture.label == "mlp-d4-w8-L2" and member.role == "report"
        return None if flattered else world.target(member, source)

    story = search(spec(weak__cost="total_flops", **BIG), Oracle(world.weak, target))
    assert winner(story) == "mlp-d2-w16-L2"
    assert story.policy.findings.confirmations[0].candidate.architecture.label == "mlp-d4-w8-L2"


def test_a_later_snapshot_wins_where_its_total_is_least() -> None:
    """At the goal its embedding pays already; the one of the whole training costs more and saves the target more."""

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 200
        return None if source is None or member.method != "transfer" else 10 if source.keep == "best" else 150

    story = search(spec(weak__cost="total_flops", **BIG), Oracle(lambda member: 50, target))
    pays = story.policy.findings.pays
    assert pays is not None and pays.candidate.snapshot == "best"
    assert pays.candidate.architecture.label == "mlp-d2-w4-L2", "the first, whose snapshot at the goal passes too"
    # With a budget for which alone the target could be trained, it is not even trained.
    dear = spec(weak__cost="total_flops", weak__budget={"max_epochs": 10**6}, **BIG)
    story = search(dear, Oracle(lambda member: 50, target))
    assert not any(row["role"] == "probe" and row["stage"] == "weak" for row in story.rows.values())


def test_without_a_threshold_totals_are_compared_as_well() -> None:
    """Each trains to its end, so the dearer weak model is charged for its whole training."""
    experiment = spec(weak__goal="none", weak__cost="total_flops", weak__budget={"max_epochs": 50}, **BIG)
    story = search(experiment, by_size(SOONER))
    assert winner(story) == "mlp-d4-w8-L2"
    told = {entry["architecture"]: entry["verdict"] for entry in summary_of(story)["weak"]["ladder"]}
    assert told["mlp-d4-w8-L2"] == "pays" and set(told.values()) <= {"pays", "excluded", "undecided", "not tried"}


@pytest.mark.parametrize("cost", TOTALS)
def test_a_total_needs_a_judge(cost: str) -> None:
    rule = rf"weak.cost: `{cost}` counts the target's cost, which only the judge measures, and weak.judge.by is none"
    with pytest.raises(SpecError, match=rule):
        spec(weak__cost=cost, weak__judge={"by": "none"})


# -- bounds save work and change nothing ----------------------------------------------------------------------


def worlds(seed: int) -> Oracle:
    """Weak models that clear early, late or never, and targets to which it matters which; fresh seeds do well."""

    def weak(member: Member) -> int | None:
        if member.role == "report":
            return 10
        by_config = chance(seed, member.config_id, "weak")
        if chance(seed, member.config_id, member.seed, "misses") < 0.6 * by_config:
            return None
        return 10 * (1 + int(60 * by_config * chance(seed, member.config_id, member.seed)))

    def target(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return 5 * (10 + int(60 * chance(seed, "scratch")))
        if source is None or member.role == "report":
            return 5
        speed = chance(seed, source.config_id, source.keep) + chance(seed, source.config_id, member.config_id)
        draw = chance(seed, source.seed, source.config_id, member.config_id)
        return None if draw < 0.15 else 5 * (1 + int(40 * speed * draw))

    return Oracle(weak, target)


def least_total(experiment: Spec, world: Oracle) -> tuple[float, str] | None:
    """The least total below scratch's in FLOPs and its config, from the world alone: every config, on every seed, to
    its end."""
    policy = policy_for(experiment)
    ladder, target, weak_spec = policy.ladder, policy.target, experiment.weak
    assert ladder is not None and weak_spec is not None
    judge, longest = weak_spec.judge, weak_spec.budget.max_epochs
    first = target._proposers["transfer"].round(target._sizes("transfer")[0], [], [])[: judge.configs]
    plain = target.member("scratch", {}, "report", 0, None, "report")
    scratch = (world.target(plain, None) or math.inf) * target.cost(plain).flops_per_epoch
    totals: list[tuple[float, str]] = []
    for architecture in ladder.architectures:
        search_seed = derive_seed(experiment.seed, "search", "weak", 0)
        for config in ladder._proposers[architecture.label].round(3, [], []):
            runs = [ladder.member(architecture, config, "search", search_seed)]
            runs += [
                ladder.member(architecture, config, "gate", ladder._gate_seed(i), purpose="weak_gate")
                for i in range(weak_spec.gate.seeds)
            ]
            epochs = [world.weak(run) for run in runs]
            if epochs[0] is None or sum(e is not None for e in epochs[1:]) < weak_spec.gate.at_least:
                continue
            cleared = [run for run, e in zip(runs, epochs, strict=True) if e is not None]
            per_epoch = architecture.flops_per_epoch
            weak = sum(longest if e is None else e for e in epochs) * per_epoch / len(cleared)
            tried = (cleared[1:] + cleared[:1])[: judge.weak_seeds]
            handed = Embedding("", "", "", architecture.sizes.d_embed, 0, 0.5, 0, 0.0)
            for setting in first:
                members = [target.member("transfer", setting, "probe", 0, handed, "probe") for _ in tried]
                price = target.cost(members[0]).flops_per_epoch
                answers = [world.target(m, run) for m, run in zip(members, tried, strict=True)]
                costs = sorted(math.inf if e is None else e * price for e in answers)
                needed = max(judge.at_least, (len(costs) + 1) // 2)
                totals.append((weak + costs[needed - 1], runs[0].config_id))
    best = min(totals, default=(math.inf, ""))
    return best if best[0] < scratch else None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(TOTALS), st.integers(1, 3))
def test_the_winner_is_that_of_a_search_that_bounds_nothing(seed: int, cost: str, must_reach: int) -> None:
    """Whatever was capped and never tried: the least total of all configs, worked out from the world."""
    experiment = spec(**SMALL | {"weak__cost": cost, "weak__judge": SMALL["weak__judge"] | {"at_least": must_reach}})
    story, expected = search(experiment, worlds(seed)), least_total(experiment, worlds(seed))
    found = story.policy.findings.pays
    assert (found and found.candidate.config_id) == (expected and expected[1])
    unit = 1.0 if cost == "total_flops" else 1e-9  # the oracle's seconds a FLOP
    assert total(story) == pytest.approx(expected and expected[0] * unit)


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("cost", TOTALS)
def test_bounds_save_work(cost: str, candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same world with and without them: the same winner and total, for fewer epochs of both stages."""
    judge = SMALL["weak__judge"] | {"candidates_per_architecture": candidates}
    experiment = spec(weak__cost=cost, **SMALL | {"weak__budget": {"max_epochs": 20_000}, "weak__judge": judge})
    bounded = search(experiment, worlds(3))
    for cls, name, answer in (
        (Ladder, "_capped", lambda self, member, incumbent, before: member),
        (Ladder, "_cannot_win", lambda self, architecture, incumbent: False),
        (Target, "_paid_for", lambda self, method, d_weak, flops: 10**9),
    ):
        monkeypatch.setattr(cls, name, answer)
    free = search(experiment, worlds(3))
    assert winner(bounded) == winner(free) is not None and total(bounded) == pytest.approx(total(free))
    for stage in ("weak", "target"):
        spent = [sum(r["epochs"] for r in s.needed.values() if r["stage"] == stage) for s in (bounded, free)]
        assert spent[0] < spent[1], stage
    cut = [row for row in bounded.needed.values() if row["status"] == "capped"]
    assert any(row["capped_by"].startswith("the total of mlp") for row in cut if row["stage"] == "target")


def test_an_architecture_that_alone_costs_the_winners_total_is_not_tried() -> None:
    """One evaluation interval of the largest costs as much as the whole pipeline of the smallest."""
    sizes = {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": [4, 2048]}
    experiment = spec(weak__cost="total_flops", **SMALL | {"weak__model": sizes})
    story = search(experiment, by_size({"mlp-d2-w4-L2": 5, "mlp-d4-w4-L2": 5}, {"mlp-d2-w4-L2": 10}))
    assert winner(story) == "mlp-d2-w4-L2"
    ladder = story.policy.ladder
    assert ladder is not None
    assert [rung.tried for rung in ladder.rungs.values()] == [True, True, False, False]
    assert not any(row["architecture"].endswith("w2048-L2") for row in story.needed.values())


# -- what is said ---------------------------------------------------------------------------------------------


def summary_of(story: Story) -> dict[str, Any]:
    trials = trials_frame(certificate.settle(story.ablation, list(story.rows.values())))
    return certificate.summarise(story.ablation, trials)


def test_the_certificate_says_why_the_others_are_out() -> None:
    """All clear; those that were judged and came to more are no rivals, whatever their own cost."""
    story = search(spec(weak__cost="total_flops", **SMALL), by_size(SOONER))
    summary = summary_of(story)
    weak = summary["weak"]
    said = "is the weak model of the cheapest pipeline seen to pay, the target's cost counted"
    assert sentences.answer(summary)["verdict"] == said
    told = {entry["architecture"]: entry for entry in weak["ladder"]}
    assert weak["pays"]["architecture"] == "mlp-d4-w8-L2" and weak["pays"]["minimal"]
    assert weak["undecided"] == [] and weak["clears"]["architecture"] == "mlp-d2-w4-L2"
    first = told["mlp-d2-w4-L2"]
    assert first["verdict"] == "clears"
    assert "for more than the winner costs in total; of 3 tried on the target: " in first["detail"]
    assert first["candidates"][0]["verdict"] == "pays" and first["candidates"][0]["total"] > total(story)
    assert told["mlp-d2-w16-L2"]["candidates"][0]["verdict"] == "not seen to cost less in total than mlp-d4-w8-L2"
    assert any("FLOPs in total" in line for line in narrative.news(story.ablation))
    assert any(line.startswith("cheapest that clears: mlp-d2-w4-L2") for line in narrative.news(story.ablation))


def test_where_not_all_that_clear_were_judged_nothing_is_called_minimal() -> None:
    judge = SMALL["weak__judge"] | {"candidates_per_architecture": 1}
    story = search(spec(weak__cost="total_flops", **SMALL | {"weak__judge": judge}), by_size(SOONER))
    weak = summary_of(story)["weak"]
    assert weak["pays"]["architecture"] == "mlp-d4-w8-L2" and not weak["pays"]["minimal"]
    assert "mlp-d2-w4-L2" in [entry["architecture"] for entry in weak["undecided"]]


def test_a_withdrawn_one_is_not_said_to_cost_more() -> None:
    world = by_size(SOONER)

    def target(member: Member, source: Member | None) -> int | None:
        flattered = source is not None and source.architecture.label == "mlp-d4-w8-L2" and member.role == "report"
        return None if flattered else world.target(member, source)

    story = search(spec(weak__cost="total_flops", **SMALL), Oracle(world.weak, target))
    weak = summary_of(story)["weak"]
    assert weak["pays"]["architecture"] == "mlp-d2-w16-L2" and not weak["pays"]["minimal"]
    assert [entry["architecture"] for entry in weak["undecided"]] == ["mlp-d4-w8-L2"]


def test_one_that_is_not_tried_is_told_with_its_reason() -> None:
    sizes = {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": [4, 2048]}
    experiment = spec(weak__cost="total_flops", **SMALL | {"weak__model": sizes})
    story = search(experiment, by_size({"mlp-d2-w4-L2": 5, "mlp-d4-w4-L2": 5}, {"mlp-d2-w4-L2": 10}))
    weak = summary_of(story)["weak"]
    last = weak["ladder"][-1]
    said = "its weak model alone would cost what the winner costs in total"
    assert (last["verdict"], last["detail"]) == ("not tried", said) and weak["pays"]["minimal"]


def test_rows_capped_by_an_incumbent_that_was_beaten_still_exclude() -> None:
    """What cannot be below a dearer incumbent cannot be below the winner either."""
    never = {"mlp-d4-w8-L2": None, "mlp-d4-w16-L2": None}

    def weak(member: Member) -> int | None:
        return never.get(member.architecture.label, 50)

    transfer = {"mlp-d2-w4-L2": 60, "mlp-d4-w4-L2": 50, "mlp-d2-w8-L2": 10}
    experiment = spec(weak__cost="total_flops", **SMALL | {"weak__budget": {"max_epochs": 20_000}})
    weak_told = summary_of(search(experiment, Oracle(weak, by_size(transfer).target)))["weak"]
    assert weak_told["pays"]["architecture"] == "mlp-d2-w8-L2" and weak_told["undecided"] == []
    assert [entry["architecture"] for entry in weak_told["excluded"]] == list(never)
