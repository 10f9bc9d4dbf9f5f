"""The trainables of the weak and the target stage: a job's JSON in, rows out. Plain classes: setup, step, reset.

Tune wraps them (`gtsearch.tune`), and a machine that has torch and no Ray runs the very same:

    trainable = TargetTrainable(); trainable.setup(job, folder)
    while not (report := trainable.step())["done"]: ...

A row holds every column of trials.parquet, its curve and the embeddings it kept. Embedding files are written
before the row that names them is reported.
"""

from __future__ import annotations

import json
import platform
import re
import traceback
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtsearch import catalog, scores, stacks
from gtsearch import embedding as artefact
from gtsearch.errors import BrokenOff, EmbeddingError
from gtsearch.identity import canonical, derive_seed
from gtsearch.methods.base import Given, Method
from gtsearch.models.base import Sizes, initialise
from gtsearch.probes.base import Probe
from gtsearch.tasks.base import Splits, Task
from gtsearch.training import PLAIN, Cohort, Kept, Member, Outcome, Plan

STEP_SECONDS = 0.5  # between two reports: short enough to stop a job soon, long enough to cost nothing
LARGEST_STACK = 4096  # members; a bound for trying, not a promise
NAMED = ("lr", "weight_decay", "init_scale", "embedding_scale")  # hyperparameters with a column of their own

Json = dict[str, Any]
_stack_sizes: dict[str, int] = {}  # by kind of member, as this process measured them


