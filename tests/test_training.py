from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from training_kit import FLOPS, GOOD, SPLITS, TASK, build, column, generator, member, plan, train, without_seconds

from gtsearch.methods.base import Hooks, Method, Slot
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Embedding, FactorisedEmbedding, InputEmbedding, Model
from gtsearch.probes.base import Probe, View
from gtsearch.tasks.modular import ModularAddition
from gtsearch.training import Cohort, Kept, Member, Outcome, with_noise

TRANSFER = Transfer(name="transfer")

# ---- a model whose accuracy is a script: what is said of curves is tested on curves that are known ----

TINY = ModularAddition(name="modular_addition", p=5, train_fraction=0.4)
TINY_SPLITS = TINY.splits(0)


class Clock(InputEmbedding):
    """E [1, 1] holds how many epochs have passed."""

    def __init__(self) -> None:
        super().__init__()
        self.E = torch.nn.Parameter(torch.zeros(1, 1))

    def matrix(self) -> Tensor:
        return self.E


class Ticking(Hooks):
    def __init__(self, clock: Slot) -> None:
        self.clock = clock

    def after_step(self, flat: Tensor) -> None:
        self.clock.of(flat).add_(1.0)


class Tick(Method):
    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        return (Ticking(slots["embedding.E"]),)


class Scripted(Model):
    """Accuracy `script[epoch]` on every part, its last entry from there on; NaN gives NaN for logits."""

    def __init__(self, script: Sequence[float]) -> None:
        super().__init__()
        self.embedding = Clock()
        self.script = script

    def forward(self, x: Tensor) -> Tensor:
        clock = self.embedding.matrix()
        accuracy = self.script[min(int(clock.item()), len(self.script) - 1)]
        n_right = 0 if math.isnan(accuracy) else round(accuracy * len(x))
        wrong = (torch.arange(len(x)) >= n_right).long()
        logits = torch.nn.functional.one_hot((x.sum(dim=1) + wrong) % TINY.p, TINY.p)
        return logits + 0.0 * clock + (math.nan if math.isnan(accuracy) else 0.0)


def scripted(script: Sequence[float], run_id: str = "run", **settings: Any) -> Member:
    settings = {"max_epochs": len(script) - 1, "lr": 0.0, "weight_decay": 0.0, **settings}
    return Member(run_id, Scripted(script), method=Tick(name="tick"), **settings)


def act(
    script: Sequence[float], *, goal: float | None = 0.9, hold: int = 2, every: int = 1, **settings: Any
) -> Outcome:
    one = scripted(script, **settings)
    shared = plan(goal=goal, hold=hold, evaluate_every=every, flops_per_epoch=10)
    return train([one], shared, TINY_SPLITS)["run"]


def kept(outcome: Outcome) -> list[tuple[float | None, int, float]]:
    """Level, epoch and accuracy of each kept embedding, after a look that it is the one of that epoch."""
    for one in outcome.kept:
        assert one.E.tolist() == [[one.epoch]]
        assert one.train_flops == 10 * one.epoch
    return [(one.level, one.epoch, one.val_accuracy) for one in outcome.kept]


class TestGoal:
    def test_is_reached_at_the_first_evaluation_of_the_run_that_holds(self) -> None:
        outcome = act([0, 1, 0, 1, 1, 1, 0, 0])
        assert outcome.measures["status"] == "cleared"
        assert outcome.measures["epochs_to_goal_first"] == 1
        assert outcome.measures["epochs_to_goal"] == 3
        assert outcome.measures["epochs"] == 4, "training ends when the goal has been held"
        assert outcome.measures["flops_to_goal"] == 30
        assert outcome.measures["train_flops"] == 40
        assert outcome.measures["seconds_to_goal"] == outcome.curve[3]["train_seconds"]

    def test_that_is_not_held_is_not_reached(self) -> None:
        outcome = act([0, 1, 0, 1, 0, 1])
        assert outcome.measures["status"] == "exhausted"
        assert outcome.measures["epochs_to_goal"] is None
        assert outcome.measures["flops_to_goal"] is None
        assert outcome.measures["seconds_to_goal"] is None
        assert outcome.measures["epochs_to_goal_first"] == 1
        assert outcome.measures["best_val_accuracy"] == 1.0
        assert outcome.measures["epochs"] == 5

    def test_is_judged_on_the_grid(self) -> None:
        outcome = act([0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1], every=3, hold=2)
        assert column(outcome, "epoch") == [0, 3, 6, 9, 12]
        assert outcome.measures["epochs_to_goal_first"] == 3
        assert outcome.measures["epochs_to_goal"] == 9

    def test_at_epoch_0_counts(self) -> None:
        outcome = act([1, 1, 1])
        assert (outcome.measures["epochs_to_goal_first"], outcome.measures["epochs_to_goal"]) == (0, 0)
        assert outcome.measures["flops_to_goal"] == 0

    def test_none_is_cleared_by_training_to_the_end(self) -> None:
        outcome = act([1, 0, 0, 0, 0, 1], goal=None, every=2, test=True, keep="goal")
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("cleared", 5)
        assert (outcome.measures["epochs_to_goal"], outcome.measures["epochs_to_goal_first"]) == (5, None)
        assert outcome.measures["flops_to_goal"] == 50
        assert outcome.measures["test_accuracy"] == 1.0
        assert kept(outcome) == [(None, 5, 1.0)]

    def test_none_is_not_cleared_under_a_cap_nor_by_what_diverges(self) -> None:
        capped = act([1] * 6, goal=None, cap_epochs=3, keep="goal")
        assert (capped.measures["status"], capped.measures["epochs_to_goal"]) == ("capped", None)
        diverged = act([1, 1, 1, math.nan], goal=None, keep="goal")
        assert (diverged.measures["status"], diverged.measures["epochs_to_goal"]) == ("diverged", None)
        assert kept(capped) == kept(diverged) == []


