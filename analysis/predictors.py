"""Which number that is read off a weak embedding foretells what the target does with it.

Of every target that was given a weak embedding by `transfer`, and scored (scores.parquet): whether it came to its goal
sooner than scratch does, and after how many epochs. `table` says how well each score tells that, by itself and all
together, with embeddings it was not fitted on; `held_out` on a task it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from gtsearch.analysis import stats, style
from gtsearch.analysis.members import base_only
from gtsearch.analysis.stats import Floats, OpenInterval, floats
from gtsearch.catalog import SCORES
from gtsearch.results import Results

TITLE = "What makes an embedding work?"
CAPTION = (
    "How well each number that is read off a weak embedding, without training a target, foretells the target. Left: "
    "does it come to its goal sooner than scratch's median? The area under the ROC curve: of a target that does and "
    "one that does not, how often the first has the better score; .5 is a coin. Which way is better is learnt from "
    "other weak models than those it is tested on, and where runs of several tasks are merged also from other tasks "
    "alone (open). Right: the rank correlation of the score with the epochs to the goal, those that never got there "
    "last; below 0, a higher score is sooner. Bars: 95 %, weak models drawn again."
)
PANELS: tuple[dict[str, Any], ...] = ({"part": "whether"}, {"part": "how fast"})
LEFT = 1.9

ALL = "all together"
"""What the scores that are known of every row are called, fitted together."""
WITHIN, HELD_OUT = "other weak models", "other tasks"
"""What a score was fitted on before it was tested."""
COLUMNS = {
    "task": "string",
    "fitted_on": "string",
    "score": "string",
    "auc": "Float64",
    "auc_low": "Float64",
    "auc_high": "Float64",
    "more": "Float64",
    "more_low": "Float64",
    "more_high": "Float64",
    "rank_correlation": "Float64",
    "rank_low": "Float64",
    "rank_high": "Float64",
    "targets": "Int64",
    "sooner": "Int64",
    "weak_runs": "Int64",
}
_GIVEN = ("probe", "report", "tradeoff")  # roles of targets whose weak embeddings differ; a search goes on with one
_FOLDS = 5
_LEAST = 3  # weak runs on each side; with fewer the folds cannot be made
_LEAST_RANKED = 5  # weak runs behind a rank correlation
_RESAMPLES = 1000
_SEED = 0

Flags = npt.NDArray[np.bool_]


# -- what is known ------------------------------------------------------------------------------------------


def gather(results: Results) -> pd.DataFrame:
    """One row a target that was given a scored weak embedding by `transfer`.

    Columns: task (its title), run_id, weak_run_id, sooner (whether it came to its goal within scratch's median epochs;
    where scratch's is not known, whether it came there at all), epochs_to_goal (infinite where it did not come there),
    and a column a score of the menu (null where it is not defined).
    """
    trials = base_only(results).trials
    given = trials[
        (trials["stage"] == "target")
        & (trials["method"] == "transfer")
        & trials["role"].isin(_GIVEN)
        & ~trials["status"].isin(["cancelled", "unreached"])
    ]
    key = ["weak_run_id", "weak_epoch", "dose"]
    scores = results.scores.rename(columns={"run_id": "weak_run_id", "epoch": "weak_epoch"})
    # One embedding may have been kept for several levels.
    scores = scores[scores["score"].isin(SCORES)].drop_duplicates([*key, "score"])
    wide = scores.pivot(index=key, columns="score", values="value").reindex(columns=list(SCORES)).reset_index()
    # No dose is as good as one of 0, and does not get lost in a join.
    joined = given.assign(dose=given["dose"].fillna(0.0))[["run_id", *key, "status", "epochs_to_goal"]].merge(
        wide.assign(dose=wide["dose"].astype("Float64").fillna(0.0)), on=key, how="inner"
    )
    reached = (joined["status"] == "cleared").to_numpy(dtype=bool)
    epochs = np.where(reached, floats(joined["epochs_to_goal"]), np.inf)
    scratch = results.summary["scratch_reference"]
    median = scratch["epochs"] if scratch else None
    known = joined[["run_id", "weak_run_id"]].assign(
        task=results.summary["title"],
        sooner=np.isfinite(epochs) if median is None else epochs < median,
        epochs_to_goal=epochs,
    )
    return pd.concat([known, joined[list(SCORES)].astype("Float64")], axis=1)


@dataclass(frozen=True)
class _Told:
    """What was foretold of targets by fits that had not seen them: the higher, the likelier sooner [n]."""

    foretold: Floats
    sooner: Flags
    weak_run: npt.NDArray[np.intp]

    @property
    def auc(self) -> float:
        [area] = _aucs(self.foretold, self.sooner, np.ones((1, len(self.sooner))))
        assert area is not None, "made of both kinds alone"
        return area

    def auc_interval(self) -> OpenInterval:
        """Weak runs drawn again, what was fitted on others held as it is; draws without both kinds left out."""
        return _interval(self._redrawn())

    def more_than(self, other: _Told) -> tuple[float, OpenInterval]:
        """How much larger this area is than the other's of the same targets, and its interval over the same draws."""
        pairs = zip(self._redrawn(), other._redrawn(), strict=True)
        return self.auc - other.auc, _interval([a - b if a is not None and b is not None else None for a, b in pairs])

    def _redrawn(self) -> list[float | None]:
        return _aucs(self.foretold, self.sooner, _drawn(self.weak_run))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """How well each score foretells, columns and dtypes as in COLUMNS.

    Args:
        frame: as `gather` gives it; of several runs one under the other, each run once.

    Returns:
        A row a task, way of fitting and score, and one for all scores together; a score that is not known of any
        target has none. fitted_on: `other weak models` (cross-validated over weak runs: a logistic regression on the
        standardised score) or, of several tasks, `other tasks`. auc with its 95 % interval (cluster bootstrap over
        weak runs): null with fewer than three weak runs on either side, one of which each fold needs.
        more: how much larger the area is than that of accuracy alone, where both are of the same targets. On the rows
        of one score by itself, fitted on other weak models, rank_correlation with the epochs to the goal, misses last:
        Spearman's, null with fewer than five weak runs or one value alone. Each with its interval. Then how many
        targets, how many of them sooner, and from how many weak runs.
    """
    tasks = list(dict.fromkeys(frame["task"]))
    blocks = [_within(task, frame[frame["task"] == task]) for task in tasks]
    if len(tasks) > 1:
        blocks += [_across(task, frame) for task in tasks]
    rows = [row for block in blocks for row in block]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def held_out(runs: Sequence[Results]) -> pd.DataFrame:
    """How well each score foretells on a task it was not fitted on: fitted on all others of `runs`, tested on each.

    Returns:
        The rows of `table` with fitted_on `other tasks`; none where all runs are of one task.
    """
    every = table(merged(runs))
    return every[every["fitted_on"] == HELD_OUT].reset_index(drop=True)


def merged(runs: Sequence[Results]) -> pd.DataFrame:
    """What `gather` gives of each run, one under the other, each target once."""
    # Runs that share members trained them twice.
    return pd.concat([gather(run) for run in runs], ignore_index=True).drop_duplicates("run_id", ignore_index=True)


# -- fitting and testing --------------------------------------------------------------------------------------


def _within(task: str, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rows = rows.reset_index(drop=True)
    fold = _folds(rows)
    reference: _Told | None = None
    for name, columns in _alone_and_together(rows):
        known = rows.dropna(subset=columns)
        told = _cross_validated(known, columns, fold[known.index])
        reference = told if name == "accuracy" else reference
        yield _row(task, WITHIN, name, known, told, reference)


def _across(task: str, frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rest, rows = frame[frame["task"] != task], frame[frame["task"] == task]
    reference: _Told | None = None
    for name, columns in _alone_and_together(frame):
        train, test = rest.dropna(subset=columns), rows.dropna(subset=columns)
        if len(test):
            told = None
            if _both_kinds(train) and _both_kinds(test):
                told = _Told(_foretold(train, test, columns), _sooner(test), _weak_runs(test))
            reference = told if name == "accuracy" else reference
            yield _row(task, HELD_OUT, name, test, told, reference)


def _alone_and_together(rows: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Each score that is known of some row, and those that are known of all."""
    for name in SCORES:
        if rows[name].notna().any():
            yield name, [name]
    everywhere = [name for name in SCORES if len(rows) and rows[name].notna().all()]
    if len(everywhere) > 1:
        yield ALL, everywhere


def _foretold(train: pd.DataFrame, test: pd.DataFrame, columns: list[str]) -> Floats:
    from sklearn.linear_model import LogisticRegression  # slow to import, and of use here alone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    model.fit(_matrix(train, columns), _sooner(train))
    return np.asarray(model.decision_function(_matrix(test, columns)), dtype=np.float64)


def _folds(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    """The fold of each target [n]: those of one weak run are in one, and both kinds in each; all 0 with too few."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.zeros(len(rows), dtype=np.intp)
    least = _both_kinds(rows)
    if least:
        folds = StratifiedGroupKFold(min(_FOLDS, least), shuffle=True, random_state=_SEED)
        for number, (_, test) in enumerate(folds.split(np.zeros(len(rows)), _sooner(rows), _weak_runs(rows))):
            fold[test] = number
    return fold


def _cross_validated(rows: pd.DataFrame, columns: list[str], fold: npt.NDArray[np.intp]) -> _Told | None:
    """Every target foretold by a fit to the other folds; None with too few weak runs on either side."""
    if not _both_kinds(rows):
        return None
    sooner, weak_run = _sooner(rows), _weak_runs(rows)
    foretold = np.full(len(rows), np.nan)
    for number in np.unique(fold):
        test = fold == number
        if len(set(sooner[~test])) == 2:
            foretold[test] = _foretold(rows[~test], rows[test], columns)
    seen = np.isfinite(foretold)
    if len(set(sooner[seen])) < 2:
        return None
    return _Told(foretold[seen], sooner[seen], weak_run[seen])


def _both_kinds(rows: pd.DataFrame) -> int:
    """Weak runs with a target that was sooner, or those with one that was not: the fewer; 0 below _LEAST."""
    kinds = [rows.loc[_sooner(rows) == kind, "weak_run_id"].nunique() for kind in (True, False)]
    return min(kinds) if min(kinds) >= _LEAST else 0


def _row(
    task: str, fitted_on: str, name: str, rows: pd.DataFrame, told: _Told | None, accuracy: _Told | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"task": task, "fitted_on": fitted_on, "score": name}
    row |= {"targets": len(rows), "sooner": int(_sooner(rows).sum()), "weak_runs": rows["weak_run_id"].nunique()}
    if told is not None:
        row["auc"] = told.auc
        row["auc_low"], row["auc_high"] = told.auc_interval()
        if accuracy is not None and told is not accuracy and len(told.sooner) == len(accuracy.sooner):
            row["more"], (row["more_low"], row["more_high"]) = told.more_than(accuracy)
    # What a score says by itself needs no fit, so it is told once.
    if name != ALL and fitted_on == WITHIN and row["weak_runs"] >= _LEAST_RANKED:
        values, epochs = floats(rows[name]), floats(rows["epochs_to_goal"])
        [row["rank_correlation"]] = _spearmans(values, epochs, np.ones((1, len(rows))))
        if row["rank_correlation"] is not None:
            row["rank_low"], row["rank_high"] = _interval(_spearmans(values, epochs, _drawn(_weak_runs(rows))))
    return row


def _matrix(rows: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.float64]:
    return rows[columns].to_numpy(dtype=np.float64)


def _sooner(rows: pd.DataFrame) -> Flags:
    return rows["sooner"].to_numpy(dtype=bool)


def _weak_runs(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    return pd.factorize(rows["weak_run_id"].astype("string"))[0]


def _drawn(weak_run: npt.NDArray[np.intp]) -> Floats:
    """How often each row comes when weak runs are drawn again, with all their rows: [resamples, n]."""
    return _counts(int(weak_run.max()) + 1)[:, weak_run]


@lru_cache(maxsize=2)  # one score after another asks for the same
def _counts(n: int) -> Floats:
    drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES)
    return np.asarray(drawn, dtype=np.float64)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each value [n] among values that come so often [resamples, n], ties at their middle, from 0 on."""
    order = np.argsort(values, kind="stable")
    new = np.append(True, values[order][1:] > values[order][:-1])
    alike = np.add.reduceat(weights[:, order], np.flatnonzero(new), axis=1)
    group = np.empty(len(values), dtype=np.intp)
    group[order] = np.cumsum(new) - 1
    return np.asarray((alike.cumsum(axis=1) - alike / 2)[:, group], dtype=np.float64)


def _aucs(foretold: Floats, sooner: Flags, weights: Floats) -> list[float | None]:
    """The area under the ROC curve, ties half, for each row of weights [resamples, n]; None without both kinds."""
    yes, no = weights @ sooner, weights @ ~sooner
    won = (weights * _ranks(foretold, weights)) @ sooner - yes**2 / 2  # Mann and Whitney's U
    return _known(won, yes * no)


def _spearmans(values: Floats, epochs: Floats, weights: Floats) -> list[float | None]:
    """Spearman's rank correlation for each row of weights [resamples, n]; None where either is one value alone.
    Infinite epochs come last, all alike."""
    total = weights.sum(axis=1)
    # Ranks have half the weight as their mean.
    one, other = (_ranks(column, weights) - total[:, None] / 2 for column in (values, epochs))
    products = [(weights * a * b).sum(axis=1) for a, b in ((one, other), (one, one), (other, other))]
    return _known(products[0], np.sqrt(products[1] * products[2]))


def _known(above: Floats, below: Floats) -> list[float | None]:
    """The quotients; None where one is by nothing."""
    return [float(a / b) if b > 1e-9 else None for a, b in zip(above, below, strict=True)]


def _interval(found: Sequence[float | None]) -> OpenInterval:
    """The central 95 % of what resamples gave; those that gave nothing are left out."""
    known = [value for value in found if value is not None]
    if len(known) < 2:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


# -- in words -------------------------------------------------------------------------------------------------


def markdown(runs: Sequence[Results]) -> list[str]:
    """The lines of a page: a table a task and way of fitting, then what could not be told and why."""
    frame = merged(runs)
    told = table(frame)
    lines = ["# What makes an embedding work", ""]
    if (reason := nothing(told)) is not None:
        return [*lines, reason]
    for (task, fitted_on), rows in told.groupby(["task", "fitted_on"], sort=False):
        first = stats.records(rows.sort_values("targets").tail(1))[0]
        lines += [f"## {task}, fitted on {fitted_on}", ""]
        told_of = f"{first['sooner']} of {first['targets']} targets, from {first['weak_runs']} weak runs"
        lines += [f"{told_of}, come to their goal sooner than scratch.", ""]
        if rows["auc"].isna().all():
            lines += [_too_few(first), ""]
        head = ("score", "AUC", "more than accuracy alone", "rank correlation with the epochs", "targets")
        lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        lines += [
            f"| {row['score']} | {_bounds(row, 'auc', 'auc')} | {_bounds(row, 'more', 'more')} "
            f"| {_bounds(row, 'rank_correlation', 'rank')} | {row['targets']} |"
            for row in stats.records(rows)
        ]
        lines.append("")
    return lines


def _bounds(row: dict[str, Any], value: str, interval: str) -> str:
    if row[value] is None:
        return style.UNKNOWN
    bounds = [row[f"{interval}_low"], row[f"{interval}_high"]]
    told = f"{row[value]:.2f}"
    return told if None in bounds else f"{told} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _too_few(row: dict[str, Any]) -> str:
    """Why the scores' areas are not known, of the row with most targets."""
    rule = f"of {row['targets']} targets given a scored weak embedding {row['sooner']} are sooner than scratch"
    return f"Too few to tell apart: {rule}; {_LEAST} weak runs are needed that give one that is, and {_LEAST} one not."


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    if frame.empty:
        return "No target was given a scored weak embedding by transfer."
    if frame["auc"].notna().any() or frame["rank_correlation"].notna().any():
        return None
    return _too_few(stats.records(frame.sort_values("targets").tail(1))[0])


# -- the figure -----------------------------------------------------------------------------------------------


def size(frame: pd.DataFrame) -> tuple[float, float]:
    """Inches of one panel, between its axes: higher with every score and task."""
    lines = len(frame[["task", "fitted_on"]].drop_duplicates())
    return 3.6, max(2.0, 0.3 * max(1, frame["score"].nunique()) * max(1.0, 0.4 * lines))


def draw(frame: pd.DataFrame, ax: Axes, part: str = "whether") -> None:
    """Draws a `table` on `ax`; `part` is `whether` (the AUC) or `how fast` (the rank correlation)."""
    value, interval = ("auc", "auc") if part == "whether" else ("rank_correlation", "rank")
    shown = frame[frame[value].notna()]
    if shown.empty:
        reason = nothing(frame) or _too_few(stats.records(frame.sort_values("targets").tail(1))[0])
        style.sentence(ax, reason)
        return
    names = [name for name in (*SCORES, ALL) if (shown["score"] == name).any()]
    series = list(dict.fromkeys(zip(shown["task"], shown["fitted_on"], strict=True)))
    tasks = list(dict.fromkeys(shown["task"]))
    for i, (task, fitted_on) in enumerate(series):
        own = shown[(shown["task"] == task) & (shown["fitted_on"] == fitted_on)]
        at = np.array([names.index(name) for name in own["score"]]) + 0.7 * ((i + 0.5) / len(series) - 0.5)
        # Tasks are told apart as methods are elsewhere, by colour and marker.
        place = _LOOKS[tasks.index(task) % len(_LOOKS)]
        shade, middle = style.colour(place), floats(own[value])
        low, high = (floats(own[f"{interval}_{end}"].fillna(own[value])) for end in ("low", "high"))
        ax.hlines(at, low, high, color=shade, lw=1.4)
        ax.scatter(
            middle,
            at,
            s=30,
            marker=style.marker(place),
            facecolors="white" if fitted_on == HELD_OUT else shade,
            edgecolors=shade,
            zorder=3,
            label=f"{task}: {_counted(own)}, fitted on {fitted_on}" if len(series) > 1 else None,
        )
    ax.axvline(0.5 if part == "whether" else 0.0, color=style.FAINT, lw=1.0, ls="--")
    ax.set_xlim(*((-0.02, 1.02) if part == "whether" else (-1.04, 1.04)))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.grid(visible=False, axis="y")
    counted = f" ({_counted(shown)})" if len(series) == 1 else ""
    what = "AUC: sooner than scratch" if part == "whether" else "rank correlation with epochs to the goal"
    ax.set_xlabel(what + (counted if part == "whether" else ""))
    if len(series) > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)


def _counted(rows: pd.DataFrame) -> str:
    """Of the row with most targets: `17 of 95`."""
    most = stats.records(rows.sort_values("targets").tail(1))[0]
    return style.k_of_n(most["sooner"], most["targets"])


_LOOKS = ("transfer", "scratch", "lowrank_random", "transfer_shuffled")
