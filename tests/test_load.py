"""What the soak calls growth."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Sample, Slope, Watched


def samples(**grows: float) -> list[Sample]:
    """Half an hour of samples, ten seconds apart, 10 members in each; `grows`: what is added with each."""
    steady = {"driver_mb": 500.0, "workers_mb": 800.0, "daemons_mb": 500.0, "threads": 30, "files": 40}
    steady |= {"processes": 11, "temporary_mb": 5.0, "log_mb": 1.0}
    return [
        Sample(
            at=10.0 * i,
            members=10 * i,
            **{name: value + i * grows.get(name, 0) for name, value in steady.items()},  # type: ignore[arg-type]
        )
        for i in range(180)
    ]


TOLD = Watched(members=1800, architectures=10, first=100.0, last=1900.0)


def growing(**grows: float) -> set[str]:
    rows = load.of_soak(TOLD, samples(**grows), Slope(10.0, 9.0, 11.0))
    assert all(row.target and row.met is not None for row in rows)
    return {row.what.partition(" of ")[2].partition("members: ")[2] for row in rows if not row.met}


def test_what_stays_as_it_is_has_not_grown() -> None:
    assert growing() == set()


@pytest.mark.parametrize(
    ("name", "each", "words"),
    [
        ("threads", 1, "growth of the driver's threads after the first quarter"),
        ("files", 0.5, "growth of the driver's open files after the first quarter"),
        ("processes", 1, "growth of processes after the first quarter"),
        ("workers_mb", 1.0, "growth of MiB of the workers after the first quarter"),
        ("daemons_mb", 1.0, "growth of MiB of Ray's daemons after the first quarter"),
        ("temporary_mb", 0.1, "growth of MiB of temporary files after the first quarter"),
    ],
)
def test_what_grows_with_time_is_found(name: str, each: float, words: str) -> None:
    assert growing(**{name: each}) == {words}


def test_the_driver_may_grow_with_the_members_it_is_told_of_and_no_faster() -> None:
    assert growing(driver_mb=0.1) == set()  # 10 MiB a thousand members, as in the fast search
    [words] = growing(driver_mb=0.2)
    assert words.startswith("MiB of the driver's memory a thousand members more take")


def test_a_growing_log_is_counted_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "members.log"
    path.write_text("")
    lines = load._lines(path)
    assert next(lines) == 0
    with path.open("a") as file:
        for text, count in (("a\nb", 1), ("c\n\n", 3), ("", 3)):
            file.write(text)
            file.flush()
            assert next(lines) == count


def test_what_a_member_costs_beside_its_own_seconds() -> None:
    assert load.beside(TOLD, 2, 0.5) == pytest.approx(1.5)
