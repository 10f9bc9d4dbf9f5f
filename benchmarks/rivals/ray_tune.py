"""The weak stage with Ray Tune alone, as its docs write it: a function trainable, OptunaSearch, Repeater for seeds.

A Tuner an architecture, in one Ray that is started once. Trials take one core each and as many as there are workers run
at once (`max_concurrent_trials`; without it Tune starts one trial after another for a searcher such as this). A trial
reports at each evaluation and is stopped at the goal by `stop`. All else is at its default, loggers too.

    python -m benchmarks.rivals.ray_tune WORK LOG [{"earned": true}]

As the docs of Repeater have it, each config is run on all its seeds, the search seed and the gate's. With `earned` a
first Tuner runs all configs on the search seed, and a second one, with Repeater, those that cleared on the gate's: a
user who thinks of it trains less and starts Tune twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.search import Repeater
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.repeater import TRIAL_INDEX

from benchmarks.rivals import plain
from benchmarks.rivals.work import Architecture, Config, Trained, Work, child_arguments


def train_member(
    config: dict[str, Any], work: Work, architecture: Architecture, seeds: Sequence[int], data: plain.Data
) -> None:
    """The function trainable."""
    torch.set_num_threads(1)
    seed = seeds[config.get(TRIAL_INDEX, 0)]
    held = 0
    for epoch, accuracy in plain.evaluations(work, architecture, data, config, seed):
        held = held + 1 if accuracy >= work.goal else 0
        tune.report({"val_accuracy": accuracy, "held": held, "epoch": epoch})


def search(
    work: Work, architecture: Architecture, data: plain.Data, seeds: Sequence[int], configs: Sequence[Config], n: int
) -> list[Trained]:
    """`n` configs, the given ones first, each on every one of `seeds`."""
    points = [dict(config) for config in configs]
    algorithm = OptunaSearch(metric="val_accuracy", mode="max", points_to_evaluate=points)
    tuner = tune.Tuner(
        tune.with_parameters(train_member, work=work, architecture=architecture, seeds=seeds, data=data),
        param_space={name: tune.loguniform(low, high) for name, (low, high) in work.space.items()},
        tune_config=tune.TuneConfig(
            search_alg=Repeater(algorithm, repeat=len(seeds)) if len(seeds) > 1 else algorithm,
            num_samples=n * len(seeds),
            max_concurrent_trials=work.workers,
        ),
        run_config=tune.RunConfig(storage_path=str(Path(work.data).parent / "ray_results"), stop={"held": work.hold}),
    )
    results = tuner.fit()
    return [_trained(results[i], work, architecture, seeds) for i in range(len(results))]


def _trained(result: tune.Result, work: Work, architecture: Architecture, seeds: Sequence[int]) -> Trained:
    if result.error is not None:
        raise result.error
    assert result.config is not None and result.metrics is not None, "a trial without an error has both"
    config = {name: float(result.config[name]) for name in work.space}
    seed = seeds[result.config.get(TRIAL_INDEX, 0)]
    return Trained(architecture.label, config, seed, result.metrics["held"] >= work.hold, result.metrics["epoch"])


def climb(work: Work, architecture: Architecture, data: plain.Data, earned: bool) -> list[Trained]:
    """The whole budget of one architecture."""
    if not earned:
        return search(work, architecture, data, work.seeds, architecture.configs, work.budget)
    runs = search(work, architecture, data, [work.search_seed], architecture.configs, work.budget)
    configs = [run.config for run in runs if run.cleared]
    return runs + (search(work, architecture, data, work.gate_seeds, configs, len(configs)) if configs else [])


def main() -> None:
    work, log, options = child_arguments(sys.argv[1:])
    ray.init(address="local", num_cpus=work.workers)  # not one that somebody else runs on this machine
    data = plain.load(work.data)
    with log.open("a") as lines:
        for architecture in work.architectures:
            lines.writelines(run.to_line() for run in climb(work, architecture, data, options.get("earned", False)))
            lines.flush()
    ray.shutdown()


if __name__ == "__main__":
    main()
