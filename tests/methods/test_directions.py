"""`pca` and `lda` against what they are: singular vectors, Fisher's direction, the analysis of a table."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from model_tasks import BLOBS, CORNERS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from training_kit import SIZES, SPLITS, TASK, build

from gtsearch import catalog
from gtsearch.methods.base import Method
from gtsearch.methods.lda import of_table
from gtsearch.models.base import FactorisedEmbedding
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Part, Task
from gtsearch.tasks.modular import ModularAddition

NARROW = MlpSizes(name="mlp", d_embed=8)
P5 = ModularAddition(name="modular_addition", p=5, train_fraction=0.6)


def method(name: str, **options: Any) -> Method:
    return catalog.load("method", name)(name=name, **options)


def A(one: Method, task: Task = TASK, seed: int = 0, **hyperparameters: float) -> Tensor:
    sizes = NARROW if task.vectors else SIZES
    module = build(seed, method=one, task=task, sizes=sizes, hyperparameters=hyperparameters)
    assert isinstance(module.embedding, FactorisedEmbedding)
    return module.embedding.A.detach().double()


def cosines(found: Tensor, expected: Tensor) -> list[float]:
    """Of columns, whatever their signs."""
    return (
        (torch.nn.functional.normalize(found, dim=0) * torch.nn.functional.normalize(expected, dim=0))
        .sum(dim=0)
        .abs()
        .tolist()
    )


def table(part: Part, task: Task) -> Tensor:
    """Counted one by one."""
    counts = torch.zeros(task.d_vocab, task.n_classes, dtype=torch.float64)
    for tokens, label in zip(part.x.tolist(), part.y.tolist(), strict=True):
        for token in tokens:
            counts[token, label] += 1
    return counts


def test_pca_over_vectors_is_the_leading_singular_vectors() -> None:
    x = BLOBS.splits(0).train.x.double()
    V = torch.linalg.svd(x - x.mean(dim=0)).Vh.T
    found = A(method("pca", width=4), BLOBS)
    assert found.shape == (6, 4)
    assert cosines(found, V[:, :4]) == pytest.approx([1.0] * 4, abs=1e-5)
    torch.testing.assert_close(found.norm(dim=0), torch.ones(4, dtype=torch.float64), rtol=1e-6, atol=0)


def test_pca_over_tokens_is_that_of_the_table_of_tokens_and_labels() -> None:
    counts = table(SPLITS.train, TASK)
    U = torch.linalg.svd(counts - counts.mean(dim=1, keepdim=True)).U
    found = A(method("pca"))
    assert found.shape == (17, 8)
    assert cosines(found, U[:, :8]) == pytest.approx([1.0] * 8, abs=1e-5)
    torch.testing.assert_close(
        found.norm(dim=0), torch.full((8,), math.sqrt(17), dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_lda_of_two_classes_is_fishers_direction() -> None:
    class Two(type(BLOBS)):  # type: ignore[misc]
        """The blobs of the first two centres."""

        @property
        def n_classes(self) -> int:
            return 2

        def draw(self, n: int, generator: torch.Generator) -> Part:
            part = super().draw(n, generator)
            return Part(part.x, (part.y == 0).long())

    task = Two(name="two")
    part = task.splits(0).train
    x, y = part.x.double(), part.y
    means = torch.stack([x[y == c].mean(dim=0) for c in range(2)])
    within = (x - means[y]).T @ (x - means[y])
    fisher = torch.linalg.solve(within, means[1] - means[0])
    one = method("lda")
    assert list(one.problems(task, NARROW, [], 100)) == []
    found = A(one, task)
    assert found.shape == (6, 1), "two classes have one direction"
    assert cosines(found, fisher[:, None]) == pytest.approx([1.0], abs=1e-5)
    assert float(found.norm()) == pytest.approx(1.0)


def test_lda_over_tokens_is_that_of_the_one_hot_tokens() -> None:
    x, y = SPLITS.train.x, SPLITS.train.y
    tokens = torch.nn.functional.one_hot(x.flatten(), 17).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one-hot tokens are collinear
        analysis = LinearDiscriminantAnalysis().fit(tokens.numpy(), y.repeat_interleave(2).numpy())
    expected = torch.from_numpy(analysis.scalings_[:, :8])
    found = A(method("lda"))
    assert found.shape == (17, 8)
    # One-hot tokens add up to 1, so a direction is known but for a constant: both are centred over the tokens.
    share = tokens.mean(dim=0)[:, None]
    both = [side - (share * side).sum(dim=0) for side in (found, expected)]
    assert cosines(*both) == pytest.approx([1.0] * 8, abs=1e-5)


def test_lda_of_a_table_with_what_never_stands() -> None:
    """Tokens 0 and 1 beside label 0, token 3 beside label 2; token 2 and label 1 are never seen."""
    found = of_table(np.array([[3.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
    assert found.shape == (4, 1), "one thing to tell apart"
    assert (found[:, 0] / found[3, 0]).tolist() == pytest.approx([-1.0, -1.0, 0.0, 1.0])


@pytest.mark.parametrize("name", ["pca", "lda"])
@pytest.mark.parametrize("task", [TASK, BLOBS], ids=["tokens", "vectors"])
def test_the_directions_are_the_splits_and_not_the_members(name: str, task: Task) -> None:
    one = method(name, width=2)
    assert torch.equal(A(one, task, seed=0), A(one, task, seed=1))
    torch.testing.assert_close(A(one, task, embedding_scale=3.0), 3.0 * A(one, task))


def test_nothing_but_the_training_part_is_looked_at() -> None:
    """Another split, another answer; the same split, the same one, whatever the size of the model."""
    one = method("pca", width=3)
    module = build(0, method=one, task=BLOBS, sizes=MlpSizes(name="mlp", d_embed=3))
    assert np.allclose(module.embedding.A.detach().double(), A(one, BLOBS))


@pytest.mark.parametrize(
    ("one", "task", "line"),
    [
        (method("pca"), BLOBS, "three blobs gives `pca` 6 directions at most, not 8; choose a width up to that"),
        (method("pca"), P5, "a + b mod 5 gives `pca` 4 directions at most, not 8"),
        (method("lda", width=3), BLOBS, "three blobs gives `lda` 2 directions at most, not 3"),
        (method("lda", width=2), CORNERS, "gives `lda` 1 directions at most, not 2"),
        (method("lda", width=17), TASK, "a + b mod 17 gives `lda` 16 directions at most, not 17"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_more_directions_than_there_are(one: Method, task: Task, line: str) -> None:
    found = list(one.problems(task, NARROW if task.vectors else SIZES, [], 100))
    assert [key for key, _ in found] == ["width"]
    assert re.search(re.escape(line), found[0][1])


def test_lda_takes_8_or_as_many_as_there_are() -> None:
    for task, width in ((TASK, 8), (P5, 4), (BLOBS, 2), (CORNERS, 1)):
        assert A(method("lda"), task).shape[1] == width


def test_examples_that_show_fewer_directions_are_told_of() -> None:
    class Flat(type(BLOBS)):  # type: ignore[misc]
        """All on one line."""

        def draw(self, n: int, generator: torch.Generator) -> Part:
            part = super().draw(n, generator)
            return Part(part.x[:, :1] * torch.ones(6), part.y)

    with pytest.raises(Exception, match=r"training examples show `lda` 1 directions, not 2; choose a smaller width"):
        A(method("lda"), Flat(name="flat"))
