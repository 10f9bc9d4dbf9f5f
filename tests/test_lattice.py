"""The recorded lattice: recording and comparing on a tiny one, and verdicts on one whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.lattice import comparison, stopping, world
from benchmarks.lattice.__main__ import main
from benchmarks.lattice.recording import Extent, Recording
from benchmarks.lattice.searchers import SEARCHERS, Outcome, Repetition
from benchmarks.lattice.stopping import Rule
from benchmarks.lattice.world import Lattice, Run
from gtsearch import plans
from gtsearch.results import LOG, read_log
from gtsearch.search.board import Architecture
from gtsearch.search.policy import ranked
from gtsearch.search.proposals import Proposer
from gtsearch.spec import load_spec
from tests import oracle

CONFIGS = 8
EVERY, LONGEST = 10, 1000


# -- recording ----------------------------------------------------------------------------------------------


def experiment(folder: Path) -> Path:
    """Two architectures that clear a low goal or not, within 100 epochs of p = 7."""
    spec: dict[str, Any] = {
        "name": "tiny",
        "task": {"name": "modular_addition", "p": 7, "train_fraction": 0.5},
        "weak": {
            "goal": {"val_accuracy": 0.25, "hold": 1, "evaluate_every": 10},
            "model": {"name": "mlp", "depth": 2, "d_embed": 2, "width": [4, 8]},
            "tune": {
                "lr": {"loguniform": [0.003, 0.1]},
                "weight_decay": {"loguniform": [0.01, 3]},
                "init_scale": {"loguniform": [0.1, 1.0]},
            },
            "start_from": [{"lr": 0.02, "weight_decay": 1, "init_scale": 0.3}],
            "budget": {"configs_per_architecture": 2, "max_epochs": 100},
            "gate": {"seeds": 2, "at_least": 1},
            "judge": {"weak_seeds": 2, "at_least": 1},
        },
        "target": {
            "goal": {"val_accuracy": 0.5, "hold": 1, "evaluate_every": 10},
            "model": {"name": "mlp", "depth": 2, "d_embed": 8, "width": 8},
            "tune": {
                "lr": {"loguniform": [1e-4, 1]},
                "weight_decay": {"loguniform": [0.01, 10]},
                "init_scale": {"loguniform": [0.05, 2]},
            },
            "start_from": {"transfer": [{"lr": 0.01, "weight_decay": 1, "init_scale": 1}]},
            "budget": {"configs": 2, "max_epochs": 20},
        },
        "report": {"seeds": 2, "at_least": 1, "weak_tries": 1},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lattice that was cut short at once, and then recorded to its end by the same command."""
    folder = tmp_path_factory.mktemp("lattice")
    words = ["record", str(experiment(folder)), "--folder", str(folder / "log"), "--out", str(folder)]
    words += ["--configs", "2", "--base-seeds", "2", "--seeds", "3", "--transfers", "1", "--processes", "1"]
    main([*words, "--minutes", "0"])
    assert len(read_log(folder / "log" / LOG)[0]) < 8
    main(words)
    return folder


def test_a_lattice_holds_what_its_runs_did(recorded: Path) -> None:
    lattice = world.read(recorded / "tiny.parquet")
    assert len(lattice.architectures) == len(lattice.configs) == 2 and lattice.published == 1
    assert lattice.configs[0] == {"lr": 0.02, "weight_decay": 1, "init_scale": 0.3}
    rows = {row["run_id"]: row for row in read_log(recorded / "log" / LOG)[0]}
    recording = Recording(load_spec(recorded / "tiny.yaml"), Extent(2, 2, 3, 1), recorded / "log")
    assert len(lattice.runs) + len(lattice.targets) == len(rows)
    for (rank, config, seed), run in lattice.runs.items():
        row = rows[recording._weak(lattice.architectures[rank], config, seed).member.run_id]
        assert (run.status, run.epochs, run.epochs_to_goal) == (row["status"], row["epochs"], row["epochs_to_goal"])
        np.testing.assert_allclose(run.val, [point["val_accuracy"] for point in row["curve"]], atol=1e-6)
        np.testing.assert_allclose(run.train, [point["train_accuracy"] for point in row["curve"]], atol=1e-6)


def test_a_config_that_clears_runs_on_more_seeds_and_is_transferred(recorded: Path) -> None:
    lattice = world.read(recorded / "tiny.parquet")
    seen = set()
    for rank, config in np.ndindex(2, 2):
        promising = any(lattice.runs[rank, config, seed].cleared for seed in range(2))
        assert lattice.seeds(rank, config) == ([0, 1, 2] if promising else [0, 1])
        seen.add(promising)
    assert True in seen, "nothing clears, and the test says nothing"
    good = {(a, c) for a, c in np.ndindex(2, 2) if lattice.rate(a, c) >= lattice.required and lattice.rate(a, c) > 0}
    assert {(a, c) for a, c, _, _ in lattice.targets} == good
    assert all(lattice.runs[a, c, s].cleared for a, c, s, _ in lattice.targets)


