"""How many latent dimensions a model uses: one that is lost shows in no loss and in no score of a bin."""

from typing import NamedTuple

import numpy as np

# A direction counts if its SD is above this share of the largest: less than a ten-thousandth of the largest variance is
# below what a decoder of single precision and a noisy training can be expected to use.
SMALLEST_SHARE = 0.01


class LatentRank(NamedTuple):
    """Effective dimension of latent points, by two rules.

    Attributes:
        latent_rank: singular values of the centred points above `SMALLEST_SHARE` of the largest.
        participation_ratio: ``(sum v)^2 / sum v^2`` of the variances ``v`` along the principal axes: between 1 and D,
            and D only if all are equal (Gao et al. 2017).
    """

    latent_rank: float
    participation_ratio: float


def latent_rank(paths: np.ndarray, mask: np.ndarray) -> LatentRank:
    """The effective dimension of paths ``(B, L, D)`` over their counted bins ``(B, L)``.

    Variance counts wherever it comes from, between trials or along them. Both are NaN if a point is not finite, and
    zero if no point differs from another.
    """
    points = paths[mask].astype(np.float64)
    if not np.isfinite(points).all():
        return LatentRank(float("nan"), float("nan"))
    values = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if not values.any():
        return LatentRank(0.0, 0.0)
    variances = (values / values[0]) ** 2
    return LatentRank(
        float((values > SMALLEST_SHARE * values[0]).sum()), float(variances.sum() ** 2 / (variances**2).sum())
    )
