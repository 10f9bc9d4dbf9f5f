"""Figures and the report, made from the tables of a run and from nothing else. One file a figure.

A figure is a module on the catalog's menu with

- `TITLE` and `CAPTION`: what it asks, and what to see in it;
- `gather(results) -> frame`: what it reads of a run;
- `table(frame) -> frame`: every number that is drawn, tested by value;
- `nothing(table) -> str | None`: why there is nothing to draw, if so;
- `draw(table, ax, **panel)`: draws one panel; in place of an empty axis it writes the reason;
- `PANELS`: the keyword arguments of each panel, left to right; `size(table)`: inches of one panel, between its axes.
"""
