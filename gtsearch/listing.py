"""What there is: run folders with their state and their answer, and the experiments that come along."""

from __future__ import annotations

import importlib.resources
import io
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gtsearch import narrative, reading
from gtsearch.errors import ResultsError
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY, is_being_written, read_json
from gtsearch.trust import printable, refuse_links

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
        table.add_row(*(Text(printable(cell)) for cell in row))
    return _printed(table)


def experiments() -> list[str]:
    """The experiments that come along: each name, what it shows, and what it costs at most.

    Costs are guesses from FLOPs (`gtsearch check`): searches end long before their budgets where they can.
    """
    from gtsearch.plans import ablation_for  # torch is loaded only where costs are counted
    from gtsearch.spec import load_spec

    table = Table("experiment", "core-hours at most", "what it shows", box=box.SIMPLE_HEAD)
    for name in reading.experiments():
        spec = load_spec(name)
        hours = narrative.worker_seconds(ablation_for(spec)) / 3600
        shows = spec.about.shows if spec.about else ""
        paper = f"{spec.about.paper}: " if spec.about and spec.about.paper else ""
        table.add_row(Text(name), Text(f"{hours:.1g}" if hours < 10 else f"{hours:,.0f}"), Text(paper + shows))
    folder = importlib.resources.files("gtsearch.search_spaces")
    return [*_printed(table), f"\nRun one by its name, or copy its file and change it: {folder}"]


def _printed(table: Table) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=_width(), color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def _run(folder: Path) -> tuple[str, str, str, str, str]:
    """Name, when, state, weak model, speed-up."""
    try:
        refuse_links(folder)
        environment = read_json(folder / ENVIRONMENT)
        summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    except ResultsError as error:
        return folder.name, "", f"{error}; gtsearch report {folder} shows what there is", "", ""
    when = str(environment.get("started", ""))[:16]
    if is_being_written(folder / LOG):
        return folder.name, when, "running", "", ""
    if summary is None:
        return folder.name, when, f"unfinished: gtsearch resume {folder}", "", ""
    return folder.name, when, "done", _weak(summary["weak"]), _speedup(summary["speedup"]["target"])


def _weak(weak: Mapping[str, Any] | None) -> str:
    if weak is None:
        return "no weak stage"
    for verdict in ("pays", "clears"):
        if weak[verdict]:
            return f"{weak[verdict]['architecture']} {verdict}"
    return "nothing clears"


def _speedup(ratio: Mapping[str, Any]) -> str:
    if ratio["value"] is None:
        return ""
    return f"{'at least ' if ratio['lower_bound'] else ''}{ratio['value']:.1f} times"


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else NOT_ON_A_TERMINAL
