"""`text`: the next character of a text, from the .txt files of a folder, or of one that is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from gtsearch.errors import TaskError
from gtsearch.tasks.base import Part, Splits, Task, fingerprint
from gtsearch.tasks.corpus import corpus
from gtsearch.tasks.files import refuse_endless

PIECE = 512
"""Characters of a piece of text. Whole pieces go into one part of the split, and no window reaches over the end of one;
their ends do not depend on `context`, so that tasks of two contexts train on the same text."""

_MOST_BYTES = 64 * 2**20
_MOST_CHARACTERS = 4096  # an embedding has a row for each


class Text(Task):
    """The next character of a text, of your own or made up.

    Examples are windows of `context` characters, each with the one that follows it (`answers: last`), or with the
    following one at every position (`answers: all`).

    A text is cut into pieces, the seed deals them out, and parts take windows side by side from their own pieces. A
    window whose characters stand elsewhere too is used once.

    Attributes:
        context: characters of a window.
        answers: `all`: the next character at every position, for a `gpt`; `last`: after the last alone, for any model.
        n_train: windows to train on.
        n_validation: windows to validate on.
        n_test: windows to test on.
        folder: its .txt files, those in folders inside too, in UTF-8; a relative path starts at the current folder.
            None: a text of some 100,000 characters that a small grammar makes.
        sha256: of the text, in hex; filled in, so that a run and its embeddings stay tied to it.
    """

    context: int = Field(default=32, ge=1, le=PIECE - 1)
    answers: Literal["all", "last"] = "all"
    n_train: int = Field(default=256, ge=1, le=10**6)
    n_validation: int = Field(default=128, ge=1, le=10**6)
    n_test: int = Field(default=128, ge=1, le=10**6)
    folder: str | None = None
    sha256: str | None = Field(default=None, validate_default=True)

    @field_validator("folder")
    @classmethod
    def _can_be_read(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        # Workers run in folders of their own, where a relative path would lead elsewhere.
        path = Path(folder).expanduser().absolute()
        _read(path, _state(path))
        return str(path)

    @field_validator("sha256")
    @classmethod
    def _is_as_it_was(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        if "folder" not in info.data:  # it is refused
            return sha256
        return _refuse_another(info.data["folder"], sha256)

    @property
    def d_vocab(self) -> int:
        return len(self._content.characters)

    @property
    def n_tokens(self) -> int:
        return self.context

    @property
    def n_classes(self) -> int:
        return len(self._content.characters)

    @property
    def n_answers(self) -> int:
        return self.context if self.answers == "all" else 1

    @property
    def title(self) -> str:
        return f"next character of {_whence(self.folder)}, {self.context} before it"

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        sizes = self.n_train, self.n_validation, self.n_test
        windows = _windows(self.folder, self._pinned, self.context)
        # Each part but the last may leave most of its last piece unused.
        needed = sum(sizes) + 3 * (windows.most - 1)
        if len(windows.starts) < needed:
            text = self._content
            raise TaskError(
                f"{_whence(self.folder)} is too short: its {len(text.codes):,} characters have {len(windows.starts):,} "
                f"windows of {self.context} that differ, and {sum(sizes):,} in three parts need {needed:,}; give more "
                "text, or lower `context`, `n_train`, `n_validation` or `n_test`"
            )
        return sizes

    @property
    def chance(self) -> float:
        """The share of the most frequent character of the text."""
        return float(self._content.codes.bincount().max()) / len(self._content.codes)

    def prepare(self) -> None:
        _refuse_another(self.folder, self.sha256)

    def splits(self, split_seed: int) -> Splits:
        text, windows = self._content, _windows(self.folder, self._pinned, self.context)
        generator = torch.Generator().manual_seed(split_seed)
        order = torch.randperm(int(windows.piece[-1]) + 1, generator=generator)
        # Windows piece by piece, in the order the pieces are dealt.
        place = order.argsort()[windows.piece]
        dealt = place.argsort(stable=True)
        starts, pieces = windows.starts[dealt], place[dealt]
        parts, begin = [], 0
        for n in self.part_sizes:
            parts.append(self._part(text.codes, starts[begin : begin + n].sort().values))
            begin = int(torch.searchsorted(pieces, pieces[begin + n - 1], right=True))
        train, validation, test = parts
        return Splits(train, validation, test, fingerprint([train.x, train.y]))

    def _part(self, codes: Tensor, starts: Tensor) -> Part:
        characters = codes[starts[:, None] + torch.arange(self.context + 1)]
        following = characters[:, 1:] if self.answers == "all" and self.context > 1 else characters[:, -1]
        return Part(characters[:, :-1].contiguous(), following.contiguous())

    @property
    def _pinned(self) -> str:
        assert self.sha256 is not None, "filled in"
        return self.sha256

    @property
    def _content(self) -> _Text:
        return _text(self.folder)


@dataclass(frozen=True, eq=False)
class _Text:
    """A text.

    Attributes:
        codes: [characters] int64, places in `characters`; files one after another.
        characters: those that occur, sorted.
        pieces: (start, end) in `codes` of each piece.
    """

    codes: Tensor
    characters: str
    pieces: tuple[tuple[int, int], ...]
    sha256: str


@dataclass(frozen=True, eq=False)
class _Windows:
    """The windows of a text of which no two have the same characters before the last.

    Attributes:
        starts: [n] int64, where each begins.
        piece: [n] int64, which piece it lies in, rising from 0.
        most: the most of one piece.
    """

    starts: Tensor
    piece: Tensor
    most: int


def _whence(folder: str | None) -> str:
    return "made-up text" if folder is None else Path(folder).name


def _refuse_another(folder: str | None, sha256: str | None) -> str:
    """The SHA-256 of a text in hex, if it is `sha256` or that is None."""
    found = _text(folder).sha256
    if sha256 not in (None, found):
        raise TaskError(
            f"the text of {_whence(folder)} was changed: its sha256 is {found[:12]}..., not {str(sha256)[:12]}...; "
            "restore it, or leave `sha256` out and start anew"
        )
    return found


def _text(folder: str | None) -> _Text:
    return _made_up() if folder is None else _read(Path(folder), _state(Path(folder)))


@lru_cache(maxsize=1)
def _made_up() -> _Text:
    return _of([corpus()])


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of a folder's texts: they are not read again as long as these stay.

    Raises:
        TaskError: there is no such folder, or it holds no texts, or too much of them.
    """
    hint = "give a folder with .txt files, or leave `folder` out"
    try:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "is not there"
            raise TaskError(f"the folder {folder} {what}; {hint}")
        found = []
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".txt"):
            refuse_endless(path)
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    except (OSError, ValueError) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"the folder {folder} cannot be read: {getattr(error, 'strerror', error)}; {hint}") from None
    if not found:
        raise TaskError(f"the folder {folder} holds no .txt file; {hint}")
    if sum(size for _, _, size in found) > _MOST_BYTES:
        raise TaskError(
            f"the texts of {folder} are more than {_MOST_BYTES >> 20} MiB, the most that is read; take some out"
        )
    return tuple(found)


