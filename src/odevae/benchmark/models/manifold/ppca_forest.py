"""A forest that gives the probability that a population goes from one state to another in one frame.

After Low et al. (bioRxiv 418939, 2018). A tree divides the states ``x_t`` by hyperplanes. Each leaf models the
successors ``x_{t+1}`` of its states as one Gaussian with the covariance of probabilistic principal component analysis
(PPCA; Tipping and Bishop, J. R. Stat. Soc. B 61, 1999). A forest takes the median over its trees. States have ``C``
principal components.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

# A Gaussian keeps the axes that hold this share of its variance; the other axes share one noise variance.
LOCAL_VARIANCE = 0.95
# Random hyperplanes tried at each split. The authors' scripts have 20 for the recordings of 2021, and 2 later.
N_DIRECTIONS = 2
# No variance of a Gaussian is below this share of the mean variance of all successors: a leaf with equal successors
# (for example silent frames) would have an infinite density.
VARIANCE_FLOOR = 1e-9


@dataclass(frozen=True)
class Moments:
    """Number, sum ``(C,)`` and second moment ``(C, C)`` of a set of states; moments of sets can be subtracted."""

    n: int
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray) -> "Moments":
        return cls(len(states), states.sum(axis=0), states.T @ states)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.n - other.n, self.total - other.total, self.square - other.square)

    def parts(self, ordered: np.ndarray, n_first: int) -> tuple["Moments", "Moments"]:
        """Moments of the first `n_first` of these states ``(n, C)`` and of the rest; only the smaller set is summed."""
        if 2 * n_first <= len(ordered):
            first = Moments.of(ordered[:n_first])
            return first, self - first
        others = Moments.of(ordered[n_first:])
        return self - others, others

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """The maximum-likelihood estimate."""
        return self.square / self.n - np.outer(self.mean, self.mean)


@dataclass(frozen=True)
class Ppca:
    """A Gaussian with covariance ``U diag(variances - noise) U' + noise I`` (Tipping and Bishop, section 3.2).

    Attributes:
        mean: ``(C,)``.
        axes: ``(C, q)``, orthonormal: ``U``.
        variances: ``(q,)``, along the axes.
        noise: variance along every direction that is orthogonal to the axes.
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    noise: float

    @classmethod
    def fit(cls, moments: Moments, floor: float = 0.0) -> "Ppca":
        """By maximum likelihood, with no variance below `floor`."""
        values, vectors = np.linalg.eigh(moments.covariance)
        variances, noise = _spectrum(values, floor)
        return cls(moments.mean, vectors[:, ::-1][:, : len(variances)], variances, noise)

    def log_density(self, states: np.ndarray) -> np.ndarray:
        """``(n, C)`` to ``(n,)``."""
        centred = states - self.mean
        along = np.square(centred @ self.axes)
        # The squared length across the axes is the whole minus the part along them.
        distance = along @ (1 / self.variances - 1 / self.noise) + np.vecdot(centred, centred) / self.noise
        return -0.5 * (distance + _log_determinant(self.variances, self.noise, states.shape[1]))


@dataclass(frozen=True)
class Split:
    """States with a projection on `normal` of at most `threshold` go `below`; a child is a split or a leaf's number."""

    normal: np.ndarray
    threshold: float
    below: "Split | int"
    above: "Split | int"


@dataclass(frozen=True)
class Tree:
    root: Split | int
    leaves: list[Ppca]

    def leaf_of(self, states: np.ndarray) -> np.ndarray:
        """The number of the leaf ``(n,)`` of each of the states ``(n, C)``."""
        numbers = np.empty(len(states), dtype=int)
        waiting = [(self.root, np.arange(len(states)))]
        while waiting:
            node, rows = waiting.pop()
            if isinstance(node, Split):
                below = states[rows] @ node.normal <= node.threshold
                waiting += [(node.below, rows[below]), (node.above, rows[~below])]
            else:
                numbers[rows] = node
        return numbers


