"""What Tab offers, asked as the shells ask: by typer's environment variables, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gtsearch import completion, reading
from gtsearch.spec import Spec, load_spec

GTSEARCH = Path(sys.executable).parent / "gtsearch"
HEAVY = ("torch", "ray", "pandas", "optuna", "numpy", "yaml")  # typer itself loads pydantic


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with experiments and runs, to be typed in."""
    for run in ("runs/first-1", "runs/second-2", "elsewhere/third-3", "runs/odd name"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "spec.yaml").touch()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "elsewhere" / "theirs.yml").touch()
    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(shell: str, *words: str) -> list[str]:
    """What a shell is told after these words, the last of which is being typed."""
    how = {
        "bash": {"COMP_WORDS": " ".join(("gtsearch", *words)), "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(("gtsearch", *words))},
        "fish": {
            "_TYPER_COMPLETE_ARGS": " ".join(("gtsearch", *words)),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }[shell]
    environment = os.environ | how | {"_GTSEARCH_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([GTSEARCH], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_an_experiment_is_a_name_that_comes_along_or_a_file() -> None:
    offered = completion.specs("")
    assert set(reading.experiments()) < set(offered)
    assert set(offered) - set(reading.experiments()) == {"mine.yaml"}
    assert asked("bash", "run", "mod") == ["modadd"]
    assert completion.specs("elsewhere/") == ["elsewhere/theirs.yml"]
    assert completion.specs("paper/fig6a") == ["paper/fig6a", "paper/fig6a-cpu"]


def test_a_run_is_a_run_folder_that_a_shell_can_take_as_a_word() -> None:
    assert asked("bash", "resume", "") == ["runs/first-1", "runs/second-2"]
    assert asked("bash", "resume", "else") == []  # the shell's own completion of files goes on from here
    assert completion.runs("runs/") == ["runs/first-1", "runs/second-2"]
    assert completion.runs("ru") == ["runs/first-1", "runs/second-2"]
    assert completion.runs("elsewhere/th") == ["elsewhere/third-3"]
    assert completion.runs("nowhere/") == []


def test_the_keys_that_set_takes_and_the_words_that_may_stand_there() -> None:
    assert asked("bash", "check", "smoke", "--set", "weak.judge.b") == ["weak.judge.by="]
    told = asked("zsh", "run", "smoke", "--set", "weak.gate.")
    assert "weak.gate.seeds=" in told[0] and "fresh seeds of a config that cleared" in told[0]
    assert "weak.gate.at_least=" in told[1] and len(told) == 2
    assert asked("fish", "run", "smoke", "--set", "weak.search=") == [
        "weak.search=tpe",
        "weak.search=random",
        "weak.search=grid",
    ]


@pytest.mark.parametrize("key", ["weak.goal", "weak.goal.hold", "target.options.transfer.freeze_a", "task.p", "seed"])
def test_keys_of_every_kind_are_offered(key: str) -> None:
    assert f"{key}=" in [word for word, _ in completion.settings(key)]


def test_a_key_that_is_offered_is_one_that_set_takes() -> None:
    for word, _ in completion.settings("tradeoff."):
        top, name = word.removesuffix("=").split(".")[:2]
        assert top in Spec.model_fields
        value = load_spec("smoke").model_dump()[top].get(name)
        if value is not None:
            load_spec("smoke", [f"{top}.{name}={value}"])


def test_nothing_heavy_is_loaded_for_it() -> None:
    code = (
        "import sys, os\n"
        "words = 'gtsearch run s --set weak.'\n"
        "os.environ |= dict(_GTSEARCH_COMPLETE='complete_bash', COMP_WORDS=words, COMP_CWORD='4')\n"
        "from gtsearch.cli import main\n"
        "try: main([])\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "weak.goal=" in done.stdout and done.stderr == "[]\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_real_bash_completes() -> None:
    script = (
        'eval "$(gtsearch --show-completion bash)"; COMP_WORDS=(gtsearch resume runs/f); COMP_CWORD=2; '
        '_gtsearch_completion gtsearch; printf "%s\\n" "${COMPREPLY[@]}"; complete -p gtsearch'
    )
    path = f"{GTSEARCH.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": path, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
    )
    offered, registered = done.stdout.splitlines()
    assert offered == "runs/first-1"
    assert "-F _gtsearch_completion gtsearch" in registered
