"""The claim and its evidence: from what the search found to summary.json.

What is said of the weak model is a bracket: the largest architecture excluded < the undecided ones, by name < the
smallest certified. k of n and intervals come from report seeds alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gtsearch.analysis import bill, pipelines, stats
from gtsearch.analysis.members import rows_of
from gtsearch.identity import digest
from gtsearch.parts import BASE
from gtsearch.reach import falls_short, lower_goal
from gtsearch.results import SCHEMA
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Row, cleared
from gtsearch.search.policy import Findings, Policy
from gtsearch.search.target import Confirmation
from gtsearch.search.tradeoff import Point, records
from gtsearch.search.weak import Attempt, Candidate, Ladder, Rung, spent
from gtsearch.spec import Spec

Json = dict[str, Any]

_SPEEDUPS = ("target", "with_weak", "with_search")


def settle(ablation: Ablation, rows: Iterable[Row]) -> list[Json]:
    """`settled`, all at once."""
    return list(settled(ablation, rows))


def settled(ablation: Ablation, rows: Iterable[Row]) -> Iterator[Json]:
    """The rows for the tables: what counted for nothing is booked as cancelled, levels never reached are added.

    With several workers some members were trained ahead of a need that never came; in a finished search their rows
    say `cancelled`, so that any number of workers gives the same other rows. So do gate seeds that a stack had room for
    and that their config did not earn, in any search. Where there are variations, each row names those it counts for.
    """
    varied = len(ablation.policies) > 1
    earned = {
        row["config_id"]
        for policy in ablation.policies.values()
        for row in policy.board.rows.values()
        if (row["stage"], row["role"]) == ("weak", "search") and cleared(row)
    }
    for given in rows:
        row = dict(given)
        counting = list(ablation.counting(row["run_id"]))
        if varied:
            row["variation"] = ",".join(counting) or None
        in_vain = (row["stage"], row["role"]) == ("weak", "gate") and row["config_id"] not in earned
        if not counting and (ablation.is_complete or in_vain):
            row |= {"status": "cancelled", "purpose": "cancelled"}
        yield row
    unreached: dict[str, Json] = {}
    for name, policy in ablation.policies.items():
        study = policy.findings.study
        for point in study.points if study else ():
            if point.row is None and point.column == 0:
                told = _unreached(point)
                row = unreached.setdefault(told["run_id"], {})
                names = [row["variation"], name] if row else [name]
                row |= told | {"variation": ",".join(names) if varied else None}
    yield from unreached.values()


def _unreached(point: Point) -> Json:
    """The row of a start that a weak run never came to: no target ran."""
    start, weak = point.start, point.start.weak_row
    return {
        "run_id": digest([weak["run_id"], start.method, start.design, start.level, start.dose, "unreached"]),
        "attempt": 0,
        "stage": "target",
        "method": start.method,
        "role": "tradeoff",
        "purpose": "tradeoff",
        "task": weak["task"],
        "split_seed": weak["split_seed"],
        "status": "unreached",
        "design": start.design,
        "level": start.level,
        "refined": start.refined,
        "dose": start.dose,
        "weak_run_id": weak["run_id"],
        "weak_epoch": weak["epochs"],
        "weak_flops": weak["train_flops"],
        "weak_seconds": weak["train_seconds"],
        "elapsed_seconds": weak["elapsed_seconds"],
    }


def summarise(ablation: Ablation, trials: pd.DataFrame, error: Exception | None = None) -> Json:
    """summary.json (design: the run folder), from the search's findings and the settled trials.

    It is that of the experiment as it stands; those of its variations are under `variations`.
    """
    varied = len(ablation.policies) > 1
    told = {n: _summarise(p, rows_of(trials, n) if varied else trials, error) for n, p in ablation.policies.items()}
    changes = {BASE: {}, **ablation.changes}
    return told[BASE] | {
        "complete": ablation.is_complete,
        "variations": {n: {"changes": changes[n], "summary": told[n]} for n in told} if varied else None,
    }


def _summarise(policy: Policy, trials: pd.DataFrame, error: Exception | None) -> Json:
    """What one variation found; `trials` are its rows."""
    findings, spec = policy.findings, policy.spec
    pays = findings.pays if spec.judged else None
    methods = _methods(spec, policy, trials)
    reference = findings.reference
    return {
        "schema": SCHEMA,
        "name": spec.name,
        "title": spec.task.title,
        "train_words": spec.task.train_words,
        "chance": spec.task.chance,
        "cost": spec.weak.cost if spec.weak else None,
        "judge": spec.weak.judge.by if spec.weak else None,
        "threshold": spec.weak_threshold,
        "above_chance": spec.weak is not None and spec.weak.goal.val_accuracy == "above_chance",
        "target_goal": spec.target_threshold,
        "complete": findings.complete,
        "error": None if error is None else f"{type(error).__name__}: {error}",
        "scratch_reference": {
            "flops": reference.flops if reference else None,
            "seconds": reference.seconds if reference else None,
            "epochs": reference.epochs if reference else None,
        },
        "weak": _weak(policy, policy.ladder, pays) if policy.ladder else None,
        "methods": methods,
        **_speedups(trials, methods),
        "tradeoff": _tradeoff(findings),
        "not_run": _not_run(spec, methods, findings),
        "warnings": _warnings(spec, policy, methods),
        "exit_code": 0 if findings.pays is not None or (policy.ladder is None and findings.complete) else 1,
    }


# -- the weak model -----------------------------------------------------------------------------------------


def _weak(policy: Policy, ladder: Ladder, pays: Confirmation | None) -> Json:
    findings = policy.findings
    rungs = list(ladder.rungs.values())
    winner = (pays.candidate if pays else None) or findings.clears
    told = [_rung(findings, ladder, rung, pays, winner) for rung in rungs]
    cheaper = [
        entry
        for rung, entry in zip(rungs, told, strict=True)
        if entry["verdict"] in ("excluded", "undecided", "clears") and _is_cheaper(ladder, rung, winner)
    ]
    keys = ("architecture", "params", "configs", "best_val_accuracy", "best_cleared", "gate_seeds")
    entries = [{key: e[key] for key in keys} | {"verdict": e["detail"], "kind": e["verdict"]} for e in cheaper]
    bracket = [{k: v for k, v in entry.items() if k != "kind"} for entry in entries]
    withdrawn = sum(not c.pays for c in findings.confirmations) if policy.spec.judged else 0
    return {
        "clears": _clears(findings),
        "pays": _pays(policy, ladder, pays) if pays else None,
        "excluded": [b for b, e in zip(bracket, entries, strict=True) if e["kind"] == "excluded"],
        "undecided": [b for b, e in zip(bracket, entries, strict=True) if e["kind"] != "excluded"],
        "ladder": told,
        "withdrawn": withdrawn + findings.clears_withdrawn,
    }


def _is_cheaper(ladder: Ladder, rung: Rung, winner: Candidate | None) -> bool:
    """Whether the architecture is, or could be, strictly cheaper than the winner.

    By parameters that is known at once. By what training costs every other architecture could be, unless all its
    configs that clear were seen to cost more: by themselves, or in total, as the judge found.
    """
    if winner is None:
        return True
    if ladder.weak.cost == "params":
        return rung.architecture.params < winner.architecture.params
    return rung.architecture.label != winner.architecture.label and not _clears_for_more(ladder, rung, winner)


def _clears_for_more(ladder: Ladder, rung: Rung, winner: Candidate | None) -> bool:
    """Whether configs of the architecture pass the gate, and all of them cost at least what the winner costs.

    In total, those do that cost as much before the target starts, and those that were judged and came to no less.
    """
    if winner is None or ladder.weak.cost == "params":
        return False
    own = [c for c in ladder.candidates() if c.architecture.label == rung.architecture.label]
    weighed = _weighed(ladder, winner)
    if weighed is None:
        return bool(own) and all(ladder.cost(c) >= ladder.cost(winner) for c in own)
    judged = {attempt.candidate.config_id for attempt in rung.attempts}
    less = any(attempt.total is not None and ladder.merit(attempt) < ladder.merit(weighed) for attempt in rung.attempts)
    return bool(own) and not less and all(c.config_id in judged or not ladder.could_win(c, weighed) for c in own)


def _weighed(ladder: Ladder, winner: Candidate) -> Attempt | None:
    """The judge's verdict on the winner where totals are compared and it pays."""
    rung = ladder.rungs[winner.architecture.label]
    own = (a for a in rung.attempts if a.candidate.key == winner.key and a.passes)
    return next(own, None) if ladder.weak.in_total else None


