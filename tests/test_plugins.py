"""Objects of somebody else's modules: found, checked, pinned, refused in one line; never loaded to look at a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from experiment_kit import settled

from gtsearch import catalog, cli, notebook, plugins, results
from gtsearch.errors import BrokenOff, ResultsError, SpecError
from gtsearch.spec import load_spec, parse_spec

SUMS = """
import torch

def make_task(seed: int, modulus: int = 7, train_fraction: float = 0.6):
    x = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, rest = order.split([int(train_fraction * len(x)), len(x) - int(train_fraction * len(x))])
    y = (x[:, 0] + x[:, 1]) % modulus
    return {"train": (x[train], y[train]), "validation": (x[rest], y[rest])}
"""

NET = """
import torch
from pydantic import Field
from torch import nn
from gtsearch.models import base

class Net(base.Model):
    def __init__(self, sizes, task):
        super().__init__()
        self.embedding = base.Embedding(task.d_vocab, sizes.d_embed)
        self.hidden = nn.Linear(task.n_tokens * sizes.d_embed, sizes.width, bias=False)
        self.readout = nn.Linear(sizes.width, task.n_outputs, bias=False)

    def features(self, x):
        return torch.relu(self.hidden(self.embedding.read(x).flatten(1)))

    def forward(self, x):
        return self.readout(self.features(x))

class Sizes(base.Sizes):
    d_embed: int = Field(ge=1)
    width: int = 16

    def module(self, task):
        return Net(self, task)
"""

METHOD = """
from gtsearch.methods.base import FactorisedStart

class Start(FactorisedStart):
    searches = {"embedding_scale": {"loguniform": [0.5, 8.0]}, "tilt": {"uniform": [0.5, 2.0]}}
    share: float = 1.0

    def factor(self, embedding, generator):
        return self.share * embedding
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; what was loaded from it is forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
    plugins._points.cache_clear()
    for known in (plugins._origins, plugins._objects):
        known.clear()  # type: ignore[attr-defined]


def experiment(task: Any, **changes: Any) -> dict[str, Any]:
    tune = {"lr": 0.02, "weight_decay": 1, "init_scale": 0.5}
    target = {
        "goal": 0.5,
        "model": {"name": "mlp", "d_embed": 8, "width": 16},
        "methods": ["scratch"],
        "tune": tune,
        "budget": {"max_epochs": 100},
    }
    return {"name": "mine", "task": task, "target": target, **changes}


