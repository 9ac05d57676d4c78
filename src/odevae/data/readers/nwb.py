"""NWB, through pynwb: ROI traces or sorted units, behaviour on their frames, and tables of intervals."""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.names import is_plain
from odevae.data.readers.arrays import NUMERIC, assemble, listed, memory_limit, too_large
from odevae.data.readers.extras import library
from odevae.data.readers.hdf5 import opened_hdf5
from odevae.data.spikes import ROUNDING, BinSettings, SpikeList, binned
from odevae.errors import OdevaeError

# More columns than these are no behaviour that a covariate for each would describe.
MOST_COLUMNS = 3
STARTS, STOPS = "start_time", "stop_time"


def read_nwb(
    path: Path,
    *,
    activity: str | None = None,
    bin_s: float | None = None,
    cells: str | None = None,
    covariates: list[str] | None = None,
) -> Frames:
    """Read the traces of ROIs, or count the spikes of units in bins over the whole session.

    Args:
        path: an NWB file.
        activity: the name of a ``RoiResponseSeries``, or its place such as ``ophys/DfOverF/RoiResponseSeries`` where
            several have the name; None if there is only one.
        bin_s: width of a bin, s, to read units; None to read ROIs.
        cells: which ROIs or units: a column of their table that is true or not 0, or ``column=value``; None for all.
        covariates: names of time series, resampled onto the frames on lines between their samples, NaN outside them;
            None for every series of one to three columns of numbers that holds no recording itself.

    Returns:
        Frames on the clock of the file, without a trial each. Every table of intervals is in ``intervals``, and each of
        its columns of numbers is a covariate ``table.column``, NaN outside its intervals.

    Raises:
        OdevaeError: if pynwb is not installed, the file is damaged, or it has no such series, column or units.
    """
    with _nwb_file(path) as nwb:
        intervals = {name: _bounds(table) for name, table in _interval_tables(nwb).items()}
        if bin_s is None:
            values, time = _roi_traces(nwb, activity, cells, path)
        elif activity is None:
            values, time = _unit_counts(nwb, bin_s, cells, intervals, path)
        else:
            raise OdevaeError(f"{path}: read names both activity, of ROIs, and bin_s, of units; leave one out.")
        behaviour = _behaviour(nwb)
        if missing := [name for name in covariates or () if name not in behaviour]:
            raise OdevaeError(
                f"{path}: has no time series {missing[0]}; set read.covariates to some of "
                f"{listed(sorted(behaviour)) or 'none'}."
            )
        resampled = {}
        for name in behaviour if covariates is None else covariates:
            resampled |= _resampled(name, behaviour[name], time)
        for name, table in _interval_tables(nwb).items():
            resampled |= _columns_of_intervals(name, table, intervals[name], time)
    return assemble(
        values, trial=None, time=time, covariates=resampled, intervals=intervals, rows_are_frames=True, where=str(path)
    )


def nwb_contents(path: Path) -> dict:
    """The ROI traces, units, behaviour and intervals of an NWB file, as `odevae.data.readers.contents` gives them."""
    with _nwb_file(path) as nwb:
        rois = {name: series for name, series in _roi_series(nwb).items() if "/" in name}
        series = rois | _behaviour(nwb)
        units = [] if nwb.units is None else [["units", [len(nwb.units)], "spike times"]]
        tables = _interval_tables(nwb)
        return {
            "format": "nwb",
            "variables": [
                *([name, list(one.data.shape), str(one.data.dtype)] for name, one in series.items()),
                *units,
                *([name, [len(table), 2], "intervals"] for name, table in tables.items()),
            ],
            "rois": list(rois),
            "units": bool(units),
            "unit_columns": [] if nwb.units is None else list(nwb.units.colnames),
            "intervals": list(tables),
            "behaviour": list(series)[len(rois) :],
        }


