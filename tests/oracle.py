"""A world in which the answer is known: members are answered from formulas, in no time, by any number of workers.

An `Oracle` says, for a weak config and seed, when it clears, and for a target run, when it gets there. `search` lets
`workers` pretended workers run a policy in a random order and gives back everything that happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gtsearch import plans
from gtsearch.identity import derive_seed
from gtsearch.search.ablation import Ablation
from gtsearch.search.board import Architecture, Member
from gtsearch.search.policy import DONE, WAIT, Job, Policy
from gtsearch.spec import Spec, parse_spec
from gtsearch.trainables import static_row

Row = dict[str, Any]


def spec(**changes: Any) -> Spec:
    """A small experiment on p = 23; `changes` are dotted paths with `__` for the dots."""
    mapping: dict[str, Any] = {
        "name": "oracle",
        "task": {"name": "modular_addition", "p": 23, "train_fraction": 0.4},
        "weak": {
            "goal": {"val_accuracy": 0.4, "hold": 2, "evaluate_every": 10},
            "cost": "params",
            "model": {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": [4, 8, 16]},
            "tune": {
                "lr": {"loguniform": [0.003, 0.1]},
                "weight_decay": {"loguniform": [0.01, 3]},
                "init_scale": {"loguniform": [0.1, 1.0]},
            },
            "budget": {"configs_per_architecture": 8, "max_epochs": 1000},
            "gate": {"seeds": 5, "at_least": 4},
            "judge": {"configs": 2, "weak_seeds": 3, "at_least": 2, "candidates_per_architecture": 2},
        },
        "target": {
            "goal": {"val_accuracy": 0.99, "hold": 2, "evaluate_every": 5},
            "model": {"name": "mlp", "depth": 3, "d_embed": 16, "width": 32},
            "methods": ["transfer", "scratch", "lowrank_random"],
            "tune": {
                "lr": {"loguniform": [0.0001, 1]},
                "weight_decay": {"loguniform": [0.01, 10]},
                "init_scale": {"loguniform": [0.05, 2]},
            },
            "start_from": {"transfer": [{"lr": 0.005, "weight_decay": 3, "init_scale": 0.3}]},
            "budget": {"configs": 6, "max_epochs": 400},
        },
        "report": {"seeds": 10, "at_least": 7, "weak_tries": 5},
        "tradeoff": {"weak_accuracy": [0.1, 0.3, 0.5], "seeds": 3},
    }
    for path, value in changes.items():
        at = mapping
        *parents, last = path.split("__")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return parse_spec(mapping)


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return derive_seed(*(str(part) for part in parts)) / 2**63


@dataclass
class Oracle:
    """What the world says.

    Attributes:
        weak: member -> epochs to the goal, or None.
        target: member, weak member (None without an embedding) -> epochs to the goal, or None.
        comes_to: weak member of the trade-off -> the validation accuracy it comes to, so that it keeps no higher level.
            None: every level, and 0.45 at its end.
    """

    weak: Callable[[Member], int | None]
    target: Callable[[Member, Member | None], int | None]
    members: dict[str, Member] = field(default_factory=dict)
    comes_to: Callable[[Member], float] | None = None

    def answer(self, member: Member, job: Job) -> Row:
        """The row of a member that runs to its end."""
        self.members[member.run_id] = member
        info = member.to_json()
        every, hold, goal = member.training.evaluate_every, member.training.hold, member.training.goal
        if member.stage == "weak":
            reached = self.weak(member)
        else:
            source = self.members[member.embedding.run_id] if member.embedding else None
            reached = self.target(member, source)
        row = static_row(job.to_json(), info)
        flops = job.cost.flops_per_epoch
        there = reached is not None and reached + (hold - 1) * every <= member.end and goal is not None
        if goal is None and not isinstance(member.keep, tuple):
            there, reached, hold = True, member.end, 1  # there is nothing to reach: every end has cleared
        epochs = reached + (hold - 1) * every if there and reached is not None else member.end
        if member.keep == "best" or not isinstance(member.keep, str | None) or goal is None:
            epochs = member.end
        row |= {
            "status": "cleared" if there else "exhausted" if member.end == member.training.max_epochs else "capped",
            "epochs": epochs,
            "epochs_to_goal": reached if there else None,
            "epochs_to_goal_first": reached if there else None,
            "flops_to_goal": reached * flops if there and reached is not None else None,
            "seconds_to_goal": reached * flops / 1e9 if there and reached is not None else None,
            "train_flops": epochs * flops,
            "train_seconds": epochs * flops / 1e9,
            "eval_seconds": 0.0,
            "best_val_accuracy": 0.5 if there else 0.2,
            "elapsed_seconds": 0.0,
        }
        if member.stage == "weak":
            row["embeddings"] = self._kept(member, row, reached)
        return row

    def _kept(self, member: Member, row: Row, reached: int | None) -> list[Row]:
        free = self.comes_to if member.role == "tradeoff" else None
        best, end = (1.0, 0.45) if free is None else (free(member),) * 2
        levels: tuple[float | None, ...] = member.keep if isinstance(member.keep, tuple) else (None,)
        levels = tuple(level for level in levels if level is None or level <= best)
        if reached is None or (member.training.goal is not None and row["status"] != "cleared"):
            return []
        epoch = reached if member.keep != "best" else row["epochs"]
        share = row["train_flops"] / max(1, row["epochs"])
        kept: list[tuple[float | None, float | None]] = [(level, None) for level in levels]
        kept += [(None, dose) for dose in member.doses]
        epochs = [row["epochs"] if dose else epoch + i for i, (_, dose) in enumerate(kept)]
        return [
            {
                "level": level,
                "dose": dose,
                "epoch": at,
                "val_accuracy": level or end * (1.0 - (dose or 0.0)),
                "train_flops": int(at * share),
                "train_seconds": at * share / 1e9,
                "path": f"embeddings/{member.run_id}-e{at}{'' if dose is None else dose}.safetensors",
                "sha256": f"{member.run_id}-{at}{'' if dose is None else f'-{dose}'}",
                "norm": 1.0,
                "effective_rank": 2.0,
            }
            for at, (level, dose) in zip(epochs, kept, strict=True)
        ]


@dataclass
class Story:
    """All that happened; `policy` is that of the experiment itself, without its variations."""

    policy: Policy
    ablation: Ablation
    rows: dict[str, Row]
    jobs: int
    cancelled: int

    @property
    def needed(self) -> dict[str, Row]:
        """The rows that counted for something."""
        return {run_id: row for run_id, row in self.rows.items() if any(self.ablation.counting(run_id))}


def policy_for(experiment: Spec, workers: int = 1) -> Policy:
    return plans.policy_for(experiment, workers)


def search(
    experiment: Spec,
    oracle: Oracle,
    workers: int = 1,
    order: int = 0,
    known: list[Row] | None = None,
    stop: int = 10**9,
    job_members: int | None = None,
) -> Story:
    """Runs the policy to its end (or for `stop` jobs): a random one of the workers finishes next."""
    rng = random.Random(order)
    policy = plans.ablation_for(experiment, workers, job_members)
    rows: dict[str, Row] = {}
    if known:
        policy.tell(known)
        rows |= {row["run_id"]: row for row in known}
    busy: list[Job] = []
    jobs = cancelled = 0
    while jobs < stop:
        job = policy.ask() if len(busy) < workers else WAIT
        if isinstance(job, Job):
            busy.append(job)
            jobs += 1
            continue
        if job is DONE:
            break
        if not busy:
            raise AssertionError("the policy waits for nobody")
        done = busy.pop(rng.randrange(len(busy)))
        if policy.should_stop(done):
            cancelled += 1
        else:
            answers = [oracle.answer(member, done) for member in done.members]
            rng.shuffle(answers)
            for answer in answers:
                assert answer["run_id"] not in rows, "a member ran twice"
                rows[answer["run_id"]] = answer
            policy.tell(answers)
        policy.ended(done.id)
    return Story(policy.base, policy, rows, jobs, cancelled)


def weak_clears(
    minimum: Callable[[Architecture], bool], epochs: int = 300, rate: float = 1.0
) -> Callable[[Member], int | None]:
    """Architectures for which `minimum` holds clear after `epochs`, each seed with probability `rate`."""

    def answer(member: Member) -> int | None:
        if not minimum(member.architecture) or chance(member.architecture.label, member.seed, "weak") >= rate:
            return None
        return epochs

    return answer


def target_gets_there(
    pays: Callable[[Member], bool], scratch: int = 200, transfer: int = 40
) -> Callable[..., int | None]:
    """Scratch after `scratch` epochs, transfer after `transfer` where `pays` holds of the weak member, others never."""

    def answer(member: Member, source: Member | None) -> int | None:
        if member.method == "scratch":
            return scratch
        if member.method == "transfer" and source is not None and pays(source):
            return transfer
        return None

    return answer
