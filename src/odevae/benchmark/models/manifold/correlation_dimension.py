"""The correlation dimension: how many dimensions a cloud of states fills, independent of the number of neurons.

The number of pairs of states within a radius grows as a power of the radius, and the exponent is the dimension
(Grassberger and Procaccia, Physica D 9, 1983). Low et al. (bioRxiv 418939, 2018) and Nieh et al. (Nature 595, 2021)
measure it with geodesic distances, so that the curvature of a manifold does not count.
"""

from dataclasses import dataclass

import numpy as np

from odevae.errors import OdevaeError

# The slope is fitted between these shares of all pairs. The scripts of Nieh et al. fit from 1e3 to 1e6 of 1e8 pairs
# (all frames of a recording), which is 1e-5 to 1e-2. The upper end is the same here: beyond it a state's neighbourhood
# reaches the edge of the manifold. A thousand states have too few pairs for the lower end.
FIT_SHARES = (1e-3, 1e-2)
# For the distances of MIND, whose resolution is one step of the population, and for evenly spread landmarks: both have
# too few pairs within small radii. On the foraging disc MIND gives 5 to 6 with `FIT_SHARES` and about 2 with these.
COARSE_SHARES = (1e-2, 1e-1)
# Radii of the fit, spaced evenly on a logarithmic scale.
N_RADII = 30
# With fewer pairs than this within the smallest radius the slope is random.
FEWEST_PAIRS = 20


@dataclass(frozen=True)
class CorrelationDimension:
    """The slope of a straight line, and the points that it was fitted to.

    Attributes:
        dimension: slope of log share against log radius.
        radii: ``(n,)``, in the unit of the distances.
        shares: ``(n,)``, share of all pairs within each radius.
    """

    dimension: float
    radii: np.ndarray
    shares: np.ndarray


def correlation_dimension(distances: np.ndarray, fit_shares: tuple[float, float] = FIT_SHARES) -> CorrelationDimension:
    """Slope of the log number of pairs within a radius against the log radius, by least squares.

    The smallest radius holds the first of the `fit_shares` of all pairs, the largest radius the second. Noise makes
    states fill more dimensions at small radii, and edges of the manifold fewer at large radii, so that a disc gives
    about 1.8. For distances of landmarks see `COARSE_SHARES`.

    Args:
        distances: ``(n, n)``, symmetric; only the part above the diagonal is read.

    Raises:
        OdevaeError: if the distances are no square matrix, one is not finite, the shares do not grow, or there are too
            few pairs or too many at distance 0.
    """
    distances = np.asarray(distances, dtype=float)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise OdevaeError(
            f"the correlation dimension needs distances of shape (n, n), not {distances.shape}; give every state's "
            "distance to every other."
        )
    pairs = np.sort(distances[np.triu_indices(len(distances), k=1)])
    if not np.isfinite(pairs).all():
        raise OdevaeError(
            "the correlation dimension needs finite distances, but some states cannot be reached from others; connect "
            "the graph with more neighbours, or give one connected part of it."
        )
    low, high = fit_shares
    if not 0 < low < high <= 1:
        raise OdevaeError(f"fit_shares is {fit_shares}; give two growing shares of the pairs, between 0 and 1.")
    if low * len(pairs) < FEWEST_PAIRS:
        raise OdevaeError(
            f"{len(distances)} states have {len(pairs)} pairs, and a share of {low:g} of them is less than "
            f"{FEWEST_PAIRS}; give more states or raise fit_shares."
        )
    smallest, largest = pairs[round(low * len(pairs)) - 1], pairs[round(high * len(pairs)) - 1]
    if not 0 < smallest < largest:
        raise OdevaeError(
            f"the radii that hold {low:g} and {high:g} of the pairs are {smallest:g} and {largest:g}, and a slope "
            "needs two different positive ones; leave out states that are the same as others."
        )
    radii = np.geomspace(smallest, largest, N_RADII)
    shares = np.searchsorted(pairs, radii * (1 + 1e-12), side="right") / len(pairs)
    return CorrelationDimension(float(np.polyfit(np.log(radii), np.log(shares), 1)[0]), radii, shares)
