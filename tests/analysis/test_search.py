from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import search, style
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

TUNE = "  tune: {lr: {loguniform: [1e-4, 1]}, weight_decay: {uniform: [0, 10]}, init_scale: [0.1, 1]}\n"


def searched(n: int = 64, stage: str = "target", method: str = "scratch", seed: int = 0) -> pd.DataFrame:
    """Runs that get there the sooner, the nearer lr is to 0.01; weight_decay does nothing."""
    random = np.random.default_rng(seed)
    lr = 10 ** random.uniform(-4, 0, n)
    epochs = (20 + 60 * np.abs(np.log10(lr) + 2)).round().astype(int)
    frame = pd.DataFrame(
        {
            "stage": stage,
            "method": method,
            "role": "search",
            "config_id": [f"c{i}" for i in range(n)],
            "status": np.where(epochs < 120, "cleared", "exhausted"),
            "epochs_to_goal": pd.array([e if e < 120 else None for e in epochs], dtype="Int64"),
            "best_val_accuracy": 1.0 - epochs / 400,
            "lr": lr,
            "weight_decay": random.uniform(0, 10, n),
            "init_scale": 1.0,
            "embedding_scale": None,
            "d_embed": 128,
            "width": 512,
            "depth": 3,
        }
    )
    frame.attrs = {"ranges": {}, "chosen": {}}
    return frame


def part(table: pd.DataFrame, kind: str, stage: str = "target") -> pd.DataFrame:
    return table[(table["kind"] == kind) & (table["stage"] == stage)].reset_index(drop=True)


def test_what_the_result_hangs_on_comes_first() -> None:
    table = search.table(searched())
    assert dict(table.dtypes.astype(str)) == search.COLUMNS
    importance = part(table, "importance")
    assert importance["hyperparameter"].tolist() == ["lr", "weight_decay"], "what never changes is left out"
    assert importance["y"].sum() == pytest.approx(1) and importance["y"].iloc[0] > 0.8
    assert importance["explained"].iloc[0] > 0.5 and set(importance["rows"]) == {64}
    assert search.table(searched()).equals(table), "the same every time"


def test_too_few_runs_say_nothing_of_importance() -> None:
    importance = part(search.table(searched(15)), "importance")
    assert importance["y"].isna().all() and importance["explained"].isna().all()
    alike = searched(40).assign(status="exhausted", epochs_to_goal=pd.array([None] * 40, dtype="Int64"))
    importance = part(search.table(alike.assign(best_val_accuracy=0.1)), "importance")
    assert importance["explained"].isna().all(), "all ended alike"


def test_methods_of_which_no_config_got_there_do_not_drown_the_others() -> None:
    missed = searched(64, method="onehot", seed=1).assign(status="exhausted", best_val_accuracy=0.1)
    importance = part(search.table(pd.concat([searched(), missed], ignore_index=True)), "importance")
    alone = part(search.table(searched()), "importance")
    assert importance["y"].tolist() == alone["y"].tolist() and set(importance["rows"]) == {128}


def test_the_slices_hold_every_run_and_its_gate() -> None:
    frame = searched(20)
    frame.loc[3:5, "role"] = "gate"
    points = part(search.table(frame), "point")
    own = points[points["hyperparameter"] == "lr"]
    assert own["x"].tolist() == frame["lr"].tolist()
    assert own["y"].isna().tolist() == frame["epochs_to_goal"].isna().tolist()
    assert own["y"].dropna().tolist() == frame["epochs_to_goal"].dropna().tolist()
    assert own["role"].tolist() == frame["role"].tolist()
    assert own["reached"].tolist() == (frame["status"] == "cleared").tolist()
    assert own["log"].all() and not points.loc[points["hyperparameter"] == "init_scale", "log"].any()


