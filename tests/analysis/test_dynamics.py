from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import dynamics, style
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def curve(run_id: str, epochs: list[int], accuracy: list[float], method: str = "transfer") -> pd.DataFrame:
    """A member whose epochs take a tenth of a second each and whose training leads by 0.1."""
    return pd.DataFrame(
        {
            "run_id": run_id,
            "method": method,
            "status": "cleared" if accuracy[-1] >= 0.99 else "exhausted",
            "goal": 0.99,
            "epoch": epochs,
            "train_seconds": [e / 10 for e in epochs],
            "train_accuracy": [min(1.0, a + 0.1) for a in accuracy],
            "val_accuracy": accuracy,
        }
    )


THREE = pd.concat(
    [
        curve("a", [0, 10], [0.0, 1.0]),
        curve("b", [0, 10, 20], [0.0, 0.2, 1.0]),
        curve("c", [0, 10, 20, 30], [0.0, 0.1, 0.3, 0.4]),
    ]
)


def part(frame: pd.DataFrame, name: str, kind: str = "epoch") -> pd.DataFrame:
    table = dynamics.table(frame)
    return table[(table["part"] == name) & (table["kind"] == kind)].reset_index(drop=True)


def test_a_member_that_stopped_holds_its_last_value() -> None:
    line = part(THREE, "validation")
    assert line["x"].tolist() == [0, 10, 20, 30]
    assert line["median"].tolist() == pytest.approx([0.0, 0.2, 1.0, 1.0])
    assert line["low"].tolist() == pytest.approx([0.0, 0.15, 0.65, 0.7])
    assert line["high"].tolist() == pytest.approx([0.0, 0.6, 1.0, 1.0])
    assert line["running"].tolist() == [3, 3, 2, 1]
    assert set(line["members"]) == {3} and set(line["reached"]) == {2} and set(line["goal"]) == {0.99}
    assert part(THREE, "train")["median"].tolist() == pytest.approx([0.1, 0.3, 1.0, 1.0])


def test_seconds_are_read_off_a_common_grid() -> None:
    line = part(THREE, "validation", "train_seconds")
    assert (line["x"].iloc[0], line["x"].iloc[-1]) == (0.0, 3.0)
    middle = np.interp(1.5, line["x"], line["median"])
    assert middle == pytest.approx(0.6, abs=0.01)  # a holds 1, b is at 0.6, c at 0.2


def test_the_order_of_rows_says_nothing() -> None:
    shuffled = THREE.sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(dynamics.table(shuffled), dynamics.table(THREE))


def test_a_value_that_is_not_known_is_left_out_of_its_own_line_alone() -> None:
    broken = THREE.assign(val_accuracy=THREE["val_accuracy"].where(THREE["epoch"] != 20))
    assert part(broken, "validation")["x"].tolist() == [0, 10, 30]
    assert part(broken, "train")["x"].tolist() == [0, 10, 20, 30]


def test_long_curves_are_thinned_with_their_ends() -> None:
    long = curve("a", list(range(0, 50_000, 5)), [i / 10_000 for i in range(10_000)])
    line = part(long, "validation")
    assert len(line) == 400 and (line["x"].iloc[0], line["x"].iloc[-1]) == (0, 49_995)
    assert line["median"].tolist() == pytest.approx((line["x"] / 50_000).tolist())


def test_a_member_without_a_curve_counts_as_a_seed() -> None:
    failed = pd.DataFrame({"run_id": ["d"], "method": ["transfer"], "status": ["failed"], "goal": [0.99]})
    line = part(pd.concat([THREE, failed]), "validation")
    assert set(line["members"]) == {3} and set(line["seeds"]) == {4} and set(line["reached"]) == {2}
    assert dynamics.table(failed.reindex(columns=list(THREE))).empty


def test_the_claims_count_of_seeds_stands(usual: Results) -> None:
    results = usual
    results.summary["methods"]["transfer"]["seeds"] = 12  # two pipelines gave no embedding
    try:
        table = dynamics.table(dynamics.gather(results))
    finally:
        results.summary["methods"]["transfer"]["seeds"] = 10
    seeds = table.drop_duplicates("method").set_index("method")["seeds"]
    assert (seeds["transfer"], seeds["scratch"]) == (12, 10)


def test_members_of_winners_that_were_withdrawn_are_left_out(usual: Results) -> None:
    frame = dynamics.gather(usual)
    mine = frame.loc[frame["method"] == "transfer", "run_id"].unique()[:4].tolist()
    usual.summary["methods"]["transfer"]["run_ids"] = mine
    try:
        left = dynamics.gather(usual)
    finally:
        del usual.summary["methods"]["transfer"]["run_ids"]
    assert set(left.loc[left["method"] == "transfer", "run_id"]) == set(mine)
    assert left.loc[left["method"] == "scratch", "run_id"].nunique() == 10


def test_only_report_members_of_the_target_are_gathered(usual: Results) -> None:
    frame = dynamics.gather(usual)
    members = usual.trials.set_index("run_id").loc[frame["run_id"].unique()]
    assert set(members["role"]) == {"report"} and set(members["stage"]) == {"target"}
    assert frame["run_id"].nunique() == 40


def drawn(table: pd.DataFrame, x: str = "epoch") -> Axes:
    ax = Figure().add_subplot()
    dynamics.draw(table, ax, x=x)
    ax.get_figure().draw_without_rendering()
    return ax


def test_validation_is_solid_training_dashed_in_the_methods_colour() -> None:
    ax = drawn(dynamics.table(THREE))
    lines = {(line.get_linestyle(), tuple(line.get_xdata())): line for line in ax.lines}
    solid, dashed = lines["-", (0, 10, 20)], lines["--", (0, 10, 20)]
    assert list(solid.get_ydata()) == pytest.approx([0.0, 0.2, 1.0])
    assert list(dashed.get_ydata()) == pytest.approx([0.1, 0.3, 1.0])
    assert solid.get_color() == dashed.get_color() == style.colour("transfer")
    thin = lines["-", (20, 30)]  # fewer than half of the seeds are still training
    assert thin.get_linewidth() < solid.get_linewidth()
    assert "transfer, 2 of 3" in [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("x", ["epoch", "train_seconds"])
@pytest.mark.parametrize(
    "story", [Story(seeds=1), Story(transfer_reaches=False, architectures=9), Story(methods=("transfer",))]
)
def test_it_draws_whatever_happened(folder: Path, story: Story, x: str) -> None:
    assert drawn(dynamics.table(dynamics.gather(make(folder, story))), x).get_ylabel() == "accuracy"


def test_nothing_to_draw_is_said_in_words(folder: Path) -> None:
    table = dynamics.table(
        dynamics.gather(make(folder, Story(pays=False, clears=False, architectures=9, methods=("transfer",))))
    )
    assert dynamics.nothing(table)
    assert "report seeds" in drawn(table).texts[0].get_text().replace("\n", " ")
