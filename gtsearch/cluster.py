"""The Ray that a run uses: a local one of its own, or somebody's cluster.

Entry: `connected`. This module says how ray is to be loaded, so whatever imports ray imports it first.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "0",
    "TUNE_WARN_THRESHOLD_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402

from gtsearch.errors import ResourcesError  # noqa: E402
from gtsearch.resources import Resources  # noqa: E402

OBJECT_STORE_BYTES = 100 * 2**20  # reports are small and no tensor travels


@contextlib.contextmanager
def connected(address: str | None, resources: Resources, verbose: bool) -> Iterator[None]:
    """Ray, for as long as the context lasts: a local one of our own, or the cluster at `address`.

    Raises:
        ResourcesError: the cluster cannot be reached, or Ray cannot start.
    """
    level = logging.INFO if verbose else logging.FATAL
    quiet: dict[str, Any] = {"log_to_driver": verbose, "logging_level": level, "ignore_reinit_error": False}
    before = os.umask(0o077)  # Ray writes its token file with the umask it finds
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=math.ceil(resources.workers * resources.cpus_per_trial),
                num_gpus=math.ceil(resources.workers * resources.gpus_per_trial),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except Exception as error:
        where = f"the cluster at {address}" if address else "a local Ray"
        hint = "; if it uses tokens, set RAY_AUTH_MODE=token" if address and "RAY_AUTH_MODE" not in os.environ else ""
        raise ResourcesError(f"cannot start on {where}: {' '.join(str(error).split())}{hint}") from None
    finally:
        os.umask(before)
    if not verbose:
        for name in ("ray", "ray.tune"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    session = None if address else _session_folder()
    try:
        _refuse_too_few(resources)
        yield
    finally:
        ray.shutdown()
        if session is not None:
            shutil.rmtree(session, ignore_errors=True)


def _refuse_too_few(resources: Resources) -> None:
    """A cluster with fewer places than workers would leave jobs waiting for ever."""
    have = ray.cluster_resources()
    needs = (("CPU", "CPUs", resources.cpus_per_trial), ("GPU", "GPUs", resources.gpus_per_trial))
    for name, plural, each in needs:
        if each * resources.workers > have.get(name, 0.0):
            raise ResourcesError(
                f"{resources.workers} workers need {each * resources.workers:g} {plural} and Ray has "
                f"{have.get(name, 0.0):g}; give fewer with --workers"
            )


def _session_folder() -> Path | None:
    """Where this local Ray keeps its files; None where it cannot be told."""
    node = ray._private.worker._global_node
    return Path(node.get_session_dir_path()) if node else None
