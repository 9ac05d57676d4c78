"""The training loop: one run from a fold to a checkpoint, a history and ``run.json``."""

import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from odevae.errors import OdevaeError
from odevae.metrics import r2_batched
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec
from odevae.models.solvers import SolverError
from odevae.protocols.fold import Fold
from odevae.storage.files import sha256_of, write_json
from odevae.storage.run_folder import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    RESUME_FILE,
    RUN_FILE,
    RunKey,
    append_history,
    write_history,
)
from odevae.training import losses
from odevae.training.checkpoints import (
    ResumePoint,
    copy_of_optimiser,
    generators,
    load_resume_point,
    restore_generators,
    save_checkpoint,
    save_resume_point,
    weights_of,
)

GRADIENT_NORM = 1.0
# About this many progress lines a run.
PROGRESS_LINES = 30
# Epochs between two resume points; a kill without warning costs this many at most.
RESUME_EVERY = 5


class Diverged(ArithmeticError):
    """The loss is no longer a number, or the latent path cannot be integrated."""


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

    The checkpoint holds the weights of the best epoch (highest validation R2) and of the last. A run whose loss is no
    longer a number ends as ``diverged`` and is recorded as the paper records it: R2 0, best validation loss infinite.
    The same arguments give the same bits on one machine with the same number of threads, also when the training was
    stopped on the way: it goes on from ``resume.pt``, written every `RESUME_EVERY` epochs and whenever an exception
    (a signal among them) ends it, and loses no finished epoch to anything that leaves time for that.

    Args:
        fold: the data.
        key: names the run and gives latent dimension, lambda_smooth and seed.
        spec: the model's settings.
        folder: an existing folder; an old history in it is replaced.
        about: further entries of ``run.json``: provenance and checksums. A resume point counts only if it agrees with
            ``fold_sha256`` and ``code_sha256``, besides the other arguments, PyTorch's version and the threads.
        on_epoch: called after each epoch, once its row is in the history.
        device: where PyTorch computes, ``cpu`` or ``cuda``.

    Returns:
        The content of ``run.json``.

    Raises:
        OSError: if a file cannot be written, for instance on a full disk; older files are left as they were.
    """
    training = _Training(fold, key, spec, folder, about, device)
    try:
        while not training.done:
            training.epoch()
            on_epoch()
        training.finish("ok")
    except (Diverged, SolverError) as error:
        # As the paper's Table 1 records a collapsed seed.
        training.finish("diverged", f"epoch {training.run['epochs'] + 1}: {error}")
    except BaseException:
        training.save_at_once()
        raise
    return training.run


class _Training:
    """A training on its way: the model, and what is known of it after each epoch."""

    def __init__(self, fold: Fold, key: RunKey, spec: ModelSpec, folder: Path, about: dict, device: str):
        """Begin, or go on where an earlier training of the same kind in `folder` stopped."""
        self.fold, self.key, self.spec, self.folder, self.device = fold, key, spec, folder, device
        seed_everything(key.seed)
        self.model = build(spec, fold.preprocessor.n_channels, key.latent_dim).to(device)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )
        made_from = {
            "key": key.as_dict(),
            "spec": spec.as_dict(),
            "threads": torch.get_num_threads(),
            "device": device,
        }
        code_and_data = {name: about.get(name) for name in ("fold_sha256", "code_sha256")}
        self.identity = made_from | code_and_data | {"torch": str(torch.__version__)}
        point = load_resume_point(folder, self.identity)
        if point is None:
            self.run = {
                **made_from,
                "run": key.path,
                "observations": spec.observations,
                "n_parameters": sum(p.numel() for p in self.model.parameters()),
                "status": "running",
                "reason": "",
                "attempt": uuid.uuid4().hex,
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "finished_at": "",
                "epochs": 0,
                "resumed_after": [],
                **about,
            }
            self.best = {"epoch": 0, "r2": -np.inf, "state": weights_of(self.model)}
            self.progress = {"last_r2": 0.0, "best_loss": np.inf, "seconds": 0.0}
            self.history = []
        else:
            self.model.load_state_dict(point.model)
            self.optimiser.load_state_dict(point.optimiser)
            restore_generators(point.generators)
            self.best, self.progress, self.history = point.best, point.progress, point.history
            self.run = point.run | about | {"resumed_after": [*point.run["resumed_after"], point.epoch]}
            print(f"{key.path}: goes on after epoch {point.epoch}", flush=True)
        self.started = time.monotonic() - self.progress["seconds"]
        write_json(folder / RUN_FILE, self.run)
        write_history(folder / HISTORY_FILE, self.history)
        self.point = self._this_point()

    @property
    def done(self) -> bool:
        """All epochs are trained, or patience is at its end."""
        epochs, patience = self.run["epochs"], self.spec.patience
        return epochs >= self.spec.epochs or bool(patience and epochs - self.best["epoch"] >= patience)

    def epoch(self) -> None:
        """Train and validate one epoch, and put it on disk."""
        epoch, lambda_smooth = self.run["epochs"] + 1, float(self.key.lambda_smooth)
        weight = losses.weights(self.spec, lambda_smooth, epoch)
        row = {"epoch": epoch}
        row |= _train_epoch(self.model, self.optimiser, self.fold, self.spec, weight, self.device)
        row |= _validate(self.model, self.fold, self.spec, losses.weights(self.spec, lambda_smooth, None), self.device)
        row |= {f"weight_{name}": value for name, value in weight._asdict().items()}
        row["seconds"] = time.monotonic() - self.started
        append_history(self.folder / HISTORY_FILE, row)
        self.history.append(row)
        self.run["epochs"] = epoch
        self.progress = {
            "last_r2": row["val_r2"],
            "best_loss": min(self.progress["best_loss"], row["val_loss"]),
            "seconds": row["seconds"],
        }
        if row["val_r2"] > self.best["r2"]:
            self.best = {"epoch": epoch, "r2": row["val_r2"], "state": weights_of(self.model)}
        self.point = self._this_point()
        if epoch % RESUME_EVERY == 0:
            save_resume_point(self.folder, self.point)
        _report(self.key, row, self.best, self.spec.epochs)

    def finish(self, status: str, reason: str = "") -> None:
        """Write what the training leaves behind."""
        if status == "ok":
            scores = self.best["r2"], self.progress["last_r2"], self.progress["best_loss"]
        else:
            print(f"{self.key.path}: {status} in {reason}", flush=True)
            scores = 0.0, 0.0, np.inf
        checkpoint = {"best": self.best["state"], "last": weights_of(self.model)}
        self.run |= {
            "status": status,
            "reason": reason,
            **dict(zip(("best_r2", "final_r2", "best_val_loss"), scores, strict=True)),
            "best_epoch": self.best["epoch"],
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "duration_s": time.monotonic() - self.started,
            "files": {
                CHECKPOINT_FILE: save_checkpoint(self.folder, checkpoint),
                HISTORY_FILE: sha256_of(self.folder / HISTORY_FILE),
            },
        }
        write_json(self.folder / RUN_FILE, self.run)
        (self.folder / RESUME_FILE).unlink(missing_ok=True)

    def save_at_once(self) -> None:
        """Keep what would be lost; where that cannot be written, an older resume point does."""
        try:
            save_resume_point(self.folder, self.point)
        except OSError as error:
            print(f"{self.key.path}: stopped; an older resume point is kept, {error.strerror}", flush=True)
        else:
            print(f"{self.key.path}: stopped; the next call goes on after epoch {self.point.epoch}", flush=True)

    def _this_point(self) -> ResumePoint:
        return ResumePoint(
            identity=self.identity,
            epoch=self.run["epochs"],
            model=weights_of(self.model),
            optimiser=copy_of_optimiser(self.optimiser),
            generators=generators(),
            best=self.best,
            progress=self.progress,
            history=list(self.history),
            run=dict(self.run),
        )


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


def seed_everything(seed: int) -> None:
    """Seed every generator in use and refuse operations whose result could differ from call to call."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us draw from it
    torch.manual_seed(seed)
    # Without it cuBLAS gives other bits from call to call, and PyTorch refuses to use it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def batches(fold: Fold, part: str, batch_size: int, shuffle: bool, device: str = "cpu"):
    """Batches ``(observed (B, L, K), mask (B, L), times (L,))`` of one part, cut to the longest trial in the batch.

    Training under the paper's protocols drops an incomplete last batch, as the source does.
    """
    values, mask = map(torch.from_numpy, fold.sequences(part))
    times = torch.from_numpy(fold.times)
    n = len(values)
    order = torch.randperm(n) if shuffle else torch.arange(n)
    if shuffle and fold.about["drop_last_batch"] and n >= batch_size:
        order = order[: n - n % batch_size]
    for rows in order.split(batch_size):
        length = int(mask[rows].sum(dim=1).max())
        yield tuple(tensor.to(device) for tensor in (values[rows, :length], mask[rows, :length], times[:length]))


