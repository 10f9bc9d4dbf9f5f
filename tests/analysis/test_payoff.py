"""What pays: by hand, in properties, and where the intervals must not claim too much."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gtsearch.analysis import payoff, stats


def arm(spent: list[list[float]], reached: list[list[int]] | None = None, accuracy: float = 0.3) -> payoff.Starts:
    """Pipelines; without `reached` all got there."""
    costs = np.array(spent, dtype=float)
    there = np.ones_like(costs) if reached is None else np.array(reached)
    return payoff.Starts(np.full(len(costs), accuracy), costs, there.astype(bool))


def test_a_ratio_and_its_jackknife_by_hand() -> None:
    ratio = payoff.cost_ratio(arm([[2], [4]]), arm([[8], [8]]))
    assert ratio.value == pytest.approx(3 / 8) and not ratio.upper_bound
    # Without the one the start costs 4, without the other 2.
    half = 12.7062 * math.sqrt((math.log(4 / 3) ** 2 + math.log(2 / 3) ** 2) / 2)
    assert ratio.interval == pytest.approx((3 / 8 * math.exp(-half), 3 / 8 * math.exp(half)), rel=1e-4)
    assert not ratio.pays and not ratio.loses


def test_misses_are_charged_and_tried_again() -> None:
    # One weak model never came there (5 spent), one target missed (20): 5 + 20 + 6 + 9 over two that got there.
    ratio = payoff.cost_ratio(arm([[5], [20], [6], [9]], [[0], [0], [1], [1]]), arm([[40]] * 4))
    assert ratio.value == pytest.approx(20 / 40)


def test_a_pipeline_that_did_not_run_is_no_evidence() -> None:
    gap = arm([[2, math.nan], [4, 6]])
    assert payoff.cost_ratio(gap, arm([[8, 8], [8, 8]])).value == pytest.approx(4 / 8)


def test_what_moves_with_its_replicate_cancels() -> None:
    splits = np.array([[1.0], [5.0], [2.0], [9.0], [4.0], [3.0]])
    ratio = payoff.cost_ratio(arm((splits * 2).tolist()), arm((splits * 4).tolist()))
    # Nothing but misses not seen is left: at most 0.4593 of 6 at 36 each, on a mean of 8 over one of 16.
    unseen = 36 * 0.45926 / (1 - 0.45926)
    assert ratio.interval == pytest.approx((8 / (16 + unseen), (8 + unseen) / 16), rel=1e-4)
    many, crossed = np.tile(splits, (10, 1)), np.tile(splits[::-1], (10, 1))
    width = [np.ptp(np.log(payoff.cost_ratio(arm(many.tolist()), arm(to.tolist())).interval)) for to in (many, crossed)]
    assert width[0] < 0.6 * width[1]


def two_way_half(starts: payoff.Starts, scratch: payoff.Starts) -> float:
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
        return (len(found) - 1) * float(np.mean(found))

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
    ratio = payoff.cost_ratio(starts, scratch)
    half = two_way_half(starts, scratch)
    assert ratio.value is not None
    assert ratio.interval == pytest.approx((ratio.value * math.exp(-half), ratio.value * math.exp(half)))


def test_scratch_may_have_more_target_seeds_but_not_other_replicates() -> None:
    starts = arm([[2], [4], [3]])
    assert payoff.cost_ratio(starts, arm([[8, 4]] * 3)).value == pytest.approx(0.5)
    assert payoff.cost_ratio(starts, arm([[6, math.nan]] * 3)) == payoff.cost_ratio(starts, arm([[6]] * 3))
    with pytest.raises(ValueError, match="3 cannot be set against 2"):
        payoff.cost_ratio(starts, arm([[8], [8]]))


def test_starts_of_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not \\(\\(1,\\), \\(2, 1\\), \\(2, 1\\)\\)"):
        payoff.Starts(np.zeros(1), np.ones((2, 1)), np.ones((2, 1), dtype=bool))


def test_one_replicate_has_a_ratio_and_no_interval() -> None:
    ratio = payoff.cost_ratio(arm([[1, 1]]), arm([[9, 9]]))
    assert ratio.value == pytest.approx(1 / 9) and ratio.interval == (None, None) and not ratio.pays
    two_of_which_one_ran = arm([[1], [math.nan]])
    assert payoff.cost_ratio(two_of_which_one_ran, arm([[9], [9]])).interval == (None, None)
    nothing = payoff.Ratio(None, (None, None), upper_bound=False)
    assert payoff.cost_ratio(arm([[math.nan]] * 3), arm([[9]] * 3)) == nothing
    assert payoff.cost_ratio(arm([[9]] * 3), arm([[math.nan]] * 3)) == nothing


def test_a_start_that_never_gets_there_costs_at_least_what_its_rate_can_be() -> None:
    ratio = payoff.cost_ratio(arm([[30.0]] * 10, [[0]] * 10), arm([[10.0]] * 10))
    assert ratio.value is None and not ratio.upper_bound
    # None of 10: a rate of at most 0.3085 (Clopper and Pearson), so 30 / 0.3085 a success; over scratch's 10, of which
    # none missed: at most 0.3085, at 30 each.
    scratch = 10 + 30 * 0.30850 / 0.69150
    assert ratio.interval == (pytest.approx(30 / 0.30850 / scratch, rel=1e-4), None)
    assert ratio.loses and not ratio.pays
    few = payoff.cost_ratio(arm([[30.0]] * 10, [[1]] + [[0]] * 9), arm([[10.0]] * 10))
    assert few.value == pytest.approx(30)
    assert few.interval == (pytest.approx(30 / 0.44502 / scratch, rel=1e-4), None)


def test_over_a_scratch_that_never_gets_there_the_ratio_is_at_most() -> None:
    costs = [[10.0], [12.0], [9.0], [11.0], [10.0]]
    ratio = payoff.cost_ratio(arm(costs), arm([[40.0]] * 5, [[0]] * 5))
    assert ratio.upper_bound and ratio.value == pytest.approx(10.4 / 40)
    low, high = ratio.interval
    # None of 5 missed and none got there: either rate is at most 0.5218.
    assert low == 0.0 and high == pytest.approx((10.4 + 40 * 0.52182 / 0.47818) / (40 / 0.52182), rel=1e-4)
    assert ratio.pays and not ratio.loses
    dear = payoff.cost_ratio(arm([[10 * cost for cost in row] for row in costs]), arm([[40.0]] * 5, [[0]] * 5))
    assert dear.value == pytest.approx(104 / 40) and not dear.loses  # scratch may cost far more
    rarely = payoff.cost_ratio(arm(costs), arm([[40.0]] * 5, [[1], [0], [0], [0], [0]]))
    assert not rarely.upper_bound and rarely.value == pytest.approx(10.4 / 200)
    assert rarely.interval[0] == 0.0 and rarely.interval[1] is not None and high < rarely.interval[1] < 1.0
    neither = payoff.cost_ratio(arm(costs, [[0]] * 5), arm([[40.0]] * 5, [[0]] * 5))
    assert neither == payoff.Ratio(None, (None, None), upper_bound=True)


@pytest.mark.parametrize(("replicates", "pays"), [(3, False), (5, False), (10, True), (20, True)])
def test_a_start_that_never_missed_may_still_miss(replicates: int, pays: bool) -> None:
    # The jackknife alone has an interval of no width at all here.
    ratio = payoff.cost_ratio(arm([[3.7]] * replicates), arm([[10.0]] * replicates))
    odds = 1 / 0.025 ** (1 / replicates) - 1
    assert ratio.value == pytest.approx(0.37) and ratio.interval[1] == pytest.approx(0.37 + odds)
    assert ratio.pays == pays


def test_a_miss_not_seen_is_as_dear_as_the_dearest_pipeline_of_either_arm() -> None:
    tops = [payoff.cost_ratio(arm([[2.0]] * 10), arm([[10.0]] * 9 + [[last]])).interval[1] for last in (10.0, 11.0)]
    assert tops == pytest.approx([(2 + 10 * 0.44614) / 10, (2 + 11 * 0.44614) / 10.1], rel=1e-4)


def test_what_no_weak_model_came_to_says_nothing_on_whether_targets_miss() -> None:
    # 4 of 10 weak models came there, and all their targets got there: no more than 4 of 4.
    came = np.arange(10) < 4
    starts = payoff.Starts(np.where(came, 0.4, math.nan), np.where(came, 16.0, 10.5)[:, None], came[:, None])
    ratio = payoff.cost_ratio(starts, arm([[80.0]] * 10))
    assert ratio.value == pytest.approx((16 + 10.5 * 6 / 4) / 80)
    rate = stats.clopper_pearson(0, 4)[1]
    assert ratio.interval[1] == pytest.approx((16 + (80 * rate + 10.5 * 6 / 4) / (1 - rate)) / 80)
    assert not ratio.pays


def test_target_seeds_do_not_make_more_weak_seeds() -> None:
    one, three = (payoff.cost_ratio(arm([[2.0] * n] * 10), arm([[10.0] * n] * 10)) for n in (1, 3))
    assert one.interval == pytest.approx(three.interval)
    # Half the target seeds of two replicates missed: as many as one replicate.
    half = arm([[8.0, 10.0]] * 2 + [[8.0, 8.0]] * 8, [[1, 0]] * 2 + [[1, 1]] * 8)
    rate = stats.clopper_pearson(1, 10)[1]
    assert payoff.cost_ratio(half, arm([[10.0, 10.0]] * 10)).interval[1] == pytest.approx(
        0.8 + rate / (1 - rate), rel=1e-6
    )


def test_a_scratch_that_never_missed_may_still_miss() -> None:
    few, many = (payoff.cost_ratio(arm([[16.0]] * n), arm([[10.0]] * n)) for n in (5, 20))
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
        pays.append(payoff.cost_ratio(starts, arm((80 * np.exp(random.normal(0, 0.3, good.shape))).tolist())).pays)
    assert np.mean(pays) < 0.04


@given(
    st.lists(st.tuples(*[st.floats(0.5, 50.0)] * 2, st.booleans(), st.booleans()), min_size=2, max_size=8),
    st.floats(0.01, 1e12),
)
def test_a_ratio_has_no_unit_and_turns_around(members: list[tuple[float, float, bool, bool]], unit: float) -> None:
    ours, theirs, we, they = zip(*members, strict=True)
    starts, scratch = arm([[c] for c in ours], [[r] for r in we]), arm([[c] for c in theirs], [[r] for r in they])
    ratio = payoff.cost_ratio(starts, scratch)
    scaled = [dataclasses.replace(one, spent=one.spent * unit) for one in (starts, scratch)]
    again = payoff.cost_ratio(*scaled)
    assert again.value == (None if ratio.value is None else pytest.approx(ratio.value))
    assert again.interval == tuple(None if end is None else pytest.approx(end) for end in ratio.interval)
    if sum(we) and sum(they):
        turned = payoff.cost_ratio(scratch, starts)
        assert ratio.value is not None and turned.value == pytest.approx(1 / ratio.value)
        if (sum(we) > 1 and sum(they) > 1) or None not in (*ratio.interval, *turned.interval):
            low, high = ratio.interval
            assert low is not None and high is not None
            assert turned.interval == (pytest.approx(1 / high), pytest.approx(1 / low))
    if ratio.value is not None and None not in ratio.interval:
        low, high = ratio.interval
        assert low is not None and high is not None and low <= ratio.value * (1 + 1e-9)
        assert ratio.value <= high * (1 + 1e-9)


def level(accuracy: float, cost: float, spread: float = 0.1) -> payoff.Starts:
    """Twelve replicates that cost about `cost`."""
    return arm([[cost * (1 + spread * at)] for at in (-1, -0.5, 0, 0, 0.5, 1) * 2], accuracy=accuracy)


SCRATCH = arm([[10.0]] * 12)


def test_the_threshold_and_where_the_crossing_lies() -> None:
    found = payoff.paying(
        [level(0.1, 30), level(0.2, 12, spread=0.9), level(0.3, 9, spread=0.9), level(0.4, 4), level(0.5, 5)], SCRATCH
    )
    assert [ratio.pays for ratio in found.ratios] == [False, False, False, True, True]
    assert [ratio.loses for ratio in found.ratios] == [True, False, False, False, False]
    assert found.threshold == 0.4
    assert found.interval == (0.1, 0.4)
    assert found.crossing == 0.3 and found.resolution == pytest.approx(0.1)


def test_a_start_that_does_not_pay_ends_the_threshold_from_above() -> None:
    found = payoff.paying([level(0.4, 4), level(0.1, 5), level(0.3, 30), level(0.2, 5)], SCRATCH)
    assert (found.threshold, found.crossing, found.interval) == (0.4, 0.4, (0.3, 0.4))
    assert [round(ratio.value or 0, 1) for ratio in found.ratios] == [0.4, 0.5, 3.0, 0.5]
    none = payoff.paying([level(0.1, 4), level(0.5, 30)], SCRATCH)
    assert (none.threshold, none.crossing, none.resolution, none.interval) == (None, None, None, (0.5, None))


def test_everything_pays_or_nothing_was_measured() -> None:
    found = payoff.paying([level(0.2, 4), level(0.3, 4)], SCRATCH)
    assert (found.threshold, found.interval, found.crossing, found.resolution) == (0.2, (None, 0.2), 0.2, None)
    assert payoff.paying([], SCRATCH) == payoff.Paying([], None, (None, None), None, None)


def test_two_starts_of_one_accuracy_must_both_pay() -> None:
    found = payoff.paying([level(0.2, 4), level(0.2, 30), level(0.3, 4)], SCRATCH)
    assert (found.threshold, found.interval) == (0.3, (0.2, 0.3))


def test_a_level_that_no_weak_model_came_to_is_passed_over() -> None:
    beyond = arm([[8.0]] * 12, [[0]] * 12, accuracy=math.nan)
    found = payoff.paying([level(0.3, 4), beyond], SCRATCH)
    assert found.threshold == 0.3
    assert found.ratios[1].value is None and found.ratios[1].loses
    assert beyond.measured is None
    few = payoff.Starts(np.array([math.nan] * 11 + [0.9]), beyond.spent, beyond.reached)
    assert payoff.paying([level(0.3, 4), few], SCRATCH).threshold is None


def test_the_accuracy_of_a_start_is_the_median_of_those_that_came() -> None:
    starts = level(0.3, 4)
    some = dataclasses.replace(starts, accuracy=np.array([0.2, 0.3, 0.5] + [math.nan] * 9))
    assert some.measured == payoff.paying([some], SCRATCH).crossing == 0.3


def test_a_study_of_one_seed_claims_nothing() -> None:
    found = payoff.paying([arm([[1.0]], accuracy=0.2), arm([[2.0]], accuracy=0.3)], arm([[9.0]]))
    assert (found.threshold, found.interval) == (None, (None, None))
    assert found.crossing == 0.2


def test_the_report_says_so_where_an_interval_does_not_keep_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payoff, "MEASURED_COVERAGE", {8: 0.88, 12: 0.93, 16: 0.982, 20: 0.99})
    note = "with 8 weak seeds this interval held the truth in 88 % of 1000 simulated studies"
    assert payoff.coverage_note(8) == payoff.coverage_note(6) == payoff.coverage_note(10) == note
    assert payoff.coverage_note(11) is payoff.coverage_note(14) is payoff.coverage_note(17) is None
    assert "20 weak seeds" in (payoff.coverage_note(400) or "")


def test_the_report_says_so_where_there_are_too_few_seeds_to_show_anything() -> None:
    fewest = payoff.FEWEST
    assert stats.clopper_pearson(0, fewest)[1] < 0.5 < stats.clopper_pearson(0, fewest - 1)[1]
    assert "fewer than 6 weak seeds" in (payoff.coverage_note(fewest - 1) or "")
    assert payoff.coverage_note(1) == payoff.coverage_note(4) == payoff.coverage_note(5)
    assert "fewer than" not in (payoff.coverage_note(fewest) or "")
    # Even starts for nothing: half may miss, which costs what scratch costs.
    free = [payoff.cost_ratio(arm([[1e-6]] * n), arm([[10.0]] * n)).pays for n in range(2, 10)]
    assert free == [False] * 4 + [True] * 4


def test_every_size_measured_keeps_its_word_or_errs_to_the_safe_side() -> None:
    for measured in (payoff.MEASURED_COVERAGE, payoff.MEASURED_THRESHOLD_COVERAGE):
        assert set(measured) == {3, 4, 5, 8, 10, 20}
        assert all(0.94 <= coverage <= 1.0 for coverage in measured.values())
