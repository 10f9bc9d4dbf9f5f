"""`table`: a task of one's own, from a CSV or an NPZ file."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gtsearch.catalog import nearest
from gtsearch.errors import TaskError
from gtsearch.tasks.base import EnumeratedTask, Part
from gtsearch.tasks.files import BROKEN, arrays, refuse_endless, unreadable

# An embedding has a row for each token, and a read-out one for each class.
MOST_TOKENS = 1_000_000
MOST_CLASSES = 100_000

_WHOLE = re.compile(r"[+-]?[0-9]+")


class Table(EnumeratedTask):
    """A CSV or NPZ file of your own, inputs and labels as they stand there.

    Rows with equal inputs stay in one part of the split: else a model would be tested on what it was trained on.

    Attributes:
        file: path of a .csv with a line of column names, or of an .npz with `x` [n, columns] and `y` [n]; a relative
            one starts at the current folder.
        label_column: the CSV's column of labels; all others are inputs. Labels are whole numbers from 0 on.
        inputs: what an input's numbers are: `tokens` or `vectors`; `auto`: tokens if all are written as whole numbers
            from 0 on (an NPZ: if `x` is of a whole-number type), else vectors.
        classes: how many labels there are; None: as many as the largest asks for.
        vocabulary: how many tokens there are; None: as many as the largest asks for.
        sha256: of the file, in hex; filled in, so that a run and its embeddings stay tied to its content.
    """

    file: str
    label_column: str = "label"
    inputs: Literal["auto", "tokens", "vectors"] = "auto"
    classes: int | None = Field(default=None, ge=2, le=MOST_CLASSES)
    vocabulary: int | None = Field(default=None, ge=2, le=MOST_TOKENS)
    sha256: str | None = Field(default=None, validate_default=True)

    @field_validator("file")
    @classmethod
    def _can_be_read(cls, file: str) -> str:
        # Workers run in folders of their own, where a relative path would lead elsewhere.
        path = Path(file).expanduser().absolute()
        _pinned(path, None)
        return str(path)

    @field_validator("sha256")
    @classmethod
    def _is_as_it_was(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        file = info.data.get("file")
        return sha256 if file is None else _pinned(Path(file), sha256)  # without a file, it is refused

    @property
    def vectors(self) -> bool:
        return self._content.x.is_floating_point()

    @property
    def d_vocab(self) -> int:
        x = self._content.x
        if self.vectors:
            return x.shape[1]
        return self.vocabulary or int(x.max()) + 1

    @property
    def n_tokens(self) -> int:
        return 1 if self.vectors else self._content.x.shape[1]

    @property
    def n_classes(self) -> int:
        return self.classes or int(self._content.y.max()) + 1

    @property
    def n_examples(self) -> int:
        return len(self._content)

    @property
    def title(self) -> str:
        return f"{self.label_column} of {Path(self.file).name}"

    @property
    def why_vectors(self) -> str | None:
        return self._read.why_vectors

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for note in (self._read.why_vectors, self._read.contradiction) if note)

    def examples(self) -> Part:
        """x [n, columns] int64 or float32, y [n] int64, in the order of the file."""
        return self._content

    def groups(self) -> Tensor | None:
        """Rows with equal inputs are one group."""
        names = self._content.x.unique(dim=0, return_inverse=True)[1]
        return names if int(names.max()) + 1 < len(names) else None

    def prepare(self) -> None:
        _pinned(Path(self.file), self.sha256)

    @property
    def _content(self) -> Part:
        return self._read.part

    @property
    def _read(self) -> _Read:
        assert self.sha256 is not None, "filled in"
        return _part(Path(self.file), self.sha256, self.label_column, self.inputs, self.classes, self.vocabulary)


@dataclass(frozen=True)
class _Numbers:
    """A file's content as numbers.

    Attributes:
        x, y: [n, columns] and [n].
        whole: whether all of x is written as whole numbers.
        odd: of a CSV, column of inputs -> the first cell that is no token, and its line.
    """

    x: np.ndarray
    y: np.ndarray
    whole: bool
    odd: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """A file's examples, and what is good to know about them (`Task.why_vectors`, `Task.notes`)."""

    part: Part
    why_vectors: str | None
    contradiction: str | None


