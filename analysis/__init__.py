"""Figures and the report, made from what lies in a run's folder and from nothing else. One file a figure.

What is read is tables, the summary and the experiment; the figure `embedding` alone also opens an artefact.

A figure is a module on the catalog's menu with

- `TITLE` and `CAPTION`: what it asks, and what to see in it;
- `gather(results) -> frame`: what it reads of a run, of an experiment with variations that of the unvaried one;
- `table(frame) -> frame`: every number that is drawn, tested by value;
- `nothing(table) -> str | None`: why there is nothing to draw, if so;
- `draw(table, ax, **panel)`: draws one panel; in place of an empty axis it writes the reason;
- `PANELS`: the keyword arguments of each panel, left to right, or, where that depends on what was measured,
  `panels(table)` beside it, which chooses among them; `size(table)`: inches of one panel, between its axes;
- `LEFT`, only where names beside the axis need more room than numbers: inches for them.
"""
