"""Tasks, models and methods that are not gtsearch's own: objects in a user's module, named `module:object`, and those
that installed packages offer by name (entry points of the groups in GROUPS).

Nothing is imported until an experiment names it. A module is looked for where the experiment says (`modules`), in the
folder of its file, in the current folder, and among installed packages; these folders come last in `sys.path`, so that
a file in one of them takes nobody else's import. Entries: `load` (by way of `gtsearch.catalog`), `noted` around the
reading of an experiment, `restore` in a worker, `unread` where nothing may be run.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gtsearch.errors import BrokenOff, SpecError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = {"task": "gtsearch.tasks", "model": "gtsearch.models", "method": "gtsearch.methods"}
"""Kind on the menu -> group of entry points."""

_STRING = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Origin:
    """Where a module lies: the folder it is found in (None: among installed packages), and the SHA-256 in hex of its
    source: of the file, or of every Python file of the package that it is in."""

    folder: str | None
    sha256: str


@dataclass
class _Reading:
    """An experiment that is being read: what it says of modules, where else they may lie, and what it turned out to
    use."""

    pinned: Mapping[str, Mapping[str, Any]]
    folders: list[Path]
    used: dict[str, Origin] = field(default_factory=dict)


_reading: ContextVar[_Reading | None] = ContextVar("reading", default=None)
_unread: ContextVar[bool] = ContextVar("unread", default=False)
_origins: dict[str, Origin] = {}  # of the modules that this process has loaded by their names
_objects: dict[tuple[str, str], Any] = {}  # always the same class: tasks of two classes are never equal


@contextmanager
def noted(pinned: Mapping[str, Mapping[str, Any]], folder: Path | None) -> Iterator[dict[str, Origin]]:
    """Within it an experiment is read; gives the modules it uses, by name, filled as it goes.

    Args:
        pinned: module -> `folder` and `sha256`, as the experiment says; what is another now is refused.
        folder: of the experiment's file, if it has one.
    """
    places = [Path(where) for own in pinned.values() if isinstance(where := own.get("folder"), str)]
    reading = _Reading(pinned, [*places, *([folder] if folder else []), Path.cwd()])
    token = _reading.set(reading)
    try:
        yield reading.used
    finally:
        _reading.reset(token)


@contextmanager
def unread() -> Iterator[None]:
    """Within it no `module:object` is loaded: for looking at what somebody else may have made."""
    token = _unread.set(True)
    try:
        yield
    finally:
        _unread.reset(token)


def restore(modules: Mapping[str, Mapping[str, Any]]) -> None:
    """In a worker, before its first job: makes sure that each module can be loaded and is what it was.

    Raises:
        BrokenOff: one is not; the message says which machine, and why.
    """
    with noted(modules, None):
        for name in modules:
            try:
                _module(name)
            except SpecError as error:
                host = os.uname().nodename
                raise BrokenOff(f"a worker on {host} cannot use what the experiment names: {error}") from None


def is_named(kind: str, name: str) -> bool:
    """Whether `name` is a `module:object`, or what an installed package offers, of a kind that may be."""
    return kind in GROUPS and (":" in name or name in offered(kind))


def offered(kind: str) -> list[str]:
    """The names that installed packages offer; nothing of theirs is imported."""
    return sorted({point.name for point in _entry_points(kind)})


def clashes(menus: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each name that is on one of `menus` and is offered by an installed package too."""
    return [
        f"note: {_whose(point)} offers a {kind} `{point.name}`, and gtsearch has its own of that name, which is used; "
        f"for theirs write `{point.value}`"
        for kind in GROUPS
        for point in _entry_points(kind)
        if point.name in menus[kind]
    ]


def load(kind: str, name: str) -> Any:
    """The class that `name`, a `module:object` or a name that a package offers, stands for.

    A function in place of a task is wrapped into one (`gtsearch.tasks.factory`).

    Raises:
        SpecError: it cannot be imported, is not there, or is of another kind.
    """
    string = name
    if ":" not in name:
        points = [point for point in _entry_points(kind) if point.name == name]
        if len(points) > 1:
            packages = ", ".join(f"`{point.value}` of {_whose(point)}" for point in points)
            raise SpecError(f"several packages offer a {kind} `{name}`; write which: {packages}")
        string = points[0].value
    elif _unread.get():
        rule = f"names `{name}`, which is somebody's code: nothing is imported to look at a run folder"
        raise SpecError(f"{rule}; in a run of your own `gtsearch resume` imports it and goes on")
    if not _STRING.fullmatch(string):
        raise SpecError(f"must be `module:object`, such as `mypackage.data:make_task`, not `{string}`")
    module_name, _, attribute = string.partition(":")
    module = _module(module_name)
    if (kind, string) not in _objects:
        _objects[kind, string] = _of_kind(kind, string, _attribute(module, attribute))
    return _objects[kind, string]


def raised(error: BaseException) -> str:
    """What somebody's code raised, in one line: the error and the line of theirs that did it."""
    if isinstance(error, SyntaxError):
        where = f"{Path(error.filename or '?').name}:{error.lineno}"
        return f"{type(error).__name__}: {error.msg} ({where})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_of_ours(frame.filename)]
    frames = [frame for frame in frames if not _is_of_a_library(frame.filename)] or frames
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def of_theirs(error: BaseException) -> str | None:
    """The module of somebody else's that had a part in an error, or None."""
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    return next((name for name in _origins if getattr(sys.modules[name], "__file__", None) in files), None)


# -- modules ----------------------------------------------------------------------------------------------------------


