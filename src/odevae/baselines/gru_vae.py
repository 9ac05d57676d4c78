"""A sequence VAE of gated recurrent units: latents in every frame, and a generator that predicts the next ones.

The form is that of deep Kalman filters (Krishnan et al., AAAI 2017) and of variational recurrent networks (Chung et
al., NeurIPS 2015), reduced to one latent vector a frame: the generator's memory sees past latents only, so whatever a
forecast knows of the activity has passed through ``D`` numbers a frame.
"""

import torch
from torch import nn

from odevae.baselines.neural import (
    ForecastingReference,
    FrameReader,
    Network,
    Settings,
    TwoPartOutput,
    frame_decoder,
    from_bin,
    gaussian_head,
    gaussian_kl,
    squared_error,
)

# Weight of the divergence, in nats a frame, beside the squared error in units of the scale.
KL_WEIGHT = 1e-3
# Forecasts of up to this many frames ahead are trained; validation looks at one.
TRAINED_HORIZON, VALIDATED_HORIZON = 10, 3


class GRUVAENetwork(Network):
    """Encoder GRU over the trial in both directions -> smoothed ``q(z_t | x_1 .. x_L)``; its forward half alone ->
    filtered ``z_t``, from frames up to ``t``; generator GRU over the latents -> ``p(z_t+1 | z_1 .. z_t)``; decoder."""

    def __init__(self, mean: torch.Tensor, latent_dim: int, width: int, output: nn.Module):
        super().__init__()
        self.width = width
        self.frames = FrameReader(mean, width)
        self.encoder = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.smoothed = gaussian_head(2 * width, latent_dim)
        self.filtered = nn.Linear(width, latent_dim)
        self.generator = nn.GRU(latent_dim, width, batch_first=True)
        self.prior = nn.Linear(width, 2 * latent_dim)
        self.decoder = frame_decoder(latent_dim, width, output)

    def objective(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        states = self.encode(values, recorded)
        mean, log_variance = self.smoothed(states).chunk(2, dim=-1)
        latents = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        filtered = self.filtered(states[..., : self.width])
        # One pass of the generator over both paths: the smoothed one for the prior, the filtered one for forecasts.
        memory, memory_filtered = self.generator(torch.cat([latents, filtered]))[0].chunk(2)
        # Before the first frame there is no memory, and the prior is the unit Gaussian.
        prior = nn.functional.pad(self.prior(memory[:, :-1]), (0, 0, 1, 0)).chunk(2, dim=-1)
        divergence = gaussian_kl(mean, log_variance, *prior)[recorded].mean()
        reconstruction = squared_error(self.decoder, latents, values, recorded)
        horizon = min(int(torch.randint(TRAINED_HORIZON + 1, ())), values.shape[1] - 1)
        ahead = self.ahead(filtered, memory_filtered, horizon)
        return reconstruction + squared_error(self.decoder, ahead, values, recorded) + KL_WEIGHT * divergence

    def validation_error(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        states = self.encode(values, recorded)
        smoothed, filtered = self.smoothed_mean(states), self.filtered(states[..., : self.width])
        ahead = self.ahead(filtered, self.generator(filtered)[0], min(VALIDATED_HORIZON, values.shape[1] - 1))
        return squared_error(self.decoder, smoothed, values, recorded) + squared_error(
            self.decoder, ahead, values, recorded
        )

    def encode(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """States of the encoder ``(B, L, 2 width)``; the first half of them has seen no later frame."""
        lengths = recorded.sum(dim=1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(self.frames(values), lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.encoder(packed)[0], batch_first=True, total_length=values.shape[1]
        )
        return states

    def smoothed_mean(self, states: torch.Tensor) -> torch.Tensor:
        return self.smoothed(states).chunk(2, dim=-1)[0]

    def infer(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return self.smoothed_mean(self.encode(values, recorded))

    def roll(self, memory: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Mean latents ``(M, n_frames, D)`` of the frames after those that `memory` ``(M, width)`` has seen."""
        path, memory = [], memory[None]
        for _ in range(n_frames):
            path.append(self.prior(memory[0]).chunk(2, dim=-1)[0])
            memory = self.generator(path[-1][:, None], memory)[1]
        return torch.stack(path, dim=1)

    def ahead(self, filtered: torch.Tensor, memory: torch.Tensor, horizon: int) -> torch.Tensor:
        """Latents ``(B, L - horizon, D)`` of the bins from `horizon` on, each from those `horizon` bins before it."""
        starts = memory[:, : memory.shape[1] - horizon]
        if horizon == 0:
            return filtered
        return self.roll(starts.flatten(0, 1), horizon)[:, -1].unflatten(0, starts.shape[:2])

    def forecast(self, values: torch.Tensor, recorded: torch.Tensor, horizon: int) -> torch.Tensor:
        if horizon >= values.shape[1]:
            return torch.full_like(values, torch.nan)
        filtered = self.filtered(self.encode(values, recorded)[..., : self.width])
        return from_bin(self.decoder(self.ahead(filtered, self.generator(filtered)[0], horizon)), horizon)

    def onset(self, values: torch.Tensor, recorded: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Seen frames through their smoothed latents, the others by rolling on from the last seen one."""
        n_bins = values.shape[1]
        n_frames = min(n_frames, n_bins)
        states = self.encode(values[:, :n_frames], recorded[:, :n_frames])
        latents = self.smoothed_mean(states)
        if n_frames < n_bins:
            memory = self.generator(self.filtered(states[..., : self.width]))[0][:, -1]
            latents = torch.cat([latents, self.roll(memory, n_bins - n_frames)], dim=1)
        return self.decoder(latents)


class GRUVAE(ForecastingReference):
    """GRU sequence VAE with a two-part output; the posterior mean answers."""

    default_settings = Settings(steps=400, frames_per_batch=640, jitter=0.5, width=128, patience=4)

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        width = self.settings.width
        return GRUVAENetwork(mean, self.latent_dim, width, TwoPartOutput(width, mean, nonnegative))
