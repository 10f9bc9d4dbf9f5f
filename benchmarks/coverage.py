"""How often the intervals of the trade-off study hold the truth, in simulated studies whose truth is known.

    python -m benchmarks.coverage [--repetitions 500] [--seed 0] [--apart 0.1] [--rivals]

A study comes in two regimes, a table each.

jump: 13 starts on a grid of weak accuracies 0.05 apart, and scratch, on replicates (a split with its weak seed) by
target seeds. Weak runs rise to a ceiling of their own; some never come to the higher levels and are charged whole. The
target's time falls with the accuracy at hand-over, most of it in one jump; it varies with the split (as scratch's
does), the weak seed, the target seed and by itself, and about 30 % of the pipelines miss. The expected cost with
restarts crosses scratch's in the jump.

seeds: weak seeds are good or bad. A quarter is bad: whatever the level, their targets miss, and cost twice what a run
from scratch does. All others get there, for less the higher the level, and so does scratch. Then the ratio rests on a
rate of misses that few replicates do not show: with five, one study in four sees no miss at all.

For each size: how often the 95 % interval of the ratio holds the true ratio, at each of the four levels around the
crossing; how often the interval of the threshold holds the true crossing; how often a threshold is claimed, and how
often below the true crossing; and how often the highest level that does not pay (its true ratio is 1 or a little more)
is said to pay, which is to be at most 2.5 %. In brackets Wilson's interval over the repetitions. An interval without an
end is open there. The last lines are what `gtsearch.analysis.stats` keeps as MEASURED_COVERAGE (the mean over the four
levels and over one and two target seeds) and MEASURED_THRESHOLD_COVERAGE, each of the regime where it is the lower.

`--rivals` adds how often bootstraps held at the same levels, which is why the interval is none of them. A target seed
makes starts and scratch slower alike; `--apart` is the standard deviation, in logs, of what it does to all starts and
not to scratch, which one target seed alone cannot show.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import numpy as np
import numpy.typing as npt
from scipy import stats as scipy_stats

from benchmarks.results import Row, keep
from gtsearch.analysis import payoff, stats

LEVELS = np.arange(1, 14) * 0.05
HORIZON = 400.0  # epochs of the target: the unit of cost
WEAK_EPOCHS = 1000
WEAK_EPOCH_COST = 0.03
SIZES = (3, 4, 5, 8, 10, 20)
TARGET_SEEDS = (1, 2)
AROUND = 2  # levels on each side of the crossing
REGIMES = ("jump", "seeds")
BAD = 0.25  # of the weak seeds in the regime `seeds`
MISS = 165.0  # what a target of theirs spends; scratch needs 80
RIVALS = ("percentile", "BCa", "expanded", "pigeonhole", "expanded pigeonhole")
RESAMPLES = 2000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What `study` is drawn from.

    regime: one of REGIMES. apart: as `study` has it. ratios: [levels], expected cost with restarts over scratch's.
    crossing: the least level from which on that is below 1. missed: the share of pipelines from a start, at any level,
    that do not get there.
    """

    regime: str
    apart: float
    ratios: Floats
    crossing: int
    missed: float

    @property
    def near(self) -> range:
        """The levels around the crossing."""
        return range(self.crossing - AROUND, self.crossing + AROUND)


def study(
    random: np.random.Generator, replicates: int, target_seeds: int, apart: float, regime: str
) -> tuple[list[payoff.Starts], payoff.Starts]:
    """One simulated study: a start for each of LEVELS, and scratch. What a target seed does to starts alone has the
    standard deviation `apart`, in logs."""
    return (_jump if regime == "jump" else _seeds)(random, replicates, target_seeds, apart)


