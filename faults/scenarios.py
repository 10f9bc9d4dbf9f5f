"""What is inflicted, as data: `SCENARIOS`. Each is a row of the matrix; those that go together share a run folder.

A scenario's `strike` does it to a `Case` and notes what came of it as a `Fault`. Adding one is adding a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from faults.case import (
    DONE,
    GOES_ON_SECONDS,
    LEAVES_SECONDS,
    LINGER_SECONDS,
    Case,
    Fault,
    Running,
    Stuck,
)
from gtsearch import results
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY

START, PLANNING, RESUME, TABLES, REPORT = "start-up", "planning", "start of a resume", "tables", "figures and report"
SEARCH = ("target_search", "weak_search", "weak_gate", "probe", "report", "tradeoff")
MOMENTS = (
    START,
    PLANNING,
    "target_search",
    RESUME,
    "weak_search",
    "weak_gate",
    "probe",
    "report",
    "tradeoff",
    TABLES,
    REPORT,
)
"""When a fault may strike, in the order of a run. Those of SEARCH are purposes of members (`gtsearch.results`)."""


class Missed(Exception):
    """The moment did not come: the run had ended, or there was nothing to strike."""


Strike = Callable[[Case, str, str], None]


@dataclass(frozen=True)
class Scenario:
    """A row of the matrix.

    Attributes:
        name: what is done, in words.
        strike: does it to a case at a moment; `(case, name, moment)`.
        times: how often, on the synthetic experiment, at each of `moments`.
        real: how often on the real one, moments taking turns.
        moments: when; one of them for each time.
        together: how many of them one run folder takes, one after another.
        group: of those that share run folders; default: each scenario has its own.
        world: which experiment, where not the usual one.
        small_disk: whether the run folder needs a disk of its own.
    """

    name: str
    strike: Strike
    times: int = 1
    real: int = 0
    moments: tuple[str, ...] = ("",)
    together: int = 1
    group: str = ""
    world: str = "synthetic"
    small_disk: bool = False


# -- when -----------------------------------------------------------------------------------------------------


def reach(case: Case, moment: str) -> str:
    """Starts the run if it does not go on, and waits for a moment of it, drawn by chance; says which.

    Raises:
        Missed: it ended before.
    """
    rng, world = case.rng, case.world
    if moment == RESUME and not case.can_resume():
        _stop_halfway(case)
    if not case.lasts():
        case.start()
    assert case.running is not None
    running = case.running
    began = time.time() - (time.monotonic() - running.began)
    case.wait(running.ready.exists)  # a moment that has passed comes at once, and not before Python itself has begun
    if moment in (START, RESUME):
        seconds = rng.uniform(0, 1.5 if moment == START else 1.2 * world.first_seconds)
        case.sleep(seconds)
        told = f"{moment}, {seconds:.2f} s in"
    elif moment == PLANNING:
        case.wait(lambda: _is_newer(case.folder / ENVIRONMENT, began))
        seconds, lines = rng.uniform(0, world.first_seconds), case.lines()
        until = time.monotonic() + seconds
        case.wait(lambda: time.monotonic() > until or case.lines() > lines)
        told = f"{moment}, {seconds:.2f} s in"
    elif moment == TABLES:
        case.wait(lambda: case.lines() >= len(world.purposes))
        seconds = rng.uniform(0, world.tables_seconds)
        case.sleep(seconds)
        told = f"{moment}, {seconds:.2f} s after the last member"
    elif moment == REPORT:
        case.wait(lambda: _is_newer(case.folder / SUMMARY, began))
        seconds = rng.uniform(0, world.report_seconds)
        case.sleep(seconds)
        told = f"{moment}, {seconds:.2f} s in"
    else:
        places = [i for i, purpose in enumerate(world.purposes) if purpose == moment]
        ahead = [i for i in places if i >= case.lines()] or places
        line = rng.choice(ahead) + 1
        case.wait(lambda: case.lines() >= line)
        if not case.lasts() and running.process.returncode == 3:  # of an earlier fault, which took its time
            case.start()
            case.wait(lambda: case.lines() >= line)
        case.sleep(rng.uniform(0, 0.15))
        told = f"{moment}, at member {case.lines()}"
    if not case.lasts():
        raise Missed(f"the run ended before {told}")
    return told


def _is_newer(path: Path, began: float) -> bool:
    try:
        return path.stat().st_mtime >= began
    except OSError:
        return False


def _stop_halfway(case: Case) -> None:
    """Kills a run at a random member, so that there is something to resume. Not counted as a fault."""
    reach(case, case.rng.choice(SEARCH[:4]))
    assert case.running is not None
    os.kill(case.running.pid, signal.SIGKILL)
    case.running.process.wait()


# -- signals --------------------------------------------------------------------------------------------------


def stop(
    case: Case, name: str, moment: str, number: int, to_all: bool = False, again: bool = False, kills: bool = False
) -> None:
    """Sends the driver a signal. `to_all`: its process group too, as a terminal does; `again`: a second one follows."""
    told = reach(case, moment)
    running, fault = case.running, case.note(name, told)
    assert running is not None
    send = os.killpg if to_all else os.kill
    since, lines = time.monotonic(), case.lines()
    send(running.pid, number)
    if again:
        delay = case.rng.uniform(0.05, 2)
        case.sleep(delay)
        if case.lasts():
            since = time.monotonic()
            send(running.pid, number)
            fault.moment += f", again after {delay:.2f} s"
    case.watch(fault, since, lines, is_end=True)
    case.remember()
    if again and (fault.went_on_seconds or 0) > LEAVES_SECONDS:
        fault.wrong.append(f"a second signal took {fault.went_on_seconds:.1f} s")
    if number == signal.SIGKILL:
        case.expect_exit(fault, (-signal.SIGKILL, *DONE), says_resume=False)
        later = threading.Timer(LINGER_SECONDS, _no_orphans, (running, fault))
        later.start()
        case.timers.append(later)
        return
    started = case.can_resume()
    whole = DONE if (case.folder / SUMMARY).exists() else ()  # it was about to end anyway
    at_once = (-number,) if again else ()  # by the system, while Python was leaving: a shell calls it 128 + number
    case.expect_exit(fault, (128 + number, *at_once, *whole), started)
    case.leftovers(running, fault)
    fault.wrong += [f"left behind: {path}" for path in case.strangers()[:3]]


def _no_orphans(running: Running, fault: Fault) -> None:
    for process in running.alive():
        with contextlib.suppress(psutil.Error):
            fault.wrong.append(f"an orphan: {' '.join(process.cmdline())[:80]}")


# -- processes of Ray -----------------------------------------------------------------------------------------

PROCESSES = {
    "worker": r"^ray::.*Trainable",
    "gcs_server": r"/gcs/gcs_server ",
    "raylet": r"/raylet/raylet ",
    "dashboard agent": r"dashboard/agent\.py|DashboardAgent",
    "runtime env agent": r"runtime_env/agent/main\.py|RuntimeEnvAgent",
    "log monitor": r"log_monitor\.py",
}


def kill(case: Case, name: str, moment: str, which: str) -> None:
    """Kills a process of the run's Ray."""
    told = reach(case, moment)
    running = case.running
    assert running is not None
    if which == "worker" and _runs_again(case):  # hit twice a member counts as failed, by design: another answer
        case.wait(lambda: not _runs_again(case), 20)
        told = f"{moment}, at member {case.lines()}"
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [p for p in running.descendants() if re.search(PROCESSES[which], _command(p))]
        return bool(found)

    if not case.wait(look, 15):
        raise Missed(f"there is no {which}")
    fault = case.note(name, told)
    since, lines = time.monotonic(), case.lines()
    case.remember()
    with contextlib.suppress(psutil.Error):
        case.rng.choice(sorted(found, key=lambda p: p.pid)).kill()
    case.watch(fault, since, lines)
    case.expect_exit(fault, (*DONE, 3), says_resume=True)
    if fault.ended not in (None, *DONE):
        case.leftovers(running, fault)


