"""How tables and lines fit where they are shown: a wide terminal, a narrow one, a file, the next program in a pipe.

Nothing here colours or moves a cursor: what commands print is plain text everywhere. Only the progress of a run
(`gtsearch.progress`) draws over its own lines, and only on a terminal that can.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gtsearch.trust import printable

NOT_ON_A_TERMINAL = 1000
"""Columns where nothing must be folded: a file, or the next program in a pipe."""
LEAST = 20


def columns() -> int:
    """How wide standard output is."""
    return max(LEAST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else NOT_ON_A_TERMINAL


def console() -> Console:
    """Standard output, for what is drawn over. No colours where the user wants none: NO_COLOR (no-color.org), which
    rich heeds by itself, and CLICOLOR=0; none and nothing drawn over where TERM is `dumb`."""
    return Console(highlight=False, no_color=True if os.environ.get("CLICOLOR") == "0" else None)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), spared: Sequence[int] = ()
) -> list[str]:
    """Rows as a table where it fits; else as blocks, a row each: its first cell, and a line a further cell.

    Args:
        right: which columns hold numbers.
        spared: which columns a table can do without where it is too wide, the first to go first.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    width = columns()
    for gone in range(1, len(spared) + 1):
        if width >= _least_width(head, cells):
            break
        kept = [i for i in range(len(head)) if i not in spared[:gone]]
        fewer = [head[i] for i in kept], [[row[i] for i in kept] for row in cells]
        if width >= _least_width(*fewer):
            return table(*fewer, [kept.index(i) for i in right if i in kept])
    if width < _least_width(head, cells):
        return [line for row in cells for line in _block(head, row, width)]
    drawn = Table(box=box.SIMPLE_HEAD)
    for i, word in enumerate(head):
        drawn.add_column(word, justify="right" if i in right else "left")
    for row in cells:
        drawn.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(drawn)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def _least_width(head: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """From which on no word is cut, and long texts have some room to be folded in."""
    roomy = 24
    widest = [max([len(word), *(min(len(row[i]), roomy) for row in cells)]) for i, word in enumerate(head)]
    longest = [max((len(word) for row in cells for word in row[i].split()), default=0) for i in range(len(head))]
    return sum(max(one, other) + 2 for one, other in zip(widest, longest, strict=True)) + 2


def _block(head: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    yield from wrapped(row[0], width)
    for word, cell in zip(head[1:], row[1:], strict=True):
        if cell:
            yield from wrapped(f"  {word}: {cell}", width, "    ")


def wrapped(text: str, width: int | None = None, indent: str = "") -> list[str]:
    """One line in as many as it takes; a word that is longer than the terminal, such as a path, stays whole."""
    folded = textwrap.wrap(
        text,
        width or columns(),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return folded or [""]


def folded(lines: Iterable[str]) -> list[str]:
    """Lines whose columns are two spaces and more apart, each folded under the last of its columns that leaves room. A
    command to type and a number with its unit are not broken. Where it is no terminal lines stay as they are."""
    if not sys.stdout.isatty():
        return list(lines)
    width, shown = columns(), []
    for line in lines:
        starts = [gap.end() for gap in _GAP.finditer(line) if gap.end() <= width - LEAST]
        whole = _UNBROKEN.sub(lambda found: found[0].replace(" ", _HELD), line)
        shown += [part.replace(_HELD, " ") for part in wrapped(whole, width, " " * max(starts, default=0))]
    return shown


_GAP = re.compile(r"^\w+: | {2,}")
_UNBROKEN = re.compile(r"gtsearch (export|price|report|resume) ('[^']*'|\S)+|\d (of \d+|%|s\b|min\b|h\b)")
_HELD = "\N{NO-BREAK SPACE}"


def page(lines: Sequence[str]) -> list[str]:
    """Markdown for a person: on a terminal its tables are drawn and its lines folded; elsewhere it stays as it is."""
    if not sys.stdout.isatty():
        return list(lines)
    shown: list[str] = []
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("\\|", "|") for cell in line.strip().strip("|").split(" | ")])
            continue
        if rows:
            head, *body = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
            shown += table(head, body)
            rows = []
        shown += wrapped(line)
    return shown[:-1]


def tree(head: Sequence[str], branches: Sequence[tuple[int, Sequence[str]]], right: Sequence[int] = ()) -> list[str]:
    """A table whose first column is a tree: of each branch how deep it lies, and its cells. On a terminal lines are
    drawn between them, elsewhere depth is two spaces."""
    drawn = sys.stdout.isatty()
    rows = []
    for i, (depth, cells) in enumerate(branches):
        guides = "".join(_guide(branches, i, level, depth) for level in range(1, depth + 1)) if drawn else "  " * depth
        rows.append([f"{guides}{cells[0]}", *cells[1:]])
    return _aligned(head, rows, right)


def _guide(branches: Sequence[tuple[int, Sequence[str]]], i: int, level: int, depth: int) -> str:
    """What stands before a branch at one level: whether another one of that level comes below."""
    later = next((other for other, _ in branches[i + 1 :] if other <= level), 0)
    if level == depth:
        return "├─ " if later == level else "└─ "
    return "│  " if later == level else "   "


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Columns under each other; the first is cut where the terminal is narrow, so that numbers stay where they are."""
    width = columns()
    widest = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    room = max(12, width - sum(widest[1:]) - 2 * (len(head) - 1))
    widest[0] = min(widest[0], room)

    def line(cells: Sequence[str]) -> str:
        first = cells[0] if len(cells[0]) <= widest[0] else f"{cells[0][: widest[0] - 1]}…"
        rest = (f"{c:>{w}}" if i in right else f"{c:<{w}}" for i, (c, w) in enumerate(zip(cells, widest, strict=True)))
        return "  ".join([f"{first:<{widest[0]}}", *list(rest)[1:]]).rstrip()

    return [line(cells) for cells in (head, *rows)]
