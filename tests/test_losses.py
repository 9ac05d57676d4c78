from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from odevae.models.odevae import Output
from odevae.models.presets import PRESETS, ModelSpec
from odevae.training import losses

LENGTHS = [6, 3, 5]


@pytest.fixture
def batch():
    """Observed, predicted (3, 6, 4), path (3, 6, 2), mask, times; three trials of different length."""
    generator = torch.Generator().manual_seed(0)
    observed, predicted = torch.randn(2, 3, 6, 4, generator=generator, dtype=torch.float64)
    path = torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    return observed, predicted, path, mask, torch.linspace(0, 1, 6, dtype=torch.float64)


def trials(values: torch.Tensor) -> list[np.ndarray]:
    return [values[i, :n].numpy() for i, n in enumerate(LENGTHS)]


def mean_of(parts: list[np.ndarray]) -> float:
    return float(np.concatenate([part.ravel() for part in parts]).mean())


# Terms


def test_reconstruction_against_slicing(batch):
    observed, predicted, _, mask, _ = batch
    expected = mean_of([(p - o) ** 2 for p, o in zip(trials(predicted), trials(observed), strict=True)])
    assert losses.reconstruction(predicted, observed, mask).item() == pytest.approx(expected)
    everything = torch.ones_like(mask)
    assert losses.reconstruction(predicted, observed, everything).item() == pytest.approx(
        torch.nn.functional.mse_loss(predicted, observed).item()
    )


def test_kl_is_a_mean_over_trials_and_dimensions():
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0, 1)).mean()
    assert losses.kl(mean, log_variance).item() == pytest.approx(expected.item())
    assert losses.kl(torch.zeros(5, 3), torch.zeros(5, 3)).item() == 0


def test_kl_holds_the_log_variance_within_ten():
    zero = torch.zeros(1, 1, dtype=torch.float64)
    assert losses.kl(zero, zero + 50).item() == pytest.approx(0.5 * (np.exp(10) - 1 - 10))
    assert losses.kl(zero, zero - 50).item() == pytest.approx(0.5 * (np.exp(-10) - 1 + 10))


def test_smoothness_of_a_straight_path_is_its_squared_speed():
    times = torch.tensor([0.0, 0.1, 0.4, 1.0], dtype=torch.float64)
    velocity = torch.tensor([[3.0, -1.0], [0.5, 2.0]], dtype=torch.float64)
    path = torch.ones(2, 4, 2, dtype=torch.float64) + times[None, :, None] * velocity[:, None, :]
    everything = torch.ones(2, 4, dtype=torch.bool)
    assert losses.smoothness(path, times, everything).item() == pytest.approx((9 + 1 + 0.25 + 4) / 4)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    # Three steps of the first trial, one of the second.
    assert losses.smoothness(path, times, mask).item() == pytest.approx((3 * (9 + 1) + 4.25) / 8)


def test_transition_against_loops(batch):
    observed, predicted, _, mask, _ = batch
    errors = []
    for trial, n in enumerate(LENGTHS):
        for step in range(n - 1):
            for channel in range(4):
                true = observed[trial, step + 1, channel] - observed[trial, step, channel]
                guess = predicted[trial, step + 1, channel] - predicted[trial, step, channel]
                errors.append(((guess - true) ** 2).item())
    assert len(errors) == (5 + 2 + 4) * 4
    assert losses.transition(predicted, observed, mask).item() == pytest.approx(np.mean(errors))


def naive_lle(points: np.ndarray) -> float:
    residuals = []
    for i, point in enumerate(points):
        distances = np.sqrt(((points - point) ** 2).sum(axis=1))
        neighbours = [j for j in np.argsort(distances) if j != i][:8]
        weights = np.exp(-distances[neighbours] / 0.1)
        weights /= weights.sum()
        residuals.append((point - sum(w * points[j] for w, j in zip(weights, neighbours, strict=True))) ** 2)
    return float(np.mean(residuals))


def test_soft_lle_against_loops(batch):
    _, _, path, mask, _ = batch
    assert losses.soft_lle(path, mask).item() == pytest.approx(naive_lle(np.concatenate(trials(path))), rel=1e-9)


