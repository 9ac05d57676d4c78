"""The training loop of the ODE-VAE. It knows data and a model, and nothing of folders, names of runs or records."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from odevae.metrics import r2_batched
from odevae.models.odevae import ODEVAE
from odevae.models.presets import ModelSpec
from odevae.models.solvers import SolverError
from odevae.protocols.fold import Fold
from odevae.training import losses
from odevae.training.descent import Best, Diverged, descend, require_finite, weights_of
from odevae.training.optimisers import Adam
from odevae.training.reproducibility import generators, restore_generators


@dataclass(frozen=True)
class State:
    """A training at the end of an epoch: everything that the epochs after it depend on, copied.

    Attributes:
        epoch: the last finished one.
        seconds: trained so far, s.
        model, optimiser: their states. Schedules follow from the epoch.
        generators: states of every random generator in use.
        best: the epoch of the highest validation R2 so far.
    """

    epoch: int
    seconds: float
    model: dict
    optimiser: dict
    generators: dict
    best: Best


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
        Diverged: if the loss is no longer a number or the latent path cannot be integrated; the message names the
            epoch.
    """
    optimiser = Adam(model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
    epoch, seconds, best = 0, 0.0, Best(weights_of(model))
    if start is not None:
        epoch, seconds, best = start.epoch, start.seconds, start.best
        model.load_state_dict(start.model)
        optimiser.load_state_dict(start.optimiser)
        restore_generators(start.generators)
    started = time.monotonic() - seconds
    full_weight = losses.weights(spec, lambda_smooth, None)

    while epoch < spec.epochs and not (spec.patience and epoch - best.epoch >= spec.patience):
        epoch += 1
        weight = losses.weights(spec, lambda_smooth, epoch)
        try:
            model.train()
            trained = []
            for observed, mask, times in batches(fold, "train", spec.batch_size, True, device):
                output = model(observed, mask, times, sample=True)  # eq. 1 to 5
                terms = losses.terms(output, observed, mask, times, weight)  # eq. 7 to 11
                loss = losses.total(terms, weight)  # eq. 12
                descend(loss, model, optimiser)  # backward, clip, step
                trained.append([loss.item(), *(term.item() for term in terms)])
            solver = model.solver.end_epoch()
            validated, r2 = validate(model, fold, spec, full_weight, device)
        except (Diverged, SolverError) as error:
            raise Diverged(f"epoch {epoch}: {error}") from error
        best = best.or_better(epoch, r2, model)
        seconds = time.monotonic() - started
        row = (
            {"epoch": epoch}
            | _columns("train", trained, weight)
            | _columns("val", validated, full_weight)
            | {"val_r2": r2}
            | solver
            | {f"weight_{name}": value for name, value in weight._asdict().items()}
            | {"seconds": seconds}
        )
        optimiser_state = copy.deepcopy(optimiser.state_dict())
        yield Epoch(row, State(epoch, seconds, weights_of(model), optimiser_state, generators(), best))


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
