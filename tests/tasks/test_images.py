from __future__ import annotations

import gzip
import struct
import urllib.error
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch
from pydantic import ValidationError
from small_tasks import SMALL

from gtsearch.errors import TaskError
from gtsearch.problems import explain
from gtsearch.tasks import images
from gtsearch.tasks.images import Digits, Mnist

FEW = {"n_train": 20, "n_validation": 10, "n_test": 10}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(autouse=True)
def _nothing_is_cached() -> None:
    images._in_folder.cache_clear()
    images._openml.cache_clear()


def mnist(folder: Path | None, **parameters: Any) -> Mnist:
    return Mnist(**{"name": "mnist", "folder": None if folder is None else str(folder), **FEW, **parameters})


def arrays() -> dict[str, np.ndarray]:
    """40 images, each with its number in its first pixel and in its last."""
    x = np.zeros((40, 28, 28), np.uint8)
    x[:, 0, 0] = x[:, -1, -1] = np.arange(40)
    x[:, 14, 14] = 255
    y = (np.arange(40) % 10).astype(np.uint8)
    return {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def written(folder: Path, kind: str) -> Path:
    made = arrays()
    if kind == "npz":
        np.savez_compressed(folder / "mnist.npz", **made)
        return folder
    for name, array in zip(NAMES, made.values(), strict=True):
        if kind == "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return folder


def test_digits_are_those_of_scikit_learn() -> None:
    task = Digits(name="digits")
    assert (task.part_sizes, task.default_loss, task.n_outputs) == ((200, 400, 400), "mse", 10)
    known = sklearn.datasets.load_digits()
    assert len(known.data) == Digits.pool_size and np.bincount(known.target).max() == Digits.most_frequent
    label = {tuple(pixels): y for pixels, y in zip((known.data / 16).tolist(), known.target.tolist(), strict=True)}
    splits = task.splits(0)
    for part in (splits.train, splits.validation, splits.test):
        assert float(part.x.min()) == 0 and float(part.x.max()) == 1
        assert [label[tuple(row)] for row in part.x.tolist()] == part.y.tolist()
    assert Digits(name="digits", n_train=1000, n_test=397).n_examples == 1797


@pytest.mark.parametrize("kind", ["npz", "plain", "gz"])
def test_every_format_gives_the_same_images(tmp_path: Path, kind: str) -> None:
    splits = mnist(written(tmp_path, kind)).splits(0)
    parts = (splits.train, splits.validation, splits.test)
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    number = (255 * x[:, 0]).round().long()
    assert sorted(number.tolist()) == list(range(40)), "each image once, of both of MNIST's parts"
    assert torch.equal(number % 10, y) and torch.equal(x[:, 0], x[:, -1]) and (x[:, 14 * 28 + 14] == 1).all()


def test_nothing_is_read_before_a_split(tmp_path: Path) -> None:
    task = mnist(tmp_path / "not-there-yet")
    assert (task.part_sizes, task.d_vocab, task.title) == ((20, 10, 10), 784, "MNIST")
    assert 0.1 < task.chance < task.above_chance()
    with pytest.raises(TaskError, match=r"there is no folder .*not-there-yet; give one"):
        task.splits(0)
    with pytest.raises(TaskError, match="there is no folder"):
        task.prepare()


def test_a_relative_folder_starts_at_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "npz")
    monkeypatch.chdir(tmp_path.parent)
    task = mnist(Path(tmp_path.name))
    monkeypatch.chdir("/")
    assert len(task.splits(0).train) == 20


