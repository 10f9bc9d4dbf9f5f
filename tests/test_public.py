"""The public names: all there, loaded only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import gtsearch


def test_importing_gtsearch_loads_nothing_heavy() -> None:
    code = (
        "import sys, gtsearch, gtsearch.cli; gtsearch.__version__; dir(gtsearch); "
        "print([m for m in ('torch', 'ray', 'pandas', 'optuna', 'pydantic', 'pyarrow') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_what_a_type_checker_reads_is_what_there_is() -> None:
    """The names under TYPE_CHECKING, `__all__`, and where they are loaded from."""
    tree = ast.parse(Path(gtsearch.__file__).read_text("utf-8"))
    [checked] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    read = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert read == gtsearch._HOMES
    assert {*read, "__version__"} == set(gtsearch.__all__)


def test_every_public_name_is_there() -> None:
    from gtsearch import experiment, notebook, spec, transplant

    assert gtsearch.run is experiment.run and gtsearch.resume is experiment.resume
    assert gtsearch.load_results is notebook.load_results and gtsearch.look is notebook.look
    assert gtsearch.load_spec is spec.load_spec
    assert gtsearch.transfer is transplant.transfer and gtsearch.merge is transplant.merge
    assert gtsearch.__version__ == version("gtsearch")
    assert set(gtsearch.__all__) <= set(dir(gtsearch))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gtsearch' has no attribute 'rnu'"):
        _ = gtsearch.rnu
