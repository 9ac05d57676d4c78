"""The tasks of a model on trials it has never seen, and the score of each.

Every task is scored with `metrics.score` in recorded units on native frames, and its events by `EventScorer`, if the
recording has any. A model gets the test trials only here, after it was fitted.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from odevae.benchmark.decoding import STRENGTHS
from odevae.benchmark.event_readout import read_events
from odevae.benchmark.event_scorer import EventScorer
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


def reconstruct(model: BenchmarkModel, test: Trials, events: EventScorer | None = None) -> dict[str, float]:
    """The whole trial is seen, and predicted through whatever the model passes it through."""
    return _scored(model, "reconstruct", test, 0, events)


def onset(model: BenchmarkModel, test: Trials, n_frames: int, events: EventScorer | None = None) -> dict[str, float]:
    """The first `n_frames` of a trial are seen; the rest is predicted and scored."""
    return _scored(model, "onset", test, n_frames, events)


def forecast(model: BenchmarkModel, test: Trials, horizon: int, events: EventScorer | None = None) -> dict[str, float]:
    """Each frame is predicted from those at least `horizon` frames before it, and scored where there is one."""
    return _scored(model, "forecast", test, horizon, events)


def _scored(
    model: BenchmarkModel, task: str, test: Trials, number: int, events: EventScorer | None
) -> dict[str, float]:
    """The scores of a task whose first `number` frames are not scored."""

    def predict(trials: Trials) -> np.ndarray:
        return getattr(model, task)(trials, *[number] * (task != "reconstruct"))

    predicted, counted = predict(test), from_bin(test, number)
    scores = _kept(test, predicted, counted)
    if events is None:
        return scores
    if model.answers("event_rates"):
        rates = model.event_rates(task, test, number)[counted]
        return scores | events.scores_of_rates(test, rates, counted)
    validation = events.validation
    known = from_bin(validation, number)
    return scores | events.scores_of_predictions(test, predicted[counted], counted, predict(validation)[known], known)


def cosmooth(
    fit: Callable[[Trials, Trials], BenchmarkModel],
    train: Trials,
    validation: Trials,
    test: Trials,
    draw: int,
    events: EventScorer | None = None,
) -> dict[str, float]:
    """A quarter of the neurons from the latents of the others.

    A model is fitted on three quarters of the neurons only; a ridge, fitted on training trials and with a strength
    chosen on validation trials, predicts the other neurons from its latents. Their events are predicted by a readout
    of their own, see `read_events`.

    Args:
        fit: gives a model, fitted on the given training and validation trials.
        train, validation, test: trials of all neurons.
        draw: number of the draw of neurons: that of the split, so that every split holds out others, the same ones
            for every model.
    """
    held_out = held_out_neurons(train.values.shape[2], draw)
    model = fit(_neurons(train, ~held_out), _neurons(validation, ~held_out))

    parts = (train, validation, test)
    latents = [model.infer(_neurons(trials, ~held_out)) for trials in parts]
    frames = [found[trials.mask] for found, trials in zip(latents, parts, strict=True)]
    target = [trials.values[trials.mask][:, held_out] for trials in parts]
    readout = fit_readout(frames[0], target[0], frames[1], target[1])
    predicted = np.zeros((*test.mask.shape, held_out.sum()))
    predicted[test.mask] = readout.predict(frames[2])
    scores = _kept(_neurons(test, held_out), predicted, test.mask)
    if events is None:
        return scores
    read = read_events(latents, [trials.mask for trials in parts], [events.events(values) for values in target[:2]])
    return scores | events.scores_of_readout(target[2], read[1], target[1], read[0], held_out)


def hidden_neurons(
    model: BenchmarkModel, validation: Trials, test: Trials, draw: int, events: EventScorer | None = None
) -> dict[str, float]:
    """The task `cosmooth` of a model that predicts neurons which it does not see, without a readout.

    It was fitted on all neurons of the training trials, as the readout of `cosmooth` is; of the test trials it sees the
    neurons that are not held out. Its rates are calibrated on validation trials as those of that readout are.
    """
    held_out = held_out_neurons(test.values.shape[2], draw)

    def answers(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        return model.hidden_neurons(replace(trials, values=np.where(held_out, np.nan, trials.values)), held_out)

    activity, rates = answers(test)
    scores = _kept(_neurons(test, held_out), activity, test.mask)
    if events is None:
        return scores
    known = answers(validation)[1][validation.mask]
    target = [trials.values[trials.mask][:, held_out] for trials in (test, validation)]
    return scores | events.scores_of_readout(target[0], rates[test.mask], target[1], known, held_out)


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


def from_bin(trials: Trials, first: int) -> np.ndarray:
    """The counted bins from bin `first` on."""
    return trials.mask & (np.arange(trials.mask.shape[1]) >= first)


def _kept(truth: Trials, predicted: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    scores = score(truth.values, predicted, mask)
    return {name: scores[name] for name in KEPT}
