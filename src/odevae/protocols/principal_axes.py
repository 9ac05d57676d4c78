"""Principal components of frames that are read in pieces: eigenvectors of their covariance.

scikit-learn's `PCA` copies all frames in double precision, and each of its exact solvers takes a time that grows with
the square of the neurons or more. Here the frames are never copied as a whole, and where a few components hold the
variance the time grows with the number of values.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from odevae.errors import OdevaeError
from odevae.pieces import pieces

# With no more neurons, or no more frames, the whole matrix is decomposed at once.
SMALL_SIDE = 1000
# Directions that are added to the Krylov space in one pass over the frames.
BLOCK = 32
# The space may grow to this share of the smaller side; beyond it the whole matrix costs less.
LARGEST_SHARE = 0.25
# An axis is accepted when its residual is this share of its gap to the next eigenvalue; it is then off by no more.
RESIDUAL_OF_GAP = 1e-7
# Residuals below this share of the largest eigenvalue are rounding.
ROUNDING = 1e-14


@dataclass(frozen=True)
class ChosenFrames:
    """Rows of ``(M, N)`` `frames`, iterated in pieces ``(m, N)`` of double precision, less `mean` and over `scale`.

    Attributes:
        frames: ``(M, N)`` floating.
        rows: ``(T,)``, which of them, in order; None for all.
        mean: ``(N,)``, or zero.
        scale: ``(N,)``; None leaves the unit as it is.
    """

    frames: np.ndarray
    rows: np.ndarray | None = None
    mean: np.ndarray | float = 0.0
    scale: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frames if self.rows is None else self.rows)

    @property
    def n_neurons(self) -> int:
        return self.frames.shape[1]

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in pieces(len(self), self.n_neurons):
            chosen = self.frames[part if self.rows is None else self.rows[part]]
            piece = np.subtract(chosen, self.mean, dtype=np.float64)
            if self.scale is not None:
                piece /= self.scale
            yield piece

    def centred(self, mean: np.ndarray, scale: np.ndarray | None = None) -> "ChosenFrames":
        """The same frames, with another `mean` and `scale`."""
        return replace(self, mean=mean, scale=scale)

    def mean_and_sd(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each neuron as it is recorded, ``(N,)``."""
        recorded = ChosenFrames(self.frames, self.rows)
        mean = sum(piece.sum(axis=0) for piece in recorded) / len(self)
        squares = sum(np.square(piece).sum(axis=0) for piece in replace(recorded, mean=mean))
        return mean, np.sqrt(squares / len(self))

    def silent(self) -> bool:
        """Whether every neuron is constant."""
        first = next(iter(self))[0]
        return all((piece == first).all() for piece in self)

    def covariance(self) -> np.ndarray:
        """``sum x x' / (T - 1)`` of frames of mean zero, ``(N, N)``; only its lower triangle is filled."""
        # Only a job that fits needs SciPy; it takes a while to import.
        from scipy.linalg.blas import dsyrk

        result = np.zeros((self.n_neurons, self.n_neurons), order="F")
        for piece in self:
            result = dsyrk(1 / (len(self) - 1), piece.T, 1.0, result, lower=True, overwrite_c=True)
        return result

    def covariance_times(self, directions: np.ndarray) -> np.ndarray:
        """`covariance` @ `directions` ``(N, k)``, without the covariance."""
        return sum(piece.T @ (piece @ directions) for piece in self) / (len(self) - 1)


def principal_axes(centred: ChosenFrames, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The fewest principal components that hold more than `share` of the variance.

    Args:
        centred: two or more frames of mean zero.
        share: of the variance, below 1.

    Returns:
        Variances ``(C,)``, descending, and components ``(C, N)``, orthonormal rows. The entry of largest absolute value
        of each component is positive, as in scikit-learn.

    Raises:
        OdevaeError: if every neuron is constant.
    """
    if centred.silent():
        raise OdevaeError("every neuron is silent in the frames to fit on; PCA needs activity, so choose other trials.")
    found = None
    if min(len(centred), centred.n_neurons) > SMALL_SIDE:
        found = _leading(centred, share)
    variances, axes = found or _all_at_once(centred, share)
    components = np.ascontiguousarray(axes.T)
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    return variances, components


def _n_kept(variances: np.ndarray, total: float, share: float) -> int:
    """How many of descending `variances` hold more than `share` of `total`; one more than there are if all do not."""
    return int(np.searchsorted(np.cumsum(variances) / total, share, side="right")) + 1


def _all_at_once(centred: ChosenFrames, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Variances ``(C,)`` and axes ``(N, C)``, from the covariance, or from the products of frames if they are fewer."""
    from scipy.linalg import eigh

    n_frames = len(centred)
    by_frames = n_frames < centred.n_neurons
    if by_frames:
        frames = np.concatenate([*centred])
        values, vectors = eigh(frames @ frames.T / (n_frames - 1), overwrite_a=True)
    else:
        values, vectors = eigh(centred.covariance(), lower=True, overwrite_a=True)
    # Ascending, and rounding can make those that are zero negative.
    values = np.maximum(values[::-1], 0)
    n_kept = min(_n_kept(values, values.sum(), share), len(values))
    values, axes = values[:n_kept], vectors[:, ::-1][:, :n_kept]
    if by_frames:
        axes = frames.T @ axes
        axes /= np.linalg.norm(axes, axis=0)
    return values, axes


def _leading(centred: ChosenFrames, share: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The same in a Krylov space that grows by a block in each pass over the frames; None if it would grow too large.

    Golub and Van Loan, Matrix Computations, section 10.3 (block Lanczos), with every block made orthogonal to all
    others. The residual of an axis over its gap bounds the sine of its angle to the eigenvector.
    """
    from scipy.linalg import eigh

    total = sum(np.square(piece).sum() for piece in centred) / (len(centred) - 1)
    limit = LARGEST_SHARE * min(len(centred), centred.n_neurons)
    start = np.random.default_rng(0).standard_normal((centred.n_neurons, BLOCK))
    basis = images = np.empty((centred.n_neurons, 0))
    block = np.linalg.qr(start)[0]
    while basis.shape[1] + BLOCK <= limit:
        image = centred.covariance_times(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        values, rotation = eigh(basis.T @ images)
        values, rotation = values[::-1], rotation[:, ::-1]
        n_kept = _n_kept(values, total, share)
        if n_kept < len(values):
            gaps = -np.diff(values[: n_kept + 1])
            gaps = np.minimum(gaps, np.append(np.inf, gaps[:-1]))
            axes = basis @ rotation[:, :n_kept]
            residuals = np.linalg.norm(images @ rotation[:, :n_kept] - values[:n_kept] * axes, axis=0)
            if (residuals <= np.maximum(RESIDUAL_OF_GAP * gaps, ROUNDING * values[0])).all():
                return values[:n_kept], axes
        # The first half of the values has settled; the missing ones are no larger than its last one.
        half = len(values) // 2
        if len(values) >= 4 * BLOCK and half + (share * total - values[:half].sum()) / values[half] > limit:
            return None
        for _ in range(2):
            image -= basis @ (basis.T @ image)
            image = np.linalg.qr(image)[0]
        block = image
    return None
