from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import style, tuning
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def run(method: str, role: str, config: str, epochs: int, reached: bool = True, **more: Any) -> dict[str, Any]:
    """A run of so many epochs, each of one FLOP."""
    return {
        "stage": "weak" if method == "weak" else "target",
        "method": method,
        "role": role,
        "status": "cleared" if reached else "exhausted",
        "config_id": config,
        "weak_config": None,
        "epochs": epochs,
        "epochs_to_goal": epochs if reached else None,
        "train_flops": float(epochs),
        "budget": 100,
    } | more


def table_of(*rows: dict[str, Any]) -> pd.DataFrame:
    return tuning.table(pd.DataFrame(rows).astype({"epochs_to_goal": "Int64", "epochs": "Int64"}))


def part(table: pd.DataFrame, name: str, method: str = "scratch") -> pd.DataFrame:
    return table[(table["part"] == name) & (table["method"] == method)].reset_index(drop=True)


def steps(table: pd.DataFrame, method: str = "scratch") -> list[tuple[float, float | None, bool]]:
    own = part(table, "spent", method)
    return [
        (x, None if pd.isna(best) else best, bool(verified))
        for x, best, verified in zip(own["x"], own["best"], own["verified"], strict=True)
    ]


SEARCH = [
    run("scratch", "search", "a", 100, reached=False),
    run("scratch", "search", "b", 60),
    run("scratch", "search", "c", 40),
    run("scratch", "search", "d", 70),
]


def test_before_the_gate_the_best_so_far_is_the_search_seeds() -> None:
    table = table_of(*SEARCH)
    assert dict(table.dtypes.astype(str)) == tuning.COLUMNS
    assert steps(table) == [(100, None, False), (160, 60, False), (200, 40, False), (270, 40, False)]
    assert set(table["configs"]) == {4} and set(table["missed"]) == {1} and set(table["budget"]) == {100}


def test_a_config_is_verified_by_the_median_of_its_gate_once_that_is_in() -> None:
    gates = [run("scratch", "gate", "c", epochs) for epochs in (50, 80, 60)]
    gates += [run("scratch", "gate", "b", 50), run("scratch", "gate", "b", 100, reached=False)]
    gates += [run("scratch", "gate", "b", 52)]
    found = steps(table_of(*SEARCH, *gates))
    assert found[-2:] == [(270 + 190, 60, True), (270 + 190 + 202, 52, True)]
    assert found[-3] == (200, 40, False)
    never = [run("scratch", "gate", "c", 100, reached=False) for _ in range(3)]
    assert steps(table_of(*SEARCH, *never))[-1] == (570, 40, False), "a gate that failed verifies nothing"


def test_transfer_pays_for_the_weak_search_and_is_verified_for_one_weak_config() -> None:
    table = table_of(
        run("weak", "search", "w", 500),
        run("scratch", "search", "a", 60),
        run("transfer", "probe", "p", 30),
        run("transfer", "search", "t", 20, weak_config="one"),
        run("transfer", "gate", "t", 10, weak_config="one"),
        run("transfer", "gate", "t", 30, weak_config="two"),
        run("transfer", "search", "u", 5, status="cancelled", weak_config="one"),
    )
    assert steps(table, "transfer") == [(500, None, False), (550, 20, False), (560, 10, True), (595, 10, True)]
    assert steps(table) == [(60, 60, False)]
    assert set(part(table, "draws", "transfer")["configs"]) == {1}, "a cancelled run is spend and no evidence"


def test_the_expected_best_of_n_counts_a_miss_as_the_budget() -> None:
    draws = part(table_of(*SEARCH), "draws")
    assert draws["x"].tolist() == [1, 2, 3, 4]
    pairs = [60, 40, 70, 40, 60, 40]  # the least of every two of 100, 60, 40, 70
    assert draws["best"].tolist() == pytest.approx([270 / 4, sum(pairs) / 6, (40 * 3 + 60) / 4, 40])
    assert (draws["low"] <= draws["best"]).all() and (draws["best"] <= draws["high"]).all()


def test_a_config_that_was_cut_lies_between_the_epochs_it_ran_and_the_budget() -> None:
    """Of 60, 40 and one cut at 50: whether a set without the 40 holds 50 or 100 is not known; with it, it is 40."""
    cut = run("scratch", "search", "d", 50, reached=False, status="capped")
    draws = part(table_of(run("scratch", "search", "b", 60), run("scratch", "search", "c", 40), cut), "draws")
    assert draws["best"].tolist() == pytest.approx([(60 + 40 + 50) / 3, (40 + 50 + 40) / 3, 40])
    assert draws["most"].tolist() == pytest.approx([(60 + 40 + 100) / 3, (40 + 60 + 40) / 3, 40])
    assert (draws["low"] <= draws["best"]).all() and (draws["most"] <= draws["high"]).all()
    whole = part(table_of(*SEARCH), "draws")
    assert whole["best"].tolist() == whole["most"].tolist(), "nobody was cut"