@lru_cache(maxsize=4)
def _read(folder: Path, state: tuple[tuple[str, int, int], ...]) -> _Text:
    texts = []
    for name, _, _ in state:
        try:
            text = Path(name).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise TaskError(f"{name} is not text in UTF-8 (byte {error.start}); write it anew or take it out") from None
        except OSError as error:
            raise TaskError(f"{name} cannot be read: {error.strerror}; mend that or take it out") from None
        if "\0" in text:
            raise TaskError(f"{name} is not text: it holds a NUL (character {text.index(chr(0))}); take it out")
        texts.append(text)
    if not any(texts):
        raise TaskError(f"the texts of {folder} are empty; give some text")
    found = _of(texts)
    if not 2 <= len(found.characters) <= _MOST_CHARACTERS:
        rule = f"must have from 2 to {_MOST_CHARACTERS:,} different characters, not {len(found.characters):,}"
        raise TaskError(f"the texts of {folder} {rule}; give another text")
    return found


def _of(texts: list[str]) -> _Text:
    whole = "".join(texts)
    points = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    characters, codes = np.unique(points, return_inverse=True)
    pieces, begin = [], 0
    for text in texts:
        end = begin + len(text)
        pieces += [(start, min(start + PIECE, end)) for start in range(begin, end, PIECE)]
        begin = end
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return _Text(
        torch.from_numpy(codes.astype(np.int64)), "".join(map(chr, characters)), tuple(pieces), digest.hexdigest()
    )


@lru_cache(maxsize=8)
def _windows(folder: str | None, sha256: str, context: int) -> _Windows:
    """The windows of the text that has this SHA-256."""
    text = _text(folder)
    starts = [start for begin, end in text.pieces for start in range(begin, end - context, context)]
    if not starts:
        rule = f"{_whence(folder)} is too short: no piece of it has {context + 1:,} characters"
        raise TaskError(f"{rule}; give more text, or lower `context`")
    at = torch.tensor(starts)
    inputs = text.codes[at[:, None] + torch.arange(context)].numpy()
    _, first = np.unique(inputs, axis=0, return_index=True)
    at = at[torch.from_numpy(np.sort(first))]
    ends = torch.tensor([end for _, end in text.pieces])
    piece = torch.searchsorted(ends, at, right=True).unique(return_inverse=True)[1]
    return _Windows(at, piece, int(piece.bincount().max()))
