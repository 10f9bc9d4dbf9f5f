"""Breaks runs on purpose and says what was lost: the fault matrix.

    python -m faults                    the whole of it, within the hour; `make faults` does that
    python -m faults --rest             the chains that the last one had no time for, or that did not recover
    python -m faults --resumes          what a resume takes, measured again into the kept matrix: on an idle machine
    python -m faults --quick            a handful
    python -m faults --only NAME        the chains whose name holds NAME; with --seed of a failure, that very one again
    python -m faults --page docs/reliability.md     the table of the last whole run, into the page

The whole matrix is kept in faults/results.json with the seed of every fault. A fault counts as recovered when the run
went on, or ended and said how to go on, within a minute; a resume ended; no finished member was lost or ran again; all
tables and conclusions are those of an undisturbed run (`faults.judge`); and nothing was left behind, neither a process
nor a file outside the run folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults import scenarios, synthetic
from faults.case import ROOT, Case, Fault, Stuck, World, can_mount
from faults.scenarios import Chain, Missed
from gtsearch import results
from gtsearch.identity import derive_seed
from gtsearch.resources import cores
from gtsearch.results import LOG
from gtsearch.trainables import cpu_name

RESULTS = ROOT / "faults" / "results.json"
BEGIN, END = "<!-- faults -->", "<!-- end -->"
REPEATS = 5  # of what is measured of a resume


def worlds(place: Path, names: Iterable[str]) -> dict[str, World]:
    """Runs what is asked for undisturbed, side by side, and measures how long its parts take."""
    spec = place / "synthetic.yaml"
    spec.write_text(synthetic.SPEC)
    plain = World("synthetic", (str(spec),), "faults.synthetic:trainable_for")
    asked = {
        "synthetic": plain,
        "nan": replace(plain, name="nan", faults=({"do": "nan", "share": 0.15},)),
        "raises": replace(plain, name="raises", faults=({"do": "raise", "share": 0.1},)),
        "smoke": World("smoke", ("smoke",), "faults.synthetic:real_for", real=True),
    }
    wanted = [asked[name] for name in asked if name in set(names)]
    with ThreadPoolExecutor(3) as pool:
        return {world.name: world for world in pool.map(lambda world: _undisturbed(world, place), wanted)}


def _undisturbed(world: World, place: Path) -> World:
    case = Case(world, 0, f"{world.name}/undisturbed")
    try:
        running = case.start()
        case.wait(lambda: case.lines() > 0)
        first = time.monotonic() - running.began
        case.wait(lambda: (case.folder / results.SUMMARY).exists())
        code = running.process.wait()
        if code not in (0, 1) or "Traceback" in running.err():
            raise SystemExit(
                f"the undisturbed run of {world.name} ended with {code}: {running.out()[-1000:]}{running.err()[-2000:]}"
            )
        last, summary = ((case.folder / name).stat().st_mtime for name in (LOG, results.SUMMARY))
        whole = running.ended_seconds or time.monotonic() - running.began
        counted = _counted(case.folder)
        rows, _ = results.read_log(case.folder / LOG)
        reference = place / world.name
        shutil.copytree(case.folder, reference)
        return replace(
            world,
            reference=reference,
            exit_code=code,
            purposes=tuple(row["purpose"] for row in rows if row["run_id"] in counted),
            first_seconds=first,
            tables_seconds=max(0.5, summary - last),
            report_seconds=max(1.0, whole - (summary - time.time() + time.monotonic() - running.began)),
        )
    finally:
        case.close()


def _counted(folder: Path) -> set[str]:
    """The members that counted for something."""
    trials = results.read_table(folder, "trials")
    return set(trials.loc[trials["status"] != "cancelled", "run_id"])


# -- one chain ------------------------------------------------------------------------------------------------


def run_chain(chain: Chain, world: World, seed: int) -> tuple[list[Fault], list[str]]:
    """Inflicts a chain's faults and judges the run. Returns them, and those that could not be inflicted, in words."""
    case = Case(world, seed, chain.name, chain.small_disk)
    missed: list[str] = []
    try:
        for scenario, moment in chain.steps:
            try:
                scenario.strike(case, scenario.name, moment)
            except Missed as error:
                missed.append(f"{scenario.name}, {moment}: {error}")
        if case.faults:
            case.finish()
    except Stuck as error:
        missed.append(str(error))
    except Exception as error:  # a mistake of the harness itself must not stop the matrix
        missed.append(f"{chain.name}: {type(error).__name__}: {error} {traceback.format_exc()[-600:]}")
    finally:
        case.close(keep=bool(os.environ.get("FAULTS_KEEP")) and any(fault.wrong for fault in case.faults))
    return case.faults, missed


