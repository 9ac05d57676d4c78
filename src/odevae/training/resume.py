"""The point on disk from which a stopped run goes on."""

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from odevae.storage.files import SCHEMA, write_bytes
from odevae.storage.run_folder import RESUME_FILE
from odevae.training.checkpoints import from_bytes, to_bytes
from odevae.training.descent import Best
from odevae.training.state import State

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumePoint:
    """A run at the end of an epoch.

    Attributes:
        identity: what the training was made from; a training from anything else must not go on from here.
        state: of the training; None before its first epoch is finished.
        history: rows of ``history.csv`` so far.
        run: ``run.json`` so far.
    """

    identity: dict
    state: State | None
    history: list
    run: dict


def save_resume_point(folder: Path, point: ResumePoint) -> None:
    """Write ``resume.pt`` with its SHA-256; the last one survives if this one cannot be written.

    Raises:
        OSError: if it cannot be written.
    """
    content = to_bytes(asdict(point))
    sealed = {
        "schema": SCHEMA,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": torch.frombuffer(bytearray(content), dtype=torch.uint8),
    }
    write_bytes(folder / RESUME_FILE, to_bytes(sealed))


def load_resume_point(folder: Path, identity: dict) -> ResumePoint | None:
    """Where a training with this identity stopped, or None if it has to start again; a line says why."""
    path = folder / RESUME_FILE
    if not path.exists():
        return None
    try:
        sealed = from_bytes(path.read_bytes())
        content = sealed["content"].numpy().tobytes()
        if sealed["schema"] != SCHEMA or hashlib.sha256(content).hexdigest() != sealed["sha256"]:
            raise ValueError("its content is not what was written")
        point = ResumePoint(**from_bytes(content))
        if point.state is not None:
            state = State(**point.state | {"best": Best(**point.state["best"])})
            point = replace(point, state=state)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        logger.info(f"{path}: damaged ({type(error).__name__}: {reason}); the training starts again")
        return None
    different = sorted(name for name in identity if point.identity.get(name) != identity[name])
    if different:
        logger.info(f"{path}: left by another training ({', '.join(different)}); this one starts again")
        return None
    return point
