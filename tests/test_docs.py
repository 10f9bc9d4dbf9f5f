"""The site that `make docs` makes: built strictly and without a network, asks nothing of one, and can be searched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What makes a browser fetch: attributes of a tag. Links that a reader may follow are not among them.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
FETCHING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "preconnect",
    "prefetch",
    "modulepreload",
    "dns-prefetch",
    "manifest",
}


class _Fetched(HTMLParser):
    """Collects the addresses of a page that a browser loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        names = FETCHED.get(tag, ())
        if tag == "link" and FETCHING_LINKS & set(given.get("rel", "").split()):
            names = ("href",)
        self.addresses += [given[name] for name in names if name in given]
        self.addresses += re.findall(r"url\(([^)]*)\)", given.get("style", ""))


def fetched(site: Path) -> Iterator[tuple[str, str]]:
    """(file, address) of everything that pages and style sheets load."""
    for page in site.rglob("*.html"):
        reader = _Fetched()
        reader.feed(page.read_text())
        yield from ((page.name, address) for address in reader.addresses)
    for sheet in site.rglob("*.css"):
        found = re.findall(r"url\(([^)]*)\)|@import\s+([^;]*)", sheet.read_text())
        yield from ((sheet.name, "".join(pair).strip("\"' ")) for pair in found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command of the Makefile; whoever asks for a network is sent to a port where nobody listens."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    [command] = re.findall(r"^\t\S+ \$\(BIN\)/(mkdocs build .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    built = subprocess.run(
        [sys.executable, "-m", *command.split(), "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_in_the_navigation_once() -> None:
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text())
    named = list(_pages(yaml.safe_load(text)["nav"]))
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from _pages(entry)


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    addresses = list(fetched(site))
    assert len(addresses) > 100
    for file, address in addresses:
        assert not re.match(r"(https?:)?//", address), (file, address)


@pytest.mark.slow
def test_public_names_are_in_the_reference(site: Path) -> None:
    page = (site / "api.html").read_text()
    names = ["run", "resume", "load_results", "load_spec", "look", "transfer"]
    homes = ["gtsearch.results.Results", "gtsearch.notebook.RunResults", "gtsearch.experiment.Run"]
    for anchor in [*(f"gtsearch.{name}" for name in names), *homes, "gtsearch.notebook.RunResults.figure"]:
        assert f'id="{anchor}"' in page, anchor


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context(offline=True).new_page()
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the path")
class TestInABrowser:
    def test_it_is_searched_from_the_disk(self, site: Path, page: Page) -> None:
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((site / "index.html").as_uri())
        field = page.locator("[data-md-component=search-query]")
        field.click()
        field.press_sequentially("withdrawn", delay=50)  # the site listens to keys
        first = page.locator(".md-search-result__item a").first
        first.wait_for(timeout=20_000)
        assert re.search(r"(certificate|protocol)\.html", first.get_attribute("href") or "")
        assert complaints == []
        assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []

    @pytest.mark.parametrize("width", [360, 1280])
    def test_pages_keep_within_the_window(self, site: Path, page: Page, width: int) -> None:
        page.set_viewport_size({"width": width, "height": 800})
        for path in sorted(site.glob("*.html")):
            page.goto(path.as_uri())
            too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert too_wide <= 0, path.name

    def test_on_a_phone_code_in_tables_breaks_between_words_alone(self, site: Path, page: Page) -> None:
        page.set_viewport_size({"width": 420, "height": 800})
        torn = """[...document.querySelectorAll("table:not([class]) code")].flatMap((code) => {
            const [text, range] = [code.firstChild, document.createRange()];
            if (text?.nodeType !== Node.TEXT_NODE) return [];
            const top = (i) => { range.setStart(text, i); range.setEnd(text, i + 1);
                                 return range.getBoundingClientRect().top; };
            const inside = [...text.data.matchAll(/\\w(?=\\w)/g)].map((found) => found.index);
            return inside.some((i) => Math.abs(top(i + 1) - top(i)) > 5) ? [text.data] : [];
        })"""
        for path in sorted(site.glob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate(torn) == [], path.name

    def test_on_a_phone_a_figure_of_many_panels_keeps_its_size(self, site: Path, page: Page) -> None:
        page.set_viewport_size({"width": 420, "height": 800})
        page.goto((site / "index.html").as_uri())
        figure = page.locator("a[href$='breakeven.png'] > img")
        box = figure.bounding_box()
        assert box is not None and box["width"] >= 800
        assert figure.evaluate("(one) => getComputedStyle(one.closest('p')).overflowX") == "auto"

    def test_a_signature_is_wrapped_and_nothing_lies_over_it(self, site: Path, page: Page) -> None:
        page.set_viewport_size({"width": 420, "height": 800})
        page.goto((site / "api.html").as_uri())
        signatures = page.locator(".doc-signature pre")
        assert signatures.count() > 5
        # Without a formatter at hand a signature is one long line.
        cut = """(all) => all.filter((one) => {
            const code = one.querySelector("code");
            code.textContent = code.textContent.replaceAll(/\\s+/g, " ").repeat(4);
            return code.scrollWidth > code.clientWidth + 1;
        }).length"""
        assert signatures.evaluate_all(cut) == 0
        assert not signatures.locator(".md-clipboard:visible, .md-code__nav:visible").count()
