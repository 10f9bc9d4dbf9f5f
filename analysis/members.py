"""Which rows a figure is about: those of the unvaried experiment or of a variation, and the members claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from gtsearch.results import Results

BASE = "base"
"""What an experiment itself is called among its variations."""


def rows_of(trials: pd.DataFrame, variation: str = BASE) -> pd.DataFrame:
    """The rows of `trials` that count for the answer of `variation`.

    A row without a name in its column `variation` is of an experiment that varies nothing: it counts for `base`.
    """
    named = trials["variation"].astype("string")
    # The names stand joined by commas, and a name may hold one: `width [4, 8]`.
    counts = ("," + named + ",").str.contains(f",{variation},", regex=False)
    return trials[counts.fillna(variation == BASE).astype(bool)]


def base_only(results: Results) -> Results:
    """The same run with the trials of the unvaried experiment alone."""
    return replace(results, trials=rows_of(results.trials))


def of_report(trials: pd.DataFrame, methods: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The target members on report seeds, with a column `seeds`: how many the method's claim rests on.

    Where the summary names the members a method's claim rests on (`run_ids`), the rest (of winners that were
    withdrawn) is left out; where it counts more seeds than there are members (a pipeline that gave no embedding),
    its count stands.

    Args:
        methods: of the summary of the experiment or the variation that `trials` are the rows of.
    """
    members = trials[(trials["role"] == "report") & (trials["stage"] == "target") & (trials["status"] != "cancelled")]
    claimed = [
        run_id in (methods.get(method, {}).get("run_ids") or [run_id])
        for run_id, method in zip(members["run_id"], members["method"], strict=True)
    ]
    members = members.loc[claimed]
    counts = {name: record["seeds"] for name, record in methods.items()}
    return members.assign(seeds=members["method"].map(counts).astype("Int64"))
