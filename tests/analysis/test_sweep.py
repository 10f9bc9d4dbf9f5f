from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import style, sweep
from gtsearch.results import Results
from tests.analysis.synthetic import Story, Variation, make

VARIED = Story(
    architectures=16,
    levels=(),
    methods=("transfer", "scratch"),
    seeds=3,
    probes=("loss",),
    variations={
        "p 29": Variation({"task.p": 29}, 1.5),
        "p 59": Variation({"task.p": 59}, 2.0),
        "neurons 1": Variation({"weak.model.d_embed": 1, "weak.judge.by": "none"}),
        "neurons 16": Variation({"weak.model.d_embed": 16, "weak.judge.by": "none"}),
        "depth 3": Variation({"weak.model.depth": 3}),
        "wide": Variation({"target.model.width": 64}),
        "option 7": Variation({"target.model.width": 32}),
    },
)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make(tmp_path_factory.mktemp("sweep") / "run", VARIED)


def rows(name: str, over: dict[float, list[float]], who: str = "transfer", there: bool = True) -> list[dict[str, Any]]:
    return [
        {"measure": name, "sweep": "n", "x": x, "variation": f"n {x}", "who": who, "value": value, "there": there}
        for x, values in over.items()
        for value in values
    ]


def names(name: str, values: dict[str, list[float]], who: str = "transfer") -> list[dict[str, Any]]:
    return [
        {"measure": name, "sweep": "", "x": None, "variation": v, "who": who, "value": value, "there": True}
        for v, own in values.items()
        for value in own
    ]


POWER = {float(x): [x**-0.5 * f for f in (0.95, 1.0, 1.05)] for x in (100, 200, 400, 1600)}


def test_numbers_are_a_sweep_with_base_at_its_own_value_and_names_are_not(varied: Results) -> None:
    placed = [(place.sweep, place.variation, place.x) for place in sweep.places(varied)]
    assert placed == [
        ("p", "p 29", 29.0),
        ("p", "p 59", 59.0),
        ("p", "base", 113.0),
        ("neurons", "neurons 1", 1.0),  # two paths are changed: base has no place there
        ("neurons", "neurons 16", 16.0),
        ("", "base", None),
        ("", "depth 3", None),  # one number alone, and the experiment's own is not known
        ("", "wide", None),
        ("", "option 7", None),  # 7 was set nowhere
    ]


def test_the_slope_is_of_the_medians_in_logarithms() -> None:
    table = sweep.table(
        pd.DataFrame([*rows("norm", POWER), *rows("flat", {x: [2.0, 2.1, 2.0 + x * 1e-9] for x in POWER})])
    )
    norm, flat = sweep.slopes(table)
    assert (norm["measure"], norm["sweep"], norm["who"]) == ("norm", "n", "transfer")
    assert norm["slope"] == pytest.approx(-0.5) and norm["slope_low"] < -0.5 < norm["slope_high"]
    assert flat["slope"] == pytest.approx(0.0, abs=1e-6)
    assert sweep.slope_text(flat).startswith("slope 0.00 [")
    assert sweep.slope_text(norm).startswith("slope -0.50 [-0.5")
    assert table.loc[table["x"] == 400, "median"].tolist() == pytest.approx([0.05, 2.0], abs=1e-6)


def test_what_is_censored_or_not_positive_has_no_slope() -> None:
    censored = rows("gap", {400.0: [9.0]}, there=False) + rows("gap", {x: v for x, v in POWER.items() if x != 400})
    assert sweep.slopes(sweep.table(pd.DataFrame(censored))) == []
    negative = rows("gap", {x: [-1.0, 0.0] for x in POWER})
    assert sweep.slopes(sweep.table(pd.DataFrame(negative))) == []
    same_runs = rows("gap", {x: [1.0, 2.0] for x in POWER})
    assert sweep.slopes(sweep.table(pd.DataFrame(same_runs))) == []
    assert sweep.slopes(sweep.table(pd.DataFrame(names("norm", {"base": [1.0], "wide": [2.0]})))) == []


def test_a_measure_of_which_no_median_is_known_is_left_out() -> None:
    table = sweep.table(pd.DataFrame([*rows("gap", POWER, there=False), *rows("norm", POWER)]))
    assert set(table["measure"]) == {"norm"}


def panels(table: pd.DataFrame) -> list[Axes]:
    width, height = sweep.size(table)
    figure = Figure(figsize=(width + 2, height + 2))
    ax = figure.add_axes((1 / (width + 2), 1 / (height + 2), width / (width + 2), height / (height + 2)))
    sweep.draw(table, ax)
    figure.draw_without_rendering()
    assert not ax.axison
    return list(ax.child_axes)


def test_a_number_is_an_axis_and_a_far_one_is_logarithmic() -> None:
    near = {x: v for x, v in POWER.items() if x < 1000}
    far_panel, *_ = panels(sweep.table(pd.DataFrame(rows("norm", POWER))))
    near_panel, *_ = panels(sweep.table(pd.DataFrame(rows("norm", near))))
    assert (far_panel.get_xscale(), near_panel.get_xscale()) == ("log", "linear")
    assert far_panel.get_xlabel() == "n"
    assert "slope -0.50 [" in far_panel.get_title(loc="left") + far_panel.get_title()
    dots = {
        (float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 3))
        for line in far_panel.lines
        if line.get_marker() == style.marker("transfer")
    }
    assert {(100.0, 0.1), (400.0, 0.05), (1600.0, 0.025)} <= dots


def test_variations_that_are_no_numbers_are_rows_and_what_was_not_seen_is_an_open_triangle() -> None:
    frame = pd.DataFrame(names("norm", {"base": [1.0, 2.0], "wide": [3.0, 4.0]}))
    frame = pd.concat([frame, frame.assign(who="scratch", value=9.0, there=False)])
    (panel,) = panels(sweep.table(frame))
    assert [label.get_text() for label in panel.get_yticklabels()] == ["base", "wide"]
    assert sum(line.get_marker() == ">" and line.get_markerfacecolor() == "white" for line in panel.lines) == 2


def test_a_run_is_drawn_with_a_panel_a_measure_and_sweep_and_none_touch(varied: Results) -> None:
    table = sweep.table(sweep.gather(varied))
    assert list(dict.fromkeys(table["measure"])) == ["probe:loss", "time_gap", "weak_accuracy", "epochs"]
    assert {"transfer", "scratch"} <= set(table.loc[table["measure"] == "probe:loss", "who"])
    drawn = panels(table)
    assert len(drawn) == len(table.drop_duplicates(["measure", "sweep"])) > 9
    boxes = [panel.get_tightbbox() for panel in drawn]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_forty_variations_stay_readable() -> None:
    frame = pd.DataFrame(names("norm", {f"a long name of variation number, {i:02}": [1.0, 2.0] for i in range(40)}))
    (panel,) = panels(sweep.table(frame))
    boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
    assert len(boxes) == 40 and not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) > 0


def test_nothing_to_draw_is_said_in_words(usual: Results, folder: Path) -> None:
    table = sweep.table(sweep.gather(usual))
    assert "not varied" in (sweep.nothing(table) or "")
    figure = Figure()
    ax = figure.add_subplot()
    sweep.draw(table, ax)
    assert "not varied" in ax.texts[0].get_text().replace("\n", " ")
