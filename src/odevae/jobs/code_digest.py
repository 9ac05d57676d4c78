"""Which files of the package a script depends on, so that a stage reruns when its code changes and only then."""

import ast
import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

PACKAGE = "odevae"
# Where a statement of Python holds others.
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def digest_of_code(project: Path, script: Path, without: Collection[str] = ()) -> str:
    """SHA-256 of a script and of the files of the package that it imports, with their names below `project`.

    Args:
        project: the folder that holds ``src`` and the scripts.
        script: a Python file.
        without: see `transitive_imports`.
    """
    digest = hashlib.sha256()
    for path in [script, *transitive_imports(script, project / "src", without)]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(project).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def transitive_imports(script: Path, source_root: Path, without: Collection[str] = ()) -> list[Path]:
    """Files of the package that `script` imports, directly or through others, sorted.

    Args:
        script: a Python file.
        source_root: the folder that holds the package.
        without: full names of modules or packages to leave out, with what only they import.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in _imported_modules(waiting.pop().read_bytes()):
            if not any(f"{module}.".startswith(f"{name}.") for name in without):
                new = set(_files(module, source_root)) - found
                found |= new
                waiting += new
    return sorted(found)


# Scripts import the same files: finding and parsing them for each script took a third of the start of Snakemake.
@cache
def _imported_modules(content: bytes) -> frozenset[str]:
    """Full names of what a module imports; ``from a import b`` gives both ``a`` and ``a.b``, which may be a module."""
    names, waiting = set(), [ast.parse(content)]
    while waiting:
        node = waiting.pop()
        # Statements only: `ast.walk` also visits every expression in them.
        waiting += [inner for name in BLOCKS for inner in getattr(node, name, ())]
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


@cache
def _files(module: str, source_root: Path) -> list[Path]:
    """The file of a module and the ``__init__`` files above it; nothing for a name that is no module."""
    target = source_root.joinpath(*module.split("."))
    own = [path for path in (target.with_suffix(".py"), target / "__init__.py") if path.is_file()][:1]
    packages = target.parents[: module.count(".")]
    return [package / "__init__.py" for package in packages] + own if own else []
