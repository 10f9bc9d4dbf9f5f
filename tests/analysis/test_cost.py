from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import bill, cost, style
from gtsearch.results import Results, trials_frame
from tests.analysis.synthetic import Story, make


def row(run_id: str, stage: str, method: str, purpose: str, flops: float, reached: bool = True, **more: Any) -> Any:
    """A member that took so many FLOPs, a tenth as many seconds and a hundredth as many epochs."""
    role = {"weak_search": "search", "weak_gate": "gate", "target_search": "search"}.get(purpose, purpose)
    spent = {"train_flops": flops, "train_seconds": flops / 10, "epochs": int(flops / 100)}
    to_goal = {"flops_to_goal": flops, "seconds_to_goal": flops / 10, "epochs_to_goal": int(flops / 100)}
    return {
        "run_id": run_id,
        "attempt": 0,
        "stage": stage,
        "method": method,
        "role": role,
        "purpose": purpose,
        "status": "cleared" if reached else "exhausted",
        **spent,
        **(to_goal if reached else {}),
        **more,
    }


def handed(run_id: str, weak: str, split: int, flops: float, weak_flops: float, reached: bool = True) -> Any:
    weak_row = {"weak_run_id": weak, "weak_flops": weak_flops, "weak_seconds": weak_flops / 10, "split_seed": split}
    return row(run_id, "target", "transfer", "report", flops, reached, **weak_row)


ROWS = [
    row("ladder", "weak", "weak", "weak_search", 3000),
    row("gate", "weak", "weak", "weak_gate", 500),
    row("probe", "target", "transfer", "probe", 1000),
    row("tuned", "target", "transfer", "target_search", 2000),
    row("in vain", "weak", "weak", "cancelled", 100, status="cancelled"),
    row("w1", "weak", "weak", "report", 200, split_seed=1),
    row("missed", "weak", "weak", "report", 400, reached=False, split_seed=2),
    row("w2", "weak", "weak", "report", 200, split_seed=2),
    row("w3", "weak", "weak", "report", 200, split_seed=3),
    handed("t1", "w1", 1, 1000, 200),
    handed("t2", "w2", 2, 1000, 200),
    handed("t3", "w3", 3, 2000, 200),
    row("own", "target", "scratch", "target_search", 600),
    *(row(f"s{i}", "target", "scratch", "report", 3000 + 1000 * i, split_seed=i) for i in (1, 2, 3)),
    row("control", "target", "lowrank_random", "target_search", 10**6),
    row("control's", "target", "lowrank_random", "report", 10**6),
    row("study", "weak", "weak", "tradeoff", 10**6),
]


def results(rows: list[Any], **summary: Any) -> Results:
    trials = trials_frame(rows)
    report = trials[(trials["role"] == "report") & (trials["stage"] == "target")]
    methods = {name: {"seeds": int((report["method"] == name).sum())} for name in report["method"].unique()}
    told = {"methods": methods, "weak": {"withdrawn": 0}} | summary
    return Results(Path(), trials, *[trials.iloc[:0]] * 5, summary=told, environment={}, spec_text="")


def bars(found: Results, unit: str = "flops") -> dict[tuple[str, str], float]:
    table = cost.table(cost.gather(found))
    own = table[table["unit"] == unit]
    return {(r["arm"], r["part"]): r["value"] for r in own.to_dict("records")}


def test_every_part_by_hand() -> None:
    parts = {
        ("transfer", "target alone"): 1000,  # the median of 1000, 1000, 2000
        ("transfer", "weak model"): 600,  # of 1200, 1600 (a miss is charged) and 2200 the median is 1600
        ("transfer", "weak search"): 3000,
        ("transfer", "weak gate"): 500,
        ("transfer", "probes of the judge"): 1000,
        ("transfer", "target search"): 2000,
        ("transfer", "run ahead, not needed"): 100,
        ("scratch", "target alone"): 5000,
        ("scratch", "its tuning"): 600,
    }
    assert bars(results(ROWS)) == pytest.approx(parts)
    assert bars(results(ROWS), "seconds") == pytest.approx({key: value / 10 for key, value in parts.items()})


def test_a_bar_starts_where_the_last_one_ends() -> None:
    table = cost.table(cost.gather(results(ROWS)))
    assert dict(table.dtypes.astype(str)) == cost.COLUMNS
    for _, own in table.groupby(["unit", "arm"], sort=False):
        assert own["start"].tolist() == pytest.approx([0, *own["end"].iloc[:-1]])
        assert (own["end"] - own["start"]).tolist() == pytest.approx(own["value"].tolist())
    assert table[(table["unit"] == "flops") & (table["arm"] == "transfer")]["end"].iloc[-1] == 8200


def test_the_search_has_paid_for_itself_after_so_many_runs() -> None:
    table = cost.table(cost.gather(results(ROWS)))
    runs = (6500 - 600) / (5000 - 1600)  # 1.74
    assert table["break_even_runs"].tolist() == pytest.approx([runs] * len(table))
    assert table["break_even"].iloc[0] == "In FLOPs the search has paid for itself after 2 target runs."


@pytest.mark.parametrize(
    ("extra", "scratch", "transfer", "runs"),
    [(6000, 5000, 2000, 2), (-5, 5000, 2000, 0), (6000, 2000, 2000, None), (6000, 1, 2, None), (6000, None, 2, None)],
)
def test_break_even(extra: float, scratch: float | None, transfer: float, runs: float | None) -> None:
    assert bill.break_even(extra, scratch, transfer) == runs
    assert bill.break_even(extra, scratch, None) is None


