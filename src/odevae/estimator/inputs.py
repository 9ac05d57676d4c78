"""What the estimator is given, as trials, and its answers in the form of what it was given."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from odevae.data.recording import listed_ids
from odevae.data.trials import Trials, off_interval
from odevae.errors import OdevaeError

TrialsLike = Trials | np.ndarray | Sequence[np.ndarray]
"""Trials of one population: `Trials` on native frames, an array ``(B, L, N)``, or a list of arrays frames x N."""

FORMS = "a list of arrays (frames x neurons), one array (trials x frames x neurons), or odevae.data.trials.Trials"


class InputError(OdevaeError, ValueError):
    """Trials that the estimator cannot use; a `ValueError` too, which is what scikit-learn expects."""


def as_trials(X: TrialsLike, *, min_frames: int = 1, n_neurons: int | None = None) -> Trials:
    """The trials that were given, checked. Arrays have one frame a unit of time.

    Args:
        X: see `TrialsLike`.
        min_frames: that every trial needs.
        n_neurons: that the model was fitted on; None for any number.

    Raises:
        InputError: if X is none of these forms, or has no trial, too short a trial, values that are no finite numbers,
            or another number of neurons.
    """
    trials = _checked(X) if isinstance(X, Trials) else _stacked(X)
    lengths = trials.recorded.sum(axis=1)
    if (lengths < min_frames).any():
        row = int(np.argmax(lengths < min_frames))
        raise InputError(
            f"trial {row} of X has {lengths[row]} frame(s), but a trial needs {min_frames} or more here; leave it out."
        )
    bad = trials.recorded[..., None] & ~np.isfinite(trials.values)
    if bad.any():
        row, frame, neuron = np.argwhere(bad)[0]
        raise InputError(
            f"X is NaN, infinite or too large for float32 in {bad.sum()} values, first in trial {row}, frame {frame}, "
            f"neuron {neuron}; remove those frames or neurons, or fill them."
        )
    found = trials.values.shape[2]
    if n_neurons is not None and found != n_neurons:
        raise InputError(f"X has {found} neurons, but the model was fitted on {n_neurons}; give the same neurons.")
    return trials


def _checked(trials: Trials) -> Trials:
    if not len(trials):
        raise InputError("X has 0 trials; give at least one.")
    n_bins = trials.recorded.shape[1]
    first = np.arange(n_bins) < trials.recorded.sum(axis=1)[:, None]
    if not (np.array_equal(trials.recorded, first) and np.array_equal(trials.mask, first)):
        raise InputError(
            "X has trials that are padded or do not begin at their first bin; give them on native frames, as "
            "odevae.data.trials.cut makes them."
        )
    return trials


def _stacked(X: np.ndarray | Sequence[np.ndarray]) -> Trials:
    """Trials of plain arrays, with zeros after the end of each."""
    if hasattr(X, "toarray"):
        raise InputError(f"X is a sparse array ({type(X).__name__}); give {FORMS}, all of them dense.")
    if _is_one_array(X) and X.ndim != 3:
        raise InputError(
            f"X is an array of {X.ndim} dimensions, shape {X.shape}; give {FORMS}. Reshape your data, or give "
            "one trial as a list of one array."
        )
    try:
        arrays = [_numbers(trial, row) for row, trial in enumerate(X)]
    except TypeError as error:
        raise InputError(f"X is of type {type(X).__name__}; give {FORMS}.") from error
    if not arrays:
        raise InputError("X has 0 trials; give at least one.")
    n_neurons = arrays[0].shape[1]
    for row, array in enumerate(arrays):
        if array.shape[1] != n_neurons:
            raise InputError(
                f"trial {row} of X has {array.shape[1]} neurons, but trial 0 has {n_neurons}; give all trials of the "
                "same neurons."
            )
    if not n_neurons:
        raise InputError(
            f"X has 0 feature(s) (shape={arrays[0].shape}) while a minimum of 1 is required; give trials of one "
            "neuron or more."
        )
    lengths = np.array([len(array) for array in arrays])
    recorded = np.arange(max(1, lengths.max())) < lengths[:, None]
    values = np.zeros((*recorded.shape, n_neurons), dtype=np.float32)
    for row, array in enumerate(arrays):
        with np.errstate(over="ignore"):
            values[row, : len(array)] = array
    times = np.where(recorded, np.arange(recorded.shape[1], dtype=np.float64), 0.0)
    return Trials(values=values, mask=recorded, recorded=recorded, times=times, trial_ids=np.arange(len(arrays)))


def _numbers(trial: Any, row: int) -> np.ndarray:
    """One trial as a real array of frames x neurons."""
    array = np.asarray(trial)
    if array.ndim != 2:
        raise InputError(f"trial {row} of X has {array.ndim} dimensions, shape {array.shape}; give {FORMS}.")
    if array.dtype.kind == "c":
        raise InputError(f"Complex data not supported: trial {row} of X is complex; give real numbers.")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"trial {row} of X has values that are no numbers ({error}); give numbers.") from error


def _is_one_array(X: TrialsLike) -> TypeGuard[np.ndarray]:
    """Whether X is one array, and not an array that holds the array of each trial."""
    return isinstance(X, np.ndarray) and (X.dtype != object or X.ndim != 1)


def like(X: TrialsLike, trials: Trials, values: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """Answers ``(B, L, K)`` in the form of X: a list for a list, else an array; NaN after the end of a trial."""
    if isinstance(X, Trials) or _is_one_array(X):
        return np.where(trials.recorded[..., None], values, np.nan).astype(values.dtype)
    return [answer[:n] for answer, n in zip(values, trials.recorded.sum(axis=1), strict=True)]


def frame_interval(trials: Trials) -> float:
    """The median frame interval, s.

    Raises:
        InputError: if a trial does not keep to it.
    """
    steps, within = np.diff(trials.times, axis=1), trials.recorded[:, 1:]
    interval = float(np.median(steps[within]))
    irregular = within & off_interval(steps, interval)
    if irregular.any():
        rows = irregular.any(axis=1)
        raise InputError(
            f"{listed_ids(trials.trial_ids[rows])} of X: not at the steady frame interval of the others, "
            f"{interval:.4g} s; leave out what lacks frames, or fill it, before you cut trials."
        )
    return interval
