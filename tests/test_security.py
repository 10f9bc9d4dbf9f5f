"""What SECURITY.md promises, promise by promise."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import textwrap
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
import torch
from run_folders import copy, forget_the_end, small_story, write_run

from gtsearch import cli, embedding, experiment, export, listing, notebook, results, salvage, trust
from gtsearch.analysis import asked, predictors, style
from gtsearch.analysis import embedding as figure
from gtsearch.analysis.report import write_report
from gtsearch.errors import EmbeddingError, GtsearchError, ResultsError, SpecError, TaskError
from gtsearch.identity import file_name
from gtsearch.methods import fixed_file
from gtsearch.spec import load_spec
from gtsearch.tasks import expression, files

ROOT = Path(__file__).parent.parent
EVIL = "<script>alert(1)</script>\"'&]]>--><img src=x onerror=alert(2)>"
STEERS = "\x1b]0;owned\x07\x1b[2J\rdone\n\x9b31m\u202e"
"""Sets a terminal's title, clears it, and writes over a line."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("security") / "run", small_story())


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return copy(finished, tmp_path / "run")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- nothing that is read is run --------------------------------------------------------------------------------------

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {"os.system", "os.popen", "pd.read_pickle", "pandas.read_pickle", "yaml.unsafe_load"}
FORBIDDEN_ATTRIBUTES |= {"yaml.full_load", "torch.hub.load", "torch.jit.load", "torch.package"}
SAFE_LOADERS = {"_Loader", "yaml.SafeLoader"}


def wrong(call: ast.Call) -> str | None:
    """What is wrong with a call; None: nothing."""
    name, named = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
    if name in FORBIDDEN_CALLS | FORBIDDEN_ATTRIBUTES:
        return name
    if name == "torch.load" and named.get("weights_only") != "True":
        return "torch.load without weights_only"
    if name in ("yaml.load", "yaml.load_all", "yaml.compose") and named.get("Loader") not in SAFE_LOADERS:
        return f"{name} by {named.get('Loader')}"
    if name == "np.load" and named.get("allow_pickle") != "False":
        return "np.load with pickle"
    if named.get("allow_pickle", "False") != "False" or named.get("shell", "False") != "False":
        return f"{name} with allow_pickle or shell"
    return None


def mistakes(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES)
        if isinstance(node, ast.Call) and (found := wrong(node)):
            yield found
        if isinstance(node, ast.ClassDef) and node.name == "_Loader":
            assert [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]


