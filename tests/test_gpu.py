"""What only a CUDA device shows: stacks there, and agreement with the CPU. Skipped where there is none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from training_kit import SPLITS, TASK, column, generator, member, plan, train

import gtsearch
from gtsearch import catalog
from gtsearch.methods.base import Method
from gtsearch.methods.grokfast_ema import GrokfastEma
from gtsearch.methods.grokfast_ma import GrokfastMa
from gtsearch.methods.sphere import Sphere
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


STARTS = {"embedding": torch.randn(TASK.d_vocab, 3, generator=generator(5))}
LAYERS = {"layers.1.weight": torch.randn(TASK.n_classes, 4, generator=generator(6))}


@pytest.mark.parametrize(
    ("method", "start"),
    [
        (Transfer(name="transfer"), STARTS),
        (Transfer(name="transfer", merge_at=7, layers=("layers.1.weight",)), STARTS | {"layers": LAYERS}),
        (Transfer(name="transfer", freeze_a=True), STARTS),
        (GrokfastEma(name="grokfast_ema"), {}),
        (GrokfastMa(name="grokfast_ma", window=4), {}),
        (Sphere(name="sphere"), {}),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else "",
)
def test_targets_agree_with_the_cpu(method: Method, start: dict[str, Any]) -> None:
    """Their hooks follow their members: member s leaves at epoch 9 + 3 s."""
    filters = {"grokfast_alpha": 0.9, "grokfast_lambda": 2.0}

    def run(device: str, stack_size: int) -> dict[str, Outcome]:
        targets = [
            member(s, method=method, start=start, hyperparameters=filters, double=True, max_epochs=9 + 3 * s)
            for s in range(8)
        ]
        return train(targets, plan(goal=None, stack_size=stack_size), device=device)

    expected = run("cpu", 1)
    for run_id, outcome in run("cuda", 8).items():
        for name in ("train_loss", "val_loss"):
            assert column(outcome, name) == pytest.approx(column(expected[run_id], name), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("probe", [name for name in catalog.PROBES if name != "xor_ratio"])
def test_probes_agree_with_the_cpu(probe: str) -> None:
    def run(device: str, stack_size: int) -> dict[str, Outcome]:
        read = [catalog.load("probe", probe)(name=probe)]
        stack = [member(s, double=True, max_epochs=10, probes=read) for s in range(3)]
        return train(stack, plan(goal=None, stack_size=stack_size), device=device)

    expected = run("cpu", 1)
    for run_id, outcome in run("cuda", 3).items():
        for row, wanted in zip(outcome.probed, expected[run_id].probed, strict=True):
            for number, value in wanted.items():
                assert row[number] == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6))


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


def test_a_model_on_the_device_gets_its_embedding_there() -> None:
    E_W = torch.randn(11, 3, generator=generator(0))
    here, there = (
        gtsearch.transfer(torch.nn.Sequential(torch.nn.Embedding(11, 8)).to(device), E_W, generator=generator(1))
        for device in ("cpu", "cuda")
    )
    assert there[0].A.is_cuda and torch.equal(there[0].B.cpu(), here[0].B)
    tokens = torch.arange(11)
    torch.testing.assert_close(gtsearch.merge(there)(tokens.cuda()).cpu(), here(tokens), rtol=1e-3, atol=1e-3)
