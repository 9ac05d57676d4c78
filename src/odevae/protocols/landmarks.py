"""The paper's landmark choice, with the mistake that makes its validation trials training trials."""

import numpy as np


def farthest_points(points: np.ndarray, count: int, first: int) -> np.ndarray:
    """Greedy farthest-point choice: each next point is the one farthest from all chosen so far.

    Args:
        points: ``(M, K)``.
        count: how many to choose; all of them in order if there are no more.
        first: index of the first point.

    Returns:
        Indices in the order of choice, ``(min(count, M),)``.
    """
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [first]
    nearest = ((points - points[first]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        farthest = int(np.argmax(nearest))
        chosen.append(farthest)
        nearest = np.minimum(nearest, ((points - points[farthest]) ** 2).sum(axis=1))
    return np.array(chosen)


def published_landmarks(values: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of the trials that the source of the paper takes as landmarks, with repetition.

    The source chooses among the *bins* of all trials, laid end to end, and takes the bin's index modulo the number of
    trials for the trial; the right one would be the index divided by the number of bins. The rows are therefore
    draws with repetition that have little to do with the chosen bins.

    Args:
        values: ``(B, L, K)`` float32, before any baseline correction, as in the source.
        count: number of landmarks.
        seed: of NumPy's legacy generator; the source seeds it with the run's seed and draws the first bin from it.
    """
    n_trials, n_bins, n_channels = values.shape
    first = int(np.random.RandomState(seed).randint(n_trials * n_bins))
    return farthest_points(values.reshape(-1, n_channels), count, first) % n_trials
