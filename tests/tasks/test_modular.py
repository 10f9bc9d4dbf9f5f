from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gtsearch import catalog
from gtsearch.problems import explain
from gtsearch.tasks.base import EnumeratedTask, Part
from gtsearch.tasks.modular import (
    ModularAddition,
    ModularArithmetic,
    ModularDivision,
    ModularMultiplication,
    ModularPolynomial,
    ModularSubtraction,
)
from gtsearch.tasks.pair import ModularPair


def addition(p: int, fraction: float = 0.25) -> ModularAddition:
    return ModularAddition(name="modular_addition", p=p, train_fraction=fraction)


def rows(x: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in x.tolist()}


def test_the_papers_sizes() -> None:
    task = addition(113)
    assert task.n_examples == 12769
    assert task.part_sizes == (3192, 4788, 4789)
    assert (task.d_vocab, task.n_tokens, task.n_classes) == (113, 2, 113)
    assert task.chance == pytest.approx(1 / 113)
    assert task.title == "a + b mod 113"
    splits = task.splits(0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == task.part_sizes


def test_examples_are_all_pairs_in_order() -> None:
    examples = addition(7).examples()
    assert examples.x.tolist() == [[a, b] for a in range(7) for b in range(7)]
    assert examples.y.tolist() == [(a + b) % 7 for a in range(7) for b in range(7)]
    assert examples.x.dtype == examples.y.dtype == torch.int64


@given(p=st.integers(5, 24), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**62))
def test_parts_are_disjoint_cover_and_come_back(p: int, fraction: float, seed: int) -> None:
    assume(int(p**2 * fraction) >= 1 and p**2 - int(p**2 * fraction) >= 2)
    task = addition(p, fraction)
    splits = task.splits(seed)
    parts = [splits.train, splits.validation, splits.test]
    assert sum(len(part) for part in parts) == p**2
    assert set.union(*(rows(part.x) for part in parts)) == rows(task.examples().x)
    assert abs(len(splits.train) - fraction * p**2) < 1
    assert abs(len(splits.validation) - len(splits.test)) <= 1
    for part in parts:
        assert torch.equal(part.y, part.x.sum(dim=1) % p)

    again = task.splits(seed)
    assert torch.equal(again.validation.x, splits.validation.x)
    assert again.train_sha256 == splits.train_sha256


def test_another_seed_is_another_split() -> None:
    task = addition(11)
    assert task.splits(0).train_sha256 != task.splits(1).train_sha256


