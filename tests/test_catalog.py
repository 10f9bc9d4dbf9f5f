"""The menu: every entry can be loaded, an unknown name is answered with the nearest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gtsearch import catalog
from gtsearch.errors import SpecError
from gtsearch.methods.base import Method
from gtsearch.models.base import Sizes
from gtsearch.optimizers.base import Optimizer
from gtsearch.probes.base import Probe
from gtsearch.scores import Score
from gtsearch.tasks.base import Task

ENTRIES = [(kind, name) for kind, menu in catalog.MENUS.items() for name in menu]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_of_the_menu_loads(kind: str, name: str) -> None:
    assert catalog.load(kind, name) is catalog.load(kind, name)


def test_entries_are_of_their_kind() -> None:
    for kind, base in (
        ("task", Task),
        ("model", Sizes),
        ("method", Method),
        ("optimizer", Optimizer),
        ("probe", Probe),
    ):
        assert all(issubclass(catalog.load(kind, name), base) for name in catalog.MENUS[kind])
    assert all(isinstance(catalog.load("score", name), Score) for name in catalog.SCORES)
    for name in catalog.FIGURES:
        figure = catalog.load("figure", name)
        assert callable(figure.table) and callable(figure.draw)


def test_unknown_name_is_answered_with_the_nearest_and_all_of_them() -> None:
    known = ", ".join(catalog.TASKS)
    message = f"there is no task `modular_adition`; did you mean `modular_addition`? (known: {known})"
    with pytest.raises(SpecError) as refused:
        catalog.load("task", "modular_adition")
    assert str(refused.value) == message
    with pytest.raises(SpecError) as refused:
        catalog.check("method", "dropout")
    known = ", ".join(catalog.METHODS)
    assert str(refused.value) == f"there is no method `dropout` (known: {known})"


@pytest.mark.parametrize(
    ("word", "answer"),
    [("tranfer", "transfer"), ("TRANSFER", "transfer"), ("scrach", "scratch"), ("xyz", None), ("", None)],
)
def test_nearest(word: str, answer: str | None) -> None:
    assert catalog.nearest(word, catalog.METHODS) == answer


def test_the_menu_imports_no_room() -> None:
    program = (
        "import sys, gtsearch.catalog as c; c.check('task', 'modular_addition')\n"
        "print([m for m in ('torch', 'ray', 'pydantic', 'optuna', 'gtsearch.tasks') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
