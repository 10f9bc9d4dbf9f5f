"""Imports point one way (design: "rooms, and the way through them"), held by reading the source of every module."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gtsearch import catalog

ROOT = Path(__file__).parent.parent
PACKAGES = {"gtsearch": "gtsearch", "analysis": "gtsearch.analysis", "search_spaces": "gtsearch.search_spaces"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def statements(body: list[ast.stmt], deep: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; with `deep` those inside functions too. What only a type checker reads is left out."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse, deep)
        elif deep or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            children = [child for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]
            yield from (child for child in children if isinstance(child, (ast.Import, ast.ImportFrom)))


@cache
def imports(module: str, deep: bool = True) -> frozenset[str]:
    """The dotted names that `module` imports: of the project as modules, of others as written."""
    tree = ast.parse(modules()[module].read_text())
    names = set()
    for node in statements(tree.body, deep):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        package = module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]
        base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
        source = ".".join(part for part in (base, node.module) if part)
        inner = {f"{source}.{alias.name}" for alias in node.names}
        names |= {name if name in modules() else source for name in inner}
    return frozenset(names)


def menu(*kinds: str) -> set[str]:
    return {target.partition(":")[0] for kind in kinds for target in catalog.MENUS[kind].values()}


def reachable(start: str) -> set[str]:
    """The project's modules that `start` can come to load, by the menu too, where it loads from the menu."""
    todo, seen = [start], set()
    while todo:
        module = todo.pop()
        if module in seen or module not in modules():
            continue
        seen.add(module)
        todo += imports(module)
        if module == "gtsearch.catalog":
            todo += menu("task", "model", "method", "optimizer", "loss", "probe", "score")
    return seen


def offenders(among: set[str], forbidden: set[str]) -> list[str]:
    """`module imports name`, for each import of a forbidden package or module."""
    return sorted(
        f"{module} imports {name}"
        for module in among
        for name in imports(module)
        if any(name == no or name.startswith(f"{no}.") for no in forbidden)
    )


def inside(package: str) -> set[str]:
    return {name for name in modules() if name == package or name.startswith(f"{package}.")}


def test_the_reader_sees_what_there_is() -> None:
    assert {"gtsearch.training", "gtsearch.search.weak", "gtsearch.analysis.stats"} <= set(modules())
    assert {"torch", "gtsearch.optimizers.adamw", "gtsearch.methods.base"} <= imports("gtsearch.training")
    assert any(name.partition(".")[0] == "ray" for name in imports("gtsearch.tune"))
    assert {"gtsearch.tasks.modular", "gtsearch.methods.transfer"} <= reachable("gtsearch.trainables")


RAYS = {f"gtsearch.{name}" for name in ("tune", "cluster", "local", "nodes", "survey")}


def test_few_modules_import_ray() -> None:
    assert offenders(set(modules()) - RAYS, {"ray"}) == []


@pytest.mark.parametrize("start", ["gtsearch.training", "gtsearch.trainables"])
def test_training_runs_on_a_machine_with_torch_and_no_ray(start: str) -> None:
    """`gtsearch` itself is loaded too; what its names load when they are used is not."""
    assert offenders(reachable(start) - {"gtsearch"}, {"ray", "optuna", *RAYS, "gtsearch.search"}) == []


def test_workers_load_no_tracker() -> None:
    assert reachable("gtsearch.trainables") & inside("gtsearch.trackers") <= {"gtsearch.trackers.base"}
    clients = {"tensorboard", "mlflow", "wandb"}
    own = {f"gtsearch.trackers.{name}" for name in clients}
    assert offenders(set(modules()) - own, clients | own) == []


def test_the_training_loop_knows_no_yaml_and_no_files() -> None:
    forbidden = {"yaml", "pathlib", "os", "io", "json", "gtsearch.spec", "gtsearch.embedding", "gtsearch.results"}
    assert offenders({"gtsearch.training"}, forbidden) == []


def test_analysis_reads_tables_and_nothing_else() -> None:
    allowed = {"gtsearch.errors", "gtsearch.results", "gtsearch.catalog", "gtsearch.measures"} | inside(
        "gtsearch.analysis"
    )
    analysis = inside("gtsearch.analysis")
    assert offenders(analysis, {"torch", "ray", "optuna"}) == []
    assert offenders(analysis, set(modules()) - allowed - {"gtsearch"}) == []


def test_the_search_is_pure() -> None:
    forbidden = {"ray", "torch", "os", "io", "pathlib", "shutil", "tempfile", "subprocess", "time", "datetime"}
    forbidden |= {"random", "gtsearch.training", "gtsearch.trainables", *RAYS, "gtsearch.results"}
    assert offenders(inside("gtsearch.search"), forbidden) == []
    for module in inside("gtsearch.search"):
        calls = [n.func for n in ast.walk(ast.parse(modules()[module].read_text())) if isinstance(n, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id in ("open", "print", "input")]


def test_nothing_imports_the_command_line() -> None:
    assert offenders(set(modules()) - {"gtsearch.__main__"}, {"gtsearch.cli"}) == []


def test_only_the_command_line_and_the_public_names_import_the_conductor() -> None:
    assert offenders(set(modules()) - {"gtsearch", "gtsearch.cli"}, {"gtsearch.experiment"}) == []


def test_there_is_no_circle() -> None:
    graph = {module: {name for name in imports(module, deep=False) if name in modules()} for module in modules()}
    for module, needed in graph.items():
        needed -= {"gtsearch", module}  # a package is loaded before what is in it, and not by it
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_everything_on_the_menu_is_there() -> None:
    for kind, names in catalog.MENUS.items():
        for name in names:
            assert catalog.load(kind, name) is not None


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import gtsearch", ["torch", "ray", "pandas", "optuna", "matplotlib"]),
        ("import gtsearch.trainables", ["ray", "optuna"]),
        ("import gtsearch.pricing", ["ray", "optuna", "matplotlib"]),
        ("import gtsearch.certificate", ["ray", "matplotlib"]),
        ("import gtsearch.analysis.stats", ["torch", "ray", "optuna"]),
        ("import gtsearch.results", ["torch", "ray", "optuna"]),
        ("import gtsearch.trackers.courier", ["torch", "ray", "optuna", "tensorboard", "mlflow", "wandb"]),
        ("import gtsearch.experiment, gtsearch.cli", ["ray", "tensorboard", "mlflow", "wandb"]),
    ],
)
def test_what_is_loaded(code: str, absent: list[str]) -> None:
    probe = f"import sys; {code}; print([name for name in {absent} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"
