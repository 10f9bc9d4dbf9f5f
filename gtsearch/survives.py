"""Which conclusions survive: the report members of one finding trained again, on other threads, devices and grids.

A finding compares two methods on report seeds, whole pipelines where a weak model is handed over. Curves of networks
that grok are chaotic: another number of threads or another device changes the last bit of a sum, and epochs later the
whole curve. What must not change with it is the conclusion. So each variation trains the same configs on the same seeds
and splits again (weak models too), and asks the rules that the run's own claims were made by. No Ray: members are
trained in this process, one after another, until the time is up. Entries: `of_run` or `built_in`, then `rerun`.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gtsearch.analysis import stats
from gtsearch.analysis.bill import Arm, Bill
from gtsearch.errors import ResultsError, SpecError
from gtsearch.identity import derive_seed
from gtsearch.parts import BASE
from gtsearch.plans import policy_for
from gtsearch.resources import cores
from gtsearch.results import LOG, SPEC, Results, members
from gtsearch.salvage import whole
from gtsearch.search.board import PENDING, Embedding, Hyperparameters, Member, Phase, Row, cleared, embedding_of
from gtsearch.search.policy import Job, Policy
from gtsearch.search.weak import Candidate, spent
from gtsearch.spec import Spec, load_spec
from gtsearch.trainables import trainable_for, without_origin

FEWEST = 5
"""Seeds of each method from which on the interval of a ratio of medians says anything."""
CHANCE = 0.05

RAN = "as it ran"
VERDICTS = SURVIVES, LOST, UNKNOWN, UNCLAIMED = ("survives", "does not", "cannot tell", "not claimed")

# The built-in finding: the smoke experiment's sizes, with what a run of it had chosen.
_BUILT_IN = (
    "weak.model={name: mlp, depth: 2, d_embed: 8, width: 24}",
    "report={seeds: 6, at_least: 4, weak_tries: 5}",
    "tradeoff=null",
)
_WEAK = {"lr": 0.05, "weight_decay": 0.8, "init_scale": 0.3}
_TRANSFER = {"lr": 0.03, "weight_decay": 2.5, "init_scale": 1.0, "embedding_scale": 2.3}
_SCRATCH = {"lr": 0.05, "weight_decay": 3.0, "init_scale": 1.0}

Json = dict[str, Any]
Curve = Mapping[int, tuple[float, float]]
"""Epoch -> training loss and validation accuracy."""


class OutOfTime(Exception):
    """The time is up; the member that was being trained counts for nothing."""


# -- what was found -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """One report seed of one method.

    Attributes:
        split: its split's seed.
        row: the target's; None where no weak seed of the pipeline cleared.
        weak: unit -> what came before the target, misses charged.
        curve: of the target; empty where there is none.
    """

    split: int
    row: Row | None
    weak: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        return self.row is not None and cleared(self.row)

    def to_goal(self, unit: str) -> float:
        """What it took to its goal; infinite where it did not get there."""
        return float(self.row[f"{unit}_to_goal"]) if self.row is not None and self.reached else math.inf

    def total(self, unit: str) -> float:
        return self.weak.get(unit, 0.0) + self.to_goal(unit)

    def same_curve(self, other: Outcome) -> bool | None:
        """Whether both curves are the same, bit for bit, at the epochs they share; None where there are none."""
        shared = self.curve.keys() & other.curve.keys()
        return all(self.curve[epoch] == other.curve[epoch] for epoch in shared) if shared else None


@dataclass(frozen=True)
class Rule:
    """By what the claims are made.

    Attributes:
        seeds, at_least: of the report.
        unit: in which a pipeline's total is compared with what the other method takes.
        judged: whether it is claimed that the weak model pays.
    """

    seeds: int
    at_least: int
    unit: str
    judged: bool


@dataclass(frozen=True)
class Measured:
    """The report seeds of both methods under one variation: `ours`, of which something is claimed, and `theirs`."""

    ours: tuple[Outcome, ...]
    theirs: tuple[Outcome, ...]
    rule: Rule

    @property
    def k(self) -> int:
        return sum(one.reached for one in self.ours)

    @cached_property
    def ratio(self) -> dict[str, Any]:
        """How many times fewer FLOPs ours takes to the goal: value, lower_bound and interval (`bill.Bill`)."""
        told: dict[str, Any] = Bill(_arm(self.ours), _arm(self.theirs)).speedups()["target"]
        return told

    @property
    def reaches(self) -> bool | None:
        """Whether enough seeds reach the goal; None while that is open."""
        if self.k >= self.rule.at_least:
            return True
        misses = len(self.ours) - self.k
        return False if misses > self.rule.seeds - self.rule.at_least else None

    @property
    def sooner(self) -> bool | None:
        """Whether ours takes fewer FLOPs (False: more) beyond chance; None where that cannot be told."""
        if min(len(self.ours), len(self.theirs)) < FEWEST:
            return None
        low, high = self.ratio["interval"]
        if low is not None and low > 1.0:
            return True
        if high is not None and high < 1.0:
            return False
        ours, theirs = _arm(self.ours), _arm(self.theirs)
        if ours.alone is None and theirs.alone is not None:
            apart = stats.log_rank(ours.times, ours.reached, theirs.times, theirs.reached) < CHANCE
            return False if apart else None
        return None

    @property
    def price(self) -> float:
        """The median of what the other method takes, in the rule's unit; infinite where half never got there."""
        return statistics.median([one.to_goal(self.rule.unit) for one in self.theirs] or [math.inf])

    @property
    def pays(self) -> bool | None:
        """Whether enough pipelines reach the goal, and the median of weak model and target is below `price`."""
        if self.reaches is False:
            return False
        if min(len(self.ours), len(self.theirs)) < self.rule.seeds:
            return None
        return statistics.median([one.total(self.rule.unit) for one in self.ours]) < self.price or (
            math.isinf(self.price)
        )


