"""The benchmark of the weak stage's claim asks everybody the same, and each of its programs still runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.rivals import plain
from benchmarks.rivals.__main__ import RIVALS, Race, main, race_rival, rows_of
from benchmarks.rivals.ours import Stage, stage_of, trained_of
from benchmarks.rivals.watch import Watched, watch
from benchmarks.rivals.work import Trained, Verdict, Work, verdicts
from gtsearch.errors import SpecError
from gtsearch.identity import derive_seed
from gtsearch.models.base import initialise

# Small, and easy for one of the architectures: what clears earns gate seeds.
TINY = (
    "task={name: modular_addition, p: 23, train_fraction: 0.8, seed: 0}",
    "weak.goal={val_accuracy: 0.4, hold: 2, evaluate_every: 10}",
    "weak.model={name: mlp, depth: 2, d_embed: [1, 12], width: 32}",
    "weak.budget={configs_per_architecture: 2, max_epochs: 200}",
    "weak.gate={seeds: 2, at_least: 1}",
)
GATE = (7, 8, 9)


def run(config: float, seed: int, cleared: bool, architecture: str = "small") -> Trained:
    return Trained(architecture, {"lr": config}, seed, cleared, 10)


def judged(*runs: Trained) -> list[Verdict]:
    return verdicts(["small", "large"], 2, 1, GATE, 2, runs)


@pytest.fixture
def stage() -> Stage:
    return stage_of("modadd", TINY)


@pytest.fixture
def work(stage: Stage, tmp_path: Path) -> Work:
    """Two configs for each of the two architectures, as a search of gtsearch would have left them."""
    config = {"lr": 0.003, "weight_decay": 1.0, "init_scale": 0.3}
    configs = [config, config | {"lr": 0.05}]
    seeds = (stage.search_seed, *stage.gate_seeds)
    runs = [Trained(sizes.label, c, seed, False, 200) for sizes in stage.ladder for c in configs for seed in seeds]
    return stage.work(runs, stage.verdicts(runs), same_configs=True, folder=tmp_path, workers=2)


# -- the rule ---------------------------------------------------------------------------------------------------


def test_an_architecture_is_open_until_its_budget_and_its_gates_are_in():
    missed = [run(0.1, 1, False)]
    assert judged(*missed) == []
    assert judged(*missed, run(0.2, 1, False)) == [Verdict("small", False, 0)]
    earned = [*missed, run(0.2, 1, True), run(0.2, 7, True), run(0.2, 8, True)]
    assert judged(*earned) == []
    assert judged(*earned, run(0.2, 9, False)) == [Verdict("small", True, 1)]


def test_gate_seeds_of_a_config_that_missed_the_search_seed_count_for_nothing():
    gate = [run(0.1, seed, True) for seed in GATE]
    assert judged(run(0.1, 1, False), *gate, run(0.2, 1, False)) == [Verdict("small", False, 0)]


def test_a_dearer_architecture_waits_for_the_cheaper_ones():
    dear = [run(0.1, 1, False, "large"), run(0.2, 1, False, "large")]
    assert judged(*dear) == []
    assert [v.architecture for v in judged(*dear, run(0.1, 1, False), run(0.2, 1, False))] == ["small", "large"]


def test_too_few_gate_seeds_do_not_pass():
    runs = [run(0.1, 1, True), run(0.1, 7, True), run(0.1, 8, False), run(0.1, 9, False), run(0.2, 1, False)]
    assert judged(*runs) == [Verdict("small", False, 1)]


# -- what is the same for all -----------------------------------------------------------------------------------


def test_a_rival_starts_from_the_weights_gtsearch_gives_the_same_member(stage: Stage, work: Work):
    for sizes, architecture in zip(stage.ladder, work.architectures, strict=True):
        module = sizes.module(stage.spec.task)
        generator = torch.Generator().manual_seed(derive_seed(stage.search_seed, "initialisation"))
        initialise(module, generator, 0.5)
        own = plain.fresh(work, architecture, 0.5, work.search_seed)
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), module.parameters(), strict=True))
        x = plain.load(work.data)["train_x"]
        assert torch.allclose(own(x), module(x), atol=1e-5)


def test_rivals_get_the_ladder_the_seeds_and_the_data_of_the_experiment(stage: Stage, work: Work):
    assert [a.label for a in work.architectures] == ["mlp-d1-w32-L2", "mlp-d12-w32-L2"]
    assert [[c["lr"] for c in a.configs] for a in work.architectures] == [[0.003, 0.05]] * 2
    assert (work.goal, work.hold, work.evaluate_every, work.max_epochs) == (0.4, 2, 10, 200)
    assert (work.budget, len(work.gate_seeds), work.at_least) == (2, 2, 1)
    splits, data = stage.spec.task.splits(0), plain.load(work.data)
    assert torch.equal(data["train_x"], splits.train.x) and torch.equal(data["validation_y"], splits.validation.y)


def test_with_own_configs_a_rival_starts_from_the_published_ones(stage: Stage, tmp_path: Path):
    work = stage.work([], [Verdict("mlp-d1-w32-L2", False, 0)], same_configs=False, folder=tmp_path, workers=1)
    assert [a.configs for a in work.architectures] == [({"lr": 0.02, "weight_decay": 1.2, "init_scale": 0.3},)]


def test_the_work_survives_its_file(work: Work, tmp_path: Path):
    work.write(tmp_path / "work.json")
    assert Work.read(tmp_path / "work.json") == work


def test_an_experiment_the_rivals_are_not_written_for_is_refused():
    with pytest.raises(SpecError, match="cheapest by params"):
        stage_of("modadd", ["weak.cost=flops"])


def test_gates_of_gtsearch_are_read_and_other_stages_are_not():
    row = {"stage": "weak", "role": "gate", "status": "cleared", "architecture": "small", "seed": 7, "epochs": 30}
    row |= {"hyperparameters": {"lr": 0.1}}
    assert trained_of(json.dumps(row)) == Trained("small", {"lr": 0.1}, 7, True, 30)
    for other in ({"stage": "target"}, {"role": "report"}, {"status": "cancelled"}):
        assert trained_of(json.dumps(row | other)) is None
    with pytest.raises(RuntimeError, match="out of memory"):
        trained_of(json.dumps(row | {"status": "failed", "error": "out of memory"}))


# -- the plain loop ---------------------------------------------------------------------------------------------


def test_a_run_ends_when_the_goal_is_held(work: Work, monkeypatch: pytest.MonkeyPatch):
    def told(*accuracies: float) -> tuple[Trained, float]:
        curve = [(10 * i, accuracy) for i, accuracy in enumerate(accuracies)]
        monkeypatch.setattr(plain, "evaluations", lambda *_: iter(curve))
        return plain.trained(work, work.architectures[0], {}, {"lr": 0.1}, 3)

    assert told(0.0, 0.5, 0.1, 0.4, 0.4, 0.9) == (Trained("mlp-d1-w32-L2", {"lr": 0.1}, 3, True, 40), 0.5)
    assert told(0.0, 0.5, 0.1, 0.5) == (Trained("mlp-d1-w32-L2", {"lr": 0.1}, 3, False, 30), 0.5)


def test_the_plain_loop_learns(work: Work):
    config = {"lr": 0.05, "weight_decay": 1.0, "init_scale": 0.3}
    curve = list(plain.evaluations(work, work.architectures[1], plain.load(work.data), config, work.search_seed))
    assert [epoch for epoch, _ in curve] == list(range(0, 201, 10))
    assert curve[-1][1] > 0.5 > curve[0][1]


# -- watching ---------------------------------------------------------------------------------------------------

WRITES = """
import sys, time
with open(sys.argv[1], "a") as log:
    for i in range(2):
        log.write(f"line {i}\\n"); log.flush(); time.sleep(0.2)
    log.write("half"); log.flush()
