"""Expressions in x and y modulo p, such as "x^2 + x*y + y^2": read by a parser of our own, never run as code.

    sum     = product {("+" | "-") product}
    product = signed {("*" | "/") signed}
    signed  = "-" signed | power
    power   = atom ["^" whole number from 0 to 64]
    atom    = whole number | "x" | "y" | "(" sum ")"

`/` is division modulo p: where a divisor is 0, the expression has no value. `-x^2` is -(x^2), and 0^0 is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gtsearch.errors import TaskError

MOST_CHARACTERS = 200
MOST_DEPTH = 30
MOST_EXPONENT = 64
# Two numbers below it have a product that an int64 holds.
MOST_P = 2**31

_DIGITS = "0123456789"
_VARIABLES = "xy"
_SIGNS = "+-*/^()"


@dataclass(frozen=True)
class Number:
    """A whole number, however large."""

    value: int


@dataclass(frozen=True)
class Variable:
    """`x` or `y`."""

    name: str


@dataclass(frozen=True)
class Power:
    """base ^ exponent."""

    base: Node
    exponent: int


@dataclass(frozen=True)
class Chain:
    """`first`, then each of `rest` by its operator, from left to right."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


Node = Number | Variable | Power | Chain


@dataclass(frozen=True)
class Expression:
    """An expression as it was read. `divides`: whether there is a `/` in it."""

    text: str
    root: Node
    divides: bool

    def over(self, x: Tensor, y: Tensor, p: int) -> tuple[Tensor, Tensor]:
        """Its value modulo p for every pair, and where it has one.

        Args:
            x, y: int64 of one shape.
            p: 2 <= p <= 2^31; a prime where the expression divides.

        Returns:
            values in [0, p), int64, 0 where there is none; bool, False where something is divided by 0 modulo p.
        """
        assert 2 <= p <= MOST_P, "an int64 must hold p^2"
        defined = torch.ones_like(x, dtype=torch.bool)
        values = _evaluate(self.root, {"x": x % p, "y": y % p}, p, defined)
        return values.where(defined, torch.zeros_like(values)), defined


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """The expression that `text` is.

    Raises:
        TaskError: it is none; one line that says at which position (from 1), which character, and what belongs there.
    """
    if len(text) > MOST_CHARACTERS:
        raise TaskError(
            f"an expression may have {MOST_CHARACTERS} characters, not {len(text)}: it goes on at position "
            f"{MOST_CHARACTERS + 1} with {text[MOST_CHARACTERS]!r}; shorten it"
        )
    return _Parser(text).expression()


@dataclass(frozen=True)
class _Token:
    text: str
    position: int  # from 1


