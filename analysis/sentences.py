"""What the report says in words, from a run's summary: the answer, the certificate, the surroundings.

Every text is plain; the template escapes it. Nothing is computed here that the summary does not hold.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from gtsearch.analysis import members, stats, style
from gtsearch.results import TOTAL, Results

_AT_95 = "95\N{NO-BREAK SPACE}%"
_MOST = 5  # undecided architectures named on the first screen

Json = Mapping[str, Any]


def about(results: Results) -> str:
    """The line under the title: the task, its chance, the goals, where and how long it ran."""
    summary = results.summary
    parts = [summary["title"], f"chance {style.share(summary['chance'])}"]
    if summary["threshold"] is not None:
        above = f"above chance ({style.share(summary['threshold'])})" if summary.get("above_chance") else None
        parts.append(f"weak model to {above or format(summary['threshold'], '.4g')}")
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
            "verdict": "is the weak model of the cheapest pipeline seen to pay, the target's cost counted"
            if summary["cost"].startswith("total_")
            else "is the cheapest weak model seen to pay",
            "evidence": f"{style.count(pays['params'])} parameters. Its embedding takes the target to its goal on "
            f"{style.k_of_n(k, n)} fresh pipelines ({_AT_95}: {style.rate_interval(pays['pipelines_interval'])})"
            f"{seeds}{_saving(pays, summary['cost'])}",
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
    least, next_least = record["flops_to_goal"]["median"], second["flops_to_goal"]["median"]
    if next_least < stats.LEVEL * least or not next_least:  # at the goal before they train, both cost nothing
        return {
            "model": first,
            "verdict": f"and {second_name} are level",
            "evidence": f"{evidence} {second_name} takes {took(second, 'flops')}.",
        }
    times = f"{style.number(next_least / least)} times as much: " if least else ""
    evidence += f" The next, {second_name}, takes {times}{took(second, 'flops')}."
    apart = stats.told_apart(record, second)
    return {
        "model": first,
        "verdict": "is the fastest to the goal"
        if apart
        else f"has the least median, and is not told from {second_name}",
        "evidence": evidence if apart else f"{evidence} Their intervals ({_AT_95}) meet.",
    }


def _saving(pays: Json, cost: str) -> str:
    saving, unit = pays.get("saving"), "seconds" if "seconds" in cost else "FLOPs"
    if saving is None:
        return ""
    return f" All in all {style.percent(saving)} fewer {unit} than scratch, the weak model's included."


def facts(results: Results) -> list[tuple[str, str]]:
    """The other lines a person reads first: a name and a sentence each."""
    summary = results.summary
    told = [threshold(summary), _smallest_that_clears(summary)]
    missed = {name: f"; censored: {text}" for name, text in censored(results).items()}
    for method, record in summary["methods"].items():
        never = "half or more never get there" if record["reached"] else "never seen to get there"
        if record.get("cap_epochs"):
            never += f" in {record['cap_epochs']} epochs"
        text = took(record, "seconds") if record["seconds_to_goal"]["median"] is not None else never
        known = missed.pop(method, "")
        told.append((method, f"{text} · {style.k_of_n(record['reached'], record['seeds'])}" + known))
    told += [(name, text.removeprefix("; ")) for name, text in missed.items()]
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
        nothing = "smaller" if summary["cost"] == "params" else "cheaper"
        return "only clears", f"nothing {nothing}: the {least(summary['cost'])} that clears is the one that pays"
    rung = next((r for r in summary["weak"]["ladder"] if r["architecture"] == clears["architecture"]), None)
    return (
        "only clears",
        f"{clears['architecture']}, {style.count(clears['params'])} parameters, "
        f"{style.k_of_n(clears['cleared'], clears['seeds'])} fresh seeds" + (f": {rung['detail']}" if rung else ""),
    )


def least(cost: str) -> str:
    """What a weak model that clears is called when no other that does costs less; `cost`: the experiment's."""
    return "smallest" if cost == "params" else "cheapest"


def threshold(summary: Json) -> tuple[str, str]:
    """From which weak accuracy on a transfer pays; an empty text where no trade-off was measured."""
    study = summary["tradeoff"]
    if study is None:
        return "pays from", ""
    paying_from, least = study["threshold"], study["least_total"]
    at_least = "" if least is None else f"; the total is least at {least:g}"
    if paying_from is None:
        paying = [f"{entry['level']:g}" for entry in snapshots(study) if entry["pays"]]
        where = f"; of the levels tried, {', '.join(paying)} pay, but not all above" if paying else ""
        return "pays from", f"no threshold, in FLOPs{where}{at_least}{_crossing(study)}{_screening(study)}"
    tried = "at most " if least_tried(study) else ""
    paying_text = f"weak accuracy {tried}{style.accuracy(paying_from)} on, in FLOPs{_threshold_interval(study)}"
    return "pays from", f"{paying_text}{at_least}{_screening(study)}"