time.sleep(float(sys.argv[2]))
"""


def seen(folder: Path, enough: int, stays: float, limit: float, ends_itself: bool) -> tuple[Watched, list[str]]:
    lines: list[str] = []

    def take(_: float, new: list[str]) -> bool:
        lines.extend(new)
        return len(lines) >= enough

    command = [sys.executable, "-c", WRITES, str(folder / "log"), str(stays)]
    return watch(command, folder / "log", folder / "out", take, limit, ends_itself), lines


def test_a_program_is_watched_until_it_has_said_enough(tmp_path: Path):
    watched, lines = seen(tmp_path, enough=2, stays=600, limit=60, ends_itself=False)
    assert watched.in_time and watched.seconds < 60 and lines == ["line 0", "line 1"]
    assert 2**20 < watched.peak_bytes < 2**30


def test_a_program_that_takes_too_long_is_stopped(tmp_path: Path):
    watched, lines = seen(tmp_path, enough=3, stays=600, limit=2, ends_itself=True)
    assert not watched.in_time and watched.seconds == 2 and lines == ["line 0", "line 1"]


def test_a_program_that_ends_too_soon_is_a_mistake(tmp_path: Path):
    with pytest.raises(RuntimeError, match="ended too soon, with 0"):
        seen(tmp_path, enough=3, stays=0, limit=60, ends_itself=True)


def test_rows_say_what_was_met_named_and_stopped():
    def race(seconds: float, passes: bool, in_time: bool = True) -> Race:
        runs = [(seconds / 2, run(0.1, 1, passes)), (seconds, run(0.1, 1, False, "large"))]
        told = [Verdict("small", passes, 1), Verdict("large", False, 0)]
        return Race(runs, told, Watched(seconds, in_time, 2**20))

    met, memory = rows_of([{"ours": race(10, False), "ray": race(60, True, in_time=False)}], minutes=1)
    assert (met.ours, met.other, met.met, met.target) == (10, 60, True, "at most 1/5")
    assert "gtsearch names none, 2 runs, 20 epochs" in met.note
    assert "names small already at 30 s" in met.note and "stopped after 1 minutes" in met.note
    assert (memory.unit, memory.ratio, memory.target) == ("MiB", 1.0, None)
    missed, _ = rows_of([{"ours": race(10, False), "optuna": race(14, False)}], minutes=1)
    assert missed.met is False and missed.ratio == pytest.approx(10 / 14)


# -- the programs -----------------------------------------------------------------------------------------------


def trains_what_it_should(race: Race, work: Work, all_seeds: bool) -> None:
    """Every config on the search seed, and on the gate's those that cleared it (or all)."""
    runs = [run for _, run in race.runs]
    found = {(run.architecture, run.key, run.seed): run.cleared for run in runs}
    configs = [(a.label, Trained(a.label, config, 0, False, 0).key) for a in work.architectures for config in a.configs]
    searched = {(*config, work.search_seed) for config in configs}
    earned = [config for config in configs if all_seeds or found[(*config, work.search_seed)]]
    assert len(runs) == len(found)
    assert set(found) == searched | {(*config, seed) for config in earned for seed in work.gate_seeds}
    assert [verdict.architecture for verdict in race.verdicts] == [a.label for a in work.architectures]
    assert race.watched.in_time
    assert {run.cleared for run in runs} == {True, False}, "the tiny task should have both"


def test_plain_optuna_runs(work: Work, tmp_path: Path):
    trains_what_it_should(race_rival("optuna", work, tmp_path, 120), work, all_seeds=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray", "ray-earned"])
def test_plain_ray_tune_runs(name: str, work: Work, tmp_path: Path):
    trains_what_it_should(race_rival(name, work, tmp_path, 600), work, all_seeds=name == "ray")


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--workers", "2", "--rivals", "optuna", "--folder", str(tmp_path / "kept")]
    main([*words, *(word for setting in TINY for word in ("--set", setting))])
    printed = capsys.readouterr().out
    assert all(f"{title} " in printed for title in ("gtsearch", RIVALS["optuna"].title))
    assert "to the weak claim, beside plain Optuna" in printed and "not kept" in printed
    asked = Work.read(tmp_path / "kept" / "0" / "optuna.json")
    trained = [Trained.from_line(line) for line in (tmp_path / "kept" / "0" / "optuna.jsonl").read_text().splitlines()]
    assert {run.key for run in trained} == {
        Trained("", config, 0, False, 0).key for a in asked.architectures for config in a.configs
    }