def grow_tree(
    before: np.ndarray, after: np.ndarray, min_leaf: int, n_directions: int, generator: np.random.Generator
) -> Tree:
    """Divide states until no part can be split into two of `min_leaf` or more.

    Each split is the best of some random directions: the one whose two Gaussians give the successors the largest
    likelihood. Along one direction the threshold is the best one for spherical Gaussians, as in the authors' code.

    Args:
        before: ``(n, C)``, states ``x_t``.
        after: ``(n, C)``, their successors ``x_{t+1}``.
    """
    leaves: list[Ppca] = []
    everything = Moments.of(after)
    floor = VARIANCE_FLOOR * np.trace(everything.covariance) / after.shape[1]

    # Each node gets its states as one array: selecting them from all states at every split is slower.
    def grow(before: np.ndarray, after: np.ndarray, moments: Moments) -> Split | int:
        if len(before) < 2 * min_leaf:
            leaves.append(Ppca.fit(moments, floor))
            return len(leaves) - 1
        smallest_loss = math.inf
        for normal in generator.standard_normal((n_directions, before.shape[1])):
            projections = before @ normal
            order = np.argsort(projections, kind="stable")
            ordered = after[order]
            n_below = _spherical_split(ordered, min_leaf, moments.total)
            below, above = moments.parts(ordered, n_below)
            loss = _loss(below, floor) + _loss(above, floor)
            if loss < smallest_loss:
                smallest_loss = loss
                threshold = projections[order[n_below - 1 : n_below + 1]].mean()
                best = (normal, threshold, n_below, order, ordered, below, above)
        normal, threshold, n_below, order, after, below, above = best
        before = before[order]
        parts = grow(before[:n_below], after[:n_below], below), grow(before[n_below:], after[n_below:], above)
        return Split(normal, threshold, *parts)

    return Tree(grow(before, after, everything), leaves)


class PpcaForest:
    """Trees fitted on the same transitions with different random hyperplanes.

    Args:
        before: ``(n, C)``, states ``x_t``.
        after: ``(n, C)``, their successors ``x_{t+1}``.
        n_trees: 100 in the authors' scripts.
        min_leaf: smallest number of transitions in a leaf.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray, n_trees: int, min_leaf: int, seed: int):
        generator = np.random.default_rng(seed)
        self.trees = [grow_tree(before, after, min_leaf, N_DIRECTIONS, generator) for _ in range(n_trees)]

    def log_probabilities(self, states: np.ndarray) -> np.ndarray:
        """Log probability ``(n, n)`` that state i is followed by state j, given that one of these states follows.

        The median over trees of the log densities, normalised over the successors: rows of probabilities sum to 1.
        """
        densities = np.stack([leaf.log_density(states) for tree in self.trees for leaf in tree.leaves])
        first_leaf = np.cumsum([0] + [len(tree.leaves) for tree in self.trees[:-1]])
        leaf_of = np.stack([tree.leaf_of(states) for tree in self.trees], axis=1) + first_leaf
        median = np.empty((len(states), len(states)))
        middle = [(len(self.trees) - 1) // 2, len(self.trees) // 2]
        for state, leaves in enumerate(leaf_of):
            # The same as np.median, several times faster.
            median[state] = np.sort(densities[leaves].T, axis=1)[:, middle].mean(axis=1)
        return median - logsumexp(median, axis=1, keepdims=True)


def _spherical_split(ordered: np.ndarray, min_leaf: int, total: np.ndarray) -> int:
    """Number of the ordered states that go below, for the smallest sum of squared distances to the two means.

    Args:
        ordered: ``(n, C)``.
        min_leaf: smallest number on either side.
        total: ``(C,)``, sum of the states.
    """
    n = len(ordered)
    n_below = np.arange(min_leaf, n - min_leaf + 1)
    # Sums of the states below. The first `min_leaf` are below for every split, so they are added up at once.
    below = ordered[min_leaf - 1 : n - min_leaf].copy()
    below[0] = ordered[:min_leaf].sum(axis=0)
    np.cumsum(below, axis=0, out=below)
    square_below = np.vecdot(below, below)
    # The sum of the states above is the total minus the sum of those below.
    square_above = square_below - 2 * below @ total + total @ total
    # The sum of squared distances is a constant minus this.
    explained = square_below / n_below + square_above / (n - n_below)
    return int(n_below[explained.argmax()])


def _loss(moments: Moments, floor: float) -> float:
    """Negative log likelihood of the states under their own PPCA, up to a term that is the same for every split."""
    # At the maximum of the likelihood the mean squared Mahalanobis distance is C for all parameters.
    variances, noise = _spectrum(np.linalg.eigvalsh(moments.covariance), floor)
    return 0.5 * moments.n * _log_determinant(variances, noise, len(moments.total))


def _spectrum(ascending: np.ndarray, floor: float) -> tuple[np.ndarray, float]:
    """Variances of the kept axes and the noise variance of the others, from the ascending eigenvalues of a covariance.

    The noise variance is the mean of the discarded eigenvalues (Tipping and Bishop, eq. 8); one is always discarded.
    """
    values = np.maximum(ascending[::-1], floor)
    shares = np.cumsum(values) / values.sum()
    n_axes = min(int(np.searchsorted(shares, LOCAL_VARIANCE)) + 1, len(values) - 1)
    return values[:n_axes], float(values[n_axes:].mean())


def _log_determinant(variances: np.ndarray, noise: float, n_dims: int) -> float:
    """Log determinant of ``2 pi`` times the covariance."""
    return n_dims * math.log(2 * math.pi) + np.log(variances).sum() + (n_dims - len(variances)) * math.log(noise)
