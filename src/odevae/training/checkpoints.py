"""What a training keeps on disk: the finished model, and while it runs, the point from which it can go on."""

import copy
import hashlib
import random
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from odevae.errors import OdevaeError
from odevae.storage.files import SCHEMA, read_checked, write_bytes
from odevae.storage.run_folder import CHECKPOINT_FILE, RESUME_FILE


def save_checkpoint(folder: Path, states: dict[str, dict[str, torch.Tensor]]) -> str:
    """Write ``checkpoint.pt``, the weights by name of epoch (``best``, ``last``); gives its SHA-256."""
    content = _to_bytes(states)
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
        return _from_bytes(content)
    except Exception as error:
        raise OdevaeError(
            f"{path}: holds no weights ({type(error).__name__}); delete it and run the workflow again."
        ) from error


@dataclass(frozen=True)
class ResumePoint:
    """A training at the end of an epoch: everything that the epochs after it depend on.

    Attributes:
        identity: what the training was made from; a training from anything else must not go on from here.
        epoch: the last finished one.
        model, optimiser: their states. Schedules follow from the epoch.
        generators: states of every random generator in use.
        best: epoch, R2 and weights of the best epoch so far.
        progress: ``last_r2``, ``best_loss`` and the seconds trained so far.
        history: rows of ``history.csv`` so far.
        run: ``run.json`` so far.
    """

    identity: dict
    epoch: int
    model: dict
    optimiser: dict
    generators: dict
    best: dict
    progress: dict
    history: list
    run: dict


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights that later steps leave alone, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def copy_of_optimiser(optimiser: torch.optim.Optimizer) -> dict:
    """A copy of the state that later steps leave alone."""
    return copy.deepcopy(optimiser.state_dict())


def generators() -> dict:
    """States of the random generators of Python, NumPy and PyTorch."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries below us draw from it
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: dict) -> None:
    """Put the generators back to what `generators` saw."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])


def save_resume_point(folder: Path, point: ResumePoint) -> None:
    """Write ``resume.pt`` with its SHA-256; the last one survives if this one cannot be written.

    Raises:
        OSError: if it cannot be written.
    """
    content = _to_bytes(vars(point))
    sealed = {
        "schema": SCHEMA,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": torch.frombuffer(bytearray(content), dtype=torch.uint8),
    }
    write_bytes(folder / RESUME_FILE, _to_bytes(sealed))


def load_resume_point(folder: Path, identity: dict) -> ResumePoint | None:
    """Where a training with this identity stopped, or None if it has to start anew; a line says why."""
    path = folder / RESUME_FILE
    if not path.exists():
        return None
    try:
        sealed = _from_bytes(path.read_bytes())
        content = sealed["content"].numpy().tobytes()
        if sealed["schema"] != SCHEMA or hashlib.sha256(content).hexdigest() != sealed["sha256"]:
            raise ValueError("its content is not what was written")
        point = ResumePoint(**_from_bytes(content))
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        print(f"{path}: damaged ({type(error).__name__}: {reason}); the training starts anew", flush=True)
        return None
    different = sorted(name for name in identity if point.identity.get(name) != identity[name])
    if different:
        print(f"{path}: left by another training ({', '.join(different)}); this one starts anew", flush=True)
        return None
    return point


def _to_bytes(content: dict) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _from_bytes(content: bytes) -> dict:
    # Nothing but tensors and plain values: a file from a stranger executes nothing.
    return torch.load(BytesIO(content), weights_only=True, map_location="cpu")
