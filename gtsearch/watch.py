"""Notices that what a run stands on is gone: Ray's daemons here, or those of a cluster.

Entry: `Watch`, over checks that each say in a moment whether something lives.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

PERIOD_SECONDS = 1.0
ANSWER_SECONDS = 2.0
MISSES = 2  # in a row: a machine under load may be slow to answer once


class Watch:
    """Looks every second, for as long as the context lasts, whether everything lives.

    Args:
        checks: what lives, in words such as "Ray's raylet", to whether it does. They must not wait long.
        on_loss: called once, in a thread of the watch, with a line such as "Ray's raylet is gone".
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], bool]],
        on_loss: Callable[[str], None],
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self.checks, self.on_loss, self.period_seconds = checks, on_loss, period_seconds
        self.lost: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gtsearch-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def look(self) -> str | None:
        """What is gone at this moment, in a line; None when everything lives."""
        return self.lost or next((f"{name} is gone" for name, lives in self.checks.items() if not lives()), None)

    def _watch(self) -> None:
        misses = 0
        while not self._over.wait(self.period_seconds):
            reason = self.look()
            misses = misses + 1 if reason else 0
            if reason and misses >= MISSES and not self._over.is_set():
                self.lost = reason
                self.on_loss(reason)
                return


def child_lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child of this process lives."""
    return process.poll() is None


def port_answers(host: str, port: int) -> bool:
    """Whether somebody listens at a TCP address."""
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def socket_answers(path: str) -> bool:
    """Whether somebody listens at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(ANSWER_SECONDS)
        try:
            end.connect(path)
        except OSError:
            return False
    return True