def _train_epoch(
    model: ODEVAE, optimiser, fold: Fold, spec: ModelSpec, weight: losses.Terms, device: str
) -> dict[str, float]:
    model.train()
    sums = []
    for observed, mask, times in batches(fold, "train", spec.batch_size, True, device):
        optimiser.zero_grad()
        values = losses.terms(model(observed, mask, times, sample=True), observed, mask, times, weight)
        loss = losses.total(values, weight)
        if not torch.isfinite(loss):
            raise Diverged(f"training loss is {loss.item()}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        optimiser.step()
        sums.append([loss.item(), *(value.item() for value in values)])
    return _columns("train", np.mean(sums, axis=0), weight)


def _validate(model: ODEVAE, fold: Fold, spec: ModelSpec, weight: losses.Terms, device: str) -> dict[str, float]:
    """The published definition: a sampled initial state, full weights, means over batches; R2 in the spec's space."""
    model.eval()
    sums, predicted = [], np.zeros_like(fold.sequences("validation")[0])
    done = 0
    with torch.no_grad():
        for observed, mask, times in batches(fold, "validation", spec.batch_size, False, device):
            output = model(observed, mask, times, sample=True)
            values = losses.terms(output, observed, mask, times, weight)
            loss = losses.total(values, weight)
            if not torch.isfinite(loss):
                raise Diverged(f"validation loss is {loss.item()}")
            sums.append([loss.item(), *(value.item() for value in values)])
            predicted[done : done + len(observed), : observed.shape[1]] = output.reconstruction.cpu().numpy()
            done += len(observed)
    r2 = r2_batched(
        fold.truth("validation", spec.validation_space),
        fold.carried("validation", predicted, spec.validation_space),
        fold.raw.mask[fold.parts["validation"]],
        spec.batch_size,
    )
    return _columns("val", np.mean(sums, axis=0), weight) | {"val_r2": r2}


def _columns(prefix: str, means: np.ndarray, weight: losses.Terms) -> dict[str, float]:
    """History columns: the loss, each term as it stands and as it counts."""
    stands = dict(zip(losses.Terms._fields, map(float, means[1:]), strict=True))
    return (
        {f"{prefix}_loss": float(means[0])}
        | {f"{prefix}_{name}": value for name, value in stands.items()}
        | {f"{prefix}_weighted_{name}": value * getattr(weight, name) for name, value in stands.items()}
    )


def _report(key: RunKey, row: dict, best: dict, epochs: int) -> None:
    epoch = row["epoch"]
    if epoch % max(1, epochs // PROGRESS_LINES) and epoch not in (1, epochs):
        return
    eta_s = int(row["seconds"] / epoch * (epochs - epoch))
    print(
        f"{key.path}: epoch {epoch}/{epochs} | train {row['train_loss']:.4f} | validation {row['val_loss']:.4f} "
        f"(reconstruction {row['val_reconstruction']:.4f}, KL {row['val_kl']:.3f}) | R2 {row['val_r2']:.4f} "
        f"(best {best['r2']:.4f} at {best['epoch']}) | ETA {eta_s // 60}:{eta_s % 60:02d}",
        flush=True,
    )
