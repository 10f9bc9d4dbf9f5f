"""`gtsearch.transfer` on models of other people: what it changes, what it keeps, what it refuses."""

from __future__ import annotations

import copy
import doctest
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gtsearch
from gtsearch import embedding as artefact
from gtsearch import factorised, transplant
from gtsearch.errors import EmbeddingError, GtsearchError
from gtsearch.factorised import FactorisedLinear, FactorisedLookup
from gtsearch.models.base import FactorisedEmbedding
from gtsearch.models.mlp import MlpSizes
from gtsearch.tasks.modular import ModularAddition

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


def test_frozen_stays_frozen_and_a_alone_can_be_held(E_W: Tensor) -> None:
    model = Theirs()
    model.body["emb"].weight.requires_grad_(False)
    lookup = gtsearch.transfer(model, E_W).body["emb"]
    assert not lookup.A.requires_grad and not lookup.B.requires_grad
    lookup = gtsearch.transfer(Theirs(), E_W, freeze_a=True).body["emb"]
    assert not lookup.A.requires_grad and lookup.B.requires_grad


def test_b_is_the_same_whatever_the_model_is_made_of(E_W: Tensor) -> None:
    full, half = (
        gtsearch.transfer(Theirs().to(d), E_W, generator=generator()) for d in (torch.float32, torch.bfloat16)
    )
    assert half.body["emb"].B.dtype is torch.bfloat16
    assert torch.equal(full.body["emb"].B.bfloat16(), half.body["emb"].B)


def test_under_autocast_a_lookup_answers_in_the_dtype_of_the_table(E_W: Tensor) -> None:
    lookup = gtsearch.transfer(Theirs(), E_W).body["emb"]
    with torch.autocast("cpu", torch.bfloat16):
        assert lookup(TOKENS).dtype is nn.Embedding(V, D)(TOKENS).dtype is torch.float32


# -- which layer it is ----------------------------------------------------------------------------------------


class Several(nn.Module):
    """A model of tables and layers by name; a name may have dots for underscores."""

    def __init__(self, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def changed(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, FactorisedLookup | FactorisedLinear)]


def test_a_table_of_positions_beside_the_tokens_is_left_alone(E_W: Tensor) -> None:
    for name in ("positions", "wpe", "position_embeddings", "pos_emb"):
        assert changed(gtsearch.transfer(Several(**{name: nn.Embedding(V, D), "tokens": nn.Embedding(V, D)}), E_W)) == [
            "tokens"
        ]
    # It is not taken either where it alone has as many rows.
    with pytest.raises(
        EmbeddingError, match=r"has 11 rows and the model's `tok` has 12: both .*; name=\.\.\. chooses another layer"
    ):
        gtsearch.transfer(Several(tok=nn.Embedding(V + 1, D), wpe=nn.Embedding(V, D)), E_W)
    assert changed(gtsearch.transfer(Several(wpe=nn.Embedding(V, D)), E_W)) == ["wpe"]


def test_of_several_tables_the_only_one_of_the_vocabulary_is_taken(E_W: Tensor) -> None:
    assert changed(gtsearch.transfer(Several(types=nn.Embedding(2, D), words=nn.Embedding(V, D)), E_W)) == ["words"]


def test_where_it_may_be_one_of_several_the_name_says_which(E_W: Tensor) -> None:
    model = Several(source=nn.Embedding(V, D), target=nn.Embedding(V, D), types=nn.Embedding(2, D), out=nn.Linear(D, V))
    listed = (
        r"say which with name=\.\.\., one of: source \(11 x 8\), target \(11 x 8\), types \(2 x 8\), out \(8 x 11\)$"
    )
    with pytest.raises(GtsearchError, match=rf"the model has 3 embeddings and 2 of 11 rows, as E_W has; {listed}"):
        gtsearch.transfer(model, E_W)
    with pytest.raises(GtsearchError, match=rf"has 3 embeddings and none of 10 rows, as E_W has; {listed}"):
        gtsearch.transfer(model, E_W[:10])
    with pytest.raises(GtsearchError, match=r"the model has no layer `wte`; an nn\.Embedding .* it has: source"):
        gtsearch.transfer(model, E_W, name="wte")
    assert changed(gtsearch.transfer(model, E_W, name="target")) == ["target"]
    body = Theirs()
    with pytest.raises(
        GtsearchError, match=r"`body` is a ModuleDict; .* it has: body\.emb \(11 x 8\), head \(8 x 11\)"
    ):
        gtsearch.transfer(body, E_W, name="body")


