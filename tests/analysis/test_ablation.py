from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import ablation, report, stats, style, tables
from gtsearch.analysis.evidence import Evidence
from gtsearch.results import Results
from tests.analysis.synthetic import Story, Variation, make


def members(variation: str, method: str, epochs: list[int | None], seeds: int | None = None) -> pd.DataFrame:
    """A member a seed, 0 and up; None for one that trained 400 epochs in vain."""
    n = len(epochs)
    return pd.DataFrame(
        {
            "variation": variation,
            "changes": "" if variation == "base" else "target.model.width 8",
            "kind": "method",
            "name": method,
            "seeds": seeds or n,
            "reached": pd.NA,
            "run_id": [f"{variation}-{method}-{i}" for i in range(n)],
            "seed": list(range(n)),
            "status": ["exhausted" if e is None else "cleared" for e in epochs],
            "epochs": [400 if e is None else 2 * e for e in epochs],
            "epochs_to_goal": pd.array(epochs, dtype="Int64"),
        }
    )


FRAME = pd.concat(
    [
        members("base", "transfer", [10, 20, 30, 40, 50, 60]),
        members("base", "scratch", [100, None, None, None]),
        members("slow", "transfer", [15, 20, 50, None, None, None]),
        members("slow", "scratch", [100, 110, 120, 130]),
    ],
    ignore_index=True,
)


def row(table: pd.DataFrame, variation: str, name: str) -> dict[str, Any]:
    found = [r for r in stats.records(table) if (r["variation"], r["name"]) == (variation, name)]
    assert len(found) == 1
    return found[0]


def test_the_table_counts_and_compares_seed_by_seed() -> None:
    table = ablation.table(FRAME)
    assert dict(table.dtypes.astype(str)) == ablation.COLUMNS
    assert table["variation"].tolist() == ["base", "base", "slow", "slow"]
    assert table["name"].tolist() == ["transfer", "scratch"] * 2
    slow = row(table, "slow", "transfer")
    assert (slow["reached"], slow["seeds"]) == (3, 6)
    assert (slow["low"], slow["high"]) == pytest.approx(stats.wilson(3, 6))
    assert slow["median"] is None and slow["cap"] == 400
    assert (slow["pairs"], slow["difference"]) == (3, 5.0)  # +5, 0, +20
    assert slow["difference_low"] == 0 and slow["difference_high"] == 20
    assert (slow["lost"], slow["won"], slow["p"]) == (3, 0, 0.25)
    won = row(table, "slow", "scratch")
    assert (won["lost"], won["won"], won["pairs"], won["median"]) == (0, 3, 1, 115)
    base = row(table, "base", "transfer")
    assert base["median"] == 35 and base["pairs"] is None and base["p"] is None


def test_a_pipeline_without_an_embedding_is_a_miss_on_the_seed_that_only_the_other_has() -> None:
    frame = pd.concat([members("base", "transfer", [10, 20, 30]), members("slow", "transfer", [12, 20], seeds=3)])
    slow = row(ablation.table(frame), "slow", "transfer")
    assert (slow["reached"], slow["seeds"], slow["lost"], slow["pairs"]) == (2, 3, 1, 2)
    assert slow["median"] == 20
    none_ran = members("slow", "transfer", [None], seeds=3).assign(run_id=pd.NA, seed=pd.NA, status=pd.NA, epochs=pd.NA)
    never = row(ablation.table(pd.concat([members("base", "transfer", [10, 20, 30]), none_ran])), "slow", "transfer")
    assert (never["reached"], never["seeds"], never["lost"], never["cap"]) == (0, 3, 3, None)


def test_the_cap_is_of_those_that_did_not_get_there_and_not_how_far_the_others_ran_on() -> None:
    frame = pd.concat([members("base", "transfer", [300, 350]), members("slow", "transfer", [300, None])])
    assert row(ablation.table(frame), "base", "transfer")["cap"] is None  # they ran on to 700
    assert row(ablation.table(frame), "slow", "transfer")["cap"] == 400
    given = ablation.table(frame.assign(cap=500.0))
    assert [row(given, name, "transfer")["cap"] for name in ("base", "slow")] == [500, 400]


def test_the_cap_of_a_run_is_what_its_spec_allows(varied: Results) -> None:
    spec = varied.spec_text + "  budget: {configs: 1, max_epochs: 900}\n"
    table = ablation.table(ablation.gather(dataclasses.replace(varied, spec_text=spec)))
    assert row(table, "base", "transfer")["cap"] == 900
    summary = copy.deepcopy(varied.summary)
    summary["variations"]["merged, late"]["changes"]["target.budget.max_epochs"] = 700
    summary["variations"]["base"]["summary"]["methods"]["scratch"]["cap_epochs"] = 650
    table = ablation.table(ablation.gather(dataclasses.replace(varied, spec_text=spec, summary=summary)))
    assert row(table, "merged, late", "transfer")["cap"] == 700
    assert row(table, "base", "scratch")["cap"] == 650


def test_the_very_same_runs_are_not_compared() -> None:
    shared = members("base", "scratch", [100, 110, 120])
    same = row(ablation.table(pd.concat([shared, shared.assign(variation="slow")])), "slow", "scratch")
    assert (same["reached"], same["pairs"], same["difference"], same["p"]) == (3, None, None, None)


VARIED = Story(
    architectures=16,
    levels=(),
    methods=("transfer", "scratch"),
    seeds=6,
    variations={
        "merged, late": Variation({"target.options.transfer.merge_at": 100}, 2.0),
        "weak width 4": Variation({"weak.model.width": 4, "weak.search": None}, 1.0, 5),
    },
)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make(tmp_path_factory.mktemp("varied") / "run", VARIED)


