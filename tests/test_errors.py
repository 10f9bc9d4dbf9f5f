"""Every error that a user may see is asserted by its text, somewhere in the tests.

The first test holds the list: it reads the messages out of the source, so an error that somebody adds without a test
of its text fails here. The others trigger those that have no better place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_folders import small_story, write_run
from small_tasks import small
from test_spec import SMALLEST, changed

from gtsearch.errors import GtsearchError
from gtsearch.export import export
from gtsearch.resources import resources_for
from gtsearch.results import load_results
from gtsearch.spec import parse_spec
from gtsearch.transplant import transfer

ROOT = Path(__file__).parent.parent
RAISED = {
    "GtsearchError",
    "SpecError",
    "ResultsError",
    "TaskError",
    "EmbeddingError",
    "ResourcesError",
    "BrokenOff",
    "ValueError",
    "Problem",
    "_mistake",
}
# What only a Ray says that fails in ways of its own; which it does is not for a test to choose.
OF_RAY = ("cannot join the cluster", "cannot ask the cluster", "several Rays run here")
OF_RAY += ("could not train:", "its worker gave no row")
WORDS = 3  # in a row of a message, found in a test, count as asserted


def messages() -> Iterator[tuple[str, list[str]]]:
    """Where each message is written, and the pieces of it that are always the same."""
    for file in sorted([*(ROOT / "gtsearch").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]):
        tree = ast.parse(file.read_text("utf-8"))
        # What statistics say of arguments that do not fit each other is for programmers.
        raised = RAISED - ({"ValueError"} if file.is_relative_to(ROOT / "analysis") else set())
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and _called(node) in raised and node.args:
                    message = node.args[-1] if _called(node) == "Problem" else node.args[0]
                    pieces = [" ".join(text.split()) for text in _texts(message, function)]
                    if pieces := [piece for piece in pieces if len(piece) > 10 and " " in piece]:
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", pieces


def _texts(message: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """The constant text in a message, and in the names of the function that it is made of, such as `rule`."""
    yield from (n.value for n in ast.walk(message) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    names = {node.id for node in ast.walk(message) if isinstance(node, ast.Name)}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and {t.id for t in node.targets if isinstance(t, ast.Name)} & names:
            inner = ast.walk(node.value)
            yield from (n.value for n in inner if isinstance(n, ast.Constant) and isinstance(n.value, str))


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def asserted() -> str:
    """All text in the tests but docstrings, without the backslashes of regular expressions."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said]
        found += [node.value for node in constants if isinstance(node.value, str)]
    return "\n".join(" ".join(text.replace("\\", "").split()) for text in found)


def _is_in(piece: str, tests: str) -> bool:
    words = piece.split(" ")
    count = min(WORDS, len(words))
    runs = (" ".join(words[i : i + count]).strip(" .;,:()") for i in range(len(words) - count + 1))
    return any(len(run) >= 8 and run in tests for run in runs)


def test_every_error_is_asserted_by_its_text() -> None:
    tests = asserted()
    every = list(messages())
    assert len(every) > 200
    missing = [
        f"{where}: {' ... '.join(pieces)}" for where, pieces in every if not any(_is_in(p, tests) for p in pieces)
    ]
    missing = [line for line in missing if not any(words in line for words in OF_RAY)]
    assert not missing, "no test asserts the text of:\n" + "\n".join(missing)


def test_a_text_that_stands_in_no_test_is_missed() -> None:
    assert _is_in("there are two zebras here", "a test with two zebras here, and more")
    assert not _is_in("there are two zebras here", "a test with two zebras")


# -- those that have no better place --------------------------------------------------------------------------


def refusal(what: Callable[[], object]) -> str:
    with pytest.raises(GtsearchError) as refused:
        what()
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_more_gpus_than_there_are() -> None:
    spec = parse_spec(SMALLEST | {"resources": {"gpus_per_trial": 64, "workers": 1}})
    line = refusal(lambda: resources_for(spec, None))
    assert line.startswith("resources.gpus_per_trial: 64 GPUs are asked for and this machine has ")
    assert line.endswith("; say auto or 0")


def test_a_target_without_a_goal() -> None:
    line = refusal(lambda: parse_spec(changed(target__goal="none")))
    assert line == "target.goal: is missing: what the target must reach; give a val_accuracy"


def test_a_folder_of_mnist_that_holds_two_archives(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        np.savez(tmp_path / name, x=np.zeros(1))
    line = refusal(small("mnist", folder=str(tmp_path)).prepare)
    assert "holds 2 .npz files, and one must be MNIST; leave that one there" in line


def test_images_and_labels_that_are_not_as_many(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        images, labels = np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8)
        head = (2051).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in images.shape)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = (2049).to_bytes(4, "big") + len(labels).to_bytes(4, "big")
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    line = refusal(small("mnist", folder=str(tmp_path)).prepare)
    assert "has 6 images and 4 labels; they must be as many" in line


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (torch.full((3, 2), torch.nan), "the embedding holds numbers that are not finite; its training diverged"),
        ("a word\0", "an embedding is a matrix of numbers, not a "),
        ([["a"]], "an embedding is a matrix of numbers, not a list"),
    ],
)
def test_an_embedding_that_is_none_is_not_put_into_a_model(table: Any, line: str) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(3, 4))
    said = refusal(lambda: transfer(model, table))
    assert said.startswith(line) or ("\0" in str(table) and "cannot read the embedding" in said)


@pytest.mark.parametrize("files", [0, 2])
def test_a_certified_embedding_that_is_not_there_once(tmp_path: Path, files: int) -> None:
    run = write_run(tmp_path / "run", small_story())
    winner = load_results(run).summary["weak"]["pays"]["run_id"]
    (run / "embeddings").mkdir()
    for i in range(files):
        (run / "embeddings" / f"{winner}-e{i}.safetensors").touch()
    line = refusal(lambda: export(load_results(run), tmp_path / "out.safetensors"))
    assert line.startswith("the certified embedding ")
    assert line.endswith("is one of 2 files" if files else "is gone")
