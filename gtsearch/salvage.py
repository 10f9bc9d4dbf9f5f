"""What a run folder still tells that is no finished, whole run: half done, damaged, or of an older schema.

`members.log` is the truth: tables and summary are made from it once more, in memory and without training. Nothing is
written here, and nothing that a reader could take for a finished run; another process may still be writing the log.
Entries: `look`, and `whole` for what takes no other run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from gtsearch import plugins, results, shapes
from gtsearch.errors import GtsearchError, ResultsError
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY, Results
from gtsearch.trust import refuse_links

if TYPE_CHECKING:
    from gtsearch.search.ablation import Ablation
    from gtsearch.spec import Spec

Json = dict[str, Any]

_AGAIN = f"made again from {LOG}"
_TORN = f"{LOG}: its last line is torn and left out"


def look(folder: str | Path, is_ours: bool = False) -> Results:
    """Reads a run folder, whatever its state. A finished run that is whole is read as by `load_results`.

    Of any other, whatever can be shown: files that are whole are read, the rest is made again from members.log.
    `notes` of what comes back says, a line each, what is missing and what was made again.

    Args:
        is_ours: whether it is the caller's own run, in this process, of which it writes no more. Of any other run no
            module that its experiment names is imported.

    Raises:
        ResultsError: not a run folder, or nothing in it can be shown; the message says why.
    """
    folder = Path(folder)
    refuse_links(folder)
    try:
        return results.load_results(folder)
    except ResultsError:
        if not (folder / SPEC).is_file():
            raise
    return _put_together(folder, not is_ours and results.is_being_written(folder / LOG), is_ours)


def whole(folder: str | Path) -> Results:
    """Reads a finished run that is whole, for what must rest on no less (`results.load_results`).

    Raises:
        ResultsError: any other folder; of a run folder, the message also says how to see what there is.
    """
    try:
        return results.load_results(folder)
    except ResultsError as refusal:
        if not (Path(folder) / SPEC).is_file():
            raise
        raise ResultsError(f"{refusal}; `gtsearch report {folder}` shows what there is") from None


def _put_together(folder: Path, goes_on: bool, is_ours: bool) -> Results:
    notes: list[str] = []
    environment = _environment(folder, notes)
    rows = _members(folder, notes, goes_on)
    spec, spec_text = _experiment(folder, environment, notes, is_ours)
    summary = _summary(folder, notes)
    unfinished = not (folder / SUMMARY).exists()
    if spec is None and summary is None:
        raise ResultsError(
            f"{notes[-1]}; without its experiment the {len(rows)} members of {folder / LOG} have no report, and the "
            "version of gtsearch that ran it is the one that can make it"
        )
    if summary is None and not rows and not (folder / "trials.parquet").exists():
        raise ResultsError(f"there is nothing to show of {folder}: {'; '.join(['no member is in', *notes])}")
    can_resume = all(note == _TORN for note in notes)
    settled, told = _answered(spec, rows, notes, claimed=summary is not None) if spec and rows else (rows, None)
    trials = _table(folder, "trials", settled, unfinished, notes, None)
    if summary is None and trials.empty:
        raise ResultsError(f"there is nothing to show of {folder}: {'; '.join(notes)}")
    others = [name for name in results.FRAMES if name != "trials"]
    rest = {name: _table(folder, name, settled, unfinished, notes, trials) for name in others}
    if summary is None:
        assert spec is not None
        summary = told if told is not None else _unanswered(spec, trials, notes)
        if unfinished:
            notes.insert(0, _how_far(folder, len(trials), bool(summary["complete"]), can_resume, goes_on))
    ledger, pricing = _ledger(folder, trials, unfinished, notes), _pricing(folder, notes)
    read = Results(
        folder=folder,
        trials=trials,
        **rest,
        ledger=ledger,
        pricing=pricing,
        summary=summary,
        environment=_surroundings(trials) | environment,
        spec_text=spec_text,
        notes=tuple(notes),
    )
    return _with_readable_spec(read)


# -- the files ----------------------------------------------------------------------------------------------


def _environment(folder: Path, notes: list[str]) -> Json:
    """What environment.json says, also one of another schema; nothing where it cannot be read."""
    try:
        return results.read_json(folder / ENVIRONMENT)
    except ResultsError as refusal:
        older = _object(folder / ENVIRONMENT)
        notes.append(f"{refusal}; {'it is shown as it stands' if older else 'how the run was made is not known'}")
        return older


def _surroundings(trials: pd.DataFrame) -> Json:
    """What the members themselves say of where they ran, for an environment.json that does not."""
    devices = sorted(trials["device"].dropna().unique())
    return {
        "workers": "an unknown number of",
        "device": devices[0] if devices else "an unknown device",
        "device_names": devices or ["an unknown device"],
        "threads": None,
        "versions": {},
    }


def _members(folder: Path, notes: list[str], goes_on: bool) -> list[Json]:
    """The members of the log that are whole."""
    try:
        rows, damaged, torn = results.read_whole_lines(folder / LOG)
    except ResultsError as refusal:
        notes.append(f"{refusal}; nothing can be made again from it")
        return []
    if damaged:
        named = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        notes.append(f"{LOG}: {_lines(len(damaged))} damaged and left out ({named})")
    if torn and not goes_on:
        notes.append(_TORN)
    kept = _that_fit(results.trials_frame, list(filter(_is_member, rows)))
    if len(kept) < len(rows):
        notes.append(f"{LOG}: {_lines(len(rows) - len(kept))} not a member as this gtsearch writes it, and left out")
    return kept


def _is_member(row: Mapping[str, Any]) -> bool:
    """Whether a row has what the tables cannot do without, in whatever version it was written."""
    known = all(row.get(key) in kinds for key, kinds in results.KINDS.items())
    return known and shapes.misfit(row, shapes.TABLED) is None


def _lines(count: int) -> str:
    return "1 line is" if count == 1 else f"{count} lines are"


def _experiment(
    folder: Path, environment: Mapping[str, Any], notes: list[str], is_ours: bool
) -> tuple[Spec | None, str]:
    """The experiment, None where it cannot be read any more, and its text with every default. What names somebody's
    code is read only of a run that is ours."""
    from gtsearch.spec import load_spec  # torch is loaded only where something has to be made again

    try:
        text = results.read_text(folder / SPEC)
        changed = results.is_another_spec(text, environment)
        with contextlib.nullcontext() if is_ours else plugins.unread():
            spec = load_spec(folder / SPEC)
    except GtsearchError as error:
        notes.append(f"{folder / SPEC} is not an experiment that this gtsearch reads ({error})")
        return None, "" if isinstance(error, ResultsError) else text
    if changed:
        notes.append(f"{folder / SPEC} was cut off or edited since the run: what it says may not be what was run")
    return spec, spec.to_yaml()


def _with_readable_spec(read: Results) -> Results:
    """The same with a stand-in for a spec.yaml that the report cannot read: as much as the other files know of it."""
    from gtsearch.analysis import asked

    try:
        asked.experiment(read)
    except ResultsError:
        weak, goal = read.summary["weak"], read.summary["threshold"]
        known = {
            "name": read.summary["name"],
            "task": {"name": next(iter(read.trials["task"].dropna()), None)},
            "weak": None if weak is None else {"goal": {"val_accuracy": goal}},
            "target": {"goal": {"val_accuracy": read.summary["target_goal"]}},
        }
        return replace(
            read, spec_text=f"# {SPEC} cannot be read; the other files know this much\n{yaml.safe_dump(known)}"
        )
    return read


def _summary(folder: Path, notes: list[str]) -> Json | None:
    """summary.json where it can be read; a missing one is no note of its own, the run is not finished."""
    path = folder / SUMMARY
    if not path.exists():
        return None
    try:
        return results.read_json(path)
    except ResultsError as refusal:
        answer = _answer_of(_object(path))
        notes.append(f"{refusal}; {_AGAIN}" + (f" (it said: {answer})" if answer else ""))
        return None


def _answer_of(summary: Mapping[str, Any]) -> str:
    """What a summary of another schema names as its weak model; empty where it names none."""
    weak = summary.get("weak")
    for verdict in ("pays", "clears"):
        winner = weak.get(verdict) if isinstance(weak, dict) else None
        if isinstance(winner, dict) and winner.get("architecture"):
            return f"{winner['architecture']} {verdict}"
    return ""


def _object(path: Path) -> Json:
    """The JSON object in a file, of whatever schema; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _table(
    folder: Path, name: str, rows: Sequence[Json], unfinished: bool, notes: list[str], trials: pd.DataFrame | None
) -> pd.DataFrame:
    """One table: as it was written, else made again; with no rows where there is nothing to make it of.

    A run that is not finished may hold tables of an earlier end: then the log alone counts.

    Args:
        trials: those it has to belong to; None for the trials themselves.
    """
    if unfinished and rows:
        return _made(name, rows, notes)
    try:
        frame = results.table_of_run(folder, name)
        if trials is not None:
            results.refuse_strangers(folder, name, frame, trials)
        return frame
    except ResultsError as refusal:
        left_out = "what is made of it is left out"
        notes.append(f"{refusal}; {_AGAIN if rows else left_out}")
        return _made(name, rows, notes)


