"""A run and its trackers: what a person is told, and that nothing waits for a tracker, whatever it does."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from experiment_kit import end, gtsearch, settled, tiny, wait_for_members
from oracle import Oracle, spec, target_gets_there, weak_clears
from run_folders import copy, forget_the_end, small_story, write_run

from gtsearch import fields, plans, results, tracking
from gtsearch.analysis.merging import refuse_incomparable
from gtsearch.cli import main
from gtsearch.errors import ResultsError, SpecError, TrackerError
from gtsearch.experiment import Conductor
from gtsearch.progress import Display
from gtsearch.results import MembersLog, load_results
from gtsearch.spec import Spec, load_spec, parse_spec

Json = dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("finished") / "run", small_story())


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return copy(finished, tmp_path / "run")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test starts inherits its mark."""
    monkeypatch.setenv("GTSEARCH_TEST", uuid.uuid4().hex)


def couriers() -> list[str]:
    """Processes of trackers that this test has started, and what those started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            ours = process.environ().get("GTSEARCH_TEST") == os.environ["GTSEARCH_TEST"]
            found += [line] if ours and ("gtsearch.trackers.courier" in line or "wandb-core" in line) else []
    return found


def track(folder: Path, *to: Any, seconds: float = 60.0, finished: bool = True) -> tuple[bool, list[str]]:
    """Sends a run as the run itself does: whether everything went, and what was said."""
    said: list[str] = []
    spec, size = load_spec(folder / "spec.yaml"), (folder / "members.log").stat().st_size
    with tracking.Tracking([fields.tracker(one) for one in to], folder, spec, {}, said.append) as sent:
        sent.announce()
        sent.up_to(size)
        whole = sent.end(["pays"] if finished else None, seconds)
    return whole, said


def again(folder: Path, to: str | Json) -> str:
    """What sends the rest to a tracker that the experiment does not name, once the shell and the command read it."""
    option = to if isinstance(to, str) else f"{{name: {to['name']}, uri: '{to['uri']}'}}"
    command = shlex.join(["gtsearch", "track", str(folder), "--to", option])
    [read] = tracking.named([shlex.split(command)[-1]])
    assert read == fields.tracker(to)
    return command


def of(folder: Path) -> int:
    return len(list(results.members(folder / "members.log")))


# -- what stands in the experiment ---------------------------------------------------------------------------------


def with_trackers(folder: Path, *trackers: Any) -> Spec:
    spec = load_spec(folder / "spec.yaml")
    return parse_spec(spec.model_dump() | {"trackers": list(trackers)})


def test_a_tracker_is_one_line_and_is_written_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    given = ["tensorboard", {"name": "mlflow", "uri": "http://127.0.0.1:5000"}, {"name": "wandb", "mode": "online"}]
    spec = with_trackers(folder, *given)
    (tmp_path / "again.yaml").write_text(spec.to_yaml())
    assert load_spec(tmp_path / "again.yaml") == spec
    told = spec.model_dump()["trackers"]
    assert told[0] == "tensorboard" and told[1]["uri"] == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("tracker", "message"),
    [
        ("tensorbord", r"trackers\[0\].name: there is no tracker `tensorbord`; did you mean `tensorboard`"),
        ({"name": "wandb", "moed": "offline"}, r"trackers\[0\].moed: .*did you mean `mode`"),
        ({"name": "wandb", "mode": "dryrun"}, r"trackers\[0\].mode: must be one of offline, online"),
        ({"name": "mlflow", "uri": "127.0.0.1:5000"}, r"trackers\[0\].uri: must be an address such as http://"),
        ({"name": "mlflow", "uri": "mlruns"}, r"trackers\[0\].uri: must be an address such as http://"),
        (3, r"trackers\[0\]: must be a mapping with a name, not 3"),
    ],
)
def test_mistakes_are_one_line(folder: Path, tracker: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        with_trackers(folder, tracker)


@pytest.mark.parametrize("uri", ["https://me:hunter22@host", "https://hunter22@host", "http://host?token=hunter22"])
def test_a_secret_is_refused_and_not_repeated(folder: Path, uri: str) -> None:
    with pytest.raises(SpecError, match="must hold no user, password or token") as caught:
        with_trackers(folder, {"name": "mlflow", "uri": uri})
    assert "hunter22" not in str(caught.value)


def test_the_same_tracker_twice_is_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"trackers\[1\]: the tracker `wandb` stands twice"):
        with_trackers(folder, "wandb", "wandb")
    with_trackers(folder, "wandb", {"name": "wandb", "project": "other"})


def test_trackers_make_no_other_question(folder: Path, finished: Path) -> None:
    text = with_trackers(folder, "tensorboard").to_yaml()
    (folder / "spec.yaml").write_text(text)
    environment = results.read_json(folder / "environment.json")
    results.write_json(folder / "environment.json", environment | {"spec_sha256": results.spec_digest(text)})
    refuse_incomparable([load_results(finished), load_results(folder)])


def test_check_says_where_and_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["check", "smoke", "--set", "trackers=[tensorboard, mlflow, wandb]"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tracker")]
    assert told == [
        "tracker  tensorboard: files in the run folder",
        "tracker  mlflow: a database in the run folder",
        "tracker  wandb is not installed: pip install 'gtsearch[wandb]'",
    ]


# -- a run and its couriers ----------------------------------------------------------------------------------------


def test_everything_is_sent_and_nothing_stays_behind(folder: Path) -> None:
    whole, said = track(folder, "tensorboard")
    assert whole and said == [f"tensorboard (files in the run folder): all {of(folder)} members are sent"]
    sent = {path: path.stat().st_mtime_ns for path in (folder / "trackers/tensorboard").rglob("events*")}
    assert len(sent) == of(folder) + 1
    assert not couriers()

    whole, _ = track(folder, "tensorboard")
    assert whole and {path: path.stat().st_mtime_ns for path in sent} == sent, "nothing is sent twice"


def test_one_that_is_not_installed_is_a_line_and_the_others_get_theirs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    whole, said = track(folder, "mlflow", "tensorboard")
    assert not whole and len(said) == 2
    assert said[0].startswith("mlflow is not installed: pip install 'gtsearch[mlflow]'; the run goes on without it")
    assert said[1].endswith("members are sent")


def test_a_server_that_is_down_is_a_line_while_the_run_goes_on_and_one_at_its_end(folder: Path) -> None:
    where = {"name": "mlflow", "uri": f"http://127.0.0.1:{free_port()}"}
    said: list[str] = []
    with tracking.Tracking([fields.tracker(where)], folder, load_spec(folder / "spec.yaml"), {}, said.append) as sent:
        began = time.monotonic()
        sent.up_to((folder / "members.log").stat().st_size)
        assert time.monotonic() - began < 5
        while not said and time.monotonic() - began < 60:
            time.sleep(0.1)
        assert not sent.end(["pays"], 60)
        assert time.monotonic() - began < 60
    first, last = said
    assert (
        first == f"cannot send to mlflow ({where['uri']}): Connection refused; the run goes on, and it is tried again"
    )
    assert last == (
        f"mlflow ({where['uri']}): {of(folder)} of {of(folder)} members not sent (Connection refused); "
        f"send the rest with: {again(folder, where)}"
    )
    assert not couriers()


def test_a_client_that_hangs_is_not_waited_for(folder: Path, silent: str) -> None:
    began = time.monotonic()
    whole, said = track(folder, {"name": "mlflow", "uri": silent}, seconds=4)
    assert not whole and time.monotonic() - began < 20
    rest = again(folder, {"name": "mlflow", "uri": silent})
    assert said[-1].endswith(f"members not sent (it takes too long); send the rest with: {rest}")
    assert not couriers()


def test_a_courier_that_was_killed_is_a_line(folder: Path) -> None:
    said: list[str] = []
    spec = load_spec(folder / "spec.yaml")
    with tracking.Tracking([fields.tracker("tensorboard")], folder, spec, {}, said.append) as sent:
        sent.up_to(1)
        [post] = sent.posts or []
        post.process.kill()
        post.over.wait(20)
        sent.up_to(2)
        assert not sent.end(None, 20)
    assert said == [
        f"tensorboard (files in the run folder): {of(folder)} of {of(folder)} members not sent "
        f"(its process has ended); send the rest with: {again(folder, 'tensorboard')}"
    ]


@pytest.mark.slow
def test_a_courier_ends_with_a_run_that_was_killed(folder: Path, silent: str) -> None:
    """Also while its client hangs; its files are deleted."""
    code = f"""
