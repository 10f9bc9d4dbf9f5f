"""Run folders of which a file was damaged at random: every command gives a result, or one line and exit code 2."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from damage import COMMANDS, call, copied, damage, harmless, made, wrong

from gtsearch import results, shapes
from gtsearch.errors import ResultsError

TIMES = 60
"""Damaged folders a command in the slow test."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("whole") / "run")


def try_on(whole: Path, there: Path, command: str, seed: int) -> None:
    there.mkdir()
    what = damage(copied(whole, there / "run"), random.Random(seed))
    with harmless():
        found = wrong(command, *call(command, there))
    assert not found, f"{command} of seed {seed}, {what}: {found}"


def test_what_is_whole_is_read_by_every_command(whole: Path, tmp_path: Path) -> None:
    copied(whole, tmp_path / "run")
    with harmless():
        for command in COMMANDS:
            code, out, err, trace = call(command, tmp_path)
            assert not wrong(command, code, out, err, trace), (command, err, trace)
            # Its embeddings are made up, of no split: `price` refuses to start from one.
            assert code == (2 if command == "price" else 0), (command, err)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("command", ["report", "runs", "export", "breakeven", "predictors"])
def test_a_damaged_folder_gives_a_result_or_a_line(whole: Path, tmp_path: Path, command: str, seed: int) -> None:
    try_on(whole, tmp_path / "one", command, seed)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_many_damaged_folders_give_results_or_lines(whole: Path, tmp_path: Path, command: str) -> None:
    for seed in range(100, 100 + TIMES):
        try_on(whole, tmp_path / str(seed), command, seed)


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        (["weak", "pays"], True, "`weak.pays` must be a mapping"),
        (["weak", "ladder", 0, "architecture"], None, "`weak.ladder[0].architecture` must be text"),
        (["methods", "scratch", "config", "lr"], "x", "`methods.scratch.config.lr` must be a number"),
        (["speedup", "target", "value"], 10**2000, "`speedup.target.value` must be a number"),
        (["chance"], float("nan"), "`chance` must be a number"),
        (["complete"], ..., "`complete` is missing"),
        (["warnings"], {}, "`warnings` must be a list"),
    ],
)
def test_a_summary_of_another_shape_is_refused_with_the_place(
    whole: Path, tmp_path: Path, place: list[Any], value: Any, line: str
) -> None:
    summary = inner = results.read_json(whole / results.SUMMARY)
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path = tmp_path / results.SUMMARY
    path.write_text(json.dumps(summary))
    with pytest.raises(ResultsError) as refused:
        results.read_json(path)
    assert str(refused.value) == f"{path} is damaged: {line}"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"epochs": 1.5}, "`epochs` must be a whole number"),
        ({"hyperparameters": {"lr": True}}, "`hyperparameters.lr` must be a number"),
        ({"status": "fine"}, "`status` must be one of cleared, exhausted"),
        ({"curve": [{"epoch": "x", "val_accuracy": 0.5}]}, "`curve[0].epoch` must be a whole number"),
        ({"status": "cleared", "role": "search", "epochs_to_goal": None}, "it cleared, and when it did is missing"),
    ],
)
def test_a_member_that_no_search_can_take_in_is_refused_with_its_line(
    whole: Path, tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    first, second, *_ = map(json.loads, (whole / results.LOG).read_text().splitlines())
    path = tmp_path / results.LOG
    path.write_text("".join(json.dumps(row) + "\n" for row in (first, second | change)))
    with pytest.raises(ResultsError, match=r"members\.log, line 2: damaged \(") as refused:
        list(results.members(path))
    assert line in str(refused.value)


def test_shapes_say_nothing_of_keys_they_do_not_name() -> None:
    assert shapes.misfit({"a": 1, "more": object()}, {"a": shapes.WHOLE}) is None
    assert shapes.misfit({}, {"a": shapes.Maybe(shapes.WHOLE, absent=True)}) is None
    assert shapes.misfit({}, {"a": shapes.Maybe(shapes.WHOLE)}) == "`a` is missing"
    assert shapes.misfit(True, shapes.NUMBER) == "it must be a number"


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("run_id", None, "its column run_id has no value in a row"),
        ("status", "fine", "its column status holds something else than cleared, exhausted"),
    ],
)
def test_a_table_with_what_no_run_writes_is_refused(
    whole: Path, tmp_path: Path, column: str, value: Any, line: str
) -> None:
    trials = results.read_table(whole, "trials")
    trials.loc[1, column] = value
    results.write_table(tmp_path, "trials", trials)
    with pytest.raises(ResultsError, match=r"trials\.parquet is damaged: ") as refused:
        results.table_of_run(tmp_path, "trials")
    assert line in str(refused.value)


def test_a_member_that_is_in_a_table_twice_is_refused(whole: Path, tmp_path: Path) -> None:
    trials = results.read_table(whole, "trials")
    trials.loc[1, "run_id"] = trials.loc[0, "run_id"]
    results.write_table(tmp_path, "trials", trials)
    with pytest.raises(ResultsError, match=r"trials\.parquet is damaged: the member \w+ is in it twice"):
        results.table_of_run(tmp_path, "trials")
