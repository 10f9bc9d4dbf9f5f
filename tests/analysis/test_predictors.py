"""What foretells, on targets of which it is known: each number by value, and what is said where there is too little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from gtsearch import catalog, cli, results
from gtsearch.analysis import predictors
from gtsearch.analysis.predictors import ALL, HELD_OUT, WITHIN
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

SCRATCH = 100.0


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    predictors._counts.cache_clear()
    monkeypatch.setattr(predictors, "_RESAMPLES", 200)


def run(
    folder: Path, members: list[dict[str, Any]], title: str = "a + b mod 41", scratch: float | None = SCRATCH
) -> Any:
    """A run of these rows; of its summary only what is read."""
    empty = {"curves": results.curves_frame([]), "probes": results.probes_frame([])}
    trials = results.trials_frame(members)
    return Results(
        folder=folder,
        trials=trials,
        **empty,
        scores=results.scores_frame(members),
        ledger=results.ledger_frame(trials, 1.0),
        pricing=results.pricing_frame([]),
        summary={"title": title, "scratch_reference": {"epochs": scratch}},
        environment={},
        spec_text="",
    )


def weak(name: str, **scores: float | None) -> dict[str, Any]:
    kept = {"epoch": 50, "level": None, "scores": scores}
    return {
        "run_id": name,
        "stage": "weak",
        "method": "weak",
        "role": "tradeoff",
        "status": "cleared",
        "embeddings": [kept],
    }


def target(of: str, epochs: int | None, role: str = "tradeoff", **row: Any) -> dict[str, Any]:
    return {
        "run_id": f"t-{of}-{epochs}-{role}",
        "stage": "target",
        "method": "transfer",
        "role": role,
        "status": "exhausted" if epochs is None else "cleared",
        "epochs_to_goal": epochs,
        "weak_run_id": of,
        "weak_epoch": 50,
    } | row


def world(n: int, seed: int, turned: bool = False) -> list[dict[str, Any]]:
    """`n` weak models: the better `fourier`, the sooner the target (`turned`: the later); `accuracy` says nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good = rng.uniform()
        rows.append(weak(f"{seed}-{i}", fourier=1 - good if turned else good, accuracy=rng.uniform(), norm=7.0))
        epochs = int(200 * (1 - good)) + 1
        rows += [target(f"{seed}-{i}", epochs if epochs < 170 else None, role) for role in ("probe", "report")]
    return rows


def row_of(table: pd.DataFrame, score: str, **where: str) -> dict[str, Any]:
    found = table[(table["score"] == score) & (table["fitted_on"] == where.get("fitted_on", WITHIN))]
    if "task" in where:
        found = found[found["task"] == where["task"]]
    [row] = found.to_dict("records")
    return row


def test_targets_meet_the_scores_of_the_embedding_they_were_given(tmp_path: Path) -> None:
    rows = [
        weak("a", accuracy=0.4, fourier=None),
        weak("b", accuracy=0.6, fourier=0.9),
        target("a", 40),
        target("a", 140),
        target("b", None, "probe", status="capped"),
        target("b", 100, "report"),
        # None of these counts: given nothing, another method, a later search on one embedding, nobody's, cancelled.
        {
            "run_id": "s",
            "stage": "target",
            "method": "scratch",
            "role": "report",
            "status": "cleared",
            "epochs_to_goal": 9,
        },
        target("a", 20, method="transfer_shuffled"),
        target("a", 30, "search"),
        target("a", 50, "report", weak_epoch=60),
        target("a", None, "probe", status="cancelled"),
    ]
    frame = predictors.gather(run(tmp_path, rows))
    assert frame[["weak_run_id", "sooner", "epochs_to_goal", "accuracy"]].to_numpy().tolist() == [
        ["a", True, 40.0, 0.4],
        ["a", False, 140.0, 0.4],
        ["b", False, np.inf, 0.6],
        ["b", False, 100.0, 0.6],
    ]
    assert set(catalog.SCORES) <= set(frame) and frame["fourier"].isna().tolist() == [True, True, False, False]
    # Without scratch's median what counts is whether they came there.
    assert predictors.gather(run(tmp_path, rows, scratch=None))["sooner"].tolist() == [True, True, False, True]


def test_noise_in_an_embedding_has_scores_of_its_own(tmp_path: Path) -> None:
    row = weak("a", accuracy=0.9)
    row["embeddings"].append({"epoch": 50, "dose": 0.5, "scores": {"accuracy": 0.3}})
    row["embeddings"].append({"epoch": 50, "level": 0.2, "scores": {"accuracy": 0.9}})  # the same one, for a level
    frame = predictors.gather(run(tmp_path, [row, target("a", 40), target("a", 80, dose=0.5)]))
    assert frame[["epochs_to_goal", "accuracy"]].to_numpy().tolist() == [[40.0, 0.9], [80.0, 0.3]]


