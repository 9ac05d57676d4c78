"""Scores of events: whether a neuron is active, or how many spikes it fires, instead of how large its activity is.

In a recording that is zero most of the time, squared error is decided by the amplitude of a few transients. These
scores ask for the events alone. What an event is depends on the recording, see `KINDS`.

All functions take frames that are scored, ``(M, N)``, flattened over trials and bins. Where only some of their entries
are scored, `counted` ``(M, N)`` says which.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

SPIKES, SPARSE, DENSE = "spikes", "sparse", "dense"
# Counts, Poisson; active or not, Bernoulli; activity without a state of rest, which has no events.
KINDS = (SPIKES, SPARSE, DENSE)
# Our choice: activity that is not counts is sparse if at least this share of it is exactly zero.
SPARSE_ZEROS = 0.5
# Neurons with fewer events in the scored part have no AUC worth averaging (../docs/scores.md).
FEWEST_EVENTS = 5
# Smallest probability or rate whose logarithm is taken, as in the evaluation of the Neural Latents Benchmark.
FLOOR = 1e-9


def kind_of(values: np.ndarray) -> str:
    """Which of `KINDS` a recording is, from recorded values of any shape: `SPIKES` for whole numbers from 0 on,
    `SPARSE` for values from 0 on that are mostly 0, `DENSE` for all others."""
    return kind_of_pieces([values])


def kind_of_pieces(pieces: Iterable[np.ndarray]) -> str:
    """As `kind_of`, of all pieces together; nothing is read after the first value below 0."""
    whole, zeros, total = True, 0, 0
    for piece in pieces:
        if piece.min(initial=0) < 0:
            return DENSE
        whole = whole and bool((piece == np.round(piece)).all())
        zeros += int((piece == 0).sum())
        total += piece.size
    if whole:
        return SPIKES
    return SPARSE if zeros >= SPARSE_ZEROS * total else DENSE


def events_in(values: np.ndarray, kind: str) -> np.ndarray:
    """Events of the same shape, float64: the counts, or 1 where a neuron is active."""
    return values.astype(np.float64) if kind == SPIKES else (values > 0).astype(np.float64)


@dataclass(frozen=True)
class Null:
    """What is known of each neuron before any model: how often it has an event, and how large events are.

    Attributes:
        rate: ``(N,)``, events a frame. A neuron without any has half an event, so that its rate has a logarithm.
        size: ``(N,)``, mean activity of an event in recorded units; 1 for spikes. A neuron without any has that of all
            neurons together. An expected activity over this size is an expected number of events.
    """

    rate: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, kind: str) -> "Null":
        """From training frames ``(M, N)`` in recorded units."""
        events, total = events_in(values, kind).sum(axis=0), values.sum(axis=0, dtype=np.float64)
        common = total.sum() / events.sum() if events.sum() else 1.0
        size = np.divide(total, events, out=np.full(len(events), common), where=events > 0)
        return cls(rate_of(events, len(values)), size)


def rate_of(events: np.ndarray, n_frames: int | np.ndarray) -> np.ndarray:
    """Events a frame, ``(N,)``, of numbers of events: at least half an event."""
    return np.maximum(events, 0.5) / np.maximum(n_frames, 1)


def log_likelihood(events: np.ndarray, rates: np.ndarray, kind: str) -> np.ndarray:
    """Of each entry, in nats: Poisson for `SPIKES` (without ``log n!``, which is the same for every model), else
    Bernoulli. `rates` are expected counts, or probabilities."""
    rates = np.maximum(rates, FLOOR)
    if kind == SPIKES:
        return events * np.log(rates) - rates
    rates = np.minimum(rates, 1 - FLOOR)
    return np.where(events > 0, np.log(rates), np.log1p(-rates))


def bits_per_event(
    events: np.ndarray, rates: np.ndarray, null: np.ndarray, kind: str, counted: np.ndarray | None = None
) -> float:
    """How much better rates explain events than each neuron's own constant rate does, in bits an event.

    ``(LL(rates) - LL(null)) / (n_events ln 2)``: the co-smoothing score of the Neural Latents Benchmark (Pei et al.
    2021; `bits_per_spike` of its ``nlb_tools``), whose null is the mean of the scored part; here it is the
    rate in training trials, which no scored trial has changed.

    Args:
        events: ``(M, N)``, see `events_in`.
        rates: ``(M, N)``, expected counts or probabilities.
        null: ``(N,)``, `Null.rate`.
        kind: `SPIKES` or `SPARSE`.
        counted: ``(M, N)`` bool; all entries if not given.

    Returns:
        0 for the null itself; NaN without events or where a rate is not finite.
    """
    gained = log_likelihood(events, rates, kind) - log_likelihood(events, np.broadcast_to(null, events.shape), kind)
    if counted is not None:
        gained, events = gained[counted], events[counted]
    total = events.sum()
    return float(gained.sum() / (total * np.log(2))) if total > 0 else float("nan")


def event_auc(events: np.ndarray, scores: np.ndarray, counted: np.ndarray | None = None) -> tuple[float, int]:
    """How well scores rank the frames of each neuron by whether it has an event; mean over neurons.

    Args:
        events, scores, counted: ``(M, N)``.

    Returns:
        The mean area under the ROC curve (.5 for a constant score), NaN if no neuron has enough events or a score is
        not finite; and how many neurons were left out, for fewer than `FEWEST_EVENTS` frames with an event, or none
        without.
    """
    # Slow to import, and a recording without events needs none of it.
    from sklearn.metrics import roc_auc_score

    areas, left_out = [], 0
    for neuron in range(events.shape[1]):
        rows = slice(None) if counted is None else counted[:, neuron]
        happened, own = events[rows, neuron] > 0, scores[rows, neuron]
        if happened.sum() < FEWEST_EVENTS or happened.all():
            left_out += 1
        elif not np.isfinite(own).all():
            return float("nan"), left_out
        else:
            areas.append(roc_auc_score(happened, own))
    return (float(np.mean(areas)) if areas else float("nan")), left_out


def calibration(predicted: np.ndarray, events: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """One monotone map for all neurons from predictions to probabilities or rates, by isotonic regression.

    It is the monotone map of largest likelihood for Bernoulli as for Poisson events, because the solution is the same
    for every exponential family (Robertson, Wright and Dykstra 1988). One event is added at the smallest
    prediction and one frame without any at the largest, so that no probability is 0 or 1.

    Args:
        predicted, events: of validation trials, any shape, the same one.

    Returns:
        A map from predictions of any shape to rates of that shape; NaN stays NaN. Without anything finite to fit, it
        gives NaN.
    """
    from sklearn.isotonic import IsotonicRegression

    x, y = predicted.ravel(), events.ravel()
    known = np.isfinite(x)
    if not known.any():
        return lambda new: np.full(new.shape, np.nan)
    x, y = x[known], y[known]
    ends = np.array([x.min(), x.max()])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(np.append(x, ends), np.append(y, [1.0, 0.0]))

    def calibrated(new: np.ndarray) -> np.ndarray:
        rates, finite = np.full(new.shape, np.nan), np.isfinite(new)
        if finite.any():
            rates[finite] = fitted.predict(new[finite])
        return rates

    return calibrated


def event_scores(
    events: np.ndarray,
    predicted: np.ndarray,
    rates: np.ndarray,
    null: np.ndarray,
    kind: str,
    counted: np.ndarray | None = None,
) -> dict[str, float]:
    """``event_auc`` of predictions, before a calibration that would only add ties, and ``bits_per_event`` of rates.

    Also ``n_events``, and ``auc_left_out``, the neurons without an AUC of their own. Bits are of all neurons.
    """
    auc, left_out = event_auc(events, predicted, counted)
    return {
        "event_auc": auc,
        "bits_per_event": bits_per_event(events, rates, null, kind, counted),
        "n_events": int(events.sum() if counted is None else events[counted].sum()),
        "auc_left_out": left_out,
    }
