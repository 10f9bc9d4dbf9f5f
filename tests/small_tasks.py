"""Every task of the menu in a size that tests can train on: `small(name)`, or its parameters, `SMALL[name]`.

Files that a task reads are made on import, in a folder that goes away with the process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gtsearch import catalog
from gtsearch.tasks.base import Task

_folder = tempfile.TemporaryDirectory(prefix="gtsearch-small-tasks-")
FOLDER = Path(_folder.name)


def _mnist() -> Path:
    """A folder with `mnist.npz`: 60 + 20 images of noise with one bright row, that of their class."""
    folder = FOLDER / "mnist"
    folder.mkdir()
    draws = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 60), ("test", 20)):
        y = np.arange(n, dtype=np.uint8) % 10
        x = draws.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        x[np.arange(n), 2 * y] = 255
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    np.savez(folder / "mnist.npz", **arrays)
    return folder


def _table() -> Path:
    """A CSV of all pairs (a, b) below 6, labelled a + b mod 4."""
    path = FOLDER / "table.csv"
    rows = [f"{a},{b},{(a + b) % 4}" for a in range(6) for b in range(6)]
    path.write_text("\n".join(["a,b,label", *rows]) + "\n")
    return path


_FEW = {"n_train": 40, "n_validation": 20, "n_test": 20}

SMALL: dict[str, dict[str, Any]] = {
    name: {"name": name, **parameters}
    for name, parameters in {
        "modular_addition": {"p": 7, "train_fraction": 0.6},
        "modular_subtraction": {"p": 7, "train_fraction": 0.6},
        "modular_multiplication": {"p": 7, "train_fraction": 0.6},
        "modular_division": {"p": 7, "train_fraction": 0.6},
        "modular_polynomial": {"p": 7, "train_fraction": 0.6, "expression": "x^2 + x*y + y^2"},
        "modular_pair": {"p1": 2, "p2": 3, "train_fraction": 0.6},
        "permutations": {"k": 3, "train_fraction": 0.6},
        "sparse_parity": {"q": 8, "k": 2, **_FEW},
        "redundant_parity": {"q": 8, "k": 2, "n_easy": 4, "rho": 0.8, **_FEW},
        "xor_clusters": {"p": 12, **_FEW},
        "digits": _FEW,
        "mnist": {"folder": str(_mnist()), **_FEW},
        "table": {"file": str(_table()), "train_fraction": 0.6},
        "text": {"context": 5, **_FEW},
    }.items()
}
"""All parameters of each task, its name among them, as they would stand in the YAML."""


def small(name: str, **changes: Any) -> Task:
    """The small task called `name`, with other parameters where `changes` says so."""
    task: Task = catalog.load("task", name)(**{**SMALL[name], **changes})
    return task
