"""YAML as experiments have it: YAML 1.2's numbers, no key twice, errors with file, line and column."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gtsearch import reading
from gtsearch.errors import SpecError
from gtsearch.spec import load_spec


def read(text: str | bytes, folder: Path) -> dict[str, Any]:
    path = folder / "a.yaml"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return reading.read_experiment(path)[0]


def complaint(text: str | bytes, folder: Path) -> str:
    with pytest.raises(SpecError) as refused:
        read(text, folder)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-3", 0.003),
        ("1E6", 1e6),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("+7", 7),
        ("0", 0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("9" * 400, math.inf),
        # what YAML 1.1 takes for numbers, truth values and dates is text
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("no", "no"),
        ("on", "on"),
        ("2026-11-20", "2026-11-20"),
        ("'3e-3'", "3e-3"),
        ('"1"', "1"),
    ],
)
def test_scalars(text: str, value: Any, tmp_path: Path) -> None:
    got = read(f"a: {text}", tmp_path)["a"]
    assert got == value and type(got) is type(value)


def test_nan_is_read_so_that_it_can_be_refused(tmp_path: Path) -> None:
    assert math.isnan(read("a: .nan", tmp_path)["a"])


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(min_size=1, max_size=8), trees, max_size=3))
def test_what_is_dumped_is_read_back(tmp_path: Path, content: dict[str, Any]) -> None:
    assert read(reading.dump(content), tmp_path) == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml must hold a mapping of keys to values, not nothing (null)"),
        ("- 1", "a.yaml must hold a mapping of keys to values, not the list [1]"),
        (
            "a: [1, 2",
            "a.yaml, line 1, column 9: cannot be read as YAML: while parsing a flow sequence, expected ',' or ']'",
        ),
        (
            "a: 1\nb: 2: 3",
            "a.yaml, line 2, column 5: cannot be read as YAML: mapping values are not allowed here; mend it",
        ),
        (
            "a:\n\t- 1",
            "a.yaml, line 2, column 1: cannot be read as YAML: while scanning for the next token, found char",
        ),
        (
            "a: 1\n---\na: 2",
            "a.yaml, line 2, column 1: cannot be read as YAML: expected a single document in the stream",
        ),
        (
            "a:\n  b 1\n  c: 2",
            "a.yaml, line 3, column 4: cannot be read as YAML: mapping values are not allowed here; mend",
        ),
        ("a:\n  b 1\n  c: 2", "; mend it there or on the line before"),
        ("a: [1,\nb: [2", "; mend it there or on the line before"),
        ("a: \x00", "a.yaml: cannot be read as YAML: special characters are not allowed; mend it there"),
        (
            "w: {lr: 1,\n    lr: 2}",
            "a.yaml, line 2, column 5: cannot be read as YAML: the key `w.lr` stands twice (first on l",
        ),
        (
            "a: &x 1\nb: *x",
            "a.yaml, line 1, column 4: cannot be read as YAML: anchors, aliases and tags are not used in ",
        ),
        ("b: *x", "a.yaml, line 1, column 4: cannot be read as YAML: anchors, aliases and tags are not used in "),
        (
            "a: !!python/object:os.system 1",
            "a.yaml, line 1, column 4: cannot be read as YAML: anchors, aliases and tags",
        ),
        ("? [1]\n: 2", "a.yaml, line 1, column 3: cannot be read as YAML: a key must be text; mend it there"),
        ("a: " + "[" * 5000, "a.yaml is nested too deeply to be an experiment"),
        (b"\x80\x81", "a.yaml` is not text in UTF-8 (byte 0); give a YAML file"),
        (b"\x89PNG\r\n\x1a\n", "a.yaml` is not text in UTF-8 (byte 0); give a YAML file"),
    ],
)
def test_what_cannot_be_read_says_where(text: str | bytes, message: str, tmp_path: Path) -> None:
    said = complaint(text, tmp_path)
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    assert read(b"\xef\xbb\xbfa: 1", tmp_path) == {"a": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**63, b"", {1}, {None: 1}, "\udc80", {"\udc80": 1}])
def test_what_no_part_of_an_experiment_may_hold(value: Any) -> None:
    """Whatever fields a task or a model has: they are spared these."""
    with pytest.raises(ValidationError):
        reading.plain({"task": [value]})
    assert reading.plain({"task": ({"p": 2**63 - 1},)}) == {"task": [{"p": 2**63 - 1}]}


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    def said(path: Path | str) -> str:
        with pytest.raises(SpecError) as refused:
            load_spec(path)
        return str(refused.value)

    missing = tmp_path / "none.yaml"
    assert said(missing) == f"there is no file `{missing}`; give a YAML file, or a name that `gtsearch spaces` lists"
    assert said(tmp_path) == f"`{tmp_path}` cannot be read: Is a directory; give a YAML file"
    known = "(`gtsearch spaces` lists them); the name of a file ends in .yaml"
    assert said("modad") == f"there is no experiment `modad`; did you mean `modadd`? {known}"
    assert said("zzzzzz") == f"there is no experiment `zzzzzz` {known}"
    assert said("a\x00b").endswith("cannot be read: embedded null byte; give a YAML file")
    assert said("x" * 5000).endswith("cannot be read: File name too long; give a YAML file")
    assert len(said("no\nsuch.yaml").splitlines()) == 1


def test_a_bare_name_is_an_experiment_that_comes_along_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()
    assert load_spec("smoke").name == "smoke"


EXPERIMENT = """\
name: mine
task: {name: modular_addition, p: 23}
weak:
  goal:
    val_accuracy: 0.4
    hold: 2
  model: {name: mlp, d_embed: 4, width: 8}
  tune: {lr: 0.1, weight_decay: 1, init_scale: 1}
target:
  goal: {val_accuracy: 0.9}
  model: {name: mlp, d_embed: 16, width: 32}
  tune: {lr: 0.1, weight_decay: 1, init_scale: 1}
  budget: {max_epochs: 100}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "ending"),
    [
        ("hold: 2", "hlod: 2", "did you mean `hold`? (known: val_accuracy, hold, evaluate_every) (mine.yaml, line 6)"),
        ("hold: 2", "hold: 0", "weak.goal.hold: must be 1 or more, not 0 (mine.yaml, line 6)"),
        ("width: 8", "width: [8, 0]", "weak.model.width: must be 1 or more, not 0 (mine.yaml, line 7)"),
        # What is missing is told with the line of the mapping it is missing from.
        (
            "    val_accuracy: 0.4\n",
            "",
            "weak.goal: `val_accuracy` is missing and has no default; add it (mine.yaml, line 4)",
        ),
        ("name: mine\n", "", "`name` is missing and has no default; add it (mine.yaml)"),
    ],
)
def test_a_mistake_in_a_file_names_its_line(right: str, wrong: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT)
    assert load_spec(path).name == "mine"
    path.write_text(EXPERIMENT.replace(right, wrong))
    with pytest.raises(SpecError) as refused:
        load_spec(path)
    assert str(refused.value).endswith(ending)


def test_an_overridden_value_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT)
    with pytest.raises(SpecError) as refused:
        load_spec(path, ["weak.goal={val_accuracy: 0.4, hold: 0}"])
    assert str(refused.value) == "weak.goal.hold: must be 1 or more, not 0 (from --set)"


def test_what_has_no_end_is_no_experiment(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    with pytest.raises(SpecError, match="is no experiment: it has more than 4,194,304 bytes"):
        reading.read_experiment(tmp_path / "endless.yaml")
