"""A run on a cluster: who may join, which nodes may train, what a cluster that changes does to a run."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
import typer
import yaml
from cluster_kit import Cluster, can_pretend, cluster, remains, run_patiently, wait_until
from experiment_kit import end, gtsearch, settled, tiny, wait_for_members
from ray.scripts import scripts as ray_commands

import gtsearch as package
from gtsearch import cli, nodes, resources, tune
from gtsearch import survey as surveys
from gtsearch.errors import BrokenOff, ResourcesError
from gtsearch.spec import load_spec
from gtsearch.survey import Node, Survey, survey

needs_namespaces = pytest.mark.skipif(not can_pretend(), reason="this user may not give a process mounts of its own")
LONG = "report={seeds: 60, at_least: 2, weak_tries: 3}"  # enough members for a node to die among them


@pytest.fixture(scope="module")
def one() -> Iterator[Cluster]:
    """A cluster of one node of two CPUs."""
    with cluster("--num-cpus=2") as started:
        yield started


def members(folder: Path) -> list[dict[str, object]]:
    """The rows of the log so far."""
    log = folder / "members.log"
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [row for row in rows if "run_id" in row]


# -- who may join ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.0.0.1", "must be HOST:PORT of the head"),
        ("10.0.0.1:99999", "must be HOST:PORT of the head"),
        ("local", "must be HOST:PORT of the head"),
        ("ray://10.0.0.1:10001", "Ray Client would move the search to the head"),
        ("nowhere.invalid:6379", "nothing answers at nowhere.invalid:6379 (Name or service not known)"),
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1 (Connection refused)"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address: str, words: str) -> None:
    with pytest.raises(ResourcesError, match=re.escape(words)):
        survey(address)


def test_something_else_that_listens_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "ANSWER_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ResourcesError, match="does not answer as the head of a Ray cluster"):
            survey(address)


def test_only_who_has_the_token_of_the_cluster_joins_it(
    one: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [node.cpus for node in survey(one.address).nodes] == [2.0]
    monkeypatch.setenv("RAY_ADDRESS", one.address)
    assert survey("auto").address == one.address

    with monkeypatch.context() as patch:
        patch.delenv("RAY_AUTH_MODE")
        with pytest.raises(ResourcesError, match="asks for a token; set RAY_AUTH_MODE=token"):
            survey(one.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(ResourcesError, match="refuses the token given; copy the one of its head"):
        survey(one.address)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ResourcesError, match="there is no token for the cluster"):
        survey(one.address)


def test_a_cluster_of_another_ray_is_refused_with_both_versions(one: Cluster) -> None:
    told = {"ray_version": "2.59.0", "python_version": "3.11.7"}
    before = metadata(one, json.dumps(told))
    try:
        with pytest.raises(ResourcesError, match=r"runs Ray 2\.59\.0 on Python 3\.11\.7, and this is Ray 2\."):
            survey(one.address)
    finally:
        metadata(one, before)


def metadata(of: Cluster, value: str) -> str:
    """Sets what a cluster's head says of its versions; returns what it said."""
    code = """
import sys
from ray._raylet import GcsClient
head = GcsClient(address=sys.argv[1])
print(head.internal_kv_get(b"CLUSTER_METADATA", b"cluster").decode())
head.internal_kv_put(b"CLUSTER_METADATA", sys.argv[2].encode(), True, b"cluster")
"""
    command = [sys.executable, "-c", code, of.address, value]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_namespaces
