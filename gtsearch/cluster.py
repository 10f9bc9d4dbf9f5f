"""The Ray that a run uses: a local one of its own, or somebody's cluster.

Entry: `connected`. This module says how ray is to be loaded, so whatever imports ray imports it first.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial

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

from gtsearch import local  # noqa: E402
from gtsearch.errors import ResourcesError  # noqa: E402
from gtsearch.resources import Resources  # noqa: E402
from gtsearch.survey import AUTO, survey, use_a_token_that_is_here  # noqa: E402
from gtsearch.watch import Watch, port_answers  # noqa: E402

LOOK_SECONDS = 5.0  # between two looks at a cluster's head: a network may falter for some seconds


@contextlib.contextmanager
def connected(
    address: str | None, resources: Resources, verbose: bool, on_loss: Callable[[str], None] = lambda reason: None
) -> Iterator[local.Link]:
    """Ray, for as long as the context lasts: a local one of our own, or the cluster at `address`, which goes on after.

    Args:
        on_loss: called once, in another thread, with one line, when this Ray is gone.

    Raises:
        ResourcesError: the cluster cannot be reached, or this process is on a Ray already.
        BrokenOff: a local Ray cannot start.
    """
    if address is None:
        with local.started(resources, verbose, on_loss) as link:
            _hush(verbose)
            yield link
        return
    head = _joinable(address)
    with local.scratch() as own:
        _join(head, verbose)
        _hush(verbose)
        checks = {f"the head of the Ray cluster at {head}": partial(port_answers, *_host_and_port(head))}
        try:
            with Watch(checks, on_loss, LOOK_SECONDS) as watch:
                local.ask_in_turns()
                yield local.Link(own, watch)
        finally:
            ray.shutdown()


def _join(head: str, verbose: bool) -> None:
    before = os.umask(0o077)  # Ray's files may hold the token
    try:
        ray.init(
            address=head,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.FATAL,
        )
    except Exception as error:
        raise ResourcesError(f"cannot join the cluster at {head}: {' '.join(str(error).split())}") from None
    finally:
        os.umask(before)


def _host_and_port(head: str) -> tuple[str, int]:
    host, _, port = head.rpartition(":")
    return host.strip("[]"), int(port)


def _hush(verbose: bool) -> None:
    if not verbose:
        for name in ("ray", "ray.tune"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _joinable(address: str) -> str:
    """HOST:PORT of the head of a cluster that answered."""
    found = survey(address)
    if address == AUTO:
        use_a_token_that_is_here()
    return found.address
