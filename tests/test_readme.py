"""What README, CONTRIBUTING and docs/ show is what there is: experiments, keys, defaults, menus, files, code."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gtsearch import catalog, cli, domains, reading
from gtsearch.fields import NEEDED_HYPERPARAMETERS, GoalSpec, ModelSpace, Part, hyperparameters_of_methods
from gtsearch.methods.edits import EDITS
from gtsearch.parts import Design
from gtsearch.spec import Spec, load_spec, parse_spec

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
README, KEYS, CONTRIBUTING = (PAGES[name] for name in ("README.md", "docs/experiment-file.md", "CONTRIBUTING.md"))
ITS_DEFAULTS, REQUIRED = "its defaults", "required"
MENUS = {**catalog.MENUS, "edit": EDITS}
# What a key's table calls a value; the parts whose own tables stand elsewhere.
APART = (GoalSpec, ModelSpace)

Row = dict[str, str]


# -- reading the pages --------------------------------------------------------------------------------------------


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def experiments(page: str) -> list[str]:
    """The blocks of YAML that are a whole experiment."""
    return [block for block in blocks(page, "yaml") if {"name", "target"} <= set(yaml.safe_load(block) or ())]


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {title}\n(.*?)(?=^#{{1,2}} |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {title}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", found[2], re.MULTILINE)
    return found[2][: end.start()] if end else found[2]


def tables(text: str, first: str) -> list[Row]:
    """The rows of all tables whose first column is called `first`, by column."""
    rows: list[Row] = []
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|-: ") and head[0] == first:
            assert len(cells) == len(head), f"a row of {len(cells)} cells where its table has {len(head)}: {line}"
            rows.append(dict(zip(head, cells, strict=True)))
    return rows


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def default(cell: str) -> Any:
    """What stands in a column of defaults: words, or a value in YAML."""
    return yaml.safe_load(cell.strip("`")) if cell.startswith("`") else cell


# -- what there is ------------------------------------------------------------------------------------------------


def default_of(field: FieldInfo) -> Any:
    if field.is_required():
        return REQUIRED
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Part):
        return ITS_DEFAULTS
    return list(value) if isinstance(value, tuple) else value


def parts_of(annotation: Any) -> Iterator[tuple[type[Part], bool]]:
    """The parts of an experiment that a field may hold, and whether in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation, False
    for argument in get_args(annotation):
        if isinstance(argument, type) or get_args(argument):
            yield from ((part, many or get_origin(annotation) is list) for part, many in parts_of(argument))