def _jump(
    random: np.random.Generator, replicates: int, target_seeds: int, apart: float
) -> tuple[list[payoff.Starts], payoff.Starts]:
    ceiling = np.clip(random.normal(0.65, 0.1, replicates), 0.2, 0.95)
    pace = np.exp(random.normal(np.log(250.0), 0.3, replicates))
    split = random.normal(0.0, 0.25, replicates)
    weak_seed = random.normal(0.0, 0.25, replicates)
    target_seed = random.normal(0.0, 0.1, target_seeds)
    own = random.normal(0.0, apart, target_seeds)
    grid = (replicates, target_seeds)

    starts = []
    for level in LEVELS:
        share = np.minimum(level / ceiling, 1.0 - 1e-9)
        epochs = np.ceil(-pace * np.log1p(-share) / 10.0) * 10.0
        came = (level < ceiling) & (epochs <= WEAK_EPOCHS)
        accuracy = np.where(came, ceiling * -np.expm1(-epochs / pace), np.nan)
        jumped = 1.0 / (1.0 + np.exp(-(level - 0.345) / 0.03))
        middle = np.log(360.0) + jumped * np.log(90.0 / 360.0) - 0.4 * max(level - 0.345, 0.0)
        noise = random.normal(0.0, 0.5, grid)
        time = np.exp(middle + (split + weak_seed)[:, None] + target_seed + own + noise)
        weak_cost = WEAK_EPOCH_COST * np.where(came, epochs, WEAK_EPOCHS)
        spent = weak_cost[:, None] + np.where(came[:, None], np.minimum(time, HORIZON), 0.0)
        starts.append(payoff.Starts(accuracy, spent, came[:, None] & (time <= HORIZON)))

    time = np.exp(np.log(260.0) + split[:, None] + target_seed + random.normal(0.0, 0.6, grid))
    unknown = np.full(replicates, np.nan)
    return starts, payoff.Starts(unknown, np.minimum(time, HORIZON), time <= HORIZON)


def _seeds(
    random: np.random.Generator, replicates: int, target_seeds: int, apart: float
) -> tuple[list[payoff.Starts], payoff.Starts]:
    bad = random.random(replicates) < BAD
    split = random.normal(0.0, 0.1, replicates)
    own = random.normal(0.0, apart, target_seeds)
    grid = (replicates, target_seeds)
    reached = np.broadcast_to(~bad[:, None], grid)

    starts = []
    for level in LEVELS:
        accuracy = level + random.uniform(0.0, 0.05, replicates)
        middle = np.log(16.0 + 74.0 / (1.0 + np.exp((level - 0.327) / 0.05)))
        success = np.exp(middle + split[:, None] + own + random.normal(0.0, 0.1, grid))
        starts.append(payoff.Starts(accuracy, np.where(reached, np.minimum(success, MISS), MISS), reached))

    time = np.exp(np.log(80.0) + split[:, None] + random.normal(0.0, 0.3, grid))
    unknown = np.full(replicates, np.nan)
    return starts, payoff.Starts(unknown, np.minimum(time, MISS), time <= MISS)


def truth(apart: float = 0.0, studies: int = 1500, seed: int = 20261121, regime: str = "jump") -> Truth:
    """By `studies` studies of 200 replicates and 20 target seeds: the ratios are known to about 0.003."""
    random = np.random.default_rng(seed)
    spent, reached = np.zeros(len(LEVELS) + 1), np.zeros(len(LEVELS) + 1)
    for _ in range(studies):
        starts, scratch = study(random, 200, 20, apart, regime)
        spent += [arm.spent.sum() for arm in (*starts, scratch)]
        reached += [arm.reached.sum() for arm in (*starts, scratch)]
    costs = spent / reached
    ratios = costs[:-1] / costs[-1]
    crossing = int(np.flatnonzero(ratios >= 1.0)[-1]) + 1
    return Truth(regime, apart, ratios, crossing, missed=1.0 - float(np.mean(reached[:-1])) / (studies * 200 * 20))


