from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import style, survival
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def members(method: str, epochs: list[int], reached: list[bool], seeds: int | None = None) -> pd.DataFrame:
    """Members that took, or were given up at, so many epochs of 1e9 FLOPs each."""
    return pd.DataFrame(
        {
            "run_id": [f"{method}{i}" for i in range(len(epochs))],
            "method": method,
            "status": ["cleared" if there else "exhausted" for there in reached],
            "seeds": pd.array([seeds or len(epochs)] * len(epochs), dtype="Int64"),
            "epochs": epochs,
            "epochs_to_goal": [e if there else None for e, there in zip(epochs, reached, strict=True)],
            "train_flops": [1e9 * e for e in epochs],
            "flops_to_goal": [1e9 * e if there else None for e, there in zip(epochs, reached, strict=True)],
        }
    )


# Of four seeds two get there at 10 and 20, one is given up at 20, one at 40.
FOUR = members("transfer", [10, 20, 20, 40], [True, True, False, False])
SLOW = members("scratch", [100, 200, 300, 400], [True, True, True, False])


def part(table: pd.DataFrame, kind: str, method: str = "transfer", unit: str = "epochs") -> pd.DataFrame:
    rows = (table["kind"] == kind) & (table["method"] == method) & (table["unit"] == unit)
    return table[rows].reset_index(drop=True)


def test_the_curve_is_kaplan_meiers() -> None:
    table = survival.table(FOUR)
    assert dict(table.dtypes.astype(str)) == survival.COLUMNS
    steps = part(table, "step")
    assert steps["x"].tolist() == [0, 10, 20, 40]
    assert steps["surviving"].tolist() == pytest.approx([1, 0.75, 0.5, 0.5])
    assert steps["at_risk"].tolist() == [4, 4, 3, 1]
    inside = steps.iloc[1:3]
    assert (inside["low"] < inside["surviving"]).all() and (inside["surviving"] < inside["high"]).all()
    assert part(table, "step", unit="flops")["x"].tolist() == [0, 1e10, 2e10, 4e10]


def test_who_was_given_up_is_a_tick_on_the_curve() -> None:
    ticks = part(survival.table(FOUR), "censored")
    assert list(zip(ticks["x"], ticks["surviving"], ticks["at_risk"], strict=True)) == [(20, 0.5, 1), (40, 0.5, 1)]


def test_the_median_and_the_test_stand_on_every_row() -> None:
    table = survival.table(pd.concat([SLOW, FOUR]))
    assert list(dict.fromkeys(table["method"])) == ["transfer", "scratch"], "the catalog's order"
    told = table.drop_duplicates(["unit", "method"]).set_index(["unit", "method"])
    assert told.loc[("epochs", "scratch"), "median"] == 250 and pd.isna(told.loc[("epochs", "transfer"), "median"])
    assert told.loc[("flops", "scratch"), "median"] == 250e9
    assert told["p"].isna().tolist() == [False, True, False, True]
    everybody = survival.table(pd.concat([SLOW, members("transfer", [10, 11, 12, 13], [True] * 4)]))
    assert 0 < everybody["p"].dropna().iloc[0] < 0.01
    assert survival.table(FOUR)["p"].isna().all()
    nobody = pd.concat([members("transfer", [400] * 3, [False] * 3), members("scratch", [400] * 3, [False] * 3)])
    assert survival.table(nobody)["p"].isna().all(), "nothing tells them apart"


def test_the_seeds_still_training_are_counted_on_a_grid_all_methods_share() -> None:
    table = survival.table(pd.concat([SLOW, FOUR]))
    counted = part(table, "at risk", "scratch")
    assert counted["x"].tolist() == part(table, "at risk")["x"].tolist() == [0, 100, 200, 300, 400]
    assert counted["at_risk"].tolist() == [4, 4, 3, 2, 1]
    assert part(table, "at risk")["at_risk"].tolist() == [4, 0, 0, 0, 0]


def test_a_pipeline_without_an_embedding_never_gets_there() -> None:
    table = survival.table(pd.concat([SLOW, members("transfer", [10, 20], [True, True], seeds=4)]))
    steps = part(table, "step")
    assert steps["surviving"].tolist() == pytest.approx([1, 0.75, 0.5, 0.5]) and steps["x"].iloc[-1] == 400
    assert part(table, "at risk")["at_risk"].tolist() == [4, 2, 2, 2, 2]
    assert set(steps["seeds"]) == {4} and part(table, "censored").empty


