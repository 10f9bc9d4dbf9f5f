"""What rows say of the machine and of errors, and what is no member's fault; how members are made and trained is
tested in test_training.py."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import policy_for, spec

from gtsearch import trainables
from gtsearch.search.policy import Job
from gtsearch.trainables import CohortTrainable, cpu_name, trainable_for, without_origin
from gtsearch.training import Cohort


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """The processor's name is kept once it is known."""
    cpu_name.cache_clear()
    yield
    cpu_name.cache_clear()


def processor(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Lets /proc/cpuinfo hold this, or be missing."""

    def read(path: Path) -> str:
        assert str(path) == "/proc/cpuinfo"
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("AMD EPYC 9R14 96-Core Processor", "cpu (AMD EPYC 9R14)"),
        ("Intel(R) Xeon(R) Platinum 8488C", "cpu (Intel Xeon Platinum 8488C)"),
        ("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz", "cpu (Intel Core i7-8700K)"),
        ("AMD Ryzen 7 PRO 4750U with Radeon Graphics", "cpu (AMD Ryzen 7 PRO 4750U)"),
        ("Processor", "cpu (Processor)"),
    ],
)
def test_a_processor_is_named_by_its_model(monkeypatch: pytest.MonkeyPatch, model: str, name: str) -> None:
    processor(
        monkeypatch, f"processor\t: 0\nmodel\t\t: 17\nmodel name\t: {model}\nprocessor\t: 1\nmodel name\t: other\n"
    )
    assert trainables._device_name("cpu") == name
    assert cpu_name() == model


@pytest.mark.parametrize("text", [None, "processor\t: 0\nCPU part\t: 0xd0c\n", "model name\t:\n"])
def test_without_a_model_it_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    processor(monkeypatch, text)
    assert trainables._device_name("cpu") == f"cpu ({platform.machine()})"


def test_the_line_of_source_can_be_taken_off_an_error() -> None:
    with pytest.raises(ValueError, match="no embedding") as caught:
        raise ValueError("no embedding (really)")
    told = trainables.with_origin(caught.value)
    assert "(test_trainables.py:" in told
    assert without_origin(told) == "ValueError: no embedding (really)" == without_origin(without_origin(told))


# -- what a job can meet --------------------------------------------------------------------------------------


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job of weak members that keep what they end with, after 40 epochs."""
    # A worker does this to its whole process, which here is that of all tests.
    monkeypatch.setattr(torch, "set_flush_denormal", lambda flag: True)
    experiment = spec(weak__goal="none", weak__budget={"configs_per_architecture": 2, "max_epochs": 40})
    policy = policy_for(experiment)
    while isinstance(found := policy.ask(), Job) and found.stage != "weak":
        pass
    assert isinstance(found, Job) and len(found.members) > 1
    return found.to_json()


def reports(job: dict[str, Any], folder: Path) -> tuple[CohortTrainable, list[dict[str, Any]]]:
    """A job worked off; all that was reported."""
    trainable = trainable_for(job)
    trainable.setup(job, folder, threads=torch.get_num_threads())
    told = [trainable.step()]
    while not told[-1]["done"]:
        told.append(trainable.step())
    return trainable, told


def test_an_embedding_that_cannot_be_written_breaks_off_and_is_no_members_failure(
    job: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "embeddings").write_text("a file where the folder should be")
    _, told = reports(job, tmp_path)
    assert told[-1]["broken"].startswith(f"cannot write {tmp_path / 'embeddings'}/")
    assert not any(report["finished"] for report in told)


def test_an_embedding_that_was_changed_breaks_off(job: dict[str, Any], tmp_path: Path) -> None:
    _, told = reports(job, tmp_path)
    weak = next(row for report in told for row in report["finished"])
    [kept] = weak["embeddings"]
    source = kept | {"run_id": weak["run_id"], "accuracy": 0.5, "flops": 1, "seconds": 1.0}
    member = job["members"][0] | {"embedding": source, "keep": None, "split_seed": weak["split_seed"]}
    target = job | {"members": [member], "stage": "target", "method": None}
    assert "broken" not in reports(target, tmp_path)[1][-1]
    path = tmp_path / kept["path"]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    _, told = reports(target, tmp_path)
    assert "was changed: its sha256" in told[-1]["broken"] and not told[-1]["finished"]
    path.unlink()
    assert "cannot read the embedding" in reports(target, tmp_path)[1][-1]["broken"]


@pytest.mark.parametrize(("error", "lost"), [(MemoryError(), True), (RuntimeError("a mistake"), False)])
def test_a_member_that_found_no_memory_runs_once_more(
    job: dict[str, Any], error: Exception, lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have taken it; any other error is the member's own."""

    def step(cohort: Cohort, seconds: float) -> list[Any]:
        raise error

    monkeypatch.setattr(Cohort, "step", step)
    _, told = reports(job, tmp_path)
    [row, *_] = [row for report in told for row in report["finished"]]
    assert row["status"] == "failed" and row["lost"] is lost and type(error).__name__ in row["error"]
