"""The training loop of the ODE-VAE. It knows data and a model, and nothing of folders, names of runs or records."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from odevae.metrics import r2_batched
from odevae.models.odevae import ODEVAE
from odevae.models.presets import ModelSpec
from odevae.models.solvers import SolverError
from odevae.protocols.fold import Fold
from odevae.training import losses, schedules
from odevae.training.descent import Best, Diverged, require_finite, weights_of
from odevae.training.state import State, Training


class Epoch(NamedTuple):
    """What is known at the end of an epoch: its row of the history, and the state of the training."""

    row: dict[str, float]
    state: State


def fit(
    model: ODEVAE, fold: Fold, spec: ModelSpec, lambda_smooth: float, device: str = "cpu", start: State | None = None
) -> Iterator[Epoch]:
    """Train a model in place, one epoch after another, until the last one or the end of patience.

    Whoever wants the same bits again seeds the generators before the model is built. A training that goes on from the
    state after any epoch gives the bits of one that was never stopped.

    Args:
        model: new, on `device`.
        fold: the data.
        spec: the model's settings.
        lambda_smooth: weight of the smoothness term.
        device: where PyTorch computes, ``cpu`` or ``cuda``.
        start: where an earlier training of the same kind stopped.

    Raises:
        Diverged: if the loss is no longer a number or the latent path cannot be integrated, more often than the
            settings allow; the message names the epoch.
    """
    training = Training(model, spec)
    state = training.state(0, 0.0, Best(weights_of(model)))
    if start is not None:
        training.resume(start)
        state = start
    started = time.monotonic() - state.seconds
    full_weight = losses.weights(spec, lambda_smooth, None)

    while state.epoch < spec.epochs and not _out_of_patience(spec, state):
        epoch = state.epoch + 1
        weight = losses.weights(spec, lambda_smooth, epoch)
        rate = schedules.learning_rate(spec, epoch)
        try:
            training.begin_epoch(state, rate)
            trained = _train_epoch(training, fold, weight, epoch, device)
            solver = model.solver.end_epoch()
            try:
                validated, r2 = validate(training.judged, fold, spec, full_weight, device)
            except (Diverged, SolverError) as error:
                training.go_back(error)
                validated, r2 = validate(training.judged, fold, spec, full_weight, device)
        except (Diverged, SolverError) as error:
            raise Diverged(f"epoch {epoch}: {error}") from error
        row = (
            {"epoch": epoch}
            | _columns("train", trained, weight)
            | _columns("val", validated, full_weight)
            | {"val_r2": r2}
            | solver
            | {f"weight_{name}": value for name, value in weight._asdict().items()}
            | {"learning_rate": rate, "skipped_steps": training.skipped}
            | {"seconds": time.monotonic() - started}
        )
        score = -row["val_loss"] if spec.select_by == "loss" else r2
        state = training.state(epoch, row["seconds"], state.best.or_better(epoch, score, training.judged))
        yield Epoch(row, state)


def _out_of_patience(spec: ModelSpec, state: State) -> bool:
    waits_from = max(state.best.epoch, schedules.grown_up(spec) if spec.patience_after_warmup else 0)
    return bool(spec.patience) and state.epoch - waits_from >= spec.patience


def _train_epoch(training: Training, fold: Fold, weight: losses.Terms, epoch: int, device: str) -> list[list[float]]:
    """The loss and the terms of each batch whose step did not fail.

    Raises:
        Diverged: if too many steps fail.
    """
    model, spec, trained = training.model, training.spec, []
    model.train()
    # Where every step of an epoch fails, its trials come again.
    while not trained:
        for batch in batches(fold, "train", spec.batch_size, True, device):
            n_bins = schedules.horizon(spec, epoch, len(batch[-1]))
            observed, mask, times = batch[0][:, :n_bins], batch[1][:, :n_bins], batch[2][:n_bins]
            try:
                output = model(observed, mask, times, sample=True)  # eq. 1 to 5
                terms = losses.terms(output, observed, mask, times, weight)  # eq. 7 to 11
                loss = losses.total(terms, weight)  # eq. 12
                training.step(loss)  # backward, clip, step
            except (Diverged, SolverError) as error:
                training.skip(error)
            else:
                trained.append([loss.item(), *(term.item() for term in terms)])
    return trained


def validate(
    model: ODEVAE, fold: Fold, spec: ModelSpec, weight: losses.Terms, device: str
) -> tuple[list[list[float]], float]:
    """The published definition: a sampled initial state, full weights; R2 in the spec's space.

    Returns:
        The loss and the terms of each batch, and R2.

    Raises:
        Diverged: if the loss is no number.
        SolverError: if the latent path cannot be integrated.
    """
    model.eval()
    rows = fold.parts["validation"]
    validated, predicted = [], np.zeros((len(rows), *fold.observed.shape[1:]), np.float32)
    done = 0
    with torch.no_grad():
        for observed, mask, times in batches(fold, "validation", spec.batch_size, False, device):
            output = model(observed, mask, times, sample=True)
            terms = losses.terms(output, observed, mask, times, weight)
            loss = losses.total(terms, weight)
            require_finite(loss, "validation")
            validated.append([loss.item(), *(term.item() for term in terms)])
            predicted[done : done + len(observed), : observed.shape[1]] = output.reconstruction.cpu().numpy()
            done += len(observed)
    r2 = r2_batched(
        fold.truth("validation", spec.validation_space),
        fold.carried("validation", predicted, spec.validation_space),
        fold.raw.mask[rows],
        spec.batch_size,
    )
    return validated, r2


def batches(fold: Fold, part: str, batch_size: int, shuffle: bool, device: str = "cpu"):
    """Batches ``(observed (B, L, C), mask (B, L), times (L,))`` of one part, cut to the longest trial in the batch.

    Training under the paper's protocols drops an incomplete last batch, as the source does.
    """
    values, mask, trials, times = map(torch.from_numpy, (fold.observed, fold.raw.mask, fold.parts[part], fold.times))
    n = len(trials)
    order = torch.randperm(n) if shuffle else torch.arange(n)
    if shuffle and fold.about["drop_last_batch"] and n >= batch_size:
        order = order[: n - n % batch_size]
    # Only a batch of trials is copied at a time.
    for rows in trials[order].split(batch_size):
        length = int(mask[rows].sum(dim=1).max())
        yield tuple(tensor.to(device) for tensor in (values[rows, :length], mask[rows, :length], times[:length]))


def _columns(prefix: str, of_batches: list[list[float]], weight: losses.Terms) -> dict[str, float]:
    """History columns, means over batches: the loss, each term as it is and as it counts."""
    loss, *terms = map(float, np.mean(of_batches, axis=0))
    named = dict(zip(losses.Terms._fields, terms, strict=True))
    return (
        {f"{prefix}_loss": loss}
        | {f"{prefix}_{name}": value for name, value in named.items()}
        | {f"{prefix}_weighted_{name}": value * getattr(weight, name) for name, value in named.items()}
    )
