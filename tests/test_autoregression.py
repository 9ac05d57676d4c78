from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted, trials_of
from scipy.signal import lfilter
from sklearn.linear_model import LinearRegression

from odevae.benchmark.models import autoregression
from odevae.benchmark.models.autoregression import AR1, AR2, STRENGTHS, ShrunkAR8, past_bins
from odevae.data.trials import Trials

MODELS = (AR1, AR2, ShrunkAR8)


@pytest.fixture(scope="module")
def train(make_trials):
    return make_trials([30, 17, 24, 28, 3])


@pytest.fixture(scope="module")
def held_out(make_trials):
    return make_trials([20, 2, 26], seed=1)


def simulated(coefficients, n_trials: int, n_bins: int, constant: float = 0.0, seed: int = 0) -> Trials:
    """Trials of autoregressions, one neuron for each row of `coefficients` ``(N, p)``, unit noise."""
    warm_up = 50
    noise = np.random.default_rng(seed).standard_normal((n_trials, n_bins + warm_up, len(coefficients)))
    neurons = [lfilter([1], [1, *-np.asarray(own)], noise[..., n] + constant) for n, own in enumerate(coefficients)]
    return trials_of(np.stack(neurons, axis=-1)[:, warm_up:], [n_bins] * n_trials)


def test_past_bins_by_hand():
    assert past_bins(6, order=3, horizon=2).tolist() == [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 1]]
    assert past_bins(2, order=3, horizon=5).shape == (3, 0)


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("kind", [AR1, AR2])
def test_the_fit_is_least_squares_inside_trials(kind, horizon, train):
    """Against scikit-learn, on rows that are put together one by one."""
    order = kind.order
    found = fitted(kind(), train).coefficients(horizon)
    for neuron in range(4):
        rows, targets = [], []
        for values, recorded in zip(train.values[:, :, neuron].astype(float), train.recorded, strict=True):
            trial = values[recorded]
            for t in range(horizon, len(trial)):
                rows.append([trial[max(t - horizon - k, 0)] for k in range(order)])
                targets.append(trial[t])
        expected = LinearRegression().fit(rows, targets)
        np.testing.assert_allclose(found.past[:, neuron], expected.coef_, rtol=1e-7)
        np.testing.assert_allclose(found.constant[neuron], expected.intercept_, rtol=1e-7)


def test_simulated_coefficients_are_recovered():
    truth = np.array([[1.2, -0.5], [0.3, 0.4], [-0.6, 0.2]])
    train = simulated(truth, n_trials=20, n_bins=400, constant=1.0)
    found = fitted(AR2(), train).coefficients(1)
    np.testing.assert_allclose(found.past.T, truth, atol=0.04)  # about four standard errors
    np.testing.assert_allclose(found.constant, 1.0, atol=0.12)


def test_a_direct_forecast_estimates_the_power_of_a_decay():
    train = simulated([[0.9], [0.5]], n_trials=20, n_bins=400)
    for horizon in (2, 3, 5):
        np.testing.assert_allclose(
            fitted(AR1(), train).coefficients(horizon).past[0], np.array([0.9, 0.5]) ** horizon, atol=0.06
        )


def test_shrinkage_goes_from_each_neurons_own_fit_to_the_common_one(train):
    moments = autoregression._moments(train, order=2, horizon=1)
    own, common = moments.solve(0.0), moments.solve(1e12)
    np.testing.assert_allclose(common.past, np.tile(common.past[:, :1], 4), rtol=1e-6)
    assert np.ptp(own.past, axis=1).min() > 0.01
    # The common fit is least squares on all neurons at once, each about its own means.
    past, target = [], []
    for neuron in range(4):
        frames = [values[n, neuron].astype(float) for values, n in zip(train.values, train.recorded, strict=True)]
        lags = np.concatenate([np.stack([x[past_bins(len(x), 2, 1)[k]] for k in (0, 1)], axis=1) for x in frames])
        after = np.concatenate([x[1:] for x in frames])
        past.append(lags - lags.mean(axis=0))
        target.append(after - after.mean())
    expected = np.linalg.lstsq(np.concatenate(past), np.concatenate(target), rcond=None)[0]
    np.testing.assert_allclose(common.past[:, 0], expected, rtol=1e-6)


