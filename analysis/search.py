"""Which hyperparameters mattered, how results go with each, where the best lies at an edge.

One panel a stage, made of small ones: importance, then a slice through each hyperparameter.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from gtsearch.analysis import asked, style
from gtsearch.analysis.members import base_only
from gtsearch.analysis.stats import Floats, floats, records
from gtsearch.results import Results

TITLE = "What did the search see?"
CAPTION = (
    "Left the target, right the weak model. First which hyperparameters the result hangs on: by how much a random "
    "forest guesses the order of the configs worse when one is shuffled, as shares; its title says how much of the "
    "order the forest explains at all (out of bag). Then the result against each: filled is the search seed, a ring "
    "a gate seed, a cross a run that did not get there (a target at the top, a weak model at the accuracy it came "
    "to). A shaded end is an edge of the space at which the best config lies: widen it."
)
PANELS: tuple[dict[str, Any], ...] = ({"stage": "target"}, {"stage": "weak"})

COLUMNS = {
    "stage": "string",
    "kind": "string",
    "hyperparameter": "string",
    "method": "string",
    "role": "string",
    "x": "Float64",
    "y": "Float64",
    "reached": "boolean",
    "log": "boolean",
    "low": "Float64",
    "high": "Float64",
    "explained": "Float64",
    "rows": "Int64",
}
IMPORTANCE, POINT, EDGE = "importance", "point", "edge"
_NAMED = ("lr", "weight_decay", "init_scale", "embedding_scale")
_SIZES = ("d_embed", "width", "depth")
_FEWEST = 16  # rows; of fewer a forest learns nothing
_TREES, _REPEATS, _SEED = 60, 4, 0
_MOST_FOR_FOREST = 500  # rows; more change no importance that can be seen, and take seconds
_MOST_POINTS = 1200  # of one slice; the best of each method are always among them
_MOST_SLICES = 5
_EDGE = 0.05  # of the extent of a domain, as the search's warnings have it
_ACROSS, _WIDTH, _HEIGHT = 2, 2.45, 1.75  # small panels in a row, and inches of one
_GAP = (0.72, 0.72)
_MISSED = "x"
_CROWDED = (1.6, 2.5)  # decades; at three ticks in each, labels such as 0.001 touch in a small panel
_OBJECTIVE = {"target": "epochs to the goal", "weak": "best accuracy"}


@dataclass(frozen=True)
class _Range:
    """Where a hyperparameter may lie, as the experiment file writes it."""

    low: float
    high: float
    log: bool

    def edge(self, value: float) -> str | None:
        scale = np.log if self.log else np.asarray
        low, high, at = (float(scale(number)) for number in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return "low" if share <= _EDGE else "high" if share >= 1.0 - _EDGE else None


# -- what is read -------------------------------------------------------------------------------------------


def gather(results: Results) -> pd.DataFrame:
    """The members of the searches and their gates, and what the experiment asked of them.

    Columns: stage, method, role, config_id, status, epochs_to_goal, best_val_accuracy, one a hyperparameter that was
    varied and, of the weak model, one a size; in `attrs` the ranges (`ranges`: stage -> hyperparameter -> range) and
    the configs that were chosen (`chosen`: stage -> method -> config).
    """
    trials = base_only(results).trials
    rows = trials[trials["role"].isin(["search", "gate"]) & (trials["status"] != "cancelled")]
    rows = rows[rows["method"].notna() & (rows["method"] != "growth")]
    columns = ["stage", "method", "role", "config_id", "status", "epochs_to_goal", "best_val_accuracy"]
    frame = rows[[*columns, *_NAMED, *_SIZES]].reset_index(drop=True)
    read = {text: json.loads(text) for text in rows["hyperparameters"].dropna().unique()}
    others = pd.DataFrame([read.get(text, {}) for text in rows["hyperparameters"]])
    for name in others.columns.difference(frame.columns):
        frame[name] = pd.to_numeric(others[name], errors="coerce")
    experiment, summary = asked.experiment(results), results.summary
    weak = summary["weak"] or {}
    winner = weak.get("pays") or weak.get("clears") or {}
    frame.attrs["ranges"] = {stage: _ranges((experiment.get(stage) or {}).get("tune")) for stage in _OBJECTIVE}
    frame.attrs["chosen"] = {
        "target": {method: record.get("config") or {} for method, record in summary["methods"].items()},
        "weak": {"weak": winner.get("config") or {}},
    }
    return frame


def _ranges(tune: Any) -> dict[str, _Range]:
    """The ranges among the domains of a stage; a choice or a number has no edge."""
    found = {}
    for name, domain in (tune or {}).items():
        for word, bounds in domain.items() if isinstance(domain, Mapping) else ():
            if word != "choice" and len(bounds) >= 2:
                found[name] = _Range(float(bounds[0]), float(bounds[1]) - (word == "randint"), word == "loguniform")
    return found


# -- the table ----------------------------------------------------------------------------------------------


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What is drawn, columns and dtypes as in COLUMNS.

    Args:
        frame: as `gather` gives it.

    Returns:
        Of each stage, rows of three kinds. `importance`: y is the share of a hyperparameter (least 0, adding up to 1),
        in order; explained is how much of the order of the configs the forest explains out of bag (1: all; null on
        all and y null: fewer than 16 search runs, or nothing differs). `point`: a run of the search or the gate at x, y
        epochs to the goal (null where it did not get there) or, of the weak model, its best validation accuracy.
        `edge`: the chosen config of method lies at x, within low to high, the end of the range that is shaded. log:
        whether the hyperparameter's axis is logarithmic; rows: runs on the search seed.
    """
    blocks = [block for stage in _OBJECTIVE for block in _of_stage(frame, stage)]
    made = pd.concat([block.reindex(columns=list(COLUMNS)) for block in blocks]) if blocks else None
    made = pd.DataFrame(columns=list(COLUMNS)) if made is None else made
    return made.astype(COLUMNS).reset_index(drop=True)


