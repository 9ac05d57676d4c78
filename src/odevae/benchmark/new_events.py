"""The task ``new_events``: a neuron has been silent; will it be active soon?

A forecast of all frames is mostly the decay of transients that have begun, and in a smoothed recording the smoothing
itself. After enough silence neither is left.
"""

import numpy as np

from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.tasks import HORIZONS
from odevae.data.trials import Trials
from odevae.events import SPARSE, calibration, event_scores, rate_of

# Frames within which an event may come.
NEW_EVENT_HORIZONS = (5, 10)


def new_events(model: BenchmarkModel, test: Trials, horizon: int, events: EventScorer) -> dict[str, float]:
    """Whether a neuron that was silent for `EventScorer.silent` frames is active within the next `horizon` frames.

    A model without a method ``new_events`` gives the sum of its forecasts over the frames of `HORIZONS` up to the
    horizon, relative to the neuron's mean activity and times its null. One monotone map for all neurons, fitted on
    validation trials, makes it a probability. The null is each neuron's share of such moments in training trials.

    Returns:
        See `odevae.events.event_scores`, and ``n_values``, the moments that were scored.
    """

    asked, happened = moments(events.train, events.silent, horizon)
    null = rate_of((asked & happened).sum(axis=(0, 1)), asked.sum(axis=(0, 1)))

    def likely(trials: Trials) -> np.ndarray:
        if model.answers("new_events"):
            return model.new_events(trials, horizon, events.silent)
        # So that the forecast of a neuron's mean becomes its null.
        return forecast_within(model, trials, horizon) / (events.null.rate * events.null.size) * null

    known, known_happened = moments(events.validation, events.silent, horizon)
    calibrate = calibration(likely(events.validation)[known], known_happened[known].astype(np.float64))
    asked, happened = (x.reshape(-1, x.shape[2]) for x in moments(test, events.silent, horizon))
    scores = np.where(asked, likely(test).reshape(asked.shape), np.nan)
    found = event_scores(happened.astype(np.float64), scores, calibrate(scores), null, SPARSE, asked)
    return found | {"n_values": int(asked.sum())}


def moments(trials: Trials, silent: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The moments at which a new event is asked for, and whether there was one.

    Returns:
        ``(B, L, N)`` bool both: bin ``t`` is asked if the neuron was silent from ``t - silent + 1`` to ``t`` and the
        trial goes on to ``t + horizon``; there was an event if it is active in ``t + 1`` to ``t + horizon``.
    """
    active, counted = (trials.values > 0) & trials.mask[..., None], trials.mask
    n_bins = counted.shape[1]
    asked, happened = np.zeros((2, *active.shape), dtype=bool)
    first, last = silent - 1, n_bins - horizon
    if last <= first:
        return asked, happened
    sums = np.concatenate([np.zeros_like(active[:, :1], dtype=np.int32), active.cumsum(axis=1, dtype=np.int32)], axis=1)
    bins = np.arange(first, last)
    quiet = sums[:, bins + 1] == sums[:, bins + 1 - silent]
    asked[:, first:last] = quiet & (counted[:, bins] & counted[:, bins + horizon])[..., None]
    happened[:, first:last] = sums[:, bins + 1 + horizon] > sums[:, bins + 1]
    return asked, happened


def forecast_within(model: BenchmarkModel, trials: Trials, horizon: int) -> np.ndarray:
    """Mean of the forecasts from each bin for the frames of `HORIZONS` up to `horizon`, recorded units.

    Returns:
        ``(B, L, N)``; 0 in the last `horizon` bins, where nothing is asked.
    """
    total = np.zeros(trials.values.shape)
    n_bins = total.shape[1] - horizon
    frames = [ahead for ahead in HORIZONS if ahead <= horizon]
    if n_bins > 0:
        for ahead in frames:
            total[:, :n_bins] += model.forecast(trials, ahead)[:, ahead : ahead + n_bins]
    return total / len(frames)