def test_the_source_has_nothing_that_runs_what_it_reads() -> None:
    folders = ("gtsearch", "analysis", "search_spaces", "benchmarks", "tools", "faults")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    assert {str(p.relative_to(ROOT)): found for p in sources if (found := list(mistakes(p.read_text())))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_the_reader_of_the_source_sees_each(source: str) -> None:
    assert list(mistakes(source))


class Owns:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_in_a_file_is_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    objects = np.array([Owns(owned)], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=objects, y=np.array([0, 1]))
    torch.save(Owns(owned), tmp_path / "torch.safetensors")
    for name in ("plain.npy", "plain.npz", "plain.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Owns(owned)))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises((EmbeddingError, TaskError)):
            files.arrays(path, ("x", "y")) if path.suffix == ".npz" else fixed_file.read(path)
    assert not owned.exists()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(Owns(tmp_path / "no" / "owned")))  # it would have been made


@pytest.mark.parametrize("value", ["!!python/object/apply:os.mkdir [owned]", "&a [*a]", "!!python/name:os.mkdir"])
def test_yaml_makes_no_objects_and_no_aliases(value: str, tmp_path: Path, run: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"name: {value}\n")
    with pytest.raises(SpecError, match="cannot be read as YAML: anchors, aliases and tags are not used"):
        load_spec(path)
    (run / results.SPEC).write_text(f"name: {value}\ntask: {{name: x}}\n")
    edit(run / results.ENVIRONMENT, spec_sha256=None)
    with pytest.raises(ResultsError, match=r"spec\.yaml is damaged"):
        asked.experiment(results.load_results(run))
    assert not Path("owned").exists()


def test_a_few_lines_of_yaml_do_not_fill_the_memory(run: Path) -> None:
    lines = ["a0: &a0 [1, 1]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 64))]
    for text in ("\n".join(lines), "a: " + "[" * 100_000):
        with pytest.raises(ResultsError, match="is damaged"):
            asked.name(run, text)


# -- files that have no end -------------------------------------------------------------------------------------------


def npy_header(shape: tuple[int, ...]) -> bytes:
    text = str({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_has_no_end_is_not_read(kind: str, tmp_path: Path) -> None:
    for suffix in ("npy", "safetensors", "npz", "csv"):
        path = tmp_path / f"endless.{suffix}"
        os.mkfifo(path) if kind == "a pipe" else path.symlink_to("/dev/zero")
        with pytest.raises(GtsearchError, match="it is not a plain file"):
            if suffix == "csv":
                load_spec("smoke", [f"task={{name: table, file: {path}}}"])
            elif suffix == "npz":
                files.arrays(path, ("x",))
            else:
                fixed_file.read(path)


def test_a_header_that_asks_for_more_than_there_is_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.npy").write_bytes(npy_header((10**9, 10**9)))
    table = {"E_W": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
    header = json.dumps({"__metadata__": {"gtsearch": "{}"}} | table).encode()
    (tmp_path / "large.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (tmp_path / "header.safetensors").write_bytes(struct.pack("<Q", 2**62))
    for name in ("large.npy", "large.safetensors", "header.safetensors"):
        with pytest.raises(EmbeddingError, match=name):
            fixed_file.read(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("x.npy", npy_header((10**9, 10**9)))
    with pytest.raises(TaskError, match=r"large\.npz cannot be read"):
        files.arrays(tmp_path / "large.npz", ("x",))


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 2**20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(2**18), y=np.zeros(1))
    assert path.stat().st_size < 2**14
    with pytest.raises(TaskError, match=r"bomb\.npz cannot be read \(it unpacks to"):
        files.arrays(path, ("x", "y"))
    assert len(files.arrays(save(tmp_path / "small.npz"), ("x",))[0]) == 3


def save(path: Path) -> Path:
    np.savez(path, x=np.zeros(3))
    return path


@pytest.mark.parametrize(
    ("E_W", "header", "says"),
    [
        (torch.zeros(()), {}, "must hold a table"),
        (torch.zeros(3, 0), {}, "must hold a table"),
        (torch.zeros(3, 2, dtype=torch.int64), {}, "must hold a table"),
        (torch.zeros(3, 2), {"task": [1]}, "its task is no mapping"),
    ],
)
def test_an_embedding_is_a_table_with_a_header(
    E_W: torch.Tensor, header: dict[str, Any], says: str, tmp_path: Path
) -> None:
    embedding.write(tmp_path / "E.safetensors", E_W, header)
    with pytest.raises(EmbeddingError, match=says):
        embedding.read(tmp_path / "E.safetensors")


@pytest.mark.parametrize("text", ["(" * 199, "-" * 199, "x^64" * 50, "9" * 200, "(" * 30 + "x" + ")" * 30 + "^64" * 10])
def test_an_expression_is_read_in_no_time_whatever_it_is(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(TaskError) if not text.isdigit() else pytest.MonkeyPatch.context():
        expression.parse(text)
    assert time.perf_counter() - began < 1.0


def test_the_largest_expression_is_worked_out_in_no_time() -> None:
    deep = "((x^64)^64 * y / (x + 1))" + "*x/y" * 40
    tokens = torch.arange(113)
    began = time.perf_counter()
    values, _ = expression.parse(deep).over(*torch.cartesian_prod(tokens, tokens).T, 113)
    assert time.perf_counter() - began < 5.0 and 0 <= int(values.min()) <= int(values.max()) < 113


# -- nothing is written or read outside -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../x", "/x", "~", "~root", "a/b", ".", "..", ".hidden", "-rf", "", "a\nb", "a\0b", "x" * 300, "a;b", "$(a)"],
)
def test_the_name_of_an_experiment_is_the_name_of_a_folder_and_no_path(name: str) -> None:
    with pytest.raises(SpecError, match="name: it names the run folder"):
        load_spec("smoke", [f"name={json.dumps(name)}"])


def test_an_exported_file_lies_where_it_was_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    read = results.load_results(run)
    winner = read.summary["weak"]["pays"]
    winner["handed_run_id"] = None
    path = run / "embeddings" / f"{winner['run_id']}-e100.safetensors"
    embedding.write(path, torch.ones(3, 2), {"val_accuracy": 0.5, "epoch": 100})
    before = everything(tmp_path)
    export.export(replace(read, summary=read.summary | {"name": "../../../evil; $(x)"}))
    name = f"_._.._.._evil____x_-{winner['architecture']}"
    assert everything(tmp_path) - before == {Path("a/b") / f"{name}.{suffix}" for suffix in ("safetensors", "py")}


def everything(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_file_names_stay_short_and_plain() -> None:
    assert file_name("modadd", "mlp-d4-w16-L2") == "modadd-mlp-d4-w16-L2"
    assert file_name("") == "_" and file_name("..") == "_." and len(file_name("x" * 999)) == 60
    assert "/" not in file_name("a/b", "\0\n")


@pytest.mark.parametrize("run_id", ["../outside", "*", "../*", "[a-z]*", "**/x"])
def test_an_embedding_is_looked_for_in_the_run_folder_by_its_whole_name(run_id: str, run: Path) -> None:
    embedding.write(run / "outside-e1.safetensors", torch.ones(3, 2), {})
    embedding.write(run / "embeddings" / "aa-e1.safetensors", torch.ones(3, 2), {})
    with pytest.raises(ResultsError, match="is gone"):
        export._certified(run, run_id)
    assert figure._file(results.load_results(run), run_id) is None
    assert export._certified(run, "aa").name == "aa-e1.safetensors"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.safetensors", "embeddings/../../x.safetensors", "a\0b"])
def test_a_path_out_of_a_log_does_not_lead_out_of_the_run_folder(path: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "embeddings").mkdir(parents=True)
    with pytest.raises(EmbeddingError, match="leads out of the run folder"):
        embedding.within(tmp_path / "run", path)
    inside = embedding.within(tmp_path / "run", "embeddings/x.safetensors")
    assert inside == tmp_path.resolve() / "run/embeddings/x.safetensors"


def test_a_worker_reads_no_embedding_from_elsewhere(tmp_path: Path) -> None:
    from gtsearch.trainables import TargetTrainable

    embedding.write(tmp_path / "secret.safetensors", torch.ones(3, 2), {})
    sha256 = hashlib.sha256((tmp_path / "secret.safetensors").read_bytes()).hexdigest()
    trainable = TargetTrainable()
    trainable.folder = tmp_path / "run"
    trainable.folder.mkdir()
    source = {"path": "../secret.safetensors", "sha256": sha256}
    with pytest.raises(GtsearchError, match="leads out of the run folder"):
        trainable._embedding({"embedding": source}, None)  # type: ignore[arg-type]  # it is refused before


LINKED = [
    "members.log",
    "spec.yaml",
    "summary.json",
    "report.html",
    "study.log",
    "figures",
    "embeddings",
    "embeddings/x",
]


@pytest.mark.parametrize("name", LINKED)
def test_a_run_folder_with_a_link_that_leads_out_is_refused(name: str, run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not to be told, and not to be changed")
    link = run / name
    if link.is_dir():
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    for use in (results.load_results, salvage.look, experiment.resume):
        with pytest.raises(ResultsError, match="leads out of the run folder"):
            use(run)
    assert secret.read_text() == "not to be told, and not to be changed"
    assert "leads out of the run folder" in "\n".join(listing.runs_table(listing.runs(tmp_path))) or name == "spec.yaml"


def test_a_pipe_in_a_run_folder_is_refused_and_a_link_within_it_is_not(run: Path) -> None:
    (run / "copy.log").symlink_to(run / results.LOG)
    trust.refuse_links(run)
    (run / "loop").symlink_to(run / "loop")
    with pytest.raises(ResultsError, match="leads out of"):
        trust.refuse_links(run)
    (run / "loop").unlink()
    os.mkfifo(run / "report.html")
    with pytest.raises(ResultsError, match=r"report\.html is neither a file nor a folder"):
        trust.refuse_links(run)


def test_json_that_is_nested_endlessly_is_a_damaged_file(run: Path) -> None:
    deep = "[" * 200_000
    for name in (results.SUMMARY, results.ENVIRONMENT):
        other = copy(run, run.with_name(f"deep-{name}"))
        (other / name).write_text(deep)
        with pytest.raises(ResultsError, match=f"{name} is damaged"):
            results.load_results(other)
        assert salvage.look(other).notes
    forget_the_end(run)
    with (run / results.LOG).open("a") as log:
        log.write(f"{deep}\n{{}}\n")
    with pytest.raises(ResultsError, match="damaged"):
        list(results.members(run / results.LOG))
    assert any("damaged" in note for note in salvage.look(run).notes)


# -- texts are texts --------------------------------------------------------------------------------------------------


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {renamed(key, names): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def hostile(run: Path) -> results.Results:
    """A run in which every text that data hold is EVIL."""
    read = results.load_results(run)
    architecture = read.summary["weak"]["pays"]["architecture"]
    summary = renamed(read.summary, {architecture: EVIL})
    trials = read.trials.assign(
        architecture=read.trials["architecture"].replace(architecture, EVIL),
        host=EVIL,
        device=EVIL,
        error=EVIL,
    ).astype(read.trials.dtypes)
    known = ("host", "git_revision", "platform", "started", "python")
    environment = read.environment | dict.fromkeys(known, EVIL)
    environment |= {"device_names": [EVIL], "command": [EVIL], "versions": {EVIL: EVIL}}
    return replace(
        read,
        summary=summary | {"name": EVIL, "title": EVIL, "warnings": [EVIL]},
        trials=trials,
        environment=environment,
        spec_text=f"{read.spec_text}# {EVIL}\n",
        notes=(EVIL,),
    )


def test_the_report_and_its_figures_take_nothing_from_data_for_markup(hostile: results.Results) -> None:
    page = write_report(hostile).read_text()
    assert page.count("<script") == page.count("</script") == 2, "the members, as JSON, and the page's own"
    assert "<img src=x" not in page and unescape(page).count(EVIL) > 10
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "default-src 'none'" in policy[1] and "unsafe-eval" not in policy[1]
    drawn = [base64.b64decode(text) for text in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page)]
    drawn += [path.read_bytes() for path in (hostile.folder / "figures").glob("*.svg")]
    assert len(drawn) > 10
    for svg in drawn:
        root = minidom.parseString(svg).documentElement
        assert root is not None and root.tagName == "svg"
        assert not any(root.getElementsByTagName(tag) for tag in ("script", "image", "foreignObject"))
        assert not re.search(rb"\son\w+\s*=|javascript:", svg)


def test_a_notebook_takes_nothing_from_data_for_markup(hostile: results.Results) -> None:
    shown = notebook.shown(hostile)._repr_html_()
    assert "<script" not in shown and "<img" not in shown and EVIL in unescape(shown)


@pytest.mark.parametrize("text", [EVIL, "[x](javascript:alert(1))", "![x](http://a.org/x.png)", "a | b\n# c", "\\|"])
def test_a_markdown_page_takes_nothing_from_data_for_markup(text: str) -> None:
    told = style.markdown(text)
    assert "<" not in told and "](" not in told and "\n" not in told
    assert not re.search(r"(?<!\\)(\\\\)*\|", told)
    [head, *_] = predictors._table([text, "b"], [])
    assert head == f"| {told} | b |"


def test_no_text_steers_a_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(run / results.ENVIRONMENT, started=STEERS)
    summary = json.loads((run / results.SUMMARY).read_text())
    architecture = summary["weak"]["pays"]["architecture"]
    (run / results.SUMMARY).write_text(json.dumps(renamed(summary, {architecture: STEERS})))
    cli.main(["runs", str(run)])
    cli.main(["runs", f"{run}/{STEERS}"])
    cli.main(["export", str(run)])
    told = capsys.readouterr()
    lines = f"{told.out}{told.err}".split("\n")
    assert len(lines) > 4 and all(line.isprintable() for line in lines)
    assert trust.printable("a\x1b[31mb") == "a [31mb" and trust.printable("é · 8") == "é · 8"


# -- what listens -----------------------------------------------------------------------------------------------------

LISTENS = """
import os, sys
import psutil
from gtsearch import cluster
from gtsearch.resources import Resources

with cluster.connected(None, Resources(2, 1.0, 0.0), False):
    import ray
    from ray._raylet import AuthenticationMode, get_authentication_mode

    @ray.remote
    def wait(seconds):
        import time
        time.sleep(seconds)

    ray.get([wait.remote(1) for _ in range(2)])
    here = psutil.Process()
    family = [here, *here.children(recursive=True)]
    names = {process.name() for process in family}
    assert {"gcs_server", "raylet"} <= names and "ray::DashboardHead" not in names, names
    hosts = {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    print(sorted(hosts), get_authentication_mode() == AuthenticationMode.TOKEN)
"""


def test_a_ray_of_our_own_listens_on_the_loopback_alone_and_asks_for_its_token(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", LISTENS]
    told = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    hosts, token = told.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    loopback = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert set(ast.literal_eval(hosts)) <= loopback and hosts != "[]", "others on the network can reach it"
    assert token == "True", "anybody on this machine can have it run code"
    assert not everything(tmp_path), "it leaves nothing in the home folder, its token neither"


# -- dependencies -----------------------------------------------------------------------------------------------------


def test_every_dependency_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    # Stubs follow the package they describe, and run nowhere; extras of our own have bounds of their own.
    unbound = ("types-", "gtsearch[")
    assert [one for one in asked_for if "<" not in one and not one.startswith(unbound)] == []


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "audited")
    monkeypatch.setattr(module, "MOST_SECONDS", 5)
    return module


def answering(text: str, error: str = "", code: int = 0) -> list[str]:
    """A command that does as pip-audit would."""
    lines = f"""
        import sys
        print({text!r})
        print({error!r}, file=sys.stderr)
        sys.exit({code})
    """
    return [sys.executable, "-c", textwrap.dedent(lines)]


FINE = {"name": "torch", "version": "2.13.0", "vulns": []}
FLAWED = {"name": "pyyaml", "version": "5.3", "vulns": [{"id": "PYSEC-1", "fix_versions": ["5.4"], "aliases": []}]}
UNKNOWN = {"name": "mlp", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("ask", "code", "says"),
    [
        (
            answering(json.dumps({"dependencies": [FINE, UNKNOWN]})),
            0,
            "no known vulnerability in 1 packages; 1 are",
        ),
        (
            answering(json.dumps({"dependencies": [FINE, FLAWED]}), "Found 1", 1),
            1,
            "5.3 has PYSEC-1; mended in 5.4",
        ),
        (answering(json.dumps({"dependencies": [UNKNOWN]})), 0, "(none of 1 packages is known there); skipped"),
        (answering("", "ERROR: Could not connect to PyPI's\n feed", 1), 0, "could not be reached (feed); skipped"),
        (answering("", "", 1), 0, "skipped"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], 0, "(no answer within 1 s); skipped"),
        ([sys.executable, "-m", "pip_audit_is_not_here"], 1, "pip-audit is not installed"),
    ],
)
def test_the_audit_fails_on_a_known_vulnerability_and_on_nothing_else(
    ask: list[str], code: int, says: str, audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(audit, "ASK", ask)
    monkeypatch.setattr(audit, "MOST_SECONDS", 1 if "sleep" in ask[-1] else 20)
    assert audit.main() == code
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("audit: ") and says in line


def test_an_environment_in_which_nothing_was_found_is_asked_about_once_a_day(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(audit, "MOST_SECONDS", 20)
    monkeypatch.setattr(audit, "ASK", answering(json.dumps({"dependencies": [FINE]})))
    assert audit.main() == 0
    monkeypatch.setattr(audit, "ASK", answering(json.dumps({"dependencies": [FLAWED]})))
    assert audit.main() == 0 and "within a day" in capsys.readouterr().out
    os.utime(audit.STAMP, (0, 0))
    assert audit.main() == 1
    audit.STAMP.write_text("other packages")
    assert audit.main() == 1


def test_make_check_audits() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    assert "tools/audit.py" in recipe
