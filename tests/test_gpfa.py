"""`GPFA`, and what it shares with `LDS`: the emission, the loop of EM and the answers."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted, trials_of
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

from odevae.benchmark.models.state_space.gpfa import GPFA, WHITE_SHARE, in_segments
from odevae.benchmark.models.state_space.lds import LDS
from odevae.benchmark.models.state_space.linear_gaussian import (
    NOISE_FLOOR,
    Emission,
    first_emission,
    fit_emission,
    in_trials,
    noise_floor,
    recorded_frames,
)
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

MODELS = [GPFA, LDS]


def random_emission(generator: np.random.Generator, n_neurons: int, dim: int) -> Emission:
    loadings = generator.standard_normal((n_neurons, dim))
    return Emission(loadings, generator.standard_normal(n_neurons), generator.uniform(0.3, 1.5, n_neurons))


def observe(generator: np.random.Generator, emission: Emission, latents: np.ndarray) -> np.ndarray:
    noise = generator.standard_normal((*latents.shape[:2], len(emission.noise))) * np.sqrt(emission.noise)
    return emission.decode(latents) + noise


def condition(prior_mean: np.ndarray, prior: np.ndarray, emission: Emission, seen: np.ndarray):
    """Posterior mean ``(L, D)`` and covariance ``(L, D, L, D)`` of the latents and log-density of the frames `seen`.

    Written out with the covariance of all neurons in all frames: `prior_mean` ``(L, D)``, `prior` ``(L, D, L, D)``,
    `seen` ``(T, N)`` the first frames of a trial.
    """
    n_bins, dim = prior_mean.shape
    n_seen = len(seen)
    shown = np.kron(np.eye(n_bins), emission.loadings)[: n_seen * len(emission.offset)]
    prior = prior.reshape(n_bins * dim, n_bins * dim)
    mean = shown @ prior_mean.ravel() + np.tile(emission.offset, n_seen)
    covariance = shown @ prior @ shown.T + np.diag(np.tile(emission.noise, n_seen))
    gain = np.linalg.solve(covariance, shown @ prior).T
    posterior_mean = prior_mean.ravel() + gain @ (seen.ravel() - mean)
    return (
        posterior_mean.reshape(n_bins, dim),
        (prior - gain @ shown @ prior).reshape(n_bins, dim, n_bins, dim),
        multivariate_normal(mean, covariance).logpdf(seen.ravel()),
    )


def gp_prior(timescales, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(L, D)`` and covariance ``(L, D, L, D)`` of Gaussian processes."""
    dim = len(timescales)
    prior = np.zeros((n_bins, dim, n_bins, dim))
    steps = np.subtract.outer(np.arange(n_bins), np.arange(n_bins))
    for i, timescale in enumerate(timescales):
        prior[:, i, :, i] = (1 - WHITE_SHARE) * np.exp(-(steps**2) / (2 * timescale**2)) + WHITE_SHARE * (steps == 0)
    return np.zeros((n_bins, dim)), prior


def check_against_conditioning(model, prior_mean: np.ndarray, prior: np.ndarray, trials: Trials) -> None:
    """Every answer, the log-likelihood and the moments of a model with set parameters, trial by trial."""
    lengths = trials.recorded.sum(axis=1)
    frames, seen = recorded_frames(trials)
    emission, n_bins = model.emission, seen.shape[1]

    def latents(trial: int, n_seen: int) -> np.ndarray:
        values = trials.values[trial, : min(n_seen, lengths[trial])].astype(float)
        return condition(prior_mean, prior, emission, values)[0]

    inferred, onset, forecast = model.infer(trials), model.onset(trials, 2), model.forecast(trials, 2)
    np.testing.assert_allclose(model.reconstruct(trials), emission.decode(inferred))
    log_density, second_moment = 0.0, 0.0
    for trial, length in enumerate(lengths):
        values = trials.values[trial, :length].astype(float)
        mean, covariance, density = condition(prior_mean, prior, emission, values)
        np.testing.assert_allclose(inferred[trial], mean, atol=1e-8)
        np.testing.assert_allclose(onset[trial], emission.decode(latents(trial, 2)), atol=1e-8)
        for t in range(2, n_bins):
            np.testing.assert_allclose(forecast[trial, t], emission.decode(latents(trial, t - 1)[t]), atol=1e-8)
        log_density += density
        second_moment += np.einsum("tatb->ab", covariance[:length, :, :length]) + mean[:length].T @ mean[:length]
    factor, projections, rest = emission.project(frames)
    step = model.step(factor, in_trials(projections, seen), seen)
    assert step.log_density + rest == pytest.approx(log_density, rel=1e-9)
    np.testing.assert_allclose(step.second_moment, second_moment, atol=1e-8)


