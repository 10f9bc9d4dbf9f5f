from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from gtsearch import catalog
from gtsearch.analysis import report, sentences
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
        self._style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._style = tag == "style"
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "srcset")]

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.seen).split())


def read(path: Path) -> Text:
    return Text(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def page(usual: Results) -> Text:
    return read(report.write_report(usual))


def altered(results: Results, **summary: Any) -> Results:
    return Results(**{**vars(results), "summary": copy.deepcopy(results.summary) | summary})


def test_figures_are_written_as_png_and_svg_and_no_hidden_figure_is_left(usual: Results) -> None:
    paths = report.write_figures(usual)
    assert {path.name for path in paths} == {f"{name}.{kind}" for name in catalog.FIGURES for kind in ("png", "svg")}
    assert all(path.parent == usual.folder / "figures" and path.stat().st_size > 1000 for path in paths)
    assert {path.name for path in (usual.folder / "figures").iterdir()} == {path.name for path in paths}
    assert plt.get_fignums() == []


def test_the_page_stands_alone(page: Text) -> None:
    assert page.sources and all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_the_answer_comes_first(page: Text, usual: Results) -> None:
    pays = usual.summary["weak"]["pays"]
    first = page.text[: page.text.index("What is certified")]
    assert f"{pays['architecture']} is the cheapest weak model seen to pay" in first
    assert f"{pays['params']:,} parameters" in first
    assert "9 of 10 fresh pipelines" in first and "10 of 11 weak seeds clear" in first
    for words in ("only clears", "cheaper than scratch, target alone", "with the weak model", "with every search"):
        assert words in first
    assert re.search(r"transfer [\d.]+ s \[[\d.]+, [\d.]+\] · 10 of 10", first)
    assert f"weak accuracy {usual.summary['tradeoff']['threshold']:.3f} on" in first
    assert "1 warning" in first


def test_the_certificate_is_a_bracket_in_order(page: Text) -> None:
    bracket = page.text[page.text.index("What is certified") : page.text.index("How good must")]
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
    results.environment["host"] = evil
    try:
        html = report._page([results])
    finally:
        results.environment["host"] = "laptop"
    assert "<script" not in html
    assert Text(html).text.count(evil) >= 7


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (Story(pays=False, architectures=20), "is the cheapest weak model that clears; none was seen to pay"),
        (Story(pays=False, clears=False, architectures=9, methods=("transfer",)), "No weak model was seen to clear"),
        (Story(seeds=1, tradeoff_seeds=1, architectures=16), "1 of 1 fresh pipelines"),
        (Story(scratch_reaches=False, architectures=9), "at least"),
        (Story(transfer_reaches=False, architectures=1), "never seen to get there"),
        (Story(levels=(), architectures=9), "No trade-off was measured"),
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
    assert "chance .009 · target to 0.99" in page and "weak model to" not in page
    for words in ("What is certified", "pays from", "cheaper than scratch"):
        assert words not in page
    missing = page[page.index("Not drawn") :]
    for words in ("No weak architecture is on the ladder", "No trade-off was measured", "no weak embedding"):
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
    assert "clear" not in first and "weak model to" not in first
    weak = results.summary["weak"] | {"pays": None}
    told = sentences.answer(results.summary | {"weak": weak})
    assert told["verdict"] == "No weak model was seen to pay"
    certified = sentences.bracket(results.summary | {"weak": weak})[-1]
    assert "no accuracy was asked for" in certified["details"][0]


def test_a_search_that_did_not_end_well_says_so(usual: Results) -> None:
    html = report._page([altered(usual, complete=False, error="KeyError: <x>")])
    assert "The search stopped on a mistake of its own" in html and "KeyError: &lt;x&gt;" in html
    assert "The search is not complete" in report._page([altered(usual, complete=False, error=None)])


def test_without_a_threshold_the_levels_that_pay_are_named(usual: Results) -> None:
    study = copy.deepcopy(usual.summary["tradeoff"]) | {"threshold": None, "interval": None}
    study["levels"][-1]["pays"] = False
    name, text = sentences.threshold(usual.summary | {"tradeoff": study})
    assert (name, text.split(";")[0]) == ("pays from", "no threshold")
    assert "of the levels tried, 0.1, 0.2, 0.3, 0.4 pay, but not all above" in text


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
    assert all(source.startswith(("data:image/svg+xml;base64,", "#run-")) for source in page.sources)


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
