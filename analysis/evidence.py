"""The members behind the numbers: groups that the page's tables link to, and the rows of them that it carries along.

A group is a set of conditions on `trials`, so that a reader finds the same members in trials.parquet.
Entry: `Evidence`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtsearch.analysis.members import BASE, of_report, rows_of
from gtsearch.analysis.stats import floats
from gtsearch.results import Results

MOST = 2000
"""Members that a page carries along; a page must open at once."""

COLUMNS: dict[str, tuple[str, str]] = {
    "run_id": ("run", "text"),
    "stage": ("stage", "text"),
    "method": ("method", "text"),
    "role": ("role", "text"),
    "architecture": ("architecture", "text"),
    "seed": ("seed", "text"),  # beyond what a number in JavaScript holds exactly
    "status": ("status", "text"),
    "epochs_to_goal": ("epochs to goal", "count"),
    "epochs": ("epochs trained", "count"),
    "train_seconds": ("train seconds", "real"),
    "train_flops": ("FLOPs", "flops"),
    "best_val_accuracy": ("best accuracy", "accuracy"),
    "weak_run_id": ("weak run", "text"),
}
"""Column of `trials` -> its head on the page, and how the page writes it."""

_ORDER = ("report", "tradeoff", "gate", "probe", "search")  # what is claimed first, what only chose last
_DIGITS = 6  # significant; more would only make the page heavier


@dataclass(frozen=True)
class Group:
    """Members that a number rests on. `id`: of its element on the page; `rows`: their places in the trials."""

    id: str
    title: str
    conditions: str
    rows: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Carried:
    """What a page carries along: each group with how many of its members are in `block`, how many members the groups
    hold (each counted once), how many of them are in `block`, and `block` itself, as JSON holds it: the columns, texts
    as places in a list of them, and the rows of each group by its id."""

    groups: Sequence[tuple[Group, int]]
    linked: int
    embedded: int
    block: dict[str, Any]


class Evidence:
    """The groups of one run, each made when a table first asks for it.

    Every method that makes a group returns the id of its element, or None where no member is in it.
    """

    def __init__(self, results: Results, prefix: str = "run-1", most: int = MOST) -> None:
        """
        Args:
            prefix: of the ids, so that several runs can stand in one page.
            most: members that `carried` holds.
        """
        self._results, self._prefix, self._most = results, prefix, most
        self._trials = results.trials.reset_index(drop=True)
        self._groups: dict[str, Group] = {}
        self._counting: dict[str, npt.NDArray[np.bool_]] = {}  # by variation

    # -- which members ------------------------------------------------------------------------------------

    def report(self, method: str, variation: str = BASE) -> str | None:
        """The target members on report seeds that a method's claim rests on, under a variation."""
        summary = self._results.summary
        if variation != BASE:
            summary = summary["variations"][variation]["summary"]
        claimed = of_report(rows_of(self._trials, variation), summary["methods"])
        title = f"{method}: report seeds" + ("" if variation == BASE else f", {variation}")
        where = {"stage": "target", "role": "report", "method": method}
        return self._group(title, where, claimed.index, variation)

    def tuning(self, method: str) -> str | None:
        """The target members that a method's tuning took."""
        where = {"stage": "target", "method": method, "purpose": ["target_search", "probe"]}
        return self._group(f"{method}: tuning", where)

    def pipelines(self) -> str | None:
        """The report members of the weak winner and of transfer, that is of whole pipelines."""
        claimed = of_report(rows_of(self._trials), self._results.summary["methods"])
        weak = self._trials[(self._trials["stage"] == "weak").fillna(False)]
        where = {"role": "report", "method": ["weak", "growth", "transfer"]}
        return self._group("pipelines: weak models and their targets", where, [*weak.index, *claimed.index])

    def compared(self, key: str) -> str | None:
        """What a speed-up compares, by its key in the summary: the targets, with their weak models, with all that was
        spent on finding them."""
        methods = ["transfer", "scratch"] + ([] if key == "target" else ["weak", "growth"])
        where: dict[str, str | Sequence[str]] = {"method": methods}
        if key != "with_search":
            where["role"] = "report"
        return self._group(f"transfer against scratch, {key.replace('_', ' ')}", where)

    def weak(self, architecture: str, role: str) -> str | None:
        """The weak members of an architecture in a role."""
        where = {"stage": "weak", "role": role, "architecture": architecture}
        return self._group(f"{architecture}: {role} seeds", where)

    def judged(self, architecture: str) -> str | None:
        """What decided on an architecture: its gate, and the targets that judged its embeddings."""
        trials = self._trials
        own = (trials["stage"] == "weak") & (trials["architecture"] == architecture)
        ids = trials.loc[own.fillna(False), "run_id"]
        targets = trials["weak_run_id"].isin(ids) & trials["weak_run_id"].notna()
        rows = trials.index[(own | targets).fillna(False)]
        return self._group(f"{architecture}: gate and judge", {"role": ["gate", "probe"]}, rows)

    def runs(self, title: str, run_ids: Collection[str]) -> str | None:
        """Members by their ids, trade-off ones."""
        rows = self._trials.index[self._trials["run_id"].isin(list(run_ids))]
        return self._group(title, {"role": "tradeoff"}, rows)

    def spent(self, purpose: str, method: str | None) -> str | None:
        """The members of a line of the ledger."""
        where = {"purpose": purpose} | ({} if method is None else {"method": method})
        return self._group("ledger: " + ", ".join(part for part in (purpose, method) if part), where, variation=None)

    def _group(
        self,
        title: str,
        where: Mapping[str, str | Sequence[str]],
        among: Collection[Any] | None = None,
        variation: str | None = BASE,
    ) -> str | None:
        """`where`: column -> its value, or values; `among`: only these of the trials' index; `variation`: None: all."""
        if title not in self._groups:
            at = np.ones(len(self._trials), dtype=bool)
            for name, value in where.items():
                at &= self._trials[name].isin([value] if isinstance(value, str) else list(value)).to_numpy(dtype=bool)
            if variation is not None:
                at &= self._counts(variation)
            if among is not None:
                at &= self._trials.index.isin(list(among))
            conditions = " and ".join(f"{n} {'==' if isinstance(v, str) else 'in'} {v!r}" for n, v in where.items())
            number = len(self._groups) + 1
            self._groups[title] = Group(f"{self._prefix}-members-{number}", title, conditions, np.flatnonzero(at))
        group = self._groups[title]
        return group.id if len(group.rows) else None

    def _counts(self, variation: str) -> npt.NDArray[np.bool_]:
        if variation not in self._counting:
            self._counting[variation] = self._trials.index.isin(rows_of(self._trials, variation).index)
        return self._counting[variation]

    # -- what the page carries ----------------------------------------------------------------------------

    def carried(self) -> Carried:
        """What the page says and holds of all groups that were asked for: those with members, in that order.

        Of the members those that claims rest on come first, those of the search last; at most `most` are carried.
        """
        groups = [group for group in self._groups.values() if len(group.rows)]
        linked = np.unique(np.concatenate([group.rows for group in groups])) if groups else np.empty(0, dtype=np.intp)
        rank = {role: i for i, role in enumerate(_ORDER)}
        roles = self._trials["role"].iloc[linked].map(rank).to_numpy(dtype=np.float64, na_value=len(rank))
        rows = linked[np.argsort(roles, kind="stable")[: self._most]]
        place = {int(row): i for i, row in enumerate(rows)}
        places = {group.id: [place[int(row)] for row in group.rows if int(row) in place] for group in groups}
        columns = [
            {"head": head, "kind": kind, **_column(self._trials[name].iloc[rows], kind)}
            for name, (head, kind) in COLUMNS.items()
        ]
        told = [(group, len(places[group.id])) for group in groups]
        return Carried(told, len(linked), len(rows), {"columns": columns, "groups": places})


def _column(values: pd.Series, kind: str) -> dict[str, Sequence[Any]]:
    if kind == "text":
        codes, texts = pd.factorize(values.astype("string"))
        return {"texts": texts.tolist(), "values": [None if code < 0 else int(code) for code in codes]}
    return {"values": [_short(value) for value in floats(values)]}


def _short(value: float) -> float | int | None:
    if not np.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e9 else float(f"{value:.{_DIGITS}g}")