def _of_stage(frame: pd.DataFrame, stage: str) -> list[pd.DataFrame]:
    own = frame[frame["stage"] == stage]
    names = [name for name in (*_NAMED, *_others(frame), *(_SIZES if stage == "weak" else ())) if _varies(own[name])]
    searched = own[own["role"] == "search"]
    if not names or searched.empty:
        return []
    ranges: Mapping[str, _Range] = frame.attrs.get("ranges", {}).get(stage, {})
    shares, explained = _importance(searched, names)
    names.sort(key=lambda name: -shares.get(name, 0.0))
    order = [(name, shares.get(name)) for name in names]
    blocks = [pd.DataFrame(order, columns=["hyperparameter", "y"]).assign(kind=IMPORTANCE, explained=explained)]
    for name in names[:_MOST_SLICES]:
        log = ranges[name].log if name in ranges else _spans_decades(floats(own[name]))
        blocks += [_points(own, name, stage).assign(hyperparameter=name, log=log)]
        if name in ranges:
            chosen = frame.attrs.get("chosen", {}).get(stage, {})
            blocks.append(_edges(chosen, name, ranges[name]).assign(hyperparameter=name, log=log))
    return [block.assign(stage=stage, rows=len(searched)) for block in blocks if len(block)]


def _others(frame: pd.DataFrame) -> list[str]:
    fixed = {"stage", "method", "role", "config_id", "status", "epochs_to_goal", "best_val_accuracy", *_NAMED, *_SIZES}
    return [str(name) for name in frame.columns if name not in fixed]


def _varies(column: pd.Series) -> bool:
    return bool(column.nunique() > 1)


def _spans_decades(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return bool(known.min() > 0 and known.max() / known.min() > 10)


def _order(searched: pd.DataFrame) -> Floats:
    """From the best config (near 0) to the worst (1) within each method: who got there sooner, then who came closer."""
    reached = (searched["status"] == "cleared").to_numpy(dtype=bool)
    epochs, accuracy = floats(searched["epochs_to_goal"]), np.nan_to_num(floats(searched["best_val_accuracy"]))
    missed = np.nanmax(epochs, initial=0.0) + 2.0 - accuracy
    worse = pd.Series(np.where(reached, epochs, missed), index=searched.index)
    return floats(worse.groupby(searched["method"]).rank(pct=True))


def _importance(searched: pd.DataFrame, names: Sequence[str]) -> tuple[dict[str, float], float | None]:
    """Share of each hyperparameter, and what the forest explains out of bag; nothing of too few runs."""
    if len(searched) < _FEWEST:
        return {}, None
    from sklearn.ensemble import RandomForestRegressor  # slow to import, and of use here alone
    from sklearn.inspection import permutation_importance

    if len(searched) > _MOST_FOR_FOREST:
        searched = searched.sample(_MOST_FOR_FOREST, random_state=_SEED)
    got_there = searched.loc[searched["status"] == "cleared", "method"]
    if len(got_there):  # a method of which no config got there says little of what a good one is
        searched = searched[searched["method"].isin(got_there)]
    order = _order(searched)
    if len(searched) < _FEWEST or np.ptp(order) == 0:
        return {}, None
    known = searched[list(names)].astype("Float64")
    inputs = known.fillna(known.median()).to_numpy(dtype=np.float64, na_value=0.0)
    methods = pd.factorize(searched["method"])[0].astype(np.float64)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, oob_score=True, random_state=_SEED)
    inputs = np.column_stack([inputs, methods])
    forest.fit(inputs, order)
    worse = permutation_importance(forest, inputs, order, n_repeats=_REPEATS, random_state=_SEED).importances_mean
    worse = np.maximum(worse[: len(names)], 0.0)
    total = worse.sum()
    if total <= 0:
        return {}, float(forest.oob_score_)
    return dict(zip(names, (worse / total).tolist(), strict=True)), float(forest.oob_score_)