def _runs_again(case: Case) -> bool:
    """Whether a member that was lost with its worker is yet to come in."""
    rows, _ = results.read_log(case.folder / LOG)
    return sum(1 for row in rows if row.get("lost")) > sum(1 for row in rows if row["attempt"] > 0)


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


# -- from within ----------------------------------------------------------------------------------------------


def inject(
    case: Case,
    name: str,
    moment: str,
    injection: Mapping[str, Any],
    words: Sequence[str] = (),
    strikes_once: bool = True,
    ends: bool = False,
    codes: Sequence[int] = (*DONE, 3),
) -> None:
    """Starts the run with an injection (`faults.inject`) and watches what comes of it."""
    if case.lasts():
        case.finish()
        raise Missed("the run has not ended")
    token = case.place / f"struck-{len(case.faults)}"
    given = dict(injection)
    if "nth" in given and isinstance(given["nth"], tuple):
        given["nth"] = case.rng.randint(*given["nth"])
    if strikes_once:
        given["once"] = str(token)
    if given["do"] == "fill":
        assert case.disk is not None
        given["ballast"] = str(case.disk / "ballast")
    if "share" in given:
        given["salt"] = case.seed
    if given["do"] == "clock":
        given["after"] = case.rng.uniform(0, case.world.first_seconds + 4)
    case.start([given], words)
    fault = case.note(
        name, ", ".join(f"{key} {value}" for key, value in given.items() if key in ("at", "nth", "after"))
    )
    if strikes_once and not case.wait(token.exists):
        case.faults.remove(fault)
        raise Missed("it did not strike")
    since, lines = time.monotonic(), case.lines()
    case.remember()
    if strikes_once or ends:
        case.watch(fault, since, lines, is_end=ends)
    else:
        case.wait(lambda: False)
        assert case.running is not None
        fault.ended = case.running.process.poll()
    if given["do"] == "fill":
        Path(given["ballast"]).unlink(missing_ok=True)
        case.remember()
        if fault.ended == 2 and not case.folder.exists():
            return  # refused before anything was begun
    case.expect_exit(fault, codes, says_resume=True)