def test_a_machine_that_is_no_node_is_told_how_to_become_one(one: Cluster) -> None:
    """In a process namespace of its own the cluster's raylet is out of sight, as on another machine."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "gtsearch.survey", one.address]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"ray start --address={one.address} --num-cpus=0" in json.loads(told)["refused"]


# -- which nodes may train ---------------------------------------------------------------------------------


def test_workers_are_counted_node_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = Survey("head:6379", (Node("a", "a/10.0.0.1", 3.0, 0.0), Node("b", "b/10.0.0.2", 8.0, 2.0)))
    monkeypatch.setattr(resources, "survey", lambda address: mixed)

    def asked(workers: int | None = None, **given: object) -> resources.Resources:
        settings = [f"resources.{key}={value}" for key, value in given.items()]
        return resources.resources_for(load_spec("smoke", settings), workers, "head:6379")

    assert asked(gpus_per_trial=0, cpus_per_trial=2).workers == 1 + 4
    assert asked(gpus_per_trial=0.5).workers == 4
    assert asked(gpus_per_trial="auto").gpus_per_trial == 1
    assert asked(64, gpus_per_trial=0).workers == 64
    with pytest.raises(ResourcesError, match=r"needs 1 CPUs and 3 GPUs on one node.*a/10\.0\.0\.1 \(3 CPUs\), b/"):
        asked(gpus_per_trial=3)


def test_a_node_with_other_packages_is_named_with_its_own_and_ours(tmp_path: Path) -> None:
    here, ours = nodes._versions(), re.escape(version("torch"))
    told = {"error": None, "sees": True, "versions": here | {"torch": "1.0", "ray": None}}
    why = nodes._why_unfit(told, tmp_path / "written", "nonce")
    with pytest.raises(ResourcesError, match=rf"far has torch 1\.0, ray missing; .*torch {ours}"):
        nodes._refuse(tmp_path, {"near": None, "far": why})
    (tmp_path / "spec.yaml").write_text("name: x")
    with pytest.raises(BrokenOff, match=rf"a node that joined, \S+, has torch {ours} for 1\.0"):
        nodes._refuse_here(str(tmp_path), nodes._digest(tmp_path), tuple((here | {"torch": "1.0"}).items()))


@pytest.mark.slow
@needs_namespaces
def test_two_nodes_train_at_once_and_give_the_rows_of_one(tmp_path: Path) -> None:
    with cluster("--num-cpus=1") as pair:
        pair.add("--num-cpus=1", name="second")
        on_two = run_patiently(*tiny(), "--address", pair.address, "--out", "two", cwd=tmp_path, trainable="clocked")
        alone = gtsearch("run", *tiny(), "--workers", "2", "--out", "one", cwd=tmp_path)
        for process in (on_two, alone):
            _, err = process.communicate(timeout=250)
            assert process.returncode == 0, err
    two, single = (pd.read_parquet(tmp_path / name / "trials.parquet") for name in ("two", "one"))
    # A cancelled member that never began has no threads, which makes them floats.
    pd.testing.assert_frame_equal(settled(two), settled(single), check_dtype=False)
    either, both = seconds_of_training(two["host"].dropna(), {"second", socket.gethostname()})
    assert both > either / 3, f"of {either:.1f} s in which members were trained, both nodes trained for {both:.1f}"


def seconds_of_training(hosts: Iterable[str], nodes: set[str]) -> tuple[float, float]:
    """Of rows of `clocked`: seconds in which at least one of two nodes trained, and in which both did."""
    jobs = {(host, float(began), float(ended)) for host, began, ended in (text.split("/") for text in hosts)}
    assert {host for host, _, _ in jobs} == nodes
    changes = sorted([(began, 1, host) for host, began, _ in jobs] + [(ended, -1, host) for host, _, ended in jobs])
    either, both, before, at_work = 0.0, 0.0, 0.0, Counter[str]()
    for at, change, host in changes:
        busy = sum(n > 0 for n in at_work.values())
        either, both = either + (busy > 0) * (at - before), both + (busy > 1) * (at - before)
        at_work[host] += change
        before = at
    return either, both


@pytest.mark.slow
@needs_namespaces
def test_storage_that_a_node_does_not_see_is_refused_before_training(one: Cluster, tmp_path: Path) -> None:
    node = one.add("--num-cpus=1", name="blind", hides=tmp_path)
    try:
        process = gtsearch("run", *tiny(), "--address", one.address, "--out", "run", cwd=tmp_path)
        _, err = process.communicate()
    finally:
        one.kill(node)
    assert process.returncode == 2
    assert re.search(r"is not on storage that all nodes share: blind/\S+ \(1 CPUs\) sees another folder there", err)
    assert "give --out on a shared file system" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_namespaces
def test_a_node_without_gtsearch_is_named(one: Cluster, tmp_path: Path) -> None:
    node = one.add("--num-cpus=1", name="bare", hides=Path(package.__file__).resolve().parent)
    try:
        process = gtsearch("run", *tiny(), "--address", one.address, "--out", "run", cwd=tmp_path)
        _, err = process.communicate()
    finally:
        one.kill(node)
    assert process.returncode == 2
    assert re.search(r"bare/\S+ \(1 CPUs\) cannot load gtsearch \(ModuleNotFoundError: .*install on each what is", err)


# -- a cluster that changes --------------------------------------------------------------------------------


def test_there_are_no_more_workers_than_places(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [Node("a", "a/10.0.0.1", 2.0, 0.0)]
    monkeypatch.setattr(nodes, "_that_may_train", lambda asked: alive)
    monkeypatch.setattr(nodes, "ROOM_SECONDS", -1.0)
    room = nodes.Room(resources.Resources(workers=3, cpus_per_trial=1.0, gpus_per_trial=0.0))
    assert room.workers() == (2, False)
    alive.append(Node("b", "b/10.0.0.2", 1.0, 0.0))
    assert room.workers() == (3, False)
    alive.append(Node("c", "c/10.0.0.3", 1.0, 0.0))
    assert room.workers() == (3, True)
    alive.clear()
    assert room.workers() == (1, False)


@dataclass(eq=False)
class Waiting:
    """A trial of Tune's, as far as is asked of it."""

    trial_id: str
    status: str = "PENDING"


