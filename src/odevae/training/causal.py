"""Fit a causal copy of a `odevae.models.shooting.ShootingVAE`: the state now, from what a trial was until now.

The encoder of `odevae.training.shooting` also sees what comes after a frame. Here it is given the frames up to one, and
nothing after it, and the field goes on from the state that it answers. All weights learn to make the next frames
likely.
"""

import copy
import math
from collections.abc import Iterator

import torch
from torch.nn import functional

from odevae.errors import OdevaeError
from odevae.models.shooting import DILATIONS, KERNEL, ShootingVAE
from odevae.training.descent import Best, descend_averaged, weights_of
from odevae.training.shooting import ShootingSettings, gaussian_kl, partly_hidden

# Frames, the last one included, that the encoder's answer at a last frame depends on.
REACH = 1 + KERNEL // 2 * sum(DILATIONS)
# Frames after it that are targets.
AHEAD = 10
# Chosen on validation trials of splits 0 and 1 of E65.
STEPS, LOOKS = 100, 20
MOMENTS = 128  # of a step
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-2
AVERAGING = 0.97  # per step, of the weights that are judged and kept
DIVERGENCE = 0.05  # weight of the divergence from a unit Gaussian
JUDGED = 1000  # moments of the validation trials, at most


class Moments:
    """Every recorded frame of some trials as a present: the frames until then, and those that follow.

    Args:
        values: ``(B, L, N)`` in units of the model's scale, zero outside the recorded bins ``(B, L)``.
        recorded: they come first in each trial.

    Attributes:
        at: ``(M, 2)`` int64, trial and bin of each moment.
    """

    def __init__(self, values: torch.Tensor, recorded: torch.Tensor):
        self.at = recorded.nonzero()
        self._values = functional.pad(values, (0, 0, REACH - 1, AHEAD))
        self._recorded = functional.pad(recorded, (REACH - 1, AHEAD))

    def past(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activity ``(m, REACH, N)`` until some moments ``(m, 2)``, and what of it lies in the trial ``(m, REACH)``."""
        return self._from(at, 0, REACH)

    def future(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activity ``(m, AHEAD, N)`` after some moments, and which of it lies in the trial ``(m, AHEAD)``."""
        return self._from(at, REACH, AHEAD)

    def _from(self, at: torch.Tensor, first: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        trial, bins = at[:, :1], at[:, 1:] + first + torch.arange(n)
        return self._values[trial, bins], self._recorded[trial, bins]


class CausalObjective:
    """Nats of the frames that follow some moments."""

    def __init__(self, model: ShootingVAE, settings: ShootingSettings, moments: Moments):
        self.model, self.settings, self.moments = model, settings, moments

    def __call__(self, at: torch.Tensor) -> torch.Tensor:
        """Nats a frame, over the square root of the number of neurons, after moments ``(m, 2)``."""
        model = self.model
        past, inside = self.moments.past(at)
        mean, log_variance = model.encoder(partly_hidden(model.likelihood, past, self.settings), inside)
        mean, log_variance = mean[:, -1], log_variance[:, -1]
        states = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        divergence = gaussian_kl(mean, log_variance, torch.zeros_like(mean), 1.0).mean()
        total = loss_of_future(model, states, *self.moments.future(at)) + DIVERGENCE * divergence
        return total / math.sqrt(past.shape[2])


def loss_of_future(
    model: ShootingVAE, states: torch.Tensor, values: torch.Tensor, recorded: torch.Tensor
) -> torch.Tensor:
    """Nats a frame of what follows ``(m, AHEAD, N)`` some states ``(m, D)``, of its recorded frames ``(m, AHEAD)``."""
    path = model.solve(states, values.shape[1])[:, 1:]
    unlikely = model.likelihood.negative_log(model.decoder(path), values).sum(dim=-1)
    return (unlikely * recorded).sum() / recorded.sum().clamp_min(1)


def states_now(model: ShootingVAE, past: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Posterior means ``(m, D)`` at the last of some frames ``(m, REACH, N)`` that lie in the trial where `inside`."""
    return model.encoder(model.likelihood.seen(past), inside)[0][:, -1]


def fit_causal(
    model: ShootingVAE,
    settings: ShootingSettings,
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
) -> ShootingVAE:
    """A copy of a fitted model that has learned to go on from the past; see the module.

    Args:
        model: fitted by `odevae.training.shooting.fit_shooting`; stays as it is.
        settings: the ones that it was fitted with.
        train, validation: activity ``(B, L, N)`` and recorded bins ``(B, L)``, as there. The weights kept are those
            under which the frames after some moments of validation trials are likeliest.

    Raises:
        OdevaeError: if the loss is no number.
    """
    causal = copy.deepcopy(model).requires_grad_(True)
    moments, judged = Moments(*train), Moments(*validation)
    at = judged.at[:: max(1, math.ceil(len(judged.at) / JUDGED))]

    def drawn() -> Iterator[tuple[torch.Tensor]]:
        while True:
            yield (moments.at[torch.randint(len(moments.at), (MOMENTS,))],)

    looks = descend_averaged(
        causal,
        drawn(),
        CausalObjective(causal, settings, moments),
        steps=STEPS,
        look_every=max(1, STEPS // LOOKS),
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        decay=AVERAGING,
    )
    best = Best(weights_of(causal))
    for look, average in enumerate(looks, start=1):
        with torch.no_grad():
            loss = loss_of_future(average, states_now(average, *judged.past(at)), *judged.future(at))
        best = best.or_better(look, -float(loss), average)
    if not best.epoch:
        raise OdevaeError(
            f"the loss of the validation trials is {float(loss)}; check the recording for values far beyond the others."
        )
    causal.load_state_dict(best.weights)
    return causal.eval().requires_grad_(False)