def test_both_bounds_are_drawn_and_the_caption_says_what_they_are() -> None:
    cut = run("scratch", "search", "d", 50, reached=False, status="capped")
    table = table_of(run("scratch", "search", "b", 60), run("scratch", "search", "c", 40), cut)
    heights = [line.get_ydata()[0] for line in drawn(table, part="draws").lines if len(line.get_ydata()) == 3]
    assert heights == pytest.approx([200 / 3, 50])
    never = [run("onehot", "search", f"o{i}", 50, reached=False, status="capped") for i in range(3)]
    heights = [list(line.get_ydata()) for line in drawn(table_of(*never), part="draws").lines]
    assert {round(height) for one in heights for height in one} == {100}, "when it was cut is no result"
    for words in ("at least", "at most", "1.5 times", "no independent draws"):
        assert words in tuning.CAPTION


def test_without_a_budget_in_the_experiment_the_longest_run_stands_for_it() -> None:
    frame = pd.DataFrame(SEARCH).astype({"epochs_to_goal": "Int64", "epochs": "Int64"})
    assert set(tuning.table(frame.assign(budget=None))["budget"]) == {100}


def test_a_long_search_is_thinned_to_its_steps() -> None:
    many = [run("scratch", "search", f"c{i}", 90 if i % 2 else 95) for i in range(1000)]
    table = table_of(*many)
    assert len(part(table, "spent")) == 3 and part(table, "spent")["x"].iloc[-1] == 92500
    assert len(part(table, "draws")) == 400 and part(table, "draws")["low"].isna().all()


def test_only_searches_are_gathered_in_the_order_they_came_in(usual: Results) -> None:
    trials = usual.trials.assign(elapsed_seconds=pd.array(range(len(usual.trials))[::-1], dtype="Float64"))
    frame = tuning.gather(Results(**{**vars(usual), "trials": trials}))
    assert set(frame["role"]) == {"search", "gate"}
    expected = trials[trials["purpose"].isin(["target_search", "weak_search", "weak_gate"])]["run_id"].tolist()[::-1]
    assert frame["run_id"].tolist() == expected
    assert tuning.gather(usual)["run_id"].tolist() == expected[::-1], "without a clock, as the log has them"


def drawn(table: pd.DataFrame, **panel: Any) -> Axes:
    ax = Figure(figsize=(8, 6)).add_subplot()
    tuning.draw(table, ax, **panel)
    ax.get_figure().draw_without_rendering()
    return ax


def test_a_line_is_thin_until_it_is_verified() -> None:
    table = table_of(*SEARCH, *(run("scratch", "gate", "c", 50) for _ in range(2)))
    lines = {tuple(line.get_ydata()): line for line in drawn(table).lines if line.get_drawstyle() == "steps-post"}
    [thin] = [line for y, line in lines.items() if 40 in y]
    [thick] = [line for y, line in lines.items() if set(y) == {50.0}]
    assert thin.get_linewidth() < thick.get_linewidth()
    assert thin.get_color() == thick.get_color() == style.colour("scratch")


def test_a_method_that_never_got_there_stands_above_all_epochs() -> None:
    table = table_of(*SEARCH, *(run("onehot", "search", f"o{i}", 100, reached=False) for i in range(3)))
    ax = drawn(table)
    [line] = [line for line in ax.lines if line.get_marker() == style.marker("onehot")]
    [height] = line.get_ydata()
    assert 0.8 < height < 1 and line.get_transform() == ax.get_xaxis_transform()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["scratch, 1 of 4 missed", "onehot, 3 of 3 missed"]


@pytest.mark.parametrize("name", ["spent", "draws"])
@pytest.mark.parametrize(
    "story",
    [
        Story(seeds=1, architectures=5, levels=()),
        Story(transfer_reaches=False, scratch_reaches=False, architectures=5, levels=()),
        Story(methods=("transfer",), architectures=5, levels=()),
        Story(weak=False, methods=("scratch", "fourier"), rises={"fourier": 60}, architectures=0, levels=()),
    ],
)
def test_it_draws_whatever_happened(folder: Path, story: Story, name: str) -> None:
    results = make(folder, story)
    table = tuning.table(tuning.gather(results))
    assert set(table["method"]) == set(story.methods)
    assert "epochs to the goal" in drawn(table, part=name).get_ylabel()


def test_nothing_to_draw_is_said_in_words() -> None:
    table = tuning.table(pd.DataFrame(SEARCH).iloc[:0])
    assert "No target was tuned" in (tuning.nothing(table) or "")
    assert "No target was tuned" in drawn(table).texts[0].get_text().replace("\n", " ")
