"""What there is: run folders with their state and their answer, and the experiments that come along."""

from __future__ import annotations

import importlib.resources
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtsearch import reading, terminal
from gtsearch.errors import ResultsError
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY, is_being_written, read_json
from gtsearch.trust import refuse_links

if TYPE_CHECKING:
    from gtsearch.analysis.compare import Comparison


@dataclass(frozen=True)
class Listed:
    """A run folder.

    Attributes:
        state: `finished`, `running`, `interrupted`, or `damaged`.
        started: as environment.json has it; None where nobody knows.
        age_seconds: since it started.
        answer: the weak model and its verdict; None until there is one.
        speedup: of the target, in words; None where it is not known.
        speedup_times: the same as a number; where the words say `at least`, its lower bound.
        next: what to type next, or why it cannot be read; None: nothing has to be done.
    """

    run: str
    folder: str
    state: str
    started: str | None = None
    age_seconds: float | None = None
    answer: str | None = None
    speedup: str | None = None
    speedup_times: float | None = None
    next: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def runs(folder: Path) -> list[Listed]:
    """The run folders in `folder` (or `folder` itself), the oldest first. One that cannot be read says why.

    Raises:
        ResultsError: there is no such folder.
    """
    if not folder.is_dir():
        raise ResultsError(f"there is no folder {folder}; name one that holds run folders")
    inside = [folder] if (folder / SPEC).is_file() else [path for path in folder.iterdir() if (path / SPEC).is_file()]
    return sorted(map(_listed, inside), key=lambda run: (run.started or "", run.run))


def runs_table(listed: Sequence[Listed]) -> list[str]:
    """Runs for a person, a row each, and what to do about those that need something."""
    rows = [
        (run.run, run.started or "", _age(run.age_seconds), run.state, run.answer or "", _short(run.speedup))
        for run in listed
    ]
    notes = [f"{run.run}: {run.next}" for run in listed if run.next]
    head = ("run", "started", "age", "state", "weak model", "speed-up")
    table = terminal.table(head, rows, spared=[head.index("started"), head.index("age")])
    return [*table, *([""] if notes else []), *notes]


def experiments() -> list[dict[str, Any]]:
    """The experiments that come along: `name`, `shows`, `paper` (the figure it repeats, or None), and
    `core_hours_at_most`.

    Costs are guesses from FLOPs (`gtsearch check`), what may come again left out: searches end long before their
    budgets where they can.
    """
    from gtsearch.forecast import forecast
    from gtsearch.plans import ablation_for  # torch is loaded only where costs are counted
    from gtsearch.spec import load_spec

    found = []
    for name in reading.experiments():
        spec = load_spec(name)
        about = spec.about
        found.append(
            {
                "name": name,
                "shows": about.shows if about else "",
                "paper": about.paper if about else None,
                "core_hours_at_most": forecast(ablation_for(spec)).seconds / 3600,
            }
        )
    return found


def experiments_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Experiments for a person, a row each, and where their files lie."""
    rows = []
    for one in found:
        hours = one["core_hours_at_most"]
        shows = f"{one['paper']}: {one['shows']}" if one["paper"] else one["shows"]
        rows.append((one["name"], f"{hours:.1g}" if hours < 9.5 else f"{hours:,.0f}", shows))
    folder = importlib.resources.files("gtsearch.search_spaces")
    table = terminal.table(("experiment", "core-hours at most", "what it shows"), rows)
    return [*table, "", f"Run one by its name (gtsearch run smoke), or copy its file and change it: {folder}"]


def comparison_lines(compared: Comparison) -> list[str]:
    """Two runs for a person: what differs in what was asked and in where they ran, and all answers."""
    names = [Path(folder).name for folder in compared.folders]
    if names[0] == names[1]:
        names = list(compared.folders)
    members = compared.members
    shared = f"{members['both']} of {members['first']} and {members['second']} training runs are in both"
    lines = [
        *(terminal.wrapped(f"not comparable: {compared.why_not}") if compared.why_not else []),
        *(line for note in compared.notes for line in terminal.wrapped(f"note: {note}")),
        *terminal.wrapped(f"{shared}, and {members['alike']} of those went alike" if members["both"] else shared),
    ]
    for title, differences in (("asked", compared.experiment), ("ran on", compared.surroundings)):
        rows = [(one.path, *map(_value, one.values)) for one in differences]
        lines += ["", *(terminal.table((title, *names), rows) if rows else [f"{title}: the same"])]
    answers = [(one.name, *one.texts, "yes" if one.apart else "") for one in compared.answers]
    return [*lines, "", *terminal.table(("answers", *names, "intervals apart"), answers)]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else reading.in_one_line(value)


def _listed(folder: Path) -> Listed:
    try:
        refuse_links(folder)
        environment = read_json(folder / ENVIRONMENT)
        summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    except ResultsError as error:
        return Listed(
            folder.name, str(folder), "damaged", next=f"{error}; gtsearch report {folder} shows what there is"
        )
    started = str(environment.get("started", ""))[:16] or None
    known = Listed(folder.name, str(folder), "running", started, _since(started))
    if is_being_written(folder / LOG):
        return known
    if summary is None or summary["error"]:
        return replace(known, state="interrupted", next=f"gtsearch resume {folder}")
    ratio = summary["speedup"]["target"]
    answer, speedup = _weak(summary["weak"]), _speedup(ratio)
    return replace(known, state="finished", answer=answer, speedup=speedup, speedup_times=ratio["value"])


def _since(started: str | None) -> float | None:
    try:
        return max(0.0, time.time() - datetime.fromisoformat(started or "").timestamp())
    except ValueError:  # somebody may have written it
        return None


def _age(seconds: float | None) -> str:
    """In its largest unit."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def _weak(weak: Mapping[str, Any] | None) -> str:
    if weak is None:
        return "no weak stage"
    for verdict in ("pays", "clears"):
        if weak[verdict]:
            return f"{weak[verdict]['architecture']} {verdict}"
    return "nothing clears"


def _short(speedup: str | None) -> str:
    return (speedup or "").replace("at least ", ">= ").removesuffix(" times")


def _speedup(ratio: Mapping[str, Any]) -> str | None:
    if ratio["value"] is None:
        return None
    return f"{'at least ' if ratio['lower_bound'] else ''}{ratio['value']:.1f} times"
