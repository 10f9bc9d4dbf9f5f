"""What a run uses: of a cluster what its nodes offer, and never this machine's."""

from __future__ import annotations

import pytest

from gtsearch import resources
from gtsearch.errors import ResourcesError
from gtsearch.resources import resources_for
from gtsearch.spec import load_spec
from gtsearch.survey import Node, Survey

NODES = (
    Node("a", "first/10.0.0.1", 8.0, 0.0),
    Node("b", "second/10.0.0.2", 8.0, 2.0),
    Node("c", "third/10.0.0.3", 2.0, 4.0),
)


def of_cluster(monkeypatch: pytest.MonkeyPatch, workers: int | None = None, **asked: object) -> resources.Resources:
    monkeypatch.setattr(resources, "survey", lambda address: Survey(address, NODES))
    monkeypatch.setattr(resources, "WORKER_BYTES", 2**60)  # no machine has so much: it must not be asked
    spec = load_spec("smoke", [f"resources.{name}={value}" for name, value in asked.items()])
    return resources_for(spec, workers, "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers"),
    [(1, 0, 18), (3, 0, 4), (1, "auto", 4), (1, 0.5, 6), (2, 0.5, 5), (1, 2, 3)],
)
def test_auto_is_what_every_node_has_room_for(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: object, workers: int
) -> None:
    found = of_cluster(monkeypatch, cpus_per_trial=cpus, gpus_per_trial=gpus)
    assert (found.workers, found.cpus_per_trial) == (workers, cpus)
    assert found.gpus_per_trial == (1.0 if gpus == "auto" else gpus)
    assert found.device == ("cuda" if gpus else "cpu")


def test_more_workers_than_places_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_cluster(monkeypatch, workers=64).workers == 64


def test_a_worker_that_fits_on_no_node_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourcesError) as refused:
        of_cluster(monkeypatch, cpus_per_trial=4, gpus_per_trial=4)
    assert "needs 4 CPUs and 4 GPUs on one node" in str(refused.value)
    assert "first/10.0.0.1 (8 CPUs), second/10.0.0.2 (8 CPUs, 2 GPUs), third/10.0.0.3 (2 CPUs, 4 GPUs)" in str(
        refused.value
    )
