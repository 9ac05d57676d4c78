"""Every data set of docs/own_data.md, read from files in the layout of the tool that it is for."""

import re
import runpy

import numpy as np
import pandas as pd
import pytest
import scipy.io
import test_formats as formats
import yaml
from test_formats import TIME, in_this_process, nwb, traces  # noqa: F401
from workflow_project import CHECKOUT, small_config

from odevae.config.schema import check_config
from odevae.data.frames import ReadingSettings
from odevae.data.readers import read
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.spikes import BinSettings

DOCUMENT = (CHECKOUT / "docs/own_data.md").read_text(encoding="utf-8")
SCHEMA = yaml.safe_load((CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
READING = ("time_unit", "no_trial", "renumber_trials", "irregular_trials", "bridge_frames", "missing", "trials")
# The frames inside `formats.INTERVALS_S`.
FRAMES = np.concatenate([np.arange(8, 32), np.arange(44, 60), np.arange(72, 100)])


def blocks(section: str, language: str = "yaml") -> list[str]:
    text = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def entry_of(section: str, name: str) -> dict:
    """A data set of the section, as the workflow reads it: checked, with its defaults."""
    (block,) = blocks(section)
    config = small_config()
    config["datasets"] |= yaml.safe_load(block)["datasets"]
    return check_config(config, SCHEMA)["datasets"][name]


def recorded(section: str, name: str):
    entry = entry_of(section, name)
    settings = ReadingSettings.of({key: value for key, value in entry.items() if key in READING})
    return read(entry["file"], name=name, units=entry["units"], settings=settings, layout=entry.get("read"))


def check(recording, activity: np.ndarray, frames: np.ndarray = FRAMES) -> None:
    """The recording holds some frames of an array of neurons x frames."""
    np.testing.assert_allclose(recording.activity, activity[:, frames].T, rtol=1e-5, atol=1e-5)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a table of trials."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    table = pd.DataFrame(formats.INTERVALS_S, columns=["start", "stop"])
    table.to_csv(tmp_path / "trials.csv", index=False)
    return tmp_path / "data"


def test_suite2p(folder, traces):  # noqa: F811
    formats.write_plane(folder / "suite2p/plane0", traces)
    corrected = traces[formats.CELLS] - 7.0
    check(recorded("suite2p", "mouse7"), corrected / np.median(corrected, axis=1, keepdims=True) - 1)


def test_nwb_with_roi_traces(folder, traces, nwb):  # noqa: F811
    import pynwb

    formats.add_rois(nwb, traces, "RoiResponseSeries")
    speed = pynwb.TimeSeries("speed", data=[0.0, 200.0], timestamps=[2.0, 102.0], unit="cm/s")
    nwb.create_processing_module("behavior", "speed").add(speed)
    laps = pynwb.epoch.TimeIntervals("laps", "not called trials")
    for start, stop in formats.INTERVALS_S + 2.0:
        laps.add_row(start_time=start, stop_time=stop)
    nwb.add_time_intervals(laps)
    formats.save(nwb, folder / "mouse7.nwb")
    recording = recorded("NWB", "mouse7")
    check(recording, traces[formats.CELLS])
    np.testing.assert_allclose(recording.covariates["speed"], 2 * TIME[FRAMES])


def test_nwb_with_units(folder, nwb):  # noqa: F811
    nwb.add_unit_column("quality", "by hand")
    for quality in ("good", "noise"):
        nwb.add_unit(spike_times=np.arange(0.025, 20, 0.5), quality=quality)
    nwb.add_trial(start_time=5.0, stop_time=10.0)
    formats.save(nwb, folder / "mouse8.nwb")
    recording = recorded("NWB", "mouse8")
    assert recording.activity.shape == (100, 1) and recording.activity.sum() == 10 and recording.units == "spikes"


def test_segmentation(folder, traces):  # noqa: F811
    formats.write_caiman(folder / "results.hdf5", traces)
    formats.write_cnmfe(folder / "cnmfe.mat", traces)
    formats.write_extract(folder / "extract.mat", traces)
    formats.write_minian(folder / "minian", traces)
    expected = {"mouse7": traces[formats.CELLS], "mouse8": traces, "mouse9": traces, "mouse10": traces / 7}
    for name, activity in expected.items():
        check(recorded("CaImAn, CNMF-E, EXTRACT and Minian", name), activity)


def test_tables(folder, traces):  # noqa: F811
    formats.write_table(formats.long_table(traces), folder / "long.csv")
    # Trial 8 comes first in the file.
    check(recorded("CSV and Parquet", "mouse7"), traces, np.arange(formats.N_FRAMES))
    columns = {f"roi_{number}": trace for number, trace in enumerate(traces)}
    formats.write_table(pd.DataFrame({"t": TIME} | columns), folder / "wide.parquet")
    check(recorded("CSV and Parquet", "mouse8"), traces)


def test_matlab_with_an_element_for_each_trial(folder):
    spikes = [np.random.default_rng(k).integers(0, 2, (4, length)) for k, length in enumerate((200, 310, 240))]
    struct = formats.struct_of(spikes=spikes, trialId=[4, 7, 9])
    scipy.io.savemat(folder / "monkey1.mat", {"data": struct})
    recording = recorded("MATLAB with an element for each trial", "monkey1")
    assert np.bincount(recording.trial)[[4, 7, 9]].tolist() == [10, 15, 12]
    np.testing.assert_array_equal(recording.activity[0], spikes[0][:, :20].sum(axis=1))
    rates = [one.T + 0.5 for one in spikes]
    times = [np.arange(len(one)) / 50 for one in rates]
    scipy.io.savemat(folder / "monkey2.mat", {"rates": formats.cell_of(rates), "t": formats.cell_of(times)})
    np.testing.assert_array_equal(
        recorded("MATLAB with an element for each trial", "monkey2").activity, np.concatenate(rates)
    )


def test_arrays(folder, traces):  # noqa: F811
    trial = np.repeat([1, 2], len(TIME) // 2)
    formats.write_arrays(folder / "mouse7.h5", {"dff": traces, "id": trial, "t": TIME, "speed": TIME})
    recording = recorded("Arrays", "mouse7")
    check(recording, traces, np.arange(formats.N_FRAMES))
    assert list(recording.covariates) == ["session/speed"]
    np.savez(folder / "mouse8.npz", dff=traces)
    check(recorded("Arrays", "mouse8"), traces)


def test_spike_times(folder, monkeypatch):
    monkeypatch.chdir(folder)
    neuron, samples = np.array([3, 3, 8]), np.array([[3000], [75000], [45000]])
    np.save("spike_clusters.npy", neuron)
    np.save("spike_times.npy", samples)
    (code,) = blocks("Spike times", "python")
    (folder / "recipe.py").write_text("import numpy as np\n" + code)
    runpy.run_path(str(folder / "recipe.py"))
    recording = read_spike_lists(["session1.npz"], BinSettings(bin_s=0.5, window_s=1.0), name="mouse7")
    assert recording.activity.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]


def test_every_format_has_lines():
    given = {entry["read"]["format"] for block in blocks_of_document() for entry in block.values() if "read" in entry}
    assert given == set(SCHEMA["$defs"]["dataset"]["properties"]["read"]["properties"]["format"]["enum"])


def blocks_of_document() -> list[dict]:
    return [yaml.safe_load(text)["datasets"] for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
