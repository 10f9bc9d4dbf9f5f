"""What an experiment would do and cost, before it is run: as a tree for people, whole for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from oracle import Oracle, chance, search, spec

from gtsearch.forecast import SHOWN, Branch, Forecast, forecast
from gtsearch.plans import ablation_for
from gtsearch.search.board import Member
from gtsearch.spec import load_spec


@pytest.fixture(scope="module")
def plan() -> Forecast:
    return forecast(ablation_for(spec(), 2))


def leaves(branch: Branch) -> Iterator[Branch]:
    if not branch.branches:
        yield branch
    for inner in branch.branches:
        yield from leaves(inner)


def test_it_says_what_is_asked_and_counts_what_runs(plan: Forecast) -> None:
    text = "\n".join(plan.lines())
    assert "6 architectures by params, from mlp-d2-w4-L2 (154 parameters) to mlp-d4-w16-L2 (588)" in text
    assert "211/159/159 for training, validation and test" in text
    weak, target, report, tradeoff = plan.variations[0].branches
    assert [part.name for part in (weak, target, tradeoff)] == ["weak stage", "target stage", "trade-off"]
    assert weak.branches[0].name == "ladder, 8 configs each" and weak.branches[0].members == 48
    assert [one.members for one in weak.branches[0].branches] == [8] * 6
    assert report.members == sum(one.members for one in report.branches)
    assert [one.members for one in report.branches[-2:]] == [10 * 5, 6 * 8 * 10], "tries, and candidates that clear"
    _, gate, judge = weak.branches
    assert (gate.name, gate.members) == ("gate, 5 seeds for what clears", 6 * 8 * 5)
    assert [part.members for part in judge.branches] == [6 * 2 * 4, 6 * 2 * 2 * 2 * 3], "later snapshots, and probes"


def test_every_branch_is_the_sum_of_its_own(plan: Forecast) -> None:
    base = plan.variations[0]
    assert base.members == sum(leaf.members for leaf in leaves(base))
    assert base.seconds == pytest.approx(sum(leaf.seconds for leaf in leaves(base)))
    assert base.flops == pytest.approx(sum(leaf.flops for leaf in leaves(base)))
    assert plan.seconds == base.seconds > 0


PURPOSES = {
    "weak_search": "ladder",
    "weak_gate": "gate",
    "probe": "judge",
    "target_search": "target stage",
    "report": "report",
    "tradeoff": "trade-off",
}
"""What a row was run for -> the part of the plan that counts it."""
SMALL: dict[str, Any] = {
    "weak__budget__configs_per_architecture": 4,
    "weak__gate": {"seeds": 3, "at_least": 2},
    "report": {"seeds": 6, "at_least": 4, "weak_tries": 3},
}
WORLDS: dict[str, dict[str, Any]] = {
    "params": {},
    "flops": {"weak__cost": "flops"},
    "total": {"weak__cost": "total_flops"},
    "no judge": {"weak__judge": {"by": "none"}},
    "later snapshots": {"weak__judge__later_snapshot": True, "weak__search": "random"},
    "controls": {"target__methods": ["transfer", "scratch", "transfer_shuffled", "onehot"]},
    "nothing to choose": {
        "target__search": "grid",
        "target__tune": {"lr": 0.01, "weight_decay": 1.0, "init_scale": 1.0, "embedding_scale": 1.0},
        "target__start_from": {},
    },
    "growth": {
        "target__embedding_from": {
            "name": "growth",
            "chain": [
                {
                    "goal": 0.5,
                    "model": {"name": "mlp", "depth": 2, "d_embed": 8, "width": 16},
                    "config": {"lr": 0.01, "weight_decay": 1.0, "init_scale": 0.5, "embedding_scale": 1.0},
                }
            ],
        }
    },
    "all designs": {
        "tradeoff": {
            "weak_accuracy": [0.1, 0.3, 0.5],
            "seeds": 3,
            "designs": ["snapshots", "dose", "endpoints"],
            "retune": 2,
            "target_seeds": 2,
        }
    },
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("luck", ["none", "some", "until the report"])
def test_no_search_takes_more_than_it_says_at_most(world: str, luck: str) -> None:
    """Runs and FLOPs of every part, where all clears and nothing pays, where some does, and where all that passes the
    judge fails its report seeds."""

    def lucky(member: Member) -> bool:
        if luck == "some":
            return chance(order, member.run_id) < 0.6
        return luck == "until the report" and member.role != "report"

    def weak(member: Member) -> int | None:
        return 400 if luck == "none" or member.role != "report" or chance(order, member.run_id) < 0.5 else None

    order, experiment = len(world), spec(**(SMALL | WORLDS[world]))
    story = search(experiment, Oracle(weak, lambda m, _: 300 if m.method == "scratch" else 40 if lucky(m) else None), 2)
    base = forecast(story.ablation).variations[0]
    withdrawn = sum(not confirmed.pays for confirmed in story.policy.findings.confirmations)
    assert (withdrawn > 1) >= (luck == "until the report")
    levels = len({row["level"] for row in story.rows.values() if row["stage"] == "target" and row["refined"]})
    parts = {part.name.split(",")[0]: part for part in (*base.branches[0].branches, *base.branches[1:])}
    seen: set[str] = set()
    for purpose, name in PURPOSES.items():
        rows = [row for row in story.rows.values() if row["purpose"] == purpose]
        seen |= {row["run_id"] for row in rows}
        again = name in ("target stage", "report") or "weak__cost" in WORLDS[world]
        most = [parts.get(name, Branch("none")), *base.beside[:1] * withdrawn * again]
        most += base.beside[1:] * levels * (name == "trade-off")
        assert len(rows) <= sum(part.members for part in most), name
        assert sum(row["train_flops"] for row in rows) <= sum(part.flops for part in most), name
    assert seen == set(story.rows)


def test_where_everything_clears_and_nothing_pays_the_weak_stage_takes_all_it_may() -> None:
    experiment = spec(tradeoff=None)
    base = forecast(ablation_for(experiment)).variations[0]
    ladder, gate, judge = base.branches[0].branches
    seen = search(experiment, Oracle(lambda _: 400, lambda m, _: 200 if m.method == "scratch" else None))
    ran = Counter((row["stage"], row["purpose"]) for row in seen.rows.values())
    assert (ran["weak", "weak_search"], ran["weak", "weak_gate"]) == (ladder.members, gate.members)
    assert ran["weak", "probe"] == judge.branches[0].members
    assert 0 < ran["target", "probe"] <= judge.branches[1].members


def test_what_may_come_again_stands_beside_the_plan(plan: Forecast) -> None:
    base = plan.variations[0]
    winner, level = base.beside
    assert winner.members == 2 * (8 + 2 * 2) + 10 + 10 * 5, "two methods tuned anew, one reported, weak models"
    assert level.members == 3 and winner not in base.branches
    text = " ".join(" ".join(plan.lines()).split())
    assert "each winner that its report seeds withdraw 84" in text and "each level that refines the trade-off 3" in text
    assert f"at most {base.members:,} runs, about " in text and "what begins with `each` is not in it" in text
    assert plan.to_json()["members"] == base.members


def test_flops_are_epochs_times_what_an_epoch_takes(plan: Forecast) -> None:
    experiment = spec()
    assert experiment.weak is not None
    policy = ablation_for(experiment, 2).base
    assert policy.ladder is not None
    first = plan.variations[0].branches[0].branches[0].branches[0]
    architecture = policy.ladder.architectures[0]
    assert first.name == architecture.label
    assert first.flops == 8 * experiment.weak.budget.max_epochs * architecture.flops_per_epoch


def test_variations_stand_beside_it_and_are_counted() -> None:
    varied = forecast(ablation_for(load_spec("smoke", ["ablate={vary: {goal: {report.seeds: [5, 6]}}}"])))
    alone = forecast(ablation_for(load_spec("smoke")))
    assert len(varied.variations) == 3 and varied.seconds > 2.9 * alone.seconds
    text = "\n".join(varied.lines())
    assert "2 beside it on the same seeds: goal 5, goal 6" in text and "variation goal 6" in text


def test_of_many_architectures_a_person_sees_some_and_a_program_all() -> None:
    many = forecast(ablation_for(load_spec("modadd")))
    ladder = many.to_json()["variations"][0]["branches"][0]["branches"][0]
    assert len(ladder["branches"]) == 20
    shown = [line for line in many.lines() if "mlp-d" in line and "weak:" not in line and "target:" not in line]
    assert len(shown) == SHOWN - 1
    [between] = [line for line in many.lines() if "between" in line]
    assert between.split()[:3] == ["...", "15", "between"] and between.split()[3] == "120"


def test_piped_it_is_plain_text(plan: Forecast) -> None:
    assert all(line.isascii() and line.isprintable() for line in plan.lines())
