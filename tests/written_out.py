"""Helpers for the tests of the model's parts: the same functions written in NumPy, and checks of gradients."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from scipy.special import expit
from torch import nn


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def shapes(module: nn.Module) -> list[tuple[int, int]]:
    """Numbers of inputs and outputs of each linear layer, in order."""
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def linear(x: np.ndarray, layer: nn.Linear) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def chain(x: np.ndarray, layers: Iterable[nn.Module], activation: Callable) -> np.ndarray:
    """The linear layers among `layers`, with `activation` between them."""
    first, *others = [layer for layer in layers if isinstance(layer, nn.Linear)]
    x = linear(x, first)
    for layer in others:
        x = linear(activation(x), layer)
    return x


def expert(x: np.ndarray, experts: nn.Module, e: int, activation: Callable) -> np.ndarray:
    """Output of network `e` of `experts` alone."""
    for i, (weight, bias) in enumerate(zip(experts.weights, experts.biases, strict=True)):
        x = (activation(x) if i else x) @ array(weight[e]) + array(bias[e, 0])
    return x


def expert_sizes(experts: nn.Module) -> list[tuple[int, ...]]:
    """``(E, n_in, n_out)`` of each layer."""
    for weight, bias in zip(experts.weights, experts.biases, strict=True):
        assert bias.shape == (weight.shape[0], 1, weight.shape[2])
    return [tuple(weight.shape) for weight in experts.weights]


def silu(x):
    return x * expit(x)


def relu(x):
    return np.maximum(x, 0)


def layer_norm(x: np.ndarray, norm: nn.LayerNorm) -> np.ndarray:
    scaled = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return scaled * array(norm.weight) + array(norm.bias)


def double(module: nn.Module, seed: int = 0, sd: float = 0.3) -> nn.Module:
    """The module in double precision, with random parameters instead of initial zeros and ones."""
    torch.manual_seed(seed)
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=sd)
    return module


def check_parameter_gradients(module: nn.Module, output: Callable[[], torch.Tensor]) -> None:
    """Compare gradients of a random weighted sum of `output()` with finite differences, one direction a parameter."""
    generator = torch.Generator().manual_seed(5)

    def like(tensor):
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)

    mix = like(output())
    module.zero_grad()
    (output() * mix).sum().backward()
    step = 1e-7  # small, so that it does not cross the kink of a ReLU
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        direction = like(parameter)
        with torch.no_grad():
            parameter += step * direction
            above = (output() * mix).sum()
            parameter -= 2 * step * direction
            below = (output() * mix).sum()
            parameter += step * direction
        slope = (parameter.grad * direction).sum()
        torch.testing.assert_close(
            slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
