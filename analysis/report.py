"""The report: figures as files, and one page that stands alone, offline, on a phone or on paper.

The page is made of sentences, tables and figures; the template only sets them, with everything from data escaped.
Entries: `write_report`, `write_figures`, `merge`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from gtsearch import catalog
from gtsearch.analysis import asked, sentences, style, tables
from gtsearch.errors import ResultsError
from gtsearch.results import Results, write_text

REPORT = "report.html"
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.15, 0.4, 0.9, 1.2  # inches around a panel: its labels, and its legend above


@dataclass(frozen=True)
class Picture:
    """A figure for the page: its panels as data URIs, or the sentence that stands for them."""

    title: str
    caption: str
    panels: Sequence[str]
    sentence: str | None


# -- the entries --------------------------------------------------------------------------------------------


def write_report(results: Results) -> Path:
    """Writes the figures and report.html into the run's folder; the path of the page.

    Raises:
        ResultsError: the run's spec.yaml is damaged.
    """
    write_figures(results)
    path = results.folder / REPORT
    write_text(path, _page([results]))
    return path


def write_figures(results: Results) -> list[Path]:
    """Writes every figure of the catalog as PNG and SVG into the run's `figures` folder; their paths."""
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    paths = []
    for name in catalog.FIGURES:
        module = catalog.load("figure", name)
        frame = module.table(module.gather(results))
        panels = module.PANELS if module.nothing(frame) is None else module.PANELS[:1]
        with style.look():
            paths += style.save(_drawn(module, frame, panels), folder / name)
    return paths


def merge(runs: Sequence[Results], out: Path) -> Path:
    """Writes several runs of one question into one page: side by side, then each by itself.

    Args:
        runs: one or more, in the order they shall stand in.
        out: the page to write; its folder is made where there is none.

    Raises:
        ResultsError: there is no run; the runs differ in task or goals (the message names the field).
    """
    if not runs:
        raise ResultsError("there is no run to report; name at least one run folder")
    first = asked.question(runs[0])
    for other in runs[1:]:
        theirs = asked.question(other)
        for field in (*first, *(field for field in theirs if field not in first)):
            if first.get(field) != theirs.get(field):
                raise ResultsError(
                    f"{runs[0].folder} and {other.folder} ask different questions: {field} is {first.get(field)} in "
                    f"one and {theirs.get(field)} in the other; report them apart"
                )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, _page(runs))
    return out


# -- the page -----------------------------------------------------------------------------------------------


def _page(runs: Sequence[Results]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("gtsearch.analysis").joinpath("report.html.jinja").read_text("utf-8"))
    title = runs[0].summary["name"] if len(runs) == 1 else f"{runs[0].summary['title']}: {len(runs)} runs"
    overview = None if len(runs) == 1 else tables.side_by_side(runs, _names(runs))
    return template.render(title=title, overview=overview, runs=list(map(_run, runs, _names(runs))))


def _names(runs: Sequence[Results]) -> list[str]:
    """A name a run: its folder's, or the whole path where two folders are called the same."""
    folders = [run.folder.resolve() for run in runs]
    return [folder.name if len({f.name for f in folders}) == len(set(folders)) else str(folder) for folder in folders]


def _run(results: Results, folder: str) -> dict[str, Any]:
    """All that the template shows of one run."""
    summary = results.summary
    pictures = [_picture(name, results) for name in catalog.FIGURES]
    return {
        "name": summary["name"],
        "folder": folder,
        "about": sentences.about(results),
        "unfinished": sentences.unfinished(summary),
        "answer": sentences.answer(summary),
        "facts": sentences.facts(results),
        "speedups": sentences.speedups(summary) if summary["speedup"]["target"]["value"] is not None else [],
        "bracket": sentences.bracket(summary),
        "warnings": summary["warnings"],
        "pictures": [picture for picture in pictures if not picture.sentence],
        "missing": [picture for picture in pictures if picture.sentence],
        "tables": [table for table in tables.of_run(results) if table.rows],
        "command": sentences.command(results),
        "environment": sentences.surroundings(results),
        "spec": results.spec_text,
    }


# -- figures ------------------------------------------------------------------------------------------------


def _drawn(module: Any, frame: pd.DataFrame, panels: Sequence[Mapping[str, Any]]) -> Figure:
    """The panels beside each other, all of one size; call within `style.look`."""
    width, height = module.size(frame)
    before = getattr(module, "LEFT", _LEFT)
    across, up = len(panels) * (before + width + _RIGHT), _BOTTOM + height + _TOP
    figure = Figure(figsize=(across, up))
    for i, panel in enumerate(panels):
        left = i * (before + width + _RIGHT) + before
        module.draw(frame, figure.add_axes((left / across, _BOTTOM / up, width / across, height / up)), **panel)
    return figure


def _picture(name: str, results: Results) -> Picture:
    """Each panel by itself, so that a phone can stack them."""
    module = catalog.load("figure", name)
    frame = module.table(module.gather(results))
    sentence = module.nothing(frame)
    panels = [] if sentence else _data_uris(module, frame)
    return Picture(module.TITLE, module.CAPTION, panels, sentence)


def _data_uris(module: Any, frame: pd.DataFrame) -> list[str]:
    """The panels as SVG, cropped to one size."""
    with style.look():
        figures = [_drawn(module, frame, [panel]) for panel in module.PANELS]
        crop = Bbox.union([figure.get_tightbbox() for figure in figures]).padded(0.06)
        return [_data_uri(figure, crop) for figure in figures]


def _data_uri(figure: Figure, crop: Bbox) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches=crop, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
