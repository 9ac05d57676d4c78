"""MATLAB files of version 5 and 7.3: the layout of Nieh et al. (Nature, 2021), plain arrays, and lists of spikes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import PLAIN, Layout, assemble, frames_from_variables, only_pairs, require
from odevae.data.readers.hdf5 import other_file
from odevae.errors import OdevaeError

# What MATLAB 7.3 writes before and into HDF5.
HEADER = b"MATLAB 7.3"
CLASS = "MATLAB_class"


def read_matlab(path: Path, layout: Layout = PLAIN) -> Frames:
    """Read the variables that a layout names, or by default either of two layouts.

    - Nieh et al.: a struct ``nic_output`` with the matrix ``ROIactivities`` and the table ``behavioralVariables``. All
      numeric columns of the table become covariates, ``Trial`` and ``Time`` included.
    - Plain variables ``roi``, ``Trial``, ``Time`` and covariates, see
      `odevae.data.readers.arrays.frames_from_variables`.

    A layout names a field of a struct as ``session.activity``.

    Raises:
        OdevaeError: if the file is damaged, refers to another file, or is not a recording.
        MemoryError: if it does not fit into memory.
    """
    variables = load_matlab(path)
    if layout != PLAIN:
        return frames_from_variables(with_fields(variables), where=str(path), layout=layout)
    if "nic_output" not in variables:
        return frames_from_variables(variables, where=str(path))
    activity, columns = _nic_output(variables["nic_output"], where=f"{path}, nic_output")
    return assemble(activity, trial=columns.get("Trial"), time=columns["Time"], covariates=columns, where=str(path))


def read_pairs(path: Path) -> np.ndarray:
    """Read the one array of two columns of numbers, ``(n, 2)``.

    Raises:
        OdevaeError: if the file is damaged, refers to another file, or has not exactly one such array.
        MemoryError: if it does not fit into memory.
    """
    variables = {name: np.asarray(values) for name, values in load_matlab(path).items()}
    shapes = {name: (values.shape, values.dtype) for name, values in variables.items()}
    return variables[only_pairs(shapes, str(path))]


def with_fields(variables: Mapping) -> dict[str, np.ndarray]:
    """The variables, and the fields of each struct of one element as ``struct.field``, at any depth."""
    found = {}
    for name, values in variables.items():
        values = np.asarray(values)
        if values.dtype.names and values.size == 1:
            element = values.ravel()[0]
            found |= with_fields({f"{name}.{field}": element[field] for field in values.dtype.names})
        else:
            found[name] = values
    return found


def load_matlab(path: Path) -> dict:
    """The variables of a file by name.

    Raises:
        OdevaeError: if the file is damaged or refers to another file.
        MemoryError: if it does not fit into memory.
    """
    # Imports pandas and SciPy, which files of other formats do not need.
    import matio

    try:
        other = other_file(path)
        if other is None:
            return matio.load_from_mat(str(path))
    except Exception as error:
        if any(isinstance(cause, MemoryError) for cause in _causes(error)):
            raise MemoryError from error
        if _other_hdf5(path):
            raise OdevaeError(
                f"{path}: is HDF5 that MATLAB did not write, because it lacks MATLAB's header or types; name it .h5 "
                "and its data sets in read, store roi, Trial and Time as .npz, or write the file with MATLAB."
            ) from error
        # The library lets through whatever h5py, zlib and struct raise on damaged bytes.
        raise OdevaeError(
            f"{path}: not a whole MATLAB file of version 5 or 7.3 ({type(error).__name__} while reading); copy it "
            "again or save it again in MATLAB."
        ) from error
    raise OdevaeError(
        f"{path}: takes content from another file ({other}), which is never opened; store everything in one file, as "
        "MATLAB does."
    )


def _other_hdf5(path: Path) -> bool:
    """Whether a file is whole HDF5 that lacks what MATLAB writes."""
    with suppress(Exception), path.open("rb") as start, h5py.File(path, "r") as file:
        return start.read(len(HEADER)) != HEADER or any(
            CLASS not in file[name].attrs for name in file if not name.startswith("#")
        )
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _nic_output(struct, where: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The activity and the columns of the behaviour table, by name."""
    fields = getattr(getattr(struct, "dtype", None), "names", None) or ()
    require(fields, ("ROIactivities", "behavioralVariables"), where)
    try:
        session = struct[0, 0]
        table = session["behavioralVariables"]
        columns = {str(name): table[name].to_numpy() for name in table.columns}
    except Exception as error:
        # Anything but a decoded table arrives here as one of the library's own types.
        raise OdevaeError(
            f"{where}: behavioralVariables is not a readable MATLAB table ({type(error).__name__}); save its columns "
            "as plain variables next to roi, Trial and Time instead."
        ) from error
    require(columns, ("Time",), f"{where}.behavioralVariables")
    return session["ROIactivities"], columns
