from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch import results
from gtsearch.analysis import devices, stats
from gtsearch.analysis.devices import CLAIMED, OBSERVED
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

# -- a run of a few members, every number by hand -----------------------------------------------------------------


def member(run_id: str, method: str, epochs: int, to_goal: int | None, ms: float = 10.0, **more: Any) -> dict[str, Any]:
    """A row of trials in which an epoch was observed to take `ms`."""
    row = {
        "run_id": run_id,
        "stage": "weak" if method in ("weak", "growth") else "target",
        "method": method,
        "role": "report",
        "purpose": "report",
        "architecture": {"weak": "small", "growth": "middle"}.get(method, "large"),
        "config_id": method,
        "split_seed": 1,
        "status": "exhausted" if to_goal is None else "cleared",
        "epochs": epochs,
        "epochs_to_goal": to_goal,
        "train_seconds": epochs * ms / 1000,
        "seconds_to_goal": None if to_goal is None else to_goal * ms / 1000,
        "train_flops": 7.0 * epochs,
        "flops_to_goal": None,
        "device": "gpu",
        "host": "here",
        "cohort_size": 4,
        "curve": [],
    }
    return row | more


def handed(weak: str, epoch: int, **more: Any) -> dict[str, Any]:
    return {"weak_run_id": weak, "weak_epoch": epoch, "weak_flops": 7.0 * epoch} | more


def price(device: str, stage: str, architecture: str, method: str, ms: float, host: str = "there") -> dict[str, Any]:
    where = {"device": device, "host": host, "threads": 1, "blocks": 15, "epochs_per_block": 5, "priced_at": "now"}
    kind = {"stage": stage, "architecture": architecture, "method": method}
    return where | kind | {"ms_per_epoch": ms, "ms_low": 0.9 * ms, "ms_high": 1.1 * ms}


def run(rows: list[dict[str, Any]], prices: list[dict[str, Any]], **seeds: int) -> Results:
    methods = {row["method"] for row in rows if row["stage"] == "target"}
    summary = {"methods": {method: {"seeds": seeds.get(method, 2)} for method in methods}}
    trials = results.trials_frame(rows)
    none = pd.DataFrame()
    return Results(Path("a-run"), trials, none, none, none, none, results.pricing_frame(prices), summary, {}, "name: a")


ROWS = [
    # Replicate 1: a weak seed misses, the next clears at 30 and is taken at 40; replicate 2: the first clears.
    member("w1", "weak", 100, None, ms=1),
    member("w2", "weak", 60, 30, ms=1),
    member("w3", "weak", 50, 10, ms=1, split_seed=2),
    member("other", "weak", 100, None, ms=1, split_seed=3),  # of a replicate nobody was handed anything of
    member("t1", "transfer", 40, 20, **handed("w2", 40)),
    member("t2", "transfer", 80, 40, split_seed=2, **handed("w3", 20)),
    member("s1", "scratch", 200, 100),
    member("s2", "scratch", 300, None, split_seed=2),
]
CPU = [
    price("cpu", "target", "large", "transfer", 200.0),
    price("cpu", "target", "large", "scratch", 100.0),
    price("cpu", "weak", "small", "weak", 10.0),
]


def row(table: pd.DataFrame, device: str, kind: str, method: str) -> dict[str, Any]:
    (found,) = stats.records(table[(table["device"] == device) & (table["kind"] == kind) & (table["method"] == method)])
    return found


def test_claimed_seconds_are_epochs_to_the_goal_times_the_price_of_one() -> None:
    table = devices.claimed(run(ROWS, CPU))
    transfer = row(table, "cpu", CLAIMED, "transfer")
    assert (transfer["epochs"], transfer["seconds"]) == (30, pytest.approx(30 * 0.2))
    assert (transfer["low"], transfer["high"]) == (pytest.approx(20 * 0.2), pytest.approx(40 * 0.2))
    assert (transfer["ms_per_epoch"], transfer["ms_low"], transfer["ms_high"]) == (200, 180, pytest.approx(220))
    # 20 epochs at 200 ms, then 40 of the one handed over and 100 of the miss at 10 ms; 40 at 200 ms, then 20 at 10.
    assert transfer["with_weak"] == pytest.approx(((4.0 + 1.4) + (8.0 + 0.2)) / 2)
    assert (transfer["with_weak_low"], transfer["with_weak_high"]) == (pytest.approx(5.4), pytest.approx(8.2))
    assert (transfer["reached"], transfer["seeds"], transfer["cohort_size"]) == (2, 2, 1)


