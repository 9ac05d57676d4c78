import json

import numpy as np
import pytest

from odevae.data.recording import load_recording, save_recording
from odevae.data.simulate import simulate
from odevae.data.simulate.attractors import SYSTEMS, attractor, calcium_trace, firing_rates, trajectory
from odevae.data.trials import cut
from odevae.errors import OdevaeError

SMALL = {"n_neurons": 6, "n_trials": 5, "frames_per_trial": 40}


@pytest.fixture(scope="module")
def long_arneodo():
    """Trials of the paper's length, enough of them for statistics."""
    return simulate("arneodo", n_trials=60)


@pytest.mark.parametrize("system", SYSTEMS)
def test_states_follow_the_field(system):
    # Differences over five frames are exact to the fourth power of the frame, so frames are made short.
    states = trajectory(SYSTEMS[system], n_frames=600, points_per_period=1500)
    frame = SYSTEMS[system].period / 1500
    slopes = (states[:-4] - 8 * states[1:-3] + 8 * states[3:-1] - states[4:]) / (12 * frame)
    field = np.column_stack(SYSTEMS[system].field(*states[2:-2].T))
    np.testing.assert_allclose(slopes, field, atol=1e-4 * np.abs(field).max())


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_fields_have_the_constants_and_fixed_points_worked_out_by_hand(system):
    # Solved by hand: Arneodo x^2 = 5.5; Lorenz x^2 = 2.667 (28 - 1); Roessler z = (5.7 - sqrt(5.7^2 - 4 * 0.04)) / 0.4.
    x, z = np.sqrt(2.667 * 27), (5.7 - np.sqrt(5.7**2 - 0.16)) / 0.4
    point = {"arneodo": (np.sqrt(5.5), 0, 0), "lorenz": (x, x, 27), "roessler": (0.2 * z, -z, z)}[system]
    np.testing.assert_allclose(SYSTEMS[system].field(*point), 0, atol=1e-12)
    # At (1, 2, 3) every constant counts.
    derivatives = {"arneodo": (2, 3, -7.5), "lorenz": (10, 23, -6.001), "roessler": (-5, 1.4, -13.9)}[system]
    np.testing.assert_allclose(SYSTEMS[system].field(1, 2, 3), derivatives)


@pytest.mark.parametrize(("system", "peaks_per_period"), [("arneodo", 1.2), ("lorenz", 2.0), ("roessler", 1.0)])
def test_the_start_lies_on_the_attractor_and_the_pace_is_that_of_dysts(system, peaks_per_period):
    states = trajectory(SYSTEMS[system], n_frames=100 * 30, points_per_period=30)
    scaled = states / states.std(axis=0)
    assert np.linalg.norm(scaled[150:] - scaled[0], axis=1).min() < 0.15
    # The strongest line of z, in 100 periods; z of Lorenz peaks once in each wing, and its period visits both.
    power = np.abs(np.fft.rfft(states[:, 2] - states[:, 2].mean()))
    assert power.argmax() / 100 == pytest.approx(peaks_per_period, rel=0.1)


@pytest.mark.parametrize(("system", "frames"), [("arneodo", 35), ("lorenz", 100), ("roessler", 35)])
def test_defaults_are_those_of_the_paper(system, frames):
    recording = simulate(system, n_trials=2)
    assert recording.activity.shape == (140, 10)
    sizes = {"n_neurons": 10, "n_trials": 2, "frames_per_trial": 70, "points_per_period": frames, "seed": 0}
    calcium = {"calcium_decay_frames": 5.0, "calcium_noise": 1.0}
    assert recording.source["settings"] == sizes | calcium | {"observation": "poisson", "frame_rate_hz": 10.0}
    states = trajectory(SYSTEMS[system], 140, frames)
    np.testing.assert_array_equal(recording.covariates["y"], states[:, 1])


def test_trials_cut_one_trajectory_and_time_restarts_in_each():
    recording = simulate("lorenz", **SMALL, frame_rate_hz=20.0)
    assert recording.trial.tolist() == sorted(list(range(5)) * 40)
    np.testing.assert_allclose(recording.time.reshape(5, 40), np.tile(np.arange(40) / 20, (5, 1)))
    whole = simulate("lorenz", **(SMALL | {"n_trials": 1, "frames_per_trial": 200}))
    np.testing.assert_array_equal(recording.latents, whole.latents)


