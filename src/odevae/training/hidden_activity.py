"""What is hidden from an encoder, and how likely a `odevae.models.shooting.ShootingVAE` finds it.

A model that sees what it has to give learns to copy noise (Keshtkaran & Pandarinath 2019), so settings and weights are
chosen by the likelihood of hidden neurons and entries of validation trials, never by that of entries that are seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from odevae.models.likelihoods import Likelihood
from odevae.models.shooting import ShootingVAE, smoothed_paths

HIDDEN_GROUPS = 4
# In recordings of fewer neurons none is hidden as a whole: the few others do not determine it.
FEWEST_NEURONS = 20
# Phases of the knots over which a loss is averaged.
PHASES = 2
# Validation trials that decide whether paths are smoothed.
DECIDING_TRIALS = 64


@dataclass(frozen=True)
class Hidden:
    """Entries of trials that are hidden from the encoder, and scored.

    Attributes:
        entries: ``(B, L, N)`` bool.
        share: of the entries.
    """

    entries: torch.Tensor
    share: float


def shown(values: torch.Tensor, hidden: torch.Tensor, share: float) -> torch.Tensor:
    """What the encoder gets ``(B, L, N)``: zero where hidden, the rest larger to make up for it, as dropout does."""
    return torch.where(hidden, 0.0, values) / (1 - share)


def hidden_sets(values: torch.Tensor, generator: torch.Generator) -> list[Hidden]:
    """Each neuron hidden once for the whole trial, then each entry once; groups of a quarter."""
    groups = [torch.randint(HIDDEN_GROUPS, values.shape, generator=generator)]
    n_neurons = values.shape[2]
    if n_neurons >= FEWEST_NEURONS:
        groups.append((torch.randperm(n_neurons, generator=generator) % HIDDEN_GROUPS).expand(values.shape))
    return [Hidden(group == i, 1 / HIDDEN_GROUPS) for group in groups for i in range(HIDDEN_GROUPS)]


def inferred_paths(
    model: ShootingVAE,
    values: torch.Tensor,
    recorded: torch.Tensor,
    hidden: torch.Tensor,
    share: float,
    phases: Sequence[int],
    continuity: float | None = None,
) -> torch.Tensor:
    """Paths ``(P, B, L, D)`` from the posterior means, whose encoder is given what is not hidden.

    Args:
        model, values, recorded, phases: see `odevae.models.shooting`.
        hidden: ``(B, L, N)`` or ``(N,)`` bool; `share` of the entries.
        continuity: SD with which knots move to where what is not hidden is likeliest, see
            `odevae.models.shooting.smoothed_paths`; None leaves them.
    """
    with torch.no_grad():
        states, _ = model.encoder(shown(model.likelihood.seen(values), hidden, share), recorded)
        if continuity is None:
            return model.paths(states, phases)
    return smoothed_paths(model, states, values, recorded, recorded[..., None] & ~hidden, phases, continuity)


def hidden_loss(
    model: ShootingVAE,
    values: torch.Tensor,
    recorded: torch.Tensor,
    sets: Iterable[Hidden],
    continuity: float | None = None,
) -> float:
    """Nats of what was hidden, mean over its entries inside the trials; over some phases of the knots.

    See `inferred_paths` for `continuity`.
    """
    total, n = 0.0, 0
    for hidden in sets:
        paths = inferred_paths(model, values, recorded, hidden.entries, hidden.share, model.phases(PHASES), continuity)
        counted = hidden.entries & recorded[..., None]
        with torch.no_grad():
            losses = sum(model.likelihood.negative_log(model.decoder(path), values) for path in paths) / len(paths)
        total += float(losses[counted].sum())
        n += int(counted.sum())
    return total / max(n, 1)


def smoothing_pays(model: ShootingVAE, values: torch.Tensor, recorded: torch.Tensor, continuity: float) -> bool:
    """Whether hidden entries of the first trials are likelier on smoothed paths; else the encoder knows better than
    the field. See `inferred_paths`."""
    values, recorded = values[:DECIDING_TRIALS], recorded[:DECIDING_TRIALS]
    sets = hidden_sets(values, torch.Generator().manual_seed(0))
    by_encoder, by_both = (hidden_loss(model, values, recorded, sets, how) for how in (None, continuity))
    return by_both < by_encoder


@torch.no_grad()
def loss_of_nothing(likelihood: Likelihood, values: torch.Tensor, recorded: torch.Tensor) -> float:
    """Nats an entry of a model that knows no more than the mean activity of every neuron."""
    start = likelihood.start.expand(*values.shape[:2], -1)
    return float(likelihood.negative_log(start, values)[recorded].mean())