def test_observed_seconds_are_the_run_s_own_and_stand_beside() -> None:
    table = devices.claimed(run(ROWS, CPU))
    transfer = row(table, "gpu", OBSERVED, "transfer")
    assert transfer["seconds"] == pytest.approx((0.2 + 0.4) / 2)
    assert transfer["with_weak"] == pytest.approx(((0.2 + 0.14) + (0.4 + 0.02)) / 2)
    assert (transfer["ms_per_epoch"], transfer["cohort_size"], transfer["host"]) == (None, 4, "here")
    assert table["kind"].tolist() == [OBSERVED, OBSERVED, CLAIMED, CLAIMED]


def test_where_half_never_got_there_no_seconds_are_claimed() -> None:
    for kind, device in ((CLAIMED, "cpu"), (OBSERVED, "gpu")):
        scratch = row(devices.claimed(run(ROWS, CPU)), device, kind, "scratch")
        assert (scratch["reached"], scratch["seeds"]) == (1, 2)
        assert (scratch["epochs"], scratch["seconds"], scratch["with_weak"], scratch["high"]) == (None,) * 4
    # Two more replicates gave no embedding: they count, and never get there.
    transfer = row(devices.claimed(run(ROWS, CPU, transfer=4)), "cpu", CLAIMED, "transfer")
    assert (transfer["reached"], transfer["seeds"], transfer["seconds"]) == (2, 4, None)
    fewer = row(devices.claimed(run(ROWS, CPU, transfer=3)), "cpu", CLAIMED, "transfer")
    assert (fewer["seconds"], fewer["high"]) == (pytest.approx(8.0), None)


def test_a_method_needs_no_weak_price_where_nothing_came_before() -> None:
    table = devices.claimed(run([*ROWS, member("s3", "scratch", 300, 140, split_seed=3)], CPU, scratch=3))
    scratch = row(table, "cpu", CLAIMED, "scratch")
    assert scratch["seconds"] == scratch["with_weak"] == pytest.approx(14.0)


def test_without_the_weak_model_s_price_the_sum_is_unknown_and_the_rest_is_not() -> None:
    transfer = row(devices.claimed(run(ROWS, CPU[:2])), "cpu", CLAIMED, "transfer")
    assert (transfer["seconds"], transfer["with_weak"]) == (pytest.approx(6.0), None)
    table = devices.claimed(run(ROWS, CPU[1:]))
    assert "transfer" not in set(table.loc[table["kind"] == CLAIMED, "method"])


def test_a_snapshot_of_the_best_charges_all_that_the_weak_run_trained() -> None:
    rows = [r | {"weak_flops": 7.0 * 50} if r["run_id"] == "t2" else r for r in ROWS]
    transfer = row(devices.claimed(run(rows, CPU)), "cpu", CLAIMED, "transfer")
    assert transfer["with_weak_high"] == pytest.approx(8.0 + 0.5)


def test_links_of_a_chain_are_charged_at_their_own_price() -> None:
    rows = [
        member("w2", "weak", 60, 30, ms=1),
        member("g", "growth", 200, 90, ms=2, **handed("w2", 40)),
        member("t1", "transfer", 40, 20, **handed("g", 100)),
    ]
    prices = [*CPU, price("cpu", "weak", "middle", "growth", 50.0)]
    table = devices.claimed(run(rows, prices, transfer=1))
    assert row(table, "cpu", CLAIMED, "transfer")["with_weak"] == pytest.approx(20 * 0.2 + 100 * 0.05 + 40 * 0.01)
    assert row(table, "gpu", OBSERVED, "transfer")["with_weak"] == pytest.approx(20 * 0.01 + 100 * 0.002 + 40 * 0.001)


def test_every_device_and_host_that_was_priced_is_there() -> None:
    gpu = [price("gpu", "target", "large", "transfer", ms, host) for ms, host in ((2.0, "one"), (3.0, "two"))]
    table = devices.claimed(run(ROWS, [*CPU, *gpu]))
    transfer = table[(table["kind"] == CLAIMED) & (table["method"] == "transfer")]
    assert list(zip(transfer["device"], transfer["host"], strict=True)) == [
        ("cpu", "there"),
        ("gpu", "one"),
        ("gpu", "two"),
    ]
    assert transfer["seconds"].tolist() == pytest.approx([6.0, 0.06, 0.09])


