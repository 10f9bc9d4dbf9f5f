"""An experiment's YAML as plain mappings, lists, text and numbers, and where in the file each value stands.

Only what an experiment needs is read: one document, no anchors, no tags, no key twice, numbers as YAML 1.2 has them
(`3e-3` is one, `010` and `12:30` are text). Knows nothing of what the keys mean.
"""

from __future__ import annotations

import importlib.resources
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from gtsearch import renamed
from gtsearch.catalog import nearest
from gtsearch.errors import OldName, SpecError
from gtsearch.problems import Place, Problem, one_line, path_of, refuse, show

Sources = dict[str, str]
"""YAML path -> where its value was written, e.g. `modadd.yaml, line 7`. The whole file has the path ``."""

_DEEPEST = 20
_MOST_BYTES = 4 * 2**20
_LONGEST_IN_LINE = 110
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own name for a class-wide table

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            what = "anchors, aliases and tags are not used in experiments; write the value itself"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever text `_Loader` would read as something else; what fits stands in one line."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, _fits_in_line(mapping))

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, _fits_in_line(sequence))

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _fits_in_line(value: Any) -> bool:
    return len(str(value).replace("'", "")) <= _LONGEST_IN_LINE


for _kind, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, _first)


def experiments() -> list[str]:
    """The names of the experiments that come along, those in folders last, e.g. `modadd`, `paper/fig6a`."""
    return sorted(_files(), key=lambda name: (name.count("/"), name))


def _files() -> dict[str, Traversable]:
    """Name -> file of every experiment that comes along."""
    top = importlib.resources.files("gtsearch.search_spaces")
    folders = [("", top), *((f"{f.name}/", f) for f in top.iterdir() if f.is_dir())]
    return {
        prefix + file.name.removesuffix(".yaml"): file
        for prefix, folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }


def text_of(name: str) -> str:
    """The text of an experiment that comes along."""
    return _files()[name].read_text("utf-8")


def read_experiment(path: str | Path) -> tuple[dict[str, Any], Sources]:
    """The mapping in the file at `path`, or in the experiment of that name, and where its values stand.

    Raises:
        SpecError: there is no such file, it cannot be read, or it is not one YAML mapping.
    """
    name, text = _text_of(path)
    sources: Sources = {"": name}
    content = _read(text, name, sources)
    if not isinstance(content, dict):
        raise _mistake(f"{name} must hold a mapping of keys to values, not {show(content)}")
    return content, sources


def dump(content: Mapping[str, Any]) -> str:
    """`content` as YAML that `read_experiment` reads back, its keys in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)


def in_one_line(value: Any) -> str:
    """`value` as YAML in one line, for messages."""
    return yaml.dump(value, Dumper=_Dumper, width=10**6).removesuffix("...\n").strip()


def source_of(path: str, sources: Sources) -> str:
    """Where the value at `path`, or the nearest mapping around it, was written; empty when nobody knows."""
    while path and path not in sources:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return sources.get(path, "")


def override(content: dict[str, Any], sources: Sources, settings: Sequence[str]) -> None:
    """Writes every `weak.goal.val_accuracy=0.5` of `settings` into `content`; values are read as YAML.

    Keys on the way that the file leaves out are made; whether they exist is for the validation to say.

    Raises:
        SpecError: a setting that is not `key=value`, whose value is not YAML, or that leads through what is no mapping.
    """
    for setting in settings:
        path, separator, text = setting.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not separator or not all(keys):
            raise _mistake(f"--set takes key=value, as in weak.goal.val_accuracy=0.5, not `{setting}`")
        _put(content, keys, _read(text, f"--set {setting}", {}))
        path = ".".join(keys)
        for inner in [known for known in sources if known.startswith((f"{path}.", f"{path}["))]:
            del sources[inner]
        sources[path] = "from --set"


def override_values(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Writes every `{"weak.goal.val_accuracy": 0.5}` of `changes` into `content`.

    Raises:
        SpecError: a path leads through what is no mapping.
    """
    for path, value in changes.items():
        _put(content, path.split("."), value)


def bring_up_to_date(content: Any) -> Any:
    """`content`, an experiment in plain mappings, with what stands under old keys (`gtsearch.renamed`) under the new
    ones, in what `ablate` varies too. Changed in place; warns of each.

    Raises:
        ValidationError: an old key that is refused by now, or that stands beside the new one.
    """
    varied = {n: changes for n, changes in _at(content, "ablate.vary").items() if isinstance(changes, dict)}
    for old, now in renamed.KEYS.items():
        way, _, last = old.rpartition(".")
        if _stands(content, old):
            _tell(now, tuple(old.split(".")), _stands(content, now.new))
            override_values(content, {now.new: _at(content, way).pop(last)})
        for name, changes in varied.items():
            for path in [path for path in changes if f"{path}.".startswith(f"{old}.")]:
                now_here = replace(now, new=now.new + path.removeprefix(old))
                _tell(now_here, ("ablate", "vary", name, path), now_here.new in changes)
                changes[now_here.new] = changes.pop(path)
    return content


