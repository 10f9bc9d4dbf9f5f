"""The commands: what they pass on, what they print, how they end. What they call is tested elsewhere."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from run_folders import forget_the_end, small_story, write_run
from summaries import ENVIRONMENT, PAYS, SUMMARY, method

import gtsearch
from gtsearch import cli, experiment, listing, results, terminal
from gtsearch import embedding as artefact
from gtsearch.analysis import report as pages
from gtsearch.errors import GtsearchError, ResourcesError
from gtsearch.experiment import Run
from gtsearch.forecast import Branch, Forecast

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command line in an empty folder; exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the conductor: what it was asked. `answer` is what it gives back, or raises."""
    seen: dict[str, Any] = {"answer": Run(Path("runs/x"), 0, ["first", "last"])}

    def conductor(what: Any, **options: Any) -> Run:
        seen.update(what=what, **options)
        if isinstance(seen["answer"], BaseException):
            raise seen["answer"]
        return seen["answer"]

    monkeypatch.setattr(experiment, "run", conductor)
    monkeypatch.setattr(experiment, "resume", conductor)
    return seen


def finished(folder: Path, vectors: bool = False, **weak: Any) -> Path:
    """A run folder as a finished run leaves it, with one embedding."""
    folder.mkdir(parents=True)
    winner = PAYS | {"run_id": "a1", "architecture": "mlp-d3-w4-L2"}
    bracket: dict[str, Any] = {"excluded": [], "undecided": [], "ladder": [], "withdrawn": 0}
    config = {"lr": 0.005, "weight_decay": 3.0, "embedding_scale": 2.345678}
    summary = SUMMARY | {
        "name": folder.name,
        "weak": bracket | {"pays": winner, "clears": winner} | weak,
        "speedup": SUMMARY["speedup"] | {"target": {"value": 3.05, "lower_bound": False}},
        "methods": {"transfer": method(config=config)},
    }
    results.write_text(folder / "spec.yaml", "name: tiny\n")
    results.write_json(folder / "environment.json", ENVIRONMENT | {"started": "2026-01-31 10:15:00"})
    results.write_tables(folder, [], 1.0)
    results.write_json(folder / "summary.json", summary)
    artefact.write(
        folder / "embeddings" / "a1-e120.safetensors",
        torch.ones(11, 3),
        {"epoch": 120, "val_accuracy": 0.42, "vectors": vectors},
    )
    return folder


def commands() -> list[tuple[str | None, Any]]:
    return [(command.name, command.callback) for command in cli.app.registered_commands]


# -- around the commands ------------------------------------------------------------------------------------


