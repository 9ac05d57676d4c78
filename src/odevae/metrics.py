"""Definitions of the scores. Every one takes what was counted, flattened over trials and bins, and nothing else."""

import numpy as np

# Frames whose largest activity is above this percentile of the frames' largest activities are events.
EVENT_PERCENTILE = 99


def r2_pooled(true: np.ndarray, predicted: np.ndarray) -> float:
    """Eq. 13 of the paper: ``1 - sum (x - xhat)^2 / sum (x - m)^2``, m the scalar mean of all x. NaN for constant x."""
    return _r2(true, predicted, true.mean())


def r2_neuron(true: np.ndarray, predicted: np.ndarray) -> float:
    """The same with each neuron's own mean for m (variance weighted): ``(M, N)`` arrays. NaN for constant neurons."""
    return _r2(true, predicted, true.mean(axis=0))


def _r2(true: np.ndarray, predicted: np.ndarray, mean: np.ndarray) -> float:
    variation = ((true - mean) ** 2).sum()
    return float(1 - ((true - predicted) ** 2).sum() / variation) if variation > 0 else float("nan")


def pearson(true: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's r over all entries; NaN if either is constant."""
    x, y = (true - true.mean()).ravel(), (predicted - predicted.mean()).ravel()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else float("nan")


def mse(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean squared error, in squared units of the space."""
    return float(((true - predicted) ** 2).mean())


def std_ratio(true: np.ndarray, predicted: np.ndarray) -> float:
    """SD of the prediction over SD of the truth; NaN for a constant truth."""
    deviation = true.std()
    return float(predicted.std() / deviation) if deviation > 0 else float("nan")


def event_r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """`r2_neuron` over the frames whose largest activity is above the 99th percentile, about the mean of all frames."""
    peak = true.max(axis=1)
    events = peak > np.percentile(peak, EVENT_PERCENTILE)
    return _r2(true[events], predicted[events], true.mean(axis=0)) if events.any() else float("nan")


def r2_trial(true: np.ndarray, predicted: np.ndarray, mask: np.ndarray) -> float:
    """Mean over trials of each trial's own `r2_pooled`, trials of constant truth left out (v2's source)."""
    scores = [
        r2_pooled(x[m].astype(np.float64), y[m].astype(np.float64))
        for x, y, m in zip(true, predicted, mask, strict=True)
    ]
    scores = [value for value in scores if not np.isnan(value)]
    return float(np.mean(scores)) if scores else float("nan")


def score(true: np.ndarray, predicted: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """All scores of a prediction.

    Args:
        true, predicted: ``(B, L, N)`` in one space.
        mask: ``(B, L)``, bins that count.

    Returns:
        ``r2_pooled``, ``r2_neuron``, ``r2_trial``, ``r``, ``mse``, ``std_ratio``, ``dynamics_std_ratio`` (SDs of the
        differences between successive counted bins of a trial), ``event_r2``, ``n_values`` and ``masked_fraction``
        (share left out).
    """
    x, y = true[mask].astype(np.float64), predicted[mask].astype(np.float64)
    successive = mask[:, 1:] & mask[:, :-1]
    steps_true, steps_predicted = np.diff(true, axis=1)[successive], np.diff(predicted, axis=1)[successive]
    return {
        "r2_pooled": r2_pooled(x, y),
        "r2_neuron": r2_neuron(x, y),
        "r2_trial": r2_trial(true, predicted, mask),
        "r": pearson(x, y),
        "mse": mse(x, y),
        "std_ratio": std_ratio(x, y),
        "dynamics_std_ratio": std_ratio(steps_true, steps_predicted) if successive.any() else float("nan"),
        "event_r2": event_r2(x, y),
        "n_values": int(x.size),
        "masked_fraction": float(1 - mask.mean()),
    }


def r2_batched(true: np.ndarray, predicted: np.ndarray, mask: np.ndarray, batch_size: int) -> float:
    """The published definition: `r2_pooled` of each batch of sequences in turn, averaged over batches.

    A batch of constant truth counts as zero, as in the source.
    """
    scores = []
    for start in range(0, len(true), batch_size):
        rows = slice(start, start + batch_size)
        value = r2_pooled(true[rows][mask[rows]].astype(np.float64), predicted[rows][mask[rows]].astype(np.float64))
        scores.append(0.0 if np.isnan(value) else value)
    return float(np.mean(scores))
