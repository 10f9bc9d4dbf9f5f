"""The command `gtsearch`, and `python -m gtsearch`: heeds signals before anything that takes its time is loaded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs what was typed and returns its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from gtsearch.cli import main as run

    return run()


def _leave(number: int, frame: FrameType | None) -> None:
    """Of a run, from its first moment to its last, `gtsearch.stops` has the signals; here nothing is going on."""
    os.write(2, f"gtsearch: stopped by {signal.Signals(number).name}\n".encode())
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
