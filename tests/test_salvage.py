"""A run folder in any state: a line says what is missing, and whatever can be shown is shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_folders import copy, cut, forget_the_end, small_story, write_run

from gtsearch import cli, results
from gtsearch.analysis import sentences
from gtsearch.errors import ResultsError
from gtsearch.results import ENVIRONMENT, LOG, SPEC, SUMMARY, Results, load_results
from gtsearch.salvage import look

AGAIN = "; made again from members.log"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; nothing here changes it."""
    return write_run(tmp_path_factory.mktemp("whole") / "run", small_story())


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return copy(whole, tmp_path / "run")


def set_schema(path: Path, schema: int) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": schema}))


def members(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def write_members(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))


def assert_same(read: Results, whole: Path, *names: str) -> None:
    expected = load_results(whole)
    for name in names:
        pd.testing.assert_frame_equal(getattr(read, name), getattr(expected, name))


# -- whole --------------------------------------------------------------------------------------------------


def test_a_finished_run_that_is_whole_is_read_strictly_and_has_no_notes(whole: Path) -> None:
    read = look(str(whole))
    assert read.notes == () and read.summary == load_results(whole).summary
    assert_same(read, whole, "trials", "curves", "ledger")


# -- half done ----------------------------------------------------------------------------------------------


def test_a_run_without_its_end_is_put_together_from_its_log(run: Path, whole: Path) -> None:
    forget_the_end(run)
    read = look(run)
    n = len(members(run))
    assert read.notes == (f"the run has all its {n} members and lacks its end: `gtsearch resume {run}` writes it",)
    assert read.summary == load_results(whole).summary
    assert_same(read, whole, "trials", "curves", "probes", "scores")
    total = read.ledger.set_index("purpose").loc["total"]
    assert total["members"] == len(read.trials) and total["wall_seconds"] == n - 1


@pytest.mark.parametrize("tail", [b"", b'{"run_id": "torn in the mid'])
def test_a_run_that_was_killed_shows_the_members_that_are_in(run: Path, tail: bytes) -> None:
    rows = members(run)
    forget_the_end(run)
    write_members(run, rows[:30])
    with (run / LOG).open("ab") as log:
        log.write(tail)
    read = look(run)
    first, *others = read.notes
    assert first == f"the run is not finished: 30 members are in; `gtsearch resume {run}` goes on with it"
    assert others == (["members.log: its last line is torn and left out"] if tail else [])
    assert list(read.trials["run_id"]) == [row["run_id"] for row in rows[:30]]
    assert read.summary["complete"] is False
    assert sentences.unfinished(read.summary)
    assert {path.name for path in run.iterdir()} == {SPEC, ENVIRONMENT, LOG}, "nothing may be written"


def test_a_run_that_goes_on_is_read_beside_its_writer(run: Path) -> None:
    rows = members(run)
    forget_the_end(run)
    write_members(run, rows[:30])
    with results.MembersLog(run / LOG) as log:
        with (run / LOG).open("ab") as half_a_line:
            half_a_line.write(b'{"run_id": "being wri')
        before = (run / LOG).read_bytes()
        read = look(run)
        assert (run / LOG).read_bytes() == before
        log.append(rows[30])
    assert read.notes == ("the run is still going on: 30 members are in, and this is what they say so far",)


def test_the_log_counts_where_a_run_went_on_after_its_tables_were_written(run: Path) -> None:
    rows = members(run)
    results.write_tables(run, rows[:5], 1.0)
    (run / SUMMARY).unlink()
    assert len(look(run).trials) >= len(rows)


@pytest.mark.parametrize("log", [b"", b'{"run_id": "a", "sta'])
def test_a_run_in_which_nothing_has_finished_has_nothing_to_show(run: Path, log: bytes) -> None:
    forget_the_end(run)
    (run / LOG).write_bytes(log)
    with pytest.raises(ResultsError, match=r"there is nothing to show of .*run: no member is in") as caught:
        look(run)
    assert "\n" not in str(caught.value)


