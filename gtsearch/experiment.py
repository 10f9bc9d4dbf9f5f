"""The conductor: spec -> policy -> Tune -> results -> report. Owns `Run`, and what run, resume and check do.

Everything a run must not lose goes through `Conductor.take`: a finished member's line is on the disk before the
policy hears of it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from gtsearch import certificate, narrative, plugins, results, salvage, tracking
from gtsearch.catalog import MENUS
from gtsearch.errors import BrokenOff, GtsearchError, OtherSchemaError, ResourcesError, ResultsError
from gtsearch.forecast import Forecast, forecast
from gtsearch.journal import Journal
from gtsearch.mending import mend
from gtsearch.notebook import RunResults, shown
from gtsearch.plans import ablation_for
from gtsearch.progress import Display
from gtsearch.resources import Resources, cores, resources_for
from gtsearch.results import ENVIRONMENT, LOG, SPEC, STUDIES, SUMMARY, MembersLog
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Phase
from gtsearch.search.policy import Answer, Job
from gtsearch.spec import Spec, load_spec
from gtsearch.stops import GetOut, Stop, heeded
from gtsearch.trainables import cpu_name, failed_row, static_row
from gtsearch.trust import refuse_links

SHOW_SECONDS = 0.5
BROKE_OFF = 3  # the exit code of a run whose surroundings gave way
OUT_SECONDS = 3.0  # that a thread has to come back from a Ray that is gone
STACKED_MEMBERS = 2048  # members one job carries on a GPU at most; its stacks are as large as pays (gtsearch.stacks)

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run that ended: where it is, how (0 done; 1 nothing pays; 3 broken off; 130, 143 interrupted), what to tell a
    person.

    Examples:
        >>> ended = gtsearch.resume("runs/modadd")  # of a finished run: its report again
        >>> ended.folder.name, ended.exit_code
        ('modadd', 0)
        >>> ended.lines[-1].split()[0]
        'report'
    """

    folder: Path
    exit_code: int
    lines: list[str]

    @property
    def results(self) -> RunResults:
        """What the run found, with its figures; of one that was interrupted, what is in so far (`notes` says so).

        Raises:
            ResultsError: there is nothing to show.

        Examples:
            >>> ended = Run(Path("runs/modadd"), 0, [])  # as `gtsearch.run` and `gtsearch.resume` give one
            >>> ended.results.summary["weak"]["pays"]["architecture"]
            'mlp-d2-w4-L2'
        """
        return shown(salvage.look(self.folder, is_ours=True))


def run(
    spec: Spec,
    out: Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    verbose: bool = False,
    command: Sequence[str] = (),
) -> Run:
    """Runs an experiment into a new folder.

    Args:
        out: the run folder; default `runs/<name>-<date>-<time>`. It must not exist.
        workers: how many members train at once; default: what the experiment says, `auto` being all cores.
        address: of a running Ray cluster; default: a local Ray of our own.
        verbose: whether Ray's own output is shown.
        command: what was typed, for environment.json.

    Raises:
        GtsearchError: the folder exists or cannot be written; too little memory; the cluster cannot be reached.

    Examples:
        >>> ended = gtsearch.run(gtsearch.load_spec("smoke", ["report.seeds=5"]), out="runs/new", workers=2)
        >>> ended.exit_code in (0, 1), (ended.folder / "report.html").is_file()
        (True, True)
    """
    resources = resources_for(spec, workers, address)
    _prepare(spec)
    folder = Path(out) if out else Path("runs") / f"{spec.name}-{datetime.now():%Y%m%d-%H%M%S}"
    environment = _environment(spec, resources, workers, command)
    with heeded() as stop, _new_folder(folder, spec, environment) as log:
        return _conduct(spec, folder, log, environment, resources, address, verbose, stop, fresh=True)