import os, signal, time
from pathlib import Path
from gtsearch import fields, tracking
from gtsearch.spec import load_spec
folder = Path({str(folder)!r})
to = [fields.tracker({{"name": "mlflow", "uri": {silent!r}}})]
with tracking.Tracking(to, folder, load_spec(folder / "spec.yaml"), {{}}, print) as sent:
    sent.up_to((folder / "members.log").stat().st_size)
    print(sent.posts[0].process.pid, flush=True)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert run.returncode == -signal.SIGKILL, run.stderr
    pid, until = int(run.stdout), time.monotonic() + 15
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "ended from outside" not in run.stderr, "that is for the reaper of its Ray to say"


def test_a_run_announces_members_once_their_lines_are_on_the_disk(tmp_path: Path) -> None:
    class NoJournal:
        def add(self, rows: list[Json]) -> None:
            pass

    world = Oracle(weak_clears(lambda architecture: True), target_gets_there(lambda member: True))
    with MembersLog(tmp_path / "members.log") as log:
        policy, display = plans.ablation_for(spec(), workers=1), Display("", quiet=True)
        conductor = Conductor(policy, log, NoJournal(), display, [])  # type: ignore[arg-type]
        announced: list[tuple[int, int]] = []
        lines = (tmp_path / "members.log").read_bytes
        conductor.kept = lambda: announced.append((log.size, lines().count(b"\n")))
        asked = conductor.next_job()
        assert asked is not None
        job = conductor.jobs[asked["id"]]
        rows = [world.answer(member, job) for member in job.members]
        conductor.take(job.id, rows, [])
        assert announced == [(len(lines()), len(rows))] and conductor.error is None


