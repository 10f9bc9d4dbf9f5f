"""The report's tables, as text: methods, weak architectures, trade-off, ledger, and several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gtsearch.analysis import ablation, asked, ladder, measured, sentences, stats, style, tradeoff
from gtsearch.results import TOTAL, Results

_LONG = 15  # architectures; a longer ladder starts folded
_FEW_ABLATIONS = 40  # rows; more start folded

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table as text: the first column names the row, the other cells are text or numbers already formatted.

    `words`: indices of columns set as text, not as numbers. `swatches`: a colour a row, or None.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: Sequence[int] = (0,)
    swatches: Sequence[str] | None = None
    total: bool = False
    folded: bool = False


def of_run(results: Results) -> list[Table]:
    """Every table of one run, in the order of the page; some may have no rows."""
    parts = [_methods(results.summary), _ablations(results), _varied(results), _ladder(results), _tradeoff(results)]
    return [*parts, _ledger(results.ledger)]


def _methods(summary: Json) -> Table:
    methods: Json = summary["methods"]
    rows = []
    for method, record in methods.items():
        stayed = style.k_of_n(record.get("stayed"), record["reached"]) if record["reached"] else style.UNKNOWN
        rows.append(
            [
                method,
                style.k_of_n(record["reached"], record["seeds"]),
                style.rate_interval(record["interval"]),
                *(sentences.took(record, unit) for unit in stats.UNITS),
                stayed,
                style.accuracy(record["test_accuracy"]),
                style.count(record["tuning_members"]),
                style.flops(record["tuning_flops"]),
                _settings(record.get("config")),
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


def _settings(config: Json | None) -> str:
    return "" if not config else ", ".join(f"{name} {style.number(value)}" for name, value in config.items())


def _ablations(results: Results) -> Table:
    """Every variation beside the unvaried experiment; no rows where there is none."""
    records = stats.records(ablation.table(ablation.gather(results)))
    last: str | None = None
    rows = []
    for row in records:
        first, last = row["variation"] != last, row["variation"]
        of_epochs = row["kind"] == "method"
        compared = of_epochs and row["variation"] != records[0]["variation"]
        signed = _difference(row["difference"], (row["difference_low"], row["difference_high"]))
        same = compared and row["pairs"] is None
        rows.append(
            [
                row["variation"] if first else "",
                row["changes"] if first else "",
                row["name"],
                style.k_of_n(row["reached"], row["seeds"]),
                style.rate_interval((row["low"], row["high"])),
                style.spread(row["median"], (row["median_low"], row["median_high"]), "epochs") if of_epochs else "",
                "same runs" if same else signed if compared else "",
                "" if row["pairs"] is None else style.count(row["pairs"]),
                "" if row["p"] is None else style.p_value(row["p"]),
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
            variation,
            *(
                measured.spread(cells[key], name) if (key := (variation, name, who)) in cells else ""
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


def _ladder(results: Results) -> Table:
    records = stats.records(ladder.table(ladder.gather(results)))
    rows = [
        [
            row["architecture"],
            style.count(row["params"]),
            style.count(row["configs"]),
            style.count(row["cleared_configs"]),
            style.accuracy(row["best_val_accuracy"]),
            style.k_of_n(row["best_cleared"], row["gate_seeds"]),
            row["verdict"],
            row["detail"] or "",
        ]
        for row in records
    ]
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


def _tradeoff(results: Results) -> Table:
    frame = tradeoff.table(tradeoff.gather(results))
    levels = tradeoff.levels(frame)
    rows = [
        [
            f"{level['level']:g}",
            style.accuracy(level["weak_accuracy"]),
            style.k_of_n(level["reached_level"], level["seeds"]),
            style.k_of_n(level["reached_goal"], level["seeds"]),
            style.seconds(level["median_target_seconds"]),
            style.seconds(level["median_total_seconds"]),
            style.flops(level["median_total_flops"]),
            style.flops(level["expected_total_flops"]),
            "yes" if level["pays"] else "no",
        ]
        for level in levels
    ]
    scratch = tradeoff.scratch_median(frame, "flops")
    reference = "censored: half of its seeds never got there" if scratch is None else style.flops(scratch)
    return Table(
        "Weak accuracy against what the target costs",
        [
            "asked for",
            "measured",
            "weak seeds there",
            "targets there",
            "target",
            "weak + target",
            "weak + target, FLOPs",
            "with restarts, FLOPs",
            "pays",
        ],
        rows,
        f"Medians over all seeds, a miss being infinite (a dash: no finite median). With restarts: all that all seeds "
        f"spent over how many got there. Pays: the median of weak + target is below scratch's, {reference}.",
    )


def _ledger(ledger: pd.DataFrame) -> Table:
    records = stats.records(ledger)
    whole = next((row["train_flops"] for row in records if row["purpose"] == TOTAL), None)
    rows = [
        [
            row["purpose"],
            row["method"] or "",
            style.count(row["members"]),
            style.count(row["epochs"]),
            style.flops(row["train_flops"]),
            style.percent(row["train_flops"] / whole) if whole and row["train_flops"] is not None else style.UNKNOWN,
            style.seconds(row["train_seconds"]),
            style.seconds(row["eval_seconds"]),
        ]
        for row in records
    ]
    return Table(
        "Ledger: what everything cost",
        ["purpose", "method", "runs", "epochs", "FLOPs", "share", "training", "evaluation"],
        rows,
        "FLOPs are those of training. Seconds are summed over workers.",
        words=(0, 1),
        total=True,
    )


def side_by_side(runs: Sequence[Results], names: Sequence[str]) -> Table:
    """What differs between runs of one question, a row a quantity and a column a run."""
    columns = [_column(run) for run in runs]
    quantities = list(dict.fromkeys(name for column in columns for name in column))
    return Table(
        "Side by side",
        ["", *names],
        [[name, *(column.get(name, style.UNKNOWN) for column in columns)] for name in quantities],
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
        column |= {f"times cheaper than scratch, {name}": value for value, name, _ in sentences.speedups(summary)}
    if (study := summary["tradeoff"]) is not None:
        paying_from, least = study["threshold"], study["least_total"]
        column["pays from weak accuracy"] = "no threshold" if paying_from is None else style.accuracy(paying_from)
        column["least total at"] = style.UNKNOWN if least is None else f"{least:g}"
    column["machine"] = sentences.machine(results)
    column["seed"] = str(asked.experiment(results).get("seed", style.UNKNOWN))
    return column
