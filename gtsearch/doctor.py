"""Whether gtsearch works on this machine: `gtsearch doctor`.

Checks, one after another, each a few lines that begin with `ok`, `note` (know it) or `bad` (mend it): the machine and
its storage (`gtsearch.machine`), a worker of Ray, a self-test that trains something tiny, and one finding trained again
under other circumstances (`gtsearch.survives`). A check that fails, in any way, is a line and never hides the next.
What a check needs of a run it does as a run does it: by `connected`, `drive` and the trainables. Entry: `Doctor`.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from gtsearch import embedding as artefact
from gtsearch import machine, results, survives
from gtsearch.errors import EmbeddingError, GtsearchError, ResourcesError, ResultsError
from gtsearch.identity import digest
from gtsearch.losses import cross_entropy
from gtsearch.machine import BAD, NOTE, OK, Line
from gtsearch.models.base import initialise
from gtsearch.models.mlp import MlpSizes
from gtsearch.passes import AutogradPasses
from gtsearch.plans import policy_for
from gtsearch.resources import Resources, resources_for
from gtsearch.search.board import Member, cleared, embedding_of
from gtsearch.search.policy import Policy
from gtsearch.spec import load_spec
from gtsearch.tasks.modular import ModularAddition

RAY_SECONDS = 90.0  # for a worker of Ray to train one tiny member
SELF_TEST_SECONDS = 10.0

# A pipeline that trains in a second or two.
_TINY = (
    "task.p=17",
    "task.train_fraction=0.75",
    "weak.goal.val_accuracy=0.2",
    "weak.model={name: mlp, depth: 2, d_embed: 8, width: 24}",
    "weak.budget={configs_per_architecture: 4, max_epochs: 300}",
    "target.goal.val_accuracy=0.6",
    "target.model={name: mlp, depth: 3, d_embed: 16, width: 32}",
    "target.budget={configs: 4, max_epochs: 150}",
)
_WEAK = {"lr": 0.05, "weight_decay": 0.8, "init_scale": 0.3}
_TARGET = {"lr": 0.02, "weight_decay": 3.0, "init_scale": 0.3, "embedding_scale": 1.0}

Json = dict[str, Any]


Check = Callable[[], Iterable[Line]]


class Doctor:
    """One examination.

    Args:
        run: a finished run whose finding is trained again; None: a small one that is built in.
        out: where storage is tried; default: where runs go from here.
        address: of a Ray cluster; None: a local Ray is started and ended.
        seconds: for the finding; 0 leaves it out.

    Raises:
        GtsearchError: `run` is no finished run or `out` no folder.
    """

    def __init__(self, run: Path | None, out: Path | None, address: str | None, seconds: float) -> None:
        if out is not None and not out.is_dir():
            raise ResultsError(f"--out {out}: there is no such folder; make it, or give another")
        self.finding = survives.of_run(run) if run else None
        self.place = (out or (Path("runs") if Path("runs").is_dir() else Path())).resolve()
        self.address, self.seconds = address, seconds
        self.began = time.time(), time.monotonic()
        self.counts = dict.fromkeys((OK, NOTE, BAD), 0)
        self.told: list[Line] = []

    @property
    def exit_code(self) -> int:
        """1 once something is bad, else 0."""
        return int(self.counts[BAD] > 0)

    def lines(self) -> Iterator[str]:
        """Runs every check and says what it finds while it goes on, wrapped to the terminal."""
        width = shutil.get_terminal_size((120, 24)).columns
        checks: list[tuple[str, Check]] = [
            ("versions", machine.versions),
            ("cores", machine.core_limits),
            ("threads", machine.threads),
            ("devices", machine.devices),
            ("memory", machine.memory),
            ("disk", lambda: machine.disks(self.place)),
            ("limits", machine.limits),
            ("storage", lambda: machine.storage(self.place)),
            ("ray", machine.ray_state),
            ("ray", lambda: ray_runs(self.place, self.address)),
            ("self-test", self_test),
            ("clock", lambda: machine.clocks(*self.began)),
        ]
        for topic, check in checks:
            for line in guarded(topic, check):
                yield from self._shown(line, width)
        if self.seconds > 0:
            yield from self._finding(width)
        yield f"{self.counts[OK]} ok, {self.counts[NOTE]} to note, {self.counts[BAD]} bad"

    def to_json(self) -> dict[str, Any]:
        """What was found so far, for a program."""
        lines = [{"verdict": line.word, "topic": line.topic, "text": line.text} for line in self.told]
        return {"lines": lines, **self.counts, "exit_code": self.exit_code}

    def _finding(self, width: int) -> Iterator[str]:
        told: list[survives.Rerun] = []

        def again() -> Iterator[Line]:
            told.append(survives.rerun(self.finding or survives.built_in(), self.seconds))
            return iter(())

        name = self.finding.name if self.finding else "a small one that is built in"
        yield from textwrap.wrap(f"      rerunning a finding, {name}, for up to {self.seconds:g} s", width)
        for line in guarded("finding", again):
            yield from self._shown(line, width)
        for rerun in told:
            yield from ("", *survives.table(rerun), "")
            for line in guarded("finding", lambda rerun=rerun: findings(rerun)):  # type: ignore[misc]
                yield from self._shown(line, width)

    def _shown(self, line: Line, width: int) -> list[str]:
        self.counts[line.word] += 1
        self.told.append(line)
        head = f"{line.word:<5} {line.topic:<10} "
        return textwrap.wrap(
            " ".join(line.text.split()),
            max(40, width),
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )


def guarded(topic: str, check: Check) -> Iterator[Line]:
    """What a check says; one that raises is bad, with the reason.

    Here every exception is caught: what is examined is whatever a strange machine makes of libraries.
    """
    try:
        yield from check()
    except GtsearchError as error:
        yield Line(BAD, topic, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield Line(BAD, topic, f"{where}{error.strerror or error}")
    except Exception as error:
        yield Line(BAD, topic, f"the check failed: {type(error).__name__}: {error}")


# -- Ray ---------------------------------------------------------------------------------------------------


class _OneJob:
    """A conductor (`gtsearch.tune.Conductor`) with one job: its rows, or why there are none."""

    def __init__(self, job: Json) -> None:
        self.job: Json | None = job
        self.rows: list[Json] = []
        self.error: str | None = None
        self.first_seconds: float | None = None
        self.began = time.monotonic()

    def next_job(self) -> Json | None:
        job, self.job = self.job, None
        return job

    def has_job(self) -> bool:
        return self.job is not None

    def take(self, job_id: str, rows: list[Json], progress: list[Json]) -> None:
        self.first_seconds = self.first_seconds or time.monotonic() - self.began
        self.rows += rows

    def is_needless(self, job_id: str) -> bool:
        return bool(self.rows)

    def ended(self, job_id: str, error: str | None) -> None:
        self.error = self.error or error or (None if self.rows else "the job ended without a row")

    def break_off(self, reason: str) -> None:
        self.error = reason

    def is_over(self) -> bool:
        if not self.rows and self.error is None and time.monotonic() - self.began > RAY_SECONDS:
            self.error = f"no worker has trained a tiny member within {RAY_SECONDS:.0f} s"
        return bool(self.rows) or self.error is not None


def ray_runs(place: Path, address: str | None) -> Iterator[Line]:
    """A worker of Ray trains one tiny member, as it would for a run, and this process trains it too."""
    from gtsearch import cluster, tune

    policy = _tiny()
    job = survives.job_of(policy, [_weak_member(policy, 0)])
    resources: Resources = resources_for(load_spec("smoke"), 1, address)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    where = f"the cluster at {address}" if address else "a local Ray"
    with tempfile.TemporaryDirectory(prefix=".gtsearch-doctor-", dir=place) as name:
        folder, one, began = Path(name), _OneJob(job), time.monotonic()
        with cluster.connected(address, resources, False, one.break_off) as link:
            up = time.monotonic() - began
            one.began = time.monotonic()
            tune.drive(one, folder, link.scratch.path, resources, False, {})
            trained = time.monotonic()
        down = time.monotonic() - trained
        if not one.rows:
            raise ResourcesError(f"{where} is up, but its worker gave no row: {one.error}")
        (row,) = one.rows
        if row["status"] == "failed":
            raise ResourcesError(f"a worker of {where} could not train: {row['error']}")
        kept = embedding_of(row)
        if kept is not None:
            artefact.read(folder / kept.path, kept.sha256)  # this process sees what the worker wrote
        text = f"up in {up:.1f} s, first word of a worker after {one.first_seconds or 0:.1f}, down in {down:.1f}"
        yield Line(OK, "ray", f"{where}: {text}; the embedding that its worker wrote is here")
        if resources.device == "cpu" and row["host"] == platform.node():
            (here,) = survives.train(job, folder / "here")
            same = _settled(row) == _settled(here)
            told = "is, bit for bit, the one that this process trains" if same else "is not the one trained here"
            yield Line(OK if same else NOTE, "ray", f"the member that it trained {told}")
    if address is None:
        left = psutil.wait_procs([c for c in psutil.Process().children(recursive=True) if c.pid not in before], 5)[1]
        if left:
            names = ", ".join(f"{process.name()} ({process.pid})" for process in left)
            yield Line(BAD, "ray", f"still running after it was ended: {names}")
        else:
            yield Line(OK, "ray", "no process of it is left")


# -- the self-test ------------------------------------------------------------------------------------------


def self_test() -> Iterator[Line]:
    """Gradients, a whole pipeline without Ray, and whether the same member is the same again."""
    yield from gradients()
    until = time.monotonic() + SELF_TEST_SECONDS
    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    threads_before = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory(prefix="gtsearch-doctor-") as name:
            for kind in kinds:
                yield from pipeline(Path(name), kind, until)
            yield from repeats(Path(name), until)
    except survives.OutOfTime:
        yield Line(NOTE, "self-test", f"not done in {SELF_TEST_SECONDS:.0f} s: something else keeps the cores busy")
    finally:
        torch.set_num_threads(threads_before)


def gradients() -> Iterator[Line]:
    """An mlp's own gradient against autograd's, in float64."""
    task = ModularAddition(name="modular_addition", p=17, train_fraction=0.7)
    module = MlpSizes(name="mlp", depth=3, d_embed=8, width=32).module(task)
    initialise(module, torch.Generator().manual_seed(0), 1.0)
    module.double()
    part = task.splits(0).double().train
    leaves = dict(module.named_parameters())
    own, other = ({name: torch.zeros_like(leaf) for name, leaf in leaves.items()} for _ in range(2))
    module.passes(own, cross_entropy, part).train(told=False)
    AutogradPasses(module, leaves, other, cross_entropy, part, many=False).train(told=False)
    apart = max(float((own[name] - other[name]).abs().max() / other[name].abs().max()) for name in leaves)
    text = f"an mlp's own gradient and autograd's differ by {apart:.0e} of the largest, in float64"
    yield Line(OK if apart < 1e-9 else BAD, "self-test", text)


def pipeline(folder: Path, device: str, until: float) -> Iterator[Line]:
    """Weak model, its embedding on disk, the target that is given it; a changed embedding is refused."""
    policy, began, rows = _tiny(), time.monotonic(), list[Json]()
    for seed in range(5):
        rows += survives.train(survives.job_of(policy, [_weak_member(policy, seed)]), folder, device, 1, until)
        if cleared(rows[-1]):
            break
    _refuse_failed(rows[-1])
    kept = embedding_of(rows[-1])
    if kept is None:
        raise GtsearchError(f"none of {len(rows)} weak models learnt anything on {device}; do not trust a run here")
    member = policy.target.member("transfer", _TARGET, "search", 0, kept, "target_search")
    rows += survives.train(survives.job_of(policy, [member]), folder, device, 1, until)
    _refuse_failed(rows[-1])
    results.trials_frame(rows)  # raises where a row does not fit its columns
    json.dumps(rows, allow_nan=False)
    path = folder / kept.path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.with_suffix(".changed").write_bytes(damaged)
    try:
        artefact.read(path.with_suffix(".changed"), kept.sha256)
    except EmbeddingError:
        reached = rows[-1]["epochs_to_goal"]
        ended = f"its goal after {reached} epochs" if reached else f"{rows[-1]['best_val_accuracy']:.2f}"
        yield Line(
            OK,
            "self-test",
            f"on {device} a weak model came to {kept.accuracy:.2f}, its embedding to disk and back by its sha256 (one "
            f"changed bit is refused), a target given it to {ended}, in {time.monotonic() - began:.1f} s",
        )
    else:
        yield Line(BAD, "self-test", f"an embedding with one changed bit was taken for {kept.sha256[:12]}")


def repeats(folder: Path, until: float) -> Iterator[Line]:
    """The same member twice, and between two others: on one CPU all are one, bit for bit."""
    policy = _tiny()
    one, *others = (_weak_member(policy, seed) for seed in (0, 1, 2))
    runs = [[one], [one], [others[0], one, others[1]]]
    told = []
    for members in runs:
        rows = survives.train(survives.job_of(policy, members), folder, "cpu", 1, until)
        told += [_settled(row) for row in rows if row["run_id"] == one.run_id]
    mark = digest(told[0], 12)
    if told[0] == told[1] == told[2]:
        yield Line(OK, "self-test", f"a member is the same twice and among others; its digest is {mark}")
    else:
        which = "when it is trained twice" if told[0] != told[1] else "among others"
        yield Line(BAD, "self-test", f"the same member is another {which}: rows of this machine cannot be repeated")


def _tiny() -> Policy:
    return policy_for(load_spec("smoke", _TINY))


def _weak_member(policy: Policy, seed: int) -> Member:
    assert policy.ladder is not None, "smoke has a weak stage"
    return policy.ladder.member(policy.ladder.architectures[0], _WEAK, "search", seed)


def _refuse_failed(row: Json) -> None:
    if row["status"] == "failed":
        raise GtsearchError(f"{row['method']} cannot be trained: {row['error']}")


def _settled(row: Json) -> Json:
    """What of a row does not depend on the clock: its curve, how it ended, its embedding."""
    curve = [{name: value for name, value in point.items() if name != "train_seconds"} for point in row["curve"]]
    return {"curve": curve, "status": row["status"], "embeddings": [kept["sha256"] for kept in row["embeddings"]]}


# -- the finding --------------------------------------------------------------------------------------------


_SAID = {
    survives.SURVIVES: "survives",
    survives.LOST: "does not survive",
    survives.UNKNOWN: "cannot be told under",
}
_WORDS = {survives.SURVIVES: OK, survives.LOST: BAD, survives.UNKNOWN: NOTE}


def findings(told: survives.Rerun) -> Iterator[Line]:
    """What became of each conclusion, and what a reader must know of it."""
    finding, many = told.finding, len(told.answers)
    for name in told.claims:
        counts = {each: told.counted(name, each) for each in _SAID if told.counted(name, each)}
        if not counts:
            n, asked = min(len(told.base.ours), len(told.base.theirs)), told.base.rule.seeds
            few = f"{n} of {asked} seeds are in, too few for a conclusion"
            open_ = f"{n} seeds say neither yes nor no, so there is no conclusion that could survive"
            yield Line(NOTE, "finding", f"{name}: {few if n < asked else open_}")
            continue
        whys: dict[str, list[str]] = {}
        for answer in told.answers:
            if name in answer.why:
                whys.setdefault(answer.why[name], []).append(answer.variation.name)
        said = ", ".join(f"{_SAID[each]} {n} of {many}" for each, n in counts.items())
        why = "".join(f"; {', '.join(names)}: {reason}" for reason, names in whys.items())
        worst = max((_WORDS[each] for each in counts), key=(OK, NOTE, BAD).index)
        yield Line(worst, "finding", f"{told.claim(name)}: {said} variations{why}")
    first = told.answers[0] if told.answers else None
    if finding.recorded and first and first.variation.name == survives.RAN and first.same_curves < first.curves:
        same = f"as it ran: {first.same_curves} of {first.curves} curves are those recorded"
        yield Line(NOTE, "finding", f"{same}, with {finding.recorded_on}")
    for name, reason in told.left_out.items():
        yield Line(NOTE, "finding", f"{name} is left out: {reason}")
    if told.failed[0]:
        yield Line(BAD, "finding", f"{told.failed[0]} members failed, the first by {told.failed[1]}")
    if told.seconds_left:
        needs = "more than this: not one seed of both methods was done"
        if math.isfinite(told.seconds_left):
            needs = f"about --seconds {math.ceil((told.seconds + told.seconds_left) / 10) * 10}"
        yield Line(NOTE, "finding", f"the time was up after {told.seconds:.0f} s; all seeds take {needs}")
