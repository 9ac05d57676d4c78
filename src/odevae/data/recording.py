"""A population recording: activity of neurons over frames, cut into trials, with its behaviour."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from odevae.errors import OdevaeError
from odevae.pieces import pieces
from odevae.storage.files import read_arrays, write_arrays

# What reading a file did to its frames, under ``reading`` in the source of a recording. A simulation was not read.
NOT_READ: dict[str, Any] = {
    "time_unit": "s",
    # Where the trials come from, if not from the file's ids.
    "trials_from": None,
    "frames_outside_trials": 0,
    "outside_fraction": 0.0,
    "renumbered_trials": False,
    "dropped_trials": [],
    "dropped_for_missing": [],
    # Those that stay, with a step of time that is no frame interval.
    "irregular_trials": 0,
    "bridged_frames": 0,
    "filled_values": 0,
}
IDS_SHOWN = 10
# A clock in single precision is named as such where it resolves less than this many steps within a frame interval.
CLOCK_STEPS = 4


@dataclass(frozen=True)
class Recording:
    """Activity of ``N`` neurons over ``T`` frames that belong to trials.

    Attributes:
        activity: ``(T, N)`` floating, in ``units``.
        trial: ``(T,)`` int64, the id of the trial to which each frame belongs.
        time: ``(T,)`` float64, strictly increasing inside each trial, in seconds; frame numbers if its data set says
            so (``time_unit: frames``).
        covariates: behaviour by name, each ``(T,)`` float64; NaN where it was not measured.
        latents: ``(T, d)`` float64, the true latent state (simulations only).
        units: unit of ``activity``, for instance ``dF/F``.
        source: where it came from, JSON values only: ``name``, ``sha256``, the settings of a simulation, or for a file
            ``reading`` (see `NOT_READ`) and ``left_out`` (why a variable of the file is no covariate).

    Raises:
        OdevaeError: if lengths disagree, a value of the activity or of the time is not finite, a trial has one frame
            only, or time does not increase inside a trial.
    """

    activity: np.ndarray
    trial: np.ndarray
    time: np.ndarray
    covariates: dict[str, np.ndarray] = field(default_factory=dict)
    latents: np.ndarray | None = None
    units: str = "dF/F"
    source: dict = field(default_factory=dict)

    def __post_init__(self):
        activity, trial = self.activity, self.trial
        if activity.ndim != 2 or not np.issubdtype(activity.dtype, np.floating):
            raise OdevaeError(
                f"{self.name}: the activity has shape {activity.shape} and type {activity.dtype}; "
                "give a floating array of frames x neurons."
            )
        per_frame = {"Trial": trial, "Time": self.time, **self.covariates}
        check_lengths(self.name, len(activity), per_frame, self.latents)
        if not np.issubdtype(trial.dtype, np.integer):
            raise OdevaeError(f"{self.name}: Trial has type {trial.dtype}; give whole numbers as trial ids.")
        check_frames(self.name, activity, trial, self.time, np.arange(len(activity)))

    @property
    def n_frames(self) -> int:
        return self.activity.shape[0]

    @property
    def n_neurons(self) -> int:
        return self.activity.shape[1]

    @property
    def name(self) -> str:
        return str(self.source.get("name", "recording"))

    @property
    def reading(self) -> dict:
        """What reading its file did to its frames; see `NOT_READ`."""
        return NOT_READ | self.source.get("reading", {})

    @property
    def trial_ids(self) -> np.ndarray:
        """Ids of the trials, ascending, ``(B,)``."""
        return np.unique(self.trial)

    def frames_of(self, trial_id: int) -> np.ndarray:
        """Indices of the frames of one trial, in the order of recording."""
        return self._frames_by_trial.get(int(trial_id), np.empty(0, dtype=np.int64))

    @cached_property
    def _frames_by_trial(self) -> dict[int, np.ndarray]:
        # One sort: to search the frames once for every trial would take the square of the trials.
        order = np.argsort(self.trial, kind="stable")
        ids, starts = np.unique(self.trial[order], return_index=True)
        return dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True))


def check_lengths(where: str, n_frames: int, per_frame: Mapping[str, np.ndarray], latents: np.ndarray | None) -> None:
    """Refuse arrays that do not have one value, or one latent state, for each of `n_frames` frames.

    Raises:
        OdevaeError: naming the first such array.
    """
    for label, values in per_frame.items():
        if values.shape != (n_frames,):
            raise OdevaeError(
                f"{where}: {label} has shape {values.shape} but the activity has {n_frames} frames; "
                f"give one value of {label} for each frame."
            )
    if latents is not None and latents.shape[:1] != (n_frames,):
        raise OdevaeError(
            f"{where}: the latents have shape {latents.shape} but the activity has {n_frames} frames; "
            "give one latent state for each frame."
        )


def check_frames(where: str, activity: np.ndarray, trial: np.ndarray, time: np.ndarray, numbers: np.ndarray) -> None:
    """Refuse frames that are no trials of a recording.

    Args:
        where: the recording, for the sentence.
        activity, trial, time: ``(T, N)``, ``(T,)``, ``(T,)``.
        numbers: ``(T,)``, the number of each frame in its file, for the sentence.

    Raises:
        OdevaeError: if a value is not finite, a trial has one frame only, or time does not increase inside a trial.
    """
    if activity.size == 0:
        raise OdevaeError(
            f"{where}: the activity is empty, shape {activity.shape}; give at least one trial and neuron."
        )
    if not all(np.isfinite(activity[part]).all() for part in pieces(*activity.shape)):
        bad = np.argwhere(~np.isfinite(activity))
        frame, neuron = bad[0]
        raise OdevaeError(
            f"{where}: the activity is NaN or infinite in {len(bad)} of its {activity.size} values, first at frame "
            f"{numbers[frame]}, neuron {neuron}; remove those frames or neurons, or fill them, before reading the file."
        )
    if not np.isfinite(time).all():
        frame = int(np.flatnonzero(~np.isfinite(time))[0])
        raise OdevaeError(
            f"{where}: Time is NaN or infinite at frame {numbers[frame]}; give the time of every frame of a trial."
        )
    alone, earlier, later = neighbours(trial)
    if len(alone):
        one = len(alone) == 1
        raise OdevaeError(
            f"{where}: {listed_ids(trial[alone])} {'has' if one else 'have'} one frame only; a trajectory needs two or "
            f"more, so remove {'that frame' if one else 'those frames'}, correct the trial ids, or set "
            f"datasets.{where}.irregular_trials: drop."
        )
    steps = time[later] - time[earlier]
    wrong = np.flatnonzero(steps <= 0)
    if len(wrong):
        frame = later[wrong[0]]
        does = "repeats" if (steps[wrong] == 0).all() else "does not increase"
        raise OdevaeError(
            f"{where}: Time {does} at {len(wrong)} frames of {listed_ids(trial[later[wrong]])}, first at frame "
            f"{numbers[frame]}; {_remedy(time[frame], steps)}."
        )


def _remedy(time: float, steps: np.ndarray) -> str:
    """What to do about a time that does not increase."""
    if (steps < 0).any():
        return "give each trial's frames in order, and each trial its own id"
    forward = steps[steps > 0]
    resolution = float(np.spacing(np.float32(time)))
    # The resolution, not the stored type, shows what happened: rounded times may have become double precision later.
    if np.float32(time) == time and len(forward) and CLOCK_STEPS * resolution > np.median(forward):
        return (
            f"it was stored in single precision (float32), which resolves {resolution:.2g} at {time:.9g}, so store it "
            "in double precision (float64) or count it from the start of the recording"
        )
    return "give every frame its own time, with enough digits"


def neighbours(trial: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames of trials of one frame, and the pairs of successive frames of the others.

    Args:
        trial: ``(T,)``, the id of the trial of each frame.

    Returns:
        Frames that are alone in their trial; the earlier and the later frame of each pair, ordered by trial.
    """
    # One pass over the frames sorted by trial: a loop over the trials would take hours for a file of many short ones.
    order = np.argsort(trial, kind="stable")
    same = trial[order][1:] == trial[order][:-1]
    return order[~np.append(False, same) & ~np.append(same, False)], order[:-1][same], order[1:][same]


