"""optuna-dashboard on the studies of a run: `gtsearch dashboard`. Entry: `serve`.

It listens on loopback and reads: what is asked of it that would write is refused, since study.log is a mirror that the
run alone writes.
"""

from __future__ import annotations

import logging
import socketserver
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from wsgiref import simple_server

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from gtsearch.errors import GtsearchError, ResourcesError, ResultsError
from gtsearch.results import SPEC, STUDIES
from gtsearch.trust import refuse_links

LOOPBACK = "127.0.0.1"
_READING = ("GET", "HEAD")


def serve(folder: Path, port: int | None, say: Callable[[str], None]) -> None:
    """Shows the studies of the run in `folder` until it is interrupted, also while the run goes on.

    Args:
        port: None: 8080, or another one that is free.
        say: is told where, once it listens.

    Raises:
        GtsearchError: optuna-dashboard is not installed; not a run folder; no studies in it, or they cannot be read;
            the port is taken.
        KeyboardInterrupt: it was interrupted.
    """
    if find_spec("optuna_dashboard") is None:
        raise ResourcesError("optuna-dashboard is not installed: pip install 'gtsearch[dashboard]'")
    refuse_links(folder)
    if not (folder / SPEC).is_file():
        raise ResultsError(f"{folder} is not a run folder: it has no {SPEC}")
    page = _Page(folder / STUDIES)
    with _listening(port, page) as server:
        say(f"{folder / STUDIES}: http://{LOOPBACK}:{server.server_port}/ shows it; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.2)


class _Page:
    """The dashboard as a WSGI application. A resume makes the journal anew, and then the page is made anew too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of, self._application = self._made()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _READING:
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [b'{"reason": "gtsearch shows a run and changes nothing of it"}']
        try:
            if self._of != _identity(self.path):
                self._of, self._application = self._made()
        except GtsearchError as error:  # between two journals
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def _made(self) -> tuple[bytes, Any]:
        from optuna_dashboard import wsgi

        of = _identity(self.path)
        try:
            storage = JournalStorage(_ReadOnly(str(self.path)))
            studies = storage.get_all_studies()
        except Exception as error:  # whatever stands in a file that is damaged
            what = " ".join(str(error).split()) or type(error).__name__
            raise ResultsError(
                f"{self.path} is damaged ({what}); a `gtsearch resume` of the run makes it anew"
            ) from None
        if not studies:
            raise ResultsError(f"{self.path} holds no study yet: no member of the search has finished")
        return of, wsgi(storage)


class _ReadOnly(JournalFileBackend):
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise PermissionError("gtsearch shows a run and changes nothing of it")


def _identity(path: Path) -> bytes:
    """Tells one journal from the next: its first line names the writer, each by an id of its own."""
    try:
        with path.open("rb") as file:
            return file.readline(1000)
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from None


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads which files a page loads."""


def _listening(port: int | None, page: _Page) -> simple_server.WSGIServer:
    logging.getLogger("optuna").setLevel(logging.ERROR)
    try:
        return simple_server.make_server(LOOPBACK, 8080 if port is None else port, page, _Server, _Quiet)
    except OSError as error:
        if port is not None:
            raise ResourcesError(
                f"cannot listen on port {port} of {LOOPBACK}: {error.strerror}; give another --port, or none"
            ) from None
    return simple_server.make_server(LOOPBACK, 0, page, _Server, _Quiet)