def damage(folder: Path, kind: str) -> None:
    made = arrays()
    path = folder / NAMES[0]
    match kind:
        case "missing":
            (folder / NAMES[3]).unlink()
        case "short":
            path.write_bytes(path.read_bytes()[:-1])
        case "long":
            path.write_bytes(path.read_bytes() + b"\0")
        case "empty":
            path.write_bytes(b"")
        case "labels for images":
            path.write_bytes(idx(made["y_train"]))
        case "other shape":
            path.write_bytes(idx(made["x_train"][:, :14]))
        case "fewer labels":
            (folder / NAMES[1]).write_bytes(idx(made["y_train"][:-1]))
        case "a label of 10":
            (folder / NAMES[1]).write_bytes(idx(made["y_train"] + 1))
        case "broken gz":
            path.unlink()
            (folder / f"{NAMES[0]}.gz").write_bytes(gzip.compress(idx(made["x_train"]))[:-9])
        case "no gz":
            path.unlink()
            (folder / f"{NAMES[0]}.gz").write_bytes(idx(made["x_train"]))
        case "broken npz":
            (folder / "mnist.npz").write_bytes(b"PK\3\4 and no more")
        case "pickled npz":
            np.savez(folder / "mnist.npz", **{name: array.astype(object) for name, array in made.items()})
        case "npz without labels":
            np.savez(folder / "mnist.npz", **{name: made[name] for name in ("x_train", "x_test")})
        case "npz of floats":
            np.savez(folder / "mnist.npz", **{name: array / 255 for name, array in made.items()})
        case "npz of other shapes":
            np.savez(folder / "mnist.npz", **{**made, "x_test": made["x_train"]})
        case "two npz":
            for name in ("a.npz", "b.npz"):
                np.savez(folder / name, **made)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("missing", "has neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz, nor an .npz"),
        ("short", "train-images-idx3-ubyte is not as long as its header says (23520 bytes of data)"),
        ("long", "train-images-idx3-ubyte is not as long as its header says (23520 bytes of data)"),
        ("empty", "train-images-idx3-ubyte cannot be read"),
        ("labels for images", "is not that of MNIST"),
        ("other shape", "is not that of MNIST"),
        ("fewer labels", "has 40 images and 39 labels"),
        ("a label of 10", "labels must be whole numbers from 0 to 9"),
        ("broken gz", "train-images-idx3-ubyte.gz cannot be read"),
        ("no gz", "train-images-idx3-ubyte.gz cannot be read"),
        ("broken npz", "mnist.npz cannot be read"),
        ("pickled npz", "mnist.npz cannot be read"),
        ("npz without labels", "mnist.npz has no array `y_train`; it must hold x_train, y_train, x_test, y_test"),
        ("npz of floats", "pixels must be whole numbers from 0 to 255"),
        ("npz of other shapes", "x_test must be [n, 28, 28] and y_test [n], not [30, 28, 28] and [10]"),
        ("two npz", "holds 2 .npz files"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, kind: str, line: str) -> None:
    task = mnist(written(tmp_path, "plain"))
    damage(tmp_path, kind)
    with pytest.raises(TaskError) as refused:
        task.splits(0)
    assert line in str(refused.value) and str(tmp_path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_without_a_network_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("[Errno -2]\nName or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fails)
    with pytest.raises(TaskError, match=r"^MNIST could not be had from OpenML .*not known.*; give `folder`") as refused:
        mnist(None).splits(0)
    assert len(str(refused.value).splitlines()) == 1


def test_what_openml_gives_is_the_same_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays()
    data = np.concatenate([made["x_train"], made["x_test"]]).reshape(40, 784).astype(np.float64)
    target = np.concatenate([made["y_train"], made["y_test"]]).astype(str).astype(object)
    asked = []

    def gives(name: str, **options: Any) -> SimpleNamespace:
        asked.append((name, options["version"]))
        return SimpleNamespace(data=data, target=target)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", gives)
    fetched = mnist(None)
    fetched.prepare()
    assert fetched.splits(0).train_sha256 == mnist(written(tmp_path, "npz")).splits(0).train_sha256
    assert asked == [("mnist_784", 1)], "it is fetched once"


def test_more_images_than_there_are_is_one_line(tmp_path: Path) -> None:
    for refused in (lambda: Digits(name="digits", n_train=1000), lambda: mnist(None, n_train=70_000)):
        with pytest.raises(ValidationError) as error:
            refused()
        assert explain(error.value)[0].text.startswith("there are ")
    with pytest.raises(TaskError, match=r"there are 40 images, and .* asks for 41; ask for fewer"):
        mnist(written(tmp_path, "npz"), n_train=21).splits(0)


def test_the_small_one_is_whole() -> None:
    task = Mnist(**SMALL["mnist"])
    assert len(task.pool()[1]) == task.n_examples == 80
