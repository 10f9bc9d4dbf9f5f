"""A run and its trackers: a process for each (`gtsearch.trackers.courier`), told what is finished, never waited for.

Entries: `Tracking`, which a run holds while it lasts, and `track`, which sends a run that has ended. Whatever happens
to a tracker is one line for a person, and never the run's matter; what was not sent is sent by a resume, or by `track`.
Couriers and what they start carry the mark of a temporary folder of their own (`gtsearch.local.scratch`), so that its
reaper ends them should the run be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic import ValidationError

from gtsearch import fields, reading, reaper, results
from gtsearch.errors import GtsearchError, ResultsError, SpecError, TrackerError
from gtsearch.problems import explain
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY
from gtsearch.spec import Spec, load_spec
from gtsearch.trackers.base import DONE, STOPPED, Tracker
from gtsearch.trust import TRACKERS, refuse_links

END_SECONDS = 30.0
"""That a finished run waits for its trackers."""
STOP_SECONDS = 5.0
"""That a run waits which somebody wants to end."""
STILL_SECONDS = 60.0
"""That `track` waits for a tracker that takes nothing."""
LOOK_SECONDS = 0.05
BROKE_OFF = 3

Say = Callable[[str], None]
Json = dict[str, Any]


class Tracking:
    """The couriers of one run, as a context manager. They are started with the first member that is finished.

    Args:
        folder: the run folder, which this process alone writes.
        say: is given lines for a person, of any thread.
        hurry: whether somebody wants the run to end.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        folder: Path,
        spec: Spec,
        environment: Mapping[str, Any],
        say: Say,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        # What sends the rest later: those that the experiment does not name must be named again.
        given = [tracker for tracker in trackers if tracker not in spec.trackers]
        self._again = shlex.join(["gtsearch", "track", str(folder), *_options(given)])
        settled = [tracker.settled(os.environ) for tracker in trackers]
        self.trackers = [tracker for tracker in settled if tracker.is_installed]
        self.absent = [tracker for tracker in settled if not tracker.is_installed]
        self.folder, self.spec, self.environment = folder, spec, environment
        self.say, self.hurry = say, hurry
        self.posts: list[_Post] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):
            self._stack.close()

    def announce(self) -> None:
        """Says which trackers are not installed."""
        for tracker in self.absent:
            later = f"`{self._again}` sends it later"
            self.say(f"{tracker.missing}; the run goes on without it, and {later}")

    def up_to(self, size: int) -> None:
        """So many bytes of members.log are finished members. Takes no time and raises nothing."""
        if not self.trackers:
            return
        try:
            for post in self._started():
                post.tell({"bytes": size})
        except Exception as error:  # a machine that can start no process: the search goes on
            self.trackers = []
            self.say(f"nothing is sent to trackers: {' '.join(str(error).split())}")

    def end(self, lines: Sequence[str] | None, seconds: float, still: bool = False) -> bool:
        """Sends the rest and what the run came to, and says how far each tracker got.

        Args:
            lines: what a finished run tells a person; None where it goes on later.
            seconds: to wait at most.
            still: count them anew whenever something was sent.

        Returns:
            Whether everything is sent.
        """
        try:
            return self._end(lines, seconds, still)
        except Exception as error:
            self.say(f"trackers: {' '.join(str(error).split())}; send the rest with: {self._again}")
            return False

    def _end(self, lines: Sequence[str] | None, seconds: float, still: bool) -> bool:
        size = (self.folder / LOG).stat().st_size
        if not (self.trackers and size):
            return not self.absent
        self.up_to(size)
        posts = self.posts or []
        for post in posts:
            post.tell({"end": {"how": STOPPED} if lines is None else {"how": DONE, "lines": list(lines)}})
        hurried, moved, sent = self.hurry(), time.monotonic(), -1
        while not all(post.over.is_set() for post in posts) and time.monotonic() - moved < seconds:
            if self.hurry() and not hurried:
                break
            now = sum(post.sent for post in posts)
            if still and now != sent:
                moved, sent = time.monotonic(), now
            time.sleep(LOOK_SECONDS)
        members = sum(1 for _ in results.members(self.folder / LOG))
        for post in posts:
            self.say(post.told(members, self._again))
        return not self.absent and bool(posts) and all(post.done for post in posts)

    def _started(self) -> list[_Post]:
        if self.posts is None:
            from gtsearch.local import scratch

            self.posts = []
            own = self._stack.enter_context(scratch())
            own.tell(reaper.HUSH)  # what a person is told of a run that was killed, its own reaper says
            for tracker in self.trackers:
                post = _Post(tracker, self._order(tracker), own.path, self.folder, self.say)
                self._stack.callback(post.close)
                self.posts.append(post)
        return self.posts

    def _order(self, tracker: Tracker) -> Json:
        facts = {"task": self.spec.task.title, "device": self.environment.get("device")}
        facts |= {"gtsearch": (self.environment.get("versions") or {}).get("gtsearch")}
        return {
            "tracker": tracker.model_dump(mode="json"),
            "folder": str(self.folder.resolve()),
            "experiment": self.spec.name,
            "began": _began(self.environment),
            "tags": {name: str(fact) for name, fact in facts.items() if fact is not None},
            "driver": os.getpid(),
        }


