"""One contract for every probe of the menu, then each against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from model_tasks import BLOBS, CORNERS, Corners
from torch import Tensor
from training_kit import SIZES, TASK, build, generator, member, plan, train

from gtsearch import catalog
from gtsearch.methods.base import Method
from gtsearch.methods.transfer import Transfer
from gtsearch.models.base import Embedding, FactorisedEmbedding, Model, Sizes
from gtsearch.models.mlp import MlpSizes
from gtsearch.models.transformer import TransformerSizes
from gtsearch.models.xor_net import XorNetSizes
from gtsearch.probes.base import Probe, View
from gtsearch.probes.fourier import energies
from gtsearch.tasks.base import Part, Splits, Task
from gtsearch.tasks.modular import ModularAddition

XOR = Corners(name="xor_clusters")
XOR_NET = XorNetSizes(name="xor_net", d_embed=4)
NARROW = MlpSizes(name="mlp", d_embed=8)
TRANSFORMER = TransformerSizes(name="transformer", d_embed=8, heads=2, layers=2)
TRANSFER = Transfer(name="transfer", merge_at=3)
NO_SPLITS = Splits(*[Part(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))] * 3, "")

CASES: list[tuple[str, Task, Sizes, Method | None]] = [
    *(
        (name, XOR if name == "xor_ratio" else TASK, XOR_NET if name == "xor_ratio" else SIZES, None)
        for name in catalog.PROBES
    ),
    *((name, TASK, SIZES, TRANSFER) for name in catalog.PROBES if name != "xor_ratio"),
    *((name, TASK, TRANSFORMER, None) for name in catalog.PROBES if name != "xor_ratio"),
    *((name, BLOBS, NARROW, None) for name in catalog.PROBES if name not in ("xor_ratio", "fourier")),
]


def probe(name: str, **options: Any) -> Probe:
    return catalog.load("probe", name)(name=name, **options)


def start(task: Task, sizes: Sizes, method: Method | None) -> dict[str, Any]:
    E_W = torch.randn(task.d_vocab, 3, generator=generator(5)) if method else None
    return {"task": task, "sizes": sizes, "embedding": E_W}


def measure(
    one: Probe,
    module: Model,
    task: Task = TASK,
    memory: dict[str, Any] | None = None,
    epoch: int = 0,
    frozen: tuple[str, ...] = (),
) -> dict[str, float]:
    splits = task.splits(0)
    if next(module.parameters()).dtype == torch.float64:
        splits = splits.double()
    with torch.no_grad():
        return one.measure(View(module, splits, {} if memory is None else memory, epoch, frozen))


@pytest.mark.parametrize(
    ("name", "task", "sizes", "method"),
    CASES,
    ids=[f"{n} {t.name} {s.name}{' transfer' if m else ''}" for n, t, s, m in CASES],
)
class TestContract:
    def build(self, task: Task, sizes: Sizes, method: Method | None, seed: int = 0) -> Model:
        return build(seed, method=method, **start(task, sizes, method))

    def test_fits_where_it_is_said_to(self, name: str, task: Task, sizes: Sizes, method: Method | None) -> None:
        assert list(probe(name).problems(task, sizes)) == []

    def test_gives_the_same_finite_numbers_each_time(
        self, name: str, task: Task, sizes: Sizes, method: Method | None
    ) -> None:
        """Finite from the second time on: a change has nothing to be a change from at the first."""

        def twice() -> list[dict[str, float]]:
            memory: dict[str, Any] = {}
            return [measure(probe(name), self.build(task, sizes, method, s), task, memory, epoch=s) for s in (0, 1)]

        first, second = twice()
        assert list(first) == list(second)
        assert all(type(value) is float and math.isfinite(value) for value in second.values())
        assert [value for value in first.values() if not math.isfinite(value)] == (
            [pytest.approx(math.nan, nan_ok=True)] * 2 if name == "ntk_change" else []
        )
        assert twice()[1] == second

    def test_changes_nothing(self, name: str, task: Task, sizes: Sizes, method: Method | None) -> None:
        module = self.build(task, sizes, method)
        gradients = {n: torch.full_like(p, 7.0) for n, p in module.named_parameters()}
        for n, p in module.named_parameters():
            p.grad = gradients[n].clone()
        splits = task.splits(0)
        before = {n: p.detach().clone() for n, p in module.named_parameters()}
        x, state = splits.train.x.clone(), torch.get_rng_state()
        with torch.no_grad():
            probe(name).measure(View(module, splits, {}))
        for n, p in module.named_parameters():
            assert torch.equal(p, before[n]) and p.requires_grad
            assert torch.equal(p.grad, gradients[n])
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(splits.train.x, x)
        assert torch.is_grad_enabled()

    def test_is_the_same_in_a_stack_though_members_leave_it(
        self, name: str, task: Task, sizes: Sizes, method: Method | None
    ) -> None:
        def run(stack_size: int) -> list[list[dict[str, float | int | None]]]:
            members = [
                member(
                    s,
                    method=method,
                    start=start(task, sizes, method),
                    double=True,
                    probes=[probe(name)],
                    max_epochs=4 + s,
                    lr=0.01 * (1 + s),
                )
                for s in range(3)
            ]
            loss = catalog.load("loss", task.default_loss)
            shared = plan(goal=None, evaluate_every=2, stack_size=stack_size, loss=loss)
            outcomes = train(members, shared, task.splits(0).double())
            return [outcomes[f"run-{s}"].probed for s in range(3)]

        for stacked, alone in zip(run(3), run(1), strict=True):
            assert [row["epoch"] for row in stacked] == [row["epoch"] for row in alone]
            for found, expected in zip(stacked, alone, strict=True):
                # Null where there was nothing to be a change from.
                nulls = [name for name, value in expected.items() if value is None]
                assert [name for name, value in found.items() if value is None] == nulls
                numbers = {name: value for name, value in expected.items() if value is not None}
                assert {name: found[name] for name in numbers} == pytest.approx(numbers, rel=1e-9, abs=1e-12)

    def test_is_equal_to_itself_read_back_from_a_job(
        self, name: str, task: Task, sizes: Sizes, method: Method | None
    ) -> None:
        assert catalog.load("probe", name)(**probe(name).model_dump(mode="json")) == probe(name)


def test_no_two_probes_share_a_name_for_a_number() -> None:
    found = [number for n in catalog.PROBES for number in measure(probe(n), build(0, task=XOR, sizes=XOR_NET), XOR)]
    assert len(found) == len(set(found))


# ---- values by hand ----


def table(E: Tensor) -> Model:
    """A model of which only the embedding is looked at."""
    model = Model()
    model.embedding = Embedding(*E.shape)
    model.embedding.E = torch.nn.Parameter(E.double())
    return model


def read(one: Probe, E: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return one.measure(View(table(E), NO_SPLITS, {}))


class Sum(Model):
    """outputs = (sum of the tokens' rows of E) W."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.embedding = Embedding(5, 3)
        self.embedding.initialise(generator(seed), 1.0)
        self.W = torch.nn.Parameter(torch.randn(3, 5, generator=generator(seed + 50)))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding.read(x).sum(dim=1) @ self.W


class TestNtkChange:
    TASK = ModularAddition(name="modular_addition", p=5, train_fraction=0.6)

    def kernel(self, module: Sum, x: Tensor) -> Tensor:
        """The sum of outputs is linear in each row of E (its slope: the sums of W's rows) and in each column of W."""
        bags = torch.nn.functional.one_hot(x, 5).sum(dim=1).double()
        hidden = bags @ module.embedding.E.detach()
        return float(module.W.detach().sum(dim=1).square().sum()) * bags @ bags.T + 5 * hidden @ hidden.T

    def test_is_the_difference_of_two_kernels_an_epoch(self) -> None:
        x = self.TASK.splits(0).train.x
        memory: dict[str, Any] = {}
        one, two = Sum(0), Sum(1)
        first = measure(probe("ntk_change"), one, self.TASK, memory)
        second = measure(probe("ntk_change"), two, self.TASK, memory, epoch=5)
        K1, K2 = self.kernel(one, x), self.kernel(two, x)
        assert math.isnan(first["ntk_change"]) and math.isnan(first["ntk_change_relative"])
        assert first["ntk_norm"] == pytest.approx(float(K1.norm()))
        assert second == pytest.approx(
            {
                "ntk_change": float((K2 - K1).norm() / 5),
                "ntk_change_relative": float((K2 - K1).norm() / K2.norm() / 5),
                "ntk_norm": float(K2.norm()),
            }
        )

    def test_a_model_that_stays_has_a_kernel_that_stays(self) -> None:
        memory: dict[str, Any] = {}
        found = [measure(probe("ntk_change"), Sum(0), self.TASK, memory, epoch) for epoch in (0, 10)]
        assert found[1]["ntk_change"] == 0.0

    @pytest.mark.parametrize("held", ["embedding.E", "W"])
    def test_what_is_held_does_not_move_and_is_no_part_of_it(self, held: str) -> None:
        x, module = self.TASK.splits(0).train.x, Sum(0)
        found = measure(probe("ntk_change"), module, self.TASK, frozen=(held,))["ntk_norm"]
        bags = torch.nn.functional.one_hot(x, 5).sum(dim=1).double()
        hidden = bags @ module.embedding.E.detach()
        rows = float(module.W.detach().sum(dim=1).square().sum()) * bags @ bags.T
        assert found == pytest.approx(float((rows if held == "W" else 5 * hidden @ hidden.T).norm()))

    @pytest.mark.parametrize("stack_size", [1, 2])
    def test_training_tells_it_what_is_held(self, stack_size: int) -> None:
        """Of the method and of the model: with A held, K is that of all other parameters."""
        for one, task, sizes, held in (
            (Transfer(name="transfer", freeze_a=True), TASK, SIZES, ("embedding.A",)),
            (catalog.load("method", "onehot")(name="onehot"), TASK, SIZES, ("embedding.E",)),
            (None, CORNERS, XorNetSizes(name="xor_net", d_embed=4, output="signs"), ("readout.a",)),
        ):
            members = [
                member(s, method=one, start=start(task, sizes, one), probes=[probe("ntk_change")], max_epochs=1)
                for s in range(2)
            ]
            expected = [measure(probe("ntk_change"), m.module, task, frozen=held)["ntk_norm"] for m in members]
            loss = catalog.load("loss", task.default_loss)
            outcomes = train(members, plan(goal=None, stack_size=stack_size, loss=loss), task.splits(0))
            found = [outcomes[f"run-{s}"].probed[0]["ntk_norm"] for s in range(2)]
            assert found == pytest.approx(expected, rel=1e-4)

    def test_training_tells_it_how_long_ago_it_looked(self) -> None:
        """Looked at three times as seldom, a kernel that moves has not moved three times as fast."""
        changes = []
        for every in (2, 6):
            one = member(0, double=True, probes=[probe("ntk_change")], lr=1e-6, weight_decay=0.0, max_epochs=6)
            outcome = train([one], plan(goal=None, evaluate_every=every), TASK.splits(0).double())["run-0"]
            changes.append(outcome.probed[-1]["ntk_change"])
        assert changes[1] == pytest.approx(changes[0], rel=0.2)

    def test_is_read_off_examples_spread_over_the_training_part(self) -> None:
        x = self.TASK.splits(0).train.x
        assert len(x) == 15
        found = measure(probe("ntk_change", examples=4), Sum(0), self.TASK)
        assert found["ntk_norm"] == pytest.approx(float(self.kernel(Sum(0), x[[0, 3, 7, 11]]).norm()))

    def test_agrees_with_gradients_taken_one_by_one(self) -> None:
        for task, sizes in ((TASK, SIZES), (TASK, TRANSFORMER), (BLOBS, NARROW), (CORNERS, XOR_NET)):
            module = build(0, task=task, sizes=sizes).double()
            part = task.splits(0).double().train
            chosen = [i * len(part) // 64 for i in range(64)] if len(part) > 64 else range(len(part))
            rows = [
                torch.cat(
                    [g.flatten() for g in torch.autograd.grad(module(part.x[i : i + 1]).sum(), [*module.parameters()])]
                )
                for i in chosen
            ]
            J = torch.stack(rows)
            assert measure(probe("ntk_change"), module, task)["ntk_norm"] == pytest.approx(float((J @ J.T).norm()))


def test_weight_norms() -> None:
    model = table(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    model.other = torch.nn.Parameter(torch.full((4,), 6.0, dtype=torch.float64))
    with torch.no_grad():
        found = probe("weight_norms").measure(View(model, NO_SPLITS, {}))
    assert found == {"weight_norm": 13.0, "embedding_norm": 5.0}


def test_weight_norms_of_a_factorised_embedding_are_of_its_factors_and_of_its_product() -> None:
    model = Model()
    model.embedding = FactorisedEmbedding(torch.tensor([[3.0], [4.0]]), 1)
    model.embedding.B.data = torch.tensor([[12.0]])
    with torch.no_grad():
        found = probe("weight_norms").measure(View(model, NO_SPLITS, {}))
    assert found == {"weight_norm": 13.0, "embedding_norm": 60.0}


def test_embedding_spectrum() -> None:
    found = read(probe("embedding_spectrum"), torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert found == pytest.approx({"embedding_effective_rank": expected, "embedding_top_share": 0.75})


class TestFourier:
    def waves(self, d_vocab: int, of: Mapping[int, float]) -> Tensor:
        """Columns cos and sin of each frequency, times its amplitude, on a mean row that counts for nothing."""
        turns = 2 * math.pi / d_vocab * torch.arange(d_vocab).double()
        columns = [a * wave for f, a in of.items() for wave in ((f * turns).cos(), (f * turns).sin())]
        return torch.stack(columns, dim=1) + 10.0

    def test_one_frequency_is_all_of_it(self) -> None:
        found = read(probe("fourier", top=1), self.waves(17, {5: 2.0}))
        assert found == pytest.approx({"fourier_share_top1": 1.0, "fourier_frequency": 5.0})

    def test_energy_is_the_square_of_the_amplitude(self) -> None:
        E = self.waves(17, {2: 1.0, 7: 3.0, 8: 2.0, 1: 1.0})
        found = read(probe("fourier", top=1), E)
        assert found == pytest.approx({"fourier_share_top1": 9 / 15, "fourier_frequency": 7.0})
        assert read(probe("fourier", top=2), E)["fourier_share_top2"] == pytest.approx(13 / 15)
        assert read(probe("fourier"), E)["fourier_share"] == pytest.approx(14 / 15)

    def test_two_with_different_tops_do_not_write_over_each_other(self) -> None:
        E = self.waves(17, {2: 1.0, 7: 3.0, 8: 2.0, 1: 1.0})
        both = read(probe("fourier"), E) | read(probe("fourier", top=1), E)
        assert both["fourier_share"] == pytest.approx(14 / 15)
        assert both["fourier_share_top1"] == pytest.approx(9 / 15)

    def test_half_a_turn_a_token_counts_once(self) -> None:
        """An even vocabulary: at d_vocab / 2 the sine is gone and the cosine alternates."""
        E = self.waves(8, {4: 1.0, 1: 1.0})
        assert energies(E).tolist() == pytest.approx([8 * 8.0, 0.0, 0.0, 8 * 8.0], abs=1e-9)

    @pytest.mark.parametrize("d_vocab", [8, 17])
    def test_energies_add_up_to_that_of_the_table(self, d_vocab: int) -> None:
        E = torch.randn(d_vocab, 4, generator=generator(0)).double()
        expected = d_vocab * float((E - E.mean(dim=0)).square().sum())
        assert float(energies(E).sum()) == pytest.approx(expected)

    def test_noise_has_no_strongest(self) -> None:
        E = torch.randn(113, 64, generator=generator(0))
        assert read(probe("fourier"), E)["fourier_share"] < 0.1

    def test_reads_tokens_alone_and_no_more_frequencies_than_there_are(self) -> None:
        (line,) = probe("fourier").problems(BLOBS, NARROW)
        assert line == "`fourier` reads frequencies over tokens, and three blobs has vectors; take the probe out"
        (line,) = probe("fourier", top=9).problems(TASK, SIZES)
        assert line == "a + b mod 17 has 8 frequencies, not 9; choose a smaller `top`"
        assert list(probe("fourier", top=8).problems(TASK, SIZES)) == []


class TestXorRatio:
    def test_is_noise_over_signal_a_row(self) -> None:
        # Signal rows of squared length 16 on average, three noise rows of 4.
        E = torch.tensor([[4.0, 0.0], [0.0, 4.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
        assert read(probe("xor_ratio"), E) == pytest.approx({"xor_noise_to_signal": 0.5, "xor_signal_to_noise": 2.0})

    def test_is_the_papers_formula(self) -> None:
        E = torch.randn(9, 3, generator=generator(0)).double()
        r_W = (E[2:].norm() / math.sqrt(9 - 2)) / (E[:2].norm() / math.sqrt(2))
        assert read(probe("xor_ratio"), E)["xor_noise_to_signal"] == pytest.approx(float(r_W))

    def test_no_noise_is_a_number_that_is_not_finite_and_no_crash(self) -> None:
        E = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
        found = read(probe("xor_ratio"), E)
        assert found["xor_noise_to_signal"] == 0.0 and math.isinf(found["xor_signal_to_noise"])

    def test_knows_one_task(self) -> None:
        (line,) = probe("xor_ratio").problems(TASK, SIZES)
        assert "knows the signal of xor_clusters alone, not of modular_addition" in line


class TestSeparation:
    def read(self, features: list[list[float]], y: list[int]) -> float:
        class Given(Model):
            def features(self, x: Tensor) -> Tensor:
                return x

        nothing = NO_SPLITS.train
        part = Part(torch.tensor(features), torch.tensor(y))
        view = View(Given(), Splits(nothing, part, nothing, ""), {})
        with torch.no_grad():
            return probe("separation").measure(view)["class_separation"]

    def test_classes_that_are_points_are_wholly_apart(self) -> None:
        assert self.read([[0.0, 1.0], [0.0, 1.0], [3.0, 0.0]], [0, 0, 2]) == pytest.approx(1.0)

    def test_classes_with_one_mean_are_not_apart(self) -> None:
        assert self.read([[1.0], [-1.0], [2.0], [-2.0]], [0, 0, 1, 1]) == pytest.approx(0.0)

    def test_by_hand(self) -> None:
        # Means 0 and 3 over 2 and 1 examples, overall 1: between 2 * 1 + 1 * 4, total (-2)^2 + 0 + 2^2.
        assert self.read([[-1.0], [1.0], [3.0]], [0, 0, 1]) == pytest.approx(6 / 8)

    def test_a_dead_layer_is_not_a_number(self) -> None:
        assert math.isnan(self.read([[1.0], [1.0]], [0, 1]))

    def test_is_read_off_the_validation_part(self) -> None:
        module, part = build(0), TASK.splits(0).validation
        H = module.features(part.x).detach().double()
        means = torch.stack([H[part.y == c].mean(dim=0) for c in part.y])
        expected = (means - H.mean(dim=0)).square().sum() / (H - H.mean(dim=0)).square().sum()
        assert measure(probe("separation"), module)["class_separation"] == pytest.approx(float(expected))
