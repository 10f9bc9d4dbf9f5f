"""The nodes of a cluster: whether they are fit for a run, asked before it begins and again by each worker.

Entries: `inspected`, which asks every node that may train; `home` and `refuse_elsewhere`, by which a worker knows that
it sees the run folder of whoever started the run, on nodes that joined later too; `accelerator_here`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# isort: off
from gtsearch import cluster  # noqa: F401  # first: it says how ray is loaded

# isort: on
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gtsearch.errors import BrokenOff, ResourcesError
from gtsearch.resources import Resources
from gtsearch.results import SPEC
from gtsearch.survey import Node

NODE_SECONDS = 60.0  # until a node must have answered: it starts a process, which loads little
SEEN_SECONDS = 5.0  # until a file that was written on one machine must be seen on another
ROOM_SECONDS = 2.0  # between two looks at which nodes are alive
PACKAGES = ("gtsearch", "torch", "ray")
ACCELERATOR_LABEL, ACCELERATOR_RESOURCE = "ray.io/accelerator-type", "accelerator_type:"


def inspected(folder: Path, resources: Resources, modules: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Asks every node that may train whether it sees `folder` and has what this process has, the user's own `modules`
    among it. Ray must be up.

    Returns:
        What a person should know before it begins, in lines.

    Raises:
        ResourcesError: a node must not train: which one, why, and what to do.
    """
    nodes = _that_may_train(resources)
    nonce = secrets.token_hex(16)
    asked = folder / f".nodes-{nonce}"
    asked.mkdir()
    try:
        (asked / "driver").write_text(nonce)
        told = _told(nodes, str(asked.resolve()), nonce, modules)
        _refuse(folder, {str(node): _why_unfit(told[node.id], asked / node.id, nonce) for node in nodes})
    finally:
        for path in asked.iterdir():
            path.unlink(missing_ok=True)
        asked.rmdir()
    places = sum(node.places(resources.cpus_per_trial, resources.gpus_per_trial) for node in nodes)
    if resources.workers > places:
        return [f"the cluster has room for {places} of {resources.workers} workers now; more start as nodes join"]
    return []


def _that_may_train(resources: Resources) -> list[Node]:
    nodes = [
        Node(
            info["NodeID"],
            f"{info['NodeManagerHostname']}/{info['NodeManagerAddress']}",
            info["Resources"].get("CPU", 0.0),
            info["Resources"].get("GPU", 0.0),
        )
        for info in ray.nodes()
        if info["Alive"]
    ]
    return [node for node in nodes if node.places(resources.cpus_per_trial, resources.gpus_per_trial)]


