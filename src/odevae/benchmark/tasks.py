"""The tasks of a model on trials it has never seen, and the score of each.

Every task is scored with `metrics.score` in recorded units on native frames. A model gets the test trials only
here, after it was fitted.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from odevae.benchmark.decoding import STRENGTHS
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.metrics import r2_neuron, score

# Frames ahead.
HORIZONS = (1, 2, 3, 5, 10)
# Frames that an onset model sees: the paper's one, and the five of its baseline correction.
ONSETS = (1, 5)
# Share of the neurons that cosmooth holds out.
HELD_OUT_NEURONS = 0.25
# Of `metrics.score`, what the benchmark keeps.
KEPT = ("r2_neuron", "r2_pooled", "r", "mse", "n_values")


def reconstruct(model: BenchmarkModel, test: Trials) -> dict[str, float]:
    """The whole trial is seen, and predicted through whatever the model passes it through."""
    return _kept(test, model.reconstruct(test), test.mask)


def onset(model: BenchmarkModel, test: Trials, n_frames: int) -> dict[str, float]:
    """The first `n_frames` of a trial are seen; the rest is predicted and scored."""
    return _kept(test, model.onset(test, n_frames), _from(test, n_frames))


def forecast(model: BenchmarkModel, test: Trials, horizon: int) -> dict[str, float]:
    """Each frame is predicted from those at least `horizon` frames before it, and scored where there is one."""
    return _kept(test, model.forecast(test, horizon), _from(test, horizon))


def cosmooth(
    fit: Callable[[Trials, Trials], BenchmarkModel], train: Trials, validation: Trials, test: Trials, draw: int
) -> dict[str, float]:
    """A quarter of the neurons from the latents of the others.

    A model is fitted on three quarters of the neurons only; a ridge, fitted on training trials and with a strength
    chosen on validation trials, predicts the other neurons from its latents.

    Args:
        fit: gives a model, fitted on the given training and validation trials.
        train, validation, test: trials of all neurons.
        draw: number of the draw of neurons: that of the split, so that every split holds out others, the same ones
            for every model.
    """
    held_out = held_out_neurons(train.values.shape[2], draw)
    model = fit(_neurons(train, ~held_out), _neurons(validation, ~held_out))

    def latents(trials: Trials) -> np.ndarray:
        return model.infer(_neurons(trials, ~held_out))[trials.mask]

    def target(trials: Trials) -> np.ndarray:
        return trials.values[trials.mask][:, held_out]

    readout = fit_readout(latents(train), target(train), latents(validation), target(validation))
    predicted = np.zeros((*test.mask.shape, held_out.sum()))
    predicted[test.mask] = readout.predict(latents(test))
    return _kept(_neurons(test, held_out), predicted, test.mask)


def held_out_neurons(n_neurons: int, draw: int) -> np.ndarray:
    """Which neurons a draw holds out, ``(N,)`` bool: at least one, and never all."""
    n_held_out = min(max(1, round(HELD_OUT_NEURONS * n_neurons)), n_neurons - 1)
    held_out = np.zeros(n_neurons, dtype=bool)
    held_out[np.random.default_rng(draw).permutation(n_neurons)[:n_held_out]] = True
    return held_out


def fit_readout(latents: np.ndarray, target: np.ndarray, held_latents: np.ndarray, held_target: np.ndarray):
    """scikit-learn's ridge from latents ``(M, D)`` to a target ``(M, C)``, its strength the best of `STRENGTHS` on
    other frames."""
    # Slow to import, and models without latents need none of it.
    from sklearn.linear_model import Ridge

    fits = [Ridge(alpha=strength).fit(latents, target) for strength in STRENGTHS]
    return max(fits, key=lambda fit: r2_neuron(held_target, fit.predict(held_latents)))


def _neurons(trials: Trials, chosen: np.ndarray) -> Trials:
    return replace(trials, values=trials.values[:, :, chosen])


def _from(trials: Trials, first: int) -> np.ndarray:
    """The counted bins from bin `first` on."""
    return trials.mask & (np.arange(trials.mask.shape[1]) >= first)


def _kept(truth: Trials, predicted: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    scores = score(truth.values, predicted, mask)
    return {name: scores[name] for name in KEPT}
