"""The command `gtsearch`, and `python -m gtsearch`: heeds signals before anything that takes its time is loaded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Runs what was typed and returns its exit code."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    from gtsearch import stops
    from gtsearch.cli import main as run

    stops.own_process = True

    code = run()
    _ignore()
    return code


def _leave(number: int, frame: FrameType | None) -> None:
    """Of a run, from its first moment to its last, `gtsearch.stops` has the signals; here nothing is going on."""
    _ignore()
    os.write(2, f"gtsearch: stopped by {signal.Signals(number).name}\n".encode())
    raise SystemExit(128 + number)


def _ignore() -> None:
    """Python takes a moment to end, and what it says by its exit code stands."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
