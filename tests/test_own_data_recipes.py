"""Every recipe of docs/own_data.md, run on files in the layout of the tool that it is for."""

import re

import h5py
import numpy as np
import pytest
import scipy.io
from workflow_project import CHECKOUT

from odevae.data.readers import read
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.spikes import BinSettings

DOCUMENT = (CHECKOUT / "docs/own_data.md").read_text(encoding="utf-8")
RATE_HZ, N_FRAMES, N_ROIS = 8.0, 120, 5
# Three trials of 24, 16 and 28 frames, with frames before, between and after them.
INTERVALS_S = np.array([[1.0, 4.0], [5.5, 7.5], [9.0, 12.5]])
FRAMES = np.concatenate([np.arange(8, 32), np.arange(44, 60), np.arange(72, 100)])
CELLS = np.array([0, 2, 3])


def blocks(section: str, language: str = "python") -> list[str]:
    text = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(*sections: str) -> dict:
    """Run the blocks of some sections in one namespace; the first section needs only its function."""
    names = {}
    for code in [blocks("Arrays")[0], *(code for section in sections for code in blocks(section))]:
        exec(compile(code, "docs/own_data.md", "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a table of trials."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("trials.csv", INTERVALS_S, delimiter=",", header="start,stop", comments="")
    return tmp_path


@pytest.fixture
def traces():
    """Positive, ROIs x frames."""
    return np.random.default_rng(5).gamma(4.0, 25.0, (N_ROIS, N_FRAMES))


def assert_recorded(activity: np.ndarray, first_s: float = 0.0, file: str = "mouse7.npz"):
    """The file holds the frames inside the trials of an array of neurons x frames."""
    recording = read(file)
    np.testing.assert_allclose(recording.activity, activity[:, FRAMES].T)
    np.testing.assert_array_equal(recording.trial, np.repeat([1, 2, 3], [24, 16, 28]))
    np.testing.assert_allclose(recording.time, first_s + FRAMES / RATE_HZ)
    return recording


def test_arrays(folder, traces, capsys):
    np.save("activity.npy", traces)
    np.save("time.npy", np.arange(N_FRAMES) / RATE_HZ)
    np.savetxt("speed.csv", [[0, 0], [100, 200]], delimiter=",", header="time,speed", comments="")
    run("Arrays", "Did it work?")
    assert capsys.readouterr().out == "5 neurons, 3 trials, ['speed']\n"
    recording = assert_recorded(traces)
    np.testing.assert_allclose(recording.covariates["speed"], 2 * recording.time)


def test_matlab(folder, traces):
    """MATLAB is not here to run it: the names that it saves are read."""
    (code,) = blocks("MATLAB", "matlab")
    names = re.findall(r"'(\w+)'", code.splitlines()[-1])
    trial = np.zeros(N_FRAMES)
    trial[FRAMES] = np.repeat([1, 2, 3], [24, 16, 28])
    variables = {"roi": traces, "Trial": trial, "Time": np.arange(N_FRAMES) / RATE_HZ, "speed": np.ones(N_FRAMES)}
    scipy.io.savemat("mouse7.mat", {name: variables[name][..., trial > 0] for name in names})
    assert list(assert_recorded(traces, file="mouse7.mat").covariates) == ["speed"]


def write_suite2p(folder, traces) -> None:
    plane = folder / "suite2p/plane0"
    plane.mkdir(parents=True)
    is_cell = np.isin(np.arange(N_ROIS), CELLS)
    np.save(plane / "iscell.npy", np.column_stack([is_cell, np.linspace(0.1, 0.9, N_ROIS)]).astype(np.float32))
    np.save(plane / "F.npy", traces)
    np.save(plane / "Fneu.npy", np.full_like(traces, 10.0))
    np.save(plane / "spks.npy", traces / 7)
    np.save(plane / "ops.npy", {"fs": RATE_HZ, "neucoeff": 0.7, "nframes": N_FRAMES})


def test_suite2p(folder, traces):
    write_suite2p(folder, traces)
    run("suite2p")
    corrected = traces[CELLS] - 7.0
    assert_recorded(corrected / np.median(corrected, axis=1, keepdims=True) - 1)


def test_deconvolved_activity_of_suite2p(folder, traces):
    write_suite2p(folder, traces)
    (line,) = re.findall(r"take `(activity = .*?)`", DOCUMENT)
    names = run("suite2p")
    exec(line, names)
    np.testing.assert_allclose(names["activity"], traces[CELLS] / 7)


@pytest.mark.parametrize("clock", ["timestamps", "rate"])
def test_nwb(folder, traces, clock):
    first_s = 0.03
    with h5py.File("session.nwb", "w") as file:
        series = file.create_group("processing/ophys/Fluorescence/RoiResponseSeries")
        series["data"] = traces.T
        if clock == "timestamps":
            series["timestamps"] = first_s + np.arange(N_FRAMES) / RATE_HZ
        else:
            series["starting_time"] = first_s
            series["starting_time"].attrs.update({"rate": np.float32(RATE_HZ), "unit": "seconds"})
        trials = file.create_group("intervals/trials")
        trials["id"] = np.arange(len(INTERVALS_S))
        trials["start_time"], trials["stop_time"] = INTERVALS_S.T
    run("NWB")
    assert_recorded(traces, first_s)


def test_spike_times(folder):
    neuron, samples = np.array([3, 3, 8]), np.array([[3000], [75000], [45000]])
    np.save("spike_clusters.npy", neuron)
    np.save("spike_times.npy", samples)
    run("Spike times")
    recording = read_spike_lists(["session1.npz"], BinSettings(bin_s=0.5, window_s=1.0), name="mouse7")
    assert recording.activity.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize("evaluated", [True, False])
def test_caiman(folder, traces, evaluated):
    with h5py.File("results.hdf5", "w") as file:
        file["estimates/C"] = traces
        file["estimates/S"] = traces / 7
        # What CaImAn writes for None.
        file["estimates/idx_components"] = CELLS if evaluated else "NoneType"
        file["params/data/fr"] = RATE_HZ
    run("CaImAn")
    assert_recorded(traces[CELLS] if evaluated else traces)