def test_a_worker_on_its_way_is_left_to_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Waiting("first"), Waiting("second")
    desk = tune._Desk(cast(Any, None), workers=2, hang_seconds=10.0, trials={"first": "job-1", "second": "job-2"})
    monkeypatch.setitem(tune._desks, "test", desk)
    manager = SimpleNamespace(live_actors=["busy", "starting"])
    asked = {"get_live_trials": lambda: [second, first], "_trial_to_actor": {first: "starting", second: "unplaced"}}
    over: dict[str, set[str]] = {"_trials_to_cache": {"one"}, "_stopped_trials": {"one"}, "_failed_trials": {"other"}}
    tunes = SimpleNamespace(_tune_controller=SimpleNamespace(_actor_manager=manager, **asked, **over))
    assert tune._Starts("test").choose_trial_to_run(tunes) is second
    desk.unplaced["first"] = time.monotonic() - 11  # its start hangs
    assert tune._Starts("test").choose_trial_to_run(tunes) is first
    assert not any(over.values()), "Tune keeps trials that are over"


@pytest.mark.slow
@needs_namespaces
def test_a_node_joins_and_another_dies(tmp_path: Path) -> None:
    """More workers than places throughout: what waits for a place holds nobody up."""
    with cluster("--num-cpus=0", "--num-gpus=0") as changing:
        dies = changing.add("--num-cpus=2", name="dies")
        words = [*tiny(LONG), "--workers", "3", "--address", changing.address, "--out", "run"]
        process = run_patiently(*words, cwd=tmp_path)
        wait_for_members(tmp_path / "run", 5, process)
        changing.add("--num-cpus=1", name="joins")
        changing.kill(dies)
        out, err = process.communicate(timeout=250)
        assert process.returncode in (0, 1), err
        assert "the cluster has room for 2 of 3 workers now" in out
        left = remains(changing.address)
    rows = members(tmp_path / "run")
    kept = [row["run_id"] for row in rows if not row["lost"] and row["status"] != "cancelled"]
    assert len(kept) == len(set(kept))
    assert {str(row["host"]).split("/")[0] for row in rows} >= {"dies", "joins"}
    assert left == {"actors": 0, "groups": 0, "CPUs": 0}


@pytest.mark.slow
@needs_namespaces
def test_a_node_that_joins_without_the_storage_ends_the_run_with_the_way_on(tmp_path: Path) -> None:
    with cluster("--num-cpus=0", "--num-gpus=0") as changing:
        sees = changing.add("--num-cpus=1")
        words = [*tiny(LONG), "--workers", "2", "--address", changing.address, "--out", "run"]
        process = run_patiently(*words, cwd=tmp_path)
        wait_for_members(tmp_path / "run", 5, process)
        changing.add("--num-cpus=1", name="blind", hides=tmp_path)
        changing.kill(sees)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 3, err
    assert re.search(r"a node that joined, \S+, does not see the run folder", out)
    assert "go on with: gtsearch resume run" in out
    failed = [str(row["error"]) for row in members(tmp_path / "run") if row["status"] == "failed" and not row["lost"]]
    assert [error for error in failed if "a formula gave out" not in error] == []