def plain(value: Any, place: Place = ()) -> Any:
    """A copy of `value` in mappings, lists, text, numbers, truth values and None.

    Raises:
        ValidationError: it holds something else, a number that is not finite or too large, or an endless nesting.
    """
    if len(place) > _DEEPEST:
        refuse([Problem(place[:3], f"is nested more than {_DEEPEST} deep; no experiment is")])
    if isinstance(value, Mapping):
        refuse(Problem(place, f"keys must be text, not {show(key)}") for key in value if not _is_text(key))
        return {key: plain(inner, (*place, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, (*place, i)) for i, inner in enumerate(value)]
    if value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        refuse([Problem(place, f"must be a mapping, a list, text or a number, not of the type {kind}")])
    if isinstance(value, str) and not _is_text(value):
        refuse([Problem(place, "must be text that UTF-8 can write; take the lone surrogates out")])
    if isinstance(value, float) and not math.isfinite(value):
        refuse([Problem(place, f"must be a finite number, not {value}")])
    if isinstance(value, int) and value.bit_length() > 63:
        refuse([Problem(place, "must be a whole number of at most 18 digits, not a longer one")])
    return value


def _is_text(value: Any) -> bool:
    """Whether `value` is text that can be printed and saved: YAML's escapes can also write halves of characters."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _mistake(message: str, path: str = "") -> SpecError:
    return SpecError(one_line(message), one_line(path))


def _text_of(path: str | Path) -> tuple[str, str]:
    """A name for messages, and the text."""
    file = Path(path)
    # A name without a folder is an experiment that comes along whatever lies here; `paper/fig6a` may be a file too.
    is_name = file.suffix not in (".yaml", ".yml") and not file.is_absolute() and len(file.parts) <= 2
    bare = is_name and (len(file.parts) == 1 or not file.exists())
    if bare and file.as_posix() in experiments():
        return f"{file.name}.yaml", text_of(file.as_posix())
    try:
        with file.open("rb") as stream:  # a device has no end
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise _mistake(f"{file} is no experiment: it has more than {_MOST_BYTES:,} bytes")
        return file.name, content.decode("utf-8")
    except FileNotFoundError as error:
        if bare and len(file.parts) == 1:
            near = nearest(file.name, experiments())  # there are too many to name them all
            hint = f"; did you mean `{near}`?" if near else ""
            rule = "(`gtsearch spaces` lists them); the name of a file ends in .yaml"
            raise _mistake(f"there is no experiment `{file.name}`{hint} {rule}") from error
        known = "a name that `gtsearch spaces` lists"
        near = nearest(file.as_posix(), experiments())
        hint = f"; did you mean `{near}`?" if near else ""
        raise _mistake(f"there is no file `{path}`{hint}; give a YAML file, or {known}") from error
    except UnicodeDecodeError as error:
        raise _mistake(f"`{path}` is not text in UTF-8 (byte {error.start}); give a YAML file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _mistake(f"`{path}` cannot be read: {reason}; give a YAML file") from error


def _read(text: str, name: str, sources: Sources) -> Any:
    """The value `text` stands for; notes in `sources` where in the file `name` its parts stand."""
    try:
        return _build(yaml.compose(text, Loader=_Loader), (), name, sources)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        parts = [getattr(error, part, None) for part in ("context", "problem", "reason")]
        what = ", ".join(str(part) for part in parts if part)
        # A sign that is missing is missed where the next one stands, which may be a line later.
        late = mark and mark.line and isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError)
        mend = f"mend it there{' or on the line before' if late else ''}"
        raise _mistake(f"{name}{where}: cannot be read as YAML: {what}; {mend}") from error
    except RecursionError as error:
        raise _mistake(f"{name} is nested too deeply to be an experiment") from error


def _build(node: yaml.Node | None, place: Place, name: str, sources: Sources) -> Any:
    """The value of `node`; notes on the way where each value stands."""
    if node is None:
        return None
    sources.setdefault(path_of(place), f"{name}, line {node.start_mark.line + 1}")
    if isinstance(node, yaml.SequenceNode):
        return [_build(inner, (*place, i), name, sources) for i, inner in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, name, sources)
    assert isinstance(node, yaml.ScalarNode), node
    return _scalar(node)


def _mapping(node: yaml.MappingNode, place: Place, name: str, sources: Sources) -> dict[str, Any]:
    content: dict[str, Any] = {}
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key_node.start_mark)
        key = key_node.value
        if key in content:
            what = f"the key `{path_of((*place, key))}` stands twice (first on line {first_lines[key]}); take one out"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=key_node.start_mark)
        first_lines[key] = key_node.start_mark.line + 1
        sources[path_of((*place, key))] = f"{name}, line {first_lines[key]}"
        content[key] = _build(value_node, (*place, key), name, sources)
    return content


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return str(node.value).lower() == "true"
        # A whole number of more digits than a float's range is read as infinite, and refused as such later.
        case "int":
            return int(node.value) if len(node.value) <= 300 else math.inf
        case "float":
            return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return str(node.value)


def _put(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    inner = content
    for depth, key in enumerate(keys[:-1], start=1):
        if inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
        if not isinstance(inner, dict):
            whole = ".".join(keys[:depth])
            raise _mistake(f"is {show(inner)}, which has no key `{keys[depth]}`; set {whole} as a whole", whole)
    inner[keys[-1]] = value


def _at(content: Any, path: str) -> dict[str, Any]:
    """The mapping at a dotted path, `content` itself at an empty one; an empty one where there is none."""
    for key in path.split(".") if path else ():
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _stands(content: Any, path: str) -> bool:
    way, _, last = path.rpartition(".")
    return last in _at(content, way)


def _tell(now: renamed.Renamed, place: Place, is_there: bool) -> None:
    """Warns of an old key at `place`, or refuses it. `is_there`: the new one is written too."""
    if now.is_over:
        refuse([Problem(place, now.told())])
    if is_there:
        refuse([Problem(place, f"stands beside `{now.new}`, which is its name now; take the old one out")])
    warnings.warn(f"{path_of(place)} {now.told()}", OldName, stacklevel=3)
