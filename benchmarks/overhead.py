"""What a search costs beside its training: seconds a member and the driver's memory, at 1 and at 10 times the members.

The very conductor, policy, log, display and tables of a run are driven without Ray by members that answer at once, from
formulas, each with a curve as long as a real one's. Everything the driver does is timed; making the answers is not.

    python -m benchmarks.overhead                       each search at both sizes, in processes of their own
    python -m benchmarks.overhead --replay RUN [...]    and what workers of recorded runs would wait for (no training)

Searches: `ladder`, hundreds of architectures of which few clear, 8 configs each; `grid`, one architecture with up to
the 1152 points of the paper's section 4. Parts: `plan` (static costs of all architectures), `policy` (ask, tell,
should_stop, and taking reports in), `log` (members.log, synced), `journal` (study.log), `show` (what a person sees),
`tables` (settle, tables, summary, reading them back), `report` (figures, report.html). Memory is the most the process
ever had resident, with Ray imported and not started: at the end of the search, of the tables, and of the report.

A replay takes the members of a recorded run as long as they took; a job costs what Tune was seen to take for one. Its
ratio is wall x workers over the seconds of members that count.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import itertools
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

from benchmarks import results as kept
from gtsearch import experiment, plans, results
from gtsearch.identity import derive_seed
from gtsearch.journal import Journal
from gtsearch.progress import Display
from gtsearch.results import LOG, SPEC, MembersLog
from gtsearch.search.board import Member, Phase
from gtsearch.search.policy import Job
from gtsearch.spec import Spec, load_spec, parse_spec
from gtsearch.trainables import failed_row, static_row

Row = dict[str, Any]
SMALL, TIMES = {"ladder": 1000, "grid": 115}, 10
ROWS_A_REPORT = 1  # a weak member trains for more than the half second between two reports


# -- searches of a given size -----------------------------------------------------------------------------------


def search_of(kind: str, members: int) -> Spec:
    """An experiment of about so many members."""
    weak: dict[str, Any] = {
        "goal": {"val_accuracy": 0.4, "hold": 2, "evaluate_every": 10},
        "gate": {"seeds": 5, "at_least": 4},
    }
    if kind == "ladder":
        shapes = max(4, round(members / 10))
        widths = 5 * max(1, round((shapes / 50) ** 0.5))
        weak |= {
            "model": {
                "name": "mlp",
                "depth": 2,
                "d_embed": list(range(2, 2 + max(1, round(shapes / widths)))),
                "width": list(range(4, 4 + widths)),
            },
            "tune": {
                "lr": {"loguniform": [3e-3, 0.1]},
                "weight_decay": {"loguniform": [0.01, 3]},
                "init_scale": {"loguniform": [0.1, 1]},
            },
            "budget": {"configs_per_architecture": 8, "max_epochs": 1000},
        }
    else:
        sides = (12, 12, 8) if members > 1000 else (5, 5, 5) if members > 100 else (2, 2, 2)
        names = ("lr", "weight_decay", "init_scale")
        weak |= {
            "model": {"name": "mlp", "depth": 2, "d_embed": 8, "width": 16},
            "search": "grid",
            "tune": {
                name: [round(0.01 * 1.5**i, 6) for i in range(side)] for name, side in zip(names, sides, strict=True)
            },
            "budget": {"max_epochs": 1000},
        }
    return parse_spec(
        {
            "name": kind,
            "task": {"name": "modular_addition", "p": 113, "train_fraction": 0.25},
            "weak": weak,
            "target": {
                "goal": {"val_accuracy": 0.99, "hold": 2, "evaluate_every": 5},
                "model": {"name": "mlp", "depth": 3, "d_embed": 128, "width": 512},
                "methods": ["transfer", "scratch", "lowrank_random"],
                "tune": {
                    "lr": {"loguniform": [1e-4, 1]},
                    "weight_decay": {"loguniform": [0.01, 10]},
                    "init_scale": {"loguniform": [0.05, 2]},
                },
                "budget": {"configs": 6, "max_epochs": 300},
            },
            "report": {"seeds": 10, "at_least": 7, "weak_tries": 5},
        }
    )


class World:
    """Answers members from formulas. On the last fiftieth of the ladder most seeds clear and the target is helped;
    below, one config in twelve clears the search seed and then too few of the gate's."""

    def __init__(self, spec: Spec) -> None:
        params = sorted(a.params for a in plans.architectures(spec))
        self.enough = params[len(params) - 1 - len(params) // 50]
        self.is_grid = spec.weak is not None and spec.weak.search == "grid"

    def _reached(self, job: Mapping[str, Any], member: Mapping[str, Any]) -> int | None:
        luck = derive_seed("luck", member["config_id"], member["seed"]) / 2**63
        if job["stage"] == "target":
            return {"scratch": 200, "transfer": 40}.get(member["method"])
        clears = 0.95 if job["params"] >= self.enough else 0.08
        if self.is_grid and member["role"] == "search":
            clears = 0.05
        return 10 * (10 + derive_seed("epochs", member["config_id"], member["seed"]) % 60) if luck < clears else None

    def answer(self, job: Mapping[str, Any], member: Mapping[str, Any]) -> Row:
        """The row of a member that runs to its end, as a worker would report it."""
        every, last = job["evaluate_every"], (job["hold"] - 1) * job["evaluate_every"]
        end = min(member["cap_epochs"] or member["max_epochs"], member["max_epochs"])
        reached = self._reached(job, member)
        if reached is not None and reached + last > end:
            reached = None
        epochs = end if reached is None else reached + last
        flops = job["flops_per_epoch"]
        accuracy = job["goal"] if reached is not None else 0.3
        curve = [
            {
                "epoch": epoch,
                "train_seconds": epoch * 1.7e-3 + 1e-7,
                "train_flops": epoch * flops,
                "train_loss": 4.7 / (1 + epoch / 301),
                "train_accuracy": min(1.0, epoch / 307),
                "val_loss": 4.7 + 1 / (1 + epoch / 303),
                "val_accuracy": accuracy * epoch / epochs,
                "test_accuracy": None,
            }
            for epoch in range(0, epochs + 1, every)
        ]
        measured = {
            "device": "none",
            "host": "none",
            "threads": 1,
            "dtype": "float32",
            "status": "cleared" if reached is not None else "exhausted" if end == member["max_epochs"] else "capped",
            "epochs": epochs,
            "epochs_to_goal": reached,
            "epochs_to_goal_first": reached,
            "flops_to_goal": None if reached is None else reached * flops,
            "seconds_to_goal": None if reached is None else reached * flops / 1e10,
            "train_flops": epochs * flops,
            "train_seconds": epochs * flops / 1e10,
            "eval_seconds": 0.1,
            "best_val_accuracy": accuracy,
            "final_val_accuracy": accuracy,
            "test_accuracy": accuracy if member["reports"] else None,
            "cohort_size": 1,
            "curve": curve,
        }
        embedding = {"level": None, "dose": None, "epoch": epochs, "val_accuracy": accuracy}
        embedding |= {"train_flops": epochs * flops, "train_seconds": epochs * flops / 1e10}
        embedding |= {"path": f"embeddings/{member['run_id']}.safetensors", "sha256": f"{member['run_id']:0<64}"}
        embedding |= {"norm": 50.0, "effective_rank": 2.0}
        embedding |= {"scores": dict.fromkeys(("accuracy", "gap", "slope", "epochs", "norm", "fourier"), 0.5)}
        weak = job["stage"] == "weak" and reached is not None
        return static_row(job, member) | measured | {"embeddings": [embedding] if weak else []}


# -- driving a search -------------------------------------------------------------------------------------------


class Clock:
    """Seconds by part; a part inside another is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu_seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = time.perf_counter(), time.process_time()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._stamp()
        self._running.append(name)
        try:
            yield
        finally:
            self._stamp()
            self._running.pop()

    def _stamp(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now[0] - self._since[0]
            self.cpu_seconds[self._running[-1]] += now[1] - self._since[1]
        self._since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*given, **named)

        return wrapped


def drive(spec: Spec, folder: Path, workers: int, job_members: int | None) -> Row:
    """A whole run of `spec` in `folder` without Ray: how many members it had, the driver's seconds by part, and the
    most memory its process had had by the end of the search, of the tables, and of the report."""
    clock = Clock()
    world = World(spec)
    plans._architecture.cache_clear()  # the world asked for the same static costs
    text = spec.to_yaml()
    (folder / SPEC).write_text(text)
    environment = {"workers": workers, "device": "cpu", "device_names": ["none"], "threads": 1, "versions": {}}
    environment |= {"started": "2026-01-31 10:15:00", "spec_sha256": results.spec_digest(text)}
    results.write_json(folder / results.ENVIRONMENT, environment)
    with clock.part("plan"):
        policy = plans.ablation_for(spec, workers, job_members)
    with MembersLog(folder / LOG) as log, open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
        journal = Journal(folder / "study.log", spec.variations())
        for owner, method, part in ((log, "append", "log"), (journal, "add", "journal")):
            setattr(owner, method, clock.timed(part, getattr(owner, method)))
        with Display("overhead") as display, clock.part("policy"):
            conductor = experiment.Conductor(policy, log, journal, display, [])
            conductor.show = clock.timed("show", conductor.show)  # type: ignore[method-assign]
            _work(conductor, world, workers, clock)
        if conductor.error is not None:
            raise conductor.error
        searched = _status_mb("VmHWM")
        from gtsearch.analysis import report  # a run too loads what draws when it has searched

        tabled: list[float] = []
        write = clock.timed("report", report.write_report)

        def write_report(*given: Any, **named: Any) -> Any:
            tabled.append(_status_mb("VmHWM"))
            return write(*given, **named)

        report.write_report = write_report
        with clock.part("tables"):
            experiment.finish(folder, policy, environment, conductor.elapsed_seconds)
    return {
        "members": conductor.finished,
        "seconds": {part: seconds for part, seconds in clock.seconds.items() if part != "training"},
        "cpu_seconds": sum(seconds for part, seconds in clock.cpu_seconds.items() if part != "training"),
        "searched_mb": searched,
        "tables_mb": tabled[0],
        "report_mb": _status_mb("VmHWM"),
    }


def _work(conductor: experiment.Conductor, world: World, workers: int, clock: Clock) -> None:
    """What Tune does: each worker has a job and one that waits; a report at a time is taken in."""
    out: list[tuple[str, list[Mapping[str, Any]]]] = []
    new: set[str] = set()
    for turn in itertools.count():
        while len(out) < 2 * workers and (job := conductor.next_job()) is not None:
            out.append((job["id"], [json.loads(json.dumps(job)) | {"members": [m]} for m in job["members"]]))
            new.add(job["id"])
        if not out:
            if conductor.is_over():
                return
            raise AssertionError("the policy waits for nobody")
        job_id, left = out.pop(turn % min(workers, len(out)))
        if job_id in new:  # the first report comes before the first epoch
            new.remove(job_id)
            conductor.take(job_id, [], [])
            if conductor.is_needless(job_id):
                conductor.ended(job_id, None)
                continue
        with clock.part("training"):
            done = [world.answer(job, job["members"][0]) for job in left[:ROWS_A_REPORT]]
            text = json.dumps(done)
        conductor.take(job_id, json.loads(text), [])
        if len(left) <= ROWS_A_REPORT or conductor.is_needless(job_id):
            conductor.ended(job_id, None)
        else:
            out.insert(0, (job_id, left[ROWS_A_REPORT:]))


def measure(kind: str, members: int, workers: int, job_members: int | None, profile: bool) -> Row:
    """One search in this process: its members, seconds by part, and the peak of this process's memory in MB."""
    from gtsearch import tune  # noqa: F401  # the driver of a run has Ray loaded; here it is not started

    imported = _status_mb("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        told = drive(search_of(kind, members), Path(folder), workers, job_members)
        profiler.disable()
        log_mb = (Path(folder) / LOG).stat().st_size / 2**20
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumtime").print_stats(70)
    return {"kind": kind, "imported_mb": imported, "log_mb": log_mb} | told


def _status_mb(name: str) -> float:
    """Of /proc/self/status: VmRSS, what is in memory now, or VmHWM, the most there ever was."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


# -- a recorded run, with other workers ---------------------------------------------------------------------------

JOB_SECONDS = 0.15  # what Tune takes to start a job on a warm worker (0.13 to 0.24 s were measured)
REPLAYED = (1, 2, 4)
LOOK_SECONDS = 0.5  # how often a running job is asked whether somebody still waits for it


@dataclass
class Replay:
    """What workers did in a recorded run. Seconds are those of workers, but for `wall`.

    Attributes:
        counted: training and evaluation of members that count.
        in_vain: of those that do not, and of members that were cancelled.
        starting: of jobs.
        made_up: members the record does not hold; of those, how many count (then the record does not tell).
    """

    workers: int
    wall: float
    counted: float
    in_vain: float
    starting: float
    jobs: int
    made_up: int
    made_up_counted: int

    @property
    def idle(self) -> float:
        return self.wall * self.workers - self.counted - self.in_vain - self.starting

    @property
    def ratio(self) -> float:
        """Wall x workers over the seconds of members that counted."""
        return self.wall * self.workers / self.counted


@dataclass
class _Running:
    """A job a worker is at: what is left of it, when the member at hand ends, and when it began."""

    job: Job
    left: list[Member]
    ends: float
    began: float


class Record:
    """The members of a run folder as a trainable that takes as long as they took."""

    def __init__(self, folder: Path) -> None:
        self.spec = load_spec(folder / SPEC)
        known = (row for row in results.members(folder / LOG) if row["status"] != "cancelled")
        self.rows = {row["run_id"]: {k: v for k, v in row.items() if k != "probed"} for row in known}
        self.made_up: set[str] = set()
        paces: dict[str, list[float]] = {}
        for row in self.rows.values():
            paces.setdefault(row["architecture"], []).append(_seconds(row) / max(1, row["epochs"]))
        self._pace = {architecture: statistics.median(found) for architecture, found in paces.items()}

    def answer(self, job: Job, member: Member) -> Row:
        """The member's row; of one that was not recorded, a run to its end that gets nowhere."""
        if member.run_id in self.rows:
            return self.rows[member.run_id]
        self.made_up.add(member.run_id)
        told = job.to_json()
        seconds = member.end * self._pace.get(member.architecture.label, 2e-3)
        nothing = failed_row(static_row(told, member.to_json()), "", False) | {"status": "exhausted", "error": None}
        return nothing | {"epochs": member.end, "train_seconds": seconds, "train_flops": 0, "best_val_accuracy": 0.0}


def replay(record: Record, workers: int) -> Replay:
    """The recorded run once more by so many workers: the search asks, the record answers, a made-up clock goes on."""
    policy = plans.ablation_for(record.spec, workers)
    now, starting, jobs = 0.0, 0.0, 0
    trained: dict[str, float] = defaultdict(float)  # run id -> seconds
    waiting: list[Job] = []
    running: list[_Running] = []

    def begin(job: Job, members: list[Member], at: float, began: float) -> None:
        running.append(_Running(job, members, at + _seconds(record.answer(job, members[0])), began))

    while True:
        for one in [one for one in running if policy.should_stop(one.job)]:
            running.remove(one)
            trained[one.left[0].run_id] += _seconds(record.answer(one.job, one.left[0])) - max(0.0, one.ends - now)
            policy.ended(one.job.id)
        while len(running) + len(waiting) < 2 * workers and isinstance(job := policy.ask(), Job):
            waiting.append(job)
        while waiting and len(running) < workers:
            job = waiting.pop(0)
            urgent = any(other.phase is not Phase.AHEAD for other in waiting)
            if policy.should_stop(job) or (job.phase is Phase.AHEAD and urgent):
                policy.ended(job.id)
                now, starting = now + JOB_SECONDS / workers, starting + JOB_SECONDS
                continue
            begin(job, list(job.members), now + JOB_SECONDS, now)
            starting, jobs = starting + JOB_SECONDS, jobs + 1
        if not running:
            if not waiting and not isinstance(policy.ask(), Job):
                break
            continue
        first = min(running, key=lambda one: one.ends)
        if first.ends > now + LOOK_SECONDS:
            now += LOOK_SECONDS
            continue
        now = first.ends
        running.remove(first)
        row = record.answer(first.job, first.left[0])
        trained[row["run_id"]] += _seconds(row)
        policy.tell([row])
        if len(first.left) > 1:
            begin(first.job, first.left[1:], now, first.began)
        else:
            policy.ended(first.job.id)
    counted = sum(seconds for run_id, seconds in trained.items() if any(policy.counting(run_id)))
    missing = sum(any(policy.counting(run_id)) for run_id in record.made_up)
    in_vain = sum(trained.values()) - counted
    return Replay(workers, now, counted, in_vain, starting, jobs, len(record.made_up), missing)


def _seconds(row: Mapping[str, Any]) -> float:
    return float(row["train_seconds"] or 0.0) + float(row["eval_seconds"] or 0.0)


# -- from the command line ----------------------------------------------------------------------------------------


def _apart(kind: str, members: int, options: argparse.Namespace) -> Row:
    """`measure` in a process of its own, so that its memory is its own."""
    words = [sys.executable, "-m", "benchmarks.overhead", "--one", kind, "--members", str(members)]
    words += ["--workers", str(options.workers)]
    words += ["--stacked", str(options.stacked)] if options.stacked else []
    words += ["--profile"] if options.profile else []
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=kept.ROOT).stdout
    return dict(json.loads(told.splitlines()[-1]))


def _growth(kind: str, small: Sequence[Row], large: Row) -> kept.Row:
    """What 10 times the members cost: the seconds of the large search over those of the small one, scaled to 10."""
    seconds = [sum(one["seconds"].values()) for one in (*small, large)]
    scales = [TIMES * one["members"] / large["members"] for one in small]
    ratios = [seconds[-1] / s * scale for s, scale in zip(seconds, scales, strict=False)]
    ratio = statistics.median(ratios)
    parts = ", ".join(f"{part} {1e3 * s / large['members']:.2g}" for part, s in sorted(large["seconds"].items()))
    return kept.Row(
        what=f"{kind}: seconds outside training, {large['members']} members over {small[0]['members']}",
        ours=seconds[-1],
        other=statistics.median(seconds[:-1]),
        unit="s",
        ratio=ratio,
        low=min(ratios),
        high=max(ratios),
        target="at most 11 at 10 times the members",
        met=ratio <= 11,
        note=f"ratio scaled to {TIMES} times the members; ms a member: {parts}",
    )


def _memory(kind: str, small: Row, large: Row) -> kept.Row:
    return kept.Row(
        what=f"{kind}: the driver's most memory while it searches, {large['members']} members",
        ours=large["searched_mb"],
        other=small["searched_mb"],
        unit="MiB",
        target="under 500 MB at 10,000 members",
        met=large["searched_mb"] * 2**20 < 500e6,
        note=f"other: with {small['members']}; {large['imported_mb']:.0f} MiB are imports; with tables "
        f"{large['tables_mb']:.0f}, with the report {large['report_mb']:.0f}",
    )


def _waiting(folder: Path, told: Replay) -> kept.Row:
    return kept.Row(
        what=f"{folder.name}, replayed by {told.workers} workers: wall x workers over seconds that counted",
        ours=told.ratio,
        other=None,
        unit="times",
        target="at most 1.10",
        met=told.ratio <= 1.10,
        note=f"{told.wall:.0f} s; of {told.wall * told.workers:.0f} worker-seconds {told.idle:.0f} idle, "
        f"{told.in_vain:.0f} in vain, {told.starting:.0f} starting {told.jobs} jobs; "
        f"{told.made_up} members made up, {told.made_up_counted} of them counted",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stacked", type=int, help="members a job may carry, as on a GPU; default: as on a CPU")
    parser.add_argument("--members", type=int, help="of the smaller search; default: 1000, and 115 of the grid")
    parser.add_argument("--repeats", type=int, default=3, help="of the smaller search")
    parser.add_argument("--one", choices=list(SMALL), help="measure one search in this process and print JSON")
    parser.add_argument("--profile", action="store_true", help="where the time goes, on standard error")
    parser.add_argument("--replay", type=Path, nargs="*", default=[], help="run folders to be run once more")
    parser.add_argument("--only-replay", action="store_true", help="nothing but that; nothing is kept")
    options = parser.parse_args()
    if options.one:
        members = options.members or SMALL[options.one]
        print(json.dumps(measure(options.one, members, options.workers, options.stacked, options.profile)))
        return
    rows: list[kept.Row] = []
    for kind in SMALL if not options.only_replay else ():
        members = options.members or SMALL[kind]
        small = [_apart(kind, members, options) for _ in range(options.repeats)]
        large = _apart(kind, TIMES * members, options)
        rows += [_growth(kind, small, large), _memory(kind, small[0], large)]
    for folder in options.replay:
        record = Record(folder)
        rows += [_waiting(folder, replay(record, workers)) for workers in REPLAYED]
    for row in rows:
        ratio = "" if row.ratio is None else f"; {row.ratio:.2f} times [{row.low:.2f}, {row.high:.2f}]"
        print(f"{row.what}: {row.ours:.4g} {row.unit}{ratio}\n    {row.note}\n    target: {row.target}, met: {row.met}")
    if not options.only_replay:
        print(f"kept in {kept.keep('overhead', rows, {'workers': options.workers, 'stacked': options.stacked})}")


if __name__ == "__main__":
    main()
