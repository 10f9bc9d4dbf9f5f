"""Which number that is read off a weak embedding foretells what the target does with it.

Of the targets that were given a weak embedding by `transfer`, and scored (scores.parquet): whether they came to their
goal sooner than scratch does, and after how many epochs. Of each run those of one target config, that of its trade-off.
`table` says how well each score tells that, by itself and all together, with embeddings it was not fitted on;
`held_out` on a task it was not fitted on. A target that was to be ended before scratch's median cannot tell whether it
would have been sooner: it is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
    "alone (open). Right: the rank correlation of the score with the epochs to the goal, those that did not get there "
    "within the time that all were given last; below 0, a higher score is sooner. Bars: 95 %, weak models drawn again. "
    "Targets of one config a run: that of its trade-off, else of its report. Those that were to be ended before "
    f"scratch's median do not tell and are left out. {len(SCORES)} scores were looked at (one that is not defined "
    "here, or alike for all, has no mark), so that the best of them is flattered: what counts is a task it was not "
    "fitted on."
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
    "over_accuracy": "Float64",
    "over_accuracy_low": "Float64",
    "over_accuracy_high": "Float64",
    "over_norm": "Float64",
    "over_norm_low": "Float64",
    "over_norm_high": "Float64",
    "rank_correlation": "Float64",
    "rank_low": "Float64",
    "rank_high": "Float64",
    "targets": "Int64",
    "sooner": "Int64",
    "weak_runs": "Int64",
    "rarer": "Int64",
    "rarer_weak_runs": "Int64",
    "unknown": "Int64",
}
ALONE = ("accuracy", "norm")
"""The scores that every other is held against: what is read off any run, and what is cheapest to read."""
# Roles of targets whose weak embeddings differ (a search goes on with one); whose config stands for the run first.
_GIVEN = ("tradeoff", "report", "probe")
_FOLDS = 5
# Of either kind, sooner and not, or there is no area. Of five weak runs each fold can hold one, and a draw of weak runs
# again misses all of them in e^-5 = 0.7 % of draws; of three it would in 5 %, more than the tail that the interval's
# end is. Of eight targets one moves the area by an eighth; of one or two, the area is that of one or two targets.
LEAST_TARGETS, LEAST_WEAK_RUNS = 8, 5
_LEAST_RANKED = 5  # weak runs behind a rank correlation
_RESAMPLES = 1000
_SEED = 0

Flags = npt.NDArray[np.bool_]


# -- what is known ------------------------------------------------------------------------------------------


def gather(results: Results) -> pd.DataFrame:
    """One row a target that was given a scored weak embedding by `transfer`.

    Of one target config: that of most of the trade-off's targets, without a trade-off of most of the report's, without
    either of most of the judge's probes.

    Columns: task (its title), run_id, weak_run_id, sooner (boolean: whether it came to its goal before scratch's
    median; where that is not known, whether it came there at all; null where that could not be seen), epochs_to_goal
    (infinite where it did not come there), watched_epochs (of those that did not, how long they were trained; infinite
    where they came to grief), and a column a score of the menu (null where it is not defined).

    Not to be seen: where a target was to be ended before the time that is asked about (scratch's median, else the whole
    budget), by what its weak model had cost or by an incumbent. Nor does it count where it came there all the same:
    else the sooner ones alone would be kept.
    """
    trials = base_only(results).trials
    given = _of_one_config(
        trials[
            (trials["stage"] == "target")
            & (trials["method"] == "transfer")
            & trials["role"].isin(_GIVEN)
            & ~trials["status"].isin(["cancelled", "unreached"])
        ]
    )
    key = ["weak_run_id", "weak_epoch", "dose"]
    scores = results.scores.rename(columns={"run_id": "weak_run_id", "epoch": "weak_epoch"})
    # One embedding may have been kept for several levels.
    scores = scores[scores["score"].isin(SCORES)].drop_duplicates([*key, "score"])
    wide = scores.pivot(index=key, columns="score", values="value").reindex(columns=list(SCORES)).reset_index()
    # No dose is as good as one of 0, and does not get lost in a join.
    ended = ["status", "trained", "cap_epochs", "epochs_to_goal"]
    given = given.assign(dose=given["dose"].fillna(0.0), trained=given["epochs"])  # one of the scores is `epochs`
    joined = given[["run_id", *key, *ended]].merge(
        wide.assign(dose=wide["dose"].astype("Float64").fillna(0.0)), on=key, how="inner"
    )
    reached = (joined["status"] == "cleared").to_numpy(dtype=bool)
    capped = (joined["status"] == "capped").to_numpy(dtype=bool)
    trained, epochs = floats(joined["trained"]), np.where(reached, floats(joined["epochs_to_goal"]), np.inf)
    # A cap that was not kept is where it struck.
    cap = np.fmin(floats(joined["cap_epochs"]), np.where(capped, trained, np.inf))
    scratch = results.summary["scratch_reference"]
    median = scratch["epochs"] if scratch else None
    sooner = pd.array(np.isfinite(epochs) if median is None else epochs < median, dtype="boolean")
    sooner[cap < (_budget(trials) if median is None else median)] = pd.NA
    watched = capped | (joined["status"] == "exhausted").to_numpy(dtype=bool)
    known = joined[["run_id", "weak_run_id"]].assign(
        task=results.summary["title"],
        sooner=sooner,
        epochs_to_goal=epochs,
        watched_epochs=np.where(reached, np.nan, np.where(watched, trained, np.inf)),
    )
    return pd.concat([known, joined[list(SCORES)].astype("Float64")], axis=1)


def _of_one_config(given: pd.DataFrame) -> pd.DataFrame:
    """Targets of another config differ by more than the embedding they were given."""
    for role in _GIVEN:
        used = given.loc[given["role"] == role, "config_id"].mode()
        if len(used):
            own: pd.DataFrame = given[given["config_id"] == used.iloc[0]]
            return own
    return given


def _budget(trials: pd.DataFrame) -> float:
    """The most epochs a target was trained without coming to its goal; infinite where all were ended early."""
    whole = floats(trials.loc[(trials["stage"] == "target") & (trials["status"] == "exhausted"), "epochs"])
    return float(whole.max()) if len(whole) else np.inf


@dataclass(frozen=True)
class _Told:
    """What was foretold of targets by fits that had not seen them: the higher, the likelier sooner [n]."""

    targets: tuple[str, ...]
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
        return _interval(self._redrawn)

    def more_than(self, other: _Told) -> tuple[float, OpenInterval] | None:
        """How much larger this area is than the other's, of the targets of both, and its interval over the same draws;
        None where those are not of both kinds."""
        ours, theirs = self._among(other.targets), other._among(self.targets)
        if len(set(ours.sooner)) < 2:
            return None
        pairs = zip(ours._redrawn, theirs._redrawn, strict=True)
        return ours.auc - theirs.auc, _interval([a - b if a is not None and b is not None else None for a, b in pairs])

    def _among(self, targets: tuple[str, ...]) -> _Told:
        if self.targets == targets:
            return self
        both = np.isin(self.targets, targets)
        weak_run = np.unique(self.weak_run[both], return_inverse=True)[1]
        return _Told(tuple(np.array(self.targets)[both]), self.foretold[both], self.sooner[both], weak_run)

    @cached_property
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
        weak runs): null with fewer than LEAST_TARGETS targets of either kind or LEAST_WEAK_RUNS weak runs that they
        come from; such a task is not fitted on either.
        over_accuracy, over_norm: how much larger the area is than that of either score alone, of the targets that both
        are known of and over the same draws; null for the score itself. On the rows of one score by itself, fitted on
        other weak models, rank_correlation with the epochs to the goal, Spearman's: all that did not come there as long
        as every target was watched are last and alike; null with fewer than five weak runs or one value alone. Each
        with its interval. Then how many targets, how many of them sooner, and from how many weak runs; how many of the
        rarer kind, from how many weak runs; and how many more were left out because it is unknown whether they would
        have been sooner.
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


_Tested = tuple[str, pd.DataFrame, _Told | None]  # a score, the targets it is known of, and how they were foretold


def _within(task: str, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rows = rows.reset_index(drop=True)
    fold = _folds(rows)
    tested: list[_Tested] = []
    for name, columns in _alone_and_together(rows):
        scored = rows.dropna(subset=columns)
        known = _known_of(scored)
        tested.append((name, scored, _cross_validated(known, columns, fold[known.index])))
    return _rows(task, WITHIN, tested)


def _across(task: str, frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rows = frame[frame["task"] == task]
    rest = [own for name, own in _known_of(frame).groupby("task", sort=False) if name != task and _enough(own)]
    tested: list[_Tested] = []
    for name, columns in _alone_and_together(pd.concat([rows, *rest])):
        scored = rows.dropna(subset=columns)
        known = _known_of(scored)
        train = [own for own in (other.dropna(subset=columns) for other in rest) if _enough(own)]
        if len(scored):
            told = _told(known, _foretold(pd.concat(train), known, columns)) if train and _enough(known) else None
            tested.append((name, scored, told))
    return _rows(task, HELD_OUT, tested)


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
    from threadpoolctl import threadpool_limits

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    with threadpool_limits(1):  # on a busy machine the threads of so small a fit wait for each other: ten times slower
        model.fit(_matrix(train, columns), _sooner(train))
    return np.asarray(model.decision_function(_matrix(test, columns)), dtype=np.float64)


def _folds(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    """The fold of each target [n]: those of one weak run are in one, and both kinds in each; all 0 with too few."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.zeros(len(rows), dtype=np.intp)
    at = np.flatnonzero(rows["sooner"].notna())
    known = rows.iloc[at]
    if _enough(known):
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=_SEED)
        for number, (_, test) in enumerate(folds.split(np.zeros(len(at)), _sooner(known), _weak_runs(known))):
            fold[at[test]] = number
    return fold