class _Parser:
    """Recursive descent over the tokens; `depth` counts what is open: parentheses and minus signs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.next = 0

    def expression(self) -> Expression:
        root = self.sum(0)
        if self.next < len(self.tokens):
            token = self.tokens[self.next]
            if token.text == ")":
                raise self.wrong("closes a parenthesis that none opened; take it out")
            raise self.wrong("follows a value without an operator; write `*` between them")
        return Expression(self.text, root, any(token.text == "/" for token in self.tokens))

    def sum(self, depth: int) -> Node:
        return self.chain("+-", self.product, depth)

    def product(self, depth: int) -> Node:
        return self.chain("*/", self.signed, depth)

    def chain(self, operators: str, part: Callable[[int], Node], depth: int) -> Node:
        first, rest = part(depth), []
        while operator := self.taken(operators):
            rest.append((operator.text, part(depth)))
        return Chain(first, tuple(rest)) if rest else first

    def signed(self, depth: int) -> Node:
        if minus := self.taken("-"):
            return Chain(Number(0), (("-", self.signed(self.deeper(depth, minus))),))
        return self.power(depth)

    def power(self, depth: int) -> Node:
        base = self.atom(depth)
        if not self.taken("^"):
            return base
        rule = f"an exponent must be a whole number from 0 to {MOST_EXPONENT}"
        if self.next >= len(self.tokens) or self.tokens[self.next].text[0] not in _DIGITS:
            raise self.wrong(f"stands where {rule}")
        exponent = int(self.tokens[self.next].text)
        if exponent > MOST_EXPONENT:
            raise self.wrong(f"is too large: {rule}")
        self.next += 1
        if self.next < len(self.tokens) and self.tokens[self.next].text == "^":
            raise self.wrong("raises a power to a power; write the product of the exponents, or parentheses")
        return Power(base, exponent)

    def atom(self, depth: int) -> Node:
        if opened := self.taken("("):
            inside = self.sum(self.deeper(depth, opened))
            if not self.taken(")"):
                raise self.wrong(f"stands where `)` must close the `(` of position {opened.position}")
            return inside
        if self.next < len(self.tokens):
            text = self.tokens[self.next].text
            if text in _VARIABLES or text[0] in _DIGITS:
                self.next += 1
                return Variable(text) if text in _VARIABLES else Number(int(text))
        raise self.wrong("stands where a value is needed: x, y, a whole number or `(`")

    def taken(self, texts: str) -> _Token | None:
        """The next token, stepped over, if it is one of the signs `texts`."""
        if self.next < len(self.tokens) and self.tokens[self.next].text in texts:
            self.next += 1
            return self.tokens[self.next - 1]
        return None

    def deeper(self, depth: int, token: _Token) -> int:
        if depth >= MOST_DEPTH:
            self.next = self.tokens.index(token)
            raise self.wrong(f"is nested more than {MOST_DEPTH} deep; write the expression flatter")
        return depth + 1

    def wrong(self, rule: str) -> TaskError:
        """What is wrong with the next token, or with there being none."""
        if self.next < len(self.tokens):
            token = self.tokens[self.next]
            return _wrong(self.text, token.position, f"`{token.text}`", rule)
        return _wrong(self.text, len(self.text) + 1, "the end", rule)


def _tokens(text: str) -> Sequence[_Token]:
    found: list[_Token] = []
    i = 0
    while i < len(text):
        character, start = text[i], i
        i += 1
        if character == " ":
            continue
        if character in _DIGITS:
            while i < len(text) and text[i] in _DIGITS:
                i += 1
        elif character not in _VARIABLES + _SIGNS:
            rule = "is not allowed: only x, y, whole numbers, + - * / ^ and parentheses are"
            raise _wrong(text, start + 1, f"`{character}`" if character.isprintable() else ascii(character), rule)
        found.append(_Token(text[start:i], start + 1))
    return found


def _wrong(text: str, position: int, what: str, rule: str) -> TaskError:
    # repr: whatever stands in the text, the message is one line.
    return TaskError(f"the expression {text!r}, position {position}: {what} {rule}")


def _evaluate(node: Node, variables: dict[str, Tensor], p: int, defined: Tensor) -> Tensor:
    """The node's values in [0, p); clears `defined` where it divides by 0. No number passes p^2."""
    match node:
        case Number(value):
            return torch.full_like(variables["x"], value % p)
        case Variable(name):
            return variables[name]
        case Power(base, exponent):
            return _power(_evaluate(base, variables, p, defined), exponent, p)
        case Chain(first, rest):
            values = _evaluate(first, variables, p, defined)
            for operator, part in rest:
                other = _evaluate(part, variables, p, defined)
                if operator == "/":
                    defined &= other != 0
                    # Fermat: b^(p - 2) is the inverse of b modulo a prime p.
                    operator, other = "*", _power(other, p - 2, p)
                if operator == "*":
                    values = values * other % p
                else:
                    values = (values + other if operator == "+" else values - other) % p
            return values


def _power(base: Tensor, exponent: int, p: int) -> Tensor:
    """base^exponent modulo p by squaring."""
    result = torch.full_like(base, 1 % p)
    while exponent:
        if exponent & 1:
            result = result * base % p
        base, exponent = base * base % p, exponent >> 1
    return result


def is_prime(n: int) -> bool:
    """Whether n is a prime number, by trial division."""
    return n >= 2 and all(n % d for d in range(2, int(n**0.5) + 1))


def near_primes(n: int) -> str:
    """What to choose in place of n, which is no prime: the primes next to it, in words."""
    below = next((d for d in range(n - 1, 1, -1) if is_prime(d)), None)
    above = next(d for d in range(n + 1, 2 * n + 3) if is_prime(d))
    return f"choose {above}" if below is None else f"choose {below} or {above}"
