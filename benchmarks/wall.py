"""A whole search by this tree beside the same search by an earlier one: wall seconds, and what both certify.

Both run the same experiment file at the same moment, each with the same number of workers, so that what else the
machine does meets both. The earlier tree is another checkout, installed in its own environment:

    git worktree add ../before COMMIT && make -C ../before .venv/installed
    python -m benchmarks.wall --before ../before/.venv/bin/gtsearch [--spec modadd] [--workers 2] [--out FOLDER]

Wall seconds are those of the search, from the first member asked for to the last one in, as both write them into
ledger.parquet; Ray's start and the report are not in them. "Counted" are the seconds of training and evaluation of
members that counted for something; what a search cancelled did not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

import pandas as pd

from benchmarks.results import Row, keep

AT_MOST = 2 / 3  # of the wall seconds before
OVERHEAD_AT_MOST = 1.10  # wall seconds times workers over the counted members' seconds


@dataclass(frozen=True)
class Search:
    """A finished search: its wall seconds and those of members that counted, and what it says of the weak model."""

    wall_seconds: float
    counted_seconds: float
    claim: dict[str, Any]


def read(folder: Path) -> Search:
    """From a run folder of any version that has these two files."""
    ledger = pd.read_parquet(folder / "ledger.parquet")
    total = ledger[ledger["purpose"] == "total"].iloc[0]
    spent = ledger[~ledger["purpose"].isin(["total", "cancelled"])]
    weak = json.loads((folder / "summary.json").read_text())["weak"]
    claim = {
        question: weak[question] and {key: weak[question][key] for key in ("architecture", "cleared", "seeds")}
        for question in ("clears", "pays")
    }
    counted = float(spent["train_seconds"].sum() + spent["eval_seconds"].sum())
    return Search(float(total["wall_seconds"]), counted, claim)


def together(before: str, after: str, spec: str, workers: int, folder: Path) -> tuple[Search, Search]:
    """Runs both at once.

    Raises:
        SystemExit: one of them ended otherwise than a search does.
    """
    running = {}
    for name, program in (("before", before), ("after", after)):
        words = [str(Path(program).absolute()), "run", spec, "--workers", str(workers), "--out", name]
        output = (folder / f"{name}.txt").open("w")
        # From the folder, because Ray's workers look for packages where they were started: in a checkout they would
        # find that one's.
        running[name] = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        time.sleep(5)  # two local Rays that start at the same moment may choose the same port
    for name, process in running.items():
        if process.wait() not in (0, 1):
            raise SystemExit(f"{name} ended with exit status {process.returncode}: {folder / name}.txt says why")
    return read(folder / "before"), read(folder / "after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="the gtsearch command of the earlier tree's environment")
    parser.add_argument("--after", default=str(Path(sys.executable).with_name("gtsearch")), help="default: this one's")
    parser.add_argument("--spec", default="modadd")
    parser.add_argument("--workers", type=int, default=2, help="of each of the two")
    parser.add_argument("--out", type=Path, help="a folder for both runs; default: a temporary one")
    asked = parser.parse_args()
    for program in (asked.before, asked.after):
        if not Path(program).is_file():
            raise SystemExit(f"there is no program {program}; give the path of a gtsearch command")
    folder = asked.out or Path(tempfile.mkdtemp(prefix="gtsearch-wall-"))
    folder.mkdir(parents=True, exist_ok=True)
    spec = str(Path(asked.spec).absolute()) if Path(asked.spec).exists() else asked.spec
    before, after = together(asked.before, asked.after, spec, asked.workers, folder)
    for name, search in (("before", before), ("after", after)):
        print(f"{name}: {search.wall_seconds:.0f} s of wall, {search.counted_seconds:.0f} s counted, {search.claim}")
    rows = compare(asked.spec, before, after, asked.workers)
    print(f"kept in {keep('wall', rows, {'spec': asked.spec, 'workers': asked.workers, 'threads': 1})}")


def compare(spec: str, before: Search, after: Search, workers: int) -> list[Row]:
    """The rows of the table."""
    ratio = after.wall_seconds / before.wall_seconds
    overhead, overhead_before = (one.wall_seconds * workers / one.counted_seconds for one in (after, before))
    same = "the same claim" if before.claim == after.claim else f"before: {before.claim}; now: {after.claim}"
    wall = Row(
        what=f"wall seconds of {spec}, {workers} workers each, both at once, beside the tree before",
        ours=after.wall_seconds,
        other=before.wall_seconds,
        unit="s",
        ratio=ratio,
        target="at most 2/3, the same certificate",
        met=ratio <= AT_MOST and before.claim == after.claim,
        note=same,
    )
    idle = Row(
        what=f"wall seconds times workers over the seconds of members that counted, {spec}",
        ours=overhead,
        other=overhead_before,
        unit="times",
        target=f"at most {OVERHEAD_AT_MOST:g}",
        met=overhead <= OVERHEAD_AT_MOST,
        note="other: the tree before",
    )
    return [wall, idle]


if __name__ == "__main__":
    main()
