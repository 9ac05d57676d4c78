"""What a model answers to stand in the benchmark, whether it is one of ours or a reference."""

import numpy as np

from odevae.data.trials import Trials


class BenchmarkModel:
    """A model that is fitted on training trials and then answers some of the tasks of the benchmark.

    A subclass implements `fit` and those of the other methods that make sense for it; a task whose method it leaves
    out is not scored. Everything is in recorded units on native frames. Bins outside a trial's `recorded` hold
    zeros, count for nothing, and may be predicted as anything finite.

    Attributes:
        latent_dim: dimension ``D`` of the latents; a model without latents ignores it.
        seed: of every random number that the model draws.
    """

    def __init__(self, latent_dim: int = 1, seed: int = 0):
        self.latent_dim = latent_dim
        self.seed = seed

    def take_over(self, sibling: "BenchmarkModel") -> None:
        """Before `fit`: keep from a model of the same class what does not depend on `latent_dim`.

        The sibling was fitted at another dimension, otherwise alike, on the trials that this one will be fitted on. A
        model whose every part depends on the dimension keeps nothing, as here.
        """

    def fit(self, train: Trials, validation: Trials) -> None:
        """Learn from the training trials; `validation` serves to stop early and to choose between settings."""
        raise NotImplementedError

    def reconstruct(self, trials: Trials) -> np.ndarray:
        """Predictions ``(B, L, N)`` of whole trials that are seen whole."""
        raise NotImplementedError

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        """Predictions ``(B, L, N)`` of whole trials of which the first `n_frames` are seen."""
        raise NotImplementedError

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """Predictions ``(B, L, N)``: bin ``t`` from the bins up to ``t - horizon`` of the same trial, nothing else.

        The first `horizon` bins, before which nothing was seen, are NaN; every later bin is finite.
        """
        raise NotImplementedError

    def infer(self, trials: Trials) -> np.ndarray:
        """Latents ``(B, L, D)`` of trials that are seen whole."""
        raise NotImplementedError

    def intrinsic_dimension(self) -> float:
        """The dimension of the manifold that was found in the training trials."""
        raise NotImplementedError

    @classmethod
    def answers(cls, task: str) -> bool:
        """Whether the model implements one of the methods above."""
        return getattr(cls, task) is not getattr(BenchmarkModel, task)