# -- damaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trials", "curves", "probes", "scores"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_table_that_is_lost_is_made_again(run: Path, whole: Path, name: str, gone: bool) -> None:
    path = run / f"{name}.parquet"
    path.unlink() if gone else cut(path, 60)
    read = look(run)
    (note,) = read.notes
    lost = f"cannot read {path}: No such file" if gone else f"{path} is damaged: "
    assert note.startswith(lost) and note.endswith(AGAIN)
    assert_same(read, whole, "trials", "curves", "probes", "scores", "ledger")


def test_a_ledger_that_is_lost_is_added_up_again(run: Path, whole: Path) -> None:
    cut(run / "ledger.parquet", 10)
    read = look(run)
    (note,) = read.notes
    assert "ledger.parquet is damaged" in note and note.endswith("; made again from the members")
    assert_same(read, whole, "trials")
    parts = [name for name in results.LEDGER if name != "wall_seconds"]
    pd.testing.assert_frame_equal(read.ledger[parts], load_results(whole).ledger[parts])


def test_a_summary_that_is_damaged_is_worked_out_again(run: Path, whole: Path) -> None:
    cut(run / SUMMARY, 300)
    read = look(run)
    (note,) = read.notes
    assert note.startswith(f"{run / SUMMARY} is damaged: ") and note.endswith(AGAIN)
    assert read.summary == load_results(whole).summary


def test_prices_that_are_damaged_are_left_out(run: Path) -> None:
    (run / "pricing.parquet").write_bytes(b"PAR1")
    read = look(run)
    (note,) = read.notes
    assert "pricing.parquet is damaged" in note and f"its prices are left out: `gtsearch price {run}`" in note
    assert read.pricing.empty


@pytest.mark.parametrize("gone", [True, False])
def test_without_its_environment_the_members_say_where_they_ran(run: Path, gone: bool) -> None:
    rows = [row | {"device": "cuda"} for row in members(run)]
    forget_the_end(run)
    write_members(run, rows)
    (run / ENVIRONMENT).unlink() if gone else cut(run / ENVIRONMENT, 30)
    read = look(run)
    assert any("environment.json" in note and note.endswith("how the run was made is not known") for note in read.notes)
    assert not any("resume" in note for note in read.notes), "`resume` would refuse it"
    assert (read.environment["device"], read.environment["device_names"]) == ("cuda", ["cuda"])
    assert sentences.machine(read)


def test_damaged_lines_are_left_out_and_numbered(run: Path) -> None:
    lines = (run / LOG).read_bytes().split(b"\n")
    forget_the_end(run)
    lines[2:2] = [b"garbage", b'{"epochs": 3}']
    lines[-1:-1] = [b'{"run_id": "x"}', b'{"run_id": "y", "curve": 3}']
    (run / LOG).write_bytes(b"\n".join(lines))
    read = look(run)
    assert "members.log: 2 lines are damaged and left out (3, 4)" in read.notes
    assert "members.log: 2 lines are not a member as this gtsearch writes it, and left out" in read.notes
    assert read.summary["complete"], "what is left is all that the experiment asks for"
    assert not any("resume" in note for note in read.notes), "`resume` would refuse it"


def test_a_member_that_fits_no_table_is_left_out(run: Path) -> None:
    rows = members(run)
    forget_the_end(run)
    write_members(run, [*rows, rows[0] | {"run_id": "odd", "epochs": "many"}])
    read = look(run)
    assert "members.log: 1 line is not a member as this gtsearch writes it, and left out" in read.notes
    assert "odd" not in set(read.trials["run_id"])


def test_what_the_search_stumbles_over_costs_the_answer_alone(run: Path) -> None:
    rows = members(run)
    forget_the_end(run)
    for row in rows:
        del row["config_id"], row["train_flops"]
        row["embeddings"] = [{"level": None}]
    write_members(run, rows)
    read = look(run)
    assert "these members do not give an answer in this version (`config_id` is missing)" in read.notes
    assert read.notes[-1].startswith("the answer is not known")
    assert len(read.trials) == len(rows) and read.summary["weak"]["pays"] is None


