"""One contract for every family of the menu, on every small task it fits."""

from __future__ import annotations

from typing import Any

import pytest
from model_tasks import TASKS
from small_tasks import small

from gtsearch import catalog
from gtsearch.contracts import ModelContract
from gtsearch.models.base import Sizes, misfits
from gtsearch.tasks.base import Task

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "mlp": [
        {"d_embed": 6, "depth": 2},
        {"d_embed": 3, "depth": 2, "width": 5},
        {"d_embed": 3, "depth": 3, "width": 5},
        {"d_embed": 4, "depth": 5, "width": 5},
    ],
    "transformer": [
        {"d_embed": 8, "layers": 1, "heads": 2},
        {"d_embed": 8, "layers": 1, "heads": 4},
        {"d_embed": 6, "layers": 2, "heads": 2, "d_head": 5, "d_mlp": 7},
    ],
    "gpt": [
        {"d_embed": 8, "layers": 1, "heads": 2},
        {"d_embed": 6, "layers": 2, "heads": 3, "d_mlp": 7},
    ],
    "xor_net": [
        {"d_embed": 4},
        {"d_embed": 4, "hidden_std": 0.1, "output_std": 0.01},
        {"d_embed": 5, "output": "signs"},
    ],
}


def sizes(name: str, settings: dict[str, Any]) -> Sizes:
    made: Sizes = catalog.load("model", name)(name=name, **settings)
    return made


EVERY = [sizes(name, settings) for name in catalog.MODELS for settings in SETTINGS[name]]
ON_THE_MENU = [small(name) for name in catalog.TASKS]


def fitting(task: Task) -> list[Sizes]:
    return [one for one in EVERY if not list(misfits(one, task))]


def first_of_each_family(architectures: list[Sizes]) -> list[Sizes]:
    return list({one.name: one for one in reversed(architectures)}.values())


# Every architecture on a task of each shape; one of each family on every task of the menu.
CASES = [
    pytest.param(one, task, id=f"{one.label}-{task.name}")
    for tasks, chosen in ((TASKS, fitting), (ON_THE_MENU, lambda task: first_of_each_family(fitting(task))))
    for task in tasks
    for one in chosen(task)
]


def test_every_family_is_tried_on_a_task_it_fits() -> None:
    assert {case.values[0].name for case in CASES} == set(catalog.MODELS)
    assert {case.values[1].name for case in CASES} == {task.name for task in TASKS} | set(catalog.TASKS)


def test_every_architecture_has_a_label_of_its_own() -> None:
    labels = [one.label for one in EVERY]
    assert len(set(labels)) == len(labels)
    assert all(one.label.startswith(f"{one.name}-d{one.d_embed}") for one in EVERY)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.label)
def test_problems_name_a_field_and_are_one_line(one: Sizes) -> None:
    for task in TASKS:
        for field, line in one.problems(task):
            assert field in type(one).model_fields
            assert line and "\n" not in line


@pytest.mark.parametrize(("sizes", "task"), CASES)
class TestContract(ModelContract):
    """Of the whole menu."""
