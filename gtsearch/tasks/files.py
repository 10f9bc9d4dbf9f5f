"""Reading a user's files: no pickle, no end of memory, and one clear line where a file cannot be read."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gtsearch.errors import TaskError

BROKEN = (OSError, EOFError, ValueError, MemoryError, zlib.error, zipfile.BadZipFile, NotImplementedError)
"""What Python and numpy raise over a file that is damaged, of another kind, or says it is larger than any memory."""

MOST_BYTES = 4 * 2**30
"""What the arrays of an archive may unpack to: a few packed kilobytes can stand for as much as one likes."""


def refuse_endless(path: Path) -> None:
    """Refuses a device or a pipe: reading one may never end.

    Raises:
        OSError: it is one, or is not there.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder says what is wrong by itself
        raise OSError(errno.EINVAL, "it is not a plain file")


def arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays called `names`, of an NPZ file.

    Raises:
        TaskError: the file cannot be read, or has no such array.
    """
    try:
        refuse_endless(path)
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array, not an archive of them")
            assert archive.zip is not None, "it was opened just now"
            unpacked = sum(int(entry.file_size) for entry in archive.zip.infolist())
            if unpacked > MOST_BYTES:
                raise ValueError(f"it unpacks to {unpacked / 2**30:.0f} GiB, and at most {MOST_BYTES >> 30} are read")
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
