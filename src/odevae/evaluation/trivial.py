"""References that cost nothing: a model that is not better than them is of no use."""

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
    return sum(np.where(m[..., None], x, 0.0).sum(axis=0) for x, m in _in_pieces(values, mask))


def _in_pieces(values: Values, mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values ``(b, L, C)`` and mask ``(b, L)`` of some trials at a time."""
    for part in pieces(len(mask), values.shape[1] * values.shape[2]):
        yield values[part], mask[part]


def training_mean(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the training bins, everywhere."""
    return np.broadcast_to(mean_of_bins(train, train_mask), held_out.shape)


def trial_time_mean(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over training trials at the same bin; the overall mean where none of them reaches."""
    return np.broadcast_to(mean_by_bin(train, train_mask), held_out.shape)


def hold_first_frame(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """The first frame of the held-out trial itself, repeated: what an onset model is given."""
    first = np.concatenate([values[:, :1] for values, _ in _in_pieces(held_out, mask)])
    return np.broadcast_to(first, held_out.shape)


def hold_last_frame(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """The last counted frame of the held-out trial itself, repeated: an oracle that padding rewards."""

    def last(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return values[np.arange(len(values)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]

    frames = np.concatenate([last(*piece) for piece in _in_pieces(held_out, mask)])
    return np.broadcast_to(frames[:, None], held_out.shape)


# Each takes training values ``(Bt, L, C)`` and their mask, held-out values ``(B, L, C)`` and their mask; it gives
# predictions ``(B, L, C)``.
TRIVIAL = {guess.__name__: guess for guess in (training_mean, trial_time_mean, hold_first_frame, hold_last_frame)}
