"""One synthetic run of the usual kind, made once: nothing here changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtsearch.results import Results
from tests.analysis.synthetic import Story, make


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make(tmp_path_factory.mktemp("usual") / "modadd-run", Story(levels=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
