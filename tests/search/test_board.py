"""What the board gives back when a run was trained further than the one who asks wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracle import Oracle, policy_for, spec

from gtsearch.search.board import PENDING, Board, Member, Phase, Row
from gtsearch.search.policy import Job


def scratch(epochs_to_goal: int) -> tuple[Member, Row]:
    """A member of the scratch search without a cap, and its row with a curve."""
    policy = policy_for(spec())
    job = policy.ask()
    assert isinstance(job, Job)
    member = job.members[0]
    row = Oracle(lambda m: None, lambda m, s: epochs_to_goal).answer(member, job)
    every = member.training.evaluate_every
    curve = [{"epoch": e, "val_accuracy": e / 1000} for e in range(0, row["epochs"] + 1, every)]
    return member, row | {"curve": curve}


def seen_by(member: Member, row: Row) -> Row:
    board = Board()
    board.put([row])
    answer = board.get(member, Phase.SCRATCH)
    assert answer is not PENDING
    return answer


def test_a_row_of_a_looser_cap_is_cut_to_what_was_asked() -> None:
    member, row = scratch(120)
    seen = seen_by(replace(member, cap_epochs=50, capped_by="somebody"), row)
    assert (seen["status"], seen["epochs"], seen["capped_by"]) == ("capped", 50, "somebody")
    assert seen["epochs_to_goal"] is seen["flops_to_goal"] is None
    assert seen["best_val_accuracy"] == pytest.approx(0.05), "what it reached later was not asked for"
    assert seen["train_flops"] == pytest.approx(row["train_flops"] * 50 / row["epochs"])


def test_a_row_that_held_the_goal_in_time_is_whole() -> None:
    member, row = scratch(120)
    seen = seen_by(replace(member, cap_epochs=125, capped_by="somebody"), row)
    assert seen["status"] == "cleared" and seen["epochs_to_goal"] == 120


def test_without_a_cap_nothing_is_cut() -> None:
    member, row = scratch(120)
    assert seen_by(member, row)["epochs"] == row["epochs"]


def test_what_is_known_is_not_worked_out_again_and_counts_again() -> None:
    member, row = scratch(120)
    board, asked = Board(), []

    def work() -> Row | object:
        asked.append(1)
        return board.get(member, Phase.SCRATCH)

    assert board.once("answer", work) is PENDING and member.run_id in board.wanted
    board.put([row])
    for _ in range(3):
        board.clear()
        assert board.once("answer", work) is not PENDING
        assert set(board.counted) == {member.run_id}
    assert len(asked) == 2, "once while it was pending, once when it was in"


def test_a_mistake_in_the_work_leaves_the_count_whole() -> None:
    member, row = scratch(120)
    board = Board()
    board.put([row])
    board.get(member, Phase.SCRATCH)
    with pytest.raises(ZeroDivisionError):
        board.once("answer", lambda: 1 // 0)
    assert set(board.counted) == {member.run_id}


def test_of_a_curve_only_the_records_are_kept() -> None:
    _, row = scratch(120)
    accuracies = [0.1, 0.3, None, 0.2, 0.3, 0.5]
    curve = [{"epoch": 5 * i, "val_accuracy": accuracy} for i, accuracy in enumerate(accuracies)]
    board = Board()
    (kept,) = board.put([row | {"curve": curve}])
    assert [list(part) for part in kept["records"]] == [[0, 5, 25], [0.1, 0.3, 0.5]] and "curve" not in kept
