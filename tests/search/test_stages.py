"""Experiments of other shapes: without a weak stage, without a threshold, with a chain, with another task's model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, Row, Story, chance, policy_for, search, spec, target_gets_there, weak_clears

from gtsearch import catalog
from gtsearch.errors import SpecError
from gtsearch.search.board import Member
from gtsearch.search.policy import Job
from gtsearch.search.weak import Candidate
from gtsearch.spec import Spec, parse_spec

BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}
CONFIG = {"lr": 0.01, "weight_decay": 1.0, "init_scale": 0.3}


def without_weak(*methods: str) -> Spec:
    whole = spec(**BIG).model_dump()
    del whole["weak"], whole["tradeoff"]
    whole["target"] |= {"methods": ["scratch", *methods], "start_from": {}}
    return parse_spec(whole)


def rivals(scratch: int, other: int | None) -> Oracle:
    def target(member: Member, source: Member | None) -> int | None:
        return scratch if member.method == "scratch" else other

    return Oracle(weak_clears(lambda a: False), target)


def test_without_a_weak_stage_methods_are_tuned_and_reported_like_scratch() -> None:
    story = search(without_weak("onehot", "sphere"), rivals(200, 350))
    found = story.policy.findings
    assert found.complete and found.pays is None and found.chosen is None
    assert set(found.controls) == {"onehot", "sphere"}
    # Slower than scratch and still told: a rival is not cut at scratch's median.
    assert [row["status"] for row in found.controls["onehot"][1]] == ["cleared"] * 10
    configs = {
        m: sum(r["role"] == "search" and r["method"] == m for r in story.needed.values()) for m in found.controls
    }
    scratch = sum(r["role"] == "search" and r["method"] == "scratch" for r in story.needed.values())
    assert configs == {"onehot": scratch, "sphere": scratch}


def test_a_method_without_its_weak_stage_is_refused() -> None:
    with pytest.raises(SpecError, match=r"target.methods: `transfer` needs a weak model's embedding"):
        without_weak("transfer")


def test_rivals_run_beside_a_weak_stage_even_when_nothing_clears() -> None:
    experiment = spec(**BIG, target__methods=["transfer", "scratch", "sphere"])
    story = search(experiment, rivals(200, 100))
    assert story.policy.findings.clears is None and story.policy.findings.complete
    assert len(story.policy.findings.controls["sphere"][1]) == 10


@pytest.mark.parametrize("goal", ["none", {"val_accuracy": "none", "hold": 2, "evaluate_every": 10}])
def test_without_a_threshold_the_judge_alone_decides(goal: Any) -> None:
    experiment = spec(**BIG, weak__goal=goal)
    pays = target_gets_there(lambda member: member.architecture.params >= 340)
    story = search(experiment, Oracle(weak_clears(lambda a: False), pays))
    found = story.policy.findings
    assert found.pays is not None and found.pays.candidate.architecture.label == "mlp-d4-w8-L2"
    assert found.clears is not None and found.clears.architecture.label == "mlp-d2-w4-L2"  # each that trained
    assert all(
        row["status"] == "cleared" for row in story.needed.values() if row["role"] == "gate" and row["stage"] == "weak"
    )


def grown(**changes: Any) -> Spec:
    link = {"model": {"name": "mlp", "depth": 2, "d_embed": 16, "width": 32}, "goal": 0.6, "config": CONFIG}
    return spec(**BIG, target__embedding_from={"name": "growth", "chain": [link | changes]})


def test_a_chain_hands_on_the_middle_models_embedding_and_charges_it() -> None:
    def weak(member: Member) -> int | None:
        return (100 if member.method == "growth" else 300) if member.architecture.params >= 262 else None

    oracle = Oracle(weak, target_gets_there(lambda member: member.method == "growth"))
    found = search(grown(), oracle).policy.findings
    assert found.pays is not None
    for pipeline, row in zip(found.pays.pipelines, found.pays.rows, strict=True):
        middle = oracle.members[row["weak_run_id"]]
        assert middle.method == "growth" and middle.embedding is not None
        assert middle.embedding.run_id == pipeline.weak_rows[-1]["run_id"]
        own = pipeline.weak_rows[-1]["embeddings"][0]["train_flops"]
        assert pipeline.weak_flops > own and [r["run_id"] for r in pipeline.chain] == [row["weak_run_id"]]
        assert pipeline.weak_flops == own + pipeline.chain[0]["embeddings"][0]["train_flops"]


def test_a_chain_that_breaks_pays_for_nothing_and_is_charged() -> None:
    def weak(member: Member) -> int | None:
        return None if member.method == "growth" else 300

    story = search(grown(), Oracle(weak, target_gets_there(lambda member: True)))
    assert story.policy.findings.pays is None and story.policy.findings.complete


def test_a_weak_model_of_another_task_is_trained_on_that_task() -> None:
    other = {"name": "modular_multiplication", "p": 23, "train_fraction": 0.4}
    experiment = spec(**BIG, target__embedding_from={"name": "cross_task", "task": other})
    oracle = Oracle(weak_clears(lambda a: True), target_gets_there(lambda member: True))
    story = search(experiment, oracle)
    names = {stage: {r["task"] for r in story.needed.values() if r["stage"] == stage} for stage in ("weak", "target")}
    assert names == {"weak": {"modular_multiplication"}, "target": {"modular_addition"}}


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    other = {"name": "modular_addition", "p": 29}
    with pytest.raises(SpecError, match=r"embedding_from.task: its embedding has 29 rows where a \+ b mod 23 needs 23"):
        spec(target__embedding_from={"name": "cross_task", "task": other})


def test_what_is_trained_differently_is_another_run() -> None:
    """Rows of variations must never be mixed up: everything that changes what is computed is in the run id."""
    base = search(spec(**BIG), rivals(200, 100))
    for change in (
        {"target__optimizer": "adam"},
        {"target__loss": "mse"},
        {"target__goal__evaluate_every": 10},
        {"target__budget__max_epochs": 500},
        {"target__goal__val_accuracy": 0.9},
        {"target__options": {"transfer": {"freeze_a": True}}},
    ):
        other = search(spec(**BIG, **change), rivals(200, 100))
        shared = set(base.needed) & set(other.needed)
        target = {r for r in shared if base.needed[r]["stage"] == "target" and base.needed[r]["method"] == "transfer"}
        assert not target, change


def test_controls_may_have_the_whole_budget() -> None:
    """Without the cap a control that is slower than scratch is told as what it is."""

    def target(member: Member, source: Member | None) -> int | None:
        return {"scratch": 200, "transfer": 40}.get(member.method, 300)

    for capped, status in ((True, "capped"), (False, "cleared")):
        experiment = spec(**BIG, target__cap_controls=capped)
        found = search(experiment, Oracle(weak_clears(lambda a: a.params >= 262), target)).policy.findings
        assert {row["status"] for row in found.controls["lowrank_random"][1]} == {status}


def test_a_grid_runs_its_points_and_no_published_settings() -> None:
    with pytest.raises(SpecError, match=r"target.start_from: a grid runs its own points"):
        spec(
            target__search="grid",
            target__tune={n: [0.1, 0.2] for n in ("lr", "weight_decay", "init_scale")} | {"embedding_scale": 1},
        )


def test_what_the_judge_saw_of_a_candidate_that_never_carries_is_counted() -> None:
    experiment = spec(**BIG, weak__goal="none")
    story = search(
        experiment, Oracle(weak_clears(lambda a: False), target_gets_there(lambda m: m.architecture.params >= 340))
    )
    attempt = story.policy.ladder.rungs["mlp-d2-w4-L2"].attempts[0]
    assert (attempt.reached, attempt.probed) == (0, 2), "two misses of three decide, where two must reach"


def scored(oracle: Oracle, scores: Callable[[Member], dict[str, float | None]]) -> Oracle:
    """The same world with what is read off the weak members' embeddings."""
    answer = oracle.answer

    def with_scores(member: Member, job: Job) -> Row:
        row = answer(member, job)
        for kept in row["embeddings"]:
            kept["scores"] = scores(member)
        return row

    oracle.answer = with_scores  # type: ignore[method-assign]
    return oracle