def _points(own: pd.DataFrame, name: str, stage: str) -> pd.DataFrame:
    reached = own["status"] == "cleared"
    y = own["best_val_accuracy"] if stage == "weak" else own["epochs_to_goal"].where(reached)
    points = own[["method", "role"]].assign(kind=POINT, x=own[name], y=y.astype("Float64"), reached=reached)
    points = points[points["x"].notna()]
    if len(points) <= _MOST_POINTS:
        return points
    best = points.groupby("method")["y"].rank(ascending=stage == "target") <= _MOST_POINTS // 20
    rest = points[~best].sample(_MOST_POINTS - int(best.sum()), random_state=_SEED)
    return pd.concat([points[best], rest]).sort_index()


def _edges(chosen: Mapping[str, Mapping[str, float]], name: str, span: _Range) -> pd.DataFrame:
    """The methods whose chosen config lies at an end of the range, and that end."""
    rows = []
    for method, config in chosen.items():
        if name not in config or (side := span.edge(float(config[name]))) is None:
            continue
        scale, back = (np.log, np.exp) if span.log else (np.asarray, np.asarray)
        low, high = float(scale(span.low)), float(scale(span.high))
        ends = (low, low + _EDGE * (high - low)) if side == "low" else (high - _EDGE * (high - low), high)
        near, far = (float(back(end)) for end in ends)
        rows.append({"kind": EDGE, "method": method, "x": float(config[name]), "low": near, "high": far})
    return pd.DataFrame(rows)


# -- the picture --------------------------------------------------------------------------------------------


