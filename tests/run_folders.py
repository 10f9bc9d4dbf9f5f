"""Run folders without a run: of a search in a world in which the answer is known (`oracle`), in no time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracle import Oracle, Story, search, spec, target_gets_there, weak_clears

from gtsearch import certificate, results

Row = dict[str, Any]

SMALL: dict[str, Any] = {
    "weak__model": {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": [4, 8]},
    "weak__budget": {"configs_per_architecture": 4, "max_epochs": 400},
    "weak__gate": {"seeds": 3, "at_least": 2},
    "target__model": {"name": "mlp", "depth": 3, "d_embed": 64, "width": 256},
    "target__budget": {"configs": 2, "max_epochs": 300},
    "report": {"seeds": 4, "at_least": 2, "weak_tries": 3},
    "tradeoff": {"weak_accuracy": [0.1, 0.3], "seeds": 2},
}
"""An experiment of a few dozen members, in which a weak model pays."""


def small_story(**changes: Any) -> Story:
    """A search of SMALL that came to its end."""
    world = Oracle(
        weak_clears(lambda architecture: architecture.params >= 150, epochs=100),
        target_gets_there(lambda member: member.architecture.params >= 150),
    )
    return search(spec(**SMALL, **changes), world, workers=4)  # some of what looks ahead counts for nothing


def write_run(folder: Path, story: Story, environment: Mapping[str, Any] | None = None) -> Path:
    """The folder of a run that came to its end, as `experiment.finish` leaves it but for figures and report."""
    folder.mkdir(parents=True)
    rows = [row | {"elapsed_seconds": float(i), "curve": _curve(row)} for i, row in enumerate(story.rows.values())]
    text = story.policy.spec.to_yaml()
    (folder / results.SPEC).write_text(text)
    made = {"workers": 2, "device": "cpu", "device_names": ["a processor"], "threads": 1, "versions": {}}
    made |= {"started": "2026-01-31 10:15:00", "spec_sha256": results.spec_digest(text)} | dict(environment or {})
    results.write_json(folder / results.ENVIRONMENT, made)
    with results.MembersLog(folder / results.LOG) as log:
        for row in rows:
            log.append(row)
    settled = certificate.settle(story.ablation, rows)
    results.write_tables(folder, settled, float(len(rows)))
    trials = results.trials_frame(settled)
    results.write_json(folder / results.SUMMARY, certificate.summarise(story.ablation, trials))
    return folder


def _curve(row: Row) -> list[Row]:
    """Two evaluations: at the start and at the end."""
    ends = ((0, 0.05), (row["epochs"], row["best_val_accuracy"]))
    return [{"epoch": epoch, "train_accuracy": 1.0, "val_accuracy": accuracy} for epoch, accuracy in ends]


def copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to))


def forget_the_end(folder: Path) -> None:
    """What a run that was killed leaves: no summary and no tables."""
    for path in [folder / results.SUMMARY, *folder.glob("*.parquet")]:
        path.unlink()


def cut(path: Path, length: int) -> None:
    """Keeps the first `length` bytes; a negative length takes as many off the end."""
    path.write_bytes(path.read_bytes()[:length])
