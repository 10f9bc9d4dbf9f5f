from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import pipelines, stats, tradeoff
from gtsearch.results import Results
from tests.analysis.study_kit import MISSED, STUDY, endpoint, pipeline, scratch, snapshot, unreached
from tests.analysis.synthetic import Story, make


def table(records: list[dict[str, Any]] = STUDY, threshold: float | None = None) -> pd.DataFrame:
    return tradeoff.table(pipelines.frame(records).assign(paying_from=threshold))


def test_the_table_is_scratch_and_the_pipelines_from_snapshots() -> None:
    own: dict[str, Any] = {"design": "dose", "dose": 0.3, "weak_accuracy": 0.4}
    others = [pipeline("transfer", 0, 30, 20, **own), endpoint(0, 0, 0.4, 20)]
    made = table([*STUDY, *others], threshold=0.33)
    assert list(made.columns) == [*pipelines.COLUMNS, "paying_from"] and set(made["paying_from"]) == {0.33}
    assert list(made["arm"]) == ["scratch"] * 3 + ["transfer"] * 9, "nor the control with shuffled rows"
    assert set(made["design"].dropna()) == {"snapshots"}
    assert made["paying_from"].dtype == "Float64" and table()["paying_from"].isna().all()


def test_the_levels_tell_medians_and_who_got_there() -> None:
    first, second, third = tradeoff.levels(table())
    assert [level["level"] for level in (first, second, third)] == [0.1, 0.3, 0.5]
    assert [(level["reached_goal"], level["pipelines"]) for level in (first, second, third)] == [(1, 3), (3, 3), (2, 3)]
    assert [level["weak_accuracy"] for level in (first, second, third)] == pytest.approx([0.12, 0.33, 0.54])
    assert (second["median_target_epochs"], second["median_total_epochs"]) == (20, 43)
    assert (second["median_target_flops"], second["median_total_flops"]) == (200, 430)
    assert (second["median_target_seconds"], second["median_total_seconds"]) == pytest.approx((2.0, 4.3))
    assert third["median_target_epochs"] == 12, "one that never came there is infinite, and in the sample"
    assert first["median_total_flops"] is None, "two of three are infinite"


def test_levels_are_in_order_of_what_was_asked_and_one_nobody_came_to_is_told() -> None:
    made = table([*scratch(100), snapshot(0, 0.3, 0.62, 10, 20), snapshot(0, 0.5, 0.60, 10, 20), unreached(0, 0.7, 9)])
    told = tradeoff.levels(made)
    assert [level["level"] for level in told] == [0.3, 0.5, 0.7]
    assert told[-1]["weak_accuracy"] is told[-1]["median_total_flops"] is None
    assert (told[-1]["reached_goal"], told[-1]["pipelines"]) == (0, 1)


def test_the_summarys_threshold_is_the_one_that_is_drawn(usual: Results) -> None:
    made = tradeoff.table(tradeoff.gather(usual))
    study = usual.summary["tradeoff"]
    assert set(made["paying_from"]) == {study["threshold"]}
    assert len(made) == sum(record["arm"] != "shuffled" for record in study["pipelines"])
    ax = drawn(made)
    assert any(list(line.get_xdata()) == [study["threshold"]] * 2 for line in ax.lines)
    assert "no paying threshold" in [text.get_text() for text in drawn(table()).texts]


# -- the picture ----------------------------------------------------------------------------------------------


def drawn(table: pd.DataFrame, unit: str = "seconds") -> Axes:
    ax = Figure().add_subplot()
    tradeoff.draw(table, ax, unit=unit)
    ax.get_figure().draw_without_rendering()
    return ax


