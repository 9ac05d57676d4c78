"""What a file of a lab is, and the lines of the configuration that read it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from odevae.data.readers.arrays import LATENTS, NUMERIC, PLAIN
from odevae.data.readers.contents import DESCRIBED
from odevae.data.readers.paper_npz import shapes_of_npz
from odevae.data.readers.subprocess_reader import describe_in_subprocess
from odevae.data.source_files import MINIAN, SUITE2P, SUITE2P_FILES, suite2p_planes
from odevae.errors import OdevaeError

# How labs name these, without regard to case and underscores; the first that a file has is taken.
TRIAL_NAMES = ("trial", "trials", "trialid", "trialnumber", "trialnum", "trialindex", "trialidx")
TIME_NAMES = ("time", "times", "t", "timestamps", "timestamp", "frametimes", "frametime", "timeins", "ts")
ACTIVITY_NAMES = ("roi", "activity", "dff", "df", "fluorescence", "traces", "f", "spks", "spikes", "rates", "c", "data")
NEURON_NAMES = ("neuron", "neuronid", "cell", "cellid", "unit", "unitid", "roi", "roiid")
VALUE_NAMES = (*ACTIVITY_NAMES, "value", "values", "response", "rate", "count", "counts", "deltaff")
NEEDS_RATE = "The file does not say how many frames a second has: add rate_hz to read."
NEEDS_TRIALS = "The file has no trial of each frame: say in trials where they begin and end."


@dataclass(frozen=True)
class Variable:
    """A variable of a file: its name, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Recognised:
    """What a file is, and how to read it.

    Attributes:
        format: a value of ``read.format``, ``plain`` for a file that needs no ``read``, or ``spikes`` for a spike list.
        variables: what it holds.
        entry: the entry of a data set, ``datasets.<name>``, as far as the file shows it.
        notes: sentences on what was understood and what must be given.
    """

    format: str
    variables: list[Variable] = field(default_factory=list)
    entry: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recognise(path: str | Path) -> Recognised:
    """Recognise the format of a file or folder, and propose how to read it.

    Raises:
        OdevaeError: if there is no such file, it is damaged, or of no known format.
    """
    path = Path(path)
    if not path.exists():
        raise OdevaeError(f"{path}: there is no such file; check the path of the recording.")
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix != ".npz" and suffix not in DESCRIBED:
        raise OdevaeError(
            f"{path}: no reader for the suffix {path.suffix!r}; give a recording as .npz, {', '.join(DESCRIBED)}, or "
            "the folder of suite2p or Minian."
        )
    if suffix == ".npz":
        contents = {"format": "arrays"}
        variables = [Variable(name, shape, dtype.str) for name, (shape, dtype) in shapes_of_npz(path).items()]
    else:
        contents = describe_in_subprocess(path)
        variables = [Variable(name, tuple(shape), dtype) for name, shape, dtype in contents["variables"]]
    return PROPOSALS[contents["format"]](path, variables, contents)


def _folder(path: Path) -> Recognised:
    if (path / "C.zarr").is_dir() or (path / "S.zarr").is_dir():
        variables = [Variable(folder.name, (), "zarr") for folder in sorted(path.glob("*.zarr"))]
        has_times = (path / "timeStamps.csv").is_file()
        notes = [
            "Minian: C.zarr is the denoised activity; with activity: deconvolved S.zarr is read.",
            *([] if has_times else ["The folder has no timeStamps.csv: add rate_hz to read, or copy that file there."]),
            NEEDS_TRIALS,
        ]
        read = {"format": MINIAN, "activity": "denoised"}
        return Recognised(MINIAN, variables, {"file": str(path), "units": "a.u.", "read": read}, notes)
    planes = suite2p_planes(path)
    variables = []
    for plane in planes:
        for name in SUITE2P_FILES:
            if (plane / name).is_file():
                shape, dtype = _npy_header(plane / name)
                variables.append(Variable((plane / name).relative_to(path).as_posix(), shape, dtype))
    notes = [
        f"suite2p, {len(planes)} plane{'s' if len(planes) > 1 else ''}: dF/F over the median of F - 0.7 Fneu, of the "
        "ROIs that iscell.npy calls cells; activity: deconvolved reads spks.npy.",
        "The frame rate lies in ops.npy (fs), a pickle that is never opened: add rate_hz to read, the frames of one "
        "plane in a second.",
        NEEDS_TRIALS,
    ]
    read = {"format": SUITE2P, "activity": "dff", "cells": "iscell"}
    return Recognised(SUITE2P, variables, {"file": str(path), "read": read}, notes)


def _npy_header(file: Path) -> tuple[tuple[int, ...], str]:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise OdevaeError(
            f"{file}: not a whole array of numbers ({type(error).__name__} while reading); copy it again."
        ) from error
    return array.shape, array.dtype.str