def test_a_run_is_read_by_variation_with_its_weak_models(varied: Results) -> None:
    table = ablation.table(ablation.gather(varied))
    assert list(dict.fromkeys(table["variation"])) == ["base", "merged, late", "weak width 4"]
    assert table["name"].tolist()[:4] == ["weak seeds", "pipelines", "transfer", "scratch"]
    pays = varied.summary["weak"]["pays"]
    weak = row(table, "base", "weak seeds")
    assert (weak["reached"], weak["seeds"]) == (pays["cleared"], pays["seeds"]) and weak["median"] is None
    assert row(table, "base", "pipelines")["reached"] == pays["transferred"]
    merged, narrow = row(table, "merged, late", "transfer"), row(table, "weak width 4", "transfer")
    assert (merged["reached"], merged["lost"], merged["p"]) == (6, 0, 1.0)
    assert merged["difference"] > 10 and merged["changes"] == "target.options.transfer.merge_at 100"
    assert (narrow["reached"], narrow["lost"], narrow["p"]) == (1, 5, 0.0625)
    assert narrow["changes"] == "weak.model.width 4, weak.search none"
    assert row(table, "merged, late", "scratch")["pairs"] is None  # its rows count for all


def test_the_median_of_the_summary_stands(varied: Results) -> None:
    frame = ablation.gather(varied)
    taken, computed = (ablation.table(f) for f in (frame, frame.drop(columns=["median", "median_low", "median_high"])))
    pd.testing.assert_series_equal(taken["median"], computed["median"])
    record = varied.summary["variations"]["merged, late"]["summary"]["methods"]["transfer"]["epochs_to_goal"]
    found = row(taken, "merged, late", "transfer")
    assert [found["median"], found["median_low"], found["median_high"]] == [record["median"], *record["interval"]]


def test_without_a_varied_weak_stage_weak_models_are_left_out(folder: Path) -> None:
    story = Story(**{**vars(VARIED), "variations": {"wide": Variation({"target.model.width": 64})}})
    table = ablation.table(ablation.gather(make(folder, story)))
    assert set(table["kind"]) == {"method"}


def drawn(table: pd.DataFrame, x: str) -> Axes:
    figure = Figure(figsize=(9, 6))
    ax = figure.add_subplot()
    ablation.draw(table, ax, x=x)
    figure.draw_without_rendering()
    return ax


def marks(ax: Axes) -> set[tuple[float, str, str]]:
    """x, marker and colour of all single marks."""
    return {
        (float(line.get_xdata()[0]), line.get_marker(), line.get_color())
        for line in ax.lines
        if line.get_linestyle() == "None" and len(line.get_xdata()) == 1
    }


def test_shares_are_drawn_in_the_methods_look() -> None:
    ax = drawn(ablation.table(FRAME), "share")
    blue, orange = style.colour("transfer"), style.colour("scratch")
    assert marks(ax) == {(1.0, "o", blue), (0.5, "o", blue), (0.25, "s", orange), (1.0, "s", orange)}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["base", "slow"]


def test_a_censored_median_is_an_open_triangle_at_the_cap() -> None:
    ax = drawn(ablation.table(FRAME), "epochs")
    blue, orange = style.colour("transfer"), style.colour("scratch")
    assert {(35.0, "o", blue), (400.0, ">", blue), (400.0, ">", orange), (115.0, "s", orange)} <= marks(ax)
    open_marks = [line for line in ax.lines if line.get_marker() == ">"]
    assert all(line.get_markerfacecolor() in ("none", "white") for line in open_marks)


@pytest.mark.parametrize("x", ["share", "epochs"])
def test_sixty_variations_stay_readable(x: str) -> None:
    frame = pd.concat(
        [members("base" if i == 0 else f"a long name of a variation {i:02}", "transfer", [30, 40]) for i in range(61)]
    )
    table = ablation.table(frame.assign(median=35.0, median_low=30.0, median_high=40.0))
    width, height = ablation.size(table)
    figure = Figure(figsize=(width + 3, height + 2))
    ax = figure.add_axes((2.6 / (width + 3), 1 / (height + 2), width / (width + 3), height / (height + 2)))
    ablation.draw(table, ax, x=x)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert len(boxes) == 61 and 5 < height < 30
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) > 0


def test_nothing_to_draw_is_said_in_words(usual: Results) -> None:
    table = ablation.table(ablation.gather(usual))
    assert "not varied" in (ablation.nothing(table) or "")
    assert "not varied" in drawn(table, "share").texts[0].get_text().replace("\n", " ")


def test_the_report_has_a_table_of_ablations(varied: Results, usual: Results) -> None:
    found = next(table for table in tables.of_run(varied, Evidence(varied)) if table.title == "Ablations")
    texts = [[cell.text for cell in row] for row in found.rows]
    cells = {(r[2], i // 4): r for i, r in enumerate(texts)}
    assert cells["transfer", 0][3] == "6 of 6" and cells["transfer", 0][6] == ""
    assert cells["transfer", 1][6].startswith("+") and cells["transfer", 1][8] == "1"
    assert cells["scratch", 1][6] == "same runs"
    assert cells["transfer", 2][5] == "–" and cells["transfer", 2][8] == "0.062"
    page = report.write_report(varied).read_text("utf-8")
    assert "Ablations" in page and "What does each change do?" in page
    assert not next(table for table in tables.of_run(usual, Evidence(usual)) if table.title == "Ablations").rows
