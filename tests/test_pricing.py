"""What an epoch takes: what is priced, in which order, what is written. No test looks at a real time."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from experiment_kit import gtsearch, tiny
from run_folders import copy, forget_the_end, small_story, write_run

from gtsearch import cli, pricing, results
from gtsearch.analysis import devices
from gtsearch.errors import GtsearchError, ResourcesError
from gtsearch.pricing import Lane, Timing, ms_per_epoch, price, rest_on, take_turns
from gtsearch.search.board import Phase
from gtsearch.search.policy import Job
from gtsearch.spec import load_spec
from gtsearch.trainables import TargetTrainable

# -- blocks and their order ---------------------------------------------------------------------------------------


class World:
    """A machine whose clock stands still but while a lane trains."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[tuple[str, int]] = []

    def lane(self, name: str, ms: float, around: float = 0.0, most: int = 10**6) -> Lane:
        def block(epochs: int) -> float:
            self.ran.append((name, epochs))
            self.now += around + epochs * ms / 1000
            return ms

        return Lane(block, most)

    def clock(self) -> float:
        return self.now


def test_blocks_take_turns_in_an_order_that_its_seed_gives() -> None:
    def order(seed: int) -> tuple[list[str], list[str]]:
        world = World()
        take_turns([world.lane(name, 1.0) for name in "abc"], 8, 60.0, seed, world.clock)
        names = [name for name, _ in world.ran]
        return names[:9], names[9:]

    warm_up, timed = order(0)
    assert warm_up == list("aaabbbccc")
    rounds = [tuple(timed[i : i + 3]) for i in range(0, len(timed), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds) and len(rounds) == 8
    assert len(set(rounds)) > 2
    assert order(0) == order(0) != order(1)


def test_the_warm_up_is_discarded() -> None:
    costs = iter([900.0, 90.0, 30.0, 5.0, 6.0, 4.0])
    (timing,) = take_turns([Lane(lambda epochs: next(costs), 10)], 3, 1.0, 0, lambda: 0.0)
    assert timing.ms == [5.0, 6.0, 4.0]


def test_blocks_are_as_long_as_the_time_allows_and_never_longer_than_a_member() -> None:
    world = World()
    lanes = [world.lane("cheap", 1.0), world.lane("dear", 500.0, around=0.2), world.lane("short", 1.0, most=40)]
    timings = take_turns(lanes, 10, 66.0, 0, world.clock)
    # 66 s over 3 lanes and 10 blocks and a warm-up: 2 s each, of which `dear` spends 0.2 on making its model.
    assert [timing.epochs for timing in timings] == [2000, 3, 40]
    assert all(len(timing.ms) == 10 for timing in timings)
    assert {epochs for name, epochs in world.ran if name == "short"} == {1, 3, 40}
    (hurried,) = take_turns([world.lane("dear", 500.0)], 2, 0.1, 0, world.clock)
    assert hurried.epochs == 3
    (tiny,) = take_turns([world.lane("tiny", 1.0, most=2)], 2, 60.0, 0, world.clock)
    assert tiny.epochs == 2


# -- the price of an epoch ----------------------------------------------------------------------------------------


def one(values: list[float], share: float = 1.0) -> tuple[Lane, Timing]:
    return Lane(lambda epochs: 0.0, 1, share), Timing(values, 5)


def test_the_price_is_the_median_with_its_order_statistics() -> None:
    values = [float(value) for value in range(1, 16)]
    random.Random(0).shuffle(values)
    lane, timing = one(values)
    # Of 15 blocks the 4th and the 12th: between them lies the median with 96.5 % (binomial, p 1/2).
    assert ms_per_epoch([lane], [timing]) == {"ms_per_epoch": 8.0, "ms_low": 4.0, "ms_high": 12.0}
    lane, timing = one([1.0, 2.0, 3.0, 4.0, 5.0, 600.0])
    assert ms_per_epoch([lane], [timing]) == {"ms_per_epoch": 3.5, "ms_low": 1.0, "ms_high": 600.0}


def test_fewer_than_six_blocks_have_no_interval() -> None:
    lane, timing = one([1.0, 3.0, 2.0, 4.0, 9.0])
    assert ms_per_epoch([lane], [timing]) == {"ms_per_epoch": 3.0, "ms_low": None, "ms_high": None}


def test_a_method_that_merges_costs_what_both_models_cost_by_their_epochs() -> None:
    lanes, timings = zip(one([10.0] * 6, 0.25), one([2.0] * 6, 0.75), strict=True)
    assert ms_per_epoch(lanes, timings) == {"ms_per_epoch": 4.0, "ms_low": 4.0, "ms_high": 4.0}


# -- a run folder -------------------------------------------------------------------------------------------------

TARGET = "mlp-d64-w256-L3"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose embedding files are missing."""
    story = small_story(task__p=11, target__options={"transfer": {"merge_at": 4}})
    return write_run(tmp_path_factory.mktemp("runs") / "made", story)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return copy(made, tmp_path / "run")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (0.5, 0.5, 0.5))
    monkeypatch.setattr(pricing, "WIDE", 1e9)


def quick(folder: Path, **more: Any) -> pricing.Priced:
    return price(folder, "cpu", **{"blocks": 2, "seconds": 0.1, **more})


def test_all_that_claims_rest_on_is_priced(run: Path) -> None:
    frame = quick(run).frame
    summary = json.loads((run / "summary.json").read_text())
    weak = summary["weak"]["pays"]["architecture"]
    kinds = list(zip(frame["stage"], frame["architecture"], frame["method"], strict=True))
    assert kinds[-3:] == [("target", TARGET, method) for method in ("transfer", "scratch", "lowrank_random")]
    assert ("weak", weak, "weak") in kinds[:-3] and all(stage == "weak" for stage, _, _ in kinds[:-3])
    assert (frame["ms_per_epoch"] > 0).all() and frame["ms_low"].isna().all()
    assert frame["device"].str.startswith("cpu").all()
    assert (frame["threads"] == 1).all() and (frame["blocks"] == 2).all()
    pd.testing.assert_frame_equal(results.load_results(run).pricing, frame)


def test_nothing_else_of_the_folder_changes(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    quick(run)
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "pricing.parquet"}
    assert after == before


def test_what_is_trained_is_the_member_s_own_job(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[dict[str, Any]] = []
    setup = TargetTrainable.setup

    def seen(self: TargetTrainable, job: dict[str, Any], *rest: Any, **more: Any) -> None:
        jobs.append(job)
        setup(self, job, *rest, **more)

    monkeypatch.setattr(TargetTrainable, "setup", seen)
    quick(run)
    subjects = {subject["method"]: subject for subject in rest_on(results.load_results(run))}
    for job in jobs:
        (member,) = job["members"]
        subject = subjects[member["method"]]
        for name in ("seed", "split_seed"):
            assert member[name] == subject[name]
        assert member["hyperparameters"]["lr"] == subject["lr"]
        assert member["hyperparameters"].get("embedding_scale") == subject["embedding_scale"]
        assert job["goal"] is None and job["evaluate_every"] == member["max_epochs"] <= subject["epochs"]
        assert (member["embedding"] is None) == (job["method"] is None or member["method"] == "scratch")
    # Merged after 4 epochs: a block before stays before, and the model it then is has a plain table.
    transfers = [job for job in jobs if job["members"][0]["method"] == "transfer"]
    starts = {None if job["method"] is None else job["method"]["name"] for job in transfers}
    assert starts == {"transfer", None}
    assert max(job["evaluate_every"] for job in transfers if job["method"]) == 3


def test_a_job_has_the_keys_of_the_search_s_own(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = small_story(task__p=11)
    member = next(iter(story.policy.board.counted.values()))
    theirs = Job((member,), Phase.TARGET, story.policy.target.cost(member), member.architecture.sizes).to_json()
    jobs: list[dict[str, Any]] = []

    def trained(self: Any, job: dict[str, Any]) -> dict[str, Any]:
        jobs.append(job)
        return _trained(self, job)

    monkeypatch.setattr(pricing._Made, "_train", trained)
    quick(run)
    assert {member["method"] for job in jobs for member in job["members"]} >= {"weak", "transfer", "scratch"}
    for job in jobs:
        assert set(job) == set(theirs) and set(job["members"][0]) == set(theirs["members"][0])


def _trained(self: Any, job: dict[str, Any]) -> dict[str, Any]:
    self.where = {"device": "cpu", "host": "here", "threads": 1}
    return {"curve": [{"epoch": 0, "train_seconds": 0.5}, {"epoch": job["evaluate_every"], "train_seconds": 1.5}]}


def test_a_price_is_training_between_two_evaluations(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing._Made, "_train", _trained)
    frame = quick(run, blocks=6).frame
    own = frame[frame["method"] == "scratch"].iloc[0]
    assert own["ms_per_epoch"] == own["ms_low"] == own["ms_high"] == pytest.approx(1000 / own["epochs_per_block"])


def test_untrained_embeddings_stand_for_those_that_are_missing_and_that_is_said(run: Path) -> None:
    assert not (run / "embeddings").exists()
    assert any("untrained" in line for line in quick(run).lines)
    assert not (run / "embeddings").exists()


def test_the_run_s_own_embedding_is_used_where_it_is_there(run: Path) -> None:
    loaded = results.load_results(run)
    subjects = [subject for subject in rest_on(loaded) if subject["weak_run_id"]]
    for subject in subjects:
        path = run / "embeddings" / f"{subject['weak_run_id']}-e{subject['weak_epoch']}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no embedding")
    with pytest.raises(GtsearchError, match="not an embedding"):
        quick(run)


def test_a_run_named_by_a_relative_path_is_priced_with_its_own_embeddings(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_embeddings(run)
    monkeypatch.chdir(run.parent)
    assert cli.main(["price", run.name, "--device", "cpu", "--blocks", "1", "--seconds", "0.1"]) == 0
    out, error = capsys.readouterr()
    assert error == "" and "untrained" not in out
    assert out.splitlines()[-1].endswith(f"gtsearch report {run.name}")
    assert not results.read_pricing(run).empty


def test_a_member_that_cannot_be_trained_is_told_without_a_line_of_source(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, info: Any, splits: Any) -> Any:
        raise ValueError("no such embedding (really)")

    monkeypatch.setattr(TargetTrainable, "_embedding", broken)
    with pytest.raises(GtsearchError, match=r"cannot be trained here: ValueError: no such embedding \(really\)$"):
        quick(run)


def own_embeddings(run: Path) -> None:
    """Gives the run the embedding files that it lacks, of untrained models."""
    loaded = results.load_results(run)
    made = pricing._Made(load_spec(run / results.SPEC), loaded, run, "cpu")
    (run / "embeddings").mkdir()
    for subject in rest_on(loaded):
        if subject["weak_run_id"]:
            source = made.trials.loc[[subject["weak_run_id"]]].to_dict("records")[0]
            name = f"{subject['weak_run_id']}-e{subject['weak_epoch']}.safetensors"
            made._write_untrained(run / "embeddings" / name, source)


def test_rows_of_this_device_are_replaced_and_those_of_others_stay(run: Path) -> None:
    first = quick(run).frame
    elsewhere = first.assign(device="NVIDIA H100", host="far")
    results.write_table(run, "pricing", pd.concat([elsewhere, first, first.assign(host="far")], ignore_index=True))
    second = quick(run, blocks=3).frame
    now = results.read_pricing(run)
    assert len(now) == 3 * len(first)
    here = now[(now["device"] == first["device"].iloc[0]) & (now["host"] == first["host"].iloc[0])]
    assert (here["blocks"] == 3).all() and len(here) == len(second)
    assert (now.loc[now["host"] == "far", "blocks"] == 2).all()


def test_a_machine_that_is_not_quiet_is_warned_of(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("warning" in line for line in quick(run).lines)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (7.9, 1.0, 1.0))
    (warning,) = [line for line in quick(run).lines if "warning" in line]
    assert "7.9" in warning and "spread" not in warning
    monkeypatch.setattr(psutil, "getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.setattr(pricing, "WIDE", -1.0)
    (warning,) = [line for line in quick(run).lines if "warning" in line]
    assert "spread" in warning and "load" not in warning


# -- what cannot be priced ----------------------------------------------------------------------------------------


def nothing_there(run: Path) -> None:
    shutil.rmtree(run)


def unfinished(run: Path) -> None:
    forget_the_end(run)


def older(run: Path) -> None:
    path = run / results.SUMMARY
    path.write_text(path.read_text().replace(f'"schema": {results.SCHEMA}', '"schema": 1'))


def claims_nothing(run: Path) -> None:
    loaded = results.load_results(run)
    results.write_table(run, "trials", loaded.trials.assign(role="search"))
    summary = loaded.summary | {"weak": None, "methods": {}}
    results.write_json(run / "summary.json", summary)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (nothing_there, "is not a run folder"),
        (unfinished, "shows what there is"),
        (older, "reads schema"),
        (claims_nothing, "claims nothing"),
    ],
)
def test_what_cannot_be_priced_is_one_line(
    run: Path, spoil: Callable[[Path], None], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run)
    assert cli.main(["price", str(run), "--device", "cpu"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and complaint in error and error.count("\n") == 1


def test_a_device_that_is_not_there_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourcesError, match="CUDA"):
        price(run, "cuda")


def test_the_command_says_what_it_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["price", str(run), "--device", "cpu", "--blocks", "1", "--seconds", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("priced on cpu") and lines[1].split()[:3] == ["stage", "architecture", "method"]
    assert any(line.split()[:3] == ["target", TARGET, "scratch"] for line in lines)
    assert lines[-1].endswith(f"gtsearch report {run}")


@pytest.mark.slow
def test_a_real_run_is_priced_with_its_own_embeddings(tmp_path: Path) -> None:
    process = gtsearch("run", *tiny(), "--workers", "2", "--out", "run", cwd=tmp_path)
    out, error = process.communicate(timeout=240)
    assert process.returncode in (0, 1), out + error
    loaded = results.load_results(tmp_path / "run")
    priced = quick(tmp_path / "run")
    assert not any("untrained" in line for line in priced.lines)
    assert set(loaded.summary["methods"]) <= set(priced.frame["method"])
    table = devices.claimed(results.load_results(tmp_path / "run"))
    claims = table[table["kind"] == devices.CLAIMED].set_index("method")
    for method, record in loaded.summary["methods"].items():
        median = record["epochs_to_goal"]["median"]
        assert pd.isna(claims.loc[method, "epochs"]) if median is None else claims.loc[method, "epochs"] == median
