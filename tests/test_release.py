"""What a release consists of: wheel and source archive, versions that agree, hooks that are there."""

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from workflow_project import CHECKOUT

# Next to the sources in a checkout that has been used.
NOT_SOURCES = {
    ".git",
    ".venv",
    ".snakemake",
    "build",
    "data",
    "dist",
    "logs",
    "mlartifacts",
    "results",
    "shared",
    "site",
}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def files_below(folder: Path) -> set[str]:
    """Sources below a folder of the checkout, by their path in it."""
    paths = (path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not {"__pycache__"} & set(path.parts) and ".egg-info" not in str(path)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive, and the wheel that is built from it; no network, and nothing written into the checkout."""
    folder = tmp_path_factory.mktemp("release")

    def left_out(parent: str, names: list[str]) -> set[str]:
        generated = {name for name in names if name == "__pycache__" or name.endswith(".egg-info")}
        return generated | (NOT_SOURCES if Path(parent) == CHECKOUT else set())

    source = folder / "source"
    shutil.copytree(CHECKOUT, source, ignore=left_out)
    for name in ("data", "results"):
        (source / name).mkdir()
        shutil.copy(CHECKOUT / name / "README.md", source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    (archive,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return archive, wheel


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        (points,) = (wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    packaged = {f"src/{name}" for name in names if name.startswith("odevae/")}
    assert packaged == files_below(Path("src/odevae"))
    data = {Path(name).suffix for name in packaged}
    assert {".py", ".csv", ".j2", ".js"} <= data
    assert not [name for name in names if not name.startswith(("odevae/", "odevae-"))]
    assert f"Version: {PROJECT['version']}\n" in metadata
    assert "License-File: LICENSE" in metadata and f"Requires-Python: {PROJECT['requires-python']}" in metadata
    assert "[mlflow.app]\nodevae = odevae.tracking.app:app" in points


@pytest.mark.slow
def test_the_source_archive_is_the_whole_project(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("workflow", "config", "docs", "envs", "profiles", "src/odevae"):
        assert files_below(Path(folder)) <= names
    assert {f"tests/{path.name}" for path in (CHECKOUT / "tests").glob("*.py")} <= names
    assert {"Snakefile", "Makefile", "mkdocs.yml", "LICENSE", "README.md", "CHANGELOG.md", "data/README.md"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".tsv", ".log", ".npz"))]


@pytest.mark.slow
def test_the_wheel_runs_from_another_folder(built, tmp_path):
    """Its files are those that are imported, and a small model is fitted."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path / "installed")
    code = """
import jinja2, odevae, sys
from odevae.data.simulate.foraging import foraging
from odevae.models.presets import model_spec
from odevae.protocols.recipes import heldout
from odevae.storage.run_folder import RunKey
from odevae.training.recorder import train
from pathlib import Path

assert Path(odevae.__path__[0]).parent == Path(sys.argv[1])
settings = {"drop_first_trials": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "seed": 0}
fold = heldout(foraging(n_neurons=12, n_frames=240, n_trials=12), "pca", split=0, settings=settings)
spec = model_spec("short", {"short": {"preset": "v5", "epochs": 2}})
Path("run").mkdir()
run = train(fold, RunKey("disc", "heldout", 0, "short", 2, "5e-4", 1), spec, Path("run"), {})
print(run["status"], len(jinja2.PackageLoader("odevae.report").list_templates()))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "installed")]
    n_templates = len(list((CHECKOUT / "src/odevae/report/templates").iterdir()))
    outcome = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "installed")}, capture_output=True, text=True
    )
    assert outcome.stdout.split("\n")[-2] == f"ok {n_templates}", outcome.stdout + outcome.stderr


def test_versions_agree():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    changes = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([\d.]+)", changes, re.MULTILINE)[0] == PROJECT["version"]


def test_hooks_are_local_and_their_tools_are_installed():
    config = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    installed = PROJECT["optional-dependencies"]["test"]
    tools = {"ruff": "ruff", "snakefmt": "snakefmt", "lint-imports": "import-linter"}
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert [line for line in installed if line.startswith(tools[shlex.split(hook["entry"])[0]])]
        if "files" in hook:
            sources = [path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("[!.]*") if path.is_file()]
            sources += files_below(Path("src")) | files_below(Path("workflow"))
            assert [path for path in sources if re.search(hook["files"], path)]


def test_the_catalog_has_what_it_needs():
    entry = yaml.safe_load((CHECKOUT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert entry["software-stack-deployment"]["conda"] and entry["report"]
    assert (CHECKOUT / "config/README.md").exists() and (CHECKOUT / "Snakefile").exists()
