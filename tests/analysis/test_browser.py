"""The report in a real browser: the system's own Chromium, headless and offline; skipped where there is none.

Nothing here looks at how a page is made: only at what a reader sees of it, clicks and types.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, sync_playwright

from gtsearch.analysis import devices, report
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (360, 1280)
STORIES = {
    "one seed": Story(seeds=1, tradeoff_seeds=1, architectures=16),
    "all censored": Story(scratch_reaches=False, transfer_reaches=False, architectures=9),
    "40 architectures, none clears": Story(pays=False, clears=False, architectures=40, methods=("scratch",)),
    "no weak stage": Story(weak=False, methods=("scratch", "onehot", "fourier"), rises={"onehot": 220, "fourier": 60}),
}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the path")


@dataclass
class Opened:
    """A page, and what a reader would not want to happen on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def path(usual: Results) -> Path:
    return report.write_report(usual)


def written_page(results: Results) -> Path:
    """The page with one small figure: all of them take seconds, and each keeps within its column."""
    path = results.folder / "page.html"
    path.write_text(report._page([results], [{"devices": devices.table(devices.gather(results))}]), "utf-8")
    return path


def opened(browser: Browser, path: Path, width: int = 1280, scheme: str = "light", anchor: str = "") -> Opened:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    seen = Opened(context.new_page())

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", path.as_uri())):
            seen.complaints.append(f"asks for {request.url}")

    seen.page.on("request", note)
    seen.page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.goto(path.as_uri() + anchor)
    return seen


@pytest.fixture
def reader(browser: Browser, path: Path) -> Iterator[Page]:
    seen = opened(browser, path)
    yield seen.page
    assert seen.complaints == []
    seen.page.context.close()


def table(page: Page, title: str) -> Locator:
    return page.locator(f'.scroll[aria-label^="{title}"] table')


def column(of: Locator, head: str) -> list[str]:
    """The cells under a head, from the top, of the rows that are shown."""
    heads = [text.strip() for text in of.locator("thead th").all_inner_texts()]
    at = next(i for i, text in enumerate(heads) if text.startswith(head))
    rows = of.locator("tbody tr:visible")
    return [rows.nth(i).locator("th, td").nth(at).inner_text() for i in range(rows.count())]


def press(of: Locator, head: str) -> None:
    of.locator("thead button", has_text=re.compile(f"^{head}")).click()


def number(text: str) -> float:
    return float(text.replace(",", "").split()[0])


