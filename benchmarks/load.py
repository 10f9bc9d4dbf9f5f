"""10,000 members of 1,000 architectures in one search through Ray, and the same search for half an hour: does it grow?

Members train nothing: a worker sleeps, and reports the row that `benchmarks.overhead` makes up, its curve as long as a
real one's. The very conductor, Tune, log and display are at work; tables and report are not made
(`benchmarks.overhead` has those).

    python -m benchmarks.load                      0.02 s a member, some minutes; then the soak, 30 minutes
    python -m benchmarks.load --minutes 0          without the soak; `--only-soak` without what comes before
    python -m benchmarks.load --samples FILE       keeps what was sampled, one JSON line a sample

Another process looks at the driver, its workers, Ray's daemons and their files from time to time. A driver grows with
the members it was told of; what it must not do is grow with time. So the soak is the same search with longer members,
and its memory a member is held against that of the fast search. Slopes are Theil and Sen's, with 95 % intervals, over
all but the first quarter of the samples; neighbouring samples are alike, so the intervals are narrower than they say.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import psutil
from scipy import stats

from benchmarks import results as kept
from benchmarks.overhead import World, search_of
from gtsearch.results import LOG

Row = dict[str, Any]
ENOUGH, SECONDS = "GTSEARCH_LOAD_ENOUGH", "GTSEARCH_LOAD_SECONDS"
"""What the workers are told by their environment: parameters from which on a model clears; seconds a member takes."""
STEP_SECONDS = 0.5  # between two reports, as of real trainables
WARM = 0.25  # of the samples that are taken for the start
DRIVER = "driver's memory"
FOLDERS_MB = 2.0  # of temporary files that a thousand members may leave until the end


# -- what a worker runs -------------------------------------------------------------------------------------------


class Sleeper:
    """A trainable that sleeps as long as a member takes, and answers from formulas."""

    def __init__(self) -> None:
        self.world = World.__new__(World)  # what it is made of stands in the environment: no worker counts 1,000 models
        self.world.enough, self.world.is_grid = int(os.environ[ENOUGH]), False
        self.seconds = float(os.environ[SECONDS])

    def setup(self, job: Mapping[str, Any], folder: Path | str, device: str = "cpu", threads: int = 1) -> None:
        self.job, self.left, self.began = job, list(job["members"]), False

    def step(self, seconds: float = STEP_SECONDS) -> Row:
        rows: list[Row] = []
        until = time.monotonic() + seconds
        while self.began and self.left and time.monotonic() < until:
            time.sleep(self.seconds)
            rows.append(self.world.answer(self.job, self.left.pop(0)))
        self.began = True
        return {"finished": rows, "progress": [], "done": not self.left}


def trainable_for(job: Mapping[str, Any]) -> Sleeper:
    return Sleeper()


# -- the driver ---------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What the driver says of itself. Seconds.

    Attributes:
        first, last: when the first and the last report came, by this machine's clock that never goes back.
        longest_gap: between two states that were handed to the display, after the first report.
        slowest: one report taken in, written, told and shown.
    """

    members: int = 0
    architectures: int = 0
    first: float = 0.0
    last: float = 0.0
    longest_gap: float = 0.0
    slowest: float = 0.0

    @property
    def searching(self) -> float:
        return self.last - self.first


def drive(folder: Path, members: int, workers: int, member_seconds: float) -> Watched:
    """The search in this process, through Ray, its run in `folder`."""
    from gtsearch import experiment, plans, progress, tune

    spec = search_of("ladder", members)
    os.environ[ENOUGH], os.environ[SECONDS] = str(World(spec).enough), str(member_seconds)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(kept.ROOT), os.environ.get("PYTHONPATH", "")])
    tune.TRAINABLE = f"{__spec__.name if __spec__ else 'benchmarks.load'}:trainable_for"
    told = Watched(architectures=len(plans.architectures(spec)))

    class Conductor(experiment.Conductor):
        def take(self, job_id: str, rows: list[Row], progress: list[Row]) -> None:
            began = time.monotonic()
            super().take(job_id, rows, progress)
            told.first, told.last = told.first or began, time.monotonic()
            told.slowest = max(told.slowest, told.last - began)
            told.members = self.finished

    class Display(progress.Display):
        updated = 0.0

        def update(self, state: Mapping[str, Any]) -> None:
            super().update(state)
            before, self.updated = self.updated, time.monotonic()
            if told.first:  # before it the workers start
                told.longest_gap = max(told.longest_gap, self.updated - max(before, told.first))

    def finish(folder: Path, policy: Any, environment: Any, wall_seconds: float, error: Exception | None) -> Any:
        if error is not None:
            raise error
        return experiment.Run(folder, 0, [])

    for name, ours in (("Conductor", Conductor), ("Display", Display), ("finish", finish)):
        setattr(experiment, name, ours)
    ended = experiment.run(spec, out=folder, workers=workers)
    if ended.exit_code != 0:
        raise SystemExit("\n".join(ended.lines))
    return told


