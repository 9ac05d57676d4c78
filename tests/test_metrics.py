import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_squared_error, r2_score

from odevae import metrics, pieces


def values(seed: int = 0, shape=(60, 5)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    true = generator.standard_normal(shape) * np.arange(1, shape[-1] + 1) + np.arange(shape[-1])
    return true, true + generator.standard_normal(shape)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_against_other_libraries(seed):
    true, predicted = values(seed)
    assert metrics.r2_neuron(true, predicted) == pytest.approx(
        r2_score(true, predicted, multioutput="variance_weighted")
    )
    assert metrics.r2_pooled(true, predicted) == pytest.approx(r2_score(true.ravel(), predicted.ravel()))
    assert metrics.pearson(true, predicted) == pytest.approx(stats.pearsonr(true.ravel(), predicted.ravel()).statistic)
    of_pieces = metrics.Moments()
    for rows in np.split(np.arange(60), [1, 1, 20, 59]):
        of_pieces.add(true[rows], predicted[rows])
    assert of_pieces.mse() == pytest.approx(mean_squared_error(true, predicted))
    assert of_pieces.std_ratio() == pytest.approx(predicted.std() / true.std())
    for name in ("r2_neuron", "r2_pooled", "pearson"):
        assert getattr(of_pieces, name)() == pytest.approx(getattr(metrics, name)(true, predicted), rel=1e-12)
    r = [stats.pearsonr(x, y).statistic for x, y in zip(true.T, predicted.T, strict=True)]
    expected = r, np.square(predicted - true).mean(axis=0), true.var(axis=0)
    np.testing.assert_allclose(of_pieces.per_neuron(), expected)


def test_the_pooled_definition_flatters():
    true, _ = values()
    mean = np.broadcast_to(true.mean(axis=0), true.shape)
    assert metrics.r2_neuron(true, mean) == pytest.approx(0, abs=1e-12)
    assert metrics.r2_pooled(true, mean) > 0.1


def test_a_perfect_prediction_and_one_that_is_far_off():
    true, _ = values()
    assert metrics.r2_pooled(true, true) == metrics.r2_neuron(true, true) == 1
    assert metrics.pearson(true, 3 * true - 2) == pytest.approx(1)
    assert metrics.r2_neuron(true, 3 * true) < 0


def test_constants_have_no_score():
    constant = np.ones((6, 2))
    assert np.isnan(metrics.r2_pooled(constant, constant))
    assert np.isnan(metrics.r2_neuron(np.ones((6, 2)) * [1, 2], constant))
    assert np.isnan(metrics.pearson(values()[0], np.ones((60, 5))))
    # A mean that is not exact leaves no variance behind.
    found = metrics.Moments().add(0.1 * constant, constant).add(0.1 * constant, constant)
    assert np.isnan([found.r2_neuron(), found.pearson(), found.std_ratio(), *found.per_neuron()[0]]).all()
    assert not found.per_neuron()[2].any()


def event_r2(true, predicted) -> float:
    return metrics.score(true[None], predicted[None], np.ones((1, len(true)), bool))["event_r2"]


def test_events_are_the_frames_with_the_largest_peaks():
    generator = np.random.default_rng(0)
    true = generator.uniform(size=(200, 3))
    true[[7, 90], [0, 2]] = [10, 20]
    predicted = true + generator.standard_normal(true.shape)
    rows = [7, 90]  # above the 99th percentile of 200 peaks: the two largest
    error = ((true[rows] - predicted[rows]) ** 2).sum()
    expected = 1 - error / ((true[rows] - true.mean(axis=0)) ** 2).sum()
    assert event_r2(true, predicted) == pytest.approx(expected)
    assert np.isnan(event_r2(np.ones((10, 2)), np.zeros((10, 2))))


def test_score_counts_what_the_mask_counts():
    true, predicted = values(shape=(3, 7, 4))
    mask = np.arange(7) < np.array([7, 2, 4])[:, None]
    x = np.concatenate([true[i, :n] for i, n in enumerate([7, 2, 4])])
    y = np.concatenate([predicted[i, :n] for i, n in enumerate([7, 2, 4])])
    steps = [np.concatenate([np.diff(a[i, :n], axis=0) for i, n in enumerate([7, 2, 4])]) for a in (true, predicted)]
    expected = {
        "r2_pooled": r2_score(x.ravel(), y.ravel()),
        "r2_neuron": r2_score(x, y, multioutput="variance_weighted"),
        "r2_trial": np.mean([r2_score(true[i, :n].ravel(), predicted[i, :n].ravel()) for i, n in enumerate([7, 2, 4])]),
        "r": stats.pearsonr(x.ravel(), y.ravel()).statistic,
        "mse": mean_squared_error(x, y),
        "std_ratio": y.std() / x.std(),
        "dynamics_std_ratio": steps[1].std() / steps[0].std(),
        "event_r2": event_r2(x, y),
        "n_values": 13 * 4,
        "masked_fraction": 8 / 21,
    }
    found = metrics.score(true, predicted, mask)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected)
    true[~mask] = predicted[~mask] = 1e9
    assert metrics.score(true, predicted, mask) == found


