"""The target: tuning one method, the scratch reference, the judge's probes, whole-pipeline replicates.

Every method gets the same number of configs from the same space (transfer's probes included), the same seeds,
and its own published settings to start from. Nothing here sees test accuracy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gtsearch.catalog import load
from gtsearch.cost import Cost
from gtsearch.identity import derive_seed
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Sizes
from gtsearch.search import proposals
from gtsearch.search.board import (
    PENDING,
    Architecture,
    Board,
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
from gtsearch.search.weak import Attempt, Candidate, Ladder, basis_of, keeps_layers, spent
from gtsearch.spec import Spec

# A config of a later round may take this many times the best epochs seen so far before it is cut: seeds differ,
# so the best on one seed must not end what could be the better config over several.
SLACK = 1.5


@dataclass(frozen=True, eq=False)
class Tuned:
    """A method after its search: the config to report, and every row the choice rests on."""

    method: str
    config: Hyperparameters
    rows: tuple[Row, ...]
    configs: int


@dataclass(frozen=True, eq=False)
class Reference:
    """Scratch, tuned and confirmed: medians to the goal over its report seeds; None where half never got there."""

    tuned: Tuned
    rows: tuple[Row, ...]
    flops: float | None
    seconds: float | None
    epochs: float | None

    @property
    def best_val_accuracy(self) -> float | None:
        """The highest of any report seed; None where none was evaluated."""
        return max(
            (row["best_val_accuracy"] for row in self.rows if row["best_val_accuracy"] is not None), default=None
        )


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Replicate `index` of the report: weak seeds until one cleared, its embedding, what all of them spent."""

    index: int
    split_seed: int
    weak_rows: tuple[Row, ...]
    embedding: Embedding | None
    weak_flops: float
    weak_seconds: float
    chain: tuple[Row, ...] = ()  # of a growth chain's links


@dataclass(frozen=True, eq=False)
class Confirmation:
    """A candidate on fresh seeds.

    Attributes:
        series: how many winners before this one were withdrawn.
        rows: transfer's report rows, aligned with those of `pipelines` that have an embedding.
        totals: weak (misses charged) + target cost a pipeline, in the experiment's unit; inf where it failed.
        pays: whether enough reached the goal and the median total is below scratch's.
    """

    candidate: Candidate
    tuned: Tuned
    series: int
    pipelines: tuple[Pipeline, ...]
    rows: tuple[Row | None, ...]
    totals: tuple[float, ...]
    pays: bool


Price = Callable[[Architecture, Mapping[str, Any] | None, int | None], Cost]
"""The cost of an architecture that starts by a method (its name and options; None: plainly), given an embedding
of that width where it needs one."""


def plain_price(architecture: Architecture, method: Mapping[str, Any] | None, d_weak: int | None) -> Cost:
    """What the architecture as its family builds it costs, whatever the start."""
    return Cost(architecture.params, architecture.flops_per_epoch)