def test_goals_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    near, far = members("transfer", [10, 12], [True, True]), members("scratch", [9000, 10000], [True, True])
    table = survival.table(pd.concat([near, far]))
    assert table["log"].all() and not survival.table(SLOW)["log"].any()
    grid = part(table, "at risk")["x"].tolist()
    assert grid[0] == 0 and 5 <= grid[1] <= 20 and grid == sorted(grid)
    assert drawn(table).get_xscale() == "log"


def drawn(table: pd.DataFrame, **panel: Any) -> Axes:
    ax = Figure(figsize=(8, 6)).add_axes((0.3, 0.4, 0.5, 0.4))
    survival.draw(table, ax, **panel)
    ax.get_figure().draw_without_rendering()
    return ax


def test_curves_fall_in_the_methods_colour_with_a_marker_at_the_median() -> None:
    table = survival.table(pd.concat([SLOW, FOUR]))
    ax = drawn(table)
    lines = {(line.get_color(), line.get_drawstyle(), tuple(line.get_xdata())) for line in ax.lines}
    assert (style.colour("scratch"), "steps-post", (0, 100, 200, 300, 400)) in lines
    points = {tuple(xy): line.get_marker() for line in ax.lines for xy in line.get_xydata().tolist()}
    assert points[(250, 0.5)] == style.marker("scratch")
    assert points[(20, 0.5)] == points[(40, 0.5)] == "|"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["transfer, 2 of 4", "scratch, 3 of 4"]
    p = style.p_value(table["p"].dropna().iloc[0])
    test = ax.get_legend().get_title()
    assert test.get_text() == f"log-rank, transfer and scratch: p {p}"
    assert test.get_window_extent().y0 > ax.get_window_extent().y1, "above the axes: no curve runs through it"
    assert drawn(survival.table(FOUR)).get_legend().get_title().get_text() == ""


def test_an_open_marker_is_of_a_method_without_a_median_and_the_caption_says_so() -> None:
    ax = drawn(survival.table(pd.concat([SLOW, members("transfer", [400] * 3, [False] * 3)])))
    filled = {
        line.get_color(): line.get_markerfacecolor() != "white"
        for line in ax.lines
        if line.get_marker() in (style.marker("transfer"), style.marker("scratch"))
    }
    assert filled == {style.colour("transfer"): False, style.colour("scratch"): True}
    assert "an open one only tells the line" in survival.CAPTION


def test_numbers_under_the_axis_do_not_touch_each_other_or_the_label() -> None:
    methods = ("transfer", "scratch", "lowrank_random", "transfer_shuffled", "onehot", "fourier")
    ax = drawn(survival.table(pd.concat([members(method, [100, 300], [True, False]) for method in methods])))
    figure = ax.get_figure()
    boxes = [text.get_window_extent() for text in [*ax.texts, ax.xaxis.label] if text.get_text()]
    boxes += [label.get_window_extent() for label in ax.get_xticklabels()]
    assert figure is not None and len(boxes) > 30
    shrunk = [box.padded(-1) for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(shrunk) for b in shrunk[:i])


@pytest.mark.parametrize("unit", ["epochs", "flops"])
@pytest.mark.parametrize(
    "story",
    [
        Story(seeds=1, architectures=5, levels=()),
        Story(transfer_reaches=False, scratch_reaches=False, architectures=5, levels=()),
        Story(methods=("transfer",), architectures=5, levels=()),
    ],
)
def test_it_draws_whatever_happened(folder: Path, story: Story, unit: str) -> None:
    table = survival.table(survival.gather(make(folder, story)))
    assert "not reached" in drawn(table, unit=unit).get_ylabel()
    steps = table[table["kind"] == "step"]
    assert steps["surviving"].between(0, 1).all() and np.isfinite(steps["x"].astype(float)).all()


def test_only_the_claims_members_are_gathered(usual: Results) -> None:
    frame = survival.gather(usual)
    claimed = usual.trials.set_index("run_id").loc[frame["run_id"]]
    assert set(claimed["role"]) == {"report"} and set(claimed["stage"]) == {"target"} and len(frame) == 40


def test_nothing_to_draw_is_said_in_words() -> None:
    table = survival.table(FOUR.iloc[:0])
    assert "report seeds" in (survival.nothing(table) or "")
    assert "report seeds" in drawn(table).texts[0].get_text().replace("\n", " ")
