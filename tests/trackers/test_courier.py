"""The process beside the run: what it sends, once, whatever happens on the way. Here with a made-up tracker."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from run_folders import forget_the_end, small_story, write_run

from gtsearch import results
from gtsearch.trackers import courier
from gtsearch.trackers.base import DONE, STOPPED, Ended, Member, Sender, TrackedRun, Tracker

Json = dict[str, Any]


class World:
    """What the made-up tracker was sent, and when it fails."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.ends: list[Ended] = []
        self.groups: set[str] = set()
        self.refuse_after: int | None = None


WORLD = World()


class MadeUp(Tracker):
    package: ClassVar[str] = "json"
    name: Literal["made_up"] = "made_up"

    @property
    def destination(self) -> str:
        return "nowhere"

    def open(self, run: TrackedRun) -> Sender:
        WORLD.groups.add(run.group)
        return _Sender()


class _Sender(Sender):
    def send(self, member: Member) -> None:
        if WORLD.refuse_after is not None and len(WORLD.keys) >= WORLD.refuse_after:
            raise ConnectionError("the server has gone")
        WORLD.keys.append(member.key)

    def end(self, ended: Ended) -> None:
        WORLD.ends.append(ended)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(globals(), "WORLD", World())
    monkeypatch.setattr("gtsearch.catalog.load", lambda kind, name: MadeUp)
    monkeypatch.setattr(courier, "AGAIN_SECONDS", 0.01)
    return WORLD


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("finished") / "run", small_story())


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    from run_folders import copy

    return copy(finished, tmp_path / "run")


class Heard(courier.Heard):
    def __init__(self, size: int, end: Json | None) -> None:
        self.bytes, self.end, self.news = size, end, threading.Condition()


def send(folder: Path, size: int | None = None, end: Json | None = None) -> list[Json]:
    """What the courier says while it sends so many bytes of the log, and the end."""
    said: list[Json] = []
    order = {"tracker": {"name": "made_up"}, "folder": str(folder), "experiment": "tiny", "began": 1e9, "tags": {}}
    whole = (folder / "members.log").stat().st_size
    heard = Heard(whole if size is None else size, end or {"how": DONE, "lines": ["pays"]})
    courier.Courier(order, heard, said.append).work()
    return said


def keys(folder: Path) -> list[str]:
    rows = results.members(folder / "members.log")
    return [f"{r['run_id']}-{i}" if r["status"] == "cancelled" else r["run_id"] for i, r in enumerate(rows, start=1)]


def test_every_member_is_sent_in_order_and_then_the_end(world: World, folder: Path) -> None:
    said = send(folder)
    assert world.keys == keys(folder) and len(set(world.keys)) == len(world.keys)
    [ended] = world.ends
    assert ended.lines == ["pays"] and ended.numbers["methods.transfer.seeds"] == 4
    assert {path.name for path in ended.files} >= {"summary.json", "spec.yaml", "trials.parquet"}
    assert said[-1]["done"] == len(world.keys)


def test_what_was_sent_is_not_sent_again(world: World, folder: Path) -> None:
    send(folder)
    before, ends = list(world.keys), len(world.ends)
    assert send(folder)[-1]["done"] == len(before)
    assert world.keys == before and len(world.ends) == ends


def test_only_lines_that_are_finished_are_sent_and_a_resume_sends_the_rest(world: World, folder: Path) -> None:
    lines = (folder / "members.log").read_bytes().splitlines(keepends=True)
    some = len(b"".join(lines[:5]))
    send(folder, some, {"how": STOPPED})
    assert world.keys == keys(folder)[:5] and [ended.how for ended in world.ends] == [STOPPED]
    send(folder)
    assert world.keys == keys(folder) and [ended.how for ended in world.ends] == [STOPPED, DONE]
    assert len(world.groups) == 1, "both belong to one run"


def test_a_torn_last_line_is_no_member(world: World, folder: Path) -> None:
    forget_the_end(folder)
    with (folder / "members.log").open("ab") as log:
        log.write(b'{"run_id": "half')
    send(folder, end={"how": STOPPED})
    assert len(world.keys) == len(list(results.members(folder / "members.log")))


def test_a_server_that_goes_away_is_told_once_and_the_rest_is_sent_when_it_is_back(world: World, folder: Path) -> None:
    world.refuse_after = 7
    said = send(folder)
    assert said[-1] == {"sent": 7, "gone": "the server has gone"} and not world.ends
    world.refuse_after = None
    assert send(folder)[-1]["done"] == len(keys(folder))
    assert world.keys == keys(folder)


def test_before_the_end_it_asks_again(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.refuse_after = 3
    heard = Heard((folder / "members.log").stat().st_size, None)
    tries = []

    def wait(known: int, seconds: float | None = None) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            world.refuse_after = None
        if seconds is None:
            heard.end = {"how": DONE, "lines": []}

    monkeypatch.setattr(heard, "wait", wait)
    said: list[Json] = []
    order = {"tracker": {"name": "made_up"}, "folder": str(folder), "experiment": "tiny", "began": 1e9, "tags": {}}
    courier.Courier(order, heard, said.append).work()
    assert tries == [0.01, 0.02, 0.04, None], "each time later, until it is taken"
    assert world.keys == keys(folder) and "done" in said[-1]


def test_a_mark_that_is_damaged_is_named(world: World, folder: Path) -> None:
    send(folder)
    mark = folder / "trackers" / "made_up.json"
    mark.write_text('{"schema": 3}')
    with pytest.raises(results.ResultsError, match=r"made_up.json is damaged; delete it"):
        send(folder)