def test_a_long_list_of_layers_is_cut(E_W: Tensor) -> None:
    model = nn.Sequential(*(nn.Embedding(V, D) for _ in range(20)))
    with pytest.raises(GtsearchError, match=r"7 \(11 x 8\), 12 more$"):
        gtsearch.transfer(model, E_W)


def test_the_model_is_asked_where_it_can_say(E_W: Tensor) -> None:
    class Says(Several):
        said: tuple[Any, ...] = (None,)

        def get_input_embeddings(self) -> Any:
            return self.said[0]

    model = Says(source=nn.Embedding(V, D), target=nn.Embedding(V, D), conv=nn.Conv1d(2, 3, 1))
    model.said = (model.target,)
    assert changed(gtsearch.transfer(model, E_W)) == ["target"]
    model.said = (model.conv,)
    with pytest.raises(
        GtsearchError, match=r"get_input_embeddings\(\) gives a Conv1d, which holds no table; say which"
    ):
        gtsearch.transfer(model, E_W)
    model.said = (nn.Embedding(V, D),)
    with pytest.raises(GtsearchError, match=r"get_input_embeddings\(\) gives no layer of the model; say which"):
        gtsearch.transfer(model, E_W)
    model.said = (None,)
    assert changed(gtsearch.transfer(model, E_W, name="source")) == ["source", "target"]


def test_a_model_that_cannot_say_is_searched_and_a_bug_in_one_is_shown(E_W: Tensor) -> None:
    class Silent(nn.Sequential):
        get_input_embeddings: Any = None

    class Unable(nn.Sequential):
        def get_input_embeddings(self) -> Any:
            raise NotImplementedError  # Hugging Face's, of a class that has none

    class Broken(nn.Sequential):
        def get_input_embeddings(self) -> Any:
            raise TypeError("theirs")

    for kind in (Silent, Unable):
        assert changed(gtsearch.transfer(kind(nn.Embedding(V, D)), E_W)) == ["0"]
    with pytest.raises(TypeError, match="theirs"):
        gtsearch.transfer(Broken(nn.Embedding(V, D)), E_W)


# -- the first layer ------------------------------------------------------------------------------------------


def images() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(V), nn.Linear(V, D), nn.ReLU(), nn.Linear(D, V))


def test_the_first_layer_over_vectors_becomes_a_times_b_and_keeps_its_bias(E_W: Tensor) -> None:
    model = images()
    bias = model[2].bias
    gtsearch.transfer(model, E_W, scale=2.0)
    layer = model[2]
    assert isinstance(layer, FactorisedLinear) and layer.bias is bias and changed(model) == ["2"]
    x = torch.rand(3, 1, V)
    torch.testing.assert_close(layer(x), x @ (2.0 * E_W) @ layer.B + bias)
    torch.testing.assert_close(nn.functional.linear(x, layer.weight, bias), layer(x))
    model(x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (layer.A, layer.B, bias))
    without = gtsearch.transfer(nn.Sequential(nn.Linear(V, D, bias=False)), E_W)
    assert [name for name, _ in without.named_parameters()] == ["0.A", "0.B"]


def test_the_first_layer_is_the_first_that_holds_a_matrix(E_W: Tensor) -> None:
    model = Several(convolution=nn.Conv1d(1, 2, 3), out=nn.Linear(V, 2))
    rule = r"has no embedding, and its first layer, `convolution`, is a Conv1d; .* one of: out \(11 x 2\)"
    with pytest.raises(GtsearchError, match=rule):
        gtsearch.transfer(model, E_W)
    assert changed(gtsearch.transfer(model, E_W, name="out")) == ["out"]
    with pytest.raises(GtsearchError, match="`attention`, is a MultiheadAttention"):
        gtsearch.transfer(Several(attention=nn.MultiheadAttention(D, 2), out=nn.Linear(V, 2)), E_W)
    patches = Several(positions=nn.Parameter(torch.zeros(5, D)), patch=nn.Linear(V, D), out=nn.Linear(D, 2))
    assert changed(gtsearch.transfer(patches, E_W)) == ["patch"]


