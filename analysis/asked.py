"""What an experiment asked for, from the spec.yaml in its run folder (every default is written out there)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gtsearch.errors import ResultsError
from gtsearch.results import SPEC, Results


class _Loader(yaml.SafeLoader):
    """Reads no aliases: a few lines of them stand for more than fits in memory, and no experiment has one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="an alias, and no experiment has one", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def _read(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def experiment(results: Results) -> dict[str, Any]:
    """The experiment file as a mapping.

    Raises:
        ResultsError: it is not one.
    """
    asked = _read(results.folder / SPEC, results.spec_text)
    without = isinstance(asked, dict) and asked.get("weak") is None  # an experiment may have no weak stage
    for path in ("task", "target.goal") if without else ("task", "weak.goal", "target.goal"):
        part: Any = asked
        for name in path.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            raise ResultsError(f"{results.folder / SPEC} is damaged: it holds no {path}")
    return dict(asked)


def name(path: Path, text: str) -> str:
    """What the experiment file in `text` calls itself. `path`: where it was read, for the message.

    Raises:
        ResultsError: it is no YAML, or it has no name.
    """
    asked = _read(path, text)
    if not isinstance(asked, dict) or not isinstance(asked.get("name"), str):
        raise ResultsError(f"{path} is damaged: it holds no name")
    return str(asked["name"])


def value(results: Results, path: str) -> Any:
    """What the experiment holds at a YAML path (`task.p`); None where there is nothing."""
    found: Any = experiment(results)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def target_epochs(results: Results, changes: Mapping[str, Any]) -> int | None:
    """The most epochs a target is given, under a variation's changes; None where it is not written."""
    path = "target.budget.max_epochs"
    most = changes.get(path, value(results, path))
    return most if isinstance(most, int) else None
