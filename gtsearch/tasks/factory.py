"""A task from a plain function: `make_task(seed, **parameters)`, which gives the examples of each part.

Entry: `task_of`, which makes a `Task` class of a function; its parameters are the fields. What the function gives is
checked, and its examples at seed 0 are pinned by their SHA-256, as a table's file is.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import BeforeValidator, PlainSerializer, PydanticUserError, create_model, model_validator

from gtsearch.errors import SpecError, TaskError
from gtsearch.identity import canonical
from gtsearch.plugins import raised
from gtsearch.problems import show, unknown_keys
from gtsearch.tasks.base import Part, Splits, Task, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = ("train", "validation", "test")
_GIVEN = (*PARTS, "d_vocab", "n_classes", "title")
_MOST_SEED = 2**32
"""Seeds that a function is given are below it: numpy's and scikit-learn's take no larger ones."""


@dataclass(frozen=True)
class _Facts:
    """What is known of the task from its examples at seed 0."""

    sha256: str
    part_sizes: tuple[int, int, int]
    vectors: bool
    columns: int
    d_vocab: int
    n_classes: int
    chance: float
    title: str | None


class FactoryTask(Task):
    """Base of the tasks that functions make.

    Attributes:
        sha256: of the examples at seed 0, in hex, so that a run and its embeddings stay tied to them; None: filled in.
    """

    function: ClassVar[Callable[..., Any]]

    sha256: str | None = None

    @model_validator(mode="after")
    def _is_as_it_was(self) -> FactoryTask:
        found = self._facts.sha256
        if self.sha256 not in (None, found):
            raise TaskError(
                f"`{self.name}` gives other examples than it did: their sha256 at seed 0 is {found[:12]}..., not "
                f"{str(self.sha256)[:12]}...; restore what they are made of, or leave `sha256` out and start anew"
            )
        self.__dict__["sha256"] = found  # the model is frozen for everybody else
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """What the function is called with, beside the seed."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in FactoryTask.model_fields}

    @property
    def vectors(self) -> bool:
        return self._facts.vectors

    @property
    def d_vocab(self) -> int:
        return self._facts.d_vocab

    @property
    def n_tokens(self) -> int:
        return 1 if self.vectors else self._facts.columns

    @property
    def n_classes(self) -> int:
        return self._facts.n_classes

    @property
    def part_sizes(self) -> tuple[int, int, int]:
        return self._facts.part_sizes

    @property
    def chance(self) -> float:
        """The share of the most frequent label among the examples at seed 0."""
        return self._facts.chance

    @property
    def title(self) -> str:
        return self._facts.title or self.name

    def prepare(self) -> None:
        """Asks the function once more: what it gives must follow from its seed."""
        if _facts_of(self).sha256 != self.sha256:
            raise TaskError(
                f"`{self.name}` gives other examples each time it is called with seed 0; draw from a generator that is "
                "made from the seed"
            )

    def splits(self, split_seed: int) -> Splits:
        splits, _ = _called(self, split_seed)
        facts, now = self._facts, tuple(map(len, (splits.train, splits.validation, splits.test)))
        if now != facts.part_sizes or splits.train.x.shape[1] != facts.columns:
            raise TaskError(
                f"`{self.name}` gives parts of {now} examples at seed {split_seed % _MOST_SEED}, and of "
                f"{facts.part_sizes} at seed 0; sizes must not depend on the seed"
            )
        for part, name in zip((splits.train, splits.validation, splits.test), PARTS, strict=True):
            if part.x.is_floating_point() != facts.vectors:
                raise TaskError(f"`{self.name}`: {name} has tokens at one seed and vectors at another; give one kind")
            for values, most, key in ((part.x, facts.d_vocab, "d_vocab"), (part.y, facts.n_classes, "n_classes")):
                if not values.is_floating_point() and int(values.max()) >= most:
                    rule = f"{name} holds {int(values.max())} at seed {split_seed % _MOST_SEED}, which seed 0 has not"
                    raise TaskError(f"`{self.name}`: {rule}; give `{key}` beside the parts")
        return splits

    @property
    def _facts(self) -> _Facts:
        return _facts(self._question)

    @property
    def _question(self) -> _Question:
        return _Question(self)

    def __hash__(self) -> int:
        return hash(canonical(self.model_dump()))

    def __reduce__(self) -> Any:
        return _again, (self.name, self.model_dump())


