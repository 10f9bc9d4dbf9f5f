"""Faults from within: what a process of a run does to itself, as the environment variable FAULTS says.

FAULTS is a JSON list of injections, read by the driver (`faults.drive`) and, since Ray's workers inherit it, by the
trainable (`faults.synthetic`). Each says what to `do` and when:

- `{"do": "fill", "at": "summary.json", "nth": 1, "ballast": FILE}`: the disk is filled as the nth file whose path ends
  so is opened for writing (`*` stands for anything); `members.log` means its nth line.
- `{"do": "signal", "number": 9, "at": ..., "nth": ...}`: the process is sent a signal then.
- `{"do": "clock", "seconds": 86400, "after": 3}`: `time.time` and `datetime.now` jump, so long after the start.
- `{"do": "memory" | "die" | "hang" | "raise" | "nan" | "hoard" | "children" | "threads", "share": 0.1}`: what happens
  to members, a share of them chosen by config, seed and `salt`.
- `{"do": "other bits"}`: what is trained again to mend an embedding comes out otherwise, as on another machine.

`once`: a file that says the injection has struck, so that it strikes once however many processes there are; of those
without one, every time.
"""

from __future__ import annotations

import fnmatch
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from types import ModuleType
from typing import Any

FAULTS, TRACE = "FAULTS", "FAULTS_TRACE"

_BLOCKS = (2**20, 2**12, 1)  # bytes: a full disk is full to the last one
_hoard: list[Any] = []
_watched: list[bool] = []
_mending: list[bool] = []


def injections() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(os.environ.get(FAULTS, "[]"))
    return told


