"""`separation`: how well the last hidden layer tells the classes of unseen examples apart (method.md section 7, 17)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gtsearch.models.base import Sizes
from gtsearch.probes.base import Probe, View
from gtsearch.tasks.base import Task


class Separation(Probe):
    """How well the last hidden layer tells the classes of unseen examples apart.

    `class_separation`: variance between the classes over all variance of the features on the validation part, in
    [0, 1] (the ratio of the traces of the two scatter matrices).
    """

    def problems(self, task: Task, sizes: Sizes) -> Iterator[str]:
        if task.n_answers > 1:
            yield f"an example of {task.title} has {task.n_answers} labels and no class; take the probe out"

    def measure(self, view: View) -> dict[str, float]:
        part = view.splits.validation
        return {"class_separation": float(separation(view.module.features(part.x).detach(), part.y))}


def separation(features: Tensor, y: Tensor) -> Tensor:
    """Between-class over total variance of features [n, width], y [n]; NaN where all features are equal."""
    features = features.double()
    centred = features - features.mean(dim=0)
    members = torch.nn.functional.one_hot(y).to(centred)
    sizes = members.sum(dim=0).clamp_min(1.0)  # classes that do not occur add nothing
    between = ((members.T @ centred).square().sum(dim=1) / sizes).sum()
    return between / centred.square().sum()
