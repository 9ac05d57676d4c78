"""Trials that belong together, such as windows of one session or trials of one day, and the time between trials."""

import numpy as np

from odevae.data.recording import Recording, listed_ids
from odevae.errors import OdevaeError

# Stretches of successive trials, for recordings in which no covariate says what belongs together.
BLOCK = "block"


def trial_groups(recording: Recording, trial_ids: np.ndarray, group_by: str, test_fraction: float) -> np.ndarray:
    """The group of each trial.

    Args:
        recording: the trials, and the covariate.
        trial_ids: ``(B,)``, of the trials in question.
        group_by: a covariate that is constant in each trial. `BLOCK`, unless there is such a covariate, cuts the trials
            in their order of recording into stretches of about the same length, each of them a share
            `test_fraction` of the trials.
        test_fraction: the share of the trials that a split tests.

    Returns:
        ``(B,)`` float64, the covariate, or the number of the block from 1.

    Raises:
        OdevaeError: if there is no such covariate, or it changes or is NaN in a trial.
    """
    if group_by not in recording.covariates:
        if group_by != BLOCK:
            raise OdevaeError(
                f"config: datasets.{recording.name}.heldout.group_by: no covariate {group_by!r}; the recording has "
                f"{', '.join(recording.covariates) or 'none'}, and {BLOCK} makes groups of successive trials."
            )
        order = np.argsort([recording.frames_of(i)[0] for i in trial_ids])
        n_blocks = min(round(1 / test_fraction), len(trial_ids))
        groups = np.empty(len(trial_ids))
        for number, rows in enumerate(np.array_split(order, n_blocks), start=1):
            groups[rows] = number
        return groups
    values = [recording.covariates[group_by][recording.frames_of(i)] for i in trial_ids]
    wrong = np.array([not np.isfinite(v).all() or np.ptp(v) > 0 for v in values])
    if wrong.any():
        raise OdevaeError(
            f"{recording.name}: {group_by} changes or is missing in {listed_ids(trial_ids[wrong])}, but "
            f"datasets.{recording.name}.heldout.group_by needs one value for each trial; choose another covariate."
        )
    return np.array([v[0] for v in values])


def time_to_nearest(recording: Recording, trial_ids: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The time from each of some trials to the nearest of others, from the last frame of one to the first of the other.

    In the unit of the recording's time; zero for trials that overlap; infinite if all others are on another clock. A
    clock starts again where, in the order of the file, time goes back.

    Args:
        recording: the trials.
        trial_ids: ``(B,)``, the ids of the trials.
        rows, others: the trials from and to which the time is taken, as rows of `trial_ids`.

    Returns:
        ``(len(rows),)``.
    """
    frames = [recording.frames_of(i) for i in trial_ids]
    clock = np.cumsum(np.diff(recording.time, prepend=recording.time[:1]) < 0)[[f[0] for f in frames]]
    first, last = (np.array([recording.time[f[k]] for f in frames]) for k in (0, -1))
    nearest = np.full(len(rows), np.inf)
    # Row by row: all pairs at once would take the memory of the square of the trials.
    for number, row in enumerate(rows):
        same = others[clock[others] == clock[row]]
        between = np.maximum(first[same] - last[row], first[row] - last[same])
        nearest[number] = between.min(initial=np.inf)
    return nearest.clip(min=0.0)
