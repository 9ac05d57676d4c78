"""What ``run.json`` says of a training, whichever way it is trained."""

import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import torch

from odevae.models.presets import Spec
from odevae.storage.files import sha256_of, write_json
from odevae.storage.run_folder import CHECKPOINT_FILE, HISTORY_FILE, RUN_FILE, RunKey
from odevae.training.checkpoints import save_checkpoint


def made_from(key: RunKey, spec: Spec, device: str) -> dict:
    """What the result of a training depends on, apart from data and code."""
    return {
        "key": key.as_dict(),
        "spec": spec.as_dict(),
        "threads": torch.get_num_threads(),
        "device": device,
    }


def begun(key: RunKey, spec: Spec, device: str, about: dict) -> dict:
    """The content of ``run.json`` of a training that begins."""
    return {
        **made_from(key, spec, device),
        "run": key.path,
        "observations": spec.observations,
        "status": "running",
        "reason": "",
        "attempt": uuid.uuid4().hex,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished_at": "",
        "epochs": 0,
        "resumed_after": [],
        **about,
    }


def write_finished(
    folder: Path,
    run: dict,
    *,
    status: str,
    reason: str,
    scores: tuple[float, float, float],
    best_epoch: int,
    checkpoint: dict[str, dict[str, torch.Tensor]],
    started: float,
) -> dict:
    """Write the checkpoint and, at last, ``run.json`` of a training that is over.

    Args:
        folder: of the run; its history is complete.
        run: ``run.json`` so far.
        status: ``ok`` or ``diverged``.
        reason: why it diverged.
        scores: R2 at the best epoch and at the last, and the smallest validation loss.
        best_epoch: 0 if none was finished.
        checkpoint: weights of the ``best`` epoch and the ``last``.
        started: `time.monotonic` when the training began.

    Returns:
        The content of ``run.json``.
    """
    best_r2, final_r2, best_val_loss = scores
    run = run | {
        "status": status,
        "reason": reason,
        "best_r2": best_r2,
        "final_r2": final_r2,
        "best_val_loss": best_val_loss,
        "best_epoch": best_epoch,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": time.monotonic() - started,
        "files": {
            CHECKPOINT_FILE: save_checkpoint(folder, checkpoint),
            HISTORY_FILE: sha256_of(folder / HISTORY_FILE),
        },
    }
    write_json(folder / RUN_FILE, run)
    return run
