"""What there is: run folders with their state and their answer, and the experiments that come along."""

from __future__ import annotations

import importlib.resources
import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gtsearch import reading
from gtsearch.errors import ResultsError
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY, is_being_written, read_json

NOT_ON_A_TERMINAL = 1000
"""Columns where nothing must be folded: a file, or the next program in a pipe."""


def runs(folder: Path) -> list[str]:
    """A table of the run folders in `folder` (or of `folder` itself), the oldest first.

    A folder that cannot be read is a row that says why.

    Raises:
        ResultsError: there is no such folder.
    """
    if not folder.is_dir():
        raise ResultsError(f"there is no folder {folder}; name one that holds run folders")
    inside = [folder] if (folder / SPEC).is_file() else [path for path in folder.iterdir() if (path / SPEC).is_file()]
    if not inside:
        return [f"no run folders in {folder}"]
    table = Table("run", "when", "state", "weak model", "speed-up", box=box.SIMPLE_HEAD)
    for row in sorted(map(_run, inside), key=lambda row: (row[1], row[0])):
        table.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=_width(), color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def experiments() -> list[str]:
    """The experiments that come along: each name, and what the comment at the head of its file says first."""
    names = reading.experiments()
    indent = max(map(len, names)) + 2
    lines = [
        textwrap.fill(f"{name:<{indent}}{_about(name)}", min(_width(), 110), subsequent_indent=" " * indent)
        for name in names
    ]
    folder = importlib.resources.files("gtsearch.search_spaces")
    return [*lines, f"\nRun one by its name, or copy its file and change it: {folder}"]


def _run(folder: Path) -> tuple[str, str, str, str, str]:
    """Name, when, state, weak model, speed-up."""
    try:
        environment = read_json(folder / ENVIRONMENT)
        summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    except ResultsError as error:
        return folder.name, "", f"damaged: {error}", "", ""
    when = str(environment.get("started", ""))[:16]
    if is_being_written(folder / LOG):
        return folder.name, when, "running", "", ""
    if summary is None:
        return folder.name, when, f"unfinished: gtsearch resume {folder}", "", ""
    return folder.name, when, "done", _weak(summary["weak"]), _speedup(summary["speedup"]["target"])


def _weak(weak: Mapping[str, Any]) -> str:
    for verdict in ("pays", "clears"):
        if weak[verdict]:
            return f"{weak[verdict]['architecture']} {verdict}"
    return "nothing clears"


def _speedup(ratio: Mapping[str, Any]) -> str:
    if ratio["value"] is None:
        return ""
    return f"{'at least ' if ratio['lower_bound'] else ''}{ratio['value']:.1f} times"


def _about(name: str) -> str:
    """The first sentence of the comment at the head of an experiment's file."""
    text = (importlib.resources.files("gtsearch.search_spaces") / f"{name}.yaml").read_text(encoding="utf-8")
    comment = " ".join(_head(text))
    return re.split(r"(?<=[.:!?]) +(?=[A-Z])", comment, maxsplit=1)[0]


def _head(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ").rstrip()


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else NOT_ON_A_TERMINAL
