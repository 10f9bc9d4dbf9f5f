"""A local Ray for real: what it opens, what it leaves, and how it is left when it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

# isort: off
from gtsearch import cluster  # first: it says how ray is loaded

# isort: on
from ray.experimental import internal_kv

from gtsearch import local, reaper
from gtsearch.errors import BrokenOff, ResourcesError
from gtsearch.resources import Resources
from gtsearch.stops import GetOut, Stop

ONE = Resources(workers=1, cpus_per_trial=1.0, gpus_per_trial=0.0)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary folders that is this test's alone, with a path short enough for sockets. pytest has its own
    already (`tmp_path`)."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def eventually(question: object, seconds: float = 20) -> None:
    assert callable(question)
    until = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.05)


def listening(processes: list[psutil.Process]) -> set[str]:
    """The addresses on which processes wait for connections."""
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def ask_until_out() -> None:
    """What Tune asks for each trial."""
    with contextlib.suppress(GetOut):
        internal_kv._internal_kv_get(b"anything")


def test_a_lost_ray_is_told_and_left_behind_and_another_starts(base: Path) -> None:
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    told, heard = [], threading.Event()

    def on_loss(reason: str) -> None:
        told.append(reason)
        heard.set()

    with cluster.connected(None, ONE, False, on_loss) as link:
        assert link.watch.look() is None
        family = reaper.processes_of(link.scratch.path)
        gcs = next(process for process in family if process.name() == "gcs_server")
        gcs.kill()
        asked = threading.Thread(target=ask_until_out, daemon=True)
        asked.start()
        eventually(link.watch.look)
        assert heard.wait(20) and asked.is_alive()
        assert asked.ident is not None
        Stop(thread=asked.ident).get_out()
        asked.join(timeout=10)
        assert not asked.is_alive()
        began = time.monotonic()
    assert time.monotonic() - began < 15  # Ray's own patience with a GCS server is 60 s
    assert told == ["Ray's GCS server is gone"]
    assert not psutil.wait_procs(family, timeout=2)[1]

    in_thread: list[object] = []

    def run() -> None:
        with cluster.connected(None, ONE, False, on_loss) as link:
            family = reaper.processes_of(link.scratch.path)
            in_thread.extend([family, listening([psutil.Process(), *family])])
            in_thread.append(stat.S_IMODE(link.scratch.path.stat().st_mode))
            in_thread.append([path.name for path in base.iterdir()])
            with pytest.raises(ResourcesError, match="connected to a Ray already"), local.started(ONE, False, on_loss):
                pass

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    family, addresses, mode, folders = in_thread
    assert isinstance(family, list) and len(family) >= 4
    assert addresses in ({"127.0.0.1"}, {"127.0.0.1", "::ffff:127.0.0.1"}, {"::ffff:127.0.0.1"})
    assert mode == 0o700 and isinstance(folders, list) and len(folders) == 1
    assert not psutil.wait_procs(family, timeout=2)[1]
    assert not list(base.iterdir())
    assert len(told) == 1  # one's own leaving is no loss
    assert dict(os.environ) == before and signal.getsignal(signal.SIGTERM) is handler


DRIVER = """
import os, sys, time
from pathlib import Path
from gtsearch import cluster
from gtsearch.resources import Resources
with cluster.connected(None, Resources(1, 1.0, 0.0), False) as link:
    link.resumed_by(Path("runs/mine"))
    print(link.scratch.path, flush=True)
    time.sleep(100)
"""


def test_a_killed_driver_leaves_nothing_and_says_how_to_go_on(base: Path) -> None:
    home = base / "home"
    home.mkdir(mode=0o500)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(base), "HOME": str(home), "RAY_AUTH_MODE": "token"},
    )
    assert driver.stdout is not None
    scratch = Path(driver.stdout.readline().strip())
    family = reaper.processes_of(scratch)
    assert len(family) >= 4
    began = time.monotonic()
    driver.kill()
    _, said = driver.communicate(timeout=30)
    eventually(lambda: not scratch.exists(), seconds=10)
    assert time.monotonic() - began < 10
    assert not psutil.wait_procs(family, timeout=2)[1]
    assert said == "gtsearch: the run was ended from outside; go on with: gtsearch resume runs/mine\n"
    assert list(base.iterdir()) == [home] and not list(home.iterdir())


def test_what_died_with_its_reaper_is_swept(base: Path) -> None:
    with local.scratch() as living:
        dead = base / f"{local.PREFIX}dead"
        dead.mkdir()
        (dead / local.OWNER).touch()
        foreign = base / f"{local.PREFIX}foreign"
        foreign.mkdir()
        left = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(100)"], env={**os.environ, reaper.MARK: str(dead)}
        )
        with local.scratch():
            assert left.wait(timeout=5) == -9
            assert not dead.exists() and foreign.exists() and living.path.exists()
    assert list(base.iterdir()) == [foreign]


def test_without_a_reaper_the_run_goes_on(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(base / "no-python"))
    with local.scratch() as own:
        own.tell(b"anything")
        assert own.path.is_dir()
    assert not own.path.exists()
    assert capsys.readouterr().err == (
        "gtsearch: cannot start the process that cleans up should this one be killed: No such file or directory; "
        "the next run does it\n"
    )


def test_a_killed_reaper_is_no_error(base: Path) -> None:
    with local.scratch() as own:
        assert own.process is not None
        own.process.kill()
        own.process.wait()
    assert not own.path.exists()


def test_nobody_waits_for_many_files_to_be_deleted(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "DELETE_SECONDS", 0.0)
    with local.scratch() as own:
        for number in range(3000):
            (own.path / str(number)).mkdir()
    assert own.path.exists() and own.process is not None
    assert own.process.wait(20) == 0 and not own.path.exists()


def test_the_folder_goes_where_sockets_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * local.LONGEST_BASE)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with local.scratch() as own:
        assert own.path.parent == Path("/tmp")


def test_no_place_for_temporary_files_is_one_line(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(base / "gone"))
    message = r"cannot make a temporary folder in .*/gone: No such file or directory; name another in TMPDIR"
    with pytest.raises(ResourcesError, match=message), local.scratch():
        pass


def test_a_ray_that_does_not_start_ends_the_run_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("timed out\nwaiting for a port")

    monkeypatch.setattr(local, "_start", start)
    told = r"^cannot start a local Ray: timed out waiting for a port$"
    with pytest.raises(BrokenOff, match=told), local.started(ONE, False, print):
        pass
