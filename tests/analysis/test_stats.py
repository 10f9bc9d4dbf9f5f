"""Against published values and values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtsearch.analysis import stats


@pytest.mark.parametrize(
    ("k", "n", "wilson", "exact"),
    [  # Newcombe (1998), Statistics in Medicine 17, table I
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_of_a_rate_are_the_published_ones(
    k: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]
) -> None:
    assert stats.wilson(k, n) == pytest.approx(wilson, abs=5e-5)
    assert stats.clopper_pearson(k, n) == pytest.approx(exact, abs=5e-5)


def test_no_draws_say_nothing_and_nonsense_is_refused() -> None:
    assert stats.wilson(0, 0) == stats.clopper_pearson(0, 0) == (0.0, 1.0)
    assert stats.rule_of_n(0) == 1.0
    with pytest.raises(ValueError, match="3 of 2"):
        stats.wilson(3, 2)


def test_none_of_n_bounds_how_common_a_thing_is() -> None:
    assert stats.rule_of_n(12) == pytest.approx(0.2209, abs=5e-5)
    assert stats.rule_of_n(59) < 0.05 < stats.rule_of_n(58)  # the 95/95 rule of quality control: 59 samples
    one_sided = stats.clopper_pearson(0, 12, confidence=0.90)[1]
    assert stats.rule_of_n(12) == pytest.approx(one_sided)


# Freireich et al. (1963) as in Gehan (1965): weeks of remission, the trial every textbook works through.
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
MERCAPTOPURINE = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_the_kaplan_meier_median_is_the_textbooks() -> None:
    assert stats.km_median(PLACEBO, [True] * 21) == 8
    assert stats.km_median(MERCAPTOPURINE, RELAPSED) == 23


@given(st.lists(st.floats(0.1, 1e3), min_size=1, max_size=15))
def test_without_censoring_it_is_the_ordinary_median(times: list[float]) -> None:
    assert stats.km_median(times, [True] * len(times)) == pytest.approx(float(np.median(times)))


def test_half_censored_has_no_median() -> None:
    assert stats.km_median([1, 2, 9, 9], [True, True, False, False]) is None
    assert stats.km_median([1, 2, 3, 9, 9], [True, True, True, False, False]) == 3
    assert stats.km_median([4, 4], [False, False]) is None
    assert stats.km_median([], []) is None


def test_one_that_would_never_get_there_is_a_miss_however_early_it_ended() -> None:
    # Censored at 0 it would leave the sample, and the rest would look better than they are.
    assert stats.km_median([0, 5, 7], [False, True, True]) == 6
    assert stats.km_median([math.inf, 5, 7], [False, True, True]) == 7


def test_nonsense_times_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        stats.km_median([1, 2], [True])
    with pytest.raises(ValueError, match="finite"):
        stats.km_median([math.inf], [True])
    with pytest.raises(ValueError, match="NaN"):
        stats.km_median([math.nan], [False])


def test_the_bootstrap_is_seeded_and_knows_what_it_did_not_see() -> None:
    times = [3, 4, 5, 6, 7, 8, 9, 40, 40]
    reached = [True] * 7 + [False] * 2
    low, high = stats.km_median_interval(times, reached, seed=1)
    assert (low, high) == stats.km_median_interval(times, reached, seed=1)
    assert low is not None and low <= 7
    assert stats.km_median_interval([3, 4, 9, 9], [True, True, False, False])[1] is None
    assert stats.km_median_interval([3], [True]) == (None, None)


def test_the_bootstrap_of_a_mean_is_near_the_textbook_interval() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 100)
    low, high = stats.bootstrap_interval(values, lambda sample: float(np.mean(sample)), seed=0)
    assert low is not None and high is not None
    half = 1.96 * values.std(ddof=1) / 10
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1)
    assert stats.bootstrap_interval([1.0], lambda sample: float(np.mean(sample))) == (None, None)


def test_times_to_goal_reads_a_miss_as_what_it_spent() -> None:
    members = pd.DataFrame(
        {
            "status": ["cleared", "exhausted", "capped", "diverged", "failed", "cancelled"],
            "seconds_to_goal": pd.array([3.0, None, None, None, None, None], dtype="Float64"),
            "train_seconds": pd.array([6.0, 40.0, 20.0, 1.0, None, 2.0], dtype="Float64"),
        }
    )
    times, reached = stats.times_to_goal(members, "seconds")
    assert times.tolist() == [3.0, 40.0, 20.0, math.inf, math.inf]
    assert reached.tolist() == [True, False, False, False, False]


# -- the paying threshold -----------------------------------------------------------------------------------


def study(points: dict[float, list[tuple[float | None, float | None]]]) -> pd.DataFrame:
    """level -> (accuracy measured or None, total or None for a miss) a weak seed."""
    return pd.DataFrame(
        [
            {
                "level": level,
                "weak_run_id": f"weak{seed}",
                "weak_accuracy": accuracy,
                "reached": total is not None,
                "total_flops": total if total is not None else 50.0,
            }
            for level, seeds in points.items()
            for seed, (accuracy, total) in enumerate(seeds)
        ]
    )


PAYS_FROM_THE_SECOND = {
    0.1: [(0.11, 30.0), (0.12, 12.0), (0.13, None)],
    0.2: [(0.21, 5.0), (0.23, 6.0), (0.25, None)],
    0.3: [(0.31, 4.0), (0.32, 5.0), (0.36, 30.0)],
}


def test_the_threshold_is_the_least_measured_accuracy_from_which_all_medians_pay() -> None:
    threshold, interval, least = stats.paying_threshold(study(PAYS_FROM_THE_SECOND), 10.0)
    assert threshold == 0.23
    assert least == 0.3  # medians: 30, 6, 5
    assert interval is not None and interval[0] is not None and interval[0] <= 0.23
    assert stats.paying_threshold(study(PAYS_FROM_THE_SECOND), 10.0)[1] == interval


def test_a_level_that_does_not_pay_ends_the_run_from_the_top() -> None:
    gap = PAYS_FROM_THE_SECOND | {0.2: [(0.21, 5.0), (0.23, 16.0), (0.25, None)]}
    assert stats.paying_threshold(study(gap | {0.1: [(0.1, 1.0)] * 3}), 10.0)[0] == 0.32
    none = stats.paying_threshold(study(PAYS_FROM_THE_SECOND), 5.0)  # the top's median is 5, not below
    assert none == (None, None, 0.3)


def test_a_miss_is_infinite_and_never_what_it_spent() -> None:
    cheap = study({0.2: [(0.2, 1.0), (0.2, None), (0.2, None)]}).assign(total_flops=1.0)
    assert stats.paying_threshold(cheap, 10.0) == (None, None, None)


def test_with_scratch_censored_half_of_the_seeds_must_get_there() -> None:
    table = study({0.1: [(0.1, 9e9), (0.1, None)], 0.2: [(0.2, 9e9), (0.2, 8e9)]})
    assert stats.paying_threshold(table, None)[0] == 0.1
    table = study({0.1: [(0.1, 9e9), (0.1, None), (0.1, None)], 0.2: [(0.2, 9e9), (0.2, 8e9), (0.2, None)]})
    assert stats.paying_threshold(table, None)[0] == 0.2


def test_a_level_nobody_came_to_is_not_measured_and_one_that_few_came_to_does_not_pay() -> None:
    beyond = PAYS_FROM_THE_SECOND | {0.9: [(None, None)] * 3}
    assert stats.paying_threshold(study(beyond), 10.0)[0] == 0.23
    few = PAYS_FROM_THE_SECOND | {0.9: [(0.9, 4.0), (None, None), (None, None)]}
    assert stats.paying_threshold(study(few), 10.0)[0] is None


def test_the_bootstrap_resamples_weak_seeds_with_all_their_levels() -> None:
    # Seed 0 pays from 0.1 on, seed 1 from 0.3 on. Drawing whole seeds gives 0.1, 0.3 or both; never 0.2.
    table = study(
        {
            0.1: [(0.10, 1.0), (0.10, 99.0), (0.10, 1.0)],
            0.2: [(0.20, 1.0), (0.20, 99.0), (0.20, 1.0)],
            0.3: [(0.30, 1.0), (0.30, 1.0), (0.30, 1.0)],
        }
    )
    threshold, interval, _ = stats.paying_threshold(table, 10.0)
    assert (threshold, interval) == (0.10, (0.10, 0.30))


def test_one_weak_seed_gives_no_interval() -> None:
    assert stats.paying_threshold(study({0.2: [(0.2, 1.0)]}), 10.0) == (0.2, None, 0.2)
    assert stats.paying_threshold(study({}).reindex(columns=list(study(PAYS_FROM_THE_SECOND))), 10.0) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (1, 9, 0.021484375), (4, 4, 1.0)]
)
def test_mcnemar_is_exact_and_two_sided(lost: int, won: int, p: float) -> None:
    assert stats.mcnemar(lost, won) == pytest.approx(p)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="must not be negative, not -1 and 2"):
        stats.mcnemar(-1, 2)


def test_a_paired_difference_is_the_median_over_pairs() -> None:
    value, interval = stats.paired_difference([15, 20, 50, 9], [10, 20, 30, 10])
    assert value == 2.5 and interval == (-1, 20)
    assert stats.paired_difference([15], [10]) == (5, (None, None))
    assert stats.paired_difference([], []) == (None, (None, None))


def timed(flops: float | None, low: float | None, high: float | None, epochs: float | None = 1.0) -> dict[str, object]:
    interval = [low, high]
    return {"flops_to_goal": {"median": flops, "interval": interval}, "epochs_to_goal": {"median": epochs}}


def test_methods_are_in_order_of_flops_then_epochs() -> None:
    methods = {"a": timed(9, 8, 10), "never": timed(None, 5, None), "b": timed(3, 2, 4, 7), "c": timed(3, 2, 4, 5)}
    assert stats.by_speed(methods) == ["c", "b", "a"]


def test_methods_are_told_apart_when_their_intervals_do_not_meet() -> None:
    assert stats.told_apart(timed(3, 2, 4), timed(9, 8, 10))
    assert not stats.told_apart(timed(3, 2, 8), timed(9, 8, 10))
    assert not stats.told_apart(timed(3, 2, None), timed(9, 8, 10))


def test_a_median_may_be_negative_beside_members_that_never_get_there() -> None:
    assert stats.km_median([-10.0, -8.0, -5.0, math.inf], [True, True, True, False]) == pytest.approx(-6.5)


def test_the_slope_of_a_power_law_with_its_interval() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (4, 30))
    points = [(x, x**-0.5 * np.exp(noise[i])) for i, x in enumerate((100.0, 200.0, 400.0, 1600.0))]
    slope, (low, high) = stats.log_slope(points)
    assert low is not None and high is not None and slope == pytest.approx(-0.5, abs=0.03)
    assert -0.56 < low < -0.5 < high < -0.44
    assert stats.log_slope(points) == (slope, (low, high))
    assert stats.log_slope([(x, [3 * x]) for x in (1.0, 2.0, 4.0)]) == (pytest.approx(1.0), (None, None))


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1.0, [1.0, 2.0]), (2.0, [3.0])],
        [(1.0, [1.0]), (1.0, [2.0]), (2.0, [3.0])],
        [(1.0, [1.0]), (2.0, [0.0]), (3.0, [3.0])],
        [(0.0, [1.0]), (2.0, [2.0]), (3.0, [3.0])],
        [(1.0, [1.0]), (2.0, [math.inf]), (3.0, [3.0])],
        [(1.0, [1.0]), (2.0, []), (3.0, [3.0])],
    ],
)
def test_where_there_is_no_slope(points: list[tuple[float, list[float]]]) -> None:
    assert stats.log_slope(points) == (None, (None, None))
