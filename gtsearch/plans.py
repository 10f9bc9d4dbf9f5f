"""From an experiment to its searches: architectures with their static costs, a policy for each variation.

Entry: `ablation_for`. Nothing is run; what a search will cost is counted on meta tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gtsearch import catalog, cost
from gtsearch.identity import canonical
from gtsearch.models.base import Sizes
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Architecture
from gtsearch.search.policy import Policy
from gtsearch.search.target import Price, plain_price
from gtsearch.spec import Spec
from gtsearch.tasks.base import Task


def architectures(spec: Spec) -> list[Architecture]:
    """The weak architectures of an experiment with their static costs; none without a weak stage."""
    sizes = spec.weak.model.architectures if spec.weak else ()
    return [_architecture(one, spec.weak_task, spec.weak_loss) for one in sizes]


def target_architecture(spec: Spec) -> Architecture:
    """The target's architecture with its static cost."""
    return _architecture(spec.target.model, spec.task, spec.target_loss)


def policy_for(spec: Spec, workers: int = 1, job_members: int | None = None, variation: str | None = None) -> Policy:
    """The search of one experiment (of one variation, where it has several)."""
    chain = spec.growth.chain if spec.growth else ()
    links = [_architecture(link.model, spec.task, spec.target_loss) for link in chain]
    target = target_architecture(spec)
    return Policy(spec, architectures(spec), target, workers, job_members, links, variation, pricing(spec))


def pricing(spec: Spec) -> Price:
    """What an epoch costs by the architecture, the method it starts by, and the width of what it is given."""

    def price(architecture: Architecture, method: Mapping[str, Any] | None, d_weak: int | None) -> cost.Cost:
        if method is None:
            return plain_price(architecture, method, d_weak)
        key = canonical([dict(method), d_weak])
        if (architecture, key) not in known:
            start = catalog.load("method", method["name"])(**method)
            known[architecture, key] = cost.of_start(architecture.sizes, spec.task, start, d_weak, spec.target_loss)
        return known[architecture, key]

    known: dict[tuple[Architecture, str], cost.Cost] = {}
    return price


def ablation_for(spec: Spec, workers: int = 1, job_members: int | None = None) -> Ablation:
    """The searches of all variations of an experiment."""
    varied = spec.ablate is not None
    return Ablation(
        {n: policy_for(s, workers, job_members, n if varied else None) for n, s in spec.variations().items()},
        spec.ablate.variations() if spec.ablate else {},
    )


@lru_cache(maxsize=4096)
def _architecture(sizes: Sizes, task: Task, loss: str) -> Architecture:
    measured = cost.of_architecture(sizes, task, loss)
    return Architecture(sizes, measured.params, measured.flops_per_epoch)
