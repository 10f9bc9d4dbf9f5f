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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_info, threadpool_limits

from gtsearch import catalog, cli, results
from gtsearch.analysis import predictors
from gtsearch.analysis.predictors import ALL, HELD_OUT, WITHIN
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

SCRATCH, BUDGET = 100.0, 300
TASKS = ("a + b mod 41", "a * b mod 41")


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
        "epochs": BUDGET if epochs is None else epochs + 5,
        "config_id": "tuned",
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
        target("b", None, "probe", status="capped", cap_epochs=100) | {"epochs": 100},
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
    # Without scratch's median what counts is whether they came there; who was ended before the budget cannot tell.
    whole = target("b", None, "report") | {"run_id": "whole"}
    unknown = predictors.gather(run(tmp_path, [*rows, whole], scratch=None))["sooner"]
    assert unknown.tolist() == [True, True, pd.NA, True, False]


def capped(of: str, at: int, came: int | None = None, **row: Any) -> dict[str, Any]:
    """A judge's probe that was to be ended at an epoch, and came to its goal before that or not."""
    told = {"status": "capped" if came is None else "cleared", "epochs": at if came is None else came, "cap_epochs": at}
    return target(of, came, "probe") | {"run_id": f"p-{of}-{at}-{came}"} | told | row


def test_who_was_to_be_ended_before_scratchs_median_does_not_tell_whether_it_would_have_been_sooner(
    tmp_path: Path,
) -> None:
    rows = [
        weak("a", accuracy=0.4),
        capped("a", 100),
        capped("a", 99),
        capped("a", 80, came=40),  # known to be sooner, but with it the sooner ones alone would be kept
        capped("a", 120, came=40),
        capped("a", 95, cap_epochs=None),
        target("a", None, "report", status="diverged") | {"epochs": 7},
    ]
    frame = predictors.gather(run(tmp_path, rows))
    assert frame["sooner"].tolist() == [False, pd.NA, pd.NA, True, pd.NA, False]
    assert frame["watched_epochs"].fillna(-1).tolist() == [100, 99, -1, -1, 95, np.inf]
    # Of many weak models: they are left out of the areas and ranks, and counted.
    clean = world(30, 1)
    late = [capped(f"1-{i}", 60) for i in range(30)]
    without, with_them = (
        row_of(predictors.table(predictors.gather(run(tmp_path, members))), "fourier")
        for members in (clean, [*clean, *late])
    )
    assert (without.pop("unknown"), with_them.pop("unknown")) == (0, 30)
    assert {k: v for k, v in with_them.items() if pd.notna(v)} == {k: v for k, v in without.items() if pd.notna(v)}
    [said] = [line for line in predictors.markdown([run(tmp_path, [*clean, *late])]) if "weak runs, come" in line]
    assert said.endswith("; 30 more were to be ended before that could be seen, and are left out.")


def test_ranks_end_where_the_first_target_was_no_longer_watched(tmp_path: Path) -> None:
    """Ended at 120, a target is not behind one that came to its goal at 150: both come last."""
    clear = [20, 40, 60, 110, 150, 290]
    rows = [weak(f"w{i}", accuracy=0.1 * i) for i in range(8)]
    rows += [target(f"w{i}", epochs, "report") for i, epochs in enumerate(clear)]
    rows += [capped("w6", 120), target("w7", None, "report")]
    frame = predictors.gather(run(tmp_path, rows))
    ranks = [20, 40, 60, 110, 999, 999, 999, 999]
    row = row_of(predictors.table(frame), "accuracy")
    assert row["rank_correlation"] == pytest.approx(spearmanr(frame["accuracy"].astype(float), ranks).statistic)