def attempts(story: Story) -> dict[str, list[str]]:
    """The configs of each architecture that came before the judge, in order."""
    ladder = story.policy.ladder
    assert ladder is not None
    return {name: [a.candidate.config_id for a in rung.attempts] for name, rung in ladder.rungs.items()}


CANDIDATES = {"weak__judge": {"candidates_per_architecture": 3, "later_snapshot": False}}


def world(carries: Callable[[Member], bool]) -> Oracle:
    """Every config clears, each in its own time; what is read off an embedding is its config's own."""

    def weak(member: Member) -> int | None:
        return 50 + int(300 * chance(member.config_id))

    def read(member: Member) -> dict[str, float | None]:
        return {"fourier": chance("fourier", member.config_id), "gap": chance("gap", member.config_id)}

    return scored(Oracle(weak, target_gets_there(carries)), read)


@pytest.mark.parametrize(("name", "best"), [("fourier", "highest"), ("gap", "lowest")])
def test_a_score_orders_candidates_of_equal_cost_before_the_judge(name: str, best: str) -> None:
    """Where none carries, the same ones are tried, in the score's order."""
    plain = attempts(search(spec(**BIG, **CANDIDATES), world(lambda member: False)))
    ordered = attempts(search(spec(**BIG, **CANDIDATES, weak__order_by=name), world(lambda member: False)))
    assert plain != ordered and all(len(tried) == 3 for tried in plain.values())
    for architecture, tried in ordered.items():
        assert set(tried) == set(plain[architecture])
        assert tried == sorted(tried, key=lambda c: chance(name, c), reverse=best == "highest")


