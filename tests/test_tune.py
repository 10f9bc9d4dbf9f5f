"""Between Tune and the conductor: what reports mean, and workers that are silent for too long. No Ray is started."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gtsearch import tune

FLOPS = tune._SLOWEST_FLOPS  # so that an epoch may take a second


class Conductor:
    """Notes what it is told; hands out two jobs."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.jobs = [{"id": f"job-{i}", "flops_per_epoch": FLOPS, "members": [{}, {}, {}]} for i in range(2)]

    def next_job(self) -> dict[str, Any] | None:
        return self.jobs.pop(0) if self.jobs else None

    def take(self, job_id: str, rows: list[dict[str, Any]], progress: list[dict[str, Any]]) -> None:
        self.told.append(("take", job_id, rows))

    def is_needless(self, job_id: str) -> bool:
        return False

    def ended(self, job_id: str, error: str | None) -> None:
        self.told.append(("ended", job_id, error))

    def is_over(self) -> bool:
        return False

    def has_job(self) -> bool:
        return bool(self.jobs)

    def break_off(self, reason: str) -> None:
        self.told.append(("broken", reason))


@pytest.fixture
def desk() -> Iterator[tune._Desk]:
    made = tune._Desk(Conductor(), workers=1, hang_seconds=10.0)
    tune._desks["test"] = made
    yield made
    del tune._desks["test"]


def searcher(device: str = "cpu") -> tune._JobSearcher:
    return tune._JobSearcher("test", {"device": device})


def report(**more: Any) -> dict[str, Any]:
    whole = {"finished": [], "progress": [], "done": True} | more
    return {"job": "job-0", "report": json.dumps(whole)}


def test_a_worker_is_given_the_time_of_an_epoch_beside_its_patience(desk: tune._Desk) -> None:
    searcher("cpu").suggest("a")
    searcher("cuda").suggest("b")
    assert desk.patience == {"a": 11.0, "b": 13.0}  # a GPU has the three members of the job in one stack


def test_what_gave_way_breaks_the_run_off_after_its_rows_are_in(desk: tune._Desk) -> None:
    row = {"run_id": "r"}
    assert tune._JobStopper("test")("a", report(finished=[row], broken="no space"))
    assert desk.conductor.told == [("take", "job-0", [row]), ("broken", "no space")]


def test_a_job_that_could_not_be_made_is_lost_with_its_reason(desk: tune._Desk) -> None:
    search = searcher()
    search.suggest("a")
    tune._JobStopper("test")("a", report(lost="ValueError: p is odd"))
    search.on_trial_complete("a", error=False)
    assert desk.conductor.told[-1] == ("ended", "job-0", "ValueError: p is odd")


class Hung:
    """Tune's trial at a worker, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed: list[str] = []
        self.now = 100.0
        monkeypatch.setattr(tune.ray, "kill", self.killed.append)
        monkeypatch.setattr(tune, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=time.sleep))
        searcher().suggest("a")
        self.watcher = tune._Watcher("test")
        trial = SimpleNamespace(trial_id="a", temporary_state=SimpleNamespace(ray_actor="actor"))
        tune._desks["test"].heard["a"] = tune._Heard(trial, 11.0, at=self.now)

    def look(self, seconds: float, step: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += step
            self.watcher.on_step_begin(0, [])


def test_a_worker_that_is_silent_for_too_long_is_ended_and_its_job_lost(
    desk: tune._Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Hung(monkeypatch)
    hung.look(11)
    assert hung.killed == []
    hung.look(1)
    assert hung.killed == ["actor"]
    hung.look(20)
    assert hung.killed == ["actor"], "once is enough"
    searcher().on_trial_complete("a", error=True)
    assert desk.conductor.told == [
        ("ended", "job-0", "its worker reported nothing for 12 s and was ended (hang_seconds)")
    ]


def test_a_report_starts_its_time_anew(desk: tune._Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Hung(monkeypatch)
    hung.look(8)
    tune._JobStopper("test")("a", report(done=False))
    hung.look(8)
    assert hung.killed == []


def test_the_time_that_this_process_slept_does_not_count(desk: tune._Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Hung(monkeypatch)
    hung.look(3600, step=3600)
    hung.look(11)
    assert hung.killed == []
    hung.look(1)
    assert hung.killed == ["actor"]


def test_a_worker_makes_its_task_where_a_mistake_in_it_is_seen() -> None:
    job = {"id": "job-0", "members": [], "stage": "weak"}
    config = {"job": json.dumps(job), "umask": 0o022, "trainable": "gtsearch.trainables:trainable_for"}
    worker = object.__new__(tune._JobTrainable)
    worker.setup(config | {"folder": ".", "device": "cpu", "threads": 1})
    first, second = worker.step(), worker.step()
    assert not first["done"] and json.loads(first["report"])["finished"] == []
    assert second["done"] and json.loads(second["report"])["lost"].startswith("KeyError: ")
