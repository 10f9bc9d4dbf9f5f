"""Domains of hyperparameters, in Ray Tune's words: where a number may lie, and how the unit interval maps onto it.

Entry: `parse`, which turns what stands in the YAML into a `Domain`. Every value a domain gives is a float, whole
numbers too, so that the same config always has the same name. A domain knows no sampler; `distribution` says the
same to Optuna.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gtsearch.catalog import no_such

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Far below where floats stop telling neighbouring steps apart.
_MOST_STEPS = 10**9


class Domain(ABC):
    """Where one hyperparameter may lie. Equal domains compare equal; none can be changed."""

    word: ClassVar[str]

    @property
    @abstractmethod
    def least(self) -> float:
        """The least value."""

    @abstractmethod
    def from_unit(self, u: float) -> float:
        """The value at `u` in [0, 1), spread evenly in the domain's own scale. `contains` holds for it."""

    @abstractmethod
    def to_unit(self, value: float) -> float:
        """A number in [0, 1] that `from_unit` takes back to `value`, which the domain must contain."""

    @abstractmethod
    def contains(self, value: float) -> bool:
        """Whether `value` lies in the domain (bounds included)."""

    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """The same domain for Optuna. Its samples are floats."""

    @abstractmethod
    def plain(self) -> Any:
        """The domain as it stands in the YAML; `parse` reads it back."""

    def values(self) -> list[float]:
        """All values of a choice or a fixed number, in the order given.

        Raises:
            ValueError: the domain is a range, which a grid cannot list.
        """
        raise ValueError(f"{self.word} is a range and has no list of values; give a list")

    def edge(self, value: float, share: float = 0.05) -> Literal["low", "high"] | None:
        """Which end of the domain `value` lies at: within `share` of its extent. None for choices and numbers."""
        return None


@dataclass(frozen=True)
class Choice(Domain):
    """One of several numbers, without an order between them."""

    options: tuple[float, ...]
    word: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a choice needs at least one number; the list is empty")
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"a choice holds every number once; {_numbers(self.options)} repeats one")

    @property
    def least(self) -> float:
        return min(self.options)

    def from_unit(self, u: float) -> float:
        return self.options[_cell(u, len(self.options))]

    def to_unit(self, value: float) -> float:
        return (self.options.index(value) + 0.5) / len(self.options)

    def contains(self, value: float) -> bool:
        return value in self.options

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options)

    def plain(self) -> Any:
        return list(self.options)

    def values(self) -> list[float]:
        return list(self.options)


class Fixed(Choice):
    """One number: nothing is searched."""

    word: ClassVar[str] = "number"

    def plain(self) -> Any:
        return self.options[0]


@dataclass(frozen=True)
class Uniform(Domain):
    """Any number from `low` to `high`."""

    low: float
    high: float
    word: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        _refuse_reversed(self.word, self.low, self.high)
        if not math.isfinite(self.high - self.low):
            raise ValueError(f"{self.word}: {_numbers((self.low, self.high))} is wider than a float can tell")

    @property
    def least(self) -> float:
        return self.low

    def from_unit(self, u: float) -> float:
        return self._clip(self.low + u * (self.high - self.low))

    def to_unit(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high)

    def plain(self) -> Any:
        return {self.word: [self.low, self.high]}

    def edge(self, value: float, share: float = 0.05) -> Literal["low", "high"] | None:
        return _edge(self.to_unit(value), share)

    def _clip(self, value: float) -> float:
        """Rounding may step over a bound by the last bit."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class LogUniform(Uniform):
    """Any number from `low` to `high`, even in its logarithm."""

    word: ClassVar[str] = "loguniform"

    def __post_init__(self) -> None:
        if self.low <= 0 or self.high <= 0:
            raise ValueError(
                f"loguniform needs bounds above 0, not {_numbers((self.low, self.high))}; raise them or use uniform"
            )
        super().__post_init__()

    def from_unit(self, u: float) -> float:
        start, stop = math.log(self.low), math.log(self.high)
        return self._clip(math.exp(start + u * (stop - start)))

    def to_unit(self, value: float) -> float:
        start, stop = math.log(self.low), math.log(self.high)
        # Bounds one bit apart have the same logarithm: every value is then as good as the lower bound.
        return (math.log(value) - start) / (stop - start) if stop > start else 0.0

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)


@dataclass(frozen=True)
class QUniform(Domain):
    """The multiples of `q` from `low` to `high`, which are multiples themselves."""

    low: float
    high: float
    q: float
    word: ClassVar[str] = "quniform"

    def __post_init__(self) -> None:
        if self.q <= 0:
            raise ValueError(f"{self.word} needs a step above 0, not {self.q:g}")
        _refuse_reversed(self.word, self.low, self.high)
        for bound in (self.low, self.high):
            if abs(bound / self.q) > _MOST_STEPS:
                raise ValueError(f"{self.word}: {bound:g} is too many steps of {self.q:g} from 0; take a larger step")
            if not _is_whole(bound / self.q):
                raise ValueError(
                    f"{self.word}: the bound {bound:g} is not a multiple of the step {self.q:g}; make it one"
                )

    @property
    def least(self) -> float:
        return self.low

    @property
    def _first(self) -> int:
        return round(self.low / self.q)

    @property
    def _count(self) -> int:
        return round(self.high / self.q) - self._first + 1

    def _index(self, value: float) -> int:
        return round(value / self.q) - self._first

    def from_unit(self, u: float) -> float:
        return float(f"{(self._first + _cell(u, self._count)) * self.q:.15g}")

    def to_unit(self, value: float) -> float:
        return (self._index(value) + 0.5) / self._count

    def contains(self, value: float) -> bool:
        steps = value / self.q
        return math.isfinite(steps) and _is_whole(steps) and 0 <= self._index(value) < self._count

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, step=self.q)

    def plain(self) -> Any:
        return {self.word: [self.low, self.high, self.q]}

    def edge(self, value: float, share: float = 0.05) -> Literal["low", "high"] | None:
        return _edge(self._index(value) / (self._count - 1), share) if self._count > 1 else None


@dataclass(frozen=True)
class RandInt(QUniform):
    """The whole numbers from `low` to `high`. The YAML's upper bound is one more, as in Ray Tune."""

    word: ClassVar[str] = "randint"

    def plain(self) -> Any:
        return {self.word: [int(self.low), int(self.high) + 1]}


