import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.data.recording import Recording, load_recording, save_recording
from odevae.errors import OdevaeError


def small(**changes) -> Recording:
    """Two trials of three frames, four neurons."""
    parts = {
        "activity": np.arange(24, dtype=np.float32).reshape(6, 4),
        "trial": np.array([3, 3, 3, 7, 7, 7]),
        "time": np.array([0.0, 0.1, 0.2, 0.05, 0.1, 0.3]),
        "source": {"name": "small"},
    }
    return Recording(**(parts | changes))


def test_counts_and_trials():
    recording = small()
    assert (recording.n_frames, recording.n_neurons, recording.name) == (6, 4, "small")
    assert recording.trial_ids.tolist() == [3, 7]
    assert recording.frames_of(7).tolist() == [3, 4, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariates", [{}, {"x": np.array([1.0, np.nan, 2, 3, 4, 5]), "Trial": np.arange(6.0)}])
@pytest.mark.parametrize("latents", [None, np.ones((6, 2))])
def test_the_canonical_file_gives_back_what_was_written(tmp_path, dtype, covariates, latents):
    before = small(activity=np.ones((6, 4), dtype), covariates=covariates, latents=latents, units="a.u.")
    save_recording(before, tmp_path / "recording.npz")
    after = load_recording(tmp_path / "recording.npz")
    assert after.activity.dtype == dtype
    assert list(after.covariates) == list(covariates)
    np.testing.assert_equal(vars(after), vars(before))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"activity": np.zeros((6, 4), int)}, "floating"),
        ({"activity": np.zeros(6)}, "frames x neurons"),
        ({"activity": np.zeros((6, 0))}, "empty"),
        (
            {"activity": np.full((6, 4), np.nan)},
            "the activity is NaN or infinite in 24 of its 24 values, first at frame 0",
        ),
        ({"trial": np.array([3, 3, 3, 7, 7])}, "Trial has shape"),
        ({"trial": np.array([3, 3, 3, 7, 7, 8])}, "trial 8 has one frame only"),
        ({"trial": np.array([3.0, 3, 3, 7, 7, 7])}, "whole numbers"),
        ({"time": np.arange(5.0)}, "Time has shape"),
        ({"time": np.array([0, 1, 2, 0, 1, np.inf])}, "Time is NaN or infinite at frame 5"),
        ({"time": np.array([0.0, 1, 1, 0, 1, 2])}, "Time repeats at 1 frames of trial 3, first at frame 2"),
        ({"covariates": {"speed": np.zeros(5)}}, "speed has shape"),
        ({"latents": np.zeros((5, 2))}, "the latents have shape"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(OdevaeError, match=r"^small: ") as refusal:
        small(**changes)
    assert sentence in str(refusal.value)


def test_a_cut_or_missing_canonical_file_is_refused(tmp_path):
    path = tmp_path / "recording.npz"
    with pytest.raises(OdevaeError, match=r"recording\.npz: cannot be read .*; delete it and run the workflow again"):
        load_recording(path)
    save_recording(small(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OdevaeError, match=r"recording\.npz: cannot be read .*; delete it and run the workflow again"):
        load_recording(path)


def test_a_file_of_another_format_version_is_refused(tmp_path):
    path = tmp_path / "recording.npz"
    save_recording(small(), path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | {"schema": np.array(1)}))
    with pytest.raises(OdevaeError, match=r"another version of odevae \(schema 1, this one reads 2\)"):
        load_recording(path)


@given(content=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_refused_as_a_canonical_file(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "recording.npz"
    path.write_bytes(content)
    with pytest.raises(OdevaeError):
        load_recording(path)
