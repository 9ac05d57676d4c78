"""Programs of other packages that some tests start: a SLURM, a PostgreSQL."""

import os
import shutil
from pathlib import Path

import pytest

# Set where a missing program is a failure rather than a reason to skip.
REQUIRE = "ODEVAE_REQUIRE_SERVICES"
# Debian's name of the package that holds a program.
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sinfo": "slurm-wlm",
    "initdb": "postgresql",
    "pg_ctl": "postgresql",
    "createdb": "postgresql",
    "psql": "postgresql",
}


def _find(name: str) -> str | None:
    # Debian keeps daemons out of users' PATH, and PostgreSQL's programs out of everyone's.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, reversed(versions))]
    return shutil.which(name, path=os.pathsep.join(folders))


def require(*programs: str) -> None:
    """Skip the test unless all of some programs are installed; fail it if ODEVAE_REQUIRE_SERVICES is 1."""
    missing = [name for name in programs if _find(name) is None]
    if not missing:
        return
    packages = sorted({PACKAGES.get(name, name) for name in missing})
    sentence = f"{', '.join(missing)} not found: install Debian's {' and '.join(packages)}."
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


def program(name: str) -> str:
    """The full path of a program."""
    path = _find(name)
    if path is None:
        raise FileNotFoundError(f"{name} not found: install Debian's {PACKAGES.get(name, name)}.")
    return path
