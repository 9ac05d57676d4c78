"""Files that others recorded: what is wrong or unclear in them is said with the setting that helps, or works."""

import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import reader_inputs as inputs

from odevae.data.frames import ReadingSettings, described
from odevae.data.readers import paper_npz, read
from odevae.data.recording import Recording, require_covariates
from odevae.data.trials import usable_trials
from odevae.errors import OdevaeError
from odevae.protocols.audit import audit
from odevae.protocols.recipes import heldout, published

INTERVAL_S = 0.04
HELDOUT = {"drop_first_trials": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "seed": 0}
PUBLISHED = {"bins": 12, "duration_s": 0.5, "drop_first_trials": 0, "landmarks": 10, "holdout": 2}


def session(lengths=(12, 15, 11, 14, 13, 16), interval=INTERVAL_S, **changes) -> dict:
    """Variables of a session with a clock that goes on from trial to trial; trials are numbered from 1."""
    n_frames = sum(lengths)
    activity = np.cumsum(np.random.default_rng(5).normal(size=(n_frames, 4)), axis=0)
    arrays = {
        "roi": activity,
        "Trial": np.repeat(np.arange(len(lengths)) + 1, lengths),
        "Time": 3.0 + interval * np.arange(n_frames),
        "position": np.linspace(0, 300, n_frames),
    }
    return arrays | changes


def read_session(folder, arrays: dict, **settings) -> Recording:
    path = folder / "mouse7.npz"
    np.savez(path, **arrays)
    return read(path, name="mouse7", settings=ReadingSettings(**settings))


def refusal(folder, arrays: dict, **settings) -> str:
    with pytest.raises(OdevaeError) as caught:
        read_session(folder, arrays, **settings)
    sentence = str(caught.value)
    assert "mouse7" in sentence and sentence.endswith(".") and sentence.isprintable()
    return sentence


# B. The unit of Time

UNITS = {"ms": 1e-3, "us": 1e-6, "days": 86400.0, 60.0: 60.0, "s": 1.0}


@pytest.mark.parametrize("unit", UNITS)
def test_time_in_a_stated_unit_becomes_seconds(tmp_path, unit):
    arrays = session()
    recording = read_session(tmp_path, arrays | {"Time": arrays["Time"] / UNITS[unit]}, time_unit=unit)
    np.testing.assert_allclose(recording.time, arrays["Time"], rtol=1e-12)
    assert recording.reading["time_unit"] == "s"