def simulate_gp(timescales, lengths, n_neurons: int, seed: int) -> tuple[Trials, Emission]:
    generator = np.random.default_rng(seed)
    n_bins, dim = max(lengths), len(timescales)
    emission = random_emission(generator, n_neurons, dim)
    _, prior = gp_prior(timescales, n_bins)
    latents = np.stack(
        [generator.multivariate_normal(np.zeros(n_bins), prior[:, i, :, i], len(lengths)) for i in range(dim)], axis=-1
    )
    return trials_of(observe(generator, emission, latents), lengths), emission


@pytest.fixture(scope="module")
def smooth() -> Trials:
    """Twelve trials of ten neurons that share two smooth latents."""
    return simulate_gp([2.0, 5.0], [12, 9, 15, 7] * 3, 10, seed=1)[0]


@pytest.fixture(scope="module", params=MODELS)
def model(request, smooth):
    return fitted(request.param(2, max_iterations=3), smooth)


def raised(trials: Trials, start: int) -> Trials:
    """The trials with 10 added to every value from a bin on."""
    higher = trials.values + 10 * (np.arange(trials.values.shape[1]) >= start)[:, None]
    return trials_of(higher, trials.recorded.sum(axis=1))


# The posterior


def test_gpfa_is_gaussian_conditioning():
    generator = np.random.default_rng(0)
    model = GPFA(3)
    model.emission, model.prior = random_emission(generator, 5, 3), np.array([0.7, 2.0, 4.0])
    trials = trials_of(generator.standard_normal((3, 6, 5)), [6, 3, 4])
    check_against_conditioning(model, *gp_prior(model.prior, 6), trials)


def test_latents_that_no_neuron_shows_keep_their_prior():
    generator = np.random.default_rng(0)
    model, emission = GPFA(2), random_emission(generator, 4, 2)
    emission.loadings[:, 1] = 0
    model.emission, model.prior = emission, np.array([2.0, 3.0])
    trials = trials_of(generator.standard_normal((2, 5, 4)), [5, 2])
    check_against_conditioning(model, *gp_prior(model.prior, 5), trials)
    np.testing.assert_allclose(model.infer(trials)[..., 1], 0, atol=1e-12)


# EM


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("noise", ["each", "shared"])
def test_the_log_likelihood_never_falls(kind, noise, smooth):
    found = fitted(kind(2, noises=[noise], max_iterations=12, tolerance=0), smooth).log_likelihoods
    gains = np.diff(found)
    assert len(gains) > 5
    # EM that has arrived moves by rounding errors.
    assert gains.min() > -1e-9 * abs(found[-1])
    assert found[-1] > found[0] + 1


def test_the_m_step_of_the_emission_is_least_squares_on_certain_latents():
    generator = np.random.default_rng(0)
    latents, frames = generator.standard_normal((50, 2)), generator.standard_normal((50, 4)) + 3
    found = fit_emission(frames, latents, latents.T @ latents, np.zeros(4), "each")
    design = np.column_stack([latents, np.ones(50)])
    coefficients, squares, *_ = np.linalg.lstsq(design, frames)
    np.testing.assert_allclose(np.column_stack([found.loadings, found.offset]), coefficients.T)
    np.testing.assert_allclose(found.noise, squares / 50)
    shared = fit_emission(frames, latents, latents.T @ latents, np.zeros(4), "shared")
    np.testing.assert_allclose(shared.noise, squares.mean() / 50)


