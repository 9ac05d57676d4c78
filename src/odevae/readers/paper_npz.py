"""The layout of the paper's synthetic file: an ``.npz`` with ``roi``, ``Trial`` and ``Time``."""

import zipfile
from pathlib import Path

import numpy as np

from odevae.errors import OdevaeError
from odevae.readers.arrays import recording_from_variables
from odevae.recording import Recording


def read_paper_npz(path: Path, *, units: str, source: dict) -> Recording:
    """Read ``roi`` (frames x neurons or the reverse), ``Trial``, ``Time`` and covariates.

    See `odevae.readers.arrays.recording_from_variables` for what becomes of each array.

    Raises:
        OdevaeError: if the file is damaged, holds pickled objects, or is not a recording.
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
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        # zipfile, zlib and numpy each raise their own kinds on damaged members.
        if "allow_pickle" in str(error):
            problem = "holds a pickled object array, which is never loaded"
        else:
            problem = f"an array in it is damaged ({type(error).__name__})"
        raise OdevaeError(f"{path}: {problem}; save plain numeric arrays with numpy.savez.") from error
