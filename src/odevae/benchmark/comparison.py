"""Differences between models on the same splits, with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
# How likely a test should be to find a difference that is there, to call it one that can be shown.
POWER = 0.8


class Difference(NamedTuple):
    """A mean difference over splits, its interval, and what these splits could show.

    Attributes:
        mean: of the differences.
        low, high: ends of the interval at `CONFIDENCE`.
        smallest: the true difference that would lie outside such an interval about 0 with probability `POWER`, if
            differences vary between splits as these do.
    """

    mean: float
    low: float
    high: float
    smallest: float


def paired_difference(one: Sequence[float], other: Sequence[float], test_over_train: float) -> Difference:
    """How much more one model scores than another on the same splits.

    Random splits share training trials, so their scores are not independent and the usual t interval is too short. The
    corrected one replaces 1/n by 1/n + n_test/n_train in the variance of the mean (Nadeau and Bengio 2003, Machine
    Learning 52:239, eq. 9).

    Args:
        one, other: scores ``(n,)`` by split, in the same order.
        test_over_train: trials tested over trials trained on, in one split.

    Returns:
        Mean and interval at `CONFIDENCE`; the rest is NaN for fewer than two splits.

    Raises:
        ValueError: if the lengths differ.
    """
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if one.shape != other.shape:
        raise ValueError(f"{len(one)} and {len(other)} scores cannot be paired")
    differences = one - other
    n = len(differences)
    mean = float(differences.mean())
    if n < 2:
        return Difference(mean, *[float("nan")] * 3)
    error = np.sqrt((1 / n + test_over_train) * differences.var(ddof=1))
    half = stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * error
    smallest = half + stdtrit(n - 1, POWER) * error
    return Difference(mean, float(mean - half), float(mean + half), float(smallest))