# -- tied output layers ---------------------------------------------------------------------------------------


def tied(bias: bool = False, **options: Any) -> Theirs:
    model = Theirs(**options)
    model.head = nn.Linear(D, V, bias=bias)
    model.head.weight = model.body["emb"].weight
    return model


def test_a_tied_head_computes_with_the_same_a_and_b(E_W: Tensor) -> None:
    model = tied(bias=True)
    bias = model.head.bias
    gtsearch.transfer(model, E_W)
    lookup, head = model.body["emb"], model.head
    hidden = torch.randn(2, 5, D)
    torch.testing.assert_close(head(hidden), hidden @ (lookup.A @ lookup.B).T + bias)
    torch.testing.assert_close(head.weight, lookup.weight)
    assert head.bias is bias
    # Counted and saved once.
    names = ["body.emb.A", "body.emb.B", "head.bias"]
    assert [name for name, _ in model.named_parameters()] == list(model.state_dict()) == names
    # The gradient is that of the same product, used at both ends.
    A, B = (parameter.detach().clone().requires_grad_() for parameter in (lookup.A, lookup.B))
    model(TOKENS).square().sum().backward()
    ((A @ B)[TOKENS] @ (A @ B).T + bias).square().sum().backward()
    torch.testing.assert_close(lookup.A.grad, A.grad)
    torch.testing.assert_close(lookup.B.grad, B.grad)


def test_a_copy_of_a_tied_model_is_tied_to_itself(E_W: Tensor) -> None:
    model = gtsearch.transfer(tied(), E_W)
    twin = copy.deepcopy(model)
    assert twin.head.table is twin.body["emb"] is not model.body["emb"]
    kept = io.BytesIO()
    torch.save(model, kept)
    kept.seek(0)
    read = torch.load(kept, weights_only=False)
    assert read.head.table is read.body["emb"] and torch.equal(read(TOKENS), model(TOKENS))
    assert model.bfloat16()(TOKENS).dtype is torch.bfloat16


def test_a_tied_model_can_be_transferred_into_again_and_merged(E_W: Tensor) -> None:
    model = gtsearch.transfer(gtsearch.transfer(tied(), E_W), E_W[:, :2])
    assert model.head.table is model.body["emb"] and model.head.table.A.shape == (V, 2)
    before = model(TOKENS)
    gtsearch.merge(model)
    assert type(model.head) is nn.Linear and model.head.weight is model.body["emb"].weight
    torch.testing.assert_close(model(TOKENS), before)


def test_lookups_that_share_a_table_go_on_sharing_it(E_W: Tensor) -> None:
    model = Several(source=nn.Embedding(V, D), target=nn.Embedding(V, D))
    model.target.weight = model.source.weight
    gtsearch.transfer(model, E_W)
    assert model.target is model.source and isinstance(model.source, FactorisedLookup)
    assert [name for name, _ in model.named_parameters()] == ["source.A", "source.B"]


def owner_of(weight: nn.Parameter) -> nn.Module:
    module = nn.Conv1d(D, V, 1)
    module.weight = weight
    return module


@pytest.mark.parametrize(
    ("share", "who"),
    [
        (lambda m: m.add_module("conv", owner_of(m.body["emb"].weight)), "`conv`, a Conv1d"),
        (lambda m: m.register_parameter("out", m.body["emb"].weight), "the model itself"),
        (lambda m: setattr(m.head.weight, "data", m.body["emb"].weight.data), "`head`, a Linear"),
        (lambda m: m.add_module("pads", nn.Embedding(V, D, padding_idx=1, _weight=m.body["emb"].weight)), "`pads`"),
    ],
)
def test_sharing_that_a_product_cannot_keep_is_refused(share: Any, who: str, E_W: Tensor) -> None:
    model = Theirs()
    share(model)
    with pytest.raises(
        GtsearchError, match=rf"`body\.emb` shares its numbers with {who}.*, which cannot read a product"
    ):
        gtsearch.transfer(model, E_W, name="body.emb")
    assert isinstance(model.body["emb"], nn.Embedding)


