"""What this machine is and grants: versions, cores, threads, devices, memory, disks, limits, storage, Ray's traces.

Each check is a function that says lines (`Line`); none starts Ray or trains anything (`gtsearch.doctor` does). What a
run asks of storage is asked of it in the run's own way, by MembersLog and `write_text`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from gtsearch import results
from gtsearch.containers import cgroup_bytes, cgroup_cpus
from gtsearch.errors import ResultsError
from gtsearch.resources import WORKER_BYTES, cores, resources_for
from gtsearch.results import MembersLog
from gtsearch.spec import load_spec
from gtsearch.trainables import cpu_name

OK, NOTE, BAD = "ok", "note", "bad"

GIB, MIB = 2.0**30, 2.0**20
FEW_BYTES, TOO_FEW_BYTES = GIB, 100 * MIB  # of a disk that a run goes to
FEW_FILES, TOO_FEW_FILES = 4096, 512  # that one process may open; Ray's daemons hold a hundred or so each
SYNCS = 20
SLOW_SYNC_SECONDS = 0.1  # of one member; a search of thousands then waits for minutes
STALE_SECONDS = 86400.0  # after which a temporary folder is nobody's any more
CLOCK_SECONDS = 0.5  # by which two clocks may differ over the whole examination
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Line(NamedTuple):
    """What one check says: OK, NOTE or BAD, of what, in words."""

    word: str
    topic: str
    text: str


# -- versions and the machine -------------------------------------------------------------------------------


def versions() -> Iterator[Line]:
    """Python and every package gtsearch needs, against the bounds it was installed with."""
    python, wanted = platform.python_version(), metadata("gtsearch")["Requires-Python"] or ""
    word = OK if SpecifierSet(wanted).contains(python, prereleases=True) else BAD
    yield Line(word, "python", f"{python} ({wanted} is asked for), {platform.platform()}, {cpu_name()}")
    fit, unfit = [f"gtsearch {version('gtsearch')}"], list[str]()
    for text in requires("gtsearch") or []:
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            unfit.append(f"{needed.name} is not installed, {needed.specifier} is asked for")
            continue
        within = needed.specifier.contains(found, prereleases=True)
        (fit if within else unfit).append(
            f"{needed.name} {found}" + ("" if within else f" is not {needed.specifier}, which is asked for")
        )
    yield Line(OK, "versions", f"{', '.join(fit)}: each within its bounds")
    for text in unfit:
        yield Line(BAD, "versions", f"{text}; install gtsearch again")


def core_limits() -> Iterator[Line]:
    """Cores that are there, may be used, and are granted by a container."""
    usable, there, granted = cores(), os.cpu_count() or 1, cgroup_cpus()
    load = psutil.getloadavg()[0]
    quota = "" if granted is None or granted >= there else f" (its container is granted {granted:g})"
    text = f"{usable} of {there} may be used{quota}; load {load:.1f}"
    if load > usable:
        yield Line(NOTE, "cores", f"{text}: others keep them busy, and every second that is measured will be longer")
    else:
        yield Line(OK, "cores", text)


def threads(environment: Mapping[str, str] = os.environ) -> Iterator[Line]:
    """Threads of torch and of the libraries under numpy; a worker is meant to have one."""
    given = {name: environment[name] for name in _THREADS if environment.get(name)}
    told = ", ".join(f"{name}={value}" for name, value in given.items()) or f"{_THREADS[0]} is not set"
    many = [name for name, value in given.items() if value != "1"]
    text = f"1 of torch in each CPU worker (torch alone would take {torch.get_num_threads()}); {told}"
    if many:
        yield Line(NOTE, "threads", f"{text}: workers inherit it, and numpy's algebra takes as many in each; unset it")
    else:
        yield Line(OK, "threads", text)


def devices() -> Iterator[Line]:
    """GPUs that torch sees, and those that it does not."""
    driver = _drivers()
    if not torch.cuda.is_available():
        if driver:
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
            yield Line(NOTE, "devices", f"{driver[0]} is here, and this torch, {built}, does not see it")
        else:
            yield Line(OK, "devices", "no CUDA device: members train on CPUs")
        return
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        told = f"; driver: {driver[i]}" if i < len(driver) else ""
        memory = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free, CUDA {torch.version.cuda}"
        yield Line(OK, "devices", f"{torch.cuda.get_device_name(i)}, {memory}{told}")


def _drivers() -> list[str]:
    """Name and driver version of each GPU, as the driver's own tool tells them."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def memory() -> Iterator[Line]:
    """Free memory against what as many workers need as `auto` gives; the same rule as a run's refuses too little."""
    now, granted = psutil.virtual_memory(), cgroup_bytes()
    workers = resources_for(load_spec("smoke"), None).workers
    needed = workers * WORKER_BYTES
    text = (
        f"{now.available / GIB:.1f} of {now.total / GIB:.1f} GiB free; "
        f"{workers} worker{'s' if workers > 1 else ''}, which is `auto` here, need {needed / GIB:.1f}"
    )
    if granted is not None:
        text += f"; the container is granted {granted / GIB:.1f} GiB"
        if granted < needed:
            fewer = max(1, int(granted / WORKER_BYTES))
            yield Line(BAD, "memory", f"{text}: workers would be killed; say --workers {fewer}")
            return
    yield Line(OK, "memory", text)


