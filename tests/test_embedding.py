"""The file that carries E_W (tests/models/test_factorised.py has the A B that it becomes)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_kit import generator

from gtsearch import embedding
from gtsearch.errors import EmbeddingError

E_W = torch.randn(11, 4, generator=generator(0))
TASK = {"name": "modular_addition", "p": 11, "train_fraction": 0.25}
HEADER: dict[str, Any] = {
    "run_id": "abc",
    "epoch": 290,
    "val_accuracy": 0.41,
    "task": TASK,
    "train_sha256": "f" * 64,
    "sizes": (4, 16),
    "note": "a + b ≡ c",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "embeddings" / "abc-e290.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_was_written_is_read(file: Path, dtype: torch.dtype) -> None:
    sha256 = embedding.write(file, E_W.to(dtype).requires_grad_(), HEADER)
    E, layers, header = embedding.read(file, sha256)
    assert torch.equal(E, E_W.to(dtype))
    assert E.dtype == dtype and not E.requires_grad
    assert layers == {}
    assert header == {**HEADER, "sizes": [4, 16], "schema": embedding.SCHEMA}


def test_further_layers_are_read_under_their_names(file: Path) -> None:
    layers = {"layers.0.weight": torch.arange(6.0).reshape(2, 3), "layers.1.weight": torch.ones(4, requires_grad=True)}
    bare = embedding.write(file, E_W, HEADER)
    sha256 = embedding.write(file, E_W, HEADER, layers)
    assert sha256 != bare
    E, found, header = embedding.read(file, sha256)
    assert torch.equal(E, E_W)
    assert set(found) == set(layers) and all(torch.equal(found[name], layers[name]) for name in layers)
    assert header["run_id"] == "abc"


def test_others_can_read_it(file: Path) -> None:
    embedding.write(file, E_W, HEADER)
    assert torch.equal(load_file(file)["E_W"], E_W)


def test_a_view_is_written_as_it_looks(file: Path) -> None:
    embedding.write(file, E_W.T, HEADER)
    assert torch.equal(embedding.read(file)[0], E_W.T)


def test_equal_content_is_an_equal_file(tmp_path: Path) -> None:
    turned = dict(reversed(HEADER.items()))
    shas = {embedding.write(tmp_path / name, E_W, header) for name, header in (("a", HEADER), ("b", turned))}
    assert len(shas) == 1
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert shas != {embedding.write(tmp_path / "c", E_W, {**HEADER, "epoch": 300})}
    assert shas != {embedding.write(tmp_path / "d", E_W + 1e-6, HEADER)}


def test_nothing_is_left_beside_the_file(file: Path) -> None:
    embedding.write(file, E_W, HEADER)
    embedding.write(file, E_W, HEADER)
    assert list(file.parent.iterdir()) == [file]


def test_a_changed_file_is_refused(file: Path) -> None:
    sha256 = embedding.write(file, E_W, HEADER)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(EmbeddingError, match="was changed"):
        embedding.read(file, sha256)


@pytest.mark.parametrize("length", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(file: Path, length: int) -> None:
    embedding.write(file, E_W, HEADER)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(EmbeddingError, match="is not an embedding written by gtsearch"):
        embedding.read(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="No such file"):
        embedding.read(tmp_path / "none")
    with pytest.raises(EmbeddingError, match="cannot read"):
        embedding.read(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [None, {"gtsearch": "not json"}, {"other": "{}"}, {"gtsearch": "[1]"}, {"gtsearch": json.dumps({"schema": 2})}],
)
def test_a_strangers_safetensors_is_refused(file: Path, metadata: dict[str, str] | None) -> None:
    file.parent.mkdir()
    save_file({"E_W": E_W}, file, metadata)
    with pytest.raises(EmbeddingError, match=r"is not an embedding written by gtsearch|is not of schema 1"):
        embedding.read(file)


def test_a_file_without_the_tensor_is_refused(file: Path) -> None:
    file.parent.mkdir()
    save_file({"W": E_W}, file, {"gtsearch": '{"schema":1}'})
    with pytest.raises(EmbeddingError, match="is not an embedding written by gtsearch"):
        embedding.read(file)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("reading an embedding ran code",))


def test_reading_runs_no_code(file: Path) -> None:
    file.parent.mkdir()
    for data in (pickle.dumps(Bomb()), _torch_saved(Bomb())):
        file.write_bytes(data)
        with pytest.raises(EmbeddingError):
            embedding.read(file)


def _torch_saved(thing: object) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


class TestLeak:
    def test_the_same_training_set_is_welcome(self) -> None:
        embedding.refuse_leak(HEADER, TASK, "f" * 64)

    def test_another_split_of_the_task_is_refused(self) -> None:
        with pytest.raises(EmbeddingError, match=r"another split of this task.*train it on the target's split"):
            embedding.refuse_leak(HEADER, TASK, "0" * 64)

    def test_another_share_of_the_same_examples_is_refused(self) -> None:
        with pytest.raises(EmbeddingError, match="another split"):
            embedding.refuse_leak(HEADER, {**TASK, "train_fraction": 0.3}, "0" * 64)

    def test_another_task_shares_no_examples(self) -> None:
        embedding.refuse_leak(HEADER, {**TASK, "p": 13}, "0" * 64)

    def test_a_header_that_went_through_a_file_is_still_known(self, file: Path) -> None:
        task = {**TASK, "subset": (0, 1, 2)}
        embedding.write(file, E_W, {**HEADER, "task": task})
        with pytest.raises(EmbeddingError, match="another split"):
            embedding.refuse_leak(embedding.read(file)[2], task, "0" * 64)


def test_norm_and_effective_rank_of_known_matrices() -> None:
    assert embedding.norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]])) == 5.0
    assert embedding.effective_rank(torch.eye(6, 3)) == pytest.approx(3.0)
    assert embedding.effective_rank(torch.ones(6, 3)) == pytest.approx(1.0, abs=1e-5)
    assert embedding.effective_rank(torch.zeros(6, 3)) == 1.0
    # singular values 3 and 1: exp(-(0.75 ln 0.75 + 0.25 ln 0.25))
    assert embedding.effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(1.7547654)
