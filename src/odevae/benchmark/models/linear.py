"""Linear latents of single frames: principal components and factor analysis, by scikit-learn.

Both work in recorded units about the training mean, without z-scores, because recorded units are scored: with z-scores,
components would go to neurons that hardly fire.
"""

import numpy as np
from sklearn import decomposition

from odevae.benchmark.models.benchmark_model import BenchmarkModel, too_short_for
from odevae.data.trials import Trials
from odevae.errors import OdevaeError


class _FrameLatents(BenchmarkModel):
    """Latents that are a linear map of each frame, and back."""

    def fit(self, train: Trials, validation: Trials) -> None:
        """Fit on the training frames.

        Raises:
            OdevaeError: if the training trials have fewer neurons or frames than latent dimensions.
        """
        frames = train.values[train.recorded].astype(np.float64)
        if self.latent_dim > min(frames.shape):
            raise OdevaeError(
                f"{type(self).__name__} with {self.latent_dim} latent dimensions needs as many neurons and frames, but "
                f"the training trials have {frames.shape[1]} neurons and {frames.shape[0]} frames; lower the latent "
                "dimension."
            )
        self.model = self._model().fit(frames)
        # The same linear map as scikit-learn's `transform`, which refuses frames that are not finite.
        self._encoder = self.model.transform(self.model.mean_ + np.eye(frames.shape[1]))

    def infer(self, trials: Trials) -> np.ndarray:
        """Latents ``(B, L, D)``; zeros in bins that were not recorded."""
        latents = (trials.values - self.model.mean_) @ self._encoder
        latents[~trials.recorded] = 0.0
        return latents

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self._decode(self.infer(trials))

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        """Latents ``(..., D)`` to recorded units ``(..., N)``."""
        return latents @ self.model.components_ + self.model.mean_

    def _model(self):
        """The estimator of scikit-learn."""
        raise NotImplementedError


class PCA(_FrameLatents):
    """Principal components of single frames; forecasts through a linear map of the scores.

    For each horizon h the scores of a frame are regressed on those h frames earlier, over the training trials. Activity
    outside the components is not forecast, so at short horizons a forecast from each neuron's own past is far better.
    """

    def fit(self, train: Trials, validation: Trials) -> None:
        super().fit(train, validation)
        self._train = train
        self._maps: dict[int, np.ndarray] = {}

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """See `BenchmarkModel.forecast`.

        Raises:
            OdevaeError: if no training trial has more frames than the horizon.
        """
        known = self.infer(trials)[:, : max(trials.values.shape[1] - horizon, 0)]
        predicted = np.full(trials.values.shape, np.nan)
        predicted[:, horizon:] = self._decode(_with_one(known) @ self.latent_map(horizon))
        return predicted

    def latent_map(self, horizon: int) -> np.ndarray:
        """Least squares from scores and a one to the scores `horizon` frames later, ``(D + 1, D)``."""
        if horizon not in self._maps:
            latents, later = self.infer(self._train), self._train.recorded[:, horizon:]
            if not later.any():
                raise too_short_for(horizon)
            now, then = latents[:, : later.shape[1]][later], latents[:, horizon:][later]
            self._maps[horizon] = np.linalg.lstsq(_with_one(now), then, rcond=None)[0]
        return self._maps[horizon]

    def _model(self) -> decomposition.PCA:
        return decomposition.PCA(self.latent_dim, svd_solver="full")


class FactorAnalysis(_FrameLatents):
    """Factors that neurons share, and noise of each neuron's own.

    The latents are the posterior means ``E[z | x]``. Unlike in PCA, activity of a single neuron counts as its noise, so
    the reconstruction is good only if neurons predict each other, which on E65 they hardly do.
    """

    def _model(self) -> decomposition.FactorAnalysis:
        return decomposition.FactorAnalysis(self.latent_dim, random_state=self.seed)


def _with_one(latents: np.ndarray) -> np.ndarray:
    return np.concatenate([latents, np.ones((*latents.shape[:-1], 1))], axis=-1)


class AllNeurons(BenchmarkModel):
    """No model: the observed activity is used as the latents, one for each neuron.

    A linear readout from it uses all that the frame holds, so it is a limit for readouts from linear latents. The
    reconstruction is a copy.
    """

    def fit(self, train: Trials, validation: Trials) -> None:
        """Nothing is fitted."""

    def infer(self, trials: Trials) -> np.ndarray:
        """The activity ``(B, L, N)``."""
        return trials.values.astype(np.float64)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self.infer(trials)