def overflow(page: Page) -> float:
    return float(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


# -- every page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORIES)
def test_every_page_opens_clean_and_keeps_within_its_width(browser: Browser, folder: Path, name: str) -> None:
    written = written_page(make(folder, STORIES[name]))
    for width in WIDTHS:
        seen = opened(browser, written, width)
        seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        seen.page.wait_for_timeout(50)  # the rows of the groups come with an event
        assert overflow(seen.page) <= 0
        assert seen.complaints == []
        seen.page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_clipped_and_the_answer_is_on_the_first_screen(browser: Browser, path: Path, width: int) -> None:
    seen = opened(browser, path, width)
    assert overflow(seen.page) <= 0 and seen.complaints == []
    for words in (".answer", ".tiles"):
        box = seen.page.locator(words).bounding_box()
        assert (
            box is not None and box["y"] + box["height"] <= 800 and box["x"] >= 0 and box["x"] + box["width"] <= width
        )
    broken = "[...document.images].filter((one) => !one.complete || one.naturalWidth === 0).length"
    assert seen.page.evaluate(broken) == 0
    seen.page.context.close()


def test_the_answer_is_read_on_a_phone_without_scrolling_aside(browser: Browser, path: Path) -> None:
    seen = opened(browser, path, 420)
    inside = seen.page.locator(".answers .scroll")
    assert inside.evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0
    heads = "(cells) => cells.map((one) => getComputedStyle(one, '::before').content.replaceAll('\"', ''))"
    shown = seen.page.locator(".answers td").evaluate_all(heads)
    assert "cheapest that pays" in shown and "with every search" in shown
    seen.page.context.close()


def test_why_an_architecture_was_left_is_wrapped_not_cut(browser: Browser, path: Path) -> None:
    seen = opened(browser, path, 1300)
    seen.page.locator("summary", has_text="Weak architectures").click()
    inside = seen.page.locator('.scroll[aria-label^="Weak architectures"]')
    assert inside.evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0
    seen.page.context.close()


def test_a_run_that_is_not_whole_says_so_first(browser: Browser, usual: Results, tmp_path: Path) -> None:
    lacking = replace(usual, folder=tmp_path, notes=("trials.parquet was made again", "curves.parquet is missing"))
    seen = opened(browser, written_page(lacking), 360)
    alert = seen.page.locator(".alert").first
    assert "curves.parquet is missing" in alert.inner_text()
    box, answer = alert.bounding_box(), seen.page.locator(".answer").bounding_box()
    assert box is not None and answer is not None and box["y"] < answer["y"]
    assert seen.complaints == []
    seen.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, path: Path, scheme: str) -> None:
    seen = opened(browser, path, scheme=scheme)
    colours = """(where) => [...document.querySelectorAll(where)].map((one) => {
        let ground = one;
        while (ground && getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        return [getComputedStyle(one).color, getComputedStyle(ground ?? document.body).backgroundColor];
    })"""
    for where in (
        "p",
        ".tiles b, .tiles span",
        "th, td",
        "a",
        "figcaption",
        "summary",
        "dt, dd",
        "pre",
        "thead button",
    ):
        pairs = {tuple(pair) for pair in seen.page.evaluate(colours, where)}
        assert pairs
        for ink, ground in pairs:
            assert contrast(ink, ground) >= 4.5, f"{where}: {ink} on {ground}"  # WCAG 2.2, level AA
    dark = luminance(seen.page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1
    assert dark == (scheme == "dark")
    seen.page.context.close()


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two CSS colours, as WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# -- tables -------------------------------------------------------------------------------------------------


def test_numbers_sort_as_numbers_both_ways_and_unknown_comes_last(reader: Page) -> None:
    reader.locator("summary", has_text="Weak architectures").click()
    ladder = table(reader, "Weak architectures")
    sizes = [number(text) for text in column(ladder, "parameters")]
    assert "1,678" in column(ladder, "parameters") and min(sizes) < 1000  # as text 1,678 would come before 700
    press(ladder, "parameters")
    press(ladder, "parameters")
    assert [number(text) for text in column(ladder, "parameters")] == sorted(sizes, reverse=True)
    head = ladder.locator("th", has_text="best accuracy")
    for direction in ("ascending", "descending"):
        press(ladder, "best accuracy")
        assert head.get_attribute("aria-sort") == direction
        told = column(ladder, "best accuracy")
        known = [float(text) for text in told if text != "–"]
        assert told[len(known) :] == ["–"] * (len(told) - len(known)) and len(known) < len(told)
        assert known == sorted(known, reverse=direction == "descending")
    assert ladder.locator("[aria-sort]").count() == 1


def test_units_and_rates_sort_by_what_they_say(reader: Page) -> None:
    methods = table(reader, "Methods")
    press(methods, "FLOPs")
    assert column(methods, "method")[:2] == ["transfer", "scratch"]  # GFLOP before TFLOP
    press(methods, "FLOPs")
    assert column(methods, "method")[:2] == ["scratch", "transfer"]
    press(methods, "reach the goal")
    assert [text.split()[0] for text in column(methods, "reach the goal")] == ["0", "0", "10", "10"]


def test_words_sort_too_and_a_total_stays_below(reader: Page) -> None:
    ledger = table(reader, "Ledger")
    press(ledger, "purpose")
    told = column(ledger, "purpose")
    assert told[:-1] == sorted(told[:-1]) and told[-1] == "total"
    press(ledger, "purpose")
    told = column(ledger, "purpose")
    assert told[:-1] == sorted(told[:-1], reverse=True) and told[-1] == "total"


def test_a_table_sorts_by_keyboard(reader: Page) -> None:
    methods = table(reader, "Methods")
    methods.locator("thead button", has_text="test accuracy").focus()
    reader.keyboard.press("Enter")
    assert methods.locator("[aria-sort=ascending]").inner_text().strip().startswith("test accuracy")
    told = [float(text) for text in column(methods, "test accuracy")]
    assert told == sorted(told)


def test_a_filter_shows_the_rows_with_all_its_words(reader: Page) -> None:
    ledger = table(reader, "Ledger")
    rows = len(column(ledger, "purpose"))
    box = reader.get_by_label("Filter: Ledger")
    box.fill("REPORT transfer")
    assert set(column(ledger, "purpose")) == {"report"}
    assert set(column(ledger, "method")) == {"transfer", "transfer_shuffled"}
    assert reader.locator(".filter", has=box).locator("output").inner_text() == f"2 of {rows} rows"
    box.fill("no such row")
    assert column(ledger, "purpose") == []
    box.fill("")
    assert len(column(ledger, "purpose")) == rows


# -- links --------------------------------------------------------------------------------------------------


def test_every_link_leads_to_something(reader: Page) -> None:
    lost = "[...document.links].filter((link) => !document.getElementById(decodeURIComponent(link.hash.slice(1))))"
    assert reader.evaluate("document.links.length") > 50
    assert reader.evaluate(f"{lost}.map((link) => link.href)") == []


def test_a_number_leads_to_the_members_it_comes_from(reader: Page, usual: Results) -> None:
    methods = table(reader, "Methods")
    methods.locator("tbody tr", has_text="scratch").locator("a", has_text="10 of 10").first.click()
    shown = table(reader, "scratch: report seeds")
    shown.wait_for()
    trials = usual.trials
    own = trials[(trials["method"] == "scratch") & (trials["role"] == "report") & (trials["stage"] == "target")]
    assert column(shown, "run") == list(own["run_id"])
    assert [number(text) for text in column(shown, "epochs to goal")] == list(own["epochs_to_goal"])
    assert reader.evaluate("document.activeElement.tagName") == "SUMMARY"
    press(shown, "epochs to goal")
    assert [number(text) for text in column(shown, "epochs to goal")] == sorted(own["epochs_to_goal"])
    reader.get_by_label(re.compile("^Filter: scratch: report seeds")).fill(own["run_id"].iloc[3])
    assert column(shown, "run") == [own["run_id"].iloc[3]]


def test_a_link_with_a_group_opens_it(browser: Browser, path: Path) -> None:
    seen = opened(browser, path, anchor="#run-1-members-1")
    assert seen.page.locator("#run-1-members-1 table tbody tr").count() > 0
    assert seen.page.locator("#run-1-members-1 summary").is_visible()
    assert seen.complaints == []
    seen.page.context.close()


def test_members_are_rendered_when_they_are_asked_for(reader: Page) -> None:
    assert reader.locator("details.group").count() > 20
    assert reader.locator("details.group table").count() == 0


def test_without_scripts_the_page_still_reads(browser: Browser, path: Path, usual: Results) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert usual.summary["weak"]["pays"]["architecture"] in page.locator(".answer").inner_text()
    assert page.locator("tbody tr").count() > 60
    assert page.locator("input, thead button").count() == 0  # no control that does nothing
    page.locator("summary", has_text="Members behind the numbers").click()
    told = page.locator("#run-1-members > .note").inner_text()
    assert "trials.parquet" in told and "without JavaScript they are only there" in told
    context.close()
