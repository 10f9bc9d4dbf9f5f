"""What benchmarks measured, kept as one JSON file a benchmark: benchmarks/results/<name>.json.

A benchmark ends with `keep(name, rows, settings)`; `python -m benchmarks.table` prints what is kept. Where a number
comes from is written by `keep` itself: the command, the commit, the device, the versions, the day.
"""

from __future__ import annotations

import json
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from gtsearch.errors import ResultsError
from gtsearch.resources import cores
from gtsearch.results import write_text
from gtsearch.trainables import cpu_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Row:
    """One line of the table: a quantity, ours beside what a user would pick instead.

    Attributes:
        what: the quantity, with what it was measured on.
        ours, other: in `unit`; None where it was not measured or never came about.
        unit: of both, such as `ms an epoch` or `MiB`.
        ratio: ours over other (below 1: ours is less), measured in one run on both sides; None: not known. Where
            the target is "times as many", `what` says so and the ratio is still ours over other.
        low, high: the spread of `ratio`; `note` says of what (the least and the greatest over pairs, an interval).
        target: what `ratio`, or `ours` where there is no other, should be, in words; None: there is none.
        met: whether it is; None: no target, or not known.
        note: what a reader must know to read the line.
    """

    what: str
    ours: float | None
    other: float | None
    unit: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str | None = None
    met: bool | None = None
    note: str = ""


def paired(
    what: str, ours: Sequence[float], other: Sequence[float], unit: str, at_most: float | None = None, note: str = ""
) -> Row:
    """A row of pairs that were measured one right after the other: medians, and the median of the pairs' ratios with
    the least and the greatest. `at_most`: the target of the ratio."""
    ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
    ratio = statistics.median(ratios)
    return Row(
        what=what,
        ours=statistics.median(ours),
        other=statistics.median(other),
        unit=unit,
        ratio=ratio,
        low=min(ratios),
        high=max(ratios),
        target=None if at_most is None else f"at most {at_most:g}",
        met=None if at_most is None else ratio <= at_most,
        note="; ".join([*([note] if note else []), f"median [least, greatest] of {len(ratios)} pairs"]),
    )


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Kept:
    """A file of benchmarks/results: a benchmark's rows and where they come from.

    Attributes:
        name: the benchmark's, and the file's.
        settings: what it was run with.
        command: made of the benchmark's name and its arguments; no folder of the machine's.
        commit: of the source; `+ changes` where the tree held more than the commit; None: not known.
        device: the processor's or the GPU's name.
        cores: that the process was allowed.
        threads: of torch in it.
        versions: of the interpreter and of PACKAGES.
        date: the day, ISO.
    """

    name: str
    rows: list[Row]
    settings: dict[str, Any]
    command: str
    commit: str | None
    device: str
    cores: int
    threads: int
    versions: dict[str, str]
    date: str


def keep(name: str, rows: Sequence[Row], settings: Mapping[str, Any]) -> Path:
    """Writes benchmarks/results/<name>.json in the place of what was kept before, whole or not at all.

    Args:
        name: the benchmark's.
        rows: in the order of the table; at least one. A benchmark that measured nothing keeps nothing.
        settings: of the run, JSON values. `device: cuda` names the GPU as the device; `threads` stands for torch's
            where the work was done in other processes.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    assert rows, "a benchmark that measured nothing keeps nothing"
    on_gpu = settings.get("device") == "cuda" and torch.cuda.is_available()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    made_by = {
        "command": _command(sys.argv),
        "commit": commit(),
        "device": torch.cuda.get_device_name() if on_gpu else cpu_name(),
        "cores": cores(),
        "threads": settings.get("threads", torch.get_num_threads()),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "date": f"{date.today():%Y-%m-%d}",
    }
    value = {"name": name, "rows": [asdict(row) for row in rows], "settings": dict(settings), **made_by}
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def read_all() -> list[Kept]:
    """Everything that is kept, by name.

    Raises:
        ResultsError: a file is damaged, or is not what `keep` writes; the message names it.
    """
    return [_read(path) for path in sorted(FOLDER.glob("*.json"))]


def _read(path: Path) -> Kept:
    try:
        return TypeAdapter(Kept).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ResultsError(f"{path} is no kept result: {reason}; delete it, and run its benchmark again") from None


def _command(argv: Sequence[str]) -> str:
    """As one would type it in the repository's root; of a path from the machine's root only the last name is told."""
    program = Path(argv[0]).resolve()
    if program.is_relative_to(ROOT):
        parts = program.relative_to(ROOT).with_suffix("").parts
        called = ["python", "-m", ".".join(part for part in parts if part != "__main__")]
    else:
        called = [program.name]
    return shlex.join([*called, *(f".../{Path(word).name}" if word.startswith("/") else word for word in argv[1:])])


def commit() -> str | None:
    """The commit of the source, and whether files outside the kept results were changed since."""
    kept = f":(exclude){FOLDER.relative_to(ROOT)}" if FOLDER.is_relative_to(ROOT) else "."
    try:
        revision = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", kept)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision} + changes" if changed else revision


def _git(*words: str) -> str:
    answer = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=30, check=True)
    return answer.stdout.strip()