def destinations(spec: Spec) -> list[str]:
    """Where a run would send to, or what is missing, a line a tracker."""
    every = [tracker.settled(os.environ) for tracker in spec.trackers]
    return [f"tracker  {f'{t.name}: {t.destination}' if t.is_installed else t.missing}" for t in every]


def versions(spec: Spec) -> dict[str, str]:
    """Of the trackers' packages that are installed, by name."""
    return {tracker.package: tracker.version for tracker in spec.trackers if tracker.is_installed}


class _Post:
    """One courier, as the run sees it.

    Attributes:
        sent: members of this run that the tracker has, as far as it said.
        trouble: why it has no more, if it said so.
        done: whether it has everything.
        over: whether it will do no more.
    """

    def __init__(self, tracker: Tracker, order: Json, scratch: Path, folder: Path, say: Say) -> None:
        self.name, self.say = f"{tracker.name} ({tracker.destination})", say
        self.sent, self.trouble, self.done, self.over = 0, "", False, threading.Event()
        own, place = folder.resolve() / TRACKERS / tracker.label, scratch / tracker.label
        place.mkdir()
        ours = {reaper.MARK: str(scratch), "TMPDIR": str(place), **tracker.surroundings(own, place)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gtsearch.trackers.courier"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env={**os.environ, **ours},
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input = self.process.stdin.fileno()
        os.set_blocking(self._input, False)  # a courier that hears nothing must not stop the run
        self.tell(order)
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def tell(self, words: Json) -> None:
        """What it does not take now, being gone or stopped, it will miss: in the end it has not sent everything."""
        with contextlib.suppress(OSError):
            os.write(self._input, json.dumps(words).encode() + b"\n")

    def _listen(self, output: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed, or torn as it was killed
            for line in output:
                self._take(json.loads(line))
        if not (self.done or self.trouble):
            self.trouble = "its process has ended"
        self.over.set()

    def _take(self, said: Json) -> None:
        self.sent = said.get("sent", self.sent)
        first, self.trouble = not self.trouble, said.get("trouble") or said.get("gone") or self.trouble
        if first and "trouble" in said:
            self.say(f"cannot send to {self.name}: {self.trouble}; the run goes on, and it is tried again")
        self.done = "done" in said
        if self.done or "gone" in said:
            self.over.set()

    def told(self, members: int, again: str) -> str:
        """How far it got, in a line. `again`: what sends the rest."""
        if self.done:
            return f"{self.name}: all {members} members are sent"
        left = f"{members - self.sent} of {members} members" if self.sent < members else "what the run came to"
        why = self.trouble or "it takes too long"
        return f"{self.name}: {left} not sent ({why}); send the rest with: {again}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _options(trackers: Sequence[Tracker]) -> list[str]:
    """The words of a command line that name these trackers; `named` reads them."""
    return [word for one in trackers for word in ("--to", reading.in_one_line(fields.as_in_yaml(one)))]


def named(texts: Sequence[str]) -> list[Tracker]:
    """The trackers that are written as in an experiment, one each.

    Raises:
        SpecError: one is wrong.
    """
    found = []
    for text in texts:
        content: Json = {}
        try:
            reading.override(content, {}, [f"to={text}"])
            found.append(fields.tracker(content["to"]))
        except ValidationError as error:
            problem = explain(error)[0]
            raise SpecError(problem.text, f"--to{'.' if problem.path else ''}{problem.path}") from None
        except ValueError as error:
            raise SpecError(str(error), "--to") from None
    return found


def track(folder: Path, to: Sequence[Tracker], say: Say) -> int:
    """Sends what was not sent yet of a run that has ended, finished or not.

    Args:
        to: which trackers; none: those that its experiment names.

    Returns:
        The exit code: 0 where everything is sent, else 3.

    Raises:
        GtsearchError: not a run folder, a run that goes on, no tracker to send to, or one that is not installed.
    """
    refuse_links(folder)
    if not (folder / SPEC).is_file():
        raise ResultsError(f"{folder} is not a run folder: it has no {SPEC}")
    if results.is_being_written(folder / LOG):
        raise TrackerError(f"the run in {folder} goes on, and sends what its experiment says; wait for its end")
    spec = load_spec(folder / SPEC)
    trackers = list(to) or spec.trackers
    if not trackers:
        raise TrackerError(f"the experiment of {folder} names no trackers; name one, such as --to tensorboard")
    for tracker in trackers:
        if not tracker.is_installed:
            raise TrackerError(tracker.missing)
    lines, environment = None, _environment(folder)
    if (folder / SUMMARY).exists():
        from gtsearch.closing import closing_lines

        read = results.load_results(folder)
        lines = closing_lines(read.summary, read.ledger, read.environment, folder / "report.html")
    if not any(True for _ in results.members(folder / LOG)):
        raise TrackerError(f"there is nothing to send of {folder}: no member is in")
    with Tracking(trackers, folder, spec, environment, say) as tracking:
        return 0 if tracking.end(lines, STILL_SECONDS, still=True) else BROKE_OFF


def _environment(folder: Path) -> Json:
    try:
        return results.read_json(folder / ENVIRONMENT)
    except GtsearchError:  # how the run was made is not known, and its members are
        return {}


def _began(environment: Mapping[str, Any]) -> float:
    """When the run began, in seconds since 1970; now where that is not known."""
    try:
        return datetime.strptime(str(environment["started"]), "%Y-%m-%d %H:%M:%S").timestamp()
    except (KeyError, ValueError):
        return time.time()
