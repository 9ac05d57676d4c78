"""Several small networks of one shape."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn


class Experts(nn.Module):
    """``E`` networks of linear layers with one activation between them, whose weights are stacked.

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

    def hidden_one_by_one(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """As `hidden`, one expert after another: each ``(M, n_hidden)``."""
        # Unbound once: a view of each expert by itself would add a whole stack of zeros to the gradient of every layer.
        weights = [weight.unbind() for weight in self.weights[:-1]]
        biases = [bias.unbind() for bias in self.biases[:-1]]
        for expert in range(len(weights[0])):
            h = x
            for weight, bias in zip(weights, biases, strict=True):
                h = self.activation(torch.addmm(bias[expert], h, weight[expert]))
            yield h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(M, n_in)`` to ``(E, M, n_out)``."""
        return torch.baddbmm(self.biases[-1], self.hidden(x), self.weights[-1])
