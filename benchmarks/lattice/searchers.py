"""Searchers that a lattice answers: ours is the ladder of a run, the others are what a user would pick instead.

All climb the same architectures, cheapest first, begin each with the published settings, run every config on one search
seed, pass those that clear through the same gate and the winner through the same report, and end with the first that
holds. They differ in which configs they draw, and in how long they train one that does not look good:

ours      `gtsearch.search.weak.Ladder` itself, with judge `none`: rounds of 4, points that fill the space, then TPE
random    configs at random
tpe       Optuna's TPE from the fifth config on, told after every run
asha      Ray's ASHA: at rungs of 1/16 and 1/4 of the epochs a config goes on if none is known there, or if it is not
          below the best quarter of those seen
halving   successive halving: all configs to 1/16 of the epochs, the better quarter to 1/4, the better quarter of those
          to the end

Beside them stand two that do not climb, random-flat and tpe-flat: the architecture is one more dimension (its place in
the order of cost), one that clears and is cheaper than all that passed before goes through the gate at once, and when
what ours spent in the repetition is spent, the cheapest that passed goes through the report.

The budget is the experiment's `configs_per_architecture`; asha and halving, which end most configs early, may begin
twice as many. Whoever needs a config that was not recorded gets the nearest one
(Euclid in the unit cube) that it has not had.

A seed of a list stands for one recorded seed drawn at random anew in each repetition, with replacement: recorded seeds
are the whole world, and what is true of a config is its rate over all of them. Drawn without replacement, the lists
would use up the world, and a certificate could hardly be wrong about it. The three lists are the same for all configs
and all searchers of a repetition. Every seed is of the experiment's own split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from benchmarks.lattice.world import Lattice, Run
from gtsearch import certificate
from gtsearch.identity import canonical, derive_seed
from gtsearch.search.board import PENDING, Board, Hyperparameters, Member, Phase, Row, objective
from gtsearch.search.policy import Findings
from gtsearch.search.proposals import Proposer, distance
from gtsearch.search.weak import Candidate, Ladder

REDUCTION = 4
RUNGS = (1 / 16, 1 / 4)
STARTUP = 4  # configs that TPE draws at random first: half of a budget of 8, where Optuna's 10 would be all of it

Named = tuple[int, int]
"""The rank of an architecture and the index of a config."""


@dataclass(frozen=True)
class Outcome:
    """What a searcher came to in one repetition.

    Attributes:
        named: what its certificate names; None: nothing held.
        at_gate: what it would have named without report seeds: the first that passed the gate.
        flops: of everything it trained until then. runs: how many that were, begun ones too.
        excluded: ranks of the architectures that our certificate calls excluded.
        gate_flops: what of `flops` went into gates.
    """

    named: Named | None
    at_gate: Named | None
    flops: float
    runs: int
    excluded: frozenset[int] = frozenset()
    gate_flops: float = 0.0


class Repetition:
    """The seeds of one repetition, and what one searcher has spent in it.

    Args:
        number: equal numbers, equal seeds.
        budget: FLOPs after which a searcher that has no end of its own stops.
    """

    def __init__(self, lattice: Lattice, number: int, budget: float = math.inf) -> None:
        self.lattice, self.number, self.budget = lattice, number, budget
        self.flops, self.gate_flops, self.runs = 0.0, 0.0, 0
        random = np.random.default_rng([number, 0])
        self.search_seed = int(random.integers(lattice.base))
        # As many numbers as come out even for any count of recorded seeds; each picks one of those a config has.
        self._gate = random.integers(2**31, size=lattice.weak.gate.seeds).tolist()
        self._report = np.random.default_rng([number, 1])
        self._reports: list[list[int]] = []

    def search(self, rank: int, config: int, epochs: int | None = None) -> Run:
        """The run on the search seed; `epochs`: charged for so many only."""
        run = self.lattice.runs[rank, config, self.search_seed]
        self.charge(rank, run.epochs if epochs is None else epochs)
        self.runs += 1
        return run

    def charge(self, rank: int, epochs: int) -> None:
        self.flops += float(epochs * self.lattice.architectures[rank].flops_per_epoch)

    def gate(self, rank: int, config: int, i: int) -> Run:
        """The run on gate seed `i`."""
        before = self.flops
        run = self._drawn(rank, config, self._gate[i])
        self.gate_flops += self.flops - before
        return run

    def passes(self, rank: int, config: int) -> bool:
        gate = self.lattice.weak.gate
        return sum(self.gate(rank, config, i).cleared for i in range(gate.seeds)) >= gate.at_least

    def holds(self, rank: int, config: int, withdrawn: int) -> bool:
        """Whether it clears on enough report seeds; every winner gets new ones."""
        while len(self._reports) <= withdrawn:
            self._reports.append(self._report.integers(2**31, size=self.lattice.spec.report.seeds).tolist())
        report = [self._drawn(rank, config, number) for number in self._reports[withdrawn]]
        return sum(run.cleared for run in report) >= self.lattice.spec.report.at_least

    def _drawn(self, rank: int, config: int, number: int) -> Run:
        seeds = self.lattice.seeds(rank, config)
        run = self.lattice.runs[rank, config, seeds[number % len(seeds)]]
        self.charge(rank, run.epochs)
        self.runs += 1
        return run

    def outcome(self, named: Named | None, at_gate: Named | None, excluded: frozenset[int] = frozenset()) -> Outcome:
        """What it came to, with all that was spent until now."""
        return Outcome(named, at_gate, self.flops, self.runs, excluded, self.gate_flops)

    def random(self, *parts: int) -> np.random.Generator:
        """What a searcher draws by."""
        return np.random.default_rng([self.number, 2, *parts])


# -- ours ---------------------------------------------------------------------------------------------------


class _Recorded(Proposer):
    """Proposes as `of` does, and of the recorded configs the nearest that was not proposed before."""

    def __init__(self, of: Proposer, configs: Sequence[Hyperparameters]) -> None:
        self.of, self.configs = of, configs

    def round(
        self, size: int, earlier: Sequence[Hyperparameters], history: Sequence[tuple[Hyperparameters, float]]
    ) -> list[dict[str, float]]:
        taken = {canonical(dict(config)) for config in earlier}
        left = [config for config in self.configs if canonical(dict(config)) not in taken]
        chosen = []
        for proposed in self.of.round(size, earlier, history):
            if left:
                nearest = min(left, key=lambda config: distance(self.of.space, config, proposed))
                left.remove(nearest)
                chosen.append(dict(nearest))
        return chosen


class _Replayed(Ladder):
    """The ladder of a run, which can ask for recorded configs only."""

    def __init__(self, lattice: Lattice, seed: int) -> None:
        spec = lattice.spec.model_copy(update={"seed": seed})
        super().__init__(spec, lattice.weak, Board(), lattice.architectures)
        self._proposers = {label: _Recorded(own, lattice.configs) for label, own in self._proposers.items()}


def ours(repetition: Repetition) -> Outcome:
    """The ladder, its gate, and the report as `gtsearch.search.policy` asks for it where nothing is judged."""
    lattice = repetition.lattice
    ladder = _Replayed(lattice, derive_seed(lattice.spec.seed, "lattice", "repetition", repetition.number))
    gate_seeds = {derive_seed(ladder.spec.seed, "gate", "weak", i): i for i in range(lattice.weak.gate.seeds)}
    index = {canonical(dict(config)): i for i, config in enumerate(lattice.configs)}
    withdrawn: list[tuple[str, str]] = []
    at_gate: Named | None = None
    named: Named | None = None
    holder: Candidate | None = None

    def answer(member: Member) -> Row:
        rank, config = member.architecture.rank, index[canonical(dict(member.hyperparameters))]
        if member.role == "gate":
            return _row(member, repetition.gate(rank, config, gate_seeds[member.seed]))
        return _row(member, repetition.search(rank, config))

    while named is None:
        ladder.board.clear()
        ladder.rungs.clear()
        winner = ladder.walk(None, withdrawn)
        if winner is None:
            break
        if winner is PENDING:
            asked = [member for phase, member in ladder.board.wanted.values() if phase is not Phase.AHEAD]
            ladder.board.put(answer(member) for member in asked)
            continue
        candidate = winner.architecture.rank, index[canonical(dict(winner.hyperparameters))]
        at_gate = at_gate or candidate
        if repetition.holds(*candidate, len(withdrawn)):
            named, holder = candidate, winner
        withdrawn.append(winner.key)
    verdicts = {
        rung.architecture.rank: certificate._verdict(Findings(), ladder, rung, None, holder)[0]
        for rung in ladder.rungs.values()
    }
    excluded = frozenset(rank for rank, verdict in verdicts.items() if verdict == "excluded")
    return repetition.outcome(named, at_gate, excluded)


def _row(member: Member, run: Run) -> Row:
    """A recorded run as the row that the search would have got."""
    flops = member.architecture.flops_per_epoch
    there = run.epochs_to_goal
    return {
        "run_id": member.run_id,
        "config_id": member.config_id,
        "role": member.role,
        "seed": member.seed,
        "hyperparameters": dict(member.hyperparameters),
        "max_epochs": member.training.max_epochs,
        "goal": member.training.goal,
        "status": run.status,
        "epochs": run.epochs,
        "epochs_to_goal": there,
        "flops_to_goal": None if there is None else there * flops,
        "train_flops": run.epochs * flops,
        "best_val_accuracy": run.best,
        "embeddings": [],
    }


# -- the others ---------------------------------------------------------------------------------------------

Search = Callable[[Repetition], Outcome]
Screen = Callable[[Repetition, int], list[int]]
"""The configs of an architecture that cleared the search seed, as a searcher comes to them."""


def climbing(screen: Screen) -> Search:
    """A searcher that screens the configs of each architecture so."""

    def search(repetition: Repetition) -> Outcome:
        lattice = repetition.lattice
        at_gate: Named | None = None
        withdrawn = 0
        for rank in range(len(lattice.architectures)):
            found = screen(repetition, rank)
            soonest = sorted(found, key=lambda config: _sooner(lattice.runs[rank, config, repetition.search_seed]))
            for config in soonest:
                if repetition.passes(rank, config):
                    at_gate = at_gate or (rank, config)
                    if repetition.holds(rank, config, withdrawn):
                        return repetition.outcome((rank, config), at_gate)
                    withdrawn += 1
        return repetition.outcome(None, at_gate)

    return search


def _sooner(run: Run) -> float:
    return math.inf if run.epochs_to_goal is None else run.epochs_to_goal


def _drawn(repetition: Repetition, rank: int, count: int) -> list[int]:
    """The published settings, and at random as many more as make `count` (or all there are)."""
    published = list(range(repetition.lattice.published))
    others = np.arange(len(published), len(repetition.lattice.configs))
    drawn: list[int] = repetition.random(rank).permutation(others).tolist()
    return (published + drawn)[:count]


def _budget(repetition: Repetition) -> int:
    return repetition.lattice.weak.budget.configs_per_architecture


def _random(repetition: Repetition, rank: int) -> list[int]:
    chosen = _drawn(repetition, rank, _budget(repetition))
    return [config for config in chosen if repetition.search(rank, config).cleared]


def _tpe(repetition: Repetition, rank: int) -> list[int]:
    lattice = repetition.lattice
    space = lattice.weak.tune
    distributions = {name: domain.distribution() for name, domain in space.items()}
    seed = int(repetition.random(rank).integers(2**32))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP))
    left = list(range(len(lattice.configs)))
    found = []
    for number in range(min(_budget(repetition), len(left))):
        config = number
        if number >= lattice.published:
            proposed = study.ask(distributions).params
            config = min(left, key=lambda one: distance(space, lattice.configs[one], proposed))
        left.remove(config)
        run = repetition.search(rank, config)
        params = dict(lattice.configs[config])
        value = objective(_told(lattice, run))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
        found += [config] if run.cleared else []
    return found


def _told(lattice: Lattice, run: Run) -> Mapping[str, Any]:
    """What `gtsearch.search.board.objective` asks of a row."""
    return {
        "status": run.status,
        "epochs_to_goal": run.epochs_to_goal,
        "max_epochs": lattice.weak.budget.max_epochs,
        "best_val_accuracy": run.best,
        "goal": lattice.spec.weak_threshold,
    }


def _asha(repetition: Repetition, rank: int) -> list[int]:
    """As Ray's AsyncHyperBandScheduler stops trials that run one after another."""
    seen: dict[int, list[float]] = {rung: [] for rung in _rungs(repetition)}
    found = []
    for config in _drawn(repetition, rank, 2 * _budget(repetition)):
        run = repetition.search(rank, config, epochs=0)
        end = next((rung for rung in seen if _stops(run, rung, seen[rung], repetition)), run.epochs)
        repetition.charge(rank, end)
        found += [config] if run.cleared and end == run.epochs else []
    return found


