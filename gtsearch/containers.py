"""What the process's control group grants: a container sees all of its machine, and may use less.

Entries: `cgroup_cpus`, `cgroup_bytes`; versions 1 and 2.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def cgroup_cpus(root: Path = _CGROUP) -> float | None:
    """How many cores the process's control group may use; None: no limit that can be seen."""
    quotas = []
    for folder in _groups(root):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(float(quota) / float(period))  # `max` is no number
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        quotas += [float(quota) / float(period)] if float(quota) > 0 else []
    return min(quotas, default=None)


def cgroup_bytes(root: Path = _CGROUP) -> float | None:
    """How much memory the process's control group may use; None: no limit that can be seen."""
    bounds = []
    for path in [folder / "memory.max" for folder in _groups(root)] + [root / "memory" / "memory.limit_in_bytes"]:
        with contextlib.suppress(OSError, ValueError):
            bounds.append(float(path.read_text()))
    return min((bound for bound in bounds if bound < psutil.virtual_memory().total), default=None)


def _groups(root: Path) -> list[Path]:
    """The control group of this process and those above it (version 2)."""
    own = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
    folder = root / own.strip("/")
    return [folder, *(above for above in folder.parents if above == root or root in above.parents)]
