"""`gtsearch.transfer` on models of other people: what it changes, what it keeps, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gtsearch
from gtsearch import embedding as artefact
from gtsearch.errors import EmbeddingError, GtsearchError
from gtsearch.models.base import FactorisedEmbedding
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.modular import ModularAddition
from gtsearch.transplant import FactorisedLookup

V, D_W, D = 11, 3, 8
TOKENS = torch.arange(V).reshape(1, V)


class Theirs(nn.Module):
    """A model as its owner may have written it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"emb": nn.Embedding(V, D, **options)})
        self.head = nn.Linear(D, V, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.body["emb"](tokens))


@pytest.fixture
def E_W() -> Tensor:
    return torch.randn(V, D_W, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_the_embedding_becomes_a_times_b_and_the_output_keeps_its_shape(E_W: Tensor) -> None:
    model = Theirs()
    before = model(TOKENS).shape
    assert gtsearch.transfer(model, E_W, scale=2.0, generator=generator()) is model
    lookup = model.body["emb"]
    assert isinstance(lookup, FactorisedLookup)
    assert torch.equal(lookup.A, 2.0 * E_W)
    assert lookup.B.shape == (D_W, D) and lookup.B.abs().max() <= D_W**-0.5
    assert model(TOKENS).shape == before
    torch.testing.assert_close(lookup(TOKENS)[0], lookup.weight)
    torch.testing.assert_close(lookup.weight, (2.0 * E_W) @ lookup.B)


def test_both_factors_are_trained_and_the_source_is_not_touched(E_W: Tensor) -> None:
    original = E_W.clone()
    model = gtsearch.transfer(Theirs(), E_W)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert set(before) == {"body.emb.A", "body.emb.B", "head.weight"}
    model(TOKENS).logsumexp(-1).sum().backward()
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
    assert torch.equal(E_W, original)


def test_the_same_generator_gives_the_same_model(E_W: Tensor) -> None:
    one, two = (gtsearch.transfer(Theirs(), E_W, generator=generator()).body["emb"] for _ in range(2))
    assert torch.equal(one.B, two.B)


def test_tensor_array_and_file_give_the_same(E_W: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "E_W.safetensors"
    artefact.write(path, E_W, {"run_id": "a"})
    for embedding in (E_W, E_W.numpy(), E_W.tolist(), E_W.double(), path, str(path)):
        assert torch.equal(gtsearch.transfer(Theirs(), embedding).body["emb"].A, E_W)


def test_dtype_mode_and_padding_of_the_model_are_kept(E_W: Tensor) -> None:
    model = Theirs(padding_idx=4).double().eval()
    lookup = gtsearch.transfer(model, E_W).body["emb"]
    assert lookup.A.dtype is torch.float64 and not lookup.training
    model(TOKENS).sum().backward()
    assert lookup(TOKENS)[0, 4].abs().sum() == 0
    assert lookup.A.grad[4].abs().sum() == 0 and lookup.A.grad[5].abs().sum() > 0


def test_a_model_of_gtsearch_gets_its_factorised_embedding(E_W: Tensor) -> None:
    task = ModularAddition(name="modular_addition", p=V)
    model = MlpSizes(name="mlp", d_embed=D, width=4, depth=2).module(task)
    gtsearch.transfer(model, E_W)
    assert type(model.embedding) is FactorisedEmbedding
    assert model(torch.zeros(5, 2, dtype=torch.int64)).shape == (5, V)


def test_it_can_be_done_again(E_W: Tensor) -> None:
    model = gtsearch.transfer(gtsearch.transfer(Theirs(), E_W), E_W[:, :2])
    assert model.body["emb"].A.shape == (V, 2) and model(TOKENS).shape == (1, V, V)


def test_a_module_used_under_two_names_is_replaced_under_both(E_W: Tensor) -> None:
    model = Theirs()
    model.also = model.body["emb"]
    gtsearch.transfer(model, E_W)
    assert model.also is model.body["emb"] and isinstance(model.also, FactorisedLookup)


def test_one_of_several_is_chosen_by_name(E_W: Tensor) -> None:
    model = Theirs()
    model.positions = nn.Embedding(5, D)
    with pytest.raises(GtsearchError, match=r"has 2 embeddings; say which with name=\.\.\., one of: body\.emb, pos"):
        gtsearch.transfer(model, E_W)
    with pytest.raises(GtsearchError, match=r"no embedding `wte`; it has: body\.emb, positions"):
        gtsearch.transfer(model, E_W, name="wte")
    gtsearch.transfer(model, E_W, name="body.emb")
    assert isinstance(model.positions, nn.Embedding)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Linear(V, D), "has no embedding; it needs an nn.Embedding"),
        (lambda: nn.Embedding(V, D), "is itself an embedding"),
        (lambda: Theirs(max_norm=1.0), "renormalises its rows"),
    ],
)
def test_models_that_are_refused(model: Any, message: str, E_W: Tensor) -> None:
    with pytest.raises(GtsearchError, match=message):
        gtsearch.transfer(model(), E_W)


def test_a_table_that_the_head_shares_is_refused(E_W: Tensor) -> None:
    model = Theirs()
    model.head.weight = model.body["emb"].weight
    with pytest.raises(GtsearchError, match=r"`body\.emb` shares its table with `head`"):
        gtsearch.transfer(model, E_W)
    assert isinstance(model.body["emb"], nn.Embedding)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (torch.zeros(V + 1, D_W), rf"has {V + 1} rows and the model's `body.emb` has {V}"),
        (torch.zeros(V), r"not of shape \[11\]"),
        (np.zeros((V, 0)), r"not of shape \[11, 0\]"),
        (torch.full((V, D_W), float("nan")), "not finite"),
        (object(), "not a object"),
        ("nowhere.safetensors", "cannot read the embedding nowhere.safetensors"),
    ],
)
def test_embeddings_that_are_refused(embedding: Any, message: str) -> None:
    model = Theirs()
    with pytest.raises(EmbeddingError, match=message):
        gtsearch.transfer(model, embedding)
    assert isinstance(model.body["emb"], nn.Embedding)
