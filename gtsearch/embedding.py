"""The artefact that joins the two searches: E_W in a safetensors file whose header says what made it.

Reading runs no code (no pickle) and never guesses: a file that was changed, or that was trained on examples a
target would be judged by, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gtsearch.errors import EmbeddingError
from gtsearch.identity import canonical
from gtsearch.tasks.base import SPLIT_FIELDS, Splits

SCHEMA = 1
_LAYER = "layer."


def write(path: Path, E_W: Tensor, header: Mapping[str, Any], layers: Mapping[str, Tensor] | None = None) -> str:
    """Writes E_W ([d_vocab, d_W], kept in its dtype) with `header`; returns the file's SHA-256 in hex.

    `layers`: the model's other parameters by name, for methods that transfer more than the embedding.

    The header is one JSON text under one key, so equal content gives an equal file. The file appears whole or
    not at all: it is written beside and renamed.
    """
    metadata = {"gtsearch": canonical({"schema": SCHEMA, **header})}
    tensors = {"E_W": E_W, **{_LAYER + name: tensor for name, tensor in (layers or {}).items()}}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def read(path: Path, sha256: str | None = None) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
    """E_W [d_vocab, d_W], the model's other parameters by name (most files hold none), and the header.

    Raises:
        EmbeddingError: the file is missing, damaged, not gtsearch's, not the one `sha256` names, or holds no table.
    """
    content(path, sha256)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["gtsearch"])
            E_W = file.get_tensor("E_W")
            layers = {n.removeprefix(_LAYER): file.get_tensor(n) for n in set(file.keys()) if n.startswith(_LAYER)}
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise EmbeddingError(f"{path} is not an embedding written by gtsearch ({error})") from None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise EmbeddingError(f"the embedding {path} is not of schema {SCHEMA}, the one this gtsearch reads")
    if E_W.dim() != 2 or 0 in E_W.shape or not E_W.is_floating_point():
        raise EmbeddingError(f"{path} must hold a table of numbers [d_vocab, d_W], not {E_W.dtype} {list(E_W.shape)}")
    if not isinstance(header.get("task") or {}, dict):
        raise EmbeddingError(f"{path} is not an embedding written by gtsearch (its task is no mapping)")
    return E_W, layers, header


def within(folder: Path, path: str) -> Path:
    """The file at `path` in the run folder. Where it stands in a log, somebody else may have written it there.

    Raises:
        EmbeddingError: it leads out of the folder.
    """
    try:
        found = (folder / path).resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links
        found = None
    if found is None or not found.is_relative_to(folder.resolve()):
        raise EmbeddingError(f"the embedding {path!r} leads out of the run folder {folder}; do not go on with this run")
    return found


def content(path: Path, sha256: str | None = None) -> bytes:
    """The bytes of a file.

    Raises:
        EmbeddingError: it is missing, no plain file, or not the one `sha256` names.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a device or a pipe may have no end
            raise EmbeddingError(f"cannot read the embedding {path}: it is not a plain file; give the path of one")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise EmbeddingError(f"cannot read the embedding {path}: {getattr(error, 'strerror', error)}") from None
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise EmbeddingError(
            f"the embedding {path} was changed: its sha256 is {found[:12]}..., not {sha256[:12]}...; restore it, or "
            "start a run anew"
        )
    return data


def refuse_leak(header: Mapping[str, Any], task: Mapping[str, Any], train_sha256: str) -> None:
    """Refuses an embedding whose training examples a target on `task` would be validated or tested by.

    Args:
        header: the embedding's.
        task: the target's task identity (`Task.identity()`).
        train_sha256: the target's training set; on the same task an embedding must come from the very same.

    Raises:
        EmbeddingError: same task (whatever share of it is trained on), another training set.
    """
    if same_examples(header.get("task") or {}, task) and header.get("train_sha256") != train_sha256:
        raise EmbeddingError(
            f"the embedding of {header.get('run_id')} was trained on another split of this task "
            f"(training set {str(header.get('train_sha256'))[:12]}..., the target's is {train_sha256[:12]}...): "
            "its training examples would meet the target's validation or test; train it on the target's split"
        )


def same_examples(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two task identities (`Task.identity()`, or one out of a header) name the same examples, however those
    are split and wherever they lie."""
    return _examples(one) == _examples(other)


def _examples(task: Mapping[str, Any]) -> str:
    """Says which examples a task has; as text, because JSON has no tuples."""
    return canonical({key: value for key, value in task.items() if key not in SPLIT_FIELDS})


def shared_answers(source: Splits, target: Splits) -> float:
    """How much a source's training examples tell of the answers a target is validated and tested by.

    Returns:
        Of the source's training inputs that are among the target's validation or test inputs, the share that have the
        same label there, in [0, 1]; 0 where no input is shared.
    """
    answers: dict[bytes, int] = {}
    for part in (target.validation, target.test):
        answers |= dict(zip(_rows(part.x), part.y.tolist(), strict=True))
    pairs = [
        (label, answers[row])
        for row, label in zip(_rows(source.train.x), source.train.y.tolist(), strict=True)
        if row in answers
    ]
    return sum(label == answer for label, answer in pairs) / len(pairs) if pairs else 0.0


def _rows(x: Tensor) -> list[bytes]:
    """One key a row of x [n, columns]."""
    return [row.tobytes() for row in x.numpy()]


def norm(E: Tensor) -> float:
    """Frobenius norm of E [d_vocab, d]."""
    return float(torch.linalg.matrix_norm(E.double()))


def effective_rank(E: Tensor) -> float:
    """exp of the entropy of the normalised singular values of E (Roy & Vetterli 2007): between 1 and min(shape)."""
    s = torch.linalg.svdvals(E.double())
    p = s / s.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.exp(-(p * p.clamp_min(1e-300).log()).sum()))
