"""MIND, manifold inference from neural dynamics (Low, Lewallen, Aronov, Nevers and Tank, bioRxiv 418939, 2018).

States are near each other if the population is likely to go from one to the other in one frame. The steps, with the
settings of the authors' MATLAB scripts (those of Nieh et al., Nature 595, 2021, among them) where no other is named:

1. principal components of the activity, 95 % of its variance;
2. a forest, grown on `MOST_TRANSITIONS` at most, that gives the probability ``p(j | i)`` that state i is followed by
   state j (`ppca_forest`);
3. local distances ``sqrt(-log p(j | i))`` between landmarks, shortest paths through them, the mean of both directions;
4. multidimensional scaling of these distances, by Sammon's criterion from the classical solution;
5. locally linear maps between activity and coordinates, both ways (`lle_maps`).
"""

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.sparse.csgraph import shortest_path

from odevae.baselines.lle_maps import N_LANDMARKS, LandmarkManifold
from odevae.baselines.ppca_forest import PpcaForest

N_TREES = 100
# The scripts ask for 500 transitions in a leaf of recordings of some 17,000 frames, and for 40 in one of 2,000.
LEAF_SHARE = 0.03
FEWEST_IN_LEAF = 40
# Of more transitions the forest is grown on as many, drawn at random; recordings in the authors' scripts have some
# 17,000 frames. Of 112,000 frames of a simulated attractor it takes a quarter of the time and infers as well.
MOST_TRANSITIONS = 20_000
# A landmark that takes all the probability would lie at distance 0, which the graph reads as no edge at all.
SMALLEST_SURPRISE = 1e-9
# As in the scripts.
SAMMON_ITERATIONS = 400
# Of L-BFGS: on the stress, a share, and on the entries of its gradient, which shrink as landmarks are added.
SAMMON_TOLERANCES = {"ftol": 1e-7, "gtol": 1e-8}


class Mind(LandmarkManifold):
    """MIND on landmarks, with maps both ways.

    Attributes:
        n_trees: of the forest.
    """

    def __init__(self, latent_dim: int = 1, seed: int = 0, n_landmarks: int = N_LANDMARKS, n_trees: int = N_TREES):
        super().__init__(latent_dim, seed, n_landmarks)
        self.n_trees = n_trees

    def embed(self, landmarks: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        if len(before) > MOST_TRANSITIONS:
            drawn = np.random.default_rng(self.seed).permutation(len(before))[:MOST_TRANSITIONS]
            before, after = before[drawn], after[drawn]
        min_leaf = max(FEWEST_IN_LEAF, round(LEAF_SHARE * len(before)))
        forest = PpcaForest(before, after, self.n_trees, min_leaf, self.seed)
        self.distances = transition_distances(forest.log_probabilities(landmarks))
        return sammon(self.distances, self.latent_dim)


def transition_distances(log_probability: np.ndarray) -> np.ndarray:
    """Length of the shortest path between states, the mean of both directions.

    Args:
        log_probability: ``(n, n)``, of going from state i to state j, at most 0.

    Returns:
        ``(n, n)``, symmetric, 0 on the diagonal only.
    """
    local = np.sqrt(np.maximum(-log_probability, SMALLEST_SURPRISE))
    np.fill_diagonal(local, 0)
    # Every state has an edge to every other, for which Floyd and Warshall's algorithm is the fastest.
    directed = shortest_path(local, method="FW")
    return (directed + directed.T) / 2


def classical_scaling(distances: np.ndarray, n_dims: int) -> np.ndarray:
    """Coordinates ``(n, n_dims)`` by classical multidimensional scaling (Torgerson, Psychometrika 17, 1952)."""
    squares = np.square(distances)
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    n = len(distances)
    values, vectors = eigh(-centred / 2, subset_by_index=[max(n - n_dims, 0), n - 1])
    coordinates = np.zeros((n, n_dims))
    coordinates[:, : len(values)] = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    return coordinates


def sammon(distances: np.ndarray, n_dims: int, iterations: int = SAMMON_ITERATIONS) -> np.ndarray:
    """Coordinates ``(n, n_dims)`` that minimise Sammon's stress, from the classical solution.

    The stress is ``sum (d - delta)^2 / delta / sum delta`` over the pairs i < j, with ``delta`` the given distances and
    ``d`` those of the coordinates (Sammon, IEEE Trans. Comput. 18, 1969). Unlike Kruskal's it counts relative errors,
    so that small distances keep their say.

    Args:
        distances: ``(n, n)``, symmetric, 0 on the diagonal only.
        iterations: of L-BFGS, at most.
    """
    # The optimiser stops by absolute tolerances, so it must not see distances of a very small or large scale.
    scale = distances.mean()
    delta = distances / scale
    total = delta.sum()
    # On the diagonal both distances are 0: any positive number there drops out of what follows.
    np.fill_diagonal(delta, 1)
    inverse_delta = 1 / delta
    sum_inverse_delta = inverse_delta.sum(axis=1, keepdims=True)
    start = classical_scaling(distances / scale, n_dims)
    one = np.ones((len(delta), 1))

    def stress(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # Written so that few passes over all pairs are needed, each in the memory of the one before.
        points = flat.reshape(start.shape)
        squares = np.square(points).sum(axis=1, keepdims=True)
        d = np.hstack([points, squares, one]) @ np.hstack([-2 * points, one, squares]).T
        np.sqrt(np.maximum(d, 1e-12, out=d), out=d)
        np.fill_diagonal(d, 0)
        sum_d = d.sum()
        np.fill_diagonal(d, 1)
        inverse_d = np.reciprocal(d, out=d)
        pull = sum_inverse_delta * points - inverse_delta @ points
        push = inverse_d.sum(axis=1, keepdims=True) * points - inverse_d @ points
        # The sum of d^2 / delta over all pairs is this product, twice.
        value = 2 * (points * pull).sum() - 2 * sum_d + total
        return float(value) / total, (4 / total * (pull - push)).ravel()

    found = minimize(
        stress, start.ravel(), jac=True, method="L-BFGS-B", options=SAMMON_TOLERANCES | {"maxiter": iterations}
    )
    return found.x.reshape(start.shape) * scale