@dataclass(frozen=True)
class Coverage:
    """Counts over `repetitions` studies of one size.

    ratio: [levels], how often the interval held the true ratio; pays: [levels], how often the start was said to pay.
    """

    repetitions: int
    ratio: npt.NDArray[np.int_]
    pays: npt.NDArray[np.int_]
    threshold: int
    claimed: int
    wrong: int


def coverage(true: Truth, replicates: int, target_seeds: int, repetitions: int, seed: int = 0) -> Coverage:
    """Simulates `repetitions` studies and asks `payoff.paying` of each.

    An end of an interval that is None lies beyond everything. An accuracy measured at a level lies between that level
    and the next, so the crossing level parts those below it from those that pay.
    """
    random = np.random.default_rng([seed, replicates, target_seeds])
    ratio, pays = np.zeros(len(LEVELS), dtype=int), np.zeros(len(LEVELS), dtype=int)
    threshold = claimed = wrong = 0
    crossing = LEVELS[true.crossing]
    for _ in range(repetitions):
        found = payoff.paying(*study(random, replicates, target_seeds, true.apart, true.regime))
        ratio += [_holds(one.interval, value) for one, value in zip(found.ratios, true.ratios, strict=True)]
        pays += [one.pays for one in found.ratios]
        low, high = found.interval
        threshold += (low is None or low < crossing) and (high is None or high >= crossing)
        claimed += found.threshold is not None
        wrong += found.threshold is not None and found.threshold < crossing
    return Coverage(repetitions, ratio, pays, threshold, claimed, wrong)


def _holds(interval: stats.OpenInterval, value: float) -> bool:
    low, high = interval
    return (low is None or low <= value) and (high is None or value <= high)


def rivals(true: Truth, replicates: int, target_seeds: int, repetitions: int, seed: int = 0) -> list[float]:
    """How often each of RIVALS held the true ratio, 0 to 1, over the levels around the crossing of all studies."""
    random = np.random.default_rng([seed, replicates, target_seeds])
    held = np.zeros(len(RIVALS))
    for _ in range(repetitions):
        starts, scratch = study(random, replicates, target_seeds, true.apart, true.regime)
        for level in true.near:
            own = bootstraps(starts[level], scratch, random)
            held += [low <= np.log(true.ratios[level]) <= high for low, high in own]
    shares: list[float] = (held / (repetitions * len(true.near))).tolist()
    return shares


def bootstraps(starts: payoff.Starts, scratch: payoff.Starts, random: np.random.Generator) -> Iterator[stats.Interval]:
    """The 95 % intervals of RIVALS, of the log of the ratio: of replicates (scipy's), and crossed with target seeds.

    A resample in which the start never gets there is infinite, one in which only scratch never does minus infinite.
    """
    arms = np.array([starts.spent, starts.reached, scratch.spent, scratch.reached], dtype=float)

    def logs(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            ours, theirs = np.log(sums[0] / sums[1]), np.log(sums[2] / sums[3])
            return np.where(sums[1] == 0, np.inf, ours - theirs)

    replicates, target_seeds = starts.spent.shape
    t = np.sqrt(replicates / (replicates - 1)) * scipy_stats.t.ppf(0.975, replicates - 1)
    levels = {"percentile": 0.95, "BCa": 0.95, "expanded": 1.0 - 2.0 * scipy_stats.norm.sf(t)}
    for name, level in levels.items():
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy_stats.DegenerateDataWarning)
            low, high = scipy_stats.bootstrap(
                (np.arange(replicates),),
                lambda drawn, axis: logs(arms.sum(axis=2)[:, drawn].sum(axis=-1)),
                n_resamples=RESAMPLES,
                confidence_level=level,
                method="BCa" if name == "BCa" else "percentile",
                rng=random,
            ).confidence_interval
        yield (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)

    rows = random.multinomial(replicates, np.full(replicates, 1 / replicates), RESAMPLES)
    columns = random.multinomial(target_seeds, np.full(target_seeds, 1 / target_seeds), RESAMPLES)
    crossed = np.sort(logs(np.einsum("br,arc,bc->ab", rows, arms, columns, optimize=True)))
    for level in (0.95, levels["expanded"]):
        tail = int((1.0 - level) / 2.0 * RESAMPLES)
        yield crossed[tail], crossed[-1 - tail]


