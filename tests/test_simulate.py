import json
import re

import numpy as np
import pytest

from odevae.data.recording import load_recording, save_recording
from odevae.data.simulate import SIMULATIONS, simulate
from odevae.data.simulate.foraging import FIELD_WIDTH, PEAK, STEP, foraging
from odevae.errors import OdevaeError

SMALL = {"n_neurons": 20, "n_frames": 600, "n_trials": 6}
SMALL_SPHERE = {"n_neurons": 20, "n_trials": 6, "frames_per_trial": 200}
both = pytest.mark.parametrize(("kind", "sizes"), [("foraging", SMALL), ("sphere", SMALL_SPHERE)])


@pytest.fixture(scope="module")
def papers_size():
    """The recording that the paper describes."""
    return foraging()


def test_sizes_of_the_paper(papers_size):
    assert papers_size.activity.shape == (4000, 300)
    assert [len(papers_size.frames_of(trial)) for trial in papers_size.trial_ids] == [200] * 20
    assert papers_size.latents.shape == (4000, 2)
    assert sorted(papers_size.covariates) == ["speed", "x", "y"]
    np.testing.assert_array_equal(papers_size.latents[:, 1], papers_size.covariates["y"])


def test_activity_is_the_closed_form_of_the_latents_and_of_centres_in_the_disc(papers_size):
    # a = 5 exp(-|x - c|^2 / (2 0.25^2)) makes |x|^2 - d^2 = 2 x.c - |c|^2 linear in the unknown centre c.
    assert (PEAK, FIELD_WIDTH) == (5, 0.25)
    positions = papers_size.latents
    squared_distance = -2 * 0.25**2 * np.log(papers_size.activity / 5)
    design = np.column_stack([2 * positions, -np.ones(len(positions))])
    known = np.square(positions).sum(axis=1, keepdims=True) - squared_distance
    solution, *_ = np.linalg.lstsq(design, known, rcond=None)
    np.testing.assert_allclose(design @ solution, known, atol=1e-10)
    centres = solution[:2]
    np.testing.assert_allclose(np.square(centres).sum(axis=0), solution[2], atol=1e-10)
    radius = np.linalg.norm(centres, axis=0)
    assert radius.max() <= 1
    # Uniform in the disc: the squared radius is uniform in 0..1.
    assert np.square(radius).mean() == pytest.approx(0.5, abs=0.06)


def test_the_walk_stays_in_the_disc_fills_it_and_goes_on_between_trials(papers_size):
    radius = np.linalg.norm(papers_size.latents, axis=1)
    assert radius.max() <= 1
    assert np.square(radius).mean() == pytest.approx(0.5, abs=0.1)
    steps = np.linalg.norm(np.diff(papers_size.latents, axis=0), axis=1)
    assert steps.max() < 5 * STEP
    assert np.sqrt(np.square(steps).mean()) == pytest.approx(STEP, rel=0.1)


def test_the_walk_is_smooth(papers_size):
    steps = np.diff(papers_size.latents, axis=0)
    kept = (steps[1:] * steps[:-1]).sum() / np.square(steps).sum()
    assert kept > 0.6


def test_activity_changes_from_frame_to_frame_as_in_the_papers_file(papers_size):
    # The file: frame differences within trials have SD 0.163, the activity 0.949.
    activity = papers_size.activity.reshape(20, 200, 300)
    assert np.diff(activity, axis=1).std() / activity.std() == pytest.approx(0.163 / 0.949, rel=0.1)


def test_time_restarts_in_each_trial_in_seconds():
    recording = foraging(**SMALL, frame_rate_hz=20.0)
    assert recording.time.reshape(6, 100)[:, 0].tolist() == [0.0] * 6
    np.testing.assert_allclose(recording.time[99], 99 / 20)
    steps = np.linalg.norm(np.diff(recording.latents, axis=0), axis=1)
    np.testing.assert_allclose(recording.covariates["speed"][1:], steps * 20)


@both
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind, sizes):
    one, same, other = (simulate(kind, **sizes, noise=0.1, seed=seed) for seed in (1, 1, 2))
    assert one.activity.tobytes() == same.activity.tobytes()
    assert one.source == same.source
    assert one.source["sha256"] != other.source["sha256"]
    assert not np.allclose(one.latents, other.latents)


@both
def test_noise_leaves_the_motion_as_it_is_and_has_the_given_size(kind, sizes):
    clean, noisy = simulate(kind, **sizes), simulate(kind, **sizes, noise=0.2)
    np.testing.assert_array_equal(clean.latents, noisy.latents)
    assert (noisy.activity - clean.activity).std() == pytest.approx(0.2, rel=0.05)


@both
def test_the_source_holds_every_setting_and_survives_the_file(tmp_path, kind, sizes):
    recording = simulate(kind, **sizes, seed=3, noise=0.1)
    others = {"foraging": {}, "sphere": {"speed": 0.5}}[kind]
    assert recording.source["settings"] == sizes | {"seed": 3, "noise": 0.1, "frame_rate_hz": 10.0} | others
    assert json.loads(json.dumps(recording.source)) == recording.source
    save_recording(recording, tmp_path / "recording.npz")
    after = load_recording(tmp_path / "recording.npz")
    assert after.source == recording.source
    np.testing.assert_array_equal(after.latents, recording.latents)


FORAGING_MISTAKES = [
    ({"n_frames": 601}, "cannot be cut into n_trials = 6 equal trials"),
    ({"n_frames": 6}, "fewer than two frames"),
    ({"n_neurons": 0}, "n_neurons is 0"),
    ({"n_neurons": 2.5}, "n_neurons is 2.5"),
    ({"n_trials": 0}, "n_trials is 0"),
    ({"n_trials": True}, "n_trials is True"),
    ({"seed": -1}, "seed is -1"),
    ({"noise": -0.1}, "noise is -0.1"),
    ({"noise": float("nan")}, "noise is nan"),
    ({"noise": "loud"}, "noise is 'loud'"),
    ({"frame_rate_hz": 0}, "frame_rate_hz is 0"),
    ({"neurons": 3}, "has no setting neurons"),
]
SPHERE_MISTAKES = [
    ({"n_neurons": 0}, "n_neurons is 0"),
    ({"n_trials": "six"}, "n_trials is 'six'"),
    ({"frames_per_trial": 1}, "frames_per_trial is 1; give a whole number of 2"),
    ({"seed": True}, "seed is True"),
    ({"noise": -0.1}, "noise is -0.1"),
    ({"speed": 0}, "speed is 0"),
    ({"speed": float("nan")}, "speed is nan"),
    ({"frame_rate_hz": 0}, "frame_rate_hz is 0"),
    ({"radius": 2}, "has no setting radius"),
]


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        *(("foraging", SMALL | settings, sentence) for settings, sentence in FORAGING_MISTAKES),
        *(("sphere", SMALL_SPHERE | settings, sentence) for settings, sentence in SPHERE_MISTAKES),
    ],
)
def test_settings_that_make_no_sense(kind, settings, sentence):
    with pytest.raises(OdevaeError, match=re.escape(sentence)):
        simulate(kind, **settings)


def test_an_unknown_simulation_names_the_known_ones():
    with pytest.raises(OdevaeError, match=", ".join(SIMULATIONS)):
        simulate("flight")
