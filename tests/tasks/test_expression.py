from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtsearch.errors import TaskError
from gtsearch.tasks.expression import MOST_CHARACTERS, MOST_DEPTH, is_prime, near_primes, parse

Reference = Callable[[int, int, int], int]
"""What an expression is in Python's own whole numbers: (x, y, p) -> value; ZeroDivisionError where there is none."""


def inverse(b: int, p: int) -> int:
    if b % p == 0:
        raise ZeroDivisionError
    return pow(b, -1, p)


def binary(parts: tuple[tuple[str, Reference], str, tuple[str, Reference]]) -> tuple[str, Reference]:
    (left, f), operator, (right, g) = parts
    if operator == "+":
        value: Reference = lambda x, y, p: f(x, y, p) + g(x, y, p)  # noqa: E731
    elif operator == "-":
        value = lambda x, y, p: f(x, y, p) - g(x, y, p)  # noqa: E731
    elif operator == "*":
        value = lambda x, y, p: f(x, y, p) * g(x, y, p)  # noqa: E731
    else:
        value = lambda x, y, p: f(x, y, p) * inverse(g(x, y, p), p)  # noqa: E731
    return f"({left}) {operator}({right})", value


def power(parts: tuple[tuple[str, Reference], int]) -> tuple[str, Reference]:
    (text, f), exponent = parts
    return f"({text})^{exponent}", lambda x, y, p: f(x, y, p) ** exponent


def minus(part: tuple[str, Reference]) -> tuple[str, Reference]:
    text, f = part
    return f"-({text})", lambda x, y, p: -f(x, y, p)


ATOMS: st.SearchStrategy[tuple[str, Reference]] = st.one_of(
    st.just(("x", lambda x, y, p: x)),
    st.just(("y", lambda x, y, p: y)),
    st.integers(0, 10**12).map(lambda n: (str(n), lambda x, y, p: n)),
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(binary),
        st.tuples(inner, st.integers(0, 6)).map(power),
        inner.map(minus),
    ),
    max_leaves=6,
)
PRIMES = st.sampled_from([2, 3, 5, 7, 113, 1021, 2**31 - 1])


@given(EXPRESSIONS.filter(lambda found: len(found[0]) <= MOST_CHARACTERS), PRIMES, st.integers(0), st.integers(0))
def test_is_what_whole_numbers_of_any_size_give(found: tuple[str, Reference], p: int, x: int, y: int) -> None:
    text, reference = found
    x, y = x % p, y % p
    values, defined = parse(text).over(torch.tensor([x]), torch.tensor([y]), p)
    try:
        expected = reference(x, y, p) % p
    except ZeroDivisionError:
        assert not defined.item() and values.item() == 0
    else:
        assert defined.item() and values.item() == expected


@given(
    st.lists(st.sampled_from(["x", "y", "3", "12", "-x", "y^2", "x^0"]), min_size=2, max_size=9),
    st.lists(st.sampled_from([" + ", "-", "*", " - "]), min_size=8, max_size=8),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_binds_as_python_does(parts: list[str], signs: list[str], x: int, y: int) -> None:
    """Without parentheses; `**` for `^`, and Python's own parser for the rest."""
    text = parts[0] + "".join(sign + part for part, sign in zip(parts[1:], signs, strict=False))
    expected = eval(text.replace("^", "**"), {"__builtins__": {}}, {"x": x, "y": y})
    values, defined = parse(text).over(torch.tensor([x]), torch.tensor([y]), 101)
    assert values.item() == expected % 101 and defined.item()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x^2 + x*y + y^2", 9 + 15 + 25),
        ("-x^2", -9),
        ("x - y - 1", -3),
        ("x / y / 2", 3 * pow(10, -1, 101)),
        ("2 - -x", 5),
        ("--x", 3),
        ("x*-y", -15),
        ("(x)", 3),
        (" x ", 3),
        ("0^0", 1),
        ("x^64", 3**64),
        ("9" * 190, int("9" * 190)),
    ],
)
def test_values(text: str, value: int) -> None:
    values, _ = parse(text).over(torch.tensor([3]), torch.tensor([5]), 101)
    assert values.item() == value % 101


def test_the_largest_modulus_does_not_overflow() -> None:
    p = 2**31 - 1
    values, _ = parse("x*y").over(torch.tensor([p - 1]), torch.tensor([p - 2]), p)
    assert values.item() == (p - 1) * (p - 2) % p


def test_division_by_zero_has_no_value_wherever_it_stands() -> None:
    x, y = torch.tensor([0, 1, 2, 3]), torch.tensor([2, 2, 2, 2])
    for text in ("1/x", "0*(1/x)", "(1/x)^0", "y/(x*x)"):
        assert parse(text).over(x, y, 7)[1].tolist() == [False, True, True, True]
    assert parse("1/(x - y)").over(x, y, 7)[1].tolist() == [True, True, False, True]
    assert not parse("x/7").over(x, y, 7)[1].any()
    assert parse("x/y").divides and not parse("x*y").divides


@pytest.mark.parametrize(
    ("text", "position", "character"),
    [
        ("", 1, "the end"),
        ("x +", 4, "the end"),
        ("(x", 3, "the end"),
        ("x^", 3, "the end"),
        ("x + $", 5, "`$`"),
        ("a + x", 1, "`a`"),
        ("X", 1, "`X`"),
        ("x y", 3, "`y`"),
        ("2x", 2, "`x`"),
        ("x(y)", 2, "`(`"),
        ("x)", 2, "`)`"),
        ("()", 2, "`)`"),
        ("x + * y", 5, "`*`"),
        ("x**2", 3, "`*`"),
        ("x^y", 3, "`y`"),
        ("x^-1", 3, "`-`"),
        ("x^(2)", 3, "`(`"),
        ("x^65", 3, "`65`"),
        ("x^2^2", 4, "`^`"),
        ("1.5", 2, "`.`"),
        ("x\n+ y", 2, "'\\n'"),
        ("x + ²", 5, "`²`"),
        ("x % 2", 3, "`%`"),
        ("__import__", 1, "`_`"),
        ("(" * 60 + "x" + ")" * 60, MOST_DEPTH + 1, "`(`"),
        ("-" * 60 + "x", MOST_DEPTH + 1, "`-`"),
    ],
)
def test_what_is_no_expression_is_one_line(text: str, position: int, character: str) -> None:
    with pytest.raises(TaskError) as refused:
        parse(text)
    assert f"position {position}: {character} " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_long_one_is_refused() -> None:
    assert parse("x" + "+x" * 99).over(torch.tensor([1]), torch.tensor([1]), 101)[0].item() == 100
    with pytest.raises(TaskError, match="200 characters, not 201: it goes on at position 201 with 'x'"):
        parse("+".join("x" * 101))


@given(st.text(max_size=220))
def test_any_text_is_an_expression_or_one_line(text: str) -> None:
    try:
        parse(text)
    except TaskError as error:
        assert len(str(error).splitlines()) == 1


def test_primes() -> None:
    assert [n for n in range(30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert near_primes(112) == "choose 109 or 113"
    assert near_primes(1) == "choose 2"
