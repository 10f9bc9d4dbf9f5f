"""The bill of a transfer and of scratch; what stands in it by part is tested in test_cost.py, by the figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gtsearch.analysis import bill
from gtsearch.results import trials_frame

GOAL = ("flops_to_goal", "seconds_to_goal", "epochs_to_goal")


def row(run_id: str, method: str, purpose: str, epochs: int, reached: bool = True, **more: Any) -> dict[str, Any]:
    """A member that took so many epochs, seconds and FLOPs."""
    return {
        "run_id": run_id,
        "attempt": 0,
        "stage": "weak" if method in ("weak", "growth") else "target",
        "method": method,
        "role": "report" if purpose == "report" else "search",
        "purpose": purpose,
        "status": "cleared" if reached else "exhausted",
        "train_flops": float(epochs),
        "train_seconds": float(epochs),
        "epochs": epochs,
        **dict.fromkeys(GOAL, epochs if reached else None),
    } | more


def transferred(i: int, epochs: int, weak: int, **more: Any) -> dict[str, Any]:
    handed = {"weak_run_id": f"w{i}", "weak_flops": weak, "weak_seconds": weak, "weak_epoch": weak, "split_seed": i}
    return row(f"t{i}", "transfer", "report", epochs, **handed | more)


def billed(*rows: dict[str, Any], unit: str = "flops", **transfer: Any) -> bill.Bill:
    trials = trials_frame(rows)
    report = trials[trials["role"] == "report"]
    methods = {name: {"seeds": int((report["method"] == name).sum())} for name in ("transfer", "scratch")}
    methods["transfer"] |= transfer
    found = bill.of(bill.booked(trials, methods, ["transfer", "scratch"]), unit)
    assert found is not None
    return found


def scratch(epochs: dict[int, int | None]) -> list[dict[str, Any]]:
    return [
        row(f"s{i}", "scratch", "report", took or 400, reached=took is not None, split_seed=i)
        for i, took in epochs.items()
    ]


def test_controls_and_the_study_are_on_no_bill_whether_they_ran_or_were_cancelled() -> None:
    own = [*(transferred(i, 10, 5) for i in range(3)), *scratch({0: 100, 1: 100, 2: 100})]
    own += [row("ladder", "weak", "weak_search", 30), row("ahead", "weak", "cancelled", 7, status="cancelled")]
    others = [
        row("a", "lowrank_random", "cancelled", 10**6, status="cancelled"),
        row("b", "transfer_shuffled", "target_search", 10**6),
        row("c", "weak", "cancelled", 10**6, status="cancelled", role="tradeoff"),
        row("d", "transfer", "tradeoff", 10**6, role="tradeoff"),
    ]
    found = billed(*own, *others)
    assert found.transfer.search == 30 and found.scratch.search == 0
    assert found.speedups()["with_search"]["value"] == pytest.approx(100 / (15 + 30))
    assert found.break_even() == pytest.approx(30 / (100 - 15))


def test_seeds_on_the_same_splits_are_drawn_as_pairs() -> None:
    """A split that is twice as hard is so for both: paired, the ratio is 10 in every resample."""
    hard = {0: 100, 1: 200, 2: 400, 3: 800}
    pairs = [transferred(i, epochs // 10, 0) for i, epochs in hard.items()]
    paired = billed(*reversed(pairs), *scratch(dict(hard))).speedups()["target"]
    assert paired == {"value": 10.0, "lower_bound": False, "interval": [10.0, 10.0]}
    elsewhere = [transferred(i, epochs // 10, 0, split_seed=i + 50) for i, epochs in hard.items()]
    low, high = billed(*elsewhere, *scratch(dict(hard))).speedups()["target"]["interval"]
    assert low < 4 and high > 25
    again = billed(*reversed(elsewhere), *reversed(scratch(dict(hard)))).speedups()["target"]["interval"]
    assert again == [low, high], "in whatever order their workers ended them"


def test_a_bound_beyond_what_was_observed_is_none() -> None:
    pipelines = [transferred(i, 10, 0) for i in range(5)]
    never = billed(*pipelines, *scratch(dict.fromkeys(range(5)))).speedups()["target"]
    assert never == {"value": 40.0, "lower_bound": True, "interval": [40.0, None]}
    seldom = billed(*pipelines, *scratch({0: 100, 1: 100, 2: 100, 3: None, 4: None})).speedups()["target"]
    assert seldom == {"value": 10.0, "lower_bound": False, "interval": [10.0, None]}
    missed = [transferred(i, 400, 0, reached=i < 3, **({} if i < 3 else dict.fromkeys(GOAL))) for i in range(5)]
    lost = billed(*missed, *scratch(dict.fromkeys(range(5), 100))).speedups()["target"]
    assert lost == {"value": 0.25, "lower_bound": False, "interval": [None, 0.25]}
    assert billed(transferred(0, 10, 0), *scratch({0: 100})).speedups()["target"]["interval"] == [None, None]


def test_the_search_is_held_fixed_in_the_interval_and_weak_models_are_not() -> None:
    weak = {0: 5, 1: 20, 2: 90, 3: 40, 4: 10, 5: 60}
    found = billed(
        *(transferred(i, 10, spent) for i, spent in weak.items()),
        *scratch(dict.fromkeys(weak, 100)),
        row("ladder", "weak", "weak_search", 10**6),
    ).speedups()
    assert found["target"]["interval"] == [10.0, 10.0]
    low, high = found["with_weak"]["interval"]
    assert found["with_weak"]["value"] == pytest.approx(100 / 40) and 1.0 <= low < 2.5 < high
    low, high = found["with_search"]["interval"]
    assert low < found["with_search"]["value"] < high and high / low < 1.0001


def test_the_median_of_resamples_is_kaplan_meiers_whether_or_not_it_can_be_had_faster() -> None:
    rows = scratch({0: 10, 1: 20, 2: 30, 3: None, 4: 50})
    slow = [entry | ({"epochs": 25, "train_flops": 25.0} if entry["run_id"] == "s3" else {}) for entry in rows]
    draws = np.array([[0, 1, 2, 3, 4], [3, 3, 3, 4, 4], [3, 3, 3, 3, 0], [0, 1, 3, 3, 3], [0, 1, 2, 4, 4]])
    for entries, expected in ((rows, [30, np.inf, np.inf, np.inf, 30]), (slow, [30, 50, np.inf, np.inf, 30])):
        found = billed(transferred(0, 10, 0), *entries).scratch.medians(draws)
        assert found.tolist() == expected


def test_a_growth_chain_is_charged_in_epochs_link_by_link() -> None:
    link = row("link", "growth", "report", 30, weak_run_id="w0", weak_epoch=200, split_seed=0)
    weak = row("w0", "weak", "report", 250, split_seed=0)
    grown = transferred(0, 10, 0, weak_run_id="link", weak_epoch=25)
    found = billed(weak, link, grown, *scratch({0: 1000}), unit="epochs")
    assert found.transfer.whole == 10 + 25 + 200


def test_weak_runs_of_the_claim_are_told_from_those_of_another_winner_on_the_same_split() -> None:
    rows = [
        *(transferred(i, 10, 5) for i in range(2)),
        row("missed", "weak", "report", 40, reached=False, split_seed=0),
        row("another's", "weak", "report", 60, reached=False, split_seed=1),
        *scratch({0: 100, 1: 100}),
    ]
    found = billed(*rows, weak_run_ids=["w0", "missed", "w1"])
    assert found.transfer.totals.tolist() == [10 + 5 + 40, 10 + 5]
    assert found.transfer.parts == {"winners that failed": 60} and found.transfer.search == 60


def test_what_was_run_ahead_and_not_needed_is_told_and_counts_in_no_ratio() -> None:
    rows = [*(transferred(i, 10, 5) for i in range(2)), *scratch({0: 100, 1: 100})]
    needed = row("ladder", "weak", "weak_search", 40)
    ahead = row("ahead", "weak", "cancelled", 700, status="cancelled")
    one, several = billed(*rows, needed), billed(*rows, needed, ahead)
    assert several.transfer.parts == {"weak search": 40, "run ahead, not needed": 700}
    assert several.speedups() == one.speedups() and several.break_even() == one.break_even()
