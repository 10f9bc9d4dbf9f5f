"""What the search is doing, in sentences, for the display while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gtsearch.parts import BASE
from gtsearch.reach import falls_short, lower_goal
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Phase, cleared
from gtsearch.search.policy import Job, Policy
from gtsearch.search.target import Reference

PHASES = {
    Phase.SCRATCH: "scratch reference",
    Phase.JUDGE: "testing a candidate",
    Phase.LADDER: "weak ladder",
    Phase.TARGET: "target and controls",
    Phase.TRADEOFF: "trade-off",
    Phase.AHEAD: "likely needed next",
}

_WHY = {
    ("weak", "search"): "configs of {architecture} on one seed{weak_goal}",
    ("weak", "gate"): "configs of {architecture} that cleared, on {gate_seeds} more seeds",
    ("weak", "probe"): "a later snapshot of {architecture}, since the first did not pay",
    ("weak", "report"): "{architecture} on fresh seeds, for the claim",
    ("weak", "tradeoff"): "{architecture} without a goal, its embedding kept level by level",
    ("target", "search"): "configs of {method}: which reach {target_goal:.2f} soonest?",
    ("target", "gate"): "the best configs of {method} on more seeds",
    ("target", "probe"): "does an embedding of the candidate pay? the target with transfer",
    ("target", "report"): "{method} on fresh seeds and splits, for the claim",
    ("target", "tradeoff"): "the target from embeddings of rising weak accuracy",
}


def state(ablation: Ablation, jobs: Iterable[Job]) -> dict[str, Any]:
    """`phase`, `why`, `best` and `remaining_seconds` for the display."""
    name, policy = ablation.current
    running = sorted(jobs, key=lambda job: job.phase)
    phase, why = "", ""
    if running:
        job = running[0]
        member, spec = job.members[0], policy.spec
        phase = PHASES[job.phase] + (f" of variation `{job.variation}`" if job.variation else "")
        asked = "" if spec.weak_threshold is None else f": which clear {spec.weak_threshold:.2f}?"
        why = _WHY[member.stage, member.role].format(
            architecture=member.architecture.label,
            method=member.method,
            weak_goal=asked,
            target_goal=spec.target_threshold,
            gate_seeds=spec.weak.gate.seeds if spec.weak else 0,
        )
    return {
        "phase": phase,
        "why": why,
        "best": _best(policy),
        "remaining_seconds": _remaining(ablation) if name == list(ablation.policies)[-1] else None,
    }


def _best(policy: Policy) -> str:
    """The best so far, in one line."""
    found = policy.findings
    parts = []
    if found.reference is not None and found.reference.epochs is not None:
        parts.append(f"scratch {found.reference.epochs:g} epochs")
    if found.pays is not None:
        parts.append(f"{found.pays.candidate.architecture.label} pays")
    elif policy.ladder:
        candidates = policy.ladder.candidates()
        if candidates:
            label = candidates[0].architecture.label
            least = "smallest" if policy.ladder.weak.cost == "params" else "cheapest"
            parts.append(f"{least} that clears so far {label} ({candidates[0].architecture.params} parameters)")
    if found.chosen is not None:
        epochs = sorted(row["epochs_to_goal"] for row in found.chosen.rows if row is not None and cleared(row))
        if epochs:
            parts.append(f"transfer {epochs[len(epochs) // 2]} epochs")
    return " · ".join(parts)


def _remaining(ablation: Ablation) -> float | None:
    """Seconds of what is known to be ahead, if every wanted member takes as long as it may; None while climbing.

    How far the ladder has to be climbed nobody knows, so nothing is promised before the winner is found.
    """
    policy = ablation.current[1]
    found = policy.findings
    if policy.ladder and found.pays is None and found.chosen is None:
        return None
    return policy.remaining_seconds() / policy.workers


def news(ablation: Ablation) -> list[str]:
    """Every verdict so far, one sentence each, in the order of the story; the display shows those it has not shown."""
    told = []
    for name, policy in ablation.policies.items():
        prefix = "" if name == BASE else f"{name}: "
        told += [prefix + line for line in _news(policy)]
    return told


def _news(policy: Policy) -> list[str]:
    found = policy.findings
    lines = []
    if found.reference is not None:
        lines.append(f"scratch confirmed: {_reference(policy, found.reference)}")
    withdrawn = {c.candidate.key for c in found.confirmations if found.pays is None or c is not found.pays}
    for rung in policy.ladder.rungs.values() if policy.ladder else ():
        label = rung.architecture.label
        for attempt in rung.attempts:
            config = ", ".join(f"{name} {value:.3g}" for name, value in attempt.candidate.hyperparameters.items())
            verdict = "probed, pays" if attempt.candidate.key in withdrawn else attempt.verdict
            snapshot = "" if attempt.candidate.snapshot == "goal" else f", {attempt.candidate.snapshot} snapshot"
            total = "" if attempt.total is None else f", {attempt.total:.3g} {_unit(policy)} in total"
            lines.append(f"{label} ({config}{snapshot}): {verdict}{total}")
    for confirmation in found.confirmations:
        reached = sum(row is not None and cleared(row) for row in confirmation.rows)
        label = confirmation.candidate.architecture.label
        verdict = "confirmed" if confirmation is found.pays else "withdrawn, for its report seeds or for its cost"
        of = len(confirmation.rows)
        lines.append(f"{label} {verdict}: the target reaches its goal on {reached} of {of} fresh pipelines")
    if found.clears is not None and policy.ladder is not None:
        k = sum(map(cleared, found.clears_rows))
        least = "smallest" if policy.ladder.weak.cost == "params" else "cheapest"
        lines.append(f"{least} that clears: {found.clears.architecture.label} ({k} of {len(found.clears_rows)} seeds)")
    return lines


def _reference(policy: Policy, reference: Reference) -> str:
    if reached := sum(map(cleared, reference.rows)):
        median = "censored" if reference.epochs is None else f"median {reference.epochs:g} epochs"
        return f"{reached} of {len(reference.rows)} seeds reach the goal, {median}"
    best, goal, epochs = reference.best_val_accuracy, policy.spec.target_threshold, policy.spec.target.budget.max_epochs
    short = falls_short("it", len(reference.rows), best, goal, epochs)
    return f"{short}; the search goes on; for a goal within reach {lower_goal(best, goal)}"


def _unit(policy: Policy) -> str:
    return "FLOPs" if policy.target.unit == "flops" else "s"
