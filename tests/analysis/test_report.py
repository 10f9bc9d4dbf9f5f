from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import tomllib
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml

from gtsearch import catalog
from gtsearch.analysis import devices, report, sentences, tables
from gtsearch.analysis.evidence import Evidence
from gtsearch.errors import ResultsError
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


class Text(HTMLParser):
    """What a reader sees of a page, the tags, and where it would fetch from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self._hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = tag in ("style", "script")
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "srcset")]

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.seen).split())


def read(path: Path) -> Text:
    return Text(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def page(usual: Results) -> Text:
    return read(report.write_report(usual))


def without_figures(*runs: Results) -> str:
    """The page with one small figure, for tests of what is around the figures: all of them take seconds."""
    return report._page(runs, [{"devices": devices.table(devices.gather(run))} for run in runs])


def altered(results: Results, **summary: Any) -> Results:
    return Results(**{**vars(results), "summary": copy.deepcopy(results.summary) | summary})


def test_figures_are_written_as_png_and_svg_and_no_hidden_figure_is_left(usual: Results) -> None:
    paths = report.write_figures(usual)
    assert {path.name for path in paths} == {f"{name}.{kind}" for name in catalog.FIGURES for kind in ("png", "svg")}
    assert all(path.parent == usual.folder / "figures" and path.stat().st_size > 1000 for path in paths)
    assert {path.name for path in (usual.folder / "figures").iterdir()} == {path.name for path in paths}
    assert plt.get_fignums() == []


def test_the_page_stands_alone(page: Text) -> None:
    assert page.sources and all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in page.sources)
    assert not {"link", "iframe", "object", "form"} & set(page.tags)


def test_no_script_runs_but_the_pages_own(usual: Results) -> None:
    html = without_figures(usual)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    own = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert policy is not None and len(own) == 1
    allowed = base64.b64encode(hashlib.sha256(own[0].encode()).digest()).decode()
    rules = unescape(policy[1]).split("; ")
    assert "default-src 'none'" in rules and f"script-src 'sha256-{allowed}'" in rules
    assert "http" not in policy[1]


def test_every_link_leads_somewhere_and_every_id_is_one(usual: Results, small: Results) -> None:
    html = without_figures(usual, small)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_the_answer_comes_first(page: Text, usual: Results) -> None:
    pays = usual.summary["weak"]["pays"]
    first = page.text[: page.text.index("What is certified")]
    assert f"{pays['architecture']} is the cheapest weak model seen to pay" in first
    assert f"{pays['params']:,} parameters" in first
    assert "9 of 10 fresh pipelines" in first and "10 of 11 weak seeds clear" in first
    for words in (
        "only clears",
        "cheaper than scratch in FLOPs, target alone",
        "with the weak model",
        "with every search",
        "9 of 10 fresh pipelines take the target to its goal",
        "weak accuracy, from which on the transfer pays",
    ):
        assert words in first
    assert re.search(r"transfer [\d.]+ s \[[\d.]+, [\d.]+\] · 10 of 10", first)
    assert f"weak accuracy {usual.summary['tradeoff']['threshold']:.3f} on" in first
    assert "1 warning" in first


def test_the_certificate_is_a_bracket_in_order(page: Text) -> None:
    bracket = page.text[page.text.index("What is certified") : page.text.index("How the target learns")]
    assert bracket.index("excluded") < bracket.index("undecided") < bracket.index(["certified", "pays"][0], 30)
    assert "under 31% of such configs" in bracket
    assert "at best 3 of 5 gate seeds clear" in bracket


def test_what_is_excluded_above_an_undecided_one_does_not_bound_it(usual: Results) -> None:
    weak = usual.summary["weak"]
    first_open = min(entry["params"] for entry in weak["undecided"])
    parts = sentences.bracket(usual.summary)
    shown = int(parts[0]["model"].split("(")[1].split()[0].replace(",", ""))
    assert shown < first_open
    above = sum(entry["params"] > shown for entry in weak["excluded"])
    assert f"{above} more among these sizes are excluded" in parts[1]["more"]


def test_minimal_is_said_only_when_nothing_is_undecided(usual: Results) -> None:
    assert "minimal" not in str(sentences.bracket(usual.summary))
    weak = copy.deepcopy(usual.summary["weak"]) | {"undecided": []}
    assert "minimal" in str(sentences.bracket(usual.summary | {"weak": weak}))
    doubted = weak | {"pays": weak["pays"] | {"minimal": False}}
    assert "minimal" not in str(sentences.bracket(usual.summary | {"weak": doubted}))
    nothing = weak | {"pays": None, "clears": None}
    assert "minimal" not in str(sentences.bracket(usual.summary | {"weak": nothing}))


def test_the_tables_hold_every_row(page: Text, usual: Results) -> None:
    for method, record in usual.summary["methods"].items():
        assert f"{method} {record['reached']} of {record['seeds']}" in page.text
    for entry in usual.summary["weak"]["ladder"]:
        assert f"{entry['architecture']} {entry['params']:,}" in page.text
    for purpose in usual.ledger["purpose"]:
        assert purpose in page.text
    shares = re.findall(r"total [\d,]+ [\d,]+ [\d.]+ \wFLOP (\d+) %", page.text)
    assert shares == ["100"]
    assert "gtsearch run search_spaces/modadd.yaml" in page.text


def test_nothing_from_data_is_markup(usual: Results) -> None:
    evil = "<script>alert(1)</script>\"'&"
    results = altered(usual, name=evil, title=evil, warnings=[evil])
    results.summary["weak"]["pays"]["architecture"] = evil
    results.summary["weak"]["ladder"][0]["detail"] = evil
    results.summary["methods"]["transfer"]["config"] = {evil: 1.0}
    results.summary["methods"][evil] = results.summary["methods"]["transfer"]
    pays = usual.summary["weak"]["pays"]["architecture"]
    for rung in results.summary["weak"]["ladder"]:
        rung["architecture"] = evil if rung["architecture"] == pays else rung["architecture"]
    results.environment["host"] = evil
    there = results.trials["architecture"] == pays
    trials = results.trials.assign(architecture=results.trials["architecture"].mask(there, evil))
    try:
        html = without_figures(replace(results, trials=trials, notes=(evil,)))
    finally:
        results.environment["host"] = "laptop"
    # One block of members and the page's own script: what data hold neither opens nor ends one.
    assert html.count("<script") == html.count("</script") == 2
    assert Text(html).text.count(evil) >= 9
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html)
    assert block is not None
    assert any(evil in column.get("texts", ()) for column in json.loads(block[1])["columns"])


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (Story(pays=False, architectures=20), "is the cheapest weak model that clears; none was seen to pay"),
        (Story(pays=False, clears=False, architectures=9, methods=("transfer",)), "No weak model was seen to clear"),
        (Story(seeds=1, tradeoff_seeds=1, architectures=16), "1 of 1 fresh pipelines"),
        (Story(scratch_reaches=False, architectures=9), ">= "),
        (Story(transfer_reaches=False, architectures=1), "censored: 10 after 400 epochs, the whole budget"),
        (Story(levels=(), architectures=9), "No snapshots were measured"),
        (Story(methods=("transfer",), architectures=16), "is the cheapest weak model seen to pay"),
    ],
)
def test_there_is_a_page_whatever_happened(folder: Path, story: Story, words: str) -> None:
    results = make(folder, story)
    path = report.write_report(results)
    assert path == results.folder / "report.html"
    assert words in read(path).text
    assert not list(results.folder.rglob("*.partial"))


NO_WEAK = Story(weak=False, methods=("scratch", "onehot", "fourier"), rises={"onehot": 220, "fourier": 60})


def test_without_a_weak_stage_the_answer_is_the_fastest_method(folder: Path) -> None:
    page = read(report.write_report(make(folder, NO_WEAK))).text
    assert "fourier is the fastest to the goal" in page
    assert re.search(r"The next, scratch, takes [\d.]+ times as much", page)
    assert "chance .009 · target to 0.99" in page and "weak model to 0" not in page
    for words in ("What is certified", "pays from", "cheaper than scratch"):
        assert words not in page
    missing = page[page.index("Not drawn") :]
    for words in ("No weak architecture is on the ladder", "No snapshots were measured", "no weak embedding"):
        assert words in missing


def test_a_fastest_method_is_claimed_only_where_intervals_do_not_meet() -> None:
    def took(value: float | None, low: float, high: float) -> dict[str, Any]:
        time = {"median": value, "interval": [low, high]}
        return {"reached": 9, "seeds": 10, "interval": [0.6, 0.98], "flops_to_goal": time, "epochs_to_goal": time}

    def said(**methods: Any) -> dict[str, str]:
        return sentences.answer({"weak": None, "threshold": None, "methods": methods})

    meets = said(a=took(10, 8, 21), b=took(30, 20, 40))
    assert (meets["model"], meets["verdict"]) == ("a", "has the least median, and is not told from b")
    assert "The next, b, takes 3 times as much" in meets["evidence"] and "intervals (95" in meets["evidence"]
    apart = said(a=took(10, 8, 12), b=took(30, 20, 40))
    assert apart["verdict"] == "is the fastest to the goal" and "meet" not in apart["evidence"]
    at_once = said(a=took(0, 0, 0), b=took(30, 20, 40))  # at the goal before it trains
    assert (
        at_once["verdict"] == "is the fastest to the goal"
        and "The next, b, takes 30 FLOP [20, 40]" in at_once["evidence"]
    )
    assert said(a=took(0, 0, 0), b=took(0, 0, 0))["verdict"] == "and b are level"
    alone = said(a=took(10, 8, 12), b=took(None, 20, 40))
    assert "No other method takes half of its seeds there" in alone["evidence"]
    assert "No method" in said(b=took(None, 20, 40))["verdict"] and "No method" in said()["verdict"]


def test_runs_without_a_weak_stage_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    runs = [make(folder / str(seed), Story(**{**vars(NO_WEAK), "seed": seed, "seeds": 2})) for seed in (0, 1)]
    page = read(report.merge(runs, tmp_path / "merged.html")).text
    assert "fourier: reach the goal 2 of 2 2 of 2" in page and "only clears" not in page


def test_without_a_screen_nothing_is_said_of_clearing(folder: Path) -> None:
    results = make(folder, Story(screened=False, architectures=9, levels=()))
    page = read(report.write_report(results)).text
    first = page[: page.index("What is certified")]
    assert "is the cheapest weak model seen to pay" in first and "9 of 10 fresh pipelines" in first
    assert "clear" not in first and "weak model to 0" not in first
    weak = results.summary["weak"] | {"pays": None}
    told = sentences.answer(results.summary | {"weak": weak})
    assert told["verdict"] == "No weak model was seen to pay"
    certified = sentences.bracket(results.summary | {"weak": weak})[-1]
    assert "no accuracy was asked for" in certified["details"][0]


def test_a_search_that_did_not_end_well_says_so(usual: Results) -> None:
    html = without_figures(altered(usual, complete=False, error="KeyError: <x>"))
    assert "The search stopped on a mistake of its own" in html and "KeyError: &lt;x&gt;" in html
    assert "The search is not complete" in without_figures(altered(usual, complete=False, error=None))


def test_without_a_threshold_the_levels_that_pay_are_named(usual: Results) -> None:
    study = copy.deepcopy(usual.summary["tradeoff"]) | {"threshold": None, "interval": None}
    study["levels"][-1]["pays"] = False
    name, text = sentences.threshold(usual.summary | {"tradeoff": study})
    assert (name, text.split(";")[0]) == ("pays from", "no threshold, in FLOPs")
    assert "of the levels tried, 0.1, 0.2, 0.3, 0.4 pay, but not all above" in text


def test_a_threshold_at_the_least_accuracy_tried_may_lie_below_it(usual: Results) -> None:
    study = copy.deepcopy(usual.summary["tradeoff"])
    least = min(entry["weak_accuracy"] for entry in sentences.snapshots(study))
    for threshold, words in ((least, "weak accuracy at most "), (least + 0.1, "weak accuracy 0.")):
        summary = usual.summary | {"tradeoff": study | {"threshold": threshold, "interval": [None, threshold]}}
        assert sentences.threshold(summary)[1].startswith(words)
        tile = next(tile for tile in sentences.headline(summary) if "weak accuracy" in tile.words)
        assert tile.value.startswith("<=") == (threshold == least)


# -- several runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make(tmp_path_factory.mktemp("small") / "modadd-2", Story(seeds=2, architectures=5, levels=(), seed=1))


def test_several_runs_stand_side_by_side_and_each_by_itself(usual: Results, small: Results, tmp_path: Path) -> None:
    path = report.merge([usual, small], tmp_path / "deep" / "merged.html")
    page = read(path)
    assert "Side by side" in page.text and page.text.count("What is certified of the weak model") == 2
    for results in (usual, small):
        assert results.folder.name in page.text
    assert f"transfer: reach the goal 10 of 10 {small.summary['methods']['transfer']['reached']} of 2" in page.text
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in page.sources)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("p: 113", "p: 97", "task.p is 113 in one and 97 in the other"),
        ("name: modular_addition", "name: modular_division", "task.name"),
        ("val_accuracy: 0.99", "val_accuracy: 0.95", "target.goal.val_accuracy is 0.99"),
        ("val_accuracy: 0.4,", "val_accuracy: 0.5,", "weak.goal.val_accuracy"),
        ("p: 113", "p: 113, kind: odd", "task.kind is None in one and odd"),
    ],
)
def test_runs_of_different_questions_are_refused(
    usual: Results, small: Results, tmp_path: Path, old: str, new: str, field: str
) -> None:
    assert old in small.spec_text
    other = Results(**{**vars(small), "spec_text": small.spec_text.replace(old, new)})
    with pytest.raises(ResultsError, match=re.escape(field)):
        report.merge([usual, other], tmp_path / "merged.html")
    assert not (tmp_path / "merged.html").exists()


def test_another_split_is_the_same_question(usual: Results, small: Results, tmp_path: Path) -> None:
    other = Results(**{**vars(small), "spec_text": small.spec_text.replace("0.25, seed: 0", "0.25, seed: 7")})
    assert report.merge([usual, other], tmp_path / "merged.html").exists()


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no run"):
        report.merge([], tmp_path / "merged.html")


def test_folders_of_one_name_are_told_apart(usual: Results, small: Results) -> None:
    twin = Results(**{**vars(small), "folder": small.folder.parent / usual.folder.name})
    assert report._names([usual, small]) == ["modadd-run", "modadd-2"]
    assert len(set(report._names([usual, twin]))) == 2
    assert "/" in report._names([usual, twin])[0]


def test_where_nothing_judged_the_answer_says_what_was_asked(folder: Path) -> None:
    results = make(folder, Story(screened=False, architectures=9, levels=()))
    clears = results.summary["weak"]["clears"] | {"train_flops": 1000.0}
    ladder = [{**rung, "flops_per_epoch": 10} for rung in results.summary["weak"]["ladder"]]
    weak = results.summary["weak"] | {"pays": None, "clears": clears, "undecided": [], "ladder": ladder}
    summary = results.summary | {"weak": weak, "judge": "none"}
    told = sentences.answer(summary)
    assert (told["model"], told["verdict"]) == (clears["architecture"], "was trained 100 epochs without a threshold")
    assert "Its embedding takes the target to its goal on 10 of 10 fresh pipelines (95" in told["evidence"]
    certified = sentences.bracket(summary)[-1]["details"][0]
    assert certified.startswith("trained 100 epochs without a threshold; nothing judged it; takes the target to its")
    every = str(told) + str(sentences.bracket(summary))
    assert "pay" not in every and "scratch" not in every and "minimal" not in every
    assert "clears" not in sentences.answer(summary | {"weak": weak | {"clears": None}})["verdict"]


def test_methods_that_are_level_are_said_to_be(folder: Path) -> None:
    story = Story(weak=False, methods=("scratch", "fourier"), rises={"fourier": 135}, architectures=0)
    methods = copy.deepcopy(make(folder, story).summary["methods"])
    methods["fourier"]["flops_to_goal"]["median"] = 1.04 * methods["scratch"]["flops_to_goal"]["median"]
    told = sentences.answer({"weak": None, "threshold": None, "methods": methods})
    assert (told["model"], told["verdict"]) == ("scratch", "and fourier are level")
    assert "times as much" not in told["evidence"]


# -- the first screen ---------------------------------------------------------------------------------------


def test_speedups_say_other_units_where_they_are_known_and_bounds_as_bounds(usual: Results) -> None:
    def ratios(value: float | None, lower: bool) -> dict[str, Any]:
        return {key: {"value": value, "lower_bound": lower} for key in ("target", "with_weak", "with_search")}

    known = {
        "speedup": ratios(5.36, False),
        "speedup_units": {"seconds": ratios(4.0, False), "epochs": ratios(6.1, True)},
    }
    one = sentences.speedups(known)[2]
    assert (one.counted, one.text, one.value, one.dearer) == (
        "with every search",
        "5.36\N{NO-BREAK SPACE}×",
        5.36,
        False,
    )
    assert one.others == (">=\N{NO-BREAK SPACE}6.1\N{NO-BREAK SPACE}× in epochs", "4\N{NO-BREAK SPACE}× in seconds")
    assert sentences.speedups({"speedup": ratios(0.5, False)})[0].dearer
    assert not sentences.speedups({"speedup": ratios(0.5, True)})[0].dearer  # at least 0.5 may be more than 1
    assert sentences.speedups({"speedup": ratios(None, False)}) == []
    only = sentences.speedups({"speedup": ratios(None, False), "speedup_units": {"epochs": ratios(3.0, False)}})
    assert (only[0].text, only[0].others) == ("–", ("3\N{NO-BREAK SPACE}× in epochs",))


def test_a_speedup_says_its_interval_and_in_which_unit_it_is_dearer(usual: Results) -> None:
    def ratios(value: float, *interval: float | None) -> dict[str, Any]:
        one = {"value": value, "lower_bound": False, "interval": list(interval)}
        return dict.fromkeys(("target", "with_weak", "with_search"), one)

    told = usual.summary | {
        "speedup": ratios(2.73, 1.86, 3.15),
        "speedup_units": {"seconds": ratios(0.422, 0.178, None), "epochs": ratios(0.0734, 0.03, 0.28)},
    }
    one = sentences.speedups(told)[1]
    assert one.interval == "1.86 to 3.15" and not one.dearer
    epochs, seconds = (text.replace("\N{NO-BREAK SPACE}", " ") for text in one.others)
    assert epochs == "0.0734 × [0.03, 0.28], more in epochs", "epochs of two models are no price"
    assert seconds == "0.422 × [0.178, beyond], dearer in seconds"
    [tile] = [tile for tile in sentences.headline(told) if tile.words == "with the weak model"]
    expected = "95 %: 1.86 to 3.15; 0.0734 × [0.03, 0.28], more in epochs; 0.422 × [0.178, beyond], dearer in seconds"
    assert tile.more.replace("\N{NO-BREAK SPACE}", " ") == expected
    table = tables.answer([replace(usual, summary=told)], [""], [Evidence(usual)])
    cell = dict(zip(table.head, table.rows[0], strict=True))["with the weak model"]
    assert cell.small.replace("\N{NO-BREAK SPACE}", " ").split("\n") == expected.split("; ")


def test_how_long_the_target_takes_with_misses_counted(usual: Results) -> None:
    """Of scratch two seeds missed, and the budget is 400 epochs; transfer always takes 50."""
    trials = usual.trials.copy()
    report_seeds = (trials["stage"] == "target") & (trials["role"] == "report")
    methods = copy.deepcopy({name: usual.summary["methods"][name] for name in ("transfer", "scratch")})
    for method, times in {"transfer": [50] * 10, "scratch": [100] * 8 + [None] * 2}.items():
        own = trials.index[report_seeds & (trials["method"] == method)]
        trials.loc[own, "epochs_to_goal"] = pd.array(times, dtype="Int64")
        trials.loc[own, "epochs"] = [time or 400 for time in times]
        trials.loc[own, "status"] = ["cleared" if time else "exhausted" for time in times]
    results = replace(altered(usual, methods=methods), trials=trials)
    [table] = [one for one in tables.of_run(results, Evidence(results)) if one.title.startswith("How long the target")]
    assert "misses counted" in table.title and "horizon is 400 epochs" in table.note
    rows = {row[0].text: dict(zip(table.head, row, strict=True)) for row in table.rows}
    scratch, transfer = rows["scratch"], rows["transfer"]
    assert scratch["mean to the horizon"].value == pytest.approx((8 * 100 + 2 * 400) / 10)
    assert scratch["PAR10"].value == pytest.approx((8 * 100 + 2 * 4000) / 10)
    assert scratch["with restarts"].value == pytest.approx(100 / 0.8)
    assert scratch["with restarts"].small == "restart after 100 epochs" and scratch["p, log-rank"].text == ""
    assert transfer["mean to the horizon"].value == transfer["PAR10"].value == 50
    assert (transfer["with restarts"].text, transfer["with restarts"].small) == ("50", "never restart")
    assert transfer["p, log-rank"].text == "below 0.001" and transfer["p, log-rank"].members is None


def test_what_is_censored_is_said_with_its_budget(usual: Results) -> None:
    told = sentences.censored(usual)
    assert "scratch" not in told and told["lowrank_random"] == "10 after 400 epochs, the whole budget"
    target = usual.trials["stage"] == "target"
    report_seeds = usual.trials[target & (usual.trials["role"] == "report") & (usual.trials["method"] == "scratch")]
    ended = {0: ("diverged", 35), 1: ("capped", 250), 2: ("capped", 250), 3: ("failed", 10)}
    trials = usual.trials.copy()
    for place, (status, epochs) in ended.items():
        trials.loc[report_seeds.index[place], ["status", "epochs"]] = status, epochs
    trials = trials.drop(report_seeds.index[4])
    methods = copy.deepcopy(usual.summary["methods"])
    methods["scratch"]["reached"] = 5
    told = sentences.censored(replace(altered(usual, methods=methods), trials=trials))
    assert told["scratch"] == (
        "2 ended after 250 epochs, where going on could not matter, 1 diverged, 1 crashed or were lost, "
        "1 without an embedding to start from"
    )
    study = usual.trials[target & (usual.trials["role"] == "tradeoff")]
    missed = int((study["status"] != "cleared").sum())
    assert told["trade-off"].startswith(f"{missed} of {len(study)} pipelines, ")


def test_the_one_table_has_a_row_a_run(usual: Results, small: Results) -> None:
    runs = [usual, small]
    table = tables.answer(runs, ["first", "second"], [Evidence(run, f"run-{i}") for i, run in enumerate(runs)])
    assert list(table.head) == [
        *("run", "task", "smallest that clears", "cheapest that pays", "undecided", "k of n"),
        *("target alone", "with the weak model", "with every search"),
    ]
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["run"].text for row in rows] == ["first", "second"]
    weak, first = usual.summary["weak"], rows[0]
    assert first["smallest that clears"].text == weak["clears"]["architecture"]
    assert first["cheapest that pays"].text == weak["pays"]["architecture"]
    assert first["undecided"].text == ",\n".join(entry["architecture"] for entry in weak["undecided"])
    assert (first["k of n"].text, first["k of n"].value, first["k of n"].small) == ("9 of 10", 0.9, ".60 to .98")
    assert first["target alone"].value == usual.summary["speedup"]["target"]["value"]
    assert all(first[name].members for name in ("k of n", "target alone", "with every search"))


def test_the_one_table_has_no_column_for_what_was_not_asked(folder: Path, tmp_path: Path) -> None:
    unscreened = make(folder, Story(screened=False, architectures=9, levels=()))
    assert "smallest that clears" not in tables.answer([unscreened], [""], [Evidence(unscreened)]).head
    without = make(tmp_path / "without", NO_WEAK)
    assert tables.answer([without], [""], [Evidence(without)]).rows == []


def test_every_cell_that_is_a_number_sorts_by_it(usual: Results) -> None:
    for table in tables.of_run(usual, Evidence(usual)):
        for row in table.rows:
            for place, cell in enumerate(row):
                if place not in table.words:
                    assert (cell.value is None) == (cell.text in ("", "–")), f"{table.title}: {cell}"


# -- how to cite --------------------------------------------------------------------------------------------


def test_the_citation_is_that_of_the_citation_file() -> None:
    root = Path(__file__).parents[2]
    file = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert (file["version"], file["license"]) == (project["version"], project["license"])
    bibtex = sentences.citation()
    for known in (file["title"], file["version"], file["license"], file["authors"][0]["name"]):
        assert f"{{{known}}}" in bibtex
    paper = file["references"][0]
    assert f"{{{paper['title']}}}" in bibtex and f"{{{paper['year']}}}" in bibtex
    assert " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]) in bibtex
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in bibtex


def test_a_threshold_above_chance_is_called_so(folder: Path) -> None:
    made = make(folder, NO_WEAK)
    for told, words in ((True, "weak model to above chance (.08)"), (False, "weak model to 0.07864")):
        summary = made.summary | {"threshold": 0.0786353, "above_chance": told}
        assert words in sentences.about(replace(made, summary=summary))
