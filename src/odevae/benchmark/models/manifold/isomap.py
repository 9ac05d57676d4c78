"""Isomap (Tenenbaum, de Silva and Langford, Science 290, 2000) with the maps that MIND uses, both ways.

It differs from MIND in its distances only: they are Euclidean between neighbours and ignore the order of the frames.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.sparse import SparseEfficiencyWarning
from sklearn import manifold

from odevae.benchmark.models.manifold.landmark_manifold import LandmarkManifold
from odevae.benchmark.models.manifold.scaling import classical_scaling

N_NEIGHBORS = 15


@dataclass(eq=False)
class Isomap(LandmarkManifold):
    """Isomap of the landmarks, on scikit-learn's graph, with LLE maps both ways.

    Attributes:
        n_neighbors: edges from each landmark in the graph of neighbours.
    """

    n_neighbors: int = N_NEIGHBORS

    def geodesics(self, landmarks: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        isomap = manifold.Isomap(n_neighbors=min(self.n_neighbors, len(landmarks) - 1), n_components=1)
        with warnings.catch_warnings():
            # scikit-learn joins separate parts of the graph by their shortest edge and warns; this is wanted here.
            warnings.filterwarnings("ignore", message="The number of connected components")
            warnings.filterwarnings("ignore", category=SparseEfficiencyWarning)
            return isomap.fit(landmarks).dist_matrix_

    def embed(self, distances: np.ndarray) -> np.ndarray:
        return classical_scaling(distances, self.latent_dim)
