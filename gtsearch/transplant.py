"""From a run into anybody's model: `export` copies the certified embedding, `transfer` puts one in place.

For people who have their own model and training loop; gtsearch's own target stage uses `gtsearch.methods`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtsearch import embedding as artefact
from gtsearch.errors import EmbeddingError, GtsearchError, ResultsError
from gtsearch.identity import file_name
from gtsearch.models.base import Embedding, FactorisedEmbedding

if TYPE_CHECKING:
    from gtsearch.results import Results

Model = TypeVar("Model", bound=nn.Module)
Kind = nn.Embedding | Embedding | FactorisedEmbedding


class FactorisedLookup(FactorisedEmbedding):
    """Stands where an `nn.Embedding` stood: token numbers in, rows of A B out.

    Args:
        A: [d_vocab, d_W], copied; the row of the padding token is set to 0, as `nn.Embedding` starts it.
        replaced: whose width, padding token and way of adding up gradients are kept.
    """

    def __init__(self, A: Tensor, replaced: nn.Embedding | FactorisedLookup) -> None:
        super().__init__(A, replaced.embedding_dim)
        self.embedding_dim: int = replaced.embedding_dim
        self.padding_idx: int | None = replaced.padding_idx
        self.scale_grad_by_freq: bool = replaced.scale_grad_by_freq
        self.sparse: bool = replaced.sparse
        if self.padding_idx is not None:
            with torch.no_grad():
                self.A[self.padding_idx] = 0

    @property
    def weight(self) -> Tensor:
        """A B [d_vocab, d_embed], for code that reads the table itself. Gradients flow through it."""
        return self.matrix()

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [...] integers -> [..., d_embed]."""
        rows = F.embedding(
            tokens, self.A, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq, sparse=self.sparse
        )
        return rows @ self.B


LOOKUPS = (nn.Embedding, FactorisedLookup)


