"""What `gtsearch new` writes works as it stands: its test passes, `check` takes it, and nothing is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gtsearch import cli
from gtsearch.spec import load_spec


def works(folder: Path, kinds: tuple[str, ...]) -> None:
    """Writes one of each kind; its tests pass, `check` takes it, and a linter has nothing to say."""
    for kind in kinds:
        assert cli.main(["new", kind, f"my_{kind}"]) == 0
    written = {path.name for path in folder.iterdir()}
    assert written == {name for kind in kinds for name in (f"my_{kind}.py", f"test_my_{kind}.py", f"my_{kind}.yaml")}
    checks = "; ".join(f"assert cli.main(['check', 'my_{kind}.yaml']) == 0" for kind in kinds)
    program = f"import pytest; from gtsearch import cli; assert pytest.main(['-q']) == 0; {checks}"
    lint = ["-m", "ruff", "check", "--isolated", "--select", "E,F,I,UP,B,SIM", "--line-length", "120"]
    for words in (["-c", program], lint):
        done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_written_passes_its_test_and_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    works(tmp_path, ("task",))
    said = capsys.readouterr().out
    assert "gtsearch run my_task.yaml" in said and "pytest test_my_task.py" in said


@pytest.mark.slow
def test_every_kind_that_is_written_passes_its_test_and_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    works(tmp_path, ("task", "model", "method"))


def test_an_architecture_is_called_after_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, first in (("a_net", "anet-d4-width16"), ("tensor", "tensorsizes-d4-width16")):
        assert cli.main(["new", "model", name]) == 0
        weak = load_spec(tmp_path / f"{name}.yaml").weak
        assert weak is not None and weak.model.architectures[0].label == first


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["task", "model", "method"])
def test_a_run_of_what_is_written_finds_a_weak_model_that_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", kind, f"my_{kind}"]) == 0
    words = ["-m", "gtsearch", "run", f"my_{kind}.yaml", "--workers", "2", "--json"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)["summary"]
    assert summary["weak"]["pays"] and summary["speedup"]["target"]["value"] > 1


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
