"""What a run uses of the machine: workers, threads, devices."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil
import torch

from gtsearch.containers import cgroup_cpus
from gtsearch.errors import ResourcesError
from gtsearch.spec import Spec
from gtsearch.survey import Survey, survey

WORKER_BYTES = 600 * 2**20  # what a CPU worker needs: torch and one member


@dataclass(frozen=True)
class Resources:
    """What a run uses, every `auto` decided."""

    workers: int
    cpus_per_trial: float
    gpus_per_trial: float
    umask: int = 0o022
    hang_seconds: float = 45.0
    cluster: bool = False  # whether nodes may come and go

    @property
    def threads(self) -> int:
        """Of torch, a worker. Two workers of two threads each were seen to run 30 times slower than of one."""
        return max(1, int(self.cpus_per_trial))

    @property
    def device(self) -> str:
        return "cuda" if self.gpus_per_trial else "cpu"


def resources_for(spec: Spec, workers: int | None, address: str | None = None) -> Resources:
    """Decides every `auto`: all cores, or one worker a GPU where there is one; with `address` those of the cluster.

    Raises:
        ResourcesError: too little free memory for so many workers; more GPUs asked for than this machine has; a
            cluster that cannot be joined, or of which no node can hold a worker.
    """
    if address is not None:
        return _of_cluster(spec, workers, survey(address))
    asked = spec.resources
    gpus: float
    if asked.gpus_per_trial == "auto":
        gpus = 1.0 if torch.cuda.is_available() else 0.0
    else:
        gpus = float(asked.gpus_per_trial)
    if workers is None:
        if asked.workers != "auto":
            workers = int(asked.workers)
        elif gpus:
            workers = max(1, int(torch.cuda.device_count() / gpus))
        else:
            workers = max(1, int(cores() / asked.cpus_per_trial))
    if gpus > torch.cuda.device_count():
        raise ResourcesError(
            f"resources.gpus_per_trial: {gpus:g} GPUs are asked for and this machine has {torch.cuda.device_count()}; "
            "say auto or 0"
        )
    free = psutil.virtual_memory().available
    if free < workers * WORKER_BYTES:
        raise ResourcesError(
            f"{workers} workers need about {workers * WORKER_BYTES / 2**30:.1f} GiB of free memory and "
            f"{free / 2**30:.1f} GiB are free; give fewer with --workers"
        )
    return Resources(workers, float(asked.cpus_per_trial), gpus, _umask(), float(asked.hang_seconds))


def _of_cluster(spec: Spec, workers: int | None, cluster: Survey) -> Resources:
    """More workers than it has places for now are let be: nodes may join."""
    asked = spec.resources
    cpus = float(asked.cpus_per_trial)
    gpus = float(any(node.gpus for node in cluster.nodes)) if asked.gpus_per_trial == "auto" else asked.gpus_per_trial
    places = cluster.places(cpus, gpus)
    if not places:
        needs = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise ResourcesError(
            f"a worker needs {needs} on one node, and no node of the cluster at {cluster.address} has them: {cluster}; "
            "ask for less with resources.cpus_per_trial and resources.gpus_per_trial, or add a node"
        )
    if workers is None:
        workers = places if asked.workers == "auto" else int(asked.workers)
    return Resources(workers, cpus, gpus, _umask(), float(asked.hang_seconds), cluster=True)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def cores() -> int:
    """How many cores this process may use; where a container is granted a share of them, so many whole ones."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = cgroup_cpus()
    return seen if granted is None else min(seen, max(1, int(granted)))
