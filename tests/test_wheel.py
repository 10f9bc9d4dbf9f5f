"""The wheel is whole: built, installed into an environment of its own, and run from a folder that is not ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def call(*command: str | Path, cwd: Path, fine: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode in fine, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_sources(to: Path) -> Path:
    """A copy of what is built: a build leaves folders beside the sources."""
    for name in ("gtsearch", "analysis", "search_spaces"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md"):
        shutil.copy(ROOT / name, to)
    return to


def make_environment(home: Path, *install: str | Path) -> Path:
    """A virtual environment in `home` that borrows its dependencies from this one, and installs `install`."""
    call(sys.executable, "-m", "venv", home, cwd=home)
    python = home / "bin" / "python"
    purelib = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (Path(purelib) / "borrowed.pth").write_text("\n".join(lent) + "\n")
    if (Path(purelib) / "setuptools").exists():  # some Pythons put an old one there, which would be found first
        call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", cwd=home)
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *install, cwd=home)
    return home


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without isolation, so without a network."""
    here = tmp_path_factory.mktemp("build")
    sources = copy_sources(tmp_path_factory.mktemp("sources"))
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", here, sources, cwd=here)
    [built] = here.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("environment"), wheel)


def test_holds_what_the_source_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (("gtsearch", "gtsearch"), ("analysis", "gtsearch/analysis")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".jinja", ".js", ".typed", ".json"):
                assert f"{package}/{path.relative_to(ROOT / folder)}" in names
    for path in [*(ROOT / "search_spaces").rglob("*.yaml"), ROOT / "search_spaces" / "schema.json"]:
        assert f"gtsearch/search_spaces/{path.relative_to(ROOT / 'search_spaces')}" in names
    assert "gtsearch/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_metadata_has_the_readme_the_licence_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        [top] = {name.split("/")[0] for name in opened.namelist() if ".dist-info/" in name}
        told = opened.read(f"{top}/METADATA").decode()
        assert (ROOT / "README.md").read_text("utf-8") in told
        assert "License-Expression: MIT" in told and "Requires-Python: >=3.11" in told
        assert opened.read(f"{top}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "gtsearch = gtsearch.__main__:main" in opened.read(f"{top}/entry_points.txt").decode()


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    sources = copy_sources(tmp_path / "sources")
    call(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, sources, cwd=tmp_path)
    [made] = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as opened:
        assert not [name for name in opened.getnames() if "/tests/" in name]
        opened.extractall(tmp_path / "out", filter="data")
    [folder] = (tmp_path / "out").iterdir()
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, folder, cwd=tmp_path)
    [again] = tmp_path.glob("*.whl")
    assert again.name == wheel.name and content(again) == content(wheel)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_console_script_is_there_and_is_the_module(environment: Path, tmp_path: Path) -> None:
    """`pipx run gtsearch` is this: an environment of its own and the console script."""
    by_script = call(environment / "bin" / "gtsearch", "--help", cwd=tmp_path)
    assert by_script == call(environment / "bin" / "python", "-m", "gtsearch", "--help", cwd=tmp_path)
    assert "gtsearch run smoke" in by_script
    schema = call(environment / "bin" / "gtsearch", "schema", cwd=tmp_path)
    assert schema == (ROOT / "search_spaces" / "schema.json").read_text("utf-8")


USED = """
from pathlib import Path

import gtsearch

spec = gtsearch.load_spec("smoke", ["report.seeds=5"])
name: str = spec.name
ended = gtsearch.run(spec, out=Path("runs/first"), workers=2)
code: int = ended.exit_code
results = gtsearch.load_results(ended.folder)
members: int = len(results.table("ladder"))
page: Path = gtsearch.look("runs/first").report()
again: int = gtsearch.resume(ended.folder).exit_code
version: str = gtsearch.__version__
"""


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("", ""),
        ("gtsearch.run('smoke')", 'incompatible type "str"; expected "Spec"'),
        ("gtsearch.load_result('x')", 'Module has no attribute "load_result"'),
        ("code = ended.results", "Incompatible types in assignment"),
    ],
)
def test_a_user_s_script_is_checked_against_the_installed_types(
    environment: Path, tmp_path: Path, more: str, complaint: str
) -> None:
    (tmp_path / "mine.py").write_text(USED + more + "\n")
    python = environment / "bin" / "python"
    cache = environment / "mypy_cache"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", cache, "mine.py"]
    told = call(*command, cwd=tmp_path, fine=(1,) if complaint else (0,))
    assert complaint in told and ("Success" in told) == (not complaint)


def test_imports_what_was_installed(environment: Path, tmp_path: Path) -> None:
    code = "import gtsearch, gtsearch.analysis, gtsearch.search_spaces as s; print(gtsearch.__file__, s.__file__)"
    for file in call(environment / "bin" / "python", "-c", code, cwd=tmp_path).split():
        assert Path(file).is_relative_to(environment)


def test_runs_an_experiment_that_came_along_from_another_folder(environment: Path, tmp_path: Path) -> None:
    # 1 says that nothing pays: an answer too, and the report is made all the same.
    call(environment / "bin" / "gtsearch", "run", "smoke", "--out", tmp_path / "run", cwd=tmp_path, fine=(0, 1))
    report = (tmp_path / "run" / "report.html").read_text()
    assert "smoke" in report


@pytest.mark.parametrize("mode", ["lenient", "strict"])
def test_an_editable_install_finds_every_part_from_anywhere(mode: str, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "environment").mkdir()
    sources = copy_sources(tmp_path / "sources")
    how = ["--no-build-isolation", "--config-settings", f"editable_mode={mode}", "--editable", sources]
    home = make_environment(tmp_path / "environment", *how)
    code = "import gtsearch.analysis as a, gtsearch.search_spaces as s; print(a.__file__, s.__file__)"
    for cwd in (sources, tmp_path):
        for file in call(home / "bin" / "python", "-c", code, cwd=cwd).split():
            assert Path(file).resolve().is_relative_to(sources)
