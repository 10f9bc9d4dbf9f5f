"""The benchmark of whole searches reads run folders, and asks for speed and the same claim at once."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from experiment_kit import TINY
from run_folders import small_story, write_run

from benchmarks import results as benchmark_results
from benchmarks import wall
from benchmarks.wall import Search, compare, read
from gtsearch import results
from gtsearch.spec import load_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("wall") / "run", small_story())


def test_what_was_cancelled_did_not_count(folder: Path) -> None:
    trials = results.load_results(folder).trials
    counted = trials[trials["purpose"] != "cancelled"]
    assert 0 < len(counted) < len(trials)
    expected = counted["train_seconds"].sum() + counted["eval_seconds"].sum()
    assert read(folder).counted_seconds == pytest.approx(float(expected))


def test_the_claim_is_the_weak_models(folder: Path) -> None:
    claim = read(folder).claim
    assert claim["pays"]["architecture"] == results.load_results(folder).summary["weak"]["pays"]["architecture"]


BEFORE = Search(300.0, 500.0, {"pays": {"architecture": "a"}})


@pytest.mark.parametrize(
    ("changes", "fast", "lean"),
    [
        ({"wall_seconds": 200.0, "counted_seconds": 380.0}, True, True),
        ({"wall_seconds": 210.0, "counted_seconds": 400.0}, False, True),
        ({"wall_seconds": 150.0, "counted_seconds": 250.0}, True, False),
        ({"wall_seconds": 150.0, "counted_seconds": 300.0, "claim": {"pays": None}}, False, True),
    ],
)
def test_a_faster_search_with_another_claim_misses_the_target(
    changes: dict[str, float], fast: bool, lean: bool
) -> None:
    wall, overhead = compare("modadd", BEFORE, dataclasses.replace(BEFORE, **changes), workers=2)
    assert wall.met is fast
    assert overhead.met is lean
    assert overhead.other == pytest.approx(1.2)


def test_a_program_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wall", "--before", "nowhere/gtsearch"])
    with pytest.raises(SystemExit, match="there is no program nowhere/gtsearch"):
        wall.main()


@pytest.mark.slow
def test_two_searches_at_once_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "tiny.yaml"
    spec.write_text(load_spec("smoke", TINY).to_yaml())
    program = str(Path(sys.executable).with_name("gtsearch"))
    monkeypatch.setattr(benchmark_results, "FOLDER", tmp_path / "results")
    words = ["--before", program, "--spec", str(spec), "--workers", "1", "--out", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["wall", *words])
    wall.main()
    [kept] = benchmark_results.read_all()
    assert [row.note for row in kept.rows] == ["the same claim", "other: the tree before"]
    assert kept.rows[0].ours and kept.rows[0].other
