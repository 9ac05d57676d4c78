"""`GPFA`, and what it shares with `LDS`: the emission, the loop of EM and the answers."""

import numpy as np
import pytest
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
    noise_floor,
    recorded_frames,
)
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

MODELS = [GPFA, LDS]


def make_trials(values: np.ndarray, lengths) -> Trials:
    """Trials of ``(B, L, N)`` values that are recorded over their first `lengths` bins."""
    recorded = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    return Trials(
        values=np.where(recorded[..., None], values, 0).astype(np.float32),
        mask=recorded,
        recorded=recorded,
        times=np.where(recorded, np.arange(values.shape[1]) / 15.0, 0.0),
        trial_ids=np.arange(len(values)) + 1,
    )


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
    for i, timescale in enumerate(timescales):
        for t in range(n_bins):
            for u in range(n_bins):
                smooth = np.exp(-((t - u) ** 2) / (2 * timescale**2))
                prior[t, i, u, i] = (1 - WHITE_SHARE) * smooth + WHITE_SHARE * (t == u)
    return np.zeros((n_bins, dim)), prior


def check_against_conditioning(model, prior_mean: np.ndarray, prior: np.ndarray, trials: Trials) -> None:
    """Every answer, the log-likelihood and the moments of a model with set parameters, trial by trial."""
    lengths = trials.recorded.sum(axis=1)
    frames, seen = recorded_frames(trials)
    emission, n_bins = model.emission, seen.shape[1]

    def latents(trial: int, n_seen: int) -> np.ndarray:
        values = trials.values[trial, : min(n_seen, lengths[trial])].astype(float)
        return condition(prior_mean, prior, emission, values)[0]

    inferred = model.infer(trials)
    onset = model.onset(trials, 2)
    forecast = model.forecast(trials, 2)
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
        for t in range(length):
            second_moment = second_moment + covariance[t, :, t] + np.outer(mean[t], mean[t])
    factor, projections, rest = emission.project(frames)
    scattered = np.zeros((*seen.shape, len(factor)))
    scattered[seen] = projections
    step = model.step(factor, scattered, seen)
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
    return make_trials(observe(generator, emission, latents), lengths), emission


@pytest.fixture(scope="module")
def smooth() -> Trials:
    """Twelve trials of ten neurons that share two smooth latents."""
    return simulate_gp([2.0, 5.0], [12, 9, 15, 7] * 3, 10, seed=1)[0]


# The posterior


def test_gpfa_is_gaussian_conditioning():
    generator = np.random.default_rng(0)
    model = GPFA(3)
    model.emission, model.prior = random_emission(generator, 5, 3), np.array([0.7, 2.0, 4.0])
    trials = make_trials(generator.standard_normal((3, 6, 5)), [6, 3, 4])
    check_against_conditioning(model, *gp_prior(model.prior, 6), trials)


def test_latents_that_no_neuron_shows_keep_their_prior():
    generator = np.random.default_rng(0)
    model, emission = GPFA(2), random_emission(generator, 4, 2)
    emission.loadings[:, 1] = 0
    model.emission, model.prior = emission, np.array([2.0, 3.0])
    trials = make_trials(generator.standard_normal((2, 5, 4)), [5, 2])
    check_against_conditioning(model, *gp_prior(model.prior, 5), trials)
    np.testing.assert_allclose(model.infer(trials)[..., 1], 0, atol=1e-12)


# EM


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", ["each", "shared"])
def test_the_log_likelihood_never_falls(model, noise, smooth):
    fitted = model(2, noises=[noise], max_iterations=12, tolerance=0)
    fitted.fit(smooth, smooth)
    gains = np.diff(fitted.log_likelihoods)
    assert len(gains) > 5
    # EM that has arrived moves by rounding errors.
    assert gains.min() > -1e-9 * abs(fitted.log_likelihoods[-1])
    assert fitted.log_likelihoods[-1] > fitted.log_likelihoods[0] + 1


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
    model = GPFA(2, noises=["each"], max_iterations=40)
    model.fit(trials, trials)
    np.testing.assert_allclose(np.sort(model.timescales), [1.5, 6.0], rtol=0.15)
    assert np.degrees(subspace_angles(model.emission.loadings, emission.loadings)).max() < 5
    np.testing.assert_allclose(model.emission.noise, emission.noise, rtol=0.25)


