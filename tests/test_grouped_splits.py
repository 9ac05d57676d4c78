"""Trials that belong together are held out together, with a gap to the others; the audit counts what is shared."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import HELDOUT_SMALL, PUBLISHED_SMALL
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from odevae.data.recording import Recording
from odevae.errors import OdevaeError
from odevae.protocols.audit import audit
from odevae.protocols.groups import time_to_nearest, trial_groups
from odevae.protocols.recipes import heldout, published
from odevae.protocols.splits import grouped_trials, with_gap


def sessions(recording: Recording, sizes) -> Recording:
    """The recording with trials in sessions of the given numbers of trials; each session has its own clock."""
    number = np.repeat(np.arange(1.0, len(sizes) + 1), sizes)
    first = {row: recording.time[recording.frames_of(recording.trial_ids[row])[0]] for row in range(len(number))}
    starts = [first[int(np.argmax(number == session))] for session in number]
    lengths = [len(recording.frames_of(i)) for i in recording.trial_ids]
    covariate, time = np.repeat(number, lengths), recording.time - np.repeat(starts, lengths)
    return replace(recording, time=time, covariates=recording.covariates | {"session": covariate})


# Splits


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=14),
    test_fraction=st.floats(0.01, 0.5),
    validation_fraction=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**32 - 1),
    shuffled=st.randoms(use_true_random=False),
)
def test_no_group_is_in_two_parts_and_each_is_tested_once(sizes, test_fraction, validation_fraction, seed, shuffled):
    n_groups = len(sizes)
    n_test, n_validation = (max(1, round(share * n_groups)) for share in (test_fraction, validation_fraction))
    assume(n_groups > 2 and n_groups - n_test - n_validation >= 1)
    groups = np.repeat(np.arange(n_groups) * 2.5, sizes)
    shuffled.shuffle(groups)
    n_splits = math.ceil(n_groups / n_test)
    tested = []
    for split in range(n_splits):
        parts = grouped_trials(groups, test_fraction, validation_fraction, seed, split)
        again = grouped_trials(groups, test_fraction, validation_fraction, seed, split)
        np.testing.assert_equal(parts, again)
        of_part = {name: set(groups[rows]) for name, rows in parts.items()}
        assert sorted(np.concatenate(list(parts.values()))) == list(range(len(groups)))
        assert all(len(rows) and (np.diff(rows) > 0).all() for rows in parts.values())
        assert sum(map(len, of_part.values())) == len(set.union(*of_part.values())) == n_groups
        assert n_groups // n_splits <= len(of_part["test"]) <= n_test and len(of_part["validation"]) == n_validation
        tested += [*of_part["test"]]
    assert sorted(tested) == sorted(set(groups))
    with pytest.raises(OdevaeError, match=f"no split {n_splits}, because splits 0 to {n_splits - 1} test each"):
        grouped_trials(groups, test_fraction, validation_fraction, seed, n_splits)


def test_each_split_tests_one_of_three_programs():
    groups = np.repeat([1.0, 2.0, 3.0], 4)
    found = [grouped_trials(groups, 0.1, 0.1, 0, split) for split in range(3)]
    of_part = [{name: np.unique(groups[rows]).tolist() for name, rows in parts.items()} for parts in found]
    assert of_part == [
        {"test": [1], "validation": [2], "train": [3]},
        {"test": [2], "validation": [3], "train": [1]},
        {"test": [3], "validation": [1], "train": [2]},
    ]


def test_of_two_groups_the_other_has_training_and_validation():
    groups = np.repeat([5.0, 8.0], [4, 10])
    parts = grouped_trials(groups, 0.1, 0.2, 0, 0)
    assert [parts[name].tolist() for name in ("test", "train", "validation")] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7, 8, 9, 10, 11],
        [12, 13],
    ]
    assert grouped_trials(groups, 0.1, 0.2, 0, 1)["train"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("sizes", "fractions", "sentence"),
    [
        ([9], (0.1, 0.1), "all trials are of one group"),
        ([3, 3, 3, 3], (0.5, 0.5), "4 groups cannot be split into 2 for test, 2 for validation and at least one"),
        ([3, 1], (0.1, 0.1), "the one group that is not tested has too few trials"),
    ],
)
def test_too_few_groups_are_refused(sizes, fractions, sentence):
    with pytest.raises(OdevaeError, match=sentence):
        grouped_trials(np.repeat(np.arange(len(sizes)), sizes), *fractions, 0, 0)


@settings(max_examples=100, deadline=None)
@given(
    starts=st.lists(st.integers(0, 60), min_size=4, max_size=15, unique=True),
    gap=st.floats(0, 4),
    data=st.data(),
)
def test_the_gap_is_kept(make_recording, starts, gap, data):
    """Trials of two frames, 0.25 s long, at whole seconds."""
    starts = sorted(starts)
    recording = make_recording([2] * len(starts), n_neurons=2)
    time = np.repeat(np.array(starts, dtype=float), 2) + np.tile([0, 0.25], len(starts))
    recording = replace(recording, time=time)
    part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(starts), max_size=len(starts))))
    parts = {name: np.flatnonzero(part == number) for number, name in enumerate(("train", "validation", "test"))}
    assume(all(map(len, parts.values())))

    def distance(a: int, b: int) -> float:
        return max(abs(starts[a] - starts[b]) - 0.25, 0)

    def nearest(rows, others):
        return time_to_nearest(recording, recording.trial_ids, rows, others)

    assert nearest(parts["train"], parts["test"]).tolist() == [
        min(distance(row, other) for other in parts["test"]) for row in parts["train"]
    ]
    try:
        found = with_gap(parts, nearest, gap)
    except OdevaeError as error:
        assert "lies within gap_s of a trial that is held out" in str(error)
        return
    np.testing.assert_array_equal(found["test"], parts["test"])
    for one, others in {"validation": ["test"], "train": ["test", "validation"]}.items():
        held_out = np.concatenate([found[name] for name in others])
        kept = [row for row in parts[one] if all(distance(row, other) >= gap for other in held_out)]
        assert found[one].tolist() == kept


def test_trials_on_different_clocks_are_no_neighbours(make_recording):
    recording = sessions(make_recording([3] * 4), [2, 2])
    found = time_to_nearest(recording, recording.trial_ids, np.array([0, 1]), np.array([2, 3]))
    assert found.tolist() == [np.inf, np.inf]
    assert time_to_nearest(recording, recording.trial_ids, np.array([0]), np.array([1, 2])) == pytest.approx(0.1)


# Groups of a recording


def test_groups_are_a_covariate_or_blocks_of_trials(make_recording):
    recording = sessions(make_recording([4] * 10), [3, 3, 4])
    ids = recording.trial_ids
    assert trial_groups(recording, ids, "session", 0.1).tolist() == [1] * 3 + [2] * 3 + [3] * 4
    assert trial_groups(recording, ids, "block", 0.2).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert trial_groups(recording, ids, "block", 0.01).tolist() == list(range(1, 11))
    named = replace(recording, covariates={"block": recording.covariates["session"]})
    assert trial_groups(named, ids, "block", 0.1).tolist() == [1] * 3 + [2] * 3 + [3] * 4


def test_a_covariate_that_is_no_group_is_refused(make_recording):
    recording = make_recording([4] * 5)
    with pytest.raises(OdevaeError, match=r"heldout\.group_by: no covariate 'day'; the recording has speed, and block"):
        trial_groups(recording, recording.trial_ids, "day", 0.1)
    with pytest.raises(OdevaeError, match="speed changes or is missing in trials 1, 2, 3, 4 and 5"):
        trial_groups(recording, recording.trial_ids, "speed", 0.1)
    day = np.repeat([1.0, 1.0, np.nan, 2.0, 2.0], 4)
    recording = replace(recording, covariates={"day": day})
    with pytest.raises(OdevaeError, match="day changes or is missing in trial 3, but"):
        trial_groups(recording, recording.trial_ids, "day", 0.1)


# The protocol and the audit


def test_a_fold_of_sessions_shares_none(make_recording):
    recording = sessions(make_recording([12] * 12), [4, 4, 4])
    grouping = {"group_by": "session", "test_fraction": 0.2}
    fold = heldout(recording, "pca", 1, HELDOUT_SMALL | {"group_by": "session"})
    found = audit(fold, recording, **grouping)
    assert found["group_by"] == "session"
    assert found["groups"] == {"test": [2], "validation": [3], "train": [1]}
    assert found["shared_groups"] == found["validation_shared_groups"] == found["shared_trials"] == 0
    assert found["nearest_training"] is None
    assert found["in_no_part"] == 0
    # At random, windows of one session are in every part.
    found = audit(heldout(recording, "pca", 1, HELDOUT_SMALL), recording, **grouping)
    assert found["shared_groups"] == found["validation_shared_groups"] == 1
    assert found["nearest_training"] == pytest.approx(0.1)
    assert found["shared_trials"] == 0
    found = audit(published(recording, "pca", 1, PUBLISHED_SMALL | {"drop_first_trials": 0}), recording, **grouping)
    assert found["shared_groups"] == 1
    assert audit(fold, recording)["shared_groups"] is None


def test_a_fold_of_blocks_keeps_a_gap(make_recording):
    recording = make_recording([5] * 20)
    wide = HELDOUT_SMALL | {"group_by": "block", "test_fraction": 0.2, "gap_s": 0.5}
    tested = []
    for split in range(5):
        fold = heldout(recording, "pca", split, wide)
        found = audit(fold, recording, group_by="block", test_fraction=0.2)
        assert found["shared_groups"] == found["validation_shared_groups"] == 0
        # Trials last 0.4 s and follow each other after 0.1 s, so one trial at each border is left out.
        assert found["nearest_training"] >= 0.5
        assert found["in_no_part"] > 0
        tested += fold.parts["test"].tolist()
    assert sorted(tested) == list(range(20))


@pytest.mark.parametrize(
    ("changes", "split", "sentence"),
    [
        (
            {"group_by": "session"},
            3,
            "with datasets.made up.heldout group_by: session, .* there is no split 3, because",
        ),
        ({"group_by": "session", "gap_s": 100}, 0, None),
        ({"gap_s": 100}, 0, "gap_s: 100, .* every trial for (train|validation) lies within gap_s of a trial"),
        ({"group_by": "day"}, 0, "no covariate 'day'"),
    ],
)
def test_what_cannot_be_split_is_refused_with_its_settings(make_recording, changes, split, sentence):
    recording = sessions(make_recording([6] * 12), [4, 4, 4])
    if sentence is None:
        heldout(recording, "pca", split, HELDOUT_SMALL | changes)
        return
    with pytest.raises(OdevaeError, match=sentence):
        heldout(recording, "pca", split, HELDOUT_SMALL | changes)
