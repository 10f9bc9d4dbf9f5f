"""The tables of a run folder: their columns, the log they are made from, and a strict reader.

While a run goes on, `members.log` is the truth: one JSON line a finished member. The tables, the ledger and the
summary are made from it at the end; each is written beside and renamed, so that it is there whole or not at all.
Entries: `MembersLog`, `write_tables`, `load_results`. Reading never guesses: what does not fit is an error that
names the file. This module knows no torch, no ray and no experiment file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtsearch import shapes
from gtsearch.errors import BrokenOff, OtherSchemaError, ResultsError
from gtsearch.trust import refuse_links

SCHEMA = 3
"""Version of everything in a run folder; a reader refuses any other."""

SPEC, ENVIRONMENT, LOG, SUMMARY = "spec.yaml", "environment.json", "members.log", "summary.json"
STUDIES = "study.log"

STAGES = ("weak", "target")
DESIGNS = ("snapshots", "endpoints", "dose")
"""How the trade-off varies weak accuracy: along the training of one config; over architectures and weight decays, each
at its end; by noise mixed into a finished embedding."""
ROLES = ("search", "gate", "probe", "report", "tradeoff")
"""Which seeds a member belongs to: those that choose (search), decide (gate, probe) or claim (report, tradeoff)."""
PURPOSES = ("weak_search", "weak_gate", "probe", "target_search", "report", "tradeoff", "cancelled")
"""What a member's cost is booked under; the ledger adds a row `total`."""
TOTAL = "total"
STATUSES = ("cleared", "exhausted", "capped", "cancelled", "unreached", "diverged", "failed")
"""How a member ended: it reached and held its goal; it trained to max_epochs without; it was ended where going on
could not matter; the search no longer needed it; its weak accuracy level was never reached; its loss was no longer
finite; it raised an error or was lost."""

TEXT, WHOLE, REAL, FLAG = "string", "Int64", "Float64", "boolean"

# FLOPs are REAL: a GPU hour of them does not fit 63 bits, and float64 counts exactly up to 9e15.
TRIALS: dict[str, str] = {
    "run_id": TEXT,  # hash of all that makes this run this run; a cancelled run may come again under its name
    "attempt": WHOLE,  # 0, and one more each time the same run was needed again
    "stage": TEXT,  # of STAGES
    "method": TEXT,  # `weak`, or how the target started: `transfer`, `scratch`, ...
    "role": TEXT,  # of ROLES
    "purpose": TEXT,  # of PURPOSES
    "variation": TEXT,  # the variations whose answer the row counts for, comma-joined; null without `ablate`
    "task": TEXT,
    "split_seed": WHOLE,
    "architecture": TEXT,  # label such as mlp-d4-w16-L2
    "model": TEXT,
    "d_embed": WHOLE,
    "width": WHOLE,
    "depth": WHOLE,  # weight matrices of an mlp after its embedding, layers of a transformer
    "params": WHOLE,  # trainable numbers
    "config_id": TEXT,  # hash of architecture and hyperparameters
    "lr": REAL,
    "weight_decay": REAL,
    "init_scale": REAL,
    "embedding_scale": REAL,  # the factor A was multiplied by; null where nothing was transferred
    "hyperparameters": TEXT,  # JSON object of those without a column of their own
    "seed": WHOLE,
    "status": TEXT,  # of STATUSES
    "error": TEXT,  # traceback of a failed member
    "goal": REAL,  # validation accuracy to reach and hold; null: none
    "evaluate_every": WHOLE,  # epochs
    "cap_epochs": WHOLE,  # where it would have been ended early; null: nowhere
    "capped_by": TEXT,  # whose cost capped it
    "epochs": WHOLE,  # trained
    "epochs_to_goal": WHOLE,  # first evaluation of the run of `hold`
    "epochs_to_goal_first": WHOLE,  # first single crossing
    "stayed": FLAG,  # report members: kept the goal up to twice the goal epoch
    "train_seconds": REAL,  # training alone
    "eval_seconds": REAL,
    "seconds_to_goal": REAL,
    "train_flops": REAL,
    "flops_to_goal": REAL,
    "best_val_accuracy": REAL,
    "final_val_accuracy": REAL,
    "test_accuracy": REAL,  # at the goal, else at the end; null where it was not measured
    "epoch_train_95": WHOLE,  # first evaluation with 95 % training accuracy
    "epoch_val_95": WHOLE,  # the same for validation; the difference is the time gap of grokking
    "design": TEXT,  # trade-off: of DESIGNS; null elsewhere, and where a row serves all of them
    "level": REAL,  # trade-off, snapshots: the weak accuracy asked for
    "refined": FLAG,  # trade-off, snapshots: the level was asked for to find the jump; null where no level was
    "dose": REAL,  # trade-off, dose: the share of noise in the embedding, in [0, 1]
    "weak_run_id": TEXT,  # whose embedding was transferred
    "weak_epoch": WHOLE,  # when it was taken
    "weak_accuracy": REAL,  # what it was measured to have there
    "weak_flops": REAL,  # what it had cost by then
    "weak_seconds": REAL,
    "embedding_norm": REAL,  # Frobenius
    "embedding_effective_rank": REAL,
    "device": TEXT,
    "host": TEXT,
    "threads": WHOLE,
    "cohort_size": WHOLE,  # members trained in the same tensor program
    "dtype": TEXT,
    "elapsed_seconds": REAL,  # wall seconds of the run when this member came in, resumes added up
}
"""One row a member, in the order of members.log. Never reached is null, never 0 and never the budget."""