def _arm(outcomes: Sequence[Outcome]) -> Arm:
    """As `bill.arm` makes one of rows, in FLOPs."""
    reached = np.array([one.reached for one in outcomes], dtype=bool)
    times = np.array([_time(one, "flops") for one in outcomes], dtype=np.float64)
    late = times[~reached & np.isfinite(times)]
    return Arm(
        times=times,
        reached=reached,
        weak=np.array([one.weak.get("flops", 0.0) for one in outcomes], dtype=np.float64),
        splits=np.array([one.split for one in outcomes], dtype=np.int64),
        started=np.array([one.row is not None for one in outcomes], dtype=bool),
        spent=float(np.median(late)) if len(late) else None,
        parts={},
    )


def _time(one: Outcome, unit: str) -> float:
    """To the goal, or what was spent without it; infinite for one that never would have got there."""
    if one.reached:
        return one.to_goal(unit)
    never = one.row is None or one.row["status"] in ("diverged", "failed")
    return math.inf if never or one.row is None else float(one.row[stats.UNITS[unit]])


def verdict(claimed: bool | None, found: bool | None, lost: int = 0, won: int = 0) -> str:
    """What becomes of a conclusion: SURVIVES where the same rule gives the same answer; UNCLAIMED where there is none.

    Args:
        claimed, found: the rule's answer before and under a variation; None: it gave none.
        lost, won: seeds that spoke for the claim before and do not any more, and the other way round. An answer that
            turned for no more than chance turns of seeds (McNemar's test) is UNKNOWN, and not LOST.
    """
    if claimed is None:
        return UNCLAIMED
    if found is None:
        return UNKNOWN
    if found == claimed:
        return SURVIVES
    return LOST if not lost + won or stats.mcnemar(lost, won) < CHANCE else UNKNOWN