def test_simulated_timescales_and_subspace_are_found():
    trials, emission = simulate_gp([1.5, 6.0], [30, 20] * 10, 15, seed=0)
    model = fitted(GPFA(2, noises=["each"], max_iterations=40), trials)
    np.testing.assert_allclose(np.sort(model.timescales), [1.5, 6.0], rtol=0.15)
    assert np.degrees(subspace_angles(model.emission.loadings, emission.loadings)).max() < 5
    np.testing.assert_allclose(model.emission.noise, emission.noise, rtol=0.25)


def test_without_timescales_it_is_factor_analysis():
    # Latents that are white have no timescale to find, so it stays where it starts: at zero, but for rounding.
    generator = np.random.default_rng(0)
    emission = random_emission(generator, 8, 2)
    trials = trials_of(observe(generator, emission, generator.standard_normal((20, 10, 2))), [10, 6] * 10)
    model = fitted(GPFA(2, noises=["each"], first_timescale=1e-3, tolerance=1e-6, max_iterations=30), trials)
    assert model.timescales.max() < 0.1
    frames, seen = recorded_frames(trials)
    analysis = FactorAnalysis(2, tol=1e-8, max_iter=5000, svd_method="lapack").fit(frames)
    assert model.log_likelihoods[-1] / len(frames) == pytest.approx(analysis.score(frames), abs=1e-4)
    expected = analysis.transform(frames) @ analysis.components_ + analysis.mean_
    np.testing.assert_allclose(model.reconstruct(trials)[seen], expected, atol=0.02)


def test_long_trials_are_fitted_in_pieces_that_hold_every_frame():
    trials = trials_of(np.random.default_rng(0).standard_normal((3, 7, 2)), [7, 3, 5])
    cut = in_segments(trials, 3)
    assert cut.recorded.sum(axis=1).tolist() == [3, 3, 1, 3, 3, 2]
    assert cut.trial_ids.tolist() == [1, 1, 1, 2, 3, 3]
    assert np.array_equal(cut.values[cut.recorded], trials.values[trials.recorded])


def test_validation_chooses_the_noise():
    # Four loud neurons share one latent, and twelve that hardly vary another: variance and likelihood disagree.
    generator = np.random.default_rng(0)
    latents, noise = generator.standard_normal((2, 12, 15, 1)), generator.standard_normal((12, 15, 16))
    values = np.concatenate([3 * latents[0] + noise[..., :4], 0.01 * latents[1] + 0.001 * noise[..., 4:]], axis=-1)
    trials = trials_of(values, [15] * 12)
    train, validation = trials.take(np.arange(9)), trials.take(np.arange(9, 12))
    each, shared, both = (
        fitted(LDS(1, **noises), train, validation) for noises in ({"noises": ["each"]}, {"noises": ["shared"]}, {})
    )

    def error(model) -> float:
        return np.square(model.reconstruct(validation) - validation.values)[validation.recorded].mean()

    assert error(shared) < 0.5 * error(each)
    assert both.noise == "shared"
    assert error(both) == pytest.approx(error(shared))


# What may be seen


def test_forecasts_never_look_past_the_horizon(model, smooth):
    for horizon in (1, 4):
        before, after = (model.forecast(trials, horizon) for trials in (smooth, raised(smooth, 6)))
        assert np.isnan(before[:, :horizon]).all()
        assert np.isfinite(before[:, horizon:]).all()
        np.testing.assert_array_equal(after[:, : 6 + horizon], before[:, : 6 + horizon])
        assert (np.abs(after[:, 6 + horizon] - before[:, 6 + horizon]).max(axis=-1) > 0.01).sum() >= 9


def test_onsets_see_the_first_frames_only(model, smooth):
    np.testing.assert_array_equal(model.onset(raised(smooth, 3), 3), model.onset(smooth, 3))
    np.testing.assert_allclose(model.onset(smooth, 15), model.reconstruct(smooth))


