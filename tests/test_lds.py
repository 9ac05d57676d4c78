"""What `LDS` does not share with `GPFA`; the rest is in `test_gpfa`."""

import numpy as np
import pytest
from conftest import fitted, trials_of
from scipy.linalg import subspace_angles
from test_gpfa import check_against_conditioning, condition, observe, random_emission

from odevae.benchmark.models.state_space.lds import (
    LDS,
    Dynamics,
    kalman_filter,
    moments,
    smoothed_means,
    smoother_gains,
)
from odevae.benchmark.models.state_space.linear_gaussian import in_trials, recorded_frames


def rotation(angle: float, size: float) -> np.ndarray:
    return size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def some_dynamics(generator: np.random.Generator, dim: int) -> Dynamics:
    transition = 0.6 * generator.standard_normal((dim, dim)) / np.sqrt(dim) + 0.3 * np.eye(dim)
    roots = generator.standard_normal((2, dim, dim))
    noise, first = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(dim)
    return Dynamics(transition, noise, generator.standard_normal(dim), first)


def lds_prior(dynamics: Dynamics, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(L, D)`` and covariance ``(L, D, L, D)`` of the latents, from the linear map of all noises to them."""
    dim = len(dynamics.first_mean)
    power = [np.linalg.matrix_power(dynamics.transition, k) for k in range(n_bins)]
    drive = np.zeros((n_bins, dim, n_bins, dim))
    for t in range(n_bins):
        for u in range(t + 1):
            drive[t, :, u] = power[t - u]
    noise = np.stack([dynamics.first_covariance] + [dynamics.process_noise] * (n_bins - 1))
    prior = np.einsum("taub,ubc,sduc->tasd", drive, noise, drive)
    return drive[:, :, 0] @ dynamics.first_mean, prior


def simulate(dynamics: Dynamics, emission, lengths, seed: int):
    generator = np.random.default_rng(seed)
    latents = [generator.multivariate_normal(dynamics.first_mean, dynamics.first_covariance, len(lengths))]
    for _ in range(max(lengths) - 1):
        noise = generator.multivariate_normal(np.zeros(len(dynamics.first_mean)), dynamics.process_noise, len(lengths))
        latents.append(latents[-1] @ dynamics.transition.T + noise)
    return trials_of(observe(generator, emission, np.stack(latents, axis=1)), lengths)


def test_the_filter_and_smoother_are_gaussian_conditioning():
    generator = np.random.default_rng(0)
    model = LDS(3)
    model.emission, model.prior = random_emission(generator, 5, 3), some_dynamics(generator, 3)
    trials = trials_of(generator.standard_normal((3, 6, 5)), [6, 3, 4])
    check_against_conditioning(model, *lds_prior(model.prior, 6), trials)


def test_moments_of_successive_latents_are_those_of_gaussian_conditioning():
    generator = np.random.default_rng(1)
    dynamics, emission = some_dynamics(generator, 2), random_emission(generator, 4, 2)
    lengths = [5, 3, 5, 2]
    trials = trials_of(generator.standard_normal((4, 5, 4)), lengths)
    frames, seen = recorded_frames(trials)
    factor, projections, _ = emission.project(frames)
    filtered = kalman_filter(dynamics, factor, in_trials(projections, seen), seen)
    gains = smoother_gains(dynamics, filtered)
    found = moments(filtered, gains, smoothed_means(filtered, gains), seen)
    second, before, lagged = np.zeros((5, 2, 2)), np.zeros((4, 2, 2)), np.zeros((4, 2, 2))
    for trial, length in enumerate(lengths):
        values = trials.values[trial, :length].astype(float)
        mean, covariance, _ = condition(*lds_prior(dynamics, 5), emission, values)
        product = covariance + np.einsum("ta,ub->taub", mean, mean)
        same, following = np.einsum("tatb->tab", product), np.einsum("tatb->tab", product[1:, :, :-1])
        second[:length] += same[:length]
        before[: length - 1] += same[: length - 1]
        lagged[: length - 1] += following[: length - 1]
    np.testing.assert_allclose(found.second, second, atol=1e-8)
    np.testing.assert_allclose(found.second_before, before, atol=1e-8)
    np.testing.assert_allclose(found.lagged, lagged, atol=1e-8)


@pytest.mark.parametrize("noise", ["each", "shared"])
def test_simulated_dynamics_are_recovered(noise):
    transition = np.zeros((3, 3))
    transition[:2, :2], transition[2, 2] = rotation(0.3, 0.97), 0.7
    dynamics = Dynamics(transition, 0.3 * np.eye(3), np.array([2.0, 0, 1]), np.eye(3))
    emission = random_emission(np.random.default_rng(0), 20, 3)
    if noise == "shared":
        emission.noise[:] = 0.5
    trials = simulate(dynamics, emission, [50, 30, 40] * 10, seed=1)
    model = fitted(LDS(3, noises=[noise], tolerance=1e-4), trials)
    found, true = (np.sort_complex(np.linalg.eigvals(a)) for a in (model.prior.transition, transition))
    np.testing.assert_allclose(found, true, atol=0.05)
    assert np.degrees(subspace_angles(model.emission.loadings, emission.loadings)).max() < 3
    # The first latents in what they make the neurons do, since their basis is free.
    np.testing.assert_allclose(
        model.emission.decode(model.prior.first_mean), emission.decode(dynamics.first_mean), atol=1.5
    )
    # No forecast of the fit beats that of the truth by much, nor falls behind.
    truth = LDS(3)
    truth.emission, truth.prior = emission, dynamics
    fresh = simulate(dynamics, emission, [50] * 10, seed=2)
    errors = [np.square(m.forecast(fresh, 3) - fresh.values)[:, 3:].mean() for m in (model, truth)]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)