def _stops(run: Run, rung: int, seen: list[float], repetition: Repetition) -> bool:
    """Whether a config ends at a rung; it is noted there."""
    if run.epochs <= rung:  # it is over already
        return False
    value = _at(run, rung, repetition)
    cutoff = float(np.percentile(seen, 100 * (1 - 1 / REDUCTION))) if seen else -math.inf
    seen.append(value)
    return value < cutoff


def _halving(repetition: Repetition, rank: int) -> list[int]:
    begun = {c: repetition.search(rank, c, epochs=0) for c in _drawn(repetition, rank, 2 * _budget(repetition))}
    trained = dict.fromkeys(begun, 0)
    alive = list(begun)
    for rung in (*_rungs(repetition), repetition.lattice.weak.budget.max_epochs):
        for config in alive:
            epochs = min(rung, begun[config].epochs)
            repetition.charge(rank, epochs - trained[config])
            trained[config] = epochs
        running = [config for config in alive if begun[config].epochs > rung]
        running.sort(key=lambda config: -_at(begun[config], rung, repetition))
        alive = running[: math.ceil(len(alive) / REDUCTION)]
    return [config for config, run in begun.items() if run.cleared and trained[config] == run.epochs]


def _rungs(repetition: Repetition) -> list[int]:
    """Epochs of the rungs, on the grid of evaluations."""
    every, longest = repetition.lattice.weak.goal.evaluate_every, repetition.lattice.weak.budget.max_epochs
    return [max(every, round(share * longest / every) * every) for share in RUNGS]


