from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtsearch.analysis import probes, style
from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


def line(run_id: str, values: list[float | None], probe: str = "norm", method: str = "transfer") -> pd.DataFrame:
    made = pd.DataFrame({"run_id": run_id, "method": method, "epoch": range(0, 10 * len(values), 10), "probe": probe})
    made = made.astype({"run_id": "string", "epoch": "Int64"})
    return made.assign(value=pd.array(values, dtype="Float64"))


def test_the_median_goes_as_far_as_half_of_the_members() -> None:
    table = probes.table(pd.concat([line("a", [1, 2]), line("b", [3, 4, 5]), line("c", [5, 6, 7, None, 8])]))
    median = table[table["run_id"].isna()]
    assert dict(zip(median["epoch"], median["value"], strict=True)) == {0: 3, 10: 4, 20: 6}
    assert len(table[table["run_id"] == "c"]) == 4  # what was not finite is left out
    assert not table["log"].any()


@pytest.mark.parametrize(
    ("values", "log"), [([1.0, 50.0], False), ([1.0, 101.0], True), ([0.0, 1000.0], False), ([-1.0, 1000.0], False)]
)
def test_a_positive_number_over_more_than_two_decades_has_a_logarithmic_axis(values: list[float], log: bool) -> None:
    table = probes.table(line("a", [*values]))
    assert set(table["log"]) == {log}
    assert panels(table)[0].get_yscale() == ("log" if log else "linear")


def panels(table: pd.DataFrame) -> list[Axes]:
    figure = Figure(figsize=(9, 6))
    ax = figure.add_subplot()
    probes.draw(table, ax)
    figure.draw_without_rendering()
    assert not ax.axison
    return list(ax.child_axes)


def test_there_is_a_panel_a_number_and_a_line_a_seed_in_the_methods_colour() -> None:
    rows = [line("a", [1, 2]), line("b", [3, 4]), line("c", [9, 9], "share"), line("d", [5, 6], method="scratch")]
    norm, share = panels(probes.table(pd.concat(rows)))
    assert [panel.get_title(loc="left") or panel.get_title() for panel in (norm, share)] == ["norm", "share"]
    lines = [(item.get_color(), item.get_linewidth() > 1, list(item.get_ydata())) for item in norm.lines]
    blue, orange = style.colour("transfer"), style.colour("scratch")
    assert (blue, False, [1, 2]) in lines and (blue, True, [2, 3]) in lines and (orange, True, [5, 6]) in lines
    assert len(norm.lines) == 5 and len(share.lines) == 2


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_figure_grows_and_panels_never_touch(n: int) -> None:
    table = probes.table(pd.concat([line("a", [1, 2], f"number {i}") for i in range(n)]))
    boxes = [panel.get_window_extent() for panel in panels(table)]
    assert len(boxes) == n
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert probes.size(table)[1] == pytest.approx(-(-n // 2) * 2.2 + (-(-n // 2) - 1) * 0.75)


def test_a_run_is_read_by_its_report_members(folder: Path) -> None:
    results = make(folder, Story(architectures=16, levels=(), seeds=3, probes=("ntk_change", "share")))
    table = probes.table(probes.gather(results))
    assert list(dict.fromkeys(table["probe"])) == ["ntk_change", "share"]
    assert table["run_id"].nunique() == 12
    assert len(panels(table)) == 2


def test_nothing_to_draw_is_said_in_words(usual: Results) -> None:
    table = probes.table(probes.gather(usual))
    assert "No probe was read" in (probes.nothing(table) or "")
    figure = Figure()
    ax = figure.add_subplot()
    probes.draw(table, ax)
    assert "No probe was read" in ax.texts[0].get_text().replace("\n", " ")