@pytest.mark.parametrize("unit", ["seconds", "flops", "epochs"])
def test_every_pipeline_is_a_point_and_misses_are_open_triangles(unit: str) -> None:
    made = table()
    ax = drawn(made, unit)
    points = [c.get_offsets().tolist() for c in ax.collections if len(c.get_offsets())]
    own = made[(made["arm"] == "transfer") & made["weak_accuracy"].notna()]
    for i, part in enumerate(("target", "total")):
        for j, there in enumerate((True, False)):
            expected = own[own["reached"] == there][["weak_accuracy", f"{part}_{unit}"]]
            assert points[2 * i + j] == expected.astype(float).to_numpy().tolist()
    assert len(points[1]) == len(points[3]) == 2
    assert ax.get_yscale() == "log"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["0.12\n1/3", "0.33\n3/3", "0.54\n2/3"]


def test_lines_join_the_medians_and_the_band_is_scratch() -> None:
    ax = drawn(table(), "epochs")
    lines = [line.get_xydata().tolist() for line in ax.lines]
    assert [[pytest.approx(0.33), 20], [pytest.approx(0.54), 12]] in lines
    assert [[pytest.approx(0.33), 43], [pytest.approx(0.54), 44]] in lines
    assert any(list(line.get_ydata()) == [100.0, 100.0] for line in ax.lines), "scratch's median"
    assert "scratch, 3 of 3" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_scratch_is_censored_where_half_of_its_seeds_miss() -> None:
    records = [*STUDY[3:], *scratch(100), *scratch(200, 200, 200, **MISSED)[1:]]
    ax = drawn(table(records), "epochs")
    assert "scratch, 1 of 3: median beyond" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(list(line.get_ydata()) == [200.0, 200.0] for line in ax.lines), "what it spent"


def test_crowded_ticks_step_down_and_never_touch() -> None:
    records = [*scratch(100), *(snapshot(0, level, level, 1, 5) for level in (0.10, 0.12, 0.13, 0.60))]
    labels = [label.get_text() for label in drawn(table(records)).get_xticklabels()]
    assert labels == ["0.10\n1/1", "\n\n0.12\n1/1", "", "0.60\n1/1"]


STORIES = {
    "one seed": Story(seeds=1, tradeoff_seeds=1, levels=(0.2,)),
    "transfer never reaches": Story(transfer_reaches=False, architectures=9),
    "scratch never reaches": Story(scratch_reaches=False, architectures=9),
    "nothing reaches": Story(transfer_reaches=False, scratch_reaches=False),
    "a method is missing": Story(methods=("transfer", "scratch")),
    "all designs": Story(designs=pipelines.DESIGNS),
}


@pytest.mark.parametrize("name", STORIES)
def test_it_draws_whatever_happened(folder: Path, name: str) -> None:
    made = tradeoff.table(tradeoff.gather(make(folder, STORIES[name])))
    assert tradeoff.nothing(made) is None
    reached = made.loc[made["arm"] == "transfer", "reached"].to_numpy(dtype=bool)
    for unit in ("seconds", "flops"):
        ax = drawn(made, unit)
        legend = [text.get_text() for text in ax.get_legend().get_texts()]
        assert ax.get_xlabel() and ("did not get there" in legend) == (not reached.all())


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "No snapshots were measured"),
        ([*scratch(100, 110)], "No snapshots were measured"),
        ([*scratch(100), endpoint(0, 0, 0.4, 20)], "No snapshots were measured"),
        ([*scratch(100), unreached(0, 0.5, 10)], "No weak seed came"),
    ],
)
def test_nothing_to_draw_is_said_in_words(records: list[dict[str, Any]], reason: str) -> None:
    made = table(records)
    assert str(tradeoff.nothing(made)).startswith(reason)
    ax = drawn(made)
    assert ax.texts[0].get_text().replace("\n", " ").startswith(reason) and not ax.axison


def test_a_run_without_a_study_says_so(folder: Path) -> None:
    made = tradeoff.table(tradeoff.gather(make(folder, Story(levels=()))))
    assert made.empty and stats.records(made) == []
    assert "the experiment asks for none" in str(tradeoff.nothing(made))
