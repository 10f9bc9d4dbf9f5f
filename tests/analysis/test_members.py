from __future__ import annotations

import pandas as pd
import pytest

from gtsearch import catalog
from gtsearch.analysis import members
from gtsearch.results import Results
from tests.analysis.synthetic import Story, Variation, make


def trials(*variations: str | None) -> pd.DataFrame:
    return pd.DataFrame({"run_id": list("abcdef")[: len(variations)], "variation": variations}).astype("string")


@pytest.mark.parametrize(
    ("variation", "run_ids"),
    [("base", ["a", "b", "f"]), ("merged", ["b", "c"]), ("merge", ["d"]), ("width [4, 8]", ["b", "e"]), ("none", [])],
)
def test_a_row_counts_for_every_variation_it_names(variation: str, run_ids: list[str]) -> None:
    every = trials("base", "base,merged,width [4, 8]", "merged", "merge", "width [4, 8]", None)
    assert members.rows_of(every, variation)["run_id"].tolist() == run_ids


def test_without_variations_every_row_is_of_the_experiment_itself() -> None:
    assert len(members.rows_of(trials(None, None))) == 2
    assert members.rows_of(trials()).empty


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    """The same run without and with a variation that does far worse."""
    plain = Story(architectures=16, seeds=4, levels=(0.1, 0.3), tradeoff_seeds=2, probes=("loss",), embedding=True)
    varied = {**vars(plain), "variations": {"slow": Variation({"target.model.width": 8}, 5.0, 2)}}
    folder = tmp_path_factory.mktemp("twins")
    return make(folder / "plain" / "run", plain), make(folder / "varied" / "run", Story(**varied))


@pytest.mark.parametrize("name", [name for name in catalog.FIGURES if name not in ("ablation", "sweep")])
def test_every_figure_but_those_of_variations_is_of_the_experiment_itself(
    name: str, twins: tuple[Results, Results]
) -> None:
    module = catalog.load("figure", name)
    plain, varied = (module.table(module.gather(results)) for results in twins)
    assert len(plain) and len(varied.columns) == len(plain.columns)
    pd.testing.assert_frame_equal(plain, varied, check_dtype=False)


@pytest.mark.parametrize("name", list(catalog.FIGURES))
def test_every_figure_keeps_the_contract(name: str, twins: tuple[Results, Results]) -> None:
    module = catalog.load("figure", name)
    assert module.TITLE and module.CAPTION.endswith(".") and module.PANELS
    table = module.table(module.gather(twins[1]))
    assert module.nothing(table) is None
    assert all(inches > 0.5 for inches in module.size(table))
