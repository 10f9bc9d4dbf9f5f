"""The weak embedding that the target started from, as a map of its tokens and as a spectrum over them.

The one figure that opens an artefact of the run folder: the rows of E_W stand nowhere else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from gtsearch.analysis import asked, style
from gtsearch.analysis.stats import Floats, floats
from gtsearch.errors import ResultsError
from gtsearch.results import Results

TITLE = "What is in the weak embedding?"
CAPTION = (
    "The embedding of the weak model that pays (else of the one that clears). Tokens: the rows in their first two "
    "directions (PCA; of two columns, as they are), neighbours kept together (t-SNE), and the share of their variation "
    "at each frequency over the tokens; of a modular task coloured by residue, around a circle. A weak model that uses "
    "few frequencies shows few peaks, and rings. Inputs that are vectors: how much of the weights lies in each "
    "direction, and the norm of the weights of each input, as they come and by size."
)
PANELS: tuple[dict[str, Any], ...] = ({"part": "pca"}, {"part": "map"}, {"part": "spectrum"})

_COLUMNS = ["part", "kind", "token", "residue", "x", "y", "share_x", "share_y"]
_MARKED = 4  # peaks of a spectrum that are named
_SEED = 0  # of t-SNE
_PERPLEXITY = 30.0
_FEWEST = 5  # tokens; of fewer there is no neighbourhood
_TOKENS, _VECTORS = "tokens", "vectors"


def gather(results: Results) -> pd.DataFrame:
    """E_W of the weak model that pays, else that clears: one row a token or input dimension.

    Columns: kind (`tokens` or `vectors`), residue (of a token of a modular task, else null) and w0, w1, ... Empty
    where there is no such model, or its file is gone.

    Raises:
        ResultsError: the file is damaged, or the experiment is.
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
        if rows.ndim != 2 or not isinstance(header, dict):
            raise ValueError("it holds no table with a header of gtsearch's")
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    frame = pd.DataFrame(rows, columns=[f"w{i}" for i in range(rows.shape[1])])
    kind = _VECTORS if header.get("vectors") else _TOKENS
    frame.insert(0, "kind", kind)
    task = asked.experiment(results)["task"]
    is_modular = kind == _TOKENS and str(task.get("name")).startswith("modular_") and len(frame) == task.get("p")
    residue = pd.Series(range(len(frame)) if is_modular else None, index=frame.index, dtype="Int64")
    frame.insert(1, "residue", residue)
    return frame