CURVES: dict[str, str] = {
    "run_id": TEXT,
    "epoch": WHOLE,
    "train_seconds": REAL,
    "train_flops": REAL,
    "train_loss": REAL,  # mean over the training examples; null where it was not finite
    "train_accuracy": REAL,
    "val_loss": REAL,
    "val_accuracy": REAL,
    "test_accuracy": REAL,  # of report members, while the goal is being held or at the end; else null
}
"""One row an evaluation of a member."""

PROBES: dict[str, str] = {
    "run_id": TEXT,
    "epoch": WHOLE,
    "probe": TEXT,  # name of the number
    "value": REAL,  # null where it was not finite
}
"""One row a number that a probe read at an evaluation; report members only."""

SCORES: dict[str, str] = {
    "run_id": TEXT,  # of the weak member
    "epoch": WHOLE,  # when its embedding was kept
    "level": REAL,  # as the embedding was kept; null where for no level
    "dose": REAL,  # the share of noise mixed into it; null: none
    "score": TEXT,  # of the catalog's SCORES
    "value": REAL,  # null where it is not defined
}
"""One row a score of a kept embedding: what can be said of it without training a target."""

LEDGER: dict[str, str] = {
    "purpose": TEXT,  # of PURPOSES, or `total`
    "method": TEXT,  # null on `total`
    "members": WHOLE,
    "epochs": WHOLE,
    "train_flops": REAL,
    "train_seconds": REAL,
    "eval_seconds": REAL,
    "wall_seconds": REAL,  # on `total` alone
}
"""What everything cost: one row a purpose and method, and `total`."""

PRICING: dict[str, str] = {
    "device": TEXT,  # its name
    "host": TEXT,
    "threads": WHOLE,
    "stage": TEXT,  # of STAGES
    "architecture": TEXT,
    "method": TEXT,  # `weak`, or how the target starts
    "ms_per_epoch": REAL,  # median over blocks, of training alone
    "ms_low": REAL,  # its 95 % interval
    "ms_high": REAL,
    "blocks": WHOLE,  # timed, each by itself
    "epochs_per_block": WHOLE,
    "priced_at": TEXT,  # date and time
}
"""What an epoch takes on a device when nothing else runs beside it: one row a device, architecture and method."""

TABLES: dict[str, dict[str, str]] = {
    "trials": TRIALS,
    "curves": CURVES,
    "probes": PROBES,
    "scores": SCORES,
    "ledger": LEDGER,
    "pricing": PRICING,
}

KINDS = {"stage": STAGES, "role": ROLES, "purpose": PURPOSES, "status": STATUSES}
"""The columns of TRIALS that hold one of a few words."""

_SHAPES: dict[str, Any] = {SUMMARY: shapes.SUMMARY, ENVIRONMENT: shapes.ENVIRONMENT}

_FILLED = {
    "trials": ("run_id", "stage", "method", "role", "purpose", "status"),
    "curves": (),
    "probes": (),
    "scores": (),
    "ledger": ("purpose", "members"),
    "pricing": ("device", "stage", "architecture", "method", "ms_per_epoch"),
}
"""The columns of TABLES in which nothing is null."""

_ARROW = {TEXT: pa.string(), WHOLE: pa.int64(), REAL: pa.float64(), FLAG: pa.bool_()}
_PANDAS = {_ARROW[TEXT]: pd.StringDtype(), _ARROW[WHOLE]: pd.Int64Dtype(), _ARROW[REAL]: pd.Float64Dtype()} | {
    _ARROW[FLAG]: pd.BooleanDtype()
}
_OWN_COLUMN = ("lr", "weight_decay", "init_scale", "embedding_scale")

