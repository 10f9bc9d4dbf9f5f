"""Against published values and values worked by hand."""

from __future__ import annotations

import itertools
import math
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

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


@given(st.data(), st.integers(1, 12))
def test_medians_of_many_draws_are_those_of_each_draw(data: st.DataObject, n: int) -> None:
    reached = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    steps = st.one_of(st.integers(1, 6), st.just(math.inf))
    times = np.array(data.draw(st.lists(steps, min_size=n, max_size=n)), dtype=float)
    times[reached & np.isinf(times)] = 3.5
    draws = np.random.default_rng(n).integers(n, size=(40, n))
    assert stats.km_medians(times, reached, draws) == [stats.km_median(times[d], reached[d]) for d in draws]


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


# -- censored times -----------------------------------------------------------------------------------------


def test_the_kaplan_meier_curve_is_the_textbooks() -> None:
    # Klein and Moeschberger (2003), table 4.1B; the log-log interval as R's survfit(conf.type = "log-log") has it.
    curve = stats.kaplan_meier(MERCAPTOPURINE, RELAPSED)
    at = {time: i for i, time in enumerate(curve.times.tolist())}
    published = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {time: round(float(curve.surviving[at[time]]), 3) for time in published} == published
    assert [curve.at_risk[at[time]] for time in published] == [21, 17, 15, 12, 11, 7, 6]
    assert (curve.low[at[6]], curve.high[at[6]]) == pytest.approx((0.620, 0.952), abs=5e-4)
    assert (curve.low[at[23]], curve.high[at[23]]) == pytest.approx((0.188, 0.680), abs=5e-4)
    narrow = stats.kaplan_meier(MERCAPTOPURINE, RELAPSED, confidence=0.5)
    assert curve.low[at[23]] < narrow.low[at[23]] < 0.448 < narrow.high[at[23]] < curve.high[at[23]]


def test_a_curve_of_one_of_nobody_and_of_none_that_got_there() -> None:
    one = stats.kaplan_meier([3], [True])
    assert (one.times.tolist(), one.surviving.tolist(), one.at_risk.tolist()) == ([3], [0], [1])
    assert np.isnan(one.low[0]) and np.isnan(one.high[0])
    censored = stats.kaplan_meier([4, 4, 9], [False] * 3)
    assert (censored.times.tolist(), censored.surviving.tolist()) == ([4, 9], [1, 1])
    assert np.isnan(censored.low).all()
    assert not len(stats.kaplan_meier([], []).times)
    assert not len(stats.kaplan_meier([math.inf], [False]).times)


def test_one_that_never_would_stays_at_risk_and_adds_no_time() -> None:
    curve = stats.kaplan_meier([2, 5, math.inf], [True, True, False])
    assert curve.times.tolist() == [2, 5]
    assert curve.surviving == pytest.approx([2 / 3, 1 / 3])
    assert curve.at_risk.tolist() == [3, 2]


def test_the_log_rank_test_is_the_textbooks() -> None:
    # Chi-square 16.79 with one degree of freedom: Collett, Kleinbaum and R's survdiff.
    p = stats.log_rank(PLACEBO, [True] * 21, MERCAPTOPURINE, RELAPSED)
    assert p == pytest.approx(4.17e-5, abs=5e-8)
    assert stats.log_rank(MERCAPTOPURINE, RELAPSED, PLACEBO, [True] * 21) == pytest.approx(p)


def test_the_log_rank_test_of_nothing_tells_nothing_apart() -> None:
    assert stats.log_rank([1, 2], [False] * 2, [3], [False]) == 1.0
    assert stats.log_rank([], [], [3], [True]) == 1.0
    assert stats.log_rank([1], [True], [math.inf], [False]) < 1.0
    assert stats.log_rank([5], [True], [1], [False]) == 1.0  # alone at its success: compared with nobody
    never = stats.log_rank([1, 2, 3, 4], [True] * 4, [math.inf] * 4, [False] * 4)
    assert never == stats.log_rank([1, 2, 3, 4], [True] * 4, [99] * 4, [False] * 4) < 0.05


