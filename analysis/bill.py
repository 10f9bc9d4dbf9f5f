"""What a transfer and training from scratch cost, part by part: the one place that the summary and the figure ask.

Booked are the runs that an arm needed: a control (an embedding that is shuffled, or random) and the trade-off study
needed runs of their own, and those are on no bill, whether they came to be needed or were cancelled.

What was run ahead of a need that never came is told apart and counts in no ratio: it is the price of having the answer
sooner, it depends on how many workers there were and which came first, and one worker alone spends none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtsearch.analysis import stats
from gtsearch.analysis.members import of_report
from gtsearch.analysis.stats import Floats, OpenInterval, floats

TARGET, MISSED, TUNING = "target alone", "missed", "its tuning"
SEARCH = {  # purpose -> how the search's part is called
    "weak_search": "weak search",
    "weak_gate": "weak gate",
    "probe": "probes of the judge",
    "target_search": "target search",
}
WITHDRAWN, AHEAD = "winners that failed", "run ahead, not needed"
_PARTS = (*SEARCH.values(), WITHDRAWN, TUNING, AHEAD)

Json = Mapping[str, Any]
Draws = npt.NDArray[np.int64]


# -- what is booked -----------------------------------------------------------------------------------------


def booked(trials: pd.DataFrame, methods: Mapping[str, Json], arms: Sequence[str]) -> pd.DataFrame:
    """The rows that the arms paid for, each with the arm and the part it is booked under.

    Args:
        trials: those of the experiment, or of one of its variations.
        methods: of its summary. Of `transfer`, `weak_run_ids` are all weak runs of the pipelines its claim rests on;
            without them, those on its splits are.
        arms: methods.

    Returns:
        The columns of the trials, and `arm`, `part` (TARGET: report members of the target that the claim rests on;
        MISSED: weak seeds of a pipeline that did not clear; TUNING; WITHDRAWN: report members of winners that failed;
        AHEAD: what nobody needed in the end; or one of SEARCH), `seeds` (of the claim),
        `pipelines` (how many of the claim share the row's split: a miss is charged to them in equal parts) and
        `weak_epochs` (epochs up to the embedding of a pipeline, those of a growth chain's links included).
    """
    report = of_report(trials, methods)
    blocks = [report[report["method"].isin(arms)].assign(arm=lambda own: own["method"], part=TARGET)]
    blocks[0]["weak_epochs"] = _weak_epochs(blocks[0], trials)
    for arm in arms:
        if arm == "transfer":
            blocks += _of_transfer(trials, report[report["method"] == "transfer"], methods.get("transfer", {}))
        else:
            blocks.append(tuning(trials, arm).assign(arm=arm, part=TUNING))
    return pd.concat(blocks, ignore_index=True)


def tuning(trials: pd.DataFrame, method: str) -> pd.DataFrame:
    """The target runs that a method's config was found by, probes of the judge included."""
    own = (trials["stage"] == "target") & (trials["method"] == method)
    return trials[own & trials["purpose"].isin(["target_search", "probe"])]


def _of_transfer(trials: pd.DataFrame, claimed: pd.DataFrame, record: Json) -> Iterator[pd.DataFrame]:
    """The weak seeds that missed, and the search: the ladder, the gate, probes, transfer's own, what was in vain."""
    mine = trials["method"].isin(["weak", "growth", "transfer"])
    sharing = claimed["split_seed"].value_counts()
    in_report = mine & (trials["role"] == "report") & (trials["status"] != "cancelled")
    known = record.get("weak_run_ids")
    weak = trials["split_seed"].isin(sharing.index) if known is None else trials["run_id"].isin(known)
    of_claim = trials["run_id"].isin(claimed["run_id"]) | (weak & (trials["method"] != "transfer"))
    missed = in_report & of_claim & (trials["method"] == "weak") & (trials["status"] != "cleared")
    own = trials[missed & ~trials["run_id"].isin(claimed["weak_run_id"])]
    yield own.assign(arm="transfer", part=MISSED, pipelines=own["split_seed"].map(sharing).astype("Int64"))
    searched = mine & trials["purpose"].isin(SEARCH)
    yield trials[searched].assign(arm="transfer", part=trials.loc[searched, "purpose"].map(SEARCH))
    yield trials[in_report & ~of_claim].assign(arm="transfer", part=WITHDRAWN)
    ahead = mine & (trials["purpose"] == "cancelled") & (trials["role"] != "tradeoff")
    yield trials[ahead].assign(arm="transfer", part=AHEAD)


def _weak_epochs(claimed: pd.DataFrame, trials: pd.DataFrame) -> Floats:
    """[n] epochs to the embedding each was given, and to that its maker was given, and so on; 0 without one."""
    made = trials.drop_duplicates("run_id").set_index("run_id")[["weak_run_id", "weak_epoch"]]
    spent, given = floats(claimed["weak_epoch"].fillna(0)), claimed["weak_run_id"]
    while (links := made.reindex(given)).notna().to_numpy().any():
        spent = spent + floats(links["weak_epoch"].fillna(0))
        given = links["weak_run_id"]
    return spent


# -- one arm ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """What a method takes in one unit, over the report seeds its claim rests on; those that never started are last.

    Attributes:
        times, reached: [n] as in `stats.km_median`, of the target alone.
        weak: [n] what came before the target, misses of weak seeds charged; 0 for those that never started.
        splits: [n] the split of each; -1 for those that never started.
        started: [n] all but those.
        spent: the median of what those spent that used their budget up (of all that missed where none did); None
            where none missed. It stands for a median that is censored, as a lower bound.
        parts: TUNING, or SEARCH's, WITHDRAWN and AHEAD -> what was spent.
    """

    times: Floats
    reached: npt.NDArray[np.bool_]
    weak: Floats
    splits: Draws
    started: npt.NDArray[np.bool_]
    spent: float | None
    parts: Mapping[str, float]

    @property
    def alone(self) -> float | None:
        """The Kaplan-Meier median of the target alone; None where it is censored."""
        return stats.km_median(self.times, self.reached)

    @property
    def totals(self) -> Floats:
        """[n] weak model and target; infinite where the target was not seen to get there."""
        return np.where(self.reached, self.weak + self.times, np.inf)

    @property
    def whole(self) -> float | None:
        """The median over pipelines of `totals`; None where half never got there."""
        whole = float(np.median(self.totals)) if len(self.totals) else math.inf
        return whole if math.isfinite(whole) else None

    @property
    def search(self) -> float:
        """All that finding it took, with any number of workers."""
        return float(sum(spent for part, spent in self.parts.items() if part != AHEAD))

    def medians(self, draws: Draws) -> Floats:
        """[resamples] `alone` of each resample of members [resamples, n]; infinite where it is censored."""
        last = np.max(self.times[self.reached], initial=-math.inf)
        if (self.times[~self.reached] >= last).all():  # then Kaplan-Meier's median is the plain one
            return _median(np.where(self.reached, self.times, np.inf)[draws])
        found = stats.km_medians(self.times, self.reached, draws)
        return np.array([math.inf if median is None else median for median in found])


def _median(values: Floats) -> Floats:
    """The median along the last axis; of two in the middle of which one is infinite, infinite."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    middle: Floats = (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2.0
    return middle


def arm(own: pd.DataFrame, unit: str) -> Arm:
    """What one arm takes in `unit` (of `stats.UNITS`); `own` are its rows as `booked` gives them."""
    column = stats.UNITS[unit]
    # Rows come in as workers end them: sorted, so that a resample is of the same seeds however many there were.
    report = own[own["part"] == TARGET].sort_values(["split_seed", "run_id"])
    missed = own[own["part"] == MISSED]
    times, reached = stats.times_to_goal(report, unit)
    weak = floats(report[f"weak_{unit}"].fillna(0.0))
    if len(missed):
        charged = (missed[column] / missed["pipelines"]).groupby(missed["split_seed"]).sum()
        weak = weak + floats(report["split_seed"].map(charged).fillna(0.0))
    known = report["seeds"].dropna()
    never = max(0, int(known.iloc[0]) - len(times)) if len(known) else 0  # a pipeline without an embedding
    late = report[report["status"] != "cleared"]
    used_up = late[late["status"] == "exhausted"]
    spent = floats((used_up if len(used_up) else late)[column].dropna())
    searched = own[own["part"].isin(_PARTS)]
    parts = searched.groupby("part")[column].sum()
    return Arm(
        times=np.append(times, np.full(never, np.inf)),
        reached=np.append(reached, np.zeros(never, dtype=bool)),
        weak=np.append(weak, np.zeros(never)),
        splits=np.append(report["split_seed"].fillna(-1).to_numpy(dtype=np.int64), np.full(never, -1, dtype=np.int64)),
        started=np.arange(len(times) + never) < len(times),
        spent=float(np.median(spent)) if len(spent) else None,
        parts={name: float(parts[name]) for name in _PARTS if name in parts.index},
    )


# -- transfer against scratch -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bill:
    """Transfer and scratch in one unit of cost."""

    transfer: Arm
    scratch: Arm

    @property
    def lower_bound(self) -> bool:
        """Whether scratch is censored: what it spent then stands for what it takes."""
        return self.scratch.alone is None

    @property
    def base(self) -> float | None:
        """What scratch takes, or has at least spent; None where neither is known."""
        median = self.scratch.alone
        return self.scratch.spent if median is None else median

    def break_even(self) -> float | None:
        """After how many target runs the search has paid for itself; where scratch is censored the most it takes."""
        return break_even(self.transfer.search - self.scratch.search, self.base, self.transfer.whole)

    def speedups(self, seed: int = 0) -> dict[str, dict[str, Any]]:
        """How many times cheaper transfer is than scratch: the target alone, with the weak model, with all that both
        searches spent.

        Each has value, lower_bound, and interval: at 95 %, the percentile bootstrap over report seeds of the ratio of
        medians. Where both have the same splits a split is drawn with both its runs, else each arm by itself. A bound
        is None where it lies beyond what was observed, and both are without a value or with fewer than two seeds. A
        search ran once: in `with_search` its cost is held fixed, so that the interval says how report seeds differ
        and not how searches do.
        """
        ours, theirs = self._draws(seed)
        # A scratch that is censored in a draw takes at least what it spent, and no one knows how much more.
        scratch = self.scratch.medians(theirs) if len(theirs) else np.empty(0)
        least = np.where(np.isfinite(scratch), scratch, self.scratch.spent or 0.0)
        alone = self.transfer.medians(ours) if len(ours) else np.empty(0)
        whole = _median(self.transfer.totals[ours]) if len(ours) else np.empty(0)

        def ratio(below: float | None, drawn: Floats, search: float = 0.0, tuning: float = 0.0) -> dict[str, Any]:
            value = (self.base + tuning) / (below + search) if self.base is not None and below else None
            known = value is not None and len(drawn) > 0
            interval = _ends((least + tuning), (scratch + tuning), drawn + search) if known else (None, None)
            return {"value": value, "lower_bound": self.lower_bound, "interval": list(interval)}

        return {
            "target": ratio(self.transfer.alone, alone),
            "with_weak": ratio(self.transfer.whole, whole),
            "with_search": ratio(self.transfer.whole, whole, self.transfer.search, self.scratch.search),
        }

    def _draws(self, seed: int) -> tuple[Draws, Draws]:
        """[resamples, n] which seeds of transfer, and of scratch, are in each resample; none for fewer than two."""
        ours, theirs = self.transfer.splits, self.scratch.splits
        random, nothing = np.random.default_rng(seed), np.empty((0, 0), dtype=np.int64)
        if min(len(ours), len(theirs)) < 2:
            return nothing, nothing
        drawn = random.integers(len(ours), size=(stats.RESAMPLES, len(ours)))
        if len(set(ours.tolist())) == len(ours) == len(theirs) and set(ours.tolist()) == set(theirs.tolist()):
            return np.argsort(ours)[drawn], np.argsort(theirs)[drawn]
        return drawn, random.integers(len(theirs), size=(stats.RESAMPLES, len(theirs)))


def _ends(least: Floats, most: Floats, below: Floats) -> OpenInterval:
    """The central 95 % of ratios that lie between `least` and `most` over `below`, [resamples] each.

    Where `below` is infinite the ratio is 0, whatever stands over it: a transfer that never gets there is no cheaper.
    """
    never = ~np.isfinite(below)
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.sort(np.where(never, 0.0, least / below))
        high = np.sort(np.where(never, 0.0, most / below))
    tail = round(0.025 * len(low))
    bottom, top = float(low[tail]), float(high[len(high) - 1 - tail])
    return (bottom if 0.0 < bottom < math.inf else None), (top if 0.0 < top < math.inf else None)


def of(rows: pd.DataFrame, unit: str) -> Bill | None:
    """The bill in `unit` (of `stats.UNITS`); `rows` as `booked` gives them. None without a transfer or a scratch."""
    reported = rows[rows["part"] == TARGET]
    if not {"transfer", "scratch"} <= set(reported["arm"]):
        return None
    return Bill(*(arm(rows[rows["arm"] == name], unit) for name in ("transfer", "scratch")))


def break_even(extra: float, scratch: float | None, transfer: float | None) -> float | None:
    """After how many target runs a search has paid for itself; None: never, or not known.

    Args:
        extra: what it spent more than scratch's own tuning did.
        scratch, transfer: what one run costs, transfer's with its weak model; None where that is not known.
    """
    if scratch is None or transfer is None or scratch <= transfer:
        return None
    return max(0.0, extra) / (scratch - transfer)