def _crossing(study: Json) -> str:
    """From where on the point estimates alone are below scratch's; empty where they never are."""
    if study["crossing"] is None:
        return ""
    return f"; by point estimates alone from {style.accuracy(study['crossing'])} on"


def least_tried(study: Json) -> bool:
    """Whether the threshold is the lowest accuracy that was measured: then it may lie anywhere below."""
    measured = [entry["weak_accuracy"] for entry in snapshots(study) if entry["weak_accuracy"] is not None]
    return study["threshold"] is not None and study["threshold"] <= min(measured)


def _screening(study: Json) -> str:
    """Whether the weak models that come to the threshold carry the target before they come there."""
    seen = study["screening"]
    if seen is None:
        return ""
    came = style.k_of_n(seen["came"], seen["weak_runs"])
    already = style.k_of_n(seen["lowest_reached"], seen["lowest_pipelines"])
    return f"; {came} weak models come to {style.accuracy(seen['accuracy'])}, and the same ones, stopped at " + (
        f"{style.accuracy(seen['lowest'])}, carry the target in {already} pipelines"
    )


def snapshots(study: Json) -> list[Json]:
    """The levels of a trade-off study along the training of one config: those that a threshold is read from."""
    return [entry for entry in study["levels"] if entry["design"] == "snapshots"]


def _threshold_interval(study: Json) -> str:
    """Where cost and scratch's meet, as far as that was measured."""
    low, high = study["interval"]
    if low is None and high is None:
        return ""
    ends = ["below all that was measured" if low is None else style.accuracy(low)]
    ends += ["above all that was measured" if high is None else style.accuracy(high)]
    return f" (cost and scratch's meet, {_AT_95}: {' to '.join(ends)})"


COUNTED = {"target": "target alone", "with_weak": "with the weak model", "with_search": "with every search"}
"""A key of the summary's `speedup` -> what the cost holds, in words."""


@dataclass(frozen=True)
class Speedup:
    """How many times cheaper than scratch the target is, by what is counted.

    Attributes:
        counted: what the cost holds, of COUNTED.
        text: the ratio in FLOPs; one over a censored scratch is a lower bound and says `>=`.
        value: the same as a number; None where it is not known.
        interval: of it, at 95 %: `3.17 to 5.7`; empty where it is not known.
        others: the ratios in epochs and seconds where they are known, each with its interval and its unit; one that
            is less than 1 says so.
        dearer: whether it is less than 1.
    """

    counted: str
    text: str
    value: float | None
    interval: str
    others: tuple[str, ...]
    dearer: bool


def speedups(summary: Json) -> list[Speedup]:
    """Each speed-up; none where the target's own is not known in any unit."""
    by_unit: dict[str, Json] = {"flops": summary["speedup"], **(summary.get("speedup_units") or {})}
    if all(of["target"]["value"] is None for of in by_unit.values()):
        return []
    told = []
    for key, name in COUNTED.items():
        flops = by_unit["flops"][key]
        known = [(unit, by_unit[unit][key]) for unit in ("epochs", "seconds") if key in by_unit.get(unit, {})]
        others = tuple(_other(unit, ratio) for unit, ratio in known if ratio["value"] is not None)
        interval = " to ".join(_bounds(flops))
        told.append(Speedup(name, _times(flops), flops["value"], interval, others, _is_dearer(flops)))
    return told


def _other(unit: str, ratio: Json) -> str:
    """A ratio in epochs or seconds: `0.42 × [0.18, 1.17], dearer in seconds`, and below 1 in epochs `more`: those of
    two models are no price."""
    bounds = _bounds(ratio)
    interval = f" [{', '.join(bounds)}]" if bounds else ""
    below_one = {"seconds": ", dearer", "epochs": ", more"}[unit] if _is_dearer(ratio) else ""
    return f"{_times(ratio)}{interval}{below_one} in {unit}"


def _bounds(ratio: Json) -> list[str]:
    """Both ends of a ratio's interval; nothing where neither is known, as in summaries of earlier versions. Where half
    of the transfers may never get there, it may be nought times cheaper; where half of scratch's may not, any times."""
    low, high = ratio.get("interval") or (None, None)
    if low is None and high is None:
        return []
    return ["0" if low is None else style.number(low), "beyond" if high is None else style.number(high)]