@dataclass(frozen=True)
class Finding:
    """Two methods with their configs, and what was found of them.

    Attributes:
        where: the experiment's file or name; `settings` go over it.
        candidate: the weak config whose embedding `ours` is given, as winner number `series` of the report; None: no
            weak model is.
        configs: method -> hyperparameters.
        recorded: as the run has it; None: the first variation stands for it.
        recorded_on: versions and processor of the run, in words.
        device, threads: on which it was found.
        goal: the target's validation accuracy.
    """

    name: str
    where: str | Path
    settings: tuple[str, ...]
    ours: str
    theirs: str
    configs: Mapping[str, Hyperparameters]
    candidate: Candidate | None
    series: int
    recorded: Measured | None
    recorded_on: str
    device: str
    threads: int
    goal: float

    def spec(self, *settings: str) -> Spec:
        """The experiment, without variations, with settings of its YAML changed."""
        return load_spec(self.where, [*self.settings, *settings]).variations()[BASE]


def of_run(folder: Path) -> Finding:
    """The headline of a finished run: transfer against scratch, or without a weak stage its two fastest methods.

    Raises:
        ResultsError: not a finished run, or one that compares nothing on report seeds.
        SpecError: its experiment is not one of this version.
    """
    results = whole(folder)
    policy = policy_for(load_spec(folder / SPEC).variations()[BASE])
    policy.tell(members(folder / LOG))
    policy.remaining_seconds()  # makes the plan over what was told
    found, curves = policy.findings, _Curves(results)
    if found.reference is None:
        raise ResultsError(f"the run in {folder} has no report members of scratch in {LOG}: there is nothing to rerun")
    plain = {"scratch": (found.reference.tuned.config, found.reference.rows)}
    plain |= {method: (tuned.config, tuple(r for r in rows if r)) for method, (tuned, rows) in found.controls.items()}
    chosen = found.chosen
    if chosen is not None and chosen.pipelines:
        ours, theirs = "transfer", "scratch"
        configs = {ours: chosen.tuned.config, theirs: plain[theirs][0]}
        weak = [{"flops": p.weak_flops, "seconds": p.weak_seconds} for p in chosen.pipelines]
        mine = [
            Outcome(pipeline.split_seed, row, own, curves.of(row))
            for pipeline, row, own in zip(chosen.pipelines, chosen.rows, weak, strict=True)
        ]
    elif policy.ladder is None and len(plain) > 1:
        order = stats.by_speed(results.summary["methods"])
        ours, theirs = [*order, *(method for method in plain if method not in order)][:2]
        configs = {method: plain[method][0] for method in (ours, theirs)}
        mine = [Outcome(row["split_seed"], row, {}, curves.of(row)) for row in plain[ours][1]]
    else:
        why = "its weak models gave the target no embedding" if policy.ladder else "it has one method alone"
        raise ResultsError(f"the run in {folder} compares nothing on report seeds ({why}): there is nothing to rerun")
    other = [Outcome(row["split_seed"], row, {}, curves.of(row)) for row in plain[theirs][1]]
    judged = policy.spec.judged and policy.ladder is not None
    rule = Rule(policy.spec.report.seeds, policy.spec.report.at_least, policy.target.unit, judged)
    return Finding(
        name=str(folder),
        where=folder / SPEC,
        settings=(),
        ours=ours,
        theirs=theirs,
        configs=configs,
        candidate=chosen.candidate if chosen is not None else None,
        series=chosen.series if chosen is not None else 0,
        recorded=Measured(tuple(mine), tuple(other), rule),
        recorded_on=_surroundings(results),
        device=str(results.environment.get("device", "cpu")),
        threads=int(results.environment.get("threads") or 1),
        goal=policy.spec.target_threshold,
    )


def built_in() -> Finding:
    """A small finding that needs no run: on a + b mod 41, transfer from a weak model against scratch."""
    policy = policy_for(load_spec("smoke", _BUILT_IN))
    assert policy.ladder is not None, "smoke has a weak stage"
    (architecture,) = policy.ladder.architectures
    return Finding(
        name="a + b mod 41, built in",
        where="smoke",
        settings=_BUILT_IN,
        ours="transfer",
        theirs="scratch",
        configs={"transfer": _TRANSFER, "scratch": _SCRATCH},
        candidate=Candidate(architecture, _WEAK, (), "goal", ()),
        series=0,
        recorded=None,
        recorded_on="",
        device="cpu",
        threads=1,
        goal=policy.spec.target_threshold,
    )


