from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import stats, timegap
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def frame(
    method: str, marks: list[tuple[int | None, int | None]], seeds: int | None = None, status: str = "exhausted"
) -> pd.DataFrame:
    """Members of 500 epochs, by when they came to 95 % of training and of validation."""
    made = pd.DataFrame(
        {
            "method": method,
            "run_id": [f"{method}-{i}" for i in range(len(marks))],
            "status": status,
            "epochs": 500,
            "epoch_train_95": pd.array([train for train, _ in marks], dtype="Int64"),
            "epoch_val_95": pd.array([val for _, val in marks], dtype="Int64"),
            "seeds": pd.array([seeds] * len(marks), dtype="Int64"),
        }
    )
    return made


def first(table: pd.DataFrame, method: str) -> dict[str, object]:
    return stats.records(table[table["method"] == method])[0]


def test_the_gap_is_validation_less_training() -> None:
    table = timegap.table(frame("transfer", [(100, 120), (100, 150), (60, 50)]))
    assert table["gap"].tolist() == [20, 50, -10]
    found = first(table, "transfer")
    assert (found["reached"], found["seeds"], found["median"]) == (3, 3, 20)


def test_without_one_of_the_two_it_is_censored_and_never_a_zero() -> None:
    table = timegap.table(frame("scratch", [(100, 150), (100, None), (None, None), (None, 400)], seeds=5))
    assert table["gap"].isna().tolist() == [False, True, True, True]
    assert stats.records(table)[1]["spent"] == 400
    found = first(table, "scratch")
    assert (found["reached"], found["seeds"], found["median"]) == (1, 5, None)
    broken = timegap.table(frame("scratch", [(450, None), (450, None), (100, 400)], status="diverged"))
    assert first(broken, "scratch")["median"] is None


def test_negative_gaps_beside_censored_ones_keep_their_order() -> None:
    table = timegap.table(frame("scratch", [(100, 90), (100, 95), (100, 92), (None, None)]))
    assert first(table, "scratch")["median"] == pytest.approx(-6.5)


def drawn(table: pd.DataFrame) -> Axes:
    figure = Figure(figsize=(8, 4))
    ax = figure.add_subplot()
    timegap.draw(table, ax)
    figure.draw_without_rendering()
    return ax


def test_the_censored_stand_as_open_triangles_at_the_edge_and_are_counted() -> None:
    rows = pd.concat([frame("scratch", [(100, 150), (100, None)]), frame("transfer", [(10, 30), (10, 40)], seeds=3)])
    ax = drawn(timegap.table(rows))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["transfer\n2 of 3", "scratch\n1 of 2"]
    hollow = [c for c in ax.collections if len(c.get_facecolor()) == 0]
    assert [c.get_offsets()[:, 0].tolist() for c in hollow] == [[ax.get_xlim()[1]]]
    full = sorted(x for c in ax.collections if len(c.get_facecolor()) for x in c.get_offsets()[:, 0])
    assert full == [20, 30, 50]


@pytest.mark.parametrize("far", [200, 40_000])
def test_far_gaps_are_drawn_on_a_logarithmic_axis(far: int) -> None:
    rows = pd.concat([frame("scratch", [(100, 100 + far)] * 3), frame("transfer", [(10, 10), (10, 15), (20, 10)])])
    ax = drawn(timegap.table(rows))
    assert ax.get_xscale() == ("symlog" if far > 1000 else "linear")
    assert ax.get_xlim()[0] < -10 and ax.get_xlim()[1] > far


def test_a_run_is_read_by_its_report_members(usual: Results) -> None:
    table = timegap.table(timegap.gather(usual))
    assert len(table) == 40
    reached = table.drop_duplicates("method").set_index("method")["reached"]
    assert reached.to_dict() == {"transfer": 10, "scratch": 10, "lowrank_random": 0, "transfer_shuffled": 0}
    slow, fast = (first(table, method)["median"] for method in ("scratch", "transfer"))
    assert isinstance(slow, float) and isinstance(fast, float) and slow > fast


def test_nothing_to_draw_is_said_in_words(folder: Path) -> None:
    story = Story(pays=False, clears=False, architectures=9, methods=("transfer",))
    table = timegap.table(timegap.gather(make(folder, story)))
    assert timegap.nothing(table)
    assert "report seeds" in drawn(table).texts[0].get_text().replace("\n", " ")
