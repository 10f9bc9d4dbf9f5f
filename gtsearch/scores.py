"""What can be said of a weak model's embedding without training a target on it: one number a score, by name.

Each is a `Score` on the menu SCORES: called with a `Scored` it gives a number, or None where it is not defined. Only
training and validation examples are looked at. `measure` gives all of them, as they stand in scores.parquet; which of
them foretell what the target does is for `gtsearch.analysis.predictors` to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gtsearch import catalog
from gtsearch import embedding as artefact
from gtsearch.cycles import cycle
from gtsearch.probes.fourier import energies
from gtsearch.tasks.base import Part, Task

# What keeps a probe below some 20 ms on one core for a + b mod 113: examples a part, columns of the linear one, and
# products of columns of the other.
_EXAMPLES, _COLUMNS, _PRODUCTS = 2048, 512, 144
_RIDGE = 1e-3  # added to variances, where a feature's own is 1
_FREQUENCIES = 3  # that count as few: two columns each, and weak models of 4 to 8 columns do the sums
_RECENT = 5  # evaluations that a slope is of


@dataclass(frozen=True)
class Scored:
    """An embedding as it is handed over, and what was seen on the way there.

    Attributes:
        E: [d_vocab, d_W] float32, on the CPU.
        train, validation: of the split it was trained on.
        curve: the weak model's evaluations up to then, the last of them the one at which the embedding was taken: rows
            of curves.parquet.
        val_accuracy: of the weak model with this embedding.
        dose: the share of noise that was mixed into it, which the curve knows nothing of; None: none.
    """

    E: Tensor
    task: Task
    train: Part
    validation: Part
    curve: Sequence[Mapping[str, float | int | None]]
    val_accuracy: float
    dose: float | None = None


Measure = Callable[[Scored], float | None]


@dataclass(frozen=True)
class Score:
    """A number that is read off an embedding.

    Attributes:
        higher_is_better: which end `weak.order_by` tries first: the one that went with sooner targets on sums and
            products modulo 41 and 59. Of `fourier`, `linear_probe` and `epochs` that went either way; they stand as one
            would expect.
    """

    measured: Measure
    higher_is_better: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.measured.__doc__)  # what this one is, not what scores are

    def __call__(self, given: Scored) -> float | None:
        """The number, or None where it is not defined or not finite."""
        value = self.measured(given)
        return value if value is not None and math.isfinite(value) else None


def measure(given: Scored) -> dict[str, float | None]:
    """Every score of the menu by name."""
    return {name: catalog.load("score", name)(given) for name in catalog.SCORES}


def _score(*, higher_is_better: bool) -> Callable[[Measure], Score]:
    return lambda measured: Score(measured, higher_is_better)


# -- what the run itself saw ----------------------------------------------------------------------------------


@_score(higher_is_better=True)
def accuracy(given: Scored) -> float | None:
    """Validation accuracy at hand-over.

    In [0, 1].
    """
    return given.val_accuracy


@_score(higher_is_better=False)
def gap(given: Scored) -> float | None:
    """Training less validation accuracy at hand-over; not defined of an embedding with noise.

    Its training accuracy is not known.
    """
    trained = given.curve[-1]["train_accuracy"] if given.curve and given.dose is None else None
    return None if trained is None else trained - given.val_accuracy


@_score(higher_is_better=True)
def slope(given: Scored) -> float | None:
    """How fast validation accuracy rose over the last five evaluations, per 100 epochs.

    By least squares; None of fewer than three.
    """
    seen = [(float(row["epoch"] or 0), float(row["val_accuracy"] or 0.0)) for row in given.curve[-_RECENT:]]
    if len(seen) < 3:
        return None
    epochs, accuracies = (torch.tensor(column, dtype=torch.float64) for column in zip(*seen, strict=True))
    epochs = epochs - epochs.mean()
    return 100.0 * float((epochs * accuracies).sum() / epochs.square().sum())


@_score(higher_is_better=False)
def epochs(given: Scored) -> float | None:
    """After how many epochs the embedding was taken."""
    return float(given.curve[-1]["epoch"] or 0) if given.curve else None


# -- the matrix alone -----------------------------------------------------------------------------------------


@_score(higher_is_better=True)
def norm(given: Scored) -> float | None:
    """Frobenius norm."""
    return artefact.norm(given.E)


@_score(higher_is_better=False)
def row_norm_spread(given: Scored) -> float | None:
    """Standard deviation of the norms of the rows over their mean."""
    norms = torch.linalg.vector_norm(given.E.double(), dim=1)
    return float(norms.std(correction=0) / norms.mean())


@_score(higher_is_better=True)
def effective_rank(given: Scored) -> float | None:
    """How many directions it uses.

    exp of the entropy of the singular values (`gtsearch.embedding`).
    """
    return artefact.effective_rank(given.E)


# -- the matrix and the task ------------------------------------------------------------------------------------


@_score(higher_is_better=True)
def fourier(given: Scored) -> float | None:
    """Share of the energy of the centred columns at the three strongest frequencies over the tokens; for tasks of one
    cycle, as for the edit `denoise`.

    In [0, 1]. The tokens stand in the order of the task's group (`gtsearch.cycles`); None where that is not one cycle.
    """
    order = cycle(given.task)
    if order is None:
        return None
    energy = energies(given.E[order])
    return float(energy.topk(min(_FREQUENCIES, len(energy))).values.sum() / energy.sum())


@_score(higher_is_better=True)
def linear_probe(given: Scored) -> float | None:
    """Validation accuracy of a linear discriminant on the rows of an example's tokens, side by side; not defined where
    an example has several labels.

    In [0, 1], fitted to the training examples. Of a vector it is given what the embedding makes of it.
    """
    tokens = given.task.n_tokens
    if given.task.n_answers > 1:
        return None
    E = _narrowed(given.E, max(1, _COLUMNS // tokens))
    return _probe(given, lambda x: _rows(E, x).flatten(1))


@_score(higher_is_better=True)
def product_probe(given: Scored) -> float | None:
    """As `linear_probe`, with the products of the columns of each two tokens beside the rows.

    Of a vector they are those of each two columns. What is linear in them is what two waves add up to. Of wide
    embeddings the leading principal directions alone. None for inputs of so many tokens that there are too many pairs.
    """
    tokens = given.task.n_tokens
    pairs = torch.combinations(torch.arange(tokens)) if tokens > 1 else torch.zeros(1, 2, dtype=torch.int64)
    most = math.isqrt(_PRODUCTS // len(pairs))
    if most == 0 or given.task.n_answers > 1:
        return None
    E = _narrowed(given.E, most)

    def features(x: Tensor) -> Tensor:
        rows = _rows(E, x)
        products = torch.einsum("npi,npj->npij", rows[:, pairs[:, 0]], rows[:, pairs[:, 1]])
        return torch.cat([rows.flatten(1), products.flatten(1)], dim=1)

    return _probe(given, features)


def _rows(E: Tensor, x: Tensor) -> Tensor:
    """What the embedding makes of inputs: [n, n_tokens, d]; of vectors n_tokens is 1."""
    return (x @ E)[:, None] if x.is_floating_point() else E[x]


def _narrowed(E: Tensor, most: int) -> Tensor:
    """E [d_vocab, d], or its rows in their `most` leading principal directions [d_vocab, most]."""
    if E.shape[1] <= most:
        return E
    _, _, directions = torch.linalg.svd(E - E.mean(dim=0), full_matrices=False)
    narrow: Tensor = E @ directions[:most].T
    return narrow


def _probe(given: Scored, features: Callable[[Tensor], Tensor]) -> float:
    """Validation accuracy of a linear discriminant (Fisher's, with equal priors and a ridge) on `features`.

    Least squares on one-hot labels would mask classes that lie between others, as those of a circle do.
    """
    train, validation = _thinned(given.train), _thinned(given.validation)
    X = features(train.x)
    mean, deviation = X.mean(dim=0), X.std(dim=0, correction=0).clamp_min(1e-6)
    X = (X - mean) / deviation
    there, label = train.y.unique(return_inverse=True)
    centres = X.new_zeros(len(there), X.shape[1]).index_add_(0, label, X) / label.bincount()[:, None]
    within = X - centres[label]
    spread = within.T @ within / len(X) + _RIDGE * torch.eye(X.shape[1])
    weights = torch.linalg.solve(spread, centres.T)  # [features, classes]
    told = (features(validation.x) - mean) / deviation @ weights - (centres * weights.T).sum(dim=1) / 2
    return float((there[told.argmax(dim=1)] == validation.y).double().mean())


def _thinned(part: Part) -> Part:
    """`part`, or so many of its examples as a probe needs, evenly over all of it: they lie in order."""
    if len(part) <= _EXAMPLES:
        return part
    some = torch.linspace(0, len(part) - 1, _EXAMPLES, dtype=torch.float64).round().long()
    return Part(part.x[some], part.y[some])
