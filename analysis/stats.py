"""The statistics a claim needs: success rates, censored times, restarts, the bootstrap.

Hides scipy's censored distributions and the resampling. Never averages survivors: a run that did not reach its goal
stays in the sample, as censored. Unknown is None (in an array NaN), never 0 and never the budget. Every random number
comes from a seed that is passed in, and no answer depends on the order of what is given: members come in as workers end
them. What pays is decided in `payoff`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
OpenInterval = tuple[float | None, float | None]  # None: that bound lies beyond what was observed

UNITS = {"epochs": "epochs", "seconds": "train_seconds", "flops": "train_flops"}
"""A unit of cost -> the trials column of what a member spent; what it spent to its goal is `<unit>_to_goal`."""

RESAMPLES = 1000

LEVEL = 1.05
"""Two medians that are less than this times apart are called level: with one decimal the ratio would read 1.0."""


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a rate of which k of n were seen (Wilson 1927). (0, 1) where n is 0."""
    return _proportion(k, n, confidence, "wilson")


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a rate of which k of n were seen (Clopper and Pearson 1934). (0, 1) where n is 0."""
    return _proportion(k, n, confidence, "exact")


def _proportion(k: int, n: int, confidence: float, method: str) -> Interval:
    if not 0 <= k <= n:
        raise ValueError(f"k of n needs 0 <= k <= n, not {k} of {n}")
    if n == 0:
        return 0.0, 1.0
    low, high = stats.binomtest(k, n).proportion_ci(confidence_level=confidence, method=method)
    return float(low), float(high)


def rule_of_n(n: int, confidence: float = 0.95) -> float:
    """How common something can still be that was seen in none of n draws: the one-sided exact upper bound.

    `0.05 ** (1 / n)` is the rate of misses at which n misses in a row happen once in twenty times (12 draws: 0.22;
    the rule of three, 3 / n, is its limit). 1 where n is 0.
    """
    return 1.0 - (1.0 - confidence) ** (1.0 / n) if n > 0 else 1.0


def times_to_goal(members: pd.DataFrame, unit: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """What each member spent to its goal, in `unit` (`epochs`, `seconds` or `flops`), and whether it got there.

    Both [n]. A member that did not get there is censored at what it spent; one that diverged or failed never
    would have, whatever the budget: it is censored at infinity. Cancelled members are no evidence and are left out.
    """
    members = members[members["status"] != "cancelled"]
    reached = (members["status"] == "cleared").to_numpy(dtype=bool)
    to_goal = members[f"{unit}_to_goal"].to_numpy(dtype=np.float64, na_value=np.nan)
    spent = members[UNITS[unit]].to_numpy(dtype=np.float64, na_value=np.inf)
    never = members["status"].isin(["diverged", "failed"]).to_numpy(dtype=bool)
    return np.where(reached, to_goal, np.where(never, np.inf, spent)), reached


def km_median(times: npt.ArrayLike, reached: npt.ArrayLike) -> float | None:
    """The Kaplan-Meier median time to a goal; None where the curve does not come below one half.

    Args:
        times: [n], what each spent to its goal, or until it was given up; infinite for one that never would.
        reached: [n], whether it got there.

    Where the curve runs level at one half, the middle of that stretch (as R's survival does): without censoring
    this is the ordinary median. A stretch at one half that no later success ends has no middle: None.
    """
    when, there = _checked(times, reached)
    if not there.any():
        return None
    curve = stats.ecdf(_censored(when, there)).sf
    at_half = np.isclose(curve.probabilities, 0.5, rtol=0.0, atol=1e-9)
    below = (curve.probabilities < 0.5) & ~at_half
    if not below.any():
        return None
    end = float(curve.quantiles[np.argmax(below)])
    return (float(curve.quantiles[np.argmax(at_half)]) + end) / 2.0 if at_half.any() else end


def _checked(times: npt.ArrayLike, reached: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Times and who reached, [n] each, as arrays. ValueError where they do not fit each other."""
    when, there = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    if when.shape != there.shape:
        raise ValueError(f"times and reached must be of one length, not {when.shape} and {there.shape}")
    if np.isnan(when).any() or not np.isfinite(when[there]).all():
        raise ValueError("a time to a goal that was reached must be finite, and no time may be NaN")
    return when, there


def _censored(when: Floats, there: npt.NDArray[np.bool_], beyond: float | None = None) -> stats.CensoredData:
    """For scipy, which refuses infinity: only the order of censored times counts, so it is a time after all others.

    That time is `beyond`, or twice the last finite one and 1 more.
    """
    if beyond is None:
        latest = np.max(when[np.isfinite(when)], initial=-math.inf)
        beyond = latest + abs(latest) + 1.0 if math.isfinite(latest) else 1.0
    when = np.where(np.isfinite(when), when, beyond)
    return stats.CensoredData(uncensored=when[there], right=when[~there])


@dataclass(frozen=True)
class Survival:
    """A Kaplan-Meier curve: who has not reached the goal yet, from each finite time on at which somebody left.

    All [times], float64, times ascending and distinct; before the first, all survive. `low` and `high` are NaN where
    the interval is not defined: before the first success, and where nobody is left.
    """

    times: Floats
    surviving: Floats
    low: Floats
    high: Floats
    at_risk: Floats


def kaplan_meier(times: npt.ArrayLike, reached: npt.ArrayLike, confidence: float = 0.95) -> Survival:
    """The Kaplan-Meier curve of times [n] (as in `km_median`), with the pointwise log-log interval.

    Kaplan and Meier 1958; Greenwood's variance on the scale of log(-log), which keeps the interval within 0 and 1
    (Kalbfleisch and Prentice 1980).
    """
    when, there = _checked(times, reached)
    finite = when[np.isfinite(when)]
    if not len(finite):
        nothing = np.empty(0)
        return Survival(nothing, nothing, nothing, nothing, nothing)
    curve = stats.ecdf(_censored(when, there)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        interval = curve.confidence_interval(confidence, method="log-log")
    seen = curve.quantiles <= np.max(finite)
    at = curve.quantiles[seen]
    at_risk = len(when) - np.searchsorted(np.sort(when), at)
    return Survival(
        times=at,
        surviving=curve.probabilities[seen],
        low=interval.low.probabilities[seen],
        high=interval.high.probabilities[seen],
        at_risk=at_risk.astype(np.float64),
    )


def log_rank(
    times_a: npt.ArrayLike, reached_a: npt.ArrayLike, times_b: npt.ArrayLike, reached_b: npt.ArrayLike
) -> float:
    """The two-sided p of the log-rank test (Mantel 1966) that two groups reach their goal equally fast.

    Times and who reached as in `km_median`. 1 where nobody reached, or a group is empty: nothing tells them apart.
    """
    (a, there_a), (b, there_b) = _checked(times_a, reached_a), _checked(times_b, reached_b)
    if not (there_a.any() or there_b.any()) or not (len(a) and len(b)):
        return 1.0
    both = np.concatenate([a, b])
    beyond = 2.0 * np.max(np.abs(both[np.isfinite(both)])) + 1.0
    with np.errstate(invalid="ignore"):  # scipy divides by a variance of 0 where one member is left at every success
        p = float(stats.logrank(_censored(a, there_a, beyond), _censored(b, there_b, beyond)).pvalue)
    return 1.0 if math.isnan(p) else p


def _area(curve: Survival, until: float) -> float:
    """The area under a survival curve from 0 to `until`."""
    inside = curve.times < until
    edges = np.concatenate([[0.0], curve.times[inside], [until]])
    return float(np.sum(np.diff(edges) * np.concatenate([[1.0], curve.surviving[inside]])))


def restricted_mean(
    times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float, confidence: float = 0.95
) -> tuple[float | None, OpenInterval]:
    """The mean time spent until the goal or the horizon, whichever is first: the area under Kaplan-Meier.

    Args:
        times: [n], not negative, as in `km_median`.
        reached: [n], whether it got there.
        horizon: positive, in the unit of times.
        confidence: of the interval.

    Returns:
        mean: None where the curve is not known up to the horizon: the last were given up before it.
        interval: Klein and Moeschberger (2003), section 4.5, with their factor m / (m - 1) for m successes and
            Student's t with n - 1 degrees of freedom in place of the normal, which holds the truth too rarely for
            few seeds; cut at 0 and the horizon. (None, None) for fewer than two successes by the horizon.
    """
    when, there = _checked(times, reached)
    curve = kaplan_meier(when, there)
    if not len(when) or not (np.max(when) >= horizon or (len(curve.times) and curve.surviving[-1] == 0.0)):
        return None, (None, None)
    mean = _area(curve, horizon)
    at, leaving = np.unique(when[there & (when <= horizon)], return_counts=True)
    successes = int(leaving.sum())
    if successes < 2:
        return mean, (None, None)
    at_risk = curve.at_risk[np.searchsorted(curve.times, at)]
    after = mean - np.array([_area(curve, time) for time in at])
    left = at_risk > leaving  # where nobody is left there is no area after, either
    terms = after[left] ** 2 * leaving[left] / (at_risk[left] * (at_risk[left] - leaving[left]))
    half = float(stats.t.ppf(0.5 + confidence / 2.0, len(when) - 1)) * math.sqrt(
        float(terms.sum()) * successes / (successes - 1)
    )
    return mean, (max(0.0, mean - half), min(horizon, mean + half))


def par10(times: npt.ArrayLike, reached: npt.ArrayLike, budget: float) -> float | None:
    """The penalised mean time of solvers' competitions: whoever was not there by `budget` counts ten times it.

    Times and who reached, [n] each, as in `km_median`. One given up before the budget is a miss, too. None for nobody.
    """
    when, there = _checked(times, reached)
    return float(np.mean(np.where(there & (when <= budget), when, 10.0 * budget))) if len(when) else None


def expected_with_restarts(times: npt.ArrayLike, reached: npt.ArrayLike, cutoff: float) -> float | None:
    """The expected time to a goal when every run is given up at `cutoff` and a fresh one started.

    E min(T, cutoff) / P(T <= cutoff) (Luby, Sinclair and Zuckerman 1993). Without early censoring it is what all runs
    spent by the cutoff over how many got there, the expected running time (ERT) of Auger and Hansen 2005; runs given
    up before the cutoff are handled by Kaplan-Meier. None where nobody gets there by the cutoff, or the last were
    given up before it.
    """
    curve = kaplan_meier(times, reached)
    done = 1.0 - _surviving(curve, cutoff)
    mean, _ = restricted_mean(times, reached, cutoff)
    return mean / done if done > 0.0 and mean is not None else None


def best_restart(times: npt.ArrayLike, reached: npt.ArrayLike) -> tuple[float, float] | None:
    """The cutoff after which to give a run up and start a fresh one, and the expected time with it.

    The expected time of `expected_with_restarts` is least at one of the successes seen (Gomes, Selman and Kautz 1998:
    heavy tails make an early restart pay). The cutoff is infinite, never restart, where the best is the last success
    and nobody is left after it. None where nobody got there.
    """
    curve = kaplan_meier(times, reached)
    dropped = np.diff(curve.surviving, prepend=1.0) < 0.0
    if not dropped.any():
        return None
    at, done = curve.times[dropped], 1.0 - curve.surviving[dropped]
    expected = np.array([_area(curve, time) for time in at]) / done
    best = int(np.argmin(expected))
    return (math.inf if curve.surviving[dropped][best] == 0.0 else float(at[best])), float(expected[best])


def _surviving(curve: Survival, time: float) -> float:
    """How many have not reached the goal by `time`, 0 to 1."""
    passed = int(np.searchsorted(curve.times, time, side="right"))
    return float(curve.surviving[passed - 1]) if passed else 1.0


def km_median_interval(
    times: npt.ArrayLike,
    reached: npt.ArrayLike,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> OpenInterval:
    """The percentile bootstrap interval of `km_median` over members; a bound beyond what was observed is None.

    (None, None) for fewer than two members: one run says nothing about the spread.
    """
    when, there = _checked(times, reached)
    n = len(when)
    if n < 2:
        return None, None
    order = np.lexsort((there, when))
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return _percentiles(km_medians(when[order], there[order], draws), confidence)


def km_medians(times: npt.ArrayLike, reached: npt.ArrayLike, draws: npt.NDArray[np.int64]) -> list[float | None]:
    """`km_median` of every one of `draws` [draws, drawn], each a sample by its members' positions in `times`.

    All at once: a report takes some hundred thousand of them.
    """
    when, there = _checked(times, reached)
    distinct, place = np.unique(when, return_inverse=True)
    drawn = place[draws]  # [draws, drawn], as places among the distinct times
    row = np.arange(len(draws))[:, None]
    left, dropped = np.zeros((2, len(draws), len(distinct)))
    np.add.at(left, (row, drawn), 1.0)
    np.add.at(dropped, (row, drawn), there[draws])
    at_risk = draws.shape[1] - np.cumsum(left, axis=1) + left
    surviving = np.cumprod(1.0 - dropped / np.maximum(at_risk, 1.0), axis=1)
    at_half = np.isclose(surviving, 0.5, rtol=0.0, atol=1e-9)
    below = (surviving < 0.5) & ~at_half
    end = distinct[np.argmax(below, axis=1)]
    middle = (distinct[np.argmax(at_half, axis=1)] + end) / 2.0
    medians = np.where(at_half.any(axis=1), middle, end)
    return [float(m) if found.any() else None for m, found in zip(medians, below, strict=True)]


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[Floats], float | None],
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> OpenInterval:
    """The percentile bootstrap interval of `statistic` over `values` [n, ...], resampled along the first axis.

    A resample whose statistic is None or infinite counts as beyond every other; a bound there is None.
    (None, None) for fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < 2:
        return None, None
    sample = sample[np.lexsort(sample.reshape(n, -1).T)]
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return _percentiles([statistic(sample[draw]) for draw in draws], confidence)


def cluster_interval(
    clusters: Sequence[npt.ArrayLike],
    statistic: Callable[[Floats], float | None],
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> OpenInterval:
    """The bootstrap interval of `statistic` over values that come in clusters, drawn as whole clusters.

    Args:
        clusters: [clusters] arrays [n_i, ...]; `statistic` gets the drawn ones joined along the first axis.
        statistic: a number, or None: beyond every other.
        seed, confidence, resamples: of the bootstrap.

    Few clusters make the percentile interval too narrow: its tails are moved out by the factor between the normal
    and Student's t with clusters - 1 degrees of freedom (the expanded percentile interval of Hesterberg 2015).
    (None, None) for fewer than two clusters.
    """
    values = sorted((np.asarray(cluster, dtype=np.float64) for cluster in clusters), key=_by_content)
    n = len(values)
    if n < 2:
        return None, None
    t = stats.t.ppf(0.5 + confidence / 2.0, n - 1)
    expanded = 1.0 - 2.0 * float(stats.norm.sf(math.sqrt(n / (n - 1)) * t))
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return _percentiles([statistic(np.concatenate([values[i] for i in draw])) for draw in draws], expanded)


def _by_content(cluster: Floats) -> list[Any]:
    return sorted(cluster.tolist())


def expected_best(values: npt.ArrayLike, miss: float) -> Floats:
    """The best (least) value to expect of n draws from the results of a search, for n = 1 to all of them.

    Args:
        values: [..., configs], what each config came to; NaN or infinite where it missed the goal.
        miss: what a miss counts: the budget, or more. Without it, who missed more often would look better.

    Returns:
        [..., configs]: at n - 1, the mean over all choices of n configs of their least value. Draws are without
        replacement, which has no bias; Dodge et al. 2019 draw with replacement (Tang et al. 2020). It tells what a
        search of n would have found where configs are drawn independently of one another's results.
    """
    numbers = np.asarray(values, dtype=np.float64)
    ordered = np.sort(np.where(np.isfinite(numbers), numbers, miss), axis=-1)
    n = ordered.shape[-1]
    # The i-th least is the best of a choice of k in C(n - 1 - i, k - 1) of C(n, k) ways; from k to k + 1 by ratio.
    after = np.arange(n)[::-1]
    share = np.full(n, 1.0 / max(n, 1))
    best = np.empty_like(ordered)
    for k in range(1, n + 1):
        best[..., k - 1] = ordered @ share
        share = share * np.maximum(after - k + 1, 0) * (k + 1) / (k * max(n - k, 1))
    return best


def expected_best_band(
    values: npt.ArrayLike, miss: float, seed: int = 0, confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[Floats, Floats]:
    """The percentile bootstrap band of `expected_best` over configs: low and high, [configs] each.

    NaN for fewer than two configs. Towards n = all the band only tells of the best that were seen.
    """
    numbers = np.sort(np.asarray(values, dtype=np.float64))
    n = len(numbers)
    if n < 2:
        return np.full(n, math.nan), np.full(n, math.nan)
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(expected_best(numbers[draws], miss), [tail, 1.0 - tail], axis=0)
    return low, high


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p of McNemar's test (1947): pairs of which one of two got there, `lost` and `won` of them.

    1 where no pair differs.
    """
    if min(lost, won) < 0:
        raise ValueError(f"counts of pairs must not be negative, not {lost} and {won}")
    return float(stats.binomtest(lost, lost + won, 0.5).pvalue) if lost + won else 1.0


def paired_difference(ours: npt.ArrayLike, theirs: npt.ArrayLike, seed: int = 0) -> tuple[float | None, OpenInterval]:
    """The median of `ours` - `theirs` ([n] each, paired), and its percentile bootstrap interval over pairs.

    None without a pair; (None, None) for fewer than two.
    """
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if not len(differences):
        return None, (None, None)
    interval = bootstrap_interval(differences, lambda sample: float(np.median(sample)), seed=seed)
    return float(np.median(differences)), interval


def log_slope(points: Sequence[tuple[float, npt.ArrayLike]], seed: int = 0) -> tuple[float | None, OpenInterval]:
    """The slope of the medians in a plot of both logarithms, and its percentile bootstrap interval over members.

    Args:
        points: at each x the values [n_i] of its members. Members are drawn again at every x by itself.
        seed: of the bootstrap.

    Returns:
        slope: by least squares. None for fewer than three different x (a line meets any two), or where a number is
            not positive and finite.
        interval: at 95 %; (None, None) without a slope, or where no x has two members.
    """
    x = np.array([at for at, _ in points], dtype=np.float64)
    values = [np.sort(np.asarray(own, dtype=np.float64)) for _, own in points]
    numbers = np.concatenate([x, *values]) if points else x
    if len(set(x.tolist())) < 3 or not all(map(len, values)) or not (np.isfinite(numbers) & (numbers > 0)).all():
        return None, (None, None)
    slope = float(np.polyfit(np.log(x), np.log([np.median(own) for own in values]), 1)[0])
    if max(map(len, values)) < 2:
        return slope, (None, None)
    random = np.random.default_rng(seed)
    medians = [np.median(own[random.integers(len(own), size=(RESAMPLES, len(own)))], axis=1) for own in values]
    slopes = np.polyfit(np.log(x), np.log(np.array(medians)), 1)[0]
    return slope, _percentiles(slopes.tolist(), 0.95)


def by_speed(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The methods of a summary that have a median to the goal, the one of the fewest FLOPs first, then epochs."""
    known = {
        name: (record["flops_to_goal"]["median"], record["epochs_to_goal"]["median"])
        for name, record in methods.items()
        if record["flops_to_goal"]["median"] is not None
    }
    return sorted(known, key=lambda name: known[name])


def told_apart(faster: Mapping[str, Any], slower: Mapping[str, Any]) -> bool:
    """Whether the intervals of two methods' FLOPs to the goal are known and do not meet."""
    high, low = faster["flops_to_goal"]["interval"][1], slower["flops_to_goal"]["interval"][0]
    return high is not None and low is not None and bool(high < low)


def _percentiles(values: Sequence[float | None], confidence: float) -> OpenInterval:
    """The central `confidence` of `values`, None being infinite. No interpolation: infinities must not mix."""
    ordered = np.sort([math.inf if v is None else v for v in values])
    tail = round((1.0 - confidence) / 2.0 * len(ordered))
    low, high = float(ordered[tail]), float(ordered[len(ordered) - 1 - tail])
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)


def floats(column: pd.Series) -> Floats:
    """A column as floats, null as NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows by column name, with None for what is null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
