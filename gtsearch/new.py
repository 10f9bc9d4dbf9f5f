"""Files to begin with: a task, a model or a method of one's own, its test, and an experiment that uses it.

Entry: `write`. What is written runs and passes its test as it stands.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
from pathlib import Path

from gtsearch.errors import GtsearchError

_TASK = '''"""The task NAME: change `make_task`, and say in NAME.yaml what is asked about it."""

from typing import Any

import torch


def make_task(seed: int, modulus: int = 41, train_fraction: float = 0.4) -> dict[str, Any]:
    """a + b mod `modulus` over all pairs. Parameters stand beside the task's name in NAME.yaml.

    Args:
        seed: says which split; the same seed gives the same examples.

    Returns:
        train, validation and test (left out: validation is halved), each a pair of x and y: x [n, tokens] of whole
        numbers from 0 on, or [n, numbers] of real ones; y [n] of whole numbers from 0 on. No input of one part stands
        in another. Beside them may stand `title`, `d_vocab` and `n_classes`.
    """
    x = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus))
    y = (x[:, 0] + x[:, 1]) % modulus
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    n_train = int(train_fraction * len(x))
    n_validation = (len(x) - n_train) // 2
    train, validation, test = order.split([n_train, n_validation, len(x) - n_train - n_validation])
    return {
        "title": f"a + b mod {modulus}",
        "train": (x[train], y[train]),
        "validation": (x[validation], y[validation]),
        "test": (x[test], y[test]),
    }
'''

_TASK_TEST = '''"""What every task keeps, of NAME; tests of your own stand beside it."""

from gtsearch.contracts import TaskContract


class TestNAME(TaskContract):
    asked = {"name": "NAME:make_task", "modulus": 7}
'''

_MODEL = '''"""The model family NAME: change `CLASS` and `Net`."""

import torch
from gtsearch.models import base
from gtsearch.tasks.base import Task
from pydantic import Field
from torch import Tensor, nn


class CLASS(base.Sizes):
    """The sizes that stand beside the name in NAME.yaml, and name its architectures.

    Attributes:
        width: of the hidden layer.
    """

    d_embed: int = Field(ge=1)
    width: int = Field(default=64, ge=1)

    def module(self, task: Task) -> "Net":
        return Net(self, task)


class Net(base.Model):
    """The mean of the embeddings of an example's tokens, then a hidden layer. The embedding comes first, what reads out
    last."""

    def __init__(self, sizes: CLASS, task: Task) -> None:
        super().__init__()
        self.embedding = base.Embedding(task.d_vocab, sizes.d_embed, vectors=task.vectors)
        self.hidden = nn.Linear(sizes.d_embed, sizes.width, bias=False)
        self.readout = nn.Linear(sizes.width, task.n_outputs, bias=False)

    def features(self, x: Tensor) -> Tensor:
        """[n, width], from tokens [n, n_tokens] or vectors [n, d_vocab]."""
        read = self.embedding.read(x)
        return torch.relu(self.hidden(read if x.is_floating_point() else read.mean(dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        """[n, n_outputs]."""
        outputs: Tensor = self.readout(self.features(x))
        return outputs
'''

_MODEL_TEST = '''"""What every model keeps, of NAME; tests of your own stand beside it."""

from gtsearch.contracts import ModelContract


class TestNAME(ModelContract):
    asked = {"name": "NAME:CLASS", "d_embed": 4, "width": 8}
'''

_METHOD = '''"""The method NAME: change `Start`."""

import torch
from gtsearch.methods.base import FactorisedStart
from pydantic import Field
from torch import Tensor
from torch.nn import functional


class Start(FactorisedStart):
    """E = A B, A the weak embedding with rows of one length. Attributes: length, of each row, as it stands in
    `target.options` of NAME.yaml."""

    length: float = Field(default=1.0, gt=0)

    def factor(self, embedding: Tensor, generator: torch.Generator) -> Tensor:
        """A [d_vocab, d_W], from the weak model's embedding of that shape."""
        return self.length * functional.normalize(embedding, dim=1)
'''

_METHOD_TEST = '''"""What every method keeps, of NAME; tests of your own stand beside it."""

