from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gtsearch import embedding
from gtsearch.errors import EmbeddingError, TaskError
from gtsearch.problems import explain
from gtsearch.tasks import table
from gtsearch.tasks.table import Table

SUMS = "a,b,label\n" + "".join(f"{a},{b},{(a + b) % 3}\n" for a in range(4) for b in range(5))


def made(file: Path | str, **parameters: Any) -> Table:
    return Table(**{"name": "table", "file": str(file), **parameters})


def csv(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "t.npz", **arrays)
    return folder / "t.npz"


def test_whole_numbers_are_tokens(tmp_path: Path) -> None:
    task = made(csv(tmp_path, SUMS))
    assert not task.vectors
    assert (task.n_tokens, task.d_vocab, task.n_classes, task.n_examples) == (2, 5, 3, 20)
    examples = task.examples()
    assert examples.x.tolist() == [[a, b] for a in range(4) for b in range(5)]
    assert examples.y.tolist() == [(a + b) % 3 for a in range(4) for b in range(5)]
    assert task.part_sizes == (5, 7, 8) and task.title == "label of t.csv"
    assert task.chance == 7 / 20
    larger = made(task.file, vocabulary=9, classes=4)
    assert (larger.d_vocab, larger.n_classes, larger.n_outputs) == (9, 4, 4)


def test_the_label_may_stand_anywhere_and_be_called_anything(tmp_path: Path) -> None:
    task = made(
        csv(tmp_path, '\ufeffkind, a ,"b, c"\n1,10,20\n0,11,21\n\n2.0,12,22\n'), label_column="kind", train_fraction=0.4
    )
    assert task.examples().x.tolist() == [[10, 20], [11, 21], [12, 22]]
    assert task.examples().y.tolist() == [1, 0, 2]


@pytest.mark.parametrize("cells", ["0.5,1", "-1,1", "1e2,3", "2.0,1"])
def test_other_numbers_are_vectors(tmp_path: Path, cells: str) -> None:
    task = made(csv(tmp_path, SUMS + f"{cells},0\n"))
    assert task.vectors and (task.n_tokens, task.d_vocab) == (1, 2)
    assert task.examples().x.dtype == torch.float32
    assert task.examples().x[-1].tolist() == [float(cell) for cell in cells.split(",")]


def test_whole_numbers_may_be_vectors(tmp_path: Path) -> None:
    assert made(csv(tmp_path, SUMS), inputs="vectors").d_vocab == 2


@pytest.mark.parametrize(
    ("dtype", "vectors"), [(np.int32, False), (np.uint8, False), (bool, False), (np.float64, True)]
)
def test_an_npz_says_by_its_type_what_it_holds(tmp_path: Path, dtype: type, vectors: bool) -> None:
    x = np.array([[0, 1], [1, 0], [1, 1], [0, 0]]).astype(dtype)
    task = made(npz(tmp_path, x=x, y=np.array([1.0, 1.0, 0.0, 0.0])), train_fraction=0.5)
    assert task.vectors == vectors and task.d_vocab == 2
    assert task.examples().x.tolist() == [[0, 1], [1, 0], [1, 1], [0, 0]]
    assert task.examples().y.tolist() == [1, 1, 0, 0]


def test_rows_with_equal_inputs_stay_together(tmp_path: Path) -> None:
    task = made(csv(tmp_path, "a,b,label\n" + "".join(f"{i % 9},1,{i % 2}\n" for i in range(30))))
    for seed in range(5):
        splits = task.splits(seed)
        parts = (splits.train, splits.validation, splits.test)
        assert tuple(map(len, parts)) == task.part_sizes
        one, two, three = ({row[0] for row in part.x.tolist()} for part in parts)
        assert not (one & two or one & three or two & three)


def test_identity_is_the_content(tmp_path: Path) -> None:
    task = made(csv(tmp_path, SUMS))
    other = made(csv(tmp_path, SUMS.replace("0,1,1", "0,1,2"), "other.csv"))
    copy = made(csv(tmp_path, SUMS, "copy.csv"))
    assert task.identity()["sha256"] == copy.identity()["sha256"] != other.identity()["sha256"]
    header = {"run_id": "w", "task": task.identity(), "train_sha256": task.splits(0).train_sha256}
    embedding.refuse_leak(header, copy.identity(), copy.splits(0).train_sha256)
    with pytest.raises(EmbeddingError, match="another split"):
        embedding.refuse_leak(header, copy.identity(), copy.splits(1).train_sha256)
    embedding.refuse_leak(header, other.identity(), other.splits(1).train_sha256)


