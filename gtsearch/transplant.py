"""Into anybody's model: `transfer` puts A B where its input embedding stood, `merge` makes one plain layer of it again.

For people who have their own model and training loop; gtsearch's own target stage uses `gtsearch.methods`. Whatever a
product A B cannot keep of what it replaces is refused, before model and optimizer are touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from gtsearch import embedding as artefact
from gtsearch.errors import EmbeddingError, GtsearchError
from gtsearch.factorised import FactorisedLinear, FactorisedLookup, TiedHead
from gtsearch.models.base import Embedding, FactorisedEmbedding

Model = TypeVar("Model", bound=nn.Module)
Table = nn.Embedding | FactorisedLookup | Embedding | FactorisedEmbedding
Layer = nn.Linear | FactorisedLinear
Replaceable = nn.Embedding | FactorisedLookup | Embedding | FactorisedEmbedding | nn.Linear | FactorisedLinear
Product = FactorisedLookup | FactorisedLinear | FactorisedEmbedding
Swaps = Mapping[nn.Parameter, Mapping[str, nn.Parameter]]  # an old parameter, and by name the new ones in its place

WRAPPERS = (
    *("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPModule"),
    *("OptimizedModule", "ScriptModule"),
)
HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
HOOKS_OF_A_TENSOR = ("_backward_hooks", "_post_accumulate_grad_hooks")
POSITIONS = re.compile(r"(^|[._])(pos|wpe)")
MOST_NAMES = 8  # in one line


def transfer(
    model: Model,
    embedding: Any,
    *,
    name: str | None = None,
    scale: float = 1.0,
    freeze_a: bool = False,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
) -> Model:
    """Changes `model` in place so that its input embedding is A B (Xu et al. 2025, section 2), and returns it.

    A is `scale` times the weak embedding; B is drawn as PyTorch draws a linear layer, U(+-1/sqrt(d_W)). Both are
    trained, unless what they replace is not. Whatever the model's embedding held before is gone. An output layer whose
    weight was the embedding's stays tied: it computes h (A B)^T from the same A and B. Transfer first; compile the
    model, wrap it for several devices and make the optimizer afterwards.

    Args:
        model: holds an `nn.Embedding` with d_vocab rows, or its first layer is an `nn.Linear` of d_vocab inputs, at any
            depth. Which it is: `name`; else what the model's `get_input_embeddings()` gives (Hugging Face); else its
            only table, tables of positions beside it left out; of several the only one with d_vocab rows; where there
            is no table, the first layer that holds a matrix.
        embedding: E_W [d_vocab, d_W]: a tensor, an array, or the path of a file that gtsearch wrote.
        name: which, as in `model.named_modules()`.
        scale: what A is multiplied by (the search's `embedding_scale`).
        freeze_a: whether A is held where it is while B is trained.
        optimizer: one that was made before: A and B take the place of what they replace, in its group, with the group's
            options; the state that was kept of it is dropped, all other state stays.
        generator: for B; PyTorch's own for the CPU unless given.

    Raises:
        EmbeddingError: the file is not gtsearch's or damaged; E_W is no finite matrix; it has another vocabulary.
        GtsearchError: the embedding is not found, or may be one of several; it holds more than a table (hooks,
            parametrizations, a forward of its own, `max_norm`), shares it with what cannot read a product, or holds no
            numbers yet; the model is wrapped or compiled; the optimizer cannot be changed.

    Examples:
        >>> import torch, gtsearch
        >>> model = torch.nn.Sequential(torch.nn.Embedding(11, 8), torch.nn.Flatten(), torch.nn.Linear(16, 11))
        >>> E_W = torch.randn(11, 3)  # or the path of the file that `gtsearch export` wrote
        >>> gtsearch.transfer(model, E_W)[0]
        FactorisedLookup(11, 3, 8)
        >>> [name for name, _ in model.named_parameters()]
        ['0.A', '0.B', '2.weight', '2.bias']
    """
    E_W = _matrix(embedding)
    _refuse_model(model)
    place, replaced = _find(model, name, len(E_W))
    _refuse_layer(model, place, replaced)
    tied = _tied(model, place, replaced)
    old = _weights(replaced)
    rows, width = _shape(replaced)
    if len(E_W) != rows:
        raise EmbeddingError(_misfit(E_W, place, replaced, "" if name else "; name=... chooses another layer"))

    A = (E_W.cpu().double() * scale).to(old[0])
    if not bool(torch.isfinite(A).all()):
        raise EmbeddingError(f"the embedding times scale={scale:g} is not finite in {A.dtype}; choose another scale")
    product = _product(A, _drawn(A, width, generator), replaced)
    product.train(replaced.training)
    trains = any(weight.requires_grad for weight in old)
    product.A.requires_grad_(trains and not freeze_a)
    product.B.requires_grad_(trains)

    if optimizer is not None:
        _refuse_optimizer(optimizer)
        both = {"A": product.A, "B": product.B}
        # One weight, or the A and B of an earlier transfer.
        swaps = {old[0]: both} if len(old) == 1 else {o: {n: both[n]} for o, n in zip(old, both, strict=True)}
        _swap(optimizer, swaps, f"`{place}`")
    _replace(model, {replaced: product} | {layer: _following(layer, product) for layer in tied})
    return model


def merge(model: Model, *, optimizer: torch.optim.Optimizer | None = None) -> Model:
    """Changes `model` in place so that every A B in it is one plain `nn.Embedding` or `nn.Linear`, and returns it.

    Outputs do not change but for rounding; an output layer that was tied to the table shares the plain weight. Then the
    model is of the classes that its owner gave it, and can be saved and loaded as such, without gtsearch.

    Args:
        model: that `transfer` changed.
        optimizer: of the model: the weight takes A's place in A's group, B leaves its own; state of both is dropped. Of
            an A that was frozen and left out the weight takes B's place.

    Raises:
        GtsearchError: there is no A B in the model; one has hooks, or shares A or B with a layer that is not tied by
            `transfer`; the model is wrapped or compiled; the optimizer cannot be changed.

    Examples:
        >>> import torch, gtsearch
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        >>> gtsearch.transfer(model, torch.randn(64, 3))[0]
        FactorisedLinear(64, 3, 32)
        >>> gtsearch.merge(model)[0]
        Linear(in_features=64, out_features=32, bias=True)
    """
    _refuse_model(model)
    if optimizer is not None:
        _refuse_optimizer(optimizer)
    products = {place: module for place, module in model.named_modules() if isinstance(module, Product)}
    if not products:
        raise GtsearchError("there is no A B in the model that could be merged; `gtsearch.transfer` puts one there")
    by: dict[nn.Module, nn.Module] = {}
    swaps: dict[nn.Parameter, dict[str, nn.Parameter]] = {}
    for place, product in products.items():
        _refuse_layer(model, place, product)
        tied = _tied(model, place, product)
        plain = _merged(product)
        plain.train(product.training)
        (weight,) = _weights(plain)
        first, last = product.A, product.B
        if optimizer is not None and not _holds(optimizer, first):  # it was frozen, and left out
            first, last = last, first
        swaps |= {first: {"E" if isinstance(plain, Embedding) else "weight": weight}, last: {}}
        heads = [head for head in tied if isinstance(head, TiedHead)]
        by |= {product: plain} | {head: head.merged(weight).train(head.training) for head in heads}
    if optimizer is not None:
        _swap(optimizer, swaps, ", ".join(f"`{place}`" for place in products))
    _replace(model, by)
    return model


# -- the embedding -------------------------------------------------------------------------------------------


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
    if E_W.is_meta or E_W.is_complex():
        what = "on the meta device, where there are none" if E_W.is_meta else "of complex ones"
        raise EmbeddingError(f"an embedding is a matrix of real numbers, and this one is {what}")
    if not bool(torch.isfinite(E_W).all()):
        raise EmbeddingError("the embedding holds numbers that are not finite; its training diverged")
    return E_W


def _misfit(E_W: Tensor, place: str, replaced: Replaceable, mend: str) -> str:
    """Why E_W is not of the inputs of what it is to replace."""
    rows = _shape(replaced)[0]
    if E_W.shape[1] == rows:
        mend = "; E_W lies on its side: give it transposed, inputs down and d_W across"
    if isinstance(replaced, Layer):
        rule = f"the weak embedding has {len(E_W)} rows and the model's `{place}` takes {rows} inputs"
        return f"{rule}: both must stand for the same inputs, one by one{mend}"
    rule = f"the weak embedding has {len(E_W)} rows and the model's `{place}` has {rows}"
    return f"{rule}: both must stand for the same vocabulary, token by token{mend}"


# -- where it goes -------------------------------------------------------------------------------------------


def _find(model: nn.Module, name: str | None, rows: int) -> tuple[str, Replaceable]:
    """The layer called `name`, or the input embedding (`transfer` says which that is)."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if name is not None:
        named = modules.get(name)
        if isinstance(named, Replaceable):
            return name, named
        what = f"`{name}` is {_kind(named)}" if named is not None else f"the model has no layer `{name}`"
        raise GtsearchError(f"{what}; an nn.Embedding or an nn.Linear can be replaced; it has: {_candidates(model)}")
    told = _told(model)
    if told is not None:
        place = next((place for place, module in modules.items() if module is told), None)
        if isinstance(told, Replaceable) and place is not None:
            return place, told
        where = f"{_kind(told)}, which holds no table" if place is not None else "no layer of the model"
        raise GtsearchError(
            f"the model's get_input_embeddings() gives {where}; say which with name=..., one of: {_candidates(model)}"
        )
    tables = _tables(model)
    if not tables:
        return _first_layer(model)
    words = {place: table for place, table in tables.items() if not POSITIONS.search(place)} or tables
    fitting = {place: table for place, table in words.items() if _shape(table)[0] == rows}
    if len(words) == 1 or len(fitting) == 1:
        return next(iter((fitting or words).items()))
    how_many = f"the model has {len(words)} embeddings and {len(fitting) or 'none'} of {rows} rows, as E_W has"
    raise GtsearchError(f"{how_many}; say which with name=..., one of: {_candidates(model)}")


def _told(model: nn.Module) -> nn.Module | None:
    """What a Hugging Face model, or one that keeps to their custom, says its input embedding is."""
    ask = getattr(model, "get_input_embeddings", None)
    if not callable(ask):
        return None
    try:
        told = ask()
    except NotImplementedError:  # theirs, for a model that has no embedding of tokens
        return None
    return told if isinstance(told, nn.Module) else None


def _tables(model: nn.Module) -> dict[str, Table]:
    """The tables of a model by name; of those that share their numbers the first."""
    tables = {place: module for place, module in model.named_modules() if isinstance(module, Table)}
    weights = {id(_weights(table)[0]): place for place, table in reversed(tables.items())}
    return {place: table for place, table in tables.items() if place in weights.values()}


def _first_layer(model: nn.Module) -> tuple[str, Layer]:
    """The first layer that holds a matrix, in the order in which the layers were made."""
    for place, module in model.named_modules():
        if isinstance(module, Layer):
            return place, module
        own = any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))
        # A matrix beside layers is one of positions and the like; attention keeps its own beside a layer, too.
        if own and (next(module.children(), None) is None or type(module).__module__.startswith("torch.")):
            raise GtsearchError(
                f"the model has no embedding, and its first layer, `{place}`, is {_kind(module)}; an nn.Embedding or "
                f"an nn.Linear can be replaced; say which with name=..., one of: {_candidates(model)}"
            )
    raise GtsearchError("the model has no embedding; it needs an nn.Embedding or an nn.Linear")


