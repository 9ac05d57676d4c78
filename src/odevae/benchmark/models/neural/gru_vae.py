"""A sequence VAE of gated recurrent units: latents in every frame, and a generator that predicts the next ones.

The form is that of deep Kalman filters (Krishnan et al., AAAI 2017) and of variational recurrent networks (Chung et
al., NeurIPS 2015), reduced to one latent vector a frame: the generator's memory sees past latents only, so whatever a
forecast knows of the activity has passed through ``D`` numbers a frame. The generator adds a step to the last latents,
so forecasts begin as their persistence, in the coordinates that the decoder reads: without that, fits from some seeds
ended at an error 7 % larger on the validation trials of E65.
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
from odevae.benchmark.models.neural.two_way_gru import TwoWayGRU

# Units of the generator's memory.
MEMORY_WIDTH = 64
# Weight of the divergence, in nats a frame, next to the squared error in units of the scale.
KL_WEIGHT = 1e-3
# Forecasts of up to this many frames ahead are trained; validation looks at one.
TRAINED_HORIZON, VALIDATED_HORIZON = 10, 3
# Share of the bins of a batch that forecasts start from: neighbouring ones teach much the same, and a quarter of them
# serves validation as well as all.
STARTS_SHARE = 1 / 4


class GRUVAENetwork(Network):
    """Encoder GRU over the trial in both directions -> smoothed ``q(z_t | x_1 .. x_L)``; its forward half alone ->
    filtered ``z_t``, from frames up to ``t``; generator GRU over the latents -> ``p(z_t+1 - z_t | z_1 .. z_t)``;
    decoder."""

    def __init__(self, mean: torch.Tensor, latent_dim: int, width: int, output: nn.Module):
        super().__init__()
        self.frames = FrameReader(mean, width)
        self.encoder = TwoWayGRU(width)
        self.smoothed = gaussian_head(2 * width, latent_dim)
        self.filtered = nn.Linear(width, latent_dim)
        self.generator = nn.GRU(latent_dim, MEMORY_WIDTH, batch_first=True)
        self.prior = nn.Linear(MEMORY_WIDTH, 2 * latent_dim)
        self.decoder = frame_decoder(latent_dim, width, output)

    def objective(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        mean, log_variance, filtered = self.encode(values, recorded)
        latents = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        # One pass of the generator over both paths: the smoothed one for the prior, the filtered one for forecasts.
        memory, memory_filtered = self.generator(torch.cat([latents, filtered]))[0].chunk(2)
        # Before the first frame there is no memory, and the prior is the unit Gaussian.
        step, prior_log_variance = nn.functional.pad(self.prior(memory[:, :-1]), (0, 0, 1, 0)).chunk(2, dim=-1)
        prior_mean = nn.functional.pad(latents[:, :-1], (0, 0, 1, 0)) + step
        divergence = gaussian_kl(mean, log_variance, prior_mean, prior_log_variance)[recorded].mean()
        reconstruction = squared_error(self.decoder, latents, values, recorded)
        horizon = min(int(torch.randint(TRAINED_HORIZON + 1, ())), values.shape[1] - 1)
        starts = some_bins(recorded[:, horizon:], STARTS_SHARE)
        ahead = self.decoder(self.roll(filtered[starts], memory_filtered[starts], horizon)[:, -1])
        forecast = nn.functional.mse_loss(ahead, values[:, horizon:][starts])
        return reconstruction + forecast + KL_WEIGHT * divergence

    def validation_error(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        smoothed, _, filtered = self.encode(values, recorded)
        ahead = self.from_each_bin(filtered, min(VALIDATED_HORIZON, values.shape[1] - 1))
        return squared_error(self.decoder, smoothed, values, recorded) + squared_error(
            self.decoder, ahead, values, recorded
        )

    def encode(self, values: torch.Tensor, recorded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean and log variance of the smoothed latents, and the filtered latents, each ``(B, L, D)``."""
        forward, backward = self.encoder(self.frames(values), recorded)
        mean, log_variance = self.smoothed(torch.cat([forward, backward], dim=-1)).chunk(2, dim=-1)
        return mean, log_variance, self.filtered(forward)

    def infer(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return self.encode(values, recorded)[0]

    def roll(self, latent: torch.Tensor, memory: torch.Tensor, n_frames: int) -> torch.Tensor:
        """The mean path ``(M, n_frames + 1, D)`` from `latent` ``(M, D)``, which `memory` ``(M, width)`` saw last."""
        path, memory = [latent], memory[None]
        for _ in range(n_frames):
            path.append(path[-1] + self.prior(memory[0]).chunk(2, dim=-1)[0])
            memory = self.generator(path[-1][:, None], memory)[1]
        return torch.stack(path, dim=1)

    def from_each_bin(self, filtered: torch.Tensor, horizon: int) -> torch.Tensor:
        """Latents ``(B, L - horizon, D)`` of the bins from `horizon` on, each from those `horizon` bins before it."""
        starts = filtered[:, : filtered.shape[1] - horizon]
        memory = self.generator(starts)[0]
        path = self.roll(starts.flatten(0, 1), memory.flatten(0, 1), horizon)
        return path[:, -1].unflatten(0, starts.shape[:2])

    def forecast(self, values: torch.Tensor, recorded: torch.Tensor, horizon: int) -> torch.Tensor:
        if horizon >= values.shape[1]:
            return torch.full_like(values, torch.nan)
        filtered = self.encode(values, recorded)[2]
        return from_bin(self.decoder(self.from_each_bin(filtered, horizon)), horizon)

    def onset(self, values: torch.Tensor, recorded: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Seen frames through their smoothed latents, the others by rolling on from the last seen one."""
        n_bins = values.shape[1]
        n_frames = min(n_frames, n_bins)
        latents, _, filtered = self.encode(values[:, :n_frames], recorded[:, :n_frames])
        if n_frames < n_bins:
            path = self.roll(filtered[:, -1], self.generator(filtered)[0][:, -1], n_bins - n_frames)
            latents = torch.cat([latents, path[:, 1:]], dim=1)
        return self.decoder(latents)


class GRUVAE(ForecastingModel):
    """GRU sequence VAE with a two-part output; the posterior mean answers."""

    default_settings = Settings(steps=300, frames_per_batch=640, jitter=0.5, width=128, patience=4)

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        width = self.settings.width
        return GRUVAENetwork(mean, self.latent_dim, width, TwoPartOutput(width, mean, nonnegative))