def test_tables_without_a_log_are_shown_without_an_answer(run: Path, whole: Path) -> None:
    (run / LOG).unlink()
    (run / SUMMARY).unlink()
    read = look(run)
    assert read.notes[0].startswith("the run is not finished") and "resume" not in read.notes[0]
    assert read.notes[1].startswith(f"cannot read {run / LOG}")
    assert read.notes[-1].startswith("the answer is not known")
    assert_same(read, whole, "trials", "curves")


def test_what_neither_table_nor_log_holds_is_left_out(run: Path) -> None:
    (run / LOG).unlink()
    (run / "curves.parquet").unlink()
    read = look(run)
    assert read.notes[-1].endswith("curves.parquet: No such file or directory; what is made of it is left out")
    assert read.curves.empty and list(read.curves.columns) == list(results.CURVES) and len(read.trials)
    (run / "trials.parquet").unlink()
    (run / "ledger.parquet").unlink()
    with pytest.raises(ResultsError, match=r"the members of .* are lost .*; its summary\.json can be read as it is"):
        look(run)


# -- an older schema, another experiment ---------------------------------------------------------------------


def test_a_run_of_an_older_schema_is_shown_from_its_log(run: Path, whole: Path) -> None:
    rows = members(run)
    for row in rows:
        for key in ("design", "refined", "dose"):
            row.pop(key, None)
    write_members(run, rows)
    set_schema(run / SUMMARY, 2)
    set_schema(run / ENVIRONMENT, 1)
    (run / "scores.parquet").unlink()
    trials = pd.read_parquet(run / "trials.parquet").drop(columns=["design", "refined", "dose"])
    trials.to_parquet(run / "trials.parquet")
    read = look(run)
    pays = load_results(whole).summary["weak"]["pays"]["architecture"]
    environment, summary, table, scores = read.notes
    assert environment.endswith("is of schema 1; this gtsearch reads schema 3; it is shown as it stands")
    assert summary.endswith(f"is of schema 2; this gtsearch reads schema 3{AGAIN} (it said: {pays} pays)")
    assert table.endswith(f"trials.parquet is of another schema: it has no column design{AGAIN}")
    assert scores.endswith(AGAIN)
    assert read.summary["weak"]["pays"]["architecture"] == pays and read.environment["workers"] == 2


def test_a_log_of_another_experiment_is_told(run: Path) -> None:
    rows = members(run)
    forget_the_end(run)
    write_members(run, [row | {"run_id": f"other-{i}"} for i, row in enumerate(rows)])
    read = look(run)
    assert any(
        note.startswith(f"none of the {len(rows)} members of members.log is what spec.yaml") for note in read.notes
    )
    assert len(read.trials) == len(rows) and not read.summary["complete"]


def test_curves_of_another_run_are_refused_and_made_again(run: Path, whole: Path) -> None:
    curves = results.read_table(run, "curves")
    curves["run_id"] = pd.array(["stranger"] * len(curves), dtype="string")
    results.write_table(run, "curves", curves)
    with pytest.raises(ResultsError, match=r"curves\.parquet is of another run: .* its member stranger"):
        load_results(run)
    read = look(run)
    (note,) = read.notes
    assert "curves.parquet is of another run" in note and note.endswith(AGAIN)
    assert_same(read, whole, "curves")


def test_what_is_no_run_folder_is_said(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ResultsError, match=r"nowhere is not a run folder: it has no spec\.yaml"):
        look(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="is not a run folder"):
        look(run / LOG)


# -- its experiment -----------------------------------------------------------------------------------------


def test_an_experiment_that_was_cut_off_is_told_from_a_whole_one(run: Path, whole: Path) -> None:
    text = (run / SPEC).read_text()
    shorter = text[: text.index("report:")]
    (run / SPEC).write_text(shorter)
    with pytest.raises(ResultsError, match=r"spec\.yaml was cut off or edited since the run; restore it"):
        load_results(run)
    read = look(run)
    (note,) = read.notes
    assert note == f"{run / SPEC} was cut off or edited since the run: what it says may not be what was run"
    assert "report:" in read.spec_text, "with its defaults"
    assert_same(read, whole, "trials", "ledger")


