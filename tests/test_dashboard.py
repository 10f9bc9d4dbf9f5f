"""optuna-dashboard on a run's journal: on loopback, reading only, also when the journal is made anew."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from run_folders import copy, small_story, write_run

from gtsearch import results
from gtsearch.cli import main
from gtsearch.journal import VALUE, Journal

STORY = small_story()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("finished") / "run", STORY)
    mirror(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return copy(finished, tmp_path / "run")


def mirror(folder: Path, count: int | None = None) -> None:
    journal = Journal(folder / "study.log", STORY.policy.spec.variations())
    journal.add(list(results.members(folder / "members.log"))[:count])
    if count is None:
        journal.conclude(results.read_json(folder / "summary.json"))


def ask(address: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=20) as answer:
        return json.load(answer)


@pytest.fixture
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "gtsearch", "dashboard", str(folder)]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"{folder / 'study.log'}: http://127.0.0.1:") and "Ctrl-C ends it" in line
        yield line.split()[1], process
    finally:
        process.kill()
        process.communicate()


def test_it_shows_studies_that_can_be_read_and_ends_on_ctrl_c(
    folder: Path, served: tuple[str, subprocess.Popen[str]]
) -> None:
    address, process = served
    studies = {study["study_name"]: study for study in ask(f"{address}api/studies")["study_summaries"]}
    assert {"target scratch", "target transfer"} <= set(studies)
    [weak] = [name for name in studies if name == "weak mlp-d2-w4-L2"]
    told = {attribute["key"]: attribute["value"] for attribute in studies[weak]["user_attrs"]}
    rung = results.read_json(folder / "summary.json")["weak"]["ladder"][0]
    assert told["architecture"] == "mlp-d2-w4-L2" and told["verdict"] == rung["verdict"]
    detail = ask(f"{address}api/studies/{studies['target scratch']['study_id']}?after=0")
    assert detail["objective_names"] == [VALUE]
    attributes = {one["key"] for trial in detail["trials"] for one in trial["user_attrs"]}
    assert {"run_id", "status", "architecture"} <= attributes

    before = (folder / "study.log").read_bytes()
    for method, path in (("DELETE", "api/studies/0"), ("POST", "api/studies"), ("PUT", "api/studies/0/note")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(f"{address}{path}", method)
    assert (folder / "study.log").read_bytes() == before

    listening = [c for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}

    mirror(folder, 5)  # a run that is resumed makes it anew
    again = {study["study_name"] for study in ask(f"{address}api/studies")["study_summaries"]}
    assert again and again < set(studies)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in out + err


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["dashboard", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_shown_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = folder / "study.log"
    whole = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*whole[:5], "no json\n", *whole[5:]]))
    assert f"{journal} is damaged (" in complaint(capsys, str(folder))
    journal.write_bytes(b"\xff\xfe" * 100 + b"\n" + "".join(whole).encode())
    assert f"{journal} is damaged (" in complaint(capsys, str(folder))
    journal.write_text('{"op_code": 4}\n')
    assert f"{journal} is damaged (" in complaint(capsys, str(folder))
    journal.write_text("")
    assert "holds no study yet" in complaint(capsys, str(folder))
    journal.unlink()
    assert f"cannot read {journal}" in complaint(capsys, str(folder)) and not journal.exists()
    assert "is not a run folder" in complaint(capsys, str(tmp_path))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert "pip install 'gtsearch[dashboard]'" in complaint(capsys, str(folder))


def test_a_port_that_is_taken_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = complaint(capsys, str(folder), "--port", str(taken.getsockname()[1]))
    assert "cannot listen on port" in line and "give another --port" in line
