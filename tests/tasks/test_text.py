"""The next character: windows that stay in their piece, parts that share no text, folders that are no corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from gtsearch.contracts import TaskContract
from gtsearch.tasks.corpus import LETTERS, corpus
from gtsearch.tasks.text import PIECE, Text, _text


def text(**parameters: Any) -> Text:
    return Text(**{"name": "text", "context": 8, "n_train": 50, "n_validation": 30, "n_test": 30, **parameters})


def refusal(**parameters: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        text(**parameters)
    told = str(refused.value.errors()[0]["ctx"]["error"])
    assert "\n" not in told
    return told


class TestLast(TaskContract):
    asked: ClassVar[dict[str, Any]] = {
        "name": "text",
        "context": 7,
        "answers": "last",
        "n_train": 40,
        "n_validation": 20,
        "n_test": 20,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two texts of different letters, so that each window tells which it is from."""
    (tmp_path / "inside").mkdir()
    draws = torch.Generator().manual_seed(0)
    for name, letters in (("one.txt", "abcdefgh"), ("inside/two.txt", "ijklmnop")):
        codes = torch.randint(8, (5000,), generator=draws).tolist()
        (tmp_path / name).write_text("".join(letters[code] for code in codes))
    (tmp_path / "notes.md").write_text("zzz")
    return tmp_path


def test_the_answers_are_the_characters_that_follow() -> None:
    every, last = text().splits(3).train, text(answers="last").splits(3).train
    assert every.x.shape == every.y.shape == (50, 8) and torch.equal(every.x[:, 1:], every.y[:, :-1])
    assert torch.equal(last.x, every.x) and torch.equal(last.y, every.y[:, -1])
    assert text().n_answers == 8 and text(answers="last").n_answers == 1
    whole, characters = corpus(), _text(None).characters
    for codes, following in zip(every.x.tolist(), last.y.tolist(), strict=True):
        assert "".join(characters[code] for code in [*codes, following]) in whole


def test_no_window_reaches_over_a_piece_and_no_piece_into_two_parts(folder: Path) -> None:
    task = text(folder=str(folder), n_train=400, n_validation=150, n_test=150)
    whole = (folder / "inside/two.txt").read_text() + (folder / "one.txt").read_text()
    characters = _text(str(folder)).characters
    assert task.d_vocab == 16 and characters == "abcdefghijklmnop"
    seen: dict[int, set[int]] = {}
    for seed in range(3):
        splits = task.splits(seed)
        for i, part in enumerate((splits.train, splits.validation, splits.test)):
            for codes, following in zip(part.x.tolist(), part.y[:, -1].tolist(), strict=True):
                window = "".join(characters[code] for code in [*codes, following])
                assert whole.count(window) == 1
                file = 0 if whole.index(window) < 5000 else 1
                begin = whole.index(window) - 5000 * file
                assert begin // PIECE == (begin + 8) // PIECE  # the last one, which is answered, too
                seen.setdefault(hash((seed, file, begin // PIECE)), set()).add(i)
    assert all(len(parts) == 1 for parts in seen.values())


def test_pieces_are_dealt_alike_whatever_the_context() -> None:
    """So that a weak model of a shorter context, by cross_task, trains on the text the target trains on."""
    pieces = []
    for context in (8, 16):
        task = text(context=context)
        whole, characters = corpus(), _text(None).characters
        rows = task.splits(1).train.x.tolist()
        pieces.append({whole.index("".join(characters[c] for c in row)) // PIECE for row in rows})
    assert pieces[0] <= pieces[1] or pieces[1] <= pieces[0]


def test_equal_windows_are_used_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefgh" * 400 + corpus()[:20_000])
    splits = text(folder=str(tmp_path)).splits(0)
    rows = torch.cat([splits.train.x, splits.validation.x, splits.test.x])
    assert len(rows.unique(dim=0)) == len(rows)


def test_the_made_up_text_is_the_same_everywhere() -> None:
    assert LETTERS <= len(corpus()) < LETTERS + 1000
    assert text().sha256 == "76eeb92f8c555331c43b91c12d96f524fea3eb9fecc50901adb6f641bbcf892b"
    assert set(corpus()) <= set("abcdefghijklmnopqrstuvwxyz ,.\n")
    assert "six and nine make fifteen." in corpus() and "the child sleeps" in corpus() and "children sleep" in corpus()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no .txt file; give a folder with .txt files"),
        (b"", "are empty; give some text"),
        (b"\xff\xfeab", "is not text in UTF-8 (byte 0)"),
        (b"ab\0cd", "it holds a NUL (character 2)"),
        (b"aaaa" * 500, "different characters, not 1"),
        (b"abcab", "is too short: no piece of it has 9 characters"),
        (b"the cat sat on a mat. " * 3, "is too short: its 66 characters have"),
    ],
)
def test_a_folder_that_is_no_corpus_is_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    assert words in refusal(folder=str(tmp_path))


def test_a_folder_that_is_not_there_or_was_changed_is_refused(folder: Path) -> None:
    assert "is not there" in refusal(folder=str(folder / "nowhere"))
    assert "is a file" in refusal(folder=str(folder / "one.txt"))
    task = text(folder=str(folder))
    (folder / "one.txt").write_text("changed " * 1000)
    assert "was changed: its sha256 is" in refusal(folder=str(folder), sha256=task.sha256)
    with pytest.raises(ValueError, match="was changed"):
        task.prepare()
