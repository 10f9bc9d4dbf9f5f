"""A call in a process of its own, so that the memory and the caches of one side of a comparison are not the other's."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")


def alone(function: Callable[..., Found], *arguments: Any) -> tuple[Found, float]:
    """What `function(*arguments)` returns in a fresh process, and the most memory the process held above what it held
    when the call began, in MiB: the modules it imports are not counted.

    Args:
        function: of a module's top level; it, its arguments and its answer are pickled.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(function: Callable[..., Found], arguments: tuple[Any, ...]) -> tuple[Found, float]:
    before = peak()
    found = function(*arguments)
    return found, peak() - before


def peak() -> float:
    """The most this process has held, MiB."""
    try:
        # Linux: of this program alone. What getrusage tells began at the peak of the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
