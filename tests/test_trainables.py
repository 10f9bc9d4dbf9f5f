"""What rows say of the machine and of errors; how members are made and trained is tested in test_training.py."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtsearch import trainables
from gtsearch.trainables import cpu_name, without_origin


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
    told = trainables._with_origin(caught.value)
    assert "(test_trainables.py:" in told
    assert without_origin(told) == "ValueError: no embedding (really)" == without_origin(without_origin(told))