@pytest.mark.parametrize(
    ("time", "guess"),
    [
        (lambda s: 1e3 * s, "ms"),
        (lambda s: np.rint(1e6 * s), "us"),
        (lambda s: 738521.4 + s / 86400, "days"),
        (lambda s: np.rint(s / INTERVAL_S) + 5000, "frames"),
        (lambda s: np.rint(1e3 * s) // 2 * 2, "ms"),
    ],
)
def test_time_that_cannot_be_seconds_is_refused_with_the_key_and_the_likely_unit(tmp_path, time, guess):
    arrays = session()
    sentence = refusal(tmp_path, arrays | {"Time": time(arrays["Time"])})
    assert f"set datasets.mouse7.time_unit to what it counts (most likely {guess})" in sentence


def test_a_stated_unit_that_cannot_be_is_refused_too(tmp_path):
    assert "Time cannot be in ms, because a frame would last 4e-05 s" in refusal(tmp_path, session(), time_unit="ms")
    hours = session(interval=4.0, lengths=(1000, 1200))
    assert "a trial 4396 s" in refusal(tmp_path, hours, time_unit="s")


def test_whole_seconds_are_believed_where_the_data_set_says_so(tmp_path):
    slow = session(interval=2.0)
    assert "whole steps only (median 2)" in refusal(tmp_path, slow)
    np.testing.assert_array_equal(read_session(tmp_path, slow, time_unit="s").time, slow["Time"])


def test_frame_numbers_are_used_as_they_are_and_the_audit_says_so(tmp_path):
    arrays = session(Time=np.arange(81.0) + 700)
    recording = read_session(tmp_path, arrays, time_unit="frames")
    np.testing.assert_array_equal(recording.time, arrays["Time"])
    fold = published(recording, "pca", 1, PUBLISHED | {"duration_s": 8.0})
    np.testing.assert_allclose(fold.raw.times[0], np.linspace(0, 8, 12), rtol=1e-6)
    found = audit(fold, recording)
    assert (found["time_unit"], found["frame_rate"], found["trial_lengths"]) == ("frames", 1.0, [10.0, 12.5, 15.0])
    assert "Time counts frames" in described(recording)


def test_the_clock_is_in_the_log_and_in_the_audit(tmp_path):
    recording = read_session(tmp_path, session())
    assert "25 Hz; 6 trials (ids 1 to 6) of 0.4 to 0.6 s, median 0.5" in described(recording)
    found = audit(heldout(recording, "pca", 0, HELDOUT), recording)
    assert found["frame_rate"] == pytest.approx(25)
    assert found["trial_lengths"] == pytest.approx([0.4, 0.5, 0.6])
    assert found["time_unit"] == "s"


# C. Ids that are used again


def blocks() -> dict:
    """Three blocks whose trials are numbered from 1 again."""
    return session(Trial=np.repeat([1, 2, 1, 2, 1, 3], (12, 15, 11, 14, 13, 16)))


def types() -> dict:
    """`Trial` holds the side of each trial; two trials of one side follow each other, with a clock of their own."""
    lengths = (12, 15, 11, 14, 13, 16)
    clock = INTERVAL_S * np.concatenate([np.arange(length) for length in lengths])
    return session(lengths, Trial=np.repeat([-1, 1, 1, -1, 1, -1], lengths), Time=clock)


def test_ids_of_several_stretches_are_named_with_where_they_lie(tmp_path):
    sentence = refusal(tmp_path, blocks())
    assert "2 of 3 trial ids come in several stretches of frames: 1 in 3 (frames 0-11, 27-37, 52-64), " in sentence
    assert "2 in 2 (frames 12-26, 38-51)" in sentence
    assert "set datasets.mouse7.renumber_trials: true" in sentence


@pytest.mark.parametrize("arrays", [blocks, types])
def test_stretches_can_be_numbered(tmp_path, arrays):
    arrays = arrays()
    recording = read_session(tmp_path, arrays, renumber_trials=True)
    np.testing.assert_array_equal(recording.trial, session()["Trial"])
    np.testing.assert_array_equal(recording.covariates["Trial"], arrays["Trial"])
    assert recording.reading["renumbered_trials"]
    assert "trials numbered in the order of the file" in described(recording)
    for protocol, settings in ((published, PUBLISHED), (heldout, HELDOUT)):
        assert len(protocol(recording, "pca", 0, settings).raw) == 6


# D. Frames outside trials


def with_pauses(value: float) -> dict:
    """A session with five frames before the first trial and after every second one; nothing is known of them."""
    parts = {name: list(np.split(array, [12, 27, 38, 52, 65])) for name, array in session().items()}
    for place in (6, 4, 2, 0):
        for name, pieces in parts.items():
            pieces.insert(place, np.full((5, 4) if name == "roi" else 5, value if name == "Trial" else np.nan))
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


@pytest.mark.parametrize(("value", "settings"), [(np.nan, {}), (0, {"no_trial": 0}), (-7, {"no_trial": -7})])
def test_frames_outside_trials_never_become_a_trial(tmp_path, value, settings):
    recording = read_session(tmp_path, with_pauses(value), **settings)
    expected = read_session(tmp_path, session())
    for name in ("activity", "trial", "time"):
        np.testing.assert_array_equal(getattr(recording, name), getattr(expected, name))
    np.testing.assert_array_equal(recording.covariates["position"], expected.covariates["position"])
    assert recording.reading["frames_outside_trials"] == 20
    assert "20 frames outside trials" in described(recording)
    for drop_first in (0, 2):
        np.testing.assert_array_equal(usable_trials(recording, drop_first), usable_trials(expected, drop_first))
    found = audit(heldout(recording, "pca", 0, HELDOUT), recording)
    assert found["frames_outside_trials"] == 20


def test_an_id_that_looks_like_no_trial_is_refused_with_the_key(tmp_path):
    assert "set datasets.mouse7.no_trial: 0 if the frames of 0 lie outside trials" in refusal(tmp_path, with_pauses(0))
    once = session(Trial=np.repeat([-1, 1, 2, 3, 4, 5], (12, 15, 11, 14, 13, 16)))
    sentence = refusal(tmp_path, once)
    assert "Trial is -1 in 12 frames, first at frame 0; set datasets.mouse7.no_trial: -1" in sentence
    assert read_session(tmp_path, once, no_trial=-1).trial_ids.tolist() == [1, 2, 3, 4, 5]


def test_a_trial_that_is_cut_in_two_by_frames_outside_is_refused(tmp_path):
    arrays = session(Trial=session()["Trial"].astype(float))
    arrays["Trial"][30:33] = np.nan
    assert "1 of 6 trial ids come in several stretches of frames: 3 in 2 (frames 27-29, 33-37)" in refusal(
        tmp_path, arrays
    )


def test_ids_may_begin_at_0_and_nothing_is_left_out_then(tmp_path):
    recording = read_session(tmp_path, session(Trial=session()["Trial"] - 1))
    assert recording.trial_ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert recording.reading["frames_outside_trials"] == 0


def test_a_file_of_frames_outside_trials_only(tmp_path):
    assert "all 81 frames lie outside trials" in refusal(tmp_path, session(Trial=np.full(81, np.nan)))


def test_sentences_count_frames_as_the_file_does(tmp_path):
    arrays = with_pauses(np.nan)
    arrays["roi"][17 + 3, 2] = np.inf
    assert "first at frame 20, neuron 2" in refusal(tmp_path, arrays)


# H. Irregular trials


def with_gaps() -> dict:
    """Ten trials on straight lines; frames are missing in three of them: one, two and one, and six in a row."""
    arrays = session((17,) * 10)
    arrays["roi"] = np.outer(arrays["Time"], [1.0, -2.0, 0.5, 3.0])
    lost = [17 * 2 + 5, 17 * 4 + 3, 17 * 4 + 4, 17 * 4 + 9, *range(17 * 7 + 4, 17 * 7 + 10)]
    return {name: np.delete(array, lost, axis=0) for name, array in arrays.items()}


def test_every_irregular_trial_is_counted_and_listed_with_the_settings(tmp_path):
    recording = read_session(tmp_path, with_gaps())
    with pytest.raises(OdevaeError) as caught:
        heldout(recording, "pca", 0, HELDOUT)
    sentence = str(caught.value)
    assert "3 of 10 trials do not keep to the frame interval of 0.04 s (4 of 150 steps; trials 3, 5 and 8;" in sentence
    assert "the longest gap lacks 6 frames" in sentence
    assert "datasets.mouse7.irregular_trials: drop" in sentence and "datasets.mouse7.bridge_frames" in sentence
    # The paper's protocol interpolates anyway.
    assert len(published(recording, "pca", 0, PUBLISHED).raw) == 10


def test_irregular_trials_can_be_dropped(tmp_path):
    recording = read_session(tmp_path, with_gaps(), irregular_trials="drop")
    assert recording.trial_ids.tolist() == [1, 2, 4, 6, 7, 9, 10]
    found = audit(heldout(recording, "pca", 0, HELDOUT), recording)
    assert (found["dropped_trials"], found["bridged_frames"]) == ([3, 5, 8], 0)
    assert "dropped as irregular: trials 3, 5 and 8" in described(recording)


def test_short_gaps_can_be_filled_on_a_line(tmp_path):
    recording = read_session(tmp_path, with_gaps(), irregular_trials="drop", bridge_frames=2)
    assert (recording.reading["dropped_trials"], recording.reading["bridged_frames"]) == ([8], 4)
    whole = session((17,) * 10)
    kept = whole["Trial"] != 8
    np.testing.assert_array_equal(recording.trial, whole["Trial"][kept])
    np.testing.assert_allclose(recording.time, whole["Time"][kept], rtol=1e-12)
    np.testing.assert_allclose(recording.activity, np.outer(whole["Time"][kept], [1.0, -2.0, 0.5, 3.0]), rtol=1e-12)
    np.testing.assert_allclose(recording.covariates["position"], whole["position"][kept], rtol=1e-9, atol=1e-9)
    assert audit(heldout(recording, "pca", 0, HELDOUT), recording)["bridged_frames"] == 4
    longer = read_session(tmp_path, with_gaps(), bridge_frames=6)
    np.testing.assert_allclose(longer.time, whole["Time"], rtol=1e-12)


def test_all_trials_of_one_frame_are_listed_and_can_be_dropped(tmp_path):
    arrays = session((1, 12, 15, 1, 14, 1, 13, 16, 9))
    assert "trials 1, 4 and 6 have one frame only" in refusal(tmp_path, arrays)
    recording = read_session(tmp_path, arrays, irregular_trials="drop")
    assert recording.reading["dropped_trials"] == [1, 4, 6]
    # The first id is that of the file, so that dropping trial 1 does not shift which trials are dropped.
    assert usable_trials(recording, 2).tolist() == [3, 5, 7, 8, 9]


def test_a_recording_of_irregular_trials_only(tmp_path):
    arrays = session((1, 1, 1))
    assert "all 3 trials are irregular" in refusal(tmp_path, arrays, irregular_trials="drop")


# I. Few trials


@pytest.mark.parametrize(("n_trials", "drop_first"), [(8, 7), (8, 6), (4, 2)])
def test_too_few_trials_after_dropping_are_refused_with_their_cause(tmp_path, n_trials, drop_first):
    recording = read_session(tmp_path, session((12,) * n_trials))
    with pytest.raises(OdevaeError) as caught:
        heldout(recording, "pca", 0, HELDOUT | {"drop_first_trials": drop_first})
    left = n_trials - drop_first
    sentence = f"mouse7: of {n_trials} trials, drop_first_trials: {drop_first} leaves {left}, and {left} trials cannot"
    assert str(caught.value).startswith(sentence)
    assert "lower datasets.mouse7.heldout.drop_first_trials" in str(caught.value)


def test_short_trials_only_are_refused_with_their_data_set(tmp_path):
    recording = read_session(tmp_path, session((5, 6, 7)))
    with pytest.raises(OdevaeError, match=r"mouse7: none of 3 trials is left .* fewer than 10 frames"):
        published(recording, "pca", 0, PUBLISHED)


# N. Arrays that nobody needs


def test_objects_that_are_not_needed_are_left_out(tmp_path):
    notes = np.array([{"lens": "16x"}, ["imaged", 3]], dtype=object)
    recording = read_session(tmp_path, session(notes=notes, opto=np.array([None] * 81)))
    assert sorted(recording.covariates) == ["position"]
    assert sorted(recording.source["left_out"]) == ["notes", "opto"]
    assert "no covariates: notes, opto" in described(recording)


@pytest.mark.parametrize("name", ["roi", "Trial", "Time", "latents"])
def test_objects_that_are_needed_are_named(tmp_path, name):
    objects = np.array([[1.0], [2.0, 3.0]], dtype=object)
    assert f"{name} is a pickled object array, which is never loaded" in refusal(tmp_path, session() | {name: objects})


def test_a_damaged_array_condemns_the_file_only_if_it_is_needed(tmp_path):
    path = tmp_path / "mouse7.npz"
    arrays = session(raw=np.full((81, 300), 7.25), eyes=np.full(81, 3.125))
    for name, pattern in {"raw": 7.25, "eyes": 3.125}.items():
        np.savez(path, **arrays)
        content = path.read_bytes()
        needle = np.float64(pattern).tobytes() * 4
        path.write_bytes(content.replace(needle, needle[::-1], 1))
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() == f"{name}.npy"
        if name == "raw":
            assert "eyes" in read(path, name="mouse7").covariates
        else:
            with pytest.raises(OdevaeError, match="the array eyes is damaged"):
                read(path, name="mouse7")


def test_an_array_that_is_not_needed_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(paper_npz, "memory_limit", lambda: 100_000)
    arrays = session(movie=np.zeros((81, 40, 40)))
    assert read_session(tmp_path, arrays).n_frames == 81
    assert "needs more memory than reading may take here" in refusal(tmp_path, arrays | {"roi": np.zeros((81, 400))})


# O. Sentences that name the wrong thing


def test_a_vector_is_one_neuron(tmp_path):
    arrays = session()
    recording = read_session(tmp_path, arrays | {"roi": arrays["roi"][:, 1]})
    np.testing.assert_array_equal(recording.activity, arrays["roi"][:, 1:2])
    assert len(heldout(recording, "neurons", 0, HELDOUT).raw) == 6
    assert "Trial has shape (81,) but the activity has shape (80,)" in refusal(
        tmp_path, arrays | {"roi": arrays["roi"][:80, 1]}
    )


@pytest.mark.parametrize("stored", [np.float32, np.float64])
def test_a_clock_that_repeats_for_want_of_digits_is_said_to(tmp_path, stored):
    """Seconds of the day and date in single precision; it may have been carried to double precision since."""
    clock = (1.7e6 + session()["Time"]).astype(np.float32).astype(stored)
    sentence = refusal(tmp_path, session(Time=clock))
    assert "Time repeats at" in sentence
    assert "single precision (float32), which resolves 0.12 at 1700003" in sentence
    assert "in order" not in sentence


def test_a_clock_that_repeats_or_runs_back_is_not_blamed_on_its_digits(tmp_path):
    clock = session()["Time"]
    clock[[30, 31, 70]] = clock[[29, 29, 69]]
    assert "Time repeats at 3 frames of trials 3 and 6, first at frame 30; give every frame its own time" in refusal(
        tmp_path, session(Time=clock)
    )
    clock[50] = 0
    sentence = refusal(tmp_path, session(Time=clock))
    assert "Time does not increase at 4 frames of trials 3, 4 and 6" in sentence
    assert "give each trial's frames in order" in sentence


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array(["go", "nogo", "go"] * 27), "it is text or other objects; store a number for each word"),
        (np.ones(6), "it has shape (6,), not one number for each of 81 frames"),
        (np.ones((81, 2)), "it has shape (81, 2), not one number for each of 81 frames"),
        (np.ones(81, complex), "it has type complex128; store real numbers"),
    ],
)
def test_a_variable_that_is_no_covariate_is_refused_with_the_reason(tmp_path, values, why):
    recording = read_session(tmp_path, session(cue=values))
    with pytest.raises(OdevaeError) as caught:
        require_covariates(["cue"], recording.covariates, "datasets.mouse7.decode", recording.source["left_out"])
    assert str(caught.value) == (
        f"config: datasets.mouse7.decode: 'cue' is in the file but is no covariate: {why}; the recording has position."
    )


