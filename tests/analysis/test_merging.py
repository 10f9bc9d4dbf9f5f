from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from gtsearch import results
from gtsearch.analysis import devices, merging, report, stats
from gtsearch.errors import ResultsError
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make

SMALL = Story(seeds=3, architectures=9, levels=(), methods=("transfer", "scratch"))


def small(folder: Path, seed: int, **prices: float) -> Results:
    return make(folder, dataclasses.replace(SMALL, seed=seed, prices=prices))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """The same experiment on a laptop and, with another seed, on a GPU; the laptop priced both devices."""
    folder = tmp_path_factory.mktemp("pair")
    laptop = small(folder / "laptop", 0, **{"cpu": 2.0, "H100": 0.5})
    server = small(folder / "server", 1, **{"H100": 0.25})
    trials = server.trials.assign(device="H100", host="H100", cohort_size=64)
    environment = server.environment | {"device": "cuda", "device_names": ["H100"], "host": "H100"}
    return [laptop, dataclasses.replace(server, trials=trials, environment=environment)]


def with_spec(run: Results, old: str, new: str) -> Results:
    assert old in run.spec_text
    return dataclasses.replace(run, folder=run.folder.with_name("other"), spec_text=run.spec_text.replace(old, new))


def together(pair: list[Results]) -> pd.DataFrame:
    """What the page draws of both, on every device."""
    return merging.together([devices.claimed(run) for run in merging.with_shared_prices(pair)], ["laptop", "server"])


# -- what may stand side by side ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("p: 113", "p: 97", "task.p is 113 in one and 97 in the other"),
        ("train_fraction: 0.25", "train_fraction: 0.3", "task.train_fraction is 0.25 in one and 0.3"),
        ("val_accuracy: 0.99", "val_accuracy: 0.95", "target.goal.val_accuracy is 0.99 in one and 0.95"),
        ("hold: 2, evaluate_every: 10", "hold: 3, evaluate_every: 10", "weak.goal.hold is 2 in one and 3"),
        ("hold: 2, evaluate_every: 5", "hold: 2, evaluate_every: 10", "target.goal.evaluate_every is 5 in one and 10"),
        ("at_least: 4", "at_least: 3", "weak.gate.at_least is 4 in one and 3"),
        ("target:\n", "target:\n  methods: [scratch]\n", "target.methods is None in one and ['scratch']"),
        ("target:\n", "target:\n  model: {name: mlp, width: 8}\n", "target.model.name is None in one and mlp"),
        ("target:\n", "report: {weak_tries: 2}\ntarget:\n", "report.weak_tries is None in one and 2"),
        ("target:\n", "tradeoff: {weak_accuracy: [0.1]}\ntarget:\n", "tradeoff.weak_accuracy is None in one and [0.1]"),
    ],
)
def test_runs_that_asked_for_something_else_are_refused(
    pair: list[Results], old: str, new: str, difference: str
) -> None:
    other = with_spec(pair[0], old, new)
    with pytest.raises(ResultsError, match=re.escape(difference)) as refused:
        merging.refuse_incomparable([pair[0], other])
    assert str(pair[0].folder) in str(refused.value) and str(other.folder) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: modadd", "name: mine"),
        ("name: modadd", "name: modadd\nabout: {shows: another sentence}"),
        ("seed: 0\ntask", "seed: 7\ntask"),
        ("0.25, seed: 0", "0.25, seed: 7"),
        ("target:\n", "report: {seeds: 20, at_least: 14}\ntarget:\n"),
        ("target:\n", "tradeoff: {seeds: 9, target_seeds: 3}\ntarget:\n"),
        ("target:\n", "resources: {workers: 64, gpus_per_trial: 1}\ntarget:\n"),
    ],
)
def test_names_seeds_how_many_of_them_and_machines_may_differ(pair: list[Results], old: str, new: str) -> None:
    merging.refuse_incomparable([pair[0], with_spec(pair[0], old, new)])


def test_no_run_and_one_run_twice_are_refused(pair: list[Results]) -> None:
    with pytest.raises(ResultsError, match="no run"):
        merging.refuse_incomparable([])
    with pytest.raises(ResultsError, match="named twice"):
        merging.refuse_incomparable([*pair, pair[0]])
    merging.refuse_incomparable(pair[:1])