def _is_dearer(ratio: Json) -> bool:
    """Whether transfer costs more; a lower bound below 1 does not say so."""
    return ratio["value"] is not None and ratio["value"] < 1 and not ratio["lower_bound"]


def _times(ratio: Json) -> str:
    if ratio["value"] is None:
        return style.UNKNOWN
    bound = ">=\N{NO-BREAK SPACE}" if ratio["lower_bound"] else ""
    return f"{bound}{style.number(ratio['value'])}\N{NO-BREAK SPACE}×"


@dataclass(frozen=True)
class Confidence:
    """On how many fresh seeds the answer was seen: k of n, Wilson's interval, and what was counted."""

    k: int
    n: int
    interval: tuple[float, float]
    counted: str


def confidence(summary: Json) -> Confidence | None:
    """Of the weak model that pays, else of the one that clears; without a weak stage of the fastest method."""
    if summary["weak"] is None:
        order = stats.by_speed(summary["methods"])
        return _seen(summary["methods"][order[0]], "reached", "fresh seeds reach the goal") if order else None
    pays, clears = summary["weak"]["pays"], summary["weak"]["clears"]
    if pays:
        low, high = pays["pipelines_interval"]
        told = "fresh pipelines take the target to its goal"
        return Confidence(pays["transferred"], pays["pipelines"], (low, high), told)
    verb = "clear" if summary["threshold"] is not None else "train to their end"
    return _seen(clears, "cleared", f"fresh seeds {verb}") if clears else None


def _seen(record: Json, k: str, counted: str) -> Confidence:
    low, high = record["interval"]
    return Confidence(record[k], record["seeds"], (low, high), counted)


@dataclass(frozen=True)
class Tile:
    """One number of the first screen, what it is, and what more there is to say of it."""

    value: str
    words: str
    more: str = ""


def headline(summary: Json) -> list[Tile]:
    """The numbers of the first screen: at what confidence, from which weak accuracy on, how many times cheaper."""
    tiles = []
    if (seen := confidence(summary)) is not None:
        interval = f"{_AT_95}: {style.rate_interval(seen.interval)}"
        tiles.append(Tile(style.k_of_n(seen.k, seen.n), seen.counted, interval))
    if (study := summary["tradeoff"]) is not None:
        tiles.append(_threshold_tile(study))
    for i, one in enumerate(speedups(summary)):
        words = ("cheaper than scratch in FLOPs, " if i == 0 else "") + one.counted
        more = "; ".join([*([f"{_AT_95}: {one.interval}"] if one.interval else []), *one.others])
        tiles.append(Tile(one.text, words + (": dearer than scratch" if one.dearer else ""), more))
    return tiles


def _threshold_tile(study: Json) -> Tile:
    paying_from = study["threshold"]
    if paying_from is None:
        counted = "no weak accuracy that was tried surely pays, in FLOPs, together with all above it"
        return Tile("no threshold", counted, _crossing(study).removeprefix("; "))
    low, high = study["interval"]
    known = "" if low is None or high is None else f"{_AT_95}: {style.accuracy(low)} to {style.accuracy(high)}"
    text = f"<=\N{NO-BREAK SPACE}{style.accuracy(paying_from)}" if least_tried(study) else style.accuracy(paying_from)
    counted = "weak accuracy, from which on the transfer pays in FLOPs"
    return Tile(text, counted + (": the least that was tried" if least_tried(study) else ""), known)


def censored(results: Results) -> dict[str, str]:
    """How many were not seen to get there, and when they were given up, in words: of the report seeds of each method
    that has such seeds, and of all targets of the trade-off."""
    summary, trials = results.summary, members.rows_of(results.trials)
    report = members.of_report(trials, summary["methods"])
    told = {}
    for method, record in summary["methods"].items():
        missing = record["seeds"] - record["reached"]
        own = report[(report["method"] == method) & (report["status"] != "cleared")]
        if missing:
            never_started = missing - len(own)
            ends = _ends(own) + ([f"{never_started} without an embedding to start from"] if never_started > 0 else [])
            told[method] = ", ".join(ends)
    study = trials[(trials["role"] == "tradeoff") & (trials["stage"] == "target") & (trials["status"] != "cancelled")]
    missed = study[study["status"] != "cleared"]
    if len(missed):
        how = _ends(missed, {"capped": "{n} at scratch's horizon, {epochs} epochs: misses, tried again"})
        told["trade-off"] = f"{style.k_of_n(len(missed), len(study))} pipelines, {', '.join(how)}"
    return told


_ENDED = {
    "exhausted": "{n} after {epochs} epochs, the whole budget",
    "capped": "{n} ended after {epochs} epochs, where going on could not matter",
    "diverged": "{n} diverged",
    "failed": "{n} crashed or were lost",
    "unreached": "{n} never started, as the weak model did not come to the accuracy",
}