def test_the_restricted_mean_is_the_textbooks() -> None:
    # Klein and Moeschberger (2003), example 4.2: 23.287 weeks of the first 35, variance 7.993 (before m / (m - 1)).
    mean, (low, high) = stats.restricted_mean(MERCAPTOPURINE, RELAPSED, 35)
    assert mean == pytest.approx(23.287, abs=5e-4)
    assert low is not None and high is not None
    half = 2.0860 * math.sqrt(7.993 * 9 / 8)  # t of 20 degrees of freedom
    assert (low, high) == pytest.approx((23.287 - half, 23.287 + half), abs=2e-3)


@given(st.lists(st.floats(0.1, 1e3), min_size=2, max_size=12))
def test_without_censoring_the_restricted_mean_is_the_mean_with_its_t_interval(times: list[float]) -> None:
    horizon = max(times)
    mean, (low, high) = stats.restricted_mean(times, [True] * len(times), horizon)
    assert mean == pytest.approx(np.mean(times))
    half = float(scipy_stats.t.ppf(0.975, len(times) - 1)) * float(np.std(times, ddof=1)) / math.sqrt(len(times))
    assert low == pytest.approx(max(0.0, np.mean(times) - half), abs=1e-6 * horizon)
    assert high == pytest.approx(min(horizon, np.mean(times) + half), abs=1e-6 * horizon)


def test_a_restricted_mean_is_cut_at_the_horizon_and_unknown_beyond_what_was_seen() -> None:
    assert stats.restricted_mean([2, 6, 50, math.inf], [True, True, True, False], 10)[0] == (2 + 6 + 10 + 10) / 4
    assert stats.restricted_mean([2, 6, 8], [True, True, False], 10) == (None, (None, None))
    assert stats.restricted_mean([10, 10], [False, False], 10) == (10, (None, None))
    assert stats.restricted_mean([4], [True], 10) == (4, (None, None))
    assert stats.restricted_mean([], [], 10) == (None, (None, None))


def test_par10_counts_a_miss_ten_times() -> None:
    assert stats.par10([10, 20, 100, 40, math.inf], [True, True, True, False, False], 50) == (30 + 3 * 500) / 5
    assert stats.par10([50], [True], 50) == 50
    assert stats.par10([], [], 50) is None


# -- restarts -----------------------------------------------------------------------------------------------


def test_restarts_cost_what_all_spent_over_how_many_got_there() -> None:
    times, reached = [1, 10, 100, 100], [True, True, False, False]
    assert stats.expected_with_restarts(times, reached, 100) == 211 / 2
    assert stats.expected_with_restarts(times, reached, 10) == pytest.approx(31 / 2)
    assert stats.expected_with_restarts(times, reached, 1) == pytest.approx(4)
    assert stats.expected_with_restarts(times, reached, 0.5) is None
    assert stats.best_restart(times, reached) == (1, pytest.approx(4))


def test_early_censoring_goes_through_kaplan_meier() -> None:
    # Of three at risk at 4 one gets there, then one is given up: S is 2/3 from 4 and 0 from 9.
    times, reached = [4, 6, 9], [True, False, True]
    assert stats.expected_with_restarts(times, reached, 9) == pytest.approx(4 + 5 * 2 / 3)
    assert stats.expected_with_restarts(times, reached, 4) == pytest.approx(4 * 3)
    assert stats.best_restart(times, reached) == (math.inf, pytest.approx(4 + 10 / 3))
    assert stats.expected_with_restarts([4, 6], [True, False], 9) is None


def test_a_restart_needs_somebody_who_got_there() -> None:
    assert stats.best_restart([], []) is None
    assert stats.best_restart([5, math.inf], [False, False]) is None
    assert stats.best_restart([5], [True]) == (math.inf, 5)
    assert stats.best_restart([5, math.inf], [True, False]) == (5, 10)


@given(st.lists(st.tuples(st.floats(0.1, 100.0), st.booleans()), min_size=1, max_size=10), st.floats(0.1, 100.0))
def test_no_cutoff_beats_the_best_restart(members: list[tuple[float, bool]], cutoff: float) -> None:
    times, reached = zip(*members, strict=True)
    best, other = stats.best_restart(times, reached), stats.expected_with_restarts(times, reached, cutoff)
    assert (best is not None) == any(reached)
    if best is not None and other is not None:
        assert best[1] <= other * (1 + 1e-9)