def test_a_score_that_foretells_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    frame = predictors.gather(run(tmp_path, world(60, 1)))
    table = predictors.table(frame)
    good, bad, flat = (row_of(table, name) for name in ("fourier", "accuracy", "norm"))
    assert good["auc"] > 0.97 and good["auc_low"] > 0.9
    assert 0.3 < bad["auc"] < 0.7 and bad["auc_low"] < 0.5 < bad["auc_high"]
    assert flat["auc"] == 0.5 and pd.isna(flat["rank_correlation"])
    assert row_of(table, ALL)["auc"] > 0.95
    assert good["more"] == pytest.approx(good["auc"] - bad["auc"]) and good["more_low"] > 0.2
    assert good["more_low"] <= good["more"] <= good["more_high"] and pd.isna(bad["more"])
    ranked = spearmanr(frame["fourier"].astype(float), frame["epochs_to_goal"].replace(np.inf, 1e9)).statistic
    assert good["rank_correlation"] == pytest.approx(ranked) and ranked < -0.95
    assert good["rank_low"] <= good["rank_correlation"] <= good["rank_high"] < -0.9
    assert (good["targets"], good["weak_runs"]) == (120, 60)
    assert good["sooner"] == int((frame["epochs_to_goal"] < SCRATCH).sum())
    assert "gap" not in set(table["score"]), "a score that is known of no target has no row"


def test_which_way_is_better_is_learnt(tmp_path: Path) -> None:
    """A score whose low end is good foretells as well; its rank correlation says which end it is."""
    row = row_of(predictors.table(predictors.gather(run(tmp_path, world(60, 1, turned=True)))), "fourier")
    assert row["auc"] > 0.97 and row["rank_correlation"] > 0.95


def test_a_weak_model_is_never_foretold_by_a_fit_to_its_own_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []
    foretold = predictors._foretold

    def noted(train: pd.DataFrame, test: pd.DataFrame, columns: list[str]) -> Any:
        seen.append((set(train["weak_run_id"]), set(test["weak_run_id"])))
        return foretold(train, test, columns)

    monkeypatch.setattr(predictors, "_foretold", noted)
    predictors.table(predictors.gather(run(tmp_path, world(30, 2))))
    assert seen and not any(train & test for train, test in seen)


def test_areas_and_ranks_are_the_libraries_and_draws_are_of_whole_weak_models() -> None:
    rng = np.random.default_rng(0)
    foretold, sooner = rng.integers(0, 6, 80).astype(float), rng.uniform(size=80) < 0.4
    weak_run = np.repeat(np.arange(20), 4)
    weights = predictors._drawn(weak_run)[:25]
    assert (weights.reshape(25, 20, 4) == weights.reshape(25, 20, 4)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 80).all()
    expected = [roc_auc_score(sooner, foretold, sample_weight=w) for w in weights]
    assert predictors._aucs(foretold, sooner, weights) == pytest.approx(expected)
    assert predictors._aucs(foretold, np.ones(80, bool), weights) == [None] * 25
    epochs = np.where(sooner, np.inf, rng.integers(0, 9, 80))
    repeated = [(np.repeat(foretold, w.astype(int)), np.repeat(epochs, w.astype(int))) for w in weights]
    ranks = [spearmanr(one, np.where(np.isinf(other), 99.0, other)).statistic for one, other in repeated]
    assert predictors._spearmans(foretold, epochs, weights) == pytest.approx(ranks)
    assert predictors._spearmans(np.ones(80), epochs, weights) == [None] * 25


def test_more_targets_of_the_same_weak_models_are_no_more_evidence(tmp_path: Path) -> None:
    """The interval is over weak models: each of its targets told four times over leaves it as wide."""
    frame = predictors.gather(run(tmp_path, world(30, 4)))
    once, often = (
        row_of(predictors.table(rows), "accuracy") for rows in (frame, pd.concat([frame] * 4, ignore_index=True))
    )
    width = once["auc_high"] - once["auc_low"]
    assert often["auc_high"] - often["auc_low"] == pytest.approx(width, rel=0.3)


def test_tested_on_a_task_it_was_not_fitted_on(tmp_path: Path) -> None:
    runs = [run(tmp_path, world(40, 1)), run(tmp_path, world(40, 2), "a * b mod 41"), run(tmp_path, world(40, 3))]
    table = predictors.held_out(runs)
    assert set(table["fitted_on"]) == {HELD_OUT} and list(dict.fromkeys(table["task"])) == [
        "a + b mod 41",
        "a * b mod 41",
    ]
    for task, targets in (("a + b mod 41", 160), ("a * b mod 41", 80)):
        row = row_of(table, "fourier", fitted_on=HELD_OUT, task=task)
        assert row["auc"] > 0.97 and row["targets"] == targets and pd.isna(row["rank_correlation"])
    # Learnt on tasks where the other end is good, a score foretells the wrong way round, and the table says so.
    against = predictors.held_out([runs[0], run(tmp_path, world(40, 2, turned=True), "a * b mod 41")])
    assert all(row_of(against, "fourier", fitted_on=HELD_OUT, task=t)["auc"] < 0.05 for t in set(against["task"]))
    assert predictors.held_out(runs[:1]).empty
    assert len(predictors.merged([*runs, runs[0]])) == len(predictors.merged(runs)), "a target counts once"


