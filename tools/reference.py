"""Makes the tables of docs/experiment-file.md from the code: the JSON Schema of the experiment file, and the menus.

    python tools/reference.py            writes them
    python tools/reference.py --check    exit code 1, and a line that says so, where the page is not what the code makes

A table stands between `<!-- made: WHAT -->` and `<!-- end -->`; all else on the page is written by hand. WHAT is

- `keys PART...`: the keys below these parts of an experiment; `keys`: those of all parts that no other table has;
- `goal`: the keys of a goal;
- `names KIND`: the names on a menu, and what each is: the first paragraph of its docstring;
- `options KIND`: the options of its entries, those that are equal in one row;
- `hyperparameters`.

What a key means is its line under `Attributes:` of a docstring.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from gtsearch import catalog, reading
from gtsearch.fields import NEEDED_HYPERPARAMETERS, hyperparameters_of_methods
from gtsearch.methods.edits import EDITS
from gtsearch.schema import BASES, schema, summary
from gtsearch.spec import Design

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "experiment-file.md"
COMMAND = "python tools/reference.py"

Schema = dict[str, Any]
Row = tuple[str, ...]
SCHEMA = schema()
DEFS: dict[str, Schema] = SCHEMA["$defs"]
MENUS: dict[str, dict[str, Any]] = {
    **{kind: {name: catalog.load(kind, name) for name in menu} for kind, menu in catalog.MENUS.items()},
    "edit": dict(EDITS),
}
LINKED = {**BASES, "GoalSpec": "goal"}
"""Definitions that have a section of their own: what stands there is called."""
WORDS = {tuple(menu): kind for kind, menu in MENUS.items()} | {get_args(Design): "design"}
"""Lists of words that have a section of their own."""


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]")
        return 2
    there = PAGE.read_text("utf-8")
    made = page(there)
    if not arguments:
        PAGE.write_text(made, "utf-8")
    elif made != there:
        print(f"{PAGE.relative_to(ROOT)} is not what the code makes; {COMMAND} makes it anew")
        return 1
    return 0


def page(text: str) -> str:
    """`text` with every table made anew."""
    own = re.findall(r"<!-- made: keys (.+?) -->", text)
    parts = {part for named in own for part in named.split()}

    def table(mark: re.Match[str]) -> str:
        what, *which = mark[1].split()
        head, rows = _table(what, which, parts)
        lines = [head, ("---",) * len(head), *rows]
        drawn = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        return f"<!-- made: {mark[1]} -->\n\n{drawn.replace('| --- ', '|---').replace('|--- |', '|---|')}\n\n<!-- end -->"

    return re.sub(r"<!-- made: (.+?) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def _table(what: str, which: list[str], apart: set[str]) -> tuple[Row, list[Row]]:
    """The head of a table and its rows."""
    keys = ("key", "type", "default", "meaning")
    if what == "keys" and which:
        return keys, [row for part in which for row in _keys(_property(SCHEMA, part), f"{part}")]
    if what == "keys":
        top = ((name, value, name in SCHEMA["required"]) for name, value in SCHEMA["properties"].items())
        own = [(_row(name, value, needed), [] if name in apart else _keys(value, name)) for name, value, needed in top]
        return keys, [row for first, below in own for row in (first, *below)]
    if what == "goal":
        return keys, list(_below(DEFS["GoalSpec"]["anyOf"][0], ""))
    if what == "hyperparameters":
        return ("hyperparameter", "of", "default", "meaning"), list(_hyperparameters())
    [kind] = which
    if what == "options":
        return ("of", "option", "type", "default", "meaning"), _options(kind)
    head = {"score": ("name", "what", "tried first")}.get(kind, ("name", "what"))
    return head, [(f"`{name}`", *_told(kind, entry)) for name, entry in MENUS[kind].items()]
