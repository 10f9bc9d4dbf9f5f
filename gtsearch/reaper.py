"""Ends what a run leaves behind: the processes of its local Ray and their files.

Entry: `end`. Run as a program (`gtsearch.local` does it) it waits for its standard input to close, cleans up, and says
how to go on, unless the run said goodbye there before it ended; one that was killed does not. It loads little and
takes part in nothing else, so that it outlives what ends a run. Arguments: the scratch folder, the pid of the run,
where psutil is.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARK = "GTSEARCH_SCRATCH"
"""The environment variable that names the scratch folder to every process of its Ray."""

GOODBYE = b"goodbye"
HUSH = b"hush"
RESUME = b"resume "
"""What a run says to its reaper, a line each: that it ends in order; that a person was told already how it ended;
`RESUME` and the folder to go on with."""

LOOK_SECONDS = 1.0
END_SECONDS = 5.0


def processes_of(scratch: Path) -> list[psutil.Process]:
    """The living processes of the Ray whose files are in `scratch`, this one apart."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.uids().real == os.getuid() and _belongs(process, scratch):
                found.append(process)
    return found


def _belongs(process: psutil.Process, scratch: Path) -> bool:
    """By the mark in its environment; Ray's agents write their title over it, and are told by their log files."""
    if process.environ().get(MARK) == str(scratch):
        return True
    if not "".join(process.cmdline()[:1]).startswith("ray::"):
        return False
    return any(file.path.startswith(f"{scratch}{os.sep}") for file in process.open_files())


def end_processes(scratch: Path) -> None:
    """Ends every process of the Ray whose files are in `scratch`, and what those start meanwhile, by SIGKILL."""
    import psutil

    until, clear = time.monotonic() + END_SECONDS, 0
    while clear < 2 and time.monotonic() < until:
        found = processes_of(scratch)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        clear = 0 if found else clear + 1
        time.sleep(0.05)


def end(scratch: Path) -> None:
    """Ends every process of the Ray whose files are in `scratch`, then deletes the folder."""
    end_processes(scratch)
    for _ in range(3):  # a process that is being ended may still make a file
        if not scratch.exists():
            return
        shutil.rmtree(scratch, ignore_errors=True)


def wait(driver: int) -> list[bytes]:
    """Waits until the run `driver`, our parent, is over, and returns the lines that it said."""
    heard = b""
    while True:
        ready, _, _ = select.select([0], [], [], LOOK_SECONDS)
        piece = os.read(0, 4096) if ready else b""
        heard += piece
        *lines, _ = heard.split(b"\n")
        # A process that the run forked may hold the other end open for longer than the run lives.
        if GOODBYE in lines or (ready and not piece) or os.getppid() != driver:
            return lines


def main() -> None:
    scratch, driver, packages = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.path.append(packages)
    said = wait(driver)
    end(scratch)
    if GOODBYE in said or HUSH in said:
        return
    folders = [os.fsdecode(line.removeprefix(RESUME)) for line in said if line.startswith(RESUME)]
    how = f"; go on with: gtsearch resume {folders[-1]}" if folders else ""
    with contextlib.suppress(OSError):
        os.write(2, os.fsencode(f"gtsearch: the run was ended from outside{how}\n"))


if __name__ == "__main__":
    main()
