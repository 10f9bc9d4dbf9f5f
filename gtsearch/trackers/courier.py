"""The process that sends a run's members to one tracker. `gtsearch.tracking` starts it; run as a program.

A tracker's client may hang, print, take signals, start processes and end the one it is in: here it does so without the
run. What is sent is read from members.log, whose finished lines the run announces, so that nothing waits for a tracker
and nothing is kept in memory for it. What was sent is marked in the run folder, member by member:
`trackers/LABEL.json`, beside `trackers/LABEL/` for the tracker's own files.

Standard input, a JSON object a line: first an order (`gtsearch.tracking`), then `{"bytes": N}` for the length of the
log that is finished, then `{"end": ...}`. When it closes, or the run dies, this process ends. Standard output says, a
JSON object a line, `{"sent": N}`, `{"trouble": TEXT}`, `{"gone": TEXT}` for giving up after the end, `{"done": N}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gtsearch import catalog, results
from gtsearch.errors import ResultsError
from gtsearch.results import LOG, SUMMARY
from gtsearch.trackers.base import DONE, STOPPED, Ended, Sender, TrackedRun, Tracker, masked, member_of, numbers_of
from gtsearch.trust import TRACKERS

AGAIN_SECONDS, MOST_SECONDS = 5.0, 60.0  # until a tracker that failed is asked again, at first and at most
LOOK_SECONDS = 1.0
FILES = ("report.html", "summary.json", "spec.yaml", "environment.json", "trials.parquet")
_LONGEST = 200  # characters of a reason
SHOWN_SECONDS = 0.5  # between two words of how far it is

Json = dict[str, Any]


class Mark:
    """What was sent of a run to one tracker: so many members, that is so many bytes of its log.

    Raises:
        ResultsError: the file is damaged.
    """

    def __init__(self, path: Path, run: str, began: float) -> None:
        self.path = path
        if path.exists():
            said = results.read_json(path)
            try:
                self.group, self.began = str(said["group"]), float(said["began"])
                self.bytes, self.members, self.summary = int(said["bytes"]), int(said["members"]), said["summary"]
            except (KeyError, TypeError, ValueError):
                raise ResultsError(f"{path} is damaged; delete it, and everything is sent anew") from None
        else:
            self.group, self.began = f"{run}-{uuid.uuid4().hex[:8]}", began
            self.bytes, self.members, self.summary = 0, 0, None
            path.parent.mkdir(exist_ok=True)
            self.save()

    def save(self) -> None:
        kept = {name: getattr(self, name) for name in ("group", "began", "bytes", "members", "summary")}
        results.write_json(self.path, kept)


class Heard:
    """What the run said so far. Its thread ends this process when there is no run any more."""

    def __init__(self, driver: int) -> None:
        self.bytes = 0
        self.end: Json | None = None
        self.news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch, args=(driver,), daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            said = json.loads(line)
            with self.news:
                self.bytes, self.end = said.get("bytes", self.bytes), said.get("end", self.end)
                self.news.notify()
        os._exit(0)

    def _watch(self, driver: int) -> None:
        """A process that the run forked may hold our input open for longer than the run lives."""
        while os.getppid() == driver:
            time.sleep(LOOK_SECONDS)
        os._exit(0)

    def wait(self, known: int, seconds: float | None = None) -> None:
        """Until there is more than `known` bytes of the log, or the end; at most so long."""
        with self.news:
            self.news.wait_for(lambda: self.end is not None or (seconds is None and self.bytes > known), seconds)


class Courier:
    """Sends what is finished of one run to one tracker.

    Args:
        order: as the run gives it, first of all.
        say: takes what is said to the run.
    """

    def __init__(self, order: Json, heard: Heard, say: Any) -> None:
        self.folder, self.heard, self.say = Path(order["folder"]), heard, say
        settings = order["tracker"]
        self.tracker: Tracker = catalog.load("tracker", settings["name"])(**settings)
        self.mark = Mark(self.folder / TRACKERS / f"{self.tracker.label}.json", self.folder.name, order["began"])
        self.run = TrackedRun(
            name=self.folder.name,
            group=self.mark.group,
            folder=self.folder,
            own=self.folder / TRACKERS / self.tracker.label,
            experiment=order["experiment"],
            began=self.mark.began,
            tags=order["tags"],
        )
        self.sender: Sender | None = None
        self.shown = 0.0

    def work(self) -> None:
        """Sends until the run has ended and all of it is sent, or cannot be."""
        pause = AGAIN_SECONDS
        while True:
            end = self.heard.end
            try:
                self._send(self.heard.bytes)
                if end is not None:
                    self._end(end)
                    self.say({"sent": self.mark.members, "done": self.mark.members})
                    return
                pause = AGAIN_SECONDS
            except (Exception, SystemExit) as error:
                self._drop()
                self.say({"sent": self.mark.members, "gone" if end is not None else "trouble": _reason(error)})
                if end is not None:
                    return
                self.heard.wait(self.mark.bytes, pause)
                pause = min(2 * pause, MOST_SECONDS)
                continue
            self.heard.wait(self.mark.bytes)

    def _send(self, limit: int) -> None:
        for row, end in self._rows(limit):
            self._open().send(member_of(row, self.mark.members + 1, self.mark.began))
            self.mark.bytes, self.mark.members = end, self.mark.members + 1
            self.mark.save()
            if time.monotonic() - self.shown >= SHOWN_SECONDS:
                self.shown = time.monotonic()
                self.say({"sent": self.mark.members})

    def _rows(self, limit: int) -> Iterator[tuple[Json, int]]:
        with (self.folder / LOG).open("rb") as file:
            file.seek(self.mark.bytes)
            while file.tell() < limit and (line := file.readline()).endswith(b"\n"):
                yield json.loads(line), file.tell()

    def _end(self, end: Json) -> None:
        ended = self._ended(end)
        summary = hashlib.sha256((self.folder / SUMMARY).read_bytes()).hexdigest() if ended.how == DONE else None
        if self.sender is None and self.mark.summary == (summary or STOPPED):
            return  # all of it was sent before
        self._open().end(ended)
        self.mark.summary = summary or STOPPED
        self.mark.save()
        self._drop()

    def _ended(self, end: Json) -> Ended:
        if end["how"] != DONE:
            return Ended(STOPPED)
        return Ended(
            how=DONE,
            lines=end["lines"],
            numbers=numbers_of(results.read_json(self.folder / SUMMARY)),
            files=[self.folder / name for name in FILES if (self.folder / name).is_file()],
            figures=sorted((self.folder / "figures").glob("*.png")),
        )

    def _open(self) -> Sender:
        if self.sender is None:
            self.sender = self.tracker.open(self.run)
        return self.sender

    def _drop(self) -> None:
        sender, self.sender = self.sender, None
        if sender is not None:
            try:
                sender.close()
            except Exception as error:
                self.say({"trouble": _reason(error)})


def _reason(error: BaseException) -> str:
    """Why something failed, in a line: what the system said, where clients wrap that in pages of their own."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    what = masked(str(error) or type(error).__name__, dict(os.environ))
    return what if len(what) <= _LONGEST else f"{what[:_LONGEST]}..."


def main() -> None:
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # clients print

    def say(words: Json) -> None:
        output.write(json.dumps(words) + "\n")

    os.nice(10)  # the cores are for training
    order = json.loads(sys.stdin.readline())
    heard = Heard(order["driver"])
    try:
        Courier(order, heard, say).work()
    except (Exception, SystemExit) as error:  # a tracker that is never opened: a mark that is damaged, a full disk
        say({"gone": _reason(error)})
    output.flush()
    os._exit(0)  # a client may wait at Python's end for a server that is gone


if __name__ == "__main__":
    main()
