from dataclasses import replace

import numpy as np
import pytest
from conftest import rows

from odevae.data.recording import load_recording, save_recording
from odevae.data.simulate import SIMULATIONS, simulate
from odevae.data.simulate.attractors import SYSTEMS, calcium_trace
from odevae.data.simulate.expected import expected_activity
from odevae.errors import OdevaeError

ATTRACTOR = {"n_neurons": 4, "n_trials": 3, "frames_per_trial": 20}
SMALL = {
    "foraging": {"n_neurons": 5, "n_frames": 60, "n_trials": 3},
    "sphere": {"n_neurons": 5, "n_trials": 3, "frames_per_trial": 20},
}
N_DRAWS = 500


def average_of_draws(recording) -> np.ndarray:
    """Mean of many recordings with the same latents and readout, made here from the definition of the simulation."""
    settings = recording.source["settings"]
    rates = np.exp(recording.latents @ np.array(recording.source["readout"]))
    generator = np.random.default_rng(11)
    total = np.zeros_like(rates)
    for _ in range(N_DRAWS):
        spikes = generator.poisson(rates).astype(float)
        if settings["observation"] == "calcium":
            spikes = calcium_trace(spikes, rates[0], settings["calcium_decay_frames"])
            spikes += settings["calcium_noise"] * generator.standard_normal(rates.shape)
        total += spikes
    return total / N_DRAWS


@pytest.mark.parametrize("system", ["arneodo", "lorenz", "roessler"])
def test_counts_average_to_the_expected_rates(system):
    recording = simulate(system, **ATTRACTOR)
    expected = expected_activity(recording)
    assert expected.shape == recording.activity.shape
    errors = (average_of_draws(recording) - expected) * np.sqrt(N_DRAWS / expected)  # 240 of SD 1
    assert np.abs(errors).max() < 5
    assert np.square(errors).mean() == pytest.approx(1, abs=0.3)
    assert np.square((recording.activity - expected) / np.sqrt(expected)).mean() == pytest.approx(1, abs=0.4)


def test_calcium_traces_average_to_the_expected_trace_across_the_borders_of_trials():
    recording = simulate("arneodo", **ATTRACTOR, observation="calcium", calcium_decay_frames=3.0, calcium_noise=0.5)
    expected = expected_activity(recording)
    rates = np.exp(recording.latents @ np.array(recording.source["readout"]))
    left = np.exp(-1 / 3)
    np.testing.assert_allclose(expected[1:] - left * expected[:-1], rates[1:], rtol=1e-10)
    np.testing.assert_allclose(expected[0], rates[0] / (1 - left), rtol=1e-10)
    # A trace adds up rates times powers of `left`, its variance rates times their squares: no more than the trace.
    sd = np.sqrt((expected.max() + 0.5**2) / N_DRAWS)
    assert np.abs(average_of_draws(recording) - expected).max() < 5 * sd


@pytest.mark.parametrize("kind", SMALL)
def test_the_noise_is_taken_from_tuned_neurons(kind):
    clean, noisy = simulate(kind, **SMALL[kind], seed=3), simulate(kind, **SMALL[kind], seed=3, noise=0.4)
    np.testing.assert_array_equal(expected_activity(clean), clean.activity)
    np.testing.assert_array_equal(expected_activity(noisy), clean.activity)
    assert (noisy.activity - expected_activity(noisy)).std() == pytest.approx(0.4, rel=0.2)


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_a_file_gives_the_same_as_the_recording(kind, tmp_path):
    noise = {"noise": 0.3} if kind in SMALL else {"observation": "calcium"} if kind in SYSTEMS else {}
    recording = simulate(kind, **SMALL.get(kind, ATTRACTOR), **noise)
    # The workflow calls a recording by the name of its data set.
    save_recording(replace(recording, source=recording.source | {"name": "disc"}), tmp_path / "recording.npz")
    np.testing.assert_array_equal(
        expected_activity(load_recording(tmp_path / "recording.npz")), expected_activity(recording)
    )


def test_what_cannot_be_known_is_refused(make_recording):
    with pytest.raises(OdevaeError, match="made up: the recording was not simulated"):
        expected_activity(make_recording([5, 6]))
    noisy = simulate("sphere", **SMALL["sphere"], noise=0.1)
    for recording in (simulate("lorenz", **ATTRACTOR, observation="calcium"), noisy):
        with pytest.raises(OdevaeError, match="40 frames, but its settings give 60"):
            expected_activity(rows(recording, slice(20, 60)))
    with pytest.raises(OdevaeError, match="no longer give the latents"):
        expected_activity(replace(noisy, latents=noisy.latents[::-1]))


def test_rates_and_clean_activity_need_no_other_frames():
    counts = simulate("lorenz", **ATTRACTOR)
    np.testing.assert_allclose(expected_activity(rows(counts, slice(20, 60))), expected_activity(counts)[20:])
