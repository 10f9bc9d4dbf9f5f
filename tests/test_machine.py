"""What this machine is said to be and to grant. Nothing here starts Ray; limits are pretended."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from gtsearch import machine, results
from gtsearch.errors import ResourcesError
from gtsearch.machine import BAD, NOTE, OK, Line


def told(lines: Any) -> list[Line]:
    return list(lines)


def only(lines: Any) -> Line:
    (line,) = lines
    return line


# -- versions and limits ------------------------------------------------------------------------------------------


def test_what_is_installed_is_within_its_bounds() -> None:
    python, versions = told(machine.versions())
    assert python.word == versions.word == OK
    assert f"torch {version('torch')}" in versions.text and "ray 2." in versions.text
    assert "pytest" not in versions.text  # of development


def test_a_package_out_of_bounds_or_missing_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = machine.version

    def version(name: str) -> str:
        if name == "psutil":
            raise machine.PackageNotFoundError(name)
        return "9.0.0" if name == "optuna" else installed(name)

    monkeypatch.setattr(machine, "version", version)
    bad = [line.text for line in machine.versions() if line.word == BAD]
    assert len(bad) == 2
    assert any(text.startswith("optuna 9.0.0 is not <6,>=5") for text in bad)
    assert any(text.startswith("psutil is not installed, <8,>=5.9 is asked for") for text in bad)


def test_what_a_container_grants_is_told_and_a_busy_machine_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (0.5, 0.5, 0.5))
    monkeypatch.setattr(machine, "cgroup_cpus", lambda: None)
    assert only(machine.core_limits()).word == OK
    monkeypatch.setattr(machine, "cgroup_cpus", lambda: 2.5)
    line = only(machine.core_limits())
    assert line.word == OK and line.text == "8 of 16 may be used (its container is granted 2.5); load 0.5"
    monkeypatch.setattr(machine, "cgroup_cpus", lambda: None)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (9.0, 9.0, 9.0))
    assert only(machine.core_limits()).word == NOTE


def test_more_than_one_thread_a_worker_is_noted() -> None:
    assert only(machine.threads({})).word == only(machine.threads({"OMP_NUM_THREADS": "1"})).word == OK
    line = only(machine.threads({"OMP_NUM_THREADS": "8"}))
    assert line.word == NOTE and "OMP_NUM_THREADS=8" in line.text
    assert only(machine.threads({"MKL_NUM_THREADS": "2"})).word == NOTE


def test_a_gpu_that_torch_does_not_see_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "_drivers", list)
    assert only(machine.devices()).word == OK
    monkeypatch.setattr(machine, "_drivers", lambda: ["NVIDIA X, 550.1"])
    line = only(machine.devices())
    assert line.word == NOTE and line.text.startswith("NVIDIA X, 550.1 is here")


def test_gpus_are_named_with_memory_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (2**30, 2**31))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "NVIDIA X")
    monkeypatch.setattr(machine, "_drivers", lambda: ["NVIDIA X, 550.1"])
    line = only(machine.devices())
    assert line.word == OK and "NVIDIA X, 1.0 of 2.0 GiB free" in line.text and "550.1" in line.text


def test_a_machine_without_the_drivers_tool_has_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*words: Any, **options: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert machine._drivers() == []


def test_memory_is_held_against_what_workers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cgroup_bytes", lambda: None)
    assert only(machine.memory()).word == OK
    monkeypatch.setattr(machine, "cgroup_bytes", lambda: 700 * 2.0**20)
    monkeypatch.setattr(machine.resources_for.__globals__["torch"].cuda, "is_available", lambda: False)
    monkeypatch.setitem(machine.resources_for.__globals__, "cores", lambda: 2)
    line = only(machine.memory())
    assert line.word == BAD and line.text.endswith("workers would be killed; say --workers 1")
    monkeypatch.setitem(machine.resources_for.__globals__, "WORKER_BYTES", 2**60)
    with pytest.raises(ResourcesError, match="GiB are free"):
        told(machine.memory())


@pytest.mark.parametrize(("free", "word"), [(2**40, OK), (500 * 2**20, NOTE), (2**20, BAD)])
def test_room_on_disk(free: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**41, 0, free))
    first, second, *shared = told(machine.disks(tmp_path))
    assert first.word == second.word == word and str(tmp_path) in first.text
    assert all(line.word == (OK if free > 100 * 2**20 else NOTE) for line in shared)


@pytest.mark.parametrize(("files", "word"), [(65536, OK), (resource.RLIM_INFINITY, OK), (1024, NOTE), (256, BAD)])
def test_open_files(files: int, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (files, files))
    assert only(machine.limits()).word == word


def test_a_clock_that_was_set_is_noted() -> None:
    assert only(machine.clocks(time.time(), time.monotonic())).word == OK
    line = only(machine.clocks(time.time() - 3600, time.monotonic()))
    assert line.word == NOTE and "3600000 ms" in line.text


# -- storage ------------------------------------------------------------------------------------------------------


def test_storage_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    lines = told(machine.storage(tmp_path))
    assert [line.word for line in lines] == [OK] * 3
    assert list(tmp_path.iterdir()) == []


def test_storage_without_locks_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.MembersLog, "_lock", lambda log: None)
    lines = told(machine.storage(tmp_path))
    assert [line.word for line in lines] == [OK, OK, NOTE] and "no lock" in lines[-1].text


def test_slow_storage_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SLOW_SYNC_SECONDS", 0.0)
    assert told(machine.storage(tmp_path))[0].word == NOTE


def test_storage_that_loses_what_was_written_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "read_log", lambda path: ([{"run_id": "member-0"}], 0))
    assert only(machine.storage(tmp_path)).word == BAD


def test_a_rename_that_leaves_pieces_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_place(path: Path, text: str) -> None:
        path.write_text(text)

    monkeypatch.setattr(results, "write_text", in_place)
    lines = told(machine.storage(tmp_path))
    assert [line.word for line in lines] == [OK, BAD, OK]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError):
        told(machine.storage(tmp_path))


# -- Ray's traces -------------------------------------------------------------------------------------------------


def test_a_token_that_others_can_read_is_bad(tmp_path: Path) -> None:
    environment = {"RAY_TMPDIR": str(tmp_path)}
    lines = told(machine.ray_state(environment, tmp_path))
    assert lines[0].word == lines[1].word == OK and "no token" in lines[1].text
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    for mode, word in ((0o600, OK), (0o644, BAD), (0o640, BAD)):
        token.chmod(mode)
        line = told(machine.ray_state(environment, tmp_path))[1]
        assert line.word == word and "secret" not in line.text
    token.rename(tmp_path / "elsewhere")
    elsewhere = environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "elsewhere")}
    assert told(machine.ray_state(elsewhere, tmp_path))[1].word == BAD


def test_folders_that_no_process_uses_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    left, used, fresh = (tmp_path / "ray" / f"session_2026-01-0{i}_1" for i in (1, 2, 3))
    for folder in (left, used, fresh):
        folder.mkdir(parents=True)
        (folder / "log").write_text("x" * 2**20)
    mine = tmp_path / "gtsearch-price-abc"
    mine.mkdir()
    for folder, age in ((left, 3600), (used, 3600), (mine, 3600)):
        os.utime(folder, (time.time() - age,) * 2)
    (tmp_path / "ray" / "session_latest").symlink_to(left)
    monkeypatch.setattr(machine, "_commands", lambda: [f"/x/raylet --dir={used}", "python"])
    state, _, noted = told(machine.ray_state({}, tmp_path))
    assert "1 node running here" in state.text
    assert noted.word == NOTE and noted.text == f"1 MiB that no process uses any more, to be removed: {left}"
    os.utime(mine, (time.time() - 2 * 86400,) * 2)
    assert told(machine.ray_state({}, tmp_path))[2].text.endswith(f"{left} and 1 more")


def test_a_cluster_that_ray_start_left_is_told(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379")
    line = told(machine.ray_state({"RAY_TMPDIR": str(tmp_path), "RAY_ADDRESS": "auto"}, tmp_path))[0]
    assert "RAY_ADDRESS=auto" in line.text and "10.0.0.1:6379" in line.text
