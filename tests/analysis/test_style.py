from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gtsearch.analysis import style
from gtsearch.catalog import METHODS


def test_every_method_has_a_colour_and_a_marker_of_its_own() -> None:
    for a, b in itertools.combinations(METHODS, 2):
        assert style.colour(a) != style.colour(b)
        assert style.marker(a) != style.marker(b)


def test_twenty_methods_are_told_apart_and_the_first_four_keep_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    assert tuple(map(style.colour, list(METHODS)[:4])) == first
    many = {f"method {i}": "" for i in range(22)}
    monkeypatch.setattr(style, "METHODS", many)
    assert len({style.colour(name) for name in many}) == len({style.marker(name) for name in many}) == 22
    assert min(1.05 / (luminance(style.colour(name)) + 0.05) for name in many) > 2.5


def luminance(shade: str) -> float:
    """Relative luminance, WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(shade)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("shade", [*map(style.colour, METHODS), *(shade for shade, _ in style.VERDICTS.values())])
def test_colours_stand_out_from_white_paper(shade: str) -> None:
    assert 1.05 / (luminance(shade) + 0.05) > 2.5


def test_a_method_that_left_the_catalog_keeps_one_colour() -> None:
    assert style.colour("gone") == style.colour("gone")


def test_the_style_is_gone_afterwards() -> None:
    before = dict(mpl.rcParams)
    with style.look():
        assert mpl.rcParams["svg.hashsalt"] == "gtsearch"
    assert dict(mpl.rcParams) == before


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    def saved(stem: str) -> list[bytes]:
        with style.look():
            figure = Figure()
            figure.add_subplot().plot([0, 1], [1, 0], label="a $ sign")
            return [path.read_bytes() for path in style.save(figure, tmp_path / stem)]

    assert saved("one") == saved("two")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.svg", "two.png", "two.svg"}


def test_numbers_are_written_for_people() -> None:
    written = {
        0.012345: "0.0123",
        1.5: "1.5",
        3.456: "3.46",
        12_345.6: "12,300",
        0.0: "0",
        999.6: "1,000",
        123_456_789.0: "123,000,000",
        1.234e12: "1.23e+12",
        -2.5: "-2.5",
    }
    assert {value: style.number(value) for value in written} == written
    assert style.number(None) == style.number(float("nan")) == style.number(float("inf")) == "–"
    assert style.count(1_234_567) == "1,234,567"


def test_costs_have_units() -> None:
    assert style.flops(1.234e12) == "1.23 TFLOP"
    assert style.flops(999.9e9) == "1 TFLOP"
    assert style.flops(12) == "12 FLOP"
    assert style.seconds(0.4567) == "0.457 s"
    assert [style.duration(s) for s in (59.0, 600.0, 7380.0)] == ["59 s", "10 min", "2.05 h"]
    assert style.spread(1.29e12, (9.1e11, 1.41e12), "flops") == "1.29 TFLOP [0.91, 1.41]"
    assert style.spread(4.2, (3.4, None), "seconds") == "4.2 s [3.4, beyond]"
    assert style.spread(35, (None, None), "epochs") == "35"
    assert style.spread(None, (3.0, None), "seconds") == "–"


def test_shares_and_rates() -> None:
    assert [style.percent(share) for share in (0, 0.00123, 0.0512, 0.2209, 1)] == [
        "0 %",
        "0.12 %",
        "5.1 %",
        "22 %",
        "100 %",
    ]
    assert style.rate_interval((0.596, 1.0)) == ".60 to 1.00"
    assert style.rate_interval(None) == "–"
    written = {1 / 113: ".009", 0.5: ".50", 0.1: ".10", 0.05: ".05", 1.0: "1.00", 0.0: ".00", 0.00012: ".0001"}
    assert {value: style.share(value) for value in written} == written
    assert style.share(None) == "–"
    assert [style.p_value(p) for p in (0.0003, 0.0312, 0.5, 1.0)] == ["below 0.001", "0.031", "0.5", "1"]
    assert style.k_of_n(3, 5) == "3 of 5"
    assert style.k_of_n(None, 5) == "–"