def _surroundings(results: Results) -> str:
    environment = results.environment
    versions = ", ".join(f"{name} {environment.get('versions', {}).get(name)}" for name in ("gtsearch", "torch"))
    return f"{versions}, {', '.join(environment.get('device_names') or ['an unknown device'])}"


class _Curves:
    """The curves of a run's table by member."""

    def __init__(self, results: Results) -> None:
        report = results.trials[results.trials["role"] == "report"]["run_id"]
        self.frames = dict(list(results.curves[results.curves["run_id"].isin(report)].groupby("run_id")))

    def of(self, row: Row | None) -> Curve:
        frame: pd.DataFrame | None = self.frames.get(row["run_id"]) if row is not None else None
        return _curve([] if frame is None else stats.records(frame))


def _curve(points: Sequence[Mapping[str, Any]]) -> Curve:
    return {
        int(point["epoch"]): (float(point["train_loss"]), float(point["val_accuracy"]))
        for point in points
        if point["train_loss"] is not None and point["val_accuracy"] is not None
    }


# -- training it again --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variation:
    """One way to train the finding again: where, and with which of the experiment's settings changed."""

    name: str
    device: str
    threads: int
    settings: tuple[str, ...] = ()


def variations(finding: Finding) -> list[Variation]:
    """As it ran, then one thing changed at a time: how often it is evaluated, the device, the threads."""
    has_cuda = torch.cuda.is_available()
    device = finding.device if finding.device == "cpu" or has_cuda else "cpu"
    moved = device != finding.device
    first = Variation(f"on a {device.upper()}" if moved else RAN, device, finding.threads)
    found = [first]
    spec = finding.spec()
    goals = {"target": spec.target.goal} | ({"weak": spec.weak.goal} if spec.weak and finding.candidate else {})
    for factor in (0.5, 2.0):
        every = {stage: max(1, int(factor * goal.evaluate_every)) for stage, goal in goals.items()}
        if every["target"] != spec.target.goal.evaluate_every:
            settings = tuple(f"{stage}.goal.evaluate_every={n}" for stage, n in every.items())
            plural = "s" if every["target"] > 1 else ""
            found.append(replace(first, name=f"every {every['target']} epoch{plural}", settings=settings))
    if has_cuda and not moved:
        other = "cpu" if device == "cuda" else "cuda"
        found.append(replace(first, name=f"on a {'GPU' if other == 'cuda' else 'CPU'}", device=other))
    if device == "cpu":
        for threads in (1, 2):
            if threads != finding.threads and threads <= cores():
                found.append(replace(first, name=f"{threads} thread{'s' if threads > 1 else ''}", threads=threads))
    return found


