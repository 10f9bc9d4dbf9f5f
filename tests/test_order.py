"""The benchmark of `weak.order_by` tells of a recorded search what the search with that order does."""

from __future__ import annotations

import pytest
from oracle import Oracle, Story, chance, search, spec, target_gets_there

from benchmarks.order import at_best, replayed
from gtsearch.search.board import Member
from gtsearch.search.policy import Job

CANDIDATES = {
    "target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256},
    "weak__judge": {"candidates_per_architecture": 3, "later_snapshot": False},
    "weak__model": {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": 8},
    "tradeoff": None,
}


class World(Oracle):
    """Every config clears; a target is carried by configs of a high `fourier`, if any architecture's are."""

    def __init__(self, architecture: str) -> None:
        def carries(member: Member) -> bool:
            return member.architecture.label == architecture and chance("fourier", member.config_id) > 0.75

        super().__init__(lambda member: 50 + int(300 * chance(member.config_id)), target_gets_there(carries))

    def answer(self, member: Member, job: Job) -> dict:
        row = super().answer(member, job)
        for kept in row["embeddings"]:
            kept["scores"] = {"fourier": chance("fourier", member.config_id), "norm": 1.0}
        return row


def probes(story: Story) -> list[dict]:
    return [row for row in story.needed.values() if row["role"] == "probe"]


@pytest.fixture(scope="module")
def recorded() -> Story:
    return search(spec(**CANDIDATES), World("mlp-d4-w8-L2"))


def test_a_replay_counts_what_the_search_itself_does(recorded: Story) -> None:
    _, plain = replayed(recorded.policy.spec, list(recorded.rows.values()), None)
    assert plain is not None and plain.members == len(probes(recorded))
    assert plain.flops == sum(row["train_flops"] for row in probes(recorded))


def test_what_a_score_saves_is_what_the_search_with_it_saves(recorded: Story) -> None:
    own = search(spec(**CANDIDATES, weak__order_by="fourier"), World("mlp-d4-w8-L2"))
    policy, plain = replayed(recorded.policy.spec, list(recorded.rows.values()), None)
    _, ordered = replayed(recorded.policy.spec, list(recorded.rows.values()), "fourier")
    assert plain is not None and ordered is not None
    assert ordered.members == len(probes(own)) < plain.members
    best = at_best(policy, plain)
    assert best.members == ordered.members and best.flops == ordered.flops, "here the score knows"


def test_what_nobody_judged_is_not_known(recorded: Story) -> None:
    """Told of fewer probes than the order asks for, the benchmark gives no number."""
    told = [row for row in recorded.rows.values() if row["role"] != "probe"]
    assert replayed(recorded.policy.spec, told, "fourier")[1] is None
