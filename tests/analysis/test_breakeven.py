"""The figure to cite: every number of its table, and its look in stories good and bad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from gtsearch.analysis import breakeven, pipelines, report, stats
from gtsearch.analysis.breakeven import FLOPS
from gtsearch.errors import ResultsError
from gtsearch.results import Results, pricing_frame, trials_frame
from tests.analysis.study_kit import MISSED, STUDY, endpoint, pipeline, scratch, snapshot, unreached
from tests.analysis.synthetic import Story, make

ALL = Story(designs=pipelines.DESIGNS, prices={"cpu": 0.95, "a fast GPU": 0.08})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All three designs, on two priced devices."""
    story = replace(ALL, tradeoff_seeds=12, levels=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5))
    return make(tmp_path_factory.mktemp("whole") / "run", story)


def frame(records: list[dict[str, Any]] = STUDY, **seconds: Any) -> pd.DataFrame:
    return pipelines.frame(records).assign(task="a + b", **seconds)


ENOUGH = 20  # replicates that all got there: a cost of half of scratch's then surely pays


def enough_scratch() -> list[dict[str, Any]]:
    return scratch(*([100, 110, 90, 100] * (ENOUGH // 4)))


def rows(table: pd.DataFrame, **where: Any) -> list[dict[str, Any]]:
    return [row for row in stats.records(table) if all(row[name] == value for name, value in where.items())]


# -- the table ------------------------------------------------------------------------------------------------


def test_the_table_has_every_column_with_its_type(whole: Results) -> None:
    for made in (breakeven.table(breakeven.gather(whole)), breakeven.table(frame([]))):
        assert {name: str(dtype) for name, dtype in made.dtypes.items()} == breakeven.COLUMNS


def test_starts_by_value() -> None:
    starts = rows(breakeven.table(frame()), kind="start")
    assert {(row["task"], row["design"], row["unit"]) for row in starts} == {("a + b", "snapshots", FLOPS)}
    assert [row["level"] for row in starts] == [0.1, 0.3, 0.5]
    assert [row["accuracy"] for row in starts] == pytest.approx([0.12, 0.33, 0.54])
    # Of 100 epochs from scratch: 120 + 122 + 91 for one success, 40 + 46 + 43 for three, 40 + 44 + 100 for two.
    assert [row["ratio"] for row in starts] == pytest.approx([3.33, 0.43, 0.92])
    assert [(row["reached"], row["pipelines"]) for row in starts] == [(1, 3), (3, 3), (2, 3)]
    assert [row["upper_bound"] for row in starts] == [False] * 3
    decided = pipelines.told(frame())["levels"]
    assert [[row["low"], row["high"]] for row in starts] == [level["interval_flops"] for level in decided]
    assert starts[1]["low"] < 0.43 < starts[1]["high"]


def test_a_dot_is_a_pipeline_over_what_scratch_is_expected_to_cost() -> None:
    dots = rows(breakeven.table(frame()), kind="pipeline")
    assert [row["ratio"] for row in dots] == pytest.approx([1.2, 1.22, 0.91, 0.40, 0.46, 0.43, 0.40, 0.44, 1.40])
    assert [row["accuracy"] for row in dots] == [0.12, 0.15, 0.10, 0.31, 0.33, 0.35, 0.52, 0.56, 0.52]
    assert [row["reached"] for row in dots] == [0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert [row["arm"] for row in dots] == ["transfer"] * 8 + ["shuffled"]
    assert len(dots) == len(STUDY) - 3 - 1, "scratch is no dot, and one that never came there has no accuracy"


def test_where_scratch_misses_at_times_a_dot_is_over_its_cost_with_restarts() -> None:
    records = [*scratch(100, 110), *scratch(90, column=1, **MISSED), snapshot(0, 0.3, 0.3, 10, 20)]
    (dot,) = rows(breakeven.table(frame(records)), kind="pipeline")
    assert dot["ratio"] == pytest.approx(30 / ((100 + 110 + 90) / 2))


def test_over_a_censored_scratch_the_ratio_is_an_upper_bound() -> None:
    records = [*scratch(200, 200, 200, **MISSED), *(snapshot(i, 0.3, 0.3, 10, 30 + i) for i in range(3))]
    start, *dots = rows(breakeven.table(frame(records)))
    assert start["upper_bound"] and start["ratio"] == pytest.approx(41 / 200)
    assert [dot["ratio"] for dot in dots] == pytest.approx([40 / 200, 41 / 200, 42 / 200])


def test_the_threshold_is_on_every_start_of_its_unit_alone() -> None:
    records = enough_scratch()
    for level, cost in ((0.1, 500), (0.3, 30), (0.5, 20)):
        records += [snapshot(i, level, level + 0.01, 10, cost + i % 4) for i in range(ENOUGH)]
    # On this device a weak epoch is so dear that nothing pays.
    seconds = [100.0] * ENOUGH + [900.0, 910, 905, 890] * (3 * ENOUGH // 4)
    made = breakeven.table(frame(records, **{"seconds:slow": seconds}))
    of_flops, of_seconds = rows(made, kind="start", unit=FLOPS), rows(made, kind="start", unit="slow")
    assert {(r["threshold"], r["threshold_low"], r["threshold_high"]) for r in of_flops} == {(0.31, 0.11, 0.31)}
    assert {(r["threshold"], r["threshold_low"], r["threshold_high"]) for r in of_seconds} == {(None, 0.51, None)}
    assert [row["ratio"] for row in of_seconds] == pytest.approx([901.25 / 100] * 3)
    assert {row["unit"] for row in rows(made, kind="pipeline")} == {FLOPS}, "dots once, not once a device"


def test_doses_and_endpoints_have_no_threshold_but_their_own() -> None:
    records = enough_scratch()
    records += [endpoint(i, i % 3, 0.41 + 0.01 * i, 20 + i) for i in range(4)]
    own: dict[str, Any] = {"design": "dose", "dose": 0.3, "weak_accuracy": 0.4}
    records += [pipeline("transfer", i, 30, 20 + i % 4, **own) for i in range(ENOUGH)]
    made = breakeven.table(frame(records))
    assert [row["design"] for row in rows(made, kind="start")] == ["endpoints", "dose"]
    (ends,) = rows(made, kind="start", design="endpoints")
    assert (ends["threshold"], ends["level"], ends["dose"]) == (None, None, None) and ends["pipelines"] == 4
    (dose,) = rows(made, kind="start", design="dose")
    assert (dose["dose"], dose["threshold"]) == (0.3, 0.4)


def test_the_table_is_what_the_summary_tells(whole: Results) -> None:
    made, study = breakeven.table(breakeven.gather(whole)), whole.summary["tradeoff"]
    for design in pipelines.DESIGNS:
        starts = rows(made, kind="start", design=design, unit=FLOPS)
        told = [level for level in study["levels"] if level["design"] == design]
        assert [row["ratio"] for row in starts] == pytest.approx([level["ratio_flops"] for level in told])
        assert [row["reached"] for row in starts] == [level["reached_goal"] for level in told]
    assert {row["threshold"] for row in rows(made, design="snapshots", unit=FLOPS)} == {study["threshold"]}
    assert set(made["task"]) == {whole.summary["title"]}


# -- claimed seconds ------------------------------------------------------------------------------------------


def price(device: str, architecture: str, method: str, ms: float) -> dict[str, Any]:
    where = {"device": device, "host": "there", "threads": 1, "blocks": 15, "epochs_per_block": 5, "priced_at": "now"}
    kind = {"stage": "weak" if method == "weak" else "target", "architecture": architecture, "method": method}
    return where | kind | {"ms_per_epoch": ms, "ms_low": 0.9 * ms, "ms_high": 1.1 * ms}


RUNS = [{"run_id": record["run_id"], "stage": "target", "architecture": "big"} for record in STUDY if record["run_id"]]
PRICES = [
    price("cpu", "mlp-d2-w8-L2", "weak", 2.0),
    price("cpu", "big", "transfer", 110.0),
    price("cpu", "big", "scratch", 100.0),
    price("cpu", "big", "transfer_shuffled", 120.0),
    price("cpu", "small", "scratch", 1.0),
]


def claimed(prices: list[dict[str, Any]], records: list[dict[str, Any]] = STUDY) -> dict[str, list[Any]]:
    made = breakeven.claimed_seconds(pipelines.frame(records), pricing_frame(prices), trials_frame(RUNS))
    return {name: [None if pd.isna(value) else value for value in column] for name, column in made.items()}


def test_claimed_seconds_are_epochs_times_their_price() -> None:
    seconds = claimed(PRICES)["seconds:cpu"]
    assert seconds[:3] == pytest.approx([10.0, 11.0, 9.0]), "scratch: epochs at 100 ms"
    assert seconds[3] == pytest.approx(10 * 0.002 + 110 * 0.11)
    assert seconds[6] == pytest.approx(20 * 0.002 + 20 * 0.11)
    assert seconds[11] == pytest.approx(100 * 0.002), "no target ran, and the whole weak run is charged"
    assert seconds[12] == pytest.approx(30 * 0.002 + 110 * 0.12), "the control has a price of its own"


def test_each_device_counts_by_itself_and_what_has_no_price_is_null() -> None:
    found = claimed([*PRICES, price("gpu", "big", "scratch", 1.0), price("gpu", "mlp-d2-w8-L2", "weak", 0.5)])
    assert list(found) == ["seconds:cpu", "seconds:gpu"]
    assert found["seconds:gpu"][:3] == pytest.approx([0.1, 0.11, 0.09])
    assert found["seconds:gpu"][3:] == [None] * 10, "without transfer's price no pipeline has one, begun or not"
    weak = claimed(PRICES[1:])["seconds:cpu"]
    assert weak[:3] == pytest.approx([10.0, 11.0, 9.0]) and weak[3:] == [None] * 10
    assert claimed([]) == {}


def test_hosts_of_one_device_are_counted_apart_and_named() -> None:
    there = {"host": "elsewhere"}
    twice = [row | there | {"ms_per_epoch": 2 * row["ms_per_epoch"]} for row in PRICES]
    found = claimed([*twice, *PRICES, price("gpu", "big", "scratch", 1.0)])
    assert list(found) == ["seconds:cpu · elsewhere", "seconds:cpu · there", "seconds:gpu"]
    assert found["seconds:cpu · there"] == claimed(PRICES)["seconds:cpu"]
    assert found["seconds:cpu · elsewhere"] == pytest.approx([2 * value for value in found["seconds:cpu · there"]])


def test_of_several_runs_a_host_is_named_where_another_run_has_the_device_elsewhere(whole: Results) -> None:
    far = whole.pricing[whole.pricing["device"] == "cpu"].assign(host="far")
    other = replace(titled(whole, "a * b"), pricing=far)
    here = whole.pricing.loc[whole.pricing["device"] == "cpu", "host"].iloc[0]
    table = breakeven.across([whole, other])
    units = {task: set(own["unit"]) for task, own in table[table["kind"] == "start"].groupby("task")}
    assert units == {
        whole.summary["title"]: {FLOPS, f"cpu · {here}", "a fast GPU"},
        "a * b": {FLOPS, "cpu · far"},
    }


def test_a_price_that_is_missing_leaves_out_its_line_and_breaks_nothing() -> None:
    records = [*STUDY, unreached(1, 0.7, 100), unreached(2, 0.7, 100), snapshot(0, 0.7, 0.71, 40, 8)]
    prices = [row for row in PRICES if row["method"] != "transfer"]
    seconds = breakeven.claimed_seconds(pipelines.frame(records), pricing_frame(prices), trials_frame(RUNS))
    made = breakeven.table(frame(records, **seconds))
    assert set(made["unit"]) == {FLOPS} and len(rows(made, kind="start")) == 4
    without_scratch = [row for row in PRICES if row["method"] != "scratch"]
    seconds = breakeven.claimed_seconds(pipelines.frame(records), pricing_frame(without_scratch), trials_frame(RUNS))
    made = breakeven.table(frame(records, **seconds))
    assert set(made["unit"]) == {FLOPS}, "nothing is said of a device on which scratch has no price"
    draw(made)


def test_a_line_a_device_that_was_priced(whole: Results) -> None:
    assert {"seconds:cpu", "seconds:a fast GPU"} <= set(breakeven.gather(whole).columns)
    made = breakeven.table(breakeven.gather(whole))
    assert set(made.loc[made["kind"] == "start", "unit"]) == {FLOPS, "cpu", "a fast GPU"}
    # Both devices were priced in the same proportions, so that the ratios are the same.
    for cpu, gpu in zip(rows(made, unit="cpu"), rows(made, unit="a fast GPU"), strict=True):
        assert cpu["ratio"] == pytest.approx(gpu["ratio"])


# -- the picture ----------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame, **panel: Any) -> Axes:
    ax = Figure().add_subplot()
    breakeven.draw(table, ax, **panel)
    ax.get_figure().draw_without_rendering()
    return ax


def dots_of(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_offsets())]


def test_a_panel_for_each_design_that_was_measured(whole: Results, usual: Results) -> None:
    everything, snapshots = (breakeven.table(breakeven.gather(run)) for run in (whole, usual))
    assert [panel["design"] for panel in breakeven.panels(everything)] == list(pipelines.DESIGNS)
    assert [panel["design"] for panel in breakeven.panels(snapshots)] == ["snapshots"]
    assert len(breakeven.panels(breakeven.table(frame([])))) == 1
    with report.style.look():
        assert len(report.drawn(breakeven, everything, breakeven.panels(everything)).axes) == 3


def test_every_pipeline_is_a_dot_filled_where_it_got_there_and_the_control_a_cross() -> None:
    table = breakeven.table(frame())
    ax = draw(table)
    reached, missed, shuffled = dots_of(ax)[:3]
    dots = rows(table, kind="pipeline")

    def at(arm: str, there: int) -> list[list[float]]:
        return [[r["accuracy"], r["ratio"]] for r in dots if r["arm"] == arm and r["reached"] == there]

    for drawn, expected in ((reached, at("transfer", 1)), (missed, at("transfer", 0)), (shuffled, at("shuffled", 0))):
        assert drawn.get_offsets().tolist() == [pytest.approx(place) for place in expected]
    assert len(reached.get_facecolors()) == 1 and len(missed.get_facecolors()) == 0
    assert "rows shuffled" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_bands_and_counts(whole: Results) -> None:
    table = breakeven.table(breakeven.gather(whole))
    for design in pipelines.DESIGNS:
        ax = draw(table, design=design)
        starts = rows(table, kind="start", design=design, unit=FLOPS)
        known = [[row["accuracy"], row["ratio"]] for row in starts if row["ratio"] is not None]
        assert known in [line.get_xydata().tolist() for line in ax.lines]
        assert any(list(line.get_ydata()) == [1.0, 1.0] for line in ax.lines), "scratch"
        assert ax.get_yscale() == "log"
        labels = [label.get_text().strip() for label in ax.get_xticklabels() if label.get_text()]
        counts = [f"{row['accuracy']:.2f}\n{row['reached']}/{row['pipelines']}" for row in starts]
        assert labels and set(labels) <= set(counts)
        legend = [text.get_text() for text in ax.get_legend().get_texts()]
        pays = f": from {whole.summary['tradeoff']['threshold']:.3f}" if design == "snapshots" else ""
        assert {FLOPS, f"seconds, cpu{pays}", f"seconds, a fast GPU{pays}", "scratch"} <= set(legend)


def test_the_threshold_is_a_line_on_snapshots_alone(whole: Results) -> None:
    table = breakeven.table(breakeven.gather(whole))
    threshold = whole.summary["tradeoff"]["threshold"]
    said = {design: [text.get_text() for text in draw(table, design=design).texts] for design in pipelines.DESIGNS}
    assert any(f"pays from {threshold:.3f} on (FLOPs)" in " ".join(text.split()) for text in said["snapshots"])
    assert not any("pays" in text or "threshold" in text for text in said["endpoints"] + said["dose"])
    assert any(list(line.get_xdata()) == [threshold, threshold] for line in draw(table).lines)
    assert "no threshold (FLOPs)" in [text.get_text() for text in draw(breakeven.table(frame())).texts]


def test_a_threshold_at_the_lowest_level_is_said_to_be_the_least_tried() -> None:
    records = [*enough_scratch(), *(snapshot(i, 0.3, 0.31, 10, 20 + i % 4) for i in range(ENOUGH))]
    (note,) = [text.get_text() for text in draw(breakeven.table(frame(records))).texts]
    assert " ".join(note.split()) == "pays from 0.310 on (FLOPs; least tried)"


def test_a_device_in_whose_seconds_nothing_pays_is_said_in_the_legend() -> None:
    records = [
        *scratch(100, 110, 90),
        *(snapshot(i, level, level, 10, 20 + i) for i in range(3) for level in (0.2, 0.3)),
    ]
    dear = {"seconds:an old and slow device with a long name": [10.0] * 3 + [90.0, 91, 92, 93, 94, 95]}
    labels = [text.get_text() for text in draw(breakeven.table(frame(records, **dear))).get_legend().get_texts()]
    assert "seconds, an old and slow device with a\nlong name: no threshold" in labels


def test_levels_that_were_added_are_open() -> None:
    records = [*scratch(100, 110), *(snapshot(i, level, level, 10, 20 + i) for i in range(2) for level in (0.3, 0.5))]
    added = [snapshot(i, 0.4, 0.4, 10, 20 + i) | {"refined": True} for i in range(2)]
    ax = draw(breakeven.table(frame([*records, *added])))
    (white,) = [c for c in dots_of(ax) if c.get_facecolors().tolist() == [[1.0, 1.0, 1.0, 1.0]]]
    assert [place[0] for place in white.get_offsets()] == [0.4]
    assert "added to find the jump" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_all_panels_have_one_scale(whole: Results) -> None:
    table = breakeven.table(breakeven.gather(whole))
    assert len({draw(table, design=design).get_ylim() for design in pipelines.DESIGNS}) == 1


STORIES = {
    "usual": ALL,
    "one seed": Story(designs=pipelines.DESIGNS, seeds=1, tradeoff_seeds=1, levels=(0.2,)),
    "nothing reaches": Story(designs=pipelines.DESIGNS, transfer_reaches=False, scratch_reaches=False),
    "transfer never reaches": Story(designs=pipelines.DESIGNS, transfer_reaches=False),
    "scratch never reaches": Story(designs=pipelines.DESIGNS, scratch_reaches=False),
    "a method is missing": Story(designs=pipelines.DESIGNS, methods=("transfer", "scratch")),
    "40 architectures": Story(designs=pipelines.DESIGNS, tradeoff_seeds=20, levels=tuple(i / 40 for i in range(1, 28))),
    "only doses": Story(designs=("dose",)),
    "no prices": Story(designs=pipelines.DESIGNS, prices={}),
}


@pytest.mark.parametrize("name", STORIES)
def test_it_draws_whatever_happened(folder: Path, name: str) -> None:
    table = breakeven.table(breakeven.gather(make(folder, STORIES[name])))
    assert breakeven.nothing(table) is None
    for panel in breakeven.panels(table):
        ax = draw(table, **panel)
        low, high = ax.get_ylim()
        assert 0 < low < 1 < high and ax.get_xlabel()
        places = [tuple(place) for dots in dots_of(ax) for place in dots.get_offsets()]
        assert places and all(low <= y <= high for _, y in places), "nothing is drawn outside"
    starts = rows(table, kind="start", unit=FLOPS)
    if "reaches" in name and name != "scratch never reaches":
        assert all(row["ratio"] is None for row in starts)
    if name == "scratch never reaches":
        assert all(row["upper_bound"] for row in starts)
        assert "scratch, which never gets there" in [text.get_text() for text in draw(table).get_legend().get_texts()]
    if name == "one seed":
        assert {(row["low"], row["high"]) for row in starts} == {(None, None)}


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "No trade-off was measured"),
        ([*scratch(100, 110), unreached(0, 0.5, 10), unreached(1, 0.5, 10)], "No weak model came to any"),
    ],
)
def test_nothing_to_draw_is_said_in_words(records: list[dict[str, Any]], reason: str) -> None:
    table = breakeven.table(frame(records))
    assert str(breakeven.nothing(table)).startswith(reason)
    ax = draw(table, **breakeven.panels(table)[0])
    assert ax.texts[0].get_text().replace("\n", " ").startswith(reason) and not ax.axison


def test_a_run_without_a_study_has_an_empty_table(folder: Path) -> None:
    table = breakeven.table(breakeven.gather(make(folder, Story(levels=()))))
    assert table.empty and "the experiment asks for none" in str(breakeven.nothing(table))


# -- several tasks ----------------------------------------------------------------------------------------------


def titled(results: Results, title: str) -> Results:
    return replace(results, summary={**results.summary, "title": title})


def test_several_runs_are_a_panel_each_and_share_nothing(whole: Results) -> None:
    runs = [titled(whole, "a + b"), titled(whole, "a * b")]
    table = breakeven.across(runs)
    assert [panel["task"] for panel in breakeven.tasks(table)] == ["a + b", "a * b"]
    one = breakeven.table(breakeven.gather(whole)).drop(columns="task")
    for title in ("a + b", "a * b"):
        own = table[table["task"] == title].drop(columns="task").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, one)


