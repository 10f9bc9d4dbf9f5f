"""Ray Tune drives the policy.

One experiment, one Trainable class for both stages, actors reused: a trial is a job of the policy. The Searcher asks
the conductor for jobs, the Stopper hands it the rows of each report (Tune shows a report to the Stopper first, and
never to the Searcher when it stops the trial), and nothing of Tune's own is kept: no snapshots, no loggers, no
checkpoints. A worker for which there is no job stands by in a trial that sleeps, because Tune would end an actor
without a trial, and a new one costs seconds.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# isort: off
from gtsearch import nodes  # first: it says how ray is loaded

# isort: on
import ray
from ray import tune
from ray.air._internal import usage
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gtsearch import plugins
from gtsearch.errors import BrokenOff
from gtsearch.resources import Resources
from gtsearch.trainables import CohortTrainable, with_origin

STANDBY_SECONDS = 0.1
PLACE_SECONDS = 10.0  # that a job waits for a worker of its own before it is given one that stands by
AWAY_SECONDS = 2.0  # between two looks at the workers; as a rule they are a tenth of a second apart

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

    def break_off(self, reason: str) -> None:
        """What the run stands on gave way: nothing more can be trained."""


@dataclass
class _Heard:
    """When a worker that has a job was heard last, and how long it may be silent."""

    trial: Any
    patience_seconds: float
    at: float = field(default_factory=time.monotonic)


@dataclass
class _Desk:
    """What searcher, stopper and watcher share.

    Attributes:
        hang_seconds: how long a worker may report nothing, beside what an epoch may take.
        trials: trial id -> job id, "" for one that stands by.
        patience: trial id -> seconds that its worker may be silent.
        heard: trial id -> of those at a worker.
        workers: how many there may be now; nodes of a cluster come and go.
        spare: whether Ray has room for more of them: a job that only is to wait would get one.
        lost: trial id -> why its job was lost, where that is known.
        unplaced: trial id -> since when its job waits for a worker.
        coming: ids of trials whose workers have places and are on their way.
    """

    conductor: Conductor
    workers: int
    hang_seconds: float
    spare: bool = False
    trials: dict[str, str] = field(default_factory=dict)
    patience: dict[str, float] = field(default_factory=dict)
    heard: dict[str, _Heard] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    unplaced: dict[str, float] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)

    def keeps_standing_by(self) -> bool:
        """Whether a worker that stands by is of more use than free: no job waits for a place."""
        jobs = sum(bool(job) for job in self.trials.values())
        waits = jobs > self.workers - (len(self.trials) - jobs)
        # Others may have taken places of a cluster: then those who stand by hold the only ones that a job could have.
        waits = waits or any(self.has_waited(one, PLACE_SECONDS) for one in self.unplaced.keys() - self.coming)
        return not (waits or self.conductor.has_job() or self.conductor.is_over())

    def has_waited(self, trial_id: str, seconds: float) -> bool:
        """Whether the trial has a job that has been without a worker for so long."""
        return trial_id in self.unplaced and time.monotonic() - self.unplaced[trial_id] > seconds


# Tune copies and pickles searchers and stoppers; what they share is reached by a name instead.
_desks: dict[str, _Desk] = {}


class _JobTrainable(tune.Trainable):
    """Trains a job of either stage, or stands by."""

    def setup(self, config: dict[str, Any]) -> None:
        """Only notes what is to be done: a task that hangs or fails as it is made must do so in a step, where it is
        seen."""
        self.given, self.steps = config, 0
        self.inner: CohortTrainable | None = None
        os.umask(config["umask"])  # the one of the person who started the run, not the one Ray was started with
        self.job: dict[str, Any] | None = json.loads(config["job"]) if config["job"] else None

    def step(self) -> dict[str, Any]:
        if self.job is None:
            time.sleep(STANDBY_SECONDS)
            return {"job": "", "report": ""}
        report = self._report(self.job)
        return {"job": self.job["id"], "report": json.dumps(report), "done": report["done"]}

    def _report(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the trainable reports; the first report comes before it is made, so that a job nobody needs any more
        costs nothing."""
        self.steps += 1
        if self.steps == 1:
            return {"finished": [], "progress": [], "done": False}
        if self.inner is None:
            try:
                self.inner = self._made(job)
                self.inner.step()
            except BrokenOff as error:
                return {"finished": [], "progress": [], "done": True, "broken": str(error)}
            except Exception as error:  # the members are lost, and the reason must not be lost with them
                return {"finished": [], "progress": [], "done": True, "lost": with_origin(error)}
        return self.inner.step()

    def _made(self, job: dict[str, Any]) -> CohortTrainable:
        nodes.refuse_elsewhere(self.given["folder"], self.given["home"])
        plugins.restore(self.given["modules"])
        module, _, function = self.given["trainable"].partition(":")
        trainable: CohortTrainable = getattr(importlib.import_module(module), function)(job)
        trainable.accelerator = nodes.accelerator_here() if self.given["device"] == "cuda" else None
        trainable.setup(job, self.given["folder"], self.given["device"], self.given["threads"])
        return trainable

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
        waiting = 0 if desk.spare else desk.workers
        job = desk.conductor.next_job() if len(desk.trials) < desk.workers + waiting else None
        if job is None and len(desk.trials) >= desk.workers:
            return None
        desk.trials[trial_id] = job["id"] if job else ""
        if job is not None:
            desk.unplaced[trial_id] = time.monotonic()
            desk.patience[trial_id] = desk.hang_seconds + _slowest_epoch_seconds(job, self.shared["device"])
        return {**self.shared, "job": json.dumps(job) if job else ""}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the Stopper has taken the rows."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        desk = _desks[self.key]
        job_id = desk.trials.pop(trial_id, "")
        desk.heard.pop(trial_id, None)
        desk.unplaced.pop(trial_id, None)
        desk.patience.pop(trial_id, None)
        why = desk.lost.pop(trial_id, "the worker was lost" if error else None)
        if job_id:
            desk.conductor.ended(job_id, why)

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
        if trial_id in desk.heard:
            desk.heard[trial_id].at = time.monotonic()
        report = json.loads(result["report"])
        conductor.take(result["job"], report["finished"], report["progress"])
        if "broken" in report:
            conductor.break_off(report["broken"])
        if "lost" in report:
            desk.lost[trial_id] = report["lost"]
        return bool(report["done"]) or conductor.is_needless(result["job"])

    def stop_all(self) -> bool:
        return _desks[self.key].conductor.is_over()