def _rung(findings: Findings, ladder: Ladder, rung: Rung, pays: Confirmation | None, winner: Candidate | None) -> Json:
    # Where no accuracy is asked for, everything passes the gate: what counts is what the judge saw.
    judged = max(((a.reached, a.probed) for a in rung.attempts), default=None)
    best_gate = judged if ladder.training.goal is None else rung.best_gate
    accuracies = [float(row["best_val_accuracy"]) for row in rung.rows if row["best_val_accuracy"] is not None]
    verdict, detail = _verdict(findings, ladder, rung, pays, winner)
    return {
        "architecture": rung.architecture.label,
        "params": rung.architecture.params,
        "flops_per_epoch": rung.architecture.flops_per_epoch,
        "configs": len(rung.rows),
        "cleared_configs": sum(map(cleared, rung.rows)),
        "best_val_accuracy": max(accuracies, default=None),
        "best_cleared": best_gate[0] if best_gate else None,
        "gate_seeds": best_gate[1] if best_gate else None,
        "verdict": verdict,
        "detail": detail,
        "candidates": [_attempt(attempt) for attempt in rung.attempts],
    }


def _attempt(attempt: Attempt) -> Json:
    candidate = attempt.candidate
    return {
        "config_id": candidate.config_id,
        "config": dict(candidate.hyperparameters),
        "verdict": attempt.verdict,
        "snapshot": candidate.snapshot,
        "cleared": candidate.gate_cleared,
        "seeds": len(candidate.rows) - 1,
        "reached": attempt.reached,
        "probed": attempt.probed,
        "total": attempt.total,
    }


