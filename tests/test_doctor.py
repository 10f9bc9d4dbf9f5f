"""The examination: what it says of training, of Ray and of a finding, and that one check never hides another."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from experiment_kit import gtsearch
from run_folders import small_story, write_run

from gtsearch import cli, doctor, machine, survives
from gtsearch import embedding as artefact
from gtsearch.doctor import Doctor, findings, guarded
from gtsearch.errors import GtsearchError, ResourcesError
from gtsearch.machine import BAD, NOTE, OK, Line
from gtsearch.models.mlp import MlpPasses
from gtsearch.survives import LOST, RAN, SURVIVES, UNCLAIMED, UNKNOWN, Measured, Rerun, Rule

CHECKS = (
    "versions",
    "core_limits",
    "threads",
    "devices",
    "memory",
    "disks",
    "limits",
    "storage",
    "ray_state",
    "clocks",
)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every check says one `ok`; an empty folder to be in."""

    def check(*given: Any) -> list[Line]:
        return [Line(OK, "topic", "well")]

    for name in CHECKS:
        monkeypatch.setattr(machine, name, check)
    for name in ("ray_runs", "self_test"):
        monkeypatch.setattr(doctor, name, check)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- checks and lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ResourcesError("too little of it"), "too little of it"),
        (OSError(28, "No space left on device", "/x/y"), "/x/y: No space left on device"),
        (OSError("odd"), "odd"),
        (KeyError("x"), "the check failed: KeyError: 'x'"),
    ],
)
def test_a_check_that_raises_is_bad_with_its_reason(error: Exception, text: str) -> None:
    def check() -> Iterator[Line]:
        yield Line(OK, "disk", "first")
        raise error

    assert list(guarded("disk", check)) == [Line(OK, "disk", "first"), Line(BAD, "disk", text)]


