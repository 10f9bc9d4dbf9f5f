"""Which configs to try next: published settings, then points that fill the space, then Optuna's TPE by ask and tell.

Configs come in rounds. A round is a pure function of the space, the seed parts and the finished rows of earlier
rounds, so one worker or eight propose the same; it is drawn once and remembered, because the plan asks often.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from scipy.stats import qmc

from gtsearch.domains import Domain
from gtsearch.identity import canonical, derive_seed, digest
from gtsearch.search.board import Hyperparameters

ROUND = 4
GRID_ROUND = 64
Space = Mapping[str, Domain]
optuna.logging.set_verbosity(optuna.logging.WARNING)


def budget(space: Space, search: str, configs: int) -> int:
    """How many configs there will be: the budget, or the whole grid."""
    return math.prod(len(d.values()) for d in space.values()) if search == "grid" else configs


def round_sizes(total: int, published: int, search: str) -> list[int]:
    """Sizes of the rounds: the first holds the published settings and is filled up; nothing is learnt on a grid, so
    its rounds are large."""
    size = GRID_ROUND if search == "grid" else ROUND
    first = min(total, max(size, published))
    rest = total - first
    return [first] + [min(size, rest - i) for i in range(0, rest, size)]


class Proposer:
    """The configs of one architecture or one method, round after round.

    Args:
        space: hyperparameter -> domain.
        search: `tpe`, `random` or `grid`.
        published: settings to begin with, maybe without some hyperparameters.
        seed_parts: name the search; equal parts, equal draws.
    """

    def __init__(
        self, space: Space, search: str, published: Sequence[Hyperparameters], seed_parts: Sequence[str | int]
    ) -> None:
        self.space, self.search, self.seed_parts = space, search, seed_parts
        completed = {canonical(setting): setting for setting in (_complete(space, given) for given in published)}
        self.published = list(completed.values())
        self._memo: dict[str, list[dict[str, float]]] = {}

    def round(
        self, size: int, earlier: Sequence[Hyperparameters], history: Sequence[tuple[Hyperparameters, float]]
    ) -> list[dict[str, float]]:
        """The next `size` configs.

        Args:
            earlier: all configs of earlier rounds, in order.
            history: finished configs with their objective (smaller is better), also of neighbours.
        """
        key = digest([size, [dict(c) for c in earlier], [[dict(c), value] for c, value in history]], length=64)
        if key not in self._memo:
            self._memo[key] = self._draw(size, earlier, history)
        return self._memo[key]

    def _draw(
        self, size: int, earlier: Sequence[Hyperparameters], history: Sequence[tuple[Hyperparameters, float]]
    ) -> list[dict[str, float]]:
        if self.search == "grid":
            names = list(self.space)
            points = itertools.product(*(self.space[name].values() for name in names))
            chosen = itertools.islice(points, len(earlier), len(earlier) + size)
            return [dict(zip(names, point, strict=True)) for point in chosen]
        seed = derive_seed(*self.seed_parts, len(earlier)) % 2**32
        configs = [] if earlier else self.published[:size]
        taken = {canonical(dict(config)) for config in [*earlier, *configs]}
        draw = _ask_optuna if self.search == "tpe" and earlier else _fill
        for config in draw(self.space, 2 * size, history, seed):
            if len(configs) < size and canonical(config) not in taken:
                taken.add(canonical(config))
                configs = [*configs, config]
        return configs


def distance(space: Space, one: Hyperparameters, other: Hyperparameters) -> float:
    """How different two configs are: Euclid in the unit cube of the space."""
    return math.dist(_unit(space, one), _unit(space, other))


def edges(space: Space, config: Hyperparameters) -> list[str]:
    """Hyperparameters whose value lies on the edge of its domain, e.g. `lr 0.98 at the high end`."""
    sides = ((name, domain.edge(config[name])) for name, domain in space.items())
    return [f"{name} {config[name]:.3g} at the {side} end" for name, side in sides if side]


def _unit(space: Space, config: Hyperparameters) -> list[float]:
    return [domain.to_unit(config[name]) for name, domain in space.items()]


def _complete(space: Space, setting: Hyperparameters) -> dict[str, float]:
    """A published setting in the space; what it does not name is 1 where the domain holds 1, else the middle."""

    def fallback(domain: Domain) -> float:
        return 1.0 if domain.contains(1.0) else domain.from_unit(0.5)

    return {name: setting[name] if name in setting else fallback(domain) for name, domain in space.items()}


def _fill(space: Space, n: int, history: Sequence[tuple[Hyperparameters, float]], seed: int) -> list[dict[str, float]]:
    """`n` scrambled Sobol points: they fill the space evenly however few are used."""
    exponent = max(0, math.ceil(math.log2(max(n, 1))))
    points = qmc.Sobol(len(space), scramble=True, rng=np.random.default_rng(seed)).random_base2(exponent)[:n]
    return [
        {name: domain.from_unit(float(u)) for (name, domain), u in zip(space.items(), point, strict=True)}
        for point in points
    ]


def _ask_optuna(
    space: Space, n: int, history: Sequence[tuple[Hyperparameters, float]], seed: int
) -> list[dict[str, float]]:
    distributions = {name: domain.distribution() for name, domain in space.items()}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=ROUND))
    for config, value in history:
        study.add_trial(optuna.trial.create_trial(params=dict(config), distributions=distributions, value=value))
    return [dict(study.ask(distributions).params) for _ in range(n)]
