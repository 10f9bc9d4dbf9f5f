"""The tables keep what rows held; the log survives a crash; the reader refuses what does not fit, by name."""

from __future__ import annotations

import errno
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from summaries import ENVIRONMENT, SUMMARY

from gtsearch import results
from gtsearch.errors import BrokenOff, ResultsError


def member(run_id: str = "r0", **changes: Any) -> dict[str, Any]:
    """A member's row as the driver writes it."""
    row = dict.fromkeys(results.TRIALS) | {
        "run_id": run_id,
        "attempt": 0,
        "stage": "weak",
        "method": "weak",
        "role": "search",
        "purpose": "weak_search",
        "status": "exhausted",
        "hyperparameters": {"lr": 0.03, "weight_decay": 1.0, "momentum": 0.9},
        "epochs": 20,
        "train_flops": 2_000,
        "train_seconds": 0.25,
        "eval_seconds": 0.5,
        "curve": [point(0), point(10), point(20)],
        "embeddings": [],
        "max_epochs": 1000,
    }
    return row | changes


def point(epoch: int, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(results.CURVES) | {"epoch": epoch, "train_flops": 100 * epoch, "val_accuracy": epoch / 100}
    del row["run_id"]
    return row | changes


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The run folder of a finished run."""
    results.write_text(tmp_path / "spec.yaml", "name: tiny\n")
    results.write_json(tmp_path / "environment.json", ENVIRONMENT | {"host": "here"})
    results.write_json(tmp_path / "summary.json", SUMMARY)
    results.write_tables(tmp_path, [member("a"), member("b", purpose="report")], wall_seconds=9.0)
    return tmp_path


# -- tables -------------------------------------------------------------------------------------------------

VALUES = {
    results.TEXT: st.text(max_size=20),
    results.WHOLE: st.integers(-(2**63), 2**63 - 1),
    results.REAL: st.floats(-1e300, 1e300) | st.integers(-(2**53), 2**53),
    results.FLAG: st.booleans(),
}


def any_row(columns: dict[str, str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.none() | VALUES[dtype] for name, dtype in columns.items()})


def as_values(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{k: None if v is pd.NA else v for k, v in row.items()} for row in frame.to_dict("records")]


# `epochs` is summed up in the ledger: whole numbers of a size that epochs have.
own = {"epochs": st.none() | st.integers(0, 10**9), "hyperparameters": st.just({}), "run_id": st.text(max_size=8)}
member_rows = any_row({k: v for k, v in results.TRIALS.items() if k not in own}).flatmap(
    lambda row: st.fixed_dictionaries(own | {k: st.just(v) for k, v in row.items()})
)
curve_rows = st.lists(any_row({k: v for k, v in results.CURVES.items() if k != "run_id"}), max_size=3)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(member_rows, curve_rows), max_size=4))
def test_rows_keep_their_values_and_nulls_through_frame_and_parquet(
    tmp_path: Path, rows: list[tuple[dict[str, Any], list[dict[str, Any]]]]
) -> None:
    members = [row | {"curve": curve} for row, curve in rows]
    results.write_tables(tmp_path, members, wall_seconds=1.0)
    trials, curves = results.read_table(tmp_path, "trials"), results.read_table(tmp_path, "curves")

    assert as_values(trials) == [row | {"hyperparameters": "{}"} for row, _ in rows]
    assert as_values(curves) == [{"run_id": row["run_id"]} | p for row, curve in rows for p in curve]
    pd.testing.assert_frame_equal(trials, results.trials_frame(members))
    pd.testing.assert_frame_equal(curves, results.curves_frame(members))


@pytest.mark.parametrize(
    ("frame", "columns"),
    [
        (results.trials_frame([]), results.TRIALS),
        (results.trials_frame([member()]), results.TRIALS),
        (results.curves_frame([]), results.CURVES),
        (results.curves_frame([member()]), results.CURVES),
        (results.ledger_frame(results.trials_frame([]), 1.0), results.LEDGER),
        (results.ledger_frame(results.trials_frame([member()]), 1.0), results.LEDGER),
    ],
)
def test_a_frame_has_exactly_the_documented_columns_and_dtypes(frame: pd.DataFrame, columns: dict[str, str]) -> None:
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == columns
    assert list(frame.columns) == list(columns)


def test_hyperparameters_go_to_their_columns_and_the_rest_to_json() -> None:
    (row,) = as_values(results.trials_frame([member()]))
    assert (row["lr"], row["weight_decay"], row["init_scale"]) == (0.03, 1.0, None)
    assert json.loads(row["hyperparameters"]) == {"momentum": 0.9}


def test_a_value_that_does_not_fit_is_refused_with_its_column() -> None:
    with pytest.raises(ResultsError, match=r"column epochs of trials holds Int64.*1\.5"):
        results.trials_frame([member(epochs=1.5)])
    with pytest.raises(ResultsError, match="column val_accuracy of curves"):
        results.curves_frame([member(curve=[point(0, val_accuracy="0.5")])])


def test_what_is_not_finite_is_null_and_what_is_not_utf8_is_replaced() -> None:
    frame = results.curves_frame([member(curve=[point(0, train_loss=float("inf"), val_loss=float("nan"))])])
    assert frame["train_loss"].isna().all() and frame["val_loss"].isna().all()
    assert results.trials_frame([member(error="bad \udcff byte")])["error"][0] == "bad ? byte"


def test_flops_beyond_63_bits_are_booked() -> None:
    trials = results.trials_frame([member("a", train_flops=2**63), member("b", train_flops=2**63)])
    assert results.ledger_frame(trials, 1.0).set_index("purpose").loc["total", "train_flops"] == 2.0**64


def test_the_ledger_does_not_depend_on_the_order_in_which_members_came_in() -> None:
    rows = [member(run_id=f"m{i}", train_seconds=seconds) for i, seconds in enumerate((0.1, 0.2, 0.3, 1e-9, 1e9))]
    ledgers = [results.ledger_frame(results.trials_frame(order), 1.0) for order in itertools.permutations(rows)]
    assert all(ledger.equals(ledgers[0]) for ledger in ledgers)


def test_a_level_that_no_weak_model_came_to_is_no_member_of_the_ledger() -> None:
    trials = results.trials_frame([member("a"), member("b", purpose="tradeoff", method="transfer", status="unreached")])
    ledger = as_values(results.ledger_frame(trials, wall_seconds=1.0))
    assert [(row["purpose"], row["members"]) for row in ledger] == [("weak_search", 1), ("total", 1)]


def test_the_ledger_has_a_row_a_purpose_and_method_and_a_total() -> None:
    trials = results.trials_frame(
        [
            member("a", purpose="report", method="transfer", epochs=5),
            member("b", purpose="report", method="scratch"),
            member("c"),
            member("d", train_seconds=None),
        ]
    )
    ledger = as_values(results.ledger_frame(trials, wall_seconds=7.5))
    assert [(r["purpose"], r["method"], r["members"], r["epochs"]) for r in ledger] == [
        ("weak_search", "weak", 2, 40),
        ("report", "scratch", 1, 20),
        ("report", "transfer", 1, 5),
        ("total", None, 4, 65),
    ]
    assert ledger[0]["train_seconds"] == 0.25
    assert [r["wall_seconds"] for r in ledger] == [None, None, None, 7.5]


def test_five_thousand_members_with_their_curves_load_in_about_a_second(finished: Path) -> None:
    curve = [point(10 * i, val_accuracy=i / 200) for i in range(200)]
    results.write_tables(finished, [member(f"r{i}", curve=curve) for i in range(5_000)], wall_seconds=1.0)
    started = time.process_time()
    read = results.load_results(finished)
    assert len(read.curves) == 1_000_000
    assert time.process_time() - started < 1.5


# -- members.log --------------------------------------------------------------------------------------------


def write_log(path: Path, *rows: dict[str, Any]) -> Path:
    with results.MembersLog(path) as log:
        for row in rows:
            log.append(row)
    return path


def test_the_log_gives_back_what_was_appended_over_two_openings(tmp_path: Path) -> None:
    path = write_log(tmp_path / "members.log", member("a"), member("b"))
    write_log(path, member("c", error='new\nline and "quotes" und Größe'))
    rows, torn = results.read_log(path)
    assert rows == [member("a"), member("b"), member("c", error='new\nline and "quotes" und Größe')]
    assert torn == 0


@pytest.mark.parametrize("tail", [b'{"run_id": "c", "epo', b'{"run_id": "c"}', b'{"run_id"\x00\x00\n', b"\x00\x00\n"])
def test_a_torn_last_line_is_dropped_counted_and_cut_off_on_reopening(tmp_path: Path, tail: bytes) -> None:
    path = write_log(tmp_path / "members.log", member("a"), member("b"))
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert results.read_log(path) == ([member("a"), member("b")], 1)
    write_log(path, member("d"))
    assert path.read_bytes().startswith(whole)
    assert [row["run_id"] for row in results.read_log(path)[0]] == ["a", "b", "d"]


@pytest.mark.parametrize("bad", [b"{oops", b"[1, 2]", b'{"epochs": 3}', b"", b"\xff\xfe"])
def test_a_bad_line_in_the_middle_is_refused_with_file_and_line(tmp_path: Path, bad: bytes) -> None:
    path = write_log(tmp_path / "members.log", member("a"))
    path.write_bytes(path.read_bytes() + bad + b"\n" + json.dumps(member("c")).encode() + b"\n")
    with pytest.raises(ResultsError, match=r"members\.log, line 2: damaged"):
        results.read_log(path)
    with pytest.raises(ResultsError, match=r"members\.log, line 2: damaged"):
        results.MembersLog(path)


def test_the_whole_lines_of_a_damaged_log_are_read_and_the_others_numbered(tmp_path: Path) -> None:
    path = write_log(tmp_path / "members.log", member("a"), member("b"))
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([b"{oops", first, b"[1]", second, b'{"run_id": "torn']))
    assert results.read_whole_lines(path) == ([member("a"), member("b")], [1, 3], True)
    path.write_bytes(b"\n".join([first, b"\x00\x00", b""]))
    assert results.read_whole_lines(path) == ([member("a")], [], True)
    path.write_bytes(first + b"\n")
    assert results.read_whole_lines(path) == ([member("a")], [], False)


def test_a_number_that_is_not_finite_is_logged_as_null(tmp_path: Path) -> None:
    diverged = member("a", curve=[point(0, train_loss=float("nan"))], best_val_accuracy=float("inf"))
    (row,), _ = results.read_log(write_log(tmp_path / "members.log", diverged))
    assert row["curve"][0]["train_loss"] is None and row["best_val_accuracy"] is None


def test_a_log_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "members.log"
    with results.MembersLog(path), pytest.raises(ResultsError, match="being written by another process"):
        results.MembersLog(path)
    results.MembersLog(path).close()


def test_whether_a_log_is_being_written_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "members.log"
    assert not results.is_being_written(path)
    with results.MembersLog(path):
        assert results.is_being_written(path)
    assert not results.is_being_written(path)


def test_a_disk_that_is_full_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the line is taken before the disk says no."""
    path, write = tmp_path / "members.log", os.write
    with results.MembersLog(path) as log:
        log.append(member("a"))
        whole = path.read_bytes()

        def full(descriptor: int, data: bytes) -> int:
            if len(data) < 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, bytes(data)[: len(data) // 2])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(BrokenOff, match=r"cannot write .*members\.log: No space left on device"):
            log.append(member("b"))
        assert path.read_bytes() == whole
        monkeypatch.undo()
        log.append(member("c"))
    assert [row["run_id"] for row in results.read_log(path)[0]] == ["a", "c"]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(ResultsError, match=r"cannot write .*summary\.json: Is a directory"):
        results.write_text(tmp_path / "summary.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_log_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"cannot read .*members\.log: No such file"):
        results.read_log(tmp_path / "members.log")


# -- the strict reader --------------------------------------------------------------------------------------


def test_a_finished_run_is_read_whole(finished: Path) -> None:
    read = results.load_results(str(finished))
    assert (read.folder, read.summary["name"], read.environment["host"]) == (finished, "tiny", "here")
    assert (len(read.trials), len(read.curves), len(read.ledger)) == (2, 6, 3)
    assert read.spec_text == "name: tiny\n"


FILES = ["trials.parquet", "curves.parquet", "ledger.parquet", "summary.json", "environment.json"]


@pytest.mark.parametrize("name", [n for n in FILES if n != "summary.json"])
def test_a_missing_file_is_named(finished: Path, name: str) -> None:
    (finished / name).unlink()
    with pytest.raises(ResultsError, match=f"cannot read .*{name}: No such file"):
        results.load_results(finished)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 40])
def test_a_damaged_file_is_named(finished: Path, name: str, damage: Any) -> None:
    (finished / name).write_bytes(damage((finished / name).read_bytes()))
    with pytest.raises(ResultsError, match=f"{name} is damaged") as caught:
        results.load_results(finished)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["summary.json", "environment.json"])
