"""What the README shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from gtsearch.spec import load_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_experiment_is_one(tmp_path: Path) -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "modadd.yaml").write_text(block)
    assert load_spec(tmp_path / "modadd.yaml").name == "modadd"


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 200
