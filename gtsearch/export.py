"""What `gtsearch export` hands out: the certified embedding of a run, and a script that uses it as it stands."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtsearch import embedding as artefact
from gtsearch.errors import ResultsError
from gtsearch.identity import file_name

if TYPE_CHECKING:
    from gtsearch.results import Results

TOKENS = """\
model = torch.nn.Sequential(torch.nn.Embedding({n}, 128), torch.nn.Flatten(), torch.nn.Linear(2 * 128, {n}))
x, y = torch.randint({n}, (32, 2)), torch.randint({n}, (32,))"""
VECTORS = """\
model = torch.nn.Sequential(torch.nn.Linear({n}, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2))
x, y = torch.randn(32, {n}), torch.randint(2, (32,))"""
SCRIPT = """\
# One step of training with the embedding beside this file. Put your own model and data in place of these.{tuned}
import torch

import gtsearch

{model}
gtsearch.transfer(model, __file__.removesuffix(".py") + {suffix}{scale})
optimizer = torch.optim.AdamW(model.parameters(){options})  # made after the transfer
loss = torch.nn.functional.cross_entropy(model(x), y)
loss.backward()
optimizer.step()
print(f"one step, at a loss of {{loss.item():.3f}}")
"""


@dataclass(frozen=True)
class Exported:
    """What was written, and whose embedding it is.

    Attributes:
        file: the embedding, a safetensors file.
        script: one step of training with it.
        shape: of E_W: tokens (or coordinates) x width.
        architecture: of the weak model.
        verdict: `pays`, or `clears` where none pays.
        val_accuracy: the weak model's when the embedding was taken, in [0, 1].
        epoch: when that was.
    """

    file: Path
    script: Path
    shape: tuple[int, int]
    architecture: str
    verdict: str
    val_accuracy: float
    epoch: int

    @property
    def lines(self) -> list[str]:
        """The same for a person."""
        return [
            f"{self.file}: E_W {list(self.shape)} of {self.architecture}, which {self.verdict}; "
            f"validation accuracy {self.val_accuracy:.2f} after {self.epoch} epochs",
            f"{self.script}: one step of training with it; run it as it stands, then put your own model in",
        ]


def export(results: Results, out: Path | None = None) -> Exported:
    """Copies the certified embedding of a run to `out` and writes a script that uses it beside it.

    It is that of the weak model that pays, else of the smallest that clears.

    Args:
        out: a file that is not there yet; default: `<name>-<architecture>.safetensors` in the current folder. The
            script is called the same, with the suffix `.py`; it must not be there either.

    Raises:
        ResultsError: nothing clears in the run, its embedding is not there, a file exists or cannot be written, or the
            script would hide a Python module from scripts beside it.
        EmbeddingError: the embedding's file is damaged.
    """
    weak = results.summary["weak"]
    winner, verdict = (weak["pays"], "pays") if weak["pays"] else (weak["clears"], "clears")
    if winner is None:
        raise ResultsError(f"nothing clears in {results.folder}: it has no embedding to export")
    source = _certified(results.folder, winner.get("handed_run_id") or winner["run_id"])
    E_W, _, header = artefact.read(source)
    out = out or Path(f"{file_name(results.summary['name'], winner['architecture'])}.safetensors")
    script = _beside(out)
    config = results.summary["methods"].get("transfer", {}).get("config", {})
    _write(out, source.read_bytes())
    try:
        _write(script, _script(out, len(E_W), header, config).encode())
    except ResultsError:
        out.unlink()
        raise
    rows, width = E_W.shape
    architecture, val_accuracy, epoch = winner["architecture"], header["val_accuracy"], header["epoch"]
    return Exported(out, script, (rows, width), architecture, verdict, val_accuracy, epoch)


def _certified(folder: Path, run_id: str) -> Path:
    # The name is looked for, and never made into a path: it stands in a file that somebody may have sent.
    inside = folder.glob("embeddings/*.safetensors")
    found = sorted(path for path in inside if re.fullmatch(rf"{re.escape(str(run_id))}-e.*\.safetensors", path.name))
    if len(found) != 1:
        what = "is gone" if not found else f"is one of {len(found)} files"
        raise ResultsError(f"the certified embedding {folder}/embeddings/{run_id}-e*.safetensors {what}")
    return found[0]


def _beside(out: Path) -> Path:
    """Where the script stands."""
    if out.suffix == ".py" or not out.name:
        raise ResultsError(f"{out} is to hold the embedding, and the script stands beside it; give --out *.safetensors")
    script = out.with_suffix(".py")
    # Python looks beside a script first, also for what torch imports.
    if script.stem.isidentifier() and importlib.util.find_spec(script.stem) is not None:
        raise ResultsError(f"{script} would hide the Python module `{script.stem}`; choose another --out")
    return script


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise ResultsError(f"{path} exists; choose another --out") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()  # what was written before the disk was full
        raise ResultsError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def _script(out: Path, d_vocab: int, header: Mapping[str, Any], config: Mapping[str, float]) -> str:
    # Names that somebody may have written come into code: those of hyperparameters are plain words.
    tuned = {name: f"{value:.4g}" for name, value in config.items() if name.isidentifier()}
    scale = tuned.pop("embedding_scale", None)
    told = ", ".join(f"{name} {value}" for name, value in tuned.items())
    return SCRIPT.format(
        tuned=f"\n# The run's own target was tuned to {told}." if told else "",
        model=(VECTORS if header.get("vectors") else TOKENS).format(n=d_vocab),
        suffix=json.dumps(out.suffix),
        scale=f", scale={scale}" if scale else "",
        options="".join(f", {name}={tuned[name]}" for name in ("lr", "weight_decay") if name in tuned),
    )
