"""The whole way from a spec to a run folder, through Ray, and what survives a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from experiment_kit import end, gtsearch, settled, tiny, wait_for_members
from oracle import spec

from gtsearch import embedding, experiment, plans
from gtsearch.errors import ResourcesError
from gtsearch.experiment import Conductor
from gtsearch.progress import Display
from gtsearch.results import CURVES, LEDGER, SCHEMA, TRIALS, MembersLog, Results, load_results, spec_digest, write_json
from gtsearch.salvage import look
from gtsearch.search.board import Phase
from gtsearch.spec import load_spec

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run with two workers: its folder and what it printed."""
    place = tmp_path_factory.mktemp("whole")
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "2", cwd=place)
    out, err = process.communicate(timeout=200)
    assert process.returncode in (0, 1), err
    return place / "run", out


@pytest.fixture(scope="module")
def results(whole: tuple[Path, str]) -> Results:
    return load_results(whole[0])


def test_the_run_folder_holds_what_the_design_says(whole: tuple[Path, str]) -> None:
    names = {path.name for path in whole[0].iterdir()}
    assert names == {
        "spec.yaml",
        "environment.json",
        "members.log",
        "trials.parquet",
        "curves.parquet",
        "ledger.parquet",
        "probes.parquet",
        "scores.parquet",
        "summary.json",
        "embeddings",
        "study.log",
        "figures",
        "report.html",
    }
    stems = {path.stem for path in (whole[0] / "figures").iterdir()}
    assert {"tradeoff", "dynamics", "ladder"} <= stems
    assert all((whole[0] / "figures" / f"{stem}.{kind}").stat().st_size for stem in stems for kind in ("png", "svg"))


def test_the_closing_lines_and_nothing_of_rays(whole: tuple[Path, str]) -> None:
    _, out = whole
    *_, report, following = out.splitlines()
    assert report.startswith("report") and report.endswith("report.html") and following.startswith("next: gtsearch ")
    assert "ray" not in out.lower().replace("array", "")


def test_the_tables_have_their_schemas(results: Results) -> None:
    assert list(results.trials.columns) == list(TRIALS)
    assert list(results.curves.columns) == list(CURVES)
    assert list(results.ledger.columns) == list(LEDGER)
    assert {"weak", "target"} == set(results.trials["stage"])
    assert {"scratch", "transfer", "lowrank_random", "weak"} == set(results.trials["method"])
    counted = results.trials[results.trials["status"] != "cancelled"]
    assert counted["run_id"].is_unique
    trained = counted[counted["status"].isin(["cleared", "exhausted", "capped"])]
    assert set(trained["run_id"]) <= set(results.curves["run_id"])


def test_never_reached_is_null(results: Results) -> None:
    missed = results.trials[results.trials["status"].isin(["exhausted", "capped"])]
    assert len(missed) and missed[["epochs_to_goal", "flops_to_goal", "seconds_to_goal"]].isna().all(axis=None)


def test_test_accuracy_is_measured_for_claims_alone(results: Results) -> None:
    searching = results.trials[results.trials["role"].isin(["search", "gate", "probe"])]
    assert searching["test_accuracy"].isna().all()
    reported = results.trials[(results.trials["role"] == "report") & (results.trials["status"] == "cleared")]
    assert reported["test_accuracy"].notna().all()


def test_the_summary_has_the_contracted_keys(results: Results) -> None:
    summary = results.summary
    assert {"clears", "pays", "excluded", "undecided"} <= set(summary["weak"])
    assert set(summary["speedup"]) == {"target", "with_weak", "with_search"}
    assert {"threshold", "interval", "least_total"} <= set(summary["tradeoff"])
    for method in summary["methods"].values():
        assert {
            "reached",
            "seeds",
            "interval",
            "epochs_to_goal",
            "seconds_to_goal",
            "flops_to_goal",
            "test_accuracy",
            "tuning_members",
            "tuning_flops",
        } <= set(method)
    assert summary["complete"]


def test_the_ledger_adds_up(results: Results) -> None:
    ledger = results.ledger.set_index("purpose")
    parts = results.ledger[results.ledger["purpose"] != "total"]
    assert parts["train_flops"].sum() == pytest.approx(ledger.loc["total", "train_flops"])
    assert parts["members"].sum() == ledger.loc["total", "members"] == len(results.trials)
    assert ledger.loc["total", "wall_seconds"] > 0


