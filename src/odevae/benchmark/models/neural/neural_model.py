"""What the neural references share: a network is trained on jittered trials and kept where it predicts validation best.

A fit takes a number of steps over batches of about the same number of frames, so it costs the same on few long trials
as on many short ones. Networks see activity in units of one scale, the SD of all training values: scaling each neuron
by its own would make the error on neurons that hardly fire count as much as that on those that carry the variance.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.training.descent import Best, descend_averaged, weights_of
from odevae.training.reproducibility import random_state_kept, seed_everything
from odevae.training.trial_batches import batches

# The weights that are validated and kept are a running mean over about this share of the steps.
AVERAGED = 0.1
# Trials that are answered at once.
CHUNK = 64
# Sparse activity: a gate starts mostly closed.
GATE_BIAS = -2.0
# Starting amplitudes are held above this, in units of the scale, because softplus reaches zero only at -inf.
AMPLITUDE_FLOOR = 1e-2

# Of the posteriors of the variational models, before training.
POSTERIOR_LOG_VARIANCE = -4.0


@dataclass(frozen=True)
class Settings:
    """How a network is fitted; the defaults were chosen on the validation trials of one split of E65.

    Attributes:
        steps: of AdamW, at most.
        frames_per_batch: about how many recorded frames enter a step.
        learning_rate: the peak of a one-cycle schedule.
        weight_decay: of AdamW.
        jitter: SD of the log of a gain that each neuron of each trial is given, the same on input and target. Where
            training activity goes negative the gain stretches deviations from the mean, because zero means nothing.
        width: of hidden layers.
        check_every: steps between two looks at the validation trials.
        patience: looks without progress after which the fit ends.
    """

    steps: int = 700
    frames_per_batch: int = 320
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    jitter: float = 0.35
    width: int = 256
    check_every: int = 25
    patience: int = 12


class Network(nn.Module):
    """A model of activity ``(B, L, N)`` in units of the scale with recorded bins ``(B, L)``, which come first in each
    trial; outside them the activity is zero.

    Attributes:
        decoder: a module, latents ``(..., D)`` to activity ``(..., N)``.
    """

    def objective(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """What a step of training lowers."""
        raise NotImplementedError

    def validation_error(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """What chooses the weights; draws nothing."""
        return squared_error(self.decoder, self.infer(values, recorded), values, recorded)

    def infer(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, L, D)``."""
        raise NotImplementedError

    def reconstruct(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """``(B, L, N)`` through the latents."""
        return self.decoder(self.infer(values, recorded))


class NeuralModel(BenchmarkModel):
    """A reference that is a network: a subclass gives its settings and builds it.

    Attributes:
        settings: of the fit.
        history: error on the validation trials at each look, in units of the squared scale; set by `fit`.
    """

    default_settings = Settings()

    def __init__(self, latent_dim: int = 1, seed: int = 0, settings: Settings | None = None):
        super().__init__(latent_dim, seed)
        self.settings = settings or self.default_settings

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        """A new network for neurons of these mean activities ``(N,)``."""
        raise NotImplementedError

    def fit(self, train: Trials, validation: Trials) -> None:
        """Train on `train`, keep the weights of the smallest error on `validation`.

        The global random state is left as it was.

        Raises:
            OdevaeError: if the error on the validation trials never was finite.
        """
        frames = train.values[train.recorded]
        self.nonnegative = bool(frames.min() >= 0)
        self.scale = float(frames.std()) or 1.0
        mean = torch.from_numpy((frames.mean(axis=0) / self.scale).astype(np.float32))
        with random_state_kept():
            seed_everything(self.seed)
            network = self.build(mean, self.nonnegative)
            rest = torch.zeros_like(mean) if self.nonnegative else mean
            self.network, self.history = train_network(
                network, self._tensors(train), self._tensors(validation), rest, self.settings
            )

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self._to_raw(self._answer(trials, self.network.reconstruct))

    def infer(self, trials: Trials) -> np.ndarray:
        return self._answer(trials, self.network.infer)

    def _tensors(self, trials: Trials) -> tuple[torch.Tensor, torch.Tensor]:
        """Activity in units of the scale, zero outside the recorded bins, and those bins."""
        values = np.where(trials.recorded[..., None], trials.values / self.scale, 0.0).astype(np.float32)
        return torch.from_numpy(values), torch.from_numpy(trials.recorded)

    def _answer(self, trials: Trials, answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> np.ndarray:
        """``answer(values, recorded)`` of all trials, a few at a time."""
        values, recorded = self._tensors(trials)
        with torch.no_grad():
            return torch.cat(
                [answer(*chunk) for chunk in zip(values.split(CHUNK), recorded.split(CHUNK), strict=True)]
            ).numpy()

    def _to_raw(self, predicted: np.ndarray) -> np.ndarray:
        """From units of the scale to recorded units; never negative if no training activity was. NaN stays NaN."""
        raw = predicted * np.float32(self.scale)
        return np.maximum(raw, 0.0) if self.nonnegative else raw


class ForecastingModel(NeuralModel):
    """A reference whose network also has ``onset(values, recorded, n_frames)`` and ``forecast(values, recorded,
    horizon)``, both ``(B, L, N)`` in units of the scale."""

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        return self._to_raw(self._answer(trials, lambda *seen: self.network.onset(*seen, n_frames)))

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        return self._to_raw(self._answer(trials, lambda *seen: self.network.forecast(*seen, horizon)))


def train_network(
    network: Network,
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
    rest: torch.Tensor,
    settings: Settings,
) -> tuple[Network, list[float]]:
    """Train a network.

    Args:
        network: it is trained in place.
        train, validation: activity ``(B, L, N)`` in units of the scale, and recorded bins ``(B, L)``.
        rest: ``(N,)``, the activity that jittered gains leave as it is.
        settings: see `Settings`.

    Returns:
        The network, its weights their running mean where that predicted the validation trials best; and the error on
        those trials at each look.
    """
    looks = descend_averaged(
        network,
        jittered(batches(*train, settings.frames_per_batch), rest, settings.jitter),
        network.objective,
        steps=settings.steps,
        look_every=settings.check_every,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        decay=max(0.0, 1 - 1 / (AVERAGED * settings.steps)),
    )
    best, history = Best(weights_of(network)), []
    for look, average in enumerate(looks, start=1):
        with torch.no_grad():
            history.append(float(average.validation_error(*validation)))
        best = best.or_better(look, -history[-1], average)
        if look - best.epoch >= settings.patience:
            break
    if not best.epoch:
        raise OdevaeError(
            f"{type(network).__name__}: its error on the validation trials is {history[-1]}; check the recording for "
            "values far beyond the others, or lower the learning rate."
        )
    network.load_state_dict(best.weights)
    return network.eval().requires_grad_(False), history


def jittered(
    draw: Iterable[tuple[torch.Tensor, torch.Tensor]], rest: torch.Tensor, jitter: float
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same batches with a random gain on each neuron of each trial, see `Settings`."""
    for values, recorded in draw:
        gain = torch.exp(jitter * torch.randn(len(values), 1, values.shape[2]))
        yield recorded[..., None] * (rest + (values - rest) * gain), recorded


def squared_error(
    decoder: nn.Module, latents: torch.Tensor, values: torch.Tensor, recorded: torch.Tensor
) -> torch.Tensor:
    """Mean over recorded bins and neurons of what the latents are decoded to.

    Args:
        latents: ``(B, L - h, D)``, of the bins from ``h`` on: forecasts have none of the first `h` bins.
        values: ``(B, L, N)``.
        recorded: ``(B, L)``.
    """
    first = values.shape[1] - latents.shape[1]
    counted = recorded[:, first:]
    return functional.mse_loss(decoder(latents[counted]), values[:, first:][counted])


def some_bins(recorded: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Trials and bins, each ``(M,)``, of a random share of the recorded bins ``(B, L)``, one at least."""
    trials, bins = recorded.nonzero(as_tuple=True)
    drawn = torch.randperm(len(bins))[: math.ceil(share * len(bins))]
    return trials[drawn], bins[drawn]


def from_bin(predicted: torch.Tensor, first: int) -> torch.Tensor:
    """Predictions ``(B, L - first, N)`` of the bins from `first` on, with NaN before them: ``(B, L, N)``."""
    return functional.pad(predicted, (0, 0, first, 0), value=torch.nan)


def gaussian_kl(
    mean: torch.Tensor, log_variance: torch.Tensor, prior_mean: torch.Tensor, prior_log_variance: torch.Tensor
) -> torch.Tensor:
    """Divergence of one diagonal Gaussian ``(..., D)`` from another, summed over dimensions: ``(...)``."""
    posterior = Normal(mean, torch.exp(log_variance / 2), validate_args=False)
    prior = Normal(prior_mean, torch.exp(prior_log_variance / 2), validate_args=False)
    return kl_divergence(posterior, prior).sum(dim=-1)


class LinearOutput(nn.Module):
    """``(..., width)`` to ``(..., N)``, linear, starting at the mean."""

    def __init__(self, width: int, mean: torch.Tensor, nonnegative: bool):
        super().__init__()
        self.linear = nn.Linear(width, len(mean))
        with torch.no_grad():
            self.linear.bias.copy_(mean)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.linear(hidden)


class TwoPartOutput(nn.Module):
    """Whether a neuron is active times how much: a sigmoid gate times a softplus amplitude, starting at the mean.

    Calcium activity is zero most of the time; a gate reaches zero without bending the amplitude. Where the training
    activity goes negative the amplitude is linear.
    """

    def __init__(self, width: int, mean: torch.Tensor, nonnegative: bool):
        super().__init__()
        self.linear = nn.Linear(width, 2 * len(mean))
        self.amplitude = functional.softplus if nonnegative else nn.Identity()
        amplitude = mean * (1 + math.exp(-GATE_BIAS))
        if nonnegative:
            amplitude = amplitude.clamp(min=AMPLITUDE_FLOOR)
            amplitude = amplitude + torch.log(-torch.expm1(-amplitude))  # the inverse of softplus
        with torch.no_grad():
            self.linear.bias.copy_(torch.cat([torch.full_like(mean, GATE_BIAS), amplitude]))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        gate, amplitude = self.linear(hidden).chunk(2, dim=-1)
        return torch.sigmoid(gate) * self.amplitude(amplitude)


class FrameReader(nn.Module):
    """``N -> width`` with GELU and layer normalisation, for each frame by itself, of activity less its mean.

    An offset that all frames share would fill the units, and the normalisation would leave little of the rest.
    """

    def __init__(self, mean: torch.Tensor, width: int):
        super().__init__()
        self.register_buffer("mean", mean)
        self.body = nn.Sequential(nn.Linear(len(mean), width), nn.GELU(), nn.LayerNorm(width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.body(values - self.mean)


def gaussian_head(width: int, latent_dim: int) -> nn.Linear:
    """``width`` to mean and log variance, ``2 D``, with little variance at first: a posterior as wide as its prior
    would hide from the decoder what the encoder has still to learn."""
    head = nn.Linear(width, 2 * latent_dim)
    with torch.no_grad():
        head.bias[latent_dim:] = POSTERIOR_LOG_VARIANCE
    return head


def frame_decoder(latent_dim: int, width: int, output: nn.Module) -> nn.Sequential:
    """``D -> width -> width -> output`` with GELU, for each frame by itself."""
    return nn.Sequential(nn.Linear(latent_dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), output)