class _Starts(FIFOScheduler):
    """Gives a free worker to the trial that has waited longest, of those for which no worker is being started.

    Tune's own order takes the oldest, which is the one whose worker is on its way, and ends that worker. Where jobs are
    shorter than a start, a second worker would never come up.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        desk = _desks[self.key]
        controller = tune_controller._tune_controller  # what it shows to schedulers hides who has a worker
        for over in (controller._trials_to_cache, controller._stopped_trials, controller._failed_trials):
            over.clear()  # Tune would keep every trial, to write it down at its end for nobody
        placed = set(controller._actor_manager.live_actors)
        waiting = {trial.trial_id: trial for trial in controller.get_live_trials() if trial.status == "PENDING"}
        desk.coming = {
            trial_id
            for trial_id, trial in waiting.items()
            if controller._trial_to_actor.get(trial) in placed
            and not desk.has_waited(trial_id, desk.hang_seconds)  # a start may hang
        }
        free = waiting.keys() - desk.coming
        return next((waiting[trial_id] for trial_id in desk.trials if trial_id in free), None)


def _forget(trial: Any, trials: list[Any]) -> None:
    """Takes a trial that is over out of Tune's list, and what it holds out of the trial. Tune would keep every one,
    with its job and its last report, curves and all, go through all of them at every step, and write them down at the
    end. `trials` is the list of its controller itself."""
    trials.remove(trial)
    kept = trial.run_metadata
    kept.last_result, kept.metric_analysis, kept.metric_n_steps = {}, {}, {}
    trial.config = trial._Trial__unresolved_config = trial.evaluated_params = {}


class _Watcher(tune.Callback):
    """Ends workers that are silent for too long: a task that hangs must not stop the search."""

    def __init__(self, key: str) -> None:
        self.key, self.looked = key, time.monotonic()
        self.over: list[Any] = []

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        desk = _desks[self.key]
        desk.unplaced.pop(trial.trial_id, None)
        if trial.trial_id in desk.patience:
            desk.heard[trial.trial_id] = _Heard(trial, desk.patience[trial.trial_id])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.over.append(trial)

    on_trial_error = on_trial_complete

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        while self.over and len(trials) > 1:  # Tune ends with what is left of them, and needs one
            _forget(self.over.pop(), trials)
        desk, now = _desks[self.key], time.monotonic()
        away, self.looked = now - self.looked, now
        if away > AWAY_SECONDS:  # this process slept (Ctrl-Z, a laptop's lid): what was reported meanwhile is unread
            for heard in desk.heard.values():
                heard.at += away
        for trial_id, heard in list(desk.heard.items()):
            silent = now - heard.at
            if silent > heard.patience_seconds and heard.trial.temporary_state.ray_actor is not None:
                desk.lost[trial_id] = f"its worker reported nothing for {silent:.0f} s and was ended (hang_seconds)"
                del desk.heard[trial_id]
                ray.kill(heard.trial.temporary_state.ray_actor)


class _Places(tune.Callback):
    """Keeps the number of workers within what the nodes that are alive have places for."""

    def __init__(self, key: str, room: nodes.Room) -> None:
        self.key, self.room = key, room

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        desk = _desks[self.key]
        desk.workers, desk.spare = self.room.workers()


class _Unreported(TrialProgressCallback):
    """In the place of Tune's own reporter, which keeps every trial even where it is to say nothing."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """Nothing: gtsearch has a display of its own."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing, for the same reason."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing, for the same reason."""


