import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae import pieces
from odevae.protocols.landmarks import farthest_points, published_landmarks


def squared_distances(points):
    """The squared distances of all points to one of them, as `farthest_points` wants them."""
    return lambda row: ((points - points[row]) ** 2).sum(axis=1)


def naive_farthest_points(points, count, first):
    chosen = [first]
    while len(chosen) < count:
        distances = [min(np.sum((p - points[c]) ** 2) for c in chosen) for p in points]
        chosen.append(int(np.argmax(distances)))
    return chosen


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n_points=st.integers(3, 25), data=st.data())
def test_farthest_points_against_all_pairwise_distances(seed, n_points, data):
    count = data.draw(st.integers(1, n_points - 1))
    first = data.draw(st.integers(0, n_points - 1))
    points = np.random.default_rng(seed).standard_normal((n_points, 3))
    found = farthest_points(squared_distances(points), count, first)
    assert found.tolist() == naive_farthest_points(points, count, first)


def test_farthest_points_on_a_line():
    points = np.array([[0.0], [1.0], [2.0], [10.0], [6.2]])
    # From 0: the far end 10, then the middle one (6.2 is 3.8 from 10; 2 is only 2 from 0), then 2.
    assert farthest_points(squared_distances(points), 4, first=0).tolist() == [0, 3, 4, 2]


def test_points_that_are_all_chosen_repeat_unless_a_tolerance_stops_the_choice():
    points = np.array([[0.0], [3.0], [3.0]])
    assert farthest_points(squared_distances(points), 4, first=1).tolist() == [1, 0, 0, 0]
    assert farthest_points(squared_distances(points), 4, first=1, tolerance=0.0).tolist() == [1, 0]


@pytest.mark.parametrize("count", [6, 7])
def test_no_more_bins_than_landmarks_are_all_taken_in_order(count):
    values = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    assert published_landmarks(values, count, seed=3).tolist() == [0, 1, 0, 1, 0, 1]


def test_the_mistake_takes_the_bin_modulo_the_number_of_trials():
    values = np.zeros((3, 4, 1), np.float32)
    values[2, 1] = 1  # bin 9 of the trials laid end to end: of trial 9 // 4 = 2, but 9 % 3 = 0
    rows = published_landmarks(values, count=2, seed=5)
    first = np.random.RandomState(5).randint(12)
    assert first != 9
    assert rows.tolist() == [first % 3, 0]


def test_landmarks_repeat_trials_and_are_not_the_trials_of_the_chosen_bins():
    values = np.random.default_rng(0).standard_normal((7, 20, 3)).astype(np.float32)
    rows = published_landmarks(values, count=40, seed=1)
    bins = farthest_points(squared_distances(values.reshape(140, 3)), 40, int(np.random.RandomState(1).randint(140)))
    assert len(rows) == 40
    assert len(np.unique(rows)) <= 7
    assert len(np.unique(bins)) == 40
    np.testing.assert_array_equal(rows, bins % 7)
    assert (rows != bins // 20).mean() > 0.5


def test_landmarks_of_bins_in_pieces_are_the_same(monkeypatch):
    values = np.random.default_rng(0).standard_normal((7, 20, 3)).astype(np.float32)
    whole = published_landmarks(values, count=40, seed=1)
    monkeypatch.setattr(pieces, "PIECE_VALUES", 50)
    np.testing.assert_array_equal(published_landmarks(values, count=40, seed=1), whole)


def test_the_seed_draws_the_first_bin():
    values = np.random.default_rng(0).standard_normal((7, 20, 3)).astype(np.float32)
    draws = [published_landmarks(values, 10, seed).tolist() for seed in range(5)]
    assert draws[0] == published_landmarks(values, 10, 0).tolist()
    assert len({tuple(draw) for draw in draws}) > 1