def resume(folder: Path, workers: int | None = None, address: str | None = None, verbose: bool = False) -> Run:
    """Goes on with a run from its members.log; a finished one is only reported again.

    Args:
        workers: how many members train at once; default: what was said when it was last begun or resumed, and where
            nothing was, what the experiment says.

    Raises:
        GtsearchError: not a run folder, a damaged log, a run of another schema, or one that another process is writing.

    Examples:
        >>> gtsearch.resume("runs/modadd", workers=2).exit_code
        0
    """
    folder = Path(folder)
    refuse_links(folder)
    if not (folder / SPEC).is_file():
        raise ResultsError(f"{folder} is not a run folder: it has no {SPEC}; `gtsearch runs` lists those here")
    spec = load_spec(folder / SPEC)
    workers = workers or _asked_before(folder)
    resources = resources_for(spec, workers, address)
    _prepare(spec)
    with heeded(_way_on(folder)) as stop, MembersLog(folder / LOG) as log:
        _sweep(folder)
        environment = _gone_on(folder, _environment(spec, resources, workers, sys.argv), log.torn)
        return _conduct(spec, folder, log, environment, resources, address, verbose, stop, fresh=False)


def check(spec: Spec, workers: int | None = None) -> Forecast:
    """What would run, how many members at most, and an estimate of their cost. Runs nothing."""
    resources = resources_for(spec, workers)
    notes = (*spec.task.notes, *tracking.destinations(spec), *plugins.clashes(MENUS))
    return replace(forecast(ablation_for(spec, resources.workers)), notes=notes)


