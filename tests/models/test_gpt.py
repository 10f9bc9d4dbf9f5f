"""The small GPT beside its contract: what a position may see, and tasks with an answer at every position."""

from __future__ import annotations

import pytest
import torch
from small_tasks import small
from torch.nn import functional
from training_kit import build, member, plan, train

from gtsearch import cost
from gtsearch.errors import SpecError
from gtsearch.losses import by_answer
from gtsearch.models.gpt import GptSizes, norm
from gtsearch.spec import parse_spec
from gtsearch.tasks.text import Text

TASK = Text(name="text", context=6, n_train=40, n_validation=20, n_test=20)
SIZES = GptSizes(name="gpt", d_embed=8, heads=2, layers=2)


def test_no_position_sees_a_later_one() -> None:
    module, x = build(0, sizes=SIZES, task=TASK, init_scale=1.0), TASK.splits(0).train.x
    other = x.clone()
    other[:, 4:] = (other[:, 4:] + 1) % TASK.d_vocab
    before, after = module(x), module(other)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_every_position_matters_to_the_last_and_is_told_apart() -> None:
    module, x = build(0, sizes=SIZES, task=TASK, init_scale=1.0), TASK.splits(0).train.x
    for position in range(6):
        other = x.clone()
        other[:, position] = (other[:, position] + 1) % TASK.d_vocab
        assert (module(x)[:, -1] - module(other)[:, -1]).abs().max() > 1e-4
    assert (module(x)[:, -1] - module(torch.cat([x[:, 1:2], x[:, :1], x[:, 2:]], dim=1))[:, -1]).abs().max() > 1e-4


def test_where_one_answer_is_asked_it_is_the_last_positions() -> None:
    last = TASK.model_copy(update={"answers": "last"})
    everywhere, one = (build(0, sizes=SIZES, task=task) for task in (TASK, last))
    x = TASK.splits(0).train.x
    torch.testing.assert_close(everywhere(x)[:, -1], one(x))


def test_the_norm_has_mean_0_and_variance_1() -> None:
    x = norm(3.0 + 5.0 * torch.randn(4, 7, 64))
    torch.testing.assert_close(x.mean(dim=-1), torch.zeros(4, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(dim=-1, correction=0), torch.ones(4, 7), atol=1e-3, rtol=0)


def test_loss_and_accuracy_are_means_over_all_answers() -> None:
    module = build(0, sizes=SIZES, task=TASK)
    splits = TASK.splits(0)
    with torch.no_grad():
        outputs, y = module(splits.validation.x), splits.validation.y
        loss = functional.cross_entropy(outputs.reshape(-1, TASK.n_classes), y.reshape(-1))
        right = (outputs.argmax(dim=-1) == y).double().mean()
    one = member(0, start={"sizes": SIZES, "task": TASK}, max_epochs=5)
    curve = train([one], plan(goal=None, evaluate_every=5), splits)["run-0"].curve
    assert curve[0]["val_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert curve[0]["val_accuracy"] == pytest.approx(float(right))
    assert curve[1]["train_loss"] < curve[0]["train_loss"]


def test_it_costs_the_products_of_every_position() -> None:
    """Forward and backward, two a multiply-add: of the projections 3 x 2 each; scores and what is taken likewise."""
    n, t, d, m, v = TASK.part_sizes[0], 6, 8, 32, TASK.d_vocab
    per_block = n * t * (4 * d * d + 2 * d * m) + n * 2 * t * t * d
    assert cost.of_architecture(SIZES, TASK).flops_per_epoch == 3 * 2 * (2 * per_block + n * t * d * v)


def test_answers_are_laid_in_rows() -> None:
    outputs, y = torch.randn(3, 4, 5, 2), torch.randint(2, (4, 5))
    rows, labels = by_answer(outputs, y)
    assert rows.shape == (3, 20, 2) and torch.equal(rows[1, 7], outputs[1, 1, 2]) and int(labels[7]) == int(y[1, 2])
    assert by_answer(outputs[0, 0], y[0])[0] is not None and by_answer(outputs[0, 0], y[0])[1].shape == (5,)


def test_only_models_that_answer_everywhere_take_such_a_task() -> None:
    tune = {"lr": 0.02, "weight_decay": 1, "init_scale": 0.5}
    content = {
        "name": "texts",
        "task": {**TASK.model_dump()},
        "target": {
            "goal": 0.5,
            "model": {"name": "mlp", "d_embed": 8, "width": 16},
            "methods": ["scratch"],
            "tune": tune,
            "budget": {"max_epochs": 50},
        },
    }
    with pytest.raises(SpecError, match=r"target\.model\.name: .* asks for an answer at every position, and `mlp`"):
        parse_spec(content)
    content["target"]["model"] = SIZES.model_dump()  # type: ignore[index]
    parse_spec(content)
    content["target"]["methods"] = ["scratch", "pca"]  # type: ignore[index]
    with pytest.raises(SpecError, match="looks at one label an example"):
        parse_spec(content)
    content["probes"] = ["separation"]
    content["target"]["methods"] = ["scratch"]  # type: ignore[index]
    with pytest.raises(SpecError, match="and no class; take the probe out"):
        parse_spec(content)


def test_sizes_that_do_not_fit_are_told() -> None:
    assert [key for key, _ in SIZES.problems(small("digits"))] == ["name"]
    assert [key for key, _ in SIZES.model_copy(update={"heads": 3}).problems(TASK)] == ["heads"]
