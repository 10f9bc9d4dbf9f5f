"""Whether somebody else's task, model or method works at all: asked while an experiment is read, so that a mistake in
it is one line there, and not a failure of every member. What gtsearch has itself is held by its own tests.

Each gives why it does not work, in one line, or None. Shapes are tried on meta tensors: nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch

from gtsearch import cost, plugins
from gtsearch.catalog import MENUS
from gtsearch.methods.base import Method
from gtsearch.models.base import InputEmbedding, Model, Sizes, initialise
from gtsearch.tasks.base import Task
from gtsearch.tasks.factory import PARTS, FactoryTask, misfit


@lru_cache(maxsize=64)
def task(given: Task) -> str | None:
    """Of a class of tasks; what a function makes was looked at as it was made."""
    if given.name in MENUS["task"] or isinstance(given, FactoryTask):
        return None
    return _asked(given.name, lambda: _task(given))


@lru_cache(maxsize=256)
def model(sizes: Sizes, of: Task, loss: str) -> str | None:
    """Of models of these sizes on the task `of`."""
    if sizes.name in MENUS["model"]:
        return None
    return _asked(sizes.name, lambda: _model(sizes, of, loss))


@lru_cache(maxsize=256)
def method(given: Method, target: Sizes, of: Task, loss: str) -> str | None:
    """Of targets that start by a method."""
    if given.name in MENUS["method"]:
        return None
    width = 2 if given.needs_embedding else None

    def question() -> None:
        cost.of_start(target, of, given, width, loss)

    return _asked(given.name, question)


def _asked(name: str, question: Callable[[], str | None]) -> str | None:
    try:
        wrong = question()
    except Exception as error:
        return f"`{name}` raised {plugins.raised(error)}; mend it there"
    return None if wrong is None else f"`{name}`: {wrong}; mend it there"


def _task(given: Task) -> str | None:
    splits = given.splits(given.seed)
    parts = (splits.train, splits.validation, splits.test)
    if (sizes := tuple(map(len, parts))) != given.part_sizes:
        return f"`splits` gives parts of {sizes} examples, and `part_sizes` says {given.part_sizes}"
    blank = given.blank(1, "cpu")
    for name, part in zip(PARTS, parts, strict=True):
        for letter, found, like in (("x", part.x, blank.x), ("y", part.y, blank.y)):
            wanted = [len(part), *like.shape[1:]]
            if list(found.shape) != wanted or found.dtype != like.dtype:
                has = f"{list(found.shape)} {str(found.dtype)[6:]}"
                return f"{letter} of {name} must be {wanted} {str(like.dtype)[6:]}, not {has}"
        for values, most, of in ((part.x, given.d_vocab, "d_vocab"), (part.y, given.n_classes, "n_classes")):
            if not values.is_floating_point() and not 0 <= int(values.min()) <= int(values.max()) < most:
                return f"{name} holds {int(values.max())} (least {int(values.min())}), and `{of}` is {most}"
    return misfit(splits)


def _model(sizes: Sizes, of: Task, loss: str) -> str | None:
    with torch.device("meta"):
        made = sizes.module(of)
    if not isinstance(made, Model) or not isinstance(getattr(made, "embedding", None), InputEmbedding):
        return "`module` must give a gtsearch.models.base.Model that has an `embedding` of gtsearch.models.base"
    initialise(made, torch.Generator(), 1.0)
    first = next(name for name, _ in made.named_parameters())
    if not first.startswith("embedding."):
        return f"the embedding must be its first part, and `{first}` comes before; make it first"
    if list(made.embedding.matrix().shape) != [of.d_vocab, sizes.d_embed]:
        return f"its embedding must be [{of.d_vocab}, {sizes.d_embed}], not {list(made.embedding.matrix().shape)}"
    part = of.blank(3, "meta")
    outputs, wanted = made(part.x), [*part.y.shape, of.n_outputs]
    if list(outputs.shape) != wanted:
        return f"its outputs for 3 examples must be {wanted}, not {list(outputs.shape)}"
    cost.of_architecture(sizes, of, loss)
    return None
