"""A run in Python: frames and figures by name, in one line what it found; nothing heavy is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from run_folders import forget_the_end, small_story, write_run

import gtsearch
from gtsearch import catalog, results
from gtsearch.errors import ResultsError, SpecError
from gtsearch.experiment import Run
from gtsearch.notebook import RunResults


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "run", small_story())


@pytest.fixture(scope="module")
def run(folder: Path) -> RunResults:
    return gtsearch.load_results(folder)


def test_it_holds_what_the_strict_reader_reads(run: RunResults, folder: Path) -> None:
    read = results.load_results(folder)
    assert isinstance(run, results.Results)
    assert (run.folder, run.summary, run.environment, run.notes) == (folder, read.summary, read.environment, ())
    for table in results.TABLES:
        pd.testing.assert_frame_equal(getattr(run, table), getattr(read, table))


@pytest.mark.parametrize("name", list(catalog.FIGURES))
def test_every_figure_on_the_menu_has_its_table_and_its_panels(run: RunResults, name: str) -> None:
    module = catalog.load("figure", name)
    frame = run.table(name)
    pd.testing.assert_frame_equal(frame, module.table(module.gather(run)))
    figure = run.figure(name)
    assert isinstance(figure, Figure)
    assert figure.axes


def test_the_frames_by_their_own_names(run: RunResults) -> None:
    every = run.tradeoff()
    assert len(every) == len(run.summary["tradeoff"]["pipelines"]) > 0, "of all designs, and of scratch"
    assert {"scratch", "transfer"} <= set(every["arm"])
    pd.testing.assert_frame_equal(run.survival(), run.table("survival"))


@pytest.mark.parametrize("ask", ["table", "figure"])
def test_an_unknown_figure_is_one_line_with_the_nearest_name(run: RunResults, ask: str) -> None:
    with pytest.raises(SpecError, match="there is no figure `tradeof`; did you mean `tradeoff`") as caught:
        getattr(run, ask)("tradeof")
    assert "\n" not in str(caught.value)


def test_a_run_tells_its_answer_in_a_line_and_in_a_notebook(run: RunResults) -> None:
    label = run.summary["weak"]["pays"]["architecture"]
    assert repr(run) == (
        f"<oracle, {len(run.trials)} members in {run.folder}: {label} is the cheapest weak model seen to pay>"
    )
    shown = run._repr_html_()
    assert shown.startswith(f"<p><b>{label}</b> is the cheapest weak model seen to pay.</p>")
    assert "<ul>" not in shown


def test_a_run_that_is_not_finished_is_refused_by_one_and_looked_at_by_the_other(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "<run>", small_story())
    forget_the_end(folder)
    with pytest.raises(ResultsError, match="is not finished"):
        gtsearch.load_results(folder)
    run = gtsearch.look(folder)
    assert isinstance(run, RunResults) and len(run.notes) == 1
    assert "&lt;run&gt;" in run._repr_html_() and "<run>" not in run._repr_html_()
    assert run.report() == folder / "report.html" and run.report().is_file()
    assert Run(folder, 130, []).results.notes == run.notes


def test_the_results_of_a_run_that_ended(run: RunResults, folder: Path) -> None:
    ended = Run(folder, 0, []).results
    assert ended.summary == run.summary and ended.notes == ()


def test_loading_a_run_loads_neither_torch_nor_matplotlib(folder: Path) -> None:
    code = (
        f"import sys, gtsearch; gtsearch.load_results({str(folder)!r}); "
        "print([m for m in ('torch', 'ray', 'matplotlib', 'optuna') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