@contextmanager
def _nwb_file(path: Path) -> Iterator:
    """The opened file.

    Raises:
        OdevaeError: if pynwb is not installed, or whatever pynwb and HDF5 raise on a damaged file, as one sentence.
    """
    pynwb = library("pynwb", str(path))
    opened_hdf5(path).close()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pynwb.NWBHDF5IO(path, "r", load_namespaces=True) as file:
                yield file.read()
    except (OdevaeError, MemoryError):
        raise
    except Exception as error:
        raise OdevaeError(
            f"{path}: not an NWB file that pynwb reads ({type(error).__name__}: {listed([str(error)])}); check it with "
            "nwbinspector, or copy it again."
        ) from error


def _named(items: Iterable) -> dict:
    """Objects by their place, such as ``ophys/DfOverF/RoiResponseSeries``, and by name where that is one of a kind."""
    items = list(items)
    names = [item.name for item in items]
    places = {_place(item): item for item in items}
    return places | {item.name: item for item in items if names.count(item.name) == 1}


def _place(item) -> str:
    names = []
    while item is not None and item.parent is not None:
        names.append(item.name)
        item = item.parent
    return "/".join(reversed(names))


def _of_type(nwb, type_name: str) -> list:
    """The objects of a type, in the order of their places: that of pynwb changes from call to call."""
    found = [item for item in nwb.objects.values() if any(kind.__name__ == type_name for kind in type(item).__mro__)]
    return sorted(found, key=_place)


def _roi_series(nwb) -> dict:
    return _named(_of_type(nwb, "RoiResponseSeries"))