class Conductor:
    """Between the policy and whoever trains: jobs out, rows in, onto the disk, to the policy, to the display.

    Rows are not kept here: with their curves they are many times larger than what the policy keeps of them.

    Args:
        rows: of the log, from before a resume.
        stop: whether somebody wants it to end.
    """

    def __init__(
        self,
        policy: Ablation,
        log: MembersLog,
        journal: Journal,
        display: Display,
        rows: Iterable[Row],
        stop: Stop | None = None,
    ) -> None:
        self.policy, self.log, self.journal, self.display = policy, log, journal, display
        self.stop = stop or Stop()
        self.look: Callable[[], str | None] = lambda: None  # what of Ray is gone at this moment
        self.kept: Callable[[], None] = lambda: None  # called when further members are on the disk
        self.seen: set[str] = set()
        self.finished = 0  # members that are in for good
        self.jobs: dict[str, Job] = {}
        self._begun: set[str] = set()  # ids of jobs that a worker is at
        self._gave_way: set[str] = set()
        self.progress: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None
        self.broken: str | None = None  # why nothing more can be trained or kept
        self.over = False
        self._before = 0.0
        self._began = time.monotonic()
        self._asked: Job | Answer | None = None
        self._told: set[str] = set()
        self._shown = 0.0
        for row in rows:
            self._before = max(self._before, float(row.get("elapsed_seconds") or 0.0))
            self._tell_of([row])

    @property
    def ends_early(self) -> bool:
        """Whether somebody or something ends the run before the search is done."""
        return not self.over and (self.stop.number is not None or self.broken is not None)

    @property
    def elapsed_seconds(self) -> float:
        """Wall seconds of the run, resumes added up."""
        return self._before + time.monotonic() - self._began

    # -- what Tune asks (gtsearch.tune.Conductor) ---------------------------------------------------------

    def has_job(self) -> bool:
        self._ask()
        return isinstance(self._asked, Job)

    def next_job(self) -> dict[str, Any] | None:
        self._ask()
        job, self._asked = self._asked, None
        if not isinstance(job, Job):
            return None
        self.jobs[job.id] = job
        self.show(now=False)
        return job.to_json()

    def take(self, job_id: str, rows: list[Row], progress: list[dict[str, Any]]) -> None:
        self.progress.update({entry["run_id"]: entry for entry in progress})
        self._guard(lambda: self._record([row for row in rows if row["run_id"] not in self.seen]), None)
        self.show(now=False)

    def is_needless(self, job_id: str) -> bool:
        if job_id not in self.jobs:
            return False
        if job_id not in self._begun and self._gives_way(self.jobs[job_id]):
            self._gave_way.add(job_id)
            return True
        self._begun.add(job_id)
        return bool(self._guard(lambda: self.policy.should_stop(self.jobs[job_id]), True))

    def _gives_way(self, job: Job) -> bool:
        """Whether a job that looked ahead, and has not begun, should let another go first. It was handed out while all
        workers were busy, since one job must wait for each; what they then found may be more urgent."""
        if job.phase is not Phase.AHEAD:
            return False
        self._ask()
        waiting = [other for other in self.jobs.values() if other.id not in self._begun]
        waiting += [self._asked] if isinstance(self._asked, Job) else []
        return any(other.phase is not Phase.AHEAD for other in waiting)

    def ended(self, job_id: str, error: str | None) -> None:
        job = self.jobs.pop(job_id, None)
        self._begun.discard(job_id)
        if error is not None and (gone := self.look()) is not None:
            self.break_off(gone)  # with Ray go its workers, and none of their members is at fault
        if job is not None:
            self._guard(lambda: self._book(job, error), None)

    def _book(self, job: Job, error: str | None) -> None:
        """What a job that is over leaves: members that were lost, or no longer needed; nothing of a run that ends."""
        if self.ends_early:
            return
        gave_way = job.id in self._gave_way
        self._gave_way.discard(job.id)
        if error is None and not gave_way and not self.is_over() and not self.policy.should_stop(job):
            error = "the job ended without a row"  # somebody still waits for it
        info = job.to_json()
        left = {member.run_id for member in self.policy.ended(job.id)}
        known = [static_row(info, m) | self._unknown() for m in info["members"] if m["run_id"] in left]
        started = [(row, self.progress.pop(row["run_id"], None)) for row in known]
        if error is not None:
            again = "run again" if any(not row["attempt"] for row in known) else "count as failed"
            self.display.note(
                f"lost with a worker, members of {info['architecture']}: {len(known)}; they {again} ({error})"
            )
            self._record([failed_row(row, error, lost=True, spent=spent) for row, spent in started])
        else:
            cancelled = [(row, spent) for row, spent in started if spent is not None]
            self._record(
                [
                    failed_row(row, "", False, spent) | {"status": "cancelled", "error": None, "purpose": "cancelled"}
                    for row, spent in cancelled
                ]
            )

    def is_over(self) -> bool:
        if not (self.ends_early or self.error is not None or self.over):
            self._ask()
        return self.over or self.ends_early or self.error is not None

    def break_off(self, reason: str) -> None:
        """Of any thread."""
        self.broken = self.broken or reason

    # -- inside -------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Keeps the next job at hand, so that asking whether there is one does not take it."""
        if isinstance(self._asked, Job) and self._guard(lambda: self.policy.should_stop(self._asked), True):
            self.policy.ended(self._asked.id)  # it became needless before it was handed out
            self._asked = None
        if not isinstance(self._asked, Job):
            self._asked = self._guard(self.policy.ask, Answer.WAIT)
            self.over = self._asked is Answer.DONE

    def _guard(self, question: Any, otherwise: Any) -> Any:
        """A mistake of the policy ends the run with its report; it is never a member's failure. Nor is a disk that
        takes nothing more."""
        try:
            return question()
        except BrokenOff as error:
            self.break_off(str(error))
        except OSError as error:
            self.break_off(_of_system(error))
        except Exception as error:
            self.error = self.error or error
        return otherwise

    def _unknown(self) -> dict[str, Any]:
        return {"device": None, "host": None, "threads": None, "dtype": None}

    def _record(self, rows: list[Row]) -> None:
        if self.broken is not None:
            return  # the log may be closed, or its disk full
        for row in rows:
            row["elapsed_seconds"] = self.elapsed_seconds
            self.log.append(row)
            self.progress.pop(row["run_id"], None)
        self._tell_of(rows)
        self.kept()

    def _tell_of(self, rows: Sequence[Row]) -> None:
        """Rows that are on the disk."""
        for row in rows:
            if row["status"] != "cancelled":
                self.seen.add(row["run_id"])
                self.finished += not row.get("lost")
        self.policy.tell(rows)
        self.journal.add(rows)

    def show(self, now: bool = True) -> None:
        """Shows where the search stands and what is new; unless `now`, not more often than people can read."""
        if not now and time.monotonic() - self._shown < SHOW_SECONDS:
            return
        self._shown = time.monotonic()
        self._guard(self._tell, None)

    def _tell(self) -> None:
        out = {member.run_id for job in self.jobs.values() for member in job.members} - self.seen
        training = len(out & self.progress.keys())
        self.display.update(
            narrative.state(self.policy, self.jobs.values())
            | {
                "done": self.finished,
                "training": training,
                "waiting": len(out) - training,
                "elapsed_seconds": self.elapsed_seconds,
                "workers": self.policy.workers,
            }
        )
        for note in narrative.news(self.policy):
            if note not in self._told:
                self._told.add(note)
                self.display.note(note)


