from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import stats, tradeoff
from gtsearch.results import Results, trials_frame
from tests.analysis.synthetic import Story, make


def weak(run_id: str, seed: int, best: float) -> dict[str, Any]:
    """A weak run of the trade-off, trained to its end: 100 epochs, 1 s, 10 FLOPs."""
    return {
        "run_id": run_id,
        "attempt": 0,
        "stage": "weak",
        "method": "weak",
        "role": "tradeoff",
        "seed": seed,
        "status": "exhausted",
        "best_val_accuracy": best,
        "epochs": 100,
        "train_seconds": 1.0,
        "train_flops": 10.0,
    }


def target(
    weak_run_id: str | None, level: float | None, accuracy: float | None, cost: float, **row: Any
) -> dict[str, Any]:
    """A target run that gets there in `cost` epochs, a tenth as many seconds and ten times as many FLOPs."""
    return {
        "run_id": f"{weak_run_id}-{level}-{row.get('seed', 0)}-{cost}",
        "attempt": 0,
        "stage": "target",
        "method": "transfer" if weak_run_id else "scratch",
        "role": "tradeoff" if weak_run_id else "report",
        "status": "cleared",
        "seed": 0,
        "level": level,
        "weak_run_id": weak_run_id,
        "weak_accuracy": accuracy,
        "weak_epoch": 40 if weak_run_id else None,
        "weak_seconds": 0.4 if weak_run_id else None,
        "weak_flops": 4.0 if weak_run_id else None,
        "epochs": 2 * int(cost),
        "epochs_to_goal": int(cost),
        "train_seconds": 0.2 * cost,
        "seconds_to_goal": 0.1 * cost,
        "train_flops": 20.0 * cost,
        "flops_to_goal": 10.0 * cost,
        **row,
    }


MISS = {"status": "capped", "epochs_to_goal": None, "seconds_to_goal": None, "flops_to_goal": None}
ROWS = [
    weak("a", 1, 0.7),
    weak("b", 2, 0.5),
    target("a", 0.2, 0.21, 10),
    target("a", 0.4, 0.45, 4),
    target("b", 0.2, 0.3, 20, **MISS),
    target("b", 0.4, 0.41, 6),
    target("a", 0.6, 0.62, 2),
    *(target(None, None, None, cost, seed=seed) for seed, cost in enumerate((30, 20, 50))),
]


def at(table: pd.DataFrame, weak_run_id: str, level: float) -> dict[str, Any]:
    (row,) = [r for r in stats.records(table) if (r["weak_run_id"], r["level"]) == (weak_run_id, level)]
    return row


def test_the_total_is_the_weak_cost_and_the_targets_to_the_goal() -> None:
    row = at(tradeoff.table(trials_frame(ROWS)), "a", 0.2)
    parts = ("weak", "target", "total")
    assert [row[f"{part}_epochs"] for part in parts] == [40, 10, 50]
    assert [row[f"{part}_seconds"] for part in parts] == pytest.approx([0.4, 1.0, 1.4])
    assert [row[f"{part}_flops"] for part in parts] == [4, 100, 104]
    assert row["reached"] and row["weak_accuracy"] == 0.21


def test_a_miss_stands_at_what_it_spent() -> None:
    row = at(tradeoff.table(trials_frame(ROWS)), "b", 0.2)
    assert not row["reached"]
    assert (row["target_flops"], row["total_flops"]) == (400, 404)


@pytest.mark.parametrize("written", [False, True])
def test_a_level_never_reached_is_in_n_and_charges_the_whole_weak_run(written: bool) -> None:
    unreached = target("b", 0.6, None, 1, **MISS) | {"status": "unreached", "seed": None, "train_flops": None}
    unreached |= {"weak_epoch": 100, "weak_seconds": 1.0, "weak_flops": 10.0}
    table = tradeoff.table(trials_frame([*ROWS, unreached] if written else ROWS))
    row = at(table, "b", 0.6)
    assert row["status"] == "unreached" and not row["reached"]
    assert (row["weak_flops"], row["total_flops"], row["total_seconds"]) == (10, 10, 1.0)
    assert row["weak_accuracy"] is None and row["target_flops"] is None
    level = tradeoff.levels(table)[-1]
    assert (level["seeds"], level["reached_level"], level["reached_goal"]) == (2, 1, 1)
    assert level["median_total_flops"] is None  # one of two is infinite
    assert level["expected_total_flops"] == 10 + 4 + 20  # the miss's weak run is charged


def test_levels_passed_at_one_evaluation_share_a_run() -> None:
    rows = [weak("a", 1, 0.7), target("a", 0.3, 0.35, 10), target("a", 0.6, 0.62, 2), weak("b", 2, 0.7)]
    rows += [target("b", level, level, 8) for level in (0.2, 0.3, 0.6)]
    table = tradeoff.table(trials_frame(rows))
    shared = at(table, "a", 0.2)
    assert (shared["weak_accuracy"], shared["total_flops"]) == (0.35, 104)
    assert len(table) == 6


