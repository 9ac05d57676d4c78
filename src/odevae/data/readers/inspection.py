"""What a file of a lab holds, as text: its variables, what was understood, and the lines to put into a configuration."""

import re
from pathlib import Path

import yaml

from odevae.data.readers.recognition import Recognised, recognise

VARIABLES_SHOWN = 40


def inspected(path: str | Path) -> str:
    """The text of `odevae inspect`.

    Raises:
        OdevaeError: if there is no such file, it is damaged, or of no known format.
    """
    found = recognise(path)
    width = max((len(variable.name) for variable in found.variables), default=0)
    shown = [
        f"  {_printable(variable.name):{width}}  {' x '.join(map(str, variable.shape)) or '-':>14}  {variable.dtype}"
        for variable in found.variables[:VARIABLES_SHOWN]
    ]
    more = len(found.variables) - VARIABLES_SHOWN
    lines = [
        f"{path}: {found.format}",
        *shown,
        *([f"  and {more} more"] if more > 0 else []),
        "",
        *found.notes,
        "",
        "Lines for the configuration:",
        "",
        entry_as_yaml(path, found).rstrip(),
    ]
    return "\n".join(lines)


def entry_as_yaml(path: str | Path, found: Recognised) -> str:
    """The proposed entry as YAML, under a name made from that of the file."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", Path(path).resolve().stem)[:60]
    name = name if name[:1].isalpha() else f"recording_{name}"[:60]
    return yaml.safe_dump({"datasets": {name: found.entry}}, sort_keys=False, allow_unicode=True)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