def _again(name: str, parameters: Mapping[str, Any]) -> Task:
    from gtsearch.catalog import load

    made: Task = load("task", name)(**parameters)
    return made


class _Question:
    """A task without its split and its SHA-256, as a key."""

    def __init__(self, task: FactoryTask) -> None:
        self.task, self.key = task, (type(task), canonical(task.model_dump(exclude={"seed", "sha256"})))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Question) and self.key == other.key


@lru_cache(maxsize=64)
def _facts(question: _Question) -> _Facts:
    return _facts_of(question.task)


def _facts_of(task: FactoryTask) -> _Facts:
    splits, given = _called(task, 0)
    parts = (splits.train, splits.validation, splits.test)
    x, y = (torch.cat(tensors) for tensors in zip(*((part.x, part.y) for part in parts), strict=True))
    vectors = x.is_floating_point()
    least = {"d_vocab": x.shape[1] if vectors else int(x.max()) + 1, "n_classes": max(2, int(y.max()) + 1)}
    for key, needed in least.items():
        number = given.get(key, needed)
        if not isinstance(number, int) or number < needed or (vectors and key == "d_vocab" and number != needed):
            raise TaskError(f"`{task.name}` gives `{key}` {show(number)}, and its examples need {needed}; mend it")
    title = given.get("title")
    if title is not None and not (isinstance(title, str) and title.isprintable() and title):
        raise TaskError(f"`{task.name}` gives the title {show(title)}; it must be one line of text")
    return _Facts(
        sha256=fingerprint([tensor for part in parts for tensor in (part.x, part.y)]),
        part_sizes=(len(parts[0]), len(parts[1]), len(parts[2])),
        vectors=vectors,
        columns=x.shape[1],
        d_vocab=given.get("d_vocab", least["d_vocab"]),
        n_classes=given.get("n_classes", least["n_classes"]),
        chance=int(y.bincount().max()) / len(y),
        title=title,
    )


def _called(task: FactoryTask, split_seed: int) -> tuple[Splits, Mapping[str, Any]]:
    """What the function gives, checked: the splits, and all of its mapping.

    Raises:
        TaskError: it raises, or what it gives makes no task.
    """
    seed = split_seed % _MOST_SEED
    try:
        with _seeded(seed):
            given = type(task).function(seed=seed, **task.parameters)
    except Exception as error:
        raise TaskError(f"`{task.name}` raised {raised(error)}; mend it there") from None
    if not isinstance(given, Mapping):
        rule = "must give a mapping of train, validation and (or leave it out) test to pairs (x, y)"
        raise TaskError(f"`{task.name}` {rule}, not a {type(given).__name__}")
    for problem in unknown_keys(given, _GIVEN):
        raise TaskError(f"`{task.name}`: {problem.text}")
    if missing := [name for name in PARTS[:2] if name not in given]:
        raise TaskError(f"`{task.name}` gives no `{missing[0]}`; it must hold train and validation")
    parts = {name: _part(given[name], f"`{task.name}`: {name}") for name in PARTS if name in given}
    if "test" not in parts:
        whole = parts["validation"]
        if len(whole) < 2:
            raise TaskError(f"`{task.name}` gives no `test`, and a validation of one example cannot be halved; add one")
        parts |= {"validation": Part(whole.x[::2], whole.y[::2]), "test": Part(whole.x[1::2], whole.y[1::2])}
    train, validation, test = (parts[name] for name in PARTS)
    splits = Splits(train, validation, test, fingerprint([train.x, train.y]))
    if (wrong := misfit(splits)) is not None:
        raise TaskError(f"`{task.name}`: {wrong}")
    return splits, given