from gtsearch.contracts import MethodContract


class TestNAME(MethodContract):
    asked = {"name": "NAME:Start", "length": 2.0}
'''

_EXPERIMENT = """name: NAME
task: {TASK}
weak:
  goal: {val_accuracy: 0.5, hold: 2, evaluate_every: 10}
  model: {WEAK}
  tune: {lr: {loguniform: [3e-3, 1e-1]}, weight_decay: {loguniform: [1e-1, 3]}, init_scale: {loguniform: [0.1, 1]}}
  start_from: [{lr: 0.05, weight_decay: 0.8, init_scale: 0.3}]
  budget: {configs_per_architecture: 4, max_epochs: 600}
  gate: {seeds: 3, at_least: 2}
  judge: {configs: 2, weak_seeds: 3, at_least: 2, later_snapshot: false}
target:
  goal: {val_accuracy: 0.95, hold: 2, evaluate_every: 5}
  model: {name: mlp, depth: 3, d_embed: 64, width: 128}
  methods: [METHODS]
  tune: {lr: {loguniform: [1e-3, 1e-1]}, weight_decay: {loguniform: [3e-1, 10]}, init_scale: {loguniform: [0.1, 2]}}
  start_from:
    scratch: [{lr: 0.05, weight_decay: 3, init_scale: 1}]
    transfer: [{lr: 0.02, weight_decay: 3, init_scale: 0.3}]
  budget: {configs: 4, max_epochs: 300}
report: {seeds: 5, at_least: 3}
"""

_SUMS = "name: modular_addition, p: 41, train_fraction: 0.4"
_MLP = "name: mlp, depth: 2, d_embed: [4, 8], width: [16, 24]"
_KINDS = {  # kind -> code, test, and what NAME.yaml says of task, weak model and methods
    "task": (_TASK, _TASK_TEST, 'name: "NAME:make_task", modulus: 41', _MLP, "transfer, scratch"),
    "model": (_MODEL, _MODEL_TEST, _SUMS, 'name: "NAME:CLASS", d_embed: [4, 8], width: [16, 32]', "transfer, scratch"),
    "method": (_METHOD, _METHOD_TEST, _SUMS, _MLP, 'transfer, scratch, "NAME:Start"'),
}


def write(kind: str, name: str, folder: Path) -> list[str]:
    """Writes NAME.py, test_NAME.py and NAME.yaml into `folder`; what to type next, in lines.

    Args:
        kind: `task`, `model` or `method`.

    Raises:
        GtsearchError: the name cannot be a module's, a file is there already, or the folder cannot be written.
    """
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        raise GtsearchError(f"`{name}` cannot be the name of a Python module; use letters, digits and `_`")
    if name in sys.stdlib_module_names or (importlib.util.find_spec(name) and not (folder / f"{name}.py").exists()):
        raise GtsearchError(f"there is a module `{name}` that Python finds first; choose another name")
    code, test, task, weak, methods = _KINDS[kind]
    experiment = _EXPERIMENT.replace("TASK", task).replace("WEAK", weak).replace("METHODS", methods)
    made = name.title().replace("_", "")
    named = f"{made}Sizes" if re.search(rf"\b{made}\b", code) else made  # it must not hide what the module imports
    files = {f"{name}.py": code, f"test_{name}.py": test, f"{name}.yaml": experiment}
    there = [file for file in files if (folder / file).exists()]
    if there:
        raise GtsearchError(f"{folder / there[0]} is there already; move it away, or choose another name")
    for file, text in files.items():
        with open(folder / file, "x", encoding="utf-8") as opened:
            opened.write(text.replace("TestNAME", f"Test{made}").replace("NAME", name).replace("CLASS", named))
    shown = shlex.quote(f"{name}.yaml")
    return [
        f"{name}.py        the {kind}: change it",
        f"test_{name}.py   what every {kind} must keep, tried on it",
        f"{name}.yaml      an experiment that uses it",
        "",
        "Type next:",
        f"  pytest test_{name}.py    (pip install pytest)",
        f"  gtsearch check {shown}",
        f"  gtsearch run {shown}",
    ]
