"""Latent ODE with an ODE-RNN encoder (Rubanova, Chen & Duvenaud, NeurIPS 2019): one initial state a trial.

Two ODE-RNNs read a trial, as in the paper. One runs back from the last frame and ends at the posterior of ``z0``, from
which the field is solved over the whole trial. The other runs forward, so that its state has seen no later frame, and
gives the latent state from which the same field forecasts. Frames come at a steady rate, so time is counted in frames:
the encoders take one Euler step between two frames, `DenseRK4` solves for whole trials, and forecasts take one
Runge-Kutta step a frame, so that they do not depend on the steps that other forecasts need.
"""

import torch
from torch import nn

from odevae.benchmark.models.neural.neural_model import (
    ForecastingModel,
    FrameReader,
    Network,
    Settings,
    TwoPartOutput,
    frame_decoder,
    from_bin,
    gaussian_head,
    gaussian_kl,
    some_bins,
    squared_error,
)
from odevae.benchmark.models.neural.two_way_gru import TwinLinear, TwoWayGRU
from odevae.models.solvers import DenseRK4, dense_rk4

FIELD_WIDTH = 64
# The largest speed of a latent, per frame. It keeps every path finite, however the field is drawn or trained.
SPEED = 0.3
# Weight of the divergence, in nats a trial, next to the squared error in units of the scale.
KL_WEIGHT = 1e-4
# Share of the trials of a step of which the encoder sees the first frames only, as it does in the onset task.
CUT_SHARE = 1 / 3
# Forecasts of up to this many frames ahead are trained; validation looks at one.
TRAINED_HORIZON, VALIDATED_HORIZON = 10, 3
# Share of the bins of a batch in which the path from ``z0`` is compared with the activity. Forecasts start from every
# bin: the decoder learns most from them, and from a quarter of the bins it learns too little.
COMPARED_SHARE = 1 / 4


class ODERNN(TwoWayGRU):
    """Two recurrent networks whose states follow an ODE between frames (algorithm 1 of the paper), one for each
    direction."""

    def __init__(self, width: int):
        super().__init__(width)
        self.field = nn.Sequential(TwinLinear(width, FIELD_WIDTH), nn.Tanh(), TwinLinear(FIELD_WIDTH, width))

    def between_frames(self, state: torch.Tensor) -> torch.Tensor:
        """One Euler step of states ``(2, B, width)``."""
        return state + self.field(state)


class LatentODENetwork(Network):
    """Backward ODE-RNN -> ``q(z0)`` -> field -> decoder; forward ODE-RNN -> ``z_t`` -> field -> decoder."""

    def __init__(self, mean: torch.Tensor, latent_dim: int, width: int, output: nn.Module):
        super().__init__()
        self.frames = FrameReader(mean, width)
        self.encoder = ODERNN(width)
        self.initial = gaussian_head(width, latent_dim)
        self.filtered = nn.Linear(width, latent_dim)
        self.field = nn.Sequential(
            nn.Linear(latent_dim, FIELD_WIDTH), nn.Tanh(), nn.Linear(FIELD_WIDTH, latent_dim), nn.Tanh()
        )
        # At first nothing moves: forecasts begin as the persistence of what the encoder has seen.
        nn.init.zeros_(self.field[2].weight)
        nn.init.zeros_(self.field[2].bias)
        self.solver = DenseRK4()
        self.decoder = frame_decoder(latent_dim, width, output)

    def objective(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        n_bins = recorded.shape[1]
        mean, log_variance, filtered = self.encode(values, self._some_cut(recorded))
        z0 = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        path, compared = self.solve(z0, n_bins - 1), some_bins(recorded, COMPARED_SHARE)
        reconstruction = nn.functional.mse_loss(self.decoder(path[compared]), values[compared])
        unit = torch.zeros_like(mean)
        divergence = gaussian_kl(mean, log_variance, unit, unit).mean()
        horizon = min(int(torch.randint(TRAINED_HORIZON + 1, ())), n_bins - 1)
        forecast = squared_error(self.decoder, self.ahead(filtered, horizon), values, recorded)
        return reconstruction + forecast + KL_WEIGHT * divergence

    def validation_error(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        mean, _, filtered = self.encode(values, recorded)
        path = self.solve(mean, values.shape[1] - 1)
        ahead = self.ahead(filtered, min(VALIDATED_HORIZON, values.shape[1] - 1))
        return squared_error(self.decoder, path, values, recorded) + squared_error(
            self.decoder, ahead, values, recorded
        )

    def encode(self, values: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean and log variance of ``z0``, each ``(B, D)``, from the bins that are seen ``(B, L)``; and latents
        ``(B, L, D)`` of every bin from the frames up to it, seen or not."""
        forward, backward = self.encoder(self.frames(values), seen)
        mean, log_variance = self.initial(backward[:, 0]).chunk(2, dim=-1)
        return mean, log_variance, self.filtered(forward)

    def solve(self, z: torch.Tensor, n_frames: int) -> torch.Tensor:
        """The path ``(B, n_frames + 1, D)`` from ``z0`` ``(B, D)``."""
        return self.solver(self.speed, z, torch.arange(n_frames + 1.0))

    def speed(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Per frame, ``(M, D)`` -> ``(M, D)``."""
        return SPEED * self.field(z)

    def infer(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return self.solve(self.encode(values, recorded)[0], values.shape[1] - 1)

    def ahead(self, filtered: torch.Tensor, horizon: int) -> torch.Tensor:
        """Latents ``(B, L - horizon, D)`` of the bins from `horizon` on, each from those `horizon` bins before it."""
        starts = filtered[:, : filtered.shape[1] - horizon]
        path = dense_rk4(self.speed, starts.flatten(0, 1), torch.tensor([0.0, horizon]), max(horizon, 1))
        return path[:, -1].unflatten(0, starts.shape[:2])

    def forecast(self, values: torch.Tensor, recorded: torch.Tensor, horizon: int) -> torch.Tensor:
        if horizon >= values.shape[1]:
            return torch.full_like(values, torch.nan)
        filtered = self.encode(values, recorded)[2]
        return from_bin(self.decoder(self.ahead(filtered, horizon)), horizon)

    def onset(self, values: torch.Tensor, recorded: torch.Tensor, n_frames: int) -> torch.Tensor:
        """The whole trial from the initial state that the first frames give."""
        z0 = self.encode(values[:, :n_frames], recorded[:, :n_frames])[0]
        return self.decoder(self.solve(z0, values.shape[1] - 1))

    @staticmethod
    def _some_cut(recorded: torch.Tensor) -> torch.Tensor:
        """The recorded bins, in some trials the first of them only."""
        n_trials, n_bins = recorded.shape
        seen = 1 + (torch.rand(n_trials) * (recorded.sum(dim=1) - 1)).long()
        seen = torch.where(torch.rand(n_trials) < CUT_SHARE, seen, n_bins)
        return recorded & (torch.arange(n_bins) < seen[:, None])


class LatentODE(ForecastingModel):
    """Latent ODE with a two-part output; the posterior mean answers."""

    default_settings = Settings(steps=250, frames_per_batch=640, jitter=0.5, width=128, patience=4)

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        width = self.settings.width
        return LatentODENetwork(mean, self.latent_dim, width, TwoPartOutput(width, mean, nonnegative))