def test_of_the_weak_model_sizes_count_and_accuracy_is_the_height() -> None:
    frame = searched(30, "weak", "weak").assign(d_embed=[2, 4, 8] * 10)
    table = search.table(frame)
    assert set(part(table, "importance", "weak")["hyperparameter"]) == {"lr", "weight_decay", "d_embed"}
    points = part(table, "point", "weak")
    heights = points.loc[points["hyperparameter"] == "lr", "y"]
    assert heights.tolist() == pytest.approx(frame["best_val_accuracy"].tolist())
    assert part(table, "point").empty


def test_the_ranges_and_the_chosen_configs_are_those_of_the_experiment(usual: Results) -> None:
    spec = usual.spec_text.replace("target:\n", f"target:\n{TUNE}")
    trials = usual.trials.copy()
    extra = trials["method"] == "transfer"
    trials.loc[extra, "hyperparameters"] = [json.dumps({"noise": i % 3}) for i in range(extra.sum())]
    frame = search.gather(replace(usual, spec_text=spec, trials=trials))
    assert set(frame["role"]) == {"search", "gate"}
    ranges = frame.attrs["ranges"]["target"]
    assert set(ranges) == {"lr", "weight_decay"}, "a choice has no edge"
    assert (ranges["lr"].low, ranges["lr"].high, ranges["lr"].log) == (1e-4, 1, True)
    assert frame.attrs["chosen"]["target"]["scratch"] == {"lr": 0.005, "weight_decay": 3.0, "init_scale": 0.3}
    assert frame.attrs["chosen"]["weak"]["weak"] == usual.summary["weak"]["pays"]["config"]
    assert set(frame.loc[frame["method"] == "transfer", "noise"]) == {0, 1, 2}
    assert "noise" in set(part(search.table(frame), "importance")["hyperparameter"])


@pytest.mark.parametrize(
    ("lr", "span"), [(1.2e-4, (1e-4, 10**-3.8)), (0.9, (10**-0.2, 1.0)), (0.01, None), (2e-4, None)]
)
def test_an_edge_is_the_end_of_the_range_at_which_the_chosen_config_lies(lr: float, span: Any) -> None:
    frame = searched()
    frame.attrs["ranges"] = {"target": search._ranges({"lr": {"loguniform": [1e-4, 1]}})}
    frame.attrs["chosen"] = {"target": {"scratch": {"lr": lr}, "onehot": {}}}
    table = search.table(frame)
    edges = part(table, "edge")
    found = list(zip(edges["low"], edges["high"], strict=True))
    assert found == ([pytest.approx(span)] if span else [])
    assert set(edges["method"]) <= {"scratch"} and part(table, "point")["log"].iloc[0]


@pytest.mark.parametrize(
    ("domain", "bounds"),
    [({"randint": [1, 5]}, (1, 4)), ({"quniform": [0, 1, 0.25]}, (0, 1)), ({"choice": [1, 2]}, None), (3.0, None)],
)
def test_ranges_are_read_as_ray_tune_means_them(domain: Any, bounds: tuple[float, float] | None) -> None:
    found = search._ranges({"x": domain})
    assert {name: (span.low, span.high) for name, span in found.items()} == ({"x": bounds} if bounds else {})


def test_a_large_search_is_thinned_and_keeps_its_best() -> None:
    frame = searched(5000)
    points = part(search.table(frame), "point")
    own = points[points["hyperparameter"] == "lr"]
    assert len(own) == 1200 and own["y"].min() == frame["epochs_to_goal"].min()


def drawn(table: pd.DataFrame, stage: str = "target") -> Axes:
    width, height = search.size(table)
    ax = Figure(figsize=(width + 2, height + 3)).add_axes((0.15, 0.15, 0.7, 0.6))
    search.draw(table, ax, stage=stage)
    ax.get_figure().draw_without_rendering()
    return ax


