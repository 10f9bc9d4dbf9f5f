from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import ladder, sentences, style
from gtsearch.errors import ResultsError
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def rung(params: int, verdict: str, best: float | None = None, gate: int | None = None) -> dict[str, Any]:
    return {
        "architecture": f"mlp-{params}",
        "params": params,
        "configs": 0 if verdict == "not tried" else 8,
        "cleared_configs": 0,
        "best_val_accuracy": best,
        "best_cleared": gate,
        "gate_seeds": None if gate is None else 5,
        "verdict": verdict,
        "detail": "",
        "goal": 0.4,
        "gate_required": 0.8,
    }


RUNGS = [
    rung(900, "pays", 0.6, 5),
    rung(400, "excluded", 0.2),
    rung(700, "undecided", 0.45, 3),
    rung(1600, "not tried"),
]


def test_the_table_is_in_order_of_size_with_the_share_at_the_gate() -> None:
    table = ladder.table(pd.DataFrame(RUNGS))
    assert table["params"].tolist() == [400, 700, 900, 1600]
    assert table["gate_share"].isna().tolist() == [True, False, False, True]
    assert table["gate_share"].dropna().tolist() == [0.6, 1.0]
    assert table["best_val_accuracy"].dropna().tolist() == [0.2, 0.45, 0.6]
    assert dict(table.dtypes.astype(str)) == ladder.COLUMNS


@pytest.mark.parametrize(
    ("verdicts", "bracket"),
    [
        (["excluded", "undecided", "excluded", "clears", "pays"], ["excluded", "open", None, "open", "certified"]),
        (["excluded", "clears", "undecided", "clears"], ["excluded", "certified", None, None]),
        (["excluded", "undecided", "excluded"], ["excluded", "open", None]),
        (["excluded", "excluded"], ["excluded", "excluded"]),
        (["pays", "excluded", "not tried"], ["certified", None, None]),
    ],
)
def test_the_bracket_is_excluded_below_open_below_certified(verdicts: list[str], bracket: list[str | None]) -> None:
    frame = pd.DataFrame([rung(100 * (i + 1), verdict, 0.3) for i, verdict in enumerate(verdicts)])
    found = ladder.table(frame)["bracket"]
    assert [None if pd.isna(name) else name for name in found] == bracket
    assert ladder.table(frame.assign(cost="params"))["bracket"].equals(found)
    assert ladder.table(frame.assign(cost="flops"))["bracket"].isna().all(), "its order is not that of parameters"


def test_the_bracket_of_a_run_says_what_the_certificate_says(usual: Results) -> None:
    table = ladder.table(ladder.gather(usual))
    weak = usual.summary["weak"]
    assert table.loc[table["bracket"] == "certified", "architecture"].tolist() == [weak["pays"]["architecture"]]
    said = sentences.bracket(usual.summary)[0]["model"]
    largest = table[table["bracket"] == "excluded"].iloc[-1]
    assert said.startswith(f"{largest['architecture']} ({largest['params']:,}")


def test_what_the_experiment_asks_for_comes_along(usual: Results) -> None:
    table = ladder.table(ladder.gather(usual))
    assert len(table) == 42
    assert set(table["goal"]) == {0.4} and set(table["gate_required"]) == {0.8}


def test_a_damaged_experiment_names_the_file(usual: Results) -> None:
    broken = Results(**{**vars(usual), "spec_text": "weak: [1"})
    with pytest.raises(ResultsError, match=r"spec\.yaml is damaged"):
        ladder.gather(broken)
    with pytest.raises(ResultsError, match=r"holds no weak\.goal"):
        ladder.gather(Results(**{**vars(usual), "spec_text": "{task: {p: 3}, weak: [1]}"}))


def drawn(table: pd.DataFrame, y: str = "best_val_accuracy") -> Axes:
    ax = Figure().add_subplot()
    ladder.draw(table, ax, y=y)
    ax.get_figure().draw_without_rendering()
    return ax


