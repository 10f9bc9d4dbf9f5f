"""What is read off an embedding: one contract for every score of the menu, then each against a value known by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import policy_for, spec
from small_tasks import SMALL, small
from torch import Tensor

from gtsearch import catalog, scores
from gtsearch import embedding as artefact
from gtsearch.cycles import cycle
from gtsearch.results import scores_frame
from gtsearch.scores import Scored
from gtsearch.search.policy import Job
from gtsearch.tasks.base import Part, Task
from gtsearch.tasks.modular import ModularAddition, ModularDivision, ModularMultiplication, ModularSubtraction
from gtsearch.trainables import trainable_for

ADDITION = ModularAddition(name="modular_addition", p=23, train_fraction=0.5)
PRODUCT = ModularMultiplication(name="modular_multiplication", p=23, train_fraction=0.5)
CURVE = [{"epoch": 10 * i, "train_accuracy": 0.2 * i, "val_accuracy": 0.1 * i} for i in range(5)]


def scored(E: Tensor, task: Task = ADDITION, **changes: Any) -> Scored:
    splits = task.splits(0)
    return replace(Scored(E, task, splits.train, splits.validation, CURVE, 0.4), **changes)


def noise(task: Task = ADDITION, width: int = 4) -> Tensor:
    return torch.randn(task.d_vocab, width, generator=torch.Generator().manual_seed(3))


def circle(task: Task, *turns: int) -> Tensor:
    """Every token at its place on a circle, gone round so many times: [d_vocab, 2 a number of turns]."""
    order = cycle(task)
    assert order is not None
    angle = 2 * math.pi * torch.arange(len(order))[:, None] * torch.tensor(turns) / len(order)
    E = torch.zeros(task.d_vocab, 2 * len(turns))
    E[order] = torch.cat([angle.cos(), angle.sin()], dim=1).float()
    return E


def value(name: str, given: Scored) -> float | None:
    found: float | None = catalog.load("score", name)(given)
    return found


@pytest.mark.parametrize("name", SMALL)
def test_every_score_is_a_number_or_none_on_every_task(name: str) -> None:
    task = small(name)
    given = scored(noise(task), task)
    found = scores.measure(given)
    assert list(found) == list(catalog.SCORES)
    assert all(number is None or math.isfinite(number) for number in found.values())
    assert scores.measure(given) == found
    undefined = {name for name, number in found.items() if number is None}
    # A probe tells one label from an example.
    allowed = {"fourier", "product_probe", *(["linear_probe"] if task.n_answers > 1 else [])}
    assert undefined <= allowed and ("fourier" in undefined) == (cycle(task) is None)


@pytest.mark.parametrize("name", catalog.SCORES)
def test_nothing_is_told_of_an_embedding_that_tells_nothing(name: str) -> None:
    number = value(name, scored(torch.zeros(23, 4), curve=[]))
    assert number is None or math.isfinite(number)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_labels_that_are_not_validated_on_change_nothing(seed: int) -> None:
    """A score sees the training and the validation part alone: there is no test part in what it is given."""
    fields = set(Scored.__dataclass_fields__)
    assert fields == {"E", "task", "train", "validation", "curve", "val_accuracy", "dose"}
    order = torch.randperm(len(ADDITION.splits(0).validation), generator=torch.Generator().manual_seed(seed))
    given = scored(noise())
    shuffled = replace(given, validation=Part(given.validation.x[order], given.validation.y[order]))
    assert scores.measure(shuffled) == pytest.approx(scores.measure(given))


def test_what_the_run_saw() -> None:
    given = scored(noise())
    assert value("accuracy", given) == 0.4
    assert value("gap", given) == pytest.approx(0.8 - 0.4)
    assert value("slope", given) == pytest.approx(100 * 0.1 / 10)
    assert value("epochs", given) == 40
    # Noise moved the accuracy since the curve was read, not the history.
    mixed = replace(given, dose=0.5, val_accuracy=0.2)
    assert (value("gap", mixed), value("accuracy", mixed), value("epochs", mixed)) == (None, 0.2, 40)
    assert value("slope", replace(given, curve=CURVE[:2])) is None


def test_the_matrix_alone() -> None:
    E = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).repeat(4, 1)
    assert value("norm", scored(E)) == pytest.approx(10.0)
    assert value("row_norm_spread", scored(E)) == pytest.approx(0.5 / 3.5)
    assert value("effective_rank", scored(E)) == pytest.approx(
        math.exp(-sum(p * math.log(p) for p in (3 / 7, 4 / 7))), rel=1e-6
    )


@pytest.mark.parametrize("task", [ADDITION, PRODUCT, ModularDivision(name="modular_division", p=23)])
def test_few_frequencies_round_the_tasks_own_cycle(task: Task) -> None:
    assert value("fourier", scored(circle(task, 2, 5), task)) == pytest.approx(1.0)
    four = circle(task, 1, 2, 3, 4)
    assert value("fourier", scored(four, task)) == pytest.approx(0.75)
    assert value("fourier", scored(four + 7.0, task)) == pytest.approx(0.75, abs=1e-5)  # the mean is no frequency
    shuffled = circle(task, 2, 5)[torch.randperm(23, generator=torch.Generator().manual_seed(1))]
    assert value("fourier", scored(shuffled, task)) < 0.8


@pytest.mark.parametrize(
    ("task", "combine"),
    [
        (ADDITION, lambda a, b, n: (a + b) % n),
        (ModularSubtraction(name="modular_subtraction", p=23), lambda a, b, n: (a - b) % n),
        (PRODUCT, lambda a, b, n: (a + b) % n),
        (ModularDivision(name="modular_division", p=23), lambda a, b, n: (a - b) % n),
    ],
)
def test_a_cycle_is_gone_round_by_the_tasks_operation(task: Any, combine: Any) -> None:
    order = cycle(task)
    assert order is not None
    assert len(order) == len(set(order.tolist())) == (23 if 0 in order else 22)
    for a, b in ((3, 4), (10, 19), (1, 21)):
        x, y = order[a], order[b]
        assert task.values(x, y) == order[combine(a, b, len(order))]


@pytest.mark.parametrize(
    "task",
    [
        ModularMultiplication(name="modular_multiplication", p=22),
        small("permutations"),
        small("sparse_parity"),
        small("modular_pair"),
    ],
)
def test_a_task_of_no_cycle_has_no_frequencies(task: Task) -> None:
    assert cycle(task) is None and value("fourier", scored(noise(task), task)) is None


@pytest.mark.parametrize("task", [ADDITION, PRODUCT])
def test_the_products_of_a_circles_rows_tell_the_answer_and_its_rows_do_not(task: Task) -> None:
    E = circle(task, 3, 4, 5)
    assert value("product_probe", scored(E, task)) > 0.9
    assert value("linear_probe", scored(E, task)) < 0.2
    # In a space of many more columns its leading directions are the same.
    wide = E @ torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    assert value("product_probe", scored(wide, task)) > 0.9
    assert value("product_probe", scored(noise(task), task)) < 0.2


def test_a_linear_probe_reads_what_is_linear() -> None:
    """Rows that are one-hot labels of vectors that lie apart."""
    task = small("digits", n_train=200, n_validation=200)
    pixels = torch.eye(task.d_vocab)
    assert value("linear_probe", scored(pixels, task)) > 0.7
    assert value("linear_probe", scored(torch.zeros_like(pixels), task)) < 0.3


def test_probes_of_many_examples_look_at_some_of_all() -> None:
    task = ModularAddition(name="modular_addition", p=113)
    part = scores._thinned(task.splits(0).train)
    assert len(part) == scores._EXAMPLES and part.x[0, 0] < 3 and part.x[-1, 0] > 109
    assert value("product_probe", scored(circle(task, 3, 20, 41), task)) > 0.9


def test_a_weak_member_hands_over_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file holds is what was scored, with the accuracies of the evaluation it was taken at."""
    # A worker does this to its whole process, which here is that of all tests.
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flag: True)
    experiment = spec(weak__goal="none", weak__budget={"configs_per_architecture": 2, "max_epochs": 40})
    policy = policy_for(experiment)
    while isinstance(job := policy.ask(), Job) and job.stage != "weak":
        pass
    assert isinstance(job, Job)
    trainable = trainable_for(job.to_json())
    trainable.setup(job.to_json(), tmp_path, threads=torch.get_num_threads())
    rows, done = [], False
    while not done:
        report = trainable.step()
        rows, done = rows + report["finished"], report["done"]
    assert rows and all(row["status"] == "cleared" for row in rows)
    for row in rows:
        [kept] = row["embeddings"]
        E, _, _ = artefact.read(tmp_path / kept["path"], kept["sha256"])
        point = next(point for point in row["curve"] if point["epoch"] == kept["epoch"])
        splits = experiment.task.splits(row["split_seed"])
        before = [point for point in row["curve"] if point["epoch"] <= kept["epoch"]]
        again = Scored(E, experiment.task, splits.train, splits.validation, before, kept["val_accuracy"])
        assert kept["scores"] == scores.measure(again)
        assert kept["scores"]["gap"] == point["train_accuracy"] - point["val_accuracy"]
        assert kept["scores"]["norm"] == kept["norm"]
    frame = scores_frame(rows)
    assert set(frame["score"]) == set(catalog.SCORES) and set(frame["run_id"]) == {row["run_id"] for row in rows}
