"""The rules of docs/architecture.md: who imports whom, the picture of it, and names that exist."""

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TEXTS = [
    path
    for folder, kind in (("src", "*.py"), ("workflow", "*.py"), ("docs", "*.md"), ("config", "*.md"))
    for path in sorted((PROJECT / folder).rglob(kind))
]
# Tags of a run in MLflow look like modules.
TAGS = {"odevae.project", "odevae.run"}


def test_imports_keep_to_the_contracts():
    # In a process of its own, because the tool disables the loggers that exist.
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))",
    ]
    outcome = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert outcome.returncode == 0 and "0 broken" in outcome.stdout, outcome.stdout + outcome.stderr


def test_the_picture_of_the_rooms_is_what_the_command_draws():
    rooms = runpy.run_path(str(PROJECT / "docs/rooms.py"))
    document = rooms["DOCUMENT"].read_text(encoding="utf-8")
    assert rooms["with_picture"](document) == document, "docs/architecture.md: run `make rooms`"


def test_names_of_the_package_in_docstrings_and_documents_exist():
    named = {
        (path.relative_to(PROJECT).as_posix(), name)
        for path in TEXTS
        for name in re.findall(r"`(odevae(?:\.\w+)+)", path.read_text(encoding="utf-8"))
        if name not in TAGS
    }
    assert len(named) > 10
    assert not [place for place in sorted(named) if not exists(place[1])]


def exists(name: str) -> bool:
    """Whether the longest leading part of a dotted name that is a module holds the rest."""
    parts = name.split(".")
    for n_parts in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n_parts]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[n_parts:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False
