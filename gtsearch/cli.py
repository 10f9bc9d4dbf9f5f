"""The commands: parse, call, print. Everything a command does is done elsewhere and can be called from Python.

Exit codes: 0 done; 1 nothing clears, or nothing that clears pays; 2 a mistake in what was asked; 3 broken off: what
the run stands on gave way; 130 and 143 interrupted. A mistake is one line on standard error, never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtsearch.errors import GtsearchError
from gtsearch.trust import printable

if TYPE_CHECKING:
    from gtsearch.results import Results
    from gtsearch.spec import Spec

MISTAKE, INTERRUPTED = 2, 130

HELP = """Finds the cheapest weak model whose embedding makes a larger model grok sooner, and certifies it.

\b
Start here:
  gtsearch spaces                 the experiments that come along
  gtsearch check smoke            what one would do; runs nothing
  gtsearch run smoke              run it; the answer is a folder with report.html
  gtsearch resume runs/smoke-...  go on with a run that was interrupted

An experiment is one YAML file. Take one that comes along, change it, and give its path to `run`.

\b
Exit codes: 0 done; 1 nothing clears, or nothing that clears pays (the report is made all the same), or `doctor`
found something bad; 2 a mistake in what was asked; 3 broken off, as by a full disk; 130, 143 interrupted."""

app = typer.Typer(
    name="gtsearch",
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="An experiment file, or a name from `spaces`.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value of the experiment; may be repeated."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="The experiment's seed: --set seed=N.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", "-w", metavar="N", min=1, help="How many members train at once; default: all cores."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDR", help="A running Ray cluster, or `auto`; default: a local Ray of its own."
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show Ray's own output and no progress.")]


class Device(StrEnum):
    """Where prices can be measured."""

    CPU = "cpu"
    CUDA = "cuda"


class Kind(StrEnum):
    """What `new` writes."""

    TASK = "task"
    MODEL = "model"
    METHOD = "method"


# -- the commands -------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        import gtsearch

        _say([f"gtsearch {gtsearch.__version__}"])
        raise typer.Exit
    if context.invoked_subcommand is None:
        _say([context.get_help()])


@app.command()
def run(
    context: typer.Context,
    spec: SpecArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The run folder; default: runs/NAME-DATE-TIME.")
    ] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = None,
    address: AddressOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Run an experiment into a new folder.

    \b
    Examples:
      gtsearch run modadd
      gtsearch run my.yaml --workers 4 --out runs/first
      gtsearch run modadd --set weak.goal.val_accuracy=0.5 --set report.seeds=20 --seed 1

    Ctrl-C stops it and draws what is there; what has finished is kept, and `gtsearch resume` goes on from there. A
    second Ctrl-C leaves at once.
    """
    parsed = _load(spec, settings, seed)
    from gtsearch import experiment

    command = ["gtsearch", *context.obj]
    ended = experiment.run(parsed, out=out, workers=workers, address=address, verbose=verbose, command=command)
    _say(ended.lines)
    return ended.exit_code