def write(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    return name


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as refused:
        parse_spec(content)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# -- where they are found ---------------------------------------------------------------------------------------------


def test_a_module_is_found_beside_the_experiment_here_and_in_packages(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    write(folder / "elsewhere", "beside_sums", SUMS)
    write(folder, "here_sums", SUMS)
    (folder / "package_sums" / "inner").mkdir(parents=True)
    (folder / "package_sums" / "__init__.py").write_text("")
    (folder / "package_sums" / "inner" / "__init__.py").write_text("")
    write(folder / "package_sums" / "inner", "data", SUMS)
    file = folder / "elsewhere" / "my.yaml"
    tune = "{lr: 0.02, weight_decay: 1, init_scale: 0.5}"
    model = "{name: mlp, d_embed: 8, width: 16}"
    for module, place in (
        ("beside_sums", folder / "elsewhere"),
        ("here_sums", folder),
        ("package_sums.inner.data", folder),
    ):
        rest = f"target: {{goal: 0.5, methods: [scratch], model: {model}, tune: {tune}, budget: {{max_epochs: 90}}}}"
        file.write_text(f'name: mine\ntask: {{name: "{module}:make_task", modulus: 5}}\n{rest}\n')
        spec = load_spec(file)
        assert spec.task.d_vocab == spec.task.n_classes == 5 and sum(spec.task.part_sizes) == 25
        assert {name: one.folder for name, one in spec.modules.items()} == {module: str(place)}
        (folder / "spec.yaml").write_text(spec.to_yaml())
        assert load_spec(folder / "spec.yaml") == spec


def test_the_three_kinds_may_be_of_modules_and_add_to_the_search(folder: Path) -> None:
    names = [write(folder, *one) for one in (("k_sums", SUMS), ("k_net", NET), ("k_method", METHOD))]
    content = experiment({"name": "k_sums:make_task"})
    tune = {"lr": 0.02, "weight_decay": 1, "init_scale": 0.5}
    content["weak"] = {"goal": 0.3, "model": {"name": "k_net:Sizes", "d_embed": [2, 4]}, "tune": tune}
    content["target"] |= {"model": {"name": "k_net:Sizes", "d_embed": 8, "width": 32}}
    content["target"] |= {"methods": ["transfer", "scratch", "k_method:Start"], "tune": {**tune, "tilt": [1, 2]}}
    content["target"] |= {"options": {"k_method:Start": {"share": 0.5}}}
    spec = parse_spec(content)
    assert sorted(spec.modules) == sorted(names)
    assert spec.weak is not None and [one.label for one in spec.weak.model.architectures] == [
        "sizes-d2-width16",
        "sizes-d4-width16",
    ]
    assert spec.target.method("k_method:Start").model_dump()["share"] == 0.5
    assert "tilt" in spec.method_space("k_method:Start") and "tilt" not in spec.method_space("transfer")
    assert parse_spec(spec.model_dump()) == spec
    content["target"]["options"] = {"k_method:Start": {"shore": 0.5}}
    assert refusal(content).startswith("target.options.k_method:Start.shore: there is no key `shore`; did you mean")


def test_nothing_in_a_folder_takes_the_place_of_an_installed_module(folder: Path) -> None:
    write(folder, "tomllib", SUMS)
    refused = refusal(experiment({"name": "tomllib:make_task"}))
    assert "is not the one that Python imports by that name, which is " in refused
    assert "; give yours another name (in a program or notebook that has read another experiment, " in refused
    put = f"; put nowhere.py into {folder}, or say where it is: `modules: {{nowhere: {{folder: ...}}}}`"
    assert refusal(experiment({"name": "nowhere:make_task"})).endswith(put)
    write(folder, "d_sums", SUMS)
    parse_spec(experiment({"name": "d_sums:make_task"}))
    import tomllib

    assert str(folder) in sys.path and str(folder) not in str(tomllib.__file__)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("b_nowhere:make_task", "task.name", "there is no module `b_nowhere` in "),
        ("b_sum:make_task", "task.name", "did you mean `b_sums`?"),
        ("b_sums.py:make_task", "task.name", "write its name without `.py`"),
        ("b_sums:make_tusk", "task.name", "has no `make_tusk`; did you mean `make_task`?"),
        ("b_sums:", "task.name", "must be `module:object`"),
        ("__main__:make_task", "task.name", "put it into a file"),
        ("b_raises:make_task", "task.name", "cannot be imported: ZeroDivisionError: division by zero (b_raises.py:2)"),
        ("b_exits:make_task", "task.name", "cannot be imported: SystemExit: 3 (b_exits.py:1)"),
        ("b_syntax:make_task", "task.name", "cannot be imported: SyntaxError: "),
        ("b_needs:make_task", "task.name", "cannot be imported: ModuleNotFoundError: No module named 'b_absent'"),
        ("b_odd:number", "task.name", "is a int; it must be a class made from gtsearch.tasks.base.Task, or a function"),
        ("b_odd:Plain", "task.name", "is the class Plain; it must be"),
        ("b_odd:Half", "task.name", "lacks what a Task must have: d_vocab, n_classes"),
        ("b_odd:no_seed", "task.name", "must take `seed`"),
        ("b_odd:any_more", "task.name", "name its parameters"),
        ("b_odd:of_a_task", "task.name", "is called `title`, which a task has; rename it"),
        ("b_odd:of_tensors", "task.name", "a Tensor as its default"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(folder: Path, name: str, path: str, words: str) -> None:
    write(folder, "b_sums", SUMS)
    write(folder, "b_raises", "x = 1\n1 / 0\n")
    write(folder, "b_exits", "raise SystemExit(3)\n")
    write(folder, "b_syntax", "def f(:\n")
    write(folder, "b_needs", "import b_absent\n")
    write(
        folder,
        "b_odd",
        "import torch\nfrom gtsearch.tasks.base import Task\nnumber = 3\nclass Plain: pass\n"
        "class Half(Task):\n    def n_tokens(self): pass\n    title = part_sizes = splits = property(n_tokens)\n"
        "def no_seed(p=3): pass\ndef any_more(seed, **more): pass\ndef of_a_task(seed, title='x'): pass\n"
        "def of_tensors(seed, x=torch.zeros(2)): pass\n",
    )
    told = refusal(experiment({"name": name}))
    assert told.startswith(f"{path}: ") and words in told


def test_a_name_that_is_on_no_menu_is_answered_as_ever(folder: Path) -> None:
    assert "did you mean `table`?" in refusal(experiment({"name": "tabel"}))
    content = experiment({"name": "modular_addition", "p": 7})
    content["target"]["methods"] = ["scratch", "nowhere:Method"]
    assert refusal(content).startswith("target.methods[1]: there is no module `nowhere`")
    content["target"] |= {"methods": ["scratch"], "model": {"name": "nowhere:Sizes", "d_embed": 3}}
    assert refusal(content).startswith("target.model.name: there is no module `nowhere`")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            NET.replace("self.readout(self.features(x))", "self.features(x)"),
            "its outputs for 3 examples must be [3, 7]",
        ),
        (NET.replace("sizes.width, bias=False)", "sizes.with_, bias=False)", 1), "has no attribute 'with_' (m_net"),
        (NET.replace("base.Embedding(", "nn.Embedding("), "must give a gtsearch.models.base.Model that has"),
        (NET.replace("bias=False)\n\n", "bias=False)\n        self.norm = nn.LayerNorm(3)\n\n", 1), "a LayerNorm"),
        (NET.replace("task.d_vocab, ", "task.d_vocab + 1, "), "its embedding must be [7, 4], not [8, 4]"),
    ],
    ids=range(5),
)
def test_a_model_that_does_not_work_is_one_line(folder: Path, text: str, words: str) -> None:
    content = experiment({"name": "modular_addition", "p": 7})
    assert text != NET
    content["target"]["model"] = {"name": f"{write(folder, f'm_net{abs(hash(words))}', text)}:Sizes", "d_embed": 4}
    told = refusal(content)
    assert told.startswith("target.model: ") and words in told


