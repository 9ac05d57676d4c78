"""Latent vector fields ``dz/dt = f(z)`` (paper, eqs. 3 and 4)."""

import torch
from torch import nn

HIDDEN = 128


def _expert(latent_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(latent_dim, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, latent_dim)
    )


class MLPField(nn.Module):
    """One network ``D -> 128 -> 128 -> D``, SiLU, then LayerNorm: the field of v1."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.body = _expert(latent_dim)
        # The norm fixes the speed of the latent path: without it training blows up (the source says so).
        self.norm = nn.LayerNorm(latent_dim)

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``(B, D)`` -> ``(B, D)``; the field does not depend on `t`."""
        return self.norm(self.body(z))


class MoEField(nn.Module):
    """``sum_e pi_e(z) f_e(z)`` with ``pi = softmax(g(z))``, then LayerNorm: the field of v3 to v6 (eq. 4)."""

    def __init__(self, latent_dim: int, n_experts: int = 4):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(latent_dim, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, n_experts))
        self.experts = nn.ModuleList(_expert(latent_dim) for _ in range(n_experts))
        self.norm = nn.LayerNorm(latent_dim)

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``(B, D)`` -> ``(B, D)``; the field does not depend on `t`."""
        weights = torch.softmax(self.gate(z), dim=-1)  # (B, E)
        outputs = torch.stack([expert(z) for expert in self.experts], dim=-1)  # (B, D, E)
        return self.norm((outputs * weights[:, None, :]).sum(dim=-1))


FIELDS = {"mlp": MLPField, "moe": MoEField}
