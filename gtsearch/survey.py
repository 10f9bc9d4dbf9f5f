"""What a Ray cluster has, asked at its head before anything joins it.

Entry: `survey`. It asks in a process of its own: Ray's client answers an ordinary mistake (a port on which something
else listens, a token that is missing) after long retries, or by ending the process it runs in. This module loads ray
in that process only.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from gtsearch.errors import ResourcesError

AUTO = "auto"
CONNECT_SECONDS = 5.0  # until something must listen at the head's address
ANSWER_SECONDS = 20.0  # until the head must have answered, Ray being loaded included


@dataclass(frozen=True)
class Node:
    """A node of a cluster that is alive: what it offers in all, whoever uses it now."""

    id: str
    name: str
    cpus: float
    gpus: float

    def places(self, cpus: float, gpus: float) -> int:
        """How many trials of so many CPUs and GPUs it can hold at once."""
        fits = [int(self.cpus / cpus + 1e-9)] if cpus else []
        fits += [int(self.gpus / gpus + 1e-9)] if gpus else []
        return min(fits, default=0)

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.name} ({self.cpus:g} CPUs{gpus})"


@dataclass(frozen=True)
class Survey:
    """A cluster: the address of its head as HOST:PORT, and its nodes."""

    address: str
    nodes: tuple[Node, ...]

    def places(self, cpus: float, gpus: float) -> int:
        """How many trials of so many CPUs and GPUs it can hold at once."""
        return sum(node.places(cpus, gpus) for node in self.nodes)

    def __str__(self) -> str:
        return ", ".join(str(node) for node in self.nodes)


def survey(address: str) -> Survey:
    """The cluster at `address`: HOST:PORT of its head, or `auto` for the one that runs on this machine.

    Raises:
        ResourcesError: there is none that this process could join, and why.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "gtsearch.survey", address], capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
        told = json.loads(answer.stdout)
    except subprocess.TimeoutExpired:
        raise ResourcesError(
            f"what listens at {address} does not answer as the head of a Ray cluster; give the address that ray start "
            "printed there"
        ) from None
    except ValueError:
        last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ResourcesError(f"cannot ask the cluster at {address}: {last}") from None
    if "refused" in told:
        raise ResourcesError(told["refused"])
    return Survey(told["address"], tuple(Node(**node) for node in told["nodes"]))


# -- in the process that asks ------------------------------------------------------------------------------


def main(address: str) -> None:
    """Prints what the head said, as JSON: a survey, or `refused` with the reason."""
    try:
        told = asdict(_ask(address))
    except ResourcesError as error:
        told = {"refused": str(error)}
    print(json.dumps(told))


def _ask(address: str) -> Survey:
    if address == AUTO:
        use_a_token_that_is_here()
    head = _running_here() if address == AUTO else _parsed(address)
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ResourcesError(
            f"nothing answers at {head} ({error.strerror or error}); start a cluster there with ray start --head, or "
            "leave out --address to train on this machine"
        ) from None
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    _refuse_no_token(head)
    try:
        client = GcsClient(address=head)
        metadata = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", CONNECT_SECONDS) or b"{}")
        nodes = client.get_all_node_info(timeout=CONNECT_SECONDS)
    except AuthenticationError:
        raise ResourcesError(_token_refused(head)) from None
    except Exception as error:
        raise ResourcesError(f"the cluster at {head} does not answer: {' '.join(str(error).split())}") from None
    _refuse_other_versions(head, metadata)
    alive = {key.hex(): info for key, info in nodes.items() if info.state == info.ALIVE}
    _refuse_no_node_here(head, set(alive))
    return Survey(head, tuple(sorted((_node(key, info) for key, info in alive.items()), key=lambda node: node.name)))


def _node(key: str, info: Any) -> Node:
    has = dict(info.resources_total)
    name = f"{info.node_manager_hostname}/{info.node_manager_address}"
    return Node(key, name, has.get("CPU", 0.0), has.get("GPU", 0.0))


