"""What is wrong with an experiment, told in one line each: where, the rule, the value, what to do.

Checks raise their findings with `refuse`; pydantic raises its own. `explain` puts both in the same words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from gtsearch.catalog import nearest, no_such

Place = tuple[str | int, ...]


class Problem(NamedTuple):
    """One finding: where, as the keys from the top (list positions from 0), and what, in words."""

    place: Place
    text: str

    @property
    def path(self) -> str:
        """The place as people write it, e.g. `weak.start_from[0].lr`."""
        return path_of(self.place)


def path_of(place: Iterable[str | int]) -> str:
    """`("weak", "tune", 0)` as `weak.tune[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def refuse(problems: Iterable[Problem]) -> None:
    """Raises pydantic's ValidationError with all of `problems`, whose places are relative to the caller; none: nothing.

    Raised inside a validator, pydantic puts the validator's own place in front.
    """
    details = [
        InitErrorDetails(type=PydanticCustomError("rule", "{text}", {"text": one_line(text)}), loc=place, input=None)
        for place, text in problems
    ]
    if details:
        raise ValidationError.from_exception_data("experiment", details)


def unknown_keys(given: Mapping[Any, Any], allowed: Iterable[str]) -> Iterator[Problem]:
    """A problem for every key of `given` that is not allowed."""
    allowed = list(allowed)
    for key in given:
        if key not in allowed:
            yield Problem((str(key),), no_such("key", str(key), allowed))


def explain(error: ValidationError) -> list[Problem]:
    """Every finding in `error`, in the order of the file's keys as pydantic met them."""
    return [_explain(details) for details in error.errors(include_url=False)]


def one_line(text: str) -> str:
    """`text` without line breaks; what a terminal cannot print, or would be turned round by, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


def show(value: Any) -> str:
    """`value` as a message names it, with its kind where the kind is what is wrong; never long."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return str(value)
    kind = "text" if isinstance(value, str) else "mapping" if isinstance(value, Mapping) else "list"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"the {kind} {text if len(text) <= 60 else text[:57] + '...'}"


_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be {le:,.10g} or less",
    "too_short": "must hold at least {min_length}",
}


def _explain(details: ErrorDetails) -> Problem:
    kind, place, value = details["type"], details["loc"], details["input"]
    context = details.get("ctx", {})
    match kind:
        case "rule":
            return Problem(place, context["text"])
        case "value_error":
            return Problem(place, str(context["error"]))
        case "missing":
            return Problem(place[:-1], f"`{place[-1]}` is missing and has no default; add it")
        case "literal_error":
            return Problem(place, one_of(context["expected"], value))
    rule = _RULES[kind].format(**context) if kind in _RULES else details["msg"].replace("Input should", "must")
    return Problem(place, f"{rule}, not {show(value)}{_mend(kind, value)}")


def _mend(kind: str, value: Any) -> str:
    """What to do, where the rule alone does not say it."""
    if kind == "less_than" and 2 <= value <= 100:
        return f"; write {value / 100:g} for {value:g} %"
    if kind == "less_than_equal":
        return "; lower it"
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind in ("int_type", "float_type") and isinstance(value, str) and re.fullmatch(r"\s*[-+.\deE]+\s*", value):
        return "; take the quotes away"
    if kind in ("int_type", "float_type") and isinstance(value, list):
        return "; give one value"
    return ""


def one_of(expected: str, value: Any) -> str:
    """That `value` is none of `expected`, which is pydantic's or typer's list, such as `'tpe', 'random' or 'grid'`."""
    words = re.findall(r"'([^']*)'", expected)
    near = nearest(value, words) if isinstance(value, str) else None
    hint = f"; did you mean `{near}`?" if near else ""
    return f"must be one of {', '.join(words) or expected}, not {show(value)}{hint}"