def test_without_timescales_it_is_factor_analysis():
    # Latents that are white have no timescale to find, so it stays where it starts: at zero, but for rounding.
    generator = np.random.default_rng(0)
    emission = random_emission(generator, 8, 2)
    trials = make_trials(observe(generator, emission, generator.standard_normal((20, 10, 2))), [10, 6] * 10)
    model = GPFA(2, noises=["each"], first_timescale=1e-3, tolerance=1e-6, max_iterations=30)
    model.fit(trials, trials)
    assert model.timescales.max() < 0.1
    frames, seen = recorded_frames(trials)
    analysis = FactorAnalysis(2, tol=1e-8, max_iter=5000, svd_method="lapack").fit(frames)
    assert model.log_likelihoods[-1] / len(frames) == pytest.approx(analysis.score(frames), abs=1e-4)
    expected = analysis.transform(frames) @ analysis.components_ + analysis.mean_
    np.testing.assert_allclose(model.reconstruct(trials)[seen], expected, atol=0.02)


def test_long_trials_are_fitted_in_pieces_that_hold_every_frame():
    trials = make_trials(np.random.default_rng(0).standard_normal((3, 7, 2)), [7, 3, 5])
    cut = in_segments(trials, 3)
    assert cut.recorded.sum(axis=1).tolist() == [3, 3, 1, 3, 3, 2]
    assert cut.trial_ids.tolist() == [1, 1, 1, 2, 3, 3]
    assert np.array_equal(cut.values[cut.recorded], trials.values[trials.recorded])


def test_validation_chooses_the_noise():
    # Four loud neurons share one latent, and twelve that hardly vary another: variance and likelihood disagree.
    generator = np.random.default_rng(0)
    latents, noise = generator.standard_normal((2, 12, 15, 1)), generator.standard_normal((12, 15, 16))
    values = np.concatenate([3 * latents[0] + noise[..., :4], 0.01 * latents[1] + 0.001 * noise[..., 4:]], axis=-1)
    trials = make_trials(values, [15] * 12)
    train, validation = trials.take(np.arange(9)), trials.take(np.arange(9, 12))
    errors = {}
    for noise in ("each", "shared"):
        model = LDS(1, noises=[noise])
        model.fit(train, validation)
        errors[noise] = np.square(model.reconstruct(validation) - validation.values)[validation.recorded].mean()
    both = LDS(1)
    both.fit(train, validation)
    assert errors["shared"] < 0.5 * errors["each"]
    assert both.noise == "shared"
    error = np.square(both.reconstruct(validation) - validation.values)[validation.recorded].mean()
    assert error == pytest.approx(errors["shared"])


# What may be seen


@pytest.mark.parametrize("model", MODELS)
def test_forecasts_never_look_past_the_horizon(model, smooth):
    fitted = model(2, max_iterations=3)
    fitted.fit(smooth, smooth)
    for horizon in (1, 4):
        before = fitted.forecast(smooth, horizon)
        assert np.isnan(before[:, :horizon]).all()
        assert np.isfinite(before[:, horizon:]).all()
        values = smooth.values.copy()
        values[:, 6:] += 10
        after = fitted.forecast(make_trials(values, smooth.recorded.sum(axis=1)), horizon)
        np.testing.assert_array_equal(after[:, : 6 + horizon], before[:, : 6 + horizon])
        assert (np.abs(after[:, 6 + horizon] - before[:, 6 + horizon]).max(axis=-1) > 0.01).sum() >= 9


@pytest.mark.parametrize("model", MODELS)
def test_onsets_see_the_first_frames_only(model, smooth):
    fitted = model(2, max_iterations=3)
    fitted.fit(smooth, smooth)
    values = smooth.values.copy()
    values[:, 3:] += 10
    changed = make_trials(values, smooth.recorded.sum(axis=1))
    np.testing.assert_array_equal(fitted.onset(changed, 3), fitted.onset(smooth, 3))
    np.testing.assert_allclose(fitted.onset(smooth, 15), fitted.reconstruct(smooth))