def _slices(frame: pd.DataFrame, stage: str) -> list[str]:
    """The hyperparameters that are drawn, in the order of importance."""
    points = frame[(frame["stage"] == stage) & (frame["kind"] == POINT)]
    return list(dict.fromkeys(points["hyperparameter"]))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of all small panels of a stage together."""
    up = -(-(1 + max(len(_slices(frame, stage)) for stage in _OBJECTIVE)) // _ACROSS)
    return _ACROSS * _WIDTH + (_ACROSS - 1) * _GAP[0], up * _HEIGHT + (up - 1) * _GAP[1]


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    return "Nothing was searched: the experiment leaves no hyperparameter to choose." if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, stage: str = "target") -> None:
    """Draws a `table` as small panels in the place of `ax`; `stage` is `target` or `weak`."""
    own = frame[frame["stage"] == stage]
    if own.empty:
        style.sentence(ax, nothing(frame) or f"Nothing was searched of the {stage} model.")
        return
    ax.set_axis_off()
    width, height = size(frame)
    names = _slices(frame, stage)
    for i, name in enumerate([None, *names]):
        row, column = divmod(i, _ACROSS)
        left, top = column * (_WIDTH + _GAP[0]), row * (_HEIGHT + _GAP[1])
        panel = ax.inset_axes((left / width, 1 - (top + _HEIGHT) / height, _WIDTH / width, _HEIGHT / height))
        if name is None:
            _draw_importance(panel, own[own["kind"] == IMPORTANCE])
        else:
            through = own[(own["hyperparameter"] == name) & (own["kind"] != IMPORTANCE)]
            _draw_slice(panel, through, stage, first=column == 0 or i == 1)
    handles = _legend(own, stage)
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1 + 0.28 / height),
        ncols=3,
        borderaxespad=0,
        frameon=False,
        title=f"{stage} model" if stage == "weak" else "target",
        alignment="left",
    )


def _draw_importance(panel: Axes, shown: pd.DataFrame) -> None:
    shares = floats(shown["y"])
    names = list(shown["hyperparameter"])
    rows = int(shown["rows"].iloc[0])
    panel.set_title("importance", fontsize="medium", loc="left", fontweight="normal")
    explained = shown["explained"].iloc[0]
    if pd.isna(explained) or explained <= 0 or np.isnan(shares).any():
        why = "a random forest cannot tell better configs from worse by their hyperparameters"
        if pd.isna(explained):
            why = f"{rows} runs are too few, or all ended alike; {_FEWEST} are needed"
        panel.set_axis_off()
        panel.text(0, 0.9, textwrap.fill(f"Not known: {why}.", 27), va="top", fontsize="medium", color=style.INK)
        return
    panel.barh(np.arange(len(names)), shares, height=0.62, color=style.FAINT)
    for i, share in enumerate(shares):
        panel.text(share + 0.02, i, style.percent(share), va="center", fontsize="small", color=style.INK)
    panel.set_yticks(np.arange(len(names)), names, fontsize="small")
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlim(0, 1.25)
    panel.set_xticks([])
    panel.grid(visible=False)
    text = f"importance ({style.percent(float(explained))} of the order explained)"
    panel.set_title(text, fontsize="medium", loc="left", fontweight="normal")


def _draw_slice(panel: Axes, shown: pd.DataFrame, stage: str, first: bool) -> None:
    points = shown[shown["kind"] == POINT]
    y = floats(points["y"])
    known = y[np.isfinite(y)]
    far = stage == "target" and len(known) > 0 and known.min() > 0 and known.max() > 8 * known.min()
    missed = known.max(initial=1.0) * (1.6 if far else 1.15)  # where those stand that did not get there
    heights = np.where(np.isfinite(y), y, missed if stage == "target" else 0.0)
    for method in sorted(set(points["method"]), key=lambda name: -style.place(name)):
        _scatter(panel, points, heights, str(method))
    panel.set_xlabel(str(shown["hyperparameter"].iloc[0]), fontsize="medium", labelpad=1)
    if first:
        panel.set_ylabel(_OBJECTIVE[stage], fontsize="medium")
    for edge in records(shown[shown["kind"] == EDGE]):
        panel.axvspan(edge["low"], edge["high"], color=_shade(edge["method"])[0], alpha=0.25, lw=0, zorder=0)
    if shown["log"].iloc[0]:
        style.log_axis(panel, "x", "count")
        low, high = panel.get_xlim()
        if _CROWDED[0] < np.log10(high / low) < _CROWDED[1]:
            panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
    if far:
        style.log_axis(panel, "y", "count")
    elif not len(known):
        panel.set_yticks([missed], ["none\ngot there"])
    panel.tick_params(labelsize="small")


def _scatter(panel: Axes, points: pd.DataFrame, heights: Any, method: str) -> None:
    own = (points["method"] == method).to_numpy(dtype=bool)
    gate, reached = (points["role"] == "gate").to_numpy(dtype=bool), points["reached"].to_numpy(dtype=bool)
    shade, mark = _shade(method)
    x = floats(points["x"])
    dense = own.sum() > 300
    look: dict[str, Any] = {"zorder": 3, "clip_on": False, "rasterized": len(points) > 500}
    at = own & reached & ~gate
    panel.scatter(x[at], heights[at], s=9 if dense else 17, marker=mark, color=shade, alpha=0.75, lw=0, **look)
    at = own & reached & gate
    panel.scatter(x[at], heights[at], s=22, marker="o", facecolors="none", edgecolors=shade, lw=0.9, **look)
    at = own & ~reached
    panel.scatter(x[at], heights[at], s=9 if dense else 17, marker=_MISSED, color=shade, lw=0.9, alpha=0.75, **look)


def _shade(method: str) -> tuple[str, str]:
    return (style.VERDICTS["clears"][0], "o") if method == "weak" else (style.colour(method), style.marker(method))


def _legend(own: pd.DataFrame, stage: str) -> list[Line2D]:
    points = own[own["kind"] == POINT]
    handles = []
    for method in sorted(set(points["method"]), key=style.place):
        shade, mark = _shade(str(method))
        label = "clears" if stage == "weak" else str(method)
        handles.append(Line2D([], [], ls="none", marker=mark, color=shade, ms=5, label=label))
    look: dict[str, Any] = {"ls": "none", "color": style.INK, "mfc": "none"}
    if (points["role"] == "gate").any():
        handles.append(Line2D([], [], marker="o", ms=6, label="gate seed", **look))
    if not points["reached"].all():
        handles.append(Line2D([], [], marker=_MISSED, ms=5, label="missed", **look))
    if (own["kind"] == EDGE).any():
        handles.append(Line2D([], [], color=style.FAINT, alpha=0.5, lw=7, label="best at an edge"))
    return handles
