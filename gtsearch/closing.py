"""What a person reads at the end of a run: a dozen lines made from the summary, and what to type next.

Entries: `closing_lines`, `next_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtsearch.analysis import payoff, sentences, stats
from gtsearch.progress import duration
from gtsearch.reach import lower_goal, share, short_of
from gtsearch.trust import printable

if TYPE_CHECKING:
    import pandas as pd

Json = Mapping[str, Any]

NAMED = 3
"""How many undecided architectures are named; the rest is counted."""
VARIED = 8
"""How many variations are told, the experiment itself among them; the rest is counted."""


def closing_lines(summary: Json, ledger: pd.DataFrame, environment: Json, report_path: Path) -> list[str]:
    """The run in plain lines without control codes, each with what it is about in front.

    Args:
        summary: summary.json.
        ledger: columns as in `results.LEDGER`.
        environment: environment.json.
        report_path: shown as it is.
    """
    blocks = {
        "weak": _weak(summary),
        "target": _target(summary),
        "varied": _variations(summary),
        "accuracy": _tradeoff(summary),
        "warning": iter(summary["warnings"]),
        "report": iter([str(report_path)]),
    }
    width = 2 + max(map(len, (summary["name"], *blocks)))
    lines = [f"{summary['name']:<{width}}{_experiment(summary, ledger, environment)}"]
    for word, block in blocks.items():
        for number, line in enumerate(block):
            lines.append(f"{'' if number and word != 'warning' else word:<{width}}{line}")
    return list(map(printable, lines))


def next_steps(summary: Json, folder: str) -> list[str]:
    """What to do after a run that came to its end, none after one that a mistake of the search ended.

    `folder`: of the run, as a shell takes it.
    """
    if summary["error"]:
        return []
    weak, scratch = summary["weak"], summary["methods"].get("scratch")
    answered = weak["pays"] if weak else any(record["reached"] for record in summary["methods"].values())
    steps = []
    if scratch is not None and not scratch["reached"] and not answered:
        steps.append(lower_goal(scratch.get("best_val_accuracy"), summary["target_goal"]))
    if weak is not None and not weak["pays"] and not weak["clears"]:
        steps.append(_easier(summary))
    if not steps and weak is not None:
        steps.append(f"gtsearch export {folder}   the embedding, for a model of your own")
    return [
        f"next: {step}" for step in steps or [f"gtsearch price {folder}   what an epoch takes on this device, alone"]
    ]


def _easier(summary: Json) -> str:
    """What to do where no weak model clears."""
    more = "more data (task.train_fraction), more epochs (weak.budget.max_epochs) or larger architectures (weak.model)"
    if summary["threshold"] is None:
        return f"give the weak models {more}"
    if summary.get("above_chance"):
        return f"give the weak models {more}; or ask no accuracy of them: weak.goal: none"
    best = _highest(summary["weak"]["ladder"])
    came = None if best is None else float(best["best_val_accuracy"])
    below = "" if came is None or came >= summary["threshold"] else f" to below {short_of(came, summary['threshold'])}"
    return f"lower weak.goal.val_accuracy{below} (--set), or give the weak models {more}"


def _experiment(summary: Json, ledger: pd.DataFrame, environment: Json) -> str:
    total = ledger[ledger["purpose"] == "total"]["wall_seconds"].iloc[0]
    workers = environment["workers"]
    title = f"{summary['title']}, {summary['train_words']}, chance {share(summary['chance'])}"
    device = environment["device"] if environment["device"] == "cpu" else environment["device_names"][0]
    return f"{title} · {workers} {_plural('worker', workers)} · {device} · {duration(total)}"


# -- the weak model -----------------------------------------------------------------------------------------


def _weak(summary: Json) -> Iterator[str]:
    weak = summary["weak"]
    if weak is None:
        return
    if summary["threshold"] is None:
        yield from _unscreened(summary)
    else:
        yield from _screened(weak, _asked(summary), summary["judge"] == "target", summary["cost"])
    if weak["withdrawn"]:
        yield f"withdrawn: {weak['withdrawn']} that had passed and then failed on fresh seeds"
    judged = summary["threshold"] is None
    bracket = " · ".join(filter(None, (_undecided(weak["undecided"], judged), _excluded(weak["excluded"], judged))))
    if bracket:
        yield bracket


def _asked(summary: Json) -> str:
    """The threshold as the user wrote it."""
    threshold = summary["threshold"]
    return f"above chance ({share(threshold)})" if summary.get("above_chance") else _threshold(threshold)


def _screened(weak: Json, threshold: str, judged: bool, cost: str) -> Iterator[str]:
    pays, clears = weak["pays"], weak["clears"]
    least = sentences.least(cost)
    if pays:
        yield f"{_model(pays)} · {_pays_on(pays)}, {pays['cleared']} of {pays['seeds']} weak seeds clear"
        if clears and clears["architecture"] != pays["architecture"]:
            why = _why_not(weak["ladder"], clears["architecture"])
            only = "" if why == _FOR_MORE else "only "
            yield (
                f"{least} that {only}clears {threshold}: {clears['architecture']} "
                f"({clears['cleared']} of {clears['seeds']} clear{why and f', {why}'})"
            )
    elif clears:
        yield (
            f"{_model(clears)} · {f'the {least} that clears' if judged else 'clears'} {threshold}: "
            f"{clears['cleared']} of {clears['seeds']} fresh seeds ({_interval(clears['interval'])})"
        )
        if judged:
            why = _why_not(weak["ladder"], clears["architecture"])
            yield f"nothing that clears pays for the target{why and f': {why}'}"
    else:
        yield f"nothing clears {threshold}: {_best_of(weak['ladder'])}"
        gated = [rung for rung in weak["ladder"] if rung["best_cleared"] is not None]
        if gated and not weak["withdrawn"]:
            best = max(gated, key=lambda rung: int(rung["best_cleared"]))
            seeds = f"{best['best_cleared']} of {best['gate_seeds']}"
            yield f"to clear on one seed is not enough: at the gate {best['architecture']} clears on {seeds} seeds"


def _unscreened(summary: Json) -> Iterator[str]:
    """No accuracy was asked of the weak model: every one that trains to its end counts as clear."""
    weak = summary["weak"]
    pays, clears = weak["pays"], weak["clears"]
    if pays:
        yield f"{_model(pays)} · {_pays_on(pays)}; no accuracy was asked of it"
    elif clears and summary["judge"] == "none":  # nobody judged: what was asked for is all there is to say
        reached = _carried(summary["methods"])
        takes = f"; its embedding takes the target to its goal on {reached}" if reached else ""
        yield f"{_model(clears)} · {sentences.trained(weak, clears)}{takes}"
    elif clears:
        why, least = _why_not(weak["ladder"], clears["architecture"]), sentences.least(summary["cost"])
        yield f"nothing that was tried pays for the target{why and f'; the {least}: {why}'}"
    else:
        yield f"nothing trained to its end: {_best_of(weak['ladder'])}"


def _carried(methods: Json) -> str:
    """On how many pipelines transfer takes the target to its goal; empty where it was not among the methods."""
    record = methods.get("transfer")
    return "" if record is None else f"{record['reached']} of {record['seeds']} fresh pipelines"


def _pays_on(pays: Json) -> str:
    return (
        f"pays on {pays['transferred']} of {pays['pipelines']} fresh pipelines "
        f"({_interval(pays['pipelines_interval'])})"
    )


def _model(winner: Json) -> str:
    return f"{winner['architecture']} · {winner['params']:,} parameters"


_FOR_MORE = "it pays, for more in total"


def _why_not(ladder: Sequence[Json], architecture: str) -> str:
    """What the target said of an architecture's candidates; empty where it was not asked."""
    candidates = [c for rung in ladder if rung["architecture"] == architecture for c in rung["candidates"]]
    verdicts = [str(c["verdict"]) for c in candidates]
    if "withdrawn by its report seeds" in verdicts:
        return "passed the judge and failed on fresh seeds"
    if "pays" in verdicts:  # where totals are compared, the first that pays ends nothing
        return _FOR_MORE
    if "reaches, does not pay" in verdicts:
        return "the target gains nothing over scratch"
    if not verdicts:
        return ""
    return f"the target is {verdicts[0]}" if verdicts[0].startswith("not seen") else verdicts[0]