def test_a_table_that_was_changed_is_refused(tmp_path: Path) -> None:
    task = made(csv(tmp_path, SUMS))
    csv(tmp_path, SUMS.replace("0,1,1", "0,1,2"))
    os.utime(task.file, (1, 1))
    with pytest.raises(ValidationError) as refused:
        Table(**task.identity())
    (problem,) = explain(refused.value)
    assert problem.place == ("sha256",) and "was changed: its sha256 is" in problem.text
    with pytest.raises(TaskError, match="was changed"):
        task.prepare()
    table._part.cache_clear()
    with pytest.raises(TaskError, match="was changed"):
        task.splits(0)
    assert made(task.file).sha256 != task.sha256


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, reads = made(csv(tmp_path, SUMS)), []
    monkeypatch.setattr(table, "_csv", lambda *_: reads.append(1))
    again = Table(**task.identity(), seed=4)
    again.splits(1)
    assert again.part_sizes == task.part_sizes and reads == []


def test_a_relative_path_starts_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv(tmp_path, SUMS)
    monkeypatch.chdir(tmp_path)
    task = made("t.csv")
    assert task.file == str(tmp_path / "t.csv")
    monkeypatch.chdir("/")
    assert Table(**task.identity()).n_examples == 20


@pytest.mark.parametrize(
    ("text", "parameters", "line"),
    [
        ("", {}, "is empty: its first line must name the columns"),
        ("a;b;label\n1;0;1\n", {}, "t.csv are divided by semicolons; write commas"),
        ("a\tb\tlabel\n1\t0\t1\n", {}, "t.csv are divided by tabs; write commas"),
        ("0,1,1\n1,0,1\n", {}, "begins with numbers (0, 1, 1); its first line must name the columns"),
        (
            "a,lable\n1,0\n2,1\n",
            {},
            "has no column `label` for `label_column`; did you mean `lable`? (it has: a, lable)",
        ),
        ("a,label,label\n1,0,1\n", {}, "has more than one column `label`"),
        ("a,label\n", {}, "is empty: it has no rows"),
        ("label\n0\n1\n1\n", {}, "is empty: it has no columns of inputs"),
        ("a,label\n1,0\n2,1,3\n", {}, "line 3: has 3 cells where the first line has 2"),
        ("a,label\n1,0\nx,1\n", {}, "line 3, column `a`: 'x' is not a finite number"),
        ("a,label\n1,0\n,1\n", {}, "line 3, column `a`: '' is not a finite number"),
        ("a,label\n1,0\nnan,1\n", {}, "line 3, column `a`: 'nan' is not a finite number"),
        ("a,label\n1,0\n2,inf\n", {}, "line 3, column `label`: 'inf' is not a finite number"),
        ("a,label\n1,0\n2,1.5\n", {}, "the label 1.5 of row 2 is not a whole number"),
        ("a,label\n1,0\n2,-1\n", {}, "the label -1 of row 2 is below 0"),
        ("a,label\n1,0\n2,3\n", {"classes": 3}, "the label 3 of row 2 is not below 3, the number of classes; raise"),
        ("a,label\n1,0\n2,200000\n", {}, "the label 200000 of row 2 is not below 100000"),
        ("a,label\n1,0\n2,0\n", {}, "all labels are 0"),
        ("a,label\n1,0\n9,1\n", {"vocabulary": 9}, "a token is 9 where `vocabulary` is 9; it must be 10 or more"),
        ("a,label\n1,0\n1000000,1\n", {}, "the largest token is 1000000"),
        ("a,label\n1,0\n99999999999999999999999,1\n", {}, "the largest token is 99999999999999991611392"),
        ("a,label\n1,0\n-2,1\n", {"inputs": "tokens"}, "tokens must be whole numbers from 0 on, not -2"),
        ("a,label\n1,0\n2.0,1\n", {"inputs": "tokens"}, "tokens must be whole numbers from 0 on, and written as such"),
        ("a,label\n1,0\n.5,1\n", {"vocabulary": 4}, "has vectors, which have no `vocabulary` (4)"),
        ("a,label\n1,0\n1e39,1\n", {}, "1e+39 is too large for a float32"),
        ('a,label\n1,0\n"2,1\n', {}, "cannot be read (unexpected end of data)"),
        ("a,label\n1,0\n2,1\n", {}, "leaves the train part empty"),
    ],
)
def test_what_makes_no_task_is_one_line(tmp_path: Path, text: str, parameters: dict[str, Any], line: str) -> None:
    refuses(csv(tmp_path, text), line, parameters)


