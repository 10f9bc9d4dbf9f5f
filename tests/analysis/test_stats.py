"""Against published values and values worked by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
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


# -- what pays ----------------------------------------------------------------------------------------------


def arm(spent: list[list[float]], reached: list[list[int]] | None = None, accuracy: float = 0.3) -> stats.Starts:
    """Pipelines; without `reached` all got there."""
    costs = np.array(spent, dtype=float)
    there = np.ones_like(costs) if reached is None else np.array(reached)
    return stats.Starts(np.full(len(costs), accuracy), costs, there.astype(bool))


def test_a_ratio_and_its_jackknife_by_hand() -> None:
    ratio = stats.cost_ratio(arm([[2], [4]]), arm([[8], [8]]))
    assert ratio.value == pytest.approx(3 / 8) and not ratio.upper_bound
    # Without the one the start costs 4, without the other 2.
    half = 12.7062 * math.sqrt((math.log(4 / 3) ** 2 + math.log(2 / 3) ** 2) / 2)
    assert ratio.interval == pytest.approx((3 / 8 * math.exp(-half), 3 / 8 * math.exp(half)), rel=1e-4)
    assert not ratio.pays and not ratio.loses


def test_misses_are_charged_and_tried_again() -> None:
    # One weak model never came there (5 spent), one target missed (20): 5 + 20 + 6 + 9 over two that got there.
    ratio = stats.cost_ratio(arm([[5], [20], [6], [9]], [[0], [0], [1], [1]]), arm([[40]] * 4))
    assert ratio.value == pytest.approx(20 / 40)


def test_a_pipeline_that_did_not_run_is_no_evidence() -> None:
    gap = arm([[2, math.nan], [4, 6]])
    assert stats.cost_ratio(gap, arm([[8, 8], [8, 8]])).value == pytest.approx(4 / 8)


def test_what_moves_with_its_replicate_cancels() -> None:
    splits = np.array([[1.0], [5.0], [2.0], [9.0], [4.0], [3.0]])
    ratio = stats.cost_ratio(arm((splits * 2).tolist()), arm((splits * 4).tolist()))
    # Nothing but misses not seen is left: at most 0.4593 of 6 at 36 each, on a mean of 8 over one of 16.
    unseen = 36 * 0.45926 / (1 - 0.45926)
    assert ratio.interval == pytest.approx((8 / (16 + unseen), (8 + unseen) / 16), rel=1e-4)
    many, crossed = np.tile(splits, (10, 1)), np.tile(splits[::-1], (10, 1))
    width = [np.ptp(np.log(stats.cost_ratio(arm(many.tolist()), arm(to.tolist())).interval)) for to in (many, crossed)]
    assert width[0] < 0.6 * width[1]


def two_way_half(starts: stats.Starts, scratch: stats.Starts) -> float:
    """The width by leaving out in loops."""

    def log_ratio(keep: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> float:
        cost, base = (one.spent[keep].sum() / one.reached[keep].sum() for one in (starts, scratch))
        return math.log(cost / base)

    replicates, target_seeds = starts.spent.shape
    whole = np.ones((replicates, target_seeds), dtype=bool)

    def variance(left_out: list[tuple[object, object]]) -> float:
        found = []
        for at in left_out:
            keep = whole.copy()
            keep[at] = False
            found.append((log_ratio(keep) - log_ratio(whole)) ** 2)
        return (len(found) - 1) * mean(np.array(found))

    of_replicates = variance([(i, slice(None)) for i in range(replicates)])
    of_seeds = variance([(slice(None), j) for j in range(target_seeds)])
    of_cells = variance([(i, j) for i in range(replicates) for j in range(target_seeds)])
    total = of_replicates + max(0.0, of_seeds - of_cells)
    return float(scipy_stats.t.ppf(0.975, replicates - 1)) * math.sqrt(total)


@pytest.mark.parametrize("target_seed", [0.0, 2.0])
def test_target_seeds_are_crossed_with_replicates(target_seed: float) -> None:
    random = np.random.default_rng(7)
    grid = random.normal(0, 0.3, (6, 1)) + target_seed * np.array([0.0, 0.5, 1.0]) + random.normal(0, 0.2, (6, 3))
    # Each arm has a weak seed that misses dearly: so rare and so dear, that the jackknife is the wider interval.
    missed = [np.arange(6) == seed for seed in (1, 4)]
    spent = [np.exp(grid), np.exp(random.normal(0, 0.2, (6, 3)))]
    starts, scratch = (
        arm(np.where(bad[:, None], 100.0, own).tolist(), np.repeat(~bad[:, None], 3, axis=1).tolist())
        for own, bad in zip(spent, missed, strict=True)
    )
    ratio = stats.cost_ratio(starts, scratch)
    half = two_way_half(starts, scratch)
    assert ratio.value is not None
    assert ratio.interval == pytest.approx((ratio.value * math.exp(-half), ratio.value * math.exp(half)))


def test_scratch_may_have_more_target_seeds_but_not_other_replicates() -> None:
    starts = arm([[2], [4], [3]])
    assert stats.cost_ratio(starts, arm([[8, 4]] * 3)).value == pytest.approx(0.5)
    assert stats.cost_ratio(starts, arm([[6, math.nan]] * 3)) == stats.cost_ratio(starts, arm([[6]] * 3))
    with pytest.raises(ValueError, match="3 cannot be set against 2"):
        stats.cost_ratio(starts, arm([[8], [8]]))


def test_starts_of_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not \\(\\(1,\\), \\(2, 1\\), \\(2, 1\\)\\)"):
        stats.Starts(np.zeros(1), np.ones((2, 1)), np.ones((2, 1), dtype=bool))


def test_one_replicate_has_a_ratio_and_no_interval() -> None:
    ratio = stats.cost_ratio(arm([[1, 1]]), arm([[9, 9]]))
    assert ratio.value == pytest.approx(1 / 9) and ratio.interval == (None, None) and not ratio.pays
    two_of_which_one_ran = arm([[1], [math.nan]])
    assert stats.cost_ratio(two_of_which_one_ran, arm([[9], [9]])).interval == (None, None)
    nothing = stats.Ratio(None, (None, None), upper_bound=False)
    assert stats.cost_ratio(arm([[math.nan]] * 3), arm([[9]] * 3)) == nothing
    assert stats.cost_ratio(arm([[9]] * 3), arm([[math.nan]] * 3)) == nothing


def test_a_start_that_never_gets_there_costs_at_least_what_its_rate_can_be() -> None:
    ratio = stats.cost_ratio(arm([[30.0]] * 10, [[0]] * 10), arm([[10.0]] * 10))
    assert ratio.value is None and not ratio.upper_bound
    # None of 10: a rate of at most 0.3085 (Clopper and Pearson), so 30 / 0.3085 a success; over scratch's 10, of which
    # none missed: at most 0.3085, at 30 each.
    scratch = 10 + 30 * 0.30850 / 0.69150
    assert ratio.interval == (pytest.approx(30 / 0.30850 / scratch, rel=1e-4), None)
    assert ratio.loses and not ratio.pays
    few = stats.cost_ratio(arm([[30.0]] * 10, [[1]] + [[0]] * 9), arm([[10.0]] * 10))
    assert few.value == pytest.approx(30)
    assert few.interval == (pytest.approx(30 / 0.44502 / scratch, rel=1e-4), None)


def test_over_a_scratch_that_never_gets_there_the_ratio_is_at_most() -> None:
    costs = [[10.0], [12.0], [9.0], [11.0], [10.0]]
    ratio = stats.cost_ratio(arm(costs), arm([[40.0]] * 5, [[0]] * 5))
    assert ratio.upper_bound and ratio.value == pytest.approx(10.4 / 40)
    low, high = ratio.interval
    # None of 5 missed and none got there: either rate is at most 0.5218.
    assert low == 0.0 and high == pytest.approx((10.4 + 40 * 0.52182 / 0.47818) / (40 / 0.52182), rel=1e-4)
    assert ratio.pays and not ratio.loses
    dear = stats.cost_ratio(arm([[10 * cost for cost in row] for row in costs]), arm([[40.0]] * 5, [[0]] * 5))
    assert dear.value == pytest.approx(104 / 40) and not dear.loses  # scratch may cost far more
    rarely = stats.cost_ratio(arm(costs), arm([[40.0]] * 5, [[1], [0], [0], [0], [0]]))
    assert not rarely.upper_bound and rarely.value == pytest.approx(10.4 / 200)
    assert rarely.interval[0] == 0.0 and rarely.interval[1] is not None and high < rarely.interval[1] < 1.0
    neither = stats.cost_ratio(arm(costs, [[0]] * 5), arm([[40.0]] * 5, [[0]] * 5))
    assert neither == stats.Ratio(None, (None, None), upper_bound=True)


@pytest.mark.parametrize(("replicates", "pays"), [(3, False), (5, False), (10, True), (20, True)])
def test_a_start_that_never_missed_may_still_miss(replicates: int, pays: bool) -> None:
    # The jackknife alone has an interval of no width at all here.
    ratio = stats.cost_ratio(arm([[3.7]] * replicates), arm([[10.0]] * replicates))
    odds = 1 / 0.025 ** (1 / replicates) - 1
    assert ratio.value == pytest.approx(0.37) and ratio.interval[1] == pytest.approx(0.37 + odds)
    assert ratio.pays == pays


def test_a_miss_not_seen_is_as_dear_as_the_dearest_pipeline_of_either_arm() -> None:
    tops = [stats.cost_ratio(arm([[2.0]] * 10), arm([[10.0]] * 9 + [[last]])).interval[1] for last in (10.0, 11.0)]
    assert tops == pytest.approx([(2 + 10 * 0.44614) / 10, (2 + 11 * 0.44614) / 10.1], rel=1e-4)


def test_what_no_weak_model_came_to_says_nothing_on_whether_targets_miss() -> None:
    # 4 of 10 weak models came there, and all their targets got there: no more than 4 of 4.
    came = np.arange(10) < 4
    starts = stats.Starts(np.where(came, 0.4, math.nan), np.where(came, 16.0, 10.5)[:, None], came[:, None])
    ratio = stats.cost_ratio(starts, arm([[80.0]] * 10))
    assert ratio.value == pytest.approx((16 + 10.5 * 6 / 4) / 80)
    rate = stats.clopper_pearson(0, 4)[1]
    assert ratio.interval[1] == pytest.approx((16 + (80 * rate + 10.5 * 6 / 4) / (1 - rate)) / 80)
    assert not ratio.pays


def test_target_seeds_do_not_make_more_weak_seeds() -> None:
    one, three = (stats.cost_ratio(arm([[2.0] * n] * 10), arm([[10.0] * n] * 10)) for n in (1, 3))
    assert one.interval == pytest.approx(three.interval)
    # Half the target seeds of two replicates missed: as many as one replicate.
    half = arm([[8.0, 10.0]] * 2 + [[8.0, 8.0]] * 8, [[1, 0]] * 2 + [[1, 1]] * 8)
    rate = stats.clopper_pearson(1, 10)[1]
    assert stats.cost_ratio(half, arm([[10.0, 10.0]] * 10)).interval[1] == pytest.approx(
        0.8 + rate / (1 - rate), rel=1e-6
    )


def test_a_scratch_that_never_missed_may_still_miss() -> None:
    few, many = (stats.cost_ratio(arm([[16.0]] * n), arm([[10.0]] * n)) for n in (5, 20))
    assert few.interval[0] == pytest.approx(16 / (10 + 16 * (1 / 0.025 ** (1 / 5) - 1)))
    assert not few.loses and many.loses


@pytest.mark.parametrize("replicates", [5, 8, 10])
def test_weak_seeds_that_are_good_or_bad_are_not_said_to_pay_where_they_do_not(replicates: int) -> None:
    # A bad one in four: 30 + 165 / 3 a success over scratch's 80. By the jackknife alone 24, 10 and 6 % pay.
    random = np.random.default_rng(replicates)
    pays = []
    for _ in range(300):
        good = random.random((replicates, 1)) < 0.75
        starts = arm(np.where(good, 30 * np.exp(random.normal(0, 0.1, good.shape)), 165.0).tolist(), good.tolist())
        pays.append(stats.cost_ratio(starts, arm((80 * np.exp(random.normal(0, 0.3, good.shape))).tolist())).pays)
    assert np.mean(pays) < 0.04


@given(
    st.lists(st.tuples(*[st.floats(0.5, 50.0)] * 2, st.booleans(), st.booleans()), min_size=2, max_size=8),
    st.floats(0.01, 1e12),
)
def test_a_ratio_has_no_unit_and_turns_around(members: list[tuple[float, float, bool, bool]], unit: float) -> None:
    ours, theirs, we, they = zip(*members, strict=True)
    starts, scratch = arm([[c] for c in ours], [[r] for r in we]), arm([[c] for c in theirs], [[r] for r in they])
    ratio = stats.cost_ratio(starts, scratch)
    scaled = [dataclasses.replace(one, spent=one.spent * unit) for one in (starts, scratch)]
    again = stats.cost_ratio(*scaled)
    assert again.value == (None if ratio.value is None else pytest.approx(ratio.value))
    assert again.interval == tuple(None if end is None else pytest.approx(end) for end in ratio.interval)
    if sum(we) and sum(they):
        turned = stats.cost_ratio(scratch, starts)
        assert ratio.value is not None and turned.value == pytest.approx(1 / ratio.value)
        if (sum(we) > 1 and sum(they) > 1) or None not in (*ratio.interval, *turned.interval):
            low, high = ratio.interval
            assert low is not None and high is not None
            assert turned.interval == (pytest.approx(1 / high), pytest.approx(1 / low))
    if ratio.value is not None and None not in ratio.interval:
        low, high = ratio.interval
        assert low is not None and high is not None and low <= ratio.value * (1 + 1e-9)
        assert ratio.value <= high * (1 + 1e-9)


def level(accuracy: float, cost: float, spread: float = 0.1) -> stats.Starts:
    """Twelve replicates that cost about `cost`."""
    return arm([[cost * (1 + spread * at)] for at in (-1, -0.5, 0, 0, 0.5, 1) * 2], accuracy=accuracy)


SCRATCH = arm([[10.0]] * 12)


def test_the_threshold_and_where_the_crossing_lies() -> None:
    found = stats.paying(
        [level(0.1, 30), level(0.2, 12, spread=0.9), level(0.3, 9, spread=0.9), level(0.4, 4), level(0.5, 5)], SCRATCH
    )
    assert [ratio.pays for ratio in found.ratios] == [False, False, False, True, True]
    assert [ratio.loses for ratio in found.ratios] == [True, False, False, False, False]
    assert found.threshold == 0.4
    assert found.interval == (0.1, 0.4)
    assert found.crossing == 0.3 and found.resolution == pytest.approx(0.1)


def test_a_start_that_does_not_pay_ends_the_threshold_from_above() -> None:
    found = stats.paying([level(0.4, 4), level(0.1, 5), level(0.3, 30), level(0.2, 5)], SCRATCH)
    assert (found.threshold, found.crossing, found.interval) == (0.4, 0.4, (0.3, 0.4))
    assert [round(ratio.value or 0, 1) for ratio in found.ratios] == [0.4, 0.5, 3.0, 0.5]
    none = stats.paying([level(0.1, 4), level(0.5, 30)], SCRATCH)
    assert (none.threshold, none.crossing, none.resolution, none.interval) == (None, None, None, (0.5, None))


def test_everything_pays_or_nothing_was_measured() -> None:
    found = stats.paying([level(0.2, 4), level(0.3, 4)], SCRATCH)
    assert (found.threshold, found.interval, found.crossing, found.resolution) == (0.2, (None, 0.2), 0.2, None)
    assert stats.paying([], SCRATCH) == stats.Paying([], None, (None, None), None, None)


def test_two_starts_of_one_accuracy_must_both_pay() -> None:
    found = stats.paying([level(0.2, 4), level(0.2, 30), level(0.3, 4)], SCRATCH)
    assert (found.threshold, found.interval) == (0.3, (0.2, 0.3))


def test_a_level_that_no_weak_model_came_to_is_passed_over() -> None:
    beyond = arm([[8.0]] * 12, [[0]] * 12, accuracy=math.nan)
    found = stats.paying([level(0.3, 4), beyond], SCRATCH)
    assert found.threshold == 0.3
    assert found.ratios[1].value is None and found.ratios[1].loses
    assert beyond.measured is None
    few = stats.Starts(np.array([math.nan] * 11 + [0.9]), beyond.spent, beyond.reached)
    assert stats.paying([level(0.3, 4), few], SCRATCH).threshold is None


def test_the_accuracy_of_a_start_is_the_median_of_those_that_came() -> None:
    starts = level(0.3, 4)
    some = dataclasses.replace(starts, accuracy=np.array([0.2, 0.3, 0.5] + [math.nan] * 9))
    assert some.measured == stats.paying([some], SCRATCH).crossing == 0.3


def test_a_study_of_one_seed_claims_nothing() -> None:
    found = stats.paying([arm([[1.0]], accuracy=0.2), arm([[2.0]], accuracy=0.3)], arm([[9.0]]))
    assert (found.threshold, found.interval) == (None, (None, None))
    assert found.crossing == 0.2


def test_the_report_says_so_where_an_interval_does_not_keep_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MEASURED_COVERAGE", {8: 0.88, 12: 0.93, 16: 0.982, 20: 0.99})
    note = "with 8 weak seeds this interval held the truth in 88 % of 1000 simulated studies"
    assert stats.coverage_note(8) == stats.coverage_note(6) == stats.coverage_note(10) == note
    assert stats.coverage_note(11) is stats.coverage_note(14) is stats.coverage_note(17) is None
    assert "20 weak seeds" in (stats.coverage_note(400) or "")


def test_the_report_says_so_where_there_are_too_few_seeds_to_show_anything() -> None:
    fewest = stats.FEWEST
    assert stats.clopper_pearson(0, fewest)[1] < 0.5 < stats.clopper_pearson(0, fewest - 1)[1]
    assert "fewer than 6 weak seeds" in (stats.coverage_note(fewest - 1) or "")
    assert stats.coverage_note(1) == stats.coverage_note(4) == stats.coverage_note(5)
    assert "fewer than" not in (stats.coverage_note(fewest) or "")
    # Even starts for nothing: half may miss, which costs what scratch costs.
    free = [stats.cost_ratio(arm([[1e-6]] * n), arm([[10.0]] * n)).pays for n in range(2, 10)]
    assert free == [False] * 4 + [True] * 4


def test_every_size_measured_keeps_its_word_or_errs_to_the_safe_side() -> None:
    for measured in (stats.MEASURED_COVERAGE, stats.MEASURED_THRESHOLD_COVERAGE):
        assert set(measured) == {3, 4, 5, 8, 10, 20}
        assert all(0.94 <= coverage <= 1.0 for coverage in measured.values())
