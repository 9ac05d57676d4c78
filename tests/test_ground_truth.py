"""Scores against the truth, of models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted, trials_of

from odevae.benchmark.ground_truth import LOST_BELOW, SEEN, latent, latent_reverse, lost, r2_mean, rates, truth_scores
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.means import Persistence, TrainingMean
from odevae.data.simulate import simulate
from odevae.data.simulate.expected import expected_activity
from odevae.data.trials import Trials, cut
from odevae.errors import OdevaeError

N_NEURONS, DIM = 6, 3


def make_part(lengths, seed: int, noise: float = 0.5) -> tuple[Trials, np.ndarray]:
    """Noisy linear readouts of random latents, zeros outside the trials, and the activity without noise."""
    generator = np.random.default_rng(seed)
    mask = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
    latents = np.where(mask[..., None], generator.standard_normal((*mask.shape, DIM)), 0.0)
    expected = latents @ np.random.default_rng(1).standard_normal((DIM, N_NEURONS)) + 2.0 * mask[..., None]
    noisy = expected + noise * generator.standard_normal(expected.shape)
    return trials_of(noisy, lengths, latents=latents), expected


@pytest.fixture(scope="module")
def train():
    return make_part([20, 25, 18] * 6, 2)[0]


@pytest.fixture(scope="module")
def test_part():
    return make_part([20, 14, 25, 25], 3)


class Answers(BenchmarkModel):
    """Gives the same prediction, whatever it is asked."""

    def __init__(self, predicted):
        super().__init__()
        self.predicted = predicted

    def reconstruct(self, trials):
        return self.predicted

    def onset(self, trials, n_frames):
        assert n_frames == SEEN == 5
        return self.predicted


def counted(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """NaN outside the trials, where nobody may look."""
    return np.where(mask.reshape(*mask.shape, *[1] * (array.ndim - 2)), array, np.nan)


def test_the_truth_scores_one_although_the_trials_are_noisy(test_part):
    test, expected = test_part
    scores = rates(Answers(counted(expected, test.mask)), test, counted(expected, test.mask))
    assert (scores["r2_neuron"], scores["r2_mean"], scores["mse"]) == (1, 1, 0)
    assert scores["n_values"] == test.mask.sum() * N_NEURONS
    # What was recorded is not what is asked for.
    assert rates(Answers(test.values), test, expected)["r2_neuron"] < 0.97


def test_every_neuron_counts_alike_in_the_mean(test_part):
    test, expected = test_part
    frames = expected[test.mask]
    predicted = expected.copy()
    # One neuron is predicted as its mean, so its own R2 is 0 and that of the others 1.
    predicted[..., 0] = frames[:, 0].mean()
    scores = rates(Answers(predicted), test, expected)
    assert scores["r2_mean"] == pytest.approx((N_NEURONS - 1) / N_NEURONS)
    assert scores["r2_neuron"] == pytest.approx(1 - frames[:, 0].var() / frames.var(axis=0).sum())


def test_columns_without_variance_are_left_out():
    generator = np.random.default_rng(0)
    true = generator.standard_normal((50, 3))
    predicted = true + 0.5 * generator.standard_normal((50, 3))
    alone = r2_mean(true, predicted)
    # Exactly constant, and constant but for rounding in single precision.
    constant = np.column_stack([np.full(50, 0.7), np.float32(0.1) + 3e-8 * generator.standard_normal(50)])
    assert r2_mean(np.hstack([true, constant]), np.hstack([predicted, constant + 1])) == pytest.approx(alone)
    assert np.isnan(r2_mean(constant, constant))


@pytest.fixture
def inferred(train, test_part):
    """What a change makes of the true latents of both parts, NaN outside the trials."""
    return lambda change: [(counted(change(part.latents), part.mask), part) for part in (train, test_part[0])]


def test_latents_that_are_turned_and_shifted_are_still_the_true_ones(inferred, test_part):
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((DIM, DIM)))[0]
    parts = inferred(lambda z: 3 * z @ turn - 4)
    for score in (latent, latent_reverse):
        assert score(*parts) == {"r2": pytest.approx(1), "n_values": test_part[0].mask.sum()}


def test_junk_added_to_the_true_latents_lowers_the_reverse_only(inferred):
    generator = np.random.default_rng(6)
    parts = inferred(lambda z: np.append(z, generator.standard_normal((*z.shape[:2], 2)), 2))
    assert latent(*parts)["r2"] == pytest.approx(1)
    # Three latents of R2 1 and two of R2 about 0.
    assert latent_reverse(*parts)["r2"] == pytest.approx(3 / 5, abs=0.05)


def test_a_latent_that_is_missing_lowers_the_forward_score_only(inferred):
    parts = inferred(lambda z: z[..., :2])
    assert latent_reverse(*parts)["r2"] == pytest.approx(1)
    assert latent(*parts)["r2"] == pytest.approx(2 / 3, abs=0.05)


def test_latents_that_collapsed_are_no_junk_and_hold_nothing(inferred):
    parts = inferred(lambda z: np.append(z, np.full((*z.shape[:2], 1), 0.1), 2))
    assert latent(*parts)["r2"] == latent_reverse(*parts)["r2"] == pytest.approx(1)
    parts = inferred(np.zeros_like)
    assert latent(*parts)["r2"] == pytest.approx(0, abs=0.05)
    assert np.isnan(latent_reverse(*parts)["r2"])


def test_nothing_is_fitted_on_the_test_latents(inferred):
    """A map that holds in the test trials only is not found."""
    assert latent(inferred(np.positive)[0], inferred(np.negative)[1])["r2"] == pytest.approx(-3, abs=0.1)


@pytest.mark.parametrize("right", [0, 1, 7, 19])
def test_an_oracle_that_is_right_for_some_frames_is_lost_after_them(test_part, right):
    test, expected = test_part
    predicted = expected.copy()
    # Twice the deviation: the error is as large as the variation, and R2 is 0.
    centre = expected[test.mask].mean(axis=0)
    predicted[:, SEEN + right :] += expected[:, SEEN + right :] - centre
    scores = lost(Answers(counted(predicted, test.mask)), test, counted(expected, test.mask))
    assert scores == {"frames": right, "censored": 0, "n_values": test.mask[:, SEEN:].sum() * N_NEURONS}


def test_a_forecast_that_is_never_lost_is_censored(test_part):
    test, expected = test_part
    scores = lost(Answers(counted(expected, test.mask)), test, expected)
    assert scores == {"frames": 20, "censored": 1, "n_values": test.mask[:, SEEN:].sum() * N_NEURONS}
    # No trial lasts longer than what is seen.
    short = replace(test, mask=test.mask & (np.arange(25) < SEEN))
    assert lost(Answers(expected), short, expected) == {"frames": 0, "censored": 1, "n_values": 0}


@pytest.mark.parametrize(("r2", "frames"), [(LOST_BELOW + 0.01, 20), (LOST_BELOW - 0.01, 0)])
def test_the_truth_is_lost_below_one_half(test_part, r2, frames):
    test, expected = test_part
    centre = expected[test.mask].mean(axis=0)
    # Deviations shrunk by a factor f leave the share (1 - f)^2 of the variation of every frame.
    predicted = centre + (1 - np.sqrt(1 - r2)) * (expected - centre)
    assert lost(Answers(predicted), test, expected)["frames"] == frames


def test_a_frame_is_scored_over_all_trials_that_reach_it(test_part):
    test, expected = test_part
    # Wrong in the one trial that ends first; the others outweigh it until the frame in which they are wrong too.
    predicted = expected.copy()
    predicted[1, SEEN:14] += 0.1
    predicted[:, 18] = np.nan
    assert lost(Answers(predicted), test, expected)["frames"] == 18 - SEEN


class Oracle(Answers):
    def infer(self, trials):
        return trials.latents


def test_what_a_model_does_not_answer_is_not_scored(train, test_part):
    test, expected = test_part
    rate_tasks = ["rates/variance_weighted", "rates/plain_mean"]
    latent_tasks = ["latent/true_from_inferred", "latent/inferred_from_true"]
    assert list(truth_scores(Oracle(expected), train, test, expected)) == [*rate_tasks, *latent_tasks, "lost"]
    assert list(truth_scores(Answers(expected), train, test, expected)) == [*rate_tasks, "lost"]
    assert list(truth_scores(Persistence(), train, test, expected)) == ["lost"]


def test_trials_without_a_truth_are_refused(train, test_part):
    test, expected = test_part
    with pytest.raises(OdevaeError, match="no true latents"):
        truth_scores(Oracle(expected), train, replace(test, latents=None), expected)
    with pytest.raises(ValueError, match="expected activity"):
        truth_scores(Oracle(expected), train, test, expected[:2])


def test_a_simulated_recording_from_its_settings_to_its_scores():
    recording = simulate("lorenz", n_trials=30, frames_per_trial=30, n_neurons=8)
    trials = cut(recording, recording.activity, recording.trial_ids)
    expected = cut(recording, expected_activity(recording), recording.trial_ids).values
    train, test = trials.take(np.arange(20)), trials.take(np.arange(20, 30))
    perfect = truth_scores(Oracle(expected[20:]), train, test, expected[20:])
    assert perfect["rates/plain_mean"]["r2_mean"] == perfect["rates/variance_weighted"]["r2_neuron"] == 1
    assert perfect["lost"] == {"frames": 25, "censored": 1, "n_values": 10 * 25 * 8}
    scores = truth_scores(fitted(TrainingMean(), train), train, test, expected[20:])
    assert list(scores) == ["rates/variance_weighted", "rates/plain_mean", "lost"]
    assert scores["rates/plain_mean"]["r2_mean"] < 0.05
    assert (scores["lost"]["frames"], scores["lost"]["censored"]) == (0, 0)
