"""Makes the tables of docs/experiment-file.md from the code: the JSON Schema of the experiment file, and the menus.

    python tools/reference.py            writes them
    python tools/reference.py --check    exit code 1 and a line that says so, where the page is not what the code makes

A table stands between `<!-- made: WHAT -->` and `<!-- end -->`; all else on the page is written by hand. WHAT is

- `keys PART...`: the keys inside these parts of an experiment; `keys`: its parts, and the keys that no other table has;
- `goal`: the keys of a goal;
- `names KIND`: the names on a menu; what each is, is the first paragraph of its docstring;
- `options KIND`: the options of its entries, equal ones in one row;
- `hyperparameters`.

What a key or an option means is its line under `Attributes:` of a docstring.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from gtsearch import catalog, reading
from gtsearch.fields import NEEDED_HYPERPARAMETERS
from gtsearch.methods.edits import EDITS
from gtsearch.parts import Design
from gtsearch.schema import BASES, schema, summary

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "experiment-file.md"
COMMAND = "python tools/reference.py"

Schema = Mapping[str, Any]
Key = tuple[str, Schema, bool]
"""A path, what may stand there, and whether something must."""
Row = tuple[str, ...]

SCHEMA: Schema = schema()
DEFS: Mapping[str, Schema] = SCHEMA["$defs"]
MENUS: Mapping[str, Mapping[str, Any]] = {
    **{kind: {name: catalog.load(kind, name) for name in menu} for kind, menu in catalog.MENUS.items()},
    "edit": EDITS,
}
SECTION = {**BASES, "ModelSpace": "model", "GoalSpec": "goal"}
"""Definitions that have a section of their own, and what is told there."""
SECTION_OF_WORDS = {tuple(menu): kind for kind, menu in MENUS.items()} | {get_args(Design): "design"}
"""Lists of words that have one."""
TABLE = re.compile(r"<!-- made: (.+?) -->\n(?:(?!<!-- made:).)*?<!-- end -->", re.DOTALL)
MOST_TOLD = 1000
"""Greater bounds only keep a slip of the finger from filling the memory: no row tells them."""


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]")
        return 2
    there = PAGE.read_text("utf-8")
    made = page(there)
    if not arguments:
        PAGE.write_text(made, "utf-8")
    elif made != there:
        print(f"{PAGE.relative_to(ROOT)} is not what the code makes; `{COMMAND}` makes it anew")
        return 1
    return 0


def page(text: str) -> str:
    """`text` with every table made anew.

    Raises:
        ValueError: a table has no end, or what it should hold is not known.
    """
    if len(TABLE.findall(text)) < text.count("<!-- made:"):
        raise ValueError("a table that is made has no `<!-- end -->` before the next one begins")
    apart = {part for parts in re.findall(r"<!-- made: keys (.+?) -->", text) for part in parts.split()}

    def anew(mark: re.Match[str]) -> str:
        head, *rows = _table(*mark[1].split(), apart=apart)
        lines = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
        return "\n".join([f"<!-- made: {mark[1]} -->", "", *lines, "", "<!-- end -->"])

    return TABLE.sub(anew, text)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _table(what: str, *which: str, apart: set[str]) -> list[Row]:
    """A table, its head first. `apart`: the parts of an experiment that have tables of their own."""
    match what, *which:
        case "keys", *parts:
            return [("key", "type", "default", "meaning"), *map(_row, _keys_of(parts, apart))]
        case ["goal"]:
            return [("key", "type", "default", "meaning"), *map(_row, _keys(DEFS["GoalSpec"]["anyOf"][0]))]
        case "names", kind:
            head = ("name", "what", "tried first") if kind == "score" else ("name", "what")
            return [head, *((f"`{name}`", *_told(kind, entry)) for name, entry in MENUS[kind].items())]
        case "options", kind:
            return [("of", "option", "type", "default", "meaning"), *_options(kind)]
        case ["hyperparameters"]:
            return [("hyperparameter", "of", "default", "meaning"), *_hyperparameters()]
    raise ValueError(f"there is no table `{' '.join((what, *which))}`")


# -- keys ---------------------------------------------------------------------------------------------------------


def _keys(part: Schema, before: str = "") -> Iterator[Key]:
    """The keys of a part and of the parts in it, but for those that have a section of their own."""
    for name, value in part["properties"].items():
        yield before + name, value, name in part.get("required", ())
        for inner, many in _parts(value):
            yield from _keys(inner, f"{before}{name}{'[]' if many else ''}.")


def _keys_of(parts: Collection[str], apart: Collection[str]) -> Iterator[Key]:
    """Those inside `parts`; or, without any, the parts themselves and what is inside of those that are not `apart`."""
    for key in _keys(SCHEMA):
        part, inside, _ = key[0].partition(".")
        if (inside and part in parts) if parts else (not inside or part not in apart):
            yield key


def _parts(value: Schema) -> Iterator[tuple[Schema, bool]]:
    """The parts of an experiment that a value may be or hold, and whether in a list."""
    for one in (value, *value.get("anyOf", ()), value.get("additionalProperties"), value.get("items")):
        found = _definition(one) if isinstance(one, Mapping) else None
        if found is not None and found not in SECTION and "properties" in DEFS[found]:
            yield DEFS[found], one is value.get("items")


def _definition(value: Schema) -> str | None:
    """What it is called, where it is only referred to."""
    return str(value["$ref"]).rpartition("/")[2] if "$ref" in value else None


def _row(key: Key) -> Row:
    path, value, required = key
    if "description" not in value:
        raise ValueError(f"`{path}` is not described: it has no line under `Attributes:` of its class")
    return f"`{path}`", _type(value), _default(value, required), _bare(value["description"])


def _default(value: Schema, required: bool) -> str:
    if required:
        return "required"
    default = value["default"]
    return "its defaults" if isinstance(default, Mapping) and default else f"`{reading.in_one_line(default)}`"


def _bare(words: str) -> str:
    return words.removesuffix(".")


# -- types --------------------------------------------------------------------------------------------------------


def _type(value: Schema) -> str:
    """What may stand somewhere, in words."""
    may_be_null = value.get("default") is not None and {"type": "null"} in value.get("anyOf", ())
    return _one_of([*_types(value), *(["`null`"] if may_be_null else [])])


def _one_of(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _types(value: Schema) -> list[str]:
    """The alternatives; `null` is none, where it is the default or means what another word does."""
    if "title" in value:
        return [value["title"]]
    if "anyOf" in value:
        # A module:object may stand in the place of some names: the section on modules says where.
        alternatives = [one for one in value["anyOf"] if one != {"type": "null"} and not _is_own(one)]
        if len(alternatives) > 1:
            alternatives = [_spelled_out(one) for one in alternatives]
        return [word for one in alternatives for word in _types(one)]
    if "enum" in value:
        kind = SECTION_OF_WORDS.get(tuple(value["enum"]))
        return [_link(kind)] if kind else [f"`{word}`" for word in value["enum"]]
    if "const" in value:
        return [f"`{reading.in_one_line(value['const'])}`"]
    if (found := _definition(value)) is not None:
        return [_reference(found)]
    if value["type"] == "array":
        return [f"list of {_several(value['items'])}"]
    if value["type"] == "object":
        return [_mapping(value)]
    return [{"boolean": "true or false", "string": "text"}.get(value["type"]) or _number(value)]


def _is_own(value: Schema) -> bool:
    return str(value.get("description", "")).endswith("as module:object")


def _spelled_out(value: Schema) -> Schema:
    """A part of an experiment that may stand where words may stand too, by its keys."""
    part = DEFS.get(_definition(value) or "", {})
    keys = ", ".join(f"{key}: ..." for key in part.get("properties", ()))
    return {"title": f"`{{{keys}}}`"} if keys else value


def _reference(name: str) -> str:
    if name in SECTION:
        return f"{_link(SECTION[name])}{', its sizes values or lists' if name == 'ModelSpace' else ''}"
    if name.startswith("domain"):
        return _link("domain")
    return "mapping" if name != "start" else _mapping(DEFS["start"])


def _link(kind: str) -> str:
    return f"[{kind}](#{_plural(kind)})"


def _plural(word: str) -> str:
    if link := re.fullmatch(r"\[\w+\]\((#(\w+))\)", word):
        return f"[{link[2]}]({link[1]})"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}{'es' if word.endswith('s') else 's'}"


def _several(value: Schema) -> str:
    words = _types(value)
    return _one_of(words) if len(words) > 1 or ": " in words[0] else _plural(words[0])


def _mapping(value: Schema) -> str:
    """`name: what stands there`, both in words."""
    properties, rest = value.get("properties", {}), value.get("additionalProperties")
    if set(NEEDED_HYPERPARAMETERS) <= set(properties):
        one = _type(properties["lr"])
        return f"{_link('hyperparameter')}: {one}" if one == _link("domain") else "hyperparameter: number"
    if set(properties) == set(MENUS["method"]):
        first = next(iter(properties.values()))
        return f"method: {'`{option: value}`' if '$ref' in first else _type(first)}"
    assert isinstance(rest, Mapping), f"a mapping of a kind that no row has yet: {value}"
    if "propertyNames" in rest:  # paths and what they are set to, by names that an experiment gives them
        return "name: `{path: value}`"
    return f"{_link('module')}: `{{{', '.join(DEFS[str(_definition(rest))]['properties'])}}}`"


def _number(value: Schema) -> str:
    low, above = value.get("minimum"), value.get("exclusiveMinimum")
    high, below = value.get("maximum"), value.get("exclusiveMaximum")
    open_ended = max(high or 0, below or 0) > MOST_TOLD or high is below is None
    if value["type"] == "integer":
        if low is None:
            return "whole number"
        if low == 1 and open_ended:
            return "count"
        if high is None or (low == 0 and open_ended):
            return f"whole number from {low} on"
        return f"{low} to {high if high < 10_000 else f'{high:,}'}"
    if (low, high) == (0, 1) or (above, below) == (0, 1):
        return "share"
    if open_ended and above is None:
        return "number" if low is None else f"number from {low} on"
    if open_ended:
        return f"number above {above}"
    if above is not None:
        return f"above {above}, {f'below {below}' if high is None else f'at most {high}'}"
    return f"{low} up to {f'below {below}' if high is None else high}"


# -- menus --------------------------------------------------------------------------------------------------------


def _told(kind: str, entry: Any) -> Row:
    """What is told of a name on a menu."""
    what = _bare(summary(entry))
    if kind == "figure":
        return (f"{entry.TITLE}{'' if entry.TITLE.endswith('?') else '.'} {what}",)
    return (what, "high" if entry.higher_is_better else "low") if kind == "score" else (what,)


def _options(kind: str) -> Iterator[Row]:
    """A row an option, of all entries of which it is told in the same words."""
    named: dict[Row, list[str]] = {}
    for name, entry in MENUS[kind].items():
        options = DEFS[f"{name} options" if kind == "method" else entry.__name__]
        for key in _keys(options):
            if key[0] != "name":
                named.setdefault(_row(key), []).append(name)
    for row, names in named.items():
        yield _patterns(names, list(MENUS[kind])), *row


def _patterns(names: list[str], menu: list[str]) -> str:
    """`names` in short: `*` for all of the menu, `modular_*` for all of three or more that begin so."""
    if names == menu:
        return "`*`"
    short = []
    for name in names:
        pattern = f"{name.partition('_')[0]}_*"
        alike = fnmatch.filter(menu, pattern)
        short.append(pattern if len(alike) > 2 and set(alike) <= set(names) else name)
    return ", ".join(f"`{one}`" for one in dict.fromkeys(short))


def _hyperparameters() -> Iterator[Row]:
    for name, value in DEFS["start"]["properties"].items():
        domains: dict[str, list[str]] = {"required": ["*"]} if name in NEEDED_HYPERPARAMETERS else {}
        for method, entry in MENUS["method"].items():
            if name in entry.searches:
                domains.setdefault(f"`{reading.in_one_line(entry.searches[name])}`", []).append(method)
        for domain, methods in domains.items():
            yield f"`{name}`", ", ".join(f"`{method}`" for method in methods), domain, _bare(value["description"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
