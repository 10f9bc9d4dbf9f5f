"""What an epoch takes on a device when nothing else runs beside it: `gtsearch price RUN`.

Seconds of a run are those of its workers side by side, on the machine it had. Prices are measured apart from it: one
process, one thread on a CPU, every (stage, architecture, method) that the run's claims rest on, in blocks that take
turns in a random order, so that whatever the machine does meanwhile happens to all alike. A block is the first epochs
of a real member: its job, hyperparameters, embedding file and training loop (`gtsearch.trainables`), evaluations apart.
Nothing is trained to an end. Epochs to the goal times such a price are claimed seconds (`analysis/devices.py`), on a
device that the run itself never saw. Needs no Ray and no Optuna. Entry: `price`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from scipy import stats

from gtsearch import embedding as artefact
from gtsearch.analysis.members import base_only, of_report
from gtsearch.catalog import METHODS
from gtsearch.errors import ResourcesError, ResultsError
from gtsearch.methods.base import Method
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Sizes, initialise
from gtsearch.results import SPEC, Results, pricing_frame, read_pricing, write_table
from gtsearch.salvage import whole
from gtsearch.search.board import Architecture, Embedding, Member, Training
from gtsearch.spec import Spec, load_spec
from gtsearch.tasks.base import Task
from gtsearch.trainables import NAMED, trainable_for, without_origin

BLOCKS, SECONDS = 15, 60.0
CONFIDENCE = 0.95
_FEW_EPOCHS = 3  # a block has at least
BUSY = 1.5
"""A load average from which on something else is taken to run: this process is not yet in it when it is read."""
WIDE = 0.1
"""The share of the median that half of the blocks may spread over on a quiet machine."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Lane:
    """One thing that is timed.

    Attributes:
        block: trains so many epochs from the start; milliseconds an epoch of training.
        most: epochs a block may have.
        share: of the epochs of what it is the price of, in (0, 1].
    """

    block: Callable[[int], float]
    most: int
    share: float = 1.0


@dataclass(frozen=True)
class Timing:
    """The blocks of one lane: milliseconds an epoch of each, in the order they ran, and epochs of each."""

    ms: list[float]
    epochs: int


@dataclass(frozen=True)
class Priced:
    """What was measured: the rows written (columns as in results.PRICING), and lines for a person."""

    frame: pd.DataFrame
    lines: list[str]


def price(
    folder: Path, device: str | None = None, blocks: int = BLOCKS, seconds: float = SECONDS, seed: int = 0
) -> Priced:
    """Measures what an epoch takes here of all that a finished run's claims rest on, into its pricing.parquet.

    Rows of the same device and host are replaced; those of others stay. Of an experiment with variations the unvaried
    one is priced.

    Args:
        folder: the run folder. Where its embedding files are missing, untrained ones of their shape stand for them.
        device: `cpu` or `cuda`; default: `cuda` where there is one.
        blocks: timed of each architecture and method; the median has an interval from 6 on.
        seconds: what all of it may take, about; a block is never longer than the member it stands for.
        seed: of the order of the blocks.

    Raises:
        ResultsError: not a finished run's folder, a damaged one, or one that cannot be written.
        ResourcesError: there is no such device.
        SpecError, EmbeddingError: what the run was made of does not fit any more.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourcesError("--device cuda: torch sees no CUDA device here; say --device cpu")
    results = whole(folder)
    spec = load_spec(folder / SPEC)
    subjects = rest_on(results)
    if not subjects:
        raise ResultsError(f"the run in {folder} claims nothing: it has no member on report seeds to price")
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gtsearch-price-") as scratch:
        made = _Made(spec, results, Path(scratch), device)
        lanes = [made.lanes(subject) for subject in subjects]
        timings = iter(take_turns([lane for own in lanes for lane in own], blocks, seconds, seed))
        timed = [[next(timings) for _ in own] for own in lanes]
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    frame = pricing_frame(
        [
            made.where
            | {name: subject[name] for name in ("stage", "architecture", "method")}
            | {"blocks": blocks, "epochs_per_block": own_timed[0].epochs, "priced_at": now}
            | ms_per_epoch(own, own_timed)
            for subject, own, own_timed in zip(subjects, lanes, timed, strict=True)
        ]
    )
    _write(folder, frame)
    remarks = _remarks([timing for own in timed for timing in own], load, made.untrained)
    return Priced(frame, [*_shown(frame), *remarks, f"its seconds stand in the report: gtsearch report {folder}"])


# -- what is priced -----------------------------------------------------------------------------------------


def rest_on(results: Results) -> list[Json]:
    """The members a run's claims rest on, one of each stage, architecture and method: rows by column name.

    Those are the report's and the trade-off's targets and weak models, and whatever handed them an embedding. Which
    one stands for its kind does not matter to what an epoch takes; it is the first of the report.
    """
    trials = base_only(results).trials
    ran = trials[(trials["epochs"].fillna(0) > 0) & ~trials["status"].isin(["cancelled", "failed"])]
    claimed = of_report(ran, results.summary["methods"]).drop(columns="seeds")
    weak = results.summary["weak"] or {}
    winners = [weak[verdict]["run_id"] for verdict in ("pays", "clears") if weak.get(verdict)]
    found = [claimed, ran[ran["run_id"].isin(winners)], ran[ran["role"] == "tradeoff"]]
    below = pd.concat(found)
    while len(below := ran[ran["run_id"].isin(below["weak_run_id"].dropna())]):
        found.append(below)
    kinds = pd.concat(found).drop_duplicates(["stage", "architecture", "method"])
    rows = [{str(name): None if pd.isna(v) else v for name, v in row.items()} for row in kinds.to_dict("records")]
    return sorted(rows, key=lambda row: (row["stage"] == "target", _place(row["method"]), row["params"] or 0))


def _place(method: str) -> int:
    """Weak models, links of a chain, then methods in the catalog's order."""
    return [*METHODS].index(method) if method in METHODS else -1


