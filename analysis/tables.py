"""The report's tables, as text: methods, weak architectures, trade-off, ledger, and several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtsearch.analysis import ablation, asked, ladder, measured, pipelines, sentences, stats, style
from gtsearch.analysis.evidence import Evidence
from gtsearch.analysis.members import of_report, rows_of
from gtsearch.results import TOTAL, Results

_LONG = 15  # architectures; a longer ladder starts folded
_FEW_ABLATIONS = 40  # rows; more start folded
_NAMED = 3  # undecided architectures that the one table names

_AT_95 = "95\N{NO-BREAK SPACE}%"

Json = Mapping[str, Any]
_Taken = tuple[stats.Floats, npt.NDArray[np.bool_]]  # times [n] and who got there [n], as in `stats.km_median`


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by where that is a number, the group of members it links to, a second line."""

    text: str
    value: float | None = None
    members: str | None = None
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table as text: the first column names the row; a cell is text, or a number already formatted.

    `words`: indices of columns set, and sorted, as text and not as numbers. `swatches`: a colour a row, or None.
    `total`: the last row is the sum of the others, and stays the last.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    words: Sequence[int] = (0,)
    swatches: Sequence[str] | None = None
    total: bool = False
    folded: bool = False


def of_run(results: Results, evidence: Evidence) -> list[Table]:
    """Every table of one run, in the order of the page; some may have no rows. Their numbers link into `evidence`."""
    return [
        _methods(results.summary, evidence),
        _times(results, evidence),
        _ablations(results, evidence),
        _varied(results),
        _ladder(results, evidence),
        _tradeoff(results.summary, evidence),
        _ledger(results.ledger, evidence),
    ]


# -- cells --------------------------------------------------------------------------------------------------


def _count(value: float | None, members: str | None = None) -> Cell:
    return Cell(style.count(value), value, members)


def _accuracy(value: float | None, members: str | None = None) -> Cell:
    return Cell(style.accuracy(value), value, members)


def _quantity(value: float | None, unit: str, members: str | None = None) -> Cell:
    return Cell(style.quantity(value, unit), value, members)


def _k_of_n(k: int | None, n: int | None, members: str | None = None) -> Cell:
    """Sorts by the share."""
    return Cell(style.k_of_n(k, n), k / n if k is not None and n else None, members)


def _took(record: Json, unit: str, members: str | None = None) -> Cell:
    return Cell(sentences.took(record, unit), record[f"{unit}_to_goal"]["median"], members)


def _rate(interval: Sequence[float | None] | None) -> Cell:
    """Sorts by the lower bound: what is certain."""
    return Cell(style.rate_interval(interval), interval[0] if interval else None)


# -- the answer ---------------------------------------------------------------------------------------------


_WORDS = ("run", "task", "smallest that clears", "cheapest that pays", "undecided")


def answer(runs: Sequence[Results], names: Sequence[str], evidence: Sequence[Evidence]) -> Table:
    """The one table: what each run found, a row a run; no rows where none has a weak stage.

    What no run asked for (an accuracy, the judgement of the target) has no column.
    """
    records = [
        ({"run": Cell(name)} if len(runs) > 1 else {}) | _answer(run.summary, own)
        for run, name, own in zip(runs, names, evidence, strict=True)
        if run.summary["weak"] is not None
    ]
    head = list(dict.fromkeys(name for record in records for name in record))
    head.sort(key=lambda name: _WORDS.index(name) if name in _WORDS else len(_WORDS))
    return Table(
        "The answer in one table",
        head,
        [[record.get(name, Cell("not asked")) for name in head] for record in records],
        "k of n: fresh seeds, run once, on which the claim holds (whole pipelines where a weak model pays), with "
        "Wilson's 95 % interval. The last three: how many times cheaper than scratch, in training FLOPs, and below in "
        "epochs and training seconds where they are known; >= is a lower bound, as scratch was not seen to get there. "
        "Their 95 % intervals are a bootstrap over report seeds, the cost of a search held fixed: it ran once. "
        "Undecided: cheaper, neither excluded nor certified.",
        words=[i for i, name in enumerate(head) if name in _WORDS],
    )


