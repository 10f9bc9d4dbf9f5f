"""The commands: parse, call, print. Everything a command does is done elsewhere and can be called from Python.

Exit codes: 0 done; 1 nothing clears, or nothing that clears pays; 2 a mistake in what was asked; 3 broken off: what
the run stands on gave way; 130 and 143 interrupted. A mistake is one line on standard error, never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtsearch import completion
from gtsearch.errors import GtsearchError, OldName, SpecError
from gtsearch.trust import printable

if TYPE_CHECKING:
    from gtsearch.experiment import Run
    from gtsearch.results import Results
    from gtsearch.spec import Spec

MISTAKE, INTERRUPTED = 2, 130
JSON_SCHEMA = 1
"""Of what `--json` gives: it grows when a key goes away or means something else; keys may be added."""

HELP = """Finds the cheapest weak model whose embedding makes a larger model grok sooner, and certifies it.

\b
Start here:
  gtsearch spaces                 the experiments that come along
  gtsearch check smoke            what one would do; runs nothing
  gtsearch run smoke              run it; makes a folder with report.html
  gtsearch resume runs/smoke-...  go on with a run that was interrupted

An experiment is one YAML file. Take one that comes along, change it, and give its path to `run`.

\b
Exit codes: 0 done; 1 nothing clears, or nothing that clears pays (the report
is made all the same), or `doctor` found something bad; 2 a mistake in what
was asked; 3 broken off, as by a full disk; 130, 143 interrupted."""

app = typer.Typer(
    name="gtsearch",
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="An experiment file, or a name from `spaces`.", autocompletion=completion.specs
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=completion.runs)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one value of the experiment; may be repeated.",
        autocompletion=completion.settings,
    ),
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
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, and nothing else (docs/scripting.md).")
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
    as_json: JsonOption = False,
) -> int:
    """Run an experiment into a new folder.

    \b
    Examples:
      gtsearch run modadd
      gtsearch run my.yaml --workers 4 --out runs/first
      gtsearch run modadd --set weak.goal=0.5 --set report.seeds=20 --seed 1

    Ctrl-C stops it and draws what is there; what has finished is kept, and `gtsearch resume` goes on from there. A
    second Ctrl-C leaves at once.
    """
    parsed = _load(spec, settings, seed)
    from gtsearch import experiment

    command = ["gtsearch", *context.obj]
    with _set_apart(as_json):
        ended = experiment.run(parsed, out=out, workers=workers, address=address, verbose=verbose, command=command)
    return _tell_end("run", ended, as_json)


@app.command()
def resume(
    run: RunArgument,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", metavar="N", min=1, help="How many members train at once; default: as before."),
    ] = None,
    address: AddressOption = None,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> int:
    """Go on with an interrupted run.

    Nothing that finished runs again; the answer is that of a run that was never interrupted. It uses as many workers
    as it was told to before.

    \b
    Example:
      gtsearch resume runs/modadd-20260131-101500
    """
    from gtsearch import experiment

    with _set_apart(as_json):
        ended = experiment.resume(run, workers=workers, address=address, verbose=verbose)
    return _tell_end("resume", ended, as_json)


@app.command()
def check(
    context: typer.Context,
    spec: SpecArgument,
    settings: SetOption = None,
    workers: WorkersOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would run; run nothing.

    The plan as a tree: stages, their phases, and what each trains at most: training runs, FLOPs, and a guess at the
    time they take if all train to their end. What may come again, nobody knows how often, stands last: `each ...`.

    \b
    Examples:
      gtsearch check modadd
      gtsearch check my.yaml --set weak.cost=flops --workers 8
      gtsearch check modadd --json
    """
    parsed = _load(spec, settings, seed)
    from gtsearch import experiment

    forecast = experiment.check(parsed, workers)
    if as_json:
        _give("check", forecast.to_json())
    else:
        words = ["run" if word == "check" else word for word in context.obj]
        _say([*forecast.lines(), f"run it: {shlex.join(['gtsearch', *words])}"])


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run folders, of whatever state.", autocompletion=completion.runs),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page; default: RUN/report.html, of several report.html."),
    ] = None,
    as_json: JsonOption = False,
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
    with _set_apart(as_json):
        if len(loaded) == 1 and out is None:
            page = pages.write_report(loaded[0])
        else:
            page = pages.merge(loaded, out or Path("report.html"))
    if as_json:
        notes = [note for run in loaded for note in run.notes]
        _give("report", {"page": str(page), "runs": [str(run.folder) for run in loaded], "notes": notes})
    else:
        _say([str(page)])


@app.command()
def track(
    run: RunArgument,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="TRACKER", help="As in an experiment: wandb, or '{name: mlflow, uri: ...}'."),
    ] = None,
) -> int:
    """Send a run to experiment trackers.

    To those that its experiment names, or to others; only what was not sent there before. Of a run that was
    interrupted, the members that finished.

    \b
    Examples:
      gtsearch track runs/modadd-20260131-101500
      gtsearch track runs/modadd-20260131-101500 --to tensorboard
      gtsearch track runs/mine --to '{name: mlflow, uri: "http://127.0.0.1:5000"}'
    """
    from gtsearch import tracking

    return tracking.track(run, tracking.named(to or []), lambda line: _say([line]))


