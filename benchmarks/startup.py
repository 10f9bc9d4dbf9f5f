"""How long gtsearch takes until it is there: `import gtsearch`, `gtsearch --help` and what Tab offers, each in a
process of its own, beside what loading torch and ray at once would take.

    python -m benchmarks.startup [--times 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.results import Row, keep

MOST_SECONDS = 0.3
COMPLETED = {"_GTSEARCH_COMPLETE": "complete_bash", "COMP_WORDS": "gtsearch run smoke --set weak.", "COMP_CWORD": "4"}
HEAVY = "import torch, ray"


def seconds(arguments: Sequence[str], times: int, more: Mapping[str, str] | None = None) -> list[float]:
    """Of a Python with these arguments, from its start to its end; the first one, which fills caches, is left out."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], env=os.environ | dict(more or {}), stdout=subprocess.DEVNULL, check=True
        )
        taken.append(time.perf_counter() - began)
    return taken[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    heavy = statistics.median(seconds(["-c", HEAVY], min(times, 3)))
    measured = {
        "import gtsearch": seconds(["-c", "import gtsearch"], times),
        "gtsearch --help": seconds(["-m", "gtsearch", "--help"], times),
        "Tab after `gtsearch run smoke --set weak.`": seconds(["-m", "gtsearch"], times, COMPLETED),
        "an empty Python": seconds(["-c", "pass"], times),
    }
    rows = []
    for what, taken in measured.items():
        median = statistics.median(taken)
        aimed = what == "import gtsearch"
        note = f"a whole process, median of {times}, {min(taken):.2f} to {max(taken):.2f}; other: `{HEAVY}`"
        target, met = (f"at most {MOST_SECONDS:g}", median <= MOST_SECONDS) if aimed else (None, None)
        rows.append(Row(what, median, heavy, "s", median / heavy, target=target, met=met, note=note))
        print(f"{what}: {median:.2f} s ({min(taken):.2f} to {max(taken):.2f})", flush=True)
    print(f"kept in {keep('startup', rows, {'times': times})}")


if __name__ == "__main__":
    main()
