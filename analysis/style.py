"""How results look: colours, markers, figure files, and numbers as people read them.

One colour and one marker a method, in every figure and every run, from the order of the catalog; told apart by
colour-blind readers and, by marker and line, on a grey printer. Nothing here draws on a hidden current axes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gtsearch.catalog import METHODS
from gtsearch.results import beside

# The first four of Okabe and Ito (2008), then what stays apart from them and from each other on white paper: no two
# are alike, neighbours least of all. Beyond eight, colours alone no longer tell: the marker goes with them.
_PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#B8860B", "#2E9BD6", "#882255"),
    *("#7A7A7A", "#332288", "#8A8A00", "#DD3377", "#117733", "#9467BD", "#7F4F24", "#0E9AA7"),
    *("#A50026", "#5B7C99", "#FF6F61", "#4C9F38", "#AA4499", "#556B2F", "#6A3D9A", "#C49A6C"),
)
_MARKERS = "os^DvPX*<>phd8H+x1234|_"
INK, FAINT = "#222222", "#8A8A8A"

VERDICTS: dict[str, tuple[str, str]] = {  # verdict -> colour and marker, the best first; Paul Tol's muted scheme
    "pays": ("#117733", "*"),
    "clears": ("#332288", "o"),
    "undecided": ("#B8860B", "D"),
    "excluded": ("#882255", "X"),
    "not tried": ("#9A9A9A", "|"),
}

DPI = 150


def colour(method: str) -> str:
    """The method's colour, wherever it appears."""
    return _PALETTE[place(method) % len(_PALETTE)]


def marker(method: str) -> str:
    """The method's marker, wherever it appears."""
    return _MARKERS[place(method) % len(_MARKERS)]


def tint(shade: str, strength: float = 0.5) -> str:
    """`shade` mixed with white; `strength` 1 is the shade itself."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(shade))
    return to_hex((red, green, blue))


def halo(text: Text) -> None:
    """Keeps `text` readable over lines: a white rim."""
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def place(method: str) -> int:
    """Where the method stands in figures and legends: the catalog's order."""
    names = list(METHODS)
    # A method that left the catalog since the run still gets a colour of its own name, the same every time.
    return names.index(method) if method in names else len(names) + sum(method.encode())


@contextmanager
def look() -> Iterator[None]:
    """Within it, figures are made and saved in this project's style; everything is as before afterwards."""
    own: Any = {  # each matplotlib has another type for this
        **sns.axes_style("ticks", {"axes.grid": True, "grid.color": "#E6E6E6", "axes.edgecolor": INK}),
        **sns.plotting_context("paper", font_scale=1.15),
        "figure.facecolor": "white",
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": True,
        "legend.framealpha": 0.85,
        "legend.edgecolor": "none",
        "legend.fontsize": "small",
        "legend.columnspacing": 1.2,
        "legend.handlelength": 1.8,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "svg.hashsalt": "gtsearch",  # the same figure gives the same file
    }
    with mpl.rc_context(own):
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes `stem`.png (150 dpi) and `stem`.svg, each whole or not at all; call within `look`."""
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = stem.with_name(f"{stem.name}.{kind}")
        with beside(path) as partial:
            figure.savefig(partial, format=kind, dpi=DPI, bbox_inches="tight", metadata=metadata)
        paths.append(path)
    return paths


def sentence(ax: Axes, text: str) -> None:
    """Says in words why there is nothing to draw, in place of an empty axis."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, textwrap.fill(text, 40), transform=ax.transAxes, ha="center", va="center", color=INK)


