"""Greedy farthest points, and the paper's choice of landmarks, whose mistake puts validation trials into training."""

from collections.abc import Callable

import numpy as np

from odevae.pieces import pieces


def farthest_points(
    squared_distances: Callable[[int], np.ndarray], count: int, first: int, tolerance: float = -np.inf
) -> np.ndarray:
    """Greedy choice of points: each next point is the one farthest from all chosen so far.

    Args:
        squared_distances: of all ``M`` points to the point with the given index, ``(M,)``.
        count: how many points to choose.
        first: index of the first point.
        tolerance: stop when no point has a larger squared distance to the chosen ones; by default points repeat.

    Returns:
        Indices in the order of choice, ``(count,)`` or fewer.
    """
    chosen = [first]
    nearest = squared_distances(first)
    while len(chosen) < count:
        farthest = int(nearest.argmax())
        if nearest[farthest] <= tolerance:
            break
        chosen.append(farthest)
        nearest = np.minimum(nearest, squared_distances(farthest))
    return np.array(chosen)


def published_landmarks(values: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of the trials that the source of the paper takes as landmarks, with repetition.

    The source chooses among the *bins* of all trials, one trial after the other. It takes a bin's index modulo the
    number of trials as its trial; the right one is the index divided by the number of bins. The rows are therefore
    draws with repetition that have little to do with the chosen bins.

    Args:
        values: ``(B, L, C)`` float32, before any baseline correction, as in the source.
        count: number of landmarks; if there are no more bins than that, every bin is taken once, in order.
        seed: of NumPy's legacy generator, which draws the first bin; the source uses the run's seed.
    """
    n_trials, n_bins, n_channels = values.shape
    if n_trials * n_bins <= count:
        return np.arange(n_trials * n_bins) % n_trials
    bins = values.reshape(-1, n_channels)
    first = int(np.random.RandomState(seed).randint(len(bins)))

    def squared_distances(row: int) -> np.ndarray:
        parts = pieces(*bins.shape)
        return np.concatenate([((bins[part] - bins[row]) ** 2).sum(axis=1) for part in parts])

    return farthest_points(squared_distances, count, first) % n_trials
