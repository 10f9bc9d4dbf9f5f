"""Which members a number rests on, and what of them a page carries along."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gtsearch.analysis.evidence import COLUMNS, Evidence, Group
from gtsearch.results import Results
from tests.analysis.synthetic import Story, Variation, make


def members(results: Results, evidence: Evidence, id: str | None) -> pd.DataFrame:
    group = found(evidence, id)
    return results.trials.iloc[group.rows]


def found(evidence: Evidence, id: str | None) -> Group:
    return next(group for group, _ in evidence.carried().groups if group.id == id)


def test_a_methods_claim_rests_on_its_report_seeds_alone(usual: Results) -> None:
    evidence = Evidence(usual)
    own = members(usual, evidence, evidence.report("transfer"))
    assert len(own) == usual.summary["methods"]["transfer"]["seeds"]
    assert set(own["role"]) == {"report"} and set(own["stage"]) == {"target"} and set(own["method"]) == {"transfer"}
    tuned = members(usual, evidence, evidence.tuning("transfer"))
    assert len(tuned) == usual.summary["methods"]["transfer"]["tuning_members"]


def test_an_architectures_numbers_rest_on_its_members(usual: Results) -> None:
    evidence = Evidence(usual)
    for rung in usual.summary["weak"]["ladder"]:
        label = rung["architecture"]
        search = evidence.weak(label, "search")
        assert (search is None) == (rung["configs"] == 0)
        if search is not None:
            own = members(usual, evidence, search)
            assert len(own) == rung["configs"]
            assert (own["status"] == "cleared").sum() == rung["cleared_configs"]
            assert own["best_val_accuracy"].max() == pytest.approx(rung["best_val_accuracy"])


def test_pipelines_are_the_weak_models_and_their_targets(usual: Results) -> None:
    evidence = Evidence(usual)
    own = members(usual, evidence, evidence.pipelines())
    targets = own[own["stage"] == "target"]
    assert len(targets) == usual.summary["weak"]["pays"]["pipelines"]
    assert set(targets["weak_run_id"]) <= set(own["run_id"]) and set(own["role"]) == {"report"}


def test_a_variations_numbers_rest_on_its_own_members(folder: Path) -> None:
    results = make(folder, Story(variations={"slow": Variation({"a": 1})}, levels=(), architectures=3, seeds=3))
    evidence = Evidence(results)
    base, slow = (members(results, evidence, evidence.report("transfer", name)) for name in ("base", "slow"))
    assert len(base) == len(slow) == 3 and not set(base["run_id"]) & set(slow["run_id"])


def test_what_nothing_is_known_of_has_no_link(usual: Results) -> None:
    evidence = Evidence(usual)
    assert evidence.report("never_ran") is None and evidence.weak("mlp-none", "gate") is None
    assert evidence.carried().groups == []


def test_the_block_holds_the_members_as_they_are(usual: Results) -> None:
    evidence = Evidence(usual, "run-7")
    id = evidence.report("transfer_shuffled")
    carried = evidence.carried()
    assert id == "run-7-members-1" and carried.linked == carried.embedded == 10
    block = json.loads(json.dumps(carried.block, allow_nan=False))
    columns = dict(zip(COLUMNS, block["columns"], strict=True))
    own = usual.trials[(usual.trials["role"] == "report") & (usual.trials["method"] == "transfer_shuffled")]
    shown = [columns["run_id"]["texts"][columns["run_id"]["values"][row]] for row in block["groups"][id]]
    assert shown == list(own["run_id"])
    assert columns["epochs_to_goal"]["values"] == [None] * 10  # never reached is unknown, and no number
    assert columns["train_seconds"]["values"] == pytest.approx(list(own["train_seconds"]), rel=1e-5)


def test_a_page_carries_what_is_claimed_before_what_only_chose(usual: Results) -> None:
    evidence = Evidence(usual, most=12)
    report, tuning = evidence.report("scratch"), evidence.tuning("scratch")
    carried = evidence.carried()
    assert (carried.linked, carried.embedded) == (18, 12)
    assert {group.id: here for group, here in carried.groups} == {report: 10, tuning: 2}
    assert [len(carried.block["groups"][id]) for id in (report, tuning)] == [10, 2]


def test_the_same_members_are_one_group(usual: Results) -> None:
    evidence = Evidence(usual)
    assert evidence.report("scratch") == evidence.report("scratch") != evidence.report("transfer")
    assert found(evidence, evidence.report("scratch")).conditions == (
        "stage == 'target' and role == 'report' and method == 'scratch'"
    )
