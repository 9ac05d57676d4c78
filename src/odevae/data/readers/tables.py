"""Tables as CSV or Parquet: a row for each frame and neuron, or a row for each frame and a column for each neuron."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import NUMERIC, assemble, listed, require
from odevae.data.readers.extras import library
from odevae.errors import OdevaeError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"


def read_table(
    path: Path,
    *,
    activity: str,
    time: str,
    neuron: str | None = None,
    trial: str | None = None,
    covariates: list[str] | None = None,
) -> Frames:
    """Read a table.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        activity: the column with the activity; without `neuron`, a pattern of the columns of the neurons, such as
            ``roi_*``, in the order of the file.
        time: the column with the time of the frame.
        neuron: the column with the neuron, any text or number. Neurons are sorted.
        trial: the column with the trial id.
        covariates: columns; None for all others that hold numbers, and in the long form are the same for all neurons.

    Returns:
        Frames by trial in the order in which trials first appear, and by time in each.

    Raises:
        OdevaeError: if the file is damaged, lacks a column, or has not one row for each frame and neuron.
    """
    table = load_table(path)
    columns = (
        [column for column in (time, neuron, trial) if column] + ([activity] if neuron else []) + (covariates or [])
    )
    require(table.columns, columns, str(path))
    for column in filter(None, (time, trial)):
        if table[column].dtype.kind not in NUMERIC:
            raise OdevaeError(f"{path}: the column {column} holds text; give numbers.")
    frames = _frames_of_rows(table, time, trial)
    if neuron:
        values, first_rows, frame_of = _long(table, frames, neuron, activity, path)
    else:
        names = [column for column in table.columns if fnmatchcase(column, activity)]
        names = [name for name in names if table[name].dtype.kind in NUMERIC and name not in columns]
        if not names:
            raise OdevaeError(f"{path}: has no columns of numbers {activity}; it has {listed(table.columns)}.")
        first_rows = np.argsort(frames, kind="stable")
        if len(np.unique(frames)) < len(frames):
            raise OdevaeError(
                f"{path}: several rows have the same {'trial and time' if trial else 'time'}; name the column of the "
                "neurons in read.neuron if there is one, or correct them."
            )
        values, frame_of, columns = table[names].to_numpy()[first_rows], None, columns + names
    others = covariates if covariates is not None else [name for name in table.columns if name not in columns]
    found = {}
    for name in others:
        column = table[name].to_numpy()
        if column.dtype.kind in NUMERIC:
            per_frame = column[first_rows]
            # What differs between neurons describes them and not the frame.
            if covariates is None and frame_of is not None and not _same(column, per_frame[frame_of]):
                continue
            found[name] = per_frame
    return assemble(
        values,
        trial=None if trial is None else table[trial].to_numpy()[first_rows],
        time=table[time].to_numpy()[first_rows],
        covariates=found,
        rows_are_frames=True,
        where=str(path),
    )


def load_table(path: Path) -> pd.DataFrame:
    """The whole table.

    Raises:
        OdevaeError: if the file is damaged or no table.
    """
    suffix = path.suffix.lower()
    if suffix != PARQUET and suffix not in SEPARATORS:
        raise OdevaeError(f"{path}: read.format: table is for {', '.join([*SEPARATORS, PARQUET])}, not {suffix!r}.")
    if suffix == PARQUET:
        library("pyarrow", str(path))
    # Slow to import, and files of other formats need none of it.
    import pandas as pd

    try:
        table = pd.read_parquet(path) if suffix == PARQUET else pd.read_csv(path, sep=SEPARATORS[suffix])
    except MemoryError:
        raise
    except Exception as error:
        raise OdevaeError(
            f"{path}: not a whole {suffix} table ({type(error).__name__}: {listed([str(error)])}); save it again, or "
            "copy it again."
        ) from error
    if not len(table):
        raise OdevaeError(f"{path}: has no rows; check how it was saved.")
    return table.rename(columns=str)


def _frames_of_rows(table: pd.DataFrame, time: str, trial: str | None) -> np.ndarray:
    """The number of the frame of each row, ``(rows,)``: by the first appearance of the trial, then by time."""
    if trial is None:
        return np.unique(table[time].to_numpy(), return_inverse=True)[1]
    order = table[trial].factorize(use_na_sentinel=False)[0]
    return np.unique(np.column_stack([order, table[time].to_numpy()]), axis=0, return_inverse=True)[1].ravel()


def _long(table: pd.DataFrame, frames: np.ndarray, neuron: str, activity: str, path: Path):
    """The activity ``(T, N)``, a row of the table for each frame, and the frame of each row."""
    if table[activity].dtype.kind not in NUMERIC:
        raise OdevaeError(f"{path}: the column {activity} holds text; give numbers.")
    neurons, column = np.unique(table[neuron].to_numpy(), return_inverse=True)
    n_frames = int(frames.max()) + 1
    place = frames * len(neurons) + column
    if len(np.unique(place)) < len(place):
        raise OdevaeError(
            f"{path}: {len(place) - len(np.unique(place))} rows repeat the frame and the neuron of another row; name "
            "the column of the trial in read.trial if times start again in each, or remove them."
        )
    if len(place) < n_frames * len(neurons):
        raise OdevaeError(
            f"{path}: {n_frames * len(neurons) - len(place)} of {n_frames} frames x {len(neurons)} neurons have no "
            "row; give one row for each frame and neuron, also where nothing happens."
        )
    values = np.empty((n_frames, len(neurons)))
    values[frames, column] = table[activity].to_numpy()
    return values, np.unique(frames, return_index=True)[1], frames


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