def test_the_targets_of_a_run_are_of_one_config(tmp_path: Path) -> None:
    """That of the trade-off, without one of the report, without either of the probes; the most, not the first."""
    other = {"config_id": "other"}
    rows = [weak("a", accuracy=0.4), target("a", 1, "probe") | other, target("a", 2, "probe")]
    rows += [target("a", 3, "probe")]
    assert predictors.gather(run(tmp_path, rows))["epochs_to_goal"].tolist() == [2, 3]
    rows += [target("a", 4, "report") | other]
    assert predictors.gather(run(tmp_path, rows))["epochs_to_goal"].tolist() == [1, 4]
    rows += [target("a", 5)]
    assert predictors.gather(run(tmp_path, rows))["epochs_to_goal"].tolist() == [2, 3, 5]


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
    for other, own in (("accuracy", bad), ("norm", flat)):
        assert good[f"over_{other}"] == pytest.approx(good["auc"] - own["auc"]) and good[f"over_{other}_low"] > 0.2
        assert good[f"over_{other}_low"] <= good[f"over_{other}"] <= good[f"over_{other}_high"]
        assert pd.isna(own[f"over_{other}"]), "no score is held against itself"
    ranked = spearmanr(frame["fourier"].astype(float), frame["epochs_to_goal"].replace(np.inf, 1e9)).statistic
    assert good["rank_correlation"] == pytest.approx(ranked) and ranked < -0.95
    assert good["rank_low"] <= good["rank_correlation"] <= good["rank_high"] < -0.9
    assert (good["targets"], good["weak_runs"], good["unknown"]) == (120, 60, 0)
    rare = frame["sooner"] if frame["sooner"].mean() < 0.5 else ~frame["sooner"]
    told = (int(rare.sum()), frame.loc[rare, "weak_run_id"].nunique())
    assert (good["rarer"], good["rarer_weak_runs"]) == told
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


def lopsided(seed: int, rare: int, runs: int) -> list[dict[str, Any]]:
    """40 weak models of two targets each that are sooner, but for `rare` late ones of `runs` weak models; `fourier`
    tells them apart."""
    rows = []
    for i in range(40):
        rows += [weak(f"{seed}-{i}", fourier=float(i >= runs), accuracy=0.01 * i)]
        late = range(i, rare, runs) if i < runs else ()
        rows += [target(f"{seed}-{i}", 50, role) for role in ("tradeoff", "report")]
        rows += [target(f"{seed}-{i}", 150) | {"run_id": f"late-{seed}-{n}"} for n in late]
    return rows


@pytest.mark.parametrize(("rare", "runs", "enough"), [(8, 5, True), (7, 5, False), (12, 4, False)])
def test_a_few_of_the_rarer_kind_give_no_area_and_are_not_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rare: int, runs: int, enough: bool
) -> None:
    few = run(tmp_path, lopsided(1, rare, runs), TASKS[0])
    row = row_of(predictors.table(predictors.gather(few)), "fourier")
    assert pd.notna(row["auc"]) == enough and (row["rarer"], row["rarer_weak_runs"]) == (rare, runs)
    assert pd.notna(row["rank_correlation"]), "the ranks need no kinds"
    page = predictors.markdown([few])
    said = f"of {runs} weak runs; it takes at least 8 targets that are sooner and 8 that are not, of 5 weak runs each"
    assert any(said in line for line in page) != enough
    # Two more tasks: each is foretold by the other alone where the third has too few.
    elsewhere = {"fitted_on": HELD_OUT, "task": TASKS[1]}
    others = [run(tmp_path, world(30, seed), title) for seed, title in ((2, TASKS[1]), (3, "a - b mod 41"))]
    fitted: set[str] = set()
    widest = 0
    foretold = predictors._foretold

    def noted(train: pd.DataFrame, test: pd.DataFrame, columns: list[str]) -> Any:
        nonlocal widest
        if set(test["task"]) == {TASKS[1]} != set(train["task"]):
            fitted.update(train["task"])
            widest = max(widest, len(columns))
        return foretold(train, test, columns)

    monkeypatch.setattr(predictors, "_foretold", noted)
    predictors.held_out([few, *others])
    assert widest == (2 if enough else 3), "nor has it a say in which scores are known of all"
    assert fitted == {"a - b mod 41"} | ({TASKS[0]} if enough else set())
    alone = predictors.held_out([few, others[0]])
    assert pd.notna(row_of(alone, "fourier", **elsewhere)["auc"]) == enough
    nothing_else = "Nothing to fit on: no other task has at least 8 targets that are sooner"
    assert any(line.startswith(nothing_else) for line in predictors.markdown([few, others[0]])) != enough