# Members whose curves are in memory at once while the tables are written.
BATCH = 500

PARTIAL = ".partial"
"""How the name of a file ends that is not whole yet; before it stands the process that writes it."""

# What a file system without locks answers: then nothing holds two runs apart but the user.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

Row = Mapping[str, Any]


# -- the log ------------------------------------------------------------------------------------------------


class MembersLog:
    """`members.log`, open for appending by one process. Closes itself as a context manager.

    Opening makes the file where there is none, and cuts off a torn last line, as a crash may leave it (`torn` of them:
    0 or 1).

    Raises:
        ResultsError: another process has it open; the file cannot be written; a line in its middle is bad.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Unbuffered: what could not be written must not be tried again when the file is closed.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror}") from None
        try:
            self._lock()
            self.torn = self._cut_off()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResultsError(f"{self.path} is being written by another process; wait for it or end it") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _cut_off(self) -> int:
        length, whole = self.path.stat().st_size, max((end for _, end in _whole_lines(self.path)), default=0)
        self._file.truncate(whole)
        return int(whole < length)

    def append(self, row: Row) -> None:
        """Writes one member; when this returns it is on the disk. A number that is not finite is written as null.

        Raises:
            BrokenOff: it cannot be written; the log is as it was before.
        """
        try:
            text = json.dumps(row, allow_nan=False, separators=(",", ":"))
        except ValueError:
            text = json.dumps(_finite(row), allow_nan=False, separators=(",", ":"))
        end = self.size
        try:
            _write_all(self._file.fileno(), text.encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # then the line is torn, and left out by whoever reads it
                os.ftruncate(self._file.fileno(), end)
            raise BrokenOff(f"cannot write {self.path}: {error.strerror}") from None

    @property
    def size(self) -> int:
        """Bytes of finished members."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> MembersLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_all(descriptor: int, data: bytes) -> None:
    """A full disk may take a part of it, and says why only when asked to take the rest."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The members of a log in order, and how many torn last lines (0 or 1) were left out.

    Raises:
        ResultsError: the file is missing, or a line before the last is not a member.
    """
    whole = list(_whole_lines(path))
    end = whole[-1][1] if whole else 0
    return [row for row, _ in whole], int(end < path.stat().st_size)


def members(path: Path) -> Iterator[dict[str, Any]]:
    """The members of a log in order, one at a time: those of a long run do not fit in memory with their curves.

    Raises:
        ResultsError: the file is missing, or a line before the last is not a member that a search can take in.
    """
    for number, (row, _) in enumerate(_whole_lines(path), start=1):
        if wrong := unfit(row):
            raise ResultsError(f"{path}, line {number}: damaged ({wrong}); restore the file from a copy")
        yield row


def read_whole_lines(path: Path) -> tuple[list[dict[str, Any]], list[int], bool]:
    """The members of a log that may be damaged: those of its lines that are whole, in order.

    Returns:
        Rows, the numbers (from 1) of the lines that are no member, and whether the last line is torn.

    Raises:
        ResultsError: the file is missing.
    """
    *lines, unfinished = _read(path).split(b"\n")
    rows, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_member(line))
        except ValueError:
            damaged.append(number)
    torn = bool(unfinished)
    if not torn and damaged and damaged[-1] == len(lines):
        torn = bool(damaged.pop())
    return rows, damaged, torn


def is_being_written(path: Path) -> bool:
    """Whether a process has the log at `path` open for appending."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return False


def _whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The members of a log, each with where its line ends, in bytes; a torn last line is left out."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from None
    with file:
        end = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = _member(line)
            except ValueError as error:
                # A power cut may leave the last line's newline on the disk and not all that stood before it.
                if not file.read(1):
                    return
                raise ResultsError(f"{path}, line {number}: damaged ({error}); restore the file from a copy") from None
            end += len(line)
            yield row, end


def unfit(row: Row) -> str | None:
    """Why a row of a log is no member that a search can take in, whatever wrote it; None where it is one."""
    if wrong := shapes.misfit(row, shapes.MEMBER):
        return wrong
    for key, kinds in KINDS.items():
        if row[key] not in kinds:
            return f"`{key}` must be one of {', '.join(kinds)}"
    reached = row["epochs_to_goal"], row["flops_to_goal"], row["seconds_to_goal"]
    if row["status"] == "cleared" and row["role"] != "tradeoff" and None in reached:
        return "it cleared, and when it did is missing"
    return None


def _member(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not (isinstance(row, dict) and isinstance(row.get("run_id"), str)):
        raise ValueError("not a member: it has no run_id")
    return row


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- rows to tables -----------------------------------------------------------------------------------------


def trials_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a member, columns and dtypes as in TRIALS; what a row does not hold is null.

    A row's `hyperparameters` are a mapping by name; those with a column of their own go there.

    Raises:
        ResultsError: a value does not fit its column.
    """
    return _frame("trials", _column_by_column([_flat(row) for row in rows], TRIALS))


