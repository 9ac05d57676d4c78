"""Programs of other packages that some tests start: SLURM, PostgreSQL and a browser."""

import os
import shutil
from pathlib import Path

import pytest

# If it is "1", a missing program fails a test; otherwise the test is skipped.
REQUIRE = "ODEVAE_REQUIRE_SERVICES"
# Debian's package of each program.
PACKAGES = {
    "munged": "munge",
    **dict.fromkeys(["slurmctld", "slurmd", "sinfo"], "slurm-wlm"),
    "chromedriver": "chromium-driver",
    **dict.fromkeys(["initdb", "pg_ctl", "createdb", "psql"], "postgresql"),
}


def _find(name: str) -> str | None:
    # In Debian, daemons are not in the PATH of users, and PostgreSQL's programs are in nobody's PATH.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, reversed(versions))]
    return shutil.which(name, path=os.pathsep.join(folders))


def require(*programs: str) -> None:
    """Skip the test if a program is not installed; fail it if ODEVAE_REQUIRE_SERVICES is 1."""
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