@app.command()
def dashboard(
    run: RunArgument,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Where to listen; default: 8080, or a free one."),
    ] = None,
) -> None:
    """Show the studies of a run in a browser, by optuna-dashboard.

    Of a run that goes on too. It listens on this machine alone and changes nothing; Ctrl-C ends it.

    \b
    Example:
      gtsearch dashboard runs/modadd-20260131-101500
    """
    from gtsearch.dashboard import serve

    serve(run, port, lambda line: _say([line]))


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
    as_json: JsonOption = False,
) -> None:
    """List run folders and what they found.

    The oldest first: finished, running, interrupted (and the command that goes on) or damaged.

    \b
    Examples:
      gtsearch runs
      gtsearch runs /data/runs
    """
    from gtsearch import listing

    nowhere = folder is None and not Path("runs").is_dir()
    found = [] if nowhere else listing.runs(folder or Path("runs"))
    if as_json:
        _give("runs", {"runs": [run.to_json() for run in found]})
    elif nowhere:
        _say(["no runs here yet: `gtsearch run smoke` makes one in runs/"])
    else:
        none = f"no run folders in {folder or 'runs'}: `gtsearch run smoke` makes one in runs/"
        _say(listing.runs_table(found) if found else [none])


@app.command()
def compare(
    run: RunArgument,
    other: Annotated[Path, typer.Argument(metavar="RUN", help="Another one.", autocompletion=completion.runs)],
    as_json: JsonOption = False,
) -> None:
    """Say what differs between two runs.

    In the experiment, by YAML path; in versions, devices and threads; and in the answers: the weak model, how many
    reach the goal, epochs and FLOPs to it with their 95 % intervals, what it all cost, the paying threshold. Runs of
    different questions are compared too, and it is said that their answers are not comparable, and why.

    \b
    Examples:
      gtsearch compare runs/modadd-20260131-101500 runs/modadd-20260201-090000
      gtsearch compare runs/laptop runs/server --json
    """
    from gtsearch import listing, salvage
    from gtsearch.analysis.compare import compare as comparison

    compared = comparison(salvage.look(run), salvage.look(other))
    if as_json:
        _give("compare", compared.to_json())
    else:
        _say(listing.comparison_lines(compared))


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
def spaces(as_json: JsonOption = False) -> None:
    """List the experiments that come along.

    Their names can be given to `run` and `check`.

    \b
    Example:
      gtsearch spaces
    """
    from gtsearch import listing

    found = listing.experiments()
    if as_json:
        _give("spaces", {"folder": str(completion.schema_file().parent), "experiments": found})
    else:
        _say(listing.experiments_table(found))


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; default: printed.")
    ] = None,
) -> None:
    """Write the JSON Schema of the experiment file.

    With it an editor completes keys and names, says what they mean, and marks what is wrong while you type. It knows
    the tasks, models and methods that are installed here. One comment in the first line of an experiment names it to
    editors that use yaml-language-server (VS Code's YAML extension, Neovim, Emacs, ...); --out prints that line.

    \b
    Examples:
      gtsearch schema --out experiment.schema.json
      gtsearch schema | less
    """
    from gtsearch.results import write_text
    from gtsearch.schema import text

    if out is None:
        _say(text().splitlines())
        return
    write_text(out, text())
    _say(
        [
            str(out),
            "the first line of an experiment in the same folder names it to an editor:",
            f"# yaml-language-server: $schema={out.name}",
            f"or with the file that came along, from anywhere: {completion.schema_file()}",
        ]
    )


@app.command()
def reproduction(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.", autocompletion=completion.runs)
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
) -> None:
    """Set what the paper printed beside what runs measured.

    As Markdown, one row an experiment that repeats a figure or table; those without a run among RUN say "not run".

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
        _say_page(text.splitlines())
    else:
        write_text(out, text)
        _say([str(out)])


@app.command()
def predictors(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.", autocompletion=completion.runs)
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
) -> None:
    """Say which score of an embedding foretells the target.

    As Markdown; of runs of several tasks also on a task that a score was not fitted on.

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
        _say_page(lines)
    else:
        write_text(out, "\n".join([*lines, ""]))
        _say([str(out)])


