from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gtsearch import results
from gtsearch.analysis.reproduction import write_reproduction
from gtsearch.errors import ResultsError
from tests.analysis.synthetic import Story, Variation, make

SMALL = Story(name="fig6a-cpu", architectures=16, levels=(), seeds=3, methods=("transfer", "scratch"))


def entry(
    name: str, paper: str | None, shows: str = "it groks", printed: str | None = None, measure: Sequence[str] = ()
) -> tuple[str, Any]:
    about = {"shows": shows, "paper": paper, "printed": printed, "measure": list(measure)}
    return f"paper/{name}", {"name": name, "about": about}


def rows(text: str) -> list[list[str]]:
    """The cells of the table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [line.replace("\\|", "\0")[2:-2].split(" | ") for line in lines]
    assert {len(own) for own in cells} == {9}
    return [[cell.replace("\0", "|") for cell in own] for own in cells if own[0] not in ("paper", "---")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    return make(tmp_path_factory.mktemp("reproduction") / "run", SMALL)


def test_a_run_is_a_row_with_its_numbers(run: results.Results) -> None:
    text = write_reproduction([run.folder], [entry("fig6a-cpu", "Fig. 6a", "a|b", "curves")])
    assert text.startswith("# ") and text.endswith("|\n")
    (row,) = rows(text)
    assert row[:5] == ["Fig. 6a", "a|b", "`paper/fig6a-cpu`", "`gtsearch run paper/fig6a-cpu`", "curves"]
    transfer, scratch, weak, whole = row[5].split("<br>")
    record = run.summary["methods"]["transfer"]
    assert transfer.startswith(f"transfer: 3 of 3, {record['epochs_to_goal']['median']:g} [")
    assert " epochs, " in transfer and "FLOP" in transfer
    assert scratch.startswith("scratch: 3 of 3, ")
    assert weak == f"weak model: {run.summary['weak']['pays']['architecture']}, 10 of 11 clear"
    assert whole.endswith("times fewer FLOPs than scratch, weak model included")
    assert row[6:] == ["3", "a processor, 1 thread", "torch 2.13.0<br>revision 0f3c2a1b"]


def test_rows_are_in_the_papers_order_and_what_was_not_run_says_so() -> None:
    papers = ["Table 1", "Fig. 15a", "Fig. 8b", "review table", "Fig. 2", "Fig. 10, 11", "Lemma 3.1, Fig. 9", "Fig. 6c"]
    papers += ["Fig. 6b", "Figure 1b", "Fig. 4b, c", "Fig. 4a"]
    experiments = [entry(f"e{i}", paper) for i, paper in enumerate(papers)]
    made = rows(write_reproduction([], [*experiments, entry("ours", None), ("bare", {"name": "bare", "about": None})]))
    order = ["Figure 1b", "Fig. 2", "Fig. 4a", "Fig. 4b, c", "Fig. 6b", "Fig. 6c", "Fig. 8b", "Lemma 3.1, Fig. 9"]
    assert [row[0] for row in made] == [*order, "Fig. 10, 11", "Fig. 15a", "Table 1", "review table"]
    assert {tuple(row[5:]) for row in made} == {("not run", "", "", "")}


def test_the_complete_run_that_was_started_last_counts(run: results.Results, tmp_path: Path) -> None:
    def again(name: str, started: str, seeds: int, complete: bool = True) -> Path:
        made = make(tmp_path / name, dataclasses.replace(SMALL, seeds=seeds))
        results.write_json(made.folder / results.ENVIRONMENT, made.environment | {"started": started})
        results.write_json(made.folder / results.SUMMARY, made.summary | {"complete": complete})
        return made.folder

    newer, older = again("newer", "2026-11-21 09:00:00", 4), again("older", "2026-01-01 09:00:00", 5)
    broken_off = again("broken off", "2026-11-22 09:00:00", 2, complete=False)
    for folders in ([newer, run.folder, older, broken_off], [broken_off, older, run.folder, newer]):
        (row,) = rows(write_reproduction(folders, [entry("fig6a-cpu", "Fig. 6a")]))
        assert row[6] == "4"
    (row,) = rows(write_reproduction([broken_off], [entry("fig6a-cpu", "Fig. 6a")]))
    assert row[5] == "not finished"


def test_a_run_that_still_goes_on_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / results.SPEC).write_text("name: fig6a-cpu\n")
    (row,) = rows(write_reproduction([tmp_path], [entry("fig6a-cpu", "Fig. 6a")]))
    assert row[5] == "not finished"


def test_of_variations_there_is_a_line_each(tmp_path: Path) -> None:
    story = dataclasses.replace(SMALL, variations={"merged": Variation({"x": 1}, 2.0), "random A": Variation({}, 1, 3)})
    made = make(tmp_path / "run", story)
    (row,) = rows(write_reproduction([made.folder], [entry("fig6a-cpu", "Fig. 15b")]))
    lines = row[5].split("<br>")
    assert [line.split(":")[0] for line in lines] == ["base", "merged", "random A"]
    assert lines[2].startswith("random A: transfer 0 of 3, –; scratch 3 of 3, ")


def test_what_an_experiment_asks_for_is_printed(run: results.Results) -> None:
    asked = ["time_gap", "seconds_per_epoch", "weak_accuracy", "stayed"]
    (row,) = rows(write_reproduction([run.folder], [entry("fig6a-cpu", "Fig. 6a", measure=asked)]))
    transfer, scratch, weak, model = row[5].split("<br>")
    assert transfer.startswith("transfer: 3 of 3, time gap ") and transfer.endswith("an epoch, stayed 3 of 3")
    assert scratch.startswith("scratch: 3 of 3, time gap ")
    assert weak.startswith("weak: ") and " an epoch, weak accuracy 0.4" in weak
    assert model.startswith("weak model: ") and "FLOP" not in row[5]


def test_of_a_sweep_each_variation_is_a_line_and_the_slope_follows(tmp_path: Path) -> None:
    varied = {f"p {p}": Variation({"task.p": p}) for p in (29, 59)}
    made = make(tmp_path / "run", dataclasses.replace(SMALL, methods=("scratch",), weak=False, variations=varied))
    same = {"stage": "target", "role": "report", "purpose": "report", "method": "scratch", "status": "cleared"}
    members = [
        same | {"run_id": f"{name}-{i}", "variation": name, "probed": [{"epoch": 5, "norm": p**2.0 + i - 1}]}
        for name, p in (("base", 113), ("p 29", 29), ("p 59", 59))
        for i in range(3)
    ]
    results.write_tables(made.folder, members, 1.0)
    summary = made.summary
    for name, part in summary["variations"].items():
        own = {"run_ids": [member["run_id"] for member in members if member["variation"] == name]}
        part["summary"]["methods"] = {"scratch": summary["methods"]["scratch"] | own}
    results.write_json(made.folder / results.SUMMARY, summary)
    (row,) = rows(write_reproduction([made.folder], [entry("fig6a-cpu", "Fig. 5", measure=["probe:norm"])]))
    counts, base, small, middle, slope = row[5].split("<br>")
    assert counts == "all 3 variations: scratch 3 of 3"
    assert base == "base: norm 12,800 [12,800, 12,800]"
    assert (small, middle) == ("p 29: norm 841 [840, 842]", "p 59: norm 3,480 [3,480, 3,480]")
    assert slope == "norm over p, both in logarithms: slope 2.00 [2.00, 2.00]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "epoch",
            r"^paper/fig6a-cpu: there is no measure `epoch`; did you mean `epochs`\? \(known: epochs, .*probe:NAME",
        ),
        ("probe:", r"there is no measure `probe:`"),
    ],
)
def test_a_measure_there_is_none_of_is_refused(name: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        write_reproduction([], [entry("fig6a-cpu", "Fig. 6a", measure=[name])])


def test_a_number_that_no_probe_read_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "run", dataclasses.replace(SMALL, probes=("ntk_change",)))
    with pytest.raises(ResultsError, match=r"no measure `probe:ntk`; did you mean `probe:ntk_change`"):
        write_reproduction([made.folder], [entry("fig6a-cpu", "Fig. 6a", measure=["probe:ntk"])])


def test_methods_alone_and_a_gpu(tmp_path: Path) -> None:
    made = make(tmp_path / "run", Story(name="fig2", weak=False, methods=("scratch", "fourier"), seeds=2))
    environment = made.environment | {"device": "cuda", "device_names": ["NVIDIA H200"], "git_revision": None}
    results.write_json(made.folder / results.ENVIRONMENT, environment)
    (row,) = rows(write_reproduction([made.folder], [entry("fig2", "Fig. 2")]))
    assert row[5].split("<br>")[1] == "fourier: 0 of 2"
    assert row[7:] == ["NVIDIA H200", "torch 2.13.0<br>no git revision"]


def test_what_is_no_run_or_damaged_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"is not a run folder"):
        write_reproduction([tmp_path], [])
    (tmp_path / results.SPEC).write_text("[1]")
    with pytest.raises(ResultsError, match=r"spec\.yaml is damaged: it holds no name"):
        write_reproduction([tmp_path], [])
    (tmp_path / results.SPEC).write_text("name: [")
    with pytest.raises(ResultsError, match=r"spec\.yaml is damaged"):
        write_reproduction([tmp_path], [])
    (tmp_path / results.SUMMARY).write_text(json.dumps({"schema": -1}))
    with pytest.raises(ResultsError, match=r"cannot read|schema"):
        write_reproduction([tmp_path], [])
