"""One run on disk, around the training loop: ``run.json``, history, checkpoint, and the point to go on from."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from odevae.errors import OdevaeError
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec
from odevae.protocols.fold import Fold
from odevae.storage.files import write_json
from odevae.storage.run_folder import (
    HISTORY_FILE,
    RESUME_FILE,
    RUN_FILE,
    RunKey,
    append_history,
    write_history,
)
from odevae.training.descent import Best, Diverged, weights_of
from odevae.training.loop import Epoch, fit
from odevae.training.progress import report_progress
from odevae.training.reproducibility import seed_everything
from odevae.training.resume import ResumePoint, load_resume_point, save_resume_point
from odevae.training.run_record import begun, made_from, write_finished

logger = logging.getLogger(__name__)

# Epochs between two resume points; a kill without warning costs this many at most.
RESUME_EVERY = 5


def train(
    fold: Fold,
    key: RunKey,
    spec: ModelSpec,
    folder: Path,
    about: dict,
    on_epoch: Callable[[], None] = lambda: None,
    device: str = "cpu",
) -> dict:
    """Train one model and write ``run.json``, ``history.csv`` and ``checkpoint.pt`` into `folder`.

    The checkpoint holds the weights of the best epoch, by the validation score ``select_by``, and of the last. A run
    that diverges is recorded as the paper records it: R2 0, best validation loss infinite.
    The same arguments give the same bits on one machine with the same number of threads, also when the training was
    stopped on the way: it goes on from ``resume.pt``, written every `RESUME_EVERY` epochs and whenever an exception
    (a signal among them) ends it, and loses no finished epoch to anything that leaves time for that.

    Args:
        fold: the data.
        key: names the run and gives latent dimension, lambda_smooth and seed.
        spec: the model's settings.
        folder: an existing folder; an old history in it is replaced.
        about: further entries of ``run.json``: provenance and checksums. A resume point counts only if it agrees with
            ``fold_sha256`` and ``code_sha256``, and with the other arguments, PyTorch's version and the threads.
        on_epoch: called after each epoch, once its row is in the history.
        device: where PyTorch computes, ``cpu`` or ``cuda``.

    Returns:
        The content of ``run.json``.

    Raises:
        OSError: if a file cannot be written, for instance on a full disk; older files are left as they were.
    """
    seed_everything(key.seed)
    model = build(spec, fold.preprocessor.n_channels, key.latent_dim).to(device)
    recorder = _Recorder(model, key, spec, folder, about | {"n_channels": fold.preprocessor.n_channels}, device)
    try:
        for epoch in fit(model, fold, spec, float(key.lambda_smooth), device, recorder.point.state):
            recorder.add(epoch)
            on_epoch()
        return recorder.finish("ok")
    except Diverged as error:
        # As the paper's Table 1 records a collapsed seed.
        return recorder.finish("diverged", str(error))
    except BaseException:
        recorder.save_at_once()
        raise


class _Recorder:
    """Puts a training on disk, epoch by epoch.

    Attributes:
        point: where the training is, after its last finished epoch.
    """

    def __init__(self, model: ODEVAE, key: RunKey, spec: ModelSpec, folder: Path, about: dict, device: str):
        """Begin, or go on where an earlier training of the same kind in `folder` stopped."""
        self.model, self.key, self.spec, self.folder = model, key, spec, folder
        self.untrained = Best(weights_of(model))
        code_and_data = {name: about.get(name) for name in ("fold_sha256", "code_sha256")}
        identity = made_from(key, spec, device) | code_and_data | {"torch": str(torch.__version__)}
        point = load_resume_point(folder, identity)
        if point is None:
            run = begun(key, spec, device, about | {"n_parameters": sum(p.numel() for p in model.parameters())})
            self.point = ResumePoint(identity, state=None, history=[], run=run)
        else:
            epoch = point.run["epochs"]
            resumed_after = [*point.run["resumed_after"], epoch]
            self.point = replace(point, run=point.run | about | {"resumed_after": resumed_after})
            logger.info(f"{key.path}: goes on after epoch {epoch}")
        self.started = time.monotonic() - (self.point.state.seconds if self.point.state else 0.0)
        write_json(folder / RUN_FILE, self.point.run)
        write_history(folder / HISTORY_FILE, self.point.history)

    def add(self, epoch: Epoch) -> None:
        """Put one epoch on disk."""
        append_history(self.folder / HISTORY_FILE, epoch.row)
        # One assignment: a signal finds the training before this epoch or after it.
        self.point = ResumePoint(
            identity=self.point.identity,
            state=epoch.state,
            history=[*self.point.history, epoch.row],
            run=self.point.run | {"epochs": epoch.state.epoch},
        )
        if epoch.state.epoch % RESUME_EVERY == 0:
            save_resume_point(self.folder, self.point)
        report_progress(self.key.path, epoch, self.spec.epochs)

    def finish(self, status: str, reason: str = "") -> dict:
        """Write what the training leaves behind; gives the content of ``run.json``."""
        state, history = self.point.state, self.point.history
        best = state.best if state else self.untrained
        if status == "ok":
            at_best = history[best.epoch - 1]["val_r2"] if best.epoch else best.score
            scores = at_best, history[-1]["val_r2"], min(row["val_loss"] for row in history)
        else:
            logger.info(f"{self.key.path}: {status} in {reason}")
            scores = 0.0, 0.0, np.inf
        last = state.judged if state and status == "ok" else weights_of(self.model)
        run = write_finished(
            self.folder,
            self.point.run,
            status=status,
            reason=reason,
            scores=scores,
            best_epoch=best.epoch,
            checkpoint={"best": best.weights, "last": last},
            started=self.started,
        )
        (self.folder / RESUME_FILE).unlink(missing_ok=True)
        return run

    def save_at_once(self) -> None:
        """Keep what would be lost; where that cannot be written, an older resume point does."""
        try:
            save_resume_point(self.folder, self.point)
        except OSError as error:
            logger.info(f"{self.key.path}: stopped; an older resume point is kept, {error.strerror}")
        else:
            logger.info(f"{self.key.path}: stopped; the next call goes on after epoch {self.point.run['epochs']}")


def require_device(device: str) -> None:
    """Refuse a device that is not there, before anything is computed.

    Raises:
        OdevaeError: if `device` is ``cuda`` and PyTorch finds no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise OdevaeError(
            f"a GPU was asked for (resource gpu of the rule train_model) but PyTorch {torch.__version__} finds none on "
            "this node; ask for gpu=0, or for a node with a GPU and a PyTorch built for it."
        )