@app.command()
def breakeven(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders, of any tasks.", autocompletion=completion.runs)
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The page; default: printed.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Also draws a panel a run: FILE.png, FILE.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say from which weak accuracy on a transfer pays.

    As Markdown, one row a run: the paying threshold with its interval and the least cost over scratch's, in training
    FLOPs, and the threshold in the seconds of every device that `gtsearch price` measured.

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
    written: list[Path] = []
    if figure is not None:
        from gtsearch.analysis.report import draw_panels

        frame = figures.across(loaded)
        written += draw_panels(figures, frame, figures.tasks(frame), figure.with_suffix(""))
    if out is not None:
        write_text(out, "\n".join(lines) + "\n")
        written.append(out)
    if as_json:
        _give("breakeven", {"runs": figures.as_json(loaded), "written": [str(path) for path in written]})
        return
    _say(map(str, written))
    if out is None:
        _say_page(lines)


@app.command()
def export(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The file; default: NAME-ARCHITECTURE.safetensors."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the certified embedding, and a script that uses it.

    It is that of the weak model that pays, else of the smallest that clears. The script beside it, with the suffix .py,
    trains a small model for one step: run it as it stands, then put your own model in.

    \b
    Example:
      gtsearch export runs/modadd-20260131-101500 --out E_W.safetensors
    """
    from gtsearch.export import export as export_from
    from gtsearch.results import load_results

    exported = export_from(load_results(run), out)
    if as_json:
        _give("export", {"run": str(run), **asdict(exported), "lines": exported.lines})
    else:
        _say(exported.lines)


@app.command()
def doctor(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A finished run whose finding is rerun.", autocompletion=completion.runs),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to try storage; default: where runs go.")
    ] = None,
    address: AddressOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0, help="For the finding; 0 leaves it out.")
    ] = 60.0,
    as_json: JsonOption = False,
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
    with _set_apart(as_json):
        for line in examination.lines():
            _say([line])  # at once, also where it is no terminal: the whole takes minutes
    if as_json:
        _give("doctor", examination.to_json())
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


def _say_page(lines: Sequence[str]) -> None:
    """Markdown, drawn where it is a person who reads it."""
    from gtsearch import terminal

    _say(terminal.page(lines))


@contextlib.contextmanager
def _set_apart(as_json: bool) -> Iterator[None]:
    """Keeps standard output for the one JSON object: what is printed meanwhile, by us, Ray or a library, goes to
    standard error."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _give(command: str, value: Mapping[str, Any]) -> None:
    """The one JSON object of a command: in one line, ASCII, with null for what is not a finite number."""
    whole = {"schema": JSON_SCHEMA, "command": command, **value}
    _say([json.dumps(_finite(whole), allow_nan=False, default=str)])


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tell_end(command: str, ended: Run, as_json: bool) -> int:
    """How a run ended, for a person or a program; its exit code."""
    from gtsearch import terminal
    from gtsearch.results import SUMMARY, read_json

    finished = ended.exit_code in (0, 1) and (ended.folder / SUMMARY).is_file()
    summary = read_json(ended.folder / SUMMARY) if finished else None
    lines = list(ended.lines)
    if summary is not None:
        from gtsearch.closing import next_steps

        lines += next_steps(summary, shlex.quote(str(ended.folder)))
    if not as_json:
        _say(terminal.folded(lines))
        return ended.exit_code
    state = {0: "finished", 1: "finished", 3: "broken off"}.get(ended.exit_code, "interrupted")
    page = ended.folder / "report.html"
    told = {
        "folder": str(ended.folder),
        "exit_code": ended.exit_code,
        "state": state,
        "report": str(page) if page.is_file() else None,
        "lines": lines,
        "summary": summary,
    }
    _give(command, told)
    return ended.exit_code


def _drop_output() -> None:
    """Lets what is still buffered go nowhere, so that Python does not complain of the pipe when it ends."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stream without a file behind it has no pipe to break
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    print(f"gtsearch: {printable(' '.join(message.splitlines()))}", file=sys.stderr)


@contextlib.contextmanager
def _old_names_told() -> Iterator[None]:
    """A name that will go away is a line for a person; other warnings look as Python shows them."""
    shown = warnings.formatwarning

    def told(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
        return (
            f"gtsearch: {printable(str(message))}\n"
            if issubclass(category, OldName)
            else shown(message, category, *where, **more)
        )

    warnings.formatwarning = told
    try:
        yield
    finally:
        warnings.formatwarning = shown


# typer's usage errors share this base; where it lives depends on typer's version.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _complain_of_usage(error: Any) -> None:
    error.message = _of_usage(error)
    _complain(error.format_message())
    path = error.ctx.command_path if error.ctx else "gtsearch"
    print(f"Try `{path} --help`.", file=sys.stderr)


def _of_usage(error: Exception) -> str:
    """What is wrong with a word of the command line; in our words, where typer only gives pydantic's."""
    from pydantic import ValidationError

    from gtsearch.problems import explain, one_of, show

    said, cause = str(getattr(error, "message", error)), error.__cause__
    if choice := re.search(r"'(.*)' is not one of (.*?)\.?$", said):
        value, text = choice[1], one_of(choice[2], choice[1])
    elif isinstance(cause, ValidationError):
        value, text = cause.errors()[0]["input"], explain(cause)[0].text
    else:
        return said
    return text.replace(show(value), f"`{value}`")


def _call(arguments: Sequence[str]) -> int:
    try:
        return app(list(arguments), prog_name="gtsearch", standalone_mode=False, obj=list(arguments)) or 0
    except GtsearchError as error:
        if isinstance(error, SpecError) and "check" in arguments[:1]:
            for line in error.lines:
                _complain(line)
        else:
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
    with _old_names_told():
        code = _call(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return code
