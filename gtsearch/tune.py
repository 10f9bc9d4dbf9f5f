"""Ray Tune drives the policy.

One experiment, one Trainable class for both stages, actors reused: a trial is a job of the policy. The Searcher asks
the conductor for jobs, the Stopper hands it the rows of each report (Tune shows a report to the Stopper first, and
never to the Searcher when it stops the trial), and nothing of Tune's own is kept: no snapshots, no loggers, no
checkpoints. A worker for which there is no job stands by in a trial that sleeps, because Tune would end an actor
without a trial, and a new one costs seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

# isort: off
from gtsearch import cluster  # noqa: F401  # first: it says how ray is loaded

# isort: on
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.search import Searcher

from gtsearch.resources import Resources
from gtsearch.trainables import CohortTrainable

STANDBY_SECONDS = 0.1

TRAINABLE = "gtsearch.trainables:trainable_for"
"""Who trains a job, as `module:function` of the job's JSON: what workers load by its name. Trials of the machinery
itself put a trainable in its place that trains nothing."""


class Conductor(Protocol):
    """What this module needs of the conductor (`gtsearch.experiment`)."""

    def next_job(self) -> dict[str, Any] | None:
        """A job's JSON, or None when there is none now."""

    def take(self, job_id: str, rows: list[dict[str, Any]], progress: list[dict[str, Any]]) -> None:
        """Rows that are in and where the job's running members stand."""

    def is_needless(self, job_id: str) -> bool:
        """Whether nobody waits for the job any more."""

    def ended(self, job_id: str, error: str | None) -> None:
        """The job is over; `error` says why it was lost."""

    def is_over(self) -> bool:
        """Whether the search is done, failed or interrupted."""

    def has_job(self) -> bool:
        """Whether a free worker would get a job."""

    def interrupt(self, signal_number: int) -> None:
        """Somebody wants the run to stop."""


@dataclass
class _Desk:
    """What searcher and stopper share. `trials`: trial id -> job id, "" for one that stands by."""

    conductor: Conductor
    workers: int
    trials: dict[str, str] = field(default_factory=dict)

    def keeps_standing_by(self) -> bool:
        """Whether a worker that stands by is of more use than free: no job waits for a place."""
        jobs = sum(bool(job) for job in self.trials.values())
        waits = jobs > self.workers - (len(self.trials) - jobs)
        return not (waits or self.conductor.has_job() or self.conductor.is_over())


# Tune copies and pickles searchers and stoppers; what they share is reached by a name instead.
_desks: dict[str, _Desk] = {}


class _JobTrainable(tune.Trainable):
    """Trains a job of either stage, or stands by."""

    def setup(self, config: dict[str, Any]) -> None:
        self.inner: CohortTrainable | None = None
        os.umask(config["umask"])  # the one of the person who started the run, not the one Ray was started with
        if config["job"]:
            job = json.loads(config["job"])
            module, _, function = config["trainable"].partition(":")
            self.inner = getattr(importlib.import_module(module), function)(job)
            assert self.inner is not None
            self.inner.setup(job, config["folder"], config["device"], config["threads"])

    def step(self) -> dict[str, Any]:
        if self.inner is None:
            time.sleep(STANDBY_SECONDS)
            return {"job": "", "report": ""}
        report = self.inner.step()
        return {"job": self.inner.job["id"], "report": json.dumps(report), "done": report["done"]}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a job that is lost runs again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, for the same reason."""


class _JobSearcher(Searcher):
    """Tune's view of the policy: which trial next."""

    def __init__(self, key: str, shared: dict[str, Any]) -> None:
        super().__init__(metric=None, mode=None)
        self.key, self.shared = key, shared

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        desk = _desks[self.key]
        if desk.conductor.is_over():
            return Searcher.FINISHED  # type: ignore[return-value]  # Tune's own sentinel is a string
        # One job waits for each worker, so that the next trial finds its actor still warm.
        job = desk.conductor.next_job() if len(desk.trials) < 2 * desk.workers else None
        if job is None and len(desk.trials) >= desk.workers:
            return None
        desk.trials[trial_id] = job["id"] if job else ""
        return {**self.shared, "job": json.dumps(job) if job else ""}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the Stopper has taken the rows."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        desk = _desks[self.key]
        job_id = desk.trials.pop(trial_id, "")
        if job_id:
            desk.conductor.ended(job_id, "the worker was lost" if error else None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Tune's is restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing of Tune's is restored."""


class _JobStopper(tune.Stopper):
    """Tune's view of the policy: which trial has become needless, and when all is over."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        desk = _desks[self.key]
        conductor = desk.conductor
        if not result["job"]:
            return not desk.keeps_standing_by()
        report = json.loads(result["report"])
        conductor.take(result["job"], report["finished"], report["progress"])
        return bool(report["done"]) or conductor.is_needless(result["job"])

    def stop_all(self) -> bool:
        return _desks[self.key].conductor.is_over()


def drive(conductor: Conductor, folder: Path, resources: Resources, verbose: bool) -> None:
    """Runs the conductor's jobs on Ray workers until it is over. Ray must be up (`gtsearch.cluster`)."""
    key = f"{os.getpid()}-{next(_counter)}"
    _desks[key] = _Desk(conductor, resources.workers)
    storage = Path(tempfile.mkdtemp(prefix="gtsearch-tune-"))
    shared = {
        "folder": str(folder.resolve()),
        "device": resources.device,
        "threads": resources.threads,
        "umask": resources.umask,
        "trainable": TRAINABLE,
    }
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(resources.workers + 1)
    try:
        with _signals(conductor):
            tune.Tuner(
                tune.with_resources(_JobTrainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
                tune_config=TuneConfig(
                    search_alg=_JobSearcher(key, shared),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: trial.trial_id,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=RunConfig(
                    name="jobs",
                    storage_path=str(storage),
                    stop=_JobStopper(key),
                    verbose=2 if verbose else 0,
                    failure_config=FailureConfig(max_failures=0),
                    checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            ).fit()
    finally:
        del _desks[key]
        shutil.rmtree(storage, ignore_errors=True)


_counter = itertools.count()


@contextlib.contextmanager
def _signals(conductor: Conductor) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in order; a second one leaves at once."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        conductor.interrupt(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
