import hashlib
import io
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import matio
import numpy as np
import pytest
import reader_inputs as inputs
from conftest import paper_data_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.data.frames import Frames, frames_as_arrays, frames_from_arrays
from odevae.data.readers import READERS, arrays, paper_npz, read, subprocess_reader
from odevae.data.recording import NOT_READ, Recording
from odevae.data.simulate.foraging import FIELD_WIDTH, PEAK, STEP
from odevae.errors import OdevaeError

# "v7" is the library's name for the format of MATLAB 5 to 7.
MAT_VERSIONS = ["v7", "v7.3"]

CHANGES = [
    ({"Trial": None}, "the file has no Trial, so nothing says which frames are one trial"),
    ({"Trial": None, "roi": np.ones((3, 7))}, "Time has shape (8,) but the activity has shape (3, 7)"),
    ({"Trial": None, "Time": None}, "lacks Time (it holds roi, speed)"),
    ({"roi": None, "Time": None}, "lacks roi, Time"),
    ({"Trial": np.repeat([1, 2], 3)}, "Trial has shape (6,) but the activity has shape (3, 8)"),
    ({"Trial": np.array([1, 1, 1, 1, 2, 2, 2, 3])}, "trial 3 has one frame only"),
    ({"Trial": np.array([1, 1, 1, 1, 2, 2, 2, 2.5])}, "Trial is 2.5 at frame 7"),
    ({"Trial": np.array([1, 1, 1, 1, 2, 2, 2, np.inf])}, "Trial is inf at frame 7"),
    ({"Trial": np.ones((2, 8))}, "Trial has shape (2, 8)"),
    ({"Trial": np.arange(3)}, "Time has shape (8,) but the activity has 3 frames"),
    ({"roi": np.full((3, 8), np.nan)}, "the activity of 3 of 3 neurons is NaN in every frame of a trial"),
    ({"roi": np.full((3, 8), np.inf)}, "NaN or infinite"),
    ({"roi": np.ones((8, 8))}, "does not show which side counts frames"),
    ({"roi": np.ones((3, 8), complex)}, "real numbers"),
    ({"Time": np.arange(7)}, "Time has shape (7,)"),
    ({"Time": np.zeros(8)}, "Time repeats at 6 frames of trials 1 and 2, first at frame 1"),
    ({"latents": np.full((8, 2), np.inf)}, "the latents have shape (8, 2)"),
    ({"latents": np.zeros((5, 2))}, "the latents have shape (5, 2)"),
]


