"""What a shell is told when somebody presses Tab, and the dotted keys of an experiment.

It has a tenth of a second: torch, ray, pandas and pydantic are never loaded for it, so keys come from the schema that
lies beside the experiments (`gtsearch.schema` makes it), and files are looked at by their names alone.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

OF_ONE_S_OWN = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
"""A name that is on no menu: `module:object`, of a task, a model or a method of one's own."""
SCHEMA = "schema.json"


@dataclass(frozen=True)
class Key:
    """One key of an experiment.

    Attributes:
        path: as `--set` takes it, e.g. `weak.goal.hold`.
        what: one line.
        values: the words that may stand there; empty where it is a number, a list, a mapping, ...
    """

    path: str
    what: str
    values: tuple[str, ...]


def schema_file() -> Path:
    """The schema that was installed with the experiments."""
    return Path(str(importlib.resources.files("gtsearch.search_spaces") / SCHEMA))


def dotted_keys(schema: Schema) -> list[Key]:
    """Every key that `--set` and `ablate` can reach, in the order of the experiment file; of a menu those of all
    its entries."""
    found: dict[str, Key] = {}
    for key in _keys(schema, schema, ""):
        found.setdefault(key.path, key)
    return list(found.values())


def _keys(part: Schema, whole: Schema, path: str) -> Iterator[Key]:
    for own in _parts(part, whole):
        for name, value in own.get("properties", {}).items():
            if not path and name == "ablate":
                continue  # its paths would be these once more
            at = f"{path}.{name}" if path else name
            yield Key(at, _what(value, whole), tuple(_words(value, whole)))
            yield from _keys(value, whole, at)


def _parts(part: Schema, whole: Schema) -> Iterator[Schema]:
    """All that may hold of a value: itself, what it refers to, its alternatives."""
    yield part
    if "$ref" in part:
        yield from _parts(whole["$defs"][part["$ref"].rpartition("/")[2]], whole)
    for other in (*part.get("anyOf", ()), *(one["then"] for one in part.get("allOf", ()))):
        yield from _parts(other, whole)


def _what(value: Schema, whole: Schema) -> str:
    return next((str(one["description"]) for one in _parts(value, whole) if "description" in one), "")


def _words(value: Schema, whole: Schema) -> Iterator[str]:
    for one in _parts(value, whole):
        yield from (str(word) for word in (*one.get("enum", ()), *([one["const"]] if "const" in one else ())))
        if one.get("type") == "boolean":
            yield from ("true", "false")