def _answer(summary: Json, evidence: Evidence) -> dict[str, Cell]:
    """The cells of one run by their column's head."""
    weak: Json = summary["weak"]
    clears, pays, undecided = weak["clears"], weak["pays"], weak["undecided"]
    cells = {"task": Cell(summary["title"], small=summary["train_words"])}
    if summary["threshold"] is not None:
        cells["smallest that clears"] = _architecture(clears, evidence)
    if summary["judge"] == "target":
        cells["cheapest that pays"] = _architecture(pays, evidence)
    named = ",\n".join(entry["architecture"] for entry in undecided[:_NAMED])
    more = f" and {len(undecided) - _NAMED} more" if len(undecided) > _NAMED else ""
    cells["undecided"] = Cell(named + more if undecided else "none")
    members = evidence.pipelines() if pays else evidence.weak(clears["architecture"], "report") if clears else None
    cells["k of n"] = Cell(style.UNKNOWN)
    if (seen := sentences.confidence(summary)) is not None:
        cells["k of n"] = replace(_k_of_n(seen.k, seen.n, members), small=style.rate_interval(seen.interval))
    told = {one.counted: one for one in sentences.speedups(summary)}
    for key, counted in sentences.COUNTED.items():
        cells[counted] = Cell(style.UNKNOWN)
        if (one := told.get(counted)) is not None:
            cells[counted] = Cell(one.text, one.value, evidence.compared(key), _others(one))
    return cells


def _others(speedup: sentences.Speedup) -> str:
    interval = [f"{_AT_95}: {speedup.interval}"] if speedup.interval else []
    return "\n".join([*interval, *speedup.others])


def _architecture(entry: Json | None, evidence: Evidence) -> Cell:
    if entry is None:
        return Cell("none was seen to")
    small = f"{style.count(entry['params'])} parameters"
    return Cell(entry["architecture"], members=evidence.judged(entry["architecture"]), small=small)


# -- the tables of a run ------------------------------------------------------------------------------------


def _methods(summary: Json, evidence: Evidence) -> Table:
    methods: Json = summary["methods"]
    rows = []
    for method, record in methods.items():
        report, tuning = evidence.report(method), evidence.tuning(method)
        rows.append(
            [
                Cell(method),
                _k_of_n(record["reached"], record["seeds"], report),
                _rate(record["interval"]),
                *(_took(record, unit, report) for unit in stats.UNITS),
                _k_of_n(record.get("stayed") if record["reached"] else None, record["reached"], report),
                _accuracy(record["test_accuracy"], report),
                _count(record["tuning_members"], tuning),
                _quantity(record["tuning_flops"], "flops", tuning),
                Cell(sentences.settings(record.get("config"))),
            ]
        )
    return Table(
        "Methods, on report seeds",
        [
            "method",
            "reach the goal",
            "95 %",
            "epochs",
            "seconds",
            "FLOPs",
            "stay there",
            "test accuracy",
            "tuning runs",
            "tuning FLOPs",
            "settings",
        ],
        rows,
        "Reaching the goal comes first, with Wilson's interval; then the Kaplan-Meier median of what it took (a run "
        "that did not get there is censored, never left out) with a bootstrap interval over seeds. A dash: half of "
        "the seeds never got there. Seconds compare on one device alone. The split that selects is not the one that "
        "test accuracy is measured on.",
        words=(0, 10),
        swatches=[style.colour(method) for method in methods],
    )


def _times(results: Results, evidence: Evidence) -> Table:
    """A row a method with all that its report seeds say of how long the target takes; no rows without a target."""
    methods: Json = results.summary["methods"]
    report = of_report(rows_of(results.trials), methods)
    given = asked.target_epochs(results, {}) or (report["epochs"].max() if len(report) else None)
    horizon = None if given is None or pd.isna(given) else float(given)
    took = {method: _to_goal(report[report["method"] == method], methods[method]["seeds"]) for method in methods}
    rows = [
        _time(method, methods[method], took[method], took.get("scratch"), horizon, evidence.report(method))
        for method in methods
        if horizon is not None
    ]
    return Table(
        "How long the target takes, misses counted",
        ["method", "reach the goal", "median epochs", "mean to the horizon", "PAR10", "with restarts", "p, log-rank"],
        rows,
        f"Epochs, over report seeds; the horizon is {style.count(horizon)} epochs, the target's whole budget. Median: "
        "Kaplan-Meier, with a bootstrap interval (a dash: half never got there). Mean to the horizon: the area under "
        "the Kaplan-Meier curve (a dash: the last were given up before). PAR10: a miss counts ten times the horizon. "
        "With restarts: the epochs to expect if a run is given up and a fresh one started after so many; the number "
        "that makes it least is chosen from these same seeds, which flatters it. p: against scratch, faster or slower; "
        "not corrected for how many methods there are.",
        swatches=[style.colour(method) for method in methods],
    )