def _made(name: str, rows: Sequence[Json], notes: list[str]) -> pd.DataFrame:
    try:
        return results.FRAMES[name](rows)
    except ResultsError:
        fitting = _that_fit(results.FRAMES[name], rows)
        notes.append(f"{name}: {len(rows) - len(fitting)} members of {LOG} do not fit, and are left out")
        return results.FRAMES[name](fitting)


def _that_fit(make: Callable[[Sequence[results.Row]], pd.DataFrame], rows: Sequence[Json]) -> list[Json]:
    """The rows that `make` takes, found by halving: as a rule it takes them all at once."""
    try:
        make(rows)
    except ResultsError:
        half = len(rows) // 2
        return _that_fit(make, rows[:half]) + _that_fit(make, rows[half:]) if half else []
    return list(rows)


def _ledger(folder: Path, trials: pd.DataFrame, unfinished: bool, notes: list[str]) -> pd.DataFrame:
    """What was spent: of the members at hand where the run is not finished or its ledger cannot be read."""
    if not unfinished:
        try:
            return results.table_of_run(folder, "ledger")
        except ResultsError as refusal:
            if trials.empty:
                lost = f"the members of {folder} are lost with {LOG}, trials.parquet and ledger.parquet"
                raise ResultsError(f"{lost}; its {SUMMARY} can be read as it is") from None
            notes.append(f"{refusal}; made again from the members")
    wall = trials["elapsed_seconds"].max()
    if pd.isna(wall):
        notes.append("how long the run took is not known: the seconds that its members trained stand for it")
        wall = (trials["train_seconds"] + trials["eval_seconds"]).sum()
    return results.ledger_frame(trials, float(wall))


