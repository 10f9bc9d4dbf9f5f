"""What the report says in words, from a run's summary: the answer, the certificate, the surroundings.

Every text is plain; the template escapes it. Nothing is computed here that the summary does not hold.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gtsearch.analysis import stats, style
from gtsearch.results import TOTAL, Results

_AT_95 = "95\N{NO-BREAK SPACE}%"
_MOST = 5  # undecided architectures named on the first screen

Json = Mapping[str, Any]


def about(results: Results) -> str:
    """The line under the title: the task, its chance, the goals, where and how long it ran."""
    summary = results.summary
    parts = [summary["title"], f"chance {style.share(summary['chance'])}"]
    if summary["threshold"] is not None:
        parts.append(f"weak model to {summary['threshold']:.4g}")
    return " · ".join([*parts, f"target to {summary['target_goal']:.4g}", machine(results)])


def machine(results: Results) -> str:
    """Workers, device and how long it took."""
    environment = results.environment
    workers, device = environment["workers"], environment["device"]
    wall = results.ledger.loc[results.ledger["purpose"] == TOTAL, "wall_seconds"].iloc[0]
    parts = [
        f"{workers} worker{'' if workers == 1 else 's'}",
        device if device == "cpu" else str(environment["device_names"][0]),
        style.duration(float(wall)),
    ]
    return " · ".join(parts)


def unfinished(summary: Json) -> str | None:
    """What a reader must know of a search that did not come to its end; None of one that did."""
    if summary.get("error"):
        return f"The search stopped on a mistake of its own; this is what was found until then. {summary['error']}"
    return None if summary.get("complete", True) else "The search is not complete; this is what was found so far."


def answer(summary: Json) -> dict[str, str]:
    """The answer in one line (`model`, empty where there is none) and the evidence in another.

    What is asked decides: the cheapest weak model; without a weak stage, the fastest method.
    """
    if summary["weak"] is None:
        return _fastest(summary["methods"])
    pays, clears = summary["weak"]["pays"], summary["weak"]["clears"]
    screened = summary["threshold"] is not None
    if pays is not None:
        k, n = pays["transferred"], pays["pipelines"]
        seeds = f"; {style.k_of_n(pays['cleared'], pays['seeds'])} weak seeds clear." if screened else "."
        return {
            "model": pays["architecture"],
            "verdict": "is the cheapest weak model seen to pay",
            "evidence": f"{style.count(pays['params'])} parameters. Its embedding takes the target to its goal on "
            f"{style.k_of_n(k, n)} fresh pipelines ({_AT_95}: {style.rate_interval(pays['pipelines_interval'])})"
            f"{seeds}{_saving(pays)}",
        }
    if not screened and summary["judge"] == "none" and clears is not None:
        return _unjudged(summary)
    if not screened and summary["judge"] == "none":
        return {
            "model": "",
            "verdict": "No weak model was trained to its end",
            "evidence": "Nothing was asked to judge, neither an accuracy nor the target; the table below says how far "
            "each came.",
        }
    if not screened:
        return {
            "model": "",
            "verdict": "No weak model was seen to pay",
            "evidence": "The target alone judges, and no embedding that was tried took it to its goal for less than "
            "training from scratch; the table below says how far each came.",
        }
    if clears is not None:
        judged = summary["judge"] == "target"
        return {
            "model": clears["architecture"],
            "verdict": "is the cheapest weak model that clears" + ("; none was seen to pay" if judged else ""),
            "evidence": f"{style.count(clears['params'])} parameters, "
            f"{style.k_of_n(clears['cleared'], clears['seeds'])} fresh seeds clear "
            f"({_AT_95}: {style.rate_interval(clears['interval'])}). "
            + (
                "No embedding that was tried took the target to its goal for less than training from scratch."
                if judged
                else "The target was not asked to judge."
            ),
        }
    return {
        "model": "",
        "verdict": "No weak model was seen to clear",
        "evidence": "No config of any architecture that was tried passed the gate; the table below says how far each "
        "came. A larger architecture, more configs or a lower threshold may.",
    }


def _unjudged(summary: Json) -> dict[str, str]:
    """The answer where nothing was asked of the weak model, neither an accuracy nor what it does for the target."""
    clears = summary["weak"]["clears"]
    carried = _carried(summary["methods"])
    return {
        "model": clears["architecture"],
        "verdict": f"was {trained(summary['weak'], clears)}",
        "evidence": f"{style.count(clears['params'])} parameters. Neither an accuracy nor the target judged it."
        + (f" Its embedding takes the target to its goal on {carried}." if carried else ""),
    }


def trained(weak: Json, clears: Json) -> str:
    """How long a weak model of which no accuracy was asked trained: `trained 100 epochs without a threshold`."""
    each = next((r["flops_per_epoch"] for r in weak["ladder"] if r["architecture"] == clears["architecture"]), None)
    spent = clears["train_flops"]
    if spent is None or not each:
        return "trained without a threshold"
    epochs = round(spent / each)
    return f"trained {style.count(epochs)} epoch{'' if epochs == 1 else 's'} without a threshold"


def _carried(methods: Json) -> str:
    """On how many pipelines transfer takes the target to its goal; empty where it is not among the methods."""
    record = methods.get("transfer")
    if record is None:
        return ""
    reach = style.k_of_n(record["reached"], record["seeds"])
    return f"{reach} fresh pipelines ({_AT_95}: {style.rate_interval(record['interval'])})"


def _fastest(methods: Json) -> dict[str, str]:
    """The answer of an experiment that compares methods alone."""
    order = stats.by_speed(methods)
    if not order:
        return {
            "model": "",
            "verdict": "No method was seen to take half of its seeds to the goal",
            "evidence": "The table below says how far each came. More epochs or more configs may.",
        }
    first, record = order[0], methods[order[0]]
    reach = style.k_of_n(record["reached"], record["seeds"])
    evidence = (
        f"{took(record, 'flops')} and {took(record, 'epochs')} epochs to the goal; {reach} fresh seeds get there "
        f"({_AT_95}: {style.rate_interval(record['interval'])})."
    )
    if len(order) == 1:
        others = " No other method takes half of its seeds there." if len(methods) > 1 else ""
        return {"model": first, "verdict": "is the fastest to the goal", "evidence": evidence + others}
    second_name, second = order[1], methods[order[1]]
    ratio = second["flops_to_goal"]["median"] / record["flops_to_goal"]["median"]
    if ratio < stats.LEVEL:
        return {
            "model": first,
            "verdict": f"and {second_name} are level",
            "evidence": f"{evidence} {second_name} takes {took(second, 'flops')}.",
        }
    evidence += f" The next, {second_name}, takes {style.number(ratio)} times as much: {took(second, 'flops')}."
    apart = stats.told_apart(record, second)
    return {
        "model": first,
        "verdict": "is the fastest to the goal"
        if apart
        else f"has the least median, and is not told from {second_name}",
        "evidence": evidence if apart else f"{evidence} Their intervals ({_AT_95}) meet.",
    }


def _saving(pays: Json) -> str:
    saving = pays.get("saving")
    return "" if saving is None else f" All in all {style.percent(saving)} less than scratch, the weak model included."


def facts(results: Results) -> list[tuple[str, str]]:
    """The other lines a person reads first: a name and a sentence each."""
    summary = results.summary
    told = [_smallest_that_clears(summary)]
    for method, record in summary["methods"].items():
        never = "half or more never get there" if record["reached"] else "never seen to get there"
        if record.get("cap_epochs"):
            never += f" in {record['cap_epochs']} epochs"
        text = took(record, "seconds") if record["seconds_to_goal"]["median"] is not None else never
        told.append((method, f"{text} · {style.k_of_n(record['reached'], record['seeds'])}"))
    told.append(threshold(summary))
    return [(name, text) for name, text in told if text]


def took(record: Json, unit: str) -> str:
    """A method's median to the goal with its interval."""
    time = record[f"{unit}_to_goal"]
    return style.spread(time["median"], time["interval"], unit)