_SUBS = (  # decades an axis spans at most -> the numbers in each decade that get a tick
    (0.4, (1.0, 1.2, 1.5, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.1, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (2.5, (1.0, 2.0, 5.0)),
)


def log_axis(ax: Axes, which: str, unit: str) -> None:
    """A logarithmic x or y axis whose ticks are numbers that people read, in `unit` (`flops`, `seconds`, or none)."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    decades = math.log10(high / low)
    if which == "x" and unit == "flops":
        decades *= 3  # labels such as 500 GFLOP are wide: as many side by side as would stand on thrice the decades
    subs = next((subs for most, subs in _SUBS if decades < most), (1.0,))
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value, unit)))
    axis.set_minor_formatter(NullFormatter())


_SPACING = 0.4  # inches: tick labels nearer than this would touch


def stacked_ticks(ax: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """Ticks along x with labels of two lines; where neighbours would touch, one goes below the other, and where there
    is no room below either, it is left out. `places` rise."""
    low, high = min([*places, ax.get_xlim()[0]]), max([*places, ax.get_xlim()[1]])
    ax.set_xlim(low, high)
    figure = ax.get_figure()
    apart = _SPACING * (high - low) * (figure.dpi if figure else DPI) / ax.get_window_extent().width
    shown, last = [], [-math.inf, -math.inf]  # of the upper and the lower row
    for place, label in zip(places, labels, strict=True):
        row = next((row for row in (0, 1) if place - last[row] >= apart), None)
        shown.append("" if row is None else "\n\n" * row + label)
        if row is not None:
            last[row] = place
    ax.set_xticks(list(places), shown)
    ax.tick_params(axis="x", labelsize="small")


_FLOPS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"))
UNKNOWN = "–"


def number(value: float | None) -> str:
    """Three significant digits and thousands separators: 0.0123, 1.5, 12,300. A dash where it is not known."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if not -5 <= magnitude < 9:
        return f"{rounded:.2e}"
    text = f"{rounded:,.{max(0, 2 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: float | None) -> str:
    """A whole number, exact, with thousands separators."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{round(value):,}"


def flops(value: float | None) -> str:
    """FLOPs with their prefix: 1.23 TFLOP."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size, name = _prefix(value)
    return f"{number(value / size)} {name}"


def seconds(value: float | None) -> str:
    """A cost in seconds: 12.3 s."""
    text = number(value)
    return text if text == UNKNOWN else f"{text} s"


def duration(value: float | None) -> str:
    """A stretch of a person's time: 45 s, 12.3 min, 2.05 h."""
    if value is None or not math.isfinite(value) or value < 120:
        return seconds(value)
    return f"{number(value / 60)} min" if value < 7200 else f"{number(value / 3600)} h"


def quantity(value: float | None, unit: str) -> str:
    """`value` in `unit`: `flops`, `seconds`, or anything else, which is a bare number."""
    return {"flops": flops, "seconds": seconds}.get(unit, number)(value)


def percent(share: float | None) -> str:
    """A share as a percentage: 12 %, 0.3 %."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{number(float(f'{100 * share:.1e}'))} %"


def accuracy(value: float | None) -> str:
    """An accuracy with three decimals: 0.412."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share without the nought, two digits or as many as show it: .31, .009."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    digits = 2 if value <= 0 else max(2, -math.floor(math.log10(value)))
    return f"{value:.{digits}f}".removeprefix("0")


def p_value(p: float) -> str:
    """A p value: 0.031, below 0.001."""
    return "below 0.001" if p < 0.001 else number(float(f"{p:.2g}"))


def k_of_n(k: int | None, n: int | None) -> str:
    return UNKNOWN if k is None or n is None else f"{k} of {n}"


def rate_interval(interval: Sequence[float | None] | None) -> str:
    """An interval of a rate: .55 to .99."""
    if interval is None or any(bound is None for bound in interval):
        return UNKNOWN
    return " to ".join(f"{bound:.2f}".removeprefix("0") for bound in interval if bound is not None)


def markdown(text: str) -> str:
    """`text` for a cell of a Markdown table or a heading: one line, and nothing in it is a cell, HTML, a link or a
    picture. What names and labels hold may come from anybody."""
    plain = "".join(c if c.isprintable() else " " for c in text).replace("\\", "\\\\").replace("|", "\\|")
    return " ".join(plain.replace("<", "&lt;").replace("](", "]\\(").split())


def spread(value: float | None, bounds: Sequence[float | None] | None, unit: str) -> str:
    """A cost with its interval in the same unit: 4.2 s [3.4, 4.53]; a bound nobody saw the end of is `beyond`."""
    text = quantity(value, unit)
    if value is None or bounds is None or all(bound is None for bound in bounds):
        return text
    size = _prefix(value)[0] if unit == "flops" else 1.0
    return f"{text} [{', '.join('beyond' if bound is None else number(bound / size) for bound in bounds)}]"


def _prefix(value: float) -> tuple[float, str]:
    """The largest unit of FLOPs that `value`, rounded, has one of."""
    return next(((size, name) for size, name in _FLOPS if float(f"{value:.2e}") >= size), (1.0, "FLOP"))
