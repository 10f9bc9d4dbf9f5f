"""Images as vectors, by Omnigrok's protocol (method.md section 2): few training images, squared error, ten classes.

`digits` comes with scikit-learn and needs no network; `mnist` reads local files, or asks OpenML. Images are drawn from
the whole pool by the split's seed, none twice. They are read when a split is asked for, not before.
"""

from __future__ import annotations

import gzip
import math
import struct
import warnings
from abc import abstractmethod
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from gtsearch.errors import TaskError
from gtsearch.tasks.base import Part, SampledTask
from gtsearch.tasks.files import BROKEN, arrays, unreadable

CLASSES = 10
SIDE = 28

PARTS = ("train", "t10k")
"""MNIST's own two parts, as its files call them; the pool is both, in this order."""
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_IMAGES, _LABELS = 0x803, 0x801  # IDX: unsigned bytes in three dimensions, in one

Images = tuple[np.ndarray, np.ndarray]
"""Pixels [n, d] uint8 and labels [n] uint8."""


class ImageTask(SampledTask):
    """Base: pixels scaled to [0, 1], flattened; ten classes."""

    default_loss: ClassVar[str] = "mse"
    one_draw: ClassVar[bool] = True
    pool_size: ClassVar[int]
    """How many images there are at most: known without reading them."""
    most_frequent: ClassVar[int]
    """How many of them are of the most frequent class."""
    brightest: ClassVar[int]
    """What a white pixel is stored as."""

    n_train: int = Field(default=200, ge=1)
    n_validation: int = Field(default=400, ge=1)
    n_test: int = Field(default=400, ge=1)

    @model_validator(mode="after")
    def _there_are_enough_images(self) -> ImageTask:
        if self.n_examples > self.pool_size:
            raise TaskError(self._too_few(self.pool_size))
        return self

    def _too_few(self, n: int) -> str:
        return f"there are {n} images, and n_train + n_validation + n_test asks for {self.n_examples}; ask for fewer"

    @property
    def vectors(self) -> bool:
        return True

    @property
    def n_tokens(self) -> int:
        return 1

    @property
    def n_classes(self) -> int:
        return CLASSES

    @property
    def chance(self) -> float:
        """The share of the most frequent class in the pool."""
        return self.most_frequent / self.pool_size

    @abstractmethod
    def pool(self) -> Images:
        """All images.

        Raises:
            TaskError: they are missing or damaged.
        """

    def prepare(self) -> None:
        if len(self.pool()[1]) < self.n_examples:
            raise TaskError(self._too_few(len(self.pool()[1])))

    def draw(self, n: int, generator: torch.Generator) -> Part:
        """x [n, d_vocab] float32 in [0, 1], y [n] int64; no image twice."""
        self.prepare()
        pixels, labels = self.pool()
        chosen = torch.randperm(len(labels), generator=generator)[:n].numpy()
        x = torch.from_numpy(pixels[chosen]).float() / self.brightest
        return Part(x, torch.from_numpy(labels[chosen]).long())


