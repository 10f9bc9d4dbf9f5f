"""A Ray of our own on this machine, which never outlives the run that started it.

Entries: `started`, and `scratch` for the folder alone. All of Ray's files, its token too, are in one temporary
folder, and everything listens on loopback only. Leaving ends Ray's processes by SIGKILL first, since nothing of theirs
is wanted and Ray waits for minutes on daemons that are gone. A run that is itself killed is cleaned up by its reaper
(`gtsearch.reaper`), and where that died too by the next run.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray._private import utils as ray_utils
from ray._private import worker as ray_worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.exceptions import RpcError
from ray.experimental import internal_kv

from gtsearch import reaper
from gtsearch.errors import BrokenOff, ResourcesError
from gtsearch.resources import Resources
from gtsearch.watch import Watch, child_lives

OBJECT_STORE_BYTES = 100 * 2**20  # reports are small and no tensor travels

PREFIX = "gts-"
LONGEST_BASE = 24  # bytes: under it Ray's sockets stay within the 103 that a path of one may have
OWNER = "gtsearch-owner"  # a file that the run keeps locked while it lives
TOKEN = "token"
ASK_SECONDS = 2
DELETE_SECONDS = 1.0  # that a run waits for its temporary files to go
DEADLINE_EXCEEDED = 4  # of gRPC
RAY = "r"  # a folder that Ray opens to everybody; the one it is in is not

_ENVIRONMENT = {
    "RAY_gcs_rpc_server_reconnect_timeout_s": "1000000",  # Ray aborts the process after it; the watch is sooner
    "RAY_task_events_report_interval_ms": "0",  # nobody reads them, and Ray would wait to send them
    ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",  # Ray's word for loopback only
}
_OF_RAY = ("RAY_AUTH_MODE", "PYTHONBREAKPOINT")  # what Ray sets by itself


@dataclass(frozen=True)
class Scratch:
    """A temporary folder of this run, and the reaper that deletes it should the run be killed."""

    path: Path
    process: subprocess.Popen[bytes] | None

    def tell(self, line: bytes) -> None:
        """One line for the reaper."""
        if self.process is not None and self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):  # it was killed
                self.process.stdin.write(line + b"\n")


@dataclass(frozen=True)
class Link:
    """What a run holds of the Ray that it is on.

    Attributes:
        scratch: a folder for files that nobody needs after the run.
        watch: says whether Ray is still there.
    """

    scratch: Scratch
    watch: Watch

    def resumed_by(self, folder: Path) -> None:
        """Says which run folder a person is to go on with, should this process be killed."""
        self.scratch.tell(reaper.RESUME + os.fsencode(folder))

    def hush(self) -> None:
        """Says that this process ends out of order, and has told the person itself. Of a signal's handler."""
        self.scratch.tell(reaper.HUSH)


@contextlib.contextmanager
def started(resources: Resources, verbose: bool, on_loss: Callable[[str], None]) -> Iterator[Link]:
    """A local Ray, for as long as the context lasts. Works in any thread.

    Args:
        on_loss: called once, in another thread, with one line, when a daemon of this Ray is gone.

    Raises:
        BrokenOff: Ray cannot start.
        ResourcesError: this process has one already.
    """
    if ray.is_initialized():
        raise ResourcesError("this process is connected to a Ray already; leave it with ray.shutdown() first")
    with scratch() as own, _surroundings(own.path):
        try:
            try:
                _start(own.path, resources, verbose)
            except Exception as error:
                raise BrokenOff(f"cannot start a local Ray: {' '.join(str(error).split())}") from None
            with Watch(_daemons(), on_loss) as watch:
                ask_in_turns()
                yield Link(own, watch)
        finally:
            _leave(own.path)


