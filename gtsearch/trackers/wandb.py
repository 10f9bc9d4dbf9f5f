"""Weights & Biases, by its own client: a run for each member, grouped by the gtsearch run, and one for its summary.

Offline, as by default, it writes into the run folder, and `wandb sync` sends it when somebody wants that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from gtsearch.trackers.base import DONE, FAILED, Ended, Member, Sender, TrackedRun, Tracker

_CONNECT_SECONDS = 20
_SUMMARY = "certificate"


class Wandb(Tracker):
    """Weights & Biases, offline into the run folder or online; needs `pip install 'gtsearch[wandb]'`.

    Who may write to a project is wandb's own matter (`wandb login`, WANDB_API_KEY).

    Attributes:
        project: wandb's project; None: called like the gtsearch experiment.
        entity: the user or team; None: wandb's default.
        mode: `offline` writes files and sends nothing.
    """

    package: ClassVar[str] = "wandb"

    name: Literal["wandb"] = "wandb"
    project: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._ -]{1,128}$")
    entity: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    mode: Literal["offline", "online"] = "offline"

    @property
    def destination(self) -> str:
        where = "online" if self.mode == "online" else "files in the run folder"
        return f"{where}, project {self.project}" if self.project else where

    def surroundings(self, own: Path, scratch: Path) -> dict[str, str]:
        # Its settings of the user are read online alone, where they say which server.
        outside = ["WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"]
        outside += ["WANDB_CONFIG_DIR"] if self.mode == "offline" else []
        return dict.fromkeys(outside, str(scratch)) | {
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
            "WANDB_DISABLE_GIT": "true",
            "WANDB_DISABLE_CODE": "true",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_MODE": self.mode,
        }

    def open(self, run: TrackedRun) -> Sender:
        return _Client(self, run)


class _Client(Sender):
    def __init__(self, tracker: Wandb, run: TrackedRun) -> None:
        self.tracker, self.run, self.place = tracker, run, tempfile.mkdtemp()
        self.ours = run.group.rpartition("-")[2]

    def send(self, member: Member) -> None:
        kind = f"{member.tags['stage']} {member.tags['role']}"
        config = {**member.params, **member.tags}
        sent = self._begin(member.key, member.name, kind, config, [member.tags["method"], member.tags["status"]])
        for epoch, values in member.curve:
            sent.log(values | {"epoch": epoch}, step=epoch)
        sent.summary.update({**member.numbers, "status": member.tags["status"]})
        self._finish(sent, int(member.how == FAILED))

    def end(self, ended: Ended) -> None:
        import wandb

        if ended.how != DONE:
            return
        sent = self._begin(_SUMMARY, f"{self.run.name} {_SUMMARY}", _SUMMARY, self.run.tags, [])
        sent.notes = "\n".join(ended.lines)
        sent.summary.update(dict(ended.numbers))
        shown: dict[str, Any] = {f"figures/{path.stem}": wandb.Image(str(path)) for path in ended.figures}
        shown |= {path.stem: wandb.Html(str(path)) for path in ended.files if path.suffix == ".html"}
        sent.log(shown)
        for path in ended.files:
            if path.suffix != ".html":  # copied, since wandb would leave links
                copy = Path(sent.dir) / path.name
                shutil.copyfile(path, copy)
                sent.save(str(copy), base_path=sent.dir, policy="now")
        self._finish(sent, 0)

    def close(self) -> None:
        import wandb

        wandb.teardown()

    def _finish(self, sent: Any, exit_code: int) -> None:
        """Offline, what is whole moves into the run folder, without wandb's logs, which are links, and with its name
        alone: one run is one folder, however often it is sent."""
        folder = Path(sent.dir).parent
        sent.finish(exit_code=exit_code)
        if self.tracker.mode == "offline":
            for unneeded in ("logs", "tmp"):
                shutil.rmtree(folder / unneeded, ignore_errors=True)
            for before in self.run.own.glob(f"offline-run-*-{sent.id}"):
                shutil.rmtree(before)
            self.run.own.mkdir(parents=True, exist_ok=True)
            shutil.move(folder, self.run.own / folder.name)

    def _begin(self, key: str, name: str, kind: str, config: Mapping[str, Any], tags: list[str]) -> Any:
        import wandb

        return wandb.init(
            project=self.tracker.project or self.run.experiment,
            entity=self.tracker.entity,
            mode=self.tracker.mode,
            dir=self.place,
            id=f"{self.ours}-{key}",
            name=name,
            group=self.run.name,
            job_type=kind,
            tags=tags,
            config=dict(config),
            resume="allow" if self.tracker.mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(init_timeout=_CONNECT_SECONDS, x_disable_stats=True, x_disable_meta=True),
        )
