import numpy as np
import pytest

from odevae.data.simulate import simulate
from odevae.data.simulate.expected import expected_activity
from odevae.data.simulate.random_path import PEAK, TUNING_WIDTH
from odevae.errors import OdevaeError

SMALL = {"n_neurons": 6, "n_trials": 4, "frames_per_trial": 30}


def test_paths_have_the_stated_covariance_within_a_trial_and_none_between_trials():
    recording = simulate("random_path", n_neurons=1, n_trials=3000, frames_per_trial=25, timescale_frames=6.0, seed=3)
    paths = recording.latents.reshape(3000, 25, 2)
    frames = np.arange(25)
    stated = np.exp(-((frames[:, None] - frames) ** 2) / (2 * 6.0**2))
    for latent in range(2):
        found = paths[..., latent].T @ paths[..., latent] / 3000
        # The error of a covariance of n draws of SD 1 is at most sqrt(2 / n) = .026.
        assert np.abs(found - stated).max() < 0.11
    assert abs(np.mean(paths[..., 0] * paths[..., 1])) < 0.02
    assert np.abs((paths[1:, 0] * paths[:-1, -1]).mean()) < 0.1


def test_neurons_are_tuned_to_the_path():
    recording = simulate("random_path", **SMALL, latent_dim=3, seed=1)
    centres = np.array(recording.source["centres"])
    distances = np.sqrt(np.square(recording.latents[:, None] - centres).sum(axis=2))
    np.testing.assert_allclose(expected_activity(recording), PEAK * np.exp(-(distances**2) / (2 * TUNING_WIDTH**2)))
    counts = simulate("random_path", n_neurons=30, n_trials=60, frames_per_trial=70, seed=1)
    expected = expected_activity(counts)
    assert np.square(counts.activity - expected).sum() / expected.sum() == pytest.approx(1, abs=0.02)


def test_the_seed_decides():
    first, again, other = (simulate("random_path", **SMALL, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.activity, again.activity)
    assert (first.latents != other.latents).all()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [({"latent_dim": 0}, "latent_dim is 0"), ({"timescale_frames": 0.0}, "timescale_frames is 0.0")],
)
def test_settings_that_make_no_sense(setting, sentence):
    with pytest.raises(OdevaeError, match=sentence):
        simulate("random_path", **SMALL, **setting)