def _conduct(
    spec: Spec,
    folder: Path,
    log: MembersLog,
    environment: dict[str, Any],
    resources: Resources,
    address: str | None,
    verbose: bool,
    stop: Stop,
    fresh: bool,
) -> Run:
    """Searches until the policy is done or somebody stops it; then tables, summary, figures, report."""
    stop.way_on = _way_on(folder)
    try:
        policy = ablation_for(spec, resources.workers, STACKED_MEMBERS if resources.device == "cuda" else None)
        modules = {name: one.model_dump() for name, one in spec.modules.items()}
        display = Display(_title(spec, resources, folder), quiet=verbose)
        say = print if verbose else display.note
        told = tracking.Tracking(spec.trackers, folder, spec, environment, say, lambda: stop.number is not None)
        with told as trackers:
            with display:
                trackers.announce()
                resumed = environment.get("resumed", [{}])[-1].get("notes", [])
                for note in [*resumed, *(spec.task.notes if fresh else ()), *plugins.clashes(MENUS)]:
                    display.note(note)
                journal = Journal(folder / STUDIES, spec.variations())
                conductor = Conductor(policy, log, journal, display, results.members(folder / LOG), stop)
                conductor.kept = lambda: trackers.up_to(log.size)
                if not (fresh or conductor.is_over()):
                    rows = results.members(folder / LOG)
                    mend(
                        folder,
                        policy,
                        rows,
                        resources.device,
                        resources.threads,
                        display.note,
                        lambda: conductor.ends_early,
                    )
                try:
                    if not conductor.is_over():
                        _set_workers(folder, environment, resources)
                        _search(conductor, folder, resources, address, verbose, modules)
                except ResourcesError:
                    if fresh and not conductor.seen:
                        log.close()
                        _remove_started(folder)
                    raise
                if conductor.ends_early:
                    display.note("stopping: what is there is drawn now; Ctrl-C once more leaves at once")
                else:
                    display.note("the search is over; figures and report.html are drawn now")
            _sweep(folder)  # of workers that were killed as they wrote
            if conductor.ends_early:
                ended = _left_off(folder, conductor)
                trackers.end(None, tracking.STOP_SECONDS)
            else:
                ended = finish(folder, policy, environment, conductor.elapsed_seconds, conductor.error)
                with contextlib.suppress(OSError, ResultsError):  # a mirror
                    journal.conclude(results.read_json(folder / SUMMARY))
                trackers.end(ended.lines, tracking.END_SECONDS)
            return ended
    except KeyboardInterrupt:  # the second one, where the process is not ours to end
        number = stop.number or signal.SIGINT
        return Run(folder, 128 + number, stop.words(number))
    except (BrokenOff, OSError, ResultsError) as error:
        reason = _of_system(error) if isinstance(error, OSError) else str(error)
        return Run(folder, BROKE_OFF, [f"broken off: {reason}", _way_on(folder)])


def _search(
    conductor: Conductor,
    folder: Path,
    resources: Resources,
    address: str | None,
    verbose: bool,
    modules: Mapping[str, Mapping[str, Any]],
) -> None:
    """Has the conductor's jobs trained by Ray, until it is over or Ray is."""
    from gtsearch import cluster, nodes, tune  # ray is loaded only when something has to run

    left = threading.Event()

    def lost(reason: str) -> None:
        """Of a thread that watches Ray. Whoever waits for a Ray that is gone may wait for ever."""
        conductor.break_off(reason)
        if not left.wait(OUT_SECONDS):
            conductor.stop.get_out()
        if not left.wait(OUT_SECONDS):
            with contextlib.suppress(OSError):  # nobody may read it any more
                print("\n".join([f"broken off: {reason}", _way_on(folder)]), flush=True)
            os._exit(BROKE_OFF)

    try:
        with contextlib.suppress(GetOut), cluster.connected(address, resources, verbose, lost) as link:
            conductor.look = link.watch.look
            link.resumed_by(folder)
            conductor.stop.hush = link.hush
            conductor.stop.listen()
            if resources.cluster:
                for note in nodes.inspected(folder, resources, modules):
                    conductor.display.note(note)
            tune.drive(conductor, folder, link.scratch.path, resources, verbose, modules)
    except SystemExit:  # what Ray makes of a SIGTERM until we listen again
        conductor.stop.number = conductor.stop.number or signal.SIGTERM
    finally:
        left.set()
        conductor.stop.listen()  # leaving Ray gives SIGTERM back to the system
    for job_id in list(conductor.jobs):
        conductor.ended(job_id, None)
    conductor.show()
    if not conductor.is_over():
        conductor.error = RuntimeError("Ray Tune ended before the search did")


