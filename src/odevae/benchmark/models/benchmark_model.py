"""The contract of a benchmark model, one of ours or any other: what it is given and what it predicts."""

from dataclasses import dataclass

import numpy as np

from odevae.data.trials import Trials
from odevae.errors import OdevaeError


@dataclass(eq=False)
class BenchmarkModel:
    """A model that is fitted on training trials and then predicts for some of the tasks of the benchmark.

    A subclass implements `fit` and some of the other methods; a task is scored only if its method is implemented.
    Everything is in recorded units on native frames. Bins outside a trial's `recorded` hold
    zeros and do not count; a prediction there may be any finite number.

    Attributes:
        latent_dim: dimension ``D`` of the latents; a model without latents ignores it.
        seed: seed of every random number that the model draws.
    """

    latent_dim: int = 1
    seed: int = 0

    def take_over(self, sibling: "BenchmarkModel") -> None:
        """Before `fit`: reuse the parts of a fitted model of the same class that do not depend on `latent_dim`.

        The sibling has another dimension and the same other settings. It was fitted on the trials that this model will
        be fitted on. By default nothing is reused.
        """

    def fit(self, train: Trials, validation: Trials) -> None:
        """Fit on the training trials; the validation trials are for early stopping and for choosing settings."""
        raise NotImplementedError

    def reconstruct(self, trials: Trials) -> np.ndarray:
        """Predictions ``(B, L, N)`` of whole trials; the model sees all of their bins."""
        raise NotImplementedError

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        """Predictions ``(B, L, N)`` of whole trials; the model sees their first `n_frames` only."""
        raise NotImplementedError

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """Predictions ``(B, L, N)``: bin ``t`` from the bins up to ``t - horizon`` of the same trial only.

        The first `horizon` bins are NaN, because nothing was seen before them; every later bin is finite.
        """
        raise NotImplementedError

    def infer(self, trials: Trials) -> np.ndarray:
        """Latents ``(B, L, D)`` of trials; the model sees all of their bins."""
        raise NotImplementedError

    def new_events(self, trials: Trials, horizon: int, silent: int) -> np.ndarray:
        """Scores ``(B, L, N)``, larger where a neuron is likelier to be active in one of the bins ``t + 1`` to
        ``t + horizon``; bin ``t`` from the bins up to ``t`` of the same trial only.

        They count where `odevae.benchmark.new_events.moments` asks: after `silent` bins of silence. A model that
        forecasts needs no such method, its forecasts are added up.
        """
        raise NotImplementedError

    def event_rates(self, task: str, trials: Trials, number: int) -> np.ndarray:
        """For ``reconstruct``, ``onset`` or ``forecast``, the probability ``(B, L, N)`` that a neuron is active in a
        bin, or its expected number of spikes; `number` is that of the task (`odevae.benchmark.families.Task`).

        Implement it if the model has a likelihood: its events are then scored as they are. Otherwise predictions are
        calibrated on validation trials.
        """
        raise NotImplementedError

    def hidden_neurons(self, trials: Trials, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Activity and event rates, each ``(B, L, n)``, of the `n` neurons in `hidden` ``(N,)`` bool, from the others.

        What the trials hold of the hidden neurons must not be used. Implement it if the model learns to predict neurons
        that it does not see; rates are as in `event_rates`. Otherwise a readout of the latents answers ``cosmooth``.
        """
        raise NotImplementedError

    def second_halves(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """What a field gains over its control in predicting the second half of each trial from the first, and what is
        predictable of it, each ``(B,)`` in nats; see `odevae.benchmark.dynamics`."""
        raise NotImplementedError

    def intrinsic_dimension(self) -> float:
        """Dimension of the manifold that the training trials lie on, as the model estimates it."""
        raise NotImplementedError

    @classmethod
    def answers(cls, task: str) -> bool:
        """Whether the model implements one of the methods above."""
        return getattr(cls, task) is not getattr(BenchmarkModel, task)


def too_short_for(horizon: int) -> OdevaeError:
    """The error of a model whose training trials are all too short to fit a forecast."""
    return OdevaeError(
        f"no training trial has more than {horizon} frames, so nothing can be fitted to forecast {horizon} frames "
        "ahead; take a shorter horizon or longer trials."
    )
