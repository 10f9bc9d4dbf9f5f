"""One contract for every method of the menu, then what the starts from a weak embedding promise of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from model_tasks import BLOBS, CORNERS
from pydantic import ValidationError
from torch import Tensor
from training_kit import GOOD, SIZES, SPLITS, TASK, build, column, generator, member, plan, train

from gtsearch import catalog
from gtsearch.contracts import MethodContract
from gtsearch.contracts.methods import Case
from gtsearch.cycles import cycle
from gtsearch.methods.base import Given, Method
from gtsearch.methods.directions import Directions
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Embedding, FactorisedEmbedding, Sizes
from gtsearch.models.mlp import MlpSizes
from gtsearch.problems import explain
from gtsearch.tasks.base import Task
from gtsearch.tasks.modular import ModularAddition, ModularMultiplication

E_W = torch.randn(TASK.d_vocab, 3, generator=generator(7)) * torch.tensor([3.0, 1.0, 0.2])
START = {"embedding": E_W, "hyperparameters": {"embedding_scale": 2.0}}
WEAK = MlpSizes(name="mlp", d_embed=3, width=16)
NARROW = MlpSizes(name="mlp", d_embed=8)  # for vectors
WIDE = ModularAddition(name="modular_addition", p=37)  # has the seven frequencies


def of_case(name: str, task: Task = TASK, sizes: Sizes = SIZES, options: dict[str, Any] | None = None) -> Case:
    """A method with a task and a target it fits."""
    return Case(name, task, sizes, options or {})


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stranger's embedding for TASK."""
    path = tmp_path_factory.mktemp("tables") / "table.npy"
    np.save(path, torch.randn(TASK.d_vocab, 5, generator=generator(1)).numpy())
    return str(path)


SPECIAL = {"fourier": {"task": WIDE}}
OVER_VECTORS: dict[str, dict[str, Any]] = {
    "transfer": {},
    "scratch": {},
    "lowrank_random": {},
    "transfer_shuffled": {},
    "random": {},
    "pca": {"width": 4},
    "lda": {},
    "grokfast_ema": {},
    "grokfast_ma": {},
    "sphere": {},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("transfer", {"merge_at": 2}),
    ("transfer", {"b_start": "signs"}),
    ("lowrank_random", {"spectrum": "default"}),
    ("transfer", {"freeze_a": True, "layers": ["layers.1.weight"]}),
    ("transfer", {"edit": {"name": "rescale", "norm": 5}}),
    ("transfer", {"edit": {"name": "truncate", "rank": 2}}),
    ("transfer", {"edit": {"name": "denoise", "frequencies": 2}}),
    ("grokfast_ma", {"window": 2}),
    ("grokfast_ma", {"window": 3, "warmup": False}),
    ("sphere", {"norm": "each"}),
    ("onehot", {"trained": True}),
]
NAMES = [*catalog.METHODS]
CASES = [
    *(of_case(name, **SPECIAL.get(name, {})) for name in NAMES),
    *(of_case(name, BLOBS, NARROW, options) for name, options in OVER_VECTORS.items()),
    *(of_case(name, options=options) for name, options in VARIANTS),
]


class TestContract(MethodContract):
    """Of the whole menu."""

    @pytest.fixture(
        params=CASES, ids=lambda case: " ".join([case.name, case.task.name, *map(str, case.options.items())])
    )
    def case(self, request: pytest.FixtureRequest, table: str) -> Case:
        found: Case = request.param
        return Case(found.name, found.task, found.sizes, {"path": table}) if found.name == "file" else found

    def test_searches_what_it_reads(self, case: Case) -> None:
        one = case.method
        has_A = isinstance(case.member(0).module.embedding, FactorisedEmbedding)
        assert ("embedding_scale" in one.searches) == has_A == (one.needs_embedding or isinstance(one, Directions))
        assert ("grokfast_lambda" in one.searches) == case.name.startswith("grokfast")


def method(name: str, **options: Any) -> Method:
    return catalog.load("method", name)(name=name, **options)


def factor(name: str, seed: int = 0, embedding: Tensor = E_W, **hyperparameters: float) -> Tensor:
    """A, as the method starts with it."""
    module = SIZES.module(TASK)
    method(name).start(module, Given(TASK, SPLITS.train, "", hyperparameters, generator(seed), embedding))
    assert isinstance(module.embedding, FactorisedEmbedding)
    return module.embedding.A.detach()


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


