"""One run folder under fire: processes of `gtsearch` in a place of their own, what is done to them, what they leave.

A place has its own home, temporary folder and working folder, so that whatever a run leaves outside its run folder is
found. Its processes are known by a mark in their environment and by descent from the one that was started.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from faults import drive, inject, judge
from faults.judge import Known
from gtsearch.results import LOG

ROOT = Path(__file__).resolve().parent.parent
MARK = "FAULTS_MARK"
GOES_ON_SECONDS = 60.0  # within these a run goes on, or ends
LEAVES_SECONDS = 5.0  # a second Ctrl-C leaves at once
LINGER_SECONDS = 15.0  # what is left of a run that ended may take so long to go
WHOLE_SECONDS = 400.0  # a run of the synthetic experiment that was not disturbed takes a tenth of it
DONE = (0, 1)
_LOOK_SECONDS = 0.02
_FAMILY_SECONDS = 0.7  # between two looks at who descends from whom, which takes a while
_DISK_MB = 24


@dataclass(frozen=True)
class World:
    """What is run.

    Attributes:
        words: of the command line after `run`, without --out.
        trainable: `gtsearch.tune.TRAINABLE`.
        real: whether it trains.
        faults: injections that belong to the world: they strike in the undisturbed run, too.
        reference: the folder of the undisturbed run.
        exit_code: of it.
        purposes: of the lines of its members.log, in order, but for those that counted for nothing.
        first_seconds, tables_seconds, whole_seconds: from the start to the first line, from the last line to
            summary.json, and to the end.
    """

    name: str
    words: tuple[str, ...]
    trainable: str
    real: bool = False
    faults: tuple[Mapping[str, Any], ...] = ()
    reference: Path = Path()
    exit_code: int = 0
    purposes: tuple[str, ...] = ()
    first_seconds: float = 5.0
    tables_seconds: float = 2.0
    report_seconds: float = 10.0


@dataclass
class Fault:
    """A fault that was inflicted, and what came of it.

    Attributes:
        name: of the scenario.
        moment: when it struck, in words.
        went_on_seconds: until a new line in members.log, or the end; None: neither within GOES_ON_SECONDS.
        ended: the exit code of the process where it ended of the fault; None: it went on by itself.
        resume_seconds: of the resume after it, from its start to its first new line, or to its end.
        lost, repeated: of the run it struck.
        recovered: whether the run came to the same in the end, with nothing left behind.
        wrong: what was not as promised, in words.
    """

    name: str
    world: str
    moment: str = ""
    went_on_seconds: float | None = None
    ended: int | None = None
    resume_seconds: float | None = None
    lost: int = 0
    repeated: int = 0
    again: int = 0
    recovered: bool = False
    wrong: list[str] = field(default_factory=list)
    chain: str = ""
    seed: int = 0
    resumed_by: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "resumed_by"}


class Stuck(Exception):
    """The run cannot be brought on: what follows in the chain cannot be tried."""


class Running:
    """A process of `gtsearch` and all that descends from it."""

    def __init__(self, case: Case, words: Sequence[str], injections: Sequence[Mapping[str, Any]]) -> None:
        case.started += 1
        self.case, self.mark = case, f"{case.place.name}-{case.started}"
        self.ready = case.place / f"ready-{case.started}"
        self.out_file, self.err_file = (case.place / f"{stream}-{case.started}" for stream in ("out", "err"))
        self.began = time.monotonic()
        with self.out_file.open("wb") as out, self.err_file.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faults.drive", *words],
                cwd=case.work,
                env=case.environment(self, injections),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.words = tuple(words)
        self.family: dict[tuple[int, float], str] = {}
        self._lines_before = case.lines()
        self.first_line_seconds: float | None = None
        self.ended_seconds: float | None = None
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _watch(self) -> None:
        """Notes descendants, which a dead process cannot be asked for, and when the first new line comes."""
        looked = 0.0
        while self.process.poll() is None:
            if time.monotonic() - looked > _FAMILY_SECONDS:
                self.descendants()
                looked = time.monotonic()
            if self.first_line_seconds is None and self.case.lines() > self._lines_before:
                self.first_line_seconds = time.monotonic() - self.began
            time.sleep(0.1)
        self.ended_seconds = time.monotonic() - self.began

    def descendants(self) -> list[psutil.Process]:
        """All that descends from it now."""
        try:
            found = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            return []
        for process in found:
            with contextlib.suppress(psutil.Error):
                self.family.setdefault((process.pid, process.create_time()), " ".join(process.cmdline())[:120])
        return found

    def alive(self) -> list[psutil.Process]:
        """Whatever of it still runs, its descendants too."""
        left = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                marked = process.environ().get(MARK) == self.mark
                if (marked or (process.pid, process.create_time()) in self.family) and process.status() != "zombie":
                    left[process.pid] = process
        return list(left.values())

    def out(self) -> str:
        return self.out_file.read_text(errors="replace")

    def err(self) -> str:
        return self.err_file.read_text(errors="replace")

    def end(self) -> None:
        """Kills whatever is left of it."""
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()


class Case:
    """A run folder in a place of its own, and the faults inflicted on it.

    Args:
        world: what runs there.
        seed: of all that is left to chance.
        chain: the name under which it can be run again.
        small_disk: whether the run folder lies on a small disk of its own.
    """

    def __init__(self, world: World, seed: int, chain: str, small_disk: bool = False, workers: int = 2) -> None:
        self.world, self.seed, self.chain, self.workers = world, seed, chain, workers
        self.rng = random.Random(seed)
        self.place = Path(tempfile.mkdtemp(prefix="gtf-", dir="/tmp"))  # short: Ray's sockets lie under it
        self.home, self.temporary, self.work = (self.place / name for name in ("home", "tmp", "work"))
        for folder in (self.home, self.temporary, self.work):
            folder.mkdir()
        self.disk = self.work / "disk" if small_disk else None
        if self.disk is not None:
            self.disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "gtf", str(self.disk)], check=True)
        self.out = "disk/run" if small_disk else "run"
        self.folder = self.work / self.out
        self.trace = self.place / "trace"
        self.started = 0
        self.running: Running | None = None
        self.all: list[Running] = []
        self.faults: list[Fault] = []
        self.known: list[Known] = []
        self.timers: list[threading.Timer] = []
        self.spoiled: Path | None = None  # a file that was changed, and will be again
        self._counted = 0, 0  # bytes, lines
        self._counting = threading.Lock()

    # -- processes --------------------------------------------------------------------------------------------

    def environment(self, running: Running, injections: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        own = {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "MPLCONFIGDIR": str(matplotlib_folder()),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            MARK: running.mark,
            drive.READY: str(running.ready),
            inject.FAULTS: json.dumps([*self.world.faults, *injections]),
            inject.TRACE: str(self.trace),
            drive.TRAINABLE: self.world.trainable,
        }
        if not self.world.real:
            own[drive.FIGURES] = "tradeoff,ladder,devices"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "FAULTS", "TUNE_", "PYTEST"))}
        return inherited | own

    def start(self, injections: Sequence[Mapping[str, Any]] = (), words: Sequence[str] = ()) -> Running:
        """Starts the run (with more `words`), or goes on with it where there is something to go on with."""
        resumes = self.can_resume()
        command = ["resume", self.out] if resumes else ["run", *self.world.words, *words, "--out", self.out]
        self.running = Running(self, [*command, "--workers", str(self.workers)], injections)
        if resumes and self.faults and self.faults[-1].resumed_by is None:
            self.faults[-1].resumed_by = len(self.all)
        self.all.append(self.running)
        return self.running

    def can_resume(self) -> bool:
        """Whether there is a run folder to go on with."""
        return self.folder.exists()

    def lines(self) -> int:
        """Whole lines in members.log, counted from where they were counted last."""
        path = self.folder / LOG
        with self._counting:
            try:
                size = path.stat().st_size
                if size < self._counted[0]:
                    self._counted = 0, 0
                if size > self._counted[0]:
                    with path.open("rb") as file:
                        file.seek(self._counted[0])
                        new = file.read()
                    self._counted = self._counted[0] + len(new), self._counted[1] + new.count(b"\n")
            except OSError:
                self._counted = 0, 0
            return self._counted[1]

    # -- waiting ----------------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], bool], seconds: float = WHOLE_SECONDS) -> bool:
        """Waits until something is so, while the process runs; whether it came about."""
        assert self.running is not None
        limit = time.monotonic() + seconds
        while not until():
            if self.running.process.poll() is not None or time.monotonic() > limit:
                return until()
            time.sleep(_LOOK_SECONDS)
        return True

    def sleep(self, seconds: float) -> None:
        """Lets the process run for so long, or to its end."""
        self.wait(lambda: False, seconds)

    def lasts(self) -> bool:
        return self.running is not None and self.running.process.poll() is None

    def stop_quietly(self) -> None:
        """Kills the run, which is no fault that is counted, and forgets it."""
        assert self.running is not None
        self.running.end()
        self.running = None

    # -- faults -----------------------------------------------------------------------------------------------

    def remember(self, at: float | None = None) -> Known:
        """Notes what is finished now: none of it may be lost, or run again."""
        known = judge.known(self.folder, time.monotonic() if at is None else at)
        self.known.append(known)
        return known

    def note(self, name: str, moment: str) -> Fault:
        fault = Fault(name, self.world.name, moment, chain=self.chain, seed=self.seed)
        self.faults.append(fault)
        return fault

    def watch(self, fault: Fault, since: float, lines: int, is_end: bool = False) -> None:
        """Watches what comes of a fault: the run goes on, or it ends and says how to go on.

        Args:
            since: when the fault struck.
            lines: in members.log then.
            is_end: whether only the end will do.
        """
        assert self.running is not None
        running = self.running
        while running.process.poll() is None:
            if time.monotonic() - since > GOES_ON_SECONDS:
                fault.wrong.append(f"a hang: nothing for {GOES_ON_SECONDS:g} s")
                self.dump()
                running.end()
                return
            if not is_end and self.lines() > lines:
                fault.went_on_seconds = time.monotonic() - since
                return
            time.sleep(_LOOK_SECONDS)
        fault.went_on_seconds = time.monotonic() - since
        fault.ended = running.process.returncode

    def dump(self) -> None:
        """Keeps what can be seen of a hang, beside the place."""
        assert self.running is not None
        folder = Path(tempfile.gettempdir()) / "faults-hangs"
        folder.mkdir(exist_ok=True)
        with (folder / f"{self.place.name}.txt").open("w") as file:
            for process in self.running.alive():
                with contextlib.suppress(psutil.Error):
                    file.write(f"{process.pid} {process.status()} {' '.join(process.cmdline())[:150]}\n")
            file.write(self.running.out()[-3000:] + self.running.err()[-3000:])

    def expect_exit(self, fault: Fault, codes: Sequence[int], says_resume: bool) -> None:
        """Notes what is wrong with how the process ended."""
        assert self.running is not None
        out, err = self.running.out(), self.running.err()
        if fault.ended is None:
            return
        if fault.ended not in codes:
            fault.wrong.append(
                f"exit code {fault.ended}, not {' or '.join(map(str, codes))}: {_last(err) or _last(out)}"
            )
        if "Traceback" in out + err:
            fault.wrong.append(f"a traceback: {_last(err)}")
        # Stopped before anything was begun, it says that much.
        enough = f"gtsearch resume {self.out}" in out + err or (not out and err.startswith("gtsearch: stopped by "))
        if says_resume and fault.ended not in DONE and not enough:
            fault.wrong.append("did not say how to go on")

    def leftovers(self, running: Running, fault: Fault) -> None:
        """Waits for what is left of a process that ended, and notes what stays."""
        limit = time.monotonic() + LINGER_SECONDS
        while (left := running.alive()) and time.monotonic() < limit:
            time.sleep(0.2)
        for process in left:
            with contextlib.suppress(psutil.Error):
                fault.wrong.append(f"an orphan: {' '.join(process.cmdline())[:80]}")
                process.kill()

    def strangers(self) -> list[str]:
        """What lies outside the run folder."""
        own = (self.home, self.temporary, self.work, *([self.disk] if self.disk else []))
        found = {path for top in own for path in top.iterdir()} - {*own, self.folder}
        return [str(path.relative_to(self.place)) for path in sorted(found)]

    def inside(self) -> list[str]:
        """What lies in the run folder and should not: files that are not whole, locks."""
        paths = [path for path in self.folder.rglob("*") if path.suffix in (".partial", ".lock", ".tmp")]
        return [str(path.relative_to(self.folder)) for path in paths]

    # -- the end ----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Lets the run end, resumes it as often as it takes, and judges what it came to."""
        for _ in range(4):
            if self.running is None or (self.running.process.poll() is not None and not self._is_finished()):
                self.start()
            assert self.running is not None
            running = self.running
            if not self._ends(running):
                self.dump()
                running.end()
                self._blame("a hang of the last resume")
                return
            if running.process.returncode in DONE:
                if "Traceback" in running.err():
                    self._blame(f"a traceback: {_last(running.err())}")
                    return
                break
            if running.process.returncode not in (3, 130, 143):
                self._blame(f"the resume ended with {running.process.returncode}: {_last(running.err())}")
                return
            self.running = None
        else:
            self._blame("it does not end, however often it is resumed")
            return
        self._settle(running)

    def _is_finished(self) -> bool:
        return self.running is not None and self.running.process.returncode in DONE

    def _ends(self, running: Running) -> bool:
        """Waits for a process as long as something comes of it."""
        sign, since = self._sign(), time.monotonic()
        while running.process.poll() is None:
            if (now := self._sign()) != sign:
                sign, since = now, time.monotonic()
            if time.monotonic() - since > GOES_ON_SECONDS:
                return False
            time.sleep(0.1)
        return True

    def _sign(self) -> tuple[int, ...]:
        """Of life: lines in the log, files in the folder, what was said."""
        assert self.running is not None
        said = (self.running.out_file.stat().st_size, self.running.err_file.stat().st_size)
        return self.lines(), sum(len(names) for _, _, names in os.walk(self.folder)), *said

    def _settle(self, running: Running) -> None:
        last = Fault("", "")
        for timer in self.timers:
            timer.join()
        for fault in self.faults:
            if fault.resumed_by is not None:
                then = self.all[fault.resumed_by]
                fault.resume_seconds = then.first_line_seconds or then.ended_seconds
        for each in self.all:
            self.leftovers(each, last)
        if running.process.returncode != self.world.exit_code:
            last.wrong.append(f"exit code {running.process.returncode}, not {self.world.exit_code}")
        last.wrong += [f"left behind: {path}" for path in [*self.strangers(), *self.inside()][:4]]
        try:
            verdict = judge.judge(self.world.reference, self.folder, self.known, self.trace, real=self.world.real)
        except Exception as error:  # a folder that cannot be read is a verdict, too
            self._blame(f"cannot be judged: {type(error).__name__}: {error}")
            return
        for fault in self.faults:
            fault.lost, fault.repeated, fault.again = verdict.lost, verdict.repeated, verdict.again
            fault.recovered = not (verdict.differences or verdict.lost or verdict.repeated or fault.wrong or last.wrong)
        self._blame(*last.wrong, *verdict.differences)

    def _blame(self, *wrong: str) -> None:
        """Notes at the chain's last fault what cannot be laid to one of them."""
        if self.faults:
            self.faults[-1].wrong += wrong

    def close(self, keep: bool = False) -> None:
        """Ends whatever still runs and removes the place."""
        for running in self.all:
            running.end()
        if self.disk is not None:
            if keep:
                shutil.copytree(self.folder, self.work / "run", dirs_exist_ok=True)
            subprocess.run(["umount", "-l", str(self.disk)], check=False)
        if not keep:
            shutil.rmtree(self.place, ignore_errors=True)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""


def matplotlib_folder() -> Path:
    """Where matplotlib keeps its list of fonts, which takes seconds to make: one for all places."""
    folder = Path(tempfile.gettempdir()) / f"faults-matplotlib-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


def can_mount() -> bool:
    """Whether a small disk can be made here."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "gtf", folder], capture_output=True)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=False)
        return tried.returncode == 0
