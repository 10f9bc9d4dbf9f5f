"""The menu: every task, model, method, loss, probe, figure, ... by name, as "module:object", imported on first use.

To add one: a file in the room it belongs to, and one line here. A name without an object after it is a module. What is
not gtsearch's own, a user's `module:object` or what an installed package offers, comes by way of `gtsearch.plugins`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from gtsearch import plugins
from gtsearch.errors import SpecError

TASKS: dict[str, str] = {
    "modular_addition": "gtsearch.tasks.modular:ModularAddition",
    "modular_subtraction": "gtsearch.tasks.modular:ModularSubtraction",
    "modular_multiplication": "gtsearch.tasks.modular:ModularMultiplication",
    "modular_division": "gtsearch.tasks.modular:ModularDivision",
    "modular_polynomial": "gtsearch.tasks.modular:ModularPolynomial",
    "modular_pair": "gtsearch.tasks.pair:ModularPair",
    "permutations": "gtsearch.tasks.permutations:Permutations",
    "sparse_parity": "gtsearch.tasks.parity:SparseParity",
    "redundant_parity": "gtsearch.tasks.parity:RedundantParity",
    "xor_clusters": "gtsearch.tasks.xor:XorClusters",
    "digits": "gtsearch.tasks.images:Digits",
    "mnist": "gtsearch.tasks.images:Mnist",
    "table": "gtsearch.tasks.table:Table",
    "text": "gtsearch.tasks.text:Text",
}
MODELS: dict[str, str] = {
    "mlp": "gtsearch.models.mlp:MlpSizes",
    "transformer": "gtsearch.models.transformer:TransformerSizes",
    "xor_net": "gtsearch.models.xor_net:XorNetSizes",
    "gpt": "gtsearch.models.gpt:GptSizes",
}
METHODS: dict[str, str] = {
    "transfer": "gtsearch.methods.transfer:Transfer",
    "scratch": "gtsearch.methods.scratch:Scratch",
    "lowrank_random": "gtsearch.methods.lowrank_random:LowrankRandom",
    "transfer_shuffled": "gtsearch.methods.transfer_shuffled:TransferShuffled",
    "onehot": "gtsearch.methods.fixed_onehot:OneHot",
    "binary": "gtsearch.methods.fixed_binary:Binary",
    "fourier": "gtsearch.methods.fixed_fourier:Fourier",
    "random": "gtsearch.methods.fixed_random:Random",
    "file": "gtsearch.methods.fixed_file:File",
    "pca": "gtsearch.methods.pca:Pca",
    "lda": "gtsearch.methods.lda:Lda",
    "grokfast_ema": "gtsearch.methods.grokfast_ema:GrokfastEma",
    "grokfast_ma": "gtsearch.methods.grokfast_ma:GrokfastMa",
    "sphere": "gtsearch.methods.sphere:Sphere",
}
SOURCES: dict[str, str] = {
    "cross_task": "gtsearch.sources:CrossTask",
    "growth": "gtsearch.sources:Growth",
}
OPTIMIZERS: dict[str, str] = {
    "adamw": "gtsearch.optimizers.adamw:AdamW",
    "adam": "gtsearch.optimizers.adam:Adam",
    "gd": "gtsearch.optimizers.gd:Gd",
    "gd_literal": "gtsearch.optimizers.gd:GdLiteral",
    "muon": "gtsearch.optimizers.borrowed:Muon",
    "orthograd": "gtsearch.optimizers.borrowed:OrthoGrad",
}
LOSSES: dict[str, str] = {
    "cross_entropy": "gtsearch.losses:cross_entropy",
    "stablemax": "gtsearch.losses:stablemax",
    "logistic": "gtsearch.losses:logistic",
    "exponential": "gtsearch.losses:exponential",
    "mse": "gtsearch.losses:mse",
}
PROBES: dict[str, str] = {
    "ntk_change": "gtsearch.probes.ntk_change:NtkChange",
    "weight_norms": "gtsearch.probes.weight_norms:WeightNorms",
    "embedding_spectrum": "gtsearch.probes.embedding_spectrum:EmbeddingSpectrum",
    "fourier": "gtsearch.probes.fourier:FourierConcentration",
    "xor_ratio": "gtsearch.probes.xor_ratio:XorRatio",
    "separation": "gtsearch.probes.separation:Separation",
}
SCORES: dict[str, str] = {
    "accuracy": "gtsearch.scores:accuracy",
    "gap": "gtsearch.scores:gap",
    "slope": "gtsearch.scores:slope",
    "epochs": "gtsearch.scores:epochs",
    "norm": "gtsearch.scores:norm",
    "row_norm_spread": "gtsearch.scores:row_norm_spread",
    "effective_rank": "gtsearch.scores:effective_rank",
    "fourier": "gtsearch.scores:fourier",
    "linear_probe": "gtsearch.scores:linear_probe",
    "product_probe": "gtsearch.scores:product_probe",
}
FIGURES: dict[str, str] = {
    "breakeven": "gtsearch.analysis.breakeven",
    "tradeoff": "gtsearch.analysis.tradeoff",
    "dynamics": "gtsearch.analysis.dynamics",
    "survival": "gtsearch.analysis.survival",
    "ladder": "gtsearch.analysis.ladder",
    "cost": "gtsearch.analysis.cost",
    "tuning": "gtsearch.analysis.tuning",
    "search": "gtsearch.analysis.search",
    "ablation": "gtsearch.analysis.ablation",
    "timegap": "gtsearch.analysis.timegap",
    "probes": "gtsearch.analysis.probes",
    "sweep": "gtsearch.analysis.sweep",
    "embedding": "gtsearch.analysis.embedding",
    "predictors": "gtsearch.analysis.predictors",
    "devices": "gtsearch.analysis.devices",
}
TRACKERS: dict[str, str] = {
    "tensorboard": "gtsearch.trackers.tensorboard:TensorBoard",
    "mlflow": "gtsearch.trackers.mlflow:Mlflow",
    "wandb": "gtsearch.trackers.wandb:Wandb",
}
MENUS: Mapping[str, dict[str, str]] = {
    "task": TASKS,
    "model": MODELS,
    "method": METHODS,
    "source": SOURCES,
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "probe": PROBES,
    "score": SCORES,
    "figure": FIGURES,
    "tracker": TRACKERS,
}


def load(kind: str, name: str) -> Any:
    """The object called `name` on the menu of `kind` (a key of MENUS), or of a user's module.

    Raises:
        SpecError: the menu has no such name; the message holds the nearest one and all of them. Or it is a
            `module:object`, or what an installed package offers, and cannot be used.
    """
    check(kind, name)
    if name not in MENUS[kind]:
        return plugins.load(kind, name)
    module, _, attribute = MENUS[kind][name].partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def check(kind: str, name: str) -> None:
    """Refuses a name the menu of `kind` does not have, and imports nothing.

    Raises:
        SpecError: as `load`.
    """
    if name not in MENUS[kind] and not plugins.is_named(kind, name):
        raise SpecError(no_such(kind, name, [*MENUS[kind], *plugins.offered(kind)]))


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    """One line that says there is no `kind` called `name`, which one is nearest, and which there are."""
    words = list(known)
    near = nearest(name, words)
    hint = f"; did you mean `{near}`?" if near else ""
    return f"there is no {kind} `{name}`{hint} (known: {', '.join(words) or 'none'})"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` most like `word`, whatever the case; None when none is near."""
    by_lower = {other.lower(): other for other in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
