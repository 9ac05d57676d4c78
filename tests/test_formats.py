"""Readers of the field's formats, on files that the format's own library wrote, or in its published layout."""

import json
import sys
from datetime import UTC, datetime

import h5py
import matio
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from odevae.data.frames import Frames
from odevae.data.readers import frames_of, subprocess_reader
from odevae.errors import OdevaeError

RATE_HZ, N_FRAMES, N_ROIS = 8.0, 120, 5
CELLS = np.array([0, 2, 3])
TIME = np.arange(N_FRAMES) / RATE_HZ
INTERVALS_S = np.array([[1.0, 4.0], [5.5, 7.5], [9.0, 12.5]])


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Reading without a process of its own, which would import the libraries again for each file."""

    def read(path, content, settings):
        # Settings go to the other process as JSON.
        return subprocess_reader.content_of(path, content, json.loads(json.dumps(settings)))

    if "own_process" not in request.keywords:
        monkeypatch.setattr(subprocess_reader, "read_arrays_in_subprocess", read)


@pytest.fixture
def traces() -> np.ndarray:
    """Positive, ROIs x frames."""
    return np.random.default_rng(5).gamma(4.0, 25.0, (N_ROIS, N_FRAMES))


def refusal(path, **layout) -> str:
    with pytest.raises(OdevaeError) as caught:
        frames_of(path, layout)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def check(frames: Frames, activity: np.ndarray, time: np.ndarray = TIME) -> Frames:
    """Frames without a trial each, of an array of neurons x frames."""
    np.testing.assert_allclose(frames.activity, activity.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(frames.time, time)
    assert frames.trial is None
    return frames


# suite2p


def write_plane(plane, traces) -> None:
    plane.mkdir(parents=True)
    is_cell = np.isin(np.arange(N_ROIS), CELLS)
    np.save(plane / "iscell.npy", np.column_stack([is_cell, np.linspace(0.1, 0.9, N_ROIS)]).astype(np.float32))
    np.save(plane / "F.npy", traces.astype(np.float32))
    np.save(plane / "Fneu.npy", np.full_like(traces, 10.0, dtype=np.float32))
    np.save(plane / "spks.npy", (traces / 7).astype(np.float32))


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_suite2p(tmp_path, traces):
    write_plane(tmp_path / "suite2p/plane0", traces)
    for folder in (tmp_path / "suite2p", tmp_path / "suite2p/plane0"):
        corrected = traces[CELLS] - 7.0
        dff = corrected / np.median(corrected, axis=1, keepdims=True) - 1
        check(frames_of(folder, {"format": "suite2p", "rate_hz": RATE_HZ}), dff)
    layout = {"format": "suite2p", "rate_hz": RATE_HZ}
    check(frames_of(folder, layout | {"activity": "deconvolved"}), traces[CELLS] / 7)
    check(frames_of(folder, layout | {"activity": "raw", "neuropil": 0.5, "cells": "all"}), traces - 5.0)


def test_planes_of_suite2p_are_joined(tmp_path, traces):
    for number in (0, 1, 10):
        write_plane(tmp_path / f"plane{number}", traces + number)
    layout = {"format": "suite2p", "rate_hz": RATE_HZ, "activity": "raw", "neuropil": 0}
    check(frames_of(tmp_path, layout), np.concatenate([traces[CELLS] + number for number in (0, 1, 10)]))
    np.save(tmp_path / "plane1/F.npy", traces[:, :-1])
    np.save(tmp_path / "plane1/Fneu.npy", traces[:, :-1])
    assert "from 119 to 120 frames" in refusal(tmp_path, **layout)


def test_suite2p_executes_no_pickle(tmp_path, traces):
    write_plane(tmp_path / "plane0", traces)
    marker = tmp_path / "executed"
    for name in ("ops.npy", "stat.npy"):
        np.save(tmp_path / f"plane0/{name}", np.array([Trap(marker)], dtype=object))
    check(frames_of(tmp_path, {"format": "suite2p", "rate_hz": RATE_HZ, "activity": "deconvolved"}), traces[CELLS] / 7)
    np.save(tmp_path / "plane0/F.npy", np.array([Trap(marker)], dtype=object))
    assert "F.npy: not a whole array of numbers" in refusal(tmp_path, format="suite2p", rate_hz=RATE_HZ)
    assert not marker.exists()


def test_suite2p_that_lacks_something(tmp_path, traces):
    assert "holds no F.npy" in refusal(tmp_path, format="suite2p", rate_hz=RATE_HZ)
    write_plane(tmp_path / "plane0", traces)
    assert "needs read.rate_hz" in refusal(tmp_path, format="suite2p")
    layout = {"format": "suite2p", "rate_hz": RATE_HZ}
    assert "in 3 ROIs, first ROI 0" in refusal(tmp_path, **layout, neuropil=1000)
    np.save(tmp_path / "plane0/iscell.npy", np.zeros((4, 2)))
    assert "iscell.npy has shape (4, 2) for 5 ROIs" in refusal(tmp_path, **layout)
    (tmp_path / "plane0/iscell.npy").unlink()
    assert "set read.cells: all" in refusal(tmp_path, **layout)


# CaImAn, CNMF-E, EXTRACT, Minian


def write_caiman(path, traces, evaluated=True) -> None:
    """The fields of `caiman.source_extraction.cnmf.cnmf.CNMF.save`, as far as roiextractors reads them."""
    footprints = scipy.sparse.random(30, N_ROIS, 0.3, format="csc", random_state=1)
    with h5py.File(path, "w") as file:
        group = file.create_group("estimates/A")
        group["data"], group["indices"], group["indptr"] = footprints.data, footprints.indices, footprints.indptr
        group["shape"] = footprints.shape
        estimates = file["estimates"]
        estimates["C"], estimates["S"], estimates["YrA"] = traces, traces / 7, np.ones_like(traces)
        estimates["b"], estimates["f"] = np.ones((30, 1)), np.ones((1, N_FRAMES))
        # What CaImAn writes for None.
        estimates["F_dff"] = "NoneType"
        estimates["idx_components"] = CELLS if evaluated else "NoneType"
        file["params/data/fr"], file["params/data/dims"] = RATE_HZ, [5, 6]


def test_caiman(tmp_path, traces):
    write_caiman(tmp_path / "results.hdf5", traces)
    for activity, expected in {"denoised": traces, "deconvolved": traces / 7, "raw": traces + 1}.items():
        check(frames_of(tmp_path / "results.hdf5", {"format": "caiman", "activity": activity}), expected[CELLS])
    check(frames_of(tmp_path / "results.hdf5", {"format": "caiman", "cells": "all"}), traces)
    faster = frames_of(tmp_path / "results.hdf5", {"format": "caiman", "rate_hz": 2 * RATE_HZ})
    check(faster, traces[CELLS], TIME / 2)
    assert "has no dff traces; set read.activity to one of denoised, deconvolved, raw" in refusal(
        tmp_path / "results.hdf5", format="caiman", activity="dff"
    )
    write_caiman(tmp_path / "new.hdf5", traces, evaluated=False)
    check(frames_of(tmp_path / "new.hdf5", {"format": "caiman"}), traces)


def test_a_file_of_another_program_is_refused(tmp_path, traces):
    write_caiman(tmp_path / "results.hdf5", traces)
    assert "not CNMF-E's output" in refusal(tmp_path / "results.hdf5", format="cnmfe")
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "results.hdf5").read_bytes()[:3000])
    assert "not a whole HDF5 file" in refusal(tmp_path / "cut.hdf5", format="caiman")


def test_hdf5_that_refers_to_another_file_is_refused(tmp_path, traces):
    write_caiman(tmp_path / "results.hdf5", traces)
    with h5py.File(tmp_path / "results.hdf5", "a") as file:
        del file["estimates/C"]
        file["estimates/C"] = h5py.ExternalLink("other.h5", "/C")
    sentence = "takes content from another file (external link)"
    assert sentence in refusal(tmp_path / "results.hdf5", format="caiman")
    assert sentence in refusal(tmp_path / "results.hdf5", format="nwb")


def test_cnmfe(tmp_path, traces):
    """The struct that roiextractors expects; MATLAB writes neurons x frames, which HDF5 has the other way round."""
    with h5py.File(tmp_path / "out.mat", "w") as file:
        group = file.create_group("cnmfeAnalysisOutput")
        group["extractedSignals"] = traces.T
        group["extractedImages"], group["Cn"] = np.ones((N_ROIS, 6, 7)), np.ones((6, 7))
        group["time/totalTime"] = [[N_FRAMES / RATE_HZ]]
    check(frames_of(tmp_path / "out.mat", {"format": "cnmfe"}), traces)


def test_extract(tmp_path, traces):
    with h5py.File(tmp_path / "out.mat", "w") as file:
        group = file.create_group("output")
        group["temporal_weights"], group["spatial_weights"] = traces, np.ones((N_ROIS, 6, 7))
        group["config/preprocess"] = [[1.0]]
        group["info/version"] = np.array([[ord(letter)] for letter in "1.1.0"], dtype=np.uint16)
    check(frames_of(tmp_path / "out.mat", {"format": "extract", "rate_hz": RATE_HZ}), traces)
    assert "set read.rate_hz" in refusal(tmp_path / "out.mat", format="extract")


def write_minian(folder, traces) -> None:
    zarr = pytest.importorskip("zarr")
    store = zarr.open_group(folder, mode="w", zarr_format=2)
    arrays = {
        "A": np.ones((N_ROIS, 6, 7)),
        "C": traces,
        "S": traces / 7,
        "b": np.ones((6, 7)),
        "f": np.ones(N_FRAMES),
        "max_proj": np.ones((6, 7)),
    }
    for name, values in arrays.items():
        group = store.create_group(f"{name}.zarr")
        group.create_array(name, data=values)
        group.create_array("frame", data=np.arange(N_FRAMES))
        group.create_array("unit_id", data=np.arange(N_ROIS))
    for name, length in (("height", 6), ("width", 7)):
        store["A.zarr"].create_array(name, data=np.arange(length))


def test_minian(tmp_path, traces):
    write_minian(tmp_path / "minian", traces)
    layout = {"format": "minian", "rate_hz": RATE_HZ}
    check(frames_of(tmp_path / "minian", layout), traces)
    check(frames_of(tmp_path / "minian", layout | {"activity": "deconvolved"}), traces / 7)
    assert "set read.rate_hz" in refusal(tmp_path / "minian", format="minian")
    table = pd.DataFrame({"Frame Number": np.arange(N_FRAMES), "Time Stamp (ms)": 1000 * TIME})
    table.to_csv(tmp_path / "minian/timeStamps.csv", index=False)
    check(frames_of(tmp_path / "minian", {"format": "minian"}), traces)


def test_minian_executes_no_pickle(tmp_path, traces, monkeypatch):
    """Zarr can hold objects as pickles, which older versions of its library load."""
    monkeypatch.setenv("NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE", "1")
    write_minian(tmp_path / "minian", traces)
    description = tmp_path / "minian/C.zarr/C/.zarray"
    content = json.loads(description.read_text()) | {"filters": [{"id": "pickle"}], "compressor": None}
    description.write_text(json.dumps(content))
    assert "pickle" in refusal(tmp_path / "minian", format="minian", rate_hz=RATE_HZ)


# NWB


@pytest.fixture
def nwb():
    """An empty session, and how to save it."""
    pynwb = pytest.importorskip("pynwb")
    return pynwb.NWBFile("a session", "one", datetime(2026, 1, 1, tzinfo=UTC))


def save(nwb, path):
    import pynwb

    with pynwb.NWBHDF5IO(path, "w") as file:
        file.write(nwb)
    return path


def add_rois(nwb, traces, *names, timestamps=None, **settings) -> None:
    """`Fluorescence` with a series for each name, of ROIs with a column ``iscell``."""
    from pynwb import ophys

    device = nwb.create_device("microscope")
    channel = ophys.OpticalChannel("channel", "green", 510.0)
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="CA1",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6f",
        location="CA1",
    )
    segmentation = ophys.ImageSegmentation()
    rois = segmentation.create_plane_segmentation("ROIs", plane, "PlaneSegmentation")
    for _ in range(N_ROIS):
        rois.add_roi(image_mask=np.ones((4, 5)))
    rois.add_column("iscell", "whether it is a cell", data=np.isin(np.arange(N_ROIS), CELLS))
    module = nwb.create_processing_module("ophys", "traces")
    module.add(segmentation)
    clock = {"rate": RATE_HZ, "starting_time": 2.0} if timestamps is None else {"timestamps": timestamps}
    container = ophys.Fluorescence()
    module.add(container)
    for name in names:
        region = rois.create_roi_table_region("all", region=list(range(N_ROIS)))
        container.create_roi_response_series(name=name, data=traces.T, rois=region, unit="n.a.", **clock, **settings)


def test_nwb_with_roi_traces(tmp_path, traces, nwb):
    import pynwb

    add_rois(nwb, traces, "RoiResponseSeries")
    behaviour = nwb.create_processing_module("behavior", "on other clocks")
    behaviour.add(pynwb.TimeSeries("speed", data=[0.0, 200.0], timestamps=[2.0, 102.0], unit="cm/s"))
    position = pynwb.behavior.SpatialSeries("xy", data=[[0.0, 1.0], [8.0, 1.0]], rate=0.125, starting_time=4.0)
    behaviour.add(pynwb.behavior.Position(spatial_series=position))
    laps = pynwb.epoch.TimeIntervals("laps", "not called trials")
    laps.add_column("side", "0 left, 1 right")
    for number, (start, stop) in enumerate(INTERVALS_S):
        laps.add_row(start_time=start, stop_time=stop, side=number % 2)
    nwb.add_time_intervals(laps)
    frames = check(frames_of(save(nwb, tmp_path / "s.nwb"), {"format": "nwb"}), traces, 2.0 + TIME)
    np.testing.assert_array_equal(frames.intervals["laps"], INTERVALS_S)
    np.testing.assert_allclose(frames.covariates["speed"], 2 * TIME)
    inside = (frames.time >= 4) & (frames.time <= 12)
    np.testing.assert_allclose(frames.covariates["xy.0"], np.where(inside, frames.time - 4, np.nan))
    assert frames.covariates["laps.side"][[0, 8, 16, 28]].tolist() == pytest.approx([0, 0, np.nan, 1], nan_ok=True)
    assert set(frames.covariates) == {"speed", "xy.0", "xy.1", "laps.side"}
    chosen = frames_of(tmp_path / "s.nwb", {"format": "nwb", "cells": "iscell", "covariates": ["speed"]})
    check(chosen, traces[CELLS], 2.0 + TIME)
    assert set(chosen.covariates) == {"speed", "laps.side"}
    assert "has no column cell; set read.cells to one of image_mask, iscell" in refusal(
        tmp_path / "s.nwb", format="nwb", cells="cell"
    )
    assert "has no time series pace; set read.covariates to some of speed, xy" in refusal(
        tmp_path / "s.nwb", format="nwb", covariates=["pace"]
    )
    assert "has no units" in refusal(tmp_path / "s.nwb", format="nwb", bin_s=0.1)


def test_nwb_with_several_series(tmp_path, traces, nwb):
    add_rois(nwb, traces, "Deconvolved", "Neuropil", timestamps=TIME, conversion=2.0)
    path = save(nwb, tmp_path / "s.nwb")
    assert "ophys/Fluorescence/Deconvolved, ophys/Fluorescence/Neuropil" in refusal(path, format="nwb")
    for name in ("Deconvolved", "ophys/Fluorescence/Deconvolved"):
        check(frames_of(path, {"format": "nwb", "activity": name}), 2 * traces)


def test_nwb_with_units(tmp_path, nwb):
    spikes = [np.sort(np.random.default_rng(seed).uniform(0.4, 9.9, 50)) for seed in range(3)]
    nwb.add_unit_column("quality", "by hand")
    for times, quality in zip(spikes, ("good", "noise", "good"), strict=True):
        nwb.add_unit(spike_times=times, quality=quality)
    nwb.add_trial(start_time=0.0, stop_time=10.0)
    path = save(nwb, tmp_path / "s.nwb")
    frames = frames_of(path, {"format": "nwb", "bin_s": 0.1})
    expected = np.array([np.histogram(times, np.linspace(0, 10, 101))[0] for times in spikes])
    check(frames, expected, 0.05 + np.arange(100) / 10)
    np.testing.assert_array_equal(frames.intervals["trials"], [[0, 10]])
    check(frames_of(path, {"format": "nwb", "bin_s": 0.1, "cells": "quality=good"}), expected[[0, 2]], frames.time)
    assert "quality holds text; set read.cells: quality=value, of good, noise" in refusal(
        path, format="nwb", bin_s=0.1, cells="quality"
    )
    assert "which read.bin_s counts in bins" in refusal(path, format="nwb")


def test_nwb_that_is_damaged(tmp_path, traces, nwb):
    add_rois(nwb, traces, "RoiResponseSeries")
    content = save(nwb, tmp_path / "s.nwb").read_bytes()
    (tmp_path / "cut.nwb").write_bytes(content[: len(content) // 2])
    assert "not a whole HDF5 file" in refusal(tmp_path / "cut.nwb", format="nwb")
    with h5py.File(tmp_path / "other.nwb", "w") as file:
        file["x"] = 1
    assert "not an NWB file that pynwb reads" in refusal(tmp_path / "other.nwb", format="nwb")


# MATLAB with an element for each trial


def trials_of(traces) -> list[np.ndarray]:
    """Neurons x frames of three trials."""
    return [traces[:, :40], traces[:, 40:70], traces[:, 70:]]


def struct_of(**fields) -> np.ndarray:
    """A MATLAB struct array of one element for each trial."""
    length = len(next(iter(fields.values())))
    struct = np.empty((1, length), dtype=[(name, object) for name in fields])
    for name, values in fields.items():
        for number, value in enumerate(values):
            struct[0, number][name] = value
    return struct


def cell_of(values) -> np.ndarray:
    cell = np.empty((1, len(values)), dtype=object)
    cell[0, :] = [*values]
    return cell


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_matlab_struct_with_an_element_for_each_trial(tmp_path, traces, version):
    matrices = trials_of(traces)
    speeds = [np.arange(float(matrix.shape[1])) for matrix in matrices]
    struct = struct_of(spikes=matrices, trialId=[4, 7, 9], speed=speeds, choice=[0, 1, 1])
    matio.save_to_mat(str(tmp_path / "d.mat"), {"data": struct}, version=version)
    layout = {"format": "matlab_trials", "activity": "data.spikes", "rate_hz": RATE_HZ}
    frames = frames_of(tmp_path / "d.mat", layout)
    np.testing.assert_allclose(frames.activity, traces.T)
    assert frames.trial.tolist() == np.repeat([1, 2, 3], [40, 30, 50]).tolist()
    np.testing.assert_allclose(frames.time, np.concatenate([np.arange(n) / RATE_HZ for n in (40, 30, 50)]))
    named = layout | {"trial": "data.trialId", "covariates": ["data.speed", "data.choice"]}
    frames = frames_of(tmp_path / "d.mat", named)
    assert np.unique(frames.trial).tolist() == [4, 7, 9]
    np.testing.assert_array_equal(frames.covariates["speed"], np.concatenate(speeds))
    np.testing.assert_array_equal(frames.covariates["choice"], np.repeat([0, 1, 1], [40, 30, 50]))
    binned = frames_of(tmp_path / "d.mat", named | {"bin_frames": 4})
    assert np.bincount(binned.trial.astype(int))[[4, 7, 9]].tolist() == [10, 7, 12]
    np.testing.assert_allclose(binned.activity[0], traces[:, :4].sum(axis=1))
    np.testing.assert_allclose(binned.time[:2], np.array([1.5, 5.5]) / RATE_HZ)
    assert binned.covariates["speed"][:2].tolist() == [1.5, 5.5]
    assert "has no data.rates with an element for each trial; it has data.spikes" in refusal(
        tmp_path / "d.mat", **layout | {"activity": "data.rates"}
    )
    assert "neurons in a trial" in refusal(tmp_path / "d.mat", **layout | {"frames": "rows"})


def test_matlab_cell_with_an_element_for_each_trial(tmp_path, traces):
    cells = [matrix.T for matrix in trials_of(traces)]
    times = [3.0 + np.arange(len(cell)) / RATE_HZ for cell in cells]
    scipy.io.savemat(tmp_path / "d.mat", {"rates": cell_of(cells), "t": cell_of(times)})
    layout = {"format": "matlab_trials", "activity": "rates", "frames": "rows", "time": "t"}
    frames = frames_of(tmp_path / "d.mat", layout)
    np.testing.assert_allclose(frames.activity, traces.T)
    np.testing.assert_allclose(frames.time, np.concatenate(times))
    scipy.io.savemat(tmp_path / "d.mat", {"rates": cell_of([*cells, "text"]), "t": cell_of(times)})
    assert "rates of trial 4 holds no numbers" in refusal(tmp_path / "d.mat", **layout)


# Tables


def long_table(traces) -> pd.DataFrame:
    """Two trials whose times start again, in an order of rows that says nothing."""
    trial, time = np.repeat([8, 3], N_FRAMES // 2), np.tile(TIME[: N_FRAMES // 2], 2)
    table = pd.DataFrame(
        {
            "trial": np.tile(trial, N_ROIS),
            "time": np.tile(time, N_ROIS),
            "cell": np.repeat([f"n{k}" for k in range(N_ROIS)], N_FRAMES),
            "dff": traces.ravel(),
            "speed": np.tile(TIME, N_ROIS),
            "depth": np.repeat(np.arange(N_ROIS), N_FRAMES),
        }
    )
    first = table.iloc[:1]
    return pd.concat([first, table.iloc[1:].sample(frac=1, random_state=0)])


def write_table(table: pd.DataFrame, path) -> None:
    match path.suffix:
        case ".parquet":
            table.to_parquet(path)
        case ".tsv":
            table.to_csv(path, sep="\t", index=False)
        case _:
            table.to_csv(path, index=False)


LONG = {"format": "table", "activity": "dff", "neuron": "cell", "trial": "trial", "time": "time"}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_long_table(tmp_path, traces, suffix):
    path = tmp_path / f"d{suffix}"
    table = long_table(traces)
    write_table(table, path)
    frames = frames_of(path, LONG)
    np.testing.assert_allclose(frames.activity, traces.T)
    assert frames.trial.tolist() == [8] * 60 + [3] * 60
    np.testing.assert_allclose(frames.time, np.tile(TIME[:60], 2))
    # The depth differs between neurons.
    assert list(frames.covariates) == ["speed"]
    np.testing.assert_allclose(frames.covariates["speed"], TIME)
    write_table(table.iloc[:-2], path)
    assert "2 of 120 frames x 5 neurons have no row" in refusal(path, **LONG)
    write_table(pd.concat([table, table.iloc[:1]]), path)
    assert "1 rows repeat the frame and the neuron" in refusal(path, **LONG)
    assert "lacks pace" in refusal(path, **LONG | {"covariates": ["pace"]})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_with_a_column_for_each_neuron(tmp_path, traces, suffix):
    path = tmp_path / f"d{suffix}"
    columns = {f"roi_{k}": trace for k, trace in enumerate(traces)}
    table = pd.DataFrame({"t": TIME, "speed": 2 * TIME, "word": "x"} | columns)
    write_table(table.iloc[::-1], path)
    frames = check(frames_of(path, {"format": "table", "activity": "roi_*", "time": "t"}), traces)
    assert list(frames.covariates) == ["speed"]
    assert "has no columns of numbers cell*" in refusal(path, format="table", activity="cell*", time="t")
    assert "the column word holds text" in refusal(path, format="table", activity="roi_*", time="word")


def test_a_damaged_table(tmp_path):
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    assert "not a whole .parquet table" in refusal(tmp_path / "d.parquet", **LONG)
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe\x00" * 50)
    assert "d.csv: " in refusal(tmp_path / "d.csv", **LONG)


# Arrays by name


def write_arrays(path, arrays: dict) -> None:
    match path.suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".mat":
            matio.save_to_mat(str(path), arrays, version="v7.3")
        case _:
            with h5py.File(path, "w") as file:
                for name, values in arrays.items():
                    file[f"session/{name}"] = values


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
def test_arrays_by_name(tmp_path, traces, suffix):
    path, folder = tmp_path / f"d{suffix}", "session/" if suffix == ".h5" else ""
    trial = np.repeat([1, 2], N_FRAMES // 2)
    write_arrays(path, {"dff": traces, "id": trial, "t": TIME, "speed": TIME * 2, "pitch": TIME * 3})
    names = {"activity": f"{folder}dff", "trial": f"{folder}id", "time": f"{folder}t"}
    layout = {"format": "arrays", "covariates": [f"{folder}speed"], **names}
    frames = frames_of(path, layout)
    np.testing.assert_array_equal(frames.activity, traces.T)
    np.testing.assert_array_equal(frames.trial, trial)
    np.testing.assert_array_equal(frames.time, TIME)
    assert list(frames.covariates) == [f"{folder}speed"]
    every = frames_of(path, {"format": "arrays", **names})
    assert set(every.covariates) == {f"{folder}speed", f"{folder}pitch"}
    by_rate = {"format": "arrays", "activity": f"{folder}dff", "rate_hz": RATE_HZ, "covariates": []}
    check(frames_of(path, by_rate | {"frames": "columns"}), traces)
    assert "say so in read.frames" in refusal(path, **by_rate)
    assert "one of time and rate_hz" in refusal(path, **layout | {"rate_hz": RATE_HZ})
    assert f"lacks {folder}dfof" in refusal(path, **layout | {"activity": f"{folder}dfof"})
    assert "is no covariate" in refusal(path, **layout | {"covariates": [f"{folder}dff"]}) or suffix != ".npz"


def test_fields_of_a_matlab_struct(tmp_path, traces):
    matio.save_to_mat(str(tmp_path / "d.mat"), {"s": {"dff": traces, "clock": {"t": TIME}}}, version="v7")
    check(frames_of(tmp_path / "d.mat", {"format": "arrays", "activity": "s.dff", "time": "s.clock.t"}), traces)


# All formats


@pytest.mark.parametrize(
    ("layout", "file", "library"),
    [
        ({"format": "caiman"}, "results.hdf5", "roiextractors"),
        ({"format": "nwb"}, "results.nwb", "pynwb"),
    ],
)
def test_a_library_that_is_not_installed_names_the_extra(tmp_path, monkeypatch, layout, file, library):
    from odevae.data.readers import nwb, segmentation

    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OdevaeError, match=rf"needs {library}, .*pip install 'odevae\[formats\]'\.$"):
        if library == "pynwb":
            nwb.read_nwb(tmp_path / file)
        else:
            segmentation.read_segmentation(tmp_path / file, "caiman")
