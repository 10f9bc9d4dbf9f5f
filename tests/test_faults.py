"""The fault matrix: its judge sees what it is there to see, its list holds what is promised, a handful of faults is
inflicted on a whole run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from run_folders import copy, small_story, write_run

from faults import __main__ as faults
from faults import inject, judge, scenarios
from faults.case import Fault
from gtsearch import results
from gtsearch.results import LOG

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    return write_run(tmp_path_factory.mktemp("judge") / "run", small_story())


@pytest.fixture
def other(whole: Path, tmp_path: Path) -> Path:
    return copy(whole, tmp_path / "run")


def log_lines(folder: Path) -> list[bytes]:
    return (folder / LOG).read_bytes().splitlines(keepends=True)


def write_lines(folder: Path, lines: list[bytes]) -> None:
    (folder / LOG).write_bytes(b"".join(lines))


def edit(folder: Path, table: str, change: Callable[..., None]) -> None:
    frame = results.read_table(folder, table)
    change(frame)
    results.write_table(folder, table, frame)


def test_a_run_that_is_equal_but_for_order_and_clock_is_equal(whole: Path, other: Path) -> None:
    before = judge.known(other, 0.0)
    lines = log_lines(other)
    random.Random(0).shuffle(lines)
    write_lines(other, lines)
    frame = results.read_table(other, "trials").sample(frac=1, random_state=0, ignore_index=True)
    results.write_table(other, "trials", frame.assign(elapsed_seconds=1e6, host="elsewhere"))
    verdict = judge.judge(whole, other, [before])
    assert verdict == judge.Verdict()


def test_a_line_that_is_gone_is_a_lost_member(whole: Path, other: Path) -> None:
    before = judge.known(other, 0.0)
    write_lines(other, log_lines(other)[:-2])
    assert judge.judge(whole, other, [before]).lost == 2


def test_a_line_that_was_rewritten_is_a_lost_member(whole: Path, other: Path) -> None:
    before = judge.known(other, 0.0)
    lines = log_lines(other)
    write_lines(other, [json.dumps(json.loads(lines[0]) | {"epochs": 1}).encode() + b"\n", *lines[1:]])
    assert judge.judge(whole, other, [before]).lost == 1


def test_a_member_that_is_in_the_log_and_not_in_the_table_is_lost(whole: Path, other: Path) -> None:
    before = judge.known(other, 0.0)
    results.write_table(other, "trials", results.read_table(other, "trials").iloc[1:])
    verdict = judge.judge(whole, other, [before])
    assert verdict.lost == 1 and verdict.differences


def test_a_second_line_is_a_repeated_member(whole: Path, other: Path) -> None:
    lines = log_lines(other)
    write_lines(other, [*lines, lines[3]])
    assert judge.judge(whole, other).repeated == 1


def test_a_member_that_began_again_after_it_was_finished_is_repeated(whole: Path, other: Path, tmp_path: Path) -> None:
    finished = [json.loads(line)["run_id"] for line in log_lines(other)]
    before = judge.known(other, 10.0)
    trace = tmp_path / "trace"
    trace.write_text(f"1.0 {finished[0]}\n11.0 {finished[1]}\n12.0 nobody\n")
    assert judge.judge(whole, other, [before], trace).repeated == 1


@pytest.mark.parametrize(
    ("table", "column"), [("trials", "epochs"), ("trials", "lr"), ("curves", "val_accuracy"), ("ledger", "train_flops")]
)
def test_a_changed_number_is_a_difference(whole: Path, other: Path, table: str, column: str) -> None:
    def change(frame: object) -> None:
        frame.loc[0, column] = frame.loc[0, column] + 1  # type: ignore[attr-defined]

    edit(other, table, change)
    (difference,) = judge.judge(whole, other).differences
    assert difference == f"{table}: {column} differs in 1 rows"


def test_seconds_of_real_training_may_differ(whole: Path, other: Path) -> None:
    def change(frame: object) -> None:
        frame["train_seconds"] += 1.0  # type: ignore[index]

    edit(other, "trials", change)
    assert judge.judge(whole, other).differences and not judge.judge(whole, other, real=True).differences


def test_another_conclusion_is_a_difference(whole: Path, other: Path) -> None:
    summary = results.read_json(other / results.SUMMARY)
    summary["weak"]["clears"]["cleared"] -= 1
    results.write_json(other / results.SUMMARY, summary)
    (difference,) = judge.judge(whole, other).differences
    assert difference.startswith("summary: weak.clears.cleared is ")


def as_another_attempt(folder: Path) -> str:
    """Rewrites a run as if a weak member whose embedding was used had been lost once; its id as another attempt."""
    rows = [json.loads(line) for line in log_lines(folder)]
    used = next(row["weak_run_id"] for row in rows if row["weak_run_id"])
    names = {used: "again"} | {row["run_id"]: f"of-{row['run_id']}" for row in rows if row["weak_run_id"] == used}
    lost = next(row for row in rows if row["run_id"] == used) | {"status": "failed", "lost": True, "embeddings": []}
    for row in rows:
        row["attempt"] = int(row["run_id"] == used)
        row |= {name: names.get(row[name], row[name]) for name in ("run_id", "weak_run_id")}
    write_lines(folder, [json.dumps(row).encode() + b"\n" for row in [lost, *rows]])
    for table in ("trials", "curves", "scores"):
        frame = results.read_table(folder, table)
        for name in ("run_id", "weak_run_id"):
            if name in frame:
                frame[name] = frame[name].replace(names)
        results.write_table(folder, table, frame)
    return used


def test_another_attempt_of_a_lost_member_is_the_same_member(whole: Path, other: Path) -> None:
    as_another_attempt(other)
    assert judge.judge(whole, other) == judge.Verdict(again=1)


def test_another_attempt_that_came_to_something_else_is_a_difference(whole: Path, other: Path) -> None:
    as_another_attempt(other)

    def change(frame: object) -> None:
        frame.loc[frame["run_id"] == "again", "epochs"] += 10  # type: ignore[attr-defined, index]

    edit(other, "trials", change)
    assert judge.judge(whole, other).differences == ["trials: epochs differs in 1 rows"]


def test_a_lost_member_that_never_ran_again_is_missed(whole: Path, other: Path) -> None:
    as_another_attempt(other)
    frame = results.read_table(other, "trials")
    results.write_table(other, "trials", frame[frame["run_id"] != "again"])
    assert any("members are missing" in told for told in judge.judge(whole, other).differences)


def test_the_matrix_is_as_large_as_it_is_said_to_be() -> None:
    steps = Counter(chain.world == "smoke" for chain in scenarios.chains() for _ in chain.steps)
    assert steps[False] >= 200 and steps[True] >= 20
    names = [chain.name for chain in scenarios.chains()]
    assert len(names) == len(set(names))


def test_a_fault_strikes_once_in_however_many_processes(tmp_path: Path) -> None:
    injection: Mapping[str, object] = {"do": "die", "once": str(tmp_path / "struck")}
    assert [inject.strikes(injection) for _ in range(3)] == [True, False, False]


def test_what_a_matrix_lacks_or_did_not_recover_is_run_again_whole_chains_at_a_time() -> None:
    chains = [scenarios.Chain(name, "synthetic", ()) for name in ("well", "half", "never")]
    well, half, other = (
        Fault("SIGKILL of raylet", "synthetic", recovered=recovered, chain=chain)
        for chain, recovered in (("well", True), ("half", True), ("half", False))
    )
    todo, stay = faults.to_do({"faults": [fault.to_json() for fault in (well, half, other)]}, chains)
    assert [chain.name for chain in todo] == ["half", "never"] and stay == [well]


def test_the_page_has_a_line_a_kind_of_fault(tmp_path: Path) -> None:
    fault = Fault("SIGKILL of raylet", "synthetic", "probe", 0.5, 3, recovered=True, chain="a")
    worse = Fault("SIGKILL of raylet", "smoke", "probe", 1.5, 3, lost=2, chain="b")
    made_by = {"command": "c", "seed": 0, "minutes": 1.0, "device": "d", "cores": 4, "versions": {}, "date": "today"}
    kept = {"faults": [fault.to_json(), worse.to_json()], "overhead": [], "made_by": made_by}
    page = tmp_path / "page.md"
    page.write_text(f"above\n{faults.BEGIN}\nold\n{faults.END}\nbelow\n")
    faults.write_into(page, json.loads(json.dumps(kept)))
    text = page.read_text()
    assert "| SIGKILL of raylet | synthetic | 1 | 0 | 0 | 1 | 0.5, at most 0.5 |" in text
    assert "| SIGKILL of raylet | smoke | 1 | 2 | 0 | 0 | 1.5, at most 1.5 |" in text
    assert "| all |  | 2 | 2 | 0 | 1 |" in text and "old" not in text and text.endswith("\nbelow\n")


def run_faults(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "faults", *words], cwd=ROOT, capture_output=True, text=True, timeout=1700
    )
    return done.returncode, done.stdout + done.stderr


def test_a_handful_of_faults_costs_nothing() -> None:
    began = time.monotonic()
    code, told = run_faults("--quick", "--jobs", "1")
    assert code == 0, told
    assert "recovered" in told and "SIGKILL of a worker" in told, time.monotonic() - began


def test_a_name_that_no_chain_holds_is_one_line() -> None:
    code, told = run_faults("--only", "synthetic/nobody")
    assert code == 1 and told == "there is nothing to inflict: no chain's name holds synthetic/nobody\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "group",
    ["disk full", "an embedding changed between stages", "refused", "daemons", "rivals", "a torn last line: cut"],
)
def test_more_faults_cost_nothing(group: str) -> None:
    code, told = run_faults("--only", f"synthetic/{group}/0", "--jobs", "2")
    assert code == 0, told