def disks(place: Path) -> Iterator[Line]:
    """Room where runs go, in the temporary folder (Ray's files), and for Ray's shared memory."""
    temporary = Path(tempfile.gettempdir())
    for folder, what in ((place, "runs from here go to"), (temporary, "Ray and tasks keep files in")):
        free = shutil.disk_usage(folder).free
        word = BAD if free < TOO_FEW_BYTES else NOTE if free < FEW_BYTES else OK
        yield Line(word, "disk", f"{free / GIB:.1f} GiB free, {_file_system(folder)}: {what} {folder}")
    shared = Path("/dev/shm")
    if shared.is_dir():
        from gtsearch.local import OBJECT_STORE_BYTES

        free = shutil.disk_usage(shared).free
        text = f"{free / GIB:.1f} GiB free in {shared}; Ray's object store takes {OBJECT_STORE_BYTES / GIB:.1f}"
        if free < OBJECT_STORE_BYTES:
            text += f" and will be in {temporary}; a container needs --shm-size"
        yield Line(OK if free >= OBJECT_STORE_BYTES else NOTE, "disk", text)


def _file_system(folder: Path) -> str:
    """Its kind, such as ext4 or nfs4."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown file system"


def limits() -> Iterator[Line]:
    """What one user may open and start."""
    files, processes = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    told = [("unlimited" if n == resource.RLIM_INFINITY else f"{n:,}") for n in (files, processes)]
    text = f"{told[0]} open files a process, {told[1]} processes and threads a user"
    if files == resource.RLIM_INFINITY or files >= FEW_FILES:
        yield Line(OK, "limits", text)
    else:
        yield Line(BAD if files < TOO_FEW_FILES else NOTE, "limits", f"{text}: Ray wants more; ulimit -n {FEW_FILES}")


def clocks(wall_began: float, monotonic_began: float) -> Iterator[Line]:
    """Whether the wall clock went as the monotonic one did, by which a run measures."""
    gone = time.monotonic() - monotonic_began
    apart = time.time() - wall_began - gone
    text = f"wall clock and monotonic clock differ by {1000 * abs(apart):.0f} ms after {gone:.0f} s"
    if abs(apart) > CLOCK_SECONDS:
        yield Line(NOTE, "clock", f"{text}: it was set meanwhile. Measured seconds do not depend on it, dates do")
    else:
        yield Line(OK, "clock", text)


# -- storage ------------------------------------------------------------------------------------------------


def storage(place: Path) -> Iterator[Line]:
    """What a run folder needs of a file system, done as a run does it, in a folder that is removed again."""
    with tempfile.TemporaryDirectory(prefix=".gtsearch-doctor-", dir=place) as name:
        folder = Path(name)
        log, seconds = folder / results.LOG, list[float]()
        with MembersLog(log) as writer:
            for i in range(SYNCS):
                began = time.perf_counter()
                writer.append({"run_id": f"member-{i}", "curve": [{"epoch": i}] * 50})
                seconds.append(time.perf_counter() - began)
            alone = _is_alone(log)
        rows, torn = results.read_log(log)
        if torn or [row["run_id"] for row in rows] != [f"member-{i}" for i in range(SYNCS)]:
            yield Line(BAD, "storage", f"{place} does not give back what was written there")
            return
        median = statistics.median(seconds)
        text = f"{place} gives back what was written and synced; a member takes {1000 * median:.1f} ms, at most "
        text += f"{1000 * max(seconds):.0f}"
        if median > SLOW_SYNC_SECONDS:
            yield Line(NOTE, "storage", f"{text}: slow, and every member waits for it; another --out may be faster")
        else:
            yield Line(OK, "storage", text)
        yield from _renames(folder)
        if alone:
            yield Line(OK, "storage", "a log that one process writes is locked against a second")
        else:
            why = "nothing keeps two runs out of one folder but you"
            yield Line(NOTE, "storage", f"{_file_system(place)} gives no lock to a log: {why}")
        ahead = log.stat().st_mtime - time.time()
        if abs(ahead) > 5.0:
            yield Line(NOTE, "storage", f"its clock is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}")


def _is_alone(log: Path) -> bool:
    """Whether a log that is open for writing is refused to a second writer."""
    try:
        with MembersLog(log):
            return False
    except ResultsError:
        return True


def _renames(folder: Path) -> Iterator[Line]:
    """A file that is replaced is there whole, and a reader that had it open still reads the old one."""
    path = folder / results.SUMMARY
    results.write_text(path, "old")
    with path.open() as reader:
        results.write_text(path, "new")
        seen = reader.read(), results.read_text(path), sorted(each.name for each in folder.iterdir())
    whole = seen == ("old", "new", sorted([results.LOG, results.SUMMARY]))
    text = "a file is replaced whole by a rename" if whole else f"a rename does not replace a file whole: {seen}"
    yield Line(OK if whole else BAD, "storage", text)


# -- what is here of Ray -----------------------------------------------------------------------------------


def ray_state(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Iterator[Line]:
    """What of Ray is here already: clusters, the token, folders that were left."""
    temporary = Path(environment.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    running = [command for command in _commands() if "raylet" in Path(command.split(" ")[0]).name]
    asked = environment.get("RAY_ADDRESS")
    told = [f"RAY_ADDRESS={asked}" if asked else "RAY_ADDRESS is not set"]
    with contextlib.suppress(OSError):
        told.append(f"ray start left the address {(temporary / 'ray_current_cluster').read_text().strip()}")
    told.append(f"{len(running) or 'no'} node{'' if len(running) == 1 else 's'} running here")
    yield Line(OK, "ray", f"{version('ray')}; {'; '.join(told)}; gtsearch starts its own without --address")
    yield from _token(environment, home or Path.home())
    left = list(_left_by_ray(temporary)) + list(_left_by_gtsearch())
    if left:
        size = sum(_bytes(folder) for folder in left)
        named = f"{left[0]}" + (f" and {len(left) - 1} more" if len(left) > 1 else "")
        yield Line(NOTE, "ray", f"{size / MIB:.0f} MiB that no process uses any more, to be removed: {named}")


def _token(environment: Mapping[str, str], home: Path) -> Iterator[Line]:
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    mode = f"RAY_AUTH_MODE is {environment.get('RAY_AUTH_MODE') or 'not set'}"
    try:
        bits = path.stat().st_mode & 0o777
    except FileNotFoundError:
        yield Line(OK, "ray", f"no token at {path}, which only a cluster asks for; {mode}")
        return
    if bits & 0o077:
        yield Line(BAD, "ray", f"others can read the token {path} (mode {bits:o}), and with it run code: chmod 600 it")
    else:
        yield Line(OK, "ray", f"the token {path} is its owner's alone (mode {bits:o}); {mode}")


def _commands() -> list[str]:
    """The command lines of all processes that may be seen."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def _left_by_ray(temporary: Path) -> Iterator[Path]:
    """Session folders that no process names."""
    commands = "\n".join(_commands())
    for folder in sorted(temporary.glob("session_2*")):
        if folder.is_dir() and not folder.is_symlink() and folder.name not in commands:
            with contextlib.suppress(FileNotFoundError):  # its owner has just removed it
                if time.time() - folder.stat().st_mtime > 60.0:  # and one that starts now is not named yet
                    yield folder


def _left_by_gtsearch() -> Iterator[Path]:
    for kind in ("price", "doctor"):
        for folder in sorted(Path(tempfile.gettempdir()).glob(f"gtsearch-{kind}-*")):
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                yield folder


def _bytes(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found += path.lstat().st_size
    return found
