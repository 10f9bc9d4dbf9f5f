"""What a run folder, or a text in it, may not do: somebody else may have made it.

Entries: `refuse_links`, `printable`. Reading itself runs nothing of what it reads (no pickle, no eval); this module
keeps what was sent from reaching beyond its folder, and from steering a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gtsearch.errors import ResultsError

FOLDERS = ("embeddings", "figures")
"""The folders of a run folder in which there are only files."""
TRACKERS = "trackers"
"""The one in which trackers keep folders of their own."""


def refuse_links(folder: Path) -> None:
    """Refuses a run folder in which a name leads out of it, or to a device or a pipe: reading would tell, and writing
    would change, what lies elsewhere, and may never end.

    Raises:
        ResultsError: it has one; the message names it.
    """
    own = folder.resolve()
    for path in _content(folder):
        if path.is_symlink() and _leads_out(path, own):
            raise ResultsError(f"{path} is a link that leads out of the run folder; put what is meant there itself")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ResultsError(f"{path} is neither a file nor a folder; take it out of the run folder")


def _leads_out(link: Path, own: Path) -> bool:
    try:
        return not link.resolve(strict=True).is_relative_to(own)
    except FileNotFoundError:  # what is written through it would be put there
        return not link.resolve().is_relative_to(own)
    except (OSError, RuntimeError):  # a loop of links; from Python 3.13 on only a strict look tells
        return True


def _content(folder: Path) -> Iterator[Path]:
    for inside in (folder, *(folder / name for name in FOLDERS)):
        yield from inside.iterdir() if inside.is_dir() else ()
    yield from (folder / TRACKERS).rglob("*")


def printable(line: str) -> str:
    """One line as a terminal may be given it: what would end it or steer the terminal is a space."""
    return "".join(c if c.isprintable() else " " for c in line)
