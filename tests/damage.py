"""Run folders that something happened to: `made` makes a whole one, `damage` changes a file of it at random.

`call` runs a command on it in this process; `wrong` says what is not as it should be of how that ended: a result, or
one line and exit code 2.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from generated_runs import Hang, drive, undrawn, within

from gtsearch import cli, cluster
from gtsearch.errors import ResourcesError
from gtsearch.spec import parse_spec

FILES = (
    "spec.yaml",
    "environment.json",
    "summary.json",
    "members.log",
    "trials.parquet",
    "curves.parquet",
    "probes.parquet",
    "scores.parquet",
    "ledger.parquet",
    "pricing.parquet",
    "embeddings",
    "study.log",
)
COMMANDS = ("report", "runs", "export", "breakeven", "predictors", "reproduction", "price", "resume")
SECONDS = 60.0

SPEC: dict[str, Any] = {
    "name": "whole",
    "seed": 18,  # of which a weak model pays
    "about": {"shows": "what <b>it</b> shows", "paper": "Fig. 6a", "measure": ["epochs", "time_gap"]},
    "task": {"name": "modular_addition", "p": 7, "train_fraction": 0.6},
    "weak": {
        "goal": {"val_accuracy": 0.5, "evaluate_every": 5},
        "model": {"name": "mlp", "depth": 2, "d_embed": [2, 4], "width": 4},
        "tune": {"lr": {"loguniform": [0.003, 0.1]}, "weight_decay": {"uniform": [0, 1]}, "init_scale": 1},
        "budget": {"configs_per_architecture": 2, "max_epochs": 40},
        "gate": {"seeds": 2, "at_least": 1},
        "judge": {"configs": 1, "weak_seeds": 2, "at_least": 1},
    },
    "target": {
        "goal": {"val_accuracy": 0.8, "evaluate_every": 5},
        "model": {"name": "mlp", "depth": 3, "d_embed": 8, "width": 8},
        "methods": ["transfer", "scratch", "lowrank_random"],
        "tune": {"lr": {"loguniform": [0.001, 0.1]}, "weight_decay": [0.1, 1], "init_scale": 1},
        "budget": {"configs": 2, "max_epochs": 40},
        "gate": {"configs": 1, "seeds": 1},
    },
    "report": {"seeds": 3, "at_least": 1, "weak_tries": 2},
    "tradeoff": {"weak_accuracy": [0.4, 0.6], "seeds": 2, "refine": None},
    "probes": ["weight_norms"],
}


def made(folder: Path) -> Path:
    """A finished run with all that a run may have, in a new folder."""
    folder.mkdir(parents=True)
    told = drive(parse_spec(SPEC), folder, writes=True)
    assert told["complete"] and list((folder / "embeddings").iterdir())
    row = {"device": "a device", "host": "h", "threads": 1, "stage": "target", "architecture": "mlp-d8-w8-L3"}
    row |= {"method": "scratch", "ms_per_epoch": 1.0, "ms_low": 0.9, "ms_high": 1.1, "blocks": 15}
    row |= {"epochs_per_block": 10, "priced_at": "2026-01-31 10:15:00"}
    from gtsearch import results

    results.write_table(folder, "pricing", results.pricing_frame([row]))
    return folder


# -- what may happen to a file --------------------------------------------------------------------------------


def damage(run: Path, rng: random.Random) -> str:
    """Damages a file of a run folder, sometimes two; says how."""
    return " and ".join(_one(run, rng) for _ in range(rng.choice([1, 1, 1, 2])))


def _one(run: Path, rng: random.Random) -> str:
    if rng.random() < 0.1:  # as a run that was killed leaves it
        for name in ("summary.json", *(f"{table}.parquet" for table in ("trials", "curves", "ledger"))):
            if rng.random() < 0.8:
                gone(run / name, rng)
    name = rng.choice(FILES)
    path = run / name
    if name == "embeddings" and path.is_dir():
        path = rng.choice(sorted(path.iterdir()))
    ways: list[Callable[[Path, random.Random], str]] = [gone, cut, flipped, emptied, another, folder, longer]
    if path.suffix == ".json":
        ways += [json_changed] * 10
    if path.name == "members.log":
        ways += [rows_changed] * 10
    if path.suffix == ".parquet":
        ways += [table_changed] * 7
    if path.name == "spec.yaml":
        ways += [text_changed] * 4
    way = rng.choice(ways)
    if not path.is_file():
        return f"{name} is gone already"
    return f"{path.name} {way.__name__} {way(path, rng)}"


def gone(path: Path, rng: random.Random) -> str:
    path.unlink(missing_ok=True)
    return ""


def cut(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = rng.randrange(len(data) + 1)
    path.write_bytes(data[:at])
    return f"at {at}"


def flipped(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    places = [rng.randrange(len(data)) for _ in range(rng.choice([1, 1, 3, 20]))] if data else []
    for at in places:
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))
    return f"at {places}"


def emptied(path: Path, rng: random.Random) -> str:
    path.write_bytes(b"")
    return ""


def longer(path: Path, rng: random.Random) -> str:
    more = rng.choice([b"\0" * 100, b"\n", b"{}\n", b"[]\n", b"x", path.read_bytes()])
    path.write_bytes(path.read_bytes() + more)
    return f"by {len(more)}"


def another(path: Path, rng: random.Random) -> str:
    """Another kind of file, or another file of the run."""
    others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
    what = rng.choice([b"PK\x03\x04", b"\x80\x04\x95cos\nsystem\n", b"[]", b"null", b"NaN", b'"x"', b"1e999", *others])
    path.write_bytes(what.read_bytes() if isinstance(what, Path) else what)
    return f"by {what.name if isinstance(what, Path) else what!r}"


def folder(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return ""


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    1e300,
    "",
    "x",
    "nan",
    "<b>",
    "../../x",
    [],
    {},
    [None],
    {"a": 1},
    [1, "x"],
]


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] * bool(place) + [found for key, one in inner for found in _places(one, (*place, key))]


def changed(value: Any, rng: random.Random) -> str:
    """Changes a JSON value in place somewhere: a key is gone, or of another type."""
    places = _places(value)
    if not places:
        return "nothing"
    place = rng.choice(places)
    if rng.random() < 0.5:
        place = place[: rng.randint(1, len(place))]
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if rng.random() < 0.4:
        del inner[place[-1]]
        return f"{place} is gone"
    inner[place[-1]] = odd = rng.choice(ODD)
    return f"{place} is {odd!r}"


def json_changed(path: Path, rng: random.Random) -> str:
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return "is none"
    told = changed(value, rng)
    path.write_text(json.dumps(value))
    return told


def rows_changed(path: Path, rng: random.Random) -> str:
    """Of one member or of all, the same."""
    lines = path.read_bytes().split(b"\n")[:-1]
    if not lines:
        return "is empty"
    few = rng.random() < 0.5
    at, seed = rng.randrange(len(lines)), rng.random()
    told = ""
    for i in [at] if few else range(len(lines)):
        try:
            row = json.loads(lines[i])
        except ValueError:
            continue
        if isinstance(row, dict):
            told = changed(row, random.Random(seed))
            lines[i] = json.dumps(row).encode()
    if rng.random() < 0.1:
        rng.shuffle(lines)
        told += ", shuffled"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"{'one' if few else 'all'}: {told}"


def text_changed(path: Path, rng: random.Random) -> str:
    lines = path.read_text("utf-8", "replace").splitlines()
    at = rng.randrange(len(lines) or 1)
    what = rng.choice(["", "x: y", "  - 3", "&a", "\t"])
    lines[at : at + 1] = [what] if rng.random() < 0.5 else []
    path.write_text("\n".join(lines) + "\n")
    return f"line {at + 1}"


def table_changed(path: Path, rng: random.Random) -> str:
    """Another schema, or a value that no run writes."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        return "is none"
    name = rng.choice(table.column_names)
    at = table.column_names.index(name)
    match rng.choice(["drop", "type", "rename", "rows", "null", "value", "twice"]):
        case "drop":
            told, table = f"no {name}", table.drop_columns([name])
        case "type":
            told, table = f"{name} as text", table.set_column(at, name, table.column(name).cast(pa.string()))
        case "rename":
            told = f"{name} renamed"
            table = table.rename_columns([f"{n}x" if n == name else n for n in table.column_names])
        case "rows":
            told, table = "no rows", table.slice(0, 0)
        case "null":
            told = f"{name} all null"
            table = table.set_column(at, table.schema.field(at), pa.nulls(len(table), table.schema.field(at).type))
        case "twice":
            told, table = "twice", pa.concat_tables([table, table])
        case _:
            frame = table.to_pandas()
            odd = {"object": "x<b>", "str": "x<b>"}.get(str(frame[name].dtype), rng.choice([-1, 0, 10**12]))
            told = f"{name} is {odd!r}"
            values = [odd] * len(table)
            with contextlib.suppress(pa.ArrowException, TypeError):
                column = pa.array(values).cast(table.schema.field(at).type)
                table = table.set_column(at, table.schema.field(at), column)
    pq.write_table(table, path)
    return told


