"""References that cost nothing: a model that is not better than them is of no use."""

import numpy as np

from odevae.data.bin_means import in_pieces, mean_by_bin, mean_of_bins
from odevae.metrics import Values


def training_mean(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over the training bins, everywhere."""
    return np.broadcast_to(mean_of_bins(train, train_mask), held_out.shape)


def trial_time_mean(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """Each channel's mean over training trials at the same bin; the overall mean where none of them reaches."""
    return np.broadcast_to(mean_by_bin(train, train_mask), held_out.shape)


def hold_first_frame(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """The first frame of the held-out trial itself, repeated: what an onset model is given."""
    first = np.concatenate([values[:, :1] for values, _ in in_pieces(held_out, mask)])
    return np.broadcast_to(first, held_out.shape)


def hold_last_frame(train: Values, train_mask: np.ndarray, held_out: Values, mask: np.ndarray) -> np.ndarray:
    """The last counted frame of the held-out trial itself, repeated: an oracle that padding rewards."""

    def last(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return values[np.arange(len(values)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]

    frames = np.concatenate([last(*piece) for piece in in_pieces(held_out, mask)])
    return np.broadcast_to(frames[:, None], held_out.shape)


# Each takes training values ``(Bt, L, C)`` and their mask, held-out values ``(B, L, C)`` and their mask; it gives
# predictions ``(B, L, C)``.
TRIVIAL = {guess.__name__: guess for guess in (training_mean, trial_time_mean, hold_first_frame, hold_last_frame)}
