"""`file`: E is read from a file: an embedding that gtsearch wrote, or any table as numpy's .npy. Never a pickle.

A file of gtsearch says which examples it was trained on, and is refused where a target would be judged by them. An
.npy file says nothing: whose it is, and whether it has seen the validation examples, is for its owner to know.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gtsearch import embedding as artefact
from gtsearch.errors import EmbeddingError
from gtsearch.methods.base import Given
from gtsearch.methods.fixed import FixedEmbedding
from gtsearch.models.base import Sizes
from gtsearch.tasks.base import Task


class File(FixedEmbedding):
    """E given and held: read from a file.

    Its rows are scaled to length 1. `sha256` is filled in where the file can be read; `problems` tells where it cannot.

    Attributes:
        path: of a .safetensors file that gtsearch wrote for another task, or of an .npy file [d_vocab, columns].
        sha256: of the file, in hex; filled in, so that a run stays tied to its content.
    """

    over_vectors: ClassVar[bool] = True

    path: str
    sha256: str | None = Field(default=None, validate_default=True)

    @field_validator("path")
    @classmethod
    def _whole(cls, path: str) -> str:
        # Workers run in folders of their own, where a relative path would lead elsewhere.
        return str(Path(path).expanduser().absolute())

    @field_validator("sha256")
    @classmethod
    def _pinned(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        path = info.data.get("path")
        if sha256 is None and path is not None:
            with suppress(EmbeddingError):
                return hashlib.sha256(artefact.content(Path(path))).hexdigest()
        return sha256

    def columns(self, task: Task) -> int:
        return self._read()[0].shape[1]

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        try:
            E, header = self._read()
        except EmbeddingError as error:
            yield "path", str(error)
            return
        if len(E) != task.d_vocab:
            rule = f"{self.path} has {len(E)} rows where {task.title} needs {task.d_vocab}"
            yield "path", f"{rule}; give a table of one row each"
        if header is not None and artefact.same_examples(header.get("task") or {}, task.identity()):
            # On one split it could be right, but each replicate of a report has a split of its own.
            rule = f"{self.path} was trained on examples of {task.title} itself"
            why = "they would meet the validation or test of other splits"
            yield "path", f"{rule}: {why}; search with a `weak` stage, or give another task's embedding"
        yield from super().problems(task, target, weak, max_epochs)

    def rows(self, given: Given) -> Tensor:
        E, header = self._read()
        if header is not None:
            artefact.refuse_leak(header, given.task.identity(), given.train_sha256)
        return E

    def _read(self) -> tuple[Tensor, dict[str, Any] | None]:
        return read(Path(self.path), self.sha256)


def read(path: Path, sha256: str | None = None) -> tuple[Tensor, dict[str, Any] | None]:
    """The table [rows, columns] in a file, and the header where gtsearch wrote it.

    Raises:
        EmbeddingError: the file is missing, of another kind, not the one `sha256` names, not a table, or holds a
            number that is not finite.
    """
    if path.suffix == ".npy":
        E, header = _numpy(path, sha256), None
    elif path.suffix == ".safetensors":
        E, _, header = artefact.read(path, sha256)
    else:
        raise EmbeddingError(f"an embedding is a .safetensors file of gtsearch's or an .npy file, not {path}")
    if E.ndim != 2 or 0 in E.shape:
        raise EmbeddingError(f"{path} must hold a table [d_vocab, columns], not shape {list(E.shape)}; save one")
    if not E.isfinite().all():
        raise EmbeddingError(f"{path} holds a number that is not finite; mend the table")
    return E, header


def _numpy(path: Path, sha256: str | None) -> Tensor:
    data = artefact.content(path, sha256)
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise EmbeddingError(f"{path} is not a table of numbers as numpy saves one ({error})") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise EmbeddingError(f"{path} must hold numbers, not {getattr(array, 'dtype', type(array).__name__)}")
    return torch.from_numpy(array.astype(np.float64))
