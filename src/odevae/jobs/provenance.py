"""Where and with what something was computed."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

PACKAGES = ("odevae", "torch", "torchdiffeq", "numpy", "scipy", "scikit-learn", "snakemake", "mlflow")


def provenance(project: str | Path) -> dict:
    """Where and with what a stage computes.

    Args:
        project: folder of the checkout.

    Returns:
        Git commit (``unknown`` outside a repository), whether tracked files differ from it, host, versions of the
        packages that matter most, and in ``environment`` every installed package as ``name==version``.
    """
    commit = _git(project, "rev-parse", "HEAD")
    return {
        "git_commit": commit or "unknown",
        "git_dirty": bool(_git(project, "status", "--porcelain", "--untracked-files=no")) if commit else True,
        "host": platform.node(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "environment": sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower),
    }


def _git(project: str | Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
