"""What a recording says of itself before anything is trained, under both protocols."""

import numpy as np
import pytest

from odevae.data.frames import Frames, ReadingSettings, described, recording_of
from odevae.data.recording import Recording
from odevae.errors import OdevaeError
from odevae.protocols.audit import audit
from odevae.protocols.recipes import make_fold
from odevae.protocols.unusual import unusual

SETTINGS = {
    "published": {"bins": 12, "duration_s": 0.5, "drop_first_trials": 0, "landmarks": 10, "holdout": 2},
    "heldout": {"drop_first_trials": 0, "test_fraction": 0.1, "validation_fraction": 0.1, "seed": 0},
}
INTERVAL_S = 0.04

both = pytest.mark.parametrize("protocol", SETTINGS)


def session(n_trials=60, length=20, pause=0, **changes) -> Frames:
    """Trials of 0.8 s at 25 Hz, with a pause after each whose frames have the trial id NaN."""
    trial = np.concatenate([[number] * length + [np.nan] * pause for number in range(1, n_trials + 1)])
    activity = np.cumsum(np.random.default_rng(5).normal(size=(len(trial), 4)), axis=0)
    fields = {"activity": activity, "trial": trial, "time": 3.0 + INTERVAL_S * np.arange(len(trial))}
    return Frames(**(fields | changes))


def read(frames: Frames, **settings) -> Recording:
    return recording_of(frames, ReadingSettings(**settings), units="dF/F", source={"name": "mouse7"})


def audited(frames: Frames, protocol: str, **settings) -> dict:
    """The audit of a fold of these frames."""
    recording = read(frames, **settings)
    return audit(make_fold(protocol, recording, "pca", 0, SETTINGS[protocol]), recording)


def refusal(frames: Frames, protocol: str, **settings) -> str:
    with pytest.raises(OdevaeError) as caught:
        audited(frames, protocol, **settings)
    sentence = str(caught.value)
    assert sentence.startswith("mouse7") and sentence.endswith(".") and sentence.isprintable()
    return sentence


