"""The mirror of the studies that optuna-dashboard opens."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from oracle import Oracle, search, spec, target_gets_there, weak_clears

from gtsearch.journal import Journal


@pytest.mark.timeout(60)
def test_a_lock_that_a_killed_run_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "study.log").touch()
    (tmp_path / "study.log.lock").symlink_to(tmp_path / "study.log")
    story = search(spec(), Oracle(weak_clears(lambda a: False), target_gets_there(lambda m: True)))
    Journal(tmp_path / "study.log", spec().variations()).add(list(story.rows.values()))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    names = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    assert "target scratch" in names and sum(name.startswith("weak ") for name in names) == 6
    scratch = optuna.load_study(study_name="target scratch", storage=storage)
    searched = [r for r in story.rows.values() if r["method"] == "scratch" and r["role"] == "search"]
    assert len(scratch.trials) == len(searched)


def test_a_study_of_what_was_run_ahead_and_not_needed_says_so(tmp_path: Path) -> None:
    story = search(spec(), Oracle(weak_clears(lambda a: False), target_gets_there(lambda m: True)))
    journal = Journal(tmp_path / "study.log", spec().variations())
    journal.add(list(story.rows.values()))
    one, other = sorted({r["architecture"] for r in story.rows.values() if r["stage"] == "weak"})[:2]
    ladder = [{"architecture": one, "verdict": "not tried"}, {"architecture": other, "verdict": "certified"}]
    journal.conclude({"variations": None, "weak": {"ladder": ladder}, "methods": {}})
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    told = {name: optuna.load_study(study_name=f"weak {name}", storage=storage).user_attrs for name in (one, other)}
    assert told[one]["verdict"] == "not tried; what is here was run ahead, and not needed"
    assert told[other]["verdict"] == "certified"