def _parsed(address: str) -> str:
    if address.startswith("ray://"):
        raise ResourcesError(
            f"--address {address}: Ray Client would move the search to the head, away from its run folder; run "
            "gtsearch on a node of the cluster and give HOST:PORT of its head, as ray start --head says it"
        )
    if (
        not re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}", address)
        or not 0 < int(address.split(":")[-1]) < 2**16
    ):
        raise ResourcesError(
            f"--address {address}: must be HOST:PORT of the head of a running Ray cluster, such as 10.0.0.1:6379, or "
            "auto"
        )
    return address


def _running_here() -> str:
    """The address of the cluster of which this machine is a node. Rays that programs started for themselves, and those
    of other people, are none."""
    from ray._private.services import find_gcs_addresses
    from ray._private.utils import read_ray_address

    if os.environ.get("RAY_ADDRESS"):
        return _parsed(os.environ["RAY_ADDRESS"])
    found = find_gcs_addresses()
    latest = read_ray_address()
    shared = [latest] if latest in found else sorted(head for head in found if _is_shared(head))
    if len(shared) > 1:
        raise ResourcesError(f"--address auto: several Rays run here ({', '.join(shared)}); give the address of one")
    if not shared:
        raise ResourcesError(
            "--address auto: no Ray cluster that you may join runs on this machine (was it started with another "
            "token?); start one with ray start --head, or leave out --address"
        )
    return _parsed(shared[0])


def _is_shared(head: str) -> bool:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        metadata = GcsClient(address=head).internal_kv_get(b"CLUSTER_METADATA", b"cluster", CONNECT_SECONDS)
    except Exception:
        return False
    return not json.loads(metadata or b"{}").get("ray_init_cluster")


def use_a_token_that_is_here() -> None:
    """As Ray does where it looks for the cluster itself, and never for an address that was given."""
    from ray._private.authentication import authentication_token_setup

    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _refuse_no_token(head: str) -> None:
    """Ray ends the process that is to use a token and has none."""
    from ray._private.authentication import authentication_token_setup
    from ray.exceptions import AuthenticationError

    try:
        authentication_token_setup.ensure_token_if_auth_enabled(create_token_if_missing=False)
    except AuthenticationError:
        raise ResourcesError(
            f"RAY_AUTH_MODE is token and there is no token for the cluster at {head}; copy the one of its head, "
            "~/.ray/auth_token, to ~/.ray/auth_token here, or name a copy with RAY_AUTH_TOKEN_PATH"
        ) from None


def _token_refused(head: str) -> str:
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        return (
            f"the cluster at {head} refuses the token given; copy the one of its head, ~/.ray/auth_token, to "
            "~/.ray/auth_token here, or name a copy with RAY_AUTH_TOKEN_PATH"
        )
    return (
        f"the cluster at {head} asks for a token; set RAY_AUTH_MODE=token, and have the token of its head, "
        "~/.ray/auth_token, in ~/.ray/auth_token here or where RAY_AUTH_TOKEN_PATH says"
    )


def _refuse_other_versions(head: str, metadata: dict[str, Any]) -> None:
    from ray._private.utils import check_version_info, compute_version_info

    if not metadata:
        return
    try:
        check_version_info(metadata, "here")
    except RuntimeError:
        ray, python = compute_version_info()[:2]
        raise ResourcesError(
            f"the cluster at {head} runs Ray {metadata['ray_version']} on Python {metadata['python_version']}, and "
            f"this is Ray {ray} on Python {python}; install the same on both"
        ) from None


def _refuse_no_node_here(head: str, alive: set[str]) -> None:
    """Ray connects a program through the node it runs on, and waits a minute for one."""
    from ray._private.services import find_node_ids

    if not alive & set(find_node_ids()):
        raise ResourcesError(
            f"this machine is no node of the cluster at {head}; run gtsearch on one, or make it one that trains "
            f"nothing: ray start --address={head} --num-cpus=0 --num-gpus=0"
        )


if __name__ == "__main__":
    main(sys.argv[1])
