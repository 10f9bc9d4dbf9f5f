"""`--json`: standard output is one JSON object and nothing else, whatever is printed meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import forget_the_end, small_story, write_run

from gtsearch import cli, experiment, listing, salvage
from gtsearch.analysis.compare import compare
from gtsearch.doctor import Doctor
from gtsearch.errors import ResultsError
from gtsearch.experiment import Run
from gtsearch.machine import NOTE, OK, Line

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scripting.md").read_text("utf-8")

Give = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders: `one` and `again` of one experiment, `other` of another question, `half` without its end."""
    top = tmp_path_factory.mktemp("made")
    story = small_story()
    write_run(top / "one", story)
    write_run(top / "again", story, {"threads": 2, "versions": {"torch": "9.9"}})
    write_run(top / "other", small_story(task={"name": "modular_addition", "p": 29}, seed=1))
    forget_the_end(write_run(top / "half", story))
    return top


@pytest.fixture
def give(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Runs a command line with --json in an empty folder: exit code, the object, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
        code = cli.main([*arguments, "--json"])
        out, error = capsys.readouterr()
        assert out.count("\n") == 1 and out.isascii(), out
        told = json.loads(out, parse_constant=pytest.fail)
        assert told["schema"] == cli.JSON_SCHEMA and told["command"] == arguments[0]
        return code, told, error

    return run


def takes_json() -> list[str]:
    commands = {c.name or c.callback.__name__: c.callback for c in cli.app.registered_commands if c.callback}
    return [name for name, callback in commands.items() if "as_json" in callback.__annotations__]


def test_the_commands_that_a_script_asks_take_it_and_the_page_has_each() -> None:
    asked = ["run", "resume", "check", "report", "runs", "compare", "spaces", "breakeven", "export", "doctor"]
    assert takes_json() == asked
    assert re.findall(r"^## `gtsearch ([a-z]+)", PAGE, re.MULTILINE) == asked


def shown(command: str) -> set[str]:
    """The keys that the page lists for a command."""
    section = re.search(rf"^## `gtsearch {command}\b.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    return {
        key for row in re.findall(r"^\| (`.*?`) \|", section[0], re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }


def test_check(give: Give) -> None:
    code, told, error = give("check", "smoke", "--workers", "2")
    assert (code, error) == (0, "")
    assert told["name"] == "smoke" and told["workers"] == 2 and told["seconds"] == told["worker_seconds"] / 2
    [base] = told["variations"]
    assert base["name"] == "base" and {stage["name"] for stage in base["branches"]} > {"weak stage", "target stage"}
    assert set(told) == shown("check") | {"schema", "command"}


def test_runs(give: Give, made: Path) -> None:
    code, told, error = give("runs", str(made))
    assert (code, error) == (0, "")
    by_name = {run["run"]: run for run in told["runs"]}
    assert by_name["one"]["state"] == "finished" and by_name["one"]["next"] is None
    assert by_name["half"]["state"] == "interrupted" and by_name["half"]["next"] == f"gtsearch resume {made / 'half'}"
    assert by_name["one"]["age_seconds"] > 0 and by_name["one"]["answer"].endswith("pays")
    times = by_name["one"]["speedup_times"]
    assert isinstance(times, float) and by_name["one"]["speedup"].endswith(f"{times:.1f} times")
    assert {key for run in told["runs"] for key in run} == shown("runs")
    assert give("runs")[1]["runs"] == []


def test_compare_of_one_question(give: Give, made: Path) -> None:
    code, told, error = give("compare", str(made / "one"), str(made / "again"))
    assert (code, error) == (0, "") and told["comparable"] and told["why_not"] is None
    assert told["experiment"] == []
    assert [one["path"] for one in told["surroundings"]] == ["threads", "versions.torch"]
    assert told["surroundings"][0]["values"] == [1, 2]
    assert any("compare epochs and FLOPs" in note for note in told["notes"])
    n = told["members"]["both"]
    assert n > 20 and told["members"] == {"first": n, "second": n, "both": n, "alike": n}
    assert all(one["values"][0] == one["values"][1] and not one["apart"] for one in told["answers"])
    assert set(told) == shown("compare") | {"schema", "command"}


def test_compare_of_two_questions_says_which_and_compares_all_the_same(give: Give, made: Path) -> None:
    _, told, _ = give("compare", str(made / "one"), str(made / "other"))
    assert not told["comparable"]
    assert told["why_not"].startswith("they ask different questions: task.train_fraction is 0.4 in one and 0.25 in")
    differing = {one["path"]: one for one in told["experiment"]}
    assert differing["task.p"]["values"] == [23, 29] and differing["task.p"]["other_question"]
    assert differing["seed"]["values"] == [0, 1] and not differing["seed"]["other_question"]
    answers = {one["name"]: one for one in told["answers"]}
    assert answers["weak model that pays: parameters"]["values"] == [154, 190]
    assert answers["transfer: FLOPs to the goal"]["apart"] is True
    assert answers["transfer: epochs to the goal"]["apart"] is False
    assert answers["lowrank_random: epochs to the goal"]["values"] == [None, None]
    assert answers["lowrank_random: epochs to the goal"]["apart"] is None


def test_compare_counts_the_members_that_went_otherwise(made: Path) -> None:
    one, other = salvage.look(made / "one"), salvage.look(made / "again")
    cleared = other.trials.index[other.trials["epochs_to_goal"].notna()][:3]
    other.trials.loc[cleared, "epochs_to_goal"] += 1
    members = compare(one, other).members
    assert members["both"] - members["alike"] == 3


def test_compare_of_a_run_with_itself_is_a_mistake(made: Path) -> None:
    one = salvage.look(made / "one")
    with pytest.raises(ResultsError, match="named twice"):
        compare(one, one)


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_compare_and_runs_fit_a_narrow_terminal(made: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    one, other = salvage.look(made / "one"), salvage.look(made / "other")
    lines = listing.comparison_lines(compare(one, other))
    assert all(len(line) <= columns for line in lines if "/" not in line)
    text = " ".join(" ".join(lines).split())
    assert "not comparable: they ask different questions" in text and "task.p" in text and "154" in text
    table = listing.runs_table(listing.runs(made))
    assert all(len(line) <= columns for line in table if "gtsearch" not in line)
    assert "interrupted" in "\n".join(table)


def test_breakeven(give: Give, made: Path) -> None:
    code, told, error = give("breakeven", str(made / "one"), "--out", "page.md")
    assert (code, error) == (0, "") and Path("page.md").is_file() and told["written"] == ["page.md"]
    [row] = told["runs"]
    study = salvage.look(made / "one").summary["tradeoff"]
    assert row["threshold"] == study["threshold"] and "pipelines" not in row and row["seconds"] == {}
    assert row["scratch"]["reached"] == study["scratch"]["reached"]


def test_report(give: Give, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gtsearch.analysis import report as pages

    def loud(run: Any) -> Path:
        print("a library talks")
        return Path(run.folder / "report.html")

    monkeypatch.setattr(pages, "write_report", loud)
    code, told, error = give("report", str(made / "half"))
    assert code == 0 and told["page"] == str(made / "half" / "report.html")
    assert "a library talks" in error and told["notes"] and told["notes"][0] in error


def test_doctor(give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(self: Doctor) -> Any:
        for line in (Line(OK, "cores", "4"), Line(NOTE, "disk", "little")):
            yield from self._shown(line, 80)

    monkeypatch.setattr(Doctor, "lines", lines)
    code, told, error = give("doctor")
    assert code == 0 and told["ok"] == 1 and told["note"] == 1 and told["bad"] == 0
    assert told["lines"][1] == {"verdict": "note", "topic": "disk", "text": "little"} and "little" in error


def test_spaces(give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtsearch.reading.experiments", lambda: ["smoke"])
    _, told, _ = give("spaces")
    [smoke] = told["experiments"]
    assert smoke["name"] == "smoke" and smoke["core_hours_at_most"] > 0 and smoke["paper"] is None
    assert (Path(told["folder"]) / "smoke.yaml").is_file()


# -- run and resume -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "resume"])
@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (1, "finished"), (3, "broken off"), (130, "interrupted")])
def test_the_end_of_a_run_is_one_object_and_progress_is_elsewhere(
    give: Give, made: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int, state: str
) -> None:
    def conductor(*_: Any, **__: Any) -> Run:
        print("weak ladder · 3 done")
        os.write(1, b"a worker's own line\n")
        return Run(made / "one", code, ["told"])

    monkeypatch.setattr(experiment, command, conductor)
    returned, told, error = give(command, "smoke")
    assert returned == told["exit_code"] == code and told["state"] == state and told["lines"][0] == "told"
    assert [line.partition(":")[0] for line in told["lines"][1:]] == (["next"] if state == "finished" else [])
    assert told["folder"] == str(made / "one") and (told["summary"] is None) == (code not in (0, 1))
    assert "weak ladder" in error
    assert set(told) == shown("run") | {"schema", "command"}


def test_what_writes_to_the_file_itself_does_not_reach_standard_output(tmp_path: Path) -> None:
    code = (
        "import os\nfrom gtsearch import cli, experiment\nfrom pathlib import Path\n"
        "def run(*a, **k):\n    os.write(1, b'of a library in C\\n'); print('of Python')\n"
        "    return experiment.Run(Path('x'), 130, [])\n"
        "experiment.run = run\nraise SystemExit(cli.main(['run', 'smoke', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130 and json.loads(done.stdout)["state"] == "interrupted"
    assert "of a library in C" in done.stderr and "of Python" in done.stderr


@pytest.mark.parametrize("command", ["run", "check", "resume", "report", "compare", "breakeven", "export"])
def test_a_mistake_leaves_standard_output_empty(capsys: pytest.CaptureFixture[str], command: str) -> None:
    more = ["nowhere/else"] if command == "compare" else []
    assert cli.main([command, "nowhere", *more, "--json"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("gtsearch: ") and error.count("\n") == 1


def test_what_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    cli._give("x", {"a": float("nan"), "b": [float("inf"), (1.5, None)], "c": {1: "ü"}})
    told = json.loads(capsys.readouterr().out)
    assert told["a"] is None and told["b"] == [None, [1.5, None]] and told["c"] == {"1": "ü"}