class TestEnd:
    def test_the_last_epoch_is_evaluated_off_the_grid_too_but_reaches_no_goal(self) -> None:
        outcome = act([0, 0, 0, 0, 0, 1, 1, 1], every=5, hold=2)
        assert column(outcome, "epoch") == [0, 5, 7]
        assert outcome.measures["status"] == "exhausted"
        assert outcome.measures["final_val_accuracy"] == 1.0

    def test_a_cap_ends_with_its_own_status(self) -> None:
        outcome = act([0] * 11, cap_epochs=4, every=3)
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("capped", 4)
        assert column(outcome, "epoch") == [0, 3, 4]

    @pytest.mark.parametrize("cap", [10, 12])
    def test_a_cap_that_cuts_nothing_is_no_cap(self, cap: int) -> None:
        assert act([0] * 11, cap_epochs=cap).measures["status"] == "exhausted"

    def test_the_goal_at_the_cap_is_reached(self) -> None:
        assert act([0, 0, 1, 1, 1], cap_epochs=3).measures["status"] == "cleared"

    def test_no_epochs_is_one_evaluation(self) -> None:
        outcome = act([0, 0], max_epochs=0)
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("exhausted", 0)
        assert column(outcome, "epoch") == [0]

    def test_columns_of_the_time_gap(self) -> None:
        outcome = act([0, 0.5, 1, 1, 1], goal=None)
        assert outcome.measures["epoch_train_95"] == outcome.measures["epoch_val_95"] == 2
        assert act([0, 0.5, 0.5]).measures["epoch_val_95"] is None


class TestRunOn:
    def test_goes_on_to_twice_the_goal_epoch(self) -> None:
        outcome = act([0, 0, 0, 1, 1, 1, 1, 1, 1], run_on=True)
        assert outcome.measures["epochs_to_goal"] == 3
        assert outcome.measures["epochs"] == 6
        assert outcome.measures["stayed"] is True

    def test_goes_past_max_epochs_when_the_goal_came_late(self) -> None:
        outcome = act([0, 0, 0, 1, 1], run_on=True, max_epochs=4)
        assert outcome.measures["epochs"] == 6

    def test_tells_of_a_fall(self) -> None:
        outcome = act([0, 0, 0, 1, 1, 0, 1], run_on=True)
        assert outcome.measures["stayed"] is False
        assert outcome.measures["epochs_to_goal"] == 3
        assert outcome.measures["status"] == "cleared"

    def test_a_divergence_after_the_goal_is_a_fall(self) -> None:
        outcome = act([0, 0, 0, 1, 1, math.nan], run_on=True)
        assert (outcome.measures["status"], outcome.measures["stayed"]) == ("cleared", False)

    def test_says_nothing_where_the_goal_was_never_reached_or_nobody_asked(self) -> None:
        assert act([0, 0, 0], run_on=True).measures["stayed"] is None
        assert act([0, 1, 1]).measures["stayed"] is None

    def test_never_ends_before_the_goal_is_held(self) -> None:
        outcome = act([0, 1, 1, 1, 1, 1], run_on=True, hold=4)
        assert (outcome.measures["epochs_to_goal"], outcome.measures["epochs"]) == (1, 4)


class TestKeep:
    def test_nothing_unless_asked(self) -> None:
        assert kept(act([0, 1, 1])) == []

    def test_goal_keeps_the_state_at_the_last_evaluation_of_the_hold(self) -> None:
        assert kept(act([0, 0, 1, 1, 1], keep="goal")) == [(None, 3, 1.0)]
        assert kept(act([0, 1, 0], keep="goal")) == []

    def test_goal_is_kept_once_when_running_on(self) -> None:
        assert kept(act([0, 0, 0, 1, 1, 0, 1, 1], keep="goal", run_on=True)) == [(None, 4, 1.0)]

    def test_best_keeps_the_first_best_and_trains_to_the_end(self) -> None:
        outcome = act([0, 1, 1, 0.5, 1], keep="best")
        assert kept(outcome) == [(None, 1, 1.0)]
        assert outcome.measures["epochs"] == 4
        assert outcome.measures["status"] == "cleared"

    def test_epochs_keeps_that_epoch_on_the_grid_or_off(self) -> None:
        outcome = act([0, 0, 0, 0, 0.5, 0.5, 0.5], keep=4, every=3)
        assert [one.epoch for one in outcome.kept] == [4]
        assert column(outcome, "epoch") == [0, 3, 4, 6]

    def test_epochs_goes_on_past_the_goal_and_no_further(self) -> None:
        outcome = act([1] * 20, keep=7)
        assert kept(outcome) == [(None, 7, 1.0)]
        assert outcome.measures["epochs"] == 7

    def test_epochs_beyond_the_end_keeps_nothing(self) -> None:
        assert kept(act([0] * 4, keep=9)) == []

    def test_levels_keep_the_first_crossing_of_each_and_end_with_the_last(self) -> None:
        outcome = act([0, 0.3, 0.2, 0.8, 0.1, 1, 1, 1], goal=None, keep=[0.2, 0.5, 0.7, 0.9])
        assert [(level, epoch) for level, epoch, _ in kept(outcome)] == [(0.2, 1), (0.5, 3), (0.7, 3), (0.9, 5)]
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("cleared", 5)

    def test_levels_that_are_not_all_crossed_train_to_the_end(self) -> None:
        outcome = act([0, 0.6, 0.6, 0.6], goal=None, keep=[0.5, 0.9])
        assert [one.level for one in outcome.kept] == [0.5]
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("exhausted", 3)


