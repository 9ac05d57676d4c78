import numpy as np
import pytest

from odevae.data.simulate.sphere import CONCENTRATION, PEAK, bumps, sphere, uniform_on_sphere

SMALL = {"n_neurons": 20, "n_trials": 6, "frames_per_trial": 200}


@pytest.fixture(scope="module")
def circles():
    """Positions and velocities ``(B, L, 3)`` of many short trials, and the seconds of a frame."""
    recording = sphere(n_neurons=1, n_trials=400, frames_per_trial=200, speed=0.7, frame_rate_hz=50.0)
    latents = recording.latents.reshape(400, 200, 6)
    return latents[..., :3], latents[..., 3:], 1 / 50


def test_default_sizes():
    recording = sphere()
    assert recording.activity.shape == (18000, 300)
    assert recording.latents.shape == (18000, 6)
    assert [len(recording.frames_of(trial)) for trial in recording.trial_ids] == [600] * 30
    np.testing.assert_array_equal(recording.covariates["z"], recording.latents[:, 2])


def test_positions_stay_on_the_sphere_at_constant_speed(circles):
    position, velocity, _ = circles
    np.testing.assert_allclose(np.linalg.norm(position, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(velocity, axis=-1), 0.7, atol=1e-12)
    np.testing.assert_allclose((position * velocity).sum(axis=-1), 0, atol=1e-12)


def test_each_trial_lies_in_a_plane_of_its_own_through_the_centre(circles):
    position, _, _ = circles
    singular_values = np.linalg.svd(position[:50], compute_uv=False)
    assert singular_values[:, 2].max() < 1e-10
    assert singular_values[:, 1].min() > 1
    normals = np.cross(position[:, 0], position[:, 50])
    assert np.linalg.matrix_rank(normals[:3]) == 3


def test_trials_obey_the_second_order_equation(circles):
    position, velocity, frame = circles
    central = (position[:, 2:] - position[:, :-2]) / (2 * frame)
    np.testing.assert_allclose(central, velocity[:, 1:-1], atol=1e-4)
    acceleration = (position[:, 2:] - 2 * position[:, 1:-1] + position[:, :-2]) / frame**2
    squared_speed = np.square(velocity[:, 1:-1]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(acceleration, -squared_speed * position[:, 1:-1], atol=1e-4)


def test_starts_and_headings_are_uniform(circles):
    position, velocity, _ = circles
    for vectors in (position[:, 0], velocity[:, 0] / 0.7):
        # Mean 0 and mean square 1/3 in each coordinate; over 400 draws their standard errors are 0.03 and 0.015.
        assert np.abs(vectors.mean(axis=0)).max() < 0.12
        np.testing.assert_allclose(np.square(vectors).mean(axis=0), 1 / 3, atol=0.06)


def test_activity_is_a_bump_around_the_preferred_position():
    positions = uniform_on_sphere(np.random.default_rng(0), 50)
    activity = bumps(positions, positions)
    np.testing.assert_allclose(np.diag(activity), PEAK)
    assert activity.max() == pytest.approx(PEAK)
    angle = np.arccos(np.clip(positions @ positions.T, -1, 1))
    near = (angle > 0) & (angle < 0.3)
    gaussian = PEAK * np.exp(-np.square(angle) * CONCENTRATION / 2)
    np.testing.assert_allclose(activity[near], gaussian[near], atol=0.05)


def test_the_mean_over_the_sphere_is_the_promised_one():
    generator = np.random.default_rng(1)
    activity = bumps(uniform_on_sphere(generator, 4000), uniform_on_sphere(generator, 100))
    promised = PEAK * (1 - np.exp(-2 * CONCENTRATION)) / (2 * CONCENTRATION)
    assert promised == pytest.approx(0.156, abs=0.001)
    assert activity.mean() == pytest.approx(promised, rel=0.05)


def test_each_neuron_prefers_a_position_drawn_by_the_seed():
    clean = sphere(**SMALL)
    preferred = uniform_on_sphere(np.random.default_rng(0), 20)
    np.testing.assert_allclose(clean.activity, bumps(clean.latents[:, :3], preferred))


def test_the_frame_rate_samples_the_same_motion():
    coarse = sphere(**SMALL, frame_rate_hz=10.0)
    fine = sphere(**(SMALL | {"frames_per_trial": 400}), frame_rate_hz=20.0)
    np.testing.assert_allclose(fine.latents[::2], coarse.latents, atol=1e-12)
    np.testing.assert_allclose(coarse.time.reshape(6, 200)[:, [0, -1]], [[0, 19.9]] * 6)
