"""MLflow, by its MlflowClient: a parent run for the whole, and a run nested in it for each member.

Members are told apart by the tag `gtsearch.key` within `gtsearch.group`, by which what a crash left of one is found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from gtsearch.trackers.base import DONE, FAILED, STOPPED, Ended, Member, Sender, TrackedRun, Tracker, masked

GROUP, KEY = "gtsearch.group", "gtsearch.key"
_STATUS = {DONE: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED"}
_MOST_METRICS = 1000  # of one request, and
_MOST_PARAMS = 100  # which is MLflow's bound for tags too
_URI = "MLFLOW_TRACKING_URI"


class Mlflow(Tracker):
    """An MLflow server, or a database in the run folder; needs `pip install 'gtsearch[mlflow]'`.

    Attributes:
        uri: an address such as `http://127.0.0.1:5000` or `sqlite:////whole/path/mlflow.db`, without user or password;
            None: what the environment variable `MLFLOW_TRACKING_URI` says, else a database in the run folder.
        experiment: MLflow's experiment; None: called like the gtsearch experiment.
    """

    package: ClassVar[str] = "mlflow"

    name: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: str | None = Field(default=None, min_length=1, max_length=250)

    @field_validator("uri")
    @classmethod
    def _refuse_secrets(cls, uri: str | None) -> str | None:
        if uri is None:
            return uri
        if re.search(r"://[^/]*@", uri) or "?" in uri:  # the message must not repeat it
            raise ValueError(
                "must hold no user, password or token, since spec.yaml is kept and shown; give them in "
                f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or leave uri out and set {_URI}"
            )
        if not re.match(r"(https?://[^/\s]+|sqlite:////|file:///|(postgresql|mysql|mssql)[+\w]*://|databricks)", uri):
            raise ValueError(
                "must be an address such as http://127.0.0.1:5000 or sqlite:////whole/path/mlflow.db; leave it out for "
                "a database in the run folder"
            )
        return uri

    @property
    def destination(self) -> str:
        into = f", experiment {self.experiment}" if self.experiment else ""
        return (masked(self.uri, os.environ) if self.uri else "a database in the run folder") + into

    def settled(self, environment: Mapping[str, str]) -> Self:
        return self.model_copy(update={"uri": self.uri or environment.get(_URI) or None})

    def surroundings(self, own: Path, scratch: Path) -> dict[str, str]:
        # Retries are the courier's: it goes on with the next attempt later, and the run need not wait for it.
        usual = {
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_ALLOW_FILE_STORE": "true",  # for those who ask for one by its address
        }
        return {name: os.environ.get(name, value) for name, value in usual.items()} | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }

    def open(self, run: TrackedRun) -> Sender:
        return _Client(self, run)


class _Client(Sender):
    def __init__(self, tracker: Mlflow, run: TrackedRun) -> None:
        from mlflow.tracking import MlflowClient

        self.run, uri, files = run, tracker.uri, None
        if uri is None:
            run.own.mkdir(parents=True, exist_ok=True)
            uri, files = f"sqlite:///{(run.own / 'mlflow.db').resolve()}", (run.own / "artifacts").resolve().as_uri()
        self.client: Any = MlflowClient(tracking_uri=uri)
        self.experiment = self._experiment(tracker.experiment or run.experiment, files)
        self.there = {one.data.tags.get(KEY): one.info for one in self._runs()}
        self.parent = self._parent()

    def send(self, member: Member) -> None:
        from mlflow.entities import Metric, Param

        if (begun := self.there.pop(member.key, None)) is not None:
            if begun.status != "RUNNING":
                return
            self.client.delete_run(begun.run_id)  # a crash left it half sent
        milliseconds = round(1000 * member.began)
        points = [*member.curve, (member.epochs, member.numbers)]
        metrics = [
            Metric(name, value, milliseconds + round(1000 * values.get("train_seconds", 0.0)), epoch)
            for epoch, values in points
            for name, value in values.items()
        ]
        tags = {"mlflow.parentRunId": self.parent, GROUP: self.run.group, KEY: member.key, **member.tags}
        made = self.client.create_run(self.experiment, milliseconds, {**_of_us(), **tags}, member.name)
        params = [Param(name, str(value)) for name, value in member.params.items()]
        for some in _in_parts(params, _MOST_PARAMS):
            self.client.log_batch(made.info.run_id, params=some)
        for many in _in_parts(metrics, _MOST_METRICS):
            self.client.log_batch(made.info.run_id, metrics=many)
        self.client.set_terminated(made.info.run_id, _STATUS[member.how], round(1000 * member.ended))

    def end(self, ended: Ended) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, round(1000 * self.run.began), 0) for name, value in ended.numbers.items()]
        for many in _in_parts(metrics, _MOST_METRICS):
            self.client.log_batch(self.parent, metrics=many)
        if ended.lines:
            self.client.set_tag(self.parent, "mlflow.note.content", "\n".join(f"    {line}" for line in ended.lines))
        for path in (*ended.files, *ended.figures):
            self.client.log_artifact(self.parent, str(path), "figures" if path in ended.figures else None)
        self.client.set_terminated(self.parent, _STATUS[ended.how])

    def _experiment(self, name: str, files: str | None) -> str:
        from mlflow.exceptions import MlflowException

        for attempt in (1, 2):
            if (there := self.client.get_experiment_by_name(name)) is not None:
                return str(there.experiment_id)
            try:
                return str(self.client.create_experiment(name, artifact_location=files))
            except MlflowException:  # another run may have made it in between
                if attempt == 2:
                    raise
        raise AssertionError

    def _runs(self) -> Iterator[Any]:
        """What was sent of this run before."""
        token = None
        while True:
            found = self.client.search_runs(
                [self.experiment], f"tags.`{GROUP}` = '{self.run.group}'", max_results=1000, page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    def _parent(self) -> str:
        there = self.there.pop("", None)
        if there is not None:
            self.client.update_run(there.run_id, status="RUNNING")
            return str(there.run_id)
        tags = {GROUP: self.run.group, KEY: "", **self.run.tags}
        made = self.client.create_run(
            self.experiment, round(1000 * self.run.began), {**_of_us(), **tags}, self.run.name
        )
        return str(made.info.run_id)


def _in_parts(values: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    yield from (values[i : i + most] for i in range(0, len(values), most))


def _of_us() -> dict[str, str]:
    return {"mlflow.source.name": "gtsearch", "mlflow.source.type": "LOCAL"}
