"""Tasks that a plain function makes: what it may give, what is refused, and that it stays tied to its examples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gtsearch import plugins
from gtsearch.contracts import TaskContract
from gtsearch.errors import TaskError
from gtsearch.tasks.base import Task
from gtsearch.tasks.factory import FactoryTask, task_of


def sums(seed: int, modulus: int = 7, share: float = 0.6) -> dict[str, Any]:
    x = np.array([(a, b) for a in range(modulus) for b in range(modulus)])
    order = np.random.default_rng(seed).permutation(len(x))
    train, rest = np.split(order, [int(share * len(x))])
    y = x.sum(axis=1) % modulus
    return {"train": (x[train], y[train]), "validation": (x[rest], y[rest]), "title": f"sums mod {modulus}"}


def vectors(seed: int) -> dict[str, Any]:
    x = torch.randn(30, 3)  # from the global generator, which begins at the seed
    return {name: (x[i::3], (x[i::3, 0] > 0).int()) for i, name in enumerate(("train", "validation", "test"))}


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if they stood in a module `mine`."""
    for function in (sums, vectors):
        name = f"mine:{function.__name__}"
        monkeypatch.setitem(plugins._objects, ("task", name), task_of(function, name))
    monkeypatch.setattr(plugins, "_module", lambda name: None)
    monkeypatch.setattr(plugins, "_attribute", lambda module, name: None)
    yield


def make(function: Any, **parameters: Any) -> Task:
    return task_of(function, f"mine:{function.__name__}")(name=f"mine:{function.__name__}", **parameters)


def refusal(given: Any, **parameters: Any) -> str:
    """Why no task is made of a function that gives `given`."""

    def wrong(seed: int) -> Any:
        return given(seed) if callable(given) else given

    with pytest.raises(ValidationError) as refused:
        make(wrong, **parameters)
    [error] = refused.value.errors()
    told = str(error["ctx"]["error"])
    assert told.startswith("`mine:wrong`") and "\n" not in told
    return told


class TestSums(TaskContract):
    asked: ClassVar[dict[str, Any]] = {"name": "mine:sums", "modulus": 5}


class TestVectors(TaskContract):
    asked: ClassVar[dict[str, Any]] = {"name": "mine:vectors"}


def test_what_it_gives_is_the_task() -> None:
    task = make(sums, modulus=5)
    assert (task.d_vocab, task.n_classes, task.n_tokens, task.vectors) == (5, 5, 2, False)
    assert task.part_sizes == (15, 5, 5) and task.title == "sums mod 5"
    x, y = sums(3, 5)["train"]
    assert task.splits(3).train.x.tolist() == x.tolist() and task.splits(3).train.y.tolist() == y.tolist()
    rest = sums(3, 5)["validation"][0]
    assert task.splits(3).validation.x.tolist() == rest[::2].tolist()
    assert task.splits(3).test.x.tolist() == rest[1::2].tolist()
    over = make(vectors)
    assert over.vectors and over.d_vocab == 3 and over.part_sizes == (10, 10, 10) and over.title == "mine:vectors"
    assert over.splits(2**63 - 1).train.x.dtype == torch.float32


def test_the_global_generators_are_put_back() -> None:
    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]

    before = states()
    make(vectors).splits(5)
    assert states() == before


