"""Decoders: latent states to observations (paper, eq. 5 and section 4.3)."""

import torch
from torch import nn


class MLPDecoder(nn.Module):
    """``D -> 512 -> 512 -> P`` with ReLU: the decoder of v1."""

    def __init__(self, latent_dim: int, n_channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, n_channels)
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., P)``."""
        return self.body(z)


class MoEDecoder(nn.Module):
    """Experts ``D -> 256 -> 256 -> P`` mixed, for each channel, by a softmax over experts that does not depend on z."""

    def __init__(self, latent_dim: int, n_channels: int, n_experts: int = 8):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(latent_dim, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, n_channels)
            )
            for _ in range(n_experts)
        )
        self.channel_logits = nn.Parameter(torch.zeros(n_channels, n_experts))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., P)``."""
        weights = torch.softmax(self.channel_logits, dim=-1)  # (P, E)
        outputs = torch.stack([expert(z) for expert in self.experts], dim=-1)  # (..., P, E)
        return (outputs * weights).sum(dim=-1)


DECODERS = {"mlp": MLPDecoder, "moe": MoEDecoder}
