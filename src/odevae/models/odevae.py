"""The latent ODE-VAE: encode the onset, integrate a latent field, decode every state (paper, section 4)."""

from typing import NamedTuple

import torch
from torch import nn

from odevae.errors import OdevaeError
from odevae.models.decoders import DECODERS
from odevae.models.dynamics import FIELDS, build_field
from odevae.models.encoders import ENCODERS
from odevae.models.presets import ModelSpec
from odevae.models.solvers import SOLVERS


class Output(NamedTuple):
    """The result of one pass: the reconstruction, its latent path and the posterior of the initial state."""

    reconstruction: torch.Tensor  # (B, L, C)
    path: torch.Tensor  # (B, L, D), without velocities
    posterior_mean: torch.Tensor  # (B, D), or (B, 2 D) with velocities
    posterior_log_variance: torch.Tensor  # the same


class ODEVAE(nn.Module):
    """An encoder, a field, a decoder and a solver.

    The first `latent_dim` entries of the state are decoded; a second-order field adds as many velocities after them.
    """

    def __init__(self, encoder: nn.Module, field: nn.Module, decoder: nn.Module, solver: nn.Module, latent_dim: int):
        super().__init__()
        self.encoder = encoder
        self.field = field
        self.decoder = decoder
        self.solver = solver
        self.latent_dim = latent_dim

    def forward(self, observed: torch.Tensor, mask: torch.Tensor, times: torch.Tensor, sample: bool) -> Output:
        """Reconstruct trials.

        Args:
            observed: ``(B, L, C)``.
            mask: ``(B, L)``, bins that an encoder of the whole trial may see.
            times: ``(L,)``, in units of the fold's time scale.
            sample: draw the initial state from its posterior (eq. 2) instead of taking the posterior mean.

        Raises:
            SolverError: if the latent path cannot be integrated.
        """
        # eq. 1: the posterior of the initial state
        mean, log_variance = self.encoder(observed, mask)
        # eq. 2: one draw, or the mean
        z0 = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if sample else mean
        # eq. 3: the latent path
        path = self.solver(self.field, z0, times)[..., : self.latent_dim]
        # eq. 5: back to observations
        return Output(self.decoder(path), path, mean, log_variance)


def build(spec: ModelSpec, n_channels: int, latent_dim: int) -> ODEVAE:
    """Build a model from its settings.

    Raises:
        OdevaeError: if a part does not exist.
    """
    for part, table in (("encoder", ENCODERS), ("field", FIELDS), ("decoder", DECODERS), ("solver", SOLVERS)):
        if getattr(spec, part) not in table:
            raise OdevaeError(f"{part} {getattr(spec, part)!r} is unknown; use one of {', '.join(table)}.")
    return ODEVAE(
        encoder=ENCODERS[spec.encoder](n_channels, 2 * latent_dim if spec.second_order else latent_dim),
        field=build_field(
            spec.field, latent_dim, spec.time_dependent, spec.second_order, spec.time_constant, spec.field_start
        ),
        decoder=DECODERS[spec.decoder](latent_dim, n_channels),
        solver=SOLVERS[spec.solver](),
        latent_dim=latent_dim,
    )