def _verdict(
    findings: Findings, ladder: Ladder, rung: Rung, pays: Confirmation | None, winner: Candidate | None
) -> tuple[str, str]:
    """What is said of one architecture, and the sentence that says why."""
    label, in_total = rung.architecture.label, ladder.weak.in_total
    if not rung.tried:
        alone = "its weak model alone would cost what the winner costs in total"
        return "not tried", alone if in_total else "not cheaper than the winner"
    if not rung.rows:
        return "not tried", "the search ended before it"
    if pays and pays.candidate.architecture.label == label:
        return "pays", f"pays on {_reached(pays)} of {len(pays.rows)} fresh pipelines"
    if ladder.training.goal is None:
        return _judged(ladder, rung)
    gate = ladder.weak.gate
    best = rung.best_gate
    if best is not None and best[0] >= gate.at_least:
        verdicts = sorted({attempt.verdict for attempt in rung.attempts})
        tail = f"; of {len(rung.attempts)} tried on the target: {', '.join(verdicts)}" if verdicts else ""
        clears = findings.clears is not None and findings.clears.architecture.label == label
        if _clears_for_more(ladder, rung, winner):
            costs = "costs in total" if in_total and pays else "costs"
            return "clears", f"clears on {best[0]} of {best[1]} gate seeds, for more than the winner {costs}{tail}"
        kind = "clears" if clears or rung.attempts else "undecided"
        return kind, f"clears on {best[0]} of {best[1]} gate seeds{tail}"
    n = len(rung.rows)
    rows = [*rung.rows, *(row for _, gate_rows in rung.gates for row in gate_rows)]
    # Who capped a row stood when the winner was found, so the winner costs no more, and the cap holds for it too.
    if not rung.complete or (findings.pays is None and any(row["status"] == "capped" for row in rows)):
        return "undecided", f"{n} configs ran, not its whole budget"
    waiting = sum(map(cleared, rung.rows)) - len(rung.gates)
    if waiting > 0 and not findings.complete:  # a run that was stopped
        return "undecided", f"{waiting} of {n} configs cleared the search seed, and their gate seeds are not all in"
    if failed := sum(row["status"] == "failed" for row in rows):
        return "undecided", f"{failed} of its runs crashed or were lost"
    if best is None:
        bound = stats.rule_of_n(n)
        return "excluded", f"0 of {n} configs clear the search seed: under {bound:.0%} of such configs would, at 95 %"
    upper = stats.clopper_pearson(*best)[1]
    if upper < gate.at_least / gate.seeds:
        return "excluded", f"at best {best[0]} of {best[1]} gate seeds clear (95 %: at most {upper:.2f})"
    return "undecided", f"at best {best[0]} of {best[1]} gate seeds clear, {gate.at_least} are asked for"


