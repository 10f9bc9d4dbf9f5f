"""gtsearch: the cheapest weak model whose embedding makes a larger model grok sooner, found and certified.

The public names below are imported on first use: `import gtsearch` alone loads neither torch nor ray nor pandas.
"""

from __future__ import annotations

import importlib
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtsearch.experiment import resume, run
    from gtsearch.notebook import load_results, look
    from gtsearch.spec import load_spec
    from gtsearch.transplant import merge, transfer

    __version__: str

# A strict editable install keeps gtsearch.analysis and gtsearch.search_spaces in a tree of links elsewhere on the
# path. A Python started in the working tree finds this folder first, and would look for them here alone.
__path__ = extend_path(__path__, __name__)

__all__ = ["__version__", "load_results", "load_spec", "look", "merge", "resume", "run", "transfer"]

_HOMES = {
    "run": "gtsearch.experiment",
    "resume": "gtsearch.experiment",
    "load_results": "gtsearch.notebook",
    "look": "gtsearch.notebook",
    "load_spec": "gtsearch.spec",
    "transfer": "gtsearch.transplant",
    "merge": "gtsearch.transplant",
}


if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("gtsearch")
        if name not in _HOMES and not name.startswith("_"):
            name = importlib.import_module("gtsearch.renamed").name(name) or name
        if name not in _HOMES:
            raise AttributeError(f"module 'gtsearch' has no attribute '{name}'")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
