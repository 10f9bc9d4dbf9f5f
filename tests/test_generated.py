"""Thousands of experiment files, whole and broken, through all of gtsearch but the training.

Each is refused in one line that says where and why, or runs to its end with a report that is not empty. Nothing is
shrunk: a failure shows the whole file, so that it can be saved and looked at.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_runs import MOST_MEMBERS, Depth, Hang, cheaper, drive, noted, undrawn, within
from hypothesis import HealthCheck, Phase, given, seed, settings
from spec_strategy import RUBBISH, as_yaml, experiments, texts

from gtsearch import cli, experiment, tune
from gtsearch.errors import GtsearchError, SpecError
from gtsearch.results import Results, load_results
from gtsearch.spec import Spec, load_spec, parse_spec

ALL = "GTSEARCH_ALL_GENERATED" in os.environ
"""`make generated` runs all of them, which takes more than an hour; `make slow` a part."""
SHARDS, EXAMPLES = 20 if ALL else 3, 500
"""So many files go through in the slow tests, in so many parts."""
THROUGH_RAY = 100 if ALL else 25
"""So many go through Ray."""
SECONDS = 60.0
"""What one file may take; a hundred times what it takes on an idle core."""
PAGE_EVERY, DRAWN_EVERY = 20, 250
TOLD_EVERY = 10

_seen: set[Any] = set()
counts: Counter[str] = Counter()
refusals: Counter[str] = Counter()


# -- what must hold of each ---------------------------------------------------------------------------------------


def goes_through(text: bytes, number: int, shallow: bool = False) -> None:
    """One experiment file from its bytes to its report.

    Args:
        number: of the file, which decides how much of the report is made.
        shallow: makes neither page nor pictures because the experiment asks for something new.
    """
    with tempfile.TemporaryDirectory() as there:
        file = Path(there) / "made.yaml"
        file.write_bytes(text)
        try:
            with cheaper(), within(SECONDS, "the file"):
                _goes_through(file, number, shallow)
        except (Exception, Hang):
            shown = text.decode("utf-8", "backslashreplace")
            raise AssertionError(f"{traceback.format_exc()}\nof this file:\n{shown}") from None


def _goes_through(file: Path, number: int, shallow: bool) -> None:
    counts["files"] += 1
    try:
        spec = load_spec(file)
    except GtsearchError as error:
        counts["refused"] += 1
        if _is_a_clear_line(error) or number % TOLD_EVERY == 0:
            counts["told"] += 1
            _is_told_on_the_command_line(file, error)
        return
    lines = experiment.check(spec, workers=2).lines()  # more may be too many for this machine
    assert len(lines) > 6 and all(line.isprintable() for line in lines), lines
    assert load_spec(_written(file.with_name("again.yaml"), spec)) == spec
    run = file.with_name("run")
    run.mkdir()
    depth = _depth(spec, number, shallow)
    told = drive(spec, run, depth, writes=depth == "drawn", seed=number)
    counts["ran"] += 1
    counts[depth] += 1
    counts["members"] += told["members"]
    counts.update({f"status {status}": n for status, n in told["statuses"].items()})
    assert told["complete"] or told["members"] >= MOST_MEMBERS, "the search ended before it was over"
    assert told["exit_code"] in (0, 1)
    _is_a_report(load_results(run), told, depth)


def _written(file: Path, spec: Spec) -> Path:
    file.write_text(spec.to_yaml(), encoding="utf-8")
    return file


def _is_a_clear_line(error: GtsearchError) -> bool:
    """Whether it is one that no file before it was refused with, but for the numbers."""
    line = str(error)
    kind = re.sub(r"[0-9]+", "#", line)
    refusals[kind] += 1
    assert isinstance(error, SpecError), error
    assert "\n" not in line and line.isprintable(), line
    assert 15 < len(line) < 1200, line
    assert "Traceback" not in line and "object at 0x" not in line and "pydantic" not in line, line
    assert "Input should" not in line and "valid dictionary" not in line and "NoneType" not in line, line
    assert error.path or "made.yaml" in line or "variation" in line, f"it does not say where: {line}"
    return refusals[kind] == 1


def _is_told_on_the_command_line(file: Path, error: Exception) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(["check", str(file)]) == 2
    lines = error.lines if isinstance(error, SpecError) else [str(error)]
    assert out.getvalue() == "" and err.getvalue() == "".join(f"gtsearch: {line}\n" for line in lines)


def _depth(spec: Spec, number: int, shallow: bool) -> Depth:
    """Everything is made of a file that asks for something no file before it asked for, and of some others."""
    new = _asked(spec) - _seen
    _seen.update(new)
    if (new and not shallow) or number % DRAWN_EVERY == DRAWN_EVERY - 1:
        return "drawn"
    return "page" if number % PAGE_EVERY == 0 else "tables"


def _asked(spec: Spec) -> set[Any]:
    """What an experiment asks for that shows in a figure, one by one."""
    found: set[Any] = {
        ("task", spec.task.name),
        ("source", type(spec.target.embedding_from)),
        ("weak", bool(spec.weak)),
    }
    found |= {("method", name) for name in spec.target.methods} | {("probe", probe.name) for probe in spec.probes}
    found |= {("design", design) for design in (spec.tradeoff.designs if spec.tradeoff else ())}
    found |= {("ablate", spec.ablate.design)} if spec.ablate else set()
    return found | ({("cost", spec.weak.cost), ("by", spec.weak.judge.by)} if spec.weak else set())


def _is_a_report(loaded: Results, told: dict[str, Any], depth: Depth) -> None:
    """It has the certificate and figures, or sentences that say why not."""
    assert len(told["lines"]) >= 3 and all(line.strip() for line in told["lines"]), told["lines"]
    assert loaded.notes == () and len(loaded.trials) and loaded.summary["error"] is None
    if depth == "tables":
        return
    page = told["page"]
    assert told["pictures"] + len(told["sentences"]) == 15 and told["pictures"] >= 1, told["sentences"]
    assert all(len(sentence) > 20 for sentence in told["sentences"])
    assert 'class="answer"' in page and ("What is certified of the weak model" in page) == (
        loaded.summary["weak"] is not None
    )
    assert "<script>alert" not in page and page.count("<img") == page.count('<img src="data:')
    if depth == "drawn":
        assert (loaded.folder / "figures" / "survival.png").stat().st_size > 1000
        assert "data:image/svg+xml;base64," in page


# -- all of them --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def generated(files: int) -> settings:
    """So many examples, as they are drawn: none is kept, shrunk or drawn again."""
    checks = list(HealthCheck)
    return settings(
        max_examples=files,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=checks,
    )


def through(shard: int, files: int, shallow: bool = False) -> None:
    """So many files of a shard; equal shards hold equal files."""
    number, failures = 0, list[str]()

    @seed(shard)
    @generated(files)
    @given(texts())
    def each(text: bytes) -> None:
        nonlocal number
        number += 1
        try:
            goes_through(text, number, shallow)
        except AssertionError as error:  # the next file tells more than this one once more
            failures.append(str(error))

    each()
    assert not failures, f"{len(failures)} of {number} files; the first: {failures[0]}"


def test_a_file_is_refused_in_a_line_or_runs() -> None:
    before = Counter(counts)
    through(shard=10_000, files=45, shallow=True)
    assert counts["ran"] - before["ran"] >= 9, "too few of the files are experiments"
    assert counts["refused"] - before["refused"] >= 9


@pytest.mark.parametrize("text", RUBBISH)
def test_rubbish_is_refused_in_a_line(text: bytes) -> None:
    before = counts["refused"]
    goes_through(text, 1)
    assert counts["refused"] == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_many_files_are_refused_in_a_line_or_run(shard: int) -> None:
    before = counts["ran"]
    through(shard, EXAMPLES)
    assert 3 * (counts["ran"] - before) >= 0.9 * EXAMPLES, "too few of the files are experiments"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_experiments_run_through_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same workers, logs and reports as a run's own; only the training is made up."""
    monkeypatch.setattr(tune, "TRAINABLE", "formula_trainable:trainable_for")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of the workers, which Ray starts
    specs: list[tuple[bytes, Spec]] = []

    @seed(20_000)
    @generated(2 * THROUGH_RAY)
    @given(experiments())
    def drawn(content: dict[str, Any]) -> None:
        with contextlib.suppress(SpecError):
            specs.append((as_yaml(content), parse_spec(content)))

    drawn()
    assert len(specs) >= THROUGH_RAY
    for text, spec in specs[:THROUGH_RAY]:
        with tempfile.TemporaryDirectory() as there:
            told = {"pictures": 0, "sentences": []}
            with undrawn(), noted(told), within(SECONDS, "the run"):
                ended = experiment.run(spec, Path(there) / "run", workers=2)
            assert ended.exit_code in (0, 1), text.decode()
            page = (Path(there) / "run" / "report.html").read_text("utf-8")
            loaded = load_results(ended.folder)
            assert (loaded.trials["status"] != "failed").mean() > 0.5, "the workers had no trainable"
            _is_a_report(loaded, told | {"lines": ended.lines, "page": page}, "page")