@pytest.mark.parametrize("text", ['{"schema": 1}', "{}", "[]"])
def test_json_of_another_schema_is_refused(finished: Path, name: str, text: str) -> None:
    (finished / name).write_text(text)
    with pytest.raises(ResultsError, match=f"{name} is of schema .* reads schema 3"):
        results.load_results(finished)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["members"]), "it has no column members"),
        (lambda t: t.append_column("more", pa.nulls(t.num_rows)), "unexpected more"),
        (lambda t: t.select(t.column_names[::-1]), "another order"),
        (lambda t: t.set_column(2, "members", t["members"].cast(pa.int32())), "unexpected members"),
    ],
)
def test_a_table_of_another_schema_is_refused(finished: Path, change: Any, message: str) -> None:
    path = finished / "ledger.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ResultsError, match=rf"ledger\.parquet is of another schema: .*{message}"):
        results.load_results(finished)


@pytest.mark.parametrize("name", ["curves", "probes", "scores"])
def test_a_table_of_another_run_is_refused(finished: Path, name: str) -> None:
    column = pd.array(["b", "stranger", None], dtype="string")
    frame = pd.DataFrame({"run_id": column}).reindex(columns=list(results.TABLES[name])).astype(results.TABLES[name])
    results.write_table(finished, name, frame)
    with pytest.raises(ResultsError, match=rf"{name}\.parquet is of another run: .* its member stranger"):
        results.load_results(finished)


def test_an_experiment_that_was_changed_since_the_run_is_refused(finished: Path) -> None:
    results.write_json(
        finished / "environment.json", ENVIRONMENT | {"spec_sha256": results.spec_digest("name: tiny\n")}
    )
    assert results.load_results(finished).spec_text == "name: tiny\n"
    (finished / "spec.yaml").write_text("name: tin")
    with pytest.raises(ResultsError, match=r"spec\.yaml was cut off or edited since the run; restore it from a copy"):
        results.load_results(finished)


def test_a_folder_that_is_no_run_and_a_run_that_is_not_finished_are_told_apart(finished: Path) -> None:
    (finished / "summary.json").unlink()
    with pytest.raises(ResultsError, match=r"is not finished: `gtsearch resume"):
        results.load_results(finished)
    with pytest.raises(ResultsError, match="is not a run folder"):
        results.load_results(finished / "nowhere")


# -- whole or not at all ------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    results.write_json(path, {"name": "old"})
    with pytest.raises(ValueError):
        results.write_json(path, {"value": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        results.write_text(path, "\ud800")
    assert json.loads(path.read_text())["name"] == "old"
    assert list(tmp_path.iterdir()) == [path]
