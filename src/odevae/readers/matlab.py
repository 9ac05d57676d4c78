"""MATLAB files of version 5 and 7.3, in the layout of Nieh et al. (Nature, 2021) or as plain arrays."""

from pathlib import Path

import matio
import numpy as np

from odevae.errors import OdevaeError
from odevae.readers.arrays import assemble, recording_from_variables, require
from odevae.recording import Recording


def read_matlab(path: Path, *, units: str, source: dict) -> Recording:
    """Read either of two layouts.

    - Nieh et al.: a struct ``nic_output`` with the matrix ``ROIactivities`` and the table ``behavioralVariables``. All
      numeric columns of the table become covariates, ``Trial`` and ``Time`` included.
    - Plain variables ``roi``, ``Trial``, ``Time`` and covariates, see `odevae.readers.arrays.recording_from_variables`.

    Raises:
        OdevaeError: if the file is damaged or is not a recording.
    """
    variables = _load(path)
    if "nic_output" not in variables:
        return recording_from_variables(variables, where=str(path), units=units, source=source)
    activity, columns = _nic_output(variables["nic_output"], where=f"{path}, nic_output")
    return assemble(
        activity,
        trial=columns["Trial"],
        time=columns["Time"],
        covariates=columns,
        where=str(path),
        units=units,
        source=source,
    )


def _load(path: Path) -> dict:
    try:
        return matio.load_from_mat(str(path))
    except Exception as error:
        # The library lets through whatever h5py, zlib and struct raise on damaged bytes.
        raise OdevaeError(
            f"{path}: not a whole MATLAB file of version 5 or 7.3 ({type(error).__name__} while reading); copy it "
            "again or save it again in MATLAB."
        ) from error


def _nic_output(struct, where: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The activity and the columns of the behaviour table, by name."""
    require(
        getattr(getattr(struct, "dtype", None), "names", None) or (), ("ROIactivities", "behavioralVariables"), where
    )
    try:
        session = struct[0, 0]
        table = session["behavioralVariables"]
        columns = {str(name): table[name].to_numpy() for name in table.columns}
    except Exception as error:
        # Anything but a decoded table arrives here as one of the library's own types.
        raise OdevaeError(
            f"{where}: behavioralVariables is not a readable MATLAB table ({type(error).__name__}); save its columns "
            "as plain variables beside roi, Trial and Time instead."
        ) from error
    require(columns, ("Trial", "Time"), f"{where}.behavioralVariables")
    return session["ROIactivities"], columns
