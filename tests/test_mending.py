"""An embedding that is gone is trained again, to the same bits; one that comes out otherwise is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import spec

from gtsearch import plans
from gtsearch.errors import BrokenOff
from gtsearch.mending import mend
from gtsearch.search.ablation import Ablation
from gtsearch.search.policy import Job
from gtsearch.trainables import trainable_for


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Ablation, list[dict[str, Any]]]:
    """The first weak members of a search, trained into tmp_path, and its policy, told of them."""
    # A worker does this to its whole process, which here is that of all tests.
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flag: True)
    policy = plans.ablation_for(spec(weak__goal="none", weak__budget={"configs_per_architecture": 2, "max_epochs": 40}))
    while isinstance(job := policy.ask(), Job) and job.stage != "weak":
        pass
    assert isinstance(job, Job)
    trainable = trainable_for(job.to_json())
    trainable.setup(job.to_json(), tmp_path, threads=torch.get_num_threads())
    rows: list[dict[str, Any]] = []
    done = False
    while not done:
        report = trainable.step()
        rows, done = rows + json.loads(json.dumps(report["finished"])), report["done"]
    policy.tell(rows)
    policy.ask()
    return policy, rows


def mended(folder: Path, run: tuple[Ablation, list[dict[str, Any]]], **changes: Any) -> list[str]:
    notes: list[str] = []
    given = {"device": "cpu", "threads": torch.get_num_threads(), "note": notes.append, "is_over": lambda: False}
    mend(folder, *run, **given | changes)
    return notes


def test_what_is_gone_or_changed_is_made_again_bit_for_bit(
    run: tuple[Ablation, list[dict[str, Any]]], tmp_path: Path
) -> None:
    paths = [tmp_path / kept["path"] for row in run[1] for kept in row["embeddings"]]
    before = [path.read_bytes() for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(b"something else")
    notes = mended(tmp_path, run)
    assert len(notes) == 2 and all("is gone or was changed; it is made again" in note for note in notes)
    assert [path.read_bytes() for path in paths] == before
    assert mended(tmp_path, run) == []


def test_one_that_nobody_counts_on_is_left_alone(run: tuple[Ablation, list[dict[str, Any]]], tmp_path: Path) -> None:
    policy, rows = run
    stranger = rows[0] | {"run_id": "of somebody else", "embeddings": [rows[0]["embeddings"][0] | {"sha256": "0" * 64}]}
    assert mended(tmp_path, (policy, [stranger])) == []


def test_one_that_comes_out_otherwise_ends_the_run(run: tuple[Ablation, list[dict[str, Any]]], tmp_path: Path) -> None:
    policy, rows = run
    row = rows[0] | {"embeddings": [rows[0]["embeddings"][0] | {"sha256": "0" * 64}]}
    with pytest.raises(BrokenOff, match="trained again here it is another: its sha256 is not 000000000000"):
        mended(tmp_path, (policy, [row]))


def test_whoever_wants_the_run_to_end_does_not_wait(run: tuple[Ablation, list[dict[str, Any]]], tmp_path: Path) -> None:
    path = tmp_path / run[1][0]["embeddings"][0]["path"]
    path.unlink()
    assert mended(tmp_path, run, is_over=lambda: True) == [] and not path.exists()