def test_validation_trials_choose_the_strength():
    alike = np.tile([[0.8, 0.1, 0, 0, 0, 0, 0, 0]], (6, 1))
    different = np.linspace(-0.9, 0.9, 6)[:, None] * np.eye(8)[0]
    strengths = []
    for truth in (alike, different):
        train, validation = (simulated(truth, n_trials=12, n_bins=50, seed=seed) for seed in (0, 1))
        model = fitted(ShrunkAR8(), train, validation)
        model.coefficients(1)
        strengths.append(model.strengths[1])
        moments = autoregression._moments(train, 8, 1)
        errors = [
            ((moments.solve(strength).apply(validation.values, 1) - validation.values)[:, 1:] ** 2).sum()
            for strength in STRENGTHS
        ]
        assert strengths[-1] == STRENGTHS[int(np.argmin(errors))]
    assert strengths[0] >= 1e4
    assert strengths[1] <= 100


def test_validation_trials_shorter_than_the_horizon_leave_the_common_fit(train, make_trials):
    model = fitted(ShrunkAR8(), train, make_trials([4, 3]))
    assert np.isfinite(model.forecast(train, 10)[:, 10:]).all()
    assert model.strengths == {10: STRENGTHS[-1]}


def test_units_that_are_never_negative_are_never_forecast_below_their_smallest_value(train, held_out):
    # Each of the walks crosses its mean, so a forecast of the halves above it falls below zero somewhere.
    halves = [replace(trials, values=np.maximum(trials.values - 2, 0)) for trials in (train, held_out)]
    plain, clipped = (fitted(kind(), halves[0]).forecast(halves[1], 3)[:, 3:] for kind in (AR2, ShrunkAR8))
    assert plain.min() < 0
    assert clipped.min() == 0
    negative = fitted(ShrunkAR8(), train).forecast(replace(held_out, values=held_out.values - 1000), 3)
    assert negative[:, 3:].min() < train.values.min()


@pytest.mark.parametrize("value", [0.0, 3.7])
@pytest.mark.parametrize("kind", MODELS)
def test_a_neuron_that_is_constant_in_training(kind, value, train, held_out):
    values = train.values.copy()
    values[..., 1] = value
    model = fitted(kind(), replace(train, values=values))
    constant = held_out.values.copy()
    constant[..., 1] = value
    found = model.forecast(replace(held_out, values=constant), 2)
    np.testing.assert_allclose(found[:, 2:, 1], value, rtol=1e-6)
    # Where it is active after all, the forecast stays in bounds.
    assert np.abs(model.forecast(held_out, 2)[:, 2:, 1]).max() < 10 * np.abs(held_out.values).max()


def test_a_neuron_that_is_constant_until_the_last_frames_of_training(train, held_out):
    """Its past never varies, so it must not be blamed for what follows."""
    values = np.full_like(train.values, 0.1)
    values[0, 28:] = 5.0
    found = fitted(AR2(), replace(train, values=values)).coefficients(3)
    assert (found.past == 0).all()


@pytest.mark.parametrize("kind", MODELS)
def test_values_outside_the_recorded_trial_change_nothing(kind, train, held_out):
    filled = [
        replace(trials, values=np.where(trials.recorded[..., None], trials.values, 1e6)) for trials in (train, held_out)
    ]
    found = fitted(kind(), filled[0]).forecast(filled[1], 2)
    expected = fitted(kind(), train).forecast(held_out, 2)
    np.testing.assert_array_equal(found[held_out.recorded], expected[held_out.recorded])


def test_neurons_are_fitted_in_blocks_alike(train, monkeypatch):
    whole = fitted(AR2(), train).coefficients(1)
    monkeypatch.setattr(autoregression, "BLOCK", 3)
    np.testing.assert_allclose(fitted(AR2(), train).coefficients(1).past, whole.past, rtol=1e-12)
