"""What every task, model and method keeps, as classes of tests: those of gtsearch's own menu, and yours. Needs pytest.

    from gtsearch.contracts import TaskContract

    class TestMine(TaskContract):
        asked = {"name": "mydata:make_task", "modulus": 13}

`asked` is what stands in an experiment; small sizes make quick tests. `pytest` in that folder does the rest.
"""

import pytest

# Before they are imported: a failure then shows the values that were compared.
pytest.register_assert_rewrite(*(f"gtsearch.contracts.{room}" for room in ("tasks", "models", "methods")))

from gtsearch.contracts.methods import MethodContract  # noqa: E402
from gtsearch.contracts.models import ModelContract  # noqa: E402
from gtsearch.contracts.tasks import TaskContract  # noqa: E402

__all__ = ["MethodContract", "ModelContract", "TaskContract"]