# -- prices -------------------------------------------------------------------------------------------------------


def ms(run: Results, device: str) -> list[float]:
    prices = run.pricing
    return [float(value) for value in prices.loc[prices["device"] == device, "ms_per_epoch"].unique()]


def test_a_run_keeps_its_own_prices_and_takes_others_where_it_has_none(pair: list[Results]) -> None:
    laptop, server = merging.with_shared_prices(pair)
    assert ms(laptop, "cpu") == ms(server, "cpu") == [220.0, 3.2]
    assert ms(laptop, "H100") == [55.0, 0.8] and ms(server, "H100") == [27.5, 0.4]
    assert list(laptop.pricing.columns) == list(results.PRICING)
    assert len(pair[1].pricing) == 3  # what was given is not changed
    none = dataclasses.replace(pair[0], pricing=results.pricing_frame([]))
    assert merging.with_shared_prices([none])[0].pricing.empty


def test_the_figure_of_several_runs_has_each_on_every_device(pair: list[Results]) -> None:
    table = together(pair)
    claims = table[table["kind"] == devices.CLAIMED]
    places = claims[["run", "device"]].drop_duplicates().itertuples(index=False, name=None)
    assert set(places) == {(run, device) for run in ("laptop", "server") for device in ("cpu", "H100")}
    for row in stats.records(claims[claims["seconds"].notna()]):
        assert row["seconds"] == pytest.approx(row["epochs"] * row["ms_per_epoch"] / 1000)
    seen = stats.records(table[table["kind"] == devices.OBSERVED])
    assert {(row["run"], row["device"], row["cohort_size"]) for row in seen} == {
        ("laptop", "cpu", 1.0),
        ("server", "H100", 64.0),
    }


def test_the_table_has_a_row_a_run_device_and_method(pair: list[Results]) -> None:
    table = together(pair)
    shown = merging.claimed_seconds(table)
    assert len(shown.rows) == 2 * 2 * 2 and all(len(row) == len(shown.head) for row in shown.rows)
    texts = [[cell.text for cell in row] for row in shown.rows]
    first = next(row for row in texts if row[0] == "H100 · server" and row[1] == "transfer")
    (claim,) = stats.records(
        table[(table["run"] == "server") & (table["kind"] == devices.CLAIMED) & (table["device"] == "H100")].head(1)
    )
    assert first[3] == f"{claim['epochs']:g}" and first[4].startswith("27.5 [26.7, 28.6]")
    assert first[-1] == "64"


def test_claimed_seconds_stand_side_by_side(pair: list[Results]) -> None:
    table = together(pair)
    rows = {row[0].text: row[1:] for row in merging.side_by_side(pair, ["laptop", "server"], table).rows}
    assert "seed" in rows  # what stands there anyway
    for run, cell in zip(("laptop", "server"), rows["scratch: claimed seconds on H100"], strict=True):
        own = table[(table["run"] == run) & (table["device"] == "H100") & (table["method"] == "scratch")]
        (claim,) = stats.records(own[own["kind"] == devices.CLAIMED])
        assert cell.value == claim["seconds"] and cell.text.startswith(f"{claim['seconds']:.3g} s [")


def test_nothing_priced_is_a_table_without_rows(pair: list[Results]) -> None:
    bare = [dataclasses.replace(run, pricing=results.pricing_frame([])) for run in pair]
    assert merging.claimed_seconds(together(bare)).rows == []


# -- the page -----------------------------------------------------------------------------------------------------


def test_the_merged_page_has_seconds_by_device(pair: list[Results], tmp_path: Path) -> None:
    page = report.merge(pair, tmp_path / "both.html").read_text("utf-8")
    assert "Side by side" in page and "Seconds by device" in page
    assert page.count(f"<h3>{devices.TITLE}</h3>") == 3  # of all runs together, and of each
    assert page.count("transfer: claimed seconds on H100") == 1
    with pytest.raises(ResultsError, match=r"task\.p"):
        report.merge([pair[0], with_spec(pair[0], "p: 113", "p: 97")], tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()
    assert pd.read_parquet(pair[1].folder / "pricing.parquet")["device"].unique().tolist() == ["H100"]