def _roi_traces(nwb, activity: str | None, cells: str | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The traces ``(T, N)`` and the time of each frame, s."""
    found = _roi_series(nwb)
    places = [name for name in found if "/" in name]
    if activity is None and len(places) == 1:
        activity = places[0]
    if activity not in found:
        units = "; it has units, which read.bin_s counts in bins" if nwb.units is not None and not found else ""
        raise OdevaeError(
            f"{path}: {'has no ROI traces ' + activity if activity else 'does not show which ROI traces to read'}; set "
            f"read.activity to one of {listed(places) or 'none'}{units}."
        )
    series = found[activity]
    values = np.asarray(series.data[:])
    values = values[:, None] if values.ndim == 1 else values
    if series.conversion != 1 or series.offset:
        values = values * series.conversion + series.offset
    rois = series.rois
    return values[:, _chosen(rois.table, cells, np.asarray(rois.data[:]), path)], _times(series)


def _unit_counts(nwb, bin_s: float, cells: str | None, intervals: dict, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The counts ``(T, N)`` of the units that have spikes, in bins of the whole session, and the middle of each."""
    if nwb.units is None or "spike_times" not in nwb.units.colnames:
        raise OdevaeError(f"{path}: has no units with spike times; leave read.bin_s out to read ROI traces.")
    rows = np.flatnonzero(_chosen(nwb.units, cells, np.arange(len(nwb.units)), path))
    spikes = [np.asarray(nwb.units["spike_times"][int(row)]) for row in rows]
    times = np.concatenate([np.empty(0), *spikes])
    if not times.size:
        raise OdevaeError(f"{path}: the chosen units have no spikes; check read.cells.")
    bounds = np.concatenate([times[[times.argmin(), times.argmax()]], *map(np.ravel, intervals.values())])
    bounds = bounds[np.isfinite(bounds)]
    start = math.floor(bounds.min() / bin_s) * bin_s
    # A bin holds no spike at its end, and rounding must not add a bin.
    n_bins = max(math.ceil((bounds.max() - start) / bin_s - ROUNDING), math.floor((times.max() - start) / bin_s) + 1)
    if n_bins * len(rows) * np.dtype(np.float64).itemsize > memory_limit():
        raise too_large(path)
    session = SpikeList(np.repeat(rows, [len(one) for one in spikes]), times, str(path))
    window = BinSettings(bin_s=bin_s, window_s=n_bins * bin_s, start_s=start, stop_s=start + n_bins * bin_s)
    frames = binned([session], {}, window)
    return frames.activity, frames.time


def _chosen(table, cells: str | None, rows: np.ndarray, path: Path) -> np.ndarray:
    """Which of some rows of a table of ROIs or units a column chooses, ``(n,)`` bool."""
    if cells is None:
        return np.ones(len(rows), dtype=bool)
    column, equals, value = cells.partition("=")
    if column not in table.colnames:
        raise OdevaeError(
            f"{path}: its table {table.name} has no column {column}; set read.cells to one of {listed(table.colnames)}."
        )
    values = np.asarray(table[column][:])[rows]
    if equals:
        chosen = np.array([str(one) for one in values]) == value
    elif values.dtype.kind in NUMERIC:
        # Some store suite2p's two columns: whether it is a cell, and how probable that is.
        chosen = (values if values.ndim == 1 else values[:, 0]) != 0
    else:
        known = sorted({str(one) for one in values})
        raise OdevaeError(f"{path}: {column} holds text; set read.cells: {column}=value, of {listed(known)}.")
    if not chosen.any():
        raise OdevaeError(f"{path}: read.cells: {cells} chooses none of {len(rows)} rows; check the value.")
    return chosen


def _times(series) -> np.ndarray:
    """The time of each sample, s."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], dtype=np.float64)
    return (series.starting_time or 0.0) + np.arange(len(series.data)) / series.rate


def _behaviour(nwb) -> dict:
    """The time series of one to three columns of numbers that are no recording of neurons, by name or place."""
    recordings = ("RoiResponseSeries", "ElectricalSeries", "ImageSeries", "PatchClampSeries", "IntervalSeries")
    found = {}
    for series in _of_type(nwb, "TimeSeries"):
        kinds = {kind.__name__ for kind in type(series).__mro__}
        shape = getattr(series.data, "shape", ())
        columns = shape[1] if len(shape) == 2 else 1
        number = getattr(getattr(series.data, "dtype", None), "kind", "") in NUMERIC
        if not kinds & set(recordings) and number and len(shape) in (1, 2) and columns <= MOST_COLUMNS and shape[0] > 1:
            found[id(series)] = series
    named = _named(found.values())
    once = {id(item) for name, item in named.items() if "/" not in name}
    return {name: item for name, item in named.items() if "/" not in name or id(item) not in once}


def _resampled(name: str, series, time: np.ndarray) -> dict[str, np.ndarray]:
    """A series at the times of the frames, one covariate for each column."""
    sampled, values = _times(series), np.asarray(series.data[:], dtype=np.float64) * series.conversion + series.offset
    order = np.argsort(sampled, kind="stable")
    columns = {name: values} if values.ndim == 1 else {f"{name}.{k}": column for k, column in enumerate(values.T)}
    return {
        label: np.interp(time, sampled[order], column[order], left=np.nan, right=np.nan)
        for label, column in columns.items()
        if is_plain(label)
    }


def _interval_tables(nwb) -> dict:
    """Every table of intervals, ``trials`` and ``epochs`` among them, by name."""
    return {
        table.name: table
        for table in _of_type(nwb, "TimeIntervals")
        if {STARTS, STOPS} <= set(table.colnames) and len(table) and is_plain(table.name)
    }


def _bounds(table) -> np.ndarray:
    return np.column_stack([np.asarray(table[name][:], dtype=np.float64) for name in (STARTS, STOPS)])


def _columns_of_intervals(name: str, table, bounds: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of numbers of a table, for each frame that of its interval (of the later one, if two overlap)."""
    row = np.full(len(time), -1)
    for number, (start, stop) in enumerate(bounds):
        row[(time >= start) & (time < stop)] = number
    columns = {}
    for column in table.colnames:
        data = table[column].data
        if column in (STARTS, STOPS) or getattr(data, "ndim", 0) != 1 or len(data) != len(table):
            continue
        values = np.asarray(data[:])
        if values.dtype.kind in NUMERIC and is_plain(f"{name}.{column}"):
            columns[f"{name}.{column}"] = np.where(row >= 0, values.astype(np.float64)[row], np.nan)
    return columns
