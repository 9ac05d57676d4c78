"""Events of held-out neurons from the latents of a model: the same readout for every model."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from odevae.benchmark.decoding import STRENGTHS

# Frames over which latents are averaged; validation trials choose. E65 is smoothed over 11 frames.
AVERAGED_FRAMES = (1, 3, 9)


def read_events(
    latents: Sequence[np.ndarray], masks: Sequence[np.ndarray], events: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge from latents to events, on a scale on which a large transient does not outweigh all others.

    Each latent is divided by its SD and taken as ``sign(z) log(1 + |z|)``, then averaged over the frames around it.
    Squared error in validation trials chooses the strength of the ridge and the number of frames.

    Args:
        latents: ``(B, L, D)`` of training, validation and test trials.
        masks: ``(B, L)``, which of their bins count.
        events: ``(M, C)`` of the bins that count in training and in validation trials.

    Returns:
        What is read in validation and in test trials, ``(M, C)``; not yet a probability.
    """
    # Slow to import, and models without latents need none of it.
    from sklearn.linear_model import Ridge

    spread = latents[0][masks[0]].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = [np.sign(z) * np.log1p(np.abs(z / spread)) for z in latents]
    best, least = None, np.inf
    for width, strength in product(AVERAGED_FRAMES, STRENGTHS):
        if strength == STRENGTHS[0]:
            train, validation, test = (averaged(z, mask, width)[mask] for z, mask in zip(scaled, masks, strict=True))
        fit = Ridge(alpha=strength).fit(train, events[0])
        read = fit.predict(validation)
        error = ((read - events[1]) ** 2).sum()
        if best is None or error < least:
            best, least = (read, fit.predict(test)), error
    return best


def averaged(values: np.ndarray, mask: np.ndarray, width: int) -> np.ndarray:
    """Means of `values` ``(B, L, D)`` over `width` frames about each bin, of those in `mask` ``(B, L)`` only."""
    half, n_bins = width // 2, mask.shape[1]
    padding = [(0, 0), (half, half), (0, 0)]
    inside = mask[..., None].astype(np.float64)
    sums, counts = (np.pad(np.where(inside > 0, x, 0.0), padding) for x in (values, inside))
    total, count = (sum(x[:, lag : lag + n_bins] for lag in range(width)) for x in (sums, counts))
    return total / np.maximum(count, 1.0)