def curves_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One row an evaluation, columns and dtypes as in CURVES, from the members' `curve` lists.

    Raises:
        ResultsError: a value does not fit its column.
    """
    points = [point for row in rows for point in row.get("curve") or ()]
    columns = _column_by_column(points, CURVES)
    columns["run_id"] = [row["run_id"] for row in rows for _ in row.get("curve") or ()]
    return _frame("curves", columns)


def probes_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a number, columns and dtypes as in PROBES, from the members' `probed` lists.

    Raises:
        ResultsError: a value does not fit its column.
    """
    numbers = [
        {"run_id": row["run_id"], "epoch": point["epoch"], "probe": name, "value": value}
        for row in rows
        for point in row.get("probed") or ()
        for name, value in point.items()
        if name != "epoch"
    ]
    return _frame("probes", _column_by_column(numbers, PROBES))


def scores_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a score, columns and dtypes as in SCORES, from what the members' `embeddings` say.

    Raises:
        ResultsError: a value does not fit its column.
    """
    numbers = [
        {name: kept.get(name) for name in ("epoch", "level", "dose")}
        | {"run_id": row["run_id"], "score": score, "value": value}
        for row in rows
        for kept in row.get("embeddings") or ()
        for score, value in (kept.get("scores") or {}).items()
    ]
    return _frame("scores", _column_by_column(numbers, SCORES))


FRAMES: dict[str, Callable[[Sequence[Row]], pd.DataFrame]] = {
    "trials": trials_frame,
    "curves": curves_frame,
    "probes": probes_frame,
    "scores": scores_frame,
}
"""The tables that members.log holds, and how each is made of its members."""


def pricing_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """What an epoch takes, columns and dtypes as in PRICING.

    Raises:
        ResultsError: a value does not fit its column.
    """
    return _frame("pricing", _column_by_column(rows, PRICING))


def ledger_frame(trials: pd.DataFrame, wall_seconds: float) -> pd.DataFrame:
    """What a run spent, columns and dtypes as in LEDGER.

    Args:
        trials: as `trials_frame` gives it; nothing spent (null) counts 0.
        wall_seconds: of the whole run, resumes added up.
    """
    spent = ["epochs", "train_flops", "train_seconds", "eval_seconds"]
    order = {purpose: rank for rank, purpose in enumerate(PURPOSES)}
    trials = trials[trials["status"] != "unreached"]  # nothing ran
    trials = trials[["purpose", "method"]].join(trials[spent].astype("float64").fillna(0.0))
    groups = trials.groupby(["purpose", "method"], dropna=False, observed=True)
    # Exact sums: those of plain floats depend on the order, which is that in which workers ended.
    ledger = groups[spent].agg(math.fsum).join(groups.size().rename("members")).reset_index()
    ledger = ledger.sort_values(
        ["purpose", "method"], key=lambda column: column.map(order) if column.name == "purpose" else column
    )
    whole = {"purpose": TOTAL, "members": len(trials), "wall_seconds": wall_seconds}
    total = pd.DataFrame([whole | trials[spent].agg(math.fsum).to_dict()])
    return pd.concat([ledger, total], ignore_index=True).reindex(columns=list(LEDGER)).astype(LEDGER)


def write_tables(folder: Path, rows: Iterable[Row], wall_seconds: float) -> pd.DataFrame:
    """Writes trials, curves, probes, scores and ledger (parquet) of these members, each whole or not at all.

    The rows are taken in some at a time, so that a long run's curves need not be in memory at once.

    Returns:
        The trials, as `trials_frame` gives them.

    Raises:
        ResultsError: a value does not fit its column.
    """
    with ExitStack() as stack:
        writers = {name: stack.enter_context(_writer(folder, name)) for name in FRAMES}
        rest = iter(rows)
        while batch := list(itertools.islice(rest, BATCH)):
            for name, frame_of in FRAMES.items():
                writers[name].write_table(_arrow(name, frame_of(batch)))
    trials = read_table(folder, "trials")
    write_table(folder, "ledger", ledger_frame(trials, wall_seconds))
    return trials


@contextmanager
def _writer(folder: Path, name: str) -> Iterator[pq.ParquetWriter]:
    """Writes one of TABLES in pieces; the file is there once the last one is written."""
    with (
        beside(folder / f"{name}.parquet") as partial,
        pq.ParquetWriter(partial, _schema(name), compression="zstd") as writer,
    ):
        yield writer


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Writes one of TABLES, columns and dtypes as there, as parquet into `folder`, whole or not at all."""
    with _writer(folder, name) as writer:
        writer.write_table(_arrow(name, frame))