def _judged(ladder: Ladder, rung: Rung) -> tuple[str, str]:
    """The verdict where no accuracy is asked for and the judge alone decides."""
    if not rung.attempts or not rung.complete:
        return "undecided", f"{len(rung.rows)} configs ran, and the target was not asked"
    judge = ladder.weak.judge
    best = max(rung.attempts, key=lambda attempt: (attempt.reached, -attempt.probed))
    there = "gets there in time" if ladder.weak.in_total else "gets there"
    said = f"the target {there} from {best.reached} of {best.probed} embeddings ({best.verdict})"
    upper = stats.clopper_pearson(best.reached, best.probed)[1] if best.probed else 1.0
    if upper < judge.at_least / judge.weak_seeds:
        return "excluded", f"{said}; at 95 % at most {upper:.2f} would"
    return "undecided", f"{said}; {judge.at_least} of {judge.weak_seeds} are asked for"


def _candidate(candidate: Candidate, rows: Sequence[Row]) -> Json:
    """What is claimed of a weak config, from its report rows (one a seed)."""
    k, n = sum(map(cleared, rows)), len(rows)
    there = sorted(
        (float(row["train_seconds"]), float(row["train_flops"]))
        if candidate.snapshot == "best"
        else (float(row["seconds_to_goal"]), float(row["flops_to_goal"]))
        for row in rows
        if cleared(row)
    )
    first = next((row for row in rows if cleared(row)), rows[0])
    return {
        "run_id": first["run_id"],
        "architecture": candidate.architecture.label,
        "params": candidate.architecture.params,
        "config": dict(candidate.hyperparameters),
        "snapshot": candidate.snapshot,
        "cleared": k,
        "seeds": n,
        "interval": list(stats.wilson(k, n)),
        "train_seconds": float(np.median([s for s, _ in there])) if there else None,
        "train_flops": float(np.median([f for _, f in there])) if there else None,
        "cost_with_restarts_flops": spent(rows, "flops") / k if k else None,
    }


def _clears(findings: Findings) -> Json | None:
    if findings.clears is None:
        return None
    return _candidate(findings.clears, findings.clears_rows)


def _reached(confirmation: Confirmation) -> int:
    return sum(row is not None and cleared(row) for row in confirmation.rows)


