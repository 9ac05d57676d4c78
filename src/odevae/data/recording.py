"""A population recording: activity of neurons over frames, cut into trials, with its behaviour."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from odevae.errors import OdevaeError
from odevae.storage.files import read_arrays, write_arrays


@dataclass(frozen=True)
class Recording:
    """Activity of ``N`` neurons over ``T`` frames that belong to trials.

    Attributes:
        activity: ``(T, N)`` floating, in ``units``.
        trial: ``(T,)`` int64, the id of the trial to which each frame belongs.
        time: ``(T,)`` float64, seconds, strictly increasing inside each trial.
        covariates: behaviour by name, each ``(T,)`` float64; NaN where it was not measured.
        latents: ``(T, d)`` float64, the true latent state (simulations only).
        units: unit of ``activity``, for instance ``dF/F``.
        source: where it came from, JSON values only (``name``, ``sha256``, settings of a simulation).

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
        _check(self)

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
    def trial_ids(self) -> np.ndarray:
        """Ids of the trials, ascending, ``(B,)``."""
        return np.unique(self.trial)

    def frames_of(self, trial_id: int) -> np.ndarray:
        """Indices of the frames of one trial, in the order of recording."""
        return np.flatnonzero(self.trial == trial_id)


def _check(recording: Recording) -> None:
    where = recording.name
    activity, trial, time = recording.activity, recording.trial, recording.time
    if activity.ndim != 2 or not np.issubdtype(activity.dtype, np.floating):
        raise OdevaeError(
            f"{where}: the activity has shape {activity.shape} and type {activity.dtype}; "
            "give a floating array of frames x neurons."
        )
    n_frames = activity.shape[0]
    for label, values in {"Trial": trial, "Time": time, **recording.covariates}.items():
        if values.shape != (n_frames,):
            raise OdevaeError(
                f"{where}: {label} has shape {values.shape} but the activity has {n_frames} frames; "
                f"give one value of {label} for each frame."
            )
    if recording.latents is not None and recording.latents.shape[:1] != (n_frames,):
        raise OdevaeError(
            f"{where}: the latents have shape {recording.latents.shape} but the activity has {n_frames} frames; "
            "give one latent state for each frame."
        )
    if n_frames == 0 or activity.shape[1] == 0:
        raise OdevaeError(
            f"{where}: the activity is empty, shape {activity.shape}; give at least one trial and neuron."
        )
    bad = np.argwhere(~np.isfinite(activity))
    if len(bad):
        frame, neuron = bad[0]
        raise OdevaeError(
            f"{where}: the activity is NaN or infinite in {len(bad)} of its {activity.size} values, first at frame "
            f"{frame}, neuron {neuron}; remove those frames or neurons, or fill them, before reading the file."
        )
    if not np.issubdtype(trial.dtype, np.integer):
        raise OdevaeError(f"{where}: Trial has type {trial.dtype}; give whole numbers as trial ids.")
    if not np.isfinite(time).all():
        frame = int(np.flatnonzero(~np.isfinite(time))[0])
        raise OdevaeError(
            f"{where}: Time is NaN or infinite at frame {frame}; give the time of every frame in seconds."
        )
    # One pass over the frames sorted by trial: a loop over the trials would take hours for a file of many short ones.
    order = np.argsort(trial, kind="stable")
    same = trial[order][1:] == trial[order][:-1]
    alone = order[~np.append(False, same) & ~np.append(same, False)]
    backwards = order[1:][same & (np.diff(time[order]) <= 0)]
    if len(alone) and (not len(backwards) or trial[alone[0]] < trial[backwards[0]]):
        raise OdevaeError(
            f"{where}: trial {trial[alone[0]]} has one frame only; a trajectory needs two or more, so remove that "
            "frame or correct its trial id."
        )
    if len(backwards):
        raise OdevaeError(
            f"{where}: Time does not increase at frame {backwards[0]} of trial {trial[backwards[0]]}; give each "
            "trial's frames in order, and each trial its own id."
        )


def require_covariates(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse names of covariates that a recording does not have.

    Args:
        names: of covariates.
        known: those of the recording.
        where: what gives the names, such as a key of the configuration.

    Raises:
        OdevaeError: for the first name that is not among those `known`.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise OdevaeError(f"{where}: no covariate {name!r} in the recording; it has {', '.join(known) or 'none'}.")


def save_recording(recording: Recording, path: str | Path) -> None:
    """Write the canonical file: an ``.npz`` without pickled objects."""
    names = list(recording.covariates)
    arrays = {
        "activity": recording.activity,
        "trial": recording.trial,
        "time": recording.time,
        "covariates": np.stack([recording.covariates[name] for name in names])
        if names
        else np.empty((0, recording.n_frames)),
        "about": np.array(
            json.dumps(
                {
                    "units": recording.units,
                    "covariate_names": names,
                    "source": recording.source,
                },
                sort_keys=True,
            )
        ),
    }
    if recording.latents is not None:
        arrays["latents"] = recording.latents
    write_arrays(path, arrays)


def load_recording(path: str | Path) -> Recording:
    """Read a canonical file that `save_recording` wrote.

    Raises:
        OdevaeError: if the file is damaged or was not written by `save_recording`.
    """
    try:
        arrays, _ = read_arrays(path)
        about = json.loads(str(arrays["about"]))
        return Recording(
            activity=arrays["activity"],
            trial=arrays["trial"],
            time=arrays["time"],
            covariates=dict(zip(about["covariate_names"], arrays["covariates"], strict=True)),
            latents=arrays.get("latents"),
            units=about["units"],
            source=about["source"],
        )
    except OdevaeError:
        raise
    except Exception as error:
        raise OdevaeError(
            f"{path}: not a readable recording file of odevae ({type(error).__name__}: {error}); delete it and let the "
            "workflow write it again."
        ) from error
