"""References that cost nothing: a model that is not better than them is of no use."""

import numpy as np


def mean_of_bins(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the counted bins: ``(B, L, C)``, ``(B, L)`` -> ``(C,)``."""
    return values[mask].mean(axis=0)


def mean_by_bin(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the trials at each bin, ``(L, C)``; `mean_of_bins` where no trial has the bin."""
    counts = mask.sum(axis=0)[:, None]
    sums = np.where(mask[..., None], values, 0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), mean_of_bins(values, mask))


def training_mean(train: np.ndarray, train_mask: np.ndarray, held_out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the training bins, everywhere."""
    return np.broadcast_to(mean_of_bins(train, train_mask), held_out.shape)


def trial_time_mean(train: np.ndarray, train_mask: np.ndarray, held_out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over training trials at the same bin; the overall mean where none of them reaches."""
    return np.broadcast_to(mean_by_bin(train, train_mask), held_out.shape)


def hold_first_frame(train: np.ndarray, train_mask: np.ndarray, held_out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The first frame of the held-out trial itself, repeated: what an onset model is given."""
    return np.broadcast_to(held_out[:, :1], held_out.shape)


def hold_last_frame(train: np.ndarray, train_mask: np.ndarray, held_out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The last counted frame of the held-out trial itself, repeated: an oracle that padding rewards."""
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return np.broadcast_to(held_out[np.arange(len(held_out)), last][:, None], held_out.shape)


# Each takes training values ``(Bt, L, C)`` and their mask, held-out values ``(B, L, C)`` and their mask; it gives
# predictions ``(B, L, C)``.
TRIVIAL = {guess.__name__: guess for guess in (training_mean, trial_time_mean, hold_first_frame, hold_last_frame)}