def _pays(policy: Policy, ladder: Ladder, confirmation: Confirmation) -> Json:
    # First tries alone: a pipeline draws weak seeds until one clears, so all its tries say too little of the rate.
    tries = [pipeline.weak_rows[0] for pipeline in confirmation.pipelines]
    k, n = _reached(confirmation), len(confirmation.rows)
    certified = next((row for row in confirmation.rows if row is not None and cleared(row)), None)
    reference = policy.findings.reference
    price = getattr(reference, policy.target.unit) if reference else None
    total = float(np.median(confirmation.totals))
    claim = _candidate(confirmation.candidate, tries)
    if certified is not None:
        made = {p.weak_rows[-1]["run_id"] for p in confirmation.pipelines if p.weak_rows}
        chain = {row["run_id"]: p.weak_rows[-1]["run_id"] for p in confirmation.pipelines for row in p.chain}
        handed = certified["weak_run_id"]
        claim |= {"run_id": handed if handed in made else chain[handed], "handed_run_id": handed}
    return claim | {
        "transferred": k,
        "pipelines": n,
        "transfer_config": dict(confirmation.tuned.config),
        "pipelines_interval": list(stats.wilson(k, n)),
        f"total_{policy.target.unit}": total if math.isfinite(total) else None,
        "saving": 1.0 - total / price if price and math.isfinite(total) else None,
        "minimal": not any(
            _is_cheaper(ladder, rung, confirmation.candidate)
            for rung in ladder.rungs.values()
            if _verdict(policy.findings, ladder, rung, confirmation, confirmation.candidate)[0]
            in ("undecided", "clears")
        ),
        "variance": _variance(confirmation),
    }


def _variance(confirmation: Confirmation) -> Json:
    """The spread between weak seeds (their epochs to the goal) and between whole pipelines (the target's epochs to
    its goal, in which the weak seed, the split and the target seed all have a part)."""
    weak = [float(r["epochs_to_goal"]) for p in confirmation.pipelines for r in p.weak_rows if cleared(r)]
    target = [float(r["epochs_to_goal"]) for r in confirmation.rows if r is not None and cleared(r)]
    return {
        "weak_epochs_to_goal_sd": float(np.std(weak, ddof=1)) if len(weak) > 1 else None,
        "pipeline_epochs_to_goal_sd": float(np.std(target, ddof=1)) if len(target) > 1 else None,
    }


# -- the target ---------------------------------------------------------------------------------------------


def _methods(spec: Spec, policy: Policy, trials: pd.DataFrame) -> Json:
    """What each method did on report seeds, and what its tuning cost."""
    findings = policy.findings
    chosen: dict[str, tuple[Mapping[str, float], int, Sequence[Row | None]]] = {}
    if findings.reference is not None:
        tuned = findings.reference.tuned
        chosen["scratch"] = (tuned.config, tuned.configs, findings.reference.rows)
    if findings.chosen is not None:
        tuned = findings.chosen.tuned
        chosen["transfer"] = (tuned.config, tuned.configs, findings.chosen.rows)
    for method, (tuned, rows) in findings.controls.items():
        chosen[method] = (tuned.config, tuned.configs, rows)
    told = {method: _method(method, *chosen[method], trials) for method in spec.target.methods if method in chosen}
    if "transfer" in told and findings.chosen is not None:
        weak = [row for pipeline in findings.chosen.pipelines for row in (*pipeline.weak_rows, *pipeline.chain)]
        told["transfer"]["weak_run_ids"] = [row["run_id"] for row in weak]
    return told


def _method(
    method: str, config: Mapping[str, float], configs: int, rows: Sequence[Row | None], trials: pd.DataFrame
) -> Json:
    ran = [row for row in rows if row is not None]
    own = trials[trials["run_id"].isin([row["run_id"] for row in ran]) & (trials["status"] != "cancelled")]
    tuning = bill.tuning(trials, method)
    k, n = sum(map(cleared, ran)), len(rows)
    stayed = own["stayed"].dropna()
    test = own.loc[own["status"] == "cleared", "test_accuracy"].dropna()
    return {
        "reached": k,
        "seeds": n,
        "interval": list(stats.wilson(k, n)),
        **{f"{unit}_to_goal": _time(own, unit, n - len(ran)) for unit in stats.UNITS},
        "cap_epochs": max((row["cap_epochs"] for row in ran if row["status"] == "capped"), default=None),
        "best_val_accuracy": max(
            (row["best_val_accuracy"] for row in ran if row["best_val_accuracy"] is not None), default=None
        ),
        "test_accuracy": float(test.median()) if len(test) else None,
        "stayed": int(stayed.sum()) if len(stayed) else None,
        "tuning_members": len(tuning),
        "tuning_flops": float(tuning["train_flops"].sum()),
        "tuning_seconds": float(tuning["train_seconds"].sum()),
        "configs": configs,
        "config": dict(config),
        "run_ids": [row["run_id"] for row in ran],
    }


