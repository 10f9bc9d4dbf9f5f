"""What `gtsearch new` writes works as it stands: its test passes, `check` takes it, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gtsearch import cli

KINDS = ("task", "model", "method")


def call(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, timeout=250)


def test_what_is_written_passes_its_tests_and_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        assert cli.main(["new", kind, f"my_{kind}"]) == 0
        said = capsys.readouterr().out
        assert f"gtsearch run my_{kind}.yaml" in said and f"pytest test_my_{kind}.py" in said
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {name for kind in KINDS for name in (f"my_{kind}.py", f"test_my_{kind}.py", f"my_{kind}.yaml")}
    tested = call("pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout
    linted = call("ruff", "check", "--isolated", "--select", "E,F,I,UP,B,SIM", "--line-length", "120", ".", cwd=tmp_path)
    assert linted.returncode == 0, linted.stdout
    program = "; ".join(f"assert cli.main(['check', 'my_{kind}.yaml']) == 0" for kind in KINDS)
    checked = subprocess.run(
        [sys.executable, "-c", f"from gtsearch import cli; {program}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_mine.py").write_text("mine\n")
    assert cli.main(["new", "task", "mine"]) == cli.MISTAKE
    assert "test_mine.py is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-task", "cannot be the name of a Python module"),
        ("class", "cannot be the name"),
        ("../up", "cannot be the name"),
        ("random", "Python finds first"),
        ("torch", "Python finds first"),
    ],
)
def test_a_name_that_no_module_can_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "task", name]) == cli.MISTAKE
    assert words in capsys.readouterr().err and not any(tmp_path.iterdir())
