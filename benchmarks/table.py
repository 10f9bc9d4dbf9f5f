"""One table of everything that benchmarks measured and kept (benchmarks/results), with the command that makes each row.

    python -m benchmarks.table [--run] [--markdown] [--page docs/speed.md]

`--run` runs the benchmarks that end in some minutes first, one after another (`make bench` does that). The others are
named under the table, with what they take and their command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, Python looks beside the script only

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import results
from benchmarks.results import Kept, Row
from gtsearch.errors import GtsearchError

WIDEST_UNIT = 12  # characters beside a number; a longer one stands with the quantity
LEAST_WIDTH = 120  # characters; a file, or a narrow terminal, gets so many all the same

BEGIN, END = "<!-- kept results -->", "<!-- end -->"

QUICK = ("startup", "epoch", "transformer", "report")
"""The benchmarks that end in some minutes each, by name, in the order in which they are run."""

LONG = {
    "rivals": "python -m benchmarks.rivals; up to two hours",
    "wall": "python -m benchmarks.wall --before ../before/.venv/bin/gtsearch; needs another tree; modadd takes an hour",
    "lattice": "python -m benchmarks.lattice compare; minutes, `record SPEC` before it an hour",
    "overhead": "python -m benchmarks.overhead; some ten minutes",
    "load": "python -m benchmarks.load; some ten minutes, and half an hour of soak unless `--minutes 0`",
    "coverage": "python -m benchmarks.coverage; half an hour",
    "grokfast": "python -m benchmarks.grokfast --script PATH; needs a clone of GrokFast, some five minutes",
    "table1": "python -m benchmarks.table1 --device cuda; needs a GPU",
    "order": "python -m benchmarks.order RUN...; needs recorded runs, and keeps nothing",
}
"""Those that take longer, or need something: how each is run, and what it takes."""


def of(kept: Sequence[Kept]) -> Table:
    """The table for a terminal: a section a benchmark, under what made it."""
    table = Table(pad_edge=False)
    table.add_column("what", min_width=40)
    for heading in ("ours", "other", "ours / other"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    table.add_column("")
    for one in kept:
        table.add_row(Text("\n".join(_origin(one)), "bold"))
        for row in one.rows:
            notes = [row.note] * bool(row.note) + [row.unit] * (len(row.unit) > WIDEST_UNIT)
            what = Text(row.what) if not notes else Text.assemble(row.what, (f" ({'; '.join(notes)})", "dim"))
            numbers = (_number(row.ours, row.unit), _number(row.other, row.unit), _ratio(row))
            table.add_row(what, *numbers, row.target or "", _verdict(row))
        table.add_section()
    return table


def markdown(kept: Sequence[Kept]) -> str:
    """The same as a table for a page."""
    lines = ["| what | ours | other | ours / other | target | | made by |", "|---|---|---|---|---|---|---|"]
    for one in kept:
        for row in one.rows:
            numbers = (_number(row.ours, row.unit), _number(row.other, row.unit), _ratio(row))
            what = row.what if len(row.unit) <= WIDEST_UNIT else f"{row.what} ({row.unit})"
            cells = (what, *numbers, row.target or "", _verdict(row), f"`{one.command}`")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def write_into(page: Path, kept: Sequence[Kept]) -> None:
    """Puts the table into a page, in the place of what stood between the marks.

    Raises:
        SystemExit: the page has no such marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for a table: write `{BEGIN}` and `{END}` where it belongs")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(kept)}\n\n{END}{after}")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.4g} {unit}" if len(unit) <= WIDEST_UNIT else f"{value:,.4g}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    spread = "" if row.low is None or row.high is None else f" [{row.low:.3g}, {row.high:.3g}]"
    return f"{row.ratio:.3g}{spread}"


def _verdict(row: Row) -> str:
    return "" if row.met is None else "met" if row.met else "missed"


def _origin(kept: Kept) -> Iterator[str]:
    yield kept.command
    revision, _, changes = (kept.commit or "").partition(" ")
    commit = f"{revision[:10]} {changes}".strip() or "commit not known"
    yield f"{kept.device}, cores {kept.cores}, threads {kept.threads}; {commit}, {kept.date}"


def _run_quick() -> None:
    for name in QUICK:
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=results.ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help=f"run first: {', '.join(QUICK)}")
    parser.add_argument("--markdown", action="store_true", help="print it as Markdown, for a page")
    parser.add_argument("--page", type=Path, help=f"write it into this page, between `{BEGIN}` and `{END}`")
    asked = parser.parse_args()
    try:
        if asked.run:
            _run_quick()
        kept = results.read_all()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{error.cmd[-1]} ended with exit status {error.returncode}") from None
    except GtsearchError as error:
        raise SystemExit(str(error)) from None
    if asked.page:
        write_into(asked.page, kept)
        return
    if asked.markdown:
        print(markdown(kept))
        return
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    console.print(of(kept))
    print("\nNot run by `make bench`; the table shows what they kept when they last ran:")
    for name, how in LONG.items():
        print(f"  {name:12}{how}")


if __name__ == "__main__":
    main()
