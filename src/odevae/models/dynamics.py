"""Latent vector fields ``dz/dt = f(z, t)`` (paper, eqs. 3 and 4)."""

import torch
from torch import nn
from torch.nn import functional

from odevae.models.experts import Experts

HIDDEN = 128
# Features of time that a time-dependent field sees (source, 2026).
TIME_FEATURES = 16
# How many times longer or shorter than at the start a learned time constant becomes at most.
TIME_CONSTANT_RANGE = 10.0


class MLPField(nn.Module):
    """One network ``n_inputs -> 128 -> 128 -> D``, SiLU, then LayerNorm: the field of v1.

    The norm fixes the speed of the latent path; without it training diverges, according to the source. With D = 1 the
    normed field is a constant.
    """

    def __init__(self, n_inputs: int, latent_dim: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_inputs, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, latent_dim)
        )
        self.norm = nn.LayerNorm(latent_dim)

    @property
    def last_layer(self) -> list[nn.Parameter]:
        """The parameters of the layer before the norm."""
        return list(self.body[-1].parameters())

    def forward(self, t: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``(B, n_inputs)`` -> ``(B, D)``; the field does not depend on `t`."""
        return self.norm(self.body(inputs))


class _MixtureField(nn.Module):
    """``sum_e pi_e(z) f_e(z)`` with ``pi = softmax(g(z))``, then LayerNorm (eq. 4)."""

    def __init__(self, gate: nn.Module, n_inputs: int, latent_dim: int, n_experts: int):
        super().__init__()
        self.gate = gate
        self.experts = Experts(n_experts, (n_inputs, HIDDEN, HIDDEN, latent_dim), functional.silu)
        self.norm = nn.LayerNorm(latent_dim)

    @property
    def last_layer(self) -> list[nn.Parameter]:
        """The parameters of the experts' last layer."""
        return [self.experts.weights[-1], self.experts.biases[-1]]

    def forward(self, t: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``(B, n_inputs)`` -> ``(B, D)``; the field does not depend on `t`."""
        share = torch.softmax(self.gate(inputs), dim=-1)  # (B, E)
        outputs = self.experts(inputs)  # (E, B, D)
        return self.norm((outputs * share.T[..., None]).sum(dim=0))


class MoEField(_MixtureField):
    """Four experts, gate ``n_inputs -> 128 -> 4`` with SiLU: the field of v3 to v6."""

    def __init__(self, n_inputs: int, latent_dim: int, n_experts: int = 4):
        gate = nn.Sequential(nn.Linear(n_inputs, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, n_experts))
        super().__init__(gate, n_inputs, latent_dim, n_experts)


class GatedField(_MixtureField):
    """Three experts, gate ``n_inputs -> 64 -> 3`` with ReLU: the field of v2."""

    def __init__(self, n_inputs: int, latent_dim: int, n_experts: int = 3):
        gate = nn.Sequential(nn.Linear(n_inputs, 64), nn.ReLU(), nn.Linear(64, n_experts))
        super().__init__(gate, n_inputs, latent_dim, n_experts)


class BoundedSpeed(nn.Module):
    """``tanh(x) / tau`` in place of the LayerNorm: no dimension moves faster than ``1 / tau``.

    One time constant for all dimensions and all states, as in continuous-time recurrent networks (Funahashi and
    Nakamura 1993). It is learned, within `TIME_CONSTANT_RANGE`. Unlike a LayerNorm, a tanh has no steep gradient where
    its input is almost constant, and lets all ``D`` dimensions move freely: LayerNorm makes the mean of its output
    over dimensions zero before it is scaled.

    Args:
        time_constant: tau at the start, in units of the fold's time scale.
    """

    def __init__(self, time_constant: float):
        super().__init__()
        self.time_constant = time_constant
        self.stretch = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * TIME_CONSTANT_RANGE ** -torch.tanh(self.stretch) / self.time_constant


class TimeDependentField(nn.Module):
    """A field that sees the state and features of time, ``t -> 16 -> 16`` with SiLU (source, 2026)."""

    def __init__(self, field: nn.Module):
        super().__init__()
        self.field = field
        self.clock = nn.Sequential(nn.Linear(1, TIME_FEATURES), nn.SiLU(), nn.Linear(TIME_FEATURES, TIME_FEATURES))

    def forward(self, t: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """``(B, S)`` -> ``(B, D)``."""
        features = self.clock(t.reshape(-1, 1).to(state.dtype)).expand(len(state), TIME_FEATURES)
        return self.field(t, torch.cat([state, features], dim=-1))


class SecondOrderField(nn.Module):
    """Motion with a velocity: ``dz/dt = v``, ``dv/dt = f(z, v)``, as geodesics need; the state is ``(z, v)``."""

    def __init__(self, acceleration: nn.Module):
        super().__init__()
        self.acceleration = acceleration

    def forward(self, t: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """``(B, 2 D)`` -> ``(B, 2 D)``."""
        _, velocity = state.chunk(2, dim=-1)
        return torch.cat([velocity, self.acceleration(t, state)], dim=-1)


FIELDS = {"mlp": MLPField, "gated": GatedField, "moe": MoEField}


def build_field(
    kind: str,
    latent_dim: int,
    time_dependent: bool,
    second_order: bool,
    time_constant: float = 0.0,
    field_start: float = 1.0,
) -> nn.Module:
    """A field of `FIELDS`, with or without time and velocity; the last two are as in `ModelSpec`."""
    n_state = 2 * latent_dim if second_order else latent_dim
    field = FIELDS[kind](n_state + (TIME_FEATURES if time_dependent else 0), latent_dim)
    # A LayerNorm undoes a factor in front of it, so there the factor comes after it.
    output = field.last_layer if time_constant else [field.norm.weight]
    if time_constant:
        field.norm = BoundedSpeed(time_constant)
    with torch.no_grad():
        for parameter in output:
            parameter.mul_(field_start)
    if time_dependent:
        field = TimeDependentField(field)
    return SecondOrderField(field) if second_order else field
