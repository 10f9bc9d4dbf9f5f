"""Every benchmark that `make bench` runs still runs, tiny; what benchmarks keep is read back; the table shows it."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import grokfast, results, table, table1
from benchmarks.alone import alone
from benchmarks.results import Kept, Row, keep, paired, read_all
from gtsearch.errors import ResultsError

ROOT = Path(__file__).parent.parent
HELPERS = {"alone", "results", "table"}
TINY = {
    "startup": ["--times", "1"],
    "epoch": ["--pairs", "1", "--device", "cpu", "--epochs", "2"],
    "transformer": ["--pairs", "1", "--epochs", "2"],
    "report": ["--members", "300", "--points", "10"],
    "coverage": ["--repetitions", "2"],
    "load": ["--members", "40", "--minutes", "0", "--every", "2"],
}
"""Options with which a benchmark ends in seconds."""

SLOW = {"report", "load"}  # it draws every figure; it starts Ray

ROW = Row("an epoch of a model", 1.5, 2.0, "ms", 0.75, 0.7, 0.8, "at most 0.7", False, "medians")
BARE = Row("memory, where there is no other side", 100.0, None, "MiB", None, None, None, None, None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """A benchmark sets threads, and what becomes of subnormal numbers, for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def run(monkeypatch: pytest.MonkeyPatch, name: str, arguments: Sequence[str]) -> None:
    """As `python -m benchmarks.NAME ARGUMENTS` would, in this process."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / f"{name}.py"), *arguments])
    importlib.import_module(f"benchmarks.{name}").main()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TINY]
)
def test_a_benchmark_runs_and_keeps_its_rows(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, name, TINY[name])
    [kept] = read_all()
    assert kept.name == name and kept.rows
    assert kept.command == " ".join(["python -m", f"benchmarks.{name}", *TINY[name]])
    assert all(row.ours is not None and row.ours >= 0 for row in kept.rows)
    assert capsys.readouterr().out, "a person reads something too"


def test_every_benchmark_is_run_by_make_bench_or_named_by_it() -> None:
    assert set(table.QUICK) <= set(TINY)
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - HELPERS - {"__init__"}
    folders = {path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert files | folders == {*table.QUICK, *table.LONG}
    assert all(f"benchmarks.{name}" in how for name, how in table.LONG.items())


@pytest.mark.parametrize("name", sorted({*table.QUICK, *table.LONG}))
def test_a_benchmark_says_what_it_compares_and_how_it_is_run(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    main = importlib.import_module(f"benchmarks.{name}.__main__") if hasattr(module, "__path__") else module
    told = f"{module.__doc__} {main.__doc__}"
    assert f"python -m benchmarks.{name}" in told or f"python benchmarks/{name}.py" in told
    assert callable(main.main)


@pytest.mark.parametrize("called", [["-m", "benchmarks.table"], ["benchmarks/table.py"]])
def test_a_module_and_a_script_are_the_same(called: list[str]) -> None:
    answer = subprocess.run([sys.executable, *called, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--markdown" in answer.stdout


def test_what_is_kept_is_read_back(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks/lattice/__main__.py"), "--out", "/home/me/a lattice"])
    assert keep("one", [ROW, BARE], {"threads": 3, "seeds": [1, 2]}) == folder / "one.json"
    keep("another", [BARE], {})
    another, one = read_all()
    assert (one.name, one.rows, one.settings) == ("one", [ROW, BARE], {"threads": 3, "seeds": [1, 2]})
    assert one.command == "python -m benchmarks.lattice --out '.../a lattice'", "no folder of the machine's"
    assert (one.threads, another.threads) == (3, torch.get_num_threads())
    assert {"python", "torch", "ray", "optuna"} <= set(one.versions) and one.cores >= 1 and one.device
    assert one.commit is None or re.fullmatch(r"[0-9a-f]{40}( \+ changes)?", one.commit)


def test_a_later_result_takes_the_place_of_an_earlier_one() -> None:
    keep("one", [ROW, BARE], {})
    keep("one", [BARE], {})
    [one] = read_all()
    assert one.rows == [BARE]


def test_nothing_is_kept_of_a_number_that_is_none(folder: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        keep("one", [paired("a ratio", [float("inf")], [1.0], "ms")], {})
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[:-20], "Invalid JSON"),
        (lambda text: text.replace('"unit": "ms"', '"unit": 3'), "rows.0.unit: Input should be a valid string"),
        (lambda text: text.replace('"commit"', '"comit"'), "Unexpected keyword argument|Field required"),
        (lambda text: "\x80", "Invalid JSON"),
    ],
)
def test_a_broken_file_is_refused_by_name(damage: Callable[[str], str], reason: str, folder: Path) -> None:
    path = keep("one", [ROW], {})
    path.write_text(damage(path.read_text()), encoding="latin-1")
    with pytest.raises(ResultsError, match=reason) as refused:
        read_all()
    assert str(folder / "one.json") in str(refused.value) and "\n" not in str(refused.value)


def test_pairs_are_told_by_the_median_of_their_ratios() -> None:
    row = paired("seconds", [1.0, 4.0, 3.0], [2.0, 4.0, 4.0], "s", at_most=0.75, note="warm")
    assert (row.ours, row.other, row.ratio, row.low, row.high) == (3.0, 4.0, 0.75, 0.5, 1.0)
    assert (row.target, row.met) == ("at most 0.75", True)
    assert row.note == "warm; median [least, greatest] of 3 pairs"
    assert paired("seconds", [3.0], [2.0], "s", at_most=1.0).met is False
    assert paired("seconds", [3.0], [2.0], "s").met is None


def test_the_table_shows_every_row_and_what_made_it() -> None:
    keep("one", [ROW, BARE], {})
    [one] = read_all()
    console = Console(file=StringIO(), width=300)
    console.print(table.of([one]))
    text = console.file.getvalue()
    for word in ("1.5 ms", "2 ms", "0.75 [0.7, 0.8]", "at most 0.7", "missed", "100 MiB", one.command, one.device):
        assert word in text, word


def test_the_table_of_a_page_has_a_line_a_row() -> None:
    made = Kept("one", [ROW, BARE], {}, "python -m benchmarks.one", None, "a processor", 1, 1, {}, "2026-01-31")
    _, _, first, second = table.markdown([made]).splitlines()
    assert first == (
        "| an epoch of a model | 1.5 ms | 2 ms | 0.75 [0.7, 0.8] | at most 0.7 | missed | `python -m benchmarks.one` |"
    )
    assert second.startswith("| memory, where there is no other side | 100 MiB |  |  |  |  |")


def test_a_page_gets_the_table_between_its_marks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep("bench", [ROW], {})
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kept results -->\nan older table\n<!-- end -->\nafter\n")
    run(monkeypatch, "table", ["--page", str(page)])
    first, table_of_page, last = re.split("<!-- .* -->", page.read_text())
    assert (first, last) == ("before\n", "\nafter\n")
    assert table_of_page.strip() == table.markdown(read_all())
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="kept results"):
        run(monkeypatch, "table", ["--page", str(page)])


def test_a_broken_file_ends_the_table_with_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps({"name": "one"}))
    monkeypatch.setattr(sys, "argv", ["table"])
    with pytest.raises(SystemExit, match=r"one\.json is no kept result"):
        table.main()


# -- the two that need what is not here ----------------------------------------------------------------------

SCRIPT = """
import argparse, torch
from tqdm import tqdm