def strikes(injection: Mapping[str, Any]) -> bool:
    """Whether the injection still has to strike; from now on it has."""
    if "once" not in injection:
        return True
    try:
        os.close(os.open(injection["once"], os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def fill_up(ballast: str) -> None:
    """Fills the disk that `ballast` lies on."""
    descriptor = os.open(ballast, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for size in _BLOCKS:
            try:
                while True:
                    os.write(descriptor, b"\0" * size)
            except OSError:
                continue
    finally:
        os.close(descriptor)


# -- as files are written -------------------------------------------------------------------------------------


class _Writes:
    """Watches a process write files."""

    def __init__(self, told: Sequence[dict[str, Any]]) -> None:
        self.told, self.seen, self.busy = told, Counter[int](), False

    def about_to_write(self, path: str) -> None:
        if self.busy:
            return
        for number, injection in enumerate(self.told):
            if not fnmatch.fnmatch(path, f"*{injection['at']}"):
                continue
            self.seen[number] += 1
            if self.seen[number] >= injection.get("nth", 1) and strikes(injection):
                self.busy = True
                try:
                    self._strike(injection)
                finally:
                    self.busy = False

    def _strike(self, injection: Mapping[str, Any]) -> None:
        if injection["do"] == "fill":
            fill_up(injection["ballast"])
        else:
            os.kill(os.getpid(), injection["number"])

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(given[0], str | bytes | os.PathLike):
            return
        mode, flags = given[1], given[2]
        writes = any(sign in mode for sign in "wax+") if isinstance(mode, str) else False
        path = os.fsdecode(given[0])
        if (writes or flags & (os.O_WRONLY | os.O_RDWR)) and not path.endswith("members.log"):
            self.about_to_write(_without_partial(path))


def _without_partial(path: str) -> str:
    """What a file will be called that is written under a name of its own first."""
    head, _, tail = path.rpartition("/")
    if tail.endswith(".partial"):
        tail = tail.removesuffix(".partial").rpartition(".")[0].removeprefix(".")
    return f"{head}/{tail}"


def watch_writes() -> None:
    """Lets injections strike as this process writes files, from now on."""
    told = [injection for injection in injections() if "at" in injection]
    if not told or _watched:
        return
    _watched.append(True)
    writes = _Writes(told)
    sys.addaudithook(writes.audit)

    def in_results(results: ModuleType) -> None:
        append, writer = results.MembersLog.append, results.pq.ParquetWriter

        def watched(self: Any, row: Any) -> None:
            writes.about_to_write(str(self.path))
            append(self, row)

        class Writer(writer):  # type: ignore[misc, valid-type]  # pyarrow opens files without Python's knowing
            def __init__(self, where: Any, *given: Any, **named: Any) -> None:
                writes.about_to_write(_without_partial(str(where)))
                super().__init__(where, *given, **named)

        results.MembersLog.append = watched
        results.pq.ParquetWriter = Writer

    after_import("gtsearch.results", in_results)


# -- the clock ------------------------------------------------------------------------------------------------


def bend_clock() -> None:
    """Lets the clocks by which this process tells the time of day jump; those that only count are left alone."""
    told = [injection for injection in injections() if injection["do"] == "clock"]
    if not told:
        return
    began, true_time, true_ns = time.monotonic(), time.time, time.time_ns

    def off() -> int:
        return sum(i["seconds"] for i in told if time.monotonic() - began >= i["after"])

    class Bent(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Bent:
            return cls.fromtimestamp(true_time() + off(), tz)

    def in_module(module: ModuleType) -> None:
        module.datetime = Bent  # type: ignore[attr-defined]

    time.time = lambda: true_time() + off()
    time.time_ns = lambda: true_ns() + off() * 10**9
    for name in ("gtsearch.experiment", "gtsearch.journal"):  # pandas' own C code lives with no other datetime
        after_import(name, in_module)


# -- members --------------------------------------------------------------------------------------------------


def trace(run_id: str) -> None:
    """Notes that a member begins in a worker, with the machine's monotonic clock."""
    if (path := os.environ.get(TRACE)) and not _mending:
        with open(path, "a") as file:
            file.write(f"{time.monotonic()} {run_id}\n")


def meet(luck: Callable[..., float], config_id: str, seed: int) -> bool:
    """What befalls a member as it begins; whether its loss is no number."""
    nan = False
    for injection in injections():
        what = injection["do"]
        if "share" not in injection or luck(what, injection.get("salt", 0), config_id, seed) >= injection["share"]:
            continue
        if what == "nan":
            nan = True
        elif strikes(injection):
            _HAPPENS[what]()
    return nan


def _memory() -> None:
    raise MemoryError("no memory left, on purpose")


def _raise() -> None:
    raise RuntimeError("the task gave out, on purpose")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does to a process when memory runs out


def _hang() -> None:
    while True:
        time.sleep(3600)


def _leak_memory() -> None:
    _hoard.append(bytearray(os.urandom(2**12) * 2**11))  # 8 MiB that are in use


def _leak_children() -> None:
    _hoard.append(subprocess.Popen(["sleep", "3600"]))


def _leak_threads() -> None:
    threading.Thread(target=_hang, daemon=False).start()


_HAPPENS: dict[str, Callable[[], None]] = {
    "memory": _memory,
    "raise": _raise,
    "die": _die,
    "hang": _hang,
    "hoard": _leak_memory,
    "children": _leak_children,
    "threads": _leak_threads,
}


def mend_with(trainable_for: Callable[[Any], Any]) -> None:
    """Lets damaged embeddings be made again by who made them; that is no member that runs again."""
    if any(injection["do"] == "other bits" for injection in injections()):
        return

    def in_mending(mending: ModuleType) -> None:
        def mends(job: Any) -> Any:
            _mending.append(True)
            return trainable_for(job)

        mending.trainable_for = mends  # type: ignore[attr-defined]

    after_import("gtsearch.mending", in_mending)


# -- modules that are loaded later ----------------------------------------------------------------------------


def after_import(name: str, then: Callable[[ModuleType], None]) -> None:
    """Calls `then` with a module once it is loaded, so that it is loaded no sooner than it would be."""
    if name in sys.modules:
        then(sys.modules[name])
        return
    sys.meta_path.insert(0, _Late(name, then))


class _Late:
    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name, self.then = name, then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute, then = spec.loader.exec_module, self.then

        def executed(module: ModuleType) -> None:
            execute(module)
            then(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec
