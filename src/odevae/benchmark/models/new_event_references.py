"""Predictors of an event that has not begun: the population's past second, or where the animal is and for how long.

Both are ridge regressions of "active within the horizon" on a few features, one for each neuron over the moments that
the task asks for (`odevae.benchmark.new_events.moments`), and answer this task only.
"""

from dataclasses import dataclass

import numpy as np

from odevae.benchmark.decoding import STRENGTHS
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.new_events import moments
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.pieces import pieces

PAST_S = 1.0
# Bumps along the track and along the trial.
N_BUMPS = 8


class _FeatureRidge(BenchmarkModel):
    """A ridge for each neuron from features of the past ``(B, L, F)``; validation moments choose one strength."""

    def fit(self, train: Trials, validation: Trials) -> None:
        self._train, self._validation = train, validation
        self._weights: dict[tuple[int, int], np.ndarray] = {}
        self._fit_features(train)
        past = self._features(train)[train.mask]
        self._centre, spread = past.mean(axis=0), past.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)

    def new_events(self, trials: Trials, horizon: int, silent: int) -> np.ndarray:
        """See `BenchmarkModel.new_events`."""
        if (horizon, silent) not in self._weights:
            self._weights[horizon, silent] = self._fitted(horizon, silent)
        return self._inputs(trials) @ self._weights[horizon, silent]

    def _fitted(self, horizon: int, silent: int) -> np.ndarray:
        """Weights ``(F + 1, N)``, the last one a constant."""
        asked, happened = moments(self._train, silent, horizon)
        inputs, n_neurons = self._inputs(self._train), asked.shape[2]
        n_features = inputs.shape[2]
        products, cross = np.zeros((n_neurons, n_features**2)), np.zeros((n_neurons, n_features))
        for rows in pieces(len(inputs), inputs.shape[1] * n_features**2):
            x, weight = inputs[rows].reshape(-1, n_features), asked[rows].reshape(-1, n_neurons).T.astype(np.float64)
            products += weight @ (x[:, :, None] * x[:, None]).reshape(len(x), -1)
            cross += (weight * happened[rows].reshape(-1, n_neurons).T) @ x
        products = products.reshape(n_neurons, n_features, n_features)
        known, known_happened = moments(self._validation, silent, horizon)
        penalty = np.diag([*[1.0] * (n_features - 1), 1e-9])  # none on the constant, but a neuron may have no moments

        def weights(strength: float) -> np.ndarray:
            return np.linalg.solve(products + strength * penalty + 1e-9 * np.eye(n_features), cross[..., None])[
                ..., 0
            ].T

        def error(strength: float) -> float:
            predicted = self._inputs(self._validation) @ weights(strength)
            return ((predicted - known_happened)[known] ** 2).sum()

        # If errors are equal, the strongest.
        return weights(min(reversed(STRENGTHS), key=error))

    def _inputs(self, trials: Trials) -> np.ndarray:
        """Features in units of their SD, and a one."""
        scaled = (self._features(trials) - self._centre) / self._spread
        return np.concatenate([scaled, np.ones((*scaled.shape[:2], 1))], axis=2)

    def _fit_features(self, train: Trials) -> None:
        raise NotImplementedError

    def _features(self, trials: Trials) -> np.ndarray:
        """``(B, L, F)``, of bin ``t`` from the bins up to ``t``."""
        raise NotImplementedError


class PopulationHistory(_FeatureRidge):
    """Principal components of what all neurons did in the past second.

    Each neuron's activity is taken as ``log(1 + x)`` and averaged over the past second.
    """

    def _fit_features(self, train: Trials) -> None:
        # Slow to import.
        from sklearn.decomposition import PCA

        recorded = train.mask[:, 1:] & train.mask[:, :-1]
        self._n_past = max(1, round(PAST_S / float(np.median(np.diff(train.times, axis=1)[recorded]))))
        past = self._past(train)[train.mask]
        self._pca = PCA(min(self.latent_dim, *past.shape), svd_solver="full").fit(past)

    def _past(self, trials: Trials) -> np.ndarray:
        """Means over the bins of the past second ``(B, L, N)``; near the start, over those that there are."""
        levels = np.log1p(np.maximum(np.where(trials.mask[..., None], trials.values, 0), 0))
        sums = np.concatenate([np.zeros_like(levels[:, :1]), levels.cumsum(axis=1, dtype=np.float64)], axis=1)
        ends = np.arange(1, sums.shape[1])
        starts = np.maximum(ends - self._n_past, 0)
        return (sums[:, ends] - sums[:, starts]) / (ends - starts)[:, None]

    def _features(self, trials: Trials) -> np.ndarray:
        past = self._past(trials)
        return (past - self._pca.mean_) @ self._pca.components_.T


@dataclass(eq=False)
class PositionTime(_FeatureRidge):
    """Where the animal is now, and the time since the trial began: bumps along both.

    Attributes:
        position: name of the covariate.
    """

    position: str = "Position"

    def _fit_features(self, train: Trials) -> None:
        if self.position not in train.covariates:
            raise OdevaeError(
                f"{type(self).__name__}: no covariate {self.position!r} in the trials; name one of "
                f"{', '.join(train.covariates) or 'none: the recording has no behaviour'}."
            )
        place = train.covariates[self.position][train.mask]
        # Half of the trials end before the median length, so bumps beyond the 95th percentile would hold few frames.
        ends = [np.nanpercentile(values, [0, 95]) for values in (place, train.times[train.mask])]
        self._bumps = [np.linspace(*end, N_BUMPS) for end in ends]

    def _features(self, trials: Trials) -> np.ndarray:
        both = (trials.covariates[self.position], trials.times)
        found = [
            np.exp(-0.5 * ((np.clip(x, at[0], at[-1])[..., None] - at) / (at[1] - at[0] or 1)) ** 2)
            for x, at in zip(both, self._bumps, strict=True)
        ]
        # A position that is not known says nothing.
        return np.nan_to_num(np.concatenate(found, axis=2))