# -- files ----------------------------------------------------------------------------------------------------


def halfway(case: Case, lines: int | None = None) -> int:
    """Lays down what a run that was killed after so many members leaves; default: a random number of them. Where there
    is a run already, it is taken as it is. Returns how many members it has."""
    if case.folder.exists():
        return case.lines()
    shutil.copytree(case.world.reference, case.folder)
    log = (case.folder / LOG).read_bytes().splitlines(keepends=True)
    lines = case.rng.randrange(1, len(log)) if lines is None else lines
    (case.folder / LOG).write_bytes(b"".join(log[:lines]))
    for path in [*case.folder.glob("*.parquet"), case.folder / SUMMARY, case.folder / "report.html"]:
        path.unlink()
    shutil.rmtree(case.folder / "figures")
    return lines


def tear(case: Case, name: str, moment: str, how: str) -> None:
    """Tears the last line of members.log."""
    lines = halfway(case)
    log = case.folder / LOG
    text = log.read_bytes()
    last = text.splitlines(keepends=True)[-1]
    cut = case.rng.randrange(1, len(last) - 1)
    torn = {
        "cut": text[: len(text) - cut],
        "half of the next": text + last[:cut],
        "noughts": text[: len(text) - cut] + b"\0" * cut,
        "no newline": text[:-1],
        "newline only": text[: len(text) - len(last)] + last[: len(last) - cut - 1] + b"\n",
    }[how]
    log.write_bytes(torn)
    _goes_on(case, name, f"at member {lines}, {how}")


def _goes_on(case: Case, name: str, moment: str) -> None:
    case.remember()
    case.start()
    fault = case.note(name, moment)
    case.watch(fault, time.monotonic(), case.lines())
    case.expect_exit(fault, DONE, says_resume=False)