def test_text_in_a_matlab_file_is_refused_with_the_reason(tmp_path):
    words = np.empty((81, 1), dtype=object)
    words[:] = "go"
    (tmp_path / "mouse7.mat").write_bytes(inputs.mat(session(cue=words), tmp_path, "v7.3"))
    assert read(tmp_path / "mouse7.mat").source["left_out"] == {
        "cue": "it is text or other objects; store a number for each word"
    }


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_hdf5_that_matlab_did_not_write_is_said_to_be(tmp_path, header, compressed):
    path = tmp_path / "mouse7.mat"
    with h5py.File(path, "w", userblock_size=inputs.MAT73_BLOCK if header else 0) as file:
        for name, values in session().items():
            file.create_dataset(name, data=values, compression="gzip" if compressed else None)
    if header:
        inputs.as_mat73(path)
    with pytest.raises(OdevaeError) as caught:
        read(path)
    assert "is HDF5 that MATLAB did not write" in str(caught.value)
    assert "save it again in MATLAB" not in str(caught.value)


def test_settings_say_nothing_of_what_they_do_not_change(tmp_path):
    """The recording of a plain file is the same with and without the settings that it does not need."""
    plain = read_session(tmp_path, session())
    same = read_session(tmp_path, session(), no_trial=0, irregular_trials="drop", bridge_frames=3, time_unit="s")
    assert plain.source == same.source
    for name in ("activity", "trial", "time"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))
    assert replace(plain, source={}).reading == plain.reading
