"""Names and seeds derived from content, so that the same question always has the same name.

Everything here is a pure function of its arguments: no clock, no process state, no global generator.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Json) -> str:
    """JSON text with sorted keys and no spaces: equal values of equal types give equal text. Refuses NaN."""
    return _ENCODER.encode(value)


def digest(value: Json, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of `canonical(value)`."""
    return digest_of_text(canonical(value), length)


def digest_of_text(text: str, length: int = 16) -> str:
    """`digest` of a value of which the canonical text is at hand."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) for the named purpose, e.g. `derive_seed(0, "report", 3)`.

    The three seed lists of an experiment (search, gate, report) are told apart by their name, so they
    never meet; the same list and index give the same seed for every config and method, which pairs them.
    """
    return int.from_bytes(hashlib.sha256(canonical(list(parts)).encode()).digest()[:8], "big") >> 1


def file_name(*parts: str) -> str:
    """A name for a file, made of texts that anybody may have written: what could lead elsewhere than into the folder it
    is put in, or mean something to a shell, is a `_`; at most 60 characters."""
    return re.sub(r"[^\w.+-]|^[.-]", "_", "-".join(parts))[:60] or "_"
