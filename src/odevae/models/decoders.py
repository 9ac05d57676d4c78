"""Decoders: latent states to observations (paper, eq. 5 and section 4.3)."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from odevae.models.experts import Experts

# Sizes of the source: width of the output-wise networks, size of an output's embedding, neighbours of an output.
HIDDEN = 256
EMBEDDING = 16
NEIGHBOURS = 16


class MLPDecoder(nn.Module):
    """``D -> width -> width -> C`` with ReLU: 512 wide in v1, 256 (`HIDDEN`) in v2."""

    def __init__(self, latent_dim: int, n_channels: int, width: int = 512):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_channels)
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., C)``."""
        return self.body(z)


class NeuronAwareDecoder(nn.Module):
    """One network ``(D + 16) -> 256 -> 256 -> 1`` with ReLU for all channels.

    It sees the state and an embedding of the channel.
    """

    def __init__(self, latent_dim: int, n_channels: int):
        super().__init__()
        self.embedding = nn.Embedding(n_channels, EMBEDDING)
        self.body = _one_output(latent_dim + EMBEDDING)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., C)``."""
        n_channels = self.embedding.num_embeddings
        state = z[..., None, :].expand(*z.shape[:-1], n_channels, z.shape[-1])
        channel = self.embedding.weight.expand(*z.shape[:-1], n_channels, EMBEDDING)
        return self.body(torch.cat([state, channel], dim=-1)).squeeze(-1)


class LocalAttentionDecoder(nn.Module):
    """Each channel is read from its own view of the state and from the mean view of its nearest channels.

    A channel i has an embedding ``e_i`` of size D; its view of the state is ``z * e_i``. Its 16 nearest channels have
    the largest ``e_i . e_j``, and a softmax of that product weights them. One network ``2D -> 256 -> 256 -> 1`` with
    ReLU reads every channel's own view and its neighbours' mean view.

    In the source the neighbours' views are z itself, and so is their weighted mean: every channel gets the same input
    and is decoded to the same value. The views are our correction, as the source describes it.
    """

    def __init__(self, latent_dim: int, n_channels: int):
        super().__init__()
        self.embedding = nn.Embedding(n_channels, latent_dim)
        self.body = _one_output(2 * latent_dim)
        self.n_neighbours = min(NEIGHBOURS, n_channels - 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., C)``."""
        embedding = self.embedding.weight  # (C, D)
        likeness = embedding @ embedding.T
        likeness = likeness.masked_fill(torch.eye(len(embedding), dtype=torch.bool, device=z.device), -torch.inf)
        nearest, neighbours = likeness.topk(self.n_neighbours, dim=-1)  # (C, k)
        weight = torch.softmax(nearest, dim=-1)
        # The mean of views z * e_j is z times the mean of the e_j.
        neighbourhood = (weight[..., None] * embedding[neighbours]).sum(dim=1)  # (C, D)
        views = torch.cat([z[..., None, :] * embedding, z[..., None, :] * neighbourhood], dim=-1)
        return self.body(views).squeeze(-1)


class MoEDecoder(nn.Module):
    """Experts ``D -> 256 -> 256 -> C`` mixed, for each channel, by a softmax over experts that does not depend on z."""

    def __init__(self, latent_dim: int, n_channels: int, n_experts: int = 8):
        super().__init__()
        self.experts = Experts(n_experts, (latent_dim, HIDDEN, HIDDEN, n_channels), functional.relu_)
        self.channel_logits = nn.Parameter(torch.zeros(n_channels, n_experts))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` -> ``(..., C)``."""
        states = z.reshape(-1, z.shape[-1])
        # benchmarks/run.py compares the two.
        mixed = self.batched(states) if z.is_cuda else self.one_by_one(states)
        return mixed.reshape(*z.shape[:-1], -1)

    def one_by_one(self, states: torch.Tensor) -> torch.Tensor:
        """``(M, D)`` -> ``(M, C)``, one expert after another: its hidden units stay in the processor's cache."""
        weights, bias = self._last_layer()
        mixed = bias.expand(len(states), -1).contiguous()
        for hidden, weight in zip(self.experts.hidden_one_by_one(states), weights.unbind(), strict=True):
            mixed.addmm_(hidden, weight)
        return mixed

    def batched(self, states: torch.Tensor) -> torch.Tensor:
        """The same in one product for all experts, which a GPU has room for."""
        weights, bias = self._last_layer()
        return self.experts.hidden(states).transpose(0, 1).flatten(1) @ weights.flatten(0, 1) + bias

    def _last_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights ``(E, H, C)`` and bias ``(1, C)`` of the last layer, mixed.

        The shares are the same for every state, so they can be put into the weights, and the experts summed there.
        """
        share = torch.softmax(self.channel_logits, dim=-1).T[:, None, :]  # (E, 1, C)
        return self.experts.weights[-1] * share, (self.experts.biases[-1] * share).sum(dim=0)


def _one_output(n_inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
    )


DECODERS = {
    "mlp": MLPDecoder,
    "narrow_mlp": partial(MLPDecoder, width=HIDDEN),
    "neuron_aware": NeuronAwareDecoder,
    "local_attention": LocalAttentionDecoder,
    "moe": MoEDecoder,
}
