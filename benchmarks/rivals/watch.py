"""A program that runs as a process of its own: what it writes, when, and the memory it and its workers hold."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from benchmarks.results import ROOT

POLL_SECONDS = 0.05
MEMORY_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long a program may take to end in order."""


@dataclass(frozen=True)
class Watched:
    """What was seen of a program.

    Attributes:
        seconds: from the start of the process until it had said what it was asked; the limit where it was stopped.
        in_time: whether it said so within its time.
        peak_bytes: the most that the resident sets of it and its descendants summed to, seen once a second. Pages that
            processes share count once in each.
    """

    seconds: float
    in_time: bool
    peak_bytes: int


def watch(
    command: Sequence[str],
    log: Path,
    output: Path,
    take: Callable[[float, list[str]], bool],
    limit_seconds: float,
    ends_itself: bool,
) -> Watched:
    """Runs `command` until the lines it wrote into `log` are enough, or its time is up; then it is ended.

    Args:
        log: may come into being later; only whole lines are read.
        output: where its stdout and stderr go.
        take: is given new lines and the seconds at which they were read; says whether that was enough.
        ends_itself: whether it ends once it has written that; else it is asked to.

    Raises:
        RuntimeError: it ended by itself before that was enough.
    """
    memory = _Memory()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    tail: _Tail | None = None
    in_time = ended = False
    with output.open("w") as sink:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=environment)
        try:
            while True:
                elapsed = time.monotonic() - started
                if tail is None and log.exists():
                    tail = _Tail(log)
                new = tail.read() if tail else []
                if new and take(elapsed, new):
                    in_time = True
                    break
                if elapsed > limit_seconds:
                    break
                if ended:
                    said = output.read_text()[-2000:]
                    raise RuntimeError(f"{' '.join(command[1:3])} ended too soon, with {process.returncode}: {said}")
                ended = process.poll() is not None  # what it wrote last is read once more
                memory.look(process.pid, elapsed)
                time.sleep(POLL_SECONDS)
        finally:
            _end(process, wait=in_time and ends_itself)
            if tail:
                tail.file.close()
    return Watched(elapsed if in_time else limit_seconds, in_time, memory.peak_bytes)


class _Tail:
    """New whole lines of a file that another process writes."""

    def __init__(self, path: Path) -> None:
        self.file: IO[str] = path.open()
        self._open_line = ""

    def read(self) -> list[str]:
        parts = (self._open_line + self.file.read()).split("\n")
        self._open_line = parts.pop()
        return [part for part in parts if part]


class _Memory:
    """The greatest sum of resident sets over a tree of processes."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._looked = -MEMORY_SECONDS

    def look(self, pid: int, now: float) -> None:
        if now - self._looked < MEMORY_SECONDS:
            return
        self._looked = now
        self.peak_bytes = max(self.peak_bytes, sum(_resident_bytes(process) for process in _tree(pid)))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(process: subprocess.Popen[bytes], wait: bool) -> None:
    """Waits until it ends, asked to unless `wait`; what is left of its own tree after a while is killed."""
    tree = _tree(process.pid)
    if not wait and process.poll() is None:
        process.terminate()
    psutil.wait_procs(tree, timeout=GRACE_SECONDS)
    for left in tree:
        if left.is_running():
            left.kill()
    process.wait()