def _best_of(ladder: Sequence[Json]) -> str:
    best = _highest(ladder)
    if best is None:
        return "no architecture was tried"
    tried = sum(rung["best_val_accuracy"] is not None for rung in ladder)
    return (
        f"{tried} {_plural('architecture', tried)} tried, the best accuracy is "
        f"{share(best['best_val_accuracy'])} of {best['architecture']}"
    )


def _highest(ladder: Sequence[Json]) -> Json | None:
    """The architecture that came to the highest accuracy."""
    tried = [rung for rung in ladder if rung["best_val_accuracy"] is not None]
    return max(tried, key=lambda rung: float(rung["best_val_accuracy"]), default=None)


def _undecided(entries: Sequence[Json], judged: bool) -> str:
    if not entries:
        return ""
    named = [f"{entry['architecture']} ({_gate(entry, judged)})" for entry in entries[:NAMED]]
    return f"undecided: {', '.join(named)}{_more(len(entries) - NAMED)}"


def _excluded(entries: Sequence[Json], judged: bool) -> str:
    if not entries:
        return ""
    largest = entries[-1]
    told = _gate(largest, judged)
    at_best = f"at best {told}" if largest["best_cleared"] is not None and not judged else told
    return (
        f"excluded: {largest['architecture']} ({largest['configs']} {_plural('config', largest['configs'])}, {at_best})"
        f"{_more(len(entries) - 1)}"
    )


