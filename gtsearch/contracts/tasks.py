"""What every task keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from gtsearch import catalog
from gtsearch.contracts.making import asked_for
from gtsearch.losses import by_answer
from gtsearch.tasks.base import SPLIT_FIELDS, Part, Splits, Task


def rows(part: Part) -> set[tuple[float, ...]]:
    """Its inputs, each once."""
    return {tuple(row) for row in part.x.tolist()}


def parts(splits: Splits) -> tuple[Part, Part, Part]:
    return splits.train, splits.validation, splits.test


class TaskContract:
    """A task's tests. Attributes: asked, the task as it stands in an experiment."""

    asked: ClassVar[Mapping[str, Any]]

    @pytest.fixture
    def task(self) -> Task:
        made: Task = asked_for("task", self.asked)
        return made

    def test_parts_are_disjoint_and_of_the_announced_sizes(self, task: Task) -> None:
        for seed in range(5):
            splits = task.splits(seed)
            assert tuple(len(part) for part in parts(splits)) == task.part_sizes
            assert tuple(len(part.x) for part in parts(splits)) == task.part_sizes
            one, two, three = (rows(part) for part in parts(splits))
            assert not (one & two or one & three or two & three)
        assert sum(task.part_sizes) == task.n_examples

    def test_examples_have_the_shapes_and_dtypes_of_a_part(self, task: Task) -> None:
        for part in parts(task.splits(0)):
            answers = () if task.n_answers == 1 else (task.n_answers,)
            assert part.y.dtype == torch.int64 and part.y.shape == (len(part), *answers)
            assert 0 <= int(part.y.min()) <= int(part.y.max()) < task.n_classes
            if task.vectors:
                assert part.x.dtype == torch.float32 and part.x.shape == (len(part), task.d_vocab)
                assert part.x.isfinite().all() and task.n_tokens == 1
            else:
                assert part.x.dtype == torch.int64 and part.x.shape == (len(part), task.n_tokens)
                assert 0 <= int(part.x.min()) <= int(part.x.max()) < task.d_vocab
            blank = task.blank(len(part), "cpu")
            assert (blank.x.shape, blank.x.dtype) == (part.x.shape, part.x.dtype)
            assert (blank.y.shape, blank.y.dtype) == (part.y.shape, part.y.dtype)

    def test_the_split_seed_alone_decides(self, task: Task) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = task.splits(3)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(6)
        again = type(task)(**task.model_dump()).splits(3)
        for one, two in zip(parts(first), parts(again), strict=True):
            assert torch.equal(one.x, two.x) and torch.equal(one.y, two.y)
        assert first.train_sha256 == again.train_sha256
        assert first.train_sha256 != task.splits(4).train_sha256
        assert not torch.equal(first.validation.x, task.splits(4).validation.x)

    def test_is_rebuilt_from_its_parameters_and_its_identity(self, task: Task) -> None:
        assert type(task)(**task.model_dump()) == task
        assert type(task).model_validate(json.loads(json.dumps(task.model_dump())), strict=True) == task
        identity = json.loads(json.dumps(task.identity()))
        assert catalog.load("task", identity["name"])(**identity) == task and "seed" not in identity
        other = type(task)(**{**identity, "seed": 9})
        assert other.identity() == task.identity() and other != task
        assert hash(task) == hash(type(task)(**task.model_dump()))

    def test_parameters_of_the_split_are_known_as_such(self, task: Task) -> None:
        assert {field for field in ("train_fraction", "n_train") if field in task.identity()} <= set(SPLIT_FIELDS)

    def test_chance_is_the_best_blind_guess(self, task: Task) -> None:
        assert 1 / task.n_classes <= task.chance < task.above_chance() <= task.above_chance(100) <= 1
        y = torch.cat([part.y.flatten() for part in parts(task.splits(0))])
        share = float(y.bincount().max()) / len(y)
        # Of a task that is sampled, the share in a sample.
        assert abs(share - task.chance) < 4 * math.sqrt(0.25 / len(y))

    def test_above_chance_is_above_guesses_however_often_one_looks(self, task: Task) -> None:
        """1 in 1000 for all looks together: 3.09 deviations at one look, 4.26 at a hundred."""
        deviation = math.sqrt(task.chance * (1 - task.chance) / (task.part_sizes[1] * task.n_answers))
        for looks, deviations in ((1, 3.0902), (100, 4.2649)):
            expected = min(1.0, task.chance + deviations * deviation)
            assert task.above_chance(looks) == pytest.approx(expected, abs=1e-4 * deviation)

    def test_has_a_title_a_loss_and_outputs(self, task: Task) -> None:
        assert task.title and "\n" not in task.title and "train" in task.train_words
        assert task.n_outputs == (1 if task.default_loss in ("logistic", "exponential") else task.n_classes)
        train = task.splits(0).train
        outputs = torch.randn(*train.y.shape, task.n_outputs)
        assert catalog.load("loss", task.default_loss)(*by_answer(outputs, train.y)).isfinite()

    def test_is_prepared(self, task: Task) -> None:
        task.prepare()
