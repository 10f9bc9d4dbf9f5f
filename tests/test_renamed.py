"""Old names work for a while, say so, and are then refused in the same words; nothing is renamed yet, so each test
renames something."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from test_spec import SMALLEST, changed

import gtsearch
from gtsearch import reading, renamed
from gtsearch.errors import OldName, SpecError
from gtsearch.renamed import Renamed
from gtsearch.spec import Spec, load_spec, parse_spec

SOON, OVER = Renamed("weak.gate.at_least", "0.0.1", "9.0"), Renamed("weak.gate.at_least", "0.0.1", "0.1")


def with_old(**gate: Any) -> dict[str, Any]:
    return changed(weak__gate={"seeds": 5, **gate})


def quietly(content: dict[str, Any]) -> Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("error", OldName)
        return parse_spec(copy.deepcopy(content))


def test_every_new_name_is_one() -> None:
    assert {one.new for one in renamed.NAMES.values()} <= set(gtsearch.__all__)
    dumped = load_spec("modadd").model_dump()
    assert all(reading._stands(dumped, one.new) for one in renamed.KEYS.values())


def test_an_old_key_does_what_the_new_one_does_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.KEYS, "weak.gate.least", SOON)
    words = (
        r"weak\.gate\.least is called `weak\.gate\.at_least` since gtsearch 0\.0\.1; write that; gtsearch 9\.0 refuses"
    )
    with pytest.warns(OldName, match=words):
        spec = parse_spec(with_old(least=2))
    assert spec == quietly(with_old(at_least=2))
    assert spec != quietly(with_old(at_least=3))


def test_a_key_may_have_moved_to_another_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.KEYS, "weak.epochs", Renamed("weak.budget.max_epochs", "0.0.1", "9.0"))
    with pytest.warns(OldName):
        spec = parse_spec(changed(weak__epochs=77))
    assert spec.weak is not None and spec.weak.budget.max_epochs == 77


def test_variations_may_name_the_old_key_and_what_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.KEYS, "weak.screen", Renamed("weak.gate", "0.0.1", "9.0"))
    content = changed(ablate={"vary": {"strict": {"weak.screen.at_least": 5}, "whole": {"weak": None}}})
    content["ablate"]["vary"]["whole"] = {"weak.screen": {"seeds": 4, "at_least": 4}}
    with pytest.warns(OldName) as seen:
        found = parse_spec(content).variations()
    assert [str(one.message).partition(" since")[0] for one in seen] == [
        "ablate.vary.strict.weak.screen.at_least is called `weak.gate.at_least`",
        "ablate.vary.whole.weak.screen is called `weak.gate`",
    ]
    gates = {name: one.weak.gate for name, one in found.items() if one.weak}
    assert gates["strict"].at_least == 5 and gates["whole"].seeds == 4


def test_a_mapping_that_a_variation_puts_in_may_hold_the_old_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.KEYS, "weak.gate.least", SOON)
    content = changed(ablate={"vary": {"strict": {"weak.gate": {"seeds": 5, "least": 5}}}})
    with pytest.warns(OldName):
        found = parse_spec(content).variations()["strict"]
    assert found.weak is not None and found.weak.gate.at_least == 5


@pytest.mark.parametrize(
    ("now", "gate", "words"),
    [
        (OVER, {"least": 2}, "weak.gate.least: is called `weak.gate.at_least` since gtsearch 0.0.1; write that"),
        (
            SOON,
            {"least": 2, "at_least": 3},
            "weak.gate.least: stands beside `weak.gate.at_least`, which is its name now; take the old one out",
        ),
    ],
)
def test_what_is_refused(now: Renamed, gate: dict[str, int], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.KEYS, "weak.gate.least", now)
    with pytest.raises(SpecError) as refused:
        quietly(with_old(**gate))
    assert str(refused.value) == words


def test_a_run_of_the_version_before_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(parse_spec(SMALLEST).to_yaml().replace("at_least: 4", "least: 4"))
    monkeypatch.setitem(renamed.KEYS, "weak.gate.least", SOON)
    with pytest.warns(OldName):
        assert load_spec(file) == parse_spec(SMALLEST)


def test_a_command_tells_of_an_old_key_in_one_line() -> None:
    command = ["check", "smoke", "--set", "weak.gate={seeds: 3, least: 2}"]
    program = f"""
import sys, warnings
from gtsearch import cli, renamed
renamed.KEYS["weak.gate.least"] = renamed.Renamed("weak.gate.at_least", "0.0.1", "9.0")
code = cli.main({command!r})
warnings.warn("another", FutureWarning)
sys.exit(code)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[:2] == [  # from Python 3.13 on the line of source follows
        "gtsearch: weak.gate.least is called `weak.gate.at_least` since gtsearch 0.0.1; write that; "
        "gtsearch 9.0 refuses the old name",
        "<string>:6: FutureWarning: another",
    ]


def test_an_old_name_of_python_warns_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(renamed.NAMES, "find", Renamed("load_results", "0.0.1", "9.0"))
    with pytest.warns(OldName, match=r"gtsearch\.find is called `load_results`") as seen:
        assert gtsearch.find is gtsearch.load_results
    assert [Path(one.filename).name for one in seen] == [Path(__file__).name]
    monkeypatch.setitem(renamed.NAMES, "find", Renamed("load_results", "0.0.1", "0.1"))
    with pytest.raises(
        AttributeError, match=r"gtsearch\.find is called `load_results` since gtsearch 0\.0\.1; write that$"
    ):
        _ = gtsearch.find
    with pytest.raises(AttributeError, match="module 'gtsearch' has no attribute 'lost'"):
        _ = gtsearch.lost


@pytest.mark.parametrize(("until", "is_over"), [("0.1", True), ("0.1.0", True), ("0.0.9", True), ("0.10", False)])
def test_versions_are_compared_as_numbers(until: str, is_over: bool) -> None:
    assert gtsearch.__version__ == "0.1.0", "give other versions here"
    assert Renamed("new", "0.0.1", until).is_over is is_over
