from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtsearch.identity import canonical, derive_seed, digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_equal_values_have_equal_names(value: object) -> None:
    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return tuple(turned(inner) for inner in value) if isinstance(value, list) else value

    assert canonical(value) == canonical(turned(value))
    assert digest(value) == digest(turned(value))


def test_what_differs_has_another_name() -> None:
    values = [{"lr": 0.1}, {"lr": 0.2}, {"wd": 0.1}, {"lr": "0.1"}, {"lr": [0.1]}, {}, None, [], "", 0, False]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {"lr": [float("nan")]}])
def test_what_is_no_number_has_no_name(bad: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(bad)


def test_names_and_seeds_never_change() -> None:
    """Run folders of earlier versions are resumed and compared by them."""
    assert canonical({"b": 1, "a": [1.5, None, True]}) == '{"a":[1.5,null,true],"b":1}'
    assert digest({"a": 1}) == "015abd7f5cc57a2d"
    assert digest({"a": 1}, 8) == "015abd7f"
    assert derive_seed(0, "report", 3) == 4646826774534746912


def test_seeds_are_in_range_and_never_meet() -> None:
    lists = ("search", "gate", "report")
    seeds = {derive_seed(base, name, i) for base in range(5) for name in lists for i in range(200)}
    assert len(seeds) == 5 * 3 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert derive_seed("0") != derive_seed(0)


def test_another_process_derives_the_same_seed() -> None:
    code = "from gtsearch.identity import derive_seed; print(derive_seed(7, 'gate', 1))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive_seed(7, "gate", 1)
