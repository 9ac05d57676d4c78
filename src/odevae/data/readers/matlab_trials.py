"""MATLAB files with one element for each trial: a struct array (``data(k).spikes``) or a cell (``rates{k}``)."""

from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import NUMERIC, assemble, listed
from odevae.data.readers.matlab import load_matlab
from odevae.errors import OdevaeError


def read_matlab_trials(
    path: Path,
    *,
    activity: str,
    time: str | None = None,
    rate_hz: float | None = None,
    trial: str | None = None,
    covariates: list[str] | None = None,
    frames: str = "columns",
    bin_frames: int = 1,
) -> Frames:
    """Read a matrix of neurons and frames for each trial.

    Args:
        path: a ``.mat`` of MATLAB 5 or 7.3.
        activity: the field of a struct array as ``data.spikes``, or the name of a cell.
        time: the same of the times of the frames of each trial, in the unit that the data set states.
        rate_hz: frames in a second, if there is no `time`; then each trial begins at 0.
        trial: the same of the id of each trial, a whole number; None numbers the trials from 1.
        covariates: the same of what has one number for each frame of a trial, or one for the trial.
        frames: whether ``columns`` or ``rows`` of each matrix count frames.
        bin_frames: so many frames are summed to one, for spikes in bins of a millisecond. What is left at the end of a
            trial is left out; times and covariates become their mean.

    Raises:
        OdevaeError: if the file is damaged, lacks one of the variables, or they do not fit together.
    """
    if (time is None) == (rate_hz is None):
        both = "set one of read.time and read.rate_hz, not both"
        neither = "set read.rate_hz, the frames in a second, or read.time, the variable with the time of each frame"
        raise OdevaeError(f"{path}: {both if time else neither}.")
    variables = load_matlab(path)
    matrices = [
        _oriented(values, frames, bin_frames, f"{path}, {activity} of trial {k}")
        for k, values in _of(variables, activity, path)
    ]
    n_neurons = sorted({matrix.shape[1] for matrix in matrices})
    if len(n_neurons) > 1:
        other = "rows" if frames == "columns" else "columns"
        raise OdevaeError(
            f"{path}: {activity} has from {n_neurons[0]} to {n_neurons[-1]} neurons in a trial; give the same "
            f"neurons in every trial, or set read.frames: {other} if frames are there."
        )
    lengths = [len(matrix) for matrix in matrices]
    raw = [length * bin_frames for length in lengths]
    if time is None:
        clocks = [(np.arange(length) + 0.5) * bin_frames / rate_hz - 0.5 / rate_hz for length in lengths]
    else:
        clocks = _per_frame(variables, time, raw, bin_frames, path)
    ids = np.arange(1.0, len(lengths) + 1)
    if trial is not None:
        ids = np.array([values[0] for values in _per_frame(variables, trial, raw, bin_frames, path)])
    return assemble(
        np.concatenate(matrices),
        trial=np.repeat(ids, lengths),
        time=np.concatenate(clocks),
        covariates={
            name.rpartition(".")[2]: np.concatenate(_per_frame(variables, name, raw, bin_frames, path))
            for name in covariates or ()
        },
        rows_are_frames=True,
        where=str(path),
    )


def elements(variables: dict) -> dict[str, np.ndarray]:
    """What has one element for each of two or more trials: cells, and fields of struct arrays as ``struct.field``."""
    found = {}
    for name, values in variables.items():
        values = np.asarray(values)
        if values.size < 2 or max(values.shape) != values.size:
            continue
        if values.dtype.names:
            found |= {f"{name}.{field}": np.ravel(values[field]) for field in values.dtype.names}
        elif values.dtype == object:
            found[name] = np.ravel(values)
    return found


def _of(variables: dict, name: str, path: Path) -> list[tuple[int, np.ndarray]]:
    """The number of each trial from 1, and what it has under a name."""
    known = elements(variables)
    if name not in known:
        raise OdevaeError(
            f"{path}: has no {name} with an element for each trial; it has {listed(known) or 'none'} (a field of a "
            "struct array is struct.field, a cell has a name alone)."
        )
    arrays = [np.asarray(values.todense() if hasattr(values, "todense") else values) for values in known[name]]
    for number, values in enumerate(arrays, start=1):
        if values.dtype.kind not in NUMERIC or not values.size:
            raise OdevaeError(
                f"{path}: {name} of trial {number} holds no numbers (type {values.dtype.name}, shape {values.shape}); "
                "give a full matrix in every trial."
            )
    return list(enumerate(arrays, start=1))


def _oriented(values: np.ndarray, frames: str, bin_frames: int, where: str) -> np.ndarray:
    """A matrix of a trial as frames x neurons, with `bin_frames` frames summed to one."""
    if values.ndim != 2:
        raise OdevaeError(f"{where}: has shape {values.shape}; give a matrix of neurons and frames.")
    values = (values.T if frames == "columns" else values).astype(np.float64)
    n_bins = len(values) // bin_frames
    if not n_bins:
        raise OdevaeError(
            f"{where}: has {len(values)} frames, less than read.bin_frames; lower it or leave the trial out."
        )
    return values[: n_bins * bin_frames].reshape(n_bins, bin_frames, -1).sum(axis=1)


def _per_frame(variables: dict, name: str, lengths: list[int], bin_frames: int, path: Path) -> list[np.ndarray]:
    """Under a name, one number for each bin of each trial; one for the whole trial is repeated."""
    arrays = _of(variables, name, path)
    if len(arrays) != len(lengths):
        raise OdevaeError(
            f"{path}: {name} has {len(arrays)} trials and the activity {len(lengths)}; give one for each."
        )
    result = []
    for (number, values), length in zip(arrays, lengths, strict=True):
        values = values.ravel().astype(np.float64)
        if len(values) != 1 and not length <= len(values) < length + bin_frames:
            raise OdevaeError(
                f"{path}: {name} of trial {number} has {len(values)} numbers for {length} frames; give one for each "
                "frame, or one for the trial."
            )
        values = np.repeat(values, length) if len(values) == 1 else values[:length]
        result.append(values.reshape(-1, bin_frames).mean(axis=1))
    return result
