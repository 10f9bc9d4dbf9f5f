"""The weak stage with Optuna alone, as its docs write a search on several cores.

The docs' page on parallelization offers threads (`n_jobs`) and processes that share a storage. The work is CPU-bound
Python (an epoch is some dozens of small operations), which Python's lock lets one thread do at a time; so: processes, a
`multiprocessing.Pool` over one study in a `JournalStorage`, as that page's example for one machine does. The pool is
kept for the whole climb, a task of it is one trial, so that a free process always takes the next config. A trial is a
config: the search seed first, and where that clears, the gate's.

    python -m benchmarks.rivals.plain_optuna WORK LOG
"""

from __future__ import annotations

import sys
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.rivals import plain
from benchmarks.rivals.work import Architecture, Work, child_arguments


def objective(trial: optuna.Trial, work: Work, architecture: Architecture) -> float:
    data = plain.load(work.data)
    config = {name: trial.suggest_float(name, low, high, log=True) for name, (low, high) in work.space.items()}
    first, accuracy = plain.trained(work, architecture, data, config, work.search_seed)
    runs = [first]
    if first.cleared:
        runs += [plain.trained(work, architecture, data, config, seed)[0] for seed in work.gate_seeds]
    trial.set_user_attr("runs", [run.to_line() for run in runs])
    return accuracy


def run_trial(_: int, work: Work, architecture: Architecture, journal: Path) -> None:
    study = optuna.load_study(study_name=architecture.label, storage=storage_at(journal))
    study.optimize(partial(objective, work=work, architecture=architecture), n_trials=1)


def storage_at(journal: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(journal)))


def main() -> None:
    work, log, _ = child_arguments(sys.argv[1:])
    journal = log.with_suffix(".journal")
    with Pool(processes=work.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool, log.open("a") as lines:
        for architecture in work.architectures:
            study = optuna.create_study(
                study_name=architecture.label, storage=storage_at(journal), direction="maximize"
            )
            for config in architecture.configs:
                study.enqueue_trial(config)
            one = partial(run_trial, work=work, architecture=architecture, journal=journal)
            pool.map(one, range(work.budget), chunksize=1)
            for trial in study.trials:
                lines.writelines(trial.user_attrs["runs"])
            lines.flush()


if __name__ == "__main__":
    main()
