"""The models v1 and v5 as one writes them first, with torchdiffeq: what `benchmarks/run.py` compares with."""

import torch
from torch import nn
from torchdiffeq import odeint

from odevae.models.odevae import ODEVAE, Output
from odevae.models.solvers import ATOL, RTOL


class PlainMixtureField(nn.Module):
    def __init__(self, latent_dim: int, n_experts: int = 4, width: int = 128):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(latent_dim, width), nn.SiLU(), nn.Linear(width, n_experts))
        self.experts = nn.ModuleList(_network(latent_dim, width, latent_dim, nn.SiLU) for _ in range(n_experts))
        self.norm = nn.LayerNorm(latent_dim)

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        share = torch.softmax(self.gate(z), dim=-1)
        speeds = torch.stack([expert(z) for expert in self.experts], dim=1)
        return self.norm((share[..., None] * speeds).sum(dim=1))


class PlainMixtureDecoder(nn.Module):
    def __init__(self, latent_dim: int, n_channels: int, n_experts: int = 8, width: int = 256):
        super().__init__()
        self.experts = nn.ModuleList(_network(latent_dim, width, n_channels, nn.ReLU) for _ in range(n_experts))
        self.channel_logits = nn.Parameter(torch.zeros(n_channels, n_experts))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        share = torch.softmax(self.channel_logits, dim=-1)
        outputs = torch.stack([expert(z) for expert in self.experts], dim=-1)
        return (outputs * share).sum(dim=-1)


class PlainODEVAE(nn.Module):
    """As `ODEVAE`, with the same weights: one network after another, and ``odeint`` by dopri5."""

    def __init__(self, model: ODEVAE, n_channels: int):
        super().__init__()
        self.encoder, self.latent_dim = model.encoder, model.latent_dim
        self.field, self.decoder = model.field, model.decoder
        if hasattr(model.decoder, "experts"):
            self.field = PlainMixtureField(model.latent_dim)
            self.decoder = PlainMixtureDecoder(model.latent_dim, n_channels)
            for plain, ours in (
                (self.field.experts, model.field.experts),
                (self.decoder.experts, model.decoder.experts),
            ):
                _copy_experts(plain, ours)
            self.field.gate.load_state_dict(model.field.gate.state_dict())
            self.field.norm.load_state_dict(model.field.norm.state_dict())
            self.decoder.channel_logits.data.copy_(model.decoder.channel_logits)

    def forward(self, observed: torch.Tensor, mask: torch.Tensor, times: torch.Tensor, sample: bool) -> Output:
        mean, log_variance = self.encoder(observed, mask)
        z0 = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if sample else mean
        path = odeint(self.field, z0, times, rtol=RTOL, atol=ATOL, method="dopri5").transpose(0, 1)
        return Output(self.decoder(path), path, mean, log_variance)


def _network(n_inputs: int, width: int, n_outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, n_outputs)
    )


def _copy_experts(plain: nn.ModuleList, stacked: nn.Module) -> None:
    for number, expert in enumerate(plain):
        linears = [layer for layer in expert if isinstance(layer, nn.Linear)]
        for linear, weight, bias in zip(linears, stacked.weights, stacked.biases, strict=True):
            linear.weight.data.copy_(weight[number].T)
            linear.bias.data.copy_(bias[number, 0])
