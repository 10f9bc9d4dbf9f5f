"""A recorded lattice as a file and as a world: what each config did on each seed, and so what is true of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from gtsearch.errors import ResultsError
from gtsearch.parts import WeakSpec
from gtsearch.search.board import Architecture
from gtsearch.spec import Spec, parse_spec

FOLDER = Path(__file__).parent
POOR = 0.6
"""A certificate is wrong whose config clears on a smaller share of all recorded seeds."""

_METADATA = b"lattice"
_COUNTS = pa.list_(pa.uint16())
_COLUMNS = {
    "stage": pa.dictionary(pa.int8(), pa.string()),  # weak or target
    "architecture": pa.dictionary(pa.int16(), pa.string()),  # of the weak model
    "config": pa.int16(),  # index of the weak config
    "seed": pa.int16(),  # index of the weak seed
    "transfer": pa.int16(),  # index of the target's setting; null: a weak run
    "status": pa.dictionary(pa.int8(), pa.string()),  # of gtsearch.results.STATUSES
    "epochs": pa.int16(),  # trained
    "epochs_to_goal": pa.int16(),  # null: never
    "val_correct": _COUNTS,  # right answers at epochs 0, evaluate_every, ...; null: not finite
    "train_correct": _COUNTS,
}


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run.

    Attributes:
        status: of `gtsearch.results.STATUSES`.
        epochs: trained.
        epochs_to_goal: the first evaluation of those that held it; None: never.
        val, train: [evaluations], float32, accuracy in [0, 1] at epochs 0, evaluate_every, ...; NaN where unknown.
    """

    status: str
    epochs: int
    epochs_to_goal: int | None
    val: npt.NDArray[np.float32]
    train: npt.NDArray[np.float32]

    @property
    def cleared(self) -> bool:
        return self.status == "cleared"

    @property
    def best(self) -> float | None:
        """The best validation accuracy; None where none is known."""
        known = self.val[~np.isnan(self.val)]
        return float(known.max()) if len(known) else None