parser = argparse.ArgumentParser()
for name in ("filter", "alpha", "lamb", "weight_decay", "lr", "p", "batch_size", "budget", "seed"):
    parser.add_argument(f"--{name}", required=True)
asked = parser.parse_args()
accuracies = []
for epoch in tqdm(range(int(asked.budget) // 10)):
    sum(range(10**6))
    accuracies.append(0.2 if epoch < 3 else 0.995)
torch.save({"val_acc": accuracies}, "results/res_of_this.pt")
"""


def test_a_script_is_timed_by_its_progress_bar_and_read_by_what_it_saves(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    trained, peak = grokfast.theirs(script, 80, seed=0)
    assert (trained.passes, trained.accuracy, trained.steps_to_goal) == (8, 0.995, 40)
    assert trained.seconds_to_goal is not None and trained.seconds_to_goal > 0 and peak >= 0
    assert trained.seconds > 0


def test_the_first_of_two_accuracies_in_a_row_at_the_goal_counts() -> None:
    assert grokfast._reached([0.2, 0.99, 0.5, 0.99, 1.0]) == 3
    assert grokfast._reached([0.2, 0.99]) is None


def test_ours_is_trained_as_the_script_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grokfast, "SIZES", grokfast.SIZES.model_copy(update={"d_embed": 8, "d_mlp": 8}))
    trained = grokfast.ours(2, seed=0)
    assert trained.passes == 2 and trained.seconds > 0
    assert trained.seconds_to_goal is None and trained.steps_to_goal is None
    row = grokfast.to_goal([trained], [replace(trained, seconds_to_goal=3.0, steps_to_goal=20)])
    assert (row.ours, row.other, row.ratio) == (None, 3.0, None)
    assert "ours not after 2 passes" in row.note and "theirs after 20 steps" in row.note


@pytest.mark.parametrize("arguments", [[], ["--script", "no/such/main.py"]])
def test_without_the_script_one_line_says_what_to_do(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    with pytest.raises(SystemExit, match=r"git clone .* nothing was measured$"):
        run(monkeypatch, "grokfast", arguments)
    assert not folder.exists()


def seed(transfer: float, scratch: float, transfers: bool = True, grows: bool = True) -> table1.Seed:
    return table1.Seed(table1.Cost(transfer, transfers), table1.Cost(scratch, grows))


@pytest.mark.parametrize(
    ("seeds", "ours", "told"),
    [
        ([seed(1.0, 4.0), seed(1.0, 6.0), seed(1.0, 5.0)], 5.0, "median 5; by seed 4, 6, 5"),
        ([seed(1.0, 4.0), seed(1.0, 6.0, grows=False), seed(1.0, 5.0)], 5.0, "median 5; by seed 4, at least 6, 5"),
        ([seed(1.0, 4.0, grows=False), seed(1.0, 6.0), seed(1.0, 5.0)], None, "median 5 to 6"),
        ([seed(1.0, 4.0, grows=False)] * 2 + [seed(1.0, 5.0)], None, "median at least 4"),
        ([seed(2.0, 4.0, transfers=False)] * 2 + [seed(1.0, 5.0)], None, "median at most 2"),
        ([seed(2.0, 4.0, transfers=False, grows=False)], None, "median not known; by seed not known"),
    ],
)
def test_a_censored_seed_bounds_the_ratio_and_is_not_left_out(
    seeds: list[table1.Seed], ours: float | None, told: str
) -> None:
    times, *_ = table1.rows_of(seeds, table1.PAPERS, "on a GPU")
    assert times.ours == ours and told in times.note
    assert times.other == pytest.approx(5.31, abs=0.01), "the paper's"


def test_the_papers_numbers_stand_beside_its_own_setting_alone() -> None:
    rows = table1.rows_of([seed(1.0, 4.0, grows=False)], "paper/table1-cpu", "no GPU")
    assert [row.other for row in rows] == [None] * 3
    assert [row.ours for row in rows] == [None, 1.0, None]


def test_table_1_is_trained_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "table1", ["--experiment", "paper/table1-cpu", "--device=cpu", "--seeds=1", "--epochs=10"])
    [kept] = read_all()
    assert "no GPU was at hand" in kept.rows[0].note
    assert kept.settings["epochs"] == 10


def held(mebibytes: int) -> int:
    return len(b"x" * (mebibytes * 2**20))


def test_a_call_alone_tells_its_own_memory() -> None:
    large = bytearray(b"x" * (200 * 2**20))  # of this process, and none of the other's
    found, peak = alone(held, 64)
    assert found == 64 * 2**20 and 60 < peak < 120
    del large
