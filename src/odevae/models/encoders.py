"""Encoders: observations of a trial to the posterior of its initial latent state (paper, eq. 1)."""

import torch
from torch import nn


class FirstFrameEncoder(nn.Module):
    """``P -> 512 -> 256 -> 128`` with ReLU, then a mean and a log variance; sees the first frame only."""

    def __init__(self, n_channels: int, latent_dim: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_channels, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()
        )
        self.mean = nn.Linear(128, latent_dim)
        self.log_variance = nn.Linear(128, latent_dim)

    def forward(self, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(B, L, P)`` -> mean and log variance, each ``(B, D)``."""
        hidden = self.body(observed[:, 0])
        return self.mean(hidden), self.log_variance(hidden)


ENCODERS = {"first_frame": FirstFrameEncoder}