def _time(members: pd.DataFrame, unit: str, never_started: int) -> Json:
    """Kaplan-Meier median and its bootstrap interval; pipelines without an embedding never get there."""
    times, reached = stats.times_to_goal(members, unit)
    times = np.append(times, [np.inf] * never_started)
    reached = np.append(reached, [False] * never_started)
    return {
        "median": stats.km_median(times, reached),
        "interval": list(stats.km_median_interval(times, reached)),
    }


def _speedups(trials: pd.DataFrame, methods: Json) -> Json:
    """How many times cheaper transfer is than scratch: the target alone, with the weak model, with all that both
    searches spent (`analysis/bill.py`). `speedup` says it in FLOPs, `speedup_units` in seconds and in epochs.

    Where scratch is censored its budget stands for it, and the value is a lower bound. `interval` is at 95 %, over
    report seeds; the cost of a search is held fixed in it. An epoch of the weak model and one of the target are not
    one unit of work: `with_weak` and `with_search` in epochs say how long was trained, and nothing of what it cost.

    `break_even_runs`, in FLOPs and seconds: after how many target runs the search has paid for itself; null where it
    never does, or where that is not known. Where scratch is censored it is the most it takes.
    """
    rows = bill.booked(trials, methods, [method for method in ("transfer", "scratch") if method in methods])
    bills = {unit: bill.of(rows, unit) for unit in stats.UNITS}
    nothing: Json = {"value": None, "lower_bound": False, "interval": [None, None]}
    told = {unit: both.speedups() if both else dict.fromkeys(_SPEEDUPS, nothing) for unit, both in bills.items()}
    return {
        "speedup": told["flops"],
        "speedup_units": {unit: told[unit] for unit in ("seconds", "epochs")},
        "break_even_runs": {
            unit: both.break_even() if both else None for unit in ("flops", "seconds") for both in [bills[unit]]
        },
    }


# -- the trade-off, and warnings ----------------------------------------------------------------------------


def _tradeoff(findings: Findings) -> Json | None:
    if findings.study is None:
        return None
    told = records(findings.study)
    decided = pipelines.told(pipelines.frame(told))
    return {"horizon_epochs": findings.study.horizon, **decided, "pipelines": told}


def _not_run(spec: Spec, methods: Json, findings: Findings) -> list[str]:
    """The methods, and `tradeoff`, that were asked for and have no answer."""
    left_out = [method for method in spec.target.methods if method not in methods]
    return [*left_out, *(["tradeoff"] if spec.tradeoff is not None and findings.study is None else [])]


def _warnings(spec: Spec, policy: Policy, methods: Json) -> list[str]:
    findings = policy.findings
    warnings: list[str] = []
    tuned = [findings.reference.tuned] if findings.reference else []
    tuned += [findings.chosen.tuned] if findings.chosen else []
    tuned += [one for one, _ in findings.controls.values()]
    for one in tuned:
        warnings += [f"the best config lies on the edge of its space: {text}" for text in policy.target.edges(one)]
    reference, max_epochs = findings.reference, spec.target.budget.max_epochs
    if reference is not None and not any(map(cleared, reference.rows)):
        best, goal = reference.best_val_accuracy, spec.target_threshold
        short = falls_short("scratch", len(reference.rows), best, goal, max_epochs)
        bound = "; every speed-up is a lower bound" if any(told["reached"] for told in methods.values()) else ""
        warnings.append(f"{short}{bound}; {lower_goal(best, goal)}")
    elif reference is not None and reference.flops is None:
        warnings.append(
            f"scratch is censored: no more than half of its report seeds reach the goal in "
            f"{max_epochs} epochs, so every speed-up is a lower bound"
        )
    counted = policy.board.counted
    failed = sum(row["status"] == "failed" for run_id, row in policy.board.rows.items() if run_id in counted)
    if failed:
        warnings.append(f"{failed} members crashed or were lost; their rows say why")
    return warnings