class _Bench:
    """Trains the seeds of a finding under one variation, with its embeddings in a folder of its own."""

    def __init__(self, finding: Finding, variation: Variation, folder: Path) -> None:
        self.finding, self.variation, self.folder = finding, variation, folder
        spec = finding.spec(*variation.settings)
        for task in dict.fromkeys((spec.weak_task, spec.task)):
            task.prepare()
        self.policy: Policy = policy_for(spec)
        self.rule = Rule(
            spec.report.seeds, spec.report.at_least, self.policy.target.unit, spec.judged and spec.weak is not None
        )
        self.seconds = 0.0
        self.ours: list[Outcome] = []
        self.theirs: list[Outcome] = []
        self.failed: list[str] = []

    @property
    def done(self) -> int:
        return len(self.ours)

    @property
    def measured(self) -> Measured:
        return Measured(tuple(self.ours), tuple(self.theirs), self.rule)

    def train_next(self, until: float, clock: Callable[[], float]) -> None:
        """Trains the next seed of both methods.

        Raises:
            OutOfTime: `clock` passed `until` before both were in; neither counts.
        """
        began, i, finding = clock(), self.done, self.finding

        def row_of(member: Member) -> Json:
            return self._train(member, until, clock)

        try:
            ours = self._pipeline(i, row_of) if finding.candidate else self._plain(finding.ours, i, row_of)
            theirs = self._plain(finding.theirs, i, row_of)
        finally:
            self.seconds += clock() - began
        self.ours.append(ours)
        self.theirs.append(theirs)

    def _pipeline(self, i: int, row_of: Callable[[Member], Json]) -> Outcome:
        """Weak seeds until one clears, its embedding, the target: as `gtsearch.search.target` does for the report."""
        target, candidate = self.policy.target, self.finding.candidate
        assert candidate is not None
        index = self.finding.series * self.rule.seeds + i
        rows: list[Json] = []
        for attempt in range(self.policy.spec.report.weak_tries):
            rows.append(row_of(target.weak_report_member(candidate, index, attempt)))
            if cleared(rows[-1]):
                break
        split = int(rows[-1]["split_seed"])
        own = embedding_of(rows[-1]) if cleared(rows[-1]) else None
        embedding, links = self._grown(own, rows[-1]["seed"], split, row_of) if own else (None, [])
        misses = (rows[:-1] if own else rows) + (links if embedding is None else [])
        last = embedding or own
        weak = {
            unit: spent(misses, unit) + (float(getattr(last, unit)) if last else 0.0) for unit in ("flops", "seconds")
        }
        if embedding is None:
            return Outcome(split, None, weak)
        return self._outcome(self._member(self.finding.ours, index, split, embedding), weak, row_of)

    def _grown(
        self, own: Embedding, seed: int, split: int, row_of: Callable[[Member], Json]
    ) -> tuple[Embedding | None, list[Any]]:
        """What a growth chain makes of an embedding, where the experiment has one."""
        target = self.policy.target
        while (answer := target.handed(own, seed, "report", Phase.TARGET, split)) is PENDING:
            wanted = [member for _, member in target.board.wanted.values()]
            target.board.clear()
            target.board.put([row_of(member) for member in wanted])
        return answer

    def _plain(self, method: str, i: int, row_of: Callable[[Member], Json]) -> Outcome:
        split = derive_seed(self.policy.spec.seed, "report", "split", i)
        return self._outcome(self._member(method, i, split, None), {}, row_of)

    def _member(self, method: str, index: int, split: int, embedding: Embedding | None) -> Member:
        seed = derive_seed(self.policy.spec.seed, "report", "target", index)
        config = self.finding.configs[method]
        return self.policy.target.member(method, config, "report", seed, embedding, "report", split_seed=split)

    def _outcome(self, member: Member, weak: Mapping[str, float], row_of: Callable[[Member], Json]) -> Outcome:
        row = row_of(member)
        return Outcome(member.split_seed, row, weak, _curve(row["curve"]))

    def _train(self, member: Member, until: float, clock: Callable[[], float]) -> Json:
        """The member's row. It does not run on past its goal: what follows from that is not asked here."""
        job = job_of(self.policy, [replace(member, reports=False)])
        (row,) = train(job, self.folder, self.variation.device, self.variation.threads, until, clock)
        if row["status"] == "failed":
            self.failed.append(without_origin(row["error"]))
        return row


def job_of(policy: Policy, members: Sequence[Member]) -> Json:
    """A job of members that are alike, as a worker gets it."""
    target = policy.target
    return Job(tuple(members), Phase.TARGET, target.cost(members[0]), target.sizes(members[0])).to_json()


