"""Latent paths in two or three dimensions: metric multidimensional scaling (MDS) with its stress, PCA and t-SNE."""

from dataclasses import dataclass

import numpy as np

from odevae.errors import OdevaeError

# SMACOF needs n^2 memory and time per iteration; 600 points take less than a second.
DEFAULT_LIMIT = 600
# Points whose spread is below this share of their distance from the origin differ by rounding only.
COLLAPSED_SPREAD = 1e-12
# SMACOF ends when a step lowers the stress by less than this share of the sum of squared distances, as in scikit-learn.
MOST_STEPS, ENOUGH = 300, 1e-6
# The source draws its vector field on a grid of 20 x 20.
GRID_SIDE = 20
PERPLEXITY = 30.0
FEWEST_POINTS = 5


@dataclass(frozen=True)
class Embedding:
    """Points in few dimensions, and how far their distances differ from the original ones.

    ``delta_ij`` is the Euclidean distance of points i and j, ``d_ij`` their distance in the embedding.

    Attributes:
        coordinates: ``(n, n_dims)`` float64, in the unit of the points, centred, axes by descending variance.
        stress: Kruskal's stress-1 (Psychometrika 29, 1964), ``sqrt(sum (d - delta)^2 / sum d^2)`` over the pairs
            i < j; Kruskal calls 0 perfect, 0.05 good, 0.1 fair and 0.2 poor.
        raw_stress: ``sum (d - delta)^2`` over the pairs i < j, in the squared unit of the points.
    """

    coordinates: np.ndarray
    stress: float
    raw_stress: float


def embed(points: np.ndarray, n_dims: int = 3) -> Embedding:
    """Metric MDS of Euclidean distances: SMACOF from the classical solution.

    For Euclidean distances the classical solution is the projection on the first principal components, so there is no
    random start and the result is the same on every call. Points that span ``n_dims`` dimensions or fewer keep their
    distances, and the other dimensions are zero up to rounding. Points that are all the same (a collapsed latent) are
    at zero with stress 0.

    Args:
        points: ``(n, D)``, finite, n at least 1.
        n_dims: of the embedding.

    Raises:
        OdevaeError: if there are no points, or one is NaN or infinite.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.size == 0:
        raise OdevaeError(f"MDS needs points of shape (n, D), not {points.shape}; give at least one point.")
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise OdevaeError(f"Point {bad} given to MDS is NaN or infinite; leave the points of a diverged run out.")
    centred = points - points.mean(axis=0)
    spread = np.abs(centred).max()
    if spread <= COLLAPSED_SPREAD * np.abs(points).max():
        return Embedding(np.zeros((len(points), n_dims)), stress=0.0, raw_stress=0.0)
    # Squares of very small or large numbers would leave the range of floats.
    scaled = centred / spread
    distances = _distances(scaled)
    coordinates = principal(scaled, n_dims).coordinates
    if min(len(points) - 1, points.shape[1]) > n_dims:
        coordinates = principal(smacof(distances, coordinates), n_dims).coordinates
    embedded = _distances(coordinates)
    # The matrices hold each pair twice.
    raw, total = np.square(embedded - distances).sum() / 2, np.square(embedded).sum() / 2
    return Embedding(coordinates * spread, float(np.sqrt(raw / total)), float(raw) * spread**2)


def smacof(distances: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Coordinates ``(n, k)`` whose distances are close to some, by majorization (De Leeuw 1977), from a start.

    The same steps as scikit-learn's ``smacof``, whose import takes a job longer than they do.

    Args:
        distances: ``(n, n)``, symmetric, zeros on the diagonal.
        start: ``(n, k)``.
    """
    coordinates, embedded, stress = start, _distances(start), np.inf
    for _ in range(MOST_STEPS):
        ratio = np.divide(distances, embedded, out=np.zeros_like(distances), where=embedded > 0)
        # The Guttman transform.
        coordinates = (ratio.sum(axis=1, keepdims=True) * coordinates - ratio @ coordinates) / len(coordinates)
        embedded = _distances(coordinates)
        before, stress = stress, np.square(embedded - distances).sum()
        if before - stress < ENOUGH * np.square(embedded).sum():
            break
    return coordinates


def _distances(points: np.ndarray) -> np.ndarray:
    """Euclidean distances ``(n, n)`` of ``(n, D)`` points; exactly zero where points are the same."""
    return np.sqrt(sum(np.square(np.subtract.outer(x, x)) for x in points.T))


