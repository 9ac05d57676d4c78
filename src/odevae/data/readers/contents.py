"""What a file holds, without reading its arrays: the program that wrote it, and its variables by name and shape."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from odevae.data.readers.arrays import NUMERIC
from odevae.data.readers.hdf5 import opened_hdf5, shapes_of_hdf5
from odevae.data.readers.matlab import load_matlab, with_fields
from odevae.data.readers.matlab_trials import elements
from odevae.data.readers.nwb import nwb_contents
from odevae.data.readers.tables import PARQUET, SEPARATORS, load_table

# What NWB files are recognised by, as an attribute of their root.
NWB_VERSION = "nwb_version"
# Suffixes of what is described here.
DESCRIBED = (".mat", ".h5", ".hdf5", ".hdf", ".nwb", *SEPARATORS, PARQUET)


def contents_of(path: Path) -> dict:
    """The format of a file, its variables, and what else a proposal needs; JSON values.

    Returns:
        ``format`` (a value of ``read.format``, or ``plain`` for the layouts that need no ``read``), and ``variables``:
        name, shape and type of each.

    Raises:
        OdevaeError: if the file is damaged.
    """
    if path.suffix.lower() == ".mat":
        return _matlab(path)
    if path.suffix.lower() in (*SEPARATORS, PARQUET):
        table = load_table(path)
        return {
            "format": "table",
            "variables": [[name, [len(table)], table[name].dtype.str] for name in table.columns],
            "repeats": [name for name in table.columns if table[name].nunique() < len(table)],
        }
    with opened_hdf5(path) as file:
        if NWB_VERSION in file.attrs:
            return nwb_contents(path)
        variables = _listed(shapes_of_hdf5(file))
        if "estimates" in file and "params" in file:
            rate = file.get("params/data/fr")
            return {"format": "caiman", "variables": variables, "rate_hz": float(rate[()]) if rate else float("nan")}
        return {"format": "arrays", "variables": variables}


def _matlab(path: Path) -> dict:
    if h5py.is_hdf5(path):
        with opened_hdf5(path) as file:
            for name in file:
                fields = set(file[name]) if isinstance(file[name], h5py.Group) else set()
                if {"extractedSignals", "extractedImages"} <= fields:
                    return {"format": "cnmfe", "variables": _listed(shapes_of_hdf5(file))}
                if {"temporal_weights", "spatial_weights"} <= fields or name == "extractAnalysisOutput":
                    return {"format": "extract", "variables": _listed(shapes_of_hdf5(file))}
    variables = load_matlab(path)
    if "nic_output" in variables:
        return {"format": "plain", "variables": _listed(_shapes(variables))}
    trials = elements(variables)
    matrices = {name: [np.asarray(one) for one in values] for name, values in trials.items()}
    matrices = {
        name: values
        for name, values in matrices.items()
        if all(one.ndim == 2 and min(one.shape, default=0) > 1 and one.dtype.kind in NUMERIC for one in values)
    }
    if matrices and not any(np.shape(values) and min(np.shape(values)) > 1 for values in variables.values()):
        return {
            "format": "matlab_trials",
            "variables": [[name, [len(values)], "one for each trial"] for name, values in trials.items()],
            "matrices": {name: [list(one.shape) for one in values] for name, values in matrices.items()},
        }
    return {"format": "arrays", "variables": _listed(_shapes(with_fields(variables)))}


def _shapes(variables: Mapping) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    arrays = {name: np.asarray(values) for name, values in variables.items()}
    return {name: (values.shape, values.dtype) for name, values in arrays.items()}


def _listed(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> list[list]:
    return [[name, list(shape), str(dtype)] for name, (shape, dtype) in shapes.items()]
