"""What a file is taken for, and that the lines that are proposed read it."""

import inspect

import h5py
import matio
import numpy as np
import pytest
import test_formats as formats
import yaml
from test_formats import RATE_HZ, TIME, in_this_process, nwb, traces  # noqa: F401
from workflow_project import CHECKOUT, Project, small_config

from odevae import commands
from odevae.config.schema import check_config
from odevae.data.readers import frames_of
from odevae.data.readers.arrays import layout_of
from odevae.data.readers.inspection import entry_as_yaml, inspected
from odevae.data.readers.matlab_trials import read_matlab_trials
from odevae.data.readers.nwb import read_nwb
from odevae.data.readers.recognition import Recognised, recognise
from odevae.data.readers.segmentation import read_segmentation
from odevae.data.readers.suite2p import read_suite2p
from odevae.data.readers.tables import read_table
from odevae.errors import OdevaeError

SCHEMA = yaml.safe_load((CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
READERS = {
    "arrays": layout_of,
    "caiman": read_segmentation,
    "matlab_trials": read_matlab_trials,
    "minian": read_segmentation,
    "nwb": read_nwb,
    "suite2p": read_suite2p,
    "table": read_table,
    "traces": read_segmentation,
}


def proposal(path, format: str, **missing) -> tuple[Recognised, object]:
    """What a file is taken for, and the frames that the proposed lines read; `missing` is what a user adds to read."""
    found = recognise(path)
    assert found.format == format
    assert all(note.endswith(".") for note in found.notes)
    assert {f"read.{key}" for key in missing} == set(found.missing) - {"trials"}
    config = small_config()
    config["datasets"] |= yaml.safe_load(entry_as_yaml(path, found))["datasets"]
    (name,) = set(config["datasets"]) - {"disc"}
    if "read" in found.entry:
        config["datasets"][name]["read"] |= missing
    entry = check_config(config, SCHEMA)["datasets"][name]
    return found, frames_of(path, entry.get("read"))


def test_every_key_of_the_schema_is_an_argument_of_its_reader():
    for name, reader in READERS.items():
        keys = set(SCHEMA["$defs"][f"read_{name}"]["properties"]) - {"format"}
        arguments = set(inspect.signature(reader).parameters) - {"path", "program"}
        # The readers through roiextractors share one function.
        assert keys == arguments or (reader is read_segmentation and keys < arguments), name


def test_a_key_that_no_reader_reads_is_refused():
    config = small_config()
    config["datasets"]["mouse"] = {"file": "s", "read": {"format": "suite2p", "rate": 8}}
    with pytest.raises(OdevaeError, match=r"unknown key rate at datasets\.mouse\.read; known keys there: format, "):
        check_config(config, SCHEMA)
    config["datasets"]["mouse"] = {"simulate": {"kind": "foraging"}, "read": {"format": "nwb"}}
    with pytest.raises(OdevaeError, match=r"datasets\.mouse\.read is for recordings in files; a simulation needs none"):
        check_config(config, SCHEMA)
    download = {"url": "https://data.example/plane0", "sha256": "0" * 64}
    config["datasets"]["mouse"] = {"fetch": download, "read": {"format": "suite2p"}}
    with pytest.raises(OdevaeError, match="suite2p is a folder; download it yourself"):
        check_config(config, SCHEMA)


def test_plain_arrays(tmp_path, traces):  # noqa: F811
    np.savez(tmp_path / "r.npz", roi=traces, Trial=np.ones(len(TIME)), Time=TIME, speed=TIME)
    found, frames = proposal(tmp_path / "r.npz", "plain")
    assert "read" not in found.entry and list(frames.covariates) == ["speed"]


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
def test_arrays_under_other_names(tmp_path, traces, suffix):  # noqa: F811
    trial = np.repeat([1, 2], len(TIME) // 2)
    arrays = {"dFF": traces, "trial_id": trial, "t": TIME, "speed": TIME, "map": np.ones((3, 4))}
    formats.write_arrays(tmp_path / f"r{suffix}", arrays)
    found, frames = proposal(tmp_path / f"r{suffix}", "arrays")
    np.testing.assert_array_equal(frames.activity, traces.T)
    np.testing.assert_array_equal(frames.trial, trial)
    assert [name.rpartition("/")[2] for name in frames.covariates] == ["speed"]
    assert "speed" in found.notes[-1]


def test_arrays_without_a_clock(tmp_path, traces):  # noqa: F811
    np.savez(tmp_path / "r.npz", traces=traces)
    _, frames = proposal(tmp_path / "r.npz", "arrays", rate_hz=RATE_HZ)
    formats.check(frames, traces)


def test_a_spike_list(tmp_path):
    np.savez(tmp_path / "r.npz", spikes=np.ones((50, 2)))
    assert set(recognise(tmp_path / "r.npz").entry) == {"file", "units", "spikes"}


def test_folders(tmp_path, traces):  # noqa: F811
    formats.write_plane(tmp_path / "suite2p/plane0", traces)
    proposal(tmp_path / "suite2p", "suite2p", rate_hz=RATE_HZ)
    formats.write_minian(tmp_path / "minian", traces)
    _, frames = proposal(tmp_path / "minian", "minian", rate_hz=RATE_HZ)
    formats.check(frames, traces)


def test_segmentation_files(tmp_path, traces):  # noqa: F811
    formats.write_caiman(tmp_path / "results.hdf5", traces)
    _, frames = proposal(tmp_path / "results.hdf5", "caiman")
    formats.check(frames, traces[formats.CELLS])
    formats.write_cnmfe(tmp_path / "cnmfe.mat", traces)
    formats.check(proposal(tmp_path / "cnmfe.mat", "cnmfe")[1], traces)
    formats.write_extract(tmp_path / "extract.mat", traces)
    formats.check(proposal(tmp_path / "extract.mat", "extract", rate_hz=RATE_HZ)[1], traces)


def test_nwb_with_its_intervals(tmp_path, traces, nwb):  # noqa: F811
    formats.add_rois(nwb, traces, "RoiResponseSeries")
    nwb.add_trial(start_time=3.0, stop_time=5.0)
    found, frames = proposal(formats.save(nwb, tmp_path / "s.nwb"), "nwb")
    formats.check(frames, traces, 2.0 + TIME)
    assert found.entry["trials"] == {"intervals": "trials"}


def test_nwb_with_units(tmp_path, nwb):  # noqa: F811
    nwb.add_unit(spike_times=[0.5, 0.6, 2.0])
    found, frames = proposal(formats.save(nwb, tmp_path / "s.nwb"), "nwb")
    assert found.entry["units"] == "spikes" and frames.activity.sum() == 3


def test_an_element_for_each_trial(tmp_path, traces):  # noqa: F811
    struct = formats.struct_of(spikes=formats.trials_of(traces), trialId=[4, 7, 9])
    matio.save_to_mat(str(tmp_path / "d.mat"), {"data": struct}, version="v7")
    _, frames = proposal(tmp_path / "d.mat", "matlab_trials", rate_hz=RATE_HZ)
    np.testing.assert_allclose(frames.activity, traces.T)
    assert np.unique(frames.trial).tolist() == [4, 7, 9]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables(tmp_path, traces, suffix):  # noqa: F811
    formats.write_table(formats.long_table(traces), tmp_path / f"long{suffix}")
    _, frames = proposal(tmp_path / f"long{suffix}", "table")
    np.testing.assert_allclose(frames.activity, traces.T)
    columns = {f"roi_{number}": trace for number, trace in enumerate(traces)}
    formats.write_table(formats.pd.DataFrame({"time": TIME} | columns), tmp_path / f"wide{suffix}")
    formats.check(proposal(tmp_path / f"wide{suffix}", "table")[1], traces)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lost.npz", "there is no such file"),
        ("folder", "holds no F.npy"),
        ("notes.txt", "no reader for the suffix '.txt'"),
        ("cut.mat", "not a whole MATLAB file"),
        ("cut.nwb", "not a whole HDF5 file"),
        ("empty.h5", "holds no matrix of numbers"),
    ],
)
def test_what_is_no_recording(tmp_path, capsys, name, sentence):
    (tmp_path / "folder").mkdir()
    for file in ("notes.txt", "cut.mat", "cut.nwb"):
        (tmp_path / file).write_bytes(b"no recording")
    h5py.File(tmp_path / "empty.h5", "w").close()
    assert commands.main(["inspect", str(tmp_path / name)]) == 1
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_the_text_of_inspect(tmp_path, traces, capsys):  # noqa: F811
    np.savez(tmp_path / "mouse 7.npz", dff=traces, t=TIME)
    assert commands.main(["inspect", str(tmp_path / "mouse 7.npz")]) == 0
    shown = capsys.readouterr().out
    assert shown == inspected(tmp_path / "mouse 7.npz") + "\n"
    assert "dff         5 x 120" in shown
    lines = yaml.safe_load(shown.partition("Lines for the configuration:")[2])
    read = {"format": "arrays", "activity": "dff", "time": "t"}
    assert lines == {"datasets": {"mouse_7": {"file": str(tmp_path / "mouse 7.npz"), "read": read}}}
    assert "# add trials" in shown


@pytest.mark.slow
@pytest.mark.own_process
def test_a_folder_of_suite2p_through_the_workflow(tmp_path, traces):  # noqa: F811
    config = small_config()
    read = {"format": "suite2p", "rate_hz": RATE_HZ, "activity": "deconvolved"}
    config["datasets"]["mouse"] = {"file": "suite2p", "read": read, "trials": {"table": "trials.csv"}}
    project = Project.create(tmp_path / "project", config)
    formats.write_plane(project.root / "suite2p/plane0", traces)
    np.save(project.root / "suite2p/plane0/ops.npy", {"fs": RATE_HZ})
    np.savetxt(project.root / "trials.csv", formats.INTERVALS_S, delimiter=",", header="start,stop", comments="")
    target = "results/mouse/recording.npz"
    assert "mouse: 3 neurons (0 silent), 68 frames, 8 Hz; 3 trials" in project.run(target)
    assert project.planned(target) == {}
    write = np.random.default_rng(0).random(traces.shape).astype(np.float32)
    np.save(project.root / "suite2p/plane0/spks.npy", write)
    assert project.planned(target) == {"read_recording": 1}
    shown = project.run("--config", "recording=suite2p", "--cores", "1", "inspect")
    assert "format: suite2p" in shown and "6 x" not in shown and "plane0/F.npy" in shown
    outcome = project.snakemake("inspect")
    assert outcome.code == 1 and "inspect needs a recording: snakemake --config recording=PATH" in outcome.output