def _cross_validated(rows: pd.DataFrame, columns: list[str], fold: npt.NDArray[np.intp]) -> _Told | None:
    """Every target foretold by a fit to the other folds; None with too few of either kind."""
    if not _enough(rows):
        return None
    sooner, foretold = _sooner(rows), np.full(len(rows), np.nan)
    for number in np.unique(fold):
        test = fold == number
        if len(set(sooner[~test])) == 2:
            foretold[test] = _foretold(rows[~test], rows[test], columns)
    seen = np.isfinite(foretold)
    return _told(rows[seen], foretold[seen]) if len(set(sooner[seen])) == 2 else None


def _told(rows: pd.DataFrame, foretold: Floats) -> _Told:
    return _Told(tuple(rows["run_id"]), foretold, _sooner(rows), _weak_runs(rows))


def _known_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of which it is known whether they were sooner."""
    return rows.dropna(subset=["sooner"])


def _kinds(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """How many targets were sooner and from how many weak runs, and how many were not."""
    sooner = _sooner(rows)
    return [(int(kind.sum()), int(rows.loc[kind, "weak_run_id"].nunique())) for kind in (sooner, ~sooner)]


def _enough(rows: pd.DataFrame) -> bool:
    return all(n >= LEAST_TARGETS and runs >= LEAST_WEAK_RUNS for n, runs in _kinds(rows))


def _rows(task: str, fitted_on: str, tested: Sequence[_Tested]) -> Iterator[dict[str, Any]]:
    alone = {name: told for name, _, told in tested if name in ALONE}
    for name, scored, told in tested:
        known = _known_of(scored)
        row: dict[str, Any] = {"task": task, "fitted_on": fitted_on, "score": name, "targets": len(known)}
        row |= {"sooner": int(_sooner(known).sum()), "weak_runs": known["weak_run_id"].nunique()}
        row["rarer"], row["rarer_weak_runs"] = min(_kinds(known))
        row["unknown"] = len(scored) - len(known)
        if told is not None:
            row["auc"] = told.auc
            row["auc_low"], row["auc_high"] = told.auc_interval()
            for other, its in alone.items():
                over = f"over_{other}"
                if its is not None and other != name and (more := told.more_than(its)) is not None:
                    row[over], (row[f"{over}_low"], row[f"{over}_high"]) = more
        # What a score says by itself needs no fit, so it is told once.
        if name != ALL and fitted_on == WITHIN and row["weak_runs"] >= _LEAST_RANKED:
            row |= _ranked(known, name)
        yield row


def _ranked(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """The rank correlation of a score with the epochs to the goal, and its interval; {} where it is not defined."""
    values, epochs = floats(rows[name]), floats(rows["epochs_to_goal"])
    # Beyond where the first was ended without its goal, who comes before whom is not known of all.
    watched = floats(rows["watched_epochs"])
    until = np.fmin.reduce(watched) if np.isfinite(watched).any() else np.inf
    epochs = np.where(epochs >= until, np.inf, epochs)
    [correlation] = _spearmans(values, epochs, np.ones((1, len(rows))))
    if correlation is None:
        return {}
    low, high = _interval(_spearmans(values, epochs, _drawn(_weak_runs(rows))))
    return {"rank_correlation": correlation, "rank_low": low, "rank_high": high}


def _matrix(rows: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.float64]:
    return rows[columns].to_numpy(dtype=np.float64)


def _sooner(rows: pd.DataFrame) -> Flags:
    return rows["sooner"].to_numpy(dtype=bool)


def _weak_runs(rows: pd.DataFrame) -> npt.NDArray[np.intp]:
    return pd.factorize(rows["weak_run_id"].astype("string"), sort=True)[0]


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
    """The lines of a page: of several tasks what is foretold of each by fits to the others, then a table a task and way
    of fitting, and what could not be told and why."""
    told = table(merged(runs))
    lines = ["# What makes an embedding work", ""]
    if (reason := nothing(told)) is not None:
        return [*lines, reason]
    lines += _at_a_glance(told[(told["fitted_on"] == HELD_OUT) & told["auc"].notna()])
    for (task, fitted_on), rows in told.groupby(["task", "fitted_on"], sort=False):
        first = _most(rows)
        lines += [f"## {style.markdown(f'{task}, fitted on {fitted_on}')}", "", f"{_told_of(first)}.", ""]
        if rows["auc"].isna().all():
            lines += [_no_area(first), ""]
            if fitted_on == HELD_OUT:
                continue
        head = ["score", "AUC", "rarer kind", *(f"over {name} alone" for name in ALONE)]
        lines += _table([*head, "rank correlation with the epochs", "targets"], map(_cells, stats.records(rows)))
    return lines


def _cells(row: dict[str, Any]) -> list[str]:
    over = [_bounds(row, f"over_{name}", f"over_{name}") for name in ALONE]
    return [
        row["score"],
        _bounds(row, "auc", "auc"),
        _rarer(row),
        *over,
        _bounds(row, "rank_correlation", "rank"),
        str(row["targets"]),
    ]


def _at_a_glance(rows: pd.DataFrame) -> list[str]:
    """Each score's area on each task by a fit to all others; nothing where there is none."""
    if rows.empty:
        return []
    tasks = list(dict.fromkeys(rows["task"]))
    areas = {(row["task"], row["score"]): _bounds(row, "auc", "auc") for row in stats.records(rows)}
    names = [name for name in (*SCORES, ALL) if name in set(rows["score"])]
    body = [[name, *(areas.get((task, name), style.UNKNOWN) for task in tasks)] for name in names]
    rarer = ["targets of the rarer kind", *(_rarer(_most(rows[rows["task"] == task])) for task in tasks)]
    return ["## AUC on a task that was not fitted on", "", *_table(["score", *tasks], [*body, rarer])]


