"""Scaling and PCA, with their inverse back to the recorded units."""

from dataclasses import dataclass

import numpy as np

from odevae.protocols.observations import BASELINE_BINS
from odevae.protocols.principal_axes import ChosenFrames, principal_axes

# The source divides by SD + 1e-8.
PUBLISHED_EPSILON = 1e-8
# A neuron that hardly fires in the training trials would get a tiny scale, and a single event in another trial would be
# hundreds of SDs. Its scale is kept at this share, or more, of the median SD of the neurons that do fire.
SCALE_FLOOR = 0.1
# Both protocols of the paper keep this share of the variance (section 3).
VARIANCE_KEPT = 0.95


@dataclass(frozen=True)
class Preprocessor:
    """``N`` neurons to the ``C`` channels that a model sees and back, in three spaces.

    `raw`: the recorded units. `zscore`: neurons in units of their SD. `pca`: what the model sees, z-scored principal
    components, or z-scored neurons if no PCA is used.

    Attributes:
        neuron_mean, neuron_scale: ``(N,)``, between `raw` and `zscore`.
        pca_scale: ``(N,)``, what neurons are divided by before PCA: ones, or their SD in v2's protocol.
        components: ``(C, N)``, orthonormal rows, or an empty ``(0, N)`` array without PCA.
        channel_mean, channel_scale: ``(C,)``, of the scores before they are z-scored.
    """

    neuron_mean: np.ndarray
    neuron_scale: np.ndarray
    pca_scale: np.ndarray
    components: np.ndarray
    channel_mean: np.ndarray
    channel_scale: np.ndarray

    @property
    def n_channels(self) -> int:
        return len(self.channel_mean)

    def transform(self, raw: np.ndarray) -> np.ndarray:
        """``(..., N)`` recorded units to ``(..., C)`` observations."""
        if len(self.components):
            scores = (raw - self.neuron_mean) / self.pca_scale @ self.components.T
            return (scores - self.channel_mean) / self.channel_scale
        return self.zscore(raw)

    def inverse(self, observed: np.ndarray) -> np.ndarray:
        """``(..., C)`` observations to ``(..., N)`` recorded units; what PCA left out stays at the mean."""
        if len(self.components):
            scores = observed * self.channel_scale + self.channel_mean
            return scores @ self.components * self.pca_scale + self.neuron_mean
        return observed * self.neuron_scale + self.neuron_mean

    def zscore(self, raw: np.ndarray) -> np.ndarray:
        """``(..., N)`` recorded units to units of each neuron's SD."""
        return (raw - self.neuron_mean) / self.neuron_scale


def fit_preprocessor(frames: np.ndarray, space: str, floored: bool, rows: np.ndarray | None = None) -> Preprocessor:
    """PCA of the recorded units, then z-scores of the components, as `published` and `heldout` use it.

    Args:
        frames: ``(T, N)``, recorded units.
        space: ``pca`` keeps the components of 95 % of the variance; ``neurons`` keeps the neurons, z-scored.
        floored: raise small scales of neurons to `SCALE_FLOOR`; otherwise they are SD + 1e-8, as in the source.
        rows: indices of the frames to fit on, in any order; None for all of them.

    Raises:
        OdevaeError: if PCA is to be fitted and every neuron is silent.
    """
    n_neurons = frames.shape[1]
    chosen = ChosenFrames(frames, rows)
    mean, sd = chosen.mean_and_sd()
    scale, unscaled = _scale(sd, floored), np.ones(n_neurons)
    if space == "neurons":
        return Preprocessor(mean, scale, unscaled, np.empty((0, n_neurons)), np.zeros(n_neurons), np.ones(n_neurons))
    variances, components = principal_axes(chosen.centred(mean), VARIANCE_KEPT)
    # Scores have the mean 0, and the eigenvalue divides by T - 1 where an SD divides by T.
    score_scale = np.sqrt(variances * (1 - 1 / len(chosen))) + PUBLISHED_EPSILON
    return Preprocessor(mean, scale, unscaled, components, np.zeros(len(components)), score_scale)


def fit_scaled_pca(frames: np.ndarray, rows: np.ndarray) -> Preprocessor:
    """z-scores of neurons, then PCA whose components keep their scale, in the order of v2's source.

    Args:
        frames, rows: as in `fit_preprocessor`.
    """
    chosen = ChosenFrames(frames, rows)
    mean, sd = chosen.mean_and_sd()
    scale = _scale(sd, floored=False)
    _, components = principal_axes(chosen.centred(mean, scale), VARIANCE_KEPT)
    return Preprocessor(mean, scale, scale, components, np.zeros(len(components)), np.ones(len(components)))


def _scale(sd: np.ndarray, floored: bool) -> np.ndarray:
    if not floored:
        return sd + PUBLISHED_EPSILON
    active = sd > 0
    return np.maximum(sd, SCALE_FLOOR * np.median(sd[active]) if active.any() else 1.0)


def first_bins_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each sequence's first `BASELINE_BINS` counted bins: ``(B, L, C)``, ``(B, L)`` -> ``(B, C)``."""
    counted = mask[:, :BASELINE_BINS, None]
    return (values[:, :BASELINE_BINS] * counted).sum(axis=1) / counted.sum(axis=1)
