"""How often the intervals hold the truth, by simulation: the bounds are what we measured, with room for the draws.

`python benchmarks/coverage.py` measures the decision on what pays with more studies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks import coverage
from gtsearch.analysis import payoff, stats

pytestmark = pytest.mark.slow

STUDIES = 300  # the standard error of a coverage of 95 % is 1.3 points


@pytest.fixture(scope="module")
def true() -> coverage.Truth:
    return coverage.truth()


@pytest.fixture(scope="module")
def seeds() -> coverage.Truth:
    return coverage.truth(regime="seeds")


def share(intervals: Sequence[stats.OpenInterval], truth: float) -> float:
    """How many of the intervals hold `truth`, 0 to 1; an end of None is open."""
    held = [(low is None or low <= truth) and (high is None or truth <= high) for low, high in intervals]
    return float(np.mean(held))


def test_the_simulated_studies_are_as_they_are_described(true: coverage.Truth, seeds: coverage.Truth) -> None:
    assert 0.25 < true.missed < 0.35
    below, above = true.ratios[: true.crossing], true.ratios[true.crossing :]
    assert 1.0 < below[-1] < 1.3 and 0.5 < above[0] < 0.7 and (below > 1).all() and (above < 1).all()
    assert seeds.missed == pytest.approx(coverage.BAD, abs=0.003)
    assert 1.0 < seeds.ratios[seeds.crossing - 1] < 1.05 and seeds.ratios[seeds.crossing] < 0.95


def test_a_bad_weak_seed_misses_at_every_level() -> None:
    starts, _ = coverage.study(np.random.default_rng(0), 50, 2, 0.0, "seeds")
    reached = np.array([start.reached for start in starts])
    assert (reached == reached[:1, :, :1]).all() and 0 < reached[0, :, 0].sum() < 50


@pytest.mark.parametrize("target_seeds", coverage.TARGET_SEEDS)
@pytest.mark.parametrize("replicates", coverage.SIZES)
@pytest.mark.parametrize("regime", coverage.REGIMES)
def test_the_decision_on_what_pays(
    true: coverage.Truth, seeds: coverage.Truth, regime: str, replicates: int, target_seeds: int
) -> None:
    truth = true if regime == "jump" else seeds
    found = coverage.coverage(truth, replicates, target_seeds, STUDIES, seed=1)
    near = float(np.mean([found.ratio[level] for level in truth.near])) / STUDIES
    assert near > payoff.MEASURED_COVERAGE[replicates] - 0.03
    assert min(found.ratio[level] for level in truth.near) / STUDIES > 0.93
    assert found.threshold / STUDIES > payoff.MEASURED_THRESHOLD_COVERAGE[replicates] - 0.03
    # Nominal is 0.025, of which 300 studies may show twice as many.
    assert found.wrong / STUDIES < 0.05 and found.pays[truth.crossing - 1] / STUDIES < 0.05


def test_few_replicates_claim_next_to_nothing_and_many_still_do(true: coverage.Truth) -> None:
    few, many = (coverage.coverage(true, *size, STUDIES, seed=2).claimed / STUDIES for size in ((5, 1), (20, 1)))
    assert few < 0.03 and many > 0.25


def test_the_bootstraps_that_were_not_taken_hold_too_rarely_or_always(true: coverage.Truth) -> None:
    percentile, bca, expanded, _, crossed = coverage.rivals(true, 5, 1, repetitions=100)
    assert percentile < 0.9 and bca < 0.9 and percentile < expanded < 0.95
    assert coverage.rivals(true, 10, 2, repetitions=50)[-1] > max(0.97, crossed)


@pytest.mark.parametrize("n", [5, 8, 10, 20])
def test_intervals_of_a_rate(n: int) -> None:
    # Exact, over all k. Wilson's holds on average; the exact one always (Brown, Cai and DasGupta 2001).
    rates, k = np.linspace(0.05, 0.95, 181), np.arange(n + 1)
    likely = scipy_stats.binom.pmf(k[:, None], n, rates)

    def held(interval: Callable[[int, int], stats.Interval]) -> stats.Floats:
        ends = np.array([interval(int(one), n) for one in k])
        return (likely * ((ends[:, :1] <= rates) & (rates <= ends[:, 1:]))).sum(axis=0)

    wilson, exact = held(stats.wilson), held(stats.clopper_pearson)
    assert 0.95 < wilson.mean() < 0.96 and wilson.min() > 0.89
    assert exact.min() > 0.95 and exact.mean() > wilson.mean()


HORIZON = float(np.exp(scipy_stats.norm.ppf(0.7)))  # 30 % of lognormal times are censored there


def censored(n: int, studies: int) -> list[tuple[stats.Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    random = np.random.default_rng(n)
    drawn = [np.exp(random.normal(0.0, 1.0, n)) for _ in range(studies)]
    return [(np.minimum(times, HORIZON), times <= HORIZON) for times in drawn]


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_of_a_censored_median(n: int) -> None:
    intervals = [stats.km_median_interval(*study, seed=1, resamples=300) for study in censored(n, 150)]
    assert 0.87 < share(intervals, 1.0) < 0.99


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_of_a_restricted_mean(n: int) -> None:
    times = np.exp(np.random.default_rng(9).normal(0.0, 1.0, 4_000_000))
    truth = float(np.minimum(times, HORIZON).mean())
    intervals = [stats.restricted_mean(*study, HORIZON)[1] for study in censored(n, 600)]
    assert 0.92 < share(intervals, truth) < 0.98


@pytest.mark.parametrize("n", [10, 20])
def test_the_band_of_a_kaplan_meier_curve(n: int) -> None:
    # At the true median: log-log holds well for small samples (Borgan and Liestol 1990).
    intervals: list[stats.OpenInterval] = []
    for study in censored(n, 600):
        curve = stats.kaplan_meier(*study)
        at = int(np.searchsorted(curve.times, 1.0, side="right")) - 1
        known = at >= 0 and not np.isnan(curve.low[at])
        intervals.append((float(curve.low[at]), float(curve.high[at])) if known else (None, None))
    assert 0.92 < share(intervals, 0.5) < 0.99


@pytest.mark.parametrize(("clusters", "least"), [(5, 0.86), (10, 0.91), (20, 0.91)])
def test_the_cluster_bootstrap(clusters: int, least: float) -> None:
    random = np.random.default_rng(clusters)
    intervals = []
    for _ in range(STUDIES):
        centres = random.normal(0.0, 1.0, (clusters, 1))
        intervals.append(stats.cluster_interval([*(centres + random.normal(0.0, 1.0, (clusters, 4)))], mean, seed=1))
    assert least < share(intervals, 0.0) < 0.985


def mean(sample: stats.Floats) -> float:
    return float(np.mean(sample))