class _Made:
    """Makes jobs of members again, and blocks of jobs.

    Attributes:
        where: device, host and threads as members' rows name them; known once a block was trained.
        untrained: whether an embedding file was missing.
    """

    def __init__(self, spec: Spec, results: Results, scratch: Path, device: str) -> None:
        self.spec, self.folder, self.scratch, self.device = spec, results.folder, scratch, device
        trials = results.trials
        self.trials = trials[trials["status"] != "cancelled"].drop_duplicates("run_id").set_index("run_id")
        links = spec.growth.chain if spec.growth else ()
        weak = spec.weak.model.architectures if spec.weak else ()
        self.sizes: dict[str, Sizes] = {one.label: one for one in (*weak, *(link.model for link in links))}
        self.where: Json = {}
        self.untrained = False
        for task in dict.fromkeys((spec.weak_task, spec.task)):
            task.prepare()

    def lanes(self, row: Json) -> list[Lane]:
        """What has to be timed for one kind of member: itself, and where A B becomes one table on the way, the model
        it then is."""
        method, most = self._method(row), int(row["epochs"])
        merges_at = method.merges_at if method else None
        if merges_at is None or merges_at >= most:
            return [Lane(self._block(row, method), most)]
        share = merges_at / most
        before = Lane(self._block(row, method), max(1, merges_at - 1), share)
        return [before, Lane(self._block(row, None), most - merges_at, 1.0 - share)]

    def _method(self, row: Json) -> Method | None:
        """What the member starts by; None for a plain one."""
        if row["method"] == "weak":
            return None
        return Transfer(name="transfer") if row["method"] == "growth" else self.spec.target.method(row["method"])

    def _block(self, row: Json, method: Method | None) -> Callable[[int], float]:
        embedding = self._embedding(row) if method is not None and method.needs_embedding else None
        sizes = self._sizes(row)
        sizes = sizes if method is None else method.sizes(sizes, self._task(row))

        def block(epochs: int) -> float:
            curve = self._train(self._job(row, method, sizes, embedding, epochs))["curve"]
            # Both evaluations come after the forward pass of the update that follows: between them are whole epochs.
            seconds = float(curve[-1]["train_seconds"]) - float(curve[0]["train_seconds"])
            return 1000.0 * seconds / (int(curve[-1]["epoch"]) - int(curve[0]["epoch"]))

        return block

    def _train(self, job: Json) -> Json:
        """The row of the job's one member, trained by the very code that trained the run's."""
        trainable = trainable_for(job)
        source = job["members"][0]["embedding"]
        is_ours = source is not None and not (self.folder / source["path"]).is_file()
        trainable.setup(job, self.scratch if is_ours else self.folder, self.device, threads=1)
        rows: list[Json] = []
        while not rows:
            report = trainable.step(math.inf)
            rows = report["finished"]
            if "broken" in report:
                raise ResultsError(report["broken"])
        if rows[0]["status"] == "failed":
            reason = without_origin(rows[0]["error"])
            raise ResultsError(f"{rows[0]['method']} of {rows[0]['architecture']} cannot be trained here: {reason}")
        self.where = {name: rows[0][name] for name in ("device", "host", "threads")}
        return rows[0]

    def _task(self, row: Json) -> Task:
        return self.spec.weak_task if row["method"] == "weak" else self.spec.task

    def _sizes(self, row: Json) -> Sizes:
        if row["stage"] == "target":
            return self.spec.target.model
        if row["architecture"] not in self.sizes:
            raise ResultsError(
                f"{self.folder}: trials.parquet has a weak model {row['architecture']} that {SPEC} does not have; "
                "restore the files of one run"
            )
        return self.sizes[row["architecture"]]

    def _job(
        self, row: Json, method: Method | None, sizes: Sizes, embedding: Embedding | None, epochs: int
    ) -> dict[str, Any]:
        """The member's job as its search asked for it (`gtsearch.search.policy.Job.to_json`), but without a goal and
        for `epochs` epochs, with an evaluation at either end."""
        is_weak = row["method"] == "weak"
        stage = self.spec.weak if is_weak and self.spec.weak else self.spec.target
        training = Training(
            optimizer=stage.optimizer,
            loss=self.spec.weak_loss if is_weak else self.spec.target_loss,
            goal=None,
            hold=1,
            evaluate_every=epochs,
            max_epochs=epochs,
            method=method.model_dump(mode="json") if method else None,
        )
        own = {name: row[name] for name in NAMED if row[name] is not None}
        member = Member(
            task=self._task(row).identity(),
            stage=row["stage"],
            method=row["method"],
            role=row["role"],
            purpose=row["purpose"],
            architecture=Architecture(sizes, params=0, flops_per_epoch=0),  # FLOPs are not asked for
            training=training,
            hyperparameters=json.loads(row["hyperparameters"] or "{}") | own,
            seed=int(row["seed"]),
            split_seed=int(row["split_seed"]),
            embedding=embedding,
        )
        shared = {name: value for name, value in training.identity.items() if name != "max_epochs"}
        return shared | {
            "id": member.run_id,
            "stage": member.stage,
            "variation": None,
            "task": dict(member.task),
            "model": sizes.model_dump(),
            "architecture": row["architecture"],
            "params": 0,
            "flops_per_epoch": 0,
            "merged_flops_per_epoch": None,
            "members": [member.to_json()],
        }

    def _embedding(self, row: Json) -> Embedding:
        """The file the member started from; where it is not in the folder, an untrained one of the same shape."""
        name, epoch = row["weak_run_id"], row["weak_epoch"]
        if name is None or name not in self.trials.index:
            raise ResultsError(f"{self.folder}: {row['method']} started from {name}, which is not in trials.parquet")
        source: Json = self.trials.loc[[name]].to_dict("records")[0]  # type: ignore[assignment]
        place = f"embeddings/{name}-e{epoch}.safetensors"
        path = artefact.within(self.folder, place)
        if not path.is_file():
            self.untrained = True
            path = self.scratch / place  # a trainable takes this folder for the run's then
            self._write_untrained(path, source)
        sha256 = hashlib.sha256(artefact.content(path)).hexdigest()
        return Embedding(place, sha256, name, int(source["d_embed"]), int(epoch), 0.0, 0, 0.0)

    def _write_untrained(self, path: Path, source: Json) -> None:
        """An embedding, and the layers beside it, of the model `source` is a row of, as that model starts."""
        task = self._task(source)
        module = self._sizes(source).module(task)
        initialise(module, torch.Generator().manual_seed(0), 1.0)
        layers = {n: p.detach() for n, p in module.named_parameters() if not n.startswith("embedding.")}
        artefact.write(path, module.embedding.matrix(), {"run_id": source["method"], "epoch": 0}, layers)