class TestTestAccuracy:
    def test_is_null_unless_asked_for(self) -> None:
        outcome = act([0, 1, 1])
        assert set(column(outcome, "test_accuracy")) == {None}
        assert outcome.measures["test_accuracy"] is None

    def test_is_that_of_the_goal_epoch(self) -> None:
        outcome = act([0, 0, 0, 0.96, 1, 0, 0], test=True, run_on=True, goal=0.8)
        assert column(outcome, "test_accuracy")[3] == pytest.approx(0.96, abs=0.07)
        assert outcome.measures["test_accuracy"] == column(outcome, "test_accuracy")[3]

    def test_is_the_last_where_the_goal_was_not_reached(self) -> None:
        assert act([0, 0, 0.5], test=True).measures["test_accuracy"] == 0.5

    def test_is_asked_for_member_by_member_in_a_stack(self) -> None:
        members = [member(s, test=s == 1, max_epochs=5) for s in range(3)]
        outcomes = train(members, plan(stack_size=3))
        assert [outcomes[f"run-{s}"].measures["test_accuracy"] is None for s in range(3)] == [True, False, True]
        assert set(column(outcomes["run-0"], "test_accuracy")) == {None}


@given(
    script=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=24),
    hold=st.integers(1, 4),
    every=st.integers(1, 5),
    cap=st.none() | st.integers(0, 24),
    run_on=st.booleans(),
    keep=st.sampled_from([None, "goal", "best", 3, 7]),
)
def test_any_curve_ends_as_the_rules_say(
    script: list[float], hold: int, every: int, cap: int | None, run_on: bool, keep: str | int | None
) -> None:
    """The rules of the design (section 6, points 11 and 12) once more, by looking back over the whole script."""
    max_epochs = len(script) - 1
    last = max_epochs if cap is None else min(cap, max_epochs)
    grid = range(0, last + 1, every)
    above = [epoch for epoch in grid if script[epoch] >= 0.9]
    holds = [e for e in grid if all(e + i * every in above for i in range(hold))]
    end = last
    if holds:
        end = holds[0] + (hold - 1) * every
        end = max(end, 2 * holds[0]) if run_on else end
        end = max(end, last) if keep == "best" else end
        end = max(end, min(keep, last)) if isinstance(keep, int) else end
    status = "cleared" if holds else "exhausted" if last == max_epochs else "capped"

    outcome = act(script, hold=hold, every=every, cap_epochs=cap, run_on=run_on, keep=keep)
    assert outcome.measures["epochs_to_goal"] == (holds[0] if holds else None)
    assert outcome.measures["epochs_to_goal_first"] == (above[0] if above and above[0] <= end else None)
    assert outcome.measures["status"] == status
    assert outcome.measures["epochs"] == end
    epochs = {e for e in range(end + 1) if e % every == 0 or e in (last, keep)}
    assert column(outcome, "epoch") == sorted(epochs)


# ---- real members, alone and together ----


def test_curves_are_bit_equal_alone_and_in_a_cohort() -> None:
    def members() -> list[Member]:
        return [member(s, max_epochs=40 + s, lr=0.01 * (1 + s % 3)) for s in range(8)]

    together = train(members(), plan())
    for one in reversed(members()):
        alone = train([one], plan())[one.run_id]
        assert without_seconds(alone) == without_seconds(together[one.run_id])


@pytest.mark.parametrize(("double", "epochs", "tolerance"), [(True, 50, 1e-6), (False, 5, 1e-3)])
def test_a_stack_of_8_agrees_with_8_stacks_of_one(double: bool, epochs: int, tolerance: float) -> None:
    def losses(stack_size: int) -> Tensor:
        members = [
            member(s, double=double, max_epochs=epochs, lr=0.005 * (1 + s), weight_decay=0.3 * s) for s in range(8)
        ]
        outcomes = train(members, plan(goal=None, evaluate_every=1, stack_size=stack_size))
        return torch.tensor(
            [
                [column(outcomes[f"run-{s}"], name) for name in ("train_loss", "val_loss", "train_accuracy")]
                for s in range(8)
            ],
            dtype=torch.float64,
        )

    stacked, alone = losses(8), losses(1)
    assert alone[:, 0, 0].std() > 0, "the members differ"
    assert (alone[:, 0, -1] < alone[:, 0, 0]).all(), "they learn"
    torch.testing.assert_close(stacked, alone, rtol=tolerance, atol=tolerance)


