"""What a shell is told when somebody presses Tab, and the dotted keys of an experiment.

Nobody waits for that: torch, ray and pandas are never loaded for it, so keys come from the schema that lies beside the
experiments (`gtsearch.schema` makes it), and files are looked at by their names alone.
"""

from __future__ import annotations

import importlib.resources
import json
import shlex
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
            yield Key(at, _what(value, whole), tuple(dict.fromkeys(_words(value, whole))))
            if not str(value.get("$ref", "")).startswith("#/$defs/domain"):
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


# -- what is offered --------------------------------------------------------------------------------------------


def specs(incomplete: str) -> list[str]:
    """Experiments that come along, and YAML files below what is typed."""
    top = schema_file().parent
    names = sorted(file.relative_to(top).with_suffix("").as_posix() for file in top.rglob("*.yaml"))
    files = [path for path in _near(incomplete) if path.endswith((".yaml", ".yml"))]
    return [name for name in (*names, *files) if name.startswith(incomplete) and _is_plain(name)]


def runs(incomplete: str) -> list[str]:
    """Run folders in `runs`, and below what is typed."""
    near = _near(incomplete) + ([] if "/" in incomplete else _near("runs/"))
    return [path for path in near if path.startswith(incomplete) and _is_run(path) and _is_plain(path)]


def settings(incomplete: str) -> list[tuple[str, str]]:
    """What `--set` takes: `KEY=` of every key, and once a key is typed the words that may stand there."""
    keys = dotted_keys(json.loads(schema_file().read_text("utf-8")))
    path, typed, _ = incomplete.partition("=")
    if typed:
        words = [(f"{key.path}={word}", "") for key in keys if key.path == path for word in key.values]
        return [(word, what) for word, what in words if word.startswith(incomplete)]
    inner = {key.path.rpartition(".")[0] for key in keys}
    ends = (key for key in keys if key.path not in inner or key.values)
    return [(f"{key.path}=", _short(key.what)) for key in ends if key.path.startswith(incomplete)]


def _short(what: str) -> str:
    """In one line of a terminal: typer would fold it, and a shell takes the second line for another word."""
    return what if len(what) <= 60 else f"{what[:57]}..."


def _near(incomplete: str) -> list[str]:
    """What lies in the folder that is being typed, as it would be typed on."""
    folder, _, start = incomplete.rpartition("/")
    before = f"{folder}/" if folder or incomplete.startswith("/") else ""
    try:
        names = sorted(path.name for path in Path(before or ".").iterdir())
    except OSError:
        return []
    return [before + name for name in names if name.startswith(start)]


def _is_run(path: str) -> bool:
    return (Path(path) / "spec.yaml").is_file()


def _is_plain(path: str) -> bool:
    """Whether a shell takes it as one word: completions are not quoted."""
    return shlex.quote(path) == path
