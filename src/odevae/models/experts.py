"""Several small networks of one shape, computed at once."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


class Experts(nn.Module):
    """``E`` networks of linear layers with one activation between them, all computed in one matrix product.

    Attributes:
        weights: one ``(E, n_in, n_out)`` parameter for each layer.
        biases: one ``(E, 1, n_out)`` parameter for each layer.
    """

    def __init__(self, n_experts: int, sizes: Sequence[int], activation: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        # The weights are drawn expert by expert, as for separate networks, so the same seed gives the same experts.
        drawn = [[nn.Linear(a, b) for a, b in pairwise(sizes)] for _ in range(n_experts)]
        layers = list(zip(*drawn, strict=True))
        self.weights = nn.ParameterList(torch.stack([linear.weight.detach().T for linear in layer]) for layer in layers)
        self.biases = nn.ParameterList(
            torch.stack([linear.bias.detach()[None] for linear in layer]) for layer in layers
        )
        self.activation = activation

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """``(M, n_in)`` to the last hidden layer of every expert, ``(E, M, n_hidden)``."""
        h = x.expand(len(self.weights[0]), *x.shape)
        for weight, bias in list(zip(self.weights, self.biases, strict=True))[:-1]:
            h = self.activation(torch.baddbmm(bias, h, weight))
        return h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(M, n_in)`` to ``(E, M, n_out)``."""
        return torch.baddbmm(self.biases[-1], self.hidden(x), self.weights[-1])
