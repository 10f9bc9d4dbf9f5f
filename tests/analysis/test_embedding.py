from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from gtsearch.analysis import embedding
from gtsearch.errors import ResultsError
from gtsearch.results import Results
from tests.analysis.synthetic import WINNER, Story, make

ANGLE = 2 * np.pi * np.arange(24) / 24


def frame(rows: npt.NDArray[np.float64], kind: str = "tokens") -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=[f"w{i}" for i in range(rows.shape[1])])
    made.insert(0, "kind", kind)
    return made


def part(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["part"] == name].reset_index(drop=True)


def test_the_spectrum_is_the_share_of_each_frequency_without_the_mean() -> None:
    rows = np.column_stack([2 * np.cos(3 * ANGLE) + 50, np.sin(5 * ANGLE), 0 * ANGLE - 7])
    found = part(embedding.table(frame(rows)), "spectrum")
    assert found["x"].tolist() == list(range(1, 13))
    shares = dict(zip(found["x"], found["y"], strict=True))
    assert shares.pop(3) == pytest.approx(0.8) and shares.pop(5) == pytest.approx(0.2)
    assert max(shares.values()) < 1e-12
    highest = embedding.spectrum(np.column_stack([np.cos(12 * ANGLE), np.sqrt(2) * np.cos(ANGLE)]))
    assert (highest[11], highest[0]) == pytest.approx((0.5, 0.5))  # the power of each column, by Parseval
    assert embedding.spectrum(np.ones((7, 2))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("width", [1, 2])
def test_rows_in_a_plane_are_shown_as_they_are(width: int) -> None:
    rows = np.random.default_rng(0).normal(size=(24, width))
    table = embedding.table(frame(rows))
    found = part(table, "pca")
    assert found["x"].tolist() == rows[:, 0].tolist()
    assert found["y"].tolist() == (rows[:, 1].tolist() if width == 2 else [0.0] * 24)
    assert found["share_x"].isna().all() and part(table, "map").empty
    assert "no more to map" in drawn(table, "map").texts[0].get_text().replace("\n", " ")
    assert drawn(table, "pca").get_xlabel() == "first column"


def test_the_principal_directions_come_with_their_share() -> None:
    rows = np.column_stack([3 * np.cos(ANGLE), np.sin(ANGLE), 2 * np.sin(ANGLE), 0 * ANGLE]) + 7
    found = part(embedding.table(frame(rows)), "pca")
    assert (found["share_x"].iloc[0], found["share_y"].iloc[0]) == pytest.approx((9 / 14, 5 / 14))
    assert np.abs(found["x"]).to_numpy() == pytest.approx(np.abs(3 * np.cos(ANGLE)))
    assert np.abs(found["y"]).to_numpy() == pytest.approx(np.abs(np.sqrt(5) * np.sin(ANGLE)))
    assert "64 % of the variation" in drawn(embedding.table(frame(rows)), "pca").get_xlabel()


def test_wider_rows_are_mapped_the_same_every_time_and_neighbours_stay_near() -> None:
    rows = np.column_stack([np.cos(ANGLE), np.sin(ANGLE), np.cos(ANGLE), np.sin(ANGLE)])
    one, two = (part(embedding.table(frame(rows)), "map")[["x", "y"]].to_numpy(float) for _ in range(2))
    assert one.tolist() == two.tolist()
    steps = np.linalg.norm(one - np.roll(one, 1, axis=0), axis=1)
    across = np.linalg.norm(one - np.roll(one, 12, axis=0), axis=1)
    assert steps.max() < across.min()


def test_of_vectors_there_are_norms() -> None:
    table = embedding.table(frame(np.array([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]]), "vectors"))
    assert part(table, "map")["y"].tolist() == [5, 1, 10]
    assert part(table, "pca")["y"].sum() == pytest.approx(1) and part(table, "pca")["x"].tolist() == [1, 2]
    ranked = part(table, "spectrum")
    assert ranked["y"].tolist() == [10, 5, 1] and ranked["token"].tolist() == [2, 0, 1]


def drawn(table: pd.DataFrame, name: str) -> Axes:
    figure = Figure(figsize=(6, 4))
    ax = figure.add_subplot()
    embedding.draw(table, ax, part=name)
    figure.draw_without_rendering()
    return ax


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make(tmp_path_factory.mktemp("kept") / "run", Story(architectures=16, levels=(), seeds=2, embedding=True))


def test_the_embedding_of_the_model_that_pays_is_read_and_drawn(kept: Results) -> None:
    table = embedding.table(embedding.gather(kept))
    assert len(part(table, "map")) == 113
    peaks = part(table, "spectrum").nlargest(2, "y")
    assert sorted(peaks["x"]) == [7, 31]
    assert len(drawn(table, "map").collections[0].get_offsets()) == 113
    assert {text.get_text().strip() for text in drawn(table, "spectrum").texts} == {"7", "31"}


def test_tokens_of_a_modular_task_are_coloured_by_residue_others_are_not(kept: Results) -> None:
    def colours(results: Results) -> int:
        [points] = drawn(embedding.table(embedding.gather(results)), "pca").collections
        return len(np.unique(points.get_facecolors(), axis=0))

    assert part(embedding.table(embedding.gather(kept)), "map")["residue"].tolist() == list(range(113))
    assert colours(kept) > 50
    for old, new in (("modular_addition", "permutations"), ("p: 113", "p: 97")):
        other = Results(**{**vars(kept), "spec_text": kept.spec_text.replace(old, new)})
        assert embedding.gather(other)["residue"].isna().all() and colours(other) == 1


@pytest.mark.parametrize(
    ("name", "label"),
    [("pca", "share of the variation"), ("map", "norm of its weights"), ("spectrum", "norm of its weights")],
)
def test_vectors_are_drawn_without_a_map(folder: Path, name: str, label: str) -> None:
    story = Story(architectures=16, levels=(), seeds=2, embedding=True, vectors=True)
    table = embedding.table(embedding.gather(make(folder, story)))
    assert set(table["kind"]) == {"vectors"}
    assert drawn(table, name).get_ylabel() == label


def test_of_several_snapshots_the_one_that_was_handed_over_is_taken(kept: Results) -> None:
    def kept_at(epoch: int, value: float) -> Path:
        path = kept.folder / "embeddings" / f"{WINNER}-e{epoch}.safetensors"
        save_file({"E_W": np.full((6, 1), value, dtype=np.float32)}, path, {"gtsearch": "{}"})
        return path

    made = [kept_at(900, 9.0), kept_at(1000, 10.0)]
    try:
        assert embedding.gather(kept)["w0"].iloc[0] == 10.0  # the latest, where the tables do not say
        trials = kept.trials.copy()
        trials.loc[trials["role"] == "report", ["weak_run_id", "weak_epoch"]] = [WINNER, 900]
        assert embedding.gather(Results(**{**vars(kept), "trials": trials}))["w0"].iloc[0] == 9.0
    finally:
        for path in made:
            path.unlink()


def test_a_damaged_file_is_an_error_that_names_it(kept: Results, tmp_path: Path) -> None:
    path = tmp_path / "embeddings" / f"{WINNER}-e5.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"no embedding")
    with pytest.raises(ResultsError, match=r"-e5\.safetensors is damaged"):
        embedding.gather(Results(**{**vars(kept), "folder": tmp_path}))


def test_nothing_to_draw_is_said_in_words(usual: Results) -> None:
    table = embedding.table(embedding.gather(usual))
    assert "no weak embedding" in (embedding.nothing(table) or "")
    assert "no weak embedding" in drawn(table, "map").texts[0].get_text().replace("\n", " ")