def _rarer(row: dict[str, Any]) -> str:
    """How many targets are of the rarer kind, and of how many weak runs they are: `36 from 29`."""
    return f"{row['rarer']} from {row['rarer_weak_runs']}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(map(style.markdown, cells))} |" for cells in (head, *rows)]
    return [lines[0], "|" + " --- |" * len(head), *lines[1:], ""]


def _told_of(row: dict[str, Any]) -> str:
    said = f"{row['sooner']} of {row['targets']} targets, from {row['weak_runs']} weak runs, come to their goal sooner "
    said += "than scratch"
    return f"{said}; {_left_out(row)}" if row["unknown"] else said


def _left_out(row: dict[str, Any]) -> str:
    return f"{row['unknown']} more were to be ended before that could be seen, and are left out"


def _bounds(row: dict[str, Any], value: str, interval: str) -> str:
    if row[value] is None:
        return style.UNKNOWN
    bounds = [row[f"{interval}_low"], row[f"{interval}_high"]]
    told = f"{row[value]:.2f}"
    return told if None in bounds else f"{told} [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _most(rows: pd.DataFrame) -> dict[str, Any]:
    """The row with most targets."""
    return stats.records(rows.sort_values("targets", kind="stable").tail(1))[0]


def _no_area(row: dict[str, Any]) -> str:
    """Why the scores' areas are not known, of the row with most targets."""
    rule = f"at least {LEAST_TARGETS} targets that are sooner and {LEAST_TARGETS} that are not"
    rule += f", of {LEAST_WEAK_RUNS} weak runs each"
    if row["fitted_on"] == HELD_OUT and row["rarer"] >= LEAST_TARGETS and row["rarer_weak_runs"] >= LEAST_WEAK_RUNS:
        return f"Nothing to fit on: no other task has {rule}."
    sooner = {0: "none is", 1: "1 is"}.get(row["sooner"], f"{row['sooner']} are")
    said = f"of {row['targets']} targets given a scored weak embedding {sooner} sooner than scratch"
    if row["unknown"]:
        said += f" ({_left_out(row)})"
    if runs := row["rarer_weak_runs"]:
        others = row["targets"] - row["sooner"]
        of = "these" if row["sooner"] < others else "the others" if others < row["sooner"] else "one half"
        said += f", {of} of {runs} weak run{'' if runs == 1 else 's'}"
    return f"Too few to tell apart: {said}; it takes {rule}."


def nothing(frame: pd.DataFrame) -> str | None:
    """Why there is nothing to draw of a `table`; None where there is."""
    if frame.empty:
        return "No target was given a scored weak embedding by transfer."
    if frame["auc"].notna().any() or frame["rank_correlation"].notna().any():
        return None
    return _no_area(_most(frame))


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
        style.sentence(ax, nothing(frame) or _no_area(_most(frame)))
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
    """Of the row with most targets: `17 of 95`, and how many are not known."""
    most = _most(rows)
    counted = style.k_of_n(most["sooner"], most["targets"])
    return f"{counted}, {most['unknown']} not known" if most["unknown"] else counted


_LOOKS = ("transfer", "scratch", "lowrank_random", "transfer_shuffled")