def test_without_trackers_nothing_is_started(folder: Path) -> None:
    assert track(folder) == (True, []) and not (folder / "trackers").exists()


# -- the command ---------------------------------------------------------------------------------------------------


def test_track_sends_a_run_that_has_ended_and_one_that_was_interrupted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_the_end(folder)
    assert main(["track", str(folder), "--to", "tensorboard"]) == 0
    assert "members are sent" in capsys.readouterr().out
    assert (folder / "trackers/tensorboard/scratch").is_dir()
    assert not (folder / "trackers/tensorboard/certificate").exists()


def test_track_says_what_is_wrong(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*to: str) -> str:
        with pytest.raises((SpecError, TrackerError, ResultsError)) as caught:
            tracking.track(folder, tracking.named(to), print)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "names no trackers; name one, such as --to tensorboard" in refused()
    assert refused("tensorbord").startswith("--to.name: there is no tracker `tensorbord`; did you mean `tensorboard`")
    assert refused("{name: mlflow, url: x}").startswith("--to.url: there is no key `url`; did you mean `uri`")
    assert refused("{name: mlflow, uri: x}").startswith("--to.uri: must be an address")
    with MembersLog(folder / "members.log"):
        assert "goes on" in refused("tensorboard")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert refused("tensorboard") == "tensorboard is not installed: pip install 'gtsearch[tensorboard]'"
    (folder / "members.log").write_text("")
    monkeypatch.undo()
    with pytest.raises(ResultsError, match="is not a run folder"):
        tracking.track(tmp_path / "nothing", [], print)


def test_a_link_out_of_the_folder_of_a_tracker_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "trackers/tensorboard/weak").mkdir(parents=True)
    (folder / "trackers/tensorboard/weak/search").symlink_to(tmp_path)
    with pytest.raises(ResultsError, match="leads out of the run folder"):
        tracking.track(folder, [fields.tracker("tensorboard")], print)


# -- through Ray, and with a server --------------------------------------------------------------------------------


