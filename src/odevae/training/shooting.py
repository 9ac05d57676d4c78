"""Fit a `odevae.models.shooting.ShootingVAE`: the objective, what is hidden from the encoder, the choice of settings.

The objective is the evidence lower bound with a posterior at every knot (Iakovlev et al. 2023, eq. 9 and 10), and one
term more: all knots together are held to mean zero and covariance one. Without it the continuity prior shrinks latents,
and one that has shrunk to nothing never comes back, although the loss stays finite.

In every step some neurons or some entries are hidden from the encoder and stay targets, because a model that sees what
it has to give learns to copy noise (Keshtkaran & Pandarinath 2019). For the same reason settings and weights are chosen
by the likelihood of hidden neurons and entries of the validation trials, never by that of entries that are seen.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.events import DENSE, SPARSE, SPIKES, kind_of
from odevae.models.likelihoods import LIKELIHOODS, Likelihood, LogLinkGaussian, SoftplusPoisson
from odevae.models.shooting import ShootingVAE
from odevae.training.charts import start_from_charts
from odevae.training.descent import Best, descend_averaged, weights_of
from odevae.training.hidden_activity import (
    FEWEST_NEURONS,
    hidden_loss,
    hidden_sets,
    loss_of_nothing,
    shown,
    smoothing_pays,
)
from odevae.training.trial_batches import batches

# Share of the steps over which the continuity prior tightens, and of those that the running mean of the weights spans.
TIGHTENED = 0.5
AVERAGED = 0.1
# Validation trials are looked at this often in a whole fit, each entry and neuron hidden once.
LOOKS = 20
# Share of its steps, and of the looks, that each of the settings gets before one is chosen.
TRIAL_SHARE = 0.2
# Shares of what the best settings say about hidden activity. The simpler ones, with a linear decoder or with one that
# reads half of the latents, learn slower: they are fitted in full too if they say so much after these steps, and taken
# if they then say so much. Under a linear decoder latents are known up to a linear map, under a bent one their shape is
# arbitrary; and numbers that a decoder need not read are no part of what activity depends on.
SIMPLE_CONTENDS, SIMPLE_SUFFICES = 0.5, 0.95
# Times the steps that a whole fit with a linear decoder gets when settings are chosen, for the same reason.
LINEAR_STEPS = 2
# Added to the covariance of the knots, whose determinant is taken.
RIDGE = 1e-6


@dataclass(frozen=True)
class ShootingSettings:
    """How a model is built and fitted.

    Attributes:
        block_frames: frames between two knots.
        curved: whether the decoder bends; else it is `tuned`, or linear up to the link of the observation model.
        log_link: whether the decoder gives the logarithm of activity; for dense activity, see `LogLinkGaussian`.
        tuned: whether the decoder gives Gaussian tuning curves of the latents, see
            `odevae.models.shooting.TunedDecoder`; for dense activity with a log link.
        softplus: whether the rate of spikes is a softplus of what the decoder gives, and not an exponential.
        charted: whether encoder and decoder start from coordinates of the training frames, see
            `odevae.training.charts`.
        second_order: whether half of the latents are velocities, see `odevae.models.shooting.ShootingVAE`.
        width, field_width: of the hidden layers of encoder and decoder, and of the field.
        dropout, decoder_dropout: in the encoder and before the decoder's last layer.
        hidden_entries: share of the entries hidden from the encoder, in half of the trials of a step.
        hidden_neurons: share of the neurons hidden for the whole trial, in the other half.
        gain_jitter: SD of the log of a gain that the encoder's input of each neuron in each trial is given.
        kl_weight: of the divergence from the prior.
        loose, tight: SD of the continuity prior at first and at last, in units of the latents' SD.
        steps: of AdamW.
        batches: steps in which every training trial is seen once.
        learning_rate, weight_decay: of AdamW, on a one-cycle schedule.
    """

    block_frames: int = 10
    curved: bool = True
    log_link: bool = False
    tuned: bool = False
    softplus: bool = False
    charted: bool = False
    second_order: bool = False
    width: int = 96
    field_width: int = 64
    dropout: float = 0.0
    decoder_dropout: float = 0.0
    hidden_entries: float = 0.2
    hidden_neurons: float = 0.25
    gain_jitter: float = 0.0
    kl_weight: float = 1.0
    loose: float = 0.5
    tight: float = 0.1
    steps: int = 800
    batches: int = 20
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2

    @property
    def linear(self) -> bool:
        """Whether the decoder is linear up to the link of the observation model."""
        return not (self.curved or self.tuned)


# For many trials of few neurons, and for few trials of many.
LIGHT = ShootingSettings()
HEAVY = ShootingSettings(
    width=256,
    dropout=0.3,
    decoder_dropout=0.1,
    hidden_neurons=0.4,
    gain_jitter=0.7,
    kl_weight=2.0,
    loose=1.0,
    tight=0.3,
    steps=360,
    learning_rate=2e-3,
)
# For neurons with fields. A narrower encoder folds the latents on the simulated disc.
TUNED = replace(LIGHT, curved=False, tuned=True, charted=True, width=256, block_frames=4, steps=2 * LIGHT.steps)
_OF_ALL = (replace(LIGHT, curved=False), LIGHT, replace(HEAVY, block_frames=4), HEAVY)
# Every frame for itself: no path, and knots that nothing draws to each other but a prior as wide as they are.
FRAMES = replace(LIGHT, block_frames=1, curved=False, softplus=True, loose=1.0, tight=1.0)
# By what counts as an event, see `odevae.events.KINDS`.
CANDIDATES = {
    SPIKES: _OF_ALL,
    SPARSE: _OF_ALL,
    DENSE: (replace(LIGHT, curved=False, log_link=True), *_OF_ALL),
}


@dataclass(frozen=True)
class ShootingFit:
    """A fitted model and how it came to be.

    Attributes:
        model: ready to answer, with the weights of the best look.
        settings: that it was fitted with.
        history: a row for each look at the validation trials: ``epoch``, the look's number; ``seconds`` since the fit
            began; ``train_loss`` and its parts ``train_reconstruction`` and ``train_weighted_kl``, means of the steps
            since the look before; ``val_loss``, that of hidden entries, nats an entry; and what the caller judges.
        best: the look of the smallest ``val_loss``, and its weights.
        last: weights of the last look.
    """

    model: ShootingVAE
    settings: ShootingSettings
    history: list[dict[str, float]]
    best: Best
    last: dict[str, torch.Tensor]


@dataclass(frozen=True)
class FittedTrials:
    """A fit to trials in recorded units.

    Attributes:
        fit: the model sees activity divided by `scale`.
        kind: what counts as an event in the training trials, see `odevae.events.KINDS`.
        scale: of the activity that the model sees, in recorded units.
        smooths: whether knots are to be moved to where what is seen of a trial is likeliest: where activity is noisy,
            if that makes hidden entries of some validation trials likelier.
    """

    fit: ShootingFit
    kind: str
    scale: float
    smooths: bool


class ShootingObjective:
    """The loss of a step; counts the steps, because the continuity prior tightens."""

    def __init__(self, model: ShootingVAE, settings: ShootingSettings):
        self.model, self.settings, self.step = model, settings, 0
        self._parts: list[torch.Tensor] = []

    def means(self) -> dict[str, float]:
        """Mean loss and its parts over the steps since the last call."""
        reconstruction, divergence = torch.stack(self._parts).mean(dim=0).tolist()
        self._parts.clear()
        return {
            "train_loss": reconstruction + divergence,
            "train_reconstruction": reconstruction,
            "train_weighted_kl": divergence,
        }

    def __call__(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """Nats a frame, over the square root of the number of neurons, of trials ``(B, L, N)`` and recorded bins."""
        model, settings = self.model, self.settings
        done = min(1.0, self.step / (TIGHTENED * settings.steps))
        continuity = settings.loose * (settings.tight / settings.loose) ** done
        self.step += 1
        mean, log_variance = model.encoder(partly_hidden(model.likelihood, values, settings), recorded)
        n_bins = values.shape[1]
        knots = model.knots(n_bins, int(torch.randint(1, min(model.block_frames, n_bins - 1) + 1, ())))
        mean, log_variance, counted = mean[:, knots], log_variance[:, knots], recorded[:, knots]
        states = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        path, ends = model.blocks(states, knots, n_bins)
        unlikely = model.likelihood.negative_log(model.decoder(path), values).sum(dim=-1)
        divergence = (
            gaussian_kl(mean[:, :1], log_variance[:, :1], torch.zeros_like(mean[:, :1]), 1.0).sum()
            + (gaussian_kl(mean[:, 1:], log_variance[:, 1:], ends, continuity) * counted[:, 1:]).sum()
            + counted.sum() * kl_of_moments(states[counted])
        )
        parts = torch.stack([(unlikely * recorded).sum(), settings.kl_weight * divergence])
        parts = parts / (recorded.sum() * math.sqrt(values.shape[2]))
        self._parts.append(parts.detach())
        return parts.sum()


def partly_hidden(likelihood: Likelihood, values: torch.Tensor, settings: ShootingSettings) -> torch.Tensor:
    """What the encoder is given of trials ``(B, L, N)`` in a step: some neurons or entries are hidden."""
    n_trials, _, n_neurons = values.shape
    if settings.gain_jitter:
        values = values * torch.exp(settings.gain_jitter * torch.randn(n_trials, 1, n_neurons))
    seen = likelihood.seen(values)
    of_neurons = torch.rand(n_trials, 1, 1) < (0.5 if n_neurons >= FEWEST_NEURONS else 0.0)
    neurons = torch.rand(n_trials, 1, n_neurons) < settings.hidden_neurons
    entries = torch.rand(values.shape) < settings.hidden_entries
    hidden = torch.where(of_neurons, neurons, entries)
    share = torch.where(of_neurons, settings.hidden_neurons, settings.hidden_entries)
    return shown(seen, hidden, share)


def gaussian_kl(
    mean: torch.Tensor, log_variance: torch.Tensor, prior_mean: torch.Tensor, prior_sd: float
) -> torch.Tensor:
    """Divergence of a diagonal Gaussian ``(..., D)`` from one of the same SD in all dimensions: ``(...)``."""
    relative = ((mean - prior_mean) ** 2 + log_variance.exp()) / prior_sd**2
    return (relative - 1 - log_variance + 2 * math.log(prior_sd)).sum(dim=-1) / 2


def kl_of_moments(states: torch.Tensor) -> torch.Tensor:
    """Divergence of the Gaussian that has the moments of some states ``(M, D)`` from the unit Gaussian."""
    mean = states.mean(dim=0)
    deviations = states - mean
    identity = torch.eye(states.shape[1])
    covariance = deviations.T @ deviations / len(states) + RIDGE * identity
    return (covariance.trace() + mean @ mean - len(mean) - torch.logdet(covariance)) / 2


def likelihood_of(kind: str, settings: ShootingSettings) -> type[Likelihood]:
    """The observation model of activity with events of this kind."""
    if settings.softplus and kind == SPIKES:
        return SoftplusPoisson
    return LogLinkGaussian if settings.log_link else LIKELIHOODS[kind]


def build(
    kind: str, frames: torch.Tensor, latent_dim: int, settings: ShootingSettings, frozen: bool = False
) -> ShootingVAE:
    """A new model, whose observation model starts from the moments of frames ``(M, N)``; see `fit_shooting`."""
    return ShootingVAE(
        likelihood_of(kind, settings)(frames),
        frames.shape[1],
        latent_dim,
        block_frames=settings.block_frames,
        width=settings.width,
        field_width=settings.field_width,
        dropout=settings.dropout,
        decoder_dropout=settings.decoder_dropout,
        curved=settings.curved,
        tuned=settings.tuned,
        second_order=settings.second_order,
        frozen=frozen,
    )


def fit_shooting(
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
    kind: str,
    latent_dim: int,
    *,
    candidates: Iterable[ShootingSettings] | None = None,
    frozen: bool = False,
    judge: Callable[[ShootingVAE], dict[str, float]] = lambda _: {},
) -> ShootingFit:
    """Choose settings on validation trials, then fit.

    Each of the candidates gets `TRIAL_SHARE` of its steps; the one under which hidden neurons and entries of the
    validation trials are likeliest is fitted in full. A linear decoder, or one that reads
    half of the latents, is preferred if it says nearly as much, see `contending` and `preferred`.

    Args:
        train, validation: activity ``(B, L, N)`` in units of the model's scale, zero outside the recorded bins
            ``(B, L)``, which come first in each trial.
        kind: what counts as an event, see `odevae.events.KINDS`; it decides the observation model.
        latent_dim: ``D``.
        candidates: settings; without them those of `CANDIDATES`.
        frozen: whether the field never moves.
        judge: gives what else the history is to say of a model at a look; draws no random number.

    Raises:
        OdevaeError: if the loss is no number.
    """
    candidates = list(candidates or CANDIDATES[kind])
    sets = hidden_sets(validation[0], torch.Generator().manual_seed(0))
    started = time.monotonic()
    charted: dict[ShootingSettings, dict[str, torch.Tensor]] = {}

    def new_model(settings: ShootingSettings) -> ShootingVAE:
        model = build(kind, train[0][train[1]], latent_dim, settings, frozen)
        if settings.charted:
            if settings not in charted:
                start_from_charts(model, *train, partial(partly_hidden, settings=settings), settings.batches)
                charted[settings] = weights_of(model)
            model.load_state_dict(charted[settings])
        return model

    def fitted(settings: ShootingSettings, share: float = 1.0) -> ShootingFit:
        look_every = max(1, settings.steps // LOOKS)
        shortened = replace(settings, steps=max(1, round(share * settings.steps)))
        model = new_model(settings)
        objective = ShootingObjective(model, shortened)
        looks = descend_averaged(
            model,
            batches(*train, max(1, int(train[1].sum()) // settings.batches)),
            objective,
            steps=shortened.steps,
            look_every=look_every,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            decay=max(0.0, 1 - 1 / (AVERAGED * shortened.steps)),
        )
        best, history, last = Best(weights_of(model)), [], weights_of(model)
        for look, average in enumerate(looks, start=1):
            loss = hidden_loss(average, *validation, sets)
            row = {"epoch": look, "seconds": time.monotonic() - started, **objective.means(), "val_loss": loss}
            history.append(row | (judge(average) if share == 1.0 else {}))
            best = best.or_better(look, -loss, average)
            last = weights_of(average)
        if not best.epoch:
            raise OdevaeError(
                f"the loss of the validation trials is {loss}; check the recording for values far beyond the others."
            )
        model.load_state_dict(best.weights)
        return ShootingFit(model.eval().requires_grad_(False), settings, history, best, last)

    if len(candidates) == 1:
        return fitted(candidates[0])
    nothing = loss_of_nothing(LIKELIHOODS[kind](train[0][train[1]]), *validation)
    gains = [nothing + fitted(settings, TRIAL_SHARE).best.score for settings in candidates]
    fits = [fitted(settings) for settings in contending(candidates, gains)]
    return fits[preferred([fit.settings for fit in fits], [nothing + fit.best.score for fit in fits])]


def fit_trials(
    train: Trials,
    validation: Trials,
    latent_dim: int,
    *,
    candidates: Callable[[str], Iterable[ShootingSettings]] = CANDIDATES.__getitem__,
    frozen: bool = False,
    refines: bool = True,
    judge: Callable[[ShootingVAE, float], dict[str, float]] = lambda *_: {},
) -> FittedTrials:
    """`fit_shooting` on trials in recorded units.

    Args:
        train, validation: trials.
        latent_dim, frozen: as there.
        candidates: gives the settings for activity with events of one kind.
        refines: whether what the encoder answers may be refined, see `FittedTrials`.
        judge: as there; also gets the scale.

    Raises:
        OdevaeError: if the loss is no number.
    """
    frames = train.values[train.recorded]
    kind = kind_of(frames)
    scale = 1.0 if kind == SPIKES else float(frames.std()) or 1.0
    held_out = tensors(validation, scale)
    fit = fit_shooting(
        tensors(train, scale),
        held_out,
        kind,
        latent_dim,
        candidates=candidates(kind),
        frozen=frozen,
        judge=lambda model: judge(model, scale),
    )
    noisy = refines and not fit.model.likelihood.exact
    return FittedTrials(fit, kind, scale, noisy and smoothing_pays(fit.model, *held_out, fit.settings.tight))


def tensors(trials: Trials, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Activity in units of the scale, zero outside the recorded bins, and those bins."""
    values = np.where(trials.recorded[..., None], trials.values / scale, 0.0).astype(np.float32)
    return torch.from_numpy(values), torch.from_numpy(trials.recorded)


