"""Definitions of the scores.

Each takes what was counted, flattened over trials and bins, and nothing else. Where trials come with a mask, they may
be computed as they are read (`odevae.pieces.Computed`), and are added up in pieces.
"""

from typing import Self

import numpy as np

from odevae.pieces import Computed, pieces

# Frames whose largest activity is above this percentile of the frames' largest activities are events.
EVENT_PERCENTILE = 99
Values = np.ndarray | Computed
"""``(B, L, N)``."""


def r2_pooled(true: np.ndarray, predicted: np.ndarray) -> float:
    """Eq. 13 of the paper: ``1 - sum (x - xhat)^2 / sum (x - m)^2``, m the scalar mean of all x. NaN for constant x."""
    return _r2(((true - predicted) ** 2).sum(), ((true - true.mean()) ** 2).sum())


def r2_neuron(true: np.ndarray, predicted: np.ndarray) -> float:
    """The same with each neuron's own mean for m (variance weighted): ``(M, N)`` arrays. NaN for constant neurons."""
    return _r2(((true - predicted) ** 2).sum(), ((true - true.mean(axis=0)) ** 2).sum())


def _r2(error: float, variation: float) -> float:
    return float(1 - error / variation) if variation > 0 else float("nan")


def pearson(true: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's r over all entries; NaN if either is constant."""
    x, y = (true - true.mean()).ravel(), (predicted - predicted.mean()).ravel()
    return _correlation(x @ y, x @ x, y @ y)


def _correlation(products: float, squares: float, others: float) -> float:
    scale = np.sqrt(squares * others)
    return float(products / scale) if scale > 0 else float("nan")


class Moments:
    """Sums of squares and products of true and predicted frames, added up in pieces.

    Each piece is centred about its own mean before it is squared, and the sums are joined as Chan, Golub and LeVeque
    (The American Statistician 37, 1983) join them: no digits are lost, whatever the mean.

    Attributes:
        count: number of frames so far.
        error: ``(N,)``, ``sum (x - xhat)^2`` of each neuron.
    """

    def __init__(self):
        self.count = 0
        # The first frame, from which all are measured: so a constant neuron has a sum of squares of exactly zero.
        self._origin = self._mean = np.zeros((2, 0))
        self._squares, self.error = np.zeros((3, 0)), np.zeros(0)

    def add(self, true: np.ndarray, predicted: np.ndarray) -> Self:
        """Take in frames ``(M, N)``, M possibly zero; gives itself."""
        if not len(true):
            return self
        if not self.count:
            self._origin = np.stack([true[0], predicted[0]]).astype(np.float64)
            self._mean, self._squares, self.error = (np.zeros((*n, true.shape[1])) for n in ((2,), (3,), ()))
        x, y = true - self._origin[0], predicted - self._origin[1]
        mean = np.stack([x.mean(axis=0), y.mean(axis=0)])
        x -= mean[0]
        y -= mean[1]
        change, total = mean - self._mean, self.count + len(true)
        between = np.stack([change[0] ** 2, change[1] ** 2, change[0] * change[1]])
        self._squares += np.stack([_sums(x, x), _sums(y, y), _sums(x, y)]) + between * (self.count * len(true) / total)
        self._mean = self._mean + change * (len(true) / total)
        # In double precision, as the origin is.
        difference = np.subtract(true, predicted, out=x, dtype=np.float64)
        self.error += _sums(difference, difference)
        self.count = total
        return self

    @property
    def mean(self) -> np.ndarray:
        """Means of each neuron, ``(2, N)``: true and predicted."""
        return self._origin + self._mean

    def pooled_squares(self) -> np.ndarray:
        """Sums over all values about the two scalar means, ``(3,)``: squares of true and predicted, and products."""
        x, y = self.mean - self.mean.mean(axis=1, keepdims=True)
        return self._squares.sum(axis=1) + self.count * np.array([x @ x, y @ y, x @ y])

    def r2_pooled(self) -> float:
        return _r2(self.error.sum(), self.pooled_squares()[0])

    def r2_neuron(self) -> float:
        return _r2(self.error.sum(), self._squares[0].sum())

    def r2_about(self, mean: np.ndarray) -> float:
        """R2 of all values about other means of the neurons, ``(N,)``."""
        return _r2(self.error.sum(), self._squares[0].sum() + self.count * np.square(self.mean[0] - mean).sum())

    def pearson(self) -> float:
        true, predicted, products = self.pooled_squares()
        return _correlation(products, true, predicted)

    def mse(self) -> float:
        """Mean squared error, in squared units of the space."""
        return float(self.error.sum() / (self.count * len(self.error)))

    def std_ratio(self) -> float:
        """SD of the prediction over SD of the truth; NaN for a constant truth."""
        true, predicted, _ = self.pooled_squares()
        return float(np.sqrt(predicted / true)) if true > 0 else float("nan")

    def per_neuron(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pearson's r (NaN if either is constant), mean squared error and variance of each neuron, each ``(N,)``."""
        true, predicted, products = self._squares
        scale = np.sqrt(true * predicted)
        r = np.divide(products, scale, out=np.full(len(scale), np.nan), where=scale > 0)
        return r, self.error / self.count, true / self.count


def _sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of the products in each column."""
    return np.einsum("ij,ij->j", x, y)


def moments(true: Values, predicted: Values, mask: np.ndarray) -> Moments:
    """The `Moments` of the bins that count, ``(B, L)``."""
    found = Moments()
    for part in pieces(len(mask), true.shape[1] * true.shape[2]):
        found.add(true[part][mask[part]], predicted[part][mask[part]])
    return found


def score(true: Values, predicted: Values, mask: np.ndarray) -> dict[str, float]:
    """All scores of a prediction.

    Args:
        true, predicted: ``(B, L, N)`` in one space.
        mask: ``(B, L)``, bins that count.

    Returns:
        ``r2_pooled`` and ``r2_neuron``; ``r2_trial``, the mean over trials of each trial's own `r2_pooled`, trials of
        constant truth left out (v2's source); ``r``, Pearson's over all values; ``mse``; ``std_ratio``;
        ``dynamics_std_ratio`` (SDs of the differences between successive counted bins of a trial); ``event_r2``,
        `r2_neuron` over the frames whose largest activity is above the 99th percentile, about the mean of all frames;
        ``n_values`` and ``masked_fraction`` (share left out).
    """
    parts = [*pieces(len(mask), true.shape[1] * true.shape[2])]
    peaks = np.concatenate([true[part][mask[part]].max(axis=1) for part in parts])
    events_above = np.percentile(peaks.astype(np.float64), EVENT_PERCENTILE)
    frames, steps, events, of_trials = Moments(), Moments(), Moments(), []
    for part in parts:
        x_trials, y_trials, counted = true[part], predicted[part], mask[part]
        x, y = x_trials[counted], y_trials[counted]
        frames.add(x, y)
        eventful = x.max(axis=1) > events_above
        events.add(x[eventful], y[eventful])
        successive = counted[:, 1:] & counted[:, :-1]
        steps.add(np.diff(x_trials, axis=1)[successive], np.diff(y_trials, axis=1)[successive])
        of_trials += [r2_of_trial(*trial) for trial in zip(x_trials, y_trials, counted, strict=True)]
    of_trials = [value for value in of_trials if not np.isnan(value)]
    return {
        "r2_pooled": frames.r2_pooled(),
        "r2_neuron": frames.r2_neuron(),
        "r2_trial": float(np.mean(of_trials)) if of_trials else float("nan"),
        "r": frames.pearson(),
        "mse": frames.mse(),
        "std_ratio": frames.std_ratio(),
        "dynamics_std_ratio": steps.std_ratio() if steps.count else float("nan"),
        "event_r2": events.r2_about(frames.mean[0]) if events.count else float("nan"),
        "n_values": frames.count * true.shape[2],
        "masked_fraction": float(1 - mask.mean()),
    }


def r2_of_trial(true: np.ndarray, predicted: np.ndarray, counted: np.ndarray) -> float:
    """`r2_pooled` of the counted bins ``(L,)`` of one trial, ``(L, N)`` arrays."""
    return r2_pooled(true[counted].astype(np.float64), predicted[counted].astype(np.float64))


def r2_batched(true: Values, predicted: Values, mask: np.ndarray, batch_size: int) -> float:
    """The published definition: `r2_pooled` of each batch of sequences in turn, averaged over batches.

    A batch of constant truth counts as zero, as in the source.
    """
    scores = []
    for start in range(0, len(true), batch_size):
        rows = slice(start, start + batch_size)
        value = r2_pooled(true[rows][mask[rows]].astype(np.float64), predicted[rows][mask[rows]].astype(np.float64))
        scores.append(0.0 if np.isnan(value) else value)
    return float(np.mean(scores))