def test_a_difference_is_of_the_targets_that_both_scores_are_known_of(tmp_path: Path) -> None:
    members = world(40, 1)
    for row in members[:30]:
        for kept in row.get("embeddings", ()):
            kept["scores"]["accuracy"] = None
    frame = predictors.gather(run(tmp_path, members))
    row = row_of(predictors.table(frame), "fourier")
    known = frame.dropna(subset="accuracy")
    assert len(known) < len(frame) == row["targets"]
    by_chance = np.random.default_rng(0).uniform(size=len(frame))
    ours = predictors._told(frame, by_chance)
    theirs = predictors._told(known, known["accuracy"].to_numpy(float))
    area = roc_auc_score(known["sooner"].astype(bool), by_chance[known.index])
    assert area != pytest.approx(ours.auc)
    more, _ = ours.more_than(theirs) or pytest.fail("both kinds are there")
    assert more == pytest.approx(area - theirs.auc) and pd.notna(row["over_accuracy"])


def test_fits_hold_to_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    fit = LogisticRegression.fit

    def noted(self: Any, *given: Any, **options: Any) -> Any:
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return fit(self, *given, **options)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    with threadpool_limits(2):
        predictors.table(predictors.gather(run(tmp_path, world(30, 1))))
    assert threads == {1}


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
        "Too few to tell apart: of 6 targets given a scored weak embedding 6 are sooner than scratch; it takes"
    )
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["accuracy"]


def test_too_little_is_said_in_a_sentence(tmp_path: Path) -> None:
    empty = predictors.table(predictors.gather(run(tmp_path, [])))
    assert predictors.nothing(empty) == "No target was given a scored weak embedding by transfer."
    few = [weak("a", accuracy=0.4), target("a", 40), weak("b", accuracy=0.5), target("b", None)]
    table = predictors.table(predictors.gather(run(tmp_path, few)))
    assert predictors.nothing(table) == (
        "Too few to tell apart: of 2 targets given a scored weak embedding 1 is sooner than scratch, one half of 1 "
        "weak run; it takes at least 8 targets that are sooner and 8 that are not, of 5 weak runs each."
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
        "## AUC on a task that was not fitted on",
        "## a + b mod 41, fitted on other weak models",
        "## a * b mod 41, fitted on other weak models",
        "## a + b mod 41, fitted on other tasks",
        "## a * b mod 41, fitted on other tasks",
    ]
    row = row_of(predictors.table(predictors.merged(runs)), "fourier", task="a + b mod 41")
    area = f"{row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]"
    told = f"| fourier | {area} | {row['rarer']} from {row['rarer_weak_runs']} | "
    for name in predictors.ALONE:
        over = f"over_{name}"
        told += f"{row[over]:.2f} [{row[f'{over}_low']:.2f}, {row[f'{over}_high']:.2f}] | "
    told += f"{row['rank_correlation']:.2f} ["
    assert any(line.startswith(told) and line.endswith("| 60 |") for line in lines)
    elsewhere = [row_of(predictors.table(predictors.merged(runs)), "norm", fitted_on=HELD_OUT, task=t) for t in TASKS]
    counted = (f"{row['rarer']} from {row['rarer_weak_runs']}" for row in elsewhere)
    assert f"| targets of the rarer kind | {' | '.join(counted)} |" in lines
    assert f"| norm | {' | '.join(predictors._bounds(row, 'auc', 'auc') for row in elsewhere)} |" in lines
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
