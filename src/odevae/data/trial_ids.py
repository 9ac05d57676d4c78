"""Ids of trials as files give them: frames outside trials, and ids that are used again."""

import numpy as np

from odevae.errors import OdevaeError

STRETCHES_SHOWN = 3


def trial_of_each_frame(
    trial: np.ndarray, time: np.ndarray, no_trial: int | None, renumber: bool, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """The id of each frame's trial, ``(T,)`` int64, and which frames lie outside trials, ``(T,)``.

    Args:
        trial, time: ``(T,)`` float64, as the file has them; trial is NaN outside trials.
        no_trial: another id of frames outside trials.
        renumber: give every stretch of one trial id its own number, from 1.
        where: the data set, for messages.

    Raises:
        OdevaeError: if an id is negative or has several stretches, or all frames lie outside trials.
    """
    outside = np.isnan(trial)
    if no_trial is not None:
        outside |= trial == no_trial
    if len(outside) and outside.all():
        raise OdevaeError(
            f"{where}: all {len(outside)} frames lie outside trials; give Trial the id of a trial where there is one, "
            f"and check datasets.{where}.no_trial."
        )
    ids = np.where(outside, 0, trial).astype(np.int64)
    begins = (np.diff(ids, prepend=0) != 0) | np.diff(outside, prepend=True)
    if renumber:
        # An id may end one block and begin the next.
        begins[1:] |= time[1:] < time[:-1]
        return np.cumsum(begins & ~outside), outside
    if (ids < 0).any():
        frame = int(np.argmin(ids))
        raise OdevaeError(
            f"{where}: Trial is {ids[frame]} in {(ids == ids[frame]).sum()} frames, first at frame "
            f"{np.argmax(ids == ids[frame])}; set datasets.{where}.no_trial: {ids[frame]} if they lie outside trials, "
            "or give trials ids of 0 and more."
        )
    starts = np.flatnonzero(begins & ~outside)
    known, counts = np.unique(ids[starts], return_counts=True)
    if (counts > 1).any():
        raise _used_again(ids, outside, starts, known[counts > 1], len(known), where)
    return ids, outside


def _used_again(ids, outside, starts, again, n_ids: int, where: str) -> OdevaeError:
    """The refusal of trial ids that have several stretches of frames."""
    ends = np.append(np.flatnonzero((np.diff(ids) != 0) | np.diff(outside)), len(ids) - 1)

    def lies(trial_id: int) -> str:
        first = starts[ids[starts] == trial_id]
        spans = [f"{frame}-{ends[np.searchsorted(ends, frame)]}" for frame in first[:STRETCHES_SHOWN]]
        spans += ["..."] if len(first) > STRETCHES_SHOWN else []
        return f"{trial_id} in {len(first)} (frames {', '.join(spans)})"

    more = len(again) - STRETCHES_SHOWN
    remedies = [
        f"datasets.{where}.renumber_trials: true if each stretch is a trial of its own (ids that start again in each "
        "block, or the type of a trial)"
    ]
    if len(again) == 1 or again[0] == 0:
        remedies.insert(0, f"datasets.{where}.no_trial: {again[0]} if the frames of {again[0]} lie outside trials")
    return OdevaeError(
        f"{where}: {len(again)} of {n_ids} trial ids come in several stretches of frames: "
        f"{', '.join(map(lies, again[:STRETCHES_SHOWN]))}{f' and {more} more' if more > 0 else ''}; set "
        f"{', or '.join(remedies)}."
    )