def _smallest_that_clears(summary: Json) -> tuple[str, str]:
    if summary["weak"] is None or summary["threshold"] is None:
        return "only clears", ""
    clears, pays = summary["weak"]["clears"], summary["weak"]["pays"]
    if clears is None or pays is None:
        return "only clears", ""
    if clears["architecture"] == pays["architecture"]:
        return "only clears", "nothing smaller: the smallest that clears is the one that pays"
    rung = next((r for r in summary["weak"]["ladder"] if r["architecture"] == clears["architecture"]), None)
    return (
        "only clears",
        f"{clears['architecture']}, {style.count(clears['params'])} parameters, "
        f"{style.k_of_n(clears['cleared'], clears['seeds'])} fresh seeds" + (f": {rung['detail']}" if rung else ""),
    )


def threshold(summary: Json) -> tuple[str, str]:
    """From which weak accuracy on a transfer pays; an empty text where no trade-off was measured."""
    study = summary["tradeoff"]
    if study is None:
        return "pays from", ""
    paying_from, least = study["threshold"], study["least_total"]
    at_least = "" if least is None else f"; the total is least at {least:g}"
    if paying_from is None:
        paying = [f"{entry['level']:g}" for entry in study["levels"] if entry.get("pays")]
        where = f"; of the levels tried, {', '.join(paying)} pay, but not all above" if paying else ""
        return "pays from", f"no threshold{where}{at_least}"
    return "pays from", f"weak accuracy {style.accuracy(paying_from)} on{_threshold_interval(study)}{at_least}"


