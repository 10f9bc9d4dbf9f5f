"""What a control group grants, read from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtsearch import containers, resources


def test_limits_of_control_groups_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert containers.cgroup_cpus(tmp_path) is None and containers.cgroup_bytes(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert containers.cgroup_cpus(tmp_path) is None and containers.cgroup_bytes(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    assert containers.cgroup_cpus(tmp_path) == 1.5 and containers.cgroup_bytes(tmp_path) == 2**30
    own = tmp_path / "user" / "one"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(containers, "_groups", lambda root: [own, own.parent, root])
    assert containers.cgroup_cpus(tmp_path) == 0.5


def test_limits_of_older_control_groups_are_read(tmp_path: Path) -> None:
    for name, text in (("cpu/cpu.cfs_quota_us", "-1"), ("cpu/cpu.cfs_period_us", "100000")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert containers.cgroup_cpus(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert containers.cgroup_cpus(tmp_path) == 3.0 and containers.cgroup_bytes(tmp_path) is None


def test_a_share_of_the_cores_counts_as_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for granted, usable in ((None, 8), (2.5, 2), (0.5, 1), (64.0, 8)):
        monkeypatch.setattr(resources, "cgroup_cpus", lambda granted=granted: granted)
        assert resources.cores() == usable