def test_lowrank_random_of_the_default_spectrum_is_a_table_as_pytorch_draws_it() -> None:
    """Fig. 15a: scale and spectrum are N(0, 1)'s, whatever those of the weak embedding."""
    E = 50.0 * torch.randn(400, 3, generator=generator(3)) * torch.tensor([1.0, 0.1, 0.01])
    one = method("lowrank_random", spectrum="default")
    found = []
    for seed in (0, 0, 1):
        module = SIZES.module(TASK)
        one.start(module, Given(TASK, SPLITS.train, "", {}, generator(seed), E))
        assert isinstance(module.embedding, FactorisedEmbedding)
        found.append(module.embedding.A.detach())
    A = found[0]
    assert A.shape == E.shape and torch.equal(A, found[1]) and not torch.equal(A, found[2])
    assert A.std(dim=0).tolist() == pytest.approx([1.0] * 3, abs=0.15)
    assert A.mean(dim=0).tolist() == pytest.approx([0.0] * 3, abs=0.2)


# ---- what is done to A before it is handed over ----


def edited(edit: dict[str, Any], A: Tensor, task: Task = TASK) -> Tensor:
    """A as `transfer` starts with it after an edit."""
    module = SIZES.module(task)
    before = A.clone()
    part = task.splits(0).train
    method("transfer", edit=edit).start(module, Given(task, part, "", {"embedding_scale": 3.0}, generator(0), A))
    assert isinstance(module.embedding, FactorisedEmbedding) and torch.equal(A, before)
    return module.embedding.A.detach() / 3.0


def test_rescale_keeps_all_but_the_norm() -> None:
    A = edited({"name": "rescale", "norm": 5}, E_W)
    assert float(A.norm()) == pytest.approx(5.0, rel=1e-5)
    torch.testing.assert_close(A / A.norm(), E_W / E_W.norm())
    assert torch.equal(edited({"name": "rescale", "norm": 5}, torch.zeros(17, 3)), torch.zeros(17, 3))


def test_truncate_keeps_the_leading_directions() -> None:
    A, expected = edited({"name": "truncate", "rank": 2}, E_W), torch.linalg.svdvals(E_W)
    torch.testing.assert_close(torch.linalg.svdvals(A)[:2], expected[:2])
    assert float(torch.linalg.svdvals(A)[2]) < 1e-5
    # No matrix of that rank is nearer (Eckart and Young 1936).
    assert float((A - E_W).norm()) == pytest.approx(float(expected[2]), rel=1e-4)


PRODUCTS = ModularMultiplication(name="modular_multiplication", p=17, train_fraction=0.7)


@pytest.mark.parametrize("task", [TASK, PRODUCTS])
def test_denoise_keeps_the_strongest_waves_and_the_mean(task: Task) -> None:
    order = cycle(task)
    assert order is not None
    n = len(order)
    turn = 2 * torch.pi * torch.arange(n)[:, None] / n
    loud = torch.cat([(3 * turn).cos(), (5 * turn).sin()], dim=1)
    quiet = 0.3 * torch.cat([(2 * turn).cos(), (7 * turn).cos()], dim=1)
    A = torch.full((17, 2), 9.0)
    A[order] = loud + quiet + 0.5
    two = edited({"name": "denoise", "frequencies": 2}, A, task)
    torch.testing.assert_close(two[order], loud + 0.5, rtol=1e-4, atol=1e-5)
    four = edited({"name": "denoise", "frequencies": 4}, A, task)
    torch.testing.assert_close(four, A, rtol=1e-4, atol=1e-5)
    if task is PRODUCTS:
        assert two[0].tolist() == pytest.approx([9.0, 9.0]), "0 is no power of a root, and keeps its row"


@pytest.mark.parametrize(
    ("edit", "task", "line"),
    [
        ({"name": "truncate", "rank": 3}, TASK, "no weak embedding has a rank above 3, so rank 3 leaves all"),
        ({"name": "denoise", "frequencies": 8}, TASK, "a + b mod 17 has 8 frequencies, so 8 leave all as they are"),
        ({"name": "denoise", "frequencies": 2}, CORNERS, "`denoise` needs tokens that the task goes round in a cycle"),
    ],
)
def test_an_edit_that_cannot_be_made_or_changes_nothing_is_refused(edit: dict[str, Any], task: Task, line: str) -> None:
    found = list(method("transfer", edit=edit).problems(task, SIZES, [WEAK], 100))
    assert [name for name, _ in found] == ["edit"] and found[0][1].startswith(line)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        ({"name": "rescal", "norm": 2}, "edit.name: there is no edit `rescal`; did you mean `rescale`?"),
        ({"norm": 2}, "edit: `name` is missing; add it: one of rescale, truncate, denoise"),
        ({"name": "rescale"}, "edit: `norm` is missing and has no default; add it"),
        ({"name": "rescale", "norm": -1}, "edit.norm: must be above 0, not -1"),
        ({"name": "truncate", "rnk": 1}, "edit.rnk: there is no key `rnk`; did you mean `rank`?"),
        ({"name": "truncate", "rank": 2.5}, "edit.rank: must be a whole number, not 2.5"),
        ("rescale", "edit: must be a mapping with a name, one of rescale, truncate, denoise, not the text"),
    ],
)
def test_an_edit_that_is_none_is_answered_in_a_line(edit: Any, line: str) -> None:
    with pytest.raises(ValidationError) as refused:
        method("transfer", edit=edit)
    [problem] = explain(refused.value)
    assert f"{problem.path}: {problem.text}".startswith(line)


