"""Locally linear maps from activity to the coordinates of a manifold and back, and the models that use them.

The map is that of locally linear embedding (LLE; Roweis and Saul, Science 290, 2000), used as a regression as in MIND
(Low et al., bioRxiv 418939, 2018): a point is approximated by a weighted mean of its nearest neighbours, and its image
is the same mean of their images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.manifold.correlation_dimension import COARSE_SHARES, correlation_dimension
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.protocols.landmarks import farthest_points

# Share of the variance of the activity that the principal components keep in the first step (Low et al.).
KEPT_VARIANCE = 0.95
# As in the later scripts of the authors.
N_LANDMARKS = 1000
N_FOLDS = 10
# The authors' scripts try 1 to 50 neighbours, and lambda, whose square is the ridge here, from 1e-8 to 1. Calcium
# recordings need more of both, so that the maps average out the noise of single frames.
NEIGHBORS_TO_LATENT = (2, 4, 8, 16, 32, 64, 128)
NEIGHBORS_TO_ACTIVITY = (4, 8, 16, 32, 64, 128, 256, 512)
RIDGES = (1e-8, 1e-4, 1e-2, 1e-1, 1.0, 10.0)
# Points that cross-validation predicts; more would only take longer.
CHECKED_POINTS = 1000
# Numbers in the largest temporary array, to limit the memory.
NUMBERS_AT_ONCE = 4_000_000


def barycentric_weights(offsets: np.ndarray, ridges: Sequence[float]) -> np.ndarray:
    """Weights that sum to 1 and bring the weighted mean of a point's neighbours close to the point.

    They minimise ``|sum_j w_j o_j|^2 + ridge tr(G) / k |w|^2`` under ``sum_j w_j = 1``, with ``G`` the Gram matrix of
    the offsets. With a small ridge the map is linear regression around the point, with a large one the mean of the
    neighbours.

    Args:
        offsets: ``(n, k, P)``, from each point to its k neighbours.
        ridges: ``(R,)``, positive, relative to the mean squared offset.

    Returns:
        Weights ``(n, R, k)``.
    """
    n_points, n_neighbors, n_dims = offsets.shape
    scale = np.einsum("nkp,nkp->n", offsets, offsets)[:, None] / n_neighbors
    # A point that equals all its neighbours has zero offsets; this gives equal weights.
    scale = np.where(scale > 0, scale, 1.0)
    transposed = offsets.transpose(0, 2, 1)
    few = n_neighbors <= n_dims
    gram = offsets @ transposed if few else transposed @ offsets
    diagonal = np.einsum("nii->ni", gram)
    unregularized = diagonal.copy()
    right = np.ones((n_points, n_neighbors, 1)) if few else offsets.sum(axis=1)[..., None]
    weights = np.empty((n_points, len(ridges), n_neighbors))
    for number, ridge in enumerate(ridges):
        diagonal[:] = unregularized + ridge * scale
        solved = np.linalg.solve(gram, right)
        # With more neighbours than dimensions, Woodbury's identity leaves a system of P unknowns instead of k.
        weights[:, number] = (solved if few else 1 - offsets @ solved)[..., 0]
    return weights / weights.sum(axis=2, keepdims=True)


@dataclass(frozen=True)
class LLEMap:
    """A map that is known at some points, from ``P`` to ``Q`` numbers: one of them ``D``, the other ``C`` or ``N``.

    Attributes:
        inputs: ``(M, P)``.
        outputs: ``(M, Q)``, their images.
        n_neighbors: number of nearest inputs that approximate a new point, ``k``.
        ridge: see `barycentric_weights`.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    n_neighbors: int
    ridge: float

    @classmethod
    def fit(
        cls, inputs: np.ndarray, outputs: np.ndarray, folds: np.ndarray, neighbors: tuple[int, ...], seed: int
    ) -> "LLEMap":
        """Choose the number of neighbours and the ridge by cross-validation of the squared error of the images.

        Args:
            inputs: ``(M, P)``.
            outputs: ``(M, Q)``.
            folds: ``(M,)``, two or more different numbers; a point is predicted from the points of the other folds.
            neighbors: numbers of neighbours to choose from, as far as there are enough points outside every fold.
            seed: seed of the draw of the `CHECKED_POINTS` that are predicted.
        """
        checked = np.random.default_rng(seed).permutation(len(inputs))[:CHECKED_POINTS]
        fewest = min(int((folds != fold).sum()) for fold in np.unique(folds))
        neighbors = tuple(k for k in neighbors if k <= fewest) or (1,)
        errors = np.zeros((len(neighbors), len(RIDGES)))
        for fold in np.unique(folds[checked]):
            known, held_out = folds != fold, checked[folds[checked] == fold]
            known_map = cls(inputs[known], outputs[known], max(neighbors), RIDGES[0])
            for rows, offsets, images in known_map.neighborhoods(inputs[held_out]):
                true = outputs[held_out[rows]]
                for i, k in enumerate(neighbors):
                    predicted = barycentric_weights(offsets[:, :k], RIDGES) @ images[:, :k]
                    errors[i] += np.square(predicted - true[:, None]).sum(axis=(0, 2))
        best = np.unravel_index(errors.argmin(), errors.shape)
        return cls(inputs, outputs, neighbors[best[0]], RIDGES[best[1]])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Images ``(n, Q)`` of points ``(n, P)``."""
        images = np.empty((len(points), self.outputs.shape[1]))
        for rows, offsets, neighbors in self.neighborhoods(points):
            images[rows] = (barycentric_weights(offsets, (self.ridge,)) @ neighbors)[:, 0]
        return images

    def from_other_folds(self, folds: np.ndarray, points: np.ndarray, point_folds: np.ndarray) -> np.ndarray:
        """Images ``(n, Q)`` of points, each computed from the inputs of the other folds only.

        Args:
            folds: ``(M,)``, of the inputs.
            points: ``(n, P)``.
            point_folds: ``(n,)``.
        """
        images = np.empty((len(points), self.outputs.shape[1]))
        for fold in np.unique(point_folds):
            known, held_out = folds != fold, point_folds == fold
            n_neighbors = min(self.n_neighbors, int(known.sum()))
            fold_map = LLEMap(self.inputs[known], self.outputs[known], n_neighbors, self.ridge)
            images[held_out] = fold_map(points[held_out])
        return images

    def neighborhoods(self, points: np.ndarray):
        """Yield the points in blocks: rows, offsets to their neighbours (nearest first), and the neighbours' images.

        Yields:
            rows ``(b,)``, offsets ``(b, k, P)``, images ``(b, k, Q)``.
        """
        nearest = NearestNeighbors(n_neighbors=self.n_neighbors).fit(self.inputs)
        width = self.n_neighbors * (self.inputs.shape[1] + self.outputs.shape[1])
        at_once = max(1, NUMBERS_AT_ONCE // width)
        for start in range(0, len(points), at_once):
            rows = np.arange(start, min(start + at_once, len(points)))
            found = nearest.kneighbors(points[rows], return_distance=False)
            offsets = self.inputs[found]
            offsets -= points[rows, None]
            yield rows, offsets, self.outputs[found]


@dataclass(frozen=True)
class Geometry:
    """The parts of a manifold of landmarks that are the same at every latent dimension.

    Attributes:
        pca: principal components of the activity.
        states: ``(M, C)``, the training frames as principal components.
        folds: ``(M,)``, folds of the cross-validation, each of whole trials.
        landmarks: ``(n_landmarks,)``, rows of `states`.
        distances: ``(n_landmarks, n_landmarks)``, geodesic, symmetric.
    """

    pca: PCA
    states: np.ndarray
    folds: np.ndarray
    landmarks: np.ndarray
    distances: np.ndarray


@dataclass(eq=False)
class LandmarkManifold(BenchmarkModel):
    """A model whose latents are coordinates of an embedding of some training frames, the landmarks.

    A subclass defines the distances between landmarks and their embedding. The rest is as in MIND: principal components
    of the activity, landmarks spread over them, an LLE map from components to coordinates, and one from coordinates to
    activity, frame by frame. In the authors' scripts the map to activity is fitted on the landmarks only. Here it is
    fitted on all training frames, each at the coordinates that the landmarks of *other* trials give it.

    The embedding and the maps are computed when they are first needed: the intrinsic dimension needs none of them, and
    latents alone no map to activity.

    Attributes:
        n_landmarks: how many training frames are embedded, at most.
        geometry: of the training trials; set by `fit`.
    """

    n_landmarks: int = N_LANDMARKS
    _taken_over = None

    def geodesics(self, landmarks: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Distances ``(n, n)`` between the landmarks, symmetric; they do not depend on `latent_dim`.

        Args:
            landmarks: ``(n, C)``, principal components.
            before: ``(m, C)``, training frames that are followed by another frame of their trial.
            after: ``(m, C)``, the frames that follow them.
        """
        raise NotImplementedError

    def embed(self, distances: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, D)`` of the landmarks from their distances ``(n, n)``."""
        raise NotImplementedError

    def take_over(self, sibling: BenchmarkModel) -> None:
        self._taken_over = sibling.geometry

    def fit(self, train: Trials, validation: Trials) -> None:
        """Measure the training trials, see `Geometry`; the validation trials are not used.

        Raises:
            OdevaeError: if there is one training trial, no more frames than latent dimensions, or too few that differ.
        """
        n_frames = int(train.recorded.sum())
        if len(train) < 2:
            raise OdevaeError(
                f"{type(self).__name__}: {len(train)} training trial; its maps are cross-validated over trials, so "
                "give two or more."
            )
        if n_frames <= self.latent_dim:
            raise OdevaeError(
                f"{type(self).__name__}: {n_frames} training frames cannot be embedded in {self.latent_dim} "
                "dimensions; lower latent_dim or give more frames."
            )
        self._activity = train.values[train.recorded].astype(np.float64)
        self.geometry, self._taken_over = self._taken_over or self._measure(self._activity, train), None
        for of_the_last_fit in ("coordinates", "to_latent", "to_activity"):
            vars(self).pop(of_the_last_fit, None)

    @cached_property
    def coordinates(self) -> np.ndarray:
        """The embedding of the landmarks, ``(n_landmarks, D)``."""
        return self.embed(self.geometry.distances)

    @cached_property
    def to_latent(self) -> LLEMap:
        """From components to coordinates, known at the landmarks."""
        states, folds, landmarks = self.geometry.states, self.geometry.folds, self.geometry.landmarks
        return LLEMap.fit(states[landmarks], self.coordinates, folds[landmarks], NEIGHBORS_TO_LATENT, self.seed)

    @cached_property
    def to_activity(self) -> LLEMap:
        """From coordinates to activity, known at all training frames."""
        states, folds, landmarks = self.geometry.states, self.geometry.folds, self.geometry.landmarks
        latents = self.to_latent.from_other_folds(folds[landmarks], states, folds)
        return LLEMap.fit(latents, self._activity, folds, NEIGHBORS_TO_ACTIVITY, self.seed)

    def _measure(self, activity: np.ndarray, train: Trials) -> Geometry:
        """The geometry of training frames ``(M, N)``."""
        pca = PCA(n_components=KEPT_VARIANCE, svd_solver="full").fit(activity)
        states = pca.transform(activity)
        trial, _ = np.nonzero(train.recorded)
        # Neighbouring frames of a trial are nearly the same, so cross-validation leaves out whole trials.
        folds = (np.random.default_rng(self.seed).permutation(len(train)) % N_FOLDS)[trial]
        landmarks = spread_landmarks(states, self.n_landmarks, self.seed)
        if len(np.unique(folds[landmarks])) < 2:
            raise OdevaeError(
                f"{type(self).__name__}: the {len(landmarks)} training frames that differ from each other do not "
                "spread over several trials; leave out silent trials or raise n_landmarks."
            )
        goes_on = np.flatnonzero(trial[1:] == trial[:-1])
        distances = self.geodesics(states[landmarks], states[goes_on], states[goes_on + 1])
        return Geometry(pca, states, folds, landmarks, distances)

    def intrinsic_dimension(self, fit_shares: tuple[float, float] = COARSE_SHARES) -> float:
        """The correlation dimension of the landmarks' geodesic distances; it does not depend on `latent_dim`.

        Report it with its shares: on noisy activity it changes with them. A thousand landmarks distinguish one, two and
        three dimensions; with a graph of neighbours, a sphere of five or seven dimensions seems to have two or three.

        Args:
            fit_shares: shares of the pairs of landmarks between which the slope is fitted.

        Raises:
            OdevaeError: if the landmarks are too few for `correlation_dimension`.
        """
        return correlation_dimension(self.geometry.distances, fit_shares).dimension

    def infer(self, trials: Trials) -> np.ndarray:
        frames = trials.values[trials.recorded].astype(np.float64)
        latents = np.zeros((*trials.recorded.shape, self.latent_dim))
        latents[trials.recorded] = self.to_latent(self.geometry.pca.transform(frames))
        return latents

    def reconstruct(self, trials: Trials) -> np.ndarray:
        activity = np.zeros(trials.values.shape)
        activity[trials.recorded] = self.to_activity(self.infer(trials)[trials.recorded])
        return activity


def spread_landmarks(states: np.ndarray, n_landmarks: int, seed: int) -> np.ndarray:
    """Rows ``(n,)``, ascending, of states ``(M, C)`` that cover all of them: `farthest_points` from a drawn first one.

    A state that equals a chosen one is not taken, so there may be fewer than `n_landmarks`.
    """
    squares = np.square(states).sum(axis=1)

    def squared_distances(row: int) -> np.ndarray:
        # One matrix product is about three times as fast as the squared differences.
        distances = squares - 2 * (states @ states[row]) + squares[row]
        distances[row] = 0
        return distances

    first = int(np.random.default_rng(seed).integers(len(states)))
    # Squared distances below this are rounding.
    return np.sort(farthest_points(squared_distances, n_landmarks, first, tolerance=1e-12 * squares.max()))
