"""The layout of the paper's synthetic file: an ``.npz`` with ``roi``, ``Trial`` and ``Time``."""

import math
import zipfile
from pathlib import Path

import numpy as np

from odevae.data.readers.arrays import memory_limit, recording_from_variables, too_large
from odevae.data.recording import Recording
from odevae.errors import OdevaeError

FLOAT64_BYTES = 8
HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_paper_npz(path: Path, *, units: str, source: dict) -> Recording:
    """Read ``roi`` (frames x neurons or the reverse), ``Trial``, ``Time`` and covariates.

    See `odevae.data.readers.arrays.recording_from_variables` for what becomes of each array.

    Raises:
        OdevaeError: if the file is damaged, holds pickled objects, is too large, or is not a recording.
    """
    return recording_from_variables(_load(path), where=str(path), units=units, source=source)


def _load(path: Path) -> dict[str, np.ndarray]:
    # numpy.load takes whatever is no zip archive for a pickle, which would give a misleading message.
    if not zipfile.is_zipfile(path):
        raise OdevaeError(
            f"{path}: not a whole .npz file (cut short, damaged, or of another format); copy it again or save it with "
            "numpy.savez."
        )
    try:
        needed = _bytes_needed(path)
    except Exception as error:
        # zipfile, zlib and numpy each raise their own kinds on damaged members.
        raise _damaged(path, error) from error
    if needed > memory_limit():
        raise too_large(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _bytes_needed(path: Path) -> int:
    """Bytes of all arrays as float64, from what the archive says of itself: a few kB can hold gigabytes of zeros."""
    needed = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                needed += max(member.file_size, FLOAT64_BYTES * _n_values(file))
    return needed


def _n_values(file) -> int:
    """How many values the header of an array promises; 0 for a member that is no array of a common version."""
    try:
        read_header = HEADER_READERS[np.lib.format.read_magic(file)]
    except (KeyError, ValueError):
        return 0
    return math.prod(read_header(file)[0])


def _damaged(path: Path, error: Exception) -> OdevaeError:
    if "allow_pickle" in str(error):
        problem = "holds a pickled object array, which is never loaded"
    else:
        problem = f"an array in it is damaged ({type(error).__name__})"
    return OdevaeError(f"{path}: {problem}; save plain numeric arrays with numpy.savez.")