def test_a_good_score_saves_probes_and_changes_no_evidence() -> None:
    def carries(member: Member) -> bool:
        return member.architecture.params >= 262 and chance("fourier", member.config_id) > 0.6

    def probes(story: Story) -> int:
        return sum(row["role"] == "probe" for row in story.needed.values())

    plain = search(spec(**BIG, **CANDIDATES), world(carries))
    ordered = search(spec(**BIG, **CANDIDATES, weak__order_by="fourier"), world(carries))
    assert probes(ordered) < probes(plain)
    winners = [story.policy.findings.pays for story in (plain, ordered)]
    assert all(winner is not None for winner in winners)
    assert winners[0].candidate.architecture.label == winners[1].candidate.architecture.label
    weak = [{i for i, row in s.needed.items() if row["role"] in ("search", "gate")} for s in (plain, ordered)]
    assert {i for i in weak[0] if plain.needed[i]["stage"] == "weak"} == {
        i for i in weak[1] if ordered.needed[i]["stage"] == "weak"
    }


def test_with_any_number_of_workers_the_order_is_the_same() -> None:
    experiment = spec(**BIG, **CANDIDATES, weak__order_by="fourier")

    def carries(member: Member) -> bool:
        return chance("carries", member.config_id) > 0.8

    alone, many = search(experiment, world(carries)), search(experiment, world(carries), workers=5, order=3)
    assert attempts(alone) == attempts(many) and set(alone.needed) == set(many.needed)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(0.5)), min_size=1, max_size=8),
    epochs=st.lists(st.integers(10, 12), min_size=8, max_size=8),
    cost=st.sampled_from(["params", "flops"]),
    name=st.sampled_from(list(catalog.SCORES)),
)
def test_an_order_changes_when_a_candidate_is_tried_and_never_whether(
    values: list[float | None], epochs: list[int], cost: str, name: str
) -> None:
    ladders = [
        policy_for(spec(weak__cost=cost, weak__judge={"candidates_per_architecture": 4}, weak__order_by=order)).ladder
        for order in (None, name)
    ]
    candidates = []
    for i, (value, spent) in enumerate(zip(values, epochs, strict=False)):
        row = {"config_id": str(i), "status": "cleared", "flops_to_goal": spent, "train_flops": spent}
        row |= {"embeddings": [{"scores": {name: value}}], "seconds_to_goal": spent, "train_seconds": spent}
        config = {"lr": 0.003 + 0.09 * chance("lr", i), "weight_decay": 0.1 + i, "init_scale": 0.5}
        candidates.append(Candidate(ladders[0].architectures[0], config, (row,), "goal", ()))
    plain, ordered = (ladder._choose(candidates) for ladder in ladders)
    assert sorted(c.config_id for c in plain) == sorted(c.config_id for c in ordered)
    assert [ladders[0].cost(c) for c in plain] == [ladders[1].cost(c) for c in ordered], "only these swap"
    sign = -1 if catalog.load("score", name).higher_is_better else 1
    for alike in {ladders[1].cost(c) for c in ordered}:
        of_one = [values[int(c.config_id)] for c in ordered if ladders[1].cost(c) == alike]
        known = [sign * value for value in of_one if value is not None]
        assert known == sorted(known) and None not in of_one[: len(known)], "the best first, the unknown last"


def test_an_order_by_no_score_or_before_no_judge_is_refused() -> None:
    with pytest.raises(SpecError, match=r"weak.order_by: there is no score `furier`; did you mean `fourier`\?"):
        spec(weak__order_by="furier")
    with pytest.raises(SpecError, match=r"weak.order_by: is the order before a judge, and judge.by is none"):
        spec(weak__order_by="fourier", weak__judge={"by": "none"})
