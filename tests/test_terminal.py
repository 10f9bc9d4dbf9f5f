"""Tables and pages fit where they are shown, and are plain text everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from gtsearch import terminal

Width = Callable[[int], None]
HEAD = ("run", "state", "answer")
ROWS = [
    ("modadd-20260131-101500", "finished", "mlp-d3-w4-L2 pays"),
    ("b", "interrupted", "a long answer that takes more than one line wherever it is shown to people"),
]


@pytest.fixture
def width(monkeypatch: pytest.MonkeyPatch) -> Width:
    """Makes standard output a terminal of so many columns."""

    def set_to(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns))

    return set_to


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 200])
def test_a_table_is_never_wider_than_the_terminal_and_loses_no_word(width: Width, columns: int) -> None:
    width(columns)
    lines = terminal.table(HEAD, ROWS)
    longest_word = max(len(word) for row in ROWS for cell in row for word in cell.split())
    assert all(len(line) <= max(columns, longest_word + 12) for line in lines)
    told = " ".join(lines).split()
    for row in ROWS:
        for cell in row:
            assert set(cell.split()) <= set(told), f"{cell} is cut at {columns} columns"


def test_a_wide_terminal_has_columns_and_a_narrow_one_a_block_a_row(width: Width) -> None:
    width(100)
    assert terminal.table(HEAD, ROWS)[0].split() == list(HEAD)
    width(40)
    assert terminal.table(HEAD, ROWS)[:3] == [
        "modadd-20260131-101500",
        "  state: finished",
        "  answer: mlp-d3-w4-L2 pays",
    ]


@pytest.mark.parametrize(("columns", "head"), [(80, "run state answer"), (40, "run answer"), (30, "run")])
def test_columns_that_can_be_spared_go_before_the_table_does(width: Width, columns: int, head: str) -> None:
    width(columns)
    rows = [("modadd-20260131-101500", "finished", "it pays")]
    lines = terminal.table(HEAD, rows, spared=[1])
    assert lines[0].split() == head.split() if head != "run" else lines[1] == "  state: finished"
    assert max(map(len, lines)) <= columns


ANSWER = [
    "maxi      answer of max.csv, 35 % train, chance .23 · 2 workers · cpu · 2 min 37 s",
    "target    transfer           0 of 6  0.95 not reached by any seed in 400 epochs, up to .91",
    "          transfer_shuffled  0 of 6  0.95 not reached by any seed in 400 epochs, up to .89",
    "next: gtsearch export 'runs/my own'   the embedding, for a model of your own",
]


@pytest.mark.parametrize("columns", [50, 80])
def test_lines_of_columns_are_folded_under_their_own_column(width: Width, columns: int) -> None:
    width(columns)
    lines = terminal.folded(ANSWER)
    assert all(len(line) <= columns for line in lines)
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(ANSWER).split()), "no word is lost or broken"
    at = next(i for i, line in enumerate(lines) if line.startswith("target"))
    column = lines[at].index("0.95") if columns == 80 else lines[at].index("0 of 6")
    assert lines[at + 1].startswith(" " * column) and lines[at + 1][column] != " "
    assert any("gtsearch export 'runs/my own'" in line for line in lines), "a command can be copied"
    assert any("37 s" in line for line in lines), "a number stays with its unit"


def test_where_it_is_no_terminal_nothing_is_folded() -> None:
    assert terminal.folded(ANSWER) == ANSWER
    assert max(map(len, terminal.table(HEAD, ROWS))) > 100
    assert terminal.wrapped("word " * 100) == [("word " * 100).strip()]


def test_a_page_is_markdown_in_a_pipe_and_tables_on_a_terminal(width: Width) -> None:
    page = ["# Title", "", "| task | pays from |", "| --- | --- |", "| a \\| b | 0.5 |", "", "the end"]
    assert terminal.page(page) == page
    width(60)
    shown = terminal.page(page)
    assert shown[0] == "# Title" and shown[-1] == "the end"
    assert not any("---" in line and "|" in line for line in shown)
    assert any(line.split() == ["a", "|", "b", "0.5"] for line in shown)


def test_control_codes_do_not_come_through() -> None:
    assert "\x1b" not in "".join(terminal.table(("a",), [("\x1b[31mred",)]))


def test_a_tree_draws_its_lines_on_a_terminal_and_indents_elsewhere(width: Width) -> None:
    branches = [(0, ("a", "1")), (1, ("b", "2")), (2, ("c", "3")), (1, ("d", "4")), (0, ("e", "5"))]
    assert terminal.tree(("plan", "n"), branches, right=(1,)) == [
        "plan   n",
        "a      1",
        "  b    2",
        "    c  3",
        "  d    4",
        "e      5",
    ]
    width(60)
    drawn = terminal.tree(("plan", "n"), branches, right=(1,))
    assert [line.split()[0] for line in drawn] == ["plan", "a", "├─", "│", "└─", "e"]


@pytest.mark.parametrize(
    ("name", "value", "colours"), [("NO_COLOR", "1", False), ("CLICOLOR", "0", False), ("X", "", True)]
)
def test_colours_are_left_out_where_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, colours: bool
) -> None:
    for other in ("NO_COLOR", "CLICOLOR", "FORCE_COLOR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    assert terminal.console().no_color is not colours


def test_the_width_follows_the_terminal(width: Width) -> None:
    width(72)
    assert terminal.columns() == 72
    width(3)
    assert terminal.columns() == terminal.LEAST
    assert "COLUMNS" in os.environ
