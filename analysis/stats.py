"""The statistics a claim needs: success rates with intervals, censored medians, the bootstrap, the paying threshold.

Hides scipy's censored distributions and the resampling. Never averages survivors: a run that did not reach its goal
stays in the sample, as censored. Unknown is None, never NaN and never the budget. Every random number comes from a
seed that is passed in.
"""

from __future__ import annotations

import math
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
    when, there = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    if when.shape != there.shape:
        raise ValueError(f"times and reached must be of one length, not {when.shape} and {there.shape}")
    if np.isnan(when).any() or not np.isfinite(when[there]).all():
        raise ValueError("a time to a goal that was reached must be finite, and no time may be NaN")
    if not there.any():
        return None
    # Only the order of censored times counts: infinity, which scipy refuses, is any time after all others.
    latest = np.max(when[np.isfinite(when)])
    when = np.where(np.isfinite(when), when, latest + abs(latest) + 1.0)
    curve = stats.ecdf(stats.CensoredData(uncensored=when[there], right=when[~there])).sf
    at_half = np.isclose(curve.probabilities, 0.5, rtol=0.0, atol=1e-9)
    below = (curve.probabilities < 0.5) & ~at_half
    if not below.any():
        return None
    end = float(curve.quantiles[np.argmax(below)])
    return (float(curve.quantiles[np.argmax(at_half)]) + end) / 2.0 if at_half.any() else end


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
    when, there = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=bool)
    n = len(when)
    if n < 2:
        return None, None
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    medians = [km_median(when[draw], there[draw]) for draw in draws]
    return _percentiles(medians, confidence)


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
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return _percentiles([statistic(sample[draw]) for draw in draws], confidence)


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
    values = [np.asarray(own, dtype=np.float64) for _, own in points]
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


@dataclass(frozen=True)
class _Level:
    """The rows of one level [n]: which weak seed, the accuracy measured (NaN unreached), the total (inf unreached)."""

    level: float
    weak_seed: npt.NDArray[np.intp]
    accuracy: Floats
    total: Floats

    def resampled(self, counts: npt.NDArray[np.intp]) -> _Level:
        """Every weak seed as often as `counts` says."""
        times = counts[self.weak_seed]
        return _Level(self.level, self.weak_seed, np.repeat(self.accuracy, times), np.repeat(self.total, times))

    @property
    def measured(self) -> float | None:
        """The median of the accuracies measured; None where no weak seed came to this level."""
        known = self.accuracy[~np.isnan(self.accuracy)]
        return float(np.median(known)) if len(known) else None


def pays(totals: Floats, scratch: float | None) -> bool:
    """Whether the median of `totals` (weak + target cost; infinite for a miss) is below `scratch`, scratch's median.

    With scratch censored (None), whether at least half of the seeds got there.
    """
    if scratch is None:
        return bool(2 * np.isfinite(totals).sum() >= len(totals))
    return bool(np.median(totals) < scratch)


def paying_threshold(
    table: pd.DataFrame, scratch: float | None, unit: str = "flops", seed: int = 0
) -> tuple[float | None, OpenInterval | None, float | None]:
    """From which weak accuracy on a transfer pays, and at which level the total cost is least.

    Args:
        table: as `tradeoff.table` makes it; of it: level, weak_run_id, weak_accuracy, reached, total_<unit>.
        scratch: the confirmed median cost of the target from scratch, in `unit`; None where that is censored.
        unit: `flops` (what decides), `seconds` or `epochs`.
        seed: of the bootstrap.

    Returns:
        threshold: the least accuracy as measured (the median at its level) from which on, at this and every higher
            level that any weak seed came to, the median over seeds of weak + target cost stays below `scratch`; a
            seed that did not get there, or not even to the level, is infinite. Without a scratch median: from which
            on at least half the seeds get there. None: no threshold.
        interval: percentile bootstrap over weak seeds; an upper bound of None says that resamples had no threshold.
            None without a threshold, or with one weak seed.
        least_total: the level asked for whose median total is the least; None where no median is finite.
    """
    rows = table[table["level"].notna()]
    weak_seed, names = pd.factorize(rows["weak_run_id"].astype("string"), use_na_sentinel=False)
    total = np.where(rows["reached"].to_numpy(dtype=bool), floats(rows[f"total_{unit}"]), np.inf)
    accuracy, level_of = floats(rows["weak_accuracy"]), floats(rows["level"])
    levels = [
        _Level(float(level), weak_seed[at], accuracy[at], total[at])
        for level in np.unique(level_of)
        for at in [level_of == level]
    ]
    medians = {level.level: float(np.median(level.total)) for level in levels}
    finite = {level: median for level, median in medians.items() if math.isfinite(median)}
    least_total = min(finite, key=lambda level: finite[level], default=None)
    threshold = _threshold(levels, scratch)
    if threshold is None or len(names) < 2:
        return threshold, None, least_total
    draws = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    counted = [np.bincount(draw, minlength=len(names)) for draw in draws]
    thresholds = [_threshold([level.resampled(counts) for level in levels], scratch) for counts in counted]
    return threshold, _percentiles(thresholds, 0.95), least_total


def _threshold(levels: Sequence[_Level], scratch: float | None) -> float | None:
    """The accuracy measured at the lowest level that pays together with all above it. `levels` ascend."""
    lowest = None
    for level in reversed(levels):
        measured = level.measured
        if measured is None:
            continue
        if not pays(level.total, scratch):
            break
        lowest = measured
    return lowest


def floats(column: pd.Series) -> Floats:
    """A column as floats, null as NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows by column name, with None for what is null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
