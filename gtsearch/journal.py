"""The Optuna studies of a run as a JournalFile: a mirror for `optuna-dashboard`, never read back by the search."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from gtsearch.errors import GtsearchError
from gtsearch.parts import BASE
from gtsearch.search.board import objective
from gtsearch.spec import Spec

VALUE = "share of max_epochs"
"""What a trial's value is called."""
MEANING = "share of max_epochs that it took to the goal; above 1: missed"
_TOLD = ("run_id", "status", "epochs", "epochs_to_goal", "best_val_accuracy", "architecture", "method", "seed")


class _Mirror(JournalFileBackend):
    """The file without lock and without sync: whoever holds members.log is alone in the folder, and what a crash takes
    of a mirror is made anew."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self._path.open("ab") as file:
            file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())


class Journal:
    """One study an architecture and one a method (of each variation); a trial is a finished member of the search role.

    The value is what the proposals minimise: the share of max_epochs to the goal, above 1 for runs that missed it.
    """

    def __init__(self, path: Path, variations: Mapping[str, Spec]) -> None:
        self.variations = variations
        path.unlink(missing_ok=True)  # a mirror is made anew from the rows
        # A run that was killed leaves Optuna's lock behind, and waiting for it would be for ever. Whoever holds
        # members.log is alone in the folder.
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        self._storage = JournalStorage(_Mirror(path))
        self._studies: dict[str, optuna.Study] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Mirrors those of the rows that a study would hold."""
        for row in rows:
            if row["role"] == "search" and row["status"] not in ("cancelled", "failed"):
                with suppress(KeyError, ValueError, GtsearchError):  # of another experiment, whose space it is none of
                    self._study(row).add_trial(self._trial(row))

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Writes into each study what came of its architecture or method, as summary.json says it."""
        variations = summary["variations"] or {BASE: {"summary": summary}}
        for variation, told in variations.items():
            of = {} if variation == BASE else {"variation": variation}
            weak, methods = told["summary"]["weak"], told["summary"]["methods"]
            verdicts = {
                _named({"stage": "weak", **rung, **of}): rung["verdict"] for rung in (weak or {}).get("ladder", ())
            }
            verdicts |= {
                _named(
                    {"stage": "target", "method": name, **of}
                ): f"{one['reached']} of {one['seeds']} seeds reach the goal"
                for name, one in methods.items()
            }
            for name in verdicts.keys() & self._studies.keys():
                ahead = "; what is here was run ahead, and not needed" if verdicts[name] == "not tried" else ""
                self._studies[name].set_user_attr("verdict", verdicts[name] + ahead)

    def _study(self, row: Mapping[str, Any]) -> optuna.Study:
        name = _named(row)
        if name not in self._studies:
            study = optuna.create_study(study_name=name, storage=self._storage, direction="minimize")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the dashboard reads it
                study.set_metric_names([VALUE])
            told = {key: row[key] for key in ("architecture", "params", "max_epochs")}
            # The dashboard shows the first five.
            for key, value in {"value": MEANING, "verdict": "not known yet", **told}.items():
                study.set_user_attr(key, value)
            self._studies[name] = study
        return self._studies[name]

    def _trial(self, row: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        spec = self.variations[row.get("variation") or BASE]
        space = spec.weak.tune if spec.weak and row["stage"] == "weak" else spec.method_space(row["method"])
        seconds = float(row["train_seconds"] or 0.0) + float(row["eval_seconds"] or 0.0)
        trial = optuna.trial.create_trial(
            params=dict(row["hyperparameters"]),
            distributions={name: domain.distribution() for name, domain in space.items()},
            value=objective(row),
            user_attrs={name: row[name] for name in _TOLD if row.get(name) is not None},
        )
        trial.datetime_start = datetime.now() - timedelta(seconds=seconds)
        return trial


def _named(row: Mapping[str, Any]) -> str:
    """The study that a member is a trial of."""
    name = f"weak {row['architecture']}" if row["stage"] == "weak" else f"target {row['method']}"
    return f"{row['variation']}: {name}" if row.get("variation") else name