@app.command()
def resume(
    run: RunArgument,
    workers: WorkersOption = None,
    address: AddressOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Go on with an interrupted run.

    Nothing that finished runs again; the answer is that of a run that was never interrupted.

    \b
    Example:
      gtsearch resume runs/modadd-20260131-101500
    """
    from gtsearch import experiment

    ended = experiment.resume(run, workers=workers, address=address, verbose=verbose)
    _say(ended.lines)
    return ended.exit_code


@app.command()
def check(
    spec: SpecArgument,
    settings: SetOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = None,
) -> None:
    """Say what would run; run nothing.

    How many members, of which sizes, and a guess at what they may cost.

    \b
    Examples:
      gtsearch check modadd
      gtsearch check my.yaml --set weak.cost=flops --workers 8
    """
    parsed = _load(spec, settings, seed)
    from gtsearch import experiment

    _say(experiment.check(parsed, workers))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, of whatever state.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page; default: RUN/report.html, of several report.html."),
    ] = None,
) -> None:
    """Make a report, of one run or several.

    Of one run: its report.html again. Of several, of one machine or many: one page for all, with seconds by device as
    `gtsearch price` measured them. Runs of different questions are refused: what may differ is the name, the seeds and
    how many of them the report and the trade-off have, and resources. Of a run that is half done, damaged or older,
    whatever can be shown is shown, and the page says what is missing.

    \b
    Examples:
      gtsearch report runs/modadd-20260131-101500
      gtsearch report runs/laptop runs/server --out both.html
    """
    from gtsearch.analysis import report as pages

    loaded = _look(runs)
    if len(loaded) == 1 and out is None:
        page = pages.write_report(loaded[0])
    else:
        page = pages.merge(loaded, out or Path("report.html"))
    _say([str(page)])


@app.command()
def price(
    run: RunArgument,
    device: Annotated[
        Device | None, typer.Option("--device", help="Where to measure; default: cuda where there is one.")
    ] = None,
    blocks: Annotated[
        int, typer.Option("--blocks", metavar="N", min=1, help="Timed of each method; an interval needs 6.")
    ] = 15,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, help="How long it may take, about.")
    ] = 60.0,
) -> None:
    """Measure what an epoch takes on this device, alone.

    Of each model and method that the run's claims rest on, without training any of them again: a few epochs at a
    time, methods taking turns. Goes into RUN/pricing.parquet, beside what other devices were priced at; the report then
    says what the run would take here. Copy a run folder to another machine and price it there, and back again.

    \b
    Examples:
      gtsearch price runs/modadd-20260131-101500
      gtsearch price runs/modadd-20260131-101500 --device cpu --seconds 120
    """
    from gtsearch.pricing import price as measure

    _say(measure(run, device.value if device else None, blocks, seconds).lines)


@app.command()
def runs(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Where run folders are; default: runs.")] = None,
) -> None:
    """List run folders and what they found.

    \b
    Examples:
      gtsearch runs
      gtsearch runs /data/runs
    """
    from gtsearch import listing

    if folder is None and not Path("runs").is_dir():
        _say(["no runs here yet: `gtsearch run smoke` makes one in runs/"])
    else:
        _say(listing.runs(folder or Path("runs")))


@app.command()
def new(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What it is: task, model or method.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the module: letters, digits and `_`.")],
) -> None:
    """Write a task, model or method of your own to begin with.

    Into the current folder: NAME.py, its test test_NAME.py, and an experiment NAME.yaml that uses it. Nothing is
    overwritten.

    \b
    Examples:
      gtsearch new task mytask
      gtsearch new model mynet
    """
    from gtsearch.new import write

    _say(write(kind.value, name, Path.cwd()))


@app.command()
def spaces() -> None:
    """List the experiments that come along.

    Their names can be given to `run` and `check`.
    """
    from gtsearch import listing

    _say(listing.experiments())


@app.command()
def reproduction(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
) -> None:
    """Set what the paper printed beside what runs measured, as Markdown.

    One row an experiment that repeats a figure or table; those without a run among RUN say "not run".

    \b
    Example:
      gtsearch reproduction runs/* --out docs/reproduction.md
    """
    from gtsearch import reading
    from gtsearch.analysis.reproduction import write_reproduction
    from gtsearch.results import write_text

    experiments = [(name, reading.read_experiment(name)[0]) for name in reading.experiments()]
    text = write_reproduction(runs, experiments)
    if out is None:
        _say(text.splitlines())
    else:
        write_text(out, text)
        _say([str(out)])


@app.command()
def predictors(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
) -> None:
    """Say which score of a weak embedding foretells the target, as Markdown.

    Of runs of several tasks also on a task that a score was not fitted on.

    \b
    Example:
      gtsearch predictors runs/modadd runs/modmul --out predictors.md
    """
    from gtsearch.analysis.merging import refuse_twice
    from gtsearch.analysis.predictors import markdown
    from gtsearch.results import write_text
    from gtsearch.salvage import whole

    loaded = [whole(run) for run in runs]
    refuse_twice(loaded)
    lines = markdown(loaded)
    if out is None:
        _say(lines)
    else:
        write_text(out, "\n".join([*lines, ""]))
        _say([str(out)])


@app.command()
def breakeven(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, of any tasks.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Also draws a panel a run: FILE.png, FILE.svg.")
    ] = None,
) -> None:
    """Say from which weak accuracy on a transfer pays, as Markdown.

    One row a run: the paying threshold with its interval and the least cost over scratch's, in training FLOPs, and the
    threshold in the seconds of every device that `gtsearch price` measured.

    \b
    Example:
      gtsearch breakeven runs/modadd-* runs/tradeoff-* --figure breakeven
    """
    from gtsearch.analysis import breakeven as figures
    from gtsearch.analysis.merging import refuse_twice
    from gtsearch.results import write_text

    loaded = _look(runs)
    refuse_twice(loaded)
    lines = figures.as_markdown(loaded).splitlines()
    if figure is not None:
        from gtsearch.analysis.report import draw_panels

        frame = figures.across(loaded)
        drawn = draw_panels(figures, frame, figures.tasks(frame), figure.with_suffix(""))
        _say([str(path) for path in drawn])
    if out is None:
        _say(lines)
    else:
        write_text(out, "\n".join(lines) + "\n")
        _say([str(out)])


@app.command()
def export(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The file; default: NAME-ARCHITECTURE.safetensors."),
    ] = None,
) -> None:
    """Copy the certified embedding to a file.

    It is that of the weak model that pays, else of the smallest that clears. Says how to use it, too.

    \b
    Example:
      gtsearch export runs/modadd-20260131-101500 --out E_W.safetensors
    """
    from gtsearch.results import load_results
    from gtsearch.transplant import export as export_from

    _say(export_from(load_results(run), out))


@app.command()
def doctor(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A finished run whose finding is rerun.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to try storage; default: where runs go.")
    ] = None,
    address: AddressOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0, help="For the finding; 0 leaves it out.")
    ] = 60.0,
) -> int:
    """Say whether gtsearch works on this machine.

    Versions, cores, threads, devices, memory, disk, limits, storage, Ray (one is started and ended), a self-test that
    trains something tiny, and one finding trained again on other threads, devices and evaluation grids: which
    conclusions survive. Each line begins with ok, note (know it) or bad (mend it). Exit code 1 when something is bad.

    \b
    Examples:
      gtsearch doctor
      gtsearch doctor runs/modadd-20260131-101500 --seconds 1800
      gtsearch doctor --address auto --out /shared/runs --seconds 0
    """
    from gtsearch.doctor import Doctor

    examination = Doctor(run, out, address, seconds)
    for line in examination.lines():
        _say([line])  # at once, also where it is no terminal: the whole takes minutes
    return examination.exit_code


# -- around them --------------------------------------------------------------------------------------------


def _load(spec: str, settings: Sequence[str] | None, seed: int | None) -> Spec:
    from gtsearch.spec import load_spec

    return load_spec(spec, [*(settings or ()), *([] if seed is None else [f"seed={seed}"])])


def _look(runs: Iterable[Path]) -> list[Results]:
    """What the folders show, whatever their state; says what is missing."""
    from gtsearch import salvage

    loaded = [salvage.look(run) for run in runs]
    for read in loaded:
        for note in read.notes:
            _complain(note if str(read.folder) in note else f"{read.folder}: {note}")
    return loaded


def _say(lines: Iterable[str]) -> None:
    """Prints; a reader that has gone away (`gtsearch runs | head`) is no mistake, nor is a disk that is full."""
    try:
        for line in lines:
            print("\n".join(map(printable, line.split("\n"))))
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    """Lets what is still buffered go nowhere, so that Python does not complain of the pipe when it ends."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stream without a file behind it has no pipe to break
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    print(f"gtsearch: {printable(' '.join(message.splitlines()))}", file=sys.stderr)


# typer's usage errors share this base; where it lives depends on typer's version.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _complain_of_usage(error: Any) -> None:
    _complain(error.format_message())
    path = error.ctx.command_path if error.ctx else "gtsearch"
    print(f"Try `{path} --help`.", file=sys.stderr)


def _call(arguments: Sequence[str]) -> int:
    try:
        return app(list(arguments), prog_name="gtsearch", standalone_mode=False, obj=list(arguments)) or 0
    except GtsearchError as error:
        _complain(str(error))
    except _UsageError as error:
        _complain_of_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:  # a disk, a permission: of the place, never of gtsearch
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return MISTAKE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    Args:
        arguments: without the program's name; default: those the process was started with.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign gets a question mark
    code = _call(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return code
