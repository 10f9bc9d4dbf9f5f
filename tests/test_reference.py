"""The tables of docs/experiment-file.md are what the code makes, in words that are right."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from gtsearch.fields import LOOKS, GoalSpec
from gtsearch.schema import attributes

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/experiment-file.md").read_text("utf-8")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    found = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_makes(reference: ModuleType) -> None:
    if reference.page(PAGE) != PAGE:
        pytest.fail("docs/experiment-file.md is not what the code makes: make reference", pytrace=False)


def test_a_table_that_was_changed_is_told_and_mended_and_what_is_written_by_hand_stays(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "PAGE", page)
    page.write_text(f"By hand.\n\n{PAGE.replace('learning rate', 'rate of learning')}")
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().out == "page.md is not what the code makes; `python tools/reference.py` makes it anew\n"
    assert reference.main([]) == 0
    assert page.read_text() == f"By hand.\n\n{PAGE}"
    assert reference.main(["--check"]) == 0 and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("row", "kind"),
    {
        "`seed`": "whole number from 0 on",
        "`weak`": "mapping",
        "`about.shows`": "text",
        "`probes`": "list of [probes](#probes)",
        "`modules`": "[module](#modules): `{folder, sha256}`",
        "`weak.goal`": "[goal](#goals)",
        "`weak.model`": "[model](#models), its sizes values or lists",
        "`weak.loss`": "[loss](#losses)",
        "`weak.search`": "`tpe`, `random` or `grid`",
        "`weak.tune`": "[hyperparameter](#hyperparameters): [domain](#domains)",
        "`weak.start_from`": "list of hyperparameter: number",
        "`weak.budget.max_epochs`": "count",
        "`weak.handover`": "`goal`, `best` or `{epochs: ...}`",
        "`weak.judge.later_snapshot`": "true or false",
        "`target.methods`": "list of [methods](#methods)",
        "`target.options`": "method: `{option: value}`",
        "`target.start_from`": "method: list of hyperparameter: number",
        "`tradeoff.weak_accuracy`": "list of accuracies",
        "`tradeoff.refine`": "accuracy or `null`",
        "`tradeoff.doses`": "list of shares",
        "`ablate.vary`": "name: `{path: value}`",
        "`resources.cpus_per_trial`": "number above 0",
        "`resources.gpus_per_trial`": "share, whole number from 0 on or `auto`",
        "`val_accuracy`": "accuracy, `above_chance` or `none`",
        "`modular_pair` | `p1`": "2 to 512",
        "`redundant_parity` | `rho`": "0.5 up to below 1",
        "`xor_clusters` | `eps`": "above 0, at most 1",
        "`xor_clusters` | `p`": "2 to 1,000,000",
        "`modular_*`, `permutations`, `table` | `train_fraction`": "share",
        "`*` | `seed`": "whole number from 0 on",
        "`fourier` | `frequencies`": "list of whole numbers",
        "`growth` | `chain[].config`": "hyperparameter: number",
        "`transfer` | `edit`": "[edit](#edits)",
    }.items(),
)
def test_a_type_is_told_in_words(row: str, kind: str) -> None:
    assert f"\n| {row} | {kind} |" in PAGE


def test_no_cell_ends_in_what_the_site_would_take_for_attributes() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert not [row for row in rows if re.search(r"[{}]", re.sub(r"`[^`]*`", "", row))]


def test_the_number_of_looks_is_told() -> None:
    assert f"in any of {LOOKS} evaluations" in attributes(GoalSpec)["val_accuracy"]


def test_a_key_that_is_not_described_is_refused(reference: ModuleType) -> None:
    with pytest.raises(ValueError, match=re.escape("`weak.mood` is not described")):
        reference._row(("weak.mood", {"type": "integer", "default": 3}, False))


def test_prose_between_two_tables_is_never_taken_for_one(reference: ModuleType) -> None:
    without_end = PAGE.replace("<!-- end -->", "", 1)
    with pytest.raises(ValueError, match="has no `<!-- end -->`"):
        reference.page(without_end)


def test_every_table_that_is_made_is_asked_for_by_words_that_there_are(reference: ModuleType) -> None:
    with pytest.raises(ValueError, match="there is no table `key`"):
        reference.page("<!-- made: key -->\n<!-- end -->")
    assert reference.page("<!-- made: names loss -->\n<!-- end -->").splitlines()[2] == "| name | what |"
