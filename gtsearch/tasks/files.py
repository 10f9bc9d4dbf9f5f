"""Reading the arrays of a user's NPZ file: no pickle, and one clear line where it cannot be read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gtsearch.errors import TaskError

BROKEN = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError)
"""What Python and numpy raise over a file that is damaged, or is of another kind."""


def arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays called `names`, of an NPZ file.

    Raises:
        TaskError: the file cannot be read, or has no such array.
    """
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array, not an archive of them")
            missing = [name for name in names if name not in archive]
            found = [] if missing else [archive[name] for name in names]
    except BROKEN as error:
        raise unreadable(path, error) from None
    if missing:
        raise TaskError(f"{path} has no array `{missing[0]}`; it must hold {', '.join(names)}")
    return found


def unreadable(path: Path, error: Exception) -> TaskError:
    """What to raise for a file that is damaged."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return TaskError(f"{path} cannot be read ({reason}); get or write the file anew")