def misfit(splits: Splits) -> str | None:
    """What is wrong with the parts beside one another, in one line; None: nothing."""
    parts = dict(zip(PARTS, (splits.train, splits.validation, splits.test), strict=True))
    columns = {name: (part.x.dtype, part.x.shape[1:]) for name, part in parts.items()}
    for name in PARTS[1:]:
        if columns[name] != columns["train"]:
            shapes = [f"{n} is {list(parts[n].x.shape)} {str(parts[n].x.dtype)[6:]}" for n in ("train", name)]
            return f"inputs of all parts must be alike, and {shapes[0]}, {shapes[1]}"
    rows = {name: [row.tobytes() for row in part.x.numpy()] for name, part in parts.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = set(rows[one])
        shared = sum(row in known for row in rows[other])
        if shared:
            rule = f"{shared} of {len(rows[other])} inputs of {other} stand in {one} too"
            return f"{rule}: it would be measured by what it has seen; keep equal inputs in one part"
    return None


def _part(value: Any, where: str) -> Part:
    """A pair (x, y) of tensors or arrays as a Part."""
    if not (isinstance(value, tuple | list) and len(value) == 2):
        raise TaskError(f"{where} must be a pair (x, y), not {_what(value)}")
    tensors = []
    for name, one in zip("xy", value, strict=True):
        try:
            tensors.append(torch.as_tensor(np.ascontiguousarray(one) if isinstance(one, np.ndarray) else one))
        except (TypeError, ValueError, RuntimeError):
            raise TaskError(f"{where}: {name} must be a tensor or an array of numbers, not {_what(one)}") from None
    x, y = (tensor.detach().cpu() for tensor in tensors)
    if x.dim() != 2 or y.dim() != 1 or len(x) != len(y) or 0 in x.shape:
        shapes = f"{list(x.shape)} and {list(y.shape)}"
        raise TaskError(f"{where}: x must be [n, tokens] or [n, numbers] and y [n], n from 1 on, not {shapes}")
    if y.is_floating_point() or y.is_complex() or x.is_complex():
        raise TaskError(f"{where}: labels must be whole numbers and inputs real ones, not {y.dtype} and {x.dtype}")
    if int(y.min()) < 0 or (not x.is_floating_point() and int(x.min()) < 0):
        raise TaskError(f"{where}: tokens and labels must be whole numbers from 0 on, and one is below 0")
    x = x.float() if x.is_floating_point() else x.long()
    if not bool(x.isfinite().all()):
        raise TaskError(f"{where}: x holds NaN or infinite numbers, or some too large for float32; take them out")
    return Part(x.contiguous(), y.long().contiguous())


def _what(value: Any) -> str:
    return f"a {type(value).__name__}"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within it the global generators of torch, numpy and Python begin at `seed`; they are put back after."""
    before = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])


# -- a function as a class ---------------------------------------------------------------------------------------------


def task_of(function: Callable[..., Any], name: str) -> type[FactoryTask]:
    """A class of tasks that `function` makes, its parameters as fields.

    Parameters are checked by their annotations (of those without one, by the type of the default). One that is
    annotated as a `Path` is made absolute, from the current folder.

    Raises:
        SpecError: the function cannot be asked by a seed and named parameters.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (TypeError, ValueError, NameError) as error:
        raise SpecError(f"the parameters of `{name}` cannot be read: {error}") from None
    if "seed" not in signature.parameters:
        raise SpecError(f"the function `{name}` must take `seed`, which says which split; add it")
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SpecError(f"the parameter `{parameter}` of `{name}` has no name to be given by; name its parameters")
        if parameter.name == "seed":
            continue
        if hasattr(FactoryTask, parameter.name) or parameter.name in FactoryTask.model_fields:
            raise SpecError(f"a parameter of `{name}` is called `{parameter.name}`, which a task has; rename it")
        fields[parameter.name] = _field(parameter, name)
    try:
        made = create_model(f"FactoryTask_{name.partition(':')[2]}", __base__=FactoryTask, **fields)
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"the parameters of `{name}` cannot be read from an experiment: {reason}") from None
    made.function = staticmethod(function)
    return made


def _field(parameter: inspect.Parameter, name: str) -> tuple[Any, Any]:
    """A pydantic field for a parameter: its type, and its default or `...`."""
    default = ... if parameter.default is parameter.empty else parameter.default
    if not (default is ... or default is None or isinstance(default, bool | int | float | str | list | dict | Path)):
        rule = f"`{parameter.name}` of `{name}` has a {type(default).__name__} as its default"
        raise SpecError(f"the parameter {rule}; give numbers, text, or lists and mappings of those")
    kind = parameter.annotation
    if kind is parameter.empty:
        kind = type(default) if isinstance(default, bool | int | float | str | Path) else Any
    if kind in (Path, Path | None):
        return Annotated[kind, BeforeValidator(_absolute), PlainSerializer(_as_text)], _absolute(default)
    return kind, default


def _absolute(path: Any) -> Any:
    return Path(path).expanduser().absolute() if isinstance(path, str | Path) else path


def _as_text(path: Path | None) -> str | None:
    return None if path is None else str(path)
