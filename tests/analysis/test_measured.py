from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gtsearch.analysis import measured, stats, tables
from gtsearch.analysis.evidence import Evidence
from gtsearch.measures import MEASURES
from gtsearch.results import Results
from tests.analysis.synthetic import Story, Variation, make

METHODS = ("transfer", "scratch", "lowrank_random")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    story = Story(architectures=16, levels=(), seeds=4, methods=METHODS, probes=("loss", "share"))
    return make(tmp_path_factory.mktemp("measured") / "run", story)


def by_who(run: Results, name: str) -> dict[str, measured.Measured]:
    return {one.who: one for one in measured.measure(measured.members_of(run), name)}


@pytest.mark.parametrize("name", [*MEASURES, "probe:loss"])
def test_every_measure_is_made_and_said(run: Results, name: str) -> None:
    told = by_who(run, name)
    assert told and all(measured.text(one, name) and measured.label(name) for one in told.values())
    of_weak = {"seconds_per_epoch", "flops_per_epoch", "final_accuracy", "best_accuracy", "weak_accuracy"}
    assert ("weak" in told) == (name in of_weak)
    assert name == "weak_accuracy" or set(METHODS) <= set(told)


def report(run: Results, method: str) -> pd.DataFrame:
    return run.trials[(run.trials["method"] == method) & (run.trials["role"] == "report")]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("test_accuracy", "test_accuracy"),
        ("final_accuracy", "final_val_accuracy"),
        ("best_accuracy", "best_val_accuracy"),
    ],
)
def test_a_median_is_over_all_report_members(run: Results, name: str, column: str) -> None:
    for who, one in by_who(run, name).items():
        assert one.median == pytest.approx(report(run, who)[column].median())
        assert one.interval[0] is not None and one.interval[0] <= one.median <= (one.interval[1] or 0)


def test_seconds_and_flops_an_epoch(run: Results) -> None:
    weak, transfer = report(run, "weak"), report(run, "transfer")
    assert by_who(run, "seconds_per_epoch")["weak"].median == pytest.approx(
        (weak["train_seconds"] / weak["epochs"]).median()
    )
    assert by_who(run, "flops_per_epoch")["transfer"].median == pytest.approx(6.9e9)
    assert len(transfer) == 4
    assert measured.text(by_who(run, "flops_per_epoch")["transfer"], "flops_per_epoch") == (
        "6.9 GFLOP [6.9, 6.9] an epoch"
    )


def test_times_to_the_goal_are_the_summarys(run: Results) -> None:
    for unit in stats.UNITS:
        for method, record in run.summary["methods"].items():
            one = by_who(run, unit)[method]
            assert [one.median, *one.interval] == [
                record[f"{unit}_to_goal"]["median"],
                *record[f"{unit}_to_goal"]["interval"],
            ]
            assert (one.there, one.n) == (record["reached"], record["seeds"])


def test_the_last_value_of_a_probe_counts_and_one_that_was_not_finite_is_left_out(run: Results) -> None:
    last = run.probes[run.probes["probe"] == "share"].sort_values("epoch").groupby("run_id").tail(1)
    own = last[last["run_id"].isin(report(run, "transfer")["run_id"])]
    assert by_who(run, "probe:share")["transfer"].median == pytest.approx(own["value"].median())
    broken = run.probes.copy()
    broken.loc[own.index[0], "value"] = pd.NA
    assert by_who(dataclasses.replace(run, probes=broken), "probe:share")["transfer"].n == 3


def test_probes_of_the_weak_model_are_told_as_weak(run: Results) -> None:
    read = [
        {"run_id": run_id, "epoch": 10, "probe": "share", "value": 0.25} for run_id in report(run, "weak")["run_id"]
    ]
    more = pd.concat([run.probes, pd.DataFrame(read).astype(run.probes.dtypes.to_dict())], ignore_index=True)
    one = by_who(dataclasses.replace(run, probes=more), "probe:share")["weak"]
    assert (one.median, one.n) == (0.25, 4)


def test_a_time_gap_that_was_not_seen_is_censored(run: Results) -> None:
    told = by_who(run, "time_gap")
    gap = (report(run, "scratch")["epoch_val_95"] - report(run, "scratch")["epoch_train_95"]).median()
    assert told["scratch"].median == pytest.approx(gap) and (told["scratch"].there, told["scratch"].n) == (4, 4)
    never = told["lowrank_random"]
    assert never.median is None and (never.there, never.n) == (0, 4)
    assert measured.text(never, "time_gap") == "time gap – (0 of 4)"
    seeds = copy.deepcopy(run.summary)
    seeds["methods"]["scratch"]["seeds"] = 6  # two pipelines gave no embedding
    assert by_who(dataclasses.replace(run, summary=seeds), "time_gap")["scratch"].n == 6


def test_the_weak_accuracy_is_of_what_was_handed_over(run: Results) -> None:
    handed = report(run, "transfer")["weak_accuracy"]
    assert by_who(run, "weak_accuracy")["weak"].median == pytest.approx(handed.median())


def test_runs_of_a_weak_config_that_was_not_handed_over_are_left_out(run: Results) -> None:
    trials = run.trials.copy()
    one = trials.index[(trials["method"] == "weak") & (trials["role"] == "report")][0]
    trials.loc[one, ["config_id", "run_id"]] = ["withdrawn", "withdrawn"]
    assert len(measured.members_of(dataclasses.replace(run, trials=trials)).weak) == 3


def test_a_censored_sample_has_a_kaplan_meier_median() -> None:
    sample = measured.Sample(np.array([1.0, 2.0, 3.0, math.inf]), np.array([True, True, True, False]))
    assert sample.median == 2.5 and sample.interval[1] is None
    assert measured.Sample(np.array([]), np.array([], dtype=bool)).median is None


def test_the_report_has_a_table_of_what_varied(folder: Path, usual: Results) -> None:
    varied = {"late": Variation({"x": 1}, 2.0), "never": Variation({"y": 1}, 1.0, 4)}
    story = Story(architectures=16, levels=(), seeds=4, methods=METHODS[:2], probes=("loss",), variations=varied)
    made = make(folder, story)
    table = next(table for table in tables.of_run(made, Evidence(made)) if table.title == "What varied, measured")
    assert [row[0].text for row in table.rows] == ["base", "late", "never"]
    assert "time gap, transfer" in table.head and "loss, scratch" in table.head and "weak accuracy" in table.head
    at = table.head.index("time gap, transfer")
    assert table.rows[0][at] != table.rows[1][at]
    assert table.rows[2][table.head.index("epochs to the goal, transfer")].text == "–"
    assert all(len(row) == len(table.head) for row in table.rows)
    none = next(table for table in tables.of_run(usual, Evidence(usual)) if table.title == "What varied, measured")
    assert not none.rows