def test_members_of_several_devices_are_observed_apart() -> None:
    rows = [r | ({"device": "cpu"} if r["run_id"] == "t2" else {}) for r in ROWS]
    table = devices.claimed(run(rows, [], transfer=3))
    assert [row(table, device, OBSERVED, "transfer")["seeds"] for device in ("gpu", "cpu")] == [1, 1]
    assert row(table, "cpu", OBSERVED, "transfer")["seconds"] == pytest.approx(0.4)
    lost = [r | ({"device": None, "host": None} if r["run_id"] == "t2" else {}) for r in ROWS]
    assert row(devices.claimed(run(lost, [])), "gpu", OBSERVED, "transfer")["seeds"] == 2


# -- the picture --------------------------------------------------------------------------------------------------


def drawn(table: pd.DataFrame) -> Axes:
    ax = Figure(figsize=(8, 4)).add_subplot()
    devices.draw(table, ax)
    ax.get_figure().draw_without_rendering()  # type: ignore[union-attr]
    return ax


def test_full_is_claimed_hollow_is_observed_and_triangles_never_got_there() -> None:
    ax = drawn(devices.claimed(run(ROWS, CPU)))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["transfer  2 of 2", "scratch  1 of 2"] * 2
    full = [c.get_offsets()[0, 0] for c in ax.collections if len(c.get_facecolor())]
    hollow = [c.get_offsets()[0, 0] for c in ax.collections if not len(c.get_facecolor())]
    edge = ax.get_xlim()[1]
    assert full == [pytest.approx(6.0), edge] and hollow == [pytest.approx(0.3), edge]
    words = [text.get_text() for text in ax.texts]
    assert {"gpu", "cpu"} <= set(words) and words.count("4 at once") == 1


def test_a_device_is_named_with_its_host_and_run_where_there_are_several() -> None:
    frame = pd.DataFrame(
        [("a", "gpu", "one"), ("a", "gpu", "two"), ("a", "cpu", "three")], columns=["run", "device", "host"]
    )
    assert devices.place("a", "gpu", "one", frame) == "gpu · one"
    assert devices.place("a", "cpu", "three", frame) == "cpu"
    both = pd.concat([frame, frame.assign(run="b")])
    assert devices.place("b", "cpu", "three", both) == "cpu · b"


def test_a_priced_run_is_drawn_and_one_that_is_not_says_how(usual: Results) -> None:
    table = devices.table(devices.gather(usual))
    assert devices.nothing(table) is None
    assert set(table["kind"]) == {CLAIMED, OBSERVED} and table["device"].unique().tolist() == ["cpu"]
    transfer, observed = row(table, "cpu", CLAIMED, "transfer"), usual.summary["methods"]["transfer"]
    assert transfer["epochs"] == observed["epochs_to_goal"]["median"]
    assert transfer["seconds"] == pytest.approx(transfer["epochs"] * 0.11 * 0.95)
    unpriced = dataclasses.replace(usual, pricing=results.pricing_frame([]))
    words = drawn(devices.claimed(unpriced)).texts[0].get_text().replace("\n", " ")
    assert "`gtsearch price RUN`" in words


def test_without_targets_it_says_so(folder: Path) -> None:
    made = make(folder, Story(pays=False, clears=False, architectures=9, methods=("transfer",)))
    assert "No target" in str(devices.nothing(devices.claimed(made)))


def test_one_seed_and_a_miss_are_drawn(folder: Path) -> None:
    story = Story(seeds=1, levels=(), architectures=5, transfer_reaches=False, prices={"cpu": 1.0, "NVIDIA H100": 0.01})
    table = devices.claimed(make(folder, story))
    assert row(table, "NVIDIA H100", CLAIMED, "transfer")["seconds"] is None
    assert row(table, "NVIDIA H100", CLAIMED, "scratch")["low"] is None
    drawn(table)
    nobody = table.assign(seconds=pd.NA, low=pd.NA, high=pd.NA, with_weak=pd.NA)
    drawn(nobody)
