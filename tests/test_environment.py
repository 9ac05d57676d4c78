"""The environments of the workflow: in a folder whose name holds a space, and made by conda."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from workflow_project import CHECKOUT, Project, small_config

# What pip writes where the path of the interpreter holds a space.
CONSOLE_SCRIPT = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys
from snakemake.cli import main
sys.exit(main())
"""

# As much of conda as Snakemake calls. As in conda, pip reads the lines of a file in the folder of that file.
CONDA = """#!{python}
import json, os, sys
from pathlib import Path
import yaml

if sys.argv[1] == "info":
    print(json.dumps({{"conda_prefix": "{root}", "platform": "linux-64"}}))
elif sys.argv[1] == "config":
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif sys.argv[1:3] == ["env", "create"]:
    file, prefix = (Path(sys.argv[sys.argv.index(option) + 1]) for option in ("--file", "--prefix"))
    sections = [entry["pip"] for entry in yaml.safe_load(file.read_text())["dependencies"] if isinstance(entry, dict)]
    for line in sum(sections, []):
        path = file.parent / line.split()[1].partition("[")[0]
        if not path.exists():
            sys.exit(f"ERROR: Could not open {{path}}")
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to("{root}/python")
else:
    print("conda 26.7.0")
"""
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'
# The Python of such an environment: pip notes what it installs, and everything else finds only that.
PYTHON = """#!/bin/bash
installed="${{CONDA_PREFIX}}/installed"
if [ "$1 $2" = "-m pip" ]; then
    echo "$@" > "${{installed}}"
else
    sources=$(sed 's|.*--editable \\(.*\\)\\[.*|\\1/src|' "${{installed}}")
    PYTHONPATH="${{sources}}" exec {python} "$@"
fi
"""


def make(project: Project, target: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SNAKEMAKE_"))}
    environment |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(project.root / "src")}
    return subprocess.run(["make", target], cwd=project.root, env=environment, capture_output=True, text=True)


def test_make_works_in_a_folder_whose_name_holds_spaces(tmp_path):
    project = Project.create(tmp_path / "Lab disk (shared)", small_config())
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, project.root)
    folder = project.root / ".venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    write_executable(folder / "bin/snakemake", CONSOLE_SCRIPT.format(python=python))
    (folder / "installed").touch()
    result = make(project, "verify")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 runs verified, 0 problems" in result.stdout + result.stderr


def test_conda_makes_the_environment_that_jobs_run_in(tmp_path, monkeypatch):
    root = tmp_path / "conda"
    write_executable(root / "condabin/conda", CONDA.format(python=sys.executable, root=root))
    write_executable(root / "python", PYTHON.format(python=sys.executable))
    write_executable(root / "bin/activate", ACTIVATE)
    monkeypatch.setenv("PATH", f"{root / 'condabin'}{os.pathsep}{os.environ['PATH']}")
    project = Project.create(tmp_path / "project", small_config())
    outcome = project.snakemake("results/disc/recording.npz", "--sdm", "conda")
    assert outcome.code == 0, outcome.output
    assert "disc: 20 neurons, 240 frames" in outcome.output
    (installed,) = (project.root / ".snakemake/conda").glob("*/installed")
    constraints = project.root / "envs/constraints.txt"
    assert constraints.exists()
    assert f"--constraint {constraints} --editable {project.root}[cluster]" in installed.read_text()


def write_executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