def _percent(k: int, n: int) -> str:
    low, high = stats.wilson(k, n)
    return f"{100 * k / n:5.1f} [{100 * low:4.1f}, {100 * high:5.1f}]"


def _row(cells: Sequence[str]) -> str:
    return "  ".join([*(f"{cell:>10}" for cell in cells[:2]), *(f"{cell:>19}" for cell in cells[2:])])


def _table(true: Truth, repetitions: int, seed: int) -> dict[int, tuple[float, float]]:
    """Prints a regime's table. Returns by replicates how often the intervals held, of ratios near 1 and thresholds."""
    near = [f"{LEVELS[i]:.2f} (true {true.ratios[i]:.2f})" for i in true.near]
    print(f"{true.regime}: true ratios {np.round(true.ratios, 2).tolist()}, crossing at {LEVELS[true.crossing]:.2f}")
    print(f"{100 * true.missed:.0f} % of pipelines miss; {repetitions} studies a row; numbers in %")
    falsely = f"{LEVELS[true.crossing - 1]:.2f} said to pay"
    print(_row(["replicates", "targets", *near, "the four", "threshold interval", "claimed", "too low", falsely]))
    measured = {}
    for replicates in SIZES:
        rows = []
        for target_seeds in TARGET_SEEDS:
            own = coverage(true, replicates, target_seeds, repetitions, seed)
            cells = [_percent(int(own.ratio[i]), repetitions) for i in true.near]
            four = float(np.mean([own.ratio[i] for i in true.near])) / repetitions
            counts = (own.threshold, own.claimed, own.wrong, int(own.pays[true.crossing - 1]))
            rest = [_percent(count, repetitions) for count in counts]
            print(_row([str(replicates), str(target_seeds), *cells, f"{100 * four:.1f}", *rest]), flush=True)
            rows.append((four, own.threshold / repetitions))
        ratio, threshold = np.mean(rows, axis=0).tolist()
        measured[replicates] = (ratio, threshold)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--apart", type=float, default=0.0)
    parser.add_argument("--rivals", action="store_true")
    asked = parser.parse_args()
    measured = {regime: _table(truth(asked.apart, regime=regime), asked.repetitions, asked.seed) for regime in REGIMES}
    if asked.rivals:
        jump = truth(asked.apart)
        print(_row(["replicates", "targets", *RIVALS]))
        for replicates in SIZES[2:]:  # fewer are not enough for BCa
            for target_seeds in TARGET_SEEDS:
                shares = rivals(jump, replicates, target_seeds, asked.repetitions, asked.seed)
                cells = [f"{100 * share:.1f}" for share in shares]
                print(_row([str(replicates), str(target_seeds), *cells]), flush=True)
    rows = []
    for at, (name, what) in enumerate(
        {"MEASURED_COVERAGE": "a ratio near 1", "MEASURED_THRESHOLD_COVERAGE": "the threshold"}.items()
    ):
        held = {size: round(min(own[size][at] for own in measured.values()), 3) for size in SIZES}
        print(name, held)
        by_size = ", ".join(f"{size}: {share:.3f}" for size, share in held.items())
        rows.append(
            Row(
                what=f"how often the 95 % interval of {what} holds the truth, least over replicates and regimes",
                ours=min(held.values()),
                other=None,
                unit="of studies",
                note=f"by replicates {by_size}; {asked.repetitions} studies each",
            )
        )
    settings = {"repetitions": asked.repetitions, "seed": asked.seed, "apart": asked.apart}
    print(f"kept in {keep('coverage', rows, settings)}")


if __name__ == "__main__":
    main()