@pytest.mark.slow
def test_a_head_that_dies_ends_the_run_with_the_way_on(tmp_path: Path) -> None:
    with cluster("--num-cpus=2") as dying:
        process = run_patiently(*tiny(LONG), "--address", dying.address, "--out", "run", cwd=tmp_path)
        wait_for_members(tmp_path / "run", 5, process)
        began = time.monotonic()
        dying.kill(dying.nodes[0])
        out, err = process.communicate(timeout=120)
        assert time.monotonic() - began < 60
    assert process.returncode == 3, err
    assert "go on with: gtsearch resume run" in out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGKILL, 2)])
def test_a_run_that_is_stopped_leaves_nothing_on_the_cluster(
    one: Cluster, tmp_path: Path, number: int, workers: int
) -> None:
    words = [*tiny(LONG), "--workers", str(workers), "--address", one.address, "--out", "run"]
    process = run_patiently(*words, cwd=tmp_path)
    wait_for_members(tmp_path / "run", 20, process)
    assert len(workers_of(tmp_path / "run")) == workers, "not as many workers as were asked for"
    code, _, _ = end(process, number)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: remains(one.address) == {"actors": 0, "groups": 0, "CPUs": 0}, "something is left", 60)
    assert one.size() == 1


# -- GPUs --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_namespaces
def test_fractions_and_types_of_gpus_in_one_search(tmp_path: Path) -> None:
    """The GPUs are pretended, so that members train nothing: what is shown is where they were, and what rows say."""
    with cluster("--num-cpus=0", "--num-gpus=0") as mixed:
        mixed.add("--num-cpus=2", "--num-gpus=2", '--resources={"accelerator_type:A100": 1}', name="two")
        mixed.add("--num-cpus=2", "--num-gpus=1", "--labels=ray.io/accelerator-type=H100", name="one")
        half = ["resources.gpus_per_trial=0.5", "resources.cpus_per_trial=0.5"]
        words = [*tiny(*half, LONG), "--address", mixed.address, "--out", "run"]
        process = run_patiently(*words, cwd=tmp_path)
        wait_until(lambda: len(workers_of(tmp_path / "run")) == 6, "not all six workers train", 150)
        code, out, err = end(process, signal.SIGINT)
    assert code == 130, err
    assert "6 workers · cuda" in out
    seen = Counter(worker[:3] for worker in workers_of(tmp_path / "run"))
    assert seen == {("two", "A100", "0"): 2, ("two", "A100", "1"): 2, ("one", "H100", "0"): 2}


def workers_of(folder: Path) -> set[tuple[str, ...]]:
    """Who trained members: host, `device` of the row, GPU, PID."""
    rows = [row for row in members(folder) if row["host"]]
    return {(host, str(row["device"]), *rest) for row in rows for host, *rest in [str(row["host"]).split("/")]}


# -- docs/cluster.md ---------------------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text()


def commands(program: str) -> list[list[str]]:
    """What the page has a person type, a list of words each."""
    blocks = re.findall(r"```[a-z]+\n(.*?)```", PAGE, re.DOTALL)
    asides = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    typed = "\n".join([*blocks, *asides]).replace("\\\n", " ")
    return [words.replace('"', "").split() for words in re.findall(rf"\b{program} ([a-z][^\n;&|>')]*)", typed)]


def test_the_page_uses_commands_and_options_that_exist() -> None:
    ours = typer.main.get_command(cli.app)
    rays = ray_commands.cli
    typed = [(ours, words) for words in commands("gtsearch")] + [(rays, words) for words in commands("ray")]
    assert len(typed) > 10
    for program, words in typed:
        command = program.commands[words[0]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known, (words, given - known)


def test_the_scripts_and_the_yaml_of_the_page_can_be_read() -> None:
    scripts, sheets = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("bash", "yaml"))
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert [yaml.safe_load(sheet)["kind"] for sheet in sheets] == ["RayJob", "PersistentVolumeClaim"]
    job = yaml.safe_load(sheets[0])["spec"]
    groups = [job["rayClusterSpec"]["headGroupSpec"], *job["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert job["rayClusterSpec"]["rayVersion"] == version("ray")