def test_help_shows_every_command_and_examples(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    for command in [name or callback.__name__ for name, callback in commands()]:
        assert f"\n  {command} " in out
        code, own, _ = call(command, "--help")
        assert code == 0 and f"Usage: gtsearch {command}" in own
        assert re.search(rf"Examples?:\n +gtsearch {command}\b", own), f"{command} has no example"
    assert call() == call("-h") == (0, out, "")


def test_help_fits_a_terminal_of_80_columns(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in [(), *((name or callback.__name__,) for name, callback in commands())]:
        wide = [line for line in call(*command, "--help")[1].splitlines() if len(line) > 80]
        assert not wide, f"{command}: {wide}"
    cut = [line for line in call("--help")[1].partition("Commands:")[2].splitlines() if line.endswith("...")]
    assert not cut, "what a command does is told whole"


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"gtsearch {version('gtsearch')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rum"], "gtsearch: No such command 'rum'"),
        (["run", "--sed", "3", "smoke"], "gtsearch: No such option: --sed (Possible options: --se"),
        (["run"], "gtsearch: Missing argument 'SPEC'"),
        (
            ["run", "smoke", "--workers", "0"],
            "gtsearch: Invalid value for '--workers' / '-w': must be 1 or more, not `0`",
        ),
        (["run", "smoke", "--seed", "one"], "gtsearch: Invalid value for '--seed': must be a whole number, not `one`"),
        (
            ["price", "r", "--device", "gpu"],
            "gtsearch: Invalid value for '--device': must be one of cpu, cuda, not `gpu`",
        ),
        (
            ["new", "tsk", "mine"],
            "gtsearch: Invalid value for 'KIND': must be one of task, model, method, not `tsk`; did you mean `task`?",
        ),
        (["resume", "a", "b"], "gtsearch: Got unexpected extra argument"),
        (["report"], "gtsearch: Missing argument 'RUN"),
        (["compare", "runs/a"], "gtsearch: Missing argument 'RUN"),
    ],
)
def test_a_usage_error_is_two_lines_and_exit_code_2(call: Call, arguments: list[str], complaint: str) -> None:
    code, out, error = call(*arguments)
    assert (code, out) == (2, "")
    first, second = error.splitlines()
    assert first.startswith(complaint)
    assert second.startswith("Try `gtsearch ") and second.endswith(" --help`.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nowhere.yaml"],
        ["run", "smoke", "--set", "weak.goal.val_acuracy=0.5"],
        ["run", "smoke", "--set", "nonsense"],
        ["check", "nowhere.yaml"],
        ["resume", "nowhere"],
        ["report", "nowhere"],
        ["export", "nowhere"],
        ["runs", "nowhere"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call: Call, arguments: list[str]) -> None:
    code, out, error = call(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("gtsearch: ") and error.count("\n") == 1


def test_every_error_of_ours_is_one_line(call: Call, asked: dict[str, Any]) -> None:
    for kind in (GtsearchError, ResourcesError):
        asked["answer"] = kind("too little\nmemory")
        assert call("run", "smoke") == (2, "", "gtsearch: too little memory\n")


def test_a_mistake_of_our_own_is_not_hidden(call: Call, asked: dict[str, Any]) -> None:
    asked["answer"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        call("run", "smoke")


def test_ctrl_c_before_the_conductor_listens_is_130(call: Call, asked: dict[str, Any]) -> None:
    asked["answer"] = KeyboardInterrupt()
    assert call("run", "smoke") == (130, "", "")


def test_a_reader_that_goes_away_is_no_mistake() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; from gtsearch.cli import main; sys.exit(main(['spaces']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 0
    child.stderr.close()


# -- run, resume, check -------------------------------------------------------------------------------------


def test_run_passes_everything_on_and_prints_the_closing_lines(call: Call, asked: dict[str, Any]) -> None:
    arguments = ["run", "smoke", "--out", "there", "--workers", "3", "--address", "auto", "--verbose"]
    arguments += ["--set", "report.seeds=7", "--set", "seed=1", "--seed", "5"]
    assert call(*arguments) == (0, "first\nlast\n", "")
    assert asked["what"] == gtsearch.load_spec("smoke", ["report.seeds=7", "seed=5"])
    assert (asked["out"], asked["workers"], asked["address"], asked["verbose"]) == (Path("there"), 3, "auto", True)
    assert asked["command"] == ["gtsearch", *arguments]


def test_what_is_not_given_is_left_to_the_experiment(call: Call, asked: dict[str, Any]) -> None:
    call("run", "smoke")
    assert asked["what"] == gtsearch.load_spec("smoke")
    assert (asked["out"], asked["workers"], asked["address"], asked["verbose"]) == (None, None, None, False)


@pytest.mark.parametrize("command", ["run", "resume"])
@pytest.mark.parametrize("code", [0, 1, 130, 143])
def test_the_exit_code_is_the_run_s(call: Call, asked: dict[str, Any], command: str, code: int) -> None:
    asked["answer"] = Run(Path("runs/x"), code, ["told"])
    assert call(command, "smoke") == (code, "told\n", "")


@pytest.mark.parametrize(
    ("weak", "step"),
    [
        ({}, "next: gtsearch export there   the embedding"),
        ({"pays": None, "clears": None}, "next: give the weak models more data"),
    ],
)
def test_a_run_ends_with_what_to_type_next(
    call: Call, asked: dict[str, Any], tmp_path: Path, weak: dict[str, Any], step: str
) -> None:
    finished(tmp_path / "there", **weak)
    asked["answer"] = Run(Path("there"), 0, ["report   there/report.html"])
    code, out, _ = call("run", "smoke")
    assert code == 0 and out.splitlines()[0].startswith("report") and out.splitlines()[1].startswith(step)


def test_the_answer_is_folded_to_the_terminal(
    call: Call, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked["answer"] = Run(Path("there"), 130, ["target  transfer"])
    monkeypatch.setattr(terminal, "folded", lambda lines: [f"folded: {line}" for line in lines])
    assert call("run", "smoke")[1] == "folded: target  transfer\n"


def test_runs_of_default_names_are_a_table_at_80_columns(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path / "runs" / "modadd-20260131-101500")
    monkeypatch.setattr(terminal, "columns", lambda: 80)
    head, _, row = call("runs")[1].splitlines()
    assert head.split() == ["run", "age", "state", "weak", "model", "speed-up"]
    assert row.split()[0] == "modadd-20260131-101500" and row.endswith(" 3.0") and len(row) <= 80


@pytest.mark.parametrize("command", ["resume", "report", "export", "price", "breakeven", "predictors", "doctor"])
def test_a_folder_that_is_no_run_leads_to_those_that_are(call: Call, command: str) -> None:
    code, _, error = call(command, "nowhere")
    assert code == 2 and "is not a run folder" in error and "`gtsearch runs` lists those here" in error


def test_resume_passes_everything_on(call: Call, asked: dict[str, Any]) -> None:
    assert call("resume", "runs/x", "-w", "2", "--address", "here:1", "-v")[0] == 0
    assert asked == {
        "answer": asked["answer"],
        "what": Path("runs/x"),
        "workers": 2,
        "address": "here:1",
        "verbose": True,
    }


def test_check_prints_what_would_run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Forecast("smoke", ("what is asked",), (Branch("base"),), 2)
    asked: list[Any] = []
    monkeypatch.setattr(experiment, "check", lambda spec, workers: asked.append((spec, workers)) or told)
    code, out, error = call("check", "smoke", "--seed", "4", "--workers", "2", "--set", "report.seeds=7")
    assert (code, error) == (0, "") and out.startswith("what is asked\n")
    assert asked == [(gtsearch.load_spec("smoke", ["report.seeds=7", "seed=4"]), 2)]
    assert out.splitlines()[-1] == "run it: gtsearch run smoke --seed 4 --workers 2 --set report.seeds=7"


def test_check_tells_every_mistake_and_a_run_the_first(call: Call, tmp_path: Path) -> None:
    both = ("--set", "weak.goal.hold=0", "--set", "report.seeds=0")
    first = "gtsearch: weak.goal.hold: must be 1 or more, not 0 (from --set)"
    second = "gtsearch: report.seeds: must be 1 or more, not 0 (from --set)"
    assert call("check", "smoke", *both) == (cli.MISTAKE, "", f"{first}\n{second}\n")
    told = f"{first} (and 1 more: `gtsearch check` shows them)\n"
    assert call("run", "smoke", *both) == (cli.MISTAKE, "", told)


def test_check_says_what_is_odd_about_the_data(call: Call, tmp_path: Path) -> None:
    sums = [f"{a},{b},{(a + b) % 23}" for a in range(23) for b in range(23)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *sums, "0,0,1", ""]))
    table = "task={name: table, file: t.csv}"
    code, out, error = call("check", "smoke", "--set", table)
    assert (code, error) == (0, "") and "2 rows of t.csv have inputs that stand there with another label" in out
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *sums, "-1,0,1", ""]))
    code, _, error = call("check", "smoke", "--set", table)
    assert code == cli.MISTAKE and "over vectors is d_embed wide" in error
    assert "; column `a` of t.csv holds -1 (line 531), so its inputs are vectors, not tokens; for tokens" in error


