from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from gtsearch.analysis import devices, replayed, report
from gtsearch.analysis.replayed import Replayed, Rule
from gtsearch.results import Results
from gtsearch.spec import load_spec

KEPT = replayed.MEASURED

MEASURED = {
    Rule(4, 5, 7, 10): [Replayed("a + b mod 113", 8, 13, 20, 200), Replayed("a * b mod 59", 0, 0, 0, 200)],
    Rule(9, 9, 9, 9): [Replayed("something else", 1, 1, 1, 2)],
}
GATE, REPORT = {"seeds": 5, "at_least": 4}, {"seeds": 10, "at_least": 7}


def with_rule(results: Results, **weak: object) -> Results:
    """The run as one that asked for this of its weak stage; by parameters, gate 4 of 5, report 7 of 10 otherwise."""
    asked = yaml.safe_load(results.spec_text)
    asked["weak"] = {**asked["weak"], "cost": "params", "gate": GATE, **weak}
    return replace(results, spec_text=yaml.safe_dump({**asked, "report": REPORT}))


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replayed, "MEASURED", MEASURED)


def test_the_rule_of_our_own_experiments_was_measured() -> None:
    spec = load_spec("modadd")
    assert spec.weak is not None
    rule = Rule(spec.weak.gate.at_least, spec.weak.gate.seeds, spec.report.at_least, spec.report.seeds)
    assert KEPT[rule]
    for one in KEPT[rule]:
        assert max(one.poor, one.beaten) <= one.wrong <= min(one.poor + one.beaten, one.repetitions)


def test_the_share_stands_beside_the_rule_it_was_measured_for(usual: Results) -> None:
    told = replayed.sentence(with_rule(usual))
    assert told is not None
    assert "(4 of 5 gate seeds, then 7 of 10 report seeds)" in told and "python -m benchmarks.lattice compare" in told
    assert "in 200 repetitions: on a + b mod 113 it named" in told and "; on a * b mod 59 it named" in told
    shares = [told.index(share) for share in ("4.0 % [2.0, 7.7]", "6.5 % [3.8, 10.8]", "10.0 % [6.6, 14.9]")]
    assert shares == sorted(shares), "too few seeds, passed over, either"
    assert "something else" not in told


def test_a_rule_that_was_not_measured_is_not_spoken_of(usual: Results) -> None:
    assert replayed.sentence(with_rule(usual, gate={"seeds": 5, "at_least": 3})) is None
    assert replayed.sentence(with_rule(usual, cost="flops")) is None, "its order is not the one that was replayed"
    assert replayed.sentence(with_rule(usual, goal={"val_accuracy": None})) is None, "no accuracy screens"
    assert replayed.sentence(usual) is None, "an old run that did not write its report seeds"


def test_the_page_says_it_under_the_certificate(usual: Results) -> None:
    told = replayed.sentence(with_rule(usual))
    small = {"devices": devices.table(devices.gather(usual))}
    page = report._page([with_rule(usual)], [small])
    assert page.partition("What is certified of the weak model")[2].count(str(told).replace("'", "&#39;")) == 1
    assert "measured on recorded curves" not in report._page([usual], [small])