def test_latents_are_z_scored_and_lead_back_to_the_state(long_arneodo):
    np.testing.assert_allclose(long_arneodo.latents.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(long_arneodo.latents.std(axis=0), 1)
    states = long_arneodo.latents * long_arneodo.source["latent_sd"] + long_arneodo.source["latent_mean"]
    np.testing.assert_allclose(states, np.column_stack([long_arneodo.covariates[name] for name in "xyz"]))


def test_log_rates_are_the_papers_standardized_readout_of_the_raw_state(long_arneodo):
    weights = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 10))
    weights = weights[:, np.argsort(weights[0])]
    states = np.column_stack([long_arneodo.covariates[name] for name in "xyz"])
    log_rates = np.log(firing_rates(long_arneodo.latents, long_arneodo.source["readout"]))
    drives = states @ weights
    np.testing.assert_allclose(log_rates, (drives - drives.mean(axis=0)) / drives.std(axis=0), atol=1e-12)
    # A geometric mean of one spike in a frame, so an arithmetic one above it.
    np.testing.assert_allclose(log_rates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(log_rates.std(axis=0), 1)
    assert (np.exp(log_rates).mean(axis=0) > 1.3).all()


def test_counts_are_poisson_in_the_true_rates(long_arneodo):
    counts = long_arneodo.activity
    assert counts.dtype == np.float64
    assert counts.min() == 0
    np.testing.assert_array_equal(counts, np.round(counts))
    rates = firing_rates(long_arneodo.latents, long_arneodo.source["readout"])
    # In 42000 counts the mean of the scaled errors has a standard error of 0.005, that of their squares of 0.01.
    errors = (counts - rates) / np.sqrt(rates)
    assert errors.mean() == pytest.approx(0, abs=0.02)
    assert np.square(errors).mean() == pytest.approx(1, abs=0.05)
    # Frames that are unlikely to fire stay silent as often as Poisson says.
    assert (counts == 0).mean() == pytest.approx(np.exp(-rates).mean(), abs=0.01)


def test_the_rates_survive_the_file_and_the_cutting_into_trials(tmp_path):
    recording = simulate("roessler", **SMALL, seed=2)
    assert json.loads(json.dumps(recording.source)) == recording.source
    save_recording(recording, tmp_path / "recording.npz")
    after = load_recording(tmp_path / "recording.npz")
    rates = firing_rates(recording.latents, recording.source["readout"])
    np.testing.assert_allclose(firing_rates(after.latents, after.source["readout"]), rates, rtol=1e-12)
    trials = cut(after, after.activity, after.trial_ids[1:3])
    np.testing.assert_allclose(
        firing_rates(trials.latents, after.source["readout"]), rates[40:120].reshape(2, 40, 6), rtol=1e-12
    )


def test_calcium_is_the_trace_of_the_same_spikes_and_noise_of_the_given_size():
    settings = SMALL | {"n_trials": 20, "calcium_decay_frames": 4.0}
    spikes = simulate("arneodo", **settings)
    clean = simulate("arneodo", **settings, observation="calcium", calcium_noise=0.0)
    noisy = simulate("arneodo", **settings, observation="calcium", calcium_noise=0.7)
    np.testing.assert_array_equal(clean.latents, spikes.latents)
    assert clean.source["readout"] == spikes.source["readout"]
    left = np.exp(-1 / 4)
    np.testing.assert_allclose(clean.activity[1:] - left * clean.activity[:-1], spikes.activity[1:], atol=1e-9)
    noise = noisy.activity - clean.activity
    assert noise.std() == pytest.approx(0.7, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert (spikes.units, clean.units) == ("spikes/frame", "a.u.")


def test_the_trace_of_one_spike_decays_and_begins_where_a_steady_rate_leaves_it():
    spikes = np.zeros((40, 1))
    spikes[10] = 1
    np.testing.assert_allclose(calcium_trace(spikes, np.zeros(1), 5.0)[10:, 0], np.exp(-np.arange(30) / 5))
    steady = calcium_trace(np.full((40, 1), 2.0), np.array([2.0]), 5.0)
    np.testing.assert_allclose(steady, 2 / (1 - np.exp(-1 / 5)))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_neurons():
    one, same, other = (simulate("lorenz", **SMALL, observation="calcium", seed=seed) for seed in (1, 1, 2))
    assert one.activity.tobytes() == same.activity.tobytes()
    assert one.source == same.source
    assert one.source["sha256"] != other.source["sha256"]
    assert one.source["readout"] != other.source["readout"]
    np.testing.assert_array_equal(one.latents, other.latents)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_neurons": 0}, "n_neurons is 0"),
        ({"n_trials": 2.5}, "n_trials is 2.5"),
        ({"n_trials": True}, "n_trials is True"),
        ({"frames_per_trial": 1}, "frames_per_trial is 1; give a whole number of 2"),
        ({"seed": -1}, "seed is -1"),
        ({"points_per_period": 0.5}, "at least one frame in a period"),
        ({"points_per_period": float("inf")}, "points_per_period is inf"),
        ({"observation": "voltage"}, "choose one of poisson, calcium"),
        ({"calcium_decay_frames": 0}, "calcium_decay_frames is 0"),
        ({"calcium_noise": -1}, "calcium_noise is -1"),
        ({"calcium_noise": "loud"}, "calcium_noise is 'loud'"),
        ({"frame_rate_hz": 0}, "frame_rate_hz is 0"),
        ({"system": "lorenz"}, "has no setting system"),
        ({"n_frames": 10}, "has no setting n_frames"),
    ],
)
def test_settings_that_make_no_sense(settings, sentence):
    with pytest.raises(OdevaeError) as refusal:
        simulate("roessler", **(SMALL | settings))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_system_names_the_known_ones():
    with pytest.raises(OdevaeError, match="arneodo, lorenz, roessler"):
        attractor("chua")
