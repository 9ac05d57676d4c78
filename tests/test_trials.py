from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.data.recording import Recording
from odevae.data.trials import cut, interpolated, resample, usable_trials
from odevae.errors import OdevaeError


def with_trials(trial) -> Recording:
    trial = np.asarray(trial)
    return Recording(
        activity=np.arange(2.0 * len(trial)).reshape(-1, 2), trial=trial, time=np.arange(len(trial), dtype=float)
    )


# Which trials are used


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (range(5, 17), [15, 16]),
        (range(5, 16), [15]),
        # No more than ten trials exist: nothing is dropped.
        (range(5, 15), list(range(5, 15))),
        # The rule is about ids, not about ranks.
        ([1, 2, 3, 20, 21, 22, 23, 24, 25, 26, 27], [20, 21, 22, 23, 24, 25, 26, 27]),
    ],
)
def test_the_first_ids_are_dropped_only_if_more_trials_than_that_exist(ids, kept):
    assert usable_trials(with_trials(np.repeat(list(ids), 3)), drop_first=10).tolist() == kept


def test_dropping_none_keeps_all():
    assert usable_trials(with_trials(np.repeat([4, 9], 2)), drop_first=0).tolist() == [4, 9]


def test_short_trials_are_left_out():
    recording = with_trials([1] * 9 + [2] * 10 + [3] * 11)
    assert usable_trials(recording, drop_first=0, min_frames=10).tolist() == [2, 3]


def test_no_trial_left_is_refused_with_what_to_do():
    with pytest.raises(OdevaeError, match="lower drop_first_trials of datasets"):
        usable_trials(with_trials([1] * 4 + [2] * 4), drop_first=0, min_frames=5)
    with pytest.raises(OdevaeError, match="dropping the first 1 ids"):
        usable_trials(with_trials([1] * 9 + [2] * 4), drop_first=1, min_frames=5)


# Native frames


def test_cut_by_hand(make_recording):
    recording = make_recording([4, 2, 7])
    trials = cut(recording, recording.activity, np.array([1, 2, 3]))
    assert trials.values.shape == (3, 7, 4)
    assert trials.values.dtype == np.float32
    assert trials.mask.sum(axis=1).tolist() == [4, 2, 7]
    np.testing.assert_array_equal(trials.mask, trials.recorded)
    np.testing.assert_array_equal(trials.values[1, :2], recording.activity[4:6].astype(np.float32))
    np.testing.assert_array_equal(trials.values[1, 2:], 0)
    np.testing.assert_allclose(trials.times[2], 0.1 * np.arange(7), atol=1e-9)
    np.testing.assert_allclose(trials.times[0], [0, 0.1, 0.2, 0.3, 0, 0, 0], atol=1e-9)
    np.testing.assert_array_equal(trials.covariates["speed"][2], recording.covariates["speed"][6:])
    np.testing.assert_array_equal(trials.latents[0, :4], recording.latents[:4])
    assert trials.trial_ids.tolist() == [1, 2, 3]


def test_cut_takes_the_trials_in_the_order_asked_for(make_recording):
    recording = make_recording([4, 2, 7])
    trials = cut(recording, recording.activity, np.array([2, 1]))
    assert trials.values.shape[1] == 4
    np.testing.assert_array_equal(trials.values[1], recording.activity[:4].astype(np.float32))


def test_frames_of_a_trial_need_not_be_neighbours():
    recording = with_trials([1, 2, 1, 2, 1])
    trials = cut(recording, recording.activity, np.array([1, 2]))
    assert trials.values[0, :, 0].tolist() == [0, 4, 8]
    assert trials.times[1].tolist() == [0, 2, 0]


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_cutting_loses_and_invents_no_frame(make_recording, lengths, seed):
    recording = make_recording(lengths, seed=seed)
    trials = cut(recording, recording.activity, recording.trial_ids)
    np.testing.assert_array_equal(trials.values[trials.mask], recording.activity.astype(np.float32))
    assert not trials.values[~trials.mask].any()
    np.testing.assert_array_equal(trials.mask.sum(axis=1), lengths)