def test_embeddings_say_what_made_them(whole: tuple[Path, str], results: Results) -> None:
    weak = results.trials[(results.trials["stage"] == "weak") & (results.trials["status"] == "cleared")].iloc[0]
    [path] = (whole[0] / "embeddings").glob(f"{weak['run_id']}-e*.safetensors")
    E_W, _, header = embedding.read(path)
    assert E_W.shape == (17, weak["d_embed"])
    assert header["run_id"] == weak["run_id"] and header["task"]["p"] == 17
    assert embedding.norm(E_W) == pytest.approx(weak["embedding_norm"])


def test_every_transfer_names_a_weak_run_of_its_own_split(results: Results) -> None:
    trials = results.trials.set_index("run_id")
    transferred = trials[(trials["method"] == "transfer") & trials["weak_run_id"].notna()]
    transferred = transferred[transferred["status"] != "unreached"]
    weak = trials.loc[transferred["weak_run_id"]]
    assert (weak["split_seed"].to_numpy() == transferred["split_seed"].to_numpy()).all()


def test_the_environment_says_how_it_was_made(results: Results) -> None:
    environment = results.environment
    assert environment["workers"] == 2 and environment["threads"] == 1
    assert environment["spec_sha256"] == spec_digest(results.spec_text)
    assert {"torch", "ray", "optuna", "gtsearch"} <= set(environment["versions"])


@pytest.mark.slow
def test_one_worker_gives_the_same_rows(results: Results, tmp_path: Path) -> None:
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "1", cwd=tmp_path)
    _, err = process.communicate(timeout=250)
    assert process.returncode in (0, 1), err
    pd.testing.assert_frame_equal(settled(load_results(tmp_path / "run").trials), settled(results.trials))


