"""What every tracker on the menu does, by its real client, read back from what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gtsearch import catalog, fields
from gtsearch.trackers.base import DONE, FAILED, STOPPED, Ended, TrackedRun, Tracker, masked, member_of

SETTINGS: dict[str, list[Any]] = {
    "tensorboard": ["tensorboard"],
    "mlflow": [{"name": "mlflow", "uri": "file:///{place}/store", "experiment": "mine"}],
    "wandb": [{"name": "wandb", "project": "mine"}],
}
"""Of each tracker on the menu, settings that need no network."""

ROW: dict[str, Any] = {
    "run_id": "0a1b2c3d4e5f6071",
    "attempt": 0,
    "stage": "target",
    "method": "transfer",
    "role": "report",
    "purpose": "report",
    "status": "cleared",
    "task": "modular_addition",
    "architecture": "mlp-d16-w32-L3",
    "params": 1234,
    "hyperparameters": {"lr": 0.02, "weight_decay": 3.0, "init_scale": 0.3, "embedding_scale": 1.5},
    "seed": 2**62 + 1,
    "split_seed": 3,
    "max_epochs": 100,
    "goal": 0.9,
    "epochs": 20,
    "epochs_to_goal": 10,
    "flops_to_goal": 1e12,
    "seconds_to_goal": 0.5,
    "train_seconds": 1.0,
    "eval_seconds": 0.25,
    "train_flops": 2e12,
    "best_val_accuracy": 0.95,
    "test_accuracy": 0.94,
    "elapsed_seconds": 60.0,
    "curve": [
        {"epoch": epoch, "val_accuracy": 0.04 * epoch, "train_loss": loss, "train_seconds": epoch / 20}
        for epoch, loss in ((0, 4.0), (10, None), (20, 0.5))
    ],
    "probed": [{"epoch": 10, "weight_norm": 7.0}],
}
MISSED = ROW | {
    "run_id": "ffff2c3d4e5f6071",
    "status": "exhausted",
    **dict.fromkeys(("epochs_to_goal", "flops_to_goal", "seconds_to_goal", "test_accuracy")),
}
BROKEN = ROW | {"run_id": "eeee2c3d4e5f6071", "status": "diverged", "error": "Traceback\n  ValueError: é" * 300}
NEEDLESS = ROW | {"run_id": "0a1b2c3d4e5f6071", "status": "cancelled"}
MEMBERS = [member_of(row, line, 1e9) for line, row in enumerate([ROW, MISSED, BROKEN, NEEDLESS], start=1)]
ENDED = Ended(DONE, ["weak  mlp pays", "report  here"], {"methods.transfer.reached": 8.0})


@dataclass
class Found:
    """A member as a tracker tells it."""

    params: dict[str, Any]
    numbers: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    failed: bool
    extra: dict[str, Any] = field(default_factory=dict)


def read_tensorboard(run: TrackedRun, tracker: Tracker) -> Iterator[tuple[str, Found]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, metadata

    for path in sorted(run.own.rglob("events.out.tfevents*")):
        assert len(list(path.parent.iterdir())) == 1
        events = EventAccumulator(str(path.parent))
        events.Reload()
        name = path.parent.relative_to(run.own).as_posix()
        if name == "certificate":
            [text] = events.Tensors("certificate/text_summary")
            assert ENDED.lines[0].encode() in text.tensor_proto.string_val[0]
            continue
        plugin = events.summary_metadata
        start, end = (
            metadata.parse_session_start_info_plugin_data(plugin[metadata.SESSION_START_INFO_TAG].plugin_data.content),
            metadata.parse_session_end_info_plugin_data(plugin[metadata.SESSION_END_INFO_TAG].plugin_data.content),
        )
        params = {key: value.string_value or value.number_value for key, value in start.hparams.items()}
        scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        numbers = {tag: found[-1][1] for tag, found in scalars.items()}
        yield name, Found(params, numbers, scalars, end.status == api_pb2.STATUS_FAILURE)


def read_mlflow(run: TrackedRun, tracker: Tracker) -> Iterator[tuple[str, Found]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=tracker.model_dump()["uri"])
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    every = client.search_runs([experiment.experiment_id])
    [parent] = [one for one in every if "mlflow.parentRunId" not in one.data.tags]
    assert parent.info.run_name == run.name and parent.data.metrics == dict(ENDED.numbers)
    assert parent.info.status == "FINISHED" and ENDED.lines[0] in parent.data.tags["mlflow.note.content"]
    for one in every:
        if one is not parent:
            assert one.data.tags["mlflow.parentRunId"] == parent.info.run_id
            history = {
                tag: [(m.step, m.value) for m in client.get_metric_history(one.info.run_id, tag)]
                for tag in one.data.metrics
            }
            params = {**one.data.tags, **one.data.params}
            yield one.info.run_name, Found(params, one.data.metrics, history, one.info.status == "FAILED")


def read_wandb(run: TrackedRun, tracker: Tracker) -> Iterator[tuple[str, Found]]:
    from wandb.proto import wandb_internal_pb2

    for path in sorted(run.own.glob("offline-run-*/*.wandb")):
        found, name = Found({}, {}, {}, False), ""
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                name = record.run.display_name
                assert record.run.run_group == run.name and record.run.project == "mine"
                found.params |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            for item in record.history.item:
                key = item.key or ".".join(item.nested_key)
                if not key.startswith("_"):
                    found.curves.setdefault(key, []).append((record.history.step.num, json.loads(item.value_json)))
            summary = {item.key or ".".join(item.nested_key): item.value_json for item in record.summary.update}
            found.numbers |= {key: json.loads(value) for key, value in summary.items()}
            found.failed = found.failed or record.exit.exit_code != 0
        if "certificate" in name:
            assert found.numbers["methods.transfer.reached"] == 8
        else:
            yield name, found


def records(content: bytes) -> Iterator[bytes]:
    """Of a log as LevelDB writes it, after wandb's header of 7 bytes: pieces, of which none crosses a block."""
    at, whole, block, header = 7, b"", 32768, 7
    while at + header <= len(content):
        if block - at % block < header:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + header])
        whole += content[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):  # the only piece of a record, or its last
            yield whole
            whole = b""