def _gate(entry: Json, judged: bool) -> str:
    """How far an architecture got at the gate, or with what it never came there.

    `judged`: no accuracy was asked for, and the counts are what the judge saw: embeddings that carry the target.
    """
    if judged:
        if not entry["gate_seeds"]:
            return "the target was not asked"
        carry = "carries" if entry["gate_seeds"] == 1 else "carry"
        return f"{entry['best_cleared']} of {entry['gate_seeds']} {carry} the target"
    if entry["best_cleared"] is not None:
        return f"{entry['best_cleared']} of {entry['gate_seeds']}"
    return "none at the gate" if entry["best_val_accuracy"] is None else f"up to {share(entry['best_val_accuracy'])}"


def _more(count: int) -> str:
    return f", {count} more" if count > 0 else ""


# -- the target and the trade-off ---------------------------------------------------------------------------


def _target(summary: Json) -> Iterator[str]:
    methods = summary["methods"]
    if not methods:
        yield "not run: no weak model to start from" if summary["weak"] else "not run: the search ended before it"
    goal = summary["target_goal"]
    first = [name for name in ("transfer", "scratch") if name in methods]
    order = first + [name for name in methods if name not in first]
    reach = {name: f"{methods[name]['reached']} of {methods[name]['seeds']}" for name in order}
    for name in order:
        columns = (f"{name:<{max(map(len, order))}}", f"{reach[name]:<{max(map(len, reach.values()))}}")
        yield "  ".join((*columns, _time(methods[name], goal)))
    yield from _missing(summary)
    faster = _fastest(methods) if summary["weak"] is None else _speedup(summary["speedup"])
    if faster:
        yield faster


def _missing(summary: Json) -> Iterator[str]:
    """Why some methods have fewer seeds than others, or none."""
    methods = summary["methods"]
    transfer, scratch = methods.get("transfer"), methods.get("scratch")
    if transfer is not None and scratch is not None and transfer["seeds"] < scratch["seeds"]:
        missed, left = transfer["seeds"] - transfer["reached"], scratch["seeds"] - transfer["seeds"]
        yield (
            f"{transfer['seeds']} of {scratch['seeds']} pipelines ran: with {missed} of transfer "
            f"missed, the other {left} cannot make it pay (report.at_least)"
        )
    if transfer is not None and (empty := transfer["seeds"] - len(transfer["run_ids"])) > 0:
        yield f"{empty} of {transfer['seeds']} pipelines came to no embedding, and no target ran: counted as missed"
    if methods and (left_out := summary.get("not_run")):
        weak = summary["weak"]
        bare = weak is not None and not weak["pays"] and not weak["clears"]
        why = ", for want of a weak model that clears" if bare else ""
        yield f"not run{why}: {', '.join('the trade-off' if name == 'tradeoff' else name for name in left_out)}"


def _fastest(methods: Json) -> str:
    """Which method needs the fewest FLOPs, beside the next; empty where there is none to compare it with."""
    order = stats.by_speed(methods)
    if len(methods) < 2 or not order:
        return ""
    first = methods[order[0]]
    if len(order) == 1:
        return f"{order[0]} is the only one that takes half its seeds there"
    second = methods[order[1]]
    if first["flops_to_goal"]["median"] == 0:
        return f"{order[0]} is at its goal before it is trained: nothing can be faster"
    ratio = second["flops_to_goal"]["median"] / first["flops_to_goal"]["median"]
    if ratio < stats.LEVEL:
        return f"{order[0]} and {order[1]} are level, in FLOPs"
    if stats.told_apart(first, second):
        return f"{order[0]} is the fastest: {ratio:.1f} times faster than {order[1]}, in FLOPs"
    return f"{order[0]} has the least median, {ratio:.1f} times below {order[1]}, in FLOPs; their intervals meet"


def _variations(summary: Json) -> Iterator[str]:
    """What each variation's methods came to; beyond a few the rest is counted."""
    varied = {name: entry["summary"] for name, entry in (summary["variations"] or {}).items()}
    width = max(map(len, list(varied)[:VARIED]), default=0)
    for name, own in list(varied.items())[:VARIED]:
        told = [f"{method} {record['reached']} of {record['seeds']}" for method, record in own["methods"].items()]
        yield f"{name:<{width}}  {' · '.join(told) or 'not run'}"
    if len(varied) > VARIED:
        yield f"{len(varied) - VARIED} more in the report"