def keys_of(part: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Path -> default of every key of a part and of the parts in it, but for those that stand apart."""
    found = {}
    for name, field in part.model_fields.items():
        path = f"{prefix}{name}"
        found[path] = default_of(field)
        for inner, many in parts_of(field.annotation):
            if inner not in APART:
                found |= keys_of(inner, f"{path}{'[]' if many else ''}.")
    return found


def options_of(kind: str) -> dict[tuple[str, str], Any]:
    """(name, option) -> default of every entry of a menu."""
    return {
        (name, key): value
        for name in MENUS[kind]
        for key, value in keys_of(EDITS[name] if kind == "edit" else catalog.load(kind, name)).items()
        if key != "name"
    }


# -- the experiments that are shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [block for page in PAGES.values() for block in experiments(page)])
def test_experiments_that_are_shown_are_experiments(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for table in blocks(KEYS, "csv"):
        Path("my-table.csv").write_text(table)
    Path("experiment.yaml").write_text(block)
    spec = load_spec("experiment.yaml")
    content, _ = reading.read_experiment("experiment.yaml")
    assert parse_spec(content) == spec and spec.name == content["name"]


def test_each_kind_of_experiment_is_shown() -> None:
    shown = [yaml.safe_load(block) for block in experiments(KEYS)]
    assert len({content["name"] for content in shown}) == len(shown)
    assert any("weak" not in content for content in shown)
    assert any(content.get("weak", {}).get("goal") == "none" for content in shown)
    assert any("ablate" in content for content in shown)
    assert any(content["task"]["name"] == "table" for content in shown)
    assert {content["target"].get("embedding_from", {}).get("name") for content in shown} >= set(catalog.SOURCES)


def test_every_block_of_yaml_can_be_read() -> None:
    for name, page in PAGES.items():
        for block in blocks(page, "yaml") if name != "docs/cluster.md" else ():  # its YAML is Kubernetes'
            assert set(yaml.safe_load(block) or ()) <= set(Spec.model_fields)


# -- the reference of keys, options and menus ----------------------------------------------------------------------


def test_the_reference_has_every_key_with_its_default_and_no_other() -> None:
    keys, goals = section(KEYS, "Keys"), section(KEYS, "Goals")
    goal = {code(row["key"])[0]: default(row["default"]) for row in tables(goals, "key")}
    rest = {code(row["key"])[0]: default(row["default"]) for row in tables(keys.replace(goals, ""), "key")}
    assert goal == keys_of(GoalSpec)
    assert rest == keys_of(Spec)


def section_of(kind: str) -> str:
    """What the reference tells of a menu."""
    found = section(KEYS, {"loss": "Losses"}.get(kind, f"{kind.capitalize()}s"))
    return found.replace(section(KEYS, "Edits"), "") if kind == "method" else found


@pytest.mark.parametrize("kind", list(MENUS))
def test_the_reference_has_every_name_of_every_menu_and_no_other(kind: str) -> None:
    rows = tables(section_of(kind), "name")
    assert [code(row["name"])[0] for row in rows] == list(MENUS[kind])
    assert all(row["what"] for row in rows)


@pytest.mark.parametrize("kind", ["task", "model", "method", "edit", "source", "probe", "tracker"])
def test_the_reference_has_every_option_with_its_default_and_no_other(kind: str) -> None:
    shown = {
        (name, code(row["option"])[0]): default(row["default"])
        for row in tables(section_of(kind), "of")
        for pattern in code(row["of"])
        for name in _matched(kind, pattern)
    }
    assert shown == options_of(kind)


def _matched(kind: str, pattern: str) -> list[str]:
    names = fnmatch.filter(MENUS[kind], pattern)
    assert names, f"no {kind} is called {pattern}"
    return names


def test_the_reference_has_every_hyperparameter_with_its_default_and_whose_it_is() -> None:
    rows = {code(row["hyperparameter"])[0]: row for row in tables(section(KEYS, "Hyperparameters"), "hyperparameter")}
    assert list(rows) == [*NEEDED_HYPERPARAMETERS, *hyperparameters_of_methods()]
    for name, row in rows.items():
        if name in NEEDED_HYPERPARAMETERS:
            assert (row["of"], row["default"]) == ("`*`", REQUIRED)
            continue
        searched = {method: catalog.load("method", method).searches.get(name) for method in catalog.METHODS}
        assert {m: default(row["default"]) for m in code(row["of"])} == {m: d for m, d in searched.items() if d}


def test_the_reference_has_every_design() -> None:
    assert [code(row["design"])[0] for row in tables(section(KEYS, "Designs"), "design")] == list(get_args(Design))


def test_the_reference_has_every_domain() -> None:
    written = [code(row["written"])[0] for row in tables(section(KEYS, "Domains"), "written")]
    shown = [domains.parse(yaml.safe_load(text)) for text in written]
    assert {type(domain) for domain in shown} == set(_kinds(domains.Domain))
    assert "{choice:" in " ".join(written)


def _kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def test_the_pages_that_list_a_menu_list_all_of_it() -> None:
    rows = {row["menu"]: row for row in tables(README, "menu")}
    assert {name: code(row["what is on it"]) for name, row in rows.items()} == {
        {"loss": "losses", "source": "sources of an embedding"}.get(kind, f"{kind}s"): list(menu)
        for kind, menu in catalog.MENUS.items()
    }


# -- files, commands, code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        to = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert to.exists(), target
        assert not anchor or anchor in anchors(to.read_text()), target


def anchors(page: str) -> set[str]:
    """Of its headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_files_and_make_targets_that_are_named_exist(name: str) -> None:
    text = re.sub(r"```.*?```", "", PAGES[name], flags=re.DOTALL)
    for path in re.findall(r"`((?:gtsearch|analysis|tests|search_spaces|benchmarks)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)\b", PAGES[name])) <= targets


def test_the_map_of_the_code_has_every_module_once() -> None:
    rows = tables(CONTRIBUTING, "room")
    shown = sorted(word for row in rows for word in code(row["modules of `gtsearch/`"]) if not word.endswith(".py"))
    files = {path.stem for path in (ROOT / "gtsearch").glob("*.py") if not path.stem.startswith("__")}
    rooms = {f"{path.parent.name}/" for path in (ROOT / "gtsearch").glob("*/__init__.py")}
    assert shown == sorted(files | rooms)


def test_every_command_is_told() -> None:
    commands = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert {code(row["command"])[0].split()[1] for row in tables(PAGES["docs/commands.md"], "command")} == commands
    assert {word for page in PAGES.values() for word in re.findall(r"`gtsearch ([a-z]+)\b", page)} <= commands


def test_experiments_that_are_named_come_along() -> None:
    known = set(reading.experiments())
    named = {name for page in PAGES.values() for name in re.findall(r"\bpaper/[\w-]+", page)}
    assert named and named <= known


def test_code_that_is_shown_is_that_of_the_file_it_names() -> None:
    [block] = [block for block in blocks(CONTRIBUTING, "python") if block.startswith("# gtsearch/")]
    source: Iterator[str] = iter(())
    for line in block.splitlines():
        if path := re.match(r"# (gtsearch/\S+\.py)", line):
            source = iter((ROOT / path[1]).read_text().splitlines())
        elif line.strip() not in ("", "..."):
            assert line in source, f"the file has no such line from there on: {line}"


def test_lines_of_the_menu_that_are_shown_are_on_it() -> None:
    menu = (ROOT / "gtsearch/catalog.py").read_text()
    rows = tables(PAGES["docs/adding-a-method.md"], "")
    rows = [row for row in rows if "its line" in row]
    assert rows
    for row in rows:
        [line] = code(row["its line"])
        assert f"    {line}\n" in menu
        target = line.split('"')[3].partition(":")[0].removeprefix("gtsearch.")
        assert code(row["its file"])[0].removeprefix("gtsearch/") == f"{target.replace('.', '/')}.py"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200