def finish(
    folder: Path,
    policy: Ablation,
    environment: dict[str, Any],
    wall_seconds: float,
    error: Exception | None = None,
) -> Run:
    """Writes tables, summary, figures and report of what the log in `folder` holds."""
    from gtsearch.analysis.report import write_report  # figures load matplotlib, which takes its time
    from gtsearch.closing import closing_lines

    rows = certificate.settled(policy, results.members(folder / LOG))
    trials = results.write_tables(folder, rows, wall_seconds)
    ledger = results.ledger_frame(trials, wall_seconds)
    summary = certificate.summarise(policy, trials, error)
    results.write_json(folder / SUMMARY, summary)
    loaded = results.load_results(folder)
    report = write_report(loaded)
    lines = closing_lines(summary, ledger, environment, report)
    if error is not None:
        lines = [
            f"error     the search stopped on a mistake of its own: {summary['error']}",
            f"          the answer is not known; what was found is kept, and goes on with: gtsearch resume {folder}",
            lines[-1],
        ]
    return Run(folder, summary["exit_code"], lines)


def _prepare(spec: Spec) -> None:
    """Fetches and checks what the tasks of an experiment read from outside, before anything is trained."""
    for variation in spec.variations().values():
        for task in dict.fromkeys((variation.weak_task, variation.task)):
            task.prepare()


# -- the surroundings --------------------------------------------------------------------------------------


def _title(spec: Spec, resources: Resources, folder: Path) -> str:
    """What begins, and where it goes; the answer, which may be read alone, says the task again."""
    workers = f"{resources.workers} worker{'' if resources.workers == 1 else 's'}"
    return f"{spec.name}: {spec.task.title} · {workers} · {resources.device} · into {folder}"


@contextlib.contextmanager
def _new_folder(folder: Path, spec: Spec, environment: dict[str, Any]) -> Iterator[MembersLog]:
    """Makes a run folder, its log open: made beside and renamed, so that it is there with all a resume needs or not at
    all, and of two that make the same one the second is refused."""
    if folder.exists():
        raise _exists(folder)
    beside = folder.with_name(f"{folder.name}.{os.getpid()}{results.PARTIAL}")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            text = spec.to_yaml()
            environment["spec_sha256"] = results.spec_digest(text)
            results.write_json(beside / ENVIRONMENT, environment)
            results.write_text(beside / SPEC, text)
            log = stack.enter_context(MembersLog(beside / LOG))
            beside.rename(folder)
        except (OSError, GtsearchError) as error:
            if folder.exists():
                raise _exists(folder) from None
            reason = error.strerror if isinstance(error, OSError) else error
            raise ResultsError(f"cannot make the run folder {folder}: {reason}; choose another --out") from None
        log.path = folder / LOG
        yield log