def test_a_check_that_fails_hides_no_other(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Doctor(None, None, None, 0)
    lines = list(whole.lines())
    assert whole.exit_code == 0 and lines[-1] == "12 ok, 0 to note, 0 bad"

    def broken(*given: Any) -> list[Line]:
        raise RuntimeError("no /proc here")

    for name in CHECKS:
        monkeypatch.setattr(machine, name, broken)
    ill = Doctor(None, None, None, 0)
    lines = list(ill.lines())
    assert ill.exit_code == 1 and lines[-1] == f"2 ok, 0 to note, {len(CHECKS)} bad"
    assert sum(line.startswith("bad") and line.endswith("RuntimeError: no /proc here") for line in lines) == len(CHECKS)


def test_a_note_is_not_bad(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "limits", lambda: [Line(NOTE, "limits", "few")])
    noted = Doctor(None, None, None, 0)
    assert list(noted.lines())[-1] == "11 ok, 1 to note, 0 bad" and noted.exit_code == 0


@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit_the_terminal(columns: int, healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(machine, "limits", lambda: [Line(NOTE, "limits", "many words " * 40)])
    lines = list(Doctor(None, None, None, 0).lines())
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith(" " * 17 + "many") or line.startswith(" " * 17 + "words") for line in lines) >= 3


def test_storage_is_tried_where_runs_go(healthy: Path) -> None:
    assert Doctor(None, None, None, 0).place == healthy
    (healthy / "runs").mkdir()
    assert Doctor(None, None, None, 0).place == healthy / "runs"
    assert Doctor(None, healthy, None, 0).place == healthy


# -- what is typed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere is not a run folder: it has no spec.yaml"),
        (["--out", "nowhere"], "--out nowhere: there is no such folder; make it, or give another"),
        (["--seconds", "-1"], "Invalid value for '--seconds'"),
        (["--seconds", "soon"], "Invalid value for '--seconds'"),
        (["--device", "cpu"], "No such option"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, healthy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", *words]) == cli.MISTAKE
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("gtsearch: ") and said in err


def test_the_exit_code_says_whether_something_is_bad(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--seconds", "0"]) == 0
    monkeypatch.setattr(machine, "limits", lambda: [Line(BAD, "limits", "none")])
    assert cli.main(["doctor", "--seconds", "0"]) == 1
    assert "bad   limits     none" in capsys.readouterr().out


# -- the self-test ------------------------------------------------------------------------------------------------


def test_the_self_test_passes_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SELF_TEST_SECONDS", 200.0)  # however busy this machine is
    lines = list(doctor.self_test())
    assert {line.word for line in lines} == {OK}
    assert re.search(r"its digest is [0-9a-f]{12}$", lines[-1].text)


def test_a_wrong_gradient_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    train = MlpPasses.train

    def wrong(self: MlpPasses, told: bool) -> torch.Tensor | None:
        answer = train(self, told)
        self.embedding_slopes[0].mul_(1.001)
        return answer

    monkeypatch.setattr(MlpPasses, "train", wrong)
    (line,) = doctor.gradients()
    assert line.word == BAD and "1e-03" in line.text


def test_a_member_that_is_not_the_same_again_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = survives.train, list[int]()

    def other_each_time(job: Any, *given: Any) -> list[Any]:
        calls.append(len(job["members"]))
        rows = train(job, *given)
        for row in rows:
            row["curve"][-1]["val_accuracy"] += wrong[len(calls) - 1]
        return rows

    monkeypatch.setattr(survives, "train", other_each_time)
    wrong = [0.0, 0.1, 0.0]
    (line,) = doctor.repeats(tmp_path, 1e18)
    assert line.word == BAD and "when it is trained twice" in line.text and calls == [1, 1, 3]
    calls.clear()
    wrong = [0.0, 0.0, 0.1]
    (line,) = doctor.repeats(tmp_path, 1e18)
    assert line.word == BAD and "among others" in line.text


def test_a_changed_embedding_that_is_taken_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = artefact.read
    monkeypatch.setattr(artefact, "read", lambda path, sha256=None: read(path.with_suffix(".safetensors")))
    (line,) = doctor.pipeline(tmp_path, "cpu", 1e18)
    assert line.word == BAD and "one changed bit was taken" in line.text


def test_weak_models_that_learn_nothing_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_WEAK", {"lr": 1e-9, "weight_decay": 0.0, "init_scale": 0.3})
    with pytest.raises(GtsearchError, match="none of 5 weak models learnt anything on cpu"):
        list(doctor.pipeline(tmp_path, "cpu", 1e18))


def test_a_self_test_without_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SELF_TEST_SECONDS", 0.0)
    line = list(doctor.self_test())[-1]
    assert line.word == NOTE and "not done in 0 s" in line.text


# -- a worker of Ray ----------------------------------------------------------------------------------------------


def test_the_one_job_is_over_with_its_row_its_error_or_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one = doctor._OneJob({"id": "a"})
    assert one.has_job() and one.next_job() == {"id": "a"} and not one.has_job() and one.next_job() is None
    one.take("a", [], [])
    assert not one.is_over() and not one.is_needless("a")
    one.take("a", [{"run_id": "x"}], [])
    assert one.is_over() and one.is_needless("a")
    one.ended("a", None)
    assert one.error is None
    lost = doctor._OneJob({"id": "a"})
    lost.ended("a", None)
    assert lost.is_over() and lost.error == "the job ended without a row"
    gone = doctor._OneJob({"id": "a"})
    gone.break_off("Ray is gone")
    assert gone.is_over() and gone.error == "Ray is gone"
    monkeypatch.setattr(doctor, "RAY_SECONDS", -1.0)
    late = doctor._OneJob({"id": "a"})
    assert late.is_over() and "no worker has trained" in str(late.error)


# -- a finding ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rerun(tmp_path_factory: pytest.TempPathFactory) -> Rerun:
    """A rerun in which everything survives, of a run that was made up."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "made", small_story(task__p=11))
    finding = survives.of_run(folder)
    assert finding.recorded is not None
    answers = tuple(
        survives.Answer(
            survives.Variation(name, "cpu", threads),
            finding.recorded,
            dict.fromkeys(survives.CLAIMS, SURVIVES),
            {},
            8,
            8,
        )
        for name, threads in ((RAN, 1), ("2 threads", 2))
    )
    return Rerun(finding, finding.recorded, answers, {}, (0, ""), 10.0, 0.0)


def changed(told: Rerun, claim: str, verdict: str, why: str = "") -> Rerun:
    first, second = told.answers
    second = replace(second, verdicts={**second.verdicts, claim: verdict}, why={claim: why} if why else {})
    return replace(told, answers=(first, second))


def test_what_survives_is_ok(rerun: Rerun) -> None:
    lines = list(findings(rerun))
    assert [line.word for line in lines] == [OK] * 3
    assert [line.text.rpartition(": ")[2] for line in lines] == ["survives 2 of 2 variations"] * 3
    assert lines[0].text.startswith("transfer reaches 0.99 on at least 2 of 4 seeds")


def test_what_does_not_survive_is_bad_and_what_cannot_be_told_is_noted(rerun: Rerun) -> None:
    lines = list(findings(changed(rerun, "pays", LOST, "the rule says otherwise")))
    assert [line.word for line in lines] == [OK, OK, BAD]
    assert lines[2].text.endswith(
        "survives 1 of 2, does not survive 1 of 2 variations; 2 threads: the rule says otherwise"
    )
    lines = list(findings(changed(rerun, "sooner", UNKNOWN, "too few seeds are in")))
    assert [line.word for line in lines] == [OK, NOTE, OK]
    unclaimed = replace(
        rerun, answers=tuple(replace(a, verdicts=dict.fromkeys(survives.CLAIMS, UNCLAIMED)) for a in rerun.answers)
    )
    assert [line.word for line in findings(unclaimed)] == [NOTE] * 3


def test_what_a_reader_must_know_is_noted(rerun: Rerun) -> None:
    first, second = rerun.answers
    other = replace(rerun, answers=(replace(first, same_curves=3), second), left_out={"every 300 epochs": "too rare"})
    other = replace(other, failed=(2, "RuntimeError: x"), seconds_left=95.0)
    texts = {line.text: line.word for line in findings(other)}
    assert any(text.startswith("as it ran: 3 of 8 curves are those recorded, with") for text in texts)
    assert texts["every 300 epochs is left out: too rare"] == NOTE
    assert texts["2 members failed, the first by RuntimeError: x"] == BAD
    assert texts["the time was up after 10 s; all seeds take about --seconds 110"] == NOTE


def test_a_finding_of_nothing_is_shown(healthy: Path, rerun: Rerun, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Measured((), (), Rule(4, 2, "flops", True))
    nothing = replace(
        rerun, base=empty, answers=(), seconds_left=float("inf"), finding=replace(rerun.finding, recorded=None)
    )
    monkeypatch.setattr(survives, "built_in", lambda: nothing.finding)
    monkeypatch.setattr(survives, "rerun", lambda finding, seconds: nothing)
    examined = Doctor(None, None, None, 1)
    text = " ".join(" ".join(examined.lines()).split())
    assert "none yet" in text and "not one seed of both methods was done" in text and examined.exit_code == 0


# -- for real -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_examination(tmp_path: Path) -> None:
    process = gtsearch("doctor", "--seconds", "20", cwd=tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == int(bool(re.search("^bad", out, re.MULTILINE))), (out, err)
    assert err == "" and list(tmp_path.iterdir()) == []
    for said in ("bit for bit, the one that this process trains", "no process of it is left", "what becomes of each"):
        assert said in " ".join(out.split())
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left