# A thread that shares its core with many others still does so many floating-point operations a second.
_SLOWEST_FLOPS = 5e8


def _slowest_epoch_seconds(job: dict[str, Any], device: str) -> float:
    """What an epoch may take at the most, of one member or of a GPU's whole stack: between two a worker is silent."""
    at_once = 1 if device == "cpu" else len(job["members"])
    return float(job["flops_per_epoch"]) * at_once / _SLOWEST_FLOPS


def drive(
    conductor: Conductor,
    folder: Path,
    scratch: Path,
    resources: Resources,
    verbose: bool,
    modules: Mapping[str, Mapping[str, Any]],
) -> None:
    """Runs the conductor's jobs on Ray workers until it is over. Ray must be up (`gtsearch.cluster`).

    Args:
        folder: the run folder, as all workers see it.
        scratch: where Tune may keep what nobody needs.
        modules: of the user's own, as `Spec.modules` has them.
    """
    key = f"{os.getpid()}-{next(_counter)}"
    room = nodes.Room(resources)
    workers, spare = room.workers()
    _desks[key] = _Desk(conductor, workers, resources.hang_seconds, spare)
    shared = {
        "folder": str(folder.resolve()),
        "device": resources.device,
        "threads": resources.threads,
        "umask": resources.umask,
        "trainable": TRAINABLE,
        "home": nodes.home(folder),
        "modules": modules,
    }
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(resources.workers + 1)
    counts = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False  # for statistics, which are off, it loads every tracker there is
    try:
        tune.Tuner(
            tune.with_resources(_JobTrainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
            tune_config=TuneConfig(
                search_alg=_JobSearcher(key, shared),
                scheduler=_Starts(key),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name="jobs",
                storage_path=str(scratch),
                stop=_JobStopper(key),
                verbose=2 if verbose else 0,
                callbacks=[
                    _Watcher(key),
                    *([_Places(key, room)] if resources.cluster else []),
                    *([] if verbose else [_Unreported()]),
                ],
                failure_config=FailureConfig(max_failures=0),
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        usage.tag_callbacks = counts
        del _desks[key]


_counter = itertools.count()
