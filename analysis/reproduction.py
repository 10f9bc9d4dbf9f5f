"""The paper's experiments beside ours, as Markdown: what docs/reproduction.md holds. Entry: `write_reproduction`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtsearch.analysis import asked, style
from gtsearch.results import SPEC, SUMMARY, Results, load_results

_HEAD = ("paper", "what it shows", "experiment", "command", "the paper prints", "ours", "seeds", "device", "made with")
_BREAK = "<br>"
_SHORT = 8  # letters of a git revision
_NOT_RUN, _NOT_FINISHED = "not run", "not finished"

_INTRODUCTION = """\
# What of the paper comes out here

Each row is an experiment that comes along and stands for a figure or a table of the paper ("Let Me Grok for You", \
arXiv 2504.13292). Ours is what the methods did on fresh seeds: how many reach the goal, then the Kaplan-Meier median \
of the epochs it took with its 95 % interval in brackets (a dash: half of the seeds never got there; `beyond`: that \
end was not seen), then the FLOPs. Of variations there is a line each.
"""

Json = Mapping[str, Any]


def write_reproduction(folders: Sequence[str | Path], experiments: Sequence[tuple[str, Json]]) -> str:
    """The table of the paper's experiments, as the Markdown text of a page.

    Args:
        folders: run folders. Of several complete ones of an experiment the one started last counts.
        experiments: those that come along, each as what `gtsearch run` calls it (`paper/fig6a-cpu`) and the mapping
            of its file, of which `name` and `about` are read. One whose `about.paper` is null or missing has no row.

    Raises:
        ResultsError: a folder is not a run's, or something in it is damaged.
    """
    finished, begun = _by_name(folders)
    rows = []
    for file, spec in sorted(experiments, key=lambda entry: (_place(_about(entry[1])["paper"]), entry[0])):
        about = _about(spec)
        if about["paper"] is not None:
            missing = _NOT_FINISHED if spec["name"] in begun else _NOT_RUN
            cells = _ours(finished[spec["name"]]) if spec["name"] in finished else (missing, "", "", "")
            shown = (about["paper"], about["shows"], f"`{file}`", f"`gtsearch run {file}`", about["printed"] or "")
            rows.append([*shown, *cells])
    lines = [_line(_HEAD), "|" + " --- |" * len(_HEAD), *map(_line, rows)]
    return "\n".join([_INTRODUCTION, *lines, ""])


def _about(spec: Json) -> dict[str, str | None]:
    about = spec.get("about") or {}
    return {key: about.get(key) for key in ("shows", "paper", "printed")}


def _line(cells: Sequence[str | None]) -> str:
    return "| " + " | ".join(" ".join((cell or "").replace("|", "\\|").split()) for cell in cells) + " |"


# -- which runs -----------------------------------------------------------------------------------------------


def _by_name(folders: Sequence[str | Path]) -> tuple[dict[str, Results], set[str]]:
    """The run of each experiment that was started last among the complete ones, and who only began."""
    finished: dict[str, Results] = {}
    begun: set[str] = set()
    for folder in map(Path, folders):
        if (folder / SPEC).is_file() and not (folder / SUMMARY).exists():  # it still goes on, or was interrupted
            begun.add(asked.name(folder / SPEC, (folder / SPEC).read_text("utf-8")))
            continue
        results = load_results(folder)
        name = asked.name(folder / SPEC, results.spec_text)
        if not results.summary["complete"]:
            begun.add(name)
        elif name not in finished or _started(finished[name]) <= _started(results):
            finished[name] = results
    return finished, begun


def _started(results: Results) -> str:
    """When, as text that sorts by time."""
    return str(results.environment.get("started") or "")


def _place(paper: str | None) -> tuple[int, int, str, str]:
    """Where the figure or table stands: figures by number and letter, tables, then the rest by their text."""
    text = paper or ""
    for rank, word in enumerate((r"fig(?:ure|s)?\.?", r"table")):
        if found := re.search(rf"\b{word}\s*(\d+)\s*([a-z]*)", text, re.IGNORECASE):
            return rank, int(found[1]), found[2].lower(), text
    return 2, 0, "", text


# -- what came out --------------------------------------------------------------------------------------------


def _ours(results: Results) -> tuple[str, str, str, str]:
    """Our numbers, seeds, device, and what they were made with."""
    summary, environment = results.summary, results.environment
    variations = summary["variations"]
    if variations is None:
        lines = [_method(name, record) for name, record in summary["methods"].items()] or ["no target was trained"]
        lines += _weak(summary)
    else:
        lines = [_variation(name, entry["summary"]["methods"]) for name, entry in variations.items()]
    seeds = sorted({record["seeds"] for own in _summaries(summary) for record in own["methods"].values()})
    return _BREAK.join(lines), " or ".join(map(str, seeds)), _device(environment), _made_with(environment)


def _summaries(summary: Json) -> list[Json]:
    return [entry["summary"] for entry in summary["variations"].values()] if summary["variations"] else [summary]


def _method(name: str, record: Json) -> str:
    reach = style.k_of_n(record["reached"], record["seeds"])
    if record["epochs_to_goal"]["median"] is None:
        return f"{name}: {reach}"
    epochs, flops = (_cost(record[f"{unit}_to_goal"], unit) for unit in ("epochs", "flops"))
    return f"{name}: {reach}, {epochs} epochs, {flops}"


def _variation(name: str, methods: Json) -> str:
    """One line: of each method k of n, and the epochs."""
    told = [
        f"{method} {style.k_of_n(record['reached'], record['seeds'])}, {_cost(record['epochs_to_goal'], 'epochs')}"
        for method, record in methods.items()
    ]
    return f"{name}: {'; '.join(told) or 'no target was trained'}"


def _cost(time: Json, unit: str) -> str:
    return style.spread(time["median"], time["interval"], unit)


def _weak(summary: Json) -> list[str]:
    """The weak model behind the transfer, and what it saves in all."""
    weak = summary["weak"]
    winner = (weak["pays"] or weak["clears"]) if weak else None
    if winner is None:
        return []
    lines = [f"weak model: {winner['architecture']}, {style.k_of_n(winner['cleared'], winner['seeds'])} clear"]
    whole = summary["speedup"]["with_weak"]
    if whole["value"] is not None:
        bound = "at least " if whole["lower_bound"] else ""
        lines.append(f"{bound}{style.number(whole['value'])} times fewer FLOPs than scratch, weak model included")
    return lines


def _device(environment: Json) -> str:
    """The device, and of a processor on how many threads a model trains."""
    name = str(next(iter(environment.get("device_names") or ()), environment["device"]))
    if environment["device"] != "cpu":
        return name
    threads = environment["threads"]
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}"


def _made_with(environment: Json) -> str:
    revision = environment.get("git_revision")
    torch = environment["versions"].get("torch", "unknown")
    return f"torch {torch}{_BREAK}{'revision ' + revision[:_SHORT] if revision else 'no git revision'}"