def limited(candidates: Iterable[ShootingSettings], epochs: int, n_trials: int) -> tuple[ShootingSettings, ...]:
    """The settings with at most so many passes over the training trials."""
    return tuple(
        replace(settings, steps=min(settings.steps, epochs * min(settings.batches, n_trials)))
        for settings in candidates
    )


def contending(candidates: Sequence[ShootingSettings], gains: Sequence[float]) -> list[ShootingSettings]:
    """The settings of the largest gain; the best with a linear decoder, and the best of second order, if theirs is not
    far below.

    Those with a linear decoder get `LINEAR_STEPS` times their steps.
    """
    best = int(np.argmax(gains))
    chosen = [best]
    for simple in ("linear", "second_order"):
        of_kind = [i for i, settings in enumerate(candidates) if getattr(settings, simple)]
        first = max(of_kind, key=lambda i: gains[i], default=best)
        if first not in chosen and gains[first] >= SIMPLE_CONTENDS * gains[best]:
            chosen.append(first)
    return [
        replace(candidates[i], steps=candidates[i].steps * (LINEAR_STEPS if candidates[i].linear else 1))
        for i in chosen
    ]


def preferred(contenders: Sequence[ShootingSettings], gains: Sequence[float]) -> int:
    """That of the largest gain, among those with a linear decoder or of second order if the gain of one suffices."""
    enough = SIMPLE_SUFFICES * max(gains)
    simple = [i for i, each in enumerate(contenders) if (each.linear or each.second_order) and gains[i] >= enough]
    return max(simple or range(len(gains)), key=lambda i: gains[i])