def _time(method: Json, accuracy: float) -> str:
    """`0.99 in 12.3 s [10.1, 14.2]`; `[from 10.1]` where the upper bound was not seen; else how near the best came."""
    goal = _threshold(accuracy)
    median, (low, high) = method["seconds_to_goal"]["median"], method["seconds_to_goal"]["interval"]
    if median is None:
        within = f" in {method['cap_epochs']} epochs" if method.get("cap_epochs") else ""
        if method["reached"]:
            return f"{goal} reached by half the seeds or fewer{within}"
        best = method.get("best_val_accuracy")
        held = "" if best is None or best < accuracy else " and not held"
        near = "" if best is None else f", up to {short_of(best, accuracy)}{held}"
        return f"{goal} not reached by any seed{within}{near}"
    unit, size = ("s", 1.0) if median < 120 else ("min", 60.0)
    digits = 1 if median < 100 * size else 0
    if 0 < median < 1:
        digits = 1 - math.floor(math.log10(median))  # two that count
    first, last = (None if bound is None else f"{bound / size:.{digits}f}" for bound in (low, high))
    return f"{goal} in {median / size:.{digits}f} {unit} [{_range(first, last, ', ')}]"


def _speedup(speedup: Json) -> str:
    if speedup["target"]["value"] == 0 and not speedup["target"]["lower_bound"]:
        return "scratch is at its goal before it is trained: nothing can be faster"
    ends = {"target": "scratch", "with_weak": "with the weak model", "with_search": "with every search"}
    # Of a scratch that gave out before its first epoch, "at least 0 times" says nothing.
    known = {end: speedup[key] for key, end in ends.items() if speedup[key]["value"]}
    compared = [_compared(end, ratio["value"], ratio["lower_bound"]) for end, ratio in known.items()]
    return f"transfer is {' · '.join(compared)}, in FLOPs" if compared else ""


def _compared(end: str, value: float, lower_bound: bool) -> str:
    """`3.0 times faster than scratch`, `as fast as scratch`; of the others the whole cost is compared."""
    level = not lower_bound and 1 / stats.LEVEL < value < stats.LEVEL
    if end == "scratch":
        return "as fast as scratch" if level else f"{_times(value, lower_bound)} than scratch"
    return f"{'as fast' if level else _times(value, lower_bound)} {end}"


def _times(value: float, lower_bound: bool) -> str:
    if value >= 1:
        return f"{'at least ' if lower_bound else ''}{value:.1f} times faster"
    return f"{'at most ' if lower_bound else ''}{1 / value:.1f} times slower"


def _tradeoff(summary: Json) -> Iterator[str]:
    tradeoff = summary["tradeoff"]
    if tradeoff is None:
        return
    if tradeoff["threshold"] is None:
        threshold = (
            "no threshold: at no weak accuracy that was tried is the expected cost surely below scratch's, in FLOPs"
        )
        if tradeoff["crossing"] is not None:
            threshold += f" (by point estimates alone from {share(tradeoff['crossing'])} on)"
    else:
        at_most = "at most " if sentences.least_tried(tradeoff) else ""
        accuracy = f"{at_most}{share(tradeoff['threshold'])}"
        threshold = f"costs less than scratch from weak accuracy {accuracy} on, in FLOPs{_jump(tradeoff)}"
        if tradeoff["scratch"]["censored"]:
            threshold += ", where scratch never reaches the goal"
    least = tradeoff["least_total"]
    yield threshold if least is None else f"{threshold}; least total at {share(least)}"
    if tradeoff["threshold"] is None and summary["weak"] and (pays := summary["weak"]["pays"]):
        replicates, fewest = tradeoff["replicates"], ""
        if replicates < payoff.FEWEST:
            fewest = f"; unless scratch misses, that takes {payoff.FEWEST} replicates or more (here {replicates})"
        yield (
            f"no contradiction to `pays`, which compares the medians of {pays['pipelines']} pipelines and of scratch: "
            f"a threshold asks the whole 95 % interval of the expected cost to lie below scratch's{fewest}"
        )


def _jump(tradeoff: Mapping[str, Any]) -> str:
    """Where cost and scratch's meet, as far as that is known."""
    low, high = tradeoff["interval"]
    if low is None or high is None:
        return ""
    return f" (95 %: cost and scratch's meet between {share(low)} and {share(high)})"


# -- numbers ------------------------------------------------------------------------------------------------


def _threshold(value: float) -> str:
    """As many digits as it was given, two at least: `0.40`, `0.995`."""
    return max(f"{value:.2f}", f"{value:g}", key=len)


def _interval(bounds: Sequence[float | None]) -> str:
    low, high = (None if bound is None else share(bound) for bound in bounds)
    return f"95 %: {_range(low, high, ' to ')}"


def _range(low: str | None, high: str | None, between: str) -> str:
    """Says so where an end was never seen."""
    if low is None:
        return "not known" if high is None else f"up to {high}"
    return f"from {low}" if high is None else f"{low}{between}{high}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