def test_a_stack_of_transferred_targets_agrees_too() -> None:
    start = {"embedding": torch.randn(TASK.d_vocab, 3, generator=generator(5))}

    def run(stack_size: int) -> dict[str, Outcome]:
        members = [member(s, method=TRANSFER, start=start, double=True, keep="best", max_epochs=20) for s in range(4)]
        return train(members, plan(goal=None, stack_size=stack_size))

    stacked, alone = run(4), run(1)
    for run_id, outcome in alone.items():
        assert column(stacked[run_id], "train_loss") == pytest.approx(column(outcome, "train_loss"), rel=1e-9)
        assert stacked[run_id].kept[0].epoch == outcome.kept[0].epoch
        torch.testing.assert_close(stacked[run_id].kept[0].E, outcome.kept[0].E, rtol=1e-8, atol=1e-8)


def test_members_of_a_stack_do_not_touch_each_other() -> None:
    def run(lr: float) -> dict[str, Outcome]:
        members = [member(s, max_epochs=30, lr=lr if s == 2 else 0.02) for s in range(4)]
        return train(members, plan(goal=None, stack_size=4))

    calm, upset = run(0.02), run(0.5)
    assert without_seconds(calm["run-2"]) != without_seconds(upset["run-2"])
    for run_id in ("run-0", "run-1", "run-3"):
        assert without_seconds(calm[run_id]) == without_seconds(upset[run_id])


@pytest.mark.parametrize("stack_size", [1, 4])
def test_a_member_that_diverges_is_one_row_and_the_others_go_on(stack_size: int) -> None:
    members = [member(s, max_epochs=30, lr=math.nan if s == 1 else 0.02) for s in range(4)]
    outcomes = train(members, plan(goal=None, stack_size=stack_size))
    assert outcomes["run-1"].measures["status"] == "diverged"
    assert outcomes["run-1"].measures["epochs"] == 5
    assert outcomes["run-1"].curve[-1]["train_loss"] is None, "never NaN: a log of JSON lines has none"
    assert outcomes["run-1"].measures["final_val_accuracy"] is not None
    for s in (0, 2, 3):
        assert (outcomes[f"run-{s}"].measures["status"], outcomes[f"run-{s}"].measures["epochs"]) == ("cleared", 30)


def test_a_stack_goes_on_without_those_who_finished() -> None:
    """Ends at 3, 10, 17, 24 of epochs: each leaves, off the grid too, and the rest does as it would have alone."""

    def members() -> list[Member]:
        return [member(s, double=True, max_epochs=60, cap_epochs=3 + 7 * s, keep="best") for s in range(4)]

    together = train(members(), plan(goal=None, stack_size=4))
    alone = train(members(), plan(goal=None))
    assert list(together) == [f"run-{s}" for s in range(4)]
    for s in range(4):
        outcome, single = together[f"run-{s}"], alone[f"run-{s}"]
        assert (outcome.measures["status"], outcome.measures["epochs"]) == ("capped", 3 + 7 * s)
        assert column(outcome, "epoch") == column(single, "epoch") == [*range(0, 3 + 7 * s, 5), 3 + 7 * s]
        assert column(outcome, "val_loss") == pytest.approx(column(single, "val_loss"), rel=1e-9)
        torch.testing.assert_close(outcome.kept[0].E, single.kept[0].E, rtol=1e-8, atol=1e-8)


def test_a_goal_is_reached_by_training() -> None:
    outcomes = train([member(s, max_epochs=400, keep="goal", test=True) for s in range(4)], plan())
    cleared = [outcome for outcome in outcomes.values() if outcome.measures["status"] == "cleared"]
    assert len(cleared) >= 2
    for outcome in cleared:
        measures = outcome.measures
        assert measures["epochs"] == measures["epochs_to_goal"] + 5
        assert measures["flops_to_goal"] == measures["epochs_to_goal"] * FLOPS
        assert 0 < measures["seconds_to_goal"] < measures["train_seconds"]
        assert measures["eval_seconds"] > 0
        assert measures["test_accuracy"] > 5 * TASK.chance
        assert outcome.kept[0].E.shape == (TASK.d_vocab, 8)
        assert outcome.kept[0].val_accuracy == outcome.curve[-1]["val_accuracy"] >= 0.5


