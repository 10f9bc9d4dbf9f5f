"""A run on a cluster: who may join, which nodes may train, what a cluster that changes does to a run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import typer
import yaml
from cluster_kit import Cluster, can_pretend, cluster, remains, run_patiently, wait_until
from experiment_kit import end, gtsearch, settled, tiny, wait_for_members
from ray.scripts import scripts as ray_commands

import gtsearch as package
from gtsearch import cli
from gtsearch import survey as surveys
from gtsearch.errors import ResourcesError
from gtsearch.survey import survey

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


@pytest.mark.slow
@needs_namespaces
def test_another_node_gives_the_rows_of_this_machine(tmp_path: Path) -> None:
    """The search is on a head that trains nothing, so that every member is trained elsewhere."""
    with cluster("--num-cpus=0", "--num-gpus=0") as pair:
        pair.add("--num-cpus=2", name="second")
        on_two = gtsearch("run", *tiny(), "--address", pair.address, "--out", "two", cwd=tmp_path)
        alone = gtsearch("run", *tiny(), "--workers", "2", "--out", "one", cwd=tmp_path)
        for process in (on_two, alone):
            _, err = process.communicate(timeout=250)
            assert process.returncode == 0, err
    two, single = (pd.read_parquet(tmp_path / name / "trials.parquet") for name in ("two", "one"))
    assert set(two["host"].dropna()) == {"second"}
    pd.testing.assert_frame_equal(settled(two), settled(single))


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
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_nothing_on_the_cluster(one: Cluster, tmp_path: Path, number: int) -> None:
    process = run_patiently(*tiny(LONG), "--address", one.address, "--out", "run", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 5, process)
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
        mixed.add("--num-cpus=4", "--num-gpus=2", '--resources={"accelerator_type:A100": 1}', name="two")
        mixed.add("--num-cpus=4", "--num-gpus=1", "--labels=ray.io/accelerator-type=H100", name="one")
        many = ["weak.model.d_embed=[2, 4, 6, 8]", "weak.model.width=[8, 16, 24]"]  # enough jobs at once
        words = [*tiny("resources.gpus_per_trial=0.5", *many), "--address", mixed.address, "--out", "run"]
        process = run_patiently(*words, cwd=tmp_path)
        out, err = process.communicate(timeout=400)
        assert process.returncode in (0, 1), err
    assert "6 workers · cuda" in out
    rows = [row for row in members(tmp_path / "run") if row["host"]]
    places = {tuple(str(row["host"]).split("/")) for row in rows}
    assert {(host, gpu) for host, gpu, _ in places} <= {("two", "0"), ("two", "1"), ("one", "0")}
    assert {(str(row["host"]).split("/")[0], row["device"]) for row in rows} == {("two", "A100"), ("one", "H100")}
    shared = [gpu for gpu in {place[:2] for place in places} if sum(place[:2] == gpu for place in places) >= 2]
    assert shared, f"no GPU was shared by two workers: {os.linesep.join(map(str, sorted(places)))}"


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
