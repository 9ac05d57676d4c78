"""A recording cut into trials of one length: cutting on native frames, resampling onto a common grid."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from odevae.data.recording import Recording
from odevae.errors import OdevaeError

# A frame interval may differ from the median by this share before one common frame grid would misplace frames.
IRREGULARITY_ALLOWED = 0.5


@dataclass(frozen=True)
class Trials:
    """``B`` sequences of ``L`` bins of ``N`` channels.

    Attributes:
        values: ``(B, L, N)`` float32.
        mask: ``(B, L)`` bool, bins that count in losses and scores.
        recorded: ``(B, L)`` bool, bins that lie inside the recorded trial. The published protocol counts bins (mask)
            that were never recorded: that difference is its padding.
        times: ``(B, L)`` float64, seconds since the first frame of the trial.
        trial_ids: ``(B,)`` int64.
        covariates: behaviour by name, each ``(B, L)`` float64.
        latents: ``(B, L, d)`` float64, true latent states (simulations only).
    """

    values: np.ndarray
    mask: np.ndarray
    recorded: np.ndarray
    times: np.ndarray
    trial_ids: np.ndarray
    covariates: dict[str, np.ndarray] = field(default_factory=dict)
    latents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.trial_ids)

    def take(self, rows: np.ndarray) -> "Trials":
        """The sequences `rows`, in that order; a row may be taken more than once."""
        arrays = {name: getattr(self, name)[rows] for name in ("values", "mask", "recorded", "times", "trial_ids")}
        covariates = {name: values[rows] for name, values in self.covariates.items()}
        return Trials(**arrays, covariates=covariates, latents=None if self.latents is None else self.latents[rows])


def off_interval(steps: np.ndarray, interval: float) -> np.ndarray:
    """Which steps of time are no frame interval, of the shape of `steps`."""
    return np.abs(steps - interval) > IRREGULARITY_ALLOWED * interval


def usable_trials(recording: Recording, drop_first: int, min_frames: int = 2) -> np.ndarray:
    """Ids of the trials to analyse, ascending.

    Leaves out trials with an id below the file's first id + `drop_first`, as the source of the paper does, unless no
    more than `drop_first` trials exist, and trials of fewer than `min_frames` frames.

    Raises:
        OdevaeError: if none is left.
    """
    ids = recording.trial_ids
    if len(ids) > drop_first:
        ids = ids[ids >= min([ids[0], *recording.reading["dropped_trials"]]) + drop_first]
    ids = np.array([i for i in ids if len(recording.frames_of(i)) >= min_frames], dtype=np.int64)
    if not len(ids):
        raise OdevaeError(
            f"{recording.name}: none of {len(recording.trial_ids)} trials is left after dropping the first "
            f"{drop_first} ids (drop_first_trials) and trials of fewer than {min_frames} frames; lower "
            f"drop_first_trials of datasets.{recording.name}, or give longer trials."
        )
    return ids


def cut(recording: Recording, values: np.ndarray, trial_ids: np.ndarray) -> Trials:
    """Cut ``(T, N)`` `values` of the frames of a recording into trials, on the native frames.

    Shorter trials are filled with zeros that neither count nor are recorded.
    """
    frames = [recording.frames_of(i) for i in trial_ids]
    n_bins = max(map(len, frames))
    recorded = np.arange(n_bins) < np.array([len(f) for f in frames])[:, None]

    def stack(per_frame: np.ndarray, dtype) -> np.ndarray:
        stacked = np.zeros((len(frames), n_bins, *per_frame.shape[1:]), dtype=dtype)
        for row, f in enumerate(frames):
            stacked[row, : len(f)] = per_frame[f]
        return stacked

    times = stack(recording.time, np.float64)
    times = np.where(recorded, times - times[:, :1], 0.0)
    values = stack(values, np.float32)
    return _stacked(recording, values, trial_ids, stack, mask=recorded, recorded=recorded, times=times)


def resample(
    recording: Recording,
    trial_ids: np.ndarray,
    bins: int,
    duration_s: float,
    transform: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Trials:
    """Interpolate what `transform` makes of the activity linearly onto `bins` times over 0 .. `duration_s`.

    `transform` is given the frames of one trial at a time, ``(t, N)`` to ``(t, C)``.

    Past its end a trial is held at its last frame, and every bin counts, padded or not: this is the paper's grid
    (section 3 (ii), and its source code). Frames after `duration_s` are not used.
    """
    # The source builds its grid and its frame times in single precision; which frames a landmark picks depends on it.
    grid = np.linspace(0.0, duration_s, bins, dtype=np.float32)
    frames = [recording.frames_of(i) for i in trial_ids]
    since_onset = [(recording.time[f] - recording.time[f][0]).astype(np.float32) for f in frames]

    def stack(per_frame: np.ndarray, dtype, transform: Callable = np.asarray) -> np.ndarray:
        shape = transform(per_frame[frames[0]]).shape[1:]
        stacked = np.empty((len(frames), bins, *shape), dtype=dtype)
        for row, (f, t) in enumerate(zip(frames, since_onset, strict=True)):
            stacked[row] = interpolated(grid, t, transform(per_frame[f]))
        return stacked

    return _stacked(
        recording,
        stack(recording.activity, np.float32, transform),
        trial_ids,
        stack,
        mask=np.ones((len(frames), bins), dtype=bool),
        recorded=grid <= np.array([t[-1] for t in since_onset])[:, None],
        times=np.tile(grid.astype(np.float64), (len(frames), 1)),
    )


def interpolated(times: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What `numpy.interp` gives for each column, in one pass: values at ``(L,)`` `times`, ``(L, ...)`` float64.

    Args:
        times: not before the first of the `known` ones; after the last one its values are held.
        known: ``(t,)``, increasing; two or more.
        values: ``(t, ...)``, those at the known times.
    """
    known, times, values = known.astype(np.float64), times.astype(np.float64), values.astype(np.float64)
    before = np.clip(np.searchsorted(known, times, side="right") - 1, 0, len(known) - 2)
    met, beyond = times == known[before], times >= known[-1]

    def column(numbers: np.ndarray) -> np.ndarray:
        return numbers.reshape(-1, *[1] * (values.ndim - 1))

    # The order of the operations is that of `numpy.interp`, so the bits are the same.
    slopes = (values[before + 1] - values[before]) / column((known[1:] - known[:-1])[before])
    result = slopes * column(times - known[before]) + values[before]
    # Exact also where the next value is NaN.
    result[met], result[beyond] = values[before[met]], values[-1]
    return result


def _stacked(recording: Recording, values, trial_ids, stack: Callable, **bins: np.ndarray) -> Trials:
    """Trials of ``(B, L, N)`` `values`, and of what `stack` makes of all else: ``(T, ...)`` to ``(B, L, ...)``."""
    return Trials(
        values=values,
        trial_ids=np.asarray(trial_ids, dtype=np.int64),
        covariates={name: stack(c, np.float64) for name, c in recording.covariates.items()},
        latents=None if recording.latents is None else stack(recording.latents, np.float64),
        **bins,
    )
