"""The errors a user may see.

Every message is one line: the rule, the value that broke it, where, and what to do about it.
`assert` is kept for our own invariants.
"""

from __future__ import annotations

from collections.abc import Sequence


class GtsearchError(Exception):
    """Root of everything gtsearch raises on purpose. The command line prints it as one line, exit code 2."""


class SpecError(GtsearchError):
    """The experiment file asks for something impossible.

    Attributes:
        path: the YAML path, such as `weak.goal.hold`.
        lines: all that is wrong, a line each; the message is the first, and says how many more there are.
    """

    def __init__(self, message: str, path: str = "", others: Sequence[str] = ()) -> None:
        first = f"{path}: {message}" if path else message
        self.path, self.lines = path, (first, *others)
        super().__init__(f"{first} (and {len(others)} more: `gtsearch check` shows them)" if others else first)


class ResultsError(GtsearchError):
    """A run folder, or a file in one, is missing, damaged or of another schema."""


class OtherSchemaError(ResultsError):
    """A file of a run folder is whole and of a schema that this gtsearch does not read."""


class TaskError(GtsearchError, ValueError):
    """What a task is made of is missing, damaged or unfit: its file, its expression, its download.

    It is a ValueError too: raised while an experiment is read, pydantic says at which key.
    """


class EmbeddingError(GtsearchError):
    """An embedding artefact is damaged, was changed, or must not be used on this split."""


class ResourcesError(GtsearchError):
    """The machine or the cluster cannot carry what was asked."""


class TrackerError(GtsearchError):
    """A run cannot be sent to a tracker: it is not installed, or there is nothing to send."""


class BrokenOff(GtsearchError):
    """What a run stands on gave way while it went on: a full disk, a lost Ray, an embedding that was changed.

    The run ends with exit code 3 and the command that resumes it; what finished is kept.
    """


class OldName(FutureWarning):
    """A name was used that goes away soon (gtsearch.renamed). Python shows it by default; a command prints one line."""
