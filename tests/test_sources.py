"""What another task, or a chain, can give a target; and what would leak."""

from __future__ import annotations

import re
from typing import Any

import pytest
from model_tasks import BLOBS
from pydantic import TypeAdapter, ValidationError
from small_tasks import small

from gtsearch import catalog
from gtsearch.embedding import shared_answers
from gtsearch.problems import explain
from gtsearch.sources import CrossTask, Growth, SourceField
from gtsearch.tasks.base import Task

MODEL = {"name": "mlp", "depth": 2, "d_embed": 8, "width": 16}
LINK: dict[str, Any] = {
    "model": MODEL,
    "goal": {"val_accuracy": 0.9, "hold": 2, "evaluate_every": 10},
    "config": {"lr": 0.01, "weight_decay": 1.0, "init_scale": 1.0},
    "max_epochs": 500,
}


def task(name: str, **parameters: Any) -> Task:
    return catalog.load("task", name)(name=name, **parameters)


def modular(name: str, train_fraction: float = 0.25, p: int = 13, **parameters: Any) -> Task:
    return task(f"modular_{name}", p=p, train_fraction=train_fraction, **parameters)


ADDITION, MULTIPLICATION = modular("addition"), modular("multiplication")


def source(content: dict[str, Any]) -> Any:
    return TypeAdapter(SourceField).validate_python(content)


def cross(from_task: Task, into: Task) -> list[tuple[str, str]]:
    return list(CrossTask(name="cross_task", task=from_task).problems_for(into))


def refused(from_task: Task, into: Task) -> str:
    [(key, line)] = cross(from_task, into)
    assert key == "task" and "\n" not in line
    return line


class TestCrossTask:
    @pytest.mark.parametrize(
        ("from_task", "into"),
        [
            (ADDITION, MULTIPLICATION),
            (modular("addition", 0.9), MULTIPLICATION),  # shares its inputs, none of its answers
            (modular("multiplication", 0.9), modular("division")),
            (ADDITION, modular("polynomial", expression="x + y")),  # one split: training examples are training examples
            (ADDITION, ADDITION),
            (small("digits"), small("digits")),
            (small("sparse_parity", q=12, n_validation=30), small("redundant_parity")),
        ],
        ids=str,
    )
    def test_may_share_inputs(self, from_task: Task, into: Task) -> None:
        assert cross(from_task, into) == []

    def test_addition_may_come_before_permutations_of_as_many_tokens(self) -> None:
        assert cross(modular("addition", p=6), task("permutations", k=3)) == []

    @pytest.mark.parametrize("expression", ["x+y", "(x + y)^13"])  # a^13 = a mod 13
    def test_the_same_function_under_another_name_leaks(self, expression: str) -> None:
        line = refused(modular("polynomial", 0.9, expression=expression), ADDITION)
        assert re.search(r"training examples of .* would meet the target's validation or test: both tasks give", line)

    @pytest.mark.parametrize("fraction", [0.9, 0.1])
    def test_another_share_of_the_same_examples_leaks(self, fraction: float) -> None:
        """With a smaller share too: its part of the split need not lie in the target's, and every member is refused."""
        assert "it is the same task, split otherwise; split both alike" in refused(
            modular("addition", fraction), ADDITION
        )

    def test_more_draws_of_the_same_task_leak(self) -> None:
        assert "it is the same task, split otherwise" in refused(small("digits", n_train=60), small("digits"))

    def test_tasks_that_draw_are_not_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        into = small("xor_clusters")
        monkeypatch.setattr(type(into), "splits", lambda *_: pytest.fail("drew"))
        assert cross(small("sparse_parity", q=12), into) == []

    def test_rows_that_are_too_many_or_too_few_are_refused(self) -> None:
        line = "its embedding has 17 rows where a + b mod 13 needs 13; choose tasks over the same inputs"
        assert refused(modular("addition", p=17), ADDITION) == line

    def test_vectors_and_tokens_are_not_the_same_inputs(self) -> None:
        line = "a + b mod 6 has tokens where three blobs has vectors; choose tasks over the same inputs"
        assert refused(modular("addition", p=6), BLOBS) == line

    def test_a_split_of_its_own_is_refused(self) -> None:
        line = refused(modular("multiplication", seed=3), ADDITION)
        assert line.startswith("splits are those of the run's own task") and "`seed: 3` would say nothing" in line


def test_shared_answers_are_those_of_shared_inputs() -> None:
    plus, times = ADDITION.splits(0), MULTIPLICATION.splits(0)
    assert shared_answers(plus, plus) == 0.0, "its own training part meets nothing"
    more = modular("addition", 0.9).splits(0)
    assert shared_answers(more, plus) == 1.0
    both = [(a, b) for part in (times.validation, times.test) for a, b in part.x.tolist()]
    met = [(a, b) for a, b in more.train.x.tolist() if (a, b) in both]
    expected = sum((a + b) % 13 == a * b % 13 for a, b in met) / len(met)
    assert 0.0 < expected < 0.2 and shared_answers(more, times) == pytest.approx(expected)


class TestGrowth:
    def growth(self, **changes: Any) -> Growth:
        found = source({"name": "growth", "chain": [LINK, LINK | changes]})
        assert isinstance(found, Growth)
        return found

    @pytest.mark.parametrize(
        ("changes", "path", "line"),
        [
            ({"config": LINK["config"] | {"lr": -1.0}}, "chain[1].config.lr", "lr must be above 0"),
            ({"config": LINK["config"] | {"lr": 0.0}}, "chain[1].config.lr", "lr must be above 0"),
            ({"config": LINK["config"] | {"init_scale": 0.0}}, "chain[1].config.init_scale", "must be above 0"),
            ({"config": LINK["config"] | {"weight_decay": -0.1}}, "chain[1].config.weight_decay", "must be 0 or more"),
            ({"config": LINK["config"] | {"embedding_scale": 0.0}}, "chain[1].config.embedding_scale", "above 0"),
            ({"max_epochs": 3}, "chain[1].goal.evaluate_every", "must be at most max_epochs, which is 3, not 10"),
            (
                {"max_epochs": 10, "goal": LINK["goal"] | {"hold": 3}},
                "chain[1].goal.hold",
                "do not fit in 10 epochs; lower it or raise max_epochs",
            ),
        ],
    )
    def test_a_link_that_can_never_clear_is_refused(self, changes: dict[str, Any], path: str, line: str) -> None:
        with pytest.raises(ValidationError) as raised:
            self.growth(**changes)
        [problem] = explain(raised.value)
        assert problem.path == path and line in problem.text

    def test_a_link_may_do_without_decay(self) -> None:
        assert self.growth(config=LINK["config"] | {"weight_decay": 0.0}).chain[1].config["weight_decay"] == 0.0

    def test_a_goal_at_chance_is_refused_where_the_task_is_known(self) -> None:
        found = list(self.growth(goal=1 / 13).problems_for(ADDITION))
        rule = "must be above chance, which is 0.0769 for a + b mod 13, not 0.0769231; raise it"
        assert found == [("chain[1].goal.val_accuracy", rule)]
        assert list(self.growth(goal="above_chance").problems_for(ADDITION)) == []
        assert list(self.growth().problems_for(ADDITION)) == []
