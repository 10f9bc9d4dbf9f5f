from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from model_tasks import BLOBS
from training_kit import build, generator

from gtsearch.models.base import initialise
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.base import Task
from gtsearch.tasks.modular import ModularAddition

TASK = ModularAddition(name="modular_addition", p=11)


def sizes(depth: int = 2, d_embed: int = 4, width: int | None = 16) -> MlpSizes:
    return MlpSizes(name="mlp", depth=depth, d_embed=d_embed, width=width)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_logits_are_those_of_the_concatenated_embeddings(depth: int) -> None:
    module = build(0, sizes=sizes(depth), task=TASK, init_scale=1.0).double()
    x = TASK.examples().x
    hidden = module.embedding.matrix()[x].flatten(start_dim=1)  # [n, 2 * d_embed]
    weights = [p for name, p in module.named_parameters() if name.startswith("layers")]
    for i, W in enumerate(weights):
        hidden = hidden @ W.T
        if i < len(weights) - 1:
            hidden = hidden.clamp_min(0)
    torch.testing.assert_close(module(x), hidden, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("depth", "shapes"),
    [
        (2, [(11, 4), (16, 8), (11, 16)]),
        (3, [(11, 4), (16, 8), (16, 16), (11, 16)]),
        (4, [(11, 4), (16, 8), (16, 16), (16, 16), (11, 16)]),
    ],
)
def test_depth_counts_the_matrices_after_the_embedding_and_none_has_a_bias(
    depth: int, shapes: list[tuple[int, int]]
) -> None:
    module = sizes(depth).module(TASK)
    assert [tuple(p.shape) for p in module.parameters()] == shapes


def test_the_papers_weak_model_has_2388_parameters() -> None:
    module = sizes().module(ModularAddition(name="modular_addition", p=113))
    assert sum(p.numel() for p in module.parameters()) == 2388


def test_the_label_names_the_sizes() -> None:
    assert sizes(3, 128, 512).label == "mlp-d128-w512-L3"
    assert sizes(2, 4, None).label == "mlp-d4-L2"


@pytest.mark.parametrize(("depth", "width"), [(2, None), (3, 8), (4, 8)])
def test_over_vectors_the_embedding_is_the_first_of_the_matrices(depth: int, width: int | None) -> None:
    module = build(0, sizes=sizes(depth, 5, width), task=BLOBS, init_scale=1.0).double()
    weights = [p if name == "embedding.E" else p.T for name, p in module.named_parameters()]
    inner = [] if width is None else [width] * (depth - 2)
    widths = [BLOBS.d_vocab, 5, *inner, BLOBS.n_outputs]
    assert [tuple(W.shape) for W in weights] == [*pairwise(widths)]
    x = BLOBS.splits(0).test.x.double()
    hidden = x
    for W in weights[:-1]:
        hidden = (hidden @ W).clamp_min(0)
    torch.testing.assert_close(module(x), hidden @ weights[-1], rtol=1e-12, atol=1e-12)
    # PyTorch's default of a linear layer, for it is one.
    assert module.embedding.matrix().abs().max() <= BLOBS.d_vocab**-0.5


@pytest.mark.parametrize(
    ("task", "depth", "width", "line"),
    [
        (TASK, 2, None, "an mlp of depth 2 over tokens needs the width of its hidden layers; give `width`"),
        (TASK, 3, None, "an mlp of depth 3 over tokens needs the width of its hidden layers; give `width`"),
        (BLOBS, 3, None, "an mlp of depth 3 over vectors needs the width of its hidden layers; give `width`"),
        (
            BLOBS,
            2,
            16,
            "an mlp of depth 2 over vectors is d_embed wide and has no other layer; take `width` out (it is 16) "
            "or give a greater depth",
        ),
    ],
)
def test_a_width_too_many_or_too_few_is_a_problem(task: Task, depth: int, width: int | None, line: str) -> None:
    assert list(sizes(depth, 4, width).problems(task)) == [("width", line)]


def test_a_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = (build(seed, sizes=sizes(3), task=TASK) for seed in (0, 0, 1))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_initialisation_is_torchs_default_times_the_scale() -> None:
    plain, scaled = (build(0, sizes=sizes(2, 64, 256), task=TASK, init_scale=s) for s in (1.0, 0.25))
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(b, 0.25 * a, rtol=1e-6, atol=0)
    E, W1, W2 = (p.detach() for p in plain.parameters())
    assert E.std() == pytest.approx(1.0, abs=0.1)
    for W in (W1, W2):
        bound = W.shape[1] ** -0.5
        assert bound * 0.99 < W.abs().max() <= bound
        assert W.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_initialisation_neither_reads_nor_moves_the_global_generator() -> None:
    torch.manual_seed(1)
    module = sizes().module(TASK)
    before = torch.get_rng_state()
    initialise(module, generator(0), 1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_of_an_unknown_kind_are_refused() -> None:
    module = sizes().module(TASK)
    module.norm = torch.nn.LayerNorm(4)
    with pytest.raises(TypeError, match="LayerNorm"):
        initialise(module, generator(0), 1.0)
