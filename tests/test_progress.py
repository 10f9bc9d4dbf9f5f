"""What a person sees while a run goes on: few lines on a terminal, few plain ones elsewhere, never more."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gtsearch.progress import Display, duration, remaining


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


STATE: dict[str, Any] = {
    "phase": "weak ladder",
    "why": "mlp-d3-w4-L2: round 2 of 2, the cheapest architecture still open",
    "best": "mlp-d4-w6-L2 clears on 5 of 5 seeds",
    "done": 312,
    "training": 2,
    "waiting": 6,
    "workers": 2,
    "elapsed_seconds": 80,
    "remaining_seconds": (100, 220),
}


def plain(**options: Any) -> tuple[Display, io.StringIO, Clock]:
    file, clock = io.StringIO(), Clock()
    return Display("modadd", Console(file=file, width=40), clock=clock, **options), file, clock


def on_terminal(width: int = 100, **environ: str) -> tuple[Display, Terminal, Clock]:
    file, clock = Terminal(), Clock()
    console = Console(file=file, width=width, _environ={"TERM": "xterm-256color", **environ})
    return Display("modadd", console, clock=clock), file, clock


def test_a_plain_line_holds_the_whole_state_and_no_control_codes() -> None:
    display, file, _ = plain()
    with display:
        display.update(STATE)
    assert file.getvalue() == (
        "modadd\n"
        "[1 min 20 s] weak ladder · mlp-d3-w4-L2: round 2 of 2, the cheapest architecture still open · "
        "best: mlp-d4-w6-L2 clears on 5 of 5 seeds · ~2 min to 4 min more · 312 done · 2 training · 6 waiting · "
        "2 workers\n"
    )


def test_plain_lines_come_every_ten_seconds_and_at_every_change_of_phase() -> None:
    display, file, clock = plain()
    for second in range(35):
        clock.now = second
        display.update({"phase": "judge" if second >= 25 else "weak ladder", "done": second})
    shown = [line.split(" · ") for line in file.getvalue().splitlines()]
    assert shown == [
        ["weak ladder", "0 done"],
        ["weak ladder", "10 done"],
        ["weak ladder", "20 done"],
        ["judge", "25 done"],
    ]


def test_the_best_so_far_stands_in_a_log_where_it_changed_and_on_a_terminal_always() -> None:
    display, file, clock = plain()
    shown, drawn, now = on_terminal()
    with shown:
        for second, best in enumerate(("one", "one", "two", "two")):
            clock.now = now.now = 20.0 * second
            display.update({"phase": "weak ladder", "best": best, "done": second})
            shown.update({"phase": "weak ladder", "best": best, "done": second})
        assert drawn.getvalue().count("best: ") == 4
    assert [line.partition("best: ")[2] for line in file.getvalue().splitlines()] == [
        "one · 0 done",
        "",
        "two · 2 done",
        "",
    ]


def test_one_worker_is_one() -> None:
    display, file, _ = plain()
    display.update({"phase": "weak ladder", "training": 1, "waiting": 0, "workers": 1})
    assert file.getvalue() == "weak ladder · 1 training · 0 waiting · 1 worker\n"


def test_phases_that_take_turns_do_not_flood_a_log() -> None:
    display, file, clock = plain()
    for step in range(1000):
        clock.now = step / 100
        display.update({"phase": ("judge", "weak ladder")[step % 2]})
    assert len(file.getvalue().splitlines()) <= 10


def test_a_note_stays_in_one_line_whatever_it_holds() -> None:
    display, file, _ = plain()
    display.note("a1 is run again:\nTraceback \x1b[31mred")
    assert file.getvalue() == "a1 is run again: Traceback  [31mred\n"


def test_what_is_not_known_is_not_shown() -> None:
    display, file, _ = plain()
    display.update({"phase": "report", "why": None, "best": "", "remaining_seconds": None, "done": 0})
    display.update({})
    assert file.getvalue() == "report · 0 done\n"


def test_quiet_shows_nothing() -> None:
    display, file, _ = plain(quiet=True)
    with display:
        display.update(STATE)
        display.note("found")
    assert file.getvalue() == ""


def test_thousands_of_updates_cost_next_to_nothing() -> None:
    for display, _, _ in (plain(), on_terminal()):
        with display:
            display.update(STATE)
            started = time.process_time()
            for _ in range(20_000):
                display.update(STATE)
            assert time.process_time() - started < 0.5


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    display = Display("modadd", Console(file=Gone()))
    with display:
        display.note("one")
        display.update(STATE)


def test_a_terminal_is_drawn_over_and_notes_stay() -> None:
    display, file, clock = on_terminal()
    with display:
        display.update(STATE)
        display.note("candidate mlp-d4-w6-L2: 5 of 5")
        clock.now = 1.0
        display.update(STATE | {"done": 313})
    text = file.getvalue()
    assert "\x1b[2K" in text  # lines are erased before they are drawn again
    assert "1 min 20 s · ~2 min to 4 min more · 312 done · 2 training · 6 waiting · 2 workers" in text
    assert "313 done" in text and "candidate mlp-d4-w6-L2: 5 of 5\n" in text


def test_a_terminal_is_drawn_a_few_times_a_second_at_most() -> None:
    display, file, clock = on_terminal()
    with display:
        for step in range(1000):
            clock.now = step / 1000
            display.update(STATE | {"done": 1000 + step})
    drawn = {step for step in range(1000) if f"{1000 + step} done" in file.getvalue()}
    assert len(drawn) == 5


@pytest.mark.parametrize("width", [10, 20, 39])
def test_a_narrow_terminal_crops_and_keeps_four_lines(width: int) -> None:
    display, file, _ = on_terminal(width)
    with display:
        display.update(STATE)
        drawn = file.getvalue()
    assert drawn.startswith("modadd\n") and drawn.count("\n") == 4  # the title, and four lines of state
    assert "…" in drawn


def test_no_color_is_respected_and_a_dumb_terminal_gets_plain_lines() -> None:
    display, file, _ = on_terminal(NO_COLOR="1")
    with display:
        display.update(STATE)
    assert "\x1b[3" not in file.getvalue()
    display, file, _ = on_terminal(TERM="dumb")
    with display:
        display.update(STATE)
    assert "\x1b" not in file.getvalue() and file.getvalue().count("\n") == 2


def test_a_file_that_rich_was_told_to_take_for_a_terminal_gets_plain_lines() -> None:
    file = io.StringIO()
    with Display("modadd", Console(file=file, force_terminal=True)) as display:
        display.update(STATE)
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (3, "at most ~10 s more"),
        (55, "at most ~1 min more"),
        (61, "at most ~2 min more"),
        (8000, "at most ~2.5 h more"),
        ((30, 30), "at most ~30 s more"),
        ([45, 130], "~50 s to 3 min more"),
    ],
)
def test_estimates_are_rounded_up_and_nothing_is_said_where_nobody_knows(seconds: Any, text: str) -> None:
    assert remaining(seconds) == text


# -- in a real terminal, whose size changes -------------------------------------------------------------------------

_DRAWN = """
import sys, time
from gtsearch.progress import Display
state = dict(phase="weak ladder", why="mlp-d3-w4-L2: round 2 of 2, the cheapest architecture still open, " * 3,
             best="mlp-d4-w6-L2 clears on 5 of 5 seeds", training=2, waiting=6, workers=2)
