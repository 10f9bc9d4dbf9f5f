"""The commands: `record` trains and records a lattice, `compare` replays searchers on those that are kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import lattice as package
from benchmarks import results
from benchmarks.lattice import comparison, stopping, world
from benchmarks.lattice.recording import Extent, Recording
from benchmarks.lattice.searchers import Outcome
from benchmarks.lattice.world import Lattice
from gtsearch.analysis.replayed import Replayed, Rule
from gtsearch.errors import GtsearchError, ResultsError
from gtsearch.resources import cores
from gtsearch.spec import load_spec


def main(argv: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(argv)
    try:
        asked.run(asked)
    except GtsearchError as error:
        raise SystemExit(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lattice",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    record = commands.add_parser("record", help="train and record a lattice; goes on where it was cut short")
    record.add_argument("spec", help="an experiment whose weak stage is recorded")
    record.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of gtsearch run")
    record.add_argument("--configs", type=int, default=16, help="of each architecture (16)")
    record.add_argument("--base-seeds", type=int, default=4, help="of every config (4)")
    record.add_argument("--seeds", type=int, default=12, help="of a config that clears on a base seed (12)")
    record.add_argument("--transfers", type=int, default=0, help="weak runs a good config that the target is given (0)")
    record.add_argument("--processes", type=int, default=max(1, cores() // 2), help="one thread each")
    record.add_argument("--minutes", type=float, help="begin no run after so many; 0 writes what is recorded")
    record.add_argument("--folder", type=Path, help="of the log and the embeddings (runs/lattice-NAME)")
    record.add_argument("--out", type=Path, default=world.FOLDER, help="of NAME.parquet")
    record.set_defaults(run=_record)

    compare = commands.add_parser("compare", help="replay searchers on recorded lattices")
    compare.add_argument("files", type=Path, nargs="*", help="lattices (default: all that are kept)")
    compare.add_argument("--repetitions", type=int, default=200)
    compare.add_argument("--processes", type=int, default=cores())
    compare.add_argument("--dry", action="store_true", help="keep no result")
    compare.set_defaults(run=_compare)
    return parser


def _record(asked: argparse.Namespace) -> None:
    spec = load_spec(asked.spec, asked.set)
    if spec.weak is None:
        raise ResultsError(f"{asked.spec} has no weak stage, and that is what is recorded; take one that has")
    extent = Extent(asked.configs, asked.base_seeds, asked.seeds, asked.transfers)
    recording = Recording(spec, extent, asked.folder or Path("runs") / f"lattice-{spec.name}")
    seconds = None if asked.minutes is None else 60 * asked.minutes
    try:
        whole = recording.record(asked.processes, seconds)
    except KeyboardInterrupt:
        whole = False
    path = asked.out / f"{spec.name}.parquet"
    runs = recording.write(path)
    state = "the whole lattice" if whole else "cut short; the same command goes on"
    print(f"{path}: {runs} runs, {path.stat().st_size / 2**20:.1f} MiB, {state}")


def _compare(asked: argparse.Namespace) -> None:
    files = asked.files or sorted(world.FOLDER.glob("*.parquet"))
    if not files:
        raise ResultsError(f"{world.FOLDER} holds no lattice; make one with python -m benchmarks.lattice record")
    kept: list[results.Row] = []
    for path in files:
        kept += _compared(path, asked.repetitions, asked.processes)
    if not asked.dry:
        settings = {"repetitions": asked.repetitions, "lattices": [path.name for path in files]}
        results.keep("lattice", kept, settings)


def _compared(path: Path, repetitions: int, processes: int) -> list[results.Row]:
    """Prints what there is to say of a lattice; the rows to keep."""
    lattice = world.read(path)
    print("\n".join(comparison.describe(lattice)))
    outcomes = comparison.replay(path, repetitions, processes)
    verdicts = {name: comparison.judge(lattice, own) for name, own in outcomes.items()}
    ours = verdicts["ours"]
    print(f"\n{repetitions} repetitions, the same seeds for all searchers; intervals at 95 %")
    lines = [comparison.cells(name, verdict, ours) for name, verdict in verdicts.items()]
    print(comparison.table([comparison.HEADINGS, *lines]))
    print(f"ours calls an architecture excluded that holds a config at the gate's rate: {ours.excluded.words}")
    gate, report = lattice.weak.gate, lattice.spec.report
    rule = Rule(gate.at_least, gate.seeds, report.at_least, report.seeds)
    counts = (ours.poor.k, ours.beaten.k, ours.wrong.k, ours.wrong.n)
    print(f"ours names configs with these rates over all recorded seeds: {comparison.rates(lattice, outcomes['ours'])}")
    print(f"MEASURED {rule}: {Replayed(lattice.spec.weak_task.title, *counts)}\n")
    return [*comparison.rows_to_keep(lattice, verdicts), *_stopping(path, lattice, outcomes["ours"], processes)]


def _stopping(path: Path, lattice: Lattice, without: Sequence[Outcome], processes: int) -> list[results.Row]:
    """Prints what early stopping would cost and save; the row to keep."""
    prices = stopping.prices(lattice)
    lines = [
        [
            price.rule.words,
            f"{price.killed} of {price.cleared}",
            "{:.2f} to {:.2f} %".format(*(100 * end for end in price.interval)),
            f"{100 * price.saved:.1f} %",
        ]
        for price in prices
    ]
    print(comparison.table([("early stopping by", "false kills", "at 95 %", "epochs saved"), *lines]))
    best = stopping.best(lattice)
    if best is None:
        print(f"no rule's false kills surely lie below {100 * stopping.MOST_FALSE_KILLS:g} %\n")
        return []
    with_it = comparison.replay(path, len(without), processes, best.rule)["ours"]
    changed = comparison.Share(sum(a.named != b.named for a, b in zip(with_it, without, strict=True)), len(without))
    verdicts = [comparison.judge(lattice, own) for own in (with_it, without)]
    ratio, low, high = comparison.paired(verdicts[0].flops, verdicts[1].flops)
    saving = f"{ratio:.2f} [{low:.2f}, {high:.2f}] of the FLOPs, another config named in {changed.words}"
    print(f"ours with {best.rule.words}: {saving}\n")
    interval = "{:.2f} to {:.2f} %".format(*(100 * end for end in best.interval))
    return [
        results.Row(
            what=f"{lattice.spec.weak_task.title}: weak FLOPs until the certificate, with and without early stopping",
            ours=float(verdicts[0].flops.mean()) / 1e12,
            other=float(verdicts[1].flops.mean()) / 1e12,
            unit="TFLOPs",
            ratio=ratio,
            low=low,
            high=high,
            note=f"{best.rule.words}; {best.killed} false kills of {best.cleared} ({interval}); another config "
            f"named in {changed.words}",
        )
    ]


if __name__ == "__main__":
    main()
