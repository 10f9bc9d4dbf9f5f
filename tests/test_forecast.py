"""What an experiment would do and cost, before it is run: as a tree for people, whole for programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oracle import spec

from gtsearch.forecast import SHOWN, Branch, Forecast, forecast
from gtsearch.plans import ablation_for
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
    assert weak.branches[0].name == "ladder, 8 configs each" and weak.members == 48
    assert [one.members for one in weak.branches[0].branches] == [8] * 6
    assert report.members == sum(one.members or 0 for one in report.branches)
    assert "gate" in weak.branches[1].name and weak.branches[1].members is None, "gate seeds are earned on the way"


def test_every_branch_is_the_sum_of_its_own(plan: Forecast) -> None:
    base = plan.variations[0]
    assert base.members == sum(leaf.members or 0 for leaf in leaves(base))
    assert base.seconds == pytest.approx(sum(leaf.seconds for leaf in leaves(base)))
    assert base.flops == pytest.approx(sum(leaf.flops for leaf in leaves(base)))
    assert plan.seconds == base.seconds > 0


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