def listed_ids(trial: np.ndarray) -> str:
    """Some trials as text, for instance ``trials 3, 7 and 12`` or ``trial 3``; the first few of many."""
    ids = list(map(str, np.unique(trial)))
    more = len(ids) - IDS_SHOWN
    shown = [*ids[:IDS_SHOWN], f"{more} more"] if more > 0 else ids
    return f"trial {ids[0]}" if len(ids) == 1 else f"trials {', '.join(shown[:-1])} and {shown[-1]}"


def trial_lengths(trial: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Sums of the steps of time of each trial, ``(B,)``; `trial` has the id of each step."""
    return np.bincount(np.unique(trial, return_inverse=True)[1], weights=steps)


def timing(recording: Recording) -> dict:
    """The clock of a recording.

    Returns:
        ``time_unit``: ``s`` or ``frames``; ``frame_rate``: frames in one such unit (Hz for seconds), from the median
        interval inside trials; ``trial_lengths``: the shortest, the median and the longest trial, first to last frame,
        in that unit.
    """
    _, earlier, later = neighbours(recording.trial)
    steps = recording.time[later] - recording.time[earlier]
    lengths = trial_lengths(recording.trial[later], steps)
    return {
        "time_unit": recording.reading["time_unit"],
        "frame_rate": float(1 / np.median(steps)),
        "trial_lengths": [float(pick(lengths)) for pick in (np.min, np.median, np.max)],
    }


def silent_neurons(recording: Recording) -> np.ndarray:
    """Which neurons are constant in the whole recording, ``(N,)``."""
    return np.ptp(recording.activity, axis=0) == 0


def require_covariates(
    names: Iterable[str], known: Iterable[str], key: str, left_out: Mapping[str, str] | None = None
) -> None:
    """Refuse names of covariates that the recording does not have.

    Args:
        names: of covariates.
        known: those of the recording.
        key: where the configuration names them, for instance ``datasets.e65.colour_by``.
        left_out: why variables of the file are no covariates, if that is known.

    Raises:
        OdevaeError: for the first name that is not among those `known`.
    """
    known = list(known)
    has = f"the recording has {', '.join(known) or 'none'}"
    for name in names:
        if name in known:
            continue
        if left_out and name in left_out:
            raise OdevaeError(f"config: {key}: {name!r} is in the file but is no covariate: {left_out[name]}; {has}.")
        raise OdevaeError(
            f"config: {key}: no covariate {name!r} with a number for each frame; {has} (variables that are text or of "
            "another length are left out when the file is read)."
        )


def as_arrays(frames, **about) -> dict[str, np.ndarray]:
    """A `Recording` or `odevae.data.frames.Frames` as plain arrays for a file, with `about`, JSON values by field."""
    covariates = frames.covariates
    arrays = {
        "activity": frames.activity,
        "time": frames.time,
        "covariates": np.array(list(covariates.values())).reshape(len(covariates), len(frames.time)),
        "about": np.array(json.dumps(about | {"covariate_names": list(covariates)}, sort_keys=True)),
    }
    others = {"trial": frames.trial, "latents": frames.latents}
    return arrays | {name: values for name, values in others.items() if values is not None}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict:
    """The fields of what `as_arrays` made into arrays."""
    about = json.loads(str(arrays["about"]))
    fields = {name: arrays.get(name) for name in ("activity", "trial", "time", "latents")}
    covariates = dict(zip(about.pop("covariate_names"), arrays["covariates"], strict=True))
    return fields | {"covariates": covariates} | about


def save_recording(recording: Recording, path: str | Path) -> None:
    """Write the canonical file: an ``.npz`` without pickled objects."""
    write_arrays(path, as_arrays(recording, units=recording.units, source=recording.source))


def load_recording(path: str | Path) -> Recording:
    """Read a canonical file that `save_recording` wrote.

    Raises:
        OdevaeError: if the file is damaged or was not written by `save_recording`.
    """
    try:
        return Recording(**from_arrays(read_arrays(path)[0]))
    except OdevaeError:
        raise
    except Exception as error:
        raise OdevaeError(
            f"{path}: not a readable recording file of odevae ({type(error).__name__}: {error}); delete it and let the "
            "workflow write it again."
        ) from error