READ = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


def test_every_tracker_on_the_menu_is_tried() -> None:
    assert set(SETTINGS) == set(READ) == set(catalog.TRACKERS)


@pytest.fixture(params=[(name, i) for name in SETTINGS for i in range(len(SETTINGS[name]))], ids=lambda one: one[0])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Tracker:
    name, i = request.param
    given = SETTINGS[name][i]
    if isinstance(given, dict):
        given = {key: value.replace("/{place}", str(tmp_path)) for key, value in given.items()}
    return fields.tracker(given)


def test_members_arrive_whole_once_and_as_they_were(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    own = tmp_path / "run" / "trackers" / tracker.label
    for name, value in tracker.surroundings(own, scratch).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run = TrackedRun("run", "run-12345678", tmp_path / "run", own, "tiny", 1e9, {"task": "a + b mod 17"})

    half = tracker.open(run)
    with contextlib.suppress(Exception):  # as far as a client got before a crash
        half.send(replace(MEMBERS[1], numbers={"*": 1.0}))  # no name of a metric, to MLflow
    half.close()
    for ended in (Ended(STOPPED), ENDED):  # the second time as a resume after a crash sends it
        sender = tracker.open(run)
        for member in MEMBERS:
            sender.send(member)
        sender.end(ended)
        sender.close()

    every = list(READ[tracker.name](run, tracker))
    told = dict(every)
    assert sorted(name for name, _ in every) == sorted(member.name for member in MEMBERS)
    for member in MEMBERS:
        found = told[member.name]
        assert float(found.params["lr"]) == 0.02 and found.params["architecture"] == "mlp-d16-w32-L3"
        assert str(found.params["seed"]) == str(2**62 + 1)
        assert (found.params["stage"], found.params["method"]) == ("target", "transfer")
        assert (found.params["status"], found.params["run_id"]) == (member.tags["status"], member.key[:16])
        assert found.curves["val_accuracy"] == [(0, 0.0), (10, pytest.approx(0.4)), (20, pytest.approx(0.8))]
        assert found.curves["train_loss"] == [(0, 4.0), (20, 0.5)], "what is null is absent"
        assert found.curves["probes/weight_norm"] == [(10, 7.0)]
        assert found.numbers["train_flops"] == pytest.approx(2e12)
        assert found.failed == (member.how == FAILED)
    cleared, missed = (told[member.name].numbers for member in MEMBERS[:2])
    assert cleared["epochs_to_goal"] == 10 and cleared["test_accuracy"] == pytest.approx(0.94)
    assert not {"epochs_to_goal", "flops_to_goal", "seconds_to_goal", "test_accuracy"} & set(missed)

    kept = [path for path in tmp_path.rglob("*") if path.is_file() and scratch not in path.parents]
    assert kept and all(path.is_relative_to(own) or path.is_relative_to(tmp_path / "store") for path in kept)
    assert not [path for path in own.rglob("*") if path.is_symlink()]


def test_labels_tell_trackers_apart() -> None:
    given = ["tensorboard", "mlflow", "wandb", {"name": "wandb", "mode": "online"}, {"name": "wandb", "project": "a"}]
    labels = [fields.tracker(one).label for one in given]
    assert labels[:3] == ["tensorboard", "mlflow", "wandb"] and len(set(labels)) == len(labels)
    assert all(label.replace("-", "").isalnum() for label in labels)


def test_secrets_are_masked() -> None:
    environment = {"MLFLOW_TRACKING_TOKEN": "hunter22", "HOME": "/root"}
    told = masked("asked https://me:pw@host/x\nwith hunter22 in /root", environment)
    assert told == "asked https://***@host/x with *** in /root"


def test_mlflow_takes_its_address_from_its_own_variable_alone_when_none_is_given() -> None:
    settled = fields.tracker("mlflow").settled({"MLFLOW_TRACKING_URI": "https://me:pw@host"})
    assert settled.model_dump()["uri"] == "https://me:pw@host" and "pw" not in settled.destination
    given = fields.tracker({"name": "mlflow", "uri": "http://127.0.0.1:5000"})
    assert given.settled({"MLFLOW_TRACKING_URI": "http://other"}) == given


def test_wandb_sends_nothing_unless_it_is_told_to() -> None:
    assert fields.tracker("wandb").surroundings(Path("own"), Path("scratch"))["WANDB_MODE"] == "offline"
    assert "WANDB_MODE" not in os.environ
