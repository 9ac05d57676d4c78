"""MDS against configurations whose distances are known, stress against its definition, and which bins are kept."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist, squareform
from sklearn import manifold

from odevae.errors import OdevaeError
from odevae.report.embedding import embed, smacof, thin


def rotation(n_dims, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n_dims, n_dims)))[0]


def curve(n_dims, n=60, seed=0):
    """A closed curve that spans ``n_dims`` dimensions, so that three cannot hold it without stress."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, n)[:, None]
    return np.sin(2 * np.pi * time * rng.uniform(0.5, 2, n_dims) + rng.uniform(0, 2 * np.pi, n_dims))


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_points_of_three_dimensions_or_fewer_keep_their_distances(n_dims):
    points = np.random.default_rng(1).normal(size=(40, n_dims)) + 5.0
    embedding = embed(points)
    assert embedding.coordinates.shape == (40, 3)
    np.testing.assert_allclose(pdist(embedding.coordinates), pdist(points), atol=1e-6)
    assert embedding.stress < 1e-6
    assert not embedding.coordinates[:, n_dims:].any()


def test_a_three_dimensional_set_inside_eight_dimensions_is_found():
    points = np.pad(np.random.default_rng(2).normal(size=(50, 3)), ((0, 0), (0, 5))) @ rotation(8)
    embedding = embed(points)
    np.testing.assert_allclose(pdist(embedding.coordinates), pdist(points), atol=1e-3)
    assert embedding.stress < 1e-3


def test_stress_is_kruskals_definition():
    points = curve(6, n=25)
    embedding = embed(points)
    d, delta = pdist(embedding.coordinates), pdist(points)
    assert embedding.raw_stress == pytest.approx(((d - delta) ** 2).sum(), rel=1e-6)
    assert embedding.stress == pytest.approx(np.sqrt(((d - delta) ** 2).sum() / (d**2).sum()), rel=1e-6)
    assert 0.01 < embedding.stress < 1


def test_stress_is_that_of_scikit_learn():
    points = curve(6)
    mds = manifold.MDS(3, init="classical_mds", n_init=1, normalized_stress=True, random_state=0, metric_mds=True)
    assert embed(points).stress == pytest.approx(mds.fit(points).stress_, rel=1e-3)


def test_smacof_takes_the_steps_of_scikit_learn():
    distances = squareform(pdist(curve(6)))
    start = np.random.default_rng(0).normal(size=(60, 3))
    expected, _ = manifold.smacof(
        distances, n_components=3, init=start, n_init=1, max_iter=300, eps=1e-6, normalized_stress=False
    )
    np.testing.assert_allclose(smacof(distances, start), expected, atol=1e-9)


def test_a_perturbed_embedding_has_more_stress():
    points = curve(5)
    embedding = embed(points)
    truth, best = pdist(points), embedding.coordinates
    for seed in range(5):
        moved = pdist(best + 0.02 * np.random.default_rng(seed).normal(size=best.shape))
        assert ((moved - truth) ** 2).sum() > embedding.raw_stress


def test_rotating_and_shifting_the_points_changes_nothing_but_signs():
    points = curve(6)
    one, other = embed(points), embed(points @ rotation(6) + 3.0)
    assert other.stress == pytest.approx(one.stress, rel=1e-6)
    np.testing.assert_allclose(np.abs(other.coordinates), np.abs(one.coordinates), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scaling_the_points_scales_the_embedding(scale):
    points = curve(5)
    one, other = embed(points), embed(points * scale)
    np.testing.assert_allclose(other.coordinates, one.coordinates * scale, atol=1e-6 * scale)
    assert other.stress == pytest.approx(one.stress, rel=1e-6)
    assert other.raw_stress == pytest.approx(one.raw_stress * scale**2, rel=1e-6)


def test_the_same_call_gives_the_same_bits():
    points = curve(7)
    np.testing.assert_array_equal(embed(points).coordinates, embed(points).coordinates)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_points_keep_their_distances(n):
    points = np.random.default_rng(n).normal(size=(n, 6))
    embedding = embed(points)
    assert embedding.coordinates.shape == (n, 3)
    np.testing.assert_allclose(pdist(embedding.coordinates), pdist(points), atol=1e-6)
    assert embedding.stress < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_collapsed_latent_lies_at_zero(value):
    embedding = embed(np.full((30, 5), value))
    assert not embedding.coordinates.any()
    assert embedding.stress == embedding.raw_stress == 0


def test_repeated_points_stay_together():
    points = np.repeat(curve(5, n=10), 3, axis=0)
    coordinates = embed(points).coordinates.reshape(10, 3, 3)
    np.testing.assert_allclose(coordinates - coordinates[:, :1], 0, atol=1e-6)


@pytest.mark.parametrize("points", [np.empty((0, 3)), np.empty((4, 0)), np.zeros(4)])
def test_no_points_is_said(points):
    with pytest.raises(OdevaeError, match="at least one point"):
        embed(points)


def test_a_point_that_is_not_finite_is_named():
    points = curve(5)
    points[7, 2] = np.inf
    with pytest.raises(OdevaeError, match="Point 7"):
        embed(points)


masks = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 30)))


@given(recorded=masks, limit=st.integers(1, 80))
def test_thinning_keeps_different_recorded_bins_up_to_the_limit(recorded, limit):
    rows, columns = thin(recorded, limit)
    assert recorded[rows, columns].all()
    assert len(rows) == min(limit, recorded.sum())
    order = rows * recorded.shape[1] + columns
    assert (np.diff(order) > 0).all()


@given(recorded=masks, extra=st.integers(0, 40))
def test_thinning_keeps_both_ends_of_every_trial(recorded, extra):
    rows, columns = thin(recorded, max(1, int(np.minimum(recorded.sum(axis=1), 2).sum()) + extra))
    for trial in np.flatnonzero(recorded.any(axis=1)):
        kept, bins = columns[rows == trial], np.flatnonzero(recorded[trial])
        assert kept[0] == bins[0]
        assert kept[-1] == bins[-1]


@given(recorded=masks, limit=st.integers(24, 80))
def test_thinning_gives_each_trial_its_share(recorded, limit):
    rows, _ = thin(recorded, limit)
    counts, kept = recorded.sum(axis=1), np.bincount(rows, minlength=len(recorded))
    room, ends = np.maximum(counts - 2, 0), np.minimum(counts, 2)
    if counts.sum() > limit:
        share = ends + (limit - ends.sum()) * room / room.sum()
        assert (np.abs(kept - share) < 1).all()


def test_thinning_spreads_over_time():
    _, columns = thin(np.ones((1, 1000), bool), 101)
    assert set(np.diff(columns)) <= {9, 10}


def test_more_trials_than_points_are_sampled_over_all_trials_and_times():
    rows, columns = thin(np.ones((500, 36), bool), 200)
    assert len(rows) == 200
    assert np.abs(rows / 499 - np.linspace(0, 1, 200)).max() < 0.01
    assert len(np.unique(columns)) > 18


def test_nothing_recorded_gives_no_bins():
    assert not any(map(len, thin(np.zeros((3, 4), bool))))


def test_a_limit_below_one_is_refused():
    with pytest.raises(OdevaeError, match="limit"):
        thin(np.ones((2, 2), bool), 0)