def _plain(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    notes = ["MATLAB's nic_output of Nieh et al.: its matrix and the columns of its behaviour table are read."]
    return Recognised("plain", variables, {"file": str(path)}, notes)


def _arrays(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    """Arrays by name: the plain layout, a spike list, or what the names and the shapes suggest."""
    numeric = [variable for variable in variables if np.dtype(variable.dtype).kind in NUMERIC]
    names = [variable.name for variable in numeric]
    if path.suffix.lower() in (".npz", ".mat") and {PLAIN.activity, PLAIN.time} <= set(names):
        notes = ["roi, Time and every other vector of one number for each frame are read without read."]
        notes += [] if PLAIN.trial in names else [NEEDS_TRIALS]
        return Recognised("plain", variables, {"file": str(path)}, notes)
    if path.suffix.lower() in (".npz", ".mat") and len(numeric) == 1 and numeric[0].shape[1:] == (2,):
        entry = {"file": str(path), "units": "spikes", "spikes": {"bin_s": 0.05, "window_s": 10}}
        return Recognised(
            "spikes",
            variables,
            entry,
            [
                f"A spike list: {names[0]} holds the neuron and the time of each spike.",
                "Choose the width of a bin (bin_s) and the length of a window (window_s), which becomes a trial.",
            ],
        )
    matrices = [variable for variable in numeric if sum(side > 1 for side in variable.shape) == 2]
    matrices = [variable for variable in matrices if len(variable.shape) == 2 and variable.name != LATENTS]
    if not matrices:
        raise OdevaeError(
            f"{path}: holds no matrix of numbers that could be the activity of neurons over frames; give a file "
            "with one."
        )
    activity = _first_of(ACTIVITY_NAMES, matrices) or max(matrices, key=lambda variable: np.prod(variable.shape))
    vectors = [v for v in numeric if max(v.shape, default=0) in activity.shape and np.prod(v.shape) == max(v.shape)]
    trial, time = _first_of(TRIAL_NAMES, vectors), _first_of(TIME_NAMES, vectors)
    read = {"format": "arrays", "activity": activity.name}
    notes = [f"{activity.name} {activity.shape} is taken for the activity; correct it if another variable is."]
    if trial:
        read["trial"] = trial.name
    if time:
        read["time"] = time.name
    else:
        notes.append(NEEDS_RATE)
    if not trial:
        notes.append(NEEDS_TRIALS)
    if not (trial or time) or activity.shape[0] == activity.shape[1]:
        read["frames"] = "rows" if activity.shape[0] >= activity.shape[1] else "columns"
        notes.append(f"Its {read['frames']} are taken for frames, because there are more of them; check it.")
    frames = {max(vector.shape) for vector in (trial, time) if vector} or {max(activity.shape)}
    others = [v.name for v in vectors if v not in (trial, time) and max(v.shape) in frames]
    if others:
        notes.append(
            f"One number for each frame, read as covariates unless covariates names some: {', '.join(others)}."
        )
    return Recognised("arrays", variables, {"file": str(path), "read": read}, notes)


def _caiman(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    read = {"format": "caiman", "activity": "denoised", "cells": "accepted"}
    notes = [
        "CaImAn: estimates/C, the denoised fluorescence, of the accepted components; activity may also be deconvolved "
        "(S), dff (F_dff) or raw (C + YrA).",
        f"The file gives {contents['rate_hz']:g} frames in a second (params/data/fr); set rate_hz in read if that was "
        "never set.",
        NEEDS_TRIALS,
    ]
    return Recognised("caiman", variables, {"file": str(path), "units": "a.u.", "read": read}, notes)


def _cnmfe(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    notes = [
        "CNMF-E: extractedSignals; the frame rate follows from time.totalTime, unless read has rate_hz.",
        NEEDS_TRIALS,
    ]
    return Recognised("cnmfe", variables, {"file": str(path), "units": "a.u.", "read": {"format": "cnmfe"}}, notes)


def _extract(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    notes = ["EXTRACT: temporal_weights.", NEEDS_RATE, NEEDS_TRIALS]
    return Recognised("extract", variables, {"file": str(path), "units": "a.u.", "read": {"format": "extract"}}, notes)


def _matlab_trials(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    matrices = contents["matrices"]
    name = next(
        (name for wanted in ACTIVITY_NAMES for name in matrices if _normal(name) == wanted), next(iter(matrices))
    )
    rows, columns = ({shape[side] for shape in matrices[name]} for side in (0, 1))
    frames = "rows" if len(columns) == 1 and len(rows) > 1 else "columns"
    read = {"format": "matlab_trials", "activity": name, "frames": frames}
    others = [variable for variable in variables if variable.name not in matrices]
    notes = [
        f"One element for each of {len(matrices[name])} trials; of {name}, {frames} are taken for frames, check it."
    ]
    if time := _first_of(TIME_NAMES, others):
        read["time"] = time.name
    else:
        notes.append(NEEDS_RATE)
    if trial := _first_of(TRIAL_NAMES, others):
        read["trial"] = trial.name
    if left := [variable.name for variable in others if variable not in (time, trial)]:
        notes.append(f"Name in covariates what has a number for each frame or each trial, of {', '.join(left)}.")
    notes.append("For spikes in bins of a millisecond, add bin_frames (20 sums 20 of them to one) and units: spikes.")
    return Recognised("matlab_trials", variables, {"file": str(path), "read": read}, notes)


def _nwb(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    read, entry, notes = {"format": "nwb"}, {"file": str(path)}, []
    if contents["rois"]:
        preferred = [name for name in contents["rois"] if "dfoverf" in name.lower() or "dff" in name.lower()]
        read["activity"] = (preferred or contents["rois"])[0]
        notes.append(f"ROI traces: {', '.join(contents['rois'])}; activity names one.")
        if contents["units"]:
            notes.append("The file has units too: bin_s in place of activity counts their spikes in bins.")
        entry["units"] = "dF/F" if preferred else "a.u."
    elif contents["units"]:
        read["bin_s"], entry["units"] = 0.05, "spikes"
        notes.append("Sorted units: their spikes are counted in bins of bin_s seconds; choose it.")
        columns = [name for name in contents["unit_columns"] if "quality" in name or "label" in name or "group" in name]
        notes += [f"cells: {columns[0]}=good, for instance, chooses units by that column."] if columns else []
    else:
        raise OdevaeError(f"{path}: holds no ROI traces and no units; give the NWB file of the processed session.")
    if contents["behaviour"]:
        notes.append(f"Resampled onto the frames unless covariates names some: {', '.join(contents['behaviour'])}.")
    if contents["intervals"]:
        entry["trials"] = {"intervals": "trials" if "trials" in contents["intervals"] else contents["intervals"][0]}
        notes.append(f"Tables of intervals that can become trials: {', '.join(contents['intervals'])}.")
    else:
        notes.append(NEEDS_TRIALS)
    trials = {"trials": entry.pop("trials")} if "trials" in entry else {}
    return Recognised("nwb", variables, {**entry, "read": read, **trials}, notes)


def _table(path: Path, variables: list[Variable], contents: dict) -> Recognised:
    numeric = [variable for variable in variables if np.dtype(variable.dtype).kind in NUMERIC]
    time, trial = _first_of(TIME_NAMES, numeric), _first_of(TRIAL_NAMES, numeric)
    neuron = _first_of(NEURON_NAMES, [variable for variable in variables if variable.name in contents["repeats"]])
    rest = [variable for variable in numeric if variable not in (time, trial, neuron)]
    read, notes = {"format": "table"}, []
    if neuron:
        value = _first_of(VALUE_NAMES, rest) or (rest or [None])[0]
        if value is None:
            raise OdevaeError(f"{path}: has no column of numbers for the activity; add one.")
        read |= {"activity": value.name, "neuron": neuron.name}
        notes.append(f"A row for each frame and neuron: {value.name} of {neuron.name}.")
    else:
        stems = [re.sub(r"\d+$", "", variable.name) for variable in rest if variable.name[-1:].isdigit()]
        stem = max(stems, key=stems.count) if stems else ""
        read["activity"] = f"{stem}*" if stem else "*"
        notes.append(f"A row for each frame: the columns {read['activity']} are taken for neurons; check it.")
    if time:
        read["time"] = time.name
    else:
        notes.append("No column looks like the time of a frame: add time to read.")
    if trial:
        read["trial"] = trial.name
    else:
        notes.append(NEEDS_TRIALS)
    return Recognised("table", variables, {"file": str(path), "read": read}, notes)


def _normal(name: str) -> str:
    """A name in lower case without what is no letter or digit; of a path or a field, its last part."""
    return re.sub(r"[^a-z0-9]", "", re.split(r"[./]", name)[-1].lower())


def _first_of(names: Iterable[str], variables: Iterable[Variable]) -> Variable | None:
    by_name = {}
    for variable in variables:
        by_name.setdefault(_normal(variable.name), variable)
    return next((by_name[name] for name in names if name in by_name), None)


# By the format that `odevae.data.readers.contents.contents_of` finds.
PROPOSALS: dict[str, Callable[[Path, list[Variable], dict], Recognised]] = {
    "plain": _plain,
    "arrays": _arrays,
    "caiman": _caiman,
    "cnmfe": _cnmfe,
    "extract": _extract,
    "matlab_trials": _matlab_trials,
    "nwb": _nwb,
    "table": _table,
}
