"""The ladder of weak architectures, from the cheapest on: rounds of configs, the gate, the candidates.

Accuracy screens here: a config that clears the goal on the search seed earns the gate seeds, a config that clears
on enough of those is a candidate. Whether it pays is for the target to say (`judge`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from gtsearch.catalog import load
from gtsearch.identity import derive_seed
from gtsearch.parts import WeakSpec
from gtsearch.search import proposals
from gtsearch.search.board import (
    PENDING,
    Architecture,
    Board,
    Counted,
    Embedding,
    Hyperparameters,
    Member,
    Pending,
    Phase,
    Row,
    Training,
    cleared,
    embedding_of,
    objective,
)
from gtsearch.spec import Spec

# An architecture starts from what the one LAG places cheaper has settled, never from its direct neighbour: so
# the neighbour may still be running on another worker, and the rows are the same for any number of workers.
LAG = 2
# How far beyond the first open architecture idle workers may look.
HORIZON = 6


@dataclass(frozen=True, eq=False)
class Candidate:
    """A weak config that passed the gate, and the snapshot of its runs that is handed over.

    Attributes:
        rows: its search row and its gate rows.
        snapshot: `goal` (or what the experiment's handover says), or `best` for a later snapshot.
        embeddings: one a weak seed that cleared: the search seed's first, then the gate seeds'.
    """

    architecture: Architecture
    hyperparameters: Hyperparameters
    rows: tuple[Row, ...]
    snapshot: str
    embeddings: tuple[Embedding, ...]

    @property
    def config_id(self) -> str:
        return str(self.rows[0]["config_id"])

    @property
    def key(self) -> tuple[str, str]:
        return self.config_id, self.snapshot

    @cached_property
    def basis(self) -> Hashable:
        """All that an answer depends on that depends on this candidate; its rows may have been cut."""
        return self.snapshot, *((row["run_id"], row["status"], row["epochs"]) for row in self.rows)

    @property
    def name(self) -> str:
        """For people, and for the rows it caps."""
        return f"{self.architecture.label} {self.config_id}"

    @property
    def gate_cleared(self) -> int:
        return sum(cleared(row) for row in self.rows[1:])

    def mean_score(self, name: str) -> float | None:
        """The mean of a score over the embeddings that its runs kept; None where it is not defined for any."""
        known = [
            value
            for row in self.rows
            if cleared(row)
            for kept in row["embeddings"]
            if (value := (kept.get("scores") or {}).get(name)) is not None
        ]
        return sum(known) / len(known) if known else None

    def cost_of_one(self, unit: str) -> float:
        """What one clearing model costs with restarts: all that its seeds spent over how many cleared."""
        return spent(self.rows, unit) / max(1, sum(cleared(row) for row in self.rows))

    def misses_per_success(self, unit: str) -> float:
        """What the seeds that missed add to each that cleared."""
        misses = [row for row in self.rows if not cleared(row)]
        return spent(misses, unit) / max(1, len(self.rows) - len(misses))

    def cost_of_handed(self, handed: Sequence[Embedding], unit: str) -> float:
        """What one of these embeddings costs with restarts; not less than a model that clears, however early it was
        taken: to know that the model clears it must be trained until then."""
        mean = statistics.fmean(getattr(embedding, unit) for embedding in handed)
        return max(mean + self.misses_per_success(unit), self.cost_of_one(unit))


@dataclass
class Attempt:
    """One candidate before the judge.

    Attributes:
        total: what a pipeline is expected to cost, weak (misses charged) + target, in the experiment's unit, where the
            search minimises that; None: not asked for, or not seen to be low enough to matter.
    """

    candidate: Candidate
    verdict: str
    passes: bool
    reached: int = 0
    probed: int = 0
    total: float | None = None


def basis_of(attempt: Attempt | None) -> Hashable:
    """All that an answer depends on that depends on this attempt."""
    return None if attempt is None else (attempt.candidate.basis, attempt.total)


@dataclass
class Rung:
    """What became of one architecture.

    Attributes:
        rows: its search rows.
        gates: of the configs whose gate seeds are in.
        candidates: those of them that cleared on enough.
        attempts: the candidates that came before the judge.
        complete: whether all of its configs ran.
        tried: False where none of them could win.
    """

    architecture: Architecture
    tried: bool = True
    rows: list[Row] = field(default_factory=list)
    gates: list[tuple[Hyperparameters, list[Row]]] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    complete: bool = False

    @property
    def best_gate(self) -> tuple[int, int] | None:
        """(cleared, seeds) of the config that did best at the gate, or None where none earned it."""
        counts = [(sum(map(cleared, rows)), len(rows)) for _, rows in self.gates]
        return max(counts, default=None)


Judge = Callable[[Candidate, Attempt | None, Phase], Attempt | Pending]
"""A candidate, the incumbent (which matters where totals are compared), and how urgent it is."""
_Gates = list[tuple[Hyperparameters, list[Row]]]


@dataclass
class _Walked:
    """How far the climb is settled: the winner after each of the cheapest architectures, and what that rests on."""

    winners: list[Attempt | None] = field(default_factory=list)
    rungs: dict[str, Rung] = field(default_factory=dict)
    counted: Counted = field(default_factory=Counted)


def spent(rows: Sequence[Row], unit: str) -> float:
    """What the runs spent until they cleared; a miss counts all it trained. `unit`: `flops` or `seconds`."""
    return float(sum(row[f"{unit}_to_goal"] if cleared(row) else row[f"train_{unit}"] for row in rows))


def keeps_layers(spec: Spec) -> bool:
    """Whether some method transfers more than the embedding."""
    return any(spec.target.method(name).transferred_layers for name in spec.target.methods)


class Ladder:
    """Walks the architectures in order of cost; `rungs` tells how far each got (for the certificate).

    Args:
        architectures: cheapest first.
        members_at_once: how many all workers may train at once; it shapes what is wanted, never what is found.
    """

    def __init__(
        self,
        spec: Spec,
        weak: WeakSpec,
        board: Board,
        architectures: Sequence[Architecture],
        members_at_once: int = 1,
    ) -> None:
        self.spec, self.weak, self.board = spec, weak, board
        self.task = spec.weak_task.identity()
        self.architectures = architectures
        self.unit = weak.unit
        self.space = dict(weak.tune)
        self.training = Training(
            optimizer=weak.optimizer,
            loss=spec.weak_loss,
            goal=spec.weak_threshold,
            hold=weak.goal.hold,
            evaluate_every=weak.goal.evaluate_every,
            max_epochs=weak.budget.max_epochs,
            keep_layers=keeps_layers(spec) and not spec.growth,
            probes=tuple(probe.model_dump(mode="json") for probe in spec.weak_probes),
        )
        self.total = proposals.budget(self.space, weak.search, weak.budget.configs_per_architecture)
        self._sizes = proposals.round_sizes(self.total, len(weak.start_from), weak.search)
        # Where a round learns nothing from the last, workers need not wait for each other at its end. Caps in seconds
        # are learnt from the rows before.
        learns = weak.search == "tpe" or self.unit == "seconds"
        self._rounds_at_once = 1 if learns else 1 + math.ceil(members_at_once / min(self._sizes))
        self.rungs: dict[str, Rung] = {}
        self._walked: dict[tuple[tuple[str, str], ...], _Walked] = {}
        self._members: dict[Hashable, list[Member]] = {}
        self._proposers = {
            a.label: proposals.Proposer(self.space, weak.search, weak.start_from, [spec.seed, "weak", a.label])
            for a in architectures
        }

    def cost(self, candidate: Candidate) -> float:
        """What the weak model itself costs: all of "cheapest", unless the experiment weighs the target's cost too."""
        if self.weak.cost == "params":
            return float(candidate.architecture.params)
        return candidate.cost_of_one(self.unit)

    def merit(self, attempt: Attempt) -> tuple[float, float]:
        """Of candidates that pass, the one with the least is the winner: the cost, or the total; ties: the cost."""
        own = self.cost(attempt.candidate)
        return (own if attempt.total is None else attempt.total), own

    def could_win(self, candidate: Candidate, incumbent: Attempt | None) -> bool:
        """Whether its cost leaves open that it is cheaper than the incumbent, or with a target cheaper in total."""
        return incumbent is None or self.cost(candidate) < self.merit(incumbent)[0]

    # -- members ------------------------------------------------------------------------------------------

    def member(
        self,
        architecture: Architecture,
        hyperparameters: Hyperparameters,
        role: str,
        seed: int,
        split_seed: int | None = None,
        purpose: str = "weak_search",
        snapshot: str = "goal",
        reports: bool = False,
    ) -> Member:
        handover = self.weak.handover
        keep = handover if isinstance(handover, str) else handover.epochs
        return Member(
            task=self.task,
            stage="weak",
            method="weak",
            role=role,
            purpose=purpose,
            architecture=architecture,
            training=self.training,
            hyperparameters=hyperparameters,
            seed=seed,
            split_seed=self.spec.task.seed if split_seed is None else split_seed,
            keep="best" if snapshot == "best" else keep,
            reports=reports,
        )

    def _gate_seed(self, i: int) -> int:
        return derive_seed(self.spec.seed, "gate", "weak", i)

    # -- one architecture ---------------------------------------------------------------------------------

    def _rounds(self, rung: Rung, phase: Phase, incumbent: Attempt | None) -> list[Row] | Pending:
        """The search rows of all configs of an architecture, round after round; several at a time, where nothing is
        learnt."""
        architecture, label = rung.architecture, rung.architecture.label
        rows, configs, opened = list[Row](), list[Hyperparameters](), 0
        best: list[Row] = []  # of a cheaper architecture
        for number, size in enumerate(self._sizes):
            if number == 1 and architecture.rank >= LAG and self.weak.search == "tpe":
                neighbour = self.rungs[self.architectures[architecture.rank - LAG].label]
                if not neighbour.complete:
                    return PENDING
                best = sorted(neighbour.rows, key=objective)[:1]
            key = (label, number, basis_of(incumbent), *((row["run_id"], objective(row)) for row in best))
            members = self._made(key, partial(self._round, architecture, size, configs, rows, best, incumbent))
            answer = self.board.once(("round", *key), partial(self.board.get_all, members, phase))
            known = self.board.known(members) if answer is PENDING else answer
            rung.rows = rows = rows + known
            configs = configs + [member.hyperparameters for member in members]
            opened += answer is PENDING
            if opened == self._rounds_at_once:
                return PENDING
        return PENDING if opened else rows

    def _round(
        self,
        architecture: Architecture,
        size: int,
        configs: Sequence[Hyperparameters],
        rows: Sequence[Row],
        best: Sequence[Row],
        incumbent: Attempt | None,
    ) -> list[Member]:
        """The next `size` configs of an architecture after these `configs`, on the search seed; proposed from their
        rows and from the best of a cheaper architecture."""
        history = [(row["hyperparameters"], objective(row)) for row in (*rows, *best)]
        proposed = self._proposers[architecture.label].round(size, configs, history)
        seed = derive_seed(self.spec.seed, "search", "weak", 0)
        asked = (self.member(architecture, config, "search", seed) for config in proposed)
        return [self._capped(member, incumbent, rows) for member in asked]

    def _made(self, key: Hashable, make: Callable[[], list[Member]]) -> list[Member]:
        """The same members as before: what is still open is asked for often, and a member's name is worked out once."""
        if key not in self._members:
            self._members[key] = make()
        return self._members[key]

    def _gates(
        self, rung: Rung, earned: Sequence[Row], phase: Phase, incumbent: Attempt | None
    ) -> tuple[_Gates, list[Candidate]] | Pending:
        """The gate seeds of the configs that earned them, and the candidates: those that cleared on enough of them."""
        gates: list[tuple[Row, list[Row] | Pending]] = []
        for row in earned:
            key = ("gate", row["run_id"], basis_of(incumbent))
            members = self._made(key, partial(self._gate, rung.architecture, row, incumbent))
            gates.append((row, self.board.get_all(members, phase)))
        known = [(row, answer) for row, answer in gates if answer is not PENDING]
        rung.gates = [(row["hyperparameters"], answer) for row, answer in known]
        rung.candidates = [
            self._candidate(rung.architecture, [row, *answer])
            for row, answer in known
            if sum(map(cleared, answer)) >= self.weak.gate.at_least
        ]
        return (rung.gates, rung.candidates) if len(known) == len(gates) else PENDING

    def _gate(self, architecture: Architecture, row: Row, incumbent: Attempt | None) -> list[Member]:
        """The gate seeds that a search row earned."""
        return [self._capped(m, incumbent, [row]) for m in self._on_gate_seeds(architecture, row["hyperparameters"])]

    def unearned(self, member: Member) -> list[Member]:
        """The gate seeds of a config that is on its search seed, as it will ask for them if it clears. A cap is that of
        the search seed: looser than what is left when it is in, and a row is cut to what was asked for."""
        gates = self._on_gate_seeds(member.architecture, member.hyperparameters)
        return [replace(gate, cap_epochs=member.cap_epochs, capped_by=member.capped_by) for gate in gates]

    def _on_gate_seeds(self, architecture: Architecture, hyperparameters: Hyperparameters) -> list[Member]:
        seeds = (derive_seed(self.spec.seed, "gate", "weak", i) for i in range(self.weak.gate.seeds))
        return [self.member(architecture, hyperparameters, "gate", seed, purpose="weak_gate") for seed in seeds]

    def _candidate(self, architecture: Architecture, rows: Sequence[Row]) -> Candidate:
        embeddings = [embedding_of(row) for row in rows if cleared(row)]
        return Candidate(
            architecture,
            rows[0]["hyperparameters"],
            tuple(rows),
            "goal",
            tuple(e for e in embeddings if e is not None),
        )

    def later(self, candidate: Candidate, phase: Phase) -> Candidate | Pending:
        """The same config with its embeddings taken at the best validation accuracy of the whole training."""
        seeds = [row["seed"] for row in candidate.rows if cleared(row)][: 1 + self.weak.judge.weak_seeds]
        members = [
            self.member(
                candidate.architecture,
                candidate.hyperparameters,
                "probe",
                seed,
                purpose="probe",
                snapshot="best",
            )
            for seed in seeds
        ]
        rows = self.board.get_all(members, phase)
        if rows is PENDING:
            return PENDING
        embeddings = [embedding_of(row) for row in rows]
        return replace(candidate, snapshot="best", embeddings=tuple(e for e in embeddings if e is not None))

    def _choose(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates worth a judge: the cheapest, then those that differ most from the ones chosen.

        Two configs of one architecture that clear equally well can hand over embeddings of very different worth
        (weight decay decides), so the second try should not resemble the first. Which are chosen is settled before
        `weak.order_by` says in which order.
        """
        rest = sorted(candidates, key=lambda c: (c.cost_of_one(self.unit), c.config_id))
        chosen = rest[:1]
        rest = rest[1:]
        while rest and len(chosen) < self.weak.judge.candidates_per_architecture:
            far = max(
                rest,
                key=lambda c: min(proposals.distance(self.space, c.hyperparameters, o.hyperparameters) for o in chosen),
            )
            chosen.append(far)
            rest.remove(far)
        return self._ordered(chosen)

    def _ordered(self, chosen: Sequence[Candidate]) -> list[Candidate]:
        """The same candidates; those of equal cost by their score, where the experiment names one, the best first.
        Those it is not known of come after those it is."""
        name = self.weak.order_by
        if name is None:
            return list(chosen)
        sign = -1.0 if load("score", name).higher_is_better else 1.0

        def place(candidate: Candidate) -> float:
            mean = candidate.mean_score(name)
            return math.inf if mean is None else sign * mean

        ordered = sorted(chosen, key=place)
        alike = {self.cost(c): iter([o for o in ordered if self.cost(o) == self.cost(c)]) for c in chosen}
        return [next(alike[self.cost(candidate)]) for candidate in chosen]

    # -- caps ---------------------------------------------------------------------------------------------

    def _capped(self, member: Member, incumbent: Attempt | None, before: Sequence[Row]) -> Member:
        """Ends a member where its config can no longer be cheaper than the incumbent.

        Whatever its other seeds do, a config's cost is at least what it has spent over all its seeds (search and
        gate), and a target's cost only adds to it. Caps are epochs, by the FLOPs an epoch costs, or by the seconds its
        architecture was seen to take. A member that runs on past its goal is left alone: the cap would change what it
        hands over.
        """
        if incumbent is None or self.weak.cost == "params" or self.weak.handover != "goal":
            return member
        limit = (1 + self.weak.gate.seeds) * self.merit(incumbent)[0]
        own = [r for r in before if r["role"] == "search" and r["hyperparameters"] == member.hyperparameters]
        per_epoch = self._per_epoch(member.architecture, before)
        if per_epoch is None:
            return member
        hold = (self.weak.goal.hold - 1) * self.weak.goal.evaluate_every  # the goal is dated by the first of them
        epochs = max(1, math.floor((limit - spent(own, self.unit)) / per_epoch)) + hold
        if epochs >= member.training.max_epochs:
            return member
        return replace(member, cap_epochs=epochs, capped_by=incumbent.candidate.name)

    def _per_epoch(self, architecture: Architecture, seen: Sequence[Row]) -> float | None:
        """What an epoch costs: its FLOPs, or the seconds it took in these rows; None where they are not known yet."""
        if self.unit == "flops":
            return float(architecture.flops_per_epoch)
        trained = sum(row["epochs"] for row in seen)
        return sum(row["train_seconds"] for row in seen) / trained if trained else None

    def _cannot_win(self, architecture: Architecture, incumbent: Attempt | None) -> bool:
        """Whether no config of the architecture can be strictly cheaper than the incumbent."""
        if incumbent is None or self.weak.cost.endswith("seconds"):
            return False
        if self.weak.cost == "params":
            return architecture.params >= incumbent.candidate.architecture.params
        return architecture.flops_per_epoch * self.weak.goal.evaluate_every >= self.merit(incumbent)[0]

    def _later_cannot_win(self, candidate: Candidate, incumbent: Attempt | None) -> bool:
        """Whether a later snapshot, which costs a whole training each, costs as much as the incumbent by itself."""
        if incumbent is None or not self.weak.in_total:
            return False
        per_epoch = self._per_epoch(candidate.architecture, candidate.rows)
        whole = (per_epoch or 0.0) * self.training.max_epochs
        return whole + candidate.misses_per_success(self.unit) >= self.merit(incumbent)[0]

    # -- the climb ----------------------------------------------------------------------------------------

    def walk(self, judge: Judge | None, withdrawn: Sequence[tuple[str, str]]) -> Candidate | Pending | None:
        """The cheapest candidate that the judge passes and that was not withdrawn; None when there is none.

        Where totals are compared the first that pays ends nothing: the climb goes on while an architecture's weak
        model alone costs less than the best total.

        Args:
            judge: the target's verdict on a candidate; None: every candidate passes (the paper's sequence).
            withdrawn: keys of candidates that failed on report seeds.
        """
        walked = self._walked.setdefault(tuple(withdrawn), _Walked())
        self.board.count(walked.counted)
        self.rungs.update(walked.rungs)
        winners = list(walked.winners)
        winner = winners[-1] if winners else None
        opened: list[int] = []  # ranks
        for architecture in self.architectures[len(winners) :]:
            with self.board.counting() as counted:
                lagged = architecture.rank - LAG
                rung = Rung(architecture, tried=not self._cannot_win(architecture, winner))
                if rung.tried and len(opened) > HORIZON:
                    break
                self.rungs[architecture.label] = rung
                if rung.tried and self.weak.cost != "params" and opened and opened[0] <= lagged:
                    break
                capper = winners[lagged] if lagged >= 0 else None
                phase = Phase.AHEAD if opened else Phase.LADDER
                better = self._climb(rung, judge, withdrawn, phase, capper, winner) if rung.tried else None
            if better is PENDING:
                opened.append(architecture.rank)
            elif better is not None and (winner is None or self.merit(better) < self.merit(winner)):
                if opened and self.weak.cost == "params":
                    break  # a cheaper architecture is still open: this one waits
                winner = better
            winners.append(winner)
            if not opened:
                walked.winners.append(winner)
                walked.rungs[architecture.label] = rung
                walked.counted.parts.append(counted)
        if opened:
            return PENDING
        return None if winner is None else winner.candidate

    def _climb(
        self,
        rung: Rung,
        judge: Judge | None,
        withdrawn: Sequence[tuple[str, str]],
        phase: Phase,
        capper: Attempt | None,
        winner: Attempt | None,
    ) -> Attempt | Pending | None:
        """One architecture through rounds, gate and judge: its first candidate that passes; by totals, its best."""
        forward = phase is not Phase.AHEAD
        candidates = self._screen(rung, phase, capper)
        if candidates is PENDING:
            return PENDING
        found: Attempt | None = None
        # Those that cannot win are put aside first. Some were capped and are no candidates, and a cap must not change
        # which of the others are chosen.
        for candidate in self._choose([c for c in candidates if self.could_win(c, winner)]):
            if not self.could_win(candidate, found or winner):
                continue
            answer = self._judge(rung, candidate, judge, withdrawn, forward, found or winner)
            if answer is PENDING or (answer is not None and not self.weak.in_total):
                return answer
            found = answer or found
        return found

    def _screen(self, rung: Rung, phase: Phase, capper: Attempt | None) -> list[Candidate] | Pending:
        """Rounds and gate of one architecture: its candidates."""
        rows = self._rounds(rung, phase, capper)
        if rows is PENDING:
            return PENDING
        rung.rows, rung.complete = rows, True  # its configs are all in: a dearer one may start from the best of them
        earned = sorted(filter(cleared, rows), key=lambda row: (spent([row], "flops"), row["run_id"]))
        key = ("gates", rung.architecture.label, basis_of(capper), *(row["run_id"] for row in earned))
        urgency = phase if phase is Phase.AHEAD else Phase.JUDGE
        gates = self.board.once(key, partial(self._gates, rung, earned, urgency, capper))
        if gates is PENDING:
            return PENDING
        rung.gates, rung.candidates = gates
        return rung.candidates

    def _judge(
        self,
        rung: Rung,
        candidate: Candidate,
        judge: Judge | None,
        withdrawn: Sequence[tuple[str, str]],
        forward: bool,
        incumbent: Attempt | None,
    ) -> Attempt | Pending | None:
        """The candidate, or a later snapshot of it, if the judge passes it and it was not withdrawn.

        The later one is tried where the first does not pass. By totals it is tried as well: else an incumbent, for
        which a candidate fails that would pass by itself, would decide what is tried.
        """
        found: Attempt | None = None
        for later in (False, True) if judge and self.has_later else (False,):
            if later and self._later_cannot_win(candidate, found or incumbent):
                break
            if judge and not forward:
                return PENDING  # the judge is not asked ahead of cheaper candidates
            version = self.later(candidate, Phase.JUDGE) if later else candidate
            if version is PENDING:
                return PENDING
            attempt = judge(version, found or incumbent, Phase.JUDGE) if judge else Attempt(version, "clears", True)
            if attempt is PENDING:
                return PENDING
            if version.key in withdrawn:
                attempt = replace(attempt, verdict="withdrawn by its report seeds", passes=False)
            rung.attempts.append(attempt)
            if attempt.passes:
                found = attempt
                if not self.weak.in_total:
                    break
        return found

    @property
    def has_later(self) -> bool:
        """Whether a later snapshot is asked for; without a goal the embedding is that of the last epoch already."""
        return self.weak.judge.later_snapshot and self.weak.handover == "goal" and self.training.goal is not None

    def candidates(self) -> list[Candidate]:
        """Every candidate of the architectures whose gates are in, cheapest first: who clears, whoever pays."""
        found = [candidate for rung in self.rungs.values() for candidate in rung.candidates]
        return sorted(found, key=lambda c: (self.cost(c), c.architecture.rank, c.cost_of_one(self.unit), c.config_id))