def train(
    job: Json,
    folder: Path,
    device: str = "cpu",
    threads: int = 1,
    until: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> list[Json]:
    """The rows of a job's members, by the very code that trains a run's, in this process.

    Raises:
        OutOfTime: `clock` passed `until` before all were in.
        ResultsError: an embedding could not be read or written.
    """
    trainable = trainable_for(job)
    trainable.setup(job, folder, device, threads)
    rows: list[Json] = []
    while len(rows) < len(job["members"]):
        if clock() >= until:
            raise OutOfTime
        report = trainable.step()
        if "broken" in report:
            raise ResultsError(report["broken"])
        rows += report["finished"]
    return rows


# -- what becomes of the conclusions ------------------------------------------------------------------------

CLAIMS = ("reaches", "sooner", "pays")


@dataclass(frozen=True)
class Answer:
    """What a rerun found under one variation.

    Attributes:
        verdicts: claim -> what becomes of it.
        why: claim -> the reason, where it does not survive.
        same_curves, curves: of how many members the curve is that of before, bit for bit.
    """

    variation: Variation
    measured: Measured
    verdicts: Mapping[str, str]
    why: Mapping[str, str]
    same_curves: int
    curves: int


@dataclass(frozen=True)
class Rerun:
    """All of it.

    Attributes:
        base: what the answers are held against.
        left_out: variation -> why it could not be trained.
        failed: members that raised an error, and the first of those.
        seconds_left: what the seeds that are missing would take, about; 0 where all are in.
    """

    finding: Finding
    base: Measured
    answers: tuple[Answer, ...]
    left_out: Mapping[str, str]
    failed: tuple[int, str]
    seconds: float
    seconds_left: float

    @property
    def claims(self) -> list[str]:
        """Those that the finding is about."""
        return [name for name in CLAIMS if name != "pays" or self.base.rule.judged]

    def claim(self, name: str) -> str:
        """The conclusion in words, as it was found."""
        ours, theirs, rule = self.finding.ours, self.finding.theirs, self.base.rule
        found = getattr(self.base, name)
        if name == "reaches":
            enough = f"at least {rule.at_least} of {rule.seeds} seeds"
            return f"{ours} reaches {self.finding.goal:g} on {enough if found is not False else f'fewer than {enough}'}"
        if name == "sooner":
            return f"{ours} takes {'more' if found is False else 'fewer'} FLOPs to the goal than {theirs}"
        return f"the weak model {'does not pay' if found is False else 'pays'}, its misses charged"

    def counted(self, name: str, verdict: str) -> int:
        return sum(answer.verdicts[name] == verdict for answer in self.answers)


def rerun(finding: Finding, seconds: float, clock: Callable[[], float] = time.monotonic) -> Rerun:
    """Trains the finding again under each variation, seed by seed, until all are in or the time is up.

    The variation that has had the least time goes next, so that a slow one keeps none waiting.

    Args:
        seconds: of `clock`; what is being trained when they are over counts for nothing.
    """
    until, left_out = clock() + seconds, dict[str, str]()
    began = clock()
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="gtsearch-doctor-") as scratch:
        benches: list[_Bench] = []
        for number, variation in enumerate(variations(finding)):
            try:
                benches.append(_Bench(finding, variation, Path(scratch) / str(number)))
            except SpecError as error:
                left_out[variation.name] = str(error)
        try:
            while open_ones := [bench for bench in benches if bench.done < bench.rule.seeds]:
                min(open_ones, key=lambda bench: bench.seconds).train_next(until, clock)
        except OutOfTime:
            pass
        finally:
            torch.set_num_threads(threads)
    base = finding.recorded or benches[0].measured
    failed = [text for bench in benches for text in bench.failed]
    return Rerun(
        finding,
        base,
        tuple(_answer(bench, base) for bench in benches[0 if finding.recorded else 1 :]),
        left_out,
        (len(failed), failed[0] if failed else ""),
        clock() - began,
        _missing_seconds(benches),
    )


def _missing_seconds(benches: Sequence[_Bench]) -> float:
    known = [bench.seconds / bench.done for bench in benches if bench.done]
    usual = max(known, default=math.inf)
    return sum(
        (bench.seconds / bench.done if bench.done else usual) * (bench.rule.seeds - bench.done)
        for bench in benches
        if bench.done < bench.rule.seeds
    )


