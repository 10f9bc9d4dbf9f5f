"""Every public name has an example that runs: on a small finished run; what would be trained is made up."""

from __future__ import annotations

import doctest
import inspect
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generated_runs
import pytest
from run_folders import copy, forget_the_end, small_story, write_run

import gtsearch
from gtsearch import experiment, notebook, progress, results

# Whose examples are written where they are tested, on models as people have them.
ELSEWHERE = {"__version__", "transfer", "merge"}


def public() -> dict[str, Any]:
    """Every public name and method, by how it is reached."""
    found = {name: getattr(gtsearch, name) for name in gtsearch.__all__ if name != "__version__"}
    for kind in (results.Results, notebook.RunResults, experiment.Run):
        found[kind.__name__] = kind
        methods = {name: one for name, one in vars(kind).items() if not name.startswith("_")}
        called = {name: one.fget if isinstance(one, property) else one for name, one in methods.items()}
        found |= {f"{kind.__name__}.{name}": one for name, one in called.items() if inspect.isfunction(one)}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("runs")
    write_run(top / "modadd", small_story(name="modadd"))
    forget_the_end(copy(top / "modadd", top / "interrupted"))
    return top


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with runs in it; what would be trained is made up, nothing is drawn, nobody is shown progress."""
    for run in made.iterdir():
        copy(run, tmp_path / "runs" / run.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "Display", lambda title, quiet: progress.Display(title, quiet=True))

    def search(conductor: experiment.Conductor, folder: Path, *_: Any) -> None:
        generated_runs._work(conductor, folder, False, random.Random(0))

    monkeypatch.setattr(experiment, "_search", search)
    with generated_runs.undrawn():
        yield


def examples(found: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(found) or "")


@pytest.mark.parametrize("name", public())
def test_the_example_runs(name: str, here: None) -> None:
    shown = examples(public()[name])
    assert shown or name in ELSEWHERE, f"{name} has no example"
    names = {"gtsearch": gtsearch, "Run": experiment.Run, "Path": Path}
    test = doctest.DocTest(shown, names, name, None, None, None)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append)
    assert not told, "".join(told)


def test_every_public_name_is_documented() -> None:
    for name, found in public().items():
        assert len(inspect.getdoc(found) or "") > 40, name