# -- what commands make of it ---------------------------------------------------------------------------------


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Nothing is drawn and no Ray is started: a resume that would train something ends there, in a line."""
    connected = cluster.connected

    def refused(*given: Any, **named: Any) -> Any:
        raise ResourcesError("no Ray is started here")

    cluster.connected = refused  # type: ignore[assignment]
    try:
        with undrawn():
            yield
    finally:
        cluster.connected = connected


def words(command: str, folder: Path) -> list[str]:
    """The command line for the run folder `run` in `folder`."""
    run = str(folder / "run")
    match command:
        case "runs":
            return ["runs", str(folder)]
        case "export":
            return ["export", run, "--out", str(folder / "E_W.safetensors")]
        case "price":
            return ["price", run, "--device", "cpu", "--blocks", "1", "--seconds", "0.1"]
    return [command, run]


def call(command: str, folder: Path) -> tuple[int | None, str, str, str]:
    """Runs a command: exit code (None for one that raised), standard output and error, and the traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with within(SECONDS, command):
                code: int | None = cli.main(words(command, folder))
                trace = ""
        except (Exception, Hang):
            code, trace = None, traceback.format_exc()
    return code, out.getvalue(), err.getvalue(), trace


def wrong(command: str, code: int | None, out: str, err: str, trace: str) -> str:
    """What is not as it should be; empty where all is."""
    if code is None:
        frames = [line.strip() for line in trace.splitlines() if line.strip().startswith("File")][-4:]
        short = " < ".join(frame.split("/")[-1].replace('", line ', ":") for frame in reversed(frames))
        return f"{trace.strip().splitlines()[-1]} | {short}"
    lines = [line for line in err.splitlines() if line]
    if code == 2 and (not lines or not all(line.startswith("gtsearch: ") for line in lines)):
        return f"exit code 2 with {err!r}"
    if code == 2 and len(lines[-1]) > 1500:
        return f"a line of {len(lines[-1])} characters: {lines[-1][:300]}"
    if code in (0, 1) and not out.strip():
        return f"nothing said: {err!r}"
    if code == 3 and "go on with: gtsearch resume" not in out:
        return f"exit code 3 without what to do: {out!r} {err!r}"
    if code not in (0, 1, 2, 3):
        return f"exit code {code}: {err!r}"
    return ""


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to))
