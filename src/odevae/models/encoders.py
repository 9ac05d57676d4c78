"""Encoders: observations of a trial to the posterior of its initial latent state (paper, eq. 1)."""

import math

import torch
from torch import nn

HIDDEN = 256


class Encoder(nn.Module):
    """A summary of a trial, then two linear heads: mean and log variance of the initial state.

    Attributes:
        sees_whole_trial: false if the encoder sees only the first frame.
    """

    sees_whole_trial = True

    def _add_heads(self, n_summary: int, n_state: int) -> None:
        # After the body of the network, so that initial weights are drawn in the source's order.
        self.mean = nn.Linear(n_summary, n_state)
        self.log_variance = nn.Linear(n_summary, n_state)

    def summary(self, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``(B, L, C)`` and the counted bins ``(B, L)`` -> ``(B, n_summary)``."""
        raise NotImplementedError

    def forward(self, observed: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(B, L, C)`` and the counted bins ``(B, L)`` -> mean and log variance, each ``(B, n_state)``."""
        summary = self.summary(observed, mask)
        return self.mean(summary), self.log_variance(summary)


class FirstFrameEncoder(Encoder):
    """``C -> 512 -> 256 -> 128`` with ReLU, of the first frame only."""

    sees_whole_trial = False

    def __init__(self, n_channels: int, n_state: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_channels, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()
        )
        self._add_heads(128, n_state)

    def summary(self, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.body(observed[:, 0])


class GRUEncoder(Encoder):
    """A gated recurrent unit of size 256 over the counted bins; the summary is its state after the last of them."""

    def __init__(self, n_channels: int, n_state: int):
        super().__init__()
        self.gru = nn.GRU(n_channels, HIDDEN, batch_first=True)
        self._add_heads(HIDDEN, n_state)

    def summary(self, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(observed)
        last = mask.sum(dim=1) - 1
        return states[torch.arange(len(states), device=states.device), last]


class TransformerEncoder(Encoder):
    """Linear to 256, sinusoidal positions, one transformer layer (2 heads, feed-forward 512).

    The summary is the first token.
    """

    def __init__(self, n_channels: int, n_state: int):
        super().__init__()
        self.projection = nn.Linear(n_channels, HIDDEN)
        self.layer = nn.TransformerEncoderLayer(HIDDEN, nhead=2, dim_feedforward=512, dropout=0.0, batch_first=True)
        self._add_heads(HIDDEN, n_state)

    def summary(self, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        tokens = self.projection(observed) + positions(observed.shape[1], HIDDEN).to(observed)
        return self.layer(tokens, src_key_padding_mask=~mask)[:, 0]


class AttentionEncoder(Encoder):
    """Linear to 256 with ReLU; the summary is a mean over counted bins, weighted by linear-tanh-linear scores."""

    def __init__(self, n_channels: int, n_state: int):
        super().__init__()
        self.projection = nn.Sequential(nn.Linear(n_channels, HIDDEN), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        self._add_heads(HIDDEN, n_state)

    def summary(self, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.projection(observed)
        scores = self.score(hidden).squeeze(-1).masked_fill(~mask, -torch.inf)
        return (torch.softmax(scores, dim=1)[..., None] * hidden).sum(dim=1)


def positions(n_bins: int, size: int) -> torch.Tensor:
    """Sinusoidal positions ``(L, size)``: sine and cosine in turn, wavelengths from 2 pi to 20000 pi bins."""
    bins = torch.arange(n_bins, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, size, 2, dtype=torch.float32) * (-math.log(10000.0) / size))
    return torch.stack([torch.sin(bins * rates), torch.cos(bins * rates)], dim=-1).flatten(1)


ENCODERS = {
    "first_frame": FirstFrameEncoder,
    "gru": GRUEncoder,
    "transformer": TransformerEncoder,
    "attention": AttentionEncoder,
}
