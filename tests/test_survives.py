"""Which conclusions survive: the finding that is rebuilt from a run, the rules, who is trained next, how long."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from experiment_kit import gtsearch, tiny
from oracle import Oracle, Story, search, spec, target_gets_there, weak_clears
from run_folders import SMALL, copy, forget_the_end, small_story, write_run

from gtsearch import results, survives
from gtsearch.errors import ResultsError
from gtsearch.results import load_results
from gtsearch.survives import LOST, RAN, SURVIVES, UNCLAIMED, UNKNOWN, Measured, Outcome, Rule, verdict
from gtsearch.trainables import static_row

Json = dict[str, Any]
World = Callable[[Json, Json, survives.Variation], int | None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in which a weak model pays."""
    return write_run(tmp_path_factory.mktemp("runs") / "made", small_story(task__p=11))


@pytest.fixture(scope="module")
def two_methods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a weak stage."""
    return write_run(tmp_path_factory.mktemp("runs") / "two", without_weak("scratch", "grokfast_ema"))


PLAIN = SMALL | {"tradeoff": None}


def without_weak(*methods: str) -> Story:
    """A search of targets alone; scratch takes 200 epochs, others 40."""
    small: Json = {name: SMALL[name] for name in ("target__model", "target__budget", "report")}
    small |= {"target__start_from": {}, "target__methods": list(methods)}
    world = Oracle(lambda member: None, lambda member, source: 200 if member.method == "scratch" else 40)
    return search(spec(weak=None, tradeoff=None, task__p=11, **small), world)


class Machine:
    """Stands in for training: `world` says after how many epochs a member reaches its goal. Its clock goes on by
    `seconds` a member, more with two threads."""

    def __init__(self, world: World, seconds: float = 1.0) -> None:
        self.world, self.seconds, self.now = world, seconds, 0.0
        self.trained: list[tuple[str, str]] = []

    def clock(self) -> float:
        return self.now

    def train(
        self, job: Json, folder: Path, device: str, threads: int, until: float, clock: Callable[[], float]
    ) -> list[Json]:
        (info,) = job["members"]
        self.now += self.seconds * (10 if threads == 2 else 1)
        if self.now > until:
            raise survives.OutOfTime
        variation = survives.Variation("", device, threads)
        self.trained.append((f"{threads}/{job['evaluate_every']}", info["method"]))
        return [self.row(job, info, self.world(job, info, variation))]

    def row(self, job: Json, info: Json, reached: int | None) -> Json:
        every = job["evaluate_every"]
        at = None if reached is None else math.ceil(reached / every) * every
        epochs = info["max_epochs"] if at is None else at + (job["hold"] - 1) * every
        flops = job["flops_per_epoch"]
        row = static_row(job, info) | {
            "status": "exhausted" if at is None else "cleared",
            "epochs": epochs,
            "epochs_to_goal": at,
            "flops_to_goal": None if at is None else at * flops,
            "seconds_to_goal": None if at is None else at * flops / 1e9,
            "train_flops": epochs * flops,
            "train_seconds": epochs * flops / 1e9,
            "curve": [{"epoch": 0, "train_loss": 1.0, "val_accuracy": 0.1}],
        }
        if job["stage"] == "weak" and at is not None:
            kept = {"level": None, "dose": None, "epoch": at, "val_accuracy": 0.5, "path": "e", "sha256": "0"}
            row["embeddings"] = [kept | {"train_flops": at * flops, "train_seconds": at * flops / 1e9}]
        return row


def usual(job: Json, info: Json, variation: survives.Variation) -> int | None:
    return {"weak": 100, "transfer": 40, "scratch": 200}[info["method"]] + info["seed"] % 7


def rerun(monkeypatch: pytest.MonkeyPatch, folder: Path, machine: Machine, seconds: float = 1e9) -> survives.Rerun:
    monkeypatch.setattr(survives, "train", machine.train)
    monkeypatch.setattr(survives, "cores", lambda: 4)
    return survives.rerun(survives.of_run(folder), seconds, machine.clock)


# -- the finding of a run -----------------------------------------------------------------------------------------


def test_what_is_recorded_is_what_the_run_says(made: Path) -> None:
    finding, summary = survives.of_run(made), load_results(made).summary
    assert finding.recorded is not None
    assert (finding.ours, finding.theirs) == ("transfer", "scratch")
    assert finding.recorded.k == summary["methods"]["transfer"]["reached"]
    assert finding.recorded.ratio["value"] == pytest.approx(summary["speedup"]["target"]["value"])
    assert finding.recorded.ratio["interval"] == pytest.approx(summary["speedup"]["target"]["interval"])
    assert finding.recorded.pays is (summary["weak"]["pays"] is not None) is True
    totals = [one.total("flops") for one in finding.recorded.ours]
    assert sorted(totals)[len(totals) // 2] == pytest.approx(summary["weak"]["pays"]["total_flops"])
    assert finding.configs["transfer"] == summary["methods"]["transfer"]["config"]


def grown() -> Story:
    """A search with a growth chain: a middle model between the weak one and the target."""
    model = {"name": "mlp", "depth": 2, "d_embed": 8, "width": 16}
    config = {"lr": 0.01, "weight_decay": 1.0, "init_scale": 0.3, "embedding_scale": 1.0}
    link = {"model": model, "config": config, "max_epochs": 300, "goal": {"val_accuracy": 0.6, "evaluate_every": 10}}
    world = Oracle(lambda member: 100, target_gets_there(lambda member: member.method == "growth"))
    return search(spec(**SMALL, task__p=11, target__embedding_from={"name": "growth", "chain": [link]}), world)


def other_task() -> Story:
    """A search in which the weak models learn another task."""
    other = {"name": "modular_multiplication", "p": 11, "train_fraction": 0.4}
    world = Oracle(weak_clears(lambda a: True, 100), target_gets_there(lambda member: True))
    return search(spec(**PLAIN, task__p=11, target__embedding_from={"name": "cross_task", "task": other}), world)


def weak_seeds_miss() -> Story:
    """A search in which some weak seeds miss, so that a pipeline tries several."""
    world = Oracle(weak_clears(lambda a: True, 10, rate=0.75), target_gets_there(lambda member: True))
    story = search(spec(**PLAIN, task__p=11), world)
    chosen = story.policy.findings.chosen
    assert chosen is not None and max(len(pipeline.weak_rows) for pipeline in chosen.pipelines) > 1
    return story


@pytest.mark.parametrize("story", [lambda: small_story(task__p=11), grown, other_task, weak_seeds_miss])
def test_as_it_ran_asks_for_the_very_members_of_the_run(
    story: Callable[[], Story], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the run id of a row of the log, its embedding's sha256 in it; so it is trained on what it was."""
    made = write_run(tmp_path / "made", story())
    rows = {row["run_id"]: row for row in results.members(made / results.LOG)}
    monkeypatch.setattr(survives, "train", lambda job, *others: [rows[job["members"][0]["run_id"]] | {"curve": []}])
    monkeypatch.setattr(survives, "variations", lambda finding: [survives.Variation(RAN, "cpu", 1)])
    finding = survives.of_run(made)
    told = survives.rerun(finding, 1e9)
    (answer,) = told.answers
    assert finding.recorded is not None
    assert answer.measured.ratio == finding.recorded.ratio
    assert [one.total("flops") for one in answer.measured.ours] == [one.total("flops") for one in finding.recorded.ours]
    assert set(answer.verdicts.values()) <= {SURVIVES, UNCLAIMED} and answer.verdicts["pays"] == SURVIVES
    assert told.seconds_left == 0