def _told(
    nodes: Sequence[Node], asked: str, nonce: str, modules: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What each node says of itself, by its id."""
    look = ray.remote(num_cpus=0, max_retries=0)(_looker())
    answers = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            asked, node.id, nonce, PACKAGES, SEEN_SECONDS, modules
        ): node.id
        for node in nodes
    }
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=NODE_SECONDS)
    told = {node_id: {"error": f"does not answer within {NODE_SECONDS:.0f} s"} for node_id in answers.values()}
    for reference in ready:
        try:
            told[answers[reference]] = ray.get(reference)
        except Exception as error:
            told[answers[reference]] = {"error": f"cannot run a task ({' '.join(str(error).split())[:200]})"}
    for reference in answers:
        if reference not in ready:
            ray.cancel(reference, force=True)
    return told


def _looker() -> Callable[..., dict[str, Any]]:
    """What a node runs. Ray sends a function made here whole, and one of a module by a name that a node may lack."""

    def look(
        asked: str,
        node_id: str,
        nonce: str,
        packages: Sequence[str],
        seconds: float,
        modules: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        import importlib
        import importlib.metadata
        import pathlib
        import time

        told: dict[str, Any] = {"error": None, "versions": {}}
        for package in packages:
            try:
                told["versions"][package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                told["versions"][package] = None
        try:
            importlib.import_module("gtsearch.tune")
        except Exception as error:
            told["error"] = f"cannot load gtsearch ({type(error).__name__}: {error})"
            return told
        try:
            importlib.import_module("gtsearch.plugins").restore(modules)
        except Exception as error:
            told["error"] = f"cannot use what the experiment names ({error})"
        written, until = pathlib.Path(asked, "driver"), time.monotonic() + seconds
        while not written.is_file() and time.monotonic() < until:
            time.sleep(0.1)
        told["sees"] = written.is_file() and written.read_text() == nonce
        if told["sees"]:
            try:
                pathlib.Path(asked, node_id).write_text(nonce)
            except OSError as error:
                told["error"] = f"cannot write into it ({error.strerror})"
        return told

    return look


def _why_unfit(told: dict[str, Any], written: Path, nonce: str) -> str | None:
    """Why the node must not train, or None."""
    here = _versions()
    other = [f"{name} {has or 'missing'}" for name, has in told.get("versions", {}).items() if has != here[name]]
    if other:
        return f"has {', '.join(other)}"
    if told["error"] is not None:
        return str(told["error"])
    if not told["sees"]:
        return UNSEEN
    until = time.monotonic() + SEEN_SECONDS
    while not (written.is_file() and written.read_text() == nonce):
        if time.monotonic() > until:
            return UNSEEN
        time.sleep(0.1)
    return None


UNSEEN = "does not see it"


def _refuse(folder: Path, unfit: dict[str, str | None]) -> None:
    blind = [name for name, why in unfit.items() if why == UNSEEN]
    if blind:
        raise ResourcesError(
            f"the run folder {folder.resolve()} is not on storage that all nodes share: {', '.join(blind)} "
            f"{'sees' if len(blind) == 1 else 'see'} another folder there, or none; give --out on a shared file system"
        )
    others = [f"{name} {why}" for name, why in unfit.items() if why is not None]
    if others:
        here = ", ".join(f"{name} {has}" for name, has in _versions().items())
        raise ResourcesError(
            f"nodes that cannot train into {folder.resolve()}: {'; '.join(others)}; install on each what is here "
            f"({here}) and let each write there"
        )


@cache
def _versions() -> dict[str, str | None]:
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Room:
    """How many workers a run may have at this moment. Ray must be up.

    A worker that waits for a place keeps Tune busy: it would start one for each, and end it when another is free.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._looked, self._places = float("-inf"), 0

    def workers(self) -> tuple[int, bool]:
        """As many as were asked for, while the nodes that are alive have places for so many; and whether they have
        places for more."""
        asked = self.resources
        if time.monotonic() - self._looked > ROOM_SECONDS:
            self._looked = time.monotonic()
            nodes = _that_may_train(asked)
            self._places = sum(node.places(asked.cpus_per_trial, asked.gpus_per_trial) for node in nodes)
        return max(1, min(asked.workers, self._places)), self._places > asked.workers


# -- in a worker -------------------------------------------------------------------------------------------


def home(folder: Path) -> dict[str, Any]:
    """What a worker is given to know that it sees the same folder and has the same packages."""
    return {
        "node": ray.get_runtime_context().get_node_id(),
        "sha256": _digest(folder),
        "versions": _versions(),
    }


def refuse_elsewhere(folder: str, home: dict[str, Any]) -> None:
    """Asked by a worker before its first job.

    Raises:
        BrokenOff: this node joined after the others were inspected, and must not train.
    """
    context = ray.get_runtime_context()
    if context.get_node_id() != home["node"]:
        _refuse_here(folder, home["sha256"], tuple(home["versions"].items()))


@cache
def _refuse_here(folder: str, sha256: str, versions: tuple[tuple[str, str | None], ...]) -> None:
    name = f"a node that joined, {ray.util.get_node_ip_address()},"
    if _digest(Path(folder)) != sha256:
        raise BrokenOff(f"{name} does not see the run folder {folder} as it was begun; share it with every node")
    here = _versions()
    other = [f"{package} {here[package] or 'missing'} for {has}" for package, has in versions if here[package] != has]
    if other:
        raise BrokenOff(f"{name} has {', '.join(other)}; install there what the other nodes have")


def _digest(folder: Path) -> str:
    """Of the experiment in a run folder; empty where there is none."""
    try:
        return hashlib.sha256((folder / SPEC).read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def accelerator_here() -> str | None:
    """The type of GPU that this worker's node declares, such as `A100`; None where it declares none."""
    context = ray.get_runtime_context()
    label = context.get_node_labels().get(ACCELERATOR_LABEL)
    if label:
        return str(label)
    own = [name for info in ray.nodes() if info["NodeID"] == context.get_node_id() for name in info["Resources"]]
    declared = (name for name in own if name.startswith(ACCELERATOR_RESOURCE))
    return next((name.removeprefix(ACCELERATOR_RESOURCE) for name in declared), None)
