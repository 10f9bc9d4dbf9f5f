"""Embeddings of a run that goes on, whose file is gone or was changed, are made again.

A member is the same bits again on the machine it was trained on, so the file must come out with the sha256 that the log
has of it. Nothing of the log changes. Entry: `mend`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from gtsearch import embedding
from gtsearch.errors import BrokenOff, EmbeddingError
from gtsearch.search.ablation import Ablation
from gtsearch.trainables import trainable_for

Row = Mapping[str, Any]


def mend(
    folder: Path,
    policy: Ablation,
    rows: Iterable[Row],
    device: str,
    threads: int,
    note: Callable[[str], None],
    is_over: Callable[[], bool],
) -> None:
    """Trains, in this process, the members once more whose embeddings are not what they were. Those that count for
    nothing are left alone.

    Args:
        policy: that was told the rows.
        note: is told a line each.
        is_over: whether somebody wants this to end.

    Raises:
        BrokenOff: one does not come out as it was, as on another processor or with another version of torch.
    """
    for row in rows:
        damaged = [kept for kept in row.get("embeddings") or () if not _is_whole(folder, kept)]
        job = policy.job_of(row["run_id"]) if damaged else None
        if job is None or is_over():
            continue
        note(f"the embedding of {row['architecture']} ({row['run_id']}) is gone or was changed; it is made again")
        trainable = trainable_for(job.to_json())
        trainable.setup(job.to_json(), folder, device, threads)
        try:
            while not (report := trainable.step())["done"] and not is_over():
                pass
        finally:
            torch.set_flush_denormal(False)  # that is for workers
        if "broken" in report:
            raise BrokenOff(report["broken"])
        for kept in damaged:
            if not (_is_whole(folder, kept) or is_over()):
                raise BrokenOff(
                    f"the embedding {folder / kept['path']} was gone or changed, and trained again here it is another: "
                    f"its sha256 is not {kept['sha256'][:12]}...; restore it, or go on where the run began"
                )


def _is_whole(folder: Path, kept: Mapping[str, Any]) -> bool:
    try:
        embedding.content(embedding.within(folder, kept["path"]), kept["sha256"])
    except EmbeddingError:
        return False
    return True