def test_without_a_weak_stage_the_two_fastest_are_compared(two_methods: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = survives.of_run(two_methods)
    assert {finding.ours, finding.theirs} == {"scratch", "grokfast_ema"} and finding.candidate is None
    rows = {row["run_id"]: row for row in results.members(two_methods / results.LOG)}
    monkeypatch.setattr(survives, "train", lambda job, *others: [rows[job["members"][0]["run_id"]] | {"curve": []}])
    monkeypatch.setattr(survives, "variations", lambda finding: [survives.Variation(RAN, "cpu", 1)])
    told = survives.rerun(finding, 1e9)
    assert told.claims == ["reaches", "sooner"]
    assert told.answers[0].measured.ratio == told.base.ratio


def test_a_run_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", without_weak("scratch"))
    with pytest.raises(ResultsError, match=r"compares nothing on report seeds.*one method alone"):
        survives.of_run(folder)


def test_an_unfinished_run_and_no_run_are_refused(made: Path, tmp_path: Path) -> None:
    folder = copy(made, tmp_path / "half")
    forget_the_end(folder)
    with pytest.raises(ResultsError, match="not finished"):
        survives.of_run(folder)
    with pytest.raises(ResultsError, match="not a run folder"):
        survives.of_run(tmp_path)


# -- variations ---------------------------------------------------------------------------------------------------


def test_one_thing_is_changed_at_a_time(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survives, "cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finding = survives.of_run(made)
    grids = ["weak.goal.evaluate_every", "target.goal.evaluate_every"]
    spec = finding.spec()
    now = {"weak": spec.weak.goal.evaluate_every if spec.weak else 0, "target": spec.target.goal.evaluate_every}
    first, halved, doubled, threads = survives.variations(finding)
    assert (first.name, first.device, first.threads, first.settings) == (RAN, "cpu", 1, ())
    assert sorted(halved.settings) == sorted(f"{g}={now[g.split('.')[0]] // 2}" for g in grids)
    assert sorted(doubled.settings) == sorted(f"{g}={now[g.split('.')[0]] * 2}" for g in grids)
    assert threads == replace(first, name="2 threads", threads=2)
    monkeypatch.setattr(survives, "cores", lambda: 1)
    assert "2 threads" not in [one.name for one in survives.variations(finding)]
    assert [one.threads for one in survives.variations(replace(finding, threads=2))] == [2, 2, 2, 1]


def test_devices_are_those_that_are_here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = survives.of_run(made)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "on a GPU" in [one.name for one in survives.variations(finding)]
    names = [one.name for one in survives.variations(replace(finding, device="cuda"))]
    assert names[0] == RAN and "on a CPU" in names and "2 threads" not in names
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert survives.variations(replace(finding, device="cuda"))[0].name == "on a CPU"


# -- training again -----------------------------------------------------------------------------------------------


def test_everything_is_trained_again_and_held_against_the_record(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(usual)
    told = rerun(monkeypatch, made, machine)
    kinds = {method: {kind for kind, of in machine.trained if of == method} for _, method in machine.trained}
    targets = {"1/5", "1/2", "1/10", "2/5"}  # threads, and how often it is evaluated
    assert kinds == {"weak": {"1/10", "1/5", "1/20", "2/10"}, "transfer": targets, "scratch": targets}
    assert all(len(answer.measured.ours) == told.base.rule.seeds for answer in told.answers)
    assert all(answer.verdicts["pays"] == SURVIVES for answer in told.answers)
    assert not told.seconds_left and not told.failed[0]


def test_misses_of_weak_seeds_are_charged(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_clears(job: Json, info: Json, variation: survives.Variation) -> int | None:
        return None if info["method"] == "weak" else usual(job, info, variation)

    told = rerun(monkeypatch, made, Machine(none_clears))
    first = told.answers[0].measured
    assert first.k == 0 and all(one.row is None and math.isinf(one.total("flops")) for one in first.ours)
    spec = told.finding.spec()
    assert spec.weak is not None and told.finding.candidate is not None
    per_epoch = told.finding.candidate.architecture.flops_per_epoch
    tries = spec.report.weak_tries * spec.weak.budget.max_epochs * per_epoch
    assert all(one.weak["flops"] == tries for one in first.ours)


def test_a_conclusion_that_turns_on_every_seed_does_not_survive(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two threads transfer never arrives. On four seeds that could be chance; the same on twelve is not."""

    def world(job: Json, info: Json, variation: survives.Variation) -> int | None:
        lost = variation.threads == 2 and info["method"] == "transfer"
        return None if lost else usual(job, info, variation)

    finding = survives.of_run(made)
    many = replace(finding, recorded=None, settings=("report.seeds=12", "report.at_least=8"))
    machine = Machine(world)
    monkeypatch.setattr(survives, "train", machine.train)
    monkeypatch.setattr(survives, "cores", lambda: 2)
    told = survives.rerun(many, 1e9, machine.clock)
    verdicts = {answer.variation.name: answer.verdicts for answer in told.answers}
    assert set(verdicts.pop("2 threads").values()) == {LOST}
    assert len(verdicts) == 2 and all(set(own.values()) == {SURVIVES} for own in verdicts.values())
    few = survives.rerun(replace(finding, recorded=None), 1e9, machine.clock)
    assert few.answers[-1].verdicts["reaches"] == UNKNOWN
    assert "4 of 4 seeds were lost" in few.answers[-1].why["reaches"] and "chance" in few.answers[-1].why["reaches"]


def test_whoever_had_the_least_time_goes_next_and_what_is_late_counts_for_nothing(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = rerun(monkeypatch, made, Machine(usual, seconds=1.0), 60.0)  # a seed takes 3 s, with two threads 30 s
    done = {answer.variation.threads: len(answer.measured.ours) for answer in told.answers}
    assert done == {1: 3, 2: 1} or done == {1: 2, 2: 1} or done == {1: 4, 2: 0}
    assert told.seconds_left > 0 and math.isfinite(told.seconds_left)
    assert told.answers[-1].verdicts["reaches"] == UNKNOWN and told.answers[-1].why["reaches"] == "too few seeds are in"


def test_no_time_at_all_is_no_answer(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = rerun(monkeypatch, made, Machine(usual), 0.5)
    assert all(set(answer.verdicts.values()) <= {UNKNOWN, UNCLAIMED} for answer in told.answers)
    assert math.isinf(told.seconds_left)
    assert any("none yet" in line for line in survives.table(told))


def test_a_grid_on_which_nothing_fits_is_left_out(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = survives.of_run(made)
    tight = replace(finding, settings=("target.goal.evaluate_every=160", "target.budget.max_epochs=300"))
    machine = Machine(usual)
    monkeypatch.setattr(survives, "train", machine.train)
    told = survives.rerun(replace(tight, recorded=None), 1e9, machine.clock)
    assert list(told.left_out) == ["every 320 epochs"]
    assert "target.goal.evaluate_every" in told.left_out["every 320 epochs"]


def test_members_that_fail_are_told(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(usual)

    def train(job: Json, *others: Any) -> list[Json]:
        row = machine.row(job, job["members"][0], None)
        return [row | {"status": "failed", "error": "RuntimeError: no such kernel (x.py:3)"}]

    monkeypatch.setattr(survives, "train", train)
    told = survives.rerun(survives.of_run(made), 1e9)
    assert told.failed[0] > 0 and told.failed[1] == "RuntimeError: no such kernel"


# -- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claimed", "found", "lost", "won", "expected"),
    [
        (True, True, 0, 0, SURVIVES),
        (False, False, 3, 0, SURVIVES),
        (True, None, 0, 0, UNKNOWN),
        (None, True, 0, 0, UNCLAIMED),
        (True, False, 0, 0, LOST),  # an interval that turned
        (True, False, 2, 0, UNKNOWN),  # p 0.5
        (True, False, 8, 1, LOST),  # p 0.04
        (False, True, 0, 6, LOST),  # p 0.03
    ],
)
def test_verdicts(claimed: bool | None, found: bool | None, lost: int, won: int, expected: str) -> None:
    assert verdict(claimed, found, lost, won) == expected


def outcome(epochs: int | None, weak: float = 0.0, split: int = 0, curve: Mapping[int, Any] | None = None) -> Outcome:
    row = {"status": "exhausted" if epochs is None else "cleared", "epochs": 300, "train_flops": 300.0}
    row |= {f"{unit}_to_goal": epochs for unit in ("epochs", "flops", "seconds")}
    return Outcome(split, row, {"flops": weak}, curve or {})


def measured(ours: list[int | None], theirs: list[int | None], weak: float = 0.0, at_least: int = 3) -> Measured:
    rule = Rule(seeds=5, at_least=at_least, unit="flops", judged=True)
    mine = tuple(outcome(epochs, weak, split) for split, epochs in enumerate(ours))
    return Measured(mine, tuple(outcome(epochs, 0.0, split) for split, epochs in enumerate(theirs)), rule)


def test_enough_seeds_is_known_as_soon_as_no_other_seed_can_change_it() -> None:
    slow: list[int | None] = [200] * 5
    assert measured([40, 40, 40], slow).reaches is True
    assert measured([None, None, None], slow).reaches is False
    assert measured([40, 40, None, None], slow).reaches is None


def test_it_pays_by_the_median_of_weak_model_and_target() -> None:
    slow: list[int | None] = [200] * 5
    assert measured([40, 40, 40, 40, 40], slow, weak=159.0).pays is True
    assert measured([40, 40, 40, 40, 40], slow, weak=160.0).pays is False
    assert measured([40, 40, 40, None, None], slow, weak=100.0).pays is True
    assert measured([40, 40, None, None, None], slow, weak=0.0).pays is False
    assert measured([40, 40, 40], slow).pays is None  # a median of some
    assert measured([40, 40, 40, 40, 40], [None, None, None, 1, 1], weak=1e9).pays is True  # scratch is censored


def test_sooner_needs_an_interval_and_enough_seeds() -> None:
    assert measured([40, 41, 42, 43, 44], [200, 210, 190, 205, 195]).sooner is True
    assert measured([200, 210, 190, 205, 195], [40, 41, 42, 43, 44]).sooner is False
    assert measured([None] * 5, [40, 41, 42, 43, 44]).sooner is False
    assert measured([40, 300, 42, 290, 44], [100, 110, 90, 105, 95]).sooner is None
    assert measured([40, 41, 42, 43], [200, 210, 190, 205]).sooner is None
    assert measured([], []).sooner is None


def test_curves_are_the_same_where_they_share_epochs() -> None:
    short, long = {0: (1.0, 0.1), 5: (0.5, 0.2)}, {0: (1.0, 0.1), 5: (0.5, 0.2), 10: (0.1, 0.9)}
    other = {0: (1.0, 0.1), 5: (0.5, 0.2 + 1e-16 + 1e-12)}
    assert outcome(5, curve=short).same_curve(outcome(10, curve=long)) is True
    assert outcome(5, curve=other).same_curve(outcome(10, curve=long)) is False
    assert outcome(5).same_curve(outcome(10, curve=long)) is None


def test_the_table_fits_a_terminal(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(survives.table(rerun(monkeypatch, made, Machine(usual))))
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("as recorded") for line in lines) and any(line.startswith(RAN) for line in lines)


# -- for real -----------------------------------------------------------------------------------------------------


def test_what_is_built_in_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pipeline of it, to its end: the configs fit the spaces, and the weak model clears."""
    finding = survives.built_in()
    monkeypatch.setattr(survives, "cores", lambda: 1)
    told = survives.rerun(replace(finding, settings=(*finding.settings, "report={seeds: 1, at_least: 1}")), 60.0)
    assert told.base.k == 1 and told.base.pays is not None and not told.failed[0]
    assert [len(answer.measured.ours) for answer in told.answers] == [1] * len(told.answers)
    json.dumps({answer.variation.name: dict(answer.verdicts) for answer in told.answers})


@pytest.mark.slow
def test_a_real_run_is_trained_again_bit_for_bit(tmp_path: Path) -> None:
    process = gtsearch("run", *tiny("target.methods=[transfer, scratch]"), "--out", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode in (0, 1), (out, err)
    told = survives.rerun(survives.of_run(tmp_path / "run"), 120.0)
    first = told.answers[0]
    assert first.variation.name == RAN
    assert first.same_curves == first.curves == 2 * len(told.base.ours)
    assert first.measured.ratio == told.base.ratio
