"""Trials of a continuous session: tables, intervals of the file, events and windows."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odevae.data.frames import Frames, ReadingSettings, described, recording_of
from odevae.data.readers import read
from odevae.data.recording import Recording
from odevae.data.session_trials import Session, Windows, trial_source, trials_of_session
from odevae.errors import OdevaeError
from odevae.protocols.audit import audit
from odevae.protocols.recipes import heldout, published

INTERVAL_S = 0.04
T = 1000
HELDOUT = {"drop_first_trials": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "seed": 0}
PUBLISHED = {"bins": 12, "duration_s": 0.5, "drop_first_trials": 0, "landmarks": 10, "holdout": 2}
PROTOCOLS = {"published": (published, PUBLISHED), "heldout": (heldout, HELDOUT)}


def frames(**changes) -> Frames:
    """40 s of four neurons at 25 Hz, with a covariate that is 1 for 0.2 s every 4 s, first at 2 s."""
    time = INTERVAL_S * np.arange(T)
    activity = np.cumsum(np.random.default_rng(5).normal(size=(T, 4)), axis=0)
    pulses = ((np.arange(T) % 100 >= 50) & (np.arange(T) % 100 < 55)).astype(float)
    made = Frames(activity, None, time, {"lever": pulses, "position": np.linspace(0, 300, T)})
    return replace(made, **changes)


def recording(found: Frames, trials: dict, **settings) -> Recording:
    settings = ReadingSettings.of({"time_unit": "s", "trials": trials} | settings)
    return recording_of(found, settings, units="dF/F", source={"name": "mouse7"})


def refusal(found: Frames, trials: dict, **settings) -> str:
    with pytest.raises(OdevaeError) as caught:
        recording(found, trials, **settings)
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.isprintable()
    return sentence


def table(folder, text: str) -> dict:
    path = folder / "trials.csv"
    path.write_text(text, encoding="utf-8")
    return {"table": str(path)}


def spans(found: Recording) -> list[tuple[float, float, int]]:
    """First and last time of each trial, and its number of frames."""
    return [(*found.time[found.frames_of(i)][[0, -1]].round(9), len(found.frames_of(i))) for i in found.trial_ids]


# Tables


def test_a_table_cuts_trials_and_its_columns_are_conditions(tmp_path):
    trials = table(tmp_path, "start, stop, contrast, side\n1.0,2.0,0.5,left\n3.0,4.2,,right\n10,11,1,left\n")
    found = recording(frames(), trials)
    assert spans(found) == [(1.0, 1.96, 25), (3.0, 4.16, 30), (10.0, 10.96, 25)]
    contrast = [found.covariates["contrast"][found.frames_of(i)] for i in (1, 2, 3)]
    np.testing.assert_array_equal([np.unique(values)[0] for values in contrast], [0.5, np.nan, 1.0])
    assert all(len(np.unique(values)) == 1 for values in contrast)
    assert found.source["left_out"] == {"side": "it is text; store a number for each word"}
    assert found.reading["frames_outside_trials"] == T - 80
    assert "3 trials of the table trials.csv" in described(found)


def test_trials_have_the_number_of_their_row(tmp_path):
    found = recording(frames(), table(tmp_path, "stop,start\n11,10\n2,1\n"))
    assert [span[0] for span in spans(found)] == [10.0, 1.0]


def test_a_table_in_frames(tmp_path):
    trials = table(tmp_path, "start,stop\n25,50\n75,105\n")
    assert spans(recording(frames(), trials | {"unit": "frames"})) == [(1.0, 1.96, 25), (3.0, 4.16, 30)]
    # Numbers of frames mean the same whatever the clock does.
    clocks = frames(time=INTERVAL_S * (np.arange(T) % 500))
    assert len(recording(clocks, trials | {"unit": "frames"}).trial_ids) == 2
    seconds = refusal(clocks, trials)
    assert "Time goes back at 1 frames, first at frame 500" in seconds and "trials.unit: frames" in seconds


def test_a_table_is_in_seconds_where_time_is_in_ms(tmp_path):
    trials = table(tmp_path, "start,stop\n1.0,2.0\n3.0,4.2\n")
    in_ms = frames(time=40.0 * np.arange(T))
    assert spans(recording(in_ms, trials, time_unit="ms")) == spans(recording(frames(), trials))
    assert "time_unit to what it counts (most likely ms)" in refusal(in_ms, trials, time_unit=None)


@pytest.mark.parametrize(
    ("text", "unit", "part"),
    [
        ("start,end\n1,2\n", "s", "lacks the column stop (it has start, end)"),
        ("start;stop\n1;2\n", "s", "separate columns by commas"),
        ("", "s", "is no table of trials (EmptyDataError while reading)"),
        ("start,stop\n", "s", "holds text; give numbers"),
        ("start,stop\n1,two\n", "s", "the column stop holds text"),
        ("start,stop\n1,2\n3,3\n", "s", "1 of 2 trials do not end after their start, first in row 2 (start 3, stop 3)"),
        ("start,stop\n1,2\n3,\n", "s", "first in row 2 (start 3, stop nan)"),
        (
            "start,stop\n1,2\n1.5,3\n",
            "s",
            "trials 1 and 2 share 12 frames (2 trials of the table trials.csv), first frame 38",
        ),
        ("start,stop\n1000,2000\n", "s", "none of 1 trials has two frames inside the recording"),
        ("start,stop\n1,2.5\n", "frames", "start and stop of row 1 are no numbers of frames of a recording of 1000"),
        ("start,stop\n990,1001\n", "frames", "start and stop of row 1 are no numbers of frames"),
        ("start,stop,lever\n1,2,1\n", "s", "the recording has a covariate lever too"),
        ("start,stop,a\x1bb\n1,2,1\n", "s", "a column has the name 'a\\x1bb'"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_row(tmp_path, text, unit, part):
    sentence = refusal(frames(), table(tmp_path, text) | {"unit": unit})
    assert part in sentence and ("trials.csv" in sentence)


def test_trials_outside_of_what_was_recorded_are_left_out_and_counted(tmp_path):
    found = recording(frames(), table(tmp_path, "start,stop\n-5,-4\n1,2\n39,45\n5,6\n"))
    assert found.trial_ids.tolist() == [2, 4]
    assert "rows 1, 3 left out, because they were not recorded whole" in described(found)


def test_the_table_is_part_of_the_source_of_a_file(tmp_path):
    made = frames()
    np.savez(tmp_path / "mouse7.npz", roi=made.activity, Time=made.time, lever=made.covariates["lever"])
    trials = table(tmp_path, "start,stop\n1,2\n3,4\n")
    found = read(tmp_path / "mouse7.npz", settings=ReadingSettings.of({"trials": trials}))
    parts = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("mouse7.npz", "trials.csv")]
    assert found.source["sha256"] == hashlib.sha256("\n".join(parts).encode()).hexdigest()
    assert found.source["file"] == "mouse7.npz, trials.csv"


# Intervals of the file


def test_intervals_of_the_file_are_in_its_unit_of_time():
    bounds = {"trials": np.array([[1000.0, 2000.0], [3000.0, 4200.0]])}
    found = recording(frames(time=40.0 * np.arange(T), intervals=bounds), {"intervals": "trials"}, time_unit="ms")
    assert spans(found) == [(1.0, 1.96, 25), (3.0, 4.16, 30)]
    sentence = refusal(frames(intervals=bounds), {"intervals": "cues"})
    assert "datasets.mouse7.trials.intervals: the file has no intervals 'cues'; it has trials" in sentence


def test_trials_of_the_file_are_replaced_and_stay_as_a_covariate():
    old = np.repeat([1.0, 2.0], T // 2)
    found = recording(frames(trial=old), {"window_s": 5})
    np.testing.assert_array_equal(found.covariates["Trial"], old)
    assert len(found.trial_ids) == 8


# Events


def test_trials_begin_where_a_covariate_leaves_0():
    found = recording(frames(), {"covariate": "lever", "duration_s": 1})
    assert spans(found) == [(2.0 + 4 * k, 2.96 + 4 * k, 25) for k in range(10)]
    assert "from 10 events, where lever leaves 0, each 1 s long" in described(found)


def test_trials_go_from_one_event_to_the_next():
    found = recording(frames(), {"covariate": "lever"})
    assert spans(found) == [(2.0 + 4 * k, 5.96 + 4 * k, 100) for k in range(9)]


def test_trials_begin_where_a_covariate_reaches_a_threshold():
    found = recording(frames(), {"covariate": "position", "threshold": 150, "duration_s": 2})
    first = np.flatnonzero(frames().covariates["position"] >= 150)[0]
    assert spans(found) == [(round(first * INTERVAL_S, 9), round((first + 49) * INTERVAL_S, 9), 50)]


def test_events_within_a_trial_and_trials_that_are_cut_short_are_counted():
    found = recording(frames(), {"covariate": "lever", "duration_s": 5})
    assert [span[0] for span in spans(found)] == [2.0, 10.0, 18.0, 26.0, 34.0]
    said = described(found)
    assert "4 events within the trial of another begin none" not in said
    assert "5 events within the trial of another begin none" in said
    longer = recording(frames(), {"covariate": "lever", "duration_s": 7})
    assert [span[0] for span in spans(longer)] == [2.0, 10.0, 18.0, 26.0]
    assert "2 trials that were not recorded whole are left out" in described(longer)


@pytest.mark.parametrize(
    ("trials", "part"),
    [
        ({"covariate": "lick"}, "no covariate 'lick' with a number for each frame; the recording has lever, position"),
        ({"covariate": "lever", "threshold": 2}, "lever never reaches 2 from below, it lies between 0 and 1"),
        (
            {"covariate": "lever", "duration_s": 60},
            "after none of 10 events the recording goes on for duration_s, 60 s",
        ),
        ({"covariate": "position", "threshold": 1}, "position has 1 events, and none has a next one; give duration_s"),
    ],
)
def test_events_that_begin_no_trial_are_refused(trials, part):
    assert part in refusal(frames(), trials)


# Windows


def test_windows_are_trials_with_their_number():
    found = recording(frames(), {"window_s": 3, "gap_s": 1})
    assert spans(found) == [(4.0 * k, 4.0 * k + 2.96, 75) for k in range(10)]
    np.testing.assert_array_equal(found.covariates["window"], np.repeat(np.arange(1.0, 11), 75))
    assert set(found.covariates["session"]) == {1.0}
    assert "windows of 3 s, 1 s apart" in described(found)


def test_windows_do_not_cross_sessions_nor_pauses():
    time = INTERVAL_S * (np.arange(T) % 500)
    found = recording(frames(time=time), {"window_s": 6})
    assert spans(found) == [(0.0, 5.96, 150), (6.0, 11.96, 150), (12.0, 17.96, 150)] * 2
    assert sorted(set(found.covariates["session"])) == [1.0, 2.0]
    # A pause of 3 s in the middle: the window in which it begins is not whole.
    paused = frames(time=frames().time + 3.0 * (np.arange(T) >= 480))
    found = recording(paused, {"window_s": 4})
    assert [span[0] for span in spans(found)] == [0.0, 4.0, 8.0, 12.0, 24.0, 28.0, 32.0, 36.0]
    assert "2 windows that were not recorded whole are left out" in described(found)


def test_sessions_that_are_too_short_for_a_window_are_counted():
    time = INTERVAL_S * np.concatenate([np.arange(100), np.arange(800), np.arange(100)])
    found = recording(frames(time=time), {"window_s": 8})
    assert set(found.covariates["session"]) == {2.0}
    assert "2 of 3 sessions are too short for a window" in described(found)


def test_a_recording_without_room_for_a_window_is_refused():
    assert "the longest stretch of the recording lasts 40 s; lower window_s" in refusal(frames(), {"window_s": 50})


@given(
    interval=st.floats(0.001, 2.0),
    bins=st.integers(2, 40),
    gap=st.integers(0, 5),
    start=st.floats(-1e5, 1e5),
    n_frames=st.integers(100, 400),
)
def test_windows_of_whole_frames_have_all_their_frames(interval, bins, gap, start, n_frames):
    session = Session("mouse7", start + interval * np.arange(n_frames))
    trial, found = trials_of_session(Windows(bins * interval, gap * interval), session)
    assert [len(f) for f in found.frames] == [bins] * len(found.frames)
    assert len(found.frames) in (n_frames // (bins + gap), (n_frames + gap) // (bins + gap))
    np.testing.assert_array_equal([f[0] for f in found.frames], (bins + gap) * np.arange(len(found.frames)))
    assert np.isfinite(trial).sum() == bins * len(found.frames)


def test_windows_in_frame_numbers():
    found = recording(frames(time=np.arange(float(T))), {"window_s": 100}, time_unit="frames")
    assert [span[2] for span in spans(found)] == [100] * 10


# What follows


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["table", "intervals", "covariate", "window_s"])
def test_both_protocols_take_trials_of_any_source(tmp_path, protocol, kind):
    bounds = np.stack([2.0 + 4 * np.arange(9), 5.0 + 4 * np.arange(9)], axis=1)
    text = "start,stop\n" + "".join(f"{start},{stop}\n" for start, stop in bounds)
    trials = {
        "table": table(tmp_path, text),
        "intervals": {"intervals": "trials"},
        "covariate": {"covariate": "lever", "duration_s": 3},
        "window_s": {"window_s": 3, "gap_s": 1},
    }[kind]
    # Nothing is known of the frames between the trials.
    activity, place = frames().activity, np.arange(T) % 100
    activity[(place > 75) & (place < 99) if kind == "window_s" else (place > 25) & (place < 49)] = np.nan
    found = recording(frames(activity=activity, intervals={"trials": bounds}), trials)
    make, settings = PROTOCOLS[protocol]
    group = {"group_by": "block"} if kind == "window_s" and protocol == "heldout" else {}
    fold = make(found, "pca", 0, settings | group)
    about = audit(fold, found, **group)
    assert about["trials_from"] == found.reading["trials_from"] and about["trials_from"]
    assert about["frames_outside_trials"] == T - found.n_frames
    assert len(fold.raw) == len(found.trial_ids) >= 9


def test_no_trial_and_no_entry_names_the_options():
    with pytest.raises(OdevaeError) as caught:
        recording_of(frames(), ReadingSettings(time_unit="s"), units="dF/F", source={"name": "mouse7"})
    sentence = str(caught.value)
    assert sentence.startswith("mouse7: the file has no Trial") and sentence.count(". ") == 0
    for option in ("datasets.mouse7.trials", "table", "intervals", "covariate", "window_s"):
        assert option in sentence


def test_each_source_has_its_key():
    assert trial_source({"window_s": 2, "gap_s": 1}) == Windows(2, 1)
