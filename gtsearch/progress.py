"""What a person sees while a run goes on: where it stands, why it tries what it tries, and the best so far.

On a terminal a few lines that are drawn over; anywhere else (a file, a pipe, CI) one plain line now and then.
Notes stay in both. Entry: `Display`. This module only shows: it decides nothing and keeps no time of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gtsearch import terminal

LIVE_SECONDS = 0.2
"""Least time between two drawings on a terminal."""
PLAIN_SECONDS = 10.0
"""Least time between two plain lines of one phase."""
PHASE_SECONDS = 1.0
"""Least time between two plain lines at all: with several workers the phase can change with every job."""


class Display:
    """Shows the state of a run; used as a context manager.

    A state is a mapping with any of: `phase` (such as `weak ladder`), `why` (what is being tried and why),
    `best` (the best so far), `done`, `training` and `waiting` (training runs: at a worker, and handed out to one
    that is not there yet), `workers`, `elapsed_seconds`, and `remaining_seconds`: None where nobody knows, an upper
    estimate, or a pair of a low and a high one. In plain lines the best so far stands where it changed.

    When the reader of a pipe goes away the display falls silent: the run is worth more than its progress.

    Args:
        title: what runs; shown once, when the display opens.
        console: where to write; standard output unless given.
        quiet: show nothing at all.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        title: str,
        console: Console | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self._clock, self._silent = title, clock, quiet
        self._console = console or terminal.console()
        # FORCE_COLOR makes rich take a file for a terminal; lines that are drawn over spoil a file all the same.
        on_terminal = self._console.is_interactive and self._console.file.isatty()
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True) if on_terminal and not quiet else None
        )
        self._state: Mapping[str, Any] = {}
        self._phase: str | None = None
        self._best = ""
        self._shown_at = -math.inf

    def __enter__(self) -> Display:
        self.note(self.title)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, state: Mapping[str, Any]) -> None:
        """Takes in the state; shows it when it is time to, which is sooner when the phase changed."""
        if self._silent:
            return
        self._state = state
        now, phase = self._clock(), state.get("phase")
        usual, least = (LIVE_SECONDS, 0.0) if self._live else (PLAIN_SECONDS, PHASE_SECONDS)
        if now - self._shown_at >= (usual if phase == self._phase else least):
            self._phase, self._shown_at = phase, now
            self._show()

    def note(self, text: str) -> None:
        """A line that stays: a verdict, a candidate, a winner, a retry."""
        if self._silent:
            return
        if self._live:
            self._console.print(Text(_one_line(text)))
        else:
            self._print(f"{self._stamp()}{_one_line(text)}")

    def close(self) -> None:
        """Takes the drawn lines away; the notes stay. May be called more than once."""
        if self._live:
            self._live.stop()

    def _show(self) -> None:
        if self._live:
            lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in self._lines()]
            for first in lines[:1]:
                first.stylize("bold")
            self._live.update(Group(*lines), refresh=True)
        else:
            self._print(f"{self._stamp()}{' · '.join(self._lines())}")

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._console.file, flush=True)
        except OSError:  # a disk that is full, too
            self._silent = True

    def _stamp(self) -> str:
        elapsed = self._state.get("elapsed_seconds")
        return "" if elapsed is None else f"[{duration(elapsed)}] "

    def _lines(self) -> list[str]:
        """Phase, why, best, and a line of numbers: time first, because a narrow terminal crops the end."""
        state = self._state
        best = f"best: {state['best']}" if state.get("best") else ""
        if not self._live:
            best, self._best = "" if best == self._best else best, best
        texts = [_one_line(str(text or "")) for text in (state.get("phase"), state.get("why"), best)]
        spent = [duration(state["elapsed_seconds"])] if self._live and state.get("elapsed_seconds") is not None else []
        known = {key: f"{state[key]} {key}" for key in _COUNTS if state.get(key) is not None}
        if state.get("workers") == 1:
            known["workers"] = "1 worker"
        numbers = [*spent, remaining(state.get("remaining_seconds")), *known.values()]
        return [line for line in (*texts, " · ".join(filter(None, numbers))) if line]


_COUNTS = ("done", "training", "waiting", "workers")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def remaining(seconds: float | tuple[float, float] | list[float] | None) -> str:
    """How long it may still take, in round numbers; empty where nobody knows."""
    if seconds is None:
        return ""
    if isinstance(seconds, (tuple, list)):
        low, high = seconds
        if _round_up(low) != _round_up(high):
            return f"~{_round_up(low)} to {_round_up(high)} more"
        seconds = high
    return f"at most ~{_round_up(seconds)} more"


def _round_up(seconds: float) -> str:
    """To tens of seconds below a minute, to minutes below two hours, then to half hours."""
    if seconds <= 60:
        tens = max(1, math.ceil(seconds / 10))
        return f"{10 * tens} s" if tens < 6 else "1 min"
    if seconds <= 7200:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 1800) / 2:g} h"


def _one_line(text: str) -> str:
    """An error's text may hold line breaks and control codes."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
