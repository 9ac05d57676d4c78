"""MIND, manifold inference from neural dynamics (Low, Lewallen, Aronov, Nevers and Tank, bioRxiv 418939, 2018).

States are near each other if the population is likely to go from one to the other in one frame. The settings are those
of the authors' MATLAB scripts (also those of Nieh et al., Nature 595, 2021), unless noted. The steps:

1. principal components of the activity, 95 % of its variance;
2. a forest, fitted on at most `MOST_TRANSITIONS`, that gives the probability ``p(j | i)`` that state i is followed by
   state j (`ppca_forest`);
3. local distances ``sqrt(-log p(j | i))`` between landmarks, shortest paths through them, mean of both directions;
4. multidimensional scaling of these distances, by Sammon's criterion from the classical solution;
5. locally linear maps between activity and coordinates, both ways (`landmark_manifold`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import shortest_path

from odevae.benchmark.models.manifold.landmark_manifold import LandmarkManifold
from odevae.benchmark.models.manifold.ppca_forest import PpcaForest
from odevae.benchmark.models.manifold.scaling import sammon

# The authors' scripts have 100. On E65 half of them score the same in half the time: the median over trees is steady.
N_TREES = 100
# The scripts use at least 500 transitions in a leaf for recordings of about 17,000 frames, and 40 for one of 2,000.
LEAF_SHARE = 0.03
FEWEST_IN_LEAF = 40
# From more transitions this many are drawn at random for the forest; recordings in the authors' scripts have about
# 17,000 frames. With 112,000 frames of a simulated attractor this takes a quarter of the time and infers as well.
MOST_TRANSITIONS = 20_000
# A landmark with all the probability would be at distance 0, which the graph reads as a missing edge.
SMALLEST_SURPRISE = 1e-9


@dataclass(eq=False)
class Mind(LandmarkManifold):
    """MIND on landmarks, with maps both ways.

    Attributes:
        n_trees: number of trees of the forest.
    """

    n_trees: int = N_TREES

    def geodesics(self, landmarks: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        if len(before) > MOST_TRANSITIONS:
            drawn = np.random.default_rng(self.seed).permutation(len(before))[:MOST_TRANSITIONS]
            before, after = before[drawn], after[drawn]
        min_leaf = max(FEWEST_IN_LEAF, round(LEAF_SHARE * len(before)))
        forest = PpcaForest(before, after, self.n_trees, min_leaf, self.seed)
        return transition_distances(forest.log_probabilities(landmarks))

    def embed(self, distances: np.ndarray) -> np.ndarray:
        return sammon(distances, self.latent_dim)


def transition_distances(log_probability: np.ndarray) -> np.ndarray:
    """Length of the shortest path between states, the mean of both directions.

    The ``(n, n)`` log probabilities, at most 0, are those of going from state i to state j; the distances ``(n, n)``
    are symmetric and 0 on the diagonal only.
    """
    local = np.sqrt(np.maximum(-log_probability, SMALLEST_SURPRISE))
    np.fill_diagonal(local, 0)
    # Every state has an edge to every other; for such graphs the algorithm of Floyd and Warshall is the fastest.
    directed = shortest_path(local, method="FW")
    return (directed + directed.T) / 2