def _candidates(model: nn.Module) -> str:
    """What can be replaced, in words: tables, then layers."""
    every = [(place, module) for place, module in model.named_modules() if isinstance(module, Replaceable)]
    every.sort(key=lambda candidate: isinstance(candidate[1], Layer))
    names = [f"{place} ({_shape(module)[0]} x {_shape(module)[1]})" for place, module in every[:MOST_NAMES]]
    more = [f"{len(every) - MOST_NAMES} more"] if len(every) > MOST_NAMES else []
    return ", ".join(names + more) or "none"


def _shape(module: Replaceable) -> tuple[int, int]:
    """Rows (tokens or inputs) and width."""
    match module:
        case nn.Embedding():
            rows, width = module.weight.shape
        case nn.Linear():
            width, rows = module.weight.shape
        case Embedding():
            rows, width = module.E.shape
        case _:
            rows, width = len(module.A), module.B.shape[1]
    return rows, width


def _weights(module: Replaceable) -> list[nn.Parameter]:
    """What A B takes the place of; a bias stays."""
    match module:
        case nn.Embedding() | nn.Linear():
            return [cast(nn.Parameter, module.weight)]
        case Embedding():
            return [module.E]
        case _:
            return [module.A, module.B]


def _kind(module: nn.Module) -> str:
    """`a Conv1d`, `an EmbeddingBag`."""
    kind = type(module).__name__
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