# ---- the options of transfer ----


def parameters_after(one: Transfer, epochs: int = 4, stack_size: int = 1, **start: Any) -> Mapping[str, Tensor]:
    """Of member 1 of three, after training."""
    members = [member(s, method=one, start=START | start, max_epochs=epochs, keep=epochs) for s in range(3)]
    outcome = train(members, plan(goal=None, stack_size=stack_size, keep_layers=True))["run-1"]
    return {"E": outcome.kept[0].E, **outcome.kept[0].layers}


def test_full_rank_is_an_ordinary_transfer() -> None:
    square = torch.randn(TASK.d_vocab, SIZES.d_embed, generator=generator(2))
    one = member(0, method=Transfer(name="transfer"), start={"embedding": square}, max_epochs=400)
    assert one.module.embedding.B.shape == (SIZES.d_embed, SIZES.d_embed)
    assert torch.linalg.matrix_rank(one.module.embedding.matrix()) == SIZES.d_embed
    assert train([one], plan(goal=None))["run-0"].curve[-1]["train_accuracy"] > 0.9


@pytest.mark.parametrize("stack_size", [1, 3])
def test_a_frozen_A_stays_and_B_moves(stack_size: int) -> None:
    free, frozen = (
        parameters_after(Transfer(name="transfer", freeze_a=frozen), stack_size=stack_size) for frozen in (False, True)
    )
    A = 2.0 * E_W

    def outside(E: Tensor) -> float:
        """How much of E's columns lies outside the span of A's: none while E is A times something."""
        Q = torch.linalg.qr(A).Q
        return float((E - Q @ (Q.T @ E)).norm() / E.norm())

    assert outside(frozen["E"]) < 1e-5 < outside(free["E"])
    start = build(1, method=Transfer(name="transfer"), **START).embedding.matrix().detach()
    assert not torch.allclose(frozen["E"], start, rtol=1e-2)


def test_a_frozen_A_is_bit_equal_to_the_weak_embedding() -> None:
    one = member(0, method=Transfer(name="transfer", freeze_a=True), start={"embedding": E_W}, max_epochs=5)
    train([one], plan())
    assert torch.equal(one.module.embedding.A, E_W)


def test_B_of_signs_is_init_scale_in_size_and_random_in_sign() -> None:
    """Theorem 3.2: each neuron starts at Unif{+-v_init}^3; Fig. 9: v_init .4."""

    def B(seed: int, init_scale: float = 0.4) -> Tensor:
        one = Transfer(name="transfer", b_start="signs")
        given = {"embedding_scale": 2.0, "init_scale": init_scale}
        sizes = MlpSizes(name="mlp", d_embed=64, width=8)
        module = build(seed, sizes=sizes, method=one, embedding=E_W, hyperparameters=given, init_scale=init_scale)
        return module.get_parameter("embedding.B").detach()

    found = B(0)
    assert found.shape == (3, 64)
    torch.testing.assert_close(found.abs(), torch.full((3, 64), 0.4))
    assert all(10 < row.sum() / 0.8 + 32 < 54 for row in found), "about half of each row is negative"
    assert torch.equal(found, B(0)) and not torch.equal(found, B(1))
    torch.testing.assert_close(B(0, 0.8), 2.0 * found)


def test_B_of_signs_leaves_the_rest_as_drawn() -> None:
    start = {"embedding": E_W, "hyperparameters": {"init_scale": 0.5}}
    plain, signs = (build(0, method=Transfer(name="transfer", b_start=b), **start) for b in ("uniform", "signs"))
    assert torch.equal(plain.layers[0].weight, signs.layers[0].weight)
    assert torch.equal(plain.embedding.A, signs.embedding.A)
    assert float(plain.embedding.B.detach().abs().max()) <= 0.5 / 3**0.5
    assert not torch.equal(plain.embedding.B, signs.embedding.B)