def test_a_transfer_that_costs_as_much_never_pays() -> None:
    dear = [r | {"weak_flops": 9000, "weak_seconds": 1.0} if r["run_id"] in ("t1", "t2", "t3") else r for r in ROWS]
    table = cost.table(cost.gather(results(dear))).drop_duplicates("unit").set_index("unit")
    assert pd.isna(table.loc["flops", "break_even_runs"]) and "never pays" in table.loc["flops", "break_even"]
    assert table.loc["seconds", "break_even_runs"] > 0


def test_where_half_never_got_there_what_they_spent_is_a_lower_bound() -> None:
    rows = [r | {"status": "exhausted", "flops_to_goal": None, "seconds_to_goal": None, "epochs_to_goal": None}
            if r["run_id"] in ("s2", "s3") else r for r in ROWS]  # fmt: skip
    table = cost.table(cost.gather(results(rows)))
    alone = table[(table["arm"] == "scratch") & (table["part"] == "target alone") & (table["unit"] == "flops")].iloc[0]
    assert alone["at_least"] and alone["value"] == 5500
    assert "at most 2 target runs" in table["break_even"].iloc[0]
    rows = [r | {"status": "exhausted"} if r["run_id"].startswith("t") and r["role"] == "report" else r for r in ROWS]
    table = cost.table(cost.gather(results(rows)))
    assert table["break_even_runs"].isna().all() and "has not paid" in table["break_even"].iloc[0]


def test_a_pipeline_without_an_embedding_counts_as_a_miss() -> None:
    methods = {"transfer": {"seeds": 5}, "scratch": {"seeds": 3}}
    value = bars(results(ROWS, methods=methods))
    assert value["transfer", "target alone"] == 2000, "the third of 1000, 1000, 2000 and two that never started"
    assert value["transfer", "weak model"] == 200


def test_pipelines_of_withdrawn_winners_belong_to_the_search() -> None:
    failed = [row("w9", "weak", "weak", "report", 50, split_seed=9), handed("t9", "w9", 9, 70, 50, reached=False)]
    methods = {"transfer": {"seeds": 3, "run_ids": ["t1", "t2", "t3"]}, "scratch": {"seeds": 3}}
    found = results([*ROWS, *failed], methods=methods, weak={"withdrawn": 1})
    assert bars(found)["transfer", "winners that failed"] == 120
    assert bars(found)["transfer", "target alone"] == 1000


def test_without_a_transfer_every_method_stands_beside_its_tuning() -> None:
    rows = [r for r in ROWS if r["method"] not in ("transfer", "weak")]
    value = bars(results(rows, weak=None))
    assert [arm for arm, _ in value] == ["scratch", "scratch", "lowrank_random", "lowrank_random"]
    assert value["lowrank_random", "its tuning"] == 10**6
    table = cost.table(cost.gather(results(rows, weak=None)))
    assert table["break_even_runs"].isna().all() and set(table["break_even"]) == {""}


def drawn(table: pd.DataFrame, **panel: Any) -> Axes:
    width, height = cost.size(table)
    ax = Figure(figsize=(2 * width + 2, height + 3)).add_axes((0.3, 0.3, 0.5, 0.5))
    cost.draw(table, ax, **panel)
    ax.get_figure().draw_without_rendering()
    return ax


def test_bars_stand_on_each_other_and_say_what_they_add() -> None:
    ax = drawn(cost.table(cost.gather(results(ROWS))))
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert spans[:3] == [(0, 1000), (1000, 1600), (1600, 4600)] and spans[7] == (0, 5000)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0] == "transfer: target alone" and names[1] == "+ weak model" and names[-1] == "+ its tuning"
    texts = [text.get_text() for text in ax.texts]
    assert "1 kFLOP" in texts and "+ 600 FLOP" in texts and "+ 100 FLOP = 8.2 kFLOP" in texts
    assert any("after 2 target runs" in text.replace("\n", " ") for text in texts)
    assert ax.get_yticklabels()[-1].get_color() == style.colour("scratch")


@pytest.mark.parametrize("most", [1.0, 101e9, 8.36, 999.0, 1.01e12])
def test_ticks_reach_as_far_as_what_was_spent(most: float) -> None:
    ticks = cost._ticks(most).tick_values(0, most)
    assert ticks[0] == 0 and most <= ticks[-1] <= 1.6 * most and len(ticks) <= 5


@pytest.mark.parametrize("unit", ["flops", "seconds"])
@pytest.mark.parametrize(
    "story",
    [
        Story(seeds=1, architectures=5, levels=()),
        Story(transfer_reaches=False, scratch_reaches=False, architectures=5, levels=()),
        Story(methods=("scratch",), pays=False, clears=False, architectures=5, levels=()),
        Story(weak=False, methods=("scratch", "fourier"), rises={"fourier": 60}, architectures=0, levels=()),
    ],
)
def test_it_draws_whatever_happened(folder: Path, story: Story, unit: str) -> None:
    table = cost.table(cost.gather(make(folder, story)))
    ax = drawn(table, unit=unit)
    assert len(ax.patches) == (table["unit"] == unit).sum() > 0
    assert table["value"].ge(0).all()


def test_nothing_to_draw_is_said_in_words(folder: Path) -> None:
    story = Story(methods=("transfer",), pays=False, clears=False, architectures=5, levels=())
    table = cost.table(cost.gather(make(folder, story)))
    assert "no cost to set" in (cost.nothing(table) or "")
    assert "no cost to set" in drawn(table).texts[0].get_text().replace("\n", " ")
