"""What an experiment asked for, from the spec.yaml in its run folder (every default is written out there)."""

from __future__ import annotations

from typing import Any

import yaml

from gtsearch.errors import ResultsError
from gtsearch.results import SPEC, Results


def experiment(results: Results) -> dict[str, Any]:
    """The experiment file as a mapping.

    Raises:
        ResultsError: it is not one.
    """
    try:
        asked = yaml.safe_load(results.spec_text)
    except yaml.YAMLError as error:
        raise ResultsError(f"{results.folder / SPEC} is damaged: {' '.join(str(error).split())}") from None
    for path in ("task", "weak.goal", "target.goal"):
        part: Any = asked
        for name in path.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            raise ResultsError(f"{results.folder / SPEC} is damaged: it holds no {path}")
    return dict(asked)


def question(results: Results) -> dict[str, Any]:
    """The task and both goals, by YAML path: runs that differ in these answer different questions.

    The seed of the task's split is not part of it: another split is another sample of the same question.
    """
    asked = experiment(results)
    parts = {
        "task": {key: value for key, value in dict(asked["task"]).items() if key != "seed"},
        "weak.goal": asked["weak"]["goal"],
        "target.goal": asked["target"]["goal"],
    }
    return {f"{path}.{key}": value for path, part in parts.items() for key, value in part.items()}