def test_runs_of_one_task_are_told_apart_by_their_folders(whole: Results) -> None:
    other = replace(whole, folder=whole.folder.parent / "again")
    assert [panel["task"] for panel in breakeven.tasks(breakeven.across([whole, other]))] == [
        f"{whole.summary['title']} ({name})" for name in ("run", "again")
    ]


def test_the_answers_in_a_table_are_those_of_the_summaries(whole: Results) -> None:
    _, _, _, never = breakeven.as_markdown([whole, titled(censored(whole), "a - b")]).splitlines()
    study, (cells, _) = whole.summary["tradeoff"], answers([whole, titled(censored(whole), "a - b")])
    assert cells["task"] == whole.summary["title"] and cells["replicates"] == "12 x 1"
    assert cells["pays from weak accuracy, in FLOPs"] == f"{study['threshold']:.3f}"
    assert cells["by point estimates from"] == f"{study['crossing']:.3f}"
    assert cells["grid gap at the crossing"] == f"{study['resolution']:.3f}"
    assert "| no threshold |" in never and "at most" in never and "0 of 12" in never


def answers(runs: list[Results]) -> list[dict[str, str]]:
    """The rows of the Markdown table by the names of its columns."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in breakeven.as_markdown(runs).splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_every_priced_device_has_a_column_in_its_seconds(whole: Results) -> None:
    dear = whole.pricing.copy()
    slow = (dear["device"] == "a fast GPU") & (dear["method"] == "transfer")
    dear.loc[slow, "ms_per_epoch"] *= 1000
    unpriced = replace(titled(whole, "a * b"), pricing=pricing_frame([]))
    pays, never = answers([replace(whole, pricing=dear), unpriced])
    assert pays["in seconds on cpu"] == f"from {whole.summary['tradeoff']['threshold']:.3f}"
    assert pays["in seconds on a fast GPU"] == "no threshold"
    assert never["in seconds on cpu"] == never["in seconds on a fast GPU"] == "–"
    assert not any("seconds" in name for name in answers([unpriced])[0])


def test_a_threshold_at_the_lowest_level_may_lie_anywhere_below(folder: Path) -> None:
    (cells,) = answers([make(folder, Story(tradeoff_seeds=12, levels=(0.4, 0.5)))])
    told = cells["pays from weak accuracy, in FLOPs"]
    least = cells["meets scratch's cost between (95 %)"].split()[-1]
    assert told == f"at or below {least}, the least tried"
    assert cells["by point estimates from"] == told and cells["in seconds on cpu"] == f"from {told}"


def censored(results: Results) -> Results:
    """The same study where scratch never got there and nothing pays."""
    study = results.summary["tradeoff"]
    levels = [level | {"upper_bound": True} for level in study["levels"]]
    scratch = study["scratch"] | {"reached": 0, "censored": True}
    changed = study | {"levels": levels, "scratch": scratch, "threshold": None, "interval": [None, None]}
    return replace(results, summary={**results.summary, "tradeoff": changed})


@pytest.mark.parametrize("ask", [breakeven.across, breakeven.as_markdown])
def test_a_run_without_a_study_is_refused_by_name(whole: Results, ask: Any) -> None:
    without = replace(whole, summary={**whole.summary, "tradeoff": None})
    with pytest.raises(ResultsError, match="run measured no trade-off; leave it out"):
        ask([whole, without])
