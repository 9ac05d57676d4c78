"""Autoencoders without dynamics: what one code of ``D`` numbers a frame can keep, however it was found."""

import math

import numpy as np
import torch
from torch import nn

from odevae.benchmark.models.neural.neural_model import (
    FrameReader,
    LinearOutput,
    Network,
    NeuralModel,
    Settings,
    TwoPartOutput,
    frame_decoder,
    squared_error,
)
from odevae.benchmark.models.refinement import refined_codes
from odevae.data.trials import Trials

# Frames that a convolution spans.
KERNEL = 5
# Noise on the codes in training makes neighbouring codes decode alike; the penalty keeps codes from outgrowing it.
CODE_NOISE = 0.05
CODE_PENALTY = 1e-3


class AutoencoderNetwork(Network):
    """An encoder of whole trials ``(B, L, N)`` and their recorded bins, and a decoder of each frame's code."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def objective(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        codes = self.infer(values, recorded)
        noisy = codes + CODE_NOISE * torch.randn_like(codes)
        return squared_error(self.decoder, noisy, values, recorded) + CODE_PENALTY * (codes[recorded] ** 2).mean()

    def infer(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return self.encoder(values, recorded)


class FrameEncoder(nn.Module):
    """``N -> width -> width -> D`` of each frame by itself."""

    def __init__(self, mean: torch.Tensor, latent_dim: int, width: int):
        super().__init__()
        self.body = nn.Sequential(
            FrameReader(mean, width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, latent_dim),
        )

    def forward(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return self.body(values)


class SeparableConvolution(nn.Module):
    """Along time within each unit, then across units: ``(B, L, width)`` to the same shape, zeros around the trial.

    It has a fifth of the weights of a full convolution. The units stay the last axis, as everywhere else: a sum over
    `KERNEL` shifted copies and a linear map take half the time of two ``torch.nn.Conv1d`` and their transpositions.
    """

    def __init__(self, width: int):
        super().__init__()
        bound = 1 / math.sqrt(KERNEL)
        self.along = nn.Parameter(torch.empty(KERNEL, width).uniform_(-bound, bound))
        self.across = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(hidden, (0, 0, KERNEL // 2, KERNEL // 2))
        shifted = (padded[:, lag : lag + hidden.shape[1]] for lag in range(KERNEL))
        total = next(shifted) * self.along[0]
        for weight, copy in zip(self.along[1:], shifted, strict=True):
            total = torch.addcmul(total, weight, copy)
        return self.across(total)


class TrialEncoder(nn.Module):
    """Each frame's code from the frames around it: linear to `width`, then two residual convolutions over time."""

    def __init__(self, mean: torch.Tensor, latent_dim: int, width: int):
        super().__init__()
        self.frames = FrameReader(mean, width)
        self.convolutions = nn.ModuleList(SeparableConvolution(width) for _ in range(2))
        self.codes = nn.Linear(width, latent_dim)

    def forward(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        inside = recorded[..., None]
        hidden = self.frames(values) * inside
        for convolution in self.convolutions:
            # What lies outside the trial must stay zero, or the next convolution would carry it back inside.
            hidden = (hidden + nn.functional.gelu(convolution(hidden))) * inside
        return self.codes(hidden)


class FrameAutoencoder(NeuralModel):
    """A code for each frame from that frame alone; linear output."""

    default_settings = Settings(jitter=0.5)

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        width = self.settings.width
        return AutoencoderNetwork(
            FrameEncoder(mean, self.latent_dim, width),
            frame_decoder(self.latent_dim, width, LinearOutput(width, mean, nonnegative)),
        )


class TrialAutoencoder(NeuralModel):
    """A code for each frame from the trial around it (nine frames); linear output."""

    output = LinearOutput

    def build(self, mean: torch.Tensor, nonnegative: bool) -> Network:
        width = self.settings.width
        return AutoencoderNetwork(
            TrialEncoder(mean, self.latent_dim, width),
            frame_decoder(self.latent_dim, width, self.output(width, mean, nonnegative)),
        )


class TwoPartAutoencoder(TrialAutoencoder):
    """The same with a two-part output."""

    output = TwoPartOutput


class RefinedTwoPartAutoencoder(TwoPartAutoencoder):
    """The same, whose codes are refined to reconstruct a trial: the control of every model that refines its own."""

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self._to_raw(self._answer(trials, self._refined))

    def _refined(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        decoder = self.network.decoder.requires_grad_(False)

        def misfit(codes: torch.Tensor) -> torch.Tensor:
            return (decoder(codes) - values).square().sum(dim=-1) * recorded

        return decoder(refined_codes(self.network.infer(values, recorded), misfit))