# -- what is refused -----------------------------------------------------------------------------------------


def _refuse_model(model: nn.Module) -> None:
    """Refuses models whose layers cannot be looked at."""
    for place, module in model.named_modules():
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise GtsearchError(f"`{place}` takes its size from its first batch; put one through the model first")
    _refuse_wrapped(model, "", "the model")


def _refuse_wrapped(module: nn.Module, place: str, what: str) -> None:
    """Refuses what has looked at the parameters that are to go."""
    kinds = [kind for kind in WRAPPERS if kind in {cls.__name__ for cls in type(module).__mro__}]
    compiled = getattr(module, "_compiled_call_impl", None) is not None
    if kinds or compiled:
        by = f"wrapped in {kinds[0]}" if kinds else "compiled"
        raise GtsearchError(f"{what} is {by}, which knows its parameters already; change the plain model, then wrap it")


def _refuse_layer(model: nn.Module, place: str, module: nn.Module) -> None:
    """Refuses layers that mean more than a matrix to their model."""
    parts = place.split(".")
    for above in (".".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
        _refuse_wrapped(model.get_submodule(above), above, f"`{above}`")
    if not place:
        raise GtsearchError("the model is itself an embedding and cannot be changed in place; give the model around it")
    for reason, mend in _more_than_a_matrix(module):
        raise GtsearchError(f"`{place}` {reason}, which would be lost; {mend}")
    for weight in module.parameters(recurse=False):
        if weight.is_meta:
            raise GtsearchError(f"`{place}` is on the meta device and holds no numbers; give the model its own first")
        if type(weight.data) is not Tensor or not weight.is_floating_point():
            what = f"{type(weight.data).__name__} of {weight.dtype}"
            raise GtsearchError(f"`{place}` holds a {what}, sharded or quantised; change the plain model first")


def _more_than_a_matrix(module: nn.Module) -> Iterator[tuple[str, str]]:
    """What a layer has that A B would not: pairs of what it is and what to do."""
    known = (nn.Embedding, nn.Linear, Embedding, FactorisedEmbedding, FactorisedLookup, FactorisedLinear, TiedHead)
    base = next(kind for kind in known if isinstance(module, kind))
    if is_parametrized(module):
        yield "is parametrized", "take the parametrization off first (torch.nn.utils.parametrize)"
    own = {
        name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(), *module.named_children())
    }
    if own - {"weight", "bias", "E", "A", "B"}:
        more = ", ".join(sorted(own - {"weight", "bias"}))
        yield f"is made of more than a weight ({more}), as by weight_norm", "make one weight of it first"
    if type(module).forward is not base.forward or "forward" in vars(module):
        yield f"is {_kind(module)} with a forward of its own", f"make it a plain {base.__name__} first"
    tensors = module.parameters(recurse=False)
    hooked = any(getattr(module, hook, None) for hook in HOOKS)
    if hooked or any(getattr(tensor, hook, None) for tensor in tensors for hook in HOOKS_OF_A_TENSOR):
        yield "has hooks", "remove them, and put them on afterwards"
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        yield "renormalises its rows (max_norm)", "build it without"