PAIR = (torch.zeros(3, 2).long(), torch.tensor([0, 1, 0]))
OTHER = (torch.ones(3, 2).long(), torch.tensor([0, 1, 0]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "must give a mapping of train, validation"),
        ({"train": PAIR}, "gives no `validation`"),
        ({"train": PAIR, "validation": OTHER, "tset": PAIR}, "no key `tset`; did you mean `test`?"),
        ({"train": PAIR, "validation": 3}, "validation must be a pair (x, y), not a int"),
        ({"train": PAIR, "validation": (OTHER[0], "ab")}, "y must be a tensor or an array of numbers, not a str"),
        ({"train": PAIR, "validation": (OTHER[0][0], OTHER[1])}, "not [2] and [3]"),
        ({"train": PAIR, "validation": (OTHER[0], OTHER[1][:2])}, "not [3, 2] and [2]"),
        ({"train": PAIR, "validation": (OTHER[0], OTHER[1].float())}, "labels must be whole numbers"),
        ({"train": PAIR, "validation": (-OTHER[0], OTHER[1])}, "one is below 0"),
        ({"train": PAIR, "validation": (OTHER[0] / 0.0, OTHER[1])}, "NaN or infinite"),
        ({"train": PAIR, "validation": (OTHER[0].float(), OTHER[1])}, "train is [3, 2] int64, validation is [2, 2]"),
        ({"train": PAIR, "validation": (OTHER[0][:, :1], OTHER[1])}, "inputs of all parts must be alike"),
        ({"train": PAIR, "validation": PAIR}, "2 of 2 inputs of validation stand in train too"),
        ({"train": PAIR, "validation": OTHER}, "1 of 1 inputs of test stand in validation too"),
        (
            {"train": PAIR, "validation": OTHER, "test": (OTHER[0] + 1, OTHER[1]), "d_vocab": 2},
            ", and its examples need 3; mend it",
        ),
        ({"train": PAIR, "validation": OTHER, "test": (OTHER[0] + 1, OTHER[1]), "title": 3}, "gives the title 3"),
        ({"train": PAIR, "validation": (OTHER[0][:1], OTHER[1][:1])}, "one example cannot be halved"),
        (lambda seed: 1 / 0, "raised ZeroDivisionError: division by zero (test_factory.py:"),
    ],
)
def test_what_makes_no_task_is_one_line(given: Any, words: str) -> None:
    assert words in refusal(given)


def test_examples_must_follow_from_the_seed_and_nothing_else() -> None:
    def entropy(seed: int) -> dict[str, Any]:
        return sums(int(np.random.default_rng().integers(2**31)))

    with pytest.raises(TaskError, match="gives other examples each time it is called with seed 0"):
        make(entropy).prepare()
    make(sums).prepare()

    def grows(seed: int) -> dict[str, Any]:
        return sums(seed, 7 if seed == 0 else 6)

    with pytest.raises(TaskError, match="sizes must not depend on the seed"):
        make(grows).splits(1)

    def rises(seed: int) -> dict[str, Any]:
        given = sums(seed)
        return {name: (given[name][0] + (seed > 0), given[name][1]) for name in ("train", "validation")}

    with pytest.raises(TaskError, match="which seed 0 has not; give `d_vocab` beside the parts"):
        make(rises).splits(1)

    def melts(seed: int) -> dict[str, Any]:
        given = sums(seed)
        return {name: (given[name][0] * (1.0 if seed else 1), given[name][1]) for name in ("train", "validation")}

    with pytest.raises(TaskError, match="train has tokens at one seed and vectors at another; give one kind"):
        make(melts).splits(1)


def test_it_stays_tied_to_its_examples(tmp_path: Path) -> None:
    file = tmp_path / "shift.txt"
    file.write_text("0")

    def read(seed: int, file: Path) -> dict[str, Any]:
        given = sums(seed)
        return {name: (given[name][0] + int(file.read_text()), given[name][1]) for name in ("train", "validation")}

    task = make(read, file=str(file))
    assert isinstance(task, FactoryTask) and task.sha256 is not None and task.seed == 0
    assert task.model_dump()["file"] == str(file)
    again = type(task)(**task.model_dump())
    assert again == task and again.identity()["sha256"] == task.sha256
    file.write_text("1")
    from gtsearch.tasks.factory import _facts

    _facts.cache_clear()  # as another process
    with pytest.raises(ValidationError, match="gives other examples than it did"):
        type(task)(**task.model_dump())


def test_parameters_are_checked_by_their_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(seed: int, n=3, names: list[str] | None = None, at: Path = Path("x"), share: float = 0.5):  # type: ignore[no-untyped-def]
        return sums(seed)

    monkeypatch.chdir(tmp_path)
    task = make(typed, names=["a"])
    assert task.model_dump()["at"] == str(Path.cwd() / "x") or task.model_dump()["at"].endswith("/x")
    assert hash(task) == hash(type(task)(**task.model_dump()))
    for wrong in ({"n": "3"}, {"n": 3.5}, {"names": "a"}, {"share": "half"}):
        with pytest.raises(ValidationError):
            type(task).model_validate({"name": "mine:typed", **wrong}, strict=True)