def _flat(row: Row) -> dict[str, Any]:
    hyperparameters = dict(row.get("hyperparameters") or {})
    own = {name: hyperparameters.pop(name) for name in _OWN_COLUMN if name in hyperparameters}
    return {**row, **own, "hyperparameters": json.dumps(hyperparameters, sort_keys=True)}


def _column_by_column(rows: Sequence[Row], columns: Iterable[str]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in columns}


def _frame(table: str, columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    arrays = []
    for name, dtype in TABLES[table].items():
        try:
            arrays.append(_array(columns[name], dtype))
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise ResultsError(f"column {name} of {table} holds {dtype}, and a value does not fit: {error}") from None
    return _to_pandas(pa.Table.from_arrays(arrays, schema=_schema(table)))


def _array(values: list[Any], dtype: str) -> pa.Array:
    """Arrow is strict about types, but for what is done here by hand."""
    if dtype == REAL:
        # A whole number beyond 2**53 loses digits here, knowingly. What is not finite is null, as in the log.
        array = pa.array([float(v) if type(v) is int else v for v in values], _ARROW[REAL])
        return pc.if_else(pc.is_finite(array), array, pa.scalar(None, _ARROW[REAL]))
    if dtype == TEXT:
        # The text of an error may hold bytes that are not UTF-8; parquet takes nothing else.
        values = [v.encode("utf-8", "replace").decode() if type(v) is str else v for v in values]
    if dtype == WHOLE and (broken := [v for v in values if type(v) is float and not v.is_integer()]):
        raise ValueError(f"{broken[0]} is not a whole number")
    return pa.array(values, _ARROW[dtype])


def _arrow(table: str, frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, schema=_schema(table), preserve_index=False)


def _schema(table: str) -> pa.Schema:
    return pa.schema([(name, _ARROW[dtype]) for name, dtype in TABLES[table].items()])


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get, ignore_metadata=True)
    return frame


# -- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """A run: its tables (columns as in TABLES), summary, environment and experiment.

    `notes`: what is missing or was put together again, a line each; empty for a finished run that is whole.

    Examples:
        >>> results = gtsearch.load_results("runs/modadd")
        >>> sorted(results.ledger["purpose"].unique())[-1]  # where every FLOP and second went
        'weak_search'
    """

    folder: Path
    trials: pd.DataFrame
    curves: pd.DataFrame
    probes: pd.DataFrame
    scores: pd.DataFrame
    ledger: pd.DataFrame
    pricing: pd.DataFrame
    summary: dict[str, Any]
    environment: dict[str, Any]
    spec_text: str
    notes: tuple[str, ...] = ()


def load_results(folder: str | Path) -> Results:
    """Reads the run folder of a finished run.

    Raises:
        ResultsError: not a run folder; the run is not finished; a file is missing, damaged or of another schema.
    """
    folder = Path(folder)
    refuse_links(folder)
    if not (folder / SPEC).is_file():
        raise ResultsError(f"{folder} is not a run folder: it has no {SPEC}; `gtsearch runs` lists those here")
    if not (folder / SUMMARY).exists():
        raise ResultsError(f"the run in {folder} is not finished: `gtsearch resume {folder}` goes on with it")
    environment, spec_text = read_json(folder / ENVIRONMENT), read_text(folder / SPEC)
    if is_another_spec(spec_text, environment):
        raise ResultsError(f"{folder / SPEC} was cut off or edited since the run; restore it from a copy")
    read = Results(
        folder=folder,
        trials=table_of_run(folder, "trials"),
        curves=table_of_run(folder, "curves"),
        probes=table_of_run(folder, "probes"),
        scores=table_of_run(folder, "scores"),
        ledger=table_of_run(folder, "ledger"),
        pricing=read_pricing(folder),
        summary=read_json(folder / SUMMARY),
        environment=environment,
        spec_text=spec_text,
    )
    for name in ("curves", "probes", "scores"):
        refuse_strangers(folder, name, getattr(read, name), read.trials)
    return read


def refuse_strangers(folder: Path, name: str, frame: pd.DataFrame, trials: pd.DataFrame) -> None:
    """Holds one of TABLES against the trials it stands beside.

    Raises:
        ResultsError: it has rows of members that are not among the trials.
    """
    if strange := set(frame["run_id"].dropna().unique()) - set(trials["run_id"]):
        raise ResultsError(
            f"{folder / f'{name}.parquet'} is of another run: the trials know nothing of its member {min(strange)}"
        )


def spec_digest(text: str) -> str:
    """What environment.json keeps of spec.yaml (`spec_sha256`), so that a file that was cut off is told from it."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_another_spec(text: str, environment: Mapping[str, Any]) -> bool:
    """Whether spec.yaml is no longer what the run was started or resumed with; False where that was not kept."""
    return environment.get("spec_sha256") not in (None, spec_digest(text))


