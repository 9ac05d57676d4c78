"""Every neuron forecast from its own past only: what a model of the population has to improve on.

For each neuron and horizon h, ``x_t = c + sum_k a_k x_(t-h-k)`` with k from 0 to the order minus one. Each horizon has
a fit of its own (a direct forecast); the one-step fit is not applied h times (an iterated forecast). On the validation
trials of E65 both agree up to three frames ahead. At longer horizons the direct forecast is better, because a neuron
whose one-step fit grows even a little ruins the iterated one (R2 of AR(1) at h = 10: -.30 against .01).
"""

from dataclasses import dataclass

import numpy as np

from odevae.benchmark.models.benchmark_model import BenchmarkModel, too_short_for
from odevae.data.trials import Trials

# Strengths of the shrinkage to choose from on the validation trials, in frames of evidence for the common dynamics.
STRENGTHS = (10.0, 100.0, 1e3, 1e4, 1e5)
# Neurons whose moments are computed at once; this limits the memory.
BLOCK = 64


class Autoregression(BenchmarkModel):
    """AR(p): p coefficients and a constant for every neuron and horizon, by least squares on the training trials.

    The bins before a trial are filled with its first frame, so every bin from the horizon on is used and predicted.

    Attributes:
        order: number of past frames, p.
    """

    order: int

    def fit(self, train: Trials, validation: Trials) -> None:
        """Keep the trials: each horizon is fitted when it is first needed."""
        self._train, self._validation = train, validation
        self._fitted: dict[int, Coefficients] = {}

    def coefficients(self, horizon: int) -> "Coefficients":
        """The fit for one horizon.

        Raises:
            OdevaeError: if no training trial has more frames than the horizon.
        """
        if horizon not in self._fitted:
            self._fitted[horizon] = self._fit_horizon(horizon)
        return self._fitted[horizon]

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """See `BenchmarkModel.forecast` and `coefficients`."""
        return self.coefficients(horizon).apply(trials.values, horizon)

    def _fit_horizon(self, horizon: int) -> "Coefficients":
        return _moments(self._train, self.order, horizon).solve()


class AR1(Autoregression):
    """Decay towards the mean, or growth away from it, at each neuron's own rate."""

    order = 1


class AR2(Autoregression):
    """The last frame and its slope: simple, and hard to beat on smoothed recordings."""

    order = 2


class ShrunkAR8(Autoregression):
    """AR(8) whose coefficients are drawn towards those that fit all neurons at once.

    The penalty is a ridge around the common coefficients, in units of the neuron's own variance, so that its strength
    counts frames of evidence. Each horizon has the strength of `STRENGTHS` with the smallest squared error on the
    validation trials, or the largest if no validation trial is longer than the horizon. If no training value is
    negative, forecasts are not below the smallest training value, also when strengths are compared.
    """

    order = 8

    def fit(self, train: Trials, validation: Trials) -> None:
        super().fit(train, validation)
        smallest = train.values[train.recorded].min()
        self._floor = smallest if smallest >= 0 else -np.inf
        self.strengths: dict[int, float] = {}

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        return np.maximum(super().forecast(trials, horizon), self._floor)

    def _fit_horizon(self, horizon: int) -> "Coefficients":
        moments = _moments(self._train, self.order, horizon)
        candidates = {strength: moments.solve(strength) for strength in STRENGTHS}
        counted = self._validation.recorded[:, horizon:]
        truth = self._validation.values[:, horizon:][counted]

        def error(strength: float) -> float:
            predicted = candidates[strength].apply(self._validation.values, horizon)[:, horizon:][counted]
            return ((np.maximum(predicted, self._floor) - truth) ** 2).sum()

        # If errors are equal, the strongest: without a validation trial longer than the horizon all errors are zero.
        self.strengths[horizon] = min(reversed(STRENGTHS), key=error)
        return candidates[self.strengths[horizon]]


@dataclass(frozen=True)
class Coefficients:
    """The fit for one horizon.

    Attributes:
        past: ``(p, N)``, coefficients of the frames h, h + 1, ... before the predicted one.
        constant: ``(N,)``, recorded units.
    """

    past: np.ndarray
    constant: np.ndarray

    def apply(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Predictions ``(B, L, N)`` from values ``(B, L, N)``; NaN in the first `horizon` bins."""
        predicted = np.full(values.shape, np.nan)
        predicted[:, horizon:] = self.constant
        for past, bins in zip(self.past, past_bins(values.shape[1], len(self.past), horizon), strict=True):
            predicted[:, horizon:] += past * values[:, bins]
        return predicted


def past_bins(n_bins: int, order: int, horizon: int) -> np.ndarray:
    """Bins that the bins ``horizon .. n_bins - 1`` are predicted from: ``(order, n_bins - horizon)``, latest first.

    Bin 0 is used for the bins before the trial.
    """
    latest = np.arange(max(n_bins - horizon, 0))
    return np.maximum(latest - np.arange(order)[:, None], 0)


@dataclass(frozen=True)
class _Moments:
    """Means and covariances of each neuron's past frames and of the frame to predict.

    Attributes:
        n_frames: number of predicted frames.
        past_mean: ``(N, p)``.
        mean: ``(N,)``.
        covariance: ``(N, p, p)``, of the past frames.
        cross: ``(N, p)``, of the past frames with the predicted one.
    """

    n_frames: int
    past_mean: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray

    def solve(self, strength: float = 0.0) -> Coefficients:
        """Least squares, with `strength` frames of evidence for the coefficients that fit all neurons at once."""
        common = np.linalg.pinv(self.covariance.sum(axis=0), hermitian=True) @ self.cross.sum(axis=0)
        variance = np.trace(self.covariance, axis1=1, axis2=2) / self.covariance.shape[1]
        weight = strength / self.n_frames * np.where(variance > 0, variance, 1.0)
        penalised = self.covariance + weight[:, None, None] * np.eye(len(common))
        # Without a penalty the covariance of a constant neuron is zero, and then so are its coefficients.
        inverse = np.linalg.pinv(penalised, hermitian=True)
        past = (inverse @ (self.cross + weight[:, None] * common)[..., None])[..., 0]
        return Coefficients(past=past.T, constant=self.mean - (past * self.past_mean).sum(axis=1))


def _moments(trials: Trials, order: int, horizon: int) -> _Moments:
    """The moments over every recorded frame that has one `horizon` frames earlier in its trial."""
    n_trials, n_bins, n_neurons = trials.values.shape
    trial, bins = np.nonzero(trials.recorded[:, horizon:])
    if not len(trial):
        raise too_short_for(horizon)
    seen = trial * n_bins + past_bins(n_bins, order, horizon)[:, bins]
    predicted = trial * n_bins + bins + horizon
    blocks = []
    for start in range(0, n_neurons, BLOCK):
        block = trials.values[:, :, start : start + BLOCK].reshape(n_trials * n_bins, -1)
        series = block.T.astype(np.float64, order="C")
        past, target = series[:, seen], series[:, predicted]
        past_mean, mean = past.mean(axis=2), target.mean(axis=1)
        past -= past_mean[..., None]
        past[np.ptp(past, axis=2) == 0] = 0  # a constant differs from its mean by rounding only
        covariance = past @ past.transpose(0, 2, 1) / len(trial)
        cross = (past @ (target - mean[:, None])[..., None])[..., 0] / len(trial)
        blocks.append((past_mean, mean, covariance, cross))
    return _Moments(len(trial), *map(np.concatenate, zip(*blocks, strict=True)))