@pytest.mark.parametrize(("merge_at", "refused"), [(99, False), (100, True), (100000, True)])
def test_a_merge_that_no_run_comes_to_is_refused(merge_at: int, refused: bool) -> None:
    found = list(method("transfer", merge_at=merge_at).problems(TASK, SIZES, [WEAK], 100))
    line = f"must be below target.budget.max_epochs, which is 100, not {merge_at}: no epoch would come after"
    assert found == ([("merge_at", f"{line}; merge earlier or train longer")] if refused else [])


def test_layers_start_as_the_weak_models_where_they_overlap() -> None:
    weak = build(5, sizes=WEAK)
    layers = {name: p.detach() for name, p in weak.named_parameters() if name.startswith("layers.")}
    one = Transfer(name="transfer", layers=("layers.0.weight", "layers.1.weight"))
    assert one.transferred_layers == ("layers.0.weight", "layers.1.weight")
    plain, carried = build(0, method=Transfer(name="transfer"), **START), build(0, method=one, layers=layers, **START)
    assert carried.layers[0].weight.shape == (32, 16) and layers["layers.0.weight"].shape == (16, 6)
    for name, value in layers.items():
        found, drawn = carried.get_parameter(name), plain.get_parameter(name)
        rows, columns = value.shape
        assert torch.equal(found[:rows, :columns], value)
        assert torch.equal(found[rows:], drawn[rows:]) and torch.equal(found[:, columns:], drawn[:, columns:])
    assert torch.equal(carried.embedding.B, plain.embedding.B)


def test_layers_of_equal_shape_are_copied_whole() -> None:
    weak = build(5)
    layers = {name: p.detach() for name, p in weak.named_parameters()}
    module = build(0, method=Transfer(name="transfer", layers=("layers.1.weight",)), layers=layers, **START)
    assert torch.equal(module.layers[1].weight, weak.layers[1].weight)


def test_scale_spares_the_other_layers() -> None:
    layers = {"layers.1.weight": torch.ones(17, 32)}
    module = build(0, method=Transfer(name="transfer", layers=("layers.1.weight",)), layers=layers, **START)
    assert torch.equal(module.layers[1].weight, torch.ones(17, 32))


@pytest.mark.parametrize(
    ("options", "weak", "key", "line"),
    [
        ({"freeze_a": True, "merge_at": 10}, WEAK, "freeze_a", r"no A left to hold .* epoch 10; take `freeze_a` or"),
        ({"layers": ["layers.7.weight"]}, WEAK, "layers", r"no parameter `layers\.7\.weight`; choose among layers\.0"),
        ({"layers": ["embedding.E"]}, WEAK, "layers", r"no parameter `embedding\.E`; choose among layers\.0\.weight"),
        (
            {"layers": ["layers.0.weight"]},
            MlpSizes(name="mlp", d_embed=3, width=64),
            "layers",
            r"of the weak mlp-d3-w64-L2 must fit into the target's of shape \[32, 16\], and it is of shape \[64, 6\]",
        ),
        (
            {"layers": ["layers.2.weight"]},
            WEAK,
            "layers",
            r"`layers\.2\.weight` of the weak mlp-d2-w4-L2 must fit .*, and it is nowhere",
        ),
    ],
)
def test_options_of_transfer_that_cannot_be(options: dict[str, Any], weak: Sizes, key: str, line: str) -> None:
    target = MlpSizes(name="mlp", d_embed=8, width=32, depth=3) if "nowhere" in line else SIZES
    found = list(
        method("transfer", **options).problems(TASK, target, [MlpSizes(name="mlp", d_embed=2, width=4), weak], 100)
    )
    assert [name for name, _ in found] == [key]
    assert re.search(line, found[0][1]), found[0][1]


# ---- filters, sphere ----

FILTERS = {"grokfast_alpha": 0.8, "grokfast_lambda": 3.0}