class Target:
    """The target stage of one experiment."""

    def __init__(
        self,
        spec: Spec,
        board: Board,
        architecture: Architecture,
        ladder: Ladder | None,
        links: Sequence[Architecture] = (),
        price: Price = plain_price,
    ) -> None:
        self.spec, self.board, self.architecture, self.ladder, self.links = spec, board, architecture, ladder, links
        self.price = price
        self.target = spec.target
        self.unit = ladder.unit if ladder else "flops"
        self._task = spec.task.identity()
        self._trainings = {method: self._training(method) for method in spec.target.methods}
        self._proposers = {
            method: proposals.Proposer(
                spec.method_space(method),
                spec.target.search,
                spec.target.start_from.get(method, []),
                [spec.seed, "target", method],
            )
            for method in spec.target.methods
        }

    @property
    def link_method(self) -> dict[str, Any]:
        """How each link of a growth chain starts from the one before."""
        return Transfer(name="transfer").model_dump(mode="json")

    # -- members ------------------------------------------------------------------------------------------

    def _training(self, method: str) -> Training:
        goal = self.target.goal
        return Training(
            optimizer=self.target.optimizer,
            loss=self.spec.target_loss,
            goal=self.spec.target_threshold,
            hold=goal.hold,
            evaluate_every=goal.evaluate_every,
            max_epochs=self.target.budget.max_epochs,
            method=self.target.method(method).model_dump(mode="json"),
            probes=tuple(probe.model_dump(mode="json") for probe in self.spec.probes),
        )

    def member(
        self,
        method: str,
        hyperparameters: Hyperparameters,
        role: str,
        seed: int,
        embedding: Embedding | None,
        purpose: str,
        cap: tuple[int, str] | None = None,
        split_seed: int | None = None,
        reports: bool = False,
    ) -> Member:
        capped = cap is not None and cap[0] < self.target.budget.max_epochs
        return Member(
            task=self._task,
            stage="target",
            method=method,
            role=role,
            purpose=purpose,
            architecture=self.architecture,
            training=self._trainings[method],
            hyperparameters=hyperparameters,
            seed=seed,
            split_seed=self.spec.task.seed if split_seed is None else split_seed,
            cap_epochs=cap[0] if capped and cap else None,
            capped_by=cap[1] if capped and cap else None,
            embedding=embedding,
            reports=reports,
        )

    def _seed(self, role: str, i: int) -> int:
        return derive_seed(self.spec.seed, role, "target", i)

    def cost(self, member: Member) -> Cost:
        """What the member costs, as its method builds it."""
        method, source = member.training.method, member.embedding
        return self.price(member.architecture, method, source.d_embed if source else None)

    def sizes(self, member: Member) -> Sizes:
        """The sizes of the model that is built for the member: those of the experiment, but for a given embedding's."""
        options, sizes = member.training.method, member.architecture.sizes
        return load("method", options["name"])(**options).sizes(sizes, self.spec.task) if options else sizes

    def cap(self, reference: Reference, method: str, embeddings: Sequence[Embedding]) -> tuple[int, str] | None:
        """`break_even` of a method that is given one of these embeddings, the embedding's own cost left out."""
        if not embeddings or (method != "transfer" and not self.target.cap_controls):
            return None
        return self.break_even(reference, method, embeddings[0].d_embed)

    def break_even(
        self, reference: Reference, method: str, d_weak: int, weak_flops: float = 0.0
    ) -> tuple[int, str] | None:
        """The last epoch at which reaching the goal still costs less than scratch's median, and why."""
        if reference.flops is None:
            return None
        return self._paid_for(method, d_weak, reference.flops - weak_flops), "scratch's confirmed median"

    def _paid_for(self, method: str, d_weak: int, flops: float) -> int:
        """The epochs within which the goal must be held, so that reaching it costs no more than so many FLOPs."""
        every, hold = self.target.goal.evaluate_every, self.target.goal.hold
        price = self.price(self.architecture, self._trainings[method].method, d_weak)
        epochs = price.epochs(flops, self.target.method(method).merges_at)
        return max(every, math.floor(epochs / every) * every) + (hold - 1) * every

    def _first_evaluation(self, d_weak: int) -> float:
        """The FLOPs transfer takes to its first evaluation."""
        per_epoch = self.price(self.architecture, self._trainings["transfer"].method, d_weak).flops_per_epoch
        return float(self.target.goal.evaluate_every * per_epoch)

    def _affordable(self, reference: Reference, d_weak: int, weak_flops: float) -> bool:
        """Whether the target could be evaluated once before the total reaches scratch's median."""
        return reference.flops is None or weak_flops + self._first_evaluation(d_weak) < reference.flops

    # -- tuning one method --------------------------------------------------------------------------------

    def configs(self) -> int:
        """How many configs each method gets: the budget, and as many more as transfer has probes."""
        judged = self.ladder is not None and self.spec.judged
        return self.target.budget.configs + (self.ladder.weak.judge.configs if judged and self.ladder else 0)

    def _sizes(self, method: str) -> list[int]:
        proposer = self._proposers[method]
        total = proposals.budget(proposer.space, self.target.search, self.configs())
        return proposals.round_sizes(total, len(proposer.published), self.target.search)

    def first_configs(self, method: str, configs: int, also: Hyperparameters) -> list[Hyperparameters]:
        """`also`, and as many more as make `configs`: published settings first, then points that fill the space."""
        others = [c for c in self._proposers[method].round(configs, [], []) if c != dict(also)]
        return [also, *others[: configs - 1]]

    def tune(
        self, method: str, embeddings: Sequence[Embedding], cap: tuple[int, str] | None, phase: Phase
    ) -> Tuned | Pending:
        """Searches a method's configs on the search seed, decides among the best on gate seeds.

        Args:
            embeddings: the search seed's first, then one a gate seed; empty for methods that need none.
            cap: where no config can matter any more.
        """
        key = ("tune", method, tuple(e.sha256 for e in embeddings), cap)
        return self.board.once(key, lambda: self._tune(method, embeddings, cap, phase))

    def _tune(
        self, method: str, embeddings: Sequence[Embedding], cap: tuple[int, str] | None, phase: Phase
    ) -> Tuned | Pending:
        if self._sizes(method) == [1]:  # nothing to choose
            return Tuned(method, self._proposers[method].round(1, [], [])[0], (), 1)
        rows: list[Row] = []
        configs: list[dict[str, float]] = []
        for size in self._sizes(method):
            history = [(row["hyperparameters"], objective(row)) for row in rows]
            proposed = self._proposers[method].round(size, configs, history)
            limit = _tighter(cap, self._cut(rows))
            members = [
                self.member(method, c, "search", self._seed("search", 0), _at(embeddings, 0), "target_search", limit)
                for c in proposed
            ]
            answer = self.board.get_all(members, phase)
            if answer is PENDING:
                return PENDING
            configs += proposed
            rows += answer
        return self._decide(method, rows, embeddings, cap, phase)

    def _cut(self, rows: Sequence[Row]) -> tuple[int, str] | None:
        """Where a later config is cut: some slack beyond the best config so far."""
        best = min(filter(cleared, rows), key=lambda row: row["epochs_to_goal"], default=None)
        if best is None:
            return None
        every, hold = self.target.goal.evaluate_every, self.target.goal.hold
        at = math.ceil(SLACK * max(best["epochs_to_goal"], every) / every) * every
        return at + (hold - 1) * every, f"config {best['config_id']}"

    def _decide(
        self,
        method: str,
        rows: Sequence[Row],
        embeddings: Sequence[Embedding],
        cap: tuple[int, str] | None,
        phase: Phase,
    ) -> Tuned | Pending:
        """The best of the best few over search and gate seeds; with none cleared, the one that came closest."""
        ranked = sorted(rows, key=lambda row: (objective(row), row["run_id"]))
        finalists = list(filter(cleared, ranked))[: self.target.gate.configs]
        limit = _tighter(cap, self._cut(rows))
        asked = [
            [
                self.member(
                    method,
                    row["hyperparameters"],
                    "gate",
                    self._seed("gate", i),
                    _at(embeddings, 1 + i),
                    "target_search",
                    limit,
                )
                for i in range(self.target.gate.seeds)
                if not embeddings or 1 + i < len(embeddings)
            ]
            for row in finalists
        ]
        answers = [self.board.get_all(members, phase) for members in asked]
        decided = [(row, answer) for row, answer in zip(finalists, answers, strict=True) if answer is not PENDING]
        if len(decided) < len(finalists):
            return PENDING
        gates = [row for _, answer in decided for row in answer]

        def merit(entry: tuple[Row, list[Row]]) -> tuple[int, float, str]:
            seen = [entry[0], *entry[1]]
            return -sum(map(cleared, seen)), _median(_costs(seen, "flops")), entry[0]["run_id"]

        best = min(decided, key=merit)[0] if decided else ranked[0]
        return Tuned(method, best["hyperparameters"], (*rows, *gates), len(rows))

    # -- the reference ------------------------------------------------------------------------------------

    def reference(self) -> Reference | Pending:
        """Scratch, tuned and confirmed on report seeds, each on its own split."""
        return self.board.once("reference", self._reference)

    def _reference(self) -> Reference | Pending:
        tuned = self.tune("scratch", [], None, Phase.SCRATCH)
        if tuned is PENDING:
            return PENDING
        members = [self._report_member("scratch", tuned.config, i, None, None) for i in range(self.spec.report.seeds)]
        rows = self.board.get_all(members, Phase.SCRATCH)
        if rows is PENDING:
            return PENDING
        flops, seconds = (_finite(_median(_costs(rows, unit))) for unit in ("flops", "seconds"))
        epochs = _finite(_median([row["epochs_to_goal"] if cleared(row) else math.inf for row in rows]))
        return Reference(tuned, tuple(rows), flops, seconds, epochs)

    def _report_split(self, index: int) -> int:
        return derive_seed(self.spec.seed, "report", "split", index)

    def _report_member(
        self,
        method: str,
        config: Hyperparameters,
        index: int,
        embedding: Embedding | None,
        cap: tuple[int, str] | None,
    ) -> Member:
        return self.member(
            method,
            config,
            "report",
            self._seed("report", index),
            embedding,
            "report",
            cap,
            split_seed=self._report_split(index),
            reports=True,
        )

    # -- the judge ----------------------------------------------------------------------------------------

    def probe(
        self, candidate: Candidate, reference: Reference, incumbent: Attempt | None, phase: Phase
    ) -> Attempt | Pending:
        """Whether the target, given this candidate's embeddings, gets there for less than scratch.

        A few configs of transfer, one after another, each on as many weak seeds as it takes to decide. A pipeline
        is charged its weak run and its share of the weak seeds that missed.

        Args:
            incumbent: the best so far. Where totals are compared, a candidate must be below its total, too.
        """
        key = ("probe", candidate.basis, basis_of(incumbent))
        return self.board.once(key, lambda: self._probe(candidate, reference, incumbent, phase))

    def _probe(
        self, candidate: Candidate, reference: Reference, incumbent: Attempt | None, phase: Phase
    ) -> Attempt | Pending:
        judge = self._weak.weak.judge
        # The gate's embeddings first: the search seed's was seen when the config was chosen.
        handed = self.handed_all(candidate, phase)
        if handed is PENDING:
            return PENDING
        weak = (handed[1:] + handed[:1])[: judge.weak_seeds]
        if len(weak) < judge.at_least:
            return Attempt(candidate, "too few of its embeddings grow up to the next model's goal", False)
        if self._weak.weak.in_total:
            return self._weigh(candidate, handed, weak, reference, incumbent, phase)
        overhead = {unit: candidate.misses_per_success(unit) for unit in ("flops", "seconds")}
        cheapest = min(e.flops for e in weak) + overhead["flops"]
        if not self._affordable(reference, weak[0].d_embed, cheapest):
            return Attempt(candidate, "costs as much as scratch before the target starts", False)
        best = (-1, 0)
        furthest = 0
        tried = [
            [
                self.member(
                    "transfer",
                    config,
                    "probe",
                    self._seed("gate", i),
                    embedding,
                    "probe",
                    self.break_even(reference, "transfer", embedding.d_embed, embedding.flops + overhead["flops"]),
                )
                for i, embedding in enumerate(weak)
            ]
            for config in self._proposers["transfer"].round(self._sizes("transfer")[0], [], [])[: judge.configs]
        ]
        for number, members in enumerate(tried):
            seen: list[Row] = []
            while _undecided(seen, judge.at_least, len(members)):
                missing = judge.at_least - sum(map(cleared, seen))
                answer = self.board.get_all(members[len(seen) : len(seen) + missing], phase)
                if answer is PENDING:
                    for later in tried[number:]:
                        self.board.get_all(later, Phase.AHEAD)
                    return PENDING
                seen += answer
            best = max(best, (sum(map(cleared, seen)), -len(seen)))
            furthest = max([furthest, *(row["epochs"] for row in seen)])
            if sum(map(cleared, seen)) >= judge.at_least:
                unit_price = {"flops": reference.flops, "seconds": reference.seconds}[self.unit]
                weak_costs = [getattr(e, self.unit) + overhead[self.unit] for e in weak]
                totals = [w + t for w, t in zip(weak_costs, _costs(seen, self.unit), strict=False)]
                totals += [math.inf] * (len(members) - len(seen))  # undecided ones cannot change the median
                median = statistics.median_low(totals)
                if unit_price is None or median < unit_price:
                    return Attempt(candidate, "pays", True, sum(map(cleared, seen)), len(seen))
                verdict = "reaches, does not pay"
                return Attempt(candidate, verdict, False, sum(map(cleared, seen)), len(seen))
        return Attempt(candidate, f"not seen to reach by {furthest} epochs", False, best[0], -best[1])

    def _weigh(
        self,
        candidate: Candidate,
        handed: Sequence[Embedding],
        weak: Sequence[Embedding],
        reference: Reference,
        incumbent: Attempt | None,
        phase: Phase,
    ) -> Attempt | Pending:
        """The judge where totals are compared: whether a candidate's is below scratch's median and the incumbent's.

        The total is what one of its embeddings costs with restarts, plus the target's cost by the best of the judge's
        configs: the median over the weak seeds, a miss infinite (the dearest of `at_least`, where those are more than
        half). A run ends where it would take the total over scratch's median, the incumbent's total, or what an earlier
        config came to. So the total of one that passes is what it would be if nothing was cut.

        Args:
            handed, weak: all its embeddings, and those the judge tries.
        """
        judge, d_weak = self._weak.weak.judge, weak[0].d_embed
        own = candidate.cost_of_handed(handed, self.unit)
        scratch = {"flops": reference.flops, "seconds": reference.seconds}[self.unit]
        price = math.inf if scratch is None else scratch
        limits = [(price, "scratch's confirmed median")]
        if incumbent is not None:
            limits.append((self._weak.merit(incumbent)[0], f"the total of {incumbent.candidate.name}"))
        needed = max(judge.at_least, (len(weak) + 1) // 2)
        best, furthest, total = (0, 0), 0, math.inf
        for config in self._proposers["transfer"].round(self._sizes("transfer")[0], [], [])[: judge.configs]:
            limit, why = min(limits)
            left = self._flops_for(reference, limit - own)
            if left < self._first_evaluation(d_weak):
                break
            cap = (self._paid_for("transfer", d_weak, left), why) if math.isfinite(left) else None
            seen = self._tried(config, weak, needed, cap, phase)
            if seen is PENDING:
                return PENDING
            there = sorted(cost for cost in _costs(seen, self.unit) if math.isfinite(cost))
            best = max(best, (len(there), -len(seen)))
            furthest = max([furthest, *(row["epochs"] for row in seen)])
            if len(there) >= needed:
                total = min(total, own + there[needed - 1])
                limits.append((total, "the total of its own better config"))
        attempt = Attempt(candidate, "pays", True, best[0], -best[1], None if math.isinf(total) else total)
        cheaper = incumbent is None or self._weak.merit(attempt) < self._weak.merit(incumbent)
        if total < price and cheaper:
            return attempt
        rival = incumbent.candidate.architecture.label if incumbent else None
        if not furthest:
            verdict = f"costs as much as {f'{rival} in total' if rival else 'scratch'} before the target starts"
        elif rival:
            verdict = f"not seen to cost less in total than {rival}"
        else:
            late = math.isfinite(total)
            verdict = "reaches, does not pay" if late else f"not seen to reach by {furthest} epochs"
        return replace(attempt, verdict=verdict, passes=False)

    def _tried(
        self,
        config: Hyperparameters,
        weak: Sequence[Embedding],
        needed: int,
        cap: tuple[int, str] | None,
        phase: Phase,
    ) -> list[Row] | Pending:
        """Transfer by one config from all of the embeddings, unless the first `needed` leave no hope of as many."""
        members = [
            self.member("transfer", config, "probe", self._seed("gate", i), embedding, "probe", cap)
            for i, embedding in enumerate(weak)
        ]
        seen = self.board.get_all(members[:needed], phase)
        if seen is PENDING or sum(map(cleared, seen)) + len(members) - needed < needed:
            return seen
        rest = self.board.get_all(members[needed:], phase)
        return PENDING if rest is PENDING else seen + rest

    def _flops_for(self, reference: Reference, cost: float) -> float:
        """The FLOPs the target may take for so much, by the seconds scratch took; with some slack, since seconds
        differ from run to run and one that is a little slow must not be cut for it."""
        if self.unit == "flops":
            return cost
        flops = sum(row["train_flops"] for row in reference.rows)
        seconds = sum(row["train_seconds"] for row in reference.rows)
        return SLACK * cost * flops / seconds if seconds else math.inf

    # -- the report ---------------------------------------------------------------------------------------

    def confirm(self, candidate: Candidate, reference: Reference, series: int) -> Confirmation | Pending:
        """The full search of transfer for a candidate, then whole pipelines on fresh seeds and splits.

        The first `at_least` pipelines run first: when too many of them fail, the rest cannot save the candidate.
        """
        key = ("confirm", candidate.basis, series)
        return self.board.once(key, lambda: self._confirm(candidate, reference, series))

    def _confirm(self, candidate: Candidate, reference: Reference, series: int) -> Confirmation | Pending:
        embeddings = self.handed_all(candidate, Phase.TARGET)
        if embeddings is PENDING:
            return PENDING
        if not embeddings and self._sizes("transfer") != [1]:  # every chain broke: there is nothing to tune on
            return Confirmation(candidate, Tuned("transfer", {}, (), 0), series, (), (), (), False)
        tuned = self.tune("transfer", embeddings, self.cap(reference, "transfer", embeddings), Phase.TARGET)
        if tuned is PENDING:
            return PENDING
        report = self.spec.report
        pipelines: list[Pipeline] = []
        rows: list[Row | None] = []
        for batch in (range(report.at_least), range(report.at_least, report.seeds)):
            started, answers = self._replicates(candidate, tuned, series, batch, Phase.TARGET)
            if any(answer is PENDING for answer in answers):
                return PENDING
            pipelines += [pipeline for pipeline in started if pipeline is not PENDING]
            rows += [answer for answer in answers if answer is not PENDING]
            reached = sum(row is not None and cleared(row) for row in rows)
            if self.spec.judged and len(rows) - reached > report.seeds - report.at_least:
                break
        totals = tuple(
            getattr(pipeline, f"weak_{self.unit}") + _costs([row], self.unit)[0] if row is not None else math.inf
            for pipeline, row in zip(pipelines, rows, strict=True)
        )
        price = {"flops": reference.flops, "seconds": reference.seconds}[self.unit]
        median = _median(totals)
        pays = reached >= report.at_least and (price is None or median < price)
        return Confirmation(candidate, tuned, series, tuple(pipelines), tuple(rows), totals, pays)

    def look_ahead(self, candidate: Candidate, reference: Reference, series: int) -> None:
        """The later pipelines of a report whose first ones are under way: most likely they are needed, too."""
        embeddings = self.handed_all(candidate, Phase.AHEAD)
        if embeddings is PENDING or not embeddings:
            return
        tuned = self.tune("transfer", embeddings, self.cap(reference, "transfer", embeddings), Phase.AHEAD)
        if tuned is not PENDING:
            report = self.spec.report
            self._replicates(candidate, tuned, series, range(report.at_least, report.seeds), Phase.AHEAD)

    def _replicates(
        self, candidate: Candidate, tuned: Tuned, series: int, batch: range, phase: Phase
    ) -> tuple[list[Pipeline | Pending], list[Row | Pending | None]]:
        """Pipelines of the report, and the target's row of each; None where no weak seed cleared."""
        started = [self._pipeline(candidate, series * self.spec.report.seeds + i, phase) for i in batch]
        answers: list[Row | Pending | None] = []
        for pipeline in started:
            if pipeline is PENDING:
                answers.append(PENDING)
            elif pipeline.embedding is None:
                answers.append(None)
            else:
                member = self._report_member("transfer", tuned.config, pipeline.index, pipeline.embedding, None)
                answers.append(self.board.get(member, phase))
        return started, answers

    def _pipeline(self, candidate: Candidate, index: int, phase: Phase) -> Pipeline | Pending:
        """Weak seeds one after another until one clears, on the split of this replicate; every miss is charged."""
        key = ("pipeline", candidate.basis, index)
        return self.board.once(key, lambda: self._run_through(candidate, index, phase))

    def _run_through(self, candidate: Candidate, index: int, phase: Phase) -> Pipeline | Pending:
        rows: list[Row] = []
        for attempt in range(self.spec.report.weak_tries):
            answer = self.board.get(self.weak_report_member(candidate, index, attempt), phase)
            if answer is PENDING:
                return PENDING
            rows.append(answer)
            if cleared(answer):
                break
        own = embedding_of(rows[-1]) if cleared(rows[-1]) else None
        misses = rows[:-1] if own else rows
        embedding, chain = own, list[Row]()
        if own is not None and self.links:
            grown = self.handed(own, rows[-1]["seed"], "report", phase, self._report_split(index))
            if grown is PENDING:
                return PENDING
            embedding, chain = grown
            misses = [*misses, *chain] if embedding is None else misses
        last = embedding or own  # where the chain broke, what it cost up to there is charged
        return Pipeline(
            index,
            self._report_split(index),
            tuple(rows),
            embedding,
            spent(misses, "flops") + (last.flops if last else 0.0),
            spent(misses, "seconds") + (last.seconds if last else 0.0),
            tuple(chain),
        )

    def weak_report_member(self, candidate: Candidate, index: int, attempt: int) -> Member:
        return self._weak.member(
            candidate.architecture,
            candidate.hyperparameters,
            "report",
            derive_seed(self.spec.seed, "report", "weak", index, attempt),
            split_seed=self._report_split(index),
            purpose="report",
            snapshot=candidate.snapshot,
            reports=True,
        )

    def control(
        self, method: str, confirmation: Confirmation, reference: Reference
    ) -> tuple[Tuned, list[Row | None]] | Pending:
        """A control method given the same embeddings: its search, then the same pipelines as transfer's report.

        Its runs end at scratch's median (design: what cannot pay any more). The rows are aligned with the pipelines,
        None where no weak seed cleared.
        """
        key = ("control", method, confirmation.candidate.basis, confirmation.series)
        return self.board.once(key, lambda: self._control(method, confirmation, reference))

    def _control(
        self, method: str, confirmation: Confirmation, reference: Reference
    ) -> tuple[Tuned, list[Row | None]] | Pending:
        embeddings = self.handed_all(confirmation.candidate, Phase.TARGET)
        if embeddings is PENDING:
            return PENDING
        cap = self.cap(reference, method, embeddings)
        tuned = self.tune(method, embeddings, cap, Phase.TARGET)
        if tuned is PENDING:
            return PENDING
        rows = [
            self.board.get(
                self._report_member(method, tuned.config, pipeline.index, pipeline.embedding, cap), Phase.TARGET
            )
            if pipeline.embedding is not None
            else None
            for pipeline in confirmation.pipelines
        ]
        known = [row for row in rows if row is not PENDING]
        return (tuned, known) if len(known) == len(rows) else PENDING

    def rival(self, method: str) -> tuple[Tuned, list[Row | None]] | Pending:
        """A method that needs no weak model: its search, then report seeds, each on its own split. Like scratch it may
        take its whole budget: what it is compared with is how soon it gets there."""
        return self.board.once(("rival", method), lambda: self._rival(method))

    def _rival(self, method: str) -> tuple[Tuned, list[Row | None]] | Pending:
        tuned = self.tune(method, [], None, Phase.TARGET)
        if tuned is PENDING:
            return PENDING
        seeds = range(self.spec.report.seeds)
        members = [self._report_member(method, tuned.config, i, None, None) for i in seeds]
        rows = self.board.get_all(members, Phase.TARGET)
        return PENDING if rows is PENDING else (tuned, list(rows))

    # -- what is handed to the target -----------------------------------------------------------------------

    def handed_all(self, candidate: Candidate, phase: Phase) -> tuple[Embedding, ...] | Pending:
        """The embeddings the target is given for those of a candidate: the same, or what a growth chain makes of
        them. One whose chain breaks is left out, and what it cost is charged to the others in equal parts."""
        if not self.links:
            return candidate.embeddings
        grown = [
            self.handed(e, self._seed("gate", i), "probe", phase, self.spec.task.seed)
            for i, e in enumerate(candidate.embeddings)
        ]
        known = [answer for answer in grown if answer is not PENDING]
        if len(known) < len(grown):
            return PENDING
        whole = [embedding for embedding, _ in known if embedding is not None]
        broken = [row for embedding, rows in known if embedding is None for row in rows]
        flops, seconds = (spent(broken, unit) / max(1, len(whole)) for unit in ("flops", "seconds"))
        return tuple(replace(e, flops=e.flops + round(flops), seconds=e.seconds + seconds) for e in whole)

    def handed(
        self, embedding: Embedding, seed: int, role: str, phase: Phase, split_seed: int
    ) -> tuple[Embedding | None, list[Row]] | Pending:
        """What a growth chain makes of one embedding, with all that its links cost added, and the rows of the links;
        None where a link missed its goal."""
        growth = self.spec.growth
        rows: list[Row] = []
        if growth is None:
            return embedding, rows
        grown = embedding
        for i, (link, architecture) in enumerate(zip(growth.chain, self.links, strict=True)):
            member = Member(
                task=self._task,
                stage="weak",
                method="growth",
                role=role,
                purpose="report" if role == "report" else role,
                architecture=architecture,
                training=Training(
                    optimizer=self.target.optimizer,
                    loss=self.spec.target_loss,
                    goal=link.goal.threshold(self.spec.task),
                    hold=link.goal.hold,
                    evaluate_every=link.goal.evaluate_every,
                    max_epochs=link.max_epochs,
                    method=self.link_method,
                    keep_layers=keeps_layers(self.spec) and i == len(self.links) - 1,
                ),
                hyperparameters=link.config,
                seed=derive_seed(seed, "growth", i),
                split_seed=split_seed,
                embedding=grown,
                keep="goal",
            )
            row = self.board.get(member, phase)
            if row is PENDING:
                return PENDING
            rows.append(row)
            own = embedding_of(row)
            if not cleared(row) or own is None:
                return None, rows
            grown = replace(own, flops=grown.flops + own.flops, seconds=grown.seconds + own.seconds)
        return grown, rows

    @property
    def _weak(self) -> Ladder:
        assert self.ladder is not None, "asked only where there is a weak stage"
        return self.ladder

    def edges(self, tuned: Tuned) -> list[str]:
        """Warnings where the chosen config lies on the edge of its space."""
        space = self._proposers[tuned.method].space
        return [f"{tuned.method}: {text}" for text in proposals.edges(space, tuned.config)]


def _undecided(seen: Sequence[Row], at_least: int, n: int) -> bool:
    """Whether the rows seen so far leave open if at least `at_least` of `n` clear."""
    reached = sum(map(cleared, seen))
    return reached < at_least and reached + (n - len(seen)) >= at_least


def _costs(rows: Sequence[Row], unit: str) -> list[float]:
    """Cost to the goal a row; inf where it never got there."""
    return [float(row[f"{unit}_to_goal"]) if cleared(row) else math.inf for row in rows]


def _median(values: Sequence[float]) -> float:
    """The median with inf for censored values; inf when half are."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tighter(one: tuple[int, str] | None, other: tuple[int, str] | None) -> tuple[int, str] | None:
    return min((cap for cap in (one, other) if cap is not None), key=lambda cap: cap[0], default=None)


def _at(embeddings: Sequence[Embedding], i: int) -> Embedding | None:
    return embeddings[i] if i < len(embeddings) else None
