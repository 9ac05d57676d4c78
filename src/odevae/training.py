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

from odevae import losses
from odevae.folds import Fold
from odevae.metrics import r2_batched
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec
from odevae.runs import CHECKPOINT_FILE, HISTORY_FILE, RUN_FILE, RunKey, append_history, write_json
from odevae.solvers import SolverError

GRADIENT_NORM = 1.0
# About this many progress lines a run.
PROGRESS_LINES = 30
SCHEMA = 1


class Diverged(ArithmeticError):
    """The loss is no longer a number, or the latent path cannot be integrated."""


def train(
    fold: Fold, key: RunKey, spec: ModelSpec, folder: Path, about: dict, on_epoch: Callable[[], None] = lambda: None
) -> dict:
    """Train one model and write ``run.json``, ``history.csv`` and ``checkpoint.pt`` into `folder`.

    The checkpoint holds the states of the best epoch (highest validation R2) and of the last. A run whose loss is no
    longer a number ends as ``diverged`` and is recorded as the paper records it: R2 0, best validation loss infinite.
    The same arguments give the same bits on one machine with the same number of threads.

    Args:
        fold: the data.
        key: names the run and gives latent dimension, lambda_smooth and seed.
        spec: the model's settings.
        folder: an existing folder; an old history in it is replaced.
        about: further entries of ``run.json`` (provenance, data checksum).
        on_epoch: called after each epoch, once its row is in the history.

    Returns:
        The content of ``run.json``.
    """
    seed_everything(key.seed)
    model = build(spec, fold.preprocessor.n_channels, key.latent_dim)
    optimiser = torch.optim.Adam(model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
    start = time.monotonic()
    run = {
        "schema": SCHEMA,
        "key": key.as_dict(),
        "run": key.path,
        "observations": spec.observations,
        "spec": spec.as_dict(),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "status": "running",
        "reason": "",
        "attempt": uuid.uuid4().hex,
        "threads": torch.get_num_threads(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished_at": "",
        "epochs": 0,
        **about,
    }
    write_json(folder / RUN_FILE, run)
    history_path = folder / HISTORY_FILE
    history_path.unlink(missing_ok=True)

    best = {"epoch": 0, "r2": -np.inf, "state": _state(model)}
    last_r2, best_loss = 0.0, np.inf
    try:
        for epoch in range(1, spec.epochs + 1):
            row = {"epoch": epoch}
            weight = losses.weights(spec, float(key.lambda_smooth), epoch)
            row |= _train_epoch(model, optimiser, fold, spec, weight)
            row |= _validate(model, fold, spec, losses.weights(spec, float(key.lambda_smooth), None))
            row |= {f"weight_{name}": value for name, value in weight._asdict().items()}
            row["seconds"] = time.monotonic() - start
            append_history(history_path, row)
            run["epochs"] = epoch
            last_r2, best_loss = row["val_r2"], min(best_loss, row["val_loss"])
            if row["val_r2"] > best["r2"]:
                best = {"epoch": epoch, "r2": row["val_r2"], "state": _state(model)}
            _report(key, row, best, spec.epochs, time.monotonic() - start)
            on_epoch()
            if spec.patience and epoch - best["epoch"] >= spec.patience:
                break
        run |= {"status": "ok", "best_r2": best["r2"], "final_r2": last_r2, "best_val_loss": best_loss}
    except (Diverged, SolverError) as error:
        # As the paper's Table 1 records a collapsed seed.
        run |= {"status": "diverged", "reason": f"epoch {run['epochs'] + 1}: {error}"}
        run |= {"best_r2": 0.0, "final_r2": 0.0, "best_val_loss": np.inf}
        print(f"{key.path}: diverged in {run['reason']}", flush=True)

    history_path.touch()  # a run that collapses in its first epoch has an empty history, not none
    save_checkpoint(folder / CHECKPOINT_FILE, {"best": best["state"], "last": _state(model)})
    run |= {
        "best_epoch": best["epoch"],
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": time.monotonic() - start,
    }
    write_json(folder / RUN_FILE, run)
    return run


def seed_everything(seed: int) -> None:
    """Seed every generator in use and refuse operations whose result could differ from call to call."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us draw from it
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def save_checkpoint(path: Path, content: dict) -> None:
    """Write aside and rename: an older checkpoint survives until the new one is whole."""
    aside = path.with_name(path.name + ".part")
    torch.save(content, aside)
    os.replace(aside, path)


def batches(fold: Fold, part: str, batch_size: int, shuffle: bool):
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
        yield values[rows, :length], mask[rows, :length], times[:length]


def _train_epoch(model: ODEVAE, optimiser, fold: Fold, spec: ModelSpec, weight: losses.Terms) -> dict[str, float]:
    model.train()
    sums = []
    for observed, mask, times in batches(fold, "train", spec.batch_size, shuffle=True):
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


def _validate(model: ODEVAE, fold: Fold, spec: ModelSpec, weight: losses.Terms) -> dict[str, float]:
    """The published definition: a sampled initial state, full weights, means over batches; R2 in the spec's space."""
    model.eval()
    sums, predicted = [], np.zeros_like(fold.sequences("validation")[0])
    done = 0
    with torch.no_grad():
        for observed, mask, times in batches(fold, "validation", spec.batch_size, shuffle=False):
            output = model(observed, mask, times, sample=True)
            values = losses.terms(output, observed, mask, times, weight)
            loss = losses.total(values, weight)
            if not torch.isfinite(loss):
                raise Diverged(f"validation loss is {loss.item()}")
            sums.append([loss.item(), *(value.item() for value in values)])
            predicted[done : done + len(observed), : observed.shape[1]] = output.reconstruction.numpy()
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


def _state(model: ODEVAE) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _report(key: RunKey, row: dict, best: dict, epochs: int, elapsed_s: float) -> None:
    epoch = row["epoch"]
    if epoch % max(1, epochs // PROGRESS_LINES) and epoch not in (1, epochs):
        return
    eta_s = int(elapsed_s / epoch * (epochs - epoch))
    print(
        f"{key.path}: epoch {epoch}/{epochs} | train {row['train_loss']:.4f} | validation {row['val_loss']:.4f} "
        f"(reconstruction {row['val_reconstruction']:.4f}, KL {row['val_kl']:.3f}) | R2 {row['val_r2']:.4f} "
        f"(best {best['r2']:.4f} at {best['epoch']}) | ETA {eta_s // 60}:{eta_s % 60:02d}",
        flush=True,
    )
