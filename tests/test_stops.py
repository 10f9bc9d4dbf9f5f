"""The first signal is noted, the second leaves, and a thread that waits for nothing is got out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gtsearch import stops
from gtsearch.stops import GetOut, heeded


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_leaves(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with heeded() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(number) is before


def test_a_handler_that_somebody_else_set_meanwhile_is_replaced() -> None:
    with heeded() as stop:
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("Ray's handler still has it"))
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM


def test_another_thread_may_run_an_experiment_and_takes_no_signals() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with heeded() as stop:
            seen.append(stop.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [None] and signal.getsignal(signal.SIGINT) is before


def test_a_thread_that_waits_for_nothing_is_got_out() -> None:
    left, waiting = threading.Event(), threading.Event()
    stops = []

    def work() -> None:
        with heeded() as stop:
            stops.append(stop)
            waiting.set()
            try:
                while True:
                    time.sleep(0.01)
            except GetOut:
                left.set()

    threading.Thread(target=work, daemon=True).start()
    assert waiting.wait(10)
    stops[0].get_out()
    assert left.wait(10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_still_loading_leaves_in_one_line(number: signal.Signals, code: int) -> None:
    slow = "import runpy, sys, time; sys.modules['gtsearch.cli'] = type('slow', (), {'main': lambda: time.sleep(60)}); "
    slow += "print('up', flush=True); runpy.run_module('gtsearch', run_name='__main__')"
    process = subprocess.Popen([sys.executable, "-c", slow], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", f"gtsearch: stopped by {number.name}\n")


def test_one_that_does_not_leave_at_the_second_signal_is_ended() -> None:
    """As where a library takes the exception for its own."""
    code = "import time; from gtsearch import stops; stops.LATE_SECONDS = 1.0\n"
    code += "with stops.heeded():\n    print('up', flush=True)\n    while True:\n"
    code += "        try:\n            time.sleep(60)\n"
    code += "        except KeyboardInterrupt:\n            print('lost', flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (143, "lost\n")


def test_one_that_leaves_in_time_goes_on_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "LATE_SECONDS", 0.3)
    with pytest.raises(KeyboardInterrupt), heeded():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    time.sleep(0.6)