@pytest.mark.parametrize("model", MODELS)
def test_bins_that_were_not_recorded_count_for_nothing(model, smooth):
    fitted, spoiled = model(2, max_iterations=4), model(2, max_iterations=4)
    fitted.fit(smooth, smooth)
    recorded = smooth.recorded
    garbage = Trials(
        values=np.where(recorded[..., None], smooth.values, 1e6).astype(np.float32),
        mask=smooth.mask,
        recorded=recorded,
        times=smooth.times,
        trial_ids=smooth.trial_ids,
    )
    spoiled.fit(garbage, garbage)
    assert spoiled.log_likelihoods == fitted.log_likelihoods
    for task in ("reconstruct", "infer"):
        np.testing.assert_array_equal(getattr(spoiled, task)(garbage), getattr(fitted, task)(smooth))
    # Padding a trial with more bins changes nothing either.
    longer = make_trials(np.pad(smooth.values, ((0, 0), (0, 5), (0, 0))), recorded.sum(axis=1))
    np.testing.assert_allclose(fitted.reconstruct(longer)[:, :15][recorded], fitted.reconstruct(smooth)[recorded])
    assert np.isfinite(fitted.reconstruct(longer)).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_fit(model, smooth):
    one, same = model(2, 3, max_iterations=2), model(2, 3, max_iterations=2)
    one.fit(smooth, smooth)
    same.fit(smooth, smooth)
    np.testing.assert_array_equal(one.reconstruct(smooth), same.reconstruct(smooth))


@pytest.mark.parametrize("model", MODELS)
def test_every_task_is_answered(model):
    assert all(model.answers(task) for task in ("reconstruct", "onset", "forecast", "infer"))


# Silent neurons and bad input


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", ["each", "shared"])
def test_neurons_that_are_silent_in_training_break_nothing(model, noise, smooth):
    lengths = smooth.recorded.sum(axis=1)
    values = smooth.values.copy()
    values[..., 3] = 0
    values[..., 4] = 0.1  # constant, and not exact in binary
    values[..., 5] = 0
    values[0, 2, 5] = 1e-3  # hardly ever active
    train = make_trials(values, lengths)
    fitted = model(2, noises=[noise], max_iterations=5)
    fitted.fit(train, train)
    assert np.isfinite(fitted.log_likelihoods).all()
    assert (fitted.emission.noise > 0).all()
    np.testing.assert_allclose(fitted.emission.loadings[3:5], 0, atol=1e-6)
    quiet = fitted.reconstruct(train)
    np.testing.assert_allclose(quiet[train.recorded][:, 3:5], [[0, 0.1]] * lengths.sum(), atol=1e-5)
    # If they fire in another trial, the latents hardly notice.
    values[..., 3:6] = 5
    np.testing.assert_allclose(fitted.reconstruct(make_trials(values, lengths)), quiet, atol=0.3)


def test_the_floor_of_the_noise():
    frames = np.random.default_rng(0).standard_normal((200, 4)) * [0, 1e-6, 1, 3]
    variance = frames.var(axis=0)
    np.testing.assert_allclose(
        noise_floor(frames), NOISE_FLOOR * np.array([variance[2], variance[2], variance[2], variance[3]])
    )


def test_input_that_makes_no_sense(smooth):
    silent = make_trials(np.ones((2, 5, 3)), [5, 5])
    with pytest.raises(OdevaeError, match="every neuron is silent in the training trials"):
        GPFA(1).fit(silent, silent)
    with pytest.raises(OdevaeError, match="10 neurons are active in the 129 training frames, too few for 10 latents"):
        GPFA(10).fit(smooth, smooth)
    with pytest.raises(OdevaeError, match="give one or both of each, shared"):
        LDS(1, noises=["own"])
    gap = make_trials(np.ones((2, 5, 3)), [5, 5])
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