# -- the one who looks on -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One look at a search that goes on. MiB are resident; `threads` and `files` (descriptors) are the driver's."""

    at: float
    members: int
    driver_mb: float
    workers_mb: float
    daemons_mb: float
    threads: int
    files: int
    processes: int
    temporary_mb: float
    log_mb: float


def look(driver: psutil.Process, temporary: Path, run: Path, lines: Iterator[int]) -> Sample | None:
    """None: the search has not begun, or is over."""
    try:
        own = driver.memory_info().rss / 2**20
        family = driver.children(recursive=True)
        sizes = {"worker": 0.0, "daemon": 0.0}
        for process in family:
            try:
                kind = "worker" if "ray::" in process.name() and "Agent" not in process.name() else "daemon"
                sizes[kind] += process.memory_info().rss / 2**20
            except psutil.Error:  # it has just ended
                continue
        return Sample(
            at=time.monotonic(),
            members=next(lines),
            driver_mb=own,
            workers_mb=sizes["worker"],
            daemons_mb=sizes["daemon"],
            threads=driver.num_threads(),
            files=driver.num_fds(),
            processes=1 + len(family),
            temporary_mb=_size_mb(temporary),
            log_mb=(run / LOG).stat().st_size / 2**20,
        )
    except (psutil.Error, OSError):
        return None


def _size_mb(folder: Path) -> float:
    """What the files below `folder` take on the disk; files come and go meanwhile."""
    blocks = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                blocks += os.lstat(os.path.join(inside, name)).st_blocks
            except OSError:
                continue
    return blocks * 512 / 2**20


def _lines(path: Path) -> Iterator[int]:
    """How many whole lines a growing file has, as often as it is asked."""
    count = 0
    with path.open("rb") as file:
        while True:
            while piece := file.read(2**20):
                count += piece.count(b"\n")
            yield count


def watched(
    members: int, workers: int, member_seconds: float, every: float, samples_file: Path | None
) -> tuple[Watched, list[Sample]]:
    """The search in a process of its own, looked at every so many seconds.

    Raises:
        SystemExit: it did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="gl-", dir="/tmp") as place:  # Ray's sockets need a short path
        temporary, run = Path(place) / "t", Path(place) / "run"
        temporary.mkdir()
        words = [sys.executable, "-m", "benchmarks.load", "--one", str(run), "--members", str(members)]
        words += ["--workers", str(workers), "--seconds-a-member", str(member_seconds)]
        environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
        found: list[Sample] = []
        with subprocess.Popen(words, cwd=kept.ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
            driver, lines = psutil.Process(child.pid), None
            with (Path(place) / "out").open("w+") as said:
                reader = subprocess.Popen(["cat"], stdin=child.stdout, stdout=said)
                while child.poll() is None:
                    time.sleep(every)
                    if lines is None and (run / LOG).exists():
                        lines = _lines(run / LOG)
                    sample = look(driver, temporary, run, lines) if lines else None
                    if sample is not None and sample.members:
                        found.append(sample)
                        if samples_file:
                            with samples_file.open("a") as file:
                                file.write(json.dumps(asdict(sample)) + "\n")
                reader.wait()
                said.seek(0)
                told = said.read().splitlines()
        if child.returncode != 0:
            raise SystemExit("\n".join(told[-5:]))
        last = Watched(**json.loads(told[-1]))
    return last, [one for one in found if last.first <= one.at <= last.last]


# -- what it says -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slope:
    """Of a line by Theil and Sen, with its 95 % interval."""

    value: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    found = stats.theilslopes(y, x, 0.95)
    return Slope(float(found.slope), float(found.low_slope), float(found.high_slope))


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those after the start."""
    return samples[round(WARM * len(samples)) :]


def per_thousand(samples: Sequence[Sample]) -> Slope:
    """MiB of the driver's that a thousand members more take."""
    return slope([one.members / 1000 for one in settled(samples)], [one.driver_mb for one in settled(samples)])


def beside(told: Watched, workers: int, member_seconds: float) -> float:
    """Seconds of a worker's that a member costs beside those that it takes."""
    return told.searching * workers / told.members - member_seconds


