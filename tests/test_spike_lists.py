"""Lists of spikes: the reader, and the counts in the bins of windows against NumPy's histogram."""

import hashlib

import numpy as np
import pytest
import scipy.io
from conftest import paper_data_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.data.frames import described
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.recording import load_recording, save_recording
from odevae.data.spikes import BinSettings, SpikeList, binned
from odevae.errors import OdevaeError

SETTINGS = BinSettings(bin_s=0.5, window_s=2.0, start_s=1.0, gap_s=0.5)
# Neuron, time: two neurons and one session of 1.0 to 6.2 s, which holds two windows, 1.0 to 3.0 and 3.5 to 5.5 s.
SPIKES = np.array(
    [[7, 0.9], [7, 1.0], [7, 1.49], [2, 1.5], [2, 2.999], [7, 3.0], [7, 3.2], [2, 3.5], [7, 5.49], [7, 5.5], [2, 6.2]]
)


def written(folder, **arrays) -> list:
    """One file for each array, ``.mat`` or ``.npz`` in turn."""
    paths = []
    for number, (name, pairs) in enumerate(arrays.items()):
        paths.append(folder / f"{name}{'.npz' if number % 2 else '.mat'}")
        np.savez(paths[-1], spks=pairs) if number % 2 else scipy.io.savemat(paths[-1], {"spks": pairs})
    return paths


def test_counts_by_hand(tmp_path):
    recording = read_spike_lists(written(tmp_path, a=SPIKES[::-1]), SETTINGS, name="snail")
    # Columns by id: neuron 2, neuron 7.
    assert recording.activity.tolist() == [[0, 2], [1, 0], [0, 0], [1, 0], [1, 0], [0, 0], [0, 0], [0, 1]]
    assert recording.trial.tolist() == [1] * 4 + [2] * 4
    assert recording.time.tolist() == [1.25, 1.75, 2.25, 2.75, 3.75, 4.25, 4.75, 5.25]
    assert recording.covariates["session"].tolist() == [1] * 8
    assert recording.covariates["window"].tolist() == [1] * 4 + [2] * 4
    assert (recording.units, recording.name) == ("spikes", "snail")


def test_neurons_keep_their_columns_in_every_session(tmp_path):
    paths = written(tmp_path, a=SPIKES, b=np.array([[9, 1.2], [9, 3.1]]), c=np.array([[2, 1.0], [9, 6.0]]))
    recording = read_spike_lists(paths, SETTINGS, name="snail")
    assert recording.n_neurons == 3
    assert recording.covariates["session"].tolist() == [1] * 8 + [2] * 4 + [3] * 8
    assert recording.covariates["window"].tolist() == [*[1] * 4, *[2] * 4, *[1] * 4, *[1] * 4, *[2] * 4]
    assert np.unique(recording.trial).tolist() == [1, 2, 3, 4, 5]
    assert recording.activity[8:12].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert recording.source["silent_neurons"] == [1, 2, 1]
    assert "neurons that are silent in a session: 1, 2, 1" in described(recording)
    checksums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert recording.source["sha256"] == hashlib.sha256("\n".join(checksums).encode()).hexdigest()
    save_recording(recording, tmp_path / "recording.npz")
    np.testing.assert_array_equal(load_recording(tmp_path / "recording.npz").activity, recording.activity)