def test_soft_lle_draws_at_most_256_points():
    torch.manual_seed(0)
    path = torch.randn(6, 50, 2, dtype=torch.float64)
    mask = torch.ones(6, 50, dtype=torch.bool)
    torch.manual_seed(3)
    found = losses.soft_lle(path, mask).item()
    torch.manual_seed(3)
    drawn = path.reshape(300, 2)[torch.randperm(300)[:256]]
    assert found == pytest.approx(naive_lle(drawn.numpy()), rel=1e-6)


@pytest.mark.parametrize(("n_points", "is_zero"), [(8, True), (9, False)])
def test_soft_lle_needs_more_points_than_neighbours(n_points, is_zero):
    path = torch.randn(1, 12, 2)
    value = losses.soft_lle(path, (torch.arange(12) < n_points)[None])
    assert (value.item() == 0) == is_zero


def test_soft_lle_of_coinciding_points_is_zero_and_has_a_gradient():
    path = torch.ones(1, 12, 2, requires_grad=True)
    value = losses.soft_lle(path, torch.ones(1, 12, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(path.grad).all()


@pytest.mark.parametrize("term", ["reconstruction", "transition", "smoothness", "lle"])
def test_what_does_not_count_has_no_influence(batch, term):
    observed, predicted, path, mask, times = batch

    def value(observed, predicted, path):
        output = Output(predicted, path, torch.zeros(3, 2), torch.zeros(3, 2))
        return getattr(losses.terms(output, observed, mask, times, losses.Terms(1, 1, 1, 1, 1)), term).item()

    before = value(observed, predicted, path)
    for array in (observed, predicted, path):
        array[~mask] = 1e4
    assert value(observed, predicted, path) == before
    for array in (observed, predicted, path):
        array[0, 1] += 1
    observed[0, 1, 0] += 2
    path[0, 1, 0] += 1
    assert value(observed, predicted, path) != before


def test_gradients_against_finite_differences(batch):
    observed, predicted, path, mask, times = batch
    mean, log_variance = torch.randn(2, 3, 2, dtype=torch.float64)
    inputs = tuple(x.clone().requires_grad_() for x in (predicted, path, mean, log_variance))
    weight = losses.Terms(1.0, 0.5, 0.3, 0.7, 0.9)

    def loss(*parts):
        return losses.total(losses.terms(Output(*parts), observed, mask, times, weight), weight)

    assert torch.autograd.gradcheck(loss, inputs)


# Weights and the sum


def test_ramp():
    assert [losses.ramp(epoch, 4) for epoch in range(1, 7)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert losses.ramp(1, 0) == 1


def test_weights_ramp_in_training_and_are_full_in_validation():
    spec = replace(PRESETS["v5"], beta=0.02, lambda_transition=0.01, transition_warmup_epochs=10, lambda_lle=0.03)
    assert losses.weights(spec, 5e-4, 3) == pytest.approx((1, 0.02 * 3 / 30, 5e-4, 0.01 * 3 / 10, 0.03))
    assert losses.weights(spec, 5e-4, 20) == pytest.approx((1, 0.02 * 20 / 30, 5e-4, 0.01, 0.03))
    assert losses.weights(spec, 5e-4, None) == (1, 0.02, 5e-4, 0.01, 0.03)
    assert losses.weights(spec, 5e-4, 30) == losses.weights(spec, 5e-4, None)


def test_the_objective_is_the_weighted_sum():
    values = losses.Terms(*map(torch.tensor, (2.0, 3.0, 5.0, 7.0, 11.0)))
    weight = losses.Terms(1.0, 0.1, 0.01, 0.001, 0.5)
    assert losses.total(values, weight).item() == pytest.approx(2 + 0.3 + 0.05 + 0.007 + 5.5)


def test_terms_in_their_order_and_those_without_weight_are_left_out(batch):
    observed, predicted, path, mask, times = batch
    mean, log_variance = torch.randn(2, 3, 2, dtype=torch.float64)
    output = Output(predicted, path, mean, log_variance)
    every = losses.terms(output, observed, mask, times, losses.Terms(1, 1, 1, 1, 1))
    assert every == (
        losses.reconstruction(predicted, observed, mask),
        losses.kl(mean, log_variance),
        losses.smoothness(path, times, mask),
        losses.transition(predicted, observed, mask),
        losses.soft_lle(path, mask),
    )
    v1 = losses.terms(output, observed, mask, times, losses.weights(ModelSpec(), 0.0, None))
    assert v1[:2] == every[:2]
    assert [value.item() for value in v1[2:]] == [0, 0, 0]