@pytest.mark.parametrize("text", ["nme: x\n", "task: {name: [", "- a list\n", "\xff", ""])
def test_an_experiment_that_cannot_be_read_leaves_a_finished_run_its_answer(run: Path, whole: Path, text: str) -> None:
    (run / SPEC).write_bytes(text.encode("latin-1"))
    cut(run / "curves.parquet", 100)
    read = look(run)
    assert read.notes[0].startswith(f"{run / SPEC} is not an experiment that this gtsearch reads (")
    assert read.summary == load_results(whole).summary
    assert_same(read, whole, "curves")
    assert read.spec_text.startswith("# spec.yaml cannot be read; the other files know this much\nname: oracle\n")


def test_without_experiment_and_summary_there_is_no_report(run: Path) -> None:
    forget_the_end(run)
    (run / SPEC).write_text("weak: {mdel: 3}\n")
    with pytest.raises(ResultsError, match=r"without its experiment the \d+ members of .*members\.log") as caught:
        look(run)
    assert "\n" not in str(caught.value)


# -- the command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (forget_the_end, "lacks its end"),
        pytest.param(lambda run: cut(run / "trials.parquet", 500), "trials.parquet is damaged", marks=pytest.mark.slow),
        pytest.param(lambda run: cut(run / SUMMARY, -40), "summary.json is damaged", marks=pytest.mark.slow),
        (lambda run: (forget_the_end(run), cut(run / LOG, 60_000)), "the run is not finished"),
        pytest.param(lambda run: (run / ENVIRONMENT).unlink(), "cannot read", marks=pytest.mark.slow),
        (lambda run: (run / SPEC).write_text("task: {"), "is not an experiment"),
        (lambda run: [(run / name).unlink() for name in (LOG, "trials.parquet", "curves.parquet")], "is left out"),
    ],
)
def test_the_report_is_made_and_each_note_is_a_line(
    run: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(run)
    there = {path.name for path in run.iterdir()}
    assert cli.main(["report", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{run / 'report.html'}\n"
    assert complaint in err and all(line.startswith("gtsearch: ") and str(run) in line for line in err.splitlines())
    assert {path.name for path in run.iterdir()} - there == {"figures", "report.html"}, "nothing else may be written"


def test_where_nothing_can_be_shown_the_command_says_why_in_a_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_the_end(run)
    cut(run / LOG, 100)
    assert cli.main(["report", str(run)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "there is nothing to show" in err


# -- cut off anywhere ---------------------------------------------------------------------------------------

FILES = [SPEC, ENVIRONMENT, LOG, SUMMARY, *(f"{name}.parquet" for name in results.TABLES if name != "pricing")]


def spoilt(whole: Path, to: Path, name: str, share: float, finished: bool) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    folder = copy(whole, to)
    if not finished:
        forget_the_end(folder)
    path = folder / name
    if path.exists():
        cut(path, int(share * path.stat().st_size))
    return folder


CUTS = {"name": st.sampled_from(FILES), "share": st.floats(0, 1), "finished": st.booleans()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(**CUTS)
def test_a_file_that_ends_anywhere_gives_results_or_one_line(
    whole: Path, tmp_path: Path, name: str, share: float, finished: bool
) -> None:
    folder = spoilt(whole, tmp_path / "cut", name, share, finished)
    try:
        read = look(folder)
    except ResultsError as error:
        assert "\n" not in str(error)
        return
    assert all(note and "\n" not in note for note in read.notes)
    for table, columns in results.TABLES.items():
        assert {k: str(v) for k, v in getattr(read, table).dtypes.items()} == columns
    assert {"weak", "methods", "speedup", "tradeoff", "complete"} <= set(read.summary)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(**CUTS)
def test_a_file_that_ends_anywhere_gives_a_report_or_one_line(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, share: float, finished: bool
) -> None:
    folder = spoilt(whole, tmp_path / "cut", name, share, finished)
    code = cli.main(["report", str(folder)])
    out, err = capsys.readouterr()
    assert (code, out) in ((0, f"{folder / 'report.html'}\n"), (2, ""))
    assert code == 0 or err.splitlines()[-1].startswith("gtsearch: ")