def test_bins_that_were_not_recorded_count_for_nothing(model, smooth):
    recorded = smooth.recorded
    garbage = replace(smooth, values=np.where(recorded[..., None], smooth.values, np.float32(1e6)))
    spoiled = fitted(type(model)(2, max_iterations=3), garbage)
    assert spoiled.log_likelihoods == model.log_likelihoods
    for task in ("reconstruct", "infer"):
        np.testing.assert_array_equal(getattr(spoiled, task)(garbage), getattr(model, task)(smooth))
    # Padding a trial with more bins changes nothing either.
    longer = trials_of(np.pad(smooth.values, ((0, 0), (0, 5), (0, 0))), recorded.sum(axis=1))
    np.testing.assert_allclose(model.reconstruct(longer)[:, :15][recorded], model.reconstruct(smooth)[recorded])
    assert np.isfinite(model.reconstruct(longer)).all()


@pytest.mark.parametrize("kind", MODELS)
def test_the_same_seed_gives_the_same_fit(kind, smooth):
    one, same = (fitted(kind(2, 3, max_iterations=2), smooth).reconstruct(smooth) for _ in range(2))
    np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("kind", MODELS)
def test_every_task_is_answered(kind):
    assert all(kind.answers(task) for task in ("reconstruct", "onset", "forecast", "infer"))


# Silent neurons and bad input


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("noise", ["each", "shared"])
def test_neurons_that_are_silent_in_training_break_nothing(kind, noise, smooth):
    lengths = smooth.recorded.sum(axis=1)
    values = smooth.values.copy()
    values[..., 3] = 0
    values[..., 4] = 0.1  # constant, and not exact in binary
    values[..., 5] = 0
    values[0, 2, 5] = 1e-3  # hardly ever active
    train = trials_of(values, lengths)
    model = fitted(kind(2, noises=[noise], max_iterations=5), train)
    assert np.isfinite(model.log_likelihoods).all()
    assert (model.emission.noise > 0).all()
    np.testing.assert_allclose(model.emission.loadings[3:5], 0, atol=1e-6)
    quiet = model.reconstruct(train)
    np.testing.assert_allclose(quiet[train.recorded][:, 3:5], [[0, 0.1]] * lengths.sum(), atol=1e-5)
    # If they fire in another trial, the latents hardly notice.
    values[..., 3:6] = 5
    np.testing.assert_allclose(model.reconstruct(trials_of(values, lengths)), quiet, atol=0.3)


def test_the_floor_of_the_noise():
    frames = np.random.default_rng(0).standard_normal((200, 4)) * [0, 1e-6, 1, 3]
    np.testing.assert_allclose(noise_floor(frames), NOISE_FLOOR * frames.var(axis=0)[[2, 2, 2, 3]])


def test_input_that_makes_no_sense(smooth):
    silent = trials_of(np.ones((2, 5, 3)), [5, 5])
    with pytest.raises(OdevaeError, match="every neuron is silent in the training trials"):
        GPFA(1).fit(silent, silent)
    with pytest.raises(OdevaeError, match="10 neurons are active in the 129 training frames, too few for 10 latents"):
        GPFA(10).fit(smooth, smooth)
    with pytest.raises(OdevaeError, match="give one or both of each, shared"):
        LDS(1, noises=["own"])
    gap = trials_of(np.ones((2, 5, 3)), [5, 5])
    gap.recorded[1, 2] = False
    with pytest.raises(OdevaeError, match="trial 2 is not recorded without a gap"):
        recorded_frames(gap)


def test_the_first_emission_of_shared_noise_is_probabilistic_pca():
    frames = np.random.default_rng(0).standard_normal((300, 3)) * [3, 1, 1]
    emission = first_emission(frames, 1, 0, noise_floor(frames), "shared")
    assert np.ptp(emission.noise) == 0
    covariance = emission.loadings @ emission.loadings.T + np.diag(emission.noise)
    values = np.linalg.eigvalsh(np.cov(frames.T))
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), [values[:2].mean()] * 2 + [values[2]], rtol=1e-6)