def _module(name: str) -> ModuleType:
    """The module, imported; while an experiment is read, noted and held against what the experiment says of it."""
    reading = _reading.get()
    if reading is None and name in _origins:
        return sys.modules[name]
    folders = reading.folders if reading else [Path.cwd()]
    module = _imported(name, folders)
    now = Origin(_folder(name, module), _digest(name, module))
    if _origins.setdefault(name, now).sha256 != now.sha256:
        raise SpecError(f"the module `{name}` ({module.__file__}) was changed since this process loaded it; start anew")
    if reading is not None:
        pinned = reading.pinned.get(name, {}).get("sha256")
        if pinned not in (None, now.sha256):
            raise SpecError(
                f"the module `{name}` ({module.__file__}) was changed: its sha256 is {now.sha256[:12]}..., not "
                f"{str(pinned)[:12]}...; restore it, or take `modules` out of the experiment and start a run anew"
            )
        reading.used[name] = now
    return module


def _imported(name: str, folders: Iterable[Path]) -> ModuleType:
    places = [str(folder.absolute()) for folder in dict.fromkeys(folders)]
    if name == "__main__":
        raise SpecError("workers cannot import what was typed into a session; put it into a file and name that")
    sys.path += [place for place in places if place not in sys.path]
    importlib.invalidate_caches()  # a file may be newer than the last look at its folder
    top = name.partition(".")[0]
    local = PathFinder.find_spec(top, places)
    if local is not None and local.origin is not None and (other := _hides(local, top)) is not None:
        raise SpecError(
            f"the module `{top}` of {Path(local.origin).parent} is not the one that Python imports by that name, "
            f"which is {other}; give yours another name (in a program or notebook that has read another experiment, "
            "start Python anew)"
        )
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and name.startswith(error.name or "?"):
            raise SpecError(_no_module(name, places)) from None
        raise SpecError(f"the module `{name}` cannot be imported: {raised(error)}; mend it there") from None


def _hides(local: ModuleSpec, top: str) -> str | None:
    """The file that an import of `top` would give in place of `local`'s; None: it is `local`'s."""
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    assert local.origin is not None
    if found is None or (found.origin and os.path.realpath(found.origin) == os.path.realpath(local.origin)):
        return None
    return found.origin or f"the folder {next(iter(found.submodule_search_locations or ['?']))}"


def _no_module(name: str, places: Iterable[str]) -> str:
    from gtsearch.catalog import nearest

    looked = f"no module `{name}` in {', '.join(places)} nor among installed packages"
    if name.endswith(".py"):
        return f"there is {looked}; write its name without `.py`"
    top = name.partition(".")[0]
    put = f"put {top}.py into {next(iter(places))}, or say where it is: `modules: {{{top}: {{folder: ...}}}}`"
    near = nearest(name, sorted(path.stem for place in places for path in Path(place).glob("*.py")))
    return f"there is {looked}" + (f"; did you mean `{near}`?" if near else f"; {put}")


def _folder(name: str, module: ModuleType) -> str | None:
    """The folder an import of the module starts from; None where it is one of installed packages."""
    if module.__file__ is None:
        return None
    up = name.count(".") + (Path(module.__file__).name == "__init__.py")
    folder = Path(module.__file__).absolute().parents[up]
    return None if folder.name in ("site-packages", "dist-packages") else str(folder)


def _digest(name: str, module: ModuleType) -> str:
    """SHA-256 in hex of a module's source: the file, or all Python files of its top package, with their names."""
    top = sys.modules[name.partition(".")[0]]
    digest = hashlib.sha256()
    for place in [Path(folder) for folder in getattr(top, "__path__", [])]:
        for path in sorted(place.rglob("*.py")):
            digest.update(f"{path.relative_to(place).as_posix()}\0".encode() + path.read_bytes())
    if not hasattr(top, "__path__") and module.__file__ is not None:
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()


def _attribute(module: ModuleType, name: str) -> Any:
    from gtsearch.catalog import nearest

    if hasattr(module, name):
        return getattr(module, name)
    near = nearest(name, [word for word in vars(module) if not word.startswith("_")])
    hint = f"did you mean `{near}`?" if near else "write it there, or name another"
    raise SpecError(f"the module `{module.__name__}` ({module.__file__}) has no `{name}`; {hint}")


# -- what is in them ---------------------------------------------------------------------------------------------------


def _of_kind(kind: str, name: str, found: Any) -> Any:
    """The class that stands for `found`, if it is of its kind."""
    import inspect

    from gtsearch.methods.base import Method
    from gtsearch.models.base import Sizes
    from gtsearch.tasks.base import Task
    from gtsearch.tasks.factory import task_of

    base: type = {"task": Task, "model": Sizes, "method": Method}[kind]
    if kind == "task" and callable(found) and not isinstance(found, type):
        return task_of(found, name)
    if not (isinstance(found, type) and issubclass(found, base)):
        what = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        wanted = f"a class made from gtsearch.{kind}s.base.{base.__name__}"
        wanted += ", or a function that makes a task" if kind == "task" else ""
        raise SpecError(f"`{name}` is {what}; it must be {wanted}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(vars(found)["__abstractmethods__"]))
        raise SpecError(f"the class `{name}` lacks what a {base.__name__} must have: {missing}; add it")
    return found


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _entry_points(kind: str) -> tuple[EntryPoint, ...]:
    return _points(GROUPS[kind]) if kind in GROUPS else ()


def _whose(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else "a package"


def _is_of_a_library(file: str) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in Path(file).parts) or (
        file.startswith(sysconfig.get_path("stdlib"))
    )


def _is_of_ours(file: str) -> bool:
    """Whether a line of source is gtsearch's, or of what Python imports with."""
    return file.startswith(("<frozen", str(Path(__file__).resolve().parent))) or file == importlib.__file__
