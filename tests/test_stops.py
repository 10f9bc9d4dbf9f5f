"""The first signal is noted, the second leaves, and a thread that waits for nothing is got out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

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


SECOND = """
import os, time
from gtsearch import stops
stops.own_process = {own}
with stops.heeded() as stop:
    stop.way_on = {way_on!r}
    stop.hush = lambda: os.write(2, b"hush")
    print("up", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("raised", flush=True)
            break
"""


@pytest.mark.parametrize(("own", "way_on"), [(True, "go on with: that"), (True, ""), (False, "go on with: that")])
def test_the_second_signal_ends_a_process_of_our_own_and_raises_in_another(own: bool, way_on: str) -> None:
    code = SECOND.format(own=own, way_on=way_on)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    hard = (143, "stopped at once by SIGTERM\ngo on with: that\n", "hush")
    assert (process.returncode, out, err) == (hard if own and way_on else (0, "raised\n", ""))


def test_a_second_signal_that_comes_while_the_way_on_is_printed_does_not_cut_it_off() -> None:
    code = "import os, signal; from gtsearch import stops; stops.own_process = True\n"
    code += "with stops.heeded() as stop:\n"
    code += "    stop.way_on = 'go on with: that'\n"
    code += "    os.kill(os.getpid(), signal.SIGINT)\n"
    code += "os.kill(os.getpid(), signal.SIGINT)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (130, "stopped at once by SIGINT\ngo on with: that\n")


def test_a_reader_that_has_gone_does_not_keep_the_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", SECOND.format(own=True, way_on="that")], stdout=-1, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
