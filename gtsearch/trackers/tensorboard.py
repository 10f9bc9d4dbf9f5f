"""TensorBoard: event files in the run folder, by tensorboard's own writer.

A member is a TensorBoard run, a folder named by method, role and key: its curve as scalars by epoch, what it came to as
scalars at its last epoch, and the whole as a session of the HParams tab. The run `certificate` holds the closing lines
as text and the figures as images.
"""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from gtsearch.trackers.base import FAILED, Ended, Member, Sender, TrackedRun, Tracker

_WHOLE_IN_A_FLOAT = 2**53
_CERTIFICATE = "certificate"


class TensorBoard(Tracker):
    """Event files in the run folder; needs `pip install 'gtsearch[tensorboard]'`.

    `tensorboard --logdir RUN/trackers/tensorboard` shows them.
    """

    package: ClassVar[str] = "tensorboard"

    name: Literal["tensorboard"] = "tensorboard"

    @property
    def destination(self) -> str:
        return "files in the run folder"

    def open(self, run: TrackedRun) -> Sender:
        return _Files(run)


class _Files(Sender):
    """Each folder is written anew as a whole, so that what a crash left of it does not count twice."""

    def __init__(self, run: TrackedRun) -> None:
        self.run = run

    def send(self, member: Member) -> None:
        def write(add: _Add) -> None:
            add(_session_start(member), 0, member.began)
            for epoch, values in member.curve:
                # A curve tells seconds of training; when they passed is only known of the whole.
                add(_scalars(values), epoch, min(member.began + values.get("train_seconds", 0.0), member.ended))
            add(_scalars(member.numbers), member.epochs, member.ended)
            add(_session_end(member), member.epochs, member.ended)

        self._write(self.run.own.joinpath(*member.name.split("/")), write)

    def end(self, ended: Ended) -> None:
        if not (ended.lines or ended.figures):
            return

        def write(add: _Add) -> None:
            add(_text("certificate", "```\n" + "\n".join(ended.lines) + "\n```"), 0, self.run.began)
            if ended.numbers:
                add(_scalars(ended.numbers), 0, self.run.began)
            for path in ended.figures:
                add(_image(f"figures/{path.stem}", path), 0, self.run.began)

        self._write(self.run.own / _CERTIFICATE, write)

    def _write(self, folder: Path, write: Callable[[_Add], None]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        shutil.rmtree(folder, ignore_errors=True)
        writer = EventFileWriter(str(folder))
        try:
            write(lambda summary, step, at: writer.add_event(Event(wall_time=at, step=step, summary=summary)))
        finally:
            writer.close()


_Add = Callable[[Any, int, float], None]
"""Takes a Summary, its step, and when it was, in seconds since 1970."""


def _session_start(member: Member) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

    info = SessionStartInfo(group_name=member.key, start_time_secs=member.began)
    for name, value in {**member.tags, **member.params}.items():
        # Numbers are kept as floats, in which a seed would lose digits.
        if isinstance(value, str) or abs(value) > _WHOLE_IN_A_FLOAT:
            info.hparams[name].string_value = str(value)
        else:
            info.hparams[name].number_value = value
    return _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def _session_end(member: Member) -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

    how = api_pb2.STATUS_FAILURE if member.how == FAILED else api_pb2.STATUS_SUCCESS
    info = SessionEndInfo(status=how, end_time_secs=member.ended)
    return _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def _hparams(tag: str, **content: Any) -> Any:
    """What `tensorboard.plugins.hparams.summary` makes, which needs tensorflow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plugin = metadata.create_summary_metadata(HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content))
    return Summary(value=[Summary.Value(tag=tag, metadata=plugin, tensor=metadata.NULL_TENSOR)])


def _scalars(values: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=_within(value)) for name, value in values.items()])


def _within(value: float) -> float:
    """Scalars are of 32 bits; what is beyond them would be refused."""
    return math.inf if value > 3.4e38 else value


def _text(tag: str, markdown: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    content = TensorProto(
        dtype="DT_STRING",
        string_val=[markdown.encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary(value=[Summary.Value(tag=f"{tag}/text_summary", metadata=plugin, tensor=content)])


def _image(tag: str, png: Path) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    content = png.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the header chunk, the first of every PNG
    image = Summary.Image(encoded_image_string=content, width=width, height=height, colorspace=4)
    return Summary(value=[Summary.Value(tag=tag, image=image)])