Cell = tuple[int, int, int]
"""The rank of an architecture, the index of a config, the index of a seed."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """The complete part of what was recorded of one experiment.

    Attributes:
        spec: the experiment.
        architectures: cheapest first, with their static costs.
        configs: hyperparameters by name; the first `published` of them are the experiment's published settings.
        base: on so many seeds every config ran. One that cleared on any of them ran on more.
        runs: weak runs. targets: transfers, with the index of the target's setting behind the weak run's cell.
        made: how it was recorded: commits, devices, threads, versions, seconds.
    """

    spec: Spec
    architectures: tuple[Architecture, ...]
    configs: tuple[Mapping[str, float], ...]
    base: int
    runs: Mapping[Cell, Run]
    targets: Mapping[tuple[int, int, int, int], Run]
    made: Mapping[str, Any]

    @property
    def weak(self) -> WeakSpec:
        assert self.spec.weak is not None
        return self.spec.weak

    @property
    def published(self) -> int:
        return len(self.weak.start_from)

    @property
    def required(self) -> float:
        """The rate that the gate asks for."""
        return self.weak.gate.at_least / self.weak.gate.seeds

    @cached_property
    def _seeds(self) -> dict[tuple[int, int], list[int]]:
        found: dict[tuple[int, int], list[int]] = {}
        for rank, config, seed in sorted(self.runs):
            found.setdefault((rank, config), []).append(seed)
        return found

    def seeds(self, rank: int, config: int) -> list[int]:
        """The indices of the recorded seeds of a config."""
        return self._seeds[rank, config]

    def rate(self, rank: int, config: int) -> float:
        """The share of all recorded seeds of a config that clear."""
        seeds = self.seeds(rank, config)
        return sum(self.runs[rank, config, seed].cleared for seed in seeds) / len(seeds)

    @cached_property
    def rates(self) -> npt.NDArray[np.float64]:
        """[architectures, configs], `rate` of each."""
        shape = (len(self.architectures), len(self.configs))
        return np.array([self.rate(rank, config) for rank, config in np.ndindex(shape)]).reshape(shape)

    @cached_property
    def cheapest(self) -> int | None:
        """The rank of the cheapest architecture with a recorded config at the required rate; None: there is none."""
        good = np.flatnonzero((self.rates >= self.required).any(axis=1))
        return int(good[0]) if len(good) else None

    def is_poor(self, rank: int, config: int) -> bool:
        """Whether a certificate of this config is wrong: it clears on too few of all recorded seeds."""
        return bool(self.rates[rank, config] < POOR)

    def is_beaten(self, rank: int | None) -> bool:
        """Whether a certificate of this architecture (None: of none) is wrong: a strictly cheaper one holds a config
        at the required rate."""
        if self.cheapest is None:
            return False
        params = self.architectures[self.cheapest].params
        return rank is None or params < self.architectures[rank].params

    def with_runs(self, runs: Mapping[Cell, Run]) -> Lattice:
        """The same experiment, had its runs gone so."""
        return replace(self, runs=runs)


# -- the file -----------------------------------------------------------------------------------------------


def write(path: Path, rows: Sequence[Mapping[str, Any]], made: Mapping[str, Any]) -> None:
    """Writes a lattice, whole or not at all.

    Args:
        rows: by the names of the columns.
        made: JSON values: `spec` (YAML), `configs`, `transfers`, `costs` (label -> params and FLOPs an epoch), `base`,
            `seeds`, `examples` (stage -> sizes of the training and the validation set), and how it was recorded.
    """
    fields = [pa.field(name, kind) for name, kind in _COLUMNS.items()]
    schema = pa.schema(fields, metadata={_METADATA: json.dumps(made)})
    columns = [pa.array([row[field.name] for row in rows], type=field.type) for field in fields]
    beside = path.with_suffix(".partial")
    coded = {f"{name}.list.element": "DELTA_BINARY_PACKED" for name, kind in _COLUMNS.items() if kind == _COUNTS}
    others = [name for name, kind in _COLUMNS.items() if kind != _COUNTS]
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        beside,
        compression="zstd",
        compression_level=19,
        use_dictionary=others,
        column_encoding=coded,
    )
    beside.replace(path)


def read(path: Path) -> Lattice:
    """The lattice in a file, without the configs that were not recorded on all architectures and seeds.

    Raises:
        ResultsError: the file is missing or no lattice, or holds no complete config.
    """
    try:
        table = pq.read_table(path)
        made = json.loads(table.schema.metadata[_METADATA])
    except FileNotFoundError:
        raise ResultsError(f"{path} is missing; make it with python -m benchmarks.lattice record") from None
    except (KeyError, TypeError, pa.ArrowInvalid):
        raise ResultsError(f"{path} is no recorded lattice; make it with python -m benchmarks.lattice record") from None
    spec = parse_spec(yaml.safe_load(made["spec"]))
    assert spec.weak is not None
    by_label = {sizes.label: sizes for sizes in spec.weak.model.architectures}
    architectures = tuple(
        Architecture(by_label[label], params, flops, rank)
        for rank, (label, (params, flops)) in enumerate(made["costs"].items())
    )
    rank_of = {architecture.label: architecture.rank for architecture in architectures}
    runs: dict[Cell, Run] = {}
    targets: dict[tuple[int, int, int, int], Run] = {}
    for row in table.to_pylist():
        cell = rank_of[row["architecture"]], row["config"], row["seed"]
        if row["stage"] == "weak":
            runs[cell] = _run(row, made["examples"]["weak"])
        else:
            targets[(*cell, row["transfer"])] = _run(row, made["examples"]["target"])
    chosen = _complete(runs, len(architectures), len(made["configs"]), made["base"], made["seeds"])
    if not chosen:
        raise ResultsError(f"{path} holds no config that ran on every architecture; record it further")
    place = {config: i for i, config in enumerate(chosen)}
    return Lattice(
        spec=spec,
        architectures=architectures,
        configs=tuple(made["configs"][config] for config in chosen),
        base=made["base"],
        runs={(a, place[c], s): run for (a, c, s), run in runs.items() if c in place},
        targets={(a, place[c], s, t): run for (a, c, s, t), run in targets.items() if c in place},
        made={name: value for name, value in made.items() if name not in ("spec", "configs", "costs")},
    )


def _run(row: Mapping[str, Any], examples: Mapping[str, int]) -> Run:
    def accuracy(name: str, part: str) -> npt.NDArray[np.float32]:
        return np.array(row[name], dtype=np.float32) / np.float32(examples[part])  # a null becomes NaN

    val, train = accuracy("val_correct", "validation"), accuracy("train_correct", "train")
    return Run(row["status"], row["epochs"], row["epochs_to_goal"], val, train)


def _complete(runs: Mapping[Cell, Run], architectures: int, configs: int, base: int, seeds: int) -> list[int]:
    """The configs that ran on all seeds they were to run on, of every architecture."""

    def whole(rank: int, config: int) -> bool:
        first = [runs.get((rank, config, seed)) for seed in range(base)]
        if None in first:
            return False
        asked = range(base, seeds) if is_promising(run for run in first if run is not None) else ()
        return all((rank, config, seed) in runs for seed in asked)

    return [config for config in range(configs) if all(whole(rank, config) for rank in range(architectures))]


def is_promising(runs: Iterable[Run]) -> bool:
    """Whether a config with these runs on the base seeds runs on more seeds."""
    return any(run.cleared for run in runs)
