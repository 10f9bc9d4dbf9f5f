"""`gtsearch` as a process under faults: `python -m faults.drive run ...`, told by the environment what goes wrong.

FAULTS_TRAINABLE names who trains in the place of `gtsearch.tune.TRAINABLE`; FAULTS_FIGURES which figures the report
has, since drawing all of them takes longer than a synthetic search; FAULTS is of `faults.inject`.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from faults import inject

TRAINABLE, FIGURES, READY = "FAULTS_TRAINABLE", "FAULTS_FIGURES", "FAULTS_READY"


def _put_trainable(tune: ModuleType) -> None:
    tune.TRAINABLE = os.environ[TRAINABLE]  # type: ignore[attr-defined]


def _trainable_for(job: Any) -> Any:
    module, _, function = os.environ[TRAINABLE].partition(":")
    return getattr(importlib.import_module(module), function)(job)


def _put_figures(catalog: ModuleType) -> None:
    asked = os.environ[FIGURES].split(",")
    for name in set(catalog.FIGURES) - set(asked):
        del catalog.FIGURES[name]


def main() -> int:
    inject.bend_clock()
    inject.watch_writes()
    inject.after_import("gtsearch.tune", _put_trainable)
    inject.mend_with(_trainable_for)
    if FIGURES in os.environ:
        inject.after_import("gtsearch.catalog", _put_figures)
    from gtsearch.__main__ import main as gtsearch

    Path(os.environ[READY]).touch()
    return gtsearch()


if __name__ == "__main__":
    sys.exit(main())