def _threshold_interval(study: Json) -> str:
    if study["interval"] is None:
        return ""
    low, high = study["interval"]
    return f" ({_AT_95}: {style.accuracy(low)} to {'no threshold' if high is None else style.accuracy(high)})"


def speedups(summary: Json) -> list[tuple[str, str, str]]:
    """Value, name and remark of each speed-up."""
    names = {"target": "target alone", "with_weak": "with the weak model", "with_search": "with every search"}
    told = []
    for key, name in names.items():
        speedup = summary["speedup"][key]
        value = speedup["value"]
        bound = "at least " if speedup["lower_bound"] and value is not None else ""
        text = style.UNKNOWN if value is None else f"{bound}{style.number(value)}\N{NO-BREAK SPACE}×"
        told.append((text, name, "dearer than scratch" if value is not None and value < 1 else ""))
    return told


def bracket(summary: Json) -> list[dict[str, Any]]:
    """The certificate: largest excluded < undecided < smallest certified, each with its evidence.

    Empty where the experiment has no weak stage.
    """
    weak = summary["weak"]
    if weak is None:
        return []
    winner, undecided = weak["pays"] or weak["clears"], weak["undecided"]
    place = {rung["architecture"]: i for i, rung in enumerate(weak["ladder"])}
    first_open = min((place[entry["architecture"]] for entry in undecided), default=len(place))
    below = [entry for entry in weak["excluded"] if place[entry["architecture"]] < first_open]
    between = len(weak["excluded"]) - len(below)
    asked_for = summary["threshold"] is not None or summary["judge"] != "none"
    minimal = asked_for and bool(winner) and not undecided and winner.get("minimal", True)
    return [
        {
            "kind": "excluded",
            "model": named(below[-1]) if below else "nothing",
            "details": [below[-1]["verdict"]] if below else [],
            "more": f"and all {len(below) - 1} smaller" if len(below) > 1 else "",
        },
        {
            "kind": "undecided",
            "model": "" if undecided else "nothing",
            "details": [f"{named(entry)}: {entry['verdict']}" for entry in undecided[:_MOST]]
            or (["what is certified is minimal among what was tried"] if minimal else []),
            "more": "; ".join(
                part
                for part in (
                    f"and {len(undecided) - _MOST} more, in the table" if len(undecided) > _MOST else "",
                    f"{between} more among these sizes are excluded" if between else "",
                )
                if part
            ),
        },
        {
            "kind": "certified",
            "model": named(winner) if winner else "nothing",
            "details": [_certified(summary)],
            "more": f"{weak['withdrawn']} before it failed on fresh seeds, and withdrawn" if weak["withdrawn"] else "",
        },
    ]


def _certified(summary: Json) -> str:
    pays, clears = summary["weak"]["pays"], summary["weak"]["clears"]
    if pays:
        return f"pays on {style.k_of_n(pays['transferred'], pays['pipelines'])} fresh pipelines"
    if clears is None:
        return "no architecture passed"
    if summary["threshold"] is not None:
        return f"clears on {style.k_of_n(clears['cleared'], clears['seeds'])} fresh seeds"
    if summary["judge"] == "none":
        carried = _carried(summary["methods"])
        takes = f"; takes the target to its goal on {carried}" if carried else ""
        return f"{trained(summary['weak'], clears)}; nothing judged it{takes}"
    return "trains to its end; no accuracy was asked for, and none was seen to pay"


def named(entry: Json) -> str:
    """An architecture with its size."""
    return f"{entry['architecture']} ({style.count(entry['params'])} parameters)"


# -- how to run it again ----------------------------------------------------------------------------------


def command(results: Results) -> str:
    """The command that started the run, without the folder the program lies in; empty where it is not known."""
    words = [str(word) for word in results.environment.get("command") or []]
    return shlex.join([Path(words[0]).name, *words[1:]]) if words else ""


def surroundings(results: Results) -> list[tuple[str, str]]:
    """environment.json as names and texts, nested names joined."""
    return [
        (name.replace("_", " "), _flat(value))
        for name, value in results.environment.items()
        if name not in ("schema", "command") and value not in (None, "", [], {})
    ]


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
