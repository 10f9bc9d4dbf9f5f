"""The report: figures as files, and one page that stands alone, offline, on a phone or on paper.

The page is made of sentences, tables and figures; the template only sets them, with everything from data escaped.
Entries: `write_report`, `write_figures`, `merge`.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from gtsearch import catalog
from gtsearch.analysis import merging, replayed, sentences, style, tables
from gtsearch.analysis.evidence import MOST, Evidence
from gtsearch.results import Results, write_text

REPORT = "report.html"
_PIXELS = 96  # CSS pixels an inch
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.15, 0.4, 0.9, 1.2  # inches around a panel: its labels, and its legend above


Frames = Mapping[str, pd.DataFrame]
"""The table of every figure of the catalog, by the figure's name."""


@dataclass(frozen=True)
class Panel:
    """One panel as a data URI; width and height in CSS pixels keep its place while the page loads."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A figure for the page: its panels, or the sentence that stands for them."""

    title: str
    caption: str
    panels: Sequence[Panel]
    sentence: str | None


# -- the entries --------------------------------------------------------------------------------------------


def write_report(results: Results) -> Path:
    """Writes the figures and report.html into the run's folder; the path of the page.

    Raises:
        ResultsError: the run's spec.yaml is damaged.
    """
    frames = _tables(results)
    _save(frames, results.folder)
    path = results.folder / REPORT
    write_text(path, _page([results], [frames]))
    return path


def write_figures(results: Results) -> list[Path]:
    """Writes every figure of the catalog as PNG and SVG into the run's `figures` folder; their paths."""
    return _save(_tables(results), results.folder)


def _tables(results: Results) -> Frames:
    """Made once for the files and the page: of a large run they are what takes long."""
    modules = {name: catalog.load("figure", name) for name in catalog.FIGURES}
    return {name: module.table(module.gather(results)) for name, module in modules.items()}


def _save(frames: Frames, run: Path) -> list[Path]:
    folder = run / "figures"
    folder.mkdir(exist_ok=True)
    paths = []
    for name, frame in frames.items():
        module = catalog.load("figure", name)
        paths += draw_panels(module, frame, panels_of(module, frame), folder / name)
    return paths


