"""The benchmark of what surrounds training still runs: a search driven to its end, a recorded run replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import small_story, write_run

from benchmarks import overhead
from gtsearch import results
from gtsearch.analysis import report


@pytest.mark.parametrize(("kind", "stacked"), [("ladder", None), ("grid", 512)])
def test_a_search_is_driven_to_its_end(
    kind: str, stacked: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_report", lambda loaded: loaded.folder / "report.html")  # figures take seconds
    told = overhead.drive(overhead.search_of(kind, 60), tmp_path, 2, stacked)
    read = results.load_results(tmp_path)
    assert read.summary["complete"] and read.summary["error"] is None
    assert told["members"] == len(read.trials) == len(results.read_log(tmp_path / results.LOG)[0])
    assert set(told["seconds"]) == {"plan", "policy", "log", "journal", "show", "tables", "report"}
    assert min(told["searched_mb"], told["tables_mb"], told["report_mb"]) > 0


def test_a_recorded_run_is_replayed(tmp_path: Path) -> None:
    story = small_story()
    record = overhead.Record(write_run(tmp_path / "run", story))
    one, four = overhead.replay(record, 1), overhead.replay(record, 4)
    counted = sum(row["train_seconds"] for row in story.needed.values())
    assert one.counted == pytest.approx(counted) and four.counted == pytest.approx(counted)
    assert one.made_up_counted == four.made_up_counted == 0
    assert four.wall < one.wall and four.idle >= 0.0 == pytest.approx(one.idle, abs=1e-6)
    assert one.ratio >= 1.0
