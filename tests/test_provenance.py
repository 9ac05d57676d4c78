"""The commit in a result is that of the code that computed it, wherever the computation was started."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[1] / "src/odevae/jobs"
SCRIPT = """
import json
from odevae.jobs.provenance import provenance
print(json.dumps(provenance()))
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def commit_all(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "a commit")
    return git(folder, "rev-parse", "HEAD").strip()


def copy_package(folder: Path) -> Path:
    """The part of the package that is needed here, below `folder`."""
    package = folder / "odevae"
    shutil.copytree(JOBS, package / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").touch()
    return package


def found(source: Path, working_directory: Path, **environment: str) -> tuple[str, bool]:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=working_directory,
        env=os.environ | {"PYTHONPATH": str(source)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    about = json.loads(result.stdout)
    return about["git_commit"], about["git_dirty"]


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """Another repository, from which the code is started."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    commit_all(folder)
    (folder / "notes.txt").write_text("changed")
    return folder


def test_the_commit_is_that_of_the_code_and_not_of_the_working_directory(tmp_path, elsewhere):
    package = copy_package(tmp_path / "checkout/src")
    commit = commit_all(tmp_path / "checkout")
    source = tmp_path / "checkout/src"
    assert found(source, elsewhere) == (commit, False)
    assert found(source, elsewhere, GIT_DIR=str(elsewhere / ".git")) == (commit, False)
    (package / "__init__.py").write_text("# edited")
    assert found(source, elsewhere) == (commit, True)


def test_an_installed_copy_inside_a_checkout_has_no_commit(tmp_path, elsewhere):
    site_packages = elsewhere / ".venv/site-packages"
    copy_package(site_packages)
    assert found(site_packages, elsewhere) == ("unknown", True)
    copy_package(tmp_path / "no_repository")
    assert found(tmp_path / "no_repository", elsewhere) == ("unknown", True)