def _file(results: Results, run_id: str) -> Path | None:
    """The embedding of a run: the one a report target started from, else the latest."""
    trials = results.trials
    used = trials[(trials["weak_run_id"] == run_id) & (trials["role"] == "report")]["weak_epoch"].dropna()
    kept: dict[int, Path] = {}
    # The name is looked for, and never made into a path: it stands in a file that somebody may have sent.
    for path in (results.folder / "embeddings").glob("*.safetensors"):
        if found := re.fullmatch(rf"{re.escape(str(run_id))}-e(\d+)\.safetensors", path.name):
            kept[int(found[1])] = path
    at = next((int(epoch) for epoch in used if int(epoch) in kept), max(kept, default=None))
    return None if at is None else kept[at]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What is drawn.

    Args:
        frame: as `gather` gives it.

    Returns:
        One row a point: part, kind, token, residue (null: none), x, y. Of tokens `pca` (x, y the first two principal
        directions, share_x and share_y the share of the variation in them; of one or two columns the rows as they
        are, share null), `map` (x, y by t-SNE; no rows where there are no more than two columns, or four tokens) and
        `spectrum` (x the frequency in periods over all tokens, y its share of the variation, after the mean of each
        column is taken off; adding up to 1). Of vectors `pca` (x the direction, y its share of the variation), `map`
        (x the dimension, y its norm) and `spectrum` (x the rank by norm, y the norm).
    """
    if frame.empty:
        return pd.DataFrame(columns=_COLUMNS)
    kind = str(frame["kind"].iloc[0])
    rows = frame.filter(regex=r"^w\d+$").to_numpy(dtype=np.float64)  # [tokens, d_W]
    number = np.arange(len(rows))
    along, shares = _principal(rows)
    if kind == _VECTORS:
        norms = np.linalg.norm(rows, axis=1)
        order = np.argsort(-norms, kind="stable")
        directions = np.arange(len(shares))
        blocks = [
            {"part": "pca", "token": directions, "x": directions + 1.0, "y": shares},
            {"part": "map", "token": number, "x": number.astype(float), "y": norms},
            {"part": "spectrum", "token": order, "x": number + 1.0, "y": norms[order]},
        ]
    else:
        share = spectrum(rows)
        frequencies = np.arange(1, len(share) + 1)
        residue = frame["residue"].to_numpy() if "residue" in frame else None
        tokens = {"token": number, "residue": residue}
        blocks = [
            {"part": "pca", **tokens, **_plane(rows, along, shares)},
            {"part": "spectrum", "token": frequencies, "x": frequencies * 1.0, "y": share},
        ]
        if rows.shape[1] > 2 and len(rows) >= _FEWEST:
            blocks.insert(1, {"part": "map", **tokens, **_neighbours(rows)})
    made = pd.concat([pd.DataFrame(block) for block in blocks], ignore_index=True).assign(kind=kind)
    return made.reindex(columns=_COLUMNS).astype({"residue": "Int64"})


def spectrum(rows: Floats) -> Floats:
    """The share of the variation of `rows` ([tokens, d_W]) at 1, 2, ... periods over the tokens; zeros for none."""
    amplitude = np.fft.rfft(rows - rows.mean(axis=0), axis=0)[1:]
    power = (np.abs(amplitude) ** 2).sum(axis=1)
    if len(rows) % 2 == 0 and len(power):
        power[-1] /= 2  # the highest frequency of an even number has no mirror image
    total = power.sum()
    return np.asarray(power / total if total > 0 else power, dtype=np.float64)


def _principal(rows: Floats) -> tuple[Floats, Floats]:
    """`rows` along their principal directions [tokens, directions], and the share of the variation in each."""
    centred = rows - rows.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((singular**2).sum())
    return left * singular, singular**2 / total if total > 0 else singular


def _plane(rows: Floats, along: Floats, shares: Floats) -> dict[str, Any]:
    """`rows` in two dimensions: as they are, or the first two principal directions."""
    if rows.shape[1] <= 2:
        padded = np.pad(rows, ((0, 0), (0, 2 - rows.shape[1])))
        return {"x": padded[:, 0], "y": padded[:, 1]}
    padded = np.pad(along, ((0, 0), (0, max(0, 2 - along.shape[1]))))
    first, second = np.append(shares, [0.0, 0.0])[:2]
    return {"x": padded[:, 0], "y": padded[:, 1], "share_x": float(first), "share_y": float(second)}


def _neighbours(rows: Floats) -> dict[str, Any]:
    """`rows` in two dimensions by t-SNE (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE  # slow to import, and of use here alone
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    with threadpool_limits(1):  # on a busy machine its threads wait for each other: minutes instead of a second
        plane = TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED).fit_transform(rows)
    return {"x": plane[:, 0].astype(np.float64), "y": plane[:, 1].astype(np.float64)}


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.0, 3.0


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "There is no weak embedding: no weak model clears, or its file was not kept." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, part: str = "map") -> None:
    """Draws a `table` on `ax`; `part` is `pca`, `map` or `spectrum`."""
    if (reason := nothing(frame)) is not None:
        style.sentence(ax, reason)
        return
    shown = frame[frame["part"] == part]
    x, y = floats(shown["x"]), floats(shown["y"])
    if frame["kind"].iloc[0] == _VECTORS:
        _draw_directions(ax, x, y) if part == "pca" else _draw_norms(ax, x, y, part)
    elif part == "spectrum":
        _draw_spectrum(ax, x, y)
    elif shown.empty:
        style.sentence(ax, "There is no more to map: the rows have two columns, or there are too few tokens.")
    else:
        _draw_plane(ax, shown, x, y)


def _draw_plane(ax: Axes, shown: pd.DataFrame, x: Floats, y: Floats) -> None:
    residue = shown["residue"]
    area = 26 if len(x) < 500 else 10
    look: dict[str, Any] = {"s": area, "lw": 0.4, "edgecolors": style.INK, "zorder": 3}
    if residue.notna().all():
        points = ax.scatter(x, y, c=floats(residue), cmap="twilight_shifted", vmin=0, vmax=len(x), **look)
        bar = Colorbar(ax.inset_axes((1.02, 0.0, 0.03, 1.0)), points)
        bar.set_label("residue")
        bar.ax.tick_params(labelsize="small")
    else:
        ax.scatter(x, y, color=style.tint(style.colour("transfer"), 0.7), **look)
    ax.margins(0.06)
    if shown["part"].iloc[0] == "map":
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("neighbours kept together, t-SNE")
        return
    ax.set_aspect("equal", adjustable="datalim")  # a ring is a ring
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    shares = shown[["share_x", "share_y"]].iloc[0]
    names = [
        f"{word} column" if pd.isna(share) else f"{word} direction, {style.percent(share)} of the variation"
        for word, share in zip(("first", "second"), shares, strict=True)
    ]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1].replace(" of the variation", ""))


def _draw_directions(ax: Axes, x: Floats, y: Floats) -> None:
    ax.bar(x, y, width=0.7, color=style.colour("transfer"))
    ax.set_ylim(0, 1.08 * max(float(y.max(initial=0.0)), 1e-9))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("direction")
    ax.set_ylabel("share of the variation")


def _draw_spectrum(ax: Axes, x: Floats, y: Floats) -> None:
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


def _draw_norms(ax: Axes, x: Floats, y: Floats, part: str) -> None:
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