def _to_goal(own: pd.DataFrame, seeds: int) -> _Taken:
    """Epochs to the goal, as `stats.times_to_goal`; a pipeline without an embedding never gets there."""
    times, reached = stats.times_to_goal(own, "epochs")
    never = max(0, seeds - len(times))
    return np.append(times, np.full(never, np.inf)), np.append(reached, np.zeros(never, dtype=bool))


def _time(
    method: str,
    record: Json,
    own: _Taken,
    scratch: _Taken | None,
    horizon: float,
    report: str | None,
) -> list[Cell]:
    mean, (low, high) = stats.restricted_mean(*own, horizon)
    penalised, restarts = stats.par10(*own, horizon), stats.best_restart(*own)
    cutoff, expected = restarts or (None, None)
    after = "" if cutoff is None else f"restart after {style.count(cutoff)} epochs"
    p = None if scratch is None or method == "scratch" else stats.log_rank(*own, *scratch)
    return [
        Cell(method),
        _k_of_n(record["reached"], record["seeds"], report),
        _took(record, "epochs", report),
        Cell(style.spread(mean, (low, high), "epochs"), mean, report),
        Cell(style.number(penalised), penalised, report),
        Cell(style.number(expected), expected, report, small="never restart" if cutoff == math.inf else after),
        Cell("" if p is None else style.p_value(p), p),
    ]


def _ablations(results: Results, evidence: Evidence) -> Table:
    """Every variation beside the unvaried experiment; no rows where there is none."""
    records = stats.records(ablation.table(ablation.gather(results)))
    rows = []
    for row in records:
        of_epochs = row["kind"] == "method"
        compared = of_epochs and row["variation"] != records[0]["variation"]
        signed = _difference(row["difference"], (row["difference_low"], row["difference_high"]))
        same = compared and row["pairs"] is None
        members = evidence.report(row["name"], row["variation"]) if of_epochs else None
        spread = style.spread(row["median"], (row["median_low"], row["median_high"]), "epochs")
        rows.append(
            [
                Cell(row["variation"]),
                Cell(row["changes"]),
                Cell(row["name"]),
                _k_of_n(row["reached"], row["seeds"], members),
                _rate((row["low"], row["high"])),
                Cell(spread, row["median"], members) if of_epochs else Cell(""),
                Cell("same runs" if same else signed if compared else "", row["difference"] if compared else None),
                Cell("" if row["pairs"] is None else style.count(row["pairs"]), row["pairs"]),
                Cell("" if row["p"] is None else style.p_value(row["p"]), row["p"]),
            ]
        )
    return Table(
        "Ablations",
        [
            "variation",
            "changes",
            "method",
            "reach the goal",
            "95 %",
            "epochs",
            "epochs more than base",
            "pairs",
            "p against base",
        ],
        rows,
        "Variations run on the same seeds as the experiment itself, `base`. Epochs more than base: the median of the "
        "differences over the seeds on which both reach the goal (pairs), with a bootstrap interval. p: McNemar's "
        "exact test of whether as many seeds reach the goal; it is not corrected for how many variations there are.",
        words=(0, 1, 2),
        folded=len(rows) > _FEW_ABLATIONS,
    )


def _varied(results: Results) -> Table:
    """What was measured under every variation: a row each, a column a measure and method that has a number."""
    varied = results.summary["variations"] or {}
    names = ["epochs", "time_gap", "weak_accuracy", *measured.probed(results), "final_accuracy"]
    members = {name: measured.members_of(results, name) for name in varied}
    cells = {
        (variation, name, one.who): one
        for variation, own in members.items()
        for name in names
        for one in measured.measure(own, name)
    }
    known = {(name, who) for (_, name, who), one in cells.items() if one.median is not None}
    whose = sorted({who for _, who in known}, key=lambda who: (who == measured.WEAK, style.place(who)))
    columns = [(name, who) for name in names for who in whose if (name, who) in known]
    rows = [
        [
            Cell(variation),
            *(
                Cell(measured.spread(cells[key], name), cells[key].median)
                if (key := (variation, name, who)) in cells
                else Cell("")
                for name, who in columns
            ),
        ]
        for variation in varied
    ]
    head = [measured.label(name) + ("" if name == "weak_accuracy" else f", {who}") for name, who in columns]
    return Table(
        "What varied, measured",
        ["variation", *head],
        rows if columns else [],
        "Medians over report members with a 95 % bootstrap interval; of a time that some never saw the end of, the "
        "Kaplan-Meier median (a dash: half of them did not). Of a probe's number it is the last value that was read; "
        "`weak`: of the weak model.",
        folded=len(rows) > _FEW_ABLATIONS,
    )


