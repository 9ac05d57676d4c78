"""Files that are complete or missing, and that show whether they have changed since they were written.

Every file is written under another name, flushed to the disk and renamed, so a job killed at any moment, or a full
disk, leaves the old file or none. JSON and array files hold a SHA-256 of their own content, which reading them checks.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from odevae.errors import OdevaeError

# Increased whenever one of our files changes its meaning, so that a file of an older version is refused, not misread.
SCHEMA = 2
SCHEMA_ENTRY, SEAL_ENTRY = "schema", "sha256"


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` at the end of the block, completely or not at all.

    Raises:
        OSError: if it cannot be written, with `path` as its file name; an older file is still there then.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, completely or not at all; raises as `written_whole` does."""
    with written_whole(path) as file:
        file.write(content)


def write_json(path: str | Path, content: dict) -> None:
    """Write sealed JSON. Non-finite numbers become strings."""
    content = _encode(content)
    sealed = {SCHEMA_ENTRY: SCHEMA, SEAL_ENTRY: _digest_of_json(content), **content}
    write_bytes(path, (json.dumps(sealed, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> dict:
    """Read what `write_json` wrote; ``"inf"``, ``"-inf"`` and ``"nan"`` become floats again.

    Raises:
        OdevaeError: if the file is missing, is not whole, was changed since, or comes from another version of odevae.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise OdevaeError(f"{path}: cannot be read ({error}); delete it and run the workflow again.") from error
    _require_schema(path, content.pop(SCHEMA_ENTRY, None))
    _require_seal(path, content.pop(SEAL_ENTRY, None), _digest_of_json(content))
    return _decode(content)


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write a sealed, compressed ``.npz`` without pickled objects; gives its seal."""
    seal = _digest_of_arrays(arrays)
    with written_whole(path) as file:
        np.savez_compressed(file, **arrays, **{SCHEMA_ENTRY: np.array(SCHEMA), SEAL_ENTRY: np.array(seal)})
    return seal


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays that `write_arrays` wrote, and their seal.

    Raises:
        OdevaeError: if the file is missing, is not whole, was changed since, or comes from another version of odevae.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:
        raise OdevaeError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); delete it and run the workflow again."
        ) from error
    _require_schema(path, arrays.pop(SCHEMA_ENTRY, None))
    seal = str(arrays.pop(SEAL_ENTRY, ""))
    _require_seal(path, seal, _digest_of_arrays(arrays))
    return arrays, seal


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[str | Path]) -> str:
    """SHA-256 of a file, or of the list of those of several files, in their order."""
    checksums = [sha256_of(path) for path in paths]
    return checksums[0] if len(paths) == 1 else hashlib.sha256("\n".join(checksums).encode()).hexdigest()


def read_checked(path: str | Path, sha256: str) -> bytes:
    """The content of a file whose SHA-256 is known.

    Raises:
        OdevaeError: if the file is missing or is another.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise OdevaeError(f"{path}: cannot be read ({error}); run the workflow again.") from error
    _require_seal(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def _require_schema(path: str | Path, schema) -> None:
    if schema is None or not np.array_equal(schema, SCHEMA):
        raise OdevaeError(
            f"{path}: written by another version of odevae (schema {'none' if schema is None else schema}, this one "
            f"reads {SCHEMA}); delete it and run the workflow again."
        )


def _require_seal(path: str | Path, found: str | None, expected: str) -> None:
    if found != expected:
        raise OdevaeError(
            f"{path}: not what was written there (its SHA-256 is another); delete it and run the workflow again."
        )


def _digest_of_json(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        # The bytes of the array as they are: `tobytes` would copy them.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _encode(value):
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _decode(value):
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    return value