def _at(run: Run, epoch: int, repetition: Repetition) -> float:
    """Validation accuracy at an epoch; 0 where it was not finite, so that such a run is the first to go."""
    value = float(run.val[epoch // repetition.lattice.weak.goal.evaluate_every])
    return 0.0 if math.isnan(value) else value


# -- those that do not climb ------------------------------------------------------------------------------------

Propose = Callable[[list[Named]], Named]
"""Which of the pairs that are left to train next."""


def flat(proposing: Callable[[Repetition], tuple[Propose, Callable[[Named, Run], None]]]) -> Search:
    """A searcher over architectures and hyperparameters at once: how it proposes, and how it is told."""

    def search(repetition: Repetition) -> Outcome:
        lattice = repetition.lattice
        propose, tell = proposing(repetition)
        left = [(rank, config) for rank in range(len(lattice.architectures)) for config in range(len(lattice.configs))]
        passed: list[Named] = []
        while left and repetition.flops < repetition.budget:
            pair = propose(left)
            left.remove(pair)
            run = repetition.search(*pair)
            tell(pair, run)
            if run.cleared and (not passed or pair[0] < passed[-1][0]) and repetition.passes(*pair):
                passed.append(pair)
        for withdrawn, pair in enumerate(reversed(passed)):
            if repetition.holds(*pair, withdrawn):
                return repetition.outcome(pair, passed[-1])
        return repetition.outcome(None, passed[-1] if passed else None)

    return search


def _random_flat(repetition: Repetition) -> tuple[Propose, Callable[[Named, Run], None]]:
    random = repetition.random(0)
    return lambda left: left[int(random.integers(len(left)))], lambda pair, run: None


def _tpe_flat(repetition: Repetition) -> tuple[Propose, Callable[[Named, Run], None]]:
    """Told the place in the order of cost of what clears, and of what does not how far it stayed away."""
    lattice = repetition.lattice
    space, last = lattice.weak.tune, len(lattice.architectures) - 1
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: domain.distribution() for name, domain in space.items()
    }
    distributions["place"] = optuna.distributions.IntDistribution(0, last)
    sampler = optuna.samplers.TPESampler(seed=int(repetition.random(0).integers(2**32)))
    study = optuna.create_study(sampler=sampler)

    def propose(left: list[Named]) -> Named:
        asked = study.ask(distributions).params
        place = asked.pop("place")

        def away(pair: Named) -> float:
            return math.hypot(distance(space, lattice.configs[pair[1]], asked), (pair[0] - place) / max(1, last))

        return min(left, key=away)

    def tell(pair: Named, run: Run) -> None:
        params = {**lattice.configs[pair[1]], "place": pair[0]}
        value = pair[0] / (last + 1) if run.cleared else objective(_told(lattice, run))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))

    return propose, tell


SEARCHERS: Mapping[str, Search] = {
    "ours": ours,
    "random": climbing(_random),
    "tpe": climbing(_tpe),
    "asha": climbing(_asha),
    "halving": climbing(_halving),
    "random-flat": flat(_random_flat),
    "tpe-flat": flat(_tpe_flat),
}