def test_a_split_is_the_same_on_every_machine() -> None:
    """A change of torch's generator would make every published split another one: then this fails."""
    assert addition(113).splits(0).train_sha256.startswith("910d8f5ffaff50b6")


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = addition(11).splits(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert addition(11).splits(3).train_sha256 == first.train_sha256


@pytest.mark.parametrize("fraction", [0.01, 0.999])
def test_an_empty_part_is_refused(fraction: float) -> None:
    with pytest.raises(ValidationError, match=r"leaves the (train|validation) part empty"):
        addition(5, fraction)


@pytest.mark.parametrize("change", [{"p": 4}, {"p": 1025}, {"train_fraction": 0}, {"train_fraction": 1}, {"P": 7}])
def test_what_makes_no_task_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ModularAddition(**{"name": "modular_addition", "p": 7, **change})


def test_identity_names_the_task_and_not_the_split() -> None:
    parameters = {"name": "modular_addition", "p": 7, "train_fraction": 0.25, "keep_pairs": False}
    assert addition(7).identity() == parameters


def values(task: ModularArithmetic) -> dict[tuple[int, ...], int]:
    examples = task.examples()
    return {tuple(pair): y for pair, y in zip(examples.x.tolist(), examples.y.tolist(), strict=True)}


def test_each_operation_is_what_its_name_says() -> None:
    for a, b in ((3, 5), (6, 6), (0, 2), (2, 1)):
        assert values(ModularSubtraction(name="modular_subtraction", p=7))[a, b] == (a - b) % 7
        assert values(ModularMultiplication(name="modular_multiplication", p=7))[a, b] == a * b % 7
        assert values(ModularDivision(name="modular_division", p=7))[a, b] * b % 7 == a
        task = ModularPolynomial(name="modular_polynomial", p=7, expression="x^2 + x*y + y^2")
        assert values(task)[a, b] == (a * a + a * b + b * b) % 7
        assert task.title == "x^2 + x*y + y^2 mod 7"


def test_nothing_is_divided_by_zero() -> None:
    division = ModularDivision(name="modular_division", p=11)
    assert division.n_examples == len(division.examples()) == 110 and division.d_vocab == 11
    assert not (division.examples().x[:, 1] == 0).any()
    same = ModularPolynomial(name="modular_polynomial", p=11, expression="x / y")
    assert values(same) == values(division)
    task = ModularPolynomial(name="modular_polynomial", p=11, expression="1 / (x - y)", keep_pairs=True)
    assert task.n_examples == len(task.examples()) == 110
    assert all(a != b for a, b in values(task)) and task.d_vocab == 11


def test_chance_knows_that_a_product_is_often_0() -> None:
    assert ModularMultiplication(name="modular_multiplication", p=113).chance == (2 * 113 - 1) / 113**2
    assert addition(113).chance == 1 / 113
    assert ModularPolynomial(name="modular_polynomial", p=7, expression="5").chance == 1


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"name": "modular_division", "p": 112}, "division modulo p needs a prime p, not 112; choose 109 or 113"),
        (
            {"name": "modular_polynomial", "p": 9, "expression": "x/y"},
            "division modulo p needs a prime p, not 9; choose 7 or 11, or take the `/` out",
        ),
        (
            {"name": "modular_polynomial", "p": 7, "expression": "x/(y - y)"},
            "the expression 'x/(y - y)' divides by 0 modulo 7 for every pair; change its divisor",
        ),
        ({"name": "modular_polynomial", "expression": "x +"}, "the expression 'x +', position 4: the end stands where"),
        ({"name": "modular_pair", "p1": 8}, "both moduli must be primes, not 8; choose 7 or 11"),
        ({"name": "modular_pair", "p1": 7, "p2": 7}, "the two moduli must differ, not both be 7"),
        ({"name": "modular_pair", "p1": 31, "p2": 37}, "p1 p2 must be 1024 or less, not 31 * 37 = 1147"),
    ],
)
def test_what_has_no_values_is_one_line(parameters: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as refused:
        catalog.load("task", parameters["name"])(**parameters)
    (problem,) = explain(refused.value)
    assert line in problem.text and len(problem.text.splitlines()) == 1


def test_an_expression_without_division_takes_any_p() -> None:
    assert ModularPolynomial(name="modular_polynomial", p=8, expression="x*y").n_examples == 64


class Grouped(EnumeratedTask):
    """Examples in groups of the given sizes."""

    sizes: tuple[int, ...]

    @property
    def d_vocab(self) -> int:
        return self.n_examples

    @property
    def n_tokens(self) -> int:
        return 1

    @property
    def n_classes(self) -> int:
        return 2

    @property
    def n_examples(self) -> int:
        return sum(self.sizes)

    @property
    def title(self) -> str:
        return "groups"

    def examples(self) -> Part:
        return Part(torch.arange(self.n_examples)[:, None], torch.arange(self.n_examples) % 2)

    def groups(self) -> torch.Tensor:
        return -7 * torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    alone=st.integers(6, 40),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**62),
)
def test_groups_stay_together_and_sizes_are_as_announced(
    sizes: list[int], alone: int, fraction: float, seed: int
) -> None:
    n = sum(sizes) + alone
    assume(int(n * fraction) >= 1 and n - int(n * fraction) >= 2)
    task = Grouped(name="groups", sizes=(*sizes, *[1] * alone), train_fraction=fraction)
    splits = task.splits(seed)
    parts = [{row[0] for row in rows(part.x)} for part in (splits.train, splits.validation, splits.test)]
    assert tuple(map(len, parts)) == task.part_sizes
    assert set.union(*parts) == set(range(n)) and sum(map(len, parts)) == n
    group = task.groups().tolist()
    assert all(len({group[i] for i in one} & {group[i] for i in two}) == 0 for one, two in combinations(parts, 2))
    # As near to its share as the groups of more than one allow, which groups of one even out.
    assert abs(len(splits.train) - fraction * n) <= 6


@pytest.mark.parametrize("name", ["modular_addition", "modular_multiplication", "modular_division"])
@given(p=st.sampled_from([7, 13, 31]), fraction=st.floats(0.1, 0.8), seed=st.integers(0, 2**62))
def test_pairs_are_kept_in_one_part(name: str, p: int, fraction: float, seed: int) -> None:
    task = catalog.load("task", name)(name=name, p=p, train_fraction=fraction, keep_pairs=True)
    splits = task.splits(seed)
    parts = [rows(part.x) for part in (splits.train, splits.validation, splits.test)]
    everything = rows(task.examples().x)
    assert set.union(*parts) == everything and sum(map(len, parts)) == len(everything)
    assert all((b, a) in part for part in parts for a, b in part if (b, a) in everything)
    assert tuple(map(len, parts)) == task.part_sizes == task.model_copy(update={"keep_pairs": False}).part_sizes


def test_which_pairs_are_kept_where_depends_on_the_seed() -> None:
    task = ModularAddition(name="modular_addition", p=113, keep_pairs=True)
    assert task.part_sizes == (3192, 4788, 4789)
    one, two = (rows(task.splits(seed).train.x) for seed in (0, 1))
    assert len(one & two) == pytest.approx(3192 / 4, rel=0.15)
    doubles = [len([1 for a, b in rows(part.x) if a == b]) for part in (task.splits(0).train, task.splits(0).test)]
    assert doubles == [28, 43]


def test_two_sums_at_once() -> None:
    task = ModularPair(name="modular_pair", p1=3, p2=5)
    examples = task.examples()
    assert (task.d_vocab, task.n_classes, len(examples)) == (15, 15, 225)
    for (a, b), y in zip(examples.x.tolist(), examples.y.tolist(), strict=True):
        assert divmod(y, 5) == ((a + b) % 3, a * b % 5)
    assert task.chance == pytest.approx(9 / 25 / 3)
    assert task.title == "(a + b mod 3, a * b mod 5)"
