from __future__ import annotations

import pytest

from gtsearch.analysis import asked
from gtsearch.errors import ResultsError
from gtsearch.results import Results

GOAL = "target: {goal: {val_accuracy: 0.99}}"


def saying(usual: Results, text: str) -> Results:
    return Results(**{**vars(usual), "spec_text": text})


@pytest.mark.parametrize("weak", ["", "weak: null"])
def test_an_experiment_may_have_no_weak_stage(usual: Results, weak: str) -> None:
    results = saying(usual, f"task: {{name: modular_addition, p: 7, seed: 3}}\n{weak}\n{GOAL}")
    assert asked.experiment(results)["task"] == {"name": "modular_addition", "p": 7, "seed": 3}
    assert asked.value(results, "weak.goal") is None


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("weak: null", "task"),
        ("task: {p: 7}", r"target\.goal"),
        ("{task: {p: 7}, weak: {}}", r"weak\.goal"),
        ("1", "task"),
    ],
)
def test_what_is_missing_is_named(usual: Results, text: str, missing: str) -> None:
    with pytest.raises(ResultsError, match=rf"spec\.yaml is damaged: it holds no {missing}"):
        asked.experiment(saying(usual, text))
