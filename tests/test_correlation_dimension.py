import numpy as np
import pytest
from sklearn.manifold import Isomap

from odevae.benchmark.models.manifold.correlation_dimension import COARSE_SHARES, FIT_SHARES, correlation_dimension
from odevae.data.simulate.foraging import foraging
from odevae.errors import OdevaeError


def on_sphere(n: int, n_dims: int, seed: int = 0) -> np.ndarray:
    """Points uniform on the unit sphere of `n_dims` dimensions: a circle for two."""
    points = np.random.default_rng(seed).standard_normal((n, n_dims))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def geodesic_distances(states: np.ndarray) -> np.ndarray:
    return Isomap(n_neighbors=15, n_components=1).fit(states).dist_matrix_


def dimension(states: np.ndarray) -> float:
    return correlation_dimension(geodesic_distances(states)).dimension


def test_a_circle_has_one_dimension_and_a_sphere_two():
    assert dimension(on_sphere(500, 2)) == pytest.approx(1, abs=0.1)
    assert dimension(on_sphere(500, 3)) == pytest.approx(2, abs=0.2)


def test_three_dimensions_are_distinguished_from_two_by_coarse_shares_too():
    found = [correlation_dimension(geodesic_distances(on_sphere(600, n)), COARSE_SHARES).dimension for n in (2, 3, 4)]
    np.testing.assert_allclose(found, [1, 1.8, 2.5], atol=0.2)


def test_place_cells_of_a_disc_have_two_dimensions():
    activity = foraging(n_neurons=100, n_frames=4000).activity
    assert dimension(activity[::8]) == pytest.approx(2, abs=0.3)


def test_noise_fills_many_dimensions():
    assert dimension(np.random.default_rng(0).standard_normal((500, 30))) > 8


def test_the_shares_of_a_grid_on_a_line_by_counting():
    n = 300
    points = np.arange(n, dtype=float)
    found = correlation_dimension(np.abs(points[:, None] - points), fit_shares=(0.01, 0.05))
    n_pairs = n * (n - 1) / 2
    # Of n points in a row, n - d pairs are d apart.
    within = [sum(n - d for d in range(1, int(radius + 1e-6) + 1)) for radius in found.radii]
    np.testing.assert_allclose(found.shares, np.array(within) / n_pairs)
    assert found.dimension == pytest.approx(1, abs=0.15)


def test_the_unit_of_the_distances_does_not_matter():
    points = on_sphere(300, 3)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    one, other = correlation_dimension(distances), correlation_dimension(1000 * distances)
    assert one.dimension == pytest.approx(other.dimension)
    assert one.shares[0] == pytest.approx(FIT_SHARES[0], rel=0.05)
    assert one.shares[-1] == pytest.approx(FIT_SHARES[1], rel=0.05)


@pytest.mark.parametrize(
    ("distances", "shares", "words"),
    [
        (np.zeros((3, 4)), FIT_SHARES, "shape"),
        (np.full((300, 300), np.inf), FIT_SHARES, "cannot be reached"),
        (np.ones((300, 300)), (0.1, 0.1), "growing"),
        (np.ones((20, 20)), FIT_SHARES, "more states"),
        (np.zeros((300, 300)), FIT_SHARES, "the same as others"),
    ],
)
def test_what_has_no_dimension_is_refused(distances, shares, words):
    with pytest.raises(OdevaeError, match=words):
        correlation_dimension(distances, shares)
