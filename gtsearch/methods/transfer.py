"""`transfer`: GrokTransfer. E_T = A B with A = E_W and B random (Xu et al. 2025, section 2).

Its options are the paper's and the reviewers' variations of it: A and B merged early (Fig. 15b), A held fixed, layers
beside the embedding carried over (method.md section 7, point 10), and B of signs (Theorem 3.2, Fig. 9); and our own
interventions on A (`gtsearch.methods.edits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, Strict
from torch import Tensor

from gtsearch.methods.base import FactorisedStart, Given
from gtsearch.methods.edits import EditField
from gtsearch.models.base import Model, Sizes
from gtsearch.tasks.base import Task


class Transfer(FactorisedStart):
    """GrokTransfer: E = A B with A the weak model's embedding.

    `b_start: signs` is how Theorem 3.2 starts a neuron, at Unif{+-v_init}^3 (Fig. 9: .4).

    Attributes:
        merge_at: the epoch at which A B becomes one table that is trained on, before `target.budget.max_epochs`; None:
            never.
        freeze_a: whether A is held, against gradient and weight decay, while B is trained.
        layers: names of further parameters that start as the weak model's, e.g. `layers.0.weight`. Where the target's
            is larger the weak one fills its leading block (first rows, first columns), and the rest stays as drawn.
        b_start: how B is drawn: `uniform`: as PyTorch starts a linear layer, times `init_scale`; `signs`: every entry
            +-`init_scale`.
        edit: what is done to A before it is handed over; None: nothing.
    """

    merge_at: int | None = Field(default=None, ge=1, le=10**9)
    freeze_a: bool = False
    layers: Annotated[tuple[str, ...], Strict(False)] = ()  # a YAML or JSON list is none of Python's tuples
    b_start: Literal["uniform", "signs"] = "uniform"
    edit: EditField = None

    @property
    def merges_at(self) -> int | None:
        return self.merge_at

    @property
    def frozen_parameters(self) -> tuple[str, ...]:
        return ("embedding.A",) if self.freeze_a else ()

    @property
    def transferred_layers(self) -> tuple[str, ...]:
        return self.layers

    def problems(self, task: Task, target: Sizes, weak: Sequence[Sizes], max_epochs: int) -> Iterator[tuple[str, str]]:
        yield from super().problems(task, target, weak, max_epochs)
        if self.freeze_a and self.merge_at is not None:
            rule = f"there is no A left to hold once A B is one table, at epoch {self.merge_at}"
            yield "freeze_a", f"{rule}; take `freeze_a` or `merge_at` out"
        if self.merge_at is not None and self.merge_at >= max_epochs:
            rule = f"must be below target.budget.max_epochs, which is {max_epochs}, not {self.merge_at}"
            yield "merge_at", f"{rule}: no epoch would come after; merge earlier or train longer"
        if self.layers:
            yield from self._layers_that_do_not_fit(task, target, weak)
        if self.edit is not None and weak:
            yield from (("edit", text) for text in self.edit.problems(task, {sizes.d_embed for sizes in weak}))

    def _layers_that_do_not_fit(self, task: Task, target: Sizes, weak: Sequence[Sizes]) -> Iterator[tuple[str, str]]:
        into = _shapes(target, task)
        missing = [name for name in self.layers if name not in into]
        for name in missing:
            yield "layers", f"the target has no parameter `{name}`; choose among {', '.join(into)}"
        # Weak models of another task are compared as models of this one, where they can be built for it.
        for sizes in () if missing else (sizes for sizes in weak if not any(sizes.problems(task))):
            shapes = _shapes(sizes, task)
            wrong = [name for name in self.layers if not _fits(shapes.get(name), into[name])]
            if wrong:
                name = wrong[0]
                found = f"of shape {list(shapes[name])}" if name in shapes else "nowhere"
                rule = f"`{name}` of the weak {sizes.label} must fit into the target's of shape {list(into[name])}"
                yield "layers", f"{rule}, and it is {found}; take it out or choose other sizes"
                return  # one architecture shows what is wrong; there may be thousands

    def start(self, module: Model, given: Given) -> None:
        # A meta tensor asks for shapes alone, and an edit keeps them.
        if self.edit is not None and given.embedding is not None and not given.embedding.is_meta:
            given = replace(given, embedding=self.edit.apply(given.embedding, given.task))
        super().start(module, given)

    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        return embedding

    @torch.no_grad()
    def after_initialisation(self, module: Model, given: Given) -> None:
        parameters = dict(module.named_parameters())
        if self.b_start == "signs":
            B = parameters["embedding.B"]
            heads = torch.randint(2, B.shape, generator=given.generator)
            B.copy_((2 * heads - 1) * given.hyperparameters["init_scale"])
        for name in self.layers:
            weak = given.layers[name]
            parameters[name][tuple(slice(size) for size in weak.shape)].copy_(weak)


def _shapes(sizes: Sizes, task: Task) -> dict[str, torch.Size]:
    """The shapes of a model's parameters by name, but for its embedding's: that one is A."""
    with torch.device("meta"):
        parameters = sizes.module(task).named_parameters()
        return {name: p.shape for name, p in parameters if not name.startswith("embedding.")}


def _fits(weak: torch.Size | None, target: torch.Size) -> bool:
    return weak is not None and len(weak) == len(target) and all(a <= b for a, b in zip(weak, target, strict=True))
