"""What the search is doing, in sentences: for the display while it runs, and for `gtsearch check` before it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from gtsearch.search.board import Architecture, Phase, cleared
from gtsearch.search.policy import Job, Policy, ranked
from gtsearch.search.proposals import budget
from gtsearch.spec import Spec

PHASES = {
    Phase.SCRATCH: "scratch reference",
    Phase.JUDGE: "gate and judge",
    Phase.LADDER: "weak ladder",
    Phase.TARGET: "target and controls",
    Phase.TRADEOFF: "trade-off",
    Phase.AHEAD: "looking ahead",
}

_WHY = {
    ("weak", "search"): "configs of {architecture} on one seed: which clear {weak_goal:.2f}?",
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


def state(policy: Policy, jobs: Iterable[Job]) -> dict[str, Any]:
    """`phase`, `why`, `best` and `remaining_seconds` for the display."""
    running = sorted(jobs, key=lambda job: job.phase)
    phase, why = "", ""
    if running:
        job = running[0]
        member = job.members[0]
        phase = PHASES[job.phase]
        why = _WHY[member.stage, member.role].format(
            architecture=member.architecture.label,
            method=member.method,
            weak_goal=policy.spec.weak.goal.val_accuracy,
            target_goal=policy.spec.target.goal.val_accuracy,
            gate_seeds=policy.spec.weak.gate.seeds,
        )
    return {
        "phase": phase,
        "why": why,
        "best": _best(policy),
        "remaining_seconds": _remaining(policy),
    }


def _best(policy: Policy) -> str:
    """The best so far, in one line."""
    found = policy.findings
    parts = []
    if found.reference is not None and found.reference.epochs is not None:
        parts.append(f"scratch {found.reference.epochs:g} epochs")
    if found.pays is not None:
        parts.append(f"{found.pays.candidate.architecture.label} pays")
    else:
        candidates = policy.ladder.candidates()
        if candidates:
            label = candidates[0].architecture.label
            parts.append(f"smallest that clears so far {label} ({candidates[0].architecture.params} parameters)")
    if found.chosen is not None:
        epochs = sorted(row["epochs_to_goal"] for row in found.chosen.rows if row is not None and cleared(row))
        if epochs:
            parts.append(f"transfer {epochs[len(epochs) // 2]} epochs")
    return " · ".join(parts)


def _remaining(policy: Policy) -> float | None:
    """Seconds of what is known to be ahead, if every wanted member takes as long as it may; None while climbing.

    How far the ladder has to be climbed nobody knows, so nothing is promised before the winner is found.
    """
    found = policy.findings
    if found.pays is None and found.chosen is None:
        return None
    return policy.remaining_seconds() / policy.workers


def news(policy: Policy) -> list[str]:
    """Every verdict so far, one sentence each, in the order of the story; the display shows those it has not shown."""
    found = policy.findings
    lines = []
    if found.reference is not None:
        reached = sum(map(cleared, found.reference.rows))
        epochs = found.reference.epochs
        median = f"median {epochs:g} epochs" if epochs is not None else "censored"
        lines.append(f"scratch confirmed: {reached} of {len(found.reference.rows)} seeds reach the goal, {median}")
    withdrawn = {c.candidate.key for c in found.confirmations if found.pays is None or c is not found.pays}
    for rung in policy.ladder.rungs.values():
        label = rung.architecture.label
        for attempt in rung.attempts:
            config = ", ".join(f"{name} {value:.3g}" for name, value in attempt.candidate.hyperparameters.items())
            verdict = "probed, pays" if attempt.candidate.key in withdrawn else attempt.verdict
            snapshot = "" if attempt.candidate.snapshot == "goal" else f", {attempt.candidate.snapshot} snapshot"
            lines.append(f"{label} ({config}{snapshot}): {verdict}")
    for confirmation in found.confirmations:
        reached = sum(row is not None and cleared(row) for row in confirmation.rows)
        label = confirmation.candidate.architecture.label
        verdict = "confirmed" if confirmation is found.pays else "withdrawn, for its report seeds or for its cost"
        of = len(confirmation.rows)
        lines.append(f"{label} {verdict}: the target reaches its goal on {reached} of {of} fresh pipelines")
    if found.clears is not None:
        k = sum(map(cleared, found.clears_rows))
        lines.append(f"smallest that clears: {found.clears.architecture.label} ({k} of {len(found.clears_rows)} seeds)")
    return lines


def forecast(spec: Spec, weak: Sequence[Architecture], target: Architecture, workers: int) -> list[str]:
    """What a run would do and cost at most, stage by stage; nothing is run.

    Seconds are guesses from FLOPs, and every search may end long before its budget.
    """
    policy = Policy(spec, weak, target, workers)
    order = ranked(weak, spec.weak.cost)
    first, last = order[0], order[-1]
    configs = policy.ladder.total
    seconds = {a.label: policy.estimate_epochs_seconds(a, spec.weak.budget.max_epochs) for a in order}
    target_seconds = policy.estimate_epochs_seconds(target, spec.target.budget.max_epochs)
    per_method = budget(spec.method_space("scratch"), spec.target.search, policy.target.configs())
    finals = spec.target.gate.configs * spec.target.gate.seeds
    methods = len(spec.target.methods)
    members = Counter(
        {
            "weak search": configs * len(order),
            "target search": methods * (per_method + finals),
            "report": methods * spec.report.seeds + spec.report.seeds,
        }
    )
    if spec.tradeoff is not None:
        members["trade-off"] = spec.tradeoff.seeds * (1 + len(spec.tradeoff.weak_accuracy))
    weak_cost = sum(configs * seconds[a.label] for a in order)
    target_cost = (sum(members.values()) - members["weak search"]) * target_seconds
    lines = [
        f"{spec.name}: {spec.task.title}, {spec.task.n_examples} examples, "
        f"{'/'.join(map(str, spec.task.part_sizes))} for training, validation and test; chance {spec.task.chance:.3g}",
        f"weak: {len(order)} architectures by {spec.weak.cost}, from {first.label} ({first.params} parameters) to "
        f"{last.label} ({last.params}); {configs} configs each, {spec.weak.gate.seeds} gate seeds for each that "
        f"clears {spec.weak.goal.val_accuracy:g}; "
        + (
            f"the target judges up to {spec.weak.judge.candidates_per_architecture} candidates of each"
            if spec.weak.judge.by == "target"
            else "no judge"
        ),
        f"target: {target.label} ({target.params} parameters); {', '.join(spec.target.methods)}; "
        f"{per_method} configs each, {spec.report.seeds} fresh pipelines for what is claimed",
        "members at most, gates and probes apart: " + ", ".join(f"{n} {name}" for name, n in members.items()),
        f"worker-seconds at most, by a guess from FLOPs: {weak_cost:,.0f} on the ladder if it is climbed to the top, "
        f"{target_cost:,.0f} on the target if nothing ends early; on {workers} workers about "
        f"{(weak_cost + target_cost) / workers / 60:,.0f} minutes, gates, probes and withdrawn winners apart",
    ]
    return lines
