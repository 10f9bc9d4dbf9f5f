"""docs/tutorial.md is walked: its files are written, its commands run in order in an empty folder, outputs compared.

A fenced block with a `title` is a file of that name, `bash` is commands, and `text` right after it is what they print;
`sh` is not walked: it asks a network, or leads to the empty folder.
Up to the run every character counts, but for `...`, which stands for anything. From the run on, another CPU computes
other bits: numbers, intervals and names of architectures may differ, `faster` may be `slower`, and lines that say what
was excluded, undecided, withdrawn, merely clears or is warned of may come and go. Progress does not count.

    GTSEARCH_WRITE_TUTORIAL=1 pytest -m slow tests/test_tutorial.py

writes what is printed into the page, where a command has learnt to say something else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_wheel import copy_sources

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
FENCED = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
COME_AND_GO = ("smallest", "undecided", "excluded", "withdrawn", "warning", "nothing that clears")


@dataclass(frozen=True)
class Block:
    """`text` of a file (`title`) or of commands; `span`: where it stands in the page; `after_run`: the run or later."""

    language: str
    title: str | None
    text: str
    span: tuple[int, int]
    after_run: bool


def blocks() -> list[Block]:
    found: list[Block] = []
    for match in FENCED.finditer(PAGE.read_text()):
        language, title, text = match.groups()
        if language == "sh":
            continue
        runs = language == "bash" and "gtsearch run " in text
        found.append(Block(language, title, text, match.span(3), runs or any(block.after_run for block in found)))
    return found


BLOCKS = blocks()
INSTALL, *WALK = BLOCKS
"""The first block makes an environment; all others are walked in it."""


def test_files_are_named_where_titles_are_not_shown() -> None:
    page = PAGE.read_text()
    for block in BLOCKS:
        if block.title:
            above = page[: block.span[0]].rsplit("\n\n", 2)[-2]
            assert f"`{block.title}`" in above, "plain Markdown shows no title of a block"


def walk(part: list[Block], folder: Path, programs: Path) -> list[tuple[Block, str]]:
    """Follows the page in `folder`: each block of output with what was printed."""
    printed, outputs = "", []
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for block in part:
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            printed = done.stdout
        elif block.language == "text":
            outputs.append((block, printed))
        else:
            raise AssertionError(f"nobody checks a block of {block.language}: give it a title")
    return outputs


def lines(text: str) -> list[str]:
    """What is compared of an output: without progress."""
    return [line.rstrip() for line in text.splitlines() if line.strip() and not re.match(r"\[[\d. hmins]+\] ", line)]


def words(text: str) -> list[str]:
    """Its lines as they are on any CPU."""
    kept = []
    for line in lines(text):
        rest = re.sub(r"^(weak|target|pays) +", "", line).strip()
        if rest.startswith(COME_AND_GO):
            continue
        for pattern, stands_for in (
            (r"mlp-d\d+-w\d+-L\d+", "mlp"),
            (r"\[[^]]*\]", "[]"),
            (r"[\d,]*\.?\d+(e-?\d+)?", "#"),
            (r"# (h|min) # (min|s)\b", "# s"),
            (r"# min\b", "# s"),
            (r"\b(faster|slower)\b", "faster"),
            (r" +", " "),
        ):
            line = re.sub(pattern, stands_for, line)
        kept.append(line.strip())
    return kept


def compare(shown: Block, printed: str) -> None:
    if shown.after_run:
        assert words(printed) == words(shown.text)
        return
    pattern = "\n".join(re.escape(line).replace(re.escape("..."), ".*") for line in lines(shown.text))
    assert re.fullmatch(pattern, "\n".join(lines(printed))), f"{printed}\nis not what the page shows:\n{shown.text}"


@pytest.fixture
def programs() -> Path:
    """Where `gtsearch` and `python3` of these tests are."""
    return Path(sysconfig.get_path("scripts"))


def test_until_the_run(tmp_path: Path, programs: Path) -> None:
    outputs = walk([block for block in WALK if not block.after_run], tmp_path, programs)
    assert outputs
    for shown, printed in outputs:
        compare(shown, printed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_to_the_end(tmp_path: Path, programs: Path) -> None:
    outputs = walk(WALK, tmp_path, programs)
    assert sum(shown.after_run for shown, _ in outputs) >= 3
    if os.environ.get("GTSEARCH_WRITE_TUTORIAL"):
        page = PAGE.read_text()
        for shown, printed in reversed(outputs):
            start, end = shown.span
            text = "\n".join([*lines(printed), ""]).replace(str(tmp_path), "...")
            page = page[:start] + text + page[end:]
        PAGE.write_text(page)
        return
    for shown, printed in outputs:
        compare(shown, printed)
    assert (tmp_path / "runs/mine/report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_installing_makes_the_command(tmp_path: Path) -> None:
    """The commands as they stand; pip is kept from the network, and what gtsearch needs is borrowed from here."""
    sources = copy_sources(tmp_path / "gtsearch")
    shutil.copy(ROOT / "constraints.txt", sources)
    here = [path for path in sys.path if path.endswith("site-packages")]
    # pip takes the value of the third for that of the option without "no".
    alone = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1"}
    script = f"{INSTALL.text}\ncommand -v gtsearch\ngtsearch --help\n"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=sources,
        env={**os.environ, **alone, "PYTHONPATH": os.pathsep.join(here)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(sources / ".venv")) and "Start here" in done.stdout


def test_the_rule_lets_through_bits_and_nothing_else() -> None:
    run = "weak     mlp-d8-w16-L2 · pays on 8 of 8 (95 %: .68 to 1.00)\n         excluded: mlp-d4\nreport   a/b.html"
    other = "[10 s] weak ladder\nweak     mlp-d4-w32-L2 · pays on 7 of 8 (95 %: .5 to .97)\nreport   a/b.html"
    assert words(run) == words(other)
    assert words(run) != words(other.replace("pays", "clears"))
    assert words(run) != words(other.replace("a/b", "a/c"))
    quick = Block("text", None, "left,right ...\n", (0, 0), False)
    compare(quick, "left,right 7 seconds\n")
    with pytest.raises(AssertionError):
        compare(quick, "right,left 7 seconds\n")
