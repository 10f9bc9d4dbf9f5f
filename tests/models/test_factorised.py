"""The factorised embedding A B of the target (tests/test_embedding.py has the file that carries A)."""

from __future__ import annotations

import torch
from training_kit import SIZES, TASK, build, generator

from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import FactorisedEmbedding


def test_the_matrix_is_the_product() -> None:
    A = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, -1.0]])
    embedding = FactorisedEmbedding(A, 3)
    with torch.no_grad():
        embedding.B.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]))
    assert embedding.matrix().tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 2.0], [0.0, -1.0, 1.0]]


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
    module = build(0, sizes=SIZES, method=Transfer(), embedding=A)
    assert isinstance(module.embedding, FactorisedEmbedding)
    x = TASK.examples().x
    before = module(x)
    module.embedding = module.embedding.merge()
    assert next(name for name, _ in module.named_parameters()) == "embedding.E"
    assert torch.equal(module(x), before)
