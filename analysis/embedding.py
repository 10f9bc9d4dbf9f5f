"""The weak embedding that the target started from, as a map of its tokens and as a spectrum over them.

The one figure that opens an artefact of the run folder: the rows of E_W stand nowhere else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from gtsearch.analysis import style
from gtsearch.analysis.stats import floats
from gtsearch.errors import ResultsError
from gtsearch.results import Results

TITLE = "What is in the weak embedding?"
CAPTION = (
    "The embedding of the weak model that pays (else of the one that clears). Tokens: a map of the rows by t-SNE, or "
    "the rows themselves where they are numbers in a plane, coloured by token; and the share of their variation at "
    "each frequency over the tokens. A weak model that uses few frequencies shows few peaks and a ring. Inputs that "
    "are vectors: the norm of the weights of each input, as they come and by size."
)
PANELS: tuple[dict[str, Any], ...] = ({"part": "map"}, {"part": "spectrum"})

_COLUMNS = ["part", "kind", "token", "x", "y"]
_MARKED = 4  # peaks of a spectrum that are named
_SEED = 0  # of t-SNE
_PERPLEXITY = 30.0
_TOKENS, _VECTORS = "tokens", "vectors"


def gather(results: Results) -> pd.DataFrame:
    """E_W of the weak model that pays, else that clears: one row a token or input dimension.

    Columns: kind (`tokens` or `vectors`) and w0, w1, ... Empty where there is no such model, or its file is gone.

    Raises:
        ResultsError: the file is damaged.
    """
    weak = results.summary["weak"]
    winner = (weak["pays"] or weak["clears"]) if weak else None
    path = _file(results, winner["run_id"]) if winner else None
    if path is None:
        return pd.DataFrame(columns=["kind"])
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["gtsearch"])
            rows = np.asarray(file.get_tensor("E_W"), dtype=np.float64)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    frame = pd.DataFrame(rows, columns=[f"w{i}" for i in range(rows.shape[1])])
    frame.insert(0, "kind", _VECTORS if header.get("vectors") else _TOKENS)
    return frame


def _file(results: Results, run_id: str) -> Path | None:
    """The embedding of a run: the one a report target started from, else the latest."""
    trials = results.trials
    used = trials[(trials["weak_run_id"] == run_id) & (trials["role"] == "report")]["weak_epoch"].dropna()
    kept: dict[int, Path] = {}
    for path in (results.folder / "embeddings").glob(f"{run_id}-e*.safetensors"):
        if found := re.fullmatch(r".*-e(\d+)\.safetensors", path.name):
            kept[int(found[1])] = path
    at = next((int(epoch) for epoch in used if int(epoch) in kept), max(kept, default=None))
    return None if at is None else kept[at]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What is drawn.

    Args:
        frame: as `gather` gives it.

    Returns:
        One row a point: part, kind, token, x, y. Of tokens `map` (x, y in the plane) and `spectrum` (x the frequency
        in periods over all tokens, y its share of the variation, after the mean of each column is taken off; adding
        up to 1). Of vectors `map` (x the dimension, y its norm) and `spectrum` (x the rank by norm, y the norm).
    """
    if frame.empty:
        return pd.DataFrame(columns=_COLUMNS)
    kind = str(frame["kind"].iloc[0])
    rows = frame.drop(columns="kind").to_numpy(dtype=np.float64)  # [tokens, d_W]
    number = np.arange(len(rows))
    if kind == _VECTORS:
        norms = np.linalg.norm(rows, axis=1)
        order = np.argsort(-norms, kind="stable")
        parts = [("map", number, number.astype(float), norms), ("spectrum", order, number + 1.0, norms[order])]
    else:
        plane, share = _plane(rows), spectrum(rows)
        frequencies = np.arange(1, len(share) + 1)
        parts = [("map", number, plane[:, 0], plane[:, 1]), ("spectrum", frequencies, frequencies * 1.0, share)]
    blocks = [pd.DataFrame({"part": part, "kind": kind, "token": t, "x": x, "y": y}) for part, t, x, y in parts]
    return pd.concat(blocks, ignore_index=True)[_COLUMNS]


def spectrum(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of the variation of `rows` ([tokens, d_W]) at 1, 2, ... periods over the tokens; zeros for none."""
    amplitude = np.fft.rfft(rows - rows.mean(axis=0), axis=0)[1:]
    power = (np.abs(amplitude) ** 2).sum(axis=1)
    if len(rows) % 2 == 0 and len(power):
        power[-1] /= 2  # the highest frequency of an even number has no mirror image
    total = power.sum()
    return np.asarray(power / total if total > 0 else power, dtype=np.float64)


def _plane(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`rows` in two dimensions, [tokens, 2]: as they are, or by t-SNE (van der Maaten and Hinton 2008)."""
    tokens, width = rows.shape
    if width <= 2 or tokens < 5:
        plane = rows[:, :2]
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    from sklearn.manifold import TSNE  # slow to import, and of use here alone

    perplexity = min(_PERPLEXITY, (tokens - 1) / 3)
    return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(rows), np.float64)


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.0, 3.0


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "There is no weak embedding: no weak model clears, or its file was not kept." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, part: str = "map") -> None:
    """Draws a `table` on `ax`; `part` is `map` or `spectrum`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    shown = frame[frame["part"] == part]
    x, y = floats(shown["x"]), floats(shown["y"])
    if frame["kind"].iloc[0] == _VECTORS:
        _draw_norms(ax, x, y, part)
    elif part == "map":
        _draw_map(ax, x, y)
    else:
        _draw_spectrum(ax, x, y)


def _draw_map(ax: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
    points = ax.scatter(x, y, c=np.arange(len(x)), cmap="twilight_shifted", s=26, lw=0.4, edgecolors=style.INK)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.margins(0.06)
    bar = Colorbar(ax.inset_axes((1.02, 0.0, 0.03, 1.0)), points)
    bar.set_label("token")
    ax.set_xlabel("a map of the rows")


def _draw_spectrum(ax: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
    shade = style.colour("transfer")
    ax.vlines(x, 0, y, color=shade, lw=1.6)
    top = np.argsort(-y, kind="stable")[:_MARKED]
    for i in top[y[top] > 2.5 / max(1, len(y))]:  # well above what noise would give each
        ax.plot([x[i]], [y[i]], marker="o", ms=4, color=shade)
        note = ax.text(x[i], y[i], f"{x[i]:.0f} ", ha="right", va="bottom", fontsize="small")
        style.halo(note)
    ax.set_xlim(0, len(x) + 1)
    ax.set_ylim(0, 1.12 * max(float(y.max(initial=0.0)), 1e-9))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("frequency, periods over all tokens")
    ax.set_ylabel("share of the variation")


def _draw_norms(ax: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], part: str) -> None:
    shade = style.colour("transfer")
    ax.plot(x, y, ls="none", marker="o", ms=4 if len(x) < 500 else 2, color=shade, rasterized=len(x) > 5000)
    ax.set_ylabel("norm of its weights")
    if part == "map":
        ax.set_xlabel("input dimension")
        ax.set_ylim(0, None)
        ax.xaxis.set_major_formatter(lambda value, _: style.number(value))
        return
    ax.set_xlabel("rank by norm")
    ax.margins(0.05)
    style.log_axis(ax, "x", "count")
    if y.min() > 0 and y.max() / y.min() > 100:
        style.log_axis(ax, "y", "count")
