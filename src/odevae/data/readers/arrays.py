"""From named arrays, as a file holds them, to the frames of a recording: the part that all formats share."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.names import LONGEST_NAME, is_plain
from odevae.data.recording import check_lengths
from odevae.errors import OdevaeError

# Whole numbers beyond this are no longer exact in the float64 that MATLAB stores them in.
LARGEST_EXACT_ID = 2**53
# Share of this machine's memory that reading may take; the stages after it need the rest.
MEMORY_SHARE = 0.5
NAMES_SHOWN = 30
NUMERIC = "biuf"  # kinds of NumPy's types
LATENTS = "latents"


@dataclass(frozen=True)
class Layout:
    """Which variable of a file is what: the plain layout unless a data set says otherwise.

    Attributes:
        activity: name of the activity.
        trial: name of the trial ids, or None if the file has none.
        time: name of the times, or None if `rate_hz` is given.
        covariates: their names; None for every other vector of one number for each frame.
        rate_hz: frames in a second; then the first frame is at 0 s.
        frames: whether ``rows`` or ``columns`` of the activity count frames; None where the lengths decide.
        trial_may_lack: whether a file without `trial` has no trials, instead of being refused.
    """

    activity: str = "roi"
    trial: str | None = "Trial"
    time: str | None = "Time"
    covariates: tuple[str, ...] | None = None
    rate_hz: float | None = None
    frames: str | None = None
    trial_may_lack: bool = True

    def of(self, names: Iterable[str]) -> "Layout":
        """The layout of a file with these variables: without trial ids if they may lack and do."""
        return replace(self, trial=None) if self.trial_may_lack and self.trial not in names else self

    @property
    def required(self) -> tuple[str, ...]:
        """Names that the file must have, in the order of the plain layout."""
        return tuple(name for name in (self.activity, self.trial, self.time, *(self.covariates or ())) if name)

    def may_be_covariate(self, name: str) -> bool:
        """Whether a variable of this name becomes a covariate if it has one number for each frame."""
        if self.covariates is not None:
            return name in self.covariates
        return name not in (self.activity, self.trial, self.time, LATENTS)

    def n_frames(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> int:
        """How many frames variables of these shapes have.

        Raises:
            OdevaeError: if neither a trial nor a time of each frame nor `frames` shows it.
        """
        for name in (self.trial, self.time):
            if name:
                return math.prod(shapes[name])
        shape = shapes[self.activity]
        if self.frames is None:
            raise OdevaeError(
                f"{where}: {self.activity} has shape {shape}, and no trial or time of each frame shows which side "
                "counts frames; say so in read.frames: rows or columns (odevae inspect shows the shape that it reads)."
            )
        return (shape or (1,))[0 if self.frames == "rows" else -1]


PLAIN = Layout()


def layout_of(
    *,
    activity: str = PLAIN.activity,
    trial: str | None = None,
    time: str | None = None,
    covariates: Iterable[str] | None = None,
    rate_hz: float | None = None,
    frames: str | None = None,
) -> Layout:
    """The layout that a data set states; what it does not name, the file does not have.

    Raises:
        OdevaeError: if the frames have no time, or two.
    """
    if (time is None) == (rate_hz is None):
        raise OdevaeError(
            f"config: read needs {'one of time and rate_hz, not both' if time else 'time or rate_hz'}: the name of the "
            "variable with the time of each frame, or how many frames a second has."
        )
    covariates = None if covariates is None else tuple(covariates)
    return Layout(activity, trial, time, covariates, rate_hz, frames, trial_may_lack=False)


def frames_from_variables(variables: Mapping, *, where: str, layout: Layout = PLAIN) -> Frames:
    """The frames of named arrays; by default ``roi`` and ``Time``, ``Trial`` if the file has trials, and covariates.

    Unless the layout names the covariates, every other numeric vector with one value for each frame becomes one, under
    its own name; other variables (text, scalars, matrices) are left out. A matrix ``latents`` (frames x dimensions) is
    the true latent state.

    Args:
        variables: arrays by name; vectors may be stored with extra axes of length one, as MATLAB does.
        where: the file, for messages.
        layout: which variable is what.

    Raises:
        OdevaeError: if a variable that is needed is missing, or as `assemble` does.
    """
    layout = layout.of(variables)
    require(variables, layout.required, where)
    frames = assemble(
        variables[layout.activity],
        trial=None if layout.trial is None else variables[layout.trial],
        time=time_of(layout, variables, where),
        covariates={name: variables[name] for name in variables if layout.may_be_covariate(name)},
        latents=variables.get(LATENTS),
        rows_are_frames=None if layout.frames is None else layout.frames == "rows",
        where=where,
    )
    for name in layout.covariates or ():
        if name in frames.left_out:
            raise OdevaeError(f"{where}: {name} is no covariate: {frames.left_out[name]}; leave it out of read.")
    return frames


def time_of(layout: Layout, variables: Mapping, where: str) -> np.ndarray:
    """The time of each frame, from the variable of that name or from the frame rate."""
    if layout.time is not None:
        return variables[layout.time]
    n_frames = layout.n_frames({name: np.shape(variables[name]) for name in layout.required}, where)
    return np.arange(n_frames) / layout.rate_hz


def assemble(
    activity,
    *,
    trial,
    time,
    covariates: Mapping,
    latents=None,
    intervals: Mapping[str, np.ndarray] | None = None,
    rows_are_frames: bool | None = None,
    where: str,
) -> Frames:
    """Orient the activity, set the types, and keep the covariates that have one number for each frame.

    Args:
        activity: ``(T, N)`` or ``(N, T)``, or ``(T,)`` for one neuron; see `frames_by_neurons`.
        trial: ``T`` whole numbers, NaN for frames outside trials; None if nothing says which frames are a trial.
        time: ``T`` numbers.
        covariates: by name; those that are not ``T`` numbers are left out.
        latents: ``(T, d)`` or None.
        intervals: by name, ``(K, 2)``.
        rows_are_frames: whether the activity is ``(T, N)``; None if its shape decides.
        where: the file, for messages.

    Raises:
        OdevaeError: if lengths disagree, the orientation is not clear, a trial id is not whole, or the name of a
            covariate cannot be printed.
    """
    time = _vector(_numbers(time, "Time", where)).astype(np.float64)
    if trial is None and time.ndim != 1:
        raise OdevaeError(f"{where}: Time has shape {time.shape}; give one number for each frame.")
    trial = None if trial is None else _trial_ids(_numbers(trial, "Trial", where), where)
    label, n_frames = ("Time", len(time)) if trial is None else ("Trial", len(trial))
    arrays = {name: np.asarray(values) for name, values in covariates.items()}
    reasons = {name: why_no_covariate(values.shape, values.dtype, n_frames) for name, values in arrays.items()}
    kept = {name: _vector(values) for name, values in arrays.items() if reasons[name] is None}
    if unprintable := [name for name in kept if not is_plain(name)]:
        raise OdevaeError(
            f"{where}: a covariate has the name {unprintable[0][:LONGEST_NAME]!a}; give it one of 1 to {LONGEST_NAME} "
            "printable characters."
        )
    activity = frames_by_neurons(
        _numbers(activity, "the activity", where), n_frames, where, label=label, rows_are_frames=rows_are_frames
    )
    if latents is not None:
        latents = _numbers(latents, LATENTS, where).astype(np.float64)
        if latents.ndim != 2 or not np.isfinite(latents).all():
            raise OdevaeError(
                f"{where}: the latents have shape {latents.shape} and must be a finite frames x dimensions array; "
                "correct them or leave them out."
            )
    per_frame = {"Time": time} if trial is None else {"Trial": trial, "Time": time}
    check_lengths(where, len(activity), per_frame, latents)
    return Frames(
        activity=activity,
        trial=trial,
        time=time,
        covariates={name: values.astype(np.float64) for name, values in kept.items()},
        latents=latents,
        left_out={name: reason for name, reason in reasons.items() if reason is not None and is_plain(name)},
        intervals={name: np.asarray(table, dtype=np.float64) for name, table in (intervals or {}).items()},
    )


def why_no_covariate(shape: tuple[int, ...], dtype: np.dtype, n_frames: int) -> str | None:
    """Why an array of a file is no covariate of a recording of `n_frames`; None if it is one."""
    if dtype.kind in "USO":
        return "it is text or other objects; store a number for each word"
    if dtype.kind not in NUMERIC:
        return f"it has type {dtype.name}; store real numbers"
    if _squeezed(shape) != (n_frames,):
        return f"it has shape {shape}, not one number for each of {n_frames} frames"
    return None


def frames_by_neurons(
    activity: np.ndarray, n_frames: int, where: str, *, label: str = "Trial", rows_are_frames: bool | None = None
) -> np.ndarray:
    """The activity as ``(T, N)`` in float32 if it was so stored, else float64.

    Unless `rows_are_frames` says so, only the number of trial ids (or of times; `label` names them) shows which side
    counts frames. A square array is refused, because a wrong guess would pass every later check. A vector is one
    neuron.

    Raises:
        OdevaeError: if the activity is no matrix, or not exactly one of its sides is `n_frames` long.
    """
    if activity.shape == (n_frames,):
        activity = activity[:, None]
    if activity.ndim != 2 or n_frames not in activity.shape:
        raise OdevaeError(
            f"{where}: {label} has shape {(n_frames,)} but the activity has shape {activity.shape}, and no side of it "
            f"counts the same frames; give one {'time' if label == 'Time' else 'trial id'} for each frame of a frames "
            "x neurons array."
        )
    if rows_are_frames is None and activity.shape[0] == activity.shape[1]:
        raise OdevaeError(
            f"{where}: the activity has shape {activity.shape}, so the length of {label} does not show which side "
            "counts frames; leave out one neuron or one frame, or say in read.frames which side it is."
        )
    if rows_are_frames is None:
        rows_are_frames = activity.shape[0] == n_frames
    dtype = np.float32 if activity.dtype.kind == "f" and activity.dtype.itemsize == 4 else np.float64
    return np.ascontiguousarray(activity if rows_are_frames else activity.T, dtype=dtype)


def require(present: Iterable[str], names: Iterable[str], where: str) -> None:
    """Refuse a file that lacks one of `names`, in a sentence that says what it holds instead.

    Raises:
        OdevaeError: naming what is missing and what is present.
    """
    if missing := [name for name in names if name not in present]:
        raise OdevaeError(
            f"{where}: lacks {', '.join(missing)} (it holds {listed(sorted(present)) or 'nothing'}); "
            f"store the recording as {', '.join(names)}."
        )


def only_pairs(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]], where: str) -> str:
    """The name of the one array of two columns of numbers, ``(n, 2)``, in a file.

    Args:
        shapes: shape and type of each array of the file, by name.
        where: the file, for messages.

    Raises:
        OdevaeError: if there is none, or more than one.
    """
    found = [name for name, (shape, dtype) in shapes.items() if shape[1:] == (2,) and dtype.kind in NUMERIC]
    if len(found) != 1:
        raise OdevaeError(
            f"{where}: {len(found) or 'none'} of its variables ({listed(sorted(shapes)) or 'nothing'}) "
            f"{'has' if len(found) < 2 else 'have'} two columns of numbers; store one such array, with the neuron and "
            "the time of each spike."
        )
    return found[0]


def memory_limit() -> int:
    """Bytes that reading a recording may take."""
    return int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def too_large(path: Path) -> OdevaeError:
    """The refusal of a file that needs more memory than reading may take."""
    return OdevaeError(
        f"{path}: needs more memory than reading may take here ({memory_limit() / 1e9:.1f} GB); use a machine with "
        "more memory, or copy the file again if it should be small."
    )


def listed(names: Iterable[str]) -> str:
    """Names from a file, which may be anything, as one line of printable text."""
    names = list(names)
    shown = [name if name.isprintable() else ascii(name) for name in names[:NAMES_SHOWN]]
    shown = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..." for name in shown]
    return ", ".join(shown) + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


def _numbers(values, label: str, where: str) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in NUMERIC:
        raise OdevaeError(f"{where}: {label} has type {values.dtype.name}; store it as a full array of real numbers.")
    return values


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1) or (1,)


def _vector(values: np.ndarray) -> np.ndarray:
    return values.reshape(_squeezed(values.shape))


def _trial_ids(values: np.ndarray, where: str) -> np.ndarray:
    """The ids as ``(T,)`` float64, NaN outside trials."""
    trial = _vector(values)
    if trial.ndim != 1:
        raise OdevaeError(f"{where}: Trial has shape {values.shape}; give one trial id for each frame.")
    ids = trial.astype(np.float64)
    wrong = np.flatnonzero(~(np.isnan(ids) | ((ids == np.rint(ids)) & (np.abs(ids) <= LARGEST_EXACT_ID))))
    if len(wrong):
        raise OdevaeError(
            f"{where}: Trial is {trial[wrong[0]]} at frame {wrong[0]}; give whole numbers below 2^53 as trial ids, and "
            "NaN to frames outside trials."
        )
    return ids