def parse(value: Any) -> Domain:
    """The domain that `value` stands for: a number, a list of numbers (a choice), or one of

    `{choice: [...]}`, `{uniform: [low, high]}`, `{loguniform: [low, high]}`, `{randint: [low, high]}` (`high` is not
    taken), `{quniform: [low, high, step]}`.

    Raises:
        ValueError: it stands for none; the message is one line.
    """
    if isinstance(value, Domain):
        return value
    if isinstance(value, list | tuple):
        return _choice(value)
    if not isinstance(value, Mapping):
        return Fixed((_number(value),))
    if len(value) != 1:
        raise ValueError(
            f"a domain is one of {', '.join(_READERS)}, as in {{uniform: [0.1, 1]}}, not {len(value)} of them"
        )
    [(word, arguments)] = value.items()
    if word not in _READERS:
        raise ValueError(no_such("domain", str(word), _READERS))
    if not isinstance(arguments, list | tuple):
        raise ValueError(f"{word} takes a list of numbers, as in {{{word}: {_EXAMPLES[word]}}}")
    return _READERS[word](arguments)


Arguments = list[Any] | tuple[Any, ...]


def _choice(arguments: Arguments) -> Domain:
    return Choice(tuple(_number(argument) for argument in arguments))


def _uniform(arguments: Arguments) -> Domain:
    return Uniform(*_take("uniform", arguments, 2))


def _loguniform(arguments: Arguments) -> Domain:
    return LogUniform(*_take("loguniform", arguments, 2))


def _randint(arguments: Arguments) -> Domain:
    low, high = _take("randint", arguments, 2)
    for bound in (low, high):
        if not bound.is_integer() or abs(bound) > _MOST_STEPS:
            raise ValueError(f"randint takes whole numbers up to a billion, not {bound:g}")
    if low >= high:
        raise ValueError(
            f"randint does not take its upper bound, so {_numbers((low, high))} holds nothing; raise the upper bound"
        )
    return RandInt(low, high - 1, 1.0) if high - low > 1 else Fixed((low,))


def _quniform(arguments: Arguments) -> Domain:
    return QUniform(*_take("quniform", arguments, 3))


_READERS: dict[str, Callable[[Arguments], Domain]] = {
    "choice": _choice,
    "uniform": _uniform,
    "loguniform": _loguniform,
    "randint": _randint,
    "quniform": _quniform,
}
_EXAMPLES = {
    "choice": "[0.1, 0.3, 1]",
    "uniform": "[0.1, 1]",
    "loguniform": "[0.1, 1]",
    "randint": "[1, 5]",
    "quniform": "[0, 1, 0.25]",
}


def _take(word: str, arguments: Arguments, count: int) -> list[float]:
    if len(arguments) != count:
        raise ValueError(f"{word} takes {count} numbers, as in {{{word}: {_EXAMPLES[word]}}}, not {len(arguments)}")
    return [_number(argument) for argument in arguments]


def _number(value: Any) -> float:
    """`value` as a float. Text that looks like a number, and true and false, are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, or a domain such as {{uniform: [0.1, 1]}}, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    return float(value)


def _refuse_reversed(word: str, low: float, high: float) -> None:
    if low == high:
        raise ValueError(f"{word} holds only {low:g}; write the number alone to fix it, or widen the range")
    if low > high:
        raise ValueError(f"{word} needs its lower bound first; {_numbers((low, high))} is reversed")


def _is_whole(steps: float) -> bool:
    """Whether `steps` is a whole number but for the rounding of a division."""
    return abs(steps - round(steps)) <= 1e-6


def _cell(u: float, count: int) -> int:
    assert 0.0 <= u <= 1.0, u
    return min(int(u * count), count - 1)


def _edge(position: float, share: float) -> Literal["low", "high"] | None:
    if position <= share:
        return "low"
    return "high" if position >= 1.0 - share else None


def _numbers(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
