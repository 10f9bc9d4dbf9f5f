"""The starts of a study, what is decided of them and what a summary tells, by values worked by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gtsearch.analysis import payoff, pipelines
from tests.analysis.study_kit import MISSED, STUDY, endpoint, pipeline, scratch, snapshot, unreached


def frame(records: list[dict[str, Any]] = STUDY) -> pd.DataFrame:
    return pipelines.frame(records)


# -- the frame ------------------------------------------------------------------------------------------------


def test_the_frame_has_every_column_with_its_type_and_null_for_what_is_not_known() -> None:
    made = frame()
    assert list(made.columns) == list(pipelines.COLUMNS)
    assert {name: str(dtype) for name, dtype in made.dtypes.items()} == pipelines.COLUMNS
    assert made.loc[made["arm"] == "scratch", ["design", "level", "weak_run_id", "weak_accuracy"]].isna().all(axis=None)
    assert made.loc[made["status"] == "unreached", ["run_id", "target_flops"]].isna().all(axis=None)
    empty = frame([])
    assert empty.empty and {name: str(dtype) for name, dtype in empty.dtypes.items()} == pipelines.COLUMNS
    assert pipelines.starts(empty, "snapshots", "flops") == []


# -- starts ---------------------------------------------------------------------------------------------------


def test_starts_by_value() -> None:
    found = pipelines.starts(frame(), "snapshots", "flops")
    assert [start.level for start in found] == [0.1, 0.3, 0.5]
    assert [start.accuracy for start in found] == pytest.approx([0.12, 0.33, 0.54]), "medians of those that came"
    assert [(s.weak_runs, s.came, s.reached, s.pipelines) for s in found] == [(3, 3, 1, 3), (3, 3, 3, 3), (3, 2, 2, 3)]
    last = found[2]
    assert last.arrays.spent.tolist() == [[400], [440], [1000]], "one that never came is charged its weak run"
    assert last.arrays.reached.tolist() == [[True], [True], [False]]
    assert last.arrays.accuracy[:2].tolist() == [0.52, 0.56] and np.isnan(last.arrays.accuracy[2])
    assert last.scratch.spent.tolist() == [[1000], [1100], [900]] and last.scratch.reached.all()
    assert pipelines.starts(frame(), "snapshots", "epochs")[0].arrays.spent.tolist() == [[120], [122], [91]]
    assert pipelines.starts(frame(), "dose", "flops") == []


def test_shuffled_pipelines_are_a_control_and_no_start() -> None:
    assert [start.pipelines for start in pipelines.starts(frame(), "snapshots", "flops")] == [3, 3, 3]


def test_two_target_seeds_are_two_columns() -> None:
    records = [*scratch(100, 80), *scratch(90, 70, column=1)]
    records += [snapshot(i, 0.3, 0.3 + 0.02 * i, 10, 20 + i + 5 * j, column=j) for i in range(2) for j in range(2)]
    (start,) = pipelines.starts(frame(records), "snapshots", "epochs")
    assert start.arrays.spent.tolist() == [[30, 35], [31, 36]]
    assert start.scratch.spent.tolist() == [[100, 90], [80, 70]]
    assert (start.weak_runs, start.came, start.reached, start.pipelines) == (2, 2, 4, 4)
    assert start.accuracy == pytest.approx(0.31), "a weak model counts once, however many targets it has"
    told = pipelines.told(frame(records))
    assert (told["replicates"], told["target_seeds"], told["scratch"]["pipelines"]) == (2, 2, 4)


def test_an_unreached_weak_model_is_charged_for_every_target_that_would_have_run() -> None:
    records = [*scratch(100, 80), *scratch(90, 70, column=1)]
    records += [snapshot(0, 0.3, 0.3, 10, 20, column=j) for j in range(2)]
    records += [unreached(1, 0.3, 100) | {"column": j} for j in range(2)]
    (start,) = pipelines.starts(frame(records), "snapshots", "epochs")
    assert start.arrays.spent.tolist() == [[30, 30], [100, 100]]
    assert (start.came, start.reached, start.pipelines) == (1, 2, 4)


def test_endpoints_are_alike_in_bins_of_accuracy_and_compared_with_scratch_on_their_own_splits() -> None:
    records = [*scratch(100, 200)]
    accuracies = [0.05, 0.30, 0.39, 0.31, None]
    for number, accuracy in enumerate(accuracies):
        missed = {**MISSED, "status": "unreached"} if accuracy is None else {}
        records.append(endpoint(number, number % 2, accuracy, 10 * (number + 1), **missed))
    found = pipelines.starts(frame(records), "endpoints", "epochs")
    assert [start.accuracy for start in found] == [None, 0.05, 0.31], "0.30 is in the bin from 0.3 on"
    assert [(start.level, start.dose, start.refined) for start in found] == [(None, None, False)] * 3
    assert [start.weak_runs for start in found] == [1, 1, 3]
    np.testing.assert_array_equal(found[2].arrays.spent, [[80, np.nan], [70, 90]], "those on one split side by side")
    assert found[2].scratch.spent.tolist() == [[100], [200]], "with scratch on their splits"
    _, paying = pipelines.decide(frame(records), "endpoints", "epochs")
    assert paying.ratios[2].value == pytest.approx((70 + 80 + 90) / 3 / 150)
    assert paying.ratios[1].interval == (None, None), "one split says nothing of others"
    assert (paying.threshold, paying.crossing, paying.interval) == (None, None, (None, None))


def test_bins_are_as_wide_as_they_say() -> None:
    edges = [i / 10 for i in range(10)]
    records = [*scratch(100), *(endpoint(i, 0, edge, 10) for i, edge in enumerate(edges))]
    records += [endpoint(10 + i, 0, edge + 0.0999, 10) for i, edge in enumerate(edges)]
    found = pipelines.starts(frame(records), "endpoints", "flops")
    assert [start.pipelines for start in found] == [2] * 10


# -- what is decided ------------------------------------------------------------------------------------------


def test_decide_by_value() -> None:
    found, paying = pipelines.decide(frame(), "snapshots", "flops")
    # With restarts: all that was spent over how many got there; scratch's is 100 epochs.
    expected = [120 + 122 + 91, (40 + 46 + 43) / 3, (40 + 44 + 100) / 2]
    assert [ratio.value for ratio in paying.ratios] == pytest.approx([cost / 100 for cost in expected])
    assert paying.ratios == pipelines.ratios(found)
    assert not any(ratio.pays for ratio in paying.ratios), "three of three is not sure"
    assert (paying.threshold, paying.crossing) == (None, pytest.approx(0.33))
    assert paying.resolution == pytest.approx(0.33 - 0.12)


def test_the_threshold_is_where_it_pays_from_there_on() -> None:
    records = [*scratch(*(90 + 2 * (i % 10) for i in range(16)))]
    for level, cost in ((0.1, 500), (0.2, 40), (0.3, 400), (0.4, 30), (0.5, 20)):
        records += [snapshot(i, level, level + 0.01, 10, cost + i % 4) for i in range(16)]
    _, paying = pipelines.decide(frame(records), "snapshots", "flops")
    assert [ratio.pays for ratio in paying.ratios] == [False, True, False, True, True]
    assert (paying.threshold, paying.crossing) == (pytest.approx(0.41), pytest.approx(0.41))
    assert paying.interval == (pytest.approx(0.31), pytest.approx(0.41))


def test_where_scratch_never_gets_there_ratios_are_upper_bounds() -> None:
    records = [*scratch(*[200] * 12, **MISSED)]
    records += [snapshot(i, 0.3, 0.3, 10, 30 + i % 3) for i in range(12)]
    _, paying = pipelines.decide(frame(records), "snapshots", "epochs")
    (ratio,) = paying.ratios
    assert ratio.upper_bound and ratio.value == pytest.approx(41 / 200)
    told = pipelines.told(frame(records))
    assert told["levels"][0]["upper_bound"] and told["levels"][0]["pays"]
    assert told["scratch"]["censored"] and told["scratch"]["reached"] == 0
    assert told["scratch"]["expected_epochs"] == 200, "what it spent, and it costs at least that"
    once = pipelines.told(frame([*scratch(200, 200, **MISSED), *scratch(100, column=1), *records[12:14]]))
    assert not once["scratch"]["censored"] and not once["levels"][0]["upper_bound"]


# -- what a summary tells -------------------------------------------------------------------------------------


def test_told_by_value() -> None:
    told = pipelines.told(frame())
    assert json.loads(json.dumps(told)) == told, "plain JSON values"
    assert (told["threshold"], told["crossing"]) == (None, pytest.approx(0.33))
    assert told["resolution"] == pytest.approx(0.21) and told["least_total"] == 0.3
    assert (told["replicates"], told["target_seeds"]) == (3, 1)
    assert told["coverage"] == payoff.coverage_note(3)
    scratch_told = {"reached": 3, "pipelines": 3, "censored": False}
    scratch_told |= {"expected_epochs": 100, "expected_seconds": 10, "expected_flops": 1000}
    assert told["scratch"] == pytest.approx(scratch_told)
    first, second, third = told["levels"]
    assert (first["design"], first["level"], first["refined"], first["dose"]) == ("snapshots", 0.1, False, None)
    assert [level["weak_accuracy"] for level in told["levels"]] == pytest.approx([0.12, 0.33, 0.54])
    assert (third["weak_runs"], third["reached_level"], third["reached_goal"], third["pipelines"]) == (3, 2, 2, 3)
    assert [level["ratio_flops"] for level in told["levels"]] == pytest.approx([3.33, 0.43, 0.92])
    assert not any(level["pays"] for level in told["levels"]), "three replicates are too few to be sure"
    assert second["interval_flops"][0] < 0.43 < second["interval_flops"][1] and not second["upper_bound"]
    assert second["expected_total_flops"] == pytest.approx(430) and third["expected_total_epochs"] == pytest.approx(92)
    assert (second["median_target_epochs"], second["median_total_epochs"]) == (20, 43)
    assert third["median_total_flops"] == 440, "a miss is infinite, and the middle one got there"
    assert first["median_target_flops"] is first["median_total_seconds"] is None


def test_a_start_that_nobody_came_from_has_no_ratio_and_no_expected_cost() -> None:
    records = [*scratch(100, 110), *(snapshot(i, 0.1, 0.1, 10, 110, **MISSED) for i in range(2))]
    records += [unreached(i, 0.9, 100) for i in range(2)]
    told = pipelines.told(frame(records))
    low, high = sorted(told["levels"], key=lambda level: level["level"])
    for level in (low, high):
        assert level["ratio_flops"] is level["expected_total_flops"] is level["median_total_flops"] is None
        assert not level["pays"] and level["interval_flops"][1] is None
    assert high["weak_accuracy"] is None and high["reached_level"] == 0
    assert told["threshold"] is told["crossing"] is told["least_total"] is None


def test_designs_are_told_one_after_another_and_snapshots_decide() -> None:
    records = [*STUDY]
    for dose, cost in ((0.3, 25), (0.7, 300)):
        own = {"design": "dose", "dose": dose, "weak_accuracy": 0.6 - 0.5 * dose}
        records += [pipeline("transfer", i, 30, cost + i, **own) for i in range(3)]
    records.append(endpoint(0, 0, 0.45, 20))
    told = pipelines.told(frame(records))
    assert [(level["design"], level["level"], level["dose"]) for level in told["levels"]] == [
        ("snapshots", 0.1, None),
        ("snapshots", 0.3, None),
        ("snapshots", 0.5, None),
        ("dose", None, 0.7),
        ("dose", None, 0.3),
        ("endpoints", None, None),
    ]
    alone = pipelines.told(frame())
    for key in ("threshold", "interval", "crossing", "resolution", "least_total"):
        assert told[key] == alone[key], "doses and endpoints choose no threshold"
    cheaper = [r | {"total_flops": 1.0} if r.get("design") == "dose" else r for r in records]
    assert pipelines.told(frame(cheaper))["least_total"] == alone["least_total"]
    of_doses = pipelines.told(frame([r for r in records if r.get("design") != "snapshots"]))
    assert of_doses["threshold"] is of_doses["least_total"] is None


def test_one_replicate_claims_nothing() -> None:
    told = pipelines.told(frame([*scratch(100), snapshot(0, 0.3, 0.3, 10, 20)]))
    assert (told["threshold"], told["interval"], told["crossing"]) == (None, [None, None], 0.3)
    assert told["levels"][0]["interval_flops"] == [None, None] and told["replicates"] == 1


# -- costs ----------------------------------------------------------------------------------------------------


def test_expected_and_median_by_value() -> None:
    rows = frame([snapshot(0, 0.3, 0.3, 10, 20), snapshot(1, 0.3, 0.3, 10, 60, **MISSED), unreached(2, 0.3, 100)])
    assert pipelines.expected(rows, "epochs") == 30 + 70 + 100
    assert pipelines.median(rows, "total_epochs") is None
    assert pipelines.median(rows.iloc[:1], "total_epochs") == 30
    assert pipelines.expected(rows.iloc[1:], "epochs") == 85, "nobody got there: at least what a pipeline spent"
    assert (
        pipelines.expected(rows.iloc[:0], "epochs") is None and pipelines.median(rows.iloc[:0], "total_epochs") is None
    )
    assert not math.isnan(pipelines.expected(rows, "seconds") or math.nan)


def test_screening_says_what_those_that_come_to_the_threshold_do_before_it() -> None:
    """Two good weak models carry the target from the lowest level on; two bad ones never do, nor come to the next."""
    records = [*scratch(100, 101, 99, 100)]
    for i in range(4):
        good = i < 2
        records.append(snapshot(i, 0.1, 0.1, 5, 20 if good else 100, **({} if good else MISSED)))
        records.append(snapshot(i, 0.4, 0.4, 10, 20) if good else unreached(i, 0.4, 12))
    told = pipelines.told(frame(records))
    assert told["crossing"] == 0.4 and [level["reached_goal"] for level in told["levels"]] == [2, 2]
    assert told["screening"] == {
        "accuracy": 0.4,
        "came": 2,
        "weak_runs": 4,
        "lowest": 0.1,
        "lowest_reached": 2,
        "lowest_pipelines": 2,
    }


def test_nothing_was_screened_where_nothing_pays_or_everything_does() -> None:
    poor = [snapshot(i, level, level, 5, 100, **MISSED) for i in range(2) for level in (0.1, 0.4)]
    rich = [snapshot(i, level, level, 5, 10) for i in range(2) for level in (0.1, 0.4)]
    assert pipelines.told(frame([*scratch(100, 100), *poor]))["screening"] is None
    assert pipelines.told(frame([*scratch(100, 100), *rich]))["screening"] is None
