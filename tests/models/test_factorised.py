"""The factorised embedding A B of the target (tests/test_embedding.py has the file that carries A)."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode
from training_kit import SIZES, TASK, build, generator

from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import FactorisedEmbedding


def test_the_matrix_is_the_product() -> None:
    A = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -1.0]])
    embedding = FactorisedEmbedding(A, 3)
    with torch.no_grad():
        embedding.B.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]))
    assert embedding.matrix().tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 2.0], [0.0, -1.0, 1.0]]


def test_both_kinds_read_tokens_and_vectors_as_the_matrix_would() -> None:
    factorised = FactorisedEmbedding(torch.randn(7, 2, generator=generator(0), dtype=torch.float64), 4)
    factorised.initialise(generator(1), 1.0)
    tokens, vectors = torch.tensor([[0, 6], [3, 3]]), torch.randn(5, 7, generator=generator(2), dtype=torch.float64)
    for embedding in (factorised, factorised.merge()):
        E = embedding.matrix()
        assert torch.equal(embedding.read(tokens), E[tokens])
        torch.testing.assert_close(embedding.read(vectors), vectors @ E, rtol=1e-12, atol=1e-12)


def test_vectors_are_read_without_making_the_product() -> None:
    """d_vocab x d_embed numbers would be 80,000 x 2048 for the XOR clusters."""
    factorised = FactorisedEmbedding(torch.ones(1000, 2), 500).to("meta")
    with FlopCounterMode(display=False) as counter:
        factorised.read(torch.empty(3, 1000, device="meta"))
    assert counter.get_total_flops() == 2 * 3 * 1000 * 2 + 2 * 3 * 2 * 500


def test_both_factors_are_trained_and_the_given_one_is_copied() -> None:
    A = torch.ones(3, 2)
    embedding = FactorisedEmbedding(A, 4)
    embedding.initialise(generator(0), 1.0)
    embedding.matrix().square().sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in (embedding.A, embedding.B))
    with torch.no_grad():
        embedding.A.zero_()
    assert A.sum() == 6


def test_initialisation_keeps_A_and_draws_B_as_a_linear_layer() -> None:
    A = torch.randn(50, 4, generator=generator(1))
    embedding = FactorisedEmbedding(A, 512)
    embedding.initialise(generator(0), 0.5)
    assert torch.equal(embedding.A, A)
    assert 0.24 < embedding.B.abs().max() <= 0.25  # 0.5 / sqrt(4)


def test_merging_leaves_the_logits_alone() -> None:
    A = torch.randn(TASK.d_vocab, 3, generator=generator(1))
    module = build(0, sizes=SIZES, method=Transfer(name="transfer"), embedding=A)
    assert isinstance(module.embedding, FactorisedEmbedding)
    x = TASK.examples().x
    before = module(x)
    module.embedding = module.embedding.merge()
    assert next(name for name, _ in module.named_parameters()) == "embedding.E"
    assert torch.equal(module(x), before)