def _answer(bench: _Bench, base: Measured) -> Answer:
    now, verdicts, why = bench.measured, dict[str, str](), dict[str, str]()
    for name in CLAIMS:
        lost, won = _turned(name, base, now)
        claimed, found = getattr(base, name), getattr(now, name)
        verdicts[name] = verdict(claimed, found, lost, won)
        if verdicts[name] in (LOST, UNKNOWN):
            why[name] = _why(name, now, found, lost, won)
    pairs = [*zip(base.ours, now.ours, strict=False), *zip(base.theirs, now.theirs, strict=False)]
    same = [known for before, after in pairs if (known := before.same_curve(after)) is not None]
    return Answer(bench.variation, now, verdicts, why, sum(same), len(same))


def _turned(name: str, base: Measured, now: Measured) -> tuple[int, int]:
    """Of the seeds that both have: how many no longer speak for a claim that is counted by seeds, and how many do now
    and did not."""
    if name == "sooner":
        return 0, 0

    def speaks(measured: Measured, one: Outcome) -> bool:
        by_cost = name == "pays" and base.reaches == now.reaches
        return one.total(measured.rule.unit) < measured.price if by_cost else one.reached

    pairs = [(speaks(base, a), speaks(now, b)) for a, b in zip(base.ours, now.ours, strict=False)]
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def _why(name: str, now: Measured, found: bool | None, lost: int, won: int) -> str:
    rule, n = now.rule, min(len(now.ours), len(now.theirs))
    if found is None and n < rule.seeds:
        return "too few seeds are in"
    if name == "sooner":
        return f"the 95 % interval of {n} seeds holds 1" if found is None else "the ratio turned, its interval with it"
    p = stats.mcnemar(lost, won)
    chance = "which chance does" if p >= CHANCE else "beyond chance"
    return f"the rule says otherwise: {lost} of {len(now.ours)} seeds were lost and {won} won, {chance} (p {p:.2g})"


# -- for a person -------------------------------------------------------------------------------------------


def table(told: Rerun) -> Iterator[str]:
    """What each variation measured, then what became of each conclusion."""
    finding = told.finding
    rows = [["", finding.ours, finding.theirs, "times fewer"]]
    rows.append(["as recorded" if finding.recorded else RAN, *_cells(told.base)])
    rows += [[answer.variation.name, *_cells(answer.measured)] for answer in told.answers]
    yield "seeds that reach the goal, median epochs [95 %], and how many times fewer FLOPs"
    yield from _aligned(rows)
    yield "(every N epochs: so often is the target evaluated, weak models in proportion)"
    rows = [["", *told.claims, "same curves"]]
    for answer in told.answers:
        same = f"{answer.same_curves} of {answer.curves}" if answer.curves else "none yet"
        rows.append([answer.variation.name, *(answer.verdicts[name] for name in told.claims), same])
    yield ""
    yield "what becomes of each conclusion, and how many curves are the same bit for bit"
    yield from _aligned(rows)


def _cells(measured: Measured) -> tuple[str, str, str]:
    ratio: Json = measured.ratio if measured.ours and measured.theirs else {"value": None}
    if ratio["value"] is None:
        return _times(measured.ours), _times(measured.theirs), "unknown"
    low, high = ratio["interval"]
    least = ">" if ratio["lower_bound"] else ""
    return _times(measured.ours), _times(measured.theirs), f"{least}{ratio['value']:.1f}{_range(low, high, '.1f')}"


def _times(outcomes: Sequence[Outcome]) -> str:
    """`5 of 5, 35 [20, 50]`: who got there, and the median of epochs with its interval."""
    if not outcomes:
        return "none yet"
    count = f"{sum(one.reached for one in outcomes)} of {len(outcomes)}"
    times, reached = [_time(one, "epochs") for one in outcomes], [one.reached for one in outcomes]
    median = stats.km_median(times, reached)
    if median is None:
        return f"{count}, unknown"
    return f"{count}, {median:.0f}{_range(*stats.km_median_interval(times, reached), '.0f')}"


def _range(low: float | None, high: float | None, form: str) -> str:
    if low is None and high is None:
        return ""
    return f" [{'?' if low is None else format(low, form)}, {'?' if high is None else format(high, form)}]"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