def of_load(told: Watched, samples: Sequence[Sample], workers: int, member_seconds: float) -> list[kept.Row]:
    what = f"{told.members:,} members of {told.architectures:,} architectures"
    own, most = beside(told, workers, member_seconds), max(one.driver_mb for one in samples)
    last, growth = samples[-1], per_thousand(samples)
    grows = f"{growth.value:.1f} [{growth.low:.1f}, {growth.high:.1f}] MiB a thousand members"
    return [
        kept.Row(
            what=f"{what}: the {DRIVER} at the most while it searches",
            ours=most,
            other=None,
            unit="MiB",
            target="under 500 MB at 10,000 members",
            met=most * 2**20 < 500e6,
            note=f"{grows}; threads {last.threads}, open files {last.files}, processes {last.processes}",
        ),
        kept.Row(
            what=f"{what}: members.log",
            ours=last.log_mb,
            other=None,
            unit="MiB",
            note=f"{1024 * last.log_mb / last.members:.1f} KiB a member, its curve in it",
        ),
        kept.Row(
            what=f"{what}: a worker's seconds a member beside the {member_seconds:g} s it takes",
            ours=own,
            other=None,
            unit="s",
            note=f"{workers} workers, {told.searching:.0f} s from the first report to the last",
        ),
        kept.Row(
            what=f"{what}: the longest time without a new state on the display",
            ours=told.longest_gap,
            other=None,
            unit="s",
            target="at most 2 s",
            met=told.longest_gap <= 2,
            note=f"the slowest report took {1000 * told.slowest:.0f} ms to take in, write, tell and show",
        ),
    ]


def of_soak(told: Watched, samples: Sequence[Sample], fast: Slope | None) -> list[kept.Row]:
    later = settled(samples)
    hours = [(one.at - later[0].at) / 3600 for one in later]
    minutes = told.searching / 60
    slow = per_thousand(samples)
    what = f"soak of {minutes:.0f} min, {told.members:,} members"
    rows = [
        kept.Row(
            what=f"{what}: MiB of the {DRIVER} a thousand members more take / in the fast search",
            ours=slow.value,
            other=fast.value if fast else None,
            unit="MiB",
            ratio=slow.value / fast.value if fast else None,
            low=slow.low / fast.high if fast else None,
            high=slow.high / fast.low if fast else None,
            target="at most 1.2" if fast else None,
            met=slow.value <= 1.2 * fast.value if fast else None,
            note="the same search with longer members: what is more would have grown with time",
        )
    ]
    limits = {
        "workers_mb": ("MiB of the workers", 0.05),
        "daemons_mb": ("MiB of Ray's daemons", 0.05),
        "threads": ("the driver's threads", 0.0),
        "files": ("the driver's open files", 0.0),
        "processes": ("processes", 0.0),
        "temporary_mb": ("MiB of temporary files", 0.0),  # Tune makes a folder a job, and deletes them at the end
    }
    thousands = (later[-1].members - later[0].members) / 1000
    for name, (words, share) in limits.items():
        values = [float(getattr(one, name)) for one in later]
        found = slope(hours, values)
        per_member = FOLDERS_MB * thousands if name == "temporary_mb" else 0.0
        grown, allowed = found.value * hours[-1], max(1.0, share * values[0], per_member)
        rows.append(
            kept.Row(
                what=f"{what}: growth of {words} after the first quarter",
                ours=grown,
                other=None,
                unit="of them",
                target=f"at most {allowed:.3g}",
                met=grown <= allowed,
                note=f"from {values[0]:.4g} to {values[-1]:.4g}, at most {max(values):.4g}; "
                f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}] an hour",
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=10_000, help="about so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds-a-member", type=float, default=0.02)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak; 0: none")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks at the soak")
    parser.add_argument("--only-soak", action="store_true", help="nothing else, and nothing to hold it against")
    parser.add_argument("--samples", type=Path, help="a file that gets every sample")
    parser.add_argument("--one", type=Path, help="the search alone, its run in this folder; prints JSON")
    asked = parser.parse_args()
    if asked.one:
        print("\n" + json.dumps(asdict(drive(asked.one, asked.members, asked.workers, asked.seconds_a_member))))
        return
    settings = {"workers": asked.workers, "members": asked.members, "threads": 1}
    members, own, fast = asked.members, 0.0, None
    if not asked.only_soak:
        told, samples = watched(asked.members, asked.workers, asked.seconds_a_member, asked.every / 10, asked.samples)
        members, own = told.members, beside(told, asked.workers, asked.seconds_a_member)
        fast = per_thousand(samples)
        _keep("load", of_load(told, samples, asked.workers, asked.seconds_a_member), settings)
    if asked.minutes:
        longer = max(asked.seconds_a_member, 60 * asked.minutes * asked.workers / members - own)
        told, samples = watched(asked.members, asked.workers, longer, asked.every, asked.samples)
        _keep("soak", of_soak(told, samples, fast), settings | {"minutes": asked.minutes})


def _keep(name: str, rows: Sequence[kept.Row], settings: Mapping[str, Any]) -> None:
    for row in rows:
        ratio = "" if row.ratio is None else f"; {row.ratio:.2f} times [{row.low:.2f}, {row.high:.2f}]"
        print(f"{row.what}: {row.ours:.4g} {row.unit}{ratio}\n    {row.note}\n    target: {row.target}, met: {row.met}")
    print(f"kept in {kept.keep(name, rows, settings)}", flush=True)


if __name__ == "__main__":
    main()
