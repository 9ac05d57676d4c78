"""The causal mode of multiple shooting: forecasts from each neuron's own past and the state of the population."""

import numpy as np
import torch

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.neural.history_mlp import HistoryMLP
from odevae.benchmark.models.shooting import Shooting, ShootingFrozen
from odevae.data.trials import Trials
from odevae.training.causal import Moments, fit_causal, states_now
from odevae.training.reproducibility import random_state_kept, seed_everything
from odevae.training.shooting import tensors

# Moments whose frames are forecast at once.
CHUNK = 512


class ShootingCausal(BenchmarkModel):
    """What `HistoryMLP` forecasts of each neuron from its own past, moved by what the latent state says.

    For each horizon the forecast is ``m + a (own - m) + b (population - m)`` with the mean activity ``m`` of each
    neuron. The two weights are the same for all neurons, by least squares on the validation trials. New events are
    forecast from the latent state alone, because a silent neuron's own past says nothing more.
    """

    shooting_class: type[Shooting] = Shooting

    def fit(self, train: Trials, validation: Trials) -> None:
        """Fit the model of whole trials, its causal copy and the network of own pasts.

        The global random state is left as it was.

        Raises:
            OdevaeError: if a loss is no number, or trials are too short to forecast.
        """
        self.shooting = self.shooting_class(self.latent_dim, self.seed)
        self.shooting.fit(train, validation)
        with random_state_kept():
            seed_everything(self.seed)
            self.model = fit_causal(
                self.shooting.model,
                self.shooting.settings,
                tensors(train, self.shooting.scale),
                tensors(validation, self.shooting.scale),
            )
        self.own_past = HistoryMLP(seed=self.seed)
        self.own_past.fit(train, validation)
        frames = train.values[train.recorded]
        self._mean, smallest = frames.mean(axis=0, dtype=np.float64), frames.min()
        self._floor = smallest if smallest >= 0 else -np.inf
        self._validation = validation
        self._weights: dict[int, np.ndarray] = {}

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """See `BenchmarkModel.forecast`. If no training value is negative, forecasts are not below the smallest.

        Raises:
            OdevaeError: if the network of own pasts was not fitted for this horizon.
        """
        weights = self.weights(horizon)
        return np.maximum(self._mean + np.tensordot(weights, self._deviations(trials, horizon), 1), self._floor)

    def weights(self, horizon: int) -> np.ndarray:
        """Of the own past and of the population, ``(2,)``; the own past alone if no validation trial is so long."""
        if horizon not in self._weights:
            counted = self._validation.mask[:, horizon:]
            deviations = self._deviations(self._validation, horizon)[:, :, horizon:][:, counted]
            wanted = (self._validation.values[:, horizon:] - self._mean)[counted]
            self._weights[horizon] = (
                np.linalg.lstsq(deviations.reshape(2, -1).T, wanted.ravel(), rcond=None)[0]
                if counted.any()
                else np.array([1.0, 0.0])
            )
        return self._weights[horizon]

    def new_events(self, trials: Trials, horizon: int, silent: int) -> np.ndarray:
        """Expected number of frames with an event, or of spikes, in the next `horizon` frames."""
        return self._ahead(trials, horizon)[1].sum(axis=0)

    def _deviations(self, trials: Trials, horizon: int) -> np.ndarray:
        """Forecasts from the own past and from the population, less the mean activity, ``(2, B, L, N)``."""
        population = np.full(trials.values.shape, np.nan)
        n_later = max(trials.values.shape[1] - horizon, 0)
        population[:, horizon:] = self._ahead(trials, horizon)[0][-1, :, :n_later]
        return np.stack([self.own_past.forecast(trials, horizon), population]) - self._mean

    def _ahead(self, trials: Trials, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Activity and events expected in each of the next `n_frames` after every bin, ``(n_frames, B, L, N)`` both;
        the mean activity outside the recorded bins."""
        model, likelihood = self.model, self.model.likelihood
        moments = Moments(*tensors(trials, self.shooting.scale))
        start = likelihood.start.expand(1, -1)
        found = [
            np.broadcast_to(answer(start).numpy(), (n_frames, *trials.values.shape)).copy()
            for answer in (likelihood.mean, likelihood.events)
        ]
        with torch.no_grad():
            for at in moments.at.split(CHUNK):
                output = model.decoder(model.solve(states_now(model, *moments.past(at)), n_frames)[:, 1:])
                trial, bins = at.T.numpy()
                for array, answer in zip(found, (likelihood.mean, likelihood.events), strict=True):
                    array[:, trial, bins] = answer(output).numpy().transpose(1, 0, 2)
        return found[0] * np.float32(self.shooting.scale), found[1]


class ShootingCausalFrozen(ShootingCausal):
    """The control: the field never moves, so the state is held."""

    shooting_class = ShootingFrozen
