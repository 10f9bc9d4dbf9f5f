"""An experiment small enough to be run whole, through Ray, inside a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

TINY = [
    "name=tiny",
    "task.p=17",
    "task.train_fraction=0.75",
    "weak.goal.val_accuracy=0.2",
    "weak.model.d_embed=[2, 8]",
    "weak.model.width=[8, 24]",
    "weak.budget={configs_per_architecture: 5, max_epochs: 300}",
    "weak.gate={seeds: 3, at_least: 2}",
    "target.goal.val_accuracy=0.6",
    "target.model={name: mlp, depth: 3, d_embed: 16, width: 32}",
    "target.budget={configs: 4, max_epochs: 150}",
    "report={seeds: 4, at_least: 2, weak_tries: 3}",
    "tradeoff={weak_accuracy: [0.1, 0.3], seeds: 2}",
]

# What may differ between two runs of one experiment (design: exact semantics, point 4).
CLOCKS = ["train_seconds", "eval_seconds", "seconds_to_goal", "weak_seconds", "elapsed_seconds", "host", "cohort_size"]


def tiny(*more: str) -> list[str]:
    """The command-line words that say which experiment."""
    return ["smoke", *(word for setting in (*TINY, *more) for word in ("--set", setting))]


def gtsearch(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """The command line in a process of its own, as a person starts it."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "gtsearch", *words],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_members(folder: Path, n: int, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Returns once `n` members are in the log of a running experiment."""
    log, until = folder / "members.log", time.monotonic() + seconds
    while not log.exists() or log.read_bytes().count(b"\n") < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the run does not get on"
        time.sleep(0.05)


def end(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    """Sends a signal and waits: exit code, stdout, stderr."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        os.killpg(process.pid, signal.SIGKILL) if _group_lives(process.pid) else None
    return process.returncode, out, err


def _group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def settled(trials: pd.DataFrame) -> pd.DataFrame:
    """The rows that any two runs of one experiment share, in an order of their own, without clocks."""
    rows = trials[trials["status"] != "cancelled"].drop(columns=CLOCKS)
    return rows.sort_values("run_id").reset_index(drop=True)
