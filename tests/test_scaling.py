import numpy as np
from scipy.spatial.distance import cdist

from odevae.benchmark.models.manifold.scaling import classical_scaling, sammon


def test_scaling_gives_euclidean_distances_back():
    points = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 1]
    distances = cdist(points, points)
    for scaling in (classical_scaling, sammon):
        coordinates = scaling(distances, 3)
        np.testing.assert_allclose(cdist(coordinates, coordinates), distances, atol=1e-4)
    assert classical_scaling(distances[:3, :3], 5).shape == (3, 5)


def test_sammon_lowers_the_stress_that_it_is_said_to_lower():
    points = np.random.default_rng(0).standard_normal((40, 4))
    distances = cdist(points, points)
    upper = np.triu_indices(40, k=1)

    def stress(coordinates):
        d, delta = cdist(coordinates, coordinates)[upper], distances[upper]
        return (np.square(d - delta) / delta).sum() / delta.sum()

    coordinates = sammon(distances, 2)
    lowest = stress(coordinates)
    assert lowest < 0.9 * stress(classical_scaling(distances, 2))
    for change in np.random.default_rng(1).standard_normal((5, 40, 2)):
        assert stress(coordinates + 0.01 * change) > lowest
    np.testing.assert_allclose(sammon(1000 * distances, 2) / 1000, coordinates, atol=1e-3)