def _pinned(path: Path, sha256: str | None) -> str:
    """The SHA-256 of a file in hex, if it is `sha256` or that is None."""
    try:
        refuse_endless(path)
        status = os.stat(path)
        found = _sha256(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError) as error:  # a ValueError: the path holds a NUL
        why = getattr(error, "strerror", error)
        raise TaskError(f"the table {path} cannot be read: {why}; give the path of a file") from None
    if sha256 not in (None, found):
        raise TaskError(
            f"the table {path} was changed: its sha256 is {found[:12]}..., not {sha256[:12]}...; restore it, or leave "
            "`sha256` out and start anew"
        )
    return found


@lru_cache(maxsize=64)
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    """Of the file as it was at that time: it is not read again as long as its time and size stay."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=8)
def _part(
    path: Path, sha256: str, label_column: str, inputs: str, classes: int | None, vocabulary: int | None
) -> _Read:
    """The file's examples, checked.

    Raises:
        TaskError: they make no task; one line that says where and why.
    """
    read = {".csv": _csv, ".npz": _npz}.get(path.suffix.lower())
    if read is None:
        raise TaskError(
            f"the table {path} must be a .csv or an .npz file, not {path.suffix or 'one without an ending'}"
        )
    _pinned(path, sha256)
    try:
        numbers = read(path, label_column)
    except TaskError:
        raise
    except (*BROKEN, csv.Error) as error:
        raise unreadable(path, error) from None
    _refuse_bad_shapes(path, numbers)
    tokens = inputs == "tokens" or (inputs == "auto" and numbers.whole and numbers.x.min() >= 0)
    x = _tokens(path, numbers, vocabulary) if tokens else _vectors(path, numbers, vocabulary)
    part = Part(torch.from_numpy(x), torch.from_numpy(_labels(path, numbers.y, classes)))
    return _Read(part, _misread(path, numbers) if inputs == "auto" and not tokens else None, _contradiction(path, part))


def _misread(path: Path, numbers: _Numbers) -> str | None:
    """Where a few cells made vectors of what else would be tokens: most likely nobody meant that."""
    odd, columns = numbers.odd, numbers.x.shape[1]
    if not odd or not (numbers.whole or len(odd) == 1 < columns):
        return None
    column, (cell, line) = next(iter(odd.items()))
    return (
        f"column `{column}` of {path.name} holds {cell} (line {line}), so its inputs are vectors, not tokens; for "
        "tokens write whole numbers from 0 on, else `inputs: vectors`"
    )


def _contradiction(path: Path, part: Part) -> str | None:
    """How many rows have inputs that stand with another label, too."""
    inverse = part.x.unique(dim=0, return_inverse=True)[1]
    groups = int(inverse.max()) + 1
    if groups == len(part):
        return None
    least = torch.full((groups,), int(part.y.max())).scatter_reduce(0, inverse, part.y, "amin")
    most = torch.zeros(groups, dtype=torch.int64).scatter_reduce(0, inverse, part.y, "amax")
    torn = (least != most)[inverse]
    if not torn.any():
        return None
    return (
        f"{int(torn.sum())} rows of {path.name} have inputs that stand there with another label, too: no model gets "
        "all of them right; mend them, unless the noise is meant"
    )


def _csv(path: Path, label_column: str) -> _Numbers:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        names = [name.strip() for name in next(reader, [])]
        if not any(names):
            raise TaskError(f"the table {path} is empty: its first line must name the columns")
        if label_column not in names:
            _refuse_odd_header(path, names)
        if names.count(label_column) != 1:
            many = "more than one column" if label_column in names else "no column"
            near = nearest(label_column, names)
            hint = f"; did you mean `{near}`?" if near and near != label_column else ""
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise TaskError(f"the table {path} has {many} `{label_column}` for `label_column`{hint} (it has: {shown})")
        rows, odd, whole = [], dict[str, tuple[str, int]](), True
        for row in reader:
            if not row:  # an empty line
                continue
            where = f"the table {path}, line {reader.line_num}"
            if len(row) != len(names):
                raise TaskError(f"{where}: has {len(row)} cells where the first line has {len(names)}; mend the line")
            rows.append([_cell(cell, name, where) for cell, name in zip(row, names, strict=True)])
            for cell, name in zip(row, names, strict=True):
                if name == label_column or ((number := cell.strip()).isascii() and number.isdecimal()):
                    continue
                is_whole = _WHOLE.fullmatch(number) is not None
                whole = whole and is_whole
                if not is_whole or float(number) < 0:
                    odd.setdefault(name, (number, reader.line_num))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    label = names.index(label_column)
    return _Numbers(np.delete(table, label, axis=1), table[:, label], whole, odd)


def _refuse_odd_header(path: Path, names: Sequence[str]) -> None:
    """What a first line that does not name the columns most likely is.

    Raises:
        TaskError: it is divided by another sign, or is a row of numbers already.
    """
    for sign, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and sign in names[0]:
            raise TaskError(f"the columns of the table {path} are divided by {called}; write commas")
    try:
        list(map(float, names))
    except ValueError:
        return
    shown = ", ".join(names[:20])
    raise TaskError(f"the table {path} begins with numbers ({shown}); its first line must name the columns")


def _cell(cell: str, name: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TaskError(f"{where}, column `{name}`: {cell!r} is not a finite number; mend the cell")
    return number


def _npz(path: Path, label_column: str) -> _Numbers:
    x, y = arrays(path, ("x", "y"))
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise TaskError(f"the table {path}: `{name}` must hold numbers, not {array.dtype}; convert it")
        if not np.isfinite(array).all():
            raise TaskError(f"the table {path}: `{name}` holds NaN or infinite numbers; take these rows out")
    return _Numbers(x, y, x.dtype.kind != "f")


def _refuse_bad_shapes(path: Path, numbers: _Numbers) -> None:
    x, y = list(numbers.x.shape), list(numbers.y.shape)
    if len(x) != 2 or len(y) != 1 or x[0] != y[0]:
        raise TaskError(f"the table {path}: x must be [n, columns] and y [n], not {x} and {y}; reshape them")
    if 0 in x:
        what = "rows" if x[0] == 0 else "columns of inputs"
        raise TaskError(f"the table {path} is empty: it has no {what}; give it some")


def _tokens(path: Path, numbers: _Numbers, vocabulary: int | None) -> np.ndarray:
    """x [n, columns] int64 in [0, vocabulary)."""
    x = numbers.x
    if not numbers.whole or x.min() < 0:
        odd = x[(x < 0) | (x != np.floor(x))]
        shown = f"not {odd.flat[0]:g}" if odd.size else "and written as such"
        raise TaskError(
            f"the table {path}: tokens must be whole numbers from 0 on, {shown}; or write `inputs: vectors`"
        )
    most = int(x.max())
    if vocabulary is not None and most >= vocabulary:
        rule = f"a token is {most} where `vocabulary` is {vocabulary}"
        raise TaskError(f"the table {path}: {rule}; it must be {most + 1} or more")
    if most >= MOST_TOKENS:
        rule = f"the largest token is {most}, and an embedding has at most {MOST_TOKENS} rows"
        raise TaskError(f"the table {path}: {rule}; number the tokens from 0 on, or write `inputs: vectors`")
    return x.astype(np.int64)


def _vectors(path: Path, numbers: _Numbers, vocabulary: int | None) -> np.ndarray:
    """x [n, columns] float32."""
    if vocabulary is not None:
        raise TaskError(f"the table {path} has vectors, which have no `vocabulary` ({vocabulary}); take it out")
    with np.errstate(over="ignore"):
        x = numbers.x.astype(np.float32)
    if not np.isfinite(x).all():
        most = np.abs(numbers.x.astype(np.float64)).max()
        raise TaskError(f"the table {path}: {most:g} is too large for a float32; scale the inputs")
    return x


def _labels(path: Path, y: np.ndarray, classes: int | None) -> np.ndarray:
    """y [n] int64 in [0, classes)."""
    whole = y == np.floor(y) if y.dtype.kind == "f" else np.ones(len(y), dtype=bool)
    most = MOST_CLASSES if classes is None else classes
    for wrong, rule in (
        (~whole, "is not a whole number; number the classes from 0 on"),
        (y < 0, "is below 0; number the classes from 0 on"),
        (
            y >= most,
            f"is not below {most}, the number of classes; "
            + ("renumber them" if classes is None else "raise `classes`"),
        ),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise TaskError(f"the table {path}: the label {y[row]:g} of row {row + 1} {rule}")
    if y.max() < 1 and classes is None:
        raise TaskError(f"the table {path}: all labels are 0; there must be two classes or more")
    return y.astype(np.int64)
