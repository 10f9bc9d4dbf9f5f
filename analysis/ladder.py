"""How far every weak architecture got, in order of size: its best accuracy, the gate, and the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, offset_copy

from gtsearch.analysis import style
from gtsearch.analysis.asked import experiment
from gtsearch.analysis.stats import Floats, floats
from gtsearch.results import Results

TITLE = "How small can the weak model be?"
CAPTION = (
    "Each mark is one weak architecture, by its parameters (across). Left: the best validation accuracy any of its "
    "configs came to on the search seed; the dotted line is the accuracy asked for, if one is. Right: of those that "
    "came that far, the share of gate seeds that the best config cleared; the dotted line is what the gate asks for. "
    "On top the certificate as a bracket: the largest that is excluded with all below it, what is undecided, and the "
    "smallest that is certified."
)
PANELS: tuple[dict[str, Any], ...] = ({"y": "best_val_accuracy"}, {"y": "gate_share"})

_AXIS = {"best_val_accuracy": "best validation accuracy", "gate_share": "share of gate seeds cleared"}
_NAMED = ("pays", "clears", "undecided")
_BRACKET = 0.88  # how high the bracket stands; what was measured stays below it
_GROUND = _BRACKET - 0.045  # where its ground begins
_FEW = 8  # so many architectures are all named; of more, the two smallest of each verdict that matters
_NEAR = 12  # points; a name further from its mark gets a line to it
_MARK = 5  # half a mark's side, in pixels at 100 a inch
_APART = 2 * _MARK  # from a mark's centre to the name of another, at least: nearer, it would seem to be its own
_BESIDE = ((7, 10), (7, -10), (12, 22), (12, -22), (16, 34), (16, -34), (20, 48), (20, -48), (24, -62))
_PLACES = [  # where a name may stand: points right and up of its mark, and which part of it is there
    *((9.0, 0.0, "left"), (-9.0, 0.0, "right"), (0.0, 11.0, "center"), (0.0, -11.0, "center")),
    *((dx * side, dy, "left" if side > 0 else "right") for dx, dy in _BESIDE for side in (1.0, -1.0)),
]

COLUMNS = {
    "architecture": "string",
    "params": "Int64",
    "configs": "Int64",
    "cleared_configs": "Int64",
    "best_val_accuracy": "Float64",
    "best_cleared": "Int64",
    "gate_seeds": "Int64",
    "gate_share": "Float64",
    "verdict": "string",
    "detail": "string",
    "goal": "Float64",
    "gate_required": "Float64",
    "bracket": "string",
}
EXCLUDED, OPEN, CERTIFIED = "excluded", "open", "certified"


def gather(results: Results) -> pd.DataFrame:
    """The ladder of the summary, with the accuracy (null: none) and the share of gate seeds that are asked for.

    Empty where the experiment has no weak stage.
    """
    summary, weak = results.summary, experiment(results).get("weak") or {}
    frame = pd.DataFrame((summary["weak"] or {"ladder": []})["ladder"])
    gate = weak.get("gate") or {}
    required = gate["at_least"] / gate["seeds"] if {"at_least", "seeds"} <= set(gate) else None
    return frame.assign(goal=summary["threshold"], gate_required=required, cost=summary.get("cost"))


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes."""
    return 4.4, 3.0


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an architecture, from the smallest on; columns and dtypes as in COLUMNS.

    Args:
        frame: a row an architecture, as the summary's `weak.ladder` has it; of what it lacks the table has nulls.

    gate_share is best_cleared of gate_seeds, null where no config earned the gate seeds; a best_val_accuracy of null
    is an architecture that was not tried. bracket: `certified` (the smallest that pays, else that clears), `open`
    (undecided, or only seen to clear, and smaller) and `excluded` (smaller than all those); null for the rest, and
    where a column `cost` says that the search went by another order than parameters.
    """
    made = frame.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    made = made.assign(gate_share=made["best_cleared"] / made["gate_seeds"])
    made = made.sort_values(["params", "architecture"], ignore_index=True)
    by_params = "cost" not in frame or bool(frame["cost"].eq("params").all())
    return made.assign(bracket=_bracket(made)) if by_params else made


def _bracket(made: pd.DataFrame) -> pd.Series:
    verdict, params = made["verdict"], made["params"]
    best = "pays" if (verdict == "pays").any() else "clears"
    certified = params[verdict == best].min()
    below = params.notna() if pd.isna(certified) else params < certified
    is_open = verdict.isin(["undecided", "clears"]) & below
    first_open = params[is_open].min()
    is_excluded = (verdict == "excluded") & below & (True if pd.isna(first_open) else params < first_open)
    at_certified = (verdict == best) & (False if pd.isna(certified) else params == certified)
    names = np.select([at_certified, is_open, is_excluded], [CERTIFIED, OPEN, EXCLUDED], default="")
    return pd.Series(names, index=made.index, dtype="string").replace("", pd.NA)


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    missing = "No weak architecture is on the ladder: none was tried, or the experiment has no weak stage."
    return missing if frame.empty else None


def draw(frame: pd.DataFrame, ax: Axes, y: str = "best_val_accuracy") -> None:
    """Draws a `table` on `ax`; `y` is `best_val_accuracy` or `gate_share`."""
    shown = frame if y == "best_val_accuracy" else frame[frame[y].notna()]
    if shown.empty:
        style.sentence(ax, nothing(frame) or "No config cleared the search seed, so none came to the gate.")
        return
    height = floats(shown[y].fillna(0.0))
    required = shown["goal" if y == "best_val_accuracy" else "gate_required"].iloc[0]
    if pd.notna(required):
        ax.axhline(required, color=style.INK, lw=1.1, ls=":", zorder=1)
    params = floats(shown["params"])
    for verdict, (shade, marker) in reversed(style.VERDICTS.items()):  # the best on top
        at = (shown["verdict"] == verdict).to_numpy(dtype=bool)
        ax.scatter(
            params[at], height[at], s=170 if marker == "*" else 44, marker=marker, color=shade, zorder=4, clip_on=False
        )
    top = max(height.max(), required if pd.notna(required) else 0.0)
    bracketed = frame["bracket"].notna().any()
    ax.set_ylim(0, (1.04 if y == "gate_share" else 1.12 * (top or 1.0)) / (_BRACKET - 0.05 if bracketed else 1.0))
    _params_axis(ax, floats(frame["params"]))
    if bracketed:
        _draw_bracket(ax, frame)
    ceiling = (_GROUND if bracketed else 1.0) * ax.get_ylim()[1]
    ticks = np.linspace(0, 1, 6) if y == "gate_share" else ax.get_yticks()
    ax.set_yticks([tick for tick in ticks if tick <= min(1.0, ceiling)])  # nothing is measured above
    _name(ax, shown, params, height, required)
    ax.set_xlabel("parameters of the weak model")
    ax.set_ylabel(_AXIS[y])
    ax.legend(
        handles=_legend(frame), loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, borderaxespad=0, frameon=False
    )


def _draw_bracket(ax: Axes, frame: pd.DataFrame) -> None:
    """Over what was measured, in the marks of the verdicts, and in words."""
    params = {name: floats(frame.loc[frame["bracket"] == name, "params"]) for name in (EXCLUDED, OPEN, CERTIFIED)}
    where = ax.get_xaxis_transform()
    ground = (0.0, _GROUND), 1.0, 1.0
    ax.add_patch(Rectangle(*ground, transform=ax.transAxes, color="#F2F2F2", lw=0, zorder=1.5, clip_path=ax.patch))
    for name, verdict in ((EXCLUDED, "excluded"), (OPEN, "undecided"), (CERTIFIED, "pays")):
        if not len(at := params[name]):
            continue
        if name == CERTIFIED:
            verdict = str(frame.loc[frame["bracket"] == CERTIFIED, "verdict"].iloc[0])
        shade, mark = style.VERDICTS[verdict]
        ends = [ax.get_xlim()[0] if name == EXCLUDED else at.min(), at.max()]
        ax.plot(ends, [_BRACKET] * 2, transform=where, color=shade, lw=2.2, solid_capstyle="butt", zorder=3)
        marked = ends[1:] if name == EXCLUDED else sorted({*ends})
        ax.plot(
            marked,
            [_BRACKET] * len(marked),
            ls="none",
            marker=mark,
            ms=11 if mark == "*" else 6,
            color=shade,
            transform=where,
            zorder=4,
        )
    excluded, still, certified = (params[name] for name in (EXCLUDED, OPEN, CERTIFIED))
    words = [
        f"excluded to {style.count(excluded.max())}" if len(excluded) else "nothing excluded",
        f"{len(still)} undecided" if len(still) else "none undecided",
        f"certified at {style.count(certified.min())}" if len(certified) else "nothing certified",
    ]
    ax.text(0.012, 0.995, " < ".join(words), transform=ax.transAxes, va="top", fontsize="small", color=style.INK)


def _params_axis(ax: Axes, params: Floats) -> None:
    """Logarithmic, over all architectures, whichever panel."""
    ax.set_xlim(params.min() / 1.15, params.max() * 1.15)
    style.log_axis(ax, "x", "count")


def _legend(frame: pd.DataFrame) -> list[Line2D]:
    counts = frame["verdict"].value_counts()
    return [
        Line2D([], [], ls="none", marker=marker, color=shade, ms=11 if marker == "*" else 6.5, label=f"{verdict} ({n})")
        for verdict, (shade, marker) in style.VERDICTS.items()
        if (n := int(counts.get(verdict, 0)))
    ]


def _name(ax: Axes, shown: pd.DataFrame, params: Floats, height: Floats, required: float | None) -> None:
    """Names the architectures that matter, the best verdict first, where a name touches no other and not the dotted
    line at `required`."""
    shades = {verdict: shade for verdict, (shade, _) in style.VERDICTS.items()}
    by_verdict = {verdict: np.flatnonzero(shown["verdict"] == verdict) for verdict in shades}  # the smallest first
    if len(shown) > _FEW:
        by_verdict = {verdict: by_verdict[verdict][:2] for verdict in _NAMED}
    marks = ax.transData.transform(np.column_stack([params, height]))  # [architectures, 2], pixels
    taken = []
    if pd.notna(required):
        line = ax.transData.transform((params[0], required))[1]
        taken.append(Bbox([[ax.bbox.x0, line - 1], [ax.bbox.x1, line + 1]]))
    if shown["bracket"].notna().any():
        taken.append(Bbox([[0, _BRACKET - 0.03], [1, 1.2]]).transformed(ax.transAxes))
    for verdict, places in by_verdict.items():
        for i in places:
            spaces = [_around(mark, _MARK if own == i else _APART) for own, mark in enumerate(marks)]
            text, at = str(shown["architecture"].iloc[i]), (params[i], height[i])
            if (box := _annotate(ax, text, at, shades[verdict], [*taken, *spaces])) is not None:
                taken.append(box)


def _around(mark: Floats, half: float) -> Bbox:
    return Bbox([mark - half, mark + half])


def _annotate(ax: Axes, text: str, at: tuple[float, float], shade: str, taken: list[Bbox]) -> Bbox | None:
    """Places `text` near `at` (data) at the first place inside `ax` clear of `taken`, and says which; nowhere, if
    there is none."""
    figure = ax.get_figure(root=True)
    frame = ax.get_window_extent()
    for dx, dy, ha in _PLACES:
        near = offset_copy(ax.transData, figure, dx, dy, units="points")
        note = ax.text(*at, text, transform=near, ha=ha, va="center", fontsize="x-small", color=shade, zorder=5)
        style.halo(note)
        box = note.get_window_extent()
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 + 4
        if inside and not any(box.overlaps(other) for other in taken):
            if abs(dy) > _NEAR:
                line = {"arrowstyle": "-", "color": shade, "lw": 0.5, "shrinkA": 0, "shrinkB": 3}
                ax.annotate("", at, (dx, dy), textcoords="offset points", arrowprops=line, zorder=3)
            return box
        note.remove()
    return None