def by_hand(kind: str, seed: int, epochs: int, alpha: float, weight: float, window: int, warmup: bool) -> list[float]:
    """The loop anybody would write around torch's own AdamW, with the filter as its authors describe it."""
    module = build(seed).double()
    optimizer = torch.optim.AdamW(module.parameters(), lr=GOOD["lr"], weight_decay=GOOD["weight_decay"])
    slow: dict[str, Tensor] = {}
    last: dict[str, list[Tensor]] = {}
    losses = []
    for _ in range(epochs + 1):
        loss = torch.nn.functional.cross_entropy(module(SPLITS.train.x), SPLITS.train.y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for name, p in module.named_parameters():
            g = p.grad.clone()
            if kind == "ema":
                slow[name] = alpha * slow.get(name, g) + (1 - alpha) * g
                p.grad = g + weight * slow[name]
            else:
                last[name] = [*last.get(name, []), g][-window:]
                if len(last[name]) == window or not warmup:
                    p.grad = g + weight * sum(last[name]) / len(last[name])
        optimizer.step()
    return losses


@pytest.mark.parametrize("stack_size", [1, 3])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("ema", {}), ("ma", {"window": 4}), ("ma", {"window": 4, "warmup": False}), ("ma", {"window": 1})],
)
def test_grokfast_is_what_its_authors_describe(kind: str, options: dict[str, Any], stack_size: int) -> None:
    one = method(f"grokfast_{kind}", **options)
    members = [
        member(
            s,
            method=one,
            double=True,
            hyperparameters={"grokfast_alpha": 0.8 + 0.05 * s, "grokfast_lambda": 2.0 + s},
            max_epochs=12 + s,
        )
        for s in range(3)
    ]
    outcomes = train(members, plan(goal=None, evaluate_every=1, stack_size=stack_size))
    window, warmup = options.get("window", 100), options.get("warmup", True)
    for s in range(3):
        expected = by_hand(kind, s, 12 + s, 0.8 + 0.05 * s, 2.0 + s, window, warmup)
        assert column(outcomes[f"run-{s}"], "train_loss") == pytest.approx(expected, rel=1e-8)


def test_a_window_that_is_not_full_changes_nothing() -> None:
    def losses(name: str, **options: Any) -> list[float]:
        one = member(0, method=method(name, **options), hyperparameters=FILTERS, double=True, max_epochs=8)
        return column(train([one], plan(goal=None, evaluate_every=1))["run-0"], "train_loss")

    scratch, filtered = losses("scratch"), losses("grokfast_ma", window=5)
    assert filtered[:5] == scratch[:5]
    assert filtered[5] != scratch[5], "the fifth gradient is the first to be filtered"


def test_both_published_pairs_of_grokfast_can_be_searched_and_neither_is_a_default() -> None:
    assert method("grokfast_ema").searches == {"grokfast_alpha": [0.98, 0.99], "grokfast_lambda": [2.0, 5.0]}
    with pytest.raises(KeyError):
        train([member(0, method=method("grokfast_ema"))], plan())


@pytest.mark.parametrize("stack_size", [1, 3])
@pytest.mark.parametrize("norm", ["all", "each"])
def test_sphere_holds_the_length_of_each_members_own_parameters(norm: str, stack_size: int) -> None:
    def lengths(parameters: Mapping[str, Tensor]) -> list[float]:
        each = [float(p.detach().norm()) for p in parameters.values()]
        return each if norm == "each" else [float(np.linalg.norm(each))]

    members = [
        member(s, method=method("sphere", norm=norm), start={"init_scale": 0.3 + 0.3 * s}, max_epochs=3 + s, keep=3 + s)
        for s in range(3)
    ]
    starts = [{n: p.detach().clone() for n, p in one.module.named_parameters()} for one in members]
    outcomes = train(members, plan(goal=None, stack_size=stack_size, keep_layers=True))
    for s, start in enumerate(starts):
        kept = outcomes[f"run-{s}"].kept[0]
        found = {"embedding.E": kept.E, **kept.layers}
        assert lengths(found) == pytest.approx(lengths(start), rel=1e-5)
        assert all(not torch.allclose(found[name], start[name], rtol=1e-2) for name in start)
        if norm == "all":
            assert float(found["embedding.E"].norm()) != pytest.approx(float(start["embedding.E"].norm()), rel=1e-4)


def test_sphere_leaves_a_parameter_of_zeros_at_zero_when_each_is_held() -> None:
    one = member(0, method=method("sphere", norm="each"), max_epochs=3)
    with torch.no_grad():
        one.module.layers[1].weight.zero_()
    outcome = train([one], plan(goal=None))["run-0"]
    assert outcome.measures["status"] == "cleared"
    assert not one.module.layers[1].weight.any()


def test_a_task_of_one_output_is_learnt_by_transfer_too() -> None:
    """Parity-like: vectors, the sign of one output."""
    case = Case("transfer", CORNERS, NARROW)
    outcome = case.train([case.member(0, max_epochs=150)])["run-0"]
    assert outcome.curve[-1]["train_accuracy"] > 0.9
