"""`gtsearch.transfer` among other people's tools: Hugging Face, torch.compile, several processes, and its page."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from two_processes import BATCHES, D_W, Tied, V, build, gradients

import gtsearch
from gtsearch.errors import GtsearchError
from gtsearch.factorised import FactorisedLookup, TiedHead

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "transfer.md").read_text()
IDS = torch.tensor([[3, 1, 4, 1, 5, 9]])


@pytest.fixture
def E_W() -> Tensor:
    return torch.randn(V, D_W, generator=torch.Generator().manual_seed(0))


# -- Hugging Face ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    """The module of their GPT-2, which is imported seconds long."""
    return importlib.import_module("transformers.models.gpt2")


def gpt2(hugging_face: Any, tied: bool = True) -> Any:
    sizes = {"vocab_size": V, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
    config = hugging_face.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, tie_word_embeddings=tied)
    return hugging_face.GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_gpt2_is_transferred_into_trained_and_generates(tied: bool, hugging_face: Any, E_W: Tensor) -> None:
    model = gpt2(hugging_face, tied)
    gtsearch.transfer(model, E_W, scale=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    lookup = model.transformer.wte
    assert model.get_input_embeddings() is lookup and isinstance(lookup, FactorisedLookup)
    assert isinstance(model.transformer.wpe, nn.Embedding)
    assert isinstance(model.lm_head, TiedHead if tied else nn.Linear)
    heads = [] if tied else ["lm_head.weight"]
    assert [key for key in model.state_dict() if "wte" in key or "head" in key] == [
        "transformer.wte.A",
        "transformer.wte.B",
        *heads,
    ]
    before = lookup.A.detach().clone()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and not torch.equal(lookup.A, before)
    hidden = model.transformer(IDS).last_hidden_state
    head = lookup.A @ lookup.B if tied else model.lm_head.weight
    torch.testing.assert_close(model(IDS).logits, hidden @ head.T)
    assert model.generate(IDS, max_new_tokens=3, min_new_tokens=3, do_sample=False).shape == (1, 9)


@pytest.mark.parametrize("tied", [True, False])
def test_gpt2_is_saved_and_loaded_as_its_own_class_once_it_is_merged(
    tied: bool, hugging_face: Any, E_W: Tensor, tmp_path: Path
) -> None:
    model = gtsearch.transfer(gpt2(hugging_face, tied), E_W)
    before = model(IDS).logits
    gtsearch.merge(model)
    assert (model.lm_head.weight is model.transformer.wte.weight) == tied
    model.save_pretrained(tmp_path)
    read, told = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert (read.lm_head.weight is read.transformer.wte.weight) == tied
    torch.testing.assert_close(read.eval()(IDS).logits, before, rtol=1e-4, atol=1e-4)


def test_gpt2_that_is_not_merged_is_loaded_by_its_state(hugging_face: Any, E_W: Tensor, tmp_path: Path) -> None:
    """What the page says: `from_pretrained` knows no A B, and a model that was transferred into does."""
    model = gtsearch.transfer(gpt2(hugging_face), E_W)
    model.save_pretrained(tmp_path)
    _, told = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert set(told["unexpected_keys"]) == {"transformer.wte.A", "transformer.wte.B"}
    fresh = gtsearch.transfer(gpt2(hugging_face), torch.zeros_like(E_W))
    fresh.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(fresh(IDS).logits, model(IDS).logits)
    for change in (lambda: model.tie_weights(), lambda: model.resize_token_embeddings(V + 1)):
        with pytest.raises((AttributeError, TypeError)):
            change()


def test_gpt2_of_another_vocabulary_is_refused(hugging_face: Any, E_W: Tensor) -> None:
    with pytest.raises(GtsearchError, match=r"has 10 rows and the model's `transformer\.wte` has 11"):
        gtsearch.transfer(gpt2(hugging_face), E_W[:10])


# -- torch.compile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_transferred_model_is_compiled_whole(backend: str) -> None:
    model = build(seed=1)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(IDS), model(IDS))
    compiled(IDS).square().sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(IDS).square().sum().backward()
    for one, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)


# -- several processes ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    script = HERE / "two_processes.py"
    commands = [[sys.executable, str(script), str(rank), str(tmp_path)] for rank in range(2)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in running:
        assert process.wait(timeout=120) == 0, process.communicate()[1]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    sharded = torch.load(tmp_path / "0-sharded.pt")
    alone = build(seed=0)  # B of the first process is everybody's
    gradients(alone, BATCHES[0])
    gradients(alone, BATCHES[1])
    assert list(first) == ["tokens.A", "tokens.B"]
    for name, parameter in alone.named_parameters():
        for value, gradient in (first[name], second[name]):
            assert torch.equal(value, parameter)
            torch.testing.assert_close(gradient, parameter.grad / 2)
        torch.testing.assert_close(sharded[name], parameter.grad / 2)


def wrapped_by_hand(model: nn.Module) -> nn.Module:
    """As in several processes, without any: what is refused is refused for what it is."""
    ddp = nn.parallel.DistributedDataParallel
    made = ddp.__new__(ddp)
    nn.Module.__init__(made)
    made.module = model
    return made


def test_a_model_that_is_wrapped_for_several_processes_is_refused(E_W: Tensor) -> None:
    wrapped = wrapped_by_hand(build(seed=0))
    for change in (lambda: gtsearch.transfer(wrapped, E_W), lambda: gtsearch.merge(wrapped)):
        with pytest.raises(GtsearchError, match="the model is wrapped in DistributedDataParallel"):
            change()
    with pytest.raises(GtsearchError, match="`0` is wrapped in DistributedDataParallel"):
        gtsearch.transfer(nn.Sequential(wrapped_by_hand(Tied())), E_W)


# -- the page -------------------------------------------------------------------------------------------------


BEGIN = """
import os, torch
from torch import nn
kept = []
"""
STEP = """
logits = model(torch.randint(113, (2, 5)))
getattr(logits, "logits", logits).logsumexp(-1).sum().backward()
optimizer.step()
"""
KEEP = """
kept.append(globals().get("model"))  # a DDP that goes after its process group may wait for it for ever
"""
END = """
assert compiled(torch.randint(113, (1, 5))).shape == (1, 5, 113)
print("all of it ran", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("seed", range(3))
def test_the_scale_of_the_page_begins_near_a_guess(hugging_face: Any, seed: int) -> None:
    [scale] = re.findall(r"gtsearch\.transfer\(model, E_W, scale=([\d.]+)\)", PAGE)
    torch.manual_seed(seed)
    sizes = {"vocab_size": 113, "n_positions": 16, "n_embd": 64, "n_layer": 2, "n_head": 4}
    model = hugging_face.GPT2LMHeadModel(hugging_face.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    x = torch.randint(113, (8, 16))
    gtsearch.transfer(model, torch.randn(113, 6), scale=float(scale))
    assert float(model(x, labels=x).loss.detach()) == pytest.approx(math.log(113), rel=0.05)


def test_all_code_on_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) > 8
    code = "".join(block + (STEP if "optimizer = " in block else "") + KEEP for block in blocks)
    code = code.replace("file:///tmp/...", f"file://{tmp_path}/meet")
    code = code.replace("torch.compile(model)", 'torch.compile(model, backend="eager")')  # a minute shorter
    script = [sys.executable, "-c", BEGIN + code + END]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout.endswith("all of it ran\n"), done.stderr