def _tied(model: nn.Module, place: str, replaced: Replaceable) -> list[nn.Module]:
    """The layers that read the same numbers and can read them off A B: output layers, and lookups that are alike."""
    tied: list[nn.Module] = []
    for other_place, other in model.named_modules():
        if isinstance(other, TiedHead) and other.table is replaced:
            reads = True
        elif other is replaced or not _shares(other, replaced):
            continue
        else:
            reads = isinstance(replaced, nn.Embedding) and (
                (isinstance(other, nn.Linear) and other.weight is replaced.weight) or _alike(other, replaced)
            )
        if not reads:
            what = f"`{other_place}`, {_kind(other)}" if other_place else "the model itself"
            raise GtsearchError(
                f"`{place}` shares its numbers with {what}, which cannot read a product A B; only an output nn.Linear "
                "of the same weight stays tied; give each numbers of its own first"
            )
        _refuse_layer(model, other_place, other)
        tied.append(other)
    return tied


def _shares(other: nn.Module, replaced: Replaceable) -> bool:
    """Whether a parameter of `other` is one of `replaced`, or lies in the same memory."""
    weights = _weights(replaced)
    addresses = {weight.data_ptr() for weight in weights} - {0}
    for parameter in other.parameters(recurse=False):
        if any(parameter is weight for weight in weights):
            return True
        if type(parameter.data) is Tensor and not parameter.is_meta and parameter.data_ptr() in addresses:
            return True
    return False