with Display("modadd") as display:
    seen, began = 0, time.monotonic()
    for step in range(10_000):
        width = display._console.width
        display.update(state | {"done": step, "elapsed_seconds": step})
        if width != seen:
            seen = width
            display.note(f"now {width} wide")
        if width == 61 or time.monotonic() - began > 60:
            break
        time.sleep(0.02)
    display.note("the last note")
"""


def _resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _read_until(terminal: int, word: str, seconds: float = 30) -> str:
    text, until = "", time.monotonic() + seconds
    while word not in text and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                text += os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:  # the other end is gone
                break
    assert word in text, text[-2000:]
    return text


def test_a_terminal_whose_size_changes_is_drawn_in_its_new_size_and_loses_no_note() -> None:
    ours, theirs = pty.openpty()
    _resize(ours, 100)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm-256color"}
    child = subprocess.Popen(
        [sys.executable, "-c", _DRAWN], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    try:
        whole = _read_until(ours, "now 100 wide")
        for columns in (20, 40, 61):
            _resize(ours, columns)
            child.send_signal(signal.SIGWINCH)
            after = _read_until(ours, f"now {columns} wide")
            if columns != 61:
                after += _read_until(ours, "weak ladder")
                _, _, drawn = after.partition(f"now {columns} wide")
                lines = re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]+", drawn)
                assert max(map(len, lines)) <= columns, lines
            whole += after
        whole += "" if "the last note" in whole else _read_until(ours, "the last note")
        assert child.wait(timeout=20) == 0
    finally:
        child.kill()
        child.wait()
        os.close(theirs)
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", whole)
    for note in ("now 100 wide", "now 20 wide", "now 40 wide", "now 61 wide", "the last note"):
        assert plain.count(note) == 1, f"{note} is lost or stands twice"
    assert "Traceback" not in plain


def test_progress_into_a_file_holds_no_control_characters(tmp_path: Path) -> None:
    code = _DRAWN.replace("10_000", "30")
    for more in ({}, {"FORCE_COLOR": "1"}, {"CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}):
        with (tmp_path / "log").open("wb") as log:
            subprocess.run([sys.executable, "-c", code], stdout=log, env=os.environ | more, check=True)
        text = (tmp_path / "log").read_text("utf-8")
        assert "the last note" in text and all(c.isprintable() or c == "\n" for c in text), text
        assert text.count("\n") < 10, "a log is not flooded"


@pytest.mark.parametrize("name", ["NO_COLOR", "CLICOLOR"])
def test_no_colours_where_the_user_wants_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1" if name == "NO_COLOR" else "0")
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    with Display("modadd") as display:
        display.update(STATE)
        assert "\x1b[3" not in sys.stdout.getvalue() and "weak ladder" in sys.stdout.getvalue()