def _pricing(folder: Path, notes: list[str]) -> pd.DataFrame:
    try:
        return results.read_pricing(folder)
    except ResultsError as refusal:
        notes.append(f"{refusal}; its prices are left out: `gtsearch price {folder}` measures them again")
        return results.pricing_frame([])


# -- the answer ---------------------------------------------------------------------------------------------


def _answered(spec: Spec, rows: Sequence[Json], notes: list[str], claimed: bool) -> tuple[list[Json], Json | None]:
    """The rows as the tables hold them, and the summary they give; None where they give none.

    Args:
        claimed: whether there is a summary that can be read: then another is not made.
    """
    from gtsearch import certificate
    from gtsearch.plans import ablation_for

    if wrong := next(filter(None, map(results.unfit, rows)), None):
        notes.append(f"these members do not give an answer in this version ({wrong})")
        return list(rows), None
    ablation = ablation_for(spec)
    ablation.tell(rows)
    for policy in ablation.policies.values():
        policy.remaining_seconds()  # asks for no job: it makes the plan over what was told
    settled = certificate.settle(ablation, rows)
    summary = None if claimed else certificate.summarise(ablation, results.trials_frame(settled))
    if not claimed:
        notes.extend(_strangers(ablation, rows))
    return settled, summary


def _strangers(ablation: Ablation, rows: Sequence[Json]) -> list[str]:
    """Says so where most members are none that the experiment asks for; a few always looked ahead in vain."""
    own = [row for row in rows if row["status"] != "cancelled"]
    counts = [any(True for _ in ablation.counting(row["run_id"])) for row in own]
    counting = sum(counts)
    # Of gate seeds nothing follows: a stack may have had room for many that were never earned.
    telling = [row for row, counted in zip(own, counts, strict=True) if counted or row["role"] != "gate"]
    if 2 * counting >= len(telling):
        return []
    return [
        f"{counting or 'none'} of the {len(own)} members of {LOG} {'is' if counting < 2 else 'are'} what {SPEC} asks "
        "for: some that lead to the others are missing, or they are of another experiment or version; what is said "
        "of the weak model is not the answer of this run"
    ]


def _unanswered(spec: Spec, trials: pd.DataFrame, notes: list[str]) -> Json:
    """The summary of a search that knows of no member: all that is left where the log does not tell."""
    from gtsearch import certificate
    from gtsearch.plans import ablation_for

    notes.append("the answer is not known: what is shown of the members stands without it")
    return certificate.summarise(ablation_for(spec), trials)


def _how_far(folder: Path, members: int, complete: bool, can_resume: bool, goes_on: bool) -> str:
    """Where a run without a summary stands."""
    if goes_on:
        return f"the run is still going on: {members} members are in, and this is what they say so far"
    if complete:
        way = f": `gtsearch resume {folder}` writes it" if can_resume else ""
        return f"the run has all its {members} members and lacks its end{way}"
    way = f"; `gtsearch resume {folder}` goes on with it" if can_resume else ""
    return f"the run is not finished: {members} members are in{way}"