@pytest.mark.parametrize("members", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_tables(results: Results, tmp_path: Path, members: int) -> None:
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", members, process)
    end(process, signal.SIGKILL)
    with (tmp_path / "run" / "members.log").open("ab") as log:
        log.write(b'{"run_id": "torn in the mid')
    assert [note.partition(" ")[0] for note in look(tmp_path / "run").notes] == ["the", "members.log:"]
    before = (tmp_path / "run" / "members.log").read_bytes().count(b"\n")
    again = gtsearch("resume", "run", cwd=tmp_path)
    out, err = again.communicate(timeout=200)
    assert again.returncode in (0, 1), err
    assert "· 2 workers ·" in out.splitlines()[0], "it goes on with as many workers as before"
    resumed = load_results(tmp_path / "run")
    assert resumed.environment["workers"] == resumed.environment["workers_asked"] == 2
    pd.testing.assert_frame_equal(settled(resumed.trials), settled(results.trials))
    log_lines = (tmp_path / "run" / "members.log").read_text().splitlines()
    assert len(log_lines) > before and resumed.environment["torn_lines"] == 1
    ids = [row["run_id"] for row in map(json.loads, log_lines) if row["status"] != "cancelled"]
    assert len(ids) == len(set(ids)), "a member ran twice"


class NoJournal:
    def add(self, rows: list[dict]) -> None:
        pass


def test_the_display_tells_what_trains_from_what_waits_for_a_worker(tmp_path: Path) -> None:
    states: list[dict[str, Any]] = []

    class Shown(Display):
        def update(self, state: Mapping[str, Any]) -> None:
            states.append(dict(state))

    with MembersLog(tmp_path / "members.log") as log:
        policy = plans.ablation_for(spec(), workers=2)
        conductor = Conductor(policy, log, NoJournal(), Shown("", quiet=True), [])  # type: ignore[arg-type]
        while conductor.next_job() is not None:
            pass
        out = [member.run_id for job in conductor.jobs.values() for member in job.members]
        conductor.take("any", [], [{"run_id": out[0]}])
        conductor.seen.add(out[1])  # one whose job goes on is done
        conductor.show()
    assert (states[-1]["training"], states[-1]["waiting"]) == (1, len(out) - 2)


def test_a_job_that_looks_ahead_and_has_not_begun_lets_an_urgent_one_go_first(tmp_path: Path) -> None:
    """One job waits for each worker, so it was handed out before what makes another more urgent was known."""
    policy = plans.ablation_for(spec(), workers=2)
    with MembersLog(tmp_path / "members.log") as log:
        conductor = Conductor(policy, log, NoJournal(), Display("", quiet=True), [])  # type: ignore[arg-type]
        while conductor.next_job() is not None:
            pass
        ahead = [job for job in conductor.jobs.values() if job.phase is Phase.AHEAD]
        urgent = [job for job in conductor.jobs.values() if job.phase is not Phase.AHEAD]
        assert ahead and urgent
        assert conductor.is_needless(ahead[0].id), "urgent ones wait"
        conductor.ended(ahead[0].id, None)
        assert conductor.finished == 0 and not (tmp_path / "members.log").read_bytes(), "nothing was trained or lost"
        again = conductor.next_job()
        assert again is not None and again["id"] == ahead[0].id, "what it was to train is open again"
        assert not any(conductor.is_needless(job.id) for job in urgent), "each is at a worker now"
        assert not conductor.is_needless(again["id"]), "nothing urgent waits any more"
        assert conductor.error is None


VARIED = (
    "probes=[weight_norms]",
    "target.options={transfer: {merge_at: 20}}",
    "ablate={vary: {hold: {target.goal.hold: [1, 3]}}}",
)


@pytest.mark.slow
def test_killed_variations_resume_to_the_same_tables(tmp_path: Path) -> None:
    whole = gtsearch("run", *tiny(*VARIED), "--out", "whole", "--workers", "2", cwd=tmp_path)
    assert whole.wait(timeout=280) in (0, 1), whole.communicate()
    process = gtsearch("run", *tiny(*VARIED), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 30, process)
    end(process, signal.SIGKILL)
    again = gtsearch("resume", "run", "--workers", "1", cwd=tmp_path)
    assert again.wait(timeout=280) in (0, 1), again.communicate()
    one, other = load_results(tmp_path / "whole"), load_results(tmp_path / "run")
    pd.testing.assert_frame_equal(settled(one.trials), settled(other.trials))
    by = ["run_id", "epoch", "probe"]
    counted = one.probes["run_id"].isin(settled(one.trials)["run_id"])
    pd.testing.assert_frame_equal(
        one.probes[counted].sort_values(by, ignore_index=True),
        other.probes[other.probes["run_id"].isin(settled(other.trials)["run_id"])].sort_values(by, ignore_index=True),
    )
    assert set(one.summary["variations"]) == {"base", "hold 1", "hold 3"}


@pytest.mark.slow
def test_variations_without_a_weak_stage_go_the_whole_way(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("""
name: small
task: {name: modular_addition, p: 11, train_fraction: 0.7}
target:
  goal: {val_accuracy: above_chance, hold: 2, evaluate_every: 5}
  model: {name: mlp, depth: 2, d_embed: 8, width: 16}
  methods: [scratch, fourier]
  options: {fourier: {frequencies: [1, 2, 3]}}
  tune: {lr: 0.03, weight_decay: 1, init_scale: 0.5}
  budget: {configs: 1, max_epochs: 60}
report: {seeds: 3, at_least: 2}
probes: [weight_norms, fourier]
ablate: {vary: {loss: {target.loss: stablemax}}}
""")
    process = gtsearch("run", "small.yaml", "--out", "run", "--workers", "2", cwd=tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    results = load_results(tmp_path / "run")
    assert results.summary["weak"] is None and set(results.summary["methods"]) == {"scratch", "fourier"}
    assert set(results.trials["variation"]) == {"base", "loss"} and len(results.trials) == 12
    assert {"weight_norm", "fourier_share"} <= set(results.probes["probe"])
    assert "loss" in out and out.splitlines()[-2].startswith("report")
    assert {"ablation", "probes"} <= {path.stem for path in (tmp_path / "run" / "figures").iterdir()}


@pytest.mark.parametrize(  # Ctrl-C is among the handful of faults, too
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 2, process)
    exit_code, out, err = end(process, number)
    assert exit_code == code, (out, err)
    assert "gtsearch resume run" in out + err and "Traceback" not in err
    assert not (tmp_path / "run" / "summary.json").exists()
    drawn = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"report.html", "figures"} <= drawn and "so far: run/report.html" in out
    assert not list(tmp_path.rglob("*.partial"))
    (note,) = look(tmp_path / "run").notes
    assert note.startswith("the run is not finished: ") and "gtsearch resume" in note


@pytest.mark.slow
def test_embeddings_that_were_changed_or_deleted_are_made_again(results: Results, tmp_path: Path) -> None:
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 2, process)
    while b'"purpose":"probe"' not in (tmp_path / "run" / "members.log").read_bytes():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    end(process, signal.SIGKILL)
    kept = {path: path.read_bytes() for path in (tmp_path / "run" / "embeddings").glob("*.safetensors")}
    for i, path in enumerate(kept):
        path.write_bytes(b"something else") if i % 2 else path.unlink()
    again = gtsearch("resume", "run", "--workers", "2", cwd=tmp_path)
    out, err = again.communicate(timeout=200)
    assert again.returncode in (0, 1) and "it is made again" in out, (out, err)
    resumed = load_results(tmp_path / "run")
    pd.testing.assert_frame_equal(settled(resumed.trials), settled(results.trials))
    assert any(path.read_bytes() == data for path, data in kept.items() if path.exists())


def test_a_run_of_another_schema_is_left_alone_and_one_of_other_versions_goes_on(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(environment | {"schema": 99}))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    out, err = gtsearch("resume", "run", cwd=tmp_path).communicate(timeout=100)
    assert not out and err.count("\n") == 1 and "schema 99" in err
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    environment["versions"] |= {"torch": "2.9.0"}
    (folder / "environment.json").write_text(json.dumps(environment))
    process = gtsearch("resume", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=100)
    assert process.returncode in (0, 1) and "this run began with torch 2.9.0, and goes on with torch 2" in out, err
    [resumed] = load_results(folder).environment["resumed"]
    assert resumed["versions"]["torch"] == version("torch")  # of the package: a build for GPUs calls itself otherwise


@pytest.mark.slow
def test_a_run_whose_surroundings_are_not_known_any_more_goes_on(whole: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run" / "environment.json").write_text("{ torn")
    process = gtsearch("resume", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=100)
    assert process.returncode in (0, 1) and "environment.json is damaged" in out, err
    assert load_results(tmp_path / "run").environment["resumed"]


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path: Path) -> None:
    dead = gtsearch("--version", cwd=tmp_path)
    dead.communicate(timeout=60)
    (tmp_path / "figures").mkdir()
    for name in (f"summary.json.{dead.pid}.partial", f"figures/x.png.{dead.pid}.partial", f"y.{os.getpid()}.partial"):
        (tmp_path / name).write_text("half")
    experiment._sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.partial")] == [f"y.{os.getpid()}.partial"], "that one lives"


@pytest.mark.slow
def test_a_killed_worker_costs_its_job_alone(results: Results, tmp_path: Path) -> None:
    process = gtsearch("run", *tiny(), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 2, process)
    log = tmp_path / "run" / "members.log"
    for attempt in range(6):  # the one that is killed may have been between two jobs
        family = psutil.Process(process.pid).children(recursive=True)
        workers = [p for p in family if "Trainable" in " ".join(p.cmdline())]
        assert workers or attempt, "Ray names its actors by their class"
        if workers:
            os.kill(workers[attempt % len(workers)].pid, signal.SIGKILL)
        until = time.monotonic() + 4
        while time.monotonic() < until and b'"status":"failed"' not in log.read_bytes():
            time.sleep(0.1)
        if b'"status":"failed"' in log.read_bytes():
            break
    out, err = process.communicate(timeout=200)
    assert process.returncode in (0, 1), err
    trials = load_results(tmp_path / "run").trials
    lost = trials[trials["status"] == "failed"]
    again = trials[trials["attempt"] == 1]
    assert len(lost) == len(again) > 0, out
    assert set(again["config_id"]) == set(lost["config_id"])


@pytest.mark.parametrize(("recorded", "said", "used"), [(7, None, 7), (7, 3, 3), (None, None, None), ("7", None, None)])
def test_a_resume_uses_as_many_workers_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Any, said: int | None, used: int | None
) -> None:
    """Whatever this machine's own number is."""
    (tmp_path / "spec.yaml").write_text(load_spec("smoke").to_yaml())
    known = {"schema": SCHEMA, "workers": 2, "device": "cpu", "device_names": ["x"], "threads": 1, "versions": {}}
    write_json(tmp_path / "environment.json", known | {"workers_asked": recorded})
    asked: list[int | None] = []

    def resources_for(spec: Any, workers: int | None, address: str | None) -> None:
        asked.append(workers)
        raise ResourcesError("far enough")

    monkeypatch.setattr(experiment, "resources_for", resources_for)
    with pytest.raises(ResourcesError, match="far enough"):
        experiment.resume(tmp_path, workers=said)
    assert asked == [used]


def test_resuming_a_finished_run_only_reports_it_again(whole: tuple[Path, str], results: Results) -> None:
    process = gtsearch("resume", str(whole[0]), "--workers", "1", cwd=whole[0].parent)
    out, err = process.communicate(timeout=100)
    assert process.returncode == results.summary["exit_code"], err
    assert load_results(whole[0]).environment["workers"] == results.environment["workers"] == 2, "nothing was trained"
    pd.testing.assert_frame_equal(load_results(whole[0]).trials, results.trials)
    assert out.splitlines()[-2].endswith("report.html")


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    process = gtsearch("run", *tiny(), "--out", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and not out
    assert err.count("\n") == 1 and "exists" in err and "--out" in err
    assert not list((tmp_path / "run").iterdir())
