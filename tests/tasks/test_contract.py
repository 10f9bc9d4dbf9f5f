"""What every task of the menu keeps, on the small sizes of `small_tasks`."""

from __future__ import annotations

import pickle

import pytest
from small_tasks import SMALL, small

from gtsearch import catalog
from gtsearch.contracts import TaskContract
from gtsearch.tasks.base import Task


def test_every_task_of_the_menu_is_tried() -> None:
    assert set(SMALL) == set(catalog.TASKS)
    assert all(parameters["name"] == name for name, parameters in SMALL.items())


def keeps(task: Task) -> list[Task]:
    """The task, and where it can keep pairs together, that too."""
    other = [task.model_copy(update={"keep_pairs": True})] if "keep_pairs" in type(task).model_fields else []
    return [task, *other]


VARIANTS = [
    pytest.param(task, id=name + ("-pairs" if getattr(task, "keep_pairs", False) else ""))
    for name in SMALL
    for task in keeps(small(name))
]


@pytest.mark.parametrize("task", VARIANTS)
class TestContract(TaskContract):
    """Of the whole menu."""

    def test_travels_between_processes(self, task: Task) -> None:
        assert pickle.loads(pickle.dumps(task)) == task
