"""HDF5: arrays by the paths of their data sets; and what every reader of HDF5 refuses."""

import math
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import Layout, frames_from_variables, require
from odevae.errors import OdevaeError

REFERENCES = (h5py.Reference, h5py.RegionReference)
# Attribute that names the fields of a struct of MATLAB, by a reference if they are many.
FIELD_NAMES = "MATLAB_fields"


def read_hdf5(path: Path, layout: Layout) -> Frames:
    """Read the data sets that a layout names by their paths, such as ``session1/dff``.

    Raises:
        OdevaeError: if the file is damaged, refers to another file, lacks a data set, or these are no recording.
        MemoryError: if it does not fit into memory.
    """
    with opened_hdf5(path) as file:
        shapes = shapes_of_hdf5(file)
        layout = layout.of(shapes)
        require(shapes, layout.required, str(path))
        n_frames = layout.n_frames({name: shapes[name][0] for name in layout.required}, str(path))
        needed = [
            name
            for name, (shape, _) in shapes.items()
            if name in layout.required or (layout.may_be_covariate(name) and math.prod(shape) == n_frames)
        ]
        return frames_from_variables({name: file[name][()] for name in needed}, where=str(path), layout=layout)


def shapes_of_hdf5(file: h5py.File) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each data set that is no scalar, by its path from the root, without a slash before it."""
    shapes = {}

    def note(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            shapes[name] = (item.shape, item.dtype)

    file.visititems(note)
    return shapes


def opened_hdf5(path: Path) -> h5py.File:
    """An HDF5 file to read.

    Raises:
        OdevaeError: if the file is damaged or takes content from another file.
    """
    try:
        require_own_content(path)
        return h5py.File(path, "r")
    except OdevaeError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise OdevaeError(
            f"{path}: not a whole HDF5 file ({type(error).__name__} while reading); copy it again or save it again."
        ) from error


def require_own_content(path: Path) -> None:
    """Refuse HDF5 that would copy content of another file of the user.

    Raises:
        OdevaeError: naming what leads to the other file.
    """
    if other := other_file(path):
        raise OdevaeError(
            f"{path}: takes content from another file ({other}), which is never opened; store everything in one file."
        )


def other_file(path: Path) -> str | None:
    """What makes HDF5 read another file, or None; goes along links and references, as the library does."""
    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as file:
        waiting, seen = [file["/"]], set()
        while waiting:
            item = waiting.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            references = [item.attrs.get(FIELD_NAMES)]
            if isinstance(item, h5py.Group):
                for name in item:
                    link = item.get(name, getlink=True)
                    if isinstance(link, h5py.ExternalLink):
                        return "external link"
                    if isinstance(link, h5py.HardLink):
                        waiting.append(item[name])
            elif isinstance(item, h5py.Dataset):
                if item.external:
                    return "external data set"
                if item.is_virtual:
                    return "virtual data set"
                if h5py.check_ref_dtype(item.dtype):
                    references += np.ravel(item[()]).tolist()
            for reference in references:
                # One that leads nowhere stops the library as well, if it gets there.
                with suppress(KeyError, ValueError):
                    waiting += [file[reference]] if isinstance(reference, REFERENCES) else []
    return None
