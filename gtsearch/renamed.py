"""Public names that were renamed, of Python and of the experiment file: a line here, and an old name goes in two steps.

Until the version `until` the old name does what the new one does, and a warning says what to write; from then on it is
refused in the same words. Nothing but the standard library is loaded here: `gtsearch` asks for every name it lacks.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from gtsearch.errors import OldName


@dataclass(frozen=True)
class Renamed:
    """What became of a name.

    Attributes:
        new: what to write instead.
        since: the version that renamed it, e.g. `0.2`.
        until: the first version that refuses the old name, a minor version later at the least.
    """

    new: str
    since: str
    until: str

    @property
    def is_over(self) -> bool:
        """Whether this version refuses the old name."""
        from importlib.metadata import version

        return _number(version("gtsearch")) >= _number(self.until)

    def told(self) -> str:
        """What to do, and until when."""
        end = "" if self.is_over else f"; gtsearch {self.until} refuses the old name"
        return f"is called `{self.new}` since gtsearch {self.since}; write that{end}"


NAMES: dict[str, Renamed] = {}
"""Old name of `gtsearch` -> what it is called now, e.g. `find` -> Renamed("load_results", "0.2", "0.3")."""
KEYS: dict[str, Renamed] = {}
"""Old key of the experiment file -> its new one, both dotted from the top, e.g. `weak.gate.least`."""


def name(old: str) -> str | None:
    """What `gtsearch.<old>` is called now, and a warning for who asks for it; None: it never was there.

    Raises:
        AttributeError: it is refused by now.
    """
    found = NAMES.get(old)
    if found is None:
        return None
    if found.is_over:
        raise AttributeError(f"gtsearch.{old} {found.told()}")
    warnings.warn(f"gtsearch.{old} {found.told()}", OldName, stacklevel=3)
    return found.new


def _number(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", dotted)[:3])
