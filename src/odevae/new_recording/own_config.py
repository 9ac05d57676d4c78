"""The configuration file of an own recording: where it is, what it is about, and how it adds to the shipped one."""

import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import yaml

from odevae.config.files import require_unique_keys
from odevae.config.schema import COMMON_FOLDERS, STORE_RECORD
from odevae.errors import OdevaeError

CONFIG = Path("config/mine.yaml")
LONGEST_NAME = 50
# Folders whose name says nothing of the recording.
GENERIC = re.compile(r"suite2p|plane\d+|combined|results?|caiman", re.IGNORECASE)


def own_config(file: str) -> dict | None:
    """The content of `CONFIG`; None if there is no such file.

    Raises:
        OdevaeError: if it is damaged or is about another recording than `file`.
    """
    if not CONFIG.exists():
        return None
    require_unique_keys(CONFIG)
    try:
        own = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OdevaeError(f"{CONFIG}: is no YAML ({' '.join(str(error).split())}); correct that line.") from error
    datasets = own.get("datasets") if isinstance(own, dict) else None
    if not isinstance(datasets, dict) or not all(isinstance(entry, dict) for entry in datasets.values()):
        raise OdevaeError(f"{CONFIG}: names no data set; delete or rename it to have it written again.")
    files = [str(name) for entry in datasets.values() for name in _as_list(entry.get("file", []))]
    if Path(file).expanduser().resolve() not in [Path(name).resolve() for name in files]:
        raise OdevaeError(
            f"{CONFIG} is there already and is about {', '.join(files) or 'no file'}, not {file}; rename it (such as "
            f"config/{next(iter(datasets))}.yaml, for snakemake --configfile) and call this again. Its results stay."
        )
    return own


def merged(shipped: dict, own: dict) -> dict:
    """A configuration in which the keys of `own` replace those of `shipped` one by one, as Snakemake does it."""
    result = deepcopy(shipped)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else deepcopy(value)
    return result


def name_of(file: str, taken: Iterable[str]) -> str:
    """A name for a recording, from its file or folder; no other data set, study or benchmark has it."""
    path = Path(file).resolve()
    parts = [path.stem if path.is_file() else path.name, *(parent.name for parent in path.parents)]
    word = next((part for part in parts if part and not GENERIC.fullmatch(part)), "")
    name = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_")[:LONGEST_NAME]
    if not re.match(r"[A-Za-z]", name) or name.casefold() in ("nan", "inf"):
        name = f"recording_{name}".rstrip("_")
    known = {other.casefold() for other in (*taken, *COMMON_FOLDERS, STORE_RECORD)}
    return name if name.casefold() not in known else f"my_{name}"


def _as_list(value) -> list:
    return value if isinstance(value, list) else [value]
