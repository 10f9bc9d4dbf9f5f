"""The reaper as a program, with processes that stand in for Ray's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gtsearch import reaper

Start = Callable[..., "subprocess.Popen[bytes]"]
PACKAGES = str(Path(psutil.__file__).parent.parent)
SLEEP = [sys.executable, "-c", "import time; time.sleep(100)"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process, and ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, **how))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    (path / "file").write_text("")
    return path


def reap(start: Start, scratch: Path, driver: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", reaper.__file__, str(scratch), str(driver or os.getpid()), PACKAGES]
    return start(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def marked(start: Start, scratch: Path) -> subprocess.Popen[bytes]:
    return start(SLEEP, env={**os.environ, reaper.MARK: str(scratch)})


def test_a_run_that_is_gone_leaves_nothing(start: Start, scratch: Path) -> None:
    worker, bystander = marked(start, scratch), marked(start, scratch.with_name("scratch2"))
    process = reap(start, scratch)
    _, said = process.communicate(timeout=20)
    assert worker.wait(timeout=5) == -9
    assert bystander.poll() is None
    assert not scratch.exists()
    assert said.decode() == "gtsearch: the run was ended from outside\n"


def test_it_says_how_to_go_on(start: Start, scratch: Path) -> None:
    _, said = reap(start, scratch).communicate(reaper.RESUME + "runs/a b-é\n".encode(), timeout=20)
    assert said.decode() == "gtsearch: the run was ended from outside; go on with: gtsearch resume runs/a b-é\n"


def test_of_a_run_that_told_a_person_itself_it_says_nothing(start: Start, scratch: Path) -> None:
    worker = marked(start, scratch)
    process = reap(start, scratch)
    _, said = process.communicate(reaper.RESUME + b"runs/a\n" + reaper.HUSH + b"\n", timeout=20)
    assert said == b"" and worker.wait(timeout=5) == -9 and not scratch.exists()


def test_after_a_goodbye_it_cleans_up_without_a_word(start: Start, scratch: Path) -> None:
    worker = marked(start, scratch)
    process = reap(start, scratch)
    _, said = process.communicate(reaper.RESUME + b"runs/a\n" + reaper.GOODBYE + b"\n", timeout=20)
    assert (process.returncode, said) == (0, b"")
    assert worker.wait(timeout=5) == -9 and not scratch.exists()


def test_it_waits_for_as_long_as_the_run_lives(start: Start, scratch: Path) -> None:
    process = reap(start, scratch)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=reaper.LOOK_SECONDS + 0.5)
    assert scratch.exists()


def test_it_ends_an_agent_that_hides_behind_its_title(start: Start, scratch: Path) -> None:
    """Ray's agents write their title over command line and environment; their logs tell where they belong."""
    log = open(scratch / "agent.log", "wb")  # noqa: SIM115
    agent = start(["ray::DashboardAgent", *SLEEP[1:]], executable=sys.executable, stdout=log)
    editor = start(SLEEP, stdout=log)
    log.close()
    reaper.end(scratch)
    assert agent.wait(timeout=5) == -9
    assert editor.poll() is None  # whoever merely has a file of it open


def test_a_held_pipe_does_not_hide_the_end_of_a_run(start: Start, scratch: Path) -> None:
    """A child that the run forked holds the reaper's pipe open, and lives on."""
    child = f"""
import os, subprocess, sys
command = [sys.executable, "-I", "-S", {reaper.__file__!r}, {str(scratch)!r}, str(os.getpid()), {PACKAGES!r}]
read, write = os.pipe()
subprocess.Popen(command, stdin=read)
holder = subprocess.Popen({SLEEP!r}, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(holder.pid, flush=True)
os._exit(0)
"""
    driver = start([sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, said = driver.communicate(timeout=20)  # until the reaper has ended too: it has the same stderr
    psutil.Process(int(out)).kill()
    assert said.startswith(b"gtsearch: the run was ended from outside")
    assert not scratch.exists()


def test_ending_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    before = time.monotonic()
    reaper.end(tmp_path / "nothing")
    assert time.monotonic() - before < reaper.END_SECONDS
