"""Domains: the unit interval maps into them and back, Optuna sees the same, messages say the rule."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gtsearch import domains
from gtsearch.domains import Choice, Domain, Fixed, LogUniform, QUniform, RandInt, Uniform

units = st.floats(0, 1, exclude_max=True)
numbers = st.floats(-1e12, 1e12)
positives = st.floats(1e-300, 1e300)
wholes = st.integers(-10_000, 10_000)
steps = st.sampled_from([0.001, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 100.0])


@st.composite
def ranges(draw: st.DrawFn) -> Domain:
    """A range that is not reversed and not empty."""
    word = draw(st.sampled_from(["uniform", "loguniform", "randint", "quniform"]))
    if word == "randint":
        start, count = draw(wholes), draw(st.integers(1, 1000))
        return domains.parse({word: [start, start + count]})
    if word == "quniform":
        q, start, count = draw(steps), draw(wholes), draw(st.integers(1, 1000))
        return domains.parse({word: [float(f"{start * q:.12g}"), float(f"{(start + count) * q:.12g}"), q]})
    low, high = sorted([draw(positives if word == "loguniform" else numbers) for _ in range(2)])
    assume(low < high)
    return domains.parse({word: [low, high]})


all_domains = st.one_of(
    ranges(),
    numbers.map(domains.parse),
    st.lists(numbers, min_size=1, max_size=6, unique=True).map(domains.parse),
)


@given(all_domains, units)
def test_from_unit_gives_a_float_of_the_domain(domain: Domain, u: float) -> None:
    value = domain.from_unit(u)
    assert type(value) is float
    assert domain.contains(value)
    assert value >= domain.least


@given(all_domains, units)
def test_unit_round_trip(domain: Domain, u: float) -> None:
    value = domain.from_unit(u)
    back = domain.to_unit(value)
    assert 0 <= back <= 1
    scale = max(abs(value), abs(domain.least))
    assert math.isclose(domain.from_unit(back), value, rel_tol=1e-9, abs_tol=1e-9 * scale)


@given(all_domains, units, units)
def test_from_unit_rises_but_for_choices(domain: Domain, u: float, v: float) -> None:
    if not isinstance(domain, Choice):
        assert domain.from_unit(min(u, v)) <= domain.from_unit(max(u, v))


@given(all_domains)
def test_plain_is_read_back(domain: Domain) -> None:
    assert domains.parse(domain.plain()) == domain
    assert domains.parse(domain) is domain


@given(all_domains, st.integers(0, 2**31))
def test_what_optuna_samples_lies_in_the_domain(domain: Domain, seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = study.ask({"lr": domain.distribution()}).params["lr"]
    assert type(value) is float
    assert domain.contains(value)


@given(ranges())
def test_bounds_are_inside_and_are_edges(domain: Domain) -> None:
    if isinstance(domain, Fixed):
        return
    assert isinstance(domain, Uniform | QUniform)
    for bound, end in ((domain.low, "low"), (domain.high, "high")):
        assert domain.contains(bound)
        if not (isinstance(domain, LogUniform) and math.log(domain.low) == math.log(domain.high)):
            assert domain.low == domain.high or domain.edge(bound) == end
    assert not domain.contains(math.nan)
    assert not domain.contains(math.inf)


@pytest.mark.parametrize(
    ("yaml", "domain"),
    [
        (3, Fixed((3.0,))),
        ([1, 2.5], Choice((1.0, 2.5))),
        ({"choice": [1, 2.5]}, Choice((1.0, 2.5))),
        ({"uniform": [0, 1]}, Uniform(0.0, 1.0)),
        ({"loguniform": [0.1, 1]}, LogUniform(0.1, 1.0)),
        ({"randint": [1, 5]}, RandInt(1.0, 4.0, 1.0)),
        ({"randint": [4, 5]}, Fixed((4.0,))),
        ({"quniform": [0, 1, 0.25]}, QUniform(0.0, 1.0, 0.25)),
    ],
)
def test_parse(yaml: Any, domain: Domain) -> None:
    assert domains.parse(yaml) == domain


def test_values_worked_by_hand() -> None:
    assert Uniform(2.0, 4.0).from_unit(0.25) == 2.5
    assert LogUniform(0.01, 1.0).from_unit(0.5) == pytest.approx(0.1)
    assert LogUniform(0.01, 1.0).to_unit(0.1) == pytest.approx(0.5)
    assert [domains.parse({"randint": [1, 5]}).from_unit(u) for u in (0, 0.25, 0.5, 0.999)] == [1, 2, 3, 4]
    assert [domains.parse({"quniform": [0, 0.3, 0.1]}).from_unit(u) for u in (0, 0.3, 0.6, 0.8)] == [0, 0.1, 0.2, 0.3]
    assert [Choice((3.0, 1.0)).from_unit(u) for u in (0, 0.49, 0.5, 0.99)] == [3, 3, 1, 1]


def test_rounding_does_not_step_over_a_bound() -> None:
    """exp(log(x)) differs from x by the last bit for most x, either way."""
    for tenths in range(1, 200):
        domain = LogUniform(tenths / 10, tenths / 10 + 1)
        assert domain.contains(domain.from_unit(0)) and domain.contains(domain.from_unit(1))


def test_the_upper_bound_of_randint_is_not_taken() -> None:
    domain = domains.parse({"randint": [1, 5]})
    assert domain.contains(4) and not domain.contains(5) and not domain.contains(1.5)


def test_a_grid_can_list_choices_and_numbers_alone() -> None:
    assert domains.parse([3, 1]).values() == [3.0, 1.0]
    assert domains.parse(0.5).values() == [0.5]
    with pytest.raises(ValueError, match=r"^uniform is a range and has no list of values; give a list$"):
        domains.parse({"uniform": [0, 1]}).values()


@pytest.mark.parametrize(
    ("yaml", "value", "end"),
    [
        ({"uniform": [0, 1]}, 0.04, "low"),
        ({"uniform": [0, 1]}, 0.06, None),
        ({"uniform": [0, 1]}, 0.97, "high"),
        ({"loguniform": [0.001, 1]}, 0.0012, "low"),
        ({"loguniform": [0.001, 1]}, 0.03, None),
        ({"loguniform": [0.001, 1]}, 0.9, "high"),
        ({"randint": [0, 5]}, 0, "low"),
        ({"randint": [0, 5]}, 2, None),
        ({"randint": [0, 5]}, 4, "high"),
        ([1, 2, 3], 1, None),
        (3, 3, None),
    ],
)
def test_edge(yaml: Any, value: float, end: str | None) -> None:
    assert domains.parse(yaml).edge(value) == end


def test_edge_with_a_share_of_ones_own() -> None:
    domain = Uniform(0.0, 1.0)
    assert [domain.edge(value, share=0.25) for value in (0.25, 0.26, 0.74, 0.75)] == ["low", None, None, "high"]


def test_domains_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Uniform(0.0, 1.0).low = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("3e-3", "must be a number, or a domain such as {uniform: [0.1, 1]}, not '3e-3'"),
        (True, "must be a number, or a domain such as {uniform: [0.1, 1]}, not True"),
        (None, "must be a number, or a domain such as {uniform: [0.1, 1]}, not None"),
        (math.nan, "must be a finite number, not nan"),
        ([], "a choice needs at least one number; the list is empty"),
        ([1, 1.0], "a choice holds every number once; [1, 1] repeats one"),
        ([1, "2"], "must be a number, or a domain such as {uniform: [0.1, 1]}, not '2'"),
        ({}, "a domain is one of choice, uniform, loguniform, randint, quniform, as in {uniform: [0.1, 1]}, not 0 of"),
        ({"uniform": [0, 1], "randint": [0, 1]}, "as in {uniform: [0.1, 1]}, not 2 of them"),
        ({"loguniforn": [1, 2]}, "there is no domain `loguniforn`; did you mean `loguniform`? (known: choice, uniform"),
        ({"uniform": 3}, "uniform takes a list of numbers, as in {uniform: [0.1, 1]}"),
        ({"uniform": [1]}, "uniform takes 2 numbers, as in {uniform: [0.1, 1]}, not 1"),
        ({"uniform": [2, 1]}, "uniform needs its lower bound first; [2, 1] is reversed"),
        ({"uniform": [1, 1]}, "uniform holds only 1; write the number alone to fix it, or widen the range"),
        ({"uniform": [-1.5e308, 1.5e308]}, "uniform: [-1.5e+308, 1.5e+308] is wider than a float can tell"),
        ({"uniform": [0, math.inf]}, "must be a finite number, not inf"),
        ({"loguniform": [0, 1]}, "loguniform needs bounds above 0, not [0, 1]; raise them or use uniform"),
        ({"loguniform": [2, -1]}, "loguniform needs bounds above 0, not [2, -1]; raise them or use uniform"),
        ({"loguniform": [2, 1]}, "loguniform needs its lower bound first; [2, 1] is reversed"),
        ({"randint": [1, 2.5]}, "randint takes whole numbers up to a billion, not 2.5"),
        ({"randint": [1, 1]}, "randint does not take its upper bound, so [1, 1] holds nothing; raise the upper bound"),
        ({"randint": [1, 10**10]}, "randint takes whole numbers up to a billion, not 1e+10"),
        ({"quniform": [0, 1]}, "quniform takes 3 numbers, as in {quniform: [0, 1, 0.25]}, not 2"),
        ({"quniform": [0, 1, 0]}, "quniform needs a step above 0, not 0"),
        ({"quniform": [0, 1, 0.3]}, "quniform: the bound 1 is not a multiple of the step 0.3; make it one"),
        ({"quniform": [0, 1, 1e-12]}, "quniform: 1 is too many steps of 1e-12 from 0; take a larger step"),
    ],
)
def test_what_is_no_domain_says_the_rule(yaml: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        domains.parse(yaml)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
