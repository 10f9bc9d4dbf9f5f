"""Whole runs without Ray and without training: `drive` lets pretended workers run an experiment to its end.

Everything but the workers is a run's own: conductor, policy, members.log, display, tables, summary, page. The members
are answered by `formula_trainable`; now and then a worker is lost with its job. Figures take seconds to draw, and the
tables of all of them as long as everything else: `Depth` says how much of the report is made. Intervals come from few
resamples, and what an epoch costs is counted once for equal starts: neither decides what is asked, told or refused.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pandas as pd
from formula_trainable import FormulaTrainable

from gtsearch import catalog, cost, experiment, plans, results
from gtsearch.analysis import report, stats
from gtsearch.identity import canonical
from gtsearch.journal import Journal
from gtsearch.progress import Display
from gtsearch.results import LOG, SPEC, MembersLog
from gtsearch.spec import Spec

Depth = Literal["tables", "page", "drawn"]
"""`drawn`: all that a run makes. `page`: the page with every table and sentence, its pictures left blank. `tables`:
the tables of a few figures, and no page."""

MOST_MEMBERS = 600
SOME_FIGURES = 2
RESAMPLES = 40
LOSES = 0.02  # of the jobs


class Hang(Exception):
    """Something took longer than it may."""


@contextlib.contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raises Hang in what takes more seconds of this processor's time, or ten times that on the clock: a busy machine
    makes nothing hang. Main thread only."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Hang(f"{what} took longer than {seconds:g} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, 10 * seconds))
    before = [signal.signal(number, late) for number, _, _ in timers]
    for _, timer, most in timers:
        signal.setitimer(timer, most)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


_costs: dict[str, cost.Cost] = {}


@contextlib.contextmanager
def cheaper() -> Iterator[None]:
    """Few resamples a bootstrap, and one count of the FLOPs of an epoch for equal starts of all experiments."""
    of_start = cost.of_start

    def counted(sizes: Any, task: Any, method: Any, d_weak: int | None, loss: str | None = None) -> cost.Cost:
        parts = [sizes.model_dump(mode="json"), task.identity(), method.model_dump(mode="json"), d_weak, loss]
        key = canonical([type(sizes).__name__, *parts])
        if key not in _costs:
            _costs[key] = of_start(sizes, task, method, d_weak, loss)
        return _costs[key]

    drawn = (stats.bootstrap_interval, stats.km_median_interval, stats.cluster_interval, stats.expected_best_band)
    usual = [function.__defaults__ for function in drawn]
    many, cost.of_start, stats.RESAMPLES = stats.RESAMPLES, counted, RESAMPLES
    for function, defaults in zip(drawn, usual, strict=True):
        assert defaults is not None and many in defaults, function
        function.__defaults__ = tuple(RESAMPLES if default == many else default for default in defaults)
    try:
        yield
    finally:
        cost.of_start, stats.RESAMPLES = of_start, many
        for function, defaults in zip(drawn, usual, strict=True):
            function.__defaults__ = defaults


def drive(spec: Spec, folder: Path, depth: Depth = "page", writes: bool = False, seed: int = 0) -> dict[str, Any]:
    """Runs `spec` in `folder`, to its end or for MOST_MEMBERS; what came of it.

    Args:
        writes: whether embeddings are there as files.
        seed: which worker reports next, which is lost, and of which figures the tables are made.

    Returns:
        `members`, `statuses`, `complete`, `exit_code`, `lines` (what a person reads at the end), `page`, `pictures` and
        `sentences` (figures of the page, and what stands for those that there are not).
    """
    text = spec.to_yaml()
    (folder / SPEC).write_text(text)
    environment = {"workers": 2, "device": "cpu", "device_names": ["none"], "threads": 1, "versions": {}}
    environment |= {"started": "2026-01-31 10:15:00", "spec_sha256": results.spec_digest(text)}
    results.write_json(folder / results.ENVIRONMENT, environment)
    policy = plans.ablation_for(spec, 2)
    with MembersLog(folder / LOG) as log, Display(spec.name, quiet=True) as display:
        conductor = experiment.Conductor(policy, log, Journal(folder / "study.log", spec.variations()), display, [])
        _work(conductor, folder, writes, random.Random(seed))
        conductor.show()
        if conductor.error is not None:
            raise conductor.error
    told: dict[str, Any] = {"pictures": 0, "sentences": [], "page": ""}
    made = {"drawn": contextlib.nullcontext(), "page": undrawn(), "tables": _without_page(seed)}[depth]
    with noted(told), made:
        ended = experiment.finish(folder, policy, environment, conductor.elapsed_seconds)
    trials = results.read_table(folder, "trials")
    return told | {
        "members": conductor.finished,
        "statuses": Counter(trials["status"]),
        "complete": policy.is_complete,
        "exit_code": ended.exit_code,
        "lines": ended.lines,
        "page": (folder / report.REPORT).read_text("utf-8") if depth != "tables" else "",
    }


def _work(conductor: experiment.Conductor, folder: Path, writes: bool, rng: random.Random) -> None:
    """What Tune does: two workers have a job and one that waits; one of them reports."""
    out: list[FormulaTrainable] = []
    while conductor.finished < MOST_MEMBERS:
        while len(out) < 4 and (job := conductor.next_job()) is not None:
            trainable = FormulaTrainable()
            trainable.writes = writes
            trainable.setup(json.loads(json.dumps(job)), folder)
            out.append(trainable)
        if conductor.is_over():
            return
        assert out, "the policy waits for nobody"
        trainable = out[rng.randrange(min(2, len(out)))]
        told = json.loads(json.dumps(trainable.step(), allow_nan=False))
        job_id = trainable.job["id"]
        conductor.take(job_id, told["finished"], told["progress"])
        lost = rng.random() < LOSES
        if told["done"] or lost or conductor.is_needless(job_id):
            conductor.ended(job_id, "the worker was lost" if lost and not told["done"] else None)
            out.remove(trainable)


@contextlib.contextmanager
def noted(told: dict[str, Any]) -> Iterator[None]:
    """Notes what the page shows: its `pictures`, and the `sentences` that stand for others."""
    picture = report._picture

    def made_for(name: str, frame: pd.DataFrame) -> report.Picture:
        made = picture(name, frame)
        told["pictures"] += made.sentence is None
        told["sentences"] += [made.sentence] if made.sentence else []
        return made

    report._picture = made_for
    try:
        yield
    finally:
        report._picture = picture


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Pages stand without pictures, and no figure is written: painting is what takes seconds."""
    save, panels = report._save, report._panels
    report._save = lambda frames, run: []
    report._panels = lambda module, frame: [report.Panel("data:,", 1, 1) for _ in report.panels_of(module, frame)]
    try:
        yield
    finally:
        report._save, report._panels = save, panels


@contextlib.contextmanager
def _without_page(seed: int) -> Iterator[None]:
    """No page is written; of SOME_FIGURES the tables are made, others with every seed."""
    write = report.write_report
    names = list(catalog.FIGURES)

    def some(loaded: results.Results) -> Path:
        for name in (names[(SOME_FIGURES * seed + i) % len(names)] for i in range(SOME_FIGURES)):
            module = catalog.load("figure", name)
            frame = module.table(module.gather(loaded))
            assert module.nothing(frame) is None or len(module.nothing(frame)) > 20
            assert report.panels_of(module, frame)
        return loaded.folder / report.REPORT

    report.write_report = some
    try:
        yield
    finally:
        report.write_report = write
