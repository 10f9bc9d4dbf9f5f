"""The paper's experiments beside ours, as Markdown: what docs/reproduction.md holds. Entry: `write_reproduction`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtsearch.analysis import asked, measured, stats, style, sweep
from gtsearch.results import SPEC, SUMMARY, Results, load_results

_HEAD = ("paper", "what it shows", "experiment", "command", "the paper prints", "ours", "seeds", "device", "made with")
_BREAK = "<br>"
_SHORT = 8  # letters of a git revision
_USUAL = ("epochs", "flops")  # what is printed of an experiment that asks for no measure
_NOT_RUN, _NOT_FINISHED = "not run", "not finished"

_INTRODUCTION = """\
# What of the paper comes out here

Each row is an experiment that comes along and stands for a figure or a table of the paper ("Let Me Grok for You", \
arXiv 2504.13292). Ours is what the methods did on fresh seeds: how many reach the goal, then what the experiment asks \
to be set beside the paper (`about.measure`), or the epochs and FLOPs to the goal. Every number is a median over seeds \
with its 95 % bootstrap interval in brackets; of a time that not all seeds saw the end of, the Kaplan-Meier median (a \
dash: half of the seeds never got there; `beyond`: that end was not seen). `weak` is the weak model. Of variations \
there is a line each.
"""

Json = Mapping[str, Any]


def write_reproduction(folders: Sequence[str | Path], experiments: Sequence[tuple[str, Json]]) -> str:
    """The table of the paper's experiments, as the Markdown text of a page.

    Args:
        folders: run folders. Of several complete ones of an experiment the one started last counts.
        experiments: those that come along, each as what `gtsearch run` calls it (`paper/fig6a-cpu`) and the mapping
            of its file, of which `name` and `about` are read. One whose `about.paper` is null or missing has no row.
            `about.measure` names what of ours is printed (gtsearch.measures).

    Raises:
        ResultsError: an experiment asks for a measure there is none of; a folder is not a run's, or something in it is
            damaged.
    """
    finished, begun = _by_name(folders)
    rows = []
    for file, spec in sorted(experiments, key=lambda entry: (_place(_about(entry[1])["paper"]), entry[0])):
        about = _about(spec)
        if about["paper"] is not None:
            missing = _NOT_FINISHED if spec["name"] in begun else _NOT_RUN
            run, names = finished.get(spec["name"]), (spec["about"].get("measure") or [])
            measured.check(names, file, run)
            cells = (missing, "", "", "") if run is None else _ours(run, names)
            shown = (about["paper"], about["shows"], f"`{file}`", f"`gtsearch run {file}`", about["printed"] or "")
            rows.append([*shown, *cells])
    lines = [_line(_HEAD), "|" + " --- |" * len(_HEAD), *map(_line, rows)]
    return "\n".join([_INTRODUCTION, *lines, ""])


def _about(spec: Json) -> dict[str, str | None]:
    about = spec.get("about") or {}
    return {key: about.get(key) for key in ("shows", "paper", "printed")}


def _line(cells: Sequence[str | None]) -> str:
    shown = (_BREAK.join(map(style.markdown, (cell or "").split(_BREAK))) for cell in cells)
    return "| " + " | ".join(shown) + " |"


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


def _ours(results: Results, names: Sequence[str]) -> tuple[str, str, str, str]:
    """Our numbers by the measures that are asked for, seeds, device, and what they were made with."""
    summary, environment = results.summary, results.environment
    if summary["variations"] is None:
        lines = _alone(results, names) + _weak(summary, whole="flops" in (names or _USUAL))
    elif names:
        lines = _varied(results, names)
    else:
        lines = [_usual(name, entry["summary"]["methods"]) for name, entry in summary["variations"].items()]
    seeds = sorted({record["seeds"] for own in _summaries(summary) for record in own["methods"].values()})
    return _BREAK.join(lines), " or ".join(map(str, seeds)), _device(environment), _made_with(environment)


def _summaries(summary: Json) -> list[Json]:
    return [entry["summary"] for entry in summary["variations"].values()] if summary["variations"] else [summary]


def _alone(results: Results, names: Sequence[str]) -> list[str]:
    """Of an experiment that was not varied a line a method: k of n, and each measure."""
    methods = results.summary["methods"]
    if not methods:
        return ["no target was trained"]
    parts = {name: [style.k_of_n(record["reached"], record["seeds"])] for name, record in methods.items()}
    members = measured.members_of(results)
    for name in names or _USUAL:
        for one in measured.measure(members, name):
            # Without its median a time to the goal says what k of n said.
            if one.median is not None or name not in stats.UNITS:
                parts.setdefault(one.who, []).append(measured.text(one, name))
    return [f"{who}: {', '.join(told)}" for who, told in parts.items()]


def _usual(variation: str, methods: Json) -> str:
    """The line of a variation of an experiment that asks for no measure: of each method k of n, and the epochs."""
    told = [
        f"{name} {style.k_of_n(record['reached'], record['seeds'])}, "
        + style.spread(record["epochs_to_goal"]["median"], record["epochs_to_goal"]["interval"], "epochs")
        for name, record in methods.items()
    ]
    return f"{variation}: {'; '.join(told) or 'no target was trained'}"


def _varied(results: Results, names: Sequence[str]) -> list[str]:
    """A line a variation, and the slopes of what was measured over a number that was varied."""
    varied = results.summary["variations"]
    counts = {name: _counts(entry["summary"]["methods"]) for name, entry in varied.items()}
    same = len(set(counts.values())) == 1  # what is the same everywhere is said once
    lines = [f"all {len(varied)} variations: {next(iter(counts.values()))}"] if same else []
    for variation in varied:
        members = measured.members_of(results, variation)
        told = [] if same else [counts[variation]]
        told += [_of_each(measured.measure(members, name), name) for name in names]
        lines.append(f"{variation}: {'; '.join(filter(None, told)) or 'nothing was measured'}")
    for line in sweep.slopes(sweep.table(sweep.gather(results, names))):
        who = "" if len(results.summary["methods"]) == 1 else f", {line['who']}"
        over = f"{measured.label(line['measure'])} over {line['sweep']}{who}"
        lines.append(f"{over}, both in logarithms: {sweep.slope_text(line)}")
    return lines


def _counts(methods: Json) -> str:
    told = [f"{name} {style.k_of_n(record['reached'], record['seeds'])}" for name, record in methods.items()]
    return ", ".join(told) or "no target was trained"


def _of_each(told: Sequence[measured.Measured], name: str) -> str:
    """One measure of every method: `time gap transfer 30 [25, 40], scratch 90 [80, 110]`."""
    if len(told) == 1:
        return measured.text(told[0], name)
    each = []
    for one in told:
        reached = style.k_of_n(one.there, one.n)
        censored = f" ({reached})" if name == "time_gap" and one.there < one.n else ""
        each.append(f"{one.who} {reached if name == 'stayed' else measured.spread(one, name) + censored}")
    return f"{measured.label(name)} {', '.join(each)}" if each else ""


def _weak(summary: Json, whole: bool) -> list[str]:
    """The weak model behind the transfer, and, where `whole` is asked for, what it saves in all."""
    weak = summary["weak"]
    winner = (weak["pays"] or weak["clears"]) if weak else None
    if winner is None:
        return []
    lines = [f"weak model: {winner['architecture']}, {style.k_of_n(winner['cleared'], winner['seeds'])} clear"]
    saved = summary["speedup"]["with_weak"]
    if whole and saved["value"] is not None:
        bound = "at least " if saved["lower_bound"] else ""
        lines.append(f"{bound}{style.number(saved['value'])} times fewer FLOPs than scratch, weak model included")
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