def _difference(value: float | None, bounds: tuple[float | None, float | None]) -> str:
    """A difference with its sign and interval: +12 [3, 20]."""
    if value is None:
        return style.UNKNOWN
    text = f"{'+' if value > 0 else ''}{style.number(value)}"
    return text if None in bounds else f"{text} [{', '.join(map(style.number, bounds))}]"


def _ladder(results: Results, evidence: Evidence) -> Table:
    records = stats.records(ladder.table(ladder.gather(results)))
    rows = []
    for row in records:
        label = row["architecture"]
        search, gate = evidence.weak(label, "search"), evidence.weak(label, "gate")
        rows.append(
            [
                Cell(label),
                _count(row["params"]),
                _count(row["configs"], search),
                _count(row["cleared_configs"], search),
                _accuracy(row["best_val_accuracy"], search),
                _k_of_n(row["best_cleared"], row["gate_seeds"], gate),
                Cell(row["verdict"], members=evidence.judged(label)),
                Cell(row["detail"] or ""),
            ]
        )
    most = max((row["configs"] or 0 for row in records), default=0)
    rule = (
        "Excluded: its whole budget of configs ran, and none came through the gate. When none of "
        f"{most} clears, those that would are under {style.percent(stats.rule_of_n(most))} of draws, at 95 %."
        if most
        else ""
    )
    return Table(
        "Weak architectures, the smallest first",
        [
            "architecture",
            "parameters",
            "configs",
            "clear the search seed",
            "best accuracy",
            "best at the gate",
            "verdict",
            "why",
        ],
        rows,
        rule,
        words=(0, 6, 7),
        swatches=[style.VERDICTS.get(row["verdict"], (style.FAINT, ""))[0] for row in records],
        folded=len(rows) > _LONG,
    )


def _tradeoff(summary: Json, evidence: Evidence) -> Table:
    """A row a level, dose or bin of endpoints."""
    study = summary["tradeoff"]
    rows = [_start(entry, start, evidence) for entry, start in _starts(study)] if study else []
    reference = style.flops(study["scratch"]["expected_flops"]) if study else style.UNKNOWN
    censored = " at least, as it was never seen to get there" if study and study["scratch"]["censored"] else ""
    coverage = f" {study['coverage'].capitalize()}." if study and study["coverage"] else ""
    if study:
        share = style.percent(study["threshold_coverage"])
        coverage += f" In simulated studies of about as many replicates the threshold's interval held it in {share}."
    horizon = f" ({study['horizon_epochs']} epochs, the longest that any of its seeds took)" if study else ""
    return Table(
        "Weak accuracy against what the target costs",
        [
            "design",
            "asked for",
            "measured",
            "weak models there",
            "pipelines there",
            "target, s",
            "weak + target, s",
            "with restarts, FLOPs",
            "over scratch, FLOPs",
            "95 %",
            "pays",
        ],
        rows,
        "Medians over all pipelines, a miss being infinite (a dash: no finite median), in training seconds. With "
        "restarts: all that all pipelines spent, weak models that never came there and targets that were not there at "
        f"scratch's horizon{horizon} included, over how many got there; over scratch's, {reference}{censored}. Pays: "
        "that ratio is below 1 with its whole interval. Refined levels were chosen by the same data that they are then "
        f"judged by.{coverage}",
        words=(0, 10),
        folded=len(rows) > _LONG,
    )


def _starts(study: Json) -> list[tuple[Json, pipelines.Start]]:
    """Each record of the summary's levels with its pipelines."""
    frame = pipelines.frame(study["pipelines"])
    designs = dict.fromkeys(entry["design"] for entry in study["levels"])
    starts = [start for design in designs for start in pipelines.starts(frame, design, "flops")]
    return list(zip(study["levels"], starts, strict=True))