def test_a_method_or_a_class_of_tasks_that_does_not_work_is_one_line(folder: Path) -> None:
    write(folder, "w_method", METHOD.replace("self.share * embedding", "1 / 0").replace("def factor", "def start"))
    write(folder, "w_searches", METHOD.replace('{"uniform": [0.5, 2.0]}', '{"unifrom": [1, 2]}'))
    write(
        folder,
        "w_task",
        "from gtsearch.tasks.xor import XorClusters\nclass Wrong(XorClusters):\n"
        "    def draw(self, n, generator):\n        part = super().draw(n, generator)\n"
        "        return type(part)(part.x[:, 1:], part.y)\n",
    )
    content = experiment({"name": "modular_addition", "p": 7})
    content["target"]["methods"] = ["scratch", "w_searches:Start"]
    assert refusal(content).startswith("target.methods[1]: the `searches` of `w_searches:Start`")
    xor = experiment({"name": "w_task:Wrong", "p": 16, "n_train": 5})
    xor["target"] |= {"model": {"name": "xor_net", "d_embed": 4}, "goal": 0.9}
    assert (
        refusal(xor) == "task: `w_task:Wrong`: x of train must be [5, 16] float32, not [5, 15] float32; mend it there"
    )


# -- that they stay what they were -------------------------------------------------------------------------------------


def test_a_module_that_was_changed_is_refused_here_and_in_a_worker(folder: Path) -> None:
    write(folder, "c_sums", SUMS)
    spec = parse_spec(experiment({"name": "c_sums:make_task"}))
    modules = {name: one.model_dump() for name, one in spec.modules.items()}
    plugins.restore(modules)
    write(folder, "c_sums", SUMS + "\n# another\n")
    assert "was changed since this process loaded it; start anew" in refusal(experiment({"name": "c_sums:make_task"}))
    plugins._origins.clear()
    told = refusal(spec.model_dump())
    assert told.startswith("task.name: the module `c_sums` (") and "restore it, or take `modules` out" in told
    with pytest.raises(BrokenOff, match=r"a worker on .* cannot use what the experiment names: the module `c_sums`"):
        plugins.restore(modules)
    with pytest.raises(BrokenOff, match="there is no module `c_gone`"):
        plugins.restore({"c_gone": {"folder": str(folder), "sha256": None}})


def test_all_files_of_a_package_count(folder: Path) -> None:
    (folder / "c_package").mkdir()
    (folder / "c_package" / "__init__.py").write_text("")
    write(folder / "c_package", "data", SUMS)
    pinned = parse_spec(experiment({"name": "c_package.data:make_task"})).model_dump()
    write(folder / "c_package", "beside", "x = 1\n")
    plugins._origins.clear()
    assert "was changed" in refusal(pinned)


# -- entry points ------------------------------------------------------------------------------------------------------


