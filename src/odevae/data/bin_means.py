"""Means over trials, in pieces: of all bins, and of each."""

from collections.abc import Iterator

import numpy as np

from odevae.metrics import Values
from odevae.pieces import pieces


def mean_of_bins(values: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the counted bins: ``(B, L, C)``, ``(B, L)`` -> ``(C,)``."""
    return _sum_by_bin(values, mask).sum(axis=0) / mask.sum()


def mean_by_bin(values: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the trials at each bin, ``(L, C)``; `mean_of_bins` where no trial has the bin."""
    counts, sums = mask.sum(axis=0)[:, None], _sum_by_bin(values, mask)
    return np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum(axis=0) / mask.sum())


def _sum_by_bin(values: Values, mask: np.ndarray) -> np.ndarray:
    """Sum over the trials at each bin, ``(L, C)``, in double precision."""
    return sum(np.where(m[..., None], x, 0.0).sum(axis=0) for x, m in in_pieces(values, mask))


def in_pieces(values: Values, mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values ``(b, L, C)`` and mask ``(b, L)`` of some trials at a time."""
    for part in pieces(len(mask), values.shape[1] * values.shape[2]):
        yield values[part], mask[part]
