import numpy as np
import pytest
from conftest import trials_of
from scipy.signal import lfilter
from scipy.stats import median_abs_deviation

from odevae.data.trials import cut
from odevae.protocols import kernel
from odevae.protocols.kernel import autocovariance, gaussian_window, kernel_width, silent_frames

N_TRIALS, N_BINS, N_NEURONS, MARGIN = 60, 60, 80, 30
LENGTHS = np.where(np.arange(N_TRIALS) % 3, N_BINS, 40)


def smoothed(activity: np.ndarray, width: int) -> np.ndarray:
    window = gaussian_window(width or 1)
    long = np.apply_along_axis(lambda trace: np.convolve(trace, window, "same"), 1, activity)
    return long[:, MARGIN : MARGIN + N_BINS]


def noise(generator):
    return generator.standard_normal((N_TRIALS, N_BINS + 2 * MARGIN, N_NEURONS))


def transients(generator, decay: float = 0.8):
    """Rare events of random size that decay."""
    shape = (N_TRIALS, N_BINS + 2 * MARGIN, N_NEURONS)
    return lfilter([1], [1, -decay], generator.poisson(0.02, shape) * generator.gamma(2, 1, shape), axis=1)


@pytest.mark.parametrize("width", [0, 5, 11, 21])
@pytest.mark.parametrize("make", [noise, transients, lambda generator: transients(generator, 0.5)])
def test_the_kernel_of_a_simulation_is_found(make, width):
    activity = smoothed(make(np.random.default_rng(0)), width)
    found = kernel_width(trials_of(activity, LENGTHS))
    assert abs(found - max(width, 1)) <= 0.15 * width


@pytest.mark.parametrize("width", [0, 5, 11, 21])
def test_a_threshold_after_smoothing_adds_two_frames_at_most(width):
    """As E65 was made: noise and transients are smoothed, and what is below four robust SD is cut."""
    generator = np.random.default_rng(0)
    activity = smoothed(transients(generator) + 0.15 * noise(generator), width)
    activity[activity < 4 * median_abs_deviation(activity, axis=(0, 1), scale="normal")] = 0
    assert (activity == 0).mean() > 0.7
    assert 0 <= kernel_width(trials_of(activity, LENGTHS)) - max(width, 1) <= 2


def test_the_kernel_of_e65_is_found_in_any_part_and_does_not_depend_on_the_grid(e65, monkeypatch):
    parts = [e65.trial_ids, e65.trial_ids[10:], e65.trial_ids[::2], e65.trial_ids[1::2]]
    trials = [cut(e65, e65.activity, part) for part in parts]
    found = [kernel_width(part) for part in trials]
    assert all(abs(width - 11) <= 2 for width in found)
    monkeypatch.setattr(kernel, "DECAYS", np.linspace(0, 0.98, 197))
    assert [kernel_width(part) for part in trials] == found


def test_frames_outside_trials_and_the_mean_of_a_neuron_change_nothing():
    activity = smoothed(noise(np.random.default_rng(1)), 5)
    trials = trials_of(activity, LENGTHS)
    poisoned = trials_of(activity + np.arange(N_NEURONS), LENGTHS)
    poisoned.values[~poisoned.recorded] = 1e6
    assert np.allclose(autocovariance(trials), autocovariance(poisoned), atol=1e-5)
    written_out = 0.0
    for neuron in range(N_NEURONS):
        x = trials.values[..., neuron] - trials.values[..., neuron][trials.recorded].mean()
        pairs = [x[b, t] * x[b, t + 3] for b in range(N_TRIALS) for t in range(LENGTHS[b] - 3)]
        written_out += np.mean(pairs)
    assert autocovariance(trials)[3] == pytest.approx(written_out, rel=1e-4)


def test_short_or_constant_trials_have_no_kernel():
    assert kernel_width(trials_of(np.ones((3, 6, 2)), [6, 4, 2])) == 1
    generator = np.random.default_rng(0)
    assert kernel_width(trials_of(generator.standard_normal((400, 3, 5)), [3] * 400)) == 1


def test_silence_outlasts_half_the_kernel():
    assert [silent_frames(width) for width in (1, 5, 11)] == [1, 3, 6]