def test_there_is_a_small_panel_for_importance_and_for_each_slice() -> None:
    frame = searched()
    tune = {"lr": {"loguniform": [1e-4, 1]}, "weight_decay": {"uniform": [0, 10]}}
    frame.attrs["ranges"] = {"target": search._ranges(tune)}
    frame.attrs["chosen"] = {"target": {"scratch": {"lr": 0.95}}}
    ax = drawn(search.table(frame))
    importance, *slices = ax.child_axes
    assert [label.get_text() for label in importance.get_yticklabels()] == ["lr", "weight_decay"]
    assert "of the order explained" in importance.get_title(loc="left")
    assert [panel.get_xlabel() for panel in slices] == ["lr", "weight_decay"]
    assert [panel.get_xscale() for panel in slices] == ["log", "linear"]
    assert len(slices[0].patches) == 1 and not slices[1].patches, "the edge is shaded"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["scratch", "missed", "best at an edge"]


@pytest.mark.parametrize("stage", ["target", "weak"])
def test_a_gate_seed_and_a_run_that_missed_have_marks_of_their_own(stage: str) -> None:
    frame = pd.concat([searched(), searched(8).assign(role="gate")], ignore_index=True)
    frame = frame.assign(stage=stage, method="weak" if stage == "weak" else "scratch")
    ax = drawn(search.table(frame), stage)
    marks = {line.get_label(): line.get_marker() for line in ax.get_legend().legend_handles}
    assert {"gate seed", "missed"} < set(marks)
    assert marks["missed"] not in {marks[name] for name in marks if name != "missed"}


@pytest.mark.parametrize(("low", "high"), [(3e-3, 5e-2), (1e-3, 1e-1), (1e-4, 1e-2), (1e-4, 1.0), (0.3, 10.0)])
def test_tick_labels_do_not_touch_each_other(low: float, high: float) -> None:
    frame = searched()
    frame["lr"] = np.geomspace(low, high, len(frame))
    frame.attrs["ranges"] = {"target": search._ranges({"lr": {"loguniform": [low, high]}})}
    table = search.table(frame)
    width, height = search.size(table)
    with style.look():
        ax = Figure(figsize=(2 * width, 2 * height)).add_axes((0.25, 0.25, 0.5, 0.5))
        search.draw(table, ax, stage="target")
        ax.get_figure().draw_without_rendering()
    panel = next(panel for panel in ax.child_axes if panel.get_xlabel() == "lr")
    boxes = [label.get_window_extent() for label in panel.get_xticklabels() if label.get_text()]
    inside = [box for box in boxes if panel.bbox.x0 <= (box.x0 + box.x1) / 2 <= panel.bbox.x1]
    assert len(inside) >= 3 and all(a.x1 < b.x0 for a, b in pairwise(inside))


def test_too_few_is_said_where_importance_would_stand() -> None:
    importance = drawn(search.table(searched(9))).child_axes[0]
    assert "9 runs are too few" in importance.texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize("stage", ["target", "weak"])
@pytest.mark.parametrize(
    "story",
    [
        Story(seeds=1, architectures=5, levels=()),
        Story(transfer_reaches=False, scratch_reaches=False, architectures=42, levels=()),
        Story(weak=False, methods=("scratch", "fourier"), rises={"fourier": 60}, architectures=0, levels=()),
    ],
)
def test_it_draws_whatever_happened(folder: Path, story: Story, stage: str) -> None:
    results = make(folder, story)
    random = np.random.default_rng(0)
    trials = results.trials.assign(lr=pd.array(10 ** random.uniform(-4, 0, len(results.trials)), dtype="Float64"))
    ax = drawn(search.table(search.gather(replace(results, trials=trials))), stage)
    assert ax.child_axes or "Nothing was searched" in ax.texts[0].get_text().replace("\n", " ")


def test_nothing_to_draw_is_said_in_words() -> None:
    table = search.table(searched(20).assign(lr=0.1, weight_decay=1.0))
    assert "no hyperparameter to choose" in (search.nothing(table) or "")
    assert "no hyperparameter to choose" in drawn(table).texts[0].get_text().replace("\n", " ")
