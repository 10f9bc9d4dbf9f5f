"""A run in Python: its tables, and on top of them the frames and figures of the report. For scripts and notebooks.

Entries: `load_results`, `look` (both are public names of `gtsearch`).
"""

from __future__ import annotations

import html
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtsearch import catalog, results, salvage
from gtsearch.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class RunResults(Results):
    """Results that can show themselves.

    Figures are matplotlib's and belong to no window: in a notebook `%matplotlib inline` shows what a cell gives back,
    elsewhere `figure.savefig("tradeoff.png")` writes it.

    Examples:
        >>> results = gtsearch.load_results("runs/modadd")
        >>> results.summary["weak"]["pays"]["architecture"]
        'mlp-d2-w4-L2'
        >>> len(results.trials) == len(results.trials["run_id"].unique())  # a row a training run
        True
    """

    def table(self, name: str) -> pd.DataFrame:
        """Every number that the figure `name` draws, as its module in `analysis/` documents them.

        Args:
            name: of a figure on the menu, `gtsearch.catalog.FIGURES`.

        Raises:
            SpecError: there is no such figure; the message has the nearest one and all of them.
            ResultsError: what it reads of the run folder is damaged.

        Examples:
            >>> list(gtsearch.load_results("runs/modadd").table("ladder")["architecture"][:2])
            ['mlp-d2-w4-L2', 'mlp-d4-w4-L2']
        """
        module = catalog.load("figure", name)
        frame: pd.DataFrame = module.table(module.gather(self))
        return frame

    def tradeoff(self) -> pd.DataFrame:
        """Weak accuracy against what the target then costs: a row a pipeline of every design and of scratch, columns as
        `gtsearch.analysis.pipelines.COLUMNS` tells; no rows where there was no study.

        Examples:
            >>> tradeoff = gtsearch.load_results("runs/modadd").tradeoff()
            >>> sorted(tradeoff["arm"].unique())
            ['scratch', 'transfer']
        """
        from gtsearch.analysis import pipelines

        study = self.summary["tradeoff"]
        return pipelines.frame(study["pipelines"] if study else [])

    def survival(self) -> pd.DataFrame:
        """How many seeds have not got there yet, by what they spent: the table of the figure `survival`.

        Examples:
            >>> "method" in gtsearch.load_results("runs/modadd").survival().columns
            True
        """
        return self.table("survival")

    def figure(self, name: str) -> Figure:
        """The figure `name` with all its panels; where there is nothing to draw, the reason is written in its place.

        Raises:
            SpecError, ResultsError: as `table`.

        Examples:
            >>> gtsearch.load_results("runs/modadd").figure("ladder").savefig("ladder.png")
        """
        from gtsearch.analysis import style
        from gtsearch.analysis.report import drawn, panels_of

        module, frame = catalog.load("figure", name), self.table(name)
        with style.look():
            return drawn(module, frame, panels_of(module, frame))

    def report(self) -> Path:
        """Writes the figures and report.html into the run folder; the path of the page.

        Examples:
            >>> gtsearch.load_results("runs/modadd").report().name
            'report.html'
        """
        from gtsearch.analysis.report import write_report

        return write_report(self)

    def __repr__(self) -> str:
        """One line: what the run is called, where it lies, and what it answers."""
        return f"<{self.summary['name']}, {len(self.trials)} members in {self.folder}: {' '.join(self._answer())}>"

    def _repr_html_(self) -> str:
        """The answer in one line, its evidence, and what is missing: what a notebook shows of a run."""
        model, verdict = (html.escape(part) for part in self._answer())
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        evidence = html.escape(self._said()["evidence"])
        return f"<p><b>{model}</b> {verdict}.</p><p>{evidence}</p>{notes and f'<ul>{notes}</ul>'}"

    def _answer(self) -> tuple[str, str]:
        said = self._said()
        return said["model"], said["verdict"]

    def _said(self) -> dict[str, Any]:
        from gtsearch.analysis.sentences import answer

        return answer(self.summary)


def load_results(folder: str | Path) -> RunResults:
    """Reads the run folder of a finished run.

    Raises:
        ResultsError: not a run folder; the run is not finished; a file is missing, damaged or of another schema.

    Examples:
        >>> results = gtsearch.load_results("runs/modadd")
        >>> results.summary["methods"]["transfer"]["reached"], results.notes
        (4, ())
    """
    return shown(results.load_results(folder))


def look(folder: str | Path) -> RunResults:
    """Reads a run folder whatever its state; `notes` says, a line each, what is missing or was made again.

    Raises:
        ResultsError: not a run folder, or nothing in it can be shown; the message says why.

    Examples:
        >>> for note in gtsearch.look("runs/interrupted").notes:
        ...     print(note)
        the run has all its 76 members and lacks its end: `gtsearch resume runs/interrupted` writes it
    """
    return shown(salvage.look(folder))


def shown(read: Results) -> RunResults:
    """The same, able to show itself."""
    return RunResults(**{field.name: getattr(read, field.name) for field in fields(read)})