def thin(recorded: np.ndarray, limit: int = DEFAULT_LIMIT) -> tuple[np.ndarray, np.ndarray]:
    """Choose at most ``limit`` recorded bins, spread evenly over trials and time.

    Each trial keeps its first and last recorded bin, and of its other bins a share in proportion to its length. If the
    limit is too small for two bins of every trial, bins are taken evenly along all trials, one after the other.

    Args:
        recorded: ``(B, L)`` bool, false where a trial has no data.
        limit: largest number of bins, 1 or more.

    Returns:
        ``rows`` and ``columns`` of the chosen bins, ordered by trial, then time; the same on every call.

    Raises:
        OdevaeError: if the limit is below 1.
    """
    if limit < 1:
        raise OdevaeError(f"The limit of points is {limit}; give 1 or more.")
    rows, columns = np.nonzero(recorded)
    counts = np.count_nonzero(recorded, axis=1)
    ends = np.minimum(counts, 2)
    if len(rows) <= limit:
        return rows, columns
    if ends.sum() > limit:
        chosen = _evenly(len(rows), limit)
    else:
        # The other bins by largest remainders.
        room, seats = counts - ends, limit - int(ends.sum())
        quotas, remainders = np.divmod(seats * room, room.sum())
        quotas[np.argsort(-remainders, kind="stable")[: seats - quotas.sum()]] += 1
        quotas += ends
        starts = np.cumsum(counts) - counts
        trials = zip(starts, counts, quotas, strict=True)
        chosen = np.concatenate([start + _evenly(count, quota) for start, count, quota in trials])
    return rows[chosen], columns[chosen]


def _evenly(count: int, quota: int) -> np.ndarray:
    """``quota`` different indices from 0 to ``count - 1``, both ends included when there are two or more."""
    return np.arange(quota) * (count - 1) // max(quota - 1, 1)


@dataclass(frozen=True)
class Principal:
    """Principal components of points.

    Attributes:
        coordinates: ``(n, n_dims)``, in the unit of the points; zeros beyond the dimensions that the points have.
        centre: ``(D,)``, the mean of the points.
        axes: ``(n_dims, D)``, orthonormal rows, zeros where there are fewer; largest coordinate positive.
        explained: ``(n_dims,)``, share of the points' variance; zeros for points that are all the same.
    """

    coordinates: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    explained: np.ndarray

    def lift(self, positions: np.ndarray) -> np.ndarray:
        """Points ``(G, D)`` at positions ``(G, n_dims)`` along the axes, other components at their mean."""
        return self.centre + positions @ self.axes


def principal(points: np.ndarray, n_dims: int = 3) -> Principal:
    """Principal components of ``(n, D)`` points, n at least 1."""
    points = np.asarray(points, dtype=float)
    centre = points.mean(axis=0)
    centred = points - centre
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.pad(axes[:n_dims], ((0, max(n_dims - len(axes), 0)), (0, 0)))
    coordinates = centred @ axes.T
    largest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(axis=0)[None], axis=0)
    sign = np.where(largest[0] < 0, -1.0, 1.0)
    total = (scale**2).sum()
    share = scale[:n_dims] ** 2 / total if total > 0 else np.zeros(min(n_dims, len(scale)))
    return Principal(coordinates * sign, centre, axes * sign[:, None], np.pad(share, (0, n_dims - len(share))))


def plane_grid(coordinates: np.ndarray) -> np.ndarray:
    """A square grid ``(G, 2)`` of `GRID_SIDE` x `GRID_SIDE` positions around ``(n, 2)`` points of a plane."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = 0.55 * (high - low).max() or 1.0
    x, y = ((low + high) / 2)[:, None] + np.linspace(-half, half, GRID_SIDE)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def perplexity_of(n_points: int) -> float:
    """Perplexity for some points: `PERPLEXITY`, or a third of the points where they are few."""
    return max(1.0, min(PERPLEXITY, (n_points - 1) / 3))


def tsne(points: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of ``(n, D)`` points in two dimensions, ``(n, 2)``, at `perplexity_of` their number.

    It starts from the first two principal components with a little noise from `seed`, and runs on one thread, so that
    the result is the same on every call. Fewer than `FEWEST_POINTS` points, and points that are all the same, have no
    neighbourhoods to show; the result is their principal components.

    Raises:
        OdevaeError: if a point is NaN or infinite.
    """
    # It takes a second to import, and only this figure needs it.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = np.asarray(points, dtype=float)
    if not np.isfinite(points).all():
        raise OdevaeError("A point given to t-SNE is NaN or infinite; leave the points of a diverged run out.")
    start = principal(points, 2).coordinates
    spread = start[:, 0].std()
    if len(points) < FEWEST_POINTS or spread <= COLLAPSED_SPREAD * np.abs(points).max():
        return start
    noise = np.random.default_rng(seed).standard_normal(start.shape)
    # scikit-learn's own start from principal components has this scale.
    start = 1e-4 * (start / spread + 0.01 * noise)
    model = TSNE(perplexity=perplexity_of(len(points)), init=start.astype(np.float32), random_state=seed, n_jobs=1)
    with threadpool_limits(1):
        return model.fit_transform(points / spread).astype(float)