def test_events_become_a_covariate(tmp_path):
    paths = written(tmp_path, a=SPIKES, nerve=np.array([[1, 1.1], [4, 1.2], [1, 5.2]]))
    recording = read_spike_lists(paths, SETTINGS, name="snail", events={"P10": ["nerve.npz"]})
    assert recording.n_neurons == 2
    assert recording.covariates["P10"].tolist() == [2, 0, 0, 0, 0, 0, 0, 1]
    with pytest.raises(OdevaeError, match="session is a covariate of every window"):
        read_spike_lists(paths, SETTINGS, name="snail", events={"session": ["nerve.npz"]})


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1e3), ("us", 1e6), (0.25, 4)])
def test_spike_times_in_another_unit(tmp_path, unit, factor):
    # Times that binary fractions hold exactly, away from the edges of bins.
    spikes = np.array([[1, 1.125], [1, 2.625], [2, 3.75], [1, 5.625]])
    (path,) = written(tmp_path, a=spikes * [1, factor])
    expected = read_spike_lists(written(tmp_path, b=spikes), SETTINGS, name="snail")
    found = read_spike_lists([path], SETTINGS, name="snail", time_unit=unit)
    np.testing.assert_array_equal(found.activity, expected.activity)
    np.testing.assert_allclose(found.time, expected.time)


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    bin_s=st.sampled_from([0.05, 0.1, 0.25, 0.3, 0.5]),
    bins=st.integers(2, 12),
    start=st.sampled_from([0.0, 0.1, 2.0]),
    gap=st.sampled_from([0.0, 0.15, 1.0]),
    seed=st.integers(0, 99),
)
def test_counts_are_those_of_a_histogram(times, bin_s, bins, start, gap, seed):
    time = np.array(times)
    neuron = np.random.default_rng(seed).integers(1, 4, len(time))
    frames = binned(
        [SpikeList(neuron, time, "here")], {}, BinSettings(bin_s, bins * bin_s, start, stop_s=30.0, gap_s=gap)
    )
    ids = np.unique(neuron)
    n_windows = len(frames.activity) // bins
    step = bins * bin_s + gap
    assert start + (n_windows - 1) * step + bins * bin_s <= 30 + 1e-6 < start + n_windows * step + bins * bin_s + 1e-5
    for window in range(n_windows):
        edges = start + window * step + bin_s * np.arange(bins + 1)
        inside = time < edges[-1]  # NumPy's last bin holds its right edge too
        # At an edge, rounding decides for one bin or the next: leave these spikes out of the comparison.
        if (np.abs(time[:, None] - edges) < 1e-9).any():
            continue
        for column, of_neuron in enumerate(ids):
            expected, _ = np.histogram(time[inside & (neuron == of_neuron)], edges)
            found = frames.activity[window * bins : (window + 1) * bins, column]
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"spks": np.zeros((4, 3))}, "none of its variables (spks) has two columns of numbers; store one such array"),
        ({"spks": SPIKES, "more": SPIKES}, "2 of its variables (more, spks) have two columns of numbers"),
        ({"spks": np.zeros((0, 2))}, "has no spikes; leave the file out"),
        ({"spks": np.array([[1.0, 1.0], [1.5, 2.0]])}, "the first column is 1.5 in row 1, which is no id of a neuron"),
        ({"spks": np.array([[np.nan, 1.0]])}, "the first column is nan in row 0"),
        ({"spks": np.array([[1.0, 1.0], [1.0, np.inf]])}, "the time of a spike is NaN or infinite, first in row 1"),
        ({"spks": np.array([[1.0, 1.0], [1.0, 2.0]])}, "from start_s 1 to 2 s, its end, there is no window of 2 s"),
    ],
)
@pytest.mark.parametrize("suffix", [".mat", ".npz"])
def test_what_is_no_spike_list_is_refused(tmp_path, arrays, sentence, suffix):
    path = tmp_path / f"a{suffix}"
    np.savez(path, **arrays) if suffix == ".npz" else scipy.io.savemat(path, arrays)
    with pytest.raises(OdevaeError) as refusal:
        read_spike_lists([path], SETTINGS, name="snail")
    assert str(refusal.value).startswith(f"{path}: {sentence}")


@pytest.mark.parametrize("name", ["lost.mat", "damaged.mat", "damaged.npz", "spikes.txt"])
def test_files_that_cannot_be_read_are_named(tmp_path, name):
    path = tmp_path / name
    if "lost" not in name:
        path.write_bytes(b"no recording" * 40)
    with pytest.raises(OdevaeError, match=name):
        read_spike_lists([path], SETTINGS, name="snail")


def test_aplysia(tmp_path):
    folder = paper_data_dir() / "aplysia"
    if not folder.is_dir():
        pytest.skip("the folder of ODEVAE_DATA_DIR has no aplysia")
    neurons = [folder / f"Spikes/Jun0914da0{k}.mat" for k in (1, 2, 3)]
    nerve = [folder / f"P10/Jun0914da0{k}p10.mat" for k in (1, 2, 3)]
    bins = BinSettings(bin_s=0.5, window_s=20, start_s=32, gap_s=3)
    recording = read_spike_lists([*neurons, *nerve], bins, name="snail", events={"P10": [path.name for path in nerve]})
    assert (recording.n_neurons, recording.n_frames, len(recording.trial_ids)) == (151, 480, 12)
    for session, (of_neurons, of_nerve) in enumerate(zip(neurons, nerve, strict=True), start=1):
        spikes, events = (scipy.io.loadmat(path)["spks"] for path in (of_neurons, of_nerve))
        for window in range(4):
            rows = (recording.covariates["session"] == session) & (recording.covariates["window"] == window + 1)
            edges = 32 + 23 * window + 0.5 * np.arange(41)
            expected, _, _ = np.histogram2d(spikes[:, 1], spikes[:, 0], [edges, np.arange(152) + 0.5])
            np.testing.assert_array_equal(recording.activity[rows], expected)
            np.testing.assert_array_equal(recording.covariates["P10"][rows], np.histogram(events[:, 1], edges)[0])