def test_a_curve_is_what_a_plain_loop_gives() -> None:
    """The loop anybody would write, with torch's own optimizer."""
    module = build(3).double()
    optimizer = torch.optim.AdamW(module.parameters(), lr=GOOD["lr"], weight_decay=GOOD["weight_decay"])
    losses, accuracies = [], []
    for _ in range(21):
        loss = torch.nn.functional.cross_entropy(module(SPLITS.train.x), SPLITS.train.y)
        losses.append(loss.item())
        right = module(SPLITS.validation.x).argmax(dim=1) == SPLITS.validation.y
        accuracies.append(right.double().mean().item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    outcome = train([member(3, double=True, max_epochs=20)], plan(goal=None, evaluate_every=1))["run-3"]
    assert column(outcome, "train_loss") == pytest.approx(losses, rel=1e-8)
    assert column(outcome, "val_accuracy") == pytest.approx(accuracies)


# ---- hooks, control, errors ----


class Still(Hooks):
    """Holds the embedding still by both: the gradient set to 0, and the first row put to a number of the member's."""

    def __init__(self, slot: Slot, number: Tensor) -> None:
        self.slot, self.number = slot, number

    def after_backward(self, gradient: Tensor) -> None:
        self.slot.of(gradient).zero_()

    def after_step(self, flat: Tensor) -> None:
        self.slot.of(flat)[:, 0, :] = self.number[:, None]

    def keep(self, rows: Tensor) -> None:
        self.number = self.number[rows]


class StillMethod(Method):
    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        return (Still(slots["embedding.E"], hyperparameters["number"]),)


STILL = StillMethod(name="still")


@pytest.mark.parametrize("stack_size", [1, 3])
def test_hooks_change_gradients_and_parameters_in_place_and_follow_their_members(stack_size: int) -> None:
    """Member 0 leaves first: the others' numbers must stay with them."""
    members = [
        member(
            s, method=STILL, hyperparameters={"number": 7.0 + s}, weight_decay=0.0, max_epochs=3 + 2 * s, keep=3 + 2 * s
        )
        for s in range(3)
    ]
    starts = [one.module.embedding.matrix().detach().clone() for one in members]
    outcomes = train(members, plan(goal=None, stack_size=stack_size))
    for s, start in enumerate(starts):
        E = outcomes[f"run-{s}"].kept[0].E
        assert torch.equal(E[1:], start[1:])
        assert torch.equal(E[0], torch.full((8,), 7.0 + s))


class OneByOne(Method):
    stackable: ClassVar[bool] = False


def test_a_method_that_is_not_exact_in_a_stack_gets_stacks_of_one() -> None:
    members = [member(s, method=OneByOne(name="alone"), max_epochs=2) for s in range(3)]
    assert {o.measures["cohort_size"] for o in train(members, plan(stack_size=8)).values()} == {1}


def test_members_of_different_methods_shapes_or_splits_never_share_a_stack() -> None:
    other = TASK.splits(1)
    start = {"embedding": torch.ones(TASK.d_vocab, 8)}
    members = [(member(0, max_epochs=2), SPLITS), (member(1, max_epochs=2), other), (member(2, max_epochs=2), SPLITS)]
    members.append((member(3, method=TRANSFER, start=start, max_epochs=2), SPLITS))
    members.append((member(5, method=Transfer(name="transfer", freeze_a=True), start=start, max_epochs=2), SPLITS))
    members.append((member(4, method=STILL, hyperparameters={"number": 1.0}, max_epochs=2), SPLITS))
    cohort = Cohort(members, plan(stack_size=8))
    sizes = {}
    while not cohort.done:
        sizes |= {outcome.run_id: outcome.measures["cohort_size"] for outcome in cohort.step(60)}
    assert sizes == {"run-0": 2, "run-1": 1, "run-2": 2, "run-3": 1, "run-4": 1, "run-5": 1}


def test_a_step_gives_control_back_and_tells_where_each_member_stands() -> None:
    cohort = Cohort([(member(s, max_epochs=10**6), SPLITS) for s in range(2)], plan(goal=None, stack_size=2))
    assert cohort.progress() == []
    started = time.perf_counter()
    assert cohort.step(0.05) == []
    assert time.perf_counter() - started < 2
    before = cohort.progress()
    assert [one["run_id"] for one in before] == ["run-0", "run-1"]
    assert cohort.step(0.0) == []
    after = cohort.progress()
    assert after[0]["epochs"] == before[0]["epochs"] + 1, "one epoch at least"
    assert after[0]["train_flops"] == after[0]["epochs"] * FLOPS
    assert not cohort.done


def test_steps_of_any_length_give_the_same_curve() -> None:
    cohort = Cohort([(member(0), SPLITS)], plan())
    outcomes: list[Outcome] = []
    while not cohort.done:
        outcomes += cohort.step(0.0)
    assert without_seconds(outcomes[0]) == without_seconds(train([member(0)], plan())["run-0"])


class Crashing(Hooks):
    def after_backward(self, gradient: Tensor) -> None:
        raise RuntimeError("no luck")


class Crash(Method):
    def hooks(self, flat: Tensor, slots: Mapping[str, Slot], hyperparameters: Mapping[str, Tensor]) -> Sequence[Hooks]:
        return (Crashing(),)


def test_a_crash_costs_its_own_stack_alone() -> None:
    crashing = member(1, method=Crash(name="crash"))
    cohort = Cohort([(one, SPLITS) for one in (member(0), crashing, member(2))], plan())
    with pytest.raises(RuntimeError, match="no luck"):
        while True:
            assert cohort.step(60.0) == []
    assert cohort.abandon() == ["run-1"]
    outcomes: list[Outcome] = []
    while not cohort.done:
        outcomes += cohort.step(60.0)
    assert sorted(outcome.run_id for outcome in outcomes) == ["run-0", "run-2"]


def test_a_stack_that_cannot_start_costs_its_own_members_alone() -> None:
    broken = member(1, method=OneByOne(name="alone"))
    broken.module.to = None  # type: ignore[assignment, method-assign]
    cohort = Cohort([(broken, SPLITS), (member(2), SPLITS)], plan())
    with pytest.raises(TypeError):
        cohort.step(60.0)
    assert cohort.abandon() == ["run-1"]
    assert [outcome.run_id for outcome in cohort.step(60.0)] == ["run-2"]
    assert cohort.abandon() == []
    assert cohort.done


def test_the_splits_and_the_global_generator_are_left_alone() -> None:
    one = member(0)
    before = SPLITS.train.x.clone(), torch.get_rng_state()
    train([one], plan())
    assert torch.equal(SPLITS.train.x, before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


# ---- merging A and B, frozen parameters, probes, layers ----

WEAK = {"embedding": torch.randn(TASK.d_vocab, 3, generator=generator(5))}


@pytest.mark.parametrize("stack_size", [1, 3])
def test_merging_at_once_trains_a_plain_table_from_a_b(stack_size: int) -> None:
    """Merged at epoch 1: one step of A and B, and from there on what a plain loop makes of the table A B."""
    merging = Transfer(name="transfer", merge_at=1)

    def by_hand(seed: int) -> list[float]:
        module = build(seed, method=merging, **WEAK).double()
        losses: list[float] = []
        for epochs in (1, 6):
            optimizer = torch.optim.AdamW(module.parameters(), lr=GOOD["lr"], weight_decay=GOOD["weight_decay"])
            for _ in range(epochs):
                loss = torch.nn.functional.cross_entropy(module(SPLITS.train.x), SPLITS.train.y)
                losses.append(loss.item())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if isinstance(module.embedding, FactorisedEmbedding):
                table = Embedding(*module.embedding.matrix().shape)
                table.E.data = module.embedding.matrix().detach()
                module.embedding = table
        return losses

    members = [member(s, method=merging, start=WEAK, double=True, max_epochs=6) for s in range(3)]
    outcomes = train(members, plan(goal=None, evaluate_every=1, stack_size=stack_size))
    for s in range(3):
        assert column(outcomes[f"run-{s}"], "train_loss") == pytest.approx(by_hand(s), rel=1e-8)


def test_a_stack_that_merges_agrees_with_stacks_of_one_though_members_leave_it() -> None:
    """Member 0 leaves before the merge, member 1 at it, member 2 after."""

    def run(stack_size: int) -> dict[str, Outcome]:
        method = Transfer(name="transfer", merge_at=10)
        members = [
            member(s, method=method, start=WEAK, double=True, max_epochs=4 + 6 * s, keep=4 + 6 * s) for s in range(4)
        ]
        return train(members, plan(goal=None, stack_size=stack_size))

    stacked, alone = run(4), run(1)
    for run_id, outcome in alone.items():
        assert column(stacked[run_id], "epoch") == column(outcome, "epoch")
        assert column(stacked[run_id], "val_loss") == pytest.approx(column(outcome, "val_loss"), rel=1e-9)
        torch.testing.assert_close(stacked[run_id].kept[0].E, outcome.kept[0].E, rtol=1e-8, atol=1e-8)


def test_merging_does_not_move_the_model() -> None:
    """With nothing to learn and nothing to decay, the table that is merged is the product that went in."""
    one = member(0, method=Transfer(name="transfer", merge_at=2), start=WEAK, lr=0.0, max_epochs=4)
    before = one.module.embedding.matrix().detach().clone()
    outcome = train([one], plan(goal=None, evaluate_every=1))["run-0"]
    assert isinstance(one.module.embedding, Embedding)
    torch.testing.assert_close(one.module.embedding.matrix().detach(), before)
    assert column(outcome, "train_loss") == pytest.approx([column(outcome, "train_loss")[0]] * 5, rel=1e-6)


@pytest.mark.parametrize("stack_size", [1, 2])
def test_epochs_after_the_merge_cost_what_the_one_table_costs(stack_size: int) -> None:
    method = Transfer(name="transfer", merge_at=4)
    members = [member(s, method=method, start=WEAK, max_epochs=10, keep=8) for s in range(2)]
    shared = plan(goal=None, evaluate_every=2, stack_size=stack_size, flops_per_epoch=100, merged_flops_per_epoch=1000)
    cohort = Cohort([(one, SPLITS) for one in members], shared)
    outcomes, progress = [], []
    while not cohort.done:
        outcomes += cohort.step(0.0)
        progress += cohort.progress()
    for outcome in outcomes:
        assert column(outcome, "train_flops") == [0, 200, 400, 2400, 4400, 6400]
        assert outcome.measures["train_flops"] == outcome.measures["flops_to_goal"] == 6400
        assert outcome.kept[0].train_flops == 4400
    told = {row["epochs"]: row["train_flops"] for row in progress}
    assert told == {epoch: 100 * epoch if epoch <= 4 else 400 + 1000 * (epoch - 4) for epoch in told}
    assert {3, 5} <= set(told)


class HeldRows(Model):
    """outputs = rows of E times W, of which E is drawn and held."""

    frozen_parameters = ("embedding.E",)

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(TINY.d_vocab, 4)
        self.W = torch.nn.Parameter(torch.zeros(4, TINY.p))

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding.read(x).sum(dim=1) @ self.W


@pytest.mark.parametrize("stack_size", [1, 2])
def test_what_a_model_says_is_frozen_is_held_against_gradient_and_decay(stack_size: int) -> None:
    members = []
    for s in range(2):
        module = HeldRows()
        module.embedding.initialise(generator(s), 1.0)
        members.append(Member(f"run-{s}", module, lr=0.1, weight_decay=1.0, max_epochs=5, keep=5))
    starts = [one.module.embedding.matrix().detach().clone() for one in members]
    outcomes = train(members, plan(goal=None, evaluate_every=1, stack_size=stack_size), TINY_SPLITS)
    for s, start in enumerate(starts):
        assert torch.equal(outcomes[f"run-{s}"].kept[0].E, start)
        assert outcomes[f"run-{s}"].curve[-1]["train_loss"] < outcomes[f"run-{s}"].curve[0]["train_loss"]


class Reader(Probe):
    """How far the first number of E has come since the first time, how often it was asked, the epoch, and 1 / 0 at the
    first time."""

    def measure(self, view: View) -> dict[str, float]:
        assert not torch.is_grad_enabled()
        view.memory["asked"] = view.memory.get("asked", 0) + 1
        now, asked = float(view.module.embedding.matrix()[0, 0]), view.memory["asked"]
        moved = now - view.memory.setdefault("first", now)
        return {
            "moved": moved,
            "asked": float(asked),
            "at": float(view.epoch),
            "late": math.inf if asked == 1 else float(asked),
        }


@pytest.mark.parametrize("stack_size", [1, 3])
def test_probes_are_read_at_every_evaluation_of_the_member_that_has_them(stack_size: int) -> None:
    def members() -> list[Member]:
        reader = [Reader(name="reader")]
        return [
            member(s, double=True, max_epochs=6 + s, keep="best", probes=reader if s != 1 else ()) for s in range(3)
        ]

    started = [float(one.module.embedding.matrix().detach()[0, 0]) for one in members()]
    trained = members()
    outcomes = train(trained, plan(goal=None, stack_size=stack_size))
    assert outcomes["run-1"].probed == []
    for s in (0, 2):
        rows = outcomes[f"run-{s}"].probed
        assert [row["epoch"] for row in rows] == column(outcomes[f"run-{s}"], "epoch") == [0, 5, 6 + s]
        assert [row["at"] for row in rows] == [0.0, 5.0, 6.0 + s]
        assert [row["asked"] for row in rows] == [1.0, 2.0, 3.0]
        assert [row["late"] for row in rows] == [None, 2.0, 3.0], "what is not finite is null"
        assert rows[0]["moved"] == 0.0 and rows[1]["moved"] != 0.0
        by_epoch = {one.epoch: float(one.E[0, 0]) for one in outcomes[f"run-{s}"].kept}
        for row in rows:
            if row["epoch"] in by_epoch:
                assert row["moved"] == pytest.approx(by_epoch[row["epoch"]] - started[s])


def test_probes_do_not_change_what_is_learnt() -> None:
    read = train([member(0, probes=[Reader(name="reader")])], plan(goal=None))["run-0"]
    assert without_seconds(read) == without_seconds(train([member(0)], plan(goal=None))["run-0"])


@pytest.mark.parametrize("stack_size", [1, 2])
def test_an_embedding_is_kept_with_the_other_parameters_where_the_plan_says_so(stack_size: int) -> None:
    def run(**settings: Any) -> dict[str, Outcome]:
        members = [member(s, double=True, max_epochs=4, keep=2) for s in range(2)]
        return train(members, plan(goal=None, stack_size=stack_size, **settings))

    assert run()["run-1"].kept[0].layers == {}
    short = [member(s, double=True, max_epochs=2) for s in range(2)]
    train(short, plan(goal=None))
    for s, outcome in enumerate(run(keep_layers=True).values()):
        found = outcome.kept[0].layers
        expected = {n: p for n, p in short[s].module.named_parameters() if n != "embedding.E"}
        assert set(found) == set(expected) == {"layers.0.weight", "layers.1.weight"}
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value.detach(), rtol=1e-8, atol=1e-8)


# ---- doses of noise in the embedding a member ends with ---------------------------------------------------------

DOSES = (0.2, 0.6, 1.0)


def noisy(outcome: Outcome) -> list[Kept]:
    return [one for one in outcome.kept if one.dose is not None]


@pytest.mark.parametrize("dose", [0.0, 0.3, 1.0])
def test_noise_keeps_the_norm_of_every_row(dose: float) -> None:
    E = torch.randn(50, 7, generator=generator(1)) * torch.logspace(-3, 3, 50)[:, None]
    E[3] = 0.0
    mixed = with_noise(E, dose, generator(2))
    norms = torch.linalg.vector_norm(E, dim=1)
    torch.testing.assert_close(torch.linalg.vector_norm(mixed, dim=1), norms, rtol=1e-5, atol=0.0)
    assert torch.isfinite(mixed).all(), "a row of nothing stays one"
    if dose == 0.0:
        torch.testing.assert_close(mixed, E, rtol=1e-6, atol=0.0)


def test_the_higher_the_dose_the_less_is_left_and_at_one_nothing() -> None:
    E = torch.randn(400, 32, generator=generator(1))
    left = [
        float(torch.nn.functional.cosine_similarity(with_noise(E, dose, generator(2)), E).mean())
        for dose in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert left[0] == pytest.approx(1.0) and left == sorted(left, reverse=True)
    assert left[2] == pytest.approx(math.sqrt(0.5), abs=0.02), "as much of it as of the noise"
    assert abs(left[-1]) < 0.03, "400 rows of 32: a standard error of 0.009"


def test_noise_is_that_of_its_generator_and_the_embedding_is_left_alone() -> None:
    E = torch.randn(5, 3, generator=generator(1))
    before = E.clone()
    first, again, other = (with_noise(E, 0.5, generator(seed)) for seed in (2, 2, 3))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(E, before)


@pytest.mark.parametrize("stack_size", [1, 3])
def test_a_dose_comes_with_the_accuracy_of_the_model_that_has_it(stack_size: int) -> None:
    members = [member(s, max_epochs=150, doses=DOSES if s != 1 else (), dose_seed=10 + s) for s in range(3)]
    outcomes = train(members, plan(goal=None, keep_layers=True, stack_size=stack_size))
    assert outcomes["run-1"].kept == []
    for s in (0, 2):
        outcome = outcomes[f"run-{s}"]
        assert [one.dose for one in noisy(outcome)] == list(DOSES) and len(outcome.kept) == 3
        for one in noisy(outcome):
            model = build(s)
            with torch.no_grad():
                for name, value in (one.layers | {"embedding.E": one.E}).items():
                    model.get_parameter(name).copy_(value)
                right = (model(SPLITS.validation.x).argmax(dim=1) == SPLITS.validation.y).double().mean()
            assert one.val_accuracy == pytest.approx(float(right))
            assert (one.epoch, one.level) == (150, None)
            assert one.train_flops == outcome.measures["train_flops"] == 150 * FLOPS
            assert one.train_seconds == outcome.curve[-1]["train_seconds"]
        accuracies = [one.val_accuracy for one in noisy(outcome)]
        assert accuracies[0] > accuracies[-1], "noise costs accuracy"


def test_doses_are_of_the_embedding_it_ends_with_and_share_their_noise() -> None:
    one = member(0, max_epochs=40, keep=40, doses=(0.5, 1.0), dose_seed=7)
    end, half, whole = train([one], plan(goal=None))["run-0"].kept
    assert torch.equal(one.module.embedding.matrix(), end.E), "the model itself stays as it was trained"
    assert (end.dose, half.dose, whole.dose) == (None, 0.5, 1.0)
    assert torch.equal(half.E, with_noise(end.E, 0.5, generator(7)))
    assert torch.equal(whole.E, with_noise(end.E, 1.0, generator(7)))


@pytest.mark.parametrize("stack_size", [1, 3])
def test_doses_change_nothing_of_the_run(stack_size: int) -> None:
    def run(doses: Sequence[float]) -> dict[str, Outcome]:
        # The one with doses ends first, so that the others go on after its noise.
        members = [member(s, max_epochs=20 + 10 * s, keep="best", doses=doses if s == 0 else ()) for s in range(3)]
        return train(members, plan(goal=None, stack_size=stack_size))

    plain, dosed = run(()), run(DOSES)
    for run_id, outcome in plain.items():
        assert without_seconds(dosed[run_id]) == without_seconds(outcome)
        assert dosed[run_id].measures["status"] == outcome.measures["status"]
        own = [one for one in dosed[run_id].kept if one.dose is None]
        assert [one.epoch for one in own] == [one.epoch for one in outcome.kept]
        assert all(torch.equal(a.E, b.E) for a, b in zip(own, outcome.kept, strict=True))


def test_doses_of_a_stack_are_those_of_its_members_alone() -> None:
    def run(stack_size: int) -> dict[str, Outcome]:
        members = [member(s, double=True, max_epochs=30, doses=DOSES, dose_seed=s) for s in range(3)]
        return train(members, plan(goal=None, stack_size=stack_size), SPLITS)

    together, alone = run(3), run(1)
    for run_id, outcome in alone.items():
        for one, same in zip(noisy(together[run_id]), noisy(outcome), strict=True):
            torch.testing.assert_close(one.E, same.E, rtol=1e-6, atol=1e-6)
            assert one.val_accuracy == pytest.approx(same.val_accuracy, abs=0.02)


def test_levels_that_are_all_crossed_end_the_run_and_the_doses_are_of_its_end() -> None:
    outcome = act([0.1, 0.3, 0.5, 0.7, 0.9], goal=None, keep=[0.2, 0.6], doses=[0.5])
    assert outcome.measures["status"] == "cleared" and outcome.measures["epochs"] == 3
    assert [(one.level, one.dose, one.epoch) for one in outcome.kept] == [
        (0.2, None, 1),
        (0.6, None, 3),
        (None, 0.5, 3),
    ]


def test_one_that_diverged_has_no_embedding_to_dose() -> None:
    outcome = act([0.1, 0.3, math.nan], goal=None, doses=[0.5])
    assert outcome.measures["status"] == "diverged" and outcome.kept == []
