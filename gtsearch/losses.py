"""Losses: outputs and labels in, one number out. Each is a plain function on the menu.

`outputs` [n, n_outputs], `y` [n] int64 in [0, n_classes). With one output the label 1 counts as +1 and 0 as -1, and
an output of exactly 0 is wrong for both (method.md section 5, Lemma 3.1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from gtsearch.tasks.base import Task

Loss = Callable[[Tensor, Tensor], Tensor]
ONE_OUTPUT = ("logistic", "exponential", "mse")
MANY_OUTPUTS = ("cross_entropy", "stablemax", "mse")


def misfit(name: str, task: Task) -> str | None:
    """Why the loss `name` cannot train a model of `task`; None where it can."""
    fitting = ONE_OUTPUT if task.n_outputs == 1 else MANY_OUTPUTS
    if name in fitting:
        return None
    outputs = "one output" if task.n_outputs == 1 else f"{task.n_outputs} outputs"
    return f"does not fit {task.title}, whose models have {outputs}; choose one of {', '.join(fitting)}, not `{name}`"


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Of several outputs; the usual one.

    Mean of -log softmax(outputs)[y], over two outputs or more.
    """
    return functional.cross_entropy(outputs, y)


def stablemax(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy without exponentials, which does not run out of float32.

    It has s(z) / sum s in place of softmax: s(z) = z + 1 for z >= 0, else 1 / (1 - z). Grows linearly where exp would
    overflow what float32 resolves (Prieto et al. 2025, "Grokking at the edge of numerical stability", equation 7).
    """
    # s = exp(log s), and log s is finite for every finite z where s itself is not: softmax of log s is s / sum s.
    # clamp lets the gradient through at 0, where sign(z) log1p|z| would lose it.
    log_s = torch.where(outputs >= 0, outputs.clamp_min(0.0).log1p(), -(-outputs.clamp_max(0.0)).log1p())
    return functional.cross_entropy(log_s, y)


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared distance from the one-hot label or, with one output, from the sign; the usual one of images.

    The mean of it, as in Omnigrok (Liu et al. 2023).
    """
    if outputs.shape[-1] == 1:
        return functional.mse_loss(outputs.squeeze(-1), signs(y, outputs))
    classes = torch.arange(outputs.shape[-1], device=y.device)
    return functional.mse_loss(outputs, (y[:, None] == classes).to(outputs.dtype))


def logistic(outputs: Tensor, y: Tensor) -> Tensor:
    """log(1 + exp(-s f)), s the label as +-1, of one output f; the usual one of the parities.

    The mean of it.
    """
    return functional.softplus(-signs(y, outputs) * outputs.squeeze(-1)).mean()


def exponential(outputs: Tensor, y: Tensor) -> Tensor:
    """exp(-s f), s the label as +-1, of one output f; the usual one of XOR clusters.

    The mean of it.
    """
    return torch.exp(-signs(y, outputs) * outputs.squeeze(-1)).mean()


def slope(loss: Loss, outputs: Tensor, y: Tensor) -> Tensor:
    """The derivative of n times the loss, which is the sum over n examples, by `outputs` [n, n_outputs], of that shape.
    `outputs` may be used up."""
    if loss is cross_entropy:
        # softmax - onehot, in place: a third of the passes over memory that autograd makes.
        softmax = torch.softmax(outputs, dim=1, out=outputs)
        return softmax.scatter_add_(1, y[:, None], outputs.new_full((len(y), 1), -1.0))
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        (found,) = torch.autograd.grad(len(y) * loss(leaf, y), leaf)
    return found


def by_answer(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and labels with a row an answer, as losses and `is_right` take them: of a task that answers at every
    position, outputs [..., n, answers, n_outputs] and y [n, answers] become [..., n answers, n_outputs] and
    [n answers]. Of any other both are given back."""
    return (outputs, y) if y.dim() == 1 else (outputs.flatten(-3, -2), y.flatten())


def signs(y: Tensor, like: Tensor) -> Tensor:
    """Labels 0 and 1 as -1 and +1, in the dtype of `like`."""
    return (2 * y - 1).to(like.dtype)


def is_right(outputs: Tensor, y: Tensor) -> Tensor:
    """Which examples are told right (bool [..., n]): the largest output is the label's; with one output its sign,
    strictly: exactly 0 is wrong for both classes. `outputs` [..., n, n_outputs]."""
    if outputs.shape[-1] == 1:
        return outputs.squeeze(-1) * signs(y, outputs) > 0
    return outputs.max(dim=-1).indices == y  # the same as argmax, which takes twice as long on a CPU