def _ends(rows: pd.DataFrame, other: Mapping[str, str] | None = None) -> list[str]:
    """How members that did not get there ended: `3 after 400 epochs, the whole budget`. `other`: words for an end."""
    timed = rows["status"].isin(["exhausted", "capped"])
    ends = rows.assign(after=rows["epochs"].where(timed)).groupby(["status", "after"], dropna=False)
    told = []
    for end in stats.records(ends.size().reset_index(name="n")):
        text = {**_ENDED, **(other or {})}.get(end["status"], "{n} " + str(end["status"]))
        told.append(text.format(n=end["n"], epochs=style.count(end["after"])))
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
            "architectures": [below[-1]["architecture"]] if below else [],
            "model": named(below[-1]) if below else "nothing",
            "details": [below[-1]["verdict"]] if below else [],
            "more": f"and all {len(below) - 1} smaller" if len(below) > 1 else "",
        },
        {
            "kind": "undecided",
            "architectures": [entry["architecture"] for entry in undecided[:_MOST]],
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
            "architectures": [winner["architecture"]] if winner else [],
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


def evidence(summary: Json) -> list[tuple[str, str]]:
    """What the certificate rests on, a name and a text each; empty where nothing is certified."""
    weak = summary["weak"]
    winner = weak and (weak["pays"] or weak["clears"])
    if not winner:
        return []
    seeds = f"{style.k_of_n(winner['cleared'], winner['seeds'])} ({_AT_95}: {style.rate_interval(winner['interval'])})"
    told = [
        ("weak model", named(winner)),
        ("its settings", settings(winner["config"])),
        ("fresh weak seeds", f"{seeds} {'clear' if summary['threshold'] is not None else 'train to their end'}"),
        ("a weak run", _costs(winner)),
        ("with its misses", _flops(winner.get("cost_with_restarts_flops"))),
        ("embedding of", winner.get("handed_run_id") or winner["run_id"]),
    ]
    if weak["pays"]:
        rate = style.rate_interval(winner["pipelines_interval"])
        k_of_n = style.k_of_n(winner["transferred"], winner["pipelines"])
        told += [
            ("fresh pipelines", f"{k_of_n} reach the target's goal ({_AT_95}: {rate})"),
            ("the target's settings", settings(winner.get("transfer_config"))),
            ("weak and target", _flops(winner.get("total_flops"))),
            ("spread of epochs", _variance(winner.get("variance") or {})),
        ]
    told.append(("withdrawn before it", style.count(weak["withdrawn"])))
    return [(name, text) for name, text in told if text]


def _costs(winner: Json) -> str:
    costs = [style.flops(winner["train_flops"]), style.seconds(winner["train_seconds"])]
    known = [cost for cost in costs if cost != style.UNKNOWN]
    return f"{', '.join(known)} (median)" if known else ""


def _flops(value: float | None) -> str:
    return "" if value is None else style.flops(value)


def _variance(variance: Json) -> str:
    """Standard deviations of the epochs to the goal."""
    parts = {"between weak seeds": "weak_epochs_to_goal_sd", "between pipelines": "pipeline_epochs_to_goal_sd"}
    known = [f"{style.number(variance[key])} {name}" for name, key in parts.items() if variance.get(key) is not None]
    return f"{', '.join(known)} (standard deviation)" if known else ""


def settings(config: Json | None) -> str:
    """Hyperparameters in a line: `lr 0.005, weight_decay 3`."""
    return "" if not config else ", ".join(f"{name} {style.number(value)}" for name, value in config.items())


def named(entry: Json) -> str:
    """An architecture with its size."""
    return f"{entry['architecture']} ({style.count(entry['params'])} parameters)"


# -- how to cite it -----------------------------------------------------------------------------------------

_PAPER = """\
@inproceedings{xu2025groktransfer,
  title     = {Let Me Grok for You: Accelerating Grokking via Embedding Transfer from a Weaker Model},
  author    = {Xu, Zhiwei and Ni, Zhiyu and Wang, Yixin and Hu, Wei},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  eprint    = {2504.13292},
  archivePrefix = {arXiv}
}"""


def citation() -> str:
    """BibTeX of gtsearch, as in CITATION.cff, and of the paper whose method it searches with."""
    return f"""\
@software{{gtsearch,
  title     = {{gtsearch: the cheapest weak model whose embedding makes a larger model grok sooner}},
  author    = {{{{The gtsearch developers}}}},
  version   = {{{version("gtsearch")}}},
  year      = {{2026}},
  license   = {{MIT}}
}}

{_PAPER}"""


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