def transfer(
    model: Model,
    embedding: Any,
    *,
    name: str | None = None,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> Model:
    """Changes `model` in place so that its embedding is A B (Xu et al. 2025, section 2), and returns it.

    A is `scale` times the weak embedding; B is drawn as PyTorch draws a linear layer, U(+-1/sqrt(d_W)). Both are
    trained. Whatever the model's embedding held before is gone. Make the optimizer afterwards: the parameters are new.

    Args:
        model: holds one `nn.Embedding`, or an embedding of gtsearch, with d_vocab rows, at any depth.
        embedding: E_W [d_vocab, d_W]: a tensor, an array, or the path of a file that gtsearch wrote.
        name: which embedding, as in `model.named_modules()`; needed where there are several.
        scale: what A is multiplied by (the search's `embedding_scale`).
        generator: for B; PyTorch's own unless given.

    Raises:
        EmbeddingError: the file is not gtsearch's or damaged; E_W is no finite matrix; it has another vocabulary.
        GtsearchError: the model has no embedding, or several and no `name`; the embedding cannot be factorised.
    """
    E_W = _matrix(embedding)
    name, replaced = _find(model, name)
    _refuse_what_would_change(model, name, replaced)
    table = replaced.weight if isinstance(replaced, LOOKUPS) else replaced.matrix()
    if len(E_W) != len(table):
        raise EmbeddingError(
            f"the weak embedding has {len(E_W)} rows and the model's `{name}` has {len(table)}: "
            "both must stand for the same vocabulary, token by token"
        )
    A = E_W.to(table) * scale
    factorised = (
        FactorisedLookup(A, replaced)
        if isinstance(replaced, LOOKUPS)
        else FactorisedEmbedding(A, replaced.matrix().shape[1])
    )
    factorised.initialise(generator or torch.default_generator, 1.0)
    factorised.train(replaced.training)
    for place, module in list(model.named_modules(remove_duplicate=False)):
        if module is replaced:
            parent, _, attribute = place.rpartition(".")
            setattr(model.get_submodule(parent), attribute, factorised)
    return model


def _matrix(embedding: Any) -> Tensor:
    """E_W [d_vocab, d_W] from a tensor, an array or a file."""
    if isinstance(embedding, (str, Path)):
        return artefact.read(Path(embedding))[0]
    try:
        E_W = torch.as_tensor(embedding).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise EmbeddingError(
            f"an embedding is a matrix of numbers, not a {type(embedding).__name__} ({error})"
        ) from None
    if E_W.dim() != 2 or 0 in E_W.shape:
        raise EmbeddingError(f"an embedding is a matrix [d_vocab, d_W], not of shape {list(E_W.shape)}")
    if not bool(torch.isfinite(E_W).all()):
        raise EmbeddingError("the embedding holds numbers that are not finite; its training diverged")
    return E_W


def _find(model: nn.Module, name: str | None) -> tuple[str, Kind]:
    """The embedding called `name`, or the only one."""
    found = {place: module for place, module in model.named_modules() if isinstance(module, Kind)}
    names = ", ".join(found)
    if "" in found:
        raise GtsearchError("the model is itself an embedding and cannot be changed in place; give the model around it")
    if name is not None:
        if name not in found:
            raise GtsearchError(f"the model has no embedding `{name}`; it has: {names or 'none'}")
        return name, found[name]
    if len(found) != 1:
        mend = f"say which with name=..., one of: {names}" if found else "it needs an nn.Embedding"
        raise GtsearchError(f"the model has {len(found) or 'no'} embedding{'s' if found else ''}; {mend}")
    return next(iter(found.items()))


def _refuse_what_would_change(model: nn.Module, name: str, replaced: nn.Module) -> None:
    """Refuses embeddings that mean more than a table of rows to their model."""
    if isinstance(replaced, nn.Embedding) and replaced.max_norm is not None:
        raise GtsearchError(f"`{name}` renormalises its rows (max_norm), which a product A B cannot; build it without")
    own = {id(parameter) for parameter in replaced.parameters()}
    for place, module in model.named_modules():
        if module is not replaced and own & {id(parameter) for parameter in module.parameters(recurse=False)}:
            raise GtsearchError(f"`{name}` shares its table with `{place}`; give `{place}` a table of its own first")


def export(results: Results, out: Path | None = None) -> list[str]:
    """Copies the certified embedding of a run to `out`, and says in lines what it is and how to use it.

    It is that of the weak model that pays, else of the smallest that clears.

    Args:
        out: a file that is not there yet; default: `<name>-<architecture>.safetensors` in the current folder.

    Raises:
        ResultsError: nothing clears in the run, its embedding is not there, or `out` exists or cannot be written.
        EmbeddingError: the embedding's file is damaged.
    """
    weak = results.summary["weak"]
    winner, verdict = (weak["pays"], "pays") if weak["pays"] else (weak["clears"], "clears")
    if winner is None:
        raise ResultsError(f"nothing clears in {results.folder}: it has no embedding to export")
    source = _certified(results.folder, winner.get("handed_run_id") or winner["run_id"])
    E_W, _, header = artefact.read(source)
    out = out or Path(f"{file_name(results.summary['name'], winner['architecture'])}.safetensors")
    try:
        with out.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise ResultsError(f"{out} exists; choose another --out") from None
    except OSError as error:
        raise ResultsError(f"cannot write {out}: {error.strerror}; choose another --out") from None
    return [
        f"{out}: E_W {list(E_W.shape)} of {winner['architecture']}, which {verdict}; "
        f"validation accuracy {header['val_accuracy']:.2f} after {header['epoch']} epochs",
        "",
        *_usage(out, results.summary["methods"].get("transfer", {}).get("config", {})),
    ]


def _certified(folder: Path, run_id: str) -> Path:
    # The name is looked for, and never made into a path: it stands in a file that somebody may have sent.
    inside = folder.glob("embeddings/*.safetensors")
    found = sorted(path for path in inside if re.fullmatch(rf"{re.escape(str(run_id))}-e.*\.safetensors", path.name))
    if len(found) != 1:
        what = "is gone" if not found else f"is one of {len(found)} files"
        raise ResultsError(f"the certified embedding {folder}/embeddings/{run_id}-e*.safetensors {what}")
    return found[0]


def _usage(path: Path, config: Mapping[str, float]) -> list[str]:
    scale = f", scale={config['embedding_scale']:.4g}" if "embedding_scale" in config else ""
    lines = ["import gtsearch", f'model = gtsearch.transfer(model, "{path}"{scale})  # make the optimizer after this']
    tuned = ", ".join(f"{name} {value:.4g}" for name, value in config.items() if name != "embedding_scale")
    return lines + ([f"# the target was tuned to {tuned}"] if tuned else [])