def test_a_head_of_its_own_kind_is_refused_though_it_is_tied(E_W: Tensor) -> None:
    class Cosine(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.normalize(x, dim=-1))

    model = Theirs()
    model.head = Cosine(D, V, bias=False)
    model.head.weight = model.body["emb"].weight
    with pytest.raises(GtsearchError, match="`head` is a Cosine with a forward of its own"):
        gtsearch.transfer(model, E_W)


# -- what is refused ------------------------------------------------------------------------------------------


class Scaled(nn.Embedding):
    """As BART's: a product would lose the factor."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def with_layer(change: Callable[[Any], Any], layer: nn.Module | None = None) -> nn.Module:
    model = nn.Sequential(layer or nn.Embedding(V, D))
    change(model[0])
    return model


def integers(layer: nn.Embedding) -> None:
    layer.weight = nn.Parameter(torch.ones(V, D, dtype=torch.int64), requires_grad=False)


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Linear(V, D), "the model is itself an embedding"),
        (lambda: nn.Embedding(V, D), "the model is itself an embedding"),
        (lambda: nn.Sequential(nn.ReLU()), "the model has no embedding; it needs an nn.Embedding or an nn.Linear"),
        (lambda: nn.Sequential(nn.EmbeddingBag(V, D)), "its first layer, `0`, is an EmbeddingBag.* one of: none"),
        (lambda: Theirs(max_norm=1.0), r"`body.emb` renormalises its rows \(max_norm\), .* build it without"),
        (
            lambda: nn.Sequential(Scaled(V, D)),
            "`0` is a Scaled with a forward of its own, .* make it a plain Embedding",
        ),
        (
            lambda: with_layer(lambda m: m.register_forward_hook(print)),
            "`0` has hooks, which would be lost; remove them",
        ),
        (lambda: with_layer(lambda m: m.weight.register_hook(print)), "`0` has hooks"),
        (lambda: with_layer(nn.utils.parametrizations.spectral_norm), "`0` is parametrized, .* parametrization off"),
        (lambda: with_layer(nn.utils.weight_norm, nn.Linear(V, D)), r"more than a weight \(weight_g, weight_v\)"),
        (lambda: with_layer(lambda m: m.register_buffer("mask", torch.ones(1))), r"more than a weight \(mask\)"),
        (lambda: nn.Sequential(nn.Embedding(V, D, device="meta")), "`0` is on the meta device and holds no numbers"),
        (lambda: nn.Sequential(nn.LazyLinear(D)), "`0` takes its size from its first batch; put one through"),
        (lambda: with_layer(integers), "`0` holds a Tensor of torch.int64, sharded or quantised"),
        (
            lambda: nn.DataParallel(Theirs()),
            "the model is wrapped in DataParallel, which knows .* change the plain model",
        ),
        (lambda: torch.compile(Theirs()), "the model is wrapped in OptimizedModule"),
        (lambda: nn.Sequential(torch.compile(nn.Embedding(V, D))), "`0` is wrapped in OptimizedModule"),
        (lambda: compiled_in_place(Theirs()), "the model is compiled, which knows its parameters already"),
        (lambda: torch.jit.script(nn.Sequential(nn.Embedding(V, D))), "the model is wrapped in ScriptModule"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(weight_norm|torch.jit.script).*")
def test_models_that_are_refused(model: Any, message: str, E_W: Tensor) -> None:
    refused = model()
    before = [type(module) for module in refused.modules()]
    with pytest.raises(GtsearchError, match=message) as said:
        gtsearch.transfer(refused, E_W)
    assert "\n" not in str(said.value) and [type(module) for module in refused.modules()] == before


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (torch.zeros(V + 1, D_W), rf"has {V + 1} rows and the model's `body.emb` has {V}"),
        (torch.zeros(D_W, V), r"`body.emb` has 11: .*; E_W lies on its side: give it transposed"),
        (torch.zeros(V, D_W, device="meta"), "real numbers, and this one is on the meta device"),
        (torch.zeros(V, D_W, dtype=torch.complex64), "real numbers, and this one is of complex ones"),
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


def test_a_first_layer_of_other_inputs_is_refused(E_W: Tensor) -> None:
    with pytest.raises(EmbeddingError, match=r"has 11 rows and the model's `0` takes 12 inputs: both .* same inputs"):
        gtsearch.transfer(nn.Sequential(nn.Linear(V + 1, D)), E_W)


def test_a_scale_that_the_dtype_cannot_hold_is_refused(E_W: Tensor) -> None:
    with pytest.raises(
        EmbeddingError, match=r"times scale=1e\+06 is not finite in torch.float16; choose another scale"
    ):
        gtsearch.transfer(Theirs().half(), E_W, scale=1e6)


# -- saved and loaded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Theirs, tied, images])
def test_a_state_dict_goes_into_a_model_that_was_transferred_into_just_now(make: Any, E_W: Tensor) -> None:
    model, fresh = gtsearch.transfer(make(), E_W), gtsearch.transfer(make(), torch.zeros_like(E_W))
    for assign in (False, True):
        assert list(fresh.load_state_dict(model.state_dict(), strict=True, assign=assign)) == [[], []]
        x = torch.rand(2, 1, V) if make is images else TOKENS
        assert torch.equal(fresh.eval()(x), model.eval()(x))


# -- merge ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("make", [lambda: Theirs(padding_idx=4, sparse=True), lambda: tied(bias=True), images])
def test_a_merged_model_is_plain_and_answers_the_same(make: Any, dtype: torch.dtype, E_W: Tensor) -> None:
    plain = make().to(dtype).eval()
    model = gtsearch.transfer(make().to(dtype).eval(), E_W)
    x = torch.rand(2, 1, V, dtype=dtype) if make is images else TOKENS
    before = model(x)
    assert gtsearch.merge(model) is model
    assert str(model) == str(plain) and list(model.state_dict()) == list(plain.state_dict())
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert (one.shape, one.dtype, one.requires_grad) == (other.shape, other.dtype, other.requires_grad)
    assert [module.training for module in model.modules()] == [False] * len(list(model.modules()))
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype is torch.float64 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(model(x), before, **close)
    with pytest.raises(GtsearchError, match=r"there is no A B in the model that could be merged; `gtsearch\.transfer`"):
        gtsearch.merge(model)


def test_what_was_frozen_is_merged_frozen_and_a_model_of_gtsearch_is_merged_too(E_W: Tensor) -> None:
    model = Theirs().requires_grad_(False)
    assert not gtsearch.merge(gtsearch.transfer(model, E_W)).body["emb"].weight.requires_grad
    assert gtsearch.merge(gtsearch.transfer(Theirs(), E_W, freeze_a=True)).body["emb"].weight.requires_grad
    task = ModularAddition(name="modular_addition", p=V)
    ours = gtsearch.transfer(MlpSizes(name="mlp", d_embed=D, width=4, depth=2).module(task), E_W)
    product = ours.embedding.matrix()
    torch.testing.assert_close(gtsearch.merge(ours).embedding.matrix(), product)


def test_what_was_put_on_a_product_is_not_merged_away(E_W: Tensor) -> None:
    model = gtsearch.transfer(tied(), E_W)
    handle = model.head.register_forward_hook(lambda *_: None)
    with pytest.raises(GtsearchError, match="`head` has hooks"):
        gtsearch.merge(model)
    handle.remove()
    model.also = nn.ParameterList([model.body["emb"].A])
    with pytest.raises(GtsearchError, match="shares its numbers with `also`, a ParameterList"):
        gtsearch.merge(model)
    assert isinstance(model.body["emb"], FactorisedLookup)


# -- an optimizer that was made before ------------------------------------------------------------------------


def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(TOKENS).logsumexp(-1).sum().backward()
    optimizer.step()


def test_an_optimizer_takes_a_and_b_where_the_table_was(E_W: Tensor) -> None:
    model = Theirs()
    table, head = model.body["emb"].weight, model.head.weight
    groups: list[dict[str, Any]] = [{"params": [head], "lr": 0.5}, {"params": [table], "weight_decay": 0.25}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trained(model, optimizer)
    kept = optimizer.state[head]["exp_avg"].clone()
    gtsearch.transfer(model, E_W, optimizer=optimizer)
    lookup = model.body["emb"]
    first, second = optimizer.param_groups
    assert first["params"] == [head] and [id(p) for p in second["params"]] == [id(lookup.A), id(lookup.B)]
    assert (first["lr"], second["lr"], second["weight_decay"]) == (0.5, 0.1, 0.25)
    assert set(optimizer.state) == {head} and torch.equal(optimizer.state[head]["exp_avg"], kept)
    before = [p.detach().clone() for p in (lookup.A, lookup.B)]
    trained(model, optimizer)
    scheduler.step()
    assert not any(torch.equal(b, p) for b, p in zip(before, (lookup.A, lookup.B), strict=True))
    assert optimizer.state[lookup.A]["step"] == 1 and optimizer.state[head]["step"] == 2
    torch.optim.AdamW([{"params": [head]}, {"params": second["params"]}]).load_state_dict(optimizer.state_dict())

    gtsearch.transfer(model, E_W[:, :2], optimizer=optimizer)
    again = model.body["emb"]
    assert [id(p) for p in second["params"]] == [id(again.A), id(again.B)] and set(optimizer.state) == {head}
    gtsearch.merge(model, optimizer=optimizer)
    assert second["params"] == [model.body["emb"].weight] and set(optimizer.state) == {head}
    trained(model, optimizer)


def test_names_in_an_optimizer_stay_beside_their_parameters(E_W: Tensor) -> None:
    model = tied(bias=True)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    gtsearch.transfer(model, E_W, optimizer=optimizer)
    (group,) = optimizer.param_groups
    assert group["param_names"] == ["body.emb.A", "body.emb.B", "head.bias"]
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]
    gtsearch.merge(model, optimizer=optimizer)
    assert group["param_names"] == ["body.emb.weight", "head.bias"]


def test_a_frozen_table_need_not_be_in_the_optimizer(E_W: Tensor) -> None:
    model = Theirs()
    model.body["emb"].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([model.head.weight], lr=0.1)
    gtsearch.transfer(model, E_W, optimizer=optimizer)
    assert optimizer.param_groups[0]["params"] == [model.head.weight]


def test_what_is_merged_is_trained_by_an_optimizer_that_held_b_alone(E_W: Tensor) -> None:
    model = gtsearch.transfer(Theirs(), E_W, freeze_a=True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    gtsearch.merge(model, optimizer=optimizer)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model.parameters()]


class Books(torch.optim.SGD):
    """Keeps books of its own, as those that shard their state."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            lambda m: torch.optim.SGD(Theirs().parameters(), lr=0.1),
            "does not hold the weight of `body.emb`; give the one",
        ),
        (
            lambda m: torch.optim.LBFGS(m.parameters()),
            "LBFGS keeps books of its own about its parameters; make it anew",
        ),
        (lambda m: Books(m.parameters(), lr=0.1), "Books keeps books of its own"),
        (lambda m: torch.optim.SparseAdam(m.parameters()), "SparseAdam takes sparse gradients alone, and that of B is"),
        (lambda m: list(m.parameters()), "takes a torch.optim.Optimizer, not a list"),
    ],
)
def test_optimizers_that_are_refused(optimizer: Any, message: str, E_W: Tensor) -> None:
    model = Theirs()
    with pytest.raises(GtsearchError, match=message):
        gtsearch.transfer(model, E_W, optimizer=optimizer(model))
    assert isinstance(model.body["emb"], nn.Embedding)


# -- the docstrings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [transplant, factorised])
def test_the_examples_in_the_docstrings_run(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0 and tried > 0