def install(folder: Path, package: str, points: str) -> None:
    """A package that offers something, as pip leaves it."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    plugins._points.cache_clear()


def test_installed_packages_put_names_on_the_menus_lazily(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    write(folder, "e_sums", SUMS)
    write(folder, "e_broken", "1 / 0\n")
    install(
        folder,
        "offers",
        "[gtsearch.tasks]\nsums_of_theirs = e_sums:make_task\nmnist = e_broken:Mnist\nbroken = e_broken:x\n",
    )
    assert plugins.offered("task") == ["broken", "mnist", "sums_of_theirs"]
    assert catalog.load("task", "mnist").__module__ == "gtsearch.tasks.images"
    spec = parse_spec(experiment({"name": "sums_of_theirs"}))
    assert spec.task.name == "sums_of_theirs" and list(spec.modules) == ["e_sums"]
    assert "e_broken" not in sys.modules
    assert "did you mean `sums_of_theirs`?" in refusal(experiment({"name": "sum_of_theirs"}))
    assert refusal(experiment({"name": "broken"})).startswith("task.name: the module `e_broken` cannot be imported: ")
    [line] = plugins.clashes(catalog.MENUS)
    assert line.startswith("note: the package offers offers a task `mnist`") and "`e_broken:Mnist`" in line
    install(folder, "too", "[gtsearch.tasks]\nsums_of_theirs = e_other:make_task\n")
    assert "several packages offer a task `sums_of_theirs`" in refusal(experiment({"name": "sums_of_theirs"}))


# -- looking at what somebody else made --------------------------------------------------------------------------------


def test_looking_at_a_run_folder_imports_no_module_that_it_names(folder: Path) -> None:
    write(folder, "l_sums", SUMS)
    run = folder / "run"
    run.mkdir()
    spec = parse_spec(experiment({"name": "l_sums:make_task"}))
    (run / "spec.yaml").write_text(spec.to_yaml())
    results.write_json(run / "environment.json", {"schema": results.SCHEMA})
    (run / "members.log").write_text("")
    marker = folder / "was_run"
    write(folder, "l_sums", SUMS + f"open({str(marker)!r}, 'w')\n")
    words = "names `l_sums:make_task`, which is somebody's code"
    with pytest.raises(ResultsError, match=rf"{words}.* in a run of your own `gtsearch resume` imports it"):
        notebook.look(run)
    plugins._origins.clear()
    plugins._objects.clear()
    sys.modules.pop("l_sums")
    for command in (["report", str(run)], ["runs", str(folder)], ["export", str(run)], ["breakeven", str(run)]):
        cli.main(command)
    assert not marker.exists() and "l_sums" not in sys.modules
    assert cli.main(["check", "run/spec.yaml"]) == cli.MISTAKE
    assert marker.exists()  # `check` runs it, and refuses what was changed


# -- in Ray's workers --------------------------------------------------------------------------------------------------

OWN = """
name: own
task: {name: "r_sums:make_task", modulus: 17, train_fraction: 0.75}
weak:
  goal: none
  model: {name: "r_net:Sizes", d_embed: [4, 8], width: 24}
  tune: {lr: {loguniform: [2e-2, 1e-1]}, weight_decay: 0.8, init_scale: 0.3}
  budget: {configs_per_architecture: 2, max_epochs: 120}
  gate: {seeds: 2, at_least: 1}
  judge: {configs: 1, weak_seeds: 1, at_least: 1, candidates_per_architecture: 1, later_snapshot: false}
target:
  goal: 0.15
  model: {name: mlp, depth: 3, d_embed: 16, width: 32}
  methods: [transfer, scratch, "r_method:Start"]
  tune: {lr: 0.05, weight_decay: 2, init_scale: 1, embedding_scale: 1, tilt: 1}
  budget: {configs: 1, max_epochs: 120}
  gate: {configs: 1, seeds: 1}
report: {seeds: 2, at_least: 1, weak_tries: 2}
"""


@pytest.mark.slow
def test_two_workers_use_them_and_a_resume_from_elsewhere_goes_on(tmp_path: Path) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    mine.mkdir()
    elsewhere.mkdir()
    for name, text in (("r_sums", SUMS), ("r_net", NET), ("r_method", METHOD)):
        write(mine, name, text)
    (mine / "own.yaml").write_text(OWN)

    def gtsearch(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "gtsearch", *words]
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=600)

    done = gtsearch("run", "../mine/own.yaml", "--workers", "2", "--out", "run")
    assert done.returncode in (0, 1), done.stderr
    run = elsewhere / "run"
    first = results.load_results(run)
    assert set(first.trials["status"]) & {"cleared"} and not set(first.trials["status"]) & {"failed"}
    assert set(first.trials["task"]) == {"r_sums:make_task"}
    assert {"transfer", "scratch", "r_method:Start", "weak"} == set(first.trials["method"])
    # As if it had been killed half way; the workers of a resume know no more than the run folder says.
    half = elsewhere / "half"
    shutil.copytree(run, half)
    for path in (*half.glob("*.parquet"), half / "summary.json"):
        path.unlink()
    lines = (half / "members.log").read_text().splitlines(keepends=True)
    (half / "members.log").write_text("".join(lines[: len(lines) // 2]))
    resumed = gtsearch("resume", "half", "--workers", "2")
    assert resumed.returncode == done.returncode, resumed.stderr
    assert settled(results.load_results(half).trials).equals(settled(first.trials))
    write(mine, "r_net", NET + "\n# another\n")
    refused = gtsearch("resume", "half")
    assert refused.returncode == 2 and "r_net" in refused.stderr and "was changed" in refused.stderr
    assert gtsearch("report", "half").returncode == 0  # of a finished run, nothing is imported
