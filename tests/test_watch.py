from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from gtsearch.watch import Watch, child_lives, port_answers, socket_answers

PERIOD = 0.01


class Looks:
    """A check that answers from a list, then goes on with the last of it."""

    def __init__(self, *answers: bool) -> None:
        self.answers, self.n, self.enough = answers, 0, threading.Event()

    def __call__(self) -> bool:
        answer = self.answers[min(self.n, len(self.answers) - 1)]
        self.n += 1
        if self.n >= len(self.answers) + 5:
            self.enough.set()
        return answer


def test_a_loss_is_told_once_in_one_line() -> None:
    told: list[str] = []
    heard = threading.Event()
    gone = Looks(True, False)
    with Watch(
        {"the one": Looks(True), "the other": gone}, lambda r: (told.append(r), heard.set())[0], PERIOD
    ) as watch:
        assert heard.wait(10)
        time.sleep(10 * PERIOD)
    assert told == ["the other is gone"]
    assert watch.lost == watch.look() == "the other is gone"


def test_one_miss_is_no_loss() -> None:
    told: list[str] = []
    looks = Looks(True, False, True, False, True)
    with Watch({"it": looks}, told.append, PERIOD) as watch:
        assert looks.enough.wait(10)
    assert told == [] and watch.lost is None


def test_nothing_is_told_after_the_context() -> None:
    told: list[str] = []
    with Watch({"it": lambda: False}, told.append, period_seconds=0.2):
        pass
    time.sleep(0.6)
    assert told == []


def test_a_look_that_ends_after_the_context_tells_nothing() -> None:
    told: list[str] = []
    second, left = threading.Event(), threading.Event()
    first = iter([True])

    def lives() -> bool:
        if not next(first, False):
            second.set()
            left.wait(10)
        return False

    with Watch({"it": lives}, told.append, PERIOD):
        assert second.wait(10)
    left.set()
    time.sleep(0.2)
    assert told == []


def test_looking_does_not_wait_for_the_next_period() -> None:
    watch = Watch({"it": lambda: False}, lambda reason: None, period_seconds=1000)
    assert watch.look() == "it is gone"


def test_a_child_that_was_killed_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child_lives(child)
    child.kill()
    child.wait()
    assert not child_lives(child)
    assert child.stdin is not None
    child.stdin.close()


def test_listeners_answer_and_closed_ones_do_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(path)
    unix.listen()
    port = tcp.getsockname()[1]
    assert port_answers("127.0.0.1", port) and socket_answers(path)
    tcp.close()
    unix.close()
    assert not port_answers("127.0.0.1", port) and not socket_answers(path)