def test_take_may_repeat_rows(make_recording):
    recording = make_recording([4, 2, 7])
    trials = cut(recording, recording.activity, recording.trial_ids)
    taken = trials.take(np.array([2, 0, 2]))
    assert len(taken) == 3
    assert taken.trial_ids.tolist() == [3, 1, 3]
    for name in ("values", "mask", "recorded", "times", "latents"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(trials, name)[[2, 0, 2]])
    np.testing.assert_array_equal(taken.covariates["speed"], trials.covariates["speed"][[2, 0, 2]])


# The paper's grid


def test_resampling_is_linear_interpolation_held_at_the_last_frame(make_recording):
    recording = make_recording([13, 31, 8])
    trials = resample(recording, recording.trial_ids, bins=23, duration_s=2.2)
    grid = np.linspace(0, 2.2, 23)
    for row, trial_id in enumerate(recording.trial_ids):
        frames = recording.frames_of(trial_id)
        since_onset = recording.time[frames] - recording.time[frames][0]
        for neuron in range(4):
            expected = np.interp(grid, since_onset, recording.activity[frames, neuron])
            np.testing.assert_allclose(trials.values[row, :, neuron], expected, atol=1e-4)
        np.testing.assert_allclose(
            trials.covariates["speed"][row],
            np.interp(grid, since_onset, recording.covariates["speed"][frames]),
            atol=1e-4,
        )
    assert trials.latents.shape == (3, 23, 3)
    # The first trial ends at 1.2 s: bin 12 is its last, the rest repeat its last frame.
    np.testing.assert_array_equal(trials.values[0, 13:], np.tile(trials.values[0, -1], (10, 1)))
    np.testing.assert_allclose(trials.values[0, -1], recording.activity[12], rtol=1e-6)


def test_padding_counts_but_was_not_recorded(make_recording):
    recording = make_recording([13, 31, 8])
    trials = resample(recording, recording.trial_ids, bins=23, duration_s=2.2)
    assert trials.mask.all()
    # Last frames at 1.2, 3.0 and 0.7 s; bins every 0.1 s. Single precision decides the bin on the very end.
    counts = trials.recorded.sum(axis=1)
    assert counts[1] == 23
    assert counts[0] in (12, 13)
    assert counts[2] in (7, 8)
    assert (np.diff(trials.recorded.astype(int), axis=1) <= 0).all()
    np.testing.assert_allclose(trials.times, np.tile(np.linspace(0, 2.2, 23), (3, 1)), atol=1e-6)


def test_frames_after_the_duration_are_not_used(make_recording):
    recording = make_recording([40])
    values = recording.activity.copy()
    recording = replace(recording, activity=values)
    before = resample(recording, recording.trial_ids, bins=10, duration_s=1.05)
    values[11:] = 1e6  # the frame at 1.1 s still takes part in the last bin
    after = resample(recording, recording.trial_ids, bins=10, duration_s=1.05)
    np.testing.assert_array_equal(before.values[:, :-1], after.values[:, :-1])
    assert after.values[0, -1, 0] != before.values[0, -1, 0]
    values[12:] = -1e6
    again = resample(recording, recording.trial_ids, bins=10, duration_s=1.05)
    np.testing.assert_array_equal(again.values, after.values)


def test_resampling_transforms_the_frames_before_it_interpolates(make_recording):
    recording = make_recording([13, 31, 8])
    grid = {"bins": 23, "duration_s": 2.2}
    squared = replace(recording, activity=np.square(recording.activity)[:, :2])
    found = resample(recording, recording.trial_ids, **grid, transform=lambda frames: np.square(frames)[:, :2])
    np.testing.assert_array_equal(found.values, resample(squared, recording.trial_ids, **grid).values)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n_known=st.integers(2, 30), missing=st.integers(0, 3))
def test_interpolation_has_the_bits_of_numpy(seed, n_known, missing):
    generator = np.random.default_rng(seed)
    known = np.append(0.0, np.cumsum(generator.uniform(0.01, 0.2, n_known - 1))).astype(np.float32)
    values = generator.standard_normal((n_known, 3))
    values[generator.integers(0, n_known, missing)] = np.nan
    # Times between, on and after the known ones.
    times = np.sort(np.concatenate([np.linspace(0, 1.2 * known[-1], 25, dtype=np.float32), known]))
    expected = np.stack([np.interp(times, known, column) for column in values.T], axis=1)
    np.testing.assert_array_equal(interpolated(times, known, values), expected)