class CohortTrainable:
    """Trains the members of one job. Subclasses say what a stage adds.

    `step()` gives `{"finished": [rows], "progress": [where each running member stands], "done": bool}`, and with
    `"broken"`, in words, when what the run stands on gave way: a disk that is full, an embedding that was changed. That
    is no member's failure. The first step trains nothing: a job nobody needs any more can be stopped before it costs
    anything.
    """

    accelerator: str | None = None  # the GPU that a cluster's node declares, for where torch cannot name it

    def setup(self, job: Json, folder: Path | str, device: str = "cpu", threads: int = 1) -> None:
        """Takes a job.

        Args:
            job: as `gtsearch.search.policy.Job.to_json` makes it.
            folder: the run folder; embeddings are read from and written into it.
            device: `cpu` or `cuda`.
            threads: of torch, on a CPU.
        """
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        # Small models with little weight decay saturate their softmax; subnormal numbers made them twice as slow.
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("highest")  # float32 means float32: no TF32 on a GPU, no bfloat16 on a CPU
        self.job, self.folder, self.device, self.threads = job, Path(folder), device, threads
        self.task: Task = catalog.load("task", job["task"]["name"])(**job["task"])
        self.sizes: Sizes = catalog.load("model", job["model"]["name"])(**job["model"])
        self.probes: list[Probe] = [catalog.load("probe", probe["name"])(**probe) for probe in job["probes"]]
        self.members: dict[str, Json] = {member["run_id"]: member for member in job["members"]}
        self.splits: dict[str, Splits] = {}
        self.cohort: Cohort | None = None
        self._began = False

    def reset(self, job: Json, folder: Path | str, device: str = "cpu", threads: int = 1) -> None:
        """Takes another job in the same process."""
        self.setup(job, folder, device, threads)

    def step(self, seconds: float = STEP_SECONDS) -> Json:
        """Trains for about `seconds`; reports members that finished since the last call."""
        rows: list[Json] = []
        if not self._began:
            self._began = True
            return {"finished": rows, "progress": [], "done": False}
        try:
            if self.cohort is None:
                self.cohort = self._begin(rows)
            rows += [self._row_or_why_not(outcome) for outcome in self._outcomes(self.cohort, seconds, rows)]
        except BrokenOff as error:
            return {"finished": rows, "progress": [], "done": True, "broken": str(error)}
        return {"finished": rows, "progress": self.cohort.progress(), "done": self.cohort.done}

    def _outcomes(self, cohort: Cohort, seconds: float, rows: list[Json]) -> list[Outcome]:
        """Trains. A member that crashes is a row with the reason; the others go on. Of a stack nobody can tell which
        member it was, and memory may have been short because of others: those count as lost, and run once more, each
        alone."""
        try:
            return cohort.step(seconds)
        except Exception as error:
            crashed = cohort.abandon()
            rows += [self._failed(run_id, error, len(crashed) > 1 or _is_of_memory(error)) for run_id in crashed]
            return []

    # -- making members -----------------------------------------------------------------------------------

    def _plan(self, stack_size: int = 1) -> Plan:
        return Plan(
            goal=self.job["goal"],
            hold=self.job["hold"],
            evaluate_every=self.job["evaluate_every"],
            flops_per_epoch=self.job["flops_per_epoch"],
            merged_flops_per_epoch=self.job["merged_flops_per_epoch"],
            stack_size=stack_size,
            optimizer=catalog.load("optimizer", self.job["optimizer"]),
            loss=catalog.load("loss", self.job["loss"]),
            keep_layers=self.job["keep_layers"],
        )

    def _begin(self, rows: list[Json]) -> Cohort:
        members: list[tuple[Member, Splits]] = []
        for info in self.members.values():
            try:
                splits = _splits(canonical(self.job["task"]), info["split_seed"])
                self.splits[info["run_id"]] = splits
                members.append((self._member(info, splits), splits))
            except BrokenOff:
                raise
            except Exception as error:
                rows.append(self._failed(info["run_id"], error, _is_of_memory(error)))
        return Cohort(members, self._plan(self._stack_size(members)), self.device)

    def _stack_size(self, members: Sequence[tuple[Member, Splits]]) -> int:
        """One member at a time stays in a CPU's cache; a GPU is filled by many, how many is tried once a kind."""
        plan = self._plan()
        if (
            self.device == "cpu"
            or len(members) < 2
            or not (plan.optimizer.stackable and members[0][0].method.stackable)
        ):
            return 1
        shapes = [list(p.shape) for p in members[0][0].module.parameters()]
        kind = canonical([self.job[name] for name in ("task", "model", "method", "optimizer", "loss")] + [shapes])
        if kind not in _stack_sizes:
            _stack_sizes[kind] = stacks.on_gpu(*members[0], plan, torch.device(self.device), LARGEST_STACK)
        return _stack_sizes[kind]

    def _member(self, info: Json, splits: Splits) -> Member:
        hyperparameters = info["hyperparameters"]
        method = self._method()
        E_W, layers = self._embedding(info, splits)
        generator = _generator(info["seed"], "method")
        given = Given(self.task, splits.train, splits.train_sha256, hyperparameters, generator, E_W, layers)
        module = method.sizes(self.sizes, self.task).module(self.task)
        method.start(module, given)
        initialise(module, _generator(info["seed"], "initialisation"), hyperparameters["init_scale"])
        method.after_initialisation(module, given)
        return Member(
            run_id=info["run_id"],
            module=module,
            lr=hyperparameters["lr"],
            weight_decay=hyperparameters["weight_decay"],
            max_epochs=info["max_epochs"],
            cap_epochs=info["cap_epochs"],
            run_on=info["reports"] and self.job["goal"] is not None,
            test=info["reports"],
            keep=info["keep"],
            method=method,
            hyperparameters=hyperparameters,
            probes=self.probes if info["reports"] else (),
            doses=info["doses"],
            dose_seed=derive_seed(info["seed"], "dose"),
        )

    def _method(self) -> Method:
        """How the job's models start: a plain one is asked for by no name."""
        options = self.job["method"]
        return catalog.load("method", options["name"])(**options) if options else PLAIN

    def _embedding(self, info: Json, splits: Splits) -> tuple[Tensor | None, dict[str, Tensor]]:
        """E_W and the weak model's other parameters, where the member starts from a weak model."""
        source = info["embedding"]
        if source is None:
            return None, {}
        try:
            E_W, layers, header = artefact.read(artefact.within(self.folder, source["path"]), source["sha256"])
        except EmbeddingError as error:  # the file is not what the run wrote: no fault of the member
            raise BrokenOff(str(error)) from None
        artefact.refuse_leak(header, self.task.identity(), splits.train_sha256)
        return E_W, layers

    def _row_or_why_not(self, outcome: Outcome) -> Json:
        try:
            return self._row(outcome)
        except BrokenOff:
            raise
        except Exception as error:  # a score of its embedding, say
            return self._failed(outcome.run_id, error, _is_of_memory(error))

    # -- making rows --------------------------------------------------------------------------------------

    def _row(self, outcome: Outcome) -> Json:
        info = self.members[outcome.run_id]
        row = self._known(info) | outcome.measures
        row["cohort_size"] = outcome.measures["cohort_size"]
        row["curve"] = outcome.curve
        row["probed"] = outcome.probed
        # An evaluation may cross several levels with one embedding.
        distinct = {(kept.epoch, kept.dose): kept for kept in outcome.kept}
        scored = {key: self._scores(info, kept, outcome) for key, kept in distinct.items()}
        row["embeddings"] = [
            self._keep(info, kept) | {"scores": scored[kept.epoch, kept.dose]} for kept in outcome.kept
        ]
        if row["status"] != "capped":
            row["capped_by"] = None
        return row

    def _failed(self, run_id: str, error: Exception, lost: bool = False) -> Json:
        return failed_row(self._known(self.members[run_id]), with_origin(error), lost)

    def _known(self, info: Json) -> Json:
        """The columns that are known before training."""
        return static_row(self.job, info) | {
            "device": _device_name(self.device, self.accelerator),
            "host": platform.node(),
            "threads": self.threads,
            "dtype": "float32",
        }

    def _scores(self, info: Json, kept: Kept, outcome: Outcome) -> dict[str, float | None]:
        """What can be said of a kept embedding without a target."""
        splits = self.splits[info["run_id"]]
        before = [
            {name: value for name, value in point.items() if name != "test_accuracy"}
            for point in outcome.curve
            if (point["epoch"] or 0) <= kept.epoch
        ]
        E = kept.E.float().cpu()
        return scores.measure(
            scores.Scored(E, self.task, splits.train, splits.validation, before, kept.val_accuracy, kept.dose)
        )

    def _keep(self, info: Json, kept: Kept) -> Json:
        """Writes one embedding; what the row says of it."""
        noise = "" if kept.dose is None else f"-noise{kept.dose:g}"
        path = Path("embeddings") / f"{info['run_id']}-e{kept.epoch}{noise}.safetensors"
        header = {
            "run_id": info["run_id"],
            "task": self.task.identity(),
            "split_seed": info["split_seed"],
            "train_sha256": self.splits[info["run_id"]].train_sha256,
            "vectors": self.task.vectors,
            "architecture": self.job["architecture"],
            "model": self.job["model"],
            "hyperparameters": info["hyperparameters"],
            "seed": info["seed"],
            "epoch": kept.epoch,
            "val_accuracy": kept.val_accuracy,
            "dose": kept.dose,
        }
        try:
            sha256 = artefact.write(self.folder / path, kept.E, header, kept.layers)
        except OSError as error:
            raise BrokenOff(f"cannot write {self.folder / path}: {error.strerror or error}") from None
        return {
            "level": kept.level,
            "dose": kept.dose,
            "epoch": kept.epoch,
            "val_accuracy": kept.val_accuracy,
            "train_flops": kept.train_flops,
            "train_seconds": kept.train_seconds,
            "path": path.as_posix(),
            "sha256": sha256,
            "norm": artefact.norm(kept.E),
            "effective_rank": artefact.effective_rank(kept.E),
        }


