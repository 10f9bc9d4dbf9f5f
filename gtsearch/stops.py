"""Being asked to stop: Ctrl-C and SIGTERM end a run in order, a second one leaves at once.

Entry: `heeded`. `get_out` is for a thread that saw that what the run stands on is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h"

own_process = False
"""Whether this process is the command `gtsearch`: then a second signal may end it. A notebook's it must not."""


class GetOut(BaseException):
    """Raised in the thread of a run, wherever it is, when nothing it waits for will come."""


@dataclass
class Stop:
    """Whether somebody wants the run to stop.

    Attributes:
        number: the signal that said so.
        way_on: how to go on with the run, in a line; "" while there is nothing to go on with.
        hush: called before a second signal ends the process.
    """

    number: int | None = None
    thread: int = field(default_factory=threading.get_ident)
    way_on: str = ""
    hush: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Takes the signals, also from whoever took them since: ray.init does. In a thread that is not the main one
        Python lets nobody take them, and whoever started the thread decides."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        elif own_process and self.way_on:
            self._leave()
        else:
            raise KeyboardInterrupt

    def _leave(self) -> None:
        """Ends the process where it stands. An exception would have to get through libraries, some of which take it
        for their own, and Python's own end through what Ray was interrupted in. Whatever was being written is whole
        or counts as not written, as after a SIGKILL, and the reaper ends Ray."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.hush()
        code = self.number or signal.SIGINT
        said = "\n".join(self.words(code)).encode(errors="replace") + b"\n"
        with contextlib.suppress(OSError):  # nobody may read it any more
            os.write(1, SHOW_CURSOR + b"\n" + said if os.isatty(1) else said)
        os._exit(128 + code)

    def words(self, number: int) -> list[str]:
        """What a person is told who did not want to wait."""
        return [f"stopped at once by {signal.Signals(number).name}", self.way_on]

    def get_out(self) -> None:
        """Raises `GetOut` in the thread of the run, as soon as it is back from what it waits for. Of any thread."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(GetOut))


@contextlib.contextmanager
def heeded(way_on: str = "") -> Iterator[Stop]:
    """While this lasts the first signal is noted, for the run to end in order. A second ends the process where it is
    gtsearch's own and there is a run to go on with; elsewhere it raises KeyboardInterrupt."""
    stop = Stop(way_on=way_on)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    finally:
        told = own_process and stop.way_on and stop.number is not None  # how to go on is yet to be printed
        if threading.current_thread() is threading.main_thread() and not told:
            for number, handler in before.items():
                signal.signal(number, handler)
