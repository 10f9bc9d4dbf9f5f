"""Variations of one experiment: paired seeds, shared runs, an answer each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from oracle import Oracle, Story, search, spec, target_gets_there, weak_clears

from gtsearch import certificate
from gtsearch.errors import SpecError
from gtsearch.results import trials_frame
from gtsearch.spec import Spec

BIG = {"target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256}}


def varied(**vary: dict[str, Any]) -> Spec:
    return spec(**BIG, ablate={"vary": vary})


def world(pays_from: int = 340) -> Oracle:
    return Oracle(
        weak_clears(lambda architecture: architecture.params >= 262),
        target_gets_there(lambda member: member.architecture.params >= pays_from),
    )


def trials(story: Story) -> Any:
    return trials_frame(certificate.settle(story.ablation, list(story.rows.values())))


def test_each_variation_has_the_answer_it_has_alone() -> None:
    together = search(varied(**{"later goal": {"target.goal.hold": 3}}), world())
    alone = search(spec(**BIG, target__goal__hold=3), world())
    policy = together.ablation.policies["later goal"]
    assert together.ablation.is_complete
    assert policy.findings.pays.candidate.architecture.label == "mlp-d4-w8-L2"
    assert {r for r in together.rows if r in policy.board.counted} == set(alone.needed)


def test_runs_that_variations_share_run_once_and_count_for_both() -> None:
    story = search(varied(gate={"weak.gate.seeds": 4, "weak.gate.at_least": 3}), world())
    frame = trials(story)
    scratch = frame[(frame["method"] == "scratch") & (frame["status"] != "cancelled")]
    assert set(scratch["variation"]) == {"base,gate"}
    assert frame["run_id"].is_unique


def test_seeds_are_paired() -> None:
    story = search(varied(hold={"target.goal.hold": 3}), world())
    frame = trials(story)
    reports = frame[(frame["role"] == "report") & (frame["method"] == "scratch")]
    seeds = {name: sorted(part["seed"]) for name, part in reports.groupby("variation")}
    assert seeds["base"] == seeds["hold"] and len(seeds["base"]) == 10


def test_the_summary_tells_every_variation() -> None:
    story = search(varied(levels={"target.budget.max_epochs": [300, 100]}), world())
    summary = json.loads(json.dumps(certificate.summarise(story.ablation, trials(story)), allow_nan=False))
    assert list(summary["variations"]) == ["base", "levels 300", "levels 100"]
    assert summary["variations"]["levels 100"]["changes"] == {"target.budget.max_epochs": 100}
    reached = {n: v["summary"]["methods"]["scratch"]["reached"] for n, v in summary["variations"].items()}
    assert reached == {"base": 10, "levels 300": 10, "levels 100": 0}  # scratch takes 200 epochs in this world
    assert summary["weak"] == summary["variations"]["base"]["summary"]["weak"]


def test_crossed_is_every_combination() -> None:
    experiment = spec(
        ablate={"design": "crossed", "vary": {"n": {"report.seeds": [7, 8]}, "g": {"weak.gate.seeds": [5, 6]}}}
    )
    assert list(experiment.variations()) == ["base", "n 7 g 5", "n 7 g 6", "n 8 g 5", "n 8 g 6"]
    last = experiment.variations()["n 8 g 6"]
    assert (last.report.seeds, last.weak.gate.seeds, last.ablate) == (8, 6, None)


def test_any_number_of_workers_in_any_order_finds_the_same() -> None:
    experiment = varied(hold={"target.goal.hold": 3}, fewer={"report.seeds": 8})
    one = search(experiment, world())
    for workers, order in ((2, 1), (3, 2)):
        other = search(experiment, world(), workers=workers, order=order)
        assert set(other.needed) == set(one.needed)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "ablate.vary: is empty"),
        ({"a": {}}, "ablate.vary.a: changes nothing"),
        ({"base": {"report.seeds": 8}}, "ablate.vary.base: a name has at most 48"),
        ({"a": {"seed": 3}}, "ablate.vary.a.seed: varies one of task, weak, target"),
        ({"a": {"report.seeds": [7, 8], "weak.gate.seeds": [5]}}, "ablate.vary.a: its lists go in step"),
        (
            {"a": {"report.seeds": 0}},
            "ablate: the variation `a` is no valid experiment: report.seeds: must be 1 or more",
        ),
        ({"a": {"report.sseds": 9}}, "ablate: the variation `a` is no valid experiment: report.sseds: there is no key"),
    ],
)
def test_what_is_wrong_is_said(vary: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        spec(ablate={"vary": vary})
    assert str(error.value).startswith(message)


def test_two_variations_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match=r"ablate\.vary: two variations are called `a 8`; rename one"):
        spec(ablate={"vary": {"a": {"report.seeds": [7, 8]}, "a 8": {"report.seeds": 9}}})
