from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torch.nn import functional
from written_out import (
    array,
    chain,
    check_parameter_gradients,
    double,
    expert,
    expert_sizes,
    layer_norm,
    relu,
    shapes,
    silu,
)

from odevae.models.dynamics import FIELDS, GatedField, MLPField, MoEField, SecondOrderField, build_field
from odevae.models.experts import Experts
from odevae.models.solvers import SOLVERS

NOW = torch.tensor(0.0)
Z = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)))
OPTIONS = [(False, False), (True, False), (False, True), (True, True)]


def state_of(second_order: bool) -> torch.Tensor:
    """Five states of three dimensions, with velocities or without."""
    return torch.cat([Z, Z.flip(0) * 0.7], dim=1) if second_order else Z


# Experts


def separate(seed: int, n_experts: int, sizes, activation: type[nn.Module]) -> list[nn.Sequential]:
    torch.manual_seed(seed)
    return [
        nn.Sequential(*[layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), activation())])[:-1]
        for _ in range(n_experts)
    ]


@pytest.mark.parametrize("sizes", [(3, 8, 8, 2), (4, 6, 1), (2, 5)])
@pytest.mark.parametrize(("activation", "module"), [(functional.relu, nn.ReLU), (functional.silu, nn.SiLU)])
def test_experts_are_separate_networks_drawn_with_the_same_seed(sizes, activation, module):
    networks = separate(3, 4, sizes, module)
    after_networks = torch.rand(1)
    torch.manual_seed(3)
    experts = Experts(4, sizes, activation)
    assert torch.equal(torch.rand(1), after_networks)  # what is drawn next is the same too
    for e, network in enumerate(networks):
        for i, layer in enumerate(layer for layer in network if isinstance(layer, nn.Linear)):
            assert torch.equal(experts.weights[i][e], layer.weight.T)
            assert torch.equal(experts.biases[i][e, 0], layer.bias)
    x = torch.randn(7, sizes[0])
    for e, network in enumerate(networks):
        torch.testing.assert_close(experts(x)[e], network(x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(experts.hidden(x)[e], network[:-1](x), atol=1e-6, rtol=1e-5)


def test_gradients_of_experts_are_those_of_separate_networks():
    networks = separate(3, 4, (3, 8, 8, 2), nn.SiLU)
    torch.manual_seed(3)
    experts = Experts(4, (3, 8, 8, 2), functional.silu)
    x, mix = torch.randn(7, 3), torch.randn(4, 7, 2)
    (experts(x) * mix).sum().backward()
    sum((network(x) * m).sum() for network, m in zip(networks, mix, strict=True)).backward()
    for e, network in enumerate(networks):
        for i, layer in enumerate(layer for layer in network if isinstance(layer, nn.Linear)):
            torch.testing.assert_close(experts.weights[i].grad[e], layer.weight.grad.T)
            torch.testing.assert_close(experts.biases[i].grad[e, 0], layer.bias.grad)


def test_experts_against_finite_differences():
    experts = double(Experts(3, (3, 4, 4, 2), functional.silu))
    assert torch.autograd.gradcheck(experts, Z[:2].clone().requires_grad_())
    check_parameter_gradients(experts, lambda: experts(Z))


# Fields


def test_mlp_field_written_out():
    field = double(MLPField(3, 2))
    assert shapes(field) == [(3, 128), (128, 128), (128, 2)]
    np.testing.assert_allclose(
        array(field(NOW, Z)), layer_norm(chain(Z.numpy(), field.body, silu), field.norm), atol=1e-9
    )


@pytest.mark.parametrize(
    ("kind", "n_experts", "gate_width", "gate_activation"), [(MoEField, 4, 128, silu), (GatedField, 3, 64, relu)]
)
def test_mixture_fields_written_out(kind, n_experts, gate_width, gate_activation):
    field = double(kind(3, 2))
    assert shapes(field) == [(3, gate_width), (gate_width, n_experts)]
    assert expert_sizes(field.experts) == [(n_experts, 3, 128), (n_experts, 128, 128), (n_experts, 128, 2)]
    share = softmax(chain(Z.numpy(), field.gate, gate_activation), axis=1)
    mixture = sum(share[:, [e]] * expert(Z.numpy(), field.experts, e, silu) for e in range(n_experts))
    np.testing.assert_allclose(array(field(NOW, Z)), layer_norm(mixture, field.norm), atol=1e-9)


@pytest.mark.parametrize("kind", FIELDS)
def test_layer_norm_fixes_the_speed_at_the_start_of_training(kind):
    torch.manual_seed(0)
    velocity = FIELDS[kind](5, 5).double()(NOW, 3 * torch.randn(40, 5, dtype=torch.float64))
    np.testing.assert_allclose(velocity.mean(dim=1).detach(), 0, atol=1e-6)
    # The norm adds 1e-5 to the variance, which is felt where the mixture is small.
    assert (velocity.var(dim=1, correction=0) > 0.8).all()
    assert (velocity.var(dim=1, correction=0) < 1.0001).all()


@pytest.mark.parametrize("kind", FIELDS)
def test_in_one_dimension_the_norm_leaves_a_constant(kind):
    field = double(FIELDS[kind](1, 1))
    velocity = field(NOW, Z[:, :1])
    assert torch.equal(velocity, field.norm.bias.expand(5, 1))


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_do_not_depend_on_time(kind):
    field = build_field(kind, 3, time_dependent=False, second_order=False).double()
    torch.testing.assert_close(field(NOW, Z), field(torch.tensor(0.7), Z), atol=0, rtol=0)


@pytest.mark.parametrize(("time_dependent", "second_order"), OPTIONS)
@pytest.mark.parametrize("kind", FIELDS)
def test_gradients_of_fields_against_finite_differences(kind, time_dependent, second_order):
    field = double(build_field(kind, 3, time_dependent, second_order))
    state, t = state_of(second_order), torch.tensor(0.3, dtype=torch.float64)
    inputs = (t.clone().requires_grad_(time_dependent), state[:2].clone().requires_grad_())
    assert torch.autograd.gradcheck(field, inputs)
    check_parameter_gradients(field, lambda: field(t, state))


@pytest.mark.parametrize(("time_dependent", "second_order"), OPTIONS)
@pytest.mark.parametrize("kind", FIELDS)
def test_gate_and_experts_see_the_state_and_16_features_of_time(kind, time_dependent, second_order):
    field = build_field(kind, 3, time_dependent, second_order)
    n_inputs = (6 if second_order else 3) + (16 if time_dependent else 0)
    core = field.acceleration if second_order else field
    core = core.field if time_dependent else core
    assert isinstance(core, FIELDS[kind])
    assert shapes(core)[0][0] == n_inputs
    if kind != "mlp":
        assert core.experts.weights[0].shape[1] == n_inputs
    assert core.norm.normalized_shape == (3,)
    assert field(NOW, state_of(second_order).float()).shape == (5, 6 if second_order else 3)


# Time


@pytest.mark.parametrize("kind", FIELDS)
def test_time_dependent_field_written_out(kind):
    field = double(build_field(kind, 3, time_dependent=True, second_order=False))
    assert shapes(field.clock) == [(1, 16), (16, 16)]
    for t in (0.0, 0.4, 1.3):
        features = chain(np.array([t]), field.clock, silu)
        inputs = torch.tensor([[*z, *features] for z in Z.numpy()])
        found = field(torch.tensor(t, dtype=torch.float64), Z)
        torch.testing.assert_close(found, field.field(NOW, inputs), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("second_order", [False, True])
def test_a_time_dependent_field_depends_on_time(kind, second_order):
    torch.manual_seed(0)
    field, state = build_field(kind, 3, True, second_order).double(), state_of(second_order)
    assert (field(NOW, state) - field(torch.tensor(1.0), state)).abs().max() > 1e-3
    assert torch.equal(field(NOW, state), field(torch.tensor(0.0), state))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_time_of_another_precision_is_taken_over(dtype):
    field = build_field("mlp", 3, time_dependent=True, second_order=False)
    assert field(torch.tensor(0.5, dtype=dtype), Z.float()).dtype == torch.float32


# Velocity


class Acceleration(nn.Module):
    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, t, state):
        return self.rule(t, *state.chunk(2, dim=-1))


@pytest.mark.parametrize("time_dependent", [False, True])
@pytest.mark.parametrize("kind", FIELDS)
def test_the_state_moves_with_its_velocity(kind, time_dependent):
    field, state = double(build_field(kind, 3, time_dependent, second_order=True)), state_of(True)
    t = torch.tensor(0.4, dtype=torch.float64)
    change = field(t, state)
    assert torch.equal(change[:, :3], state[:, 3:])
    assert torch.equal(change[:, 3:], field.acceleration(t, state))
    # The acceleration sees place and velocity.
    for entry in (0, 4):
        moved = state.clone()
        moved[:, entry] += 1
        assert not torch.allclose(field(t, moved)[:, 3:], change[:, 3:], atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_constant_acceleration(solver):
    pull = torch.tensor([0.0, -2.0, 5.0], dtype=torch.float64)
    field = SecondOrderField(Acceleration(lambda t, z, v: pull.expand_as(z)))
    times, state = torch.linspace(0, 2, 21, dtype=torch.float64), state_of(True)
    z0, v0, t = state[:, None, :3], state[:, None, 3:], times[None, :, None]
    path = SOLVERS[solver]()(field, state, times)
    torch.testing.assert_close(path[..., :3], z0 + v0 * t + pull * t**2 / 2, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(path[..., 3:], v0 + pull * t, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_spring_swings(solver):
    field = SecondOrderField(Acceleration(lambda t, z, v: -4 * z))
    times, state = torch.linspace(0, 2, 41, dtype=torch.float64), state_of(True)
    t = times[None, :, None]
    expected = state[:, None, :3] * torch.cos(2 * t) + state[:, None, 3:] / 2 * torch.sin(2 * t)
    torch.testing.assert_close(SOLVERS[solver]()(field, state, times)[..., :3], expected, atol=5e-3, rtol=0)
