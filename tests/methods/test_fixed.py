"""Embeddings that are given: what stands in their rows, and that it stays there."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_tasks import BLOBS
from pydantic import ValidationError
from torch import Tensor
from training_kit import SIZES, SPLITS, TASK, build, generator, member, plan, train

from gtsearch import catalog
from gtsearch import embedding as artefact
from gtsearch.errors import EmbeddingError
from gtsearch.methods.base import Method
from gtsearch.models.base import Sizes
from gtsearch.models.mlp import MlpSizes
from gtsearch.models.transformer import TransformerSizes
from gtsearch.problems import explain
from gtsearch.tasks.base import Task
from gtsearch.tasks.modular import ModularAddition, ModularMultiplication

FIXED = ("onehot", "binary", "fourier", "random", "file")
P113 = ModularAddition(name="modular_addition", p=113)
P8 = ModularAddition(name="modular_addition", p=8, train_fraction=0.5)
TIMES = ModularMultiplication(name="modular_multiplication", p=17)
HEADER = {"run_id": "abc", "task": TASK.identity(), "train_sha256": SPLITS.train_sha256}


def method(name: str, **options: Any) -> Method:
    return catalog.load("method", name)(name=name, **options)


def E(one: Method, task: Task = TASK, sizes: Sizes = SIZES, seed: int = 0) -> Tensor:
    return build(seed, method=one, task=task, sizes=sizes).embedding.matrix().detach()


def save(path: Path, table: Any) -> Method:
    np.save(path, np.asarray(table), allow_pickle=True)
    return method("file", path=str(path))


@pytest.fixture
def table(tmp_path: Path) -> Method:
    return save(tmp_path / "table.npy", torch.randn(TASK.d_vocab, 6, generator=generator(0)).numpy())


def fixed(name: str, table: Method, **options: Any) -> Method:
    options = {"fourier": {"frequencies": [1, 2, 8]}, "file": {"path": getattr(table, "path", "")}}.get(
        name, {}
    ) | options
    return method(name, **options)


@pytest.mark.parametrize("name", FIXED)
class TestEvery:
    def test_has_rows_of_length_1_whatever_the_scale_of_the_rest(self, name: str, table: Method) -> None:
        one = fixed(name, table)
        found = build(0, method=one, init_scale=0.1).embedding.matrix().detach()
        torch.testing.assert_close(found.norm(dim=1), torch.ones(TASK.d_vocab))
        assert torch.equal(found, build(0, method=one, init_scale=2.0).embedding.matrix().detach())

    @pytest.mark.parametrize("stack_size", [1, 3])
    def test_is_not_trained_unless_asked(self, name: str, stack_size: int, table: Method) -> None:
        for trained in (False, True):
            one = fixed(name, table, trained=trained)
            members = [member(s, method=one, max_epochs=3 + s, keep=3 + s) for s in range(3)]
            starts = [m.module.embedding.matrix().detach().clone() for m in members]
            outcomes = train(members, plan(goal=None, stack_size=stack_size))
            held = [torch.equal(outcomes[f"run-{s}"].kept[0].E, start) for s, start in enumerate(starts)]
            assert held == [not trained] * 3

    def test_sets_the_width_of_the_target_and_nothing_else(self, name: str, table: Method) -> None:
        one = fixed(name, table)
        found = one.sizes(SIZES, TASK)
        assert found == SIZES.model_copy(update={"d_embed": {"onehot": 17, "binary": 5, "random": 128}.get(name, 6)})

    def test_tells_where_the_width_fits_no_heads(self, name: str, table: Method) -> None:
        target = TransformerSizes(name="transformer", d_embed=12, heads=3)
        lines = [line for _, line in fixed(name, table).problems(TASK, target, [], 100)]
        if name in ("onehot", "binary", "random"):
            assert len(lines) == 1
            assert re.search(
                rf"`{name}` sets the target's d_embed to \d+: d_embed \d+ is no multiple of the 3", lines[0]
            )
        else:
            assert lines == []


def test_onehot_is_the_identity() -> None:
    assert torch.equal(E(method("onehot")), torch.eye(17))


def test_binary_is_the_bits_as_signs() -> None:
    root = math.sqrt(3.0)
    assert (E(method("binary"), P8) * root).round().tolist() == [
        [-1, -1, -1],
        [1, -1, -1],
        [-1, 1, -1],
        [1, 1, -1],
        [-1, -1, 1],
        [1, -1, 1],
        [-1, 1, 1],
        [1, 1, 1],
    ]


@pytest.mark.parametrize(("p", "width"), [(5, 3), (8, 3), (9, 4), (64, 6), (113, 7)])
def test_binary_has_as_many_bits_as_the_largest_token_needs(p: int, width: int) -> None:
    task = ModularAddition(name="modular_addition", p=p, train_fraction=0.5)
    found = E(method("binary"), task)
    assert found.shape == (p, width)
    assert len({tuple(row) for row in found.tolist()}) == p, "every token has bits of its own"


def test_fourier_puts_tokens_on_circles() -> None:
    one = method("fourier")
    assert one.model_dump()["frequencies"] == (2, 3, 5, 7, 11, 13, 17), "the first seven primes"
    found = E(one, P113).double()
    assert found.shape == (113, 14)
    turns = 2 * math.pi / 113
    expected = [math.cos(turns * 3 * 10), math.sin(turns * 3 * 10)]
    assert (found[10, [1, 8]] * math.sqrt(7)).tolist() == pytest.approx(expected, abs=1e-6)
    # How near two tokens are depends on their difference alone.
    nearness = found @ found.T
    for shift in (1, 20, 112):
        along = torch.stack([nearness[t, (t + shift) % 113] for t in range(113)])
        torch.testing.assert_close(along, torch.full((113,), float(along[0]), dtype=torch.float64), atol=1e-6, rtol=0)


def test_random_rows_are_the_members_own() -> None:
    one = method("random")
    assert E(one).shape == (17, 128)
    assert torch.equal(E(one, seed=1), E(one, seed=1)) and not torch.equal(E(one, seed=1), E(one, seed=2))
    assert E(one, BLOBS, MlpSizes(name="mlp", d_embed=8)).shape == (6, 128), "over vectors too"


class TestFile:
    def test_numpys_table_is_taken_row_by_row(self, tmp_path: Path) -> None:
        values = np.arange(17 * 3).reshape(17, 3) - 4
        found = E(save(tmp_path / "t.npy", values))
        expected = torch.nn.functional.normalize(torch.from_numpy(values).double(), dim=1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)

    def test_a_row_of_zeros_stays_one(self, tmp_path: Path) -> None:
        values = np.ones((17, 4), dtype=np.float32)
        values[3] = 0.0
        found = E(save(tmp_path / "t.npy", values))
        assert found[3].tolist() == [0.0] * 4 and found[4].tolist() == [0.5] * 4

    def test_an_embedding_of_gtsearch_is_taken_on_its_own_split(self, tmp_path: Path) -> None:
        E_W = torch.randn(17, 3, generator=generator(0))
        artefact.write(tmp_path / "e.safetensors", E_W, HEADER)
        one = method("file", path=str(tmp_path / "e.safetensors"))
        torch.testing.assert_close(E(one), torch.nn.functional.normalize(E_W, dim=1))

    @pytest.mark.parametrize("fraction", [TASK.train_fraction, 0.5])
    def test_an_embedding_of_the_task_itself_is_refused_before_anything_runs(
        self, tmp_path: Path, fraction: float
    ) -> None:
        """It fits its own split, and a report has splits of its own."""
        path = tmp_path / "e.safetensors"
        artefact.write(path, torch.ones(17, 3), HEADER)
        task = ModularAddition(name="modular_addition", p=17, train_fraction=fraction)
        [(key, line)] = method("file", path=str(path)).problems(task, SIZES, [], 100)
        assert key == "path" and "\n" not in line
        assert line.startswith(f"{path} was trained on examples of a + b mod 17 itself: they would meet the validation")
        assert line.endswith("search with a `weak` stage, or give another task's embedding")
        artefact.write(path, torch.ones(17, 3), HEADER | {"task": TIMES.identity()})
        assert list(method("file", path=str(path)).problems(task, SIZES, [], 100)) == []

    @pytest.mark.parametrize("name", ["t.npy", "e.safetensors"])
    def test_is_tied_to_the_content_of_its_file(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name

        def write(value: float) -> None:
            table = torch.full((17, 3), value)
            if path.suffix == ".npy":
                np.save(path, table.numpy())
            else:
                artefact.write(path, table, HEADER | {"task": TIMES.identity()})

        write(1.0)
        one = method("file", path=str(path))
        assert one.model_dump()["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert method("file", **one.model_dump(exclude={"name"})) == one
        write(2.0)
        [(key, line)] = one.problems(TASK, SIZES, [], 100)
        assert key == "path" and re.fullmatch(
            r"the embedding .* was changed: its sha256 is .*; restore it, or .*", line
        )
        with pytest.raises(EmbeddingError, match="was changed"):
            E(one)
        again = method("file", **one.model_dump(exclude={"name"}))
        assert again == one and any("was changed" in line for _, line in again.problems(TASK, SIZES, [], 100))
        assert method("file", path=str(path)) != one, "another content is another method"

    def test_an_embedding_that_saw_the_validation_examples_is_refused_at_the_start(self, tmp_path: Path) -> None:
        artefact.write(tmp_path / "e.safetensors", torch.ones(17, 3), HEADER | {"train_sha256": "0" * 64})
        one = method("file", path=str(tmp_path / "e.safetensors"))
        with pytest.raises(EmbeddingError, match="another split of this task"):
            E(one)
        other = ModularAddition(name="modular_addition", p=17, train_fraction=0.5)
        with pytest.raises(EmbeddingError, match="another split of this task"):
            E(one, other)

    def test_a_relative_path_is_the_one_seen_from_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker runs in a folder of its own."""
        np.save(tmp_path / "t.npy", np.ones((17, 3)))
        monkeypatch.chdir(tmp_path)
        one = method("file", path="t.npy")
        monkeypatch.chdir("/")
        assert list(one.problems(TASK, SIZES, [], 100)) == []
        assert method("file", path="~/t.npy").model_dump()["path"] == str(Path.home() / "t.npy")

    @pytest.mark.parametrize(
        ("name", "content", "line"),
        [
            ("none.npy", None, r"cannot read the embedding .*none\.npy: No such file"),
            ("none.safetensors", None, r"cannot read the embedding .*none\.safetensors: No such file"),
            ("t.npy", np.zeros((17, 3, 2)), r"must hold a table \[d_vocab, columns\], not shape \[17, 3, 2\]"),
            ("t.npy", np.zeros(17), r"must hold a table .*, not shape \[17\]"),
            ("t.npy", np.zeros((17, 0)), r"must hold a table .*, not shape \[17, 0\]"),
            ("t.npy", np.full((17, 3), np.nan), "holds a number that is not finite"),
            ("t.npy", np.full((17, 3), np.inf), "holds a number that is not finite"),
            ("t.npy", np.ones((18, 3)), r"has 18 rows where a \+ b mod 17 needs 17; give a table of one row each"),
            ("t.npy", np.ones((17, 3), dtype=complex), "must hold numbers, not complex128"),
            ("t.npy", np.array([["a"] * 3] * 17), "must hold numbers, not <U1"),
            ("t.npy", np.array([[object()]]), "is not a table of numbers as numpy saves one"),
            ("t.npy", b"", "is not a table of numbers as numpy saves one"),
            ("t.npy", b"nonsense", "is not a table of numbers as numpy saves one"),
            ("t.safetensors", b"nonsense", "is not an embedding written by gtsearch"),
            ("t.pt", b"", r"is a \.safetensors file of gtsearch's or an \.npy file, not .*t\.pt"),
        ],
    )
    def test_what_is_no_table_of_the_tasks_is_refused_in_one_line(
        self, tmp_path: Path, name: str, content: Any, line: str
    ) -> None:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content, allow_pickle=True)
        found = list(method("file", path=str(path)).problems(TASK, SIZES, [], 100))
        assert [key for key, _ in found] == ["path"]
        assert re.search(line, found[0][1]) and "\n" not in found[0][1], found[0][1]

    def test_reading_runs_no_code(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return (pytest.fail, ("reading an embedding ran code",))

        for name in ("t.npy", "t.safetensors"):
            (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
            assert list(method("file", path=str(tmp_path / name)).problems(TASK, SIZES, [], 100))
        archive = tmp_path / "a.npy"
        with archive.open("wb") as file:
            np.savez(file, a=np.ones((17, 3)))
        assert "must hold numbers" in next(
            line for _, line in method("file", path=str(archive)).problems(TASK, SIZES, [], 100)
        )


@pytest.mark.parametrize("name", ["onehot", "binary", "fourier"])
def test_rows_said_of_tokens_do_not_fit_vectors(name: str) -> None:
    found = list(method(name).problems(BLOBS, MlpSizes(name="mlp", d_embed=8), [], 100))
    assert found == [("", f"`{name}` gives tokens their rows, and three blobs has vectors; take the method out")]


@pytest.mark.parametrize(
    ("frequencies", "line"),
    [
        ([1, 9, 2, 10], r"between 1 and d_vocab / 2 = 8\.5 for a \+ b mod 17, not at 9, 10; choose others"),
        ([0, 3], r"between 1 and .*, not at 0; choose others"),
        ([-1], r"not at -1"),
        ([3, 3], r"each stands once, not as in \[3, 3\]; take the repeated out"),
    ],
)
def test_frequencies_that_are_none(frequencies: list[int], line: str) -> None:
    found = list(method("fourier", frequencies=frequencies).problems(TASK, SIZES, [], 100))
    assert [key for key, _ in found] == ["frequencies"]
    assert re.search(line, found[0][1])


def test_half_the_vocabulary_is_a_frequency() -> None:
    assert list(method("fourier", frequencies=[4]).problems(P8, SIZES, [], 100)) == []
    assert E(method("fourier", frequencies=[4]), P8)[:, 0].round().tolist() == [1, -1] * 4


@pytest.mark.parametrize(("name", "options"), [("fourier", {"frequencies": 3}), ("transfer", {"layers": "text"})])
def test_a_list_that_is_none_is_told_in_plain_words(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        method(name, **options)
    [problem] = explain(raised.value)
    assert problem.path in options and problem.text.startswith("must be a list, not ")