class _InTurns:
    """Ray's client of its key-value store, which asks again every few seconds instead of waiting.

    Tune asks the store for each trial. Ray's wait for a GCS server that is gone has no end, and no exception gets out
    of it; between two questions one does.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def internal_kv_get(self, key: bytes, namespace: bytes | None = None, timeout: float | None = None) -> Any:
        while True:
            try:
                return self.client.internal_kv_get(key, namespace, timeout or ASK_SECONDS)
            except RpcError as error:
                if timeout is not None or error.rpc_code != DEADLINE_EXCEEDED:
                    raise


def ask_in_turns() -> None:
    """Makes what waits for the GCS server of the Ray that this process is on open to exceptions."""
    store: Any = internal_kv
    store.global_gcs_client = _InTurns(store.global_gcs_client)


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """A temporary folder that is deleted when the context is left or this process dies, however it does.

    Raises:
        ResourcesError: there is no place for one.
    """
    base = _base()
    _sweep(base)
    try:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(path / OWNER, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise ResourcesError(
            f"cannot make a temporary folder in {base}: {error.strerror}; name another in TMPDIR, "
            f"of at most {LONGEST_BASE} characters"
        ) from None
    with contextlib.suppress(OSError):  # a file system without locks: there nobody sweeps either
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    own = Scratch(path, _reaper(path))
    try:
        yield own
    finally:
        reaper.end_processes(path)
        own.tell(reaper.GOODBYE)
        if own.process is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                own.process.communicate(timeout=DELETE_SECONDS)
        if own.process is None or own.process.poll() is not None:
            reaper.end(path)  # it was killed; else it deletes what thousands of jobs left, and nobody waits for it
        os.close(lock)


def _base() -> Path:
    """Where temporary folders go: TMPDIR, unless the paths of Ray's sockets would become too long there."""
    base = Path(tempfile.gettempdir()).absolute()
    return base if len(os.fsencode(base)) <= LONGEST_BASE else Path("/tmp")


def _reaper(path: Path) -> subprocess.Popen[bytes] | None:
    """A process that waits for this one to end. Its session is its own, so that a terminal's Ctrl-C passes it by."""
    packages = str(Path(psutil.__file__).parent.parent)
    command = [sys.executable, "-I", "-S", reaper.__file__, str(path), str(os.getpid()), packages]
    try:
        return subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", start_new_session=True
        )
    except OSError as error:
        print(
            f"gtsearch: cannot start the process that cleans up should this one be killed: {error.strerror}; "
            "the next run does it",
            file=sys.stderr,
        )
        return None


def _sweep(base: Path) -> None:
    """Ends what runs left behind that died together with their reaper."""
    for path in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != os.getuid() or path.is_symlink():
                continue
            lock = os.open(path / OWNER, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the run lives
                reaper.end(path)
            finally:
                os.close(lock)


@contextlib.contextmanager
def _surroundings(path: Path) -> Iterator[None]:
    """What Ray reads of the environment, while it is ours."""
    ours = dict(_ENVIRONMENT)
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        token = os.open(path / TOKEN, os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(token, secrets.token_hex(32).encode())
        os.close(token)
        ours["RAY_AUTH_TOKEN_PATH"] = str(path / TOKEN)
    before = {name: os.environ.get(name) for name in (*ours, *_OF_RAY)}
    cluster, logs = ray_constants.ENABLE_RAY_CLUSTER, ray_worker._worker_logs_enabled
    os.environ.update(ours)
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER, ray_worker._worker_logs_enabled = cluster, logs
        _read_again()


def _read_again() -> None:
    """Ray keeps what it has read of the environment."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _start(path: Path, resources: Resources, verbose: bool) -> None:
    ray_worker._worker_logs_enabled = verbose  # Ray tells of a dead raylet on stdout, with pages of its log
    handler = ray_utils.set_sigterm_handler
    os.environ[reaper.MARK] = str(path)  # for Ray's processes and nobody else's
    ray_utils.set_sigterm_handler = lambda handler: None  # whoever runs us has one
    try:
        ray.init(
            address="local",
            num_cpus=math.ceil(resources.workers * resources.cpus_per_trial),
            num_gpus=math.ceil(resources.workers * resources.gpus_per_trial),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.FATAL,
            _temp_dir=str(path / RAY),
        )
    finally:
        ray_utils.set_sigterm_handler = handler
        del os.environ[reaper.MARK]


def _daemons() -> dict[str, Callable[[], bool]]:
    """Those without which no work is given out. Ray's agents need no look: their raylet ends with them."""
    node: Any = ray_worker._global_node
    kinds = {
        "Ray's GCS server": ray_constants.PROCESS_TYPE_GCS_SERVER,
        "Ray's raylet": ray_constants.PROCESS_TYPE_RAYLET,
    }
    return {name: partial(child_lives, node.all_processes[kind][0].process) for name, kind in kinds.items()}


def _leave(path: Path) -> None:
    """Ends Ray's processes, then forgets them: in this order Ray asks nobody and waits for nobody."""
    ray_worker._worker_logs_enabled = False
    reaper.end_processes(path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ray.shutdown()
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():  # Ray gives SIGTERM back to the system, and Python does not know
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
