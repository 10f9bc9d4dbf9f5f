"""One thread for every test: curves are bit-equal for one thread count only, and the cores are shared."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# For the processes that tests start.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

# Times of a shared machine say nothing, and a failure must come back on the next run.
settings.register_profile("gtsearch", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("gtsearch")


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """A trainable that runs in this process flushes them to zero, for all that comes after it."""
    yield
    torch.set_flush_denormal(False)
