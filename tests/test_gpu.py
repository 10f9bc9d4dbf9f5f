"""What only a CUDA device shows: stacks there, and agreement with the CPU. Skipped where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from training_kit import SPLITS, TASK, column, generator, member, plan, train

from gtsearch.methods.transfer import Transfer
from gtsearch.training import Cohort, Member, Outcome

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def members(n: int, double: bool, epochs: int) -> list[Member]:
    return [
        member(s, double=double, max_epochs=epochs, lr=0.005 * (1 + s % 8), weight_decay=0.3 * (s % 4))
        for s in range(n)
    ]


def losses(outcomes: dict[str, Outcome]) -> torch.Tensor:
    """[members, 2, evaluations]"""
    return torch.tensor(
        [[column(outcomes[run_id], name) for name in ("train_loss", "val_loss")] for run_id in sorted(outcomes)],
        dtype=torch.float64,
    )


@pytest.mark.parametrize(("double", "epochs", "tolerance"), [(True, 50, 1e-6), (False, 5, 1e-3)])
@pytest.mark.parametrize("stack_size", [1, 8, 32])
def test_agrees_with_the_cpu(double: bool, epochs: int, tolerance: float, stack_size: int) -> None:
    shared = plan(goal=None, evaluate_every=1)
    reference = losses(train(members(32, double, epochs), shared))
    found = train(members(32, double, epochs), plan(goal=None, evaluate_every=1, stack_size=stack_size), device="cuda")
    torch.testing.assert_close(losses(found), reference, rtol=tolerance, atol=tolerance)


def test_transferred_targets_agree_with_the_cpu() -> None:
    start = {"embedding": torch.randn(TASK.d_vocab, 3, generator=generator(5))}

    def run(device: str, stack_size: int) -> dict[str, Outcome]:
        targets = [member(s, method=Transfer(), start=start, double=True, max_epochs=30) for s in range(8)]
        return train(targets, plan(goal=None, stack_size=stack_size), device=device)

    torch.testing.assert_close(losses(run("cuda", 8)), losses(run("cpu", 1)), rtol=1e-6, atol=1e-6)


def test_members_that_diverge_or_end_leave_the_stack() -> None:
    stack = [
        member(s, double=True, max_epochs=60, cap_epochs=3 + 7 * s, lr=math.nan if s == 1 else 0.02, keep="best")
        for s in range(6)
    ]
    outcomes = train(stack, plan(goal=None, stack_size=6), device="cuda")
    assert outcomes["run-1"].measures["status"] == "diverged"
    for s in (0, 2, 3, 4, 5):
        assert (outcomes[f"run-{s}"].measures["status"], outcomes[f"run-{s}"].measures["epochs"]) == (
            "capped",
            3 + 7 * s,
        )
        assert outcomes[f"run-{s}"].kept[0].E.shape == (TASK.d_vocab, 8)


def test_a_stack_costs_a_member_less_than_a_member_alone() -> None:
    """The reason for stacks. Launching kernels is most of what one tiny member costs; 64 share the launches."""

    def seconds_a_member(n: int) -> float:
        cohort = Cohort([(one, SPLITS) for one in members(n, False, 200)], plan(goal=None, stack_size=n), "cuda")
        finished: list[Outcome] = []
        while not cohort.done:
            finished += cohort.step(60)
        return sum(one.measures["train_seconds"] for one in finished) / n

    seconds_a_member(2), seconds_a_member(1)  # the first call of each kind loads kernels
    assert seconds_a_member(64) < seconds_a_member(1) / 4
