"""The environments of the workflow: in a folder whose name holds a space, and made by conda; what make prints."""

import os
import pty
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
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


def make_command(project: Project, target: str) -> dict:
    """What `subprocess` needs to call make in a project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SNAKEMAKE_"))}
    environment |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(project.root / "src"), "TERM": "xterm"}
    return {"args": ["make", target], "cwd": project.root, "env": environment}


def with_make(root: Path, config: dict) -> Project:
    """A project with its Makefile and an environment that is installed already."""
    project = Project.create(root, config)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, project.root)
    folder = project.root / ".venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    write_executable(folder / "bin/snakemake", CONSOLE_SCRIPT.format(python=python))
    (folder / "installed").touch()
    return project


def test_make_works_in_a_folder_whose_name_holds_spaces(tmp_path):
    project = with_make(tmp_path / "Lab disk (shared)", small_config())
    result = subprocess.run(**make_command(project, "verify"), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 runs verified, 0 problems" in result.stdout
    assert "Workflow Finished" not in result.stderr


@pytest.mark.slow
def test_make_in_a_terminal_shows_bars_and_why_a_job_failed(tmp_path):
    config = small_config()
    config["datasets"] = {"broken": {"file": "broken.npz"}}
    config["studies"] = {"seed_sweep": config["studies"]["small"] | {"datasets": ["broken"], "protocols": ["heldout"]}}
    project = with_make(tmp_path / "project", config)
    np.savez(project.root / "broken.npz", roi=np.full((8, 3), np.nan), Trial=np.repeat([1, 2], 4), Time=np.arange(8.0))
    reader, writer = pty.openpty()
    make = subprocess.Popen(**make_command(project, "sweep"), stdout=writer, stderr=writer, stdin=writer)
    os.close(writer)
    shown = b""
    try:
        while part := os.read(reader, 65536):
            shown += part
    except OSError:  # Linux's end of a terminal
        pass
    os.close(reader)
    text = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).split())
    assert make.wait() != 0
    assert "Total Progress" in text
    assert "Log file: logs/read_recording/broken.log" in text
    assert "error: broken: the activity of 3 of 3 neurons is NaN in every frame of a trial" in text
    # What is quiet on the screen is in Snakemake's own log.
    (log,) = (project.root / ".snakemake/log").glob("*.log")
    assert "rule read_recording:" in log.read_text(encoding="utf-8")


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