def draw_panels(module: Any, frame: pd.DataFrame, panels: Sequence[Mapping[str, Any]], stem: Path) -> list[Path]:
    """Writes these panels of a figure beside each other as `stem`.png and `stem`.svg; their paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with style.look():
        return style.save(drawn(module, frame, panels), stem)


def merge(runs: Sequence[Results], out: Path) -> Path:
    """Writes several runs of one question into one page: side by side, then each by itself, on every device that one
    of them was priced on.

    Args:
        runs: one or more, in the order they shall stand in.
        out: the page to write; its folder is made where there is none.

    Raises:
        ResultsError: the runs cannot be compared (`merging.refuse_incomparable`).
    """
    merging.refuse_incomparable(runs)
    shared = merging.with_shared_prices(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, _page(shared))
    return out


# -- the page -----------------------------------------------------------------------------------------------


def _page(runs: Sequence[Results], frames: Sequence[Frames] | None = None) -> str:
    """`frames`: the tables of each run's figures, where they are there already."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    source = files("gtsearch.analysis")
    template = environment.from_string(source.joinpath("report.html.jinja").read_text("utf-8"))
    script = source.joinpath("report.js").read_text("utf-8")
    several = len(runs) > 1
    names = _names(runs)
    frames = list(frames or map(_tables, runs))
    together = merging.together([own["devices"] for own in frames], names) if several else None
    evidence = [Evidence(run, f"run-{i}", MOST // len(runs)) for i, run in enumerate(runs, start=1)]
    answers = tables.answer(runs, names, evidence)  # before the rest, so that its groups come first
    return template.render(
        title=f"{runs[0].summary['title']}: {len(runs)} runs" if several else runs[0].summary["name"],
        several=several,
        answers=answers,
        overview=None if together is None else merging.side_by_side(runs, names, together),
        devices=None if together is None else _picture("devices", together),
        runs=[
            {"id": f"run-{i}", **_run(run, name, own, made)}
            for i, (run, name, own, made) in enumerate(zip(runs, names, evidence, frames, strict=True), start=1)
        ],
        citation=sentences.citation(),
        script=Markup(script),
        # No other script runs, whatever the data hold.
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _names(runs: Sequence[Results]) -> list[str]:
    """A name a run: its folder's, or the whole path where two folders are called the same."""
    folders = [run.folder.resolve() for run in runs]
    return [folder.name if len({f.name for f in folders}) == len(set(folders)) else str(folder) for folder in folders]


def _run(results: Results, folder: str, evidence: Evidence, frames: Frames) -> dict[str, Any]:
    """All that the template shows of one run."""
    summary = results.summary
    pictures = [_picture(name, frame) for name, frame in frames.items()]
    shown = {
        "name": summary["name"],
        "folder": folder,
        "about": sentences.about(results),
        "notes": results.notes,
        "unfinished": sentences.unfinished(summary),
        "answer": sentences.answer(summary),
        "headline": sentences.headline(summary),
        "facts": sentences.facts(results),
        "bracket": [part | {"links": _links(part, evidence)} for part in sentences.bracket(summary)],
        "evidence": sentences.evidence(summary),
        "replayed": replayed.sentence(results),
        "warnings": summary["warnings"],
        "pictures": [picture for picture in pictures if not picture.sentence],
        "missing": [picture for picture in pictures if picture.sentence],
        "tables": [
            table
            for table in (*tables.of_run(results, evidence), merging.claimed_seconds(frames["devices"]))
            if table.rows
        ],
        "command": sentences.command(results),
        "environment": sentences.surroundings(results),
        "spec": results.spec_text,
    }
    return shown | {"carried": evidence.carried()}  # last: what was asked for is what the page links to


def _links(part: Mapping[str, Any], evidence: Evidence) -> list[tuple[str, str]]:
    """The members that a part of the certificate rests on, by architecture."""
    groups = {name: evidence.judged(name) for name in part["architectures"]}
    if part["kind"] == "certified" and part["architectures"]:
        groups["fresh seeds"] = evidence.pipelines()
    return [(name, group) for name, group in groups.items() if group is not None]


# -- figures ------------------------------------------------------------------------------------------------


def panels_of(module: Any, frame: pd.DataFrame) -> Sequence[Mapping[str, Any]]:
    """The panels that a figure has of this table; one, with the reason, where there is nothing to draw."""
    if module.nothing(frame) is not None:
        return list(module.PANELS[:1])
    panels: Sequence[Mapping[str, Any]] = module.panels(frame) if hasattr(module, "panels") else module.PANELS
    return panels


def drawn(module: Any, frame: pd.DataFrame, panels: Sequence[Mapping[str, Any]]) -> Figure:
    """The panels beside each other, all of one size; call within `style.look`."""
    width, height = module.size(frame)
    before = getattr(module, "LEFT", _LEFT)
    across, up = len(panels) * (before + width + _RIGHT), _BOTTOM + height + _TOP
    figure = Figure(figsize=(across, up))
    for i, panel in enumerate(panels):
        left = i * (before + width + _RIGHT) + before
        module.draw(frame, figure.add_axes((left / across, _BOTTOM / up, width / across, height / up)), **panel)
    return figure


def _picture(name: str, frame: pd.DataFrame) -> Picture:
    """Each panel by itself, so that a phone can stack them."""
    module = catalog.load("figure", name)
    sentence = module.nothing(frame)
    return Picture(module.TITLE, module.CAPTION, [] if sentence else _panels(module, frame), sentence)


def _panels(module: Any, frame: pd.DataFrame) -> list[Panel]:
    """The panels as SVG, cropped to one size."""
    with style.look():
        figures = [drawn(module, frame, [panel]) for panel in panels_of(module, frame)]
        crop = Bbox.union([figure.get_tightbbox() for figure in figures]).padded(0.06)
        return [Panel(_data_uri(figure, crop), *_pixels(crop)) for figure in figures]


def _pixels(crop: Bbox) -> tuple[int, int]:
    return round(_PIXELS * crop.width), round(_PIXELS * crop.height)


def _data_uri(figure: Figure, crop: Bbox) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches=crop, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
