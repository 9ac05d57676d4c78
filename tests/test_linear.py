"""Linear models of single frames, and what their forecasts share with those of autoregressions."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition
from sklearn.linear_model import LinearRegression

from odevae.benchmark.models.autoregression import AR1, AR2, ShrunkAR8
from odevae.benchmark.models.linear import PCA, AllNeurons, FactorAnalysis
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

MODELS = (PCA, FactorAnalysis)
FORECASTING = (PCA, AR1, AR2, ShrunkAR8)


@pytest.fixture(scope="module")
def train(make_trials):
    return make_trials([30, 17, 24, 28, 3], n_neurons=8)


@pytest.fixture(scope="module")
def held_out(make_trials):
    return make_trials([20, 2, 26], n_neurons=8, seed=1)


def frames_of(trials: Trials) -> np.ndarray:
    return trials.values[trials.recorded].astype(float)


def test_pca_is_that_of_scikit_learn(train, held_out):
    model = fitted(PCA(latent_dim=3), train)
    expected = decomposition.PCA(3).fit(frames_of(train))
    scores = expected.transform(frames_of(held_out))
    np.testing.assert_allclose(model.infer(held_out)[held_out.recorded], scores, atol=1e-6)
    np.testing.assert_allclose(
        model.reconstruct(held_out)[held_out.recorded], expected.inverse_transform(scores), atol=1e-6
    )


def test_factor_analysis_is_that_of_scikit_learn(train, held_out):
    model = fitted(FactorAnalysis(latent_dim=3, seed=5), train)
    expected = decomposition.FactorAnalysis(3, random_state=5).fit(frames_of(train))
    factors = expected.transform(frames_of(held_out))
    np.testing.assert_allclose(model.infer(held_out)[held_out.recorded], factors, atol=1e-6)


def test_factor_analysis_reconstructs_the_posterior_mean(train, held_out):
    """Against the conditional mean of the joint Gaussian, ``E[x'] = W W^T (W W^T + Psi)^-1 (x - m) + m``."""
    model = fitted(FactorAnalysis(latent_dim=3), train)
    loadings, noise, mean = model.model.components_.T, model.model.noise_variance_, frames_of(train).mean(axis=0)
    shared = loadings @ loadings.T
    smoother = shared @ np.linalg.inv(shared + np.diag(noise))
    np.testing.assert_allclose(
        model.reconstruct(held_out)[held_out.recorded], (frames_of(held_out) - mean) @ smoother.T + mean, atol=1e-6
    )


@pytest.mark.parametrize("horizon", [1, 4])
def test_pca_forecasts_by_least_squares_on_scores(horizon, train, held_out):
    model = fitted(PCA(latent_dim=3), train)
    pca = decomposition.PCA(3).fit(frames_of(train))
    scores = [pca.transform(values[n].astype(float)) for values, n in zip(train.values, train.recorded, strict=True)]
    regression = LinearRegression().fit(
        np.concatenate([x[:-horizon] for x in scores]), np.concatenate([x[horizon:] for x in scores])
    )
    found = model.forecast(held_out, horizon)
    values = held_out.values[2].astype(float)
    expected = pca.inverse_transform(regression.predict(pca.transform(values[:-horizon])))
    np.testing.assert_allclose(found[2, horizon:], expected, atol=1e-6)


@pytest.mark.parametrize("kind", FORECASTING)
def test_every_bin_from_the_horizon_on_is_forecast(kind, train, held_out):
    model = fitted(kind(latent_dim=2), train)
    for horizon in (1, 2, 3, 5, 10):
        found = model.forecast(held_out, horizon)
        assert found.shape == held_out.values.shape
        assert np.isnan(found[:, :horizon]).all()
        assert np.isfinite(found[:, horizon:]).all()


@pytest.mark.parametrize("kind", FORECASTING)
@settings(max_examples=15, deadline=None)
@given(
    horizon=st.sampled_from([1, 2, 3, 5, 10]),
    unseen=st.integers(0, 25),
    poison=st.sampled_from([np.nan, np.inf, -1e6, 0.0]),
)
def test_no_forecast_looks_at_what_is_not_past(kind, train, held_out, horizon, unseen, poison):
    model = fitted(kind(latent_dim=2), train)
    values = held_out.values.copy()
    values[:, unseen:] = poison
    with np.errstate(invalid="ignore"):
        found = model.forecast(replace(held_out, values=values), horizon)[:, : unseen + horizon]
    expected = model.forecast(held_out, horizon)[:, : unseen + horizon]
    np.testing.assert_allclose(found, expected, rtol=1e-12 if kind is PCA else 0)


@pytest.mark.parametrize("kind", MODELS)
def test_values_outside_the_recorded_trial_change_nothing(kind, train, held_out):
    filled = [
        replace(trials, values=np.where(trials.recorded[..., None], trials.values, np.nan))
        for trials in (train, held_out)
    ]
    model, same = fitted(kind(latent_dim=2), train), fitted(kind(latent_dim=2), filled[0])
    for task, *horizon in [("reconstruct",), ("infer",)] + [("forecast", 2)] * kind.answers("forecast"):
        expected, found = getattr(model, task)(held_out, *horizon), getattr(same, task)(filled[1], *horizon)
        np.testing.assert_allclose(found[held_out.recorded], expected[held_out.recorded])
        assert np.isfinite(found[:, 2:]).all()


@pytest.mark.parametrize("kind", MODELS)
def test_a_neuron_that_is_silent_in_training_is_no_trouble(kind, train, held_out):
    silent = replace(train, values=train.values * (np.arange(8) > 0))
    found = fitted(kind(latent_dim=2), silent).reconstruct(held_out)
    np.testing.assert_allclose(found[..., 0], 0, atol=1e-6)
    assert np.abs(found).max() < 10 * np.abs(held_out.values).max()


@pytest.mark.parametrize("kind", MODELS)
def test_more_dimensions_than_neurons_are_refused(kind, train):
    with pytest.raises(OdevaeError, match=r"9 latent dimensions needs as many .* 8 neurons"):
        fitted(kind(latent_dim=9), train)


@pytest.mark.parametrize("kind", [PCA, AR1])
def test_a_horizon_longer_than_every_training_trial_is_refused(kind, make_trials):
    with pytest.raises(OdevaeError, match="no training trial has more than 10 frames"):
        fitted(kind(latent_dim=2), make_trials([10, 4])).forecast(make_trials([20]), 10)


def test_all_neurons_are_a_copy_of_what_is_seen(train, held_out):
    model = fitted(AllNeurons(), train)
    np.testing.assert_array_equal(model.infer(held_out), held_out.values)
    np.testing.assert_array_equal(model.reconstruct(held_out), held_out.values)
    assert not model.answers("forecast") and not model.answers("onset")