def test_every_architecture_is_a_mark_of_its_verdict() -> None:
    ax = drawn(ladder.table(pd.DataFrame(RUNGS)))
    marks = {tuple(xy) for c in ax.collections for xy in c.get_offsets().tolist()}
    assert marks == {(400, 0.2), (700, 0.45), (900, 0.6), (1600, 0.0)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "pays (1)",
        "undecided (1)",
        "excluded (1)",
        "not tried (1)",
    ]
    names = {text.get_text() for text in ax.texts if text.get_text()}
    assert names >= {"mlp-400", "mlp-700", "mlp-900", "mlp-1600"}
    assert names - {"mlp-400", "mlp-700", "mlp-900", "mlp-1600"} == {"excluded to 400 < 1 undecided < certified at 900"}
    assert any(list(line.get_ydata()) == [0.4, 0.4] for line in ax.lines)


def test_the_gate_shows_only_those_that_came_to_it() -> None:
    ax = drawn(ladder.table(pd.DataFrame(RUNGS)), "gate_share")
    assert {tuple(xy) for c in ax.collections for xy in c.get_offsets().tolist()} == {(700, 0.6), (900, 1.0)}
    assert any(list(line.get_ydata()) == [0.8, 0.8] for line in ax.lines)


@pytest.mark.parametrize("n", [1, 2, 9, 45])
def test_names_never_touch_however_many_there_are(n: int) -> None:
    verdicts = ["excluded", "undecided", "clears", "pays", "not tried"]
    rungs = [rung(700 + 40 * i, verdicts[i % 5], None if i % 5 == 4 else 0.42 + 0.001 * (i % 7), 3) for i in range(n)]
    ax = drawn(ladder.table(pd.DataFrame(rungs)))
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert boxes
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_name_is_nearest_to_its_own_mark_and_off_the_dotted_line() -> None:
    rungs = [rung(768, "excluded", 0.36), rung(1024, "pays", 0.97, 4)]
    rungs += [rung(1408, "not tried"), rung(1792, "not tried")]
    table = ladder.table(pd.DataFrame(rungs))
    marks = dict(
        zip(
            table["architecture"],
            zip(table["params"], table["best_val_accuracy"].fillna(0.0), strict=True),
            strict=True,
        )
    )
    ax = drawn(table)
    for text in ax.texts:
        if text.get_text() in marks:
            middle = text.get_window_extent().get_points().mean(axis=0)
            away = {name: np.linalg.norm(ax.transData.transform(at) - middle) for name, at in marks.items()}
            assert min(away, key=lambda name: away[name]) == text.get_text()
    gate = drawn(table, "gate_share")  # its only mark lies on the line
    [name] = [text for text in gate.texts if text.get_text() == "mlp-1024"]
    line = gate.transData.transform((1024, 0.8))[1]
    box = name.get_window_extent()
    assert not box.y0 <= line <= box.y1


@pytest.mark.parametrize("best", [0.2, 0.6, 0.97])
def test_an_accuracy_has_no_tick_above_one_nor_behind_the_bracket(best: float) -> None:
    ax = drawn(ladder.table(pd.DataFrame([rung(400, "excluded", best / 2), rung(900, "pays", best, 5)])))
    ticks = ax.get_yticks()
    assert ticks[-1] <= min(1.0, ladder._GROUND * ax.get_ylim()[1]) and len(ticks) >= 3


def test_nothing_to_draw_is_said_in_words(folder: Path) -> None:
    results = make(folder, Story(pays=False, clears=False, architectures=9, methods=("transfer",)))
    table = ladder.table(ladder.gather(results))
    assert ladder.nothing(table) is None
    assert "none came to the gate" in drawn(table, "gate_share").texts[0].get_text().replace("\n", " ")
    results.summary["weak"]["ladder"] = []
    empty = ladder.table(ladder.gather(results))
    assert "No weak architecture" in drawn(empty).texts[0].get_text()


def test_verdicts_have_a_marker_each() -> None:
    assert len({marker for _, marker in style.VERDICTS.values()}) == len(style.VERDICTS)