def test_what_is_recorded_is_not_trained_again(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.lattice.recording._trained", None)
    assert Recording(load_spec(recorded / "tiny.yaml"), Extent(2, 2, 3, 1), recorded / "log").record(1)


def test_searchers_are_compared_on_it(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", str(recorded / "tiny.parquet"), "--repetitions", "3", "--processes", "1", "--dry"])
    told = capsys.readouterr().out
    _, *table = told.partition("searcher ")[2].splitlines()
    assert [line.split()[0] for line in table[: len(SEARCHERS)]] == list(SEARCHERS)
    assert "early stopping by" in told and "MEASURED Rule(gate_least=1, gate_seeds=2" in told


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing; make it with"), (b"nothing", "is no recorded lattice")]
)
def test_what_is_no_lattice_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "some.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match=message) as stop:
        main(["compare", str(path), "--dry"])
    assert "\n" not in str(stop.value)


# -- a world whose truth is known ---------------------------------------------------------------------------

Clears = Callable[[int, int, int], int | None]
"""Rank of the architecture, config, seed -> the epoch of the goal, or None."""


def invented(clears: Clears, configs: int = CONFIGS, seeds: int = 10, base: int = 10, every: int = 3) -> Lattice:
    """Three architectures. A run that clears rises from 0.05 at its start in a straight line to its goal and holds it
    once more; the others stay at 0.01. `every`: of the sizes in the oracle's experiment, how many."""
    spec = oracle.spec(weak__start_from=[{"lr": 0.02, "weight_decay": 1.0, "init_scale": 0.3}])
    assert spec.weak is not None
    architectures = ranked(plans.architectures(spec), "params")[:every]
    points = Proposer(spec.weak.tune, "random", spec.weak.start_from, [1]).round(configs, [], [])
    runs = {
        (rank, config, seed): _run(clears(rank, config, seed))
        for rank in range(len(architectures))
        for config in range(configs)
        for seed in range(seeds)
    }
    return Lattice(spec, tuple(architectures), tuple(points), base, runs, {}, {})


def _run(epoch: int | None) -> Run:
    if epoch is None:
        low = np.full(LONGEST // EVERY + 1, 0.01, dtype=np.float32)
        return Run("exhausted", LONGEST, None, low, low)
    rising = np.linspace(0.05, 0.4, epoch // EVERY + 1, dtype=np.float32)
    curve = np.append(rising, np.float32(0.5))
    return Run("cleared", epoch + EVERY, epoch, curve, curve)


def outcomes(lattice: Lattice, name: str, repetitions: int = 5) -> list[Outcome]:
    return [SEARCHERS[name](Repetition(lattice, number)) for number in range(repetitions)]


def only_of(rank: int) -> Clears:
    """Every config of one architecture and of those above it clears at epoch 200."""
    return lambda a, config, seed: 200 if a >= rank else None


@pytest.mark.parametrize("name", SEARCHERS)
def test_where_it_is_plain_who_is_cheapest_every_searcher_names_it(name: str) -> None:
    lattice = invented(only_of(1))
    found = outcomes(lattice, name)
    assert all(outcome.named is not None and outcome.named[0] == 1 for outcome in found)
    verdict = comparison.judge(lattice, found)
    assert (verdict.poor.k, verdict.beaten.k, verdict.wrong.k, verdict.nothing.k) == (0, 0, 0, 0)
    assert verdict.regrets.tolist() == [1.0] * len(found)


@pytest.mark.parametrize("name", SEARCHERS)
def test_where_nothing_clears_nothing_is_named_and_that_is_right(name: str) -> None:
    lattice = invented(lambda a, config, seed: None)
    verdict = comparison.judge(lattice, outcomes(lattice, name, 2))
    assert verdict.nothing.k == 2 and verdict.wrong.k == 0 and len(verdict.regrets) == 0


def test_wrong_certificates_are_counted() -> None:
    # Of the cheapest architecture config 3 always clears, config 4 on half of the seeds; of the next all do.
    def clears(rank: int, config: int, seed: int) -> int | None:
        there = rank > 0 or config == 3 or (config == 4 and seed < 5)
        return 200 if there else None

    lattice = invented(clears)
    assert lattice.cheapest == 0 and lattice.rates[0].tolist() == [0, 0, 0, 1, 0.5, 0, 0, 0]
    right, poor, beaten, none = (0, 3), (0, 4), (1, 0), None
    found = [Outcome(named, right, 1.0, 1) for named in (right, right, poor, beaten, beaten, beaten, none)]
    verdict = comparison.judge(lattice, found)
    assert (verdict.poor.k, verdict.beaten.k, verdict.wrong.k, verdict.nothing.k) == (1, 4, 5, 1)
    assert verdict.at_gate.k == 0, "what the gate alone would have named was right each time"
    params = [architecture.params for architecture in lattice.architectures]
    assert verdict.regrets.tolist() == [1.0] * 3 + [params[1] / params[0]] * 3


def test_a_config_at_no_more_than_the_least_rate_is_not_poor() -> None:
    lattice = invented(lambda rank, config, seed: 200 if seed < 4 + 2 * rank else None)
    assert lattice.rates[:, 0].tolist() == [0.4, 0.6, 0.8]
    assert [lattice.is_poor(rank, 0) for rank in range(3)] == [True, False, False]
    assert lattice.cheapest == 2, "only the third is at the gate's rate"


def test_of_equal_parameters_none_is_strictly_cheaper() -> None:
    lattice = invented(only_of(0))
    twin = Architecture(lattice.architectures[1].sizes, lattice.architectures[0].params, 10, 1)
    same = Lattice(lattice.spec, (lattice.architectures[0], twin), lattice.configs, lattice.base, lattice.runs, {}, {})
    assert not same.is_beaten(1) and lattice.is_beaten(1)


def test_only_exclusions_of_cheaper_architectures_that_hold_a_good_config_are_wrong() -> None:
    lattice = invented(only_of(1))
    found = [Outcome((2, 0), (2, 0), 1.0, 1, frozenset(excluded)) for excluded in ({0}, {1}, {0, 1}, set())]
    assert comparison.judge(lattice, found).excluded.k == 2


def test_a_config_that_clears_on_half_of_the_seeds_passes_as_often_as_chance_lets_it() -> None:
    # One config of one architecture: the search seed (1/2), 4 of 5 (6/32), then 7 of 10 (176/1024).
    lattice = invented(lambda rank, config, seed: 200 if seed % 2 else None, configs=1, every=1)
    for name in ("ours", "random"):
        found = outcomes(lattice, name, 600)
        verdict = comparison.judge(lattice, found)
        assert verdict.at_gate.k / 600 == pytest.approx(6 / 64, abs=0.036)  # 3 standard errors
        assert verdict.wrong.k / 600 == pytest.approx(6 / 64 * 176 / 1024, abs=0.016)
        assert verdict.wrong.k == verdict.poor.k == sum(outcome.named is not None for outcome in found)


def test_one_good_config_among_many_is_missed_as_often_as_it_is_not_drawn() -> None:
    # The published one is always tried; of 15 others 7 are.
    lattice = invented(lambda rank, config, seed: 200 if rank > 0 or config == 9 else None, configs=16, every=2)
    verdict = comparison.judge(lattice, outcomes(lattice, "random", 600))
    assert verdict.beaten.k / 600 == pytest.approx(8 / 15, abs=0.061)
    assert verdict.wrong.k == verdict.beaten.k and verdict.poor.k == 0


def test_a_config_carries_the_target_if_one_setting_does_from_enough_weak_seeds() -> None:
    there, not_there = _run(200), _run(None)
    # By the judge's rule, 2 of 3: config 0 by its second setting; config 1 by neither, though two runs got there.
    by_setting = {0: ((0, 0, 0), (1, 1, 0)), 1: ((1, 0, 0), (0, 1, 0))}
    targets = {
        (0, config, seed, setting): there if reached else not_there
        for config, settings in by_setting.items()
        for setting, seeds in enumerate(settings)
        for seed, reached in enumerate(seeds)
    }
    assert comparison.carried(replace(invented(only_of(0)), targets=targets)) == (1, 2)


# -- what they cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ours", "random", "tpe"])
def test_everything_that_was_trained_is_charged(name: str) -> None:
    # The second architecture's config 5 clears, at epoch 200 + 10; all its others and the first architecture run out.
    lattice = invented(lambda rank, config, seed: 200 if (rank, config) == (1, 5) else None)
    first, second = (architecture.flops_per_epoch for architecture in lattice.architectures[:2])
    seeds = lattice.weak.gate.seeds + lattice.spec.report.seeds
    for outcome in outcomes(lattice, name, 2):
        assert outcome.named == (1, 5)
        assert outcome.runs == 2 * CONFIGS + seeds
        assert outcome.flops == CONFIGS * LONGEST * first + (7 * LONGEST + 210 + seeds * 210) * second
        assert outcome.gate_flops == lattice.weak.gate.seeds * 210 * second


def test_ours_never_asks_for_a_config_twice_and_excludes_what_never_cleared() -> None:
    lattice = invented(only_of(2), configs=16)
    (outcome,) = outcomes(lattice, "ours", 1)
    assert outcome.excluded == {0, 1} and outcome.named is not None
    assert outcome.runs == 3 * CONFIGS + CONFIGS * lattice.weak.gate.seeds + lattice.spec.report.seeds


def test_halving_trains_the_better_quarter_on() -> None:
    # Curves rise the faster the later the config in the list, so that 16 of them come down to 4 and to 1.
    epochs = {config: 960 - 20 * config for config in range(16)}
    lattice = invented(lambda rank, config, seed: epochs[config], configs=16, every=1)
    (outcome,) = outcomes(lattice, "halving", 1)
    assert outcome.named == (0, 15)
    searched = 16 * 60 + 4 * (250 - 60) + (epochs[15] + EVERY - 250)
    seeds = lattice.weak.gate.seeds + lattice.spec.report.seeds
    flops = lattice.architectures[0].flops_per_epoch
    assert outcome.flops == (searched + seeds * (epochs[15] + EVERY)) * flops


def test_asha_ends_a_config_below_the_best_quarter_of_those_before_it() -> None:
    # The published config goes first and to its end, whatever it does; one that is flat then falls at the first rung.
    lattice = invented(lambda rank, config, seed: 900 if config == 0 else None, configs=4, every=1)
    (outcome,) = outcomes(lattice, "asha", 1)
    assert outcome.named == (0, 0)
    searched = 910 + 3 * 60
    seeds = lattice.weak.gate.seeds + lattice.spec.report.seeds
    assert outcome.flops == (searched + seeds * 910) * lattice.architectures[0].flops_per_epoch


def test_ratios_of_costs_are_geometric_means_of_pairs() -> None:
    ratio, low, high = comparison.paired(np.array([1.0, 4.0]), np.array([2.0, 2.0]))
    assert ratio == pytest.approx(1.0) and low < 1.0 < high
    assert low * high == pytest.approx(1.0)


# -- early stopping -----------------------------------------------------------------------------------------


def late_riser(late: Mapping[int, float]) -> Lattice:
    """Half of the seeds clear at epoch 500; those configs named in `late` are still at that accuracy at epoch 100."""
    lattice = invented(lambda rank, config, seed: 500 if seed % 2 else None, every=1)
    runs = dict(lattice.runs)
    for (rank, config, seed), run in lattice.runs.items():
        if run.cleared and config in late:
            curve = run.val.copy()
            curve[:11] = late[config]
            runs[rank, config, seed] = Run(run.status, run.epochs, run.epochs_to_goal, curve, curve)
    return lattice.with_runs(runs)


def price_of(lattice: Lattice, metric: str, epoch: int) -> stopping.Price:
    return next(p for p in stopping.prices(lattice) if (p.rule.metric, p.rule.epoch) == (metric, epoch))


def test_a_rule_is_judged_on_configs_it_was_not_learnt_on() -> None:
    everyday = price_of(late_riser({}), "val", 100)
    assert (everyday.killed, everyday.cleared) == (0, CONFIGS * 5)
    # 40 flat runs of 1000 epochs lose 900 each, of all epochs.
    assert everyday.saved == pytest.approx(40 * 900 / (40 * 1000 + 40 * 510))
    assert everyday.rule.least == pytest.approx(0.12)
    # Config 3 rises late: the threshold that the even configs taught kills its 5 runs; what all taught does not.
    odd = price_of(late_riser({3: 0.02}), "val", 100)
    assert (odd.killed, odd.cleared) == (5, CONFIGS * 5) and odd.rule.least == pytest.approx(0.02)
    assert odd.interval[0] == pytest.approx(0.042, abs=0.001) and not odd.is_safe


def test_a_rule_needs_many_runs_that_clear_before_it_is_safe() -> None:
    few, many = stopping.Price(Rule("val", 100, 0.1), 300, 0, 0.5), stopping.Price(Rule("val", 100, 0.1), 400, 0, 0.5)
    assert not few.is_safe and many.is_safe
    assert not stopping.Price(Rule("val", 100, 0.1), 400, 3, 0.5).is_safe


def test_a_stopped_lattice_ends_its_runs_and_keeps_the_others() -> None:
    lattice = late_riser({})
    stopped = stopping.stopped(lattice, Rule("train", 100, 0.1))
    assert {run.epochs for run in stopped.runs.values() if not run.cleared} == {100}
    assert sum(run.cleared for run in stopped.runs.values()) == 40
    assert (stopped.rates == lattice.rates).all()
    unknown = Run("diverged", 200, None, np.array([0.1] + [np.nan] * 20, dtype=np.float32), np.zeros(21, np.float32))
    assert Rule("val", 100, 0.0).kills(unknown, EVERY), "what is not finite is below everything"
    assert not Rule("val", 200, 0.9).kills(unknown, EVERY), "it was over by then"
