"""A Ray cluster of several nodes on this machine, started as a person starts one, with a token of its own."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from formula_trainable import FormulaTrainable

from gtsearch.errors import ResourcesError
from gtsearch.survey import survey
from gtsearch.trainables import STEP_SECONDS, CohortTrainable, Json, trainable_for

RAY = Path(sys.executable).parent / "ray"
OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private", "--uts"]


@dataclass
class Cluster:
    """A cluster: `nodes` are the processes that hold one each, the head first."""

    folder: Path
    port: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def size(self) -> int:
        """How many nodes are alive."""
        try:
            return len(survey(self.address).nodes)
        except ResourcesError:
            return 0

    def add(self, *words: str, name: str = "", hides: Path | None = None) -> subprocess.Popen[bytes]:
        """Another node; the first is the head.

        Args:
            words: for `ray start`, such as `--num-cpus=2`.
            name: of its host; default: this machine's. Needs `can_pretend`.
            hides: a folder that is another one, and empty, to this node. Needs `can_pretend`.
        """
        role = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false"]
        role = [f"--address={self.address}"] if self.nodes else role
        command = [str(RAY), "start", *role, "--disable-usage-stats", "--block", *words]
        if name or hides is not None:
            before = f'mount -t tmpfs none "{hides}" && ' if hides else ""
            before += f"hostname {name} && " if name else ""
            command = [*OWN_MOUNTS, "sh", "-c", f'{before}exec "$@"', "sh", *command]
        known = self.size() if self.nodes else 0
        quiet = subprocess.DEVNULL
        self.nodes.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True))
        wait_until(lambda: self.size() > known, f"no node came of: {' '.join(command)}")
        return self.nodes[-1]

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """As when the machine loses its power."""
        family = psutil.Process(node.pid).children(recursive=True)
        for process in [psutil.Process(node.pid), *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def end(self) -> None:
        for node in reversed(self.nodes):
            if node.poll() is None:
                self.kill(node)
        for process in psutil.process_iter(["cmdline"]):  # what its nodes left
            if str(self.folder) in " ".join(process.info["cmdline"] or []):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def cluster(*words: str) -> Iterator[Cluster]:
    """A cluster of one node, which lasts as long as the context; this process may join it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = Cluster(Path(tempfile.mkdtemp(prefix="ray-nodes-", dir="/tmp")), port)
    token = started.folder / "token"
    token.write_text(secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # workers load `patient` from here
        try:
            started.add(*words)
            yield started
        finally:
            started.end()


def wait_until(holds: Callable[[], bool], otherwise: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.2)


def can_pretend() -> bool:
    """Whether this user may give a process mounts and a host name of its own."""
    command = [*OWN_MOUNTS, "sh", "-c", "mount -t tmpfs none /mnt && hostname other"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


def remains(address: str) -> dict[str, int]:
    """What a cluster holds of programs that joined it, counted by a program that joins it only for that."""
    code = """
import json, sys
import ray
from ray._private import state
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
groups = ray.util.placement_group_table().values()
print(json.dumps({
    "actors": sum(actor["State"] != "DEAD" for actor in state.actors().values()),
    "groups": sum(group["state"] != "REMOVED" for group in groups),
    "CPUs": int(ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0)),
}))
"""
    told = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=True).stdout
    counts: dict[str, int] = json.loads(told.splitlines()[-1])
    return counts


def run_patiently(*words: str, cwd: Path, trainable: str = "patient") -> subprocess.Popen[str]:
    """`gtsearch run`, whose members take their time: `patient` ones, or `clocked` ones."""
    code = f"""
import runpy, sys
sys.argv[0] = "gtsearch"
from gtsearch import tune
tune.TRAINABLE = "cluster_kit:{trainable}"
runpy.run_module("gtsearch", run_name="__main__")
"""
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", *words],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


PATIENCE_SECONDS = 0.3


class PatientTrainable(FormulaTrainable):
    """Trains nothing, and takes its time: a node can die meanwhile. `host` of its
    rows is HOST/GPUs/PID of the worker."""

    writes = False

    def step(self, seconds: float = STEP_SECONDS) -> Json:
        time.sleep(PATIENCE_SECONDS)
        return super().step(seconds)

    def _known(self, info: Json) -> Json:
        where = (platform.node(), os.environ.get("CUDA_VISIBLE_DEVICES", ""), os.getpid())
        return super()._known(info) | {"host": "/".join(map(str, where))}


def patient(job: Json) -> PatientTrainable:
    return PatientTrainable()


def clocked(job: Json) -> CohortTrainable:
    """Trains as ever, and a little longer. `host` of its rows is HOST/when its job began/when the row was made."""
    trainable, began = trainable_for(job), time.time()
    known, begin = trainable._known, trainable._begin

    def dated(info: Json) -> Json:
        return known(info) | {"host": f"{platform.node()}/{began}/{time.time()}"}

    def patiently(rows: list[Json]) -> Any:
        time.sleep(PATIENCE_SECONDS)
        return begin(rows)

    trainable._known, trainable._begin = dated, patiently
    return trainable