class Digits(ImageTask):
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; no network needed.

    They are the test part of UCI's.
    """

    pool_size: ClassVar[int] = 1797
    most_frequent: ClassVar[int] = 183  # threes
    brightest: ClassVar[int] = 16

    @property
    def d_vocab(self) -> int:
        return 64

    @property
    def title(self) -> str:
        return "8 x 8 digits"

    def pool(self) -> Images:
        return _digits()


class Mnist(ImageTask):
    """MNIST, 28 x 28 pixels, from a folder or from OpenML.

    Its training and its test part are one pool.

    Attributes:
        folder: holds MNIST's four IDX files under their usual names (`train-images-idx3-ubyte`, ..., plain or .gz), or
            one .npz with x_train, y_train, x_test, y_test; other images of that size (Fashion-MNIST, a part of MNIST)
            will do. None: scikit-learn gets it from OpenML and keeps it in its own data folder.
    """

    pool_size: ClassVar[int] = 70_000
    most_frequent: ClassVar[int] = 7877  # ones
    brightest: ClassVar[int] = 255

    folder: str | None = None

    @field_validator("folder")
    @classmethod
    def _whole(cls, folder: str | None) -> str | None:
        # Workers run in folders of their own, where a relative path would lead elsewhere.
        return None if folder is None else str(Path(folder).expanduser().absolute())

    @property
    def d_vocab(self) -> int:
        return SIDE**2

    @property
    def title(self) -> str:
        return "MNIST"

    def pool(self) -> Images:
        return _openml() if self.folder is None else _in_folder(Path(self.folder))


@lru_cache(maxsize=1)
def _digits() -> Images:
    from sklearn.datasets import load_digits  # half a second, and only images need it

    found = load_digits()
    return found.data.astype(np.uint8), found.target.astype(np.uint8)


@lru_cache(maxsize=1)
def _openml() -> Images:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of every retry; what came of them is told below
            found = fetch_openml("mnist_784", version=1, as_frame=False, parser="pandas")
    except (*BROKEN, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TaskError(
            f"MNIST could not be had from OpenML ({reason}); give `folder`, one with its four IDX files or an .npz"
        ) from None
    return _checked("MNIST from OpenML", np.asarray(found.data), np.asarray(found.target).astype(np.int64))


@lru_cache(maxsize=2)
def _in_folder(folder: Path) -> Images:
    if not folder.is_dir():
        raise TaskError(f"there is no folder {folder}; give one with MNIST's four IDX files or an .npz as `folder`")
    archives = sorted(folder.glob("*.npz"))
    if len(archives) > 1:
        raise TaskError(f"{folder} holds {len(archives)} .npz files, and one must be MNIST; leave that one there")
    if archives:
        return _from_npz(archives[0])
    pixels = np.concatenate([_idx(folder, f"{part}-images-idx3-ubyte", _IMAGES) for part in PARTS])
    labels = np.concatenate([_idx(folder, f"{part}-labels-idx1-ubyte", _LABELS) for part in PARTS])
    return _checked(str(folder), pixels, labels)


def _from_npz(path: Path) -> Images:
    x_train, y_train, x_test, y_test = arrays(path, _ARRAYS)
    for x, y, part in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        if x.ndim not in (2, 3) or math.prod(x.shape[1:]) != SIDE**2 or y.shape != x.shape[:1]:
            rule = f"x_{part} must be [n, {SIDE}, {SIDE}] and y_{part} [n]"
            raise TaskError(f"{path}: {rule}, not {list(x.shape)} and {list(y.shape)}; reshape them")
    pixels = np.concatenate([x.reshape(len(x), SIDE**2) for x in (x_train, x_test)])
    return _checked(str(path), pixels, np.concatenate([y_train, y_test]))


def _idx(folder: Path, name: str, magic: int) -> np.ndarray:
    """The array in an IDX file, plain or .gz: images [n, 784] or labels [n], uint8."""
    plain, packed = folder / name, folder / f"{name}.gz"
    path = plain if plain.exists() else packed
    if not path.exists():
        raise TaskError(
            f"{folder} has neither {plain.name} nor {packed.name}, nor an .npz; put MNIST's four files there"
        )
    try:
        with cast(BinaryIO, gzip.open(path) if path == packed else open(path, "rb")) as file:
            n_dimensions = magic & 0xFF
            header = file.read(4 + 4 * n_dimensions)
            found, *shape = struct.unpack(f">{1 + n_dimensions}I", header)
            wanted = [SIDE, SIDE] if magic == _IMAGES else []
            if found != magic or shape[1:] != wanted or shape[0] > Mnist.pool_size:
                raise ValueError(f"its header {header.hex()} is not that of MNIST")
            data = file.read(math.prod(shape) + 1)  # one more, to see whether the file ends where it says
    except (*BROKEN, struct.error) as error:
        raise unreadable(path, error) from None
    if len(data) != math.prod(shape):
        raise TaskError(
            f"{path} is not as long as its header says ({math.prod(shape)} bytes of data); get the file anew"
        )
    return np.frombuffer(data, np.uint8).reshape(shape[0], *([SIDE**2] if magic == _IMAGES else []))


def _checked(source: str, pixels: np.ndarray, labels: np.ndarray) -> Images:
    """Pixels and labels as uint8, once they are such."""
    if len(pixels) != len(labels):
        raise TaskError(f"{source} has {len(pixels)} images and {len(labels)} labels; they must be as many")
    for what, values, most in (("pixels", pixels, Mnist.brightest), ("labels", labels, CLASSES - 1)):
        number = values.dtype.kind in "uif"
        if not number or not (np.isfinite(values) & (values >= 0) & (values <= most) & (values == values // 1)).all():
            raise TaskError(f"{source}: {what} must be whole numbers from 0 to {most}; some are not")
    return pixels.astype(np.uint8), labels.astype(np.uint8)