def read_pricing(folder: Path) -> pd.DataFrame:
    """What was priced of the run in `folder`, columns and dtypes as in PRICING; no rows where nothing was.

    Raises:
        ResultsError: the file is damaged or of another schema.
    """
    there = (folder / "pricing.parquet").exists()
    return table_of_run(folder, "pricing") if there else pricing_frame([])


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One of TABLES from `folder`, columns and dtypes as there.

    Raises:
        ResultsError: the file is missing, damaged or of another schema.
    """
    path = folder / f"{name}.parquet"
    try:
        table = pq.ParquetFile(pa.BufferReader(_read(path))).read()
    except (pa.ArrowException, OSError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    expected = _schema(name)
    for field in expected:
        if field.name not in table.column_names:
            raise ResultsError(f"{path} is of another schema: it has no column {field.name}")
    if not table.schema.equals(expected):
        odd = [f.name for f in table.schema if f.name not in expected.names or f.type != expected.field(f.name).type]
        raise ResultsError(
            f"{path} is of another schema: "
            + (f"unexpected {', '.join(odd)}" if odd else "its columns are in another order")
        )
    return _to_pandas(table)


def table_of_run(folder: Path, name: str) -> pd.DataFrame:
    """As `read_table`, of what a run wrote: what must be there is, and words are those of their columns.

    Raises:
        ResultsError: the file is missing, damaged or of another schema.
    """
    frame = read_table(folder, name)
    if wrong := _unlike(name, frame):
        raise ResultsError(f"{folder / f'{name}.parquet'} is damaged: {wrong}")
    return frame


def _unlike(name: str, frame: pd.DataFrame) -> str | None:
    """What no run writes into one of TABLES; None where there is nothing of the kind."""
    for column in _FILLED[name]:
        if frame[column].isna().any():
            return f"its column {column} has no value in a row"
    for column, kinds in KINDS.items() if name == "trials" else ():
        if not frame[column].isin(kinds).all():
            return f"its column {column} holds something else than {', '.join(kinds)}"
    # What was cancelled may have run again under its name.
    once = frame.loc[frame["status"] != "cancelled", "run_id"] if name == "trials" else pd.Series(dtype=object)
    if once.duplicated().any():
        return f"the member {once[once.duplicated()].iloc[0]} is in it twice"
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object written by `write_json`, with `schema` as it should be; summary.json and environment.json with
    all that is relied on (`gtsearch.shapes`).

    Raises:
        ResultsError: the file is missing, damaged or of another schema.
    """
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path} is damaged: {error}") from None
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise OtherSchemaError(f"{path} is of schema {found}; this gtsearch reads schema {SCHEMA}")
    if wrong := shapes.misfit(value, _SHAPES.get(path.name)):
        raise ResultsError(f"{path} is damaged: {wrong}")
    return dict(value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """A text file of a run folder.

    Raises:
        ResultsError: the file is missing, or not UTF-8.
    """
    try:
        return _read(path).decode()
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path} is damaged: {error}") from None


# -- writing whole or not at all ----------------------------------------------------------------------------


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `value` with the schema number as JSON text for people and programs; NaN is refused."""
    write_text(path, json.dumps({"schema": SCHEMA, **value}, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to; what is written there takes the name of `path` once it is whole and on the disk.

    Raises:
        ResultsError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