def cut_off(case: Case, name: str, moment: str, file: str) -> None:
    """Truncates a file of a finished run: a resume makes it anew."""
    if case.lasts():
        case.finish()
    if not case.folder.exists():
        shutil.copytree(case.world.reference, case.folder)
    path = case.folder / file
    size = path.stat().st_size
    os.truncate(path, case.rng.randrange(size // 4, size))
    case.remember()
    case.start()
    fault = case.note(name, file)
    case.watch(fault, time.monotonic(), case.lines(), is_end=True)
    case.expect_exit(fault, DONE, says_resume=False)


def refused(
    case: Case,
    name: str,
    moment: str,
    change: Callable[[Case], tuple[Path, bytes]],
    code: int,
    untouched: bool,
    injections: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Changes a file so that a resume must refuse it in one line, and puts it back.

    Args:
        change: changes a file of a run that was stopped; says which, and what it was before.
        untouched: whether the resume must leave every file as it was.
    """
    if case.lasts():
        case.stop_quietly()
    path, before = change(case)
    case.remember()
    files = _contents(case.folder)
    running = case.start(injections)
    fault = case.note(name, path.name if path.parent == case.folder else f"{path.parent.name}/{path.name[:8]}...")
    case.watch(fault, time.monotonic(), case.lines() + 10**9)
    case.expect_exit(fault, (code,), says_resume=code == 3)
    told = running.err().strip().splitlines() if code == 2 else [running.out() + running.err()]
    if code == 2 and len(told) != 1:
        fault.wrong.append(f"{len(told)} lines on standard error")
    if path.stem[:16] not in "".join(told):
        fault.wrong.append("does not name the file")
    if untouched and _contents(case.folder) != files:
        fault.wrong.append("touched the run folder")
    case.leftovers(running, fault)
    path.write_bytes(before)
    case.running = None


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mended(case: Case, name: str, moment: str, change: Callable[[Case], tuple[Path, bytes]], says: str) -> None:
    """Changes a file that a resume makes again, and says so."""
    if case.lasts():
        case.stop_quietly()
    path, _ = change(case)
    _goes_on(case, name, f"{path.parent.name}/{path.name[:8]}..., at member {case.lines()}")
    assert case.running is not None
    case.wait(lambda: False)
    if says not in case.running.out():
        case.faults[-1].wrong.append(f"does not say: {says}")


def spoil_all(case: Case, name: str, moment: str) -> None:
    """Changes every embedding under a run that goes on, which ends unless none is needed any more."""
    told = reach(case, moment)
    files = sorted((case.folder / "embeddings").glob("*.safetensors"))
    if not files:
        raise Missed("there is no embedding yet")
    for path in files:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    fault = case.note(name, f"{told}, {len(files)} of them")
    since, lines = time.monotonic(), case.lines()
    case.remember()
    case.watch(fault, since, lines)
    case.expect_exit(fault, (*DONE, 3), says_resume=True)


def other_schema(case: Case, schema: int) -> tuple[Path, bytes]:
    halfway(case)
    path = case.folder / ENVIRONMENT
    before = path.read_bytes()
    path.write_text(json.dumps(json.loads(before) | {"schema": schema}))
    return path, before


def broken_file(case: Case, file: str) -> tuple[Path, bytes]:
    halfway(case)
    path = case.folder / file
    before = path.read_bytes()
    os.truncate(path, len(before) // 2)
    return path, before


def changed_embedding(case: Case, how: str) -> tuple[Path, bytes]:
    """Stops a run between a weak model and a target that needs its embedding, and spoils that."""
    if case.spoiled is None:
        case.spoiled = _needed_embedding(case)
    path = case.spoiled
    before = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        os.truncate(path, len(before) // 2)
    else:
        at = case.rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    return path, before


def _needed_embedding(case: Case) -> Path:
    rows, _ = results.read_log(case.world.reference / LOG)
    place = {row["run_id"]: i for i, row in enumerate(rows)}
    needs = [i for i, row in enumerate(rows) if row["weak_run_id"] in place and i > place[row["weak_run_id"]] + 1]
    target = case.rng.choice(needs)
    source = rows[place[rows[target]["weak_run_id"]]]
    halfway(case, case.rng.randrange(place[source["run_id"]] + 1, target + 1))
    kept = next(e for e in source["embeddings"] if e["epoch"] == rows[target]["weak_epoch"])
    if rows[target]["dose"] is not None:
        kept = next(e for e in source["embeddings"] if e["dose"] == rows[target]["dose"])
    return case.folder / str(kept["path"])


def older_version(case: Case, name: str, moment: str, versions: Mapping[str, str]) -> None:
    """Resumes what an older version began: it goes on, and says so."""
    lines = halfway(case)
    path = case.folder / ENVIRONMENT
    environment = json.loads(path.read_text())
    environment["versions"] |= versions
    path.write_text(json.dumps(environment))
    _goes_on(case, name, f"at member {lines}, {', '.join(versions)}")
    assert case.running is not None
    case.running.process.wait(GOES_ON_SECONDS * 5)
    said = case.running.out() + case.running.err()
    case.faults[-1].wrong += [f"does not say {v}" for v in versions.values() if v not in said]


# -- two at once ----------------------------------------------------------------------------------------------


def rival(case: Case, name: str, moment: str, second: str) -> None:
    """Starts a second process on a run folder that one works in: it is refused in one line."""
    if moment == RESUME:
        halfway(case)
    told = reach(case, moment)
    first, lines, since = case.running, case.lines(), time.monotonic()
    assert first is not None
    case.remember()
    fault = case.note(name, told)
    words = ["resume", case.out] if second == "resume" else ["run", *case.world.words, "--out", case.out]
    other = Running(case, words, [])
    case.all.append(other)
    code = other.process.wait(GOES_ON_SECONDS)
    if code in DONE and first.process.poll() is not None:
        case.faults.remove(fault)
        raise Missed("the first was done before the second had begun")
    if code != 2 or len(other.err().strip().splitlines()) != 1:
        fault.wrong.append(f"the second ended with {code}: {other.err().strip()[-200:]}")
    case.leftovers(other, fault)
    case.watch(fault, since, lines)


def race(case: Case, name: str, moment: str, word: str) -> None:
    """Two processes on one run folder at the same moment: one of them is refused."""
    words = ["run", *case.world.words, "--out", case.out]
    if word == "resume":
        lines = halfway(case)
        words = ["resume", case.out]
    case.remember()
    fault = case.note(name, "at once" if word == "run" else f"at once, at member {lines}")
    since, lines = time.monotonic(), case.lines()
    both = [Running(case, [*words, "--workers", "2"], []) for _ in range(2)]
    case.all += both
    while all(one.process.poll() is None for one in both) and time.monotonic() - since < GOES_ON_SECONDS:
        time.sleep(0.05)
    ended = [one for one in both if one.process.poll() is not None]
    if len(ended) != 1 or ended[0].process.returncode != 2 or len(ended[0].err().strip().splitlines()) != 1:
        fault.wrong.append(f"one of two should be refused: {[(o.process.poll(), o.err()[-100:]) for o in both]}")
    left = [one for one in both if one not in ended]
    case.running = left[0] if left else None
    if left:
        case.watch(fault, since, lines)
    else:
        raise Stuck(f"{name}: neither goes on")


# -- the list -------------------------------------------------------------------------------------------------


def _refuses(change: Callable[[Case], tuple[Path, bytes]]) -> Strike:
    return partial(refused, change=change, code=2, untouched=True)


_INT, _TERM, _KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
_FILES = (  # in the order in which a run writes them; how many of each it is sure to write after any resume
    (SPEC, 1),
    (ENVIRONMENT, 1),
    ("study.log", 10),
    (LOG, 25),
    (".safetensors", 8),
    ("trials.parquet", 1),
    ("curves.parquet", 1),
    ("probes.parquet", 1),
    ("scores.parquet", 1),
    ("ledger.parquet", 1),
    (SUMMARY, 1),
    ("figures/*.png", 2),
    ("figures/*.svg", 2),
    ("report.html", 1),
)
_HANG = ("--set", "resources.hang_seconds=8")

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("SIGKILL of the driver", partial(stop, number=_KILL), 6, 8, MOMENTS, together=4),
    Scenario("SIGTERM of the driver", partial(stop, number=_TERM), 2, 2, MOMENTS, together=4),
    Scenario("SIGINT of the driver", partial(stop, number=_INT), 1, 1, MOMENTS, together=4),
    Scenario("Ctrl-C in its terminal", partial(stop, number=_INT, to_all=True), 1, 2, MOMENTS, together=4),
    Scenario("Ctrl-C twice", partial(stop, number=_INT, to_all=True, again=True), 1, 1, MOMENTS, together=4),
    Scenario("SIGKILL of a worker", partial(kill, which="worker"), 4, 3, SEARCH, together=3),
    *(
        Scenario(f"SIGKILL of {which}", partial(kill, which=which), 1, real, SEARCH[:4], together=4, group="daemons")
        for which, real in (("gcs_server", 1), ("raylet", 1))
    ),
    *(
        Scenario(f"SIGKILL of the {which}", partial(kill, which=which), 1, 0, SEARCH[:4], together=4, group="agents")
        for which in ("dashboard agent", "runtime env agent", "log monitor")
    ),
    Scenario("a worker out of memory: MemoryError", partial(inject, injection={"do": "memory", "share": 0.1}), 4),
    Scenario("a worker out of memory: killed", partial(inject, injection={"do": "die", "share": 0.1}), 4),
    *(
        Scenario(
            f"disk full: {file}",
            partial(inject, injection={"do": "fill", "at": file, "nth": (1, most)}, ends=True),
            2,
            int(file in (LOG, ".safetensors", SUMMARY)),
            together=5,
            group="disk full",
            small_disk=True,
        )
        for file, most in _FILES
    ),
    *(
        Scenario(f"a torn last line: {how}", partial(tear, how=how), 1, int(how == "cut"))
        for how in ("cut", "half of the next", "noughts", "no newline", "newline only")
    ),
    *(
        Scenario(f"truncated: {file}", partial(cut_off, file=file), 1, together=3, group="truncated")
        for file in ("trials.parquet", "curves.parquet", "scores.parquet", "ledger.parquet", SUMMARY, "study.log")
    ),
    *(
        Scenario(
            f"the clock jumps {words} by a day",
            partial(inject, injection={"do": "clock", "seconds": seconds}, strikes_once=False),
            2,
        )
        for words, seconds in (("forwards", 86400), ("backwards", -86400))
    ),
    Scenario(
        "a second run into the folder", partial(rival, second="run"), 1, 0, (PLANNING, "weak_search"), 3, "rivals"
    ),
    Scenario("a resume beside a run", partial(rival, second="resume"), 1, 0, (PLANNING, "report", REPORT), 3, "rivals"),
    Scenario("a resume beside a resume", partial(rival, second="resume"), 2, 0, (RESUME,)),
    Scenario("two runs at once", partial(race, word="run"), 2),
    Scenario("two resumes at once", partial(race, word="resume"), 2),
    *(
        Scenario("resumed by a newer version", partial(older_version, versions=versions))
        for versions in ({"gtsearch": "0.0.9"}, {"torch": "2.6.0"}, {"gtsearch": "0.0.8", "optuna": "5.0.0rc1"})
    ),
    *(
        Scenario(
            f"of another schema: {schema}", _refuses(partial(other_schema, schema=schema)), 1, 0, ("",), 4, "refused"
        )
        for schema in (2, 99)
    ),
    Scenario("truncated: spec.yaml", _refuses(partial(broken_file, file=SPEC)), 1, 0, ("",), 4, "refused"),
    Scenario(
        "truncated: environment.json",
        partial(mended, change=partial(broken_file, file=ENVIRONMENT), says="it is made anew"),
        together=4,
        group="refused",
    ),
    *(
        Scenario(
            f"an embedding {how} between stages",
            partial(mended, change=partial(changed_embedding, how=how), says="it is made again"),
            2,
            int(how == "changed"),
        )
        for how in ("changed", "deleted", "truncated")
    ),
    Scenario(
        "an embedding that cannot be made again",
        partial(
            refused,
            change=partial(changed_embedding, how="changed"),
            code=3,
            untouched=False,
            injections=({"do": "other bits"},),
        ),
        2,
    ),
    Scenario("all embeddings changed under a run", spoil_all, 2, 0, ("probe", "report"), 2),
    Scenario("NaN and inf in the loss", partial(stop, number=_KILL), 1, 0, SEARCH[:4], together=4, world="nan"),
    Scenario("a task that raises", partial(stop, number=_KILL), 1, 0, SEARCH[:4], together=4, world="raises"),
    Scenario("a task that hangs", partial(inject, injection={"do": "hang", "share": 0.1}, words=_HANG), 3),
    *(
        Scenario(
            f"a task that leaks {what}", partial(inject, injection={"do": do, "share": 0.5}, strikes_once=False), 2
        )
        for what, do in (("memory", "hoard"), ("children", "children"), ("threads", "threads"))
    ),
)


# -- who shares a run folder ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """Faults inflicted on one run folder, one after another. `name`: by which it is run again."""

    name: str
    world: str
    steps: tuple[tuple[Scenario, str], ...]

    @property
    def small_disk(self) -> bool:
        return any(scenario.small_disk for scenario, _ in self.steps)


def chains(scenarios: Sequence[Scenario] = SCENARIOS) -> list[Chain]:
    """Every fault of the matrix, in chains."""
    groups: dict[tuple[str, str], list[tuple[Scenario, str]]] = {}
    for scenario in scenarios:
        group = scenario.group or scenario.name
        asked = [moment for moment in scenario.moments for _ in range(scenario.times)]
        real = [scenario.moments[i] for i in _spread(scenario.real, len(scenario.moments))]
        groups.setdefault((scenario.world, group), []).extend((scenario, moment) for moment in asked)
        groups.setdefault(("smoke", group), []).extend((scenario, moment) for moment in real)
    return [
        Chain(f"{world}/{group}/{number}", world, tuple(hand))
        for (world, group), steps in groups.items()
        if steps
        for number, hand in enumerate(_dealt(steps))
    ]


def _spread(times: int, among: int) -> list[int]:
    """So many of a list, evenly."""
    return [min(among - 1, int((i + 0.5) * among / times)) for i in range(times)]


def _dealt(steps: Sequence[tuple[Scenario, str]]) -> Iterator[list[tuple[Scenario, str]]]:
    """Steps in hands of as many as go together, each in the order of a run."""
    hands = -(-len(steps) // steps[0][0].together)
    for hand in range(hands):
        yield sorted(steps[hand::hands], key=lambda step: MOMENTS.index(step[1]) if step[1] in MOMENTS else 0)