def with_gaps(n_frames=26_771, n_gaps=259, seed=3) -> Frames:
    """A long session in which frames were lost at many places, as cameras and microscopes lose them."""
    lost = np.sort(np.random.default_rng(seed).choice(np.arange(5, n_frames), n_gaps, replace=False))
    missing = np.zeros(n_frames, dtype=int)
    missing[lost] = 1 + np.arange(n_gaps) % 4
    time = INTERVAL_S * (np.arange(n_frames) + np.cumsum(missing))
    return session(1, n_frames, trial=np.arange(n_frames) // 90 + 1.0, time=time)


@both
def test_a_usual_recording_is_not_warned_of(protocol):
    found = audited(session(), protocol)
    assert found["unusual"] is None
    assert (found["irregular_trials"], found["filled_values"], found["outside_fraction"]) == (0, 0, 0.0)


def test_the_log_has_what_the_recording_is():
    said = described(read(session(pause=5)))
    for part in (
        "4 neurons (0 silent)",
        "1200 frames",
        "25 Hz",
        "60 trials",
        "300 frames outside",
        "0 irregular trials",
    ):
        assert part in said
    assert "0 missing values filled in" in said


# Trial ids, frames outside trials


@both
def test_ids_reused_by_blocks(protocol):
    blocks = session(trial=np.repeat(np.tile(np.arange(1.0, 13), 5), 20))
    sentence = refusal(blocks, protocol)
    assert (
        "12 of 12 trial ids come in several stretches of frames: 1 in 5 (frames 0-19, 240-259, 480-499, ...)"
        in sentence
    )
    assert "datasets.mouse7.renumber_trials: true" in sentence
    found = audited(blocks, protocol, renumber_trials=True)
    assert (found["usable_trials"], found["renumbered_trials"]) == (60, True)


@both
@pytest.mark.parametrize("value", [-1, 0])
def test_a_number_between_trials(protocol, value):
    trial = session(pause=5).trial
    marked = session(pause=5, trial=np.where(np.isnan(trial), value, trial))
    assert f"datasets.mouse7.no_trial: {value}" in refusal(marked, protocol)
    found = audited(marked, protocol, no_trial=value)
    assert (found["usable_trials"], found["frames_outside_trials"]) == (60, 300)
    assert found == audited(session(pause=5), protocol)


@both
def test_most_frames_outside_trials(protocol):
    found = audited(session(pause=30), protocol)
    assert found["outside_fraction"] == pytest.approx(0.6)
    assert "60% of its frames lie outside trials (1800)" in found["unusual"]


# The clock


@both
@pytest.mark.parametrize(
    ("unit", "time"),
    [
        ("ms", lambda s: 1e3 * s),
        ("days", lambda s: 738521.4 + s / 86400),
        ("frames", lambda s: np.rint(s / INTERVAL_S) + 5000),
    ],
)
def test_time_in_another_unit(protocol, unit, time):
    frames = session()
    frames = session(time=time(frames.time))
    assert f"set datasets.mouse7.time_unit to what it counts (most likely {unit})" in refusal(frames, protocol)
    found = audited(frames, protocol, time_unit=unit)
    rate, expected_unit = (1.0, "frames") if unit == "frames" else (25.0, "s")
    assert (found["frame_rate"], found["time_unit"]) == (pytest.approx(rate, rel=1e-3), expected_unit)
    assert found["unusual"] is None


@pytest.mark.parametrize(
    ("interval", "length", "part"),
    [
        (3.0, 20, "its frame rate is 0.3333 Hz, usual are 1 to 200 Hz (datasets.mouse7.time_unit)"),
        (0.5, 300, "its median trial is 149.5 s, usual are 0.3 to 120 s"),
        (0.04, 5, "its median trial has 5 frames"),
    ],
)
def test_a_clock_that_is_possible_but_unusual(interval, length, part):
    frames = session(length=length)
    found = read(session(length=length, time=interval * np.arange(len(frames.time))), time_unit="s")
    assert part in unusual(found)


# Gaps


@both
def test_259_gaps_in_26771_frames(protocol):
    frames = with_gaps()
    assert len(frames.time) == 26_771
    steps = np.diff(frames.time)
    irregular = np.unique(frames.trial[1:][(steps > 1.5 * INTERVAL_S) & (np.diff(frames.trial) == 0)])
    n_trials = len(np.unique(frames.trial))
    if protocol == "heldout":
        sentence = refusal(frames, protocol)
        assert f"{len(irregular)} of {n_trials} trials do not keep to the frame interval of 0.04 s" in sentence
        assert "the longest gap lacks 4 frames" in sentence
        assert "irregular_trials: drop" in sentence and "bridge_frames" in sentence
    else:
        found = audited(frames, protocol)
        assert found["irregular_trials"] == len(irregular)
        assert f"{len(irregular)} of {n_trials} trials do not keep to the frame interval" in found["unusual"]
    dropped = audited(frames, protocol, irregular_trials="drop")
    assert dropped["dropped_trials"] == irregular.tolist()
    assert f"{len(irregular)} of {n_trials} trials are left out" in dropped["unusual"]
    bridged = audited(frames, protocol, bridge_frames=4)
    within = np.rint(steps[(np.diff(frames.trial) == 0)] / INTERVAL_S) - 1
    assert (bridged["bridged_frames"], bridged["irregular_trials"]) == (within.sum(), 0)


# Few trials, silent neurons


@both
def test_11_trials(protocol):
    found = audited(session(11), protocol)
    assert "it has 11 trials, so a split that tests a tenth of them rests on 1" in found["unusual"]
    assert found["usable_trials"] == 11


@both
def test_many_silent_neurons(protocol):
    activity = session().activity
    activity[:, [0, 2]] = 1.5
    found = audited(session(activity=activity), protocol)
    assert found["silent_neurons"] == 2
    assert "2 of 4 neurons are silent (constant in all trials)" in found["unusual"]
    assert "4 neurons (2 silent)" in described(read(session(activity=activity)))


# Missing values


def with_missing(*places: tuple, pause=0) -> Frames:
    activity = session(pause=pause).activity
    for frame, neuron in places:
        activity[frame, neuron] = np.nan
    return session(pause=pause, activity=activity)


@both
def test_missing_values_between_trials_are_fine(protocol):
    frames = session(pause=5)
    frames.activity[np.isnan(frames.trial)] = np.nan
    assert audited(frames, protocol) == audited(session(pause=5), protocol)


@both
def test_missing_values_in_trials_are_refused_with_the_choice(protocol):
    sentence = refusal(with_missing((3, 1), (45, 1), (46, 2)), protocol)
    assert sentence.startswith(
        "mouse7: the activity is NaN in 3 of the 4800 values of its trials, in 2 of 60 trials (trials 1 and 3) and 2 "
        "of 4 neurons, first at frame 3, neuron 1; set datasets.mouse7.missing: drop"
    )
    assert "datasets.mouse7.missing: interpolate" in sentence


@both
def test_trials_with_missing_values_can_be_dropped(protocol):
    found = audited(with_missing((3, 1), (45, 1)), protocol, missing="drop")
    assert (found["usable_trials"], found["dropped_trials"], found["dropped_for_missing"]) == (58, [1, 3], [1, 3])
    said = described(read(with_missing((3, 1), (45, 1)), missing="drop"))
    assert "dropped for missing values: trials 1 and 3" in said and "irregular:" not in said


@both
def test_missing_values_can_be_interpolated(protocol):
    found = audited(with_missing((3, 1), (45, 1)), protocol, missing="interpolate")
    assert (found["usable_trials"], found["filled_values"]) == (60, 2)


def test_interpolation_is_on_a_line_in_time_within_the_trial_and_holds_its_ends():
    n = 40
    time = np.cumsum(np.random.default_rng(1).uniform(0.5, 1.5, n)) * INTERVAL_S
    line = np.stack([2 * time + 1, -time], axis=1)
    holes = line.copy()
    holes[[5, 6, 7], 0] = np.nan
    holes[[0, 1, 19], 1] = np.nan
    frames = Frames(holes, np.repeat([1.0, 2.0], 20), time)
    filled = read(frames, missing="interpolate", time_unit="s").activity
    np.testing.assert_allclose(filled[:, 0], line[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(filled[[0, 1, 19], 1], line[[2, 2, 18], 1])
    np.testing.assert_array_equal(filled[2:19, 1], line[2:19, 1])
    np.testing.assert_array_equal(frames.activity, holes)


@pytest.mark.parametrize(
    ("places", "settings", "part"),
    [
        ([(slice(20, 40), 1)], {"missing": "interpolate"}, "neuron 1 is NaN in all frames of trial 2"),
        ([(slice(None), 3)], {"missing": "drop"}, "the activity is NaN in all 60 trials"),
        ([(slice(None), 3)], {}, "the activity of 1 of 4 neurons is NaN in every frame of a trial, first neuron 3"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_the_neuron(places, settings, part):
    assert part in refusal(with_missing(*places), "heldout", **settings)


def test_many_filled_values_are_said():
    frames = with_missing((slice(0, 1200, 4), slice(None)))
    assert "25% of the values in its trials were missing and are interpolated" in unusual(
        read(frames, missing="interpolate")
    )


def test_a_warning_is_one_sentence_with_all_that_is_unusual():
    activity = session(11).activity
    activity[:, :3] = 0
    sentence = unusual(read(session(11, activity=activity)))
    assert sentence.startswith("mouse7 is unusual, so check the file and its settings: it has 11 trials")
    assert "; 3 of 4 neurons are silent" in sentence and sentence.isprintable()


def test_a_simulation_is_as_the_configuration_wants_it():
    frames = session(3)
    assert unusual(Recording(frames.activity, frames.trial.astype(int), frames.time)) is None
