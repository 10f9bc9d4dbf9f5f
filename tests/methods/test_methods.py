"""One contract for every method of the menu, then what each promises of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from training_kit import SIZES, SPLITS, TASK, build, generator, member, plan, train, without_seconds

from gtsearch import catalog
from gtsearch.methods.base import FactorisedStart, Method
from gtsearch.models.base import Embedding, FactorisedEmbedding

E_W = torch.randn(TASK.d_vocab, 3, generator=generator(7)) * torch.tensor([3.0, 1.0, 0.2])
START = {"embedding": E_W, "hyperparameters": {"embedding_scale": 2.0}}


def method(name: str) -> Method:
    return catalog.load("method", name)()


def factor(name: str, seed: int = 0, embedding: Tensor = E_W, **hyperparameters: float) -> Tensor:
    """A, as the method starts with it."""
    module = SIZES.module(TASK)
    method(name).start(module, embedding, hyperparameters, generator(seed))
    assert isinstance(module.embedding, FactorisedEmbedding)
    return module.embedding.A.detach()


@pytest.mark.parametrize("name", catalog.METHODS)
class TestContract:
    def test_starts_trains_and_comes_back_bit_for_bit(self, name: str) -> None:
        def run() -> tuple[list[dict[str, object]], list[Tensor]]:
            one = member(0, method=method(name), start=START, max_epochs=3)
            outcome = train([one], plan(evaluate_every=1))["run-0"]
            return without_seconds(outcome), [p.detach().clone() for p in one.module.parameters()]

        curve, parameters = run()
        again, parameters_again = run()
        assert [row["epoch"] for row in curve] == [0, 1, 2, 3]
        assert curve == again
        assert all(torch.equal(a, b) for a, b in zip(parameters, parameters_again, strict=True))
        assert curve[3]["train_loss"] < curve[0]["train_loss"]

    def test_gives_logits_of_the_models_own_shape(self, name: str) -> None:
        module = build(0, method=method(name), **START)
        assert module(SPLITS.train.x).shape == (len(SPLITS.train), TASK.n_classes)
        assert module.embedding.matrix().shape == (TASK.d_vocab, SIZES.d_embed)

    def test_trains_in_the_dtype_and_on_the_device_of_the_model(self, name: str) -> None:
        module = SIZES.module(TASK).double()
        method(name).start(module, E_W, START["hyperparameters"], generator(0))
        assert {p.dtype for p in module.parameters()} == {torch.float64}

    def test_leaves_the_embedding_it_was_given_alone(self, name: str) -> None:
        before = E_W.clone()
        train([member(0, method=method(name), start=START, max_epochs=3)], plan())
        assert torch.equal(E_W, before)

    def test_is_the_same_in_a_stack(self, name: str) -> None:
        def final_losses(stack_size: int) -> list[float]:
            members = [
                member(s, method=method(name), start=START, max_epochs=3, double=True, lr=0.01 * (s + 1))
                for s in range(3)
            ]
            outcomes = train(members, plan(evaluate_every=1, stack_size=stack_size))
            return [outcomes[f"run-{s}"].curve[-1]["train_loss"] for s in range(3)]

        assert final_losses(3) == pytest.approx(final_losses(1), rel=1e-9)

    def test_searches_the_scale_of_A_where_there_is_an_A(self, name: str) -> None:
        one = method(name)
        assert one.needs_embedding == isinstance(one, FactorisedStart)
        assert ("embedding_scale" in one.searches) == one.needs_embedding


def test_scratch_leaves_the_model_as_its_family_builds_it() -> None:
    assert isinstance(build(0, method=method("scratch")).embedding, Embedding)


def test_transfer_starts_from_the_weak_embedding() -> None:
    assert torch.equal(factor("transfer"), E_W)


@pytest.mark.parametrize("name", ["transfer", "transfer_shuffled", "lowrank_random"])
def test_embedding_scale_multiplies_A(name: str) -> None:
    torch.testing.assert_close(factor(name, embedding_scale=2.5), 2.5 * factor(name))


def test_shuffled_permutes_the_rows() -> None:
    A = factor("transfer_shuffled")
    assert sorted(A.tolist()) == sorted(E_W.tolist())
    assert not torch.equal(A, E_W)
    assert torch.equal(A, factor("transfer_shuffled"))
    assert not torch.equal(A, factor("transfer_shuffled", seed=1))


@pytest.mark.parametrize("shape", [(17, 3), (17, 17), (17, 30)])
def test_lowrank_random_has_the_spectrum_of_the_weak_embedding_and_nothing_else_of_it(shape: tuple[int, int]) -> None:
    E = torch.randn(shape, generator=generator(3))
    A = factor("lowrank_random", embedding=E)
    assert A.shape == E.shape
    torch.testing.assert_close(torch.linalg.svdvals(A), torch.linalg.svdvals(E), rtol=1e-4, atol=1e-4)
    # The cosine of the two matrices: 1 where the singular vectors are E's too.
    assert abs(float((A * E).sum() / (A.norm() * E.norm()))) < 0.5
    assert not torch.equal(A, factor("lowrank_random", seed=1, embedding=E))