def test_one_cell_that_makes_vectors_of_tokens_is_named(tmp_path: Path) -> None:
    task = made(csv(tmp_path, SUMS + "-5,1,0\n"))
    assert task.vectors and task.why_vectors and task.notes == (task.why_vectors,)
    assert task.why_vectors.startswith(
        "column `a` of t.csv holds -5 (line 22), so its inputs are vectors, not tokens; for tokens write whole "
    )
    half = made(csv(tmp_path, SUMS.replace("3,4,", "3,4.5,"), "half.csv")).why_vectors
    assert half and half.startswith("column `b` of half.csv holds 4.5 (line 21)")
    both = made(csv(tmp_path, SUMS + "-5,-1,0\n", "both.csv"))
    assert both.why_vectors and "`a` of both.csv holds -5" in both.why_vectors
    assert made(task.file, inputs="vectors").notes == (), "who says so means it"
    assert made(csv(tmp_path, "a,b,label\n.5,.5,0\n1,2,1\n3,4,1\n5,6,0\n", "real.csv")).notes == ()
    assert made(csv(tmp_path, SUMS, "whole.csv")).notes == ()


def test_rows_that_contradict_each_other_are_counted(tmp_path: Path) -> None:
    task = made(csv(tmp_path, SUMS + "0,1,1\n0,2,0\n"))  # the first says what stands there, the second something else
    (note,) = task.notes
    assert note.startswith("2 rows of t.csv have inputs that stand there with another label, too: no model gets all of")


def refuses(file: Path, line: str, parameters: dict[str, Any] | None = None) -> None:
    with pytest.raises(ValidationError) as refused:
        made(file, **(parameters or {}))
    problem = explain(refused.value)[0]
    assert line in problem.text and len(problem.text.splitlines()) == 1


X, Y = np.arange(8).reshape(4, 2), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"x": X}, "has no array `y`; it must hold x, y"),
        ({"x": X, "y": Y[:3]}, "x must be [n, columns] and y [n], not [4, 2] and [3]"),
        ({"x": X[:, 0], "y": Y}, "not [4] and [4]"),
        ({"x": X, "y": Y[:, None]}, "not [4, 2] and [4, 1]"),
        ({"x": X[:0], "y": Y[:0]}, "is empty: it has no rows"),
        ({"x": X[:, :0], "y": Y}, "is empty: it has no columns of inputs"),
        ({"x": X.astype(str), "y": Y}, "`x` must hold numbers, not <U21"),
        ({"x": X.astype(object), "y": Y}, "cannot be read (Object arrays cannot be loaded"),
        ({"x": np.where(X == 3, np.nan, X), "y": Y}, "`x` holds NaN or infinite numbers"),
        ({"x": X, "y": np.where(Y == 1, np.inf, 0.0)}, "`y` holds NaN or infinite numbers"),
        ({"x": X, "y": Y + 0.5}, "the label 0.5 of row 1 is not a whole number"),
        ({"x": X.astype(np.uint64) + np.uint64(2**63), "y": Y}, "the largest token is 9223372036854775815"),
    ],
)
def test_an_npz_that_makes_no_task_is_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], line: str) -> None:
    refuses(npz(tmp_path, **arrays), line)


def test_files_that_are_none_are_one_line(tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere.csv", f"the table {tmp_path}/nowhere.csv cannot be read: No such file or directory")
    refuses(tmp_path, "cannot be read: Is a directory")
    (tmp_path / "t.npz").write_bytes(b"PK\3\4 no archive")
    refuses(tmp_path / "t.npz", "t.npz cannot be read (")
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, X)
    refuses(tmp_path / "one.npz", "one.npz cannot be read (it is a single array, not an archive of them)")
    (tmp_path / "t.csv").write_bytes(b"a,label\n\xff,1\n")
    refuses(tmp_path / "t.csv", "t.csv cannot be read (")
    refuses(csv(tmp_path, SUMS, "t.txt"), "must be a .csv or an .npz file, not .txt")