def test_with_one_kind_alone_the_areas_are_not_known_and_the_ranks_are(tmp_path: Path) -> None:
    rows = [weak(f"w{i}", accuracy=0.1 * i) for i in range(6)] + [target(f"w{i}", 60 - i) for i in range(6)]
    table = predictors.table(predictors.gather(run(tmp_path, rows)))
    row = row_of(table, "accuracy")
    assert pd.isna(row["auc"]) and row["rank_correlation"] == pytest.approx(-1.0)
    assert predictors.nothing(table) is None
    figure = Figure()
    predictors.draw(table, figure.add_subplot(1, 2, 1), "whether")
    predictors.draw(table, figure.add_subplot(1, 2, 2), "how fast")
    said = " ".join(" ".join(text.get_text().split()) for text in figure.axes[0].texts)
    assert said.startswith(
        "Too few to tell apart: of 6 targets given a scored weak embedding 6 are sooner than scratch;"
    )
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["accuracy"]


def test_too_little_is_said_in_a_sentence(tmp_path: Path) -> None:
    empty = predictors.table(predictors.gather(run(tmp_path, [])))
    assert predictors.nothing(empty) == "No target was given a scored weak embedding by transfer."
    few = [weak("a", accuracy=0.4), target("a", 40), weak("b", accuracy=0.5), target("b", None)]
    table = predictors.table(predictors.gather(run(tmp_path, few)))
    assert predictors.nothing(table) == (
        "Too few to tell apart: of 2 targets given a scored weak embedding 1 are sooner than scratch; 3 weak runs are "
        "needed that give one that is, and 3 one not."
    )
    for frame in (empty, table):
        figure = Figure()
        predictors.draw(frame, figure.add_subplot())
        assert len(figure.axes[0].texts) == 1 and all(inches > 0.5 for inches in predictors.size(frame))


def test_the_figure_shows_every_score_with_its_interval(tmp_path: Path) -> None:
    runs = [run(tmp_path, world(30, 1)), run(tmp_path, world(30, 2), "a * b mod 41")]
    for merged, series in ((runs[:1], 1), (runs, 4)):
        table = predictors.table(predictors.merged(merged))
        figure = Figure()
        axes = figure.add_subplot()
        predictors.draw(table, axes)
        points = np.concatenate(
            [own.get_offsets().data[:, 0] for own in axes.collections if len(own.get_offsets()) > 1]
        )
        known = table["auc"].dropna().astype(float)
        assert len(known) == series * 4 and set(known.round(9)) <= set(points.round(9))
        labels = [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
        assert len(labels) == (series if series > 1 else 0)


def test_the_page_holds_the_tables_numbers(tmp_path: Path) -> None:
    runs = [run(tmp_path, world(30, 1)), run(tmp_path, world(30, 2), "a * b mod 41")]
    lines = predictors.markdown(runs)
    assert [line for line in lines if line.startswith("## ")] == [
        "## a + b mod 41, fitted on other weak models",
        "## a * b mod 41, fitted on other weak models",
        "## a + b mod 41, fitted on other tasks",
        "## a * b mod 41, fitted on other tasks",
    ]
    row = row_of(predictors.table(predictors.merged(runs)), "fourier", task="a + b mod 41")
    area = f"{row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]"
    told = f"| fourier | {area} | {row['more']:.2f} [{row['more_low']:.2f}, {row['more_high']:.2f}] | "
    told += f"{row['rank_correlation']:.2f} ["
    assert any(line.startswith(told) and line.endswith("| 60 |") for line in lines)
    assert predictors.markdown([run(tmp_path, [])])[-1] == "No target was given a scored weak embedding by transfer."
    assert predictors.markdown([replace(runs[0], scores=runs[0].scores.iloc[:0])])[-1].startswith("No target")


def test_the_command_prints_the_page_of_finished_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "run", Story(architectures=4, seeds=6, levels=(0.05, 0.3, 0.5))).folder
    assert cli.main(["predictors", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# What makes an embedding work\n\n## a + b mod 113, fitted on other weak models\n")
    assert cli.main(["predictors", str(folder), "--out", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text().strip() == printed.strip()
    assert cli.main(["predictors", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