# -- resampling ---------------------------------------------------------------------------------------------


def mean(sample: stats.Floats) -> float:
    return float(np.mean(sample))


def test_clusters_are_drawn_whole() -> None:
    # Within a cluster nothing varies: ten copies of each of 8 values say no more than the 8 values.
    values = np.random.default_rng(5).normal(10.0, 2.0, 8)
    copied = stats.cluster_interval([np.full(10, value) for value in values], mean, seed=2)
    assert copied == pytest.approx(stats.cluster_interval([[value] for value in values], mean, seed=2))
    low, high = copied
    assert low is not None and high is not None
    half = 2.365 * values.std(ddof=1) / math.sqrt(8)
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)
    plain_low, plain_high = stats.bootstrap_interval(values, mean, seed=2)
    assert plain_low is not None and plain_high is not None
    assert low < plain_low < plain_high < high
    assert stats.cluster_interval([[1.0, 2.0]], mean) == (None, None)
    assert stats.cluster_interval([[1.0], [2.0]], lambda sample: None) == (None, None)


def test_the_expected_best_by_hand() -> None:
    assert stats.expected_best([3, 1, 2], miss=9) == pytest.approx([2, 4 / 3, 1])
    assert stats.expected_best([5, math.nan, math.inf], miss=50) == pytest.approx([35, 20, 5])
    assert stats.expected_best([math.nan], miss=50) == pytest.approx([50])
    assert not len(stats.expected_best([], miss=50))


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=7))
def test_the_expected_best_is_the_mean_over_all_choices(values: list[float]) -> None:
    all_choices = [mean([min(c) for c in itertools.combinations(values, n)]) for n in range(1, len(values) + 1)]
    assert stats.expected_best(values, miss=0.0) == pytest.approx(all_choices, abs=1e-9)


def test_the_expected_best_of_many_configs_is_exact_too() -> None:
    best = stats.expected_best(np.arange(1, 2001), miss=0.0)
    n = np.arange(1, 2001)
    assert best == pytest.approx(2001 / (n + 1), rel=1e-9)  # the mean least of n of the first N numbers


def test_the_band_of_the_expected_best() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, 30)
    low, high = stats.expected_best_band(values, miss=99.0, seed=4)
    best = stats.expected_best(values, miss=99.0)
    assert (low <= best).all() and (best <= high).all()
    assert low[0] == pytest.approx(mean(values) - 1.96 * values.std() / math.sqrt(30), rel=0.02)
    again = stats.expected_best_band(values, miss=99.0, seed=4)
    assert np.array_equal(low, again[0]) and np.array_equal(high, again[1])
    assert np.isnan(stats.expected_best_band([3.0], miss=99.0)).all()


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
@settings(max_examples=20)
def test_no_answer_depends_on_the_order_in_which_members_came_in(
    members: list[tuple[int, bool, int]], random: Random
) -> None:
    """Workers end them in another order every time, and a resumed run must say what an undisturbed one says."""

    def answers(these: list[tuple[int, bool, int]]) -> list[object]:
        times, reached = [float(t) for t, _, _ in these], [r for _, r, _ in these]
        clusters: dict[int, list[float]] = {}
        for time, _, cluster in these:
            clusters.setdefault(cluster, []).append(time)
        pairs = np.array([times, reached], dtype=np.float64).T

        def mean(sample: np.ndarray) -> float:
            return float(np.mean(sample))

        low, high = stats.expected_best_band(times, 9.0, resamples=50)
        return [
            stats.km_median_interval(times, reached, resamples=50),
            stats.bootstrap_interval(times, mean, resamples=50),
            stats.bootstrap_interval(pairs, lambda sample: mean(sample[:, 0] * (1.0 + sample[:, 1])), resamples=50),
            stats.cluster_interval(list(clusters.values()), lambda s: round(mean(s), 9), resamples=50),
            stats.log_slope([(x, times) for x in (1.0, 2.0, 3.0)]),
            np.array([low, high]).round(9).tolist(),
        ]

    shuffled = random.sample(members, len(members))
    assert answers(members) == answers(shuffled)