def run_all(
    chains: Sequence[Chain], known: Mapping[str, World], base: int, jobs: int, minutes: float
) -> tuple[list[Fault], list[str]]:
    """Runs chains, so many at once; none is begun after so many minutes. The first of every kind come first."""
    faults: list[Fault] = []
    missed: list[str] = []
    until, lock = time.monotonic() + 60 * minutes, threading.Lock()

    def one(chain: Chain) -> None:
        if time.monotonic() > until:
            missed.append(f"{chain.name}: no time was left")
            return
        began = time.monotonic()
        inflicted, not_inflicted = run_chain(chain, known[chain.world], _seed(base, chain))
        with lock:
            faults.extend(inflicted)
            missed.extend(not_inflicted)
            told = "; ".join(wrong for fault in inflicted for wrong in fault.wrong)
            told = told or ("recovered" if all(fault.recovered for fault in inflicted) else "members lost or repeated")
            print(f"{time.monotonic() - began:5.0f} s  {chain.name}: {len(inflicted)} faults: {told}"[:400], flush=True)
            for words in not_inflicted:
                print(f"         not inflicted: {words}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, sorted(chains, key=lambda chain: int(chain.name.rpartition("/")[2]))))
    return faults, missed


def _seed(base: int, chain: Chain) -> int:
    return derive_seed("faults", base, chain.name) % 2**31


# -- what a resume takes --------------------------------------------------------------------------------------


def overhead(world: World, repeats: int) -> list[dict[str, float]]:
    """Of a resume with one member missing: seconds to it from the start of the process, beside those that a bare Ray
    takes to answer from one actor that has loaded torch, turn by turn."""
    measured = []
    rows, _ = results.read_log(world.reference / LOG)
    counted = _counted(world.reference)
    last = max(i for i, row in enumerate(rows) if row["run_id"] in counted)
    for i in range(repeats):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gtf-", dir="/tmp") as home:
            subprocess.run(
                [sys.executable, "-m", "faults.bare_ray"],
                env={**os.environ, "HOME": home, "TMPDIR": home, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                check=True,
            )
        bare = time.monotonic() - began
        case = Case(world, i, "resume")
        try:
            scenarios.halfway(case, last)
            running = case.start()
            case.wait(lambda case=case: case.lines() > last)  # type: ignore[misc]
            measured.append({"resume_seconds": time.monotonic() - running.began, "ray_seconds": bare})
            running.process.wait()
        finally:
            case.close()
    return measured


# -- the matrix -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A row of the matrix: a scenario on one experiment, all its faults together."""

    name: str
    world: str
    faults: list[Fault]

    @property
    def cells(self) -> tuple[str, ...]:
        went_on = sorted(f.went_on_seconds for f in self.faults if f.went_on_seconds is not None)
        recovered = sum(f.recovered for f in self.faults)
        return (
            self.name,
            "smoke" if self.world == "smoke" else "synthetic",
            str(len(self.faults)),
            str(_by_run(self.faults, "lost")),
            str(_by_run(self.faults, "repeated")),
            str(recovered),
            f"{statistics.median(went_on):.1f}, at most {went_on[-1]:.1f}" if went_on else "",
        )


HEADINGS = ("fault", "experiment", "times", "lost", "repeated", "recovered", "goes on or ends after (s)")


def _by_run(faults: Iterable[Fault], name: str) -> int:
    """A number of whole runs, each counted once."""
    return sum({fault.chain: getattr(fault, name) for fault in faults}.values())


def matrix(faults: Sequence[Fault]) -> list[Line]:
    """A line a scenario and experiment, in the order of the list, and one of all."""
    order = {scenario.name: i for i, scenario in reversed(list(enumerate(scenarios.SCENARIOS)))}
    groups: dict[tuple[bool, int, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.world == "smoke", order.get(fault.name, 0), fault.name), []).append(fault)
    lines = [Line(key[2], "smoke" if key[0] else "synthetic", groups[key]) for key in sorted(groups)]
    return [*lines, Line("all", "", list(faults))]


def show(faults: Sequence[Fault]) -> Table:
    """The matrix for a terminal."""
    table = Table(pad_edge=False)
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if 2 <= i <= 5 else "left")
    for line in matrix(faults):
        table.add_row(*line.cells, style=None if all(f.recovered for f in line.faults) else "bold red")
    return table


def markdown(kept: Mapping[str, Any]) -> str:
    """The matrix for a page, with where it comes from and what a resume took."""
    faults = [Fault(**fault) for fault in kept["faults"]]
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for line in matrix(faults):
        cells = list(line.cells)
        cells[1] = "" if line.name == "all" else cells[1]
        lines.append("| " + " | ".join(cells) + " |")
    made = kept["made_by"]
    lines += [
        "",
        f"`{made['command']}`, {made['minutes']:.0f} minutes, {made['device']}, {made['cores']} cores, "
        f"{made['date']}, seed {made['seed']}; versions: {', '.join(f'{k} {v}' for k, v in made['versions'].items())}.",
    ]
    if kept["overhead"]:
        lines += ["", _of_overhead(kept["overhead"])]
    return "\n".join(lines)


def _of_overhead(measured: Sequence[Mapping[str, float]]) -> str:
    beyond = sorted(one["resume_seconds"] - one["ray_seconds"] for one in measured)
    resumes, rays = (sorted(one[name] for one in measured) for name in ("resume_seconds", "ray_seconds"))
    return (
        f"A resume with one member missing had it after {statistics.median(resumes):.1f} s (median of {len(measured)}; "
        f"{resumes[0]:.1f} to {resumes[-1]:.1f}), a bare Ray answered from an actor with torch after "
        f"{statistics.median(rays):.1f} s ({rays[0]:.1f} to {rays[-1]:.1f}): "
        f"{statistics.median(beyond):.1f} s beyond it ({beyond[0]:.1f} to {beyond[-1]:.1f})."
    )


def write_into(page: Path, kept: Mapping[str, Any]) -> None:
    """Puts the matrix into a page, in the place of what stood between the marks.

    Raises:
        SystemExit: the page has no such marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for a table: write `{BEGIN}` and `{END}` where it belongs")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(kept)}\n\n{END}{after}")


def to_do(kept: Mapping[str, Any], chains: Sequence[Chain]) -> tuple[list[Chain], list[Fault]]:
    """Of chains those that a kept matrix lacks or that did not recover in it, and its faults of the others."""
    faults = [Fault(**fault) for fault in kept["faults"]]
    failed = {fault.chain for fault in faults if not fault.recovered}
    stay = [fault for fault in faults if fault.chain not in failed]
    there = {fault.chain for fault in stay}
    return [chain for chain in chains if chain.name not in there], stay


def keep(
    faults: Sequence[Fault],
    missed: Sequence[str],
    measured: Sequence[Mapping[str, float]],
    asked: Any,
    minutes: float,
    before: Mapping[str, Any] | None = None,
) -> None:
    """Writes faults/results.json; `before`: what was kept, where this adds to it."""
    environment = results.read_json(Path(asked.reference) / results.ENVIRONMENT)
    value = {
        "faults": [fault.to_json() for fault in faults],
        "not_inflicted": list(missed),
        "overhead": list(measured),
        "made_by": {
            "command": "python -m faults" + (", then --rest" if before else ""),
            "seed": asked.seed,
            "minutes": minutes + (before["made_by"]["minutes"] if before else 0),
            "device": cpu_name(),
            "cores": cores(),
            "versions": {"python": platform.python_version()}
            | {name: environment["versions"][name] for name in ("torch", "ray", "optuna")},
            "date": f"{date.today():%Y-%m-%d}",
        },
    }
    results.write_text(RESULTS, json.dumps(value, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a handful, in a minute")
    parser.add_argument("--resumes", action="store_true", help="measure only what a resume takes, and keep it")
    parser.add_argument("--rest", action="store_true", help="what the kept matrix lacks, or did not recover in it")
    parser.add_argument("--only", metavar="NAME", action="append", help="chains whose name holds NAME")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="run folders at once")
    parser.add_argument("--minutes", type=float, default=50, metavar="M", help="begin no more after so long")
    parser.add_argument("--seed", type=int, default=0, help="of all that is left to chance")
    parser.add_argument("--page", type=Path, help=f"only write the kept matrix into a page, between {BEGIN} and {END}")
    asked = parser.parse_args()
    if asked.page:
        write_into(asked.page, json.loads(RESULTS.read_text()))
        return 0
    if asked.resumes:
        kept = json.loads(RESULTS.read_text())
        with tempfile.TemporaryDirectory(prefix="gtf-worlds-") as place:
            kept["overhead"] = overhead(worlds(Path(place), ["synthetic"])["synthetic"], REPEATS)
        results.write_text(RESULTS, json.dumps(kept, indent=1) + "\n")
        print(_of_overhead(kept["overhead"]))
        return 0
    began = time.monotonic()
    chains = _asked_for(asked)
    before: dict[str, Any] | None = None
    stay: list[Fault] = []
    if asked.rest:
        before = json.loads(RESULTS.read_text())
        asked.seed = before["made_by"]["seed"]
        chains, stay = to_do(before, chains)
    if not chains and asked.rest:
        print("the kept matrix has every chain, and each recovered")
        return 0
    if not chains:
        raise SystemExit(
            f"there is nothing to inflict: no chain's name holds {' or '.join(asked.only or ['anything'])}"
        )
    mounts = can_mount()
    missed = [f"{c.name}: no small disk can be mounted here" for c in chains if c.small_disk and not mounts]
    chains = [c for c in chains if mounts or not c.small_disk]
    with tempfile.TemporaryDirectory(prefix="gtf-worlds-") as place:
        whole = not (asked.quick or asked.only)
        known = worlds(Path(place), [*(c.world for c in chains), *(["synthetic"] if whole else [])])
        asked.reference = next(iter(known.values())).reference
        faults, not_inflicted = run_all(chains, known, asked.seed, asked.jobs, asked.minutes)
        missed += not_inflicted
        measured = overhead(known["synthetic"], REPEATS) if whole else []
        faults += stay
        if whole:
            keep(faults, missed, measured, asked, (time.monotonic() - began) / 60, before)
    console = Console()
    console.width = max(console.width, 140)
    console.print(show(faults))
    for words in missed:
        print(f"not inflicted: {words}")
    for fault in faults:
        for wrong in fault.wrong:
            print(f"{fault.name} ({fault.moment}; --only '{fault.chain}' --seed {asked.seed}): {wrong}")
    if measured:
        print(_of_overhead(measured))
    return int(not all(fault.recovered for fault in faults))


def _quick() -> list[Chain]:
    """A handful of faults of one run folder."""
    named = {scenario.name: scenario for scenario in scenarios.SCENARIOS}
    steps = {
        "SIGKILL of the driver": "weak_search",
        "SIGKILL of a worker": "report",
        "Ctrl-C in its terminal": "tradeoff",
    }
    chain = tuple((named[name], moment) for name, moment in steps.items())
    return [Chain("synthetic/quick/0", "synthetic", chain)]


def _asked_for(asked: Any) -> list[Chain]:
    if asked.quick:
        return _quick()
    return [c for c in scenarios.chains() if not asked.only or any(name in c.name for name in asked.only)]


if __name__ == "__main__":
    sys.exit(main())