def sent_to_tensorboard(folder: Path) -> set[str]:
    place = folder / "trackers/tensorboard"
    return {path.parent.relative_to(place).as_posix() for path in place.rglob("events*")} - {"certificate"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trackers_change_nothing_of_a_run(tmp_path: Path, silent: str) -> None:
    """Beside them one server that is down and one that hangs: the same rows, the same exit code, in bounded time."""
    down = f"http://127.0.0.1:{free_port()}"
    trackers = (
        f"trackers=[tensorboard, wandb, mlflow, {{name: mlflow, uri: '{down}'}}, {{name: mlflow, uri: '{silent}'}}]"
    )
    alone = gtsearch("run", *tiny(), "--out", "alone", "--workers", "2", cwd=tmp_path)
    out, err = alone.communicate(timeout=250)
    tracked = gtsearch("run", *tiny(trackers), "--out", "tracked", "--workers", "2", cwd=tmp_path)
    out, err = tracked.communicate(timeout=250)
    assert tracked.returncode == alone.returncode in (0, 1), err
    assert settled(load_results(tmp_path / "tracked").trials).equals(settled(load_results(tmp_path / "alone").trials))
    n = of(tmp_path / "tracked")
    for name in ("tensorboard (", "wandb (", "mlflow (a database"):
        assert any(name in line and f"all {n} members are sent" in line for line in out.splitlines()), out
    assert out.count(f"mlflow ({down}): {n} of {n} members not sent") == 1
    assert out.count(f"mlflow ({silent}): {n} of {n} members not sent") == 1
    assert "Traceback" not in out + err and not couriers()
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "tracked"}, "nothing outside the run folder"
    versions = results.read_json(tmp_path / "tracked/environment.json")["versions"]
    assert {"tensorboard", "wandb", "mlflow"} <= set(versions)
    assert len(sent_to_tensorboard(tmp_path / "tracked")) == n


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_leaves_no_courier_and_its_resume_sends_the_rest(tmp_path: Path, number: int) -> None:
    trackers = "trackers=[tensorboard, wandb]"
    process = gtsearch("run", *tiny(trackers), "--out", "run", "--workers", "2", cwd=tmp_path)
    wait_for_members(tmp_path / "run", 25, process)
    end(process, number)
    until = time.monotonic() + 15
    while couriers():
        assert time.monotonic() < until
        time.sleep(0.2)
    before = sent_to_tensorboard(tmp_path / "run")
    again = gtsearch("resume", "run", "--workers", "2", cwd=tmp_path)
    out, err = again.communicate(timeout=250)
    assert again.returncode in (0, 1), err
    n = of(tmp_path / "run")
    assert out.count(f"all {n} members are sent") == 2, out
    told = sent_to_tensorboard(tmp_path / "run")
    assert len(told) == n and before <= told
    assert len(list((tmp_path / "run/trackers/wandb").glob("offline-run-*"))) == n + 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's own server, on loopback."""
    port = free_port()
    place = tmp_path / "server"
    place.mkdir()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place / "files")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=place,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 150
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_mlflows_own_server_takes_a_run_and_dies_in_the_middle_of_the_next(
    folder: Path, tmp_path: Path, server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    from mlflow.tracking import MlflowClient

    uri, process = server
    where = {"name": "mlflow", "uri": uri, "experiment": "mine"}
    whole, said = track(folder, where, seconds=120)
    assert whole, said
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    every = client.search_runs([experiment.experiment_id], max_results=1000)
    [parent] = [one for one in every if "mlflow.parentRunId" not in one.data.tags]
    assert len(every) == of(folder) + 1 and {one.info.status for one in every} <= {"FINISHED", "KILLED", "FAILED"}
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} >= {"summary.json", "spec.yaml"}

    other, said = copy(folder, tmp_path / "other"), []
    for path in (other / "trackers").iterdir():
        path.unlink()
    spec = load_spec(other / "spec.yaml")
    with tracking.Tracking([fields.tracker(where)], other, spec, {}, said.append) as sent:
        sent.up_to((other / "members.log").stat().st_size)
        [post] = sent.posts or []
        while not post.sent:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        assert not sent.end(["pays"], 60)
    assert any(f"of {of(other)} members not sent" in line for line in said), said
    assert len(said) <= 2 and not couriers()