def _alike(other: nn.Module, table: nn.Embedding) -> bool:
    """Whether `other` is a lookup in the same table that answers the same."""
    if not isinstance(other, nn.Embedding) or other.weight is not table.weight:
        return False
    return all(getattr(other, of) == getattr(table, of) for of in ("padding_idx", "scale_grad_by_freq", "sparse"))


# -- what is put there ---------------------------------------------------------------------------------------


def _drawn(A: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """B [d_W, width] in A's dtype, on A's device; drawn where the generator is, the same bits for every device."""
    generator = generator or torch.default_generator
    bound = A.shape[1] ** -0.5
    return torch.empty(A.shape[1], width, device=generator.device).uniform_(-bound, bound, generator=generator).to(A)


def _product(A: Tensor, B: Tensor, replaced: Replaceable) -> Product:
    if isinstance(replaced, nn.Embedding | FactorisedLookup):
        return FactorisedLookup(A, B, replaced)
    if isinstance(replaced, Layer):
        return FactorisedLinear(A, B, replaced)
    product = FactorisedEmbedding(A, B.shape[1])
    with torch.no_grad():
        product.B.copy_(B)
    return product


def _following(layer: nn.Module, product: Product) -> nn.Module:
    """What stands where a layer stood that was tied to the table."""
    if not isinstance(layer, nn.Linear | TiedHead):
        return product
    assert isinstance(product, FactorisedLookup), "output layers are tied to lookups alone"
    return TiedHead(product, layer).train(layer.training)


def _merged(product: Product) -> nn.Embedding | nn.Linear | Embedding:
    if not isinstance(product, FactorisedEmbedding):
        return product.merged()
    plain = product.merge()
    plain.E.requires_grad_(product.A.requires_grad or product.B.requires_grad)
    return plain


def _replace(model: nn.Module, by: Mapping[nn.Module, nn.Module]) -> None:
    """Puts modules in the place of others, under all their names."""
    for place, module in list(model.named_modules(remove_duplicate=False)):
        if module in by:
            parent, _, attribute = place.rpartition(".")
            setattr(model.get_submodule(parent), attribute, by[module])


# -- the optimizer -------------------------------------------------------------------------------------------


def _refuse_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuses optimizers that would go on with what they know of parameters that are gone."""
    kind = type(optimizer).__name__
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise GtsearchError(f"optimizer=... takes a torch.optim.Optimizer, not a {kind}")
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise GtsearchError(f"{kind} takes sparse gradients alone, and that of B is dense; take another optimizer")
    own_books = type(optimizer).add_param_group is not torch.optim.Optimizer.add_param_group
    if own_books or isinstance(optimizer, torch.optim.LBFGS):
        raise GtsearchError(f"{kind} keeps books of its own about its parameters; make it anew afterwards")


def _holds(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> bool:
    return any(held is parameter for group in optimizer.param_groups for held in group["params"])


def _swap(optimizer: torch.optim.Optimizer, swaps: Swaps, what: str) -> None:
    """Puts parameters in the place of others, in their groups, and forgets the state of those that go.

    The groups stay as many as they were: a scheduler keeps a rate for each.
    """
    if any(old.requires_grad and not _holds(optimizer, old) for old in swaps):
        raise GtsearchError(f"the optimizer does not hold the weight of {what}; give the one that trains this model")
    for group in optimizer.param_groups:
        for old, new in swaps.items():
            at = next((i for i, parameter in enumerate(group["params"]) if parameter is old), None)
            if at is None:
                continue
            group["params"][at : at + 1] = new.values()
            if "param_names" in group:
                stem = group["param_names"][at].rpartition(".")[0]
                group["param_names"][at : at + 1] = [f"{stem}.{name}" if stem else name for name in new]
    for old in swaps:
        optimizer.state.pop(old, None)
