"""Missing values, NaN, in the activity of trials."""

import numpy as np

from odevae.data.recording import listed_ids
from odevae.errors import OdevaeError
from odevae.pieces import pieces

REFUSE, DROP, INTERPOLATE = CHOICES = ("refuse", "drop", "interpolate")


def trials_with_missing(activity: np.ndarray, trial: np.ndarray) -> np.ndarray:
    """Ids of the trials with a NaN.

    Args:
        activity: ``(T, N)``, of frames of trials only.
        trial: ``(T,)``.
    """
    return np.unique(trial[_frames_with_missing(activity)])


def refuse_missing(where: str, activity: np.ndarray, trial: np.ndarray, numbers: np.ndarray) -> None:
    """Refuse NaN in trials, in a sentence that says how many there are and what can be done.

    Args:
        where: the data set.
        activity, trial: ``(T, N)`` and ``(T,)``, of frames of trials only.
        numbers: ``(T,)``, the number of each frame in its file.

    Raises:
        OdevaeError: if a value is NaN.
    """
    frames = np.flatnonzero(_frames_with_missing(activity))
    if not len(frames):
        return
    missing = np.isnan(activity[frames])
    neuron = int(np.argmax(missing[0]))
    ids, n_trials = np.unique(trial[frames]), len(np.unique(trial))
    never = np.flatnonzero(missing.all(axis=0)) if len(frames) == len(trial) else np.array([])
    if len(never):
        raise OdevaeError(
            f"{where}: the activity of {len(never)} of {activity.shape[1]} neurons is NaN in every frame of a trial, "
            f"first neuron {never[0]}; remove those neurons from the file."
        )
    raise OdevaeError(
        f"{where}: the activity is NaN in {missing.sum()} of the {activity.size} values of its trials, in "
        f"{len(ids)} of {n_trials} trials ({listed_ids(ids)}) and {missing.any(axis=0).sum()} of {activity.shape[1]} "
        f"neurons, first at frame {numbers[frames[0]]}, neuron {neuron}; set datasets.{where}.missing: {DROP} to leave "
        f"those trials out, or datasets.{where}.missing: {INTERPOLATE} to fill the values on a line in time."
    )


def interpolated_activity(
    where: str, activity: np.ndarray, trial: np.ndarray, time: np.ndarray
) -> tuple[np.ndarray, int]:
    """Fill each neuron's missing values inside a trial on a line in time; before the first and after the last value of
    a trial, that value is held.

    Args:
        where: the data set, for the sentence.
        activity: ``(T, N)``.
        trial, time: ``(T,)``; the frames of a trial follow each other.

    Returns:
        ``(T, N)``, and how many values were filled.

    Raises:
        OdevaeError: if a neuron has no value in a whole trial.
    """
    filled, count = activity.copy(), 0
    for trial_id in trials_with_missing(activity, trial):
        frames = np.flatnonzero(trial == trial_id)
        missing = np.isnan(activity[frames])
        count += int(missing.sum())
        for neuron in np.flatnonzero(missing.any(axis=0)):
            lost = missing[:, neuron]
            if lost.all():
                raise OdevaeError(
                    f"{where}: neuron {neuron} is NaN in all frames of trial {trial_id}, so nothing is there to "
                    f"interpolate from; set datasets.{where}.missing: {DROP}, or remove the neuron from the file."
                )
            values = activity[frames[~lost], neuron]
            filled[frames[lost], neuron] = np.interp(time[frames[lost]], time[frames[~lost]], values)
    return filled, count


def _frames_with_missing(activity: np.ndarray) -> np.ndarray:
    """Which frames have a NaN, ``(T,)``."""
    found = np.zeros(len(activity), dtype=bool)
    for part in pieces(*activity.shape):
        found[part] = np.isnan(activity[part]).any(axis=1)
    return found