class WeakTrainable(CohortTrainable):
    """The weak stage: plain models whose embeddings are kept."""

    def _row(self, outcome: Outcome) -> Json:
        row = super()._row(outcome)
        for kept in row["embeddings"][:1]:
            row |= {"embedding_norm": kept["norm"], "embedding_effective_rank": kept["effective_rank"]}
        return row


class TargetTrainable(CohortTrainable):
    """The target stage: a method prepares the start, from a weak embedding where it needs one."""


def trainable_for(job: Mapping[str, Any]) -> CohortTrainable:
    """The trainable of the job's stage, not yet set up."""
    return WeakTrainable() if job["stage"] == "weak" else TargetTrainable()


def static_row(job: Mapping[str, Any], info: Mapping[str, Any]) -> Json:
    """The columns of a member's row that follow from what was asked; all others null."""
    hyperparameters = info["hyperparameters"]
    model, source = job["model"], info["embedding"] or {}
    return {
        "run_id": info["run_id"],
        "attempt": info["attempt"],
        "stage": job["stage"],
        "method": info["method"],
        "role": info["role"],
        "purpose": info["purpose"],
        "task": job["task"]["name"],
        "split_seed": info["split_seed"],
        "architecture": job["architecture"],
        "model": model["name"],
        "d_embed": model.get("d_embed"),
        "width": model.get("width"),
        "depth": model.get("depth", model.get("layers")),
        "params": job["params"],
        "config_id": info["config_id"],
        "variation": job["variation"],
        **{name: hyperparameters.get(name) for name in NAMED},
        "hyperparameters": dict(hyperparameters),
        "seed": info["seed"],
        "error": None,
        "goal": job["goal"],
        "evaluate_every": job["evaluate_every"],
        "max_epochs": info["max_epochs"],
        "cap_epochs": info["cap_epochs"],
        "capped_by": info["capped_by"],
        "handover": info["keep"] if isinstance(info["keep"], str) else None,
        "design": info["design"],
        "level": info["level"],
        "refined": info["refined"],
        "dose": info["dose"],
        "weak_run_id": source.get("run_id"),
        "weak_epoch": source.get("epoch"),
        "weak_accuracy": source.get("accuracy"),
        "weak_flops": source.get("flops"),
        "weak_seconds": source.get("seconds"),
        "lost": False,
        "embeddings": [],
        "curve": [],
        "probed": [],
    }