def test_trials_of_one_counted_bin_have_no_dynamics():
    true, predicted = values(shape=(3, 7, 4))
    mask = np.arange(7) < np.ones((3, 1))
    assert np.isnan(metrics.score(true, predicted, mask)["dynamics_std_ratio"])


def test_single_precision_is_scored_in_double():
    true, predicted = (array.astype(np.float32) + np.float32(1000) for array in values(shape=(4, 50, 6)))
    mask = np.ones((4, 50), bool)
    expected = r2_score(true.astype(float).ravel(), predicted.astype(float).ravel())
    assert metrics.score(true, predicted, mask)["r2_pooled"] == pytest.approx(expected, rel=1e-9)


def test_r2_batched_is_the_mean_of_the_batches():
    true, predicted = values(shape=(5, 7, 4))
    mask = np.arange(7) < np.array([7, 2, 4, 7, 3])[:, None]
    by_hand = []
    for rows in ([0, 1], [2, 3], [4]):
        x, y = true[rows][mask[rows]], predicted[rows][mask[rows]]
        by_hand.append(1 - ((x - y) ** 2).sum() / ((x - x.mean()) ** 2).sum())
    assert metrics.r2_batched(true, predicted, mask, 2) == pytest.approx(np.mean(by_hand))
    assert metrics.r2_batched(true, predicted, mask, 8) == pytest.approx(metrics.r2_pooled(true[mask], predicted[mask]))


def test_a_batch_of_constant_truth_counts_as_zero():
    true, predicted = values(shape=(4, 7, 4))
    true[:2] = 3
    mask = np.ones((4, 7), bool)
    assert metrics.r2_batched(true, predicted, mask, 2) == pytest.approx(metrics.r2_pooled(true[2:], predicted[2:]) / 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), piece=st.integers(1, 200))
def test_scores_in_pieces_are_those_of_the_whole(seed, piece):
    generator = np.random.default_rng(seed)
    # Far from zero, where sums of squares that are not centred lose their digits.
    true, predicted = (array + 1e4 for array in values(seed, shape=(9, 7, 4)))
    mask = np.arange(7) < generator.integers(1, 8, 9)[:, None]
    whole = metrics.score(true, predicted, mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_VALUES", piece)
        assert metrics.score(true, predicted, mask) == pytest.approx(whole, rel=1e-9, nan_ok=True)
        computed = [pieces.Computed(array.shape, array.__getitem__) for array in (true, predicted)]
        assert metrics.score(*computed, mask) == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_what_is_computed_as_it_is_read_reads_as_an_array():
    array = np.arange(24.0).reshape(4, 3, 2)
    computed = pieces.Computed(array.shape, array.__getitem__)
    assert len(computed) == 4
    np.testing.assert_array_equal(computed, array)
    np.testing.assert_array_equal(computed[1:3], array[1:3])
    np.testing.assert_array_equal([*computed], array)