def test_what_was_interrupted_is_in_neither_k_nor_n() -> None:
    rows = [row for row in ROWS if (row.get("weak_run_id"), row.get("level")) != ("b", 0.4)]
    rows += [weak("c", 3, 0.9), target("c", 0.2, 0.2, 5)]
    levels = tradeoff.levels(tradeoff.table(trials_frame(rows)))
    assert [level["seeds"] for level in levels] == [3, 1, 2]


def test_cancelled_rows_and_the_first_try_of_a_lost_run_do_not_count() -> None:
    lost = target("a", 0.2, 0.21, 99, **MISS) | {"status": "failed", "run_id": "lost"}
    again = target("a", 0.2, 0.21, 10) | {"attempt": 1}
    others = [row for row in ROWS if (row.get("weak_run_id"), row.get("level")) != ("a", 0.2)]
    cancelled = target("z", 0.2, 0.2, 1) | {"status": "cancelled"}
    table = tradeoff.table(trials_frame([again, lost, cancelled, *others]))
    assert at(table, "a", 0.2)["total_flops"] == 104
    assert "z" not in set(table["weak_run_id"].dropna())


def test_the_levels_tell_medians_and_what_pays() -> None:
    table = tradeoff.table(trials_frame(ROWS))
    assert tradeoff.scratch_median(table, "flops") == 300
    first, second, third = tradeoff.levels(table)
    assert (first["weak_accuracy"], first["median_total_flops"], first["pays"]) == (pytest.approx(0.255), None, False)
    assert (second["weak_accuracy"], second["median_total_flops"], second["pays"]) == (pytest.approx(0.43), 54, True)
    assert second["median_target_flops"] == 50
    assert third["pays"] is False
    assert table["paying_from"].isna().all()


def test_scratch_is_censored_where_half_of_its_seeds_miss() -> None:
    rows = [*ROWS[:-1], target(None, None, None, 60, seed=2, **MISS), target(None, None, None, 60, seed=3, **MISS)]
    assert tradeoff.scratch_median(tradeoff.table(trials_frame(rows)), "flops") is None


def test_the_summarys_threshold_is_the_one_that_is_drawn(usual: Results) -> None:
    table = tradeoff.table(tradeoff.gather(usual))
    threshold = usual.summary["tradeoff"]["threshold"]
    assert set(table["paying_from"]) == {threshold}
    assert set(tradeoff.table(usual.trials)["paying_from"]) == {threshold}  # and the one that is computed
    ax = drawn(table)
    assert any(list(line.get_xdata()) == [threshold, threshold] for line in ax.lines)


def drawn(table: pd.DataFrame, unit: str = "seconds") -> Axes:
    ax = Figure().add_subplot()
    tradeoff.draw(table, ax, unit=unit)
    ax.get_figure().draw_without_rendering()
    return ax


@pytest.mark.parametrize("unit", ["seconds", "flops", "epochs"])
def test_every_seed_is_a_point_and_misses_are_open_triangles(unit: str) -> None:
    table = tradeoff.table(trials_frame(ROWS))
    ax = drawn(table, unit)
    points = [c.get_offsets().tolist() for c in ax.collections if len(c.get_offsets())]
    reached, missed = points[0], points[1]
    study = table[(table["arm"] == "tradeoff") & table["weak_accuracy"].notna()]
    own = study[study["reached"]]
    assert sorted(reached) == sorted(own[["weak_accuracy", f"target_{unit}"]].astype(float).to_numpy().tolist())
    assert missed == [[0.3, float(at(table, "b", 0.2)[f"target_{unit}"])]]
    assert ax.get_yscale() == "log"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["0.26\n1/2", "0.43\n2/2", "0.62\n1/2"]


def test_crowded_ticks_step_down_and_never_touch() -> None:
    rows = [weak("a", 1, 0.9), *(target("a", level / 100, level / 100, 5) for level in (10, 12, 13, 60))]
    labels = [label.get_text() for label in drawn(tradeoff.table(trials_frame(rows))).get_xticklabels()]
    assert labels == ["0.10\n1/1", "\n\n0.12\n1/1", "", "0.60\n1/1"]


@pytest.mark.parametrize(
    "story",
    [
        Story(seeds=1, tradeoff_seeds=1, levels=(0.2,)),
        Story(transfer_reaches=False, architectures=9),
        Story(scratch_reaches=False, architectures=9),
        Story(transfer_reaches=False, scratch_reaches=False),
        Story(methods=("transfer",)),
    ],
)
def test_it_draws_whatever_happened(folder: Path, story: Story) -> None:
    table = tradeoff.table(tradeoff.gather(make(folder, story)))
    for unit in ("seconds", "flops"):
        ax = drawn(table, unit)
        assert ax.get_xlabel()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "No trade-off was measured"),
        (ROWS[-3:], "No trade-off was measured"),
        ([weak("a", 1, 0.1), target("a", 0.2, None, 1, **MISS) | {"status": "unreached"}], "No weak seed came"),
    ],
)
def test_nothing_to_draw_is_said_in_words(rows: list[dict[str, Any]], reason: str) -> None:
    table = tradeoff.table(trials_frame(rows))
    assert str(tradeoff.nothing(table)).startswith(reason)
    ax = drawn(table)
    assert ax.texts[0].get_text().replace("\n", " ").startswith(reason) and not ax.axison