def failed_row(known: Json, error: str, lost: bool, spent: Mapping[str, Any] | None = None) -> Json:
    """The row of a member that crashed, or whose worker was lost: what it had spent, and why."""
    spent = spent or {}
    return known | {
        "status": "failed",
        "error": error,
        "lost": lost,
        "epochs": spent.get("epochs", 0),
        "train_seconds": spent.get("train_seconds", 0.0),
        "eval_seconds": spent.get("eval_seconds", 0.0),
        "train_flops": spent.get("train_flops", 0),
        "epochs_to_goal": None,
        "flops_to_goal": None,
        "seconds_to_goal": None,
        "best_val_accuracy": None,
    }


def _is_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def with_origin(error: Exception) -> str:
    """What a row says of an error: its type, its message, and the line of source that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def without_origin(error: str) -> str:
    """A failed row's `error` without the line of source, which is not for a user's eyes."""
    return re.sub(r" \([^()]+:\d+\)$", "", error)


@lru_cache(maxsize=4)  # one of XOR clusters takes 256 MB
def _splits(task: str, split_seed: int) -> Splits:
    """The task's splits, kept while a worker trains on them."""
    params = json.loads(task)
    splits: Splits = catalog.load("task", params["name"])(**params).splits(split_seed)
    return splits


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


def _device_name(device: str, accelerator: str | None = None) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return accelerator or f"cpu ({_short(cpu_name())})"


@cache
def cpu_name() -> str:
    """The processor's model as Linux tells it; elsewhere the kind of machine, such as `arm64`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def _short(cpu: str) -> str:
    """The name of a processor without trade marks, its clock and how many cores it has."""
    short = re.sub(r"\((R|TM)\)|@.*|\bwith .*|\b(\d+-Core|CPU|Processor)\b", " ", cpu, flags=re.IGNORECASE)
    return " ".join(short.split()) or cpu