def variables(**changes) -> dict:
    """Three neurons, two trials of four frames; a change to None leaves a variable out."""
    arrays = {
        "roi": np.arange(24.0).reshape(3, 8),
        "Trial": np.repeat([1, 2], 4),
        "Time": np.tile(np.arange(4), 2) / 10,
        "speed": np.linspace(0, 1, 8),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def npz(folder: Path, **changes) -> Path:
    """An ``.npz`` of `variables`."""
    np.savez(folder / "r.npz", **variables(**changes))
    return folder / "r.npz"


def mat(folder: Path, variables: dict, version="v7.3", **settings) -> Path:
    matio.save_to_mat(str(folder / "r.mat"), variables, version=version, **settings)
    return folder / "r.mat"


def refusal(path: Path) -> str:
    with pytest.raises(OdevaeError) as caught:
        read(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) or sentence.startswith(f"{path.name}: ")
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def check_small(recording: Recording) -> None:
    np.testing.assert_array_equal(recording.activity, np.arange(24.0).reshape(3, 8).T)
    assert recording.activity.flags.c_contiguous
    assert recording.trial.tolist() == [1] * 4 + [2] * 4
    assert recording.trial.dtype == np.int64
    assert recording.time.tolist() == [0, 0.1, 0.2, 0.3] * 2
    np.testing.assert_array_equal(recording.covariates["speed"], np.linspace(0, 1, 8))


# All formats


@pytest.mark.parametrize("name", ["recording.npz", "recording.mat", "recording.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    assert "there is no such file" in refusal(tmp_path / name)


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    path = tmp_path / "recording.csv"
    path.write_text("1,2")
    assert ".npz, .mat" in refusal(path)


def test_source_says_which_file_it_was(tmp_path):
    path = tmp_path / "mouse.NPZ"
    with path.open("wb") as file:
        np.savez(file, **variables())
    source = {"name": "mouse.NPZ", "file": "mouse.NPZ", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    as_read = {"reading": NOT_READ, "left_out": {}}
    assert read(path).source == source | as_read
    named = read(path, name="m1", units="Hz")
    assert (named.source, named.units) == (source | as_read | {"name": "m1"}, "Hz")


# The .npz of the paper


def test_npz_in_either_orientation(tmp_path):
    roi = variables()["roi"]
    for stored in (roi, roi.T):
        check_small(read(npz(tmp_path, roi=stored)))


@given(n_frames=st.integers(2, 12), n_neurons=st.integers(1, 12), transpose=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_length_of_trial_decides_the_orientation(tmp_path_factory, n_frames, n_neurons, transpose):
    path = tmp_path_factory.mktemp("orientation") / "recording.npz"
    activity = np.random.default_rng(0).normal(size=(n_frames, n_neurons))
    np.savez(path, roi=activity.T if transpose else activity, Trial=np.ones(n_frames), Time=np.arange(n_frames) / 10)
    if n_frames == n_neurons:
        assert "does not show which side counts frames" in refusal(path)
    else:
        np.testing.assert_array_equal(read(path).activity, activity)


@pytest.mark.parametrize(
    ("stored", "kept"),
    [("f4", "f4"), (">f4", "f4"), ("f8", "f8"), ("f2", "f8"), ("i2", "f8"), ("u8", "f8"), ("?", "f8")],
)
def test_npz_keeps_single_and_double_precision_only(tmp_path, stored, kept):
    assert read(npz(tmp_path, roi=np.ones((3, 8), stored))).activity.dtype == np.dtype(kept)


def test_npz_covariates_are_the_numeric_vectors_of_one_value_each_frame(tmp_path):
    others = {"text": np.array(["a"] * 8), "rate": np.array(14.2), "matrix": np.ones((8, 2)), "row": np.ones((1, 8))}
    recording = read(npz(tmp_path, latents=np.ones((8, 2)), **others))
    assert sorted(recording.covariates) == ["row", "speed"]
    assert recording.latents.shape == (8, 2)


UNPRINTABLE = ["a\nb", "\x1b[31mred", "\u2028", "", "a" * 101]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        *CHANGES,
        *(({name: np.arange(8.0)}, "give it one of 1 to 100 printable characters") for name in UNPRINTABLE),
    ],
)
def test_npz_that_is_no_recording(tmp_path, changes, part):
    assert part in refusal(npz(tmp_path, **changes))


def test_npz_cut_short_or_of_another_format(tmp_path):
    path = npz(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a whole .npz file" in refusal(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert "not a whole .npz file" in refusal(path)


def test_npz_with_a_damaged_array(tmp_path):
    path = npz(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 150] ^= 255
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_npz_names_that_are_listed_stay_on_one_short_line(tmp_path):
    others = {f"x\n{number}": np.ones(3) for number in range(500)} | {"y" * 5000: np.ones(3)}
    np.savez(tmp_path / "r.npz", roi=np.ones((8, 3)), **others)
    sentence = refusal(tmp_path / "r.npz")
    assert "'x\\n0'" in sentence and "and 472 more" in sentence
    assert len(sentence) < 1000


def test_npz_that_is_larger_than_memory_is_refused_unread(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "r.npz", **variables(zeros=np.zeros(2_000_000, "i1")))
    assert (tmp_path / "r.npz").stat().st_size < 5000
    assert isinstance(read(tmp_path / "r.npz"), Recording)
    # A matrix that is no part of the recording is not read; one neuron whose small integers become float64 is.
    monkeypatch.setattr(paper_npz, "memory_limit", lambda: 15_000_000)
    assert isinstance(read(tmp_path / "r.npz"), Recording)
    np.savez_compressed(tmp_path / "r.npz", **variables(roi=np.zeros((250_000, 8), "i1")))
    monkeypatch.setattr(np, "load", None)
    assert "needs more memory than reading may take here" in refusal(tmp_path / "r.npz")


def test_npz_whose_header_promises_more_than_any_memory(tmp_path):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**50},)}}".encode()
    path = npz(tmp_path, roi=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("roi.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
    assert "needs more memory than reading may take here" in refusal(path)


def test_npz_that_begins_as_another_format(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    path = npz(tmp_path)
    path.write_bytes(buffer.getvalue() + path.read_bytes())
    assert "damaged" in refusal(path)


def test_memory_that_runs_out_while_an_npz_is_read(tmp_path, monkeypatch):
    path = npz(tmp_path)
    monkeypatch.setattr(np, "load", Mock(side_effect=MemoryError))
    assert "needs more memory than reading may take here" in refusal(path)


def test_reading_may_take_half_of_the_memory_there_is():
    there_is = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert arrays.memory_limit() == pytest.approx(there_is / 2, rel=0.01)


# MATLAB


@pytest.mark.parametrize("version", MAT_VERSIONS)
@pytest.mark.parametrize("transpose", [False, True])
def test_mat_of_plain_arrays(tmp_path, version, transpose):
    # MATLAB has no vectors: they come as rows or as columns.
    as_stored = {name: array.T for name, array in variables().items()} if transpose else variables()
    as_stored |= {"label": "text", "rate": 14.2}
    recording = read(mat(tmp_path, as_stored, version, oned_as="col" if transpose else "row"))
    check_small(recording)
    assert list(recording.covariates) == ["speed"]


# Each change in one of the two versions: what is refused is the same arrays, and a file is read in half a second.
@pytest.mark.parametrize(
    ("changes", "part", "version"), [(*change, MAT_VERSIONS[i % 2]) for i, change in enumerate(CHANGES)]
)
def test_mat_that_is_no_recording(tmp_path, version, changes, part):
    assert part in refusal(mat(tmp_path, variables(**changes), version))


@pytest.mark.parametrize(
    ("nic_output", "part"),
    [
        (np.ones((2, 2)), "nic_output: lacks ROIactivities, behavioralVariables"),
        ({"ROIactivities": np.ones((8, 3))}, "lacks behavioralVariables"),
        ({"ROIactivities": np.ones((8, 3)), "behavioralVariables": np.ones(3)}, "not a readable MATLAB table"),
    ],
)
def test_mat_with_half_of_the_nieh_layout(tmp_path, nic_output, part):
    assert part in refusal(mat(tmp_path, {"nic_output": nic_output}, "v7"))


def test_mat_table_without_trial_and_with_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"Time": np.arange(8.0) / 10, "Trial": np.ones(8), "word": ["a"] * 8})
    path = tmp_path / "r.mat"
    nic_output = {"ROIactivities": np.ones((8, 3)), "behavioralVariables": table}
    matio.save_to_mat(str(path), {"nic_output": nic_output})
    assert sorted(read(path).covariates) == ["Time", "Trial"]
    matio.save_to_mat(str(path), {"nic_output": nic_output | {"behavioralVariables": table.drop(columns="Trial")}})
    assert "the file has no Trial" in refusal(path)
    matio.save_to_mat(str(path), {"nic_output": nic_output | {"behavioralVariables": table.drop(columns="Time")}})
    assert "behavioralVariables: lacks Time (it holds Trial, word)" in refusal(path)


def test_mat_is_read_with_its_name_unit_and_latents(tmp_path):
    matio.save_to_mat(str(tmp_path / "r.mat"), variables(latents=np.arange(16.0).reshape(8, 2)))
    recording = read(tmp_path / "r.mat", name="m1", units="Hz")
    assert (recording.name, recording.units) == ("m1", "Hz")
    np.testing.assert_array_equal(recording.latents, np.arange(16.0).reshape(8, 2))
    matio.save_to_mat(str(tmp_path / "r.mat"), variables(Time=np.zeros(8)))
    with pytest.raises(OdevaeError, match=r"^m1: Time repeats"):
        read(tmp_path / "r.mat", name="m1")


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_a_file_without_trial_gives_frames_without_trials(tmp_path, suffix):
    path = (npz if suffix == ".npz" else lambda folder, **changes: mat(folder, variables(**changes)))(
        tmp_path, Trial=None
    )
    frames = READERS[suffix](path)
    assert frames.trial is None and frames.intervals == {}
    np.testing.assert_array_equal(frames.time, variables()["Time"])
    np.testing.assert_array_equal(frames.activity, variables()["roi"].T)
    assert list(frames.covariates) == ["speed"]


def test_frames_with_tables_of_intervals_pass_through_arrays():
    tables = {"trials": np.array([[0.0, 0.5], [1.0, 1.5]]), "empty": np.empty((0, 2)), "cues": np.array([[0.2, 0.3]])}
    frames = Frames(np.ones((4, 2)), None, np.arange(4.0), intervals=tables)
    again = frames_from_arrays(frames_as_arrays(frames))
    assert again.trial is None and list(again.intervals) == list(tables)
    for name, table in tables.items():
        np.testing.assert_array_equal(again.intervals[name], table)
    assert frames_from_arrays(frames_as_arrays(replace(frames, intervals={}))).intervals == {}


# MATLAB files that are no honest mistake


OUTSIDE = {
    "external link": "external link",
    "external storage": "external data set",
    "virtual": "virtual data set",
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_mat_never_takes_content_from_another_file(tmp_path, kind):
    secret = (tmp_path / "secret.mat", inputs.write_secret(tmp_path / "secret.mat"))
    inputs.write_hdf5(tmp_path / "r.mat", ([("speed", kind, "cell", {}, "")], "earliest"), secret)
    assert f"takes content from another file ({OUTSIDE[kind]}), which is never opened" in refusal(tmp_path / "r.mat")


def test_mat_never_takes_content_from_another_file_by_a_reference(tmp_path):
    secret = (tmp_path / "secret.mat", inputs.write_secret(tmp_path / "secret.mat"))
    inputs.hidden_external(tmp_path / "r.mat", secret)
    with inputs.h5py.File(tmp_path / "r.mat") as file:
        assert not any(file[name].external for name in file)
        assert file[file["cell"][0, 0]][0, 0] == inputs.SECRET
    assert "takes content from another file (external data set)" in refusal(tmp_path / "r.mat")


def test_mat_with_a_reference_that_leads_nowhere(tmp_path):
    def dangling(file) -> None:
        group = file.create_group("#refs#")
        inputs.cell_of(group, "cell", file.create_dataset(None, data=np.ones(3)))

    inputs.mat73(tmp_path / "r.mat", dangling)
    check_small(read(tmp_path / "r.mat"))


def test_mat_with_a_link_inside_itself_is_whole(tmp_path):
    inputs.mat73(tmp_path / "r.mat", lambda file: file.__setitem__("alias", inputs.h5py.SoftLink("/speed")))
    recording = read(tmp_path / "r.mat")
    np.testing.assert_array_equal(recording.covariates["alias"], recording.covariates["speed"])


def test_mat_that_crashes_its_library(tmp_path):
    (tmp_path / "r.mat").write_bytes(inputs.nested_cells(100_000))
    assert "the library for MATLAB files crashed on it (SIGSEGV)" in refusal(tmp_path / "r.mat")


@pytest.mark.parametrize(
    ("write", "limit", "sentence"),
    [
        (inputs.cells_doubling, {"CPU_LIMIT_S": 3}, "not read after 3 s of computing"),
        (inputs.cell_in_itself, {}, "not a whole MATLAB file"),
        (inputs.huge_promise, {"memory_limit": lambda: 2**33}, "needs more memory than reading may take here"),
    ],
)
def test_mat_that_never_ends_or_fits(tmp_path, monkeypatch, write, limit, sentence):
    inputs.mat73(tmp_path / "r.mat", write)
    for name, value in limit.items():
        monkeypatch.setattr(subprocess_reader, name, value)
    assert sentence in refusal(tmp_path / "r.mat")


def ending(code: int):
    """A stand-in for `subprocess.run` whose process ends with `code`."""
    return lambda arguments, **_: subprocess.CompletedProcess(arguments, code, stdout="what it said")


def test_mat_whose_reading_is_killed(tmp_path, monkeypatch):
    (tmp_path / "r.mat").write_bytes(b"")
    monkeypatch.setattr(subprocess_reader.subprocess, "run", ending(-9))
    assert "was killed, most often because memory ran out" in refusal(tmp_path / "r.mat")


def test_a_failure_that_is_not_the_files_keeps_its_reason(tmp_path, monkeypatch):
    (tmp_path / "r.mat").write_bytes(b"")
    monkeypatch.setattr(subprocess_reader.subprocess, "run", ending(1))
    with pytest.raises(RuntimeError, match="what it said"):
        read(tmp_path / "r.mat")


def test_modules_next_to_the_recording_are_not_imported(tmp_path, monkeypatch):
    for name in ("numpy", "h5py", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    mat(tmp_path, variables())
    monkeypatch.chdir(tmp_path)
    check_small(read("r.mat"))


@pytest.mark.parametrize("name", ["E65.mat", "E65_v73.mat"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_mat_cut_short(tmp_path, name, share):
    content = (paper_data_dir() / name).read_bytes()
    path = tmp_path / "r.mat"
    path.write_bytes(content[: int(share * len(content))])
    assert "not a whole MATLAB file" in refusal(path)


# The paper's files


def test_e65_is_the_same_in_both_matlab_versions():
    new, old = read(paper_data_dir() / "E65_v73.mat"), read(paper_data_dir() / "E65.mat")
    assert new.activity.shape == (7434, 375)
    assert new.activity.dtype == np.float32
    assert len(new.trial_ids) == 188
    assert (new.trial_ids[0], new.trial_ids[-1]) == (9, 210)
    assert len(new.covariates) == 24
    assert {"Trial", "Time", "Position", "Evidence", "NearestCueDistance"} <= set(new.covariates)
    assert list(old.covariates) == list(new.covariates)
    for name in ("activity", "trial", "time", "covariates"):
        np.testing.assert_equal(getattr(old, name), getattr(new, name))


def test_e65_facts():
    recording = read(paper_data_dir() / "E65_v73.mat")
    lengths = np.array([len(recording.frames_of(trial)) for trial in recording.trial_ids])
    assert (lengths.min(), lengths.max()) == (29, 78)
    assert (recording.activity == 0).mean() == pytest.approx(0.985, abs=0.001)
    assert (~recording.activity.any(axis=0)).sum() == 18
    intervals = np.concatenate([np.diff(recording.time[recording.frames_of(trial)]) for trial in recording.trial_ids])
    assert np.median(intervals) == pytest.approx(0.0706, abs=1e-4)


def test_the_synthetic_file_is_smaller_than_the_paper_says(synthetic_file):
    recording = synthetic_file
    assert recording.activity.shape == (2000, 60)
    assert [len(recording.frames_of(trial)) for trial in recording.trial_ids] == [200] * 10
    assert recording.time.max() == 199
    assert not recording.covariates


def test_the_synthetic_file_is_noise_free_gaussian_bumps_of_a_position_in_the_plane(synthetic_file):
    activity = synthetic_file.activity
    squared_distance = -2 * FIELD_WIDTH**2 * np.log(activity / PEAK)
    doubly_centred = squared_distance - squared_distance.mean(axis=0) - squared_distance.mean(axis=1, keepdims=True)
    doubly_centred += squared_distance.mean()
    singular_values = np.linalg.svd(doubly_centred, compute_uv=False)
    assert singular_values[2] < 1e-10 * singular_values[1]
    assert rms_step(doubly_centred, squared_distance) == pytest.approx(STEP, rel=0.01)


def rms_step(doubly_centred: np.ndarray, squared_distance: np.ndarray) -> float:
    """Root mean square displacement between frames, from squared distances ``(T, N)`` to unknown centres."""
    left, values, _ = np.linalg.svd(doubly_centred, full_matrices=False)
    affine = left[:, :2] * values[:2]  # positions up to an affine map of the plane
    # |x|^2 - 2 x.c + |c|^2 = d^2, averaged over neurons, is a quadratic form in the affine coordinates.
    u, v = affine.T
    terms = np.column_stack([u**2, 2 * u * v, v**2, u, v, np.ones_like(u)])
    a, b, c, *_ = np.linalg.lstsq(terms, squared_distance.mean(axis=1), rcond=None)[0]
    steps = np.diff(affine, axis=0)
    return float(np.sqrt(np.einsum("ti,ij,tj->t", steps, [[a, b], [b, c]], steps).mean()))
