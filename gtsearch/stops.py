"""Being asked to stop: Ctrl-C and SIGTERM end a run in order, a second one leaves at once.

Entry: `heeded`. `get_out` is for a thread that saw that what the run stands on is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LATE_SECONDS = 15.0  # from the second signal until the process is ended, should it be there still


class GetOut(BaseException):
    """Raised in the thread of a run, wherever it is, when nothing it waits for will come."""


@dataclass
class Stop:
    """Whether somebody wants the run to stop: `number` is the signal that said so."""

    number: int | None = None
    thread: int = field(default_factory=threading.get_ident)
    _late: threading.Timer | None = None

    def listen(self) -> None:
        """Takes the signals, also from whoever took them since: ray.init does. In a thread that is not the main one
        Python lets nobody take them, and whoever started the thread decides."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            return
        if self._late is None:  # what is raised may be lost in a library, or wait for one that does not answer
            self._late = threading.Timer(LATE_SECONDS, os._exit, [128 + self.number])
            self._late.daemon = True
            self._late.start()
        raise KeyboardInterrupt

    def over(self) -> None:
        """Nothing is left that could be late."""
        if self._late is not None:
            self._late.cancel()

    def get_out(self) -> None:
        """Raises `GetOut` in the thread of the run, as soon as it is back from what it waits for. Of any thread."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(GetOut))


@contextlib.contextmanager
def heeded() -> Iterator[Stop]:
    """While this lasts the first signal is noted, for the run to end in order; a second raises KeyboardInterrupt."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    finally:
        stop.over()
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
