"""Where and with what something was computed."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

PACKAGES = ("odevae", "torch", "torchdiffeq", "numpy", "scipy", "scikit-learn", "snakemake", "mlflow")


def provenance() -> dict:
    """Where and with what a job computes.

    Returns:
        Git commit of this package's files (``unknown`` if Git does not track them, as in an installed copy), whether
        tracked files differ from it, host, versions of the main packages, and in ``environment`` all of them.
    """
    # A copy in an environment inside a checkout lies in a repository too, but is none of its files.
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    # Parsed once for each package, which takes 0.1 s of CPU time.
    metadata = [distribution.metadata for distribution in distributions()]
    return {
        "git_commit": _git("rev-parse", "HEAD") if tracked else "unknown",
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if tracked else True,
        "host": platform.node(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "environment": sorted({f"{about['Name']}=={about['Version']}" for about in metadata}, key=str.lower),
    }


def _git(*arguments: str) -> str:
    """What Git answers in the folder of this file; empty if it cannot."""
    # A hook of Git sets these, and they would win over the folder.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