# -- timing -------------------------------------------------------------------------------------------------


def take_turns(
    lanes: Sequence[Lane],
    blocks: int,
    seconds: float,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Times `blocks` blocks of each lane, one of each in every round, in an order drawn anew for each round.

    Two blocks of each lane come before and are discarded: a short one, which pays for whatever happens once, and one
    of the length that is then timed. That length is chosen so that all of it takes about `seconds` of `clock`.

    Args:
        seed: of the order.
        clock: seconds since any moment.
    """
    each = seconds / max(1, len(lanes) * (blocks + 1))
    epochs = []
    for lane in lanes:
        lane.block(1)
        began = clock()
        ms = lane.block(min(_FEW_EPOCHS, lane.most))
        around = clock() - began - ms * min(_FEW_EPOCHS, lane.most) / 1000.0  # making the model, evaluating it
        fitting = 1000.0 * (each - around) / ms if ms > 0 else math.inf
        epochs.append(int(min(lane.most, max(_FEW_EPOCHS, fitting))))
        lane.block(epochs[-1])
    order, times = random.Random(seed), [list[float]() for _ in lanes]
    for _ in range(blocks):
        for i in order.sample(range(len(lanes)), len(lanes)):
            times[i].append(lanes[i].block(epochs[i]))
    return [Timing(own, n) for own, n in zip(times, epochs, strict=True)]


def ms_per_epoch(lanes: Sequence[Lane], timings: Sequence[Timing]) -> dict[str, float | None]:
    """The median over blocks and its interval, as columns of results.PRICING; over several lanes by their shares."""
    bounds = [_interval(timing.ms) for timing in timings]
    known = all(low is not None for low, _ in bounds)

    def whole(values: Sequence[float | None]) -> float:
        return sum(lane.share * (value or 0.0) for lane, value in zip(lanes, values, strict=True))

    return {
        "ms_per_epoch": whole([statistics.median(timing.ms) for timing in timings]),
        "ms_low": whole([low for low, _ in bounds]) if known else None,
        "ms_high": whole([high for _, high in bounds]) if known else None,
    }


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The distribution-free 95 % interval of the median, between two of `values`; None for fewer than 6."""
    interval = stats.quantile_test(values, p=0.5).confidence_interval(CONFIDENCE)
    low, high = float(interval.low), float(interval.high)
    return (None, None) if math.isnan(low) or math.isnan(high) else (low, high)


# -- what is written and shown ------------------------------------------------------------------------------


def _write(folder: Path, frame: pd.DataFrame) -> None:
    """Puts the rows in the place of those of the same device and host."""
    before = read_pricing(folder)
    here = before["device"].isin(frame["device"]) & before["host"].isin(frame["host"])
    try:
        write_table(folder, "pricing", pd.concat([before[~here], frame], ignore_index=True))
    except OSError as error:
        raise ResultsError(f"cannot write {folder / 'pricing.parquet'}: {error.strerror}") from None


def _shown(frame: pd.DataFrame) -> list[str]:
    """The prices as a short table."""
    first = frame.iloc[0]
    rows: list[tuple[str, ...]] = [("stage", "architecture", "method", "ms an epoch", "95 %", "blocks")]
    for row in frame.to_dict("records"):
        known = not pd.isna(row["ms_low"])
        interval = f"{row['ms_low']:.4g} to {row['ms_high']:.4g}" if known else "unknown"
        blocks = f"{row['blocks']} of {row['epochs_per_block']} epochs"
        kind = (row["stage"], row["architecture"], row["method"])
        rows.append((*map(str, kind), f"{row['ms_per_epoch']:.4g}", interval, blocks))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [f"priced on {first['device']}, host {first['host']}, one member at a time", *lines]


def _remarks(timings: Sequence[Timing], load: float, untrained: bool) -> list[str]:
    """What a reader must know of how it was measured: a line each."""
    remarks = []
    spread = max(float(np.subtract(*np.percentile(t.ms, [75, 25])) / statistics.median(t.ms)) for t in timings)
    reasons = [f"a load average of {load:.1f} before it began"] if load > BUSY else []
    if spread > WIDE:
        reasons.append(f"half of the blocks of one method spread over {100 * spread:.0f} % of their median")
    if reasons:
        remarks.append(f"warning: the machine is not quiet ({', '.join(reasons)}); price again when nothing else runs")
    if untrained:
        remarks.append("embedding files of the run are not here: untrained ones of their shape were timed")
    return remarks
