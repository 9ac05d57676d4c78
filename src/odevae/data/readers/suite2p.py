"""suite2p: the arrays of one or more planes.

The settings of suite2p, with its frame rate, and what it says of each ROI are pickles (ops.npy, stat.npy), which are
never opened. So this reader takes the plain arrays itself and not through roiextractors, which loads the pickles too.
"""

from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import NUMERIC, assemble, memory_limit, too_large
from odevae.data.source_files import suite2p_planes
from odevae.errors import OdevaeError

# `neucoeff` of suite2p unless it was changed.
NEUROPIL = 0.7


def read_suite2p(
    path: Path,
    *,
    activity: str = "dff",
    cells: str = "iscell",
    rate_hz: float | None = None,
    neuropil: float = NEUROPIL,
) -> Frames:
    """Read the folder of one plane, or the neurons of all planes of a folder ``suite2p``.

    Args:
        path: the folder.
        activity: ``dff``, the corrected fluorescence over its median in the whole session, minus 1; ``raw``, the
            corrected fluorescence itself (``F - neuropil * Fneu``); or ``deconvolved`` (spks.npy).
        cells: ``iscell`` for the ROIs that are cells, or ``all``.
        rate_hz: frames of one plane in a second.
        neuropil: the share of the neuropil that is taken from the fluorescence.

    Raises:
        OdevaeError: if the frame rate is missing, or the arrays are missing, damaged or do not fit together.
    """
    if rate_hz is None:
        raise OdevaeError(
            f"{path}: needs read.rate_hz, the frames of one plane in a second; suite2p keeps it in ops.npy (fs), a "
            "pickle, which can run code and is never opened here. If the file is your own, print it with "
            "numpy.load('ops.npy', allow_pickle=True).item()['fs']."
        )
    planes = [_plane(folder, activity, cells, neuropil) for folder in suite2p_planes(path)]
    lengths = sorted({len(plane) for plane in planes})
    if len(lengths) > 1:
        raise OdevaeError(
            f"{path}: its planes have from {lengths[0]} to {lengths[-1]} frames; give the folder of one plane, or "
            "suite2p's folder combined."
        )
    joined = np.concatenate(planes, axis=1)
    return assemble(
        joined, trial=None, time=np.arange(len(joined)) / rate_hz, covariates={}, rows_are_frames=True, where=str(path)
    )


def _plane(folder: Path, activity: str, cells: str, neuropil: float) -> np.ndarray:
    """The chosen activity of the chosen ROIs of one plane, ``(T, N)`` float32."""
    first = _array(folder / ("spks.npy" if activity == "deconvolved" else "F.npy"))
    if first.ndim != 2:
        raise OdevaeError(f"{folder}: F.npy or spks.npy has shape {first.shape}, not ROIs x frames; run suite2p again.")
    chosen = np.ones(len(first), dtype=bool)
    if cells == "iscell":
        if not (folder / "iscell.npy").is_file():
            raise OdevaeError(f"{folder}: has no iscell.npy; copy it there, or set read.cells: all.")
        table = _array(folder / "iscell.npy")
        if table.ndim != 2 or len(table) != len(first):
            raise OdevaeError(
                f"{folder}: iscell.npy has shape {table.shape} for {len(first)} ROIs; copy the files of one run of "
                "suite2p together, or set read.cells: all."
            )
        chosen = table[:, 0] == 1
    if not chosen.any():
        raise OdevaeError(
            f"{folder}: iscell.npy names no ROI as a cell; choose cells in suite2p, or set read.cells: all."
        )
    traces = np.asarray(first[chosen], dtype=np.float32)
    if activity == "deconvolved":
        return traces.T
    if neuropil:
        around = _array(folder / "Fneu.npy")
        if around.shape != first.shape:
            raise OdevaeError(
                f"{folder}: Fneu.npy has shape {around.shape} and F.npy {first.shape}; copy the files of one run of "
                "suite2p together, or set read.neuropil: 0."
            )
        traces = traces - np.float32(neuropil) * around[chosen]
    if activity == "raw":
        return traces.T
    baseline = np.median(traces, axis=1, keepdims=True)
    if not (baseline > 0).all():
        rois = np.flatnonzero(chosen)[~(baseline[:, 0] > 0)]
        raise OdevaeError(
            f"{folder}: the median fluorescence minus {neuropil:g} of the neuropil is not above 0 in {len(rois)} ROIs, "
            f"first ROI {rois[0]}, so it has no dF/F; set read.activity: raw or deconvolved, or lower read.neuropil."
        )
    return (traces / baseline - 1).T


def _array(file: Path) -> np.ndarray:
    """An array of numbers, mapped into memory and not yet read.

    Raises:
        OdevaeError: if it is missing, damaged or holds objects.
    """
    if not file.is_file():
        raise OdevaeError(f"{file}: there is no such file; copy all arrays that suite2p wrote for the plane.")
    if file.stat().st_size > memory_limit():
        raise too_large(file)
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:
        raise OdevaeError(
            f"{file}: not a whole array of numbers ({type(error).__name__} while reading); copy it again."
        ) from error
    if array.dtype.kind not in NUMERIC:
        raise OdevaeError(f"{file}: has type {array.dtype.name}, not numbers; copy it again.")
    return array
