"""What may be done to A before it is handed over, to see which part of an embedding does the work: an intervention
where scores (`gtsearch.scores`) only correlate. Shuffled rows are a method of their own, `transfer_shuffled`.

To add one: an `Edit` here, and its name in EDITS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny
from torch import Tensor

from gtsearch import embedding as artefact
from gtsearch.catalog import no_such
from gtsearch.cycles import cycle
from gtsearch.problems import Problem, refuse, show, unknown_keys
from gtsearch.tasks.base import Task


class Edit(BaseModel, ABC):
    """A change of A. Its options are its fields, as they stand beside its name in the YAML.

    Attributes:
        name: that in EDITS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str

    @abstractmethod
    def apply(self, A: Tensor, task: Task) -> Tensor:
        """A [d_vocab, d_W] after the change, of the same shape and dtype; the one given stays as it was."""

    def problems(self, task: Task, widths: set[int]) -> Iterator[str]:
        """Why it cannot be made, or would change nothing, of the embeddings of weak models of these widths d_W."""
        yield from ()


class Rescale(Edit):
    """A times what gives it this Frobenius norm.

    A of zeros stays so.

    Attributes:
        norm: the Frobenius norm of A, before `embedding_scale`.
    """

    norm: float = Field(gt=0, le=1e6)

    def apply(self, A: Tensor, task: Task) -> Tensor:
        length = artefact.norm(A)
        return A * (self.norm / length) if length > 0 else A


class Truncate(Edit):
    """A's leading singular directions alone.

    They make the best approximation of A of rank `rank`.

    Attributes:
        rank: how many directions are kept: fewer than the widest weak embedding has columns.
    """

    rank: int = Field(ge=1, le=65536)

    def apply(self, A: Tensor, task: Task) -> Tensor:
        U, S, V = torch.linalg.svd(A, full_matrices=False)
        truncated: Tensor = (U[:, : self.rank] * S[: self.rank]) @ V[: self.rank]
        return truncated

    def problems(self, task: Task, widths: set[int]) -> Iterator[str]:
        widest = min(max(widths), task.d_vocab)
        if self.rank >= widest:
            yield f"no weak embedding has a rank above {widest}, so rank {self.rank} leaves all as they are; lower it"


class Denoise(Edit):
    """A's mean row and its strongest frequencies over the tokens; for tasks that go round their tokens in one cycle:
    sums and differences modulo p, products and quotients modulo a prime p (in the order of the powers of a primitive
    root; token 0 keeps its row).

    `gtsearch.cycles` has the order.

    Attributes:
        frequencies: how many are kept.
    """

    frequencies: int = Field(ge=1, le=65536)

    def apply(self, A: Tensor, task: Task) -> Tensor:
        order = cycle(task)
        assert order is not None, "refused by `problems`"
        waves = torch.fft.rfft(A[order].double(), dim=0)
        power = waves.abs().square().sum(dim=1)
        power[0] = torch.inf  # the mean is no frequency, and always kept
        kept = torch.zeros_like(waves)
        strongest = power.topk(self.frequencies + 1).indices
        kept[strongest] = waves[strongest]
        edited = A.clone()
        edited[order] = torch.fft.irfft(kept, n=len(order), dim=0).to(A.dtype)
        return edited

    def problems(self, task: Task, widths: set[int]) -> Iterator[str]:
        order = cycle(task)
        if order is None:
            yield f"`denoise` needs tokens that the task goes round in a cycle, and {task.title} has none; take it out"
        elif self.frequencies >= len(order) // 2:
            rule = f"{task.title} has {len(order) // 2} frequencies, so {self.frequencies} leave all as they are"
            yield f"{rule}; choose fewer"


EDITS: Mapping[str, type[Edit]] = {"rescale": Rescale, "truncate": Truncate, "denoise": Denoise}


def _edit(value: Any) -> Any:
    """The edit a mapping of the YAML asks for."""
    if value is None or isinstance(value, Edit):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping with a name, one of {', '.join(EDITS)}, not {show(value)}")
    if "name" not in value:
        refuse([Problem((), f"`name` is missing; add it: one of {', '.join(EDITS)}")])
    if value["name"] not in EDITS:
        refuse([Problem(("name",), no_such("edit", str(value["name"]), EDITS))])
    kind = EDITS[value["name"]]
    refuse(unknown_keys(value, kind.model_fields))
    return kind.model_validate(dict(value), strict=True)


EditField = Annotated[SerializeAsAny[Edit] | None, BeforeValidator(_edit)]