# -- report -------------------------------------------------------------------------------------------------


def test_one_run_is_reported_into_its_folder_and_several_into_one_page(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = finished(tmp_path / "one"), finished(tmp_path / "two")
    monkeypatch.setattr(pages, "write_report", lambda run: run.folder / "report.html")
    monkeypatch.setattr(pages, "merge", lambda runs, out: Path(f"{'+'.join(run.folder.name for run in runs)}:{out}"))
    assert call("report", str(one)) == (0, f"{one / 'report.html'}\n", "")
    assert call("report", str(one), str(two)) == (0, "one+two:report.html\n", "")
    assert call("report", str(one), "--out", "page.html") == (0, "one:page.html\n", "")


# -- runs and spaces ----------------------------------------------------------------------------------------


def test_runs_tells_the_state_and_the_answer_of_each(call: Call, tmp_path: Path) -> None:
    assert call("runs") == (0, "no runs here yet: `gtsearch run smoke` makes one in runs/\n", "")
    folder = tmp_path / "runs"
    folder.mkdir()
    assert call("runs") == (0, "no run folders in runs: `gtsearch run smoke` makes one in runs/\n", "")
    finished(folder / "paid")
    finished(folder / "cleared", pays=None)
    finished(folder / "nothing", pays=None, clears=None)
    (finished(folder / "stopped") / "summary.json").unlink()
    (finished(folder / "broken") / "summary.json").write_text("{")
    (finished(folder / "going") / "summary.json").unlink()
    (folder / "notes").mkdir()
    with results.MembersLog(folder / "going" / "members.log"):
        code, out, error = call("runs")
    assert (code, error) == (0, "")
    head, _, *rows = out.splitlines()
    assert head.split() == ["run", "started", "age", "state", "weak", "model", "speed-up"]
    rows, notes = rows[: rows.index("")], rows[rows.index("") + 1 :]
    lines = {row.split()[0]: " ".join(row.split()) for row in rows}
    assert list(lines) == ["broken", "cleared", "going", "nothing", "paid", "stopped"]
    days = r"(now|\d+ (min|h|d))"
    assert re.fullmatch(rf"paid 2026-01-31 10:15 {days} finished mlp-d3-w4-L2 pays 3.0", lines["paid"])
    assert "finished mlp-d3-w4-L2 clears" in lines["cleared"]
    assert "nothing clears" in lines["nothing"]
    assert lines["stopped"].endswith("interrupted") and lines["broken"].endswith("damaged")
    assert lines["going"].endswith("running")
    damaged, stopped = notes
    assert damaged.startswith("broken: runs/broken/summary.json is damaged")
    assert damaged.endswith("gtsearch report runs/broken shows what there is")
    assert stopped == "stopped: gtsearch resume runs/stopped"
    (own,) = call("runs", "runs/paid")[1].splitlines()[2:]
    assert own.split() == lines["paid"].split()


def test_costs_of_experiments_are_plain_numbers() -> None:
    hours = {9.7: "10", 9.4: "9", 0.0312: "0.03", 1234.5: "1,234"}
    found = [{"name": "x", "shows": "y", "paper": None, "core_hours_at_most": value} for value in hours]
    rows = [line.split() for line in listing.experiments_table(found) if line.split()[:1] == ["x"]]
    assert [row[1] for row in rows] == list(hours.values())


def test_spaces_tells_what_each_experiment_is(call: Call) -> None:
    code, out, _ = call("spaces")
    assert code == 0
    assert re.search(r"modadd +[\d.,]+ +How small and how good", out)
    assert re.search(r"paper/fig6a-cpu +[\d.,]+ +Fig. 6a", out)
    folder = Path(out.splitlines()[-1].rpartition(": ")[2])
    assert (folder / "modadd.yaml").is_file()


def test_reproduction_has_a_row_for_each_figure_of_the_paper(call: Call, tmp_path: Path) -> None:
    code, _, _ = call("reproduction", "--out", str(tmp_path / "page.md"))
    assert code == 2, "it takes at least one run"
    code, _, err = call("reproduction", str(tmp_path))
    assert code == 2 and "is not a run folder" in err


def test_breakeven_wants_runs_that_measured_it(call: Call, tmp_path: Path) -> None:
    code, out, error = call("breakeven", str(finished(tmp_path / "tiny")))
    assert (code, out) == (2, "") and "measured no trade-off; leave it out" in error
    code, _, error = call("breakeven", str(tmp_path))
    assert code == 2 and "is not a run folder" in error


@pytest.mark.parametrize("command", ["breakeven", "predictors"])
def test_a_run_named_twice_is_refused(call: Call, tmp_path: Path, command: str) -> None:
    folder = finished(tmp_path / "tiny")
    code, out, error = call(command, str(folder), str(folder.parent / "." / ".." / folder.parent.name / "tiny"))
    assert (code, out) == (2, "") and "is named twice" in error and error.count("\n") == 1


@pytest.mark.parametrize("command", ["predictors", "price"])
def test_a_run_that_is_not_whole_leads_to_its_report(call: Call, tmp_path: Path, command: str) -> None:
    folder = finished(tmp_path / "tiny")
    (folder / "trials.parquet").write_bytes(b"no parquet")
    code, out, error = call(command, str(folder))
    assert (code, out) == (2, "")
    assert error.endswith(f"`gtsearch report {folder}` shows what there is\n") and error.count("\n") == 1


def test_breakeven_shows_what_there_is_of_a_run_without_its_end_and_says_so(call: Call, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "half", small_story())
    code, whole, error = call("breakeven", str(folder))
    assert (code, error) == (0, "") and "pays from weak accuracy" in whole
    forget_the_end(folder)
    code, out, error = call("breakeven", str(folder))
    assert (code, out) == (0, whole) and "gtsearch resume" in error and error.count("\n") == 1
    log = (folder / "members.log").read_text().splitlines(keepends=True)
    (folder / "members.log").write_text("".join(log[: len(log) // 10]))
    code, out, error = call("breakeven", str(folder))
    assert (code, out) == (2, "")
    assert error.splitlines()[-1].endswith(f"`gtsearch report {folder}` shows what there is")


# -- export -------------------------------------------------------------------------------------------------


def test_export_copies_the_certified_embedding_with_a_script_that_runs(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "tiny")
    code, out, _ = call("export", str(folder))
    assert code == 0
    assert out.splitlines() == [
        "tiny-mlp-d3-w4-L2.safetensors: E_W [11, 3] of mlp-d3-w4-L2, which pays; "
        "validation accuracy 0.42 after 120 epochs",
        "tiny-mlp-d3-w4-L2.py: one step of training with it; run it as it stands, then put your own model in",
    ]
    script = Path("tiny-mlp-d3-w4-L2.py")
    lines = script.read_text().splitlines()
    assert lines[1] == "# The run's own target was tuned to lr 0.005, weight_decay 3."
    assert len([line for line in lines if line and not line.startswith("#")]) == 10
    elsewhere = tmp_path / "elsewhere"  # it finds the file beside it, wherever both were put
    elsewhere.mkdir()
    for path in (script, script.with_suffix(".safetensors")):
        path.rename(elsewhere / path.name)
    done = subprocess.run([sys.executable, str(elsewhere / script.name)], capture_output=True, text=True)
    assert re.fullmatch(r"one step, at a loss of \d+\.\d{3}\n", done.stdout), done.stderr
    names = runpy.run_path(str(elsewhere / script.name))
    assert names["model"][0].A.shape == (11, 3) and names["optimizer"].param_groups[0]["lr"] == 0.005
    assert 2.3 < float(names["model"][0].A.detach().mean()) < 2.4  # 2.346 times ones, one step of 0.005 on


def test_the_script_of_an_embedding_of_vectors_has_a_model_over_vectors(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "tiny", vectors=True)
    assert call("export", str(folder), "-o", "E")[0] == 0
    names = runpy.run_path("E.py")
    assert names["model"][0].A.shape == (11, 3) and names["x"].shape == (32, 11)


def test_export_falls_back_to_the_smallest_that_clears(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "tiny", pays=None)
    code, out, _ = call("export", str(folder), "--out", "E.safetensors", "--json")
    told = json.loads(out)
    assert code == 0 and told["lines"][0].startswith("E.safetensors: E_W [11, 3] of mlp-d3-w4-L2, which clears;")
    assert {key: told[key] for key in ("file", "script", "shape", "architecture", "verdict", "epoch")} == {
        "file": "E.safetensors",
        "script": "E.py",
        "shape": [11, 3],
        "architecture": "mlp-d3-w4-L2",
        "verdict": "clears",
        "epoch": 120,
    }
    assert told["val_accuracy"] == pytest.approx(0.42)
    assert Path("E.safetensors").read_bytes() == (folder / "embeddings" / "a1-e120.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: Path("tiny-mlp-d3-w4-L2.safetensors").touch(), "exists; choose another --out"),
        (lambda folder: Path("tiny-mlp-d3-w4-L2.py").touch(), "L2.py exists; choose another --out"),
        (lambda folder: (folder / "embeddings" / "a1-e120.safetensors").unlink(), "is gone"),
        (lambda folder: (folder / "embeddings" / "a1-e9.safetensors").touch(), "is one of 2 files"),
        (lambda folder: (folder / "embeddings" / "a1-e120.safetensors").write_bytes(b"?"), "is not an embedding"),
        (lambda folder: (folder / "summary.json").unlink(), "is not finished"),
    ],
)
def test_export_refuses(call: Call, tmp_path: Path, spoil: Callable[[Path], Any], complaint: str) -> None:
    folder = finished(tmp_path / "tiny")
    spoil(folder)
    before = sorted(tmp_path.iterdir())
    code, out, error = call("export", str(folder))
    assert (code, out) == (2, "") and complaint in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("torch.safetensors", "torch.py would hide the Python module `torch`; choose another --out"),
        ("E.py", "E.py is to hold the embedding, and the script stands beside it; give --out *.safetensors"),
    ],
)
def test_export_refuses_names_that_cannot_be(call: Call, tmp_path: Path, out: str, complaint: str) -> None:
    folder = finished(tmp_path / "tiny")
    assert call("export", str(folder), "-o", out) == (2, "", f"gtsearch: {complaint}\n")
    assert not list(tmp_path.glob("*.*"))


def test_what_stands_in_a_run_is_not_written_into_a_script_as_code(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "tiny")
    text = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(text.replace('"lr"', '"lr 1\\nraise SystemExit(1)\\n"'))
    assert call("export", str(folder), "-o", "E.safetensors")[0] == 0
    assert "SystemExit" not in Path("E.py").read_text()


def test_export_refuses_a_run_in_which_nothing_clears_and_a_place_that_is_not(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "tiny", pays=None, clears=None)
    assert "nothing clears" in call("export", str(folder))[2]
    folder = finished(tmp_path / "other")
    assert (
        "cannot write nowhere/E.safetensors: No such file"
        in call("export", str(folder), "-o", "nowhere/E.safetensors")[2]
    )