def _exists(folder: Path) -> ResultsError:
    return ResultsError(f"the folder {folder} exists; choose another --out, or go on with it: gtsearch resume {folder}")


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed was writing."""
    for path in folder.rglob(f"*{results.PARTIAL}"):
        writer = path.name.removesuffix(results.PARTIAL).rpartition(".")[2]
        if not (writer.isdecimal() and psutil.pid_exists(int(writer))):
            path.unlink(missing_ok=True)


def _gone_on(folder: Path, now: dict[str, Any], torn: int) -> dict[str, Any]:
    """environment.json of a run that is resumed: as it was, with what is other now.

    Raises:
        OtherSchemaError: the run is of another schema, and nothing of it is touched.
    """
    notes = []
    try:
        environment = results.read_json(folder / ENVIRONMENT)
    except OtherSchemaError:
        raise
    except ResultsError as error:  # how the run was made is lost with it, and no member
        notes.append(f"{error}; it is made anew, and says how the run goes on")
        environment = dict(now)
    begun, versions = environment.get("versions") or {}, now["versions"]
    changed = {name: version for name, version in versions.items() if begun.get(name, version) != version}
    if changed:
        was = ", ".join(f"{name} {begun[name]}" for name in changed)
        notes.append(
            f"this run began with {was}, and goes on with {', '.join(f'{n} {v}' for n, v in changed.items())}: "
            "runs of different versions may differ"
        )
    resumed = {"at": now["started"], "notes": notes, "versions": changed}
    resumed |= {key: now[key] for key in ("host", "device", "device_names", "workers")}
    before = [one if isinstance(one, dict) else {"at": one} for one in environment.get("resumed", [])]
    environment |= {
        "resumed": [*before, resumed],
        "workers_asked": now["workers_asked"],
        "torn_lines": environment.get("torn_lines", 0) + torn,
        "spec_sha256": results.spec_digest(results.read_text(folder / SPEC)),
    }
    results.write_json(folder / ENVIRONMENT, environment)
    return environment


def _asked_before(folder: Path) -> int | None:
    """How many workers the run was last told to use; None: nobody said, or it is not known."""
    try:
        asked = results.read_json(folder / ENVIRONMENT).get("workers_asked")
    except ResultsError:
        return None
    return asked if isinstance(asked, int) and asked > 0 else None


def _set_workers(folder: Path, environment: dict[str, Any], resources: Resources) -> None:
    """Notes how many workers train from here on; a finished run that is reported again has none."""
    if environment.get("workers") != resources.workers:
        environment["workers"] = resources.workers
        results.write_json(folder / ENVIRONMENT, environment)


def _remove_started(folder: Path) -> None:
    """Takes back a run folder in which nothing has run."""
    for name in (SPEC, ENVIRONMENT, LOG, STUDIES):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _environment(spec: Spec, resources: Resources, workers_asked: int | None, command: Sequence[str]) -> dict[str, Any]:
    """What a reader needs to judge the seconds and to run it again."""
    packages = ("gtsearch", "torch", "ray", "optuna", "numpy", "pandas", "scipy", "scikit-learn", "pytorch-optimizer")
    return {
        "schema": results.SCHEMA,
        "command": list(command) or sys.argv,
        "started": f"{datetime.now():%Y-%m-%d %H:%M:%S}",
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages} | tracking.versions(spec),
        "git_revision": _git_revision(),
        "device": resources.device,
        "device_names": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or [cpu_name()],
        "cores": cores(),
        "threads": resources.threads,
        "workers": resources.workers,
        "workers_asked": workers_asked,
    }


def _git_revision() -> str | None:
    """The revision of the source this runs from, or None for an installed package."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _left_off(folder: Path, conductor: Conductor) -> Run:
    """The end of a run that was stopped or broke off: what is there is drawn."""
    number = conductor.stop.number
    why = f"stopped by {signal.Signals(number).name}" if number is not None else f"broken off: {conductor.broken}"
    lines = [f"{why}; {conductor.finished} finished members are kept, and nothing of them will run again"]
    try:
        lines.append(f"so far: {_drawn(folder)}")
    except (GtsearchError, OSError) as error:
        lines.append(f"nothing is drawn: {error}")
    return Run(folder, 128 + number if number is not None else BROKE_OFF, [*lines, _way_on(folder)])


def _drawn(folder: Path) -> Path:
    """Makes the report of a run that is not finished."""
    from gtsearch.analysis.report import write_report

    return write_report(salvage.look(folder, is_ours=True))


def _way_on(folder: Path) -> str:
    return f"go on with: gtsearch resume {shlex.quote(str(folder))}"


def _of_system(error: OSError) -> str:
    """What an error of the operating system says, in one line."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