def _start(entry: Json, start: pipelines.Start, evidence: Evidence) -> list[Cell]:
    asked_for = entry["dose"] if entry["design"] == "dose" else entry["level"]
    about = style.accuracy(entry["weak_accuracy"]) if asked_for is None else f"{asked_for:g}"
    title = f"trade-off, {entry['design']}: {about}"
    targets = evidence.runs(title, start.rows["run_id"].dropna())
    weak = evidence.runs(f"{title}, weak models", start.rows["weak_run_id"].dropna())
    low, high = entry["interval_flops"]
    bound = "<=\N{NO-BREAK SPACE}" if entry["upper_bound"] and entry["ratio_flops"] is not None else ""
    interval = [style.UNKNOWN if end is None else style.number(end) for end in (low, high)]
    return [
        Cell(entry["design"], small="refined" if entry["refined"] else ""),
        Cell(style.UNKNOWN if asked_for is None else f"{asked_for:g}", asked_for),
        _accuracy(entry["weak_accuracy"], weak),
        _k_of_n(entry["reached_level"], entry["weak_runs"], weak),
        _k_of_n(entry["reached_goal"], entry["pipelines"], targets),
        _quantity(entry["median_target_seconds"], "seconds", targets),
        _quantity(entry["median_total_seconds"], "seconds", targets),
        _quantity(entry["expected_total_flops"], "flops", targets),
        Cell(bound + style.number(entry["ratio_flops"]), entry["ratio_flops"], targets),
        Cell(style.UNKNOWN if low is None and high is None else " to ".join(interval), low),
        Cell("yes" if entry["pays"] else "no"),
    ]


def _ledger(ledger: pd.DataFrame, evidence: Evidence) -> Table:
    records = stats.records(ledger)
    whole = next((row["train_flops"] for row in records if row["purpose"] == TOTAL), None)
    rows = []
    for row in records:
        spent = row["train_flops"]
        share = spent / whole if whole and spent is not None else None
        members = None if row["purpose"] == TOTAL else evidence.spent(row["purpose"], row["method"])
        rows.append(
            [
                Cell(row["purpose"]),
                Cell(row["method"] or ""),
                _count(row["members"], members),
                _count(row["epochs"], members),
                _quantity(spent, "flops", members),
                Cell(style.percent(share), share),
                _quantity(row["train_seconds"], "seconds", members),
                _quantity(row["eval_seconds"], "seconds", members),
            ]
        )
    return Table(
        "Ledger: what everything cost",
        ["purpose", "method", "runs", "epochs", "FLOPs", "share", "training", "evaluation"],
        rows,
        "FLOPs are those of training. Seconds are summed over workers.",
        words=(0, 1),
        total=True,
    )


# -- several runs -------------------------------------------------------------------------------------------


def side_by_side(runs: Sequence[Results], names: Sequence[str]) -> Table:
    """What differs between runs of one question, a row a quantity and a column a run."""
    columns = [_column(run) for run in runs]
    quantities = list(dict.fromkeys(name for column in columns for name in column))
    return Table(
        "Side by side",
        ["quantity", *names],
        [[Cell(name), *(Cell(column.get(name, style.UNKNOWN)) for column in columns)] for name in quantities],
        "Runs of the same task and goals. Seconds compare only where device and threads are the same.",
        words=range(len(runs) + 1),
    )


def _column(results: Results) -> dict[str, str]:
    summary = results.summary
    column = {}
    if (weak := summary["weak"]) is not None:
        pays, clears = weak["pays"], weak["clears"]
        column = {
            "pays": sentences.named(pays) if pays else "nothing",
            "pays on": style.k_of_n(pays["transferred"], pays["pipelines"]) if pays else style.UNKNOWN,
            "only clears": sentences.named(clears) if clears else "nothing",
            "undecided": style.count(len(weak["undecided"])),
        }
    for method, record in summary["methods"].items():
        column[f"{method}: reach the goal"] = style.k_of_n(record["reached"], record["seeds"])
        column[f"{method}: seconds"] = sentences.took(record, "seconds")
        column[f"{method}: FLOPs"] = style.flops(record["flops_to_goal"]["median"])
    if weak is not None:
        column |= {f"times cheaper than scratch, {one.counted}": one.text for one in sentences.speedups(summary)}
    if (study := summary["tradeoff"]) is not None:
        paying_from, least = study["threshold"], study["least_total"]
        column["pays from weak accuracy"] = "no threshold" if paying_from is None else style.accuracy(paying_from)
        column["least total at"] = style.UNKNOWN if least is None else f"{least:g}"
    column["machine"] = sentences.machine(results)
    column["seed"] = str(asked.experiment(results).get("seed", style.UNKNOWN))
    return column
