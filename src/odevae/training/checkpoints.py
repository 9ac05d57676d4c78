"""The weights of a finished run on disk."""

import hashlib
from io import BytesIO
from pathlib import Path

import torch

from odevae.errors import OdevaeError
from odevae.storage.files import read_checked, write_bytes
from odevae.storage.run_folder import CHECKPOINT_FILE


def save_checkpoint(folder: Path, states: dict[str, dict[str, torch.Tensor]]) -> str:
    """Write ``checkpoint.pt``, the weights by name of epoch (``best``, ``last``); gives its SHA-256."""
    content = to_bytes(states)
    write_bytes(folder / CHECKPOINT_FILE, content)
    return hashlib.sha256(content).hexdigest()


def load_checkpoint(folder: Path, run: dict) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a finished run, whose ``run.json`` is `run`.

    Raises:
        OdevaeError: if the file is missing or is not the one that the run wrote.
    """
    path = folder / CHECKPOINT_FILE
    content = read_checked(path, run["files"][CHECKPOINT_FILE])
    try:
        return from_bytes(content)
    except Exception as error:
        raise OdevaeError(
            f"{path}: holds no weights ({type(error).__name__}); delete it and run the workflow again."
        ) from error


def to_bytes(content: dict) -> bytes:
    """What `torch.save` writes of it."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes) -> dict:
    """What `to_bytes` was given."""
    # Nothing but tensors and plain values: a file from a stranger executes nothing.
    return torch.load(BytesIO(content), weights_only=True, map_location="cpu")
