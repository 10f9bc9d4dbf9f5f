"""The notebooks in `examples/` run from top to bottom, and are kept without what they printed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from experiment_kit import TINY
from nbclient import NotebookClient

from gtsearch.spec import load_spec

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.ipynb"))
SMALL = [
    *TINY,
    "weak.model.d_embed=[8]",
    "weak.budget={configs_per_architecture: 2, max_epochs: 200}",
    "target.methods=[transfer, scratch]",
    "target.budget={configs: 2, max_epochs: 100}",
    "report={seeds: 2, at_least: 1, weak_tries: 2}",
    "tradeoff={weak_accuracy: [0.1, 0.2], seeds: 2}",
]


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_is_a_first_look() -> None:
    assert "first_look.ipynb" in [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_holds_no_output(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The first look as a reader has it at its end, on an experiment that takes seconds."""
    place = tmp_path_factory.mktemp("first-look")
    (place / "tiny.yaml").write_text(load_spec("smoke", SMALL).to_yaml())
    notebook = read(Path(__file__).parent.parent / "examples" / "first_look.ipynb")
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = 'experiment = "tiny.yaml"\nworkers = 2'
    executed: nbformat.NotebookNode = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    ).execute()
    return executed


def outputs(notebook: nbformat.NotebookNode, source: str) -> list[nbformat.NotebookNode]:
    """What the cell that ends with `source` gave."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.endswith(source)]
    return list(cell.outputs)


@pytest.mark.timeout(280)
def test_the_first_look_shows_answer_frames_and_figures(executed: nbformat.NotebookNode) -> None:
    shown = outputs(executed, 'print("\\n".join(ended.lines))')
    printed = "".join(out.text for out in shown if out.output_type == "stream")
    assert printed.rstrip().endswith("report.html")
    (answer,) = outputs(executed, "run = ended.results\nrun")
    assert "text/html" in answer.data and answer.data["text/plain"].startswith("<tiny, ")
    for frame in ("run.tradeoff()", "run.ledger"):
        (shown,) = outputs(executed, frame)
        assert "<table" in shown.data["text/html"]
    for figure in ('run.figure("breakeven")', 'run.figure("survival")'):
        (shown,) = outputs(executed, figure)
        assert len(shown.data["image/png"]) > 5_000
    (page,) = outputs(executed, "run.report()")
    assert page.data["text/plain"].endswith("report.html')")
